/* SPDX-License-Identifier: MIT */
/*
 * t-compact.c - a full map loses nine tenths of its keys and is compacted while others use it
 *
 * Writers update the keys that stayed and let others come and go; readers look for both kinds;
 * one process, attached for reading only, scans again and again; samplers attach for each look
 * at the figures, as a monitor does. Compactors are killed at any moment, and the last one
 * finishes. Then no more memory is behind the file than promised.
 *
 * 64 MiB; with IPCMAP_TEST_BIG=1 in the environment 1 GiB as well.
 */
#include "load.h"

#include "map.h"
#include "os.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#define WRITERS 2u
#define READERS 2u
#define KILLS T_AMOUNT(25u, 8u, 4u)
#define STAYS 10u /* one key of so many */
/* Rounds of each writer while the last compaction goes on. What they leave behind it is garbage
 * that no compaction has seen, so it must be little. */
#define EACH 100u

static const char *name;

struct shared {
	uint32_t keys; /* 0 .. keys - 1 were there before, 0, STAYS, 2 STAYS, ... are now */
	uint32_t stop;
	uint32_t slowly;
	uint32_t credit[WRITERS];		/* writes that each may still make */
	uint64_t writes, reads, scans, samples; /* done */
	uint64_t faults;
};

static struct shared *sh;

static size_t make_key(uint32_t i, char *key)
{
	return (size_t)sprintf(key, "compact-%u", i);
}

/* 1 in 1001 is large. The same for every version of a key, so live data keep their size. */
static uint32_t length_of(uint32_t i)
{
	uint32_t h = i * 2654435761u >> 8;

	return i % 1001 == 10 ? 70000 : LOAD_MIN + h % 200;
}

static int put(struct ipcmap *m, uint32_t i, uint64_t seq)
{
	static unsigned char val[80000];
	char key[24];

	load_make(val, length_of(i), i, 0, seq);
	return ipcmap_put(m, key, make_key(i, key), val, length_of(i), NULL);
}

/* Is what was read right for key @i? A key that went, or comes and goes, may be absent. */
static bool right(int r, const unsigned char *buf, size_t len, uint32_t i)
{
	uint64_t seq;

	if (r == IPCMAP_NOTFOUND)
		return i % STAYS != 0;
	return r == 0 && len == length_of(i) && load_is(buf, len, i, 0, &seq);
}

static void fault(const char *what, uint32_t i, int r)
{
	if (im_add_rlx(&sh->faults, 1) < 10)
		fprintf(stderr, "\n  %s %u: %d\n", what, i, r);
}

/* ---- who uses the map meanwhile ---- */

static bool over(void)
{
	return im_load32_acq(&sh->stop);
}

/* Every other write updates a key that stays; the others put one that went, and delete it. */
static int write_on(void *arg)
{
	uint32_t me = *(uint32_t *)arg, *credit = &sh->credit[me];
	uint64_t x = 77 + me, seq = 0;
	struct ipcmap *m;
	char key[24];

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	while (!over()) {
		uint32_t i = (uint32_t)(load_random(&x) % (sh->keys / STAYS)) * STAYS;
		int r;

		if (!im_load32_rlx(credit)) {
			t_sleep_ms(1);
			continue;
		}
		im_add32_rlx(credit, (uint32_t)-1);
		r = put(m, i, ++seq);
		if (r)
			fault("update", i, r);
		i += 1 + me; /* no other writer's */
		r = put(m, i, seq);
		if (!r)
			r = ipcmap_del(m, key, make_key(i, key));
		if (r)
			fault("put and delete", i, r);
		im_add_rlx(&sh->writes, 3);
		if (im_load32_acq(&sh->slowly))
			t_sleep_ms(10);
	}
	ipcmap_close(m);
	return 0;
}

static int read_on(void *arg)
{
	static unsigned char buf[80000];
	uint64_t x = 1234 + (uint64_t)(uintptr_t)arg;
	struct ipcmap *m;
	char key[24];

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	while (!over()) {
		uint32_t i = (uint32_t)(load_random(&x) % sh->keys);
		size_t len = 0;
		int r;

		i -= load_random(&x) % 4 ? i % STAYS : 0;
		r = ipcmap_get(m, key, make_key(i, key), buf, sizeof(buf), &len);
		if (!right(r, buf, len, i))
			fault("get", i, r);
		im_add_rlx(&sh->reads, 1);
	}
	ipcmap_close(m);
	return 0;
}

