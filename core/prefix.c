/* SPDX-License-Identifier: MIT */
/*
 * prefix.c - a handle that sees and writes only the keys under a prefix
 *
 * Such a handle is a copy of the one it was made from, with the prefix. A call puts the prefix
 * before the key, on the stack, and makes the same call with the handle that has none; what a
 * scan, a loader or a watch is shown loses the prefix again. Nothing of it is in the segment,
 * and no other process knows; so the promises are those of the calls underneath, and a kill
 * leaves what it leaves there.
 *
 * It is no border: whoever can attach the segment can open a handle without a prefix.
 */
#include "prefix.h"

#include "many.h"
#include "watch.h"

#include <stdlib.h>

#define SHORT_MAX 512u /* longer ones have a stack frame of their own */
#define BATCH 16u
#define BATCH_KEY_MAX 256u

/* ---- the handle ---- */

int im_prefix_open(struct ipcmap *m, const void *prefix, size_t prefix_len,
		   struct ipcmap **ret_map)
{
	size_t len = m->prefix_len + prefix_len;
	size_t places = m->n_shards > 1 ? m->n_shards : 2;
	size_t head = sizeof(*m) + places * sizeof(m->at[0]);
	struct ipcmap *sub = malloc(head + len);
	unsigned char *p;

	if (!sub)
		return IPCMAP_NOMEM;
	memcpy(sub, m, head);
	p = (unsigned char *)sub + head;
	if (m->prefix_len)
		memcpy(p, m->prefix, m->prefix_len);
	memcpy(p + m->prefix_len, prefix, prefix_len);
	sub->prefix = p;
	sub->prefix_len = (uint32_t)len;
	sub->whole = m->prefix_len ? m->whole : m;
	*ret_map = sub;
	return 0;
}

void im_prefix_close(struct ipcmap *m)
{
	free(m);
}

/* ---- one key ---- */

/* A call, and what it needs besides the key. */
struct call {
	int (*make)(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len);
	const void *in;
	size_t in_len;
	const void *how;
	void *out;
	void *out_2;
	int64_t delta;
};

static int make_in(const struct ipcmap *m, const void *key, size_t key_len, const struct call *c,
		   unsigned char *whole_key)
{
	memcpy(whole_key, m->prefix, m->prefix_len);
	memcpy(whole_key + m->prefix_len, key, key_len);
	return c->make(c, m->whole, whole_key, m->prefix_len + key_len);
}

static im_cold int make_long(const struct ipcmap *m, const void *key, size_t key_len,
			     const struct call *c)
{
	unsigned char whole_key[IPCMAP_KEY_MAX];

	return make_in(m, key, key_len, c, whole_key);
}

static int make(const struct ipcmap *m, const void *key, size_t key_len, const struct call *c)
{
	unsigned char whole_key[SHORT_MAX];

	if (!key || !key_len || key_len > IPCMAP_KEY_MAX - m->prefix_len)
		return IPCMAP_INVALID;
	if (m->prefix_len + key_len > sizeof(whole_key))
		return make_long(m, key, key_len, c);
	return make_in(m, key, key_len, c, whole_key);
}

static int make_get(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_get(whole, key, key_len, c->out, c->in_len, c->out_2);
}

int im_prefix_get(struct ipcmap *m, const void *key, size_t key_len, void *buf, size_t cap,
		  size_t *ret_len)
{
	const struct call c = {.make = make_get, .out = buf, .in_len = cap, .out_2 = ret_len};

	return make(m, key, key_len, &c);
}

static int make_getx(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_getx(whole, key, key_len, c->out);
}

int im_prefix_getx(struct ipcmap *m, const void *key, size_t key_len, struct ipcmap_value *ret)
{
	const struct call c = {.make = make_getx, .out = ret};

	return make(m, key, key_len, &c);
}

static int make_pin(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_pin(whole, key, key_len, c->out);
}

int im_prefix_pin(struct ipcmap *m, const void *key, size_t key_len, struct ipcmap_pin *ret)
{
	const struct call c = {.make = make_pin, .out = ret};

	return make(m, key, key_len, &c);
}

static int make_exists(const struct call *c, struct ipcmap *whole, const void *key,
		       size_t key_len)
{
	(void)c;
	return ipcmap_exists(whole, key, key_len);
}

int im_prefix_exists(struct ipcmap *m, const void *key, size_t key_len)
{
	const struct call c = {.make = make_exists};

	return make(m, key, key_len, &c);
}

static int make_putx(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	if (c->out)
		return ipcmap_putx(whole, key, key_len, c->in, c->in_len, c->how, c->out);
	return ipcmap_put(whole, key, key_len, c->in, c->in_len, c->how);
}

