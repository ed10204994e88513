/* SPDX-License-Identifier: MIT */
/*
 * t-many.c - calls over many keys: mget, delete by prefix
 */
#include "kit.h"

#include "crash.h"

#include <pthread.h>

static struct ipcmap *m;

#define MANY 1000u /* some batches, and a part of one */

static struct kit_key keys[MANY];
static char bufs[MANY][16];
static struct ipcmap_mget items[MANY];

static void prepare(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		keys[i] = kit_key(i);
		items[i] = (struct ipcmap_mget){.key = keys[i].text,
						.key_len = keys[i].len,
						.value = {.buf = bufs[i], .cap = 16},
						.rc = 1};
	}
}

/* ---- mget ---- */

static void mget__reads_each_as_getx(void)
{
	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 4);
	prepare();
	CU_ASSERT(ipcmap_mget(m, items, MANY) == 0); /* an empty map: no index yet */
	for (unsigned i = 0; i < MANY; i++)
		CU_ASSERT(items[i].rc == IPCMAP_NOTFOUND);
	for (unsigned i = 0; i < MANY; i += 2)
		CU_ASSERT(kit_put(m, keys[i].text, keys[i].text) == 0);
	CU_ASSERT(ipcmap_mget(m, items, MANY) == MANY / 2);
	for (unsigned i = 0; i < MANY; i++) {
		struct ipcmap_value v = {.buf = (char[16]){0}, .cap = 16};

		CU_ASSERT(items[i].rc == (i % 2 ? IPCMAP_NOTFOUND : 0));
		if (items[i].rc)
			continue;
		CU_ASSERT(ipcmap_getx(m, keys[i].text, keys[i].len, &v) == 0);
		CU_ASSERT(items[i].value.len == keys[i].len && items[i].value.type == v.type);
		CU_ASSERT(!memcmp(bufs[i], keys[i].text, keys[i].len));
		CU_ASSERT(items[i].value.version == v.version);
		CU_ASSERT(items[i].value.ttl_left_ns == IPCMAP_TTL_NONE);
	}
	CU_ASSERT(ipcmap_mget(m, items, 0) == 0 && ipcmap_mget(m, NULL, 0) == 0);
	for (unsigned n = 1; n < 40; n++)
		CU_ASSERT(ipcmap_mget(m, items, n) == (int)(n + 1) / 2);
	kit_gone(m);
}

static void mget__has_an_error_for_each(void)
{
	static char large[100000], back[sizeof(large)];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_mget four[4];
	char buf[4][4];

	kit_clock_on();
	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 2);
	kit_bytes(large, sizeof(large), 5);
	how.ttl_ns = KIT_SEC;
	CU_ASSERT(kit_put(m, "fits", "abc") == 0 && kit_put(m, "long", "abcde") == 0);
	CU_ASSERT(ipcmap_put(m, "old", 3, "x", 1, &how) == 0);
	CU_ASSERT(ipcmap_put(m, "large", 5, large, sizeof(large), NULL) == 0);
	kit_time += 2 * KIT_SEC;
	for (unsigned i = 0; i < 4; i++) {
		static const char *const names[] = {"long", "old", "fits", "large"};

		four[i] = (struct ipcmap_mget){.key = names[i],
					       .key_len = strlen(names[i]),
					       .value = {.buf = buf[i], .cap = sizeof(buf[i])}};
	}
	four[3].value.buf = back;
	four[3].value.cap = sizeof(back);
	CU_ASSERT(ipcmap_mget(m, four, 4) == 2);
	CU_ASSERT(four[0].rc == IPCMAP_SHORT && four[0].value.len == 5);
	CU_ASSERT(four[1].rc == IPCMAP_NOTFOUND && four[2].rc == 0 && four[3].rc == 0);
	CU_ASSERT(!memcmp(buf[2], "abc", 3) && !memcmp(back, large, sizeof(large)));
	kit_gone(m);
	kit_clock_off();
}

static void mget__refuses_all_when_one_is_invalid(void)
{
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	prepare();
	items[7].key_len = 0;
	CU_ASSERT(ipcmap_mget(m, items, 10) == IPCMAP_INVALID && items[0].rc == 1);
	items[7].key_len = 65536;
	CU_ASSERT(ipcmap_mget(m, items, 10) == IPCMAP_INVALID && items[9].rc == 1);
	prepare();
	items[3].value.buf = NULL;
	CU_ASSERT(ipcmap_mget(m, items, 10) == IPCMAP_INVALID && items[3].rc == 1);
	items[3].value.cap = 0;
	CU_ASSERT(ipcmap_mget(m, items, 10) == 0 && items[3].rc == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_mget(NULL, items, 1) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_mget(m, NULL, 1) == IPCMAP_INVALID);
	kit_gone(m);
}

