/* SPDX-License-Identifier: MIT */
/*
 * cmd-clear.c - ipcmap clear: forget every key
 */
#include "attach.h"
#include "cmd.h"
#include "out.h"

static const struct opt opts[] = {
	{'f', "force", NULL, "do not ask"},
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static int run(struct args *a)
{
	struct ipcmap *map;
	const char *name;
	uint64_t n = 0;
	bool force = false;
	int rc;

	while (args_next(a) == 'f')
		force = true;
	name = args_take(a, "NAME");
	args_end(a);
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	ipcmap_entries(map, &n);
	if (!force && !out_confirm("Forget %llu %s of %s?", (unsigned long long)n,
				   n == 1 ? "entry" : "entries", name))
		return NOT;
	rc = ipcmap_clear(map);
	return rc < 0 ? say_error(name, NULL, 0, rc) : DONE;
}

const struct verb cmd_clear = {
	.name = "clear",
	.operands = "NAME",
	.summary = "forget every key",
	.opts = opts,
	.notes = "Asks on a terminal. The map itself, its size and its options stay.\n",
	.run = run,
};
