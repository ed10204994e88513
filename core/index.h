/* SPDX-License-Identifier: MIT */
/*
 * index.h - the buckets of one shard: where a hash belongs, which slots fit
 *
 * Linear hashing: with n buckets and 2^k <= n < 2^(k+1), a hash belongs to its low k+1 bits
 * when that is below n, else to its low k bits. Bucket b splits into b and b + 2^k, so in the
 * order of bit-reversed hashes each bucket is one range and splitting halves it (scan.c).
 *
 * Invariants
 *  index.I1  no non-zero tag names anything but a complete entry below the fill of a log
 *            extent of this shard.
 *  index.I2  a key has at most one slot, in the chain of its bucket.
 *  index.I3  a slot's reference changes only under an unchanged tag (update) or a zero one
 *            (insert): never a new life under an old tag.
 *  index.I4  buckets at and beyond the geometry's count have no meaning but the image's.
 * Broken on purpose: I2, between the two stores of a split and within compaction of a chain,
 * where one key's slot stands twice with the same reference; unsplit and uncompact say so.
 */
#ifndef IM_INDEX_H
#define IM_INDEX_H

#include "entry.h"
#include "map.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Longer chains cannot arise by chance (an average bucket has 8 to 17 keys); readers and
 * writers stop here, so that broken links end. */
#define IM_CHAIN_MAX 32u

/* @n is not 0. */
im_inline uint64_t im_bucket_of(uint64_t hash, uint64_t n)
{
	uint64_t mask = (UINT64_C(2) << (63 - __builtin_clzll(n))) - 1;
	uint64_t b = hash & mask;

	return b < n ? b : b & (mask >> 1);
}

#define IM_NO_BUCKET UINT64_MAX /* nor has any directory so many */

/* NULL when the directory has no such bucket. */
im_inline struct fmt_bucket *im_bucket(const struct ipcmap *m, const uint32_t *dir, uint64_t b)
{
	uint64_t k = b >> m->dir_shift, at;

	if (unlikely(k >= m->dir_cap))
		return NULL;
	at = im_load32_rlx(&dir[k]) + (b & m->dir_mask);
	if (unlikely(at >= m->n_places))
		return NULL;
	return (struct fmt_bucket *)(void *)m->extents + at;
}

/* What a directory holds of an index extent: which bucket its first one would be, were all
 * extents full of buckets. */
im_inline uint32_t im_dir_word(const struct ipcmap *m, uint32_t ext)
{
	return ext << m->dir_shift;
}

im_inline uint32_t im_dir_extent(const struct ipcmap *m, uint32_t word)
{
	return word >> m->dir_shift;
}

/* The overflow bucket that a tag word links to; NULL when there is none or it cannot be. */
im_inline struct fmt_bucket *im_bucket_next(const struct im_seg *seg, uint64_t tags1)
{
	uint32_t link = (uint32_t)(tags1 >> FMT_LINK_SHIFT);
	uint32_t ext;
	unsigned char *p;

	if (likely(!link))
		return NULL;
	p = im_at(seg, link, sizeof(struct fmt_bucket), &ext);
	if (unlikely((uintptr_t)p & (sizeof(struct fmt_bucket) - 1)))
		return NULL;
	return (struct fmt_bucket *)(void *)p;
}

im_inline unsigned im_tag_at(uint64_t word, unsigned slot)
{
	return (unsigned)(word >> ((slot & 7) * 8)) & 0xff;
}

/* One bit per slot whose tag is @tag. */
im_inline unsigned im_bucket_match(uint64_t t0, uint64_t t1, unsigned tag)
{
#if defined(__SSE2__)
	__m128i tags = _mm_set_epi64x((long long)t1, (long long)t0);
	__m128i want = _mm_set1_epi8((char)tag);

	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, want)) & ((1u << FMT_SLOTS) - 1);
#else
	unsigned mask = 0;

	for (unsigned i = 0; i < FMT_SLOTS; i++)
		mask |= (unsigned)(im_tag_at(i < 8 ? t0 : t1, i) == tag) << i;
	return mask;
