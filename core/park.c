/* SPDX-License-Identifier: MIT */
/*
 * park.c - memory of a shard that nothing leads to any more, but that somebody still reads
 *
 * A list through prev, newest first, of single extents that were of the log and of chains that
 * were large values. They are PARKED, with the generation that they had, so that their pins name
 * them; readers that still look there find the word changed and begin again. Last extent and
 * length of a chain stand in the books of its first, which have no other use then; fill, likewise,
 * has a hint: the pin that was found to hold it. The list is changed by redo lists only.
 *
 * Whoever needs memory, and whoever takes a pin back, looks whether something parked is held by
 * nobody any more (room.c). What nobody looks for stays parked, and counts as used; so a map in
 * which nobody writes, and whose last reader was killed, keeps it until there is a need for it.
 *
 * Invariants
 *  park.I1  the list has every PARKED extent of the shard once; books of each lead to the end of
 *           its chain; parked_n counts the extents of all.
 */
#include "park.h"

#include "pinned.h"
#include "redo.h"

void im_park_add(struct im_op *op, uint32_t first, uint32_t last, uint32_t n)
{
	struct fmt_extent *x = &op->seg->table[first];
	struct fmt_shard *s = op->s;

	im_redo_set(op, &x->word,
		    fmt_word(FMT_PARKED, op->shard, fmt_word_gen(im_load_rlx(&x->word))));
	im_redo_set32(op, &x->prev, im_load32_rlx(&s->parked) - 1);
	im_redo_set(op, &x->books, last | (uint64_t)n << 32);
	im_redo_set32(op, &s->parked, first + 1);
	im_redo_set32(op, &s->parked_n, im_load32_rlx(&s->parked_n) + n);
}

void im_park_remove(struct im_op *op, const struct im_parked *p)
{
	struct fmt_extent *t = op->seg->table;
	struct fmt_shard *s = op->s;
	uint32_t next = im_load32_rlx(&t[p->first].prev);

	if (p->before == FMT_NO_EXTENT)
		im_redo_set32(op, &s->parked, next + 1);
	else
		im_redo_set32(op, &t[p->before].prev, next);
	im_redo_set32(op, &s->parked_n, im_load32_rlx(&s->parked_n) - p->n);
}

bool im_park_find(struct im_op *op, struct im_parked *ret)
{
	uint32_t ext = im_load32_rlx(&op->s->parked) - 1, before = FMT_NO_EXTENT;

	for (uint32_t i = 0; i < op->seg->n_extents && im_seg_has_extent(op->seg, ext); i++) {
		struct fmt_extent *x = &op->seg->table[ext];
		uint64_t word = im_load_rlx(&x->word), books = im_load_rlx(&x->books);

		if (fmt_word_state(word) != FMT_PARKED || fmt_word_who(word) != op->shard)
			return false; /* hostile bytes */
		if (!im_pinned_look(op->m, ext, fmt_word_gen(word), &x->fill)) {
			ret->first = ext;
			ret->last = (uint32_t)books;
			ret->n = (uint32_t)(books >> 32);
			ret->before = before;
			return im_seg_has_extent(op->seg, ret->last) && ret->n &&
			       ret->n <= op->seg->n_extents;
		}
		before = ext;
		ext = im_load32_rlx(&x->prev);
	}
	return false;
}
