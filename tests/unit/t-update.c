/* SPDX-License-Identifier: MIT */
/*
 * t-update.c - writes whose value depends on the present one: touch, get_touch, add
 */
#include "kit.h"

#include <pthread.h>

static struct ipcmap *m;

static struct ipcmap_value look(const char *key)
{
	struct ipcmap_value v = {0};
	int r = ipcmap_getx(m, key, strlen(key), &v);

	CU_ASSERT(r == 0 || r == IPCMAP_SHORT);
	if (r == IPCMAP_SHORT) { /* the rest is there only with the value */
		v.cap = v.len;
		v.buf = malloc(v.cap);
		CU_ASSERT(ipcmap_getx(m, key, strlen(key), &v) == 0);
		free(v.buf);
		v.buf = NULL;
	}
	return v;
}

static int put_for(const char *key, const char *val, uint64_t ttl_ns, uint32_t type)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = ttl_ns;
	how.type = type;
	return ipcmap_put(m, key, strlen(key), val, strlen(val), &how);
}

static int touch(const char *key, uint64_t ttl_ns)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = ttl_ns;
	return ipcmap_touch(m, key, strlen(key), &how);
}

static uint64_t ttl_of(const char *key)
{
	return look(key).ttl_left_ns;
}

/* ---- touch ---- */

static void touch__gives_another_life_and_changes_nothing_else(void)
{
	struct ipcmap_value before, after;

	kit_clock_on();
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(put_for("k", "value", 10 * KIT_SEC, 7) == 0);
	CU_ASSERT(kit_put(m, "other", "x") == 0);
	before = look("k");
	CU_ASSERT(touch("k", 60 * KIT_SEC) == 0);
	after = look("k");
	CU_ASSERT(before.ttl_left_ns == 10 * KIT_SEC && after.ttl_left_ns == 60 * KIT_SEC);
	CU_ASSERT(after.version == before.version && after.type == 7 && after.len == 5);
	CU_ASSERT(kit_is(m, "k", "value") && kit_is(m, "other", "x"));
	CU_ASSERT(touch("k", IPCMAP_TTL_NONE) == 0 && ttl_of("k") == IPCMAP_TTL_NONE);
	kit_time += 100 * KIT_SEC;
	CU_ASSERT(kit_is(m, "k", "value"));
	CU_ASSERT(touch("k", KIT_SEC) == 0 && ttl_of("k") == KIT_SEC);
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(kit_absent(m, "k") && touch("k", KIT_SEC) == IPCMAP_NOTFOUND);
	kit_gone(m);
	kit_clock_off();
}

static void touch__knows_default_and_keep(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	kit_clock_on();
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(put_for("k", "v", 10 * KIT_SEC, 0) == 0);
	CU_ASSERT(touch("k", 0) == 0 && ttl_of("k") == IPCMAP_TTL_NONE);
	o.ttl_ns = 30 * KIT_SEC;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
	CU_ASSERT(touch("k", 0) == 0 && ttl_of("k") == 30 * KIT_SEC);
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(touch("k", IPCMAP_TTL_KEEP) == 0 && ttl_of("k") == 20 * KIT_SEC);
	kit_gone(m);
	kit_clock_off();
}

static void touch__jitter_shortens(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	bool differ = false;
	uint64_t first = 0;

	kit_clock_on();
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	how.ttl_ns = 100 * KIT_SEC;
	how.jitter = 10;
	for (unsigned i = 0; i < 50; i++) {
		uint64_t ttl;

		CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == 0);
		ttl = ttl_of("k");
		CU_ASSERT(ttl >= 90 * KIT_SEC && ttl <= 100 * KIT_SEC);
		differ |= i && ttl != first;
		first = i ? first : ttl;
	}
	CU_ASSERT(differ);
	kit_gone(m);
	kit_clock_off();
}

