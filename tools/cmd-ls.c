/* SPDX-License-Identifier: MIT */
/*
 * cmd-ls.c - ipcmap ls: the maps of this host, or the keys of one map
 */
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"
#include "table.h"

#define SHM_DIR "/dev/shm"
#define MAP_LEN_MIN 1048576 /* no map is smaller: the least limit of ipcmap_open() */

static const struct opt opts[] = {
	{'l', "long", NULL, "version, length and life left too"},
	{'0', "null", NULL, "keys as they are, each ended by a NUL byte"},
	OPT_ROW_JSON,
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* How to show keys, handed through ipcmap_scan(). */
struct listing {
	const struct args *args;
	bool longer;
	bool null;
};

static void key_json(const struct ipcmap_item *it, bool longer)
{
	json_t *obj = json_object();

	json_set_bytes(obj, "key", it->key, it->key_len);
	if (longer) {
		json_set_number(obj, "version", it->version);
		json_set_number(obj, "length", it->val_len);
		if (it->ttl_left_ns != IPCMAP_TTL_NONE)
			json_set_number(obj, "ttl_ms", it->ttl_left_ns / 1000000);
		json_set_number(obj, "type", it->type);
	}
	out_json(obj);
}

/* Fixed widths: a table's would need all keys in memory before the first is shown. */
static int show_key(void *arg, const struct ipcmap_item *it)
{
	const struct listing *l = arg;

	if (l->args->json) {
		key_json(it, l->longer);
		return out_failed();
	}
	if (l->longer)
		printf("%10llu %10zu %8s  ", (unsigned long long)it->version, it->val_len,
		       it->ttl_left_ns == IPCMAP_TTL_NONE ? "-"
							  : text_duration(it->ttl_left_ns).s);
	if (l->args->code != TEXT_RAW)
		out_coded(l->args->code, it->key, it->key_len);
	else if (l->null)
		out_bytes(it->key, it->key_len);
	else
		out_escaped(it->key, it->key_len);
	out_bytes(l->null ? "\0" : "\n", 1);
	return out_failed();
}

static int list_keys(struct args *a, const char *name, struct listing *l)
{
	const char *arg = args_more(a);
	size_t prefix_len = 0;
	const void *prefix = arg ? args_bytes(a, "PREFIX", arg, &prefix_len) : NULL;
	struct ipcmap *map;
	uint64_t cursor = 0;
	int rc;

	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	if (l->longer && !l->null && !a->json)
		printf("%10s %10s %8s  %s\n", "version", "length", "ttl", "key");
	rc = ipcmap_scan(map, &cursor, prefix, prefix_len, IPCMAP_SCAN_KEYS, show_key, l);
	return rc < 0 ? say_error(name, NULL, 0, rc), BAD : DONE;
}

/* A file of SHM_DIR that is a map, or might be one. */
struct host_map {
	const char *name;
	struct stat file;
	struct ipcmap_stat s;
	int rc;
	char why[WHY_CAP];
};

static const char *owner_name(uid_t uid)
{
	static char number[16];
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		return pw->pw_name;
	snprintf(number, sizeof number, "%u", uid);
	return number;
}

static uint64_t age_ns(const struct ipcmap_stat *s)
{
	uint64_t now = (uint64_t)time(NULL);

	return now > s->created ? (now - s->created) * 1000000000u : 0;
}

static void map_row(struct table *t, const struct host_map *m)
{
	char *shown = text_escape(m->name, strlen(m->name)), mode[8];

	snprintf(mode, sizeof mode, "%04o", m->file.st_mode & 07777);
	if (m->rc < 0)
		table_row(t, shown, owner_name(m->file.st_uid), mode,
			  attach_reason(m->rc, m->why), NULL);
	else
		table_row(t, shown, owner_name(m->file.st_uid), mode, text_size(m->s.used).s,
			  text_size(m->s.limit).s, text_number(m->s.entries).s,
			  text_number(m->s.attached).s, text_duration(age_ns(&m->s)).s);
	free(shown);
}

static void map_json(const struct host_map *m)
{
	json_t *obj = json_object();
	char mode[8];

	snprintf(mode, sizeof mode, "%04o", m->file.st_mode & 07777);
	json_set_bytes(obj, "name", m->name, strlen(m->name));
	json_object_set_new(obj, "owner", json_string(owner_name(m->file.st_uid)));
	json_object_set_new(obj, "mode", json_string(mode));
	if (m->rc < 0) {
		json_object_set_new(obj, "error", json_string(attach_reason(m->rc, m->why)));
	} else {
		json_set_number(obj, "used", m->s.used);
		json_set_number(obj, "limit", m->s.limit);
		json_set_number(obj, "entries", m->s.entries);
		json_set_number(obj, "attached", m->s.attached);
		json_set_number(obj, "created", m->s.created);
	}
	out_json(obj);
}

/* Look at one file; false when it is none of ours to speak of. */
static bool look(const struct args *a, const char *file, struct host_map *m)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map = NULL;
	char path[sizeof SHM_DIR + 256];

	m->name = file;
	snprintf(path, sizeof path, SHM_DIR "/%s", file);
	if (lstat(path, &m->file) || !S_ISREG(m->file.st_mode))
		return false;
	o.flags = IPCMAP_RDONLY | IPCMAP_FOREIGN;
	/* a list is a glance: no waiting for a creator unless asked to */
	o.deadline_ns = a->timeout_ns ? a->timeout_ns : IPCMAP_NOWAIT;
	m->rc = attach_try(path, &o, m->why, sizeof m->why, &map);
	if (m->rc == 0) {
		m->s = (struct ipcmap_stat){.struct_size = sizeof m->s};
		m->rc = ipcmap_stat(map, &m->s);
		ipcmap_close(map);
	}
	/* what may not be opened might be a map; but the semaphores of others are not */
	if (m->rc == IPCMAP_PERM && m->file.st_size < MAP_LEN_MIN)
		return false;
	return m->rc != IPCMAP_NOTMAP && m->rc != IPCMAP_NOTFOUND;
}

static int list_maps(const struct args *a)
{
	struct table t = {.align = "lllrrrrr"};
	struct dirent **files;
	int n = scandir(SHM_DIR, &files, NULL, alphasort);

	if (n < 0) {
		say(SHM_DIR, "%s", strerror(errno));
		return BAD;
	}
	for (int i = 0; i < n; i++) {
		struct host_map m;

		if (look(a, files[i]->d_name, &m)) {
			if (t.n_rows == 0 && !a->json)
				table_row(&t, "name", "owner", "mode", "used", "limit",
					  "entries", "attached", "age");
			if (a->json)
				map_json(&m);
			else
				map_row(&t, &m);
		}
		free(files[i]);
	}
	free(files);
	table_print(&t);
	return DONE;
}

static int run(struct args *a)
{
	struct listing l = {.args = a};
	const char *name;
	int c;

	while ((c = args_next(a)) != -1) {
		if (c == 'l')
			l.longer = true;
		else if (c == '0')
			l.null = true;
	}
	name = args_more(a);
	if (name && !*name)
		args_usage(a, "NAME is empty");
	if (name)
		return list_keys(a, name, &l);
	return list_maps(a);
}

const struct verb cmd_ls = {
	.name = "ls",
	.operands = "[NAME [PREFIX]]",
	.summary = "the maps of this host, or the keys of a map",
	.opts = opts,
	.notes = "Keys come in no particular order, with unprintable bytes escaped: \\n,\n"
		 "\\xff. With --json there is an object a line; keys that are not UTF-8\n"
		 "are in key_b64. Maps that cannot be opened are listed with the reason.\n",
	.run = run,
};
