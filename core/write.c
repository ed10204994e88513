/* SPDX-License-Identifier: MIT */
/*
 * write.c - the write protocol: put
 *
 *     (compress; fill a large value) lock; find; decide; append; redo list: publish and account; unlock
 *
 * Everything that can fail comes before the first change: conditions, room in the hot head, a
 * free slot. If memory is missing the lock is left, an extent is fetched, and all is
 * decided again. From the armed redo list on, the write happens, whoever is killed.
 *
 * The order in the list is what readers see: reference, tag, then the books. An update is one
 * store, the reference; a delete is one store, the tag.
 *
 * Invariants
 *  write.I1  entries = the keys named and at or above the floor, at every moment that no list
 *            is armed.
 *  write.I2  versions handed out in a shard rise and are never handed out twice.
 */
#include "write.h"

#include "clean.h"
#include "crash.h"
#include "event.h"
#include "index.h"
#include "large.h"
#include "lease.h"
#include "log.h"
#include "os.h"
#include "publish.h"
#include "request.h"
#include "room.h"
#include "space.h"
#include "value.h"

/* The coarse clock's longest tick (HZ=100), twice: shorter lives might end before they begin. */
#define TTL_MIN_NS UINT64_C(20000000)

/* ---- life ---- */

static uint64_t random_below(uint64_t n)
{
	static __thread uint64_t state __attribute__((tls_model("initial-exec")));

	if (!state)
		state = im_os->now() ^ (uint64_t)(uintptr_t)&state;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n ? state % n : 0;
}

void im_write_life(struct im_op *op, const struct im_request *q, const struct im_entry *old,
		   struct im_record *rec)
{
	uint64_t ttl = q->how->ttl_ns;

	if (q->as_is)
		return;
	rec->flags &= ~FMT_F_TTL;
	if (ttl == IPCMAP_TTL_KEEP && old) {
		if (old->flags & FMT_F_TTL) {
			rec->flags |= FMT_F_TTL;
			rec->expiry = im_entry_expiry(old);
		}
		return;
	}
	if (ttl == IPCMAP_TTL_KEEP)
		ttl = q->ttl_new_ns;
	if (ttl == 0)
		ttl = im_load_rlx(&op->seg->h->ttl_ns);
	if (ttl == IPCMAP_TTL_NONE)
		return;
	if (q->how->jitter)
		ttl -= random_below(ttl / 100 * q->how->jitter + 1);
	ttl = max_u64(ttl, TTL_MIN_NS);
	rec->flags |= FMT_F_TTL;
	rec->expiry = im_op_now(op) + ttl;
	if (rec->expiry < ttl || rec->expiry >= UINT64_MAX - 1)
		rec->expiry = UINT64_MAX - 2;
}

/* ---- put ---- */

/* Room for the record: in the live data's cap, the hot head, the chain. 0; IM_NEED; error. */
static int find_room(struct im_op *op, struct im_slot *slot, bool found,
		     const struct im_record *rec)
{
	struct fmt_shard *s = op->s;
	uint32_t old = found && im_request_counts(op, &slot->e) ? slot->e.size : 0;
	int r;

	op->grow = rec->size > old ? rec->size - old : 0;
	if (unlikely(op->grow > im_room_slack(s)) && op->grow)
		return IM_NEED;
	r = im_room_hot(op, rec->size);
	if (unlikely(r))
		return r;
	if (!found && unlikely(!slot->free_b)) {
		if (slot->n >= IM_CHAIN_MAX)
			return IPCMAP_LIMIT; /* the shard's directory is full */
		r = im_index_extend(op, slot->tail, &slot->free_b);
		slot->free_i = 0;
		if (r)
			return r;
	}
	if (found && slot->e.flags & FMT_F_LARGE)
		return im_room_settle(op); /* the place for what is to be freed must be free */
	return 0;
}

/* After a write: what the next ones will need. */
static void look_ahead(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t hot = im_load32_rlx(&s->head[FMT_HOT]);

	if (likely(im_load32_rlx(&s->ahead) != FMT_NO_EXTENT &&
		   im_room_slack(s) >= op->seg->extent_len / 2))
		return;
	if (hot < op->seg->n_extents &&
	    im_load32_rlx(&op->seg->table[hot].fill) > op->seg->extent_len / 2) {
		op->grow = op->seg->extent_len / 2;
		op->want_ahead = true;
	}
}

static int put_locked(struct im_op *op, struct im_request *q, struct im_record *rec,
		      uint64_t chain_word)
{
	struct fmt_shard *s = op->s;
	struct im_slot slot;
	const struct im_entry *old = NULL;
	uint64_t books = 0;
	int found, r;

	if (unlikely(!(im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK))) {
		r = im_index_start(op);
		if (r)
			return r;
	}
	found = im_index_find(op, &slot);
	if (unlikely(found < 0))
		return found;
	if (found && im_request_alive(op, &slot.e))
		old = &slot.e;
	r = im_request_judge(op, q, old);
	if (r)
		return r;
	rec->version = im_load_rlx(&s->version);
	if (unlikely(rec->version >= FMT_VERSION_MASK))
		return IPCMAP_RANGE;
	if (q->make) {
		r = q->make(op, q, old, rec);
		if (r)
			return r;
	}
	im_write_life(op, q, old, rec);
	rec->size = (uint32_t)im_entry_round(
		op->seg, im_entry_len(rec->flags, rec->key_len, rec->val_len));
	r = find_room(op, &slot, found, rec);
	if (r)
		return r;
	if (found)
		books = im_load_rlx(&op->seg->table[slot.e.ext].books);
	if (unlikely(!im_publish(op, &slot, found, rec, chain_word)))
		return IPCMAP_CORRUPT;
	crash("put.stored");
	im_room_try_settle(op);
	if (found)
		im_clean_note(op, slot.e.ext, books,
			      im_load_rlx(&op->seg->table[slot.e.ext].books));
	im_index_grow(op);
	im_clean_pace(op, rec->size);
	look_ahead(op);
	return 0;
}

