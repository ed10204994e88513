/* SPDX-License-Identifier: MIT */
/*
 * scratch.h - private memory for the time of a call
 *
 * A thread keeps one area of IM_SCRATCH_LEN bytes from its first use to its end. A call that
 * needs more, and a signal handler's call while the interrupted one has the area, get a
 * mapping of their own. So this may be used in reads: it is async-signal-safe, and makes a
 * system call only for the thread's first use and for the exceptions.
 */
#ifndef IM_SCRATCH_H
#define IM_SCRATCH_H

#include "base.h"

#define IM_SCRATCH_LEN (128u * 1024)

struct im_scratch {
	unsigned char *p;
	size_t len; /* of a mapping of its own; 0: the thread's area, or nothing */
};

int im_scratch_take(size_t len, struct im_scratch *ret); /* 0; -ENOMEM */
void im_scratch_give(struct im_scratch *s);

void im_scratch_thread_end(void);

#endif
