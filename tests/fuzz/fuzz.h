/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - hostile bytes: what the fuzzers and the suite "hostile" share
 *
 * An input is not a segment but a script: which seed (a small map that seeds.c makes, sound or
 * left by a killed process), how to attach it, and records of 16 bytes. A record changes a
 * field of the segment, named by structure and number (patch.c), or makes a call (calls.c).
 * So any mutation is a script too, hits structures more often than padding, and an input has
 * some hundred bytes in place of the segment's 320 KiB. Any byte can be reached: one kind of
 * change is by offset.
 *
 * Scripts run in three ways. HOSTILE: changes are made before the attach, between calls, and
 * at a crash point inside one. SCRIBBLE: a thread makes them all the time. SOUND: none are
 * made, and then the map must be sound at the end and no call may say CORRUPT.
 *
 * Whatever the bytes: no crash, an end (time is scripted: nobody sleeps), only errors that
 * ipcmap.h lists for the call, and a read-only attach stores nothing.
 *
 * Broken properties end the process by abort(), for the fuzzer to keep the input.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "format.h"
#include "ipcmap.h"

enum fz_way { FZ_HOSTILE, FZ_SCRIBBLE, FZ_SOUND };

/* The first bytes of a script. */
struct fz_head {
	uint8_t seed;
	uint8_t flags;
};
#define FZ_RDONLY 1u	  /* attach for reading */
#define FZ_BAD_SUM 2u	  /* leave the header's checksum as it is */
#define FZ_NO_TOUR 4u	  /* do not end with one call of each kind */
#define FZ_TOUR_RDONLY 8u /* ... or make them through a read-only attach */

/* Then records, fewer bytes than one at the end are ignored. */
struct fz_rec {
	uint8_t kind;
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
};
static_assert(sizeof(struct fz_rec) == 16, "the corpus has them");
#define FZ_RECS 48u

/* Kinds; others are taken modulo FZ_KINDS. The corpus has these numbers. */
enum fz_kind {
	/* changes: patch.c */
	FZ_RAW,
	FZ_HEADER,
	FZ_SPACE,
	FZ_OWNER,
	FZ_LINE,
	FZ_SHARD,
	FZ_REDO,
	FZ_DIR,
	FZ_EXTENT,
	FZ_BUCKET,
	FZ_ENTRY,
	FZ_BLOCK,
	FZ_SNAPS,
	FZ_TABLE,
	FZ_KEPT,
	FZ_PIN,
	FZ_IMAGE,
	FZ_ITEM,
	FZ_LATER, /* the next change is made at the c-th crash point from now on */
	FZ_CALLS, /* calls from here on: calls.c and others */
	FZ_GET = FZ_CALLS,
	FZ_GETX,
	FZ_GET_ALLOC,
	FZ_EXISTS,
	FZ_PUT,
	FZ_PUTX,
	FZ_DEL,
	FZ_TAKE,
	FZ_TOUCH,
	FZ_GET_TOUCH,
	FZ_ADD,
	FZ_MGET,
	FZ_DEL_PREFIX,
	FZ_TUNE,
	FZ_CLEAR,
	FZ_SCAN,
	FZ_STAT,
	FZ_CHECK,
	FZ_COMPACT,
	FZ_INSPECT,
	FZ_PUBLISH,
	FZ_SNAP_OPEN,
	FZ_SNAP_GET,
	FZ_SNAP_EACH,
	FZ_SNAP_CLOSE,
	FZ_SNAP_LIST,
	FZ_ROLLBACK,
	FZ_DROP,
	FZ_INTERRUPT,
	FZ_REOPEN,
	FZ_CLOCK,
	FZ_RESERVE, /* the c-th reservation of memory from now on fails */
	FZ_NULLS,
	FZ_COMMIT,
	FZ_MGET_CONSISTENT,
	FZ_PREFIX,
	FZ_WATCH_OPEN,
	FZ_WATCH_NEXT,
	FZ_WATCH_CLOSE,
	FZ_LEASE,
	FZ_LEASE_PUT,
	FZ_LEASE_FAIL,
	FZ_FILL,
	FZ_SNAP_WAIT,
	FZ_SNAP_REFRESH,
	FZ_SNAP_HOLDERS,
	FZ_REPAIR,
	/* more changes: patch.c */
	FZ_SHARD_WAITS,
	FZ_WAITS,
	FZ_WATCHER,
	FZ_GRANT,
	FZ_EVENT,
	FZ_RECORD,
	FZ_VALUE_PIN,
	/* more calls */
	FZ_HOLD,
	FZ_LET_GO,
	FZ_KINDS,
	FZ_MORE = FZ_SHARD_WAITS,
	FZ_MORE_CALLS = FZ_HOLD,
};

