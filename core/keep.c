/* SPDX-License-Identifier: MIT */
/*
 * keep.c - the versions that a map keeps: which stay, which go, and when
 *
 * All versions of all tables lie in one pool. A version is FREE, then KEPT (it can be opened:
 * the current one and those for rollback), then LEAVING (it cannot; it stays as long as
 * somebody holds it), then FREE. It never goes back, so a holder that sees KEPT after it has
 * told of its pin knows that whoever takes the version away later will see the pin (pin.c).
 * Its place is then used for another version. So whoever reads the fields without the lock
 * reads first what no other version has, then the state, then the rest; and looks afterwards
 * whether the place became FREE meanwhile or has another version.
 *
 * A ring of versions in each table was tried first. Eight slow workers, each with another old
 * version, then stop a table's publisher though memory is plenty; one pool gives a busy table
 * what the others do not use.
 *
 * Every step is one store, or a free by the exact word of the version's first extent, which
 * does nothing when it happened already. So whoever takes the lock over from a dead holder
 * stores the redo list again and does what is left to do: free what is LEAVING and not held.
 * A table is dropped by its current becoming 0; KEPT versions of such a table are LEAVING
 * whose state was not stored yet.
 *
 * Invariants
 *  keep.I1  a version that is not FREE owns the chain of n extents from first to last, whose
 *           first has the version's word: LARGE of FMT_WHO_SNAP; no two own the same.
 *  keep.I2  every LARGE extent of FMT_WHO_SNAP is the first of a version.
 *  keep.I3  current is 0 or names a KEPT version of its table.
 *  keep.I4  versions from kept_top on are FREE.
 *  keep.I5  a version with stored bytes unpacks from them to its image; no current one has any.
 * Broken on purpose: I1, I2 by the lock's owner: a version being freed is LEAVING until its
 * extents are free.
 * Checked by: check-snapshot.c.
 */
#include "keep.h"

#include "crash.h"
#include "redo.h"
#include "space.h"

#include <inttypes.h>
#include <stdio.h>

/* LZ4 makes at most 255 bytes of one: nobody is to make room for what cannot be. */
#define PACKS_BEST 256u

/* Versions may have half of the limit. */
#define SHARE 2u

void im_keep_init(struct ipcmap *m, struct im_keep *k, struct im_wait *wait)
{
	im_area_of(m->seg, &k->a);
	k->wait = wait;
}

uint32_t im_keep_top(const struct im_area *a)
{
	return (uint32_t)min_u64(im_load32_acq(&a->s->kept_top), a->n_kept);
}

/* What no other version has: the word and its extent; the number and its table. */
static bool is_same(const struct fmt_kept *v, const struct im_kept *was)
{
	return im_load_rlx(&v->word) == was->first.word &&
	       im_load32_rlx(&v->first) == was->first.extent &&
	       im_load_rlx(&v->version) == was->version &&
	       im_load32_rlx(&v->table) == was->table;
}

bool im_keep_read(const struct im_area *a, uint32_t slot, struct im_kept *ret)
{
	const struct fmt_kept *v = &a->kept[slot];
	uint64_t room;

	ret->first.word = im_load_acq(&v->word);
	ret->first.extent = im_load32_acq(&v->first);
	ret->table = im_load32_acq(&v->table);
	ret->version = im_load_acq(&v->version);
	crash("read.version");
	/* ord(keep): its fields, then KEPT. Pairs with switch_over(). */
	ret->state = im_load32_acq(&v->state);
	ret->last = im_load32_rlx(&v->last);
	ret->len = im_load_rlx(&v->len);
	crash("read.length");
	ret->time = im_load_rlx(&v->time);
	ret->n = im_load32_rlx(&v->n);
	ret->keys = im_load32_rlx(&v->keys);
	ret->stored = im_load_rlx(&v->stored);
	/* ord(keep): FREE, then fields of the next version. Pairs with im_keep_fill(). */
	im_read_barrier();
	if ((im_load32_acq(&v->state) == FMT_KEPT_FREE && ret->state != FMT_KEPT_FREE) ||
	    !is_same(v, ret)) {
		ret->state = FMT_KEPT_FREE;
		return false;
	}
	room = (uint64_t)ret->n << a->seg->extent_shift;
	return im_seg_has_extent(a->seg, ret->first.extent) &&
	       im_seg_has_extent(a->seg, ret->last) && ret->n && ret->n <= a->seg->n_extents &&
	       im_kept_bytes(ret) <= room && ret->stored <= ret->len && ret->len <= UINT32_MAX &&
	       (!ret->stored || ret->len / PACKS_BEST <= ret->stored) &&
	       fmt_word_state(ret->first.word) == FMT_LARGE &&
	       fmt_word_who(ret->first.word) == FMT_WHO_SNAP;
}

