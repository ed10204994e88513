/* SPDX-License-Identifier: MIT */
/*
 * t-stop.c - a process that is stopped, or a thread that is interrupted, in the middle
 *
 * A holder of a lock that is stopped (not dead) keeps it: writers of that shard get BUSY at
 * their deadline, nothing is stolen, and readers do not notice. Where there are crash points
 * the holder stops itself at one of them; else it is single-stepped until it holds the lock. A
 * reader is single-stepped too, and left between two instructions while its memory is reused.
 */
#include "load.h"

#include "crash.h"
#include "map.h"
#include "owner.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>

#define SOON_MS 1900u /* before the deadline that puts have if none is told */

static const char *name;
static struct ipcmap *m;

static int store(const char *key, uint32_t len, uint64_t seq, uint64_t deadline)
{
	static __thread unsigned char val[LOAD_CAP];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.deadline_ns = deadline;
	load_make(val, len, 1, 1, seq);
	return ipcmap_put(m, key, strlen(key), val, len, &how);
}

static int fetch(const char *key, uint64_t *ret_seq)
{
	static __thread unsigned char buf[LOAD_CAP];
	size_t len;
	int r = ipcmap_get(m, key, strlen(key), buf, sizeof(buf), &len);

	if (r == 0 && !load_is(buf, len, 1, 1, ret_seq))
		return IPCMAP_CORRUPT;
	return r;
}

/* A key that lies in @shard. */
static const char *key_in(uint32_t shard)
{
	static char key[8][24];
	unsigned i = 0;
	size_t n;

	do
		n = (size_t)sprintf(key[shard], "stop-%u-%u", shard, i++);
	while (im_map_shard(m, im_hash(m->hash_seed, key[shard], n)) != shard);
	return key[shard];
}

/* ---- a stopped holder ---- */

#if HAVE_POINTS
static const char *stop_point;

static void stop_there(const char *point)
{
	if (strcmp(point, stop_point) == 0) {
		im_crash_hook = NULL;
		raise(SIGSTOP);
	}
}
#endif

struct how {
	const char *key;
	const char *point;
};

static int hold(void *arg)
{
	const struct how *h = arg;

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	T_MUST(fetch(h->key, &(uint64_t){0}) == 0);
#if HAVE_POINTS
	stop_point = h->point;
	im_crash_hook = stop_there;
#else
	T_MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	raise(SIGSTOP);
#endif
	T_MUST(store(h->key, 400, 2, 0) == 0);
	return 0;
}

/* Let it run into the lock of @shard and stand there. 0 when it could not be. */
static pid_t stopped_holder(const char *key, const char *point)
{
	struct how h = {key, point};
	pid_t pid = t_run(hold, &h);
	int status;

	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		return 0;
#if !HAVE_POINTS
	{
		uint32_t *word =
			&m->shards[im_map_shard(m, im_hash(m->hash_seed, key, strlen(key)))]
				 .lock;

		while (!im_load32_rlx(word))
			if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
			    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
				return 0;
		for (unsigned i = 0; i < 40; i++)
			if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
			    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
				return 0;
		/* from a trace stop to a real one */
		kill(pid, SIGSTOP);
		ptrace(PTRACE_DETACH, pid, NULL, (void *)(uintptr_t)SIGSTOP);
		waitpid(pid, &status, WUNTRACED);
	}
#endif
	return pid;
}

static uint64_t gets_per_ms(const char *key)
{
	uint64_t n = 0, bad = 0, seq = 0, end = t_now_ms() + 30;

	while (t_now_ms() < end)
		for (unsigned i = 0; i < 100; i++, n++)
			bad += fetch(key, &seq) != 0 || seq > 2;
	CU_ASSERT(bad == 0);
	return n / 30;
}

