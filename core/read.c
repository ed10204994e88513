/* SPDX-License-Identifier: MIT */
/*
 * read.c - the read protocol: get without a lock
 *
 * The map that readers see is right between any two stores of any writer, so a reader only
 * has to notice that memory which it looks at was reused. One word per shard tells: it loads
 * reclaim_seq first and once more at the end; when it did not move, no extent of the shard
 * was released in between, so every reference that it found in a slot named an entry for all
 * that time. If it did move, the reader begins again.
 *
 * From the second attempt on, and for values longer than LONG bytes, the generation of the
 * extent takes that place: load the generation, see that reclaim_seq has not moved since
 * before the slot was read (so the generation belongs to the life in which the slot named the
 * entry), read, compare the generation. Then only reuse of the very memory counts.
 *
 * Argument, step by step
 *  - tags before references (both acquire), the tag once more after the reference: a slot
 *    that is deleted and filled again in between shows its new reference before its new
 *    tag; that tag would be of a value not yet published, so a changed tag is no match.
 *  - hit: the entry was current when its reference was loaded.
 *  - miss: the key was in no slot of its chain. If it had been moved meanwhile, by a split, the
 *    bucket is another one now; by compaction of the chain, moves has changed: again. If a
 *    followed reference led to foreign bytes, reclaim_seq (or the generation) has changed: again.
 *  - expired: the clock is read after the slot. The entry may have been replaced, by touch or
 *    put, before its life ended; so the slot is looked at once more, after the clock.
 *  - floor is loaded before the slots: an entry below it was cleared before the call ended.
 *  - every attempt is bounded by the chain (IM_CHAIN_MAX) and the copy, and there are at most
 *    TRIES: then BUSY.
 * Bytes that are no entry, and references out of bounds, are no match.
 *
 * im_read_pin() reads nothing: an attempt that would have copied the value tells of a pin instead
 * and looks once more whether the slot names the entry and reclaim_seq has not moved (pinned.c).
 *
 * get_usual() is the first attempt of ipcmap_get(), for what is usual: no chain, no value that
 * is compressed or longer than USUAL, nothing that changed meanwhile. It decides nothing else:
 * all that is not usual goes to attempt(), which is the whole protocol. The order of loads is
 * the same in both, but for floor: here it is loaded last, and an entry below it is not usual.
 * It is written for few instructions: they, and not the two cache misses, decide how many gets
 * a processor works on at once.
 */
#include "read.h"

#include "crash.h"
#include "index.h"
#include "large.h"
#include "os.h"
#include "owner.h"
#include "pinned.h"
#include "value.h"

#define TRIES 16u
#define LONG 4096u
#define AGAIN 1
#define NO_MATCH 2

struct get {
	const struct ipcmap *m;
	const struct fmt_shard *s;
	const uint32_t *dir;
	const void *key;
	uint64_t hash;
	uint32_t key_len;
	bool careful; /* judge by the extent's generation */
	const void *equal; /* compare with this, in place of copying; careful only */
	uint64_t equal_len;
	uint64_t grace; /* ns after its end for which an entry is shown still */
	struct im_read_pin *pin; /* pin, in place of copying; careful only */
	uint64_t seq;
	uint64_t floor;
};

im_inline struct get get_of(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash)
{
	uint32_t shard = im_map_shard(m, hash);

	return (struct get){
		.m = m,
		.s = &m->shards[shard],
		.dir = im_map_dir(m, shard),
		.key = key,
		.hash = hash,
		.key_len = (uint32_t)key_len,
	};
}

static bool seq_moved(const struct get *g)
{
	/* ord(reclaim): what was read before is older than this load. */
	im_read_barrier();
	return im_load_acq(&g->s->reclaim_seq) != g->seq;
}

static void set_value(struct ipcmap_value *v, const struct im_entry *e, uint64_t len,
		      uint64_t left)
{
	v->len = len;
	v->version = e->version;
	v->ttl_left_ns = left;
	v->type = e->type;
}

