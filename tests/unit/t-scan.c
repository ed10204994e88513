/* SPDX-License-Identifier: MIT */
/*
 * t-scan.c - every key exactly once, whatever happens meanwhile
 */
#include "kit.h"

#include "crash.h"

#include <pthread.h>
#include <signal.h>

static struct ipcmap *m;

static int put_number(struct ipcmap *map, uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_put(map, k.text, k.len, &i, sizeof(i), NULL);
}

/* How often each number was shown, and what the callback does besides. */
struct seen {
	uint8_t *times;
	uint64_t n; /* numbers below it are counted */
	uint64_t shown;
	uint64_t others;
	uint64_t stop_after;
	unsigned bad;
	bool vals;
};

static struct seen seen_of(uint64_t n)
{
	struct seen s = {.times = calloc(n, 1), .n = n, .stop_after = UINT64_MAX, .vals = true};

	return s;
}

static int note(void *arg, const struct ipcmap_item *item)
{
	struct seen *s = arg;
	char text[32] = "";
	uint64_t i, v;

	if (item->key_len >= sizeof(text)) {
		s->bad++;
		return 0;
	}
	memcpy(text, item->key, item->key_len);
	i = strtoull(text + 1, NULL, 10);
	if (text[0] != 'k' || i >= s->n) {
		s->others++;
		return 0;
	}
	s->times[i]++;
	s->shown++;
	if (s->vals) {
		memcpy(&v, item->val, sizeof(v));
		s->bad += item->val_len != 8 || v != i;
	} else {
		s->bad += item->val != NULL || item->val_len != 8;
	}
	return s->shown >= s->stop_after ? 5 : 0;
}

static uint64_t not_once(const struct seen *s)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < s->n; i++)
		n += s->times[i] != 1;
	return n;
}

static void scan__shows_every_key_once(void)
{
	static const uint64_t counts[] = {0, 1, 10, 100, 1000, 12345, 50000};

	for (unsigned c = 0; c < ARRAY_LEN(counts); c++)
		for (unsigned shards = 0; shards < 2; shards++) {
			struct seen s = seen_of(counts[c] + 1);
			uint64_t cursor = 0;

			m = kit_made(T_NAME, 16 * KIT_MIB, 0, shards);
			for (uint64_t i = 0; i < counts[c]; i++)
				CU_ASSERT(put_number(m, i) == 0);
			s.times[counts[c]] = 1; /* is none */
			CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, note, &s) == 0);
			CU_ASSERT(cursor == 0 && s.bad == 0 && not_once(&s) == 0);
			CU_ASSERT(s.shown == counts[c]);
			memset(s.times, 0, s.n - 1);
			s.vals = false;
			CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, IPCMAP_SCAN_KEYS, note, &s) == 0);
			CU_ASSERT(s.bad == 0 && not_once(&s) == 0);
			free(s.times);
			kit_gone(m);
		}
}

/* ---- prefixes, what is not shown ---- */

static void scan__shows_only_the_prefix(void)
{
	struct seen s = seen_of(10000);
	uint64_t cursor = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 0);
	for (uint64_t i = 0; i < 10000; i++)
		CU_ASSERT(put_number(m, i) == 0);
	CU_ASSERT(kit_put(m, "k", "x") == 0 && kit_put(m, "k0000012", "x") == 0);
	CU_ASSERT(ipcmap_scan(m, &cursor, "k00000123", 9, 0, note, &s) == 0);
	CU_ASSERT(s.shown == 10 && s.others == 0 && s.bad == 0);
	for (uint64_t i = 1230; i < 1240; i++)
		CU_ASSERT(s.times[i] == 1);
	s.shown = 0;
	CU_ASSERT(ipcmap_scan(m, &cursor, "q", 1, 0, note, &s) == 0 && s.shown == 0);
	CU_ASSERT(ipcmap_scan(m, &cursor, "k000000001234", 13, 0, note, &s) == 0 && s.shown == 0);
	free(s.times);
	kit_gone(m);
}

static int count(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	++*(unsigned *)arg;
	return 0;
}

static void scan__leaves_out_expired_and_cleared(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint64_t cursor = 0;
	unsigned n = 0;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	kit_clock_on();
	for (uint64_t i = 0; i < 100; i++) {
		struct kit_key k = kit_key(i);

		how.ttl_ns = i < 40 ? KIT_SEC : IPCMAP_TTL_NONE;
		CU_ASSERT(ipcmap_put(m, k.text, k.len, "v", 1, &how) == 0);
	}
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count, &n) == 0 && n == 100);
	kit_time += KIT_SEC;
	n = 0;
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count, &n) == 0 && n == 60);
	CU_ASSERT(ipcmap_clear(m) == 0);
	n = 0;
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count, &n) == 0 && n == 0);
	kit_clock_off();
	kit_gone(m);
}

