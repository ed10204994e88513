/* SPDX-License-Identifier: MIT */
/*
 * t-points-snapshots.c - killed in publications, rollback and drop, seen with the keys around
 */
#include "points.h"

static int publish(struct ipcmap *m, uint32_t seq, uint32_t n, uint32_t len)
{
	static unsigned char val[3000];
	static char key[64][16];
	struct ipcmap_pair pairs[64];

	memset(val, (int)seq, sizeof(val));
	for (uint32_t i = 0; i < n; i++)
		pairs[i] = (struct ipcmap_pair){key[i], (size_t)sprintf(key[i], "s-%u", i), val,
						len};
	points_step_in();
	return points_step_out(ipcmap_snapshot_publish(m, "table", pairs, n, NULL, NULL, 0));
}

static void no_snapshot(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_note(POINTS_SNAPSHOT, 0);
}

static void one_snapshot(struct ipcmap *m)
{
	no_snapshot(m);
	T_MUST(publish(m, 1, 9, 100) == 0);
}

/* As many as are kept: the next one drops the oldest. */
static void many_snapshots(struct ipcmap *m)
{
	no_snapshot(m);
	for (uint32_t i = 1; i < 12; i++)
		T_MUST(publish(m, i, 9, 1000) == 0);
}

static int publish_next(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return publish(m, 77, 20, 700);
}

static int roll_back(struct ipcmap *m, uint32_t i)
{
	uint64_t version;

	(void)i;
	points_step_in();
	return points_step_out(ipcmap_snapshot_rollback(m, "table", 0, &version));
}

static int drop(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_step_in();
	return points_step_out(ipcmap_snapshot_drop(m, "table"));
}

/* Held, replaced until it is not kept any more, let go. */
static int hold_and_replace(struct ipcmap *m, uint32_t i)
{
	static struct ipcmap_snapshot *snap;
	int r = 0;

	points_step_in();
	if (i == 0)
		return points_step_out(ipcmap_snapshot_open(m, "table", 0, &snap));
	for (uint32_t k = 0; i == 1 && k < 10 && !r; k++)
		r = publish(m, 1, 9, 100);
	points_step_in();
	if (i == 2)
		ipcmap_snapshot_close(snap);
	points_step_out(0);
	return i < 3 ? r : publish(m, 2, 9, 100);
}

static void held_snapshot(struct ipcmap *m)
{
	one_snapshot(m);
	points_note(POINTS_SNAPSHOT, 3);
}

SCENARIO(publish, "snapshot, first version", no_snapshot, publish_next, 1, .least = 40)
SCENARIO(publish_next, "snapshot, next version", one_snapshot, publish_next, 1, .least = 40)
SCENARIO(publish_drop, "snapshot, one more than are kept", many_snapshots, publish_next, 1,
	 .least = 40)
SCENARIO(roll_back, "snapshot, rollback", many_snapshots, roll_back, 1, .least = 40)
SCENARIO(drop, "snapshot, drop", many_snapshots, drop, 1, .least = 20)
SCENARIO(hold, "snapshot, held and let go", held_snapshot, hold_and_replace, 4, .least = 100)

static CU_TestInfo tests[] = {
	{"killed in a first publication", points__publish},
	{"killed in a publication", points__publish_next},
	{"killed in a publication that drops a version", points__publish_drop},
	{"killed in a rollback", points__roll_back},
	{"killed in a drop of a table", points__drop},
	{"killed while a version is held", points__hold},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of snapshots", tests)
