/* SPDX-License-Identifier: MIT */
/*
 * peer-lmdb.c - LMDB on a tmpfs, used as a cache would use it
 *
 * MDB_NOSYNC and MDB_WRITEMAP: no durability is asked for, and none costs anything. A get
 * renews a read transaction that the worker keeps, and resets it, so that writers can reuse
 * pages; a put is a transaction, since the next reader is to see it. An mget is one read
 * transaction.
 */
#include "peer.h"

#include <lmdb.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FLAGS (MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP | MDB_NOMEMINIT | MDB_NORDAHEAD)

struct worker {
	MDB_env *env;
	MDB_txn *reader;
	MDB_dbi dbi;
};

static struct bench_conf conf;

static int failed(const char *what, int rc)
{
	return bench_fail("%s: %s", what, mdb_strerror(rc));
}

static int open_env(struct worker *w)
{
	MDB_txn *txn;
	int rc = mdb_env_create(&w->env);

	if (rc == 0)
		rc = mdb_env_set_mapsize(w->env, (conf.bytes + conf.n * 64) * 4 + (64u << 20));
	if (rc == 0)
		rc = mdb_env_open(w->env, conf.path, FLAGS, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(w->env, NULL, 0, &txn);
	if (rc == 0)
		rc = mdb_dbi_open(txn, NULL, 0, &w->dbi);
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	return rc ? failed("open", rc) : 0;
}

static int create(const struct bench_conf *c)
{
	struct worker w;

	conf = *c;
	if (open_env(&w))
		return -1;
	mdb_env_close(w.env); /* an environment must not be used across fork() */
	return 0;
}

static int attach(void **ret_worker)
{
	struct worker *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return bench_fail("no memory");
	if (open_env(w))
		return -1;
	rc = mdb_txn_begin(w->env, NULL, MDB_RDONLY, &w->reader);
	if (rc)
		return failed("reader", rc);
	mdb_txn_reset(w->reader);
	*ret_worker = w;
	return 0;
}

static int find(struct worker *w, const void *key, size_t key_len, void *buf, size_t cap,
		size_t *ret_len)
{
	MDB_val k = {key_len, (void *)key}, v;
	int rc = mdb_get(w->reader, w->dbi, &k, &v);

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc || v.mv_size > cap)
		return rc ? failed("get", rc) : bench_fail("too long");
	*ret_len = v.mv_size;
	memcpy(buf, v.mv_data, v.mv_size);
	return 1;
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	struct worker *w = worker;
	int rc = mdb_txn_renew(w->reader);

	if (rc)
		return failed("renew", rc);
	rc = find(w, key, key_len, buf, cap, ret_len);
	mdb_txn_reset(w->reader);
	return rc;
}

static int mget(void *worker, struct bench_item *items, size_t n)
{
	struct worker *w = worker;
	int rc = mdb_txn_renew(w->reader);

	if (rc)
		return failed("renew", rc);
	for (; n; n--, items++)
		items->rc = find(w, items->key, items->key_len, items->buf, items->cap,
				 &items->len);
	mdb_txn_reset(w->reader);
	return 0;
}

/* One change, committed; @val NULL deletes. */
static int change(struct worker *w, MDB_val *k, MDB_val *v)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(w->env, NULL, 0, &txn);

	if (rc)
		return failed("begin", rc);
	rc = v ? mdb_put(txn, w->dbi, k, v, 0) : mdb_del(txn, w->dbi, k, NULL);
	if (rc) {
		mdb_txn_abort(txn);
		return rc == MDB_NOTFOUND ? 0 : failed("change", rc);
	}
	rc = mdb_txn_commit(txn);
	return rc ? failed("commit", rc) : 1;
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
{
	MDB_val k = {key_len, (void *)key}, v = {val_len, (void *)val};

	return change(worker, &k, &v);
}

static int del(void *worker, const void *key, size_t key_len)
{
	MDB_val k = {key_len, (void *)key};

	return change(worker, &k, NULL);
}

static uint64_t used(void *worker)
{
	struct worker *w = worker;
	MDB_envinfo info;
	MDB_stat st;

	mdb_env_info(w->env, &info);
	mdb_env_stat(w->env, &st);
	return (info.me_last_pgno + 1) * st.ms_psize;
}

const struct bench_peer bench_peer = {
	.name = "lmdb",
	.how = "LMDB on tmpfs, NOSYNC WRITEMAP; a get renews a kept transaction, a put is one",
	.flags = BENCH_PROCESSES,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.mget = mget,
	.used = used,
};
