/* SPDX-License-Identifier: MIT */
/*
 * cmd-exec.c - ipcmap exec: run a program with a snapshot's keys, and tell it of new versions
 *
 * One thread sleeps until there is another version and says so through an eventfd. The main
 * thread waits for that and for signals, which are all blocked and read from a signalfd, and
 * does everything else; so nothing here runs in a signal handler. The program is started by
 * posix_spawn(3): no handler of fork(2), the library's among them, runs for it.
 *
 * The thread also notices that another map has got the name, attaches it, and hands it over
 * with the next word of news; the main thread closes the one before when it goes over.
 *
 * A version that cannot be the program's environment or files is complained of, and the
 * program goes on with the one it has: this is looked at before it is stopped.
 *
 * All children are waited for, not only the program: as the first process of a container we
 * get those whose parents died.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exec.h"
#include "remade.h"

#define LOOK_NS 1000000000ull	     /* for another map of the name: as often as that is done */
#define KILL_AFTER_NS 10000000000ull /* as other supervisors give a program to end */
#define CANNOT_RUN 126		     /* as shells have it */
#define NO_PROGRAM 127

enum { PREFIX = OPT_OWN, FILES, ENV, SIGNAL, RESTART, KILL_AFTER, WAIT, NO_TRANSFORM };

static const struct opt opts[] = {
	{PREFIX, "prefix", "P", "only keys that begin with P, which is left out of their names"},
	{FILES, "files", "DIR", "the keys are files in DIR, a symbolic link that is switched"},
	{ENV, "env", NULL, "the keys are environment variables (default)"},
	{SIGNAL, "signal", "SIG", "a new version: send SIG to CMD, and do not restart it"},
	{RESTART, "restart", NULL, "a new version: restart CMD (default)"},
	{KILL_AFTER, "kill-after", "D",
	 "restart: SIGKILL when CMD has not ended D after SIGTERM (10s)"},
	{WAIT, "wait", "[=D]", "wait for a first version, at most D"},
	{NO_TRANSFORM, "no-transform", NULL, "names of variables are the keys as they are"},
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

extern char **environ;

struct job {
	struct exec_how how;
	struct ipcmap *map;
	const char *table;
	char **argv;
	char **env;	  /* of the version below, or with files that of this process */
	uint64_t version; /* in force; 0: none yet */
	int signal;	  /* to send; 0: restart */
	uint64_t kill_after_ns;
	uint64_t wait_until; /* for a first version; 0: none is waited for */
	sigset_t own, was;   /* signals blocked here, and when we began */
	int signals, news;   /* descriptors */
	_Atomic int err;     /* why the thread ended */
	struct remade remade;		/* the thread's */
	struct ipcmap *_Atomic another; /* from the thread: the one that has the name now */
	bool anew;			/* of the present map no version was taken so far */
	pid_t pid;	     /* 0: not running */
	int status;	     /* as waitpid(2) has it, after it ran */
	bool stopping;	     /* for a restart */
	uint64_t kill_at;
	bool ending; /* we were told to end: no restart */
	bool missed; /* a new version came while it was being stopped */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the thread ---- */

static void *watch(void *arg)
{
	const struct timespec nap = {0, LOOK_NS / 10};
	struct job *j = arg;
	struct ipcmap *map = j->map, *next;
	uint64_t seen = j->version, one = 1;
	int rc;

	for (;;) {
		rc = ipcmap_snapshot_wait(map, j->table, seen, LOOK_NS, &seen);
		/* the one before must have been taken: two at once are not to be had */
		next = j->another ? NULL : remade_look(&j->remade, map);
		if (next) {
			seen = 0;
			j->another = map = next;
		} else if (rc == IPCMAP_BUSY) {
			continue;
		} else if (rc == IPCMAP_MISMATCH) {
			nanosleep(&nap, NULL); /* a repaired one will be found by the name */
			continue;
		} else if (rc < 0) {
			j->err = rc;
		}
		if (write(j->news, &one, sizeof one) < 0)
			break; /* the count is full: it was told often enough */
		if (rc < 0 && !next)
			break;
	}
	return NULL;
}

/* ---- the program ---- */

/* 0, or the exit status. */
static int start(struct job *j)
{
	posix_spawnattr_t attr;
	int err;

	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &j->was);
	err = posix_spawnp(&j->pid, j->argv[0], NULL, &attr, j->argv, j->env);
	posix_spawnattr_destroy(&attr);
	if (!err)
		return 0;
	j->pid = 0;
	say(j->argv[0], "%s", strerror(err));
	return err == ENOENT ? NO_PROGRAM : err == E2BIG || err == ENOMEM ? BAD : CANNOT_RUN;
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void reap(struct job *j)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != j->pid)
			continue;
		j->pid = 0;
		j->status = status;
	}
}

