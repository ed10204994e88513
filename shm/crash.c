/* SPDX-License-Identifier: MIT */
/*
 * crash.c - the hook that tests set to die at a chosen step; absent from release builds
 */
#include "crash.h"

#include <stddef.h>

#if defined(IM_CHECK) && IM_CHECK
void (*im_crash_hook)(const char *name);
#else
typedef int im_crash_is_empty; /* ISO C wants a declaration in every file */
#endif
