/* SPDX-License-Identifier: MIT */
/*
 * value.c - the value of an entry, however it is stored
 *
 * A compressed block is copied to private scratch memory and decompressed from there, so that
 * the decompressor never sees bytes that change under it. Whether they were the right bytes is
 * decided afterwards, by the caller's validation, as for any other copy: the decompressor
 * bounds what it reads and writes whatever the bytes are.
 */
#include "value.h"

#include "codec.h"
#include "crash.h"

/* Compression must save this part of a value: less is not worth the work of each read. */
#define SAVES 8u

/* LZ4 makes at most 255 bytes of one. */
#define PACKS_BEST 256u

/* Stored bytes, in order. */
struct source {
	const struct im_seg *seg;
	const unsigned char *at; /* in the log; NULL: in a chain */
	struct im_large_pos pos;
	uint64_t left;
};

static struct source source_of(const struct im_value *v)
{
	struct source s = {.seg = v->seg, .at = v->at, .left = v->len};

	if (!v->at)
		s.pos = im_large_seek(v->seg, &v->chain, v->skip);
	return s;
}

static int take(struct source *s, void *to, uint64_t n)
{
	if (n > s->left)
		return -EUCLEAN;
	s->left -= n;
	if (!s->at)
		return im_large_next(s->seg, &s->pos, to, n);
	im_copy_racy(to, s->at, n);
	s->at += n;
	return 0;
}

static int take_u32(struct source *s, uint32_t *ret)
{
	return take(s, ret, sizeof(*ret));
}

void im_value_find(const struct im_seg *seg, const struct im_entry *e, struct im_value *ret)
{
	ret->seg = seg;
	ret->at = NULL;
	ret->len = e->val_len;
	ret->packed = e->flags & FMT_F_PACKED;
	if (!(e->flags & FMT_F_LARGE)) {
		ret->at = im_entry_val(e);
		return;
	}
	im_entry_chain(e, &ret->chain);
	ret->skip = e->flags & FMT_F_FARKEY ? e->key_len : 0;
}

int im_value_len(const struct im_value *v, uint64_t *ret_len)
{
	struct source s;
	uint32_t len;
	int r;

	/* nobody is to make room for what cannot be */
	if (!v->at && (uint64_t)v->skip + v->len > (uint64_t)v->seg->n_extents * v->seg->extent_len)
		return -EUCLEAN;
	if (likely(!v->packed)) {
		*ret_len = v->len;
		return 0;
	}
	s = source_of(v);
	r = take_u32(&s, &len);
	if (r)
		return r;
	/* no bytes pack better */
	if (len < v->len || len / PACKS_BEST > v->len)
		return -EUCLEAN;
	*ret_len = len;
	return 0;
}

/* The next @n raw bytes go to @to; @tmp has room for a packed block. */
static int take_block(struct source *s, unsigned char *tmp, unsigned char *to, uint32_t n)
{
	uint32_t len;
	int r = take_u32(s, &len);

	if (r)
		return r;
	if (len == n)
		return take(s, to, n);
	if (len > n)
		return -EUCLEAN;
	r = take(s, tmp, len);
	if (r)
		return r;
	crash("read.unpack");
	return im_codec_block(tmp, len, to, n) ? 0 : -EUCLEAN;
}

/* Each block to @to, one after the other, or to the same place when @want or nothing is. */
static int unpack(const struct im_value *v, unsigned char *to, const unsigned char *want,
		  uint64_t len)
{
	struct source s = source_of(v);
	struct im_scratch tmp;
	uint32_t raw;
	int r = take_u32(&s, &raw);

	if (!r && raw != len)
		r = -EUCLEAN;
	if (!r)
		r = im_scratch_take(2 * FMT_BLOCK, &tmp);
	if (r)
		return r;
	for (uint64_t at = 0; at < len && !r; at += FMT_BLOCK) {
		uint32_t n = (uint32_t)min_u64(len - at, FMT_BLOCK);
		unsigned char *out = to ? to + at : tmp.p + FMT_BLOCK;

		r = take_block(&s, tmp.p, out, n);
		if (!r && want && memcmp(out, want + at, n) != 0)
			r = 1; /* differs */
	}
	im_scratch_give(&tmp);
	return r;
}

int im_value_copy(const struct im_value *v, void *buf, uint64_t len)
{
	struct source s;

	if (v->packed)
		return unpack(v, buf, NULL, len);
	s = source_of(v);
	return take(&s, buf, len);
}

int im_value_equal(const struct im_value *v, const void *want, uint64_t len)
{
	uint64_t have = 0;
	int r = im_value_len(v, &have);

	if (r)
		return r;
	if (have != len)
		return 0;
	if (v->packed) {
		r = unpack(v, NULL, want, len);
		return r < 0 ? r : !r;
	}
	if (v->at)
		return im_key_equal(v->at, want, len);
	return im_large_equal(v->seg, &v->chain, v->skip, want, len);
}

int im_value_verify(const struct im_value *v)
{
	uint64_t len = 0;
	int r = im_value_len(v, &len);

	return r || !v->packed ? r : unpack(v, NULL, NULL, len);
}

bool im_value_pack(struct im_record *rec, struct im_scratch *s)
{
	uint32_t most = rec->val_len - rec->val_len / SAVES, len;

	if (im_scratch_take(most, s))
		return false;
	len = im_codec_pack(rec->val, rec->val_len, s->p, most);
	if (!len) {
		im_scratch_give(s);
		return false;
	}
	rec->val = s->p;
	rec->val_len = len;
	rec->flags |= FMT_F_PACKED;
	return true;
}
