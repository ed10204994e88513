/* SPDX-License-Identifier: MIT */
/*
 * judge-shard.c - which entries of a damaged shard verify: its index, its logs
 *
 * An entry verifies when it lies whole in one extent and its key's hash has the tag of its
 * slot, the 16 bits in its header, its bucket and its shard (some 35 bits in a map of a
 * million keys). Two entries of one key: the higher version, as versions only rise. Values
 * are judged afterwards (judge.c).
 *
 * Where the index is damaged, keys have lost their slots. Their entries still lie in the logs,
 * among those of keys that were deleted and replaced; the newest version of each key is the
 * best guess, and no more than that: a key that was deleted comes back. So it is done only when
 * asked for, and only for keys that belong to a bucket whose chain is damaged, where the index
 * cannot say that they were deleted. When a shard's books count other keys than its slots name
 * and no bucket shows why, or its geometry cannot be, all its buckets are such.
 */
#include "judge.h"

#include "group.h"
#include "index.h"
#include "large.h"
#include "redo.h"
#include "shard.h"
#include "space.h"

#include <inttypes.h>
#include <stdlib.h>

/* A shard while it is judged. */
struct judge {
	struct im_verdict *v;
	struct ipcmap *m;
	struct im_seg *seg;
	struct fmt_shard *s;
	uint32_t *dir;
	uint32_t shard;
	uint64_t n;	   /* buckets that are there */
	uint64_t geometry; /* as said */
	uint64_t floor;
	unsigned char *suspect; /* by bucket: its chain is damaged */
	bool all_suspect;
	bool bad_floor;
	uint64_t named; /* slots that name an entry, or should, with a version that counts */
};

/* ---- the index ---- */

static void suspect(struct judge *j, uint64_t bucket)
{
	if (bucket < j->n)
		j->suspect[bucket] = 1;
}

/* NULL: it is that of a key that belongs here. */
static const char *judge_slot(struct judge *j, uint32_t ref, unsigned tag, uint64_t at,
			      struct im_entry *e, uint64_t *ret_hash)
{
	struct fmt_chain c;

	if (!im_entry_view(j->seg, ref, e) || !e->version || e->version >= FMT_VERSION_MOST)
		return "bytes that are no entry";
	if (e->flags & FMT_F_FARKEY) {
		im_entry_chain(e, &c);
		if (c.first >= j->seg->n_extents)
			return "an entry whose key is nowhere";
	}
	*ret_hash = im_large_hash(j->seg, e);
	if (im_hash_low(*ret_hash) != e->hash_low)
		return "an entry whose key is not the one that was stored";
	if (im_hash_tag(*ret_hash) != tag || im_map_shard(j->m, *ret_hash) != j->shard ||
	    im_bucket_of(*ret_hash, j->geometry) != at)
		return "a key of another place";
	j->v->seed_proven = true;
	return NULL;
}

/* Not cleared, not expired. */
static bool counts(struct judge *j, const struct im_entry *e)
{
	if (e->version < j->floor)
		return false;
	j->named++;
	if (im_entry_expiry(e) > j->v->now)
		return true;
	j->v->sum->expired++;
	return false;
}

/* The same key in this chain already? Then the newer one stays. */
static bool settle_double(struct judge *j, size_t from, const struct im_find *f,
			  const struct im_entry *e)
{
	struct im_finds *list = &j->v->shards[j->shard];
	char key[IM_KEY_SHOWN + 8];

	for (size_t i = from; i < list->n; i++) {
		struct im_find *old = &list->p[i];

		if (old->hash != f->hash ||
		    (old->ref != f->ref && !im_judge_same_key(j->seg, old->ref, f->ref)))
			continue;
		j->named--;
		if (old->ref != f->ref) {
			j->v->sum->dropped++;
			im_verdict_say(
				j->v,
				"shard %u: \"%s\" is named twice: dropped version %" PRIu64,
				j->shard, im_judge_show_key(j->seg, e, key),
				min_u64(old->version, f->version));
		}
		if (f->version > old->version)
			*old = *f;
		return true;
	}
	return false;
}

