/* SPDX-License-Identifier: MIT */
/*
 * t-points-cleaning.c - killed in cleaning, and in making room at the limit
 */
#include "points.h"

#include "map.h"
#include "space.h"

/* Live data of about half the map, the rest garbage: every write cleans. */
static void half_garbage(struct ipcmap *m)
{
	uint64_t x = 88172645463325252u;

	points_put_many(m, 1, 580, 900);
	for (uint32_t i = 0; i < 1500; i++)
		points_put(m, 1 + (uint32_t)(load_random(&x) % 580), 900, 2 + i);
	for (uint32_t i = 1; i <= 30; i++)
		points_note(i, (int)i - 1);
}

static int put_ith(struct ipcmap *m, uint32_t i)
{
	return points_store(m, i + 1, 1000, 1, 0);
}

SCENARIO(cleaning, "puts that clean and move", half_garbage, put_ith, 30, .least = 400)

/* Large values among them, whose entries move and whose extents stay. */
static void garbage_and_large(struct ipcmap *m)
{
	uint64_t x = 88172645463325252u;

	for (uint32_t i = 1; i <= 480; i++)
		points_put(m, i, i % 20 ? 900 : 3000, 1);
	for (uint32_t i = 0; i < 1200; i++) {
		uint32_t id = 1 + (uint32_t)(load_random(&x) % 480);

		points_put(m, id, id % 20 ? 900 : 3000, 2 + i);
	}
	for (uint32_t i = 1; i <= 30; i++)
		points_note(i, (int)i - 1);
}

SCENARIO(cleaning_large, "puts that move entries of large values", garbage_and_large, put_ith,
	 30, .least = 400)

static void half_expired(struct ipcmap *m)
{
	for (uint32_t i = 1; i <= 300; i++) {
		points_note(i, -1);
		T_MUST(points_store(m, i, 900, 1, i % 4 ? 1 : 0) == 0);
		if (i % 30 == 7)
			T_MUST(points_store(m, i, 5000, 1, 1) == 0);
	}
	t_sleep_ms(60);
	for (uint32_t i = 400; i < 900; i++)
		T_MUST(points_store(m, 1 + i % 2 * 3, 1500, i, 0) == 0);
	for (uint32_t i = 1; i <= 40; i++)
		points_note(i, (int)i - 1);
}

SCENARIO(dropping, "puts that meet the expired", half_expired, put_ith, 40, .least = 400)

/* Nearly full of live data, in two shards: room comes from wherever it can. */
static void full_of_shard_0(struct ipcmap *m)
{
	uint32_t ids[800], n = 0, id = 0;
	int r = 0;

	for (; n < 800 && !r; n++) {
		ids[n] = points_pick(m, 0, 0, 0);
		r = points_store(m, ids[n], 1200, 1, 0);
		if (!r)
			points_note(ids[n], -1);
	}
	T_MUST(r == IPCMAP_LIMIT);
	for (uint32_t i = 0; i + 1 < n; i++)
		if (i % 3)
			T_MUST(points_del(m, ids[i]) == 0);
	/* shard 1 takes what is free; from here on it needs what shard 0 hoards */
	while (!im_space_short(m->seg)) {
		id = points_pick(m, 1, 0, 0);
		points_put(m, id, 1900, 1);
	}
	for (uint32_t i = 0; i < 4; i++)
		points->aux[i] = points_pick(m, 1, 0, 0);
	for (uint32_t i = 0; i < 24; i++) {
		id = points_pick(m, 1, 0, 0);
		points_note(id, (int)i);
		points->aux[0] = i ? points->aux[0] : id;
	}
}

static int put_in_shard_1(struct ipcmap *m, uint32_t i)
{
	for (uint32_t k = 0; k < points->n; k++)
		if (points->step[k] == (int)i)
			return points_store(m, points->id[k], 1900, 1, 0);
	return 1;
}

SCENARIO(foreign, "puts that clean another shard", full_of_shard_0, put_in_shard_1, 24,
	 .shards = 2, .least = 600)

static int put_large_at_limit(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 40000, 1, 0);
}

static void large_at_limit(struct ipcmap *m)
{
	full_of_shard_0(m);
	for (uint32_t k = 0; k < points->n; k++)
		points->step[k] = -1;
	points_note(1, 0);
}

SCENARIO(large_room, "put, large value at the limit", large_at_limit, put_large_at_limit, 1,
	 .shards = 2, .least = 300)

/* A map nearly full of live data: deletes always work, also the one that frees an extent. */
static void full_live(struct ipcmap *m)
{
	int r = 0;

	for (uint32_t i = 1; i < 1500 && !r; i++) {
		r = points_store(m, i, 700, 1, 0);
		if (!r)
			points_note(i, i <= 10 ? (int)i - 1 : -1);
	}
	T_MUST(r == IPCMAP_LIMIT);
}

static int del_ith(struct ipcmap *m, uint32_t i)
{
	return points_del(m, i + 1);
}

SCENARIO(full_del, "deletes in a full map", full_live, del_ith, 10, .least = 60)

static CU_TestInfo tests[] = {
	{"killed in cleaning", points__cleaning},
	{"killed in cleaning around large values", points__cleaning_large},
	{"killed in dropping the expired", points__dropping},
	{"killed in cleaning another shard", points__foreign},
	{"killed in making room for a large value", points__large_room},
	{"killed in deletes of a full map", points__full_del},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of cleaning", tests)