/* ---- large values ---- */

static struct ipcmap_value shown[2];

static int keep(void *arg, const struct ipcmap_item *item)
{
	unsigned *n = arg;

	shown[*n & 1].version = item->version;
	shown[*n & 1].type = item->type;
	shown[*n & 1].len = item->val_len;
	CU_ASSERT(item->key_len == 1 || item->key_len == 50000);
	if (item->val)
		for (size_t i = 0; i < item->val_len; i++)
			if (((const char *)item->val)[i] != (char)item->type)
				CU_FAIL("a value of another version");
	++*n;
	return 0;
}

static int put_large(const char *key, size_t key_len, char fill, size_t len)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char *val = malloc(len);
	int r;

	memset(val, fill, len);
	how.type = (unsigned char)fill;
	r = ipcmap_put(m, key, key_len, val, len, &how);
	free(val);
	return r;
}

static void scan__shows_large_values_and_far_keys(void)
{
	static char key[50000];
	uint64_t cursor = 0;
	unsigned n = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	CU_ASSERT(put_large("a", 1, 'a', 100000) == 0);
	CU_ASSERT(put_large(key, sizeof(key), 'b', 3) == 0);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, keep, &n) == 0 && n == 2);
	CU_ASSERT(shown[0].len + shown[1].len == 100003);
	n = 0;
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, IPCMAP_SCAN_KEYS, keep, &n) == 0 && n == 2);
	CU_ASSERT(shown[0].len + shown[1].len == 100003);
	kit_gone(m);
}

/* The callback rewrites all keys: what is shown next, of the same bucket too, is one write's. */
#define LARGE_KEYS "abcdefghijklmnopqrst"

static void write_all(char fill, size_t len)
{
	for (const char *k = LARGE_KEYS; *k; k++)
		CU_ASSERT(put_large(k, 1, fill, len) == 0);
}

static int rewrite(void *arg, const struct ipcmap_item *item)
{
	char key[2] = {*(const char *)item->key, '\0'};
	unsigned *n = arg;

	CU_ASSERT(item->type == (unsigned char)*(const char *)item->val);
	CU_ASSERT(item->val_len == 20000u + item->type);
	CU_ASSERT(item->version == kit_version(m, key));
	write_all((char)('A' + *n), 20000 + 'A' + *n);
	++*n;
	return 0;
}

static void scan__value_and_version_are_of_one_write(void)
{
	uint64_t cursor = 0;
	unsigned n = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	write_all('x', 20000 + 'x');
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, rewrite, &n) == 0);
	CU_ASSERT(n == strlen(LARGE_KEYS));
	kit_gone(m);
}

/* ---- callbacks that write, and stop ---- */

struct writer {
	uint64_t next;
	unsigned shown;
};

static int write_more(void *arg, const struct ipcmap_item *item)
{
	struct writer *w = arg;

	w->shown++;
	/* not the same key twice, and never more than one new key per old one */
	if (*(const char *)item->key == 'k' && w->next < 200000) {
		CU_ASSERT(put_number(m, w->next++) == 0);
		CU_ASSERT(ipcmap_del(m, item->key, item->key_len) == 0);
	}
	return 0;
}

static void scan__callback_may_put_and_delete(void)
{
	struct writer w = {.next = 100000};
	uint64_t cursor = 0;
	char key[8];

	m = kit_made(T_NAME, 64 * KIT_MIB, 0, 0);
	for (uint64_t i = 0; i < 20000; i++)
		CU_ASSERT(put_number(m, i) == 0);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "s%u", i);
		CU_ASSERT(kit_put(m, key, "stable") == 0);
	}
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, write_more, &w) == 0);
	CU_ASSERT(w.shown >= 20100);
	for (uint64_t i = 0; i < 20000; i++)
		CU_ASSERT(kit_absent(m, kit_key(i).text));
	CU_ASSERT(kit_entries(m) == 20100);
	kit_gone(m);
}

