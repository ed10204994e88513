/* SPDX-License-Identifier: MIT */
/*
 * life.h - this process's life: what fork changes, and the lock around attaching and claiming
 *
 * See life.c. Used by segment.c, create.c, owner.c and line.c only.
 */
#ifndef IM_LIFE_H
#define IM_LIFE_H

#include "segment.h"

/* The segments attached here; changed under the life lock. */
extern struct im_seg *im_segs[IM_SEGS];

/* Once, before the first segment: 0; -ENOSYS on kernels without MADV_WIPEONFORK; -ENOMEM. */
int im_life_start(void);

/*
 * The life lock; fork() waits for it. -EDEADLK when this very thread holds it already: a
 * signal handler, or a fork handler of somebody else.
 */
int im_life_lock(void);
int im_life_trylock(void); /* never waits; -EBUSY; for readers and signal handlers */
void im_life_unlock(void);

/* A number never used before in this process or its ancestors; not 0. */
uint64_t im_life_token(void);

/* Runs @value's destructor, im_owner_thread_end(), when this thread ends. */
void im_life_at_thread_end(void *value);

#endif
