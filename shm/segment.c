/* SPDX-License-Identifier: MIT */
/*
 * segment.c - create, attach, validate, detach, unlink
 *
 * Creation. The lock on the creation byte (os.h) is the right to build, and it dies with its
 * process. Whoever holds it and finds no magic builds, in place, from nothing; magic is the
 * last store. So two creators, a creator killed anywhere, and an attach in between all end
 * well: with magic the file is whole; without, a locked byte says "being created", a free one
 * "its creator died" (in an empty file younger than a second: it has not locked yet). Nobody
 * maps a file without magic, so building over it disturbs nobody.
 *
 * A file is built over only if it is empty or bears the mark (byte order and version, stored
 * first) of a creator; a stranger's file that begins with zeros is left alone.
 *
 * Attach trusts nothing: the header is read with pread() before anything is mapped, copied
 * once, checked, and only the copy is used: geometry is recomputed from the few independent
 * numbers and must agree in full. The owner of the file must be us or root, since whoever owns
 * it may also truncate it under our feet, which is a fatal signal nobody can prevent.
 *
 * Descriptors. seg->fd is kept only for probing and reserving. The application may have
 * closed it and opened its own file under that number (closefrom()), so it is compared with
 * device and inode before each use and opened anew by name when it is not ours any more.
 *
 * Invariants
 *  segment.I1  magic is set => every byte of the fixed part is as its creator built it.
 *  segment.I2  one struct im_seg for each (device, inode, way of access) of this process.
 *  segment.I3  no lock is ever taken on the description through which the data are mapped.
 */
#include "segment.h"
#include "crash.h"
#include "life.h"
#include "os.h"
#include "owner.h"
#include "space.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define PAGE_LEN UINT64_C(4096)
#define PATH_CAP 4096u
#define NAME_MAX_LEN 4000u

/* Addresses have 47 bits; leave most of them to others. */
#define LEN_MAX (UINT64_C(1) << 45)
#define LINES_MAX 65536u
#define SHARDS_MAX 4095u /* 12 bits in an extent's word */
#define USER_MAX (UINT64_C(1) << 32)
#define EXTENTS_PER_SHARD 6u

/* An empty file this young may belong to a creator between open() and its lock. */
#define CREATOR_GRACE_SEC 1

/* How often a name may change hands under a creator before it gives up. */
#define CREATE_TRIES 16

int im_why(const struct im_why *why, int err, const char *fmt, ...)
{
	va_list ap;

	if (why && why->buf && why->cap) {
		va_start(ap, fmt);
		vsnprintf(why->buf, why->cap, fmt, ap);
		va_end(ap);
	}
	return err;
}

/* A failed system call; errors that have a name of ours in ipcmap.h get it. */
static int why_errno(const struct im_why *why, const char *path, const char *doing, int err)
{
	char text[64];

	im_why(why, 0, "%s: cannot %s: %s", path, doing, strerror_r(err, text, sizeof(text)));
	switch (err) {
	case EPERM:
		return -EACCES;
	case ELOOP:
	case EISDIR:
	case ENXIO:
	case ENODEV:
		return -EBADF;
	case EFBIG:
	case EDQUOT:
		return -ENOSPC;
	default:
		return -err;
	}
}

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
			return why_errno(why, name, "find the current directory", errno);
		n = snprintf(path, PATH_CAP, "%s/%s", cwd, name);
	}
	if (n < 0 || n >= (int)PATH_CAP)
		return im_why(why, -EINVAL, "%s: the path is too long", name);
	return 0;
}

bool im_seg_is(const struct im_seg *seg, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == seg->dev && st.st_ino == seg->ino;
}

static bool path_is(const char *path, const struct stat *file)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

void im_seg_file(struct im_seg *seg, uint32_t *ret_uid, uint32_t *ret_gid, uint32_t *ret_mode)
{
	struct stat st;
	int fd = im_seg_fd(seg);

	*ret_uid = *ret_gid = *ret_mode = 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	*ret_uid = st.st_uid;
	*ret_gid = st.st_gid;
	*ret_mode = st.st_mode & 07777;
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
		return -EBADF;
	if (!im_seg_is(seg, fd)) {
		close(fd);
		return -EBADF;
	}
	if (im_cas32_acq(word, was, (uint32_t)fd) == was)
		return fd;
	close(fd);
	return im_seg_is(seg, (int)im_load32_acq(word)) ? (int)im_load32_acq(word) : -EBADF;
}

