/* SPDX-License-Identifier: MIT */
/*
 * lin.c - is a history linearizable? The search of Wing and Gong with Lowe's memory
 *
 * Take a call that no other one must precede, do it to the state, go on with the rest; when it
 * does not fit, take another. What was tried is remembered as the set of calls done and the
 * state they led to, since the order among them does not matter any more.
 *
 * Versions are part of the state. A call that stores does not say which version it made;
 * whoever sees the value afterwards does. Values that are stored once each tell it for the
 * whole history (fix_versions()); for counters the first look binds it. A version that is seen
 * must be higher than all of the key that are known to be older. A tape of events says it at
 * the change itself.
 *
 * That a value expired, or that its memory was reclaimed, nobody did: the first is tried before
 * each call, the second when the tape has it.
 */
#include "lin.h"

#include "atomic.h"
#include "ipcmap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS (LIN_MAX / 64)
#define STATES_MAX (4u << 20) /* of one history; a usual one has some hundred */

struct memo {
	uint64_t set[WORDS];
	struct lin_state state;
};

struct search {
	struct lin_op op[LIN_MAX]; /* by inv */
	uint64_t version[LIN_MAX]; /* that a put made; 0: unknown */
	uint64_t set[WORDS];	   /* done */
	size_t n, first;	   /* all before first are done */
	const struct lin_tape *tape;
	struct memo *memo;	   /* a hash table that grows */
	size_t n_memo, cap;
	uint64_t initial, initial_version; /* value and version at the start */
	const char *why;
};

uint64_t lin_stamp(uint64_t *counter)
{
	uint64_t n;

	im_full_barrier();
	n = im_add_rlx(counter, 1) + 1;
	im_full_barrier();
	return n;
}

static bool is_write(const struct lin_op *o)
{
	return o->kind != LIN_GET && o->kind != LIN_EXISTS && o->kind != LIN_STALE;
}

static bool is_pending(const struct lin_op *o)
{
	return o->rc == LIN_PENDING;
}

void lin_bound(struct lin_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct lin_op *p = &ops[i];

		if (!is_pending(p))
			continue;
		p->ret = UINT64_MAX;
		for (size_t k = 0; k < n; k++) {
			const struct lin_op *o = &ops[k];

			if (is_write(o) && !is_pending(o) && o->shard == p->shard &&
			    o->inv > p->dead && o->ret < p->ret)
				p->ret = o->ret;
		}
	}
}

/* ---- what a call does ---- */

/* The present version is @v, says somebody. */
static bool has_version(struct lin_state *s, uint64_t v)
{
	if (s->version)
		return s->version == v;
	if (v <= s->highest)
		return false;
	s->version = s->highest = v;
	return true;
}

static bool shows(struct lin_state *s, const struct lin_op *o)
{
	if (o->shown & LIN_NONE)
		return !s->there;
	if (o->shown & LIN_VALUE && (!s->there || s->val != o->out))
		return false;
	return !(o->shown & LIN_VERSION) || (s->there && has_version(s, o->out_version));
}

/* What the conditions make of it. @rc: the result that was seen, when it was. */
static int judge(struct lin_state *s, const struct lin_op *o)
{
	if (o->cond & IPCMAP_IF_ABSENT && s->there)
		return IPCMAP_EXISTS;
	if (o->cond & ~IPCMAP_IF_ABSENT && !s->there)
		return IPCMAP_NOTFOUND;
	if (o->cond & IPCMAP_IF_EQUAL && s->val != o->want)
		return IPCMAP_MISMATCH;
	if (!(o->cond & IPCMAP_IF_VERSION))
		return 0;
	if (s->version)
		return s->version == o->want ? 0 : IPCMAP_MISMATCH;
	/* unknown: nobody saw it, so nobody can have it from there; counters' may be equal */
	if (!s->counter || o->want <= s->highest || (o->rc && !is_pending(o)))
		return IPCMAP_MISMATCH;
	has_version(s, o->want);
	return 0;
}

