/* SPDX-License-Identifier: MIT */
/*
 * log.c - the logs of a shard: append, move, account
 *
 * The bytes are written first, beyond the head's fill; then one redo list moves fill over them
 * and makes a slot name them. A writer killed before the list is armed leaves bytes that the
 * next append overwrites: cleaning counts on the room of its head to the byte.
 */
#include "log.h"

#include "crash.h"

bool im_log_dead(const struct im_op *op, uint32_t ext)
{
	return im_load_rlx(&op->seg->table[ext].version_max) < im_load_rlx(&op->s->floor);
}

bool im_log_expired(struct im_op *op, uint32_t ext)
{
	uint64_t last = im_load_rlx(&op->seg->table[ext].expiry_max);

	return im_log_dead(op, ext) || (last != UINT64_MAX && last <= im_op_now(op));
}

/* Bounds of what the extent holds; before fill, so that they are never too narrow. */
static void widen(struct fmt_extent *x, uint64_t version, uint64_t expiry)
{
	if (im_load_rlx(&x->version_max) < version)
		im_store_rlx(&x->version_max, version);
	if (im_load_rlx(&x->expiry_max) < expiry)
		im_store_rlx(&x->expiry_max, expiry);
	if (im_load_rlx(&x->expiry_min) > expiry)
		im_store_rlx(&x->expiry_min, expiry);
}

/* Each number is loaded once and bounded: NULL when the head has no such room. */
static unsigned char *place(struct im_op *op, unsigned head, uint32_t size,
			    struct im_place *ret)
{
	uint32_t ext = im_load32_rlx(&op->s->head[head]), fill;

	if (ext >= op->seg->n_extents)
		return NULL;
	fill = im_load32_rlx(&op->seg->table[ext].fill);
	if ((uint64_t)fill + size > op->seg->extent_len)
		return NULL;
	ret->ext = ext;
	ret->ref = im_ref(op->seg, ext, fill);
	ret->fill = fill + size;
	return im_seg_extent(op->seg, ext) + fill;
}

static void store_head(unsigned char *p, const struct im_record *rec)
{
	im_store_rlx((uint64_t *)(void *)p,
		     im_entry_word0(rec->version, rec->flags, rec->type));
	im_store_rlx((uint64_t *)(void *)(p + 8),
		     im_entry_word1(rec->val_len, rec->key_len, rec->hash));
	p += FMT_ENTRY_HEAD;
	if (rec->flags & FMT_F_TTL) {
		im_store_rlx((uint64_t *)(void *)p, rec->expiry);
		p += 8;
	}
	if (rec->flags & FMT_F_LARGE)
		im_fill_racy(p, &rec->chain, sizeof(rec->chain));
}

bool im_log_append(struct im_op *op, unsigned head, const struct im_record *rec,
		   struct im_place *ret)
{
	unsigned char *p = place(op, head, rec->size, ret), *body;

	if (!p)
		return false;
	body = p + im_entry_key_off(rec->flags);
	store_head(p, rec);
	if (!(rec->flags & FMT_F_FARKEY)) {
		im_fill_racy(body, rec->key, rec->key_len);
		body += rec->key_len;
	}
	if (!(rec->flags & FMT_F_LARGE))
		im_fill_racy(body, rec->val, rec->val_len);
	/* the next entry's line, for writing: the next lock would wait for it */
	__builtin_prefetch(p + rec->size, 1);
	widen(&op->seg->table[ret->ext], rec->version,
	      rec->flags & FMT_F_TTL ? rec->expiry : UINT64_MAX);
	crash("log.bytes");
	return true;
}

bool im_log_move(struct im_op *op, unsigned head, const struct im_entry *e,
		 struct im_place *ret)
{
	unsigned char *p = place(op, head, e->size, ret);

	if (!p)
		return false;
	im_fill_racy(p, e->at, e->size);
	widen(&op->seg->table[ret->ext], e->version, im_entry_expiry(e));
	crash("log.moved");
	return true;
}
