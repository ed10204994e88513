/* SPDX-License-Identifier: MIT */
/*
 * t-compact.c - compaction: only the expired, estimates, steps, stops
 *
 * The clock of lives is turned by hand, and the one that rests are measured by flies.
 */
#include "kit.h"

#include <fcntl.h>

static struct ipcmap *m;

static uint64_t leap(void)
{
	static uint64_t ahead;

	ahead += KIT_SEC / 2;
	return im_os_real.now() + ahead;
}

static void begin(const char *name, uint64_t mib, unsigned shards)
{
	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, shards);
	kit_clock_on();
	kit_os.now = leap;
}

static void end(void)
{
	kit_clock_off();
	kit_gone(m);
}

/* Value and length follow from the number. */
static int put(uint64_t i, uint32_t len, uint64_t ttl_ns)
{
	static unsigned char val[1 << 20];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct kit_key k = kit_key(i);

	how.ttl_ns = ttl_ns;
	kit_bytes(val, len, i);
	return ipcmap_put(m, k.text, k.len, val, len, &how);
}

static bool has(uint64_t i, uint32_t len)
{
	static unsigned char val[1 << 20], buf[1 << 20];
	struct kit_key k = kit_key(i);
	size_t got;

	kit_bytes(val, len, i);
	return ipcmap_get(m, k.text, k.len, buf, sizeof(buf), &got) == 0 && got == len &&
	       memcmp(buf, val, len) == 0;
}

static int del(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_del(m, k.text, k.len);
}

static int run(unsigned flags, struct ipcmap_compact *ret)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;

	how.flags = flags;
	return ipcmap_compact(m, &how, ret);
}

/* What it freed, seen from outside; 0 for an error. */
static uint64_t freed_by(unsigned flags, struct ipcmap_compact *ret)
{
	uint64_t before = kit_stat(m).used;

	if (run(flags, ret))
		return 0;
	CU_ASSERT(before - kit_stat(m).used ==
		  (flags & IPCMAP_COMPACT_DRY_RUN ? 0 : ret->freed));
	return ret->freed;
}

/* Bytes of the file that have memory. */
static uint64_t blocks(void)
{
	struct stat st;

	CU_ASSERT(fstat(im_seg_fd(m->seg), &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Entries that were touched by cleaning of any kind. */
static uint64_t touched(void)
{
	struct ipcmap_stat s = kit_stat(m);

	return s.cleaned + s.expired;
}

static bool near(uint64_t a, uint64_t b, uint64_t most)
{
	if (a <= b + most && b <= a + most)
		return true;
	fprintf(stderr, "\n  %llu and %llu differ by more than %llu\n", (unsigned long long)a,
		(unsigned long long)b, (unsigned long long)most);
	return false;
}

/* ---- only the expired ---- */

/* Of @n keys each @nth stays, the others have expired. */
static void fill(uint64_t n, uint64_t nth, uint32_t len)
{
	unsigned bad = 0;

	for (uint64_t i = 0; i < n; i++)
		bad += put(i, len, i % nth ? KIT_SEC : IPCMAP_TTL_NONE) != 0;
	CU_ASSERT(bad == 0);
	kit_time += 2 * KIT_SEC;
}

static void stayed(uint64_t n, uint64_t nth, uint32_t len)
{
	unsigned bad = 0;

	for (uint64_t i = 0; i < n; i++)
		bad += has(i, len) != (i % nth == 0);
	CU_ASSERT(bad == 0 && kit_entries(m) == (n + nth - 1) / nth);
}

/*
 * Half expired, side by side with what stays: half of the memory comes back, none of it to the
 * system, and the estimate said so.
 */
static void half_expired(const char *name, uint64_t mib, unsigned shards, uint32_t len)
{
	struct ipcmap_compact could, did;
	uint64_t n, log, have;

	begin(name, mib, shards);
	n = mib * KIT_MIB / 2 / kit_entry_len(m, 10, len + 8);
	fill(n, 2, len);
	log = kit_stat(m).log_len;
	have = blocks();
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED | IPCMAP_COMPACT_DRY_RUN, &could) != 0);
	CU_ASSERT(kit_entries(m) == n && touched() == 0); /* it was dry */
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED, &did) > log * 2 / 5);
	CU_ASSERT(did.given_back == 0 && could.given_back == 0 && blocks() >= have);
	CU_ASSERT(near(could.freed, did.freed,
		       log / 20 + 2ull * m->n_shards * m->seg->extent_len));
	stayed(n, 2, len);
	CU_ASSERT(kit_sound(m));
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED, &did) == 0);
	end();
}

