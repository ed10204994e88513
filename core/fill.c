/* SPDX-License-Identifier: MIT */
/*
 * fill.c - a key is loaded by one process for all that miss it
 *
 *     look, as any get does                         there: give it
 *     lock; look again; take the lease; unlock      somebody has it: give the expired value,
 *                                                   or wait, and begin again
 *     load                                          no lock is held, the map may be used
 *     lock; does the lease hold? put; unlock        it does not: begin again
 *
 * lease.c says why nothing that was loaded before a put or a delete is stored after it. Here
 * the same is kept from the caller: a value that was refused is not returned, the key is looked
 * at again. So whoever deletes a key after changing the source may rely on it that no call
 * which begins to load before that returns the old value after that.
 *
 * Waiting. Who meets a lease listens to its bell, sees that the lease stands still, and sleeps
 * for POLL at most; then it probes whether the owner is dead. So a killed leader is succeeded
 * within POLL and the probe, whatever rings were lost, and a stopped one when its time is over.
 * A waiter takes the shard's lock again only when the lease has gone and the key is not there.
 *
 * A thread that meets a lease which it took itself, further up on its stack, would wait for
 * itself; it notes the leases of its loads by value. A loader left by longjmp() leaves its
 * note: it names a lease that ends with its time, and no other one will have that name.
 *
 * Early refresh is XFetch (Vattani, Chierichetti, Lowenstein, VLDB 2015): refresh when the time
 * a load takes, times an exponential random number, is more than the life left. The number is
 * drawn by von Neumann's method, from comparisons alone. The time the last load took is in the
 * lease's words, which are looked for in the last quarter of a life only.
 *
 * Invariants
 *  fill.I1  no lock of the map is held, and held is clear, while a loader runs.
 *  fill.I2  a value returned was in the map during the call, or was stored by it, or was loaded
 *           by it and the lease still held when it turned out that it could not be stored.
 */
#include "fill.h"

#include "api.h"
#include "crash.h"
#include "index.h"
#include "os.h"
#include "read.h"
#include "request.h"
#include "write.h"

#include <stdlib.h>

#define MS UINT64_C(1000000)
#define LEASE_NS (10000 * MS)
#define BACKOFF_NS (100 * MS)
#define BACKOFF_MAX_NS (30000 * MS)
#define POLL_NS (20 * MS) /* a dead leader is noticed so soon; less would be much probing */
#define AGAIN 3		  /* besides what im_lease_take() returns: the key has changed */
#define ROUNDS 64u	  /* looks, before a look at the clock in case none of them waited */
#define LOADS 8u	  /* by one call, when each is overtaken by a change */
#define NESTED 8u	  /* loads of one thread, one in the other, that are noted */

void im_fill_init(struct im_fill *f, struct ipcmap *m, const void *key, size_t key_len,
		  const struct ipcmap_fill_options *how, struct ipcmap_value *v)
{
	const struct ipcmap_fill_options plain = IPCMAP_FILL_INIT;

	*f = (struct im_fill){.m = m, .key = key, .key_len = key_len, .v = v};
	f->hash = im_hash(m->hash_seed, key, key_len);
	f->shard = im_map_shard(m, f->hash);
	f->how = how ? *how : plain;
	if (!f->how.lease_ns)
		f->how.lease_ns = LEASE_NS;
	if (!f->how.backoff_ns)
		f->how.backoff_ns = BACKOFF_NS;
	if (!f->how.backoff_max_ns)
		f->how.backoff_max_ns = max_u64(BACKOFF_MAX_NS, f->how.backoff_ns);
	im_wait_start(m->seg, f->how.deadline_ns ? f->how.deadline_ns : m->deadline_ns,
		      &f->wait);
}

/* ---- loads of this thread ---- */

static __thread struct {
	struct {
		const struct im_seg *seg;
		uint32_t owner;
		uint32_t grant;
		uint32_t place;
	} of[NESTED];
	unsigned next;
} loads __attribute__((tls_model("initial-exec")));

static void note_load(const struct im_fill *f, const struct ipcmap_lease *l)
{
	unsigned i;

	for (i = 0; i < NESTED && loads.of[i].seg; i++)
		;
	if (i == NESTED)
		i = loads.next++ % NESTED; /* some were left by longjmp() */
	loads.of[i].seg = f->m->seg;
	loads.of[i].owner = l->owner;
	loads.of[i].grant = l->grant;
	loads.of[i].place = f->shard * FMT_LEASES + l->place;
}

