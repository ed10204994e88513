/* SPDX-License-Identifier: MIT */
/*
 * api-fill.c - the calls of ipcmap.h that load a key for all: check arguments and handle, call
 * down
 */
#include "fill.h"

#include "api.h"
#include "prefix.h"

#include <stdlib.h>

static bool bad_how(const struct ipcmap_fill_options *how)
{
	return how && (how->struct_size != sizeof(*how) || how->type >= IPCMAP_TYPE_NEGATIVE ||
		       how->jitter > 100 || how->ttl_ns == IPCMAP_TTL_KEEP ||
		       how->negative_ttl_ns == IPCMAP_TTL_KEEP ||
		       how->lease_ns > IM_LEASE_MAX_NS || how->early > 10000 ||
		       how->backoff_ns > IM_LEASE_MAX_NS ||
		       how->backoff_max_ns > IM_LEASE_MAX_NS);
}

/* What all of them refuse. */
static int begin(struct im_fill *f, struct ipcmap *m, const void *key, size_t key_len,
		 const struct ipcmap_fill_options *how, struct ipcmap_value *v)
{
	if (bad_key(m, key, key_len) || bad_how(how))
		return IPCMAP_INVALID;
	if (!m->leases)
		return IPCMAP_VERSION;
	im_fill_init(f, m, key, key_len, how, v);
	return 0;
}

IPCMAP_API int ipcmap_fill(struct ipcmap *map, const void *key, size_t key_len,
			   const struct ipcmap_fill_options *how,
			   int (*load)(void *arg, const void *key, size_t key_len,
				       struct ipcmap_loaded *ret),
			   void *arg, struct ipcmap_value *ret)
{
	struct im_fill f;
	int r;

	if (!load || bad_value(ret))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_fill(map, key, key_len, how, load, arg, ret);
	r = begin(&f, map, key, key_len, how, ret);
	return r ? r : im_fill_run(&f, load, arg);
}

IPCMAP_API int ipcmap_fill_alloc(struct ipcmap *map, const void *key, size_t key_len,
				 const struct ipcmap_fill_options *how,
				 int (*load)(void *arg, const void *key, size_t key_len,
					     struct ipcmap_loaded *ret),
				 void *arg, void **ret_buf, size_t *ret_len)
{
	struct ipcmap_value v = {0};
	struct im_fill f;
	int r;

	if (!load || !ret_buf)
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_fill_alloc(map, key, key_len, how, load, arg, ret_buf, ret_len);
	r = begin(&f, map, key, key_len, how, &v);
	if (r)
		return r;
	v.buf = malloc(1); /* for the zero byte of an empty value */
	if (!v.buf)
		return IPCMAP_NOMEM;
	f.grow = true;
	r = im_fill_run(&f, load, arg);
	if (r) {
		free(v.buf);
		return r;
	}
	((unsigned char *)v.buf)[v.len] = '\0';
	*ret_buf = v.buf;
	if (ret_len)
		*ret_len = v.len;
	return 0;
}

IPCMAP_API int ipcmap_lease(struct ipcmap *map, const void *key, size_t key_len,
			    const struct ipcmap_fill_options *how,
			    struct ipcmap_lease *ret_lease, struct ipcmap_value *ret)
{
	struct im_fill f;
	int r;

	if (!ret_lease || bad_value(ret))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_lease(map, key, key_len, how, ret_lease, ret);
	r = begin(&f, map, key, key_len, how, ret);
	return r ? r : im_fill_ask(&f, ret_lease);
}

IPCMAP_API int ipcmap_lease_put(struct ipcmap *map, const void *key, size_t key_len,
				const struct ipcmap_lease *lease, const void *val,
				size_t val_len, const struct ipcmap_fill_options *how)
{
	struct im_fill f;
	int r;

	if (!lease || (!val && val_len))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_lease_put(map, key, key_len, lease, val, val_len, how);
	r = begin(&f, map, key, key_len, how, NULL);
	return r ? r : im_fill_store(&f, lease, val, val_len, f.how.type, f.how.ttl_ns);
}

IPCMAP_API int ipcmap_lease_fail(struct ipcmap *map, const void *key, size_t key_len,
				 const struct ipcmap_lease *lease,
				 const struct ipcmap_fill_options *how, int err)
{
	struct im_fill f;
	int r;

	if (!lease || err > 0)
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_lease_fail(map, key, key_len, lease, how, err);
	r = begin(&f, map, key, key_len, how, NULL);
	return r ? r : im_fill_fail(&f, lease, err);
}
