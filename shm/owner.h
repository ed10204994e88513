/* SPDX-License-Identifier: MIT */
/*
 * owner.h - this process's slot in a segment; is another owner alive; fork; counter lines
 *
 * An owner is written slot:10 | generation:20 << 10, the low 30 bits of a lock word. It is
 * alive as long as an open-file-description lock on byte OWNER_BYTE + slot of the file
 * exists, and that lock is held by a mapping of the process (see owner.c).
 */
#ifndef IM_OWNER_H
#define IM_OWNER_H

#include "segment.h"

#define IM_OWNER_MASK 0x3fffffffu

struct im_tls {
	uint64_t token[IM_SEGS]; /* line[] belongs to this life of the process and attach */
	struct fmt_line *line[IM_SEGS];
	struct fmt_line *own[IM_SEGS]; /* the same, or NULL when that is shared with others */
	uint64_t held; /* bit id: this thread is inside a write of that segment */
	struct fmt_line none; /* counts of read-only attaches go here and nowhere */
	bool in_line;         /* inside im_owner_line(): a signal handler takes what is there */
};

extern __thread struct im_tls im_tls __attribute__((tls_model("initial-exec")));

/*
 * One private page, zero in every forked child (life.c): for each segment a number that is
 * new whenever this process's slot or the attach changes; 0: look at both anew.
 */
extern uint64_t *im_tokens;

/*
 * im_owner_ready() - make sure that this process (again, after fork) owns a slot
 *
 * Return: 0; -EUSERS; -EACCES with seg->why set; -EROFS; -EBUSY when the only free slots
 * left extents and the space lock is busy; -EUCLEAN; -EDEADLK when this very thread is
 * interrupted in here. Call before any lock is taken.
 */
int im_owner_ready(struct im_seg *seg);

/* The proof of death: true only when no thread of that owner can touch the memory again. */
bool im_owner_dead(struct im_seg *seg, uint32_t owner);

/* Give the slot back: at detach. Its counter lines become free. Under the life lock. */
void im_owner_leave(struct im_seg *seg);

/* Free the PRIVATE extents of dead owners; when memory is short, without any lock held. */
void im_owner_sweep(struct im_seg *seg);

/*
 * Set by core/ before the first attach: the i-th word of @seg that names an owner (shard
 * locks and the like), NULL behind the last. A slot whose generations are used up starts
 * over only after none of these words names it; while this is NULL such a slot is retired.
 */
extern uint32_t *(*im_owner_word)(struct im_seg *seg, uint32_t i);

/* For segment.c, under the life lock: as im_owner_ready(), but 0 when read-only. */
int im_owner_claim(struct im_seg *seg);

/*
 * For line.c, at the first call in this life of the process: claim a slot if that needs no
 * waiting. False when the life lock is busy; true says nothing about a slot.
 */
bool im_owner_try_ready(struct im_seg *seg);

/* For life.c: a new life of this process begins. */
void im_owner_forked(struct im_seg *seg);

/* Slots whose owner lives; for stat. */
uint32_t im_owner_count(struct im_seg *seg);

/* ---- counter lines: line.c ---- */

/* For life.c: a thread ends, and its lines become free. */
void im_owner_thread_end(void *unused);

/* The slow part of im_line(): claims a line; &seg->h->shared when there is none. */
struct fmt_line *im_owner_line(struct im_seg *seg);

/*
 * im_line() - this thread's counter line in @seg
 *
 * For a read-only attach a process-private line; the shared line (see im_count()) when all
 * are taken. Async-signal-safe.
 */
im_inline struct fmt_line *im_line(struct im_seg *seg)
{
	struct im_tls *t = &im_tls;
	uint64_t token = im_load_rlx(&im_tokens[seg->id]);

	if (likely(t->token[seg->id] == token && token))
		return t->line[seg->id];
	return im_owner_line(seg);
}

/* One more; the line has one writer, except the shared one. */
im_inline void im_count_by(const struct im_seg *seg, struct fmt_line *line, uint64_t *counter,
			   uint64_t n)
{
	if (unlikely(line == &seg->h->shared))
		im_add_rlx(counter, n);
	else
		im_store_rlx(counter, im_load_rlx(counter) + n);
}

im_inline void im_count(const struct im_seg *seg, struct fmt_line *line, uint64_t *counter)
{
	im_count_by(seg, line, counter, 1);
}

#endif
