/* SPDX-License-Identifier: MIT */
/*
 * t-api.c - every operation and every condition, with its errors and the lives of entries
 */
#include "kit.h"

#include <pthread.h>

static struct ipcmap *m;

static void with_map(const char *name)
{
	m = kit_made(name, 4 * KIT_MIB, 0, 0);
}

static struct ipcmap_put_options how_of(unsigned flags)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.flags = flags;
	return how;
}

static int put_for(const char *key, const char *val, uint64_t ttl_ns)
{
	struct ipcmap_put_options how = how_of(0);

	how.ttl_ns = ttl_ns;
	return ipcmap_put(m, key, strlen(key), val, strlen(val), &how);
}

static uint64_t left(const char *key)
{
	char buf[64];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	return ipcmap_getx(m, key, strlen(key), &v) == 0 ? v.ttl_left_ns : 0;
}

/* ---- read ---- */

static void api__put_is_got_in_every_way(void)
{
	char buf[16] = "................";
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	size_t len = 0;
	void *p = NULL;

	with_map(T_NAME);
	CU_ASSERT(kit_absent(m, "a"));
	CU_ASSERT(ipcmap_get_alloc(m, "a", 1, &p, &len) == IPCMAP_NOTFOUND && !p);
	CU_ASSERT(kit_put(m, "a", "one") == 0);
	CU_ASSERT(kit_put(m, "b", "") == 0);
	CU_ASSERT(ipcmap_get(m, "a", 1, buf, sizeof(buf), &len) == 0 && len == 3);
	CU_ASSERT(memcmp(buf, "one.............", 16) == 0);
	CU_ASSERT(ipcmap_get(m, "a", 1, buf, 3, NULL) == 0);
	CU_ASSERT(ipcmap_getx(m, "a", 1, &v) == 0 && v.len == 3 && v.type == 0);
	CU_ASSERT(v.version != 0 && v.ttl_left_ns == IPCMAP_TTL_NONE);
	CU_ASSERT(v.buf == buf && v.cap == sizeof(buf));
	CU_ASSERT(ipcmap_get_alloc(m, "a", 1, &p, &len) == 0 && len == 3);
	CU_ASSERT(p && memcmp(p, "one", 4) == 0);
	free(p);
	CU_ASSERT(ipcmap_get_alloc(m, "b", 1, &p, NULL) == 0);
	CU_ASSERT(p && *(char *)p == '\0');
	free(p);
	CU_ASSERT(ipcmap_exists(m, "a", 1) == 1 && ipcmap_exists(m, "b", 1) == 1);
	CU_ASSERT(ipcmap_exists(m, "c", 1) == 0 && ipcmap_exists(m, "aa", 2) == 0);
	kit_gone(m);
}

static void api__too_small_a_buffer_says_the_need(void)
{
	char buf[8] = "~~~~~~~";
	struct ipcmap_value v = {.buf = buf, .cap = 4, .len = 99, .version = 99};
	size_t len = 99;

	with_map(T_NAME);
	CU_ASSERT(kit_put(m, "k", "12345") == 0);
	CU_ASSERT(ipcmap_get(m, "k", 1, buf, 4, &len) == IPCMAP_SHORT && len == 5);
	CU_ASSERT(ipcmap_get(m, "k", 1, NULL, 0, &len) == IPCMAP_SHORT && len == 5);
	CU_ASSERT(ipcmap_get(m, "k", 1, NULL, 0, NULL) == IPCMAP_SHORT);
	CU_ASSERT(ipcmap_getx(m, "k", 1, &v) == IPCMAP_SHORT && v.len == 5);
	CU_ASSERT(buf[4] == '~');
	CU_ASSERT(ipcmap_get(m, "k", 1, buf, 5, &len) == 0 && len == 5 && buf[5] == '~');
	len = 99;
	CU_ASSERT(ipcmap_get(m, "x", 1, buf, 8, &len) == IPCMAP_NOTFOUND && len == 99);
	v.len = v.version = 99;
	CU_ASSERT(ipcmap_getx(m, "x", 1, &v) == IPCMAP_NOTFOUND && v.len == 99 && v.version == 99);
	kit_gone(m);
}

