/* SPDX-License-Identifier: MIT */
/*
 * compact.c - give memory back: fewest extents, fewest buckets, no pages behind free extents
 *
 * Everything goes in short stays under one shard's lock at a time, so readers and writers go
 * on, and a kill or a stop anywhere loses nothing but the place: the next compaction begins
 * anew and finds less to do.
 *
 * Then the free extents rest for REST_NS before their pages are given back. A reader that was
 * under way when an extent was freed has noticed by then; one that was stopped for longer and
 * reads there gets zeros, which it recognizes like any other foreign bytes, but it makes the
 * system allocate a page again, and if the file system is full then, it gets SIGBUS. That
 * much cannot be had without waiting for it.
 */
#include "compact.h"

#include "clean.h"
#include "index.h"
#include "os.h"
#include "room.h"
#include "shard.h"
#include "space.h"

#define STEP_BYTES (64u * 1024)
#define MERGES 16u /* buckets per stay */
#define REST_NS UINT64_C(1000000000)

struct run {
	struct ipcmap *m;
	const struct ipcmap_compact_options *how;
	struct ipcmap_compact *ret;
	uint64_t done;
	uint64_t of;
};

static bool stopped(struct run *r)
{
	return r->how->progress && r->how->progress(r->how->arg, r->done, r->of) != 0;
}

/* ---- what could be gained ---- */

static void estimate_shard(struct run *r, uint32_t shard)
{
	uint64_t e = r->m->seg->extent_len;
	struct im_op op;

	im_op_init(r->m, &op, 0);
	im_op_shard(&op, shard);
	r->ret->freed += im_room_garbage(&op) / e * e;
	r->ret->freed += im_load32_rlx(&op.s->n_ahead) * e;
}

static void estimate(struct run *r)
{
	for (uint32_t i = 0; i < r->m->n_shards; i++)
		estimate_shard(r, i);
	r->ret->given_back = r->ret->freed + im_space_idle(r->m->seg);
}

/* ---- shards ---- */

/*
 * Each extent is walked twice at most: what is garbage in heads, or waste at the ends of
 * extents of wide entries, looks loose however often the rest is moved.
 */
static uint32_t walks_of(const struct im_op *op)
{
	return 2 * im_load32_rlx(&op->s->n_log) * (op->seg->extent_len / STEP_BYTES + 1) + 8;
}

static bool shard_step(struct im_op *op, const struct ipcmap_compact_options *how,
		       uint32_t *walks)
{
	bool more = *walks &&
		    im_clean_compact(op, how->flags & IPCMAP_COMPACT_EXPIRED, STEP_BYTES);

	*walks -= more;
	if (more || how->flags & IPCMAP_COMPACT_EXPIRED)
		return more;
	for (unsigned i = 0; i < MERGES; i++)
		if (!im_index_shrink(op))
			return false;
	return true;
}

static int compact_shard(struct run *r, uint32_t shard)
{
	uint32_t rounds = r->m->seg->n_extents * 64 + 4096; /* hostile bytes: an end */
	uint32_t walks = UINT32_MAX; /* not known yet */
	bool more = true;
	int rc = 0;

	while (more && rounds-- && !rc) {
		struct im_op op;

		im_op_init(r->m, &op, 0);
		im_op_shard(&op, shard);
		rc = im_op_enter(&op);
		if (rc)
			return rc;
		if (walks == UINT32_MAX)
			walks = walks_of(&op);
		more = im_load_rlx(&op.s->geometry) & FMT_BUCKETS_MASK &&
		       shard_step(&op, r->how, &walks);
		op.want_ahead = false;
		im_op_leave(&op);
		im_op_done(&op);
		if (stopped(r))
			rc = IPCMAP_INTERRUPTED;
	}
	return rc;
}

/* ---- pages ---- */

static int rest(struct run *r)
{
	uint64_t until = im_os->now() + REST_NS;

	while (im_os->now() < until) {
		im_op_pause();
		if (stopped(r))
			return IPCMAP_INTERRUPTED;
	}
	return 0;
}

/* As many as are free now, oldest first: those freed later have not rested. */
static int punch(struct run *r)
{
	struct im_seg *seg = r->m->seg;
	uint32_t n = im_load32_rlx(&seg->h->space.n_queued);
	struct im_wait wait;
	int rc = 0;

	if (!im_space_idle(seg))
		return 0;
	rc = rest(r);
	im_wait_start(seg, r->m->deadline_ns, &wait);
	for (; n && rc >= 0; n--) {
		rc = im_space_punch(seg, &wait);
		if (rc > 0)
			r->ret->given_back += seg->extent_len;
		if (stopped(r))
			return IPCMAP_INTERRUPTED;
	}
	return rc == -ENOENT || rc > 0 ? 0 : rc;
}

int im_compact(struct ipcmap *m, const struct ipcmap_compact_options *how,
	       struct ipcmap_compact *ret)
{
	struct run r = {m, how, ret, 0, (uint64_t)m->n_shards + 1};
	uint64_t before = im_space_used(m->seg), after;
	int rc = 0;

	ret->freed = ret->given_back = 0;
	if (how->flags & IPCMAP_COMPACT_DRY_RUN) {
		estimate(&r);
		return 0;
	}
	for (uint32_t i = 0; i < m->n_shards && !rc; i++) {
		rc = compact_shard(&r, i);
		r.done++;
	}
	after = im_space_used(m->seg);
	ret->freed = before > after ? before - after : 0;
	if (!rc && !(how->flags & IPCMAP_COMPACT_EXPIRED))
		rc = punch(&r);
	return rc;
}
