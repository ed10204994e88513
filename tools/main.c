/* SPDX-License-Identifier: MIT */
/*
 * main.c - ipcmap: look at and change maps in shared memory from the command line
 *
 * Finds the verb and runs it. All about a verb is in its cmd-<verb>.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "out.h"

#define VERB_POINTER(v) &cmd_##v,
static const struct verb *const verbs[] = {VERBS(VERB_POINTER)};
#define N_VERBS (sizeof verbs / sizeof *verbs)

#define USE_WIDTH 24 /* columns of a verb with its operands in the help; longer: a line */

/* What people type who know another store; only verbs that exist are ever suggested. */
static const char *const habits[][3] = {
	{"set", "put", "tune"},	     {"store", "put", NULL},   {"write", "put", NULL},
	{"insert", "put", NULL},     {"read", "get", NULL},    {"fetch", "get", NULL},
	{"cat", "get", NULL},	     {"delete", "del", NULL},  {"remove", "rm", "del"},
	{"unset", "del", NULL},	     {"unlink", "rm", NULL},   {"drop", "rm", NULL},
	{"destroy", "rm", NULL},     {"has", "exists", NULL},  {"list", "ls", NULL},
	{"keys", "ls", NULL},	     {"scan", "ls", NULL},     {"new", "create", NULL},
	{"init", "create", NULL},    {"mk", "create", NULL},   {"make", "create", NULL},
	{"info", "stat", NULL},	     {"status", "stat", NULL}, {"stats", "stat", NULL},
	{"verify", "check", NULL},   {"fsck", "check", NULL},  {"import", "load", NULL},
	{"restore", "load", NULL},   {"export", "dump", NULL}, {"flush", "clear", NULL},
	{"truncate", "clear", NULL}, {"empty", "clear", NULL},
	{"inc", "incr", NULL},	     {"increment", "incr", NULL}, {"add", "incr", "put"},
	{"decr", "incr", NULL},	     {"count", "incr", "stat"}, {"expire", "touch", NULL},
	{"ttl", "touch", "get"},     {"config", "tune", NULL}, {"resize", "tune", NULL},
	{"backup", "dump", NULL},    {"save", "dump", NULL},   {"debug", "inspect", NULL},
	{"show", "inspect", "get"},  {"ipcs", "ls", NULL},     {"ipcrm", "rm", NULL},
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < N_VERBS; i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

/* Single letters changed, left out, added or swapped between two words. */
static size_t distance(const char *a, const char *b)
{
	enum { MAX = 16 };
	size_t la = strlen(a), lb = strlen(b), d[MAX + 1][MAX + 1];

	if (la > MAX || lb > MAX)
		return MAX;
	for (size_t i = 0; i <= la; i++) {
		for (size_t j = 0; j <= lb; j++) {
			size_t best = i + j;

			if (i && d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (j && d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i && j && d[i - 1][j - 1] + (a[i - 1] != b[j - 1]) < best)
				best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[la][lb];
}

/* Fill @found with up to two verbs that @word may stand for. */
static size_t guess(const char *word, const char *found[2])
{
	size_t n = 0, len = strlen(word), best = 2;

	for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
		for (size_t k = 1; strcmp(habits[i][0], word) == 0 && k < 3; k++)
			if (habits[i][k] && find_verb(habits[i][k]))
				found[n++] = habits[i][k];
	for (size_t i = 0; i < N_VERBS && n < 2; i++)
		if (len >= 2 && strncmp(verbs[i]->name, word, len) == 0)
			found[n++] = verbs[i]->name;
	/* a short word is near to everything: let it differ in one place only */
	for (size_t i = 0; i < N_VERBS && n == 0 && len > 1; i++) {
		size_t d = distance(word, verbs[i]->name);

		if (d < best || (d == 2 && len > 4 && !found[0])) {
			best = d;
			found[0] = verbs[i]->name;
		}
	}
	return n ? n : found[0] != NULL;
}

static int unknown(const char *word)
{
	const char *found[2] = {NULL, NULL};
	size_t n = guess(word, found);
	const char *kind = *word == '-' ? "option" : "verb";

	if (n == 2)
		say(word, "no such %s; did you mean %s, or %s?", kind, found[0], found[1]);
	else if (n == 1)
		say(word, "no such %s; did you mean %s?", kind, found[0]);
	else
		say(word, "no such %s; 'ipcmap --help' lists them", kind);
	return USAGE;
}

static void help(FILE *to)
{
	fputs("usage: ipcmap VERB [OPTION]... - key->value maps in shared memory\n\n", to);
	for (size_t i = 0; i < N_VERBS; i++) {
		char use[96];

		snprintf(use, sizeof use, "%s %s", verbs[i]->name, verbs[i]->operands);
		if (strlen(use) > USE_WIDTH)
			fprintf(to, "  %s\n%*s", use, USE_WIDTH + 4, "");
		else
			fprintf(to, "  %-*s  ", USE_WIDTH, use);
		fprintf(to, "%s\n", verbs[i]->summary);
	}
	fputs("\n"
	      "  VERB --help               options of a verb; 'man ipcmap-VERB' explains it\n"
	      "  --version                 print the version\n"
	      "\n"
	      "NAME is the map in /dev/shm/NAME; with a slash inside it is a path.\n"
	      "Exit status: 0 done; 1 not there, condition not met, or not sound; 2 usage;\n"
	      "3 anything else, a missing or bad map included.\n",
	      to);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	const struct verb *verb;
	struct args a;

	out_start();
	if (!word) {
		help(stderr);
		return USAGE;
	}
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
		puts("ipcmap " IPCMAP_TOOL_VERSION);
		return out_end(DONE);
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
	    strcmp(word, "help") == 0) {
		verb = argc > 2 ? find_verb(argv[2]) : NULL;
		if (argc > 2 && !verb)
			return unknown(argv[2]);
		if (verb)
			opt_help(verb);
		else
			help(stdout);
		return out_end(DONE);
	}
	verb = find_verb(word);
	if (!verb)
		return unknown(word);
	args_start(&a, verb, argc - 1, argv + 1);
	return out_end(verb->run(&a));
}