static void api__short_changes_nothing(void)
{
	char big[3000], buf[3000];
	struct ipcmap_value v = {.buf = buf, .cap = 4};
	static const size_t lens[] = {5, 2900}; /* in the log; in extents of its own */

	with_map(T_NAME);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		uint64_t version;

		memset(big, 'b', sizeof(big));
		CU_ASSERT(ipcmap_put(m, "k", 1, big, lens[i], NULL) == 0);
		version = kit_version(m, "k");
		v.cap = 4;
		CU_ASSERT(ipcmap_take(m, "k", 1, &v) == IPCMAP_SHORT && v.len == lens[i]);
		v.cap = lens[i] - 1;
		CU_ASSERT(ipcmap_putx(m, "k", 1, "new", 3, NULL, &v) == IPCMAP_SHORT);
		CU_ASSERT(v.len == lens[i] && kit_version(m, "k") == version);
		CU_ASSERT(ipcmap_get(m, "k", 1, buf, sizeof(buf), NULL) == 0);
		CU_ASSERT(memcmp(buf, big, lens[i]) == 0 && kit_entries(m) == 1);
		v.cap = lens[i];
		memset(buf, 0, sizeof(buf));
		CU_ASSERT(ipcmap_take(m, "k", 1, &v) == 0 && v.len == lens[i]);
		CU_ASSERT(v.version == version && memcmp(buf, big, lens[i]) == 0);
		CU_ASSERT(kit_absent(m, "k") && kit_entries(m) == 0);
		CU_ASSERT(ipcmap_take(m, "k", 1, &v) == IPCMAP_NOTFOUND);
	}
	kit_gone(m);
}

/* ---- write ---- */

static void api__putx_returns_what_was_there(void)
{
	char buf[8];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf), .len = 9, .version = 9, .type = 9};
	struct ipcmap_put_options how = how_of(IPCMAP_IF_ABSENT);
	uint64_t one;

	with_map(T_NAME);
	CU_ASSERT(ipcmap_putx(m, "k", 1, "one", 3, NULL, &v) == 0);
	CU_ASSERT(v.len == 0 && v.version == 0 && v.ttl_left_ns == IPCMAP_TTL_NONE && v.type == 0);
	one = kit_version(m, "k");
	CU_ASSERT(ipcmap_putx(m, "k", 1, "two", 3, &how, &v) == IPCMAP_EXISTS);
	CU_ASSERT(v.len == 3 && v.version == one && memcmp(buf, "one", 3) == 0);
	v.cap = 2; /* it does not fit: the error stays, len says its size */
	v.len = 0;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "two", 3, &how, &v) == IPCMAP_EXISTS && v.len == 3);
	v.cap = sizeof(buf);
	how = how_of(IPCMAP_IF_VERSION);
	how.version = one + 1;
	how.type = 7;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "two", 3, &how, &v) == IPCMAP_MISMATCH);
	CU_ASSERT(v.len == 3 && v.version == one && memcmp(buf, "one", 3) == 0);
	how.version = one;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "two", 3, &how, &v) == 0);
	CU_ASSERT(v.version == one && v.type == 0 && kit_is(m, "k", "two"));
	CU_ASSERT(ipcmap_putx(m, "k", 1, "three", 5, NULL, &v) == 0);
	CU_ASSERT(v.version > one && v.type == 7 && memcmp(buf, "two", 3) == 0);
	how.flags = IPCMAP_IF_PRESENT;
	v.version = 9;
	CU_ASSERT(ipcmap_putx(m, "x", 1, "", 0, &how, &v) == IPCMAP_NOTFOUND && v.version == 9);
	kit_gone(m);
}

static int expected(unsigned flags, bool is, bool right_version, bool right_value)
{
	if (flags && !is)
		return flags & ~IPCMAP_IF_ABSENT ? IPCMAP_NOTFOUND : 0;
	if (flags & IPCMAP_IF_ABSENT)
		return IPCMAP_EXISTS;
	if ((flags & IPCMAP_IF_VERSION && !right_version) ||
	    (flags & IPCMAP_IF_EQUAL && !right_value))
		return IPCMAP_MISMATCH;
	return 0;
}

enum { ABSENT, EXPIRED, PRESENT };

/* One combination; the state is made anew. True: it went as it should. */
static bool combination(unsigned flags, int state, bool right_version, bool right_value,
			size_t len, bool del)
{
	static char val[5000], want[5000], buf[5000];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	struct ipcmap_put_options how = how_of(0);
	int r, x = expected(flags, state == PRESENT, right_version, right_value);

	memset(val, 'v', len);
	memcpy(want, val, len);
	want[len - 1] ^= !right_value;
	ipcmap_del(m, "k", 1);
	how.ttl_ns = state == EXPIRED ? KIT_SEC : IPCMAP_TTL_NONE;
	if (state != ABSENT && ipcmap_put(m, "k", 1, val, len, &how))
		return false;
	how = how_of(flags);
	how.version = kit_version(m, "k") + !right_version;
	how.equal = want;
	how.equal_len = len;
	if (state == EXPIRED)
		kit_time += KIT_SEC;
	if (del) {
		r = ipcmap_delx(m, "k", 1, &how);
		if (r == (state == PRESENT ? x : IPCMAP_NOTFOUND))
			return ipcmap_exists(m, "k", 1) == (state == PRESENT && r != 0);
		return false;
	}
	r = ipcmap_put(m, "k", 1, "new", 3, &how);
	if (r != x)
		return false;
	if (r == 0)
		return kit_is(m, "k", "new");
	if (state != PRESENT)
		return kit_absent(m, "k");
	return ipcmap_getx(m, "k", 1, &v) == 0 && v.len == len && memcmp(buf, val, len) == 0;
}

