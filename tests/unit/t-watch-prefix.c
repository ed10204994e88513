/* SPDX-License-Identifier: MIT */
/*
 * t-watch-prefix.c - watching through handles that have a prefix
 */
#include "kit.h"

#include <poll.h>

static struct ipcmap *m, *a, *b; /* the map, and two tenants of it */

static void begin(const char *name, unsigned shards)
{
	m = kit_made(name, 4 * KIT_MIB, 0, shards);
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "a/", 2, &a) == 0);
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "b/", 2, &b) == 0);
}

static void done(void)
{
	ipcmap_close(a);
	ipcmap_close(b);
	kit_gone(m);
}

static struct ipcmap_watch *watching(struct ipcmap *map, const char *key, unsigned what)
{
	struct ipcmap_watch *w = NULL;

	CU_ASSERT_FATAL(ipcmap_watch_open(map, key, key ? strlen(key) : 0, what, &w) == 0);
	return w;
}

static bool has(struct ipcmap_watch *w, unsigned op, const char *key)
{
	struct ipcmap_event e = {0};

	return ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == 0 && e.op == op &&
	       e.key_len == strlen(key) && e.key && memcmp(e.key, key, e.key_len) == 0;
}

static bool has_none(struct ipcmap_watch *w)
{
	struct ipcmap_event e;

	return ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == IPCMAP_BUSY;
}

static void watch_prefix__no_event_of_another_tenant(void)
{
	struct ipcmap_watch *all_a, *all_b, *under_a, *key_a;

	begin(T_NAME, 4);
	all_a = watching(a, NULL, IPCMAP_WATCH_ALL);
	all_b = watching(b, NULL, IPCMAP_WATCH_ALL);
	under_a = watching(a, "x", IPCMAP_WATCH_PREFIX);
	key_a = watching(a, "x1", IPCMAP_WATCH_KEY);
	CU_ASSERT(kit_put(b, "x1", "v") == 0 && kit_put(m, "x1", "v") == 0);
	CU_ASSERT(kit_put(m, "a", "v") == 0 && kit_put(m, "a.x1", "v") == 0);
	CU_ASSERT(kit_put(m, "a/", "the prefix is no key under it") == 0);
	CU_ASSERT(has_none(all_a) && has_none(under_a) && has_none(key_a));
	CU_ASSERT(has(all_b, IPCMAP_EVENT_PUT, "x1") && has_none(all_b));
	CU_ASSERT(kit_put(a, "x1", "v") == 0);
	CU_ASSERT(has(all_a, IPCMAP_EVENT_PUT, "x1") && has(under_a, IPCMAP_EVENT_PUT, "x1"));
	CU_ASSERT(has(key_a, IPCMAP_EVENT_PUT, "x1"));
	CU_ASSERT(kit_put(m, "a/x2", "by the whole key") == 0 && kit_put(a, "y", "v") == 0);
	CU_ASSERT(has_none(key_a) && has(under_a, IPCMAP_EVENT_PUT, "x2") && has_none(under_a));
	CU_ASSERT(ipcmap_del(m, "a/x1", 4) == 0 && ipcmap_del(b, "x1", 2) == 0);
	CU_ASSERT(has(key_a, IPCMAP_EVENT_DEL, "x1") && has_none(key_a));
	CU_ASSERT(has(under_a, IPCMAP_EVENT_DEL, "x1") && has_none(under_a));
	CU_ASSERT(has(all_b, IPCMAP_EVENT_DEL, "x1") && has_none(all_b));
	for (unsigned i = 0; i < 3; i++) { /* x2, y, the del of x1, by shard */
		struct ipcmap_event e = {0};

		CU_ASSERT(ipcmap_watch_next(all_a, IPCMAP_NOWAIT, &e) == 0 && e.key_len < 3);
		CU_ASSERT(e.key && memchr(e.key, '/', e.key_len) == NULL);
		CU_ASSERT(e.group == (uint32_t)ipcmap_group(a, e.key, e.key_len));
	}
	CU_ASSERT(has_none(all_a));
	ipcmap_watch_close(all_a);
	ipcmap_watch_close(all_b);
	ipcmap_watch_close(under_a);
	ipcmap_watch_close(key_a);
	done();
}

static void watch_prefix__clear_of_one_tenant_is_dels_of_its_keys(void)
{
	struct ipcmap_watch *wa, *wb;
	struct ipcmap_event e = {0};

	begin(T_NAME, 1);
	CU_ASSERT(kit_put(a, "k", "v") == 0 && kit_put(b, "k", "v") == 0);
	wa = watching(a, NULL, IPCMAP_WATCH_ALL);
	wb = watching(b, NULL, IPCMAP_WATCH_ALL);
	CU_ASSERT(ipcmap_clear(a) == 0);
	CU_ASSERT(has(wa, IPCMAP_EVENT_DEL, "k") && has_none(wa) && has_none(wb));
	/* a clear of the map is one of each tenant */
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(ipcmap_watch_next(wa, IPCMAP_NOWAIT, &e) == 0);
	CU_ASSERT(e.op == IPCMAP_EVENT_CLEAR && !e.key && e.key_len == 0);
	CU_ASSERT(ipcmap_watch_next(wb, IPCMAP_NOWAIT, &e) == 0 && e.op == IPCMAP_EVENT_CLEAR);
	ipcmap_watch_close(wa);
	ipcmap_watch_close(wb);
	done();
}

