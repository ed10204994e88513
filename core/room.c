/* SPDX-License-Identifier: MIT */
/*
 * room.c - the extents of a shard: from the common store to its heads and back
 *
 * An extent arrives PRIVATE to the process that fetched it outside the lock, and is adopted
 * as the shard's `reserve` (for cleaning only) or as the one `ahead` (for the next hot head or
 * index extent). It leaves when no slot names it: straight to reserve or ahead, or to the
 * common free queue. Either way reclaim_seq moves after the last slot was cleared or swung,
 * and the generation of its word after that, before its first byte can change.
 *
 * The reserve inequality. A shard with N extents has 2 heads, 1 reserve, perhaps 1 ahead; at
 * least N - 4 closed ones can be victims. Closed extents waste `tail` bytes together, beyond
 * their fill. If live data never exceeds u (N E - tail), the best victim is at most
 * u N / (N - 4) full, and cleaning gains as long as that is below 1 less an extent's own share
 * of waste. u = 122/128 leaves 1.6 % of every victim at N = 128; few extents lower the cap to
 * N - 2. An operation that would raise the live data above the cap needs another extent first,
 * whether memory is short or not, or is refused: so the shard is never full of live data
 * alone. Waste is measured rather than bounded by the largest entry: one entry of half an
 * extent among a million small ones would else halve the shard.
 *
 * Invariants
 *  room.I1  every extent whose word says LOG(shard) is in the shard's list, once, and n_log
 *           counts them; likewise the index extents of dir and the overflow list.
 *  room.I2  a shard with a head has a reserve, or a victim being cleaned whose survivors fit
 *           into the cold head.
 *           But the reserve may be parked, when the victim was pinned after it was chosen.
 *           So the hot head may take the last extent ahead, reserve or not: the reserve is
 *           spent only by a cold head, for the rest of a victim, which fits into an empty
 *           extent, and nobody else puts entries there; the victim is then the reserve.
 *  room.I3  tail = the sum of (extent length - fill) over log extents that are no heads.
 */
#include "room.h"

#include "crash.h"
#include "log.h"
#include "park.h"
#include "pinned.h"
#include "redo.h"
#include "space.h"

#define UNPARK_MAX 16u /* parked ones looked after under one lock */

static bool none(const struct im_op *op, uint32_t ext)
{
	return ext >= op->seg->n_extents;
}

static uint64_t word_of(const struct im_op *op, uint32_t ext)
{
	return im_load_rlx(&op->seg->table[ext].word);
}

void im_room_recap(struct im_op *op)
{
	const struct im_seg *seg = op->seg;
	struct fmt_shard *s = op->s;
	uint64_t e = seg->extent_len, n = im_load32_rlx(&s->n_log), tail = im_load_rlx(&s->tail);

	n += !none(op, im_load32_rlx(&s->reserve));
	n += im_load32_rlx(&s->n_ahead);
	if (n <= 2) {
		im_store_rlx(&s->cap, 0);
		return;
	}
	if (tail > n * e)
		tail = n * e; /* hostile bytes */
	im_store_rlx(&s->cap, min_u64((n * e - tail) / 128 * 122, n * e - tail - 2 * e));
	if (n * e - tail < 2 * e)
		im_store_rlx(&s->cap, 0);
}

void im_room_pop_ahead(struct im_op *op, uint32_t ext)
{
	struct fmt_shard *s = op->s;

	im_redo_set32(op, &s->ahead, im_load32_rlx(&op->seg->table[ext].next));
	im_redo_set32(op, &s->n_ahead, im_load32_rlx(&s->n_ahead) - 1);
}

void im_room_adopt(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t ext = op->in_hand;
	bool reserve = none(op, im_load32_rlx(&s->reserve));

	if (!reserve && !none(op, im_load32_rlx(&s->ahead)) && im_room_slack(s) >= op->grow)
		return;
	im_redo_start(op);
	im_redo_word(op, ext, op->in_hand_word,
		     fmt_word(FMT_RESERVED, op->shard, fmt_word_gen(op->in_hand_word)));
	if (reserve) {
		im_redo_set32(op, &s->reserve, ext);
	} else {
		im_redo_set32(op, &op->seg->table[ext].next, im_load32_rlx(&s->ahead));
		im_redo_set32(op, &s->ahead, ext);
		im_redo_set32(op, &s->n_ahead, im_load32_rlx(&s->n_ahead) + 1);
	}
	im_redo_run(op);
	op->in_hand = FMT_NO_EXTENT;
	im_space_handed_over(op->seg);
	im_room_recap(op);
	crash("room.adopted");
}

