/* SPDX-License-Identifier: MIT */
/*
 * check.c - verify every named invariant of the shards
 *
 * One shard at a time: first its index, which says what each extent should hold; then its
 * extents, which must agree. Nothing read is trusted. With a writable attach the shard's lock
 * is held; without one, a shard that changed during its walk is walked again, and what was
 * found in it is forgotten.
 */
#include "check.h"

#include "index.h"
#include "large.h"
#include "log.h"
#include "redo.h"
#include "shard.h"
#include "space.h"
#include "value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIES 8u
#define FINDINGS_MAX 64u /* per shard; more say nothing new */
#define LINE_LEN 160u

struct sum {
	uint32_t live;
	uint32_t named;
	bool seen; /* in one of the shard's lists */
};

struct checker {
	struct ipcmap *m;
	struct fmt_shard *s;
	uint32_t *dir;
	uint32_t shard;
	struct sum *sums; /* by extent; only this shard's are used */
	uint64_t entries, live, large;
	uint64_t n_ovf;
	char lines[FINDINGS_MAX][LINE_LEN];
	unsigned n_lines;
};

static void found(struct checker *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void found(struct checker *c, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (c->n_lines == FINDINGS_MAX)
		return;
	n = snprintf(c->lines[c->n_lines], LINE_LEN, "shard %u: ", c->shard);
	va_start(ap, fmt);
	vsnprintf(c->lines[c->n_lines] + n, LINE_LEN - (size_t)n, fmt, ap);
	va_end(ap);
	c->n_lines++;
}

static bool is_ours(const struct checker *c, uint32_t ext, enum fmt_state state)
{
	uint64_t w;

	if (ext >= c->m->seg->n_extents)
		return false;
	w = im_load_rlx(&c->m->seg->table[ext].word);
	return fmt_word_state(w) == state && fmt_word_who(w) == c->shard;
}

static bool see(struct checker *c, uint32_t ext, enum fmt_state state, const char *where)
{
	if (!is_ours(c, ext, state)) {
		found(c, "room.I1: extent %u in %s has another state or shard", ext, where);
		return false;
	}
	if (c->sums[ext].seen) {
		found(c, "room.I1: extent %u is listed twice (%s)", ext, where);
		return false;
	}
	c->sums[ext].seen = true;
	return true;
}

/* ---- the index ---- */

static void check_chain_of(struct checker *c, const struct im_entry *e)
{
	const struct im_seg *seg = c->m->seg;
	uint64_t want = (im_large_len(e) + seg->extent_len - 1) / seg->extent_len;
	struct fmt_chain ch;
	uint32_t ext, n = 1;

	im_entry_chain(e, &ch);
	c->large += (uint64_t)ch.n * seg->extent_len;
	if (!is_ours(c, ch.first, FMT_LARGE) || ch.n != want) {
		found(c, "large.I1: the chain from extent %u is not that of its entry", ch.first);
		return;
	}
	c->sums[ch.first].seen = true;
	for (ext = ch.first; ext != ch.last && n <= ch.n; n++) {
		ext = im_load32_rlx(&seg->table[ext].next);
		if (ext >= seg->n_extents ||
		    fmt_word_state(im_load_rlx(&seg->table[ext].word)) != FMT_PIECE) {
			found(c, "large.I1: the chain from extent %u breaks", ch.first);
			return;
		}
	}
	if (n != ch.n)
		found(c, "large.I1: the chain from extent %u has %u pieces, not %u", ch.first, n,
		      ch.n);
}

static uint64_t hash_of(const struct checker *c, const struct im_entry *e)
{
	struct fmt_chain ch;

	if (e->flags & FMT_F_FARKEY) {
		im_entry_chain(e, &ch);
		if (ch.first >= c->m->seg->n_extents)
			return 0;
	}
	return im_large_hash(c->m->seg, e);
}

static void check_slot(struct checker *c, const struct fmt_bucket *b, unsigned i, uint64_t at,
		       uint64_t n)
{
	uint32_t ref = im_load32_rlx(&b->ref[i]);
	unsigned tag = im_tag_at(im_load_rlx(&b->tags[i >> 3]), i);
	struct im_entry e;
	struct im_value val;
	struct fmt_extent *x;
	uint64_t hash;

	if (!im_entry_view(c->m->seg, ref, &e) || e.flags & ~FMT_F_KNOWN) {
		found(c, "index.I1: bucket %" PRIu64 " names bytes that are no entry", at);
		return;
	}
	x = &c->m->seg->table[e.ext];
	if (!is_ours(c, e.ext, FMT_LOG) ||
	    (uint32_t)(e.at - im_seg_extent(c->m->seg, e.ext)) + e.size >
		    im_load32_rlx(&x->fill)) {
		found(c, "index.I1: bucket %" PRIu64 " names extent %u beyond its log", at, e.ext);
		return;
	}
	hash = hash_of(c, &e);
	if (im_hash_tag(hash) != tag || im_hash_low(hash) != e.hash_low ||
	    im_bucket_of(hash, n) != at || im_map_shard(c->m, hash) != c->shard)
		found(c, "index.I2: bucket %" PRIu64 " holds a key of another place", at);
	if (e.version >= im_load_rlx(&c->s->version) || e.version > im_load_rlx(&x->version_max))
		found(c, "write.I2: version %" PRIu64 " was never handed out", e.version);
	if (im_entry_expiry(&e) > im_load_rlx(&x->expiry_max) ||
	    im_entry_expiry(&e) < im_load_rlx(&x->expiry_min))
		found(c, "log.I5: extent %u holds an entry beyond its bounds of expiry", e.ext);
	c->sums[e.ext].named += e.size;
	if (e.version >= im_load_rlx(&c->s->floor)) {
		c->sums[e.ext].live += e.size;
		c->live += e.size;
		c->entries++;
	}
	if (e.flags & FMT_F_LARGE)
		check_chain_of(c, &e);
	im_value_find(c->m->seg, &e, &val);
	if (im_value_verify(&val) == -EUCLEAN)
		found(c, "value.I1: bucket %" PRIu64 " names a value that does not unpack", at);
}

static bool same_key(const struct checker *c, uint32_t a, uint32_t b)
{
	struct im_entry x, y;

	if (a == b)
		return true;
	if (!im_entry_view(c->m->seg, a, &x) || !im_entry_view(c->m->seg, b, &y) ||
	    x.key_len != y.key_len || x.hash_low != y.hash_low ||
	    (x.flags | y.flags) & FMT_F_FARKEY)
		return false;
	return memcmp(im_entry_key(&x), im_entry_key(&y), x.key_len) == 0;
}

struct slots {
	uint32_t ref[IM_CHAIN_MAX * FMT_SLOTS];
	uint8_t tag[IM_CHAIN_MAX * FMT_SLOTS];
	unsigned n;
};

static void check_doubles(struct checker *c, const struct slots *k, uint64_t at)
{
	for (unsigned i = 1; i < k->n; i++)
		for (unsigned j = 0; j < i; j++)
			if (k->tag[i] == k->tag[j] && same_key(c, k->ref[i], k->ref[j]))
				found(c, "index.I2: bucket %" PRIu64 " holds a key twice", at);
}

static void check_bucket(struct checker *c, uint64_t at, uint64_t n)
{
	struct fmt_bucket *b = im_bucket(c->m, c->dir, at);
	struct slots k;
	unsigned hops = 0;
	uint64_t link = 0;

	k.n = 0;
	for (; b && hops < IM_CHAIN_MAX; hops++) {
		for (unsigned i = 0; i < FMT_SLOTS; i++) {
			unsigned tag = im_tag_at(im_load_rlx(&b->tags[i >> 3]), i);

			if (!tag)
				continue;
			k.tag[k.n] = (uint8_t)tag;
			k.ref[k.n++] = im_load32_rlx(&b->ref[i]);
			check_slot(c, b, i, at, n);
		}
		link = im_load_rlx(&b->tags[1]);
		b = im_bucket_next(c->m->seg, link);
	}
	if (b || !hops)
		found(c, "index.I1: the chain of bucket %" PRIu64 " does not end", at);
	else if (link >> FMT_LINK_SHIFT)
		found(c, "index.I1: the chain of bucket %" PRIu64 " leads nowhere", at);
	else
		c->n_ovf += hops - 1;
	check_doubles(c, &k, at);
}

/* Overflow buckets that are set aside, of those handed out. */
static uint64_t count_aside(const struct checker *c, uint64_t per)
{
	const struct im_seg *seg = c->m->seg;
	uint32_t ext = im_load32_rlx(&c->s->ovf_first);
	uint32_t n = min_u32(im_load32_rlx(&c->s->n_ovf_ext), seg->n_extents);
	uint64_t handed = im_load32_rlx(&c->s->ovf_pos) / sizeof(struct fmt_bucket), sum = 0;

	for (; n && ext < seg->n_extents; n--, handed = per) {
		const struct fmt_bucket *b =
			(const struct fmt_bucket *)(const void *)im_seg_extent(seg, ext);

		for (uint64_t i = 0; i < handed && i < per; i++)
			sum += im_load_rlx(&b[i].tags[1]) == FMT_ASIDE;
		ext = im_load32_rlx(&seg->table[ext].next);
	}
	return sum;
}

/* Overflow buckets that a split under preparation has, and the free ones. */
static void check_overflow(struct checker *c, uint64_t n)
{
	struct fmt_shard *s = c->s;
	uint64_t per = c->m->seg->extent_len / sizeof(struct fmt_bucket), handed, ext, free_n = 0;
	uint32_t ref = im_load32_rlx(&s->ovf_free), e;
	struct fmt_bucket *b = NULL;

	if (im_load32_rlx(&s->image) == n + 1)
		b = im_bucket(c->m, c->dir, n);
	for (unsigned hops = 0; b && hops < IM_CHAIN_MAX; hops++) {
		uint64_t link = im_load_rlx(&b->tags[1]);

		b = im_bucket_next(c->m->seg, link);
		c->n_ovf += b != NULL;
		if (!b && link >> FMT_LINK_SHIFT)
			found(c, "index.I1: the chain of the image leads nowhere");
	}
	if (c->n_ovf != im_load_rlx(&s->n_ovf))
		found(c, "index.I4: %" PRIu64 " overflow buckets in chains, %" PRIu64 " counted",
		      c->n_ovf, im_load_rlx(&s->n_ovf));
	ext = min_u64(im_load32_rlx(&s->n_ovf_ext), c->m->seg->n_extents);
	handed = ext ? (ext - 1) * per + im_load32_rlx(&s->ovf_pos) / sizeof(*b) : 0;
	for (; ref && free_n <= handed; free_n++) {
		b = (struct fmt_bucket *)(void *)im_at(c->m->seg, ref, sizeof(*b), &e);
		if (!b || (uintptr_t)b & (sizeof(*b) - 1) || !is_ours(c, e, FMT_INDEX))
			break;
		ref = (uint32_t)(im_load_rlx(&b->tags[1]) >> FMT_LINK_SHIFT);
	}
	free_n += count_aside(c, per);
	if (ref || free_n + c->n_ovf != handed)
		found(c, "index.I4: %" PRIu64 " overflow buckets are neither used nor free",
		      handed - free_n - c->n_ovf);
}

static void check_index(struct checker *c)
{
	uint64_t n = im_load_rlx(&c->s->geometry) & FMT_BUCKETS_MASK;
	uint32_t n_index = im_load32_rlx(&c->s->n_index);

	if (n > (uint64_t)n_index << c->m->dir_shift || n_index > c->m->dir_cap) {
		found(c, "index.I4: %" PRIu64 " buckets do not fit the index extents", n);
		return;
	}
	for (uint64_t at = 0; at < n && c->n_lines < FINDINGS_MAX; at++)
		check_bucket(c, at, n);
	check_overflow(c, n);
}

/* ---- the extents ---- */

static void check_entries(struct checker *c, uint32_t ext)
{
	uint32_t fill = im_load32_rlx(&c->m->seg->table[ext].fill), pos = 0;
	uint64_t version = im_load_rlx(&c->s->version);
	struct im_entry e;

	if (fill > c->m->seg->extent_len) {
		found(c, "log.I1: extent %u is filled beyond its end", ext);
		return;
	}
	while (pos < fill) {
		if (!im_entry_view(c->m->seg, im_ref(c->m->seg, ext, pos), &e)) {
			found(c, "log.I1: extent %u holds no entry at %u", ext, pos);
			return;
		}
		if (e.version >= version)
			found(c, "write.I2: extent %u holds version %" PRIu64 " at %u, which "
				 "is still to come", ext, e.version, pos);
		pos += e.size;
	}
	if (pos != fill)
		found(c, "log.I1: extent %u: the last entry ends beyond its fill", ext);
}

static void check_books(struct checker *c, uint32_t ext)
{
	uint64_t books = im_load_rlx(&c->m->seg->table[ext].books);
	bool dead = im_load_rlx(&c->m->seg->table[ext].version_max) < im_load_rlx(&c->s->floor);

	if (im_books_named(books) != c->sums[ext].named)
		found(c, "log.I2: extent %u: %u bytes named, %u booked", ext, c->sums[ext].named,
		      im_books_named(books));
	if (!dead && im_books_live(books) != c->sums[ext].live)
		found(c, "log.I3: extent %u: %u bytes live, %u booked", ext, c->sums[ext].live,
		      im_books_live(books));
}

static void check_log(struct checker *c)
{
	struct fmt_shard *s = c->s;
	uint32_t ext = im_load32_rlx(&s->first), before = FMT_NO_EXTENT, n = 0;
	uint64_t tail = 0;

	while (ext != FMT_NO_EXTENT && n <= c->m->seg->n_extents) {
		if (!see(c, ext, FMT_LOG, "the log"))
			return;
		if (im_load32_rlx(&c->m->seg->table[ext].prev) != before)
			found(c, "room.I1: extent %u: the link back is wrong", ext);
		check_entries(c, ext);
		check_books(c, ext);
		if (ext != im_load32_rlx(&s->head[FMT_HOT]) &&
		    ext != im_load32_rlx(&s->head[FMT_COLD]))
			tail += c->m->seg->extent_len - im_load32_rlx(&c->m->seg->table[ext].fill);
		before = ext;
		ext = im_load32_rlx(&c->m->seg->table[ext].next);
		n++;
	}
	if (before != im_load32_rlx(&s->last) || n != im_load32_rlx(&s->n_log))
		found(c, "room.I1: %u log extents listed, %u counted", n,
		      im_load32_rlx(&s->n_log));
	if (tail != im_load_rlx(&s->tail))
		found(c, "room.I3: %" PRIu64 " bytes wasted at ends, %" PRIu64 " counted", tail,
		      im_load_rlx(&s->tail));
	for (unsigned h = 0; h < FMT_HEADS; h++) {
		ext = im_load32_rlx(&s->head[h]);
		if (ext != FMT_NO_EXTENT && !is_ours(c, ext, FMT_LOG))
			found(c, "room.I1: head %u is not in the log", h);
	}
}

static void check_list(struct checker *c, uint32_t ext, uint32_t want, enum fmt_state state,
		       const char *what)
{
	uint32_t n = 0;

	for (; ext < c->m->seg->n_extents && n < want; n++) {
		if (!see(c, ext, state, what))
			return;
		ext = im_load32_rlx(&c->m->seg->table[ext].next);
	}
	if (n != want)
		found(c, "room.I1: %u extents in %s, %u counted", n, what, want);
}

/* The end of the chain that begins at @ext, which has @n extents. */
static uint32_t end_of(const struct checker *c, uint32_t ext, uint32_t n)
{
	for (; --n && ext < c->m->seg->n_extents;)
		ext = im_load32_rlx(&c->m->seg->table[ext].next);
	return ext;
}

static void check_parked(struct checker *c)
{
	uint32_t ext = im_load32_rlx(&c->s->parked) - 1;
	uint64_t sum = 0;

	while (ext != FMT_NO_EXTENT) {
		uint64_t books;
		uint32_t n;

		if (!see(c, ext, FMT_PARKED, "those parked"))
			return;
		books = im_load_rlx(&c->m->seg->table[ext].books);
		n = (uint32_t)(books >> 32);
		if (!n || n > c->m->seg->n_extents || end_of(c, ext, n) != (uint32_t)books)
			found(c, "park.I1: extent %u begins no chain of %u", ext, n);
		sum += n;
		ext = im_load32_rlx(&c->m->seg->table[ext].prev);
	}
	if (sum != im_load32_rlx(&c->s->parked_n))
		found(c, "park.I1: %" PRIu64 " extents are parked, %u counted", sum,
		      im_load32_rlx(&c->s->parked_n));
}

static void check_rest(struct checker *c)
{
	struct fmt_shard *s = c->s;
	uint32_t reserve = im_load32_rlx(&s->reserve), freed = im_load32_rlx(&s->free_first);

	for (uint32_t i = 0; i < im_load32_rlx(&s->n_index) && i < c->m->dir_cap; i++)
		see(c, im_dir_extent(c->m, im_load32_rlx(&c->dir[i])), FMT_INDEX, "the directory");
	if (im_load32_rlx(&s->n_ovf_ext))
		check_list(c, im_load32_rlx(&s->ovf_first), im_load32_rlx(&s->n_ovf_ext),
			   FMT_INDEX, "the overflow list");
	if (im_load32_rlx(&s->n_ahead))
		check_list(c, im_load32_rlx(&s->ahead), im_load32_rlx(&s->n_ahead),
			   FMT_RESERVED, "those ahead");
	if (reserve != FMT_NO_EXTENT)
		see(c, reserve, FMT_RESERVED, "the reserve");
	if (im_load32_rlx(&s->free_n) && is_ours(c, freed, FMT_RESERVED))
		c->sums[freed].seen = true;
	if (im_load32_rlx(&s->ring))
		see(c, im_load32_rlx(&s->ring) - 1, FMT_RESERVED, "the ring");
	check_parked(c);
	if (im_load_rlx(&s->ring_head) & 7)
		found(c, "event.I2: the ring's head lies between two events");
	for (uint32_t ext = 0; ext < im_space_fresh(c->m->seg); ext++) {
		uint64_t w = im_load_rlx(&c->m->seg->table[ext].word);

		if (fmt_word_state(w) >= FMT_RESERVED && fmt_word_who(w) == c->shard &&
		    !c->sums[ext].seen && !im_load32_rlx(&s->free_n))
			found(c, "room.I1: extent %u (state %d) is in no list", ext,
			      (int)fmt_word_state(w));
	}
}

static void check_versions(struct checker *c)
{
	uint64_t version = im_load_rlx(&c->s->version), floor = im_load_rlx(&c->s->floor);

	if (version > FMT_VERSION_MOST)
		found(c, "write.I2: its next version cannot be %" PRIu64, version);
	if (floor > version)
		found(c, "write.I2: it cannot have been cleared up to version %" PRIu64, floor);
}

static void check_totals(struct checker *c)
{
	struct fmt_shard *s = c->s;

	if (c->entries != im_load_rlx(&s->entries))
		found(c, "write.I1: %" PRIu64 " keys, %" PRIu64 " counted", c->entries,
		      im_load_rlx(&s->entries));
	if (c->live != im_load_rlx(&s->live))
		found(c, "log.I3: %" PRIu64 " bytes live, %" PRIu64 " counted", c->live,
		      im_load_rlx(&s->live));
	if (c->large != im_load_rlx(&s->large))
		found(c, "large.I2: %" PRIu64 " bytes in chains, %" PRIu64 " counted", c->large,
		      im_load_rlx(&s->large));
	if (im_load32_rlx(&s->unsplit) || im_load32_rlx(&s->uncompact))
		found(c, "index.I2: a split was not finished");
}

/* ---- leases ---- */

/*
 * Each is looked at between two equal looks at its owner and grant, which are stored last: so
 * what is found holds without the lock as well.
 */
static void check_lease(struct checker *c, const struct fmt_lease *l, uint64_t *hash)
{
	uint32_t owner = im_load32_acq(&l->owner), grant = im_load32_rlx(&l->grant);
	uint64_t version = im_load_rlx(&l->version);
	const char *what = NULL;

	*hash = im_load_rlx(&l->hash);
	if (!owner)
		return;
	if (!im_load32_acq(&c->s->leases))
		what = "lease.I1: there is one, and the shard says none";
	else if (im_map_shard(c->m, *hash) != c->shard)
		what = "lease.I2: one is of a key of another shard";
	else if (version > im_load_rlx(&c->s->version))
		what = "lease.I3: one has a version that was never next";
	im_read_barrier();
	if (what && im_load32_acq(&l->owner) == owner && im_load32_rlx(&l->grant) == grant)
		found(c, "%s", what);
}

static void check_leases(struct checker *c)
{
	const struct fmt_lease *l;
	uint64_t hash[FMT_LEASES];

	if (!c->m->leases) {
		if (im_load32_rlx(&c->s->leases))
			found(c, "lease.I1: there can be none, and the shard says otherwise");
		return;
	}
	l = c->m->leases + (size_t)c->shard * FMT_LEASES;
	for (uint32_t i = 0; i < FMT_LEASES; i++) {
		check_lease(c, &l[i], &hash[i]);
		for (uint32_t j = 0; j < i; j++)
			if (hash[i] == hash[j] && im_load32_acq(&l[i].owner) &&
			    im_load32_acq(&l[j].owner) && im_load_rlx(&l[i].hash) == hash[i] &&
			    im_load_rlx(&l[j].hash) == hash[j])
				found(c, "lease.I2: two are of one key");
	}
}

static void check_once(struct checker *c)
{
	memset(c->sums, 0, c->m->seg->n_extents * sizeof(*c->sums));
	c->entries = c->live = c->large = c->n_ovf = 0;
	c->n_lines = 0;
	check_index(c);
	check_log(c);
	check_rest(c);
	check_versions(c);
	check_totals(c);
	check_leases(c);
}

/* ---- holding still ---- */

static void check_unlocked(struct checker *c)
{
	struct fmt_shard *s = c->s;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t seq = im_load_acq(&s->redo.seq), geo = im_load_acq(&s->geometry);

		check_once(c);
		im_read_barrier();
		if (!(seq & 1) && im_load_acq(&s->redo.seq) == seq &&
		    im_load_acq(&s->geometry) == geo && !im_load32_acq(&s->lock))
			return;
	}
	c->n_lines = 0;
	found(c, "busy: it was written, or its writer is dead, during every walk");
}

