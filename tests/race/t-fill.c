/* SPDX-License-Identifier: MIT */
/*
 * t-fill.c - many miss one key: one loads; leaders die; nothing old is returned after a change
 */
#include "load.h"

#include "map.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define CROWD T_AMOUNT(64u, 64u, 8u)
#define DYING 5u
#define READERS 4u
#define READ_MS T_AMOUNT(1500u, 1500u, 4000u)
#define MS UINT64_C(1000000)

static struct shared {
	uint32_t begun; /* callers that are about to ask */
	uint32_t loads;
	uint32_t to_die; /* so many of the next loaders die */
	uint32_t wrong;
	uint32_t stop;
	uint64_t source;    /* what a loader reads */
	uint64_t confirmed; /* nobody may get anything older from now on */
	uint64_t reads;
} *sh;
static struct ipcmap *m;

static void prepare(const char *name, unsigned shards)
{
	sh = t_shared(sizeof(*sh));
	T_MUST(load_open(name, IPCMAP_CREATE, 2u << 20, shards, &m) == 0);
}

static void done(const char *name)
{
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_shared_free(sh, sizeof(*sh));
}

/* ---- a crowd ---- */

/* Takes until everybody is there, and some of them wait. */
static int load_slowly(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	im_add32_rlx(&sh->loads, 1);
	while (im_load32_acq(&sh->begun) < CROWD)
		t_sleep_ms(1);
	t_sleep_ms(5);
	if (im_load32_acq(&sh->to_die)) {
		im_add32_rlx(&sh->to_die, UINT32_MAX);
		raise(SIGKILL);
	}
	ret->val = "loaded";
	ret->len = 6;
	return 0;
}

static int miss(void *arg)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	char buf[20];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	(void)arg;
	how.deadline_ns = IPCMAP_FOREVER;
	how.lease_ns = 3600 * UINT64_C(1000000000);
	im_add32_rlx(&sh->begun, 1);
	T_MUST(ipcmap_fill(m, "k", 1, &how, load_slowly, NULL, &v) == 0);
	T_MUST(v.len == 6 && memcmp(buf, "loaded", 6) == 0);
	return 0;
}

static void crowd(uint32_t dying)
{
	pid_t pid[64];
	uint32_t died = 0;

	sh->to_die = dying;
	for (uint32_t i = 0; i < CROWD; i++)
		pid[i] = t_run(miss, NULL);
	for (uint32_t i = 0; i < CROWD; i++) {
		int status = t_wait(pid[i], T_LIMIT_MS);

		died += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		CU_ASSERT(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	}
	CU_ASSERT(died == dying);
	CU_ASSERT(sh->loads == dying + 1);
}

static void fill__crowd_loads_once(void)
{
	const char *name = T_NAME;

	prepare(name, 1);
	crowd(0);
	done(name);
}

/* The leases are for an hour: their leaders must be known to be dead. */
static void fill__dead_leaders_are_succeeded(void)
{
	const char *name = T_NAME;

	prepare(name, 1);
	crowd(DYING);
	done(name);
}

/* ---- readers, and one who changes the source ---- */

struct reader {
	uint64_t x;
	bool dies;
};

static int load_source(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	static __thread uint64_t value;
	struct reader *me = arg;

	(void)key;
	(void)key_len;
	im_add32_rlx(&sh->loads, 1);
	value = im_load_acq(&sh->source);
	if (load_random(&me->x) % 4 == 0)
		t_sleep_ms((unsigned)(load_random(&me->x) % 3));
	else
		sched_yield();
	if (me->dies && load_random(&me->x) % 40 == 0)
		raise(SIGKILL);
	if (load_random(&me->x) % 50 == 0)
		return -EIO;
	ret->val = &value;
	ret->len = sizeof(value);
	return 0;
}

static int read_on(struct reader *me)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	uint64_t got, least;
	struct ipcmap_value v = {.buf = &got, .cap = sizeof(got)};

	how.ttl_ns = 30 * MS;
	how.stale_ns = 1000 * MS;
	how.load_ns = 5 * MS;
	how.backoff_ns = MS;
	how.backoff_max_ns = 2 * MS;
	how.deadline_ns = 20000 * MS;
	while (!im_load32_acq(&sh->stop)) {
		int r;

		least = im_load_acq(&sh->confirmed);
		r = ipcmap_fill(m, "k", 1, &how, load_source, me, &v);
		if (r == -EIO || r == IPCMAP_MISMATCH)
			continue;
		if (r || v.len != sizeof(got) || got < least) {
			fprintf(stderr, "\nresult %d, got %llu, confirmed was %llu", r,
				(unsigned long long)got, (unsigned long long)least);
			im_add32_rlx(&sh->wrong, 1);
			return 1;
		}
		im_add_rlx(&sh->reads, 1);
		if (load_random(&me->x) % 8 == 0)
			sched_yield();
	}
	return 0;
}

