/* SPDX-License-Identifier: MIT */
/*
 * permissions.c - rights that are gone for all workers when revoke returns
 *
 *	permissions NAME grant USER RIGHT     permissions NAME revoke USER RIGHT
 *	permissions NAME ask USER RIGHT       exit status 0: allowed, 1: not
 *	permissions NAME watch-out WORKERS N  grant and revoke N times under the eyes of workers
 *
 * A right is a key. A cache in each worker would go on saying "allowed" until it is told, or
 * its copy expires; here each question is a get of the one map, which costs about as much as a
 * look into such a cache. A get that begins after ipcmap_del() has returned does not find the
 * key, in any process: so nothing has to be told to anybody. By hand:
 *
 *	cc -o permissions permissions.c $(pkg-config --cflags --libs ipcmap)
 *	./permissions /rights grant ann write; ./permissions /rights ask ann write && echo yes
 *	./permissions /rights revoke ann write; ./permissions /rights ask ann write || echo no
 *	./permissions /rights watch-out 4 10000; ipcmap rm /rights
 */
#include <ipcmap.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX 64

static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "permissions: %s: %s\n", what, ipcmap_strerror(rc));
	exit(3);
}

/* The separator can be in no name of a user or a right: they are words of the command line. */
static size_t key_of(const char *user, const char *right, char *key, size_t cap)
{
	int n = snprintf(key, cap, "may%c%s%c%s", 0, user, 0, right);

	if (n < 0 || (size_t)n >= cap)
		die("a name is too long", IPCMAP_TOOBIG);
	return (size_t)n;
}

static void grant(struct ipcmap *map, const char *user, const char *right)
{
	char key[500];
	int rc = ipcmap_put(map, key, key_of(user, right, key, sizeof(key)), "", 0, NULL);

	if (rc != 0)
		die("grant", rc);
}

static void withdraw(struct ipcmap *map, const char *user, const char *right)
{
	char key[500];
	int rc = ipcmap_del(map, key, key_of(user, right, key, sizeof(key)));

	if (rc != 0 && rc != IPCMAP_NOTFOUND)
		die("revoke", rc);
}

/* When in doubt, no. */
static int may(struct ipcmap *map, const char *user, const char *right)
{
	char key[500];

	return ipcmap_exists(map, key, key_of(user, right, key, sizeof(key))) == 1;
}

/* ---- watching out ---- */

/* Grants end and begin in turn: an odd number is one that stands. */
struct shared {
	atomic_uint turn;
	atomic_uint stop;
	atomic_ulong asked, allowed, too_late;
};

/* Wrong is "allowed" while the right was revoked from before the question until after it. */
static void ask_all_the_time(struct ipcmap *map, struct shared *sh)
{
	while (!atomic_load(&sh->stop)) {
		unsigned before = atomic_load(&sh->turn);
		int yes = may(map, "ann", "write");
		unsigned after = atomic_load(&sh->turn);

		atomic_fetch_add(&sh->asked, 1);
		if (yes)
			atomic_fetch_add(&sh->allowed, 1);
		if (yes && before == after && before % 2 == 0)
			atomic_fetch_add(&sh->too_late, 1);
	}
}

static void watch_out(struct ipcmap *map, int workers, int n)
{
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	if (sh == MAP_FAILED)
		die("mmap", -errno);
	for (int i = 0; i < workers; i++) {
		pid = fork();
		if (pid < 0)
			die("fork", -errno);
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			ask_all_the_time(map, sh);
			_exit(0);
		}
	}
	/* until each of them has seen something, however long they take to start */
	for (int i = 0; i < n || !atomic_load(&sh->allowed) ||
			atomic_load(&sh->allowed) == atomic_load(&sh->asked);
	     i++) {
		atomic_fetch_add(&sh->turn, 1); /* odd: from here on "allowed" is right */
		grant(map, "ann", "write");
		withdraw(map, "ann", "write");
		atomic_fetch_add(&sh->turn, 1); /* even: it is not any more */
	}
	atomic_store(&sh->stop, 1);
	while (wait(NULL) > 0)
		;
	printf("%lu questions, %lu allowed, %lu of them too late\n", atomic_load(&sh->asked),
	       atomic_load(&sh->allowed), atomic_load(&sh->too_late));
	if (atomic_load(&sh->too_late))
		exit(1);
}

int main(int argc, char **argv)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	const char *what = argc > 2 ? argv[2] : "";
	struct ipcmap *map;
	char why[200] = "";
	int rc, status = 0;

	if (argc != 5) {
		fprintf(stderr, "usage: permissions NAME grant|revoke|ask USER RIGHT\n"
				"       permissions NAME watch-out WORKERS N\n");
		return 2;
	}
	opt.flags = IPCMAP_CREATE;
	opt.why = why;
	opt.why_cap = sizeof(why);
	rc = ipcmap_open(argv[1], &opt, &map);
	if (rc != 0)
		die(why, rc);
	if (strcmp(what, "grant") == 0) {
		grant(map, argv[3], argv[4]);
	} else if (strcmp(what, "revoke") == 0) {
		withdraw(map, argv[3], argv[4]);
	} else if (strcmp(what, "ask") == 0) {
		status = !may(map, argv[3], argv[4]);
	} else if (strcmp(what, "watch-out") == 0 && atoi(argv[3]) > 0 &&
		   atoi(argv[3]) <= WORKERS_MAX && atoi(argv[4]) > 0) {
		watch_out(map, atoi(argv[3]), atoi(argv[4]));
	} else {
		fprintf(stderr, "permissions: %s: not a verb, or its numbers are wrong\n", what);
		status = 2;
	}
	ipcmap_close(map);
	return status;
}
