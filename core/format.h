/* SPDX-License-Identifier: MIT */
/*
 * format.h - every shared byte that knows keys: shards, buckets, entries, redo lists
 *
 * The user area of the segment (shm/layout.h) holds
 *
 *   n_shards x struct fmt_shard      stride FMT_SHARD_LEN
 *   n_shards x uint32_t [dir_cap]    the index extents of each shard, in bucket order, each
 *                                    as its number times the buckets in an extent
 *   the snapshot area                struct fmt_snaps, tables, versions, pins
 *   the waiting area                 struct fmt_waits, bells, watchers, leases; absent in
 *                                    segments of before it: the user area ends sooner
 *   the pins of values               struct fmt_pins, pins; with FMT_INCOMPAT_PINS
 *
 * Extents hold log entries, index buckets, overflow buckets or pieces of large values.
 * ipcmap(5) has this as tables of offsets and is changed first.
 *
 * Orders. Each tag stands beside both ends: grep -rn 'ord(publish)'.
 *   ord(lock)      the holder's stores are visible to the next holder        shm/lock.h
 *   ord(publish)   an entry's bytes, then its reference, then its tag        write / read
 *   ord(geometry)  the image bucket and its directory word, then geometry    index / read
 *   ord(reclaim)   slots cleared or swung, then reclaim_seq, then the
 *                  extent's generation, then its first new byte              room / read
 *   ord(moves)     slots copied, then moves, then the old places cleared     index / read
 *   ord(redo)      a redo list, then its odd seq; its stores, then even      redo / stats
 *   ord(switch)    an image and its version's fields, then current           snapshot / view
 *   ord(keep)      a version's fields, then KEPT; FREE, then the fields of
 *                  the next version in its place                             snapshot / keep
 *   ord(pin)       a pin, then the look at its version's state or its
 *                  value's slot; a version leaving, or the last slot
 *                  cleared, then the look at the pins; the last look at the
 *                  bytes, then the pin's end                 pin, read / keep, room
 *   ord(group)     a record and the shards' group, then its commit; the
 *                  commit, then a change of it; the changes, then group 0    commit, group / consistent
 *   ord(lease)     what a lease means, then its owner; the owner gone, then
 *                  whoever waited looks again                                lease / fill
 *   ord(bell)      a change, then the look for listeners; listening, then
 *                  the look for a change                                     shm/bell.c
 *   ord(event)     the change and the bytes of its event, then ring_head;
 *                  ring_head, then the bytes that take their place           event / watch
 */
#ifndef IM_FORMAT_H
#define IM_FORMAT_H

#include "layout.h"

/* ---- index ---- */

#define FMT_SLOTS 11u

/*
 * tags[0] holds the tags of slots 0..7, lowest byte first; tags[1] those of slots 8..10,
 * a spare byte, and in its high half the reference of the overflow bucket (0: none). A tag
 * of 0 is a free slot. Free overflow buckets have no tags and link to the next free one, or
 * are set aside: tags[1] is FMT_ASIDE, and nothing leads to them.
 */
struct fmt_bucket {
	uint64_t tags[2];
	uint32_t marks; /* reserved for eviction: 2 bits a slot */
	uint32_t ref[FMT_SLOTS];
};
static_assert(sizeof(struct fmt_bucket) == 64, "one line per bucket");
static_assert(offsetof(struct fmt_bucket, marks) == 16, "layout");
static_assert(offsetof(struct fmt_bucket, ref) == 20, "layout");

#define FMT_BUCKET_SHIFT 6u
#define FMT_LINK_SHIFT 32u
#define FMT_TAGS1_MASK UINT64_C(0xffffff) /* the tags in tags[1] */
#define FMT_ASIDE (UINT64_C(1) << 24)     /* in the spare byte */

/* geometry: buckets:40 (low) | moves:24 */
#define FMT_BUCKETS_MASK ((UINT64_C(1) << 40) - 1)

/* ---- entries ---- */

