/* SPDX-License-Identifier: MIT */
/*
 * event.c - what a write tells those who watch its shard
 *
 * A shard that is watched has a ring: an extent to which each change of a key appends an
 * event. The bytes go beyond ring_head, where nothing counts; the redo list of the very change
 * stores the new ring_head, last. So the event is there if and only if the change is, whoever
 * is killed, and who sees the event sees the change.
 *
 * Nothing is ever removed: the next bytes take the place of the oldest. A watcher copies an
 * event and looks at ring_head afterwards. Bytes are being written only between ring_head and
 * one longest event beyond it, so what lies less than a ring's length without that behind
 * ring_head was whole. Who falls behind further has lost events, and knows it.
 *
 * After unlocking the bells are rung: that of the key, those of its first n bytes for each
 * length n that watchers ever asked for, and that of watchers of all. A ring in vain costs a
 * barrier and a load, a listener one system call. A writer killed before it rings costs the
 * sleepers one nap (watch.c).
 *
 * A key too long for a quarter of a ring is cut; whom it may concern is told of a gap.
 *
 * Tried on paper and dropped: a ring for each process that watches, which writers would have
 * to fill one by one; a ring for the map, a word that all writers would fight for; a count of
 * changes for each bell, which tells neither key nor what happened.
 *
 * Invariants
 *  event.I1  bytes of the ring from ring_head - length + the longest event on, up to
 *            ring_head, are whole events, as far back as the ring was taken.
 *  event.I2  ring_head and every place of an event are multiples of 8.
 */
#include "event.h"

#include "bell.h"
#include "crash.h"
#include "large.h"

#define CUT (UINT64_C(1) << 56)
#define ALL_BELLS (IM_OP_BELLS + 1)

uint32_t im_event_extent(const struct im_seg *seg, const struct fmt_shard *s, uint32_t shard)
{
	uint32_t ext = im_load32_rlx(&s->ring) - 1;
	uint64_t w;

	if (ext >= seg->n_extents)
		return FMT_NO_EXTENT;
	w = im_load_rlx(&seg->table[ext].word);
	return fmt_word_state(w) == FMT_RESERVED && fmt_word_who(w) == shard ? ext
									     : FMT_NO_EXTENT;
}

uint32_t im_event_bell(const struct ipcmap *m, const void *key, uint32_t key_len)
{
	return (uint32_t)(im_hash(m->hash_seed, key, key_len) % m->n_bells);
}

/* ---- under the lock ---- */

static void note_bell(struct im_op *op, uint32_t bell)
{
	if (op->n_bells < IM_OP_BELLS)
		op->bells[op->n_bells++] = bell;
	else
		op->n_bells = ALL_BELLS;
}

static void note_bells(struct im_op *op, const unsigned char *key, uint32_t key_len,
		       uint64_t hash)
{
	const struct ipcmap *m = op->m;
	uint64_t lens = im_load_rlx(&m->waits->prefix_lens);

	note_bell(op, (uint32_t)(hash % m->n_bells));
	for (; lens && op->n_bells <= IM_OP_BELLS; lens &= lens - 1) {
		uint32_t n = (uint32_t)__builtin_ctzll(lens);

		n = n ? n : IM_EVENT_PREFIX_MAX;
		if (n <= key_len)
			note_bell(op, im_event_bell(m, key, n));
	}
}

/* Bytes at place @at of all, going round. */
static void fill(unsigned char *ring, uint32_t len, uint64_t at, const void *from, uint32_t n)
{
	uint32_t off = (uint32_t)at & (len - 1), first = min_u32(n, len - off);

	im_fill_racy(ring + off, from, first);
	im_fill_racy(ring, (const unsigned char *)from + first, n - first);
}

