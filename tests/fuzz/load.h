/* SPDX-License-Identifier: MIT */
/*
 * load.h - files for `ipcmap load`: load.c, and dump.c for the way back
 */
#ifndef FUZZ_LOAD_H
#define FUZZ_LOAD_H

#include "ipcmap.h"

#include <stdbool.h>

bool fz_load_start(const char *path);
void fz_load_end(const char *path);
void fz_load(const void *bytes, size_t len);

/* All entries as `ipcmap dump` writes them; *@ret_text is freed by the caller. */
bool fz_dump(struct ipcmap *map, bool bdb, bool print, char **ret_text, size_t *ret_len);

#endif
