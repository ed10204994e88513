/* SPDX-License-Identifier: MIT */
/*
 * scan.c - walk every key, a bucket at a time
 *
 * In the order of bit-reversed hashes every bucket is one range, and a split halves it
 * without moving anything across its borders. So the cursor is a point in that order: shard
 * in the high bits, the reversed low 40 bits of the hash below; 0 is the start, and the end.
 * A bucket's chain is copied to private memory without a lock, and copied again when the
 * geometry of that bucket or reclaim_seq changed meanwhile; after TRIES attempts a writable
 * attach takes the shard's lock for one chain. Keys are shown from the copy, outside any lock.
 *
 * A key that is there throughout is in its chain whenever that is copied, and its point lies
 * in exactly one of the ranges passed: it is shown exactly once. (The point filter drops
 * keys before the cursor: a range that was passed whole may come again only in part.)
 * Values in extents of their own, and compressed ones, are read when shown.
 */
#include "scan.h"

#include "crash.h"
#include "index.h"
#include "large.h"
#include "os.h"
#include "read.h"
#include "shard.h"
#include "value.h"

#include <stdlib.h>

#define POINT_BITS 40u
#define POINT_MASK ((UINT64_C(1) << POINT_BITS) - 1)
#define TRIES 16u

struct buffer {
	unsigned char *p;
	size_t len;
	size_t cap;
	bool failed;
};

/* A key in the buffer: this, then the key, then the value, rounded up to 8. */
struct found {
	struct ipcmap_item item; /* key and val are set when shown */
	uint64_t floor_version;
	size_t size;
	bool apart; /* the value is read when shown */
};

struct scan {
	struct ipcmap *m;
	struct fmt_shard *s;
	uint32_t *dir;
	uint32_t shard;
	uint64_t point;
	uint64_t end; /* of the range that was copied */
	uint64_t now; /* what counts as expired */
	unsigned flags;
	struct buffer buf;
	unsigned n;
	uint32_t refs[IM_CHAIN_MAX * FMT_SLOTS]; /* of the entries copied */
};

