/* SPDX-License-Identifier: MIT */
/*
 * wake.c - from a put to the watcher that it wakes
 *
 *     wake [PUTS]
 *
 * A process puts the time into a key, every millisecond or so; another sleeps in
 * ipcmap_watch_next(), or in epoll_wait(2) on ipcmap_watch_fd(), reads the value when it wakes,
 * and notes how long ago that was. In between 0 or 100 processes sleep for other keys.
 * For comparison two processes that wake each other through a pipe.
 */
#include "ipcmap.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OTHERS 100

enum way { BY_NEXT, BY_FD, BY_PIPE };

static char name[64];
static struct ipcmap *map;
static uint64_t *took; /* shared: ns, took[0] how many */
static unsigned n_puts;
static int channel[2];

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "wake: %s failed\n", what);
	exit(1);
}

static pid_t child(void (*fn)(int arg), int arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(arg);
		_exit(0);
	}
	return pid;
}

static void note(uint64_t then)
{
	uint64_t n = took[0] + 1;

	took[n] = now() - then;
	__atomic_store_n(&took[0], n, __ATOMIC_RELEASE);
}

static void sleep_for_another(int i)
{
	struct ipcmap_event e;
	struct ipcmap_watch *w;
	char key[16];
	int n = snprintf(key, sizeof(key), "other%d", i);

	must(ipcmap_watch_open(map, key, (size_t)n, IPCMAP_WATCH_KEY, &w) == 0, "watch_open");
	for (;;)
		ipcmap_watch_next(w, IPCMAP_FOREVER, &e);
}

static void watch(int way)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct ipcmap_watch *w;
	struct ipcmap_event e;
	uint64_t then;
	int ep = epoll_create1(0);

	must(ipcmap_watch_open(map, "key", 3, IPCMAP_WATCH_KEY, &w) == 0, "watch_open");
	if (way == BY_FD)
		must(epoll_ctl(ep, EPOLL_CTL_ADD, ipcmap_watch_fd(w), &ev) == 0, "watch_fd");
	__atomic_store_n(&took[0], 0, __ATOMIC_RELEASE);
	for (;;) {
		if (way == BY_FD) {
			epoll_wait(ep, &ev, 1, -1);
			if (ipcmap_watch_next(w, IPCMAP_NOWAIT, &e))
				continue;
		} else if (ipcmap_watch_next(w, IPCMAP_FOREVER, &e)) {
			continue;
		}
		must(ipcmap_get(map, "key", 3, &then, sizeof(then), NULL) == 0, "get");
		note(then);
	}
}

static void read_pipe(int unused)
{
	uint64_t then;

	(void)unused;
	__atomic_store_n(&took[0], 0, __ATOMIC_RELEASE);
	while (read(channel[0], &then, sizeof(then)) == sizeof(then))
		note(then);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(enum way way, int others)
{
	static const char *const names[] = {"watch_next", "watch_fd, epoll", "a pipe"};
	pid_t pid[OTHERS + 1];

	for (int i = 0; i < others; i++)
		pid[i + 1] = child(sleep_for_another, i);
	took[0] = UINT64_MAX;
	pid[0] = way == BY_PIPE ? child(read_pipe, 0) : child(watch, (int)way);
	while (__atomic_load_n(&took[0], __ATOMIC_ACQUIRE))
		usleep(1000);
	usleep(100000);
	for (unsigned i = 0; i < n_puts; i++) {
		uint64_t then = now();

		if (way == BY_PIPE)
			must(write(channel[1], &then, sizeof(then)) == sizeof(then), "write");
		else
			must(ipcmap_put(map, "key", 3, &then, sizeof(then), NULL) == 0, "put");
		while (__atomic_load_n(&took[0], __ATOMIC_ACQUIRE) < i + 1)
			usleep(100);
		usleep(1000);
	}
	for (int i = 0; i <= others; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	qsort(took + 1, n_puts, sizeof(*took), by_size);
	printf("%-16s %6d %10.1f %10.1f %10.1f\n", names[way], others,
	       (double)took[1 + n_puts / 2] / 1000, (double)took[1 + n_puts * 99 / 100] / 1000,
	       (double)took[n_puts] / 1000);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	n_puts = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5000;
	must(n_puts > 0 && n_puts <= 1000000, "PUTS");
	took = mmap(NULL, (n_puts + 1) * sizeof(*took), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(took != MAP_FAILED && pipe(channel) == 0, "mmap or pipe");
	snprintf(name, sizeof(name), "/ipcmap-bench.%d.wake", (int)getpid());
	o.flags = IPCMAP_CREATE;
	must(ipcmap_open(name, &o, &map) == 0, "open");
	ipcmap_unlink(name);
	printf("us from put to awake  p50        p99        max   (%u puts)\n", n_puts);
	printf("%-16s %6s\n", "", "others");
	measure(BY_PIPE, 0);
	measure(BY_NEXT, 0);
	measure(BY_NEXT, OTHERS);
	measure(BY_FD, 0);
	measure(BY_FD, OTHERS);
	ipcmap_close(map);
	return 0;
}
