/* SPDX-License-Identifier: MIT */
/*
 * t-lin.c - the checker of histories is checked: wrong ones must be rejected, right ones not
 *
 * Wrong and right ones by hand, one for each fault that a map could have; then right ones made
 * at random from an execution one after the other, and the same with one result changed.
 */
#include "lin.h"
#include "load.h"

#define MOST 8u

/* b, e: begin and end */
#define GET(b, e, v, ver)                                                                      \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_GET, .shown = LIN_VALUE | LIN_VERSION,         \
		.out = v, .out_version = ver                                                   \
	}
#define GET_VALUE(b, e, v)                                                                     \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_GET, .shown = LIN_VALUE, .out = v              \
	}
#define MISS(b, e)                                                                             \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_GET, .rc = IPCMAP_NOTFOUND                     \
	}
#define EXISTS(b, e, r)                                                                        \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_EXISTS, .rc = r                                \
	}
#define PUT(b, e, v)                                                                           \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_PUT, .val = v                                  \
	}
#define SWAP(b, e, v, o, over)                                                                 \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_PUT, .val = v,                                 \
		.shown = LIN_VALUE | LIN_VERSION, .out = o, .out_version = over                \
	}
#define SWAP_NONE(b, e, v)                                                                     \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_PUT, .val = v, .shown = LIN_NONE               \
	}
#define PUT_IF(b, e, v, c, w, r)                                                               \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_PUT, .val = v, .cond = c, .want = w, .rc = r   \
	}
#define LOAD_OR_STORE(b, e, v, o, over)                                                        \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_PUT, .val = v, .cond = IPCMAP_IF_ABSENT,       \
		.rc = IPCMAP_EXISTS, .shown = LIN_VALUE | LIN_VERSION, .out = o,               \
		.out_version = over                                                            \
	}
#define DEL(b, e, r)                                                                           \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_DEL, .rc = r                                   \
	}
#define TAKE(b, e, o, over)                                                                    \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_DEL, .shown = LIN_VALUE | LIN_VERSION,         \
		.out = o, .out_version = over                                                  \
	}
#define ADD(b, e, d, now)                                                                      \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_ADD, .val = d, .shown = LIN_VALUE, .out = now  \
	}
#define TOUCH(b, e, r)                                                                         \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_TOUCH, .rc = r                                 \
	}
#define CLEAR(b, e)                                                                            \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_CLEAR                                          \
	}
#define PUT_BRIEF(b, e, v)                                                                     \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_PUT, .val = v, .shown = LIN_BRIEF              \
	}
#define STALE(b, e, v, ver)                                                                    \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_STALE, .shown = LIN_VALUE | LIN_VERSION,       \
		.out = v, .out_version = ver                                                   \
	}
#define LEASE(b, e, l)                                                                         \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_LEASE, .val = l, .rc = IPCMAP_LEAD             \
	}
#define LEASE_BRIEF(b, e, l)                                                                   \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_LEASE, .val = l, .rc = IPCMAP_LEAD,            \
		.shown = LIN_BRIEF                                                             \
	}
/* of one that was killed after d */
#define LEASE_DEAD(b, e, l, d)                                                                 \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_LEASE, .val = l, .rc = IPCMAP_LEAD, .dead = d  \
	}
#define LEASE_FILL(b, e, l, v, r)                                                              \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_FILL, .want = l, .val = v, .rc = r             \
	}
#define LEASE_FAIL(b, e, l, r)                                                                 \
	{                                                                                      \
		.inv = b, .ret = e, .kind = LIN_FAIL, .want = l, .rc = r                       \
	}
#define REFUSED IPCMAP_MISMATCH
#define KILLED(b, d, e, k, v)                                                                  \
	{                                                                                      \
		.inv = b, .ret = e, .dead = d, .kind = k, .val = v, .rc = LIN_PENDING          \
	}

#define NEVER UINT64_MAX

struct sample {
	const char *what;
	bool right;
	bool counter;
	struct lin_op op[MOST];
};

