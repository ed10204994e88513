/* SPDX-License-Identifier: MIT */
/*
 * read.pml - a get, and everything that may happen to its key meanwhile, in weak memory
 *
 * The map: one key K, two places in which slots can be (a bucket and the one it is split into,
 * or, with CHAIN, its overflow bucket), two extents with room for one entry each. An entry is
 * its key and a value of two words. A writer makes OPS operations, whichever are possible:
 *
 *   put      K, by an update or an insert                    core/write.c: store(), name_slot()
 *   del      K                                               core/remove.c: del_locked()
 *   other    another key with K's tag takes K's slot; goes   the same
 *   move     K's entry to the other extent                   core/clean.c: move()
 *   release  the extent that has no entry                    core/room.c: im_room_release()
 *   fill     an extent with another key's entry              core/log.c: im_log_append()
 *   split    K's slot moves to the new bucket                core/grow.c: split()
 *   merge    and back                                        core/grow.c: im_index_shrink()
 *   forward  K's slot moves to the bucket before (CHAIN)     core/chain.c: im_chain_compact()
 *
 * KILLS redo lists may be stored again from their beginning, after any of their stores, as by
 * the successor of a killed process (core/redo.c); so may the stores after a split, which are
 * those of clear_moved().
 *
 * A reader then makes two gets, by the rules of core/read.c: attempt(), follow(),
 * read_careful(), judge_miss(). It runs after the writer, and loses nothing by that: it stores
 * nothing, and a load returns any message that its thread's view allows (weak.h), new or old.
 * It begins with the view that the writer had after an operation of its choice: as somebody
 * who was told that this operation is done.
 *
 * Asserted: a value is whole; it was K's after that operation or after a later one; and the
 * second get is not older than the first. That is linearizability for one reader at a time.
 *
 * Locations: the words as in core/format.h. In an extent: its word in the extent table, and
 * an entry's key and value. ref 0 is none.
 */
#ifndef OPS
#define OPS 3
#endif
#ifndef KILLS
#define KILLS 1
#endif

c_decl {
	\#define LOCS 14
	\#define MSGS 8
	\#define THREADS 2
	enum { SEQ, GEO, TAG_A, REF_A, TAG_B, REF_B, WORD0, KEY0, VAL0, VAX0,
	       WORD1, KEY1, VAL1, VAX1 };
	\#define TAG(b) (TAG_A + 2 * (b))
	\#define REF(b) (REF_A + 2 * (b))
	\#define WORD(e) (WORD0 + 4 * (e))
	\#define KEY(e) (KEY0 + 4 * (e))
	\#define VAL(e) (VAL0 + 4 * (e))
	\#define VAX(e) (VAX0 + 4 * (e))
}
#include "weak.pml"
c_state "weak_view mark[8]" "Global"

#define WRITER 0
#define READER 1
#define T 7 /* the tag of both keys */
#define K 1
#define OTHER 2
#define NONE 2 /* no extent, no slot */

/* ---- the writer: what it knows, since it has the lock ---- */

byte at = 0;   /* K's extent */
byte slot = 0; /* of K */
byte with;     /* 1 + slot of the other key, in `there` */
byte there = NONE;
byte use[2];   /* of the extents: 0 free, 1 named, 2 garbage */
byte geo = 1, moves, seq, word[2];
byte value = 1, done, e, b, kills;
byte current = 1;     /* what a get would return; 0: not there */
byte was[OPS + 1];    /* after each operation */
bool over;

/* A list of one store, or two, and the disarming of it; perhaps interrupted, then again. */
#define AGAIN(s)                                    \
	if                                          \
	:: kills < KILLS -> kills++; s              \
	:: skip                                     \
	fi
#define LIST1(s)                                    \
	s;                                          \
	AGAIN(s);                                   \
	DISARM
#define LIST2(s, u)                                 \
	s;                                          \
	AGAIN(s);                                   \
	u;                                          \
	AGAIN(s; u);                                \
	DISARM
#ifdef NO_WRITE_BARRIER
#define DISARM skip
#else
#define DISARM WRITE_BARRIER(WRITER)
#endif

#ifdef REF_RLX
#define SET_REF(b, e) STORE_RLX(WRITER, REF(now.b), now.e + 1)
#else
#define SET_REF(b, e) STORE_REL(WRITER, REF(now.b), now.e + 1)
#endif
#define SET_TAG(b) STORE_REL(WRITER, TAG(now.b), T)
#define CLEAR_TAG(b) STORE_REL(WRITER, TAG(now.b), 0)
#define SET_GEO STORE_REL(WRITER, GEO, now.geo | now.moves << 2)
#define SET_SEQ STORE_REL(WRITER, SEQ, now.seq)
#ifdef SAME_GENERATION
#define SET_WORD skip
#else
#define SET_WORD STORE_REL(WRITER, WORD(now.e), now.word[now.e])
#endif

