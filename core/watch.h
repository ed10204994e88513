/* SPDX-License-Identifier: MIT */
/*
 * watch.h - what happens to a key, to the keys of a prefix, to all keys
 */
#ifndef IM_WATCH_H
#define IM_WATCH_H

#include "map.h"

/*
 * Watch from now on. The caller is inside begin_write(). 0; IPCMAP_VERSION: the segment has no
 * waiting area; errors of im_ring_take(); IPCMAP_NOMEM; IPCMAP_DEADLOCK.
 */
int im_watch_open(struct ipcmap *m, const void *key, uint32_t key_len, unsigned what,
		  struct ipcmap_watch **ret);

/*
 * Before the first look: keys are shown without their first @len bytes, which all those that
 * the watch is of begin with, and one that has no more is not shown.
 */
void im_watch_under(struct ipcmap_watch *w, uint32_t len);

/* 0; IPCMAP_BUSY; IPCMAP_INTERRUPTED; IPCMAP_MISMATCH in a forked child; IPCMAP_CORRUPT. */
int im_watch_next(struct ipcmap_watch *w, uint64_t deadline_ns, struct ipcmap_event *ret);

/* A descriptor, or an error. */
int im_watch_fd(struct ipcmap_watch *w);

/* @may_lock: inside begin_write(); else a ring that nobody watches now stays for a later look. */
void im_watch_close(struct ipcmap_watch *w, bool may_lock);

/* Does the process live that opened it, rather than be forked from it? */
bool im_watch_is_alive(const struct ipcmap_watch *w);
struct ipcmap *im_watch_map(const struct ipcmap_watch *w);

#endif