/* Stopped again and again: a bucket may be shown twice, nothing is left out. */
static void scan__stopped_scan_goes_on_where_it_was(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct seen s = seen_of(5000);
	struct ipcmap *other;
	uint64_t cursor = 0;
	unsigned stops = 0;
	int r;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 4);
	for (uint64_t i = 0; i < s.n; i++)
		CU_ASSERT(put_number(m, i) == 0);
	/* in other handles, one of them for reading only */
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &other) == 0);
	for (;;) {
		s.stop_after = s.shown + 40; /* more than a bucket holds */
		r = ipcmap_scan(stops & 1 ? other : m, &cursor, NULL, 0, 0, note, &s);
		if (r == 0)
			break;
		CU_ASSERT(r == 5);
		stops++;
	}
	CU_ASSERT(stops > 50 && stops < 1000 && s.bad == 0);
	for (uint64_t i = 0; i < s.n; i++)
		CU_ASSERT(s.times[i] >= 1);
	ipcmap_close(other);
	free(s.times);
	kit_gone(m);
}

/* A key's place in a scan: the low 40 bits of its hash, reversed. Not inline, see kit.h. */
__attribute__((noinline)) static uint64_t point_of(const void *key, size_t len)
{
	uint64_t hash = im_hash(m->hash_seed, key, len), point = 0;

	for (unsigned i = 0; i < 40; i++)
		point |= (hash >> i & 1) << (39 - i);
	return point;
}

/* Buckets may be other ones by then: it begins at the cursor, wherever that is in a bucket. */
static void scan__begins_at_any_point(void)
{
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	for (uint64_t i = 0; i < 100; i++)
		CU_ASSERT(put_number(m, i) == 0);
	for (uint64_t begin = 1; begin < 64; begin += 2) {
		struct seen s = seen_of(100);
		uint64_t at = begin << 34, cursor = at;

		CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, note, &s) == 0 && cursor == 0);
		for (uint64_t i = 0; i < 100; i++) {
			struct kit_key k = kit_key(i);

			CU_ASSERT(s.times[i] == (point_of(k.text, k.len) >= at));
		}
		free(s.times);
	}
	kit_gone(m);
}

static void scan__wrong_arguments_are_refused(void)
{
	uint64_t cursor = 0;
	unsigned n = 0;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(ipcmap_scan(NULL, &cursor, NULL, 0, 0, count, &n) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_scan(m, NULL, NULL, 0, 0, count, &n) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 1, 0, count, &n) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 2, count, &n) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, NULL, &n) == IPCMAP_INVALID);
	cursor = UINT64_C(1) << 40; /* there is no such shard */
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count, &n) == IPCMAP_INVALID);
	cursor = 12345; /* any point will do */
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count, &n) == 0 && cursor == 0);
	kit_gone(m);
}

/* ---- while others write ---- */

#define STABLE 4000u

static bool enough;
static unsigned faults;

/* Updates the stable keys, makes others come and go, and lets the index grow. */
static void *churn(void *arg)
{
	uint64_t state = 5, top = 1000000;

	(void)arg;
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		uint64_t i = kit_below(&state, 20000);
		struct kit_key k = kit_key(1000000 + i);

		put_number(m, kit_below(&state, STABLE));
		if (put_number(m, top++))
			faults++;
		if (top > 1200000)
			top = 1000000;
		ipcmap_del(m, k.text, k.len);
	}
	return NULL;
}

static void scan__stable_keys_are_shown_once_under_churn(void)
{
	uint64_t end = t_now_ms() + 2000;
	unsigned scans = 0;
	pthread_t t;

	m = kit_made(T_NAME, 128 * KIT_MIB, 0, 2);
	for (uint64_t i = 0; i < STABLE; i++)
		CU_ASSERT(put_number(m, i) == 0);
	enough = false;
	CU_ASSERT_FATAL(pthread_create(&t, NULL, churn, NULL) == 0);
	while (t_now_ms() < end || scans <= 2 || (kit_entries(m) <= 100000 && !T_SLOW)) {
		struct seen s = seen_of(STABLE);
		uint64_t cursor = 0;

		CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, note, &s) == 0);
		CU_ASSERT(s.bad == 0 && not_once(&s) == 0);
		free(s.times);
		scans++;
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	CU_ASSERT(faults == 0);
	kit_gone(m);
}

/* ---- another life while it is scanned ---- */

static unsigned asked, renew_at;

/* Each time that a scan asks for the time a bucket may be copied already: at one of them the
 * key gets another life, and the old one ends. */
