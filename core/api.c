/* SPDX-License-Identifier: MIT */
/*
 * api.c - implements ipcmap.h: check arguments and handle, call down
 */
#include "api.h"
#include "check.h"
#include "commit.h"
#include "compact.h"
#include "consistent.h"
#include "event.h"
#include "lease.h"
#include "many.h"
#include "os.h"
#include "prefix.h"
#include "read.h"
#include "repair.h"
#include "scan.h"
#include "stats.h"
#include "write.h"

#include <stdlib.h>

/* ---- what every call checks ---- */

static bool bad_how(const struct ipcmap_put_options *how)
{
	const unsigned known = IPCMAP_IF_ABSENT | IPCMAP_IF_PRESENT | IPCMAP_IF_VERSION |
			       IPCMAP_IF_EQUAL;

	return how && (how->struct_size != sizeof(*how) || how->flags & ~known ||
		       how->type > 255 || how->jitter > 100 ||
		       (how->flags & IPCMAP_IF_EQUAL && !how->equal && how->equal_len));
}

static void count_put(struct ipcmap *m)
{
	struct fmt_line *l = im_line(m->seg);

	im_count(m->seg, l, &l->puts);
}

static void count_del(struct ipcmap *m)
{
	struct fmt_line *l = im_line(m->seg);

	im_count(m->seg, l, &l->dels);
}

/* ---- open ---- */

/* why is where it should be only in a structure of the right size. */
static int bad_open(const struct ipcmap_options *opt)
{
	struct im_why why = {NULL, 0};

	if (opt && opt->struct_size == sizeof(*opt))
		why = (struct im_why){opt->why, opt->why_cap};
	return im_why(&why, IPCMAP_INVALID, "a name, the flags or the mode are out of range");
}

IPCMAP_API int ipcmap_open(const char *name, const struct ipcmap_options *opt,
			   struct ipcmap **ret_map)
{
	const unsigned known = IPCMAP_CREATE | IPCMAP_EXCL | IPCMAP_RDONLY | IPCMAP_APPLY |
			       IPCMAP_FOREIGN | IPCMAP_RESERVE | IPCMAP_HUGE;

	if (!name || !ret_map ||
	    (opt && (opt->struct_size != sizeof(*opt) || opt->flags & ~known || opt->mode & ~0777u)))
		return bad_open(opt);
	return im_map_open(name, opt, ret_map);
}

IPCMAP_API void ipcmap_close(struct ipcmap *map)
{
	if (im_has_prefix(map))
		im_prefix_close(map);
	else if (map)
		im_map_close(map);
}

IPCMAP_API int ipcmap_unlink(const char *name)
{
	const struct im_why quiet = {NULL, 0};
	char path[4096];
	int r;

	if (!name)
		return IPCMAP_INVALID;
	r = im_seg_path(name, path, &quiet);
	return r ? r : im_seg_unlink(path, &quiet);
}

IPCMAP_API int ipcmap_open_prefix(struct ipcmap *map, const void *prefix, size_t prefix_len,
				  struct ipcmap **ret_map)
{
	if (!map || !prefix || !prefix_len || !ret_map ||
	    prefix_len >= IPCMAP_KEY_MAX - map->prefix_len)
		return IPCMAP_INVALID;
	return im_prefix_open(map, prefix, prefix_len, ret_map);
}

/* ---- read ---- */

IPCMAP_API int ipcmap_get(struct ipcmap *map, const void *key, size_t key_len, void *buf,
			  size_t cap, size_t *ret_len)
{
	if (unlikely(!map))
		return IPCMAP_INVALID;
	if (unlikely(map->prefix_len))
		return im_prefix_get(map, key, key_len, buf, cap, ret_len);
	return im_read_get(map, key, key_len, buf, cap, ret_len);
}

IPCMAP_API int ipcmap_getx(struct ipcmap *map, const void *key, size_t key_len,
			   struct ipcmap_value *ret)
{
	if (bad_key(map, key, key_len) || bad_value(ret))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_getx(map, key, key_len, ret);
	return im_read_getx(map, key, key_len, ret);
}

IPCMAP_API int ipcmap_get_alloc(struct ipcmap *map, const void *key, size_t key_len,
				void **ret_buf, size_t *ret_len)
{
	struct ipcmap_value v = {0};
	unsigned char *buf = NULL;
	int r;

	if (bad_key(map, key, key_len) || !ret_buf)
		return IPCMAP_INVALID;
	/* the value may have grown between asking and copying: at most a few times */
	for (unsigned i = 0; i < 16; i++) {
		r = ipcmap_getx(map, key, key_len, &v);
		if (r != IPCMAP_SHORT && !(r == 0 && !buf))
			break;
		free(buf);
		v.cap = v.len;
		v.buf = buf = malloc(v.cap + 1);
		if (!buf)
			return IPCMAP_NOMEM;
		r = IPCMAP_BUSY;
	}
	if (r) {
		free(buf);
		return r;
	}
	buf[v.len] = '\0';
	*ret_buf = buf;
	if (ret_len)
		*ret_len = v.len;
	return 0;
}

