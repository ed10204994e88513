/* SPDX-License-Identifier: MIT */
/*
 * work.c - load, warm up, run, and what is counted meanwhile
 *
 * A task has three parts: make the stream, wait for the others at the start line, run it. Only
 * the last is on the clock. Each value read is checked: its length, and its first 8 bytes.
 */
#include "work.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct me {
	struct work *work;
	struct result *r;
	unsigned number;
	void *peer;
	struct stream stream;
	unsigned char *buf, *val; /* to read into, to write from */
	uint64_t written;
};

/* The semaphores lie beside struct work, in the same shared page. */
struct shared {
	struct work work;
	sem_t go[WORK_MAX], done;
	pid_t pid[WORK_MAX];
	pthread_t thread[WORK_MAX];
};

static inline uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t work_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t hist_ns(unsigned cell)
{
	unsigned power = cell / HIST_STEPS;

	return power < 2 ? cell : (uint64_t)(cell % HIST_STEPS + HIST_STEPS) << (power - 1);
}

void hist_add(struct hist *h, uint64_t ns, uint64_t at)
{
	unsigned power = ns < HIST_STEPS * 2 ? 0 : 58 - (unsigned)__builtin_clzll(ns);
	uint64_t cell = (ns >> power) + (uint64_t)power * HIST_STEPS;

	h->count[cell < HIST_CELLS ? cell : HIST_CELLS - 1]++;
	if (ns > h->max) {
		h->max = ns;
		h->max_at = at;
	}
}

static int fail(struct me *me, const char *what, const struct op *op, int rc)
{
	me->r->failed = true;
	snprintf(me->r->why, sizeof(me->r->why), "%s of key %u returned %d%s%.180s", what,
		 op->i, rc, bench_why[0] ? ": " : "", bench_why);
	return -1;
}

static int check(struct me *me, const struct op *op, const void *buf, size_t len, int rc)
{
	const struct shape *shape = &me->stream.shape;
	uint64_t tag = stream_tag(op->i), got;

	if (rc == 0) {
		me->r->missing++;
		return op->kind == OP_GET_ABSENT || me->work->conf.ttl_s
			       ? 0
			       : fail(me, "get", op, rc);
	}
	if (rc < 0 || op->kind == OP_GET_ABSENT)
		return fail(me, "get", op, rc);
	me->r->found++;
	if (len < shape->val_min || len > shape->val_max)
		return fail(me, "length", op, (int)len);
	if (len < 8)
		return 0;
	memcpy(&got, buf, 8);
	return got == tag ? 0 : fail(me, "wrong value", op, rc);
}

static inline int do_op(struct me *me, const struct op *op)
{
	const void *key = stream_key(&me->stream, op);
	uint64_t tag;
	size_t len = 0;
	int rc;

	switch (op->kind) {
	case OP_PUT:
		tag = stream_tag(op->i);
		me->written++;
		memcpy(me->val, &tag, 8);
		memcpy(me->val + 8, &me->written, 8);
		rc = bench_peer.put(me->peer, key, op->key_len, me->val, op->val_len);
		return rc == 1 ? 0 : fail(me, "put", op, rc);
	case OP_DEL:
		rc = bench_peer.del(me->peer, key, op->key_len);
		return rc == 1 || (rc == 0 && me->work->conf.ttl_s) ? 0
								    : fail(me, "del", op, rc);
	default:
		rc = bench_peer.get(me->peer, key, op->key_len, me->buf,
				    me->stream.shape.val_max, &len);
		return check(me, op, me->buf, len, rc);
	}
}

static int do_batch(struct me *me, const struct op *ops, unsigned n)
{
	struct bench_item items[64];
	size_t cap = me->stream.shape.val_max;
	unsigned k;

	for (k = 0; k < n; k++) {
		items[k].key = stream_key(&me->stream, &ops[k]);
		items[k].key_len = ops[k].key_len;
		items[k].buf = me->buf + k * cap;
		items[k].cap = cap;
	}
	if (bench_peer.mget(me->peer, items, n) < 0)
		return fail(me, "mget", ops, -1);
	for (k = 0; k < n; k++)
		if (check(me, &ops[k], items[k].buf, items[k].len, items[k].rc))
			return -1;
	return 0;
}

