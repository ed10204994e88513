/* SPDX-License-Identifier: MIT */
/*
 * cmd-snapshot.c - ipcmap snapshot: sets of keys that are published whole, in versions
 *
 * Its parts with more to them have files of their own: snap-source.c reads what is published,
 * snap-diff.c, snap-export.c and snap-watch.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "snap.h"
#include "table.h"

enum { FORMAT = OPT_OWN, SEPARATOR, VERSION, SINCE, COUNT, HOLDERS };

static const struct opt opts[] = {
	{FORMAT, "format", "F",
	 "publish: dir, env (key=value lines), json, jsonl; export: dir, json, jsonl"},
	{SEPARATOR, "separator", "S", "publish: between the names of nested JSON objects (.)"},
	{VERSION, "version", "V", "export: this version, not the current one"},
	{SINCE, "since", "V", "watch: as if version V were the last one seen"},
	{COUNT, "count", "N", "watch: end after N lines"},
	{HOLDERS, "holders", NULL, "ls: the processes that hold versions"},
	{'f', "force", NULL, "drop: do not ask"},
	OPT_ROW_JSON,
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* ---- for the other files ---- */

void set_add(struct set *s, const void *key, size_t key_len, const void *val, size_t val_len)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->pairs = realloc(s->pairs, s->cap * sizeof *s->pairs);
		if (!s->pairs)
			die_nomem();
	}
	s->pairs[s->n++] = (struct ipcmap_pair){key, key_len, val, val_len};
}

static int add_pair(void *arg, const struct ipcmap_pair *p)
{
	set_add(arg, p->key, p->key_len, p->val, p->val_len);
	return 0;
}

void set_of(struct set *s, struct ipcmap_snapshot *snap)
{
	*s = (struct set){0};
	ipcmap_snapshot_each(snap, add_pair, s);
}

/* ---- the verbs ---- */

const char *snap_table(struct args *a)
{
	const char *table = args_take(a, "TABLE");
	size_t len = strlen(table);

	if (len < 1 || len > IPCMAP_TABLE_MAX)
		args_usage(a, "TABLE has %zu bytes: a table's name has 1 to %u", len,
			   IPCMAP_TABLE_MAX);
	return table;
}

uint64_t snap_number(struct args *a, const char *what, const char *arg)
{
	uint64_t n = opt_number(a, what, arg, 10, UINT64_MAX >> 16);

	if (!n)
		args_usage(a, "%s %s: not a number of a version: these begin at 1", what, arg);
	return n;
}

int snap_error(const char *name, const char *table, int rc, const char *not_found)
{
	if (rc != IPCMAP_NOTFOUND)
		return say_error(name, table, strlen(table), rc);
	say_key(name, table, strlen(table), not_found);
	return NOT;
}

static int publish(struct args *a, const struct snap_how *how)
{
	const char *name = args_take(a, "NAME"), *table = snap_table(a);
	const char *source = args_take(a, "DIR or FILE");
	struct set s = {0};
	struct ipcmap *map;
	uint64_t version;
	char why[WHY_CAP];
	int rc;

	args_end(a);
	if (!snap_read(&s, source, how))
		return BAD;
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	rc = ipcmap_snapshot_publish(map, table, s.pairs, s.n, &version, why, sizeof why);
	if (rc < 0) {
		say(name, "%s: %s", table, why);
		return BAD;
	}
	printf("version %llu, %zu %s\n", (unsigned long long)version, s.n,
	       s.n == 1 ? "key" : "keys");
	return DONE;
}

struct listing {
	bool json;
	struct table table;
};

static int show_version(void *arg, const struct ipcmap_snapshot_info *i)
{
	struct listing *l = arg;
	char *shown;
	char when[32];
	time_t t = (time_t)i->time;
	struct tm tm;

	if (l->json) {
		json_t *obj = json_object();

		json_set_bytes(obj, "table", i->table, strlen(i->table));
		json_set_number(obj, "version", i->version);
		json_set_number(obj, "keys", i->keys);
		json_set_number(obj, "length", i->len);
		json_set_number(obj, "time", i->time);
		json_object_set_new(obj, "current", json_boolean(i->current));
		json_object_set_new(obj, "kept", json_boolean(i->kept));
		json_set_number(obj, "holders", i->holders);
		out_json(obj);
		return out_failed();
	}
	if (!l->table.n_rows)
		table_row(&l->table, "table", "version", "keys", "size", "holders",
			  "published", "");
	localtime_r(&t, &tm);
	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
	shown = text_escape(i->table, strlen(i->table));
	if (!shown)
		die_nomem();
	table_row(&l->table, shown, text_number(i->version).s, text_number(i->keys).s,
		  text_size(i->len).s, text_number(i->holders).s, when,
		  i->current ? "current" : i->kept ? "" : "held only");
	free(shown);
	return 0;
}

