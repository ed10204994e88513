/* SPDX-License-Identifier: MIT */
/*
 * args.c - run the tool's main() with words out of an input: a word a line, standard input
 * after an empty one
 *
 * The tool is compiled anew (fuzz.mk), with exit(), atexit() and the calls that attach renamed
 * to those here: it ends by longjmp(), and what it left open is closed for it. It runs where
 * there is no other map than its own, and a slash in a word becomes an underscore, so that a
 * file it may write lies in a directory made for that.
 *
 * Whatever the words are: status 0 to 3, and something on standard error with 2 and 3.
 */
#include "fuzz.h"

#include "args.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS 24
#define HANDLES 16
#define ROOM "/dev/shm/room"

int fz_tool_main(int argc, char **argv);
_Noreturn void fz_exit(int status);
int fz_atexit(void (*fn)(void));
int fz_open(const char *name, const struct ipcmap_options *opt, struct ipcmap **ret_map);
void fz_close(struct ipcmap *map);
int fz_snapshot_open(struct ipcmap *map, const char *table, uint64_t version,
		     struct ipcmap_snapshot **ret_snap);
void fz_snapshot_close(struct ipcmap_snapshot *snap);

static jmp_buf back;
static struct ipcmap *maps[HANDLES];
static struct ipcmap_snapshot *snaps[HANDLES];
static int room = -1;

_Noreturn void fz_exit(int status)
{
	longjmp(back, status + 1);
}

int fz_atexit(void (*fn)(void))
{
	(void)fn;
	return 0;
}

static void note(void **list, void *p, bool add)
{
	for (unsigned i = 0; i < HANDLES; i++)
		if (list[i] == (add ? NULL : p)) {
			list[i] = add ? p : NULL;
			return;
		}
	if (add)
		fz_broken("the tool has too much open", 0);
}

int fz_open(const char *name, const struct ipcmap_options *opt, struct ipcmap **ret_map)
{
	int rc = ipcmap_open(name, opt, ret_map);

	if (rc == 0)
		note((void **)maps, *ret_map, true);
	return rc;
}

void fz_close(struct ipcmap *map)
{
	if (map)
		note((void **)maps, map, false);
	ipcmap_close(map);
}

int fz_snapshot_open(struct ipcmap *map, const char *table, uint64_t version,
		     struct ipcmap_snapshot **ret_snap)
{
	int rc = ipcmap_snapshot_open(map, table, version, ret_snap);

	if (rc == 0)
		note((void **)snaps, *ret_snap, true);
	return rc;
}

void fz_snapshot_close(struct ipcmap_snapshot *snap)
{
	if (snap)
		note((void **)snaps, snap, false);
	ipcmap_snapshot_close(snap);
}

static void close_all(void)
{
	for (unsigned i = 0; i < HANDLES; i++) {
		ipcmap_snapshot_close(snaps[i]);
		snaps[i] = NULL;
	}
	for (unsigned i = 0; i < HANDLES; i++) {
		ipcmap_close(maps[i]);
		maps[i] = NULL;
	}
}

/* ---- its surroundings ---- */

bool fz_args_start(void)
{
	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/dev/shm", "tmpfs", 0, "size=16m") < 0 || mkdir(ROOM, 0700) < 0)
		return false;
	room = open(ROOM, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fz_os_on();
	return room >= 0;
}

/* The map "m", with a few things in it. */
static void make_map(void)
{
	const struct ipcmap_pair p = {"a", 1, "1", 1};
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;

	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	o.limit = 1u << 20;
	if (ipcmap_open("m", &o, &m))
		return;
	ipcmap_put(m, "k", 1, "v", 1, NULL);
	ipcmap_put(m, "n", 1, "41", 2, NULL);
	ipcmap_put(m, "\x01\xff", 2, "\0\n", 2, NULL);
	ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0);
	ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0);
	ipcmap_close(m);
}

/* Nothing of one run is there in the next. */
static void empty(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* ---- one run ---- */

static int call_main(int argc, char **argv)
{
	int status = setjmp(back);

	if (status)
		return status - 1;
	return fz_tool_main(argc, argv);
}

void fz_args(const void *bytes, size_t len)
{
	char *text = malloc(len + 2), *argv[WORDS + 2] = {(char *)(uintptr_t) "ipcmap"};
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), argc = 1, status;
	FILE *in = stdin, *out = stdout, *err = stderr;
	char *said = NULL, *at = text, *input;
	size_t said_len = 0, rest;

	if (!text || here < 0)
		abort();
	memcpy(text, bytes, len);
	text[len] = '\n';
	text[len + 1] = '\0';
	while (argc <= WORDS && *at && *at != '\n') {
		char *end = strchr(at, '\n');

		if (!end)
			break;
		*end = '\0';
		argv[argc++] = at;
		for (; at < end; at++)
			*at = *at == '/' ? '_' : *at;
		at = end + 1;
	}
	input = at + (*at == '\n');
	rest = (size_t)(text + len + 1 - input);
	stdin = rest && rest <= len ? fmemopen(input, rest, "r") : fopen("/dev/null", "re");
	stdout = fopen("/dev/null", "we");
	stderr = open_memstream(&said, &said_len);
	if (!stdin || !stdout || !stderr || fchdir(room) < 0)
		abort();
	fz_os_reset();
	make_map();
	optind = 0;
	status = call_main(argc, argv);
	close_all();
	fclose(stdin);
	fclose(stdout);
	fclose(stderr);
	stdin = in;
	stdout = out;
	stderr = err;
	if (fchdir(here) < 0)
		abort();
	close(here);
	if (status < 0 || status > 3)
		fz_broken("a status that is not documented", status);
	if (status >= 2 && !said_len)
		fz_broken("it fails and does not say why", status);
	free(said);
	free(text);
	empty(ROOM);
	empty("/dev/shm");
}
