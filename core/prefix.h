/* SPDX-License-Identifier: MIT */
/*
 * prefix.h - a handle that sees and writes only the keys under a prefix
 *
 * Each call below is that of ipcmap.h of the same name, for a handle with a prefix.
 */
#ifndef IM_PREFIX_H
#define IM_PREFIX_H

#include "map.h"

im_inline bool im_has_prefix(const struct ipcmap *m)
{
	return unlikely(m && m->prefix_len);
}

int im_prefix_open(struct ipcmap *m, const void *prefix, size_t prefix_len,
		   struct ipcmap **ret_map);
void im_prefix_close(struct ipcmap *m);

int im_prefix_get(struct ipcmap *m, const void *key, size_t key_len, void *buf, size_t cap,
		  size_t *ret_len);
int im_prefix_getx(struct ipcmap *m, const void *key, size_t key_len, struct ipcmap_value *ret);
int im_prefix_pin(struct ipcmap *m, const void *key, size_t key_len, struct ipcmap_pin *ret);
int im_prefix_exists(struct ipcmap *m, const void *key, size_t key_len);
int im_prefix_putx(struct ipcmap *m, const void *key, size_t key_len, const void *val,
		   size_t val_len, const struct ipcmap_put_options *how,
		   struct ipcmap_value *ret_old);
int im_prefix_delx(struct ipcmap *m, const void *key, size_t key_len,
		   const struct ipcmap_put_options *only_if);
int im_prefix_take(struct ipcmap *m, const void *key, size_t key_len,
		   struct ipcmap_value *ret_old);
int im_prefix_touch(struct ipcmap *m, const void *key, size_t key_len,
		    const struct ipcmap_put_options *how);
int im_prefix_add(struct ipcmap *m, const void *key, size_t key_len, int64_t delta,
		  const struct ipcmap_add_options *how, int64_t *ret_now);
int im_prefix_mget(struct ipcmap *m, struct ipcmap_mget *items, size_t n);
int im_prefix_mget_consistent(struct ipcmap *m, struct ipcmap_mget *items, size_t n,
			      uint64_t deadline_ns);
int im_prefix_commit(struct ipcmap *m, struct ipcmap_change *changes, size_t n,
		     uint64_t deadline_ns);
int im_prefix_del_prefix(struct ipcmap *m, const void *prefix, size_t prefix_len,
			 uint64_t *ret_deleted);
int im_prefix_entries(struct ipcmap *m, uint64_t *ret_entries);
int im_prefix_scan(struct ipcmap *m, uint64_t *cursor, const void *prefix, size_t prefix_len,
		   unsigned flags, int (*each)(void *arg, const struct ipcmap_item *item),
		   void *arg);

int im_prefix_fill(struct ipcmap *m, const void *key, size_t key_len,
		   const struct ipcmap_fill_options *how,
		   int (*loader)(void *arg, const void *key, size_t key_len,
				 struct ipcmap_loaded *ret),
		   void *arg, struct ipcmap_value *ret);
int im_prefix_fill_alloc(struct ipcmap *m, const void *key, size_t key_len,
			 const struct ipcmap_fill_options *how,
			 int (*loader)(void *arg, const void *key, size_t key_len,
				       struct ipcmap_loaded *ret),
			 void *arg, void **ret_buf, size_t *ret_len);
int im_prefix_lease(struct ipcmap *m, const void *key, size_t key_len,
		    const struct ipcmap_fill_options *how, struct ipcmap_lease *ret_lease,
		    struct ipcmap_value *ret);
int im_prefix_lease_put(struct ipcmap *m, const void *key, size_t key_len,
			const struct ipcmap_lease *lease, const void *val, size_t val_len,
			const struct ipcmap_fill_options *how);
int im_prefix_lease_fail(struct ipcmap *m, const void *key, size_t key_len,
			 const struct ipcmap_lease *lease, const struct ipcmap_fill_options *how,
			 int err);

int im_prefix_watch_open(struct ipcmap *m, const void *key, size_t key_len, unsigned what,
			 struct ipcmap_watch **ret);
int im_prefix_group(struct ipcmap *m, const void *key, size_t key_len);

#endif
