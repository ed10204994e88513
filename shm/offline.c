/* SPDX-License-Identifier: MIT */
/*
 * offline.c - a segment that nobody writes meanwhile: held, looked at in a copy, replaced
 *
 * Keeping out. Every owner has a byte of the file locked (owner.c), so one lock on all the
 * bytes there can be is had only when no owner is alive, and while it is held nobody becomes
 * one. It also covers the right to create. Read-only attaches are not kept out and need not
 * be: the file does not change.
 *
 * The copy. The file is mapped privately, so that armed lists can be carried out in memory,
 * and only where it has data: looking into a hole of a file in a tmpfs would make a page, or
 * be SIGBUS when there is none to be had; the same goes for what a truncated file lacks.
 *
 * Replacing. The new segment is built whole beside the old one and takes its name by
 * rename(2), so whoever is killed anywhere leaves the old segment as it was, or the new one.
 * Rebuilding in place was dropped: where the free extents are is what a damaged segment
 * cannot tell, and a second damage, by a kill, of the only copy cannot be argued away. The
 * price is memory for both at once.
 *
 *   link(old, NAME.damaged)    if it is to be kept; already so after a kill: the same file
 *   rename(NAME.repair, NAME)
 *   replaced = 1 in the old    a process that has it mapped, but no owner slot (a forked child
 *                              that made no call yet), must not come to write there
 *   give the bytes free
 *
 * Who opened the old file before the rename and claims a slot after the last step sees the
 * mark; killed between rename and mark, the attach sees that the name leads elsewhere
 * (segment.c). What is left is a forked child without a slot of its own, and a kill between
 * these two steps: it writes into a segment without a name, as after an unlink.
 *
 * The header. One checksum covers it, so a damaged one can be put right with certainty when
 * the damage is such that all that it may have been can be tried: numbers that follow from
 * others or from the file, or any single byte. When only the checksum's own bytes are damaged
 * nothing proves the hash seed but keys that are found by it; that is for core/ to see.
 *
 * Invariants
 *  offline.I1  the file is not written to before the rename.
 *  offline.I2  the bytes are locked from hold to release through a description that only the
 *              mapping has, which forked children do not get.
 */
#include "offline.h"
#include "crash.h"
#include "file.h"
#include "header.h"
#include "life.h"
#include "os.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUILT ".repair"
#define PAGE_LEN 4096u
#define SUM_OFF offsetof(struct fmt_header, checksum)

/* Mappings of a file in many pieces; the system allows 65,530. The rest is mapped whole. */
#define PIECES_MAX 16384

#define HOPELESS                                                                               \
	"%s: its header is damaged, and what it said cannot be found out: nothing can be "     \
	"kept, nor dumped; remove it, and load a dump made before"

/* ---- the header ---- */

static bool proven(const struct fmt_header *h)
{
	return im_header_checksum(h) == h->checksum;
}

/* All that follows from other numbers, and all that has but one value in this version. */
static void make_canonical(struct fmt_header *h, const struct stat *st, uint64_t incompat)
{
	h->magic = FMT_MAGIC;
	h->byte_order = FMT_BYTE_ORDER;
	h->version = FMT_VERSION;
	h->compat = 0;
	h->incompat = incompat;
	h->max_len = (uint64_t)st->st_size;
	im_header_count_extents(h);
}

/* Some 47,000 hashes of 184 bytes. */
static bool find_byte(struct fmt_header *h)
{
	unsigned char *p = (unsigned char *)h;

	for (size_t i = 0; i < SUM_OFF; i++) {
		unsigned char was = p[i];

		for (unsigned v = 0; v < 256; v++) {
			p[i] = (unsigned char)v;
			if (proven(h))
				return true;
		}
		p[i] = was;
	}
	return false;
}

/* What a version that this library does not know may look like is not to be guessed at. */
static bool is_ours(const struct fmt_header *h)
{
	return h->magic == FMT_MAGIC && h->byte_order == FMT_BYTE_ORDER &&
	       h->version == FMT_VERSION && !h->compat && !(h->incompat & ~FMT_INCOMPAT_KNOWN);
}

