/* SPDX-License-Identifier: MIT */
/*
 * file.c - a file that gets its name only when it is complete
 *
 * It is written beside the place where it belongs and replaces an older one with its last
 * step, so nobody ever finds half of it. What is no plain file, a pipe or a device, is written
 * directly. Who may not read a map may not read what was in it: hence the mode.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "out.h"

static struct {
	char *path; /* links followed */
	char *temp; /* beside it; NULL: written directly, or done */
} out_file;

static void remove_temp(void)
{
	if (out_file.temp)
		unlink(out_file.temp);
}

static void on_signal(int sig)
{
	remove_temp();
	signal(sig, SIG_DFL);
	raise(sig);
}

mode_t file_mask(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

static FILE *open_temp(mode_t mode)
{
	static const int sigs[] = {SIGHUP, SIGINT, SIGTERM};
	int fd;

	if (asprintf(&out_file.temp, "%s.XXXXXX", out_file.path) < 0)
		die_nomem();
	fd = mkstemp(out_file.temp);
	if (fd < 0) {
		out_file.temp = NULL;
		return NULL;
	}
	for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++)
		if (signal(sigs[i], on_signal) == SIG_IGN)
			signal(sigs[i], SIG_IGN);
	atexit(remove_temp);
	if (fchmod(fd, mode & 0666 & ~file_mask())) {
		close(fd);
		return NULL;
	}
	return fdopen(fd, "w");
}

FILE *file_start(const char *path, mode_t mode)
{
	bool there, link;
	struct stat st;
	int fd;

	there = stat(path, &st) == 0;
	link = !there && lstat(path, &st) == 0; /* to a file that is still to be made */
	if (link || (there && !S_ISREG(st.st_mode))) {
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode & 0666);
		return fd < 0 ? NULL : fdopen(fd, "w");
	}
	out_file.path = realpath(path, NULL);
	if (!out_file.path && !(out_file.path = strdup(path)))
		die_nomem();
	return open_temp(mode);
}

int file_finish(FILE *file, int err)
{
	errno = EIO;
	if (fclose(file) && !err)
		err = errno;
	if (!err && out_file.temp && rename(out_file.temp, out_file.path))
		err = errno;
	if (!err)
		out_file.temp = NULL;
	return err;
}
