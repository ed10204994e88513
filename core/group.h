/* SPDX-License-Identifier: MIT */
/*
 * group.h - the changes of a committed group: stored by its writer, or by successors
 */
#ifndef IM_GROUP_H
#define IM_GROUP_H

#include "log.h"

/* A change as it lies in a record, each number loaded once and bounded. */
struct im_change {
	struct im_record rec; /* without version, hash and size */
	bool del;
};

im_inline uint32_t im_change_len(uint32_t key_len, uint32_t val_len)
{
	return (uint32_t)align_up(sizeof(struct fmt_change) + (uint64_t)key_len + val_len, 8);
}

/* The change at @*off of a record in an extent; *off moves to the next. False: none is there. */
bool im_group_change(const struct im_seg *seg, const unsigned char *record, uint32_t *off,
		     struct im_change *ret);

/*
 * Under the shard's lock, whose next version is @version: store the change with it. There is
 * room, the commit saw to that. False: the bytes are not what they were.
 */
bool im_group_store(struct im_op *op, struct im_change *c, uint64_t version);

/* The changes are stored: the shard has no group any more. The record goes with its first part. */
void im_group_end(struct im_op *op);

/*
 * After a dead holder of the shard's lock: store what is left of a committed group, forget one
 * that was not committed. 0; -EUCLEAN.
 */
int im_group_finish(struct im_op *op);

/* The same without its end: was there a committed group? For a copy that is judged. */
int im_group_recover(struct im_op *op, bool *ret_on);

/* For check: is this shard the first of the group that it names; whose record is in @ext? */
bool im_group_is_first(const struct im_op *op);
uint32_t im_group_shard(const struct im_seg *seg, uint32_t ext);

/* Is that shard in the middle of a group, as far as can be seen without its lock? */
im_inline bool im_group_is_on(const struct fmt_shard *s)
{
	return im_load32_acq(&s->group) != 0;
}

#endif
