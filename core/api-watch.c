/* SPDX-License-Identifier: MIT */
/*
 * api-watch.c - the watch calls of ipcmap.h: check arguments and handle, call down
 */
#include "api.h"
#include "event.h"
#include "prefix.h"
#include "watch.h"

IPCMAP_API int ipcmap_watch_open(struct ipcmap *map, const void *key, size_t key_len,
				 unsigned what, struct ipcmap_watch **ret_watch)
{
	int r;

	if (!map || !ret_watch || key_len > IPCMAP_KEY_MAX || what < IPCMAP_WATCH_KEY ||
	    what > IPCMAP_WATCH_ALL || (what == IPCMAP_WATCH_ALL) != !key_len ||
	    (key_len && !key))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_watch_open(map, key, key_len, what, ret_watch);
	r = begin_write(map);
	if (r)
		return r;
	r = im_watch_open(map, key, (uint32_t)key_len, what, ret_watch);
	end_write(map);
	return r;
}

IPCMAP_API int ipcmap_watch_next(struct ipcmap_watch *watch, uint64_t deadline_ns,
				 struct ipcmap_event *ret)
{
	if (!watch || !ret)
		return IPCMAP_INVALID;
	return im_watch_next(watch, deadline_ns, ret);
}

IPCMAP_API int ipcmap_watch_fd(struct ipcmap_watch *watch)
{
	return watch ? im_watch_fd(watch) : IPCMAP_INVALID;
}

IPCMAP_API void ipcmap_watch_close(struct ipcmap_watch *watch)
{
	struct ipcmap *map;
	bool locks;

	if (!watch)
		return;
	map = im_watch_map(watch);
	locks = im_watch_is_alive(watch) && !begin_write(map);
	im_watch_close(watch, locks);
	if (locks)
		end_write(map);
}

IPCMAP_API int ipcmap_group(struct ipcmap *map, const void *key, size_t key_len)
{
	if (bad_key(map, key, key_len))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_group(map, key, key_len);
	return (int)im_map_shard(map, im_hash(map->hash_seed, key, key_len));
}
