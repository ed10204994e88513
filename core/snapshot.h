/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - publish, roll back, drop and list the versions of snapshot tables
 *
 * Called with im_tls.held set, but for the list.
 */
#ifndef IM_SNAPSHOT_H
#define IM_SNAPSHOT_H

#include "ipcmap.h"
#include "map.h"

int im_snapshot_publish(struct ipcmap *m, const char *table, const struct ipcmap_pair *pairs,
			size_t n, uint64_t *ret_version, const struct im_why *why);

/* The content of a version that can be opened, 0: of the one before the current, again. */
int im_snapshot_rollback(struct ipcmap *m, const char *table, uint64_t version,
			 uint64_t *ret_version);

int im_snapshot_drop(struct ipcmap *m, const char *table);

int im_snapshot_list(struct ipcmap *m,
		     int (*each)(void *arg, const struct ipcmap_snapshot_info *info), void *arg);

#endif
