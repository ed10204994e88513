/* SPDX-License-Identifier: MIT */
/*
 * index.c - the buckets of one shard: find, start, extend a chain, split, compact a chain
 *
 * A split copies the keys that belong to the new bucket into its image chain, which no
 * reader reaches; publishes the geometry; then clears the old places. A reader with the old
 * geometry finds a key in the old place until it is cleared, and then sees that its bucket
 * has changed and looks again. The image is begun afresh by every attempt, so a kill before
 * publication leaves nothing to undo; a kill after it leaves unsplit set, and the successor
 * clears.
 *
 * Then the old chain is compacted: keys in overflow buckets are copied to free slots before
 * them, `moves` is raised, the old places are cleared, and empty overflow buckets at the end
 * are unlinked. A reader that missed a key between its two places sees `moves` changed.
 * A kill inside leaves uncompact set and at most doubled slots with equal references; the
 * successor runs the same procedure.
 *
 * Tried and dropped: leaving keys where they are after a split. Chains then keep half-empty
 * overflow buckets for ever, and every absent key pays for them.
 */
#include "index.h"

#include "crash.h"
#include "large.h"
#include "redo.h"
#include "room.h"

/* Keys per bucket at which one more bucket is made: 8 of 11 slots. Overflow buckets bring the
 * mean over a doubling to 68 % of all slots. */
#define LOAD_MAX 8u
#define START_BUCKETS 16u

int im_index_find(struct im_op *op, struct im_slot *ret)
{
	const struct ipcmap *m = op->m;
	unsigned tag = im_hash_tag(op->hash);
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;
	struct fmt_bucket *b = im_bucket(m, op->dir, im_bucket_of(op->hash, n));

	ret->free_b = NULL;
	for (unsigned hops = 0; b && hops < IM_CHAIN_MAX; hops++) {
		uint64_t t0 = im_load_rlx(&b->tags[0]);
		uint64_t t1 = im_load_rlx(&b->tags[1]);
		unsigned fit = im_bucket_match(t0, t1, tag);

		for (; fit; fit &= fit - 1) {
			unsigned i = (unsigned)__builtin_ctz(fit);

			if (!im_entry_view(m->seg, im_load32_rlx(&b->ref[i]), &ret->e))
				return -EUCLEAN;
			if (ret->e.key_len == op->key_len &&
			    im_large_key_equal(m->seg, &ret->e, op->key)) {
				ret->b = b;
				ret->i = i;
				return 1;
			}
		}
		fit = im_bucket_match(t0, t1, 0);
		if (fit && !ret->free_b) {
			ret->free_b = b;
			ret->free_i = (unsigned)__builtin_ctz(fit);
		}
		ret->tail = b;
		ret->n = hops + 1;
		if (!(t1 >> FMT_LINK_SHIFT))
			return 0;
		b = im_bucket_next(m->seg, t1);
	}
	return -EUCLEAN;
}

/* ---- where an entry that is already in the log belongs ---- */

static uint64_t entry_bucket(struct im_op *op, const struct im_entry *e)
{
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;

	if (n <= UINT64_C(1) << 16)
		return im_bucket_of(e->hash_low, n);
	return im_bucket_of(im_large_hash(op->seg, e), n);
}

struct fmt_bucket *im_index_home(struct im_op *op, const struct im_entry *e)
{
	return im_bucket(op->m, op->dir, entry_bucket(op, e));
}

bool im_index_owner(struct im_op *op, const struct im_entry *e, struct fmt_bucket **ret_b,
		    unsigned *ret_i)
{
	struct fmt_bucket *b = im_index_home(op, e);

	for (unsigned hops = 0; b && hops < IM_CHAIN_MAX; hops++) {
		uint64_t t0 = im_load_rlx(&b->tags[0]);
		uint64_t t1 = im_load_rlx(&b->tags[1]);

		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (im_load32_rlx(&b->ref[i]) == e->ref &&
			    im_tag_at(i < 8 ? t0 : t1, i)) {
				*ret_b = b;
				*ret_i = i;
				return true;
			}
		b = im_bucket_next(op->seg, t1);
	}
	return false;
}

/* ---- memory ---- */

static void wipe(struct fmt_bucket *b)
{
	im_store_rlx(&b->tags[0], 0);
	im_store_rlx(&b->tags[1], 0);
	im_store32_rlx(&b->marks, 0);
	for (unsigned i = 0; i < FMT_SLOTS; i++)
		im_store32_rlx(&b->ref[i], 0);
}

