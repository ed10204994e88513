/* SPDX-License-Identifier: MIT */
/*
 * view.h - a version of a snapshot table, held by this process
 */
#ifndef IM_VIEW_H
#define IM_VIEW_H

#include "image.h"
#include "keep.h"
#include "window.h"

struct ipcmap_snapshot {
	struct im_image image;
	/* pinned in this life of the process while *token_at == token */
	const uint64_t *token_at;
	uint64_t token;
	const uint64_t *current; /* of its table */
	uint64_t was;		 /* what current says while this version is it */
	uint64_t version;
	struct im_seg *seg;
	struct im_held first;
	uint32_t slot;
	uint32_t pin;
	uint32_t refs;	  /* under the life lock, here to next */
	struct ipcmap_snapshot *next;
	uint64_t deadline_ns;
	struct im_window window;
	void *copy; /* or NULL: it is pinned */
};

/*
 * Hold a version, 0: the current one. 0; IPCMAP_NOTFOUND; -EBUSY: replaced 16 times meanwhile;
 * IPCMAP_CORRUPT; IPCMAP_NOMEM; IPCMAP_DEADLOCK in a signal handler.
 */
int im_view_open(struct ipcmap *m, const char *table, uint64_t version,
		 struct ipcmap_snapshot **ret_snap);
void im_view_close(struct ipcmap_snapshot *v);

/* After fork: 0, pinned again; IPCMAP_MISMATCH: its memory is gone; other errors of a write. */
int im_view_again(struct ipcmap_snapshot *v);

/* Every call on a view begins with this. */
im_inline int im_view_ready(struct ipcmap_snapshot *v)
{
	/* ord(pin): the pin is there before the token that says so. Pairs with im_view_again(). */
	if (likely(im_load_rlx(v->token_at) == im_load_acq(&v->token)))
		return 0;
	return im_view_again(v);
}

/* The entry of a table; n_tables: there is none. Needs no lock, see view.c. */
uint32_t im_view_find(const struct im_area *a, const char *name);

#endif
