/* SPDX-License-Identifier: MIT */
/*
 * group.pml - a group over two shards while its writer, and successors, are killed
 *
 * A writer locks both shards, names its record in them, commits, stores a change in each, ends
 * the group and unlocks. Others write in one shard each, by turns; whoever finds the holder of
 * a lock dead takes it over and completes or forgets the group there. Who claims the dead
 * writer's slot frees what is PRIVATE to it. A reader reads both keys consistently, once at any
 * time, without a lock. Any writer may be killed before any step.
 *
 * What stands for what
 *   word      the record's extent: PRIVATE, COMMITTED, or free and used again   shm/layout.h
 *   group[]   fmt_shard.group is set (group_word is that of COMMITTED)          core/format.h
 *   value[]   the key of each shard, and so the shard's version; one redo list  core/group.c
 *   writer    commit(), store(), im_group_end()                                 core/commit.c
 *   recover   im_group_finish(), others_are_done()                              core/group.c
 *   claimer   im_space_free_owner()                                             shm/space.c
 *   reader    attempt()                                                         core/consistent.c
 *   lock[]    0 free, 1 held, 2 its holder is dead; lock.pml has the rest
 *
 * Asserted: both values a consistent reader sees are old or both are new; so are both keys once
 * both shards were entered after the last death; a record is free then, or its first shard
 * still names it; and no change is stored of a record that was freed.
 */
#ifndef KILLS
#define KILLS 2
#endif

#define PRIVATE 0
#define COMMITTED 1
#define GONE 2

byte word = PRIVATE;
byte lock[2], value[2], kills, done, visits[2];
bool group[2], writer_dead, writer_done;

#define STEP                                   \
	if                                     \
	:: kills < KILLS -> kills++; goto dies \
	:: skip                                \
	fi

inline store(i)
{
	/* the version says whether it is stored */
	atomic {
		assert(word == COMMITTED);
		value[i] = 1
	}
}

active proctype writer()
{
	byte i;

	atomic { lock[0] == 0 -> lock[0] = 1 };
	STEP;
	atomic {
		if
		:: lock[1] == 0 -> lock[1] = 1
		:: lock[1] == 2 -> lock[1] = 1; group[1] = false
		fi
	};
	STEP;
#ifndef COMMIT_FIRST
	group[0] = true;
	STEP;
	group[1] = true;
	STEP;
#endif
	atomic {
		if
		:: word == PRIVATE -> word = COMMITTED
		:: else -> assert(false) /* it lives */
		fi
	};
	STEP;
#ifdef COMMIT_FIRST
	group[0] = true;
	STEP;
	group[1] = true;
	STEP;
#endif
#ifdef END_EARLY
	group[1] = false;
	STEP;
#endif
	store(0);
	STEP;
	store(1);
	STEP;
	group[1] = false;
	STEP;
	atomic { group[0] = false; word = GONE };
	STEP;
	lock[1] = 0;
	STEP;
	lock[0] = 0;
	writer_done = true;
	goto ends;
dies:
	atomic {
		i = 0;
		do
		:: i < 2 ->
			if
			:: lock[i] == 1 -> lock[i] = 2
			:: else
			fi;
			i++
		:: else -> break
		od;
		writer_dead = true
	};
ends:
	skip
}

/* Of the dead writer alone: it was never committed. */
active proctype claimer()
{
	atomic {
		if
		:: writer_dead
		:: writer_done
		fi;
#ifdef SWEEP_ALL
		word = GONE
#else
		if
		:: writer_dead && word == PRIVATE -> word = GONE
		:: else
		fi
#endif
	}
}

/* Shard 1, which is not the first, with its lock taken from the dead. */
inline recover_1()
{
	if
#ifdef STORE_ANYWAY
	:: group[1] -> value[1] = 1
#else
	:: group[1] && word == COMMITTED -> store(1)
#endif
	:: else
	fi;
	STEP;
	group[1] = false
}

/* Shard 0: the record goes when the other shard does not name it any more. */
inline recover_0()
{
	if
	:: group[0] && word == COMMITTED ->
#ifndef LOSE_REST
		store(0);
#endif
		STEP;
#ifndef FREE_AT_ONCE
		if
		:: group[1] ->
			atomic {
				if
				:: lock[1] == 2 -> lock[1] = 1; helps = true
				:: else
				fi
			};
			if
			:: helps ->
				STEP;
				recover_1();
				STEP;
				atomic { lock[1] = 0; helps = false }
			:: else
			fi
		:: else
		fi;
		STEP;
#endif
		atomic {
			if
#ifdef FREE_AT_ONCE
			:: true -> group[0] = false; word = GONE
#else
			:: !group[1] -> group[0] = false; word = GONE
#endif
			:: else
			fi
		}
	:: else -> group[0] = false
	fi
}

proctype successor(byte i)
{
	bool over, helps;

again:
	atomic {
		over = false;
		if
		:: lock[i] == 0 -> lock[i] = 1
		:: lock[i] == 2 -> lock[i] = 1; over = true
		fi
	};
	STEP;
	if
	:: over && i == 0 -> recover_0()
	:: over && i == 1 -> recover_1()
	:: else
	fi;
	/* group.I1: what a free lock may leave */
	assert(!group[1] || i == 0);
	assert(!group[0] || i == 1 || value[0] == 1);
	STEP;
	atomic { lock[i] = 0; visits[i]++ };
	goto ends;
dies:
	/* another one follows */
	atomic {
		lock[i] = 2;
		if
		:: helps -> lock[1] = 2; helps = false
		:: else
		fi
	};
	goto again;
ends:
	done++
}

active proctype reader()
{
	byte a, b;

	a = value[0];
	b = value[1];
	if
#ifdef READ_NO_GROUP
	:: true
#else
	:: !group[0] && !group[1]
	:: group[0] || group[1] -> goto out
#endif
	fi;
	if
	:: value[0] == a && value[1] == b -> assert(a == b)
	:: else
	fi;
out:
	skip
}

active proctype start()
{
	/* after the writer's end, alive or dead, so that all that come find what it left */
	atomic {
		if
		:: writer_dead
		:: writer_done
		fi;
		run successor(0);
		run successor(1)
	};
	done == 2;
	/* once more, for what the first of them could not end: both are free by then */
	assert(lock[0] == 0 && lock[1] == 0);
	assert(value[0] == value[1]);
	assert(!group[1]);
	assert(word != COMMITTED || group[0]);
	assert(!writer_done || value[0] == 1)
}
