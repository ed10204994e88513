/* SPDX-License-Identifier: MIT */
/*
 * log.c - the logs of a shard: append, move, account
 *
 * The bytes are written first, then fill moves over them, then a redo list makes a slot name
 * them. A writer killed before the list is armed leaves bytes that nothing names: garbage
 * like that of any update, reclaimed with its extent.
 */
#include "log.h"

#include "crash.h"

bool im_log_fits(const struct im_op *op, unsigned head, uint32_t size)
{
	uint32_t ext = im_load32_rlx(&op->s->head[head]);

	return ext < op->seg->n_extents &&
	       im_load32_rlx(&op->seg->table[ext].fill) + (uint64_t)size <= op->seg->extent_len;
}

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

static unsigned char *place(struct im_op *op, unsigned head, uint32_t *ret_ref,
			    struct fmt_extent **ret_x)
{
	uint32_t ext = im_load32_rlx(&op->s->head[head]);
	struct fmt_extent *x = &op->seg->table[ext];
	uint32_t fill = im_load32_rlx(&x->fill);

	*ret_ref = im_ref(op->seg, ext, fill);
	*ret_x = x;
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

uint32_t im_log_append(struct im_op *op, unsigned head, const struct im_record *rec)
{
	struct fmt_extent *x;
	uint32_t ref;
	unsigned char *p = place(op, head, &ref, &x);
	unsigned char *body = p + im_entry_key_off(rec->flags);

	store_head(p, rec);
	if (!(rec->flags & FMT_F_FARKEY)) {
		im_fill_racy(body, rec->key, rec->key_len);
		body += rec->key_len;
	}
	if (!(rec->flags & FMT_F_LARGE))
		im_fill_racy(body, rec->val, rec->val_len);
	widen(x, rec->version, rec->flags & FMT_F_TTL ? rec->expiry : UINT64_MAX);
	crash("log.bytes");
	im_store32_rel(&x->fill, im_load32_rlx(&x->fill) + rec->size);
	crash("log.filled");
	return ref;
}

uint32_t im_log_move(struct im_op *op, const struct im_entry *e)
{
	struct fmt_extent *x;
	uint32_t ref;
	unsigned char *p = place(op, FMT_COLD, &ref, &x);

	im_fill_racy(p, e->at, e->size);
	widen(x, e->version, im_entry_expiry(e));
	im_store32_rel(&x->fill, im_load32_rlx(&x->fill) + e->size);
	crash("log.moved");
	return ref;
}
