/* SPDX-License-Identifier: MIT */
/*
 * litmus.pml - is the memory of weak.h weak enough, and strong enough?
 *
 * The usual small programs. Each has an outcome that must be possible, or must not; FORBIDDEN
 * asserts that it does not happen. X, Y: two locations, 0 at first. See README.md for the
 * expectations.
 *
 *   MP    X = 1; Y = 1            | a = Y; b = X       a = 1, b = 0?
 *   SB    X = 1; a = Y            | Y = 1; b = X       a = 0, b = 0?
 *   IRIW  X = 1 | Y = 1 | a = X; b = Y | c = Y; d = X  a = 1, b = 0, c = 1, d = 0?
 *   WRC   X = 1 | a = X; Y = 1 | b = Y; c = X          a = 1, b = 1, c = 0?
 *   CORR  X = 1; X = 2            | a = X; b = X       a = 2, b = 1?
 */
c_decl {
	\#define LOCS 2
	\#define MSGS 4
	\#define THREADS 4
	enum { X, Y };
}
#include "weak.pml"

byte a, b, c, d, ready;

#ifdef RELEASE
#define STORE_SECOND(t, loc, v) STORE_REL(t, loc, v)
#else
#define STORE_SECOND(t, loc, v) STORE_RLX(t, loc, v)
#endif
#ifdef ACQUIRE
#define LOAD_FIRST(t, loc, to) LOAD_ACQ(t, loc, to)
#else
#define LOAD_FIRST(t, loc, to) LOAD_RLX(t, loc, to)
#endif
#ifdef WRITER_BARRIER
#define BETWEEN_STORES(t) WRITE_BARRIER(t)
#else
#define BETWEEN_STORES(t) skip
#endif
#ifdef READER_BARRIER
#define BETWEEN_LOADS(t) READ_BARRIER(t)
#else
#define BETWEEN_LOADS(t) skip
#endif
#ifdef FULL
#define BETWEEN(t) FULL_BARRIER(t)
#else
#define BETWEEN(t) skip
#endif

#if defined MP
#define LAST 2
#define OUTCOME (a == 1 && b == 0)
active proctype one() { STORE_RLX(0, X, 1); BETWEEN_STORES(0); STORE_SECOND(0, Y, 1); ready++ }
active proctype two() { LOAD_FIRST(1, Y, a); BETWEEN_LOADS(1); LOAD_RLX(1, X, b); ready++ }
#elif defined SB
#define LAST 2
#define OUTCOME (a == 0 && b == 0)
active proctype one() { STORE_REL(0, X, 1); BETWEEN(0); LOAD_ACQ(0, Y, a); ready++ }
active proctype two() { STORE_REL(1, Y, 1);
#ifdef HALF
	skip;
#else
	BETWEEN(1);
#endif
	LOAD_ACQ(1, X, b); ready++ }
#elif defined IRIW
#define LAST 4
#define OUTCOME (a == 1 && b == 0 && c == 1 && d == 0)
active proctype one() { STORE_REL(0, X, 1); ready++ }
active proctype two() { STORE_REL(1, Y, 1); ready++ }
active proctype three() { LOAD_ACQ(2, X, a); BETWEEN(2); LOAD_ACQ(2, Y, b); ready++ }
active proctype four() { LOAD_ACQ(3, Y, c); BETWEEN(3); LOAD_ACQ(3, X, d); ready++ }
#elif defined WRC
#define LAST 3
#define OUTCOME (a == 1 && b == 1 && c == 0)
active proctype one() { STORE_RLX(0, X, 1); ready++ }
active proctype two() { LOAD_FIRST(1, X, a); STORE_SECOND(1, Y, 1); ready++ }
active proctype three() { LOAD_FIRST(2, Y, b); LOAD_RLX(2, X, c); ready++ }
#elif defined CORR
#define LAST 2
#define OUTCOME (a == 2 && b == 1)
active proctype one() { STORE_RLX(0, X, 1); STORE_RLX(0, X, 2); ready++ }
active proctype two() { LOAD_RLX(1, X, a); LOAD_RLX(1, X, b); ready++ }
#endif

active proctype judge()
{
	ready == LAST;
	assert(!OUTCOME)
}