void im_seg_interrupt(struct im_seg *seg)
{
	im_add_rlx(&seg->interrupts, 1);
}

static uint64_t checksum(const struct fmt_header *h)
{
	struct fmt_header copy = *h;

	copy.magic = FMT_MAGIC;
	return XXH3_64bits(&copy, offsetof(struct fmt_header, checksum));
}

/* Offsets from the independent numbers; false when those are out of range. */
static bool lay_out(struct fmt_header *h)
{
	uint64_t extent_len = UINT64_C(1) << (h->extent_shift & 63);

	if (h->extent_shift < FMT_EXTENT_SHIFT_MIN || h->extent_shift > FMT_EXTENT_SHIFT_MAX ||
	    h->unit_shift < 3 || h->unit_shift > FMT_EXTENT_SHIFT_MIN || h->n_owners < 1 ||
	    h->n_owners > FMT_OWNERS_MAX || h->n_lines > LINES_MAX || h->n_shards < 1 ||
	    h->n_shards > SHARDS_MAX || h->user_len > USER_MAX || h->max_len > LEN_MAX)
		return false;
	h->owner_off = FMT_HEADER_LEN;
	h->line_off = h->owner_off + h->n_owners * sizeof(struct fmt_owner);
	h->user_off = h->line_off + h->n_lines * sizeof(struct fmt_line);
	h->table_off = align_up(h->user_off + h->user_len, PAGE_LEN);
	h->extent_off =
		align_up(h->table_off + h->n_extents * sizeof(struct fmt_extent), extent_len);
	return true;
}

static bool fits(const struct fmt_header *h)
{
	uint64_t end = h->extent_off + ((uint64_t)h->n_extents << h->extent_shift);

	return h->n_extents >= 1 && h->n_extents < FMT_NO_EXTENT && end <= h->max_len &&
	       (h->max_len - 1) >> h->unit_shift <= UINT32_MAX;
}

static int check_numbers(const struct fmt_header *h, const char *path, const struct im_why *why)
{
	struct fmt_header again = *h;

	if (!lay_out(&again) || !fits(&again) || again.owner_off != h->owner_off ||
	    again.line_off != h->line_off || again.user_off != h->user_off ||
	    again.table_off != h->table_off || again.extent_off != h->extent_off)
		return im_why(why, -EUCLEAN, "%s: the numbers of its header do not agree",
			      path);
	return 0;
}

static int check_format(const struct fmt_header *h, bool rdonly, const char *path,
			const struct im_why *why)
{
	if (h->magic == __builtin_bswap64(FMT_MAGIC) ||
	    (h->magic == FMT_MAGIC && h->byte_order != FMT_BYTE_ORDER))
		return im_why(why, -EPROTONOSUPPORT,
			      "%s: made on a machine of other byte order", path);
	if (h->magic != FMT_MAGIC)
		return im_why(why, -EBADF, "%s: not an ipcmap segment", path);
	if (h->version != FMT_VERSION)
		return im_why(why, -EPROTONOSUPPORT,
			      "%s: format version %u; this library knows %u", path, h->version,
			      FMT_VERSION);
	if (h->incompat & ~FMT_INCOMPAT_KNOWN)
		return im_why(why, -EPROTONOSUPPORT,
			      "%s: uses features unknown to this library (%llx)", path,
			      (unsigned long long)(h->incompat & ~FMT_INCOMPAT_KNOWN));
	if ((h->compat & ~FMT_COMPAT_KNOWN) && !rdonly)
		return im_why(
			why, -EPROTONOSUPPORT,
			"%s: uses features (%llx) that this library can only read; attach "
			"read-only",
			path, (unsigned long long)(h->compat & ~FMT_COMPAT_KNOWN));
	return 0;
}

