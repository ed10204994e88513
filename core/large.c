/* SPDX-License-Identifier: MIT */
/*
 * large.c - values (and keys) that lie in extents of their own
 *
 * Invariants
 *  large.I1  the extents of a chain are linked by next from first to last, n in all; the first
 *            is LARGE, the others PIECE.
 *  large.I2  a chain belongs to exactly one entry that a slot names; copies of the entry that
 *            cleaning leaves behind are garbage, and nobody follows their descriptors.
 * Readers follow chains without a lock: every number is loaded once and bounded, and the
 * walk ends after the length asked for.
 */
#include "large.h"

#include "redo.h"
#include "space.h"

/* The longest entry that goes into the log as it is: half an extent. */
static uint32_t small_max(const struct im_seg *seg)
{
	return seg->extent_len / 2;
}

void im_large_plan(const struct im_seg *seg, struct im_record *rec)
{
	unsigned f = FMT_F_TTL;

	if (im_entry_len(f, rec->key_len, rec->val_len) <= small_max(seg))
		return;
	f |= FMT_F_LARGE;
	if (im_entry_len(f, rec->key_len, rec->val_len) > small_max(seg))
		f |= FMT_F_FARKEY;
	rec->flags |= f & ~FMT_F_TTL;
}

void im_large_drop(struct im_seg *seg, const struct im_record *rec)
{
	if (rec->chain.n)
		im_space_drop(seg, rec->chain.first);
}

static int take(struct im_seg *seg, struct im_record *rec, struct im_wait *wait,
		uint64_t *ret_word, uint32_t *ret_ext)
{
	struct fmt_chain *c = &rec->chain;
	uint64_t word;
	int r = im_space_take(seg, c->n ? c->last : FMT_NO_EXTENT, wait, ret_ext, &word);

	if (r)
		return r;
	if (!c->n) {
		c->first = *ret_ext;
		*ret_word = word;
	}
	c->last = *ret_ext;
	c->n++;
	return 0;
}

int im_large_make(struct im_seg *seg, struct im_record *rec, struct im_wait *wait,
		  uint64_t *ret_word)
{
	const unsigned char *part = rec->flags & FMT_F_FARKEY ? rec->key : rec->val;
	uint64_t left = rec->flags & FMT_F_FARKEY ? rec->key_len : rec->val_len;
	bool key = rec->flags & FMT_F_FARKEY;
	uint32_t room = 0, ext = 0;
	unsigned char *to = NULL;
	int r;

	memset(&rec->chain, 0, sizeof(rec->chain));
	for (;;) {
		uint32_t n;

		if (!left && key) {
			key = false;
			part = rec->val;
			left = rec->val_len;
		}
		if (!left)
			return 0;
		if (!room) {
			r = take(seg, rec, wait, ret_word, &ext);
			if (r) {
				im_large_drop(seg, rec);
				return r;
			}
			to = im_seg_extent(seg, ext);
			room = seg->extent_len;
		}
		n = (uint32_t)min_u64(room, left);
		im_fill_racy(to, part, n);
		to += n;
		part += n;
		room -= n;
		left -= n;
	}
}

void im_large_unhook(struct im_op *op, const struct fmt_chain *c, uint64_t large)
{
	struct fmt_shard *s = op->s;

	if (!c->n || c->first >= op->seg->n_extents || c->last >= op->seg->n_extents)
		return;
	/* ord(reclaim): before the generation of the first extent, which the free raises. */
	im_redo_set(op, &s->reclaim_seq, im_load_rlx(&s->reclaim_seq) + 1);
	im_redo_set(op, &s->large, large - (uint64_t)c->n * op->seg->extent_len);
	im_redo_set(op, &s->free_word, im_load_rlx(&op->seg->table[c->first].word));
	im_redo_set32(op, &s->free_first, c->first);
	im_redo_set32(op, &s->free_last, c->last);
	im_redo_set32(op, &s->free_n, c->n);
}

struct im_large_pos im_large_seek(const struct im_seg *seg, const struct fmt_chain *c,
				  uint64_t off)
{
	struct im_large_pos at = {c->first, off};

	for (; at.off >= seg->extent_len && at.ext < seg->n_extents; at.off -= seg->extent_len)
		at.ext = im_load32_rlx(&seg->table[at.ext].next);
	return at;
}

/* The bytes of this piece from here on, at most @len; NULL when there is no such piece. */
static const unsigned char *piece(const struct im_seg *seg, struct im_large_pos *at,
				  uint64_t len, uint64_t *ret_n)
{
	const unsigned char *p;

	if (at->off >= seg->extent_len && at->ext < seg->n_extents) {
		at->ext = im_load32_rlx(&seg->table[at->ext].next);
		at->off = 0;
	}
	if (at->ext >= seg->n_extents)
		return NULL;
	*ret_n = min_u64(seg->extent_len - at->off, len);
	p = im_seg_extent(seg, at->ext) + at->off;
	at->off += *ret_n;
	return p;
}

int im_large_next(const struct im_seg *seg, struct im_large_pos *at, void *buf, uint64_t len)
{
	unsigned char *to = buf;
	uint64_t n;

	for (; len; len -= n) {
		const unsigned char *p = piece(seg, at, len, &n);

		if (!p)
			return -EUCLEAN;
		im_copy_racy(to, p, n);
		to += n;
	}
	return 0;
}

int im_large_copy(const struct im_seg *seg, const struct fmt_chain *c, uint64_t off, void *buf,
		  uint64_t len)
{
	struct im_large_pos at = im_large_seek(seg, c, off);

	return im_large_next(seg, &at, buf, len);
}

int im_large_equal(const struct im_seg *seg, const struct fmt_chain *c, uint64_t off,
		   const void *want, uint64_t len)
{
	struct im_large_pos at = im_large_seek(seg, c, off);
	const unsigned char *w = want;
	uint64_t n;

	for (; len; len -= n) {
		const unsigned char *p = piece(seg, &at, len, &n);

		if (!p || !im_key_equal(p, w, n))
			return 0;
		w += n;
	}
	return 1;
}

bool im_large_farkey_equal(const struct im_seg *seg, const struct im_entry *e, const void *key)
{
	struct fmt_chain c;

	im_entry_chain(e, &c);
	return im_large_equal(seg, &c, 0, key, e->key_len);
}

uint64_t im_large_hash(const struct im_seg *seg, const struct im_entry *e)
{
	unsigned char part[512];
	struct fmt_chain c;
	XXH3_state_t state;

	if (e->key_len <= sizeof(part)) {
		if (e->flags & FMT_F_FARKEY) {
			im_entry_chain(e, &c);
			if (im_large_copy(seg, &c, 0, part, e->key_len))
				return 0;
		} else {
			im_copy_racy(part, im_entry_key(e), e->key_len);
		}
		return im_hash(seg->hash_seed, part, e->key_len);
	}
	XXH3_INITSTATE(&state);
	state.extSecret = NULL;
	XXH3_64bits_reset_withSeed(&state, seg->hash_seed);
	im_entry_chain(e, &c);
	for (uint64_t at = 0; at < e->key_len; at += sizeof(part)) {
		uint64_t n = min_u64(sizeof(part), e->key_len - at);

		if (!(e->flags & FMT_F_FARKEY))
			im_copy_racy(part, im_entry_key(e) + at, n);
		else if (im_large_copy(seg, &c, at, part, n))
			return 0;
		XXH3_64bits_update(&state, part, n);
	}
	return XXH3_64bits_digest(&state);
}
