/* SPDX-License-Identifier: MIT */
/*
 * patch.c - change one field of a segment
 *
 * A record's kind names the structure, c which one of them, the low five bits of a the field,
 * the high three how the new value comes from the old one and from d.
 */
#include "fuzz.h"

#include "header.h"

#include <string.h>

struct field {
	uint32_t off;
	uint32_t len;
};

#define F(type, field)                                                                         \
	{                                                                                      \
		offsetof(struct type, field), sizeof(((struct type *)0)->field)                \
	}
#define U32(off)                                                                               \
	{                                                                                      \
		off, 4                                                                         \
	}
#define U64(off)                                                                               \
	{                                                                                      \
		off, 8                                                                         \
	}

static const struct field header_fields[] = {
	F(fmt_header, magic),
	F(fmt_header, byte_order),
	F(fmt_header, version),
	F(fmt_header, compat),
	F(fmt_header, incompat),
	F(fmt_header, max_len),
	U64(offsetof(struct fmt_header, boot_id)),
	F(fmt_header, hash_seed),
	F(fmt_header, extent_shift),
	F(fmt_header, unit_shift),
	F(fmt_header, n_extents),
	F(fmt_header, n_owners),
	F(fmt_header, n_lines),
	F(fmt_header, n_shards),
	F(fmt_header, owner_off),
	F(fmt_header, line_off),
	F(fmt_header, user_off),
	F(fmt_header, user_len),
	F(fmt_header, table_off),
	F(fmt_header, extent_off),
	F(fmt_header, user[0]),
	F(fmt_header, user[1]),
	F(fmt_header, user[2]),
	F(fmt_header, user[3]),
	F(fmt_header, checksum),
	F(fmt_header, ttl_ns),
	F(fmt_header, pack_min),
	F(fmt_header, shared.claim),
	F(fmt_header, created),
};

static const struct field space_fields[] = {
	F(fmt_space, lock),	  F(fmt_space, limit_n),    F(fmt_space, used),
	F(fmt_space, fresh),	  F(fmt_space, head),	    F(fmt_space, tail),
	F(fmt_space, n_queued),	  F(fmt_space, limit),	    F(fmt_space, takeovers),
	F(fmt_space, seq),	  F(fmt_space, old_word),   F(fmt_space, new_word),
	F(fmt_space, extent),	  F(fmt_space, used_after), F(fmt_space, fresh_after),
	F(fmt_space, head_after), F(fmt_space, tail_after), F(fmt_space, queued_after),
	F(fmt_space, link_of),	  F(fmt_space, link_to),
};

static const struct field owner_fields[] = {
	F(fmt_owner, gen),
	F(fmt_owner, n_private),
	F(fmt_owner, pid),
	F(fmt_owner, start),
	F(fmt_owner, attached),
	U64(offsetof(struct fmt_owner, comm)),
	U64(offsetof(struct fmt_owner, comm) + 8),
};

static const struct field line_fields[] = {
	F(fmt_line, claim), F(fmt_line, misses),  F(fmt_line, hits),
	F(fmt_line, puts),  F(fmt_line, raw_len),
};

static const struct field shard_fields[] = {
	F(fmt_shard, geometry),	  F(fmt_shard, reclaim_seq), F(fmt_shard, floor),
	F(fmt_shard, lock),	  F(fmt_shard, fetching),    F(fmt_shard, version),
	F(fmt_shard, entries),	  F(fmt_shard, live),	     F(fmt_shard, large),
	F(fmt_shard, head[0]),	  F(fmt_shard, head[1]),     F(fmt_shard, reserve),
	F(fmt_shard, ahead),	  F(fmt_shard, first),	     F(fmt_shard, last),
	F(fmt_shard, n_log),	  F(fmt_shard, n_index),     F(fmt_shard, ovf_first),
	F(fmt_shard, ovf_pos),	  F(fmt_shard, ovf_free),    F(fmt_shard, n_ovf_ext),
	F(fmt_shard, n_ovf),	  F(fmt_shard, free_word),   F(fmt_shard, free_first),
	F(fmt_shard, free_last),  F(fmt_shard, free_n),	     F(fmt_shard, unsplit),
	F(fmt_shard, uncompact),  F(fmt_shard, image),	     F(fmt_shard, victim),
	F(fmt_shard, victim_pos), F(fmt_shard, n_ahead),
};