static int take_slot(struct judge *j, const struct fmt_bucket *b, unsigned i, uint64_t at,
		     size_t from)
{
	unsigned tag = im_tag_at(im_load_rlx(&b->tags[i >> 3]), i);
	struct im_find f = {.ref = im_load32_rlx(&b->ref[i])};
	struct im_entry e;
	const char *what;

	if (!tag)
		return 0;
	what = judge_slot(j, f.ref, tag, at, &e, &f.hash);
	if (what) {
		suspect(j, at);
		j->named++;
		j->v->sum->dropped++;
		im_verdict_say(j->v,
			       "shard %u: dropped a slot of bucket %" PRIu64 ": it names %s",
			       j->shard, at, what);
		return 0;
	}
	f.version = e.version;
	if (!counts(j, &e) || settle_double(j, from, &f, &e))
		return 0;
	return im_judge_add(&j->v->shards[j->shard], &f);
}

static int judge_bucket(struct judge *j, uint64_t at)
{
	struct fmt_bucket *b = im_bucket(j->m, j->dir, at);
	size_t from = j->v->shards[j->shard].n;
	uint64_t link = 0;
	unsigned hops = 0;
	int r = 0;

	for (; b && hops < IM_CHAIN_MAX && !r; hops++) {
		for (unsigned i = 0; i < FMT_SLOTS && !r; i++)
			r = take_slot(j, b, i, at, from);
		link = im_load_rlx(&b->tags[1]);
		b = im_bucket_next(j->seg, link);
	}
	if (r)
		return r;
	if (!hops || b || link >> FMT_LINK_SHIFT) {
		suspect(j, at);
		im_verdict_say(j->v, "shard %u: bucket %" PRIu64 " %s", j->shard, at,
			       hops ? "leads nowhere: keys in it may be lost"
				    : "is nowhere: its keys are lost");
	}
	return 0;
}

/* Is the extent that the directory has for this bucket one of the index? */
static bool has_extent(struct judge *j, uint64_t at)
{
	uint32_t ext = im_dir_extent(j->m, im_load32_rlx(&j->dir[at >> j->m->dir_shift]));
	uint64_t w;

	if (ext >= j->seg->n_extents ||
	    im_load32_rlx(&j->dir[at >> j->m->dir_shift]) != im_dir_word(j->m, ext))
		return false;
	w = im_load_rlx(&j->seg->table[ext].word);
	return fmt_word_state(w) == FMT_INDEX && fmt_word_who(w) == j->shard;
}

/* What it holds then may be anything: its bytes prove themselves, and are not counted. */
static int judge_foreign_extent(struct judge *j, uint64_t from, uint64_t to)
{
	uint64_t dropped = j->v->sum->dropped, named = j->named;
	size_t kept = j->v->shards[j->shard].n;
	void (*report)(void *arg, const char *line) = j->v->report;
	int r = 0;

	j->v->report = NULL;
	for (uint64_t at = from; at < to && !r; at++) {
		suspect(j, at);
		r = judge_bucket(j, at);
	}
	j->v->report = report;
	j->v->sum->dropped = dropped;
	kept = j->v->shards[j->shard].n - kept;
	j->named = named + kept;
	im_verdict_say(j->v,
		       "shard %u: buckets %" PRIu64 " to %" PRIu64 " are not in an extent of "
		       "its index: %zu of their keys are still found",
		       j->shard, from, to - 1, kept);
	return r;
}

static int judge_index(struct judge *j)
{
	uint64_t per = UINT64_C(1) << j->m->dir_shift;
	int r = 0;

	for (uint64_t at = 0; at < j->n && !r; at += per) {
		uint64_t to = min_u64(at + per, j->n);

		if (!has_extent(j, at)) {
			r = judge_foreign_extent(j, at, to);
			continue;
		}
		for (uint64_t b = at; b < to && !r; b++)
			r = judge_bucket(j, b);
	}
	return r;
}

/* ---- the logs ---- */

static bool bucket_is_suspect(const struct judge *j, uint64_t hash)
{
	uint64_t b;

	if (j->all_suspect || !j->n)
		return true;
	b = im_bucket_of(hash, j->geometry);
	return b >= j->n || j->suspect[b];
}

