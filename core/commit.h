/* SPDX-License-Identifier: MIT */
/*
 * commit.h - a group of puts and deletes, all or none of them
 */
#ifndef IM_COMMIT_H
#define IM_COMMIT_H

#include "map.h"

int im_commit(struct ipcmap *m, struct ipcmap_change *changes, size_t n, uint64_t deadline_ns);

#endif
