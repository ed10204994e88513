/* SPDX-License-Identifier: MIT */
/*
 * t-index.c - growth a bucket at a time, chains, keys that move
 */
#include "kit.h"

static struct ipcmap *m;

/* Overflow buckets per hundred buckets at a load of 8 keys. */
#define MOST_OVERFLOWS 60

static uint64_t buckets_of(const struct fmt_shard *s)
{
	return s->geometry & FMT_BUCKETS_MASK;
}

static int put_number(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_put(m, k.text, k.len, &i, sizeof(i), NULL);
}

static bool has_number(uint64_t i)
{
	struct kit_key k = kit_key(i);
	uint64_t v = 0;
	size_t len;

	return ipcmap_get(m, k.text, k.len, &v, sizeof(v), &len) == 0 && len == 8 && v == i;
}

/* ---- where a hash belongs ---- */

static void index__each_hash_belongs_to_one_bucket_of_any_number(void)
{
	uint64_t state = 7;

	for (uint64_t n = 1; n < 3000; n++)
		for (unsigned i = 0; i < 20; i++) {
			uint64_t h = kit_random(&state), b = im_bucket_of(h, n);
			uint64_t next = im_bucket_of(h, n + 1);

			CU_ASSERT(b < n);
			/* one more bucket: it stays, or moves to the new one from its origin */
			CU_ASSERT(next == b ||
				  (next == n &&
				   b == (n ^ UINT64_C(1) << (63 - __builtin_clzll(n)))));
		}
}

/* ---- growth ---- */

/* From nothing to @n keys; no put splits more than one bucket or moves many entries. */
static void grows(const char *name, uint64_t mib, unsigned shards, uint64_t n)
{
	uint64_t most_splits = 0, most_moved = 0, most_ovf = 0;
	unsigned bad = 0;

	m = kit_made(name, mib * KIT_MIB, 0, shards);
	for (uint64_t i = 0; i < n; i++) {
		struct kit_key k = kit_key(i);
		struct fmt_shard *s = &m->shards[kit_shard_of(m, k.text, k.len)];
		uint64_t buckets = buckets_of(s), moved = s->cleaned + s->expired, ovf = s->n_ovf;

		bad += put_number(i) != 0;
		if (buckets)
			most_splits = max_u64(most_splits, buckets_of(s) - buckets);
		most_moved = max_u64(most_moved, s->cleaned + s->expired - moved);
		most_ovf = max_u64(most_ovf, s->n_ovf > ovf ? s->n_ovf - ovf : 0);
		if (i == n / 3)
			CU_ASSERT(kit_entries(m) == i + 1);
	}
	CU_ASSERT(bad == 0 && kit_entries(m) == n);
	CU_ASSERT(most_splits == 1);
	CU_ASSERT(most_moved == 0); /* nothing is dead */
	CU_ASSERT(most_ovf <= 4);
	CU_ASSERT(kit_sound(m));
	for (uint64_t i = 0; i < n; i++)
		bad += !has_number(i);
	for (uint64_t i = n; i < n + 1000; i++)
		bad += has_number(i);
	CU_ASSERT(bad == 0);
}

static void index__growth_to_a_million_goes_in_small_steps(void)
{
	uint64_t n = T_AMOUNT(1000000, 200000, 50000);
	struct ipcmap_stat st;

	grows(T_NAME, 256, 0, n);
	st = kit_stat(m);
	/* 9.5 keys a bucket; with overflow buckets at most 9 bytes an entry (G12) */
	CU_ASSERT(2 * st.entries <= 19 * st.buckets + 32 * st.shards &&
		  st.entries + 16 * st.shards >= 9 * st.buckets);
	CU_ASSERT(st.buckets * 64 + st.overflows * 64 <= 9 * n);
	kit_gone(m);
}

static void index__one_shard_grows_past_the_hash_bits_of_its_entries(void)
{
	uint64_t n = T_AMOUNT(700000, 100000, 30000);

	grows(T_NAME, 128, 1, n); /* 65,536 buckets hold 524,288 keys */
	if (!T_SLOW)
		CU_ASSERT(buckets_of(&m->shards[0]) > 65536);
	kit_gone(m);
}

