/* SPDX-License-Identifier: MIT */
/*
 * hash.h - the seeded hash of a key, and which of its bits say what
 *
 * XXH3 with a 64-bit random seed per segment, so that keys cannot be chosen to collide
 * without knowing it. Bits, from the top:
 *   52..63  shard (as many of the highest as there are shards)
 *   44..51  tag; 0 becomes 1
 *    0..39  bucket: linear hashing takes the low bits
 *    0..15  kept in the entry, so that a table of up to 65,536 buckets a shard never reads
 *           a key to find where it belongs
 */
#ifndef IM_HASH_H
#define IM_HASH_H

#include "base.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

im_inline uint64_t im_hash(uint64_t seed, const void *key, size_t len)
{
	return XXH3_64bits_withSeed(key, len, seed);
}

#define IM_HASH_SHORT 16u

/* The same for @len up to IM_HASH_SHORT, without a call: a get has none on its usual way. */
im_inline uint64_t im_hash_short(uint64_t seed, const void *key, size_t len)
{
	return XXH3_len_0to16_64b(key, len, XXH3_kSecret, seed);
}

/* What the hash of 9 to 16 bytes makes of the seed; kept, since a get has no time for it. */
struct im_hash_mix {
	uint64_t lo;
	uint64_t hi;
};

im_inline struct im_hash_mix im_hash_mix(uint64_t seed)
{
	const unsigned char *s = XXH3_kSecret;

	return (struct im_hash_mix){
		(XXH_readLE64(s + 24) ^ XXH_readLE64(s + 32)) + seed,
		(XXH_readLE64(s + 40) ^ XXH_readLE64(s + 48)) - seed,
	};
}

/* As im_hash_short(), with the seed's mix at hand. */
im_inline uint64_t im_hash_mixed(uint64_t seed, const struct im_hash_mix *mix, const void *key,
				 size_t len)
{
	const unsigned char *k = key;
	uint64_t lo, hi;

	if (unlikely(len <= 8))
		return XXH3_len_0to16_64b(key, len, XXH3_kSecret, seed);
	lo = XXH_readLE64(k) ^ mix->lo;
	hi = XXH_readLE64(k + len - 8) ^ mix->hi;
	return XXH3_avalanche(len + XXH_swap64(lo) + hi + XXH3_mul128_fold64(lo, hi));
}

im_inline unsigned im_hash_tag(uint64_t hash)
{
	uint8_t t = (uint8_t)(hash >> 44);

	return t | (unsigned)(t - 1) >> 31;
}

im_inline uint16_t im_hash_low(uint64_t hash)
{
	return (uint16_t)hash;
}

#endif
