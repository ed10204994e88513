/* SPDX-License-Identifier: MIT */
/*
 * space-check.c - im_space_check() of space.h: do the invariants of space.c hold?
 *
 * The queue is walked, then the words below fresh with their chains, then the words behind.
 * Under the space lock, or, by a read-only attach, without, watching that nothing moved.
 * What is found is told afterwards: the caller's function never runs under the lock.
 *
 * The segment is not trusted: every number read is bounded before use, every walk too.
 */
#include "space.h"
#include "step.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES_MAX 64 /* more say nothing new */
#define LINE_LEN 160

/* One check: what was seen of each extent, and what is wrong. */
struct check {
	struct im_seg *seg;
	unsigned char *seen; /* QUEUED, CHAINED */
	char (*lines)[LINE_LEN];
	int findings;
	/* a step that happened but is not stored in full; or NULL */
	const struct im_step *pending;
};

enum { QUEUED = 1, CHAINED = 2 };

/* As it will be when the pending step is stored. */
static uint32_t next_of(const struct check *c, uint32_t ext)
{
	const struct im_step *st = c->pending;

	if (st && st->link_of == ext)
		return st->link_to;
	if (st && st->ext == ext && fmt_word_state(st->new_word) != FMT_FREE)
		return FMT_NO_EXTENT;
	return im_load32_rlx(&c->seg->table[ext].next);
}

