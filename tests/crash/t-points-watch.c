/* SPDX-License-Identifier: MIT */
/*
 * t-points-watch.c - killed in writes of watched shards, and in watches
 *
 * Nothing is evicted, so there is no operation of that.
 */
#include "points.h"

#include "bell.h"
#include "event.h"
#include "map.h"
#include "ring.h"

#define LIFE UINT64_C(100000000)
#define HOUR (UINT64_C(3600) * 1000000000)
#define EXPIRED 30u
#define EXPIRED_LARGE 31u
#define EXPIRED_FAR POINTS_FAR

/* ---- writes ---- */

/* Somebody sleeps until key 1 changes, somebody until any does. */
static void listen(struct ipcmap *m)
{
	unsigned char key[20];
	uint32_t n = (uint32_t)points_make_key(1, key);

	im_bell_listen(&m->bells[im_event_bell(m, key, n)]);
	im_bell_listen(&m->waits->any);
}

static void new_key(struct ipcmap *m)
{
	points_twenty(m);
	points_watch_from_here(m);
	listen(m);
}

static void old_key(struct ipcmap *m)
{
	points_one_over_many(m);
	points_watch_from_here(m);
	listen(m);
}

static void large_value(struct ipcmap *m)
{
	points_one_large(m);
	points_watch_from_here(m);
}

/* They are there when the watch begins, and then not. */
static void expired_keys(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_note(EXPIRED, -1);
	points_note(EXPIRED_LARGE, -1);
	points_note(EXPIRED_FAR, -1);
	T_MUST(points_store(m, EXPIRED, 300, 1, LIFE) == 0);
	T_MUST(points_store(m, EXPIRED_LARGE, 9000, 1, LIFE) == 0);
	T_MUST(points_store(m, EXPIRED_FAR, 60, 1, LIFE) == 0);
	points_watch_from_here(m);
	while (points_look(m, EXPIRED_FAR).r == 0)
		t_sleep_ms(5);
}

static int put_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 60, 2, 0);
}

static int put_large(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_store(m, 1, 11000, 2, 0);
}

static int del_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return points_del(m, 1);
}

static int del_expired(struct ipcmap *m, uint32_t i)
{
	static const uint32_t ids[] = {EXPIRED, EXPIRED_LARGE, EXPIRED_FAR};

	return points_del(m, ids[i]) != IPCMAP_NOTFOUND;
}

static int put_over_expired(struct ipcmap *m, uint32_t i)
{
	return points_store(m, i ? EXPIRED_LARGE : EXPIRED, 60, 2, 0);
}

static void expired_to_put(struct ipcmap *m)
{
	expired_keys(m);
	points_note(EXPIRED, 0);
	points_note(EXPIRED_LARGE, 1);
}

static int compact_expired(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;

	(void)i;
	how.flags = IPCMAP_COMPACT_EXPIRED;
	return points_compact(m, &how);
}

SCENARIO(put_new, "watched, put of a new key", new_key, put_1, 1, .least = 12,
	 .watched = POINTS_FOLLOWED)
SCENARIO(put_over, "watched, put over another", old_key, put_1, 1, .least = 12,
	 .watched = POINTS_FOLLOWED)
SCENARIO(put_large, "watched, put of large for large", large_value, put_large, 1, .least = 40,
	 .watched = POINTS_FOLLOWED)
SCENARIO(put_expired, "watched, puts over the expired", expired_to_put, put_over_expired, 2,
	 .least = 20, .watched = POINTS_FOLLOWED, .expiring = true)
SCENARIO(del, "watched, del", old_key, del_1, 1, .least = 10, .watched = POINTS_FOLLOWED)
SCENARIO(del_large, "watched, del of a large value", large_value, del_1, 1, .least = 20,
	 .watched = POINTS_FOLLOWED)
SCENARIO(del_expired, "watched, dels of the expired", expired_keys, del_expired, 3, .least = 30,
	 .watched = POINTS_FOLLOWED, .expiring = true)
