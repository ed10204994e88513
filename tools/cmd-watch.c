/* SPDX-License-Identifier: MIT */
/*
 * cmd-watch.c - ipcmap watch: a line for each change of a key, of some keys, of all
 *
 * SIGINT and SIGTERM end it between two lines: the watch is closed, so that the map has its
 * memory back at once, and then the signal does what it always does.
 *
 * When another map gets the name it goes over to that, with a line that says so: all keys that
 * were known are gone. The watch of the new one is open before the line is printed, so who
 * reads the map after the line, and follows the next ones, misses nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"
#include "remade.h"

/* An interrupt that comes just before a wait is noticed after it. */
#define SLICE_NS UINT64_C(500000000)

enum { PREFIX = OPT_OWN, COUNT };

static const struct opt opts[] = {
	{PREFIX, "prefix", "P", "the keys that begin with P"},
	{COUNT, "count", "N", "end after N events"},
	{OPT_TIMEOUT, "timeout", "D", "end, with status 1, when nothing happened for D"},
	OPT_ROW_CODE,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static volatile sig_atomic_t caught;
static struct ipcmap *watched;

/* What is watched, and how. */
struct follow {
	const void *key;
	size_t key_len;
	unsigned what;
	struct ipcmap_watch *watch;
	struct remade remade;
};

static void on_signal(int sig)
{
	caught = sig;
	ipcmap_interrupt(watched);
}

static void catch_signals(void)
{
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, was;

	/* what was ignored, as in the background of a script, stays so */
	if (sigaction(SIGINT, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
		sigaction(SIGINT, &act, NULL);
	if (sigaction(SIGTERM, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
		sigaction(SIGTERM, &act, NULL);
}

static const char *op_name(unsigned op)
{
	static const char *const names[] = {
		[IPCMAP_EVENT_PUT] = "put",	  [IPCMAP_EVENT_DEL] = "del",
		[IPCMAP_EVENT_EXPIRE] = "expire", [IPCMAP_EVENT_EVICT] = "evict",
		[IPCMAP_EVENT_CLEAR] = "clear",	  [IPCMAP_EVENT_GAP] = "gap",
	};

	return op < sizeof names / sizeof *names && names[op] ? names[op] : "other";
}

static void show(const struct ipcmap_event *e)
{
	json_t *obj = json_object();

	json_object_set_new(obj, "op", json_string(op_name(e->op)));
	if (e->key)
		json_set_bytes(obj, "key", e->key, e->key_len);
	if (e->op != IPCMAP_EVENT_GAP)
		json_set_number(obj, "version", e->version);
	json_set_number(obj, "group", e->group);
	out_json(obj);
	fflush(stdout);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* No signal must find a map that is closed. */
static void go_over(struct ipcmap *next)
{
	struct ipcmap *last = watched;
	sigset_t all, was;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &was);
	watched = next;
	sigprocmask(SIG_SETMASK, &was, NULL);
	ipcmap_close(last);
}

/* 1: another map has the name, and is watched now; 0: none has, or not yet; an error. */
static int look_for_another(struct follow *f)
{
	struct ipcmap *next = remade_look(&f->remade, watched);
	struct ipcmap_watch *watch;
	json_t *obj;
	int rc;

	if (!next)
		return 0;
	rc = ipcmap_watch_open(next, f->key, f->key_len, f->what, &watch);
	if (rc < 0) {
		ipcmap_close(next);
		return rc;
	}
	ipcmap_watch_close(f->watch);
	f->watch = watch;
	go_over(next);
	obj = json_object();
	json_object_set_new(obj, "op", json_string("remade"));
	out_json(obj);
	fflush(stdout);
	return 1;
}

/* Up to @count events; the status, or an error of the library. */
static int follow(struct follow *f, uint64_t count, uint64_t timeout_ns)
{
	uint64_t since = now_ns();
	struct ipcmap_event e;

	for (uint64_t n = 0; n < count && !caught && !out_failed();) {
		uint64_t idle = now_ns() - since, wait = SLICE_NS;
		int rc = look_for_another(f);

		if (rc < 0)
			return rc;
		if (rc) {
			n++;
			since = now_ns();
			continue;
		}

		if (timeout_ns && timeout_ns != IPCMAP_FOREVER) {
			uint64_t left = timeout_ns == IPCMAP_NOWAIT || idle >= timeout_ns
						? IPCMAP_NOWAIT
						: timeout_ns - idle;

			wait = left == IPCMAP_NOWAIT || left < wait ? left : wait;
		}
		rc = ipcmap_watch_next(f->watch, wait, &e);
		if (rc == 0) {
			show(&e);
			n++;
			since = now_ns();
		} else if (rc == IPCMAP_BUSY && wait == IPCMAP_NOWAIT) {
			return NOT;
		} else if (rc != IPCMAP_BUSY && rc != IPCMAP_INTERRUPTED) {
			return rc;
		}
	}
	return DONE;
}

static int run(struct args *a)
{
	struct follow f = {.what = IPCMAP_WATCH_ALL};
	uint64_t count = UINT64_MAX;
	const char *name, *arg, *prefix_arg = NULL;
	int c, rc;

	while ((c = args_next(a)) != -1) {
		if (c == PREFIX)
			prefix_arg = optarg;
		else
			count = opt_number(a, "--count", optarg, 10, UINT64_MAX);
	}
	name = args_take(a, "NAME");
	arg = args_more(a);
	args_end(a);
	/* after all options, since one may say how they are coded */
	if (arg && prefix_arg)
		args_usage(a, "KEY or --prefix, not both");
	if (arg || prefix_arg) {
		f.what = arg ? IPCMAP_WATCH_KEY : IPCMAP_WATCH_PREFIX;
		f.key = args_bytes(a, arg ? "KEY" : "--prefix", arg ? arg : prefix_arg,
				   &f.key_len);
		if (f.key_len == 0 || f.key_len > IPCMAP_KEY_MAX)
			args_usage(a, "a key or prefix has 1 to %u bytes", IPCMAP_KEY_MAX);
	}
	remade_init(&f.remade, a, name, 0, "watching for another of this name");
	watched = attach(a, name, 0);
	if (!watched)
		return BAD;
	catch_signals();
	rc = ipcmap_watch_open(watched, f.key, f.key_len, f.what, &f.watch);
	if (rc < 0)
		return say_error(name, f.key, f.key_len, rc), BAD;
	rc = follow(&f, count, a->timeout_ns);
	ipcmap_watch_close(f.watch);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	if (caught) {
		fflush(stdout);
		raise(caught);
	}
	return rc;
}

const struct verb cmd_watch = {
	.name = "watch",
	.operands = "NAME [KEY]",
	.summary = "print each change of a key, of keys with a prefix, or of all",
	.opts = opts,
	.notes =
		"Prints a JSON object a line, as soon as it happens: op (put, del, expire,\n"
		"clear, gap), key (key_b64 when it is not UTF-8), version, group. A clear is of\n"
		"all keys of a group; a gap says that events of a group were lost; remade that\n"
		"another map has the name, of which the next lines are. Runs until it is\n"
		"interrupted, or as --count and --timeout say.\n",
	.run = run,
};
