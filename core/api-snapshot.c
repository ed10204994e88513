/* SPDX-License-Identifier: MIT */
/*
 * api-snapshot.c - the snapshot calls of ipcmap.h: check arguments and handle, call down
 */
#include "api.h"
#include "snapshot.h"
#include "view.h"

#include <string.h>

static bool bad_name(const char *table)
{
	return !table || strnlen(table, IPCMAP_TABLE_MAX + 1) - 1 >= IPCMAP_TABLE_MAX;
}

IPCMAP_API int ipcmap_snapshot_publish(struct ipcmap *map, const char *table,
				       const struct ipcmap_pair *pairs, size_t n,
				       uint64_t *ret_version, char *why, size_t why_cap)
{
	const struct im_why w = {why, why_cap};
	int r;

	if (why && why_cap)
		why[0] = '\0';
	if (!map || (!pairs && n))
		return IPCMAP_INVALID;
	if (bad_name(table))
		return im_why(&w, IPCMAP_INVALID, "a table's name has 1 to %u bytes",
			      IPCMAP_TABLE_MAX);
	r = begin_write(map);
	if (r)
		return im_why(&w, r, "%s", ipcmap_strerror(r));
	r = im_snapshot_publish(map, table, pairs, n, ret_version, &w);
	end_write(map);
	if (r && why && why_cap && !why[0])
		im_why(&w, r, "%s", ipcmap_strerror(r));
	return r;
}

IPCMAP_API int ipcmap_snapshot_open(struct ipcmap *map, const char *table, uint64_t version,
				    struct ipcmap_snapshot **ret_snap)
{
	if (!map || bad_name(table) || !ret_snap)
		return IPCMAP_INVALID;
	return im_view_open(map, table, version, ret_snap);
}

IPCMAP_API void ipcmap_snapshot_close(struct ipcmap_snapshot *snap)
{
	if (snap)
		im_view_close(snap);
}

IPCMAP_API int ipcmap_snapshot_get(struct ipcmap_snapshot *snap, const void *key, size_t key_len,
				   const void **ret_val, size_t *ret_len)
{
	int r;

	if (unlikely(!snap || !key || key_len - 1 >= IPCMAP_KEY_MAX || !ret_val))
		return IPCMAP_INVALID;
	r = im_view_ready(snap);
	if (unlikely(r))
		return r;
	return im_image_get(&snap->image, key, key_len, ret_val, ret_len);
}

IPCMAP_API int ipcmap_snapshot_each(struct ipcmap_snapshot *snap,
				    int (*each)(void *arg, const struct ipcmap_pair *pair),
				    void *arg)
{
	struct ipcmap_pair p;
	uint64_t off;
	int r;

	if (!snap || !each)
		return IPCMAP_INVALID;
	r = im_view_ready(snap);
	off = snap->image.items_off;
	for (uint32_t i = 0; r == 0 && i < snap->image.n; i++)
		r = im_image_item(&snap->image, &off, &p) ? each(arg, &p) : IPCMAP_CORRUPT;
	return r;
}

IPCMAP_API uint64_t ipcmap_snapshot_version(const struct ipcmap_snapshot *snap)
{
	return snap ? snap->version : 0;
}

IPCMAP_API uint64_t ipcmap_snapshot_count(const struct ipcmap_snapshot *snap)
{
	return snap ? snap->image.n : 0;
}

IPCMAP_API int ipcmap_snapshot_newer(const struct ipcmap_snapshot *snap)
{
	/* ord(switch): who opens the newer one then finds it */
	return snap && im_load_acq(snap->current) != snap->was;
}

IPCMAP_API int ipcmap_snapshot_refresh(struct ipcmap *map, const char *table,
				       struct ipcmap_snapshot **snap)
{
	struct ipcmap_snapshot *now;
	int r;

	if (!map || bad_name(table) || !snap)
		return IPCMAP_INVALID;
	if (*snap && !ipcmap_snapshot_newer(*snap))
		return 0;
	r = im_view_open(map, table, 0, &now);
	if (r)
		return r;
	if (*snap)
		im_view_close(*snap);
	*snap = now;
	return 1;
}

IPCMAP_API int ipcmap_snapshot_holders(struct ipcmap *map,
				       int (*each)(void *arg,
						   const struct ipcmap_snapshot_holder *holder),
				       void *arg)
{
	if (!map || !each)
		return IPCMAP_INVALID;
	return im_snapshot_holders(map, each, arg);
}

IPCMAP_API int ipcmap_snapshot_wait(struct ipcmap *map, const char *table, uint64_t version,
				    uint64_t deadline_ns, uint64_t *ret_version)
{
	if (!map || bad_name(table))
		return IPCMAP_INVALID;
	return im_snapshot_wait(map, table, version,
				deadline_ns ? deadline_ns : map->deadline_ns, ret_version);
}

IPCMAP_API int ipcmap_snapshot_list(struct ipcmap *map,
				    int (*each)(void *arg,
						const struct ipcmap_snapshot_info *info),
				    void *arg)
{
	if (!map || !each)
		return IPCMAP_INVALID;
	return im_snapshot_list(map, each, arg);
}

IPCMAP_API int ipcmap_snapshot_rollback(struct ipcmap *map, const char *table, uint64_t version,
					uint64_t *ret_version)
{
	int r;

	if (!map || bad_name(table))
		return IPCMAP_INVALID;
	r = begin_write(map);
	if (r)
		return r;
	r = im_snapshot_rollback(map, table, version, ret_version);
	end_write(map);
	return r;
}

IPCMAP_API int ipcmap_snapshot_drop(struct ipcmap *map, const char *table)
{
	int r;

	if (!map || bad_name(table))
		return IPCMAP_INVALID;
	r = begin_write(map);
	if (r)
		return r;
	r = im_snapshot_drop(map, table);
	end_write(map);
	return r;
}
