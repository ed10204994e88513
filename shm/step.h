/* SPDX-License-Identifier: MIT */
/*
 * step.h - one transition of the extent table: the space lock and its intent
 *
 * im_step_enter(), im_step_start(), fill in what changes, im_step_make(), im_step_leave().
 * Killed between any two instructions, the step has happened or has not, and the next to
 * enter completes it (step.c). Used by space.c and space-check.c only.
 */
#ifndef IM_STEP_H
#define IM_STEP_H

#include "lock.h"

/* What is about to become true. */
struct im_step {
	uint32_t ext;
	uint64_t old_word;
	uint64_t new_word;
	uint32_t used, fresh, head, tail, queued;
	uint32_t link_of, link_to;
};

/* Take the space lock, and finish what a dead holder left: 0; -EBUSY, -EINTR. */
int im_step_enter(struct im_seg *seg, struct im_wait *wait);
void im_step_leave(struct im_seg *seg);

/* What is true now, as a step that changes nothing; -EUCLEAN. Under the lock. */
int im_step_start(struct im_seg *seg, struct im_step *st);

/*
 * Make it true. Under the lock. False, and nothing has changed: the word is another one.
 * That happens to what is PRIVATE to a dead owner: the successor in a shard may take it by
 * the dead one's redo list (core/redo.c), without this lock, while a claimer or sweeper
 * frees it.
 */
bool im_step_make(struct im_seg *seg, const struct im_step *st);

/* While seq is odd: the step the intent names; did it happen? */
bool im_step_intent(struct im_seg *seg, struct im_step *st);

#endif
