/* SPDX-License-Identifier: MIT */
/*
 * pinned.h - values that somebody reads where they lie: the pins of a map's extents
 *
 * See pinned.c for the argument.
 */
#ifndef IM_PINNED_H
#define IM_PINNED_H

#include "map.h"

/* The part of the limit that extents under pins may have. */
#define IM_PINNED_SHARE 8u

/*
 * Announce that this process, which owns a slot, holds @n extents from @what on; the caller then
 * looks whether the value can still be found, and unpins if not. 0; -EBUSY: no pin is free, or
 * with it more than the share would be held.
 */
int im_pinned_take(const struct ipcmap *m, const struct im_held *what, uint32_t n, uint32_t hint,
		   uint32_t *ret_pin);

/*
 * Under the shard's lock: the last name of what lies in @ext, whose generation is @gen, has gone.
 * Does anybody hold it? @hint: NULL, or which pin it was the last time.
 */
bool im_pinned_look(const struct ipcmap *m, uint32_t ext, uint64_t gen, uint32_t *hint);

/* The extents that the living hold, each once, with *@ret_pins pins. Cost: each owner is asked for. */
uint32_t im_pinned_extents(const struct ipcmap *m, uint32_t *ret_pins);

/* Pins that this owner has, as they stand. */
uint32_t im_pinned_by(const struct ipcmap *m, uint32_t owner);

#endif
