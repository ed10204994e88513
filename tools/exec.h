/* SPDX-License-Identifier: MIT */
/*
 * exec.h - a snapshot's keys as an environment or as files, for `ipcmap exec`
 */
#ifndef EXEC_H
#define EXEC_H

#include "snap.h"

struct exec_how {
	const char *name;   /* of the map, for complaints */
	const char *prefix; /* only keys under it, without it; "" is all */
	const char *files;  /* where the files are to be found; NULL: an environment */
	bool as_they_are;   /* names of variables are the keys */
	mode_t mode;	    /* of the map */
};

/*
 * The environment of this process with the keys over it, in one allocation after another that
 * exec_env_free() frees. NULL after saying which key cannot be a variable, or that it would be
 * too large for @argv beside it.
 */
char **exec_env(const struct exec_how *how, struct ipcmap_snapshot *snap, char *const *argv);
void exec_env_free(char **env);

/*
 * Make @how->files a symbolic link to a new directory with the keys as files. False after
 * saying why not; then nothing has changed. The directory before it stays until
 * exec_files_tidy(), since somebody may be reading it.
 */
bool exec_files(const struct exec_how *how, struct ipcmap_snapshot *snap);
void exec_files_tidy(void);

#endif
