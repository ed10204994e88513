/* SPDX-License-Identifier: MIT */
/*
 * shard.h - an operation that writes: who may, what it holds, how it ends
 *
 * A writing call makes one struct im_op, and
 *     im_op_enter();  changes by redo lists;  im_op_leave();
 * as often as it needs memory in between, which is fetched without the lock.
 */
#ifndef IM_SHARD_H
#define IM_SHARD_H

#include "map.h"

/* Not an error code of the interface: the shard needs an extent; leave, im_op_feed(), retry. */
#define IM_NEED (-4096)
/* Likewise: a large value must be looked at outside the lock first. */
#define IM_LOOK (-4097)
/* Likewise: extents are on their way to being free, and the space lock is taken; leave,
 * im_space_await(), retry. */
#define IM_SETTLE (-4098)

/* Victims cleaned for one extent: 1 / (least gain of a victim), twice. */
#define IM_OP_VICTIMS_MAX 256u

/* Bells of one operation; when there are more, all are rung. */
#define IM_OP_BELLS 24u

struct im_op {
	struct ipcmap *m;
	struct im_seg *seg;
	struct fmt_shard *s;
	uint32_t *dir;
	uint32_t shard;
	uint64_t hash;
	const void *key;
	uint32_t key_len;
	uint64_t now; /* one reading of the coarse clock per stay under the lock; 0: not yet */
	struct im_wait wait;
	uint32_t in_hand; /* extent PRIVATE to this process, or FMT_NO_EXTENT */
	uint64_t in_hand_word;
	uint64_t grow; /* bytes by which the live data would grow when memory was asked for */
	unsigned victims; /* cleaned by this call because memory was short */
	uint32_t fetched; /* extents that came in hand in this call */
	uint32_t listed;  /* stores in the redo list begun */
	bool want_ahead; /* on leaving: the shard should get an extent ahead */
	uint32_t *ring; /* bell of the lease that this write voided, or NULL; lease.h */
	/* events of watched shards: event.h */
	bool told;	 /* bells are to be rung; the next ones mean nothing before that */
	bool lapped;	 /* a ring went round: is it watched still? */
	uint8_t n_bells; /* IM_OP_BELLS + 1: all */
	uint32_t bells[IM_OP_BELLS];
	uint32_t lap_shard;
};

im_inline void im_op_init(struct ipcmap *m, struct im_op *op, uint64_t deadline_ns)
{
	op->m = m;
	op->seg = m->seg;
	op->now = 0;
	im_wait_start(m->seg, deadline_ns ? deadline_ns : m->deadline_ns, &op->wait);
	op->in_hand = FMT_NO_EXTENT;
	op->grow = 0;
	op->victims = 0;
	op->fetched = 0;
	op->want_ahead = false;
	op->ring = NULL;
	op->told = false;
}

im_inline void im_op_shard(struct im_op *op, uint32_t shard)
{
	op->shard = shard;
	op->s = &op->m->shards[shard];
	op->dir = im_map_dir(op->m, shard);
}

im_inline void im_op_key(struct im_op *op, const void *key, uint32_t key_len, uint64_t hash)
{
	op->key = key;
	op->key_len = key_len;
	op->hash = hash;
	im_op_shard(op, im_map_shard(op->m, hash));
}

/*
 * Take the shard's lock and finish what a dead holder left. 0, or -EBUSY, -EINTR, -EUCLEAN
 * with the lock not held.
 */
int im_op_enter(struct im_op *op);
int im_op_try_enter(struct im_op *op); /* without waiting */
void im_op_leave(struct im_op *op);

/* Give back what is in hand, and fetch ahead when the shard wants it. Without the lock. */
void im_op_tidy(struct im_op *op);
im_inline void im_op_done(struct im_op *op)
{
	if (unlikely(op->want_ahead || op->told || op->in_hand != FMT_NO_EXTENT || op->wait.slept))
		im_op_tidy(op);
}

uint64_t im_op_now(struct im_op *op);

void im_op_pause(void); /* 1 ms */

/*
 * After IM_NEED, without the lock: get an extent in hand, or make room in the shard.
 * 0: enter again; -EDQUOT, -ENOSPC: there is none; -EBUSY at the deadline; -EINTR.
 */
int im_op_feed(struct im_op *op);

#endif
