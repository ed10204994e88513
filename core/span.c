/* SPDX-License-Identifier: MIT */
/*
 * span.c - the locks of several shards together
 *
 * They are taken in the order of the shards, which is the order of locks (lock.h), so two spans
 * cannot wait for each other; and the one who cannot have them all lets all of them go.
 *
 * Invariants
 *  span.I1  op[] is in strictly rising order of shards.
 */
#include "span.h"

#include "crash.h"
#include "lease.h"

#include <stdlib.h>

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int im_span_make(struct ipcmap *m, const uint64_t *hash, size_t n, uint64_t deadline_ns,
		 struct im_span *ret)
{
	uint32_t *shard = malloc(n * sizeof(*shard));

	ret->n = 0;
	ret->op = malloc(min_u64(n, m->n_shards) * sizeof(*ret->op));
	if (!shard || !ret->op) {
		free(shard);
		free(ret->op);
		return IPCMAP_NOMEM;
	}
	for (size_t i = 0; i < n; i++)
		shard[i] = im_map_shard(m, hash[i]);
	qsort(shard, n, sizeof(*shard), by_number);
	for (size_t i = 0; i < n; i++) {
		if (i && shard[i] == shard[i - 1])
			continue;
		im_op_init(m, &ret->op[ret->n], deadline_ns);
		im_op_shard(&ret->op[ret->n++], shard[i]);
	}
	free(shard);
	return 0;
}

int im_span_enter(struct im_span *sp)
{
	uint64_t until = 0;

	/* one deadline for all of them, whichever has waited since */
	for (uint32_t i = 0; i < sp->n; i++)
		until = max_u64(until, sp->op[i].wait.until);
	for (uint32_t i = 0; i < sp->n; i++) {
		int r;

		sp->op[i].wait.until = until;
		r = im_op_enter(&sp->op[i]);
		until = sp->op[i].wait.until;
		if (r) {
			while (i-- > 0)
				im_op_leave(&sp->op[i]);
			return r;
		}
		crash("span.entered");
	}
	return 0;
}

void im_span_leave(struct im_span *sp)
{
	for (uint32_t i = sp->n; i-- > 0;)
		im_op_leave(&sp->op[i]);
}

void im_span_done(struct im_span *sp)
{
	for (uint32_t i = 0; i < sp->n; i++) {
		im_lease_ring(&sp->op[i]);
		im_op_done(&sp->op[i]);
	}
	free(sp->op);
}

struct im_op *im_span_of(const struct im_span *sp, uint64_t hash)
{
	uint32_t from = 0, to = sp->n;

	while (to - from > 1) {
		uint32_t mid = from + (to - from) / 2;

		if (sp->op[mid].shard <= im_map_shard(sp->op[0].m, hash))
			from = mid;
		else
			to = mid;
	}
	return &sp->op[from];
}