static void compact__expired_entries_give_their_memory_back_to_the_map(void)
{
	half_expired(T_NAME, 4, 1, 40);
	half_expired(T_NAME, 16, 0, 100);
	half_expired(T_NAME, 16, 2, 900);
}

/* Extents whose every entry has expired are not copied from. */
static void compact__wholly_expired_extents_cost_no_moving(void)
{
	struct ipcmap_compact did;
	uint64_t n = 60000;
	struct ipcmap_stat s;

	begin(T_NAME, 16, 0);
	fill(n, n, 100);
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED, &did) > 0);
	s = kit_stat(m);
	CU_ASSERT(s.entries == 1 && s.expired == n - 1 && s.cleaned <= 1);
	/* both heads and the reserve of each shard stay, and the extent of the one that stayed
	 */
	CU_ASSERT(s.log_len <= (2ull * s.shards + 1) * s.extent_len);
	end();
}

/* Where the expired leave little, they go, and nothing is moved for the rest of them. */
static void compact__few_expired_among_many_are_dropped_where_they_lie(void)
{
	struct ipcmap_compact did;
	uint64_t n = 30000, log;
	unsigned bad = 0;

	begin(T_NAME, 16, 1);
	for (uint64_t i = 0; i < n; i++)
		bad += put(i, 100, i % 50 ? IPCMAP_TTL_NONE : KIT_SEC) != 0;
	kit_time += 2 * KIT_SEC;
	log = kit_stat(m).log_len;
	CU_ASSERT(run(IPCMAP_COMPACT_EXPIRED, &did) == 0 && did.freed == 0);
	CU_ASSERT(kit_entries(m) == n - n / 50);
	CU_ASSERT(kit_stat(m).cleaned == 0 && kit_stat(m).log_len == log);
	for (uint64_t i = 0; i < n; i++)
		bad += has(i, 100) != (i % 50 != 0);
	CU_ASSERT(bad == 0);
	end();
}

/* Garbage of updates and deletes is none of its business. */
static void compact__extents_without_expired_entries_are_left_alone(void)
{
	struct ipcmap_compact did;
	uint64_t n = 60000, log;
	unsigned bad = 0;

	begin(T_NAME, 16, 1);
	for (uint64_t i = 0; i < n; i++)
		bad += put(i, 100, i % 2 ? IPCMAP_TTL_NONE : 100 * KIT_SEC) != 0;
	for (uint64_t i = 0; i < n; i += 3)
		bad += del(i) != 0;
	CU_ASSERT(bad == 0 && touched() == 0);
	log = kit_stat(m).log_len;
	CU_ASSERT(run(IPCMAP_COMPACT_EXPIRED, &did) == 0 && did.freed == 0);
	CU_ASSERT(touched() == 0 && kit_stat(m).log_len == log);
	end();
}

static void compact__cleared_entries_give_their_memory_back(void)
{
	struct ipcmap_compact could, did;
	uint64_t empty;
	unsigned bad = 0;

	begin(T_NAME, 16, 0);
	empty = kit_stat(m).used;
	for (uint64_t i = 0; i < 40000; i++)
		bad += put(i, i % 1000 ? 100 : 20000, 0) != 0;
	CU_ASSERT(ipcmap_clear(m) == 0 && put(7, 100, 0) == 0);
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED | IPCMAP_COMPACT_DRY_RUN, &could) != 0);
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED, &did) != 0);
	CU_ASSERT(near(could.freed, did.freed, 2ull * m->n_shards * m->seg->extent_len));
	CU_ASSERT(kit_stat(m).log_len + kit_stat(m).large_len <=
		  2ull * m->n_shards * m->seg->extent_len);
	CU_ASSERT(kit_stat(m).used - empty <=
		  kit_stat(m).index_len + 4ull * m->n_shards * m->seg->extent_len);
	CU_ASSERT(bad == 0 && has(7, 100) && kit_entries(m) == 1);
	end();
}

