/* SPDX-License-Identifier: MIT */
/*
 * compact.c - give memory back: fewest extents, fewest buckets, no pages behind free extents
 *
 * Everything goes in short stays under one shard's lock at a time, so readers and writers go
 * on, and a kill or a stop anywhere loses nothing but the place: the next compaction begins
 * anew and finds less to do. In each shard live entries are moved together, buckets are
 * merged, and extents of overflow buckets are thinned out (thin.c). When only the expired and
 * the cleared are to go, the extents that hold some are cleaned, as their earliest expiry says,
 * and nothing else is done.
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
#include "thin.h"

#define STEP_BYTES (64u * 1024)
#define MERGES 16u /* buckets per stay */
#define FEEDS_MAX 100u /* times that a shard asks for memory, of which others have some */
#define REST_NS UINT64_C(1000000000)

struct run {
	struct ipcmap *m;
	const struct ipcmap_compact_options *how;
	struct ipcmap_compact *ret;
	uint64_t done;
	uint64_t of;
};

/* 0: go on. That may be a child which the caller's function forked: an owner of its own. */
static int ask(struct run *r)
{
	if (!r->how->progress)
		return 0;
	if (r->how->progress(r->how->arg, r->done, r->of) != 0)
		return IPCMAP_INTERRUPTED;
	return im_owner_ready(r->m->seg);
}

static bool expired_only(const struct run *r)
{
	return r->how->flags & IPCMAP_COMPACT_EXPIRED;
}

/* ---- what could be gained ---- */

/* The dead are told from the living only by a walk: one extent at a time. */
static int weigh_shard(struct run *r, uint32_t shard, struct im_dead *sum)
{
	const struct im_seg *seg = r->m->seg;
	uint32_t n = min_u32(im_load32_rlx(&seg->h->space.fresh), seg->n_extents);

	for (uint32_t ext = 0; ext < n; ext++) {
		uint64_t w = im_load_rlx(&seg->table[ext].word);
		struct im_op op;
		int rc;

		if (fmt_word_state(w) != FMT_LOG || fmt_word_who(w) != shard)
			continue;
		im_op_init(r->m, &op, 0);
		im_op_shard(&op, shard);
		rc = im_op_enter(&op);
		if (rc)
			return rc;
		if (im_load_rlx(&seg->table[ext].word) == w &&
		    im_load_rlx(&op.s->geometry) & FMT_BUCKETS_MASK)
			im_clean_weigh(&op, ext, sum);
		im_op_leave(&op);
		im_op_done(&op);
		rc = ask(r);
		if (rc)
			return rc;
	}
	return 0;
}

/* Log extents of which the living need none, packed no worse at their ends than now. */
static uint64_t spare_log(const struct im_op *op, const struct im_dead *dead)
{
	const struct fmt_shard *s = op->s;
	uint64_t e = op->seg->extent_len, n = im_load32_rlx(&s->n_log);
	uint64_t live = im_load_rlx(&s->live), waste = n ? im_load_rlx(&s->tail) / n : 0;
	uint64_t each = e - min_u64(waste, e / 2);
	uint64_t need = (live - min_u64(live, dead->len) + each - 1) / each;

	return n > need ? n - need : 0;
}

/* Index extents; the merged buckets overflow a little. */
static uint64_t spare_index(const struct im_op *op, const struct im_dead *dead)
{
	uint64_t entries = im_load_rlx(&op->s->entries);
	uint32_t n = im_thin_spare(op);

	entries -= min_u64(entries, dead->entries);
	if (n && entries && n == im_load32_rlx(&op->s->n_ovf_ext))
		n--;
	return n + im_index_spare(op, entries);
}

static int estimate_shard(struct run *r, uint32_t shard)
{
	struct im_dead dead = {0};
	struct im_op op;
	uint64_t n;
	int rc = weigh_shard(r, shard, &dead);

	if (rc)
		return rc;
	im_op_init(r->m, &op, 0);
	im_op_shard(&op, shard);
	n = dead.large;
	if (expired_only(r)) {
		n += dead.gain / r->m->seg->extent_len;
	} else {
		n += spare_log(&op, &dead) + im_load32_rlx(&op.s->n_ahead);
		n += spare_index(&op, &dead);
	}
	r->ret->freed += n * r->m->seg->extent_len;
	return 0;
}