void im_keep_fill(struct fmt_kept *v, const struct im_kept *from)
{
	/* ord(keep): FREE, then the fields of the next version. Pairs with im_keep_read(). */
	im_write_barrier();
	im_store_rlx(&v->version, from->version);
	im_store_rlx(&v->word, from->first.word);
	im_store_rlx(&v->len, from->len);
	im_store_rlx(&v->time, from->time);
	im_store32_rlx(&v->first, from->first.extent);
	im_store32_rlx(&v->last, from->last);
	im_store32_rlx(&v->n, from->n);
	im_store32_rlx(&v->keys, from->keys);
	im_store32_rlx(&v->table, from->table);
	im_store_rlx(&v->stored, from->stored);
}

/*
 * No list was stored meanwhile; or the same one is armed as before the walk before: whoever
 * missed a version in that walk finds it in this one, since the new place was KEPT by then.
 */
bool im_keep_walked(const struct im_area *a, uint64_t was, uint64_t *seq)
{
	uint64_t last = *seq;

	im_read_barrier();
	*seq = was;
	return im_load_acq(&a->s->redo.seq) == was && (!(was & 1) || was == last);
}

bool im_keep_is_current(const struct im_area *a, uint32_t slot, const struct im_kept *v)
{
	return v->table < a->n_tables &&
	       im_load_acq(&a->tables[v->table].current) == fmt_current(v->version, slot);
}

bool im_keep_is_gone(const struct im_area *a, const struct im_kept *v)
{
	return v->state == FMT_KEPT_LEAVING &&
	       im_load_acq(&a->seg->table[v->first.extent].word) != v->first.word;
}

static uint32_t state_of(const struct im_keep *k, uint32_t slot)
{
	return im_load32_rlx(&k->a.kept[slot].state);
}

static void mark(struct im_keep *k, uint32_t pin)
{
	uint32_t top = im_keep_top(&k->a), owner;
	struct im_held h;

	owner = im_pin_read(&k->a.pins, pin, &h);
	if (!owner || !h.word)
		return;
	for (uint32_t i = 0; i < top; i++) {
		const struct fmt_kept *v = &k->a.kept[i];

		if (im_load_rlx(&v->word) != h.word || im_load32_rlx(&v->first) != h.extent ||
		    state_of(k, i) == FMT_KEPT_FREE)
			continue;
		if (im_pin_counts(&k->a.pins, pin, owner))
			k->held[i]++;
		return;
	}
}

void im_keep_mark(struct im_keep *k)
{
	uint32_t top;

	memset(k->held, 0, sizeof(k->held));
	/* ord(pin) */
	im_full_barrier();
	top = im_pin_top(&k->a.pins);
	for (uint32_t i = 0; i < top; i++)
		mark(k, i);
}

static bool is_orphan(struct im_keep *k, uint32_t slot)
{
	uint32_t table = im_load32_rlx(&k->a.kept[slot].table);

	return state_of(k, slot) == FMT_KEPT &&
	       (table >= k->a.n_tables || !im_load_rlx(&k->a.tables[table].current));
}

static void leave(struct im_keep *k, uint32_t slot)
{
	im_store32_rel(&k->a.kept[slot].state, FMT_KEPT_LEAVING);
	crash("keep.leaving");
}