static void stop_at(const char *point)
{
	uint64_t before, free_rate, t0, seq = 0, takeovers;
	const char *key, *other;
	pid_t pid;

	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 2, &m) == 0);
	key = key_in(0);
	other = key_in(1);
	CU_ASSERT(store(key, 300, 1, 0) == 0 && store(other, 300, 1, 0) == 0);
	free_rate = gets_per_ms(key);
	before = m->shards[0].takeovers;
	pid = stopped_holder(key, point);
	if (!pid) {
		t_skip("no ptrace");
		ipcmap_close(m);
		ipcmap_unlink(name);
		return;
	}
	CU_ASSERT(im_load32_rlx(&m->shards[0].lock) != 0);
	/* readers go on as before; a third of the rate is noise of a busy machine */
	CU_ASSERT(gets_per_ms(key) * 3 > free_rate || T_SLOW);
	/* writers of that shard: BUSY, at the deadline */
	t0 = t_now_ms();
	CU_ASSERT(store(key, 200, 9, 60000000) == IPCMAP_BUSY);
	CU_ASSERT(t_now_ms() - t0 >= 59 && t_now_ms() - t0 < SOON_MS);
	t0 = t_now_ms();
	CU_ASSERT(store(key, 200, 9, IPCMAP_NOWAIT) == IPCMAP_BUSY);
	CU_ASSERT(t_now_ms() - t0 < SOON_MS);
	CU_ASSERT(store(key, 9000, 9, IPCMAP_NOWAIT) == IPCMAP_BUSY);
	/* others work */
	CU_ASSERT(store(other, 200, 2, IPCMAP_NOWAIT) == 0);
	CU_ASSERT(fetch(other, &seq) == 0 && seq == 2);
	takeovers = m->shards[0].takeovers;
	CU_ASSERT(takeovers == before);
	kill(pid, SIGCONT);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(fetch(key, &seq) == 0 && seq == 2);
	CU_ASSERT(store(key, 200, 3, 0) == 0 && fetch(key, &seq) == 0 && seq == 3);
	CU_ASSERT(m->shards[0].takeovers == before);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static void stopped__holder_keeps_its_lock(void)
{
	name = T_NAME;
	stop_at("log.bytes");
	if (!HAVE_POINTS)
		return;
	stop_at("redo.armed");
	stop_at("redo.store");
	stop_at("redo.disarmed");
	stop_at("op.leave");
}

/* ---- a stopped reader ---- */

#define STEPS 2500

static int read_traced(void *arg)
{
	struct ipcmap_value v;
	unsigned char buf[LOAD_CAP];
	uint64_t seq;
	int r;

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	T_MUST(fetch("elsewhere", &seq) == 0);
	T_MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	raise(SIGSTOP);
	v = (struct ipcmap_value){.buf = buf, .cap = sizeof(buf)};
	r = ipcmap_getx(m, arg, strlen(arg), &v);
	/* BUSY would be permitted, but memory was reused but once */
	return r == 0 && load_is(buf, v.len, 1, 1, &seq) && seq >= 1 && seq <= 2 ? 0 : 1;
}

static void reuse_everything(void)
{
	uint64_t *seq = &m->shards[0].reclaim_seq, until = *seq + 600;
	char key[24];

	for (unsigned i = 0; *seq < until && i < 30000; i++) {
		sprintf(key, "filler-%u", i % 9);
		T_MUST(store(key, 1500, 77, 0) == 0);
	}
	T_MUST(*seq >= until);
}

/* Stop it after @steps instructions; false: it has ended by then. */
static bool stop_reader(uint32_t len, unsigned steps)
{
	pid_t pid;
	int status;

	CU_ASSERT(store("key", len, 1, 0) == 0);
	pid = t_run(read_traced, (void *)(uintptr_t) "key");
	waitpid(pid, &status, 0);
	for (unsigned i = 0; i < steps && WIFSTOPPED(status); i++)
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
		    waitpid(pid, &status, 0) != pid)
			break;
	if (!WIFSTOPPED(status)) {
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return false;
	}
	CU_ASSERT(store("key", len, 2, 0) == 0);
	reuse_everything();
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	CU_ASSERT(t_ok(pid));
	return true;
}

