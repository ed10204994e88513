/* SPDX-License-Identifier: MIT */
/*
 * cmd-dump.c - ipcmap dump: write all entries, for load or for other stores
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "bdb.h"
#include "cmd.h"
#include "file.h"
#include "out.h"

enum { FORMAT = OPT_OWN, PREFIX, INFO, MAPSIZE };

static const struct opt opts[] = {
	{FORMAT, "format", "F", "jsonl (default) or bdb, for db_load and mdb_load"},
	{PREFIX, "prefix", "P", "only keys that begin with P"},
	{INFO, "info", NULL, "jsonl: versions too, which load ignores"},
	{'p', "print", NULL, "bdb: printable bytes as they are"},
	{MAPSIZE, "mapsize", "S", "bdb: room that mdb_load is to make; db_load refuses it"},
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

struct dump {
	FILE *file; /* NULL: stdout, by out_bytes() */
	int err;    /* errno of the first write to the file that failed */
	bool bdb;
	bool print;
	bool info;
	bool default_ttl; /* the map has one: "never" must be said */
	uint64_t n_ttls;  /* lifetimes and types that bdb cannot say */
	uint64_t n_types;
};

static void put(struct dump *d, const void *bytes, size_t len)
{
	if (!d->file)
		out_bytes(bytes, len);
	else if (fwrite(bytes, 1, len, d->file) < len && !d->err)
		d->err = errno ? errno : EIO;
}

static bool failed(const struct dump *d)
{
	return d->file ? d->err != 0 : out_failed();
}

static void put_text(struct dump *d, const char *s)
{
	put(d, s, strlen(s));
}

static void put_bdb_line(struct dump *d, const void *bytes, size_t len)
{
	char *line = bdb_line(d->print, bytes, len, &len);

	if (!line)
		die_nomem();
	put(d, line, len);
	free(line);
}

static int put_json_part(const char *buf, size_t len, void *arg)
{
	put(arg, buf, len);
	return 0;
}

/* Rounded up: what is about to expire still has a life, and load takes none of 0. */
static uint64_t ttl_ms(uint64_t ns)
{
	return ns ? (ns - 1) / 1000000 + 1 : 1;
}

static void put_json(struct dump *d, const struct ipcmap_item *it)
{
	json_t *obj = json_object();

	json_set_bytes(obj, "key", it->key, it->key_len);
	json_set_bytes(obj, "value", it->val, it->val_len);
	if (it->ttl_left_ns != IPCMAP_TTL_NONE)
		json_set_number(obj, "ttl_ms", ttl_ms(it->ttl_left_ns));
	else if (d->default_ttl)
		json_object_set_new(obj, "ttl_ms", json_null());
	if (d->info)
		json_set_number(obj, "version", it->version);
	if (it->type)
		json_set_number(obj, "type", it->type);
	if (json_dump_callback(obj, put_json_part, d, JSON_COMPACT))
		die_nomem();
	json_decref(obj);
	put_text(d, "\n");
}

static int put_entry(void *arg, const struct ipcmap_item *it)
{
	struct dump *d = arg;

	if (!d->bdb) {
		put_json(d, it);
		return failed(d);
	}
	d->n_ttls += it->ttl_left_ns != IPCMAP_TTL_NONE;
	d->n_types += it->type != 0;
	put_bdb_line(d, it->key, it->key_len);
	put_bdb_line(d, it->val, it->val_len);
	return failed(d);
}

/* ---- all of it ---- */

static void put_header(struct dump *d, uint64_t mapsize)
{
	put_text(d, BDB_FIRST "3\nformat=");
	put_text(d, d->print ? "print\n" : "bytevalue\n");
	put_text(d, "type=btree\n");
	if (mapsize) {
		put_text(d, "mapsize=");
		put_text(d, text_number(mapsize).s);
		put_text(d, "\n");
	}
	put_text(d, "HEADER=END\n");
}

static void warn_of_loss(const struct dump *d, const char *name)
{
	if (d->n_ttls || d->n_types)
		say(name, "the bdb format has no place for %llu lifetime%s and %llu type%s",
		    (unsigned long long)d->n_ttls, d->n_ttls == 1 ? "" : "s",
		    (unsigned long long)d->n_types, d->n_types == 1 ? "" : "s");
}

static const char *parse(struct args *a, struct dump *d, uint64_t *ret_mapsize)
{
	const char *prefix = NULL;
	int c;

	while ((c = args_next(a)) != -1) {
		switch (c) {
		case FORMAT:
			d->bdb = opt_word(a, "--format", optarg, "jsonl", "bdb");
			break;
		case PREFIX:
			prefix = optarg;
			break;
		case INFO:
			d->info = true;
			break;
		case 'p':
			d->print = true;
			break;
		case MAPSIZE:
			*ret_mapsize = opt_size(a, "--mapsize", optarg);
			break;
		}
	}
	if (d->bdb && d->info)
		args_usage(a, "--info is for --format=jsonl");
	if (!d->bdb && (d->print || *ret_mapsize))
		args_usage(a, "%s is for --format=bdb", d->print ? "--print" : "--mapsize");
	return prefix;
}

static int run(struct args *a)
{
	struct ipcmap_stat s = {.struct_size = sizeof s};
	uint64_t cursor = 0, mapsize = 0;
	const char *name, *path, *prefix;
	struct dump d = {0};
	struct ipcmap *map;
	int rc;

	prefix = parse(a, &d, &mapsize);
	name = args_take(a, "NAME");
	path = args_more(a);
	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = ipcmap_stat(map, &s);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	d.default_ttl = s.ttl_ns != IPCMAP_TTL_NONE;
	if (path && strcmp(path, "-") != 0 && !(d.file = file_start(path, s.mode))) {
		say(name, "%s: %s", path, strerror(errno));
		return BAD;
	}
	if (d.bdb)
		put_header(&d, mapsize);
	rc = ipcmap_scan(map, &cursor, prefix, prefix ? strlen(prefix) : 0, 0, put_entry, &d);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	if (d.bdb)
		put_text(&d, "DATA=END\n");
	if (d.file && (d.err = file_finish(d.file, d.err))) {
		say(name, "%s: %s", path, strerror(d.err));
		return BAD;
	}
	warn_of_loss(&d, name);
	return DONE;
}

const struct verb cmd_dump = {
	.name = "dump",
	.operands = "NAME [FILE|-]",
	.summary = "write all entries to a file, for load",
	.opts = opts,
	.notes = "Every key that is there throughout is written once, with a value that it\n"
		 "had at some moment. FILE gets its name when it is complete, and the map's\n"
		 "permissions less the umask. jsonl keeps what is left of lifetimes; bdb has\n"
		 "no place for lifetimes and types, and a line on standard error says so.\n",
	.run = run,
};