static const struct sample samples[] = {
	/* reads */
	{"one after the other",
	 true,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), DEL(5, 6, 0), MISS(7, 8)}},
	{"a stale read", false, false, {PUT(1, 2, 7), PUT(3, 4, 8), GET_VALUE(5, 6, 7)}},
	{"either of two puts at once",
	 true,
	 false,
	 {PUT(1, 5, 7), PUT(2, 6, 8), GET_VALUE(7, 8, 7)}},
	{"a read beside a put sees the old value",
	 true,
	 false,
	 {PUT(1, 2, 7), PUT(3, 9, 8), GET_VALUE(4, 5, 7)}},
	{"first the new value, then the old one",
	 false,
	 false,
	 {PUT(1, 2, 7), PUT(3, 10, 8), GET_VALUE(4, 5, 8), GET_VALUE(6, 7, 7)}},
	{"a miss after a put", false, false, {PUT(1, 2, 7), MISS(3, 4)}},
	{"a miss beside an update", false, false, {PUT(1, 2, 7), PUT(3, 9, 8), MISS(4, 5)}},
	{"a value that nobody stored", false, false, {PUT(1, 2, 7), GET(3, 4, 9, 1)}},
	{"a value before it was stored", false, false, {GET_VALUE(1, 2, 7), PUT(3, 4, 7)}},
	{"a deleted value", false, false, {PUT(1, 2, 7), DEL(3, 4, 0), GET_VALUE(5, 6, 7)}},
	{"a cleared value", false, false, {PUT(1, 2, 7), CLEAR(3, 4), GET_VALUE(5, 6, 7)}},
	{"a clear at once with a put",
	 true,
	 false,
	 {PUT(1, 5, 7), CLEAR(2, 4), GET_VALUE(6, 7, 7)}},
	{"exists says no", false, false, {PUT(1, 2, 7), EXISTS(3, 4, 0)}},
	{"exists says yes", false, false, {PUT(1, 2, 7), DEL(3, 4, 0), EXISTS(5, 6, 1)}},
	/* versions */
	{"versions rise",
	 true,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), PUT(5, 6, 8), GET(7, 8, 8, 9)}},
	{"a version going back",
	 false,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), PUT(5, 6, 8), GET(7, 8, 8, 4)}},
	{"a version going back over a delete",
	 false,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), DEL(5, 6, 0), PUT(7, 8, 8), GET(9, 10, 8, 5)}},
	{"a version that changes without a write",
	 false,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), GET(5, 6, 7, 6)}},
	{"one version for two values",
	 false,
	 false,
	 {PUT(1, 5, 7), GET(2, 3, 7, 5), PUT(4, 6, 8), GET(7, 8, 8, 5)}},
	{"versions tell the order of two puts",
	 false,
	 false,
	 {PUT(1, 5, 7), PUT(2, 6, 8), SWAP(7, 8, 9, 8, 4), SWAP(9, 10, 6, 9, 5),
	  LOAD_OR_STORE(11, 12, 4, 6, 3)}},
	{"a touch keeps the version",
	 true,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), TOUCH(5, 6, 0), GET(7, 8, 7, 5)}},
	{"a touch of nothing", false, false, {DEL(1, 2, IPCMAP_NOTFOUND), TOUCH(3, 4, 0)}},
	{"a counter's version going back",
	 false,
	 true,
	 {ADD(1, 2, 1, 1), GET(3, 4, 1, 9), ADD(5, 6, 1, 2), GET(7, 8, 2, 8)}},
	/* swaps, conditions */
	{"swaps hand values on",
	 true,
	 false,
	 {SWAP_NONE(1, 6, 7), SWAP(2, 7, 8, 7, 3), SWAP(3, 8, 9, 8, 4)}},
	{"a lost update",
	 false,
	 false,
	 {PUT(1, 2, 7), SWAP(3, 8, 8, 7, 3), SWAP(4, 9, 9, 7, 3)}},
	{"two swaps find nothing", false, false, {SWAP_NONE(1, 6, 7), SWAP_NONE(2, 7, 8)}},
	{"one of two compare-and-swaps",
	 true,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), PUT_IF(5, 9, 8, IPCMAP_IF_VERSION, 5, 0),
	  PUT_IF(6, 10, 9, IPCMAP_IF_VERSION, 5, IPCMAP_MISMATCH)}},
	{"both of two compare-and-swaps",
	 false,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), PUT_IF(5, 9, 8, IPCMAP_IF_VERSION, 5, 0),
	  PUT_IF(6, 10, 9, IPCMAP_IF_VERSION, 5, 0)}},
	{"none of two compare-and-swaps",
	 false,
	 false,
	 {PUT(1, 2, 7), GET(3, 4, 7, 5), PUT_IF(5, 9, 8, IPCMAP_IF_VERSION, 5, IPCMAP_MISMATCH),
	  PUT_IF(6, 10, 9, IPCMAP_IF_VERSION, 5, IPCMAP_MISMATCH)}},
	{"a put over another value than it wanted",
	 false,
	 false,
	 {PUT(1, 2, 7), PUT_IF(3, 4, 8, IPCMAP_IF_EQUAL, 6, 0)}},
	{"a put over the value that it wanted",
	 true,
	 false,
	 {PUT(1, 2, 7), PUT_IF(3, 4, 8, IPCMAP_IF_EQUAL, 7, 0), GET_VALUE(5, 6, 8)}},
	{"two that store where nothing was",
	 false,
	 false,
	 {PUT_IF(1, 5, 7, IPCMAP_IF_ABSENT, 0, 0), PUT_IF(2, 6, 8, IPCMAP_IF_ABSENT, 0, 0)}},
	{"LoadOrStore loads what the other stored",
	 true,
	 false,
	 {PUT_IF(1, 5, 7, IPCMAP_IF_ABSENT, 0, 0), LOAD_OR_STORE(2, 6, 8, 7, 1)}},
	{"LoadOrStore loads, and stores all the same",
	 false,
	 false,
	 {PUT_IF(1, 5, 7, IPCMAP_IF_ABSENT, 0, 0), LOAD_OR_STORE(2, 6, 8, 7, 1),
	  GET_VALUE(7, 8, 8)}},
	{"only an update, of nothing",
	 false,
	 false,
	 {PUT_IF(1, 2, 7, IPCMAP_IF_PRESENT, 0, 0)}},
	/* deletes */
	{"a double delete", false, false, {PUT(1, 2, 7), DEL(3, 8, 0), DEL(4, 9, 0)}},
	{"one of two deletes",
	 true,
	 false,
	 {PUT(1, 2, 7), DEL(3, 8, 0), DEL(4, 9, IPCMAP_NOTFOUND)}},
	{"two that take one value",
	 false,
	 false,
	 {PUT(1, 2, 7), TAKE(3, 8, 7, 1), TAKE(4, 9, 7, 1)}},
	{"a delete that did nothing",
	 false,
	 false,
	 {PUT(1, 2, 7), DEL(3, 4, 0), PUT_IF(5, 6, 8, IPCMAP_IF_PRESENT, 0, 0)}},
	{"a delete that finds nothing",
	 false,
	 false,
	 {PUT(1, 2, 7), DEL(3, 4, IPCMAP_NOTFOUND)}},
	/* counters */
	{"sums", true, true, {ADD(1, 8, 1, 3), ADD(2, 9, 2, 2), GET_VALUE(10, 11, 3)}},
	{"a duplicate add", false, true, {ADD(1, 8, 1, 1), ADD(2, 9, 1, 1)}},
	{"an add that is lost",
	 false,
	 true,
	 {ADD(1, 2, 1, 1), ADD(3, 4, 1, 2), GET_VALUE(5, 6, 1)}},
	{"an add done twice", false, true, {ADD(1, 2, 1, 1), GET_VALUE(3, 4, 2)}},
	/* kills: begun, known to be dead, recovered */
	{"killed, and never happened",
	 true,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_PUT, 8), GET_VALUE(6, 7, 7)}},
	{"killed, and happened",
	 true,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_PUT, 8), GET_VALUE(6, 7, 8)}},
	{"killed, and happens later",
	 true,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_PUT, 8), GET_VALUE(6, 7, 7),
	  GET_VALUE(8, 9, 8)}},
	{"killed, seen, and not seen",
	 false,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_PUT, 8), GET_VALUE(6, 7, 8),
	  GET_VALUE(8, 9, 7)}},
	{"killed, and seen before it began",
	 false,
	 false,
	 {GET_VALUE(1, 2, 8), KILLED(3, 5, NEVER, LIN_PUT, 8)}},
	{"killed, and happens after the recovery",
	 false,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, 7, LIN_PUT, 8), GET_VALUE(8, 9, 7), GET_VALUE(10, 11, 8)}},
	{"killed, and happens over a later write",
	 false,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, 9, LIN_PUT, 8), PUT(6, 9, 9), GET_VALUE(10, 11, 8)}},
	{"killed, and happens during the recovery",
	 true,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, 9, LIN_PUT, 8), GET_VALUE(6, 7, 7), SWAP(8, 9, 9, 8, 4),
	  GET_VALUE(10, 11, 9)}},
	{"killed, and happened twice",
	 false,
	 true,
	 {ADD(1, 2, 1, 1), KILLED(3, 5, NEVER, LIN_ADD, 1), GET_VALUE(6, 7, 3)}},
	{"an acknowledged write is lost by a kill",
	 false,
	 false,
	 {PUT(1, 2, 7), PUT(3, 4, 8), KILLED(5, 6, NEVER, LIN_PUT, 9), GET_VALUE(7, 8, 7)}},
	{"killed in a delete",
	 true,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_DEL, 0), GET_VALUE(6, 7, 7), MISS(8, 9)}},
	{"killed in a delete, undone",
	 false,
	 false,
	 {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_DEL, 0), MISS(6, 7), GET_VALUE(8, 9, 7)}},
	/* leases */
	{"leased, and filled",
	 true,
	 false,
	 {LEASE(1, 2, 50), LEASE_FILL(3, 4, 50, 7, 0), GET(5, 6, 7, 1)}},
	{"two leases at once", false, false, {LEASE(1, 2, 50), LEASE(3, 4, 51)}},
	{"two leases at once, granted together", false, false, {LEASE(1, 5, 50), LEASE(2, 6, 51)}},
	{"a lease after the other has failed",
	 true,
	 false,
	 {LEASE(1, 2, 50), LEASE_FAIL(3, 4, 50, 0), LEASE(5, 6, 51)}},
	{"a lease after the other was voided",
	 true,
	 false,
	 {LEASE(1, 2, 50), DEL(3, 4, IPCMAP_NOTFOUND), LEASE(5, 6, 51),
	  LEASE_FILL(7, 8, 50, 7, REFUSED), LEASE_FILL(9, 10, 51, 8, 0), GET_VALUE(11, 12, 8)}},
	{"a lease of what is there", false, false, {PUT(1, 2, 7), LEASE(3, 4, 50)}},
	{"a fill accepted after a put",
	 false,
	 false,
	 {LEASE(1, 2, 50), PUT(3, 4, 7), LEASE_FILL(5, 6, 50, 8, 0)}},
	{"a fill refused after a put",
	 true,
	 false,
	 {LEASE(1, 2, 50), PUT(3, 4, 7), LEASE_FILL(5, 6, 50, 8, REFUSED), GET_VALUE(7, 8, 7)}},
	{"a fill accepted after a delete of nothing",
	 false,
	 false,
	 {LEASE(1, 2, 50), DEL(3, 4, IPCMAP_NOTFOUND), LEASE_FILL(5, 6, 50, 8, 0)}},
	{"a fill accepted after a put and a delete",
	 false,
	 false,
	 {LEASE(1, 2, 50), PUT(3, 4, 7), DEL(5, 6, 0), LEASE_FILL(7, 8, 50, 8, 0)}},
	{"a fill accepted after a clear",
	 false,
	 false,
	 {LEASE(1, 2, 50), CLEAR(3, 4), LEASE_FILL(5, 6, 50, 8, 0)}},
	{"a fill accepted although its lease passed to another one",
	 false,
	 false,
	 {LEASE_BRIEF(1, 2, 50), LEASE(3, 4, 51), LEASE_FILL(5, 6, 50, 8, 0)}},
	{"a fill refused although nothing happened",
	 false,
	 false,
	 {LEASE(1, 2, 50), LEASE_FILL(3, 4, 50, 8, REFUSED)}},
	{"a refused fill is there all the same",
	 false,
	 false,
	 {LEASE(1, 2, 50), DEL(3, 4, IPCMAP_NOTFOUND), LEASE_FILL(5, 6, 50, 8, REFUSED),
	  GET_VALUE(7, 8, 8)}},
	{"a fill twice",
	 false,
	 false,
	 {LEASE(1, 2, 50), LEASE_FILL(3, 4, 50, 8, 0), DEL(5, 6, 0), LEASE_FILL(7, 8, 50, 9, 0)}},
	{"a lease that failed twice",
	 false,
	 false,
	 {LEASE(1, 2, 50), LEASE_FAIL(3, 4, 50, 0), LEASE_FAIL(5, 6, 50, 0)}},
	{"a put whose condition failed voids nothing",
	 true,
	 false,
	 {LEASE(1, 2, 50), PUT_IF(3, 4, 7, IPCMAP_IF_PRESENT, 0, IPCMAP_NOTFOUND),
	  LEASE_FILL(5, 6, 50, 8, 0), GET_VALUE(7, 8, 8)}},
	{"a lease whose time may be over passes on",
	 true,
	 false,
	 {LEASE_BRIEF(1, 2, 50), LEASE(3, 4, 51), LEASE_FILL(5, 6, 50, 8, REFUSED),
	  LEASE_FILL(7, 8, 51, 9, 0), GET_VALUE(9, 10, 9)}},
	{"a dead one's lease passes on", true, false, {LEASE_DEAD(1, 2, 50, 3), LEASE(4, 5, 51)}},
	{"the lease of one that was still alive passes on",
	 false,
	 false,
	 {LEASE_DEAD(1, 2, 50, 6), LEASE(4, 5, 51)}},
	{"killed in a fill, which happened",
	 true,
	 false,
	 {LEASE(1, 2, 50), {.inv = 3, .ret = NEVER, .dead = 5, .kind = LIN_FILL, .want = 50,
	  .val = 7, .rc = LIN_PENDING}, GET_VALUE(6, 7, 7)}},
	{"killed in a fill of a lease that was over, which happened",
	 false,
	 false,
	 {LEASE(1, 2, 50), DEL(3, 4, IPCMAP_NOTFOUND), {.inv = 5, .ret = NEVER, .dead = 7,
	  .kind = LIN_FILL, .want = 50, .val = 7, .rc = LIN_PENDING}, GET_VALUE(8, 9, 7)}},
	{"killed in a put that only voided a lease",
	 true,
	 false,
	 {LEASE(1, 2, 50), KILLED(3, 5, NEVER, LIN_PUT, 8), LEASE_FILL(6, 7, 50, 9, REFUSED),
	  MISS(8, 9)}},
	/* lives */
	{"expired, and shown as stale",
	 true,
	 false,
	 {PUT_BRIEF(1, 2, 7), GET(3, 4, 7, 5), MISS(5, 6), STALE(7, 8, 7, 5), LEASE(9, 10, 50),
	  LEASE_FILL(11, 12, 50, 8, 0), GET(13, 14, 8, 6)}},
	{"stale, and there again",
	 false,
	 false,
	 {PUT_BRIEF(1, 2, 7), STALE(3, 4, 7, 5), GET_VALUE(5, 6, 7)}},
	{"stale, what does not expire", false, false, {PUT(1, 2, 7), STALE(3, 4, 7, 5)}},
	{"stale, after a delete",
	 false,
	 false,
	 {PUT_BRIEF(1, 2, 7), DEL(3, 4, 0), STALE(5, 6, 7, 5)}},
	{"stale, an older value than the last",
	 false,
	 false,
	 {PUT_BRIEF(1, 2, 7), PUT_BRIEF(3, 4, 8), STALE(5, 6, 7, 5)}},
	{"a delete finds what another one saw expire meanwhile",
	 true,
	 false,
	 {PUT_BRIEF(1, 2, 7), DEL(3, 8, 0), STALE(4, 5, 7, 5), MISS(9, 10)}},
	{"a delete finds what had expired before",
	 false,
	 false,
	 {PUT_BRIEF(1, 2, 7), STALE(3, 4, 7, 5), DEL(5, 6, 0)}},
};

