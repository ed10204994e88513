// SPDX-License-Identifier: MIT
// peer-boost.cpp - Boost.Interprocess: boost::unordered_map of byte strings in a mapped file on
// a tmpfs, cut into SHARDS maps (1 or 64), each behind an interprocess_sharable_mutex
//
// This is what one builds from Boost's documentation. The mutexes are not robust: a process
// killed inside one leaves the others waiting. The segment has its full length from the
// beginning, since it cannot grow while it is mapped.
#include "strings.hpp"

#include <boost/functional/hash.hpp>
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_mapped_file.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/interprocess/sync/sharable_lock.hpp>
#include <boost/unordered_map.hpp>

#ifndef SHARDS
#define SHARDS 1
#endif
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define MUTEXES TEXT(SHARDS) " interprocess_sharable_mutex"

namespace bip = boost::interprocess;

using Segment = bip::managed_mapped_file;
using CharAllocator = bip::allocator<char, Segment::segment_manager>;
using String = bip::basic_string<char, std::char_traits<char>, CharAllocator>;

static std::string_view view(const String &s)
{
	return {s.data(), s.size()};
}

struct StringHash {
	std::size_t operator()(std::string_view s) const
	{
		return Hash()(s);
	}
	std::size_t operator()(const String &s) const
	{
		return Hash()(view(s));
	}
};

struct StringEqual {
	bool operator()(const String &a, const String &b) const
	{
		return view(a) == view(b);
	}
	bool operator()(std::string_view a, const String &b) const
	{
		return a == view(b);
	}
	bool operator()(const String &a, std::string_view b) const
	{
		return view(a) == b;
	}
};

using Pair = std::pair<const String, String>;
using PairAllocator = bip::allocator<Pair, Segment::segment_manager>;
using Map = boost::unordered_map<String, String, StringHash, StringEqual, PairAllocator>;

struct alignas(64) Shard {
	bip::interprocess_sharable_mutex mutex;
	Map map;
	explicit Shard(Segment::segment_manager *m)
	    : map(16, StringHash(), StringEqual(), PairAllocator(m))
	{
	}
};

struct Worker {
	Segment segment;
	CharAllocator chars;
	Shard *shards[SHARDS];
	explicit Worker(const char *path)
	    : segment(bip::open_only, path), chars(segment.get_segment_manager())
	{
		for (unsigned k = 0; k < SHARDS; k++)
			shards[k] = segment.find<Shard>(std::to_string(k).c_str()).first;
	}
	Shard &of(std::string_view key)
	{
		return *shards[Hash()(key) >> 40 & (SHARDS - 1)];
	}
};

static const char *path;

static int create(const bench_conf *conf)
{
	path = conf->path;
	Segment segment(bip::create_only, path, conf->bytes * 2 + conf->n * 256 + (16 << 20));
	for (unsigned k = 0; k < SHARDS; k++)
		segment.construct<Shard>(std::to_string(k).c_str())(
			segment.get_segment_manager());
	return 0;
}

static int attach(void **ret_worker)
{
	*ret_worker = new Worker(path);
	return 0;
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	Worker &w = *static_cast<Worker *>(worker);
	std::string_view k = view(key, key_len);
	Shard &s = w.of(k);
	bip::sharable_lock lock(s.mutex);
	auto it = s.map.find(k, StringHash(), StringEqual());

	return it == s.map.end() ? 0 : copy_out(view(it->second), buf, cap, ret_len);
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
try {
	Worker &w = *static_cast<Worker *>(worker);
	std::string_view k = view(key, key_len);
	Shard &s = w.of(k);
	bip::scoped_lock lock(s.mutex);
	auto it = s.map.find(k, StringHash(), StringEqual());

	if (it == s.map.end())
		s.map.emplace(String(k.data(), k.size(), w.chars),
			      String(static_cast<const char *>(val), val_len, w.chars));
	else
		it->second.assign(static_cast<const char *>(val), val_len);
	return 1;
} catch (const std::exception &e) {
	return bench_fail("put: %s", e.what());
}

static int del(void *worker, const void *key, size_t key_len)
{
	Worker &w = *static_cast<Worker *>(worker);
	std::string_view k = view(key, key_len);
	Shard &s = w.of(k);
	bip::scoped_lock lock(s.mutex);
	auto it = s.map.find(k, StringHash(), StringEqual());

	if (it == s.map.end())
		return 0;
	s.map.erase(it);
	return 1;
}

static uint64_t used(void *worker)
{
	Worker &w = *static_cast<Worker *>(worker);

	return w.segment.get_size() - w.segment.get_free_memory();
}

const struct bench_peer bench_peer = {
	.name = "boost" TEXT(SHARDS),
	.how = "Boost.Interprocess unordered_map of strings on tmpfs, " MUTEXES,
	.flags = BENCH_PROCESSES,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
	.mget = nullptr,
	.used = used,
	.sleeps = nullptr,
};
