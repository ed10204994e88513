/* SPDX-License-Identifier: MIT */
/*
 * t-log.c - entries as bytes; appends, heads, memory that stays flat under updates
 */
#include "kit.h"

static struct ipcmap *m;

static int put_len(uint64_t i, uint32_t len, uint64_t ttl_ns)
{
	static unsigned char val[1 << 16];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct kit_key k = kit_key(i);

	memcpy(val, &i, sizeof(i));
	how.ttl_ns = ttl_ns;
	return ipcmap_put(m, k.text, k.len, val, len, &how);
}

static struct fmt_extent *hot(void)
{
	return &m->seg->table[m->shards[0].head[FMT_HOT]];
}

/* The entry that was appended last. */
static struct im_entry last_of(uint32_t before)
{
	struct im_entry e = {0};

	CU_ASSERT(im_entry_view(m->seg, im_ref(m->seg, m->shards[0].head[FMT_HOT], before), &e));
	return e;
}

/* What one put of these lengths takes of the log, and whether it can be read back. */
static uint32_t appended(size_t key_len, uint32_t val_len, uint64_t ttl_ns)
{
	static unsigned char key[4096], val[4096];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint32_t before = hot()->fill;
	struct im_entry e;

	kit_bytes(key, key_len, key_len + 1);
	kit_bytes(val, val_len, val_len + 2);
	how.ttl_ns = ttl_ns;
	how.type = 77;
	CU_ASSERT(ipcmap_put(m, key, key_len, val, val_len, &how) == 0);
	if (hot()->fill < before)
		before = 0;
	e = last_of(before);
	CU_ASSERT(e.key_len == key_len && e.val_len == val_len && e.type == 77);
	CU_ASSERT(e.version == m->shards[0].version - 1);
	CU_ASSERT(!(e.flags & FMT_F_TTL) == (ttl_ns == IPCMAP_TTL_NONE));
	CU_ASSERT(memcmp(im_entry_key(&e), key, key_len) == 0);
	CU_ASSERT(memcmp(im_entry_val(&e), val, val_len) == 0);
	CU_ASSERT(e.hash_low == im_hash_low(im_hash(m->hash_seed, key, key_len)));
	CU_ASSERT(hot()->fill == before + e.size);
	return e.size;
}

static void log__entry_takes_header_key_value_rounded_to_16(void)
{
	m = kit_made(T_NAME, 64 * KIT_MIB, 0, 1);
	CU_ASSERT(put_len(0, 0, 0) == 0);
	CU_ASSERT(appended(16, 32, IPCMAP_TTL_NONE) == 64); /* one line */
	CU_ASSERT(appended(1, 0, IPCMAP_TTL_NONE) == 32);
	CU_ASSERT(appended(16, 0, IPCMAP_TTL_NONE) == 32);
	CU_ASSERT(appended(17, 0, IPCMAP_TTL_NONE) == 48);
	CU_ASSERT(appended(16, 32, KIT_SEC * 100) == 80);
	CU_ASSERT(appended(16, 24, KIT_SEC * 100) == 64);
	for (uint32_t n = 1; n < 200; n++)
		CU_ASSERT(appended(n, 200 - n, IPCMAP_TTL_NONE) == 224);
	kit_gone(m);
}

/* A reference to bytes that cannot be an entry is none, whatever they are. */
static void log__bytes_beyond_an_extent_are_no_entry(void)
{
	struct im_entry e;
	uint32_t ext, ref;
	uint64_t *w;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(put_len(0, 100, 0) == 0);
	ext = m->shards[0].head[FMT_HOT];
	ref = im_ref(m->seg, ext, 2048);
	w = (uint64_t *)(void *)(im_seg_extent(m->seg, ext) + 2048);
	for (unsigned flags = 0; flags < 256; flags++) {
		w[0] = im_entry_word0(1, flags, 0);
		w[1] = UINT64_MAX;
		CU_ASSERT((flags & ~(FMT_F_TTL | FMT_F_PACKED)) ==
				  (FMT_F_LARGE | FMT_F_FARKEY) ||
			  !im_entry_view(m->seg, ref, &e));
		w[1] = im_entry_word1(2000, 100, 0);
		CU_ASSERT(!im_entry_view(m->seg, ref, &e) ==
			  (im_entry_round(m->seg, im_entry_len(flags, 100, 2000)) > 2048 ||
			   flags & ~FMT_F_KNOWN ||
			   (flags & FMT_F_FARKEY && !(flags & FMT_F_LARGE))));
	}
	CU_ASSERT(!im_entry_view(m->seg, 0, &e) && !im_entry_view(m->seg, UINT32_MAX, &e));
	CU_ASSERT(!im_entry_view(m->seg, m->ref_first - 1, &e));
	CU_ASSERT(!im_entry_view(m->seg, m->ref_first + m->ref_n, &e));
	w[0] = w[1] = 0;
	kit_gone(m);
}

