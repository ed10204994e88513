/* SPDX-License-Identifier: MIT */
/*
 * repair.c - a new segment from what verifies of a damaged one
 *
 *     hold: nobody is attached for writing, and nobody comes        shm/offline.c
 *     judge a private copy of the file                              judge.c and the others
 *     is there anything to do?                                      judge.c, check.c
 *     build a new segment beside it, from what is kept; check it
 *     rename it into the place of the old one
 *
 * The new segment is built by the same puts and publications as any other, so nothing here
 * knows how an index or a log is laid out, and it is checked before it takes the name. It has
 * the old one's geometry, limit, options, counters and hash seed, so keys are in the shards in
 * which they were, and versions of entries, types, lives, and the form in which values are
 * stored stay what they were.
 *
 * Killed anywhere, it leaves the old segment as it was, or the new one in its place; and
 * perhaps a file NAME.repair, which the next repair removes (offline.c has the argument). An
 * error leaves the old segment as it was. What was lost is lost to readers only: the damaged
 * segment stays as NAME.damaged, unless the caller does not want it, or nothing was lost.
 *
 * Invariants
 *  repair.I1  what a get found before and verifies, a get finds afterwards, with its version.
 *  repair.I2  without SALVAGE nothing is there that a get did not find before.
 */
#include "repair.h"

#include "check.h"
#include "crash.h"
#include "judge.h"
#include "large.h"
#include "log.h"
#include "offline.h"
#include "pin.h"
#include "request.h"
#include "snapshot.h"
#include "space.h"
#include "write.h"

#include <stdlib.h>

/* What a map was filled to once may not fit again in another order: the limit may rise to the
 * maximum meanwhile, and then the maximum itself, so often. */
#define GROWTHS 3
#define PACK_MIN_LEAST 64u
#define FINDINGS_SHOWN 16u /* of check */

struct job {
	const char *name; /* its path, for what is said */
	struct im_why why;
	struct im_offline o;
	struct im_seg *copy;
	struct im_verdict v;
	struct ipcmap *m; /* the new one */
	char path[4096];  /* where it is built */
	uint64_t limit;
};

static int set_limit(struct job *j, uint64_t limit)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.limit = limit;
	return im_map_tune(j->m, &o);
}

/* After @r: may it be tried again with a higher limit? */
static bool raise_limit(struct job *j, int r)
{
	uint64_t now = im_load_rlx(&j->m->seg->h->space.limit);

	if ((r != IPCMAP_LIMIT && r != IPCMAP_FULL) || now >= j->m->seg->len)
		return false;
	return set_limit(j, min_u64(now + now / 8, j->m->seg->len)) == 0;
}

/* ---- entries ---- */

static int as_it_was(struct im_op *op, struct im_request *q, const struct im_entry *old,
		     struct im_record *rec)
{
	(void)op;
	(void)old;
	rec->version = *(const uint64_t *)q->arg;
	return 0;
}

/* The key and the value where they are, or copied together when they lie in a chain. */
static int fill_record(const struct im_seg *seg, const struct im_entry *e,
		       struct im_record *rec, unsigned char **ret_mem)
{
	uint32_t far = e->flags & FMT_F_FARKEY ? e->key_len : 0;
	struct fmt_chain c;

	*ret_mem = NULL;
	if (!far)
		rec->key = im_entry_key(e);
	if (!(e->flags & FMT_F_LARGE)) {
		rec->val = im_entry_val(e);
		return 0;
	}
	*ret_mem = malloc(im_large_len(e) + 1);
	if (!*ret_mem)
		return IPCMAP_NOMEM;
	im_entry_chain(e, &c);
	if (im_large_copy(seg, &c, 0, *ret_mem, im_large_len(e))) {
		free(*ret_mem);
		return IPCMAP_CORRUPT;
	}
	if (far)
		rec->key = *ret_mem;
	rec->val = *ret_mem + far;
	return 0;
}

