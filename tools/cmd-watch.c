/* SPDX-License-Identifier: MIT */
/*
 * cmd-watch.c - ipcmap watch: a line for each change of a key, of some keys, of all
 *
 * SIGINT and SIGTERM end it between two lines: the watch is closed, so that the map has its
 * memory back at once, and then the signal does what it always does.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

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

/* Up to @count events; the status, or an error of the library. */
static int follow(struct ipcmap_watch *watch, uint64_t count, uint64_t timeout_ns)
{
	uint64_t since = now_ns();
	struct ipcmap_event e;

	for (uint64_t n = 0; n < count && !caught && !out_failed();) {
		uint64_t idle = now_ns() - since, wait = SLICE_NS;
		int rc;

		if (timeout_ns && timeout_ns != IPCMAP_FOREVER) {
			uint64_t left = timeout_ns == IPCMAP_NOWAIT || idle >= timeout_ns
						? IPCMAP_NOWAIT
						: timeout_ns - idle;

			wait = left == IPCMAP_NOWAIT || left < wait ? left : wait;
		}
		rc = ipcmap_watch_next(watch, wait, &e);
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
	const void *key = NULL;
	size_t key_len = 0;
	unsigned what = IPCMAP_WATCH_ALL;
	struct ipcmap_watch *watch;
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
		what = arg ? IPCMAP_WATCH_KEY : IPCMAP_WATCH_PREFIX;
		key = args_bytes(a, arg ? "KEY" : "--prefix", arg ? arg : prefix_arg, &key_len);
		if (key_len == 0 || key_len > IPCMAP_KEY_MAX)
			args_usage(a, "a key or prefix has 1 to %u bytes", IPCMAP_KEY_MAX);
	}
	watched = attach(a, name, 0);
	if (!watched)
		return BAD;
	catch_signals();
	rc = ipcmap_watch_open(watched, key, key_len, what, &watch);
	if (rc < 0)
		return say_error(name, key, key_len, rc), BAD;
	rc = follow(watch, count, a->timeout_ns);
	ipcmap_watch_close(watch);
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
		"all keys of a group; a gap says that events of a group were lost. Runs until\n"
		"it is interrupted, or as --count and --timeout say.\n",
	.run = run,
};
