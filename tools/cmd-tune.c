/* SPDX-License-Identifier: MIT */
/*
 * cmd-tune.c - ipcmap tune: change a live map
 */
#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"
#include "table.h"

static const struct opt opts[] = {
	OPT_ROW_JSON,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static void set_limit(const struct args *a, const char *arg, struct ipcmap_options *o)
{
	o->limit = opt_size(a, "limit", arg);
}

static void set_ttl(const struct args *a, const char *arg, struct ipcmap_options *o)
{
	o->ttl_ns = opt_ttl(a, "ttl", arg, NULL);
}

static void set_compress(const struct args *a, const char *arg, struct ipcmap_options *o)
{
	o->compress = opt_compress(a, "compress", arg);
}

static struct text show_limit(const struct ipcmap_stat *s)
{
	return text_size(s->limit);
}

static struct text show_ttl(const struct ipcmap_stat *s)
{
	struct text none = {"none"};

	return s->ttl_ns == IPCMAP_TTL_NONE ? none : text_duration(s->ttl_ns);
}

static struct text show_compress(const struct ipcmap_stat *s)
{
	struct text none = {"none"};

	return s->compress == IPCMAP_COMPRESS_OFF ? none : text_size(s->compress);
}

/* All that can be tuned; the notes at the end and one complaint name them too. */
static const struct tunable {
	const char *name;
	const char *help;
	bool up_to_max; /* the help goes on with the map's maximum */
	void (*set)(const struct args *a, const char *arg, struct ipcmap_options *o);
	struct text (*show)(const struct ipcmap_stat *s);
} tunables[] = {
	{"limit", "everything in; up to ", true, set_limit, show_limit},
	{"ttl", "life of entries stored without one", false, set_ttl, show_ttl},
	{"compress", "shortest value that is compressed", false, set_compress, show_compress},
};
#define N_TUNABLES (sizeof tunables / sizeof *tunables)

/* "limit=1G" */
static void parse(const struct args *a, const char *arg, struct ipcmap_options *o)
{
	size_t len = strcspn(arg, "=");

	if (!arg[len])
		args_usage(a, "%s: not OPT=VALUE, like limit=1G or ttl=5m", arg);
	for (size_t i = 0; i < N_TUNABLES; i++) {
		if (strlen(tunables[i].name) == len &&
		    strncmp(arg, tunables[i].name, len) == 0) {
			tunables[i].set(a, arg + len + 1, o);
			return;
		}
	}
	args_usage(a, "%s: no such option of a map; there are limit, ttl and compress", arg);
}

static void print(const struct ipcmap_stat *s)
{
	struct table t = {.align = "lrl"};

	for (size_t i = 0; i < N_TUNABLES; i++) {
		char help[96];

		snprintf(help, sizeof help, "%s%s", tunables[i].help,
			 tunables[i].up_to_max ? text_size(s->max).s : "");
		table_row(&t, tunables[i].name, tunables[i].show(s).s, help);
	}
	table_print(&t);
}

static void print_json(const struct ipcmap_stat *s)
{
	json_t *obj = json_object();

	json_set_number(obj, "limit", s->limit);
	json_set_number(obj, "max", s->max);
	if (s->ttl_ns == IPCMAP_TTL_NONE)
		json_object_set_new(obj, "ttl_ns", json_null());
	else
		json_set_number(obj, "ttl_ns", s->ttl_ns);
	if (s->compress == IPCMAP_COMPRESS_OFF)
		json_object_set_new(obj, "compress", json_null());
	else
		json_set_number(obj, "compress", s->compress);
	out_json(obj);
}

static int run(struct args *a)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_stat s = {.struct_size = sizeof s};
	char why[WHY_CAP] = "";
	const char *name, *arg;
	bool change = false;
	struct ipcmap *map;
	int rc = 0;

	args_next(a);
	name = args_take(a, "NAME");
	while ((arg = args_more(a))) {
		parse(a, arg, &o);
		change = true;
	}
	map = attach(a, name, change ? 0 : IPCMAP_RDONLY);
	if (!map)
		return BAD;
	o.why = why;
	o.why_cap = sizeof why;
	if (change)
		rc = ipcmap_tune(map, &o);
	if (rc < 0) {
		attach_short(why, name);
		say(name, "%s", *why ? why : ipcmap_strerror(rc));
		return BAD;
	}
	rc = ipcmap_stat(map, &s);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	if (a->json)
		print_json(&s);
	else
		print(&s);
	return DONE;
}

const struct verb cmd_tune = {
	.name = "tune",
	.operands = "NAME [OPT=VALUE]...",
	.summary = "change a live map: limit=1G ttl=5m compress=1K",
	.opts = opts,
	.notes = "limit=S    everything in, up to the --max-size of its creation\n"
		 "ttl=D      life of entries stored without one; 'none'\n"
		 "compress=S shortest value to compress from now on; 'none'\n"
		 "\n"
		 "Prints what is true then; without OPT=VALUE it changes nothing. A limit "
		 "below\n"
		 "what is used drops no entry.\n",
	.run = run,
};
