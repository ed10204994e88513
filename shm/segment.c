/* SPDX-License-Identifier: MIT */
/*
 * segment.c - attach and detach: a segment's mapping and struct im_seg in this process
 *
 * The file is opened by file.c and judged by header.c before anything is mapped; what is
 * mapped is described by the copy of the header that was judged, never by the segment's own.
 *
 * Invariants
 *  segment.I1  one struct im_seg for each (device, inode, way of access) of this process.
 *  segment.I2  no lock is ever taken on the description through which the data are mapped.
 */
#include "segment.h"
#include "file.h"
#include "header.h"
#include "life.h"
#include "os.h"
#include "owner.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* How often a name may change hands under an attach. */
#define ATTACH_TRIES 4

void im_seg_interrupt(struct im_seg *seg)
{
	im_add_rlx(&seg->interrupts, 1);
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

void im_seg_describe(struct im_seg *seg, const struct fmt_header *h)
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
	seg->fixed_len = h->table_off + IM_PAGE_LEN;
	seg->user_len = h->user_len;
	memcpy(seg->user_geo, h->user, sizeof(seg->user_geo));
}

/* At a multiple of a large page, so that large pages of the file can be mapped as such. */
static void *map_file(int fd, size_t len, int prot)
{
	unsigned char *room, *at;
	void *p;

	room = mmap(NULL, len + IM_OS_LARGE_PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return MAP_FAILED;
	at = (unsigned char *)align_up((uintptr_t)room, IM_OS_LARGE_PAGE);
	p = mmap(at, len, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED) {
		munmap(room, len + IM_OS_LARGE_PAGE);
		return p;
	}
	if (at > room)
		munmap(room, (size_t)(at - room));
	at += align_up(len, im_os->page_len());
	munmap(at, (size_t)(room + len + IM_OS_LARGE_PAGE - at));
	return p;
}

int im_seg_map(int fd, const struct stat *st, bool rdonly, const struct fmt_header *h,
	       const char *path, const struct im_why *why, struct im_seg **ret_seg)
{
	unsigned id = 0;
	struct im_seg *seg;
	void *base;
	int rc;

	while (id < IM_SEGS && im_segs[id])
		id++;
	if (id == IM_SEGS)
		return im_why(why, -ENOMEM, "%s: this process has %d segments attached", path,
			      IM_SEGS);
	seg = calloc(1, sizeof(*seg));
	if (!seg)
		return im_why(why, -ENOMEM, "%s: out of memory", path);
	base = map_file(fd, h->max_len, PROT_READ | (rdonly ? 0 : PROT_WRITE));
	if (base == MAP_FAILED) {
		rc = im_os_map_errno();
		free(seg);
		return im_why_errno(why, path, "map it", -rc);
	}
	madvise(base, h->max_len, MADV_DONTDUMP); /* a dump would keep our locks for its time */
	seg->base = base;
	im_seg_describe(seg, h);
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

void im_seg_drop(struct im_seg *seg)
{
	im_store_rel(&im_tokens[seg->id], 0);
	im_owner_leave(seg);
	im_segs[seg->id] = NULL;
	munmap(seg->base, seg->len);
	if (seg->fd >= 0 && im_seg_is(seg, seg->fd))
		close(seg->fd);
	free(seg);
}

int im_seg_join(struct im_seg *seg, const struct im_why *why)
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
	if (rc == -ESTALE)
		return im_why(why, rc,
			      "%s: a repaired segment took its place; attach it read-only",
			      seg->name);
	return rc < 0 ? im_why_errno(why, seg->name, "claim an owner slot", -rc) : 0;
}

static int attach_new(int fd, const struct stat *st, unsigned flags, const char *path,
		      const struct im_why *why, struct im_seg **ret_seg)
{
	bool rdonly = flags & IM_ATTACH_RDONLY;
	struct fmt_header h;
	struct im_seg *seg;
	int rc = im_header_read(fd, path, why, &h);

	if (rc == 0)
		rc = im_header_check(fd, st, &h, rdonly, path, why);
	if (rc == 0)
		rc = im_seg_map(fd, st, rdonly, &h, path, why, &seg);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	rc = im_seg_join(seg, why);
	if (rc < 0) {
		im_seg_drop(seg);
		return rc;
	}
	*ret_seg = seg;
	return 0;
}

/*
 * A name that changed hands between its open() and the claim, by repair, leads to a segment that
 * nobody will find any more.
 */
static int attach_new_at(int fd, const struct stat *st, unsigned flags, const char *path,
			 const struct im_why *why, struct im_seg **ret_seg)
{
	int rc = attach_new(fd, st, flags, path, why, ret_seg);

	if ((rc != 0 && rc != -ESTALE) || im_file_is_at(path, st))
		return rc;
	if (rc == 0)
		im_seg_drop(*ret_seg);
	return im_why(why, -EAGAIN, "%s: replaced while being attached", path);
}

/* Under the life lock. */
static int attach_once(const char *path, unsigned flags, const struct im_why *why,
		       struct im_seg **ret_seg)
{
	struct im_seg *seg;
	struct stat st;
	int fd = im_file_open(path, flags & IM_ATTACH_RDONLY, why, &st);
	int rc = fd < 0 ? fd : 0;

	if (rc < 0)
		return rc;
	if (!(flags & IM_ATTACH_FOREIGN))
		rc = im_file_check_user(&st, path, why);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	seg = find_attached(&st, flags & IM_ATTACH_RDONLY);
	if (!seg)
		return attach_new_at(fd, &st, flags, path, why, ret_seg);
	close(fd);
	rc = im_seg_join(seg, why); /* inherited by fork(), it has no slot yet */
	if (rc < 0)
		return rc;
	seg->refs++;
	*ret_seg = seg;
	return 0;
}

static int attach(const char *path, unsigned flags, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	int rc = -EAGAIN;

	for (int i = 0; i < ATTACH_TRIES && rc == -EAGAIN; i++)
		rc = attach_once(path, flags, why, ret_seg);
	return rc;
}

int im_seg_begin(const char *path, const struct im_why *why)
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
	int rc = im_seg_begin(path, why);

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
		im_seg_drop(seg);
	im_life_unlock();
}
