/* SPDX-License-Identifier: MIT */
/*
 * header.c - the header of a segment file: its numbers, reading it, the reasons to refuse it
 *
 * Attach trusts nothing: the header is read with pread() before anything is mapped, copied
 * once, checked, and only the copy is used: geometry is recomputed from the few independent
 * numbers and must agree in full.
 *
 * A file without magic that is empty or bears a creator's mark (byte order and version) is
 * one being created, or left by a creator that died: a locked creation byte says the former,
 * a free one the latter (but an empty file younger than a second: it has not locked yet).
 *
 * Unless extents were used. A creator uses none, begins by emptying the file, and nobody else
 * writes before the magic; so the numbers of the extent table are 0 until the segment is whole,
 * and the count of those ever used never falls. Without magic and with such numbers it is a
 * segment that was damaged: its data are there, and nobody may build over it. (One that was
 * never used looks half-made, and loses nothing.)
 */
#include "header.h"
#include "os.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Addresses have 47 bits; leave most of them to others. */
#define LEN_MAX (UINT64_C(1) << 45)
#define LINES_MAX 65536u
#define SHARDS_MAX 4095u /* 12 bits in an extent's word */
#define USER_MAX (UINT64_C(1) << 32)

/* An empty file this young may belong to a creator between open() and its lock. */
#define CREATOR_GRACE_SEC 1

uint64_t im_header_checksum(const struct fmt_header *h)
{
	const uint64_t magic = FMT_MAGIC;
	unsigned char copy[offsetof(struct fmt_header, checksum)];

	memcpy(copy, h, sizeof(copy));
	memcpy(copy + offsetof(struct fmt_header, magic), &magic, sizeof(magic));
	return XXH3_64bits(copy, sizeof(copy));
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
	h->table_off = align_up(h->user_off + h->user_len, IM_PAGE_LEN);
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

bool im_header_count_extents(struct fmt_header *h)
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

int im_header_check_numbers(const struct fmt_header *h, const char *path,
			    const struct im_why *why)
{
	struct fmt_header again = *h;

	if (!lay_out(&again) || !fits(&again) || again.owner_off != h->owner_off ||
	    again.line_off != h->line_off || again.user_off != h->user_off ||
	    again.table_off != h->table_off || again.extent_off != h->extent_off)
		return im_why(why, -EUCLEAN, "%s: the numbers of its header do not agree",
			      path);
	return 0;
}

int im_header_check_format(const struct fmt_header *h, bool rdonly, const char *path,
			   const struct im_why *why)
{
	if (h->magic == __builtin_bswap64(FMT_MAGIC) ||
	    (h->magic == FMT_MAGIC && h->byte_order != FMT_BYTE_ORDER))
		return im_why(why, -EPROTONOSUPPORT,
			      "%s: made on a machine of other byte order", path);
	if (im_header_is_wiped(h))
		return im_why(why, -EBADF, "%s: its header is damaged (no magic number): repair it",
			      path);
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

int im_header_check_boot(const struct fmt_header *h, const char *path, const struct im_why *why)
{
	static const uint8_t unknown[16];
	uint8_t id[16];

	im_os_boot_id(id);
	if (memcmp(h->boot_id, unknown, 16) != 0 && memcmp(id, unknown, 16) != 0 &&
	    memcmp(h->boot_id, id, 16) != 0)
		return im_why(why, -ESTALE,
			      "%s: from before the last boot, when clocks began anew: remove it",
			      path);
	return 0;
}

static bool was_used(const struct fmt_space *s)
{
	return s->fresh || s->used || s->n_queued || s->takeovers || s->seq;
}

bool im_header_is_wiped(const struct fmt_header *h)
{
	return h->magic == 0 && h->byte_order == FMT_BYTE_ORDER && was_used(&h->space);
}

bool im_header_is_unborn(const struct fmt_header *h, const struct stat *st)
{
	return st->st_size == 0 || (h->magic == 0 && h->byte_order == FMT_BYTE_ORDER &&
				    !was_used(&h->space));
}

static bool is_young(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec - st->st_ctim.tv_sec >= 0 &&
	       now.tv_sec - st->st_ctim.tv_sec <= CREATOR_GRACE_SEC;
}

int im_header_why_unborn(int fd, const struct stat *st, const char *path,
			 const struct im_why *why)
{
	if (im_os->owner_locked(fd, IM_CREATE_BYTE) != 0 || (st->st_size == 0 && is_young(st)))
		return im_why(why, -EAGAIN, "%s: still being created", path);
	return im_why(why, -EBADF,
		      "%s: its creator died half way: create it again or remove it", path);
}

int im_header_read(int fd, const char *path, const struct im_why *why, struct fmt_header *h)
{
	unsigned char *p = (unsigned char *)h;
	size_t done = 0;

	memset(h, 0, sizeof(*h));
	while (done < sizeof(*h)) {
		ssize_t n = pread(fd, p + done, sizeof(*h) - done, (off_t)done);

		if (n < 0 && errno != EINTR)
			return im_why_errno(why, path, "read it", errno);
		if (n == 0)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

static int check_once(int fd, const struct stat *st, const struct fmt_header *h, bool rdonly,
		      const char *path, const struct im_why *why)
{
	int rc;

	if (im_header_is_unborn(h, st))
		return im_header_why_unborn(fd, st, path, why);
	rc = im_header_check_format(h, rdonly, path, why);
	if (rc < 0)
		return rc;
	if (st->st_size < (off_t)sizeof(*h))
		return im_why(why, -EBADF, "%s: truncated inside its header", path);
	if (h->checksum != im_header_checksum(h))
		return im_why(why, -EUCLEAN, "%s: its header is damaged (checksum)", path);
	rc = im_header_check_numbers(h, path, why);
	if (rc < 0)
		return rc;
	if ((uint64_t)st->st_size < h->max_len)
		return im_why(why, -EBADF, "%s: truncated: %llu bytes of %llu", path,
			      (unsigned long long)st->st_size, (unsigned long long)h->max_len);
	return im_header_check_boot(h, path, why);
}

/* @st, @h and the creator's lock were looked at one after the other: it may have ended between. */
int im_header_check(int fd, const struct stat *st, const struct fmt_header *h, bool rdonly,
		    const char *path, const struct im_why *why)
{
	const struct im_why quiet = {NULL, 0};
	struct fmt_header again;
	struct stat now;
	int rc = check_once(fd, st, h, rdonly, path, why);

	if (rc != -EBADF)
		return rc;
	if (im_os->owner_locked(fd, IM_CREATE_BYTE) == 0 &&
	    (fstat(fd, &now) < 0 || im_header_read(fd, path, &quiet, &again) < 0 ||
	     check_once(fd, &now, &again, rdonly, path, &quiet) != 0))
		return rc;
	return im_why(why, -EAGAIN, "%s: still being created", path);
}
