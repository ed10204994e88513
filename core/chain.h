/* SPDX-License-Identifier: MIT */
/*
 * chain.h - the buckets that share one place: a bucket and its overflow buckets
 *
 * All under the shard's lock.
 */
#ifndef IM_CHAIN_H
#define IM_CHAIN_H

#include "index.h"

struct im_chain {
	struct fmt_bucket *b[IM_CHAIN_MAX];
	unsigned n;
};

im_inline void im_chain_set_tag(struct fmt_bucket *b, unsigned i, unsigned tag)
{
	im_store_rel(&b->tags[i >> 3], im_tag_word(b, i, tag));
}

im_inline unsigned im_chain_tag(const struct fmt_bucket *b, unsigned i)
{
	return im_tag_at(im_load_rlx(&b->tags[i >> 3]), i);
}

im_inline bool im_chain_empty(const struct fmt_bucket *b)
{
	return !im_load_rlx(&b->tags[0]) && !(im_load_rlx(&b->tags[1]) & FMT_TAGS1_MASK);
}

/* Collect the chain that begins with @b; false when its links do not end. */
bool im_chain_walk(struct im_op *op, struct fmt_bucket *b, struct im_chain *ret);

/* Does the slot's key belong to bucket @to when there are @n buckets? */
bool im_chain_belongs(struct im_op *op, const struct fmt_bucket *b, unsigned i, uint64_t to,
		      uint64_t n);

/* Readers that missed a key between its two places look again. */
void im_chain_raise_moves(struct fmt_shard *s);

/* Unlink the last overflow bucket, which is empty, and free it; moves was raised before. */
void im_chain_unlink_tail(struct im_op *op, struct im_chain *c);

/* Move keys to the front of bucket @bucket's chain and free what is empty then. */
void im_chain_compact(struct im_op *op, uint64_t bucket);

#endif