static void compact__expired_large_values_give_their_memory_back(void)
{
	struct ipcmap_compact could, did;
	unsigned bad = 0;

	begin(T_NAME, 16, 0);
	for (uint64_t i = 0; i < 60; i++)
		bad += put(i, 200000, i % 4 ? KIT_SEC : IPCMAP_TTL_NONE) != 0;
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED | IPCMAP_COMPACT_DRY_RUN, &could) != 0);
	CU_ASSERT(freed_by(IPCMAP_COMPACT_EXPIRED, &did) >= 45 * 200000);
	CU_ASSERT(could.freed == did.freed);
	for (uint64_t i = 0; i < 60; i++)
		bad += has(i, 200000) != (i % 4 == 0);
	CU_ASSERT(bad == 0 && kit_entries(m) == 15);
	end();
}

/* ---- at the limit ---- */

/* Entries of one length fill the map; compaction does not make what fits not fit. */
static void full(const char *name, uint64_t mib, unsigned shards, uint32_t len)
{
	struct ipcmap_compact did;
	unsigned bad = 0;
	uint64_t n = 0;
	int r;

	begin(name, mib, shards);
	while ((r = put(n, len, 0)) == 0)
		n++;
	CU_ASSERT(r == IPCMAP_LIMIT);
	for (unsigned round = 0; round < 3; round++) {
		CU_ASSERT(run(0, &did) == 0);
		for (uint64_t i = round; i < n; i += 1 + round)
			bad += put(i, len, 0) != 0;
	}
	for (uint64_t i = 0; i < n; i++)
		bad += !has(i, len);
	CU_ASSERT(bad == 0 && kit_entries(m) == n);
	end();
}

static void compact__full_map_takes_updates_as_before(void)
{
	full(T_NAME, 1, 1, 30);
	full(T_NAME, 4, 0, 100);
	full(T_NAME, 4, 1, 1000);
	full(T_NAME, 16, 0, 500);
}

/* ---- estimates ---- */

/* Deleted, expired and living side by side, small and large. */
static void mixed(uint64_t mib, uint64_t keep_of_ten, uint32_t len)
{
	uint64_t n = mib * KIT_MIB / 2 / kit_entry_len(m, 10, len + 8);
	unsigned bad = 0;

	for (uint64_t i = 0; i < n; i++)
		bad += put(i, i % 5000 == 1 ? 50000 : len, i % 3 ? KIT_SEC : 100 * KIT_SEC) !=
		       0;
	for (uint64_t i = 0; i < n; i++)
		if (i % 10 >= keep_of_ten)
			bad += del(i) != 0;
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(bad == 0);
}

static void estimated(const char *name, uint64_t mib, unsigned shards, uint64_t keep_of_ten,
		      uint32_t len)
{
	struct ipcmap_compact could, did;
	uint64_t before, have;

	begin(name, mib, shards);
	mixed(mib, keep_of_ten, len);
	before = touched();
	have = blocks();
	CU_ASSERT(freed_by(IPCMAP_COMPACT_DRY_RUN, &could) != 0);
	CU_ASSERT(touched() == before && blocks() == have);
	CU_ASSERT(freed_by(0, &did) != 0);
	CU_ASSERT(near(could.freed, did.freed,
		       did.freed / 20 + 1ull * m->n_shards * m->seg->extent_len));
	CU_ASSERT(near(could.given_back, did.given_back,
		       did.given_back / 20 + 1ull * m->n_shards * m->seg->extent_len));
	CU_ASSERT(have - blocks() == did.given_back);
	CU_ASSERT(freed_by(IPCMAP_COMPACT_DRY_RUN, &could) <=
		  1ull * m->n_shards * m->seg->extent_len);
	CU_ASSERT(freed_by(0, &did) <= 1ull * m->n_shards * m->seg->extent_len);
	end();
}

