/* SPDX-License-Identifier: MIT */
/*
 * t-named.c - the interleavings that drafts of the design died of, one by one
 *
 * A reader is stopped between two of its steps, and meanwhile others write; then it goes on.
 * The step is a crash point of read.c, whose hook does the writing, in the same thread: a
 * reader holds nothing, so this is the same as being stopped there while another writes. Every
 * writing is tried at every step. Values of others imitate an entry of the key that is read.
 */
#include "load.h"

#include "crash.h"
#include "index.h"
#include "map.h"
#include "os.h"
#include "owner.h"
#include "space.h"

#include <signal.h>

#if defined(IM_CHECK) && IM_CHECK

#define CAP 16384u

static const char *name;
static struct ipcmap *m;

static char key[32]; /* the one that is read */
static size_t key_len;
static uint32_t old_len; /* of its first value */

/* where a reader is stopped */
static const char *stop_at;
static unsigned times; /* how often at most */
static unsigned stops; /* how often it was */
static void (*meanwhile)(void);
static bool inside;

#define OLD 1u /* results that are right, as bits */
#define NEW 2u
#define NONE 4u
#define BUSY 8u
#define WRONG 16u

/* Or the test is over; in a child: the child. */
#define NEED(cond) need(cond, #cond, __LINE__)

static pid_t parent;
static const char *doing; /* what is written meanwhile */

static void need(bool ok, const char *text, int line)
{
	if (parent && getpid() != parent)
		t_must(ok, text, __FILE__, line);
	else if (!ok && doing)
		fprintf(stderr, "\nwhile: %s ", doing);
	if (!ok)
		CU_assertImplementation(CU_FALSE, (unsigned)line, text, __FILE__, "", CU_TRUE);
}

/* ---- small steps ---- */

static int store(const void *k, size_t k_len, uint32_t len, uint64_t seq, uint64_t ttl)
{
	static unsigned char val[CAP];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = ttl;
	load_make(val, len, 1, 1, seq);
	return ipcmap_put(m, k, k_len, val, len, &how);
}

static void put(uint64_t seq, uint32_t len)
{
	NEED(store(key, key_len, len, seq, 0) == 0);
}

static void del(void)
{
	NEED(ipcmap_del(m, key, key_len) == 0);
}

/* 3,000 bytes of entries of our key, at every place where one may begin. */
static void forge(unsigned char *buf, unsigned shift)
{
	uint64_t hash = im_hash(m->hash_seed, key, key_len);
	uint64_t word0 = 1,
		 word1 = 40 | (uint64_t)(key_len - 1) << 32 | (uint64_t)im_hash_low(hash) << 48;
	uint32_t size = (uint32_t)align_up(16 + key_len + 40, 16);

	memset(buf, 'f', 3000);
	for (uint32_t at = shift * 16; at + size <= 3000; at += size) {
		memcpy(buf + at, &word0, 8);
		memcpy(buf + at + 8, &word1, 8);
		memcpy(buf + at + 16, key, key_len);
	}
}

static uint32_t old_ext; /* the log extent of the key's first entry */
static uint64_t old_gen;

static uint64_t gen_of(uint32_t ext)
{
	return fmt_word_gen(im_load_rlx(&m->seg->table[ext].word));
}

static bool was_released(void)
{
	return old_ext == FMT_NO_EXTENT || gen_of(old_ext) > old_gen;
}

/* Others write until every extent was released and filled again, whatever lived there. */
static void churn_by(uint64_t releases, uint32_t len)
{
	uint64_t *seq = &m->shards[0].reclaim_seq, until = im_load_rlx(seq) + releases;
	static unsigned char buf[3000];
	static uint64_t x = 88172645463325252u;
	char other[32];

	for (unsigned i = 0; im_load_rlx(seq) < until || (len < 2000 && !was_released()); i++) {
		/* the value begins at a unit; keys at random, so that extents die slowly */
		unsigned keys = len < 2000 ? 20 + i / 64 % 32 : 8;
		int r, n = sprintf(other, "churn-%010u", (unsigned)(load_random(&x) % keys));

		forge(buf, i % 5);
		r = ipcmap_put(m, other, (size_t)n, buf, len, NULL);
		NEED(r == 0 || r == IPCMAP_LIMIT);
		NEED(i < 40000);
	}
	for (unsigned i = 20; i < 52; i++)
		ipcmap_del(m, other, (size_t)sprintf(other, "churn-%010u", i));
}

