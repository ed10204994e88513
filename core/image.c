/* SPDX-License-Identifier: MIT */
/*
 * image.c - the bytes of a snapshot: built once from pairs, then looked up in place
 *
 * Both sorted and hashed: items lie in the order of their keys, so that walking them gives a
 * stable order, and a table of offsets with half of each key's hash finds one in two cache
 * misses. A binary search needed no table but took a miss for each of its steps.
 *
 * Invariants
 *  image.I1  items lie one after the other from items_off to len, n in all, keys ascending.
 *  image.I2  each item is found by its key.
 * Checked by: check-snapshot.c.
 */
#include "image.h"

#include <stdlib.h>

#define ITEM_HEAD 8u

static int compare(const void *a, const void *b)
{
	const struct ipcmap_pair *x = *(const struct ipcmap_pair *const *)a;
	const struct ipcmap_pair *y = *(const struct ipcmap_pair *const *)b;
	int r = memcmp(x->key, y->key, min_u64(x->key_len, y->key_len));

	return r ? r : x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
}

static uint64_t item_len(uint64_t key_len, uint64_t val_len)
{
	return align_up(ITEM_HEAD + key_len + val_len + 1, 8);
}

/* At most 2/3 full. */
static uint64_t slots_for(uint64_t n)
{
	uint64_t slots = 2;

	while (slots < n + n / 2)
		slots *= 2;
	return slots;
}

static void put_item(unsigned char *im, uint64_t off, const struct ipcmap_pair *p)
{
	uint64_t head = p->key_len | (uint64_t)p->val_len << 32;

	memcpy(im + off, &head, sizeof(head));
	memcpy(im + off + ITEM_HEAD, p->key, p->key_len);
	if (p->val_len)
		memcpy(im + off + ITEM_HEAD + p->key_len, p->val, p->val_len);
}

static void put_slot(uint64_t *slots, uint64_t mask, uint64_t hash, uint64_t off)
{
	uint64_t i = hash & mask;

	while (slots[i])
		i = (i + 1) & mask;
	slots[i] = (hash & ~UINT64_C(0xffffffff)) | off / 8;
}

static int judge(const struct ipcmap_pair *pairs, size_t n, const struct im_why *why,
		 uint64_t *ret_len)
{
	uint64_t len = 0;

	for (size_t i = 0; i < n; i++) {
		const struct ipcmap_pair *p = &pairs[i];

		if (!p->key || p->key_len - 1 >= IPCMAP_KEY_MAX || (!p->val && p->val_len))
			return im_why(why, IPCMAP_INVALID, "pair %zu has no key of 1 to %u bytes",
				      i, IPCMAP_KEY_MAX);
		if (p->val_len > UINT32_MAX)
			return im_why(why, IPCMAP_TOOBIG, "the value of pair %zu is too long", i);
		len += item_len(p->key_len, p->val_len);
		if (len > UINT32_MAX)
			break;
	}
	len += sizeof(struct fmt_image) + slots_for(n) * 8;
	if (len > UINT32_MAX)
		return im_why(why, IPCMAP_TOOBIG, "a snapshot has at most 4 GiB");
	*ret_len = len;
	return 0;
}

static int twice(const struct ipcmap_pair *p, const struct im_why *why)
{
	int len = (int)min_u64(p->key_len, 60);

	return im_why(why, IPCMAP_INVALID, "the key \"%.*s\" is there twice", len,
		      (const char *)p->key);
}

