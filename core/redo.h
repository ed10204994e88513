/* SPDX-License-Identifier: MIT */
/*
 * redo.h - a list of stores that happens whole, whoever is killed
 *
 *     im_redo_start(op);
 *     im_redo_set(op, &s->entries, n);  ...
 *     im_redo_run(op);
 *
 * See redo.c for the argument. At most FMT_REDO_MAX stores. The list is that of op's shard;
 * im_redo_list_...() do the same with a list that lies elsewhere, under a lock of its own.
 */
#ifndef IM_REDO_H
#define IM_REDO_H

#include "shard.h"

/* ---- any list ---- */

im_inline void im_redo_list_start(struct fmt_redo *r)
{
	im_store32_rlx(&r->n, 0);
	im_store32_rlx(&r->cas_extent, FMT_NO_EXTENT);
}

im_inline void im_redo_list_pair(struct fmt_redo *r, uint32_t n, uint64_t at, uint64_t val)
{
	assert(n < FMT_REDO_MAX);
	im_store_rlx(&r->store[n].at, at);
	im_store_rlx(&r->store[n].val, val);
}

/* Where it lies, for the list; with FMT_REDO_32 for four bytes. */
im_inline uint64_t im_redo_at(const struct im_seg *seg, const void *p)
{
	return (uint64_t)((const unsigned char *)p - seg->base);
}

im_inline void im_redo_list_set(const struct im_seg *seg, struct fmt_redo *r, uint64_t *p,
				uint64_t val)
{
	uint32_t n = im_load32_rlx(&r->n);

	if (unlikely(n >= FMT_REDO_MAX))
		return; /* hostile bytes */
	im_redo_list_pair(r, n, im_redo_at(seg, p), val);
	im_store32_rlx(&r->n, n + 1);
}

im_inline void im_redo_list_set32(const struct im_seg *seg, struct fmt_redo *r, uint32_t *p,
				  uint32_t val)
{
	uint32_t n = im_load32_rlx(&r->n);

	if (unlikely(n >= FMT_REDO_MAX))
		return;
	im_redo_list_pair(r, n, im_redo_at(seg, p) | FMT_REDO_32, val);
	im_store32_rlx(&r->n, n + 1);
}

/* The word of an extent that a dying owner's sweeper may change: goes first, see redo.c. */
im_inline void im_redo_list_word(struct fmt_redo *r, uint32_t ext, uint64_t old, uint64_t new)
{
	im_store32_rlx(&r->cas_extent, ext);
	im_store_rlx(&r->cas_old, old);
	im_store_rlx(&r->cas_new, new);
}

/* As im_redo_run() and im_redo_finish(). */
bool im_redo_list_run(struct im_seg *seg, struct fmt_redo *r);
int im_redo_list_finish(struct im_seg *seg, struct fmt_redo *r);

/* ---- the list of op's shard: counted in op until it is armed ---- */

im_inline void im_redo_start(struct im_op *op)
{
	op->listed = 0;
	im_store32_rlx(&op->s->redo.cas_extent, FMT_NO_EXTENT);
}

im_inline void im_redo_set(struct im_op *op, uint64_t *p, uint64_t val)
{
	im_redo_list_pair(&op->s->redo, op->listed++, im_redo_at(op->seg, p), val);
}

im_inline void im_redo_set32(struct im_op *op, uint32_t *p, uint32_t val)
{
	im_redo_list_pair(&op->s->redo, op->listed++, im_redo_at(op->seg, p) | FMT_REDO_32,
			  val);
}

im_inline void im_redo_word(struct im_op *op, uint32_t ext, uint64_t old, uint64_t new)
{
	im_redo_list_word(&op->s->redo, ext, old, new);
}

/* Arm, store, disarm. False: the word had changed, nothing was stored. */
bool im_redo_run(struct im_op *op);

/* After taking over from a dead holder. 0, or -EUCLEAN when the list cannot be one. */
int im_redo_finish(struct im_op *op);

/*
 * The value that @p has once a list that is armed now, and cannot be dropped any more, is
 * stored; for stat without the lock.
 */
uint64_t im_redo_peek(const struct im_seg *seg, const struct fmt_shard *s, const uint64_t *p);

#endif
