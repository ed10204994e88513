/* SPDX-License-Identifier: MIT */
/*
 * map.h - an open handle: the segment, where its shards lie, which shard a key belongs to
 */
#ifndef IM_MAP_H
#define IM_MAP_H

#include "format.h"
#include "hash.h"
#include "ipcmap.h"
#include "lock.h"
#include "owner.h"
#include "pin.h"
#include "segment.h"

/* Where a shard and its directory lie: an addition for each is dearer than these loads. */
struct im_map_shard {
	struct fmt_shard *s;
	uint32_t *dir;
};

/* Bytes behind a reference below ref_spare that belong to the segment. */
#define IM_SPARE 2048u

struct ipcmap {
	/* what a get needs, together: copies of constants of the segment */
	struct im_seg *seg;
	const unsigned char *base;
	struct fmt_shard *shards;
	uint32_t *dirs;
	uint64_t hash_seed;
	struct im_hash_mix mix;
	uint32_t dir_cap;
	uint32_t n_extents;
	uint32_t prefix_len; /* 0: the handle sees every key; prefix.c */
	uint32_t ref_first; /* of the first extent's first byte */
	uint32_t ref_n;     /* references there are in all extents */
	uint32_t ref_spare; /* those with IM_SPARE bytes behind them */
	uint32_t extent_mask;
	uint8_t unit_shift;
	uint8_t extent_shift;
	uint8_t shard_drop; /* 12 less the bits of the shard */
	uint8_t dir_shift;  /* buckets per index extent, as a shift */
	uint8_t at_shift;   /* hash >> at_shift: where in at[], in bytes and a fraction */
	uint32_t dir_mask;  /* ... less one */
	uint64_t n_places;  /* buckets there would be in all extents */
	unsigned char *extents;
	const uint64_t *token; /* of the segment in im_tokens */
	struct fmt_line *shared;
	uint32_t id;
	/* the rest */
	uint32_t n_shards;
	uint64_t deadline_ns;
	const unsigned char *prefix;
	struct ipcmap *whole; /* the handle without a prefix, when this has one */
	struct fmt_waits *waits; /* NULL: the segment has no waiting area; then all are */
	uint32_t *bells;
	uint32_t n_bells;
	uint64_t *watchers; /* one for each owner slot */
	struct fmt_lease *leases; /* FMT_LEASES for each shard */
	struct im_pins pins;	  /* of values; n 0: the segment has none */
	uint32_t pin_hint;	  /* a pin that was free lately */
	struct im_map_shard at[]; /* at least two: a shift by 64 is none */
};

im_inline uint32_t im_map_shard(const struct ipcmap *m, uint64_t hash)
{
	return (uint32_t)(hash >> 52) >> m->shard_drop;
}

im_inline uint32_t *im_map_dir(const struct ipcmap *m, uint32_t shard)
{
	return m->dirs + (size_t)shard * m->dir_cap;
}

/* im_line() and im_count_get() for a handle, whose copies are near. */
im_inline void im_map_count_get(const struct ipcmap *m, bool hit)
{
	struct im_tls *t = &im_tls;
	uint64_t token = im_load_rlx(m->token);
	struct fmt_line *line;

	if (likely(t->token[m->id] == token && token))
		line = t->line[m->id];
	else
		line = im_owner_line(m->seg);
	if (unlikely(line == m->shared)) {
		im_add_rlx(hit ? &line->hits : &line->misses, 1);
		return;
	}
	im_store_rlx(&line->hits, im_load_rlx(&line->hits) + hit);
	im_store_rlx(&line->misses, im_load_rlx(&line->misses) + !hit);
}

/* Its place in at[]. */
im_inline const struct im_map_shard *im_map_at(const struct ipcmap *m, uint64_t hash)
{
	size_t off = hash >> m->at_shift & ~(sizeof(m->at[0]) - 1);

	return (const struct im_map_shard *)(const void *)((const unsigned char *)m->at + off);
}

int im_map_open(const char *name, const struct ipcmap_options *opt, struct ipcmap **ret_map);
void im_map_close(struct ipcmap *m);

/* A handle for a segment that was attached, or copied, otherwise; free() ends it. */
int im_map_of(struct im_seg *seg, const struct im_why *why, struct ipcmap **ret_map);

/* A new, empty map with the geometry of another, which is in @c. */
int im_map_create_like(const char *path, struct im_seg_create *c, const struct im_why *why,
		       struct ipcmap **ret_map);

/* Change limit and default life of the segment, deadline of the handle; 0: leave. */
int im_map_tune(struct ipcmap *m, const struct ipcmap_options *o);

#endif
