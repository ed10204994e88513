// SPDX-License-Identifier: MIT
// strings.hpp - hash and equality of byte strings, the same for all C++ peers: XXH3, and a
// search by std::string_view, so that a get makes no std::string
#ifndef BENCH_STRINGS_HPP
#define BENCH_STRINGS_HPP

#include "peer.h"

#include <cstring>
#include <string>
#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct Hash {
	using is_transparent = void;
	std::size_t operator()(std::string_view s) const
	{
		return XXH3_64bits(s.data(), s.size());
	}
};

struct Equal {
	using is_transparent = void;
	bool operator()(std::string_view a, std::string_view b) const
	{
		return a == b;
	}
};

inline std::string_view view(const void *p, std::size_t len)
{
	return {static_cast<const char *>(p), len};
}

inline int copy_out(std::string_view v, void *buf, std::size_t cap, std::size_t *ret_len)
{
	if (v.size() > cap)
		return bench_fail("too long");
	*ret_len = v.size();
	std::memcpy(buf, v.data(), v.size());
	return 1;
}

inline int attach_none(void **ret_worker)
{
	*ret_worker = nullptr;
	return 0;
}

#endif