/*
 * The current version, unless it is in force already: its environment or files are made. 0:
 * it is in force now; NOT: there is none, or nothing new; BAD, and that was said.
 */
static int take_version(struct job *j)
{
	struct ipcmap_snapshot *snap;
	uint64_t version;
	char **env;
	bool ok;
	int rc = ipcmap_snapshot_open(j->map, j->table, 0, &snap);

	if (rc == IPCMAP_NOTFOUND) {
		if (j->version && j->anew)
			say(j->how.name, "another map has the name, without %s: %s keeps what it "
			    "has", j->table, j->argv[0]);
		else if (j->version)
			say(j->how.name, "%s was dropped: %s keeps what it has", j->table,
			    j->argv[0]);
		return NOT;
	}
	if (rc < 0) {
		say_error(j->how.name, j->table, strlen(j->table), rc);
		return BAD;
	}
	version = ipcmap_snapshot_version(snap);
	if (version == j->version && !j->anew) {
		ipcmap_snapshot_close(snap);
		return NOT;
	}
	if (j->how.files) {
		ok = exec_files(&j->how, snap);
	} else {
		env = exec_env(&j->how, snap, j->argv);
		ok = env != NULL;
		if (ok && j->version)
			exec_env_free(j->env);
		if (ok)
			j->env = env;
	}
	ipcmap_snapshot_close(snap);
	if (!ok) {
		if (j->version)
			say(j->how.name, "version %llu of %s is not used", (unsigned long long)version,
			    j->table);
		return BAD;
	}
	j->version = version;
	j->anew = false;
	return 0;
}

/* Another map has the name: that is the one from here on. */
static void go_over(struct job *j)
{
	struct ipcmap_stat s = {.struct_size = sizeof s};
	struct ipcmap *next = j->another;

	if (!next)
		return;
	ipcmap_close(j->map);
	j->map = next;
	j->anew = true;
	if (ipcmap_stat(next, &s) == 0)
		j->how.mode = s.mode;
	j->another = NULL;
}

static void tell(struct job *j)
{
	if (j->signal) {
		kill(j->pid, j->signal);
		return;
	}
	j->stopping = true;
	j->kill_at = now_ns() + j->kill_after_ns;
	kill(j->pid, SIGTERM);
	kill(j->pid, SIGCONT); /* a stopped one would not hear of it */
}

/* There may be a new version. -1 to go on, or the exit status. */
static int look(struct job *j)
{
	int rc;

	if (j->ending)
		return -1;
	if (j->stopping) {
		j->missed = true;
		return -1;
	}
	rc = take_version(j);
	if (j->pid) {
		if (rc == 0)
			tell(j);
		return -1;
	}
	if (rc == NOT)
		return -1;
	rc = rc ? rc : start(j);
	return rc ? rc : -1;
}

/* It has ended. -1: it was started again. */
static int ended(struct job *j)
{
	int rc;

	if (!j->stopping || j->ending)
		return exit_status(j->status);
	j->stopping = false;
	exec_files_tidy();
	if (j->missed)
		take_version(j);
	j->missed = false;
	rc = start(j);
	return rc ? rc : -1;
}