static void stopped__reader_is_right_when_it_goes_on(void)
{
	unsigned tried = 0;

	name = T_NAME;
	if (T_SLOW) {
		t_skip("single steps are too slow here");
		return;
	}
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 1, &m) == 0);
	CU_ASSERT(store("elsewhere", 100, 1, 0) == 0);
	for (unsigned steps = 1; steps < STEPS && stop_reader(300, steps); steps += 23)
		tried++;
	for (unsigned steps = 150; steps < STEPS && stop_reader(9000, steps); steps += 97)
		tried++;
	printf("(%u places) ", tried);
	CU_ASSERT(tried > 10);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

/* ---- an interrupted thread ---- */

static volatile int nested_put, nested_del, nested_get, handled;
static volatile uint64_t nested_seq;

static void handle(int sig)
{
	uint64_t seq = 0;

	(void)sig;
	/* not store(): the interrupted one's value may be made and not copied yet */
	nested_put = ipcmap_put(m, "other", 5, "x", 1, NULL);
	nested_del = ipcmap_del(m, "other", 5);
	nested_get = fetch("key", &seq);
	nested_seq = seq;
	handled++;
}

#if HAVE_POINTS
static void interrupt_there(const char *point)
{
	if (strcmp(point, stop_point) == 0) {
		im_crash_hook = NULL;
		raise(SIGUSR1);
	}
}

static void nested__write_is_refused_and_read_works(void)
{
	static const char *const points[] = {"log.bytes",  "redo.listed",   "redo.armed",
					     "redo.store", "redo.disarmed", "op.leave"};
	uint64_t seq = 0;

	name = T_NAME;
	signal(SIGUSR1, handle);
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 1, &m) == 0);
	CU_ASSERT(store("key", 100, 1, 0) == 0);
	for (unsigned i = 0; i < 6; i++) {
		handled = 0;
		stop_point = points[i];
		im_crash_hook = interrupt_there;
		CU_ASSERT(store("key", 100 + i, 2 + i, 0) == 0);
		CU_ASSERT(handled == 1 && nested_put == IPCMAP_DEADLOCK);
		CU_ASSERT(nested_del == IPCMAP_DEADLOCK && nested_get == 0);
		CU_ASSERT(nested_seq == 1 + i || nested_seq == 2 + i);
		CU_ASSERT(fetch("key", &seq) == 0 && seq == 2 + i);
	}
	CU_ASSERT(fetch("other", &seq) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	signal(SIGUSR1, SIG_DFL);
	ipcmap_close(m);
	ipcmap_unlink(name);
}
#else
/* Without points: many signals at random moments. */
static void nested__write_is_refused_and_read_works(void)
{
	struct itimerspec every = {{0, 300000}, {0, 300000}};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	uint64_t seq = 0, end = t_now_ms() + 200, n = 0;
	timer_t timer;

	name = T_NAME;
	signal(SIGUSR1, handle);
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 1, &m) == 0);
	CU_ASSERT(store("key", 100, 1, 0) == 0);
	CU_ASSERT_FATAL(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
	timer_settime(timer, 0, &every, NULL);
	while (t_now_ms() < end) {
		CU_ASSERT(store("key", 100 + (uint32_t)(n % 900), 2 + n, 0) == 0);
		n++;
		CU_ASSERT(nested_get == 0);
		CU_ASSERT(nested_put == 0 || nested_put == IPCMAP_DEADLOCK);
	}
	timer_delete(timer);
	CU_ASSERT(handled > 10);
	CU_ASSERT(fetch("key", &seq) == 0 && seq == 1 + n);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	signal(SIGUSR1, SIG_DFL);
	ipcmap_close(m);
	ipcmap_unlink(name);
}
#endif

/* ---- waits ---- */

struct waiter {
	const char *key;
	int r;
	uint64_t ms;
};

static void *wait_long(void *arg)
{
	struct waiter *w = arg;
	uint64_t t0 = t_now_ms();

	w->r = store(w->key, 100, 3, IPCMAP_FOREVER);
	w->ms = t_now_ms() - t0;
	return NULL;
}

