/* SPDX-License-Identifier: MIT */
/*
 * t-large.c - values and keys in extents of their own
 */
#include "kit.h"

#include "crash.h"
#include "lock.h"

static struct ipcmap *m;
static unsigned char *val, *buf;

#define CAP (40u << 20)

static void with_map(const char *name, uint64_t mib, unsigned shards)
{
	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, shards);
	val = malloc(CAP);
	buf = malloc(CAP);
}

static void done(void)
{
	kit_gone(m);
	free(val);
	free(buf);
}

static int put_seed(const char *key, size_t len, uint64_t seed)
{
	kit_bytes(val, len, seed);
	return ipcmap_put(m, key, strlen(key), val, len, NULL);
}

static bool has_seed(const char *key, size_t len, uint64_t seed)
{
	size_t got = 0;

	kit_bytes(val, len, seed);
	return ipcmap_get(m, key, strlen(key), buf, CAP, &got) == 0 && got == len &&
	       memcmp(buf, val, len) == 0;
}

/* Bytes of extents for a value in a chain. */
static uint64_t chain_len(size_t len)
{
	uint64_t e = m->seg->extent_len;

	return (len + e - 1) / e * e;
}

static void large__chain_takes_whole_extents_and_is_counted(void)
{
	static const size_t lens[] = {8193, 16000, 8192 * 2, 8192 * 2 + 1, 100000, 5 << 20};
	uint64_t used;

	with_map(T_NAME, 16, 1); /* extents of 8 KiB */
	CU_ASSERT(put_seed("x", 10, 1) == 0 && put_seed("k", 10, 1) == 0);
	used = kit_stat(m).used;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		CU_ASSERT(put_seed("k", lens[i], i) == 0 && has_seed("k", lens[i], i));
		CU_ASSERT(kit_stat(m).large_len == chain_len(lens[i]));
		CU_ASSERT(kit_stat(m).used == used + chain_len(lens[i]));
		CU_ASSERT(kit_sound(m));
	}
	/* by an update, a delete, a take, a clear and what follows */
	CU_ASSERT(put_seed("k", 10, 1) == 0 && kit_stat(m).large_len == 0);
	CU_ASSERT(kit_stat(m).used == used);
	CU_ASSERT(put_seed("k", 50000, 2) == 0 && ipcmap_del(m, "k", 1) == 0);
	CU_ASSERT(kit_stat(m).large_len == 0 && kit_stat(m).used == used);
	{
		struct ipcmap_value v = {.buf = buf, .cap = CAP};

		CU_ASSERT(put_seed("k", 50000, 3) == 0 && ipcmap_take(m, "k", 1, &v) == 0);
		CU_ASSERT(v.len == 50000 && memcmp(buf, val, v.len) == 0);
	}
	CU_ASSERT(kit_stat(m).large_len == 0 && kit_stat(m).used == used);
	CU_ASSERT(put_seed("k", 50000, 4) == 0 && ipcmap_clear(m) == 0);
	CU_ASSERT(kit_absent(m, "k") && kit_sound(m));
	CU_ASSERT(put_seed("k", 50000, 5) == 0); /* takes the slot, frees the old chain */
	CU_ASSERT(kit_stat(m).large_len == chain_len(50000) && kit_entries(m) == 1);
	done();
}

static void large__refused_when_too_large_and_the_old_value_stays(void)
{
	uint64_t free_len;

	with_map(T_NAME, 16, 1);
	CU_ASSERT(put_seed("k", 3 << 20, 1) == 0 && put_seed("small", 100, 1) == 0);
	CU_ASSERT(put_seed("k", 15 << 20, 2) == IPCMAP_LIMIT && has_seed("k", 3 << 20, 1));
	CU_ASSERT(put_seed("new", 15 << 20, 2) == IPCMAP_LIMIT && kit_absent(m, "new"));
	CU_ASSERT(put_seed("k", 17 << 20, 2) == IPCMAP_TOOBIG);
	CU_ASSERT(kit_stat(m).large_len == 3 << 20 && kit_sound(m));
	/* an update needs room for old and new together */
	free_len = kit_stat(m).limit - kit_stat(m).used;
	CU_ASSERT(put_seed("k", (size_t)free_len / 10 * 9, 3) == 0);
	CU_ASSERT(put_seed("k", (size_t)free_len / 10 * 9, 4) == IPCMAP_LIMIT);
	CU_ASSERT(has_seed("k", (size_t)free_len / 10 * 9, 3) && has_seed("small", 100, 1));
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0 && kit_stat(m).large_len == 0);
	CU_ASSERT(put_seed("k", (size_t)free_len / 10 * 9, 4) == 0);
	CU_ASSERT(kit_entries(m) == 2);
	done();
}