int im_prefix_putx(struct ipcmap *m, const void *key, size_t key_len, const void *val,
		   size_t val_len, const struct ipcmap_put_options *how,
		   struct ipcmap_value *ret_old)
{
	const struct call c = {
		.make = make_putx, .in = val, .in_len = val_len, .how = how, .out = ret_old};

	return make(m, key, key_len, &c);
}

static int make_delx(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_delx(whole, key, key_len, c->how);
}

int im_prefix_delx(struct ipcmap *m, const void *key, size_t key_len,
		   const struct ipcmap_put_options *only_if)
{
	const struct call c = {.make = make_delx, .how = only_if};

	return make(m, key, key_len, &c);
}

static int make_take(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_take(whole, key, key_len, c->out);
}

int im_prefix_take(struct ipcmap *m, const void *key, size_t key_len,
		   struct ipcmap_value *ret_old)
{
	const struct call c = {.make = make_take, .out = ret_old};

	return make(m, key, key_len, &c);
}

static int make_touch(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_touch(whole, key, key_len, c->how);
}

int im_prefix_touch(struct ipcmap *m, const void *key, size_t key_len,
		    const struct ipcmap_put_options *how)
{
	const struct call c = {.make = make_touch, .how = how};

	return make(m, key, key_len, &c);
}

static int make_add(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_add(whole, key, key_len, c->delta, c->how, c->out);
}

int im_prefix_add(struct ipcmap *m, const void *key, size_t key_len, int64_t delta,
		  const struct ipcmap_add_options *how, int64_t *ret_now)
{
	const struct call c = {.make = make_add, .delta = delta, .how = how, .out = ret_now};

	return make(m, key, key_len, &c);
}

/* ---- many ---- */

static bool fits_batch(const struct ipcmap *m, const struct ipcmap_mget *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (m->prefix_len + items[i].key_len > BATCH_KEY_MAX)
			return false;
	return true;
}

static int get_batch(const struct ipcmap *m, struct ipcmap_mget *items, size_t n)
{
	unsigned char keys[BATCH][BATCH_KEY_MAX];
	struct ipcmap_mget whole[BATCH];
	int hits;

	for (size_t i = 0; i < n; i++) {
		memcpy(keys[i], m->prefix, m->prefix_len);
		memcpy(keys[i] + m->prefix_len, items[i].key, items[i].key_len);
		whole[i] = items[i];
		whole[i].key = keys[i];
		whole[i].key_len += m->prefix_len;
	}
	hits = im_many_get(m->whole, whole, n);
	for (size_t i = 0; i < n; i++) {
		items[i].rc = whole[i].rc;
		items[i].value = whole[i].value;
	}
	return hits;
}

static int get_singly(struct ipcmap *m, struct ipcmap_mget *items, size_t n)
{
	int hits = 0;

	for (size_t i = 0; i < n; i++) {
		items[i].rc = im_prefix_getx(m, items[i].key, items[i].key_len, &items[i].value);
		hits += items[i].rc == 0;
	}
	return hits;
}

int im_prefix_mget(struct ipcmap *m, struct ipcmap_mget *items, size_t n)
{
	int hits = 0;

	for (size_t i = 0; i < n; i++)
		if (items[i].key_len > IPCMAP_KEY_MAX - m->prefix_len)
			return IPCMAP_INVALID;
	for (size_t at = 0; at < n; at += BATCH) {
		size_t batch = n - at < BATCH ? n - at : BATCH;

		hits += fits_batch(m, items + at, batch) ? get_batch(m, items + at, batch)
							 : get_singly(m, items + at, batch);
	}
	return hits;
}

/* Copies of @n keys with the prefix, one behind the other; NULL: no memory. */
static unsigned char *copy_keys(const struct ipcmap *m, const void *items, size_t size, size_t n)
{
	/* both kinds of items begin with key and key_len */
	const struct {
		const void *key;
		size_t key_len;
	} *it;
	unsigned char *all, *at;
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		it = (const void *)((const unsigned char *)items + i * size);
		len += m->prefix_len + it->key_len;
	}
	all = at = malloc(len);
	for (size_t i = 0; i < n && all; i++) {
		it = (const void *)((const unsigned char *)items + i * size);
		memcpy(at, m->prefix, m->prefix_len);
		memcpy(at + m->prefix_len, it->key, it->key_len);
		at += m->prefix_len + it->key_len;
	}
	return all;
}
static_assert(offsetof(struct ipcmap_mget, key) == 0 &&
		      offsetof(struct ipcmap_mget, key_len) == sizeof(void *) &&
		      offsetof(struct ipcmap_change, key) == 0 &&
		      offsetof(struct ipcmap_change, key_len) == sizeof(void *),
	      "copy_keys() takes both");