/* An entry that may be the newest of a key without a slot. */
static int weigh(struct judge *j, struct im_finds *list, const struct im_entry *e)
{
	struct im_find f = {.ref = e->ref, .version = e->version};
	struct fmt_chain c;

	if (e->flags & FMT_F_LARGE) {
		im_entry_chain(e, &c);
		if (c.first >= j->seg->n_extents)
			return 0;
	}
	f.hash = im_large_hash(j->seg, e);
	if (im_hash_low(f.hash) != e->hash_low || im_map_shard(j->m, f.hash) != j->shard ||
	    !e->version || e->version >= FMT_VERSION_MOST || e->version < j->floor || !bucket_is_suspect(j, f.hash))
		return 0;
	return im_judge_add(list, &f);
}

/* Expired ones too: the newest version of a key that expired is not to make way for an older.
 */
static int walk_extent(struct judge *j, struct im_finds *list, uint32_t ext)
{
	uint32_t fill = im_load32_rlx(&j->seg->table[ext].fill), pos = 0;
	struct im_entry e;
	int r = 0;

	fill = min_u32(fill, j->seg->extent_len);
	for (; pos < fill && !r; pos += e.size) {
		if (!im_entry_view(j->seg, im_ref(j->seg, ext, pos), &e))
			break;
		r = weigh(j, list, &e);
	}
	return r;
}

static int by_hash_and_version(const void *a, const void *b)
{
	const struct im_find *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->version != y->version)
		return x->version > y->version ? -1 : 1;
	return x->ref < y->ref ? -1 : x->ref > y->ref;
}

static bool is_live(const struct judge *j, uint32_t ref)
{
	struct im_entry e;

	return im_entry_view(j->seg, ref, &e) && im_entry_expiry(&e) > j->v->now;
}

/* The newest of each key. Entries of one key are neighbours but for equal hashes of two. */
static size_t newest_only(struct judge *j, struct im_finds *list)
{
	size_t to = 0;

	qsort(list->p, list->n, sizeof(*list->p), by_hash_and_version);
	for (size_t i = 0; i < list->n; i++) {
		bool newer = false;

		for (size_t k = to; k-- > 0 && list->p[k].hash == list->p[i].hash && !newer;)
			newer = im_judge_same_key(j->seg, list->p[k].ref, list->p[i].ref);
		if (!newer)
			list->p[to++] = list->p[i];
	}
	return to;
}

/* Which of the candidates are better than what the index has of their keys? */
static int merge(struct judge *j, struct im_finds *list)
{
	struct im_finds *kept = &j->v->shards[j->shard];
	size_t n_kept = kept->n, at = 0, n = newest_only(j, list);
	int r = 0;

	if (n_kept)
		qsort(kept->p, n_kept, sizeof(*kept->p), by_hash_and_version);
	for (size_t i = 0; i < n && !r; i++) {
		struct im_find *old = NULL, f = list->p[i];

		while (at < n_kept && kept->p[at].hash < f.hash)
			at++;
		for (size_t k = at; k < n_kept && kept->p[k].hash == f.hash && !old; k++)
			if (im_judge_same_key(j->seg, kept->p[k].ref, f.ref))
				old = &kept->p[k];
		if ((old && old->version >= f.version) || !is_live(j, f.ref))
			continue;
		f.replaces = old != NULL;
		r = im_judge_add(&j->v->more[j->shard], &f);
	}
	return r;
}

static int salvage(struct judge *j)
{
	struct im_finds list = {0};
	uint32_t n = im_space_fresh(j->seg);
	int r = 0;

	for (uint32_t ext = 0; ext < n && !r; ext++) {
		uint64_t w = im_load_rlx(&j->seg->table[ext].word);

		if (fmt_word_state(w) == FMT_LOG && fmt_word_who(w) == j->shard)
			r = walk_extent(j, &list, ext);
	}
	if (!r && list.n)
		r = merge(j, &list);
	free(list.p);
	return r;
}

/* ---- a shard ---- */

