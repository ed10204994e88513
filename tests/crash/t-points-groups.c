/* SPDX-License-Identifier: MIT */
/*
 * t-points-groups.c - killed in a group commit: all of it, or none
 */
#include "points.h"

static unsigned char keys[40][20];
static struct ipcmap_change changes[40];
static uint32_t n;
static char text[40][64];

static void begin_group(void)
{
	n = 0;
	memset(changes, 0, sizeof(changes));
}

static void add(uint32_t id, const char *val, size_t len)
{
	changes[n].key = keys[n];
	changes[n].key_len = points_make_key(id, keys[n]);
	changes[n].val = val;
	changes[n].val_len = len;
	if (!val)
		changes[n].flags = IPCMAP_CHANGE_DEL;
	n++;
}

static int commit(struct ipcmap *m)
{
	points_step_in();
	return points_step_out(ipcmap_commit(m, changes, n, 0));
}

/* Keys 1 to 6 are there; 7 to 9 are not. */
static void some_keys(struct ipcmap *m)
{
	points_put_many(m, 20, 8, 300);
	for (uint32_t id = 1; id <= 9; id++)
		points_note(id, 0);
	for (uint32_t id = 1; id <= 6; id++)
		T_MUST(points_store(m, id, 100, id, 0) == 0);
}

static int change_some(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	for (uint32_t id = 1; id <= 9; id++) {
		int len = snprintf(text[id], sizeof(text[id]), "group %u", id);

		add(id, id == 2 || id == 5 ? NULL : text[id], id == 2 || id == 5 ? 0 : (size_t)len);
	}
	return commit(m);
}

SCENARIO(group_of_one_shard, "group, one shard", some_keys, change_some, 1, .group = true,
	 .least = 20)
SCENARIO(group_of_shards, "group, four shards", some_keys, change_some, 1, .shards = 4, .group = true,
	 .least = 20)

/* A chain that is full, and new keys for it: slots are made before the commit. */
static void full_bucket(struct ipcmap *m)
{
	points_put_in_bucket(m, 15, 3, 11);
	for (unsigned k = 0; k < ARRAY_LEN(points->aux); k++) {
		points->aux[k] = points_pick(m, 0, 15, 3);
		points_note(points->aux[k], 0);
	}
}

static int many_new(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	for (unsigned k = 0; k < ARRAY_LEN(points->aux); k++)
		add(points->aux[k], "new", 3);
	return commit(m);
}

SCENARIO(group_of_new_keys, "group, new keys of a full bucket", full_bucket, many_new, 1, .group = true,
	 .least = 20)

/* A large value is replaced by a group, which needs the shard's place for what is to be freed. */
static void one_large(struct ipcmap *m)
{
	points_put_many(m, 20, 8, 300);
	for (uint32_t id = 1; id <= 3; id++)
		points_note(id, 0);
	T_MUST(points_store(m, 1, 20000, 1, 0) == 0);
	T_MUST(points_store(m, 2, 100, 2, 0) == 0);
}

static int replace_large(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	add(1, "short", 5);
	add(2, NULL, 0);
	add(3, "more", 4);
	return commit(m);
}

SCENARIO(group_of_large, "group, large value replaced", one_large, replace_large, 1, .group = true,
	 .least = 20)

/* The first put of a map is a group, of two shards. */
static void nothing(struct ipcmap *m)
{
	(void)m;
	for (uint32_t id = 1; id <= 6; id++)
		points_note(id, 0);
}

static int first_ones(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	for (uint32_t id = 1; id <= 6; id++)
		add(id, "first", 5);
	return commit(m);
}

SCENARIO(group_of_first_keys, "group, the first of a map", nothing, first_ones, 1, .shards = 2, .group = true,
	 .least = 40)

static CU_TestInfo tests[] = {
	{"killed in a group of one shard", points__group_of_one_shard},
	{"killed in a group of four shards", points__group_of_shards},
	{"killed in a group of new keys", points__group_of_new_keys},
	{"killed in a group that replaces a large value", points__group_of_large},
	{"killed in the first group of a map", points__group_of_first_keys},
	CU_TEST_INFO_NULL,
};
T_SUITE("crash points of groups", tests)
