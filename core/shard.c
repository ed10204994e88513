/* SPDX-License-Identifier: MIT */
/*
 * shard.c - an operation that writes: enter, leave, and memory in between
 *
 * The lock is held for a bounded number of stores, and nobody sleeps under it: memory is
 * fetched, and the space lock waited for, between two stays. What the shard looks like is
 * therefore found anew at each entry.
 *
 * Whoever enters after a dead holder makes the shard whole before anything else: the redo
 * list, then a split or a compaction of a chain that was under way, then what was to be freed. Each
 * is idempotent and O(1), so the successor may be killed as well.
 */
#include "shard.h"

#include "clean.h"
#include "crash.h"
#include "event.h"
#include "group.h"
#include "index.h"
#include "os.h"
#include "redo.h"
#include "ring.h"
#include "room.h"
#include "space.h"

uint64_t im_op_now(struct im_op *op)
{
	if (!op->now)
		op->now = im_os->coarse();
	return op->now;
}

static im_cold int make_whole(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	int r = im_redo_finish(op);

	if (r)
		return r;
	if (im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK)
		im_index_finish(op);
	r = im_group_finish(op);
	im_room_recap(op);
	return r;
}

static int entered(struct im_op *op, int taken)
{
	struct fmt_shard *s = op->s;
	int r = 0;

	op->now = 0;
	if (unlikely(taken == IM_TAKEN_OVER))
		im_store_rlx(&s->takeovers, im_load_rlx(&s->takeovers) + 1);
	if (unlikely(taken == IM_TAKEN_OVER || im_load_rlx(&s->redo.seq) & 1))
		r = make_whole(op);
	if (unlikely(r)) {
		im_unlock(op->seg, &s->lock);
		return r;
	}
	im_room_try_settle(op);
	if (unlikely(op->in_hand != FMT_NO_EXTENT))
		im_room_adopt(op);
	return 0;
}

int im_op_enter(struct im_op *op)
{
	uint32_t *word = &op->s->lock;
	int r;

	/* ord(lock) */
	if (likely(im_cas32_acq(word, 0, op->seg->self) == 0))
		r = IM_TAKEN;
	else
		r = im_lock(op->seg, word, &op->wait);
	return r < 0 ? r : entered(op, r);
}

int im_op_try_enter(struct im_op *op)
{
	int r = im_trylock(op->seg, &op->s->lock);

	return r < 0 ? r : entered(op, r);
}

void im_op_leave(struct im_op *op)
{
	crash("op.leave");
	im_unlock(op->seg, &op->s->lock);
	crash("op.left");
}

static void give_back(struct im_op *op)
{
	im_space_drop(op->seg, op->in_hand);
	op->in_hand = FMT_NO_EXTENT;
}

static int fetch(struct im_op *op)
{
	if (op->in_hand != FMT_NO_EXTENT)
		return 0;
	return im_space_take(op->seg, FMT_NO_EXTENT, &op->wait, &op->in_hand,
			     &op->in_hand_word);
}

/* One process per shard fetches ahead; a hint, so a dead fetcher's word is just replaced. */
static void fetch_ahead(struct im_op *op)
{
	uint32_t *word = &op->s->fetching, v = im_load32_rlx(word);

	if (im_space_short(op->seg) || (v && !im_owner_dead(op->seg, v)) ||
	    im_cas32_acq(word, v, op->seg->self) != v)
		return;
	crash("op.fetching");
	/* the write is done: nothing is worth waiting for */
	im_wait_start(op->seg, IM_NOWAIT, &op->wait);
	if (!fetch(op) && !im_op_enter(op))
		im_op_leave(op);
	im_store32_rel(word, 0);
}

void im_op_tidy(struct im_op *op)
{
	struct fmt_line *line;

	if (op->told) {
		im_event_ring(op);
		if (op->lapped)
			im_ring_look(op->m, op->lap_shard, IM_NOWAIT);
	}
	if (op->want_ahead)
		fetch_ahead(op);
	if (op->in_hand != FMT_NO_EXTENT)
		give_back(op);
	if (op->wait.slept) {
		line = im_line(op->seg);
		im_count(op->seg, line, &line->waits);
	}
}

void im_op_pause(void)
{
	uint32_t word = 0;

	im_os->futex_wait(&word, 0, 1000000);
}

/*
 * More extents than there are: the shard's books say that it needs them, and two shards may have
 * one in their hands. Only hostile bytes do.
 */
static bool is_endless(struct im_op *op)
{
	return op->fetched++ > op->seg->n_extents;
}

int im_op_feed(struct im_op *op)
{
	int r, room;

	if (im_load_rlx(&op->seg->interrupts) != op->wait.interrupts)
		return -EINTR;
	r = fetch(op);
	if (r == -EDQUOT) {
		im_owner_sweep(op->seg);
		r = fetch(op);
	}
	if (r == 0 && unlikely(is_endless(op)))
		return -EDQUOT;
	if (r == 0)
		op->victims = 0;
	if (r != -EDQUOT && r != -ENOSPC && r != -EFBIG)
		return r;
	room = im_clean_make_room(op);
	if (room == -EBUSY && !im_wait_over(&op->wait)) {
		im_op_pause();
		return 0;
	}
	if (room == -EDQUOT)
		return r == -EFBIG ? -ENOSPC : r;
	return room;
}
