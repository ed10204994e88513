/* SPDX-License-Identifier: MIT */
/*
 * span.h - the locks of several shards together
 *
 *     im_span_make();  im_span_enter(); ... im_span_leave();  im_span_done();
 */
#ifndef IM_SPAN_H
#define IM_SPAN_H

#include "shard.h"

/* An operation on some shards, in their order, each once. */
struct im_span {
	struct im_op *op; /* n of them */
	uint32_t n;
};

/* The shards of @n keys with these hashes. 0; IPCMAP_NOMEM. */
int im_span_make(struct ipcmap *m, const uint64_t *hash, size_t n, uint64_t deadline_ns,
		 struct im_span *ret);

/* Enter all of them: 0; or an error of im_op_enter(), then none is entered. */
int im_span_enter(struct im_span *sp);
void im_span_leave(struct im_span *sp);

void im_span_done(struct im_span *sp);

/* The operation on the shard of this hash. */
struct im_op *im_span_of(const struct im_span *sp, uint64_t hash);

#endif
