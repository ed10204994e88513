/* SPDX-License-Identifier: MIT */
/*
 * main.c - one peer as a program that takes commands and prints results, both a line each
 *
 *	peer-NAME [n=N] [key=MIN[-MAX]] [val=MIN[-MAX]] [workers=N] [ttl=SECONDS]
 *
 *	load [timed]		all keys, by one worker
 *	warm WORKERS		each of them reads every key once
 *	run ACCESS READS WORKERS OPS SEED [batch=N] [timed]
 *
 * ACCESS is uniform, zipf, hot, absent or churn, READS a percentage, OPS the operations of
 * each worker. Results are JSON objects. The program ends with its input, or with the first
 * failure, which it prints as {"error": ...}. bench.py starts and feeds these programs.
 */
#include "work.h"

#include <ctype.h>
#include <glob.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

char bench_why[256];
static char path[64];

int bench_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(bench_why, sizeof(bench_why), format, args);
	va_end(args);
	return -1;
}

uint64_t bench_rss(int pid)
{
	char name[32], line[128];
	unsigned long long kib = 0;
	FILE *f;

	snprintf(name, sizeof(name), pid ? "/proc/%d/status" : "/proc/self/status", pid);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %llu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024;
}

int bench_spawn(const char *file, const char *const *argv)
{
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? bench_fail("fork failed") : pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!freopen("/dev/null", "r", stdin) || !freopen("/dev/null", "w", stdout))
		_exit(126);
	execvp(file, (char *const *)argv);
	_exit(127);
}

static void remove_files(void)
{
	char pattern[80];
	glob_t g;
	size_t k;

	snprintf(pattern, sizeof(pattern), "%s*", path);
	if (glob(pattern, 0, NULL, &g))
		return;
	for (k = 0; k < g.gl_pathc; k++)
		unlink(g.gl_pathv[k]);
	globfree(&g);
}

static void die(void)
{
	char *p;

	for (p = bench_why; *p; p++)
		if (*p == '"' || *p == '\\' || iscntrl((unsigned char)*p))
			*p = '\'';
	printf("{\"error\": \"%s\"}\n", bench_why);
	fflush(stdout);
	remove_files();
	_exit(1);
}

static void print_hist(const struct work *w, unsigned workers)
{
	uint64_t count, max = 0, max_at = 0;
	const char *comma = "";
	unsigned cell, n;

	printf(", \"hist\": [");
	for (cell = 0; cell < HIST_CELLS; cell++) {
		count = 0;
		for (n = 0; n < workers; n++)
			count += w->result[n].hist.count[cell];
		if (count) {
			printf("%s[%llu, %llu]", comma, (unsigned long long)hist_ns(cell),
			       (unsigned long long)count);
			comma = ", ";
		}
	}
	for (n = 0; n < workers; n++)
		if (w->result[n].hist.max > max) {
			max = w->result[n].hist.max;
			max_at = w->result[n].hist.max_at;
		}
	printf("], \"max\": %llu, \"max_at\": %llu", (unsigned long long)max,
	       (unsigned long long)max_at);
}

static void print_windows(const struct result *r)
{
	unsigned k;

	printf(", \"slowest\": [");
	for (k = 0; k < WORK_WINDOWS; k++)
		printf("%s%llu", k ? ", " : "", (unsigned long long)r->slowest[k]);
	printf("]");
}

static void print_results(const struct work *w, const struct command *c)
{
	uint64_t begin = UINT64_MAX, end = 0, ops = 0, busy = 0, cpu = 0, queued = 0, found = 0;
	uint64_t switches = 0, sleeps = 0;
	unsigned n;

	for (n = 0; n < c->workers; n++) {
		const struct result *r = &w->result[n];

		begin = r->begin_ns < begin ? r->begin_ns : begin;
		end = r->end_ns > end ? r->end_ns : end;
		busy += r->end_ns - r->begin_ns;
		ops += r->ops;
		found += r->found;
		cpu += r->cpu_ns;
		queued += r->queued_ns;
		switches += r->switches;
		sleeps += r->sleeps;
	}
	printf("{\"ns\": %llu, \"ops\": %llu, \"found\": %llu",
	       (unsigned long long)(end - begin), (unsigned long long)ops,
	       (unsigned long long)found);
	if (c->task == TASK_LOAD)
		printf(", \"bytes\": %llu", (unsigned long long)w->result[0].bytes);
	if (c->task == TASK_RUN)
		printf(", \"workers_ns\": %llu, \"cpu_ns\": %llu, \"queued_ns\": %llu, "
		       "\"switches\": %llu",
		       (unsigned long long)busy, (unsigned long long)cpu,
		       (unsigned long long)queued, (unsigned long long)switches);
	if (c->task == TASK_RUN && bench_peer.sleeps)
		printf(", \"sleeps\": %llu", (unsigned long long)sleeps);
	if (c->timed)
		print_hist(w, c->workers);
	if (c->timed && c->task == TASK_LOAD)
		print_windows(&w->result[0]);
	puts("}");
	fflush(stdout);
}