static void touch__asks_conditions(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	how.ttl_ns = 60 * KIT_SEC;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == IPCMAP_NOTFOUND);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	how.flags = IPCMAP_IF_VERSION;
	how.version = kit_version(m, "k") + 1;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == IPCMAP_MISMATCH);
	CU_ASSERT(ttl_of("k") == IPCMAP_TTL_NONE);
	how.version--;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == 0 && ttl_of("k") != IPCMAP_TTL_NONE);
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = "w";
	how.equal_len = 1;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == IPCMAP_MISMATCH);
	how.equal = "v";
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == 0);
	/* what was read before a touch can still be replaced by its version */
	how = (struct ipcmap_put_options)IPCMAP_PUT_INIT;
	how.flags = IPCMAP_IF_VERSION;
	how.version = kit_version(m, "k");
	CU_ASSERT(touch("k", KIT_SEC) == 0);
	CU_ASSERT(ipcmap_put(m, "k", 1, "w", 1, &how) == 0 && kit_is(m, "k", "w"));
	kit_gone(m);
}

static void touch__of_large_values_moves_nothing(void)
{
	static unsigned char val[300000], back[sizeof(val)];
	struct ipcmap_stat before, after;
	size_t len = 0;

	kit_clock_on();
	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	kit_bytes(val, sizeof(val), 1);
	CU_ASSERT(ipcmap_put(m, "k", 1, val, sizeof(val), NULL) == 0);
	before = kit_stat(m);
	for (unsigned i = 1; i <= 200; i++)
		CU_ASSERT(touch("k", i * KIT_SEC) == 0);
	after = kit_stat(m);
	CU_ASSERT(ttl_of("k") == 200 * KIT_SEC && after.large_len == before.large_len);
	CU_ASSERT(ipcmap_get(m, "k", 1, back, sizeof(back), &len) == 0);
	CU_ASSERT(len == sizeof(val) && memcmp(val, back, len) == 0);
	CU_ASSERT(kit_sound(m));
	/* and when it goes, its memory goes */
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
	CU_ASSERT(kit_put(m, "x", "y") == 0 && kit_stat(m).large_len == 0);
	kit_gone(m);
	kit_clock_off();
}

/* The key lies with the value, in the large extents. */
static void touch__of_a_long_key(void)
{
	static char key[60000];

	kit_clock_on();
	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	memset(key, 'k', sizeof(key) - 1);
	CU_ASSERT(kit_put(m, key, "v") == 0);
	CU_ASSERT(touch(key, KIT_SEC) == 0 && kit_is(m, key, "v") && ttl_of(key) == KIT_SEC);
	CU_ASSERT(kit_sound(m));
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(kit_absent(m, key));
	kit_gone(m);
	kit_clock_off();
}

/* A touch is a write like any: cleaning makes room for ever more of them. */
static void touch__goes_on_for_ever(void)
{
	m = kit_made(T_NAME, KIT_MIB, KIT_MIB, 1);
	for (uint64_t i = 0; i < 200; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, k.text, k.len, NULL) == 0);
	}
	for (uint64_t i = 0; i < 100000; i++) {
		struct kit_key k = kit_key(i % 200);

		if (touch(k.text, 3600 * KIT_SEC + i)) {
			CU_FAIL("a touch failed");
			break;
		}
	}
	CU_ASSERT(kit_entries(m) == 200);
	for (uint64_t i = 0; i < 200; i++)
		CU_ASSERT(kit_is(m, kit_key(i).text, kit_key(i).text));
	kit_gone(m);
}

static void touch__refuses_bad_arguments(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_value v = {0};
	struct ipcmap *ro;
	int64_t now = 77;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(put_for("k", "1", KIT_SEC, 0) == 0);
	CU_ASSERT(ipcmap_touch(m, "k", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_touch(m, "", 0, &how) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_touch(NULL, "k", 1, &how) == IPCMAP_INVALID);
	how.flags = IPCMAP_IF_ABSENT;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == IPCMAP_INVALID);
	how.flags = 0;
	how.jitter = 101;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_get_touch(m, "k", 1, KIT_SEC, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_add(m, NULL, 1, 1, NULL, &now) == IPCMAP_INVALID);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
	how.jitter = 0;
	CU_ASSERT(ipcmap_touch(ro, "k", 1, &how) == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_add(ro, "k", 1, 1, NULL, &now) == IPCMAP_READONLY && now == 77);
	v.buf = (char[8]){0};
	v.cap = 8;
	CU_ASSERT(ipcmap_get_touch(ro, "k", 1, KIT_SEC / 2, &v) == 0); /* enough is left */
	CU_ASSERT(ipcmap_get_touch(ro, "k", 1, 3600 * KIT_SEC, &v) == IPCMAP_READONLY);
	ipcmap_close(ro);
	kit_gone(m);
}

