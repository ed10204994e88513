/* SPDX-License-Identifier: MIT */
/*
 * attach.h - open the map that a verb works on, or say why that is not possible
 */
#ifndef ATTACH_H
#define ATTACH_H

#include "ipcmap.h"
#include "opt.h"

/* The verb's map, with IPCMAP_ flags; NULL after saying why not (status BAD). */
struct ipcmap *attach(const struct args *a, const char *name, unsigned flags);

/* The same with all options; the error is returned and the line in @why, nothing is said. */
int attach_try(const char *name, struct ipcmap_options *o, char *why, size_t why_cap,
	       struct ipcmap **ret_map);

/* Take the path off the front of a line of reason, where @name is printed already. */
void attach_short(char *why, const char *name);

/* What attach_try() failed for, as one line. */
const char *attach_reason(int rc, const char *why);

#define WHY_CAP 512 /* room for the library's line of reason */

#endif
