/* SPDX-License-Identifier: MIT */
/*
 * bell.c - an event count: sleep until something happened, wake all who sleep
 *
 * The word is a count (31 bits) and, lowest, LISTENED. Who wants to sleep sets LISTENED, then
 * looks at the state; who changes the state does so, then looks at LISTENED; a full barrier on
 * both sides, so at least one sees the other. Ringing adds one, which clears LISTENED and
 * moves the count, so a sleeper that comes late finds another word than the one it heard. Many
 * sleepers cost the ringer one system call, none of them costs it one load.
 *
 * Nobody counts the listeners, so a killed one leaves nothing but LISTENED, which the next ring
 * clears. A ring can be lost: the ringer may be killed before the wake, or before its look. So
 * every sleep is bounded and the state is looked at after it; nothing depends on a ring but
 * speed. A count that goes round while somebody is between listening and sleeping (2^31 rings)
 * costs that sleeper one nap.
 *
 * Whatever other processes store in the word, each call ends.
 *
 * Invariants
 *  bell.I1  between listening and the end of a sleep the word is the one heard, or its count
 *           has moved.
 */
#include "bell.h"
#include "crash.h"
#include "os.h"

#include <limits.h>

#define LISTENED 1u
#define TRIES 64u /* swaps; more are lost only to a word that is stored for no reason */

bool im_bell_is_listened(const uint32_t *bell)
{
	return im_load32_rlx(bell) & LISTENED;
}

uint32_t im_bell_listen(uint32_t *bell)
{
	uint32_t v = im_load32_rlx(bell);

	for (unsigned i = 0; i < TRIES && !(v & LISTENED); i++) {
		uint32_t was = im_cas32_acq(bell, v, v | LISTENED);

		v = was == v ? v | LISTENED : was;
	}
	/* ord(bell): LISTENED, then the look at the state. Pairs with im_bell_ring(). */
	im_full_barrier();
	crash("bell.listened");
	return v;
}

int im_bell_sleep(struct im_seg *seg, uint32_t *bell, uint32_t heard, uint64_t nap,
		  struct im_wait *wait)
{
	if (im_load_rlx(&seg->interrupts) != wait->interrupts)
		return -EINTR;
	if (im_wait_over(wait))
		return -EBUSY;
	wait->slept++;
	if (heard & LISTENED)
		im_os->futex_wait(bell, heard, im_wait_nap(wait, nap));
	return 0;
}

void im_bell_ring(uint32_t *bell)
{
	uint32_t v;

	/* ord(bell): the state, then the look at LISTENED. Pairs with im_bell_listen(). */
	im_full_barrier();
	v = im_load32_rlx(bell);
	for (unsigned i = 0; i < TRIES && v & LISTENED; i++) {
		uint32_t was = im_cas32_rel(bell, v, v + 1);

		if (was == v) {
			crash("bell.rung");
			im_os->futex_wake(bell, INT_MAX);
			return;
		}
		v = was;
	}
}
