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

/* Several extents, which pack into one. */
static int publish_long(struct ipcmap *m, uint32_t seq)
{
	return publish(m, seq, 9, 1000 + seq);
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

/* ---- packed: versions before the current one are stored anew ---- */

/* The first is packed already, the second will be, by the next publication. */
static void one_to_pack(struct ipcmap *m)
{
	no_snapshot(m);
	points_note(POINTS_OLD, -1);
	T_MUST(publish_long(m, 1) == 0 && publish_long(m, 2) == 0);
	points->old = 2;
}

static int publish_and_pack(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return publish_long(m, 3);
}

/* It is held while the next version comes, so it stays as it is. */
static int publish_over_held(struct ipcmap *m, uint32_t i)
{
	static struct ipcmap_snapshot *snap;

	if (i == 1)
		return publish_long(m, 3);
	points_step_in();
	if (i == 0)
		return points_step_out(ipcmap_snapshot_open(m, "table", 0, &snap));
	ipcmap_snapshot_close(snap);
	return points_step_out(0);
}

static void one_to_hold(struct ipcmap *m)
{
	one_to_pack(m);
	points_note(POINTS_SNAPSHOT, 1);
}

/* What was packed is the current one again. */
static int roll_back_to_packed(struct ipcmap *m, uint32_t i)
{
	uint64_t version;

	(void)i;
	points_step_in();
	return points_step_out(ipcmap_snapshot_rollback(m, "table", 1, &version));
}

static void packed_to_drop(struct ipcmap *m)
{
	one_to_pack(m);
	points_note(POINTS_OLD, 0);
}

/* ---- waited for ---- */

static int wait_for_next(struct ipcmap *m, uint32_t i)
{
	uint64_t version = 0;
	int r;

	if (i == 1)
		return publish(m, 2, 9, 100);
	points_step_in();
	r = ipcmap_snapshot_wait(m, "table", 1, i ? IPCMAP_FOREVER : 1000, &version);
	r = points_step_out(r);
	if (i == 0) /* for a table that is not there */
		return r != IPCMAP_BUSY ||
		       ipcmap_snapshot_wait(m, "none", 0, 1000, &version) != IPCMAP_BUSY;
	return r || version != 2;
}

static void one_to_wait_for(struct ipcmap *m)
{
	one_snapshot(m);
	points_note(POINTS_SNAPSHOT, 1);
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
SCENARIO(pack, "snapshot, the one before is packed", one_to_pack, publish_and_pack, 1, .least = 40, .sampled = true)
SCENARIO(pack_held, "snapshot, the one before is held", one_to_hold, publish_over_held, 3,
	 .least = 40, .sampled = true)
SCENARIO(roll_back_packed, "snapshot, rollback to a packed one", one_to_pack, roll_back_to_packed,
	 1, .least = 40, .sampled = true)
SCENARIO(drop_packed, "snapshot, drop of packed ones", packed_to_drop, drop, 1, .least = 20, .sampled = true)
SCENARIO(waited_for, "snapshot, waited for", one_to_wait_for, wait_for_next, 3, .least = 25, .sampled = true)

static CU_TestInfo tests[] = {
	{"killed in a first publication", points__publish},
	{"killed in a publication", points__publish_next},
	{"killed in a publication that drops a version", points__publish_drop},
	{"killed in a rollback", points__roll_back},
	{"killed in a drop of a table", points__drop},
	{"killed while a version is held", points__hold},
	{"killed while the version before is packed", points__pack},
	{"killed in a publication over a held version", points__pack_held},
	{"killed in a rollback to a packed version", points__roll_back_packed},
	{"killed in a drop of packed versions", points__drop_packed},
	{"killed in a publication that is waited for", points__waited_for},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of snapshots", tests)
