/* SPDX-License-Identifier: MIT */
/*
 * t-map.c - open: geometry of a new map, what an existing one keeps, reasons
 */
#include "kit.h"

static char why[200];

static struct ipcmap_options opt(unsigned flags)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.flags = flags;
	o.why = why;
	o.why_cap = sizeof(why);
	memset(why, '#', sizeof(why));
	return o;
}

static int fails(const char *name, struct ipcmap_options o)
{
	struct ipcmap *m = (struct ipcmap *)&o;
	int r = ipcmap_open(name, &o, &m);

	CU_ASSERT(r < 0);
	CU_ASSERT(m == (struct ipcmap *)&o); /* untouched on failure */
	if (r == 0)
		ipcmap_close(m);
	return r;
}

/* One line of reason that names the segment. */
static bool has_reason(const char *word)
{
	bool ok = memchr(why, '\0', sizeof(why)) && strstr(why, word) && !strchr(why, '\n');

	if (!ok)
		fprintf(stderr, "\n  why: %.*s", (int)sizeof(why), why);
	return ok;
}

static void map__geometry_follows_the_limit(void)
{
	static const struct {
		uint64_t limit;
		unsigned asked, shards;
		uint64_t extent;
	} how[] = {
		{1 << 20, 0, 2, 4096},	     {1 << 20, 1, 1, 4096},	 {3 << 20, 0, 4, 4096},
		{8 << 20, 0, 16, 4096},	     {16 << 20, 0, 16, 8192},	 {16 << 20, 7, 8, 8192},
		{64 << 20, 0, 16, 32768},    {64 << 20, 64, 64, 32768},	 {1 << 30, 0, 16, 524288},
		{UINT64_C(4) << 30, 0, 32, 1 << 20}, {UINT64_C(16) << 30, 0, 64, 1 << 20},
	};

	for (unsigned i = 0; i < ARRAY_LEN(how); i++) {
		struct ipcmap *m = kit_made(T_NAME, how[i].limit, how[i].limit, how[i].asked);
		struct ipcmap_stat s = kit_stat(m);

		if (s.shards != how[i].shards || s.extent_len != how[i].extent)
			fprintf(stderr, "\n  %llu: %u shards, %llu",
				(unsigned long long)how[i].limit, s.shards,
				(unsigned long long)s.extent_len);
		CU_ASSERT(s.shards == how[i].shards && s.extent_len == how[i].extent);
		CU_ASSERT(s.limit == how[i].limit && s.max >= how[i].limit);
		CU_ASSERT(kit_put(m, "k", "v") == 0 && kit_is(m, "k", "v"));
		kit_gone(m);
	}
}

static void map__defaults(void)
{
	struct ipcmap_options o = opt(IPCMAP_CREATE);
	struct ipcmap *m;
	struct ipcmap_stat s;

	CU_ASSERT_FATAL(ipcmap_open(T_NAME, &o, &m) == 0);
	s = kit_stat(m);
	CU_ASSERT(s.limit == 64 * KIT_MIB && s.max >= 512 * KIT_MIB && s.mode == 0600);
	CU_ASSERT(s.ttl_ns == IPCMAP_TTL_NONE && why[0] == '\0');
	CU_ASSERT(strcmp(ipcmap_why(m), "") == 0);
	kit_gone(m);
}