IPCMAP_API int ipcmap_exists(struct ipcmap *map, const void *key, size_t key_len)
{
	if (bad_key(map, key, key_len))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_exists(map, key, key_len);
	return im_read_exists(map, key, key_len);
}

/* ---- write ---- */

static int put(struct ipcmap *map, const void *key, size_t key_len, const void *val,
	       size_t val_len, const struct ipcmap_put_options *how,
	       struct ipcmap_value *ret_old)
{
	int r;

	if (unlikely(bad_key(map, key, key_len) || (!val && val_len) || bad_how(how) ||
		     (ret_old && bad_value(ret_old))))
		return IPCMAP_INVALID;
	if (unlikely(val_len > IPCMAP_VAL_MAX))
		return IPCMAP_TOOBIG;
	if (unlikely(map->prefix_len))
		return im_prefix_putx(map, key, key_len, val, val_len, how, ret_old);
	r = begin_write(map);
	if (unlikely(r))
		return r;
	r = im_write_put(map, key, key_len, val, val_len, how, ret_old);
	end_write(map);
	if (r == 0)
		count_put(map);
	return r;
}

IPCMAP_API int ipcmap_put(struct ipcmap *map, const void *key, size_t key_len, const void *val,
			  size_t val_len, const struct ipcmap_put_options *how)
{
	return put(map, key, key_len, val, val_len, how, NULL);
}

IPCMAP_API int ipcmap_putx(struct ipcmap *map, const void *key, size_t key_len, const void *val,
			   size_t val_len, const struct ipcmap_put_options *how,
			   struct ipcmap_value *ret_old)
{
	return put(map, key, key_len, val, val_len, how, ret_old);
}

static int del(struct ipcmap *map, const void *key, size_t key_len,
	       const struct ipcmap_put_options *only_if, struct ipcmap_value *ret_old)
{
	int r;

	if (bad_key(map, key, key_len) || bad_how(only_if) ||
	    (only_if && only_if->flags & IPCMAP_IF_ABSENT))
		return IPCMAP_INVALID;
	if (unlikely(map->prefix_len))
		return ret_old ? im_prefix_take(map, key, key_len, ret_old)
			       : im_prefix_delx(map, key, key_len, only_if);
	r = begin_write(map);
	if (r)
		return r;
	r = im_write_del(map, key, key_len, only_if, ret_old);
	end_write(map);
	if (r == 0)
		count_del(map);
	return r;
}

IPCMAP_API int ipcmap_del(struct ipcmap *map, const void *key, size_t key_len)
{
	return del(map, key, key_len, NULL, NULL);
}

IPCMAP_API int ipcmap_delx(struct ipcmap *map, const void *key, size_t key_len,
			   const struct ipcmap_put_options *only_if)
{
	return del(map, key, key_len, only_if, NULL);
}

IPCMAP_API int ipcmap_take(struct ipcmap *map, const void *key, size_t key_len,
			   struct ipcmap_value *ret_old)
{
	if (bad_value(ret_old))
		return IPCMAP_INVALID;
	return del(map, key, key_len, NULL, ret_old);
}

IPCMAP_API int ipcmap_touch(struct ipcmap *map, const void *key, size_t key_len,
			    const struct ipcmap_put_options *how)
{
	int r;

	if (bad_key(map, key, key_len) || !how || bad_how(how) ||
	    how->flags & IPCMAP_IF_ABSENT)
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_touch(map, key, key_len, how);
	r = begin_write(map);
	if (r)
		return r;
	r = im_write_touch(map, key, key_len, how);
	end_write(map);
	return r;
}

/* Half of the life is left, or more: nothing is written. */
IPCMAP_API int ipcmap_get_touch(struct ipcmap *map, const void *key, size_t key_len,
				uint64_t ttl_ns, struct ipcmap_value *ret)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	int r = ipcmap_getx(map, key, key_len, ret);

	if (r || ret->ttl_left_ns == IPCMAP_TTL_NONE || ret->ttl_left_ns >= ttl_ns / 2)
		return r;
	how.flags = IPCMAP_IF_VERSION;
	how.version = ret->version;
	how.ttl_ns = ttl_ns;
	r = ipcmap_touch(map, key, key_len, &how);
	/* deleted or replaced since it was read: the value was current then */
	return r == IPCMAP_NOTFOUND || r == IPCMAP_MISMATCH ? 0 : r;
}

