/* SPDX-License-Identifier: MIT */
/*
 * inspect.c - the numbers of a segment as they stand, for people who look for a fault
 *
 * Each word is loaded once and handed out; nothing is derived from two of them, nothing is
 * followed, and every place is computed from what was validated at attach. So it needs no
 * lock and cannot go wrong on any bytes, and what it shows of a damaged segment is the
 * damage. stats.c has the figures that agree with each other.
 *
 * It implements its part of ipcmap.h itself: there is no work below to call down to.
 */
#include "lease.h"
#include "pinned.h"
#include "ring.h"

#define SLOT_MASK 0x3ffu /* of an owner word: slot:10 | generation:20 << 10; owner.h */
#define SLOT_BITS 10u
#define GEN_MASK 0xfffffu

static_assert(IPCMAP_EXTENT_FREE == FMT_FREE && IPCMAP_EXTENT_PRIVATE == FMT_PRIVATE &&
		      IPCMAP_EXTENT_PIECE == FMT_PIECE &&
		      IPCMAP_EXTENT_RESERVED == FMT_RESERVED && IPCMAP_EXTENT_LOG == FMT_LOG &&
		      IPCMAP_EXTENT_INDEX == FMT_INDEX && IPCMAP_EXTENT_LARGE == FMT_LARGE &&
		      IPCMAP_EXTENT_PARKED == FMT_PARKED && IPCMAP_NO_EXTENT == FMT_NO_EXTENT,
	      "ipcmap.h names the states anew");

static uint32_t word_slot(uint32_t owner)
{
	return owner & SLOT_MASK;
}

static uint32_t word_gen(uint32_t owner)
{
	return (owner & IM_OWNER_MASK) >> SLOT_BITS;
}

static uint32_t lines_of(const struct im_seg *seg, uint32_t slot)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < seg->n_lines; i++) {
		uint32_t claim = im_load32_rlx(&seg->lines[i].claim);

		n += claim != 0 && (slot == 0 || word_slot(claim) == slot);
	}
	return n;
}

static void show_space(const struct fmt_space *s, struct ipcmap_inspect *ret)
{
	uint32_t lock = im_load32_rlx(&s->lock);

	ret->limit = im_load_rlx(&s->limit);
	ret->takeovers = im_load_rlx(&s->takeovers);
	ret->extents_limit = im_load32_rlx(&s->limit_n);
	ret->extents_used = im_load32_rlx(&s->used);
	ret->extents_fresh = im_load32_rlx(&s->fresh);
	ret->extents_queued = im_load32_rlx(&s->n_queued);
	ret->lock_slot = word_slot(lock);
	ret->lock_gen = word_gen(lock);
	ret->armed = im_load_rlx(&s->seq) & 1;
}

IPCMAP_API int ipcmap_inspect(struct ipcmap *map, struct ipcmap_inspect *ret)
{
	struct ipcmap_inspect v = {.struct_size = sizeof(v)};
	const struct im_seg *seg;
	const struct fmt_header *h;

	if (!map || !ret || ret->struct_size != sizeof(*ret))
		return IPCMAP_INVALID;
	seg = map->seg;
	h = seg->h;
	v.compat = im_load_rlx(&h->compat);
	v.incompat = im_load_rlx(&h->incompat);
	v.creation = im_load_rlx(&h->creation);
	v.created = im_load_rlx(&h->created);
	v.file_len = seg->len;
	v.owner_off = (uint64_t)((unsigned char *)seg->owners - seg->base);
	v.line_off = (uint64_t)((unsigned char *)seg->lines - seg->base);
	v.shard_off = (uint64_t)(seg->user - seg->base);
	v.table_off = (uint64_t)((unsigned char *)seg->table - seg->base);
	v.extent_off = seg->extent_off;
	v.ttl_ns = im_load_rlx(&h->ttl_ns);
	v.format = im_load32_rlx(&h->version);
	v.extent_len = seg->extent_len;
	v.unit_len = 1u << seg->unit_shift;
	v.extents = seg->n_extents;
	v.owners = seg->n_owners;
	v.lines = seg->n_lines;
	v.lines_used = lines_of(seg, 0);
	v.shards = map->n_shards;
	v.index_max = map->dir_cap;
	im_copy_racy(v.boot_id, h->boot_id, sizeof(v.boot_id));
	if (map->waits) {
		v.prefix_lens = im_load_rlx(&map->waits->prefix_lens);
		v.gaps = im_load_rlx(&map->waits->gaps);
	}
	show_space(&h->space, &v);
	*ret = v;
	return 0;
}

IPCMAP_API int ipcmap_inspect_owner(struct ipcmap *map, uint32_t i,
				    struct ipcmap_owner_info *ret)
{
	struct ipcmap_owner_info v = {.struct_size = sizeof(v)};
	const struct fmt_owner *o;

	if (!map || !ret || ret->struct_size != sizeof(*ret))
		return IPCMAP_INVALID;
	if (i >= map->seg->n_owners)
		return IPCMAP_NOTFOUND;
	o = &map->seg->owners[i];
	v.slot = i + 1;
	v.gen = im_load32_rlx(&o->gen) & GEN_MASK;
	v.pid = im_load_rlx(&o->pid);
	v.start = im_load_rlx(&o->start);
	v.attached = im_load_rlx(&o->attached);
	im_copy_racy(v.comm, o->comm, sizeof(o->comm));
	v.extents = im_load32_rlx(&o->n_private);
	v.lines = lines_of(map->seg, v.slot);
	v.watches = v.gen ? im_ring_groups_of(map, v.slot, v.gen) : 0;
	v.leases = v.gen ? im_lease_of_owner(map, v.slot | v.gen << SLOT_BITS) : 0;
	v.pins = v.gen ? im_pinned_by(map, v.slot | v.gen << SLOT_BITS) : 0;
	v.alive = v.gen && !im_owner_dead(map->seg, v.slot | v.gen << SLOT_BITS);
	*ret = v;
	return 0;
}