/* ---- seeds.c ---- */

#define FZ_LEN (UINT64_C(320) << 10) /* of each seed */

struct fz_seed {
	const char *name;
	unsigned char *bytes; /* FZ_LEN */
	/* places of structures that are not found by number alone */
	uint32_t *entries, *buckets, *blocks, *images, *items, *events, *records;
	uint32_t n_entries, n_buckets, n_blocks, n_images, n_items, n_events, n_records;
};

extern struct fz_seed fz_seeds[];
extern const unsigned fz_n_seeds;

/* Make the seeds at @path, once in a process; false says on stderr what is wrong. */
bool fz_seeds_make(const char *path);
void fz_seeds_free(void);

/* The key of a number; seeds have keys 0 .. FZ_KEYS - 1. Lasts till the next call. */
#define FZ_KEYS 120u
const void *fz_key(uint32_t i, size_t *ret_len);

/* ---- patch.c ---- */

bool fz_is_patch(const struct fz_rec *r);
/* Change what @r names in @map, which began as @seed. */
void fz_patch(unsigned char *map, const struct fz_seed *seed, const struct fz_rec *r);
void fz_patch_sum(unsigned char *map);

/* ---- calls*.c ---- */

struct fz_run {
	enum fz_way way;
	const char *path;
	unsigned char *map; /* the segment's file, mapped by us */
	const struct fz_seed *seed;
	struct ipcmap *m;	 /* under a prefix, when depth is not 0 */
	struct ipcmap *above[2]; /* what leads there */
	unsigned depth;
	bool rdonly;
	struct ipcmap_snapshot *snap[3];
	const char *table[3]; /* of each */
	struct fz_watched *watched[2];
	struct fz_leased *leased[4];
	struct fz_held *held[4];
	unsigned char *before; /* its bytes when a read-only attach began */
	bool changed;	       /* ... and have we changed them since? */
};

/* Attach as asked; false when that is refused. */
bool fz_attach(struct fz_run *run, bool rdonly);
void fz_detach(struct fz_run *run);
void fz_call(struct fz_run *run, const struct fz_rec *r);
void fz_tour(struct fz_run *run);
_Noreturn void fz_broken(const char *what, int rc);

/* ---- script.c ---- */

/* Time stands still but for waits, and reservations fail when asked to. */
void fz_os_on(void);
void fz_os_off(void);
void fz_os_reset(void);
void fz_clock_add(uint64_t ns);
void fz_reserve_fail_at(uint32_t n);

/* Make the seeds, and the file @path; once in a process. */
bool fz_start(const char *path);
void fz_end(void);
void fz_script(const void *bytes, size_t len, enum fz_way way);

/* ---- pack.c: many inputs in one file, each with its length in 4 bytes before it ---- */

struct fz_pack {
	unsigned char *bytes;
	size_t len;
	size_t pos;
};
bool fz_pack_read(const char *path, struct fz_pack *pack);
const void *fz_pack_next(struct fz_pack *pack, size_t *ret_len);
void fz_pack_free(struct fz_pack *pack);

#endif
