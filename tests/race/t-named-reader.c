/* SPDX-License-Identifier: MIT */
/*
 * t-named-reader.c - the interleavings that drafts of the design died of: every writing, at
 * every step of a reader
 *
 * Values of others imitate an entry of the key that is read.
 */
#include "named.h"

#include "os.h"

#if HAVE_POINTS

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

/* Values of keys that were there before: no key comes, goes or moves. */
static void update_others(void)
{
	fill_by(700, 1500);
}

/* New keys until the table has four times the buckets. */
static void grow(void)
{
	uint64_t n = m->shards[0].geometry & FMT_BUCKETS_MASK;
	char other[32];

	for (unsigned i = 0; (m->shards[0].geometry & FMT_BUCKETS_MASK) < 4 * n; i++)
		NEED(store(other, (size_t)sprintf(other, "grow-%u", i), 40, 9, 0) == 0);
}

/* One key more; our bucket is split, and it moves to the new one. */
static void split_once(void)
{
	uint64_t geometry = m->shards[0].geometry;

	NEED(store("one more", 8, 40, 9, 0) == 0);
	NEED(m->shards[0].geometry == geometry + 1);
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

static void begin_few_large(void)
{
	put(1, old_len = 9000);
}

static void begin_among_others(void)
{
	char other[32];

	for (unsigned i = 0; i < 52; i++)
		NEED(store(other, (size_t)sprintf(other, "churn-%010u", i), 40, 9, 0) == 0);
	begin_first();
}

/* Our key is alone in bucket 0, which is split next, and will be in bucket 16. */
static void begin_before_a_split(void)
{
	struct fmt_shard *s = m->shards;
	char other[32];
	uint64_t n;

	for (unsigned i = 0; (im_hash(m->hash_seed, key, key_len) & 31) != 16; i++)
		key_len = (size_t)sprintf(key, "splits-%u", i);
	put(1, old_len = 40);
	n = s->geometry & FMT_BUCKETS_MASK;
	for (unsigned i = 0; (s->entries + 1) * 2 <= n * 19; i++) {
		size_t len = (size_t)sprintf(other, "other-%u", i);

		if (im_hash(m->hash_seed, other, len) & 15)
			NEED(store(other, len, 40, 9, 0) == 0);
	}
	NEED(n == 16 && (s->geometry & FMT_BUCKETS_MASK) == n);
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
	{"everything reused, and no key moved", begin_among_others, update_others, OLD, OLD},
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
	{"one split", begin_before_a_split, split_once, OLD, OLD},
	{"chain compacted (A4)", begin_in_overflow, split_chain, OLD, OLD},
	{"buckets merged", begin_in_second_extent, merge, OLD, OLD},
	{"buckets merged, index reused", begin_in_second_extent, merge_and_churn, OLD, OLD},
	{"buckets merged and split", begin_in_second_extent, merge_and_grow, OLD, OLD},
	{"chain compacted and reused", begin_in_overflow, split_and_reuse, OLD, OLD},
};

static unsigned passed;

/* One writing at one step; a reader that gets there twice is stopped @often times. */
static void try_one(const struct writing *w, const char *step, enum way way, unsigned often)
{
	static const char *const names[] = {"get", "getx", "the whole protocol"};
	unsigned got, then, right = w->right | (often > 1 ? BUSY : 0);

	doing = w->what;
	open_map();
	w->before();
	meanwhile = w->meanwhile;
	stops = 0;
	times = often;
	stop_at = step;
	im_crash_hook = stop;
	got = read_it(way);
	im_crash_hook = NULL;
	passed += stops > 0;
	if (!(got & right))
		fprintf(stderr, "\n%s: %s, %u times at %s: read %u, right is one of %u",
			w->what, names[way], stops, step, got, right);
	CU_ASSERT((got & right) != 0);
	CU_ASSERT(stops <= 17 * 32);
	then = read_it(way);
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
			for (unsigned way = 0; way < WAYS; way++)
				if (!T_SLOW || (i + k) % WAYS == way)
					try_one(&writings[i], steps[k], way, 1);
	printf("(%u stops) ", passed);
	CU_ASSERT(passed > ARRAY_LEN(writings) * (T_SLOW ? 4 : 8));
}

/* Memory that is reused all the time: the call ends, with the value or BUSY. */
static void reader__stopped_every_time_ends(void)
{
	name = T_NAME;
	parent = getpid();
	passed = 0;
	for (unsigned k = 0; k < ARRAY_LEN(steps); k++) {
		try_one(&writings[4], steps[k], k % 2 ? WHOLE : GET, 1000);
		try_one(&writings[8], steps[k], GET, 1000);
	}
	CU_ASSERT(passed >= 8);
}

static CU_TestInfo tests[] = {
	{"a reader stopped at any step reads right", reader__stopped_anywhere_is_right},
	{"a reader stopped at every step ends", reader__stopped_every_time_ends},
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

T_SUITE("named races of readers", tests)
