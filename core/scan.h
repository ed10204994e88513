/* SPDX-License-Identifier: MIT */
/*
 * scan.h - walk every key, a bucket at a time
 */
#ifndef IM_SCAN_H
#define IM_SCAN_H

#include "map.h"

int im_scan(struct ipcmap *m, uint64_t *cursor, const void *prefix, size_t prefix_len,
	    unsigned flags, int (*each)(void *arg, const struct ipcmap_item *item), void *arg);

#endif