__attribute__((format(printf, 2, 3))) static void finding(struct check *c, const char *fmt, ...)
{
	va_list ap;

	if (c->findings == LINES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(c->lines[c->findings++], LINE_LEN, fmt, ap);
	va_end(ap);
}

static void check_queue(struct check *c, const struct im_step *st)
{
	struct im_seg *seg = c->seg;
	uint32_t ext = st->head;

	for (uint32_t i = 0; i < st->queued; i++) {
		enum fmt_state state;

		if (!im_seg_has_extent(seg, ext)) {
			finding(c, "space.I1: the free queue ends after %u of %u extents", i,
				st->queued);
			return;
		}
		if (c->seen[ext] & QUEUED) {
			finding(c, "space.I1: extent %u is in the free queue twice", ext);
			return;
		}
		c->seen[ext] |= QUEUED;
		state = fmt_word_state(im_load_rlx(&seg->table[ext].word));
		if (state != FMT_FREE && state != FMT_PIECE)
			finding(c, "space.I1: extent %u is in the free queue with state %d",
				ext, (int)state);
		if (i + 1 == st->queued && ext != st->tail)
			finding(c, "space.I1: the free queue ends with %u, its tail is %u", ext,
				st->tail);
		ext = next_of(c, ext);
	}
}

static void check_chain(struct check *c, uint32_t first)
{
	struct im_seg *seg = c->seg;
	uint32_t ext = next_of(c, first);

	while (ext != FMT_NO_EXTENT) {
		if (!im_seg_has_extent(seg, ext) || c->seen[ext] ||
		    fmt_word_state(im_load_rlx(&seg->table[ext].word)) != FMT_PIECE) {
			finding(c, "space.I5: the chain of extent %u leads to %u", first, ext);
			return;
		}
		c->seen[ext] |= CHAINED;
		ext = next_of(c, ext);
	}
}

static void check_private(struct check *c, uint32_t ext, uint64_t word)
{
	struct im_seg *seg = c->seg;
	uint32_t who = fmt_word_who(word);
	bool counted = who >= 1 && who <= seg->n_owners &&
		       im_load32_acq(&seg->owners[who - 1].n_private);

	/* handed over between the two loads, it is no finding */
	if (!counted && im_load_acq(&seg->table[ext].word) == word)
		finding(c, "space.I6: extent %u is private to owner %u, who does not count it",
			ext, who);
}

static void check_words(struct check *c, const struct im_step *st)
{
	struct im_seg *seg = c->seg;
	uint32_t used = 0;

	for (uint32_t ext = 0; ext < st->fresh; ext++) {
		uint64_t word = im_load_acq(&seg->table[ext].word);

		if (c->seen[ext] & QUEUED)
			continue;
		used++;
		if (fmt_word_state(word) == FMT_FREE)
			finding(c, "space.I4: extent %u is free but not in the free queue",
				ext);
		if (fmt_word_state(word) == FMT_PRIVATE)
			check_private(c, ext, word);
		if (fmt_word_state(word) == FMT_PRIVATE || fmt_word_state(word) == FMT_LARGE ||
		    fmt_word_state(word) == FMT_PARKED)
			check_chain(c, ext);
	}
	if (used != st->used)
		finding(c, "space.I2: %u extents are in use, the header says %u", used,
			st->used);
	if (st->used + st->queued != st->fresh)
		finding(c, "space.I2: %u used and %u queued are not %u", st->used, st->queued,
			st->fresh);
	for (uint32_t ext = 0; ext < st->fresh; ext++) {
		uint64_t word = im_load_acq(&seg->table[ext].word);

		if (fmt_word_state(word) == FMT_PIECE && !c->seen[ext])
			finding(c, "space.I5: extent %u is a piece of nothing", ext);
	}
}

/* Only as far as the table can have memory: reading further would make some. */
static void check_fresh(struct check *c, const struct im_step *st, uint32_t limit_n)
{
	for (uint32_t ext = st->fresh; ext < limit_n; ext++) {
		if (im_load_rlx(&c->seg->table[ext].word) != 0)
			finding(c, "space.I3: extent %u was never used but has a word", ext);
	}
}

static void check_all(struct check *c)
{
	struct im_seg *seg = c->seg;
	struct fmt_space *s = &seg->h->space;
	uint32_t limit_n = im_load32_rlx(&s->limit_n);
	struct im_step st, pending;

	c->findings = 0;
	c->pending = NULL;
	memset(c->seen, 0, seg->n_extents);
	if (limit_n != im_space_extents(seg, im_load_rlx(&s->limit)))
		finding(c, "space.I7: the limit does not allow the %u extents said", limit_n);
	if (im_step_start(seg, &st) < 0) {
		finding(c, "space.I2: a number of the free queue is out of range");
		return;
	}
	if ((im_load_acq(&s->seq) & 1) && im_step_intent(seg, &pending)) {
		c->pending = &pending;
		st = pending;
	}
	check_queue(c, &st);
	check_words(c, &st);
	check_fresh(c, &st, (uint32_t)min_u64(limit_n, seg->n_extents));
}

/*
 * A read-only attach holds nobody: a walk counts when no step began or ended during it; a
 * step in the middle is taken as its successor would take it.
 */
static void check_unlocked(struct check *c)
{
	struct fmt_space *s = &c->seg->h->space;

	for (int i = 0; i < 16; i++) {
		uint64_t seq = im_load_acq(&s->seq);

		check_all(c);
		im_read_barrier();
		if (im_load_rlx(&s->seq) == seq)
			return;
	}
	c->findings = 0;
	finding(c, "space: busy");
}

static int check_locked(struct check *c, struct im_wait *wait)
{
	int rc = im_step_enter(c->seg, wait);

	if (rc)
		return rc;
	check_all(c);
	im_step_leave(c->seg);
	return 0;
}

int im_space_check(struct im_seg *seg, void (*report)(void *arg, const char *line), void *arg,
		   struct im_wait *wait)
{
	struct check c = {.seg = seg};
	int rc = 0;

	c.seen = malloc(seg->n_extents);
	c.lines = malloc(LINES_MAX * sizeof(*c.lines));
	if (!c.seen || !c.lines)
		rc = -ENOMEM;
	else if (seg->rdonly)
		check_unlocked(&c);
	else
		rc = check_locked(&c, wait);
	for (int i = 0; i < c.findings && !rc && report; i++)
		report(arg, c.lines[i]);
	free(c.seen);
	free(c.lines);
	return rc ? rc : c.findings;
}