/* ---- signals ---- */

static bool ends_us(int sig)
{
	return sig == SIGTERM || sig == SIGINT || sig == SIGQUIT || sig == SIGHUP;
}

static void choose_signals(sigset_t *set)
{
	static const int left_alone[] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGABRT, SIGTRAP,
					 SIGSYS,  SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU};

	sigfillset(set);
	for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++)
		sigdelset(set, left_alone[i]);
}

/* -1 to go on, or the exit status. */
static int pass_on(struct job *j, const struct signalfd_siginfo *info)
{
	int sig = (int)info->ssi_signo;

	if (sig == SIGCHLD)
		return -1;
	if (!j->pid)
		return ends_us(sig) ? 128 + sig : -1;
	/* a program may take SIGINT for something else, but not while it is being stopped */
	if (sig == SIGTERM || (j->stopping && ends_us(sig)))
		j->ending = true;
	/* from a terminal it went to all of the group, the program among them */
	if (info->ssi_code != SI_KERNEL)
		kill(j->pid, sig);
	return -1;
}

static int read_signals(struct job *j)
{
	struct signalfd_siginfo info;
	int rc = -1;

	while (rc < 0 && read(j->signals, &info, sizeof info) == (ssize_t)sizeof info)
		rc = pass_on(j, &info);
	return rc;
}

/* ---- all of it ---- */

/* Milliseconds until something is due, rounded up; -1: nothing is. */
static int patience(const struct job *j)
{
	uint64_t at = j->stopping ? j->kill_at : j->pid ? 0 : j->wait_until, now = now_ns(), ms;

	if (!at || at == UINT64_MAX)
		return -1;
	ms = at > now ? (at - now + 999999) / 1000000 : 0;
	return ms > 1000000 ? 1000000 : (int)ms;
}

static bool is_over(uint64_t until)
{
	return until && until != UINT64_MAX && now_ns() >= until;
}

static int on_news(struct job *j)
{
	uint64_t n;

	if (read(j->news, &n, sizeof n) < 0)
		return -1;
	go_over(j);
	if (j->err) {
		say(j->how.name, "%s: not watched any more: %s", j->table,
		    ipcmap_strerror(j->err));
		return j->pid || j->stopping ? -1 : BAD;
	}
	return look(j);
}

static int supervise(struct job *j)
{
	struct pollfd p[2] = {{j->signals, POLLIN, 0}, {j->news, POLLIN, 0}};
	int rc;

	for (;;) {
		bool ran = j->pid != 0;

		if (poll(p, 2, patience(j)) < 0 && errno != EINTR)
			return BAD;
		rc = read_signals(j);
		if (rc >= 0)
			return rc;
		reap(j);
		if (ran && !j->pid) {
			rc = ended(j);
			if (rc >= 0)
				return rc;
		}
		if (p[1].revents && (rc = on_news(j)) >= 0)
			return rc;
		if (j->stopping && j->pid && now_ns() >= j->kill_at) {
			kill(j->pid, SIGKILL);
			j->kill_at = UINT64_MAX;
		}
		if (!j->pid && !j->version && is_over(j->wait_until)) {
			say(j->how.name, "%s: no version came", j->table);
			return NOT;
		}
	}
}

static int begin(struct job *j)
{
	pthread_t thread;
	int rc;

	signal(SIGCHLD, SIG_DFL); /* ignored, which is inherited, it would lose the status */
	choose_signals(&j->own);
	sigprocmask(SIG_BLOCK, &j->own, &j->was);
	j->signals = signalfd(-1, &j->own, SFD_CLOEXEC | SFD_NONBLOCK);
	j->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->signals < 0 || j->news < 0) {
		say(j->how.name, "%s", strerror(errno));
		return BAD;
	}
	rc = take_version(j);
	if (rc == 0)
		rc = start(j);
	else if (rc == NOT && j->wait_until)
		rc = 0;
	else if (rc == NOT)
		return snap_error(j->how.name, j->table, IPCMAP_NOTFOUND, "no such table");
	if (rc)
		return rc;
	errno = pthread_create(&thread, NULL, watch, j);
	if (errno) {
		say(j->how.name, "%s", strerror(errno));
		if (j->pid)
			kill(j->pid, SIGTERM);
		return BAD;
	}
	return supervise(j);
}

