/* SPDX-License-Identifier: MIT */
/*
 * thin.c - fewer extents of overflow buckets
 *
 * After many deletes few overflow buckets are in use, scattered over extents that hold free
 * ones otherwise, all in one list. So all extents are to go but a fresh one, by steps:
 *
 *   start  the newest extent is the fresh one, if it is not all handed out; else one is begun
 *   aside  the free buckets leave their list; a mark in each says so
 *   move   a bucket in use is replaced: an empty one is appended to its chain, the slots are
 *          copied there, and one redo list takes it out of the chain and sets it aside
 *   free   an extent that has nothing but buckets set aside is unlinked and freed
 *   back   what is aside in the extents that stay is free again
 *
 * Each step is bounded and leaves the shard whole. Writers that free buckets meanwhile put
 * them into the list as always, whatever extent they are in: that is looked at again, ROUNDS
 * times. What a killed compaction leaves aside is used by nobody; the next one takes it back.
 *
 * Readers. A reader finds a key in the old place until moves has changed; the list raises it
 * before it clears the old bucket and its link, and after it has unlinked it, so whoever can
 * miss the key, or the rest of the chain, has begun before and looks again.
 *
 * Tried on paper and dropped: counts and lists of free buckets for each extent. Every insert
 * into a chain and every delete would pay for them.
 */
#include "thin.h"

#include "chain.h"
#include "crash.h"
#include "redo.h"
#include "room.h"

#define ROUNDS 3u
#define LISTS 32u   /* redo lists of a stay */
#define WALKED 512u /* buckets of a stay, looked at for overflow buckets */
#define MOVED 16u   /* of a stay */
#define PER_LIST (FMT_REDO_MAX - 1)

static uint32_t per_extent(const struct im_op *op)
{
	return op->seg->extent_len / (uint32_t)sizeof(struct fmt_bucket);
}

static struct fmt_bucket *bucket_at(const struct im_op *op, uint32_t ref, uint32_t *ret_ext)
{
	struct fmt_bucket *b =
		(struct fmt_bucket *)(void *)im_at(op->seg, ref, sizeof(*b), ret_ext);

	return b && !((uintptr_t)b & (sizeof(*b) - 1)) ? b : NULL;
}

/* Is the extent one of those that are to go? Those before them in the list are few. */
static bool is_old(const struct im_op *op, const struct im_thin *t, uint32_t ext)
{
	uint32_t at = im_load32_rlx(&op->s->ovf_first);
	uint32_t n = min_u32(im_load32_rlx(&op->s->n_ovf_ext), op->seg->n_extents);

	for (; n && at < op->seg->n_extents && at != t->old; n--) {
		if (at == ext)
			return false;
		at = im_load32_rlx(&op->seg->table[at].next);
	}
	return true;
}

/* ---- start ---- */

uint32_t im_thin_spare(const struct im_op *op)
{
	uint64_t per = per_extent(op), need = (im_load_rlx(&op->s->n_ovf) + per - 1) / per;
	uint32_t have = im_load32_rlx(&op->s->n_ovf_ext);

	return have > need ? have - (uint32_t)need : 0;
}

/* What the newest extent, @ext, has not handed out yet. True: more to do. */
static bool set_rest_aside(struct im_op *op, uint32_t ext)
{
	struct fmt_shard *s = op->s;
	uint32_t e = op->seg->extent_len;
	const uint32_t len = (uint32_t)sizeof(struct fmt_bucket);

	for (unsigned i = 0; i < LISTS; i++) {
		uint64_t pos = im_load32_rlx(&s->ovf_pos);

		if (pos + len > e || pos % len)
			return false;
		im_redo_start(op);
		for (unsigned k = 0; k < PER_LIST && pos + len <= e; k++) {
			struct fmt_bucket *b =
				(struct fmt_bucket *)(void *)(im_seg_extent(op->seg, ext) +
							      pos);

			im_store_rlx(&b->tags[0], 0); /* nothing leads to it */
			im_redo_set(op, &b->tags[1], FMT_ASIDE);
			pos += len;
		}
		im_redo_set32(op, &s->ovf_pos, (uint32_t)pos);
		im_redo_run(op);
	}
	return true;
}

