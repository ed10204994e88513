// SPDX-License-Identifier: MIT
// peer-cuckoo.cpp - libcuckoo's concurrent hash map, in one process
#include "strings.hpp"

#include <libcuckoo/cuckoohash_map.hh>

static libcuckoo::cuckoohash_map<std::string, std::string, Hash, Equal> map;

static int create(const bench_conf *)
{
	return 0;
}

static int get(void *, const void *key, size_t key_len, void *buf, size_t cap, size_t *ret_len)
{
	int rc = 0;

	map.find_fn(view(key, key_len),
		    [&](const std::string &v) { rc = copy_out(v, buf, cap, ret_len); });
	return rc;
}

static int put(void *, const void *key, size_t key_len, const void *val, size_t val_len)
{
	auto assign = [&](std::string &v) { v.assign(view(val, val_len)); };

	if (!map.update_fn(view(key, key_len), assign))
		map.upsert(std::string(view(key, key_len)), assign, view(val, val_len));
	return 1;
}

static int del(void *, const void *key, size_t key_len)
{
	return map.erase(view(key, key_len));
}

const struct bench_peer bench_peer = {
	.name = "cuckoo",
	.how = "libcuckoo cuckoohash_map of std::string; threads of one process",
	.flags = 0,
	.create = create,
	.attach = attach_none,
	.get = get,
	.put = put,
	.del = del,
	.mget = nullptr,
	.used = nullptr,
	.sleeps = nullptr,
};
