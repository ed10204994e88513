/* SPDX-License-Identifier: MIT */
/*
 * write.h - the write protocol: put (write.c), add and touch (update.c),
 * delete and clear (remove.c)
 */
#ifndef IM_WRITE_H
#define IM_WRITE_H

#include "map.h"

/* @how NULL: defaults; @ret_old NULL: not wanted. Arguments were checked by api.c. */
struct im_entry;
struct im_op;
struct im_record;
struct im_request;

/* Store @rec as @q says; the key, its hash and what @q->make does not set are in @rec. */
int im_write_run(struct ipcmap *m, struct im_request *q, struct im_record *rec);

/* The life that @rec gets, from what is asked and what @old (NULL: nothing) has left. */
void im_write_life(struct im_op *op, const struct im_request *q, const struct im_entry *old,
		   struct im_record *rec);
/* The same of a value as it is: compressed, or put into extents of its own, if that is due. */
int im_write_record(struct ipcmap *m, struct im_request *q, struct im_record *rec);

int im_write_put(struct ipcmap *m, const void *key, size_t key_len, const void *val,
		 size_t val_len, const struct ipcmap_put_options *how,
		 struct ipcmap_value *ret_old);
int im_write_del(struct ipcmap *m, const void *key, size_t key_len,
		 const struct ipcmap_put_options *only_if, struct ipcmap_value *ret_old);
int im_write_clear(struct ipcmap *m);
int im_write_touch(struct ipcmap *m, const void *key, size_t key_len,
		   const struct ipcmap_put_options *how);
int im_write_add(struct ipcmap *m, const void *key, size_t key_len, int64_t delta,
		 const struct ipcmap_add_options *how, int64_t *ret_now);

#endif
