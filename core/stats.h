/* SPDX-License-Identifier: MIT */
/*
 * stats.h - counts and facts, taken without a lock
 */
#ifndef IM_STATS_H
#define IM_STATS_H

#include "map.h"

uint64_t im_stats_entries(const struct ipcmap *m);
int im_stats_get(struct ipcmap *m, struct ipcmap_stat *ret);

#endif
