/* SPDX-License-Identifier: MIT */
/*
 * t-chain.c - buckets that share a place: links that do not end, what readers are told, what a
 * killed split leaves
 */
#include "kit.h"

#include "crash.h"

#include <signal.h>

#define KEYS 9000u

static struct ipcmap *m;
static struct fmt_shard *s; /* the only one */

static void with_map(const char *name)
{
	m = kit_made(name, KIT_MIB, KIT_MIB, 1);
	s = m->shards;
}

static int put(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_put(m, k.text, k.len, &i, sizeof(i), NULL);
}

static int get(uint64_t i)
{
	struct kit_key k = kit_key(i);
	uint64_t v = 0;
	int r = ipcmap_get(m, k.text, k.len, &v, sizeof(v), NULL);

	return r ? r : v == i ? 0 : IPCMAP_CORRUPT;
}

static int del(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_del(m, k.text, k.len);
}

static uint64_t buckets(void)
{
	return s->geometry & FMT_BUCKETS_MASK;
}

/* Not inline, for the reason of kit_shard_of(). */
__attribute__((noinline)) static uint64_t hash_of(const void *key, size_t len)
{
	return im_hash(m->hash_seed, key, len);
}

/* The bucket of a key when there are @n. */
static uint64_t bucket_of(uint64_t i, uint64_t n)
{
	struct kit_key k = kit_key(i);

	return im_bucket_of(hash_of(k.text, k.len), n);
}

static void chain__in_a_circle_is_an_error(void)
{
	struct fmt_bucket *b = NULL;
	uint64_t at = 0, absent = KEYS, present = 0, kept;
	int r;

	with_map(T_NAME);
	for (uint64_t i = 0; i < KEYS; i++)
		CU_ASSERT(put(i) == 0);
	for (; at < buckets(); at++) {
		b = im_bucket(m, im_map_dir(m, 0), at);
		if (b->tags[1] >> FMT_LINK_SHIFT)
			break;
	}
	CU_ASSERT_FATAL(at < buckets());
	while (bucket_of(absent, buckets()) != at)
		absent++;
	while (bucket_of(present, buckets()) == at)
		present++;
	kept = b->tags[1];
	b->tags[1] = (uint64_t)im_ref_of(m->seg, b) << FMT_LINK_SHIFT | (kept & UINT32_MAX);
	CU_ASSERT(put(absent) == IPCMAP_CORRUPT && del(absent) == IPCMAP_CORRUPT);
	r = get(absent);
	CU_ASSERT(r == IPCMAP_BUSY || r == IPCMAP_CORRUPT);
	CU_ASSERT(put(present) == 0 && get(present) == 0);
	b->tags[1] = kept;
	CU_ASSERT(put(absent) == 0 && get(absent) == 0);
	kit_gone(m);
}

#if defined(IM_CHECK) && IM_CHECK

/* ---- what readers are told, and when ---- */

static struct {
	uint64_t copied;	   /* moves when a key had been copied */
	uint64_t geometry, reclaim; /* when the last redo list was armed */
	unsigned cleared, merged, dropped, untold;
} told;

static void look(const char *point)
{
	uint64_t moves = s->geometry & ~FMT_BUCKETS_MASK;

	if (strcmp(point, "redo.armed") == 0) {
		told.geometry = s->geometry;
		told.reclaim = s->reclaim_seq;
	} else if (strcmp(point, "compact.copied") == 0) {
		told.copied = moves;
	} else if (strcmp(point, "compact.cleared") == 0) {
		told.cleared++;
		told.untold += moves == told.copied;
	} else if (strcmp(point, "merge.published") == 0) {
		told.merged++;
		told.untold += moves == (told.geometry & ~FMT_BUCKETS_MASK);
	} else if (strcmp(point, "merge.dropped") == 0) {
		told.dropped++;
		told.untold += s->reclaim_seq == told.reclaim;
	}
}

static uint64_t leap(void)
{
	static uint64_t ahead;

	ahead += KIT_SEC / 2;
	return im_os_real.now() + ahead;
}

/*
 * moves is raised before the old place of a key that moved in its chain is cleared, and with
 * each merge; reclaim_seq, with each index extent that is freed.
 */
static void chain__readers_are_told_in_time(void)
{
	with_map(T_NAME);
	memset(&told, 0, sizeof(told));
	im_crash_hook = look;
	for (uint64_t i = 0; i < KEYS; i++)
		CU_ASSERT(put(i) == 0);
	for (uint64_t i = 0; i < KEYS; i++)
		CU_ASSERT(i % 10 == 0 || del(i) == 0);
	kit_clock_on();
	kit_os.now = leap;
	CU_ASSERT(ipcmap_compact(m, NULL, NULL) == 0);
	kit_clock_off();
	im_crash_hook = NULL;
	CU_ASSERT(told.cleared > 50 && told.merged > 50 && told.dropped > 5);
	CU_ASSERT(told.untold == 0);
	for (uint64_t i = 0; i < KEYS; i++)
		CU_ASSERT(get(i) == (i % 10 == 0 ? 0 : IPCMAP_NOTFOUND));
	kit_gone(m);
}

/* ---- a killed split ---- */

static void die(const char *point)
{
	if (strcmp(point, "split.copied") == 0)
		raise(SIGKILL);
}

static int put_and_die(void *arg)
{
	im_crash_hook = die;
	put(*(uint64_t *)arg);
	return 0;
}

/* The next put splits a bucket. */
static bool is_about_to_split(void)
{
	return (s->entries + 1) * 2 > buckets() * 19;
}

/* Of the keys below @end, how many would go to bucket @to of @to + 1; the first of them. */
static unsigned movers(uint64_t end, uint64_t to, uint64_t *ret_first)
{
	unsigned n = 0;

	for (uint64_t i = end; i-- > 0;)
		if (bucket_of(i, to + 1) == to) {
			*ret_first = i;
			n++;
		}
	return n;
}

/* What it left in the new bucket's image is more than what the next attempt copies there. */
static void chain__killed_split_leaves_nothing_in_the_image(void)
{
	uint64_t next = 0, n, gone = 0;

	with_map(T_NAME);
	do {
		do {
			CU_ASSERT(put(next++) == 0);
		} while (!is_about_to_split());
		n = buckets();
	} while (n < 40 || movers(next, n, &gone) < 3);
	CU_ASSERT(t_killed(t_run(put_and_die, &next)));
	next++;
	CU_ASSERT(buckets() == n && del(gone) == 0 && buckets() == n);
	while (buckets() == n) {
		if (bucket_of(next, n + 1) != n)
			CU_ASSERT(put(next) == 0);
		next++;
	}
	CU_ASSERT(kit_sound(m) && get(gone) == IPCMAP_NOTFOUND);
	kit_gone(m);
}

#endif

static CU_TestInfo tests[] = {
	{"a chain in a circle is an error", chain__in_a_circle_is_an_error},
#if defined(IM_CHECK) && IM_CHECK
	{"readers are told in time what moves", chain__readers_are_told_in_time},
	{"a killed split leaves nothing in the image",
	 chain__killed_split_leaves_nothing_in_the_image},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("chain", tests)
