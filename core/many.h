/* SPDX-License-Identifier: MIT */
/*
 * many.h - calls over many keys: mget, delete by prefix
 */
#ifndef IM_MANY_H
#define IM_MANY_H

#include "map.h"

int im_many_get(const struct ipcmap *m, struct ipcmap_mget *items, size_t n);
int im_many_del_prefix(struct ipcmap *m, const void *prefix, size_t prefix_len,
		       uint64_t *ret_deleted);

#endif
