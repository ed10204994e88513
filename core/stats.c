/* SPDX-License-Identifier: MIT */
/*
 * stats.c - counts and facts, taken without a lock
 *
 * A shard's books are read between two equal values of its redo list's seq. While a list is
 * armed (by a writer at work, or one that died there) the values that it will store are
 * taken in place of the stored ones, so the books are right in any case. A list that changes
 * while it is read can give anything, and that reading is not used. After TRIES of them the shard
 * is being written all the time, so its writers live, and each word is taken as it stands: what
 * the shard had at some moment, but not all four at the same.
 */
#include "stats.h"

#include "crash.h"
#include "event.h"
#include "keep.h"
#include "lease.h"
#include "owner.h"
#include "pinned.h"
#include "redo.h"
#include "ring.h"
#include "space.h"

#define TRIES 64u

struct books {
	uint64_t entries, live, large, overflows;
};

static void read_once(const struct ipcmap *m, const struct fmt_shard *s, struct books *ret)
{
	crash("read.books");
	ret->entries = im_redo_peek(m->seg, s, &s->entries);
	ret->live = im_redo_peek(m->seg, s, &s->live);
	ret->large = im_redo_peek(m->seg, s, &s->large);
	ret->overflows = im_redo_peek(m->seg, s, &s->n_ovf);
}

static void read_books(const struct ipcmap *m, const struct fmt_shard *s, struct books *ret)
{
	for (unsigned i = 0; i < TRIES; i++) {
		/* ord(redo) */
		uint64_t seq = im_load_acq(&s->redo.seq);

		read_once(m, s, ret);
		im_read_barrier();
		if (im_load_rlx(&s->redo.seq) == seq)
			return;
	}
	ret->entries = im_load_rlx(&s->entries);
	ret->live = im_load_rlx(&s->live);
	ret->large = im_load_rlx(&s->large);
	ret->overflows = im_load_rlx(&s->n_ovf);
}

uint64_t im_stats_entries(const struct ipcmap *m)
{
	struct books b;
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->n_shards; i++) {
		read_books(m, &m->shards[i], &b);
		n += b.entries;
	}
	return n;
}

static void add_line(const struct fmt_line *l, struct ipcmap_stat *ret)
{
	uint64_t hits = im_load_rlx(&l->hits);

	ret->hits += hits;
	ret->gets += hits + im_load_rlx(&l->misses);
	ret->puts += im_load_rlx(&l->puts);
	ret->dels += im_load_rlx(&l->dels);
	ret->waits += im_load_rlx(&l->waits);
	ret->compress_raw += im_load_rlx(&l->raw_len);
	ret->compress_stored += im_load_rlx(&l->packed_len);
}

static void add_shard(const struct ipcmap *m, const struct fmt_shard *s, struct ipcmap_stat *ret)
{
	uint64_t e = m->seg->extent_len;
	struct books b;

	read_books(m, s, &b);
	ret->entries += b.entries;
	ret->live_len += b.live;
	ret->large_len += b.large;
	ret->overflows += b.overflows;
	ret->parked_len += im_load32_rlx(&s->parked_n) * e;
	ret->log_len += im_load32_rlx(&s->n_log) * e;
	ret->index_len += (im_load32_rlx(&s->n_index) + im_load32_rlx(&s->n_ovf_ext)) * e;
	ret->buckets += im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK;
	ret->cleaned += im_load_rlx(&s->cleaned);
	ret->expired += im_load_rlx(&s->expired);
	ret->takeovers += im_load_rlx(&s->takeovers);
	ret->events += im_load_rlx(&s->events);
}

/* Who watches and who loads, and the memory of it. */
static void add_waits(const struct ipcmap *m, struct ipcmap_stat *ret)
{
	struct im_lease_counts c = {0};

	for (uint32_t i = 0; i < m->n_shards; i++) {
		ret->watched +=
			im_event_extent(m->seg, &m->shards[i], i) != FMT_NO_EXTENT;
		im_lease_count(m, i, &c);
	}
	ret->ring_len = ret->watched * m->seg->extent_len;
	ret->watchers = im_ring_watchers(m);
	ret->gaps = m->waits ? im_load_rlx(&m->waits->gaps) : 0;
	ret->loads = c.grants;
	ret->leases = c.held;
	ret->leases_waited = c.waited;
	ret->backoffs = c.resting;
}

int im_stats_get(struct ipcmap *m, struct ipcmap_stat *ret)
{
	const struct im_seg *seg = m->seg;
	struct ipcmap_stat v = {.struct_size = ret->struct_size};

	for (uint32_t i = 0; i < m->n_shards; i++)
		add_shard(m, &m->shards[i], &v);
	for (uint32_t i = 0; i < seg->n_lines; i++)
		add_line(&seg->lines[i], &v);
	add_line(&seg->h->shared, &v);
	add_waits(m, &v);
	v.snapshot_len = im_keep_len(m);
	v.pinned_len = im_pinned_extents(m, &v.pins) * (uint64_t)seg->extent_len;
	v.used = im_space_used(seg);
	v.limit = im_load_rlx(&seg->h->space.limit);
	v.max = seg->len;
	v.ttl_ns = im_load_rlx(&seg->h->ttl_ns);
	v.compress = im_load32_rlx(&seg->h->pack_min);
	v.extent_len = seg->extent_len;
	v.created = seg->h->created;
	v.shards = m->n_shards;
	v.attached = im_owner_count(m->seg);
	v.owners = seg->n_owners;
	v.format = seg->h->version;
	v.takeovers += im_load_rlx(&seg->h->space.takeovers);
	im_seg_file(m->seg, &v.uid, &v.gid, &v.mode);
	*ret = v;
	return 0;
}
