/* SPDX-License-Identifier: MIT */
/*
 * request.h - what a write asks of the entry that is there: conditions, its value
 *
 * All but im_request_look() are called under the shard's lock.
 */
#ifndef IM_REQUEST_H
#define IM_REQUEST_H

#include "entry.h"
#include "log.h"
#include "shard.h"

struct im_request {
	const struct ipcmap_put_options *how; /* never NULL */
	struct ipcmap_value *old; /* may be NULL */
	uint64_t seen; /* version of the value that was copied to old outside the lock */
	uint64_t compared; /* version of the value that was compared with how->equal likewise */
	bool equal;        /* the result */
	unsigned looks; /* how often */
	/*
	 * NULL, or: complete the record from the entry that is there (NULL: none), once the
	 * conditions are met; update.c. 0 or the error to return. It may run more than once.
	 */
	int (*make)(struct im_op *op, struct im_request *q, const struct im_entry *old,
		    struct im_record *rec);
	void *arg;
	bool as_is; /* the record has its life already */
	uint64_t ttl_new_ns; /* with IPCMAP_TTL_KEEP, when nothing is there; 0: the map's default */
};

extern const struct ipcmap_put_options im_request_plain; /* the defaults */

/* Is the entry at or above the floor? Then it is in the shard's books. */
im_inline bool im_request_counts(struct im_op *op, const struct im_entry *e)
{
	return e->version >= im_load_rlx(&op->s->floor);
}

/* ... and has not expired? */
im_inline bool im_request_alive(struct im_op *op, const struct im_entry *e)
{
	return im_request_counts(op, e) &&
	       (!(e->flags & FMT_F_TTL) || im_entry_expiry(e) > im_op_now(op));
}

/* 0, or the error of the first condition that @e (NULL: nothing there) does not meet. */
int im_request_check(struct im_op *op, const struct im_request *q, const struct im_entry *e);

/*
 * Copy the present value out, when it is wanted. @r is what the call would return; what it
 * returns in the end comes back. IM_LOOK: large or compressed, copy it without the lock first.
 */
int im_request_show(struct im_op *op, const struct im_request *q, const struct im_entry *e,
		    int r);

/* Both: 0, go on; else what the call returns. A plain put asks nothing. */
im_inline int im_request_judge(struct im_op *op, const struct im_request *q,
			       const struct im_entry *e)
{
	if (likely(!q->how->flags && !q->old))
		return 0;
	return im_request_show(op, q, e, im_request_check(op, q, e));
}

/* After IM_LOOK, without the lock: 0, enter again; or an error. */
int im_request_look(struct im_op *op, struct im_request *q);

#endif
