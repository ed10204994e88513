/* SPDX-License-Identifier: MIT */
/*
 * t-points-index.c - killed in splits, in growing chains, heads and the index
 */
#include "points.h"

#include "map.h"

/* 152 keys in 16 buckets: one more splits bucket 0. @zero of them in bucket 0. */
static void before_split(struct ipcmap *m, uint32_t stay, uint32_t move)
{
	uint32_t rest = 152 - stay - move;

	points_put_in_bucket(m, 31, 16, move);
	points_put_in_bucket(m, 31, 0, stay);
	for (uint32_t b = 1; b < 16; b++)
		points_put_in_bucket(m, 15, b, b < 15 ? rest / 15 : rest - rest / 15 * 14);
	points->aux[0] = points_pick(m, 0, 15, 7);
	points_note(points->aux[0], 0);
	T_MUST((m->shards[0].geometry & FMT_BUCKETS_MASK) == 16);
}

static int put_aux(struct ipcmap *m, uint32_t i)
{
	return points_store(m, points->aux[i], 40, 1, 0);
}

static void split_plain(struct ipcmap *m)
{
	before_split(m, 5, 5);
}

static void split_chain(struct ipcmap *m)
{
	before_split(m, 6, 9);
}

static void split_image(struct ipcmap *m)
{
	before_split(m, 9, 15);
}

SCENARIO(split, "split", split_plain, put_aux, 1, .least = 20)
SCENARIO(split_chain, "split with a chain, compacted", split_chain, put_aux, 1, .least = 40)
SCENARIO(split_image, "split into a chain", split_image, put_aux, 1, .least = 60)

static void full_bucket(struct ipcmap *m)
{
	points_put_in_bucket(m, 15, 3, 11);
	points->aux[0] = points_pick(m, 0, 15, 3);
	points_note(points->aux[0], 0);
}

static void full_chain(struct ipcmap *m)
{
	points_put_in_bucket(m, 15, 4, 12);
	points_put_in_bucket(m, 15, 3, 22);
	points->aux[0] = points_pick(m, 0, 15, 3);
	points_note(points->aux[0], 0);
}

SCENARIO(overflow, "put, first overflow bucket", full_bucket, put_aux, 1, .least = 30)
SCENARIO(overflow_more, "put, one more overflow bucket", full_chain, put_aux, 1, .least = 15)

/* The hot head has less room than the next entry needs. */
static void full_head(struct ipcmap *m)
{
	points_put_many(m, 2, 11, 1200);
	points_note(1, 0);
}

static int put_1_half(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 1900, 9, 0);
}

SCENARIO(head, "put, next head", full_head, put_1_half, 1, .least = 20)

/* 64 buckets fill the first index extent; more than 608 keys, 9.5 of each, call for the 65th. */
static void full_index(struct ipcmap *m)
{
	points_put_many(m, 10, 608, 40);
	T_MUST(m->shards[0].n_index == 1);
	for (uint32_t i = 0; i < 4; i++) {
		points->aux[i] = 2000 + i;
		points_note(points->aux[i], (int)i);
	}
}

SCENARIO(index, "put, next index extent", full_index, put_aux, 4, .least = 60)

/* Chains of three buckets; what goes lies in the first ones, and the rest moves forward. */
static void long_chain(struct ipcmap *m)
{
	points_put_in_bucket(m, 15, 4, 12);
	for (uint32_t i = 0; i < 4; i++) {
		points->aux[i] = points_pick(m, 0, 15, 3);
		points_put(m, points->aux[i], 40, 1);
		points_note(points->aux[i], (int)i);
	}
	points_put_in_bucket(m, 15, 3, 20);
}

static int del_aux(struct ipcmap *m, uint32_t i)
{
	return points_del(m, points->aux[i]);
}

SCENARIO(trim, "del, chain made shorter", long_chain, del_aux, 4, .least = 20)

static CU_TestInfo tests[] = {
	{"killed in a split", points__split},
	{"killed in a split with a chain", points__split_chain},
	{"killed in a split into a chain", points__split_image},
	{"killed in growing a chain", points__overflow},
	{"killed in growing a longer chain", points__overflow_more},
	{"killed in a change of heads", points__head},
	{"killed in growing the index", points__index},
	{"killed in making a chain shorter", points__trim},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of the index", tests)
