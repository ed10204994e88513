/* SPDX-License-Identifier: MIT */
/*
 * exec-files.c - a snapshot's keys as files, switched as a whole
 *
 * DIR is a symbolic link to a directory beside it, DIR.XXXXXX. A new version is written to a
 * new directory, and a rename makes DIR lead there. So whoever opens DIR, and files below what
 * it opened, has files of one version; who opens DIR/a and DIR/b has two if it is unlucky. The
 * directory before the switch stays until the program was told and another switch comes, or
 * until it has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dirent.h>

#include "exec.h"
#include "file.h"

static char *left; /* a directory of before, ours */

static void remove_all(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

void exec_files_tidy(void)
{
	if (left)
		remove_all(left);
	free(left);
	left = NULL;
}

static const char *wrong(const char *key, size_t len)
{
	if (!len)
		return "nothing is left of it as the name of a file";
	if (len > NAME_MAX)
		return "too long for the name of a file";
	if (memchr(key, '/', len))
		return "the name of a file has no /";
	if (memchr(key, 0, len))
		return "the name of a file has no zero byte";
	if ((len == 1 || (len == 2 && key[1] == '.')) && key[0] == '.')
		return "not the name of a file";
	return NULL;
}

static int write_file(int dir, const char *key, size_t len, const struct ipcmap_pair *p,
		      mode_t mode)
{
	char name[NAME_MAX + 1] = "";
	FILE *file;
	int fd, bad;

	memcpy(name, key, len);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0666);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return -1;
	bad = fwrite(p->val, 1, p->val_len, file) < p->val_len;
	return fclose(file) || bad ? -1 : 0;
}

/* All files of the version; false after saying what is wrong. */
static bool write_files(const struct exec_how *how, const struct set *set, int dir)
{
	size_t skip = strlen(how->prefix);

	for (size_t i = 0; i < set->n; i++) {
		const struct ipcmap_pair *p = &set->pairs[i];
		const char *key = (const char *)p->key + skip, *what;

		if (p->key_len < skip || memcmp(p->key, how->prefix, skip) != 0)
			continue;
		what = wrong(key, p->key_len - skip);
		if (!what && write_file(dir, key, p->key_len - skip, p, how->mode))
			what = strerror(errno);
		if (!what)
			continue;
		say_key(how->name, p->key, p->key_len, what);
		return false;
	}
	return true;
}

/* What the link leads to, when that is a directory that an exec made; NULL. */
static char *made_before(const char *path)
{
	const char *base = strrchr(path, '/');
	char to[PATH_MAX], *full;
	size_t base_len;
	ssize_t n = readlink(path, to, sizeof to - 1);

	if (n <= 0)
		return NULL;
	to[n] = '\0';
	base = base ? base + 1 : path;
	base_len = strlen(base);
	if ((size_t)n != base_len + 7 || strncmp(to, base, base_len) != 0 ||
	    to[base_len] != '.' || strchr(to, '/'))
		return NULL;
	if (asprintf(&full, "%.*s%s", (int)(base - path), path, to) < 0)
		die_nomem();
	return full;
}

/* The rename is what switches. */
static int lead_to(const char *path, const char *dir)
{
	const char *base = strrchr(dir, '/');
	char *link;
	int rc;

	if (asprintf(&link, "%s.new", dir) < 0)
		die_nomem();
	rc = symlink(base ? base + 1 : dir, link);
	if (rc == 0 && (rc = rename(link, path))) {
		int err = errno;

		unlink(link);
		errno = err;
	}
	free(link);
	return rc;
}

bool exec_files(const struct exec_how *how, struct ipcmap_snapshot *snap)
{
	mode_t mode = (how->mode & 0666) | (how->mode & 0444) >> 2 | 0700;
	struct stat st;
	struct set set;
	char *temp, *was;
	bool ok;
	int dir;

	if (lstat(how->files, &st) == 0 && !S_ISLNK(st.st_mode)) {
		say(how->files, "is there, and is not a symbolic link of an ipcmap exec");
		return false;
	}
	if (asprintf(&temp, "%s.XXXXXX", how->files) < 0)
		die_nomem();
	if (!mkdtemp(temp)) {
		say(how->files, "%s", strerror(errno));
		return false;
	}
	dir = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	set_of(&set, snap);
	ok = dir >= 0 && write_files(how, &set, dir);
	was = made_before(how->files);
	if (dir < 0 || (ok && (fchmod(dir, mode & ~file_mask()) || lead_to(how->files, temp)))) {
		say(how->files, "%s", strerror(errno));
		ok = false;
	}
	if (dir >= 0)
		close(dir);
	free(set.pairs);
	if (ok) {
		exec_files_tidy();
		left = was;
	} else {
		remove_all(temp);
		free(was);
	}
	free(temp);
	return ok;
}