static void append(struct im_op *op, enum fmt_event_op what, const void *key, uint32_t key_len,
		   uint64_t hash, uint64_t version)
{
	static const unsigned char zeros[8];
	struct fmt_shard *s = op->s;
	uint32_t ext = im_event_extent(op->seg, s, op->shard), len = op->seg->extent_len;
	uint64_t head = im_load_rlx(&s->ring_head) & ~UINT64_C(7);
	uint32_t kept = min_u32(key_len, im_event_key_max(op->seg));
	uint32_t size = (uint32_t)(sizeof(struct fmt_event) + align_up(kept, 8));
	struct fmt_event e = {
		.what = (version & FMT_VERSION_MASK) | (uint64_t)what << 48 |
			(kept < key_len ? CUT : 0),
		.sizes = size | (uint64_t)key_len << 32 | (head >> 3 & 0xffff) << 48,
		.hash = hash,
	};
	unsigned char *ring;

	if (ext == FMT_NO_EXTENT || !op->m->waits)
		return; /* hostile bytes */
	ring = im_seg_extent(op->seg, ext);
	fill(ring, len, head, &e, sizeof(e));
	if (kept)
		fill(ring, len, head + sizeof(e), key, kept);
	fill(ring, len, head + sizeof(e) + kept, zeros, size - (uint32_t)sizeof(e) - kept);
	crash("event.bytes");
	/* ord(event): the change, these bytes, then ring_head. Pairs with watch.c. What comes
	 * later is written after the barrier that ends the list. */
	im_redo_set(op, &s->ring_head, head + size);
	im_store_rlx(&s->events, im_load_rlx(&s->events) + 1);
	if (!op->told) {
		op->told = true;
		op->lapped = false;
		op->n_bells = 0;
	}
	if ((head ^ (head + size)) & ~((uint64_t)len - 1)) {
		op->lapped = true;
		op->lap_shard = op->shard;
	}
}

void im_event_add(struct im_op *op, enum fmt_event_op what, const void *key, uint32_t key_len,
		  uint64_t hash, uint64_t version)
{
	append(op, what, key, key_len, hash, version);
	if (!op->told)
		return;
	if (key)
		note_bells(op, key, key_len, hash);
	else
		op->n_bells = ALL_BELLS;
}

static uint64_t take_version(struct im_op *op)
{
	uint64_t version = im_load_rlx(&op->s->version);

	if (version < FMT_VERSION_MASK)
		im_redo_set(op, &op->s->version, version + 1);
	return version;
}

void im_event_gone(struct im_op *op, enum fmt_event_op what)
{
	im_event_add(op, what, op->key, op->key_len, op->hash, take_version(op));
}

void im_event_expired(struct im_op *op, const struct im_entry *e)
{
	unsigned char begin[IM_EVENT_PREFIX_MAX];
	const unsigned char *key = im_entry_key(e);
	uint64_t hash = im_large_hash(op->seg, e);
	struct fmt_chain c;

	if (e->flags & FMT_F_FARKEY) {
		im_entry_chain(e, &c);
		if (c.first >= op->seg->n_extents)
			return; /* hostile bytes */
		key = im_seg_extent(op->seg, c.first); /* it has more than is kept of a key */
	}
	append(op, FMT_EVENT_EXPIRE, key, e->key_len, hash, take_version(op));
	if (!op->told)
		return;
	/* these bytes are shared: the hash wants such as stand still */
	im_copy_racy(begin, key, min_u32(e->key_len, sizeof(begin)));
	note_bells(op, begin, e->key_len, hash);
}

/* ---- without a lock ---- */

void im_event_ring(struct im_op *op)
{
	struct ipcmap *m = op->m;

	if (!m->waits)
		return;
	if (op->n_bells > IM_OP_BELLS) {
		im_event_ring_all(m);
	} else {
		for (unsigned i = 0; i < op->n_bells; i++)
			im_bell_ring(&m->bells[op->bells[i]]);
		im_bell_ring(&m->waits->any);
	}
	op->told = false;
}

void im_event_ring_all(struct ipcmap *m)
{
	for (uint32_t i = 0; i < m->n_bells; i++)
		im_bell_ring(&m->bells[i]);
	im_bell_ring(&m->waits->any);
}