/* A refused large value leaves the room it was tried in to small ones. */
static void large__refusal_gives_everything_back(void)
{
	uint64_t used;
	char key[16];

	with_map(T_NAME, 16, 0);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "s%u", i);
		CU_ASSERT(put_seed(key, 100, i) == 0);
	}
	used = kit_stat(m).used;
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT(put_seed("k", (16 << 20) - 500000, 2) == IPCMAP_LIMIT);
	CU_ASSERT(kit_stat(m).used <= used && kit_sound(m));
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "s%u", i);
		CU_ASSERT(has_seed(key, 100, i));
	}
	CU_ASSERT(put_seed("k", 10 << 20, 2) == 0);
	done();
}

/* Conditions are judged as for small ones; a refused one costs nothing. */
static void large__conditions_keep_the_old_chain(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint64_t used, version;

	with_map(T_NAME, 16, 1);
	CU_ASSERT(put_seed("k", 100000, 1) == 0);
	used = kit_stat(m).used;
	version = kit_version(m, "k");
	how.flags = IPCMAP_IF_ABSENT;
	kit_bytes(buf, 200000, 9);
	CU_ASSERT(ipcmap_put(m, "k", 1, buf, 200000, &how) == IPCMAP_EXISTS);
	how.flags = IPCMAP_IF_VERSION;
	how.version = version + 1;
	CU_ASSERT(ipcmap_put(m, "k", 1, buf, 200000, &how) == IPCMAP_MISMATCH);
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = val;
	how.equal_len = 100000;
	val[99999] ^= 1;
	CU_ASSERT(ipcmap_put(m, "k", 1, buf, 200000, &how) == IPCMAP_MISMATCH);
	val[99999] ^= 1;
	val[8191] ^= 1;
	CU_ASSERT(ipcmap_put(m, "k", 1, buf, 200000, &how) == IPCMAP_MISMATCH);
	val[8191] ^= 1;
	how.flags = IPCMAP_IF_PRESENT;
	CU_ASSERT(ipcmap_put(m, "x", 1, buf, 200000, &how) == IPCMAP_NOTFOUND);
	CU_ASSERT(kit_stat(m).used == used && kit_version(m, "k") == version);
	how.flags = IPCMAP_IF_EQUAL;
	CU_ASSERT(ipcmap_put(m, "k", 1, buf, 200000, &how) == 0 && has_seed("k", 200000, 9));
	done();
}

/* Descriptors move when the log is cleaned, chains stay. */
static void large__chain_survives_cleaning_of_its_descriptor(void)
{
	uint64_t state = 1;
	char key[16];

	with_map(T_NAME, 16, 1);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "big%u", i);
		CU_ASSERT(put_seed(key, 100000 + i, i) == 0);
		for (unsigned k = 0; k < 300; k++) {
			snprintf(key, sizeof(key), "s%llu",
				 (unsigned long long)kit_below(&state, 500));
			CU_ASSERT(put_seed(key, 100, k) == 0);
		}
	}
	for (unsigned i = 0; i < 40000; i++) {
		snprintf(key, sizeof(key), "s%llu", (unsigned long long)kit_below(&state, 500));
		CU_ASSERT(put_seed(key, 100, i) == 0);
	}
	CU_ASSERT(kit_stat(m).cleaned > 20);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "big%u", i);
		CU_ASSERT(has_seed(key, 100000 + i, i));
	}
	CU_ASSERT(kit_stat(m).large_len == 20 * chain_len(100019));
	done();
}

static void large__far_keys_and_their_neighbours(void)
{
	static unsigned char key[65535];
	size_t got;

	with_map(T_NAME, 16, 0); /* keys above 4 KiB lie in chains */
	for (size_t len = 4000; len < sizeof(key); len = len * 5 / 4 + 1)
		for (unsigned big = 0; big < 2; big++) {
			size_t n = big ? 20000 : 5;

			kit_bytes(key, len, len);
			kit_bytes(val, n, len);
			CU_ASSERT(ipcmap_put(m, key, len, val, n, NULL) == 0);
			CU_ASSERT(ipcmap_get(m, key, len, buf, CAP, &got) == 0 && got == n);
			CU_ASSERT(memcmp(buf, val, n) == 0);
			key[len - 1] ^= 1;
			CU_ASSERT(ipcmap_exists(m, key, len) == 0);
			key[len - 1] ^= 1;
			CU_ASSERT(ipcmap_exists(m, key, len - 1) == 0);
			CU_ASSERT(kit_sound(m));
			CU_ASSERT(ipcmap_del(m, key, len) == 0);
		}
	CU_ASSERT(kit_stat(m).large_len == 0 && kit_entries(m) == 0);
	done();
}

