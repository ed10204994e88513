/* SPDX-License-Identifier: MIT */
/*
 * t-points-visited.c - runs last: the scenarios of t-points-*.c passed every crash point
 */
#include "points.h"

#include <glob.h>

#if HAVE_POINTS
/* Those of snapshots are passed in t-snapshot-points.c. */
static bool elsewhere(const char *point)
{
	static const char *const subject[] = {"snapshot.", "pin.", "keep.", "view."};

	for (unsigned i = 0; i < 4; i++)
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
	printf("\n    %u states between instructions, %u looked at ", points_total.passed,
	       points_total.tried);
#endif
}

static CU_TestInfo tests[] = {
	{"every crash point was visited", points__were_all_visited},
	CU_TEST_INFO_NULL,
};

/* the name sorts behind those of the others */
T_SUITE("crash points were visited", tests)
