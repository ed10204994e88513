/* SPDX-License-Identifier: MIT */
/*
 * chain.c - the buckets that share one place: walk, compact
 *
 * After a split the old chain is compacted: keys in overflow buckets are copied to free slots
 * before them, `moves` is raised, the old places are cleared, and empty overflow buckets at
 * the end are unlinked. A reader that missed a key between its two places sees `moves` changed.
 * A kill inside leaves uncompact set and at most doubled slots with equal references; the
 * successor runs the same procedure.
 *
 * Tried and dropped: leaving keys where they are after a split. Chains then keep half-empty
 * overflow buckets for ever, and every absent key pays for them.
 */
#include "chain.h"

#include "crash.h"
#include "large.h"
#include "redo.h"

/* Slots left free in the buckets that remain when a chain gives one back, so that the next
 * few keys do not ask for it again. */
#define TRIM_SPARE 2u

bool im_chain_walk(struct im_op *op, struct fmt_bucket *b, struct im_chain *ret)
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

bool im_chain_belongs(struct im_op *op, const struct fmt_bucket *b, unsigned i, uint64_t to,
		      uint64_t n)
{
	struct im_entry e;

	if (!n || !im_entry_view(op->seg, im_load32_rlx(&b->ref[i]), &e))
		return false;
	if (n <= UINT64_C(1) << 16)
		return im_bucket_of(e.hash_low, n) == to;
	return im_bucket_of(im_large_hash(op->seg, &e), n) == to;
}

static bool doubled(const struct im_chain *c, unsigned k, unsigned i)
{
	uint32_t ref = im_load32_rlx(&c->b[k]->ref[i]);

	for (unsigned a = 0; a < k; a++)
		for (unsigned j = 0; j < FMT_SLOTS; j++)
			if (im_load32_rlx(&c->b[a]->ref[j]) == ref && im_chain_tag(c->b[a], j))
				return true;
	return false;
}

static bool copy_forward(const struct im_chain *c, unsigned k, unsigned i)
{
	for (unsigned a = 0; a < k; a++)
		for (unsigned j = 0; j < FMT_SLOTS; j++)
			if (!im_chain_tag(c->b[a], j)) {
				im_store32_rel(&c->b[a]->ref[j], im_load32_rlx(&c->b[k]->ref[i]));
				im_chain_set_tag(c->b[a], j, im_chain_tag(c->b[k], i));
				crash("compact.copied");
				return true;
			}
	return false;
}

void im_chain_raise_moves(struct fmt_shard *s)
{
	/* ord(moves): the copies before, the clearing after. Pairs with read.c. */
	im_store_rel(&s->geometry, im_load_rlx(&s->geometry) + FMT_BUCKETS_MASK + 1);
	im_write_barrier();
	crash("compact.moves");
}

void im_chain_unlink_tail(struct im_op *op, struct im_chain *c)
{
	struct fmt_shard *s = op->s;
	struct fmt_bucket *b = c->b[c->n - 1], *before = c->b[c->n - 2];

	im_redo_start(op);
	im_redo_set(op, &before->tags[1],
		    im_load_rlx(&before->tags[1]) & ((UINT64_C(1) << FMT_LINK_SHIFT) - 1));
	im_redo_set(op, &b->tags[1],
		    (uint64_t)im_load32_rlx(&s->ovf_free) << FMT_LINK_SHIFT);
	im_redo_set32(op, &s->ovf_free, im_ref_of(op->seg, b));
	im_redo_set(op, &s->n_ovf, im_load_rlx(&s->n_ovf) - 1);
	im_redo_run(op);
	c->n--;
}

void im_chain_compact(struct im_op *op, uint64_t bucket)
{
	struct fmt_shard *s = op->s;
	bool moved = false;
	struct im_chain c;

	im_chain_walk(op, im_bucket(op->m, op->dir, bucket), &c);
	for (unsigned k = 1; k < c.n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (im_chain_tag(c.b[k], i) &&
			    (doubled(&c, k, i) || copy_forward(&c, k, i)))
				moved = true;
	/* also before unlinking: a reader may stand in the bucket that will be used anew */
	if (moved || (c.n > 1 && im_chain_empty(c.b[c.n - 1])))
		im_chain_raise_moves(s);
	for (unsigned k = 1; moved && k < c.n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			if (im_chain_tag(c.b[k], i) && doubled(&c, k, i)) {
				im_chain_set_tag(c.b[k], i, 0);
				crash("compact.cleared");
			}
	while (c.n > 1 && im_chain_empty(c.b[c.n - 1]))
		im_chain_unlink_tail(op, &c);
	im_store32_rel(&s->uncompact, 0);
	crash("compact.done");
}

void im_index_trim(struct im_op *op, uint64_t bucket)
{
	struct fmt_bucket *b = im_bucket(op->m, op->dir, bucket);
	unsigned used = 0;
	struct im_chain c;

	if (likely(b && !(im_load_rlx(&b->tags[1]) >> FMT_LINK_SHIFT)))
		return;
	if (!b || !im_chain_walk(op, b, &c))
		return;
	for (unsigned k = 0; k < c.n; k++)
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			used += im_chain_tag(c.b[k], i) != 0;
	if (used + TRIM_SPARE > (c.n - 1) * FMT_SLOTS)
		return;
	im_store32_rel(&op->s->uncompact, (uint32_t)bucket + 1);
	crash("trim.begun");
	im_chain_compact(op, bucket);
}