/* The thread may take its time to get there. */
static void await_a_sleeper(const char *key)
{
	const struct fmt_shard *s =
		&m->shards[im_map_shard(m, im_hash(m->hash_seed, key, strlen(key)))];
	uint64_t end = t_now_ms() + T_LIMIT_MS;

	while (!(im_load32_rlx(&s->lock) & IM_LOCK_WAITERS) && t_now_ms() < end)
		t_sleep_ms(1);
}

static void interrupt__ends_a_wait(void)
{
	struct waiter w = {0};
	const char *key;
	pthread_t t;
	pid_t pid;

	name = T_NAME;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 2, &m) == 0);
	key = key_in(0);
	CU_ASSERT(store(key, 300, 1, 0) == 0);
	pid = stopped_holder(key, "redo.armed");
	if (!pid) {
		t_skip("no ptrace");
	} else {
		w.key = key;
		pthread_create(&t, NULL, wait_long, &w);
		await_a_sleeper(key);
		t_sleep_ms(50);
		ipcmap_interrupt(m);
		pthread_join(t, NULL);
		CU_ASSERT(w.r == IPCMAP_INTERRUPTED && w.ms >= 40 && w.ms < SOON_MS);
		/* the interrupt was for those who waited then */
		CU_ASSERT(store(key, 100, 3, 20000000) == IPCMAP_BUSY);
		/* a wait that ends because the holder dies: the write is done */
		pthread_create(&t, NULL, wait_long, &w);
		t_sleep_ms(20);
		t_kill(pid);
		pthread_join(t, NULL);
		CU_ASSERT(w.r == 0 && w.ms < T_AMOUNT(2000, 5000, 10000));
		CU_ASSERT(m->shards[0].takeovers == 1);
	}
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

/* Inside the space lock: only those who need a new extent wait. */
static void stopped__in_the_space_lock(void)
{
#if HAVE_POINTS
	uint64_t seq = 0;
	pid_t pid;
	int r = 0;

	name = T_NAME;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 2, &m) == 0);
	CU_ASSERT(store(key_in(0), 9000, 1, 0) == 0 && store(key_in(1), 100, 1, 0) == 0);
	CU_ASSERT(store("first", 100, 1, 0) == 0);
	{
		struct how h = {key_in(0), "space.armed"};
		int status;

		/* a large value takes extents outside the shard's lock */
		pid = t_fork();
		if (pid == 0) {
			T_MUST(load_open(name, 0, 0, 0, &m) == 0);
			stop_point = h.point;
			im_crash_hook = stop_there;
			T_MUST(store(h.key, 9000, 2, 0) == 0);
			_exit(0);
		}
		CU_ASSERT_FATAL(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	}
	CU_ASSERT(fetch(key_in(0), &seq) == 0 && seq == 1);
	CU_ASSERT(store(key_in(1), 120, 2, 10000000) == 0);
	CU_ASSERT(store(key_in(1), 9000, 3, 30000000) == IPCMAP_BUSY);
	for (unsigned i = 0; i < 200 && !r; i++) {
		char k[24];
		size_t n = (size_t)sprintf(k, "grow-%u", i);

		if (im_map_shard(m, im_hash(m->hash_seed, k, n)) == 1)
			r = store(k, 1900, 4, 30000000);
	}
	CU_ASSERT(r == IPCMAP_BUSY);
	kill(pid, SIGCONT);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(store(key_in(1), 9000, 5, 0) == 0);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
#else
	t_skip("needs crash points");
#endif
}

static CU_TestInfo tests[] = {
	{"a stopped holder keeps its lock, readers go on", stopped__holder_keeps_its_lock},
	{"a holder of the space lock keeps out who needs extents", stopped__in_the_space_lock},
	{"a stopped reader is right when it goes on", stopped__reader_is_right_when_it_goes_on},
	{"a nested write is refused, a nested read works",
	 nested__write_is_refused_and_read_works},
	{"interrupt ends a wait, death too", interrupt__ends_a_wait},
	CU_TEST_INFO_NULL,
};

T_SUITE("stop", tests)
