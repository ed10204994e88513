/* SPDX-License-Identifier: MIT */
/*
 * cmd-check.c - ipcmap check: verify a map
 *
 * Findings are kept until the check is over: it holds a shard's writers while it reports,
 * and a pager on the other end of stdout must not hold them too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

enum { READ_ONLY = OPT_OWN };

static const struct opt opts[] = {
	{READ_ONLY, "read-only", NULL, "hold up no writer; store nothing"},
	OPT_ROW_JSON,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static void collect(void *arg, const char *line)
{
	json_array_append_new(arg, json_string(line));
}

static void print(const json_t *findings)
{
	size_t i;
	json_t *line;

	json_array_foreach((json_t *)findings, i, line)
	{
		out_escaped(json_string_value(line), json_string_length(line));
		out_bytes("\n", 1);
	}
}

/* Writing if we may: the check is then exact. */
static struct ipcmap *attach_to_check(const struct args *a, const char *name, bool read_only)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map = NULL;
	char why[WHY_CAP];
	int rc;

	if (read_only)
		return attach(a, name, IPCMAP_RDONLY);
	o.flags = a->foreign ? IPCMAP_FOREIGN : 0;
	o.deadline_ns = a->timeout_ns;
	rc = attach_try(name, &o, why, sizeof why, &map);
	if (rc == 0)
		return map;
	if (rc != IPCMAP_PERM && rc != IPCMAP_OWNERS && rc != IPCMAP_VERSION &&
	    rc != IPCMAP_READONLY) {
		say(name, "%s", attach_reason(rc, why));
		return NULL;
	}
	map = attach(a, name, IPCMAP_RDONLY);
	if (map)
		say(name, "checked read-only: %s", attach_reason(rc, why));
	return map;
}

static int run(struct args *a)
{
	struct ipcmap *map;
	const char *name;
	bool read_only = false;
	uint64_t n = 0;
	json_t *findings = json_array(), *obj;
	int rc;

	while (args_next(a) == READ_ONLY)
		read_only = true;
	name = args_take(a, "NAME");
	args_end(a);
	map = attach_to_check(a, name, read_only);
	if (!map)
		return BAD;
	rc = ipcmap_check(map, collect, findings);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	ipcmap_entries(map, &n);
	if (a->json) {
		obj = json_object();
		json_object_set_new(obj, "sound", json_boolean(rc == 0));
		json_set_number(obj, "entries", n);
		json_object_set_new(obj, "findings", findings);
		out_json(obj);
	} else if (rc) {
		print(findings);
	} else {
		printf("sound: %llu %s\n", (unsigned long long)n, n == 1 ? "entry" : "entries");
	}
	return rc ? NOT : DONE;
}

const struct verb cmd_check = {
	.name = "check",
	.operands = "NAME",
	.summary = "verify a map",
	.opts = opts,
	.notes = "Prints each finding on a line, or \"sound\". Each part's writers wait\n"
		 "while that part is looked at. A map that may not be written is checked\n"
		 "read-only: then nobody waits, and a part that never stands still is\n"
		 "reported as busy. Status 1: not sound.\n",
	.run = run,
};
