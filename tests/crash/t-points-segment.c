/* SPDX-License-Identifier: MIT */
/*
 * t-points-segment.c - killed below the keys: limit, dead owners' extents and slots, creation
 */
#include "points.h"

#include "map.h"
#include "space.h"

#include <signal.h>

static int apply_limit(uint64_t limit)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	int r;

	o.flags = IPCMAP_CREATE | IPCMAP_APPLY;
	o.limit = limit;
	o.max = 2u << 20;
	points_step_in();
	r = points_step_out(ipcmap_open(points_name, &o, &m));
	if (!r)
		ipcmap_close(m);
	return r;
}

static int raise_limit(struct ipcmap *m, uint32_t i)
{
	(void)m;
	return apply_limit(i ? 1u << 20 : 2u << 20);
}

SCENARIO(limit, "limit raised, then lowered", points_twenty, raise_limit, 2, .max = 2u << 20,
	 .least = 6)

/* A process dies with two extents in hand, one of them a chain. */
static int die_with_extents(void *arg)
{
	struct ipcmap *m;
	struct im_wait wait;
	uint32_t a, b;
	uint64_t word;

	(void)arg;
	T_MUST(ipcmap_open(points_name, NULL, &m) == 0);
	im_wait_start(m->seg, 1000000000, &wait);
	T_MUST(im_space_take(m->seg, FMT_NO_EXTENT, &wait, &a, &word) == 0);
	T_MUST(im_space_take(m->seg, FMT_NO_EXTENT, &wait, &a, &word) == 0);
	T_MUST(im_space_take(m->seg, a, &wait, &b, &word) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

static void death_in_slot_2(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	T_MUST(t_killed(t_run(die_with_extents, NULL)));
}

/* This process dies in slot 1, but for its attach; so the next claims that slot. */
static void death_in_slot_1(struct ipcmap *m)
{
	struct im_wait wait;
	uint32_t a, b;
	uint64_t word;

	points_put_many(m, 2, 8, 500);
	for (uint32_t i = 0; i < points->n; i++)
		points->before[i] = points_look(m, points->id[i]);
	im_wait_start(m->seg, 1000000000, &wait);
	T_MUST(im_space_take(m->seg, FMT_NO_EXTENT, &wait, &a, &word) == 0);
	T_MUST(im_space_take(m->seg, a, &wait, &b, &word) == 0);
	_exit(0);
}

static int sweep(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_step_in();
	im_owner_sweep(m->seg);
	points_step_out(0);
	return 0;
}

static int do_nothing(struct ipcmap *m, uint32_t i)
{
	(void)m;
	(void)i;
	return 0;
}

SCENARIO(sweep, "sweep of a dead owner's extents", death_in_slot_2, sweep, 1, .least = 15)
SCENARIO(claim, "claim of a dead owner's slot", death_in_slot_1, do_nothing, 1, .least = 12,
	 .opening = true)

/* ---- creation ---- */

#if HAVE_POINTS
static int child_create(void *arg)
{
	struct ipcmap *m;

	points_watch(*(uint32_t *)arg);
	return load_open(points_name, IPCMAP_CREATE, 1u << 20, 1, &m);
}

/* An attach says that its creator died, or finds it whole; a creator completes it. */
static int child_after_creator(void *arg)
{
	struct ipcmap *m;
	int r = ipcmap_open(points_name, NULL, &m);

	(void)arg;
	T_MUST(r == 0 || r == IPCMAP_NOTMAP || r == IPCMAP_CREATING || r == IPCMAP_NOTFOUND);
	if (r == 0)
		ipcmap_close(m);
	T_MUST(load_open(points_name, IPCMAP_CREATE, 1u << 20, 1, &m) == 0);
	points_write_on(m);
	T_MUST(ipcmap_check(m, load_print, "created: ") == 0);
	ipcmap_close(m);
	return 0;
}

static void points__create(void)
{
	static const struct points_scenario s = {.name = "create"};
	uint32_t n;

	points_scenario = &s;
	points_path = T_PATH;
	points_name = points_path + strlen("/dev/shm");
	CU_ASSERT(points_run(child_create, 0));
	n = points->count;
	for (uint32_t k = 1; k <= n; k++) {
		unlink(points_path);
		CU_ASSERT(t_killed(t_run(child_create, &k)));
		CU_ASSERT(points_run(child_after_creator, 0));
	}
	unlink(points_path);
	points_total.passed += n;
	points_total.tried += n;
	printf("\n    %-44s %5u points, %4u tried ", "create", n, n);
	CU_ASSERT(n >= 8);
}
#endif

static CU_TestInfo tests[] = {
	{"killed in a change of the limit", points__limit},
	{"killed in a sweep", points__sweep},
	{"killed in a claim", points__claim},
#if HAVE_POINTS
	{"killed in a creation", points__create},
#endif
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of the segment", tests)