/* Histories somebody watched. */
#define EVENT(w, v)                                                                            \
	{                                                                                      \
		.version = v, .seen = 100 + v, .what = IPCMAP_EVENT_##w                        \
	}
#define EVENT_AT(w, v, s)                                                                      \
	{                                                                                      \
		.version = v, .seen = s, .what = IPCMAP_EVENT_##w                              \
	}

static const struct watched {
	struct sample s;
	struct lin_event event[MOST];
} watched[] = {
	{{"all is told", true, false, {PUT(1, 2, 7), DEL(3, 4, 0), PUT(5, 6, 8), GET(7, 8, 8, 9)}},
	 {EVENT(PUT, 4), EVENT(DEL, 5), EVENT(PUT, 9)}},
	{{"an event is lost", false, false, {PUT(1, 2, 7), DEL(3, 4, 0), PUT(5, 6, 8)}},
	 {EVENT(PUT, 4), EVENT(PUT, 9)}},
	{{"the last event is lost", false, false, {PUT(1, 2, 7), DEL(3, 4, 0)}}, {EVENT(PUT, 4)}},
	{{"no event at all", false, false, {PUT(1, 2, 7)}}, {{0}}},
	{{"lost, and there is a gap", true, false, {PUT(1, 2, 7), DEL(3, 4, 0), PUT(5, 6, 8)}},
	 {EVENT(PUT, 4), EVENT(GAP, 0), EVENT(PUT, 9)}},
	{{"two events are swapped", false, false, {PUT(1, 2, 7), DEL(3, 4, 0), PUT(5, 6, 8)}},
	 {EVENT(DEL, 4), EVENT(PUT, 5), EVENT(PUT, 9)}},
	{{"versions of events fall", false, false, {PUT(1, 2, 7), PUT(3, 4, 8)}},
	 {EVENT(PUT, 9), EVENT(PUT, 4)}},
	{{"an event twice", false, false, {PUT(1, 2, 7)}}, {EVENT(PUT, 4), EVENT(PUT, 5)}},
	{{"an event of a delete that found nothing",
	  false,
	  false,
	  {PUT(1, 2, 7), DEL(3, 4, 0), DEL(5, 6, IPCMAP_NOTFOUND)}},
	 {EVENT(PUT, 4), EVENT(DEL, 5), EVENT(DEL, 6)}},
	{{"another version than the read one", false, false, {PUT(1, 2, 7), GET(3, 4, 7, 5)}},
	 {EVENT(PUT, 4)}},
	{{"another order than reads saw",
	  false,
	  false,
	  {PUT(1, 8, 7), PUT(2, 9, 8), GET(10, 11, 7, 5), GET(12, 13, 7, 5)}},
	 {EVENT(PUT, 5), EVENT(PUT, 6)}},
	{{"an event before its change", false, false, {PUT(3, 4, 7)}}, {EVENT_AT(PUT, 4, 2)}},
	{{"a counter is told", true, true, {ADD(1, 2, 1, 1), ADD(3, 4, 1, 2), GET(5, 6, 2, 9)}},
	 {EVENT(PUT, 4), EVENT(PUT, 9)}},
	{{"an addition is not told", false, true, {ADD(1, 2, 1, 1), ADD(3, 4, 1, 2)}},
	 {EVENT(PUT, 4)}},
	{{"a touch is told", false, false, {PUT(1, 2, 7), TOUCH(3, 4, 0)}},
	 {EVENT(PUT, 4), EVENT(PUT, 5)}},
	{{"a clear is told", true, false, {PUT(1, 2, 7), CLEAR(3, 4), CLEAR(5, 6)}},
	 {EVENT(PUT, 4), EVENT(CLEAR, 5), EVENT(CLEAR, 6)}},
	{{"a clear is not told", false, false, {PUT(1, 2, 7), CLEAR(3, 4)}}, {EVENT(PUT, 4)}},
	{{"a fill is told", true, false, {LEASE(1, 2, 50), LEASE_FILL(3, 4, 50, 7, 0)}},
	 {EVENT(PUT, 4)}},
	{{"a refused fill is told",
	  false,
	  false,
	  {LEASE(1, 2, 50), PUT(3, 4, 7), LEASE_FILL(5, 6, 50, 8, REFUSED)}},
	 {EVENT(PUT, 4), EVENT(PUT, 5)}},
	{{"killed, and told", true, false, {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_PUT, 8)}},
	 {EVENT(PUT, 4), EVENT(PUT, 5)}},
	{{"killed, seen, and not told",
	  false,
	  false,
	  {PUT(1, 2, 7), KILLED(3, 5, NEVER, LIN_PUT, 8), GET_VALUE(6, 7, 8)}},
	 {EVENT(PUT, 4)}},
	{{"killed, told, and not there",
	  false,
	  false,
	  {PUT(1, 2, 7), KILLED(3, 5, 6, LIN_PUT, 8), GET_VALUE(7, 8, 7)}},
	 {EVENT(PUT, 4), EVENT(PUT, 5)}},
	{{"expired, reclaimed, and stored again",
	  true,
	  false,
	  {PUT_BRIEF(1, 2, 7), MISS(3, 4), PUT(5, 6, 8)}},
	 {EVENT(PUT, 4), EVENT(EXPIRE, 5), EVENT(PUT, 6)}},
	{{"expired, and stored over", true, false, {PUT_BRIEF(1, 2, 7), MISS(3, 4), PUT(5, 6, 8)}},
	 {EVENT(PUT, 4), EVENT(PUT, 6)}},
	{{"an end that nothing has", false, false, {PUT(1, 2, 7)}},
	 {EVENT(PUT, 4), EVENT(EXPIRE, 5)}},
	{{"expired, told, and read",
	  false,
	  false,
	  {PUT_BRIEF(1, 2, 7), MISS(3, 4), GET(5, 6, 7, 4)}},
	 {EVENT(PUT, 4), EVENT(EXPIRE, 5)}},
};