static int signal_number(struct args *a, const char *arg)
{
	const char *name = strncasecmp(arg, "SIG", 3) == 0 ? arg + 3 : arg;

	for (int sig = 1; sig < NSIG; sig++) {
		const char *abbrev = sigabbrev_np(sig);

		if (abbrev && strcasecmp(name, abbrev) == 0)
			return sig;
	}
	if (*arg >= '1' && *arg <= '9')
		return (int)opt_number(a, "--signal", arg, 10, (uint64_t)SIGRTMAX);
	args_usage(a, "--signal %s: not the name or number of a signal", arg);
}

static void parse(struct args *a, struct job *j)
{
	bool env = false, restart = false, kill_after = false;
	int c;

	while ((c = args_next(a)) != -1) {
		switch (c) {
		case PREFIX:
			j->how.prefix = optarg;
			break;
		case FILES:
			j->how.files = optarg;
			break;
		case ENV:
			env = true;
			break;
		case SIGNAL:
			j->signal = signal_number(a, optarg);
			break;
		case RESTART:
			restart = true;
			break;
		case KILL_AFTER:
			j->kill_after_ns = opt_duration(a, "--kill-after", optarg);
			kill_after = true;
			break;
		case WAIT:
			j->wait_until = optarg ? now_ns() + opt_duration(a, "--wait", optarg)
					       : UINT64_MAX;
			break;
		case NO_TRANSFORM:
			j->how.as_they_are = true;
			break;
		}
	}
	if (j->how.files && (env || j->how.as_they_are))
		args_usage(a, "--files and %s: one of them",
			   env ? "--env" : "--no-transform");
	if (j->signal && (restart || kill_after))
		args_usage(a, "--signal and %s: one of them",
			   restart ? "--restart" : "--kill-after");
	if (j->how.files && !j->how.files[strspn(j->how.files, "/.")])
		args_usage(a, "--files %s: not a name that a link can have", j->how.files);
}

static int run(struct args *a)
{
	struct job j = {.how = {.prefix = ""}, .kill_after_ns = KILL_AFTER_NS};
	struct ipcmap_stat s = {.struct_size = sizeof s};
	const char *name;
	size_t n;
	int rc;

	parse(a, &j);
	name = j.how.name = args_take(a, "NAME");
	j.table = snap_table(a);
	args_take(a, "CMD");
	j.argv = a->argv + --optind;
	if (j.how.files) {
		char *path = strdup(j.how.files);

		if (!path)
			die_nomem();
		for (n = strlen(path); n > 1 && path[n - 1] == '/';)
			path[--n] = '\0';
		j.how.files = path;
	}
	remade_init(&j.remade, a, name, IPCMAP_RDONLY, "going on with what there is");
	j.map = attach(a, name, IPCMAP_RDONLY);
	if (!j.map)
		return BAD;
	rc = ipcmap_stat(j.map, &s);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	j.how.mode = s.mode;
	j.env = environ;
	rc = begin(&j);
	exec_files_tidy();
	return rc;
}

const struct verb cmd_exec = {
	.name = "exec",
	.operands = "NAME TABLE -- CMD [ARG]...",
	.summary = "run a program with a snapshot's keys, again for each version",
	.opts = opts,
	.notes = "Variables are keys in capitals, other characters than letters and digits\n"
		 "are _: db.host is DB_HOST. Two keys for one variable are an error. What\n"
		 "cannot be used leaves CMD with what it has. Signals are passed on to CMD.\n"
		 "Status: CMD's, 128+n when signal n killed it; 126 it cannot be run, 127 it\n"
		 "is not there; 1 there is no such table; 2 and 3 as for all verbs.\n",
	.run = run,
};
