/* SPDX-License-Identifier: MIT */
/*
 * write.h - the write protocol: put (write.c), delete and clear (remove.c)
 */
#ifndef IM_WRITE_H
#define IM_WRITE_H

#include "map.h"

/* @how NULL: defaults; @ret_old NULL: not wanted. Arguments were checked by api.c. */
int im_write_put(struct ipcmap *m, const void *key, size_t key_len, const void *val,
		 size_t val_len, const struct ipcmap_put_options *how,
		 struct ipcmap_value *ret_old);
int im_write_del(struct ipcmap *m, const void *key, size_t key_len,
		 const struct ipcmap_put_options *only_if, struct ipcmap_value *ret_old);
int im_write_clear(struct ipcmap *m);

#endif
