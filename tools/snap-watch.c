/* SPDX-License-Identifier: MIT */
/*
 * snap-watch.c - ipcmap snapshot watch: a JSON line for each new version
 *
 * The library tells that the current version is another one. What became current in between
 * is in the list of versions as long as it is kept; what is not kept any more is not shown.
 */
#include <stdio.h>
#include <string.h>

#include "snap.h"

struct watch {
	const char *name, *table;
	uint64_t seen; /* shown, or there at the start */
	uint64_t now;
	uint64_t left; /* lines to print */
};

static void print(struct watch *w, json_t *obj)
{
	out_json(obj);
	fflush(stdout);
	w->left--;
}

static int show_version(void *arg, const struct ipcmap_snapshot_info *i)
{
	struct watch *w = arg;
	json_t *obj;

	if (strcmp(i->table, w->table) != 0 || i->version <= w->seen || i->version > w->now ||
	    !i->kept)
		return 0;
	obj = json_object();
	json_set_bytes(obj, "table", i->table, strlen(i->table));
	json_set_number(obj, "version", i->version);
	json_set_number(obj, "keys", i->keys);
	json_set_number(obj, "time", i->time);
	print(w, obj);
	return !w->left || out_failed();
}

static void show(struct watch *w, struct ipcmap *map)
{
	json_t *obj;

	if (w->now) {
		if (w->now < w->seen)
			w->seen = 0; /* another entry has the name now, and counts anew */
		ipcmap_snapshot_list(map, show_version, w);
		return;
	}
	obj = json_object();
	json_set_bytes(obj, "table", w->table, strlen(w->table));
	json_object_set_new(obj, "dropped", json_true());
	print(w, obj);
}

int snap_watch(struct args *a, const struct snap_how *how)
{
	struct watch w = {.left = UINT64_MAX};
	uint64_t wait_ns = a->timeout_ns ? a->timeout_ns : IPCMAP_FOREVER;
	struct ipcmap *map;
	int rc = 0;

	w.name = args_take(a, "NAME");
	w.table = snap_table(a);
	args_end(a);
	if (how->count)
		w.left = opt_number(a, "--count", how->count, 10, UINT64_MAX - 1);
	w.seen = how->since ? opt_number(a, "--since", how->since, 10, UINT64_MAX >> 16) : 0;
	map = attach(a, w.name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	if (!how->since) {
		rc = ipcmap_snapshot_wait(map, w.table, 0, IPCMAP_NOWAIT, &w.seen);
		if (rc == IPCMAP_BUSY)
			rc = 0;
	}
	while (rc == 0 && w.left && !out_failed()) {
		rc = ipcmap_snapshot_wait(map, w.table, w.seen, wait_ns, &w.now);
		if (rc == 0) {
			show(&w, map);
			w.seen = w.now;
		}
	}
	if (rc == IPCMAP_BUSY)
		return NOT;
	return rc < 0 ? say_error(w.name, NULL, 0, rc), BAD : DONE;
}
