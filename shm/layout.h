/* SPDX-License-Identifier: MIT */
/*
 * layout.h - every shared byte below the keys: header, extent table, owners, counter lines
 *
 * A segment file is
 *
 *   0            struct fmt_header          4096 bytes; struct fmt_space is its last part
 *   owner_off    struct fmt_owner [n_owners]
 *   line_off     struct fmt_line [n_lines]
 *   user_off     user_len bytes, core/format.h says of what (shards and directories)
 *   table_off    struct fmt_extent [n_extents]      reserved as far as the limit goes
 *   extent_off   n_extents x (1 << extent_shift) bytes, aligned to the extent length
 *
 * All numbers are in the byte order of the machine; byte_order tells. ipcmap(5) has this
 * as tables of offsets and is changed first.
 *
 * Extent states, one u64 each: state:4 (low) | who:12 | generation:48. The generation rises
 * whenever an extent is freed or reused in place, so a whole word never comes back.
 *   FREE      in the free queue, or never used
 *   PRIVATE   who = owner slot; being filled outside any lock; freed when that owner dies
 *   PIECE     one of a chain that begins at a PRIVATE, LARGE or PARKED extent (linked by next)
 *   RESERVED  who = shard; backed by memory, not in use yet (the shard's ahead or reserve)
 *   LOG, INDEX, LARGE   who = shard
 *   PARKED    who = shard; was LOG or LARGE; nothing leads there, but somebody holds a value
 * A PIECE whose chain was freed stays a PIECE in the free queue; that is as good as FREE.
 */
#ifndef IM_LAYOUT_H
#define IM_LAYOUT_H

#include "base.h"

#define FMT_MAGIC UINT64_C(0x0a1a70616d637069) /* "ipcmap" 1a 0a */
#define FMT_BYTE_ORDER 0x01020304u
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "not tested on other machines");
#define FMT_VERSION 1u
#define FMT_HEADER_LEN 4096u
#define FMT_COMPAT_KNOWN UINT64_C(0)   /* unknown compatible bits: attach for reading only */
/*
 * Groups are committed, keys loaded by leases and events told here: a library that does not
 * know of it would leave groups half stored, let an old value be stored after a change, and
 * write without telling. In every new segment, since who will attach it is not known.
 */
#define FMT_INCOMPAT_WAITS UINT64_C(1)
/* Values are read in place: a library that does not know would use their memory again. Likewise. */
#define FMT_INCOMPAT_PINS UINT64_C(2)
/* unknown incompatible bits: refuse */
#define FMT_INCOMPAT_KNOWN (FMT_INCOMPAT_WAITS | FMT_INCOMPAT_PINS)

#define FMT_NO_EXTENT UINT32_MAX
#define FMT_EXTENT_SHIFT_MIN 12u
#define FMT_EXTENT_SHIFT_MAX 20u
#define FMT_OWNERS_MAX 1023u

enum fmt_state {
	FMT_FREE = 0,
	FMT_PRIVATE = 1,
	FMT_PIECE = 2,
	FMT_RESERVED = 3,
	FMT_LOG = 4,
	FMT_INDEX = 5,
	FMT_LARGE = 6,
	FMT_PARKED = 7,
};

im_inline uint64_t fmt_word(enum fmt_state state, uint32_t who, uint64_t gen)
{
	return (uint64_t)state | (uint64_t)(who & 0xfff) << 4 | gen << 16;
}

im_inline enum fmt_state fmt_word_state(uint64_t w)
{
	return (enum fmt_state)(w & 15);
}

im_inline uint32_t fmt_word_who(uint64_t w)
{
	return (uint32_t)(w >> 4) & 0xfff;
}

im_inline uint64_t fmt_word_gen(uint64_t w)
{
	return w >> 16;
}

/* One line per extent. */
struct fmt_extent {
	/* changed by compare-and-swap or under the space lock; read by anybody */
	uint64_t word;
	/* free queue, chain of a large value: under the space lock or by the chain's owner;
	 * list of a shard's extents: under that shard's lock */
	uint32_t next;
	uint32_t prev; /* lists of a shard only */
	/* under the shard lock */
	uint32_t fill;   /* bytes appended; through the redo list, after the entry's bytes */
	uint32_t backed; /* 1: memory was reserved for it (under the space lock) */
	uint64_t books;  /* low half: live bytes, of entries that count (meaningless below the
			  * floor); high half: named bytes, of entries that a tag names.
			  * PARKED: last extent of the chain:32 (low) | extents:32 */
	uint64_t version_max; /* highest version in it */
	uint64_t expiry_max; /* latest expiry in it; UINT64_MAX when something never expires */
	uint64_t expiry_min; /* earliest expiry in it; UINT64_MAX when nothing expires */
	uint64_t reserved;
};
static_assert(sizeof(struct fmt_extent) == 64, "one line per extent");
static_assert(offsetof(struct fmt_extent, next) == 8, "layout");
static_assert(offsetof(struct fmt_extent, fill) == 16, "layout");
static_assert(offsetof(struct fmt_extent, books) == 24, "layout");
static_assert(offsetof(struct fmt_extent, version_max) == 32, "layout");