static void release(struct im_keep *k, uint32_t slot)
{
	struct im_kept v;

	if (!im_keep_read(&k->a, slot, &v))
		return; /* hostile bytes: check tells */
	if (im_space_free(k->a.seg, v.first.extent, v.last, v.n, v.first.word, k->wait))
		return;
	crash("keep.freed");
	im_store32_rel(&k->a.kept[slot].state, FMT_KEPT_FREE);
	crash("keep.gone");
}

void im_keep_tidy(struct im_keep *k)
{
	uint32_t top = im_keep_top(&k->a), n = 0;

	for (uint32_t i = 0; i < top; i++) {
		if (is_orphan(k, i))
			leave(k, i);
		n += state_of(k, i) == FMT_KEPT_LEAVING;
	}
	if (!n)
		return;
	im_keep_mark(k);
	for (uint32_t i = 0; i < top; i++)
		if (state_of(k, i) == FMT_KEPT_LEAVING && !k->held[i])
			release(k, i);
}

int im_keep_enter(struct im_keep *k)
{
	struct fmt_snaps *s = k->a.s;
	int r = im_lock(k->a.seg, &s->lock, k->wait), rc = 0;

	if (r < 0)
		return r;
	crash("keep.locked");
	if (unlikely(r == IM_TAKEN_OVER || im_load_rlx(&s->redo.seq) & 1))
		rc = im_redo_list_finish(k->a.seg, &s->redo);
	if (unlikely(r == IM_TAKEN_OVER))
		im_store_rlx(&s->takeovers, im_load_rlx(&s->takeovers) + 1);
	if (rc) {
		im_unlock(k->a.seg, &s->lock);
		return rc;
	}
	im_keep_tidy(k);
	return 0;
}

void im_keep_leave(struct im_keep *k)
{
	crash("keep.leave");
	im_unlock(k->a.seg, &k->a.s->lock);
	crash("keep.left");
}

/* ---- room ---- */

static bool can_go(const struct im_keep *k, uint32_t slot)
{
	struct im_kept v;

	return state_of(k, slot) == FMT_KEPT && !k->held[slot] &&
	       im_keep_read(&k->a, slot, &v) && !im_keep_is_current(&k->a, slot, &v);
}

/* The one published first, of those that can go; n_kept: none. */
static uint32_t oldest(const struct im_keep *k)
{
	uint32_t top = im_keep_top(&k->a), best = k->a.n_kept;

	for (uint32_t i = 0; i < top; i++) {
		const struct fmt_kept *v = &k->a.kept[i], *b = &k->a.kept[best];

		if (!can_go(k, i))
			continue;
		if (best == k->a.n_kept || im_load_rlx(&v->time) < im_load_rlx(&b->time) ||
		    (im_load_rlx(&v->time) == im_load_rlx(&b->time) &&
		     im_load_rlx(&v->version) < im_load_rlx(&b->version)))
			best = i;
	}
	return best;
}

/* Somebody may pin it between the count and its leaving: then it stays a while, LEAVING. */
static bool drop_one(struct im_keep *k)
{
	uint32_t slot = oldest(k);

	if (slot == k->a.n_kept)
		return false;
	leave(k, slot);
	im_keep_mark(k);
	if (!k->held[slot])
		release(k, slot);
	return true;
}

bool im_keep_drop_one(struct im_keep *k)
{
	im_keep_mark(k);
	return drop_one(k);
}

struct sum {
	uint64_t n, slots; /* extents and versions there are */
	uint64_t may, may_slots; /* of these, what can go */
};

static struct sum sum_up(const struct im_keep *k)
{
	uint32_t top = im_keep_top(&k->a);
	struct sum s = {0};

	for (uint32_t i = 0; i < top; i++) {
		uint64_t n = im_load32_rlx(&k->a.kept[i].n);

		if (state_of(k, i) == FMT_KEPT_FREE)
			continue;
		s.n += n;
		s.slots++;
		if (can_go(k, i)) {
			s.may += n;
			s.may_slots++;
		}
	}
	return s;
}

/* Does this pin hold a version that is not current? */
static bool is_old(const struct im_keep *k, const struct im_held *h)
{
	uint32_t top = im_keep_top(&k->a);
	struct im_kept v;

	for (uint32_t i = 0; i < top; i++)
		if (state_of(k, i) != FMT_KEPT_FREE && im_keep_read(&k->a, i, &v) &&
		    v.first.word == h->word && v.first.extent == h->extent)
			return v.state == FMT_KEPT_LEAVING || !im_keep_is_current(&k->a, i, &v);
	return false;
}

