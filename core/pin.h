/* SPDX-License-Identifier: MIT */
/*
 * pin.h - announcing that memory is held: tables of pins; and the snapshot area
 *
 * See pin.c for the argument.
 */
#ifndef IM_PIN_H
#define IM_PIN_H

#include "format.h"
#include "owner.h"

/* A table of pins in a segment: its entries begin with a struct fmt_pin. */
struct im_pins {
	struct im_seg *seg;
	unsigned char *at;
	uint32_t stride;
	uint32_t n;
	uint32_t *top; /* entries from here on are free */
};

im_inline struct fmt_pin *im_pin_at(const struct im_pins *t, uint32_t i)
{
	return (struct fmt_pin *)(void *)(t->at + (size_t)i * t->stride);
}

/* What a pin names: an extent, in one of its lives. */
struct im_held {
	uint32_t extent;
	uint64_t word;
};

/* Claim a free pin for this process, which owns a slot: 0; -EBUSY: there is none. @hint, any
 * number, is looked at first. */
int im_pin_claim(const struct im_pins *t, uint32_t hint, uint32_t *ret_pin);

/*
 * Announce that this process holds @what; the caller looks after it whether that can still be
 * held, and unpins if not.
 */
void im_pin_tell(const struct im_pins *t, uint32_t pin, const struct im_held *what);

/* Both. */
int im_pin(const struct im_pins *t, const struct im_held *what, uint32_t *ret_pin);
void im_unpin(const struct im_pins *t, uint32_t pin);

/* What pin number @i, below im_pin_top(), names, and who: 0 when it is free. */
uint32_t im_pin_read(const struct im_pins *t, uint32_t i, struct im_held *ret);
im_inline uint32_t im_pin_top(const struct im_pins *t)
{
	return (uint32_t)min_u64(im_load32_acq(t->top), t->n);
}

/* Is that owner alive? If not, the pin is void, and freed. */
bool im_pin_counts(const struct im_pins *t, uint32_t i, uint32_t owner);

/* ---- the snapshot area ---- */

/* Where the parts of the area lie. */
struct im_area {
	struct im_seg *seg;
	struct fmt_snaps *s;
	struct fmt_table *tables;
	struct fmt_kept *kept;
	struct im_pins pins;
	uint32_t n_tables;
	uint32_t n_kept;
};

#define IM_KEPT_MAX (FMT_TABLES_MAX * FMT_KEPT_EACH)

im_inline void im_area_of(struct im_seg *seg, struct im_area *ret)
{
	unsigned char *p = seg->user + seg->user_geo[FMT_GEO_SNAP_OFF];

	ret->seg = seg;
	ret->n_tables = (uint32_t)seg->user_geo[FMT_GEO_TABLES];
	ret->n_kept = ret->n_tables * FMT_KEPT_EACH;
	ret->s = (struct fmt_snaps *)(void *)p;
	ret->tables = (struct fmt_table *)(void *)(p + sizeof(*ret->s));
	ret->kept = (struct fmt_kept *)(void *)(ret->tables + ret->n_tables);
	ret->pins = (struct im_pins){
		.seg = seg,
		.at = (unsigned char *)(ret->kept + ret->n_kept),
		.stride = sizeof(struct fmt_pin),
		.n = ret->n_tables * FMT_PINS_EACH,
		.top = &ret->s->pin_top,
	};
}

/* Words of the area that name an owner, for im_owner_word(); NULL behind the last. */
uint32_t *im_area_owner_word(struct im_seg *seg, uint32_t i);

#endif
