/* SPDX-License-Identifier: MIT */
/*
 * t-stats.c - counts and facts
 */
#include "kit.h"

#include <pthread.h>

static struct ipcmap *m;

static void stats__tell_the_geometry(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_stat s;

	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	o.limit = 64 * KIT_MIB;
	o.max = 100 * KIT_MIB;
	o.mode = 0640;
	o.shards = 5;
	o.ttl_ns = 7 * KIT_SEC;
	CU_ASSERT_FATAL(ipcmap_open(T_NAME, &o, &m) == 0);
	s = kit_stat(m);
	CU_ASSERT(s.limit == 64 * KIT_MIB && s.max >= 100 * KIT_MIB && s.shards == 8);
	CU_ASSERT(s.extent_len == 32768 && s.ttl_ns == 7 * KIT_SEC && s.mode == 0640);
	CU_ASSERT(s.uid == geteuid() && s.gid == getegid() && s.format == FMT_VERSION);
	CU_ASSERT(s.attached == 1 && s.owners >= 255 && s.created > 1600000000);
	CU_ASSERT(s.entries == 0 && s.live_len == 0 && s.log_len == 0 && s.index_len == 0);
	CU_ASSERT(s.buckets == 0 && s.overflows == 0 && s.used > 0 && s.used < 2 * KIT_MIB);
	kit_gone(m);
}

static void stats__count_what_was_done(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_stat s;
	char buf[8];

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT(kit_put(m, "k", "value") == 0);
	how.flags = IPCMAP_IF_ABSENT;
	CU_ASSERT(ipcmap_put(m, "k", 1, "", 0, &how) == IPCMAP_EXISTS);
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT(ipcmap_get(m, "k", 1, buf, 8, NULL) == 0);
	CU_ASSERT(ipcmap_get(m, "k", 1, buf, 2, NULL) == IPCMAP_SHORT); /* it is there */
	CU_ASSERT(ipcmap_get(m, "x", 1, buf, 8, NULL) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_exists(m, "x", 1) == 0 && ipcmap_exists(m, "k", 1) == 1);
	CU_ASSERT(ipcmap_del(m, "x", 1) == IPCMAP_NOTFOUND && ipcmap_del(m, "k", 1) == 0);
	s = kit_stat(m);
	CU_ASSERT(s.puts == 10 && s.dels == 1 && s.gets == 9 && s.hits == 7);
	CU_ASSERT(s.takeovers == 0 && s.waits == 0);
	kit_gone(m);
}

static void stats__lengths_add_up(void)
{
	struct ipcmap_stat s;
	char val[3000] = "";
	uint64_t empty, live = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 0);
	empty = kit_stat(m).used;
	for (uint64_t i = 0; i < 20000; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, val, i % 300, NULL) == 0);
		live += kit_entry_len(m, k.len, i % 300);
	}
	CU_ASSERT(ipcmap_put(m, "large", 5, val, sizeof(val), NULL) == 0);
	live += kit_entry_len(m, 5, sizeof(val));
	s = kit_stat(m);
	CU_ASSERT(s.entries == 20001 && s.live_len == live);
	CU_ASSERT(s.log_len >= s.live_len && s.log_len % s.extent_len == 0);
	CU_ASSERT(s.index_len >= s.buckets * 64 && s.index_len % s.extent_len == 0);
	CU_ASSERT(s.used <= s.limit);
	/* log, index and large extents; a reserve and up to two ahead a shard */
	CU_ASSERT(s.used - empty >= s.log_len + s.index_len + s.large_len);
	CU_ASSERT(s.used - empty <=
		  s.log_len + s.index_len + s.large_len + 4 * s.shards * s.extent_len);
	kit_gone(m);
}

