/* SPDX-License-Identifier: MIT */
/*
 * keep.h - the versions that a map keeps: under the area's lock
 */
#ifndef IM_KEEP_H
#define IM_KEEP_H

#include "lock.h"
#include "map.h"
#include "pin.h"

struct im_keep {
	struct im_area a;
	struct im_wait *wait;
	uint16_t held[IM_KEPT_MAX]; /* by how many processes; im_keep_mark() */
};

/* A version's fields, each loaded once and bounded. */
struct im_kept {
	struct im_held first;
	uint64_t version, len, time;
	uint64_t stored; /* bytes of the image compressed; 0: as it is */
	uint32_t last, n, keys, table, state;
};

/* Bytes in its extents. */
im_inline uint64_t im_kept_bytes(const struct im_kept *v)
{
	return v->stored ? v->stored : v->len;
}

im_inline uint64_t fmt_current(uint64_t version, uint32_t slot)
{
	return version << 16 | slot;
}

im_inline uint32_t fmt_current_slot(uint64_t current)
{
	return (uint32_t)current & 0xffff;
}

im_inline uint64_t fmt_current_version(uint64_t current)
{
	return current >> 16;
}

void im_keep_init(struct ipcmap *m, struct im_keep *k, struct im_wait *wait);

/*
 * Take the area's lock, finish what a dead holder left, free what is leaving and nobody
 * holds. 0; -EBUSY, -EINTR, -EUCLEAN, the lock not held. Call without other locks.
 */
int im_keep_enter(struct im_keep *k);
void im_keep_leave(struct im_keep *k);

/*
 * False when the numbers cannot be a version's, or are of two: then the state is FREE. Needs no
 * lock.
 */
bool im_keep_read(const struct im_area *a, uint32_t slot, struct im_kept *ret);

/*
 * A walk over the pool without the lock may miss a version that is stored compressed just now
 * (snapshot-pack.c). @seq is 1 before the first walk; true: the walk counts, else walk again.
 * @was is what im_keep_seq() said before the walk.
 */
im_inline uint64_t im_keep_seq(const struct im_area *a)
{
	return im_load_acq(&a->s->redo.seq);
}
bool im_keep_walked(const struct im_area *a, uint64_t was, uint64_t *seq);

/* Versions below this were used. */
uint32_t im_keep_top(const struct im_area *a);

/* Count the living holders of each version into held[]. Needs no lock. */
void im_keep_mark(struct im_keep *k);

/* Is it its table's current version? */
bool im_keep_is_current(const struct im_area *a, uint32_t slot, const struct im_kept *v);

/* ---- under the lock ---- */

/*
 * Room in the pool and in the share of the limit for a version of @n extents: drops the
 * oldest that nobody holds, if that helps. 0; IPCMAP_FULL, and @why names the holders.
 */
int im_keep_room(struct im_keep *k, uint32_t n, const struct im_why *why);

/* Drop the oldest version that is neither current nor held: false, there is none. */
bool im_keep_drop_one(struct im_keep *k);

/* The fields of a FREE version, all but its state. */
void im_keep_fill(struct fmt_kept *v, const struct im_kept *from);

/* A free place in the pool, after im_keep_room(). */
uint32_t im_keep_free_slot(struct im_keep *k);

/* No more than FMT_KEEP versions of a table can be opened; all of them leave if @all. */
void im_keep_trim(struct im_keep *k, uint32_t table, bool all);

/* Free the extents of what is leaving and nobody holds; what is busy is left for later. */
void im_keep_tidy(struct im_keep *k);

/*
 * @v as im_keep_read() found it: are its extents free, and was whoever freed them killed before
 * the last store? Nobody can open such a version, and nobody holds it.
 */
bool im_keep_is_gone(const struct im_area *a, const struct im_kept *v);

/* Bytes in extents of versions; needs no lock. */
uint64_t im_keep_len(const struct ipcmap *m);

#endif