SCENARIO(compact, "watched, compact of the expired", expired_keys, compact_expired, 1,
	 .least = 30, .watched = POINTS_FOLLOWED, .expiring = true)

/* A counter that grows; a life that changes, which is no event; a key that is taken. */
static int change_three(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value old = {0};
	unsigned char key[20], buf[100];
	size_t n = points_make_key(i + 1, key);
	int r;

	how.ttl_ns = HOUR;
	old.buf = buf;
	old.cap = sizeof(buf);
	points_step_in();
	if (i == 0)
		r = ipcmap_add(m, key, n, 5, NULL, NULL);
	else
		r = i == 1 ? ipcmap_touch(m, key, n, &how) : ipcmap_take(m, key, n, &old);
	return points_step_out(r);
}

static void three_keys(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 60);
	for (uint32_t i = 0; i < 3; i++)
		points_note(i + 1, (int)i);
	T_MUST(change_three(m, 0) == 0);
	points_watch_from_here(m);
}

SCENARIO(others, "watched, add, touch and take", three_keys, change_three, 3, .least = 30,
	 .watched = POINTS_FOLLOWED)

static int clear(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_step_in();
	return points_step_out(ipcmap_clear(m));
}

static void to_be_cleared(struct ipcmap *m)
{
	points_put_many(m, 1, 30, 60);
	for (uint32_t id = 1; id <= 30; id++)
		points_note(id, 0);
	points_watch_from_here(m);
	listen(m);
}

SCENARIO(clear, "watched, clear of two shards", to_be_cleared, clear, 1, .shards = 2,
	 .least = 16, .loose = true, .watched = POINTS_FOLLOWED)

/* ---- groups ---- */

static int commit(struct ipcmap *m, uint32_t i)
{
	static unsigned char key[9][20];
	struct ipcmap_change c[9];

	(void)i;
	memset(c, 0, sizeof(c));
	for (uint32_t k = 0; k < 9; k++) {
		c[k].key = key[k];
		c[k].key_len = points_make_key(k + 1, key[k]);
		if (k == 1 || k == 4 || k == 8) { /* the last is not there */
			c[k].flags = IPCMAP_CHANGE_DEL;
			continue;
		}
		c[k].val = "of the group";
		c[k].val_len = 12;
	}
	points_step_in();
	return points_step_out(ipcmap_commit(m, c, 9, 0));
}

static void some_of_nine(struct ipcmap *m)
{
	points_put_many(m, 20, 8, 300);
	for (uint32_t id = 1; id <= 9; id++)
		points_note(id, 0);
	for (uint32_t id = 1; id <= 6; id++)
		T_MUST(points_store(m, id, 100, id, 0) == 0);
	points_watch_from_here(m);
}

SCENARIO(group, "watched, group of one shard", some_of_nine, commit, 1, .group = true,
	 .least = 60, .watched = POINTS_FOLLOWED)
SCENARIO(groups, "watched, group of four shards", some_of_nine, commit, 1, .shards = 4,
	 .group = true, .least = 60, .watched = POINTS_FOLLOWED)

/* ---- bells, cut keys ---- */

/* Prefixes of more lengths than a write remembers bells for, and a key that is cut. */
static void many_prefixes(struct ipcmap *m)
{
	static unsigned char key[POINTS_FAR_LEN];
	struct ipcmap_watch *w;

	points_put_many(m, 2, 8, 60);
	points_note(POINTS_FAR, 0);
	points_note(1, 1);
	points_watch_from_here(m);
	points_make_key(POINTS_FAR, key);
	for (size_t n = 1; n <= 70; n += n < 40 ? 1 : 10)
		T_MUST(ipcmap_watch_open(m, key, n, IPCMAP_WATCH_PREFIX, &w) == 0);
}

static int put_far(struct ipcmap *m, uint32_t i)
{
	return points_store(m, i ? 1 : POINTS_FAR, 60, 1, 0);
}

SCENARIO(far, "watched, put of a key that is cut", many_prefixes, put_far, 2, .least = 40,
	 .watched = POINTS_FOLLOWED)

