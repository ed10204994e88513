/* SPDX-License-Identifier: MIT */
/*
 * thin.h - fewer extents of overflow buckets
 */
#ifndef IM_THIN_H
#define IM_THIN_H

#include "shard.h"

enum im_thin_phase {
	IM_THIN_START,
	IM_THIN_ASIDE,
	IM_THIN_MOVE,
	IM_THIN_FREE,
	IM_THIN_BACK,
};

/* How far it is in one shard; begins as zeros. A hint: each step looks for itself. */
struct im_thin {
	enum im_thin_phase phase;
	uint32_t old;  /* this extent of the list and all behind it are to go */
	uint32_t seen; /* the last extent that was looked at and stays */
	uint64_t at;   /* bucket */
	unsigned rounds;
	bool poor; /* there is no extent to be had: do what can be done without */
};

/* A bounded step, under the lock. 1: more to do; 0: done; IM_NEED: it wants an extent ahead. */
int im_thin_step(struct im_op *op, struct im_thin *t);

/* Extents that it would free now. */
uint32_t im_thin_spare(const struct im_op *op);

#endif
