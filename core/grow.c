/* SPDX-License-Identifier: MIT */
/*
 * grow.c - one bucket more, one bucket less
 *
 * A split copies the keys that belong to the new bucket into its image chain, which no
 * reader reaches; publishes the geometry; then clears the old places. A reader with the old
 * geometry finds a key in the old place until it is cleared, and then sees that its bucket
 * has changed and looks again. The image is begun afresh by every attempt, so a kill before
 * publication leaves nothing to undo; a kill after it leaves unsplit set, and the successor
 * clears.
 *
 * A merge is the same backwards: unsplit is set for the bucket that takes the keys; the last
 * bucket's keys are copied there; the geometry with one bucket less, and with `moves` raised,
 * is published. Killed before that, the successor finds keys in the bucket that belong to the
 * last one and clears the copies; killed after it, all belong. The last bucket, now beyond the
 * geometry, is the image of the next split, overflow buckets and all. A reader that looked
 * for a key in the one bucket before the copy and in no other sees that `moves` has changed.
 */
#include "chain.h"

#include "crash.h"
#include "redo.h"
#include "room.h"

/*
 * Half keys per bucket at which one more bucket is made: 9.5 of 11 slots. Measured from half a
 * million to two million keys, overflow buckets included: 8.7 bytes of index a key on average,
 * 9.0 at worst (8: 9.3 and 9.6; 10: 8.6 and 8.8, with a third of the buckets overflowing).
 */
#define LOAD_MAX_HALVES 19u

/* ---- split ---- */

