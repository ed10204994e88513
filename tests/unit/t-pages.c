/* SPDX-License-Identifier: MIT */
/*
 * t-pages.c - machines with pages of 64 KiB, longer than the extents of a small map
 *
 * There are such kernels for 64-bit ARM and POWER. Here only what the library asks differs: the
 * length of a page is a lie, and give_back() does what madvise(2) would do there.
 */
#include "kit.h"

#include "view.h"

#define PAGE UINT64_C(65536)
#define KEYS 3000u
#define VALUE 200u

static struct ipcmap *m;
static unsigned pages_gone;

static uint64_t long_pages(void)
{
	return PAGE;
}

/* The address must be that of a page; the length is rounded up to pages. */
static int give_pages_back(void *p, uint64_t len)
{
	if ((uintptr_t)p % PAGE)
		return -EINVAL;
	pages_gone++;
	return im_os_real.give_back(p, align_up(len, PAGE));
}

static void begin(const char *name, uint64_t mib)
{
	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, 1);
	kit_clock_on();
	kit_os.page_len = long_pages;
	kit_os.give_back = give_pages_back;
	pages_gone = 0;
}

static void end(void)
{
	kit_clock_off();
	kit_gone(m);
}

static void fill_and_delete(void)
{
	unsigned char val[VALUE];
	unsigned bad = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		struct kit_key k = kit_key(i);

		kit_bytes(val, sizeof(val), i);
		bad += ipcmap_put(m, k.text, k.len, val, sizeof(val), NULL) != 0;
	}
	for (unsigned i = 0; i < KEYS; i++) {
		struct kit_key k = kit_key(i);

		if (i % 3)
			bad += ipcmap_del(m, k.text, k.len) != 0;
	}
	CU_ASSERT(bad == 0);
}

static unsigned lost(void)
{
	unsigned char want[VALUE], got[VALUE];
	unsigned n = 0;

	for (unsigned i = 0; i < KEYS; i += 3) {
		struct kit_key k = kit_key(i);
		size_t len = 0;

		kit_bytes(want, sizeof(want), i);
		n += ipcmap_get(m, k.text, k.len, got, sizeof(got), &len) != 0 ||
		     len != sizeof(got) || memcmp(got, want, sizeof(got)) != 0;
	}
	return n;
}

/* It gave the free extent back, and with it those beside it in the same page. */
static void pages__compaction_gives_no_page_back_that_holds_entries(void)
{
	struct ipcmap_compact could, did;
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;

	begin(T_NAME, 4);
	CU_ASSERT_FATAL(m->seg->extent_len < PAGE);
	fill_and_delete();
	how.flags = IPCMAP_COMPACT_DRY_RUN;
	CU_ASSERT(ipcmap_compact(m, &how, &could) == 0 && could.given_back == 0);
	CU_ASSERT(ipcmap_compact(m, NULL, &did) == 0);
	CU_ASSERT(did.freed > 0 && did.given_back == 0 && pages_gone == 0);
	CU_ASSERT(lost() == 0);
	end();
}

static void pages__extents_as_long_as_a_page_are_given_back(void)
{
	struct ipcmap_compact did;

	begin(T_NAME, 128);
	CU_ASSERT_FATAL(m->seg->extent_len == PAGE);
	fill_and_delete();
	CU_ASSERT(ipcmap_compact(m, NULL, &did) == 0);
	CU_ASSERT(did.given_back >= PAGE && did.given_back == pages_gone * PAGE);
	CU_ASSERT(lost() == 0);
	end();
}

#define BIG 100000u /* 25 extents */

static int publish(unsigned char *val, uint64_t seed)
{
	struct ipcmap_pair p = {"k", 1, val, BIG};

	kit_bytes(val, BIG, seed);
	return ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0);
}

/* They cannot be mapped side by side. */
static void pages__snapshot_in_extents_that_lie_apart_is_copied(void)
{
	struct ipcmap_snapshot *s = NULL;
	unsigned char *val = calloc(1, BIG);
	uint64_t seed = 0;
	bool apart = false;
	const void *got;
	size_t len;

	begin(T_NAME, 1);
	for (unsigned i = 0; i < 40; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, val, 5000, NULL) == 0);
	}
	for (unsigned i = 0; i < 40; i += 2) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_del(m, k.text, k.len) == 0);
	}
	/* until one has extents that do not follow each other */
	while (!apart && seed < 40) {
		ipcmap_snapshot_close(s);
		CU_ASSERT(publish(val, ++seed) == 0);
		CU_ASSERT_FATAL(ipcmap_snapshot_open(m, "t", 0, &s) == 0);
		apart = s->copy != NULL;
	}
	CU_ASSERT(apart);
	CU_ASSERT(ipcmap_snapshot_get(s, "k", 1, &got, &len) == 0 && len == BIG);
	CU_ASSERT(memcmp(got, val, BIG) == 0);
	for (uint64_t i = 1; i <= 20; i++)
		CU_ASSERT(publish(val, seed + i) == 0);
	kit_bytes(val, BIG, seed);
	CU_ASSERT(memcmp(got, val, BIG) == 0);
	ipcmap_snapshot_close(s);
	free(val);
	end();
}

static CU_TestInfo tests[] = {
	{"compaction gives no page back that holds entries",
	 pages__compaction_gives_no_page_back_that_holds_entries},
	{"extents as long as a page are given back",
	 pages__extents_as_long_as_a_page_are_given_back},
	{"a snapshot in extents that lie apart is copied",
	 pages__snapshot_in_extents_that_lie_apart_is_copied},
	CU_TEST_INFO_NULL,
};
T_SUITE("pages", tests)