/* There are more than five bits can name. */
static const struct field shard_more[] = {
	F(fmt_shard, cursor),	 F(fmt_shard, cand[0]),	    F(fmt_shard, cand[1]),
	F(fmt_shard, cand[7]),	 F(fmt_shard, cap),	    F(fmt_shard, tail),
	F(fmt_shard, owed),	 F(fmt_shard, victim_live), F(fmt_shard, cleaned),
	F(fmt_shard, takeovers),
};

static const struct field redo_fields[] = {
	F(fmt_redo, seq),	    F(fmt_redo, n),
	F(fmt_redo, cas_extent),    F(fmt_redo, cas_old),
	F(fmt_redo, cas_new),	    F(fmt_redo, store[0].at),
	F(fmt_redo, store[0].val),  F(fmt_redo, store[1].at),
	F(fmt_redo, store[1].val),  F(fmt_redo, store[2].at),
	F(fmt_redo, store[2].val),  F(fmt_redo, store[3].at),
	F(fmt_redo, store[3].val),  F(fmt_redo, store[4].at),
	F(fmt_redo, store[4].val),  F(fmt_redo, store[5].at),
	F(fmt_redo, store[5].val),  F(fmt_redo, store[6].at),
	F(fmt_redo, store[7].at),   F(fmt_redo, store[8].at),
	F(fmt_redo, store[9].at),   F(fmt_redo, store[13].at),
	F(fmt_redo, store[13].val),
};

static const struct field dir_fields[] = {U32(0)};

static const struct field extent_fields[] = {
	F(fmt_extent, word),
	F(fmt_extent, next),
	F(fmt_extent, prev),
	F(fmt_extent, fill),
	F(fmt_extent, backed),
	F(fmt_extent, books),
	F(fmt_extent, version_max),
	F(fmt_extent, expiry_max),
	F(fmt_extent, expiry_min),
	/* live and named apart */
	U32(offsetof(struct fmt_extent, books)),
	U32(offsetof(struct fmt_extent, books) + 4),
};

static const struct field bucket_fields[] = {
	U64(0),	 U64(8),  U32(12), U32(20), U32(24), U32(28), U32(32),
	U32(36), U32(40), U32(44), U32(48), U32(52), U32(56), U32(60),
	{0, 1},	 {1, 1},  {7, 1},  {8, 1},  {10, 1}, {11, 1},
};

/* version, flags, type, value's length, key's length, hash; then a chain behind a life or not
 */
static const struct field entry_fields[] = {
	U64(0),	 U64(8),  {6, 1},  {7, 1},  U32(8),  {12, 2}, {14, 2},
	U64(16), U32(16), U32(20), U32(24), U32(28), U32(32), {16, 1},
};

/* raw length, length of the first block, its first bytes */
static const struct field block_fields[] = {
	U32(0), U32(4), {8, 1}, {9, 1}, {10, 2}, {12, 2}, U64(16), U64(64), U64(248),
};

static const struct field snaps_fields[] = {
	F(fmt_snaps, lock),
	F(fmt_snaps, kept_top),
	F(fmt_snaps, pin_top),
	F(fmt_snaps, takeovers),
};

static const struct field table_fields[] = {
	U64(0),
	{63, 1},
	F(fmt_table, current),
	F(fmt_table, last),
};

static const struct field kept_fields[] = {
	F(fmt_kept, version), F(fmt_kept, word),  F(fmt_kept, len), F(fmt_kept, time),
	F(fmt_kept, first),   F(fmt_kept, last),  F(fmt_kept, n),   F(fmt_kept, keys),
	F(fmt_kept, table),   F(fmt_kept, state),
};

static const struct field pin_fields[] = {
	F(fmt_pin, owner),
	F(fmt_pin, extent),
	F(fmt_pin, word),
};

static const struct field image_fields[] = {
	F(fmt_image, magic),
	F(fmt_image, len),
	F(fmt_image, n),
	F(fmt_image, mask),
	F(fmt_image, items_off),
	U32(32),
	U32(36),
	U32(40),
	U32(44),
	U32(48),
	U32(56),
};