/* Validated bytes from here on: is it there, and does it fit? */
im_inline int judge(const struct get *g, const struct im_entry *e, uint64_t len,
		    uint64_t expiry, struct ipcmap_value *v, bool wanted)
{
	uint64_t left = IPCMAP_TTL_NONE;

	if (unlikely(e->version < g->floor))
		return IPCMAP_NOTFOUND;
	if (unlikely(e->flags & FMT_F_TTL)) {
		uint64_t now = im_os->coarse();

		if (expiry <= now && now - expiry >= g->grace)
			return IPCMAP_NOTFOUND;
		left = expiry <= now ? 0 : expiry - now;
	}
	set_value(v, e, len, left);
	return wanted && unlikely(v->cap < len) ? IPCMAP_SHORT : 0;
}

/* Judge an entry and copy its value, wherever it lies; the caller validates. */
static im_cold int judge_and_copy(const struct get *g, const struct im_entry *e,
				  const struct im_value *at, uint64_t expiry,
				  struct ipcmap_value *v, bool wanted)
{
	uint64_t len = 0;
	int r = im_value_len(at, &len);

	if (!r)
		r = judge(g, e, len, expiry, v, wanted);
	if (!r && unlikely(g->equal)) {
		r = im_value_equal(at, g->equal, g->equal_len);
		return r < 0 ? r : r ? 0 : IPCMAP_MISMATCH;
	}
	return r || !wanted ? r : im_value_copy(at, v->buf, len);
}

/*
 * Does the slot name the entry still? Then whoever takes the name away sees the pin. The geometry
 * says that the slot is one which readers find: an overflow bucket that was given back and is part
 * of a split that is being prepared may have a copy of a slot that was cleared since.
 */
static bool is_named(const struct get *g)
{
	const struct im_read_pin *p = g->pin;

	/* ord(pin): the pin was told of before. Pairs with im_pinned_look(). */
	return im_load32_acq(&p->b->ref[p->i]) == p->ref &&
	       im_tag_at(im_load_acq(&p->b->tags[p->i >> 3]), p->i) == im_hash_tag(g->hash) &&
	       im_load_acq(&g->s->geometry) == p->geometry && !seq_moved(g);
}

/* The entry was found, and counts: its extent, or its chain of @n, is held from now on. */
static int pin(const struct get *g, const struct im_value *at, uint32_t ext, uint64_t word,
	       uint32_t n)
{
	const struct im_held what = {ext, word};
	struct im_read_pin *p = g->pin;
	uint64_t e = g->m->seg->extent_len;
	int r;

	p->at = *at;
	p->n = n;
	if (at->packed)
		return 0; /* there is nothing to read in place */
	if (!at->at && (!n || n != ((uint64_t)at->skip + at->len + e - 1) / e))
		return seq_moved(g) ? AGAIN : IPCMAP_CORRUPT;
	r = im_pinned_take(g->m, &what, n, p->hint, &p->pin);
	if (r)
		return r;
	crash("read.pinned");
	if (is_named(g))
		return 0;
	im_unpin(&g->m->pins, p->pin);
	return AGAIN;
}

/* The value in a chain: judged by the generation of its first extent. */
static im_cold int read_large(const struct get *g, const struct im_entry *e, uint64_t expiry,
			      struct ipcmap_value *v, bool wanted)
{
	const struct im_seg *seg = g->m->seg;
	struct im_value at;
	uint64_t word;
	bool equal = true;
	int r = 0;

	im_value_find(seg, e, &at);
	if (at.chain.first >= seg->n_extents)
		return seq_moved(g) ? AGAIN : NO_MATCH;
	/* ord(reclaim): the generation, then reclaim_seq, then the chain. */
	word = im_load_acq(&seg->table[at.chain.first].word);
	if (seq_moved(g))
		return AGAIN;
	crash("read.large");
	if (e->flags & FMT_F_FARKEY)
		equal = im_large_equal(seg, &at.chain, 0, g->key, e->key_len);
	if (equal)
		r = judge_and_copy(g, e, &at, expiry, v, wanted);
	im_read_barrier();
	if (im_load_acq(&seg->table[at.chain.first].word) != word)
		return AGAIN;
	if (g->pin && equal && !r)
		return pin(g, &at, at.chain.first, word, at.chain.n);
	return equal ? r : NO_MATCH;
}

