/* SPDX-License-Identifier: MIT */
/*
 * value.h - the value of an entry, however it is stored: in the log or in a chain, as it is
 * or compressed
 *
 * The functions that take an entry are for readers: they look at memory that may be reused
 * meanwhile, load and bound every length once, and decide nothing about the map. What they
 * return holds if the caller's validation says that the entry was there throughout. All
 * return 0, -EUCLEAN when the bytes cannot be a value, or -ENOMEM when a compressed one needs
 * scratch memory that is not to be had.
 */
#ifndef IM_VALUE_H
#define IM_VALUE_H

#include "large.h"
#include "scratch.h"

/*
 * Where the stored bytes are. A chain is validated by its own generation, and its descriptor
 * may move to another entry meanwhile: so that is read once, here.
 */
struct im_value {
	const struct im_seg *seg;
	const unsigned char *at; /* in the log; NULL: in the chain */
	struct fmt_chain chain;
	uint32_t skip; /* bytes of a far key before it */
	uint32_t len;  /* stored bytes */
	bool packed;
};
void im_value_find(const struct im_seg *seg, const struct im_entry *e, struct im_value *ret);

/* Raw bytes. */
int im_value_len(const struct im_value *v, uint64_t *ret_len);

/* Copy out; @len is what im_value_len() returned. */
int im_value_copy(const struct im_value *v, void *buf, uint64_t len);

/* 1 equal, 0 not, or an error. */
int im_value_equal(const struct im_value *v, const void *want, uint64_t len);

/* Compressed values decompress to their length. */
int im_value_verify(const struct im_value *v);

/*
 * Make @rec hold its value compressed, if that saves enough; true: then im_scratch_give(@s)
 * once the record is written.
 */
bool im_value_pack(struct im_record *rec, struct im_scratch *s);

#endif