static bool set_value(struct lin_state *s, uint64_t val, uint64_t version, bool mortal)
{
	s->there = true;
	s->gone = false;
	s->gone_by = 0;
	s->mortal = mortal;
	s->lease = 0;
	s->val = val;
	s->version = version;
	if (version && version <= s->highest)
		return false;
	if (version)
		s->highest = version;
	return true;
}

static void set_none(struct lin_state *s)
{
	s->there = s->gone = s->mortal = false;
	s->gone_by = 0;
	s->lease = 0;
	s->val = s->version = 0;
}

static void expire(struct lin_state *s, uint64_t by)
{
	s->there = false;
	s->gone = true;
	s->gone_by = by;
}

/* ---- events ---- */

static const struct lin_event *next_event(const struct search *x, const struct lin_state *s)
{
	return x->tape && s->heard < x->tape->n ? &x->tape->event[s->heard] : NULL;
}

/* What expired may have been reclaimed before the next change. */
static const struct lin_event *next_change(const struct search *x, struct lin_state *s)
{
	const struct lin_event *e = next_event(x, s);

	if (!e || e->what != IPCMAP_EVENT_EXPIRE || !s->gone)
		return e;
	s->gone = false;
	s->heard++;
	return next_event(x, s);
}

/*
 * A change has the next event, which says its version: @version if that is known. False: it
 * has not.
 */
static bool is_told(const struct search *x, struct lin_state *s, const struct lin_op *o,
		    unsigned what, uint64_t *version)
{
	const struct lin_event *e;

	if (!x->tape)
		return true;
	e = what == IPCMAP_EVENT_EXPIRE ? next_event(x, s) : next_change(x, s);
	if (!e)
		return false;
	if (e->what == IPCMAP_EVENT_GAP)
		return true;
	if (e->what != what || (*version && e->version != *version))
		return false;
	/* an expired entry may have been reclaimed before the call that finds it gone */
	if (e->seen < o->inv && what != IPCMAP_EVENT_EXPIRE)
		return false;
	*version = e->version;
	s->heard++;
	return true;
}

static bool is_all_told(const struct search *x, const struct lin_state *s)
{
	struct lin_state last = *s;
	const struct lin_event *e;

	if (last.there && last.mortal)
		expire(&last, 0);
	e = next_change(x, &last);
	return !e || e->what == IPCMAP_EVENT_GAP;
}

/* ---- calls ---- */

static bool store(const struct search *x, struct lin_state *s, const struct lin_op *o,
		  uint64_t val, uint64_t version)
{
	return is_told(x, s, o, IPCMAP_EVENT_PUT, &version) &&
	       set_value(s, val, version, o->shown & LIN_BRIEF);
}

static bool delete_it(const struct search *x, struct lin_state *s, const struct lin_op *o, int r)
{
	uint64_t version = 0;
	bool told = true;

	if (r == IPCMAP_NOTFOUND && o->shown & LIN_KEEPS)
		return true;
	if (r == 0)
		told = is_told(x, s, o, IPCMAP_EVENT_DEL, &version);
	else if (s->gone)
		told = is_told(x, s, o, IPCMAP_EVENT_EXPIRE, &version);
	set_none(s);
	return told;
}

static bool holds(const struct search *x, const struct lin_state *s, uint64_t lease)
{
	return s->lease && x->op[s->lease - 1].val == lease;
}

/* May another one be granted although this one is? */
static bool is_weak(const struct search *x, uint32_t lease, const struct lin_op *o)
{
	const struct lin_op *l = &x->op[lease - 1];

	return l->shown & LIN_BRIEF || (l->dead && o->ret > l->dead);
}

static bool grant(const struct search *x, struct lin_state *s, const struct lin_op *o)
{
	if (s->there || (s->lease && !is_weak(x, s->lease, o)))
		return is_pending(o);
	/* nobody has the lease of a call that did not return */
	s->lease = is_pending(o) ? 0 : 1 + (uint32_t)(o - x->op);
	return true;
}

static bool end_lease(const struct search *x, struct lin_state *s, const struct lin_op *o,
		      uint64_t version)
{
	bool good = holds(x, s, o->want);

	if (!is_pending(o) && o->rc != (good ? 0 : IPCMAP_MISMATCH))
		return false;
	if (!good)
		return true;
	s->lease = 0;
	return o->kind == LIN_FAIL || store(x, s, o, o->val, version);
}

