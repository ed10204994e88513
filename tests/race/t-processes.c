/* SPDX-License-Identifier: MIT */
/*
 * t-processes.c - forked and exec'ed processes at one map; creators that meet
 *
 * A program that was exec'ed shares nothing with the others but the name: this one runs itself
 * again with HELPER in the environment, which makes it a worker instead of a test program.
 */
#include "load.h"

#include "map.h"

#include <signal.h>

#define HELPER "IPCMAP_TEST_WORKER"
#define WORKERS 4u
#define KEYS_EACH 30u
#define WORK_MS 900u
#define CREATORS 6u

struct worker {
	const char *name;
	uint32_t me;
};

static size_t make_key(uint32_t writer, uint32_t i, char *key)
{
	return (size_t)sprintf(key, "process-%u-%u", writer, i);
}

/* Own keys are exactly what was written last; others' are whole and never go back. */
static int work(void *arg)
{
	const struct worker *w = arg;
	static unsigned char val[LOAD_CAP], buf[LOAD_CAP];
	uint64_t x = 1234567u + w->me, seq[KEYS_EACH] = {0};
	uint64_t seen[WORKERS][KEYS_EACH] = {{0}}, end, n = 0;
	struct ipcmap *m;
	char key[40];

	T_MUST(load_open(w->name, 0, 0, 0, &m) == 0);
	for (end = t_now_ms() + WORK_MS; t_now_ms() < end;) {
		uint32_t i = (uint32_t)(load_random(&x) % KEYS_EACH), other;
		uint32_t bytes = LOAD_MIN + (uint32_t)(load_random(&x) % 1500);
		size_t key_len = make_key(w->me, i, key), len = 0;
		int r;

		if (load_random(&x) % 50 == 0)
			bytes = 9000;
		load_make(val, bytes, i, w->me, ++seq[i]);
		T_MUST(ipcmap_put(m, key, key_len, val, bytes, NULL) == 0);
		T_MUST(ipcmap_get(m, key, key_len, buf, sizeof(buf), &len) == 0);
		T_MUST(load_is(buf, len, i, w->me, &n) && n == seq[i]);
		if (load_random(&x) % 9 == 0) {
			T_MUST(ipcmap_del(m, key, key_len) == 0);
			T_MUST(ipcmap_exists(m, key, key_len) == 0);
		}
		for (unsigned k = 0; k < 5; k++) {
			other = (uint32_t)(load_random(&x) % WORKERS);
			i = (uint32_t)(load_random(&x) % KEYS_EACH);
			key_len = make_key(other, i, key);
			r = ipcmap_get(m, key, key_len, buf, sizeof(buf), &len);
			T_MUST(r == 0 || r == IPCMAP_NOTFOUND);
			if (r)
				continue;
			T_MUST(load_is(buf, len, i, other, &n) && n >= seen[other][i]);
			seen[other][i] = n;
		}
	}
	ipcmap_close(m);
	return 0;
}

__attribute__((constructor(60000))) static void be_a_worker(void)
{
	const char *what = getenv(HELPER);
	char name[64];
	struct worker w = {.name = name};

	if (!what)
		return;
	alarm(60);
	if (sscanf(what, "%u %63s", &w.me, name) != 2)
		_exit(2);
	_exit(work(&w));
}

static pid_t start_exec(const char *name, uint32_t me)
{
	pid_t pid = t_fork();
	char what[100], program[1000];

	if (pid == 0) {
		/* the link, not what it stands for: under valgrind that is valgrind */
		ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

		T_MUST(n > 0);
		program[n] = '\0';
		snprintf(what, sizeof(what), "%u %s", me, name);
		setenv(HELPER, what, 1);
		execl(program, "test-ipcmap", (char *)NULL);
		_exit(2);
	}
	return pid;
}

static void processes__forked_and_execed_agree(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	const char *name = T_NAME;
	struct worker w[WORKERS];
	pid_t pid[WORKERS];
	struct ipcmap *m;

	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 2u << 20, 2, &m) == 0);
	for (uint32_t i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){name, i};
		pid[i] = i % 2 ? start_exec(name, i) : t_run(work, &w[i]);
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		CU_ASSERT(t_ok(pid[i]));
	CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.attached == 1);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	printf("(%llu puts, %llu gets, %llu waits) ", (unsigned long long)st.puts,
	       (unsigned long long)st.gets, (unsigned long long)st.waits);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

/* ---- creators ---- */

struct start {
	uint32_t go;
	uint32_t made; /* opens with EXCL that succeeded */
	uint64_t creation[CREATORS];
	const char *name;
	uint32_t me;
	bool excl;
};

static struct start *start;

static void wait_for_start(void)
{
	while (!im_load32_acq(&start->go))
		im_pause();
}

static int create_one(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	char key[20];
	struct ipcmap *m;
	int r;

	wait_for_start();
	r = load_open(start->name, IPCMAP_CREATE | (start->excl ? IPCMAP_EXCL : 0), 1u << 20, 1,
		      &m);
	if (start->excl && r == IPCMAP_EXISTS)
		return 0;
	T_MUST(r == 0);
	im_add32_rlx(&start->made, 1);
	start->creation[me] = m->seg->h->creation;
	T_MUST(ipcmap_put(m, key, (size_t)sprintf(key, "%u", me), key, 4, NULL) == 0);
	ipcmap_close(m);
	return 0;
}

/* Sees nothing, a segment in the making, or a whole one; never anything else. */
static int attach_early(void *arg)
{
	uint64_t end = t_now_ms() + 5000;
	struct ipcmap *m;
	int r;

	(void)arg;
	wait_for_start();
	do {
		r = ipcmap_open(start->name, NULL, &m);
		T_MUST(r == 0 || r == IPCMAP_NOTFOUND || r == IPCMAP_CREATING);
	} while (r && t_now_ms() < end);
	T_MUST(r == 0);
	T_MUST(ipcmap_put(m, "early", 5, "x", 1, NULL) == 0);
	ipcmap_close(m);
	return 0;
}

static void meet(const char *name, bool excl)
{
	pid_t pid[CREATORS + 2];
	uint64_t n;
	struct ipcmap *m;

	start = t_shared(sizeof(*start));
	start->name = name;
	start->excl = excl;
	for (uint32_t i = 0; i < CREATORS; i++)
		pid[i] = t_run(create_one, &i);
	pid[CREATORS] = t_run(attach_early, NULL);
	pid[CREATORS + 1] = t_run(attach_early, NULL);
	t_sleep_ms(5);
	im_store32_rel(&start->go, 1);
	for (uint32_t i = 0; i < CREATORS + 2; i++)
		CU_ASSERT(t_ok(pid[i]));
	CU_ASSERT(start->made == (excl ? 1 : CREATORS));
	for (uint32_t i = 1; !excl && i < CREATORS; i++)
		CU_ASSERT(start->creation[i] == start->creation[0]);
	CU_ASSERT_FATAL(load_open(name, 0, 0, 0, &m) == 0);
	CU_ASSERT(ipcmap_entries(m, &n) == 0 && n == (excl ? 2 : CREATORS + 1));
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_shared_free(start, sizeof(*start));
}

static void creators__make_one_segment(void)
{
	const char *name = T_NAME;

	for (int i = 0; i < 12; i++)
		meet(name, i % 2);
}

static CU_TestInfo tests[] = {
	{"forked and exec'ed processes agree", processes__forked_and_execed_agree},
	{"creators and attaches that meet make one segment", creators__make_one_segment},
	CU_TEST_INFO_NULL,
};

T_SUITE("processes", tests)
