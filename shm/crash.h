/* SPDX-License-Identifier: MIT */
/*
 * crash.h - places to die in tests
 *
 * crash("put.published") stands between two steps that a reader or a successor can tell
 * apart. In release builds it is nothing. In debug builds (IM_CHECK) it calls
 * im_crash_hook, which a test sets to count the points and to kill its own process at one.
 */
#ifndef IM_CRASH_H
#define IM_CRASH_H

#if defined(IM_CHECK) && IM_CHECK
extern void (*im_crash_hook)(const char *name);
#define crash(name)                                                                            \
	do {                                                                                   \
		if (im_crash_hook)                                                             \
			im_crash_hook(name);                                                   \
	} while (0)
#else
#define crash(name) ((void)0)
#endif

#endif
