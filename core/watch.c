/* SPDX-License-Identifier: MIT */
/*
 * watch.c - what happens to a key, to the keys of a prefix, to all keys
 *
 * A watch has a place in the ring of each shard that it concerns: the one of the key's shard,
 * or all. It reads on from there, event by event (event.c says how they come there and when
 * they are whole), and shows those that concern it. Order holds within a shard, so for each
 * key; between shards there is none.
 *
 * The places are read under the shards' locks after this process's word says that it watches
 * them (ring.c). So every later change has an event behind them: whoever reads the state after
 * the watch was opened, and then follows the events, has the state.
 *
 * A place that the ring has passed over is a gap: the watcher is told, and goes on from
 * ring_head, read before it is told; so it reads the state anew, and again misses nothing.
 * When the watch is of one key that has the very version still that it was last known to have,
 * nothing has happened to it, and there is no gap. For other quiet watches of busy shards the
 * naps become shorter as the ring turns faster.
 *
 * Sleeping: on the bell of the key, of the prefix, or of all; for a second at most, then the
 * rings are looked at, because a writer may be killed between its change and its ring.
 *
 * One process has one word for all its watches, counted by groups of shards, under the life
 * lock. A forked child is another process, which the word does not name, and whose rings may
 * be given back any time: a watch is dead there (MISMATCH), as the token of the parent's life
 * tells. The alternative, a watch that registers anew in the child, would have to begin with a
 * gap; opening one is the same.
 *
 * watch_fd: a thread looks ahead for the next event and makes a descriptor readable. It keeps
 * what it found for ipcmap_watch_next(), and looks on only after that found nothing more: so
 * the bytes of a key stay while the caller uses them, and the descriptor is readable until
 * nothing is left.
 *
 * Invariants
 *  watch.I1  pos[] of a shard is the place of an event, or ring_head, or has been passed over.
 *  watch.I2  the thread looks for events only while wanted, and while none is in hand.
 */
#include "watch.h"

#include "bell.h"
#include "crash.h"
#include "event.h"
#include "helper.h"
#include "life.h"
#include "os.h"
#include "read.h"
#include "ring.h"

#include <stdlib.h>

#define NAP_MAX_NS UINT64_C(1000000000)
#define NAP_MIN_NS UINT64_C(1000000)
#define LEAVE_NS UINT64_C(10000000) /* for a lock, on closing */

struct ipcmap_watch {
	struct ipcmap *m;
	uint64_t token; /* of the life of the process that opened it */
	unsigned what;  /* IPCMAP_WATCH_... */
	uint32_t first; /* shards first .. first + n - 1 */
	uint32_t n;
	uint32_t turn; /* the shard to look at next, from first on */
	uint32_t *bell;
	uint64_t hash; /* of the key */
	uint32_t key_len;
	uint32_t under; /* bytes that keys are shown without: the prefix of the handle */
	const unsigned char *key;
	uint64_t known; /* of a key: the version that it was last known to have, or 0 */
	uint64_t nap;
	uint64_t turned; /* bytes that a ring moved on by, at most, since the last nap */
	unsigned char *buf; /* the key of the event shown */
	/* between the caller and the thread of watch_fd */
	pthread_mutex_t lock;
	struct im_helper helper;
	bool helped;
	bool stop;
	bool wanted; /* the caller found nothing more */
	uint32_t poke; /* moves when these change */
	int have; /* 1: event is the next; an error */
	struct ipcmap_event event;
	uint64_t pos[];
};

/* ---- who watches: this process's word ---- */

static struct {
	uint64_t token;
	uint32_t n[FMT_WATCH_GROUPS];
} counts[IM_SEGS]; /* under the life lock */