struct scan {
	uint8_t *times; /* of the keys that stay */
	uint32_t shown;
};

static int show(void *arg, const struct ipcmap_item *item)
{
	struct scan *sc = arg;
	char key[24];
	uint32_t i;

	memcpy(key, item->key, item->key_len);
	key[item->key_len] = '\0';
	i = (uint32_t)strtoul(key + strlen("compact-"), NULL, 10);
	if (i >= sh->keys || !right(0, item->val, item->val_len, i))
		fault("scan: value of", i, 0);
	else if (i % STAYS == 0)
		sc->times[i / STAYS]++;
	return over();
}

/* Each key that stays, once in each scan. */
static int scan_on(void *arg)
{
	struct scan sc = {.shown = 0};
	struct ipcmap *m;

	(void)arg;
	sc.times = malloc(sh->keys / STAYS + 1);
	T_MUST(load_open(name, IPCMAP_RDONLY, 0, 0, &m) == 0);
	while (!over()) {
		uint64_t cursor = 0;
		int r;

		memset(sc.times, 0, sh->keys / STAYS + 1);
		do /* what does not stand still long enough is asked for again */
			r = ipcmap_scan(m, &cursor, NULL, 0, 0, show, &sc);
		while (r == IPCMAP_BUSY && !over());
		if (over())
			break;
		if (r)
			fault("scan", 0, r);
		for (uint32_t i = 0; i * STAYS < sh->keys; i++)
			if (sc.times[i] != 1)
				fault("scan: times of", i * STAYS, sc.times[i]);
		im_add_rlx(&sh->scans, 1);
	}
	ipcmap_close(m);
	free(sc.times);
	return 0;
}

/* Attached for one look. What it sees must be possible. */
static void sample(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	struct ipcmap_inspect in = {.struct_size = sizeof(in)};
	struct ipcmap_shard_info shard = {.struct_size = sizeof(shard)};
	struct ipcmap_extent_counts *counts;
	uint64_t least = (sh->keys + STAYS - 1) / STAYS;
	struct ipcmap *m;

	T_MUST(load_open(name, IPCMAP_RDONLY, 0, 0, &m) == 0);
	T_MUST(ipcmap_stat(m, &st) == 0 && ipcmap_inspect(m, &in) == 0);
	if (st.entries < least || st.entries > least + WRITERS || st.used > st.limit ||
	    st.live_len > st.log_len)
		fault("stat: entries", (uint32_t)st.entries, 0);
	if (in.extents_used > in.extents_limit || in.shards != st.shards)
		fault("inspect: extents", in.extents_used, 0);
	for (uint32_t i = 0; i < st.shards; i++)
		T_MUST(ipcmap_inspect_shard(m, i, &shard) == 0);
	counts = calloc(st.shards + 1, sizeof(*counts));
	T_MUST(ipcmap_inspect_extents(m, counts, st.shards + 1) == 0);
	free(counts);
	ipcmap_close(m);
	im_add_rlx(&sh->samples, 1);
}

static int sample_on(void *arg)
{
	(void)arg;
	while (!over()) {
		sample();
		t_sleep_ms(3);
	}
	return 0;
}

/* ---- compactors ---- */

static struct im_os os;

static uint64_t leap(void)
{
	static uint64_t ahead;

	ahead += 500000000;
	return im_os_real.now() + ahead;
}

/* Without a rest, so that a kill finds it anywhere; waits for locks are short then, too. */
static int compact_until_killed(void *arg)
{
	struct ipcmap *m;
	int r;

	(void)arg;
	os = im_os_real;
	os.now = leap;
	im_os = &os;
	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	do
		r = ipcmap_compact(m, NULL, NULL);
	while (r == 0 || r == IPCMAP_BUSY);
	fault("compact", 0, r);
	return 1;
}

static int stop_at_20(void *arg, uint64_t done, uint64_t of)
{
	(void)done;
	(void)of;
	return ++*(unsigned *)arg == 20;
}

static int compact_until_stopped(void *arg)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap *m;
	unsigned calls = 0;

	(void)arg;
	how.progress = stop_at_20;
	how.arg = &calls;
	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	T_MUST(ipcmap_compact(m, &how, NULL) == IPCMAP_INTERRUPTED && calls == 20);
	ipcmap_close(m);
	return 0;
}

static int compact_to_the_end(void *arg)
{
	struct ipcmap *m;

	(void)arg;
	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	T_MUST(ipcmap_compact(m, NULL, NULL) == 0);
	ipcmap_close(m);
	return 0;
}

