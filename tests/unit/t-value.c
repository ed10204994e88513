/* SPDX-License-Identifier: MIT */
/*
 * t-value.c - compressed values are like any other to every call
 */
#include "kit.h"

#include "crash.h"
#include "value.h"

#include <limits.h>
#include <pthread.h>

#define CAP (5u << 20)

static struct ipcmap *m;
static unsigned char *val, *buf;

static void set_compress(unsigned compress)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.compress = compress;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
}

static void with_map(const char *name, uint64_t mib)
{
	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, 1);
	set_compress(100);
	val = malloc(CAP);
	buf = malloc(CAP);
}

static void done(void)
{
	kit_gone(m);
	free(val);
	free(buf);
}

/* Text-like: words of a small vocabulary; about a quarter of it remains. */
static void make_text(unsigned char *to, size_t len, uint64_t seed)
{
	uint64_t x = seed;

	for (size_t i = 0; i < len;) {
		char word[16];
		int n = snprintf(word, sizeof(word), "word%llu ",
				 (unsigned long long)kit_below(&x, 200));

		for (int k = 0; k < n && i < len; k++)
			to[i++] = (unsigned char)word[k];
	}
}

static int put_text(const char *key, size_t len, uint64_t seed)
{
	make_text(val, len, seed);
	return ipcmap_put(m, key, strlen(key), val, len, NULL);
}

static bool is_text(const void *got, size_t got_len, size_t len, uint64_t seed)
{
	make_text(val, len, seed);
	return got_len == len && memcmp(got, val, len) == 0;
}

static bool has_text(const char *key, size_t len, uint64_t seed)
{
	size_t got = 0;

	return ipcmap_get(m, key, strlen(key), buf, CAP, &got) == 0 &&
	       is_text(buf, got, len, seed);
}

static uint64_t saved(void)
{
	struct ipcmap_stat s = kit_stat(m);

	return s.compress_raw - s.compress_stored;
}

static void value__comes_back_as_it_was(void)
{
	static const size_t lens[] = {100,   101,   1000,   4000,  4096,	65535, 65536,
				      65537, 70000, 131072, 200000, 3u << 20, CAP};
	unsigned bad = 0;

	with_map(T_NAME, 32); /* extents of 16 KiB */
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		uint64_t before = saved();

		bad += put_text("k", lens[i], i) || !has_text("k", lens[i], i);
		bad += lens[i] > 1000 && saved() - before < lens[i] / 2;
		bad += kit_stat(m).large_len > lens[i] / 2 + 16384 || !kit_sound(m);
	}
	CU_ASSERT(bad == 0);
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0 && kit_stat(m).large_len == 0);
	done();
}

static void value__is_left_alone_when_short_or_dense(void)
{
	with_map(T_NAME, 16);
	CU_ASSERT(put_text("short", 99, 1) == 0 && has_text("short", 99, 1) && saved() == 0);
	kit_bytes(val, 50000, 5);
	CU_ASSERT(ipcmap_put(m, "dense", 5, val, 50000, NULL) == 0 && saved() == 0);
	CU_ASSERT(ipcmap_put(m, "dense", 5, val, 100, NULL) == 0 && saved() == 0);
	/* a block that packs beside one that does not, and enough in all */
	make_text(val + 65536, 65536, 3);
	kit_bytes(val, 65536, 5);
	CU_ASSERT(ipcmap_put(m, "mixed", 5, val, 131072, NULL) == 0 && saved() > 30000);
	{
		size_t len = 0;

		CU_ASSERT(ipcmap_get(m, "mixed", 5, buf, CAP, &len) == 0);
		CU_ASSERT(len == 131072 && memcmp(buf, val, len) == 0);
	}
	set_compress(IPCMAP_COMPRESS_OFF);
	{
		uint64_t before = saved();

		CU_ASSERT(put_text("off", 10000, 1) == 0 && saved() == before);
	}
	CU_ASSERT(has_text("off", 10000, 1));
	set_compress(1);
	CU_ASSERT(kit_stat(m).compress == 64); /* the least there is */
	done();
}

