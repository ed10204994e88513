/* SPDX-License-Identifier: MIT */
/*
 * pause.c - how long ipcmap keeps one caller waiting, at worst
 *
 *	pause [small]		everything; small: with little data, to see that it works
 *	pause attach NAME	used by itself: prints how long an attach and a first get take
 *
 * Three things. Churn of a full map, each operation timed, with its longest; next to it the
 * longest gap of a loop that only reads the clock for as long, which is the machine's own
 *share. The attach of a small and of a 4 GiB map, each by new processes. The delay from the
 *kill of a process that holds a shard's lock to the next successful write of another one.
 *
 * It prints Markdown.
 */
#include "ipcmap.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ATTACHES 51u
#define TAKEOVERS 50u
#define KILLS_MAX 4000u /* a kill outside of the lock does not count */
#define CELLS 40u	/* one for each power of two of nanoseconds */

struct times {
	uint64_t count[CELLS];
	uint64_t n, max;
	const char *max_what;
};

static char name[64];

static void end(int status)
{
	if (name[0])
		ipcmap_unlink(name);
	_exit(status);
}

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "pause: %s: %s\n", what, ipcmap_strerror(rc));
	end(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static void note(struct times *t, uint64_t ns, const char *what)
{
	t->count[ns ? 63 - __builtin_clzll(ns) : 0]++;
	t->n++;
	if (ns > t->max) {
		t->max = ns;
		t->max_what = what;
	}
}

static struct ipcmap *create(uint64_t limit)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map;
	char why[200] = "";
	int rc;

	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	o.limit = o.max = limit;
	o.why = why;
	o.why_cap = sizeof(why);
	rc = ipcmap_open(name, &o, &map);
	if (rc < 0)
		fprintf(stderr, "pause: %s\n", why);
	must(rc, "create");
	return map;
}

static void discard(struct ipcmap *map)
{
	ipcmap_close(map);
	must(ipcmap_unlink(name), "unlink");
}

static struct ipcmap_stat stat_of(struct ipcmap *map)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	must(ipcmap_stat(map, &st), "stat");
	return st;
}

static int put(struct ipcmap *map, uint64_t i, const void *val, size_t len)
{
	uint64_t key[2] = {i * 0x9e3779b97f4a7c15u, ~i};

	return ipcmap_put(map, key, sizeof(key), val, len, NULL);
}

static int del(struct ipcmap *map, uint64_t i)
{
	uint64_t key[2] = {i * 0x9e3779b97f4a7c15u, ~i};

	return ipcmap_del(map, key, sizeof(key));
}

/* ---- churn ---- */

/* Inserts keys 0 .. until live entries are @percent of what the log can hold. */
static uint64_t fill(struct ipcmap *map, unsigned percent, const void *val)
{
	struct ipcmap_stat st = stat_of(map);
	uint64_t fixed = st.used - st.log_len - st.index_len, n = 0, k;

	do {
		for (k = 0; k < 1000; k++)
			must(put(map, n++, val, 32), "fill");
		st = stat_of(map);
	} while (st.live_len * 100 < (st.limit - fixed - st.index_len) * percent);
	return n;
}

static void churn(struct ipcmap *map, uint64_t n, uint64_t ops, const void *val,
		  struct times *t)
{
	uint64_t oldest = 0, newest = n, seed = n, r, begin, k;
	const char *what;
	int rc;

	for (k = 0; k < ops; k++) {
		r = next_random(&seed);
		/* inserts and deletes in turn, so that the fill stays */
		what = r & 1 ? "update" : newest - oldest <= n ? "insert" : "delete";
		r = (r >> 1) % (newest - oldest);
		begin = now();
		if (what[0] == 'u')
			rc = put(map, oldest + r, val, 32);
		else if (what[0] == 'i')
			rc = put(map, newest++, val, 32);
		else
			rc = del(map, oldest++);
		note(t, now() - begin, what);
		must(rc, what);
	}
}

