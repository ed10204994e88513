/* SPDX-License-Identifier: MIT */
/*
 * t-watch.c - events of a key, of a prefix, of a map; rings; waking
 */
#include "crash.h"
#include "event.h"
#include "replay.h"
#include "ring.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

static struct ipcmap_watch *watching(struct ipcmap *m, const char *key, unsigned what)
{
	struct ipcmap_watch *w = NULL;

	CU_ASSERT_FATAL(ipcmap_watch_open(m, key, key ? strlen(key) : 0, what, &w) == 0);
	return w;
}

static int next(struct ipcmap_watch *w, struct ipcmap_event *e)
{
	memset(e, 0, sizeof(*e));
	return ipcmap_watch_next(w, IPCMAP_NOWAIT, e);
}

static bool is(const struct ipcmap_event *e, unsigned op, const char *key)
{
	return e->op == op && e->key_len == strlen(key) && memcmp(e->key, key, e->key_len) == 0;
}

static bool has(struct ipcmap_watch *w, unsigned op, const char *key)
{
	struct ipcmap_event e;

	return next(w, &e) == 0 && is(&e, op, key);
}

static bool has_none(struct ipcmap_watch *w)
{
	struct ipcmap_event e;

	return next(w, &e) == IPCMAP_BUSY;
}

static uint32_t rings(const struct ipcmap *m)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < m->n_shards; k++)
		n += m->shards[k].ring != 0;
	return n;
}

static void watch__key_prefix_and_map_see_what_concerns_them(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 4);
	struct ipcmap_watch *key = watching(m, "user:1", IPCMAP_WATCH_KEY);
	struct ipcmap_watch *prefix = watching(m, "user:", IPCMAP_WATCH_PREFIX);
	struct ipcmap_watch *all = watching(m, NULL, IPCMAP_WATCH_ALL);
	struct ipcmap_event e;
	uint64_t v;

	CU_ASSERT(has_none(key) && has_none(prefix) && has_none(all));
	kit_put(m, "user:1", "a");
	v = kit_version(m, "user:1");
	CU_ASSERT(next(key, &e) == 0 && is(&e, IPCMAP_EVENT_PUT, "user:1") && e.version == v);
	CU_ASSERT(e.group == (uint32_t)ipcmap_group(m, "user:1", 6));
	CU_ASSERT(has(prefix, IPCMAP_EVENT_PUT, "user:1"));
	CU_ASSERT(has(all, IPCMAP_EVENT_PUT, "user:1"));
	kit_put(m, "user:2", "b");
	CU_ASSERT(has_none(key));
	CU_ASSERT(has(prefix, IPCMAP_EVENT_PUT, "user:2"));
	CU_ASSERT(has(all, IPCMAP_EVENT_PUT, "user:2"));
	kit_put(m, "use", "c");
	CU_ASSERT(has_none(key) && has_none(prefix));
	CU_ASSERT(has(all, IPCMAP_EVENT_PUT, "use"));
	CU_ASSERT(ipcmap_del(m, "user:1", 6) == 0);
	CU_ASSERT(next(key, &e) == 0 && is(&e, IPCMAP_EVENT_DEL, "user:1") && e.version > v);
	CU_ASSERT(has(prefix, IPCMAP_EVENT_DEL, "user:1"));
	CU_ASSERT(has(all, IPCMAP_EVENT_DEL, "user:1"));
	CU_ASSERT(ipcmap_del(m, "user:1", 6) == IPCMAP_NOTFOUND);
	CU_ASSERT(has_none(key) && has_none(prefix) && has_none(all));
	ipcmap_watch_close(key);
	ipcmap_watch_close(prefix);
	ipcmap_watch_close(all);
	CU_ASSERT(rings(m) == 0);
	kit_gone(m);
}