/* Judge by the generation of the entry's extent. */
static im_cold int read_careful(const struct get *g, uint32_t ref, struct ipcmap_value *v,
				bool wanted)
{
	const struct im_seg *seg = g->m->seg;
	struct im_value at;
	struct im_entry e;
	uint64_t word, expiry;
	uint32_t ext;
	int r;

	if (!im_at(seg, ref, FMT_ENTRY_HEAD, &ext))
		return seq_moved(g) ? AGAIN : NO_MATCH;
	/* ord(reclaim): the generation, then reclaim_seq, then the entry. */
	word = im_load_acq(&seg->table[ext].word);
	if (seq_moved(g))
		return AGAIN;
	crash("read.careful");
	if (!im_entry_view(seg, ref, &e) || e.key_len != g->key_len ||
	    (!(e.flags & FMT_F_FARKEY) && !im_key_equal(im_entry_key(&e), g->key, e.key_len))) {
		r = NO_MATCH;
	} else if (expiry = im_entry_expiry(&e), e.flags & FMT_F_LARGE) {
		/* judges by the chain alone: the descriptor may move meanwhile */
		return read_large(g, &e, expiry, v, wanted);
	} else {
		im_value_find(seg, &e, &at);
		r = judge_and_copy(g, &e, &at, expiry, v, wanted);
	}
	crash("read.copied");
	im_read_barrier();
	if (im_load_acq(&seg->table[ext].word) != word)
		return AGAIN;
	return g->pin && !r ? pin(g, &at, ext, word, 1) : r;
}

/* Follow one reference whose tag fits. */
im_inline int follow(const struct get *g, uint32_t ref, struct ipcmap_value *v, bool wanted)
{
	struct im_entry e;
	uint64_t expiry = 0;
	size_t room = wanted ? v->cap : 0;

	if (unlikely(g->careful))
		return read_careful(g, ref, v, wanted);
	if (unlikely(!im_entry_view(g->m->seg, ref, &e)) || e.key_len != g->key_len)
		return NO_MATCH;
	if (unlikely(e.flags & (FMT_F_LARGE | FMT_F_PACKED) || e.val_len > LONG))
		return read_careful(g, ref, v, wanted);
	if (unlikely(!im_key_equal(im_entry_key(&e), g->key, e.key_len)))
		return NO_MATCH;
	if (unlikely(e.flags & FMT_F_TTL))
		expiry = im_entry_expiry(&e);
	if (likely(e.val_len <= room))
		im_copy_racy(v->buf, im_entry_val(&e), e.val_len);
	crash("read.copied");
	if (unlikely(seq_moved(g)))
		return AGAIN;
	return judge(g, &e, e.val_len, expiry, v, wanted);
}

/* Nothing in the chain of bucket @b fits. */
static int judge_miss(const struct get *g, uint64_t geometry, uint64_t b, bool followed)
{
	uint64_t now;

	crash("read.missed");
	if (followed && !g->careful && seq_moved(g))
		return AGAIN;
	/* ord(moves), ord(geometry): the slots were loaded with acquire before this. */
	now = im_load_acq(&g->s->geometry);
	if (likely(now == geometry))
		return IPCMAP_NOTFOUND;
	if ((now ^ geometry) & ~FMT_BUCKETS_MASK || !(now & FMT_BUCKETS_MASK) ||
	    im_bucket_of(g->hash, now & FMT_BUCKETS_MASK) != b)
		return AGAIN;
	return IPCMAP_NOTFOUND;
}

