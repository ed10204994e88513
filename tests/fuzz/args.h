/* SPDX-License-Identifier: MIT */
/*
 * args.h - any words as the arguments of the tool
 */
#ifndef FUZZ_ARGS_H
#define FUZZ_ARGS_H

#include <stdbool.h>
#include <stddef.h>

/* Go into a mount namespace with a /dev/shm and a directory of its own; false: not allowed. */
bool fz_args_start(void);
void fz_args(const void *bytes, size_t len);

#endif