/* ---- before and after ---- */

static struct ipcmap_stat stat_of(struct ipcmap *m)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	CU_ASSERT(ipcmap_stat(m, &st) == 0);
	return st;
}

static uint64_t blocks(void)
{
	char path[80];
	struct stat st;

	snprintf(path, sizeof(path), "/dev/shm%s", name);
	CU_ASSERT_FATAL(stat(path, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Until the limit; then nine of ten keys go. */
static void fill(struct ipcmap *m)
{
	unsigned bad = 0;
	char key[24];
	uint32_t i = 0;
	int r;

	while ((r = put(m, i, 0)) == 0)
		i++;
	CU_ASSERT(r == IPCMAP_LIMIT && i > 1000);
	sh->keys = i;
	for (i = 0; i < sh->keys; i++)
		if (i % STAYS)
			bad += ipcmap_del(m, key, make_key(i, key)) != 0;
	CU_ASSERT(bad == 0);
}

/* live entry bytes + index (12 bytes an entry) + fixed tables + 5 % + four extents per shard */
static uint64_t promised(const struct ipcmap_stat *st, uint64_t fixed)
{
	uint64_t sum = st->live_len + st->large_len + 12 * st->entries + fixed;

	return sum + sum / 20 + 4ull * st->shards * st->extent_len;
}

static void all_right(struct ipcmap *m)
{
	static unsigned char buf[80000];
	unsigned bad = 0;
	char key[24];

	for (uint32_t i = 0; i < sh->keys; i++) {
		size_t len = 0;
		int r = ipcmap_get(m, key, make_key(i, key), buf, sizeof(buf), &len);

		bad += !right(r, buf, len, i) || (i % STAYS && r == 0);
	}
	CU_ASSERT(bad == 0);
}

static void compacted(const char *segment, uint64_t limit)
{
	int (*const who[])(void *) = {write_on, write_on,  read_on,  read_on,
				      scan_on,	sample_on, sample_on};
	uint32_t number[WRITERS];
	uint64_t x = t_now_ms() | 1, fixed, full;
	pid_t pid[ARRAY_LEN(who)];
	struct ipcmap_stat st;
	struct ipcmap *m;

	name = segment;
	sh = t_shared(sizeof(*sh));
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, limit, 0, &m) == 0);
	fixed = stat_of(m).used;
	fill(m);
	full = blocks();
	for (uint32_t k = 0; k < ARRAY_LEN(who); k++) {
		uint32_t *n = &number[k % WRITERS];

		*n = k;
		pid[k] = t_run(who[k], n);
	}
	for (unsigned i = 0; i < KILLS; i++) {
		pid_t victim = t_run(compact_until_killed, NULL);

		for (unsigned k = 0; k < WRITERS; k++)
			sh->credit[k] = 200;
		usleep((unsigned)(load_random(&x) % 20000));
		kill(victim, SIGKILL);
		CU_ASSERT(t_killed(victim)); /* and did not end of itself */
	}
	CU_ASSERT(t_ok(t_run(compact_until_stopped, NULL)));
	for (unsigned k = 0; k < WRITERS; k++)
		sh->credit[k] = 0;
	sh->slowly = 1;
	t_sleep_ms(20);
	for (unsigned k = 0; k < WRITERS; k++)
		sh->credit[k] = EACH;
	CU_ASSERT(t_ok(t_run(compact_to_the_end, NULL)));
	/* they are still at it */
	st = stat_of(m);
	if (blocks() > promised(&st, fixed))
		fprintf(stderr,
			"\n  %llu bytes of memory, %llu promised; live %llu, log %llu\n",
			(unsigned long long)blocks(), (unsigned long long)promised(&st, fixed),
			(unsigned long long)st.live_len, (unsigned long long)st.log_len);
	CU_ASSERT(blocks() <= promised(&st, fixed) && blocks() < full / 2);
	im_store32_rel(&sh->stop, 1);
	for (unsigned k = 0; k < ARRAY_LEN(who); k++)
		CU_ASSERT(t_ok(pid[k]));
	printf("(%llu writes, %llu reads, %llu scans, %llu samples) ",
	       (unsigned long long)sh->writes, (unsigned long long)sh->reads,
	       (unsigned long long)sh->scans, (unsigned long long)sh->samples);
	CU_ASSERT(sh->faults == 0 && sh->writes > 0 && sh->reads > 0 && sh->samples > 0);
	CU_ASSERT(stat_of(m).entries == (sh->keys + STAYS - 1) / STAYS);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	all_right(m);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_shared_free(sh, sizeof(*sh));
}

static void compact__full_map_shrinks_while_others_use_it(void)
{
	compacted(T_NAME, 64u << 20);
}

static void compact__one_gib_shrinks_while_others_use_it(void)
{
	const char *big = getenv("IPCMAP_TEST_BIG");

	if (!big || strcmp(big, "1") != 0) {
		t_skip("IPCMAP_TEST_BIG=1 runs it");
		return;
	}
	compacted(T_NAME, 1u << 30);
}

/* ---- threads: what a sanitizer can follow ---- */

#define ROUNDS T_AMOUNT(40u, 8u, 4u)
#define FEW 400u   /* keys that stay */
#define MANY 6000u /* that come and go in each round */

static struct ipcmap *one_map;
static bool enough;
static uint32_t wrong;

static int put_small(uint32_t i, uint64_t seq)
{
	unsigned char val[LOAD_MIN];
	char key[24];

	load_make(val, sizeof(val), i, 0, seq);
	return ipcmap_put(one_map, key, make_key(i, key), val, sizeof(val), NULL);
}

static void *read_few(void *arg)
{
	unsigned char buf[LOAD_MIN];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	uint64_t x = (uint64_t)(uintptr_t)arg, seq;
	char key[24];

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		uint32_t i = (uint32_t)(load_random(&x) % FEW);
		int r = ipcmap_getx(one_map, key, make_key(i, key), &v);

		if (r ? r != IPCMAP_BUSY : !load_is(buf, v.len, i, 0, &seq))
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static int count_few(void *arg, const struct ipcmap_item *item)
{
	char key[24] = "";

	memcpy(key, item->key, item->key_len);
	*(uint32_t *)arg += strtoul(key + strlen("compact-"), NULL, 10) < FEW;
	return 0;
}

static void *scan_few(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		uint64_t cursor = 0;
		uint32_t n = 0;

		if (ipcmap_scan(one_map, &cursor, NULL, 0, 0, count_few, &n) || n != FEW)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* All but the rest, and the pages. */
static int stop_before_the_rest(void *arg, uint64_t done, uint64_t of)
{
	(void)arg;
	return done + 1 == of;
}

static void compact__threads_read_and_scan_through_it(void)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	void *(*const who[])(void *) = {read_few, read_few, scan_few};
	const char *segment = T_NAME;
	pthread_t t[ARRAY_LEN(who)];
	unsigned bad = 0;
	char key[24];

	CU_ASSERT_FATAL(load_open(segment, IPCMAP_CREATE, 2u << 20, 1, &one_map) == 0);
	how.progress = stop_before_the_rest;
	enough = false;
	wrong = 0;
	for (uint32_t i = 0; i < FEW; i++)
		bad += put_small(i, 0) != 0;
	for (uintptr_t k = 0; k < ARRAY_LEN(who); k++)
		CU_ASSERT_FATAL(pthread_create(&t[k], NULL, who[k], (void *)(k + 1)) == 0);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t n = round % 2 ? MANY : MANY / 8;

		for (uint32_t i = FEW; i < FEW + n; i++)
			bad += put_small(i, round) != 0;
		for (uint32_t i = FEW; i < FEW + n; i++)
			bad += ipcmap_del(one_map, key, make_key(i, key)) != 0;
		for (uint32_t i = 0; i < FEW; i += 3)
			bad += put_small(i, round) != 0;
		bad += ipcmap_compact(one_map, &how, NULL) != IPCMAP_INTERRUPTED;
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	for (unsigned k = 0; k < ARRAY_LEN(t); k++)
		pthread_join(t[k], NULL);
	CU_ASSERT(bad == 0 && wrong == 0);
	CU_ASSERT(ipcmap_check(one_map, load_print, NULL) == 0);
	ipcmap_close(one_map);
	ipcmap_unlink(segment);
}

static CU_TestInfo tests[] = {
	{"threads read and scan through it", compact__threads_read_and_scan_through_it},
	{"a full map shrinks while others use it",
	 compact__full_map_shrinks_while_others_use_it},
	{"1 GiB shrinks while others use it", compact__one_gib_shrinks_while_others_use_it},
	CU_TEST_INFO_NULL,
};
T_SUITE("compact in use", tests)