/* 4.9s, 5m, 3d: since @time, which may lie ahead by a clock that was set. */
static struct text age(uint64_t time_s)
{
	uint64_t now = (uint64_t)time(NULL);

	return text_duration((now > time_s ? now - time_s : 0) * 1000000000);
}

static int show_holder(void *arg, const struct ipcmap_snapshot_holder *h)
{
	const char *state = h->current ? "current" : h->kept ? "old" : "held only";
	struct listing *l = arg;
	char *table, *comm;

	if (l->json) {
		json_t *obj = json_object();

		json_set_bytes(obj, "table", h->table, strlen(h->table));
		json_set_number(obj, "version", h->version);
		json_set_number(obj, "pid", h->pid);
		json_set_bytes(obj, "name", h->comm, strlen(h->comm));
		json_set_number(obj, "time", h->time);
		json_object_set_new(obj, "current", json_boolean(h->current));
		json_object_set_new(obj, "kept", json_boolean(h->kept));
		out_json(obj);
		return out_failed();
	}
	if (!l->table.n_rows)
		table_row(&l->table, "table", "version", "pid", "name", "age", "");
	table = text_escape(h->table, strlen(h->table));
	comm = text_escape(h->comm, strlen(h->comm));
	if (!table || !comm)
		die_nomem();
	table_row(&l->table, table, text_number(h->version).s, text_number(h->pid).s, comm,
		  age(h->time).s, state);
	free(table);
	free(comm);
	return 0;
}

static int list(struct args *a, bool holders)
{
	struct listing l = {.json = a->json, .table = {.align = holders ? "lrrlrl" : "lrrrrll"}};
	const char *name = args_take(a, "NAME");
	struct ipcmap *map;
	int rc;

	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = holders ? ipcmap_snapshot_holders(map, show_holder, &l)
		     : ipcmap_snapshot_list(map, show_version, &l);
	table_print(&l.table);
	return rc < 0 ? say_error(name, NULL, 0, rc), BAD : DONE;
}

static int get(struct args *a)
{
	const char *name = args_take(a, "NAME"), *table = snap_table(a);
	struct ipcmap_snapshot *snap;
	struct ipcmap *map;
	const void *key, *val;
	size_t key_len, len;
	int rc;

	key = args_key(a, &key_len);
	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = ipcmap_snapshot_open(map, table, 0, &snap);
	if (rc < 0)
		return snap_error(name, table, rc, "no such table");
	rc = ipcmap_snapshot_get(snap, key, key_len, &val, &len);
	if (rc < 0)
		return say_error(name, key, key_len, rc);
	if (a->json) {
		json_t *obj = json_object();

		json_set_bytes(obj, "key", key, key_len);
		json_set_bytes(obj, "value", val, len);
		out_json(obj);
		return DONE;
	}
	out_coded(a->code, val, len);
	if (a->code != TEXT_RAW || isatty(STDOUT_FILENO))
		out_bytes("\n", 1);
	return DONE;
}

static int rollback(struct args *a)
{
	const char *name = args_take(a, "NAME"), *table = snap_table(a), *v = args_more(a);
	uint64_t version = v ? snap_number(a, "V", v) : 0;
	struct ipcmap *map;
	int rc;

	args_end(a);
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	rc = ipcmap_snapshot_rollback(map, table, version, &version);
	if (rc < 0)
		return snap_error(name, table, rc,
				   v ? "no such table, or it has no such version"
				     : "no such table, or it has no version before the current");
	printf("version %llu\n", (unsigned long long)version);
	return DONE;
}

static int drop(struct args *a, bool force)
{
	const char *name = args_take(a, "NAME"), *table = snap_table(a);
	struct ipcmap *map;
	int rc;

	args_end(a);
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	if (!force && !out_confirm("Drop %s, with all its versions?", table))
		return NOT;
	rc = ipcmap_snapshot_drop(map, table);
	return rc < 0 ? snap_error(name, table, rc, "no such table") : DONE;
}

