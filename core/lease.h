/* SPDX-License-Identifier: MIT */
/*
 * lease.h - leases: who loads a key, for all processes; under the shard's lock
 *
 * A lease is granted to one process at a time, and voided by whatever changes its key. See
 * lease.c for the argument. Those called with an operation are under its shard's lock.
 */
#ifndef IM_LEASE_H
#define IM_LEASE_H

#include "bell.h"
#include "shard.h"

#define IM_LEASE_MAX_NS (UINT64_C(3600) * 1000000000)

/* A lease as it was granted, or as it was met. */
struct im_lease {
	uint32_t at; /* its place in the shard's table */
	uint32_t owner;
	uint32_t grant;
};

/* What im_lease_take() returns besides 0 and the error of a load that failed lately. */
#define IM_LEASE_HELD 1 /* by somebody who lives and is in time */
#define IM_LEASE_FULL 2 /* so many keys of this shard are being loaded */

/*
 * Grant the lease of op's key to this process for @ns; @dead: an owner that was proven dead
 * outside the lock, or 0. @ret: the lease granted, or the one that is waited for.
 */
int im_lease_take(struct im_op *op, uint64_t ns, uint32_t dead, struct im_lease *ret);

/* Is it still granted, and no change of its key since? */
bool im_lease_holds(struct im_op *op, const struct im_lease *l);

/* The load took so many ns and did not fail; the put that comes next ends the lease. */
void im_lease_took(struct im_op *op, const struct im_lease *l, uint64_t ns);

/*
 * End the lease, without a value. @err not 0: the load failed, and the next one may begin after
 * @backoff ns, twice that for each failure before, @most at most. False: it held no more.
 */
bool im_lease_end(struct im_op *op, const struct im_lease *l, int err, uint64_t backoff,
		  uint64_t most);

/*
 * The key of @op is about to change: nothing that was loaded before is stored after that.
 * Before the redo list of the change is armed; one load when there are no leases.
 */
void im_lease_void_slow(struct im_op *op);
im_inline void im_lease_void(struct im_op *op)
{
	if (unlikely(im_load32_rlx(&op->s->leases)))
		im_lease_void_slow(op);
}

/* All leases of a shard. 0, or as im_op_enter(). */
int im_lease_void_all(struct ipcmap *m, uint32_t shard);

/* Without the lock: those who wait for a lease that ended look again. */
im_inline void im_lease_ring(struct im_op *op)
{
	if (unlikely(op->ring)) {
		im_bell_ring(op->ring);
		op->ring = NULL;
	}
}

/* ---- without the lock ---- */

/* Its words in the segment. */
im_inline struct fmt_lease *im_lease_at(const struct ipcmap *m, uint32_t shard, uint32_t at)
{
	return &m->leases[(size_t)shard * FMT_LEASES + at % FMT_LEASES];
}

/* Does it look granted as it was met, and in time? */
bool im_lease_stands(const struct ipcmap *m, uint32_t shard, const struct im_lease *l);

/* The owner of a lease of this shard that is proven dead; 0: none. Some system calls. */
uint32_t im_lease_dead(const struct ipcmap *m, uint32_t shard);

/* Of all shards, or as they stand in one. */
struct im_lease_counts {
	uint64_t grants; /* ever, as far as 32 bits of each place tell */
	uint32_t held;
	uint32_t waited; /* those of them that others wait for, or did */
	uint32_t failed; /* places of keys whose last load failed ... */
	uint32_t resting; /* ... and that nobody may load yet */
};

/* Add what the table of a shard says, each word as it stands; resting is not counted. */
void im_lease_look(const struct ipcmap *m, uint32_t shard, struct im_lease_counts *c);

/* Add those of a shard that are held by the living, in time. Some system calls. */
void im_lease_count(const struct ipcmap *m, uint32_t shard, struct im_lease_counts *c);

/* Leases that look granted to this owner, as in a lock word. */
uint32_t im_lease_of_owner(const struct ipcmap *m, uint32_t owner);

/* ns that the last load of a key took, as far as it is remembered; else 0. */
uint64_t im_lease_last_took(const struct ipcmap *m, uint32_t shard, uint64_t hash);

/* Random numbers, replaced by tests. */
extern uint64_t (*im_lease_random)(void);

#endif