static unsigned find_load(const struct im_fill *f, uint32_t owner, uint32_t grant,
			  uint32_t place)
{
	for (unsigned i = 0; i < NESTED; i++)
		if (loads.of[i].seg == f->m->seg && loads.of[i].owner == owner &&
		    loads.of[i].grant == grant &&
		    loads.of[i].place == f->shard * FMT_LEASES + place)
			return i;
	return NESTED;
}

static void forget_load(const struct im_fill *f, const struct ipcmap_lease *l)
{
	unsigned i = find_load(f, l->owner, l->grant, l->place);

	if (i < NESTED)
		loads.of[i].seg = NULL;
}

/* ---- looking, without a lock ---- */

/* Exponential, mean 1: the whole part by rejections, the rest by the run that was not. */
static double exponential(void)
{
	for (unsigned whole = 0; whole < 64; whole++) {
		uint64_t first = im_lease_random(), last = first;
		unsigned run = 1;

		for (;; run++) {
			uint64_t u = im_lease_random();

			if (u >= last)
				break;
			last = u;
		}
		if (run & 1)
			return whole + (double)first / 18446744073709551616.0;
	}
	return 64;
}

static bool is_early(const struct im_fill *f)
{
	const struct ipcmap_fill_options *how = &f->how;
	uint64_t left = f->v->ttl_left_ns, took, ttl = how->ttl_ns;

	if (!how->early || left == IPCMAP_TTL_NONE)
		return false;
	if (!ttl)
		ttl = im_load_rlx(&f->m->seg->h->ttl_ns);
	if (ttl != IPCMAP_TTL_NONE && left >= ttl / 4)
		return false;
	took = im_lease_last_took(f->m, f->shard, f->hash);
	if (!took)
		took = how->load_ns;
	return took && (double)took * exponential() * how->early / 100 >= (double)left;
}

static int get(struct im_fill *f)
{
	bool counted = !f->looked;

	f->looked = true;
	if (counted)
		return im_read_getx_of(f->m, f->key, f->key_len, f->hash, f->v);
	return im_read_uncounted(f->m, f->key, f->key_len, f->v);
}

/* Room for f->v->len bytes and a zero byte. */
static int make_room(struct im_fill *f)
{
	void *buf = realloc(f->v->buf, f->v->len + 1);

	if (!buf)
		return IPCMAP_NOMEM;
	f->v->buf = buf;
	f->v->cap = f->v->len;
	return 0;
}

/*
 * 0: give it; IPCMAP_LEAD: not there, or f->have; or what is known of it: NOTFOUND, an error. A
 * value may become longer from look to look, hence the loop.
 */
static int look(struct im_fill *f)
{
	bool stale = false;
	int r = IPCMAP_SHORT;

	f->have = false;
	f->seen = 0;
	for (unsigned i = 0; i < ROUNDS && r == IPCMAP_SHORT; i++) {
		r = get(f);
		stale = r == IPCMAP_NOTFOUND && f->how.stale_ns;
		if (stale)
			r = im_read_stale(f->m, f->key, f->key_len, f->hash, f->how.stale_ns,
					  f->v);
		if (r != IPCMAP_SHORT || !f->grow)
			break;
		if (make_room(f))
			return IPCMAP_NOMEM;
	}
	if (r == IPCMAP_NOTFOUND)
		return IPCMAP_LEAD;
	if (r)
		return r;
	stale = stale && f->v->ttl_left_ns == 0;
	if (f->v->type == IPCMAP_TYPE_NEGATIVE)
		return stale ? IPCMAP_LEAD : IPCMAP_NOTFOUND;
	if (!stale && !is_early(f))
		return 0;
	f->have = true;
	f->seen = f->v->version;
	return IPCMAP_LEAD;
}

/* ---- under the lock ---- */

/* Is there nothing that the look did not see? 0; AGAIN; -EUCLEAN. */
static int look_again(struct im_op *op, const struct im_fill *f)
{
	struct im_slot slot;
	int found;

	if (!(im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK))
		return 0;
	found = im_index_find(op, &slot);
	if (found <= 0)
		return found;
	return im_request_alive(op, &slot.e) && slot.e.version != f->seen ? AGAIN : 0;
}

static void begin(struct im_fill *f, struct im_op *op)
{
	im_op_init(f->m, op, 0);
	op->wait = f->wait;
	op->wait.slept = 0;
	im_op_key(op, f->key, (uint32_t)f->key_len, f->hash);
}

static int take_lease(struct im_fill *f, struct im_lease *ret)
{
	struct im_op op;
	int r = begin_write(f->m);

	if (r)
		return r;
	begin(f, &op);
	r = im_op_enter(&op);
	if (!r) {
		r = look_again(&op, f);
		if (!r)
			r = im_lease_take(&op, f->how.lease_ns, f->dead, ret);
		im_op_leave(&op);
	}
	f->wait.until = op.wait.until;
	im_op_done(&op);
	end_write(f->m);
	return r;
}