inline append(key, val)
{
	c_code { weak_store(&now.W, WRITER, KEY(now.e), now.key, RLX); };
	c_code { weak_store(&now.W, WRITER, VAL(now.e), now.val, RLX); };
	c_code { weak_store(&now.W, WRITER, VAX(now.e), now.val, RLX); }
}

byte key, val;

inline pick_free()
{
	e = (use[0] == 0 -> 0 : 1)
}

inline insert()
{
#ifdef TAG_FIRST
	LIST2(SET_TAG(b), SET_REF(b, e))
#else
	LIST2(SET_REF(b, e), SET_TAG(b))
#endif
}

inline pick_slot()
{
#ifdef CHAIN
	if
	:: b = 0
	:: b = 1
	fi
#else
	b = geo - 1
#endif
}

inline put()
{
	pick_free();
	value++;
	key = K;
	val = value;
	append(key, val);
	if
	:: at != NONE ->
		b = slot;
		LIST1(SET_REF(b, e));
		use[at] = 2
	:: else ->
		pick_slot();
		slot = b;
		insert()
	fi;
	at = e;
	use[e] = 1;
	current = value
}

inline del()
{
	b = slot;
	LIST1(CLEAR_TAG(b));
	use[at] = 2;
	at = NONE;
	current = 0
}

/* Another key with the same tag, in the same slot. */
inline other()
{
	if
	:: there == NONE ->
		pick_free();
		pick_slot();
		key = OTHER;
		val = 0;
		append(key, val);
		insert();
		with = b;
		there = e;
		use[e] = 1
	:: else ->
		b = with;
		LIST1(CLEAR_TAG(b));
		use[there] = 2;
		there = NONE
	fi
}

inline move()
{
	pick_free();
	key = K;
	val = current;
	append(key, val);
	b = slot;
	LIST1(SET_REF(b, e));
	use[at] = 2;
	at = e;
	use[e] = 1
}

inline release()
{
	e = (use[0] == 2 -> 0 : 1);
	word[e]++;
	use[e] = 0;
#ifdef NO_RECLAIM
	LIST1(SET_WORD)
#else
	seq++;
#ifdef GENERATION_FIRST
	LIST2(SET_WORD, SET_SEQ)
#else
	LIST2(SET_SEQ, SET_WORD)
#endif
#endif
}

/* An entry of a key in another bucket, which is deleted again. */
inline fill()
{
	pick_free();
	key = OTHER;
	val = 0;
	append(key, val);
	DISARM;
	use[e] = 2
}

/* From slot `slot` to slot b; the old one is cleared by clear_old(). */
inline copy_slot()
{
	e = at;
	SET_REF(b, e);
	SET_TAG(b)
}

inline clear_old()
{
	b = 1 - slot;
	CLEAR_TAG(b);
	AGAIN(CLEAR_TAG(b))
}

inline publish_geo()
{
#ifdef CLEAR_FIRST
	if
	:: at != NONE -> slot = b; clear_old()
	:: else
	fi;
	LIST1(SET_GEO)
#else
	LIST1(SET_GEO);
	if
	:: at != NONE -> slot = b; clear_old()
	:: else
	fi
#endif
}

/* Only while the other key is not there. */
inline split()
{
	b = 1;
	if
	:: at != NONE -> copy_slot()
	:: else
	fi;
	geo = 2;
	publish_geo()
}

inline merge()
{
	b = 0;
	if
	:: at != NONE -> copy_slot()
	:: else
	fi;
	geo = 1;
#ifndef NO_MOVES
	moves++;
#endif
	publish_geo()
}

inline forward()
{
	b = 0;
	copy_slot();
#ifndef NO_MOVES
	moves++;
#endif
	publish_geo()
}

active proctype writer()
{
	c_code {
		now.W.val[GEO][0] = 1;
		now.W.val[TAG_A][0] = T;
		now.W.val[REF_A][0] = 1;
		now.W.val[KEY0][0] = K;
		now.W.val[VAL0][0] = now.W.val[VAX0][0] = 1;
	};
	use[0] = 1;
	was[0] = 1;
	do
	:: done < OPS ->
		if
		:: (use[0] == 0 || use[1] == 0) && there == NONE -> put()
		:: at != NONE -> del()
		:: at == NONE && (there != NONE || use[0] == 0 || use[1] == 0) -> other()
		:: at != NONE && (use[0] == 0 || use[1] == 0) -> move()
		:: use[0] == 2 || use[1] == 2 -> release()
		:: use[0] == 0 || use[1] == 0 -> fill()
#ifdef CHAIN
		:: at != NONE && slot == 1 -> forward()
#else
		:: geo == 1 && there == NONE -> split()
		:: geo == 2 && there == NONE -> merge()
#endif
		fi;
		done++;
		was[done] = current;
		c_code { now.mark[now.done] = now.W.cur[WRITER]; }
	:: done == OPS -> break
	od;
	/* what only the writer knows makes no difference any more */
	atomic { at = 0; slot = 0; with = 0; there = 0; use[0] = 0; use[1] = 0; geo = 0;
		 moves = 0; seq = 0; word[0] = 0; word[1] = 0; e = 0; b = 0; key = 0;
		 val = 0; value = 0;
		 current = 0; kills = 0; over = true }
}

