/* SPDX-License-Identifier: MIT */
/*
 * peer-ipcmap.c - this library, linked dynamically like the others
 *
 * FILL: what percentage of the log the entries fill; HUGE: on large pages. bench.mk makes
 * other peers of it with these.
 */
#include "peer.h"

#include "ipcmap.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

#ifdef FILL
#define NAME "ipcmap-" TEXT(FILL)
#define HOW "as ipcmap, but the entries fill " TEXT(FILL) " % of the log"
#elif defined(HUGE)
#define NAME "ipcmap-huge"
#define HOW "as ipcmap, with IPCMAP_HUGE"
#else
#define NAME "ipcmap"
#define HOW "limit such that the entries fill 80 % of the log; libipcmap.so, default options"
#endif

#ifndef FILL
#define FILL 80
#endif
#ifndef HUGE
#define HUGE 0
#endif

static struct bench_conf conf;
static struct ipcmap *first;

static int failed(const char *what, int rc)
{
	return bench_fail("%s: %s", what, ipcmap_strerror(rc));
}

static uint64_t limit_for(const struct bench_conf *c)
{
	uint64_t entry = c->n ? c->bytes / c->n + 16 + 15 : 0;

	return (entry & ~15ull) * c->n * 100 / FILL + c->n * 9 + (4u << 20);
}

static int create(const struct bench_conf *c)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	char why[200] = "";
	int rc;

	conf = *c;
	o.flags = IPCMAP_CREATE | IPCMAP_EXCL | (HUGE ? IPCMAP_HUGE : 0);
	o.limit = limit_for(c);
	o.max = o.limit;
	o.ttl_ns = c->ttl_s * 1000000000ull;
	o.why = why;
	o.why_cap = sizeof(why);
	rc = ipcmap_open(c->path, &o, &first);
	return rc ? bench_fail("%s: %s", ipcmap_strerror(rc), why) : 0;
}

static int attach(void **ret_worker)
{
	struct ipcmap *map;
	int rc = ipcmap_open(conf.path, NULL, &map);

	if (rc)
		return failed("open", rc);
	*ret_worker = map;
	return 0;
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	int rc = ipcmap_get(worker, key, key_len, buf, cap, ret_len);

	if (rc == 0)
		return 1;
	return rc == IPCMAP_NOTFOUND ? 0 : failed("get", rc);
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
{
	int rc = ipcmap_put(worker, key, key_len, val, val_len, NULL);

	return rc ? failed("put", rc) : 1;
}

static int del(void *worker, const void *key, size_t key_len)
{
	int rc = ipcmap_del(worker, key, key_len);

	if (rc == 0)
		return 1;
	return rc == IPCMAP_NOTFOUND ? 0 : failed("del", rc);
}

static int mget(void *worker, struct bench_item *items, size_t n)
{
	struct ipcmap_mget m[64];
	size_t k;
	int rc;

	for (k = 0; k < n; k++) {
		m[k].key = items[k].key;
		m[k].key_len = items[k].key_len;
		m[k].value.buf = items[k].buf;
		m[k].value.cap = items[k].cap;
	}
	rc = ipcmap_mget(worker, m, n);
	if (rc < 0)
		return failed("mget", rc);
	for (k = 0; k < n; k++) {
		items[k].len = m[k].value.len;
		items[k].rc = m[k].rc == 0 ? 1 : m[k].rc == IPCMAP_NOTFOUND ? 0 : m[k].rc;
	}
	return 0;
}

static struct ipcmap_stat stat_of(void *worker)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	ipcmap_stat(worker, &st);
	return st;
}

static uint64_t used(void *worker)
{
	return stat_of(worker).used;
}

static uint64_t sleeps(void *worker)
{
	return stat_of(worker).waits;
}

const struct bench_peer bench_peer = {
	.name = NAME,
	.how = HOW,
	.flags = BENCH_PROCESSES | BENCH_TTL,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.mget = mget,
	.used = used,
	.sleeps = sleeps,
};
