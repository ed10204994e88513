// SPDX-License-Identifier: MIT
// peer-tbb.cpp - oneTBB's concurrent_hash_map, in one process; an accessor locks its element
#include "strings.hpp"

#include <tbb/concurrent_hash_map.h>

struct Compare : Equal {
	std::size_t hash(std::string_view s) const
	{
		return Hash()(s);
	}
	bool equal(std::string_view a, std::string_view b) const
	{
		return a == b;
	}
};

using Map = tbb::concurrent_hash_map<std::string, std::string, Compare>;
static Map map;

static int create(const bench_conf *)
{
	return 0;
}

static int get(void *, const void *key, size_t key_len, void *buf, size_t cap, size_t *ret_len)
{
	Map::const_accessor at;

	return map.find(at, view(key, key_len)) ? copy_out(at->second, buf, cap, ret_len) : 0;
}

static int put(void *, const void *key, size_t key_len, const void *val, size_t val_len)
{
	Map::accessor at;

	if (!map.find(at, view(key, key_len)))
		map.insert(at, std::string(view(key, key_len)));
	at->second.assign(view(val, val_len));
	return 1;
}

static int del(void *, const void *key, size_t key_len)
{
	return map.erase(view(key, key_len));
}

const struct bench_peer bench_peer = {
	.name = "tbb",
	.how = "tbb::concurrent_hash_map of std::string; threads of one process",
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
