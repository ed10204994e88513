/* SPDX-License-Identifier: MIT */
/*
 * churn.c - starts the workers and the publisher, kills one after another, starts it anew
 *
 *	churn NAME ORACLE SECONDS DIR	(DIR holds the programs worker and publisher)
 *
 * At the end it kills them all. A program that ends in any other way is a failure: status 1.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "demo.h"

#define KILL_MS_MIN 20u /* 50 on average */
#define KILL_MS_MAX 80u
#define AIM_NS 5000000u /* writes come every few microseconds, when it runs at all */

static char *name, *oracle, *dir;
static pid_t pids[DEMO_WRITERS];

static void start(unsigned i)
{
	pid_t parent = getpid();
	char path[4096], id[16];

	snprintf(path, sizeof path, "%s/%s", dir, i == DEMO_PUBLISHER ? "publisher" : "worker");
	snprintf(id, sizeof id, "%u", i);
	pids[i] = fork();
	if (pids[i] < 0)
		demo_die("fork", strerror(errno));
	if (pids[i])
		return;
	/* nothing outlives the demo, however it ends */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(3);
	execl(path, path, name, oracle, i == DEMO_PUBLISHER ? NULL : id, NULL);
	demo_die(path, strerror(errno));
}

/* Wait for the victim to be inside a write: there it hurts most. */
static void aim(const struct demo_writer *victim)
{
	uint64_t stop = demo_now() + AIM_NS;

	while (!atomic_load(&victim->writing) && demo_now() < stop)
		;
}

/* Kill a child and take its status; was the kill what ended it? */
static bool end(unsigned i)
{
	int status;

	kill(pids[i], SIGKILL);
	while (waitpid(pids[i], &status, 0) < 0)
		if (errno != EINTR)
			demo_die("waitpid", strerror(errno));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	fprintf(stderr, "demo: writer %u ended by itself: %s %d\n", i,
		WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return false;
}

int main(int argc, char **argv)
{
	uint64_t stop, random = demo_mix(demo_now()) | 1;
	bool ok = true;
	struct demo *d;

	if (argc != 5)
		demo_die("usage", "churn NAME ORACLE SECONDS DIR");
	name = argv[1];
	oracle = argv[2];
	dir = argv[4];
	d = demo_open(oracle);
	stop = demo_now() + (uint64_t)atoi(argv[3]) * 1000000000u;
	for (unsigned i = 0; i < DEMO_WRITERS; i++)
		start(i);
	while (demo_now() < stop) {
		uint64_t ms =
			KILL_MS_MIN + demo_random(&random) % (KILL_MS_MAX - KILL_MS_MIN + 1);
		struct timespec nap = {0, (long)ms * 1000000};
		unsigned victim;

		nanosleep(&nap, NULL);
		victim = (unsigned)((demo_random(&random) >> 32) % DEMO_WRITERS);
		if (demo_random(&random) >> 63) /* half of them strike wherever they strike */
			aim(&d->writers[victim]);
		ok = end(victim) && ok;
		demo_count(&d->kills);
		start(victim);
	}
	for (unsigned i = 0; i < DEMO_WRITERS; i++) {
		ok = end(i) && ok;
		demo_count(&d->kills);
	}
	return ok ? 0 : 1;
}
