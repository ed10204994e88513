/* SPDX-License-Identifier: MIT */
/*
 * cmd-repair.c - ipcmap repair: make a new map from what is whole of a damaged one
 */
#include <stdio.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

enum { OPT_DRY = OPT_OWN, OPT_SALVAGE, OPT_DISCARD };

static const struct opt opts[] = {
	{OPT_DRY, "dry-run", NULL, "change nothing; say what would be done"},
	{OPT_SALVAGE, "salvage", NULL, "take keys that lost their place from the logs"},
	{OPT_DISCARD, "discard", NULL, "do not keep the damaged map, whatever is lost"},
	OPT_ROW_JSON,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static void collect(void *arg, const char *line)
{
	json_array_append_new(arg, json_string(line));
}

static const char *plural(uint64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

static bool is_lossless(const struct ipcmap_repair *s)
{
	return !s->dropped && !s->missing && !s->salvaged && !s->left && !s->versions_dropped &&
	       !s->tables_dropped;
}

static void print_text(const char *name, const struct ipcmap_repair *s, const json_t *lines,
		       bool dry)
{
	size_t i;
	json_t *line;

	json_array_foreach((json_t *)lines, i, line)
	{
		out_escaped(json_string_value(line), json_string_length(line));
		out_bytes("\n", 1);
	}
	if (!s->findings && is_lossless(s)) {
		printf("sound: %llu %s", (unsigned long long)s->kept,
		       plural(s->kept, "entry", "entries"));
		if (s->expired)
			printf(", %llu expired", (unsigned long long)s->expired);
		putchar('\n');
		return;
	}
	printf("%s: %llu %s kept, %llu dropped", dry ? "would repair" : "repaired",
	       (unsigned long long)s->kept, plural(s->kept, "entry", "entries"),
	       (unsigned long long)s->dropped);
	if (s->missing)
		printf(", %llu missing", (unsigned long long)s->missing);
	if (s->salvaged)
		printf(", %llu salvaged", (unsigned long long)s->salvaged);
	if (s->expired)
		printf(", %llu expired", (unsigned long long)s->expired);
	if (s->versions_kept || s->versions_dropped)
		printf("; %llu snapshot %s kept, %llu dropped",
		       (unsigned long long)s->versions_kept,
		       plural(s->versions_kept, "version", "versions"),
		       (unsigned long long)s->versions_dropped);
	putchar('\n');
	if (s->left)
		printf("%llu %s no slot names %s in the logs; --salvage %s\n",
		       (unsigned long long)s->left, plural(s->left, "key that", "keys that"),
		       plural(s->left, "lies", "lie"),
		       plural(s->left, "takes it", "takes them"));
	if (s->kept_damaged)
		printf("the damaged map is %s.damaged now\n", name);
}

static void print_json(const struct ipcmap_repair *s, json_t *lines)
{
	json_t *obj = json_object();

	json_object_set_new(obj, "sound", json_boolean(!s->findings && is_lossless(s)));
	json_object_set_new(obj, "replaced", json_boolean(s->replaced));
	json_object_set_new(obj, "kept_damaged", json_boolean(s->kept_damaged));
	json_set_number(obj, "findings", s->findings);
	json_set_number(obj, "kept", s->kept);
	json_set_number(obj, "salvaged", s->salvaged);
	json_set_number(obj, "dropped", s->dropped);
	json_set_number(obj, "missing", s->missing);
	json_set_number(obj, "left", s->left);
	json_set_number(obj, "expired", s->expired);
	json_set_number(obj, "versions_kept", s->versions_kept);
	json_set_number(obj, "versions_dropped", s->versions_dropped);
	json_set_number(obj, "tables_dropped", s->tables_dropped);
	json_object_set_new(obj, "report", lines);
	out_json(obj);
}

static int run(struct args *a)
{
	struct ipcmap_repair_options how = IPCMAP_REPAIR_INIT;
	struct ipcmap_repair sum;
	json_t *lines = json_array();
	char why[WHY_CAP] = "";
	const char *name;
	int id, rc;

	while ((id = args_next(a)) != -1) {
		if (id == OPT_DRY)
			how.flags |= IPCMAP_REPAIR_DRY_RUN;
		else if (id == OPT_SALVAGE)
			how.flags |= IPCMAP_REPAIR_SALVAGE;
		else if (id == OPT_DISCARD)
			how.flags |= IPCMAP_REPAIR_DISCARD;
	}
	name = args_take(a, "NAME");
	args_end(a);
	if (a->foreign)
		how.flags |= IPCMAP_REPAIR_FOREIGN;
	how.report = collect;
	how.arg = lines;
	how.why = why;
	how.why_cap = sizeof why;
	rc = ipcmap_repair(name, &how, &sum);
	if (rc < 0) {
		attach_short(why, name);
		say(name, "%s", attach_reason(rc, why));
		return BAD;
	}
	if (a->json)
		print_json(&sum, lines);
	else
		print_text(name, &sum, lines, how.flags & IPCMAP_REPAIR_DRY_RUN);
	return is_lossless(&sum) ? DONE : NOT;
}

const struct verb cmd_repair = {
	.name = "repair",
	.operands = "NAME",
	.summary = "make a damaged map sound",
	.opts = opts,
	.notes = "Nobody may have the map attached for writing. What verifies goes into a\n"
		 "new map, which takes the name; the damaged one is kept as NAME.damaged when\n"
		 "anything is lost. Status 1: something was lost, or would be.\n",
	.run = run,
};
