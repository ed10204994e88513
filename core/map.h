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
#include "segment.h"

struct ipcmap {
	struct im_seg *seg;
	struct fmt_shard *shards;
	uint32_t *dirs;
	uint64_t hash_seed;
	uint32_t n_shards;
	uint32_t dir_cap;
	unsigned shard_bits;
	unsigned dir_shift; /* buckets per index extent, as a shift */
	uint64_t deadline_ns;
};

im_inline uint32_t im_map_shard(const struct ipcmap *m, uint64_t hash)
{
	return (uint32_t)(hash >> 52) >> (12 - m->shard_bits);
}

im_inline uint32_t *im_map_dir(const struct ipcmap *m, uint32_t shard)
{
	return m->dirs + (size_t)shard * m->dir_cap;
}

int im_map_open(const char *name, const struct ipcmap_options *opt, struct ipcmap **ret_map);
void im_map_close(struct ipcmap *m);

#endif
