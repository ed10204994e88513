/* SPDX-License-Identifier: MIT */
/*
 * peer-ipcmap.c - ipcmap with its defaults
 */
#include "peer.h"

#include "ipcmap.h"

static int result(int r, const char *what)
{
	return r == 0		      ? 0
	       : r == IPCMAP_NOTFOUND ? PEER_NONE
				      : peer_fail(what, ipcmap_errname(r));
}

static int attach(const char *path, void **ret)
{
	struct ipcmap *m;
	int r = ipcmap_open(path, NULL, &m);

	*ret = m;
	return result(r, "open");
}

static int create(const char *path)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;

	o.flags = IPCMAP_CREATE;
	return result(ipcmap_open(path, &o, &m), "create");
}

static int get(void *m, const void *key, size_t key_len, void *buf, size_t cap, size_t *ret_len)
{
	return result(ipcmap_get(m, key, key_len, buf, cap, ret_len), "get");
}

static int put(void *m, const void *key, size_t key_len, const void *val, size_t len)
{
	return result(ipcmap_put(m, key, key_len, val, len, NULL), "put");
}

static int del(void *m, const void *key, size_t key_len)
{
	return result(ipcmap_del(m, key, key_len), "del");
}

/* No entry has that version; to find that out it takes the lock. */
static int firm(void *m, const void *key, size_t key_len)
{
	struct ipcmap_put_options never = IPCMAP_PUT_INIT;
	int r;

	never.flags = IPCMAP_IF_VERSION;
	never.version = UINT64_MAX;
	r = ipcmap_delx(m, key, key_len, &never);
	return r == IPCMAP_MISMATCH || r == IPCMAP_NOTFOUND ? 0 : result(r, "delx");
}

const struct peer peer = {
	.name = "ipcmap",
	.how = "defaults",
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.firm = firm,
};
