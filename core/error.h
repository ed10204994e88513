/* SPDX-License-Identifier: MIT */
/*
 * error.h - the table of errors, for the test that walks it
 */
#ifndef IM_ERROR_H
#define IM_ERROR_H

#include "ipcmap.h"

struct im_error {
	int err;
	const char *name;
	const char *text;
};

extern const struct im_error im_errors[];
extern const unsigned im_n_errors;

#endif
