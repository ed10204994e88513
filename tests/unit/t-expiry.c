/* SPDX-License-Identifier: MIT */
/*
 * t-expiry.c - a million lives that end at once; clocks of other time namespaces
 */
#include "kit.h"

#include <fcntl.h>
#include <sched.h>

static struct ipcmap *m;

static int put_for(uint64_t i, uint64_t ttl_ns)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct kit_key k = kit_key(i);

	how.ttl_ns = ttl_ns;
	return ipcmap_put(m, k.text, k.len, &i, sizeof(i), &how);
}

static int get(uint64_t i)
{
	struct kit_key k = kit_key(i);
	uint64_t v = 0;
	size_t len;
	int r = ipcmap_get(m, k.text, k.len, &v, sizeof(v), &len);

	return r ? r : v == i && len == sizeof(v) ? 0 : IPCMAP_CORRUPT;
}

static int del(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_del(m, k.text, k.len);
}

/* ---- all at once: work is counted, not timed ---- */

/* Entries that were moved or dropped; and in builds with crash points, steps of any kind. */
static uint64_t touched(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->n_shards; i++)
		n += m->shards[i].cleaned + m->shards[i].expired;
	return n;
}

static uint64_t points;

#if defined(IM_CHECK) && IM_CHECK
#include "crash.h"

static void count_point(const char *name)
{
	(void)name;
	points++;
}

static void count_points(bool on)
{
	im_crash_hook = on ? count_point : NULL;
}
#else
static void count_points(bool on)
{
	(void)on;
}
#endif

/* Of all calls since the last reset. */
struct most {
	uint64_t touched;
	uint64_t points;
	uint64_t touched_by_gets;
};

static void look(struct most *most, uint64_t before, uint64_t points_before)
{
	most->touched = max_u64(most->touched, touched() - before);
	most->points = max_u64(most->points, points - points_before);
}

/*
 * Keys 0 .. @n - 1 expire at one moment but for each @nth (0: none stays). Then @calls puts of
 * new keys, gets of old and new ones and deletes of old ones, none of which is long.
 */
static void all_at_once(uint64_t n, uint64_t nth, uint64_t calls, struct most *most)
{
	uint64_t state = 3;
	unsigned bad = 0;

	memset(most, 0, sizeof(*most));
	kit_time += 100 * KIT_SEC;
	count_points(true);
	for (uint64_t i = 0; i < calls; i++) {
		uint64_t old = kit_below(&state, n), before = touched(), p = points;
		bool stays = nth && old % nth == 0;

		bad += get(old) != (stays ? 0 : IPCMAP_NOTFOUND);
		most->touched_by_gets += touched() - before;
		bad += put_for(n + i, IPCMAP_TTL_NONE) != 0;
		look(most, before, p);
		before = touched();
		p = points;
		if (!stays)
			bad += del(old) != IPCMAP_NOTFOUND;
		look(most, before, p);
		bad += get(n + i) != 0;
	}
	count_points(false);
	CU_ASSERT(bad == 0);
	for (uint64_t i = 0; i < calls; i++)
		bad += get(n + i) != 0;
	for (uint64_t i = 0; nth && i < n; i += nth)
		bad += get(i) != 0;
	CU_ASSERT(bad == 0 && most->touched_by_gets == 0);
}

/* Until the limit; how many. */
static uint64_t fill(uint64_t first, uint64_t nth)
{
	uint64_t n = 0;
	int r;

	while ((r = put_for(first + n, nth && n % nth == 0 ? IPCMAP_TTL_NONE : 60 * KIT_SEC)) ==
	       0)
		n++;
	CU_ASSERT(r == IPCMAP_LIMIT);
	return n;
}

static uint64_t per_extent(void)
{
	return m->seg->extent_len / im_entry_round(m->seg, FMT_ENTRY_HEAD + 8 + 10 + 8);
}

#define MIB T_AMOUNT(64u, 16u, 16u) /* 64 MiB hold a million */