static void watch__every_kind_of_write_tells(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	struct ipcmap_watch *w = watching(m, "k", IPCMAP_WATCH_KEY);
	struct ipcmap_value v = {0};
	static char big[300000];
	char buf[50];
	int64_t now;

	CU_ASSERT(ipcmap_add(m, "k", 1, 5, NULL, &now) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k"));
	how.ttl_ns = 3600 * KIT_SEC;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == 0);
	CU_ASSERT(has_none(w)); /* value and version stay */
	CU_ASSERT(ipcmap_put(m, "k", 1, big, sizeof(big), NULL) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k"));
	CU_ASSERT(ipcmap_put(m, "k", 1, big, sizeof(big) - 1, NULL) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k"));
	how.flags = IPCMAP_IF_ABSENT;
	CU_ASSERT(ipcmap_put(m, "k", 1, "x", 1, &how) == IPCMAP_EXISTS);
	CU_ASSERT(has_none(w));
	CU_ASSERT(kit_put(m, "k", "small") == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k"));
	v.buf = buf;
	v.cap = sizeof(buf);
	CU_ASSERT(ipcmap_take(m, "k", 1, &v) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_DEL, "k"));
	CU_ASSERT(kit_put(m, "k", "again") == 0);
	CU_ASSERT(ipcmap_del_prefix(m, "k", 1, NULL) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k") && has(w, IPCMAP_EVENT_DEL, "k"));
	/* a large value below the floor: the longest redo list of all */
	CU_ASSERT(ipcmap_put(m, "k", 1, big, sizeof(big), NULL) == 0);
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(ipcmap_put(m, "k", 1, big, sizeof(big), NULL) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k"));
	{
		struct ipcmap_event e;

		CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_CLEAR && !e.key);
	}
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k") && has_none(w));
	ipcmap_watch_close(w);
	kit_gone(m);
}

static void watch__expired_keys_are_told_when_they_go(void)
{
	struct ipcmap_compact_options c = IPCMAP_COMPACT_INIT;
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap *m;
	struct ipcmap_watch *w;

	kit_clock_on();
	m = kit_made(T_NAME, 2 * KIT_MIB, 0, 1);
	w = watching(m, "t", IPCMAP_WATCH_PREFIX);
	how.ttl_ns = KIT_SEC;
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(ipcmap_put(m, i ? i > 1 ? "t2" : "t1" : "t0", 2, "x", 1, &how) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "t0") && has(w, IPCMAP_EVENT_PUT, "t1") &&
		  has(w, IPCMAP_EVENT_PUT, "t2"));
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(kit_absent(m, "t0") && has_none(w));
	CU_ASSERT(ipcmap_del(m, "t0", 2) == IPCMAP_NOTFOUND);
	CU_ASSERT(has(w, IPCMAP_EVENT_EXPIRE, "t0"));
	CU_ASSERT(kit_put(m, "t1", "anew") == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "t1") && has_none(w));
	c.flags = IPCMAP_COMPACT_EXPIRED;
	CU_ASSERT(ipcmap_compact(m, &c, NULL) == 0);
	CU_ASSERT(has(w, IPCMAP_EVENT_EXPIRE, "t2") && has_none(w));
	ipcmap_watch_close(w);
	kit_gone(m);
	kit_clock_off();
}

/* A key of the longest that is told whole, and of the next length. */
static void watch__long_keys_are_gaps(void)
{
	static char key[IPCMAP_KEY_MAX];
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	uint32_t most = im_event_key_max(m->seg);
	struct ipcmap_watch *w = watching(m, NULL, IPCMAP_WATCH_ALL), *other, *far;
	struct ipcmap_event e;

	memset(key, 'x', sizeof(key));
	other = watching(m, "y", IPCMAP_WATCH_PREFIX);
	far = watching(m, "x", IPCMAP_WATCH_PREFIX);
	CU_ASSERT(ipcmap_put(m, key, most, "v", 1, NULL) == 0);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_PUT && e.key_len == most &&
		  memcmp(e.key, key, most) == 0);
	CU_ASSERT(next(far, &e) == 0 && e.op == IPCMAP_EVENT_PUT);
	CU_ASSERT(ipcmap_put(m, key, most + 1, "v", 1, NULL) == 0);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_GAP && e.group == 0);
	CU_ASSERT(next(far, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
	CU_ASSERT(has_none(other));
	/* the longest have extents of their own */
	CU_ASSERT(ipcmap_put(m, key, sizeof(key), "v", 1, NULL) == 0);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
	CU_ASSERT(ipcmap_del(m, key, sizeof(key)) == 0);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_GAP && has_none(w));
	ipcmap_watch_close(w);
	ipcmap_watch_close(other);
	ipcmap_watch_close(far);
	kit_gone(m);
}