static int check_locked(struct checker *c)
{
	struct im_op op;
	int r;

	im_op_init(c->m, &op, 0);
	im_op_shard(&op, c->shard);
	r = im_op_enter(&op);
	if (!r) {
		check_once(c);
		im_op_leave(&op);
	}
	im_op_done(&op);
	return r;
}

struct counter {
	void (*report)(void *arg, const char *line);
	void *arg;
	struct im_seg *seg;
	int n;
	int rc;
};

/* What goes on may be a child that the caller's function forked: an owner of its own. */
static void count_line(void *arg, const char *line)
{
	struct counter *n = arg;

	n->n++;
	if (!n->report)
		return;
	n->report(n->arg, line);
	if (!n->seg->rdonly)
		n->rc = im_owner_ready(n->seg);
}

static int check_shard(struct checker *c, uint32_t shard, struct counter *n)
{
	int r = 0;

	c->shard = shard;
	c->s = &c->m->shards[shard];
	c->dir = im_map_dir(c->m, shard);
	if (c->m->seg->rdonly)
		check_unlocked(c);
	else
		r = check_locked(c);
	if (r)
		return r;
	for (unsigned i = 0; i < c->n_lines; i++)
		count_line(n, c->lines[i]);
	return n->rc;
}

int im_check(struct ipcmap *m, void (*report)(void *arg, const char *line), void *arg)
{
	struct counter n = {report, arg, m->seg, 0, 0};
	struct checker *c = calloc(1, sizeof(*c));
	struct im_wait wait;
	int r = 0;

	if (!c)
		return IPCMAP_NOMEM;
	c->m = m;
	c->sums = calloc(m->seg->n_extents, sizeof(*c->sums));
	if (!c->sums)
		r = IPCMAP_NOMEM;
	for (uint32_t i = 0; i < m->n_shards && !r; i++)
		r = check_shard(c, i, &n);
	if (!r)
		r = im_check_snapshots(m, count_line, &n);
	if (!r)
		r = im_check_groups(m, count_line, &n);
	if (!r)
		r = n.rc;
	if (!r) {
		im_wait_start(m->seg, m->deadline_ns, &wait);
		r = im_space_check(m->seg, count_line, &n, &wait);
	}
	free(c->sums);
	free(c);
	return r < 0 ? r : n.n;
}
