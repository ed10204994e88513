/* SPDX-License-Identifier: MIT */
/*
 * prefork.c - a web server whose workers follow a live configuration
 *
 *	prefork NAME SOCKET [WORKERS]
 *
 * A master opens map NAME, listens on a unix socket and forks workers that answer. Their
 * configuration is the snapshot table "greeter" of the map. Before each answer a worker looks,
 * by one load, for a newer version: nobody restarts, signals or parses anything, and no answer
 * is made of two versions. A worker that was killed is replaced. By hand:
 *
 *	cc -o prefork prefork.c $(pkg-config --cflags --libs ipcmap)
 *	./prefork /prefork ./prefork.sock &
 *	curl --unix-socket ./prefork.sock http://localhost/world
 *	printf 'greeting=good evening\nmark=.\n' | ipcmap snapshot publish /prefork greeter -
 *	curl --unix-socket ./prefork.sock http://localhost/world
 *	kill %1; wait; ipcmap rm /prefork
 */
#include <ipcmap.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TABLE "greeter"
#define WORKERS_MAX 64
#define REQUEST_CAP 4096
#define IDLE_S 1    /* after which an idle worker looks for a new version, too */
#define CLIENT_S 10 /* for which a silent client can occupy a worker */

/* The errors of ipcmap are negative errno values, so this serves for both. */
static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "prefork: %s: %s\n", what, ipcmap_strerror(rc));
	exit(3);
}

static void receive_timeout(int fd, time_t seconds)
{
	const struct timeval limit = {seconds, 0};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		die("setsockopt", -errno);
}

/* The current version: the held one as long as it is that, or while there is no other. */
static struct ipcmap_snapshot *current(struct ipcmap *map, struct ipcmap_snapshot *held)
{
	struct ipcmap_snapshot *fresh;
	int rc;

	if (held && !ipcmap_snapshot_newer(held))
		return held;
	rc = ipcmap_snapshot_open(map, TABLE, 0, &fresh);
	if (rc != 0 && !held)
		die(TABLE, rc);
	if (rc != 0)
		return held; /* the table was dropped, or memory is short: go on as before */
	ipcmap_snapshot_close(held);
	return fresh;
}

/* A value lies in the map, with a zero byte after it: a string while the version is held. */
static const char *setting(struct ipcmap_snapshot *config, const char *key, const char *none)
{
	const void *val;
	size_t len;
	int rc = ipcmap_snapshot_get(config, key, strlen(key), &val, &len);

	if (rc != 0 && rc != IPCMAP_NOTFOUND)
		die(key, rc);
	return rc == 0 ? val : none;
}

static void answer(struct ipcmap_snapshot *config, int conn)
{
	char request[REQUEST_CAP], who[64] = "nobody";
	size_t len = 0;
	ssize_t n;

	do {
		n = recv(conn, request + len, sizeof(request) - 1 - len, 0);
		if (n <= 0)
			return; /* gone, silent for too long, or too long a request */
		len += (size_t)n;
		request[len] = '\0';
	} while (!strstr(request, "\r\n\r\n"));
	sscanf(request, "GET /%63s", who);
	dprintf(conn, "HTTP/1.0 200 OK\r\n\r\n%s, %s%s version %llu, worker %d\n",
		setting(config, "greeting", "hello"), who, setting(config, "mark", ""),
		(unsigned long long)ipcmap_snapshot_version(config), (int)getpid());
}

static _Noreturn void work(struct ipcmap *map, int listener)
{
	struct ipcmap_snapshot *config = NULL;

	for (;;) {
		int conn = accept(listener, NULL, NULL), err = errno;

		/* when nobody came, too: while a version is held its memory stays taken */
		config = current(map, config);
		if (conn >= 0) {
			receive_timeout(conn, CLIENT_S);
			answer(config, conn);
			close(conn);
		} else if (err != EAGAIN && err != EINTR && err != ECONNABORTED) {
			die("accept", -err);
		}
	}
}

/* The map was opened by the master; a forked child uses it as it is. */
static pid_t start_worker(struct ipcmap *map, int listener, const sigset_t *signals)
{
	pid_t master = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* no worker outlives the master ... */
	if (getppid() != master)	  /* ... also when that died before this line */
		_exit(3);
	signal(SIGPIPE, SIG_IGN); /* a client may leave before its answer */
	sigprocmask(SIG_UNBLOCK, signals, NULL);
	work(map, listener);
}

/* Keep n workers running until SIGTERM or SIGINT. */
static void tend(struct ipcmap *map, int listener, int n)
{
	const struct timespec pause = {0, 50000000}, second = {1, 0};
	pid_t pids[WORKERS_MAX] = {0}, pid;
	sigset_t signals;
	int sig;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	do {
		for (int i = 0; i < n; i++)
			if (pids[i] <= 0) /* -1: fork() failed; tried again in a second */
				pids[i] = start_worker(map, listener, &signals);
		sig = sigtimedwait(&signals, NULL, &second);
		if (sig == SIGCHLD)
			nanosleep(&pause, NULL); /* the new ones may die at once, too */
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			for (int i = 0; i < n; i++)
				pids[i] = pids[i] == pid ? 0 : pids[i];
	} while (sig != SIGTERM && sig != SIGINT);
	for (int i = 0; i < n; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGTERM);
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	const struct ipcmap_pair first[] = {{"greeting", 8, "hello", 5}, {"mark", 4, "!", 1}};
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int rc, listener, n = argc == 4 ? atoi(argv[3]) : 4;
	struct ipcmap_snapshot *config = NULL;
	struct ipcmap *map;

	if (argc < 3 || argc > 4 || n < 1 || n > WORKERS_MAX)
		die("usage: prefork NAME SOCKET [WORKERS]", IPCMAP_INVALID);
	if (strlen(argv[2]) >= sizeof(at.sun_path))
		die(argv[2], -ENAMETOOLONG);
	opt.flags = IPCMAP_CREATE;
	opt.limit = 4 << 20;
	rc = ipcmap_open(argv[1], &opt, &map);
	if (rc != 0)
		die(argv[1], rc);
	rc = ipcmap_snapshot_open(map, TABLE, 0, &config);
	if (rc == IPCMAP_NOTFOUND) /* nobody has configured us yet */
		rc = ipcmap_snapshot_publish(map, TABLE, first, 2, NULL, NULL, 0);
	if (rc != 0)
		die(TABLE, rc);
	ipcmap_snapshot_close(config);

	strcpy(at.sun_path, argv[2]);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 64) < 0)
		die(argv[2], -errno);
	receive_timeout(listener, IDLE_S);
	tend(map, listener, n);
	unlink(argv[2]);
	ipcmap_close(map);
	return 0;
}