/* Count the shards of @w in or out. */
static int count_in(struct ipcmap_watch *w, bool in)
{
	struct im_seg *seg = w->m->seg;
	uint32_t *n = counts[seg->id].n, self;
	uint64_t token, word;
	int r = im_life_lock();

	if (r)
		return r;
	token = im_load_acq(&im_tokens[seg->id]);
	if (counts[seg->id].token != token) {
		memset(&counts[seg->id], 0, sizeof(counts[seg->id]));
		counts[seg->id].token = token;
	}
	for (uint32_t i = 0; i < min_u32(w->n, FMT_WATCH_GROUPS); i++)
		n[(w->first + i) % FMT_WATCH_GROUPS] += in ? 1 : -1u;
	self = im_load32_rlx(&seg->self) & IM_OWNER_MASK;
	word = self >> 10;
	for (uint32_t i = 0; i < FMT_WATCH_GROUPS; i++)
		word |= n[i] ? im_ring_group(i) : 0;
	if (word >> 32 == 0)
		word = 0;
	/* the shard's lock, which comes next, shows it to who holds that lock later */
	im_store_rel(&w->m->watchers[(self & 0x3ff) - 1], word);
	crash("watch.word");
	im_life_unlock();
	return 0;
}

bool im_watch_is_alive(const struct ipcmap_watch *w)
{
	return likely(im_load_acq(&im_tokens[w->m->seg->id]) == w->token);
}

/* ---- reading a ring ---- */

enum { NOTHING = 0, FOUND = 1 };

static_assert(IPCMAP_EVENT_PUT == FMT_EVENT_PUT && IPCMAP_EVENT_DEL == FMT_EVENT_DEL &&
		      IPCMAP_EVENT_EXPIRE == FMT_EVENT_EXPIRE &&
		      IPCMAP_EVENT_EVICT == FMT_EVENT_EVICT &&
		      IPCMAP_EVENT_CLEAR == FMT_EVENT_CLEAR,
	      "shown as they are");

static void copy_out(const unsigned char *ring, uint32_t len, uint64_t at, void *to, uint32_t n)
{
	uint32_t off = (uint32_t)at & (len - 1), first = min_u32(n, len - off);

	im_copy_racy(to, ring + off, first);
	im_copy_racy((unsigned char *)to + first, ring, n - first);
}

static int show(const struct ipcmap_watch *w, struct ipcmap_event *ret, unsigned op,
		uint32_t shard, uint32_t key_len, uint64_t version)
{
	ret->op = op;
	ret->group = shard;
	ret->key = key_len ? w->buf + w->under : NULL;
	ret->key_len = key_len ? key_len - w->under : 0;
	ret->version = version;
	if (op == IPCMAP_EVENT_GAP)
		im_add_rlx(&w->m->waits->gaps, 1);
	return FOUND;
}

/* The key has this version, 0: it is not there. 0 or an error. */
static int look_at_key(struct ipcmap_watch *w, uint64_t *ret_version)
{
	struct ipcmap_value v = {0};
	int r = im_read_uncounted(w->m, w->key, w->key_len, &v);

	*ret_version = r == 0 || r == IPCMAP_SHORT ? v.version : 0;
	return r == IPCMAP_SHORT || r == IPCMAP_NOTFOUND ? 0 : r;
}

/* Events of shard @k were lost: go on at the head. */
static int show_gap(struct ipcmap_watch *w, uint32_t k, struct ipcmap_event *ret)
{
	const struct fmt_shard *s = &w->m->shards[w->first + k];
	uint64_t version, known = w->known;
	int r;

	/* ord(event): what is read from now on has all that happened before this place */
	w->pos[k] = im_load_acq(&s->ring_head);
	if (w->what == IPCMAP_WATCH_KEY) {
		r = look_at_key(w, &version);
		w->known = r ? 0 : version;
		if (r == 0 && version && version == known)
			return NOTHING;
	}
	return show(w, ret, IPCMAP_EVENT_GAP, w->first + k, 0, 0);
}

/* Does an event of this key, of which @kept bytes are in buf, concern the watch? */
static bool concerns(const struct ipcmap_watch *w, const struct fmt_event *e, uint32_t key_len,
		     uint32_t kept)
{
	switch (w->what) {
	case IPCMAP_WATCH_KEY:
		return e->hash == w->hash && key_len == w->key_len &&
		       memcmp(w->buf, w->key, kept) == 0;
	case IPCMAP_WATCH_PREFIX:
		/* the prefix of a handle itself is no key under it */
		return key_len >= w->key_len && key_len > w->under &&
		       memcmp(w->buf, w->key, min_u32(kept, w->key_len)) == 0;
	default:
		return true;
	}
}