/* False: it cannot have returned what it returned. */
static bool apply(const struct search *x, struct lin_state *s, const struct lin_op *o,
		  uint64_t version)
{
	int r = 0;

	switch ((enum lin_kind)o->kind) {
	case LIN_GET:
		return is_pending(o) || (o->rc ? !s->there : s->there && shows(s, o));
	case LIN_EXISTS:
		return is_pending(o) || (o->rc == 1) == s->there;
	case LIN_STALE:
		return s->gone && s->val == o->out && has_version(s, o->out_version);
	case LIN_LEASE:
		return grant(x, s, o);
	case LIN_FILL:
	case LIN_FAIL:
		return end_lease(x, s, o, version);
	case LIN_ADD:
		return store(x, s, o, (s->there ? s->val : 0) + o->val, 0) &&
		       (is_pending(o) || s->val == o->out);
	case LIN_CLEAR:
		if (!is_told(x, s, o, IPCMAP_EVENT_CLEAR, &version))
			return false;
		set_none(s);
		return true;
	case LIN_PUT:
	case LIN_DEL:
	case LIN_TOUCH:
		break;
	}
	r = judge(s, o);
	if (r == 0 && o->kind != LIN_PUT && !s->there)
		r = IPCMAP_NOTFOUND;
	if (!is_pending(o) && (r != o->rc || !shows(s, o)))
		return false;
	if (o->kind == LIN_DEL && (r == 0 || r == IPCMAP_NOTFOUND))
		return delete_it(x, s, o, r);
	if (r || o->kind == LIN_TOUCH)
		return true;
	return store(x, s, o, o->val, version);
}

/* ---- versions ---- */

/* @val has version @v: false when that cannot be. */
static bool note_version(struct search *x, uint64_t val, uint64_t v)
{
	if (val == x->initial && x->initial_version)
		return v == x->initial_version;
	for (size_t i = 0; i < x->n; i++) {
		if ((x->op[i].kind != LIN_PUT && x->op[i].kind != LIN_FILL) ||
		    x->op[i].val != val)
			continue;
		if (x->version[i] && x->version[i] != v)
			return false;
		x->version[i] = v;
		return true;
	}
	x->why = "a value that nobody stored";
	return false;
}

static bool fix_versions(struct search *x)
{
	x->why = "a value with two versions";
	for (size_t i = 0; i < x->n; i++) {
		const struct lin_op *o = &x->op[i];

		if (o->shown & LIN_VALUE && o->shown & LIN_VERSION && o->kind != LIN_ADD &&
		    !note_version(x, o->out, o->out_version))
			return false;
	}
	x->why = "a version with two values";
	for (size_t i = 0; i < x->n; i++)
		for (size_t k = i + 1; x->version[i] && k < x->n; k++)
			if (x->version[i] == x->version[k])
				return false;
	return true;
}

static bool versions_rise(struct search *x)
{
	uint64_t last = 0;

	x->why = "versions of events do not rise";
	for (size_t i = 0; x->tape && i < x->tape->n; i++) {
		const struct lin_event *e = &x->tape->event[i];

		if (e->what == IPCMAP_EVENT_GAP)
			break;
		if (e->version <= last)
			return false;
		last = e->version;
	}
	return true;
}

/* ---- the search ---- */

static bool is_done(const struct search *x, size_t i)
{
	return x->set[i / 64] >> (i % 64) & 1;
}

static void flip(struct search *x, size_t i)
{
	x->set[i / 64] ^= UINT64_C(1) << (i % 64);
}

static uint64_t hash_of(const struct memo *m)
{
	const unsigned char *p = (const unsigned char *)m;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(*m); i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 29;
}

static bool is_empty(const uint64_t set[WORDS])
{
	uint64_t all = 0;

	for (size_t i = 0; i < WORDS; i++)
		all |= set[i];
	return !all;
}

/* The empty set is never remembered, so it means a free place. */
static struct memo *place_of(struct memo *table, size_t cap, const struct memo *m)
{
	size_t at = hash_of(m) & (cap - 1);