static void watch_prefix__a_sleeper_is_woken_by_its_own(void)
{
	struct ipcmap_watch *w;
	struct pollfd p = {.events = POLLIN};

	begin(T_NAME, 2);
	w = watching(a, NULL, IPCMAP_WATCH_ALL);
	p.fd = ipcmap_watch_fd(w);
	CU_ASSERT(kit_put(b, "k", "v") == 0 && poll(&p, 1, 50) == 0);
	CU_ASSERT(kit_put(a, "k", "v") == 0 && poll(&p, 1, T_LIMIT_MS) == 1);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k") && has_none(w));
	/* the handle may go before the watch */
	CU_ASSERT(kit_put(a, "l", "v") == 0);
	ipcmap_close(a);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "l") && has_none(w));
	ipcmap_watch_close(w);
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "a/", 2, &a) == 0);
	done();
}

static void watch_prefix__long_keys_and_wrong_arguments(void)
{
	static char key[IPCMAP_KEY_MAX];
	struct ipcmap_watch *w = NULL, *deep_w;
	struct ipcmap *deep, *far;
	struct ipcmap_event e;

	begin(T_NAME, 1);
	memset(key, 'x', sizeof(key));
	CU_ASSERT(ipcmap_watch_open(a, key, 65534, IPCMAP_WATCH_KEY, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(a, "k", 1, IPCMAP_WATCH_ALL, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(a, NULL, 0, IPCMAP_WATCH_KEY, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(a, NULL, 0, IPCMAP_WATCH_PREFIX, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(a, "k", 1, IPCMAP_WATCH_ALL + 1, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(a, "k", 1, IPCMAP_WATCH_KEY, NULL) == IPCMAP_INVALID && !w);
	CU_ASSERT(ipcmap_group(a, "k", 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_group(a, key, 65534) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_group(a, "k", 1) == ipcmap_group(m, "a/k", 3));

	w = watching(a, NULL, IPCMAP_WATCH_ALL);
	/* a prefix longer than those that have a bell of their own, and keys that are cut */
	CU_ASSERT_FATAL(ipcmap_open_prefix(a, key, 300, &far) == 0);
	CU_ASSERT_FATAL(ipcmap_open_prefix(a, "deep/", 5, &deep) == 0);
	deep_w = watching(deep, NULL, IPCMAP_WATCH_ALL);
	CU_ASSERT(kit_put(far, "k", "v") == 0 && has_none(deep_w));
	CU_ASSERT(ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == 0 && e.key_len == 301);
	CU_ASSERT(kit_put(deep, "k", "v") == 0);
	CU_ASSERT(has(deep_w, IPCMAP_EVENT_PUT, "k") && has(w, IPCMAP_EVENT_PUT, "deep/k"));
	CU_ASSERT(ipcmap_put(a, key, 60000, "v", 1, NULL) == 0);
	CU_ASSERT(ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == 0);
	CU_ASSERT(e.op == IPCMAP_EVENT_GAP && !e.key && e.key_len == 0);
	CU_ASSERT(has_none(deep_w));
	ipcmap_watch_close(deep_w);
	ipcmap_watch_close(w);
	ipcmap_close(deep);
	ipcmap_close(far);
	done();
}

static void watch_prefix__read_only_is_refused_as_ever(void)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	struct ipcmap *r, *ra;
	struct ipcmap_watch *w = NULL;
	const char *name = T_NAME;

	begin(name, 1);
	opt.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(name, &opt, &r) == 0);
	CU_ASSERT_FATAL(ipcmap_open_prefix(r, "a/", 2, &ra) == 0);
	CU_ASSERT(ipcmap_watch_open(ra, NULL, 0, IPCMAP_WATCH_ALL, &w) == IPCMAP_READONLY && !w);
	ipcmap_close(ra);
	ipcmap_close(r);
	done();
}

static CU_TestInfo tests[] = {
	{"no event of another tenant, and keys without the prefix",
	 watch_prefix__no_event_of_another_tenant},
	{"a clear of one tenant is deletes of its keys",
	 watch_prefix__clear_of_one_tenant_is_dels_of_its_keys},
	{"a sleeper is woken by its own; the handle may go first",
	 watch_prefix__a_sleeper_is_woken_by_its_own},
	{"long keys, wrong arguments, a prefix in a prefix",
	 watch_prefix__long_keys_and_wrong_arguments},
	{"read-only is refused as ever", watch_prefix__read_only_is_refused_as_ever},
	CU_TEST_INFO_NULL,
};
T_SUITE("watch-prefix", tests)