/*
 * The limit was reached, so the first put after that needs memory, and gets it from extents
 * whose entries have expired. Four extents at most are looked into for one call: two for their
 * dead, two more to be cleaned (clean.c).
 */
static void expiry__million_at_once_at_the_limit_is_no_long_call(void)
{
	uint64_t n, extra, room, index;
	struct most most;

	m = kit_made(T_NAME, MIB * KIT_MIB, MIB * KIT_MIB, 0);
	kit_clock_on();
	n = fill(0, 0);
	room = kit_log_len(m);
	index = kit_stat(m).index_len;
	CU_ASSERT(n >= MIB * UINT64_C(15000));
	all_at_once(n, 0, 20000, &most);
	printf("(%llu entries; at most %llu dropped by a call) ", (unsigned long long)n,
	       (unsigned long long)most.touched);
	CU_ASSERT(most.touched > 0 && most.touched <= 4 * per_extent());
	CU_ASSERT(most.points <= 16 * 4 * per_extent());
	/*
	 * All of it can be used again, and nobody named the old keys; but what the index took for
	 * old and new keys together it keeps. How much that is depends on the hash seed: some
	 * extents more or less in each shard.
	 */
	extra = fill(2 * n, 0) + 20000;
	CU_ASSERT(kit_stat(m).index_len <= index + index / 4);
	CU_ASSERT(extra * room >= n * kit_log_len(m) / 100 * 99);
	kit_clock_off();
	kit_gone(m);
}

/* Half of the entries stay, beside those that expire: nothing is released as it is. */
static void expiry__half_of_all_at_once_is_no_long_call(void)
{
	struct most most;
	uint64_t n;

	m = kit_made(T_NAME, 16 * KIT_MIB, 16 * KIT_MIB, 0);
	kit_clock_on();
	n = fill(0, 2);
	all_at_once(n, 2, n / 4, &most);
	printf("(at most %llu moved or dropped by a call) ", (unsigned long long)most.touched);
	CU_ASSERT(most.touched <= 8 * per_extent());
	CU_ASSERT(most.points <= 16 * 8 * per_extent());
	kit_clock_off();
	kit_gone(m);
}

/* With memory to spare, cleaning keeps pace with the writes and no more. */
static void expiry__below_the_limit_a_write_drops_few(void)
{
	struct most most;
	uint64_t n = T_AMOUNT(200000, 200000, 40000);
	unsigned bad = 0;

	m = kit_made(T_NAME, 64 * KIT_MIB, 64 * KIT_MIB, 0);
	kit_clock_on();
	for (uint64_t i = 0; i < n; i++)
		bad += put_for(i, 60 * KIT_SEC) != 0;
	CU_ASSERT(bad == 0);
	all_at_once(n, 0, n / 4, &most);
	CU_ASSERT(most.touched <= 64);
	kit_clock_off();
	kit_gone(m);
}

/* ---- time namespaces ---- */

struct seen {
	uint64_t left[2]; /* what the two processes see of the key that the parent put */
	bool cannot;
};

static uint64_t left_of(const char *key)
{
	char buf[8];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	return ipcmap_getx(m, key, strlen(key), &v) == 0 ? v.ttl_left_ns : 0;
}

static int put_life(const char *key, uint64_t ttl_ns)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = ttl_ns;
	return ipcmap_put(m, key, strlen(key), "v", 1, &how);
}

/* By a name, or by the handle that it has from before the fork. */
static const char *by_name;
static struct seen *seen;

static int in_the_namespace(void *arg)
{
	const char *key = arg;

	if (by_name)
		T_MUST(ipcmap_open(by_name, NULL, &m) == 0);
	seen->left[by_name != NULL] = left_of("parent");
	T_MUST(put_life(key, 500 * KIT_SEC) == 0);
	T_MUST(put_life("short", 20 * KIT_MS) == 0);
	while (left_of("short"))
		t_sleep_ms(5); /* its end comes here too */
	return 0;
}

