/* SPDX-License-Identifier: MIT */
/*
 * peer-tdb.c - Samba's tdb on a tmpfs, in two ways
 *
 * With robust mutexes, which need TDB_CLEAR_IF_FIRST, so somebody must have the file open at
 * all times. Its documentation promises that no lock stays taken, and says nothing of what the
 * dead one was about to store. With TRANSACTIONS each change is a transaction, which it says
 * is safe, under fcntl() locks; TDB_NOSYNC, since a tmpfs does not outlive the system.
 */
#include "peer.h"

#include <sys/types.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <tdb.h>

#ifdef TRANSACTIONS
#define NAME "tdb, transactions"
#define HOW "NOSYNC, fcntl() locks, each change a transaction"
#define FLAGS (TDB_NOSYNC | TDB_INCOMPATIBLE_HASH)
#else
#define NAME "tdb, mutexes"
#define HOW "MUTEX_LOCKING (robust mutexes), CLEAR_IF_FIRST, NOSYNC"
#define FLAGS (TDB_NOSYNC | TDB_INCOMPATIBLE_HASH | TDB_CLEAR_IF_FIRST | TDB_MUTEX_LOCKING)
#endif
#define CHAINS 1000

struct copy {
	void *buf;
	size_t cap, len;
};

static int attach(const char *path, void **ret)
{
	*ret = tdb_open(path, CHAINS, FLAGS, O_RDWR | O_CREAT, 0600);
	return *ret ? 0 : peer_fail("open", "tdb_open failed");
}

static int create(const char *path)
{
	void *s;

	return attach(path, &s);
}

static TDB_DATA data(const void *p, size_t len)
{
	TDB_DATA d = {(unsigned char *)p, len};

	return d;
}

static int take(TDB_DATA key, TDB_DATA val, void *arg)
{
	struct copy *c = arg;

	(void)key;
	c->len = val.dsize;
	memcpy(c->buf, val.dptr, val.dsize < c->cap ? val.dsize : c->cap);
	return 0;
}

static int failed(struct tdb_context *tdb, const char *what)
{
	return tdb_error(tdb) == TDB_ERR_NOEXIST ? PEER_NONE
						 : peer_fail(what, tdb_errorstr(tdb));
}

static int get(void *tdb, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	struct copy c = {buf, cap, 0};

	if (tdb_parse_record(tdb, data(key, key_len), take, &c))
		return failed(tdb, "get");
	*ret_len = c.len;
	return 0;
}

#ifdef TRANSACTIONS
static bool begin(void *tdb)
{
	return tdb_transaction_start(tdb) == 0;
}

static int end(void *tdb, int r)
{
	if (r) {
		tdb_transaction_cancel(tdb);
		return r;
	}
	return tdb_transaction_commit(tdb) ? failed(tdb, "commit") : 0;
}
#else
static bool begin(void *tdb)
{
	(void)tdb;
	return true;
}

static int end(void *tdb, int r)
{
	(void)tdb;
	return r;
}
#endif

static int put(void *tdb, const void *key, size_t key_len, const void *val, size_t len)
{
	if (!begin(tdb))
		return failed(tdb, "begin");
	return end(tdb, tdb_store(tdb, data(key, key_len), data(val, len), TDB_REPLACE)
				? failed(tdb, "put")
				: 0);
}

static int del(void *tdb, const void *key, size_t key_len)
{
	if (!begin(tdb))
		return failed(tdb, "begin");
	return end(tdb, tdb_delete(tdb, data(key, key_len)) ? failed(tdb, "del") : 0);
}

const struct peer peer = {
	.name = NAME,
	.how = HOW,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.firm = NULL,
};
