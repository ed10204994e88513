/* SPDX-License-Identifier: MIT */
/*
 * adopt.pml - an extent goes from a process to a shard while the process is killed
 *
 * A process has an extent that is PRIVATE to it, and gives it to a shard by the shard's redo
 * list. If it is killed, two others clean up after it, at the same time: the next in the shard
 * finishes the list, and who claims its owner slot frees what is PRIVATE to that slot. The
 * claimer then takes the extent again, as its own, and gives it to the shard as well. Any of
 * them may be killed, and is followed by another that begins anew.
 *
 * What stands for what
 *   word       fmt_extent.word: state, generation            shm/layout.h
 *   give()     im_room_adopt()                               core/room.c
 *   finish()   im_redo_list_finish(): take_word(), store_all() core/redo.c
 *   step()     im_step_make()                                shm/step.c
 *   recover()  recover(): the intent of a dead holder        shm/step.c
 *   claimer    take_slot(), im_space_free_owner(), im_space_take() shm/owner.c, shm/space.c
 *   lock       the shard's lock: 0 free, 1 held, 2 its holder is dead; lock.pml has the rest.
 *              The space lock is the claimers' alone here, who follow each other.
 *
 * Asserted: who lives and has an extent PRIVATE can give it away; whoever enters the shard, and
 * at the end, finds that it has the extent just when its word says so; and at the end the
 * extent is counted free just when its word says so.
 */
#ifndef KILLS
#define KILLS 3
#endif

#define FREE 0
#define PRIVATE 1 /* to the slot that both givers had */
#define RESERVED 2
#define WORD(state, gen) ((state) + (gen) * 4)
#define STATE(w) ((w) % 4)
#define GEN(w) ((w) / 4)
#ifdef SAME_GENERATION
#define NEXT(state) WORD(state, GEN(word))
#else
#define NEXT(state) WORD(state, GEN(word) + 1)
#endif

byte word = WORD(PRIVATE, 1);
byte free_n; /* extents in the free queue */
bool shard_has;
byte seq, cas_old, cas_new;		   /* the redo list; its store: shard_has = true */
byte step_seq, step_old, step_new, step_n; /* the intent of the space lock */
byte lock, kills, ready;
bool giver_dead;

#define STEP                                          \
	if                                            \
	:: kills < KILLS -> kills++; goto dies        \
	:: skip                                       \
	fi

/* The list is armed. @done: the extent was ours to take. */
inline finish(done)
{
	STEP;
	atomic {
#ifdef NO_COMPARE
		word = cas_new;
		done = true
#else
		if
		:: word == cas_old -> word = cas_new; done = true
		:: word == cas_new -> done = true
		:: else -> done = false
		fi
#endif
	}
	STEP;
	if
#ifdef STORE_ANYWAY
	:: true -> shard_has = true
#else
	:: done -> shard_has = true
	:: else
#endif
	fi;
	STEP;
	seq++;
	STEP
}

inline enter(done)
{
	atomic { lock != 1 -> lock = 1; inside = true };
	if
	:: seq & 1 -> finish(done)
	:: else
	fi;
	assert(shard_has == (STATE(word) == RESERVED))
}

/* With the shard's lock: what is PRIVATE to us becomes the shard's. */
inline give(done)
{
	atomic { cas_old = word; cas_new = WORD(RESERVED, GEN(word)) };
	STEP;
	seq++;
	finish(done);
	assert(done);
	atomic { lock = 0; inside = false }
}

/* Under the space lock. */
inline step(old, new, n)
{
	atomic { step_old = old; step_new = new; step_n = n };
	STEP;
	step_seq++;
	STEP;
	atomic {
#ifdef STEP_BY_STORE
		word = step_new;
		made = true
#else
		if
		:: word == step_old -> word = step_new; made = true
		:: else -> made = false
		fi
#endif
	}
	STEP;
	if
	:: made -> free_n = step_n
	:: else
	fi;
	STEP;
	step_seq++
}

inline recover()
{
	if
	:: step_seq & 1 ->
		if
#ifdef STEP_ALWAYS
		:: true -> free_n = step_n
#else
		:: word == step_new -> free_n = step_n
		:: else
#endif
		fi;
		STEP;
		step_seq++
	:: else
	fi
}

active proctype giver()
{
	bool done, inside;

	lock = 1;
	give(done);
	goto over;
dies:
	atomic { giver_dead = true; lock = 2 };
over:
	ready++
}

/* Some other write in the shard. */
active proctype successor()
{
	bool done, inside;

	if
	:: giver_dead
	:: ready && !giver_dead -> goto over
	fi;
again:
	enter(done);
	lock = 0;
	goto over;
dies:
	lock = 2;
	goto again;
over:
	ready++
}

active proctype claimer()
{
	bool done, made, inside;
	byte old;

	if
	:: giver_dead
	:: ready && !giver_dead -> goto over
	fi;
again:
	recover();
	/* im_space_free_owner() */
	old = word;
	if
	:: STATE(old) == PRIVATE -> step(old, NEXT(FREE), 1)
	:: else
	fi;
	/* im_space_take() */
	old = word;
	if
	:: STATE(old) == FREE ->
		step(old, NEXT(PRIVATE), 0);
		assert(made);
		enter(done);
		give(done)
	:: else
	fi;
	goto over;
dies:
	if
	:: inside -> atomic { lock = 2; inside = false }
	:: else
	fi;
	goto again;
over:
	ready++
}

/* Nobody is there any more; whoever comes next finds this. */
active proctype last()
{
	bool done, inside;

	ready == 3;
	if
	:: lock == 2 ->
		kills = KILLS;
		enter(done);
		lock = 0
	:: else
	fi;
dies:
	assert(!(seq & 1) && !(step_seq & 1));
	assert(shard_has == (STATE(word) == RESERVED));
	assert(free_n == (STATE(word) == FREE));
	assert(STATE(word) != PRIVATE)
}
