/* SPDX-License-Identifier: MIT */
/*
 * t-prefix.c - handles that see and write only the keys under a prefix
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

static bool has(struct ipcmap *map, const char *key, const char *want)
{
	char buf[100];
	size_t len = 0;

	return ipcmap_get(map, key, strlen(key), buf, sizeof(buf), &len) == 0 &&
	       len == strlen(want) && memcmp(buf, want, len) == 0;
}

static void prefix__one_key_is_the_prefixed_one_of_the_map(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char buf[100];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	void *p = NULL;
	int64_t n = 0;

	begin(T_NAME);
	CU_ASSERT(kit_put(a, "k", "of a") == 0 && kit_put(b, "k", "of b") == 0);
	CU_ASSERT(has(a, "k", "of a") && has(b, "k", "of b"));
	CU_ASSERT(has(m, "a/k", "of a") && has(m, "b/k", "of b"));
	CU_ASSERT(ipcmap_exists(m, "k", 1) == 0 && ipcmap_exists(a, "k", 1) == 1);
	CU_ASSERT(ipcmap_getx(a, "k", 1, &v) == 0 && v.len == 4);
	how.flags = IPCMAP_IF_VERSION;
	how.version = v.version;
	CU_ASSERT(ipcmap_putx(a, "k", 1, "new", 3, &how, &v) == 0 && v.len == 4);
	CU_ASSERT(ipcmap_putx(a, "k", 1, "late", 4, &how, NULL) == IPCMAP_MISMATCH);
	CU_ASSERT(ipcmap_get_alloc(a, "k", 1, &p, NULL) == 0 && strcmp(p, "new") == 0);
	free(p);
	how = (struct ipcmap_put_options)IPCMAP_PUT_INIT;
	how.ttl_ns = UINT64_C(3600000000000);
	CU_ASSERT(ipcmap_touch(a, "k", 1, &how) == 0);
	CU_ASSERT(ipcmap_getx(m, "a/k", 3, &v) == 0 && v.ttl_left_ns != IPCMAP_TTL_NONE);
	CU_ASSERT(ipcmap_get_touch(a, "k", 1, UINT64_C(36000000000000), &v) == 0);
	CU_ASSERT(ipcmap_getx(m, "a/k", 3, &v) == 0 && v.ttl_left_ns > how.ttl_ns);
	CU_ASSERT(ipcmap_add(b, "n", 1, 5, NULL, &n) == 0 && n == 5 && has(m, "b/n", "5"));
	CU_ASSERT(ipcmap_take(a, "k", 1, &v) == 0 && v.len == 3);
	CU_ASSERT(ipcmap_del(a, "k", 1) == IPCMAP_NOTFOUND && ipcmap_del(b, "k", 1) == 0);
	CU_ASSERT(kit_entries(m) == 1);
	done();
}

/* Composed on the stack below 512 bytes, in another frame above. */
static void prefix__keys_of_every_length(void)
{
	static const size_t lens[] = {1, 13, 14, 15, 200, 509, 510, 511, 512, 5000, 65533};
	static char key[IPCMAP_KEY_MAX + 1], whole[IPCMAP_KEY_MAX + 1];
	char buf[20];

	begin(T_NAME);
	memset(key, 'x', sizeof(key));
	memset(whole, 'x', sizeof(whole));
	memcpy(whole, "a/", 2);
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		size_t len = 0;

		CU_ASSERT(ipcmap_put(a, key, lens[i], &lens[i], sizeof(lens[i]), NULL) == 0);
		CU_ASSERT(ipcmap_get(a, key, lens[i], buf, sizeof(buf), &len) == 0);
		CU_ASSERT(len == sizeof(lens[i]) && memcmp(buf, &lens[i], len) == 0);
		CU_ASSERT(ipcmap_exists(m, whole, lens[i] + 2) == 1);
	}
	CU_ASSERT(ipcmap_put(a, key, 65534, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(a, key, 65534, buf, sizeof(buf), NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(a, key, SIZE_MAX, buf, sizeof(buf), NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(a, key, 0, buf, sizeof(buf), NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(a, NULL, 1, buf, sizeof(buf), NULL) == IPCMAP_INVALID);
	done();
}

static void prefix__many_are_read_in_batches(void)
{
	static char long_key[400];
	struct ipcmap_mget items[40];
	struct kit_key keys[40];
	char bufs[40][32];

	begin(T_NAME);
	memset(long_key, 'l', sizeof(long_key));
	for (uint64_t i = 0; i < 40; i++) {
		keys[i] = kit_key(i);
		items[i] = (struct ipcmap_mget){.key = keys[i].text, .key_len = keys[i].len,
						.value = {.buf = bufs[i], .cap = sizeof(bufs[i])}};
	}
	items[20].key = long_key; /* its batch goes one by one */
	items[20].key_len = sizeof(long_key);
	for (unsigned i = 0; i < 40; i += 2)
		CU_ASSERT(ipcmap_put(a, items[i].key, items[i].key_len, &i, sizeof(i), NULL) == 0);
	for (unsigned i = 1; i < 40; i += 2)
		CU_ASSERT(ipcmap_put(b, items[i].key, items[i].key_len, &i, sizeof(i), NULL) == 0);
	CU_ASSERT(ipcmap_mget(a, items, 40) == 20);
	for (unsigned i = 0; i < 40; i++) {
		CU_ASSERT(items[i].rc == (i & 1 ? IPCMAP_NOTFOUND : 0));
		CU_ASSERT(i & 1 || memcmp(bufs[i], &i, sizeof(i)) == 0);
	}
	items[3].key_len = IPCMAP_KEY_MAX;
	CU_ASSERT(ipcmap_mget(a, items, 40) == IPCMAP_INVALID);
	done();
}

struct seen {
	unsigned n;
	unsigned with_a; /* keys that still begin with the prefix */
};

static int look(void *arg, const struct ipcmap_item *item)
{
	struct seen *s = arg;

	s->n++;
	s->with_a += item->key_len >= 2 && memcmp(item->key, "a/", 2) == 0;
	return 0;
}

static unsigned scan(struct ipcmap *map, const char *prefix)
{
	struct seen s = {0, 0};
	uint64_t cursor = 0;

	CU_ASSERT(ipcmap_scan(map, &cursor, prefix, strlen(prefix), 0, look, &s) == 0);
	CU_ASSERT(map == m || s.with_a == 0);
	return s.n;
}

static void prefix__scan_count_and_delete_stay_under_it(void)
{
	uint64_t n = 0;

	begin(T_NAME);
	for (uint64_t i = 0; i < 300; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(i % 3 ? a : b, k.text, k.len, "v", 1, NULL) == 0);
	}
	CU_ASSERT(kit_put(m, "a/", "no key under it") == 0 && kit_put(m, "a", "nor this") == 0);
	CU_ASSERT(kit_put(a, "x1", "v") == 0 && kit_put(a, "x2", "v") == 0);
	CU_ASSERT(scan(a, "") == 202 && scan(b, "") == 100 && scan(m, "") == 304);
	CU_ASSERT(scan(a, "x") == 2 && scan(b, "x") == 0);
	CU_ASSERT(ipcmap_entries(a, &n) == 0 && n == 202);
	CU_ASSERT(ipcmap_del_prefix(a, "x", 1, &n) == 0 && n == 2);
	CU_ASSERT(ipcmap_clear(a) == 0 && scan(a, "") == 0 && scan(b, "") == 100);
	CU_ASSERT(has(m, "a/", "no key under it") && kit_entries(m) == 102);
	done();
}

static void prefix__of_a_prefix(void)
{
	struct ipcmap *ab;

	begin(T_NAME);
	CU_ASSERT_FATAL(ipcmap_open_prefix(a, "sub\0/", 5, &ab) == 0);
	CU_ASSERT(kit_put(ab, "k", "deep") == 0);
	CU_ASSERT(ipcmap_exists(m, "a/sub\0/k", 8) == 1 && ipcmap_exists(a, "sub\0/k", 6) == 1);
	CU_ASSERT(scan(ab, "") == 1);
	ipcmap_close(ab);
	CU_ASSERT(has(a, "k", "deep") == false);
	done();
}

static void prefix__wrong_arguments_are_refused(void)
{
	static char huge[IPCMAP_KEY_MAX];
	struct ipcmap *x = NULL;

	begin(T_NAME);
	CU_ASSERT(ipcmap_open_prefix(NULL, "a", 1, &x) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_open_prefix(m, NULL, 1, &x) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_open_prefix(m, "a", 0, &x) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_open_prefix(m, "a", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_open_prefix(m, huge, IPCMAP_KEY_MAX, &x) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_open_prefix(a, huge, IPCMAP_KEY_MAX - 2, &x) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_open_prefix(a, huge, SIZE_MAX, &x) == IPCMAP_INVALID && !x);
	CU_ASSERT(ipcmap_open_prefix(a, huge, IPCMAP_KEY_MAX - 3, &x) == 0);
	CU_ASSERT(kit_put(x, "k", "v") == 0 && kit_put(x, "kk", "v") == IPCMAP_INVALID);
	ipcmap_close(x);
	CU_ASSERT(ipcmap_get(NULL, "k", 1, NULL, 0, NULL) == IPCMAP_INVALID);
	done();
}

static void prefix__read_only_stays_so(void)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	struct ipcmap *r, *ra;
	const char *name = T_NAME;

	begin(name);
	CU_ASSERT(kit_put(a, "k", "v") == 0);
	opt.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(name, &opt, &r) == 0);
	CU_ASSERT_FATAL(ipcmap_open_prefix(r, "a/", 2, &ra) == 0);
	CU_ASSERT(has(ra, "k", "v") && kit_put(ra, "k", "w") == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_del(ra, "k", 1) == IPCMAP_READONLY && ipcmap_clear(ra) == IPCMAP_READONLY);
	ipcmap_close(ra);
	ipcmap_close(r);
	done();
}

static CU_TestInfo tests[] = {
	{"one key is the prefixed one of the map",
	 prefix__one_key_is_the_prefixed_one_of_the_map},
	{"keys of every length", prefix__keys_of_every_length},
	{"many are read in batches", prefix__many_are_read_in_batches},
	{"scan, count and delete stay under it", prefix__scan_count_and_delete_stay_under_it},
	{"a prefix of a prefix", prefix__of_a_prefix},
	{"wrong arguments are refused", prefix__wrong_arguments_are_refused},
	{"read-only stays so", prefix__read_only_stays_so},
	CU_TEST_INFO_NULL,
};
T_SUITE("prefix", tests)
