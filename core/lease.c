/* SPDX-License-Identifier: MIT */
/*
 * lease.c - leases: who loads a key, for all processes
 *
 * A shard has a table of sixteen. A lease is granted as long as owner is not 0, and that one
 * word is stored last when it is granted and first when it ends; all words are stored under
 * the shard's lock. So a kill between any two stores leaves the lease granted or not, and
 * never a lease of another meaning: nothing is recovered, and the redo list has no part in it.
 *
 * Whoever changes a key (put, add, del; not touch, which leaves the value) looks whether its
 * hash has a lease and voids it before the list of the change is armed. A kill in between costs
 * one load more; the other order could let an old value be stored after the change. A delete
 * voids the lease of a key that is not there as well, for that is the key being loaded. Clear
 * raises the floor, and a lease of an older version does not hold. A fill is a put that looks,
 * under the lock, whether its lease still holds, and voids it as any other put does: the value
 * is stored and the lease over, or neither. Two keys of one hash share a lease: one waits for
 * the other, or a value is loaded once more.
 *
 * leases is 1 when some lease may be granted, so that writes pay one load when there is none. A
 * write that finds none granted in the table makes it 0. A lease whose owner was killed and
 * whose key nobody wants is ended by that look too, GRACE after its time, or it would cost
 * every write such a look for ever. Without the lock, 0 says less: the last lease may just have
 * ended under it, with the value that was loaded not stored yet. So a delete by prefix passes a
 * shard by only when its lock is free as well.
 *
 * What is left of an ended lease is a hint: how long the load took, failures and when to try
 * again. It is lost when the place is needed for another key.
 *
 * Tried and dropped: owner = 0 in the redo list of the change. It is no safer, and lists are
 * short of places. A count in place of the flag: it had to be right after any kill.
 *
 * Invariants
 *  lease.I1  leases is 0 only if no lease of the shard is granted.
 *  lease.I2  granted leases of a shard have different hashes, all of this shard.
 *  lease.I3  a granted lease's version was the shard's next, once: it is at most that.
 */
#include "lease.h"

#include "crash.h"
#include "os.h"

#define GRACE_NS (UINT64_C(60) * 1000000000)
#define FAILS_MAX 63u

static struct fmt_lease *at(const struct im_op *op, uint32_t i)
{
	return im_lease_at(op->m, op->shard, i);
}

/* ---- random numbers ---- */

