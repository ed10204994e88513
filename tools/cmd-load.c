/* SPDX-License-Identifier: MIT */
/*
 * cmd-load.c - ipcmap load: store entries from a file
 *
 * The file is a JSON object a line, or what db_dump(1) and mdb_dump(1) write (bdb.h). One
 * line is in memory at a time, however long. A field that is not known is an error: a
 * misspelt ttl_ms would make entries that never expire.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "bdb.h"
#include "cmd.h"
#include "out.h"

#define PROGRESS_LINES 4096u	 /* look at the clock only now and then ... */
#define PROGRESS_NS 200000000ull /* ... and print no oftener than this */

enum { FORMAT = OPT_OWN, DATABASE };

static const struct opt opts[] = {
	{'k', "keep-going", NULL, "go on after a line that cannot be stored, and count them"},
	{FORMAT, "format", "F", "jsonl or bdb; otherwise the first line tells"},
	{DATABASE, "database", "D", "of a bdb file with several databases, this one (all)"},
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

struct load {
	const char *name;
	const char *file_name;
	struct ipcmap *map;
	enum { GUESS, JSONL, BDB } format;
	struct bdb bdb;
	uint64_t line;
	uint64_t n_stored;
	uint64_t n_failed;
	bool progress;
	uint64_t shown_ns;
};

/* Bytes that a field stands for; from malloc(). */
struct bytes {
	void *at;
	size_t len;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* One of the pair name, name_b64 as bytes; NULL, or what is wrong. */
static const char *get_bytes(const json_t *obj, const char *name, const char *name_b64,
			     bool any_json, struct bytes *ret)
{
	static char wrong[64];
	const json_t *text = json_object_get(obj, name);
	const json_t *b64 = json_object_get(obj, name_b64);

	*wrong = 0;
	if (!text == !b64) {
		snprintf(wrong, sizeof wrong, text ? "both %s and %s" : "neither %s nor %s",
			 name, name_b64);
	} else if (b64) {
		/* a zero byte inside would end the text early and be missed */
		if (json_is_string(b64) &&
		    strlen(json_string_value(b64)) == json_string_length(b64))
			ret->at = text_decode(TEXT_BASE64, json_string_value(b64), &ret->len);
		if (!ret->at)
			snprintf(wrong, sizeof wrong, "%s is not base64", name_b64);
	} else if (json_is_string(text)) {
		ret->len = json_string_length(text);
		ret->at = text_encode(TEXT_RAW, json_string_value(text), ret->len);
	} else if (any_json) {
		ret->at = json_compact(text);
		ret->len = ret->at ? strlen(ret->at) : 0;
	} else {
		snprintf(wrong, sizeof wrong, "%s is not a string", name);
	}
	if (!*wrong && !ret->at)
		die_nomem();
	return *wrong ? wrong : NULL;
}

static const char *get_options(const json_t *obj, struct ipcmap_put_options *how)
{
	static const char *const known[] = {"key",    "key_b64", "value",   "value_b64",
					    "ttl_ms", "type",	 "version", "length"};
	static char wrong[96];
	const char *field;
	json_t *v;

	json_object_foreach((json_t *)obj, field, v)
	{
		json_int_t n = json_integer_value(v);
		bool found = false;

		for (size_t i = 0; i < sizeof known / sizeof *known; i++)
			found = found || strcmp(known[i], field) == 0;
		if (!found) {
			snprintf(wrong, sizeof wrong, "unknown field %.64s", field);
			return wrong;
		}
		if (strcmp(field, "ttl_ms") == 0 && json_is_null(v)) {
			how->ttl_ns = IPCMAP_TTL_NONE;
		} else if (strcmp(field, "ttl_ms") == 0) {
			if (!json_is_integer(v) || n < 1 || n > INT64_MAX / 1000000)
				return "ttl_ms is not a number of milliseconds above 0";
			how->ttl_ns = (uint64_t)n * 1000000u;
		}
		if (strcmp(field, "type") == 0) {
			if (!json_is_integer(v) || n < 0 || n > 255)
				return "type is not a number from 0 to 255";
			how->type = (uint32_t)n;
		}
	}
	return NULL;
}

static const char *put(struct load *l, const void *key, size_t key_len, const void *val,
		       size_t val_len, const struct ipcmap_put_options *how)
{
	int rc;

	if (key_len < 1 || key_len > IPCMAP_KEY_MAX)
		return key_len ? "the key is longer than 65535 bytes" : "the key is empty";
	rc = ipcmap_put(l->map, key, key_len, val, val_len, how);
	return rc < 0 ? ipcmap_strerror(rc) : NULL;
}

/* Store what an object says; NULL, or what is wrong with it. */
static const char *store(struct load *l, const json_t *obj)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct bytes key = {0}, val = {0};
	const char *wrong = json_is_object(obj) ? get_options(obj, &how) : "not an object";

	if (!wrong)
		wrong = get_bytes(obj, "key", "key_b64", false, &key);
	if (!wrong)
		wrong = get_bytes(obj, "value", "value_b64", true, &val);
	if (!wrong)
		wrong = put(l, key.at, key.len, val.at, val.len, &how);
	free(key.at);
	free(val.at);
	return wrong;
}

static void show_progress(struct load *l, bool force)
{
	uint64_t now;

	if (!l->progress || (!force && l->line % PROGRESS_LINES))
		return;
	now = now_ns();
	if (!force && now - l->shown_ns < PROGRESS_NS)
		return;
	l->shown_ns = now;
	if (force)
		fputs("\r\033[K", stderr);
	else
		fprintf(stderr, "\r%llu stored", (unsigned long long)l->n_stored);
	fflush(stderr);
}

static void complain(struct load *l, const char *wrong)
{
	char *shown = text_escape(wrong, strlen(wrong));

	show_progress(l, true);
	say(l->name, "%s:%llu: %s", l->file_name, (unsigned long long)l->line,
	    shown ? shown : "?");
	free(shown);
	l->n_failed++;
}

static bool load_json_line(struct load *l, const char *line, size_t len)
{
	json_error_t error;
	json_t *obj;
	const char *wrong;

	if (strspn(line, " \t\r\n") == len)
		return true;
	obj = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
			 &error);
	wrong = obj ? store(l, obj) : error.text;
	if (wrong)
		complain(l, wrong);
	else
		l->n_stored++;
	json_decref(obj);
	return !wrong;
}

