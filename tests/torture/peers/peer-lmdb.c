/* SPDX-License-Identifier: MIT */
/*
 * peer-lmdb.c - LMDB on a tmpfs
 *
 * Its write lock is a robust mutex, and its pages are copied before they are changed, so a dead
 * writer leaves nothing. Its documentation asks whoever starts after a crash to clear the slots
 * of dead readers by mdb_reader_check(); otherwise their pages are never used again.
 * MDB_NOSYNC and MDB_WRITEMAP give up what protects from a crash of the system, which a tmpfs
 * does not survive.
 */
#include "peer.h"

#include <lmdb.h>

#include <stdlib.h>
#include <string.h>

#define ROOM ((size_t)256 << 20)

struct store {
	MDB_env *env;
	MDB_dbi dbi;
};

static int failed(const char *what, int r)
{
	return peer_fail(what, mdb_strerror(r));
}

static int attach(const char *path, void **ret)
{
	struct store *s = calloc(1, sizeof(*s));
	MDB_txn *txn;
	int r, dead;

	r = mdb_env_create(&s->env);
	if (!r)
		r = mdb_env_set_mapsize(s->env, ROOM);
	if (!r)
		r = mdb_env_open(s->env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP, 0600);
	if (!r)
		r = mdb_reader_check(s->env, &dead);
	if (!r)
		r = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (r)
		return failed("open", r);
	r = mdb_dbi_open(txn, NULL, 0, &s->dbi);
	if (!r)
		r = mdb_txn_commit(txn);
	*ret = s;
	return r ? failed("dbi", r) : 0;
}

static int create(const char *path)
{
	void *s;

	return attach(path, &s);
}

static int get(void *store, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	struct store *s = store;
	MDB_val k = {key_len, (void *)key}, v;
	MDB_txn *txn;
	int r = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);

	if (r)
		return failed("begin", r);
	r = mdb_get(txn, s->dbi, &k, &v);
	if (r == 0) {
		*ret_len = v.mv_size;
		memcpy(buf, v.mv_data, v.mv_size < cap ? v.mv_size : cap);
	}
	mdb_txn_abort(txn);
	return r == 0 ? 0 : r == MDB_NOTFOUND ? PEER_NONE : failed("get", r);
}

static int change(struct store *s, MDB_val *k, MDB_val *v)
{
	MDB_txn *txn;
	int r = mdb_txn_begin(s->env, NULL, 0, &txn);

	if (r)
		return failed("begin", r);
	r = v ? mdb_put(txn, s->dbi, k, v, 0) : mdb_del(txn, s->dbi, k, NULL);
	if (r) {
		mdb_txn_abort(txn);
		return r == MDB_NOTFOUND ? PEER_NONE : failed(v ? "put" : "del", r);
	}
	r = mdb_txn_commit(txn);
	return r ? failed("commit", r) : 0;
}

static int put(void *s, const void *key, size_t key_len, const void *val, size_t len)
{
	MDB_val k = {key_len, (void *)key}, v = {len, (void *)val};

	return change(s, &k, &v);
}

static int del(void *s, const void *key, size_t key_len)
{
	MDB_val k = {key_len, (void *)key};

	return change(s, &k, NULL);
}

const struct peer peer = {
	.name = "LMDB",
	.how = "NOSYNC, WRITEMAP; mdb_reader_check() at each start",
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.firm = NULL,
};