IPCMAP_API int ipcmap_add(struct ipcmap *map, const void *key, size_t key_len, int64_t delta,
			  const struct ipcmap_add_options *how, int64_t *ret_now)
{
	const struct ipcmap_add_options plain = IPCMAP_ADD_INIT;
	int r;

	if (bad_key(map, key, key_len) ||
	    (how && (how->struct_size != sizeof(*how) || how->min > how->max || how->type > 255 ||
		     how->ttl_ns == IPCMAP_TTL_KEEP)))
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_add(map, key, key_len, delta, how, ret_now);
	r = begin_write(map);
	if (r)
		return r;
	r = im_write_add(map, key, key_len, delta, how ? how : &plain, ret_now);
	end_write(map);
	if (r == 0)
		count_put(map);
	return r;
}

IPCMAP_API int ipcmap_mget(struct ipcmap *map, struct ipcmap_mget *items, size_t n)
{
	if (!map || (!items && n) || n > INT32_MAX)
		return IPCMAP_INVALID;
	for (size_t i = 0; i < n; i++)
		if (bad_key(map, items[i].key, items[i].key_len) || bad_value(&items[i].value))
			return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_mget(map, items, n);
	return im_many_get(map, items, n);
}

IPCMAP_API int ipcmap_mget_consistent(struct ipcmap *map, struct ipcmap_mget *items, size_t n,
				      uint64_t deadline_ns)
{
	int r;

	if (!map || !items || !n || n > IPCMAP_COMMIT_MAX)
		return IPCMAP_INVALID;
	for (size_t i = 0; i < n; i++)
		if (bad_key(map, items[i].key, items[i].key_len) || bad_value(&items[i].value))
			return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_mget_consistent(map, items, n, deadline_ns);
	r = im_consistent_get(map, items, n);
	if (r != IPCMAP_BUSY || map->seg->rdonly)
		return r;
	r = begin_write(map);
	if (r)
		return r;
	r = im_consistent_get_locked(map, items, n, deadline_ns);
	end_write(map);
	return r;
}

static bool bad_change(const struct ipcmap *map, const struct ipcmap_change *c)
{
	const unsigned known = IPCMAP_IF_ABSENT | IPCMAP_IF_PRESENT | IPCMAP_IF_VERSION |
			       IPCMAP_CHANGE_DEL;

	return bad_key(map, c->key, c->key_len) || (!c->val && c->val_len) || c->flags & ~known ||
	       c->type > 255 || (c->flags & IPCMAP_CHANGE_DEL && c->val_len);
}

static void count_changes(struct ipcmap *map, const struct ipcmap_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (changes[i].flags & IPCMAP_CHANGE_DEL)
			count_del(map);
		else
			count_put(map);
	}
}

IPCMAP_API int ipcmap_commit(struct ipcmap *map, struct ipcmap_change *changes, size_t n,
			     uint64_t deadline_ns)
{
	int r;

	if (!map || !changes || !n || n > IPCMAP_COMMIT_MAX)
		return IPCMAP_INVALID;
	for (size_t i = 0; i < n; i++) {
		if (bad_change(map, &changes[i]))
			return IPCMAP_INVALID;
		if (changes[i].val_len > IPCMAP_VAL_MAX)
			return IPCMAP_TOOBIG;
	}
	if (!map->waits)
		return IPCMAP_VERSION; /* a library from before groups may have it attached */
	if (im_has_prefix(map))
		return im_prefix_commit(map, changes, n, deadline_ns);
	r = begin_write(map);
	if (r)
		return r;
	r = im_commit(map, changes, n, deadline_ns);
	end_write(map);
	if (r == 0)
		count_changes(map, changes, n);
	return r;
}

/*
 * A lease does not know its key, so all are voided, before the first key is shown: what was
 * loaded before this call is not stored after it.
 */
static int void_leases(struct ipcmap *m)
{
	int r = m->seg->rdonly ? IPCMAP_READONLY : 0;

	/* ord(lease): what the caller changed elsewhere, then the look for leases. Pairs with
	 * im_fill_ask(). */
	im_full_barrier();
	for (uint32_t k = 0; k < m->n_shards && !r; k++) {
		/* a writer at work may have ended the last lease, and not stored its value yet */
		if (!im_load32_acq(&m->shards[k].leases) && !im_load32_acq(&m->shards[k].lock))
			continue;
		r = begin_write(m);
		if (r)
			break;
		r = im_lease_void_all(m, k);
		end_write(m);
	}
	return r;
}

IPCMAP_API int ipcmap_del_prefix(struct ipcmap *map, const void *prefix, size_t prefix_len,
				 uint64_t *ret_deleted)
{
	int r;

	if (!map || !prefix || !prefix_len)
		return IPCMAP_INVALID;
	r = void_leases(map);
	if (r)
		return r;
	if (im_has_prefix(map))
		return im_prefix_del_prefix(map, prefix, prefix_len, ret_deleted);
	return im_many_del_prefix(map, prefix, prefix_len, ret_deleted);
}

