/* SPDX-License-Identifier: MIT */
/*
 * read.h - the read protocol: get without a lock
 */
#ifndef IM_READ_H
#define IM_READ_H

#include "map.h"
#include "value.h"

/* As ipcmap_get() (arguments unchecked by the caller too), ipcmap_getx(), ipcmap_exists() (no value at all); counts gets and hits. */
int im_read_get(const struct ipcmap *m, const void *key, size_t key_len, void *buf, size_t cap,
		size_t *ret_len);
int im_read_getx(const struct ipcmap *m, const void *key, size_t key_len,
		 struct ipcmap_value *ret);
/* 0 when the value of the key equals @want, MISMATCH, or as im_read_exists(); not counted. */
int im_read_equal(const struct ipcmap *m, const void *key, size_t key_len, const void *want,
		  uint64_t want_len, uint64_t *ret_version);
/* The same, of a key whose hash is known. */
int im_read_getx_of(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash,
		    struct ipcmap_value *ret);
/* As im_read_getx(), but not counted: for calls that are no gets. */
int im_read_uncounted(const struct ipcmap *m, const void *key, size_t key_len,
		      struct ipcmap_value *ret);
/* Likewise, also of an entry that expired less than @grace ago; its ttl_left_ns is 0. */
int im_read_stale(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash,
		  uint64_t grace, struct ipcmap_value *ret);
int im_read_exists(const struct ipcmap *m, const void *key, size_t key_len);

/* A value that is held where it lies. */
struct im_read_pin {
	uint32_t hint; /* in: a pin that may be free */
	/* out */
	uint32_t pin; /* not with at.packed: such a value is not held */
	uint32_t n;   /* extents */
	struct im_value at;
	/* for the reader */
	const struct fmt_bucket *b;
	unsigned i;
	uint32_t ref;
	uint64_t geometry;
};

/*
 * Pin the value of a key, whose hash is known: 0, with len, version, type and life in @ret; -EBUSY
 * also when no pin is free, or too much would be held. This process owns a slot. Counts as a get.
 */
int im_read_pin(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash,
		struct ipcmap_value *ret, struct im_read_pin *p);

#endif
