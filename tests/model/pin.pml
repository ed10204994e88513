/* SPDX-License-Identifier: MIT */
/*
 * pin.pml - a version of a snapshot table is held by one and let go by another, in weak memory
 *
 * One place for versions, one pin, one extent with one byte of image. Version 1 is there and
 * current. The publisher makes another version current, somewhere else; lets version 1 leave;
 * frees it when nobody holds it; and uses extent and place for version 3. The holder opens what
 * is current, twice, by pinning it or, as a read-only attach does, by copying it.
 *
 * What stands for what
 *   holder    im_view_open(): find_version(), hold(), copy()   core/view.c
 *             im_keep_read()                                   core/keep.c
 *             im_pin(), im_unpin()                             core/pin.c
 *   publisher leave(), im_keep_mark(), release()               core/keep.c
 *             im_space_free(): the word of the extent          shm/step.c: im_step_make()
 *             fill_in(), switch_over()                         core/snapshot.c
 *   CUR       fmt_table.current; 2 is a version elsewhere
 *   STATE, PLACE_WORD, LEN    fmt_kept.state, .word, .len
 *   PIN_OWNER, PIN_WORD       fmt_pin
 *   WORD, BYTE                the extent's word; its bytes
 *
 * Asserted: the length that im_keep_read() returns is of the version with that word; what is
 * held, and what was copied, are the bytes of the version that was opened.
 */
c_decl {
	\#define LOCS 8
	\#define MSGS 8
	\#define THREADS 2
	enum { CUR, STATE, PLACE_WORD, LEN, PIN_OWNER, PIN_WORD, WORD, BYTE };
	enum { FREE, KEPT, LEAVING };
}
#include "weak.pml"

#define HOLDER 0
#define PUBLISHER 1
#define IS_FREE 0
#define IS_KEPT 1
#define WORD_1 1 /* version 1: byte 1, length 1 */
#define WORD_FREE 2
#define WORD_3 3 /* version 3: byte 3, length 3 */

byte h_cur, h_word, h_state, h_len, h_now, h_byte, h_ok;
byte p_owner, p_word, p_ok;
bool begun;

#define H(word, to) LOAD_ACQ(HOLDER, word, to)
#define H_RLX(word, to) LOAD_RLX(HOLDER, word, to)

/* is_still() */
inline look_still()
{
	h_ok = 0;
	H(STATE, h_state);
#ifndef STILL_NO_WORD
	H_RLX(PLACE_WORD, h_now);
#else
	h_now = h_word;
#endif
	if
	:: h_state == IS_KEPT && h_now == h_word -> h_ok = 1
	:: else
	fi
}

inline pin()
{
	STORE_REL(HOLDER, PIN_WORD, now.h_word);
#ifndef PIN_NO_BARRIER
	FULL_BARRIER(HOLDER);
#endif
}

active proctype holder()
{
	byte times;

	c_code {
		now.W.val[CUR][0] = 1;
		now.W.val[STATE][0] = KEPT;
		now.W.val[PLACE_WORD][0] = now.W.val[WORD][0] = 1;
		now.W.val[LEN][0] = now.W.val[BYTE][0] = 1;
	};
	begun = true;
again:
	atomic { h_cur = 0; h_word = 0; h_state = 0; h_len = 0; h_now = 0; h_byte = 0;
		 h_ok = 0 };
	if
	:: times == 2 -> goto ready
	:: else -> times++
	fi;
	H(CUR, h_cur);
	if
	:: h_cur == 2 -> goto again
	:: else
	fi;
	/* im_keep_read() */
	H(PLACE_WORD, h_word);
	H(STATE, h_state);
	if
	:: h_state != IS_KEPT -> goto again
	:: else
	fi;
	H_RLX(LEN, h_len);
#ifndef KEEP_NO_BARRIER
	READ_BARRIER(HOLDER);
#endif
	H(STATE, h_state);
	H_RLX(PLACE_WORD, h_now);
	if
	:: h_state == IS_FREE || h_now != h_word -> goto again
	:: else
	fi;
	assert(h_len == h_word);
	READ_BARRIER(HOLDER);
	if
	:: true ->
		/* hold() */
		CAS(HOLDER, PIN_OWNER, 0, 1, ACQ, h_ok);
		if
		:: !h_ok -> goto again
		:: else
		fi;
#ifdef LOOK_THEN_PIN
		look_still();
		pin();
#else
		pin();
		look_still();
#endif
		if
		:: h_ok ->
			H_RLX(BYTE, h_byte);
			assert(h_byte == h_word)
		:: else
		fi;
		/* im_unpin() */
		STORE_REL(HOLDER, PIN_WORD, 0);
		CAS(HOLDER, PIN_OWNER, 1, 0, REL, h_ok)
	:: true ->
		/* copy() */
		H_RLX(BYTE, h_byte);
#ifndef COPY_NO_BARRIER
		READ_BARRIER(HOLDER);
#endif
#ifndef COPY_NO_WORD
		H(WORD, h_now);
		if
		:: h_now != h_word -> goto again
		:: else
		fi;
#endif
		assert(h_byte == h_word)
	fi;
	goto again;
ready:
	skip
}

/* Is it pinned? */
inline look_at_pins()
{
	LOAD_ACQ(PUBLISHER, PIN_OWNER, p_owner);
	p_word = 0;
	if
	:: p_owner -> LOAD_ACQ(PUBLISHER, PIN_WORD, p_word)
	:: else
	fi;
	p_owner = 0
}

active proctype publisher()
{
	byte looks;

	begun;
	STORE_REL(PUBLISHER, CUR, 2);
#ifdef PINS_FIRST
	look_at_pins();
	STORE_REL(PUBLISHER, STATE, LEAVING);
#else
	STORE_REL(PUBLISHER, STATE, LEAVING);
look:
#ifndef LOOK_NO_BARRIER
	FULL_BARRIER(PUBLISHER);
#endif
	look_at_pins();
#endif
	if
	:: p_word == WORD_1 && looks == 0 ->
#ifndef PINS_FIRST
		looks++;
		goto look
#else
		goto ready
#endif
	:: p_word == WORD_1 && looks -> goto ready
	:: p_word != WORD_1
	fi;
	/* release(): the extent, then the place */
#ifndef SAME_WORD
	CAS(PUBLISHER, WORD, WORD_1, WORD_FREE, ACQ | REL, p_ok);
	WRITE_BARRIER(PUBLISHER);
#endif
	STORE_REL(PUBLISHER, STATE, FREE);
	/* the next version: its bytes, under no lock; then the place is filled in */
	STORE_RLX(PUBLISHER, BYTE, 3);
#ifndef FILL_NO_BARRIER
	WRITE_BARRIER(PUBLISHER);
#endif
	STORE_RLX(PUBLISHER, PLACE_WORD, WORD_3);
	STORE_RLX(PUBLISHER, LEN, 3);
	/* switch_over(): one list */
	STORE_REL(PUBLISHER, WORD, WORD_3);
#ifdef KEPT_RLX
	STORE_RLX(PUBLISHER, STATE, KEPT);
	STORE_RLX(PUBLISHER, CUR, 3);
#else
	STORE_REL(PUBLISHER, STATE, KEPT);
	STORE_REL(PUBLISHER, CUR, 3);
#endif
ready:
	skip
}