/* Children of this process live in a namespace whose clock is @arg seconds ahead. */
static int change_namespace(void *arg)
{
	const char *name = m->seg->name;
	struct ipcmap *again;
	char offset[64];
	int fd;

	if (unshare(CLONE_NEWTIME) < 0 ||
	    (fd = open("/proc/self/timens_offsets", O_WRONLY)) < 0) {
		seen->cannot = true;
		return 0;
	}
	T_MUST(write(fd, offset, (size_t)sprintf(offset, "monotonic %d 0\n", *(int *)arg)) > 0);
	close(fd);
	/* this process is still in the old one, whatever it looks up */
	T_MUST(ipcmap_open(name, NULL, &again) == 0);
	T_MUST(left_of("parent") > 900 * KIT_SEC && left_of("parent") <= 1000 * KIT_SEC);
	ipcmap_close(again);
	T_MUST(t_ok(t_run(in_the_namespace, "forked")));
	T_MUST(left_of("forked") > 400 * KIT_SEC && left_of("forked") <= 500 * KIT_SEC);
	by_name = name;
	T_MUST(t_ok(t_run(in_the_namespace, "opened")));
	return 0;
}

/* Lives differ by the time that passes between two looks, not by the clocks' offset. */
static void agree_across(const char *name, int ahead)
{
	uint64_t before, after;

	by_name = NULL;
	seen = t_shared(sizeof(*seen));
	m = kit_made(name, KIT_MIB, 0, 1);
	CU_ASSERT(put_life("parent", 1000 * KIT_SEC) == 0);
	before = left_of("parent");
	CU_ASSERT(t_ok(t_run(change_namespace, &ahead)));
	after = left_of("parent");
	if (seen->cannot) {
		t_skip("no time namespace to be had");
	} else {
		CU_ASSERT(seen->left[0] <= before && seen->left[0] >= seen->left[1]);
		CU_ASSERT(seen->left[1] >= after && after > 900 * KIT_SEC);
		CU_ASSERT(left_of("forked") > 400 * KIT_SEC &&
			  left_of("forked") <= left_of("opened") &&
			  left_of("opened") <= 500 * KIT_SEC);
	}
	kit_gone(m);
	t_shared_free(seen, sizeof(*seen));
}

static void expiry__time_namespaces_agree_on_lives(void)
{
	agree_across(T_NAME, 1000000);
	agree_across(T_NAME, -10); /* the machine has been up for longer */
}

/* ---- the moment at which a life ends ---- */

static int count_item(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	++*(unsigned *)arg;
	return 0;
}

/* Do all calls that read say the same of key "k"? */
static bool all_say(int r, bool there)
{
	static unsigned char buf[4000];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	struct ipcmap_mget item = {.key = "k", .key_len = 1, .value = v};
	uint64_t cursor = 0;
	unsigned shown = 0;

	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count_item, &shown) == 0);
	return ipcmap_get(m, "k", 1, buf, sizeof(buf), &v.len) == r &&
	       ipcmap_getx(m, "k", 1, &v) == r && ipcmap_exists(m, "k", 1) == there &&
	       ipcmap_mget(m, &item, 1) == there && shown == there;
}

static void expiry__life_ends_for_all_at_one_moment(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT, there = how, absent = how;
	/* the last two by the whole protocol */
	static const size_t lens[] = {8, 200, 1500, 3000};
	static unsigned char val[4000];

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	kit_clock_on();
	how.ttl_ns = KIT_SEC;
	there.flags = IPCMAP_IF_PRESENT;
	absent.flags = IPCMAP_IF_ABSENT;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		CU_ASSERT(ipcmap_put(m, "k", 1, val, lens[i], &how) == 0);
		kit_time += KIT_SEC - 1;
		CU_ASSERT(all_say(0, true));
		CU_ASSERT(ipcmap_put(m, "k", 1, "new", 3, &absent) == IPCMAP_EXISTS);
		kit_time++;
		CU_ASSERT(all_say(IPCMAP_NOTFOUND, false));
		CU_ASSERT(ipcmap_put(m, "k", 1, "new", 3, &there) == IPCMAP_NOTFOUND);
		CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == IPCMAP_NOTFOUND);
		CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_NOTFOUND);
	}
	kit_clock_off();
	kit_gone(m);
}