static void api__conditions_in_all_combinations(void)
{
	with_map(T_NAME);
	kit_clock_on();
	for (unsigned flags = 0; flags < 16; flags++)
		for (unsigned c = 0; c < 3 * 2 * 2 * 2; c++) {
			int state = (int)c % 3;
			bool version = c / 3 & 1, value = c / 6 & 1;
			size_t len = c / 12 & 1 ? 5000 : 30;

			CU_ASSERT(combination(flags, state, version, value, len, false));
			if (!(flags & IPCMAP_IF_ABSENT))
				CU_ASSERT(combination(flags, state, version, value, len, true));
		}
	kit_clock_off();
	kit_gone(m);
}

static void api__equal_compares_whole_values(void)
{
	struct ipcmap_put_options how = how_of(IPCMAP_IF_EQUAL);

	with_map(T_NAME);
	CU_ASSERT(kit_put(m, "k", "") == 0);
	CU_ASSERT(ipcmap_put(m, "k", 1, "abc", 3, &how) == 0); /* NULL and 0 equal "" */
	how.equal = "abcd";
	for (how.equal_len = 0; how.equal_len <= 4; how.equal_len++)
		CU_ASSERT(ipcmap_delx(m, "k", 1, &how) ==
			  (how.equal_len == 3 ? 0
			   : how.equal_len == 4 ? IPCMAP_NOTFOUND : IPCMAP_MISMATCH));
	kit_gone(m);
}

static void api__del_forgets_one_key(void)
{
	with_map(T_NAME);
	CU_ASSERT(ipcmap_del(m, "a", 1) == IPCMAP_NOTFOUND); /* before the first put */
	CU_ASSERT(kit_put(m, "a", "1") == 0 && kit_put(m, "b", "2") == 0);
	CU_ASSERT(ipcmap_del(m, "a", 1) == 0 && ipcmap_del(m, "a", 1) == IPCMAP_NOTFOUND);
	CU_ASSERT(kit_absent(m, "a") && kit_is(m, "b", "2") && kit_entries(m) == 1);
	CU_ASSERT(kit_put(m, "a", "3") == 0 && kit_is(m, "a", "3") && kit_entries(m) == 2);
	kit_gone(m);
}

static void api__every_write_has_a_version_of_its_own(void)
{
	struct ipcmap_put_options how = how_of(0);
	uint64_t last = 0;

	with_map(T_NAME);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t v;

		if (i % 7 == 3)
			CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
		if (i % 50 == 7)
			CU_ASSERT(ipcmap_clear(m) == 0);
		how.type = i & 0xff;
		CU_ASSERT(ipcmap_put(m, "k", 1, "same", 4, &how) == 0);
		v = kit_version(m, "k");
		CU_ASSERT(v > last); /* one key, one shard: they rise */
		last = v;
	}
	kit_gone(m);
}

static void api__type_is_returned_as_stored(void)
{
	struct ipcmap_put_options how = how_of(0);
	char buf[4];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	with_map(T_NAME);
	for (how.type = 0; how.type <= 255; how.type++) {
		CU_ASSERT(ipcmap_put(m, "k", 1, "v", 1, &how) == 0);
		CU_ASSERT(ipcmap_getx(m, "k", 1, &v) == 0 && v.type == how.type);
	}
	CU_ASSERT(ipcmap_put(m, "k", 1, "v", 1, &how) == IPCMAP_INVALID);
	kit_gone(m);
}

/* Lengths at which the comparison of keys changes its way, and those of extents. */
static const size_t key_lens[] = {
	1,   2,	  3,   4,   7,	 8,    9,    15,   16,	 17,   23,   24,   25,	  31,	 32,
	33,  47,  48,  49,  55,	 56,   57,   63,   64,	 65,   71,   72,   73,	  127,	 128,
	255, 256, 257, 511, 512, 1000, 1024, 1990, 2020, 2024, 2040, 2047, 2048,  2049,	 3000,
	4071, 4072, 4073, 4095, 4096, 4097, 8191, 8192, 12287, 12289, 40000, 65534, 65535};

/* Keys of equal length that differ in one byte only. */
static void differ(unsigned char *key, size_t len, size_t at)
{
	unsigned char val[8], buf[8];
	size_t got;

	memset(key, 'k', len);
	memcpy(val, "original", 8);
	CU_ASSERT(ipcmap_put(m, key, len, val, 8, NULL) == 0);
	key[at] ^= 0x80;
	CU_ASSERT(ipcmap_exists(m, key, len) == 0);
	CU_ASSERT(ipcmap_del(m, key, len) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_put(m, key, len, "other", 5, NULL) == 0);
	CU_ASSERT(ipcmap_get(m, key, len, buf, 8, &got) == 0 && got == 5);
	CU_ASSERT(ipcmap_del(m, key, len) == 0);
	key[at] ^= 0x80;
	CU_ASSERT(ipcmap_get(m, key, len, buf, 8, &got) == 0 && got == 8);
	CU_ASSERT(memcmp(buf, val, 8) == 0);
}

