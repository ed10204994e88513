/* SPDX-License-Identifier: MIT */
/*
 * t-threads.c - threads share one mapping of a tiny map, so that its memory is always reused
 *
 * Each key has one writer. An oracle in private memory holds for each key the number of the
 * last write begun and of the last one done; what was read must lie between the two. First
 * with everything exact, then with expiry and clear, where a key may be missing but never old.
 * Under `make tsan` the same must run without a report.
 */
#include "load.h"

#include "map.h"
#include "owner.h"

#include <pthread.h>

#define WRITERS 3u
#define READERS 2u
#define KEYS_EACH 40u
#define KEYS (WRITERS * KEYS_EACH)
#define RUN_MS 1200u

static struct ipcmap *m;
static uint64_t begun[KEYS], done[KEYS];
static uint64_t reads, hits, busy, wrong, lost, writes, refused, scans, doubles;
static uint32_t stop;
static bool exact; /* else keys expire and are cleared away */

static size_t make_key(uint32_t k, char *key)
{
	return (size_t)sprintf(key, "thread-%u", k);
}

static bool is_delete(uint64_t n)
{
	return n == 0 || n % 5 == 2;
}

static uint32_t length_of(uint32_t k, uint64_t n)
{
	uint64_t x = n * 2654435761u + k * 40503u;

	x ^= x >> 15;
	return n % 37 == 6 ? 9000 : LOAD_MIN + (uint32_t)(x % 1500);
}

static bool possible(uint32_t k, int r, const unsigned char *buf, size_t len, uint64_t from,
		     uint64_t to)
{
	uint64_t n;

	if (r == IPCMAP_NOTFOUND) {
		for (n = from; exact && n <= to; n++)
			if (is_delete(n))
				return true;
		return !exact;
	}
	return r == 0 && load_is(buf, len, k, k % WRITERS, &n) && n >= from && n <= to &&
	       !is_delete(n) && len == length_of(k, n);
}

static void read_one(uint32_t k)
{
	unsigned char buf[LOAD_CAP];
	char key[32];
	size_t len = 0, n = make_key(k, key);
	uint64_t from = im_load_acq(&done[k]);
	int r = ipcmap_get(m, key, n, buf, sizeof(buf), &len);

	im_full_barrier();
	im_add_rlx(&reads, 1);
	im_add_rlx(&hits, r == 0);
	if (r == IPCMAP_BUSY)
		im_add_rlx(&busy, 1);
	else if (!possible(k, r, buf, len, from, im_load_acq(&begun[k])))
		im_add_rlx(r == IPCMAP_NOTFOUND ? &lost : &wrong, 1);
}

static void write_one(uint32_t k, uint64_t *x)
{
	unsigned char buf[LOAD_CAP];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint64_t n = im_load_rlx(&begun[k]) + 1;
	char key[32];
	size_t key_len = make_key(k, key);
	int r;

	im_store_rel(&begun[k], n);
	if (!exact && load_random(x) % 3 == 0)
		how.ttl_ns = 20000000;
	if (is_delete(n)) {
		r = ipcmap_del(m, key, key_len);
		if (!exact && r == IPCMAP_NOTFOUND)
			r = 0;
	} else {
		load_make(buf, length_of(k, n), k, k % WRITERS, n);
		r = ipcmap_put(m, key, key_len, buf, length_of(k, n), &how);
	}
	if (r) {
		/* a large value may not fit; the number counts as one that never happened */
		im_add_rlx(&refused, 1);
		return;
	}
	im_store_rel(&done[k], n);
	im_add_rlx(&writes, 1);
}

static void *run_writer(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;
	uint64_t x = 77 + me;

	while (!im_load32_acq(&stop)) {
		uint32_t k = (uint32_t)(load_random(&x) % KEYS_EACH) * WRITERS + me;

		write_one(k, &x);
		if (!exact && me == 0 && load_random(&x) % 2000 == 0)
			ipcmap_clear(m);
	}
	return NULL;
}

static void *run_reader(void *arg)
{
	uint64_t x = 4711 + (uint64_t)(uintptr_t)arg;

	while (!im_load32_acq(&stop))
		read_one((uint32_t)(load_random(&x) % KEYS));
	return NULL;
}

struct shown {
	uint8_t times[KEYS];
};

static int show(void *arg, const struct ipcmap_item *it)
{
	struct shown *s = arg;
	char text[32] = "";
	uint64_t n;
	uint32_t k;

	memcpy(text, it->key, it->key_len < sizeof(text) ? it->key_len : 0);
	k = (uint32_t)strtoul(text + 7, NULL, 10);
	if (it->key_len >= sizeof(text) || k >= KEYS ||
	    !load_is(it->val, it->val_len, k, k % WRITERS, &n) || n > im_load_acq(&begun[k]))
		im_add_rlx(&wrong, 1);
	else if (s->times[k]++ == 1)
		im_add_rlx(&doubles, 1);
	return 0;
}

