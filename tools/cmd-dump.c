/* SPDX-License-Identifier: MIT */
/*
 * cmd-dump.c - ipcmap dump: write all entries, for load or for other stores
 *
 * A file gets its name only when it is complete, and replaces an older one then, so nobody
 * ever finds half a dump. What is no plain file, a pipe or a device, is written directly.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach.h"
#include "bdb.h"
#include "cmd.h"
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

/* ---- the file ---- */

static struct {
	char *path; /* links followed */
	char *temp; /* beside it; NULL: written directly, or done */
} out_file;

static void remove_temp(void)
{
	if (out_file.temp)
		unlink(out_file.temp);
}

static void on_signal(int sig)
{
	remove_temp();
	signal(sig, SIG_DFL);
	raise(sig);
}

static FILE *open_temp(mode_t mode)
{
	static const int sigs[] = {SIGHUP, SIGINT, SIGTERM};
	mode_t mask = umask(0);
	int fd;

	umask(mask);
	if (asprintf(&out_file.temp, "%s.XXXXXX", out_file.path) < 0)
		die_nomem();
	fd = mkstemp(out_file.temp);
	if (fd < 0) {
		out_file.temp = NULL;
		return NULL;
	}
	for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++)
		if (signal(sigs[i], on_signal) == SIG_IGN)
			signal(sigs[i], SIG_IGN);
	atexit(remove_temp);
	/* who may not read the map may not read what was in it */
	if (fchmod(fd, mode & 0666 & ~mask)) {
		close(fd);
		return NULL;
	}
	return fdopen(fd, "w");
}

static FILE *open_file(const char *path, mode_t mode)
{
	bool there, link;
	struct stat st;
	int fd;

	there = stat(path, &st) == 0;
	link = !there && lstat(path, &st) == 0; /* to a file that is still to be made */
	if (link || (there && !S_ISREG(st.st_mode))) {
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode & 0666);
		return fd < 0 ? NULL : fdopen(fd, "w");
	}
	out_file.path = realpath(path, NULL);
	if (!out_file.path && !(out_file.path = strdup(path)))
		die_nomem();
	return open_temp(mode);
}

/* All written: the file gets its name. 0 or an errno. */
static int finish_file(struct dump *d)
{
	errno = EIO;
	if (fclose(d->file) && !d->err)
		d->err = errno;
	if (!d->err && out_file.temp && rename(out_file.temp, out_file.path))
		d->err = errno;
	if (!d->err)
		out_file.temp = NULL;
	return d->err;
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
	if (path && strcmp(path, "-") != 0 && !(d.file = open_file(path, s.mode))) {
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
	if (d.file && finish_file(&d)) {
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
