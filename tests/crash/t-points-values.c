/* SPDX-License-Identifier: MIT */
/*
 * t-points-values.c - killed in puts, takes, deletes and clears
 */
#include "points.h"

static int put_1_small(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 60, 9, 0);
}

static void nothing(struct ipcmap *m)
{
	(void)m;
	points_note(1, 0);
}

SCENARIO(first, "first put of a map", nothing, put_1_small, 1, .least = 40)
SCENARIO(fresh, "put, new key", points_twenty, put_1_small, 1, .least = 10)
SCENARIO(update, "put, update across extents", points_one_under_many, put_1_small, 1,
	 .least = 10)
SCENARIO(in_place, "put, update in the same extent", points_one_over_many, put_1_small, 1,
	 .least = 9)

static int put_1_large(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 10000, 9, 0);
}

static int del_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_del(m, 1);
}

SCENARIO(large, "put, new large value", points_twenty, put_1_large, 1, .least = 60)
SCENARIO(large_large, "put, large over large", points_one_large, put_1_large, 1, .least = 60)
SCENARIO(small_large, "put, small over large", points_one_large, put_1_small, 1, .least = 20)
SCENARIO(large_small, "put, large over small", points_one_over_many, put_1_large, 1,
	 .least = 50)
SCENARIO(del_large, "del, large value", points_one_large, del_1, 1, .least = 20)

/* Compressed from here on; values of load_make() keep a quarter of their length. */
static void compress(struct ipcmap *m)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.compress = 100;
	T_MUST(ipcmap_tune(m, &o) == 0);
}

static void twenty_then_packed(struct ipcmap *m)
{
	points_twenty(m);
	compress(m);
}

static void one_packed_large(struct ipcmap *m)
{
	compress(m);
	points_one_large(m);
}

static int put_1_packed(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 1500, 9, 0);
}

static int put_1_packed_large(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 20000, 9, 0);
}

SCENARIO(packed, "put, compressed", twenty_then_packed, put_1_packed, 1, .least = 10)
SCENARIO(packed_large, "put, compressed and still large", twenty_then_packed,
	 put_1_packed_large, 1, .least = 40)
SCENARIO(packed_over, "put, compressed over large", one_packed_large, put_1_packed, 1,
	 .least = 20)

static void no_far(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_note(POINTS_FAR, 0);
}

static void one_far(struct ipcmap *m)
{
	points_put(m, POINTS_FAR, 6000, 1);
	no_far(m);
}

static int put_far(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, POINTS_FAR, 100, 2, 0);
}

static int del_far(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_del(m, POINTS_FAR);
}

SCENARIO(far, "put, key of its own extents", no_far, put_far, 1, .least = 40)
SCENARIO(far_over, "put, update of such a key", one_far, put_far, 1, .least = 50)
SCENARIO(far_del, "del, of such a key", one_far, del_far, 1, .least = 20)

static int put_if_version(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char buf[2000], key[20];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	size_t n = points_make_key(1, key);
	int r = ipcmap_getx(m, key, n, &v);

	(void)i;
	if (r)
		return r;
	how.flags = IPCMAP_IF_VERSION;
	how.version = v.version;
	points_step_in();
	return points_step_out(ipcmap_put(m, key, n, "conditional", 11, &how));
}

static int take_1(struct ipcmap *m, uint32_t i)
{
	unsigned char buf[20000], key[20];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	size_t n = points_make_key(1, key);

	(void)i;
	points_step_in();
	return points_step_out(ipcmap_take(m, key, n, &v));
}

static void one_expired(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_note(1, 0);
	T_MUST(points_store(m, 1, 700, 1, 1) == 0);
	t_sleep_ms(60);
}

SCENARIO(conditional, "put, if version", points_one_over_many, put_if_version, 1, .least = 9)
SCENARIO(expired, "put, on an expired slot", one_expired, put_1_small, 1, .least = 9)
SCENARIO(take, "take", points_one_under_many, take_1, 1, .least = 9)
SCENARIO(take_large, "take, large value", points_one_large, take_1, 1, .least = 20)
SCENARIO(del, "del", points_one_under_many, del_1, 1, .least = 9)

/* The first extent holds 1, 2 and 3 only. */
static void last_of_extent(struct ipcmap *m)
{
	points_put_many(m, 1, 14, 1200);
	T_MUST(points_del(m, 2) == 0 && points_del(m, 3) == 0);
	points_note(1, 0);
}

static int clear_all(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_step_in();
	return points_step_out(ipcmap_clear(m));
}

static void thirty(struct ipcmap *m)
{
	points_put_many(m, 1, 30, 700);
	points_put(m, 40, 9000, 1);
	for (uint32_t i = 1; i <= 30; i++)
		points_note(i, 0);
	points_note(40, 0);
}

/* Then the extents below the floor are walked. */
static int clear_and_put(struct ipcmap *m, uint32_t i)
{
	return i == 0 ? clear_all(m, 0) : points_store(m, 1000 + i, 1500, 1, 0);
}

static void many_and_large(struct ipcmap *m)
{
	for (uint32_t i = 1; i <= 150; i++) {
		points_put(m, i, 1200, 1);
		points_note(i, 0);
	}
	points_put(m, 200, 9000, 1);
	points_note(200, 0);
	for (int i = 1; i < 80; i++)
		points_note(1000 + (uint32_t)i, i);
}

SCENARIO(del_last, "del, last name of an extent", last_of_extent, del_1, 1, .least = 15)
SCENARIO(clear, "clear", thirty, clear_all, 1, .least = 8)
SCENARIO(clear_put, "clear, then puts that reclaim", many_and_large, clear_and_put, 80,
	 .least = 500)

static CU_TestInfo tests[] = {
	{"killed in the first put", points__first},
	{"killed in a put", points__fresh},
	{"killed in an update", points__update},
	{"killed in an update in the same extent", points__in_place},
	{"killed in a large put", points__large},
	{"killed in an update of large by large", points__large_large},
	{"killed in an update of large by small", points__small_large},
	{"killed in an update of small by large", points__large_small},
	{"killed in a delete of a large value", points__del_large},
	{"killed in a compressed put", points__packed},
	{"killed in a compressed large put", points__packed_large},
	{"killed in an update of large by compressed", points__packed_over},
	{"killed in a put of a far key", points__far},
	{"killed in an update of a far key", points__far_over},
	{"killed in a delete of a far key", points__far_del},
	{"killed in a conditional put", points__conditional},
	{"killed in a put on an expired slot", points__expired},
	{"killed in a take", points__take},
	{"killed in a take of a large value", points__take_large},
	{"killed in a delete", points__del},
	{"killed in a delete that releases an extent", points__del_last},
	{"killed in a clear", points__clear},
	{"killed in reclaiming after a clear", points__clear_put},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of values", tests)
