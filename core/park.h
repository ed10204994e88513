/* SPDX-License-Identifier: MIT */
/*
 * park.h - memory of a shard that nothing leads to any more, but that somebody still reads
 *
 * All under the shard's lock. See park.c.
 */
#ifndef IM_PARK_H
#define IM_PARK_H

#include "shard.h"

/* Extents linked by next; a single one is first == last, n 1. */
struct im_parked {
	uint32_t first;
	uint32_t last;
	uint32_t n;
	uint32_t before; /* in the list; FMT_NO_EXTENT: it is the first one */
};

/* Add to the redo list begun: the extents, which nobody lists any more, are parked. 5 stores. */
void im_park_add(struct im_op *op, uint32_t first, uint32_t last, uint32_t n);

/* Add to the redo list begun: they leave the list, their word stays. 2 stores. */
void im_park_remove(struct im_op *op, const struct im_parked *p);

/* The first in the list that nobody holds; false: there is none. */
bool im_park_find(struct im_op *op, struct im_parked *ret);

#endif
