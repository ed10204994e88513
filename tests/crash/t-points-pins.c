/* SPDX-License-Identifier: MIT */
/*
 * t-points-pins.c - killed while it holds a value, and while it takes the memory away that it, or
 * somebody else, holds
 *
 * In the scenarios one process does both, so all its pins are void when it is dead. In the last
 * test a process that lives holds the values, and looks at them after each kill of another.
 */
#include "points.h"

#include "crash.h"
#include "map.h"
#include "pin.h"

#include <signal.h>

static struct ipcmap_pin held[4];

static int try_hold(struct ipcmap *m, uint32_t id, struct ipcmap_pin *p)
{
	unsigned char key[POINTS_FAR_LEN];
	size_t n = points_make_key(id, key);

	points_step_in();
	return points_step_out(ipcmap_pin(m, key, n, p));
}

static void hold(struct ipcmap *m, uint32_t id, struct ipcmap_pin *p)
{
	T_MUST(try_hold(m, id, p) == 0);
}

static void let_go(struct ipcmap *m, struct ipcmap_pin *p)
{
	points_step_in();
	ipcmap_unpin(m, p);
	points_step_out(0);
}

static int put_over_held(struct ipcmap *m, uint32_t i)
{
	int r;

	(void)i;
	hold(m, 1, &held[0]);
	hold(m, 1, &held[1]);
	r = points_store(m, 1, 60, 9, 0);
	let_go(m, &held[1]);
	let_go(m, &held[0]);
	return r;
}

SCENARIO(large, "put over a large value that is held", points_one_large, put_over_held, 1,
	 .least = 30)

static int del_held(struct ipcmap *m, uint32_t i)
{
	int r;

	(void)i;
	hold(m, 1, &held[0]);
	r = points_del(m, 1);
	let_go(m, &held[0]);
	return r;
}

SCENARIO(del, "del of a large value that is held", points_one_large, del_held, 1, .least = 20)

/* Three in an extent of the log, of which another one is the head since. */
static void extent_of_three(struct ipcmap *m)
{
	for (uint32_t id = 1; id <= 3; id++) {
		points_put(m, id, 1200, 1);
		points_note(id, (int)id - 1);
	}
	points_put_many(m, 10, 6, 1200);
}

static int del_under_a_pin(struct ipcmap *m, uint32_t i)
{
	int r;

	if (i == 0)
		hold(m, 1, &held[0]);
	r = points_del(m, i + 1);
	if (i == 2)
		let_go(m, &held[0]);
	return r;
}

SCENARIO(extent, "the last name in an extent that is held goes", extent_of_three,
	 del_under_a_pin, 3, .least = 30)

/* Four large values, parked one after the other; the pins go in another order. */
static void four_large(struct ipcmap *m)
{
	points_twenty(m);
	for (uint32_t id = 1; id <= 4; id++) {
		points_put(m, id, 9000, 1);
		points_note(id, (int)id - 1);
	}
}

static int del_four(struct ipcmap *m, uint32_t i)
{
	static const unsigned char order[] = {1, 2, 0, 3};
	int r;

	if (i == 0)
		for (uint32_t k = 0; k < 4; k++)
			hold(m, k + 1, &held[k]);
	r = points_del(m, i + 1);
	if (i == 3)
		for (uint32_t k = 0; k < 4; k++)
			let_go(m, &held[order[k]]);
	return r;
}

SCENARIO(several, "several that are held", four_large, del_four, 4, .least = 80)

/* A value in extents that are no neighbours, a compressed one, and three too long for all. */
static void of_all_kinds(struct ipcmap *m)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	for (uint32_t id = 20; id <= 25; id++)
		points_put(m, id, 3000, 1);
	for (uint32_t id = 21; id <= 25; id += 2)
		T_MUST(points_del(m, id) == 0);
	points_put(m, 1, 9000, 1);
	points_note(1, 0);
	o.compress = 100;
	T_MUST(ipcmap_tune(m, &o) == 0);
	points_put(m, 2, 5000, 1);
	o.compress = IPCMAP_COMPRESS_OFF;
	T_MUST(ipcmap_tune(m, &o) == 0);
	for (uint32_t id = 3; id <= 5; id++)
		points_put(m, id, 40000, 1);
}

static int hold_all_kinds(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_pin no;
	int r;

	(void)i;
	for (uint32_t k = 0; k < 4; k++)
		hold(m, k + 1, &held[k]);
	T_MUST(held[0].own[3] && held[1].copied && !held[2].copied);
	T_MUST(try_hold(m, 5, &no) == IPCMAP_BUSY);
	r = points_del(m, 1);
	for (uint32_t k = 0; k < 4; k++)
		let_go(m, &held[k]);
	return r;
}

SCENARIO(kinds, "values of all kinds are held, and too many", of_all_kinds, hold_all_kinds, 1,
	 .least = 20)

/* ---- the living hold, others die ---- */

#if HAVE_POINTS

static const char *name;
static uint64_t *kill_at;

static void at_point(const char *point)
{
	if (strncmp(point, "read.", 5) != 0 && --*kill_at == 0)
		kill(getpid(), SIGKILL);
}

static int store(struct ipcmap *m, const char *key, uint32_t len, uint64_t seq)
{
	static unsigned char val[LOAD_CAP];

	load_make(val, len, 1, 1, seq);
	return ipcmap_put(m, key, strlen(key), val, len, NULL);
}