/* The stream once through. @first is the number of its first operation in the whole task. */
static void go_through(struct me *me, const struct command *c, uint64_t first, uint64_t all)
{
	const struct op *op = me->stream.ops, *end = op + me->stream.n;
	uint64_t last, now, at = first;
	int failed = 0;

	if (c->batch > 1) {
		for (; !failed && op + c->batch <= end; op += c->batch)
			failed = do_batch(me, op, c->batch);
		me->r->ops += (uint64_t)(op - me->stream.ops);
		return;
	}
	if (!c->timed) {
		while (!failed && op < end)
			failed = do_op(me, op++);
		me->r->ops += (uint64_t)(op - me->stream.ops);
		return;
	}
	last = work_now();
	for (; !failed && op < end; op++, at++) {
		uint64_t *slowest = &me->r->slowest[at * WORK_WINDOWS / all];

		failed = do_op(me, op);
		now = work_now();
		hist_add(&me->r->hist, now - last, at);
		if (now - last > *slowest)
			*slowest = now - last;
		last = work_now();
	}
	me->r->ops += (uint64_t)(op - me->stream.ops);
}

static void wait_for_others(struct work *w)
{
	unsigned turns = 0;

	atomic_fetch_add(&w->arrived, 1);
	while (atomic_load(&w->arrived) < w->command.workers)
		if (++turns > 100)
			sched_yield();
}

static void count(uint64_t *sum, bool after, uint64_t now)
{
	*sum += after ? now : 0 - now;
}

/* What this thread used, between the calls before and after. */
static void count_use(struct me *me, bool after)
{
	uint64_t queued = 0;
	struct rusage use;
	FILE *f = fopen("/proc/thread-self/schedstat", "re");

	if (f) {
		if (fscanf(f, "%*u %" SCNu64, &queued) != 1)
			queued = 0;
		fclose(f);
	}
	getrusage(RUSAGE_THREAD, &use);
	count(&me->r->cpu_ns, after, read_clock(CLOCK_THREAD_CPUTIME_ID));
	count(&me->r->queued_ns, after, queued);
	count(&me->r->switches, after, (uint64_t)use.ru_nvcsw);
}

/* The first worker asks for all: the count is the whole store's. */
static uint64_t sleeps(struct me *me)
{
	return bench_peer.sleeps && me->number == 0 ? bench_peer.sleeps(me->peer) : 0;
}

static void run(struct me *me, const struct command *c)
{
	if (me->stream.n_workers != c->workers) {
		stream_free(&me->stream);
		stream_init(&me->stream, &me->work->shape, me->number, c->workers);
	}
	stream_seed(&me->stream, c->seed);
	stream_fill(&me->stream, &c->mix, c->ops);
	count(&me->r->sleeps, false, sleeps(me));
	wait_for_others(me->work);
	count_use(me, false);
	me->r->begin_ns = work_now();
	go_through(me, c, 0, c->ops);
	me->r->end_ns = work_now();
	count_use(me, true);
	count(&me->r->sleeps, true, sleeps(me));
}

/* All keys, put or got, in chunks; the time between them does not count. */
static void all_keys(struct me *me, const struct command *c)
{
	uint64_t n = me->work->shape.n, from, begin, ns = 0, rss = 0;
	size_t len;

	stream_free(&me->stream);
	stream_init(&me->stream, &me->work->shape, me->number, 1);
	for (from = 0; from < n && !me->r->failed; from += len) {
		len = n - from < WORK_CHUNK ? (size_t)(n - from) : WORK_CHUNK;
		if (c->task == TASK_LOAD)
			stream_fill_load(&me->stream, from, len);
		else
			stream_fill_warm(&me->stream, from, len);
		if (from == 0)
			rss = bench_rss(0);
		begin = work_now();
		go_through(me, c, from, n);
		ns += work_now() - begin;
	}
	me->r->begin_ns = 0;
	me->r->end_ns = ns;
	if (c->task == TASK_LOAD)
		me->r->bytes = bench_peer.used ? bench_peer.used(me->peer) : bench_rss(0) - rss;
	stream_free(&me->stream);
}

