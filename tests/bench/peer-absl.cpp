// SPDX-License-Identifier: MIT
// peer-absl.cpp - absl's flat hash tables without any lock, in one process: the fastest private
// table that a program can have from a Debian package
//
// Two ways to hold byte strings. "absl-str" is the obvious one, flat_hash_map of std::string to
// std::string: strings of 16 bytes and more lie outside it, so a get follows three references.
// "absl" is the better one: a flat_hash_set of pointers to records that hold key and value
// together, found by std::string_view. ipcmap is judged by "absl".
#include "strings.hpp"

#include <cstdlib>
#include <memory>

#ifdef ABSL_STRINGS
#include <absl/container/flat_hash_map.h>
#else
#include <absl/container/flat_hash_set.h>
#endif

static int create(const bench_conf *)
{
	return 0;
}

#ifdef ABSL_STRINGS

static absl::flat_hash_map<std::string, std::string, Hash, Equal> map;

static std::string_view value_of(const std::pair<const std::string, std::string> &pair)
{
	return pair.second;
}

static int put(void *, const void *key, size_t key_len, const void *val, size_t val_len)
{
	auto it = map.find(view(key, key_len));

	if (it == map.end())
		map.emplace(view(key, key_len), view(val, val_len));
	else
		it->second.assign(view(val, val_len));
	return 1;
}

#define NAME "absl-str"
#define HOW "absl::flat_hash_map of std::string, no lock; one thread"

#else

struct Record {
	uint32_t key_len, val_len;
	char bytes[];
};

struct Free {
	void operator()(Record *r) const
	{
		std::free(r);
	}
};

using Owned = std::unique_ptr<Record, Free>;

static std::string_view key_of(const Owned &r)
{
	return {r->bytes, r->key_len};
}

static std::string_view value_of(const Owned &r)
{
	return {r->bytes + r->key_len, r->val_len};
}

struct RecordHash {
	using is_transparent = void;
	size_t operator()(std::string_view s) const
	{
		return Hash()(s);
	}
	size_t operator()(const Owned &r) const
	{
		return Hash()(key_of(r));
	}
};

struct RecordEqual {
	using is_transparent = void;
	bool operator()(const Owned &a, std::string_view b) const
	{
		return key_of(a) == b;
	}
	bool operator()(const Owned &a, const Owned &b) const
	{
		return key_of(a) == key_of(b);
	}
};

static absl::flat_hash_set<Owned, RecordHash, RecordEqual> map;

static int put(void *, const void *key, size_t key_len, const void *val, size_t val_len)
{
	auto it = map.find(view(key, key_len));

	// where it fits the value is overwritten in place, as std::string does
	if (it != map.end() && (*it)->val_len == val_len) {
		std::memcpy((*it)->bytes + key_len, val, val_len);
		return 1;
	}
	Owned r(static_cast<Record *>(std::malloc(sizeof(Record) + key_len + val_len)));
	if (!r)
		return bench_fail("no memory");
	r->key_len = static_cast<uint32_t>(key_len);
	r->val_len = static_cast<uint32_t>(val_len);
	std::memcpy(r->bytes, key, key_len);
	std::memcpy(r->bytes + key_len, val, val_len);
	if (it == map.end())
		map.insert(std::move(r));
	else
		const_cast<Owned &>(*it) = std::move(r); // the key's bytes are the same
	return 1;
}

#define NAME "absl"
#define HOW "absl::flat_hash_set of records of key and value, no lock; one thread"

#endif

static int get(void *, const void *key, size_t key_len, void *buf, size_t cap, size_t *ret_len)
{
	auto it = map.find(view(key, key_len));

	return it == map.end() ? 0 : copy_out(value_of(*it), buf, cap, ret_len);
}

static int del(void *, const void *key, size_t key_len)
{
	auto it = map.find(view(key, key_len));

	if (it == map.end())
		return 0;
	map.erase(it);
	return 1;
}

const struct bench_peer bench_peer = {
	.name = NAME,
	.how = HOW,
	.flags = BENCH_ONE,
	.create = create,
	.attach = attach_none,
	.get = get,
	.put = put,
	.del = del,
	.mget = nullptr,
	.used = nullptr,
	.sleeps = nullptr,
};