static const struct field item_fields[] = {U32(0), U32(4), U64(8)};

/* ---- groups, rings, leases ---- */

static const struct field shard_waits_fields[] = {
	F(fmt_shard, ring),	  F(fmt_shard, ring_head), F(fmt_shard, leases),
	F(fmt_shard, group_word), F(fmt_shard, group),	   F(fmt_shard, version),
	F(fmt_shard, parked),	  F(fmt_shard, parked_n),
};

/* The table begins a line before its first pin: that has the head's fields. */
static const struct field value_pin_fields[] = {
	F(fmt_value_pin, owner), F(fmt_value_pin, extent), F(fmt_value_pin, word),
	F(fmt_value_pin, n),	 F(fmt_value_pin, since),
};

static const struct field waits_fields[] = {
	F(fmt_waits, any),
	F(fmt_waits, prefix_lens),
};

/* generation, groups */
static const struct field watcher_fields[] = {U64(0), U32(0), U32(4)};

static const struct field grant_fields[] = {
	F(fmt_lease, hash),  F(fmt_lease, version), F(fmt_lease, until), F(fmt_lease, took),
	F(fmt_lease, retry), F(fmt_lease, owner),   F(fmt_lease, grant), F(fmt_lease, bell),
	F(fmt_lease, fails), F(fmt_lease, err),
};

/* version, op, cut; length, key's length, place; hash; key */
static const struct field event_fields[] = {
	U64(0), {6, 1}, {7, 1}, U32(8), {12, 2}, {14, 2}, U64(16), U64(24),
};

/* the head, the first two parts, what follows: the second part or a change, and more changes */
static const struct field record_fields[] = {
	F(fmt_group, magic), F(fmt_group, len), F(fmt_group, parts),
	U64(16),	     U32(24),		U32(28),
	U32(32),	     U64(40),		U32(48),
	U32(52),	     U32(56),		U64(64),
	U32(72),	     U32(76),		{80, 2},
	{82, 1},	     {83, 1},		U64(88),
	U32(96),	     U32(100),		U64(112),
	U32(120),	     U32(124),
};

/* Structures of one kind: @n of them, at base + i * stride or at list[i]. */
struct kind {
	const struct field *fields;
	uint32_t n_fields;
	uint64_t base;
	uint64_t stride;
	const uint32_t *list;
	uint32_t n;
};

#define FIELDS(f) f, ARRAY_LEN(f)

static struct kind of_area(enum fz_kind kind, uint64_t area, uint64_t n)
{
	uint64_t kept = area + sizeof(struct fmt_snaps) + n * sizeof(struct fmt_table);
	uint64_t pins = kept + n * FMT_KEPT_EACH * sizeof(struct fmt_kept);

	switch (kind) {
	case FZ_SNAPS:
		return (struct kind){FIELDS(snaps_fields), area, 0, NULL, 1};
	case FZ_TABLE:
		return (struct kind){FIELDS(table_fields), area + sizeof(struct fmt_snaps),
				     sizeof(struct fmt_table), NULL, (uint32_t)n};
	case FZ_KEPT: /* the first few are used */
		return (struct kind){FIELDS(kept_fields), kept, sizeof(struct fmt_kept), NULL,
				     8};
	default:
		return (struct kind){FIELDS(pin_fields), pins, sizeof(struct fmt_pin), NULL, 4};
	}
}

/* The waiting area, from @at on; a seed without one has none of these. */
static struct kind of_waits(enum fz_kind kind, const struct fmt_header *h, uint64_t at)
{
	uint64_t tables = h->user[FMT_GEO_TABLES];
	uint64_t words = at + sizeof(struct fmt_waits) + tables * FMT_BELLS_EACH * 4;
	uint64_t end = at + fmt_waits_len(tables, h->n_owners, h->n_shards);
	uint32_t n = h->n_shards * FMT_LEASES;

	if (end > h->user_off + h->user_len)
		return (struct kind){.n = 0};
	if (kind == FZ_WAITS)
		return (struct kind){FIELDS(waits_fields), at, 0, NULL, 1};
	if (kind == FZ_WATCHER)
		return (struct kind){FIELDS(watcher_fields), words, 8, NULL, h->n_owners};
	return (struct kind){FIELDS(grant_fields), end - n * sizeof(struct fmt_lease),
			     sizeof(struct fmt_lease), NULL, n};
}