static int go_on(struct im_thin *t, enum im_thin_phase phase)
{
	t->phase = phase;
	t->at = 0;
	t->seen = FMT_NO_EXTENT;
	return 1;
}

/*
 * The first time the newest extent will do as it is: so one that was begun by a compaction that
 * was stopped is used. What is free in it cannot be had, so the next time a fresh one is begun.
 */
static int start(struct im_op *op, struct im_thin *t)
{
	struct fmt_shard *s = op->s;
	uint32_t newest;
	bool room = im_load32_rlx(&s->ovf_pos) < op->seg->extent_len && !t->rounds;
	bool used = im_load_rlx(&s->n_ovf) != 0;

	if (!im_load32_rlx(&s->n_ovf_ext))
		return 0;
	im_index_trim_image(op);
	if (!im_thin_spare(op) || (used && !room && t->poor))
		return go_on(t, IM_THIN_BACK);
	newest = t->old = im_load32_rlx(&s->ovf_first);
	if (newest >= op->seg->n_extents)
		return 0;
	if (used && room) {
		t->old = im_load32_rlx(&op->seg->table[newest].next);
		return go_on(t, IM_THIN_ASIDE);
	}
	if (used && im_load32_rlx(&s->ahead) >= op->seg->n_extents)
		return IM_NEED;
	if (set_rest_aside(op, newest))
		return 1;
	return used && im_index_add_overflow(op) ? IM_NEED : go_on(t, IM_THIN_ASIDE);
}

/* ---- aside ---- */

/* One redo list of free buckets. False: there are none, or the list is broken. */
static bool set_aside(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t ref = im_load32_rlx(&s->ovf_free), ext;
	unsigned k = 0;

	im_redo_start(op);
	for (; ref && k < PER_LIST; k++) {
		struct fmt_bucket *b = bucket_at(op, ref, &ext);

		if (!b)
			break;
		ref = (uint32_t)(im_load_rlx(&b->tags[1]) >> FMT_LINK_SHIFT);
		im_redo_set(op, &b->tags[1], FMT_ASIDE);
	}
	if (!k)
		return false;
	im_redo_set32(op, &s->ovf_free, ref);
	im_redo_run(op);
	return true;
}

static int aside(struct im_op *op, struct im_thin *t)
{
	for (unsigned i = 0; i < LISTS; i++)
		if (!set_aside(op))
			return go_on(t, IM_THIN_MOVE);
	return 1;
}

/* ---- move ---- */

/* An empty bucket of the fresh extents at the end of the chain: 0; IM_NEED; -1: none. */
static int append(struct im_op *op, const struct im_thin *t, struct im_chain *c)
{
	struct fmt_bucket *b;
	uint32_t ext;
	int r;

	if (c->n == IM_CHAIN_MAX)
		return -1;
	for (unsigned i = 0; i < LISTS && set_aside(op); i++)
		; /* freed meanwhile, and perhaps old */
	r = im_index_extend(op, c->b[c->n - 1], &b);
	if (r)
		return r == IM_NEED ? r : -1;
	c->b[c->n++] = b;
	return bucket_at(op, im_ref_of(op->seg, b), &ext) && !is_old(op, t, ext) ? 0 : -1;
}

/* Bucket @k of the chain is replaced by one at its end: 0, or as append(). */
static int replace(struct im_op *op, const struct im_thin *t, uint64_t bucket,
		   struct im_chain *c, unsigned k)
{
	struct fmt_shard *s = op->s;
	struct fmt_bucket *b = c->b[k], *before = c->b[k - 1], *to;
	int r;