static void watch__expired_long_keys_are_told(void)
{
	static char key[9000];
	struct ipcmap_compact_options c = IPCMAP_COMPACT_INIT;
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap *m;
	struct ipcmap_watch *w, *one;
	struct ipcmap_event e;

	kit_clock_on();
	m = kit_made(T_NAME, 2 * KIT_MIB, 0, 1);
	memset(key, 'x', sizeof(key));
	how.ttl_ns = KIT_SEC;
	w = watching(m, "xx", IPCMAP_WATCH_PREFIX);
	CU_ASSERT(ipcmap_watch_open(m, key, sizeof(key), IPCMAP_WATCH_KEY, &one) == 0);
	CU_ASSERT(ipcmap_put(m, key, sizeof(key), "v", 1, &how) == 0);
	CU_ASSERT(ipcmap_put(m, key, 600, "v", 1, &how) == 0);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_PUT && e.key_len == 600);
	CU_ASSERT(next(one, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
	kit_time += 2 * KIT_SEC;
	c.flags = IPCMAP_COMPACT_EXPIRED;
	CU_ASSERT(ipcmap_compact(m, &c, NULL) == 0);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_EXPIRE && e.key_len == 600 &&
		  memcmp(e.key, key, 600) == 0);
	CU_ASSERT(next(one, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
	CU_ASSERT(has_none(w) && has_none(one));
	ipcmap_watch_close(w);
	ipcmap_watch_close(one);
	kit_gone(m);
	kit_clock_off();
}

/* Puts of other keys until the ring of shard 0 has turned more than once. */
static void turn(struct ipcmap *m, const char *key)
{
	uint64_t to = m->shards[0].ring_head + 2 * m->seg->extent_len;

	while (m->shards[0].ring_head < to)
		CU_ASSERT_FATAL(kit_put(m, key, "x") == 0);
}

#if defined(IM_CHECK) && IM_CHECK
static struct ipcmap *turned;

/* The ring turns while an event is being read. */
static void turn_once(const char *point)
{
	struct ipcmap *m = turned;

	if (!m || strcmp(point, "read.event") != 0)
		return;
	turned = NULL;
	turn(m, "different");
}

static void watch__event_that_is_overwritten_while_it_is_read(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	struct ipcmap_watch *w = watching(m, NULL, IPCMAP_WATCH_ALL);
	struct ipcmap_event e;

	for (unsigned i = 0; i < 20; i++) {
		kit_put(m, kit_key(i).text, "x");
		turned = m;
		im_crash_hook = turn_once;
		CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
		im_crash_hook = NULL;
		CU_ASSERT(!turned && has_none(w));
	}
	ipcmap_watch_close(w);
	kit_gone(m);
}
#endif

static void watch__slow_watcher_gets_a_gap_and_goes_on(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	struct ipcmap_watch *w = watching(m, "a", IPCMAP_WATCH_PREFIX);
	struct ipcmap_event e;

	kit_put(m, "a1", "x");
	turn(m, "other");
	CU_ASSERT(next(w, &e) == 0 && e.op == IPCMAP_EVENT_GAP && e.group == 0);
	CU_ASSERT(has_none(w));
	kit_put(m, "a1", "y");
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "a1") && has_none(w));
	ipcmap_watch_close(w);
	kit_gone(m);
}

