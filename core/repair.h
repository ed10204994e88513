/* SPDX-License-Identifier: MIT */
/*
 * repair.h - a new segment from what verifies of a damaged one
 */
#ifndef IM_REPAIR_H
#define IM_REPAIR_H

#include "map.h"

int im_repair(const char *name, const struct ipcmap_repair_options *how,
	      struct ipcmap_repair *ret);

#endif