static void mget__counts_gets_and_hits(void)
{
	struct ipcmap_stat s;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 4);
	prepare();
	for (unsigned i = 0; i < 300; i++)
		CU_ASSERT(kit_put(m, keys[i].text, "v") == 0);
	CU_ASSERT(ipcmap_mget(m, items, MANY) == 300);
	s = kit_stat(m);
	CU_ASSERT(s.gets == MANY && s.hits == 300);
	kit_gone(m);
}

static bool stop;

static void *rewrite(void *arg)
{
	uint64_t i = 0;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct kit_key k = kit_key(i++ % MANY);

		ipcmap_put(m, k.text, k.len, k.text, k.len, NULL);
	}
	return NULL;
}

/* Each value is its key, whatever is written, cleaned and split meanwhile. */
static void mget__is_right_while_others_write(void)
{
	pthread_t t;
	unsigned bad = 0;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	prepare();
	for (unsigned i = 0; i < MANY; i++)
		CU_ASSERT(kit_put(m, keys[i].text, keys[i].text) == 0);
	stop = false;
	CU_ASSERT_FATAL(pthread_create(&t, NULL, rewrite, NULL) == 0);
	for (unsigned round = 0; round < 200; round++) {
		bad += ipcmap_mget(m, items, MANY) != MANY;
		for (unsigned i = 0; i < MANY; i++)
			bad += items[i].value.len != keys[i].len ||
			       memcmp(bufs[i], keys[i].text, keys[i].len) != 0;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	CU_ASSERT(bad == 0);
	kit_gone(m);
}

/* ---- delete by prefix ---- */

static int del_prefix(const char *prefix, uint64_t *ret_n)
{
	return ipcmap_del_prefix(m, prefix, strlen(prefix), ret_n);
}

static void del_prefix__deletes_those_and_no_others(void)
{
	uint64_t n = 99;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 4);
	for (unsigned i = 0; i < 5000; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(kit_put(m, k.text, "v") == 0);
		k.text[0] = 'x';
		CU_ASSERT(kit_put(m, k.text, "v") == 0);
	}
	CU_ASSERT(kit_put(m, "x", "short") == 0 && kit_put(m, "y", "other") == 0);
	CU_ASSERT(del_prefix("nothing", &n) == 0 && n == 0);
	CU_ASSERT(del_prefix("x00000001", &n) == 0 && n == 10);
	CU_ASSERT(kit_absent(m, "x000000015") && kit_is(m, "x000000020", "v"));
	CU_ASSERT(del_prefix("x", &n) == 0 && n == 4991);
	CU_ASSERT(kit_entries(m) == 5001 && kit_absent(m, "x") && kit_is(m, "y", "other"));
	for (unsigned i = 0; i < 5000; i++)
		CU_ASSERT(kit_is(m, kit_key(i).text, "v"));
	CU_ASSERT(del_prefix("k", NULL) == 0 && kit_entries(m) == 1);
	CU_ASSERT(kit_stat(m).dels == 10001);
	kit_gone(m);
}

static void del_prefix__of_any_bytes(void)
{
	uint64_t n;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 2);
	CU_ASSERT(ipcmap_put(m, "\0\0", 2, "", 0, NULL) == 0);
	CU_ASSERT(ipcmap_put(m, "\0\xff", 2, "", 0, NULL) == 0);
	CU_ASSERT(ipcmap_put(m, "\xff", 1, "", 0, NULL) == 0);
	CU_ASSERT(ipcmap_del_prefix(m, "\0", 1, &n) == 0 && n == 2);
	CU_ASSERT(ipcmap_del_prefix(m, "\xff\xff", 2, &n) == 0 && n == 0);
	CU_ASSERT(ipcmap_del_prefix(m, "\xff", 1, &n) == 0 && n == 1 && kit_entries(m) == 0);
	kit_gone(m);
}

static void del_prefix__of_large_values_and_long_keys(void)
{
	static char val[200000], key[60000];
	uint64_t n;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	memset(key, 'k', sizeof(key) - 1);
	CU_ASSERT(ipcmap_put(m, "key", 3, val, sizeof(val), NULL) == 0);
	CU_ASSERT(kit_put(m, key, "v") == 0 && kit_put(m, "other", "v") == 0);
	CU_ASSERT(del_prefix(key, &n) == 0 && n == 1);
	CU_ASSERT(del_prefix("ke", &n) == 0 && n == 1 && kit_entries(m) == 1);
	kit_gone(m);
}