/*
 * Two words, then by flag, then the key, then the value; padded to the unit.
 *   word 0  version:48 (low) | flags:8 | type:8
 *   word 1  val_len:32 (low) | key_len - 1:16 | low 16 bits of the key's hash
 *   FMT_F_TTL    8 bytes   expiry, ns of the host's monotonic clock
 *   FMT_F_LARGE  16 bytes  struct fmt_chain; the value lies in its extents
 *   FMT_F_FARKEY with LARGE: the key lies there too, before the value
 *   FMT_F_PACKED the value is compressed, core/codec.h; val_len is what it takes so
 */
#define FMT_ENTRY_HEAD 16u
#define FMT_VERSION_MASK ((UINT64_C(1) << 48) - 1)
#define FMT_VERSION_MOST (FMT_VERSION_MASK / 2) /* nobody writes so often: damage */
#define FMT_F_TTL 1u
#define FMT_F_LARGE 2u
#define FMT_F_FARKEY 4u
#define FMT_F_PACKED 8u
#define FMT_F_KNOWN 15u

#define FMT_BLOCK 65536u /* raw bytes in a block of a packed value; the last has fewer */

struct fmt_chain {
	uint32_t first; /* extents linked by next in the table */
	uint32_t last;
	uint32_t n;
	uint32_t reserved;
};
static_assert(sizeof(struct fmt_chain) == 16, "layout");

/* ---- redo list ---- */

#define FMT_REDO_MAX 14u
#define FMT_REDO_32 UINT64_C(1) /* in at: a 32-bit store */

/*
 * What the lock holder is about to make true, as plain stores: offset from the base (low bit:
 * width) and value, in this order. seq is odd while it is armed; a successor stores all of it
 * again. The extent's word, when there is one, goes first, by compare-and-swap: when the
 * table holds neither the old nor the new word, nothing of the list happened or will.
 */
struct fmt_redo {
	uint64_t seq;
	uint32_t n;
	uint32_t cas_extent; /* FMT_NO_EXTENT: none */
	uint64_t cas_old;
	uint64_t cas_new;
	struct {
		uint64_t at;
		uint64_t val;
	} store[FMT_REDO_MAX];
};
static_assert(sizeof(struct fmt_redo) == 256, "four lines");
static_assert(offsetof(struct fmt_redo, store) == 32, "layout");

/* ---- shards ---- */

#define FMT_HEADS 2u
#define FMT_HOT 0u  /* fresh writes */
#define FMT_COLD 1u /* survivors of cleaning */
#define FMT_CANDS 8u

struct fmt_shard {
	/* read by every reader; written by splits, releases and clear only */
	uint64_t geometry;    /* 0: no index yet */
	uint64_t reclaim_seq; /* moves before the first byte of a released extent changes */
	uint64_t floor;       /* entries with a lower version are not there */
	uint64_t reserved0[5];

	uint32_t lock;
	uint32_t fetching; /* owner that fetches an extent ahead; a hint */
	uint64_t takeovers;
	/* who watches the shard: core/ring.h; through the redo list */
	uint32_t ring;	    /* 1 + the extent that its events go to; 0: nobody watches it */
	uint32_t reserved3;
	uint64_t ring_head; /* bytes of events ever appended; it never falls */
	uint64_t events;    /* ever appended; a counter, plain stores */
	uint64_t reserved1;
	uint32_t leases; /* 0: no lease of this shard is granted; plain stores under the lock */
	uint32_t reserved4[3];

	/* under the lock; changed through the redo list */
	uint64_t version; /* of the next write */
	uint64_t entries; /* keys named and above the floor */
	uint64_t live;    /* bytes of their entries */
	uint64_t large;   /* bytes in extents of large values */
	uint32_t head[FMT_HEADS]; /* extents being appended to, or FMT_NO_EXTENT */
	uint32_t reserve;         /* backed, for cleaning only */
	uint32_t ahead;           /* backed, for the next heads and index extents; by next */
	uint32_t first;           /* list of log extents by next and prev, oldest first */
	uint32_t last;
	uint32_t n_log;
	uint32_t n_index;   /* index extents, dir[0 .. n_index) */
	uint32_t ovf_first; /* list of extents of overflow buckets by next, newest first */
	uint32_t ovf_pos;   /* bytes of the newest handed out */
	uint32_t ovf_free;  /* reference of the first free overflow bucket */
	uint32_t n_ovf_ext;
	uint64_t n_ovf; /* overflow buckets in use */