/* "1234, 1240": processes that hold an old version, by the number they gave themselves. */
static void name_holders(const struct im_keep *k, char *text, size_t cap)
{
	uint32_t top = im_pin_top(&k->a.pins);
	uint64_t last = 0;
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < top && n + 24 < cap; i++) {
		struct im_held h;
		uint32_t owner = im_pin_read(&k->a.pins, i, &h), slot = owner & 0x3ff;
		uint64_t pid;

		if (!owner || !slot || slot > k->a.seg->n_owners || !is_old(k, &h) ||
		    im_owner_dead(k->a.seg, owner))
			continue;
		pid = im_load_rlx(&k->a.seg->owners[slot - 1].pid);
		if (pid != last)
			n += (size_t)snprintf(text + n, cap - n, "%s%" PRIu64, n ? ", " : "",
					      pid);
		last = pid;
	}
}

static int full(const struct im_keep *k, uint64_t n, uint64_t max, const struct im_why *why)
{
	char who[120];

	name_holders(k, who, sizeof(who));
	return im_why(why, IPCMAP_FULL,
		      "the versions that are current or held, and this one, need %" PRIu64
		      " of %" PRIu64 " KiB that snapshots may have; held by %s",
		      n * (k->a.seg->extent_len >> 10), max * (k->a.seg->extent_len >> 10),
		      *who ? who : "nobody");
}

int im_keep_room(struct im_keep *k, uint32_t n, const struct im_why *why)
{
	uint64_t max = im_load_rlx(&k->a.seg->h->space.limit) / SHARE >> k->a.seg->extent_shift;
	uint32_t rounds = k->a.n_kept; /* hostile bytes: an end */
	struct sum s;

	im_keep_mark(k);
	s = sum_up(k);
	if (s.n - s.may + n > max || s.slots - s.may_slots >= k->a.n_kept)
		return full(k, s.n - s.may + n, max, why);
	while ((s.n + n > max || s.slots >= k->a.n_kept) && rounds-- && drop_one(k))
		s = sum_up(k);
	return s.n + n > max || s.slots >= k->a.n_kept ? full(k, s.n + n, max, why) : 0;
}

uint32_t im_keep_free_slot(struct im_keep *k)
{
	uint32_t i = 0;

	while (i < k->a.n_kept && state_of(k, i) != FMT_KEPT_FREE)
		i++;
	if (i < k->a.n_kept && i >= im_keep_top(&k->a))
		im_store32_rel(&k->a.s->kept_top, i + 1);
	return i;
}

void im_keep_trim(struct im_keep *k, uint32_t table, bool all)
{
	uint32_t top = im_keep_top(&k->a);

	/* one a round; hostile bytes might make more of them meanwhile */
	for (uint32_t rounds = 0; rounds < top; rounds++) {
		uint32_t n = 0, first = k->a.n_kept;

		for (uint32_t i = 0; i < top; i++) {
			const struct fmt_kept *v = &k->a.kept[i];

			if (state_of(k, i) != FMT_KEPT || im_load32_rlx(&v->table) != table)
				continue;
			n++;
			if (first == k->a.n_kept ||
			    im_load_rlx(&v->version) < im_load_rlx(&k->a.kept[first].version))
				first = i;
		}
		if (!n || (!all && n <= FMT_KEEP))
			return;
		leave(k, first);
	}
}

uint64_t im_keep_len(const struct ipcmap *m)
{
	struct im_area a;
	struct im_kept v;
	uint64_t n = 0;

	im_area_of(m->seg, &a);
	for (uint32_t i = im_keep_top(&a); i-- > 0;)
		if (im_load32_acq(&a.kept[i].state) != FMT_KEPT_FREE &&
		    !(im_keep_read(&a, i, &v) && im_keep_is_gone(&a, &v)))
			n += im_load32_rlx(&a.kept[i].n);
	return n << m->seg->extent_shift;
}
