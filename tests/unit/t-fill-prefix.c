/* SPDX-License-Identifier: MIT */
/*
 * t-fill-prefix.c - loading through handles that have a prefix
 */
#include "kit.h"

static struct ipcmap *m, *a, *b; /* the map, and two tenants of it */

static void begin(const char *name)
{
	m = kit_made(name, KIT_MIB, 0, 1);
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "a/", 2, &a) == 0);
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "b/", 2, &b) == 0);
}

static void done(void)
{
	ipcmap_close(a);
	ipcmap_close(b);
	kit_gone(m);
}

struct loader {
	unsigned loads;
	int err;       /* what it says; 0: the key is the value */
	char key[100]; /* what it was given */
	size_t key_len;
	int (*meanwhile)(void);
	int meant; /* what that said */
};

static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct loader *l = arg;

	l->loads++;
	l->key_len = key_len;
	memcpy(l->key, key, key_len < sizeof(l->key) ? key_len : sizeof(l->key));
	if (l->meanwhile && l->loads == 1)
		l->meant = l->meanwhile();
	ret->val = l->key;
	ret->len = key_len < sizeof(l->key) ? key_len : sizeof(l->key);
	return l->err;
}

static int fill(struct ipcmap *map, const char *key, struct loader *l)
{
	char buf[100];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	int r = ipcmap_fill(map, key, strlen(key), NULL, load, l, &v);

	if (r == 0)
		CU_ASSERT(v.len == strlen(key) && memcmp(buf, key, v.len) == 0);
	return r;
}

static int lease(struct ipcmap *map, const char *key, struct ipcmap_lease *l)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	char buf[100];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	how.deadline_ns = IPCMAP_NOWAIT;
	return ipcmap_lease(map, key, strlen(key), &how, l, &v);
}

static void fill_prefix__stored_under_it_and_shown_without(void)
{
	struct loader l = {0};
	void *p = NULL;
	size_t len = 0;

	begin(T_NAME);
	CU_ASSERT(fill(a, "k", &l) == 0 && l.loads == 1);
	CU_ASSERT(l.key_len == 1 && l.key[0] == 'k');
	CU_ASSERT(kit_is(m, "a/k", "k") && kit_absent(m, "b/k") && kit_absent(m, "k"));
	CU_ASSERT(fill(a, "k", &l) == 0 && l.loads == 1);
	CU_ASSERT(ipcmap_fill_alloc(b, "k", 1, NULL, load, &l, &p, &len) == 0);
	CU_ASSERT(l.loads == 2 && len == 1 && strcmp(p, "k") == 0 && kit_is(m, "b/k", "k"));
	free(p);
	l.err = IPCMAP_NOTFOUND;
	CU_ASSERT(fill(a, "none", &l) == IPCMAP_NOTFOUND && kit_absent(m, "a/none"));
	done();
}

static int ask_for_the_whole_key(void)
{
	struct ipcmap_lease l;

	return lease(m, "a/k", &l);
}

static int ask_for_the_other_tenants(void)
{
	struct ipcmap_lease l;

	return lease(b, "k", &l) == IPCMAP_LEAD ? ipcmap_lease_fail(b, "k", 1, &l, NULL, 0) : -1;
}

static void fill_prefix__one_lease_with_and_without_it(void)
{
	struct loader l = {.meanwhile = ask_for_the_whole_key};
	struct ipcmap_lease first, second;

	begin(T_NAME);
	CU_ASSERT(fill(a, "k", &l) == 0);
	CU_ASSERT(l.meant == IPCMAP_DEADLOCK); /* this thread loads that very key */
	CU_ASSERT(ipcmap_del(a, "k", 1) == 0);
	l = (struct loader){.meanwhile = ask_for_the_other_tenants};
	CU_ASSERT(fill(a, "k", &l) == 0 && l.meant == 0);
	CU_ASSERT(ipcmap_del(a, "k", 1) == 0);

	CU_ASSERT(lease(a, "k", &first) == IPCMAP_LEAD);
	CU_ASSERT(lease(m, "a/k", &second) == IPCMAP_BUSY);
	CU_ASSERT(lease(b, "k", &second) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_put(b, "k", 1, &second, "b", 1, NULL) == 0);
	CU_ASSERT(ipcmap_lease_put(b, "k", 1, &first, "x", 1, NULL) == IPCMAP_MISMATCH);
	CU_ASSERT(ipcmap_lease_put(m, "a/k", 3, &first, "a", 1, NULL) == 0);
	CU_ASSERT(kit_is(m, "a/k", "a") && kit_is(m, "b/k", "b"));
	CU_ASSERT(lease(a, "k", &first) == 0);

	CU_ASSERT(lease(m, "a/l", &first) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_fail(a, "l", 1, &first, NULL, -5) == 0);
	CU_ASSERT(lease(m, "a/l", &first) == -5 && lease(a, "l", &first) == -5);
	CU_ASSERT(lease(b, "l", &first) == IPCMAP_LEAD);
	done();
}