static void compact__estimate_is_near_what_is_gained(void)
{
	estimated(T_NAME, 4, 1, 10, 50);
	estimated(T_NAME, 16, 0, 1, 16);
	estimated(T_NAME, 16, 2, 5, 200);
	estimated(T_NAME, 32, 0, 3, 1000);
}

/* ---- steps and stops ---- */

struct steps {
	uint64_t calls;
	uint64_t stop_at;
	struct ipcmap_stat last; /* at the last call */
	uint64_t most_moved;	 /* between two calls */
	uint64_t most_dropped;
	uint64_t done;
	bool backwards;
};

static int step(void *arg, uint64_t done, uint64_t of)
{
	struct steps *s = arg;
	struct ipcmap_stat now = kit_stat(m);

	s->most_moved = max_u64(s->most_moved, now.cleaned - s->last.cleaned);
	s->most_dropped = max_u64(s->most_dropped, now.expired - s->last.expired);
	s->last = now;
	s->backwards |= done < s->done || done > of;
	s->done = done;
	return ++s->calls == s->stop_at;
}

/* No stay under a lock moves more than 64 KiB, or drops what is dead in more than two extents.
 */
static void small_steps(const char *name, unsigned flags)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct steps s = {.calls = 0};
	uint64_t n = 100000, len;

	begin(name, 512, 1); /* extents of 256 KiB */
	how.flags = flags;
	how.progress = step;
	how.arg = &s;
	len = kit_entry_len(m, 10, 50 + 8);
	fill(n, 2, 50);
	s.last = kit_stat(m);
	CU_ASSERT(ipcmap_compact(m, &how, NULL) == 0);
	CU_ASSERT(!s.backwards && s.most_moved > 0 && s.most_dropped > 0);
	/* those that were prefetched together are moved together */
	CU_ASSERT(s.most_moved <= 65536 / len + 8);
	CU_ASSERT(s.most_dropped <= 2 * m->seg->extent_len / len);
	stayed(n, 2, 50);
	end();
}

static void compact__goes_in_small_steps(void)
{
	small_steps(T_NAME, 0);
	small_steps(T_NAME, IPCMAP_COMPACT_EXPIRED);
}

/* Stopped at each of its steps in turn; the next one goes on, and all is done in the end. */
static void stopped(const char *name, unsigned flags)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap_compact ret;
	uint64_t n = 30000, log;
	unsigned stops = 0;
	int r;

	begin(name, 16, 2);
	fill(n, 10, 100);
	log = kit_stat(m).log_len;
	how.flags = flags;
	how.progress = step;
	do {
		struct steps s = {.stop_at = 1 + stops % 50};

		how.arg = &s;
		r = ipcmap_compact(m, &how, &ret);
		CU_ASSERT(r == 0 || (r == IPCMAP_INTERRUPTED && s.calls == s.stop_at));
		stops++;
	} while (r && stops < 10000);
	CU_ASSERT(r == 0 && stops > 10);
	CU_ASSERT(kit_stat(m).log_len < log / 4);
	stayed(n, 10, 100);
	CU_ASSERT(run(flags, &ret) == 0 && ret.freed <= 2ull * m->seg->extent_len);
	end();
}

/* Time that passes in sleeps alone. */
static uint64_t slept, given_at;

static uint64_t now_by_sleeps(void)
{
	return 1 + slept;
}

static int sleep_away(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	(void)word;
	(void)val;
	slept += timeout_ns;
	return -ETIMEDOUT;
}

static int note_giving(void *p, uint64_t len)
{
	if (!given_at)
		given_at = now_by_sleeps();
	return im_os_real.give_back(p, len);
}

