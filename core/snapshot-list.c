/* SPDX-License-Identifier: MIT */
/*
 * snapshot-list.c - the lists of snapshot.h: all versions, all holders, without a lock
 *
 * Each version is shown if it was the same before and after it was looked at; together they
 * are no view of one moment. No code of the caller runs before all are gathered.
 *
 * So are holders, by their pins: the owner's name is read between two looks at the pin.
 */
#include "snapshot.h"

#include "keep.h"

#include <stdlib.h>

#define TRIES 16u /* walks while versions come; then what the last one found is shown */

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

/* A publisher that was killed may have left an old version twice, as it was and compressed. */
static size_t once(struct ipcmap_snapshot_info *list, size_t n)
{
	size_t to = 0;

	for (size_t i = 0; i < n; i++) {
		const struct ipcmap_snapshot_info *last = to ? &list[to - 1] : NULL;

		if (last && last->kept && list[i].kept && compare(last, &list[i]) == 0)
			continue;
		list[to++] = list[i];
	}
	return to;
}

int im_snapshot_list(struct ipcmap *m,
		     int (*each)(void *arg, const struct ipcmap_snapshot_info *info), void *arg)
{
	struct ipcmap_snapshot_info *list;
	uint64_t was, seq = 1;
	struct im_keep k;
	unsigned tries = 0;
	size_t n;
	int r = 0;

	im_keep_init(m, &k, NULL);
	list = malloc(k.a.n_kept * sizeof(*list));
	if (!list)
		return IPCMAP_NOMEM;
	do {
		was = im_keep_seq(&k.a);
		im_keep_mark(&k);
		n = gather(&k, list);
	} while (!im_keep_walked(&k.a, was, &seq) && ++tries < TRIES);
	qsort(list, n, sizeof(*list), compare);
	n = once(list, n);
	for (size_t i = 0; i < n && !r; i++)
		r = each(arg, &list[i]);
	free(list);
	return r;
}

/* ---- holders ---- */

static int compare_holders(const void *a, const void *b)
{
	const struct ipcmap_snapshot_holder *x = a, *y = b;
	int r = strcmp(x->table, y->table);

	if (!r)
		r = x->version < y->version ? -1 : x->version > y->version;
	return r ? r : x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* The version that a pin names, and its place; n_kept: none, or its table was dropped. */
static uint32_t version_of(const struct im_keep *k, const struct im_held *h, struct im_kept *ret)
{
	uint32_t top = im_keep_top(&k->a);

	for (uint32_t i = 0; i < top; i++)
		if (im_load_rlx(&k->a.kept[i].word) == h->word && im_keep_read(&k->a, i, ret) &&
		    ret->state != FMT_KEPT_FREE && ret->first.word == h->word &&
		    ret->first.extent == h->extent && ret->table < k->a.n_tables &&
		    im_load_acq(&k->a.tables[ret->table].current))
			return i;
	return k->a.n_kept;
}

static bool inform_holder(const struct im_keep *k, uint32_t pin,
			  struct ipcmap_snapshot_holder *ret)
{
	const struct im_seg *seg = k->a.seg;
	struct im_held h, again;
	uint32_t owner = im_pin_read(&k->a.pins, pin, &h), slot = owner & 0x3ff, place;
	struct im_kept v;

	if (!owner || !h.word || !slot || slot > seg->n_owners)
		return false;
	place = version_of(k, &h, &v);
	if (place == k->a.n_kept)
		return false;
	memset(ret, 0, sizeof(*ret));
	im_copy_racy(ret->table, k->a.tables[v.table].name, sizeof(ret->table));
	ret->table[sizeof(ret->table) - 1] = '\0';
	ret->version = v.version;
	ret->time = v.time;
	ret->current = im_keep_is_current(&k->a, place, &v);
	ret->kept = v.state == FMT_KEPT;
	ret->pid = im_load_rlx(&seg->owners[slot - 1].pid);
	im_copy_racy(ret->comm, seg->owners[slot - 1].comm, sizeof(seg->owners[0].comm));
	im_read_barrier();
	return im_pin_read(&k->a.pins, pin, &again) == owner && again.word == h.word &&
	       again.extent == h.extent && im_pin_counts(&k->a.pins, pin, owner);
}

int im_snapshot_holders(struct ipcmap *m,
			int (*each)(void *arg, const struct ipcmap_snapshot_holder *holder),
			void *arg)
{
	struct ipcmap_snapshot_holder *list;
	uint32_t top, n = 0;
	struct im_keep k;
	int r = 0;

	im_keep_init(m, &k, NULL);
	top = im_pin_top(&k.a.pins);
	list = malloc((top + (size_t)1) * sizeof(*list));
	if (!list)
		return IPCMAP_NOMEM;
	for (uint32_t i = 0; i < top; i++)
		n += inform_holder(&k, i, &list[n]);
	qsort(list, n, sizeof(*list), compare_holders);
	for (uint32_t i = 0; i < n && !r; i++)
		r = each(arg, &list[i]);
	free(list);
	return r;
}