static void judge_sample(const struct sample *s, const struct lin_tape *tape)
{
	struct lin_state none = {.counter = s->counter};
	const char *why;
	size_t n = 0;

	while (n < MOST && s->op[n].inv)
		n++;
	if (lin_check(s->op, n, &none, tape, &why, NULL) == s->right)
		return;
	fprintf(stderr, "\n%s: judged wrongly\n", s->what);
	lin_print(s->op, n, tape);
	CU_FAIL("a history is judged wrongly");
}

static void lin__watched_samples(void)
{
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++) {
		struct lin_tape tape = {watched[i].event, 0};

		while (tape.n < MOST && tape.event[tape.n].what)
			tape.n++;
		judge_sample(&watched[i].s, &tape);
	}
}

static void lin__samples(void)
{
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		judge_sample(&samples[i], NULL);
}

/* ---- at random ---- */

#define CALLS 120u
#define HISTORIES T_AMOUNT(300u, 100u, 20u)
#define WIDE 6u /* about so many calls at once */

/*
 * An execution in which call i happens at time 100 * (i + WIDE), and is seen to begin and to
 * end up to WIDE / 2 calls from there. Values 1, 2, ... are stored once each.
 */
static size_t make_right(uint64_t *x, struct lin_op *op, struct lin_event *event, size_t *ret_n)
{
	uint64_t val = 0, version = 0, next = 1, next_version = 1;
	size_t n = 0;

	for (size_t i = 0; i < CALLS; i++) {
		struct lin_op *o = &op[i];
		uint64_t at = 100 * (i + WIDE);

		memset(o, 0, sizeof(*o));
		o->inv = at - load_random(x) % (50 * WIDE) - 1;
		o->ret = at + load_random(x) % (50 * WIDE) + 1;
		o->shown = val ? LIN_VALUE | LIN_VERSION : LIN_NONE;
		o->out = val;
		o->out_version = version;
		switch (load_random(x) % 4) {
		case 0:
			o->kind = LIN_PUT;
			o->val = val = next++;
			version = next_version;
			next_version += 1 + load_random(x) % 3;
			event[n++] = (struct lin_event){version, at + 400, IPCMAP_EVENT_PUT, 0};
			break;
		case 1:
			o->kind = LIN_DEL;
			o->rc = val ? 0 : IPCMAP_NOTFOUND;
			if (val)
				event[n++] = (struct lin_event){next_version++, at + 400,
								IPCMAP_EVENT_DEL, 0};
			val = version = 0;
			break;
		default:
			o->kind = LIN_GET;
			o->rc = val ? 0 : IPCMAP_NOTFOUND;
			break;
		}
		if (o->rc)
			o->shown = 0;
	}
	*ret_n = n;
	return CALLS;
}

