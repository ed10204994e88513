/* SPDX-License-Identifier: MIT */
/*
 * t-watch.c - watchers keep up with writers that put, delete, clear, expire and are killed
 *
 * Whatever a watcher was told, in the end it knows what the map has; what it was not told shows
 * as a gap. No absolute time is asserted.
 */
#include "../unit/replay.h"

#include <pthread.h>
#include <signal.h>

#define WRITERS 3u
#define WATCHERS 2u

struct stage {
	uint32_t stop;
	uint64_t events, gaps;
	uint64_t seed;
};

static struct stage *stage;
static struct ipcmap *map;

static void write_one(uint64_t *seed)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct kit_key k = kit_key(kit_below(seed, REPLAY_KEYS));
	static const char val[3000];
	uint64_t dice = kit_below(seed, 1000);
	int r = 0;

	if (dice < 300)
		r = ipcmap_del(map, k.text, k.len);
	else if (dice < 302)
		r = ipcmap_clear(map);
	else if (dice < 400)
		how.ttl_ns = 20 * KIT_MS;
	if (dice >= 302)
		r = ipcmap_put(map, k.text, k.len, val, kit_below(seed, dice < 950 ? 60 : 3000),
			       &how);
	T_MUST(r == 0 || r == IPCMAP_NOTFOUND || r == IPCMAP_BUSY || r == IPCMAP_LIMIT);
}

static int writer(void *arg)
{
	uint64_t seed = stage->seed + (uintptr_t)arg * 7919;

	while (!im_load32_acq(&stage->stop))
		write_one(&seed);
	return 0;
}

static int watcher(void *arg)
{
	static struct replay r;
	uint64_t seed = stage->seed + (uintptr_t)arg;
	struct ipcmap_event e;
	int rc;

	T_MUST(replay_open(&r, map) == 0);
	for (;;) {
		bool stopped = im_load32_acq(&stage->stop) == 2;

		rc = ipcmap_watch_next(r.w, stopped ? IPCMAP_NOWAIT : 5 * KIT_MS, &e);
		if (rc == IPCMAP_BUSY && stopped)
			break;
		T_MUST(rc == 0 || rc == IPCMAP_BUSY);
		T_MUST(rc || replay_apply(&r, &e));
		if (kit_below(&seed, 3000) == 0)
			t_sleep_ms(3); /* falls behind */
	}
	T_MUST(replay_is_right(&r));
	ipcmap_watch_close(r.w);
	for (unsigned i = 1; i < ARRAY_LEN(r.n); i++)
		im_add_rlx(i == IPCMAP_EVENT_GAP ? &stage->gaps : &stage->events, r.n[i]);
	return 0;
}

static void with_processes(const char *name, uint64_t limit, unsigned shards, bool *ret_gaps)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	pid_t write[WRITERS], watch[WATCHERS];
	uint64_t end = t_now_ms() + T_AMOUNT(600, 1500, 4000), turn = 100;
	bool right = true;

	stage = t_shared(sizeof(*stage));
	stage->seed = kit_seed();
	map = kit_made(name, limit, 0, shards);
	for (uintptr_t i = 0; i < WATCHERS; i++)
		watch[i] = t_run(watcher, (void *)(i + 1));
	for (uintptr_t i = 0; i < WRITERS; i++)
		write[i] = t_run(writer, (void *)(i + 1));
	for (; t_now_ms() < end; turn++) {
		t_sleep_ms(10);
		t_kill(write[turn % WRITERS]);
		write[turn % WRITERS] = t_run(writer, (void *)(uintptr_t)turn);
		if (turn % 9)
			continue;
		t_kill(watch[turn % WATCHERS]);
		watch[turn % WATCHERS] = t_run(watcher, (void *)(uintptr_t)turn);
	}
	im_store32_rel(&stage->stop, 1);
	for (unsigned i = 0; i < WRITERS; i++)
		right &= t_ok(write[i]);
	/* what expired goes, and is told */
	t_sleep_ms(60);
	how.flags = IPCMAP_COMPACT_EXPIRED;
	CU_ASSERT(ipcmap_compact(map, &how, NULL) == 0);
	im_store32_rel(&stage->stop, 2);
	for (unsigned i = 0; i < WATCHERS; i++)
		right &= t_ok(watch[i]);
	if (!right)
		fprintf(stderr, "\nseed %llu", (unsigned long long)stage->seed);
	CU_ASSERT(right);
	CU_ASSERT(stage->events > 0);
	printf("\n    %u shards: %llu events, %llu gaps ", shards,
	       (unsigned long long)stage->events, (unsigned long long)stage->gaps);
	*ret_gaps = stage->gaps > 0;
	kit_gone(map);
	t_shared_free(stage, sizeof(*stage));
}

