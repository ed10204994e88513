/* SPDX-License-Identifier: MIT */
/*
 * helper.h - a thread of this process that makes a descriptor readable
 *
 * For who waits with poll(2) and the like for what only a futex tells.
 */
#ifndef IM_HELPER_H
#define IM_HELPER_H

#include "base.h"

#include <pthread.h>

struct im_helper {
	pthread_t thread;
	int fd; /* an eventfd */
};

/* Start @run(@arg) in a thread that takes no signals: 0, or a negative errno. */
int im_helper_start(struct im_helper *h, void *(*run)(void *arg), void *arg);

/* Make the descriptor readable; make it not so. */
void im_helper_say(const struct im_helper *h);
void im_helper_hush(const struct im_helper *h);

/* Wait until @run has returned; close the descriptor. */
void im_helper_end(struct im_helper *h);

/* In a forked child, where there is no such thread: close the descriptor. */
void im_helper_forget(struct im_helper *h);

#endif
