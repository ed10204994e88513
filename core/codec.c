/* SPDX-License-Identifier: MIT */
/*
 * codec.c - compressed bytes: LZ4 in independent blocks
 *
 * Blocks are independent so that a reader needs memory for one of them only, and so that a
 * part of a value can be had without the rest.
 */
#include "codec.h"

#include "format.h"

#include <lz4.h>
#include <string.h>

uint32_t im_codec_pack(const void *raw, uint32_t len, void *out, uint32_t cap)
{
	const char *from = raw;
	unsigned char *to = out;
	uint32_t at = 4;

	if (cap < 4)
		return 0;
	memcpy(to, &len, 4);
	for (uint32_t left = len; left;) {
		uint32_t n = left < FMT_BLOCK ? left : FMT_BLOCK, packed, room;

		if (cap - at < 4)
			return 0;
		room = cap - at - 4;
		/* shorter than raw, or it is of no use */
		packed = (uint32_t)LZ4_compress_default(from, (char *)to + at + 4, (int)n,
							(int)(room < n ? room : n - 1));
		if (!packed) {
			if (room < n)
				return 0;
			memcpy(to + at + 4, from, n);
			packed = n;
		}
		memcpy(to + at, &packed, 4);
		at += 4 + packed;
		from += n;
		left -= n;
	}
	return at;
}

bool im_codec_block(const void *packed, uint32_t len, void *raw, uint32_t raw_len)
{
	return LZ4_decompress_safe(packed, raw, (int)len, (int)raw_len) == (int)raw_len;
}
