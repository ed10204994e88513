/* SPDX-License-Identifier: MIT */
/*
 * offline.h - a segment that nobody writes meanwhile: held, looked at in a copy, replaced
 *
 * See offline.c. For core/repair.c only.
 */
#ifndef IM_OFFLINE_H
#define IM_OFFLINE_H

#include "layout.h"
#include "segment.h"
#include "why.h"

#include <sys/stat.h>

struct im_offline {
	char path[4096];
	int fd;	    /* for reading and for one store; no lock hangs on it */
	void *page; /* the mapping that holds the locks */
	struct stat st;
	struct fmt_header h; /* made right, if that was possible */
	const char *damage;  /* what was wrong with the header or the length; NULL: nothing */
	bool unproven;	     /* the checksum itself is damaged: the seed has to prove itself */
};

/*
 * Keep everybody out who would write: no owner is alive, and none can come. 0; -EBUSY: somebody
 * lives; -EAGAIN: still being created; as im_seg_attach() when the file is not to be read;
 * -EUCLEAN: its header cannot be made right.
 */
int im_offline_hold(const char *path, unsigned flags, const struct im_why *why,
		    struct im_offline *o);
void im_offline_release(struct im_offline *o);

/*
 * A private copy, of which nothing goes back to the file. What the file lacks, and its holes,
 * are zeros. im_offline_forget() frees it.
 */
int im_offline_copy(const struct im_offline *o, const struct im_why *why, struct im_seg **ret);
void im_offline_forget(struct im_seg *copy);

/*
 * The path at which a segment is built that shall replace it. What a killed predecessor left
 * there is removed; anything else is -EEXIST.
 */
int im_offline_place(const struct im_offline *o, char path[4096], const struct im_why *why);

/*
 * The file at @built takes the place, its owner and its mode; before, the damaged one gets
 * the name PATH.damaged too if @keep, which is -EEXIST when that is another file.
 */
int im_offline_replace(const struct im_offline *o, const char *built, bool keep,
		       const struct im_why *why);

/* What was built is not wanted. */
void im_offline_remove(const char *built);

#define IM_OFFLINE_KEPT ".damaged"

#endif
