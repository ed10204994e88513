/* SPDX-License-Identifier: MIT */
/*
 * create.c - im_seg_create() of segment.h: build a new segment
 *
 * The lock on the creation byte (os.h) is the right to build, and it dies with its process.
 * Whoever holds it and finds no magic builds, in place, from nothing; magic is the last
 * store. So two creators, a creator killed anywhere, and an attach in between all end well:
 * with magic the file is whole; without, header.c tells whether its creator lives. Nobody
 * maps a file without magic, so building over it disturbs nobody.
 *
 * A file is built over only if it is empty or bears the mark (byte order and version, stored
 * first) of a creator; a stranger's file that begins with zeros is left alone, and so is a
 * segment whose magic was wiped after extents had been used (header.c).
 *
 * Invariants
 *  create.I1  magic is set => every byte of the fixed part is as its creator built it.
 */
#include "segment.h"
#include "crash.h"
#include "file.h"
#include "header.h"
#include "life.h"
#include "os.h"
#include "space.h"

#include <fcntl.h>
#include <unistd.h>

/* How often a name may change hands under a creator before it gives up. */
#define CREATE_TRIES 16

static int plan(const char *path, const struct im_seg_create *how, const struct im_why *why,
		struct fmt_header *h)
{
	uint64_t most = im_os_fsize_limit();

	if (most < how->limit)
		return im_why(
			why, -ENOSPC,
			"%s: RLIMIT_FSIZE of this process (%llu bytes) is below the limit "
			"(%llu)",
			path, (unsigned long long)most, (unsigned long long)how->limit);
	*h = (struct fmt_header){
		.byte_order = FMT_BYTE_ORDER,
		.version = FMT_VERSION,
		.incompat = FMT_INCOMPAT_KNOWN,
		.max_len = min_u64(max_u64(how->max, how->limit), most) & ~(IM_PAGE_LEN - 1),
		.created = im_os_wall(),
		.extent_shift = how->extent_shift,
		.unit_shift = how->unit_shift,
		.n_owners = how->n_owners,
		.n_lines = how->n_lines,
		.n_shards = how->n_shards,
		.user_len = how->user_len,
		.ttl_ns = how->ttl_ns,
		.pack_min = how->pack_min,
	};
	memcpy(h->user, how->user_geo, sizeof(h->user));
	im_os_boot_id(h->boot_id);
	if (!im_header_count_extents(h))
		return im_why(why, -EINVAL, "%s: these sizes do not make a segment", path);
	if (im_os_random(&h->creation, 8) < 0 || im_os_random(&h->hash_seed, 8) < 0)
		return im_why(why, -EIO, "%s: no random numbers", path);
	if (how->hash_seed)
		h->hash_seed = *how->hash_seed;
	h->checksum = im_header_checksum(h);
	return 0;
}

/* The name changed hands: look again. */
#define AGAIN 1

/*
 * What is there is no creator's file: -EEXIST a segment, -EBADF something else. Its length and
 * its bytes were read one after the other, so a file that another process empties to build it
 * over looks like a stranger's for a moment: while somebody has the creation byte (@locked),
 * -EAGAIN. A stranger's file is locked so only as long as other creators look at it.
 */
static int judge_born(const struct fmt_header *h, const char *path, bool locked,
		      const struct im_why *why)
{
	int rc = im_header_check_format(h, true, path, why);

	if (rc != -EBADF)
		return im_why(why, -EEXIST, "%s: exists", path);
	return locked ? im_why(why, -EAGAIN, "%s: still being created", path) : rc;
}

/* The right to build @path: a descriptor with the creation byte locked; -EEXIST, -EAGAIN. */
static int win_creation(const char *path, const struct im_why *why, struct stat *st,
			int *ret_fd)
{
	struct fmt_header h;
	bool made, locked;
	int fd, rc;

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		return im_why_errno(why, path, "create it", errno);
	made = fd >= 0;
	if (made) {
		/* it is opened by name once more; a umask may have left it no mode for that */
		fchmod(fd, 0600);
		crash("create.opened");
	} else {
		fd = im_file_open(path, false, why, st);
		if (fd < 0)
			return fd == -ENOENT ? AGAIN : fd;
		rc = im_file_check_user(st, path, why);
		if (rc < 0) {
			/* not to be built over; attaching it is another question */
			if (im_header_read(fd, path, NULL, &h) == 0 && h.magic == FMT_MAGIC)
				rc = im_why(why, -EEXIST, "%s: exists", path);
			goto out;
		}
	}
	rc = im_os_byte_lock(fd, IM_CREATE_BYTE);
	if (rc < 0 && rc != -EAGAIN) {
		rc = im_why_errno(why, path, "lock it", -rc);
		goto out;
	}
	locked = rc == 0;
	if (!locked)
		im_why(why, rc, "%s: still being created", path);
	if (fstat(fd, st) < 0 || im_header_read(fd, path, NULL, &h) < 0) {
		rc = im_why_errno(why, path, "read it", errno);
		if (made && locked && im_file_is_at(path, st))
			unlink(path);
	} else if (!im_header_is_unborn(&h, st)) {
		rc = judge_born(&h, path, rc == -EAGAIN, why);
	} else if (rc == 0 && im_file_is_at(path, st)) {
		*ret_fd = fd;
		return 0;
	} else if (rc == 0) {
		rc = AGAIN;
	}
out:
	close(fd);
	return rc;
}