static int replace_all(void *unused)
{
	struct ipcmap *m;

	(void)unused;
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	im_crash_hook = at_point;
	T_MUST(store(m, "large", 100, 2) == 0 && ipcmap_del(m, "chain", 5) == 0);
	T_MUST(ipcmap_del(m, "small", 5) == 0 && store(m, "small", 1200, 4) == 0);
	im_crash_hook = NULL;
	return 0;
}

/* All three in memory of their own: the small one's extent has no other name. */
static void prepare(struct ipcmap *m)
{
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(store(m, "small", 1200, 1) == 0);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(store(m, "filler", 1200, i) == 0);
	CU_ASSERT(store(m, "large", 3000, 1) == 0 && store(m, "chain", 20000, 1) == 0);
}

static bool is_whole(const struct ipcmap_pin *p)
{
	uint64_t seq = 0;

	return load_is(p->val, p->len, 1, 1, &seq) && seq == 1;
}

static void points__living_hold_while_others_die(void)
{
	static const char *const keys[] = {"small", "large", "chain"};
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_stat s = {.struct_size = sizeof(s)};
	struct ipcmap_pin p[3];
	uint64_t kills = 0;
	struct ipcmap *m;
	bool died = true;

	name = T_NAME;
	kill_at = t_shared(sizeof(*kill_at));
	o.flags = IPCMAP_CREATE;
	o.limit = 1u << 20;
	o.shards = 1;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &m) == 0);
	for (; died; kills++) {
		pid_t pid;

		prepare(m);
		for (unsigned i = 0; i < 3; i++)
			CU_ASSERT(ipcmap_pin(m, keys[i], 5, &p[i]) == 0);
		*kill_at = 1 + kills * T_AMOUNT(1, 3, 11);
		pid = t_run(replace_all, NULL);
		died = t_killed(pid);
		/* all free memory is used, many times over */
		for (unsigned i = 0; i < 600; i++)
			CU_ASSERT(store(m, "filler", 1200 + i % 7 * 900, i) == 0);
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
		for (unsigned i = 0; i < 3; i++)
			CU_ASSERT(is_whole(&p[i]));
		for (unsigned i = 0; i < 3; i++)
			ipcmap_unpin(m, &p[i]);
	}
	CU_ASSERT(kills > T_AMOUNT(40, 12, 3));
	CU_ASSERT(ipcmap_stat(m, &s) == 0 && s.pins == 0 && s.parked_len == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_shared_free(kill_at, sizeof(*kill_at));
}

/* ---- a pin that comes too late ---- */

static int del_large(void *unused)
{
	struct ipcmap *m;

	(void)unused;
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	im_crash_hook = at_point;
	T_MUST(ipcmap_del(m, "chain", 5) == 0);
	im_crash_hook = NULL;
	return 0;
}

static uint64_t used(struct ipcmap *m)
{
	struct ipcmap_stat s = {.struct_size = sizeof(s)};

	CU_ASSERT(ipcmap_stat(m, &s) == 0);
	return s.used;
}

/*
 * The chain was on its way to the free queue when its process died; then a reader that found it
 * before tells of its pin, and would take it back at its next step. The chain must not be parked
 * when it is free, nor freed twice.
 */
static void points__pin_comes_when_it_is_being_freed(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	uint64_t kills = 0, base;
	struct ipcmap_pin p;
	struct ipcmap *m;
	bool died = true;
	uint32_t pin;

	name = T_NAME;
	kill_at = t_shared(sizeof(*kill_at));
	o.flags = IPCMAP_CREATE;
	o.limit = 1u << 20;
	o.shards = 1;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &m) == 0);
	CU_ASSERT(store(m, "small", 100, 1) == 0 && store(m, "small", 100, 2) == 0);
	base = used(m);
	for (; died; kills++) {
		struct im_held what = {0, 0};

		CU_ASSERT(store(m, "chain", 20000, 1) == 0);
		CU_ASSERT(ipcmap_pin(m, "chain", 5, &p) == 0);
		CU_ASSERT(im_pin_read(&m->pins, (uint32_t)p.own[0], &what) != 0);
		ipcmap_unpin(m, &p);
		*kill_at = 1 + kills;
		died = t_killed(t_run(del_large, NULL));
		CU_ASSERT(im_pin(&m->pins, &what, &pin) == 0);
		CU_ASSERT(store(m, "small", 100, 3) == 0);
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
		im_unpin(&m->pins, pin);
		/* what was parked for it is found by the next pin that ends */
		ipcmap_del(m, "chain", 5);
		CU_ASSERT(ipcmap_pin(m, "small", 5, &p) == 0);
		ipcmap_unpin(m, &p);
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0 && used(m) == base);
	}
	CU_ASSERT(kills > 15);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_shared_free(kill_at, sizeof(*kill_at));
}

#endif

static CU_TestInfo tests[] = {
	{"put over a large value that is held", points__large},
	{"del of a large value that is held", points__del},
	{"the last name in an extent that is held goes", points__extent},
	{"several that are held", points__several},
	{"values of all kinds are held, and too many", points__kinds},
#if HAVE_POINTS
	{"the living hold values while others die", points__living_hold_while_others_die},
	{"a pin comes when its value is being freed", points__pin_comes_when_it_is_being_freed},
#endif
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of pins", tests)
