/* SPDX-License-Identifier: MIT */
/*
 * check.h - verify every named invariant of the shards
 */
#ifndef IM_CHECK_H
#define IM_CHECK_H

#include "map.h"

int im_check(struct ipcmap *m, void (*report)(void *arg, const char *line), void *arg);

#endif
