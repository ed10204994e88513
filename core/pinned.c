/* SPDX-License-Identifier: MIT */
/*
 * pinned.c - values that somebody reads where they lie
 *
 * A value that is pinned is not copied, and nothing is asked of the map while it is read: its
 * memory stays as it is until the pin goes, whatever becomes of the key meanwhile.
 *
 * Who reads,
 *
 *     finds the slot that names the entry; tells of a pin of its extent, or of its chain, with
 *     the word that this has; full barrier;
 *     looks whether the slot names the entry still, and geometry and reclaim_seq are as they were
 *     before the slot was read; if not, takes the pin back and begins again (read.c)
 *
 * and who takes the memory away, under the shard's lock,
 *
 *     clears or swings the last slot that names something in it; full barrier;
 *     looks at the pins; if there is one, parks the memory (park.c) in place of freeing it
 *
 * As the barriers are ordered, either the pin is seen or the reader sees the slot changed. A
 * reader that saw its slot unchanged therefore has all bytes of the value for as long as it
 * likes, also when the entry is replaced, deleted, cleared, expires or is moved by cleaning: what
 * was moved leaves its bytes behind. geometry says that the slot is still one that readers find,
 * reclaim_seq that its memory is still that of a bucket, and that the word belongs to the life in
 * which the slot named the entry.
 *
 * Nothing waits for a pin: no writer, no cleaning, no eviction. Cleaning does not choose an
 * extent that is held, since it would gain nothing. An extent that loses its last name, and a
 * chain that loses its own, is parked: out of every list but that of the parked, so the shard's
 * books and the reserve inequality (room.c) do not count on it.
 *
 * Memory under pins is bounded: at most 1/IM_PINNED_SHARE of the limit's extents may be held,
 * what lives included, since it may die while it is held. Who would exceed that gets BUSY. A pin
 * is told of first and then counted, with all others: two at once may both be refused, but never
 * both be granted too much.
 *
 * Pins of the dead are void (pin.c).
 *
 * Tried on paper and dropped: a counter in the segment of what is held. A kill between the
 * counter and the pin makes it wrong for ever, and all who pin would write to one line. The table
 * is walked instead, and not even that as long as it is short.
 *
 * Invariants
 *  pinned.I1  while a pin that was granted is there, and its owner alive, no byte of the value
 *             in its extents changes.
 *  pinned.I2  the extents of pins that were granted are at most the share of the limit that held
 *             when they were.
 *  pin.I1, pin.I2  as in pin.c.
 */
#include "pinned.h"

#include "crash.h"
#include "os.h"
#include "pin.h"

/* Room for all pins there can be, half full. */
#define SET_LEN (2u * FMT_TABLES_MAX * FMT_VALUE_PINS_EACH)

static struct fmt_value_pin *value_pin(const struct im_pins *t, uint32_t i)
{
	return (struct fmt_value_pin *)(void *)im_pin_at(t, i);
}

static uint32_t *wide(const struct im_pins *t)
{
	return &((struct fmt_pins *)(void *)(t->at - sizeof(struct fmt_pins)))->wide;
}

/* Is it this life of the extent that pin @i, owned by *@ret_owner, holds? */
static bool names(const struct im_pins *t, uint32_t i, uint32_t ext, uint64_t gen,
		  uint32_t *ret_owner)
{
	struct im_held h;

	*ret_owner = im_pin_read(t, i, &h);
	return *ret_owner && h.word && h.extent == ext && fmt_word_gen(h.word) == gen;
}

bool im_pinned_look(const struct ipcmap *m, uint32_t ext, uint64_t gen, uint32_t *hint)
{
	const struct im_pins *t = &m->pins;
	uint32_t top, owner, at = hint ? im_load32_rlx(hint) : UINT32_MAX;

	if (!t->n)
		return false;
	/* ord(pin): the slots were cleared or swung before. Pairs with read.c. */
	im_full_barrier();
	crash("pinned.look");
	top = im_pin_top(t);
	if (at < top && names(t, at, ext, gen, &owner) && im_pin_counts(t, at, owner))
		return true;
	for (uint32_t i = 0; i < top; i++) {
		if (!names(t, i, ext, gen, &owner) || !im_pin_counts(t, i, owner))
			continue;
		if (hint)
			im_store32_rlx(hint, i);
		return true;
	}
	return false;
}