/* A list that is armed counts as stored: here one that would make 42 entries of none. */
static void stats__armed_list_counts_as_stored(void)
{
	struct fmt_shard *s;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	s = &m->shards[0];
	s->redo.store[0].at = (uint64_t)((unsigned char *)&s->entries - m->seg->base);
	s->redo.store[0].val = 42;
	s->redo.n = 1;
	CU_ASSERT(kit_entries(m) == 0);
	s->redo.seq++;
	CU_ASSERT(kit_entries(m) == 42 && kit_stat(m).entries == 42);
	s->redo.n = UINT32_MAX; /* hostile */
	s->redo.store[0].val = 7;
	CU_ASSERT(kit_entries(m) == 7);
	s->redo.seq++;
	CU_ASSERT(kit_entries(m) == 0);
	kit_gone(m);
}

#if defined(IM_CHECK) && IM_CHECK
#include "crash.h"

static unsigned disturbed;

/* The list is another one after each reading's start, and says what no list ever said. */
static void write_on(const char *point)
{
	struct fmt_shard *s = &m->shards[0];

	if (strcmp(point, "read.books") != 0)
		return;
	disturbed++;
	s->redo.seq += 2;
	s->redo.store[0].at = (uint64_t)((unsigned char *)&s->entries - m->seg->base);
	s->redo.store[0].val = UINT64_MAX;
	s->redo.n = 1;
}

/* After so many readings the last one was taken as it was. */
static void stats__shard_written_all_the_time_has_its_own_figures(void)
{
	struct ipcmap_stat s, quiet;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	for (uint64_t i = 0; i < 30; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, "value", 5, NULL) == 0);
	}
	quiet = kit_stat(m);
	m->shards[0].redo.seq++;
	im_crash_hook = write_on;
	CU_ASSERT(kit_entries(m) == 30);
	s = kit_stat(m);
	im_crash_hook = NULL;
	m->shards[0].redo.seq++;
	CU_ASSERT(disturbed > 2 && s.entries == 30 && s.live_len == quiet.live_len);
	CU_ASSERT(s.large_len == quiet.large_len && s.overflows == quiet.overflows);
	kit_gone(m);
}
#endif

#define THREADS 4
#define EACH 20000

static void *work(void *arg)
{
	uint64_t from = (uint64_t)(uintptr_t)arg * EACH;

	for (uint64_t i = from; i < from + EACH; i++) {
		struct kit_key k = kit_key(i);

		ipcmap_put(m, k.text, k.len, "v", 1, NULL);
		ipcmap_exists(m, k.text, k.len);
		if (i % 2)
			ipcmap_del(m, k.text, k.len);
	}
	return NULL;
}

static void stats__threads_lose_no_counts(void)
{
	pthread_t t[THREADS];
	struct ipcmap_stat s;

	m = kit_made(T_NAME, 64 * KIT_MIB, 0, 2);
	for (uintptr_t i = 0; i < THREADS; i++)
		CU_ASSERT_FATAL(pthread_create(&t[i], NULL, work, (void *)i) == 0);
	for (unsigned i = 0; i < 1000; i++) {
		s = kit_stat(m);
		CU_ASSERT(s.hits <= s.gets && s.entries <= THREADS * EACH);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	s = kit_stat(m);
	CU_ASSERT(s.puts == THREADS * EACH && s.dels == THREADS * EACH / 2);
	CU_ASSERT(s.gets == THREADS * EACH && s.hits == s.gets);
	CU_ASSERT(s.entries == THREADS * EACH / 2);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"stat tells the geometry", stats__tell_the_geometry},
	{"stat counts what was done", stats__count_what_was_done},
	{"stat's lengths add up", stats__lengths_add_up},
	{"an armed list counts as stored", stats__armed_list_counts_as_stored},
#if defined(IM_CHECK) && IM_CHECK
	{"a shard written all the time has its own figures",
	 stats__shard_written_all_the_time_has_its_own_figures},
#endif
	{"threads lose no counts", stats__threads_lose_no_counts},
	CU_TEST_INFO_NULL,
};
T_SUITE("stats", tests)
