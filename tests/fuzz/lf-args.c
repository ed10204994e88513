/* SPDX-License-Identifier: MIT */
/*
 * lf-args.c - words for the tool's main() as libFuzzer's inputs
 */
#include "args.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!fz_args_start()) {
		fputs("fuzz-args needs a mount namespace of its own\n", stderr);
		exit(77);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	fz_args(bytes, len);
	return 0;
}
