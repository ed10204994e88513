/* SPDX-License-Identifier: MIT */
/*
 * tool.c - the command line tool whose requests fail when STARVE says so: "AT VARIANT ALL"
 *
 * Linked into build/<variant>/ipcmap-starved with starve.c. At its end it writes to descriptor
 * 9 which request failed, if one did.
 */
#include "starve.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORT_FD 9

__attribute__((constructor)) static void begin(void)
{
	const char *s = getenv("STARVE");
	unsigned at, variant, all;

	if (s && sscanf(s, "%u %u %u", &at, &variant, &all) == 3)
		starve_arm(at, variant, all);
}

__attribute__((destructor)) static void end(void)
{
	starve_disarm();
	if (starve_hit && write(REPORT_FD, starve_what, strlen(starve_what)) < 0)
		_exit(99);
}

WRAP(ssize_t, getline, char **line, size_t *cap, FILE *f)
{
	FAIL_IF("getline", -1, ENOMEM, EIO, EISDIR);
	return __real_getline(line, cap, f);
}

/* What getline() is when it is compiled into its caller. */
WRAP(ssize_t, __getdelim, char **line, size_t *cap, int end, FILE *f)
{
	FAIL_IF("getline", -1, ENOMEM, EIO, EISDIR);
	return __real___getdelim(line, cap, end, f);
}

WRAP(FILE *, fopen, const char *path, const char *mode)
{
	FAIL_IF("fopen", NULL, ENOMEM, EMFILE, EACCES);
	return __real_fopen(path, mode);
}

WRAP(FILE *, fdopen, int fd, const char *mode)
{
	FAIL_IF("fdopen", NULL, ENOMEM, EMFILE, ENOMEM);
	return __real_fdopen(fd, mode);
}

WRAP(int, fclose, FILE *f)
{
	int r = __real_fclose(f);

	FAIL_IF("fclose", EOF, ENOSPC, EIO, EDQUOT);
	return r;
}

WRAP(int, mkstemp, char *path)
{
	FAIL_IF("mkstemp", -1, ENOSPC, EACCES, EROFS);
	return __real_mkstemp(path);
}

WRAP(int, rename, const char *from, const char *to)
{
	FAIL_IF("rename", -1, ENOSPC, EACCES, EIO);
	return __real_rename(from, to);
}

WRAP(char *, realpath, const char *path, char *to)
{
	FAIL_IF("realpath", NULL, ENOMEM, EACCES, EIO);
	return __real_realpath(path, to);
}

WRAP(char *, strdup, const char *s)
{
	FAIL_IF("strdup", NULL, ENOMEM, ENOMEM, ENOMEM);
	return __real_strdup(s);
}

WRAP(int, vasprintf, char **ret, const char *fmt, va_list ap)
{
	FAIL_IF("vasprintf", -1, ENOMEM, ENOMEM, ENOMEM);
	return __real_vasprintf(ret, fmt, ap);
}

int __wrap_asprintf(char **ret, const char *fmt, ...);

int __wrap_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = __wrap_vasprintf(ret, fmt, ap);
	va_end(ap);
	return n;
}

/* The same under the names that _FORTIFY_SOURCE gives them. */
int __wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap);
int __wrap___asprintf_chk(char **ret, int flag, const char *fmt, ...);

int __wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap)
{
	(void)flag;
	return __wrap_vasprintf(ret, fmt, ap);
}

int __wrap___asprintf_chk(char **ret, int flag, const char *fmt, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, fmt);
	n = __wrap_vasprintf(ret, fmt, ap);
	va_end(ap);
	return n;
}

WRAP(DIR *, opendir, const char *path)
{
	FAIL_IF("opendir", NULL, EMFILE, EACCES, ENOMEM);
	return __real_opendir(path);
}
