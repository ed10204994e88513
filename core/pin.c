/* SPDX-License-Identifier: MIT */
/*
 * pin.c - announcing that memory is held
 *
 * A pin is an entry of a table in the segment: the owner, and the (first) extent that is held
 * with its exact word. A holder
 *
 *     claims a free entry (one compare-and-swap), stores extent and word; full barrier;
 *     looks whether what it found can still be found; if not, gives the entry back
 *
 * and who wants the memory, under the lock of what leads there,
 *
 *     makes it impossible to find; full barrier; looks at all pins
 *
 * so at least one of the two sees the other. An entry whose fields are just being replaced
 * may look like an older pin: the memory then goes at the next look. What is found and how is
 * told in view.c for versions of snapshots, and in pinned.c for values.
 *
 * Pins of the dead are void: whoever meets one proves the owner dead (owner.c) and frees it by
 * a compare-and-swap of the exact owner word. A killed process therefore leaves nothing that
 * anybody must repair, and a stopped one keeps what it holds.
 *
 * Invariants
 *  pin.I1  entries from pin_top on are free; pin_top is raised before an entry is claimed.
 *  pin.I2  extent and word of an entry are changed only by the owner it names.
 */
#include "pin.h"

#include "crash.h"

uint32_t *im_area_owner_word(struct im_seg *seg, uint32_t i)
{
	struct im_area a;

	im_area_of(seg, &a);
	if (i == 0)
		return &a.s->lock;
	return i - 1 < a.pins.n ? &im_pin_at(&a.pins, i - 1)->owner : NULL;
}

static void raise_top(const struct im_pins *t, uint32_t top)
{
	uint32_t v = im_load32_rlx(t->top);

	while (v < top) {
		uint32_t was = im_cas32_acq(t->top, v, top);

		if (was == v)
			return;
		v = was;
	}
}

static bool claim(const struct im_pins *t, uint32_t i, bool dead_too)
{
	uint32_t *owner = &im_pin_at(t, i)->owner, v = im_load32_rlx(owner);

	if (v && (!dead_too || !im_owner_dead(t->seg, v)))
		return false;
	raise_top(t, i + 1);
	return im_cas32_acq(owner, v, t->seg->self) == v;
}

int im_pin_claim(const struct im_pins *t, uint32_t hint, uint32_t *ret_pin)
{
	if (hint < t->n && claim(t, hint, false)) {
		*ret_pin = hint;
		return 0;
	}
	for (unsigned dead_too = 0; dead_too < 2; dead_too++) {
		for (uint32_t i = 0; i < t->n; i++) {
			if (claim(t, i, dead_too)) {
				*ret_pin = i;
				return 0;
			}
		}
	}
	return -EBUSY;
}

void im_pin_tell(const struct im_pins *t, uint32_t pin, const struct im_held *what)
{
	struct fmt_pin *p = im_pin_at(t, pin);

	crash("pin.claimed");
	im_store32_rlx(&p->extent, what->extent);
	im_store_rel(&p->word, what->word);
	/* ord(pin) */
	im_full_barrier();
	crash("pin.told");
}

int im_pin(const struct im_pins *t, const struct im_held *what, uint32_t *ret_pin)
{
	int r = im_pin_claim(t, 0, ret_pin);

	if (r == 0)
		im_pin_tell(t, *ret_pin, what);
	return r;
}

void im_unpin(const struct im_pins *t, uint32_t pin)
{
	struct fmt_pin *p = im_pin_at(t, pin);

	/* ord(pin): the holder's last look at the bytes, then the word that lets them go */
	im_store_rel(&p->word, 0);
	crash("pin.cleared");
	/* the exact owner: in a forked child it is the parent's, and stays */
	im_cas32_rel(&p->owner, t->seg->self, 0);
	crash("pin.freed");
}

uint32_t im_pin_read(const struct im_pins *t, uint32_t i, struct im_held *ret)
{
	const struct fmt_pin *p = im_pin_at(t, i);
	uint32_t owner = im_load32_acq(&p->owner);

	if (!owner)
		return 0;
	/* ord(pin): 0: what its holder read was read before the bytes change */
	ret->word = im_load_acq(&p->word);
	ret->extent = im_load32_rlx(&p->extent);
	return owner;
}

bool im_pin_counts(const struct im_pins *t, uint32_t i, uint32_t owner)
{
	if (!im_owner_dead(t->seg, owner))
		return true;
	if (!t->seg->rdonly)
		im_cas32_rel(&im_pin_at(t, i)->owner, owner, 0);
	return false;
}