static void del_prefix__refuses_bad_arguments(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *ro;
	uint64_t n = 5;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	CU_ASSERT(ipcmap_del_prefix(m, "", 0, &n) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_del_prefix(m, NULL, 1, &n) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_del_prefix(NULL, "k", 1, &n) == IPCMAP_INVALID);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
	CU_ASSERT(ipcmap_del_prefix(ro, "k", 1, &n) == IPCMAP_READONLY);
	ipcmap_close(ro);
	CU_ASSERT(kit_is(m, "k", "v"));
	kit_gone(m);
}

/* Keys that are there throughout go, whatever is put beside them. */
static void del_prefix__while_others_write(void)
{
	pthread_t t;
	uint64_t n;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	for (unsigned i = 0; i < 5000; i++) {
		struct kit_key k = kit_key(i);

		k.text[0] = 'x';
		CU_ASSERT(kit_put(m, k.text, "v") == 0);
	}
	stop = false;
	CU_ASSERT_FATAL(pthread_create(&t, NULL, rewrite, NULL) == 0);
	CU_ASSERT(del_prefix("x", &n) == 0 && n == 5000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	CU_ASSERT(del_prefix("x", &n) == 0 && n == 0);
	kit_gone(m);
}

#if defined(IM_CHECK) && IM_CHECK

/* Not inline, for the reason of kit_shard_of(). */
__attribute__((noinline)) static uint64_t hash_of(const void *key, size_t len)
{
	return im_hash(m->hash_seed, key, len);
}

static char again[3][16];

/* The first key of a bucket was deleted; the others, which were shown, are put again. */
static void put_again(const char *point)
{
	uint64_t held = im_tls.held;

	if (strcmp(point, "op.left") != 0)
		return;
	im_crash_hook = NULL;
	im_tls.held = 0; /* as another process would */
	for (unsigned i = 0; i < 3; i++)
		if (ipcmap_exists(m, again[i], strlen(again[i])) == 1)
			CU_ASSERT(kit_put(m, again[i], "new") == 0);
	im_tls.held = held;
}

static void del_prefix__leaves_what_was_put_again(void)
{
	unsigned n = 0, left = 0;
	uint64_t deleted;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	for (uint64_t i = 0; n < 3; i++) {
		struct kit_key k = kit_key(i);

		if (hash_of(k.text, k.len) & 15)
			continue;
		memcpy(again[n], k.text, sizeof(k.text));
		CU_ASSERT(kit_put(m, again[n++], "old") == 0);
	}
	im_crash_hook = put_again;
	CU_ASSERT(del_prefix("k", &deleted) == 0 && deleted == 1);
	im_crash_hook = NULL;
	for (unsigned i = 0; i < 3; i++)
		left += kit_is(m, again[i], "new");
	CU_ASSERT(left == 2 && kit_entries(m) == 2);
	kit_gone(m);
}

#endif

/* The short ways to the hash give what the library says. */
static void many__hashes_agree(void)
{
	unsigned char key[16];
	uint64_t state = 7;
	unsigned bad = 0;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t seed = kit_random(&state);
		struct im_hash_mix mix = im_hash_mix(seed);
		size_t len = 1 + i % 16;

		kit_bytes(key, sizeof(key), i);
		bad += im_hash_mixed(seed, &mix, key, len) != im_hash(seed, key, len);
		bad += im_hash_short(seed, key, len) != im_hash(seed, key, len);
	}
	CU_ASSERT(bad == 0);
}

static CU_TestInfo tests[] = {
	{"mget reads each key as getx does", mget__reads_each_as_getx},
	{"mget has an error for each key", mget__has_an_error_for_each},
	{"mget refuses all when one is invalid", mget__refuses_all_when_one_is_invalid},
	{"mget counts gets and hits", mget__counts_gets_and_hits},
	{"mget is right while others write", mget__is_right_while_others_write},
	{"del_prefix deletes those keys and no others",
	 del_prefix__deletes_those_and_no_others},
	{"del_prefix: any bytes", del_prefix__of_any_bytes},
	{"del_prefix: large values and long keys", del_prefix__of_large_values_and_long_keys},
	{"del_prefix refuses bad arguments", del_prefix__refuses_bad_arguments},
	{"del_prefix while others write", del_prefix__while_others_write},
#if defined(IM_CHECK) && IM_CHECK
	{"del_prefix leaves what was put again", del_prefix__leaves_what_was_put_again},
#endif
	{"the ways to a hash agree", many__hashes_agree},
	CU_TEST_INFO_NULL,
};
T_SUITE("many", tests)
