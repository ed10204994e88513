/* SPDX-License-Identifier: MIT */
/*
 * view.c - a version of a snapshot table, held by this process
 *
 * Opening takes no lock: read the table's current, the version's fields, the table's name;
 * announce the pin; look whether the version is KEPT still, with the same first extent and
 * word, which are unique for ever. It was KEPT throughout then (keep.c), its table was not
 * dropped, so the name was its name, and nobody frees it before the pin goes. If not, again.
 * The extents are mapped side by side; lookups go there without a copy and without a check.
 *
 * A process has one pin for each version, however often it is opened: views are shared and
 * counted, in a list under the life lock, which is the lock that fork() waits for.
 *
 * A read-only attach can store no pin. It copies the version into memory of its own, and looks
 * at the word of the first extent after it: that rises before any of them is used again. The
 * same is done when there is no free pin, no owner slot, or no room for a mapping, so opening
 * does not fail for a cap; and for an old version that is stored compressed.
 *
 * Fork. A child inherits the mappings, but the pins are the parent's, and go when the parent
 * closes them or dies. So a child pins anew: each call on a view compares the token of this
 * life of the process (life.c; one load), and the first one in a child finds another. If the
 * version is KEPT, the usual way does; if it is LEAVING, its memory is there as long as the
 * parent, or anybody, holds it, but only the area's lock tells that nobody is about to free
 * it: the child pins under that lock. If it has gone, the view is dead (MISMATCH) and the
 * child opens the current version. Bytes that a child looks at before its first call on the
 * view are only as safe as the parent's pin. Pinning in the fork handler was rejected: it
 * would claim an owner slot in every child, and no fork handler runs after a raw clone(2).
 *
 * Invariants
 *  view.I1  a view that is not a copy, with a token that holds, has a pin of this process on
 *           its version.
 */
#include "view.h"

#include "crash.h"
#include "large.h"
#include "life.h"
#include "value.h"

#include <stdlib.h>

#define TRIES 16u
#define AGAIN (-4100)

static struct ipcmap_snapshot *views;

/* The name of an entry may be changing; the caller looks again at what makes it count. */
uint32_t im_view_find(const struct im_area *a, const char *name)
{
	char want[sizeof(a->tables->name)] = "", have[sizeof(want)];
	size_t len = strlen(name);

	if (!len || len >= sizeof(want))
		return a->n_tables;
	memcpy(want, name, len);
	for (uint32_t i = 0; i < a->n_tables; i++) {
		if (!im_load_acq(&a->tables[i].current))
			continue;
		im_copy_racy(have, a->tables[i].name, sizeof(have));
		if (memcmp(want, have, sizeof(want)) == 0)
			return i;
	}
	return a->n_tables;
}

static bool is_named(const struct im_area *a, uint32_t table, const char *name)
{
	char have[sizeof(a->tables->name)];

	im_copy_racy(have, a->tables[table].name, sizeof(have));
	im_read_barrier();
	return strnlen(have, sizeof(have)) == strlen(name) &&
	       memcmp(have, name, strlen(name)) == 0;
}

/* Which version of @table that can be opened has the number; n_kept: none. */
static uint32_t walk(const struct im_area *a, uint32_t table, uint64_t version)
{
	uint32_t top = im_keep_top(a);

	for (uint32_t slot = 0; slot < top; slot++) {
		crash("read.walk");
		if (im_load32_acq(&a->kept[slot].state) == FMT_KEPT &&
		    im_load32_rlx(&a->kept[slot].table) == table &&
		    im_load_rlx(&a->kept[slot].version) == version)
			return slot;
	}
	return a->n_kept;
}

static uint32_t slot_of(const struct im_area *a, uint32_t table, uint64_t version)
{
	uint64_t was, seq = 1;
	uint32_t slot;
	unsigned i = 0;

	do {
		was = im_keep_seq(a);
		slot = walk(a, table, version);
	} while (slot == a->n_kept && !im_keep_walked(a, was, &seq) && ++i < TRIES);
	return slot;
}

