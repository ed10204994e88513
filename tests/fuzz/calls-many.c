/* SPDX-License-Identifier: MIT */
/*
 * calls-many.c - calls on many keys: reads, groups, walks
 */
#include "calls.h"

#include <stdlib.h>
#include <string.h>

static void mget(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_mget items[24] = {0};
	size_t n = r->a % 25;
	int rc;

	for (size_t i = 0; i < n; i++) {
		struct fz_rec k = *r;

		k.a = (uint8_t)(r->d >> i & 1);
		k.c += (uint32_t)i * 3;
		items[i].key = fz_key_of(run, &k, &items[i].key_len);
		items[i].value = fz_value_of(r);
	}
	if (r->kind % FZ_KINDS == FZ_MGET_CONSISTENT) {
		rc = ipcmap_mget_consistent(run->m, items, n, r->a & 0x40 ? IPCMAP_NOWAIT : 0);
		fz_may(run, "mget_consistent", rc, LOCKS | E(IPCMAP_NOMEM));
	} else {
		rc = ipcmap_mget(run->m, items, n);
		fz_may(run, "mget", rc, E(IPCMAP_INVALID));
	}
	for (size_t i = 0; i < n; i++) {
		if (rc >= 0)
			fz_may(run, "mget item", items[i].rc, GETS);
		if (rc >= 0)
			fz_look_value(items[i].rc, &items[i].value);
		free((void *)(uintptr_t)items[i].key);
		free(items[i].value.buf);
	}
}

#define CHANGES 8u

/* Puts and deletes of keys that may be the same, which is INVALID. */
static void commit(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_change c[CHANGES];
	size_t n = r->a & 15 ? (r->a & 15) % (CHANGES + 1) : 3;
	int rc;

	memset(c, 0, sizeof(c));
	for (size_t i = 0; i < n; i++) {
		struct fz_rec k = *r;

		k.a = (uint8_t)(r->d >> (40 + i) & 1 ? 3 : 0);
		k.b = (uint16_t)(r->b ^ (uint16_t)(i * 3 & 7));
		k.c += (uint32_t)i * (r->a >> 4);
		c[i].key = fz_key_of(run, &k, &c[i].key_len);
		c[i].val = fz_val_of(&k, &c[i].val_len);
		c[i].flags = (unsigned)(r->d >> 2 * i & 3) == 3 ? IPCMAP_CHANGE_DEL : 0;
		if (r->b & 0x200)
			c[i].flags |= 1u << (r->d >> i & 3);
		if (c[i].flags & IPCMAP_CHANGE_DEL && !(r->b & 0x400))
			c[i].val_len = 0;
		c[i].type = (uint32_t)(r->d >> 20 & 7);
		c[i].version = r->d >> 32;
		c[i].ttl_ns = r->b & 0x800 ? r->d << 20 : 0;
	}
	rc = ipcmap_commit(run->m, c, n, r->b & 0x1000 ? IPCMAP_NOWAIT : 0);
	fz_may(run, "commit", rc, PUTS | E(IPCMAP_VERSION));
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && c[i].rc)
			fz_broken("a change of a group that was made has an error", c[i].rc);
		free((void *)(uintptr_t)c[i].key);
		free((void *)(uintptr_t)c[i].val);
	}
}

struct walk {
	struct fz_run *run;
	const struct fz_rec *r;
	uint32_t n;
};

static int each_item(void *arg, const struct ipcmap_item *item)
{
	struct walk *w = arg;

	fz_look(item->key, item->key_len);
	if (item->val)
		fz_look(item->val, item->val_len);
	if (++w->n > WALK_MAX)
		fz_broken("a scan without an end", 0);
	if (w->r->b & 2 && w->n % 4 == 0)
		ipcmap_del(w->run->m, item->key, item->key_len);
	if (w->r->b & 4 && w->n % 8 == 0)
		ipcmap_put(w->run->m, item->key, item->key_len, "x", 1, NULL);
	return w->r->b & 8 && w->n == (w->r->b >> 4) + 1u ? 7 : 0;
}

static void scan(struct fz_run *run, const struct fz_rec *r)
{
	struct walk w = {run, r, 0};
	uint64_t cursor = r->a & 1 ? r->d : 0;
	size_t prefix = r->a >> 1 & 3;
	int rc = ipcmap_scan(run->m, &cursor, &"k10"[0], prefix, r -> b & 1, each_item, &w);

	fz_may(run, "scan", rc, SCANS);
	if (rc == 7 && r->a & 8) {
		w.n = 0;
		rc = ipcmap_scan(run->m, &cursor, NULL, 0, 0, each_item, &w);
		fz_may(run, "scan on", rc, SCANS);
	}
}

static void del_prefix(struct fz_run *run, const struct fz_rec *r)
{
	uint64_t n = 0;
	int rc = ipcmap_del_prefix(run->m, &"k10"[0], 1 + r->a % 3, &n);

	fz_may(run, "del_prefix", rc, SCANS | DELS);
}

void fz_many(struct fz_run *run, const struct fz_rec *r)
{
	switch (r->kind % FZ_KINDS) {
	case FZ_COMMIT:
		commit(run, r);
		break;
	case FZ_SCAN:
		scan(run, r);
		break;
	case FZ_DEL_PREFIX:
		del_prefix(run, r);
		break;
	default:
		mget(run, r);
	}
}
