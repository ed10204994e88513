/* SPDX-License-Identifier: MIT */
/*
 * fill.h - a key is loaded by one process for all that miss it
 */
#ifndef IM_FILL_H
#define IM_FILL_H

#include "lease.h"

/* One call; private memory. */
struct im_fill {
	struct ipcmap *m;
	const void *key;
	size_t key_len;
	uint64_t hash;
	uint32_t shard;
	struct ipcmap_fill_options how; /* without zeros that mean a default */
	struct im_wait wait;
	struct ipcmap_value *v; /* where the value goes */
	bool grow;		/* v->buf is from malloc() and may be made longer */
	bool have;		/* a value is in v that may be given: expired, or nearly */
	bool looked;		/* the first look is counted as a get */
	uint64_t seen;		/* version of a value there that is to be refreshed; 0 */
	uint32_t dead;		/* an owner of a lease that was proven dead; 0 */
};

/* @how NULL: the defaults. @v may be NULL when only the second step follows. */
void im_fill_init(struct im_fill *f, struct ipcmap *m, const void *key, size_t key_len,
		  const struct ipcmap_fill_options *how, struct ipcmap_value *v);

/*
 * 0: the value is in f->v; IPCMAP_LEAD: load it, @ret is the lease, and f->have says whether
 * there is a value for want of a better one; or an error of ipcmap_lease().
 */
int im_fill_ask(struct im_fill *f, struct ipcmap_lease *ret);

/* As ipcmap_lease_put(), ipcmap_lease_fail(). @type and @ttl_ns instead of f->how's. */
int im_fill_store(struct im_fill *f, const struct ipcmap_lease *l, const void *val,
		  size_t val_len, uint32_t type, uint64_t ttl_ns);
int im_fill_fail(struct im_fill *f, const struct ipcmap_lease *l, int err);

/* All of ipcmap_fill(). */
int im_fill_run(struct im_fill *f,
		int (*load)(void *arg, const void *key, size_t key_len,
			    struct ipcmap_loaded *ret),
		void *arg);

#endif