static uint64_t reverse(uint64_t x)
{
	x = (x >> 1 & UINT64_C(0x5555555555555555)) | (x & UINT64_C(0x5555555555555555)) << 1;
	x = (x >> 2 & UINT64_C(0x3333333333333333)) | (x & UINT64_C(0x3333333333333333)) << 2;
	x = (x >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (x & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
	return __builtin_bswap64(x) >> (64 - POINT_BITS);
}

/* How many points a bucket covers: those of its low bits. */
static uint64_t range_of(uint64_t b, uint64_t n)
{
	unsigned top = 63 - (unsigned)__builtin_clzll(n);
	uint64_t half = UINT64_C(1) << top;
	unsigned depth = b >= half || b < n - half ? top + 1 : top;

	return UINT64_C(1) << (POINT_BITS - depth);
}

static unsigned char *grow(struct buffer *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 4096;
	unsigned char *p;

	while (cap < b->len + more)
		cap *= 2;
	if (cap != b->cap) {
		p = realloc(b->p, cap);
		if (!p) {
			b->failed = true;
			return NULL;
		}
		b->p = p;
		b->cap = cap;
	}
	p = b->p + b->len;
	b->len += more;
	return p;
}

static bool copy_key(const struct im_seg *seg, const struct im_entry *e, unsigned char *to)
{
	struct fmt_chain c;

	if (!(e->flags & FMT_F_FARKEY)) {
		im_copy_racy(to, im_entry_key(e), e->key_len);
		return true;
	}
	im_entry_chain(e, &c);
	return c.first < seg->n_extents && im_large_copy(seg, &c, 0, to, e->key_len) == 0;
}

/* Copy one entry; false when its bytes cannot be one. */
static bool copy_entry(struct scan *sc, uint32_t ref)
{
	const struct im_seg *seg = sc->m->seg;
	bool vals = !(sc->flags & IPCMAP_SCAN_KEYS);
	struct im_entry e;
	struct found f = {0};
	struct im_value at;
	unsigned char *to;
	uint64_t len = 0;

	if (!im_entry_view(seg, ref, &e))
		return false;
	im_value_find(seg, &e, &at);
	if (im_value_len(&at, &len))
		return false;
	f.apart = e.flags & (FMT_F_LARGE | FMT_F_PACKED);
	f.item.key_len = e.key_len;
	f.item.val_len = len;
	f.item.version = e.version;
	f.item.type = e.type;
	f.item.ttl_left_ns = im_entry_expiry(&e); /* made relative when shown */
	f.size = align_up(sizeof(f) + e.key_len + (vals && !f.apart ? e.val_len : 0), 8);
	to = grow(&sc->buf, f.size);
	if (!to)
		return true;
	memcpy(to, &f, sizeof(f));
	if (!copy_key(seg, &e, to + sizeof(f)))
		return false;
	if (vals && !f.apart)
		im_copy_racy(to + sizeof(f) + e.key_len, im_entry_val(&e), e.val_len);
	sc->refs[sc->n++] = ref;
	return true;
}

/* While a chain is compacted, and after a death in it, a slot may stand there twice. */
static bool is_doubled(const struct scan *sc, uint32_t ref)
{
	for (unsigned i = 0; i < sc->n; i++)
		if (sc->refs[i] == ref)
			return true;
	return false;
}

/* Copy the chain whose range holds the point. 0; 1: it changed; error. */
static int copy_chain(struct scan *sc)
{
	const struct fmt_shard *s = sc->s;
	uint64_t seq = im_load_acq(&s->reclaim_seq);
	uint64_t geometry = im_load_acq(&s->geometry), now;
	uint64_t n = geometry & FMT_BUCKETS_MASK, b;
	struct fmt_bucket *bucket;
	bool sound = true;

	/* before the slots: one that is renewed after that has an entry which counts still */
	sc->now = im_os->coarse();
	sc->buf.len = 0;
	sc->n = 0;
	if (!n) {
		sc->end = POINT_MASK + 1;
		return 0;
	}
	b = im_bucket_of(reverse(sc->point), n);
	sc->end = (sc->point & ~(range_of(b, n) - 1)) + range_of(b, n);
	bucket = im_bucket(sc->m, sc->dir, b);
	sound = bucket != NULL;
	for (unsigned hops = 0; bucket && hops < IM_CHAIN_MAX; hops++) {
		uint64_t t[2];

		crash("read.chain");
		t[0] = im_load_acq(&bucket->tags[0]);
		t[1] = im_load_acq(&bucket->tags[1]);
		for (unsigned i = 0; i < FMT_SLOTS; i++) {
			uint32_t ref = im_load32_acq(&bucket->ref[i]);

			if (im_tag_at(t[i >> 3], i) &&
			    im_tag_at(im_load_acq(&bucket->tags[i >> 3]), i) &&
			    !(hops && is_doubled(sc, ref)) && !copy_entry(sc, ref))
				sound = false;
		}
		bucket = im_bucket_next(sc->m->seg, t[1]);
	}
	if (sc->buf.failed)
		return IPCMAP_NOMEM;
	im_read_barrier();
	now = im_load_acq(&s->geometry);
	if (im_load_acq(&s->reclaim_seq) != seq || (now ^ geometry) & ~FMT_BUCKETS_MASK ||
	    !(now & FMT_BUCKETS_MASK) ||
	    (now != geometry &&
	     range_of(b, n) != range_of(im_bucket_of(reverse(sc->point), now & FMT_BUCKETS_MASK),
					now & FMT_BUCKETS_MASK)))
		return 1;
	return sound ? 0 : IPCMAP_CORRUPT;
}

static int copy_locked(struct scan *sc)
{
	uint64_t bit = UINT64_C(1) << sc->m->seg->id;
	struct im_op op;
	int r;

	if (sc->m->seg->rdonly)
		return IPCMAP_BUSY;
	if (im_tls.held & bit)
		return IPCMAP_DEADLOCK;
	r = im_owner_ready(sc->m->seg);
	if (r)
		return r;
	im_tls.held |= bit;
	im_op_init(sc->m, &op, 0);
	im_op_shard(&op, sc->shard);
	r = im_op_enter(&op);
	if (!r) {
		r = copy_chain(sc);
		im_op_leave(&op);
		if (r == 1)
			r = IPCMAP_CORRUPT;
	}
	im_op_done(&op);
	im_tls.held &= ~bit;
	return r;
}

static int copy_stable(struct scan *sc)
{
	for (unsigned i = 0; i < TRIES; i++) {
		int r = copy_chain(sc);

		if (r != 1)
			return r;
	}
	return copy_locked(sc);
}

/* ---- showing ---- */

/* Beyond the end are keys that a split has moved and not cleared yet: they come later. */
static bool fits(const struct scan *sc, const struct ipcmap_item *it, const void *prefix,
		 size_t prefix_len)
{
	uint64_t point = reverse(im_hash(sc->m->hash_seed, it->key, it->key_len));

	return point >= sc->point && point < sc->end && it->key_len >= prefix_len &&
	       (!prefix_len || memcmp(it->key, prefix, prefix_len) == 0);
}

/* What is there now, all of one write; it may be a later one than that of the slot copied. */
static int read_whole(const struct scan *sc, const struct ipcmap_item *it,
		      struct ipcmap_value *ret)
{
	int r = IPCMAP_BUSY;

	for (unsigned i = 0; i < TRIES; i++) {
		r = im_read_uncounted(sc->m, it->key, it->key_len, ret);
		if (r != IPCMAP_SHORT)
			break;
		free(ret->buf);
		ret->cap = ret->len;
		ret->buf = malloc(ret->cap);
		if (!ret->buf)
			return IPCMAP_NOMEM;
		r = IPCMAP_BUSY;
	}
	return r;
}

static int show_apart(const struct scan *sc, const struct ipcmap_item *it,
		      int (*each)(void *arg, const struct ipcmap_item *item), void *arg)
{
	struct ipcmap_item copy = *it;
	struct ipcmap_value v = {0};
	int r = read_whole(sc, it, &v);

	if (r == 0) {
		copy.val = v.buf ? v.buf : "";
		copy.val_len = v.len;
		copy.version = v.version;
		copy.ttl_left_ns = v.ttl_left_ns;
		copy.type = v.type;
		r = each(arg, &copy);
	} else if (r == IPCMAP_NOTFOUND) {
		r = 0;
	}
	free(v.buf);
	return r;
}

static int show(const struct scan *sc, const void *prefix, size_t prefix_len,
		int (*each)(void *arg, const struct ipcmap_item *item), void *arg)
{
	uint64_t floor = im_load_acq(&sc->s->floor), now = sc->now;
	unsigned char *p = sc->buf.p;
	int r = 0;

	for (unsigned i = 0; i < sc->n && !r; i++) {
		struct found *f = (struct found *)(void *)p;
		struct ipcmap_item it = f->item;

		it.key = p + sizeof(*f);
		if (!f->apart && !(sc->flags & IPCMAP_SCAN_KEYS))
			it.val = p + sizeof(*f) + it.key_len;
		p += f->size;
		if (it.version < floor || it.ttl_left_ns <= now ||
		    !fits(sc, &it, prefix, prefix_len))
			continue;
		if (it.ttl_left_ns != UINT64_MAX)
			it.ttl_left_ns -= now;
		if (f->apart && !(sc->flags & IPCMAP_SCAN_KEYS))
			r = show_apart(sc, &it, each, arg);
		else
			r = each(arg, &it);
	}
	return r;
}

int im_scan(struct ipcmap *m, uint64_t *cursor, const void *prefix, size_t prefix_len,
	    unsigned flags, int (*each)(void *arg, const struct ipcmap_item *item), void *arg)
{
	struct scan sc = {.m = m, .flags = flags};
	uint64_t shard = *cursor >> POINT_BITS;
	int r = 0;

	if (shard >= m->n_shards)
		return IPCMAP_INVALID;
	sc.point = *cursor & POINT_MASK;
	while (shard < m->n_shards && !r) {
		sc.shard = (uint32_t)shard;
		sc.s = &m->shards[shard];
		sc.dir = im_map_dir(m, sc.shard);
		r = copy_stable(&sc);
		if (!r)
			r = show(&sc, prefix, prefix_len, each, arg);
		if (r)
			break;
		sc.point = sc.end;
		if (sc.point > POINT_MASK) {
			sc.point = 0;
			shard++;
		}
		*cursor = shard < m->n_shards ? shard << POINT_BITS | sc.point : 0;
	}
	free(sc.buf.p);
	return r;
}
