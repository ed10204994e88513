/* SPDX-License-Identifier: MIT */
/*
 * t-points-fill.c - killed while a lease is taken, ends, or is voided by a write
 */
#include "points.h"

static struct ipcmap_lease lead(struct ipcmap *m, uint32_t id)
{
	struct ipcmap_value v = {0};
	struct ipcmap_lease l;
	unsigned char key[20];

	T_MUST(ipcmap_lease(m, key, points_make_key(id, key), NULL, &l, &v) == IPCMAP_LEAD);
	return l;
}

static int fill_1(struct ipcmap *m, const void *val, size_t len)
{
	struct ipcmap_value v = {0};
	struct ipcmap_lease l;
	unsigned char key[20];
	size_t n = points_make_key(1, key);
	int r;

	points_step_in();
	r = ipcmap_lease(m, key, n, NULL, &l, &v);
	if (r == IPCMAP_LEAD)
		r = ipcmap_lease_put(m, key, n, &l, val, len, NULL);
	return points_step_out(r);
}

static int fill_short(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return fill_1(m, "loaded", 6);
}

static int fill_large(struct ipcmap *m, uint32_t i)
{
	static unsigned char val[9000];

	(void)i;
	load_make(val, sizeof(val), 1, 0, 1);
	return fill_1(m, val, sizeof(val));
}

static void twenty_without_1(struct ipcmap *m)
{
	points_put_many(m, 2, 20, 60);
	points_note(1, 0);
}

/* Its life is over. */
static void one_expired(struct ipcmap *m)
{
	twenty_without_1(m);
	T_MUST(points_store(m, 1, 60, 1, 20000000) == 0);
	while (points_look(m, 1).r == 0)
		t_sleep_ms(5);
}

SCENARIO(fill, "fill", twenty_without_1, fill_short, 1, .least = 14)
SCENARIO(fill_large, "fill, large value", twenty_without_1, fill_large, 1, .least = 40)
SCENARIO(fill_expired, "fill, of an expired key", one_expired, fill_short, 1, .least = 14)

static int fail_1(struct ipcmap *m, int err)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_lease l = lead(m, 1);
	unsigned char key[20];

	how.negative_ttl_ns = UINT64_C(3600000000000);
	points_step_in();
	return points_step_out(
		ipcmap_lease_fail(m, key, points_make_key(1, key), &l, &how, err));
}

static int fail(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return fail_1(m, -EIO);
}

static int find_none(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return fail_1(m, IPCMAP_NOTFOUND);
}

SCENARIO(fill_fails, "fill that fails", twenty_without_1, fail, 1, .least = 4)
SCENARIO(fill_none, "fill with a negative result", twenty_without_1, find_none, 1, .least = 14)

/* ---- writes that void a lease ---- */

static int put_over_lease(struct ipcmap *m, uint32_t i)
{
	(void)i;
	lead(m, 1);
	return points_store(m, 1, 60, 1, 0);
}

/* The key is not there, and its lease goes. */
static int del_under_lease(struct ipcmap *m, uint32_t i)
{
	int r;

	(void)i;
	lead(m, 1);
	r = points_del(m, 1);
	return r == IPCMAP_NOTFOUND ? 0 : r;
}

static int del_prefix_under_leases(struct ipcmap *m, uint32_t i)
{
	(void)i;
	lead(m, 1);
	lead(m, 199);
	points_step_in();
	return points_step_out(ipcmap_del_prefix(m, "key-1", 5, NULL));
}

static void thirty_of_1(struct ipcmap *m)
{
	points_put_many(m, 2, 28, 700);
	for (uint32_t i = 10; i < 20; i++)
		points_note(i, 0);
}

SCENARIO(put_leased, "put of a leased key", twenty_without_1, put_over_lease, 1, .least = 14)
SCENARIO(del_leased, "del of a leased key", twenty_without_1, del_under_lease, 1, .least = 6)
SCENARIO(del_prefix_leased, "delete by prefix, with leases", thirty_of_1,
	 del_prefix_under_leases, 1, .least = 90, .loose = true)

static CU_TestInfo tests[] = {
	{"killed in a fill", points__fill},
	{"killed in a fill with a large value", points__fill_large},
	{"killed in a fill of an expired key", points__fill_expired},
	{"killed in a fill that fails", points__fill_fails},
	{"killed in a fill with a negative result", points__fill_none},
	{"killed in a put that voids a lease", points__put_leased},
	{"killed in a del that voids a lease", points__del_leased},
	{"killed in a delete by prefix that voids leases", points__del_prefix_leased},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of fills", tests)
