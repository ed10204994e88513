/* SPDX-License-Identifier: MIT */
/*
 * window.c - extents of a chain seen side by side
 *
 * One address range is reserved, then each run of neighbouring extents is mapped into its
 * place. The pages are the segment's own, so nothing is copied and no memory is used but page
 * tables; a forked child inherits the mapping. Extents shorter than a page cannot be mapped
 * alone: the caller then copies.
 *
 * The links are not trusted: each is loaded once and bounded.
 */
#include "window.h"
#include "os.h"

#include "os.h"

#include <sys/mman.h>

static uint32_t next_of(const struct im_seg *seg, uint32_t ext)
{
	return im_load32_rlx(&seg->table[ext].next);
}

/* How many extents from @ext on, at most @n, lie one after the other; *@ret_next: the next. */
static uint32_t run_of(const struct im_seg *seg, uint32_t ext, uint32_t n, uint32_t *ret_next)
{
	uint32_t len = 1;

	for (;; len++) {
		*ret_next = next_of(seg, ext + len - 1);
		if (len == n || *ret_next != ext + len || !im_seg_has_extent(seg, ext + len))
			return len;
	}
}

static int map_runs(struct im_seg *seg, int fd, uint32_t ext, uint32_t n, unsigned char *to)
{
	while (n) {
		uint32_t next, run;
		size_t len;

		if (!im_seg_has_extent(seg, ext))
			return -EUCLEAN;
		run = run_of(seg, ext, n, &next);
		len = (size_t)run << seg->extent_shift;
		if (mmap(to, len, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd,
			 (off_t)(seg->extent_off + ((uint64_t)ext << seg->extent_shift))) ==
		    MAP_FAILED)
			return im_os_map_errno();
		to += len;
		n -= run;
		ext = next;
	}
	return 0;
}

int im_window_open(struct im_seg *seg, uint32_t first, uint32_t n, struct im_window *ret)
{
	size_t len = (size_t)n << seg->extent_shift;
	uint32_t next;
	void *at;
	int fd, r;

	if (!n || n > seg->n_extents || !im_seg_has_extent(seg, first))
		return -EUCLEAN;
	if (run_of(seg, first, n, &next) == n) {
		ret->at = im_seg_extent(seg, first);
		ret->mapped = 0;
		return 0;
	}
	if (seg->extent_len < im_os->page_len())
		return -EINVAL;
	fd = im_seg_fd(seg);
	if (fd < 0)
		return fd;
	at = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return im_os_map_errno();
	r = map_runs(seg, fd, first, n, at);
	if (r) {
		munmap(at, len);
		return r;
	}
	madvise(at, len, MADV_DONTDUMP);
	ret->at = at;
	ret->mapped = len;
	return 0;
}

void im_window_close(struct im_window *w)
{
	if (w->mapped)
		munmap((void *)(uintptr_t)w->at, w->mapped);
	w->mapped = 0;
}