static void watch__key_that_did_not_change_has_no_gap(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	struct ipcmap_watch *there, *absent;
	struct ipcmap_event e;

	kit_put(m, "there", "x");
	there = watching(m, "there", IPCMAP_WATCH_KEY);
	absent = watching(m, "absent", IPCMAP_WATCH_KEY);
	turn(m, "other");
	CU_ASSERT(has_none(there));
	/* it may have come and gone */
	CU_ASSERT(next(absent, &e) == 0 && e.op == IPCMAP_EVENT_GAP && has_none(absent));
	turn(m, "there");
	CU_ASSERT(next(there, &e) == 0 && e.op == IPCMAP_EVENT_GAP && has_none(there));
	CU_ASSERT(ipcmap_del(m, "there", 5) == 0);
	CU_ASSERT(has(there, IPCMAP_EVENT_DEL, "there"));
	kit_put(m, "there", "x");
	turn(m, "other");
	CU_ASSERT(next(there, &e) == 0 && e.op == IPCMAP_EVENT_GAP && has_none(there));
	turn(m, "other");
	CU_ASSERT(has_none(there));
	CU_ASSERT(ipcmap_del(m, "there", 5) == 0);
	turn(m, "other");
	CU_ASSERT(next(there, &e) == 0 && e.op == IPCMAP_EVENT_GAP && has_none(there));
	ipcmap_watch_close(there);
	ipcmap_watch_close(absent);
	kit_gone(m);
}

/* Every place in the ring, so that events go round it at each. */
static void watch__events_that_go_round_the_ring_are_whole(void)
{
	struct ipcmap *m = kit_made(T_NAME, KIT_MIB, 0, 1);
	struct ipcmap_watch *w = watching(m, NULL, IPCMAP_WATCH_ALL);
	char key[400];
	bool whole = true;

	for (unsigned i = 0; i < 4000 && whole; i++) {
		struct ipcmap_event e;
		size_t len = 1 + i * 7 % sizeof(key);

		kit_bytes(key, len, i);
		CU_ASSERT_FATAL(ipcmap_put(m, key, len, "v", 1, NULL) == 0);
		whole = next(w, &e) == 0 && e.op == IPCMAP_EVENT_PUT && e.key_len == len &&
			memcmp(e.key, key, len) == 0;
		if (whole && i % 2 == 0)
			whole = ipcmap_del(m, key, len) == 0 && next(w, &e) == 0 &&
				e.op == IPCMAP_EVENT_DEL && memcmp(e.key, key, len) == 0;
		if (kit_entries(m) > 1000)
			whole = whole && ipcmap_clear(m) == 0 && next(w, &e) == 0 &&
				e.op == IPCMAP_EVENT_CLEAR;
	}
	CU_ASSERT(whole && has_none(w));
	ipcmap_watch_close(w);
	kit_gone(m);
}

/* ---- rings ---- */

static void watch__rings_come_with_the_first_and_go_with_the_last(void)
{
	struct ipcmap *m = kit_made(T_NAME, 64 * KIT_MIB, 0, 16);
	uint64_t used = kit_stat(m).used;
	struct ipcmap_watch *a, *b, *all;

	a = watching(m, "x", IPCMAP_WATCH_KEY);
	CU_ASSERT(rings(m) == 1);
	b = watching(m, "x", IPCMAP_WATCH_KEY);
	CU_ASSERT(rings(m) == 1);
	all = watching(m, NULL, IPCMAP_WATCH_ALL);
	CU_ASSERT(rings(m) == 16 && kit_sound(m));
	ipcmap_watch_close(a);
	CU_ASSERT(rings(m) == 16);
	ipcmap_watch_close(all);
	CU_ASSERT(rings(m) == 1);
	kit_put(m, "x", "v");
	CU_ASSERT(has(b, IPCMAP_EVENT_PUT, "x"));
	ipcmap_watch_close(b);
	CU_ASSERT(rings(m) == 0);
	for (uint32_t i = 0; i < m->seg->n_owners; i++)
		CU_ASSERT(m->watchers[i] == 0);
	CU_ASSERT(ipcmap_del(m, "x", 1) == 0);
	CU_ASSERT(kit_stat(m).used - used <= 4 * m->seg->extent_len);
	kit_gone(m);
}

static int watch_and_die(void *arg)
{
	struct ipcmap *m = arg;
	struct ipcmap_watch *w;

	T_MUST(ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &w) == 0);
	T_MUST(kit_put(m, "x", "v") == 0);
	raise(SIGKILL);
	return 1;
}