	while (memcmp(&table[at], m, sizeof(*m)) != 0 && !is_empty(table[at].set))
		at = (at + 1) & (cap - 1);
	return &table[at];
}

static void grow_memo(struct search *x)
{
	size_t cap = x->cap ? x->cap * 2 : 1024;
	struct memo *table = calloc(cap, sizeof(*table));

	if (!table)
		abort();
	for (size_t i = 0; i < x->cap; i++)
		if (!is_empty(x->memo[i].set))
			*place_of(table, cap, &x->memo[i]) = x->memo[i];
	free(x->memo);
	x->memo = table;
	x->cap = cap;
}

/* True: this was here before. */
static bool remember(struct search *x, const struct lin_state *s)
{
	struct memo m, *at;

	memset(&m, 0, sizeof(m)); /* padding is compared too */
	memcpy(m.set, x->set, sizeof(m.set));
	m.state.val = s->val;
	m.state.version = s->version;
	m.state.highest = s->highest;
	m.state.gone_by = s->gone_by;
	m.state.lease = s->lease;
	m.state.heard = s->heard;
	m.state.there = s->there;
	m.state.mortal = s->mortal;
	m.state.gone = s->gone;
	m.state.counter = s->counter;
	if ((x->n_memo + 1) * 2 > x->cap)
		grow_memo(x);
	at = place_of(x->memo, x->cap, &m);
	if (memcmp(at, &m, sizeof(m)) == 0)
		return true;
	*at = m;
	x->n_memo++;
	return false;
}

/* Must @p, which is not done, come before @o? */
static bool precedes(const struct lin_op *p, const struct lin_op *o)
{
	return p->ret < o->inv || (is_pending(p) && is_write(o) && p->dead < o->inv);
}

static bool may_be_next(const struct search *x, size_t i)
{
	for (size_t k = x->first; k < x->n; k++) {
		/* by inv: those from here on began later than @i did */
		if (x->op[k].inv > x->op[i].inv)
			return true;
		if (k != i && !is_done(x, k) && precedes(&x->op[k], &x->op[i]))
			return false;
	}
	return true;
}

static bool go_on(struct search *x, const struct lin_state *s);

/* The same without a lease that there was: a writer killed before its change voided it. */
static bool go_on_voided(struct search *x, const struct lin_state *s)
{
	struct lin_state after = *s;

	after.lease = 0;
	return s->lease && go_on(x, &after);
}

/* It finds there what others have seen expired, since its clock is older than theirs. */
static bool apply_late(const struct search *x, struct lin_state *s, const struct lin_op *o,
		       uint64_t version)
{
	struct lin_state was = *s;

	if (!s->gone || !is_write(o) || o->inv > s->gone_by)
		return false;
	s->there = true;
	s->gone = false;
	if (!apply(x, s, o, version))
		return false;
	if (s->there && s->val == was.val)
		expire(s, was.gone_by); /* it is as it was */
	return true;
}

/* Call @i is next: done to what is there, or to what is left of it when it has expired. */
static bool go_on_with(struct search *x, const struct lin_state *s, size_t i)
{
	const struct lin_op *o = &x->op[i];
	uint64_t version = x->version[i];
	struct lin_state after = *s;

	if (apply(x, &after, o, version) && go_on(x, &after))
		return true;
	after = *s;
	if (s->there && s->mortal) {
		expire(&after, o->ret);
		if (apply(x, &after, o, version) && go_on(x, &after))
			return true;
	} else if (apply_late(x, &after, o, version) && go_on(x, &after)) {
		return true;
	}
	return is_pending(o) && (go_on(x, s) || (is_write(o) && go_on_voided(x, s)));
}

static bool go_on(struct search *x, const struct lin_state *s)
{
	size_t first = x->first;
	uint64_t least = UINT64_MAX;

	while (x->first < x->n && is_done(x, x->first))
		x->first++;
	if (x->first == x->n && is_all_told(x, s))
		return true;
	if (x->first == x->n || (!is_empty(x->set) && remember(x, s))) {
		x->first = first;
		return false;
	}
	for (size_t i = x->first; i < x->n && x->n_memo < STATES_MAX; i++) {
		if (is_done(x, i))
			continue;
		if (x->op[i].inv > least)
			break;
		least = x->op[i].ret < least ? x->op[i].ret : least;
		if (!may_be_next(x, i))
			continue;
		flip(x, i);
		if (go_on_with(x, s, i))
			return true;
		flip(x, i);
	}
	x->first = first;
	return false;
}

