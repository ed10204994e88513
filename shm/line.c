/* SPDX-License-Identifier: MIT */
/*
 * line.c - the counter lines of owner.h: each thread counts in a line of its own
 *
 * What a thread remembers of its line is for one life of the process and one attach; the
 * token of the segment tells. The line of a dead owner is taken over, and its counts go on.
 *
 * Reading does not wait. im_owner_line() claims slot and line if that needs no waiting: it
 * passes over slots that left extents, and when another thread is just claiming (or this one,
 * interrupted) it counts in the shared line this once.
 *
 * Invariants
 *  line.I1  a line whose claim is a living owner is written by one thread of it.
 */
#include "owner.h"
#include "life.h"
#include "scratch.h"

__thread struct im_tls im_tls __attribute__((tls_model("initial-exec")));

/* A line nobody claims, else one of a dead owner (its counts go on). */
static struct fmt_line *find_line(struct im_seg *seg, uint32_t self)
{
	for (uint32_t i = 0; i < seg->n_lines; i++) {
		if (im_cas32_acq(&seg->lines[i].claim, 0, self) == 0)
			return &seg->lines[i];
	}
	for (uint32_t i = 0, alive = 0; i < seg->n_lines; i++) {
		struct fmt_line *l = &seg->lines[i];
		uint32_t v = im_load32_rlx(&l->claim);

		if (v == alive)
			continue;
		if ((!v || im_owner_dead(seg, v)) && im_cas32_acq(&l->claim, v, self) == v)
			return l;
		alive = v;
	}
	return &seg->h->shared;
}

static bool is_line(const struct im_seg *seg, const struct fmt_line *l)
{
	return l >= seg->lines && l < seg->lines + seg->n_lines;
}

static void drop_line(struct im_seg *seg, struct fmt_line *l, uint32_t self)
{
	if (is_line(seg, l))
		im_cas32_rel(&l->claim, self, 0);
}

static struct fmt_line *line_slow(struct im_seg *seg)
{
	struct im_tls *t = &im_tls;
	struct fmt_line *none = seg->rdonly ? &t->none : &seg->h->shared;
	struct fmt_line *l;
	uint64_t token;
	uint32_t self;

	if (!im_load_rlx(&im_tokens[seg->id]) && !im_owner_try_ready(seg))
		return none;
	token = im_load_acq(&im_tokens[seg->id]);
	self = im_load32_acq(&seg->self);
	l = seg->rdonly || !self ? none : find_line(seg, self);
	if (im_load_acq(&im_tokens[seg->id]) != token || !token) {
		drop_line(seg, l, self);
		return none;
	}
	/* own last, and gone first: a forked child's token is 0, as one that was never set is */
	t->own[seg->id] = NULL;
	t->line[seg->id] = l;
	im_compiler_barrier();
	t->token[seg->id] = token;
	im_compiler_barrier();
	t->own[seg->id] = l == &seg->h->shared ? NULL : l;
	im_life_at_thread_end(t);
	return l;
}

struct fmt_line *im_owner_line(struct im_seg *seg)
{
	struct im_tls *t = &im_tls;
	struct fmt_line *l;
	int saved = errno;

	if (t->in_line)
		return seg->rdonly ? &t->none : &seg->h->shared;
	t->in_line = true;
	im_compiler_barrier();
	l = line_slow(seg);
	im_compiler_barrier();
	t->in_line = false;
	errno = saved;
	return l;
}

/* The segment may be gone, or another with the same number be there: tokens tell. */
void im_owner_thread_end(void *unused)
{
	struct im_tls *t = &im_tls;

	(void)unused;
	im_scratch_thread_end();
	if (im_life_lock() < 0)
		return;
	for (unsigned i = 0; i < IM_SEGS; i++) {
		struct im_seg *seg = im_segs[i];

		if (seg && t->token[i] && t->token[i] == im_load_rlx(&im_tokens[i]))
			drop_line(seg, t->line[i], seg->self);
		t->own[i] = NULL;
		im_compiler_barrier();
		t->token[i] = 0;
	}
	im_life_unlock();
}