	im_store32_rel(&s->uncompact, (uint32_t)bucket + 1);
	crash("trim.begun");
	r = append(op, t, c);
	if (r) {
		im_chain_compact(op, bucket); /* takes an empty one back */
		return r;
	}
	to = c->b[c->n - 1];
	for (unsigned i = 0; i < FMT_SLOTS; i++) {
		im_store32_rel(&to->ref[i], im_load32_rlx(&b->ref[i]));
		im_chain_set_tag(to, i, im_chain_tag(b, i));
	}
	crash("compact.copied");
	im_redo_start(op);
	im_redo_set(op, &before->tags[1],
		    (im_load_rlx(&before->tags[1]) & ((UINT64_C(1) << FMT_LINK_SHIFT) - 1)) |
			    im_load_rlx(&b->tags[1]) >> FMT_LINK_SHIFT << FMT_LINK_SHIFT);
	/* ord(moves): the copies before, the clearing after. Pairs with read.c. */
	im_redo_set(op, &s->geometry, im_load_rlx(&s->geometry) + FMT_BUCKETS_MASK + 1);
	im_redo_set(op, &b->tags[0], 0);
	im_redo_set(op, &b->tags[1], FMT_ASIDE);
	im_redo_set(op, &s->n_ovf, im_load_rlx(&s->n_ovf) - 1);
	im_redo_run(op);
	im_store32_rel(&s->uncompact, 0);
	return 0;
}

/* All old ones of a chain: 0, or as append(). */
static int replace_chain(struct im_op *op, const struct im_thin *t, uint64_t bucket,
			 unsigned *moved)
{
	unsigned k = 1, rounds = 2 * IM_CHAIN_MAX; /* hostile bytes: an end */
	struct im_chain c;
	uint32_t ext;
	int r;

	while (im_chain_walk(op, im_bucket(op->m, op->dir, bucket), &c) && k < c.n &&
	       rounds--) {
		if (!bucket_at(op, im_ref_of(op->seg, c.b[k]), &ext) || !is_old(op, t, ext)) {
			k++;
			continue;
		}
		r = replace(op, t, bucket, &c, k);
		if (r)
			return r;
		++*moved; /* the next one is at @k now */
	}
	return 0;
}

static int move(struct im_op *op, struct im_thin *t)
{
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;
	uint64_t last = min_u64(t->at + WALKED, n);
	unsigned moved = 0;
	int r = 0;

	if (!im_load_rlx(&op->s->n_ovf))
		return go_on(t, IM_THIN_FREE);
	for (; t->at < last && moved < MOVED; t->at++) {
		const struct fmt_bucket *b = im_bucket(op->m, op->dir, t->at);

		if (b && im_load_rlx(&b->tags[1]) >> FMT_LINK_SHIFT)
			r = replace_chain(op, t, t->at, &moved);
		if (r == IM_NEED && !t->poor)
			return r;
		if (r)
			break;
	}
	if (!r && t->at < n)
		return 1;
	im_index_trim_image(op);
	return go_on(t, IM_THIN_FREE);
}

/* ---- free ---- */

static bool all_aside(const struct im_op *op, uint32_t ext)
{
	const struct fmt_bucket *b =
		(const struct fmt_bucket *)(const void *)im_seg_extent(op->seg, ext);

	for (uint32_t i = 0; i < per_extent(op); i++)
		if (im_load_rlx(&b[i].tags[1]) != FMT_ASIDE || im_load_rlx(&b[i].tags[0]))
			return false;
	return true;
}

/* The extent behind @before in the list, or the first. */
static void release(struct im_op *op, uint32_t before, uint32_t ext)
{
	struct fmt_shard *s = op->s;
	uint32_t next = im_load32_rlx(&op->seg->table[ext].next);
	uint32_t n = im_load32_rlx(&s->n_ovf_ext) - 1;

	if (!n)
		next = FMT_NO_EXTENT;
	im_redo_start(op);
	/* ord(reclaim): moves was raised when its buckets left their chains. */
	im_redo_set(op, &s->reclaim_seq, im_load_rlx(&s->reclaim_seq) + 1);
	if (before != FMT_NO_EXTENT) {
		im_redo_set32(op, &op->seg->table[before].next, next);
	} else {
		im_redo_set32(op, &s->ovf_first, next);
		im_redo_set32(op, &s->ovf_pos, n ? op->seg->extent_len : 0);
	}
	im_redo_set32(op, &s->n_ovf_ext, n);
	im_room_free_later(op, ext);
	im_redo_run(op);
	crash("merge.dropped");
	im_room_try_settle(op);
}

