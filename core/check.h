/* SPDX-License-Identifier: MIT */
/*
 * check.h - verify every named invariant of the shards
 */
#ifndef IM_CHECK_H
#define IM_CHECK_H

#include "map.h"

int im_check(struct ipcmap *m, void (*report)(void *arg, const char *line), void *arg);

/* The snapshot area, in check-snapshot.c: 0 whatever was found, or an error. */
int im_check_snapshots(struct ipcmap *m, void (*report)(void *arg, const char *line), void *arg);

/* Groups and their records, in check-group.c; likewise. */
int im_check_groups(struct ipcmap *m, void (*report)(void *arg, const char *line), void *arg);

#endif