/* The extent ahead becomes an index extent; adds its word to the redo list begun. */
static uint32_t take_ahead(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t ext = im_load32_rlx(&s->ahead);
	uint64_t w = im_load_rlx(&op->seg->table[ext].word);

	im_redo_set(op, &op->seg->table[ext].word,
		    fmt_word(FMT_INDEX, op->shard, fmt_word_gen(w)));
	im_room_pop_ahead(op);
	return ext;
}

/* One more index extent at the end of the directory, and the geometry if it is the first. */
static void add_index(struct im_op *op, uint64_t geometry)
{
	struct fmt_shard *s = op->s;
	uint32_t n = im_load32_rlx(&s->n_index);
	uint32_t ext;

	im_redo_start(op);
	ext = take_ahead(op);
	im_redo_set32(op, &op->dir[n], ext);
	im_redo_set32(op, &s->n_index, n + 1);
	if (geometry)
		im_redo_set(op, &s->geometry, geometry);
	im_redo_run(op);
	im_room_recap(op);
}

int im_index_start(struct im_op *op)
{
	uint32_t ext = im_load32_rlx(&op->s->ahead);
	struct fmt_bucket *b;

	if (ext >= op->seg->n_extents)
		return IM_NEED;
	b = (struct fmt_bucket *)(void *)im_seg_extent(op->seg, ext);
	for (unsigned i = 0; i < START_BUCKETS; i++)
		wipe(&b[i]);
	add_index(op, START_BUCKETS);
	return 0;
}

static int add_overflow_extent(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t ext = im_load32_rlx(&s->ahead);

	if (ext >= op->seg->n_extents) {
		op->want_ahead = true;
		return IM_NEED;
	}
	im_redo_start(op);
	take_ahead(op);
	im_redo_set32(op, &op->seg->table[ext].next, im_load32_rlx(&s->ovf_first));
	im_redo_set32(op, &s->ovf_first, ext);
	im_redo_set32(op, &s->ovf_pos, 0);
	im_redo_set32(op, &s->n_ovf_ext, im_load32_rlx(&s->n_ovf_ext) + 1);
	im_redo_run(op);
	im_room_recap(op);
	return 0;
}

/* An overflow bucket from the free ones or the newest extent; the redo list takes it. */
static struct fmt_bucket *next_overflow(struct im_op *op, uint32_t *ret_free, uint32_t *ret_pos)
{
	struct fmt_shard *s = op->s;
	uint32_t ext, pos = im_load32_rlx(&s->ovf_pos), ref = im_load32_rlx(&s->ovf_free);
	struct fmt_bucket *b;

	*ret_pos = pos;
	*ret_free = 0;
	if (ref) {
		b = (struct fmt_bucket *)(void *)im_at(op->seg, ref, sizeof(*b), &ext);
		if (b && !((uintptr_t)b & (sizeof(*b) - 1))) {
			*ret_free = im_load32_rlx(&b->ref[0]);
			return b;
		}
	}
	ext = im_load32_rlx(&s->ovf_first);
	if (ext >= op->seg->n_extents || pos + sizeof(*b) > op->seg->extent_len)
		return NULL;
	*ret_pos = pos + (uint32_t)sizeof(*b);
	return (struct fmt_bucket *)(void *)(im_seg_extent(op->seg, ext) + pos);
}

int im_index_extend(struct im_op *op, struct fmt_bucket *tail, struct fmt_bucket **ret)
{
	struct fmt_shard *s = op->s;
	uint32_t next_free, next_pos;
	struct fmt_bucket *b = next_overflow(op, &next_free, &next_pos);
	uint64_t t1 = im_load_rlx(&tail->tags[1]);
	int r;

	if (!b) {
		r = add_overflow_extent(op);
		if (r)
			return r;
		b = next_overflow(op, &next_free, &next_pos);
		if (!b)
			return -EUCLEAN;
	}
	/* A free bucket is zero but ref[0], and a fresh one may hold anything. Readers that
	 * still pass through a free one see no tags either way. ref[0] is left: a kill
	 * before the list is armed must leave the free list whole. */
	im_store_rlx(&b->tags[0], 0);
	im_store_rlx(&b->tags[1], 0);
	im_store32_rlx(&b->marks, 0);
	im_redo_start(op);
	im_redo_set32(op, &s->ovf_free, next_free);
	im_redo_set32(op, &s->ovf_pos, next_pos);
	im_redo_set(op, &s->n_ovf, im_load_rlx(&s->n_ovf) + 1);
	im_redo_set(op, &tail->tags[1],
		    (t1 & ((UINT64_C(1) << FMT_LINK_SHIFT) - 1)) |
			    (uint64_t)im_ref_of(op->seg, b) << FMT_LINK_SHIFT);
	im_redo_run(op);
	*ret = b;
	return 0;
}

