/* SPDX-License-Identifier: MIT */
/*
 * t-features.c - the feature bits of a header: who refuses what
 */
#include "kit.h"

#include "header.h"

#include <fcntl.h>

static struct ipcmap *m;

/* Change the header of a map that nobody has attached. */
static void change_header(const char *path, void (*change)(struct fmt_header *h))
{
	static struct fmt_header h;
	int fd = open(path, O_RDWR);

	CU_ASSERT_FATAL(fd >= 0 && pread(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h));
	change(&h);
	CU_ASSERT_FATAL(pwrite(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h));
	close(fd);
}

static struct ipcmap_inspect inspect(struct ipcmap *map)
{
	struct ipcmap_inspect v = {.struct_size = sizeof(v)};

	CU_ASSERT(ipcmap_inspect(map, &v) == 0);
	return v;
}

static void features__every_new_segment_says_what_may_be_in_it(void)
{
	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	/* values 1 and 2, as ipcmap(5) has them, and nothing else */
	CU_ASSERT(inspect(m).incompat == 3 && inspect(m).compat == 0);
	CU_ASSERT(FMT_INCOMPAT_KNOWN == 3 && m->waits && m->leases && m->pins.n);
	kit_gone(m);
}

static uint64_t features;

static void forget_bits(struct fmt_header *h)
{
	h->incompat = features;
	h->checksum = im_header_checksum(h);
}

static void features__segment_without_the_bit_has_what_has_a_place_in_it(void)
{
	const char *name = T_NAME, *path = T_PATH;
	struct ipcmap_watch *w = NULL;

	ipcmap_close(kit_made(name, KIT_MIB, 0, 0));
	features = 0;
	change_header(path, forget_bits);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	CU_ASSERT(inspect(m).incompat == 0);
	CU_ASSERT(ipcmap_watch_open(m, "k", 1, IPCMAP_WATCH_KEY, &w) == 0);
	ipcmap_watch_close(w);
	kit_gone(m);
}

/* One that knows no pins may have it attached, and would use their memory again. */
static void features__values_are_copied_in_a_segment_of_before(void)
{
	const char *name = T_NAME, *path = T_PATH;
	struct ipcmap_pin p;

	ipcmap_close(kit_made(name, KIT_MIB, 0, 0));
	features = 1;
	change_header(path, forget_bits);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	CU_ASSERT(kit_put(m, "k", "v") == 0 && ipcmap_pin(m, "k", 1, &p) == 0);
	CU_ASSERT(p.copied && p.len == 1 && *(const char *)p.val == 'v');
	CU_ASSERT(kit_stat(m).pins == 0 && kit_stat(m).gets == 1);
	ipcmap_unpin(m, &p);
	CU_ASSERT(ipcmap_pin(m, "absent", 6, &p) == IPCMAP_NOTFOUND);
	kit_gone(m);
}

/* A library that knows no groups may have such a segment attached. */
static void features__no_groups_in_a_segment_of_before(void)
{
	struct ipcmap_change c = {.key = "a", .key_len = 1, .val = "v", .val_len = 1};
	struct ipcmap_mget item = {.key = "k", .key_len = 1};
	struct fmt_waits *waits;
	struct ipcmap *sub;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(kit_put(m, "k", "v") == 0 && ipcmap_commit(m, &c, 1, 0) == 0);
	waits = m->waits;
	m->waits = NULL; /* as in one that has no waiting area */
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "p/", 2, &sub) == 0);
	c.val = "w";
	CU_ASSERT(ipcmap_commit(m, &c, 1, 0) == IPCMAP_VERSION);
	CU_ASSERT(ipcmap_commit(sub, &c, 1, 0) == IPCMAP_VERSION);
	CU_ASSERT(ipcmap_mget_consistent(m, &item, 1, 0) == 0 && item.rc == IPCMAP_SHORT);
	CU_ASSERT(kit_put(m, "k", "w") == 0 && kit_is(m, "a", "v") && kit_absent(m, "p/a"));
	ipcmap_close(sub);
	m->waits = waits;
	kit_gone(m);
}

/* Two that follow from the format, and one byte that can be found if those are right. */
static void three_numbers_wrong(struct fmt_header *h)
{
	h->incompat = 0x77;
	h->version = 3;
	h->hash_seed ^= 0x5500;
}

/* What had but one value before has two now. */
static void features__repair_finds_the_bits(void)
{
	static const uint64_t bits[] = {0, 1, 3};

	for (unsigned i = 0; i < ARRAY_LEN(bits); i++) {
		const char *name = t_name(1000 + (int)i), *path = t_path(1000 + (int)i);
		struct ipcmap_repair r;
		struct ipcmap *map = kit_made(name, KIT_MIB, 0, 0);

		CU_ASSERT(kit_put(map, "k", "v") == 0);
		ipcmap_close(map);
		features = bits[i];
		change_header(path, forget_bits);
		change_header(path, three_numbers_wrong);
		CU_ASSERT(ipcmap_open(name, NULL, &map) == IPCMAP_VERSION);
		CU_ASSERT(ipcmap_repair(name, NULL, &r) == 0);
		CU_ASSERT_FATAL(ipcmap_open(name, NULL, &map) == 0);
		CU_ASSERT(kit_is(map, "k", "v") && inspect(map).incompat == 3);
		kit_gone(map);
	}
}

static CU_TestInfo tests[] = {
	{"every new segment says what may be in it",
	 features__every_new_segment_says_what_may_be_in_it},
	{"a segment without the bit has what it has a place for",
	 features__segment_without_the_bit_has_what_has_a_place_in_it},
	{"values are copied in a segment of before",
	 features__values_are_copied_in_a_segment_of_before},
	{"no groups in a segment of before", features__no_groups_in_a_segment_of_before},
	{"repair finds the bits of a damaged header",
	 features__repair_finds_the_bits},
	CU_TEST_INFO_NULL,
};
T_SUITE("features", tests)