static void lin__random_right_ones_are_accepted(void)
{
	struct lin_state none = {0};
	uint64_t x = t_now_ms() | 1, seed = x, states, most = 0;
	struct lin_event event[CALLS];
	struct lin_tape tape = {event, 0};
	struct lin_op op[CALLS];
	const char *why;

	printf("(seed %llu) ", (unsigned long long)seed);
	for (unsigned i = 0; i < HISTORIES; i++) {
		size_t n = make_right(&x, op, event, &tape.n);
		bool ok = lin_check(op, n, &none, NULL, &why, &states) &&
			  lin_check(op, n, &none, &tape, &why, NULL);

		most = states > most ? states : most;
		if (!ok)
			lin_print(op, n, &tape);
		CU_ASSERT_FATAL(ok);
	}
	printf("(at most %llu states) ", (unsigned long long)most);
}

/* A read that is so long ago that no order can make it right. */
static bool spoil(uint64_t *x, struct lin_op *op, size_t n)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		size_t i = load_random(x) % n, k = load_random(x) % n;

		if (op[i].kind != LIN_GET || op[i].rc || op[k].kind != LIN_GET || op[k].rc ||
		    op[i].out == op[k].out || k + 3 * WIDE > i)
			continue;
		op[i].out = op[k].out;
		op[i].out_version = op[k].out_version;
		return true;
	}
	return false;
}