static void *run_scanner(void *arg)
{
	struct shown s;

	(void)arg;
	while (!im_load32_acq(&stop)) {
		uint64_t cursor = 0;
		int r;

		memset(&s, 0, sizeof(s));
		r = ipcmap_scan(m, &cursor, NULL, 0, 0, show, &s);
		if (r && r != IPCMAP_BUSY)
			im_add_rlx(&wrong, 1);
		im_add_rlx(&scans, 1);
	}
	return NULL;
}

static void compare(void)
{
	unsigned char buf[LOAD_CAP];
	uint64_t there = 0, n;
	char key[32];
	size_t len;

	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	for (uint32_t k = 0; k < KEYS; k++) {
		int r = ipcmap_get(m, key, make_key(k, key), buf, sizeof(buf), &len);

		CU_ASSERT(possible(k, r, buf, len, done[k], done[k]));
		there += r == 0;
	}
	CU_ASSERT(ipcmap_entries(m, &n) == 0 && (n == there || !exact));
}

static void run(const char *name, unsigned shards, bool compressed)
{
	pthread_t t[WRITERS + READERS + 1];
	unsigned n = 0;

	memset(begun, 0, sizeof(begun));
	memset(done, 0, sizeof(done));
	reads = hits = busy = wrong = lost = writes = refused = scans = doubles = 0;
	stop = 0;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, shards, &m) ==
			0);
	if (compressed)
		load_compress(m, 100);
	for (uint32_t i = 0; i < WRITERS; i++)
		pthread_create(&t[n++], NULL, run_writer, (void *)(uintptr_t)i);
	for (uint32_t i = 0; i < READERS; i++)
		pthread_create(&t[n++], NULL, run_reader, (void *)(uintptr_t)i);
	pthread_create(&t[n++], NULL, run_scanner, NULL);
	t_sleep_ms(RUN_MS);
	im_store32_rel(&stop, 1);
	while (n)
		pthread_join(t[--n], NULL);
	printf("\n    %llu reads (%llu hits, %llu busy), %llu writes (%llu refused), %llu "
	       "scans, "
	       "%llu wrong, %llu lost, %llu doubles ",
	       (unsigned long long)reads, (unsigned long long)hits, (unsigned long long)busy,
	       (unsigned long long)writes, (unsigned long long)refused,
	       (unsigned long long)scans, (unsigned long long)wrong, (unsigned long long)lost,
	       (unsigned long long)doubles);
	CU_ASSERT(wrong == 0 && lost == 0 && doubles == 0);
	CU_ASSERT(busy * 1000 <= reads);
	CU_ASSERT(writes > 100 && hits > 100 && scans > 0);
	compare();
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static void threads__see_what_was_written(void)
{
	exact = true;
	run(T_NAME, 1, false);
	run(T_NAME, 4, false);
}

static void threads__see_compressed_values_whole(void)
{
	exact = true;
	run(T_NAME, 1, true);
}

static void threads__see_nothing_old_after_expiry_and_clear(void)
{
	exact = false;
	run(T_NAME, 1, false);
}

/* ---- lines ---- */

static void *read_and_end(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10; i++)
		ipcmap_exists(m, "x", 1);
	return NULL;
}

/* A thread that ends gives its counter line back; what it counted stays. */
static void threads__give_lines_back(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	const char *name = T_NAME;
	pthread_t t;

	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 1u << 20, 1, &m) == 0);
	for (unsigned i = 0; i < 600; i++) {
		CU_ASSERT_FATAL(pthread_create(&t, NULL, read_and_end, NULL) == 0);
		pthread_join(t, NULL);
	}
	CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.gets == 6000 && st.hits == 0);
	{
		/* 256 lines; had they been kept, the rest would have counted in the shared one
		 */
		uint64_t lines = 0;

		for (uint32_t i = 0; i < m->seg->n_lines; i++)
			lines += m->seg->lines[i].misses;
		CU_ASSERT(lines == 6000 && m->seg->h->shared.misses == 0);
	}
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static CU_TestInfo tests[] = {
	{"threads see what was written", threads__see_what_was_written},
	{"threads see compressed values whole", threads__see_compressed_values_whole},
	{"threads see nothing old after expiry and clear",
	 threads__see_nothing_old_after_expiry_and_clear},
	{"threads that end give their lines back", threads__give_lines_back},
	CU_TEST_INFO_NULL,
};

T_SUITE("threads", tests)