static int see_item(void *arg, const struct ipcmap_item *it)
{
	unsigned *n = arg;

	*n += it->val_len == 20000 && (!it->val || is_text(it->val, it->val_len, 20000, 7));
	return 0;
}

static void value__is_raw_to_every_read(void)
{
	struct ipcmap_value v = {.buf = buf, .cap = CAP};
	struct ipcmap_mget item = {.key = "k", .key_len = 1, .value = {.buf = buf, .cap = CAP}};
	uint64_t cursor = 0;
	size_t len = 0;
	unsigned n = 0;
	void *p = NULL;

	with_map(T_NAME, 16);
	v.buf = item.value.buf = buf;
	CU_ASSERT(put_text("k", 20000, 7) == 0 && saved() > 0);
	CU_ASSERT(ipcmap_getx(m, "k", 1, &v) == 0 && is_text(buf, v.len, 20000, 7));
	CU_ASSERT(ipcmap_get(m, "k", 1, buf, 19999, &len) == IPCMAP_SHORT && len == 20000);
	CU_ASSERT(ipcmap_get(m, "k", 1, NULL, 0, &len) == IPCMAP_SHORT && len == 20000);
	CU_ASSERT(ipcmap_exists(m, "k", 1) == 1);
	CU_ASSERT(ipcmap_get_alloc(m, "k", 1, &p, &len) == 0 && is_text(p, len, 20000, 7));
	free(p);
	CU_ASSERT(ipcmap_mget(m, &item, 1) == 1 && is_text(buf, item.value.len, 20000, 7));
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, see_item, &n) == 0 && n == 1);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, IPCMAP_SCAN_KEYS, see_item, &n) == 0);
	CU_ASSERT(n == 2);
	CU_ASSERT(ipcmap_get_touch(m, "k", 1, KIT_SEC, &v) == 0 && v.len == 20000);
	done();
}

static void value__is_raw_to_every_write(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value v = {.cap = CAP};
	unsigned char *other = malloc(30000);

	with_map(T_NAME, 16);
	v.buf = buf;
	CU_ASSERT(put_text("k", 30000, 1) == 0);
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = other;
	how.equal_len = 30000;
	make_text(other, 30000, 1);
	other[29999] ^= 1;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "new", 3, &how, &v) == IPCMAP_MISMATCH);
	CU_ASSERT(is_text(buf, v.len, 30000, 1));
	how.equal_len = 29999;
	CU_ASSERT(ipcmap_delx(m, "k", 1, &how) == IPCMAP_MISMATCH);
	how.equal_len = 30000;
	other[29999] ^= 1;
	v.cap = 29999;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "new", 3, &how, &v) == IPCMAP_SHORT && v.len == 30000);
	v.cap = CAP;
	make_text(val, 40000, 2);
	CU_ASSERT(ipcmap_putx(m, "k", 1, val, 40000, &how, &v) == 0);
	CU_ASSERT(is_text(buf, v.len, 30000, 1) && has_text("k", 40000, 2));
	/* another life, the same value, compressed as it was */
	how = (struct ipcmap_put_options)IPCMAP_PUT_INIT;
	how.ttl_ns = 3600 * KIT_SEC;
	CU_ASSERT(ipcmap_touch(m, "k", 1, &how) == 0 && has_text("k", 40000, 2));
	CU_ASSERT(ipcmap_add(m, "k", 1, 1, NULL, NULL) == IPCMAP_TYPE);
	CU_ASSERT(ipcmap_take(m, "k", 1, &v) == 0 && is_text(buf, v.len, 40000, 2));
	CU_ASSERT(kit_entries(m) == 0);
	free(other);
	done();
}

/* A map holds more than its length. */
static void value__takes_less_of_the_limit(void)
{
	unsigned n = 0, bad = 0;
	char key[16];

	with_map(T_NAME, 16); /* extents of 8 KiB */
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "%u", i % 5600);
		bad += put_text(key, 5000 + i % 1000, i) != 0;
	}
	for (unsigned i = 3600; i < 20000; i++) {
		snprintf(key, sizeof(key), "%u", i % 5600);
		n += has_text(key, 5000 + i % 1000, i);
	}
	CU_ASSERT(bad == 0 && n == 5600);
	done();
}

