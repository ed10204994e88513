/* SPDX-License-Identifier: MIT */
/*
 * t-told.c - what is told of a map whose writer was killed agrees with what successors find
 */
#include "load.h"

#include "crash.h"

#include <signal.h>

#if HAVE_POINTS

static const char *name;
static uint32_t passes;

static void die(const char *point)
{
	if (strcmp(point, "redo.armed") == 0 && --passes == 0)
		raise(SIGKILL);
}

/* Killed when the list of the @arg-th change of a large put is armed and nothing stored. */
static int put_large(void *arg)
{
	static unsigned char val[9000];
	struct ipcmap *m;

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	passes = *(uint32_t *)arg;
	im_crash_hook = die;
	T_MUST(ipcmap_put(m, "large", 5, val, sizeof(val), NULL) == 0);
	return 0;
}

static uint64_t told(unsigned flags)
{
	struct ipcmap *m;
	uint64_t n = 0;

	CU_ASSERT_FATAL(load_open(name, flags, 0, 0, &m) == 0);
	if (!flags)
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	CU_ASSERT(ipcmap_entries(m, &n) == 0);
	ipcmap_close(m);
	return n;
}

/*
 * The extents of a value are freed with the owner slot of their process, and then the write
 * whose list was armed does not happen: ipcmap_entries() had counted it all the same.
 */
static void told__a_write_that_may_be_dropped_is_not_counted(void)
{
	uint32_t n = 0, killed;
	struct ipcmap *m;

	name = T_NAME;
	do {
		uint64_t before;

		CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 1u << 20, 1, &m) == 0);
		CU_ASSERT(ipcmap_put(m, "small", 5, "x", 1, NULL) == 0);
		ipcmap_close(m);
		n++;
		killed = t_killed(t_run(put_large, &n));
		before = told(IPCMAP_RDONLY);
		CU_ASSERT(told(0) == before);
		ipcmap_unlink(name);
	} while (killed);
	CU_ASSERT(n > 1);
}

static CU_TestInfo tests[] = {
	{"a write that may be dropped is not counted",
	 told__a_write_that_may_be_dropped_is_not_counted},
	CU_TEST_INFO_NULL,
};

#else

static void told__needs_crash_points(void)
{
	t_skip("no crash points in this build");
}

static CU_TestInfo tests[] = {
	{"what is told of a map of the dead", told__needs_crash_points},
	CU_TEST_INFO_NULL,
};

#endif

T_SUITE("told", tests)
