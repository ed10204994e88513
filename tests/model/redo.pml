/* SPDX-License-Identifier: MIT */
/*
 * redo.pml - the redo list and the lock around it, in weak memory; counting without the lock
 *
 * LIVES processes, one after the other, take the lock, finish what the one before left, and
 * write one list that adds 1 to two words A and B. Each may be killed between any two steps;
 * the next one then steals the lock. They can follow each other here because the lock orders
 * them (lock.pml); what one has seen of the others comes only through the lock word, or, after
 * a death, through the system, which ended the one and told the other (kernel()).
 * Then somebody reads both words twice, without the lock, with any view (as in read.pml).
 *
 * What stands for what
 *   LOCK             the lock word: 0, or 1 + process    shm/lock.h: im_lock(), im_unlock()
 *   SEQ, LIST_A, _B  fmt_redo: seq and the values        core/redo.c: run()
 *   the recovery     im_redo_list_finish()               core/redo.c
 *   HINT             what is stored without a list       core/room.c: im_room_recap()
 *   reader           read_books(), im_redo_peek()        core/stats.c, core/redo.c
 *
 * Asserted: whoever has the lock finds A equal to B, and in them all that was acknowledged;
 * the reader finds them equal, no less than what was acknowledged when it began, and never
 * less than before.
 */
#ifndef LIVES
#define LIVES 3
#endif
#ifndef KILLS
#define KILLS 1
#endif

c_decl {
	\#define LOCS 7
	\#define MSGS 12
	\#define THREADS 4
	enum { LOCK, SEQ, LIST_A, LIST_B, A, B, HINT };
}
#include "weak.pml"
c_state "weak_view mark[8]" "Global"

#define READER 3

byte t, ok, killed, x, y, seq, list_a, list_b;
byte steals_from; /* what the lock word is, when its holder died */
byte acked, acked_at[LIVES + 1];
bool over;

/* A step before which the process may be killed. */
#define STEP(s)                                               \
	if                                                    \
	:: killed < KILLS && t < LIVES - 1 -> goto dies       \
	:: skip                                               \
	fi;                                                   \
	s

#define LOAD_IT(loc, to) LOAD_RLX(now.t, loc, to)
#define STORE_IT(loc, val) STORE_REL(now.t, loc, val)
#ifdef LOCK_RLX
#define LOCK_ORDER RLX
#else
#define LOCK_ORDER ACQ
#endif
#ifdef UNLOCK_RLX
#define UNLOCK_ORDER RLX
#else
#define UNLOCK_ORDER REL
#endif

inline store_all()
{
#ifdef STORES_RLX
	STEP(STORE_RLX(now.t, A, now.list_a));
	STEP(STORE_RLX(now.t, B, now.list_b))
#else
	STEP(STORE_IT(A, now.list_a));
	STEP(STORE_IT(B, now.list_b))
#endif
}

inline disarm()
{
	STEP(STORE_IT(SEQ, now.seq));
#ifndef DISARM_NO_BARRIER
	WRITE_BARRIER(now.t)
#endif
}

active proctype writer()
{
life:
	/* im_lock(), or a theft of the exact word */
	CAS(now.t, LOCK, now.steals_from, now.t + 1, LOCK_ORDER, ok);
	assert(ok);
	steals_from = 0;
	/* entered(); im_redo_list_finish() */
	LOAD_ACQ(now.t, SEQ, seq);
	if
	:: seq & 1 ->
		LOAD_IT(LIST_A, list_a);
		LOAD_IT(LIST_B, list_b);
#ifndef NO_RECOVERY
		store_all();
#endif
		seq++;
		disarm()
	:: else
	fi;
	LOAD_IT(A, x);
	LOAD_IT(B, y);
	assert(x == y);
	assert(x >= acked);
	LOAD_IT(HINT, y);
	assert(y >= acked);
	/* run() */
	list_a = x + 1;
	list_b = x + 1;
#ifdef LIST_LATE
	seq++;
	STEP(STORE_IT(SEQ, now.seq));
#endif
	STEP(STORE_RLX(now.t, LIST_A, now.list_a));
	STEP(STORE_RLX(now.t, LIST_B, now.list_b));
#ifndef LIST_LATE
	seq++;
#ifdef ARM_RLX
	STEP(STORE_RLX(now.t, SEQ, now.seq));
#else
	STEP(STORE_IT(SEQ, now.seq));
#endif
#endif
#ifndef ARM_NO_BARRIER
	WRITE_BARRIER(now.t);
#endif
	store_all();
	seq++;
	disarm();
	/* what is stored without a list, as im_room_recap() does */
	STORE_RLX(now.t, HINT, now.x + 1);
	/* im_unlock() */
	STEP(CAS(now.t, LOCK, now.t + 1, 0, UNLOCK_ORDER, ok));
	assert(ok);
	acked = x + 1;
	/* told to whoever asks: the reader may begin here */
	c_code { now.mark[now.t] = now.W.cur[now.t]; };
	acked_at[t] = acked;
	goto next;
dies:
	killed++;
	acked_at[t] = acked;
	c_code {
		now.mark[now.t] = now.t ? now.mark[now.t - 1] : 0;
		weak_after(&now.W, now.t + 1, now.W.cur[now.t]); /* kernel() */
	};
	steals_from = t + 1;
next:
	t++;
	if
	:: t < LIVES -> goto life
	:: else
	fi;
	atomic { x = 0; y = 0; seq = 0; list_a = 0; list_b = 0; ok = 0; over = true }
}

byte since, gets, least;
byte r_seq, r_a, r_b, r_now, r_armed;

#define R(loc, to) LOAD_ACQ(READER, loc, to)

/* im_redo_peek(); the list is of both words always */
#define PEEK(loc, in_list, to)                         \
	R(loc, to);                                    \
	R(SEQ, r_armed);                               \
	if                                             \
	:: r_armed & 1 -> LOAD_RLX(READER, in_list, to) \
	:: else                                        \
	fi

active proctype reader()
{
	over;
	atomic {
		do
		:: since < LIVES - 1 -> since++
		:: break
		od;
		c_code { weak_after(&now.W, READER, now.mark[now.since]); };
		least = acked_at[since]
	};
get:
	R(SEQ, r_seq);
	PEEK(A, LIST_A, r_a);
	PEEK(B, LIST_B, r_b);
#ifndef STATS_NO_BARRIER
	READ_BARRIER(READER);
#endif
#ifndef STATS_ONCE
	LOAD_RLX(READER, SEQ, r_now);
	if
	:: r_now != r_seq -> goto ready /* again; and that begins like this */
	:: else
	fi;
#endif
	assert(r_a == r_b);
	assert(r_a >= least);
	atomic { least = r_a; gets++; r_seq = 0; r_a = 0; r_b = 0; r_now = 0; r_armed = 0 };
	if
	:: gets < 2 -> goto get
	:: else
	fi;
ready:
	skip
}
