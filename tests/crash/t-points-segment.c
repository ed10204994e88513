/* SPDX-License-Identifier: MIT */
/*
 * t-points-segment.c - killed below the keys: limit, dead owners' extents and slots, creation
 */
#include "points.h"
#include "crash.h"

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

/* Two extents, one of them a chain; what is left of them goes at the detach. */
static int take_extents(struct ipcmap *m, uint32_t i)
{
	struct im_wait wait;
	uint32_t a, b;
	uint64_t word;
	int r;

	(void)i;
	im_wait_start(m->seg, 1000000000, &wait);
	points_step_in();
	r = im_space_take(m->seg, FMT_NO_EXTENT, &wait, &a, &word);
	if (!r)
		r = im_space_take(m->seg, a, &wait, &b, &word);
	return points_step_out(r);
}

static void eight(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
}

SCENARIO(in_hand, "detach with extents in hand", eight, take_extents, 1, .least = 4)

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

/* ---- the space lock is another process's, which is alive ---- */

static pid_t holder;

static int hold_space_lock(void *arg)
{
	struct im_wait wait;
	struct ipcmap *m;

#if HAVE_POINTS
	im_crash_hook = NULL; /* it is not the one to die, and passes no points for it */
#endif
	T_MUST(ipcmap_open(points_name, NULL, &m) == 0);
	im_wait_start(m->seg, IM_FOREVER, &wait);
	T_MUST(im_lock(m->seg, &m->seg->h->space.lock, &wait) == IM_TAKEN);
	t_gate_pass(arg);
	pause();
	return 1;
}

static void let_it_be_held(void)
{
	struct t_gate gate;

	t_gate_open(&gate);
	holder = t_run(hold_space_lock, &gate);
	t_gate_wait(&gate);
	t_gate_close(&gate);
}

static int del_now(struct ipcmap *m, uint32_t id)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[20];
	size_t n = points_make_key(id, key);

	how.deadline_ns = IPCMAP_NOWAIT;
	points_step_in();
	return points_step_out(ipcmap_delx(m, key, n, &how));
}

static int put_now(struct ipcmap *m, uint32_t id, size_t len)
{
	static const unsigned char val[20000];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[20];
	size_t n = points_make_key(id, key);

	how.deadline_ns = IPCMAP_NOWAIT;
	points_step_in();
	return points_step_out(ipcmap_put(m, key, n, val, len, &how));
}

/* One list of extents waits in the shard; a second would have nowhere to be. */
static int without_space_lock(struct ipcmap *m, uint32_t i)
{
	switch (i) {
	case 0:
		let_it_be_held();
		return del_now(m, 1);
	case 1:
		return del_now(m, 2) != IPCMAP_BUSY;
	case 2:
		return put_now(m, 20, 9000) != IPCMAP_BUSY;
	case 3:
		return put_now(m, 10, 60);
	case 4:
		return put_now(m, 3, 60) != IPCMAP_BUSY; /* instead of a large value */
	default:
		t_kill(holder);
		return points_del(m, 2);
	}
}

static void three_large(struct ipcmap *m)
{
	points_put_many(m, 10, 8, 500);
	points_put_many(m, 1, 3, 14000);
	points_note(1, 0);
	points_note(10, 3);
	points_note(2, 5);
	points_note(20, -1);
}

/* Victims with entries of large values that expired, whose extents cannot be freed. */
static void garbage_and_expired(struct ipcmap *m)
{
	for (uint32_t i = 100; i < 220; i++) {
		points_note(i, -1);
		T_MUST(points_store(m, i, i % 8 ? 900 : 5000, 1, i % 8 && i % 3 ? 0 : 1) == 0);
	}
	t_sleep_ms(60);
	for (uint32_t i = 0; i < 400; i++)
		points_put(m, 1 + i % 2, 1500, i);
	points_put(m, 50, 9000, 1);
	points_note(50, 0);
	for (uint32_t i = 1; i <= 30; i++)
		points_note(60 + i, (int)i);
}

static int clean_without_space_lock(struct ipcmap *m, uint32_t i)
{
	int r;

	if (i == 0) {
		let_it_be_held();
		return del_now(m, 50);
	}
	r = put_now(m, 60 + i, 60);
	return r == IPCMAP_BUSY ? 0 : r;
}

SCENARIO(busy_clean, "puts that clean while the space lock is held", garbage_and_expired,
	 clean_without_space_lock, 31, .least = 40)
SCENARIO(busy, "calls while the space lock is held", three_large, without_space_lock, 6,
	 .least = 20)

static CU_TestInfo tests[] = {
	{"killed in a change of the limit", points__limit},
	{"killed in tuning", points__tune},
	{"killed in a detach with extents", points__in_hand},
	{"killed in a sweep", points__sweep},
	{"killed in a claim", points__claim},
	{"killed in an attach", points__attach},
	{"killed while the space lock is held", points__busy},
	{"killed in cleaning while the space lock is held", points__busy_clean},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of the segment", tests)
