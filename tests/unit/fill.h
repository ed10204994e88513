/* SPDX-License-Identifier: MIT */
/*
 * fill.h - what the suites of loading share: the map, loaders that count, calls with them
 */
#ifndef UNIT_FILL_H
#define UNIT_FILL_H

#include "kit.h"

#include "lease.h"

__attribute__((unused)) static struct ipcmap *m;

static inline void with_map(const char *name)
{
	m = kit_made(name, KIT_MIB, KIT_MIB, 1);
}

/* ---- loaders ---- */

struct loader {
	const char *val; /* NULL: what err says */
	int err;
	unsigned loads;
	void (*meanwhile)(void); /* during the first load */
};

static inline int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct loader *l = arg;

	(void)key;
	(void)key_len;
	if (l->loads++ == 0 && l->meanwhile)
		l->meanwhile();
	if (!l->val)
		return l->err;
	ret->val = l->val;
	ret->len = strlen(l->val);
	return 0;
}

static inline int load_numbered(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	static char text[20];
	struct loader *l = arg;

	(void)key;
	(void)key_len;
	sprintf(text, "load %u", l->loads + 1);
	if (l->loads++ == 0 && l->meanwhile)
		l->meanwhile();
	ret->val = text;
	ret->len = strlen(text);
	return 0;
}

__attribute__((unused)) static char got[64];

static inline int fill_how(const char *key, struct loader *l, const struct ipcmap_fill_options *how)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got) - 1};
	int r;

	memset(got, 0, sizeof(got));
	r = ipcmap_fill(m, key, strlen(key), how, l->val || l->err ? load : load_numbered, l,
			&v);
	got[r ? 0 : v.len] = '\0';
	return r;
}

static inline int fill(const char *key, struct loader *l)
{
	return fill_how(key, l, NULL);
}

static inline int lease_how(const char *key, struct ipcmap_lease *l,
		     const struct ipcmap_fill_options *how)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got) - 1};
	int r;

	memset(got, 0, sizeof(got));
	r = ipcmap_lease(m, key, strlen(key), how, l, &v);
	if (r == 0 || (r == IPCMAP_LEAD && l->has_value))
		got[v.len] = '\0';
	else
		got[0] = '\0';
	return r;
}

static inline int lease(const char *key, struct ipcmap_lease *l)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;

	how.deadline_ns = IPCMAP_NOWAIT;
	return lease_how(key, l, &how);
}

static inline int lease_put(const char *key, const struct ipcmap_lease *l, const char *val)
{
	return ipcmap_lease_put(m, key, strlen(key), l, val, strlen(val), NULL);
}

#endif