/* ---- which of them ---- */

#define WHAT "publish, ls, get, diff, export, rollback, drop or watch"

static int publish_with(struct args *a, const struct snap_how *h)
{
	if (!h->format || strcmp(h->format, "dir") == 0 || strcmp(h->format, "env") == 0 ||
	    strcmp(h->format, "json") == 0 || strcmp(h->format, "jsonl") == 0)
		return publish(a, h);
	args_usage(a, "--format %s: dir, env, json or jsonl", h->format);
}

static int ls_with(struct args *a, const struct snap_how *h)
{
	return list(a, h->holders);
}

static int get_with(struct args *a, const struct snap_how *h)
{
	(void)h;
	return get(a);
}

static int rollback_with(struct args *a, const struct snap_how *h)
{
	(void)h;
	return rollback(a);
}

static int drop_with(struct args *a, const struct snap_how *h)
{
	return drop(a, h->force);
}

static const struct {
	const char *name;
	int (*run)(struct args *a, const struct snap_how *h);
} parts[] = {
	{"publish", publish_with}, {"ls", ls_with},	    {"get", get_with},
	{"diff", snap_diff},	   {"export", snap_export}, {"rollback", rollback_with},
	{"drop", drop_with},	   {"watch", snap_watch},
};

/* An option of another part is a mistake. */
static void only_for(const struct args *a, const char *what, bool given, const char *option,
		     const char *part, const char *other)
{
	if (given && strcmp(what, part) != 0 && (!other || strcmp(what, other) != 0))
		args_usage(a, "%s is for %s%s%s", option, part, other ? " and " : "",
			   other ? other : "");
}

static int run(struct args *a)
{
	struct snap_how h = {0};
	const char *what;
	int c;

	while ((c = args_next(a)) != -1) {
		switch (c) {
		case FORMAT:
			h.format = optarg;
			break;
		case SEPARATOR:
			h.separator = optarg;
			break;
		case VERSION:
			h.version = optarg;
			break;
		case SINCE:
			h.since = optarg;
			break;
		case COUNT:
			h.count = optarg;
			break;
		case HOLDERS:
			h.holders = true;
			break;
		case 'f':
			h.force = true;
			break;
		}
	}
	what = args_take(a, WHAT);
	only_for(a, what, h.format, "--format", "publish", "export");
	only_for(a, what, h.separator, "--separator", "publish", NULL);
	only_for(a, what, h.version, "--version", "export", NULL);
	only_for(a, what, h.since, "--since", "watch", NULL);
	only_for(a, what, h.count, "--count", "watch", NULL);
	only_for(a, what, h.holders, "--holders", "ls", NULL);
	only_for(a, what, h.force, "--force", "drop", NULL);
	if (!h.separator)
		h.separator = ".";
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (strcmp(what, parts[i].name) == 0)
			return parts[i].run(a, &h);
	args_usage(a, "%s: " WHAT, what);
}

const struct verb cmd_snapshot = {
	.name = "snapshot",
	.operands = "publish|ls|get|diff|export|rollback|drop|watch NAME ...",
	.summary = "sets of keys that are published whole, in versions",
	.opts = opts,
	.notes = "  publish NAME TABLE DIR|FILE|-   a new version from files (name = key), from\n"
		 "                                  key=value lines, JSON objects, a line each,\n"
		 "                                  or one JSON document (FILE.json)\n"
		 "  ls NAME                         the versions of all tables\n"
		 "  get NAME TABLE KEY              a value of the current version\n"
		 "  diff NAME TABLE [V1 [V2]]       what changed from V1, or the one before the\n"
		 "                                  current, to V2, or the current\n"
		 "  export NAME TABLE [DIR|FILE|-]  a version, to publish again\n"
		 "  rollback NAME TABLE [V]         version V again, or the one before the\n"
		 "                                  current, as a new version\n"
		 "  drop NAME TABLE                 forget the table and its versions\n"
		 "  watch NAME TABLE                a JSON line for each new version\n"
		 "Workers go from one version to the next whole. Hidden files are not published.\n"
		 "The last 8 versions stay, older ones as long as a process holds them.\n"
		 "Status 1: the key, table or version is not there; diff: they differ (3: no\n"
		 "such table or version); watch: --timeout passed without a new version.\n",
	.run = run,
};