/* One event as it was copied, and what follows from its numbers. */
struct seen {
	struct fmt_event e;
	uint32_t size;
	uint32_t key_len;
	uint32_t kept; /* bytes of the key */
	unsigned op;
};

/* The event at @at, and its key to buf: false when it is none, or is not whole any more. */
static bool read_event(struct ipcmap_watch *w, const struct fmt_shard *s, uint32_t shard,
		       uint64_t at, uint64_t head, struct seen *ret)
{
	const struct im_seg *seg = w->m->seg;
	uint32_t ext = im_event_extent(seg, s, shard), len = seg->extent_len;
	const unsigned char *ring;

	if (ext == FMT_NO_EXTENT)
		return false;
	ring = im_seg_extent(seg, ext);
	copy_out(ring, len, at, &ret->e, sizeof(ret->e));
	ret->op = (unsigned)(ret->e.what >> 48 & 0xff);
	ret->size = (uint32_t)ret->e.sizes;
	ret->key_len = (uint32_t)(ret->e.sizes >> 32 & 0xffff);
	ret->kept = min_u32(ret->key_len, im_event_key_max(seg));
	if (ret->e.sizes >> 48 != (at >> 3 & 0xffff) || ret->op < FMT_EVENT_PUT ||
	    ret->op > FMT_EVENT_CLEAR || (ret->op == FMT_EVENT_CLEAR) != !ret->key_len ||
	    ret->size != sizeof(ret->e) + align_up(ret->kept, 8) || ret->size > head - at)
		return false;
	crash("read.event");
	if (ret->kept && (w->what != IPCMAP_WATCH_KEY || ret->e.hash == w->hash))
		copy_out(ring, len, at + sizeof(ret->e), w->buf, ret->kept);
	/* ord(event): the copy, then ring_head. Pairs with event.c. */
	im_read_barrier();
	return im_load_acq(&s->ring_head) - at <= len - im_event_max(seg) &&
	       im_load32_rlx(&s->ring) == ext + 1;
}

/* Read on in one shard: FOUND, NOTHING more, or an error. */
static int look_in(struct ipcmap_watch *w, uint32_t k, struct ipcmap_event *ret)
{
	uint32_t shard = w->first + k, len = w->m->seg->extent_len;
	const struct fmt_shard *s = &w->m->shards[shard];
	/* ord(event): the bytes up to here were written before, and what they tell of */
	uint64_t head = im_load_acq(&s->ring_head), at = w->pos[k];
	struct seen e;

	w->turned = max_u64(w->turned, min_u64(head - at, len));
	for (; at != head; at += e.size) {
		bool cut;

		if (head - at > len - im_event_max(w->m->seg) ||
		    !read_event(w, s, shard, at, head, &e)) {
			if (im_event_extent(w->m->seg, s, shard) == FMT_NO_EXTENT)
				return IPCMAP_CORRUPT;
			return show_gap(w, k, ret);
		}
		w->pos[k] = at + e.size;
		cut = e.kept < e.key_len;
		if (e.op != FMT_EVENT_CLEAR && !concerns(w, &e.e, e.key_len, e.kept))
			continue;
		if (cut) {
			w->known = 0;
			return show(w, ret, IPCMAP_EVENT_GAP, shard, 0, 0);
		}
		w->known = e.op == FMT_EVENT_PUT ? e.e.what & FMT_VERSION_MASK : 0;
		return show(w, ret, e.op, shard, e.key_len, e.e.what & FMT_VERSION_MASK);
	}
	return NOTHING;
}

/* The next event of all shards, which take turns. */
static int look(struct ipcmap_watch *w, struct ipcmap_event *ret)
{
	for (uint32_t i = 0; i < w->n; i++) {
		uint32_t k = (w->turn + i) % w->n;
		int r;

		if (im_load_rlx(&w->m->shards[w->first + k].ring_head) == w->pos[k])
			continue;
		r = look_in(w, k, ret);
		if (r != NOTHING) {
			w->turn = (k + 1) % w->n;
			return r;
		}
	}
	return NOTHING;
}