static void fill_prefix__a_put_by_the_whole_key_ends_the_lease(void)
{
	struct ipcmap_lease l;

	begin(T_NAME);
	CU_ASSERT(lease(a, "k", &l) == IPCMAP_LEAD);
	CU_ASSERT(kit_put(b, "k", "new") == 0 && kit_put(m, "k", "new") == 0); /* other keys */
	CU_ASSERT(ipcmap_lease_put(a, "k", 1, &l, "v", 1, NULL) == 0);
	CU_ASSERT(ipcmap_del(a, "k", 1) == 0 && lease(a, "k", &l) == IPCMAP_LEAD);
	CU_ASSERT(kit_put(m, "a/k", "new") == 0);
	CU_ASSERT(ipcmap_lease_put(a, "k", 1, &l, "old", 3, NULL) == IPCMAP_MISMATCH);
	CU_ASSERT(kit_is(a, "k", "new"));
	CU_ASSERT(ipcmap_clear(a) == 0 && lease(a, "k", &l) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_clear(a) == 0);
	CU_ASSERT(ipcmap_lease_put(a, "k", 1, &l, "old", 3, NULL) == IPCMAP_MISMATCH);
	done();
}

static void fill_prefix__long_keys_and_wrong_arguments(void)
{
	static char key[IPCMAP_KEY_MAX];
	struct ipcmap_value v = {0};
	struct ipcmap_lease ls;
	struct loader l = {0};
	struct ipcmap *deep;
	char buf[100];
	void *p;

	begin(T_NAME);
	v.buf = buf;
	v.cap = sizeof(buf);
	memset(key, 'x', sizeof(key));
	CU_ASSERT(ipcmap_fill(a, key, 65533, NULL, load, &l, &v) == 0 && l.key_len == 65533);
	CU_ASSERT(ipcmap_exists(a, key, 65533) == 1 && l.key[0] == 'x');
	CU_ASSERT(ipcmap_fill(a, key, 65534, NULL, load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(a, "", 0, NULL, load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(a, NULL, 1, NULL, load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(a, "k", 1, NULL, NULL, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(a, "k", 1, NULL, load, &l, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill_alloc(a, "k", 1, NULL, load, &l, NULL, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill_alloc(a, "k", 0, NULL, load, &l, &p, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease(a, "k", 1, NULL, NULL, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease(a, "k", 0, NULL, &ls, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_put(a, "k", 1, NULL, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_fail(a, "k", 1, NULL, NULL, 0) == IPCMAP_INVALID);
	CU_ASSERT(l.loads == 1);
	CU_ASSERT_FATAL(ipcmap_open_prefix(a, "deep/", 5, &deep) == 0);
	CU_ASSERT(fill(deep, "k", &l) == 0 && l.loads == 2 && l.key_len == 1);
	CU_ASSERT(kit_is(m, "a/deep/k", "k"));
	ipcmap_close(deep);
	done();
}

static CU_TestInfo tests[] = {
	{"what is loaded is stored under it; the loader gets the key without",
	 fill_prefix__stored_under_it_and_shown_without},
	{"one lease with the prefix and without it", fill_prefix__one_lease_with_and_without_it},
	{"a put by the whole key ends the lease",
	 fill_prefix__a_put_by_the_whole_key_ends_the_lease},
	{"long keys, wrong arguments, a prefix in a prefix",
	 fill_prefix__long_keys_and_wrong_arguments},
	CU_TEST_INFO_NULL,
};
T_SUITE("fill-prefix", tests)