	/* to be freed: a released extent or the chain of a dead large value; n 0: none */
	uint64_t free_word;
	uint32_t free_first;
	uint32_t free_last;
	uint32_t free_n;
	uint32_t unsplit;   /* 1 + bucket whose split is published but not cleared */
	uint32_t uncompact; /* 1 + bucket whose chain is being compacted */
	uint32_t image;     /* 1 + bucket prepared for the next split; 0: none */

	/* under the lock; hints and counters, plain stores */
	uint32_t victim;
	uint32_t victim_pos;
	uint32_t cursor;  /* extent at which the look for victims goes on */
	uint32_t n_ahead; /* through the redo list */
	uint32_t cand[FMT_CANDS]; /* extents that looked worth cleaning */
	uint64_t cleaned;
	uint64_t expired;
	uint64_t cap;  /* most live bytes before another extent is needed; room.c */
	uint64_t tail; /* bytes beyond the fill of closed log extents; through the redo list */
	uint32_t owed; /* bytes of cleaning owed by the writes so far */
	uint32_t victim_live; /* bytes that counted in the victim when it was chosen */
	uint64_t group_word; /* of the record's extent once the group is committed */
	uint32_t group;      /* 1 + extent of a group's record; 0: none is being stored */
	/* extents to be freed when nobody holds a value in them: park.c; through the redo list */
	uint32_t parked;     /* 1 + first of the list by prev; 0: none */
	uint32_t parked_n;   /* extents in all */
	uint32_t reserved2[7];

	struct fmt_redo redo;
};
#define FMT_SHARD_LEN 640u
static_assert(sizeof(struct fmt_shard) == FMT_SHARD_LEN, "layout");
static_assert(offsetof(struct fmt_shard, lock) == 64, "readers have a line of their own");
static_assert(offsetof(struct fmt_shard, leases) == 112, "layout");
static_assert(offsetof(struct fmt_shard, ring) == 80, "on the line that a writer has anyway");
static_assert(offsetof(struct fmt_shard, version) == 128, "layout");
static_assert(offsetof(struct fmt_shard, head) == 160, "layout");
static_assert(offsetof(struct fmt_shard, n_ovf) == 208, "layout");
static_assert(offsetof(struct fmt_shard, free_word) == 216, "layout");
static_assert(offsetof(struct fmt_shard, victim) == 248, "layout");
static_assert(offsetof(struct fmt_shard, parked) == 348, "layout");
static_assert(offsetof(struct fmt_shard, redo) == 384, "layout");

/* ---- snapshots ---- */

/*
 * The area: struct fmt_snaps, n struct fmt_table, n * FMT_KEPT_EACH struct fmt_kept,
 * n * FMT_PINS_EACH struct fmt_pin. All but names and pins is written under its lock.
 */
#define FMT_TABLES_MAX 64u
#define FMT_KEPT_EACH 12u /* versions there may be for each table, in one pool */
#define FMT_PINS_EACH 16u
#define FMT_KEEP 8u	   /* versions of a table that stay for rollback, the current one too */
#define FMT_WHO_SNAP 0xfffu /* who of the LARGE extents of images; shards are below 1024 */

struct fmt_snaps {
	uint32_t lock;
	uint32_t kept_top; /* versions from here on were never used; only rises */
	uint32_t pin_top;  /* pins likewise; raised by compare-and-swap */
	uint32_t made;	   /* bell: an entry got a name */
	uint64_t takeovers;
	uint64_t reserved1[5];
	struct fmt_redo redo;
};
static_assert(sizeof(struct fmt_snaps) == 320, "layout");
static_assert(offsetof(struct fmt_snaps, redo) == 64, "layout");

struct fmt_table {
	uint8_t name[64];  /* zero-padded; changes only while current is 0 */
	uint64_t current;  /* slot:16 (low) | version:48; 0: no version, the entry is free */
	uint64_t last;	   /* highest version that was ever current; survives the table */
	uint32_t bell;	   /* bell: current or the name changed */
	uint32_t reserved0;
	uint64_t reserved[5];
};
static_assert(sizeof(struct fmt_table) == 128, "two lines");
static_assert(offsetof(struct fmt_table, current) == 64, "what workers poll");
static_assert(offsetof(struct fmt_table, bell) == 80, "layout");

