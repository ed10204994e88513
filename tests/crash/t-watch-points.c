/* SPDX-License-Identifier: MIT */
/*
 * t-watch-points.c - writes of watched shards, and watches, are killed at each of their steps
 *
 * One process watches and stays. Children do an operation and kill themselves at each crash
 * point that it passes, one after the other; a successor, killed in its turn, comes next. Then
 * what the watcher knows from the events must be what the map has: a change and its event are
 * both there, or neither.
 */
#include "../unit/replay.h"

#include "crash.h"

#include <signal.h>

#if defined(IM_CHECK) && IM_CHECK

#define NAMES 128u
#define SHARDS 2u

struct world {
	uint32_t points, kill_at;
	uint32_t kills, nested;
	uint32_t n_names;
	char name[NAMES][32];
};

static struct world *w;
static struct ipcmap *map;

static void at_point(const char *point)
{
	uint32_t i = 0;

	while (i < w->n_names && strcmp(w->name[i], point) != 0)
		i++;
	if (i == w->n_names && i < NAMES)
		snprintf(w->name[w->n_names++], sizeof(w->name[0]), "%s", point);
	if (++w->points == w->kill_at)
		kill(getpid(), SIGKILL);
}

static bool was_passed(const char *point)
{
	for (uint32_t i = 0; i < w->n_names; i++)
		if (strcmp(w->name[i], point) == 0)
			return true;
	return false;
}

struct operation {
	void (*before)(void);
	void (*operate)(void);
	bool unwatched; /* but for what it does itself */
};

static const struct operation *op;

static int child(void *arg)
{
	w->points = 0;
	w->kill_at = *(uint32_t *)arg;
	im_crash_hook = at_point;
	op->operate();
	return 0;
}

static int successor(void *arg)
{
	w->points = 0;
	w->kill_at = *(uint32_t *)arg;
	im_crash_hook = at_point;
	for (uint32_t i = 0; i < 40; i++) {
		struct kit_key k = kit_key(i);

		T_MUST(ipcmap_put(map, k.text, k.len, "after", 5, NULL) == 0);
	}
	return 0;
}

/* What has expired goes, and is told. */
static void flush(void)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;

	how.flags = IPCMAP_COMPACT_EXPIRED;
	CU_ASSERT(ipcmap_compact(map, &how, NULL) == 0);
}

static uint32_t rings(void)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < map->n_shards; k++)
		n += map->shards[k].ring != 0;
	return n;
}

/* Nobody lives who watches: those who write give the rings back. */
static bool rings_go(void)
{
	for (uint32_t i = 0; i < 20000 && rings(); i++) {
		struct kit_key k = kit_key(i % REPLAY_KEYS);

		T_MUST(ipcmap_put(map, k.text, k.len, "more", 4, NULL) == 0);
	}
	return rings() == 0;
}

static bool look(struct replay *r)
{
	flush();
	if (!kit_sound(map))
		return false;
	if (op->unwatched)
		return rings_go() && kit_sound(map);
	return replay_drain(r) >= 0 && replay_is_right(r);
}

static void kill_everywhere(const struct operation *operation, const char *name)
{
	static struct replay r;
	uint32_t k;
	bool ok = true;

	op = operation;
	if (!w)
		w = t_shared(sizeof(*w));
	kit_clock_on();
	map = kit_made(name, 4 * KIT_MIB, 0, SHARDS);
	for (uint32_t i = 0; i < 40; i++)
		CU_ASSERT(ipcmap_put(map, kit_key(i).text, 10, "first", 5, NULL) == 0);
	if (!op->unwatched)
		CU_ASSERT_FATAL(replay_open(&r, map) == 0);
	for (k = 1; ok; k++) {
		uint32_t j = 1 + k * 7 % 50;
		pid_t pid;

		if (op->before)
			op->before();
		pid = t_run(child, &k);
		if (!t_killed(pid)) {
			CU_ASSERT(w->points < k);
			break;
		}
		w->kills++;
		if (k % T_AMOUNT(2, 4, 20) == 0)
			w->nested += t_killed(t_run(successor, &j));
		ok = look(&r);
		if (!ok)
			fprintf(stderr, "\nkilled at point %u", k);
		CU_ASSERT(ok);
	}
	CU_ASSERT(k > 5 && look(&r));
	CU_ASSERT(op->unwatched || r.n[IPCMAP_EVENT_GAP] == 0);
	if (!op->unwatched)
		ipcmap_watch_close(r.w);
	CU_ASSERT(rings_go());
	kit_gone(map);
	kit_clock_off();
}

/* ---- operations: all on key 7, which is there or not ---- */

static const char large[30000]; /* several extents */

static void is_there(void)
{
	T_MUST(kit_put(map, kit_key(7).text, "there") == 0);
}

static void is_not(void)
{
	ipcmap_del(map, kit_key(7).text, 10);
}

