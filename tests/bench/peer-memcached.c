/* SPDX-License-Identifier: MIT */
/*
 * peer-memcached.c - a memcached of this run's own, on a unix socket, with libmemcached
 *
 * The binary protocol, since the keys are any bytes. Memory enough that nothing is evicted.
 */
#include "peer.h"

#include <libmemcached/memcached.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char socket_path[128];
static unsigned ttl_s;
static int server;
static uint64_t empty;

static int failed(memcached_st *m, memcached_return_t rc)
{
	return bench_fail("memcached: %s", memcached_strerror(m, rc));
}

static memcached_st *dial(void)
{
	memcached_st *m = memcached_create(NULL);
	unsigned tries;

	if (!m)
		return NULL;
	memcached_behavior_set(m, MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, 1);
	memcached_server_add_unix_socket(m, socket_path);
	for (tries = 0; tries < 500; tries++) {
		if (memcached_success(memcached_set(m, "hello", 5, "x", 1, 1, 0)))
			return m;
		memcached_quit(m);
		usleep(10000);
	}
	memcached_free(m);
	return NULL;
}

static int create(const struct bench_conf *conf)
{
	char mib[16];
	const char *argv[] = {"memcached", "-u", "root", "-s", socket_path, "-m", mib, NULL};
	memcached_st *m;

	snprintf(socket_path, sizeof(socket_path), "%s.sock", conf->path);
	snprintf(mib, sizeof(mib), "%u",
		 (unsigned)((conf->bytes + conf->n * 80) * 2 >> 20) + 128);
	ttl_s = conf->ttl_s;
	server = bench_spawn("memcached", argv);
	if (server < 0)
		return -1;
	m = dial();
	if (!m)
		return bench_fail("no memcached answers; is it installed?");
	memcached_free(m);
	empty = bench_rss(server);
	return 0;
}

static int attach(void **ret_worker)
{
	*ret_worker = dial();
	return *ret_worker ? 0 : bench_fail("cannot connect");
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	memcached_return_t rc;
	uint32_t flags;
	size_t len;
	char *val = memcached_get(worker, key, key_len, &len, &flags, &rc);

	if (rc == MEMCACHED_NOTFOUND)
		return 0;
	if (!memcached_success(rc))
		return failed(worker, rc);
	if (len > cap)
		return bench_fail("too long");
	memcpy(buf, val ? val : "", len); /* an empty value is a NULL */
	*ret_len = len;
	free(val);
	return 1;
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
{
	memcached_return_t rc = memcached_set(worker, key, key_len, val, val_len, ttl_s, 0);

	return memcached_success(rc) ? 1 : failed(worker, rc);
}

static int del(void *worker, const void *key, size_t key_len)
{
	memcached_return_t rc = memcached_delete(worker, key, key_len, 0);

	if (rc == MEMCACHED_NOTFOUND)
		return 0;
	return memcached_success(rc) ? 1 : failed(worker, rc);
}

static uint64_t used(void *worker)
{
	(void)worker;
	return bench_rss(server) - empty;
}

const struct bench_peer bench_peer = {
	.name = "memcached",
	.how = "memcached on a unix socket, binary protocol, libmemcached; a round trip each",
	.flags = BENCH_PROCESSES | BENCH_SERVER | BENCH_TTL,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.used = used,
};