/* ---- bytes that are none ---- */

/* Not inline: the compiler would see the branches of the hash for longer keys. */
__attribute__((noipa)) static struct im_entry entry_of(const char *key)
{
	struct im_op op;
	struct im_slot slot;

	im_op_init(m, &op, 0);
	im_op_key(&op, key, (uint32_t)strlen(key), im_hash(m->hash_seed, key, strlen(key)));
	CU_ASSERT(im_index_find(&op, &slot) == 1);
	return slot.e;
}

/* What of a compressed value, changed to what, is an error; nothing reads out of bounds. */
static void value__broken_bytes_are_an_error(void)
{
	static const struct {
		uint32_t off, to;
	} faults[] = {{0, 0},	 {0, 1},     {0, 4999},  {0, 5001}, {0, UINT32_MAX},
		      {4, 0},	 {4, 1},     {4, 5000},
		      {4, 1u << 20}, {4, UINT32_MAX}, {8, 0xffffffffu}};
	unsigned char *p = NULL, kept[4];
	unsigned wrong = 0;
	uint64_t x = 3;
	size_t len;

	with_map(T_NAME, 16);
	CU_ASSERT(put_text("k", 5000, 1) == 0);
	{
		struct im_entry e = entry_of("k");

		CU_ASSERT((e.flags & (FMT_F_PACKED | FMT_F_LARGE)) == FMT_F_PACKED);
		p = (unsigned char *)(uintptr_t)im_entry_val(&e);
	}
	for (unsigned i = 0; i < ARRAY_LEN(faults); i++) {
		memcpy(kept, p + faults[i].off, 4);
		memcpy(p + faults[i].off, &faults[i].to, 4);
		wrong += ipcmap_get(m, "k", 1, buf, CAP, &len) != IPCMAP_CORRUPT;
		wrong += ipcmap_check(m, NULL, NULL) <= 0;
		memcpy(p + faults[i].off, kept, 4);
	}
	CU_ASSERT(wrong == 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t off = (uint32_t)kit_below(&x, 1000);
		int r;

		kept[0] = p[off];
		p[off] = (unsigned char)kit_random(&x);
		r = ipcmap_get(m, "k", 1, buf, CAP, &len);
		wrong += r != 0 && r != IPCMAP_CORRUPT;
		p[off] = kept[0];
	}
	CU_ASSERT(wrong == 0 && has_text("k", 5000, 1));
	done();
}

/* A block is no longer than what is left of its value, but longer than any block can be. */
static void value__block_longer_than_a_block_is_an_error(void)
{
	struct im_entry e;
	struct fmt_chain chain;
	uint32_t *len, kept;
	size_t got;

	with_map(T_NAME, 16);
	CU_ASSERT(put_text("k", 4u << 20, 1) == 0);
	e = entry_of("k");
	CU_ASSERT((e.flags & FMT_F_PACKED) && (e.flags & FMT_F_LARGE) && e.val_len > 700000);
	im_entry_chain(&e, &chain);
	len = (uint32_t *)(void *)(im_seg_extent(m->seg, chain.first) + 4);
	kept = *len;
	*len = 700000;
	CU_ASSERT(ipcmap_get(m, "k", 1, buf, CAP, &got) == IPCMAP_CORRUPT);
	*len = kept;
	CU_ASSERT(has_text("k", 4u << 20, 1));
	done();
}

/* ---- scratch memory ---- */

#if defined(IM_CHECK) && IM_CHECK

/* Another thread writes while this one looks at a value outside the lock. */
static bool written;

static void *write_another(void *arg)
{
	static unsigned char text[2000];

	make_text(text, sizeof(text), 2);
	CU_ASSERT(ipcmap_put(m, "k", 1, text, sizeof(text), NULL) == 0);
	return arg;
}

static void write_once(const char *point)
{
	pthread_t thread;

	if (written || strcmp(point, "read.copied") != 0)
		return;
	written = true;
	CU_ASSERT_FATAL(pthread_create(&thread, NULL, write_another, NULL) == 0);
	pthread_join(thread, NULL);
}