static void api__keys_of_every_length(void)
{
	unsigned char *key = malloc(IPCMAP_KEY_MAX + 1);

	with_map(T_NAME);
	for (unsigned i = 0; i < ARRAY_LEN(key_lens); i++) {
		size_t n = key_lens[i];

		differ(key, n, 0);
		differ(key, n, n / 2);
		differ(key, n, n - 1);
		for (size_t at = 8; n < 80 && at < n; at += 8) {
			differ(key, n, at);
			differ(key, n, at - 1);
		}
	}
	CU_ASSERT(kit_entries(m) == ARRAY_LEN(key_lens));
	CU_ASSERT(kit_sound(m));
	for (unsigned i = 0; i < ARRAY_LEN(key_lens); i++) {
		memset(key, 'k', key_lens[i]);
		CU_ASSERT(ipcmap_del(m, key, key_lens[i]) == 0);
	}
	CU_ASSERT(kit_entries(m) == 0 && kit_stat(m).large_len == 0);
	free(key);
	kit_gone(m);
}

static bool value_of(size_t len, unsigned char *val, unsigned char *buf)
{
	size_t got = 0;

	kit_bytes(val, len, len);
	memset(buf, 0, len + 1);
	buf[len] = 0x5a;
	return ipcmap_put(m, "k", 1, val, len, NULL) == 0 &&
	       ipcmap_get(m, "k", 1, buf, len, &got) == 0 && got == len &&
	       memcmp(val, buf, len) == 0 && buf[len] == 0x5a &&
	       (len == 0 || ipcmap_get(m, "k", 1, buf, len - 1, &got) == IPCMAP_SHORT);
}

static void api__values_of_every_length(void)
{
	static const size_t lens[] = {0,    1,	  2,	7,    8,    9,	  15,	 16,	17,
				      63,   64,	  65,	1000, 2000, 2022, 2023,	 2024,	2025,
				      2047, 2048, 2049, 4070, 4080, 4095, 4096,	 4097,	8191,
				      8192, 8193, 65535, 65536, 1000000, (1 << 20) + 1};
	unsigned char *val = malloc(6 << 20), *buf = malloc((6 << 20) + 1);

	with_map(T_NAME); /* extents of 4 KiB */
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++)
		CU_ASSERT(value_of(lens[i], val, buf));
	for (size_t len = 2000; len < 2060; len++)
		CU_ASSERT(value_of(len, val, buf));
	kit_gone(m);
	m = kit_made(T_NAME, 64 * KIT_MIB, 0, 0); /* of 32 KiB */
	for (size_t len = 16384 - 60; len < 16384 + 4; len++)
		CU_ASSERT(value_of(len, val, buf));
	for (size_t len = 32768 - 2; len < 32768 + 3; len++)
		CU_ASSERT(value_of(len, val, buf));
	CU_ASSERT(value_of((5 << 20) + 12345, val, buf));
	kit_gone(m);
	free(val);
	free(buf);
}

static void api__clear_forgets_every_key(void)
{
	with_map(T_NAME);
	CU_ASSERT(ipcmap_clear(m) == 0);
	for (unsigned i = 0; i < 3000; i++)
		CU_ASSERT(ipcmap_put(m, kit_key(i).text, kit_key(i).len, "v", 1, NULL) == 0);
	CU_ASSERT(kit_entries(m) == 3000);
	CU_ASSERT(ipcmap_clear(m) == 0 && kit_entries(m) == 0 && kit_sound(m));
	for (unsigned i = 0; i < 3000; i++)
		CU_ASSERT(kit_absent(m, kit_key(i).text));
	CU_ASSERT(ipcmap_del(m, kit_key(1).text, kit_key(1).len) == IPCMAP_NOTFOUND);
	CU_ASSERT(kit_put(m, kit_key(2).text, "again") == 0 && kit_entries(m) == 1);
	CU_ASSERT(kit_is(m, kit_key(2).text, "again"));
	kit_gone(m);
}

/* ---- lives ---- */

static void api__entry_ends_with_its_life(void)
{
	with_map(T_NAME);
	kit_clock_on();
	CU_ASSERT(put_for("k", "v", 5 * KIT_SEC) == 0 && kit_put(m, "ever", "v") == 0);
	CU_ASSERT(left("k") == 5 * KIT_SEC && left("ever") == IPCMAP_TTL_NONE);
	kit_time += 5 * KIT_SEC - 1;
	CU_ASSERT(kit_is(m, "k", "v") && left("k") == 1);
	kit_time += 1;
	CU_ASSERT(kit_absent(m, "k") && kit_is(m, "ever", "v"));
	CU_ASSERT(kit_entries(m) == 2); /* expired keys count until their memory is reclaimed */
	CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_NOTFOUND); /* and cleared */
	CU_ASSERT(kit_entries(m) == 1 && kit_sound(m));
	CU_ASSERT(put_for("k", "v", 1) == 0);
	CU_ASSERT(left("k") == 20 * KIT_MS); /* two ticks at least */
	CU_ASSERT(put_for("k", "v", UINT64_MAX - 2) == 0);
	kit_time += UINT64_C(1) << 62;
	CU_ASSERT(kit_is(m, "k", "v"));
	kit_clock_off();
	kit_gone(m);
}