enum fmt_kept_state {
	FMT_KEPT_FREE = 0,
	FMT_KEPT = 1,	      /* can be opened */
	FMT_KEPT_LEAVING = 2, /* cannot; its extents go when nobody holds it */
};

/* A version of a table; free ones are filled before the redo list that sets their state. */
struct fmt_kept {
	uint64_t version;
	uint64_t word; /* of its first extent: with that one's number unique for ever */
	uint64_t len;  /* bytes of its image */
	uint64_t time; /* of publication, seconds since 1970 */
	uint32_t first;
	uint32_t last;
	uint32_t n; /* extents */
	uint32_t keys;
	uint32_t table; /* FMT_NO_TABLE: of one that was dropped */
	uint32_t state;
	uint64_t stored; /* bytes of its image compressed, core/codec.h; 0: as it is */
};
static_assert(sizeof(struct fmt_kept) == 64, "one line");
static_assert(offsetof(struct fmt_kept, stored) == 56, "layout");
#define FMT_NO_TABLE UINT32_MAX

/* An owner holds the version whose first extent has this word. Void when the owner is dead. */
struct fmt_pin {
	uint32_t owner; /* slot | generation; 0: free */
	uint32_t extent;
	uint64_t word;
};
static_assert(sizeof(struct fmt_pin) == 16, "layout");

/*
 * The bytes of a version, over its extents in order: this head; mask + 1 slots of 8 bytes,
 * offset / 8:32 (low) | high half of the key's hash, 0: empty, found from the hash's low bits
 * by linear probing; n items in the order of their keys, each aligned to 8:
 * key_len:32 (low) | val_len:32, key, value, a zero byte.
 */
struct fmt_image {
	uint64_t magic;
	uint64_t len;
	uint32_t n;
	uint32_t mask;
	uint64_t items_off;
};
static_assert(sizeof(struct fmt_image) == 32, "layout");
#define FMT_IMAGE_MAGIC UINT64_C(0x0a1a70616e737069) /* "ipsnap" 1a 0a */

im_inline uint64_t fmt_area_len(uint64_t tables)
{
	return sizeof(struct fmt_snaps) +
	       tables * (sizeof(struct fmt_table) + FMT_KEPT_EACH * sizeof(struct fmt_kept) +
			 FMT_PINS_EACH * sizeof(struct fmt_pin));
}

/* ---- groups ---- */

/*
 * A group of changes that happens whole, in an extent of its own: this head, its parts, one
 * for each shard in their order, then the changes, those of a part one after the other. The
 * extent is PRIVATE to the writer; its word becoming LARGE of FMT_WHO_GROUP is the commit.
 */
#define FMT_WHO_GROUP 0xffeu

struct fmt_group {
	uint64_t magic;
	uint32_t len; /* bytes in all */
	uint32_t parts;
};
static_assert(sizeof(struct fmt_group) == 16, "layout");
#define FMT_GROUP_MAGIC UINT64_C(0x0a1a707267706d69) /* "impgrp" 1a 0a */

struct fmt_part {
	uint64_t version; /* of its first change; the others follow */
	uint32_t shard;
	uint32_t n;   /* changes */
	uint32_t off; /* of the first, in the record */
	uint32_t reserved;
};
static_assert(sizeof(struct fmt_part) == 24, "layout");

/* Then key and value, padded to 8. */
struct fmt_change {
	uint64_t expiry; /* UINT64_MAX: it never expires */
	uint32_t val_len;
	uint32_t key_len;
	uint16_t flags; /* FMT_F_PACKED */
	uint8_t type;
	uint8_t del; /* 1: the key goes, and there is no value */
	uint32_t reserved;
};
static_assert(sizeof(struct fmt_change) == 24, "layout");

/* ---- waiting ---- */

/*
 * The area: struct fmt_waits, FMT_BELLS_EACH bells for each snapshot table, a word for each
 * owner slot, padded to 64 bytes, FMT_LEASES leases for each shard.
 */
#define FMT_BELLS_EACH 16u
#define FMT_LEASES 16u

struct fmt_waits {
	uint32_t any; /* bell: any key */
	uint32_t reserved0;
	uint64_t prefix_lens; /* bit n: there were watchers of prefixes of n bytes; 0: of 64 and more */
	uint64_t gaps; /* times that a watcher was told that it has lost events; atomic adds */
	uint64_t reserved[5];
};
static_assert(sizeof(struct fmt_waits) == 64, "one line");