static void churn(void)
{
	churn_by(700, 1500);
}

/* What was read. */
static unsigned judge(int r, const unsigned char *buf, size_t len)
{
	uint64_t seq;

	if (r == IPCMAP_NOTFOUND)
		return NONE;
	if (r == IPCMAP_BUSY)
		return BUSY;
	if (r || !load_is(buf, len, 1, 1, &seq))
		return WRONG;
	return seq == 1 && len == old_len ? OLD : seq == 2 ? NEW : WRONG;
}

static unsigned read_it(bool extended)
{
	static unsigned char buf[CAP];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	size_t len = 0;
	int r;

	memset(buf, 0, sizeof(buf));
	if (!extended) {
		r = ipcmap_get(m, key, key_len, buf, sizeof(buf), &len);
	} else {
		r = ipcmap_getx(m, key, key_len, &v);
		len = v.len;
	}
	return judge(r, buf, len);
}

/* ---- stopping ---- */

static void stop(const char *point)
{
	if (inside || !stop_at || strcmp(point, stop_at) != 0 || stops == times)
		return;
	stops++;
	inside = true;
	meanwhile();
	inside = false;
}

/* ---- what is written meanwhile ---- */

static void update(void)
{
	put(2, 50);
}

static void update_longer(void)
{
	put(2, 900);
}

static void update_and_churn(void)
{
	put(2, 60);
	churn();
}

static void del_and_put(void)
{
	del();
	put(2, 50);
}

static void del_put_and_churn(void)
{
	del();
	churn();
	put(2, 50);
}

static void del_and_churn(void)
{
	del();
	churn();
}

static void clear(void)
{
	NEED(ipcmap_clear(m) == 0);
}

static void clear_and_put(void)
{
	clear();
	put(2, 50);
}

static void clear_and_churn(void)
{
	clear();
	churn();
}

static void update_large(void)
{
	put(2, 7000);
	churn_by(800, 3000);
}

/* New keys until the table has four times the buckets. */
static void grow(void)
{
	uint64_t n = m->shards[0].geometry & FMT_BUCKETS_MASK;
	char other[32];

	for (unsigned i = 0; (m->shards[0].geometry & FMT_BUCKETS_MASK) < 4 * n; i++)
		NEED(store(other, (size_t)sprintf(other, "grow-%u", i), 40, 9, 0) == 0);
}

/* New keys elsewhere until the chain that our key is in was compacted. */
static void split_chain(void)
{
	uint64_t moves = m->shards[0].geometry & ~FMT_BUCKETS_MASK;
	char other[32];
	unsigned i;

	for (i = 0; (m->shards[0].geometry & ~FMT_BUCKETS_MASK) == moves && i < 4000; i++)
		NEED(store(other, (size_t)sprintf(other, "split-%u", i), 40, 9, 0) == 0);
	NEED(i < 4000);
}

static void split_and_reuse(void)
{
	split_chain();
	grow();
}

/* Time flies, so that compaction need not rest. */
static uint64_t leap(void)
{
	static uint64_t now;

	now += 700000000;
	return im_os_real.now() + now;
}

/* Hardly a key is left: buckets are merged, and the second index extent is reused. */
static void merge(void)
{
	static struct im_os os;
	uint32_t n = m->shards[0].n_index;
	char other[32];

	for (unsigned i = 0; i < 1000; i++)
		ipcmap_del(m, other, (size_t)sprintf(other, "fill-%u", i));
	os = im_os_real;
	os.now = leap;
	im_os = &os;
	NEED(ipcmap_compact(m, NULL, NULL) == 0);
	im_os = &im_os_real;
	NEED(m->shards[0].n_index < n);
}

static void merge_and_churn(void)
{
	merge();
	churn();
}

static void merge_and_grow(void)
{
	merge();
	grow();
}

/* ---- before ---- */

/* So little free memory that cleaning is at work. */
static void crowd(void)
{
	const struct fmt_space *space = &m->seg->h->space;
	char other[32];

	for (unsigned i = 0; im_load32_rlx(&space->used) + 20 < im_load32_rlx(&space->limit_n);
	     i++)
		NEED(store(other, (size_t)sprintf(other, "crowd-%u", i), 1100, 9, 0) == 0);
}