/* How long to sleep: shorter while a ring turns fast. */
static uint64_t pace(struct ipcmap_watch *w)
{
	uint64_t len = w->m->seg->extent_len, nap;

	pthread_mutex_lock(&w->lock);
	if (w->turned > len / 4)
		w->nap = max_u64(w->nap / 2, NAP_MIN_NS);
	else if (w->turned < len / 32)
		w->nap = min_u64(w->nap * 2, NAP_MAX_NS);
	w->turned = 0;
	nap = w->nap;
	pthread_mutex_unlock(&w->lock);
	return nap;
}

/* ---- next ---- */

/* What the thread has, or what there is. */
static int take(struct ipcmap_watch *w, struct ipcmap_event *ret)
{
	int r = w->have;

	w->wanted = false;
	if (r < 0)
		return r; /* it stays, and the descriptor readable */
	if (!r)
		return look(w, ret);
	*ret = w->event;
	w->have = NOTHING;
	return r;
}

static int take_locked(struct ipcmap_watch *w, struct ipcmap_event *ret)
{
	int r;

	pthread_mutex_lock(&w->lock);
	r = take(w, ret);
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* Nothing was found: the thread may look on. */
static int want(struct ipcmap_watch *w, int r)
{
	pthread_mutex_lock(&w->lock);
	if (w->helped && !w->have && !w->wanted) {
		im_helper_hush(&w->helper);
		w->wanted = true;
		im_store32_rlx(&w->poke, w->poke + 1);
	}
	pthread_mutex_unlock(&w->lock);
	im_os->futex_wake(&w->poke, 1);
	return r;
}

int im_watch_next(struct ipcmap_watch *w, uint64_t deadline_ns, struct ipcmap_event *ret)
{
	struct im_seg *seg = w->m->seg;
	struct im_wait wait;
	uint32_t heard;
	int r;

	if (!im_watch_is_alive(w))
		return IPCMAP_MISMATCH;
	im_wait_start(seg, deadline_ns ? deadline_ns : w->m->deadline_ns, &wait);
	for (;;) {
		r = take_locked(w, ret);
		if (r == NOTHING && wait.deadline_ns == IM_NOWAIT)
			return want(w, IPCMAP_BUSY);
		if (r != NOTHING)
			break;
		heard = im_bell_listen(w->bell);
		r = take_locked(w, ret);
		if (r != NOTHING)
			break;
		r = im_bell_sleep(seg, w->bell, heard, pace(w), &wait);
		if (r)
			return want(w, r);
	}
	return r == FOUND ? 0 : r;
}

/* ---- a descriptor ---- */

static void *help(void *arg)
{
	struct ipcmap_watch *w = arg;
	struct im_seg *seg = w->m->seg;
	struct im_wait wait;

	for (;;) {
		uint32_t poke = im_load32_acq(&w->poke);
		uint32_t heard = im_bell_listen(w->bell);
		bool stop, idle;

		pthread_mutex_lock(&w->lock);
		if (w->wanted && !w->have && !w->stop) {
			w->have = look(w, &w->event);
			if (w->have)
				im_helper_say(&w->helper);
		}
		idle = !w->wanted || w->have;
		stop = w->stop;
		pthread_mutex_unlock(&w->lock);
		if (stop)
			return NULL;
		im_wait_start(seg, IM_FOREVER, &wait);
		if (idle)
			im_os->futex_wait(&w->poke, poke, NAP_MAX_NS);
		else
			im_bell_sleep(seg, w->bell, heard, pace(w), &wait);
	}
}

int im_watch_fd(struct ipcmap_watch *w)
{
	int r;

	if (!im_watch_is_alive(w))
		return IPCMAP_MISMATCH;
	pthread_mutex_lock(&w->lock);
	if (!w->helped) {
		w->wanted = true;
		r = im_helper_start(&w->helper, help, w);
		w->helped = r == 0;
	} else {
		r = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return r ? r : w->helper.fd;
}

/* ---- open, close ---- */

/* Who waits for a prefix wants its bell rung. */
static void want_prefix(struct ipcmap *m, uint32_t len)
{
	uint64_t *lens = &m->waits->prefix_lens, bit, was;

	bit = UINT64_C(1) << (len < IM_EVENT_PREFIX_MAX ? len : 0);
	for (was = im_load_rlx(lens); !(was & bit); was = im_load_rlx(lens))
		if (im_cas_full(lens, was, was | bit))
			break;
}

static void choose(struct ipcmap_watch *w)
{
	struct ipcmap *m = w->m;
	uint32_t len = w->key_len;

	if (w->what == IPCMAP_WATCH_KEY) {
		w->hash = im_hash(m->hash_seed, w->key, len);
		w->bell = &m->bells[w->hash % m->n_bells];
	} else if (w->what == IPCMAP_WATCH_PREFIX) {
		want_prefix(m, len);
		len = min_u32(len, IM_EVENT_PREFIX_MAX);
		w->bell = &m->bells[im_event_bell(m, w->key, len)];
	} else {
		w->bell = &m->waits->any;
	}
}

static struct ipcmap_watch *make(struct ipcmap *m, const void *key, uint32_t key_len,
				 unsigned what)
{
	bool one = what == IPCMAP_WATCH_KEY;
	uint32_t n = one ? 1 : m->n_shards;
	size_t at = sizeof(struct ipcmap_watch) + n * sizeof(uint64_t);
	struct ipcmap_watch *w = calloc(1, at + key_len + im_event_key_max(m->seg));

	if (!w)
		return NULL;
	w->m = m;
	w->what = what;
	w->n = n;
	w->key_len = key_len;
	w->key = (unsigned char *)w + at;
	w->buf = (unsigned char *)w + at + key_len;
	w->nap = NAP_MAX_NS;
	if (key_len)
		memcpy((unsigned char *)w + at, key, key_len);
	w->first = one ? im_map_shard(m, im_hash(m->hash_seed, key, key_len)) : 0;
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

/* The rings that nobody watches now; the first that is busy ends it, a later look goes on. */
static void leave(struct ipcmap_watch *w, bool look)
{
	if (count_in(w, false) || !look)
		return;
	for (uint32_t k = 0; k < w->n; k++)
		if (im_ring_look(w->m, w->first + k, LEAVE_NS))
			break;
}

static void destroy(struct ipcmap_watch *w)
{
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int im_watch_open(struct ipcmap *m, const void *key, uint32_t key_len, unsigned what,
		  struct ipcmap_watch **ret)
{
	struct ipcmap_watch *w;
	int r;

	if (!m->waits)
		return IPCMAP_VERSION;
	w = make(m, key, key_len, what);
	if (!w)
		return IPCMAP_NOMEM;
	choose(w);
	w->token = im_load_acq(&im_tokens[m->seg->id]);
	r = count_in(w, true);
	if (r) {
		destroy(w);
		return r;
	}
	for (uint32_t k = 0; k < w->n && !r; k++)
		r = im_ring_take(m, w->first + k, 0, &w->pos[k]);
	if (!r && what == IPCMAP_WATCH_KEY && look_at_key(w, &w->known))
		w->known = 0; /* the worst is a gap */
	if (r) {
		leave(w, true);
		destroy(w);
		return r == -EFBIG ? -ENOSPC : r;
	}
	*ret = w;
	return 0;
}

void im_watch_under(struct ipcmap_watch *w, uint32_t len)
{
	w->under = len;
}

struct ipcmap *im_watch_map(const struct ipcmap_watch *w)
{
	return w->m;
}

void im_watch_close(struct ipcmap_watch *w, bool may_lock)
{
	if (!im_watch_is_alive(w)) {
		if (w->helped)
			im_helper_forget(&w->helper);
		free(w); /* its lock may be held by a thread that is not here */
		return;
	}
	if (w->helped) {
		pthread_mutex_lock(&w->lock);
		w->stop = true;
		im_store32_rlx(&w->poke, w->poke + 1);
		pthread_mutex_unlock(&w->lock);
		im_os->futex_wake(&w->poke, 1);
		im_bell_ring(w->bell);
		im_helper_end(&w->helper);
	}
	leave(w, may_lock);
	destroy(w);
}