static int put_entry(struct job *j, struct im_find *f)
{
	struct im_request q = {
		.how = &im_request_plain, .make = as_it_was, .arg = &f->version, .as_is = true};
	struct im_record rec = {0};
	unsigned char *mem;
	struct im_entry e;
	int r;

	if (!im_entry_view(j->copy, f->ref, &e))
		return IPCMAP_CORRUPT;
	r = fill_record(j->copy, &e, &rec, &mem);
	if (r)
		return r;
	rec.key_len = e.key_len;
	rec.val_len = e.val_len;
	rec.type = e.type;
	rec.flags = e.flags & (FMT_F_TTL | FMT_F_PACKED);
	rec.expiry = im_entry_expiry(&e);
	rec.hash = f->hash;
	im_large_plan(j->m->seg, &rec);
	do
		r = im_write_run(j->m, &q, &rec);
	while (r && raise_limit(j, r));
	free(mem);
	return r;
}

static int by_version(const void *a, const void *b)
{
	const struct im_find *x = a, *y = b;

	return x->version < y->version ? -1 : x->version > y->version;
}

/* In the order in which they were written, as a shard hands versions out. */
static int put_shard(struct job *j, uint32_t shard)
{
	struct im_finds *f = &j->v.shards[shard];
	int r = 0;

	if (f->n)
		qsort(f->p, f->n, sizeof(*f->p), by_version);
	for (size_t i = 0; i < f->n && !r; i++)
		r = put_entry(j, &f->p[i]);
	return r;
}

/* ---- snapshots ---- */

static int restore(struct job *j, const struct fmt_table *t, const struct im_image_find *f,
		   uint64_t version)
{
	struct im_image_bytes b;
	char name[64];
	int r = im_judge_image_bytes(&j->v, f->slot, &b);

	if (r)
		return r;
	im_judge_name(t, name);
	do
		r = im_snapshot_restore(j->m, name, version, b.time, b.p, b.len, b.keys, &j->why);
	while (r && raise_limit(j, r));
	free(b.p);
	return r;
}

static int put_version(struct job *j, const struct im_area *a, const struct im_image_find *f)
{
	const struct fmt_table *t = &a->tables[f->table];
	int r = restore(j, t, f, f->version);

	if (r || !f->again)
		return r;
	return restore(j, t, f, im_load_rlx(&t->last) + 1);
}

/* Tables that were dropped keep their name and number, and so do those without a sound version.
 */
static int put_name(struct job *j, const struct im_area *a, uint32_t table)
{
	const struct fmt_table *t = &a->tables[table];
	uint64_t last = im_load_rlx(&t->last);
	char name[64], other[64];

	im_judge_name(t, name);
	if (!name[0] || t->name[sizeof(t->name) - 1] || !last)
		return 0;
	for (uint32_t i = 0; i < j->v.n_images; i++) {
		im_judge_name(&a->tables[j->v.images[i].table], other);
		if (strcmp(other, name) == 0)
			return 0;
	}
	return im_snapshot_restore_name(j->m, name, last);
}

static int put_snapshots(struct job *j)
{
	struct im_area a;
	int r = 0;

	im_area_of(j->copy, &a);
	for (uint32_t i = 0; i < j->v.n_images && !r; i++)
		r = put_version(j, &a, &j->v.images[i]);
	for (uint32_t t = 0; t < a.n_tables && !r; t++)
		r = put_name(j, &a, t);
	return r;
}

/* ---- what else a map has ---- */

static uint64_t limit_of(const struct im_seg *seg)
{
	uint64_t limit = im_load_rlx(&seg->h->space.limit);

	return limit >= im_space_least(seg) && limit <= seg->len ? limit : seg->len;
}

static void add_line(struct fmt_line *to, const struct fmt_line *l)
{
	to->misses += l->misses;
	to->hits += l->hits;
	to->puts += l->puts;
	to->dels += l->dels;
	to->waits += l->waits;
	to->raw_len += l->raw_len;
	to->packed_len += l->packed_len;
}