static void is_large(void)
{
	T_MUST(ipcmap_put(map, kit_key(7).text, 10, large, sizeof(large), NULL) == 0);
}

static void has_expired(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = KIT_SEC;
	T_MUST(ipcmap_put(map, kit_key(7).text, 10, "short", 5, &how) == 0);
	T_MUST(ipcmap_put(map, kit_key(8).text, 10, large, sizeof(large), &how) == 0);
	kit_time += 2 * KIT_SEC;
}

static void del(void)
{
	T_MUST(ipcmap_del(map, kit_key(7).text, 10) == 0);
}

static void del_expired(void)
{
	T_MUST(ipcmap_del(map, kit_key(7).text, 10) == IPCMAP_NOTFOUND);
}

static void clear(void)
{
	T_MUST(ipcmap_clear(map) == 0);
}

static void watch_and_close(void)
{
	struct ipcmap_watch *all, *one;
	struct ipcmap_event e;

	T_MUST(ipcmap_watch_open(map, NULL, 0, IPCMAP_WATCH_ALL, &all) == 0);
	T_MUST(ipcmap_watch_open(map, kit_key(7).text, 10, IPCMAP_WATCH_KEY, &one) == 0);
	T_MUST(kit_put(map, kit_key(7).text, "anew") == 0);
	T_MUST(ipcmap_watch_next(all, IPCMAP_NOWAIT, &e) == 0);
	T_MUST(ipcmap_watch_next(one, IPCMAP_NOWAIT, &e) == 0);
	T_MUST(ipcmap_watch_next(one, 1, &e) == IPCMAP_BUSY);
	ipcmap_watch_close(all);
	ipcmap_watch_close(one);
}

static void dead_watcher(void)
{
	struct ipcmap_watch *all;

	if (fork() == 0) {
		T_MUST(ipcmap_watch_open(map, NULL, 0, IPCMAP_WATCH_ALL, &all) == 0);
		raise(SIGKILL);
	}
	wait(NULL);
}

static void write_round_the_ring(void)
{
	for (uint32_t i = 0; i < 5; i++)
		T_MUST(kit_put(map, kit_key(7).text, "round") == 0);
}

#define OPERATION(fn, ...)                                                                     \
	static void watch_points__##fn(void)                                                   \
	{                                                                                      \
		static const struct operation o = {__VA_ARGS__};                               \
		kill_everywhere(&o, T_NAME);                                                   \
	}

OPERATION(put_new, is_not, is_there, false)
OPERATION(put_over, is_there, is_there, false)
OPERATION(put_large_over_large, is_large, is_large, false)
OPERATION(del, is_there, del, false)
OPERATION(del_large, is_large, del, false)
OPERATION(del_expired, has_expired, del_expired, false)
OPERATION(clean_expired, has_expired, flush, false)
OPERATION(clear, is_there, clear, false)
OPERATION(watch_beside, NULL, watch_and_close, false)
OPERATION(watch_first, NULL, watch_and_close, true)

/* A writer comes to the end of the ring that a dead one left: it looks, and gives it back. */
static void watch_points__rings_of_the_dead(void)
{
	static const struct operation o = {dead_watcher, write_round_the_ring, true};
	static struct replay none;
	uint32_t k;

	op = &o;
	if (!w)
		w = t_shared(sizeof(*w));
	kit_clock_on();
	map = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	for (k = 1;; k += T_AMOUNT(1, 5, 30)) {
		o.before();
		/* two events before the end */
		map->shards[0].ring_head += map->seg->extent_len - 80;
		if (!t_killed(t_run(child, &k)))
			break;
		w->kills++;
		CU_ASSERT_FATAL(look(&none));
	}
	CU_ASSERT(k > 40 && rings() == 0);
	kit_gone(map);
	kit_clock_off();
}

static void watch_points__were_all_passed(void)
{
	static const char *const all[] = {"event.bytes", "ring.void",  "ring.fetched",
					  "ring.taken",	 "ring.given", "watch.word"};

	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		if (!was_passed(all[i])) {
			fprintf(stderr, "\n%s was never passed", all[i]);
			CU_FAIL("a crash point was not passed");
		}
	printf("\n    %u kills, %u of successors ", w->kills, w->nested);
}

static CU_TestInfo tests[] = {
	{"put, new key", watch_points__put_new},
	{"put over another", watch_points__put_over},
	{"put, large over large", watch_points__put_large_over_large},
	{"del", watch_points__del},
	{"del, large", watch_points__del_large},
	{"del of an expired key", watch_points__del_expired},
	{"cleaning of expired keys", watch_points__clean_expired},
	{"clear", watch_points__clear},
	{"watches beside another", watch_points__watch_beside},
	{"watches where nobody watches", watch_points__watch_first},
	{"rings of the dead", watch_points__rings_of_the_dead},
	{"every point was passed", watch_points__were_all_passed},
	CU_TEST_INFO_NULL,
};
T_SUITE("watch points", tests)

#endif
