/* SPDX-License-Identifier: MIT */
/*
 * pin.h - the snapshot area of a segment, and announcing that a version is held
 *
 * See pin.c for the argument.
 */
#ifndef IM_PIN_H
#define IM_PIN_H

#include "format.h"
#include "owner.h"

/* Where the parts of the area lie. */
struct im_area {
	struct im_seg *seg;
	struct fmt_snaps *s;
	struct fmt_table *tables;
	struct fmt_kept *kept;
	struct fmt_pin *pins;
	uint32_t n_tables;
	uint32_t n_kept;
	uint32_t n_pins;
};

#define IM_KEPT_MAX (FMT_TABLES_MAX * FMT_KEPT_EACH)

im_inline void im_area_of(struct im_seg *seg, struct im_area *ret)
{
	unsigned char *p = seg->user + seg->user_geo[FMT_GEO_SNAP_OFF];

	ret->seg = seg;
	ret->n_tables = (uint32_t)seg->user_geo[FMT_GEO_TABLES];
	ret->n_kept = ret->n_tables * FMT_KEPT_EACH;
	ret->n_pins = ret->n_tables * FMT_PINS_EACH;
	ret->s = (struct fmt_snaps *)(void *)p;
	ret->tables = (struct fmt_table *)(void *)(p + sizeof(*ret->s));
	ret->kept = (struct fmt_kept *)(void *)(ret->tables + ret->n_tables);
	ret->pins = (struct fmt_pin *)(void *)(ret->kept + ret->n_kept);
}

/* Words of the area that name an owner, for im_owner_word(); NULL behind the last. */
uint32_t *im_area_owner_word(struct im_seg *seg, uint32_t i);

/* What a pin names. */
struct im_held {
	uint32_t extent;
	uint64_t word;
};

/*
 * Announce that this process, which owns a slot, holds a version; the caller looks at the
 * version's state after it, and unpins if that is not as it was. 0; -EBUSY: no pin is free.
 */
int im_pin(const struct im_area *a, const struct im_held *what, uint32_t *ret_pin);
void im_unpin(const struct im_area *a, uint32_t pin);

/* What pin number @i, below im_pin_top(), names, and who: 0 when it is free. */
uint32_t im_pin_read(const struct im_area *a, uint32_t i, struct im_held *ret);
uint32_t im_pin_top(const struct im_area *a);

/* Is that owner alive? If not, the pin is void, and freed. */
bool im_pin_counts(const struct im_area *a, uint32_t i, uint32_t owner);

#endif
