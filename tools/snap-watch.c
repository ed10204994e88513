/* SPDX-License-Identifier: MIT */
/*
 * snap-watch.c - ipcmap snapshot watch: a JSON line for each new version
 *
 * The library tells that the current version is another one. What became current in between
 * is in the list of versions as long as it is kept; what is not kept any more is not shown.
 *
 * When another map gets the name it goes on with that: its versions are all new, and a table
 * that it has not was dropped.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "remade.h"
#include "snap.h"

#define SLICE_NS 500000000ull /* between two looks whether the name has another map */

struct watch {
	const char *name, *table;
	struct ipcmap *map;
	struct remade remade;
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

static void show(struct watch *w)
{
	json_t *obj;

	if (w->now) {
		if (w->now < w->seen)
			w->seen = 0; /* another entry has the name now, and counts anew */
		ipcmap_snapshot_list(w->map, show_version, w);
		return;
	}
	obj = json_object();
	json_set_bytes(obj, "table", w->table, strlen(w->table));
	json_object_set_new(obj, "dropped", json_true());
	print(w, obj);
}

/* Go over to the map that has the name now; true: what there is of it was shown. */
static bool look_for_another(struct watch *w)
{
	struct ipcmap *next = remade_look(&w->remade, w->map);
	bool had = w->seen != 0;

	if (!next)
		return false;
	ipcmap_close(w->map);
	w->map = next;
	w->seen = w->now = 0;
	if (ipcmap_snapshot_wait(w->map, w->table, 0, IPCMAP_NOWAIT, &w->now) == IPCMAP_BUSY)
		w->now = 0;
	if (!w->now && !had)
		return false;
	show(w);
	w->seen = w->now;
	return true;
}

/* 0: shown; BUSY: nothing happened for so long; an error. */
static int next(struct watch *w, uint64_t wait_ns)
{
	uint64_t waited = 0;
	int rc;

	do {
		uint64_t slice = wait_ns == IPCMAP_NOWAIT ? IPCMAP_NOWAIT : SLICE_NS;

		if (slice == SLICE_NS && wait_ns != IPCMAP_FOREVER && wait_ns - waited < slice)
			slice = wait_ns - waited;
		rc = ipcmap_snapshot_wait(w->map, w->table, w->seen, slice, &w->now);
		if (rc == 0) {
			show(w);
			w->seen = w->now;
			return 0;
		}
		if (look_for_another(w))
			return 0;
		waited += SLICE_NS;
		/* a repaired one has the place of this, or will have in a moment */
		if (rc == IPCMAP_MISMATCH)
			nanosleep(&(struct timespec){0, SLICE_NS}, NULL);
	} while ((rc == IPCMAP_BUSY || rc == IPCMAP_MISMATCH) && waited < wait_ns &&
		 wait_ns != IPCMAP_NOWAIT);
	return rc;
}

int snap_watch(struct args *a, const struct snap_how *how)
{
	struct watch w = {.left = UINT64_MAX};
	uint64_t wait_ns = a->timeout_ns ? a->timeout_ns : IPCMAP_FOREVER;
	int rc = 0;

	w.name = args_take(a, "NAME");
	w.table = snap_table(a);
	args_end(a);
	if (how->count)
		w.left = opt_number(a, "--count", how->count, 10, UINT64_MAX - 1);
	w.seen = how->since ? opt_number(a, "--since", how->since, 10, UINT64_MAX >> 16) : 0;
	remade_init(&w.remade, a, w.name, IPCMAP_RDONLY, "watching for another of this name");
	w.map = attach(a, w.name, IPCMAP_RDONLY);
	if (!w.map)
		return BAD;
	if (!how->since) {
		rc = ipcmap_snapshot_wait(w.map, w.table, 0, IPCMAP_NOWAIT, &w.seen);
		if (rc == IPCMAP_BUSY)
			rc = 0;
	}
	while (rc == 0 && w.left && !out_failed())
		rc = next(&w, wait_ns);
	if (rc == IPCMAP_BUSY)
		return NOT;
	return rc < 0 ? say_error(w.name, NULL, 0, rc), BAD : DONE;
}
