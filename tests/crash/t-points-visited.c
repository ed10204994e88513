/* SPDX-License-Identifier: MIT */
/*
 * t-points-visited.c - runs last: the scenarios of t-points-*.c ran, and passed every crash
 * point
 */
#include "trace.h"

#include <glob.h>

/* Without these the tests say little: each must have made so many points or states. */
static const struct {
	const char *name;
	uint32_t points, states;
} required[] = {
	{"create", 8, 20},
	{"create, memory reserved", 8, 20},
	{"attach", 1, 2},
	{"first put of a map", 40, 40},
	{"put, new key", 10, 20},
	{"put, update across extents", 10, 20},
	{"put, update in the same extent", 9, 20},
	{"put, new large value", 60, 40},
	{"put, if version", 9, 20},
	{"put, on an expired slot", 9, 20},
	{"put, compressed", 10, 20},
	{"put, key of its own extents", 40, 40},
	{"put, first overflow bucket", 30, 40},
	{"put, next head", 20, 40},
	{"put, next index extent", 60, 40},
	{"take", 9, 10},
	{"take, large value", 20, 20},
	{"del", 9, 10},
	{"del, large value", 20, 20},
	{"del, last name of an extent", 15, 20},
	{"delete by prefix", 90, 20},
	{"add", 9, 20},
	{"touch", 9, 20},
	{"get that touches", 9, 20},
	{"put, if equal", 9, 20},
	{"put, if equal to a large value", 20, 20},
	{"put that shows a large value", 20, 20},
	{"del, if equal", 9, 10},
	{"split", 20, 40},
	{"split with a chain, compacted", 40, 40},
	{"puts that clean and move", 400, 40},
	{"puts that move entries of large values", 400, 40},
	{"puts that meet the expired", 400, 40},
	{"puts that clean another shard", 600, 40},
	{"put, large value at the limit", 300, 40},
	{"clear", 8, 40},
	{"clear, then puts that reclaim", 500, 40},
	{"compact", 300, 40},
	{"compact, buckets merged into chains", 60, 40},
	{"compact, overflow extents", 300, 40},
	{"compact, the expired only", 60, 40},
	{"puts when only heads hold the dead", 20, 5},
	{"split of far keys", 20, 40},
	{"put, life kept", 9, 20},
	{"limit raised, then lowered", 6, 6},
	{"tune", 2, 2},
	{"sweep of a dead owner's extents", 15, 15},
	{"claim of a dead owner's slot", 12, 10},
	{"group, one shard", 60, 40},
	{"group, four shards", 70, 40},
	{"group, new keys of a full bucket", 60, 40},
	{"group, large value replaced", 50, 40},
	{"group, the first of a map", 150, 40},
	{"group, over all sorts", 40, 40},
	{"group, next index extent", 60, 40},
	{"group that is refused", 10, 5},
	{"group, in a full map", 40, 40},
	{"group, after one that was not ended", 40, 40},
	{"consistent get after a dead writer", 4, 5},
	{"calls with a prefix", 60, 40},
	{"clear with a prefix", 90, 40},
	{"watched, put of a new key", 12, 20},
	{"watched, put over another", 12, 20},
	{"watched, put of large for large", 40, 40},
	{"watched, puts over the expired", 20, 40},
	{"watched, del", 10, 20},
	{"watched, del of a large value", 20, 20},
	{"watched, dels of the expired", 30, 40},
	{"watched, compact of the expired", 30, 40},
	{"watched, add, touch and take", 30, 40},
	{"watched, clear of two shards", 16, 40},
	{"watched, group of one shard", 60, 40},
	{"watched, group of four shards", 60, 40},
	{"watched, put of a key that is cut", 40, 40},
	{"watched, interrupted", 1, 2},
	{"watched, puts into a gap", 80, 40},
	{"watched, puts round the ring", 60, 40},
	{"puts round a ring of the dead", 60, 40},
	{"watch opened, read and closed", 60, 40},
	{"watches beside another", 25, 20},
	{"watches that fall behind", 10, 2},
	{"watch opened, no memory", 4, 3},
	{"watch opened in a full map", 40, 40},
	{"watch opened after a dead one", 10, 20},
	{"fill", 14, 20},
	{"fill, large value", 40, 40},
	{"fill, of an expired key", 14, 20},
	{"fill that fails", 4, 3},
	{"fill that fails again", 6, 6},
	{"fill, the leader is dead", 14, 20},
	{"fill, the table is full of the dead", 14, 20},
	{"fill, the leader is late", 18, 20},
	{"lease, the table is full", 4, 3},
	{"del of an expired leased key", 16, 20},
	{"fill that is too long", 16, 20},
	{"add of a leased key", 14, 20},
	{"group of leased keys", 20, 40},
	{"clear, with a lease", 8, 20},
	{"fills that are refused", 20, 20},
	{"fill, with its loads", 40, 40},
	{"fill with a negative result", 14, 20},
	{"put of a leased key", 14, 20},
	{"del of a leased key", 16, 20},
	{"delete by prefix, with leases", 90, 20},
	{"snapshot, next version", 40, 40},
	{"snapshot, one more than are kept", 40, 40},
	{"snapshot, no room for all versions", 40, 40},
	{"snapshot, rollback", 40, 40},
	{"snapshot, drop", 20, 20},
	{"snapshot, the one before is packed", 40, 40},
	{"snapshot, the one before is held", 40, 40},
	{"snapshot, rollback to a packed one", 40, 40},
	{"snapshot, drop of packed ones", 20, 20},
	{"snapshot, waited for", 25, 40},
	{"calls that are refused", 20, 20},
	{"del, chain made shorter", 20, 20},
	{"puts into a map nearly full", 20, 20},
	{"puts that meet the expired of another shard", 100, 20},
	{"snapshot, no room but that of versions", 40, 5},
	{"snapshot, in a dropped table's entry", 40, 20},
	{"compact, stopped and begun again, two shards", 100, 40},
};