/* Nobody else has the new segment yet. */
static void carry_numbers(struct job *j)
{
	struct fmt_line *to = &j->m->seg->h->shared;

	add_line(to, &j->copy->h->shared);
	for (uint32_t i = 0; i < j->copy->n_lines; i++)
		add_line(to, &j->copy->lines[i]);
	for (uint32_t i = 0; i < j->copy->n_shards; i++) {
		const struct fmt_shard *from = &j->v.m->shards[i];
		struct fmt_shard *s = &j->m->shards[i];

		/* versions that were handed out do not come back */
		if (from->version > s->version && from->version < FMT_VERSION_MOST)
			im_store_rlx(&s->version, from->version);
		im_store_rlx(&s->cleaned, im_load_rlx(&s->cleaned) + from->cleaned);
		im_store_rlx(&s->expired, im_load_rlx(&s->expired) + from->expired);
	}
}

/* ---- building ---- */

/* Made with RESERVE? */
static bool is_reserved(const struct im_seg *seg)
{
	uint32_t n = im_space_extents(seg, limit_of(seg)), i = 0;

	while (i < n && im_load32_rlx(&seg->table[i].backed))
		i++;
	return i == n;
}

static struct im_seg_create like(const struct job *j, uint64_t max)
{
	const struct fmt_header *live = j->copy->h;
	struct im_seg_create c = {
		.limit = j->limit,
		.max = max,
		.mode = 0600,
		.gid = UINT32_MAX,
		.extent_shift = j->copy->extent_shift,
		.unit_shift = j->copy->unit_shift,
		.n_shards = j->copy->n_shards,
		.n_owners = j->copy->n_owners,
		.n_lines = j->copy->n_lines,
		.ttl_ns = im_load_rlx(&live->ttl_ns),
		.pack_min = im_load32_rlx(&live->pack_min),
		.hash_seed = &j->copy->hash_seed,
		.reserve = is_reserved(j->copy),
	};

	memcpy(c.user_geo, j->copy->user_geo, sizeof(c.user_geo));
	if (!c.ttl_ns)
		c.ttl_ns = IPCMAP_TTL_NONE;
	if (c.pack_min < PACK_MIN_LEAST)
		c.pack_min = IPCMAP_COMPRESS_OFF;
	return c;
}

static int put_all(struct job *j)
{
	int r = 0;

	for (uint32_t i = 0; i < j->copy->n_shards && !r; i++)
		r = put_shard(j, i);
	if (!r)
		r = put_snapshots(j);
	return r;
}

static void hand_down(void *arg, const char *line)
{
	struct job *j = arg;

	im_why(&j->why, 0, "%s: the repaired segment is not sound: %s", j->name, line);
}

/* With the map's bit of im_tls.held set: writes of a signal handler must not wait for us. */
static int fill(struct job *j)
{
	int r = put_all(j);

	if (r)
		return r;
	carry_numbers(j);
	crash("repair.filled");
	r = im_check(j->m, hand_down, j);
	return r > 0 ? IPCMAP_CORRUPT : r;
}

static int try_build(struct job *j, uint64_t max)
{
	struct im_seg_create c = like(j, max);
	uint64_t bit;
	int r = im_map_create_like(j->path, &c, &j->why, &j->m);

	if (r)
		return r;
	crash("repair.created");
	bit = UINT64_C(1) << j->m->seg->id;
	im_tls.held |= bit;
	r = fill(j);
	im_tls.held &= ~bit;
	/* may be less than what is used: then it is as after any lowering of a limit */
	if (!r && im_load_rlx(&j->m->seg->h->space.limit) != j->limit)
		r = set_limit(j, j->limit);
	crash("repair.limited");
	return r;
}

static void forget_new(struct job *j)
{
	if (!j->m)
		return;
	im_map_close(j->m);
	j->m = NULL;
	im_offline_remove(j->path);
}

static int build(struct job *j)
{
	uint64_t max = j->copy->len;
	int r = im_offline_place(&j->o, j->path, &j->why);

	for (int i = 0; r == 0 && i <= GROWTHS; i++, max += max / 4) {
		r = try_build(j, max);
		if (r != IPCMAP_LIMIT || i == GROWTHS)
			break;
		forget_new(j);
		r = 0;
	}
	if (r == IPCMAP_LIMIT || (r == IPCMAP_FULL && j->m))
		return im_why(&j->why, r,
			      "%s: no room for the repaired segment beside the damaged one: %s",
			      j->name, ipcmap_strerror(r));
	if (r && j->m && r != IPCMAP_CORRUPT)
		return im_why(&j->why, r, "%s: the repaired segment cannot be built: %s",
			      j->name, ipcmap_strerror(r));
	return r;
}