/* The reserve, or the first one ahead, @ext, becomes a head at the end of the list. */
static void open_head(struct im_op *op, unsigned head, uint32_t ext, bool reserve)
{
	struct fmt_shard *s = op->s;
	uint32_t last = im_load32_rlx(&s->last);
	struct fmt_extent *x = &op->seg->table[ext];

	im_store32_rlx(&x->prev, last);
	im_store32_rlx(&x->fill, 0);
	im_store_rlx(&x->books, 0);
	im_store_rlx(&x->version_max, 0);
	im_store_rlx(&x->expiry_max, 0);
	im_store_rlx(&x->expiry_min, UINT64_MAX);
	im_redo_start(op);
	im_redo_set(op, &x->word, fmt_word(FMT_LOG, op->shard, fmt_word_gen(word_of(op, ext))));
	if (reserve)
		im_redo_set32(op, &s->reserve, FMT_NO_EXTENT);
	else
		im_room_pop_ahead(op, ext);
	im_redo_set32(op, &x->next, FMT_NO_EXTENT);
	if (none(op, last))
		im_redo_set32(op, &s->first, ext);
	else
		im_redo_set32(op, &op->seg->table[last].next, ext);
	im_redo_set32(op, &s->last, ext);
	im_redo_set32(op, &s->n_log, im_load32_rlx(&s->n_log) + 1);
	im_redo_set(op, &s->tail, im_load_rlx(&s->tail) + im_room_left(op, head));
	im_redo_set32(op, &s->head[head], ext);
	im_redo_run(op);
	im_room_recap(op);
	crash("room.opened");
}

int im_room_hot(struct im_op *op, uint32_t size)
{
	uint32_t ext;

	if (likely(im_log_fits(op, FMT_HOT, size)))
		return 0;
	im_room_unpark(op, false);
	ext = im_load32_rlx(&op->s->ahead);
	if (none(op, ext))
		return IM_NEED;
	open_head(op, FMT_HOT, ext, false);
	return 0;
}

int im_room_cold(struct im_op *op, uint32_t size)
{
	uint32_t reserve, ahead;

	if (likely(im_log_fits(op, FMT_COLD, size)))
		return 0;
	im_room_unpark(op, false);
	reserve = im_load32_rlx(&op->s->reserve);
	ahead = im_load32_rlx(&op->s->ahead);
	if (!none(op, reserve))
		open_head(op, FMT_COLD, reserve, true);
	else if (!none(op, ahead))
		open_head(op, FMT_COLD, ahead, false);
	else
		return IM_NEED;
	return 0;
}

/* The chain that is to be freed was a value, and somebody reads it where it lies. */
static bool is_held(struct im_op *op)
{
	uint64_t word = im_load_rlx(&op->s->free_word);

	return fmt_word_state(word) == FMT_LARGE && fmt_word_who(word) == op->shard &&
	       im_pinned_look(op->m, im_load32_rlx(&op->s->free_first), fmt_word_gen(word), NULL);
}

/*
 * Parked in place of freed. Whoever had the shard before may have died freeing it, with the
 * space lock: once that was free the word tells whether it was freed, and then it may be
 * anybody's by now.
 */
static int park(struct im_op *op, uint32_t n, struct im_wait *wait)
{
	uint32_t first = im_load32_rlx(&op->s->free_first);
	uint32_t last = im_load32_rlx(&op->s->free_last);
	int r = im_space_await(op->seg, wait);

	if (r)
		return r;
	if (none(op, first) || none(op, last) || n > op->seg->n_extents)
		return -EUCLEAN;
	im_redo_start(op);
	if (word_of(op, first) == im_load_rlx(&op->s->free_word))
		im_park_add(op, first, last, n);
	im_redo_set32(op, &op->s->free_n, 0);
	im_redo_run(op);
	crash("room.parked");
	return 0;
}

static int settle(struct im_op *op, uint64_t deadline_ns)
{
	struct fmt_shard *s = op->s;
	uint32_t n = im_load32_rlx(&s->free_n);
	struct im_wait wait;
	int r;

	if (!n)
		return 0;
	im_wait_start(op->seg, deadline_ns, &wait);
	if (unlikely(is_held(op)))
		return park(op, n, &wait);
	r = im_space_free(op->seg, im_load32_rlx(&s->free_first), im_load32_rlx(&s->free_last),
			  n, im_load_rlx(&s->free_word), &wait);
	if (r)
		return r;
	im_store32_rel(&s->free_n, 0);
	crash("room.freed");
	return 0;
}

/* Spins for the space lock, but does not sleep: the shard's lock is held. */
int im_room_settle(struct im_op *op)
{
	int r = settle(op, 0);

	return r == -EBUSY ? IM_SETTLE : r;
}

bool im_room_settle_now(struct im_op *op)
{
	return settle(op, IM_NOWAIT) == 0;
}

static void unlink_from_list(struct im_op *op, uint32_t ext)
{
	struct fmt_shard *s = op->s;
	struct fmt_extent *t = op->seg->table;
	uint32_t next = im_load32_rlx(&t[ext].next), prev = im_load32_rlx(&t[ext].prev);

	if (none(op, prev))
		im_redo_set32(op, &s->first, next);
	else
		im_redo_set32(op, &t[prev].next, next);
	if (none(op, next))
		im_redo_set32(op, &s->last, prev);
	else
		im_redo_set32(op, &t[next].prev, prev);
	im_redo_set32(op, &s->n_log, im_load32_rlx(&s->n_log) - 1);
}

