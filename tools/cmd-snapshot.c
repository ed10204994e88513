/* SPDX-License-Identifier: MIT */
/*
 * cmd-snapshot.c - ipcmap snapshot: publish sets of keys whole, list them, read, go back
 *
 * What is to be published is read whole before the map is opened: a source that is broken
 * half way publishes nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"
#include "table.h"

enum { FORMAT = OPT_OWN };

static const struct opt opts[] = {
	{FORMAT, "format", "F", "publish: dir, env (key=value lines), jsonl; guessed if not given"},
	OPT_ROW_JSON,
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* ---- what to publish ---- */

struct set {
	const char *source; /* for complaints */
	struct ipcmap_pair *pairs;
	size_t n, cap;
};

/* Takes over both, which are from malloc(). */
static void add(struct set *s, void *key, size_t key_len, void *val, size_t val_len)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->pairs = realloc(s->pairs, s->cap * sizeof *s->pairs);
		if (!s->pairs)
			die_nomem();
	}
	s->pairs[s->n++] = (struct ipcmap_pair){key, key_len, val, val_len};
}

static void *copy(const void *bytes, size_t len)
{
	void *p = text_encode(TEXT_RAW, bytes, len);

	if (!p)
		die_nomem();
	return p;
}

static char *read_all(FILE *file, size_t *ret_len)
{
	size_t cap = 65536, len = 0, n;
	char *buf = malloc(cap);

	while (buf && (n = fread(buf + len, 1, cap - len, file)) > 0) {
		len += n;
		if (len == cap)
			buf = realloc(buf, cap *= 2);
	}
	if (!buf)
		die_nomem();
	*ret_len = len;
	if (!ferror(file))
		return buf;
	free(buf);
	return NULL;
}

/* A regular file of the directory; symbolic links count as what they lead to. */
static bool add_file(struct set *s, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	struct stat st;
	char *bytes;
	size_t len;

	if (!file || fstat(fd, &st) < 0) {
		say(s->source, "%s: %s", name, strerror(errno));
		if (file)
			fclose(file);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		fclose(file);
		return true;
	}
	bytes = read_all(file, &len);
	if (!bytes)
		say(s->source, "%s: %s", name, strerror(errno));
	else
		add(s, copy(name, strlen(name)), strlen(name), bytes, len);
	fclose(file);
	return bytes != NULL;
}

static bool read_dir(struct set *s)
{
	DIR *dir = opendir(s->source);
	struct dirent *e;
	bool ok = true;

	if (!dir) {
		say(s->source, "%s", strerror(errno));
		return false;
	}
	while (ok && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			ok = add_file(s, dirfd(dir), e->d_name);
	closedir(dir);
	return ok;
}

/* NULL, or what is wrong. Empty lines and those that begin with # are skipped. */
static const char *env_line(struct set *s, const char *line, size_t len)
{
	const char *eq = memchr(line, '=', len);
	size_t key_len = eq ? (size_t)(eq - line) : 0;

	if (!len || *line == '#')
		return NULL;
	if (!eq)
		return "no = in it";
	if (!key_len)
		return "no key before the =";
	add(s, copy(line, key_len), key_len, copy(eq + 1, len - key_len - 1),
	    len - key_len - 1);
	return NULL;
}

/* The bytes of one of the pair name, name_b64. */
static void *field(const json_t *obj, const char *name, const char *name_b64, size_t *ret_len)
{
	const json_t *text = json_object_get(obj, name);
	const json_t *b64 = json_object_get(obj, name_b64);
	char *json;

	if (!text == !b64)
		return NULL;
	if (b64)
		return json_is_string(b64)
			       ? text_decode(TEXT_BASE64, json_string_value(b64), ret_len)
			       : NULL;
	if (json_is_string(text)) {
		*ret_len = json_string_length(text);
		return copy(json_string_value(text), *ret_len);
	}
	json = json_compact(text);
	*ret_len = json ? strlen(json) : 0;
	return json;
}

static const char *json_line(struct set *s, const char *line, size_t len)
{
	json_error_t error;
	size_t key_len = 0, val_len = 0;
	void *key, *val;
	json_t *obj;

	if (strspn(line, " \t\r") == len)
		return NULL;
	obj = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!json_is_object(obj)) {
		json_decref(obj);
		return "not a JSON object";
	}
	key = field(obj, "key", "key_b64", &key_len);
	val = field(obj, "value", "value_b64", &val_len);
	json_decref(obj);
	if (key && key_len && val) {
		add(s, key, key_len, val, val_len);
		return NULL;
	}
	free(key);
	free(val);
	return key_len ? "no value or value_b64 that is one" : "no key or key_b64 that is one";
}

