/* SPDX-License-Identifier: MIT */
/*
 * api-pin.c - the pin calls of ipcmap.h: check arguments and handle, call down
 */
#include "api.h"
#include "borrow.h"
#include "prefix.h"

IPCMAP_API int ipcmap_pin(struct ipcmap *map, const void *key, size_t key_len,
			  struct ipcmap_pin *ret_pin)
{
	if (bad_key(map, key, key_len) || !ret_pin)
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_pin(map, key, key_len, ret_pin);
	return im_borrow(map, key, key_len, ret_pin);
}

IPCMAP_API void ipcmap_unpin(struct ipcmap *map, struct ipcmap_pin *pin)
{
	if (map && pin)
		im_borrow_end(im_has_prefix(map) ? map->whole : map, pin);
}