static void api__expired_entry_gives_its_slot_to_the_next(void)
{
	struct ipcmap_put_options how = how_of(IPCMAP_IF_ABSENT);
	char buf[8];
	struct ipcmap_value v = {.buf = buf, .cap = 8, .version = 9};

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	kit_clock_on();
	CU_ASSERT(put_for("k", "old", KIT_SEC) == 0);
	kit_time += KIT_SEC;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "new", 3, &how, &v) == 0);
	CU_ASSERT(v.len == 0 && v.version == 0);
	CU_ASSERT(kit_is(m, "k", "new") && kit_entries(m) == 1 && kit_sound(m));
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
	CU_ASSERT(kit_absent(m, "k") && kit_entries(m) == 0);
	CU_ASSERT(put_for("k", "old", KIT_SEC) == 0);
	kit_time += KIT_SEC;
	CU_ASSERT(ipcmap_take(m, "k", 1, &v) == IPCMAP_NOTFOUND && kit_entries(m) == 0);
	kit_clock_off();
	kit_gone(m);
}

static void api__lives_default_none_keep(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.flags = IPCMAP_CREATE;
	o.ttl_ns = 60 * KIT_SEC;
	o.limit = KIT_MIB;
	CU_ASSERT_FATAL(ipcmap_open(T_NAME, &o, &m) == 0);
	kit_clock_on();
	CU_ASSERT(kit_stat(m).ttl_ns == 60 * KIT_SEC);
	CU_ASSERT(kit_put(m, "k", "v") == 0 && left("k") == 60 * KIT_SEC);
	CU_ASSERT(put_for("k", "v", IPCMAP_TTL_NONE) == 0 && left("k") == IPCMAP_TTL_NONE);
	CU_ASSERT(put_for("k", "v", IPCMAP_TTL_KEEP) == 0 && left("k") == IPCMAP_TTL_NONE);
	CU_ASSERT(put_for("k", "v", 9 * KIT_SEC) == 0 && left("k") == 9 * KIT_SEC);
	kit_time += KIT_SEC;
	CU_ASSERT(put_for("k", "w", IPCMAP_TTL_KEEP) == 0 && left("k") == 8 * KIT_SEC);
	CU_ASSERT(kit_is(m, "k", "w"));
	kit_time += 8 * KIT_SEC; /* what has expired has nothing left to keep */
	CU_ASSERT(put_for("k", "v", IPCMAP_TTL_KEEP) == 0 && left("k") == 60 * KIT_SEC);
	CU_ASSERT(put_for("new", "v", IPCMAP_TTL_KEEP) == 0 && left("new") == 60 * KIT_SEC);
	o.flags = IPCMAP_APPLY;
	o.limit = 0;
	o.ttl_ns = IPCMAP_TTL_NONE;
	{
		struct ipcmap *again;

		CU_ASSERT(ipcmap_open(m->seg->name, &o, &again) == 0);
		ipcmap_close(again);
	}
	CU_ASSERT(left("new") == 60 * KIT_SEC);
	CU_ASSERT(kit_put(m, "new", "v") == 0 && left("new") == IPCMAP_TTL_NONE);
	kit_clock_off();
	kit_gone(m);
}

static void api__jitter_shortens_at_most_by_its_share(void)
{
	struct ipcmap_put_options how = how_of(0);
	uint64_t least = UINT64_MAX, most = 0;

	with_map(T_NAME);
	kit_clock_on();
	how.ttl_ns = 1000 * KIT_SEC;
	how.jitter = 10;
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t l;

		CU_ASSERT(ipcmap_put(m, "k", 1, "v", 1, &how) == 0);
		l = left("k");
		least = min_u64(least, l);
		most = max_u64(most, l);
	}
	CU_ASSERT(least >= 900 * KIT_SEC && most <= 1000 * KIT_SEC);
	CU_ASSERT(least < 905 * KIT_SEC && most > 995 * KIT_SEC);
	how.jitter = 100;
	how.ttl_ns = 1;
	CU_ASSERT(ipcmap_put(m, "k", 1, "v", 1, &how) == 0 && left("k") == 20 * KIT_MS);
	how.jitter = 101;
	CU_ASSERT(ipcmap_put(m, "k", 1, "v", 1, &how) == IPCMAP_INVALID);
	kit_clock_off();
	kit_gone(m);
}

/* ---- arguments, ways of access ---- */