/*
 * What an owner watches, its word: generation:20 (low) | zero:12 | groups:32, of its slot; bit
 * n stands for the shards that are n modulo 32. Void when that owner is dead, or has another
 * generation.
 */
#define FMT_WATCH_GROUPS 32u
#define FMT_WATCH_GEN_MASK UINT64_C(0xfffff)

/*
 * An event in the ring of a shard: this, then the key, zeros to a multiple of 8 bytes. A ring
 * is one extent; byte n of all events lies at n modulo its length, so an event may go round.
 */
struct fmt_event {
	uint64_t what; /* version:48 (low) | op:8 | cut:8, 1: only the first bytes of the key */
	uint64_t sizes; /* bytes of all this:32 (low) | key_len:16 | its place / 8, low 16 bits */
	uint64_t hash;	/* of the key; 0 without one */
};
static_assert(sizeof(struct fmt_event) == 24, "layout");

enum fmt_event_op {
	FMT_EVENT_PUT = 1,
	FMT_EVENT_DEL = 2,
	FMT_EVENT_EXPIRE = 3,
	FMT_EVENT_EVICT = 4, /* reserved */
	FMT_EVENT_CLEAR = 5, /* without a key: all keys of the shard with a lower version */
};

/* A key that one process on the host is loading, for all who wait. */
struct fmt_lease {
	uint64_t hash; /* of the key */
	uint64_t version; /* of the shard's next write when it was granted */
	uint64_t until; /* it is void from then on: ns of the host's monotonic clock */
	uint64_t took;	/* ns that the last load of this key took; a hint */
	uint64_t retry; /* after a failure: not before then */
	uint32_t owner; /* slot | generation; 0: nobody is loading */
	uint32_t grant; /* moves with each grant; names the lease with owner */
	uint32_t bell;
	uint32_t fails; /* one after the other */
	uint32_t err;	/* of the last failure */
	uint32_t reserved;
};
static_assert(sizeof(struct fmt_lease) == 64, "one line");

im_inline uint64_t fmt_waits_len(uint64_t tables, uint64_t owners, uint64_t shards)
{
	return sizeof(struct fmt_waits) +
	       ((tables * FMT_BELLS_EACH * 4 + owners * 8 + 63) & ~UINT64_C(63)) +
	       shards * FMT_LEASES * sizeof(struct fmt_lease);
}

/* ---- pins of values ---- */

#define FMT_VALUE_PINS_EACH 16u /* for each snapshot table: a measure of the map's size */

struct fmt_pins {
	uint32_t top; /* pins from here on were never taken; raised by compare-and-swap */
	uint32_t wide; /* 1: there were pins of several extents */
	uint64_t reserved[7];
};
static_assert(sizeof(struct fmt_pins) == 64, "one line");

/* An owner reads a value where it lies. Void when the owner is dead. Begins as struct fmt_pin. */
struct fmt_value_pin {
	uint32_t owner;	 /* slot | generation; 0: free */
	uint32_t extent; /* the first one */
	uint64_t word;	 /* that it had as LOG or LARGE; 0: nothing yet, or nothing any more */
	uint32_t n;	 /* extents */
	uint32_t reserved;
	uint64_t since; /* ns of the host's monotonic clock */
};
static_assert(sizeof(struct fmt_value_pin) == 32, "layout");
static_assert(offsetof(struct fmt_value_pin, extent) == offsetof(struct fmt_pin, extent) &&
		      offsetof(struct fmt_value_pin, word) == offsetof(struct fmt_pin, word),
	      "layout");

im_inline uint64_t fmt_pins_len(uint64_t tables)
{
	return sizeof(struct fmt_pins) +
	       tables * FMT_VALUE_PINS_EACH * sizeof(struct fmt_value_pin);
}

/* user_geo[] of the segment header */
#define FMT_GEO_SHARD_LEN 0
#define FMT_GEO_DIR_CAP 1
#define FMT_GEO_SNAP_OFF 2 /* of the snapshot area, in the user area */
#define FMT_GEO_TABLES 3

#endif