static bool load_bdb_line(struct load *l, char *line, size_t len)
{
	struct bdb *b = &l->bdb;
	bool pair;
	const char *wrong = bdb_feed(b, line, len, &pair);

	if (pair)
		wrong = put(l, b->key, b->key_len, b->val, b->val_len, NULL);
	if (wrong)
		complain(l, wrong);
	else
		l->n_stored += pair;
	return !wrong;
}

/* One line of the file; false when it could not be stored. */
static bool load_line(struct load *l, char *line, size_t len)
{
	if (l->format == GUESS)
		l->format = strncmp(line, BDB_FIRST, strlen(BDB_FIRST)) == 0 ? BDB : JSONL;
	return l->format == BDB ? load_bdb_line(l, line, len) : load_json_line(l, line, len);
}

/* What only the end of a file shows to be wrong, and what there is to know about it. */
static bool load_end(struct load *l)
{
	const char *wrong = l->format == BDB ? bdb_end(&l->bdb) : NULL;

	if (wrong)
		complain(l, wrong);
	if (l->bdb.duplicates)
		say(l->name, "%s: a key may have several values there; the last is stored",
		    l->file_name);
	return !wrong;
}

static int load_file(struct load *l, FILE *file, bool keep_going)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	bool ok = true;

	while ((ok || keep_going) && (errno = 0, len = getline(&line, &cap, file)) >= 0) {
		l->line++;
		ok = load_line(l, line, (size_t)len);
		show_progress(l, false);
	}
	if ((ok || keep_going) && !feof(file)) {
		say(l->name, "%s: %s", l->file_name, strerror(errno));
		ok = false;
	} else if (ok || keep_going) {
		ok = load_end(l);
	}
	free(line);
	show_progress(l, true);
	if (l->n_failed)
		printf("%llu stored, %llu failed\n", (unsigned long long)l->n_stored,
		       (unsigned long long)l->n_failed);
	else
		printf("%llu stored\n", (unsigned long long)l->n_stored);
	return ok && !l->n_failed ? DONE : BAD;
}

static int run(struct args *a)
{
	struct load l = {.progress = isatty(STDERR_FILENO)};
	const char *path;
	FILE *file = stdin;
	bool keep_going = false;
	int c;

	while ((c = args_next(a)) != -1) {
		if (c == 'k')
			keep_going = true;
		else if (c == DATABASE)
			l.bdb.only = optarg;
		else
			l.format =
				opt_word(a, "--format", optarg, "jsonl", "bdb") ? BDB : JSONL;
	}
	l.name = args_take(a, "NAME");
	path = args_more(a);
	args_end(a);
	l.file_name = path && strcmp(path, "-") != 0 ? path : "standard input";
	l.map = attach(a, l.name, 0);
	if (!l.map)
		return BAD;
	if (path && strcmp(path, "-") != 0)
		file = fopen(path, "re");
	if (!file) {
		say(l.name, "%s: %s", path, strerror(errno));
		return BAD;
	}
	return load_file(&l, file, keep_going);
}

const struct verb cmd_load = {
	.name = "load",
	.operands = "NAME [FILE|-]",
	.summary = "store entries from a file",
	.opts = opts,
	.notes =
		"jsonl: a line is {\"key\":\"..\",\"value\":..}; bytes that are not UTF-8 are\n"
		"in key_b64 and value_b64. A value that is not a string is stored as compact\n"
		"JSON text. Optional: ttl_ms (null: for ever), type; version and length,\n"
		"which get --json prints, are ignored. bdb: what db_dump and mdb_dump write.\n"
		"At the first line that cannot be stored it stops with status 3; what was\n"
		"stored before stays.\n",
	.run = run,
};