im_inline int attempt(struct get *g, struct ipcmap_value *v, bool wanted)
{
	unsigned tag = im_hash_tag(g->hash);
	bool followed = false;
	struct fmt_bucket *b;
	uint64_t geometry, n;

	g->seq = im_load_acq(&g->s->reclaim_seq);
	g->floor = im_load_acq(&g->s->floor);
	/* ord(geometry) */
	geometry = im_load_acq(&g->s->geometry);
	crash("read.begun");
	if (unlikely(!(geometry & FMT_BUCKETS_MASK)))
		return IPCMAP_NOTFOUND;
	n = im_bucket_of(g->hash, geometry & FMT_BUCKETS_MASK);
	b = im_bucket(g->m, g->dir, n);
	for (unsigned hops = 0; hops < IM_CHAIN_MAX; hops++) {
		uint64_t t0, t1;
		unsigned fit;

		if (unlikely(!b)) {
			/* index memory that was freed meanwhile, or broken links */
			im_read_barrier();
			return im_load_acq(&g->s->geometry) != geometry || seq_moved(g)
				       ? AGAIN
				       : IPCMAP_CORRUPT;
		}
		t0 = im_load_acq(&b->tags[0]);
		t1 = im_load_acq(&b->tags[1]);
		fit = im_bucket_match(t0, t1, tag);
		crash("read.tags");
		for (; fit; fit &= fit - 1) {
			unsigned i = (unsigned)__builtin_ctz(fit);
			/* ord(publish): the reference, then the entry's bytes. */
			uint32_t ref = im_load32_acq(&b->ref[i]);
			int r;

			crash("read.ref");
			if (unlikely(im_tag_at(im_load_acq(&b->tags[i >> 3]), i) != tag))
				continue;
			crash("read.entry");
			if (g->pin) {
				g->pin->b = b;
				g->pin->i = i;
				g->pin->ref = ref;
				g->pin->geometry = geometry;
			}
			r = follow(g, ref, v, wanted);
			/* expired: given another life before this one ended? */
			if (r == IPCMAP_NOTFOUND &&
			    (im_load32_acq(&b->ref[i]) != ref ||
			     im_tag_at(im_load_acq(&b->tags[i >> 3]), i) != tag))
				return AGAIN;
			if (likely(r != NO_MATCH))
				return r;
			followed = true;
		}
		if (likely(!(t1 >> FMT_LINK_SHIFT)))
			return judge_miss(g, geometry, n, followed);
		b = im_bucket_next(g->m->seg, t1);
	}
	return AGAIN;
}

static im_cold int try_again(struct get *g, struct ipcmap_value *v, bool wanted)
{
	g->careful = true;
	for (unsigned tries = 1; tries < TRIES; tries++) {
		int r = attempt(g, v, wanted);

		if (r != AGAIN)
			return r;
	}
	return IPCMAP_BUSY;
}

static im_cold int read_slow(const struct ipcmap *m, const void *key, size_t key_len,
			     uint64_t hash, struct ipcmap_value *v, bool wanted)
{
	struct get g = get_of(m, key, key_len, hash);
	int r;

	r = attempt(&g, v, wanted);
	return r == AGAIN ? try_again(&g, v, wanted) : r;
}

/*
 * All of ipcmap_get(): what the usual case calls, last thing, when something is not usual. It
 * begins anew, so that the usual case needs to keep nothing for it.
 */
static im_cold int get_whole(const struct ipcmap *m, const void *key, size_t key_len, void *buf,
			     size_t cap, size_t *ret_len)
{
	struct ipcmap_value v = {.buf = buf, .cap = cap};
	int r;

	if (!key || key_len - 1 >= IPCMAP_KEY_MAX || (!buf && cap))
		return IPCMAP_INVALID;
	r = read_slow(m, key, key_len, im_hash(m->hash_seed, key, key_len), &v, true);
	if (ret_len && (r == 0 || r == IPCMAP_SHORT))
		*ret_len = v.len;
	im_map_count_get(m, r == 0 || r == IPCMAP_SHORT);
	return r;
}