static bool read_lines(struct set *s, FILE *file, const char *format)
{
	bool json = format && strcmp(format, "jsonl") == 0;
	char *line = NULL;
	size_t cap = 0, number = 0;
	const char *wrong = NULL;
	ssize_t got;

	while (!wrong && (errno = 0, got = getline(&line, &cap, file)) >= 0) {
		size_t len = (size_t)got;

		if (len && line[len - 1] == '\n')
			line[--len] = '\0';
		if (!format && len && *line != '#') {
			/* an object's brace is seldom the first letter of a key */
			json = *line == '{';
			format = "guessed";
		}
		number++;
		wrong = json ? json_line(s, line, len) : env_line(s, line, len);
	}
	if (wrong)
		say(s->source, "line %zu: %s", number, wrong);
	else if (!feof(file))
		say(s->source, "%s", wrong = strerror(errno));
	free(line);
	return !wrong;
}

static bool read_source(struct set *s, const char *format)
{
	bool is_stdin = strcmp(s->source, "-") == 0, ok;
	struct stat st;
	FILE *file;

	if ((format && strcmp(format, "dir") == 0) ||
	    (!format && !is_stdin && stat(s->source, &st) == 0 && S_ISDIR(st.st_mode)))
		return read_dir(s);
	file = is_stdin ? stdin : fopen(s->source, "re");
	if (!file) {
		say(s->source, "%s", strerror(errno));
		return false;
	}
	if (is_stdin)
		s->source = "standard input";
	ok = read_lines(s, file, format);
	if (file != stdin)
		fclose(file);
	return ok;
}

/* ---- the verbs ---- */

static const char *take_table(struct args *a)
{
	const char *table = args_take(a, "TABLE");
	size_t len = strlen(table);

	if (len < 1 || len > IPCMAP_TABLE_MAX)
		args_usage(a, "TABLE has %zu bytes: a table's name has 1 to %u", len,
			   IPCMAP_TABLE_MAX);
	return table;
}

/* The library has one word for a table and a version that are not there. */
static int table_error(const char *name, const char *table, int rc, const char *not_found)
{
	if (rc != IPCMAP_NOTFOUND)
		return say_error(name, table, strlen(table), rc);
	say_key(name, table, strlen(table), not_found);
	return NOT;
}

static int publish(struct args *a, const char *format)
{
	const char *name = args_take(a, "NAME"), *table = take_table(a);
	struct set s = {.source = args_take(a, "DIR or FILE")};
	struct ipcmap *map;
	uint64_t version;
	char why[WHY_CAP];
	int rc;

	args_end(a);
	if (!read_source(&s, format))
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

static int list(struct args *a)
{
	struct listing l = {.json = a->json, .table = {.align = "lrrrrll"}};
	const char *name = args_take(a, "NAME");
	struct ipcmap *map;
	int rc;

	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = ipcmap_snapshot_list(map, show_version, &l);
	table_print(&l.table);
	return rc < 0 ? say_error(name, NULL, 0, rc), BAD : DONE;
}

static int get(struct args *a)
{
	const char *name = args_take(a, "NAME"), *table = take_table(a);
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
		return table_error(name, table, rc, "no such table");
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
	const char *name = args_take(a, "NAME"), *table = take_table(a), *v = args_more(a);
	uint64_t version = v ? opt_number(a, "V", v, 10, UINT64_MAX >> 16) : 0;
	struct ipcmap *map;
	int rc;

	args_end(a);
	if (v && !version)
		args_usage(a, "V is the number of a version, from 1");
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	rc = ipcmap_snapshot_rollback(map, table, version, &version);
	if (rc < 0)
		return table_error(name, table, rc,
				   v ? "no such table, or it has no such version"
				     : "no such table, or it has no version before the current");
	printf("version %llu\n", (unsigned long long)version);
	return DONE;
}

static int run(struct args *a)
{
	const char *format = NULL, *what;

	while (args_next(a) == FORMAT)
		format = optarg;
	if (format && strcmp(format, "dir") != 0 && strcmp(format, "env") != 0 &&
	    strcmp(format, "jsonl") != 0)
		args_usage(a, "--format %s: dir, env or jsonl", format);
	what = args_take(a, "publish, ls, get or rollback");
	if (strcmp(what, "publish") == 0)
		return publish(a, format);
	if (format)
		args_usage(a, "--format is for publish");
	if (strcmp(what, "ls") == 0)
		return list(a);
	if (strcmp(what, "get") == 0)
		return get(a);
	if (strcmp(what, "rollback") == 0)
		return rollback(a);
	args_usage(a, "%s: publish, ls, get or rollback", what);
}

const struct verb cmd_snapshot = {
	.name = "snapshot",
	.operands = "publish|ls|get|rollback NAME ...",
	.summary = "sets of keys that are published whole, in versions",
	.opts = opts,
	.notes = "  publish NAME TABLE DIR|FILE|-   a new version from files (name = key), from\n"
		 "                                  key=value lines, or a JSON object a line\n"
		 "  ls NAME                         the versions of all tables\n"
		 "  get NAME TABLE KEY              a value of the current version\n"
		 "  rollback NAME TABLE [V]         version V again, or the one before the\n"
		 "                                  current, as a new version\n"
		 "Workers go from one version to the next whole. Hidden files are not published.\n"
		 "The last 8 versions stay, older ones as long as a process holds them.\n"
		 "Status 1: the key, table or version is not there.\n",
	.run = run,
};