/* ---- waiting ---- */

/* 0: look again; BUSY at the deadline; INTERRUPTED; DEADLOCK. */
static int await(struct im_fill *f, const struct im_lease *l, bool full)
{
	uint32_t *bell = &im_lease_at(f->m, f->shard, l->at)->bell;

	if (!full && find_load(f, l->owner, l->grant, l->at) < NESTED)
		return IPCMAP_DEADLOCK;
	f->dead = full ? im_lease_dead(f->m, f->shard) : 0;
	while (!f->dead) {
		uint32_t heard = im_bell_listen(bell);
		int r;

		if (!im_lease_stands(f->m, f->shard, l))
			return 0;
		r = im_bell_sleep(f->m->seg, bell, heard, POLL_NS, &f->wait);
		if (r)
			return r;
		crash("fill.woken");
		if (!im_lease_stands(f->m, f->shard, l))
			return 0;
		if (full)
			f->dead = im_lease_dead(f->m, f->shard);
		else if (im_owner_dead(f->m->seg, l->owner))
			f->dead = l->owner;
	}
	return 0;
}

/* ---- the first step ---- */

/* So often something had changed at once; whoever stores it, the deadline is kept. */
static int rest(struct im_fill *f)
{
	if (im_load_rlx(&f->m->seg->interrupts) != f->wait.interrupts)
		return IPCMAP_INTERRUPTED;
	if (im_wait_over(&f->wait))
		return IPCMAP_BUSY;
	im_op_pause();
	return 0;
}

int im_fill_ask(struct im_fill *f, struct ipcmap_lease *ret)
{
	struct im_lease l = {0};
	int r;

	for (unsigned round = 1;; round++) {
		r = round % ROUNDS ? 0 : rest(f);
		if (r)
			return r;
		r = look(f);
		if (r != IPCMAP_LEAD)
			return r;
		r = take_lease(f, &l);
		if (r == 0) {
			/* ord(lease): the lease, then what the loader reads elsewhere. Pairs
			 * with void_leases() in api.c. */
			im_full_barrier();
			*ret = (struct ipcmap_lease){im_os->now(), l.at, l.owner, l.grant,
						     f->have};
			return IPCMAP_LEAD;
		}
		if (r == AGAIN)
			continue;
		if (f->have && r != IPCMAP_CORRUPT)
			return 0;
		if (r < 0)
			return r;
		r = await(f, &l, r == IM_LEASE_FULL);
		if (r)
			return r;
	}
}

/* ---- the second step ---- */

struct commit {
	const struct im_lease *lease;
	uint64_t took;
};

/* Last thing before the put of a loaded value; it ends the lease as any put of the key does. */
static int commit(struct im_op *op, struct im_request *q, const struct im_entry *old,
		  struct im_record *rec)
{
	const struct commit *c = q->arg;

	(void)old;
	(void)rec;
	if (!im_lease_holds(op, c->lease))
		return IPCMAP_MISMATCH;
	im_lease_took(op, c->lease, c->took);
	return 0;
}

static struct im_lease lease_of(const struct ipcmap_lease *l)
{
	return (struct im_lease){l->place % FMT_LEASES, l->owner, l->grant};
}

/* In a write: 0; MISMATCH. */
static int end(struct im_fill *f, const struct im_lease *l, int err)
{
	struct im_op op;
	int r;

	begin(f, &op);
	/* it is worth as much waiting as a put */
	im_wait_start(f->m->seg, f->m->deadline_ns, &op.wait);
	r = im_op_enter(&op);
	if (!r) {
		if (!im_lease_end(&op, l, err, f->how.backoff_ns, f->how.backoff_max_ns))
			r = IPCMAP_MISMATCH;
		im_op_leave(&op);
	}
	im_lease_ring(&op);
	im_op_done(&op);
	return r;
}

static void count_put(struct ipcmap *m)
{
	struct fmt_line *l = im_line(m->seg);

	im_count(m->seg, l, &l->puts);
}

/* It may be over, when this process was stopped since it stored the value. */
static uint64_t left_of(uint64_t expiry)
{
	uint64_t now = im_os->coarse();

	return expiry > now ? expiry - now : 0;
}

