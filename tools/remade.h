/* SPDX-License-Identifier: MIT */
/*
 * remade.h - has another map got the name, for verbs that go on for long
 *
 *     remade_init(&r, ...)                      before the map is attached
 *     next = remade_look(&r, map)               every now and then; costs a stat(2) a second
 *     next?  go over to it, ipcmap_close(map)
 */
#ifndef REMADE_H
#define REMADE_H

#include <sys/types.h>

#include "attach.h"

struct remade {
	const char *name;
	const char *goes_on; /* what is said after "removed; " and the like */
	unsigned flags;
	dev_t dev; /* of the file that has the name, as far as it was looked at */
	ino_t ino;
	uint64_t looked_ns;
	bool is_gone; /* that was said */
	int failed;   /* why the new one could not be attached, which was said */
};

/* For a map of this name that attach() attaches with these flags. */
void remade_init(struct remade *r, const struct args *a, const char *name, unsigned flags,
		 const char *goes_on);

/*
 * The map that has the name now, attached, when it is not @map; else NULL. A name that is
 * gone, and a map that cannot be attached, are complained of once. Looks once a second at most.
 */
struct ipcmap *remade_look(struct remade *r, struct ipcmap *map);

#endif