static uint32_t count_missing(void)
{
	uint32_t bad = 0;

	for (uint32_t i = 0; i < ARRAY_LEN(required); i++) {
		uint32_t n = points_of(required[i].name);

		if (n >= (HAVE_POINTS ? required[i].points : required[i].states))
			continue;
		fprintf(stderr, "\n%s: %u points are too few", required[i].name, n);
		bad++;
	}
	return bad;
}

#if HAVE_POINTS
/*
 * Those of snapshots are passed in t-snapshot-points.c, those of repair in t-repair.c, those of
 * who waits in t-bell.c and t-fill-points.c.
 */
static bool elsewhere(const char *point)
{
	static const char *const subject[] = {"snapshot.", "pin.",     "keep.", "view.",
					       "repair.",   "offline.", "bell.", "fill."};

	for (unsigned i = 0; i < sizeof(subject) / sizeof(*subject); i++)
		if (strncmp(point, subject[i], strlen(subject[i])) == 0)
			return true;
	return false;
}

/* Is every crash("name") of the sources among the points that were passed? */
static uint32_t count_unvisited(const char *file)
{
	FILE *f = fopen(file, "r");
	char line[300], *at;
	uint32_t n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "crash(\"");
		if (!at || strncmp(at, "crash(\"read.", 12) == 0)
			continue;
		at += 7;
		if (elsewhere(at))
			continue;
		at[strcspn(at, "\"")] = '\0';
		if (!points_was_passed(at)) {
			fprintf(stderr, "\n%s: crash point %s was never passed", file, at);
			n++;
		}
	}
	if (f)
		fclose(f);
	return n;
}
#endif

static void points__were_all_visited(void)
{
	if (points_total.ran < points_total.scenarios) {
		CU_ASSERT(!t_whole); /* then a suite's name sorts behind this one's */
		t_skip("some suites of crash points did not run");
		return;
	}
#if HAVE_POINTS
	glob_t g;
	uint32_t n = 0;

	if (glob("core/*.c", 0, NULL, &g) || glob("shm/*.c", GLOB_APPEND, NULL, &g)) {
		t_skip("the sources are not here");
		return;
	}
	for (size_t i = 0; i < g.gl_pathc; i++)
		n += count_unvisited(g.gl_pathv[i]);
	globfree(&g);
	CU_ASSERT(n == 0);
	printf("\n    %u names, %u points, %u kills, %u kills of successors ", points_n_names(),
	       points_total.passed, points_total.tried, points_total.nested);
#else
	printf("\n    %llu instructions, %u states between them, %u looked at, and %u that "
	       "%u successors made ",
	       (unsigned long long)points_total.instructions, points_total.passed,
	       points_total.tried, points_total.nested, points_total.successors);
#endif
	if (HAVE_POINTS || TRACE_CAN)
		CU_ASSERT(count_missing() == 0);
}

static CU_TestInfo tests[] = {
	{"every crash point was visited", points__were_all_visited},
	CU_TEST_INFO_NULL,
};

/* the name sorts behind those of the others */
T_SUITE("crash points were visited", tests)