static void map__wrong_options_are_refused_with_a_reason(void)
{
	const char *name = T_NAME;
	struct ipcmap_options o = opt(IPCMAP_CREATE);
	struct ipcmap *m;

	CU_ASSERT(ipcmap_open(NULL, &o, &m) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_open(name, &o, NULL) == IPCMAP_INVALID);
	o.struct_size--;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID);
	CU_ASSERT(fails(name, opt(1u << 20)) == IPCMAP_INVALID);
	o = opt(IPCMAP_CREATE);
	o.mode = 01777;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID);
	CU_ASSERT(fails(name, opt(IPCMAP_CREATE | IPCMAP_RDONLY)) == IPCMAP_INVALID);
	CU_ASSERT(has_reason("RDONLY"));
	o = opt(IPCMAP_CREATE);
	o.limit = KIT_MIB - 1;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && has_reason("1 MiB"));
	o = opt(IPCMAP_CREATE);
	o.limit = 4 * KIT_MIB;
	o.max = 2 * KIT_MIB;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && has_reason("max"));
	o = opt(IPCMAP_CREATE);
	o.shards = 1025;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && has_reason("1024"));
	o = opt(IPCMAP_CREATE);
	o.limit = KIT_MIB;
	o.shards = 64;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && has_reason("64 shards"));
	o = opt(IPCMAP_CREATE);
	o.max = UINT64_C(1) << 40;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && has_reason("256 GiB"));
	o = opt(IPCMAP_CREATE);
	o.evict = 1;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && has_reason("evict"));
	CU_ASSERT(fails(name, opt(0)) == IPCMAP_NOTFOUND && has_reason(name + 1));
	CU_ASSERT(access(T_PATH, F_OK) < 0);
	CU_ASSERT(ipcmap_unlink(name) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_unlink(NULL) == IPCMAP_INVALID);
	/* a reason is cut to the room there is */
	o = opt(0);
	o.why_cap = 5;
	CU_ASSERT(fails(name, o) == IPCMAP_NOTFOUND && strlen(why) == 4 && why[5] == '#');
	o.why = NULL;
	CU_ASSERT(fails(name, o) == IPCMAP_NOTFOUND);
}

static void map__existing_one_wins(void)
{
	struct ipcmap *m = kit_made(T_NAME, 16 * KIT_MIB, 64 * KIT_MIB, 4), *b;
	const char *name = m->seg->name;
	struct ipcmap_options o;

	CU_ASSERT(kit_put(m, "k", "v") == 0);
	CU_ASSERT(fails(name, opt(IPCMAP_CREATE | IPCMAP_EXCL)) == IPCMAP_EXISTS);
	o = opt(IPCMAP_CREATE);
	o.limit = 32 * KIT_MIB;
	o.ttl_ns = KIT_SEC;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &b) == 0);
	CU_ASSERT(kit_stat(b).limit == 16 * KIT_MIB && kit_stat(b).ttl_ns == IPCMAP_TTL_NONE);
	CU_ASSERT(kit_is(b, "k", "v"));
	ipcmap_close(b);
	o.flags |= IPCMAP_APPLY;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &b) == 0);
	CU_ASSERT(kit_stat(m).limit == 32 * KIT_MIB && kit_stat(m).ttl_ns == KIT_SEC);
	ipcmap_close(b);
	o = opt(IPCMAP_CREATE);
	o.shards = 8;
	CU_ASSERT(fails(name, o) == IPCMAP_MISMATCH && has_reason("4 shards"));
	o.shards = 3; /* rounded up to 4 */
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &b) == 0);
	ipcmap_close(b);
	o = opt(IPCMAP_APPLY);
	o.limit = 65 * KIT_MIB;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && has_reason("limit"));
	o.limit = 100000;
	CU_ASSERT(fails(name, o) == IPCMAP_INVALID && kit_stat(m).limit == 32 * KIT_MIB);
	o.flags |= IPCMAP_RDONLY;
	o.limit = 16 * KIT_MIB;
	CU_ASSERT(fails(name, o) == IPCMAP_READONLY && kit_stat(m).limit == 32 * KIT_MIB);
	kit_gone(m);
}

static void map__geometry_that_cannot_be_is_corrupt(void)
{
	struct ipcmap *m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	const char *path = T_PATH;
	char name[100];
	uint64_t kept;

	strcpy(name, m->seg->name);
	(void)path;
	kept = m->seg->h->user[FMT_GEO_SHARD_LEN];
	ipcmap_close(m);
	{
		FILE *f = fopen(name, "r+");
		uint64_t other = kept + 64;

		CU_ASSERT_FATAL(f != NULL);
		fseek(f, (long)offsetof(struct fmt_header, user), SEEK_SET);
		fwrite(&other, sizeof(other), 1, f);
		fclose(f);
	}
	CU_ASSERT(fails(name, opt(0)) == IPCMAP_CORRUPT && has_reason("ipcmap-test"));
	CU_ASSERT(fails(name, opt(IPCMAP_CREATE)) == IPCMAP_CORRUPT);
	CU_ASSERT(ipcmap_unlink(name) == 0);
}

