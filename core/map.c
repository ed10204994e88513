/* SPDX-License-Identifier: MIT */
/*
 * map.c - open a map: choose the geometry of a new one, check it in an old one
 *
 * Extents are limit/2048 as a power of two within 4 KiB .. 1 MiB: small enough that a shard
 * has at least 128 of them (room.c), large enough that an extent's header line, its memory
 * reservation and its release are cheap per entry. Shards: as many as 128 extents each allow,
 * at most 64.
 */
#include "map.h"

#include "pin.h"
#include "shard.h"
#include "space.h"

#include <stdlib.h>

#define LIMIT_DEFAULT (UINT64_C(64) << 20)
#define LIMIT_MIN (UINT64_C(1) << 20)
#define MAX_FACTOR 8u /* max is this many limits by default */
#define UNIT_SHIFT_MIN 4u
#define UNIT_SHIFT_MAX 6u
#define SHARDS_DEFAULT_MAX 64u
#define SHARDS_MAX 1024u
#define EXTENTS_PER_SHARD 128u
#define EXTENTS_PER_SHARD_MIN 12u /* when the caller chooses the shards */
#define SMALL (UINT64_C(16) << 20) /* maps below this get fewer owners, lines and tables */
#define TABLES_SMALL 16u
#define DEADLINE_DEFAULT_NS UINT64_C(2000000000)
#define PACK_MIN_LEAST 64u /* fewer bytes seldom compress by the header of a block */
#define PATIENCE 2000u /* 1 ms pauses while another process creates the segment */

static unsigned log2_floor(uint64_t n)
{
	return 63 - (unsigned)__builtin_clzll(n);
}

static unsigned log2_ceil(uint64_t n)
{
	return n <= 1 ? 0 : log2_floor(n - 1) + 1;
}

static int build(struct im_seg *seg)
{
	struct fmt_shard *shards = (struct fmt_shard *)(void *)seg->user;
	struct im_area area;

	im_area_of(seg, &area);
	area.s->redo.cas_extent = FMT_NO_EXTENT;
	for (uint32_t i = 0; i < seg->n_shards; i++) {
		struct fmt_shard *s = &shards[i];

		s->version = 1;
		s->head[FMT_HOT] = s->head[FMT_COLD] = FMT_NO_EXTENT;
		s->reserve = s->ahead = FMT_NO_EXTENT;
		s->first = s->last = FMT_NO_EXTENT;
		s->ovf_first = FMT_NO_EXTENT;
		s->victim = s->cursor = FMT_NO_EXTENT;
		for (unsigned k = 0; k < FMT_CANDS; k++)
			s->cand[k] = FMT_NO_EXTENT;
		s->redo.cas_extent = FMT_NO_EXTENT;
	}
	return 0;
}

static int choose_shards(const struct ipcmap_options *o, struct im_seg_create *c,
			 const struct im_why *why)
{
	uint64_t extents = c->limit >> c->extent_shift;
	uint64_t n = o->shards;

	if (n > SHARDS_MAX)
		return im_why(why, IPCMAP_INVALID, "at most %u shards", SHARDS_MAX);
	if (n) {
		n = UINT64_C(1) << log2_ceil(n);
		if (extents / n < EXTENTS_PER_SHARD_MIN)
			return im_why(why, IPCMAP_INVALID,
				      "%u shards need a limit of at least %llu bytes", o->shards,
				      (unsigned long long)(n * EXTENTS_PER_SHARD_MIN
							   << c->extent_shift));
	} else {
		n = extents / EXTENTS_PER_SHARD;
		n = n ? UINT64_C(1) << log2_floor(n) : 1;
		n = min_u64(n, SHARDS_DEFAULT_MAX);
	}
	c->n_shards = (uint32_t)n;
	return 0;
}

/* The waiting area begins on a line. */
static uint64_t waits_off(uint64_t snap_off, uint64_t tables)
{
	return align_up(snap_off + fmt_area_len(tables), 64);
}

static uint64_t user_len_of(const struct im_seg_create *c)
{
	uint64_t tables = c->user_geo[FMT_GEO_TABLES];

	return waits_off(c->user_geo[FMT_GEO_SNAP_OFF], tables) +
	       fmt_waits_len(tables, c->n_owners, c->n_shards) + fmt_pins_len(tables);
}

