/* SPDX-License-Identifier: MIT */
/*
 * lin.h - histories of operations on one key, and whether they are linearizable
 *
 * A history is what processes saw: for each call when it began, when it returned, and with
 * what. It is right when there is an order of the calls, one after the other, in which each
 * would have returned just that, and in which no call comes before one that had returned when
 * it began. lin.c looks for such an order.
 *
 * Times are numbers of one shared counter (lin_stamp()). A stamp is one atomic addition
 * between two full barriers, so stamps are all different, and when the stamp after call A is
 * below the one before call B, A had returned before B began: on any processor, and whatever
 * the clocks of two processors show. Nothing else is asked of a time here.
 *
 * A call whose process was killed has no return. It happened or not, at any moment until its
 * shard was taken over (ret, set by the caller of lin_check(), see lin_bound()), but before any
 * write of its shard that began after the process was known to be dead. Or it did no more than
 * void a lease of its key.
 *
 * Leases are part of the state. One is granted when the key is not there and no other one of
 * it is good, but such whose time may be over, or whose holder may be dead; and what is stored
 * with it is stored if and only if it is good.
 *
 * Lives have an end that nobody notes. What was stored with a short one is there, until at some
 * moment it is not; then it may still be shown as stale. A write looks at the clock once, and
 * acts a little later: what others have seen expired meanwhile it may find there.
 *
 * Who watched the key heard a tape of events. Then the order must be the tape's: each change
 * has the next event, with the version that the change made, not before it began; and at the
 * end nothing is left. From a gap on nothing is asked of the order.
 */
#ifndef LIN_H
#define LIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIN_MAX 512u /* calls in one history */

enum lin_kind {
	LIN_GET,
	LIN_EXISTS,
	LIN_PUT, /* all kinds of putx */
	LIN_DEL, /* delx, take */
	LIN_ADD,
	LIN_TOUCH,
	LIN_CLEAR,
	LIN_STALE, /* shows an expired value */
	LIN_LEASE, /* rc is IPCMAP_LEAD; val: the number of the lease, of which there is one */
	LIN_FILL,  /* a put, if lease want is good */
	LIN_FAIL,  /* the end of lease want */
};

#define LIN_PENDING INT32_MIN /* rc: its process was killed inside */

#define LIN_VALUE 1u   /* shown: the value (of a get; before a write; after an add) */
#define LIN_VERSION 2u /* shown: its version */
#define LIN_NONE 4u    /* shown: that there was none */
#define LIN_BRIEF 8u   /* what it stores, or its lease, may be over from then on */
#define LIN_KEEPS 16u  /* where it finds nothing it voids no lease */

struct lin_op {
	uint64_t inv, ret; /* stamps; ret 0: no return */
	uint64_t dead;	   /* pending: a stamp after the death; lease: one at which its holder
			    * was alive, 0: it was never killed */
	uint64_t val;	   /* put: what it stores; add: how much */
	uint64_t want;	   /* the version or the value that cond asks for; a lease */
	uint64_t out, out_version;
	int32_t rc;
	uint8_t kind, cond; /* cond: IPCMAP_IF_... */
	uint8_t shown;
	uint8_t key;
	uint16_t shard;
	uint16_t who;
	uint32_t pad;
};

/* What is there. */
struct lin_state {
	uint64_t val;
	uint64_t version; /* 0: nobody has seen it */
	uint64_t highest; /* of all versions of the key that are known */
	uint64_t gone_by; /* gone: a stamp after somebody saw that */
	uint32_t lease;	  /* 1 + the call that was granted it; 0: none that is known */
	uint32_t heard;	  /* events of the tape so far */
	bool there;
	bool mortal;  /* it may expire */
	bool gone;    /* it has expired; val and version are what it was */
	bool counter; /* values are numbers, and come again; else each put has its own value */
};

/* What one who watched was told. */
struct lin_event {
	uint64_t version;
	uint64_t seen; /* a stamp after it was told */
	uint32_t what; /* IPCMAP_EVENT_..., a GAP ends the tape */
	uint32_t pad;
};
struct lin_tape {
	const struct lin_event *event;
	size_t n;
};

/*
 * lin_check() - is there an order?
 * @ops:    @n of one key, at most LIN_MAX, in any order
 * @state:  in: before all of them; there is no lease then
 * @tape:   what was heard of the key meanwhile; NULL: nobody watched
 * @ret_why: a line when there is none
 * @ret_states: how many states were looked at; may be NULL
 */
bool lin_check(const struct lin_op *ops, size_t n, const struct lin_state *state,
	       const struct lin_tape *tape, const char **ret_why, uint64_t *ret_states);

/*
 * lin_bound() - until when may the calls happen that have no return?
 *
 * Of all calls on all keys, @n of them: a write that began after a death, in the dead one's
 * shard, recovered the shard before it returned.
 */
void lin_bound(struct lin_op *ops, size_t n);

uint64_t lin_stamp(uint64_t *counter);

void lin_print(const struct lin_op *ops, size_t n, const struct lin_tape *tape);

#endif