/* The whole limit is backed at once, or nothing is made. */
static void map__reserve_takes_the_memory_now(void)
{
	struct ipcmap_options o = opt(IPCMAP_CREATE | IPCMAP_RESERVE);
	struct ipcmap *m;
	struct stat st;

	o.limit = 8 * KIT_MIB;
	CU_ASSERT_FATAL(ipcmap_open(T_NAME, &o, &m) == 0);
	CU_ASSERT(stat(m->seg->name, &st) == 0);
	CU_ASSERT((uint64_t)st.st_blocks * 512 >= 8 * KIT_MIB - m->seg->extent_len);
	CU_ASSERT((uint64_t)st.st_blocks * 512 <= 9 * KIT_MIB);
	kit_gone(m);
	o.flags = IPCMAP_CREATE;
	CU_ASSERT_FATAL(ipcmap_open(T_NAME, &o, &m) == 0);
	CU_ASSERT(stat(m->seg->name, &st) == 0 && st.st_blocks * 512 < 2 << 20);
	/* what the file takes stays within the limit (G12) */
	for (uint64_t i = 0; i < 100000; i++) {
		struct kit_key k = kit_key(i);

		if (ipcmap_put(m, k.text, k.len, "some value", 10, NULL))
			break;
	}
	CU_ASSERT(stat(m->seg->name, &st) == 0);
	CU_ASSERT((uint64_t)st.st_blocks * 512 <= 8 * KIT_MIB);
	kit_gone(m);
}

/* ShmemPmdMapped of the mapping of @path, in KiB. */
static unsigned long large_pages(const char *path)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long kib, sum = 0;
	bool ours = false;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, "/dev/shm/"))
			ours = strstr(line, path) != NULL;
		else if (ours && sscanf(line, "ShmemPmdMapped: %lu", &kib) == 1)
			sum += kib;
	}
	if (f)
		fclose(f);
	return sum;
}

static void map__large_pages_are_used_and_no_more_memory(void)
{
	struct ipcmap_options o = opt(IPCMAP_CREATE | IPCMAP_HUGE);
	struct ipcmap *m;
	struct stat st;

	o.limit = 16 * KIT_MIB;
	CU_ASSERT_FATAL(ipcmap_open(T_NAME, &o, &m) == 0);
	CU_ASSERT(((uintptr_t)m->base & (IM_OS_LARGE_PAGE - 1)) == 0);
	CU_ASSERT(stat(m->seg->name, &st) == 0);
	CU_ASSERT((uint64_t)st.st_blocks * 512 <= 16 * KIT_MIB);
	CU_ASSERT((uint64_t)st.st_blocks * 512 >= 16 * KIT_MIB - m->seg->extent_len);
	for (uint64_t i = 0; i < 100000; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT_FATAL(ipcmap_put(m, k.text, k.len, "some value", 10, NULL) == 0);
	}
	if (large_pages(m->seg->name) < 4096)
		t_skip("this system gave no large pages");
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"the geometry follows the limit", map__geometry_follows_the_limit},
	{"defaults", map__defaults},
	{"wrong options are refused with a reason",
	 map__wrong_options_are_refused_with_a_reason},
	{"an existing map wins", map__existing_one_wins},
	{"a geometry that cannot be is corrupt", map__geometry_that_cannot_be_is_corrupt},
	{"RESERVE takes the memory now; the file stays within the limit",
	 map__reserve_takes_the_memory_now},
	{"large pages are used and no more memory",
	 map__large_pages_are_used_and_no_more_memory},
	CU_TEST_INFO_NULL,
};
T_SUITE("map", tests)