int im_read_uncounted(const struct ipcmap *m, const void *key, size_t key_len,
		      struct ipcmap_value *ret)
{
	struct ipcmap_value v = *ret;
	int r = read_slow(m, key, key_len, im_hash(m->hash_seed, key, key_len), &v, true);

	if (r == 0 || r == IPCMAP_SHORT)
		*ret = v;
	return r;
}

/* All of ipcmap_getx(), likewise. */
static im_cold int getx_whole(const struct ipcmap *m, const void *key, size_t key_len,
			      uint64_t hash, struct ipcmap_value *ret)
{
	struct ipcmap_value v = *ret;
	int r = read_slow(m, key, key_len, hash, &v, true);

	if (r == 0 || r == IPCMAP_SHORT)
		*ret = v;
	im_map_count_get(m, r == 0 || r == IPCMAP_SHORT);
	return r;
}

/* ---- the usual case ---- */

#define USUAL 1024u /* bytes copied inline */

/* This thread's own line; NULL when it has none yet. */
im_inline struct fmt_line *usual_line(const struct ipcmap *m)
{
	const struct im_tls *t = &im_tls;

	return likely(t->token[m->id] == im_load_rlx(m->token)) ? t->own[m->id] : NULL;
}

im_inline void usual_count(const struct ipcmap *m, bool hit)
{
	struct fmt_line *line = usual_line(m);
	uint64_t *n;

	if (unlikely(!line)) {
		im_map_count_get(m, hit);
		return;
	}
	n = hit ? &line->hits : &line->misses;
	im_store_rlx(n, im_load_rlx(n) + 1);
}

/*
 * Parts of words that others store whole, or that never change: coherent where loads of any
 * size are.
 */
#if defined(__x86_64__) && !defined(IM_WORDWISE)

im_inline bool tag_changed(const struct fmt_bucket *b, uint64_t i, unsigned tag)
{
	return ((const unsigned char *)b->tags)[i] != tag;
}

im_inline uint32_t entry_val_len(const unsigned char *p)
{
	return *(const volatile uint32_t *)(const void *)(p + 8);
}

im_inline uint32_t entry_key_word(const unsigned char *p)
{
	return *(const uint32_t *)(const void *)(p + 12);
}

im_inline uint8_t entry_flags(const unsigned char *p)
{
	return p[6];
}

#else

im_inline bool tag_changed(const struct fmt_bucket *b, uint64_t i, unsigned tag)
{
	return im_tag_at(im_load_acq(&b->tags[i >> 3]), (unsigned)i) != tag;
}

im_inline uint32_t entry_val_len(const unsigned char *p)
{
	return (uint32_t)im_load_rlx((const uint64_t *)(const void *)(p + 8));
}

im_inline uint32_t entry_key_word(const unsigned char *p)
{
	return (uint32_t)(im_load_rlx((const uint64_t *)(const void *)(p + 8)) >> 32);
}

im_inline uint8_t entry_flags(const unsigned char *p)
{
	return (uint8_t)(im_load_rlx((const uint64_t *)(const void *)p) >> 48);
}

#endif

static int get_any(const struct ipcmap *m, const void *key, size_t key_len, void *buf, size_t cap,
		   size_t *ret_len);

/*
 * @small: the key has at most IM_HASH_SHORT bytes. Then key and value lie within IM_SPARE
 * bytes from the header, and whatever the header says, the reads stay inside the segment.
 * And the entry has no life; one that has goes to the other body.
 * @x: NULL, or what ipcmap_getx() returns goes there, and buf and cap are its.
 */