/* IPCMAP_COMPRESS_OFF is above every length. */
static uint32_t pack_min(const struct ipcmap_options *o)
{
	return o->compress < PACK_MIN_LEAST ? PACK_MIN_LEAST : o->compress;
}

static int choose(const struct ipcmap_options *o, struct im_seg_create *c,
		  const struct im_why *why)
{
	uint64_t unit_max = UINT64_C(1) << (32 + UNIT_SHIFT_MIN), cap;
	int r;

	c->limit = o->limit ? o->limit : LIMIT_DEFAULT;
	if (c->limit < LIMIT_MIN)
		return im_why(why, IPCMAP_INVALID, "limit %llu: at least 1 MiB",
			      (unsigned long long)c->limit);
	c->max = o->max;
	if (!c->max && c->limit <= unit_max)
		c->max = min_u64(c->limit * MAX_FACTOR, unit_max);
	c->max = max_u64(c->max, c->limit);
	if (o->max && o->max < c->limit)
		return im_why(why, IPCMAP_INVALID, "max is below the limit");
	if (c->max > UINT64_C(1) << (32 + UNIT_SHIFT_MAX))
		return im_why(why, IPCMAP_INVALID, "max: at most 256 GiB");
	c->unit_shift = log2_ceil(c->max) <= 36 ? UNIT_SHIFT_MIN : log2_ceil(c->max) - 32;
	c->extent_shift = log2_floor(c->limit / 2048);
	if (c->extent_shift < FMT_EXTENT_SHIFT_MIN)
		c->extent_shift = FMT_EXTENT_SHIFT_MIN;
	if (c->extent_shift > FMT_EXTENT_SHIFT_MAX)
		c->extent_shift = FMT_EXTENT_SHIFT_MAX;
	r = choose_shards(o, c, why);
	if (r)
		return r;
	c->n_owners = c->limit < SMALL ? 255 : FMT_OWNERS_MAX;
	c->n_lines = c->limit < SMALL ? 256 : 1024;
	cap = align_up((c->max >> c->extent_shift) / 2 / c->n_shards + 1, 16);
	c->user_geo[FMT_GEO_SHARD_LEN] = FMT_SHARD_LEN;
	c->user_geo[FMT_GEO_DIR_CAP] = cap;
	c->user_geo[FMT_GEO_SNAP_OFF] = c->n_shards * (FMT_SHARD_LEN + cap * sizeof(uint32_t));
	c->user_geo[FMT_GEO_TABLES] = c->limit < SMALL ? TABLES_SMALL : FMT_TABLES_MAX;
	c->user_len = user_len_of(c);
	c->mode = o->mode ? o->mode : 0600;
	c->gid = o->group;
	c->ttl_ns = o->ttl_ns ? o->ttl_ns : IPCMAP_TTL_NONE;
	c->pack_min = o->compress ? pack_min(o) : IPCMAP_COMPRESS_OFF;
	c->reserve = o->flags & (IPCMAP_RESERVE | IPCMAP_HUGE);
	c->large_pages = o->flags & IPCMAP_HUGE;
	c->build = build;
	return 0;
}

/* Is the user area what this file knows? */
static int validate(const struct im_seg *seg, const struct im_why *why)
{
	uint64_t cap = seg->user_geo[FMT_GEO_DIR_CAP];
	uint64_t tables = seg->user_geo[FMT_GEO_TABLES];

	if (seg->user_geo[FMT_GEO_SHARD_LEN] != FMT_SHARD_LEN || !cap || cap > UINT32_MAX / 4 ||
	    !seg->n_shards || seg->n_shards > SHARDS_MAX ||
	    seg->n_shards & (seg->n_shards - 1) || seg->unit_shift < UNIT_SHIFT_MIN ||
	    seg->unit_shift > UNIT_SHIFT_MAX ||
	    seg->user_len < seg->n_shards * (FMT_SHARD_LEN + cap * sizeof(uint32_t)))
		return im_why(why, IPCMAP_CORRUPT, "%s: the shards' geometry is wrong",
			      seg->name);
	if (seg->user_geo[FMT_GEO_SNAP_OFF] !=
		    seg->n_shards * (FMT_SHARD_LEN + cap * sizeof(uint32_t)) ||
	    seg->user_geo[FMT_GEO_SNAP_OFF] % 64 || !tables || tables > FMT_TABLES_MAX ||
	    seg->user_len < seg->user_geo[FMT_GEO_SNAP_OFF] + fmt_area_len(tables))
		return im_why(why, IPCMAP_CORRUPT, "%s: the snapshots' geometry is wrong",
			      seg->name);
	return 0;
}