/* ---- chains ---- */

struct chain {
	struct fmt_bucket *b[IM_CHAIN_MAX];
	unsigned n;
};

static bool walk_chain(struct im_op *op, struct fmt_bucket *b, struct chain *ret)
{
	for (ret->n = 0; b && ret->n < IM_CHAIN_MAX;) {
		uint64_t t1 = im_load_rlx(&b->tags[1]);

		ret->b[ret->n++] = b;
		if (!(t1 >> FMT_LINK_SHIFT))
			return true;
		b = im_bucket_next(op->seg, t1);
	}
	return false;
}

static void set_tag(struct fmt_bucket *b, unsigned i, unsigned tag)
{
	im_store_rel(&b->tags[i >> 3], im_tag_word(b, i, tag));
}

static unsigned tag_of(const struct fmt_bucket *b, unsigned i)
{
	return im_tag_at(im_load_rlx(&b->tags[i >> 3]), i);
}

/* Does the slot's key belong to bucket @to when there are @n buckets? */
static bool belongs(struct im_op *op, const struct fmt_bucket *b, unsigned i, uint64_t to,
		    uint64_t n)
{
	struct im_entry e;

	if (!im_entry_view(op->seg, im_load32_rlx(&b->ref[i]), &e))
		return false;
	if (n <= UINT64_C(1) << 16)
		return im_bucket_of(e.hash_low, n) == to;
	return im_bucket_of(im_large_hash(op->seg, &e), n) == to;
}

/* ---- split ---- */