static void lin__random_wrong_ones_are_rejected(void)
{
	struct lin_state none = {0};
	uint64_t x = t_now_ms() | 1, seed = x;
	struct lin_event event[CALLS];
	struct lin_tape tape = {event, 0};
	struct lin_op op[CALLS];
	const char *why;
	unsigned spoiled = 0;

	printf("(seed %llu) ", (unsigned long long)seed);
	for (unsigned i = 0; i < HISTORIES; i++) {
		size_t n = make_right(&x, op, event, &tape.n);
		bool ok;

		if (!spoil(&x, op, n))
			continue;
		spoiled++;
		ok = lin_check(op, n, &none, NULL, &why, NULL);
		if (ok)
			lin_print(op, n, NULL);
		CU_ASSERT_FATAL(!ok);
	}
	CU_ASSERT(spoiled > HISTORIES / 2);
}

/* Of what was told one thing is left out, or two next to each other change places. */
static void lin__random_tapes_with_a_fault_are_rejected(void)
{
	struct lin_state none = {0};
	uint64_t x = t_now_ms() | 1, seed = x;
	struct lin_event event[CALLS];
	struct lin_tape tape = {event, 0};
	struct lin_op op[CALLS];
	const char *why;

	printf("(seed %llu) ", (unsigned long long)seed);
	for (unsigned i = 0; i < HISTORIES; i++) {
		size_t n = make_right(&x, op, event, &tape.n), k = load_random(&x) % (tape.n - 1);
		struct lin_event was = event[k];
		bool ok;

		if (i % 2) {
			memmove(&event[k], &event[k + 1], (--tape.n - k) * sizeof(*event));
		} else {
			event[k].what = event[k + 1].what;
			event[k + 1].what = was.what;
			if (event[k].what == was.what) { /* two puts: as if they had been one */
				event[k].version = event[k + 1].version;
				memmove(&event[k + 1], &event[k + 2],
					(--tape.n - k - 1) * sizeof(*event));
			}
		}
		ok = lin_check(op, n, &none, &tape, &why, NULL);
		if (ok)
			lin_print(op, n, &tape);
		CU_ASSERT_FATAL(!ok);
	}
}

static CU_TestInfo tests[] = {
	{"wrong histories are rejected, right ones accepted", lin__samples},
	{"so where somebody watched", lin__watched_samples},
	{"right histories made at random are accepted", lin__random_right_ones_are_accepted},
	{"the same with one stale read are rejected", lin__random_wrong_ones_are_rejected},
	{"the same with events lost or swapped are rejected",
	 lin__random_tapes_with_a_fault_are_rejected},
	CU_TEST_INFO_NULL,
};

T_SUITE("linear checker", tests)
