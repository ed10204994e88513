/* SPDX-License-Identifier: MIT */
/*
 * entry.h - one record of a log: its parts, its size, is it dead
 *
 * Invariants
 *  entry.I1  an entry's bytes do not change from its publication to its extent's release.
 *  entry.I2  header, key and value (or descriptor) lie inside one extent.
 * A reader may look at memory that was released and is being overwritten: im_entry_view()
 * loads each of the two header words once, bounds every length by the extent, and promises
 * nothing about the meaning; the caller validates afterwards (read.c).
 */
#ifndef IM_ENTRY_H
#define IM_ENTRY_H

#include "format.h"
#include "hash.h"
#include "ref.h"

struct im_entry {
	const unsigned char *at; /* first byte of the header */
	uint32_t ext;            /* its extent */
	uint32_t ref;
	uint32_t size; /* bytes in the log, rounded up */
	uint32_t key_len;
	uint32_t val_len;
	uint32_t key_off; /* from at */
	uint64_t version;
	unsigned flags;
	unsigned type;
	uint16_t hash_low;
};

im_inline uint64_t im_entry_word0(uint64_t version, unsigned flags, unsigned type)
{
	return version | (uint64_t)flags << 48 | (uint64_t)type << 56;
}

im_inline uint64_t im_entry_word1(uint32_t val_len, uint32_t key_len, uint64_t hash)
{
	return val_len | (uint64_t)(key_len - 1) << 32 | (uint64_t)im_hash_low(hash) << 48;
}

/* Bytes before the key. */
im_inline uint32_t im_entry_key_off(unsigned flags)
{
	return FMT_ENTRY_HEAD + (flags & FMT_F_TTL ? 8 : 0) + (flags & FMT_F_LARGE ? 16 : 0);
}

/* Bytes in the log before rounding; at most 16 + 24 + 65,535 + 4 GiB: 64 bits. */
im_inline uint64_t im_entry_len(unsigned flags, uint32_t key_len, uint64_t val_len)
{
	return (uint64_t)im_entry_key_off(flags) + (flags & FMT_F_FARKEY ? 0 : key_len) +
	       (flags & FMT_F_LARGE ? 0 : val_len);
}

im_inline uint64_t im_entry_round(const struct im_seg *seg, uint64_t len)
{
	return align_up(len, UINT64_C(1) << seg->unit_shift);
}

/* False when these bytes cannot be an entry inside one extent. */
im_inline bool im_entry_view(const struct im_seg *seg, uint32_t ref, struct im_entry *ret)
{
	const unsigned char *p = im_at(seg, ref, FMT_ENTRY_HEAD, &ret->ext);
	uint64_t w0, w1, size;
	uint32_t room;

	if (unlikely(!p))
		return false;
	w0 = im_load_rlx((const uint64_t *)(const void *)p);
	w1 = im_load_rlx((const uint64_t *)(const void *)(p + 8));
	ret->at = p;
	ret->ref = ref;
	ret->version = w0 & FMT_VERSION_MASK;
	ret->flags = (unsigned)(w0 >> 48) & 0xff;
	ret->type = (unsigned)(w0 >> 56);
	ret->val_len = (uint32_t)w1;
	ret->key_len = (uint32_t)((w1 >> 32) & 0xffff) + 1;
	ret->hash_low = (uint16_t)(w1 >> 48);
	ret->key_off = im_entry_key_off(ret->flags);
	size = im_entry_round(seg, im_entry_len(ret->flags, ret->key_len, ret->val_len));
	room = seg->extent_len - ((uint32_t)(p - seg->extents) & (seg->extent_len - 1));
	if (unlikely(size > room || ret->flags & ~FMT_F_KNOWN ||
		     (ret->flags & (FMT_F_LARGE | FMT_F_FARKEY)) == FMT_F_FARKEY))
		return false;
	ret->size = (uint32_t)size;
	return true;
}

im_inline uint64_t im_entry_expiry(const struct im_entry *e)
{
	if (!(e->flags & FMT_F_TTL))
		return UINT64_MAX;
	return im_load_rlx((const uint64_t *)(const void *)(e->at + FMT_ENTRY_HEAD));
}

im_inline void im_entry_chain(const struct im_entry *e, struct fmt_chain *ret)
{
	im_copy_racy(ret, e->at + e->key_off - 16, sizeof(*ret));
}

im_inline const unsigned char *im_entry_key(const struct im_entry *e)
{
	return e->at + e->key_off;
}

im_inline const unsigned char *im_entry_val(const struct im_entry *e)
{
	return e->at + e->key_off + e->key_len;
}

#if defined(IM_WORDWISE)

im_inline bool im_key_equal(const unsigned char *shared, const void *key, size_t len)
{
	unsigned char part[64];

	for (size_t at = 0; at < len; at += sizeof(part)) {
		size_t n = len - at < sizeof(part) ? len - at : sizeof(part);

		im_copy_racy(part, shared + at, n);
		if (memcmp(part, (const unsigned char *)key + at, n) != 0)
			return false;
	}
	return true;
}

im_inline uint64_t im_key_differs(const unsigned char *shared, const void *key, size_t len)
{
	return !im_key_equal(shared, key, len);
}

#else

/* 0 when equal. Two overlapping words; whole words and a last one up to 64 bytes. */
im_inline uint64_t im_key_differs(const unsigned char *shared, const void *key, size_t len)
{
	const unsigned char *k = key;
	uint64_t x = 0;

	if (len >= 8) {
		x = *(const im_word *)shared ^ *(const im_word *)k;
		x |= *(const im_word *)(shared + len - 8) ^ *(const im_word *)(k + len - 8);
		if (likely(len <= 16))
			return x;
		if (len > 64)
			return memcmp(shared, k, len) != 0;
		for (size_t i = 8; i + 8 < len; i += 8)
			x |= *(const im_word *)(shared + i) ^ *(const im_word *)(k + i);
		return x;
	}
	for (size_t i = 0; i < len; i++)
		x |= (uint64_t)(shared[i] ^ k[i]);
	return x;
}

im_inline bool im_key_equal(const unsigned char *shared, const void *key, size_t len)
{
	return !im_key_differs(shared, key, len);
}

#endif

#endif
