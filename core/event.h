/* SPDX-License-Identifier: MIT */
/*
 * event.h - what a write tells those who watch its shard
 *
 *     redo list begun, the change in it;  if (im_event_wanted(op)) im_event_add(op, ...);
 *     list run; unlocked;                 im_op_done() rings the bells
 */
#ifndef IM_EVENT_H
#define IM_EVENT_H

#include "entry.h"
#include "redo.h"

/* The bytes of an event; the longest leaves a ring room for three others. */
im_inline uint32_t im_event_max(const struct im_seg *seg)
{
	return seg->extent_len / 4;
}

im_inline uint32_t im_event_key_max(const struct im_seg *seg)
{
	return im_event_max(seg) - (uint32_t)sizeof(struct fmt_event);
}

/* Does anybody watch op's shard? All that others pay. */
im_inline bool im_event_wanted(const struct im_op *op)
{
	return unlikely(im_load32_rlx(&op->s->ring) != 0);
}

/* The extent of a shard's ring, or FMT_NO_EXTENT when that word names none. */
uint32_t im_event_extent(const struct im_seg *seg, const struct fmt_shard *s, uint32_t shard);

/*
 * Add to the redo list begun, as its last store: the event happened. @key: of op, or NULL for
 * a clear; @version: the one that the change took.
 */
void im_event_add(struct im_op *op, enum fmt_event_op what, const void *key, uint32_t key_len,
		  uint64_t hash, uint64_t version);

/* Likewise, op's key is gone; that takes a version of its own, also in the list. */
void im_event_gone(struct im_op *op, enum fmt_event_op what);

/* Likewise, cleaning drops this entry, which has expired. */
void im_event_expired(struct im_op *op, const struct im_entry *e);

/* The bell of those who wait for a key, or for keys that begin with @key. */
uint32_t im_event_bell(const struct ipcmap *m, const void *key, uint32_t key_len);

/* Longer prefixes have the bell of their first so many bytes. */
#define IM_EVENT_PREFIX_MAX 64u

/* Without a lock: ring the bells of the events that op told. */
void im_event_ring(struct im_op *op);

/* All bells: whoever sleeps looks again. Async-signal-safe. */
void im_event_ring_all(struct ipcmap *m);

#endif
