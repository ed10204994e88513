/* SPDX-License-Identifier: MIT */
/*
 * calls-pin.c - values held in place, and what the calls may return
 *
 * In a sound map a value stays as it was until it is let go, whatever is called meanwhile.
 */
#include "calls.h"

#include "hash.h"

#include <stdlib.h>
#include <string.h>

#define ERRORS                                                                                 \
	(E(IPCMAP_NOTFOUND) | E(IPCMAP_BUSY) | E(IPCMAP_NOMEM) | E(IPCMAP_CORRUPT) |           \
	 E(IPCMAP_INVALID) | E(IPCMAP_OWNERS) | E(IPCMAP_PERM) | E(IPCMAP_DEADLOCK))

struct fz_held {
	struct ipcmap_pin pin;
	uint64_t sum;
};

static void end(struct fz_run *run, struct fz_held **h)
{
	if (!*h)
		return;
	fz_look((*h)->pin.val, (*h)->pin.len);
	if (run->way == FZ_SOUND && XXH3_64bits((*h)->pin.val, (*h)->pin.len) != (*h)->sum)
		fz_broken("a value changed while it was held", (int)(*h)->pin.len);
	ipcmap_unpin(run->m, &(*h)->pin);
	free(*h);
	*h = NULL;
}

void fz_pins_end(struct fz_run *run)
{
	for (unsigned i = 0; i < ARRAY_LEN(run->held); i++)
		end(run, &run->held[i]);
}

static void hold(struct fz_run *run, const struct fz_rec *r, struct fz_held **ret)
{
	struct fz_held *h = fz_room(sizeof(*h));
	size_t len;
	void *key = fz_key_of(run, r, &len);
	int rc = ipcmap_pin(run->m, key, len, &h->pin);

	fz_may(run, "pin", rc, ERRORS);
	free(key);
	if (rc) {
		free(h);
		return;
	}
	fz_look(h->pin.val, h->pin.len);
	h->sum = XXH3_64bits(h->pin.val, h->pin.len);
	*ret = h;
}

void fz_pin(struct fz_run *run, const struct fz_rec *r)
{
	struct fz_held **h = &run->held[r->a % ARRAY_LEN(run->held)];

	end(run, h);
	if (r->kind % FZ_KINDS == FZ_HOLD)
		hold(run, r, h);
}