im_inline int get_usual(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash,
			void *buf, size_t cap, size_t *ret_len, bool small,
			struct ipcmap_value *x)
{
	const struct im_map_shard *at = im_map_at(m, hash);
	const struct fmt_shard *s = at->s;
	uint64_t seq = im_load_acq(&s->reclaim_seq);
	/* ord(geometry) */
	uint64_t geometry = im_load_acq(&s->geometry), w0;
	uint64_t expiry = UINT64_MAX, now = 0;
	size_t head;
	uint32_t ref;
	const unsigned char *p;
	struct fmt_bucket *b;
	bool hopped = false;
	unsigned tag, fit;
	uint64_t i;
	size_t len;

	crash("read.begun");
	if (unlikely(!(geometry & FMT_BUCKETS_MASK)))
		goto unusual;
	b = im_bucket(m, at->dir, im_bucket_of(hash, geometry & FMT_BUCKETS_MASK));
	tag = im_hash_tag(hash);
bucket:
	if (unlikely(!b))
		goto unusual;
	fit = im_bucket_match_now(b, tag);
	crash("read.tags");
	if (unlikely(!fit))
		goto no_slot;
slot:
	i = (unsigned)__builtin_ctz(fit);
	/* ord(publish) */
	ref = im_load32_acq(&b->ref[i]);
	crash("read.ref");
	if (unlikely(tag_changed(b, i, tag) ||
		     ref - m->ref_first >= (small ? m->ref_spare : m->ref_n)))
		goto unusual;
	crash("read.entry");
	p = m->base + ((uint64_t)ref << m->unit_shift);
	if (unlikely(entry_key_word(p) != ((uint32_t)(key_len - 1) | (uint32_t)hash << 16)))
		goto next_slot;
	len = entry_val_len(p);
	head = FMT_ENTRY_HEAD;
	if (small && unlikely(entry_flags(p)))
		return get_any(m, key, key_len, buf, cap, ret_len);
	if (!small && entry_flags(p)) {
		if (entry_flags(p) != FMT_F_TTL)
			goto unusual;
		head += 8;
	}
	if (unlikely(len > cap))
		goto unusual;
	/* inside its extent: extent_off is a multiple of the extent's length */
	if (!small && unlikely(((uint32_t)((uint64_t)ref << m->unit_shift) & m->extent_mask) +
				       head + key_len + len >
			       (size_t)m->extent_mask + 1))
		goto unusual;
	if (unlikely(im_key_differs(p + head, key, key_len)))
		goto next_slot;
	if (likely(len <= 64))
		im_copy_racy(buf, p + head + key_len, len);
	else if (len <= USUAL)
		im_copy_racy_inline(buf, p + head + key_len, len);
	else
		goto unusual;
	w0 = im_load_rlx((const uint64_t *)(const void *)p);
	if (!small && head > FMT_ENTRY_HEAD)
		expiry = im_load_rlx((const uint64_t *)(const void *)(p + FMT_ENTRY_HEAD));
	crash("read.copied");
	/* ord(reclaim) */
	im_read_barrier();
	if (unlikely(im_is_not(&s->reclaim_seq, seq) ||
		     (w0 & FMT_VERSION_MASK) < im_load_acq(&s->floor)))
		goto unusual;
	if (!small && expiry != UINT64_MAX) {
		now = im_os->coarse();
		if (unlikely(expiry <= now)) {
			/* it may have been given another life before this one ended */
			if (im_load32_acq(&b->ref[i]) != ref || tag_changed(b, i, tag))
				goto unusual;
			usual_count(m, false);
			return IPCMAP_NOTFOUND;
		}
	}
	if (x) {
		x->version = w0 & FMT_VERSION_MASK;
		x->type = (uint32_t)(w0 >> 56);
		x->ttl_left_ns = expiry - now; /* UINT64_MAX - 0: none */
	}
	if (ret_len)
		*ret_len = len;
	usual_count(m, true);
	return 0;

next_slot:
	/* another key with this tag, or bytes of another life: the end tells */
	fit = im_bucket_match_now(b, tag) >> (i + 1) << (i + 1);
	if (fit)
		goto slot;
no_slot:
	w0 = im_load_acq(&b->tags[1]);
	if (unlikely(w0 >> FMT_LINK_SHIFT)) {
		if (hopped)
			goto unusual;
		hopped = true;
		b = im_bucket_next(m->seg, w0);
		goto bucket;
	}
	crash("read.missed");
	/* ord(moves), ord(geometry), ord(reclaim) */
	im_read_barrier();
	if (unlikely(im_load_acq(&s->reclaim_seq) != seq ||
		     im_load_acq(&s->geometry) != geometry))
		goto unusual;
	usual_count(m, false);
	return IPCMAP_NOTFOUND;
unusual:
	return x ? getx_whole(m, key, key_len, hash, x)
		 : get_whole(m, key, key_len, buf, cap, ret_len);
}

