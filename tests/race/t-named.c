/* SPDX-License-Identifier: MIT */
/*
 * t-named.c - further interleavings that drafts of the design died of, one by one
 */
#include "named.h"

#include "owner.h"

#include <signal.h>

#if HAVE_POINTS

/* ---- a value that is not yet born (second attack, 2) ---- */

static struct t_gate go, told;
static unsigned stores, stop_store;

static void stop_after_store(const char *point)
{
	if (strcmp(point, "redo.store") == 0 && ++stores == stop_store) {
		t_gate_pass(&told);
		t_gate_wait(&go);
	}
}

/* Deletes the key, begins to put it anew, and is stopped after one of its stores. */
static int half_a_put(void *arg)
{
	(void)arg;
	NEED(load_open(name, 0, 0, 0, &m) == 0);
	t_gate_wait(&go);
	del();
	im_crash_hook = stop_after_store;
	put(2, 50);
	return 0;
}

static void let_half_a_put_happen(void)
{
	t_gate_pass(&go);
	t_gate_wait(&told);
}

static unsigned unborn; /* times that a reader could have seen one */

static void try_unborn(const char *step, enum way way, bool kill_it)
{
	unsigned got, then;
	pid_t pid;

	t_gate_open(&go);
	t_gate_open(&told);
	open_map();
	begin_few();
	stores = 0;
	pid = t_run(half_a_put, NULL);
	meanwhile = let_half_a_put_happen;
	stops = 0;
	times = 1;
	stop_at = step;
	im_crash_hook = stop;
	got = read_it(way);
	im_crash_hook = NULL;
	then = read_it(way);
	CU_ASSERT(stops == 1 && (got & (OLD | NONE | NEW)) && (then & (NONE | NEW)));
	/* who comes later must not see less */
	CU_ASSERT(got != NEW || then == NEW);
	unborn += then == NONE;
	if (kill_it) {
		t_kill(pid);
	} else {
		t_gate_pass(&go);
		CU_ASSERT(t_ok(pid));
	}
	/* it was begun, so a successor completes it */
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	CU_ASSERT(read_it(way) == NEW);
	close_map();
	t_gate_close(&go);
	t_gate_close(&told);
}

static void unborn__value_is_not_read(void)
{
	name = T_NAME;
	parent = getpid();
	unborn = 0;
	for (stop_store = 1; stop_store <= 6; stop_store++)
		for (unsigned k = 0; k < 3; k++)
			for (unsigned way = 0; way < 2 * WAYS; way++)
				try_unborn(steps[k], way / 2, way & 1);
	CU_ASSERT(unborn >= 24);
}

/* ---- without a reader in between ---- */

/* A put after clear takes the dead entry's slot; else get would stop at the dead one. */
static void clear__makes_no_doubles(void)
{
	uint64_t n;

	name = T_NAME;
	parent = getpid();
	open_map();
	begin_small();
	for (unsigned i = 0; i < 50; i++) {
		clear();
		CU_ASSERT(read_it(GET) == NONE);
		put(2, 50);
		CU_ASSERT(read_it(GET) == NEW);
		CU_ASSERT(ipcmap_entries(m, &n) == 0 && n == 1);
		if (i % 3 == 0) {
			del();
			CU_ASSERT(read_it(GET) == NONE);
			CU_ASSERT(ipcmap_del(m, key, key_len) == IPCMAP_NOTFOUND);
		}
		if (i % 7 == 0)
			churn();
		crowd();
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	}
	/* an empty map is not full, and a delete of what clear made dead answers NOTFOUND */
	put(1, 40);
	clear();
	CU_ASSERT(ipcmap_del(m, key, key_len) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	close_map();
}

/* Expired extents are walked: no tag stays that names memory which holds the key anew. */
static void expired__key_does_not_come_back(void)
{
	char k[32];

	name = T_NAME;
	parent = getpid();
	open_map();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 500; i++)
			NEED(store(k, (size_t)sprintf(k, "e-%u", i), 300, 9, 1) == 0);
		t_sleep_ms(60);
		churn();
		for (unsigned i = 0; i < 500; i++)
			NEED(store(k, (size_t)sprintf(k, "e-%u", i), 300, 9, 0) == 0);
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
		for (unsigned i = 0; i < 500; i++) {
			size_t n = (size_t)sprintf(k, "e-%u", i);

			CU_ASSERT(ipcmap_del(m, k, n) == 0);
			CU_ASSERT(ipcmap_get(m, k, n, NULL, 0, NULL) == IPCMAP_NOTFOUND);
		}
		churn();
		for (unsigned i = 0; i < 500; i++)
			CU_ASSERT(ipcmap_exists(m, k, (size_t)sprintf(k, "e-%u", i)) == 0);
	}
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	close_map();
}

