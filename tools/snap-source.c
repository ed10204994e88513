/* SPDX-License-Identifier: MIT */
/*
 * snap-source.c - what `ipcmap snapshot publish` publishes: a directory, lines, a document
 *
 * Read whole before the map is opened: a source that is broken half way publishes nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snap.h"

struct source {
	struct set *set; /* what is added lies in memory from malloc(), and stays */
	const char *name; /* for complaints */
	const struct snap_how *how;
};

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
static bool add_file(struct source *s, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	struct stat st;
	char *bytes;
	size_t len;

	if (!file || fstat(fd, &st) < 0) {
		say(s->name, "%s: %s", name, strerror(errno));
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
		say(s->name, "%s: %s", name, strerror(errno));
	else
		set_add(s->set, copy(name, strlen(name)), strlen(name), bytes, len);
	fclose(file);
	return bytes != NULL;
}

static bool read_dir(struct source *s)
{
	DIR *dir = opendir(s->name);
	struct dirent *e;
	bool ok = true;

	if (!dir) {
		say(s->name, "%s", strerror(errno));
		return false;
	}
	while (ok && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			ok = add_file(s, dirfd(dir), e->d_name);
	closedir(dir);
	return ok;
}

/* NULL, or what is wrong. Empty lines and those that begin with # are skipped. */
static const char *env_line(struct source *s, const char *line, size_t len)
{
	const char *eq = memchr(line, '=', len);
	size_t key_len = eq ? (size_t)(eq - line) : 0;

	if (!len || *line == '#')
		return NULL;
	if (!eq)
		return "no = in it";
	if (!key_len)
		return "no key before the =";
	set_add(s->set, copy(line, key_len), key_len, copy(eq + 1, len - key_len - 1),
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

static const char *json_line(struct source *s, const char *line, size_t len)
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
		set_add(s->set, key, key_len, val, val_len);
		return NULL;
	}
	free(key);
	free(val);
	return key_len ? "no value or value_b64 that is one" : "no key or key_b64 that is one";
}

static bool read_lines(struct source *s, FILE *file, const char *format)
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
		say(s->name, "line %zu: %s", number, wrong);
	else if (!feof(file))
		say(s->name, "%s", wrong = strerror(errno));
	free(line);
	return !wrong;
}

/* ---- a JSON document ---- */

/* Grows as names are appended, and shrinks again; no zero byte at its end. */
struct path {
	char *bytes;
	size_t len, cap;
};

static void append(struct path *p, const void *bytes, size_t len)
{
	if (p->len + len > p->cap) {
		p->cap = 2 * (p->len + len);
		p->bytes = realloc(p->bytes, p->cap);
		if (!p->bytes)
			die_nomem();
	}
	if (len)
		memcpy(p->bytes + p->len, bytes, len);
	p->len += len;
}

static bool complain(const struct source *s, const struct path *p, const char *what)
{
	say_key(s->name, p->bytes, p->len, what);
	return false;
}

static bool add_json(struct source *s, const struct path *p, const json_t *value)
{
	char *text;

	if (p->len < 1)
		return complain(s, p, "a key without a name");
	if (p->len > IPCMAP_KEY_MAX)
		return complain(s, p, "a key of more than 65536 bytes");
	if (json_is_string(value)) {
		size_t len = json_string_length(value);

		set_add(s->set, copy(p->bytes, p->len), p->len,
			copy(json_string_value(value), len), len);
		return true;
	}
	text = json_compact(value);
	if (!text)
		die_nomem();
	set_add(s->set, copy(p->bytes, p->len), p->len, text, strlen(text));
	return true;
}

/* A member that is an object gives its own members, unless it has none. */
static bool flatten(struct source *s, struct path *p, json_t *obj)
{
	size_t was = p->len;
	bool ok = true;

	for (void *at = json_object_iter(obj); at && ok; at = json_object_iter_next(obj, at)) {
		json_t *value = json_object_iter_value(at);

		if (was)
			append(p, s->how->separator, strlen(s->how->separator));
		append(p, json_object_iter_key(at), json_object_iter_key_len(at));
		ok = json_object_size(value) ? flatten(s, p, value) : add_json(s, p, value);
		p->len = was;
	}
	return ok;
}

static bool read_document(struct source *s, FILE *file)
{
	struct path path = {0};
	json_error_t error;
	char *bytes, *shown;
	size_t len;
	json_t *obj;
	bool ok;

	bytes = read_all(file, &len);
	if (!bytes) {
		say(s->name, "%s", strerror(errno));
		return false;
	}
	obj = json_loadb(bytes, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
			 &error);
	free(bytes);
	if (!obj) {
		shown = text_escape(error.text, strlen(error.text));
		say(s->name, "line %d, column %d: %s", error.line, error.column,
		    shown ? shown : "?");
		free(shown);
		return false;
	}
	ok = json_is_object(obj);
	if (ok)
		ok = flatten(s, &path, obj);
	else
		say(s->name, "line 1, column 1: not a JSON object");
	free(path.bytes);
	json_decref(obj);
	return ok;
}

/* ---- which it is ---- */

static bool is_format(const char *format, const char *name)
{
	return format && strcmp(format, name) == 0;
}

static bool ends_in_json(const char *path)
{
	size_t len = strlen(path);

	return len > 5 && strcmp(path + len - 5, ".json") == 0;
}

bool snap_read(struct set *set, const char *path, const struct snap_how *how)
{
	struct source s = {.set = set, .name = path, .how = how};
	bool is_stdin = strcmp(path, "-") == 0, ok;
	const char *format = how->format;
	struct stat st;
	FILE *file;

	if (is_format(format, "dir") ||
	    (!format && !is_stdin && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return read_dir(&s);
	file = is_stdin ? stdin : fopen(path, "re");
	if (!file) {
		say(path, "%s", strerror(errno));
		return false;
	}
	if (is_stdin)
		s.name = "standard input";
	if (is_format(format, "json") || (!format && ends_in_json(path)))
		ok = read_document(&s, file);
	else
		ok = read_lines(&s, file, format);
	if (file != stdin)
		fclose(file);
	return ok;
}
