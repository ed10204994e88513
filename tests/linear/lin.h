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
 * write of its shard that began after the process was known to be dead.
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
};

#define LIN_PENDING INT32_MIN /* rc: its process was killed inside */

#define LIN_VALUE 1u   /* shown: the value (of a get; before a write; after an add) */
#define LIN_VERSION 2u /* shown: its version */
#define LIN_NONE 4u    /* shown: that there was none */

struct lin_op {
	uint64_t inv, ret; /* stamps; ret 0: no return */
	uint64_t dead;	   /* pending: a stamp after the death */
	uint64_t val;	   /* put: what it stores; add: how much */
	uint64_t want;	   /* the version or the value that cond asks for */
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
	bool there;
	bool counter; /* values are numbers, and come again; else each put has its own value */
};

/*
 * lin_check() - is there an order?
 * @ops:    @n of one key, at most LIN_MAX, in any order
 * @state:  in: before all of them
 * @ret_why: a line when there is none
 * @ret_states: how many states were looked at; may be NULL
 */
bool lin_check(const struct lin_op *ops, size_t n, const struct lin_state *state,
	       const char **ret_why, uint64_t *ret_states);

/*
 * lin_bound() - until when may the calls happen that have no return?
 *
 * Of all calls on all keys, @n of them: a write that began after a death, in the dead one's
 * shard, recovered the shard before it returned.
 */
void lin_bound(struct lin_op *ops, size_t n);

uint64_t lin_stamp(uint64_t *counter);

void lin_print(const struct lin_op *ops, size_t n);

#endif