static void prefetch_entries(struct im_op *op, const struct im_chain *c)
{
	uint32_t ext;

	for (unsigned k = 0; k < c->n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (im_chain_tag(c->b[k], i))
				__builtin_prefetch(im_at(op->seg,
							 im_load32_rlx(&c->b[k]->ref[i]),
							 FMT_ENTRY_HEAD, &ext));
}

/* Bit per slot of each bucket of the chain that moves to @to; returns how many. */
static unsigned movers(struct im_op *op, const struct im_chain *c, uint64_t to, uint16_t *bits)
{
	unsigned n = 0;

	for (unsigned k = 0; k < c->n; k++) {
		bits[k] = 0;
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (im_chain_tag(c->b[k], i) && im_chain_belongs(op, c->b[k], i, to, to + 1)) {
				bits[k] |= (uint16_t)(1u << i);
				n++;
			}
	}
	return n;
}

/* An empty image chain with room for @n keys. False: no memory now. */
static bool prepare_image(struct im_op *op, uint64_t to, unsigned n, struct im_chain *ret)
{
	struct fmt_bucket *image = im_bucket(op->m, op->dir, to);
	struct fmt_bucket *b;

	if (!image)
		return false;
	if (im_load32_rlx(&op->s->image) != (uint32_t)(to + 1)) {
		im_bucket_wipe(image);
		im_store32_rel(&op->s->image, (uint32_t)(to + 1));
		crash("split.wiped");
	}
	if (!im_chain_walk(op, image, ret))
		return false;
	while (ret->n * FMT_SLOTS < n) {
		if (ret->n == IM_CHAIN_MAX || im_index_extend(op, ret->b[ret->n - 1], &b))
			return false;
		ret->b[ret->n++] = b;
		crash("split.extended");
	}
	for (unsigned k = 0; k < ret->n; k++) {
		uint64_t t1 = im_load_rlx(&ret->b[k]->tags[1]);

		im_store_rlx(&ret->b[k]->tags[0], 0);
		im_store_rlx(&ret->b[k]->tags[1], t1 & ~FMT_TAGS1_MASK);
	}
	return true;
}

static void copy_movers(const struct im_chain *from, const uint16_t *bits, const struct im_chain *to)
{
	unsigned at = 0;

	for (unsigned k = 0; k < from->n; k++)
		for (unsigned left = bits[k]; left; left &= left - 1, at++) {
			unsigned i = (unsigned)__builtin_ctz(left);
			struct fmt_bucket *b = to->b[at / FMT_SLOTS];

			im_store32_rel(&b->ref[at % FMT_SLOTS],
				       im_load32_rlx(&from->b[k]->ref[i]));
			im_chain_set_tag(b, at % FMT_SLOTS, im_chain_tag(from->b[k], i));
		}
}

/* After publication: the old chain's keys that belong elsewhere are named twice. */
static void clear_moved(struct im_op *op, uint64_t from)
{
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;
	struct im_chain c;

	im_chain_walk(op, im_bucket(op->m, op->dir, from), &c);
	for (unsigned k = 0; k < c.n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (im_chain_tag(c.b[k], i) && !im_chain_belongs(op, c.b[k], i, from, n)) {
				im_chain_set_tag(c.b[k], i, 0);
				crash("split.cleared");
			}
	im_store32_rel(&op->s->unsplit, 0);
	crash("split.done");
}

/* ---- growth ---- */

static void split(struct im_op *op, uint64_t n)
{
	struct fmt_shard *s = op->s;
	uint64_t from = n ^ (UINT64_C(1) << (63 - __builtin_clzll(n)));
	struct im_chain old, image;
	uint16_t bits[IM_CHAIN_MAX];
	struct fmt_bucket *b = im_bucket(op->m, op->dir, from);

	if (!b || !im_chain_walk(op, b, &old))
		return;
	prefetch_entries(op, &old);
	if (!prepare_image(op, n, movers(op, &old, n, bits), &image))
		return;
	copy_movers(&old, bits, &image);
	crash("split.copied");
	im_redo_start(op);
	im_redo_set32(op, &s->unsplit, (uint32_t)from + 1);
	im_redo_set32(op, &s->image, 0);
	/* ord(geometry): image and directory before it. Pairs with read.c. */
	im_redo_set(op, &s->geometry, im_load_rlx(&s->geometry) + 1);
	im_redo_run(op);
	clear_moved(op, from);
	if (old.n > 1) {
		im_store32_rel(&s->uncompact, (uint32_t)from + 1);
		im_chain_compact(op, from);
	}
}

void im_index_grow(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint64_t n = im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK;

	if (likely(im_load_rlx(&s->entries) * 2 <= n * LOAD_MAX_HALVES))
		return;
	if (!n)
		return; /* hostile bytes: there were some */
	if (n >> op->m->dir_shift >= im_load32_rlx(&s->n_index)) {
		if (im_load32_rlx(&s->n_index) >= op->m->dir_cap)
			return;
		if (im_load32_rlx(&s->ahead) >= op->seg->n_extents) {
			op->want_ahead = true;
			return;
		}
		if (!im_index_add(op))
			return;
	}
	if (n < UINT32_MAX - 1)
		split(op, n);
}

/* ---- less ---- */

/* Keys per bucket up to which buckets are merged: well below where they are split again. */
#define LOAD_MIN 7u
#define BUCKETS_MIN 16u

static unsigned count_keys(const struct im_chain *c)
{
	unsigned n = 0;

	for (unsigned k = 0; k < c->n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			n += im_chain_tag(c->b[k], i) != 0;
	return n;
}

/* Free slots for @n more keys at the end of the chain. */
static bool make_slots(struct im_op *op, struct im_chain *c, unsigned n)
{
	unsigned used = count_keys(c);
	struct fmt_bucket *b;

	while (c->n * FMT_SLOTS - used < n) {
		if (c->n == IM_CHAIN_MAX || im_index_extend(op, c->b[c->n - 1], &b))
			return false;
		c->b[c->n++] = b;
	}
	return true;
}

static void copy_all(const struct im_chain *from, const struct im_chain *to)
{
	unsigned at = 0;

	for (unsigned k = 0; k < from->n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++) {
			if (!im_chain_tag(from->b[k], i))
				continue;
			while (at < to->n * FMT_SLOTS &&
			       im_chain_tag(to->b[at / FMT_SLOTS], at % FMT_SLOTS))
				at++;
			if (at == to->n * FMT_SLOTS)
				return; /* hostile bytes: there was room when it was counted */
			im_store32_rel(&to->b[at / FMT_SLOTS]->ref[at % FMT_SLOTS],
				       im_load32_rlx(&from->b[k]->ref[i]));
			im_chain_set_tag(to->b[at / FMT_SLOTS], at % FMT_SLOTS,
					 im_chain_tag(from->b[k], i));
			crash("merge.copied");
		}
}

/* The last index extent holds no bucket any more. */
static void drop_extent(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t n = im_load32_rlx(&s->n_index), ext;

	if (!n || n > op->m->dir_cap || !im_room_try_settle(op))
		return;
	ext = im_dir_extent(op->m, im_load32_rlx(&op->dir[n - 1]));
	if (ext >= op->seg->n_extents)
		return;
	im_redo_start(op);
	/* ord(reclaim): the geometry that reached it is history since the merge. */
	im_redo_set(op, &s->reclaim_seq, im_load_rlx(&s->reclaim_seq) + 1);
	im_redo_set32(op, &s->n_index, n - 1);
	im_redo_set32(op, &s->image, 0);
	im_room_free_later(op, ext);
	im_redo_run(op);
	crash("merge.dropped");
	im_room_try_settle(op);
}

/* After a merge the next image is another bucket. */
void im_index_trim_image(struct im_op *op)
{
	uint32_t image = im_load32_rlx(&op->s->image);
	struct im_chain c;

	if (!image || !im_chain_walk(op, im_bucket(op->m, op->dir, image - 1), &c))
		return;
	for (unsigned k = 0; k < c.n; k++) {
		im_store_rel(&c.b[k]->tags[0], 0);
		im_store_rel(&c.b[k]->tags[1],
			     im_load_rlx(&c.b[k]->tags[1]) & ~FMT_TAGS1_MASK);
	}
	im_chain_raise_moves(op->s);
	while (c.n > 1)
		im_chain_unlink_tail(op, &c);
}

bool im_index_shrink(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint64_t n = im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK, last = n - 1, into;
	struct im_chain from, to;

	if (n <= BUCKETS_MIN || im_load_rlx(&s->entries) > (n - 1) * LOAD_MIN)
		return false;
	im_index_trim_image(op);
	into = last ^ (UINT64_C(1) << (63 - __builtin_clzll(last)));
	if (!im_chain_walk(op, im_bucket(op->m, op->dir, last), &from) ||
	    !im_chain_walk(op, im_bucket(op->m, op->dir, into), &to) ||
	    !make_slots(op, &to, count_keys(&from)))
		return false;
	im_store32_rel(&s->unsplit, (uint32_t)into + 1);
	crash("merge.begun");
	copy_all(&from, &to);
	im_redo_start(op);
	im_redo_set32(op, &s->image, (uint32_t)last + 1);
	/* ord(moves), ord(geometry): the copies before it. Pairs with read.c. */
	im_redo_set(op, &s->geometry,
		    im_load_rlx(&s->geometry) + FMT_BUCKETS_MASK + 1 - 1);
	im_redo_run(op);
	crash("merge.published");
	im_store32_rel(&s->unsplit, 0);
	im_index_trim_image(op);
	if (im_load32_rlx(&s->n_index) > ((last - 1) >> op->m->dir_shift) + 1)
		drop_extent(op);
	return true;
}

uint32_t im_index_spare(const struct im_op *op, uint64_t entries)
{
	uint64_t n = max_u64(entries / LOAD_MIN + 1, BUCKETS_MIN);
	uint64_t need = ((n - 1) >> op->m->dir_shift) + 1, have = im_load32_rlx(&op->s->n_index);

	return have > need ? (uint32_t)(have - need) : 0;
}

void im_index_finish(struct im_op *op)
{
	uint32_t b = im_load32_rlx(&op->s->unsplit);

	if (b) {
		clear_moved(op, b - 1);
		im_store32_rel(&op->s->uncompact, b);
	}
	b = im_load32_rlx(&op->s->uncompact);
	if (b)
		im_chain_compact(op, b - 1);
}