/*
 * The waiting area; NULL in segments that were made before there was one. The geometry was
 * judged.
 */
static struct fmt_waits *waits_of(const struct im_seg *seg)
{
	uint64_t tables = seg->user_geo[FMT_GEO_TABLES];
	uint64_t off = waits_off(seg->user_geo[FMT_GEO_SNAP_OFF], tables);
	uint64_t len = fmt_waits_len(tables, seg->n_owners, seg->n_shards);

	if (off > seg->user_len || len > seg->user_len - off)
		return NULL;
	return (struct fmt_waits *)(void *)(seg->user + off);
}

/* The leases are its last part. */
static struct fmt_lease *leases_of(const struct im_seg *seg)
{
	uint64_t len = fmt_waits_len(seg->user_geo[FMT_GEO_TABLES], seg->n_owners,
				     seg->n_shards);
	struct fmt_waits *w = waits_of(seg);

	return w ? (struct fmt_lease *)(void *)((unsigned char *)w + len) -
			   (size_t)seg->n_shards * FMT_LEASES
		 : NULL;
}

/* The pins of values come behind it, if all who write the segment know of them. */
static void pins_of(struct im_seg *seg, struct im_pins *ret)
{
	uint64_t tables = seg->user_geo[FMT_GEO_TABLES], len = fmt_pins_len(tables);
	uint64_t off = waits_off(seg->user_geo[FMT_GEO_SNAP_OFF], tables) +
		       fmt_waits_len(tables, seg->n_owners, seg->n_shards);
	struct fmt_pins *p;

	*ret = (struct im_pins){.seg = seg};
	if (!(im_load_rlx(&seg->h->incompat) & FMT_INCOMPAT_PINS) || off > seg->user_len ||
	    len > seg->user_len - off)
		return;
	p = (struct fmt_pins *)(void *)(seg->user + off);
	ret->at = (unsigned char *)(p + 1);
	ret->stride = sizeof(struct fmt_value_pin);
	ret->n = (uint32_t)tables * FMT_VALUE_PINS_EACH;
	ret->top = &p->top;
}

/*
 * Words that name an owner; owner.c wants to see them when a slot's generations run out, which
 * may be during the attach, before its geometry was judged.
 */
static uint32_t *owner_word(struct im_seg *seg, uint32_t i)
{
	struct fmt_shard *shards = (struct fmt_shard *)(void *)seg->user;
	struct fmt_lease *leases;
	struct im_pins pins;

	if (validate(seg, NULL))
		return NULL;
	if (i < 2 * seg->n_shards)
		return i & 1 ? &shards[i / 2].fetching : &shards[i / 2].lock;
	i -= 2 * seg->n_shards;
	leases = leases_of(seg);
	if (leases && i < seg->n_shards * FMT_LEASES)
		return &leases[i].owner;
	i -= leases ? seg->n_shards * FMT_LEASES : 0;
	pins_of(seg, &pins);
	if (i < pins.n)
		return &im_pin_at(&pins, i)->owner;
	return im_area_owner_word(seg, i - pins.n);
}

static int set_limits(struct im_seg *seg, const struct ipcmap_options *o,
		      const struct im_why *why)
{
	struct im_wait wait;
	int r = 0;

	if (o->limit) {
		im_wait_start(seg, DEADLINE_DEFAULT_NS, &wait);
		im_tls.held |= UINT64_C(1) << seg->id;
		r = im_space_set_limit(seg, o->limit, &wait);
		im_tls.held &= ~(UINT64_C(1) << seg->id);
	}
	if (r == IPCMAP_INVALID)
		return im_why(why, r, "%s: the limit can be %llu to %llu bytes, not %llu",
			      seg->name, (unsigned long long)im_space_least(seg),
			      (unsigned long long)seg->len, (unsigned long long)o->limit);
	if (r)
		return im_why(why, r, "%s: the limit cannot be changed: %s", seg->name,
			      ipcmap_strerror(r));
	if (o->ttl_ns)
		im_store_rlx(&seg->h->ttl_ns, o->ttl_ns);
	if (o->compress)
		im_store32_rlx(&seg->h->pack_min, pack_min(o));
	return 0;
}

