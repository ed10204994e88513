/* SPDX-License-Identifier: MIT */
/*
 * ref.h - references: bytes from the segment's base, in units of 1 << unit_shift; 0 is none
 *
 * im_at() is the one step from a reference to a pointer, and it is checked: another process
 * may be broken or hostile. It accepts only places inside the extents.
 */
#ifndef IM_REF_H
#define IM_REF_H

#include "segment.h"

/* NULL unless [ref, ref+len) lies inside one extent; *ret_ext is its number. */
im_inline unsigned char *im_at(const struct im_seg *seg, uint32_t ref, uint32_t len,
			       uint32_t *ret_ext)
{
	uint64_t off = ((uint64_t)ref << seg->unit_shift) - seg->extent_off; /* wraps: large */
	uint64_t ext = off >> seg->extent_shift;

	if (unlikely(ext >= seg->n_extents ||
		     (off & (seg->extent_len - 1)) + len > seg->extent_len))
		return NULL;
	*ret_ext = (uint32_t)ext;
	return seg->extents + off;
}

im_inline uint32_t im_ref(const struct im_seg *seg, uint32_t ext, uint32_t pos)
{
	return (uint32_t)((seg->extent_off + ((uint64_t)ext << seg->extent_shift) + pos) >>
			  seg->unit_shift);
}

im_inline uint32_t im_ref_of(const struct im_seg *seg, const void *p)
{
	return (uint32_t)((uint64_t)((const unsigned char *)p - seg->base) >> seg->unit_shift);
}

#endif
