/* SPDX-License-Identifier: MIT */
/*
 * compact.h - give memory back: fewest extents, fewest buckets, no pages behind free extents
 */
#ifndef IM_COMPACT_H
#define IM_COMPACT_H

#include "map.h"

int im_compact(struct ipcmap *m, const struct ipcmap_compact_options *how,
	       struct ipcmap_compact *ret);

#endif