static void prefetch_entries(struct im_op *op, const struct chain *c)
{
	uint32_t ext;

	for (unsigned k = 0; k < c->n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (tag_of(c->b[k], i))
				__builtin_prefetch(im_at(op->seg,
							 im_load32_rlx(&c->b[k]->ref[i]),
							 FMT_ENTRY_HEAD, &ext));
}

/* Bit per slot of each bucket of the chain that moves to @to; returns how many. */
static unsigned movers(struct im_op *op, const struct chain *c, uint64_t to, uint16_t *bits)
{
	unsigned n = 0;

	for (unsigned k = 0; k < c->n; k++) {
		bits[k] = 0;
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (tag_of(c->b[k], i) && belongs(op, c->b[k], i, to, to + 1)) {
				bits[k] |= (uint16_t)(1u << i);
				n++;
			}
	}
	return n;
}

/* An empty image chain with room for @n keys. False: no memory now. */
static bool prepare_image(struct im_op *op, uint64_t to, unsigned n, struct chain *ret)
{
	struct fmt_bucket *image = im_bucket(op->m, op->dir, to);
	struct fmt_bucket *b;

	if (!image)
		return false;
	if (im_load32_rlx(&op->s->image) != (uint32_t)(to + 1)) {
		wipe(image);
		im_store32_rel(&op->s->image, (uint32_t)(to + 1));
		crash("split.wiped");
	}
	if (!walk_chain(op, image, ret))
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

static void copy_movers(const struct chain *from, const uint16_t *bits, const struct chain *to)
{
	unsigned at = 0;

	for (unsigned k = 0; k < from->n; k++)
		for (unsigned left = bits[k]; left; left &= left - 1, at++) {
			unsigned i = (unsigned)__builtin_ctz(left);
			struct fmt_bucket *b = to->b[at / FMT_SLOTS];

			im_store32_rel(&b->ref[at % FMT_SLOTS],
				       im_load32_rlx(&from->b[k]->ref[i]));
			set_tag(b, at % FMT_SLOTS, tag_of(from->b[k], i));
		}
}

/* After publication: the old chain's keys that belong elsewhere are named twice. */
static void clear_moved(struct im_op *op, uint64_t from)
{
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;
	struct chain c;

	walk_chain(op, im_bucket(op->m, op->dir, from), &c);
	for (unsigned k = 0; k < c.n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (tag_of(c.b[k], i) && !belongs(op, c.b[k], i, from, n)) {
				set_tag(c.b[k], i, 0);
				crash("split.cleared");
			}
	im_store32_rel(&op->s->unsplit, 0);
	crash("split.done");
}

/* ---- compaction of a chain ---- */

static bool doubled(const struct chain *c, unsigned k, unsigned i)
{
	uint32_t ref = im_load32_rlx(&c->b[k]->ref[i]);

	for (unsigned a = 0; a < k; a++)
		for (unsigned j = 0; j < FMT_SLOTS; j++)
			if (im_load32_rlx(&c->b[a]->ref[j]) == ref && tag_of(c->b[a], j))
				return true;
	return false;
}

static bool copy_forward(const struct chain *c, unsigned k, unsigned i)
{
	for (unsigned a = 0; a < k; a++)
		for (unsigned j = 0; j < FMT_SLOTS; j++)
			if (!tag_of(c->b[a], j)) {
				im_store32_rel(&c->b[a]->ref[j], im_load32_rlx(&c->b[k]->ref[i]));
				set_tag(c->b[a], j, tag_of(c->b[k], i));
				crash("compact.copied");
				return true;
			}
	return false;
}

static void raise_moves(struct fmt_shard *s)
{
	/* ord(moves): the copies before, the clearing after. Pairs with read.c. */
	im_store_rel(&s->geometry, im_load_rlx(&s->geometry) + FMT_BUCKETS_MASK + 1);
	im_write_barrier();
	crash("compact.moves");
}

static bool is_empty(const struct fmt_bucket *b)
{
	return !im_load_rlx(&b->tags[0]) && !(im_load_rlx(&b->tags[1]) & FMT_TAGS1_MASK);
}

static void unlink_tail(struct im_op *op, struct chain *c)
{
	struct fmt_shard *s = op->s;
	struct fmt_bucket *b = c->b[c->n - 1], *before = c->b[c->n - 2];

	im_redo_start(op);
	im_redo_set(op, &before->tags[1],
		    im_load_rlx(&before->tags[1]) & ((UINT64_C(1) << FMT_LINK_SHIFT) - 1));
	im_redo_set32(op, &b->ref[0], im_load32_rlx(&s->ovf_free));
	im_redo_set32(op, &s->ovf_free, im_ref_of(op->seg, b));
	im_redo_set(op, &s->n_ovf, im_load_rlx(&s->n_ovf) - 1);
	im_redo_run(op);
	c->n--;
}

static void compact(struct im_op *op, uint64_t bucket)
{
	struct fmt_shard *s = op->s;
	bool moved = false;
	struct chain c;

	walk_chain(op, im_bucket(op->m, op->dir, bucket), &c);
	for (unsigned k = 1; k < c.n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (tag_of(c.b[k], i) &&
			    (doubled(&c, k, i) || copy_forward(&c, k, i)))
				moved = true;
	/* also before unlinking: a reader may stand in the bucket that will be used anew */
	if (moved || (c.n > 1 && is_empty(c.b[c.n - 1])))
		raise_moves(s);
	for (unsigned k = 1; moved && k < c.n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (tag_of(c.b[k], i) && doubled(&c, k, i)) {
				set_tag(c.b[k], i, 0);
				crash("compact.cleared");
			}
	while (c.n > 1 && is_empty(c.b[c.n - 1]))
		unlink_tail(op, &c);
	im_store32_rel(&s->uncompact, 0);
	crash("compact.done");
}

/* ---- growth ---- */

static void split(struct im_op *op, uint64_t n)
{
	struct fmt_shard *s = op->s;
	uint64_t from = n ^ (UINT64_C(1) << (63 - __builtin_clzll(n)));
	struct chain old, image;
	uint16_t bits[IM_CHAIN_MAX];
	struct fmt_bucket *b = im_bucket(op->m, op->dir, from);

	if (!b || !walk_chain(op, b, &old))
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
		compact(op, from);
	}
}

void im_index_grow(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint64_t n = im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK;

	if (likely(im_load_rlx(&s->entries) <= n * LOAD_MAX))
		return;
	if (n >> op->m->dir_shift >= im_load32_rlx(&s->n_index)) {
		if (im_load32_rlx(&s->n_index) >= op->m->dir_cap)
			return;
		if (im_load32_rlx(&s->ahead) >= op->seg->n_extents) {
			op->want_ahead = true;
			return;
		}
		add_index(op, 0);
	}
	if (n < UINT32_MAX - 1)
		split(op, n);
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
		compact(op, b - 1);
}
