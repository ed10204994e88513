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

static int tune(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.limit = i ? 1u << 20 : 2u << 20;
	o.ttl_ns = UINT64_C(1000000000) * 3600;
	o.compress = 100 + i;
	points_step_in();
	return points_step_out(ipcmap_tune(m, &o));
}

SCENARIO(tune, "tune", points_twenty, tune, 2, .max = 2u << 20, .least = 2)
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

SCENARIO(attach, "attach", points_twenty, do_nothing, 1, .least = 1, .opening = true)
SCENARIO(sweep, "sweep of a dead owner's extents", death_in_slot_2, sweep, 1, .least = 15)
SCENARIO(claim, "claim of a dead owner's slot", death_in_slot_1, do_nothing, 1, .least = 12,
	 .opening = true)

static CU_TestInfo tests[] = {
	{"killed in a change of the limit", points__limit},
	{"killed in tuning", points__tune},
	{"killed in a sweep", points__sweep},
	{"killed in a claim", points__claim},
	{"killed in an attach", points__attach},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of the segment", tests)