/* ---- how much ---- */

static uint32_t share(const struct ipcmap *m)
{
	uint32_t n = im_load32_rlx(&m->seg->h->space.limit_n) / IM_PINNED_SHARE;

	return n ? n : 1;
}

/* Extents of a pin that was told of; 0: of none. */
static uint32_t extents_of(const struct im_pins *t, uint32_t i, uint32_t *ret_owner,
			   struct im_held *ret)
{
	*ret_owner = im_pin_read(t, i, ret);
	return *ret_owner && ret->word ? im_load32_rlx(&value_pin(t, i)->n) : 0;
}

/* What several hold counts as often, and so does what the dead held. */
static uint64_t count_all(const struct im_pins *t)
{
	uint32_t top = im_pin_top(t), owner;
	struct im_held h;
	uint64_t n = 0;

	for (uint32_t i = 0; i < top; i++)
		n += extents_of(t, i, &owner, &h);
	return n;
}

/* True: it was not in the set. */
static bool add_to_set(uint32_t *set, uint32_t ext)
{
	uint32_t at = ext * 2654435769u % SET_LEN;

	for (unsigned i = 0; i < SET_LEN && set[at]; i++) {
		if (set[at] == ext + 1)
			return false;
		at = (at + 1) % SET_LEN;
	}
	set[at] = ext + 1;
	return true;
}

uint32_t im_pinned_extents(const struct ipcmap *m, uint32_t *ret_pins)
{
	const struct im_pins *t = &m->pins;
	uint32_t set[SET_LEN] = {0}, top, owner, n, asked = 0;
	bool alive = false;
	uint64_t sum = 0;
	struct im_held h;

	*ret_pins = 0;
	if (!t->n)
		return 0;
	top = im_pin_top(t);
	for (uint32_t i = 0; i < top; i++) {
		n = extents_of(t, i, &owner, &h);
		if (!n)
			continue;
		if (owner != asked || !alive)
			alive = owner == m->seg->self || im_pin_counts(t, i, owner);
		asked = owner;
		*ret_pins += alive;
		if (alive && h.extent < m->n_extents && add_to_set(set, h.extent))
			sum += n;
	}
	return (uint32_t)min_u64(sum, m->n_extents);
}

uint32_t im_pinned_by(const struct ipcmap *m, uint32_t owner)
{
	uint32_t top = m->pins.n ? im_pin_top(&m->pins) : 0, of, n = 0;
	struct im_held h;

	for (uint32_t i = 0; i < top; i++)
		n += extents_of(&m->pins, i, &of, &h) && of == owner;
	return n;
}

/* With all pins there are, this one too. */
static bool too_many(const struct ipcmap *m)
{
	const struct im_pins *t = &m->pins;
	uint32_t most = share(m), pins;

	if (likely(im_pin_top(t) <= most && !im_load32_rlx(wide(t))))
		return false;
	return count_all(t) > most && im_pinned_extents(m, &pins) > most;
}

/* ---- a pin ---- */

int im_pinned_take(const struct ipcmap *m, const struct im_held *what, uint32_t n, uint32_t hint,
		   uint32_t *ret_pin)
{
	const struct im_pins *t = &m->pins;
	struct fmt_value_pin *p;
	int r;

	if (n > share(m))
		return -EBUSY;
	r = im_pin_claim(t, hint, ret_pin);
	if (r)
		return r;
	p = value_pin(t, *ret_pin);
	im_store32_rlx(&p->n, n);
	im_store_rlx(&p->since, im_os->coarse());
	if (n > 1)
		im_store32_rlx(wide(t), 1);
	im_pin_tell(t, *ret_pin, what);
	if (likely(!too_many(m)))
		return 0;
	im_unpin(t, *ret_pin);
	return -EBUSY;
}
