/* SPDX-License-Identifier: MIT */
/*
 * weak.h - a memory that is weaker than that of any processor we know, for the Promela models
 *
 * Each location keeps all messages that were ever stored to it, in order. A thread has a view:
 * how far it has got in each location. A load may return any message that is not older than
 * the thread's view of that location, so it sees stores late, and stores to different
 * locations in any order, unless something orders them:
 *
 *   store   a message carries a view. Release: all that the thread has seen or done. Relaxed:
 *           what it had at its last release fence.
 *   load    acquire: the thread gets the message's view. Relaxed: it gets it at its next
 *           acquire fence.
 *   full    full fences are in one order, and each gets the views of all before it.
 *   cas     reads the last message, and the message it makes carries that one's view on.
 *
 * Without WEAK_NOT_MCA one thing is added that x86-64, ARMv8 and RISC-V have and C11 has not: a
 * store becomes visible to all other processors at once (multi-copy atomicity). So what a
 * thread got by an acquire from another one is carried on by all its later stores, relaxed
 * ones too. Its own stores still need a release or a fence for that.
 *
 * The rest is the memory of C11 (with release, acquire and relaxed accesses, and fences) as a
 * machine that goes from state to state, which is what SPIN explores. What it lacks of C11 and
 * of ARM: a load cannot return a store that comes later in its own thread's order, or depends
 * on one (load buffering), and stores to one location are ordered as they are made. The second
 * is exact here: such stores are made under one lock, or by compare-and-swap.
 *
 * A model defines LOCS (at most 16), MSGS (at most 16) and THREADS, and includes this. A view
 * has 4 bits for each location.
 */
#ifndef WEAK_H
#define WEAK_H

typedef unsigned long long weak_view;

struct weak {
	weak_view cur[THREADS], acq[THREADS], rel[THREADS], full;
	weak_view view[LOCS][MSGS];
	unsigned char val[LOCS][MSGS], by[LOCS][MSGS], last[LOCS];
};

enum { RLX, ACQ = 1, REL = 2 };

static weak_view weak_at(unsigned loc, unsigned n)
{
	return (weak_view)n << (loc * 4);
}

static unsigned weak_of(weak_view v, unsigned loc)
{
	return v >> (loc * 4) & 15;
}

static weak_view weak_join(weak_view a, weak_view b)
{
	weak_view r = 0;
	unsigned i;

	for (i = 0; i < LOCS; i++)
		r |= weak_at(i, weak_of(a, i) > weak_of(b, i) ? weak_of(a, i) : weak_of(b, i));
	return r;
}

/* What a load may return: messages low .. high. */
static unsigned weak_low(const struct weak *w, unsigned t, unsigned loc)
{
	return weak_of(w->cur[t], loc);
}

static unsigned weak_high(const struct weak *w, unsigned loc)
{
	return w->last[loc];
}

static unsigned weak_load(struct weak *w, unsigned t, unsigned loc, unsigned n, int order)
{
	weak_view v = weak_join(w->view[loc][n], weak_at(loc, n));

	w->cur[t] = weak_join(w->cur[t], weak_at(loc, n));
	w->acq[t] = weak_join(w->acq[t], v);
	if (order & ACQ) {
		w->cur[t] = weak_join(w->cur[t], v);
#ifndef WEAK_NOT_MCA
		if (w->by[loc][n] != t)
			w->rel[t] = weak_join(w->rel[t], v);
#endif
	}
	return w->val[loc][n];
}

/* @carried: of the message that a read-modify-write replaces. */
static void weak_put(struct weak *w, unsigned t, unsigned loc, unsigned val, int order,
		     weak_view carried)
{
	unsigned n = w->last[loc] + 1;

	if (n == MSGS)
		abort(); /* the model needs a larger number */
	w->last[loc] = n;
	w->val[loc][n] = val;
	w->by[loc][n] = t;
	w->cur[t] = weak_join(w->cur[t], weak_at(loc, n));
	w->acq[t] = weak_join(w->acq[t], weak_at(loc, n));
	w->view[loc][n] = weak_join(order & REL ? w->cur[t] : w->rel[t], carried);
}

static void weak_store(struct weak *w, unsigned t, unsigned loc, unsigned val, int order)
{
	weak_put(w, t, loc, val, order, 0);
}

/* True: it was @old. Else it is a load of the newest. */
static int weak_cas(struct weak *w, unsigned t, unsigned loc, unsigned old, unsigned val,
		    int order)
{
	unsigned n = w->last[loc];

	if (weak_load(w, t, loc, n, order) != old)
		return 0;
	weak_put(w, t, loc, val, order, w->view[loc][n]);
	return 1;
}

static void weak_fence_acq(struct weak *w, unsigned t)
{
	w->cur[t] = weak_join(w->cur[t], w->acq[t]);
}

static void weak_fence_rel(struct weak *w, unsigned t)
{
	w->rel[t] = w->cur[t];
}

static void weak_fence_full(struct weak *w, unsigned t)
{
	weak_fence_acq(w, t);
	w->full = w->cur[t] = weak_join(w->cur[t], w->full);
	w->acq[t] = w->cur[t];
	weak_fence_rel(w, t);
}

/* The system told @t of what @seen is; it has barriers of its own. */
static void weak_after(struct weak *w, unsigned t, weak_view seen)
{
	w->cur[t] = weak_join(w->cur[t], seen);
	w->acq[t] = weak_join(w->acq[t], seen);
	w->rel[t] = weak_join(w->rel[t], seen);
}

#endif