/* The next extent of the list behind @seen, and the one before it. FMT_NO_EXTENT: none. */
static uint32_t next_extent(const struct im_op *op, const struct im_thin *t, bool old,
			    uint32_t *ret_before)
{
	uint32_t n = min_u32(im_load32_rlx(&op->s->n_ovf_ext), op->seg->n_extents);
	uint32_t ext = im_load32_rlx(&op->s->ovf_first);
	bool passed = t->seen == FMT_NO_EXTENT;

	*ret_before = FMT_NO_EXTENT;
	for (; n && ext < op->seg->n_extents; n--) {
		if (passed && (!old || is_old(op, t, ext)))
			return ext;
		passed |= ext == t->seen;
		*ret_before = ext;
		ext = im_load32_rlx(&op->seg->table[ext].next);
	}
	return FMT_NO_EXTENT;
}

/* One extent is looked at. */
static int free_one(struct im_op *op, struct im_thin *t)
{
	uint32_t before, ext = next_extent(op, t, true, &before);
	bool newest = before == FMT_NO_EXTENT;

	if (ext == FMT_NO_EXTENT && im_thin_spare(op) && ++t->rounds < ROUNDS)
		return go_on(t, IM_THIN_START);
	if (ext == FMT_NO_EXTENT)
		return go_on(t, IM_THIN_BACK);
	/* the newest may have a rest that was not handed out */
	if ((newest && im_load32_rlx(&op->s->ovf_pos) < op->seg->extent_len) ||
	    !all_aside(op, ext) || !im_room_try_settle(op)) {
		t->seen = ext;
		return 1;
	}
	if (t->old == ext)
		t->old = im_load32_rlx(&op->seg->table[ext].next);
	release(op, before, ext);
	return 1;
}

/* ---- back ---- */

/* Up to a redo list's of buckets of the extent, from *@at on, are free again. False: no more.
 */
static bool put_back(struct im_op *op, uint32_t ext, uint32_t end, uint64_t *at)
{
	struct fmt_bucket *b = (struct fmt_bucket *)(void *)im_seg_extent(op->seg, ext);
	uint32_t free = im_load32_rlx(&op->s->ovf_free);
	unsigned k = 0;

	im_redo_start(op);
	for (; *at < end && k < PER_LIST; ++*at) {
		if (im_load_rlx(&b[*at].tags[1]) != FMT_ASIDE)
			continue;
		im_redo_set(op, &b[*at].tags[1], (uint64_t)free << FMT_LINK_SHIFT);
		free = im_ref_of(op->seg, &b[*at]);
		k++;
	}
	if (!k)
		return false;
	im_redo_set32(op, &op->s->ovf_free, free);
	im_redo_run(op);
	return true;
}

static int back(struct im_op *op, struct im_thin *t)
{
	uint32_t before, ext = next_extent(op, t, false, &before);
	uint32_t end = per_extent(op);

	if (ext == FMT_NO_EXTENT)
		return 0;
	if (before == FMT_NO_EXTENT)
		end = min_u32(end, im_load32_rlx(&op->s->ovf_pos) / sizeof(struct fmt_bucket));
	for (unsigned i = 0; i < LISTS; i++)
		if (!put_back(op, ext, end, &t->at)) {
			t->seen = ext;
			t->at = 0;
			break;
		}
	return 1;
}

int im_thin_step(struct im_op *op, struct im_thin *t)
{
	switch (t->phase) {
	case IM_THIN_START:
		return start(op, t);
	case IM_THIN_ASIDE:
		return aside(op, t);
	case IM_THIN_MOVE:
		return move(op, t);
	case IM_THIN_FREE:
		return free_one(op, t);
	default:
		return back(op, t);
	}
}
