/* SPDX-License-Identifier: MIT */
/*
 * judge-snapshot.c - which versions of the snapshot tables verify
 *
 * A version is kept when it can be opened, its extents are whole and its own, and its image is
 * what a publication makes: every item in its order, found by its key. Where the current
 * version is damaged the newest sound one is published again, under the next number, as a
 * rollback does: numbers that readers have seen do not come back with other content.
 */
#include "judge.h"

#include "image.h"
#include "keep.h"
#include "pin.h"
#include "redo.h"
#include "value.h"

#include <inttypes.h>
#include <stdlib.h>

void im_judge_name(const struct fmt_table *t, char name[64])
{
	static_assert(sizeof(t->name) == 64, "layout");
	im_copy_racy(name, t->name, 64);
	name[63] = '\0';
}

/* Zero-terminated, and not another table's? */
static bool has_name(const struct im_area *a, uint32_t table)
{
	const struct fmt_table *t = &a->tables[table];

	if (!t->name[0] || t->name[sizeof(t->name) - 1])
		return false;
	for (uint32_t i = 0; i < table; i++)
		if (memcmp(a->tables[i].name, t->name, sizeof(t->name)) == 0)
			return false;
	return true;
}

/* For the report. */
static const char *shown_name(const struct im_area *a, uint32_t table, char name[64])
{
	if (!has_name(a, table))
		return "?";
	im_judge_name(&a->tables[table], name);
	return name;
}

/* One that could be opened, were it whole. */
static bool is_kept(const struct im_area *a, uint32_t slot, struct im_kept *k)
{
	const struct fmt_kept *v = &a->kept[slot];

	k->state = im_load32_rlx(&v->state);
	k->table = im_load32_rlx(&v->table);
	return k->state == FMT_KEPT && k->table < a->n_tables &&
	       im_load_rlx(&a->tables[k->table].current);
}

void im_judge_claim_images(struct im_verdict *v)
{
	struct im_kept k;
	struct im_area a;

	im_area_of(v->m->seg, &a);
	im_verdict_part(v);
	if (im_redo_list_finish(v->m->seg, &a.s->redo)) {
		im_verdict_say(v, "snapshots: the redo list cannot be one: it is not heeded");
		a.s->redo.seq++;
		v->wrong++;
	}
	im_store32_rlx(&a.s->lock, 0);
	for (uint32_t i = 0; i < a.n_kept; i++)
		if (is_kept(&a, i, &k) && im_keep_read(&a, i, &k))
			im_judge_claim(v, k.first.extent, k.n);
}

int im_judge_image_bytes(const struct im_verdict *v, uint32_t slot, struct im_image_bytes *ret)
{
	const struct im_seg *seg = v->m->seg;
	struct im_area a;
	struct im_kept k;
	uint32_t ext;

	im_area_of(v->m->seg, &a);
	if (!im_keep_read(&a, slot, &k) || !k.len)
		return IPCMAP_CORRUPT;
	ret->p = calloc(1, k.len + 8);
	if (!ret->p)
		return IPCMAP_NOMEM;
	ext = k.first.extent;
	if (k.stored) {
		const struct im_value packed = {
			.seg = seg,
			.chain = {.first = ext, .last = k.last, .n = k.n},
			.len = (uint32_t)k.stored,
			.packed = true,
		};

		if (im_value_copy(&packed, ret->p, k.len))
			memset(ret->p, 0, k.len); /* no image is */
	}
	for (uint64_t at = 0; !k.stored && at < k.len && ext < seg->n_extents;
	     at += seg->extent_len) {
		im_copy_racy(ret->p + at, im_seg_extent(seg, ext),
			     min_u64(seg->extent_len, k.len - at));
		ext = im_load32_rlx(&seg->table[ext].next);
	}
	ret->len = k.len;
	ret->time = k.time;
	ret->keys = k.keys;
	return 0;
}

/* Every item in its place, in order, and found. */
static bool is_image(const struct im_verdict *v, const struct im_image_bytes *b)
{
	struct ipcmap_pair p, before = {0};
	struct im_image im;
	const void *val;
	uint64_t off;
	size_t n;

	if (im_image_open(b->p, b->len, v->m->hash_seed, &im) || im.n != b->keys)
		return false;
	off = im.items_off;
	for (uint32_t i = 0; i < im.n; i++) {
		int order;

		if (!im_image_item(&im, &off, &p) || !p.key_len ||
		    im_image_get(&im, p.key, p.key_len, &val, &n) || val != p.val)
			return false;
		order = i ? memcmp(before.key, p.key, min_u64(before.key_len, p.key_len)) : -1;
		if (order > 0 || (order == 0 && before.key_len >= p.key_len))
			return false;
		before = p;
	}
	return off == im.len;
}