/* The pins of values, behind the waiting area, which begins at @at. */
static struct kind of_value_pins(const struct fmt_header *h, uint64_t at)
{
	uint64_t tables = h->user[FMT_GEO_TABLES];

	at += fmt_waits_len(tables, h->n_owners, h->n_shards);
	if (at + fmt_pins_len(tables) > h->user_off + h->user_len)
		return (struct kind){.n = 0};
	return (struct kind){FIELDS(value_pin_fields),
			     at + sizeof(struct fmt_pins) - sizeof(struct fmt_value_pin) * 2,
			     sizeof(struct fmt_value_pin), NULL, 8};
}

static struct kind kind_of(const struct fz_seed *seed, const struct fz_rec *r)
{
	const struct fmt_header *h = (const void *)seed->bytes;
	uint64_t area = h->user_off + h->user[FMT_GEO_SNAP_OFF];
	uint64_t shards = h->user_off;
	uint64_t waits = align_up(area + fmt_area_len(h->user[FMT_GEO_TABLES]) - h->user_off, 64) +
			 h->user_off;

	switch (r->kind % FZ_KINDS) {
	case FZ_HEADER:
		return (struct kind){FIELDS(header_fields), 0, 0, NULL, 1};
	case FZ_SPACE:
		return (struct kind){FIELDS(space_fields), offsetof(struct fmt_header, space),
				     0, NULL, 1};
	case FZ_OWNER:
		return (struct kind){FIELDS(owner_fields), h->owner_off,
				     sizeof(struct fmt_owner), NULL, h->n_owners};
	case FZ_LINE:
		return (struct kind){FIELDS(line_fields), h->line_off, sizeof(struct fmt_line),
				     NULL, h->n_lines};
	case FZ_SHARD:
		if (r->b & 1)
			return (struct kind){FIELDS(shard_more), shards, FMT_SHARD_LEN, NULL,
					     h->n_shards};
		return (struct kind){FIELDS(shard_fields), shards, FMT_SHARD_LEN, NULL,
				     h->n_shards};
	case FZ_REDO:
		if (r->b & 1)
			return (struct kind){FIELDS(redo_fields),
					     area + offsetof(struct fmt_snaps, redo), 0, NULL,
					     1};
		return (struct kind){FIELDS(redo_fields),
				     shards + offsetof(struct fmt_shard, redo), FMT_SHARD_LEN,
				     NULL, h->n_shards};
	case FZ_DIR:
		return (struct kind){FIELDS(dir_fields), shards + h->n_shards * FMT_SHARD_LEN,
				     4, NULL, h->n_shards * (uint32_t)h->user[FMT_GEO_DIR_CAP]};
	case FZ_EXTENT:
		return (struct kind){FIELDS(extent_fields), h->table_off,
				     sizeof(struct fmt_extent), NULL, h->n_extents};
	case FZ_BUCKET:
		return (struct kind){FIELDS(bucket_fields), 0, 0, seed->buckets,
				     seed->n_buckets};
	case FZ_ENTRY:
		return (struct kind){FIELDS(entry_fields), 0, 0, seed->entries,
				     seed->n_entries};
	case FZ_BLOCK:
		return (struct kind){FIELDS(block_fields), 0, 0, seed->blocks, seed->n_blocks};
	case FZ_IMAGE:
		return (struct kind){FIELDS(image_fields), 0, 0, seed->images, seed->n_images};
	case FZ_SHARD_WAITS:
		return (struct kind){FIELDS(shard_waits_fields), shards, FMT_SHARD_LEN, NULL,
				     h->n_shards};
	case FZ_WAITS ... FZ_GRANT:
		return of_waits(r->kind % FZ_KINDS, h, waits);
	case FZ_VALUE_PIN:
		return of_value_pins(h, waits);
	case FZ_EVENT:
		return (struct kind){FIELDS(event_fields), 0, 0, seed->events, seed->n_events};
	case FZ_RECORD:
		return (struct kind){FIELDS(record_fields), 0, 0, seed->records,
				     seed->n_records};
	case FZ_ITEM:
		return (struct kind){FIELDS(item_fields), 0, 0, seed->items, seed->n_items};
	default:
		return of_area(r->kind % FZ_KINDS, area, h->user[FMT_GEO_TABLES]);
	}
}

