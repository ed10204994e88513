/* SPDX-License-Identifier: MIT */
/*
 * starve.h - let the n-th request to the C library or the kernel fail
 *
 * starve.c stands before malloc() and the system calls of the program it is linked into
 * (starved.mk has the list, for ld's --wrap). While it is armed it counts them, and lets one
 * fail, or that one and all that follow, with an error that the call may really have.
 */
#ifndef STARVE_H
#define STARVE_H

#include <stdbool.h>
#include <stddef.h>

#define STARVE_VARIANTS 3u /* errors that are tried for each call */

/* From now on the @at-th request fails, counted from 1, with the @variant-th of its errors. */
void starve_arm(unsigned at, unsigned variant, bool all_after);
void starve_disarm(void);

extern bool starve_hit;		/* it came to that */
extern const char *starve_what; /* which call it was, ... */
extern int starve_err;		/* ... and its error */
extern size_t starve_most; /* longest block asked for, armed or not; for the suite "hostile" */
extern long starve_blocks; /* blocks from malloc() that were not freed, while armed */

/* ---- for what stands before a call ---- */

/* The error that @what has now; 0: none. */
int starve_fails(const char *what, const int errs[STARVE_VARIANTS]);

#define FAIL_IF(what, value, ...)                                                              \
	do {                                                                                   \
		int err_ = starve_fails(what, (const int[STARVE_VARIANTS]){__VA_ARGS__});      \
		if (err_) {                                                                    \
			errno = err_;                                                          \
			return value;                                                          \
		}                                                                              \
	} while (0)

/* For each: what the linker calls the real one, and ours. */
#define WRAP(type, name, ...)                                                                  \
	type __real_##name(__VA_ARGS__);                                                       \
	type __wrap_##name(__VA_ARGS__);                                                       \
	type __wrap_##name(__VA_ARGS__)

#endif