static int make_right(struct im_offline *o, const struct im_why *why)
{
	const struct im_why quiet = {NULL, 0};
	struct fmt_header h = o->h;

	if (proven(&h) && h.magic == FMT_MAGIC)
		return im_header_check_format(&h, false, o->path, why);
	o->damage = "its header was damaged";
	if (proven(&h) || find_byte(&h)) {
		o->h = h;
		o->h.magic = FMT_MAGIC;
		return im_header_check_format(&o->h, false, o->path, why);
	}
	/* a segment has all the features that are known, or is of before one of them */
	for (unsigned i = 0; i < 3; i++) {
		static const uint64_t features[] = {FMT_INCOMPAT_KNOWN, FMT_INCOMPAT_WAITS, 0};

		h = o->h;
		make_canonical(&h, &o->st, features[i]);
		if (proven(&h) || find_byte(&h)) {
			o->h = h;
			return im_header_check_format(&o->h, false, o->path, why);
		}
	}
	if (im_header_check_format(&o->h, false, o->path, &quiet))
		return im_header_check_format(&o->h, false, o->path, why);
	if (is_ours(&o->h) && im_header_check_numbers(&o->h, o->path, &quiet) == 0) {
		o->unproven = true;
		return 0;
	}
	return im_why(why, -EUCLEAN, HOPELESS, o->path);
}

/* @o->h is as read. */
static int judge(struct im_offline *o, const struct im_why *why)
{
	int rc;

	if (o->st.st_size < (off_t)sizeof(o->h) && o->h.magic != FMT_MAGIC)
		return im_why(why, -EBADF, "%s: not an ipcmap segment", o->path);
	if (o->st.st_size < (off_t)sizeof(o->h))
		return im_why(why, -EBADF,
			      "%s: truncated inside its header: nothing of it can be kept; "
			      "remove it",
			      o->path);
	rc = make_right(o, why);
	if (rc == 0 && im_header_check_numbers(&o->h, o->path, why))
		rc = im_why(why, -EUCLEAN, HOPELESS, o->path);
	if (rc == 0)
		rc = im_header_check_boot(&o->h, o->path, why);
	if (rc < 0)
		return rc;
	if ((uint64_t)o->st.st_size <= o->h.extent_off)
		return im_why(why, -EBADF,
			      "%s: truncated before its first extent: nothing of it can be "
			      "kept; remove it",
			      o->path);
	if ((uint64_t)o->st.st_size < o->h.max_len)
		o->damage = "its file was truncated";
	return 0;
}

/* ---- holding ---- */

static int why_busy(struct im_offline *o, const struct im_why *why)
{
	const char *more = "";
	char who[96] = "";
	size_t n = 0;

	if (im_os->owner_locked(o->fd, IM_CREATE_BYTE) != 0)
		return im_why(why, -EAGAIN, "%s: still being created, or being repaired",
			      o->path);
	for (uint32_t slot = 1; slot < IM_OWNER_BYTES; slot++) {
		struct fmt_owner w;
		off_t at = (off_t)(FMT_HEADER_LEN + (slot - 1) * sizeof(w));

		if (im_os->owner_locked(o->fd, slot) == 0)
			continue;
		if (n > sizeof(who) - 24) {
			more = " ...";
			break;
		}
		if (pread(o->fd, &w, sizeof(w), at) != (ssize_t)sizeof(w))
			w.pid = 0;
		n += (size_t)snprintf(who + n, sizeof(who) - n, " %llu",
				      (unsigned long long)w.pid);
	}
	return im_why(why, -EBUSY, "%s: attached; end these processes first:%s%s", o->path, who,
		      more);
}

/* Under the life lock, so that no child gets the description. */
static int lock_all(struct im_offline *o, const struct im_why *why)
{
	struct stat st;
	int fd = im_file_open(o->path, false, why, &st), rc;
	void *page;

	if (fd < 0)
		return fd;
	page = mmap(NULL, PAGE_LEN, PROT_NONE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		rc = im_why_errno(why, o->path, "map it", errno);
		close(fd);
		return rc;
	}
	rc = madvise(page, PAGE_LEN, MADV_DONTFORK) < 0 ? -errno : 0;
	if (rc == 0 && (st.st_dev != o->st.st_dev || st.st_ino != o->st.st_ino))
		rc = im_why(why, -EBUSY, "%s: replaced by another meanwhile", o->path);
	else if (rc == 0)
		rc = im_os_bytes_lock(fd);
	close(fd);
	if (rc < 0)
		munmap(page, PAGE_LEN);
	else
		o->page = page;
	return rc;
}