/* The machine's own pauses: a loop that reads the clock, for @ns. */
static void idle(uint64_t ns, struct times *t)
{
	uint64_t begin = now(), last = begin, at;

	while ((at = now()) - begin < ns) {
		note(t, at - last, "nothing");
		last = at;
	}
}

static void print_times(const struct times *const *t)
{
	uint64_t shorter[3] = {0};
	unsigned j, k, from = 7, to = CELLS - 1; /* 2^7 ns: nothing is done in less */

	while (!t[0]->count[to] && !t[1]->count[to] && !t[2]->count[to])
		to--;
	printf("| shorter than | 80 %% full | 90 %% full | clock alone "
	       "|\n|---:|---:|---:|---:|\n");
	for (k = 0; k <= to; k++) {
		for (j = 0; j < 3; j++)
			shorter[j] += t[j]->count[k];
		if (k < from)
			continue;
		printf("| %.2f us | %llu | %llu | %llu |\n", (double)(2ull << k) / 1e3,
		       (unsigned long long)shorter[0], (unsigned long long)shorter[1],
		       (unsigned long long)shorter[2]);
		memset(shorter, 0, sizeof(shorter));
	}
	printf("| longest | %.1f us (%s) | %.1f us (%s) | %.1f us |\n\n",
	       (double)t[0]->max / 1e3, t[0]->max_what, (double)t[1]->max / 1e3, t[1]->max_what,
	       (double)t[2]->max / 1e3);
}

static void measure_churn(uint64_t limit, uint64_t ops)
{
	static const unsigned percents[] = {80, 90};
	struct times t[2] = {0}, none = {0};
	const struct times *const all[] = {&t[0], &t[1], &none};
	char val[32] = "churn";
	uint64_t begin, n[2];
	unsigned k;

	for (k = 0; k < 2; k++) {
		struct ipcmap *map = create(limit);

		n[k] = fill(map, percents[k], val);
		begin = now();
		churn(map, n[k], ops, val, &t[k]);
		if (k == 0)
			idle(now() - begin, &none);
		discard(map);
	}
	printf("## Pauses: churn of a full map\n\n"
	       "A map of %llu MiB, entries of 16 + 32 bytes, one worker: %llu operations, half"
	       " updates, a quarter inserts, a quarter deletes of the oldest, each timed. %llu"
	       " entries fill 80 %% of the log, %llu fill 90 %%. The last column is a loop that"
	       " only reads the clock for as long as the first churn took.\n\n",
	       (unsigned long long)limit >> 20, (unsigned long long)ops,
	       (unsigned long long)n[0], (unsigned long long)n[1]);
	print_times(all);
}

/* ---- attach ---- */

