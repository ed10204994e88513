/* SPDX-License-Identifier: MIT */
/*
 * ring.h - the ring of a shard that is watched: taken for the first watcher, given back after
 * the last
 */
#ifndef IM_RING_H
#define IM_RING_H

#include "shard.h"

/* The bit of a shard in the word of an owner that watches it. */
im_inline uint64_t im_ring_group(uint32_t shard)
{
	return UINT64_C(1) << (32 + shard % FMT_WATCH_GROUPS);
}

/*
 * im_ring_take() - the shard has a ring; where its next event will lie
 *
 * This process's word in m->watchers says already that it watches the shard. Without locks.
 * Return: 0; -EDQUOT, -ENOSPC there is no extent for it; -EBUSY, -EINTR, -EUCLEAN.
 */
int im_ring_take(struct ipcmap *m, uint32_t shard, uint64_t deadline_ns, uint64_t *ret_head);

/*
 * im_ring_look() - give the ring back if no living process watches the shard
 *
 * Without locks. When a lock is not to be had the next one to look does it. Return: 0, -EBUSY
 * or another error of im_op_enter().
 */
int im_ring_look(struct ipcmap *m, uint32_t shard, uint64_t deadline_ns);

/* Processes that live and watch. Some system calls. */
uint32_t im_ring_watchers(const struct ipcmap *m);

/* The groups of shards, a bit each, that this owner watches, as its word says. */
uint32_t im_ring_groups_of(const struct ipcmap *m, uint32_t slot, uint32_t gen);

#endif
