/* SPDX-License-Identifier: MIT */
/*
 * calls.h - what the files of calls share: sets of errors, arguments out of a record
 */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include "fuzz.h"

/* A set of errors; errno values are below 128. */
typedef unsigned __int128 fz_set;
#define E(e) ((fz_set)1 << -(e))

#define GETS                                                                                   \
	(E(IPCMAP_NOTFOUND) | E(IPCMAP_SHORT) | E(IPCMAP_BUSY) | E(IPCMAP_NOMEM) |             \
	 E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT))
/* a call that locks */
#define LOCKS                                                                                  \
	(E(IPCMAP_BUSY) | E(IPCMAP_DEADLOCK) | E(IPCMAP_INTERRUPTED) | E(IPCMAP_READONLY) |    \
	 E(IPCMAP_PERM) | E(IPCMAP_OWNERS) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT))
#define DELS (LOCKS | E(IPCMAP_NOTFOUND) | E(IPCMAP_NOMEM) | E(IPCMAP_RANGE))
#define PUTS                                                                                   \
	(DELS | E(IPCMAP_EXISTS) | E(IPCMAP_MISMATCH) | E(IPCMAP_LIMIT) | E(IPCMAP_FULL) |     \
	 E(IPCMAP_TOOBIG))
#define OPENS                                                                                  \
	(E(IPCMAP_NOTFOUND) | E(IPCMAP_MISMATCH) | E(IPCMAP_NOTMAP) | E(IPCMAP_VERSION) |      \
	 E(IPCMAP_CREATING) | E(IPCMAP_PERM) | E(IPCMAP_NOMEM) | E(IPCMAP_OWNERS) |            \
	 E(IPCMAP_CORRUPT) | E(IPCMAP_BUSY) | E(IPCMAP_INVALID))
#define SCANS                                                                                  \
	(E(IPCMAP_NOMEM) | E(IPCMAP_BUSY) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT) |            \
	 E(IPCMAP_DEADLOCK) | E(IPCMAP_INTERRUPTED) | E(IPCMAP_PERM) | E(IPCMAP_OWNERS))

/* Far above what fits into a seed's 320 KiB: a walk without an end. */
#define WALK_MAX 100000u

/* Ends the process if @rc is an error that is not in @errors. */
void fz_may(const struct fz_run *run, const char *what, int rc, fz_set errors);

/* All bytes of something, so that one which is not there is noticed. */
void fz_look(const void *p, size_t len);
void fz_look_value(int rc, const struct ipcmap_value *v);

/* From malloc(), of the exact length. */
void *fz_room(size_t len);
void *fz_key_of(const struct fz_run *run, const struct fz_rec *r, size_t *ret_len);
void *fz_val_of(const struct fz_rec *r, size_t *ret_len);
struct ipcmap_value fz_value_of(const struct fz_rec *r);
const char *fz_table_of(const struct fz_rec *r);

/* ---- calls-many.c ---- */

void fz_many(struct fz_run *run, const struct fz_rec *r);

/* ---- calls-snapshot.c ---- */

void fz_snapshot(struct fz_run *run, const struct fz_rec *r);
void fz_snapshots_close(struct fz_run *run);

/* ---- calls-pin.c ---- */

void fz_pin(struct fz_run *run, const struct fz_rec *r);
void fz_pins_end(struct fz_run *run);

/* ---- calls-wait.c ---- */

void fz_watch(struct fz_run *run, const struct fz_rec *r);
void fz_watches_close(struct fz_run *run);
void fz_load_key(struct fz_run *run, const struct fz_rec *r);
void fz_leases_forget(struct fz_run *run);

#endif