/* The place of a version of @table, with its fields: 0; IPCMAP_NOTFOUND; AGAIN. */
static int find_version(const struct im_area *a, uint32_t table, uint64_t version,
			uint32_t *ret_slot, struct im_kept *ret)
{
	/* ord(switch): the version's fields and its bytes were stored before. */
	uint64_t current = im_load_acq(&a->tables[table].current);
	uint32_t slot = fmt_current_slot(current);

	if (!current)
		return AGAIN; /* dropped since its name was found */
	if (version && fmt_current_version(current) != version)
		slot = slot_of(a, table, version);
	if (slot >= im_keep_top(a))
		return version ? IPCMAP_NOTFOUND : IPCMAP_CORRUPT;
	*ret_slot = slot;
	if (!im_keep_read(a, slot, ret))
		return ret->state == FMT_KEPT ? IPCMAP_CORRUPT : AGAIN;
	if (ret->state != FMT_KEPT || ret->table != table ||
	    ret->version != (version ? version : fmt_current_version(current)))
		return AGAIN;
	im_read_barrier();
	return 0;
}

static bool is_still(const struct im_area *a, uint32_t slot, const struct im_held *first)
{
	const struct fmt_kept *v = &a->kept[slot];

	return im_load32_acq(&v->state) == FMT_KEPT && im_load_rlx(&v->word) == first->word &&
	       im_load32_rlx(&v->first) == first->extent;
}

/* ---- the list of this process's views ---- */

/* Under the life lock: a view of the same version that holds in this life, counted. */
static struct ipcmap_snapshot *share(const struct im_seg *seg, const struct im_held *first)
{
	for (struct ipcmap_snapshot *v = views; v; v = v->next) {
		if (v->seg != seg || v->first.word != first->word ||
		    v->first.extent != first->extent ||
		    im_load_rlx(v->token_at) != im_load_rlx(&v->token))
			continue;
		v->refs++;
		return v;
	}
	return NULL;
}

static void forget(struct ipcmap_snapshot *v)
{
	struct ipcmap_snapshot **at = &views;

	while (*at && *at != v)
		at = &(*at)->next;
	if (*at)
		*at = v->next;
}

/* Of a view that nobody else knows. */
static void destroy(struct ipcmap_snapshot *v)
{
	struct im_area a;

	im_window_close(&v->window);
	if (!v->copy && im_load_rlx(v->token_at) == im_load_rlx(&v->token)) {
		im_area_of(v->seg, &a);
		im_unpin(&a.pins, v->pin);
	}
	free(v->copy);
	free(v);
}

/* ---- opening ---- */

/* Into memory of our own; the word of the first extent says whether that was right. */
static int copy_bytes(const struct im_seg *seg, const struct im_kept *k, unsigned char *to)
{
	const struct im_value packed = {
		.seg = seg,
		.chain = {.first = k->first.extent, .last = k->last, .n = k->n},
		.len = (uint32_t)k->stored,
		.packed = true,
	};

	if (k->stored)
		return im_value_copy(&packed, to, k->len);
	return im_large_copy(seg, &packed.chain, 0, to, k->len);
}

static int copy(struct ipcmap_snapshot *v, const struct im_area *a, const struct im_kept *k)
{
	struct im_seg *seg = a->seg;
	int r;

	v->copy = malloc(k->len + 8);
	if (!v->copy)
		return IPCMAP_NOMEM;
	r = copy_bytes(seg, k, v->copy);
	im_read_barrier();
	if (im_load_acq(&seg->table[k->first.extent].word) != k->first.word)
		r = AGAIN;
	if (r == 0)
		r = im_image_open(v->copy, k->len, seg->hash_seed, &v->image);
	if (r) {
		free(v->copy);
		v->copy = NULL;
		return r;
	}
	v->token_at = &v->token;
	return 0;
}

/* Pin it and map it. @k was read before, without a lock. */
static int hold(struct ipcmap_snapshot *v, const struct im_area *a, const struct im_kept *k)
{
	struct im_seg *seg = a->seg;
	int r = im_pin(&a->pins, &k->first, &v->pin);

	if (r)
		return r;
	v->token_at = &im_tokens[seg->id];
	v->token = im_load_acq(v->token_at);
	r = is_still(a, v->slot, &k->first) ? 0 : AGAIN;
	crash("view.pinned");
	if (r == 0)
		r = im_window_open(seg, k->first.extent, k->n, &v->window);
	if (r == 0)
		r = im_image_open(v->window.at, k->len, seg->hash_seed, &v->image);
	if (r) {
		im_window_close(&v->window);
		im_unpin(&a->pins, v->pin);
	}
	return r;
}