/* ---- the whole ---- */

/* What was dropped has been said by then. */
static void say_finding(void *arg, const char *line)
{
	struct im_verdict *v = arg;

	if (v->n_lines < FINDINGS_SHOWN)
		im_verdict_say(v, "%s", line);
}

/* What was salvaged is a guess. */
static bool lost_something(const struct ipcmap_repair *s)
{
	return s->dropped || s->missing || s->salvaged || s->left || s->versions_dropped ||
	       s->tables_dropped;
}

static int look(struct job *j)
{
	struct ipcmap_repair *s = j->v.sum;
	int r = im_judge(&j->v);

	if (r)
		return im_why(&j->why, r, "%s: %s", j->name, ipcmap_strerror(r));
	if (j->o.unproven && !j->v.seed_proven && (s->dropped || s->versions_dropped))
		return im_why(
			&j->why, IPCMAP_CORRUPT,
			"%s: its header is damaged, its hash seed too: no key can be found, "
			"nor dumped; remove it, and load a dump made before",
			j->name);
	im_verdict_part(&j->v);
	r = im_check(j->v.m, say_finding, &j->v);
	if (r < 0)
		return im_why(&j->why, r, "%s: %s", j->name, ipcmap_strerror(r));
	s->findings = (uint64_t)r + j->v.wrong;
	if (j->o.damage) {
		s->findings++;
		im_verdict_part(&j->v);
		im_verdict_say(&j->v, "%s", j->o.damage);
	}
	return 0;
}

static int replace(struct job *j, unsigned flags)
{
	struct ipcmap_repair *s = j->v.sum;
	bool keep = lost_something(s) && !(flags & IPCMAP_REPAIR_DISCARD);
	int r = build(j);

	if (r == 0)
		r = im_offline_replace(&j->o, j->path, keep, &j->why);
	if (r) {
		forget_new(j);
		return r;
	}
	s->replaced = 1;
	s->kept_damaged = keep;
	im_map_close(j->m);
	return 0;
}

static int run(struct job *j, const struct ipcmap_repair_options *how)
{
	int r = im_offline_copy(&j->o, &j->why, &j->copy);

	if (r)
		return r;
	r = im_map_of(j->copy, &j->why, &j->v.m);
	if (r == 0) {
		j->limit = limit_of(j->copy);
		r = look(j);
	}
	if (r == 0 && !(how->flags & IPCMAP_REPAIR_DRY_RUN) &&
	    (j->v.sum->findings || lost_something(j->v.sum)))
		r = replace(j, how->flags);
	if (j->v.m) {
		im_judge_free(&j->v);
		free(j->v.m);
	}
	im_offline_forget(j->copy);
	return r;
}

int im_repair(const char *name, const struct ipcmap_repair_options *how,
	      struct ipcmap_repair *ret)
{
	struct job *j = calloc(1, sizeof(*j));
	struct im_why why = {how->why, how->why_cap};
	unsigned flags = how->flags & IPCMAP_REPAIR_FOREIGN ? IM_ATTACH_FOREIGN : 0;
	char path[4096];
	int r;

	if (!j)
		return im_why(&why, IPCMAP_NOMEM, "%s: out of memory", name);
	j->name = j->o.path;
	j->why = why;
	j->v.sum = ret;
	j->v.salvage = how->flags & IPCMAP_REPAIR_SALVAGE;
	j->v.report = how->report;
	j->v.arg = how->arg;
	r = im_seg_path(name, path, &why);
	if (r == 0)
		r = im_offline_hold(path, flags, &why, &j->o);
	if (r == 0) {
		r = run(j, how);
		im_offline_release(&j->o);
	}
	free(j);
	return r;
}