static void watch_race__processes_are_killed(void)
{
	static const struct {
		uint64_t limit;
		unsigned shards;
	} maps[] = {{KIT_MIB, 1}, {4 * KIT_MIB, 4}, {64 * KIT_MIB, 16}, {64 * KIT_MIB, 64}};
	bool gaps;

	for (unsigned i = 0; i < ARRAY_LEN(maps); i++)
		with_processes(t_name(__LINE__ + (int)i * 1000), maps[i].limit, maps[i].shards,
			       &gaps);
}

/* ---- threads on one mapping ---- */

static uint32_t threads_stop;

static void *write_thread(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;

	for (unsigned i = 0; i < T_AMOUNT(60000, 6000, 600); i++)
		write_one(&seed);
	return NULL;
}

static void *watch_thread(void *arg)
{
	struct replay *r = arg;
	struct ipcmap_event e;
	bool ok = true;

	while (ok) {
		bool stopped = im_load32_acq(&threads_stop);
		int rc = ipcmap_watch_next(r->w, stopped ? IPCMAP_NOWAIT : KIT_MS, &e);

		if (rc == IPCMAP_BUSY && stopped)
			break;
		ok = rc == IPCMAP_BUSY || (rc == 0 && replay_apply(r, &e));
	}
	return ok ? r : NULL;
}

static void watch_race__threads_on_one_mapping(void)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	static struct replay r[2];
	uint64_t seed[2] = {kit_seed(), kit_seed() + 1};
	pthread_t write[2], watch[2];
	void *ret;

	threads_stop = 0;
	map = kit_made(T_NAME, KIT_MIB, 0, 1);
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_FATAL(replay_open(&r[i], map) == 0);
		CU_ASSERT(i == 0 || ipcmap_watch_fd(r[i].w) >= 0);
		pthread_create(&watch[i], NULL, watch_thread, &r[i]);
		pthread_create(&write[i], NULL, write_thread, &seed[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(write[i], NULL);
	t_sleep_ms(60);
	how.flags = IPCMAP_COMPACT_EXPIRED;
	CU_ASSERT(ipcmap_compact(map, &how, NULL) == 0);
	im_store32_rel(&threads_stop, 1);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(watch[i], &ret);
		CU_ASSERT(ret == &r[i] && replay_is_right(&r[i]));
		CU_ASSERT(r[i].n[IPCMAP_EVENT_PUT] > 0);
		ipcmap_watch_close(r[i].w);
	}
	kit_gone(map);
}

/* Opening and closing by several while others write: no ring is lost, none goes too soon. */
static void *open_and_close(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;

	for (unsigned i = 0; i < T_AMOUNT(3000, 400, 60); i++) {
		struct kit_key k = kit_key(kit_below(&seed, 20));
		struct ipcmap_watch *w;
		struct ipcmap_event e;
		int rc;

		if (ipcmap_watch_open(map, k.text, k.len, IPCMAP_WATCH_KEY, &w))
			return NULL;
		T_MUST(ipcmap_put(map, k.text, k.len, "v", 1, NULL) == 0);
		rc = ipcmap_watch_next(w, IPCMAP_NOWAIT, &e);
		ipcmap_watch_close(w);
		if (rc)
			return NULL;
	}
	return arg;
}

static void watch_race__opened_and_closed_at_once(void)
{
	uint64_t seed[3] = {kit_seed(), kit_seed() + 1, kit_seed() + 2};
	pthread_t t[3];
	void *ret;

	map = kit_made(T_NAME, 4 * KIT_MIB, 0, 2);
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, open_and_close, &seed[i]);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(t[i], &ret);
		CU_ASSERT(ret == &seed[i]);
	}
	kit_gone(map);
}

/* ---- interrupt ---- */

static void *wait_for_ever(void *arg)
{
	struct ipcmap_event e;

	return ipcmap_watch_next(arg, IPCMAP_FOREVER, &e) == IPCMAP_INTERRUPTED ? arg : NULL;
}

static void watch_race__interrupt_ends_a_wait(void)
{
	struct ipcmap_watch *w;
	uint32_t *bell;
	pthread_t t;
	void *ret;

	map = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	CU_ASSERT_FATAL(ipcmap_watch_open(map, "k", 1, IPCMAP_WATCH_KEY, &w) == 0);
	pthread_create(&t, NULL, wait_for_ever, w);
	bell = &map->bells[im_hash(map->hash_seed, "k", 1) % map->n_bells];
	while (!(im_load32_rlx(bell) & 1)) /* nobody listens yet */
		t_sleep_ms(1);
	ipcmap_interrupt(map);
	pthread_join(t, &ret);
	CU_ASSERT(ret == w);
	ipcmap_watch_close(w);
	kit_gone(map);
}

static CU_TestInfo tests[] = {
	{"writers and watchers are killed", watch_race__processes_are_killed},
	{"threads on one mapping", watch_race__threads_on_one_mapping},
	{"opened and closed at once", watch_race__opened_and_closed_at_once},
	{"interrupt ends a wait", watch_race__interrupt_ends_a_wait},
	CU_TEST_INFO_NULL,
};
T_SUITE("watch race", tests)
