/* SPDX-License-Identifier: MIT */
/*
 * t-pin.c - values are read in place while others replace them, clean, compact, and are killed
 *
 * Each reader holds a few values at a time, looks at every byte when it gets one and again, some
 * time later, before it lets go. Values prove themselves (load.h), so one that was moved, reused,
 * or is another's is noticed. Readers and writers are killed all the while. In the end nothing is
 * held, nothing is parked, and the map is sound.
 *
 * The same among threads, where ThreadSanitizer sees the plain loads of readers beside the stores
 * of whoever uses the memory next.
 */
#include "../unit/kit.h"

#include "load.h"

#include <pthread.h>
#include <signal.h>

#define KEYS 48u
#define HELD 16u
#define WRITERS 3u
#define READERS 3u
#define MS T_AMOUNT(1500u, 1500u, 1500u)
#define LIMIT_MS 60000u /* at most, until all has happened often enough */
#define ENOUGH T_AMOUNT(3000u, 300u, 30u)
#define KILLS T_AMOUNT(60u, 20u, 5u)
#define BODY_MAX 30000u

struct world {
	uint64_t pins, again, absent, busy, wrong, writes, refused, errors, copies;
	int32_t last_error;
	uint32_t stop;
};

static struct world *w;
static struct ipcmap *m;
static const char *name;

static void fail(int r)
{
	im_add_rlx(&w->errors, 1);
	w->last_error = r;
}

static uint32_t len_of(uint64_t seq)
{
	static const uint32_t lens[] = {40, 200, 900, 1800, 2100, 6000, 20000, BODY_MAX};

	return lens[seq % ARRAY_LEN(lens)];
}

/* ---- those who write ---- */

static void write_once(struct ipcmap *map, unsigned char *val, uint64_t *x)
{
	uint32_t k = (uint32_t)(load_random(x) % KEYS), what = (uint32_t)(load_random(x) % 1000);
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct kit_key key = kit_key(k);
	uint64_t seq = load_random(x);
	int r;

	if (what < 150) {
		r = ipcmap_del(map, key.text, key.len);
	} else if (what == 999) {
		r = ipcmap_clear(map);
	} else if (what == 998) {
		how.flags = IPCMAP_COMPACT_EXPIRED;
		r = ipcmap_compact(map, &how, NULL);
	} else {
		load_make(val, len_of(seq), k, 0, seq);
		r = ipcmap_put(map, key.text, key.len, val, len_of(seq), NULL);
	}
	if (r == 0)
		im_add_rlx(&w->writes, 1);
	else if (r == IPCMAP_LIMIT || r == IPCMAP_BUSY)
		im_add_rlx(&w->refused, 1);
	else if (r != IPCMAP_NOTFOUND)
		fail(r);
}

static void write_on(struct ipcmap *map, uint64_t x)
{
	unsigned char *val = malloc(BODY_MAX);

	while (!im_load32_acq(&w->stop))
		write_once(map, val, &x);
	free(val);
}

/* ---- those who read ---- */

struct held {
	struct ipcmap_pin pin;
	uint32_t key;
	bool is;
};

static bool is_right(const struct held *h)
{
	uint64_t seq = 0;

	return load_is(h->pin.val, h->pin.len, h->key, 0, &seq) && h->pin.len == len_of(seq);
}

static void let_go(struct ipcmap *map, struct held *h)
{
	if (!h->is)
		return;
	im_add_rlx(is_right(h) ? &w->again : &w->wrong, 1);
	ipcmap_unpin(map, &h->pin);
	h->is = false;
}

static void take(struct ipcmap *map, struct held *h, uint32_t k)
{
	struct kit_key key = kit_key(k);
	int r = ipcmap_pin(map, key.text, key.len, &h->pin);

	if (r == 0) {
		h->key = k;
		h->is = true;
		im_add_rlx(&w->pins, 1);
		im_add_rlx(&w->copies, h->pin.copied);
		if (!is_right(h))
			im_add_rlx(&w->wrong, 1);
	} else if (r == IPCMAP_NOTFOUND) {
		im_add_rlx(&w->absent, 1);
	} else if (r == IPCMAP_BUSY) {
		im_add_rlx(&w->busy, 1);
	} else {
		fail(r);
	}
}

