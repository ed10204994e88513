/* SPDX-License-Identifier: MIT */
/*
 * why.h - one line for a person: which file, and what is the matter with it
 */
#ifndef IM_WHY_H
#define IM_WHY_H

#include "base.h"

struct im_why {
	char *buf; /* may be NULL */
	size_t cap;
};

/* One line "NAME: what and where" into @why; returns @err. */
int im_why(const struct im_why *why, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * A failed system call; @err is its errno, positive. Returns the negative errno; errors that
 * have a name of ours in ipcmap.h get it.
 */
int im_why_errno(const struct im_why *why, const char *path, const char *doing, int err);

#endif