static int interrupt(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_step_in();
	ipcmap_interrupt(m);
	return points_step_out(0);
}

SCENARIO(interrupt, "watched, interrupted", new_key, interrupt, 1, .least = 1,
	 .watched = POINTS_FOLLOWED)

/* ---- round the ring ---- */

/* Short events, until so many bytes of the ring are left. */
static void fill_ring(struct ipcmap *m, uint32_t left)
{
	struct fmt_shard *s = &m->shards[0];
	uint64_t end = points->head[0] + m->seg->extent_len;

	for (uint32_t i = 0; s->ring_head < end - left; i++)
		T_MUST(points_store(m, 50, 16, i, 0) == 0);
	points_note(50, -1);
}

static void note_eight(struct ipcmap *m)
{
	points_put_many(m, 2, 20, 60);
	for (uint32_t i = 0; i < 8; i++)
		points_note(61 + i, (int)i);
	points_watch_from_here(m);
}

/*
 * From before the place where what the watcher has not read is lost, over the end of the ring,
 * which has a living watcher.
 */
static void before_the_gap(struct ipcmap *m)
{
	note_eight(m);
	fill_ring(m, m->seg->extent_len / 4 + 100);
}

static int put_eight(struct ipcmap *m, uint32_t i)
{
	return points_store(m, 61 + i, 20, i, 0);
}

SCENARIO(gap, "watched, puts into a gap", before_the_gap, put_eight, 8, .least = 80,
	 .watched = POINTS_FOLLOWED, .living = true)

static void before_the_end(struct ipcmap *m)
{
	note_eight(m);
	fill_ring(m, 100);
	points_watch_from_here(m);
}

SCENARIO(round, "watched, puts round the ring", before_the_end, put_eight, 8, .least = 60,
	 .watched = POINTS_FOLLOWED, .living = true)

/* All that watch are dead: the ring goes. */
SCENARIO(dead, "puts round a ring of the dead", before_the_end, put_eight, 8, .least = 60,
	 .watched = POINTS_WATCHED)

/* ---- watches ---- */

static struct ipcmap_watch *all, *one, *some;

static int open_first(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_event e;
	int r;

	if (i == 1)
		return points_store(m, 1, 60, 1, 0);
	points_step_in();
	if (i == 0)
		r = ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &all);
	else
		r = ipcmap_watch_next(all, IPCMAP_NOWAIT, &e);
	if (i == 3) {
		ipcmap_watch_close(all);
		r = r != IPCMAP_BUSY;
	}
	return points_step_out(r);
}

static void unwatched(struct ipcmap *m)
{
	points_twenty(m);
	points_note(1, 1);
}

SCENARIO(first, "watch opened, read and closed", unwatched, open_first, 4, .shards = 2,
	 .least = 60, .watched = POINTS_WATCHED)

/* Beside another: of a key, and of the keys that begin like it; they wait too. */
static int open_beside(struct ipcmap *m, uint32_t i)
{
	unsigned char key[20];
	size_t n = points_make_key(1, key);
	struct ipcmap_event e;
	int r;

	if (i == 1)
		return points_store(m, 1, 60, 1, 0);
	points_step_in();
	if (i == 0) {
		r = ipcmap_watch_open(m, key, n, IPCMAP_WATCH_KEY, &one);
		if (!r)
			r = ipcmap_watch_open(m, key, 3, IPCMAP_WATCH_PREFIX, &some);
	} else if (i == 2) {
		r = ipcmap_watch_next(one, IPCMAP_NOWAIT, &e);
		if (!r)
			r = ipcmap_watch_next(some, IPCMAP_NOWAIT, &e);
	} else {
		r = ipcmap_watch_next(one, 1000, &e) != IPCMAP_BUSY ||
		    ipcmap_watch_next(some, 1000, &e) != IPCMAP_BUSY;
		ipcmap_watch_close(one);
		ipcmap_watch_close(some);
	}
	return points_step_out(r);
}

