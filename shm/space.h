/* SPDX-License-Identifier: MIT */
/*
 * space.h - the extent table: which extents are free, who has the others
 *
 * Everything that moves an extent into or out of the free queue happens here, under the
 * space lock; other words change by compare-and-swap in their holder's hands. A kill between
 * any two instructions loses no extent (step.c; invariants space.I1 ... in space.c).
 */
#ifndef IM_SPACE_H
#define IM_SPACE_H

#include "lock.h"

/* A limit is refused below this many extents for each shard: heads, ahead, reserve, index. */
#define IM_EXTENTS_PER_SHARD 6u

/*
 * im_space_take() - one free extent, backed by memory, PRIVATE to this process
 * @after: FMT_NO_EXTENT, or the last extent of a chain of ours: the new one becomes its
 *         next, with state PIECE
 *
 * Return: 0; -EDQUOT the limit is reached; -ENOSPC, -EFBIG the system has none; -EBUSY,
 * -EINTR. Its word is then *@ret_word, its fill and books 0. Call without locks.
 * Cost: one short lock; a fallocate() the first time an extent is used.
 */
int im_space_take(struct im_seg *seg, uint32_t after, struct im_wait *wait, uint32_t *ret_ext,
		  uint64_t *ret_word);

/*
 * im_space_free() - an extent, or a whole chain, becomes free
 * @first, @last, @n: first to last are linked by next; @n is their number; a single extent
 *         is first == last, n 1
 * @word:  the exact word of @first; when the table holds another one nothing is done, since
 *         it happened already
 *
 * The generation of @first rises before the first byte can be reused. May be called with a
 * shard lock held. O(1). Return: 0; -EBUSY, -EINTR: nothing was done.
 */
int im_space_free(struct im_seg *seg, uint32_t first, uint32_t last, uint32_t n, uint64_t word,
		  struct im_wait *wait);

/*
 * im_space_drop() - a PRIVATE extent of this process, with its chain, is not wanted
 *
 * Freed at once, or, when the space lock is busy, by a later im_space_take() or when this
 * process leaves or dies; never waits. Call without the space lock.
 */
void im_space_drop(struct im_seg *seg, uint32_t ext);

/* Wait until the space lock was free once: 0; -EBUSY, -EINTR. Call without locks. */
int im_space_await(struct im_seg *seg, struct im_wait *wait);

/* Is an extent a page at least? Else its memory cannot be given back. */
bool im_space_has_pages(const struct im_seg *seg);

/*
 * im_space_punch() - the extent that has been free for longest gives its memory back to the
 * system; it is free again, without memory, behind all others
 *
 * Return: 1; 0 it had none, or no page of its own; -ENOENT none is free; -EBUSY, -EINTR;
 * -EUCLEAN.
 */
int im_space_punch(struct im_seg *seg, struct im_wait *wait);

/* Bytes of memory behind free extents that can be given back. Cost: a walk of the table. */
uint64_t im_space_idle(const struct im_seg *seg);

/* PRIVATE extents that left by compare-and-swap (to a shard): lowers the owner's count. */
void im_space_handed_over(struct im_seg *seg);

/* Change the limit, in bytes. -EINVAL below the least; -ENOSPC; -EBUSY. */
int im_space_set_limit(struct im_seg *seg, uint64_t limit, struct im_wait *wait);

/* For the creator: nothing is in use. */
void im_space_init(struct im_seg *seg, uint64_t limit);

/* How many extents @limit allows. */
im_inline uint32_t im_space_extents(const struct im_seg *seg, uint64_t limit)
{
	uint64_t each = (uint64_t)seg->extent_len + sizeof(struct fmt_extent);

	if (limit < seg->fixed_len)
		return 0;
	return (uint32_t)min_u64((limit - seg->fixed_len) / each, seg->n_extents);
}

/*
 * Extents from this one on were never used, and the table behind may have no memory: even
 * reading it there would take some, or be SIGBUS on a full file system.
 */
im_inline uint32_t im_space_fresh(const struct im_seg *seg)
{
	uint32_t fresh = im_load32_rlx(&seg->h->space.fresh);

	return fresh < seg->n_extents ? fresh : seg->n_extents;
}

/* The least limit, in bytes. */
im_inline uint64_t im_space_least(const struct im_seg *seg)
{
	uint64_t each = (uint64_t)seg->extent_len + sizeof(struct fmt_extent);

	return seg->fixed_len + IM_EXTENTS_PER_SHARD * (uint64_t)seg->n_shards * each;
}

/*
 * Free the PRIVATE extents of @slot with their chains. The caller holds the slot's byte and
 * @seg->self is an owner that others can tell alive. 0; -EBUSY, -EINTR, -EUCLEAN.
 */
int im_space_free_owner(struct im_seg *seg, uint32_t slot, struct im_wait *wait);

/* Bytes used of the limit; extents that may still be taken. */
uint64_t im_space_used(const struct im_seg *seg);
im_inline bool im_space_short(const struct im_seg *seg)
{
	const struct fmt_space *s = &seg->h->space;

	return im_load32_rlx(&s->used) >= im_load32_rlx(&s->limit_n);
}

/*
 * Walk the table and the queue and compare; a line per finding. Takes the space lock.
 * In space-check.c.
 */
int im_space_check(struct im_seg *seg, void (*report)(void *arg, const char *line), void *arg,
		   struct im_wait *wait);

#endif
