// SPDX-License-Identifier: MIT
// peer-stdmap.cpp - std::unordered_map behind one std::shared_mutex, in one process: what most
// programs begin with
#include "strings.hpp"

#include <mutex>
#include <shared_mutex>
#include <unordered_map>

static std::unordered_map<std::string, std::string, Hash, Equal> map;
static std::shared_mutex mutex;

static int create(const bench_conf *)
{
	return 0;
}

static int get(void *, const void *key, size_t key_len, void *buf, size_t cap, size_t *ret_len)
{
	std::shared_lock lock(mutex);
	auto it = map.find(view(key, key_len));

	return it == map.end() ? 0 : copy_out(it->second, buf, cap, ret_len);
}

static int put(void *, const void *key, size_t key_len, const void *val, size_t val_len)
{
	std::unique_lock lock(mutex);
	auto it = map.find(view(key, key_len));

	if (it == map.end())
		map.emplace(view(key, key_len), view(val, val_len));
	else
		it->second.assign(view(val, val_len));
	return 1;
}

static int del(void *, const void *key, size_t key_len)
{
	std::unique_lock lock(mutex);
	auto it = map.find(view(key, key_len));

	if (it == map.end())
		return 0;
	map.erase(it);
	return 1;
}

const struct bench_peer bench_peer = {
	.name = "stdmap",
	.how = "std::unordered_map of std::string, one std::shared_mutex; threads of one "
	       "process",
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