/* ---- the clock moves during a call ---- */

static uint64_t readings;

/* The first reading is just before the end of the life, all others just behind it. */
static uint64_t moving_clock(void)
{
	return kit_time + (readings++ ? KIT_SEC + 1 : KIT_SEC - 1);
}

/* A key that has a second to live; its value, when @large, is read outside the lock. */
static void put_and_move(bool large)
{
	static unsigned char val[40000];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = KIT_SEC;
	CU_ASSERT(ipcmap_put(m, "k", 1, val, large ? sizeof(val) : 8, &how) == 0);
	readings = 0;
	kit_os.coarse = moving_clock;
}

static void expiry__one_reading_decides_a_stay(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	static unsigned char buf[40000];
	struct ipcmap_value old = {.buf = buf, .cap = sizeof(buf)};

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	kit_clock_on();
	put_and_move(false);
	how.flags = IPCMAP_IF_PRESENT;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "v", 1, &how, &old) == 0);
	CU_ASSERT(old.len == 8 && old.ttl_left_ns == 1);
	kit_clock_off();
	kit_gone(m);
}

static void expiry__each_stay_has_a_reading_of_its_own(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	static unsigned char buf[40000];
	struct ipcmap_value old = {.buf = buf, .cap = sizeof(buf)};

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	kit_clock_on();
	put_and_move(true);
	/* there in the first stay; gone when its value is read, and in the second stay */
	how.deadline_ns = 10 * KIT_SEC;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "v", 1, &how, &old) == 0);
	CU_ASSERT(old.len == 0 && old.version == 0 && readings >= 3);
	kit_clock_off();
	kit_gone(m);
}

/* ---- another life while it is read ---- */

#if defined(IM_CHECK) && IM_CHECK

static bool renewed;

/* The reader has the entry; before its life ends the key gets another one. */
static void renew(const char *point)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	if (strcmp(point, "read.copied") != 0 || renewed)
		return;
	renewed = true;
	how.ttl_ns = 1000 * KIT_SEC;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == 0);
	kit_time += 11 * KIT_SEC;
}

static void expiry__key_renewed_during_a_read_is_there(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	static unsigned char val[6000], buf[6000];

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	kit_clock_on();
	how.ttl_ns = 10 * KIT_SEC;
	/* by the short way, and by the whole protocol: twice for long values */
	for (unsigned k = 0; k < 6; k++) {
		struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
		size_t len = k < 2 ? 8 : k < 4 ? 2000 : 3900;
		int r;

		CU_ASSERT(ipcmap_put(m, "k", 1, val, len, &how) == 0);
		renewed = false;
		im_crash_hook = renew;
		r = k % 2 ? ipcmap_get(m, "k", 1, buf, sizeof(buf), &v.len)
			  : ipcmap_getx(m, "k", 1, &v);
		CU_ASSERT(r == 0 && v.len == len);
		im_crash_hook = NULL;
		CU_ASSERT(renewed);
	}
	kit_clock_off();
	kit_gone(m);
}

#endif

static CU_TestInfo tests[] = {
	{"a million at once, at the limit, is no long call",
	 expiry__million_at_once_at_the_limit_is_no_long_call},
	{"half of all at once is no long call", expiry__half_of_all_at_once_is_no_long_call},
	{"below the limit a write drops few", expiry__below_the_limit_a_write_drops_few},
	{"time namespaces agree on lives", expiry__time_namespaces_agree_on_lives},
	{"a life ends for all at one moment", expiry__life_ends_for_all_at_one_moment},
	{"one reading of the clock decides a stay", expiry__one_reading_decides_a_stay},
	{"each stay has a reading of its own", expiry__each_stay_has_a_reading_of_its_own},
#if defined(IM_CHECK) && IM_CHECK
	{"a key renewed during a read is there", expiry__key_renewed_during_a_read_is_there},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("expiry", tests)