static int open_and_lock(struct im_offline *o, unsigned flags, const struct im_why *why)
{
	int rc;

	o->fd = im_file_open(o->path, false, why, &o->st);
	if (o->fd < 0)
		return o->fd;
	rc = flags & IM_ATTACH_FOREIGN ? 0 : im_file_check_user(&o->st, o->path, why);
	if (rc == 0 && o->st.st_uid != geteuid() && geteuid() != 0)
		rc = im_why(why, -EACCES, "%s: only user %u or root can repair it", o->path,
			    (unsigned)o->st.st_uid);
	if (rc == 0)
		rc = im_header_read(o->fd, o->path, why, &o->h);
	if (rc == 0 && im_header_is_unborn(&o->h, &o->st))
		rc = im_header_why_unborn(o->fd, &o->st, o->path, why);
	if (rc < 0)
		return rc;
	rc = lock_all(o, why);
	if (rc == -EAGAIN)
		return why_busy(o, why);
	return rc < 0 && rc != -EBUSY ? im_why_errno(why, o->path, "lock it", -rc) : rc;
}

int im_offline_hold(const char *path, unsigned flags, const struct im_why *why,
		    struct im_offline *o)
{
	int rc;

	memset(o, 0, sizeof(*o));
	o->fd = -1;
	memcpy(o->path, path, strlen(path) + 1);
	rc = im_seg_begin(path, why);
	if (rc < 0)
		return rc;
	rc = open_and_lock(o, flags, why);
	im_life_unlock();
	/* as it stands now that nobody can change it */
	if (rc == 0 && fstat(o->fd, &o->st) < 0)
		rc = im_why_errno(why, path, "stat it", errno);
	if (rc == 0)
		rc = im_header_read(o->fd, path, why, &o->h);
	if (rc == 0)
		rc = judge(o, why);
	if (rc < 0)
		im_offline_release(o);
	return rc;
}

void im_offline_release(struct im_offline *o)
{
	if (o->page)
		munmap(o->page, PAGE_LEN);
	if (o->fd >= 0)
		close(o->fd);
	o->page = NULL;
	o->fd = -1;
}

/* ---- the copy ---- */

