/* SPDX-License-Identifier: MIT */
/*
 * ring.c - the ring of a shard that is watched: taken for the first watcher, given back after
 * the last
 *
 * A process that watches says so in its word of the waiting area, which has its generation:
 * when the process is dead the word is void by itself. Only then it takes the lock of each
 * shard, makes the ring if there is none, and reads where the next event will lie. Whoever
 * wants to give the ring back looks at those words under the same lock. So either he sees the
 * word, or the watcher comes to the lock after him and finds no ring.
 *
 * Nobody counts watchers. The last living one to go gives its rings back; rings of those that
 * died are given back by a writer, once each time that it filled the ring: it looks for the
 * living without the lock, and then under it. A shard in which nobody writes keeps such a
 * ring; it costs an extent and no time. The words of the dead are made 0 on the way, by
 * compare-and-swap, so that nobody asks the kernel about them again.
 *
 * The extent is taken as one of a large value is: PRIVATE to the process until a redo list
 * makes it RESERVED, of this shard, and the ring. Each new ring begins at the next multiple of
 * its length, so that no place in an earlier one is a place in it.
 *
 * Invariants
 *  ring.I1  ring is 0, or names a RESERVED extent of the shard that is in no list of it.
 *  ring.I2  while a living process's word has the shard's bit, and it has been under the
 *           shard's lock since, the shard has a ring.
 */
#include "ring.h"

#include "clean.h"
#include "crash.h"
#include "event.h"
#include "redo.h"
#include "room.h"
#include "space.h"

/* The owner that a word of the waiting area is of, as in a lock word. */
static uint32_t owner_of(uint32_t i, uint64_t word)
{
	return (i + 1) | (uint32_t)(word & FMT_WATCH_GEN_MASK) << 10;
}

/* Does a living process watch the shard? */
static bool is_watched(struct ipcmap *m, uint32_t shard)
{
	uint64_t bit = im_ring_group(shard);

	for (uint32_t i = 0; i < m->seg->n_owners; i++) {
		uint64_t w = im_load_rlx(&m->watchers[i]);

		if (!(w & bit))
			continue;
		if (!im_owner_dead(m->seg, owner_of(i, w)))
			return true;
		im_cas_full(&m->watchers[i], w, 0);
		crash("ring.void");
	}
	return false;
}

/* ---- take ---- */

/* A word that names none is replaced. */
static bool has_ring(const struct im_op *op)
{
	return im_event_extent(op->seg, op->s, op->shard) != FMT_NO_EXTENT;
}

/* Under the lock: the extent, which is PRIVATE to this process, is the ring. */
static bool begin(struct im_op *op, uint32_t ext, uint64_t word)
{
	struct fmt_shard *s = op->s;
	uint64_t len = op->seg->extent_len;
	bool done;

	im_redo_start(op);
	im_redo_word(op, ext, word, fmt_word(FMT_RESERVED, op->shard, fmt_word_gen(word)));
	im_redo_set(op, &s->ring_head,
		    (im_load_rlx(&s->ring_head) & ~(len - 1)) + 2 * len);
	im_redo_set32(op, &s->ring, ext + 1);
	done = im_redo_run(op);
	crash("ring.taken");
	return done;
}

static int fetch(struct im_op *op, uint32_t *ext, uint64_t *word)
{
	int r = im_space_take(op->seg, FMT_NO_EXTENT, &op->wait, ext, word);

	if (r == -EDQUOT) {
		im_owner_sweep(op->seg);
		r = im_space_take(op->seg, FMT_NO_EXTENT, &op->wait, ext, word);
	}
	crash("ring.fetched");
	if (r != -EDQUOT && r != -ENOSPC && r != -EFBIG)
		return r;
	r = im_clean_make_free(op, op->seg->extent_len, r);
	return !r && im_wait_over(&op->wait) ? -EBUSY : r;
}

int im_ring_take(struct ipcmap *m, uint32_t shard, uint64_t deadline_ns, uint64_t *ret_head)
{
	uint32_t ext = FMT_NO_EXTENT;
	uint64_t word = 0;
	struct im_op op;
	int r;

	im_op_init(m, &op, deadline_ns);
	im_op_shard(&op, shard);
	for (;;) {
		r = im_op_enter(&op);
		if (r)
			break;
		if (!has_ring(&op) && ext != FMT_NO_EXTENT && begin(&op, ext, word)) {
			ext = FMT_NO_EXTENT;
			im_space_handed_over(m->seg);
		}
		r = has_ring(&op) ? 0 : IM_NEED;
		if (!r)
			*ret_head = im_load_rlx(&op.s->ring_head);
		im_op_leave(&op);
		if (!r)
			break;
		r = ext == FMT_NO_EXTENT ? fetch(&op, &ext, &word) : -EUCLEAN;
		if (r)
			break;
	}
	if (ext != FMT_NO_EXTENT)
		im_space_drop(m->seg, ext);
	im_op_done(&op);
	return r;
}

/* ---- give back ---- */

static int give_back(struct im_op *op)
{
	uint32_t ext = im_event_extent(op->seg, op->s, op->shard);
	int r;

	if (!im_load32_rlx(&op->s->ring) || is_watched(op->m, op->shard))
		return 0;
	r = im_room_settle(op);
	if (r)
		return r;
	im_redo_start(op);
	if (ext != FMT_NO_EXTENT)
		im_room_free_later(op, ext);
	im_redo_set32(op, &op->s->ring, 0);
	im_redo_run(op);
	crash("ring.given");
	im_room_try_settle(op);
	return 0;
}

int im_ring_look(struct ipcmap *m, uint32_t shard, uint64_t deadline_ns)
{
	struct im_op op;
	int r;

	if (!m->waits || !im_load32_rlx(&m->shards[shard].ring) || is_watched(m, shard))
		return 0;
	im_op_init(m, &op, deadline_ns);
	im_op_shard(&op, shard);
	r = im_op_enter(&op);
	if (r == 0) {
		r = give_back(&op);
		im_op_leave(&op);
	}
	im_op_done(&op);
	return r == IM_SETTLE ? -EBUSY : r;
}

/* ---- for people ---- */

uint32_t im_ring_watchers(const struct ipcmap *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->seg->n_owners && m->waits; i++) {
		uint64_t w = im_load_rlx(&m->watchers[i]);

		n += w >> 32 && !im_owner_dead(m->seg, owner_of(i, w));
	}
	return n;
}

uint32_t im_ring_groups_of(const struct ipcmap *m, uint32_t slot, uint32_t gen)
{
	uint64_t w = m->waits ? im_load_rlx(&m->watchers[slot - 1]) : 0;

	return (w & FMT_WATCH_GEN_MASK) == gen ? (uint32_t)(w >> 32) : 0;
}