/* Writers give the rings of the dead back, and are not taxed for ever. */
static void watch__rings_of_the_dead_are_given_back(void)
{
	struct ipcmap *m = kit_made(T_NAME, 16 * KIT_MIB, 0, 2);
	struct ipcmap_watch *w;
	unsigned i;

	CU_ASSERT(t_killed(t_run(watch_and_die, m)));
	CU_ASSERT(t_killed(t_run(watch_and_die, m)));
	CU_ASSERT(rings(m) == 2 && kit_sound(m));
	for (i = 0; i < 100000 && rings(m); i++) {
		struct kit_key k = kit_key(i % 100);

		CU_ASSERT_FATAL(ipcmap_put(m, k.text, k.len, "v", 1, NULL) == 0);
	}
	CU_ASSERT(rings(m) == 0 && i > 0);
	for (i = 0; i < m->seg->n_owners; i++)
		CU_ASSERT(m->watchers[i] == 0);
	/* one that lives keeps its own only */
	w = watching(m, "k000000001", IPCMAP_WATCH_KEY);
	CU_ASSERT(t_killed(t_run(watch_and_die, m)));
	for (i = 0; i < 100000 && rings(m) > 1; i++) {
		struct kit_key k = kit_key(i % 100);

		CU_ASSERT_FATAL(ipcmap_put(m, k.text, k.len, "v", 1, NULL) == 0);
	}
	CU_ASSERT(rings(m) == 1);
	ipcmap_watch_close(w);
	CU_ASSERT(rings(m) == 0);
	kit_gone(m);
}

/* A map of the least size, full: a ring is made room for, or refused, and given back. */
static void watch__full_map(void)
{
	struct ipcmap *m = kit_made(T_NAME, KIT_MIB, KIT_MIB, 1);
	static struct replay r;
	uint64_t n = 0;
	char val[100] = "";
	int rc;

	for (rc = 0; rc == 0; n += rc == 0) {
		struct kit_key k = kit_key(1000000 + n);

		rc = ipcmap_put(m, k.text, k.len, val, sizeof(val), NULL);
	}
	CU_ASSERT(rc == IPCMAP_LIMIT && n > 1000);
	rc = replay_open(&r, m);
	CU_ASSERT(rc == 0 || rc == IPCMAP_LIMIT);
	CU_ASSERT(kit_sound(m));
	for (uint64_t i = 0; i < n; i++) {
		struct kit_key k = kit_key(1000000 + i);

		CU_ASSERT_FATAL(ipcmap_del(m, k.text, k.len) == 0);
	}
	if (rc == 0)
		ipcmap_watch_close(r.w);
	CU_ASSERT(replay_open(&r, m) == 0);
	for (unsigned i = 0; i < 20000; i++) {
		struct kit_key k = kit_key(i % REPLAY_KEYS);

		CU_ASSERT_FATAL(ipcmap_put(m, k.text, k.len, val, i % sizeof(val), NULL) == 0);
		if (i % 5000 == 4999)
			CU_ASSERT(ipcmap_clear(m) == 0);
		if (i % 7000 == 6999)
			CU_ASSERT(ipcmap_compact(m, NULL, NULL) == 0);
		if (i % 50 == 49)
			CU_ASSERT_FATAL(replay_drain(&r) >= 0);
	}
	CU_ASSERT(replay_drain(&r) >= 0 && replay_is_right(&r));
	CU_ASSERT(r.n[IPCMAP_EVENT_CLEAR] == 4 && r.n[IPCMAP_EVENT_GAP] == 0);
	CU_ASSERT(kit_sound(m));
	ipcmap_watch_close(r.w);
	kit_gone(m);
}

/* ---- arguments, other processes ---- */