/* The data of the file, piece by piece, over memory of zeros. */
static int map_data(const struct im_offline *o, unsigned char *base)
{
	off_t size = (off_t)min_u64((uint64_t)o->st.st_size, o->h.max_len), at = 0, end;

	for (int n = 0; at < size; n++, at = end) {
		at = lseek(o->fd, at, SEEK_DATA);
		if (at < 0 || at >= size)
			return at < 0 && errno != ENXIO ? -errno : 0;
		at &= ~(off_t)(PAGE_LEN - 1);
		end = n < PIECES_MAX ? lseek(o->fd, at, SEEK_HOLE) : size;
		if (end < 0)
			return -errno;
		if (end > size)
			end = size;
		end = (off_t)align_up((uint64_t)end, PAGE_LEN);
		if (mmap(base + at, (size_t)(end - at), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, o->fd, at) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

int im_offline_copy(const struct im_offline *o, const struct im_why *why, struct im_seg **ret)
{
	struct im_seg *seg = calloc(1, sizeof(*seg));
	int rc;

	if (!seg)
		return im_why(why, -ENOMEM, "%s: out of memory", o->path);
	seg->base = mmap(NULL, o->h.max_len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	rc = seg->base == MAP_FAILED ? -errno : map_data(o, seg->base);
	if (rc < 0) {
		if (seg->base != MAP_FAILED)
			munmap(seg->base, o->h.max_len);
		free(seg);
		return im_why_errno(why, o->path, "map it", -rc);
	}
	im_seg_describe(seg, &o->h);
	seg->fd = seg->fork_fd = seg->claim_fd = -1;
	seg->rdonly = true;
	memcpy(seg->name, o->path, sizeof(seg->name));
	*ret = seg;
	return 0;
}

void im_offline_forget(struct im_seg *copy)
{
	munmap(copy->base, copy->len);
	free(copy);
}

/* ---- the new one ---- */

static int beside(const struct im_offline *o, const char *suffix, char path[4096],
		  const struct im_why *why)
{
	int n = snprintf(path, 4096, "%s%s", o->path, suffix);

	if (n < 0 || n >= 4096)
		return im_why(why, -EINVAL, "%s: the path is too long", o->path);
	return 0;
}

/* Built from this very segment: the same seed, which is random. A copy of the file has the same
 * creation number too. */
static bool is_leftover(const struct im_offline *o, const struct fmt_header *h)
{
	return h->magic == FMT_MAGIC && h->hash_seed == o->h.hash_seed &&
	       h->creation != o->h.creation;
}

/* A file without magic is left to im_seg_create(), which knows whether its creator lives. */
int im_offline_place(const struct im_offline *o, char path[4096], const struct im_why *why)
{
	const struct im_why quiet = {NULL, 0};
	struct fmt_header h;
	struct stat st;
	int rc = beside(o, BUILT, path, why), fd;

	if (rc < 0)
		return rc;
	fd = im_file_open(path, true, &quiet, &st);
	if (fd == -ENOENT)
		return 0;
	if (fd >= 0) {
		rc = im_header_read(fd, path, why, &h);
		if (rc == 0 && !im_header_is_unborn(&h, &st) && !is_leftover(o, &h))
			rc = -EEXIST;
		if (rc == 0 && h.magic && im_file_is_at(path, &st) && unlink(path) < 0)
			rc = im_why_errno(why, path, "remove it", errno);
		close(fd);
	}
	return rc == -EEXIST || fd < 0 ? im_why(why, -EEXIST, "%s: in the way", path) : rc;
}

static int give_access(const struct im_offline *o, const char *built, const struct im_why *why)
{
	struct stat st;
	int fd = im_file_open(built, false, why, &st), rc = 0;

	if (fd < 0)
		return fd;
	if ((st.st_uid != o->st.st_uid || st.st_gid != o->st.st_gid) &&
	    fchown(fd, o->st.st_uid, o->st.st_gid) < 0)
		rc = im_why_errno(why, built, "give it the owner and group of the old one",
				  errno);
	if (rc == 0 && fchmod(fd, o->st.st_mode & 0777) < 0)
		rc = im_why_errno(why, built, "set its mode", errno);
	close(fd);
	return rc;
}

void im_offline_remove(const char *built)
{
	unlink(built);
}

static int keep_old(const struct im_offline *o, const struct im_why *why)
{
	char path[4096];
	int rc = beside(o, IM_OFFLINE_KEPT, path, why);

	if (rc < 0 || link(o->path, path) == 0)
		return rc;
	if (errno != EEXIST)
		return im_why_errno(why, path, "keep the damaged one there", errno);
	if (im_file_is_at(path, &o->st))
		return 0;
	return im_why(why, -EEXIST,
		      "%s: in the way of the damaged segment, which is kept there", path);
}

int im_offline_replace(const struct im_offline *o, const char *built, bool keep,
		       const struct im_why *why)
{
	const uint32_t yes = 1;
	int rc = give_access(o, built, why);

	if (rc == 0 && !im_file_is_at(o->path, &o->st))
		rc = im_why(why, -EBUSY, "%s: replaced by another meanwhile", o->path);
	if (rc < 0)
		return rc;
	crash("offline.built");
	rc = keep ? keep_old(o, why) : 0;
	if (rc < 0)
		return rc;
	crash("offline.linked");
	if (rename(built, o->path) < 0)
		return im_why_errno(why, o->path, "put the repaired one in its place", errno);
	crash("offline.renamed");
	/* that nobody claims a slot of the old one any more; nothing depends on it succeeding
	 * but a forked child that had none yet */
	if (pwrite(o->fd, &yes, sizeof(yes), offsetof(struct fmt_header, replaced)) < 0)
		return 0;
	crash("offline.marked");
	return 0;
}
