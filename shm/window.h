/* SPDX-License-Identifier: MIT */
/*
 * window.h - extents of a chain seen side by side
 *
 * Nothing ever needs to be contiguous in the segment; who wants to read a chain in one piece
 * maps its extents again, in order, for reading. A chain that happens to be contiguous is
 * read where it is.
 */
#ifndef IM_WINDOW_H
#define IM_WINDOW_H

#include "segment.h"

struct im_window {
	const unsigned char *at;
	size_t mapped; /* bytes to unmap; 0: it lies in the segment's own mapping */
};

/*
 * The @n extents linked by next from @first, which the caller keeps from being freed: 0;
 * -EUCLEAN the links lead nowhere; -ENOMEM and other errors of mmap(2); -EBADF.
 */
int im_window_open(struct im_seg *seg, uint32_t first, uint32_t n, struct im_window *ret);
void im_window_close(struct im_window *w);

#endif