/* ---- get_touch ---- */

static void get_touch__writes_below_half_of_the_life_only(void)
{
	char buf[8];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	uint64_t written;

	kit_clock_on();
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(put_for("s", "session", 10 * KIT_SEC, 3) == 0);
	written = m->shards[0].redo.seq;
	kit_time += 5 * KIT_SEC; /* half: still enough */
	CU_ASSERT(ipcmap_get_touch(m, "s", 1, 10 * KIT_SEC, &v) == 0);
	CU_ASSERT(v.ttl_left_ns == 5 * KIT_SEC && v.len == 7 && !memcmp(buf, "session", 7));
	CU_ASSERT(m->shards[0].redo.seq == written && ttl_of("s") == 5 * KIT_SEC);
	kit_time += 1;
	CU_ASSERT(ipcmap_get_touch(m, "s", 1, 10 * KIT_SEC, &v) == 0);
	CU_ASSERT(v.ttl_left_ns == 5 * KIT_SEC - 1 && v.type == 3);
	CU_ASSERT(m->shards[0].redo.seq > written && ttl_of("s") == 10 * KIT_SEC);
	CU_ASSERT(kit_version(m, "s") == v.version && kit_is(m, "s", "session"));
	kit_time += 11 * KIT_SEC;
	CU_ASSERT(ipcmap_get_touch(m, "s", 1, 10 * KIT_SEC, &v) == IPCMAP_NOTFOUND);
	kit_gone(m);
	kit_clock_off();
}

static void get_touch__leaves_alone_what_never_expires(void)
{
	char buf[2];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	CU_ASSERT(ipcmap_get_touch(m, "k", 1, 1000 * KIT_SEC, &v) == 0);
	CU_ASSERT(v.ttl_left_ns == IPCMAP_TTL_NONE && ttl_of("k") == IPCMAP_TTL_NONE);
	kit_gone(m);
}

static void get_touch__touches_nothing_when_the_room_is_short(void)
{
	char buf[3];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	kit_clock_on();
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(put_for("k", "value", KIT_SEC, 0) == 0);
	CU_ASSERT(ipcmap_get_touch(m, "k", 1, 10 * KIT_SEC, &v) == IPCMAP_SHORT && v.len == 5);
	CU_ASSERT(ttl_of("k") == KIT_SEC);
	kit_gone(m);
	kit_clock_off();
}

/* ---- add ---- */

static int add(const char *key, int64_t delta, const struct ipcmap_add_options *how,
	       int64_t *ret_now)
{
	return ipcmap_add(m, key, strlen(key), delta, how, ret_now);
}

static void add__counts(void)
{
	int64_t now = 0;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(add("n", 1, NULL, &now) == 0 && now == 1 && kit_is(m, "n", "1"));
	CU_ASSERT(add("n", 41, NULL, &now) == 0 && now == 42 && kit_is(m, "n", "42"));
	CU_ASSERT(add("n", -50, NULL, NULL) == 0 && kit_is(m, "n", "-8"));
	CU_ASSERT(add("n", 0, NULL, &now) == 0 && now == -8);
	CU_ASSERT(add("n", 8, NULL, &now) == 0 && now == 0 && kit_is(m, "n", "0"));
	CU_ASSERT(kit_put(m, "n", "0099") == 0); /* leading zeros are a number too */
	CU_ASSERT(add("n", 1, NULL, &now) == 0 && now == 100 && kit_is(m, "n", "100"));
	CU_ASSERT(kit_put(m, "n", "-0") == 0);
	CU_ASSERT(add("n", 1, NULL, &now) == 0 && now == 1);
	CU_ASSERT(kit_stat(m).puts == 9 && kit_entries(m) == 1);
	kit_gone(m);
}

static void add__begins_with_initial(void)
{
	struct ipcmap_add_options how = IPCMAP_ADD_INIT;
	int64_t now;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	how.initial = 100;
	how.type = 9;
	CU_ASSERT(add("n", -1, &how, &now) == 0 && now == 99 && look("n").type == 9);
	how.initial = 500;
	how.type = 1;
	CU_ASSERT(add("n", -1, &how, &now) == 0 && now == 98 && look("n").type == 9);
	CU_ASSERT(ipcmap_del(m, "n", 1) == 0);
	CU_ASSERT(add("n", 0, &how, &now) == 0 && now == 500 && look("n").type == 1);
	kit_gone(m);
}

