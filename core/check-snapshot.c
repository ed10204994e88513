/* SPDX-License-Identifier: MIT */
/*
 * check-snapshot.c - im_check_snapshots() of check.h: tables, versions, their bytes, pins
 *
 * With a writable attach the area's lock is held. Without one the walk counts when no version
 * was published or went meanwhile; else it is made again. Nothing read is trusted.
 */
#include "check.h"

#include "image.h"
#include "keep.h"
#include "space.h"
#include "value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIES 16u
#define FINDINGS_MAX 64u
#define LINE_LEN 160u

struct checker {
	struct im_keep k;
	unsigned char *seen; /* by extent: 1 in a version's chain */
	char lines[FINDINGS_MAX][LINE_LEN];
	unsigned n_lines;
};

__attribute__((format(printf, 2, 3))) static void found(struct checker *c, const char *fmt, ...)
{
	va_list ap;

	if (c->n_lines == FINDINGS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(c->lines[c->n_lines++], LINE_LEN, fmt, ap);
	va_end(ap);
}

/* ---- the bytes of a version ---- */

static void check_items(struct checker *c, uint32_t slot, const struct im_image *im)
{
	struct ipcmap_pair p, before = {0};
	uint64_t off = im->items_off;
	const void *val;
	size_t len;

	for (uint32_t i = 0; i < im->n; i++) {
		if (!im_image_item(im, &off, &p)) {
			found(c, "image.I1: version slot %u: item %u is not one", slot, i);
			return;
		}
		if (i && (memcmp(before.key, p.key, min_u64(before.key_len, p.key_len)) > 0))
			found(c, "image.I1: version slot %u: item %u is out of order", slot, i);
		if (!p.key_len || im_image_get(im, p.key, p.key_len, &val, &len) || val != p.val)
			found(c, "image.I2: version slot %u: item %u is not found by its key",
			      slot, i);
		before = p;
	}
	if (off != im->len)
		found(c, "image.I1: version slot %u: bytes behind the last item", slot);
}

/* A copy, so that nothing changes while it is looked at. */
static void check_bytes(struct checker *c, uint32_t slot, const struct im_kept *v)
{
	const struct im_seg *seg = c->k.a.seg;
	unsigned char *bytes = malloc(v->len + 8);
	uint32_t ext = v->first.extent;
	struct im_image im;

	if (!bytes)
		return;
	if (v->stored) {
		const struct im_value packed = {
			.seg = seg,
			.chain = {.first = ext, .last = v->last, .n = v->n},
			.len = (uint32_t)v->stored,
			.packed = true,
		};

		if (im_value_copy(&packed, bytes, v->len)) {
			found(c, "keep.I5: version slot %u does not unpack", slot);
			free(bytes);
			return;
		}
	}
	for (uint64_t at = 0; !v->stored && at < v->len && ext < seg->n_extents;
	     at += seg->extent_len) {
		im_copy_racy(bytes + at, im_seg_extent(seg, ext),
			     min_u64(seg->extent_len, v->len - at));
		ext = im_load32_rlx(&seg->table[ext].next);
	}
	if (im_image_open(bytes, v->len, seg->hash_seed, &im) || im.n != v->keys)
		found(c, "image.I1: version slot %u holds no image of %u keys", slot, v->keys);
	else
		check_items(c, slot, &im);
	free(bytes);
}

/* ---- versions and tables ---- */

static bool check_chain(struct checker *c, uint32_t slot, const struct im_kept *v)
{
	const struct im_seg *seg = c->k.a.seg;
	uint32_t ext = v->first.extent, n = 1;

	if (im_load_rlx(&seg->table[ext].word) != v->first.word) {
		found(c, "keep.I1: version slot %u: extent %u has another word", slot, ext);
		return false;
	}
	for (;; n++) {
		if (c->seen[ext]) {
			found(c, "keep.I1: extent %u belongs to two versions", ext);
			return false;
		}
		c->seen[ext] = 1;
		if (ext == v->last || n == v->n)
			break;
		ext = im_load32_rlx(&seg->table[ext].next);
		if (ext >= seg->n_extents ||
		    fmt_word_state(im_load_rlx(&seg->table[ext].word)) != FMT_PIECE)
			break;
	}
	if (ext == v->last && n == v->n && im_kept_bytes(v) > ((uint64_t)n - 1) << seg->extent_shift)
		return true;
	found(c, "keep.I1: version slot %u: its chain is not whole", slot);
	return false;
}

static void check_version(struct checker *c, uint32_t slot)
{
	const struct im_area *a = &c->k.a;
	const struct fmt_table *t;
	struct im_kept v;
	bool sane = im_keep_read(a, slot, &v);

	if (v.state == FMT_KEPT_FREE)
		return;
	if (!sane || v.state > FMT_KEPT_LEAVING) {
		found(c, "keep.I1: version slot %u has numbers that cannot be", slot);
		return;
	}
	/* a read-only attach may meet one that a dead process began to free */
	if (v.state == FMT_KEPT_LEAVING && a->seg->rdonly)
		return;
	if (check_chain(c, slot, &v))
		check_bytes(c, slot, &v);
	if (v.state == FMT_KEPT_LEAVING)
		return;
	if (v.table >= a->n_tables) {
		found(c, "keep.I3: version slot %u is of no table", slot);
		return;
	}
	t = &a->tables[v.table];
	if (!a->seg->rdonly && !im_load_rlx(&t->current))
		found(c, "keep.I3: version slot %u is of a table that was dropped", slot);
	if (!v.version || v.version > im_load_rlx(&t->last))
		found(c, "snapshot.I2: version %" PRIu64 " was never published", v.version);
	for (uint32_t i = 0; i < slot; i++)
		if (im_load32_rlx(&a->kept[i].state) == FMT_KEPT &&
		    im_load32_rlx(&a->kept[i].table) == v.table &&
		    im_load_rlx(&a->kept[i].version) == v.version)
			found(c, "snapshot.I2: version %" PRIu64 " is there twice", v.version);
}

static void check_table(struct checker *c, uint32_t table)
{
	const struct im_area *a = &c->k.a;
	const struct fmt_table *t = &a->tables[table];
	uint64_t current = im_load_acq(&t->current);
	uint32_t slot = fmt_current_slot(current);
	struct im_kept v;

	if (!current)
		return;
	if (slot >= im_keep_top(a) || !im_keep_read(a, slot, &v) || v.state != FMT_KEPT ||
	    v.table != table || v.version != fmt_current_version(current))
		found(c, "keep.I3: table %u: its current version is not there", table);
	else if (v.stored)
		found(c, "keep.I5: table %u: its current version is compressed", table);
	if (fmt_current_version(current) != im_load_rlx(&t->last))
		found(c, "snapshot.I2: table %u: the current version is not the last", table);
	if (!t->name[0] || t->name[sizeof(t->name) - 1])
		found(c, "snapshot.I1: table %u has no name", table);
	for (uint32_t i = 0; i < table; i++)
		if (im_load_rlx(&a->tables[i].current) &&
		    memcmp(a->tables[i].name, t->name, sizeof(t->name)) == 0)
			found(c, "snapshot.I1: tables %u and %u have one name", i, table);
}

static void check_pins(struct checker *c)
{
	const struct im_area *a = &c->k.a;
	uint32_t top = im_pin_top(&a->pins);

	for (uint32_t i = 0; i < a->pins.n; i++) {
		struct im_held h;
		uint32_t owner = im_pin_read(&a->pins, i, &h);

		if (owner && i >= top && i >= im_pin_top(&a->pins))
			found(c, "pin.I1: pin %u is taken beyond the last", i);
		if (owner && h.word && !im_seg_has_extent(a->seg, h.extent))
			found(c, "pin.I2: pin %u holds extent %u", i, h.extent);
	}
}

static void check_once(struct checker *c)
{
	const struct im_area *a = &c->k.a;
	const struct im_seg *seg = a->seg;

	memset(c->seen, 0, seg->n_extents);
	c->n_lines = 0;
	for (uint32_t i = 0; i < im_keep_top(a); i++)
		check_version(c, i);
	for (uint32_t i = im_keep_top(a); i < a->n_kept; i++)
		if (im_load32_rlx(&a->kept[i].state) != FMT_KEPT_FREE && i >= im_keep_top(a))
			found(c, "keep.I4: version slot %u is used beyond the last", i);
	for (uint32_t i = 0; i < a->n_tables; i++)
		check_table(c, i);
	check_pins(c);
	for (uint32_t ext = 0; ext < im_space_fresh(seg) && !seg->rdonly; ext++) {
		uint64_t w = im_load_rlx(&seg->table[ext].word);

		if (fmt_word_state(w) == FMT_LARGE && fmt_word_who(w) == FMT_WHO_SNAP &&
		    !c->seen[ext])
			found(c, "keep.I2: extent %u is of no version", ext);
	}
}

/* No list was stored, and nothing left, from the begin of the walk to its end. */
static void check_unlocked(struct checker *c)
{
	struct fmt_snaps *s = c->k.a.s;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t seq = im_load_acq(&s->redo.seq);

		if (seq & 1 || im_load32_acq(&s->lock))
			continue;
		check_once(c);
		im_read_barrier();
		if (im_load_acq(&s->redo.seq) == seq && !im_load32_acq(&s->lock))
			return;
	}
	c->n_lines = 0;
	found(c, "snapshots: busy, or a publisher is dead");
}

int im_check_snapshots(struct ipcmap *m, void (*report)(void *arg, const char *line), void *arg)
{
	struct checker *c = calloc(1, sizeof(*c));
	struct im_wait wait;
	int r = 0;

	if (!c)
		return IPCMAP_NOMEM;
	im_wait_start(m->seg, m->deadline_ns, &wait);
	im_keep_init(m, &c->k, &wait);
	c->seen = malloc(m->seg->n_extents);
	if (!c->seen)
		r = IPCMAP_NOMEM;
	if (r == 0 && m->seg->rdonly) {
		check_unlocked(c);
	} else if (r == 0) {
		r = im_keep_enter(&c->k);
		if (r == 0) {
			check_once(c);
			im_keep_leave(&c->k);
		}
	}
	for (unsigned i = 0; i < c->n_lines; i++)
		report(arg, c->lines[i]);
	free(c->seen);
	free(c);
	return r;
}
