/* SPDX-License-Identifier: MIT */
/*
 * room.h - the extents of a shard: from the common store to its heads and back
 */
#ifndef IM_ROOM_H
#define IM_ROOM_H

#include "shard.h"

/* The hot head has room for @size bytes, or gets an extent: 0; IM_NEED. */
int im_room_hot(struct im_op *op, uint32_t size);

/* The cold head likewise, from the reserve if need be: 0; IM_NEED. */
int im_room_cold(struct im_op *op, uint32_t size);

/* The extent in hand becomes the shard's reserve, or one more ahead, if it needs either. */
void im_room_adopt(struct im_op *op);

/* Add to the redo list begun: @ext, the first extent ahead, leaves their list. */
void im_room_pop_ahead(struct im_op *op, uint32_t ext);

/*
 * A log extent that no slot names leaves the log: it becomes the reserve or, unless @give, the
 * one ahead, if these are missing; else it is free for every shard. When somebody holds a value
 * in it, it is parked in place of all that. True: free, or ahead.
 */
bool im_room_release(struct im_op *op, uint32_t ext, bool give);

/* Add to the redo list begun: the extent, which nobody lists any more, is to be freed. */
void im_room_free_later(struct im_op *op, uint32_t ext);

/* What is parked, and held by nobody any more, goes the same ways. True: it was of use. */
bool im_room_unpark(struct im_op *op, bool give);

/* Make the extent ahead free for every shard. */
bool im_room_give_ahead(struct im_op *op);

/*
 * Finish a free that was begun: 0; IM_SETTLE: the space lock is taken. Nobody waits for it
 * here, since that would hold this shard's writers up: who needs the place spins a while, the
 * others try.
 */
int im_room_settle(struct im_op *op);
bool im_room_settle_now(struct im_op *op);
im_inline bool im_room_try_settle(struct im_op *op)
{
	return likely(!im_load32_rlx(&op->s->free_n)) || im_room_settle_now(op);
}

/*
 * s->cap is the most live bytes that the shard's present extents may hold so that cleaning
 * still gains (the reserve inequality, room.c); im_room_recap() computes it after a change.
 */
void im_room_recap(struct im_op *op);

/* Bytes by which the live data may still grow; racy without the lock. */
im_inline uint64_t im_room_slack(const struct fmt_shard *s)
{
	uint64_t cap = im_load_rlx(&s->cap), live = im_load_rlx(&s->live);

	return cap > live ? cap - live : 0;
}

/* Bytes of room that a head has left; 0 when there is no such head. */
im_inline uint32_t im_room_left(const struct im_op *op, unsigned head)
{
	uint32_t ext = im_load32_rlx(&op->s->head[head]);

	if (unlikely(ext >= op->seg->n_extents))
		return 0;
	return op->seg->extent_len - im_load32_rlx(&op->seg->table[ext].fill);
}

/* Bytes of log extents that are neither live nor room in a head. */
im_inline uint64_t im_room_garbage(const struct im_op *op)
{
	const struct fmt_shard *s = op->s;
	uint64_t all = (uint64_t)im_load32_rlx(&s->n_log) << op->seg->extent_shift;
	uint64_t used = im_load_rlx(&s->live) + im_load_rlx(&s->tail);

	used += im_room_left(op, FMT_HOT) + im_room_left(op, FMT_COLD);
	return all > used ? all - used : 0;
}

/* Cleaning could save an extent: what is garbage, and the cold head's room, make one. */
im_inline bool im_room_is_loose(const struct im_op *op)
{
	return im_room_garbage(op) + im_room_left(op, FMT_COLD) >= op->seg->extent_len;
}

im_inline bool im_room_is_head(const struct im_op *op, uint32_t ext)
{
	return im_load32_rlx(&op->s->head[FMT_HOT]) == ext ||
	       im_load32_rlx(&op->s->head[FMT_COLD]) == ext;
}

#endif
