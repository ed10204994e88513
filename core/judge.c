/* SPDX-License-Identifier: MIT */
/*
 * judge.c - which entries of a damaged segment verify
 *
 * The index is the authority on what is there, as it is for readers: what a get would find and
 * what verifies is kept. judge-shard.c finds the entries of a shard, and judge-snapshot.c the
 * versions of the snapshot tables; here is what needs all of them: their values. A packed one
 * must unpack; a chain must be whole and nobody else's. What the extent's line in the table
 * says does not matter for an entry in a log: the entry has proved itself. It does for a
 * chain, whose bytes prove nothing.
 *
 * Two values that claim one chain: neither, since one of them would be another key's bytes.
 * What was cleared or has expired goes without a word.
 */
#include "judge.h"

#include "large.h"
#include "os.h"
#include "value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES_MAX 64u /* of one part; more say nothing new */
#define LINE_LEN 200u

/* ---- saying ---- */

void im_verdict_part(struct im_verdict *v)
{
	v->n_lines = 0;
}

void im_verdict_say(struct im_verdict *v, const char *fmt, ...)
{
	char line[LINE_LEN];
	va_list ap;

	if (!v->report || ++v->n_lines > LINES_MAX + 1)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	v->report(v->arg, v->n_lines <= LINES_MAX ? line : "... more of the same part");
}

/* A key as text; what is not printable is a dot. */
const char *im_judge_show_key(const struct im_seg *seg, const struct im_entry *e,
			      char text[IM_KEY_SHOWN + 8])
{
	uint32_t n = min_u32(e->key_len, IM_KEY_SHOWN), i;
	struct fmt_chain c;

	memset(text, 0, IM_KEY_SHOWN + 8);
	if (e->flags & FMT_F_FARKEY) {
		im_entry_chain(e, &c);
		if (c.first >= seg->n_extents || im_large_copy(seg, &c, 0, text, n))
			return "?";
	} else {
		memcpy(text, im_entry_key(e), n);
	}
	for (i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] > '~')
			text[i] = '.';
	if (n < e->key_len)
		memcpy(text + n, "...", 4);
	return text;
}

/* ---- finds ---- */

int im_judge_add(struct im_finds *f, const struct im_find *what)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct im_find *p = realloc(f->p, cap * sizeof(*p));

		if (!p)
			return IPCMAP_NOMEM;
		f->p = p;
		f->cap = cap;
	}
	f->p[f->n++] = *what;
	return 0;
}

bool im_judge_same_key(const struct im_seg *seg, uint32_t a, uint32_t b)
{
	unsigned char p[512], q[512];
	struct fmt_chain c, d;
	struct im_entry x, y;

	if (!im_entry_view(seg, a, &x) || !im_entry_view(seg, b, &y) || x.key_len != y.key_len)
		return false;
	if (!(x.flags & FMT_F_FARKEY))
		return im_large_key_equal(seg, &y, im_entry_key(&x));
	if (!(y.flags & FMT_F_FARKEY))
		return im_large_key_equal(seg, &x, im_entry_key(&y));
	im_entry_chain(&x, &c);
	im_entry_chain(&y, &d);
	for (uint32_t at = 0; at < x.key_len; at += (uint32_t)sizeof(p)) {
		uint32_t n = min_u32(sizeof(p), x.key_len - at);

		if (im_large_copy(seg, &c, at, p, n) || im_large_copy(seg, &d, at, q, n) ||
		    memcmp(p, q, n) != 0)
			return false;
	}
	return true;
}

/* ---- chains ---- */

void im_judge_claim(struct im_verdict *v, uint32_t first, uint32_t n)
{
	const struct im_seg *seg = v->m->seg;

	for (uint32_t i = 0; i < n && i < seg->n_extents && first < seg->n_extents; i++) {
		v->claims[first] = v->claims[first] ? 2 : 1;
		first = im_load32_rlx(&seg->table[first].next);
	}
}

bool im_judge_chain(const struct im_verdict *v, uint32_t first, uint32_t last, uint32_t n)
{
	const struct im_seg *seg = v->m->seg;
	uint32_t ext = first;

	for (uint32_t i = 1;; i++) {
		if (ext >= seg->n_extents || v->claims[ext] != 1 ||
		    (i > 1 && fmt_word_state(im_load_rlx(&seg->table[ext].word)) != FMT_PIECE))
			return false;
		if (i == n)
			return ext == last;
		ext = im_load32_rlx(&seg->table[ext].next);
	}
}

static void claim_entry(struct im_verdict *v, const struct im_find *f)
{
	struct fmt_chain c;
	struct im_entry e;

	if (!im_entry_view(v->m->seg, f->ref, &e) || !(e.flags & FMT_F_LARGE))
		return;
	im_entry_chain(&e, &c);
	im_judge_claim(v, c.first, c.n);
}

