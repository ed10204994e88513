/* SPDX-License-Identifier: MIT */
/*
 * lock.h - futex lock that names its owner and reports that the previous owner died
 *
 * Word: owner (30 bits, owner.h) | WAITERS (bit 31); 0 is free. See lock.c for the argument.
 * Lock order, lowest first: shard locks in shard order, then the space lock.
 */
#ifndef IM_LOCK_H
#define IM_LOCK_H

#include "owner.h"

#define IM_LOCK_WAITERS 0x80000000u

#define IM_NOWAIT (UINT64_MAX - 1)
#define IM_FOREVER UINT64_MAX

/*
 * How long a call may wait; made once per call. The clock is read at the first wait, since
 * most calls do not wait and reading it costs as much as two locks.
 */
struct im_wait {
	uint64_t deadline_ns; /* IM_NOWAIT; IM_FOREVER */
	uint64_t until;       /* im_os->now() value; 0: not read yet */
	uint64_t interrupts;
	uint32_t slept; /* out: how often */
};

im_inline void im_wait_start(struct im_seg *seg, uint64_t deadline_ns, struct im_wait *ret_wait)
{
	ret_wait->deadline_ns = deadline_ns;
	ret_wait->until = 0;
	ret_wait->interrupts = im_load_rlx(&seg->interrupts);
	ret_wait->slept = 0;
}

/* Has the deadline passed? The first call starts the clock. */
bool im_wait_over(struct im_wait *wait);

/* What is left of @nap until the deadline; the clock was started. */
uint64_t im_wait_nap(const struct im_wait *wait, uint64_t nap);

#define IM_TAKEN 0
#define IM_TAKEN_OVER 1 /* the owner died inside: recover first */

/*
 * Return: IM_TAKEN; IM_TAKEN_OVER; -EBUSY at the deadline; -EINTR interrupted. The caller has
 * called im_owner_ready() and looked at im_tls.held. @word is in the segment.
 */
int im_lock_slow(struct im_seg *seg, uint32_t *word, struct im_wait *wait);
void im_lock_wake(uint32_t *word);

im_inline int im_lock(struct im_seg *seg, uint32_t *word, struct im_wait *wait)
{
	/* ord(lock): the holder's stores are visible to the next. Pairs with im_unlock(). */
	if (likely(im_cas32_acq(word, 0, seg->self) == 0))
		return IM_TAKEN;
	return im_lock_slow(seg, word, wait);
}

/* Takes it if it is free or its owner is dead, without waiting: as im_lock(), or -EBUSY. */
int im_trylock(struct im_seg *seg, uint32_t *word);

im_inline void im_unlock(struct im_seg *seg, uint32_t *word)
{
	uint32_t v = seg->self;

	/* ord(lock) */
	if (likely(im_cas32_rel(word, v, 0) == v))
		return;
	/* WAITERS is set, and stays: only who takes the word could clear it (lock.I2). Any other
	 * word is not ours to change: hostile bytes. */
	if (im_cas32_rel(word, v | IM_LOCK_WAITERS, 0) == (v | IM_LOCK_WAITERS))
		im_lock_wake(word);
}

#endif