static void read_on(struct ipcmap *map, uint64_t x)
{
	struct held held[HELD] = {0};

	while (!im_load32_acq(&w->stop)) {
		struct held *h = &held[load_random(&x) % HELD];

		let_go(map, h);
		take(map, h, (uint32_t)(load_random(&x) % KEYS));
		if (load_random(&x) % 64 == 0)
			sched_yield();
	}
	for (unsigned i = 0; i < HELD; i++)
		let_go(map, &held[i]);
}

/* ---- the end ---- */

static bool enough(void)
{
	return im_load_rlx(&w->again) >= ENOUGH && im_load_rlx(&w->writes) >= ENOUGH;
}

static void judge(void)
{
	struct im_op op;

	for (uint32_t i = 0; i < m->n_shards; i++) {
		im_op_init(m, &op, 0);
		im_op_shard(&op, i);
		CU_ASSERT_FATAL(im_op_enter(&op) == 0);
		im_room_unpark(&op, true);
		im_op_leave(&op);
		im_op_done(&op);
	}
	CU_ASSERT(kit_stat(m).pins == 0 && kit_stat(m).parked_len == 0);
	if (w->errors)
		fprintf(stderr, "\n  %llu errors, the last %d", (unsigned long long)w->errors,
			w->last_error);
	CU_ASSERT(w->wrong == 0 && w->errors == 0 && w->copies == 0 && enough());
	printf("\n    %llu pins, %llu refused; %llu writes, %llu refused ",
	       (unsigned long long)w->pins, (unsigned long long)w->busy,
	       (unsigned long long)w->writes, (unsigned long long)w->refused);
	kit_gone(m);
}

static void begin(const char *map)
{
	if (!w)
		w = t_shared(sizeof(*w));
	memset(w, 0, sizeof(*w));
	name = map;
	m = kit_made(name, 3 * KIT_MIB, 0, 4);
}

/* ---- processes ---- */

static int work(void *arg)
{
	uint64_t x = *(uint64_t *)arg;
	struct ipcmap *map;

	T_MUST(ipcmap_open(name, NULL, &map) == 0);
	if (x % 8 < WRITERS)
		write_on(map, x);
	else
		read_on(map, x);
	ipcmap_close(map);
	return 0;
}

static void pin__processes_are_killed_while_they_hold(void)
{
	pid_t pid[WRITERS + READERS];
	uint64_t seed = kit_seed(), x, start = t_now_ms();
	uint32_t kills = 0;

	begin(T_NAME);
	for (unsigned i = 0; i < ARRAY_LEN(pid); i++) {
		x = (load_random(&seed) & ~UINT64_C(7)) | i;
		pid[i] = t_run(work, &x);
	}
	while (t_now_ms() - start < MS || !enough() || kills < KILLS) {
		unsigned i = (unsigned)(load_random(&seed) % ARRAY_LEN(pid));

		if (t_now_ms() - start > LIMIT_MS)
			break;
		t_sleep_ms((unsigned)(load_random(&seed) % 20));
		t_kill(pid[i]);
		kills++;
		x = (load_random(&seed) & ~UINT64_C(7)) | i;
		pid[i] = t_run(work, &x);
	}
	im_store32_rel(&w->stop, 1);
	for (unsigned i = 0; i < ARRAY_LEN(pid); i++)
		CU_ASSERT(t_ok(pid[i]));
	CU_ASSERT(kills >= KILLS);
	judge();
}

/* ---- threads ---- */

static void *write_thread(void *arg)
{
	write_on(m, *(uint64_t *)arg);
	return NULL;
}

static void *read_thread(void *arg)
{
	read_on(m, *(uint64_t *)arg);
	return NULL;
}

static void pin__threads_hold_and_replace(void)
{
	uint64_t seeds[4] = {1, 2, 3, 4}, start = t_now_ms();
	pthread_t t[4];

	begin(T_NAME);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		CU_ASSERT_FATAL(pthread_create(&t[i], NULL, i % 2 ? read_thread : write_thread,
					       &seeds[i]) == 0);
	while (t_now_ms() - start < MS || (!enough() && t_now_ms() - start < LIMIT_MS))
		t_sleep_ms(20);
	im_store32_rel(&w->stop, 1);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	judge();
}

static CU_TestInfo tests[] = {
	{"processes are killed while they hold values", pin__processes_are_killed_while_they_hold},
	{"threads hold values and replace them", pin__threads_hold_and_replace},
	CU_TEST_INFO_NULL,
};

T_SUITE("pins under load", tests)