static void add__keeps_its_bounds(void)
{
	struct ipcmap_add_options how = IPCMAP_ADD_INIT;
	uint64_t version;
	int64_t now = 7;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	how.min = 0;
	how.max = 10;
	CU_ASSERT(add("n", 11, &how, &now) == IPCMAP_RANGE && kit_absent(m, "n") && now == 7);
	CU_ASSERT(add("n", -1, &how, &now) == IPCMAP_RANGE && kit_absent(m, "n"));
	CU_ASSERT(add("n", 10, &how, &now) == 0 && now == 10);
	version = kit_version(m, "n");
	CU_ASSERT(add("n", 1, &how, &now) == IPCMAP_RANGE && now == 10 && kit_is(m, "n", "10"));
	CU_ASSERT(add("n", -11, &how, &now) == IPCMAP_RANGE && kit_version(m, "n") == version);
	CU_ASSERT(add("n", -10, &how, &now) == 0 && now == 0);
	how.min = 5;
	CU_ASSERT(add("n", 4, &how, &now) == IPCMAP_RANGE); /* from outside, still outside */
	CU_ASSERT(add("n", 5, &how, &now) == 0 && now == 5);
	how.min = 11;
	CU_ASSERT(add("n", 5, &how, &now) == IPCMAP_INVALID);
	kit_gone(m);
}

static void add__never_wraps(void)
{
	struct ipcmap_add_options how = IPCMAP_ADD_INIT;
	int64_t now = 0;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(add("a", INT64_MAX, NULL, &now) == 0 && now == INT64_MAX);
	CU_ASSERT(kit_is(m, "a", "9223372036854775807"));
	CU_ASSERT(add("a", 1, NULL, &now) == IPCMAP_RANGE && now == INT64_MAX);
	CU_ASSERT(add("a", INT64_MIN, NULL, &now) == 0 && now == -1);
	CU_ASSERT(add("a", INT64_MIN, NULL, &now) == IPCMAP_RANGE);
	CU_ASSERT(add("b", INT64_MIN, NULL, &now) == 0 && now == INT64_MIN);
	CU_ASSERT(kit_is(m, "b", "-9223372036854775808"));
	CU_ASSERT(add("b", -1, NULL, &now) == IPCMAP_RANGE);
	CU_ASSERT(add("b", INT64_MAX, NULL, &now) == 0 && now == -1);
	how.initial = INT64_MAX;
	CU_ASSERT(add("c", 1, &how, &now) == IPCMAP_RANGE && kit_absent(m, "c"));
	kit_gone(m);
}

static void add__refuses_what_is_no_number(void)
{
	static const char *const bad[] = {"",
					  "-",
					  "+1",
					  " 1",
					  "1 ",
					  "1.0",
					  "0x10",
					  "1e3",
					  "--1",
					  "1\n",
					  "abc",
					  "9223372036854775808",
					  "-9223372036854775809",
					  "99999999999999999999",
					  "000000000000000000000000001"};
	static char large[300000];
	uint64_t version;
	int64_t now = 5;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CU_ASSERT(kit_put(m, "k", bad[i]) == 0);
		version = kit_version(m, "k");
		CU_ASSERT(add("k", 1, NULL, &now) == IPCMAP_TYPE && now == 5);
		CU_ASSERT(kit_is(m, "k", bad[i]) && kit_version(m, "k") == version);
	}
	CU_ASSERT(ipcmap_put(m, "k", 1, "1\0002", 3, NULL) == 0);
	CU_ASSERT(add("k", 1, NULL, &now) == IPCMAP_TYPE);
	memset(large, '1', sizeof(large));
	CU_ASSERT(ipcmap_put(m, "k", 1, large, sizeof(large), NULL) == 0);
	CU_ASSERT(add("k", 1, NULL, &now) == IPCMAP_TYPE && look("k").len == sizeof(large));
	kit_gone(m);
}