static void watch__arguments(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	const char *name = T_NAME;
	struct ipcmap *m = kit_made(name, 4 * KIT_MIB, 0, 0), *ro;
	struct ipcmap_watch *w = NULL;
	struct ipcmap_event e;

	CU_ASSERT(ipcmap_watch_open(NULL, "k", 1, IPCMAP_WATCH_KEY, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, "k", 0, IPCMAP_WATCH_KEY, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, NULL, 1, IPCMAP_WATCH_KEY, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, "k", 0, IPCMAP_WATCH_PREFIX, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, "k", 1, IPCMAP_WATCH_ALL, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, "k", 1, 0, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, "k", 1, 4, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, "k", IPCMAP_KEY_MAX + 1, 1, &w) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_open(m, "k", 1, IPCMAP_WATCH_KEY, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_next(NULL, 0, &e) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_watch_fd(NULL) == IPCMAP_INVALID);
	ipcmap_watch_close(NULL);
	CU_ASSERT(ipcmap_group(m, "k", 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_group(NULL, "k", 1) == IPCMAP_INVALID);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &ro) == 0);
	CU_ASSERT(ipcmap_watch_open(ro, "k", 1, IPCMAP_WATCH_KEY, &w) == IPCMAP_READONLY);
	ipcmap_close(ro);
	CU_ASSERT(rings(m) == 0);
	kit_gone(m);
}

/* As in a segment of before there was a waiting area. */
static void watch__segment_without_a_waiting_area(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	struct fmt_waits *waits = m->waits;
	struct ipcmap_watch *w = NULL;

	m->waits = NULL;
	CU_ASSERT(ipcmap_watch_open(m, "k", 1, IPCMAP_WATCH_KEY, &w) == IPCMAP_VERSION);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	ipcmap_interrupt(m);
	m->waits = waits;
	kit_gone(m);
}

static int use_in_child(void *arg)
{
	struct ipcmap_watch *w = arg;
	struct ipcmap_event e;

	T_MUST(ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == IPCMAP_MISMATCH);
	T_MUST(ipcmap_watch_fd(w) == IPCMAP_MISMATCH);
	ipcmap_watch_close(w);
	return 0;
}

static void watch__is_of_the_process_that_opened_it(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	struct ipcmap_watch *w = watching(m, "k", IPCMAP_WATCH_KEY);

	CU_ASSERT(ipcmap_watch_fd(w) >= 0);
	CU_ASSERT(t_ok(t_run(use_in_child, w)));
	CU_ASSERT(rings(m) == 1);
	kit_put(m, "k", "v");
	CU_ASSERT(has(w, IPCMAP_EVENT_PUT, "k"));
	ipcmap_watch_close(w);
	kit_gone(m);
}

static void watch__interrupt_ends_the_wait(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	struct ipcmap_watch *w = watching(m, "k", IPCMAP_WATCH_KEY);
	struct ipcmap_event e;

	CU_ASSERT(ipcmap_watch_next(w, 1000000, &e) == IPCMAP_BUSY);
	ipcmap_interrupt(m); /* before the call: it does not count */
	CU_ASSERT(ipcmap_watch_next(w, 1000000, &e) == IPCMAP_BUSY);
	ipcmap_watch_close(w);
	kit_gone(m);
}

/* ---- waking ---- */

static uint32_t n_wakes;
static uint32_t *woken[2000];

static int note_wake(uint32_t *word, int n)
{
	(void)n;
	if (n_wakes < ARRAY_LEN(woken))
		woken[n_wakes] = word;
	n_wakes++;
	return 0;
}

static int sleep_not(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	(void)word;
	(void)val;
	(void)timeout_ns;
	return 0;
}

