/* SPDX-License-Identifier: MIT */
/*
 * t-fill-attach.c - loading through other attaches, with bad arguments, over hostile leases
 */
#include "fill.h"

/* ---- other attaches, bad arguments, hostile bytes ---- */

static void fill__read_only_gives_what_is_there(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct loader l = {.val = "v"};
	struct ipcmap *writable;

	with_map(T_NAME);
	kit_clock_on();
	how.ttl_ns = 10 * KIT_SEC;
	how.stale_ns = 60 * KIT_SEC;
	how.load_ns = 3600 * KIT_SEC;
	CU_ASSERT(fill_how("k", &l, &how) == 0);
	writable = m;
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT(ipcmap_open(writable->seg->name, &o, &m) == 0);
	CU_ASSERT(fill_how("k", &l, &how) == 0 && strcmp(got, "v") == 0);
	kit_time += 9 * KIT_SEC;
	CU_ASSERT(fill_how("k", &l, &how) == 0 && strcmp(got, "v") == 0);
	kit_time += 9 * KIT_SEC;
	CU_ASSERT(fill_how("k", &l, &how) == 0 && strcmp(got, "v") == 0);
	CU_ASSERT(fill_how("n", &l, &how) == IPCMAP_READONLY && l.loads == 1);
	ipcmap_close(m);
	m = writable;
	kit_clock_off();
	kit_gone(m);
}

static void fill__segments_of_before_say_version(void)
{
	struct fmt_lease *leases;
	struct ipcmap_lease a;

	with_map(T_NAME);
	leases = m->leases;
	m->leases = NULL;
	CU_ASSERT(lease("k", &a) == IPCMAP_VERSION);
	CU_ASSERT(lease_put("k", &a, "v") == IPCMAP_VERSION);
	m->shards[0].leases = 1; /* hostile */
	CU_ASSERT(kit_put(m, "k", "v") == 0 && ipcmap_del(m, "k", 1) == 0);
	CU_ASSERT(ipcmap_del_prefix(m, "k", 1, NULL) == 0);
	CU_ASSERT(ipcmap_check(m, NULL, NULL) > 0);
	m->shards[0].leases = 0;
	m->leases = leases;
	kit_gone(m);
}

static void fill__arguments_are_checked(void)
{
	struct ipcmap_fill_options good = IPCMAP_FILL_INIT;
	struct ipcmap_fill_options bad[] = {good, good, good, good, good};
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	struct loader l = {.val = "v"};
	struct ipcmap_lease a = {0};

	with_map(T_NAME);
	bad[0].struct_size--;
	bad[1].type = IPCMAP_TYPE_NEGATIVE;
	bad[2].jitter = 101;
	bad[3].lease_ns = 3601 * KIT_SEC;
	bad[4].ttl_ns = IPCMAP_TTL_KEEP;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		CU_ASSERT(ipcmap_fill(m, "k", 1, &bad[i], load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, NULL, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, load, &l, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(NULL, "k", 1, NULL, load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(m, "", 0, NULL, load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill_alloc(m, "k", 1, NULL, load, &l, NULL, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease(m, "k", 1, NULL, NULL, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease(m, "k", 1, NULL, &a, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, NULL, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, NULL, 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, NULL, 1) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "v", 1, NULL) == IPCMAP_MISMATCH);
	a.place = UINT32_MAX;
	CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, NULL, -EIO) == IPCMAP_MISMATCH);
	CU_ASSERT(l.loads == 0);
	kit_gone(m);
}

/* Any words whatever: each call ends, and says something. */
static void fill__hostile_leases(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	uint64_t x = kit_seed(), seed = x, *words;
	struct ipcmap_lease a;

	with_map(T_NAME);
	how.deadline_ns = 2 * KIT_MS;
	how.stale_ns = KIT_SEC;
	for (unsigned round = 0; round < T_AMOUNT(2000, 300, 50); round++) {
		char key[16];
		int r;

		sprintf(key, "key %u", (unsigned)kit_below(&x, 20));
		words = (uint64_t *)(void *)m->leases;
		for (unsigned i = 0; i < FMT_LEASES * sizeof(*m->leases) / 8; i++)
			switch (kit_below(&x, 8)) {
			case 0:
				words[i] = kit_random(&x);
				break;
			case 1:
				words[i] = 0;
				break;
			case 2:
				words[i] = UINT64_MAX;
				break;
			case 3:
				words[i] = m->seg->self;
				break;
			case 4:
				words[i] = im_hash(m->hash_seed, key, strlen(key));
				break;
			default:
				break;
			}
		m->shards[0].leases = (uint32_t)kit_below(&x, 3);
		r = lease_how(key, &a, &how);
		if (r == IPCMAP_LEAD && kit_below(&x, 2))
			r = lease_put(key, &a, "v");
		else if (r == IPCMAP_LEAD)
			r = ipcmap_lease_fail(m, key, strlen(key), &a, &how,
					      kit_below(&x, 2) ? -EIO : IPCMAP_NOTFOUND);
		if (r > 0) {
			fprintf(stderr, "\nseed %llu: %d", (unsigned long long)seed, r);
			CU_FAIL("a number that is no result");
		}
		if (kit_below(&x, 4) == 0)
			CU_ASSERT(kit_put(m, key, "w") == 0);
		if (kit_below(&x, 4) == 0) {
			r = ipcmap_del(m, key, strlen(key));
			CU_ASSERT(r == 0 || r == IPCMAP_NOTFOUND);
		}
		if (round % 100 == 0) {
			CU_ASSERT(ipcmap_del_prefix(m, "key 1", 5, NULL) == 0);
			CU_ASSERT(ipcmap_check(m, NULL, NULL) >= 0);
		}
	}
	memset(m->leases, 0, FMT_LEASES * sizeof(*m->leases));
	m->shards[0].leases = 0;
	kit_gone(m);
}

static void fill__check_finds_leases_that_cannot_be(void)
{
	struct ipcmap_lease a, b;
	struct fmt_lease *l;

	with_map(T_NAME);
	CU_ASSERT(lease("a", &a) == IPCMAP_LEAD && lease("b", &b) == IPCMAP_LEAD);
	l = m->leases;
	CU_ASSERT(kit_sound(m));
	m->shards[0].leases = 0;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == 2);
	m->shards[0].leases = 1;
	l[0].version += 100;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == 1);
	l[0].version -= 100;
	l[1].hash = l[0].hash;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == 1);
	l[1].owner = 0;
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"a read-only attach gives what is there", fill__read_only_gives_what_is_there},
	{"segments of before there were leases", fill__segments_of_before_say_version},
	{"arguments are checked", fill__arguments_are_checked},
	{"hostile leases", fill__hostile_leases},
	{"check finds leases that cannot be", fill__check_finds_leases_that_cannot_be},
	CU_TEST_INFO_NULL,
};
T_SUITE("fill: attaches", tests)
