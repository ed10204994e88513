/* SPDX-License-Identifier: MIT */
/*
 * peer-tdb.c - Samba's tdb on a tmpfs, with robust mutexes in place of fcntl() locks
 *
 * Mutexes need TDB_CLEAR_IF_FIRST and TDB_INCOMPATIBLE_HASH, so the workers open the file and
 * nobody before them. As many hash chains as entries; tdb_parse_record() reads without
 * malloc().
 */
#include "peer.h"

#include <sys/types.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <tdb.h>

#define FLAGS (TDB_NOSYNC | TDB_CLEAR_IF_FIRST | TDB_MUTEX_LOCKING | TDB_INCOMPATIBLE_HASH)

struct copy {
	void *buf;
	size_t cap, len;
};

static struct bench_conf conf;

static int create(const struct bench_conf *c)
{
	conf = *c;
	return tdb_runtime_check_for_robust_mutexes() ? 0
						      : bench_fail("no robust mutexes here");
}

static int attach(void **ret_worker)
{
	struct tdb_context *tdb =
		tdb_open(conf.path, (int)conf.n, FLAGS, O_RDWR | O_CREAT, 0600);

	*ret_worker = tdb;
	return tdb ? 0 : bench_fail("tdb_open failed");
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
	if (val.dsize > c->cap)
		return 1;
	memcpy(c->buf, val.dptr, val.dsize);
	c->len = val.dsize;
	return 0;
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	struct copy c = {buf, cap, 0};
	int rc = tdb_parse_record(worker, data(key, key_len), take, &c);

	if (rc == 0) {
		*ret_len = c.len;
		return 1;
	}
	return tdb_error(worker) == TDB_ERR_NOEXIST
		       ? 0
		       : bench_fail("get: %s", tdb_errorstr(worker));
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
{
	int rc = tdb_store(worker, data(key, key_len), data(val, val_len), TDB_REPLACE);

	return rc ? bench_fail("put: %s", tdb_errorstr(worker)) : 1;
}

static int del(void *worker, const void *key, size_t key_len)
{
	if (tdb_delete(worker, data(key, key_len)) == 0)
		return 1;
	return tdb_error(worker) == TDB_ERR_NOEXIST
		       ? 0
		       : bench_fail("del: %s", tdb_errorstr(worker));
}

static uint64_t used(void *worker)
{
	struct stat st;

	return fstat(tdb_fd(worker), &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

const struct bench_peer bench_peer = {
	.name = "tdb",
	.how = "tdb on tmpfs, robust mutexes, NOSYNC, as many hash chains as entries",
	.flags = BENCH_PROCESSES,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.used = used,
};
