/* SPDX-License-Identifier: MIT */
/*
 * why.c - one line for a person: which file, and what is the matter with it
 */
#include "why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int im_why(const struct im_why *why, int err, const char *fmt, ...)
{
	va_list ap;

	if (why && why->buf && why->cap) {
		va_start(ap, fmt);
		vsnprintf(why->buf, why->cap, fmt, ap);
		va_end(ap);
	}
	return err;
}

int im_why_errno(const struct im_why *why, const char *path, const char *doing, int err)
{
	char text[64];

	im_why(why, 0, "%s: cannot %s: %s", path, doing, strerror_r(err, text, sizeof(text)));
	switch (err) {
	case EPERM:
		return -EACCES;
	case ELOOP:
	case EISDIR:
	case ENXIO:
	case ENODEV:
		return -EBADF;
	case EFBIG:
	case EDQUOT:
		return -ENOSPC;
	default:
		return -err;
	}
}
