/* SPDX-License-Identifier: MIT */
/*
 * left-out.c - which tests a variant leaves out, and why
 *
 * A sanitizer and valgrind look at code paths, not at numbers. What a test can show with less
 * is a matter of T_AMOUNT(); here are tests that are all volume, or need what a variant lacks.
 * The program lists what it leaves out. Release and debug leave out nothing.
 *
 * qemu's user mode, which runs the tests for 64-bit ARM, says that each madvise(2) succeeded,
 * and does nothing. So a forked child takes itself for its parent (MADV_WIPEONFORK), and keeps
 * the lock alive by which a dead parent is known (MADV_DONTFORK). And as qemu has threads of
 * its own, a child now and then waits for ever for a lock inside qemu.
 */
#include "t.h"

#include <string.h>

struct left_out {
	const char *variant;
	const char *suite; /* its name begins so; =NAME: is this */
	const char *test;  /* NULL: all of it */
	const char *why;
};

#define VOLUME "nothing but volume"
#define ALONE "no two threads"
#define FORKS "qemu does not fork as Linux does"
#define ADVICE "qemu ignores madvise()"

static const struct left_out list[] = {
	{"tsan", "clean", NULL, ALONE},
	{"tsan", "crash points", NULL, ALONE},
	{"tsan", "index", NULL, ALONE},
	{"tsan", "large", NULL, ALONE},
	{"tsan", "linear", NULL, ALONE},
	{"tsan", "log", NULL, ALONE},
	{"tsan", "model", NULL, ALONE},
	{"tsan", "named races", NULL, ALONE},
	{"tsan", "snapshot points", NULL, ALONE},
	{"tsan", "thin", NULL, ALONE},
	{"tsan", "=compact", NULL, ALONE},
	{"tsan", "expiry", NULL, ALONE},
	{"tsan", "repair", NULL, ALONE},
	{"tsan", "crash: fill", NULL, ALONE},
	{"tsan", "hostile", "nor when they change all the time", "its races are meant"},
	{"tsan", "snapshot pack", NULL, ALONE},
	{"tsan", "watch points", NULL, ALONE},
	{"valgrind", "clean", "one shard takes what the others have", VOLUME},
	{"valgrind", "clean", "a log 93 % live takes updates", VOLUME},
	{"valgrind", "clean", "the limit loses nothing and can be raised", VOLUME},
	{"valgrind", "clean", "cleared memory is used again", VOLUME},
	{"valgrind", "clean", "one write moves few entries", VOLUME},
	{"valgrind", "clean", "writes to a full map move few entries each", VOLUME},
	{"aarch64", "clean", "one shard takes what the others have", VOLUME},
	{"aarch64", "clean", "a log 93 % live takes updates", VOLUME},
	{"aarch64", "clean", "the limit loses nothing and can be raised", VOLUME},
	{"aarch64", "clean", "cleared memory is used again", VOLUME},
	{"aarch64", "clean", "one write moves few entries", VOLUME},
	{"aarch64", "clean", "writes to a full map move few entries each", VOLUME},
	{"aarch64", "chain", "a killed split leaves nothing in the image", FORKS},
	{"aarch64", "crash points", NULL, FORKS},
	{"aarch64", "fork", NULL, FORKS},
	{"aarch64", "hostile", NULL, FORKS},
	{"aarch64", "kill", NULL, FORKS},
	{"aarch64", "=linear", NULL, FORKS},
	{"aarch64", "owner", NULL, FORKS},
	{"aarch64", "processes", NULL, FORKS},
	{"aarch64", "repair", "a map that is attached is refused", FORKS},
	{"aarch64", "repair", "writers are kept out meanwhile", FORKS},
	{"aarch64", "repair", "a child without a slot writes nowhere", FORKS},
	{"aarch64", "room", NULL, FORKS},
	{"aarch64", "scan", "a scan shows once what stands twice", FORKS},
	{"aarch64", "scan by processes", NULL, FORKS},
	{"aarch64", "snapshot points", NULL, FORKS},
	{"aarch64", "starved", NULL, FORKS},
	{"aarch64", "stop", NULL, FORKS},
	{"aarch64", "told", NULL, FORKS},
	{"aarch64", "unwritten", NULL, FORKS},
	{"aarch64", "compact in use", "a full map shrinks while others use it", FORKS},
	{"aarch64", "compact in use", "1 GiB shrinks while others use it", FORKS},
	{"aarch64", "expiry", "time namespaces agree on lives", FORKS},
	{"aarch64", "inspect", "inspect tells owners, alive and dead", FORKS},
	{"aarch64", "limit", "kills in cleaning do not use up the reserve", FORKS},
	{"aarch64", "line", "a dead owner's line goes on counting", FORKS},
	{"aarch64", "line", "a reader does not wait for a claim", FORKS},
	{"aarch64", "line", "a reader passes over slots that left extents", FORKS},
	{"aarch64", "lock", "a dead owner's lock is taken over", FORKS},
	{"aarch64", "lock", "a stopped owner is waited for until the deadline", FORKS},
	{"aarch64", "lock", "processes and threads are kept apart", FORKS},
	{"aarch64", "lock", "killed at random, nothing is half done", FORKS},
	{"aarch64", "named races", "a value not yet published is not read", FORKS},
	{"aarch64", "named races", "a sweep meets a take-over", FORKS},
	{"aarch64", "security", "a umask that leaves nothing is no obstacle", FORKS},
	{"aarch64", "security", "a file of a stranger is not used", FORKS},
	{"aarch64", "security", "a map of a stranger is used only on demand", FORKS},
	{"aarch64", "security", "locks of a reader keep out newcomers only", FORKS},
	{"aarch64", "segment", "of eight creators one creates, all attach", FORKS},
	{"aarch64", "segment", "attach while it is being created says so", FORKS},
	{"aarch64", "segment", "a creator killed half way is completed by the next", FORKS},
	{"aarch64", "segment", "a creator killed at any point is completed", FORKS},
	{"aarch64", "segment", "a file being built over is not called a stranger's", FORKS},
	{"aarch64", "segment", "builders of a half-made file wait for each other", FORKS},
	{"aarch64", "segment", "a stranger's segment is refused", FORKS},
	{"aarch64", "segment", "a read-only attach stores nothing", FORKS},
	{"aarch64", "segment", "RLIMIT_FSIZE is an error and no signal", FORKS},
	{"aarch64", "segment", "a full file system is an error", FORKS},
	{"aarch64", "segment", "32 segments fit into a process", FORKS},
	{"aarch64", "segment", "a file that got our descriptor is left alone", FORKS},
	{"aarch64", "snapshot", "a dead holder holds nothing, a stopped one its version",
	 FORKS},
	{"aarch64", "snapshot", "forked workers hold it for themselves", FORKS},
	{"aarch64", "snapshot", "a late child holds what its parent holds", FORKS},
	{"aarch64", "snapshot", "a late child is told that it is gone", FORKS},
	{"aarch64", "snapshot", "hostile bytes end in errors [G8]", FORKS},
	{"aarch64", "snapshot race",
	 "readers never see halves while publishers are killed [G4]", FORKS},
	{"aarch64", "space", "what is dropped behind a stopped process is freed later", FORKS},
	{"aarch64", "space", "a full file system is an error", FORKS},
	{"aarch64", "space", "any bytes end in a value or an error", FORKS},
	{"aarch64", "space", "killed at any point, nothing is lost", FORKS},
	{"aarch64", "space", "killed in the recovery too, nothing is lost", FORKS},
	{"aarch64", "space", "killed at random, nothing is lost", FORKS},
	{"aarch64", "bell", NULL, FORKS},
	{"aarch64", "crash: fill", NULL, FORKS},
	{"aarch64", "groups by processes", "killed writers leave whole groups", FORKS},
	{"aarch64", "race: fill", NULL, FORKS},
	{"aarch64", "fill: leaders", "a leader that exits is succeeded", FORKS},
	{"aarch64", "fill: leaders", "a loader that forks", FORKS},
	{"aarch64", "fill: leaders", "a stopped leader is overtaken and refused", FORKS},
	{"aarch64", "watch points", NULL, FORKS},
	{"aarch64", "watch race", NULL, FORKS},
	{"aarch64", "system calls", NULL, "qemu's user mode has others"},
	{"aarch64", "thin", "killed at any point it loses nothing", FORKS},
	{"aarch64", "update", "add loses nothing among threads and processes", FORKS},
	{"aarch64", "judge", "a child forked meanwhile keeps nobody out", ADVICE},
	{"aarch64", "compact", "the estimate is near what is gained", ADVICE},
	{"aarch64", "security", "what was read is not in core dumps", ADVICE},
};

