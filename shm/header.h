/* SPDX-License-Identifier: MIT */
/*
 * header.h - the header of a segment file: its numbers, reading it, the reasons to refuse it
 *
 * All of it works on a copy in this process. Used by segment.c, create.c and file.c only.
 */
#ifndef IM_HEADER_H
#define IM_HEADER_H

#include "layout.h"
#include "why.h"

#include <sys/stat.h>

/* The extent table begins at a multiple of it, and the file ends at one. */
#define IM_PAGE_LEN UINT64_C(4096)

/* The first bytes of the file; what is not there reads as zero. */
int im_header_read(int fd, const char *path, const struct im_why *why, struct fmt_header *h);

/* May the file @fd, whose header reads @h, be attached? Errors as of im_seg_attach(). */
int im_header_check(int fd, const struct stat *st, const struct fmt_header *h, bool rdonly,
		    const char *path, const struct im_why *why);

/* Of these checks: magic, byte order, version, features. -EBADF: not a segment at all. */
int im_header_check_format(const struct fmt_header *h, bool rdonly, const char *path,
			   const struct im_why *why);

/* Of these checks: do the numbers agree; is it of this start of the machine? */
int im_header_check_numbers(const struct fmt_header *h, const char *path,
			    const struct im_why *why);
int im_header_check_boot(const struct fmt_header *h, const char *path,
			 const struct im_why *why);

/* A segment that was complete, with a magic number that was wiped. */
bool im_header_is_wiped(const struct fmt_header *h);

/* A creator's file that has no magic yet, or never got it. */
bool im_header_is_unborn(const struct fmt_header *h, const struct stat *st);

/* Which of the two: -EAGAIN its creator lives, -EBADF it died. */
int im_header_why_unborn(int fd, const struct stat *st, const char *path,
			 const struct im_why *why);

/*
 * For the creator: n_extents becomes the most extents that fit below max_len with their
 * table, and the offsets follow. False when the numbers given do not make a segment.
 */
bool im_header_count_extents(struct fmt_header *h);

uint64_t im_header_checksum(const struct fmt_header *h);

#endif