/*
 * From the list on, the extent is nobody's: its word says RESERVED, with a new generation, so
 * nothing takes it for a log extent while the space lock keeps it from being freed.
 */
void im_room_free_later(struct im_op *op, uint32_t ext)
{
	struct fmt_shard *s = op->s;
	uint64_t word = fmt_word(FMT_RESERVED, op->shard, fmt_word_gen(word_of(op, ext)) + 1);

	im_redo_set(op, &op->seg->table[ext].word, word);
	im_redo_set(op, &s->free_word, word);
	im_redo_set32(op, &s->free_first, ext);
	im_redo_set32(op, &s->free_last, ext);
	im_redo_set32(op, &s->free_n, 1);
}

/* Add to the redo list begun: @ext, which nobody lists any more, is the reserve or the one ahead. */
static void keep(struct im_op *op, uint32_t ext, bool reserve)
{
	struct fmt_shard *s = op->s;

	im_redo_set(op, &op->seg->table[ext].word,
		    fmt_word(FMT_RESERVED, op->shard, fmt_word_gen(word_of(op, ext)) + 1));
	if (reserve) {
		im_redo_set32(op, &s->reserve, ext);
		return;
	}
	im_redo_set32(op, &op->seg->table[ext].next, FMT_NO_EXTENT);
	im_redo_set32(op, &s->ahead, ext);
	im_redo_set32(op, &s->n_ahead, 1);
}

bool im_room_release(struct im_op *op, uint32_t ext, bool give)
{
	struct fmt_shard *s = op->s;
	bool held = im_pinned_look(op->m, ext, fmt_word_gen(word_of(op, ext)), NULL);
	bool reserve = !held && none(op, im_load32_rlx(&s->reserve));
	bool ahead = !held && !give && none(op, im_load32_rlx(&s->ahead));

	if (!held && !reserve && !ahead && !im_room_try_settle(op))
		return false; /* stays in the log, nameless, until the space lock is free */
	im_redo_start(op);
	if (im_load32_rlx(&s->victim) == ext)
		im_redo_set32(op, &s->victim, FMT_NO_EXTENT);
	/* ord(reclaim): the slots were cleared before; the word's generation after. */
	im_redo_set(op, &s->reclaim_seq, im_load_rlx(&s->reclaim_seq) + 1);
	unlink_from_list(op, ext);
	im_redo_set(op, &s->tail,
		    im_load_rlx(&s->tail) -
			    (op->seg->extent_len - im_load32_rlx(&op->seg->table[ext].fill)));
	if (held) {
		im_redo_set32(op, &op->seg->table[ext].next, FMT_NO_EXTENT);
		im_park_add(op, ext, ext, 1);
	} else if (reserve || ahead) {
		keep(op, ext, reserve);
	} else {
		im_room_free_later(op, ext);
	}
	im_redo_run(op);
	im_write_barrier();
	im_room_recap(op);
	crash("room.released");
	return !held && !reserve && (ahead || im_room_try_settle(op));
}

/* One of the parked. False: the space lock is busy. */
static bool unpark(struct im_op *op, const struct im_parked *p, bool give)
{
	struct fmt_shard *s = op->s;
	bool reserve = p->n == 1 && none(op, im_load32_rlx(&s->reserve));
	bool ahead = p->n == 1 && !give && none(op, im_load32_rlx(&s->ahead));

	if (!reserve && !ahead && !im_room_try_settle(op))
		return false;
	im_redo_start(op);
	im_park_remove(op, p);
	if (reserve || ahead) {
		keep(op, p->first, reserve);
	} else {
		im_redo_set(op, &s->free_word, word_of(op, p->first));
		im_redo_set32(op, &s->free_first, p->first);
		im_redo_set32(op, &s->free_last, p->last);
		im_redo_set32(op, &s->free_n, p->n);
	}
	im_redo_run(op);
	im_room_recap(op);
	crash("room.unparked");
	im_room_try_settle(op);
	return true;
}

bool im_room_unpark(struct im_op *op, bool give)
{
	struct im_parked p;
	bool any = false;

	if (likely(!im_load32_rlx(&op->s->parked)))
		return false;
	for (unsigned i = 0; i < UNPARK_MAX && im_park_find(op, &p) && unpark(op, &p, give); i++)
		any = true;
	return any;
}

bool im_room_give_ahead(struct im_op *op)
{
	uint32_t ext = im_load32_rlx(&op->s->ahead);

	if (none(op, ext) || !im_room_try_settle(op))
		return false;
	im_redo_start(op);
	im_room_free_later(op, ext);
	im_room_pop_ahead(op, ext);
	im_redo_run(op);
	im_room_recap(op);
	return im_room_try_settle(op);
}