/* A value of its own extents; memory is made as for any other. */
static int make_chain(struct im_op *op, struct im_record *rec, uint64_t *ret_word)
{
	uint64_t len = (uint64_t)rec->val_len + (rec->flags & FMT_F_FARKEY ? rec->key_len : 0);
	int r;

	if (len > (uint64_t)op->seg->n_extents * op->seg->extent_len)
		return IPCMAP_TOOBIG;
	/* before it takes all that others could use */
	if (len > (uint64_t)im_load32_rlx(&op->seg->h->space.limit_n) * op->seg->extent_len)
		return IPCMAP_LIMIT;
	op->grow = op->seg->extent_len;
	for (;;) {
		r = im_large_make(op->seg, rec, &op->wait, ret_word);
		if (r != -EDQUOT && r != -ENOSPC && r != -EFBIG)
			return r;
		/* everything was given back; make more free and begin again */
		r = im_clean_make_free(op, len, r);
		if (r)
			return r;
		if (im_wait_over(&op->wait))
			return IPCMAP_BUSY;
	}
}

/* Would the conditions fail now? Then a large value need not be written first. */
static int foresee(struct im_op *op, const struct im_request *q)
{
	struct im_slot slot;
	int found, r = im_op_enter(op);

	if (r)
		return r;
	found = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK ? im_index_find(op, &slot) : 0;
	if (found < 0) {
		r = found;
	} else {
		const struct im_entry *old =
			found && im_request_alive(op, &slot.e) ? &slot.e : NULL;

		r = im_request_check(op, q, old);
		if (r)
			r = im_request_show(op, q, old, r);
	}
	im_op_leave(op);
	return r == IM_LOOK ? 0 : r; /* it is looked at again in any case */
}

int im_write_run(struct ipcmap *m, struct im_request *q, struct im_record *rec)
{
	bool chain = rec->flags & FMT_F_LARGE;
	uint64_t word = 0;
	struct im_op op;
	int r = 0;

	im_op_init(m, &op, q->how->deadline_ns);
	im_op_key(&op, rec->key, rec->key_len, rec->hash);
	if (chain && q->how->flags)
		r = foresee(&op, q);
	if (chain && !r)
		r = make_chain(&op, rec, &word);
	if (r) {
		im_op_done(&op);
		return r;
	}
	for (;;) {
		r = im_op_enter(&op);
		if (r)
			break;
		r = put_locked(&op, q, rec, word);
		im_op_leave(&op);
		if (likely(r != IM_NEED && r != IM_LOOK && r != IM_SETTLE))
			break;
		if (r == IM_SETTLE)
			r = im_space_await(op.seg, &op.wait);
		else
			r = r == IM_LOOK ? im_request_look(&op, q) : im_op_feed(&op);
		if (r)
			break;
	}
	if (chain && r)
		im_large_drop(m->seg, rec);
	else if (chain)
		im_space_handed_over(m->seg);
	im_lease_ring(&op);
	im_op_done(&op);
	return r;
}

/* A value may be as long as the number that means none. */
static bool wants_packing(const struct ipcmap *m, uint32_t len)
{
	uint32_t least = im_load32_rlx(&m->seg->h->pack_min);

	return unlikely(len >= least) && least != IPCMAP_COMPRESS_OFF;
}

static void count_packed(struct ipcmap *m, uint64_t raw_len, uint64_t len)
{
	struct fmt_line *l = im_line(m->seg);

	im_count_by(m->seg, l, &l->raw_len, raw_len);
	im_count_by(m->seg, l, &l->packed_len, len);
}

int im_write_record(struct ipcmap *m, struct im_request *q, struct im_record *rec)
{
	uint32_t raw_len = rec->val_len;
	struct im_scratch scratch;
	bool packed;
	int r;

	packed = wants_packing(m, raw_len) && im_value_pack(rec, &scratch);
	im_large_plan(m->seg, rec);
	r = im_write_run(m, q, rec);
	if (!packed)
		return r;
	if (r == 0)
		count_packed(m, raw_len, rec->val_len);
	im_scratch_give(&scratch);
	return r;
}

int im_write_put(struct ipcmap *m, const void *key, size_t key_len, const void *val,
		 size_t val_len, const struct ipcmap_put_options *how,
		 struct ipcmap_value *ret_old)
{
	struct im_request q = {.how = how ? how : &im_request_plain, .old = ret_old};
	struct im_record rec = {.key = key,
				.val = val,
				.key_len = (uint32_t)key_len,
				.val_len = (uint32_t)val_len,
				.type = q.how->type,
				.hash = im_hash(m->hash_seed, key, key_len)};

	return im_write_record(m, &q, &rec);
}
