/* SPDX-License-Identifier: MIT */
/*
 * many.c - calls over many keys: mget, delete by prefix
 *
 * A get waits for two cache misses, one after the other. mget has many of each under way at
 * once: it prefetches the index lines of a batch, then the entries that their tags point at,
 * and then reads each key as any get does. What it prefetches decides nothing.
 */
#include "many.h"

#include "index.h"
#include "read.h"
#include "scan.h"
#include "write.h"

#define BATCH 16u

static struct fmt_bucket *home(const struct ipcmap *m, uint64_t hash)
{
	const struct im_map_shard *at = im_map_at(m, hash);
	uint64_t n = im_load_acq(&at->s->geometry) & FMT_BUCKETS_MASK;

	return n ? im_bucket(m, at->dir, im_bucket_of(hash, n)) : NULL;
}

static void prefetch_entry(const struct ipcmap *m, const struct fmt_bucket *b, uint64_t hash)
{
	unsigned fit = im_bucket_match_now(b, im_hash_tag(hash));
	uint32_t ref;

	if (!fit)
		return;
	ref = im_load32_rlx(&b->ref[__builtin_ctz(fit)]);
	if (ref - m->ref_first < m->ref_n)
		__builtin_prefetch(m->base + ((uint64_t)ref << m->unit_shift));
}

static uint64_t hash_of(const struct ipcmap *m, const struct ipcmap_mget *item)
{
	return likely(item->key_len <= IM_HASH_SHORT)
		       ? im_hash_mixed(m->hash_seed, &m->mix, item->key, item->key_len)
		       : im_hash(m->hash_seed, item->key, item->key_len);
}

static void prefetch(const struct ipcmap *m, const struct ipcmap_mget *items, size_t n,
		     uint64_t *hash)
{
	struct fmt_bucket *b[BATCH];

	for (size_t i = 0; i < n; i++) {
		hash[i] = hash_of(m, &items[i]);
		b[i] = home(m, hash[i]);
		__builtin_prefetch(b[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (b[i])
			prefetch_entry(m, b[i], hash[i]);
}

int im_many_get(const struct ipcmap *m, struct ipcmap_mget *items, size_t n)
{
	uint64_t hash[BATCH];
	int hits = 0;

	for (size_t at = 0; at < n; at += BATCH) {
		size_t batch = n - at < BATCH ? n - at : BATCH;

		prefetch(m, items + at, batch, hash);
		for (size_t i = 0; i < batch; i++) {
			struct ipcmap_mget *it = &items[at + i];

			it->rc = im_read_getx_of(m, it->key, it->key_len, hash[i], &it->value);
			hits += it->rc == 0;
		}
	}
	return hits;
}

/* ---- delete by prefix ---- */

struct deleting {
	struct ipcmap *m;
	uint64_t n;
};

/* Only what the scan showed: a key that was put again meanwhile stays. */
static int delete_shown(void *arg, const struct ipcmap_item *item)
{
	struct deleting *d = arg;
	struct ipcmap_put_options only_if = IPCMAP_PUT_INIT;
	int r;

	only_if.flags = IPCMAP_IF_VERSION;
	only_if.version = item->version;
	r = ipcmap_delx(d->m, item->key, item->key_len, &only_if);
	d->n += r == 0;
	return r == IPCMAP_NOTFOUND || r == IPCMAP_MISMATCH ? 0 : r;
}

int im_many_del_prefix(struct ipcmap *m, const void *prefix, size_t prefix_len,
		       uint64_t *ret_deleted)
{
	struct deleting d = {m, 0};
	uint64_t cursor = 0;
	int r = im_scan(m, &cursor, prefix, prefix_len, IPCMAP_SCAN_KEYS, delete_shown, &d);

	if (ret_deleted)
		*ret_deleted = d.n;
	return r;
}