/* NULL: its value is whole; else what is the matter. */
static const char *judge_value(const struct im_verdict *v, uint32_t shard,
			       const struct im_find *f, struct im_entry *e, int *ret_err)
{
	const struct im_seg *seg = v->m->seg;
	struct im_value val;
	struct fmt_chain c;
	uint64_t w;

	if (!im_entry_view(seg, f->ref, e)) {
		e->flags = 0;
		e->key_len = 0; /* of which nothing is shown */
		return "it changed while it was looked at";
	}
	if (e->flags & FMT_F_LARGE) {
		im_entry_chain(e, &c);
		w = c.first < seg->n_extents ? im_load_rlx(&seg->table[c.first].word) : 0;
		if (fmt_word_state(w) != FMT_LARGE || fmt_word_who(w) != shard || !c.n ||
		    c.n != (im_large_len(e) + seg->extent_len - 1) / seg->extent_len ||
		    !im_judge_chain(v, c.first, c.last, c.n))
			return "the extents of its value are not whole, or not its own";
	}
	im_value_find(seg, e, &val);
	*ret_err = im_value_verify(&val);
	return *ret_err == -EUCLEAN ? "its value does not unpack" : NULL;
}

/* Takes the entries out whose values are not whole; those that a slot names with a line. */
static int judge_values(struct im_verdict *v, uint32_t shard, struct im_finds *f, bool named)
{
	char key[IM_KEY_SHOWN + 8];
	struct im_entry e;
	size_t to = 0;
	int err = 0;

	im_verdict_part(v);
	for (size_t i = 0; i < f->n; i++) {
		const char *what = judge_value(v, shard, &f->p[i], &e, &err);

		if (err == -ENOMEM)
			return IPCMAP_NOMEM;
		if (!what) {
			f->p[to++] = f->p[i];
			continue;
		}
		if (!named)
			continue;
		v->sum->dropped++;
		im_verdict_say(v, "shard %u: dropped \"%s\": %s", shard,
			       im_judge_show_key(v->m->seg, &e, key), what);
	}
	f->n = to;
	return 0;
}

static void claim_all(struct im_verdict *v, const struct im_finds *list)
{
	for (uint32_t i = 0; i < v->m->seg->n_shards; i++)
		for (size_t k = 0; k < list[i].n; k++)
			claim_entry(v, &list[i].p[k]);
}

static int judge_all_values(struct im_verdict *v, struct im_finds *list, bool named)
{
	int r = 0;

	for (uint32_t i = 0; i < v->m->seg->n_shards && !r; i++)
		r = judge_values(v, i, &list[i], named);
	return r;
}

/* ---- the whole ---- */

/* Both of a key that has two: the newer one is put after the other. */
static int take_over(struct im_verdict *v, uint32_t shard)
{
	const struct im_finds *more = &v->more[shard];
	int r = 0;

	v->sum->kept += v->shards[shard].n;
	if (v->shards[shard].guessed)
		v->sum->salvaged += v->shards[shard].n;
	for (size_t i = 0; i < more->n && !r; i++) {
		if (!v->salvage) {
			v->sum->left++;
			continue;
		}
		v->sum->salvaged++;
		v->sum->kept += !more->p[i].replaces;
		r = im_judge_add(&v->shards[shard], &more->p[i]);
	}
	return r;
}

/*
 * What is salvaged comes last: an entry that cleaning left behind may describe a chain that has
 * long been another's, and must not take it from that one.
 */
int im_judge(struct im_verdict *v)
{
	const struct im_seg *seg = v->m->seg;
	int r = 0;

	v->now = im_os->coarse();
	v->shards = calloc(seg->n_shards, sizeof(*v->shards));
	v->more = calloc(seg->n_shards, sizeof(*v->more));
	v->claims = calloc(1, seg->n_extents);
	if (!v->shards || !v->more || !v->claims)
		return IPCMAP_NOMEM;
	for (uint32_t i = 0; i < seg->n_shards && !r; i++)
		r = im_judge_shard(v, i);
	if (r)
		return r;
	claim_all(v, v->shards);
	im_judge_claim_images(v);
	r = judge_all_values(v, v->shards, true);
	if (!r)
		r = im_judge_images(v);
	if (r)
		return r;
	claim_all(v, v->more);
	r = judge_all_values(v, v->more, false);
	for (uint32_t i = 0; i < seg->n_shards && !r; i++)
		r = take_over(v, i);
	return r;
}

static void free_lists(struct im_finds *list, uint32_t n)
{
	for (uint32_t i = 0; list && i < n; i++)
		free(list[i].p);
	free(list);
}

void im_judge_free(struct im_verdict *v)
{
	free_lists(v->shards, v->m->seg->n_shards);
	free_lists(v->more, v->m->seg->n_shards);
	free(v->claims);
	free(v->images);
}
