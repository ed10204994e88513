/* SPDX-License-Identifier: MIT */
/*
 * request.c - what a write asks of the entry that is there: conditions, its value
 *
 * A large or compressed value is never copied or compared under the lock. It is read as any
 * reader does, and under the lock its version must still be the same; else it is read again,
 * until the deadline.
 */
#include "request.h"

#include "read.h"
#include "value.h"

const struct ipcmap_put_options im_request_plain = IPCMAP_PUT_INIT;

/* ---- what is there ---- */

int im_request_check(struct im_op *op, const struct im_request *q, const struct im_entry *e)
{
	const struct ipcmap_put_options *how = q->how;
	struct im_value at;
	int r;

	if (!(how->flags & ~IPCMAP_IF_ABSENT))
		return how->flags && e ? IPCMAP_EXISTS : 0;
	if (!e)
		return IPCMAP_NOTFOUND;
	if (how->flags & IPCMAP_IF_ABSENT)
		return IPCMAP_EXISTS;
	if (how->flags & IPCMAP_IF_VERSION && e->version != how->version)
		return IPCMAP_MISMATCH;
	if (!(how->flags & IPCMAP_IF_EQUAL))
		return 0;
	if (e->flags & (FMT_F_LARGE | FMT_F_PACKED)) {
		if (q->compared != e->version)
			return IM_LOOK;
		return q->equal ? 0 : IPCMAP_MISMATCH;
	}
	im_value_find(op->seg, e, &at);
	r = im_value_equal(&at, how->equal, how->equal_len);
	return r < 0 ? r : r ? 0 : IPCMAP_MISMATCH;
}

/* Copy the present value out, when it is wanted. @r is what the call would return. */
int im_request_show(struct im_op *op, const struct im_request *q, const struct im_entry *e,
		    int r)
{
	struct ipcmap_value *v = q->old;
	uint64_t expiry, len = 0;
	struct im_value at;
	int bad;

	if (!v || r == IM_LOOK)
		return r;
	if (!e) {
		if (r == 0) {
			v->len = 0;
			v->version = 0;
			v->ttl_left_ns = IPCMAP_TTL_NONE;
			v->type = 0;
		}
		return r;
	}
	im_value_find(op->seg, e, &at);
	bad = im_value_len(&at, &len);
	if (bad)
		return bad;
	v->len = len;
	if (v->cap < len)
		return r ? r : IPCMAP_SHORT;
	if (!(e->flags & (FMT_F_LARGE | FMT_F_PACKED)))
		im_copy_racy(v->buf, im_entry_val(e), e->val_len);
	else if (q->seen != e->version)
		return IM_LOOK;
	expiry = im_entry_expiry(e);
	v->version = e->version;
	v->ttl_left_ns = e->flags & FMT_F_TTL ? expiry - im_op_now(op) : IPCMAP_TTL_NONE;
	v->type = e->type;
	return r;
}

static bool is_no_answer(int r)
{
	return r == IPCMAP_NOTFOUND || r == IPCMAP_SHORT || r == IPCMAP_BUSY;
}

static int compare(struct im_op *op, struct im_request *q)
{
	uint64_t version = 0;
	int r = im_read_equal(op->m, op->key, op->key_len, q->how->equal, q->how->equal_len,
			      &version);

	if (r == 0 || r == IPCMAP_MISMATCH) {
		q->equal = r == 0;
		q->compared = version;
		return 0;
	}
	return is_no_answer(r) ? 0 : r;
}

static int copy(struct im_op *op, struct im_request *q)
{
	struct ipcmap_value v = {.buf = q->old->buf, .cap = q->old->cap};
	int r = im_read_uncounted(op->m, op->key, op->key_len, &v);

	if (r == 0)
		q->seen = v.version;
	return is_no_answer(r) ? 0 : r;
}

/*
 * Such a value is looked at outside the lock; under it the version must still be the same.
 * What changed meanwhile is looked at again.
 */
int im_request_look(struct im_op *op, struct im_request *q)
{
	int r = q->how->flags & IPCMAP_IF_EQUAL ? compare(op, q) : 0;

	if (!r && q->old)
		r = copy(op, q);
	/* the first look waits for nobody, so NOWAIT has it too */
	if (q->looks++ && im_wait_over(&op->wait))
		return IPCMAP_BUSY;
	return r;
}