/* The slot that names a key. */
static uint32_t *slot_of(const char *key, size_t len)
{
	uint64_t hash = im_hash(m->hash_seed, key, len), n = m->shards[0].geometry;
	struct fmt_bucket *b = im_bucket(m, im_map_dir(m, 0),
					 im_bucket_of(hash, n & FMT_BUCKETS_MASK));
	unsigned fit = im_bucket_match(b->tags[0], b->tags[1], im_hash_tag(hash));

	return fit ? &b->ref[__builtin_ctz(fit)] : NULL;
}

static bool is_no_hit(const char *key, size_t len)
{
	char buf[300];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	int a = ipcmap_get(m, key, len, buf, sizeof(buf), NULL);
	int b = ipcmap_getx(m, key, len, &v);

	return a != 0 && a != IPCMAP_SHORT && b != 0 && b != IPCMAP_SHORT &&
	       ipcmap_exists(m, key, len) != 1;
}

/* A slot may name anything: places out of the segment, an entry that goes beyond its extent. */
static void log__slots_that_name_anything_name_no_entry(void)
{
	static const char *const keys[] = {"short", "a key that is longer", "with a life",
					   "with a life, and longer"};
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		uint32_t wrong[] = {0, m->ref_first - 1, m->ref_first + m->ref_n, UINT32_MAX,
				    m->ref_first + m->ref_n - 1};
		size_t len = strlen(keys[i]), at = m->seg->extent_len - 80;
		unsigned flags = i < 2 ? 0 : FMT_F_TTL;
		uint32_t *ref, ext, kept;
		unsigned char *p;

		how.ttl_ns = i < 2 ? IPCMAP_TTL_NONE : 1000 * KIT_SEC;
		CU_ASSERT(ipcmap_put(m, keys[i], len, "v", 1, &how) == 0);
		ref = slot_of(keys[i], len);
		CU_ASSERT_FATAL(ref != NULL);
		kept = *ref;
		for (unsigned k = 0; k < ARRAY_LEN(wrong); k++) {
			*ref = wrong[k];
			CU_ASSERT(is_no_hit(keys[i], len));
		}
		/* the right key, and a value whose end is in the next extent */
		ext = m->shards[0].head[FMT_HOT];
		p = im_seg_extent(m->seg, ext) + at;
		*ref = im_ref(m->seg, ext, (uint32_t)at);
		*(uint64_t *)(void *)p = im_entry_word0(1, flags, 0);
		*(uint64_t *)(void *)(p + 8) = im_entry_word1(
			200, (uint32_t)len, im_hash(m->hash_seed, keys[i], len));
		*(uint64_t *)(void *)(p + 16) = UINT64_MAX - 2;
		memcpy(p + im_entry_key_off(flags), keys[i], len);
		CU_ASSERT(len > IM_HASH_SHORT || flags ? is_no_hit(keys[i], len)
						       : ipcmap_exists(m, keys[i], len) != 1);
		memset(p, 0, 80);
		*ref = kept;
		CU_ASSERT(ipcmap_exists(m, keys[i], len) == 1);
	}
	kit_gone(m);
}

/* ---- books ---- */

static uint64_t sum_of(bool named)
{
	uint64_t sum = 0;
	struct fmt_shard *s = &m->shards[0];

	for (uint32_t x = s->first; x != FMT_NO_EXTENT; x = m->seg->table[x].next)
		sum += named ? im_books_named(m->seg->table[x].books)
			     : im_books_live(m->seg->table[x].books);
	return sum;
}