int im_prefix_mget_consistent(struct ipcmap *m, struct ipcmap_mget *items, size_t n,
			      uint64_t deadline_ns)
{
	struct ipcmap_mget whole[IPCMAP_COMMIT_MAX];
	unsigned char *keys, *at;
	int r;

	for (size_t i = 0; i < n; i++)
		if (items[i].key_len > IPCMAP_KEY_MAX - m->prefix_len)
			return IPCMAP_INVALID;
	keys = at = copy_keys(m, items, sizeof(*items), n);
	if (!keys)
		return IPCMAP_NOMEM;
	for (size_t i = 0; i < n; i++) {
		whole[i] = items[i];
		whole[i].key = at;
		whole[i].key_len += m->prefix_len;
		at += whole[i].key_len;
	}
	r = ipcmap_mget_consistent(m->whole, whole, n, deadline_ns);
	for (size_t i = 0; i < n && r >= 0; i++) {
		items[i].rc = whole[i].rc;
		items[i].value = whole[i].value;
	}
	free(keys);
	return r;
}

int im_prefix_commit(struct ipcmap *m, struct ipcmap_change *changes, size_t n,
		     uint64_t deadline_ns)
{
	struct ipcmap_change whole[IPCMAP_COMMIT_MAX];
	unsigned char *keys, *at;
	int r;

	for (size_t i = 0; i < n; i++)
		if (changes[i].key_len > IPCMAP_KEY_MAX - m->prefix_len)
			return IPCMAP_INVALID;
	keys = at = copy_keys(m, changes, sizeof(*changes), n);
	if (!keys)
		return IPCMAP_NOMEM;
	for (size_t i = 0; i < n; i++) {
		whole[i] = changes[i];
		whole[i].key = at;
		whole[i].key_len += m->prefix_len;
		whole[i].rc = 0;
		at += whole[i].key_len;
	}
	r = ipcmap_commit(m->whole, whole, n, deadline_ns);
	for (size_t i = 0; i < n; i++) {
		changes[i].rc = whole[i].rc;
		changes[i].version = whole[i].version;
	}
	free(keys);
	return r;
}

struct showing {
	size_t prefix_len;
	int (*each)(void *arg, const struct ipcmap_item *item);
	void *arg;
};

static int show(void *arg, const struct ipcmap_item *item)
{
	const struct showing *s = arg;
	struct ipcmap_item mine = *item;

	if (mine.key_len <= s->prefix_len)
		return 0; /* the prefix itself is no key under it */
	mine.key = (const unsigned char *)mine.key + s->prefix_len;
	mine.key_len -= s->prefix_len;
	return s->each(s->arg, &mine);
}

struct scanning {
	uint64_t *cursor;
	unsigned flags;
	struct showing show;
};

static int make_scan(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	struct scanning *s = c->out;

	return ipcmap_scan(whole, s->cursor, key, key_len, s->flags, show, &s->show);
}

int im_prefix_scan(struct ipcmap *m, uint64_t *cursor, const void *prefix, size_t prefix_len,
		   unsigned flags, int (*each)(void *arg, const struct ipcmap_item *item),
		   void *arg)
{
	struct scanning s = {cursor, flags, {m->prefix_len, each, arg}};
	const struct call c = {.make = make_scan, .out = &s};

	if (prefix_len)
		return make(m, prefix, prefix_len, &c);
	return make_scan(&c, m->whole, m->prefix, m->prefix_len);
}

static int count(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	++*(uint64_t *)arg;
	return 0;
}

int im_prefix_entries(struct ipcmap *m, uint64_t *ret_entries)
{
	uint64_t cursor = 0, n = 0;
	int r = im_prefix_scan(m, &cursor, NULL, 0, IPCMAP_SCAN_KEYS, count, &n);

	if (r == 0)
		*ret_entries = n;
	return r;
}

/* The key that is the prefix itself is not under it, and stays. */
static int delete_shown(void *arg, const struct ipcmap_item *item)
{
	const struct call *c = arg;
	struct ipcmap_put_options only_if = IPCMAP_PUT_INIT;
	int r;

	only_if.flags = IPCMAP_IF_VERSION;
	only_if.version = item->version;
	r = im_prefix_delx(c->out, item->key, item->key_len, &only_if);
	*(uint64_t *)c->out_2 += r == 0;
	return r == IPCMAP_NOTFOUND || r == IPCMAP_MISMATCH ? 0 : r;
}

int im_prefix_del_prefix(struct ipcmap *m, const void *prefix, size_t prefix_len,
			 uint64_t *ret_deleted)
{
	uint64_t cursor = 0, n = 0;
	struct call c = {.out = m, .out_2 = &n};
	int r = im_prefix_scan(m, &cursor, prefix, prefix_len, IPCMAP_SCAN_KEYS, delete_shown, &c);

	if (ret_deleted)
		*ret_deleted = n;
	return r;
}