static void add__keeps_the_life_and_changes_the_version(void)
{
	struct ipcmap_add_options how = IPCMAP_ADD_INIT;
	uint64_t version;
	int64_t now;

	kit_clock_on();
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	how.ttl_ns = 10 * KIT_SEC;
	CU_ASSERT(add("n", 1, &how, &now) == 0 && ttl_of("n") == 10 * KIT_SEC);
	version = kit_version(m, "n");
	kit_time += 4 * KIT_SEC;
	how.ttl_ns = 60 * KIT_SEC;
	CU_ASSERT(add("n", 1, &how, &now) == 0 && now == 2 && ttl_of("n") == 6 * KIT_SEC);
	CU_ASSERT(kit_version(m, "n") != version);
	kit_time += 7 * KIT_SEC; /* expired: begins anew */
	CU_ASSERT(add("n", 1, &how, &now) == 0 && now == 1 && ttl_of("n") == 60 * KIT_SEC);
	CU_ASSERT(touch("n", IPCMAP_TTL_NONE) == 0 && add("n", 1, &how, &now) == 0);
	CU_ASSERT(now == 2 && ttl_of("n") == IPCMAP_TTL_NONE);
	CU_ASSERT(ipcmap_clear(m) == 0); /* cleared: likewise */
	CU_ASSERT(add("n", 1, &how, &now) == 0 && now == 1 && ttl_of("n") == 60 * KIT_SEC);
	kit_gone(m);
	kit_clock_off();
}

static void add__needs_a_key_that_fits(void)
{
	static char key[60000];
	int64_t now = 5;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	memset(key, 'k', sizeof(key) - 1);
	CU_ASSERT(add(key, 1, NULL, &now) == IPCMAP_TOOBIG && now == 5 && kit_absent(m, key));
	key[1000] = 0;
	CU_ASSERT(add(key, 1, NULL, &now) == 0 && now == 1 && kit_is(m, key, "1"));
	kit_gone(m);
}

#define THREADS 4
#define EACH 20000

static void *count_up(void *arg)
{
	int64_t last = 0, now;

	(void)arg;
	for (unsigned i = 0; i < EACH; i++) {
		if (ipcmap_add(m, "n", 1, 1, NULL, &now) || now <= last)
			return m;
		last = now;
	}
	return NULL;
}

static int count_up_child(void *arg)
{
	return count_up(arg) != NULL;
}

static void add__loses_nothing_among_threads_and_processes(void)
{
	pthread_t t[THREADS];
	pid_t child;
	int64_t now;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	child = t_run(count_up_child, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		CU_ASSERT_FATAL(pthread_create(&t[i], NULL, count_up, NULL) == 0);
	for (unsigned i = 0; i < THREADS; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		CU_ASSERT(bad == NULL);
	}
	CU_ASSERT(t_ok(child));
	CU_ASSERT(add("n", 0, NULL, &now) == 0 && now == (THREADS + 1) * EACH);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"touch gives another life and changes nothing else",
	 touch__gives_another_life_and_changes_nothing_else},
	{"touch knows the default life, and keep", touch__knows_default_and_keep},
	{"touch: jitter shortens", touch__jitter_shortens},
	{"touch asks conditions", touch__asks_conditions},
	{"touch of large values moves nothing", touch__of_large_values_moves_nothing},
	{"touch of a key that lies with its value", touch__of_a_long_key},
	{"touch goes on for ever in a small map", touch__goes_on_for_ever},
	{"touch, get_touch and add refuse bad arguments", touch__refuses_bad_arguments},
	{"get_touch writes below half of the life only",
	 get_touch__writes_below_half_of_the_life_only},
	{"get_touch leaves alone what never expires",
	 get_touch__leaves_alone_what_never_expires},
	{"get_touch touches nothing when the room is short",
	 get_touch__touches_nothing_when_the_room_is_short},
	{"add counts", add__counts},
	{"add begins with initial", add__begins_with_initial},
	{"add keeps its bounds", add__keeps_its_bounds},
	{"add never wraps", add__never_wraps},
	{"add refuses what is no number", add__refuses_what_is_no_number},
	{"add keeps the life and changes the version",
	 add__keeps_the_life_and_changes_the_version},
	{"add needs a key that fits", add__needs_a_key_that_fits},
	{"add loses nothing among threads and processes",
	 add__loses_nothing_among_threads_and_processes},
	CU_TEST_INFO_NULL,
};
T_SUITE("update", tests)