/* Delete all of one shard, then use another only: the memory must follow (A8). */
static void full__shard_gets_what_others_hoard(void)
{
	uint32_t n = 0, i;
	char k[32];
	int r = 0;

	name = T_NAME;
	parent = getpid();
	NEED(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 4, &m) == 0);
	for (; !r; n++)
		r = store(k, (size_t)sprintf(k, "h-%u", n), 500, 9, 0);
	CU_ASSERT(r == IPCMAP_LIMIT);
	for (i = 0; i + 1 < n; i++)
		CU_ASSERT(ipcmap_del(m, k, (size_t)sprintf(k, "h-%u", i)) == 0);
	r = 0;
	for (i = n; !r && i < 100000; i++) {
		size_t len = (size_t)sprintf(k, "h-%u", i);

		if (im_map_shard(m, im_hash(m->hash_seed, k, len)) == 2)
			r = store(k, len, 500, 9, 0);
	}
	CU_ASSERT(r == IPCMAP_LIMIT);
	{
		struct ipcmap_stat st = {.struct_size = sizeof(st)};

		CU_ASSERT(ipcmap_stat(m, &st) == 0);
		printf("(%llu KiB live of %u in one shard of four) ",
		       (unsigned long long)st.live_len / 1024, 1024);
		CU_ASSERT(st.live_len > 600 * 1024);
	}
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	close_map();
}

/* ---- a dead owner's extent: swept and taken over at the same moment ---- */

static struct t_gate over, sweeping;

static void die_when_armed(const char *point)
{
	if (strcmp(point, "log.bytes") == 0)
		stores = 1;
	if (stores && strcmp(point, "redo.armed") == 0)
		kill(getpid(), SIGKILL);
}

static int die_in_large_put(void *arg)
{
	(void)arg;
	NEED(load_open(name, 0, 0, 0, &m) == 0);
	stores = 0;
	im_crash_hook = die_when_armed;
	put(2, 9000);
	return 0;
}

/* Its first write finishes what the dead one had begun: the chain becomes the shard's. */
static int take_over(void *arg)
{
	(void)arg;
	NEED(load_open(name, 0, 0, 0, &m) == 0);
	t_gate_pass(&told);
	t_gate_wait(&sweeping);
	NEED(store("x", 1, 40, 9, 0) == 0);
	t_gate_pass(&over);
	pause();
	return 0;
}

static void let_take_over(const char *point)
{
	if (stores && strcmp(point, "space.armed") == 0) {
		stores = 0;
		t_gate_pass(&sweeping);
		t_gate_wait(&over);
	}
}

static void sweep__meets_a_take_over(void)
{
	pid_t taker, dead;

	name = T_NAME;
	parent = getpid();
	t_gate_open(&told);
	t_gate_open(&over);
	t_gate_open(&sweeping);
	open_map();
	put(1, old_len = 40);
	taker = t_run(take_over, NULL);
	t_gate_wait(&told);
	dead = t_run(die_in_large_put, NULL);
	CU_ASSERT(t_killed(dead));
	stores = 1;
	im_crash_hook = let_take_over;
	im_owner_sweep(m->seg);
	im_crash_hook = NULL;
	CU_ASSERT(stores == 0);
	CU_ASSERT(read_it(GET) == NEW);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	churn();
	CU_ASSERT(read_it(GET) == NEW);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	t_kill(taker);
	close_map();
	t_gate_close(&told);
	t_gate_close(&over);
	t_gate_close(&sweeping);
}

static CU_TestInfo tests[] = {
	{"a value not yet published is not read", unborn__value_is_not_read},
	{"clear makes no doubles", clear__makes_no_doubles},
	{"an expired key does not come back", expired__key_does_not_come_back},
	{"a full shard gets what others hoard", full__shard_gets_what_others_hoard},
	{"a sweep meets a take-over", sweep__meets_a_take_over},
	CU_TEST_INFO_NULL,
};

#else

static void named__needs_points(void)
{
	t_skip("needs crash points");
}

static CU_TestInfo tests[] = {
	{"named interleavings", named__needs_points},
	CU_TEST_INFO_NULL,
};

#endif

T_SUITE("named races", tests)