static int attach_here(const char *segment)
{
	uint64_t key[2] = {0, ~0ull}, begin = now(), opened;
	struct ipcmap *map;
	char buf[2048];
	size_t len;

	must(ipcmap_open(segment, NULL, &map), "attach");
	opened = now();
	must(ipcmap_get(map, key, sizeof(key), buf, sizeof(buf), &len), "first get");
	printf("%llu %llu\n", (unsigned long long)(opened - begin),
	       (unsigned long long)(now() - opened));
	return 0;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure_attach(uint64_t limit)
{
	uint64_t open_ns[ATTACHES], get_ns[ATTACHES];
	struct ipcmap *map = create(limit);
	unsigned long long a, b;
	char command[128], val[1024] = "attach";
	uint64_t n = 0;
	unsigned k;
	int rc;
	FILE *f;

	while ((rc = put(map, n, val, sizeof(val))) == 0)
		n++;
	must(rc == IPCMAP_LIMIT ? 0 : rc, "fill");
	snprintf(command, sizeof(command), "exec /proc/%d/exe attach %s", getpid(), name);
	for (k = 0; k < ATTACHES; k++) {
		f = popen(command, "r");
		if (!f || fscanf(f, "%llu %llu", &a, &b) != 2 || pclose(f))
			must(IPCMAP_INVALID, "attach in a new process");
		open_ns[k] = a;
		get_ns[k] = b;
	}
	qsort(open_ns, ATTACHES, sizeof(*open_ns), ascending);
	qsort(get_ns, ATTACHES, sizeof(*get_ns), ascending);
	printf("| %llu MiB, %llu entries | %.1f us | %.1f us | %.1f us | %.1f us |\n",
	       (unsigned long long)limit >> 20, (unsigned long long)n,
	       (double)open_ns[ATTACHES / 2] / 1e3, (double)open_ns[ATTACHES - 1] / 1e3,
	       (double)get_ns[ATTACHES / 2] / 1e3, (double)get_ns[ATTACHES - 1] / 1e3);
	fflush(stdout);
	discard(map);
}

/* ---- take-over ---- */

/* A process that writes one key over and over, mostly inside its shard's lock. */
static pid_t start_victim(struct ipcmap *map)
{
	static char val[60000];
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		must(put(map, 1, val, sizeof(val)), "victim's put");
}

static void measure_takeover(uint64_t limit)
{
	struct ipcmap *map = create(limit);
	uint64_t ns[TAKEOVERS], before, begin, seed = 1, took;
	unsigned got = 0, kills = 0;
	struct timespec wait = {0};
	pid_t pid;

	while (got < TAKEOVERS && kills++ < KILLS_MAX) {
		pid = start_victim(map);
		if (pid < 0)
			must(IPCMAP_NOMEM, "fork");
		while (stat_of(map).attached < 2)
			;
		wait.tv_nsec = 2000000 + (long)(next_random(&seed) % 2000000);
		nanosleep(&wait, NULL);
		before = stat_of(map).takeovers;
		begin = now();
		kill(pid, SIGKILL);
		must(put(map, 1, "next", 4), "put after the kill");
		took = now() - begin;
		waitpid(pid, NULL, 0);
		if (stat_of(map).takeovers > before)
			ns[got++] = took;
	}
	printf("## Take-over after a kill\n\nA forked process that stores a value of 60,000"
	       " bytes over and over is killed; the time from before kill(2) to the end of "
	       "another"
	       " process's put to the same key, when the killed one held the lock (%u of %u"
	       " kills).\n\n",
	       got, kills > KILLS_MAX ? KILLS_MAX : kills);
	if (got) {
		qsort(ns, got, sizeof(*ns), ascending);
		printf("| shortest | median | longest |\n|---:|---:|---:|\n| %.2f ms | %.2f ms "
		       "|"
		       " %.2f ms |\n\n",
		       (double)ns[0] / 1e6, (double)ns[got / 2] / 1e6,
		       (double)ns[got - 1] / 1e6);
	}
	discard(map);
}

static bool shm_has(uint64_t bytes)
{
	struct statvfs v;

	return statvfs("/dev/shm", &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize > bytes;
}

int main(int argc, char **argv)
{
	bool small = argc > 1 && !strcmp(argv[1], "small");
	uint64_t big = small ? 64u << 20 : 4ull << 30;

	if (argc > 2 && !strcmp(argv[1], "attach"))
		return attach_here(argv[2]);
	snprintf(name, sizeof(name), "/ipcmap-test.%d.pause", getpid());
	signal(SIGINT, end);
	signal(SIGTERM, end);
	signal(SIGPIPE, end);
	measure_churn(small ? 16u << 20 : 256u << 20, small ? 200000 : 5000000);
	printf("## Attach\n\nOf a full map, by %u new processes one after the other.\n\n"
	       "| map | open, median | longest | first get, median | longest |\n"
	       "|---|---:|---:|---:|---:|\n",
	       ATTACHES);
	measure_attach(16u << 20);
	if (shm_has(big + (64u << 20)))
		measure_attach(big);
	else
		printf("| 4 GiB | /dev/shm has no room | | | |\n");
	printf("\n");
	measure_takeover(64u << 20);
	return 0;
}