static int apply(struct im_seg *seg, const struct ipcmap_options *o, const struct im_why *why)
{
	if (o->shards && seg->n_shards != 1u << log2_ceil(o->shards))
		return im_why(why, IPCMAP_MISMATCH, "%s: has %u shards", seg->name,
			      seg->n_shards);
	if (!(o->flags & IPCMAP_APPLY))
		return 0;
	if (seg->rdonly)
		return im_why(why, IPCMAP_READONLY, "%s: APPLY needs a writable attach",
			      seg->name);
	return set_limits(seg, o, why);
}

static int attach(const char *path, const struct ipcmap_options *o, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	unsigned flags = (o->flags & IPCMAP_RDONLY ? IM_ATTACH_RDONLY : 0) |
			 (o->flags & IPCMAP_FOREIGN ? IM_ATTACH_FOREIGN : 0);
	struct im_seg *seg;
	int r = im_seg_attach(path, flags, why, &seg);

	if (r)
		return r;
	r = validate(seg, why);
	if (!r)
		r = apply(seg, o, why);
	if (r) {
		im_seg_detach(seg);
		return r;
	}
	*ret_seg = seg;
	return 0;
}

/* Create, or attach what is there; whoever is first wins. */
static int create(const char *path, const struct ipcmap_options *o, const struct im_why *why,
		  struct im_seg **ret_seg)
{
	struct im_seg_create c = {0};
	int r = choose(o, &c, why);

	if (r)
		return r;
	for (unsigned i = 0; i < PATIENCE; i++) {
		r = im_seg_create(path, &c, why, ret_seg);
		if (r == IPCMAP_EXISTS && !(o->flags & IPCMAP_EXCL)) {
			r = attach(path, o, why, ret_seg);
			if (r == IPCMAP_NOTFOUND)
				r = IPCMAP_CREATING;
		}
		if (r != IPCMAP_CREATING)
			return r;
		im_op_pause();
	}
	return r;
}

static int open_seg(const char *name, const struct ipcmap_options *o, const struct im_why *why,
		    struct im_seg **ret_seg)
{
	char path[4096];
	int r = im_seg_path(name, path, why);

	if (r)
		return r;
	if (o->flags & IPCMAP_CREATE && o->flags & IPCMAP_RDONLY)
		return im_why(why, IPCMAP_INVALID, "%s: CREATE with RDONLY", name);
	if (o->evict)
		return im_why(why, IPCMAP_INVALID, "%s: evict is not supported", name);
	im_owner_word = owner_word;
	return o->flags & IPCMAP_CREATE ? create(path, o, why, ret_seg)
					: attach(path, o, why, ret_seg);
}

static uint32_t n_places(const struct im_seg *seg)
{
	return seg->n_shards > 1 ? seg->n_shards : 2;
}

static void find_waits(struct ipcmap *m, const struct im_seg *seg)
{
	m->waits = waits_of(seg);
	if (!m->waits)
		return;
	m->bells = (uint32_t *)(void *)(m->waits + 1);
	m->n_bells = (uint32_t)seg->user_geo[FMT_GEO_TABLES] * FMT_BELLS_EACH;
	m->watchers = (uint64_t *)(void *)(m->bells + m->n_bells);
	m->leases = leases_of(seg);
}

