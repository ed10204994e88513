/* SPDX-License-Identifier: MIT */
/*
 * t-points-rare.c - killed in what few maps come to: overflow extents that become fewer, the
 * dead in heads, buckets of far keys, snapshots over their share
 */
#include "points.h"

#include "map.h"

#define SHORT UINT64_C(200000000)
#define HOUR (UINT64_C(3600) * 1000000000)

/* ---- compaction ---- */

static int compact(struct ipcmap *m, unsigned flags,
		   int (*progress)(void *, uint64_t, uint64_t))
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	unsigned asked = 0;

	how.flags = flags;
	how.progress = progress;
	how.arg = &asked;
	return points_compact(m, &how);
}

static int compact_all(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return compact(m, 0, NULL);
}

static int compact_expired(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return compact(m, IPCMAP_COMPACT_EXPIRED, NULL);
}

/*
 * Several extents of overflow buckets; then few keys are left, but some chains keep theirs:
 * their buckets are put together in fewer extents.
 */
static void many_overflows(struct ipcmap *m)
{
	for (uint32_t i = 0; i < 4; i++)
		points_put_in_bucket(m, 255, i, 14);
	for (uint32_t i = 30000; i < 34500; i++)
		T_MUST(points_store(m, i, 40, 1, 0) == 0);
	for (uint32_t i = 30000; i < 34500; i++)
		if (i % 60)
			T_MUST(points_del(m, i) == 0);
		else
			points_note(i, -1);
	T_MUST(m->shards[0].n_ovf_ext > 1);
}

SCENARIO(overflows, "compact, overflow extents", many_overflows, compact_all, 1, .least = 300)

static void some_expired(struct ipcmap *m)
{
	for (uint32_t i = 1; i <= 60; i++) {
		points_note(i, -1);
		T_MUST(points_store(m, i, i % 10 == 5 ? 5000 : 600, 1, i % 3 ? 1 : 0) == 0);
	}
	t_sleep_ms(60);
}

SCENARIO(expired, "compact, the expired only", some_expired, compact_expired, 1, .least = 60)

static void two_sparse_shards(struct ipcmap *m)
{
	for (uint32_t i = 1; i <= 240; i++) {
		points_note(i, -1);
		T_MUST(points_store(m, i, i % 40 == 5 ? 5000 : 500, 1, i % 3 ? 0 : 1) == 0);
	}
	for (uint32_t i = 1; i <= 240; i++)
		if (i % 3 && i % 5)
			T_MUST(points_del(m, i) == 0);
	t_sleep_ms(60);
}

/* Stops when it is asked for the third time. */
static int stop_soon(void *arg, uint64_t done, uint64_t of)
{
	unsigned *asked = arg;

	return ++*asked == 3 || done > of;
}

static int go_on(void *arg, uint64_t done, uint64_t of)
{
	(void)arg;
	return done > of;
}

static int compact_twice(struct ipcmap *m, uint32_t i)
{
	int r = compact(m, 0, i ? go_on : stop_soon);

	return i ? r : r != IPCMAP_INTERRUPTED;
}

SCENARIO(shards, "compact, stopped and begun again, two shards", two_sparse_shards,
	 compact_twice, 2, .shards = 2, .least = 100)

/* ---- the dead in heads ---- */

/* Full of live data but for some that expired, just written: cleaning has nothing to gain. */
static void dead_in_heads(struct ipcmap *m)
{
	uint32_t n = 1;
	int r = 0;

	for (; n < 1500 && !r; n++) {
		r = points_store(m, n, 700, 1, 0);
		if (!r)
			points_note(n, -1);
	}
	T_MUST(r == IPCMAP_LIMIT);
	for (uint32_t i = 1; i <= 20; i++)
		T_MUST(points_del(m, i * 9) == 0);
	r = 0;
	for (uint32_t i = 1; i <= 40 && !r; i++) {
		points_note(2000 + i, -1);
		r = points_store(m, 2000 + i, 600, 1, SHORT);
	}
	t_sleep_ms(300);
	for (uint32_t i = 0; i < 4; i++)
		points_note(3000 + i, (int)i);
}

/* May find no room, and then changes nothing that is seen. */
static int put_more(struct ipcmap *m, uint32_t i)
{
	int r = points_store(m, 3000 + i, 600, 1, 0);

	return r == IPCMAP_LIMIT ? 0 : r;
}

SCENARIO(heads, "puts when only heads hold the dead", dead_in_heads, put_more, 4, .least = 20)

/* ---- keys of their own extents ---- */

/* 152 keys in 16 buckets, so that one more splits bucket 0, in which some are far. */
static void far_in_bucket_0(struct ipcmap *m)
{
	uint32_t n = 0;

	for (uint32_t id = POINTS_FAR; n < 6; id++) {
		if ((points_hash_of(m, id) & 15) != 0)
			continue;
		points_put(m, id, 100, 1);
		n++;
	}
	for (uint32_t b = 1; b < 16; b++)
		points_put_in_bucket(m, 15, b, b < 15 ? 9 : 20);
	points->aux[0] = points_pick(m, 0, 15, 7);
	points_note(points->aux[0], 0);
}

static int put_aux(struct ipcmap *m, uint32_t i)
{
	return points_store(m, points->aux[i], 40, 1, 0);
}

SCENARIO(split_far, "split of far keys", far_in_bucket_0, put_aux, 1, .least = 20)

/* ---- lives ---- */

static void long_life(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_note(1, 0);
	T_MUST(points_store(m, 1, 60, 1, HOUR) == 0);
}

static int put_and_keep(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = i ? 2 * HOUR : IPCMAP_TTL_KEEP;
	how.jitter = i ? 20 : 0;
	points_step_in();
	return points_step_out(ipcmap_put(m, "key-1", 5, "kept", 4, &how));
}

SCENARIO(keep_life, "put, life kept", long_life, put_and_keep, 2, .least = 9)

/* ---- snapshots ---- */

static int publish_much(struct ipcmap *m, uint32_t seq)
{
	static unsigned char val[24][6000];
	static char key[24][16];
	struct ipcmap_pair pairs[24];
	uint64_t x = seq + 1;

	for (size_t i = 0; i < sizeof(val); i++) /* that does not pack */
		val[i / sizeof(val[0])][i % sizeof(val[0])] = (unsigned char)load_random(&x);
	for (uint32_t i = 0; i < 24; i++)
		pairs[i] = (struct ipcmap_pair){key[i], (size_t)sprintf(key[i], "s-%u", i), val[i],
						sizeof(val[i])};
	points_step_in();
	return points_step_out(ipcmap_snapshot_publish(m, "table", pairs, 24, NULL, NULL, 0));
}

/* Three versions fit into half of the limit; the next one drops one. */
static void much_published(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_note(POINTS_SNAPSHOT, 0);
	for (uint32_t i = 1; i < 4; i++)
		T_MUST(publish_much(m, i) == 0);
}

static int publish_more(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return publish_much(m, 77);
}

SCENARIO(share, "snapshot, no room for all versions", much_published, publish_more, 1,
	 .least = 40)

static CU_TestInfo tests[] = {
	{"killed in putting overflow buckets together", points__overflows},
	{"killed in a compaction of the expired", points__expired},
	{"killed in a compaction of two shards", points__shards},
	{"killed in clearing the dead of heads", points__heads},
	{"killed in a split of far keys", points__split_far},
	{"killed in a put that keeps a life", points__keep_life},
	{"killed in making room for a version", points__share},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of rare work", tests)