static __attribute__((noinline)) int get_any(const struct ipcmap *m, const void *key,
					     size_t key_len, void *buf, size_t cap,
					     size_t *ret_len)
{
	if (!key || key_len - 1 >= IPCMAP_KEY_MAX || (!buf && cap))
		return IPCMAP_INVALID;
	return get_usual(m, key, key_len, im_hash(m->hash_seed, key, key_len), buf, cap,
			 ret_len, false, NULL);
}

/* Two bodies, so that the one for short keys without a life makes no call. */
int im_read_get(const struct ipcmap *m, const void *key, size_t key_len, void *buf, size_t cap,
		size_t *ret_len)
{
	if (unlikely(key_len - 1 >= IM_HASH_SHORT || !key || (!buf && cap)))
		return get_any(m, key, key_len, buf, cap, ret_len);
	return get_usual(m, key, key_len, im_hash_mixed(m->hash_seed, &m->mix, key, key_len), buf, cap,
			 ret_len, true, NULL);
}

int im_read_getx(const struct ipcmap *m, const void *key, size_t key_len,
		 struct ipcmap_value *ret)
{
	return im_read_getx_of(m, key, key_len, im_hash(m->hash_seed, key, key_len), ret);
}

int im_read_getx_of(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash,
		    struct ipcmap_value *ret)
{
	return get_usual(m, key, key_len, hash, ret->buf, ret->cap, &ret->len, false, ret);
}

int im_read_equal(const struct ipcmap *m, const void *key, size_t key_len, const void *want,
		  uint64_t want_len, uint64_t *ret_version)
{
	uint64_t hash = im_hash(m->hash_seed, key, key_len);
	struct get g = get_of(m, key, key_len, hash);
	struct ipcmap_value v = {0};
	int r;

	g.equal = want_len ? want : "";
	g.equal_len = want_len;
	r = try_again(&g, &v, false);
	if (r == 0 || r == IPCMAP_MISMATCH)
		*ret_version = v.version;
	return r;
}

int im_read_stale(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash,
		  uint64_t grace, struct ipcmap_value *ret)
{
	struct get g = get_of(m, key, key_len, hash);
	struct ipcmap_value v = *ret;
	int r;

	g.grace = grace;
	r = attempt(&g, &v, true);
	if (r == AGAIN)
		r = try_again(&g, &v, true);
	if (r == 0 || r == IPCMAP_SHORT)
		*ret = v;
	return r;
}

int im_read_pin(const struct ipcmap *m, const void *key, size_t key_len, uint64_t hash,
		struct ipcmap_value *ret, struct im_read_pin *p)
{
	struct get g = get_of(m, key, key_len, hash);
	int r;

	g.pin = p;
	r = try_again(&g, ret, false);
	im_map_count_get(m, r == 0);
	return r;
}

int im_read_exists(const struct ipcmap *m, const void *key, size_t key_len)
{
	uint64_t hash = im_hash(m->hash_seed, key, key_len);
	struct ipcmap_value v = {0};
	int r = read_slow(m, key, key_len, hash, &v, false);

	im_map_count_get(m, r == 0);
	return r == 0 ? 1 : r == IPCMAP_NOTFOUND ? 0 : r;
}
