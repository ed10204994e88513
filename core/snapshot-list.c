/* SPDX-License-Identifier: MIT */
/*
 * snapshot-list.c - im_snapshot_list() of snapshot.h: all versions, without a lock
 *
 * Each version is shown if it was the same before and after it was looked at; together they
 * are no view of one moment. No code of the caller runs before all are gathered.
 */
#include "snapshot.h"

#include "keep.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	const struct ipcmap_snapshot_info *x = a, *y = b;
	int r = strcmp(x->table, y->table);

	return r ? r : x->version < y->version ? -1 : x->version > y->version;
}

static void inform(const struct im_keep *k, uint32_t slot, const struct im_kept *v,
		   struct ipcmap_snapshot_info *ret)
{
	im_copy_racy(ret->table, k->a.tables[v->table].name, sizeof(ret->table));
	ret->table[sizeof(ret->table) - 1] = '\0';
	ret->version = v->version;
	ret->keys = v->keys;
	ret->len = (uint64_t)v->n << k->a.seg->extent_shift;
	ret->time = v->time;
	ret->current = im_keep_is_current(&k->a, slot, v);
	ret->kept = v->state == FMT_KEPT;
	ret->holders = k->held[slot];
}

/*
 * Each version that stays what it is while it is looked at. One that cannot be opened is there
 * for its holders: without any, its memory goes with the next who takes the area's lock.
 */
static size_t gather(const struct im_keep *k, struct ipcmap_snapshot_info *list)
{
	uint32_t top = im_keep_top(&k->a);
	size_t n = 0;

	for (uint32_t i = 0; i < top; i++) {
		struct im_kept v, again;

		if (!im_keep_read(&k->a, i, &v) || v.state == FMT_KEPT_FREE ||
		    (v.state == FMT_KEPT_LEAVING && !k->held[i]) ||
		    v.table >= k->a.n_tables || !im_load_acq(&k->a.tables[v.table].current))
			continue;
		inform(k, i, &v, &list[n]);
		im_read_barrier();
		if (im_keep_read(&k->a, i, &again) && again.state == v.state &&
		    again.version == v.version && again.first.word == v.first.word)
			n++;
	}
	return n;
}

int im_snapshot_list(struct ipcmap *m,
		     int (*each)(void *arg, const struct ipcmap_snapshot_info *info), void *arg)
{
	struct ipcmap_snapshot_info *list;
	struct im_keep k;
	size_t n;
	int r = 0;

	im_keep_init(m, &k, NULL);
	list = malloc(k.a.n_kept * sizeof(*list));
	if (!list)
		return IPCMAP_NOMEM;
	im_keep_mark(&k);
	n = gather(&k, list);
	qsort(list, n, sizeof(*list), compare);
	for (size_t i = 0; i < n && !r; i++)
		r = each(arg, &list[i]);
	free(list);
	return r;
}
