/* SPDX-License-Identifier: MIT */
/*
 * large.h - values (and keys) that lie in extents of their own, linked by next
 *
 * An entry longer than half an extent keeps its value in a chain of extents, and its key too
 * when that alone is too long. The chain is filled while its first extent is PRIVATE to the
 * writer, outside any lock, and becomes LARGE with the write that publishes it. All of it is
 * validated by the generation of the first extent, which rises before any of them leaves.
 */
#ifndef IM_LARGE_H
#define IM_LARGE_H

#include "log.h"

/* Bytes of a chain: the far key, then the value. */
im_inline uint64_t im_large_len(const struct im_entry *e)
{
	return (uint64_t)e->val_len + (e->flags & FMT_F_FARKEY ? e->key_len : 0);
}

/* Does this record need a chain? Sets FMT_F_LARGE and FARKEY, whatever its expiry will be. */
void im_large_plan(const struct im_seg *seg, struct im_record *rec);

/* Take extents and fill them with rec's far key and value; sets rec->chain and its word. */
int im_large_make(struct im_seg *seg, struct im_record *rec, struct im_wait *wait,
		  uint64_t *ret_word);
void im_large_drop(struct im_seg *seg, const struct im_record *rec);

/*
 * Add to the redo list begun: the chain of an entry that loses its name is to be freed, and
 * @large, the shard's bytes in large extents otherwise, falls by its length.
 */
void im_large_unhook(struct im_op *op, const struct fmt_chain *c, uint64_t large);

/* A place in a chain; copying moves it on. -EUCLEAN when the links lead nowhere. Racy. */
struct im_large_pos {
	uint32_t ext;
	uint64_t off;
};
struct im_large_pos im_large_seek(const struct im_seg *seg, const struct fmt_chain *c,
				  uint64_t off);
int im_large_next(const struct im_seg *seg, struct im_large_pos *at, void *buf, uint64_t len);

/* Copy len bytes from off of the chain; likewise. */
int im_large_copy(const struct im_seg *seg, const struct fmt_chain *c, uint64_t off, void *buf,
		  uint64_t len);
/* 1 equal, 0 not (or broken links). Racy. */
int im_large_equal(const struct im_seg *seg, const struct fmt_chain *c, uint64_t off,
		   const void *want, uint64_t len);

bool im_large_farkey_equal(const struct im_seg *seg, const struct im_entry *e, const void *key);
uint64_t im_large_hash(const struct im_seg *seg, const struct im_entry *e);

/* Is this the key of the entry, whose length is already known to be the same? */
im_inline bool im_large_key_equal(const struct im_seg *seg, const struct im_entry *e,
				  const void *key)
{
	if (likely(!(e->flags & FMT_F_FARKEY)))
		return im_key_equal(im_entry_key(e), key, e->key_len);
	return im_large_farkey_equal(seg, e, key);
}

#endif
