/* SPDX-License-Identifier: MIT */
/*
 * image.h - the bytes of a snapshot: built once from pairs, then looked up in place
 *
 * format.h has the layout. Bytes of an image in a segment are not trusted: its head is copied
 * and bounded once, when it is opened; every number that a lookup follows is loaded once and
 * bounded by the length, which costs two compares a lookup and saves a walk over all keys at
 * each opening. So the bytes may even change meanwhile, and a lookup still ends.
 */
#ifndef IM_IMAGE_H
#define IM_IMAGE_H

#include "format.h"
#include "hash.h"
#include "ipcmap.h"
#include "why.h"

#include "atomic.h"

/* An image in this process's address space, with a head that was judged. */
struct im_image {
	const unsigned char *at; /* aligned to 8 */
	uint64_t len;
	uint64_t items_off;
	uint32_t n;
	uint32_t mask;
	uint64_t seed;
};

/*
 * Build one from @n pairs in any order, in memory from malloc(). IPCMAP_INVALID: a key twice,
 * or of a length that cannot be; IPCMAP_TOOBIG: 4 GiB or more; IPCMAP_NOMEM.
 */
int im_image_build(const struct ipcmap_pair *pairs, size_t n, uint64_t seed,
		   const struct im_why *why, unsigned char **ret_bytes, uint64_t *ret_len);

/* The head of @len bytes at @at: 0; -EUCLEAN. */
int im_image_open(const void *at, uint64_t len, uint64_t seed, struct im_image *ret);

/* 0; IPCMAP_NOTFOUND; IPCMAP_CORRUPT */
int im_image_get(const struct im_image *im, const void *key, size_t key_len,
		 const void **ret_val, size_t *ret_len);

/* The item at @*off, which moves to the next; false: no item can be there. */
bool im_image_item(const struct im_image *im, uint64_t *off, struct ipcmap_pair *ret);

#endif