static void watched_already(struct ipcmap *m)
{
	unwatched(m);
	points_watch_from_here(m);
}

SCENARIO(beside, "watches beside another", watched_already, open_beside, 4, .shards = 2,
	 .least = 25, .watched = POINTS_FOLLOWED, .living = true)

/* No extent is free, but there is garbage: the watch has the ring from cleaning. */
static void full_of_garbage(struct ipcmap *m)
{
	points_put_many(m, 1, 300, 700);
	for (uint32_t id = 1; id < 300; id += 2)
		T_MUST(points_del(m, id) == 0);
	points_leave_no_extent(m);
}

static int open_and_close(struct ipcmap *m, uint32_t i)
{
	int r;

	(void)i;
	points_step_in();
	r = ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &all);
	if (!r)
		ipcmap_watch_close(all);
	return points_step_out(r);
}

/* Large values have all the extents; nothing is to be gained. */
static void full(struct ipcmap *m)
{
	points_put_many(m, 1, 20, 700);
	for (uint32_t id = 1000; points_store(m, id, 3000, 1, 0) == 0; id++)
		points_note(id, -1);
}

static int open_in_vain(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_step_in();
	return points_step_out(ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &all) !=
			       IPCMAP_LIMIT);
}

/* Events were lost before a watch of all and one of a key read; then the key's sleeps. */
static int fall_behind(struct ipcmap *m, uint32_t i)
{
	unsigned char key[20];
	size_t n = points_make_key(1, key);
	struct ipcmap_event e;
	int r;

	if (i == 0) {
		r = ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &all);
		r = r ? r : ipcmap_watch_open(m, key, n, IPCMAP_WATCH_KEY, &one);
		r = r ? r : ipcmap_put(m, key, n, "changed", 7, NULL);
		m->shards[0].ring_head += m->seg->extent_len;
		return r;
	}
	points_step_in();
	r = ipcmap_watch_next(i == 1 ? all : one, IPCMAP_NOWAIT, &e);
	if (!r && i == 2)
		r = ipcmap_watch_next(one, 1000, &e) != IPCMAP_BUSY;
	return points_step_out(r || e.op != IPCMAP_EVENT_GAP);
}

SCENARIO(behind, "watches that fall behind", points_twenty, fall_behind, 3, .least = 10,
	 .watched = POINTS_WATCHED)
SCENARIO(in_vain, "watch opened, no memory", full, open_in_vain, 1, .least = 4)
SCENARIO(full, "watch opened in a full map", full_of_garbage, open_and_close, 1, .least = 40,
	 .watched = POINTS_WATCHED)

/* The ring that a dead process left serves the next; its word goes when that one leaves. */
SCENARIO(after_dead, "watch opened after a dead one", new_key, open_and_close, 1, .least = 10,
	 .watched = POINTS_WATCHED)

static CU_TestInfo tests[] = {
	{"killed in a put of a new key", points__put_new},
	{"killed in a put over another", points__put_over},
	{"killed in a put of large for large", points__put_large},
	{"killed in puts over the expired", points__put_expired},
	{"killed in a del", points__del},
	{"killed in a del of a large value", points__del_large},
	{"killed in dels of the expired", points__del_expired},
	{"killed in a compaction of the expired", points__compact},
	{"killed in add, touch and take", points__others},
	{"killed in a clear", points__clear},
	{"killed in a group of one shard", points__group},
	{"killed in a group of four shards", points__groups},
	{"killed in a put of a key that is cut", points__far},
	{"killed in an interrupt", points__interrupt},
	{"killed in puts into a gap", points__gap},
	{"killed in puts round the ring", points__round},
	{"killed in puts round a ring of the dead", points__dead},
	{"killed in a watch", points__first},
	{"killed in watches beside another", points__beside},
	{"killed in watches that fall behind", points__behind},
	{"killed in a watch that gets no memory", points__in_vain},
	{"killed in a watch of a full map", points__full},
	{"killed in a watch after a dead one", points__after_dead},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of watching", tests)
