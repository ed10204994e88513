/* SPDX-License-Identifier: MIT */
/*
 * snap-diff.c - ipcmap snapshot diff: what changed from one version to another
 *
 * Both versions have their keys in the same order, so one walk over both finds everything.
 */
#include <stdio.h>
#include <string.h>

#include "snap.h"

struct diff {
	const char *name, *table;
	bool json;
	bool differs;
};

static int order(const struct ipcmap_pair *x, const struct ipcmap_pair *y)
{
	size_t len = x->key_len < y->key_len ? x->key_len : y->key_len;
	int r = memcmp(x->key, y->key, len);

	return r ? r : x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
}

static bool same_value(const struct ipcmap_pair *x, const struct ipcmap_pair *y)
{
	return x->val_len == y->val_len && memcmp(x->val, y->val, x->val_len) == 0;
}

static void print_line(char sign, const struct ipcmap_pair *p)
{
	printf("%c ", sign);
	out_escaped(p->key, p->key_len);
	out_bytes("=", 1);
	out_escaped(p->val, p->val_len);
	out_bytes("\n", 1);
}

/* One of the two may be NULL. */
static void print(struct diff *d, const struct ipcmap_pair *was, const struct ipcmap_pair *is)
{
	d->differs = true;
	if (d->json) {
		const struct ipcmap_pair *p = is ? is : was;
		json_t *obj = json_object();

		json_object_set_new(obj, "op",
				    json_string(!was ? "added" : !is ? "removed" : "changed"));
		json_set_bytes(obj, "key", p->key, p->key_len);
		if (was)
			json_set_bytes(obj, "old", was->val, was->val_len);
		if (is)
			json_set_bytes(obj, "new", is->val, is->val_len);
		out_json(obj);
		return;
	}
	if (was)
		print_line('-', was);
	if (is)
		print_line('+', is);
}

static void compare(struct diff *d, const struct set *was, const struct set *is)
{
	size_t i = 0, k = 0;

	while ((i < was->n || k < is->n) && !out_failed()) {
		const struct ipcmap_pair *x = i < was->n ? &was->pairs[i] : NULL;
		const struct ipcmap_pair *y = k < is->n ? &is->pairs[k] : NULL;
		int r = !x ? 1 : !y ? -1 : order(x, y);

		if (r < 0)
			print(d, x, NULL);
		else if (r > 0)
			print(d, NULL, y);
		else if (!same_value(x, y))
			print(d, x, y);
		i += r <= 0;
		k += r >= 0;
	}
}

struct before {
	const char *table;
	uint64_t than, found;
};

static int look(void *arg, const struct ipcmap_snapshot_info *i)
{
	struct before *b = arg;

	if (i->kept && i->version < b->than && strcmp(i->table, b->table) == 0)
		b->found = i->version; /* they come in ascending order */
	return 0;
}

/* Holds it, or says why not. */
static struct ipcmap_snapshot *hold(const struct diff *d, struct ipcmap *map, uint64_t version)
{
	struct ipcmap_snapshot *snap;
	char what[80];
	int rc = ipcmap_snapshot_open(map, d->table, version, &snap);

	if (rc == 0)
		return snap;
	snprintf(what, sizeof what, "no such table, or it has no version %llu",
		 (unsigned long long)version);
	snap_error(d->name, d->table, rc, version ? what : "no such table");
	return NULL;
}

int snap_diff(struct args *a, const struct snap_how *how)
{
	struct diff d = {.json = a->json};
	struct before b = {0};
	const char *v1, *v2;
	struct ipcmap *map;
	struct ipcmap_snapshot *was, *is;
	struct set x, y;

	(void)how;
	d.name = args_take(a, "NAME");
	d.table = b.table = snap_table(a);
	v1 = args_more(a);
	v2 = args_more(a);
	args_end(a);
	b.found = v1 ? snap_number(a, "V1", v1) : 0;
	b.than = v2 ? snap_number(a, "V2", v2) : 0;
	map = attach(a, d.name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	is = hold(&d, map, b.than);
	if (!is)
		return BAD;
	if (!b.found) {
		b.than = ipcmap_snapshot_version(is);
		ipcmap_snapshot_list(map, look, &b);
	}
	if (!b.found) {
		say_key(d.name, d.table, strlen(d.table), "it has no version before the current");
		return BAD;
	}
	was = hold(&d, map, b.found);
	if (!was)
		return BAD;
	set_of(&x, was);
	set_of(&y, is);
	compare(&d, &x, &y);
	return d.differs ? NOT : DONE;
}
