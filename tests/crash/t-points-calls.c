/* SPDX-License-Identifier: MIT */
/*
 * t-points-calls.c - killed in add, touch, delete by prefix, and compaction
 */
#include "points.h"

#include "os.h"

static int add_to_1(struct ipcmap *m, uint32_t i)
{
	unsigned char key[20];
	int64_t now;

	(void)i;
	return ipcmap_add(m, key, points_make_key(1, key), 17, NULL, &now);
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

	(void)i;
	how.ttl_ns = IPCMAP_TTL_NONE;
	return ipcmap_touch(m, key, points_make_key(1, key), &how);
}

SCENARIO(touch, "touch", points_one_under_many, touch_1, 1, .least = 9)
SCENARIO(touch_large, "touch, large value", points_one_large, touch_1, 1, .least = 9)

static int del_keys_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return ipcmap_del_prefix(m, "key-1", 5, NULL);
}

static void thirty_of_1(struct ipcmap *m)
{
	points_put_many(m, 2, 28, 700);
	for (uint32_t i = 10; i < 20; i++)
		points_note(i, 0);
}

SCENARIO(del_prefix, "delete by prefix", thirty_of_1, del_keys_1, 1, .least = 90, .loose = true)

/* Time flies, so that compaction need not rest. */
static uint64_t leap(void)
{
	static uint64_t now;

	now += 700000000;
	return im_os_real.now() + now;
}

static int compact_all(struct ipcmap *m, uint32_t i)
{
	static struct im_os os;
	int r;

	(void)i;
	os = im_os_real;
	os.now = leap;
	im_os = &os;
	r = ipcmap_compact(m, NULL, NULL);
	im_os = &im_os_real;
	return r;
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
	{"killed in a delete by prefix", points__del_prefix},
	{"killed in a compaction of buckets", points__merge},
	{"killed in a compaction", points__compact},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of other calls", tests)