/* The key lies in an extent that is otherwise dead, so that cleaning moves it soon. */
static void begin(uint32_t len, bool first)
{
	/* if not first, in the middle of what will be a value */
	NEED(first || store("a", 1, 1000, 9, 0) == 0);
	put(1, old_len = len);
	NEED(!first || store("a", 1, 1000, 9, 0) == 0);
	old_ext = im_load32_rlx(&m->shards[0].head[FMT_HOT]);
	old_gen = gen_of(old_ext);
	NEED(store("b", 1, 900, 9, 0) == 0);
	crowd();
	NEED(ipcmap_del(m, "a", 1) == 0 && ipcmap_del(m, "b", 1) == 0);
}

static void begin_small(void)
{
	begin(40, false);
}

static void begin_first(void)
{
	begin(40, true);
}

static void begin_medium(void)
{
	begin(1100, false);
}

static void begin_large(void)
{
	begin(9000, false);
}

static void begin_few(void)
{
	put(1, old_len = 40);
}

static void begin_few_large(void)
{
	put(1, old_len = 9000);
}

/* Our key is the last of bucket 0, in its overflow bucket, and stays there in its split. */
static void begin_in_overflow(void)
{
	char other[32];
	unsigned n = 0;

	old_len = 40;
	for (unsigned i = 0; n < 13; i++) {
		size_t len = (size_t)sprintf(other, "zero-%u", i);

		if ((im_hash(m->hash_seed, other, len) & 31) != (n < 10 ? 16 : 0))
			continue;
		if (++n == 13)
			memcpy(key, other, key_len = len);
		else
			NEED(store(other, len, 40, 9, 0) == 0);
	}
	put(1, 40);
}

/* Our key is in bucket 64, the first of the second index extent. */
static void begin_in_second_extent(void)
{
	char other[32];

	for (unsigned i = 0; (im_hash(m->hash_seed, key, key_len) & 127) != 64; i++)
		key_len = (size_t)sprintf(key, "second-%u", i);
	put(1, old_len = 40);
	for (unsigned i = 0; i < 1000; i++)
		NEED(store(other, (size_t)sprintf(other, "fill-%u", i), 40, 9, 0) == 0);
	NEED(m->shards[0].n_index >= 2);
	/* freed, taken, and by then another life */
	old_ext = im_dir_extent(m, im_map_dir(m, 0)[1]);
	old_gen = gen_of(old_ext) + 2;
}

struct writing {
	const char *what;
	void (*before)(void);
	void (*meanwhile)(void);
	unsigned right; /* results */
	unsigned then;	/* result of a get after it */
};

static const struct writing writings[] = {
	{"update", begin_small, update, OLD | NEW, NEW},
	{"longer update", begin_small, update_longer, OLD | NEW, NEW},
	{"delete", begin_small, del, OLD | NONE, NONE},
	{"delete and put", begin_small, del_and_put, OLD | NONE | NEW, NEW},
	{"everything reused, key untouched (A3)", begin_small, churn, OLD, OLD},
	{"everything reused by true entries (false miss)", begin_first, churn, OLD, OLD},
	{"everything reused, longer value", begin_medium, churn, OLD, OLD},
	{"everything reused, large value", begin_large, churn, OLD, OLD},
	{"update, memory reused", begin_small, update_and_churn, OLD | NEW, NEW},
	{"delete, memory reused", begin_small, del_and_churn, OLD | NONE, NONE},
	{"delete, memory reused, put", begin_small, del_put_and_churn, OLD | NONE | NEW, NEW},
	{"longer value, update, memory reused", begin_medium, update_and_churn, OLD | NEW, NEW},
	{"large over large, chain reused", begin_large, update_large, OLD | NEW, NEW},
	{"large deleted, chain reused", begin_large, del_and_churn, OLD | NONE, NONE},
	{"large cleared, chain reused", begin_large, clear_and_churn, OLD | NONE, NONE},
	{"clear", begin_small, clear, OLD | NONE, NONE},
	{"clear and put", begin_small, clear_and_put, OLD | NONE | NEW, NEW},
	{"clear, memory reused", begin_medium, clear_and_churn, OLD | NONE, NONE},
	{"splits (A4)", begin_few, grow, OLD, OLD},
	{"splits, large value", begin_few_large, grow, OLD, OLD},
	{"chain compacted (A4)", begin_in_overflow, split_chain, OLD, OLD},
	{"buckets merged", begin_in_second_extent, merge, OLD, OLD},
	{"buckets merged, index reused", begin_in_second_extent, merge_and_churn, OLD, OLD},
	{"buckets merged and split", begin_in_second_extent, merge_and_grow, OLD, OLD},
	{"chain compacted and reused", begin_in_overflow, split_and_reuse, OLD, OLD},
};