static uint64_t place(const struct kind *k, uint64_t i)
{
	i %= k->n;
	return k->list ? k->list[i] : k->base + i * k->stride;
}

static uint64_t load(const unsigned char *p, uint32_t len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

/* Numbers at which something may turn over. */
static uint64_t edge(const struct fz_seed *seed, uint64_t d)
{
	const struct fmt_header *h = (const void *)seed->bytes;
	const uint64_t edges[] = {
		0,
		1,
		2,
		3,
		7,
		8,
		11,
		14,
		15,
		16,
		63,
		64,
		255,
		256,
		4095,
		4096,
		65535,
		65536,
		INT32_MAX,
		UINT32_MAX - 1,
		UINT32_MAX,
		UINT64_C(1) << 32,
		UINT64_C(1) << 40,
		(UINT64_C(1) << 48) - 1,
		INT64_MAX,
		UINT64_MAX - 1,
		UINT64_MAX,
		h->n_extents - 1,
		h->n_extents,
		h->space.limit_n,
		h->max_len,
		h->max_len - 8,
		h->extent_off,
		h->table_off,
		h->user_off,
		h->extent_off >> 4,
		(h->max_len >> 4) - 1,
		h->max_len >> 4,
		FMT_ASIDE,
		/* lock words: the first two owners, one that cannot be, with and without
		   waiters */
		1 | 1 << 10,
		1 | 2 << 10,
		2 | 1 << 10,
		UINT64_C(0x80000401),
		1023 | 1 << 10,
		/* extent words */
		fmt_word(FMT_PRIVATE, 1, 1),
		fmt_word(FMT_PRIVATE, 2, 0),
		fmt_word(FMT_PIECE, 0, 1),
		fmt_word(FMT_LOG, 0, 1),
		fmt_word(FMT_LOG, 1, 1),
		fmt_word(FMT_INDEX, 0, 1),
		fmt_word(FMT_LARGE, 0, 1),
		fmt_word(FMT_LARGE, FMT_WHO_SNAP, 1),
		fmt_word(FMT_RESERVED, 0, 1),
		fmt_word(FMT_RESERVED, 1, 1),
		fmt_word(FMT_LARGE, FMT_WHO_GROUP, 1),
		fmt_word(7, 5, 1),
	};

	return edges[d % ARRAY_LEN(edges)];
}

bool fz_is_patch(const struct fz_rec *r)
{
	unsigned kind = r->kind % FZ_KINDS;

	return kind < FZ_LATER || (kind >= FZ_MORE && kind < FZ_MORE_CALLS);
}

void fz_patch(unsigned char *map, const struct fz_seed *seed, const struct fz_rec *r)
{
	struct kind k;
	const struct field *f;
	unsigned char *at;
	uint64_t v;

	if (r->kind % FZ_KINDS == FZ_RAW) {
		uint32_t len = 1 + (r->a & 7);

		memcpy(map + r->c % (FZ_LEN - 8), &r->d, len);
		return;
	}
	k = kind_of(seed, r);
	if (!k.n)
		return;
	f = &k.fields[(r->a & 31) % k.n_fields];
	at = map + place(&k, r->c) + f->off;
	if (at + f->len > map + FZ_LEN)
		return;
	v = load(at, f->len);
	switch (r->a >> 5) {
	case 0:
	case 1:
		v = r->d;
		break;
	case 2:
	case 3:
		v += r->d;
		break;
	case 4:
		v = edge(seed, r->d);
		break;
	case 5: /* the same field of another one */
		v = load(map + place(&k, r->d) + f->off, f->len);
		break;
	case 6:
		v ^= UINT64_C(1) << (r->d & 63);
		break;
	default: /* its own number, or another's: for lists that end in themselves */
		v = r->d & 1 ? r->c % k.n : place(&k, r->d >> 1) >> 4;
		break;
	}
	memcpy(at, &v, f->len);
}

void fz_patch_sum(unsigned char *map)
{
	struct fmt_header *h = (void *)map;

	h->checksum = im_header_checksum(h);
}