static int estimate(struct run *r)
{
	int rc = 0;

	for (uint32_t i = 0; i < r->m->n_shards && !rc; i++) {
		rc = estimate_shard(r, i);
		r->done++;
	}
	if (!expired_only(r) && im_space_has_pages(r->m->seg))
		r->ret->given_back = r->ret->freed + im_space_idle(r->m->seg);
	return rc;
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

/* What is done in a shard, one after the other. */
enum stage { RETIRE, CLEAN, MERGE, THIN, GIVE, DONE };

struct part {
	enum stage stage;
	uint32_t walks; /* that are left */
	struct im_thin thin;
	bool need; /* an extent ahead */
	unsigned feeds;
};

static bool clean(struct im_op *op, struct part *p, bool expired)
{
	if (!p->walks)
		return false;
	p->walks--;
	if (expired)
		return im_clean_expired(op, STEP_BYTES);
	return p->stage == RETIRE ? im_clean_retire(op, STEP_BYTES)
				  : im_clean_compact(op, STEP_BYTES);
}

static bool merge(struct im_op *op)
{
	for (unsigned i = 0; i < MERGES; i++)
		if (!im_index_shrink(op))
			return false;
	return true;
}

static bool thin(struct im_op *op, struct part *p)
{
	int r = im_thin_step(op, &p->thin);

	p->need = r == IM_NEED;
	return r != 0;
}

static bool stage_step(struct im_op *op, struct part *p, bool expired)
{
	switch (p->stage) {
	case RETIRE:
	case CLEAN:
		return clean(op, p, expired);
	case MERGE:
		return merge(op);
	case THIN:
		return thin(op, p);
	default:
		return im_load32_rlx(&op->s->n_ahead) && im_room_give_ahead(op);
	}
}

/* What was freed waits for the space lock, and nothing more can be freed until it is gone. */
static bool is_held_up(const struct im_op *op)
{
	return im_load32_rlx(&op->s->free_n) != 0;
}

/* One stay under the lock. */
static void shard_step(struct im_op *op, struct part *p, bool expired)
{
	while (p->stage != DONE && !stage_step(op, p, expired) && !is_held_up(op))
		p->stage = expired && p->stage == CLEAN ? DONE : p->stage + 1;
}

/* Without the lock: the shard gets an extent ahead, or has to do without. */
static int feed(struct im_op *op, struct part *p)
{
	int r = p->feeds++ < FEEDS_MAX ? im_op_feed(op) : -EBUSY;

	if (!r)
		r = im_op_enter(op);
	if (!r)
		im_op_leave(op);
	p->thin.poor |= r != 0;
	p->need = false;
	return r == -EINTR ? r : 0;
}

static int compact_shard(struct run *r, uint32_t shard)
{
	uint32_t rounds = r->m->seg->n_extents * 64 + 4096; /* hostile bytes: an end */
	struct part p = {
		.stage = expired_only(r) ? CLEAN : RETIRE,
		.walks = UINT32_MAX, /* not known yet */
	};
	int rc = 0;

	while (p.stage != DONE && rounds-- && !rc) {
		bool held_up;
		struct im_op op;

		im_op_init(r->m, &op, 0);
		im_op_shard(&op, shard);
		rc = im_op_enter(&op);
		if (rc)
			return rc;
		if (p.walks == UINT32_MAX)
			p.walks = walks_of(&op);
		if (im_load_rlx(&op.s->geometry) & FMT_BUCKETS_MASK)
			shard_step(&op, &p, expired_only(r));
		else
			p.stage = DONE;
		held_up = is_held_up(&op);
		im_op_leave(&op);
		if (held_up)
			rc = im_space_await(op.seg, &op.wait);
		else if (p.need)
			rc = feed(&op, &p);
		op.want_ahead = false;
		im_op_done(&op);
		if (!rc)
			rc = ask(r);
	}
	return rc;
}

/* ---- pages ---- */

static int rest(struct run *r)
{
	uint64_t until = im_os->now() + REST_NS;
	int rc = 0;

	while (!rc && im_os->now() < until) {
		im_op_pause();
		rc = ask(r);
	}
	return rc;
}

/* As many as are free now, oldest first: those freed later have not rested. */
static int punch(struct run *r)
{
	struct im_seg *seg = r->m->seg;
	uint32_t n = min_u32(im_load32_rlx(&seg->h->space.n_queued), seg->n_extents);
	struct im_wait wait;
	int rc = 0;

	if (!im_space_idle(seg))
		return 0;
	rc = rest(r);
	im_wait_start(seg, r->m->deadline_ns, &wait);
	for (; n && rc >= 0; n--) {
		int stop;

		rc = im_space_punch(seg, &wait);
		if (rc > 0)
			r->ret->given_back += seg->extent_len;
		stop = ask(r);
		if (stop)
			return stop;
	}
	return rc == -ENOENT || rc > 0 ? 0 : rc;
}

int im_compact(struct ipcmap *m, const struct ipcmap_compact_options *how,
	       struct ipcmap_compact *ret)
{
	/* the pages are one more thing to do */
	struct run r = {m, how, ret, 0, (uint64_t)m->n_shards + (how->flags == 0)};
	uint64_t before = im_space_used(m->seg), after;
	int rc = 0;

	ret->freed = ret->given_back = 0;
	if (how->flags & IPCMAP_COMPACT_DRY_RUN)
		return estimate(&r);
	for (uint32_t i = 0; i < m->n_shards && !rc; i++) {
		rc = compact_shard(&r, i);
		r.done++;
	}
	after = im_space_used(m->seg);
	ret->freed = before > after ? before - after : 0;
	if (!rc && !expired_only(&r))
		rc = punch(&r);
	return rc;
}