static int by_inv(const void *a, const void *b)
{
	const struct lin_op *x = a, *y = b;

	return x->inv < y->inv ? -1 : x->inv > y->inv;
}

bool lin_check(const struct lin_op *ops, size_t n, const struct lin_state *state,
	       const struct lin_tape *tape, const char **ret_why, uint64_t *ret_states)
{
	struct search *x = calloc(1, sizeof(*x));
	bool ok;

	if (!x || n > LIN_MAX)
		abort();
	memcpy(x->op, ops, n * sizeof(*ops));
	x->n = n;
	x->tape = tape;
	qsort(x->op, n, sizeof(*ops), by_inv);
	if (state->there) {
		x->initial = state->val;
		x->initial_version = state->version;
	}
	ok = versions_rise(x) && (state->counter || fix_versions(x));
	if (ok) {
		x->why = "there is no order";
		ok = go_on(x, state);
		if (x->n_memo >= STATES_MAX) {
			x->why = "too many states to decide";
			ok = false;
		}
	}
	*ret_why = x->why;
	if (ret_states)
		*ret_states = x->n_memo;
	free(x->memo);
	free(x);
	return ok;
}

/* ---- for people ---- */

static void print_tape(const struct lin_tape *tape)
{
	static const char *const what[] = {"?", "put", "del", "expire", "evict", "clear", "gap"};

	fprintf(stderr, "  heard:");
	for (size_t i = 0; i < tape->n; i++)
		fprintf(stderr, " %s %" PRIu64 " (at %" PRIu64 ")", what[tape->event[i].what % 7],
			tape->event[i].version, tape->event[i].seen);
	fputc('\n', stderr);
}

static void print_op(const struct lin_op *o)
{
	static const char *const kind[] = {"get",   "exists", "put",   "del",  "add", "touch",
					   "clear", "stale",  "lease", "fill", "fail"};

	fprintf(stderr, "  %7" PRIu64 " .. %7" PRId64 " who %u %s", o->inv, (int64_t)o->ret,
		o->who, kind[o->kind]);
	if (o->kind == LIN_PUT || o->kind == LIN_ADD || o->kind == LIN_LEASE ||
	    o->kind == LIN_FILL)
		fprintf(stderr, " %" PRIx64, o->val);
	if (o->kind == LIN_FILL || o->kind == LIN_FAIL)
		fprintf(stderr, " of lease %" PRIx64, o->want);
	else if (o->cond)
		fprintf(stderr, " if %u:%" PRIx64, o->cond, o->want);
	if (is_pending(o))
		fprintf(stderr, " killed, dead at %" PRIu64, o->dead);
	else
		fprintf(stderr, " = %d", o->rc);
	if (o->kind == LIN_LEASE && o->dead && !is_pending(o))
		fprintf(stderr, " of one killed after %" PRIu64, o->dead);
	if (o->shown & LIN_NONE)
		fprintf(stderr, " shows none");
	if (o->shown & LIN_VALUE)
		fprintf(stderr, " shows %" PRIx64, o->out);
	if (o->shown & LIN_VERSION)
		fprintf(stderr, " version %" PRIu64, o->out_version);
	fprintf(stderr, "%s%s\n", o->shown & LIN_BRIEF ? " brief" : "",
		o->shown & LIN_KEEPS ? " keeps" : "");
}

void lin_print(const struct lin_op *ops, size_t n, const struct lin_tape *tape)
{
	struct lin_op *sorted = calloc(n ? n : 1, sizeof(*ops));

	if (!sorted)
		abort();
	memcpy(sorted, ops, n * sizeof(*ops));
	qsort(sorted, n, sizeof(*ops), by_inv);
	for (size_t i = 0; i < n; i++)
		print_op(&sorted[i]);
	free(sorted);
	if (tape)
		print_tape(tape);
}
