/* SPDX-License-Identifier: MIT */
/*
 * consistent.c - several keys as they were at one moment
 *
 *     read each key: value and version; of one that is not there, the seq of its shard's list
 *     no shard of them is in the middle of a group
 *     look at each key again: the same version; not there, and the same seq
 *
 * A version never comes back, so a key with the same one twice had it all the time between;
 * one that was not there twice, while its shard's seq stood still, was not there between. So
 * between the last read and the first second look all of them were as read, together. A group
 * that was half stored then was so during all of that time, if the second look finds nothing
 * changed: the shard of a key that is still to be stored had its group set from before the
 * commit, hence before anything of the group could be read, until after that key is stored. So
 * the look at the groups, in between, sees it.
 *
 * That is tried TRIES times. Then the keys are read under the locks of their shards, which
 * also completes what dead writers left there.
 */
#include "consistent.h"

#include "group.h"
#include "many.h"
#include "read.h"
#include "span.h"

#include "crash.h"

#include <stdlib.h>

#define TRIES 16u

/* The seq of the list that a key's shard stored last, or stores now. */
static uint64_t seq_of(const struct ipcmap *m, uint64_t hash)
{
	return im_load_acq(&im_map_at(m, hash)->s->redo.seq);
}

static bool is_there(int rc)
{
	return rc == 0 || rc == IPCMAP_SHORT;
}

static bool is_same(const struct ipcmap *m, const struct ipcmap_mget *it, uint64_t hash,
		    uint64_t seq)
{
	struct ipcmap_value v = {0};
	int rc = im_read_uncounted(m, it->key, it->key_len, &v);

	if (is_there(it->rc))
		return is_there(rc) && v.version == it->value.version;
	return rc == it->rc && seq_of(m, hash) == seq;
}

/* One attempt: the hits, or IPCMAP_BUSY. */
static int attempt(const struct ipcmap *m, struct ipcmap_mget *items, size_t n, bool first)
{
	uint64_t hash[IPCMAP_COMMIT_MAX], seq[IPCMAP_COMMIT_MAX];
	int hits = 0;

	for (size_t i = 0; i < n; i++) {
		hash[i] = im_hash(m->hash_seed, items[i].key, items[i].key_len);
		seq[i] = seq_of(m, hash[i]);
		items[i].rc = first ? im_read_getx_of(m, items[i].key, items[i].key_len, hash[i],
						      &items[i].value)
				    : im_read_uncounted(m, items[i].key, items[i].key_len,
							&items[i].value);
		hits += items[i].rc == 0;
	}
	crash("read.collected");
	/* ord(group): a change of it, then the group. Pairs with commit.c and group.c. */
	im_read_barrier();
	for (size_t i = 0; i < n; i++)
		if (im_group_is_on(im_map_at(m, hash[i])->s))
			return IPCMAP_BUSY;
	for (size_t i = 0; i < n; i++)
		if (!is_same(m, &items[i], hash[i], seq[i]))
			return IPCMAP_BUSY;
	return hits;
}

int im_consistent_get(struct ipcmap *m, struct ipcmap_mget *items, size_t n)
{
	for (unsigned i = 0; i < TRIES; i++) {
		int r = attempt(m, items, n, i == 0);

		if (r != IPCMAP_BUSY)
			return r;
		for (unsigned k = 0; k < 1u << (i < 8 ? i : 8); k++)
			im_pause();
	}
	return IPCMAP_BUSY;
}

static int read_all(const struct ipcmap *m, struct ipcmap_mget *items, size_t n)
{
	int hits = 0;

	for (size_t i = 0; i < n; i++) {
		items[i].rc = im_read_uncounted(m, items[i].key, items[i].key_len,
						&items[i].value);
		hits += items[i].rc == 0;
	}
	return hits;
}

int im_consistent_get_locked(struct ipcmap *m, struct ipcmap_mget *items, size_t n,
			     uint64_t deadline_ns)
{
	uint64_t hash[IPCMAP_COMMIT_MAX];
	struct im_span sp;
	int r;

	for (size_t i = 0; i < n; i++)
		hash[i] = im_hash(m->hash_seed, items[i].key, items[i].key_len);
	r = im_span_make(m, hash, n, deadline_ns, &sp);
	if (r)
		return r;
	r = im_span_enter(&sp);
	if (r == 0) {
		r = read_all(m, items, n);
		im_span_leave(&sp);
	}
	im_span_done(&sp);
	return r;
}