IPCMAP_API int ipcmap_tune(struct ipcmap *map, const struct ipcmap_options *opt)
{
	struct im_why why;
	int r;

	if (!map || !opt || opt->struct_size != sizeof(*opt))
		return IPCMAP_INVALID;
	why = (struct im_why){opt->why, opt->why_cap};
	r = begin_write(map);
	if (r)
		return im_why(&why, r, "%s: %s", map->seg->name, ipcmap_strerror(r));
	end_write(map);
	return im_map_tune(im_has_prefix(map) ? map->whole : map, opt);
}

IPCMAP_API int ipcmap_clear(struct ipcmap *map)
{
	int r;

	if (!map)
		return IPCMAP_INVALID;
	if (im_has_prefix(map)) {
		r = void_leases(map);
		return r ? r : im_prefix_del_prefix(map, NULL, 0, NULL);
	}
	r = begin_write(map);
	if (r)
		return r;
	r = im_write_clear(map);
	end_write(map);
	return r;
}

/* ---- whole map ---- */

IPCMAP_API int ipcmap_entries(struct ipcmap *map, uint64_t *ret_entries)
{
	if (!map || !ret_entries)
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_entries(map, ret_entries);
	*ret_entries = im_stats_entries(map);
	return 0;
}

IPCMAP_API int ipcmap_scan(struct ipcmap *map, uint64_t *cursor, const void *prefix,
			   size_t prefix_len, unsigned flags,
			   int (*each)(void *arg, const struct ipcmap_item *item), void *arg)
{
	if (!map || !cursor || !each || (!prefix && prefix_len) || flags & ~IPCMAP_SCAN_KEYS)
		return IPCMAP_INVALID;
	if (im_has_prefix(map))
		return im_prefix_scan(map, cursor, prefix, prefix_len, flags, each, arg);
	return im_scan(map, cursor, prefix, prefix_len, flags, each, arg);
}

IPCMAP_API int ipcmap_stat(struct ipcmap *map, struct ipcmap_stat *ret)
{
	if (!map || !ret || ret->struct_size != sizeof(*ret))
		return IPCMAP_INVALID;
	return im_stats_get(map, ret);
}

IPCMAP_API int ipcmap_check(struct ipcmap *map, void (*report)(void *arg, const char *line),
			    void *arg)
{
	int r;

	if (!map)
		return IPCMAP_INVALID;
	if (map->seg->rdonly)
		return im_check(map, report, arg);
	r = begin_write(map);
	if (r)
		return r;
	r = im_check(map, report, arg);
	end_write(map);
	return r;
}

IPCMAP_API int ipcmap_compact(struct ipcmap *map, const struct ipcmap_compact_options *how,
			      struct ipcmap_compact *ret)
{
	const struct ipcmap_compact_options plain = IPCMAP_COMPACT_INIT;
	const unsigned known = IPCMAP_COMPACT_DRY_RUN | IPCMAP_COMPACT_EXPIRED;
	struct ipcmap_compact mine;
	int r;

	if (!map || (how && (how->struct_size != sizeof(*how) || how->flags & ~known)))
		return IPCMAP_INVALID;
	r = begin_write(map);
	if (r)
		return r;
	r = im_compact(map, how ? how : &plain, ret ? ret : &mine);
	end_write(map);
	return r;
}

IPCMAP_API int ipcmap_repair(const char *name, const struct ipcmap_repair_options *how,
			     struct ipcmap_repair *ret)
{
	const struct ipcmap_repair_options plain = IPCMAP_REPAIR_INIT;
	const unsigned known = IPCMAP_REPAIR_DRY_RUN | IPCMAP_REPAIR_SALVAGE |
			       IPCMAP_REPAIR_DISCARD | IPCMAP_REPAIR_FOREIGN;
	struct ipcmap_repair mine;

	if (!ret)
		ret = &mine;
	memset(ret, 0, sizeof(*ret));
	if (!name || (how && (how->struct_size != sizeof(*how) || how->flags & ~known)))
		return IPCMAP_INVALID;
	if (how && how->why && how->why_cap)
		how->why[0] = '\0';
	return im_repair(name, how ? how : &plain, ret);
}

IPCMAP_API void ipcmap_interrupt(struct ipcmap *map)
{
	if (!map)
		return;
	im_seg_interrupt(map->seg);
	/* those that sleep on a bell look again */
	if (map->waits && !map->seg->rdonly)
		im_event_ring_all(map);
}

IPCMAP_API const char *ipcmap_why(struct ipcmap *map)
{
	return map ? map->seg->why : "";
}