static int parse_access(const char *word, struct mix *mix)
{
	static const char *const names[] = {"uniform", "zipf", "hot", "absent", "churn"};
	unsigned k;

	for (k = 0; k < 5; k++)
		if (!strcmp(word, names[k])) {
			mix->access = (enum access)k;
			return 0;
		}
	return -1;
}

static int parse(const char *line, struct command *c)
{
	char access[16];
	const char *batch = strstr(line, "batch=");
	unsigned long long ops, seed;

	memset(c, 0, sizeof(*c));
	c->timed = strstr(line, "timed");
	c->workers = 1;
	c->batch = batch ? (unsigned)atoi(batch + 6) : 1;
	c->task = TASK_LOAD;
	if (!strncmp(line, "load", 4))
		return 0;
	c->task = TASK_WARM;
	if (sscanf(line, "warm %u", &c->workers) == 1)
		return 0;
	c->task = TASK_RUN;
	if (sscanf(line, "run %15s %u %u %llu %llu", access, &c->mix.reads, &c->workers, &ops,
		   &seed) != 5)
		return -1;
	c->ops = (size_t)ops;
	c->seed = seed;
	return c->batch < 1 || c->batch > 64 || parse_access(access, &c->mix) ? -1 : 0;
}

static unsigned range(const char *text, unsigned *ret_max)
{
	char *end;
	unsigned min = (unsigned)strtoul(text, &end, 10);

	*ret_max = *end == '-' ? (unsigned)strtoul(end + 1, NULL, 10) : min;
	return min;
}

static void options(char **argv, struct bench_conf *conf, struct shape *shape)
{
	const char *v;

	for (; *argv; argv++) {
		v = strchr(*argv, '=');
		v = v ? v + 1 : "";
		if (!strncmp(*argv, "n=", 2))
			conf->n = shape->n = strtoull(v, NULL, 10);
		else if (!strncmp(*argv, "key=", 4))
			shape->key_min = range(v, &shape->key_max);
		else if (!strncmp(*argv, "val=", 4))
			shape->val_min = range(v, &shape->val_max);
		else if (!strncmp(*argv, "workers=", 8))
			conf->workers = (unsigned)atoi(v);
		else if (!strncmp(*argv, "ttl=", 4))
			conf->ttl_s = (unsigned)atoi(v);
		else
			bench_fail("what is %.100s?", *argv);
	}
	if (shape->n < 1 || shape->n > 1u << 30 || shape->key_min < 8 || shape->key_max > 250 ||
	    shape->key_max < shape->key_min || shape->val_max > 60000 ||
	    shape->val_max < shape->val_min || conf->workers < 1 || conf->workers > WORK_MAX)
		bench_fail("an option is out of its range");
	if (bench_peer.flags & BENCH_ONE)
		conf->workers = 1;
	conf->key_max = shape->key_max;
	conf->val_max = shape->val_max;
	conf->bytes = conf->n * ((shape->key_min + shape->key_max + 1) / 2 +
				 (shape->val_min + shape->val_max + 1) / 2);
}

/* What reading the clock costs, undisturbed: it is part of every time that is taken. */
static uint64_t clock_ns(void)
{
	uint64_t begin, took, least = UINT64_MAX;
	unsigned j, k;

	for (j = 0; j < 100; j++) {
		begin = work_now();
		for (k = 0; k < 99; k++)
			work_now();
		took = (work_now() - begin) / 100;
		least = took < least ? took : least;
	}
	return least;
}

static const char *kind(void)
{
	if (bench_peer.flags & BENCH_SERVER)
		return "server";
	return bench_peer.flags & BENCH_PROCESSES ? "processes" : "threads";
}

static const char *has(bool it)
{
	return it ? "true" : "false";
}

static void print_about(const struct bench_conf *conf)
{
	printf("{\"peer\": \"%s\", \"how\": \"%s\", \"kind\": \"%s\", \"workers\": %u, "
	       "\"clock_ns\": %llu, \"ttl\": %s, \"del\": %s, \"mget\": %s}\n",
	       bench_peer.name, bench_peer.how, kind(), conf->workers,
	       (unsigned long long)clock_ns(), has(bench_peer.flags & BENCH_TTL),
	       has(!(bench_peer.flags & BENCH_NO_DEL)), has(bench_peer.mget));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct shape shape = {10000, 16, 16, 32, 32};
	struct bench_conf conf = {.path = path, .n = 10000, .workers = 1};
	struct command c;
	struct work *w;
	char line[128];

	snprintf(path, sizeof(path), "/dev/shm/ipcmap-test.%d.bench", getpid());
	options(argv + (argc > 0), &conf, &shape);
	if (bench_why[0])
		die();
	print_about(&conf);
	if (bench_peer.create(&conf) < 0 || work_begin(&conf, &shape, &w))
		die();
	remove_files();
	while (fgets(line, sizeof(line), stdin)) {
		if (parse(line, &c) || c.workers < 1 || c.workers > conf.workers ||
		    (c.batch > 1 && !bench_peer.mget))
			bench_fail("cannot do: %.100s", line);
		else if (!work_do(w, &c)) {
			print_results(w, &c);
			continue;
		}
		die();
	}
	work_end(w);
	return 0;
}