static void log__books_follow_every_write(void)
{
	struct fmt_shard *s;
	uint64_t state = 3;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 1);
	s = &m->shards[0];
	kit_clock_on();
	for (unsigned i = 0; i < 20000; i++) {
		struct kit_key k = kit_key(kit_below(&state, 500));

		if (kit_below(&state, 3))
			put_len(kit_below(&state, 500), (uint32_t)kit_below(&state, 300),
				kit_below(&state, 2) ? KIT_SEC : 0);
		else
			ipcmap_del(m, k.text, k.len);
		kit_time += KIT_MS;
		if (i % 100 == 0) {
			CU_ASSERT(sum_of(true) == s->live && sum_of(false) == s->live);
			CU_ASSERT(kit_stat(m).live_len == s->live);
		}
	}
	CU_ASSERT(s->expired > 0 || s->cleaned > 0);
	ipcmap_clear(m);
	CU_ASSERT(s->live == 0 && s->entries == 0);
	CU_ASSERT(s->head[FMT_HOT] == FMT_NO_EXTENT); /* log.I4 */
	kit_clock_off();
	kit_gone(m);
}

/* ---- updates ---- */

/* @n keys updated @times at random: memory used stays within the bound that clean.c states. */
static void flat(const char *name, uint64_t mib, unsigned shards, uint64_t n, uint32_t len,
		 uint64_t times)
{
	uint64_t state = 1, most = 0, live, bound;
	struct ipcmap_stat st;
	unsigned bad = 0;

	m = kit_made(name, mib * KIT_MIB, 0, shards);
	for (uint64_t i = 0; i < n; i++)
		bad += put_len(i, len, 0) != 0;
	st = kit_stat(m);
	live = st.live_len;
	for (uint64_t i = 0; i < times; i++) {
		bad += put_len(kit_below(&state, n), len, 0) != 0;
		if (i % 1000 == 0)
			most = max_u64(most, kit_stat(m).used);
	}
	/* as much garbage as live data and four extents; heads, reserve, two ahead */
	bound = 2 * live + (st.shards * UINT64_C(10)) * st.extent_len;
	CU_ASSERT(bad == 0);
	CU_ASSERT(most - st.used + st.log_len <= bound);
	CU_ASSERT(kit_stat(m).live_len == live && kit_entries(m) == n);
	kit_gone(m);
}

static void log__updates_keep_memory_flat(void)
{
	uint64_t times = T_AMOUNT(1000000, 100000, 20000);

	flat(T_NAME, 64, 0, 1000, 100, times);
	flat(T_NAME, 64, 1, 1000, 100, times / 4);
	flat(T_NAME, 1, 0, 1000, 100, times / 4);
	flat(T_NAME, 16, 0, 1, 100, times / 4);
	flat(T_NAME, 16, 0, 200, 3000, times / 10);
	flat(T_NAME, 16, 0, 50, 30000, times / 100);
}

static void log__versions_run_out_as_range(void)
{
	const char *name = T_NAME;

	m = kit_made(name, KIT_MIB, 0, 1);
	CU_ASSERT(put_len(0, 10, 0) == 0);
	m->shards[0].version = FMT_VERSION_MASK - 1;
	CU_ASSERT(put_len(0, 10, 0) == 0);
	CU_ASSERT(put_len(0, 10, 0) == IPCMAP_RANGE && put_len(1, 10, 0) == IPCMAP_RANGE);
	CU_ASSERT(kit_is(m, kit_key(0).text, "\0\0\0\0\0\0\0\0\0\0") || kit_entries(m) == 1);
	CU_ASSERT(ipcmap_del(m, kit_key(0).text, kit_key(0).len) == 0);
	/* it says that this cannot have come by writing */
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == 1);
	ipcmap_close(m);
	CU_ASSERT(ipcmap_unlink(name) == 0);
}

static CU_TestInfo tests[] = {
	{"an entry takes header, key and value rounded to 16",
	 log__entry_takes_header_key_value_rounded_to_16},
	{"bytes beyond an extent are no entry", log__bytes_beyond_an_extent_are_no_entry},
	{"slots that name anything name no entry", log__slots_that_name_anything_name_no_entry},
	{"the books follow every write", log__books_follow_every_write},
	{"updates keep memory flat", log__updates_keep_memory_flat},
	{"versions run out as RANGE", log__versions_run_out_as_range},
	CU_TEST_INFO_NULL,
};
T_SUITE("log", tests)
