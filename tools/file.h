/* SPDX-License-Identifier: MIT */
/*
 * file.h - a file that gets its name only when it is complete
 */
#ifndef FILE_H
#define FILE_H

#include <stdio.h>
#include <sys/types.h>

/*
 * Begin to write what shall be @path, with the read and write bits of @mode less the umask.
 * NULL with errno. One at a time.
 */
FILE *file_start(const char *path, mode_t mode);

/* All was written, unless @err, an errno, says otherwise: 0, or an errno; the old file stays. */
int file_finish(FILE *file, int err);

/* Bits of the umask. */
mode_t file_mask(void);

#endif
