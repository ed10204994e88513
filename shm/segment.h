/* SPDX-License-Identifier: MIT */
/*
 * segment.h - one attached segment file of this process
 *
 * There is one struct im_seg per segment (device and inode) and way of access, shared by
 * several opens and counted. Its number id (0 .. IM_SEGS-1) indexes thread-local caches.
 * segment.c attaches and detaches, create.c creates, file.c does what concerns the file.
 */
#ifndef IM_SEGMENT_H
#define IM_SEGMENT_H

#include "atomic.h"
#include "layout.h"
#include "why.h"

#include <sys/types.h>

struct stat;

#define IM_SEGS 32
#define IM_STRAYS 8

struct im_seg {
	unsigned char *base; /* the whole file, mapped */
	struct fmt_header *h;
	struct fmt_extent *table;
	struct fmt_owner *owners;
	struct fmt_line *lines;
	unsigned char *user;
	unsigned char *extents;
	/* copies of constants, validated at attach; the segment's own are not used again */
	uint64_t len;
	uint64_t extent_off;
	uint64_t hash_seed;
	uint32_t extent_len;
	uint32_t extent_shift;
	uint32_t unit_shift;
	uint32_t n_extents;
	uint32_t n_owners;
	uint32_t n_lines;
	uint32_t n_shards;
	uint64_t fixed_len; /* bytes below extent_off that count against any limit, without table */
	uint64_t user_len;
	uint64_t user_geo[4];
	/* this process */
	int fd; /* O_CLOEXEC; checked against dev and ino before each use */
	bool rdonly;
	unsigned id;
	unsigned refs;
	uint32_t self;      /* slot | generation << 10; 0: not claimed; see im_owner_ready() */
	int fork_fd;        /* in a forked child: opened in the atfork handler; else -1 */
	int claim_fd;       /* the description a byte is being locked on; else -1 */
	uint32_t stray[IM_STRAYS]; /* 1 + extents still to be freed; im_space_drop() */
	void *lock_page;    /* the mapping that holds the owner byte's lock */
	uint64_t interrupts; /* counted by im_seg_interrupt() */
	dev_t dev;
	ino_t ino;
	char name[4096]; /* path of the file */
	char why[160];   /* why it cannot be written, "" when it can */
};

struct im_seg_create {
	uint64_t limit;
	uint64_t max;
	unsigned mode;
	uint32_t gid; /* UINT32_MAX: leave */
	uint32_t extent_shift;
	uint32_t unit_shift;
	uint32_t n_shards;
	uint32_t n_owners;
	uint32_t n_lines;
	uint64_t user_len;
	uint64_t user_geo[4];
	uint64_t ttl_ns;
	uint32_t pack_min; /* as in the header */
	const uint64_t *hash_seed; /* NULL: a random one */
	bool large_pages; /* with reserve */
	bool reserve; /* back the whole limit with memory now */
	/* fill the user area of the mapped segment; called before the magic is stored. It takes no
	 * extent: by that a half-made file is told from a damaged one (header.c) */
	int (*build)(struct im_seg *seg);
};

#define IM_ATTACH_RDONLY 1u
#define IM_ATTACH_FOREIGN 2u

/*
 * Attach the file at @path. Validates every number of the header; claims an owner slot
 * unless read-only. Errors: -ENOENT, -EBADF not ours or truncated, -EPROTONOSUPPORT version,
 * features, byte order, -EAGAIN still being created, -ESTALE from before the last boot,
 * -EUCLEAN its numbers or their checksum are wrong, -EACCES, -EUSERS, -ENOMEM, -ENOSYS; a
 * creator that died half way is -EBADF for an attach.
 */
int im_seg_attach(const char *path, unsigned flags, const struct im_why *why,
		  struct im_seg **ret_seg);

/*
 * Create the file, or complete it when its creator died half way: -EEXIST when a whole one
 * is there, -EAGAIN when another process is creating it. The one that holds the creation
 * byte's lock and sees no magic builds. Then attached as by im_seg_attach().
 */
int im_seg_create(const char *path, const struct im_seg_create *how, const struct im_why *why,
		  struct im_seg **ret_seg);

void im_seg_detach(struct im_seg *seg);

/* Ends waits in this process; async-signal-safe. */
void im_seg_interrupt(struct im_seg *seg);

im_inline bool im_seg_has_extent(const struct im_seg *seg, uint32_t ext)
{
	return ext < seg->n_extents;
}

im_inline unsigned char *im_seg_extent(const struct im_seg *seg, uint32_t ext)
{
	return seg->extents + ((uint64_t)ext << seg->extent_shift);
}

/* ---- its file: file.c ---- */

/* "name", "/name" -> /dev/shm/name; other paths as they are. @path has 4096 bytes. */
int im_seg_path(const char *name, char *path, const struct im_why *why);

/* Remove the name if the file is a segment (or one never completed): 0 or a negative errno. */
int im_seg_unlink(const char *path, const struct im_why *why);

/* The same file as at attach? Descriptor numbers are reused behind our back. */
bool im_seg_is(const struct im_seg *seg, int fd);

/* Does seg->fd still name this file? If not, reopen it by name; -EBADF when impossible. */
int im_seg_fd(struct im_seg *seg);

/* Owner, group and permission bits of the file; 0 all when it cannot be asked. */
void im_seg_file(struct im_seg *seg, uint32_t *ret_uid, uint32_t *ret_gid, uint32_t *ret_mode);

/* ---- segment.c for create.c ---- */

/* Take the life lock for an attach or a creation; im_life_unlock() ends it. */
int im_seg_begin(const char *path, const struct im_why *why);

/*
 * Under the life lock: map the file of which @h is the header, already judged. Takes over
 * @fd on success.
 */
int im_seg_map(int fd, const struct stat *st, bool rdonly, const struct fmt_header *h,
	       const char *path, const struct im_why *why, struct im_seg **ret_seg);
void im_seg_drop(struct im_seg *seg);

/* Where the parts lie in seg->base, and the constants, as judged in @h. */
struct fmt_header;
void im_seg_describe(struct im_seg *seg, const struct fmt_header *h);

/* A slot, at once, so that a map without free slots is refused here and not at a write. */
int im_seg_join(struct im_seg *seg, const struct im_why *why);

#endif
