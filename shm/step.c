/* SPDX-License-Identifier: MIT */
/*
 * step.c - one transition of the extent table: the space lock and its intent
 *
 * Every transition is one intent: arm (fields, then seq odd), store the extent's word, store
 * the absolute values, disarm. The word decides: whoever finds the lock's owner dead and seq
 * odd compares it with new_word. Equal: the absolutes are stored (again); not: nothing
 * happened. Words rise in generation with every transition, so a word never comes back and
 * the comparison cannot mistake an older life for this one. Nothing the queue needs is
 * overwritten before the word is stored.
 *
 * What a new word says of the extent's own link: taken or attached (PRIVATE, PIECE), it is
 * the end of its chain, so next becomes FMT_NO_EXTENT; freed, next stays, as it leads through
 * the freed chain. The last of the queue may have any next: head == tail is the end.
 *
 * The segment is not trusted: every number read is bounded before use.
 *
 * Broken on purpose: the invariants of space.c, by the lock's owner, between the word and the
 * last absolute.
 */
#include "step.h"
#include "crash.h"
#include "space.h"

/* The values after a step: what the lock holder stores, and its successor once more. */
static void store_absolutes(struct im_seg *seg, const struct im_step *st)
{
	struct fmt_space *s = &seg->h->space;
	enum fmt_state state = fmt_word_state(st->new_word);

	im_store32_rlx(&s->head, st->head);
	im_store32_rlx(&s->tail, st->tail);
	im_store32_rlx(&s->n_queued, st->queued);
	im_store32_rlx(&s->fresh, st->fresh);
	im_store32_rlx(&s->used, st->used);
	if (state == FMT_PRIVATE || state == FMT_PIECE)
		im_store32_rlx(&seg->table[st->ext].next, FMT_NO_EXTENT);
	crash("space.stored");
	if (st->link_of != FMT_NO_EXTENT)
		im_store32_rlx(&seg->table[st->link_of].next, st->link_to);
}

static void disarm(struct fmt_space *s)
{
	crash("space.linked");
	/* ord(intent): the absolutes come before. Pairs with im_space_check(). */
	im_store_rel(&s->seq, im_load_rlx(&s->seq) + 1);
	im_write_barrier();
	crash("space.disarmed");
}

static void arm(struct fmt_space *s, const struct im_step *st)
{
	im_store32_rlx(&s->extent, st->ext);
	im_store_rlx(&s->old_word, st->old_word);
	im_store_rlx(&s->new_word, st->new_word);
	im_store32_rlx(&s->used_after, st->used);
	im_store32_rlx(&s->fresh_after, st->fresh);
	im_store32_rlx(&s->head_after, st->head);
	im_store32_rlx(&s->tail_after, st->tail);
	im_store32_rlx(&s->queued_after, st->queued);
	im_store32_rlx(&s->link_of, st->link_of);
	im_store32_rlx(&s->link_to, st->link_to);
	crash("space.filled");
	/* ord(intent): a successor that finds it armed finds all fields */
	im_store_rel(&s->seq, im_load_rlx(&s->seq) + 1);
	im_write_barrier();
	crash("space.armed");
}

bool im_step_make(struct im_seg *seg, const struct im_step *st)
{
	struct fmt_space *s = &seg->h->space;
	bool done;

	arm(s, st);
	/* ord(reclaim): the generation is seen before the first byte of the extent's next
	 * life. Pairs with the readers that validate by it. */
	done = im_cas_full(&seg->table[st->ext].word, st->old_word, st->new_word);
	im_write_barrier();
	crash("space.word");
	if (done)
		store_absolutes(seg, st);
	disarm(s);
	return done;
}

static bool sane(const struct im_seg *seg, const struct im_step *st)
{
	return im_seg_has_extent(seg, st->ext) && st->used <= seg->n_extents &&
	       st->fresh <= seg->n_extents && st->queued <= seg->n_extents &&
	       (st->head == FMT_NO_EXTENT || im_seg_has_extent(seg, st->head)) &&
	       (st->tail == FMT_NO_EXTENT || im_seg_has_extent(seg, st->tail)) &&
	       (st->link_of == FMT_NO_EXTENT || im_seg_has_extent(seg, st->link_of));
}

bool im_step_intent(struct im_seg *seg, struct im_step *st)
{
	struct fmt_space *s = &seg->h->space;

	*st = (struct im_step){
		.ext = im_load32_rlx(&s->extent),
		.new_word = im_load_rlx(&s->new_word),
		.used = im_load32_rlx(&s->used_after),
		.fresh = im_load32_rlx(&s->fresh_after),
		.head = im_load32_rlx(&s->head_after),
		.tail = im_load32_rlx(&s->tail_after),
		.queued = im_load32_rlx(&s->queued_after),
		.link_of = im_load32_rlx(&s->link_of),
		.link_to = im_load32_rlx(&s->link_to),
	};
	return sane(seg, st) && im_load_acq(&seg->table[st->ext].word) == st->new_word;
}

/* The lock's owner died. O(1), idempotent; may itself be killed anywhere. */
static void recover(struct im_seg *seg)
{
	struct fmt_space *s = &seg->h->space;
	struct im_step st;

	/* a change of the limit: its number first, then what follows from it */
	im_store32_rlx(&s->limit_n, im_space_extents(seg, im_load_rlx(&s->limit)));
	if (im_load_acq(&s->seq) & 1) {
		crash("space.recover");
		if (im_step_intent(seg, &st))
			store_absolutes(seg, &st);
		disarm(s);
	}
	im_add_rlx(&s->takeovers, 1);
}

int im_step_enter(struct im_seg *seg, struct im_wait *wait)
{
	int rc = im_lock(seg, &seg->h->space.lock, wait);

	if (unlikely(rc == IM_TAKEN_OVER))
		recover(seg);
	if (rc >= 0)
		crash("space.locked");
	return rc < 0 ? rc : 0;
}

void im_step_leave(struct im_seg *seg)
{
	crash("space.leaving");
	im_unlock(seg, &seg->h->space.lock);
}

int im_step_start(struct im_seg *seg, struct im_step *st)
{
	struct fmt_space *s = &seg->h->space;

	*st = (struct im_step){
		.used = im_load32_rlx(&s->used),
		.fresh = im_load32_rlx(&s->fresh),
		.head = im_load32_rlx(&s->head),
		.tail = im_load32_rlx(&s->tail),
		.queued = im_load32_rlx(&s->n_queued),
		.link_of = FMT_NO_EXTENT,
		.link_to = FMT_NO_EXTENT,
	};
	return sane(seg, st) ? 0 : -EUCLEAN;
}
