/* SPDX-License-Identifier: MIT */
/*
 * pin.c - announcing that a version of a snapshot table is held
 *
 * A pin is an entry of a table in the segment: the owner, and the first extent of the version
 * with its exact word. A holder
 *
 *     claims a free entry (one compare-and-swap), stores extent and word; full barrier;
 *     looks whether the version can still be opened; if not, gives the entry back
 *
 * and who wants a version's memory, under the area's lock,
 *
 *     makes the version one that cannot be opened; full barrier; looks at all pins
 *
 * so at least one of the two sees the other. An entry whose fields are just being replaced
 * may look like an older pin: the memory then goes at the next look.
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
	return i - 1 < a.n_pins ? &a.pins[i - 1].owner : NULL;
}

uint32_t im_pin_top(const struct im_area *a)
{
	return (uint32_t)min_u64(im_load32_acq(&a->s->pin_top), a->n_pins);
}

static void raise_top(const struct im_area *a, uint32_t top)
{
	uint32_t v = im_load32_rlx(&a->s->pin_top);

	while (v < top) {
		uint32_t was = im_cas32_acq(&a->s->pin_top, v, top);

		if (was == v)
			return;
		v = was;
	}
}

static bool claim(const struct im_area *a, uint32_t i, bool dead_too)
{
	uint32_t *owner = &a->pins[i].owner, v = im_load32_rlx(owner);

	if (v && (!dead_too || !im_owner_dead(a->seg, v)))
		return false;
	raise_top(a, i + 1);
	return im_cas32_acq(owner, v, a->seg->self) == v;
}

static int find_free(const struct im_area *a, uint32_t *ret_pin)
{
	for (unsigned dead_too = 0; dead_too < 2; dead_too++) {
		for (uint32_t i = 0; i < a->n_pins; i++) {
			if (claim(a, i, dead_too)) {
				*ret_pin = i;
				return 0;
			}
		}
	}
	return -EBUSY;
}

int im_pin(const struct im_area *a, const struct im_held *what, uint32_t *ret_pin)
{
	struct fmt_pin *p;
	uint32_t i;
	int r = find_free(a, &i);

	if (r)
		return r;
	p = &a->pins[i];
	crash("pin.claimed");
	im_store32_rlx(&p->extent, what->extent);
	im_store_rel(&p->word, what->word);
	/* ord(pin) */
	im_full_barrier();
	crash("pin.told");
	*ret_pin = i;
	return 0;
}

void im_unpin(const struct im_area *a, uint32_t pin)
{
	/* ord(pin): the holder's last look at the version, then the word that lets it go */
	im_store_rel(&a->pins[pin].word, 0);
	crash("pin.cleared");
	/* the exact owner: in a forked child it is the parent's, and stays */
	im_cas32_rel(&a->pins[pin].owner, a->seg->self, 0);
	crash("pin.freed");
}

uint32_t im_pin_read(const struct im_area *a, uint32_t i, struct im_held *ret)
{
	uint32_t owner = im_load32_acq(&a->pins[i].owner);

	if (!owner)
		return 0;
	/* ord(pin): 0: what its holder read was read before the bytes change */
	ret->word = im_load_acq(&a->pins[i].word);
	ret->extent = im_load32_rlx(&a->pins[i].extent);
	return owner;
}

bool im_pin_counts(const struct im_area *a, uint32_t i, uint32_t owner)
{
	if (!im_owner_dead(a->seg, owner))
		return true;
	if (!a->seg->rdonly)
		im_cas32_rel(&a->pins[i].owner, owner, 0);
	return false;
}