static void show_logs(const struct fmt_shard *s, struct ipcmap_shard_info *ret)
{
	ret->log_extents = im_load32_rlx(&s->n_log);
	ret->index_extents = im_load32_rlx(&s->n_index);
	ret->overflow_extents = im_load32_rlx(&s->n_ovf_ext);
	ret->ahead_extents = im_load32_rlx(&s->n_ahead);
	ret->hot = im_load32_rlx(&s->head[FMT_HOT]);
	ret->cold = im_load32_rlx(&s->head[FMT_COLD]);
	ret->reserve = im_load32_rlx(&s->reserve);
	ret->freeing = im_load32_rlx(&s->free_n);
	ret->parked_extents = im_load32_rlx(&s->parked_n);
}

static void show_state(const struct fmt_shard *s, struct ipcmap_shard_info *ret)
{
	uint64_t geometry = im_load_rlx(&s->geometry);
	uint32_t lock = im_load32_rlx(&s->lock);

	ret->buckets = geometry & FMT_BUCKETS_MASK;
	ret->moves = geometry >> 40;
	ret->lock_slot = word_slot(lock);
	ret->lock_gen = word_gen(lock);
	ret->lock_waited = lock >> 31;
	ret->redo_seq = im_load_rlx(&s->redo.seq);
	ret->redo_stores = im_load32_rlx(&s->redo.n);
	ret->splitting = im_load32_rlx(&s->unsplit) || im_load32_rlx(&s->uncompact);
}

static void show_waits(const struct ipcmap *m, uint32_t i, struct ipcmap_shard_info *ret)
{
	const struct fmt_shard *s = &m->shards[i];
	struct im_lease_counts c = {0};

	im_lease_look(m, i, &c);
	ret->ring = im_load32_rlx(&s->ring) - 1; /* 0, none, becomes IPCMAP_NO_EXTENT */
	ret->ring_head = im_load_rlx(&s->ring_head);
	ret->events = im_load_rlx(&s->events);
	ret->lease_grants = c.grants;
	ret->leases = c.held;
	ret->leases_waited = c.waited;
	ret->leases_failed = c.failed;
}

IPCMAP_API int ipcmap_inspect_shard(struct ipcmap *map, uint32_t i,
				    struct ipcmap_shard_info *ret)
{
	struct ipcmap_shard_info v = {.struct_size = sizeof(v)};
	const struct fmt_shard *s;

	if (!map || !ret || ret->struct_size != sizeof(*ret))
		return IPCMAP_INVALID;
	if (i >= map->n_shards)
		return IPCMAP_NOTFOUND;
	s = &map->shards[i];
	v.entries = im_load_rlx(&s->entries);
	v.live_len = im_load_rlx(&s->live);
	v.large_len = im_load_rlx(&s->large);
	v.version = im_load_rlx(&s->version);
	v.floor = im_load_rlx(&s->floor);
	v.overflows = im_load_rlx(&s->n_ovf);
	v.reclaims = im_load_rlx(&s->reclaim_seq);
	v.cleaned = im_load_rlx(&s->cleaned);
	v.expired = im_load_rlx(&s->expired);
	v.takeovers = im_load_rlx(&s->takeovers);
	show_state(s, &v);
	show_logs(s, &v);
	show_waits(map, i, &v);
	*ret = v;
	return 0;
}

/* Which shard has an extent whose word is @w; n_shards: none. */
static uint32_t shard_of(const struct ipcmap *m, uint64_t w)
{
	switch (fmt_word_state(w)) {
	case FMT_RESERVED:
	case FMT_LOG:
	case FMT_INDEX:
	case FMT_LARGE:
	case FMT_PARKED:
		return fmt_word_who(w) < m->n_shards ? fmt_word_who(w) : m->n_shards;
	default:
		return m->n_shards;
	}
}

IPCMAP_API int ipcmap_inspect_extents(struct ipcmap *map, struct ipcmap_extent_counts *ret,
				      size_t n)
{
	uint32_t fresh;

	if (!map || !ret || n != (size_t)map->n_shards + 1)
		return IPCMAP_INVALID;
	memset(ret, 0, n * sizeof(*ret));
	/* the table has no memory beyond, and a look would make the system find some */
	fresh = im_load32_rlx(&map->seg->h->space.fresh);
	fresh = fresh < map->seg->n_extents ? fresh : map->seg->n_extents;
	ret[map->n_shards].n[IPCMAP_EXTENT_FREE] = map->seg->n_extents - fresh;
	for (uint32_t ext = 0; ext < fresh; ext++) {
		const struct fmt_extent *e = &map->seg->table[ext];
		uint64_t w = im_load_rlx(&e->word);
		uint32_t state = fmt_word_state(w);
		struct ipcmap_extent_counts *c = &ret[shard_of(map, w)];

		c->n[state < IPCMAP_EXTENT_OTHER ? state : IPCMAP_EXTENT_OTHER]++;
		c->backed += im_load32_rlx(&e->backed) == 1;
		if (state != FMT_LOG)
			continue;
		c->filled += im_load32_rlx(&e->fill);
		c->live += (uint32_t)im_load_rlx(&e->books);
	}
	return 0;
}