/* Thousands sleep, each for a key or prefix of its own: a put wakes those of its bells. */
static void watch__other_keys_do_not_wake(void)
{
	enum { N = 2000 };
	static struct ipcmap_watch *w[N], *prefix, *all;
	struct ipcmap *m = kit_made(T_NAME, 64 * KIT_MIB, 0, 4);
	struct im_os os = *im_os;
	const struct im_os *was = im_os;
	struct ipcmap_event e;
	unsigned up = 0;

	for (unsigned i = 0; i < N; i++)
		w[i] = watching(m, kit_key(i).text, IPCMAP_WATCH_KEY);
	prefix = watching(m, "other:", IPCMAP_WATCH_PREFIX);
	all = watching(m, NULL, IPCMAP_WATCH_ALL);
	os.futex_wake = note_wake;
	os.futex_wait = sleep_not;
	im_os = &os;
	for (unsigned i = 0; i < N; i++)
		CU_ASSERT(ipcmap_watch_next(w[i], 1, &e) == IPCMAP_BUSY);
	CU_ASSERT(ipcmap_watch_next(prefix, 1, &e) == IPCMAP_BUSY);
	CU_ASSERT(ipcmap_watch_next(all, 1, &e) == IPCMAP_BUSY);
	n_wakes = 0;
	kit_put(m, kit_key(77).text, "v");
	/* its bell, that of all, and, as prefixes of 6 bytes are watched, that of "k00000" */
	CU_ASSERT(n_wakes >= 2 && n_wakes <= 3);
	CU_ASSERT(woken[0] == &m->bells[im_event_bell(m, kit_key(77).text, 10)]);
	CU_ASSERT(woken[n_wakes - 1] == &m->waits->any);
	for (unsigned i = 0; i < N; i++)
		for (unsigned k = 0; k < n_wakes; k++)
			up += woken[k] == &m->bells[im_event_bell(m, kit_key(i).text, 10)];
	CU_ASSERT(up >= 1 && up < 30);
	kit_put(m, kit_key(77).text, "v");
	CU_ASSERT(n_wakes <= 3); /* nobody listens there again yet */
	n_wakes = 0;
	CU_ASSERT(ipcmap_watch_next(all, 1, &e) == 0);
	kit_put(m, "other:1", "v");
	CU_ASSERT(n_wakes >= 1 && n_wakes <= 2);
	CU_ASSERT(woken[n_wakes - 1] == &m->bells[im_event_bell(m, "other:", 6)]);
	/* a clear concerns all */
	n_wakes = 0;
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(n_wakes > m->n_bells / 2 && n_wakes <= m->n_bells + 1);
	im_os = was;
	for (unsigned i = 0; i < N; i++)
		ipcmap_watch_close(w[i]);
	ipcmap_watch_close(prefix);
	ipcmap_watch_close(all);
	CU_ASSERT(rings(m) == 0);
	kit_gone(m);
}

static int put_after_a_while(void *arg)
{
	t_sleep_ms(20);
	T_MUST(kit_put(arg, "k", "v") == 0);
	return 0;
}

static void watch__sleeper_is_woken(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	struct ipcmap_watch *w = watching(m, "k", IPCMAP_WATCH_KEY);
	struct ipcmap_event e;
	pid_t pid = t_run(put_after_a_while, m);

	CU_ASSERT(ipcmap_watch_next(w, IPCMAP_FOREVER, &e) == 0);
	CU_ASSERT(is(&e, IPCMAP_EVENT_PUT, "k") && kit_is(m, "k", "v"));
	CU_ASSERT(t_ok(pid));
	ipcmap_watch_close(w);
	kit_gone(m);
}

/* ---- a descriptor ---- */

static bool readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1 && p.revents & POLLIN;
}

static void watch__descriptor_is_readable_until_nothing_is_left(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 2);
	struct ipcmap_watch *w = watching(m, "k", IPCMAP_WATCH_PREFIX);
	int fd = ipcmap_watch_fd(w);

	CU_ASSERT_FATAL(fd >= 0 && ipcmap_watch_fd(w) == fd);
	CU_ASSERT(!readable(fd, 0));
	for (unsigned round = 0; round < 50; round++) {
		CU_ASSERT(kit_put(m, "k1", "v") == 0);
		CU_ASSERT(kit_put(m, "other", "v") == 0);
		CU_ASSERT(kit_put(m, "k2", "v") == 0);
		CU_ASSERT(readable(fd, T_LIMIT_MS));
		CU_ASSERT(readable(fd, 0));
		for (unsigned i = 0; i < 2; i++) {
			struct ipcmap_event e;

			CU_ASSERT(next(w, &e) == 0 && e.key_len == 2);
			CU_ASSERT(readable(fd, 0));
		}
		CU_ASSERT(has_none(w));
		CU_ASSERT(!readable(fd, 0));
	}
	CU_ASSERT(kit_put(m, "other", "v") == 0);
	CU_ASSERT(!readable(fd, 20));
	ipcmap_watch_close(w);
	CU_ASSERT(rings(m) == 0);
	kit_gone(m);
}

/* ---- bytes that cannot be ---- */

