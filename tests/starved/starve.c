/* SPDX-License-Identifier: MIT */
/*
 * starve.c - the requests that fail when asked to
 *
 * Each has up to STARVE_VARIANTS errors; those that mean "again" are not among what fails for
 * ever, since to ask again is right then.
 */
#include "starve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

bool starve_hit;
const char *starve_what;
int starve_err;
size_t starve_most;
long starve_blocks;

static bool armed, all_after;
static unsigned calls, at, variant;

void starve_arm(unsigned at_call, unsigned which, bool all)
{
	starve_hit = false;
	starve_what = "";
	starve_blocks = 0;
	calls = 0;
	at = at_call;
	variant = which;
	all_after = all;
	armed = true;
}

void starve_disarm(void)
{
	armed = false;
}

int starve_fails(const char *what, const int errs[STARVE_VARIANTS])
{
	int err = errs[variant];

	if (!armed)
		return 0;
	calls++;
	if (calls < at || (calls > at && !all_after))
		return 0;
	if (all_after && (err == EINTR || err == EAGAIN))
		err = errs[0];
	if (!starve_hit) {
		starve_what = what;
		starve_err = err;
	}
	starve_hit = true;
	return err;
}

/* ---- memory ---- */

/* Threads may come here at once; which of two long blocks is noted does not matter. */
static void note_len(size_t len)
{
	if (len > __atomic_load_n(&starve_most, __ATOMIC_RELAXED))
		__atomic_store_n(&starve_most, len, __ATOMIC_RELAXED);
}

/* Threads of other suites come here too. */
static void count_block(long n)
{
	if (n)
		__atomic_fetch_add(&starve_blocks, n, __ATOMIC_RELAXED);
}

WRAP(void *, malloc, size_t len)
{
	void *p;

	note_len(len);
	FAIL_IF("malloc", NULL, ENOMEM, ENOMEM, ENOMEM);
	p = __real_malloc(len);
	count_block(armed && p);
	return p;
}

WRAP(void *, calloc, size_t n, size_t len)
{
	void *p;

	note_len(n * len);
	FAIL_IF("calloc", NULL, ENOMEM, ENOMEM, ENOMEM);
	p = __real_calloc(n, len);
	count_block(armed && p);
	return p;
}

WRAP(void *, realloc, void *old, size_t len)
{
	void *p;

	note_len(len);
	FAIL_IF("realloc", NULL, ENOMEM, ENOMEM, ENOMEM);
	p = __real_realloc(old, len);
	count_block(armed && !old && p);
	return p;
}

WRAP(void, free, void *p)
{
	count_block(-(armed && p));
	__real_free(p);
}

/* EAGAIN: more would be locked than RLIMIT_MEMLOCK allows. */
WRAP(void *, mmap, void *to, size_t len, int prot, int flags, int fd, off_t off)
{
	FAIL_IF("mmap", MAP_FAILED, ENOMEM, EAGAIN, ENOMEM);
	return __real_mmap(to, len, prot, flags, fd, off);
}

WRAP(int, madvise, void *p, size_t len, int advice)
{
	FAIL_IF("madvise", -1, ENOMEM, EAGAIN, EINVAL);
	return __real_madvise(p, len, advice);
}

/* ---- files ---- */

WRAP(int, open, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	FAIL_IF("open", -1, EMFILE, EACCES, ENFILE);
	return __real_open(path, flags, mode);
}

WRAP(int, __open_2, const char *path, int flags)
{
	FAIL_IF("open", -1, EMFILE, EACCES, ENFILE);
	return __real___open_2(path, flags);
}

WRAP(ssize_t, read, int fd, void *buf, size_t len)
{
	FAIL_IF("read", -1, EIO, EINTR, ENOMEM);
	return __real_read(fd, buf, len);
}

WRAP(ssize_t, pread, int fd, void *buf, size_t len, off_t off)
{
	FAIL_IF("pread", -1, EIO, EINTR, ENOMEM);
	return __real_pread(fd, buf, len, off);
}

WRAP(ssize_t, pwrite, int fd, const void *buf, size_t len, off_t off)
{
	FAIL_IF("pwrite", -1, ENOSPC, EIO, ENOMEM);
	return __real_pwrite(fd, buf, len, off);
}

WRAP(int, ftruncate, int fd, off_t len)
{
	FAIL_IF("ftruncate", -1, EFBIG, EIO, ENOMEM);
	return __real_ftruncate(fd, len);
}

WRAP(int, lstat, const char *path, struct stat *st)
{
	FAIL_IF("lstat", -1, ENOMEM, EACCES, ENOMEM);
	return __real_lstat(path, st);
}

WRAP(int, fchmod, int fd, mode_t mode)
{
	FAIL_IF("fchmod", -1, EPERM, EIO, EROFS);
	return __real_fchmod(fd, mode);
}

WRAP(int, unlink, const char *path)
{
	FAIL_IF("unlink", -1, EPERM, EACCES, EIO);
	return __real_unlink(path);
}

WRAP(ssize_t, readlink, const char *path, char *buf, size_t len)
{
	FAIL_IF("readlink", -1, EACCES, ENOENT, ENOMEM);
	return __real_readlink(path, buf, len);
}

WRAP(int, fcntl, int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (cmd == F_OFD_SETLK || cmd == F_GETLK)
		FAIL_IF("fcntl", -1, ENOLCK, ENOMEM, ENOLCK);
	return __real_fcntl(fd, cmd, arg);
}

/* ---- the rest ---- */

WRAP(ssize_t, getrandom, void *buf, size_t len, unsigned flags)
{
	FAIL_IF("getrandom", -1, ENOSYS, EINTR, EIO);
	return __real_getrandom(buf, len, flags);
}

WRAP(long, syscall, long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_fallocate)
		FAIL_IF("fallocate", -1, ENOSPC, EINTR, EDQUOT);
	if (nr == SYS_futex)
		FAIL_IF("futex", -1, EINTR, EAGAIN, ENOMEM);
	return __real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
