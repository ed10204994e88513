/* SPDX-License-Identifier: MIT */
/*
 * lf-load.c - files for `ipcmap load` as libFuzzer's inputs
 */
#include "fuzz.h"
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static char path[64];

static void end(void)
{
	fz_load_end(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	snprintf(path, sizeof(path), "/dev/shm/ipcmap-test.%d.1", (int)getpid());
	fz_os_on();
	if (!fz_load_start(path))
		exit(1);
	atexit(end);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	fz_load(bytes, len);
	return 0;
}
