/* SPDX-License-Identifier: MIT */
/*
 * consistent.h - several keys as they were at one moment
 */
#ifndef IM_CONSISTENT_H
#define IM_CONSISTENT_H

#include "map.h"

/* Without a lock: the hits, or IPCMAP_BUSY after 16 attempts. */
int im_consistent_get(struct ipcmap *m, struct ipcmap_mget *items, size_t n);

/* Under the locks of their shards; between begin_write() and end_write(). */
int im_consistent_get_locked(struct ipcmap *m, struct ipcmap_mget *items, size_t n,
			     uint64_t deadline_ns);

#endif
