/* SPDX-License-Identifier: MIT */
/*
 * cmd-del.c - ipcmap del: delete keys
 */
#include "attach.h"
#include "cmd.h"
#include "out.h"

static const struct opt opts[] = {
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static int run(struct args *a)
{
	struct ipcmap *map;
	const char *name;
	int status = DONE, first;

	args_next(a);
	name = args_take(a, "NAME");
	/* all keys are looked at before one is deleted: a usage error changes nothing */
	first = optind;
	do {
		size_t key_len;

		args_key(a, &key_len);
	} while (optind < a->argc);
	optind = first;
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	while (optind < a->argc) {
		size_t key_len;
		const void *key = args_key(a, &key_len);
		int rc = ipcmap_del(map, key, key_len), failed;

		if (rc == 0)
			continue;
		failed = say_error(name, key, key_len, rc);
		status = failed > status ? failed : status;
	}
	return status;
}

const struct verb cmd_del = {
	.name = "del",
	.operands = "NAME KEY...",
	.summary = "delete keys",
	.opts = opts,
	.notes = "Status 1: a key was not there; the others are deleted.\n",
	.run = run,
};