static uint64_t renewing_coarse(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	if (++asked == renew_at) {
		how.ttl_ns = 1000 * KIT_SEC;
		CU_ASSERT(ipcmap_touch(m, "k000000001", 10, &how) == 0);
		kit_time += 11 * KIT_SEC;
	}
	return kit_time;
}

/* False: it asked less often. */
static bool renew_during_a_scan(size_t len, unsigned at)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	static unsigned char val[6000];
	struct seen s = seen_of(2);
	uint64_t cursor = 0;

	s.vals = false;
	how.ttl_ns = 10 * KIT_SEC;
	CU_ASSERT(ipcmap_put(m, "k000000001", 10, val, len, &how) == 0);
	asked = 0;
	renew_at = at;
	kit_os.coarse = renewing_coarse;
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, note, &s) == 0);
	kit_os.coarse = kit_coarse;
	CU_ASSERT(s.shown == 1);
	free(s.times);
	return asked >= at;
}

static void scan__key_renewed_during_a_scan_is_shown(void)
{
	unsigned n = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	kit_clock_on();
	while (renew_during_a_scan(8, n + 1))
		n++;
	CU_ASSERT(n > 1);
	/* in extents of its own */
	while (n && renew_during_a_scan(6000, n))
		n--;
	CU_ASSERT(n == 0);
	kit_clock_off();
	kit_gone(m);
}


#if defined(IM_CHECK) && IM_CHECK

/* ---- while a chain is copied ---- */

static unsigned passes; /* of the scan before a bucket */

/* A map of one shard with 16 buckets, and a scan of it that is disturbed. */
static void disturbed(void (*hook)(const char *point), struct seen *s)
{
	uint64_t cursor = 0;

	passes = 0;
	im_crash_hook = hook;
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, note, s) == 0);
	im_crash_hook = NULL;
	CU_ASSERT(s->bad == 0);
}

/* Memory is used again during each copy that is made without the lock. */
static void reclaim(const char *point)
{
	struct fmt_shard *s = m->shards;

	if (strcmp(point, "read.chain") != 0)
		return;
	passes++;
	if (!s->lock)
		s->reclaim_seq++;
}

static void scan__goes_on_under_the_lock_when_disturbed(void)
{
	struct seen s = seen_of(100);
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *reader;
	uint64_t cursor = 0;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	for (uint64_t i = 0; i < 100; i++)
		CU_ASSERT(put_number(m, i) == 0);
	disturbed(reclaim, &s);
	CU_ASSERT(not_once(&s) == 0 && passes >= 17 * 16);
	/* who cannot take it gives up */
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &reader) == 0);
	im_crash_hook = reclaim;
	CU_ASSERT(ipcmap_scan(reader, &cursor, NULL, 0, 0, note, &s) == IPCMAP_BUSY);
	im_crash_hook = NULL;
	ipcmap_close(reader);
	free(s.times);
	kit_gone(m);
}

/* Three keys of the first bucket go, so the one behind moves there, where the scan has been. */
static uint64_t first_bucket[12];

static void compact_chain(const char *point)
{
	if (strcmp(point, "read.chain") != 0 || ++passes != 2)
		return;
	for (unsigned i = 0; i < 3; i++) {
		struct kit_key k = kit_key(first_bucket[i]);

		CU_ASSERT(ipcmap_del(m, k.text, k.len) == 0);
	}
	CU_ASSERT(m->shards[0].n_ovf == 0);
}

/* Twelve keys in the first of 16 buckets, which has eleven slots. */
static void begin_chain(const char *name, const struct seen *s)
{
	unsigned n = 0;

	m = kit_made(name, KIT_MIB, 0, 1);
	for (uint64_t i = 0; n < 12; i++) {
		struct kit_key k = kit_key(i);

		if (point_of(k.text, k.len) >> 36 != 0)
			continue;
		first_bucket[n++] = i;
		CU_ASSERT_FATAL(i < s->n && put_number(m, i) == 0);
	}
	CU_ASSERT(m->shards[0].n_ovf == 1);
}

static void scan__key_that_moves_in_its_chain_is_shown(void)
{
	struct seen s = seen_of(10000);

	begin_chain(T_NAME, &s);
	disturbed(compact_chain, &s);
	for (unsigned i = 0; i < 12; i++)
		CU_ASSERT(s.times[first_bucket[i]] == (i >= 3));
	free(s.times);
	kit_gone(m);
}

/* ---- what a killed writer left ---- */

static const char *die_at;

static void die(const char *point)
{
	if (strcmp(point, die_at) == 0)
		raise(SIGKILL);
}

