/* SPDX-License-Identifier: MIT */
/*
 * bell.h - an event count: sleep until something happened, wake all who sleep
 *
 * A bell is a word in the segment, 0 at first; see bell.c for the argument.
 *
 *     waiting                                 changing
 *         heard = im_bell_listen(bell)            change the state
 *         look at the state; nothing yet?         im_bell_ring(bell)
 *         im_bell_sleep(bell, heard), again
 */
#ifndef IM_BELL_H
#define IM_BELL_H

#include "lock.h"

/* From here on a ring ends im_bell_sleep(); look at the state after it. */
uint32_t im_bell_listen(uint32_t *bell);

/*
 * Sleep until the bell rings, for @nap nanoseconds at most. 0: look again; -EBUSY at the
 * deadline; -EINTR.
 */
int im_bell_sleep(struct im_seg *seg, uint32_t *bell, uint32_t heard, uint64_t nap,
		  struct im_wait *wait);

/* Does anybody listen, or did since it last rang? */
bool im_bell_is_listened(const uint32_t *bell);

/* The state has changed. One load when nobody listens. */
void im_bell_ring(uint32_t *bell);

#endif