static uint64_t random_number(void)
{
	static __thread uint64_t state __attribute__((tls_model("initial-exec")));
	uint64_t z;

	/* the clock too: forked children begin with one state */
	state += UINT64_C(0x9e3779b97f4a7c15) ^ im_os->now();
	z = (state ^ state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t (*im_lease_random)(void) = random_number;

/* ---- is it granted ---- */

/* Its time is over, by @by ns; a time further off than there can be is over too. */
static bool is_late(const struct fmt_lease *l, uint64_t now, uint64_t by)
{
	uint64_t until = im_load_rlx(&l->until);

	return until <= now ? now - until >= by : until - now > IM_LEASE_MAX_NS;
}

static bool is_cleared(const struct im_op *op, const struct fmt_lease *l)
{
	return im_load_rlx(&l->version) < im_load_rlx(&op->s->floor);
}

static void take_from(struct fmt_lease *l)
{
	/* ord(lease): nobody has it, then the next words. Pairs with im_lease_stands(). */
	im_store32_rel(&l->owner, 0);
	im_write_barrier();
}

/* ---- voiding ---- */

void im_lease_void_slow(struct im_op *op)
{
	bool others = false;

	if (!op->m->leases)
		return; /* hostile bytes: there is no table */
	for (uint32_t i = 0; i < FMT_LEASES; i++) {
		struct fmt_lease *l = at(op, i);

		if (!im_load32_rlx(&l->owner))
			continue;
		if (im_load_rlx(&l->hash) == op->hash) {
			take_from(l);
			op->ring = &l->bell;
			crash("lease.voided");
		} else if (is_cleared(op, l) || is_late(l, im_op_now(op), GRACE_NS)) {
			take_from(l);
		} else {
			others = true;
		}
	}
	if (!others)
		im_store32_rel(&op->s->leases, 0);
}

int im_lease_void_all(struct ipcmap *m, uint32_t shard)
{
	struct im_op op;
	int r;

	if (!m->leases)
		return 0;
	im_op_init(m, &op, 0);
	im_op_shard(&op, shard);
	r = im_op_enter(&op);
	if (!r) {
		for (uint32_t i = 0; i < FMT_LEASES; i++)
			take_from(at(&op, i));
		im_store32_rel(&op.s->leases, 0);
		crash("lease.all");
		im_op_leave(&op);
		for (uint32_t i = 0; i < FMT_LEASES; i++)
			im_bell_ring(&at(&op, i)->bell);
	}
	im_op_done(&op);
	return r;
}

/* ---- granting ---- */

/* Granted, to somebody who may go on with it. */
static bool is_taken(struct im_op *op, const struct fmt_lease *l, uint32_t dead)
{
	uint32_t owner = im_load32_rlx(&l->owner);

	return owner && owner != dead && !is_cleared(op, l) && !is_late(l, im_op_now(op), 0);
}

/* The load of this key failed, and it is too early for the next one: its error; else 0. */
static int failed_lately(struct im_op *op, const struct fmt_lease *l)
{
	uint64_t retry = im_load_rlx(&l->retry), now = im_op_now(op);
	int err = (int)im_load32_rlx(&l->err);

	if (!im_load32_rlx(&l->fails) || retry <= now || retry - now > IM_LEASE_MAX_NS)
		return 0;
	return err < 0 ? err : IPCMAP_CORRUPT;
}

/*
 * The place for a key that has none: one that is not taken, whose memory is worth least: the
 * one not failed lately, then the one that ended first. FMT_LEASES: all are taken.
 */
static uint32_t find_place(struct im_op *op, uint32_t dead)
{
	uint64_t least = UINT64_MAX;
	uint32_t best = FMT_LEASES;

	for (uint32_t i = 0; i < FMT_LEASES; i++) {
		const struct fmt_lease *l = at(op, i);
		uint64_t worth = im_load_rlx(&l->until) >> 1;

		if (is_taken(op, l, dead))
			continue;
		if (failed_lately(op, l))
			worth |= UINT64_C(1) << 63;
		if (best == FMT_LEASES || worth < least) {
			best = i;
			least = worth;
		}
	}
	return best;
}

static void tell(const struct im_op *op, uint32_t i, struct im_lease *ret)
{
	ret->at = i;
	ret->owner = im_load32_rlx(&at(op, i)->owner);
	ret->grant = im_load32_rlx(&at(op, i)->grant);
}

/* What the last load of the key left stays; @of another key it is forgotten. */
static void grant(struct im_op *op, uint32_t i, uint64_t ns, bool other)
{
	struct fmt_lease *l = at(op, i);

	take_from(l);
	if (other) {
		im_store_rlx(&l->took, 0);
		im_store_rlx(&l->retry, 0);
		im_store32_rlx(&l->fails, 0);
		im_store32_rlx(&l->err, 0);
		im_store_rlx(&l->hash, op->hash);
	}
	im_store_rlx(&l->version, im_load_rlx(&op->s->version));
	im_store_rlx(&l->until, im_op_now(op) + ns);
	im_store32_rlx(&l->grant, im_load32_rlx(&l->grant) + 1);
	im_store32_rel(&op->s->leases, 1);
	crash("lease.named");
	/* ord(lease): what it means and that there is one, then the owner. Pairs with
	 * im_lease_stands(). */
	im_store32_rel(&l->owner, op->seg->self);
	crash("lease.granted");
}

/* The first place with this hash, a granted one before others; FMT_LEASES: none. */
static uint32_t find_hash(struct im_op *op)
{
	uint32_t found = FMT_LEASES;

	for (uint32_t i = 0; i < FMT_LEASES; i++) {
		if (im_load_rlx(&at(op, i)->hash) != op->hash)
			continue;
		if (im_load32_rlx(&at(op, i)->owner))
			return i;
		if (found == FMT_LEASES)
			found = i;
	}
	return found;
}

int im_lease_take(struct im_op *op, uint64_t ns, uint32_t dead, struct im_lease *ret)
{
	uint32_t i = find_hash(op);
	bool other = i == FMT_LEASES;
	int err;

	if (!other && is_taken(op, at(op, i), dead)) {
		tell(op, i, ret);
		return IM_LEASE_HELD;
	}
	err = other ? 0 : failed_lately(op, at(op, i));
	if (err)
		return err;
	if (other)
		i = find_place(op, dead);
	if (i == FMT_LEASES) {
		tell(op, (uint32_t)op->hash % FMT_LEASES, ret);
		return IM_LEASE_FULL;
	}
	grant(op, i, ns, other);
	tell(op, i, ret);
	return 0;
}

/* ---- ending ---- */

bool im_lease_holds(struct im_op *op, const struct im_lease *l)
{
	const struct fmt_lease *x = at(op, l->at);

	return l->owner && im_load32_rlx(&x->owner) == l->owner &&
	       im_load32_rlx(&x->grant) == l->grant && im_load_rlx(&x->hash) == op->hash &&
	       !is_cleared(op, x);
}

void im_lease_took(struct im_op *op, const struct im_lease *l, uint64_t ns)
{
	struct fmt_lease *x = at(op, l->at);

	im_store_rlx(&x->took, ns);
	im_store32_rlx(&x->fails, 0);
	im_store_rlx(&x->retry, 0);
	im_store32_rlx(&x->err, 0);
}

static void fail(struct im_op *op, struct fmt_lease *x, int err, uint64_t backoff,
		 uint64_t most)
{
	uint32_t fails = im_load32_rlx(&x->fails);
	uint64_t ns = backoff;

	for (uint32_t i = 0; i < fails && i < FAILS_MAX && ns < most; i++)
		ns *= 2;
	ns = min_u64(ns, most);
	/* half of it by chance: processes that failed together do not come back together */
	ns -= ns / 2 ? im_lease_random() % (ns / 2) : 0;
	im_store_rlx(&x->retry, im_op_now(op) + ns);
	im_store32_rlx(&x->err, (uint32_t)err);
	im_store32_rlx(&x->fails, fails < FAILS_MAX ? fails + 1 : fails);
	crash("lease.failed");
}

bool im_lease_end(struct im_op *op, const struct im_lease *l, int err, uint64_t backoff,
		  uint64_t most)
{
	struct fmt_lease *x = at(op, l->at);

	if (!im_lease_holds(op, l))
		return false;
	if (err)
		fail(op, x, err, backoff, most);
	take_from(x);
	op->ring = &x->bell;
	crash("lease.ended");
	return true;
}

/* ---- without the lock ---- */

bool im_lease_stands(const struct ipcmap *m, uint32_t shard, const struct im_lease *l)
{
	const struct fmt_lease *x = im_lease_at(m, shard, l->at);

	/* ord(lease): the owner, then what it means. Pairs with grant() and take_from(). */
	if (im_load32_acq(&x->owner) != l->owner || im_load32_rlx(&x->grant) != l->grant)
		return false;
	return im_load_rlx(&x->version) >= im_load_rlx(&m->shards[shard].floor) &&
	       !is_late(x, im_os->coarse(), 0);
}

uint32_t im_lease_dead(const struct ipcmap *m, uint32_t shard)
{
	for (uint32_t i = 0; i < FMT_LEASES; i++) {
		uint32_t owner = im_load32_rlx(&im_lease_at(m, shard, i)->owner);

		if (owner && im_owner_dead(m->seg, owner))
			return owner;
	}
	return 0;
}

uint64_t im_lease_last_took(const struct ipcmap *m, uint32_t shard, uint64_t hash)
{
	for (uint32_t i = 0; i < FMT_LEASES; i++) {
		const struct fmt_lease *l = im_lease_at(m, shard, i);

		if (im_load_rlx(&l->hash) == hash)
			return min_u64(im_load_rlx(&l->took), IM_LEASE_MAX_NS);
	}
	return 0;
}

/* ---- counting, for people ---- */

void im_lease_look(const struct ipcmap *m, uint32_t shard, struct im_lease_counts *c)
{
	for (uint32_t i = 0; i < FMT_LEASES && m->leases; i++) {
		const struct fmt_lease *l = im_lease_at(m, shard, i);
		bool granted = im_load32_rlx(&l->owner) != 0;

		c->grants += im_load32_rlx(&l->grant);
		c->held += granted;
		c->waited += granted && im_bell_is_listened(&l->bell);
		c->failed += im_load32_rlx(&l->fails) != 0;
	}
}

void im_lease_count(const struct ipcmap *m, uint32_t shard, struct im_lease_counts *c)
{
	uint64_t now = im_os->coarse();

	for (uint32_t i = 0; i < FMT_LEASES && m->leases; i++) {
		const struct fmt_lease *l = im_lease_at(m, shard, i);
		struct im_lease met = {i, im_load32_acq(&l->owner), im_load32_rlx(&l->grant)};
		uint64_t retry = im_load_rlx(&l->retry);

		c->grants += met.grant;
		if (im_load32_rlx(&l->fails)) {
			c->failed++;
			c->resting += !met.owner && retry > now && retry - now <= IM_LEASE_MAX_NS;
		}
		if (!met.owner || !im_lease_stands(m, shard, &met) ||
		    im_owner_dead(m->seg, met.owner))
			continue;
		c->held++;
		c->waited += im_bell_is_listened(&l->bell);
	}
}

uint32_t im_lease_of_owner(const struct ipcmap *m, uint32_t owner)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < m->n_shards && m->leases; k++) {
		if (!im_load32_rlx(&m->shards[k].leases))
			continue;
		for (uint32_t i = 0; i < FMT_LEASES; i++)
			n += im_load32_rlx(&im_lease_at(m, k, i)->owner) == owner;
	}
	return n;
}
