/* SPDX-License-Identifier: MIT */
/*
 * judge.h - which entries and versions of a damaged segment verify
 *
 * Works on a private copy (shm/offline.h): what is stored there goes nowhere else. Nothing
 * read is trusted, nor to be the same when it is read again: who has the damaged file mapped
 * may go on changing it, and pages that were not stored to are the file's.
 */
#ifndef IM_JUDGE_H
#define IM_JUDGE_H

#include "entry.h"
#include "ipcmap.h"
#include "map.h"

/* An entry that is kept. */
struct im_find {
	uint64_t version;
	uint64_t hash;
	uint32_t ref;
	bool replaces; /* salvaged, and newer than what a slot names */
};

struct im_finds {
	struct im_find *p;
	size_t n, cap;
	bool guessed; /* what was cleared could not be told from what was not */
};

/* A version of a snapshot table that is kept. */
struct im_image_find {
	uint32_t slot;
	uint32_t table;
	uint64_t version;
	bool current;
	bool again; /* the current one is damaged: the newest sound one is published again */
};

struct im_verdict {
	struct ipcmap *m; /* the copy */
	struct im_finds *shards;
	struct im_finds
		*more; /* that no slot names; im_judge() moves them over when salvaging */
	struct im_image_find *images; /* by table, then version */
	uint32_t n_images;
	uint8_t *claims;  /* by extent: how many chains lead over it; 2 is more than one */
	bool salvage;	  /* also entries that no slot names, where the index is damaged */
	bool seed_proven; /* some key is found by the seed, or there is none */
	uint64_t wrong;	  /* what is the matter beside the findings of check */
	uint64_t now;
	struct ipcmap_repair *sum;
	void (*report)(void *arg, const char *line);
	void *arg;
	uint32_t n_lines; /* of the part being judged */
};

/* One line of the report, "shard 3: ..."; beyond some of a part they are only counted. */
void im_verdict_say(struct im_verdict *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void im_verdict_part(struct im_verdict *v); /* another part begins */

/* Judge everything: 0; IPCMAP_NOMEM. im_judge_free() in any case. */
int im_judge(struct im_verdict *v);
void im_judge_free(struct im_verdict *v);

/* ---- judge.c for the others ---- */

#define IM_KEY_SHOWN 40u

/* A key as text. */
const char *im_judge_show_key(const struct im_seg *seg, const struct im_entry *e,
			      char text[IM_KEY_SHOWN + 8]);
/* 0; IPCMAP_NOMEM. */
int im_judge_add(struct im_finds *f, const struct im_find *what);
/* Have the entries at these references one key? */
bool im_judge_same_key(const struct im_seg *seg, uint32_t a, uint32_t b);

/* Count the extents of a chain as claimed. */
void im_judge_claim(struct im_verdict *v, uint32_t first, uint32_t n);
/* @n extents from @first to @last, by next, all but the first PIECE, claimed once. */
bool im_judge_chain(const struct im_verdict *v, uint32_t first, uint32_t last, uint32_t n);

/* ---- judge-shard.c ---- */

/* What the index names, and what it does not: into v->shards and v->more. Values come later. */
int im_judge_shard(struct im_verdict *v, uint32_t shard);

/* ---- judge-snapshot.c ---- */

/* Claims of all versions that can be opened. */
void im_judge_claim_images(struct im_verdict *v);
int im_judge_images(struct im_verdict *v);

/* The bytes of a version, malloc(): 0; IPCMAP_NOMEM; IPCMAP_CORRUPT: it has none by now. */
struct im_image_bytes {
	unsigned char *p;
	uint64_t len;
	uint64_t time;
	uint32_t keys;
};
int im_judge_image_bytes(const struct im_verdict *v, uint32_t slot, struct im_image_bytes *ret);

/* A table's name, with a zero byte at its end in any case. */
void im_judge_name(const struct fmt_table *t, char name[64]);

#endif