#endif
}

/*
 * The same of a bucket, loaded with acquire. On x86 both tag words come with one load of 16
 * bytes: each byte of it is as coherent as if it were loaded alone, which is all that is
 * needed, and loads stay in order.
 */
im_inline unsigned im_bucket_match_now(const struct fmt_bucket *b, unsigned tag)
{
#if defined(__SSE2__) && !defined(IM_WORDWISE)
	__m128i tags = *(const volatile __m128i *)(const void *)b->tags;
	__m128i want = _mm_set1_epi8((char)tag);

	im_compiler_barrier();
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, want)) & ((1u << FMT_SLOTS) - 1);
#else
	uint64_t t0 = im_load_acq(&b->tags[0]), t1 = im_load_acq(&b->tags[1]);

	return im_bucket_match(t0, t1, tag);
#endif
}

/* ---- under the shard's lock ---- */

struct im_op;

/* Where a key is, or where it would go. */
struct im_slot {
	struct fmt_bucket *b; /* of the key, when found */
	unsigned i;
	struct im_entry e; /* when found */
	struct fmt_bucket *free_b; /* first free slot of the chain, NULL: none */
	unsigned free_i;
	struct fmt_bucket *tail; /* last bucket of the chain */
	unsigned n; /* buckets of the chain */
};

/* Look the operation's key up: 1 found, 0 not, -EUCLEAN. The geometry is not 0. */
int im_index_find(struct im_op *op, struct im_slot *ret);

/* The bucket of a hash; IM_NO_BUCKET where hostile bytes say that there are none any more. */
uint64_t im_index_place(const struct im_op *op, uint64_t hash);

/* The slot that names @e (an entry of this shard); false: none does. */
bool im_index_owner(struct im_op *op, const struct im_entry *e, struct fmt_bucket **ret_b,
		    unsigned *ret_i);

/* The first bucket that @e belongs to, for prefetching. */
struct fmt_bucket *im_index_home(struct im_op *op, const struct im_entry *e);

/* The value of the tag word of slot @i with its tag set to @tag. */
im_inline uint64_t im_tag_word(const struct fmt_bucket *b, unsigned i, unsigned tag)
{
	uint64_t w = im_load_rlx(&b->tags[i >> 3]);
	unsigned shift = (i & 7) * 8;

	return (w & ~(UINT64_C(0xff) << shift)) | (uint64_t)tag << shift;
}

/* Make the first buckets. IM_NEED when the shard has no extent ahead. */
int im_index_start(struct im_op *op);

/* Append an empty overflow bucket to the chain that ends in @tail, and say where it is. */
int im_index_extend(struct im_op *op, struct fmt_bucket *tail, struct fmt_bucket **ret);

/* One more index extent, from those ahead. False: the directory has no place for it. */
bool im_index_add(struct im_op *op);

/* One more extent of overflow buckets; IM_NEED when the shard has none ahead. */
int im_index_add_overflow(struct im_op *op);

/* The bucket prepared for the next split gives its overflow buckets back. */
void im_index_trim_image(struct im_op *op);

void im_bucket_wipe(struct fmt_bucket *b);

/* Split one bucket if the load asks for it and memory is at hand; never fails. */
void im_index_grow(struct im_op *op);

/* The bucket of an entry of this shard; the chain of @bucket, from which a key has gone, gives
 * a bucket back if its keys fit into fewer. Slots found before are void then. */
uint64_t im_index_bucket(struct im_op *op, const struct im_entry *e);
void im_index_trim(struct im_op *op, uint64_t bucket);

/*
 * The opposite: merge the last bucket into the one that it was split from, if the load stays
 * low and the memory for it is at hand; free an index extent that becomes unused. True: one
 * was merged. Only compaction asks for it.
 */
bool im_index_shrink(struct im_op *op);

/* Index extents that merging down to @entries keys would free, about. */
uint32_t im_index_spare(const struct im_op *op, uint64_t entries);

/* Finish what a dead writer left: a published split, a chain being compacted. */
void im_index_finish(struct im_op *op);

#endif
