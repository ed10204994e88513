/* SPDX-License-Identifier: MIT */
/*
 * value.pml - a value is held where it lies by one and taken away by another, in weak memory
 *
 * One slot, one pin, one extent with one byte. The slot names the entry in the extent, by
 * reference 1. The writer takes the name away, by a delete or by an update that lies elsewhere;
 * uses the extent again when nobody holds it, else parks it and looks twice more; and makes the
 * slot name the entry that lies there then, by the same reference. The reader pins twice.
 *
 * What stands for what
 *   reader    attempt(), read_careful(), pin(), is_named()   core/read.c
 *             im_pin_tell(), im_unpin()                      core/pin.c
 *   writer    im_unpublish(), im_publish()                   core/publish.h
 *             im_room_release(), settle(), im_room_unpark()  core/room.c
 *             im_pinned_look()                               core/pinned.c
 *   SEQ, TAG, REF             reclaim_seq; the slot; reference 2 lies elsewhere
 *   WORD, BYTE                the extent's word; its bytes, those of life 1 or 3
 *   PIN_OWNER, PIN_WORD       fmt_value_pin
 *
 * Asserted: what is held are the bytes of the life whose word the pin has, at once and later.
 */
c_decl {
	\#define LOCS 8
	\#define MSGS 8
	\#define THREADS 2
	enum { SEQ, TAG, REF, WORD, BYTE, PIN_OWNER, PIN_WORD };
}
#include "weak.pml"

#define READER 0
#define WRITER 1
#define WORD_1 1
#define WORD_3 3

byte h_seq, h_tag, h_ref, h_word, h_now, h_byte, h_ok;
byte p_owner, p_word;
bool begun;

#define H(word, to) LOAD_ACQ(READER, word, to)

/* is_named() */
inline look_again()
{
	h_ok = 1;
#ifndef NO_SLOT
	H(REF, h_now);
	if
	:: h_now != h_ref -> h_ok = 0
	:: else
	fi;
#ifndef NO_TAG
	H(TAG, h_now);
	if
	:: h_now != h_tag -> h_ok = 0
	:: else
	fi;
#endif
#endif
#ifndef NO_SEQ
	READ_BARRIER(READER);
	H(SEQ, h_now);
	if
	:: h_now != h_seq -> h_ok = 0
	:: else
	fi;
#endif
	h_now = 0
}

inline tell()
{
	STORE_REL(READER, PIN_WORD, now.h_word);
#ifndef PIN_NO_BARRIER
	FULL_BARRIER(READER);
#endif
}

active proctype reader()
{
	byte times;

	c_code {
		now.W.val[SEQ][0] = 1;
		now.W.val[TAG][0] = now.W.val[REF][0] = 1;
		now.W.val[WORD][0] = now.W.val[BYTE][0] = 1;
	};
	begun = true;
again:
	atomic { h_seq = 0; h_tag = 0; h_ref = 0; h_word = 0; h_now = 0; h_byte = 0; h_ok = 0 };
	if
	:: times == 2 -> goto ready
	:: else -> times++
	fi;
	H(SEQ, h_seq);
	H(TAG, h_tag);
	if
	:: h_tag == 0 -> goto again
	:: else
	fi;
	H(REF, h_ref);
	H(TAG, h_now);
	if
	:: h_now != h_tag || h_ref == 2 -> goto again
	:: else
	fi;
	H(WORD, h_word);
	READ_BARRIER(READER);
	H(SEQ, h_now);
	if
	:: h_now != h_seq -> goto again
	:: else
	fi;
	CAS(READER, PIN_OWNER, 0, 1, ACQ, h_ok);
	if
	:: !h_ok -> goto again
	:: else
	fi;
#ifdef LOOK_THEN_TELL
	look_again();
	tell();
#else
	tell();
	look_again();
#endif
	if
	:: h_ok ->
		LOAD_RLX(READER, BYTE, h_byte);
		assert(h_byte == h_word);
		h_byte = 0;
		LOAD_RLX(READER, BYTE, h_byte);
		assert(h_byte == h_word)
	:: else
	fi;
	/* im_unpin() */
	STORE_REL(READER, PIN_WORD, 0);
	CAS(READER, PIN_OWNER, 1, 0, REL, h_ok);
	goto again;
ready:
	skip
}

/* im_pinned_look() */
inline look_at_pins()
{
#ifndef LOOK_NO_BARRIER
	FULL_BARRIER(WRITER);
#endif
	LOAD_ACQ(WRITER, PIN_OWNER, p_owner);
	p_word = 0;
	if
	:: p_owner -> LOAD_ACQ(WRITER, PIN_WORD, p_word)
	:: else
	fi;
	p_owner = 0
}

/* The name goes. */
inline unname()
{
	if
	:: true -> STORE_REL(WRITER, TAG, 0)
	:: true -> STORE_REL(WRITER, REF, 2)
	fi
}

active proctype writer()
{
	byte looks;

	begun;
#ifdef LOOK_FIRST
	look_at_pins();
	unname();
#else
	unname();
look:
	look_at_pins();
#endif
#ifndef FREE_WHILE_HELD
	if
	:: p_word == WORD_1 && looks < 2 ->
#ifndef LOOK_FIRST
		looks++;
		goto look
#else
		goto ready
#endif
	:: p_word == WORD_1 && looks == 2 -> goto ready
	:: p_word != WORD_1
	fi;
#endif
	/* released: reclaim_seq, then the word, then the first new byte */
#ifndef SEQ_STAYS
	STORE_REL(WRITER, SEQ, 2);
#endif
	STORE_REL(WRITER, WORD, WORD_3);
	WRITE_BARRIER(WRITER);
	STORE_RLX(WRITER, BYTE, 3);
	/* published in the same place */
	STORE_REL(WRITER, REF, 1);
	STORE_REL(WRITER, TAG, 1);
ready:
	skip
}
