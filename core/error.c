/* SPDX-License-Identifier: MIT */
/*
 * error.c - name and message of each error
 */
#include "error.h"

#include "base.h"

#include <string.h>

#define E(name, text) {name, #name, text}

const struct im_error im_errors[] = {
	E(IPCMAP_NOTFOUND, "not there"),
	E(IPCMAP_EXISTS, "there already"),
	E(IPCMAP_MISMATCH, "condition not met"),
	E(IPCMAP_SHORT, "buffer too small"),
	E(IPCMAP_LIMIT, "the map's limit is reached"),
	E(IPCMAP_FULL, "no memory left for the segment (file system full or RLIMIT_FSIZE)"),
	E(IPCMAP_TOOBIG, "key or value too long"),
	E(IPCMAP_INVALID, "invalid argument"),
	E(IPCMAP_READONLY, "attached for reading only"),
	E(IPCMAP_NOTMAP, "not an ipcmap segment"),
	E(IPCMAP_VERSION, "unknown segment format"),
	E(IPCMAP_CREATING, "still being created"),
	E(IPCMAP_PERM, "permission denied"),
	E(IPCMAP_NOMEM, "out of memory in this process"),
	E(IPCMAP_OWNERS, "every owner slot is in use"),
	E(IPCMAP_TYPE, "entry of another type"),
	E(IPCMAP_RANGE, "result out of range"),
	E(IPCMAP_BUSY, "busy until the deadline"),
	E(IPCMAP_DEADLOCK, "write inside this thread's own write"),
	E(IPCMAP_INTERRUPTED, "interrupted"),
	E(IPCMAP_GAP, "events were missed"),
	E(IPCMAP_MOVED, "the map has moved"),
	E(IPCMAP_CORRUPT, "the segment is corrupt"),
};
const unsigned im_n_errors = ARRAY_LEN(im_errors);

static const struct im_error *find(int err)
{
	for (unsigned i = 0; i < im_n_errors; i++)
		if (im_errors[i].err == err)
			return &im_errors[i];
	return NULL;
}

const char *ipcmap_strerror(int err)
{
	const struct im_error *e = find(err);
	const char *s;

	if (err >= 0)
		return "no error";
	if (e)
		return e->text;
	s = err > -4096 ? strerrordesc_np(-err) : NULL;
	return s ? s : "unknown error";
}

const char *ipcmap_errname(int err)
{
	const struct im_error *e = find(err);

	return e ? e->name : "";
}
