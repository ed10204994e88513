/* SPDX-License-Identifier: MIT */
/*
 * read.h - the read protocol: get without a lock
 */
#ifndef IM_READ_H
#define IM_READ_H

#include "map.h"

/* As ipcmap_get() (arguments unchecked by the caller too), ipcmap_getx(), ipcmap_exists() (no value at all); counts gets and hits. */
int im_read_get(const struct ipcmap *m, const void *key, size_t key_len, void *buf, size_t cap,
		size_t *ret_len);
int im_read_getx(const struct ipcmap *m, const void *key, size_t key_len,
		 struct ipcmap_value *ret);
int im_read_exists(const struct ipcmap *m, const void *key, size_t key_len);

#endif
