/* SPDX-License-Identifier: MIT */
/*
 * exec-env.c - a snapshot's keys as environment variables
 *
 * A key that cannot be a variable, and two that would be the same one, are errors: a program
 * that is started with less than what was published would be wrong in silence.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "exec.h"

/* The kernel's bound for all strings together, whatever the stack's limit is: 3/4 of 8 MiB. */
#define ALL_MAX 6291456u
#define SLACK 4096u /* what else the kernel puts there: the program's name, the platform's */

struct var {
	char *text; /* NAME=VALUE */
	size_t name_len;
	const struct ipcmap_pair *pair;
};

/* "db.host" is DB_HOST; a digit in front gets a _ before it. */
static char *plain_name(const char *key, size_t len, size_t *ret_len)
{
	char *name = malloc(len + 2), *out = name;

	if (!name)
		die_nomem();
	if (isdigit((unsigned char)*key))
		*out++ = '_';
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)key[i];

		*out++ = c < 128 && isalnum(c) ? (char)toupper(c) : '_';
	}
	*ret_len = (size_t)(out - name);
	return name;
}

static const char *wrong(const struct ipcmap_pair *p, const char *key, size_t len,
			 bool as_they_are)
{
	if (!len)
		return "nothing is left of it as the name of a variable";
	if (as_they_are && memchr(key, '=', len))
		return "a variable's name has no =";
	if (as_they_are && memchr(key, 0, len))
		return "a variable's name has no zero byte";
	if (memchr(p->val, 0, p->val_len))
		return "its value has a zero byte, which a variable cannot have";
	return NULL;
}

static bool make_var(const struct exec_how *how, const struct ipcmap_pair *p, struct var *ret)
{
	size_t skip = strlen(how->prefix), len = p->key_len - skip, name_len = len;
	const char *key = (const char *)p->key + skip;
	const char *what = wrong(p, key, len, how->as_they_are);
	char *made = NULL, *text;

	if (what) {
		say_key(how->name, p->key, p->key_len, what);
		return false;
	}
	if (!how->as_they_are)
		key = made = plain_name(key, len, &name_len);
	text = malloc(name_len + p->val_len + 2);
	if (!text)
		die_nomem();
	memcpy(text, key, name_len);
	text[name_len] = '=';
	memcpy(text + name_len + 1, p->val, p->val_len);
	text[name_len + 1 + p->val_len] = '\0';
	free(made);
	*ret = (struct var){text, name_len, p};
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct var *x = a, *y = b;
	size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
	int r = memcmp(x->text, y->text, len);

	return r ? r : x->name_len < y->name_len ? -1 : x->name_len > y->name_len;
}

static bool collide(const struct exec_how *how, const struct var *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		char *x, *y;

		if (by_name(&v[i - 1], &v[i]))
			continue;
		x = text_escape(v[i - 1].pair->key, v[i - 1].pair->key_len);
		y = text_escape(v[i].pair->key, v[i].pair->key_len);
		say(how->name, "the keys %s and %s would both be the variable %.*s",
		    x ? x : "?", y ? y : "?", (int)v[i].name_len, v[i].text);
		free(x);
		free(y);
		return true;
	}
	return false;
}

/* Would the kernel refuse it? It is asked before a program that runs is stopped for it. */
static bool too_large(const struct exec_how *how, char *const *env, char *const *argv)
{
	size_t one_max = 32 * (size_t)sysconf(_SC_PAGESIZE), all = SLACK, all_max = ALL_MAX;
	struct rlimit stack;

	if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur / 4 < all_max)
		all_max = stack.rlim_cur / 4 > 131072 ? stack.rlim_cur / 4 : 131072;
	for (unsigned both = 0; both < 2; both++) {
		for (char *const *s = both ? argv : env; *s; s++) {
			size_t len = strlen(*s) + 1;

			all += len + sizeof *s;
			if (len <= one_max)
				continue;
			say(how->name, "%.*s: a variable, its name and an = have at most %zu "
			    "bytes: --files has no such bound",
			    (int)strcspn(*s, "="), *s, one_max - 1);
			return true;
		}
	}
	if (all > all_max)
		say(how->name, "the environment would have %zu bytes, and the system takes %zu: "
		    "--files has no such bound", all, all_max);
	return all > all_max;
}

extern char **environ;

static char **merge(const struct var *v, size_t n)
{
	size_t there = 0, out = n;
	char **env;

	while (environ[there])
		there++;
	env = calloc(n + there + 1, sizeof *env);
	if (!env)
		die_nomem();
	for (size_t i = 0; i < n; i++)
		env[i] = v[i].text;
	for (size_t i = 0; i < there; i++) {
		const struct var like = {environ[i], strcspn(environ[i], "="), NULL};

		if (n && bsearch(&like, v, n, sizeof *v, by_name))
			continue;
		env[out] = strdup(environ[i]);
		if (!env[out++])
			die_nomem();
	}
	return env;
}

void exec_env_free(char **env)
{
	for (char **s = env; s && *s; s++)
		free(*s);
	free(env);
}

char **exec_env(const struct exec_how *how, struct ipcmap_snapshot *snap, char *const *argv)
{
	size_t skip = strlen(how->prefix), n = 0;
	char **env = NULL;
	struct set set;
	struct var *v;
	bool ok = true;

	set_of(&set, snap);
	v = calloc(set.n + 1, sizeof *v);
	if (!v)
		die_nomem();
	for (size_t i = 0; i < set.n && ok; i++) {
		const struct ipcmap_pair *p = &set.pairs[i];

		if (p->key_len < skip || memcmp(p->key, how->prefix, skip) != 0)
			continue;
		ok = make_var(how, p, &v[n]);
		n += ok;
	}
	qsort(v, n, sizeof *v, by_name);
	ok = ok && !collide(how, v, n);
	if (ok)
		env = merge(v, n);
	else
		while (n)
			free(v[--n].text);
	if (env && too_large(how, env, argv)) {
		exec_env_free(env);
		env = NULL;
	}
	free(v);
	free(set.pairs);
	return env;
}
