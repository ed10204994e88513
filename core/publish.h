/* SPDX-License-Identifier: MIT */
/*
 * publish.h - an entry becomes the current one of its key, or stops to be, in one redo list
 *
 * What can fail was seen to before: the hot head has room, the slot is there. The order in the
 * list is what readers see: reference, tag, then the books.
 */
#ifndef IM_PUBLISH_H
#define IM_PUBLISH_H

#include "event.h"
#include "index.h"
#include "large.h"
#include "lease.h"
#include "log.h"
#include "redo.h"

/* The books of the extents that lose @lost (NULL: none) and gain @size at @ref. */
im_inline void im_publish_account(struct im_op *op, const struct im_entry *lost, bool counted,
				  uint32_t ext, uint32_t size)
{
	struct fmt_extent *t = op->seg->table;
	uint64_t to = im_load_rlx(&t[ext].books), from;
	uint32_t live = im_books_live(to) + size, named = im_books_named(to) + size;

	if (lost && lost->ext == ext) {
		live -= counted ? lost->size : 0;
		named -= lost->size;
	} else if (lost) {
		from = im_load_rlx(&t[lost->ext].books);
		im_redo_set(op, &t[lost->ext].books,
			    im_books(im_books_live(from) - (counted ? lost->size : 0),
				     im_books_named(from) - lost->size));
	}
	im_redo_set(op, &t[ext].books, im_books(live, named));
}

im_inline void im_publish_name(struct im_op *op, const struct im_slot *slot, bool found,
			       uint32_t ref)
{
	/* ord(publish): bytes, reference, tag. Pairs with read.c. */
	if (found) {
		im_redo_set32(op, &slot->b->ref[slot->i], ref);
		return;
	}
	im_redo_set32(op, &slot->free_b->ref[slot->free_i], ref);
	im_redo_set(op, &slot->free_b->tags[slot->free_i >> 3],
		    im_tag_word(slot->free_b, slot->free_i, im_hash_tag(op->hash)));
}

/* Append the record and make @slot name it. All room is there. */
im_inline bool im_publish(struct im_op *op, const struct im_slot *slot, bool found,
		  const struct im_record *rec, uint64_t chain_word)
{
	struct fmt_shard *s = op->s;
	bool counted = found && slot->e.version >= im_load_rlx(&s->floor);
	struct im_place at;
	uint64_t large = im_load_rlx(&s->large);
	struct fmt_chain old;

	if (!im_log_append(op, FMT_HOT, rec, &at))
		return false;
	if (!rec->same)
		im_lease_void(op);
	im_redo_start(op);
	im_log_count(op, &at);
	if (rec->flags & FMT_F_LARGE && !rec->same)
		im_redo_word(op, rec->chain.first, chain_word,
			     fmt_word(FMT_LARGE, op->shard, fmt_word_gen(chain_word)));
	im_publish_name(op, slot, found, at.ref);
	im_publish_account(op, found ? &slot->e : NULL, counted, at.ext, rec->size);
	if (!counted)
		im_redo_set(op, &s->entries, im_load_rlx(&s->entries) + 1);
	im_redo_set(op, &s->live,
		    im_load_rlx(&s->live) + rec->size - (counted ? slot->e.size : 0));
	if (rec->same)
		return im_redo_run(op);
	im_redo_set(op, &s->version, rec->version + 1);
	if (rec->flags & FMT_F_LARGE)
		large += (uint64_t)rec->chain.n * op->seg->extent_len;
	if (found && slot->e.flags & FMT_F_LARGE) {
		im_entry_chain(&slot->e, &old);
		/* last but for its own change of large, which counts from the new value */
		im_large_unhook(op, &old, large);
	} else if (rec->flags & FMT_F_LARGE) {
		im_redo_set(op, &s->large, large);
	}
	if (im_event_wanted(op))
		im_event_add(op, FMT_EVENT_PUT, rec->key, rec->key_len, op->hash, rec->version);
	return im_redo_run(op);
}

/*
 * The entry that @slot names is not there any more, which is told as @what; with @version that
 * takes a version, which it does anyway when it is told.
 */
im_inline bool im_unpublish(struct im_op *op, const struct im_slot *slot, bool version,
			    enum fmt_event_op what)
{
	struct fmt_shard *s = op->s;
	bool counted = slot->e.version >= im_load_rlx(&s->floor);
	uint64_t *books = &op->seg->table[slot->e.ext].books, old = im_load_rlx(books);
	struct fmt_chain c;

	im_lease_void(op);
	im_redo_start(op);
	im_redo_set(op, &slot->b->tags[slot->i >> 3], im_tag_word(slot->b, slot->i, 0));
	im_redo_set(op, books,
		    im_books(im_books_live(old) - (counted ? slot->e.size : 0),
			     im_books_named(old) - slot->e.size));
	if (counted) {
		im_redo_set(op, &s->entries, im_load_rlx(&s->entries) - 1);
		im_redo_set(op, &s->live, im_load_rlx(&s->live) - slot->e.size);
	}
	if (slot->e.flags & FMT_F_LARGE) {
		im_entry_chain(&slot->e, &c);
		im_large_unhook(op, &c, im_load_rlx(&s->large));
	}
	if (counted && im_event_wanted(op))
		im_event_gone(op, what);
	else if (version)
		im_redo_set(op, &s->version, im_load_rlx(&s->version) + 1);
	return im_redo_run(op);
}

#endif