static void api__wrong_arguments_are_refused(void)
{
	struct ipcmap_put_options how = how_of(0);
	struct ipcmap_value v = {.cap = 1};
	char key[2] = "k", *big = calloc(1, 70000);
	struct ipcmap_stat st = {0};
	uint64_t n = 0;
	size_t len = 0;
	void *p;

	with_map(T_NAME);
	CU_ASSERT(ipcmap_get(NULL, key, 1, NULL, 0, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(m, NULL, 1, NULL, 0, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(m, key, 0, NULL, 0, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(m, key, 1, NULL, 1, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get(m, big, 65536, NULL, 0, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_getx(m, key, 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_getx(m, key, 1, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get_alloc(m, key, 1, NULL, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get_alloc(m, key, 0, &p, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_exists(m, key, 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_put(m, key, 0, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_put(m, big, 65536, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_put(m, big, (size_t)-1, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_put(m, key, 1, NULL, 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_put(NULL, key, 1, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_put(m, key, 1, "v", (size_t)IPCMAP_VAL_MAX + 1, NULL) == IPCMAP_TOOBIG);
	CU_ASSERT(ipcmap_put(m, key, 1, big, IPCMAP_VAL_MAX, NULL) == IPCMAP_TOOBIG);
	CU_ASSERT(ipcmap_put(m, key, 1, NULL, 0, &how) == 0);
	CU_ASSERT(ipcmap_putx(m, key, 1, "v", 1, NULL, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_take(m, key, 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_take(m, key, 1, &v) == IPCMAP_INVALID);
	how.struct_size--;
	CU_ASSERT(ipcmap_put(m, key, 1, "v", 1, &how) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_delx(m, key, 1, &how) == IPCMAP_INVALID);
	how = how_of(16);
	CU_ASSERT(ipcmap_put(m, key, 1, "v", 1, &how) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_delx(m, key, 1, &how) == IPCMAP_INVALID);
	how = how_of(IPCMAP_IF_ABSENT);
	CU_ASSERT(ipcmap_delx(m, key, 1, &how) == IPCMAP_INVALID);
	how = how_of(IPCMAP_IF_EQUAL);
	how.equal_len = 1;
	CU_ASSERT(ipcmap_put(m, key, 1, "v", 1, &how) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_del(m, NULL, 1) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_clear(NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_entries(NULL, &n) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_entries(m, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_stat(m, &st) == IPCMAP_INVALID && ipcmap_stat(m, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_check(NULL, NULL, NULL) == IPCMAP_INVALID);
	CU_ASSERT(kit_entries(m) == 1 && kit_is(m, "k", ""));
	ipcmap_close(NULL);
	ipcmap_interrupt(NULL);
	free(big);
	kit_gone(m);
}

static void api__reading_attach_writes_nothing(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_value v = {0};
	struct ipcmap *ro;

	with_map(T_NAME);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
	CU_ASSERT(kit_is(ro, "k", "v") && kit_absent(ro, "x") && kit_entries(ro) == 1);
	CU_ASSERT(kit_put(ro, "k", "w") == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_putx(ro, "k", 1, "w", 1, NULL, &v) == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_del(ro, "k", 1) == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_delx(ro, "k", 1, NULL) == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_take(ro, "k", 1, &v) == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_clear(ro) == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_check(ro, kit_print, NULL) == 0);
	CU_ASSERT(kit_put(m, "k", "w") == 0 && kit_is(ro, "k", "w"));
	CU_ASSERT(kit_stat(ro).entries == 1);
	ipcmap_close(ro);
	CU_ASSERT(kit_is(m, "k", "w"));
	kit_gone(m);
}

static void api__two_opens_in_one_process_are_one_map(void)
{
	struct ipcmap *b, *c;

	with_map(T_NAME);
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, NULL, &b) == 0);
	CU_ASSERT(kit_put(m, "k", "from a") == 0 && kit_is(b, "k", "from a"));
	CU_ASSERT(kit_put(b, "k", "from b") == 0 && kit_is(m, "k", "from b"));
	CU_ASSERT(kit_stat(m).attached == 1);
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, NULL, &c) == 0);
	ipcmap_close(b);
	CU_ASSERT(kit_put(c, "k", "from c") == 0 && kit_is(m, "k", "from c"));
	ipcmap_close(c);
	CU_ASSERT(kit_put(m, "k", "still") == 0 && kit_sound(m));
	kit_gone(m);
}

static void api__write_inside_a_write_is_a_deadlock(void)
{
	uint64_t bit;

	with_map(T_NAME);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	bit = UINT64_C(1) << m->seg->id;
	im_tls.held |= bit; /* as a signal handler would find it */
	CU_ASSERT(kit_put(m, "k", "w") == IPCMAP_DEADLOCK);
	CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_DEADLOCK);
	CU_ASSERT(ipcmap_clear(m) == IPCMAP_DEADLOCK);
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == IPCMAP_DEADLOCK);
	CU_ASSERT(kit_is(m, "k", "v"));
	im_tls.held &= ~bit;
	kit_gone(m);
}

/* A shard whose lock is held by a living owner: deadlines. */
static void api__busy_shard_is_left_at_the_deadline(void)
{
	struct ipcmap_put_options how = how_of(0);
	uint64_t start = t_now_ms();
	uint32_t *lock;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	lock = &m->shards[0].lock;
	CU_ASSERT(im_trylock(m->seg, lock) == IM_TAKEN);
	how.deadline_ns = IPCMAP_NOWAIT;
	CU_ASSERT(ipcmap_put(m, "k", 1, "w", 1, &how) == IPCMAP_BUSY);
	CU_ASSERT(ipcmap_delx(m, "k", 1, &how) == IPCMAP_BUSY);
	CU_ASSERT(t_now_ms() - start < 1000);
	how.deadline_ns = 30 * KIT_MS;
	CU_ASSERT(ipcmap_put(m, "k", 1, "w", 1, &how) == IPCMAP_BUSY);
	CU_ASSERT(t_now_ms() - start >= 29);
	CU_ASSERT(kit_is(m, "k", "v"));
	im_unlock(m->seg, lock);
	how.deadline_ns = IPCMAP_NOWAIT;
	CU_ASSERT(ipcmap_put(m, "k", 1, "w", 1, &how) == 0);
	kit_gone(m);
}

/* NOWAIT with a large value to be returned: nobody is in the way, so there is no wait. */
static void api__nowait_returns_a_large_old_value(void)
{
	struct ipcmap_put_options how = how_of(0);
	char *buf = malloc(100000);
	struct ipcmap_value v = {.buf = buf, .cap = 100000};

	with_map(T_NAME);
	how.deadline_ns = IPCMAP_NOWAIT;
	memset(buf, 'x', 100000);
	CU_ASSERT(ipcmap_put(m, "k", 1, buf, 100000, &how) == 0);
	memset(buf, 0, 100000);
	CU_ASSERT(ipcmap_putx(m, "k", 1, "w", 1, &how, &v) == 0 && v.len == 100000);
	CU_ASSERT(buf[0] == 'x' && buf[99999] == 'x' && kit_is(m, "k", "w"));
	free(buf);
	kit_gone(m);
}

static void api__small_map_takes_600_kib_of_entries(void)
{
	static const struct {
		uint32_t val_len;
		unsigned shards;
	} how[] = {{20, 1}, {20, 0}, {48, 1}, {48, 0}, {100, 0}, {500, 0}};
	char val[512] = "";

	for (unsigned i = 0; i < ARRAY_LEN(how); i++) {
		uint64_t n = 0, len;

		m = kit_made(T_NAME, KIT_MIB, KIT_MIB, how[i].shards);
		len = kit_entry_len(m, kit_key(0).len, how[i].val_len);
		while (ipcmap_put(m, kit_key(n).text, kit_key(n).len, val, how[i].val_len,
				  NULL) == 0)
			n++;
		if (n * len < 600 * 1024)
			fprintf(stderr, "\n  %llu bytes in entries of %llu\n",
				(unsigned long long)(n * len), (unsigned long long)len);
		CU_ASSERT(n * len >= 600 * 1024);
		CU_ASSERT(kit_entries(m) == n);
		kit_gone(m);
	}
}

/* Tags and low hash bits agree often in a large shard: then the next slot counts. */
static void api__keys_are_found_among_others_with_lives(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value v;
	unsigned bad = 0;
	uint64_t got;
	size_t len;

	m = kit_made(T_NAME, 64 * KIT_MIB, 0, 1);
	for (uint64_t i = 0; i < 100000; i++) {
		struct kit_key k = kit_key(i);

		how.ttl_ns = i % 2 ? 3600 * KIT_SEC : 0;
		bad += ipcmap_put(m, k.text, k.len, &i, sizeof(i), &how) != 0;
	}
	for (uint64_t i = 0; i < 200000; i++) {
		struct kit_key k = kit_key(i);
		int want = i < 100000 ? 0 : IPCMAP_NOTFOUND;

		got = i;
		bad += ipcmap_get(m, k.text, k.len, &got, sizeof(got), &len) != want;
		v = (struct ipcmap_value){.buf = &got, .cap = sizeof(got)};
		bad += got != i || ipcmap_getx(m, k.text, k.len, &v) != want || got != i;
		bad += ipcmap_exists(m, k.text, k.len) != (want == 0);
	}
	CU_ASSERT(bad == 0);
	kit_gone(m);
}

/* ---- what users stumbled over ---- */

static void api__writes_say_why_when_the_file_is_lost(void)
{
	char buf[200];
	size_t len = 0;
	int r = 0;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	ipcmap_unlink(m->seg->name);
	close(m->seg->fd);
	for (unsigned i = 0; i < 100000 && r == 0; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%u", i);
		r = ipcmap_put(m, key, strlen(key), buf, sizeof(buf), NULL);
	}
	CU_ASSERT(r == IPCMAP_PERM && strstr(ipcmap_why(m), "gone") != NULL);
	CU_ASSERT(ipcmap_get(m, "k", 1, buf, sizeof(buf), &len) == 0 && len == 1);
	CU_ASSERT(kit_stat(m).uid == UINT32_MAX);
	ipcmap_close(m);
}

static const char *canceled_name;

static void *open_canceled(void *arg)
{
	struct ipcmap *mine = NULL;

	(void)arg;
	pthread_cancel(pthread_self());
	ipcmap_open(canceled_name, NULL, &mine);
	ipcmap_close(mine);
	pthread_testcancel();
	return NULL;
}

static void api__canceled_thread_leaves_no_lock(void)
{
	struct ipcmap *again = NULL;
	void *end = NULL;
	pthread_t t;

	m = kit_made(canceled_name = T_NAME, 4 * KIT_MIB, 0, 1);
	CU_ASSERT(pthread_create(&t, NULL, open_canceled, NULL) == 0);
	CU_ASSERT(pthread_join(t, &end) == 0 && end == PTHREAD_CANCELED);
	CU_ASSERT(ipcmap_open(canceled_name, NULL, &again) == 0); /* or it waits for ever */
	ipcmap_close(again);
	kit_gone(m);
}

static void api__open_and_tune_say_why_in_any_case(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *ro = NULL;
	char why[100] = "from before";

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	o.why = why;
	o.why_cap = sizeof(why);
	o.flags = 1u << 30;
	CU_ASSERT(ipcmap_open(m->seg->name, &o, &ro) == IPCMAP_INVALID);
	CU_ASSERT(strstr(why, "flags") != NULL);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT(ipcmap_open(m->seg->name, &o, &ro) == 0);
	strcpy(why, "from before");
	o.flags = 0;
	CU_ASSERT(ipcmap_tune(ro, &o) == IPCMAP_READONLY && strstr(why, "read") != NULL);
	ipcmap_close(ro);
	kit_gone(m);
}

static int count_item(void *arg, const struct ipcmap_item *item)
{
	*(unsigned *)arg += item->val_len == 500000;
	return 0;
}

static void api__only_gets_count_as_gets(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char *val = calloc(1, 500000);
	struct ipcmap_value v = {.buf = val, .cap = 500000};
	uint64_t cursor = 0;
	unsigned n = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	CU_ASSERT(ipcmap_put(m, "k", 1, val, 500000, NULL) == 0);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count_item, &n) == 0 && n == 1);
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = "x";
	how.equal_len = 1;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "y", 1, &how, &v) == IPCMAP_MISMATCH);
	CU_ASSERT(ipcmap_take(m, "k", 1, &v) == 0 && v.len == 500000);
	CU_ASSERT(kit_stat(m).gets == 0);
	free(val);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"a value put is got in every way", api__put_is_got_in_every_way},
	{"too small a buffer says the need", api__too_small_a_buffer_says_the_need},
	{"SHORT changes nothing", api__short_changes_nothing},
	{"putx returns what was there", api__putx_returns_what_was_there},
	{"conditions in all combinations", api__conditions_in_all_combinations},
	{"IF_EQUAL compares whole values", api__equal_compares_whole_values},
	{"del forgets one key", api__del_forgets_one_key},
	{"every write has a version of its own", api__every_write_has_a_version_of_its_own},
	{"the type is returned as stored", api__type_is_returned_as_stored},
	{"keys of every length", api__keys_of_every_length},
	{"values of every length", api__values_of_every_length},
	{"clear forgets every key", api__clear_forgets_every_key},
	{"an entry ends with its life", api__entry_ends_with_its_life},
	{"an expired entry gives its slot to the next",
	 api__expired_entry_gives_its_slot_to_the_next},
	{"lives: default, none, keep", api__lives_default_none_keep},
	{"jitter shortens at most by its share", api__jitter_shortens_at_most_by_its_share},
	{"wrong arguments are refused", api__wrong_arguments_are_refused},
	{"a reading attach writes nothing", api__reading_attach_writes_nothing},
	{"two opens in one process are one map", api__two_opens_in_one_process_are_one_map},
	{"a write inside a write is a deadlock", api__write_inside_a_write_is_a_deadlock},
	{"a busy shard is left at the deadline", api__busy_shard_is_left_at_the_deadline},
	{"NOWAIT returns a large old value", api__nowait_returns_a_large_old_value},
	{"a map of 1 MiB takes 600 KiB of entries", api__small_map_takes_600_kib_of_entries},
	{"keys are found among others with lives", api__keys_are_found_among_others_with_lives},
	{"writes say why when the file is lost", api__writes_say_why_when_the_file_is_lost},
	{"a canceled thread leaves no lock", api__canceled_thread_leaves_no_lock},
	{"open and tune say why in any case", api__open_and_tune_say_why_in_any_case},
	{"only gets count as gets", api__only_gets_count_as_gets},
	CU_TEST_INFO_NULL,
};
T_SUITE("api", tests)
