/* SPDX-License-Identifier: MIT */
/*
 * file.c - the file of a segment: its path, opening it, whose it is, its descriptor, removal
 *
 * The owner of the file must be us or root, since whoever owns it may also truncate it under
 * our feet, which is a fatal signal nobody can prevent.
 *
 * Descriptors. seg->fd is kept only for probing and reserving. The application may have
 * closed it and opened its own file under that number (closefrom()), so it is compared with
 * device and inode before each use and opened anew by name when it is not ours any more.
 */
#include "file.h"
#include "header.h"
#include "os.h"
#include "segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PATH_CAP 4096u
#define NAME_MAX_LEN 4000u

int im_seg_path(const char *name, char *path, const struct im_why *why)
{
	const char *base = name[0] == '/' ? name + 1 : name;
	size_t len = strlen(name);
	int n;

	if (len > NAME_MAX_LEN)
		return im_why(why, -EINVAL, "the name has more than %u bytes", NAME_MAX_LEN);
	if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return im_why(why, -EINVAL, "\"%s\" is not a segment's name", name);
	if (!strchr(base, '/')) {
		n = snprintf(path, PATH_CAP, "/dev/shm/%s", base);
	} else if (name[0] == '/') {
		n = snprintf(path, PATH_CAP, "%s", name);
	} else {
		/* absolute, since it is opened again later, perhaps in another directory */
		char cwd[PATH_CAP];

		if (!getcwd(cwd, sizeof(cwd)))
			return im_why_errno(why, name, "find the current directory", errno);
		n = snprintf(path, PATH_CAP, "%s/%s", cwd, name);
	}
	if (n < 0 || n >= (int)PATH_CAP)
		return im_why(why, -EINVAL, "%s: the path is too long", name);
	return 0;
}

int im_file_open(const char *path, bool rdonly, const struct im_why *why, struct stat *st)
{
	int fd = open(path, (rdonly ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0 && errno == ELOOP)
		return im_why(why, -EBADF, "%s: a symbolic link, not a segment", path);
	if (fd < 0)
		return im_why_errno(why, path, "open it", errno);
	if (fstat(fd, st) < 0) {
		rc = im_why_errno(why, path, "stat it", errno);
		close(fd);
		return rc;
	}
	if (!S_ISREG(st->st_mode)) {
		close(fd);
		return im_why(why, -EBADF, "%s: not a regular file", path);
	}
	return fd;
}

int im_file_check_user(const struct stat *st, const char *path, const struct im_why *why)
{
	if (st->st_uid == geteuid() || st->st_uid == 0)
		return 0;
	return im_why(why, -EACCES, "%s: belongs to user %u", path, (unsigned)st->st_uid);
}

bool im_file_is_at(const char *path, const struct stat *file)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

bool im_seg_is(const struct im_seg *seg, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == seg->dev && st.st_ino == seg->ino;
}

/* Mapped, but not to be opened any more. */
static int lost(struct im_seg *seg)
{
	static const char what[] = "its file was closed, and its name is another's or gone";

	memcpy(seg->why, what, sizeof(what));
	return -EACCES;
}

/* Threads may come here at once: one stores its descriptor, the others close theirs. */
int im_seg_fd(struct im_seg *seg)
{
	uint32_t *word = (uint32_t *)&seg->fd;
	uint32_t was = im_load32_acq(word);
	int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (seg->rdonly ? O_RDONLY : O_RDWR);
	int fd;

	if ((int)was >= 0 && im_seg_is(seg, (int)was))
		return (int)was;
	fd = open(seg->name, flags);
	if (fd < 0)
		return lost(seg);
	if (!im_seg_is(seg, fd)) {
		close(fd);
		return lost(seg);
	}
	if (im_cas32_acq(word, was, (uint32_t)fd) == was)
		return fd;
	close(fd);
	return im_seg_is(seg, (int)im_load32_acq(word)) ? (int)im_load32_acq(word) : lost(seg);
}

void im_seg_file(struct im_seg *seg, uint32_t *ret_uid, uint32_t *ret_gid, uint32_t *ret_mode)
{
	struct stat st;
	int fd = im_seg_fd(seg);

	*ret_uid = *ret_gid = UINT32_MAX;
	*ret_mode = 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	*ret_uid = st.st_uid;
	*ret_gid = st.st_gid;
	*ret_mode = st.st_mode & 07777;
}

/* A segment of any version? */
static bool is_segment(const struct fmt_header *h)
{
	return h->magic == FMT_MAGIC || h->magic == __builtin_bswap64(FMT_MAGIC) ||
	       im_header_is_wiped(h);
}

/*
 * Ours to remove: a segment of any version, or what a dead creator left. Length, bytes and the
 * creator's lock are looked at one after the other: a file that is being built over looks like
 * a stranger's for a moment, so it is looked at again when the lock is free.
 */
static int check_removable(int fd, const struct stat *st, const char *path,
			   const struct im_why *why)
{
	struct stat now = *st;
	struct fmt_header h;
	int rc;

	for (int i = 0; i < 2; i++) {
		rc = im_header_read(fd, path, why, &h);
		if (rc < 0)
			return rc;
		if (is_segment(&h))
			return 0;
		if (im_header_is_unborn(&h, &now)) {
			rc = im_header_why_unborn(fd, &now, path, why);
			return rc == -EAGAIN ? rc : 0;
		}
		if (im_os->owner_locked(fd, IM_CREATE_BYTE) != 0)
			return im_why(why, -EAGAIN, "%s: still being created", path);
		if (fstat(fd, &now) < 0)
			return im_why_errno(why, path, "stat it", errno);
	}
	return im_why(why, -EBADF, "%s: not an ipcmap segment", path);
}

/* The name, unless it is another file's by now, or gone. */
static int remove_name(const char *path, const struct stat *file, const struct im_why *why)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : im_why_errno(why, path, "stat it", errno);
	if (st.st_dev != file->st_dev || st.st_ino != file->st_ino || unlink(path) == 0)
		return 0;
	return im_why_errno(why, path, "remove it", errno);
}

int im_seg_unlink(const char *path, const struct im_why *why)
{
	struct stat st;
	int fd = im_file_open(path, true, why, &st);
	int rc;

	if (fd < 0)
		return fd;
	rc = geteuid() == 0 ? 0 : im_file_check_user(&st, path, why);
	if (rc == 0)
		rc = check_removable(fd, &st, path, why);
	if (rc == 0)
		rc = remove_name(path, &st, why);
	close(fd);
	return rc;
}
