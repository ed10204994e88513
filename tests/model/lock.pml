/* SPDX-License-Identifier: MIT */
/*
 * lock.pml - the lock: who holds it, who waits, who takes it over from the dead
 *
 * Processes claim an owner slot, take the lock ROUNDS times, make one write by a redo list, let
 * go, and leave. A killer ends up to KILLS of them between any two steps; the system gives the
 * byte of a dead one back some time later. There are fewer slots than processes, so slots are
 * used again while a lock word still names their last owner.
 *
 * What stands for what
 *   word, WAITERS          the lock word                      shm/lock.h
 *   byte[], gen[]          owner bytes, owners[].gen          shm/owner.c
 *   claim()                win_slot(), take_slot()            shm/owner.c
 *   is_dead()              im_owner_dead()                    shm/owner.c
 *   take(), doze(), lock() take(), doze(), im_lock_slow()     shm/lock.c
 *   unlock()               im_unlock()                        shm/lock.h
 *   futex_wait(), _wake()  futex(2), by im_os                 shm/os.c
 *   recover()              entered(), im_redo_list_finish()   core/shard.c, core/redo.c
 *   write()                run()                              core/redo.c
 *   a, b                   two words that a list changes together, as name_slot(), account()
 *
 * Every statement is one step of memory, in order: what weak memory adds is in redo.pml.
 *
 * Asserted: at most one live process is inside; the lock is taken only from the dead; after
 * the recovery, a is b and no list is armed; acknowledged writes are there, and none that was
 * not begun. That nobody sleeps for ever is a deadlock here, or, with TIMER as in the library,
 * a cycle without progress.
 *
 * TIMER  false    sleeps are not timed: a lost wake-up is a deadlock
 *        true     a sleep may end at any moment
 *        timeout  a sleep ends when nothing else can happen (WAKES_LAST is 1)
 */
#ifndef PROCS
#define PROCS 3
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef TIMER
#define TIMER true
#endif
#ifndef WAKES_LAST
#define WAKES_LAST 0
#endif

#define WAITERS 128
#define NOBODY 255
#define OWNER(s, g) ((s) + 1 + (g) * 8) /* never 0, below WAITERS */
#define IS_FREE(v) (((v) & 127) == 0)
#define SLOT(v) ((((v) & 127) % 8) - 1)
#define GEN(v) (((v) & 127) / 8)

byte word;
byte holder = NOBODY; /* who took it; not in memory */
bool dead[PROCS], asleep[PROCS], ended[PROCS];
byte byte_of[SLOTS]; /* 1 + process that has the lock on it */
byte gen[SLOTS];
byte a, b;	     /* shared state: equal unless a list is armed */
byte list_a, list_b, seq;
byte begun, acked;

/* ---- futex(2) ---- */

inline futex_wait(v)
{
	atomic {
		if
#ifdef WAIT_WITHOUT_LOOKING
		:: true -> asleep[_pid] = true
#else
		:: word == v -> asleep[_pid] = true
		:: else
#endif
		fi
	}
	if
	:: !asleep[_pid]
	:: atomic { TIMER -> asleep[_pid] = false }
	fi
}

/* Wakes one, whichever. */
inline futex_wake()
{
	atomic {
		if
		:: asleep[0] -> asleep[0] = false
		:: asleep[1 % PROCS] -> asleep[1 % PROCS] = false
		:: asleep[2 % PROCS] -> asleep[2 % PROCS] = false
		:: else
		fi
	}
}

/* ---- owners ---- */

inline claim()
{
#ifdef GENERATION_FIRST
	gen[0]++;
#endif
	do
	:: atomic { byte_of[0] == 0 -> byte_of[0] = _pid + 1; slot = 0; break }
	:: atomic { byte_of[1 % SLOTS] == 0 -> byte_of[1 % SLOTS] = _pid + 1;
		    slot = 1 % SLOTS; break }
	:: atomic { byte_of[2 % SLOTS] == 0 -> byte_of[2 % SLOTS] = _pid + 1;
		    slot = 2 % SLOTS; break }
	od;
#ifndef SAME_GENERATION
	gen[slot]++;
#endif
	self = OWNER(slot, gen[slot])
}

/* Is the owner that @v names dead? */
inline is_dead(v)
{
	judged_dead = false;
#ifndef SLOT_ONLY
	if
	:: gen[SLOT(v)] != GEN(v) -> judged_dead = true
	:: else
	fi;
#endif
	if
	:: !judged_dead && SLOT(v) != slot && byte_of[SLOT(v)] == 0 -> judged_dead = true
	:: else
	fi
}

/* ---- the lock ---- */

inline enter()
{
	/* nobody who lives may be inside */
	assert(holder == NOBODY || dead[holder]);
	holder = _pid
}

