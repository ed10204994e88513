/* SPDX-License-Identifier: MIT */
/*
 * tasks.c - tasks that workers claim, finish, and take over from workers that died
 *
 *	tasks NAME add TASK...           put tasks on the board
 *	tasks [-l MS] NAME work COMMAND  run "sh -c COMMAND TASK" for tasks, until all are done
 *	tasks NAME board                 show each change, until all are done
 *
 * A task is a key with a line of text: "open", "claimed W", "done W STATUS", where W is the
 * number of a worker. Every step is a put with IPCMAP_IF_VERSION of the state that was read: so
 * of all who claim a task one gets it, and a worker that lost its task cannot finish it.
 *
 * A worker has a key, too, with a life of MS (1000), which it renews while it works. A task
 * that is claimed by a worker whose key is gone is claimed anew. A worker that was only stopped
 * finds out when it wants to finish. What COMMAND did is not undone: it may run twice.
 *
 * Nobody polls: who has nothing to do sleeps until a task changes, and looks after the life of
 * a worker, in case that one died. By hand:
 *
 *	cc -o tasks tasks.c $(pkg-config --cflags --libs ipcmap)
 *	./tasks /tasks add one two three; ./tasks /tasks board &
 *	./tasks /tasks work 'sleep 1; echo "$0 is done"' & ./tasks /tasks work 'sleep 2'; wait
 *	ipcmap rm /tasks
 */
#include <ipcmap.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TASK "task:"
#define TASK_LEN (sizeof(TASK) - 1)
#define NAME_MAX_LEN 200
#define TEXT_CAP 100
#define MS UINT64_C(1000000) /* in ns */

static struct ipcmap *map;
static uint64_t life_ns = 1000 * MS; /* of a worker that says nothing */

static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "tasks: %s: %s\n", what, ipcmap_strerror(rc));
	exit(3);
}

/* ---- the state of a task ---- */

struct task {
	char key[TASK_LEN + NAME_MAX_LEN + 1]; /* with TASK before its name */
	char text[TEXT_CAP];
	uint64_t version; /* that has this text */
	int64_t worker;	  /* who claimed or finished it; 0: nobody */
	int done;
};

static int read_task(const void *key, size_t key_len, struct task *t)
{
	struct ipcmap_value v = {.buf = t->text, .cap = sizeof(t->text) - 1};
	int rc;

	if (key_len >= sizeof(t->key))
		return IPCMAP_NOTFOUND; /* not put there by this program */
	memcpy(t->key, key, key_len);
	t->key[key_len] = '\0';
	rc = ipcmap_getx(map, key, key_len, &v);
	if (rc != 0)
		return rc == IPCMAP_SHORT ? IPCMAP_NOTFOUND : rc;
	t->text[v.len] = '\0';
	t->version = v.version;
	t->worker = 0;
	t->done = sscanf(t->text, "done %" SCNd64, &t->worker) == 1;
	if (!t->done)
		sscanf(t->text, "claimed %" SCNd64, &t->worker);
	return 0;
}

/* From the state that was read to the next: 1, or 0 when somebody was faster. */
static int step(struct task *t, const char *text)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	int rc;

	how.flags = IPCMAP_IF_VERSION;
	how.version = t->version;
	how.ttl_ns = IPCMAP_TTL_NONE;
	rc = ipcmap_put(map, t->key, strlen(t->key), text, strlen(text), &how);
	if (rc == IPCMAP_MISMATCH || rc == IPCMAP_NOTFOUND)
		return 0;
	if (rc != 0)
		die(t->key, rc);
	return read_task(t->key, strlen(t->key), t) == 0 && strcmp(t->text, text) == 0;
}

static int each_task(int (*each)(void *arg, const struct ipcmap_item *item), void *arg)
{
	uint64_t cursor = 0;
	int rc = ipcmap_scan(map, &cursor, TASK, TASK_LEN, IPCMAP_SCAN_KEYS, each, arg);

	if (rc < 0)
		die("scan", rc);
	return rc;
}

/* ---- workers ---- */

static size_t worker_key(int64_t worker, char *key, size_t cap)
{
	return (size_t)snprintf(key, cap, "worker:%" PRId64, worker);
}

static int is_alive(int64_t worker)
{
	char key[40];

	/* in doubt, yes */
	return ipcmap_exists(map, key, worker_key(worker, key, sizeof(key))) != 0;
}

/* The key comes again when it had expired: we were stopped for so long. */
static void say_alive(int64_t self)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char key[40];
	int rc;

	how.ttl_ns = life_ns;
	rc = ipcmap_put(map, key, worker_key(self, key, sizeof(key)), "", 0, &how);
	if (rc != 0)
		die(key, rc);
}

/* Run the command, and say all the time that we are alive: its status as wait(2) has it. */
static int run(int64_t self, const char *command, const char *name)
{
	const struct timespec nap = {(time_t)(life_ns / 4 / (1000 * MS)),
				     (long)(life_ns / 4 % (1000 * MS))};
	sigset_t child;
	int status;
	pid_t pid;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	pid = fork();
	if (pid < 0)
		die("fork", -errno);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not go on when we are gone */
		sigprocmask(SIG_UNBLOCK, &child, NULL);
		execl("/bin/sh", "sh", "-c", command, name, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		say_alive(self);
		sigtimedwait(&child, NULL, &nap);
	}
	say_alive(self);
	return status;
}