static void fill(struct ipcmap *m, struct im_seg *seg)
{
	m->seg = seg;
	m->base = seg->base;
	m->shards = (struct fmt_shard *)(void *)seg->user;
	m->dirs = (uint32_t *)(void *)(seg->user + (size_t)seg->n_shards * FMT_SHARD_LEN);
	m->hash_seed = seg->hash_seed;
	m->mix = im_hash_mix(seg->hash_seed);
	m->dir_cap = (uint32_t)seg->user_geo[FMT_GEO_DIR_CAP];
	m->n_extents = seg->n_extents;
	m->ref_first = (uint32_t)(seg->extent_off >> seg->unit_shift);
	m->ref_n = (uint32_t)((uint64_t)seg->n_extents << seg->extent_shift >> seg->unit_shift);
	m->ref_spare = m->ref_n - (IM_SPARE >> seg->unit_shift);
	m->extent_mask = seg->extent_len - 1;
	m->unit_shift = (uint8_t)seg->unit_shift;
	m->extent_shift = (uint8_t)seg->extent_shift;
	m->shard_drop = (uint8_t)(12 - log2_floor(seg->n_shards));
	m->dir_shift = (uint8_t)(seg->extent_shift - FMT_BUCKET_SHIFT);
	m->dir_mask = (1u << m->dir_shift) - 1;
	m->n_places = (uint64_t)seg->n_extents << m->dir_shift;
	m->extents = seg->extents;
	m->token = &im_tokens[seg->id];
	m->shared = &seg->h->shared;
	m->id = seg->id;
	m->n_shards = seg->n_shards;
	find_waits(m, seg);
	pins_of(seg, &m->pins);
	m->at_shift = (uint8_t)(64 - log2_floor(n_places(seg) * sizeof(m->at[0])));
	for (uint32_t i = 0; i < n_places(seg); i++) {
		uint32_t shard = i & (m->n_shards - 1);

		m->at[i] = (struct im_map_shard){&m->shards[shard], im_map_dir(m, shard)};
	}
}

/* A handle for a segment of as many shards as there can be. */
static struct ipcmap *make_handle(void)
{
	struct ipcmap *m = NULL;

	return calloc(1, sizeof(*m) + SHARDS_MAX * sizeof(m->at[0]));
}

/* Takes @m over, in any case. */
static int use_handle(struct ipcmap *m, struct im_seg *seg, const struct im_why *why,
		      struct ipcmap **ret_map)
{
	struct ipcmap *fits;
	int r = validate(seg, why);

	if (r) {
		free(m);
		return r;
	}
	fits = realloc(m, sizeof(*m) + n_places(seg) * sizeof(m->at[0]));
	m = fits ? fits : m;
	fill(m, seg);
	m->deadline_ns = DEADLINE_DEFAULT_NS;
	*ret_map = m;
	return 0;
}

int im_map_of(struct im_seg *seg, const struct im_why *why, struct ipcmap **ret_map)
{
	struct ipcmap *m = make_handle();

	if (!m)
		return im_why(why, IPCMAP_NOMEM, "%s: out of memory", seg->name);
	return use_handle(m, seg, why, ret_map);
}

int im_map_create_like(const char *path, struct im_seg_create *c, const struct im_why *why,
		       struct ipcmap **ret_map)
{
	struct im_seg *seg;
	int r;

	c->user_len = user_len_of(c);
	c->build = build;
	im_owner_word = owner_word;
	r = im_seg_create(path, c, why, &seg);
	if (r)
		return r;
	r = im_map_of(seg, why, ret_map);
	if (r)
		im_seg_detach(seg);
	return r;
}

int im_map_open(const char *name, const struct ipcmap_options *opt, struct ipcmap **ret_map)
{
	const struct ipcmap_options none = IPCMAP_OPTIONS_INIT;
	const struct ipcmap_options *o = opt ? opt : &none;
	struct im_why why = {o->why, o->why_cap};
	struct im_seg *seg;
	struct ipcmap *m;
	int r;

	if (why.buf && why.cap)
		why.buf[0] = '\0';
	/* before a segment is made that would stay without it */
	m = make_handle();
	if (!m)
		return im_why(&why, IPCMAP_NOMEM, "%s: out of memory", name);
	r = open_seg(name, o, &why, &seg);
	if (r) {
		free(m);
		return r;
	}
	r = use_handle(m, seg, &why, &m);
	if (r) {
		im_seg_detach(seg);
		return r;
	}
	if (o->deadline_ns)
		m->deadline_ns = o->deadline_ns;
	*ret_map = m;
	return 0;
}

int im_map_tune(struct ipcmap *m, const struct ipcmap_options *o)
{
	struct im_why why = {o->why, o->why_cap};
	int r = set_limits(m->seg, o, &why);

	if (r == 0 && o->deadline_ns)
		m->deadline_ns = o->deadline_ns;
	return r;
}

void im_map_close(struct ipcmap *m)
{
	im_seg_detach(m->seg);
	free(m);
}
