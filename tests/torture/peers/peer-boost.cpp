// SPDX-License-Identifier: MIT
// peer-boost.cpp - Boost.Interprocess: a boost::unordered_map of strings in a mapped file on a
// tmpfs, behind an interprocess_sharable_mutex
//
// Its documentation offers nothing for the death of a process that holds a mutex: these are not
// robust, and what they protect is left as it was.
#include "peer.h"

#include <boost/functional/hash.hpp>
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_mapped_file.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/interprocess/sync/sharable_lock.hpp>
#include <boost/unordered_map.hpp>

#include <cstring>

namespace bip = boost::interprocess;

static const size_t room = size_t(256) << 20;

using Segment = bip::managed_mapped_file;
using Chars = bip::allocator<char, Segment::segment_manager>;
using String = bip::basic_string<char, std::char_traits<char>, Chars>;
using Pair = std::pair<const String, String>;
using Pairs = bip::allocator<Pair, Segment::segment_manager>;

struct Hash {
	size_t operator()(const String &s) const
	{
		return boost::hash_range(s.begin(), s.end());
	}
};

using Map = boost::unordered_map<String, String, Hash, std::equal_to<String>, Pairs>;

struct Root {
	bip::interprocess_sharable_mutex mutex;
	Map map;
	explicit Root(Segment::segment_manager *m)
	    : map(16, Hash(), std::equal_to<String>(), Pairs(m))
	{
	}
};

struct Store {
	Segment segment;
	Chars chars;
	Root *root;
	explicit Store(const char *path)
	    : segment(bip::open_only, path), chars(segment.get_segment_manager()),
	      root(segment.find<Root>("root").first)
	{
	}
	String string(const void *p, size_t len)
	{
		return String(static_cast<const char *>(p), len, chars);
	}
};

static int create(const char *path)
{
	Segment segment(bip::create_only, path, room);

	segment.construct<Root>("root")(segment.get_segment_manager());
	return 0;
}

static int attach(const char *path, void **ret)
{
	*ret = new Store(path);
	return 0;
}

static int get(void *store, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
try {
	Store &s = *static_cast<Store *>(store);
	String k = s.string(key, key_len);
	bip::sharable_lock<bip::interprocess_sharable_mutex> lock(s.root->mutex);
	auto it = s.root->map.find(k);

	if (it == s.root->map.end())
		return PEER_NONE;
	*ret_len = it->second.size();
	memcpy(buf, it->second.data(), std::min(cap, it->second.size()));
	return 0;
} catch (const std::exception &e) {
	return peer_fail("get", e.what());
}

static int put(void *store, const void *key, size_t key_len, const void *val, size_t len)
try {
	Store &s = *static_cast<Store *>(store);
	String k = s.string(key, key_len);
	bip::scoped_lock<bip::interprocess_sharable_mutex> lock(s.root->mutex);
	auto it = s.root->map.find(k);

	if (it == s.root->map.end())
		s.root->map.emplace(boost::move(k), s.string(val, len));
	else
		it->second.assign(static_cast<const char *>(val), len);
	return 0;
} catch (const std::exception &e) {
	return peer_fail("put", e.what());
}

static int del(void *store, const void *key, size_t key_len)
try {
	Store &s = *static_cast<Store *>(store);
	String k = s.string(key, key_len);
	bip::scoped_lock<bip::interprocess_sharable_mutex> lock(s.root->mutex);

	return s.root->map.erase(k) ? 0 : PEER_NONE;
} catch (const std::exception &e) {
	return peer_fail("del", e.what());
}

const struct peer peer = {
	"Boost.Interprocess",
	"unordered_map, interprocess_sharable_mutex, mapped file",
	create,
	attach,
	get,
	put,
	del,
	nullptr,
};