/* An owner slot; slots count from 1 in lock words, slot 1 is element 0. */
struct fmt_owner {
	uint32_t gen;       /* 20 bits used; raised by the process that wins the slot's byte */
	uint32_t n_private; /* extents PRIVATE to it: raised before, lowered after */
	uint64_t pid;       /* for display only, here to "reserved": never for decisions */
	uint64_t start;     /* clock ticks since boot, from /proc/self/stat */
	uint64_t attached;  /* seconds since 1970 */
	char comm[16];      /* the process's name, zero-padded */
	uint64_t reserved[2];
};
static_assert(sizeof(struct fmt_owner) == 64, "one line per owner");
static_assert(offsetof(struct fmt_owner, comm) == 32, "layout");

/* Counters of one thread. Cumulative for ever: the next claimer goes on counting. */
struct fmt_line {
	uint32_t claim; /* lock-word form (slot | generation) of the process; 0: nobody */
	uint32_t reserved;
	uint64_t misses;
	uint64_t hits;
	uint64_t puts;
	uint64_t dels;
	uint64_t waits;
	uint64_t raw_len;    /* bytes of values that were compressed */
	uint64_t packed_len; /* what they took then */
};
static_assert(sizeof(struct fmt_line) == 64, "one line per thread");
static_assert(offsetof(struct fmt_line, misses) == 8, "layout");

/*
 * The free extents and what the space lock protects. The intent says what the holder is
 * about to make true: the extent's word decides whether it happened; if it did, a successor
 * stores the absolute values.
 */
struct fmt_space {
	uint32_t lock;
	uint32_t limit_n; /* extents that may be in use */
	/* under the space lock; read by anybody */
	uint32_t used;  /* extents not free */
	uint32_t fresh; /* extents from here on were never used */
	uint32_t head;  /* free queue, oldest first; FMT_NO_EXTENT when empty */
	uint32_t tail;
	uint32_t n_queued;
	uint32_t reserved0;
	uint64_t limit; /* bytes, everything in */
	uint64_t takeovers;
	uint64_t reserved1[2];
	/* intent; a line of its own */
	uint64_t seq; /* odd: armed */
	uint64_t old_word;
	uint64_t new_word;
	uint32_t extent;
	uint32_t used_after;
	uint32_t fresh_after;
	uint32_t head_after;
	uint32_t tail_after;
	uint32_t queued_after;
	uint32_t link_of; /* extent whose next becomes link_to; FMT_NO_EXTENT: none */
	uint32_t link_to;
	uint64_t reserved2;
};
static_assert(sizeof(struct fmt_space) == 128, "two lines");
static_assert(offsetof(struct fmt_space, limit) == 32, "layout");
static_assert(offsetof(struct fmt_space, seq) == 64, "intent has its own line");

struct fmt_header {
	/* written once by the creator; magic last */
	uint64_t magic;
	uint32_t byte_order;
	uint32_t version;
	uint64_t compat;
	uint64_t incompat;
	uint64_t max_len;  /* length of the file */
	uint64_t creation; /* random id of this creation */
	uint8_t boot_id[16];
	uint64_t created; /* seconds since 1970 */
	uint64_t hash_seed;
	uint32_t extent_shift;
	uint32_t unit_shift; /* references count in units of this many bytes */
	uint32_t n_extents;
	uint32_t n_owners;
	uint32_t n_lines;
	uint32_t n_shards;
	uint64_t owner_off;
	uint64_t line_off;
	uint64_t user_off;
	uint64_t user_len;
	uint64_t table_off;
	uint64_t extent_off;
	uint64_t user[4];  /* core/format.h: geometry of the user area */
	uint64_t checksum; /* of all bytes before it, magic taken as FMT_MAGIC */
	/* 1: repair put another segment in its place (offline.c); no owner slot is given any more */
	uint32_t replaced;
	uint8_t reserved0[828];
	/* changed live, each by one store */
	uint64_t ttl_ns; /* default life; UINT64_MAX: for ever */
	uint32_t pack_min; /* values of so many bytes are compressed; UINT32_MAX: none */
	uint32_t reserved3;
	uint64_t reserved1[6];
	struct fmt_line shared; /* counters of threads without a line: atomic adds */
	uint8_t reserved2[2816];
	struct fmt_space space;
};
static_assert(sizeof(struct fmt_header) == FMT_HEADER_LEN, "layout");
static_assert(offsetof(struct fmt_header, extent_shift) == 80, "layout");
static_assert(offsetof(struct fmt_header, owner_off) == 104, "layout");
static_assert(offsetof(struct fmt_header, checksum) == 184, "layout");
static_assert(offsetof(struct fmt_header, replaced) == 192, "layout");
static_assert(offsetof(struct fmt_header, ttl_ns) == 1024, "layout");
static_assert(offsetof(struct fmt_header, shared) == 1088, "layout");
static_assert(offsetof(struct fmt_header, space) == 3968, "layout");

#endif