/* Finish what a dead writer left, in the copy; nobody has its lock then. */
static void make_whole(struct judge *j)
{
	struct fmt_shard *s = j->s;
	bool was_armed = im_load_rlx(&s->redo.seq) & 1, on = false;
	bool was_free = !im_load32_rlx(&s->lock), had_group = im_load32_rlx(&s->group);
	struct im_op op;

	if (im_redo_list_finish(j->seg, &s->redo)) {
		im_verdict_say(j->v, "shard %u: its redo list cannot be one: the write is lost",
			       j->shard);
		s->redo.seq++;
		j->v->wrong++;
	}
	/* under way when its writer died, or in nobody's hands */
	if (!im_load32_rlx(&s->lock) && !was_armed &&
	    (im_load32_rlx(&s->unsplit) || im_load32_rlx(&s->uncompact))) {
		im_verdict_say(j->v, "shard %u: index.I2: a split was not finished", j->shard);
		j->v->wrong++;
	}
	im_store32_rlx(&s->lock, 0);
	im_store32_rlx(&s->fetching, 0);
	im_op_init(j->m, &op, IPCMAP_NOWAIT);
	im_op_shard(&op, j->shard);
	if ((im_load32_rlx(&s->unsplit) || im_load32_rlx(&s->uncompact)) &&
	    im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK)
		im_index_finish(&op);
	if (im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK && im_group_recover(&op, &on)) {
		im_verdict_say(j->v, "shard %u: a group cannot be completed", j->shard);
		j->v->wrong++;
	}
	/* a free lock leaves no group, but one whose first shard this is, all of it stored */
	if (was_free && had_group && !(on && im_group_is_first(&op))) {
		im_verdict_say(j->v, "shard %u: group.I1: a group was left", j->shard);
		j->v->wrong++;
	}
	if (!im_group_is_first(&op))
		im_store32_rlx(&s->group, 0); /* as its end would */
}

static int start(struct judge *j)
{
	uint64_t most = (uint64_t)j->m->dir_cap << j->m->dir_shift;
	uint32_t n_index;

	make_whole(j);
	j->geometry = im_load_rlx(&j->s->geometry) & FMT_BUCKETS_MASK;
	n_index = im_load32_rlx(&j->s->n_index);
	j->floor = im_load_rlx(&j->s->floor);
	j->n = min_u64(j->geometry, most);
	if (n_index > j->m->dir_cap || j->geometry > (uint64_t)n_index << j->m->dir_shift) {
		im_verdict_say(j->v,
			       "shard %u: %" PRIu64 " buckets do not fit its %u extents of "
			       "the index",
			       j->shard, j->geometry, n_index);
		j->all_suspect = true;
	}
	j->bad_floor = j->floor > im_load_rlx(&j->s->version);
	if (j->bad_floor && j->v->salvage) {
		/* what was cleared cannot be told from what was not */
		j->floor = 0;
		j->v->shards[j->shard].guessed = true;
	}
	j->suspect = calloc(1, j->n + 1);
	return j->suspect ? 0 : IPCMAP_NOMEM;
}

static bool anything_suspect(const struct judge *j)
{
	bool any = j->all_suspect;

	for (uint64_t b = 0; b < j->n && !any; b++)
		any = j->suspect[b];
	return any;
}

/* Keys that the books count and no slot names: where no bucket is to blame, any may be. */
static void compare_counts(struct judge *j)
{
	uint64_t books = im_load_rlx(&j->s->entries);

	if (books == j->named)
		return;
	im_verdict_say(j->v,
		       "shard %u: its slots name %" PRIu64 " keys, its books count %" PRIu64,
		       j->shard, j->named, books);
	if (books > j->named)
		j->v->sum->missing += books - j->named;
	if (!anything_suspect(j))
		j->all_suspect = true;
}

int im_judge_shard(struct im_verdict *v, uint32_t shard)
{
	struct judge j = {
		.v = v,
		.m = v->m,
		.seg = v->m->seg,
		.s = &v->m->shards[shard],
		.dir = im_map_dir(v->m, shard),
		.shard = shard,
	};
	int r;

	im_verdict_part(v);
	r = start(&j);
	if (r)
		return r;
	r = judge_index(&j);
	if (!r) {
		compare_counts(&j);
		if (j.bad_floor) {
			j.floor = 0;
			j.all_suspect = true;
		}
		if (anything_suspect(&j))
			r = salvage(&j);
	}
	free(j.suspect);
	return r;
}