static void watch__hostile_bytes_end_in_a_gap_or_an_error(void)
{
	uint64_t seed = kit_seed(), start = seed;
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	struct fmt_shard *s = &m->shards[0];
	struct ipcmap_watch *w = watching(m, NULL, IPCMAP_WATCH_ALL);
	struct ipcmap_watch *k = watching(m, "k000000005", IPCMAP_WATCH_KEY);
	uint32_t ring = s->ring;
	unsigned char *bytes = im_seg_extent(m->seg, ring - 1);

	for (unsigned i = 0; i < T_AMOUNT(20000, 4000, 500); i++) {
		struct kit_key key = kit_key(kit_below(&seed, 50));
		struct ipcmap_event e;
		int rc = 0;

		ipcmap_put(m, key.text, key.len, "v", 1, NULL);
		switch (kit_below(&seed, 12)) {
		case 0:
			s->ring_head = kit_random(&seed);
			break;
		case 1:
			s->ring_head += kit_below(&seed, 4096) - 2048;
			break;
		case 2:
			s->ring = (uint32_t)kit_random(&seed);
			break;
		case 3:
			kit_bytes(bytes, m->seg->extent_len, seed);
			break;
		case 4:
			m->waits->prefix_lens = kit_random(&seed);
			break;
		case 5: /* those of others: without its own, the ring would be given back */
			m->watchers[1 + kit_below(&seed, m->seg->n_owners - 1)] =
				kit_random(&seed);
			break;
		default:
			bytes[kit_below(&seed, m->seg->extent_len)] ^=
				(unsigned char)(1u << kit_below(&seed, 8));
		}
		ipcmap_put(m, key.text, key.len, "w", 1, NULL);
		for (unsigned n = 0; n < 1000 && rc == 0; n++) {
			rc = next(w, &e);
			CU_ASSERT_FATAL(rc || e.op <= IPCMAP_EVENT_GAP);
		}
		if (rc == 0 || (rc != IPCMAP_BUSY && rc != IPCMAP_CORRUPT)) {
			fprintf(stderr, "\nseed %llu: %d", (unsigned long long)start, rc);
			CU_FAIL("a watch of hostile bytes");
			break;
		}
		next(k, &e);
		s->ring = ring;
	}
	s->ring_head &= ~UINT64_C(7);
	ipcmap_watch_close(w);
	ipcmap_watch_close(k);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"key, prefix and map see what concerns them",
	 watch__key_prefix_and_map_see_what_concerns_them},
	{"every kind of write tells", watch__every_kind_of_write_tells},
	{"expired keys are told when they go", watch__expired_keys_are_told_when_they_go},
	{"long keys are gaps", watch__long_keys_are_gaps},
	{"expired long keys are told", watch__expired_long_keys_are_told},
#if defined(IM_CHECK) && IM_CHECK
	{"an event that is overwritten while it is read",
	 watch__event_that_is_overwritten_while_it_is_read},
#endif
	{"a slow watcher gets a gap and goes on", watch__slow_watcher_gets_a_gap_and_goes_on},
	{"a key that did not change has no gap", watch__key_that_did_not_change_has_no_gap},
	{"events that go round the ring are whole",
	 watch__events_that_go_round_the_ring_are_whole},
	{"rings come with the first and go with the last",
	 watch__rings_come_with_the_first_and_go_with_the_last},
	{"rings of the dead are given back", watch__rings_of_the_dead_are_given_back},
	{"a full map", watch__full_map},
	{"arguments", watch__arguments},
	{"a segment without a waiting area", watch__segment_without_a_waiting_area},
	{"a watch is of the process that opened it", watch__is_of_the_process_that_opened_it},
	{"interrupt ends the wait", watch__interrupt_ends_the_wait},
	{"other keys do not wake", watch__other_keys_do_not_wake},
	{"a sleeper is woken", watch__sleeper_is_woken},
	{"the descriptor is readable until nothing is left",
	 watch__descriptor_is_readable_until_nothing_is_left},
	{"hostile bytes end in a gap or an error",
	 watch__hostile_bytes_end_in_a_gap_or_an_error},
	CU_TEST_INFO_NULL,
};
T_SUITE("watch", tests)