/* ---- loading ---- */

struct loading {
	size_t prefix_len;
	int (*load)(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret);
	void *arg;
};

static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	const struct loading *l = arg;

	return l->load(l->arg, (const unsigned char *)key + l->prefix_len,
		       key_len - l->prefix_len, ret);
}

/* The loader is in in. */
static int make_fill(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_fill(whole, key, key_len, c->how, load, (void *)(uintptr_t)c->in, c->out);
}

int im_prefix_fill(struct ipcmap *m, const void *key, size_t key_len,
		   const struct ipcmap_fill_options *how,
		   int (*loader)(void *arg, const void *key, size_t key_len,
				 struct ipcmap_loaded *ret),
		   void *arg, struct ipcmap_value *ret)
{
	const struct loading l = {m->prefix_len, loader, arg};
	const struct call c = {.make = make_fill, .in = &l, .how = how, .out = ret};

	return make(m, key, key_len, &c);
}

static int make_fill_alloc(const struct call *c, struct ipcmap *whole, const void *key,
			   size_t key_len)
{
	return ipcmap_fill_alloc(whole, key, key_len, c->how, load, (void *)(uintptr_t)c->in,
				 c->out, c->out_2);
}

int im_prefix_fill_alloc(struct ipcmap *m, const void *key, size_t key_len,
			 const struct ipcmap_fill_options *how,
			 int (*loader)(void *arg, const void *key, size_t key_len,
				       struct ipcmap_loaded *ret),
			 void *arg, void **ret_buf, size_t *ret_len)
{
	const struct loading l = {m->prefix_len, loader, arg};
	const struct call c = {
		.make = make_fill_alloc, .in = &l, .how = how, .out = ret_buf, .out_2 = ret_len};

	return make(m, key, key_len, &c);
}

static int make_lease(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_lease(whole, key, key_len, c->how, c->out, c->out_2);
}

int im_prefix_lease(struct ipcmap *m, const void *key, size_t key_len,
		    const struct ipcmap_fill_options *how, struct ipcmap_lease *ret_lease,
		    struct ipcmap_value *ret)
{
	const struct call c = {.make = make_lease, .how = how, .out = ret_lease, .out_2 = ret};

	return make(m, key, key_len, &c);
}

static int make_lease_put(const struct call *c, struct ipcmap *whole, const void *key,
			  size_t key_len)
{
	return ipcmap_lease_put(whole, key, key_len, c->out, c->in, c->in_len, c->how);
}

int im_prefix_lease_put(struct ipcmap *m, const void *key, size_t key_len,
			const struct ipcmap_lease *lease, const void *val, size_t val_len,
			const struct ipcmap_fill_options *how)
{
	struct ipcmap_lease copy = *lease;
	const struct call c = {
		.make = make_lease_put, .in = val, .in_len = val_len, .how = how, .out = &copy};

	return make(m, key, key_len, &c);
}

static int make_lease_fail(const struct call *c, struct ipcmap *whole, const void *key,
			   size_t key_len)
{
	return ipcmap_lease_fail(whole, key, key_len, c->in, c->how, (int)c->delta);
}

int im_prefix_lease_fail(struct ipcmap *m, const void *key, size_t key_len,
			 const struct ipcmap_lease *lease, const struct ipcmap_fill_options *how,
			 int err)
{
	const struct call c = {.make = make_lease_fail, .in = lease, .how = how, .delta = err};

	return make(m, key, key_len, &c);
}

/* ---- watching ---- */

/* What is watched is in delta. */
static int make_watch(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	return ipcmap_watch_open(whole, key, key_len, (unsigned)c->delta, c->out);
}

int im_prefix_watch_open(struct ipcmap *m, const void *key, size_t key_len, unsigned what,
			 struct ipcmap_watch **ret)
{
	const struct call c = {.make = make_watch, .delta = what, .out = ret};
	int r;

	if (what == IPCMAP_WATCH_ALL)
		r = ipcmap_watch_open(m->whole, m->prefix, m->prefix_len, IPCMAP_WATCH_PREFIX,
				      ret);
	else
		r = make(m, key, key_len, &c);
	if (r == 0)
		im_watch_under(*ret, m->prefix_len);
	return r;
}

static int make_group(const struct call *c, struct ipcmap *whole, const void *key, size_t key_len)
{
	(void)c;
	return ipcmap_group(whole, key, key_len);
}

int im_prefix_group(struct ipcmap *m, const void *key, size_t key_len)
{
	const struct call c = {.make = make_group};

	return make(m, key, key_len, &c);
}
