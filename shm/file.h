/* SPDX-License-Identifier: MIT */
/*
 * file.h - the file of a segment: opening it, whose it is, whether a path still leads to it
 *
 * Used by segment.c and create.c only; what others ask of the file is in segment.h.
 */
#ifndef IM_FILE_H
#define IM_FILE_H

#include "why.h"

#include <sys/stat.h>

/* A descriptor, and @st of it; -EBADF when @path is a link or not a regular file. */
int im_file_open(const char *path, bool rdonly, const struct im_why *why, struct stat *st);

/* 0; -EACCES when the file is neither this user's nor root's. */
int im_file_check_user(const struct stat *st, const char *path, const struct im_why *why);

/* Does @path, itself no link, lead to @file? */
bool im_file_is_at(const char *path, const struct stat *file);

#endif