static int check_boot(const struct fmt_header *h, const char *path, const struct im_why *why)
{
	static const uint8_t unknown[16];
	uint8_t id[16];

	im_os_boot_id(id);
	if (memcmp(h->boot_id, unknown, 16) != 0 && memcmp(id, unknown, 16) != 0 &&
	    memcmp(h->boot_id, id, 16) != 0)
		return im_why(why, -ESTALE,
			      "%s: from before the last boot: dump and load it, or remove it",
			      path);
	return 0;
}

/* A creator's file that has no magic yet, or never got it. */
static bool is_unborn(const struct fmt_header *h, const struct stat *st)
{
	return st->st_size == 0 || (h->magic == 0 && h->byte_order == FMT_BYTE_ORDER);
}

static bool is_young(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec - st->st_ctim.tv_sec >= 0 &&
	       now.tv_sec - st->st_ctim.tv_sec <= CREATOR_GRACE_SEC;
}

static int why_unborn(int fd, const struct stat *st, const char *path, const struct im_why *why)
{
	if (im_os->owner_locked(fd, IM_CREATE_BYTE) != 0 || (st->st_size == 0 && is_young(st)))
		return im_why(why, -EAGAIN, "%s: still being created", path);
	return im_why(why, -EBADF,
		      "%s: its creator died half way: create it again or remove it", path);
}

