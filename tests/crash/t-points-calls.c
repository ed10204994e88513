/* SPDX-License-Identifier: MIT */
/*
 * t-points-calls.c - killed in add, touch, compare and swap, delete by prefix, and compaction
 */
#include "points.h"

#define HOUR (UINT64_C(3600) * 1000000000)

static int add_to_1(struct ipcmap *m, uint32_t i)
{
	unsigned char key[20];
	size_t n = points_make_key(1, key);
	int64_t now;

	(void)i;
	points_step_in();
	return points_step_out(ipcmap_add(m, key, n, 17, NULL, &now));
}

static void counter_under_many(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 1000);
	points_note(1, 0);
	T_MUST(add_to_1(m, 0) == 0);
}

SCENARIO(add, "add", counter_under_many, add_to_1, 1, .least = 9)
SCENARIO(add_new, "add, new counter", points_twenty, add_to_1, 1, .least = 9)

static int touch_1(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[20];
	size_t n = points_make_key(1, key);

	(void)i;
	how.ttl_ns = IPCMAP_TTL_NONE;
	points_step_in();
	return points_step_out(ipcmap_touch(m, key, n, &how));
}

SCENARIO(touch, "touch", points_one_under_many, touch_1, 1, .least = 9)
SCENARIO(touch_large, "touch, large value", points_one_large, touch_1, 1, .least = 9)

/* Less than half of its life is left, so it is written. */
static void short_life(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_note(1, 0);
	T_MUST(points_store(m, 1, 60, 1, HOUR) == 0);
}

static int get_touch_1(struct ipcmap *m, uint32_t i)
{
	unsigned char buf[100], key[20];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	size_t n = points_make_key(1, key);

	(void)i;
	points_step_in();
	return points_step_out(ipcmap_get_touch(m, key, n, 3 * HOUR, &v));
}

SCENARIO(get_touch, "get that touches", short_life, get_touch_1, 1, .least = 9)

/* ---- what was there before ---- */

/* The value of key 1, and room for what a call shows of it. */
static struct ipcmap_value value_of_1(struct ipcmap *m)
{
	static unsigned char buf[20000];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	unsigned char key[20];

	T_MUST(ipcmap_getx(m, key, points_make_key(1, key), &v) == 0);
	return v;
}

static int swap_1(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_value v = value_of_1(m);
	unsigned char key[20];
	size_t n = points_make_key(1, key);

	(void)i;
	points_step_in();
	return points_step_out(ipcmap_putx(m, key, n, "swapped", 7, NULL, &v));
}

static int put_if_equal(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value v = value_of_1(m);
	unsigned char key[20];
	size_t n = points_make_key(1, key);

	(void)i;
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = v.buf;
	how.equal_len = v.len;
	points_step_in();
	return points_step_out(ipcmap_put(m, key, n, "equal", 5, &how));
}

static int del_if_equal(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value v = value_of_1(m);
	unsigned char key[20];
	size_t n = points_make_key(1, key);

	(void)i;
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = v.buf;
	how.equal_len = v.len;
	points_step_in();
	return points_step_out(ipcmap_delx(m, key, n, &how));
}

SCENARIO(swap, "put that shows a large value", points_one_large, swap_1, 1, .least = 20)
SCENARIO(if_equal, "put, if equal", points_one_under_many, put_if_equal, 1, .least = 9)
SCENARIO(if_equal_large, "put, if equal to a large value", points_one_large, put_if_equal, 1,
	 .least = 20)
SCENARIO(del_equal, "del, if equal", points_one_under_many, del_if_equal, 1, .least = 9)

/* ---- many keys ---- */

static int del_keys_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_step_in();
	return points_step_out(ipcmap_del_prefix(m, "key-1", 5, NULL));
}

static void thirty_of_1(struct ipcmap *m)
{
	points_put_many(m, 2, 28, 700);
	for (uint32_t i = 10; i < 20; i++)
		points_note(i, 0);
}

SCENARIO(del_prefix, "delete by prefix", thirty_of_1, del_keys_1, 1, .least = 90, .loose = true)