/* 32 MiB and more; and at the limit of a map, emptied and filled again. */
static void large__many_mebibytes(void)
{
	char key[16];
	uint64_t n = 0;
	unsigned bad = 0;

	with_map(T_NAME, 64, 0);
	CU_ASSERT(put_seed("k", 33 << 20, 1) == 0 && has_seed("k", 33 << 20, 1));
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
	for (unsigned round = 0; round < 2; round++) {
		for (n = 0;; n++) {
			snprintf(key, sizeof(key), "m%u", (unsigned)n);
			if (put_seed(key, 1 << 20, n))
				break;
		}
		CU_ASSERT(n >= 60);
		for (uint64_t i = 0; i < n; i++) {
			snprintf(key, sizeof(key), "m%u", (unsigned)i);
			bad += !has_seed(key, 1 << 20, i) || ipcmap_del(m, key, strlen(key));
		}
	}
	CU_ASSERT(bad == 0 && kit_stat(m).large_len == 0);
	done();
}

/* A shard has one place for what it could not free at once: it is not used while it is taken. */
static void large__what_is_still_to_be_freed_is_not_forgotten(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint32_t *space;

	with_map(T_NAME, 16, 1);
	space = &m->seg->h->space.lock;
	CU_ASSERT(put_seed("a", 100000, 1) == 0 && put_seed("b", 100000, 2) == 0 &&
		  put_seed("c", 100000, 3) == 0);
	CU_ASSERT(m->seg->owners[(m->seg->self & 0x3ff) - 1].n_private == 0);
	how.deadline_ns = 20 * KIT_MS;
	CU_ASSERT(im_trylock(m->seg, space) == IM_TAKEN);
	CU_ASSERT(ipcmap_del(m, "a", 1) == 0 && m->shards[0].free_n != 0);
	CU_ASSERT(ipcmap_delx(m, "b", 1, &how) == IPCMAP_BUSY && has_seed("b", 100000, 2));
	CU_ASSERT(ipcmap_put(m, "c", 1, "small", 5, &how) == IPCMAP_BUSY &&
		  has_seed("c", 100000, 3));
	im_unlock(m->seg, space);
	CU_ASSERT(ipcmap_delx(m, "b", 1, &how) == 0 && m->shards[0].free_n == 0);
	CU_ASSERT(ipcmap_put(m, "c", 1, "small", 5, &how) == 0 && kit_is(m, "c", "small"));
	CU_ASSERT(kit_stat(m).large_len == 0);
	done();
}

/* ---- comparing ---- */

#if defined(IM_CHECK) && IM_CHECK

static uint32_t lock_seen;

static void look_at_lock(const char *point)
{
	if (strcmp(point, "read.large") == 0)
		lock_seen |= im_load32_rlx(&m->shards[0].lock);
}

static void large__values_are_compared_outside_the_lock(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char *same = malloc(1 << 20);
	struct ipcmap_value v = {0};

	with_map(T_NAME, 16, 1);
	v.buf = buf;
	v.cap = CAP;
	kit_bytes(same, 1 << 20, 1);
	CU_ASSERT(put_seed("k", 1 << 20, 1) == 0);
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = same;
	how.equal_len = 1 << 20;
	lock_seen = 0;
	im_crash_hook = look_at_lock;
	same[12345] ^= 1;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "new", 3, &how, &v) == IPCMAP_MISMATCH);
	CU_ASSERT(v.len == 1 << 20 && ipcmap_delx(m, "k", 1, &how) == IPCMAP_MISMATCH);
	same[12345] ^= 1;
	how.deadline_ns = IPCMAP_NOWAIT;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "new", 3, &how, &v) == 0);
	CU_ASSERT(v.len == 1 << 20 && memcmp(buf, same, v.len) == 0 && kit_is(m, "k", "new"));
	CU_ASSERT(put_seed("k", 1 << 20, 1) == 0 && ipcmap_delx(m, "k", 1, &how) == 0);
	im_crash_hook = NULL;
	CU_ASSERT(lock_seen == 0);
	free(same);
	done();
}

#endif

static CU_TestInfo tests[] = {
	{"a chain takes whole extents and is counted",
	 large__chain_takes_whole_extents_and_is_counted},
	{"a value too large is refused and the old one stays",
	 large__refused_when_too_large_and_the_old_value_stays},
	{"a refusal gives everything back", large__refusal_gives_everything_back},
	{"conditions keep the old chain", large__conditions_keep_the_old_chain},
	{"a chain survives cleaning of its descriptor",
	 large__chain_survives_cleaning_of_its_descriptor},
	{"far keys and their neighbours", large__far_keys_and_their_neighbours},
	{"many mebibytes", large__many_mebibytes},
	{"what is still to be freed is not forgotten",
	 large__what_is_still_to_be_freed_is_not_forgotten},
#if defined(IM_CHECK) && IM_CHECK
	{"values are compared outside the lock", large__values_are_compared_outside_the_lock},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("large", tests)