/* Far keys are hashed anew when their bucket splits beyond 65,536. */
static void index__far_keys_are_found_after_many_splits(void)
{
	static unsigned char key[40000];
	uint64_t n = T_SLOW ? 1 : 540000;
	unsigned bad = 0;

	m = kit_made(T_NAME, 128 * KIT_MIB, 0, 1); /* extents of 64 KiB */
	for (unsigned i = 0; i < 200; i++) {
		memset(key, 'f', sizeof(key));
		memcpy(key + 100 * i, &i, sizeof(i));
		bad += ipcmap_put(m, key, 33000 + i, &i, sizeof(i), NULL) != 0;
	}
	for (uint64_t i = 0; i < n; i++)
		bad += put_number(i) != 0;
	for (unsigned i = 0; i < 200; i++) {
		unsigned v = 0;

		memset(key, 'f', sizeof(key));
		memcpy(key + 100 * i, &i, sizeof(i));
		bad += ipcmap_get(m, key, 33000 + i, &v, sizeof(v), NULL) != 0 || v != i;
	}
	CU_ASSERT(bad == 0 && kit_sound(m));
	for (unsigned i = 0; i < 200; i++) {
		memset(key, 'f', sizeof(key));
		memcpy(key + 100 * i, &i, sizeof(i));
		bad += ipcmap_del(m, key, 33000 + i) != 0;
	}
	CU_ASSERT(bad == 0 && kit_stat(m).large_len == 0 && kit_entries(m) == n);
	kit_gone(m);
}

/* All keys are replaced many times over; the index stays near its size. */
static void index__turnover_of_keys_does_not_lengthen_chains(void)
{
	uint64_t n = 5000, at = 0, rounds = T_AMOUNT(300, 20, 5);
	struct ipcmap_stat st;

	m = kit_made(T_NAME, 64 * KIT_MIB, 0, 1);
	for (; at < n * rounds; at++) {
		if (put_number(at))
			CU_FAIL("put");
		if (at >= n) {
			struct kit_key k = kit_key(at - n);

			if (ipcmap_del(m, k.text, k.len))
				CU_FAIL("del");
		}
	}
	st = kit_stat(m);
	CU_ASSERT(st.entries == n);
	if (st.overflows > st.buckets * MOST_OVERFLOWS / 100)
		fprintf(stderr, "\n  %llu overflow buckets on %llu",
			(unsigned long long)st.overflows, (unsigned long long)st.buckets);
	CU_ASSERT(st.overflows <= st.buckets * MOST_OVERFLOWS / 100);
	kit_gone(m);
}

/* ---- the end of growth ---- */

/*
 * A shard's directory is made for its share of the map. Keys all of one shard, whatever
 * their number, must end in LIMIT and must all be there: chains have a longest length.
 */
static void index__full_directory_ends_in_limit(void)
{
	uint64_t n = 0;
	unsigned bad = 0;
	int r;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	m->dir_cap = 1; /* of this handle alone */
	while ((r = put_number(n)) == 0)
		n++;
	CU_ASSERT(r == IPCMAP_LIMIT && n > 8 * buckets_of(&m->shards[0]));
	for (uint64_t i = 0; i < n; i++)
		bad += !has_number(i);
	for (uint64_t i = 0; i < n; i++)
		bad += put_number(i) != 0; /* updates go on */
	CU_ASSERT(bad == 0 && kit_entries(m) == n);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"each hash belongs to one bucket of any number",
	 index__each_hash_belongs_to_one_bucket_of_any_number},
	{"growth to a million goes in small steps",
	 index__growth_to_a_million_goes_in_small_steps},
	{"one shard grows past the hash bits of its entries",
	 index__one_shard_grows_past_the_hash_bits_of_its_entries},
	{"far keys are found after many splits", index__far_keys_are_found_after_many_splits},
	{"turnover of keys does not lengthen chains",
	 index__turnover_of_keys_does_not_lengthen_chains},
	{"a full directory ends in LIMIT", index__full_directory_ends_in_limit},
	CU_TEST_INFO_NULL,
};
T_SUITE("index", tests)
