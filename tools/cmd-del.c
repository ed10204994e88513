/* SPDX-License-Identifier: MIT */
/*
 * cmd-del.c - ipcmap del: delete keys, or all with a prefix
 */
#include <stdio.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

enum { PREFIX = OPT_OWN };

static const struct opt opts[] = {
	{PREFIX, "prefix", "P", "all keys that begin with P, in place of KEY..."},
	{'v', "verbose", NULL, "say how many were deleted"},
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* The operands from here on, looked at before one is deleted: a usage error changes nothing. */
static void check_keys(struct args *a)
{
	int first = optind;

	do {
		size_t key_len;

		args_key(a, &key_len);
	} while (optind < a->argc);
	optind = first;
}

static int del_keys(struct args *a, const char *name, struct ipcmap *map, uint64_t *ret_deleted)
{
	int status = DONE;

	while (optind < a->argc) {
		size_t key_len;
		const void *key = args_key(a, &key_len);
		int rc = ipcmap_del(map, key, key_len), failed;

		*ret_deleted += rc == 0;
		if (rc == 0)
			continue;
		failed = say_error(name, key, key_len, rc);
		status = failed > status ? failed : status;
	}
	return status;
}

static int run(struct args *a)
{
	const char *name, *arg = NULL;
	const void *prefix = NULL;
	size_t prefix_len = 0;
	bool verbose = false;
	struct ipcmap *map;
	uint64_t n = 0;
	int c, rc, status = DONE;

	while ((c = args_next(a)) != -1) {
		if (c == PREFIX)
			arg = optarg;
		else
			verbose = true;
	}
	name = args_take(a, "NAME");
	if (arg) {
		prefix = args_bytes(a, "--prefix", arg, &prefix_len);
		if (!prefix_len)
			args_usage(a, "--prefix is empty; 'ipcmap clear' forgets every key");
		args_end(a);
	} else {
		check_keys(a);
	}
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	if (prefix) {
		rc = ipcmap_del_prefix(map, prefix, prefix_len, &n);
		if (rc < 0)
			say_error(name, NULL, 0, rc), status = BAD;
	} else {
		status = del_keys(a, name, map, &n);
	}
	if (verbose)
		printf("%llu deleted\n", (unsigned long long)n);
	return status;
}

const struct verb cmd_del = {
	.name = "del",
	.operands = "NAME KEY...",
	.summary = "delete keys, or all that begin with --prefix P",
	.opts = opts,
	.notes = "Status 1: a key was not there; the others are deleted. With --prefix it is\n"
		 "no error when no key begins so.\n",
	.run = run,
};
