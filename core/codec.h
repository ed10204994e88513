/* SPDX-License-Identifier: MIT */
/*
 * codec.h - compressed bytes: LZ4 in independent blocks
 *
 * The form: raw length (4 bytes); then for every FMT_BLOCK raw bytes, the last of them
 * fewer, the length of the block (4 bytes) and so many bytes. A block as long as its raw
 * bytes is the raw bytes; a shorter one is an LZ4 block.
 */
#ifndef IM_CODEC_H
#define IM_CODEC_H

#include "base.h"

/* Compress: the bytes written to @out; 0 when that needs more than @cap. */
uint32_t im_codec_pack(const void *raw, uint32_t len, void *out, uint32_t cap);

/* One LZ4 block, any bytes, in private memory: did it give exactly @raw_len bytes? */
bool im_codec_block(const void *packed, uint32_t len, void *raw, uint32_t raw_len);

#endif