static bool fits(const struct left_out *l, const char *suite, const char *test)
{
	bool same = *l->suite == '=' ? strcmp(l->suite + 1, suite) == 0
				     : strncmp(l->suite, suite, strlen(l->suite)) == 0;

	return same && (!l->test || strcmp(l->test, test) == 0);
}

const char *t_left_out(const char *suite, const char *test)
{
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (strcmp(list[i].variant, T_VARIANT) == 0 && fits(&list[i], suite, test))
			return list[i].why;
	return NULL;
}

static bool is_there(const struct left_out *l, const struct t_suite *s)
{
	for (; s; s = s->next)
		for (const CU_TestInfo *t = s->tests; t->pName; t++)
			if (fits(l, s->name, t->pName))
				return true;
	return false;
}

/* Debug has every test, the others may lack what needs crash points. */
bool t_left_out_is_stale(const struct t_suite *first)
{
	bool all = strcmp(T_VARIANT, "debug") == 0, stale = false;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (!all && strcmp(list[i].variant, T_VARIANT) != 0)
			continue;
		if (is_there(&list[i], first))
			continue;
		fprintf(stderr, "test-ipcmap: left-out.c: there is no test \"%s\" in \"%s\"\n",
			list[i].test ? list[i].test : "", list[i].suite);
		stale = true;
	}
	return stale;
}