static int reading_process(void *arg)
{
	struct reader me = {.x = *(uint64_t *)arg, .dies = true};

	return read_on(&me);
}

static void *reading_thread(void *arg)
{
	struct reader me = {.x = (uint64_t)(uintptr_t)arg};

	read_on(&me);
	return NULL;
}

/* Change the source, then tell the map; only then it is confirmed. */
static void change(uint64_t *x)
{
	uint64_t now = im_load_rlx(&sh->source) + 1;
	int r;

	im_store_rel(&sh->source, now);
	switch (load_random(x) % 5) {
	case 0:
		r = ipcmap_clear(m);
		break;
	case 1:
		r = ipcmap_del_prefix(m, "k", 1, NULL);
		break;
	case 2:
		r = ipcmap_put(m, "k", 1, &now, sizeof(now), NULL);
		break;
	default:
		r = ipcmap_del(m, "k", 1);
		r = r == IPCMAP_NOTFOUND ? 0 : r;
	}
	CU_ASSERT(r == 0);
	im_store_rel(&sh->confirmed, now);
}

static void fill__no_process_gets_what_was_deleted(void)
{
	const char *name = T_NAME;
	uint64_t x = t_now_ms() * 77 + 1, seed[READERS], end;
	pid_t pid[READERS];
	uint32_t died = 0;

	prepare(name, 2);
	for (uint32_t i = 0; i < READERS; i++) {
		seed[i] = load_random(&x);
		pid[i] = t_run(reading_process, &seed[i]);
	}
	for (end = t_now_ms() + READ_MS; t_now_ms() < end && !sh->wrong;) {
		uint32_t i = (uint32_t)(load_random(&x) % READERS);

		change(&x);
		if (load_random(&x) % 3 == 0)
			t_sleep_ms((unsigned)(load_random(&x) % 4));
		if (waitpid(pid[i], NULL, WNOHANG) == pid[i]) {
			died++;
			seed[i] = load_random(&x);
			pid[i] = t_run(reading_process, &seed[i]);
		}
	}
	im_store32_rel(&sh->stop, 1);
	for (uint32_t i = 0; i < READERS; i++) {
		int status = t_wait(pid[i], T_LIMIT_MS);

		CU_ASSERT(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	}
	CU_ASSERT(sh->wrong == 0 && sh->reads > 0 && sh->loads > 0);
	printf("(%llu changes, %llu reads, %u loads, %u died) ",
	       (unsigned long long)sh->source, (unsigned long long)sh->reads, sh->loads, died);
	done(name);
}

static void fill__no_thread_gets_what_was_deleted(void)
{
	const char *name = T_NAME;
	uint64_t x = t_now_ms() * 77 + 1, end;
	pthread_t thread[READERS];

	prepare(name, 2);
	for (uintptr_t i = 0; i < READERS; i++)
		CU_ASSERT_FATAL(pthread_create(&thread[i], NULL, reading_thread,
					       (void *)(i * 31 + 1)) == 0);
	for (end = t_now_ms() + READ_MS; t_now_ms() < end && !im_load32_acq(&sh->wrong);) {
		change(&x);
		if (load_random(&x) % 3 == 0)
			t_sleep_ms((unsigned)(load_random(&x) % 4));
	}
	im_store32_rel(&sh->stop, 1);
	for (uint32_t i = 0; i < READERS; i++)
		pthread_join(thread[i], NULL);
	CU_ASSERT(sh->wrong == 0 && sh->reads > 0 && sh->loads > 0);
	printf("(%llu changes, %llu reads, %u loads) ", (unsigned long long)sh->source,
	       (unsigned long long)sh->reads, sh->loads);
	done(name);
}

static CU_TestInfo tests[] = {
	{"a crowd loads once", fill__crowd_loads_once},
	{"dead leaders are succeeded, one after the other", fill__dead_leaders_are_succeeded},
	{"no process gets what was deleted", fill__no_process_gets_what_was_deleted},
	{"no thread gets what was deleted", fill__no_thread_gets_what_was_deleted},
	CU_TEST_INFO_NULL,
};
T_SUITE("race: fill", tests)