static const char *const steps[] = {"read.begun",  "read.tags",	  "read.ref",	  "read.entry",
				    "read.copied", "read.missed", "read.careful", "read.large"};

static void open_map(void)
{
	NEED(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 1, &m) == 0);
	key_len = (size_t)sprintf(key, "the key that is read");
	old_ext = FMT_NO_EXTENT;
	inside = false;
}

static void close_map(void)
{
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static unsigned passed;

/* One writing at one step; a reader that gets there twice is stopped @often times. */
static void try_one(const struct writing *w, const char *step, bool extended, unsigned often)
{
	unsigned got, then, right = w->right | (often > 1 ? BUSY : 0);

	doing = w->what;
	open_map();
	w->before();
	meanwhile = w->meanwhile;
	stops = 0;
	times = often;
	stop_at = step;
	im_crash_hook = stop;
	got = read_it(extended);
	im_crash_hook = NULL;
	passed += stops > 0;
	if (!(got & right))
		fprintf(stderr, "\n%s: %s, %u times at %s: read %u, right is one of %u",
			w->what, extended ? "getx" : "get", stops, step, got, right);
	CU_ASSERT((got & right) != 0);
	CU_ASSERT(stops <= 17 * 32);
	then = read_it(extended);
	if (stops && then != w->then)
		fprintf(stderr, "\n%s at %s: read %u after it, right is %u", w->what, step,
			then, w->then);
	CU_ASSERT(!stops || then == w->then);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	close_map();
}

static void reader__stopped_anywhere_is_right(void)
{
	name = T_NAME;
	parent = getpid();
	passed = 0;
	for (unsigned i = 0; i < ARRAY_LEN(writings); i++)
		for (unsigned k = 0; k < ARRAY_LEN(steps); k++)
			for (unsigned x = 0; x < 2; x++)
				try_one(&writings[i], steps[k], x, 1);
	printf("(%u stops) ", passed);
	CU_ASSERT(passed > ARRAY_LEN(writings) * 8);
}

/* Memory that is reused all the time: the call ends, with the value or BUSY. */
static void reader__stopped_every_time_ends(void)
{
	name = T_NAME;
	parent = getpid();
	passed = 0;
	for (unsigned k = 0; k < ARRAY_LEN(steps); k++) {
		try_one(&writings[4], steps[k], false, 100);
		try_one(&writings[7], steps[k], false, 100);
	}
	CU_ASSERT(passed >= 8);
}

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

static void try_unborn(const char *step, bool extended, bool kill_it)
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
	got = read_it(extended);
	im_crash_hook = NULL;
	then = read_it(extended);
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
	CU_ASSERT(read_it(extended) == NEW);
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
			for (unsigned way = 0; way < 4; way++)
				try_unborn(steps[k], way & 1, way & 2);
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
		CU_ASSERT(read_it(false) == NONE);
		put(2, 50);
		CU_ASSERT(read_it(false) == NEW);
		CU_ASSERT(ipcmap_entries(m, &n) == 0 && n == 1);
		if (i % 3 == 0) {
			del();
			CU_ASSERT(read_it(false) == NONE);
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
	CU_ASSERT(read_it(false) == NEW);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	churn();
	CU_ASSERT(read_it(false) == NEW);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	t_kill(taker);
	close_map();
	t_gate_close(&told);
	t_gate_close(&over);
	t_gate_close(&sweeping);
}

static CU_TestInfo tests[] = {
	{"a reader stopped at any step reads right", reader__stopped_anywhere_is_right},
	{"a reader stopped at every step ends", reader__stopped_every_time_ends},
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
