/* SPDX-License-Identifier: MIT */
/*
 * peer-redis.c - a Redis server of this run's own, on a unix socket, saving nothing
 *
 * Debian's redis-tools holds the server under the name of its checker; what it does is decided
 * by argv[0]. So no service has to be installed or started.
 */
#include "peer.h"

#include <hiredis/hiredis.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char socket_path[128];
static unsigned ttl_s;
static int server;
static uint64_t empty;

static int failed(redisContext *c)
{
	return bench_fail("redis: %s", c && c->err ? c->errstr : "no answer");
}

static redisContext *dial(void)
{
	redisContext *c = NULL;
	unsigned tries;

	for (tries = 0; tries < 500; tries++) {
		c = redisConnectUnix(socket_path);
		if (c && !c->err)
			return c;
		if (c)
			redisFree(c);
		usleep(10000);
	}
	return NULL;
}

static int create(const struct bench_conf *conf)
{
	const char *argv[] = {"redis-server", "--port",	   "0",		"--unixsocket",
			      socket_path,    "--save",	   "",		"--appendonly",
			      "no",	      "--logfile", "/dev/null", NULL};
	redisContext *c;

	snprintf(socket_path, sizeof(socket_path), "%s.sock", conf->path);
	ttl_s = conf->ttl_s;
	server = bench_spawn(access("/usr/bin/redis-server", X_OK) ? "redis-check-rdb"
								   : "redis-server",
			     argv);
	if (server < 0)
		return -1;
	c = dial();
	if (!c)
		return bench_fail("no Redis server answers; is redis-tools installed?");
	redisFree(c);
	empty = bench_rss(server);
	return 0;
}

static int attach(void **ret_worker)
{
	*ret_worker = dial();
	return *ret_worker ? 0 : bench_fail("cannot connect");
}

static int take(const redisReply *r, void *buf, size_t cap, size_t *ret_len)
{
	if (r->type == REDIS_REPLY_NIL)
		return 0;
	if (r->type != REDIS_REPLY_STRING || r->len > cap)
		return bench_fail("redis: unexpected answer");
	memcpy(buf, r->str, r->len);
	*ret_len = r->len;
	return 1;
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	const char *argv[] = {"GET", key};
	size_t len[] = {3, key_len};
	redisReply *r = redisCommandArgv(worker, 2, argv, len);
	int rc;

	if (!r)
		return failed(worker);
	rc = take(r, buf, cap, ret_len);
	freeReplyObject(r);
	return rc;
}

static int mget(void *worker, struct bench_item *items, size_t n)
{
	const char *argv[65] = {"MGET"};
	size_t len[65] = {4}, k;
	redisReply *r;

	for (k = 0; k < n; k++) {
		argv[k + 1] = items[k].key;
		len[k + 1] = items[k].key_len;
	}
	r = redisCommandArgv(worker, (int)n + 1, argv, len);
	if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != n)
		return failed(worker);
	for (k = 0; k < n; k++)
		items[k].rc = take(r->element[k], items[k].buf, items[k].cap, &items[k].len);
	freeReplyObject(r);
	return 0;
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
{
	char life[16];
	const char *argv[] = {"SET", key, val, "EX", life};
	size_t len[] = {3, key_len, val_len, 2, (size_t)sprintf(life, "%u", ttl_s)};
	redisReply *r = redisCommandArgv(worker, ttl_s ? 5 : 3, argv, len);
	int ok;

	if (!r)
		return failed(worker);
	ok = r->type == REDIS_REPLY_STATUS;
	freeReplyObject(r);
	return ok ? 1 : bench_fail("redis: SET refused");
}

static int del(void *worker, const void *key, size_t key_len)
{
	const char *argv[] = {"DEL", key};
	size_t len[] = {3, key_len};
	redisReply *r = redisCommandArgv(worker, 2, argv, len);
	int rc;

	if (!r)
		return failed(worker);
	rc = r->type == REDIS_REPLY_INTEGER ? r->integer == 1
					    : bench_fail("redis: DEL refused");
	freeReplyObject(r);
	return rc;
}

static uint64_t used(void *worker)
{
	(void)worker;
	return bench_rss(server) - empty;
}

const struct bench_peer bench_peer = {
	.name = "redis",
	.how = "Redis on a unix socket, nothing saved, hiredis; a round trip for each "
	       "operation",
	.flags = BENCH_PROCESSES | BENCH_SERVER | BENCH_TTL,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.mget = mget,
	.used = used,
};