int im_fill_store(struct im_fill *f, const struct ipcmap_lease *lease, const void *val,
		  size_t val_len, uint32_t type, uint64_t ttl_ns)
{
	struct im_lease l = lease_of(lease);
	struct commit c = {&l, im_os->now() - lease->began_ns};
	struct ipcmap_put_options put = IPCMAP_PUT_INIT;
	struct im_request q = {.how = &put, .make = commit, .arg = &c};
	struct im_record rec = {.key = f->key,
				.val = val,
				.key_len = (uint32_t)f->key_len,
				.val_len = (uint32_t)val_len,
				.type = type,
				.hash = f->hash};
	int r, ended;

	put.ttl_ns = ttl_ns;
	put.jitter = f->how.jitter;
	/* who does not want to wait for a load has not loaded in vain */
	put.deadline_ns = f->how.deadline_ns == IPCMAP_NOWAIT ? 0 : f->how.deadline_ns;
	r = begin_write(f->m);
	if (r)
		return r;
	crash("fill.storing");
	r = val_len > IPCMAP_VAL_MAX ? IPCMAP_TOOBIG : im_write_record(f->m, &q, &rec);
	if (r && r != IPCMAP_MISMATCH) {
		ended = end(f, &l, 0);
		r = ended == IPCMAP_MISMATCH ? ended : r;
	}
	end_write(f->m);
	if (r)
		return r;
	count_put(f->m);
	if (f->v && type != IPCMAP_TYPE_NEGATIVE) {
		f->v->version = rec.version;
		f->v->type = rec.type;
		f->v->ttl_left_ns = IPCMAP_TTL_NONE;
		if (rec.flags & FMT_F_TTL)
			f->v->ttl_left_ns = left_of(rec.expiry);
	}
	return 0;
}

int im_fill_fail(struct im_fill *f, const struct ipcmap_lease *lease, int err)
{
	struct im_lease l = lease_of(lease);
	int r;

	if (err == IPCMAP_NOTFOUND && f->how.negative_ttl_ns)
		return im_fill_store(f, lease, NULL, 0, IPCMAP_TYPE_NEGATIVE,
				     f->how.negative_ttl_ns);
	r = begin_write(f->m);
	if (r)
		return r;
	r = end(f, &l, err == IPCMAP_NOTFOUND ? 0 : err);
	end_write(f->m);
	return r;
}

/* ---- all of it ---- */

/* What was loaded is the value; it need not be stored. */
static int give(struct im_fill *f, const struct ipcmap_loaded *got)
{
	f->v->len = got->len;
	if (f->v->cap < got->len) {
		if (!f->grow)
			return IPCMAP_SHORT;
		if (make_room(f))
			return IPCMAP_NOMEM;
	}
	if (got->len)
		memmove(f->v->buf, got->val, got->len);
	return 0;
}

/* 0 and errors are the call's; IPCMAP_LEAD: begin again. */
static int load_one(struct im_fill *f, const struct ipcmap_lease *l,
		    int (*load)(void *arg, const void *key, size_t key_len,
				struct ipcmap_loaded *ret),
		    void *arg)
{
	struct ipcmap_loaded got = {NULL, 0, f->how.type, f->how.ttl_ns, NULL};
	bool have = f->have;
	int r, stored;

	note_load(f, l);
	r = load(arg, f->key, f->key_len, &got);
	forget_load(f, l);
	if (r > 0 || (!r && !got.val && got.len))
		r = -EIO;
	if (!r && (got.type >= IPCMAP_TYPE_NEGATIVE || got.ttl_ns == IPCMAP_TTL_KEEP))
		r = IPCMAP_INVALID;
	crash("fill.loaded");
	if (r) {
		stored = im_fill_fail(f, l, r);
		if (stored == IPCMAP_MISMATCH)
			r = IPCMAP_LEAD;
		else if (r != IPCMAP_NOTFOUND && have)
			r = 0; /* what is in f->v serves */
	} else {
		stored = im_fill_store(f, l, got.val, got.len, got.type, got.ttl_ns);
		if (stored) {
			f->v->version = 0;
			f->v->type = got.type;
			f->v->ttl_left_ns = 0;
		}
		r = stored == IPCMAP_MISMATCH ? IPCMAP_LEAD : give(f, &got);
	}
	if (got.release)
		got.release((void *)(uintptr_t)got.val);
	return r;
}

int im_fill_run(struct im_fill *f,
		int (*load)(void *arg, const void *key, size_t key_len,
			    struct ipcmap_loaded *ret),
		void *arg)
{
	struct ipcmap_lease l;
	int r;

	for (unsigned i = 0; i < LOADS; i++) {
		r = im_fill_ask(f, &l);
		if (r != IPCMAP_LEAD)
			return r;
		r = load_one(f, &l, load, arg);
		if (r != IPCMAP_LEAD)
			return r;
	}
	return IPCMAP_MISMATCH;
}