/* One try. Sets taken: 0 not, 1 taken, 2 taken over. */
inline take(waiters, probe)
{
	taken = 0;
	v = word;
	if
	:: IS_FREE(v) ->
		atomic {
			if
			:: word == v -> word = self | v | (waiters); enter(); taken = 1
			:: else
			fi
		}
	:: else ->
		if
		:: probe ->
			is_dead(v);
			if
			:: judged_dead ->
				atomic {
					if
#ifdef STEAL_BY_STORE
					:: true ->
#else
					:: word == v ->
#endif
						word = self | WAITERS;
						enter();
						taken = 2
#ifndef STEAL_BY_STORE
					:: else
#endif
					fi
				}
			:: else
			fi
		:: else
		fi
	fi;
	v = 0
}

inline doze()
{
	v = word;
	if
	:: IS_FREE(v)
	:: else ->
		if
		:: !(v & WAITERS) ->
			atomic {
				if
				:: word == v -> word = v | WAITERS; v = v | WAITERS
				:: else -> v = 0
				fi
			}
		:: else
		fi;
		if
		:: v != 0 -> futex_wait(v)
		:: else
		fi
	fi;
	v = 0
}

inline lock()
{
	atomic {
		taken = 0;
		if
		:: word == 0 -> word = self; enter(); taken = 1
		:: else
		fi
	}
	if
	:: !taken -> take(0, false)
	:: else
	fi;
	do
	:: taken -> break
	:: else ->
		doze();
#ifdef FORGET_OTHERS
		take(0, true)
#else
		take(WAITERS, true)
#endif
	od
}

inline unlock()
{
#ifdef UNLOCK_BY_STORE
	v = word;
	atomic { word = 0; holder = NOBODY };
	if
	:: v & WAITERS -> futex_wake()
	:: else
	fi;
	v = 0
#else
#ifdef WAKE_FIRST
	if
	:: word & WAITERS -> futex_wake()
	:: else
	fi;
#endif
	atomic {
		taken = 0;
		if
		:: word == self -> word = 0; holder = NOBODY
		:: else -> taken = 1
		fi
	}
	if
	:: taken ->
		atomic {
			/* only WAITERS can have come, and it stays until here */
			assert(word == (self | WAITERS));
			word = 0;
			holder = NOBODY
		}
#ifndef WAKE_FIRST
		futex_wake()
#endif
	:: else
	fi;
	taken = 0
#endif
}

/* ---- what it protects ---- */

inline store_all()
{
#ifdef RELATIVE
	a = a + 1;
	b = b + 1;
#else
	a = list_a;
	b = list_b;
#endif
}

inline recover()
{
	if
#ifdef NO_RECOVERY
	:: false
#else
	:: seq & 1 -> store_all(); seq++
#endif
	:: else
	fi;
	assert(a == b);
	assert(!(seq & 1))
}

inline write()
{
	/* nobody looks at a list before it is armed */
	atomic { list_a = a + 1; list_b = b + 1 };
#ifdef ARM_LATE
	a = list_a;
	seq++;
	b = list_b;
#else
	seq++;
#ifdef DISARM_EARLY
	a = list_a;
	seq++;
	b = list_b;
	seq--;
#else
	store_all();
#endif
#endif
	seq++
}

active [PROCS] proctype process() provided (!dead[_pid])
{
	byte self, slot, v, taken, n;
	bool judged_dead;

	claim();
	do
	:: n < ROUNDS ->
		begun++;
		lock();
progress:
		recover();
		write();
		unlock();
		atomic { acked++; n++; assert(acked <= a && a <= begun) }
	:: else -> break
	od;
	/* im_owner_leave(): the mapping goes, and the byte with it */
	atomic { byte_of[slot] = 0; ended[_pid] = true }
}

#if KILLS > 0
/* The processes are alike, so the first to be killed is called 0, the next one 1. */
active proctype killer()
{
	byte n;

	do
	:: atomic { n < KILLS && !ended[n] ->
		    dead[n] = true;
		    asleep[n] = false; /* it sleeps no longer */
		    n++ }
	:: break
	od
}
#endif

#define OVER(p) (dead[(p) % PROCS] || ended[(p) % PROCS])
#define WILL_WAKE(p) (WAKES_LAST && asleep[(p) % PROCS])

/*
 * The system takes the dead apart: their bytes become free. And when nothing can happen any
 * more, everybody must have come to an end.
 */
active proctype kernel()
{
end:
	do
	:: atomic { byte_of[0] && dead[byte_of[0] - 1] -> byte_of[0] = 0 }
	:: atomic { byte_of[1 % SLOTS] && dead[byte_of[1 % SLOTS] - 1] ->
		    byte_of[1 % SLOTS] = 0 }
	:: atomic { byte_of[2 % SLOTS] && dead[byte_of[2 % SLOTS] - 1] ->
		    byte_of[2 % SLOTS] = 0 }
	:: atomic { timeout && !WILL_WAKE(0) && !WILL_WAKE(1) && !WILL_WAKE(2) ->
		    assert(OVER(0) && OVER(1) && OVER(2)); break }
	od
}
