/* SPDX-License-Identifier: MIT */
/*
 * index.c - the buckets of one shard: find, start, extend a chain
 *
 * Index memory comes from the shard's extents ahead: index extents, which the directory lists
 * in bucket order, and extents that overflow buckets are cut from. Overflow buckets that are
 * not in a chain are in a free list by the same link; all of it changes by redo lists. A
 * reader that stands in a bucket while it is freed goes on into the free ones, which have no
 * tags, and then sees that `moves` has changed.
 */
#include "index.h"

#include "crash.h"
#include "large.h"
#include "redo.h"
#include "room.h"

#define START_BUCKETS 16u

/* Whoever calls knows that there are buckets; but the number is in the segment. */
im_inline uint64_t place(const struct im_op *op, uint64_t hash)
{
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;

	return likely(n) ? im_bucket_of(hash, n) : IM_NO_BUCKET;
}

uint64_t im_index_place(const struct im_op *op, uint64_t hash)
{
	return place(op, hash);
}

int im_index_find(struct im_op *op, struct im_slot *ret)
{
	const struct ipcmap *m = op->m;
	unsigned tag = im_hash_tag(op->hash);
	struct fmt_bucket *b = im_bucket(m, op->dir, place(op, op->hash));

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

uint64_t im_index_bucket(struct im_op *op, const struct im_entry *e)
{
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;

	if (unlikely(!n))
		return IM_NO_BUCKET;
	if (n <= UINT64_C(1) << 16)
		return im_bucket_of(e->hash_low, n);
	return im_bucket_of(im_large_hash(op->seg, e), n);
}

struct fmt_bucket *im_index_home(struct im_op *op, const struct im_entry *e)
{
	return im_bucket(op->m, op->dir, im_index_bucket(op, e));
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

void im_bucket_wipe(struct fmt_bucket *b)
{
	im_store_rlx(&b->tags[0], 0);
	im_store_rlx(&b->tags[1], 0);
	im_store32_rlx(&b->marks, 0);
	for (unsigned i = 0; i < FMT_SLOTS; i++)
		im_store32_rlx(&b->ref[i], 0);
}

/* The extent ahead, @ext, becomes an index extent; adds its word to the redo list begun. */
static void take_ahead(struct im_op *op, uint32_t ext)
{
	uint64_t w = im_load_rlx(&op->seg->table[ext].word);

	im_redo_set(op, &op->seg->table[ext].word,
		    fmt_word(FMT_INDEX, op->shard, fmt_word_gen(w)));
	im_room_pop_ahead(op, ext);
}

/*
 * @ext, the one ahead, becomes an index extent at the end of the directory, and the geometry is
 * set if it is the first. False: the directory has no such end.
 */
static bool add_index(struct im_op *op, uint32_t ext, uint64_t geometry)
{
	struct fmt_shard *s = op->s;
	uint32_t n = im_load32_rlx(&s->n_index);

	if (n >= op->m->dir_cap)
		return false;
	im_redo_start(op);
	take_ahead(op, ext);
	im_redo_set32(op, &op->dir[n], im_dir_word(op->m, ext));
	im_redo_set32(op, &s->n_index, n + 1);
	if (geometry)
		im_redo_set(op, &s->geometry, geometry);
	im_redo_run(op);
	im_room_recap(op);
	return true;
}

bool im_index_add(struct im_op *op)
{
	uint32_t ext = im_load32_rlx(&op->s->ahead);

	return ext < op->seg->n_extents && add_index(op, ext, 0);
}

int im_index_start(struct im_op *op)
{
	uint32_t ext = im_load32_rlx(&op->s->ahead);
	struct fmt_bucket *b;

	if (ext >= op->seg->n_extents)
		return IM_NEED;
	b = (struct fmt_bucket *)(void *)im_seg_extent(op->seg, ext);
	for (unsigned i = 0; i < START_BUCKETS; i++)
		im_bucket_wipe(&b[i]);
	return add_index(op, ext, START_BUCKETS) ? 0 : -EUCLEAN;
}

int im_index_add_overflow(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t ext = im_load32_rlx(&s->ahead);

	if (ext >= op->seg->n_extents) {
		op->want_ahead = true;
		return IM_NEED;
	}
	im_redo_start(op);
	take_ahead(op, ext);
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
			*ret_free = (uint32_t)(im_load_rlx(&b->tags[1]) >> FMT_LINK_SHIFT);
			return b;
		}
	}
	ext = im_load32_rlx(&s->ovf_first);
	if (ext >= op->seg->n_extents || pos + sizeof(*b) > op->seg->extent_len ||
	    pos & (sizeof(*b) - 1))
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
		r = im_index_add_overflow(op);
		if (r)
			return r;
		b = next_overflow(op, &next_free, &next_pos);
		if (!b)
			return -EUCLEAN;
	}
	/* A free bucket has no tags and links to the next free one; a fresh one may hold
	 * anything, but nothing leads to it. The link goes by the list: a kill before it is
	 * armed must leave the free ones linked. */
	im_store_rlx(&b->tags[0], 0);
	im_store32_rlx(&b->marks, 0);
	im_redo_start(op);
	im_redo_set(op, &b->tags[1], 0);
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
