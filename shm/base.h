/* SPDX-License-Identifier: MIT */
/*
 * base.h - attributes and arithmetic that every file may use
 */
#ifndef IM_BASE_H
#define IM_BASE_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define im_inline static inline __attribute__((always_inline))
#define im_cold __attribute__((cold, noinline))

/* @a is a power of two. */
im_inline uint64_t align_up(uint64_t n, uint64_t a)
{
	return (n + a - 1) & ~(a - 1);
}

im_inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

im_inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

im_inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