/* What is not there reads as zero. */
static int read_header(int fd, const char *path, const struct im_why *why, struct fmt_header *h)
{
	unsigned char *p = (unsigned char *)h;
	size_t done = 0;

	memset(h, 0, sizeof(*h));
	while (done < sizeof(*h)) {
		ssize_t n = pread(fd, p + done, sizeof(*h) - done, (off_t)done);

		if (n < 0 && errno != EINTR)
			return why_errno(why, path, "read it", errno);
		if (n == 0)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

static int check_header(int fd, const struct stat *st, const struct fmt_header *h, bool rdonly,
			const char *path, const struct im_why *why)
{
	int rc;

	if (is_unborn(h, st))
		return why_unborn(fd, st, path, why);
	rc = check_format(h, rdonly, path, why);
	if (rc < 0)
		return rc;
	if (st->st_size < (off_t)sizeof(*h))
		return im_why(why, -EBADF, "%s: truncated inside its header", path);
	if (h->checksum != checksum(h))
		return im_why(why, -EUCLEAN, "%s: its header is damaged (checksum)", path);
	rc = check_numbers(h, path, why);
	if (rc < 0)
		return rc;
	if ((uint64_t)st->st_size < h->max_len)
		return im_why(why, -EBADF, "%s: truncated: %llu bytes of %llu", path,
			      (unsigned long long)st->st_size, (unsigned long long)h->max_len);
	return check_boot(h, path, why);
}

static int open_path(const char *path, bool rdonly, const struct im_why *why, struct stat *st)
{
	int fd = open(path, (rdonly ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0 && errno == ELOOP)
		return im_why(why, -EBADF, "%s: a symbolic link, not a segment", path);
	if (fd < 0)
		return why_errno(why, path, "open it", errno);
	if (fstat(fd, st) < 0) {
		rc = why_errno(why, path, "stat it", errno);
		close(fd);
		return rc;
	}
	if (!S_ISREG(st->st_mode)) {
		close(fd);
		return im_why(why, -EBADF, "%s: not a regular file", path);
	}
	return fd;
}

static int check_user(const struct stat *st, const char *path, const struct im_why *why)
{
	if (st->st_uid == geteuid() || st->st_uid == 0)
		return 0;
	return im_why(why, -EACCES, "%s: belongs to user %u", path, (unsigned)st->st_uid);
}

static struct im_seg *find_attached(const struct stat *st, bool rdonly)
{
	for (unsigned i = 0; i < IM_SEGS; i++) {
		struct im_seg *seg = im_segs[i];

		if (seg && seg->dev == st->st_dev && seg->ino == st->st_ino &&
		    seg->rdonly == rdonly)
			return seg;
	}
	return NULL;
}

static void copy_constants(struct im_seg *seg, const struct fmt_header *h)
{
	seg->h = (struct fmt_header *)(void *)seg->base;
	seg->owners = (struct fmt_owner *)(void *)(seg->base + h->owner_off);
	seg->lines = (struct fmt_line *)(void *)(seg->base + h->line_off);
	seg->user = seg->base + h->user_off;
	seg->table = (struct fmt_extent *)(void *)(seg->base + h->table_off);
	seg->extents = seg->base + h->extent_off;
	seg->len = h->max_len;
	seg->extent_off = h->extent_off;
	seg->hash_seed = h->hash_seed;
	seg->extent_shift = h->extent_shift;
	seg->extent_len = 1u << h->extent_shift;
	seg->unit_shift = h->unit_shift;
	seg->n_extents = h->n_extents;
	seg->n_owners = h->n_owners;
	seg->n_lines = h->n_lines;
	seg->n_shards = h->n_shards;
	/* with the page that the end of the table may have for itself */
	seg->fixed_len = h->table_off + PAGE_LEN;
	seg->user_len = h->user_len;
	memcpy(seg->user_geo, h->user, sizeof(seg->user_geo));
}

/* Takes over @fd on success. */
static int new_seg(int fd, const struct stat *st, bool rdonly, const struct fmt_header *h,
		   const char *path, const struct im_why *why, struct im_seg **ret_seg)
{
	unsigned id = 0;
	struct im_seg *seg;
	void *base;

	while (id < IM_SEGS && im_segs[id])
		id++;
	if (id == IM_SEGS)
		return im_why(why, -ENOMEM, "%s: this process has %d segments attached", path,
			      IM_SEGS);
	seg = calloc(1, sizeof(*seg));
	if (!seg)
		return im_why(why, -ENOMEM, "%s: out of memory", path);
	base = mmap(NULL, h->max_len, PROT_READ | (rdonly ? 0 : PROT_WRITE),
		    MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED) {
		free(seg);
		return why_errno(why, path, "map it", errno);
	}
	madvise(base, h->max_len, MADV_DONTDUMP); /* a dump would keep our locks for its time */
	seg->base = base;
	copy_constants(seg, h);
	seg->fd = fd;
	seg->rdonly = rdonly;
	seg->id = id;
	seg->refs = 1;
	seg->fork_fd = seg->claim_fd = -1;
	seg->dev = st->st_dev;
	seg->ino = st->st_ino;
	memcpy(seg->name, path, strlen(path) + 1);
	im_segs[id] = seg;
	*ret_seg = seg;
	return 0;
}

static void drop_seg(struct im_seg *seg)
{
	im_store_rel(&im_tokens[seg->id], 0);
	im_owner_leave(seg);
	im_segs[seg->id] = NULL;
	munmap(seg->base, seg->len);
	if (seg->fd >= 0 && im_seg_is(seg, seg->fd))
		close(seg->fd);
	free(seg);
}

/* A slot, at once, so that a map without free slots is refused here and not at a write. */
static int join(struct im_seg *seg, const struct im_why *why)
{
	int rc = im_owner_claim(seg);

	if (rc == -EUSERS)
		return im_why(why, rc, "%s: all %u owner slots are in use", seg->name,
			      seg->n_owners);
	if (rc == -EBUSY)
		return im_why(why, rc, "%s: a stopped process holds the space lock", seg->name);
	if (rc == -EUCLEAN)
		return im_why(why, rc, "%s: the extents of a dead owner are damaged",
			      seg->name);
	return rc < 0 ? why_errno(why, seg->name, "claim an owner slot", -rc) : 0;
}

static int attach_new(int fd, const struct stat *st, unsigned flags, const char *path,
		      const struct im_why *why, struct im_seg **ret_seg)
{
	bool rdonly = flags & IM_ATTACH_RDONLY;
	struct fmt_header h;
	struct im_seg *seg;
	int rc = read_header(fd, path, why, &h);

	if (rc == 0)
		rc = check_header(fd, st, &h, rdonly, path, why);
	if (rc == 0)
		rc = new_seg(fd, st, rdonly, &h, path, why, &seg);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	rc = join(seg, why);
	if (rc < 0) {
		drop_seg(seg);
		return rc;
	}
	*ret_seg = seg;
	return 0;
}

/* Under the life lock. */
static int attach(const char *path, unsigned flags, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	struct im_seg *seg;
	struct stat st;
	int fd = open_path(path, flags & IM_ATTACH_RDONLY, why, &st);
	int rc = fd < 0 ? fd : 0;

	if (rc < 0)
		return rc;
	if (!(flags & IM_ATTACH_FOREIGN))
		rc = check_user(&st, path, why);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	seg = find_attached(&st, flags & IM_ATTACH_RDONLY);
	if (!seg)
		return attach_new(fd, &st, flags, path, why, ret_seg);
	close(fd);
	rc = join(seg, why); /* inherited by fork(), it has no slot yet */
	if (rc < 0)
		return rc;
	seg->refs++;
	*ret_seg = seg;
	return 0;
}

static int begin(const char *path, const struct im_why *why)
{
	int rc = im_life_start();

	if (rc == -ENOSYS)
		return im_why(why, rc, "%s: this kernel has no MADV_WIPEONFORK (Linux 4.14)",
			      path);
	if (rc < 0)
		return im_why(why, rc, "%s: out of memory", path);
	rc = im_life_lock();
	if (rc < 0)
		return im_why(why, rc, "%s: called inside another call of this thread", path);
	im_os_timens_refresh();
	return 0;
}

int im_seg_attach(const char *path, unsigned flags, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	int rc = begin(path, why);

	if (rc < 0)
		return rc;
	rc = attach(path, flags, why, ret_seg);
	im_life_unlock();
	return rc;
}

void im_seg_detach(struct im_seg *seg)
{
	if (im_life_lock() < 0)
		return;
	if (--seg->refs == 0)
		drop_seg(seg);
	im_life_unlock();
}

/* The most extents that fit below max_len with their table. */
static bool count_extents(struct fmt_header *h)
{
	uint64_t each = (UINT64_C(1) << (h->extent_shift & 63)) + sizeof(struct fmt_extent);
	uint64_t n;

	h->n_extents = 0;
	if (!lay_out(h) || h->max_len <= h->table_off ||
	    (h->max_len - 1) >> h->unit_shift > UINT32_MAX)
		return false;
	n = min_u64((h->max_len - h->table_off) / each, FMT_NO_EXTENT - 1);
	/* what is rounded up in front of the extents costs at most one of them */
	for (h->n_extents = (uint32_t)n; h->n_extents; h->n_extents--) {
		if (lay_out(h) && fits(h))
			return true;
	}
	return false;
}

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
		.max_len = min_u64(max_u64(how->max, how->limit), most) & ~(PAGE_LEN - 1),
		.created = im_os_wall(),
		.extent_shift = how->extent_shift,
		.unit_shift = how->unit_shift,
		.n_owners = how->n_owners,
		.n_lines = how->n_lines,
		.n_shards = how->n_shards,
		.user_len = how->user_len,
		.ttl_ns = how->ttl_ns,
	};
	memcpy(h->user, how->user_geo, sizeof(h->user));
	im_os_boot_id(h->boot_id);
	if (!count_extents(h))
		return im_why(why, -EINVAL, "%s: these sizes do not make a segment", path);
	if (im_os_random(&h->creation, 8) < 0 || im_os_random(&h->hash_seed, 8) < 0)
		return im_why(why, -EIO, "%s: no random numbers", path);
	h->checksum = checksum(h);
	return 0;
}

/* The name changed hands: look again. */
#define AGAIN 1

/* The right to build @path: a descriptor with the creation byte locked; -EEXIST, -EAGAIN. */
static int win_creation(const char *path, const struct im_why *why, struct stat *st,
			int *ret_fd)
{
	struct fmt_header h;
	int fd, rc;

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		return why_errno(why, path, "create it", errno);
	if (fd >= 0)
		crash("create.opened");
	if (fd < 0) {
		fd = open_path(path, false, why, st);
		if (fd < 0)
			return fd == -ENOENT ? AGAIN : fd;
		rc = check_user(st, path, why);
		if (rc < 0)
			goto out;
	}
	rc = im_os_byte_lock(fd, IM_CREATE_BYTE);
	if (rc < 0 && rc != -EAGAIN) {
		rc = why_errno(why, path, "lock it", -rc);
		goto out;
	}
	if (rc == -EAGAIN)
		im_why(why, rc, "%s: still being created", path);
	if (fstat(fd, st) < 0 || read_header(fd, path, NULL, &h) < 0) {
		rc = why_errno(why, path, "read it", errno);
	} else if (!is_unborn(&h, st)) {
		rc = check_format(&h, true, path, why);
		if (rc != -EBADF)
			rc = im_why(why, -EEXIST, "%s: exists", path);
	} else if (rc == 0 && path_is(path, st)) {
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
	return rc;
}

static int set_access(int fd, const struct im_seg_create *how, const char *path,
		      const struct im_why *why)
{
	mode_t mode = how->mode ? how->mode & 0666 : 0600;

	if (how->gid != UINT32_MAX && fchown(fd, (uid_t)-1, how->gid) < 0)
		return why_errno(why, path, "give it that group", errno);
	if (fchmod(fd, mode) < 0)
		return why_errno(why, path, "set its mode", errno);
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
		return why_errno(why, seg->name, "reserve its memory", -rc);
	if (im_space_extents(seg, how->limit) < EXTENTS_PER_SHARD * (uint64_t)seg->n_shards)
		return im_why(why, -EINVAL, "%s: the limit is too small for %u shards",
			      seg->name, seg->n_shards);
	im_space_init(seg, how->limit);
	crash("create.filled");
	rc = join(seg, why);
	if (rc == 0 && how->build) {
		rc = how->build(seg);
		if (rc < 0)
			im_why(why, rc, "%s: cannot be built", seg->name);
	}
	return rc < 0 ? rc : set_access(lock_fd, how, seg->name, why);
}

/*
 * @lock_fd is the description with the creation byte. The data are mapped through another
 * (segment.I3), opened by name, which must still be this file's.
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
		return why_errno(why, path, "reserve its memory", -rc);
	fd = open_path(path, false, why, &now);
	if (fd < 0)
		return fd;
	if (now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		rc = im_why(why, -EAGAIN, "%s: replaced while being created", path);
	if (rc == 0)
		rc = new_seg(fd, &now, false, &h, path, why, &seg);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	rc = fill(seg, &h, how, lock_fd, why);
	if (rc < 0) {
		drop_seg(seg);
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
		if (rc < 0 && path_is(path, &st))
			unlink(path);
		close(fd);
		return rc;
	}
	return im_why(why, -EAGAIN, "%s: others create and remove it all the time", path);
}

int im_seg_create(const char *path, const struct im_seg_create *how, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	int rc = begin(path, why);

	if (rc < 0)
		return rc;
	rc = create(path, how, why, ret_seg);
	im_life_unlock();
	return rc;
}

/* Ours to remove: a segment of any version, or what a dead creator left. */
static int check_removable(int fd, const struct stat *st, const char *path,
			   const struct im_why *why)
{
	struct fmt_header h;
	int rc = read_header(fd, path, why, &h);

	if (rc < 0)
		return rc;
	if (is_unborn(&h, st)) {
		rc = why_unborn(fd, st, path, why);
		return rc == -EAGAIN ? rc : 0;
	}
	if (h.magic != FMT_MAGIC && h.magic != __builtin_bswap64(FMT_MAGIC))
		return im_why(why, -EBADF, "%s: not an ipcmap segment", path);
	return 0;
}

int im_seg_unlink(const char *path, const struct im_why *why)
{
	struct stat st;
	int fd = open_path(path, true, why, &st);
	int rc;

	if (fd < 0)
		return fd;
	rc = geteuid() == 0 ? 0 : check_user(&st, path, why);
	if (rc == 0)
		rc = check_removable(fd, &st, path, why);
	if (rc == 0 && path_is(path, &st) && unlink(path) < 0)
		rc = why_errno(why, path, "remove it", errno);
	close(fd);
	return rc;
}