/* NULL: the version is whole. */
static const char *judge_version(struct im_verdict *v, const struct im_area *a, uint32_t slot,
				 struct im_kept *k, int *ret_err)
{
	struct im_image_bytes b;
	bool whole;
	int r;

	if (!im_keep_read(a, slot, k) || !k->version || k->table >= a->n_tables ||
	    im_load_rlx(&a->seg->table[k->first.extent].word) != k->first.word ||
	    im_kept_bytes(k) <= (uint64_t)(k->n - 1) << a->seg->extent_shift ||
	    !im_judge_chain(v, k->first.extent, k->last, k->n))
		return "its extents are not whole, or not its own";
	if (k->version > im_load_rlx(&a->tables[k->table].last))
		return "it was never published";
	r = im_judge_image_bytes(v, slot, &b);
	if (r == IPCMAP_NOMEM) {
		*ret_err = r;
		return NULL;
	}
	whole = r == 0 && is_image(v, &b);
	if (r == 0)
		free(b.p);
	if (!whole)
		return "its bytes are damaged";
	for (uint32_t i = 0; i < v->n_images; i++)
		if (v->images[i].table == k->table && v->images[i].version == k->version)
			return "there is another of that number";
	return NULL;
}

static int judge_slot(struct im_verdict *v, const struct im_area *a, uint32_t slot)
{
	char name[64];
	const struct fmt_table *t;
	struct im_kept k;
	const char *what;
	uint32_t table;
	bool current;
	int err = 0;

	if (!is_kept(a, slot, &k))
		return 0;
	table = k.table;
	t = &a->tables[table];
	what = has_name(a, table) ? judge_version(v, a, slot, &k, &err)
				    : "its table has no name of its own";
	if (err)
		return err;
	current = im_load_rlx(&t->current) ==
		  fmt_current(im_load_rlx(&a->kept[slot].version), slot);
	if (what) {
		v->sum->versions_dropped++;
		im_verdict_say(v, "table %s: dropped version %" PRIu64 "%s: %s",
			       shown_name(a, table, name),
			       im_load_rlx(&a->kept[slot].version), current ? " (current)" : "",
			       what);
		return 0;
	}
	v->images[v->n_images++] =
		(struct im_image_find){slot, k.table, k.version, current, false};
	return 0;
}

static int by_table_and_version(const void *x, const void *y)
{
	const struct im_image_find *a = x, *b = y;

	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	return a->version < b->version ? -1 : a->version > b->version;
}

/* The last of each table has to be current. */
static void settle_current(struct im_verdict *v, const struct im_area *a)
{
	for (uint32_t i = 0; i < v->n_images; i++) {
		struct im_image_find *f = &v->images[i];
		char name[64];

		if ((i + 1 < v->n_images && f[1].table == f->table) || f->current)
			continue;
		f->again = true;
		im_judge_name(&a->tables[f->table], name);
		im_verdict_say(v, "table %s: version %" PRIu64 " becomes current again", name,
			       f->version);
	}
}

/* Tables that had a current version and have none now. */
static void count_tables(struct im_verdict *v, const struct im_area *a)
{
	for (uint32_t t = 0; t < a->n_tables; t++) {
		bool any = false;
		char name[64];

		for (uint32_t i = 0; i < v->n_images && !any; i++)
			any = v->images[i].table == t;
		if (any || !im_load_rlx(&a->tables[t].current))
			continue;
		v->sum->tables_dropped++;
		im_verdict_say(v, "table %s: dropped: no version of it is whole",
			       shown_name(a, t, name));
	}
}

int im_judge_images(struct im_verdict *v)
{
	struct im_area a;
	int r = 0;

	im_area_of(v->m->seg, &a);
	v->images = calloc(a.n_kept, sizeof(*v->images));
	if (!v->images)
		return IPCMAP_NOMEM;
	im_verdict_part(v);
	for (uint32_t i = 0; i < a.n_kept && !r; i++)
		r = judge_slot(v, &a, i);
	if (r)
		return r;
	qsort(v->images, v->n_images, sizeof(*v->images), by_table_and_version);
	settle_current(v, &a);
	count_tables(v, &a);
	v->sum->versions_kept += v->n_images;
	return 0;
}