/* The value that was looked at is there no more: it is neither compared nor returned. */
static void value__of_another_version_is_looked_at_again(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char *first = malloc(2000);
	struct ipcmap_value old = {0};

	with_map(T_NAME, 4);
	make_text(first, 2000, 1);
	CU_ASSERT(put_text("k", 2000, 1) == 0);
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = first;
	how.equal_len = 2000;
	written = false;
	im_crash_hook = write_once;
	CU_ASSERT(ipcmap_put(m, "k", 1, "new", 3, &how) == IPCMAP_MISMATCH && written);
	im_crash_hook = NULL;
	CU_ASSERT(has_text("k", 2000, 2));

	CU_ASSERT(put_text("k", 2000, 1) == 0);
	old.buf = buf;
	old.cap = CAP;
	written = false;
	im_crash_hook = write_once;
	CU_ASSERT(ipcmap_putx(m, "k", 1, "new", 3, NULL, &old) == 0 && written);
	im_crash_hook = NULL;
	CU_ASSERT(is_text(buf, old.len, 2000, 2) && kit_is(m, "k", "new"));
	free(first);
	done();
}

static unsigned nested, nested_right;

static void read_another(const char *point)
{
	static bool inside;
	size_t len = 0;

	if (strcmp(point, "read.unpack") != 0 || inside)
		return;
	inside = true;
	nested++;
	nested_right += ipcmap_get(m, "other", 5, buf + CAP / 2, CAP / 2, &len) == 0 &&
			is_text(buf + CAP / 2, len, 90000, 2);
	inside = false;
}

/* What a signal handler does that interrupts a read. */
static void value__read_inside_a_read_has_its_own_scratch(void)
{
	with_map(T_NAME, 16);
	CU_ASSERT(put_text("k", 300000, 1) == 0 && put_text("other", 90000, 2) == 0);
	nested = nested_right = 0;
	im_crash_hook = read_another;
	{
		size_t len = 0;
		int r = ipcmap_get(m, "k", 1, buf, CAP / 2, &len);

		im_crash_hook = NULL;
		CU_ASSERT(r == 0 && is_text(buf, len, 300000, 1));
	}
	CU_ASSERT(nested == 5 && nested_right == nested);
	done();
}

#endif

static unsigned count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned n = 0;

	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static void *read_once(void *arg)
{
	struct ipcmap_value v = {.cap = 30000};

	v.buf = malloc(v.cap);
	*(int *)arg = ipcmap_getx(m, "k", 1, &v);
	free(v.buf);
	return NULL;
}

static void value__scratch_goes_with_its_thread(void)
{
	pthread_t t;
	unsigned before = 0, bad = 0;
	int r = 0;

	with_map(T_NAME, 16);
	CU_ASSERT(put_text("k", 30000, 1) == 0);
	for (unsigned i = 0; i < 210; i++) {
		if (i == 10)
			before = count_maps();
		bad += pthread_create(&t, NULL, read_once, &r) || pthread_join(t, NULL) || r;
	}
	CU_ASSERT(bad == 0 && count_maps() < before + 50);
	done();
}

static CU_TestInfo tests[] = {
	{"a compressed value comes back as it was", value__comes_back_as_it_was},
	{"a value is left alone when short or dense", value__is_left_alone_when_short_or_dense},
	{"a compressed value is raw to every read", value__is_raw_to_every_read},
	{"a compressed value is raw to every write", value__is_raw_to_every_write},
	{"compressed values take less of the limit", value__takes_less_of_the_limit},
	{"broken compressed bytes are an error", value__broken_bytes_are_an_error},
	{"a block longer than a block is an error",
	 value__block_longer_than_a_block_is_an_error},
#if defined(IM_CHECK) && IM_CHECK
	{"a value of another version is looked at again",
	 value__of_another_version_is_looked_at_again},
	{"a read inside a read has its own scratch",
	 value__read_inside_a_read_has_its_own_scratch},
#endif
	{"scratch memory goes with its thread", value__scratch_goes_with_its_thread},
	CU_TEST_INFO_NULL,
};
T_SUITE("value", tests)
