/* SPDX-License-Identifier: MIT */
/*
 * oracle.h - knows what a store may hold whose writers are killed at any moment
 *
 * It lies in memory that the store knows nothing of. Each key has one writer at a time, and
 * the writes of a key are numbered. The writer says what write number n is about to make of
 * the key before it begins, and that it is done when the store acknowledged it. So the key
 * must be as the last acknowledged write left it, or as one that was begun later; whoever
 * reads it looks here before and afterwards, and can tell whether what it found may be.
 *
 * A write in flight when its writer is killed may still happen later: in ipcmap, when a
 * successor takes the shard over. Until then both are right, and all in between when the
 * key's next writes were killed as well; what was seen stays, or gives way to a later one.
 *
 * The store may be any that can be put behind struct oracle_store.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "load.h"

#define ORACLE_NOTES 16u	/* writes of a key that are remembered */
#define ORACLE_KEY 64u		/* room for a key */
#define ORACLE_CAP (256u << 10) /* room for a value */

#define ORACLE_NOTHING 0u	 /* content: the key is not there */
#define ORACLE_NEW (UINT64_MAX)	 /* content: what this very write stores */
#define ORACLE_TORN (UINT64_MAX) /* content that was never stored */
#define ORACLE_EVER (UINT64_MAX)

/* What one write makes of its key. */
struct oracle_note {
	uint64_t n;
	uint64_t content;   /* number of the write whose bytes lie there afterwards */
	uint64_t dies_from; /* oracle_now() from which on it may have expired, ... */
	uint64_t dies_by;   /* ... after which it must have */
};

struct oracle_cell {
	uint64_t begun;
	uint64_t done;
	uint64_t told; /* 1 + begun of the last finding, so that each counts once */
	struct oracle_note note[ORACLE_NOTES];
};

struct oracle {
	uint32_t n;					  /* keys */
	uint32_t writers;				  /* key k is written by k % writers */
	uint32_t (*length)(uint32_t k, uint64_t content); /* LOAD_MIN .. ORACLE_CAP */
	uint64_t reads, hits, writes, refused;
	uint64_t unjudged; /* reads that took so long that the notes were gone */
	uint64_t wrong;	   /* values torn, foreign, too old or too new */
	uint64_t lost;	   /* an acknowledged write that is not there */
	uint64_t errors;
	int64_t last_error;
	struct oracle_cell cell[];
};

struct oracle *oracle_make(uint32_t n, uint32_t writers,
			   uint32_t (*length)(uint32_t k, uint64_t content));
void oracle_free(struct oracle *o);
/* Of the coarse clock, in ns, as the library reads it. */
uint64_t oracle_now(void);
void oracle_count(uint64_t *counter);

/* "<writer>/<k>/..."; its length. */
size_t oracle_key(const struct oracle *o, uint32_t k, char *key);
/* The bytes of a value; their number. */
uint32_t oracle_value(const struct oracle *o, uint32_t k, uint64_t content, unsigned char *buf);
/* What a read gave: its content. @r: 0 or IPCMAP_NOTFOUND. */
uint64_t oracle_content(const struct oracle *o, uint32_t k, int r, const unsigned char *buf,
			size_t len);

/* ---- the key's writer ---- */

/*
 * A write begins; its number, or 0 when too many are in flight: make the store's state
 * final, then oracle_settle(), then begin again.
 * @content: ORACLE_NEW, ORACLE_NOTHING, or the number of an earlier write
 * @life_ns: ORACLE_EVER
 */
uint64_t oracle_begin(struct oracle *o, uint32_t k, uint64_t content, uint64_t life_ns);
/* Another time from which on it may have expired. */
void oracle_dies_from(struct oracle *o, uint32_t k, uint64_t n, uint64_t when);
/* @dies_by: ORACLE_EVER when it has no life */
void oracle_done(struct oracle *o, uint32_t k, uint64_t n, uint64_t dies_by);
/* It found that the key had expired, and was not made. */
void oracle_gone(struct oracle *o, uint32_t k, uint64_t n);
/* It was refused and has changed nothing. */
void oracle_undo(struct oracle *o, uint32_t k, uint64_t n);
/* As write number done left it; NULL: a later one may have happened. */
const struct oracle_note *oracle_known(const struct oracle *o, uint32_t k);
/*
 * Is this content possible to the writer, which began to read at @t0? @settle: what was seen
 * is so from now on; @final: nothing in flight will happen any more.
 */
bool oracle_is(struct oracle *o, uint32_t k, uint64_t content, uint64_t t0);
/* Is it what write number @n, which returned the old value, can have replaced? */
bool oracle_was(struct oracle *o, uint32_t k, uint64_t content, uint64_t n);
void oracle_settle(struct oracle *o, uint32_t k, uint64_t content, uint64_t t0, bool final);

/* ---- whoever reads ---- */

struct oracle_view {
	uint64_t from;
	uint64_t t0;
};
struct oracle_view oracle_look(const struct oracle *o, uint32_t k);
/* After the read: counts it, and counts and prints what cannot be. */
void oracle_judge(struct oracle *o, uint32_t k, struct oracle_view v, uint64_t content);
/* As it does: a finding. */
void oracle_find(struct oracle *o, uint32_t k, uint64_t content);

/* ---- with a store ---- */

/* 0 or an error, with the values of IPCMAP_NOTFOUND and IPCMAP_BUSY. */
struct oracle_store {
	void *arg;
	int (*get)(void *arg, const void *key, size_t key_len, void *buf, size_t cap,
		   size_t *ret_len);
	int (*put)(void *arg, const void *key, size_t key_len, const void *val, size_t len);
	int (*del)(void *arg, const void *key, size_t key_len);
	/* a write that changes nothing, after which no earlier one is in flight; may be NULL */
	int (*firm)(void *arg, const void *key, size_t key_len);
};
extern const struct oracle_store oracle_ipcmap; /* but for arg */

void oracle_read(struct oracle *o, const struct oracle_store *s, uint32_t k);
void oracle_write(struct oracle *o, const struct oracle_store *s, uint32_t k);
/* After kills: what is it now? @final: nothing is in flight, or is made to happen first. */
void oracle_recall(struct oracle *o, const struct oracle_store *s, uint32_t k, bool final);

#endif
