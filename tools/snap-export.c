/* SPDX-License-Identifier: MIT */
/*
 * snap-export.c - ipcmap snapshot export: a version as files or lines, to publish again
 *
 * What a format has no place for is refused before anything is written, so that what is
 * published from an export has the same content. A file or a directory gets its name when it
 * is complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "snap.h"

struct export {
	const char *name;
	struct set set;
	mode_t mode; /* of the map: who may not read it may not read what was in it */
};

/* ---- JSON ---- */

/* NULL after saying which key has no place in the format. */
static json_t *document(const struct export *e)
{
	json_t *obj = json_object();

	for (size_t i = 0; i < e->set.n; i++) {
		const struct ipcmap_pair *p = &e->set.pairs[i];
		json_t *value = json_stringn(p->val, p->val_len);

		/* a key with a zero byte would not be read again */
		if (value && !memchr(p->key, 0, p->key_len) &&
		    json_object_setn_new(obj, p->key, p->key_len, value) == 0)
			continue;
		say_key(e->name, p->key, p->key_len,
			"not UTF-8, or a key with a zero byte: --format=jsonl has a place for it");
		return NULL;
	}
	return obj;
}

static int put_part(const char *buf, size_t len, void *arg)
{
	return fwrite(buf, 1, len, arg) < len;
}

static int write_json(FILE *file, json_t *value, size_t flags)
{
	return json_dump_callback(value, put_part, file, flags) ||
	       fputc('\n', file) == EOF;
}

static int write_lines(FILE *file, const struct export *e)
{
	int bad = 0;

	for (size_t i = 0; i < e->set.n && !bad; i++) {
		const struct ipcmap_pair *p = &e->set.pairs[i];
		json_t *obj = json_object();

		json_set_bytes(obj, "key", p->key, p->key_len);
		json_set_bytes(obj, "value", p->val, p->val_len);
		bad = write_json(file, obj, JSON_COMPACT);
		json_decref(obj);
	}
	return bad;
}

static int write_all(FILE *file, const struct export *e, json_t *doc)
{
	return doc ? write_json(file, doc, JSON_INDENT(2)) : write_lines(file, e);
}

static int export_file(const struct export *e, const char *path, bool lines)
{
	json_t *doc = lines ? NULL : document(e);
	FILE *file;
	int err;

	if (!lines && !doc)
		return BAD;
	if (strcmp(path, "-") == 0) {
		write_all(stdout, e, doc); /* out_end() looks at the stream */
		return DONE;
	}
	file = file_start(path, e->mode);
	errno = file ? EIO : errno;
	err = !file ? errno : write_all(file, e, doc) ? errno : 0;
	if (file)
		err = file_finish(file, err);
	if (err)
		say(path, "%s", strerror(err));
	return err ? BAD : DONE;
}

/* ---- a directory ---- */

static bool is_file_name(const struct ipcmap_pair *p)
{
	return p->key_len <= NAME_MAX && *(const char *)p->key != '.' &&
	       !memchr(p->key, '/', p->key_len) && !memchr(p->key, 0, p->key_len);
}

static int write_file(int dir, const struct ipcmap_pair *p, mode_t mode)
{
	char name[NAME_MAX + 1] = "";
	FILE *file;
	int fd, bad;

	memcpy(name, p->key, p->key_len);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0666);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return -1;
	bad = fwrite(p->val, 1, p->val_len, file) < p->val_len;
	return fclose(file) || bad ? -1 : 0;
}

/* What was written of a directory that is not to be. */
static void take_back(const char *path, int dir, const struct export *e)
{
	char name[NAME_MAX + 1];

	for (size_t i = 0; dir >= 0 && i < e->set.n; i++) {
		const struct ipcmap_pair *p = &e->set.pairs[i];

		snprintf(name, sizeof name, "%.*s", (int)p->key_len, (const char *)p->key);
		unlinkat(dir, name, 0);
	}
	rmdir(path);
}

static int export_dir(const struct export *e, const char *path)
{
	mode_t mode = (e->mode & 0666) | (e->mode & 0444) >> 2 | 0700;
	size_t len = strlen(path), i;
	char *temp;
	int dir, err = 0;

	for (i = 0; i < e->set.n; i++) {
		if (is_file_name(&e->set.pairs[i]))
			continue;
		say_key(e->name, e->set.pairs[i].key, e->set.pairs[i].key_len,
			"no name for a file that publish would read: --format=jsonl has a place "
			"for it");
		return BAD;
	}
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (asprintf(&temp, "%.*s.XXXXXX", (int)len, path) < 0)
		die_nomem();
	if (!mkdtemp(temp)) {
		say(path, "%s", strerror(errno));
		return BAD;
	}
	dir = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (i = 0; dir >= 0 && i < e->set.n && !err; i++)
		if (write_file(dir, &e->set.pairs[i], e->mode))
			err = errno;
	/* takes the place of nothing, or of an empty directory */
	if (dir < 0 || (!err && (fchmod(dir, mode & ~file_mask()) || rename(temp, path))))
		err = errno;
	if (err) {
		take_back(temp, dir, e);
		say(path, "%s", strerror(err));
	}
	if (dir >= 0)
		close(dir);
	free(temp);
	return err ? BAD : DONE;
}

/* ---- which it is ---- */

static const char *guess(const char *path)
{
	size_t len = strlen(path);
	struct stat st;

	if (strcmp(path, "-") == 0)
		return "jsonl";
	if (path[len - 1] == '/' || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return "dir";
	return len > 5 && strcmp(path + len - 5, ".json") == 0 ? "json" : "jsonl";
}

int snap_export(struct args *a, const struct snap_how *how)
{
	const char *name = args_take(a, "NAME"), *table = snap_table(a), *path = args_more(a);
	uint64_t version = how->version ? snap_number(a, "--version", how->version) : 0;
	struct ipcmap_stat s = {.struct_size = sizeof s};
	struct ipcmap_snapshot *snap;
	struct export e = {.name = name};
	struct ipcmap *map;
	const char *format;
	int rc;

	args_end(a);
	if (!path)
		path = "-";
	if (!*path)
		args_usage(a, "FILE is empty");
	format = how->format ? how->format : guess(path);
	if (strcmp(format, "dir") != 0 && strcmp(format, "json") != 0 &&
	    strcmp(format, "jsonl") != 0)
		args_usage(a, "--format %s: dir, json or jsonl", format);
	if (strcmp(format, "dir") == 0 && strcmp(path, "-") == 0)
		args_usage(a, "--format dir: DIR is missing");
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = ipcmap_stat(map, &s);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	e.mode = s.mode;
	rc = ipcmap_snapshot_open(map, table, version, &snap);
	if (rc < 0)
		return snap_error(name, table, rc,
				  version ? "no such table, or it has no such version"
					  : "no such table");
	set_of(&e.set, snap);
	if (strcmp(format, "dir") == 0)
		return export_dir(&e, path);
	return export_file(&e, path, strcmp(format, "jsonl") == 0);
}
