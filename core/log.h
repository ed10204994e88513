/* SPDX-License-Identifier: MIT */
/*
 * log.h - the logs of a shard: append an entry, move one, account for names
 *
 * Invariants
 *  log.I1  bytes of an extent below its fill are whole entries; beyond it, garbage.
 *  log.I2  named bytes of an extent = the sum over the slots that name its entries.
 *  log.I3  live bytes of an extent that is not wholly below the floor = the sum over the
 *          slots that name its entries; live of the shard = their sum over such extents.
 *  log.I4  no extent holds entries both below and above the floor (clear retires the heads).
 *  log.I5  version_max, expiry_min and expiry_max of an extent bound those of its entries
 *          that a slot names.
 */
#ifndef IM_LOG_H
#define IM_LOG_H

#include "entry.h"
#include "redo.h"

/* What is to be stored; the log entry's parts. */
struct im_record {
	const void *key;
	const void *val;
	uint32_t key_len;
	uint32_t val_len;
	unsigned flags; /* FMT_F_... */
	unsigned type;
	uint64_t version;
	uint64_t expiry; /* with FMT_F_TTL */
	struct fmt_chain chain; /* with FMT_F_LARGE */
	uint64_t hash;
	uint32_t size; /* in the log, rounded */
	bool same; /* the present value with another life: its version and chain stay */
};

im_inline uint32_t im_books_live(uint64_t books)
{
	return (uint32_t)books;
}

im_inline uint32_t im_books_named(uint64_t books)
{
	return (uint32_t)(books >> 32);
}

im_inline uint64_t im_books(uint32_t live, uint32_t named)
{
	return live | (uint64_t)named << 32;
}

/* Has the head room for @size bytes? */
im_inline bool im_log_fits(const struct im_op *op, unsigned head, uint32_t size)
{
	uint32_t ext = im_load32_rlx(&op->s->head[head]);

	return ext < op->seg->n_extents &&
	       im_load32_rlx(&op->seg->table[ext].fill) + (uint64_t)size <= op->seg->extent_len;
}

/* Where bytes were put, at the end of a head. */
struct im_place {
	uint32_t ext;
	uint32_t ref;
	uint32_t fill; /* of the extent, once they count */
};

/*
 * Write a record, or a copy of an entry, at the end of a head; false when it has no room.
 * The bytes do not count until a redo list stores the place's fill, with what names them.
 */
bool im_log_append(struct im_op *op, unsigned head, const struct im_record *rec,
		   struct im_place *ret);
bool im_log_move(struct im_op *op, unsigned head, const struct im_entry *e,
		 struct im_place *ret);

/* Add to the redo list begun, first: the bytes count. */
im_inline void im_log_count(struct im_op *op, const struct im_place *at)
{
	im_redo_set32(op, &op->seg->table[at->ext].fill, at->fill);
}

/* All entries of this extent are below the floor. */
bool im_log_dead(const struct im_op *op, uint32_t ext);

/* Every entry of this extent is below the floor or has expired. */
bool im_log_expired(struct im_op *op, uint32_t ext);

#endif
