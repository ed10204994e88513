/* SPDX-License-Identifier: MIT */
/*
 * t-points-full.c - killed in maps without room: entries that do not pack, memory that only
 * other shards' expired entries can give, versions that find none
 */
#include "points.h"

#include "map.h"
#include "os.h"

#define HOUR (UINT64_C(3600) * 1000000000)

/* ---- one shard ---- */

/* Full; then a few go, so that what is left fills the extents but for less than an entry. */
static void nearly_full(struct ipcmap *m)
{
	uint32_t n = 1;
	int r = 0;

	for (; n < 1500 && !r; n++) {
		r = points_store(m, n, 700, 1, 0);
		if (!r)
			points_note(n, -1);
	}
	T_MUST(r == IPCMAP_LIMIT);
	for (uint32_t i = 20; i < n; i += 20)
		T_MUST(points_del(m, i) == 0 || i == n - 1);
	for (uint32_t i = 0; i < 30; i++)
		points_note(3000 + i, (int)i);
}

/* May find no room, and then changes nothing that is seen. */
static int put_or_not(struct ipcmap *m, uint32_t i)
{
	int r = points_store(m, 3000 + i, 1500, 1, 0);

	return r == IPCMAP_LIMIT ? 0 : r;
}

SCENARIO(tight, "puts into a map nearly full", nearly_full, put_or_not, 30, .least = 20)

static int put_large_or_not(struct ipcmap *m, uint32_t i)
{
	int r = points_store(m, 3000 + i, 30000, 1, 0);

	return r == IPCMAP_LIMIT ? 0 : r;
}

SCENARIO(tight_large, "large puts into a map nearly full", nearly_full, put_large_or_not, 2,
	 .least = 20)

/* Buckets in overflow extents that could be fewer, and nowhere to put them together. */
static void full_of_overflows(struct ipcmap *m)
{
	int r = 0;

	for (uint32_t i = 0; i < 4; i++)
		points_put_in_bucket(m, 255, i, 14);
	for (uint32_t i = 30000; i < 34500; i++)
		T_MUST(points_store(m, i, 40, 1, 0) == 0);
	for (uint32_t i = 30000; i < 34500; i++)
		if (i % 60)
			T_MUST(points_del(m, i) == 0);
	for (uint32_t i = 1; i < 3000 && !r; i++)
		r = points_store(m, 40000 + i, 700, 1, 0);
	T_MUST(r == IPCMAP_LIMIT);
}

static int compact(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_compact(m, NULL);
}

SCENARIO(compact, "compact, no memory left", full_of_overflows, compact, 1, .least = 100)

/* ---- two shards ---- */

/*
 * Shard 0 has all the memory, for entries that have expired and that nobody has met: for the
 * process that operates, whose clock is ahead.
 */
static void expired_elsewhere(struct ipcmap *m)
{
	int r = 0;

	for (uint32_t n = 0; n < 1200 && !r; n++)
		r = points_store(m, points_pick(m, 0, 0, 0), 1200, 1, HOUR);
	T_MUST(r == IPCMAP_LIMIT);
	for (uint32_t n = 0; n < 24; n++)
		points_note(points_pick(m, 1, 0, 0), (int)n);
}

static uint64_t two_hours_later(void)
{
	return im_os_real.coarse() + 2 * HOUR;
}

static int put_later(struct ipcmap *m, uint32_t id, uint32_t len)
{
	static struct im_os os;
	int r;

	os = im_os_real;
	os.coarse = two_hours_later;
	im_os = &os;
	r = points_store(m, id, len, 1, 0);
	im_os = &im_os_real;
	return r;
}

static int put_in_shard_1(struct ipcmap *m, uint32_t i)
{
	return put_later(m, points->id[i], 1900);
}

SCENARIO(expired, "puts that meet the expired of another shard", expired_elsewhere,
	 put_in_shard_1, 24, .shards = 2, .least = 100)

static int put_large_in_shard_1(struct ipcmap *m, uint32_t i)
{
	return i ? 0 : put_later(m, points->id[0], 30000);
}

SCENARIO(expired_large, "large put that meets the expired of another shard", expired_elsewhere,
	 put_large_in_shard_1, 1, .shards = 2, .least = 100)

/* ---- snapshots ---- */

static int publish(struct ipcmap *m, const char *table, uint32_t seq, uint32_t n)
{
	static unsigned char val[64][3000];
	static char key[64][16];
	struct ipcmap_pair pairs[64];
	uint64_t version, x = seq + 1;

	for (size_t i = 0; i < sizeof(val); i++) /* that does not pack */
		val[i / sizeof(val[0])][i % sizeof(val[0])] = (unsigned char)load_random(&x);
	for (uint32_t i = 0; i < n; i++)
		pairs[i] = (struct ipcmap_pair){key[i], (size_t)sprintf(key[i], "s-%u", i), val[i],
						sizeof(val[i])};
	points_step_in();
	return points_step_out(ipcmap_snapshot_publish(m, table, pairs, n, &version, NULL, 0));
}

/* The map is full of live data and of versions: one of these must go. */
static void full_of_versions(struct ipcmap *m)
{
	int r = 0;

	points_note(POINTS_SNAPSHOT, 0);
	for (uint32_t i = 0; i < 4; i++)
		T_MUST(publish(m, "table", i, 12) == 0);
	for (uint32_t n = 1; n < 1500 && !r; n++) {
		r = points_store(m, n, 700, 1, 0);
		if (!r)
			points_note(n, -1);
	}
	T_MUST(r == IPCMAP_LIMIT);
}

static int publish_in_full(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return publish(m, "table", 77, 12);
}

SCENARIO(versions, "snapshot, no room but that of versions", full_of_versions, publish_in_full,
	 1, .least = 40)

/* No entry for a table was never used; one is of a dropped table, with a version held yet. */
static void tables_used_up(struct ipcmap *m)
{
	struct ipcmap_snapshot *held;
	char table[16];

	points_note(POINTS_SNAPSHOT, 0);
	for (unsigned i = 0; i < m->seg->user_geo[FMT_GEO_TABLES]; i++) {
		sprintf(table, "x%u", i);
		T_MUST(publish(m, table, 1, 1) == 0);
	}
	T_MUST(ipcmap_snapshot_open(m, "x5", 0, &held) == 0);
	T_MUST(ipcmap_snapshot_drop(m, "x5") == 0);
	ipcmap_snapshot_close(held);
}

static int publish_first(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return publish(m, "table", 77, 12);
}

SCENARIO(tables, "snapshot, in a dropped table's entry", tables_used_up, publish_first, 1,
	 .least = 40)

static CU_TestInfo tests[] = {
	{"killed in puts into a map nearly full", points__tight},
	{"killed in large puts into a map nearly full", points__tight_large},
	{"killed in a compaction of a full map", points__compact},
	{"killed in meeting the expired of another shard", points__expired},
	{"killed in meeting them for a large value", points__expired_large},
	{"killed in a publication in a full map", points__versions},
	{"killed in a publication of one more table", points__tables},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of full maps", tests)