static void *worker(void *arg)
{
	struct me *me = arg;
	struct shared *sh = (struct shared *)me->work;
	const struct command *c = &me->work->command;
	size_t room = (me->work->shape.val_max + 16u) * 64;

	me->r = &me->work->result[me->number];
	me->buf = calloc(1, room);
	me->val = malloc(room);
	if (!me->buf || !me->val)
		abort();
	memset(me->val, 'v', room);
	for (;;) {
		while (sem_wait(&sh->go[me->number]))
			;
		if (c->task == TASK_QUIT)
			break;
		memset(me->r, 0, sizeof(*me->r));
		if (c->task == TASK_RUN)
			run(me, c);
		else if (c->task != TASK_ATTACH)
			all_keys(me, c);
		else if (bench_peer.attach(&me->peer) < 0) {
			me->r->failed = true;
			snprintf(me->r->why, sizeof(me->r->why), "attach: %.180s", bench_why);
		}
		sem_post(&sh->done);
	}
	return NULL;
}

static int start(struct shared *sh, unsigned n)
{
	struct me *me = calloc(1, sizeof(*me));

	if (!me)
		return -1;
	me->work = &sh->work;
	me->number = n;
	if (!(bench_peer.flags & BENCH_PROCESSES))
		return pthread_create(&sh->thread[n], NULL, worker, me) ? -1 : 0;
	sh->pid[n] = fork();
	if (sh->pid[n])
		return sh->pid[n] < 0 ? -1 : 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	worker(me);
	_exit(0);
}

/* Also when one of them died. */
static int wait_done(struct shared *sh)
{
	struct timespec until;
	int status;
	pid_t pid;

	for (;;) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		if (!sem_timedwait(&sh->done, &until))
			return 0;
		pid = waitpid(-1, &status, WNOHANG);
		if (pid > 0)
			return bench_fail("process %d ended with status %#x", pid, status);
	}
}

int work_do(struct work *w, const struct command *command)
{
	struct shared *sh = (struct shared *)w;
	unsigned n;

	w->command = *command;
	atomic_store(&w->arrived, 0);
	for (n = 0; n < command->workers; n++)
		sem_post(&sh->go[n]);
	if (command->task == TASK_QUIT)
		return 0;
	for (n = 0; n < command->workers; n++)
		if (wait_done(sh))
			return -1;
	for (n = 0; n < command->workers; n++)
		if (w->result[n].failed)
			return bench_fail("worker %u: %.200s", n, w->result[n].why);
	return 0;
}

int work_begin(const struct bench_conf *conf, const struct shape *shape, struct work **ret)
{
	struct command attach = {.task = TASK_ATTACH, .workers = conf->workers};
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned n;

	if (sh == MAP_FAILED)
		return bench_fail("mmap: %s", strerror(errno));
	sh->work.conf = *conf;
	sh->work.shape = *shape;
	sem_init(&sh->done, 1, 0);
	for (n = 0; n < conf->workers; n++)
		sem_init(&sh->go[n], 1, 0);
	for (n = 0; n < conf->workers; n++)
		if (start(sh, n))
			return bench_fail("cannot start a worker: %s", strerror(errno));
	*ret = &sh->work;
	return work_do(&sh->work, &attach);
}

void work_end(struct work *w)
{
	struct command quit = {.task = TASK_QUIT, .workers = w->conf.workers};
	struct shared *sh = (struct shared *)w;
	unsigned n;

	work_do(w, &quit);
	for (n = 0; n < quit.workers; n++)
		if (bench_peer.flags & BENCH_PROCESSES)
			waitpid(sh->pid[n], NULL, 0);
		else
			pthread_join(sh->thread[n], NULL);
}