/* ---- the reader ---- */

byte since, tries, gets;
byte r_seq, r_geo, r_geo2, r_b, r_tag, r_ref, r_key, r_val, r_vax, r_word, r_now;
bool careful, followed;

#define R(word, to) LOAD_ACQ(READER, word, to)
#define R_RLX(word, to) LOAD_RLX(READER, word, to)
#define BUCKET_OF(g) (((g) & 3) - 1)

#ifdef NO_READ_BARRIER
#define R_BARRIER skip
#else
#define R_BARRIER READ_BARRIER(READER)
#endif

/* seq_moved() */
#define UNLESS_SEQ_MOVED     \
	R_BARRIER;           \
	R(SEQ, r_now);       \
	if                   \
	:: r_now != r_seq -> goto not_as_before \
	:: else              \
	fi

active proctype reader()
{
	over;
	atomic {
		do
		:: since < OPS -> since++
		:: break
		od;
		c_code { weak_after(&now.W, READER, now.mark[now.since]); }
	};
get:
	tries = 0;
	/* values that are long are read carefully at once */
	if
	:: careful = false
	:: careful = true
	fi;
attempt:
	followed = false;
#ifndef SEQ_LATE
	R(SEQ, r_seq);
#endif
	R(GEO, r_geo);
#ifdef CHAIN
	r_b = 0;
#else
	r_b = BUCKET_OF(r_geo);
#endif
bucket:
	R(TAG(now.r_b), r_tag);
	if
	:: r_tag != T -> goto next
	:: else
	fi;
#ifdef READ_REF_RLX
	R_RLX(REF(now.r_b), r_ref);
#else
	R(REF(now.r_b), r_ref);
#endif
#ifdef SEQ_LATE
	R(SEQ, r_seq);
#endif
#ifndef NO_TAG_AGAIN
	R(TAG(now.r_b), r_tag);
	if
	:: r_tag != T -> goto next
	:: else
	fi;
#endif
	assert(r_ref);
	r_ref--;
	if
	:: careful ->
		/* read_careful() */
		R(WORD(now.r_ref), r_word);
#ifndef CAREFUL_NO_SEQ
		UNLESS_SEQ_MOVED;
#endif
		R_RLX(KEY(now.r_ref), r_key);
		R_RLX(VAL(now.r_ref), r_val);
		R_RLX(VAX(now.r_ref), r_vax);
		R_BARRIER;
#ifndef CAREFUL_NO_WORD
		R(WORD(now.r_ref), r_now);
		if
		:: r_now != r_word -> goto not_as_before
		:: else
		fi;
#endif
		if
		:: r_key == K -> goto found
		:: else
		fi
	:: else ->
		/* follow() */
		R_RLX(KEY(now.r_ref), r_key);
		if
		:: r_key == K ->
			R_RLX(VAL(now.r_ref), r_val);
			R_RLX(VAX(now.r_ref), r_vax);
#ifndef NO_SEQ_AGAIN
			UNLESS_SEQ_MOVED;
#endif
			goto found
		:: else
		fi
	fi;
	followed = true;
next:
#ifdef CHAIN
	if
	:: r_b == 0 -> r_b = 1; goto bucket
	:: else
	fi;
#endif
	/* judge_miss() */
#ifndef MISS_NO_SEQ
	if
	:: followed && !careful -> UNLESS_SEQ_MOVED
	:: else
	fi;
#endif
#ifndef MISS_NO_GEOMETRY
	R(GEO, r_geo2);
	if
	:: r_geo2 != r_geo && ((r_geo2 | 3) != (r_geo | 3) ||
			       BUCKET_OF(r_geo2) != BUCKET_OF(r_geo)) ->
		goto not_as_before
	:: else
	fi;
#endif
	r_val = 0;
	r_vax = 0;
found:
	atomic {
		assert(r_val == r_vax);
		do
		:: since <= OPS && was[since] != r_val -> since++
		:: else -> break
		od;
		/* it was K's at no such moment */
		assert(since <= OPS);
		gets++
	};
	goto once_more;
not_as_before:
	tries++;
	careful = true;
	if
	:: tries < 2 -> goto attempt
	:: else -> goto ready /* BUSY */
	fi;
once_more:
	atomic { r_seq = 0; r_geo = 0; r_geo2 = 0; r_b = 0; r_tag = 0; r_ref = 0; r_key = 0;
		 r_val = 0; r_vax = 0; r_word = 0; r_now = 0 };
	if
	:: gets < 2 -> goto get
	:: else
	fi;
ready:
	skip
}