/* A reader may still be in an extent that was just freed; it has a second to notice. */
static void compact__pages_rest_before_they_go(void)
{
	struct ipcmap_compact ret;

	begin(T_NAME, 16, 2);
	for (uint64_t i = 0; i < 3000; i++)
		CU_ASSERT(put(i, 1000, IPCMAP_TTL_NONE) == 0);
	for (uint64_t i = 0; i < 3000; i++)
		CU_ASSERT(del(i) == 0);
	slept = given_at = 0;
	kit_os.now = now_by_sleeps;
	kit_os.futex_wait = sleep_away;
	kit_os.give_back = note_giving;
	CU_ASSERT(run(0, &ret) == 0 && ret.given_back >= KIT_MIB);
	CU_ASSERT(given_at > KIT_SEC);
	end();
}

static void compact__stopped_goes_on_the_next_time(void)
{
	stopped(T_NAME, 0);
	stopped(T_NAME, IPCMAP_COMPACT_EXPIRED);
}

static void compact__stops_wherever_it_is(void)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	static const unsigned flags[] = {0, IPCMAP_COMPACT_DRY_RUN, IPCMAP_COMPACT_EXPIRED,
					 IPCMAP_COMPACT_DRY_RUN | IPCMAP_COMPACT_EXPIRED};

	begin(T_NAME, 4, 2);
	fill(10000, 10, 100);
	how.progress = step;
	for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
		uint64_t all, at = 1;

		how.flags = flags[i];
		for (all = UINT64_MAX; at < all && at < 40; at++) {
			struct steps s = {.stop_at = at};
			int r;

			how.arg = &s;
			r = ipcmap_compact(m, &how, NULL);
			CU_ASSERT(s.calls <= at &&
				  r == (s.calls == at ? IPCMAP_INTERRUPTED : 0));
			if (r == 0)
				all = at;
		}
		CU_ASSERT(at > 2);
	}
	stayed(10000, 10, 100);
	end();
}

static void compact__refuses_wrong_arguments(void)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *ro;

	begin(T_NAME, 1, 1);
	CU_ASSERT(put(1, 10, 0) == 0);
	CU_ASSERT(ipcmap_compact(NULL, NULL, NULL) == IPCMAP_INVALID);
	how.flags = 4;
	CU_ASSERT(ipcmap_compact(m, &how, NULL) == IPCMAP_INVALID);
	how.flags = IPCMAP_COMPACT_EXPIRED | IPCMAP_COMPACT_DRY_RUN;
	CU_ASSERT(ipcmap_compact(m, &how, NULL) == 0);
	how.struct_size--;
	CU_ASSERT(ipcmap_compact(m, &how, NULL) == IPCMAP_INVALID);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
	CU_ASSERT(ipcmap_compact(ro, NULL, NULL) == IPCMAP_READONLY);
	ipcmap_close(ro);
	CU_ASSERT(has(1, 10));
	end();
}

static CU_TestInfo tests[] = {
	{"expired entries give their memory back to the map",
	 compact__expired_entries_give_their_memory_back_to_the_map},
	{"wholly expired extents cost no moving",
	 compact__wholly_expired_extents_cost_no_moving},
	{"few expired among many are dropped where they lie",
	 compact__few_expired_among_many_are_dropped_where_they_lie},
	{"extents without expired entries are left alone",
	 compact__extents_without_expired_entries_are_left_alone},
	{"cleared entries give their memory back",
	 compact__cleared_entries_give_their_memory_back},
	{"expired large values give their memory back",
	 compact__expired_large_values_give_their_memory_back},
	{"a full map takes updates as before", compact__full_map_takes_updates_as_before},
	{"the estimate is near what is gained", compact__estimate_is_near_what_is_gained},
	{"compaction goes in small steps", compact__goes_in_small_steps},
	{"pages rest before they are given back", compact__pages_rest_before_they_go},
	{"stopped, it goes on the next time", compact__stopped_goes_on_the_next_time},
	{"it stops wherever it is", compact__stops_wherever_it_is},
	{"it refuses wrong arguments", compact__refuses_wrong_arguments},
	CU_TEST_INFO_NULL,
};
T_SUITE("compact", tests)