/* Length, mark, memory of the fixed part: of an empty file that only creators look at. */
static int prepare_file(int fd, const struct fmt_header *h)
{
	const uint32_t mark[2] = {FMT_BYTE_ORDER, FMT_VERSION};
	int rc;

	if (ftruncate(fd, 0) < 0)
		return -errno;
	if (pwrite(fd, mark, sizeof(mark), offsetof(struct fmt_header, byte_order)) !=
	    (ssize_t)sizeof(mark))
		return errno ? -errno : -ENOSPC;
	crash("create.marked");
	if (ftruncate(fd, (off_t)h->max_len) < 0)
		return -errno;
	crash("create.sized");
	rc = im_os->reserve(fd, 0, h->table_off);
	crash("create.fixed");
	return rc;
}

/* Memory of the table as far as the limit goes, and of the extents when asked for. */
static int prepare_extents(struct im_seg *seg, const struct im_seg_create *how, int fd)
{
	uint32_t n = im_space_extents(seg, how->limit);
	uint64_t table_off = (uint64_t)((unsigned char *)seg->table - seg->base);
	int rc = im_os->reserve(fd, table_off, (uint64_t)n * sizeof(struct fmt_extent));

	if (rc < 0 || !how->reserve)
		return rc;
	rc = im_os->reserve(fd, seg->extent_off, (uint64_t)n << seg->extent_shift);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		seg->table[i].backed = 1;
	if (rc == 0 && how->large_pages)
		im_os_large_pages(seg->extents, (uint64_t)n << seg->extent_shift);
	return rc;
}

static int set_access(int fd, const struct im_seg_create *how, const char *path,
		      const struct im_why *why)
{
	mode_t mode = how->mode ? how->mode & 0666 : 0600;

	if (how->gid != UINT32_MAX && fchown(fd, (uid_t)-1, how->gid) < 0)
		return im_why_errno(why, path, "give it that group", errno);
	if (fchmod(fd, mode) < 0)
		return im_why_errno(why, path, "set its mode", errno);
	return 0;
}

/* In the mapped segment: all but the magic. */
static int fill(struct im_seg *seg, const struct fmt_header *h, const struct im_seg_create *how,
		int lock_fd, const struct im_why *why)
{
	int rc;

	memcpy(seg->h, h, sizeof(*h));
	rc = prepare_extents(seg, how, lock_fd);
	if (rc < 0)
		return im_why_errno(why, seg->name, "reserve its memory", -rc);
	if (im_space_extents(seg, how->limit) < IM_EXTENTS_PER_SHARD * (uint64_t)seg->n_shards)
		return im_why(why, -EINVAL, "%s: the limit is too small for %u shards",
			      seg->name, seg->n_shards);
	im_space_init(seg, how->limit);
	crash("create.filled");
	rc = im_seg_join(seg, why);
	if (rc == 0 && how->build) {
		rc = how->build(seg);
		if (rc < 0)
			im_why(why, rc, "%s: cannot be built", seg->name);
	}
	return rc < 0 ? rc : set_access(lock_fd, how, seg->name, why);
}

/*
 * @lock_fd is the description with the creation byte. The data are mapped through another
 * (segment.I2), opened by name, which must still be this file's.
 */
static int build(const char *path, int lock_fd, const struct stat *st,
		 const struct im_seg_create *how, const struct im_why *why,
		 struct im_seg **ret_seg)
{
	struct fmt_header h;
	struct im_seg *seg;
	struct stat now;
	int rc = plan(path, how, why, &h);
	int fd;

	if (rc < 0)
		return rc;
	rc = prepare_file(lock_fd, &h);
	if (rc < 0)
		return im_why_errno(why, path, "reserve its memory", -rc);
	fd = im_file_open(path, false, why, &now);
	if (fd < 0)
		return fd;
	if (now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		rc = im_why(why, -EAGAIN, "%s: replaced while being created", path);
	if (rc == 0)
		rc = im_seg_map(fd, &now, false, &h, path, why, &seg);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	rc = fill(seg, &h, how, lock_fd, why);
	if (rc < 0) {
		im_seg_drop(seg);
		return rc;
	}
	crash("create.built");
	/* Everything is there before the magic; attaching reads it by a system call. */
	im_store_rel(&seg->h->magic, FMT_MAGIC);
	crash("create.done");
	*ret_seg = seg;
	return 0;
}

/* Under the life lock. */
static int create(const char *path, const struct im_seg_create *how, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	for (int i = 0; i < CREATE_TRIES; i++) {
		struct stat st;
		int fd;
		int rc = win_creation(path, why, &st, &fd);

		if (rc < 0)
			return rc;
		if (rc == AGAIN)
			continue;
		crash("create.won");
		rc = build(path, fd, &st, how, why, ret_seg);
		if (rc < 0 && im_file_is_at(path, &st))
			unlink(path);
		close(fd);
		return rc;
	}
	return im_why(why, -EAGAIN, "%s: others create and remove it all the time", path);
}

int im_seg_create(const char *path, const struct im_seg_create *how, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	int rc = im_seg_begin(path, why);

	if (rc < 0)
		return rc;
	rc = create(path, how, why, ret_seg);
	im_life_unlock();
	return rc;
}