static int del_and_die(void *arg)
{
	(void)arg;
	im_crash_hook = die;
	for (unsigned i = 0; i < 3; i++) {
		struct kit_key k = kit_key(first_bucket[i]);

		ipcmap_del(m, k.text, k.len);
	}
	return 0;
}

static int put_and_die(void *arg)
{
	im_crash_hook = die;
	put_number(m, *(uint64_t *)arg);
	return 0;
}

static void killed_in_a_compaction(const char *name)
{
	struct seen s = seen_of(10000);
	uint64_t cursor = 0;

	begin_chain(name, &s);
	die_at = "compact.copied";
	CU_ASSERT(t_killed(t_run(del_and_die, NULL)));
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, note, &s) == 0);
	for (unsigned i = 0; i < 12; i++)
		CU_ASSERT(s.times[first_bucket[i]] == (i >= 3));
	free(s.times);
	kit_gone(m);
}

/* Is a key of the first of 16 buckets one that goes to the 17th? */
static bool moves(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return point_of(k.text, k.len) >> 35 == 1;
}

/* The next put splits the first bucket, and some of its few keys leave it. */
static void begin_split(const char *name, uint64_t keys)
{
	for (;;) {
		unsigned n = 0;

		m = kit_made(name, KIT_MIB, 0, 1);
		for (uint64_t i = 0; i < keys; i++) {
			CU_ASSERT(put_number(m, i) == 0);
			n += moves(i);
		}
		if (n)
			break;
		kit_gone(m);
	}
	CU_ASSERT((m->shards[0].geometry & FMT_BUCKETS_MASK) == 16);
}

static void killed_in_a_split(const char *name)
{
	struct seen s = seen_of(153);
	uint64_t cursor = 0, last = 152;

	begin_split(name, last);
	die_at = "split.cleared";
	CU_ASSERT(t_killed(t_run(put_and_die, &last)));
	CU_ASSERT(m->shards[0].unsplit != 0);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, note, &s) == 0);
	CU_ASSERT(not_once(&s) == 0);
	free(s.times);
	kit_gone(m);
}

/* Keys stand in two places of a chain, or in two buckets, until a successor comes. */
static void scan__shows_once_what_stands_twice(void)
{
	killed_in_a_compaction(T_NAME);
	/* several keys may have moved, so that some are left in both */
	for (unsigned i = 0; i < 4; i++)
		killed_in_a_split(T_NAME);
}

/* The first bucket is split before it is copied. */
static void split_bucket(const char *point)
{
	if (strcmp(point, "read.chain") == 0 && ++passes == 1)
		CU_ASSERT(put_number(m, 1000) == 0);
}

static void scan__bucket_that_is_split_is_copied_again(void)
{
	struct seen s = seen_of(152);

	begin_split(T_NAME, 152);
	disturbed(split_bucket, &s);
	CU_ASSERT((m->shards[0].geometry & FMT_BUCKETS_MASK) == 17);
	CU_ASSERT(not_once(&s) == 0 && s.others <= 1);
	free(s.times);
	kit_gone(m);
}

#endif

static CU_TestInfo tests[] = {
	{"a scan shows every key once", scan__shows_every_key_once},
	{"a scan shows only the prefix", scan__shows_only_the_prefix},
	{"a scan leaves out expired and cleared keys", scan__leaves_out_expired_and_cleared},
	{"a scan shows large values and far keys", scan__shows_large_values_and_far_keys},
	{"a key renewed during a scan is shown", scan__key_renewed_during_a_scan_is_shown},
	{"value and version are of one write", scan__value_and_version_are_of_one_write},
	{"the callback may put and delete", scan__callback_may_put_and_delete},
	{"a stopped scan goes on where it was", scan__stopped_scan_goes_on_where_it_was},
	{"a scan begins at any point", scan__begins_at_any_point},
	{"a scan refuses wrong arguments", scan__wrong_arguments_are_refused},
	{"stable keys are shown once under churn", scan__stable_keys_are_shown_once_under_churn},
#if defined(IM_CHECK) && IM_CHECK
	{"disturbed, a scan goes on under the lock",
	 scan__goes_on_under_the_lock_when_disturbed},
	{"a key that moves in its chain is shown", scan__key_that_moves_in_its_chain_is_shown},
	{"a bucket that is split is copied again", scan__bucket_that_is_split_is_copied_again},
	{"a scan shows once what stands twice", scan__shows_once_what_stands_twice},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("scan", tests)