static int make(struct ipcmap *m, const struct im_area *a, uint32_t slot,
		const struct im_kept *k, struct ipcmap_snapshot **ret)
{
	struct ipcmap_snapshot *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return IPCMAP_NOMEM;
	v->seg = m->seg;
	v->first = k->first;
	v->slot = slot;
	v->version = k->version;
	v->current = &a->tables[k->table].current;
	v->was = fmt_current(k->version, slot);
	v->deadline_ns = m->deadline_ns;
	v->refs = 1;
	r = m->seg->rdonly || k->stored ? -EROFS : im_owner_ready(m->seg);
	if (r == 0)
		r = hold(v, a, k);
	if (r && r != AGAIN && r != -EUCLEAN && r != -EDEADLK)
		r = copy(v, a, k);
	if (r) {
		free(v);
		return r;
	}
	*ret = v;
	return 0;
}

static int try_open(struct ipcmap *m, const struct im_area *a, const char *table,
		    uint64_t version, struct ipcmap_snapshot **ret)
{
	uint32_t t = im_view_find(a, table), slot;
	struct ipcmap_snapshot *v = NULL, *other;
	struct im_kept k;
	int r;

	if (t == a->n_tables)
		return IPCMAP_NOTFOUND;
	r = find_version(a, t, version, &slot, &k);
	if (r)
		return r;
	if (!is_named(a, t, table))
		return AGAIN;
	r = im_life_lock();
	if (r)
		return r;
	*ret = share(m->seg, &k.first);
	im_life_unlock();
	if (*ret)
		return 0;
	r = make(m, a, slot, &k, &v);
	if (r)
		return r;
	r = im_life_lock();
	if (r) {
		destroy(v);
		return r;
	}
	/* another thread may have been quicker */
	other = share(m->seg, &k.first);
	if (!other) {
		v->next = views;
		views = v;
	}
	im_life_unlock();
	if (other)
		destroy(v);
	*ret = other ? other : v;
	return 0;
}

int im_view_open(struct ipcmap *m, const char *table, uint64_t version,
		 struct ipcmap_snapshot **ret_snap)
{
	struct im_area a;

	im_area_of(m->seg, &a);
	for (unsigned i = 0; i < TRIES; i++) {
		int r = try_open(m, &a, table, version, ret_snap);

		if (r != AGAIN)
			return r;
	}
	return IPCMAP_BUSY;
}

void im_view_close(struct ipcmap_snapshot *v)
{
	bool last;

	if (im_life_lock())
		return;
	last = --v->refs == 0;
	if (last)
		forget(v);
	im_life_unlock();
	if (last)
		destroy(v);
}

/* ---- after fork ---- */

/* The version is LEAVING, or gone: under the lock nobody frees it meanwhile. */
static int is_there(struct ipcmap_snapshot *v, const struct im_area *a)
{
	uint64_t bit = UINT64_C(1) << v->seg->id;
	struct im_wait wait;
	struct im_keep k;
	int r;

	if (im_tls.held & bit)
		return IPCMAP_DEADLOCK;
	im_tls.held |= bit;
	im_compiler_barrier();
	im_wait_start(v->seg, v->deadline_ns, &wait);
	k.a = *a;
	k.wait = &wait;
	r = im_keep_enter(&k);
	if (r == 0) {
		const struct fmt_kept *s = &a->kept[v->slot];

		if (im_load32_rlx(&s->state) == FMT_KEPT_FREE ||
		    im_load_rlx(&s->word) != v->first.word ||
		    im_load32_rlx(&s->first) != v->first.extent ||
		    im_load_rlx(&v->seg->table[v->first.extent].word) != v->first.word)
			r = IPCMAP_MISMATCH;
		im_keep_leave(&k);
	}
	im_compiler_barrier();
	im_tls.held &= ~bit;
	return r;
}

int im_view_again(struct ipcmap_snapshot *v)
{
	struct im_area a;
	uint64_t token;
	uint32_t pin;
	int r = im_owner_ready(v->seg);

	if (r)
		return r;
	im_area_of(v->seg, &a);
	r = im_pin(&a.pins, &v->first, &pin);
	if (r)
		return r;
	/* the pin was told before: either the version is KEPT, or the lock says what it is */
	if (!is_still(&a, v->slot, &v->first))
		r = is_there(v, &a);
	crash("view.again");
	if (r == 0)
		r = im_life_lock();
	if (r) {
		im_unpin(&a.pins, pin);
		return r;
	}
	token = im_load_rlx(v->token_at);
	if (im_load_rlx(&v->token) == token) {
		im_unpin(&a.pins, pin); /* another thread was quicker */
	} else {
		v->pin = pin;
		/* ord(pin): the pin is there before the token that says so. */
		im_store_rel(&v->token, token);
	}
	im_life_unlock();
	return 0;
}
