/* SPDX-License-Identifier: MIT */
/*
 * clean.h - the only reclaimer: walk an extent, move what lives, release it
 */
#ifndef IM_CLEAN_H
#define IM_CLEAN_H

#include "shard.h"

/* Under the lock, after a write of @bytes: clean as much as keeps up with it. Bounded. */
void im_clean_pace(struct im_op *op, uint32_t bytes);

/* Live bytes of an extent fell: remember it if it looks worth cleaning; release it if empty. */
void im_clean_note(struct im_op *op, uint32_t ext, uint64_t old_books, uint64_t new_books);

/*
 * im_clean_make_room() - the limit is reached: get an extent for op's shard
 *
 * Called without the lock. Cleans in op's shard if its live data leaves room there, else in
 * the shard that can best give an extent up, never waiting for a second lock.
 * Return: 0 the shard has one ahead, or one is free; -EDQUOT nothing more can be gained;
 * -EBUSY what could be gained is locked; errors of im_op_enter().
 */
int im_clean_make_room(struct im_op *op);

/*
 * im_clean_make_free() - the limit (or the system's memory) is reached: free extents for @len
 * bytes of a large value. 0: try again, something was freed or may be; @err when nothing more
 * can be gained.
 */
int im_clean_make_free(struct im_op *op, uint64_t len, int err);

/*
 * Bounded steps of compaction, under the lock, walking about @budget bytes; false when nothing
 * is left to do: the hot head, unless nearly all live, is closed, to be cleaned first; towards
 * the fewest extents; only in extents that hold what has expired or was cleared.
 */
bool im_clean_retire(struct im_op *op, uint32_t budget);
bool im_clean_compact(struct im_op *op, uint32_t budget);
bool im_clean_expired(struct im_op *op, uint32_t budget);

/* What has expired or was cleared and was not met yet. */
struct im_dead {
	uint64_t entries; /* that still count */
	uint64_t len;     /* their bytes */
	uint64_t large;   /* extents of their large values */
	uint64_t gain;    /* bytes that im_clean_expired() would win by moving the others */
};

/* Under the lock: add what the extent holds of it to @sum; changes nothing. */
void im_clean_weigh(struct im_op *op, uint32_t ext, struct im_dead *sum);

#endif