struct looking {
	struct task task; /* the one that was claimed */
	int64_t self;
	int left; /* tasks that are not done */
};

static int claim(void *arg, const struct ipcmap_item *item)
{
	struct looking *l = arg;
	struct task *t = &l->task;
	char text[TEXT_CAP];

	if (read_task(item->key, item->key_len, t) != 0 || t->done)
		return 0;
	l->left++;
	if (t->worker && is_alive(t->worker))
		return 0;
	snprintf(text, sizeof(text), "claimed %" PRId64, l->self);
	return step(t, text); /* 1 ends the scan */
}

static void work(const char *command)
{
	struct looking l = {.left = 1};
	struct ipcmap_watch *watch;
	struct ipcmap_event e;
	char text[TEXT_CAP];
	int rc, status;

	/* first the watch, then the looks: no change falls in between */
	rc = ipcmap_watch_open(map, TASK, TASK_LEN, IPCMAP_WATCH_PREFIX, &watch);
	if (rc == 0)
		rc = ipcmap_add(map, "workers", 7, 1, NULL, &l.self);
	if (rc != 0)
		die("work", rc);
	while (l.left > 0) {
		say_alive(l.self);
		l.left = 0;
		if (each_task(claim, &l)) {
			status = run(l.self, command, l.task.key + TASK_LEN);
			status = WIFEXITED(status) ? WEXITSTATUS(status)
						   : 128 + WTERMSIG(status);
			snprintf(text, sizeof(text), "done %" PRId64 " %d", l.self, status);
			if (!step(&l.task, text))
				printf("worker %" PRId64 " lost %s\n", l.self,
				       l.task.key + TASK_LEN);
			l.left = 1; /* look on */
		} else if (l.left > 0) {
			rc = ipcmap_watch_next(watch, life_ns / 4, &e);
			if (rc != 0 && rc != IPCMAP_BUSY)
				die("watch", rc);
		}
	}
	ipcmap_watch_close(watch);
}

/* ---- the board ---- */

static int show(void *arg, const struct ipcmap_item *item)
{
	struct task t;

	(void)arg;
	if (read_task(item->key, item->key_len, &t) == 0)
		printf("%s %s\n", t.key + TASK_LEN, t.text);
	return 0;
}

static int count_undone(void *arg, const struct ipcmap_item *item)
{
	struct task t;

	if (read_task(item->key, item->key_len, &t) == 0 && !t.done)
		++*(int *)arg;
	return 0;
}

/* How long to wait for the next event: when all are done only for those that are there. */
static uint64_t patience(void)
{
	int left = 0;

	each_task(count_undone, &left);
	return left ? IPCMAP_FOREVER : IPCMAP_NOWAIT;
}

/* What a task is now may be newer than the event; then its next event says the same again. */
static void board(void)
{
	struct ipcmap_watch *watch;
	struct ipcmap_event e;
	int rc;

	rc = ipcmap_watch_open(map, TASK, TASK_LEN, IPCMAP_WATCH_PREFIX, &watch);
	if (rc != 0)
		die("watch", rc);
	each_task(show, NULL);
	fflush(stdout);
	while ((rc = ipcmap_watch_next(watch, patience(), &e)) == 0) {
		if (!e.key) /* IPCMAP_EVENT_GAP or CLEAR: all of it anew */
			each_task(show, NULL);
		else
			show(NULL, &(struct ipcmap_item){.key = e.key, .key_len = e.key_len});
		fflush(stdout);
	}
	if (rc != IPCMAP_BUSY)
		die("watch", rc);
	ipcmap_watch_close(watch);
}

static void add(char **names)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char key[TASK_LEN + NAME_MAX_LEN + 1];
	int rc;

	how.flags = IPCMAP_IF_ABSENT;
	how.ttl_ns = IPCMAP_TTL_NONE;
	for (; *names; names++) {
		if (strlen(*names) > NAME_MAX_LEN)
			die(*names, IPCMAP_TOOBIG);
		snprintf(key, sizeof(key), TASK "%s", *names);
		rc = ipcmap_put(map, key, strlen(key), "open", 4, &how);
		if (rc != 0)
			die(*names, rc);
	}
}

int main(int argc, char **argv)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	const char *verb;
	char why[200] = "";
	int c, rc;

	while ((c = getopt(argc, argv, "+l:")) == 'l')
		life_ns = strtoull(optarg, NULL, 10) * MS;
	argv += optind;
	argc -= optind;
	verb = argc > 1 ? argv[1] : "";
	if (c != -1 || life_ns < 10 * MS ||
	    !(strcmp(verb, "board") == 0 ? argc == 2
	      : strcmp(verb, "work") == 0 ? argc == 3
					  : strcmp(verb, "add") == 0 && argc > 2)) {
		fprintf(stderr, "usage: tasks NAME add TASK...\n"
				"       tasks [-l MS] NAME work COMMAND\n"
				"       tasks NAME board\n");
		return 2;
	}
	opt.flags = IPCMAP_CREATE;
	opt.why = why;
	opt.why_cap = sizeof(why);
	rc = ipcmap_open(argv[0], &opt, &map);
	if (rc != 0)
		die(*why ? why : argv[0], rc);
	if (*verb == 'a')
		add(argv + 2);
	else if (*verb == 'w')
		work(argv[2]);
	else
		board();
	ipcmap_close(map);
	return 0;
}
