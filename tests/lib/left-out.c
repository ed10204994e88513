/* SPDX-License-Identifier: MIT */
/*
 * left-out.c - which tests a variant leaves out, and why
 *
 * A sanitizer and valgrind look at code paths, not at numbers. What a test can show with less
 * is a matter of T_AMOUNT(); here are tests that are all volume, or need what a variant lacks.
 * The program lists what it leaves out. Release and debug leave out nothing.
 */
#include "t.h"

#include <string.h>

struct left_out {
	const char *variant;
	const char *suite; /* its name begins so */
	const char *test;  /* NULL: all of it */
	const char *why;
};

#define VOLUME "nothing but volume"
#define ALONE "no two threads"

static const struct left_out list[] = {
	{"tsan", "clean", NULL, ALONE},
	{"tsan", "crash points", NULL, ALONE},
	{"tsan", "index", NULL, ALONE},
	{"tsan", "large", NULL, ALONE},
	{"tsan", "log", NULL, ALONE},
	{"tsan", "model", NULL, ALONE},
	{"tsan", "named races", NULL, ALONE},
	{"tsan", "snapshot points", NULL, ALONE},
	{"tsan", "thin", NULL, ALONE},
	{"tsan", "compact", NULL, ALONE},
	{"tsan", "expiry", NULL, ALONE},
	{"valgrind", "clean", "one shard takes what the others have", VOLUME},
	{"valgrind", "clean", "a log 93 % live takes updates", VOLUME},
	{"valgrind", "clean", "the limit loses nothing and can be raised", VOLUME},
	{"valgrind", "clean", "cleared memory is used again", VOLUME},
	{"valgrind", "clean", "one write moves few entries", VOLUME},
	{"valgrind", "clean", "writes to a full map move few entries each", VOLUME},
};

static bool fits(const struct left_out *l, const char *suite, const char *test)
{
	return strncmp(l->suite, suite, strlen(l->suite)) == 0 &&
	       (!l->test || strcmp(l->test, test) == 0);
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

bool t_left_out_is_stale(const struct t_suite *first)
{
	bool stale = false;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (is_there(&list[i], first))
			continue;
		fprintf(stderr, "test-ipcmap: left-out.c: there is no test \"%s\" in \"%s\"\n",
			list[i].test ? list[i].test : "", list[i].suite);
		stale = true;
	}
	return stale;
}