/* The same calls with a handle that has a prefix. */
static int under_prefix(struct ipcmap *m, uint32_t i)
{
	static char key[9][20];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_change c[2];
	struct ipcmap_value old = {0};
	unsigned char buf[1000];
	struct ipcmap *sub;
	size_t n = (size_t)sprintf(key[i], "%u", i + 1);
	int r;

	old.buf = buf;
	old.cap = sizeof(buf);
	how.ttl_ns = IPCMAP_TTL_NONE;
	memset(c, 0, sizeof(c));
	c[0].key = "61";
	c[1].key = "62";
	c[0].key_len = c[1].key_len = 2;
	c[0].val = "group";
	c[0].val_len = 5;
	c[1].flags = IPCMAP_CHANGE_DEL;
	points_step_in();
	r = ipcmap_open_prefix(m, "key-", 4, &sub);
	if (i == 0)
		r = r ? r : ipcmap_put(sub, key[i], n, "put", 3, NULL);
	else if (i == 1)
		r = ipcmap_add(sub, key[i], n, 3, NULL, NULL);
	else if (i == 2)
		r = ipcmap_touch(sub, key[i], n, &how);
	else if (i == 3)
		r = ipcmap_take(sub, key[i], n, &old);
	else if (i == 4)
		r = ipcmap_del(sub, key[i], n);
	else
		r = ipcmap_commit(sub, c, 2, 0);
	ipcmap_close(sub);
	return points_step_out(r);
}

static void some_under_prefix(struct ipcmap *m)
{
	points_put_many(m, 3, 8, 60);
	points_put(m, 62, 60, 1);
	for (uint32_t i = 0; i < 5; i++)
		points_note(i + 1, (int)i);
	points_note(61, 5);
	points_note(62, 5);
}

SCENARIO(prefix, "calls with a prefix", some_under_prefix, under_prefix, 6, .least = 60, .sampled = true,
	 .loose = true)

/* Key by key, but for that which is the prefix itself. */
static int clear_prefix(struct ipcmap *m, uint32_t i)
{
	struct ipcmap *sub;
	int r;

	(void)i;
	points_step_in();
	r = ipcmap_open_prefix(m, "key-1", 5, &sub);
	r = r ? r : ipcmap_clear(sub);
	ipcmap_close(sub);
	return points_step_out(r);
}

SCENARIO(clear_prefix, "clear with a prefix", thirty_of_1, clear_prefix, 1, .least = 90, .sampled = true,
	 .loose = true)

static int compact_all(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_compact(m, NULL);
}

/* Many buckets, most of them empty, and extents with little in each. */
static void sparse(struct ipcmap *m)
{
	points_put_many(m, 1, 900, 400);
	for (uint32_t i = 1; i <= 900; i++)
		if (i % 9)
			T_MUST(points_del(m, i) == 0);
	points_put(m, 1000, 9000, 1);
}

SCENARIO(compact, "compact", sparse, compact_all, 1, .least = 300)

/* Buckets 0 and 16 fill a chain when they are merged again. */
static void before_merge(struct ipcmap *m)
{
	points_put_in_bucket(m, 31, 0, 9);
	points_put_in_bucket(m, 31, 16, 9);
	points_put_in_bucket(m, 15, 5, 8);
	for (uint32_t i = 0; i < 200; i++)
		T_MUST(points_store(m, 5000 + i, 40, 1, 0) == 0);
	for (uint32_t i = 0; i < 200; i++)
		T_MUST(points_del(m, 5000 + i) == 0);
}

SCENARIO(merge, "compact, buckets merged into chains", before_merge, compact_all, 1,
	 .least = 60)

static CU_TestInfo tests[] = {
	{"killed in an add", points__add},
	{"killed in an add of a new counter", points__add_new},
	{"killed in a touch", points__touch},
	{"killed in a touch of a large value", points__touch_large},
	{"killed in a get that touches", points__get_touch},
	{"killed in a put that shows what was there", points__swap},
	{"killed in a put on the same value", points__if_equal},
	{"killed in a put on the same large value", points__if_equal_large},
	{"killed in a delete of the same value", points__del_equal},
	{"killed in a delete by prefix", points__del_prefix},
	{"killed in calls with a prefix", points__prefix},
	{"killed in a clear with a prefix", points__clear_prefix},
	{"killed in a compaction of buckets", points__merge},
	{"killed in a compaction", points__compact},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of other calls", tests)