int im_image_build(const struct ipcmap_pair *pairs, size_t n, uint64_t seed,
		   const struct im_why *why, unsigned char **ret_bytes, uint64_t *ret_len)
{
	const struct ipcmap_pair **order;
	uint64_t len = 0, off, mask;
	unsigned char *im;
	struct fmt_image h;
	int r = n > UINT32_MAX / 16 ? im_why(why, IPCMAP_TOOBIG, "too many keys")
				    : judge(pairs, n, why, &len);

	if (r)
		return r;
	mask = slots_for(n) - 1;
	im = calloc(1, len);
	order = malloc((n + 1) * sizeof(*order));
	if (!im || !order) {
		r = im_why(why, IPCMAP_NOMEM, "out of memory");
		goto out;
	}
	for (size_t i = 0; i < n; i++)
		order[i] = &pairs[i];
	qsort(order, n, sizeof(*order), compare);
	off = sizeof(h) + (mask + 1) * 8;
	h = (struct fmt_image){FMT_IMAGE_MAGIC, len, (uint32_t)n, (uint32_t)mask, off};
	memcpy(im, &h, sizeof(h));
	for (size_t i = 0; i < n; i++) {
		const struct ipcmap_pair *p = order[i];

		if (i && compare(&order[i - 1], &order[i]) == 0) {
			r = twice(p, why);
			goto out;
		}
		put_item(im, off, p);
		put_slot((uint64_t *)(void *)(im + sizeof(h)), mask,
			 im_hash(seed, p->key, p->key_len), off);
		off += item_len(p->key_len, p->val_len);
	}
	*ret_bytes = im;
	*ret_len = len;
	im = NULL;
out:
	free(order);
	free(im);
	return r;
}

static uint64_t load(const struct im_image *im, uint64_t off)
{
	return im_load_rlx((const uint64_t *)(const void *)(im->at + off));
}

int im_image_open(const void *at, uint64_t len, uint64_t seed, struct im_image *ret)
{
	struct fmt_image h;

	if (len < sizeof(h) + 16 || len % 8)
		return -EUCLEAN;
	im_copy_racy(&h, at, sizeof(h));
	if (h.magic != FMT_IMAGE_MAGIC || h.len != len || h.mask == UINT32_MAX ||
	    h.mask & (h.mask + 1) || h.n > h.mask ||
	    h.items_off != sizeof(h) + ((uint64_t)h.mask + 1) * 8 || h.items_off > len)
		return -EUCLEAN;
	*ret = (struct im_image){at, len, h.items_off, h.n, h.mask, seed};
	return 0;
}

/* Lengths are loaded once, and bounded: off + ITEM_HEAD + key + value + 1 <= len. */
im_inline bool view(const struct im_image *im, uint64_t off, uint64_t *ret_key_len,
		    uint64_t *ret_val_len)
{
	uint64_t head;

	if (unlikely(off > im->len - ITEM_HEAD))
		return false;
	head = load(im, off);
	*ret_key_len = (uint32_t)head;
	*ret_val_len = head >> 32;
	return likely(*ret_key_len + *ret_val_len < im->len - ITEM_HEAD - off);
}

int im_image_get(const struct im_image *im, const void *key, size_t key_len,
		 const void **ret_val, size_t *ret_len)
{
	uint64_t hash = key_len <= IM_HASH_SHORT ? im_hash_short(im->seed, key, key_len)
						 : im_hash(im->seed, key, key_len);
	uint64_t i = hash & im->mask;

	for (uint64_t left = (uint64_t)im->mask + 1; left; left--) {
		uint64_t slot = load(im, sizeof(struct fmt_image) + i * 8), off, k, v;

		if (!slot)
			return IPCMAP_NOTFOUND;
		i = (i + 1) & im->mask;
		if ((slot ^ hash) >> 32)
			continue;
		off = (slot & UINT32_MAX) * 8;
		if (unlikely(!view(im, off, &k, &v)))
			return IPCMAP_CORRUPT;
		if (k != key_len || memcmp(im->at + off + ITEM_HEAD, key, key_len) != 0)
			continue;
		*ret_val = im->at + off + ITEM_HEAD + k;
		if (ret_len)
			*ret_len = v;
		return 0;
	}
	return IPCMAP_NOTFOUND;
}

bool im_image_item(const struct im_image *im, uint64_t *off, struct ipcmap_pair *ret)
{
	uint64_t k, v;

	if (*off % 8 || !view(im, *off, &k, &v))
		return false;
	ret->key = im->at + *off + ITEM_HEAD;
	ret->key_len = k;
	ret->val = im->at + *off + ITEM_HEAD + k;
	ret->val_len = v;
	*off += item_len(k, v);
	return true;
}
