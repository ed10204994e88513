/* SPDX-License-Identifier: MIT */
/*
 * atomic.h - shared memory accesses, with the order in each name
 *
 * The one file that names libatomic_ops. Words are 64 bits (AO_t) or 32 bits (unsigned);
 * one location is always accessed with one size.
 *
 *  _rlx  atomic, no order          _acq  later accesses stay after it
 *  _rel  earlier accesses stay before it
 *
 * im_copy_racy() and im_fill_racy() are the one exception to word-by-word access: they move
 * payload that another process may be overwriting meanwhile. In release builds they are
 * memmove() between compiler barriers; in sanitizer builds they go word by word. A reader
 * calls im_read_barrier() after the copy and before the word that validates it; nothing is
 * decided on copied bytes before that.
 */
#ifndef IM_ATOMIC_H
#define IM_ATOMIC_H

#include "base.h"

#include <string.h>

#define AO_REQUIRE_CAS
#include <atomic_ops.h>

/*
 * What a processor got by an acquire, all others must see before they see its later stores:
 * multi-copy atomic memory, as these have. Elsewhere (POWER) who takes a lock and stores would
 * need a barrier in between; tests/model/README.md, redo.pml with NOT_MCA.
 */
#if !defined(__x86_64__) && !defined(__aarch64__) && !(defined(__riscv) && __riscv_xlen == 64)
#error "the memory order is argued for x86-64, AArch64 and RISC-V (64 bits) only"
#endif

static_assert(sizeof(AO_t) == 8, "segments need 64-bit words");
static_assert(sizeof(unsigned) == 4, "futex words are unsigned");

im_inline uint64_t im_load_rlx(const uint64_t *p)
{
	return AO_load((const volatile AO_t *)p);
}

im_inline uint64_t im_load_acq(const uint64_t *p)
{
	return AO_load_acquire((const volatile AO_t *)p);
}

im_inline void im_store_rlx(uint64_t *p, uint64_t v)
{
	AO_store((volatile AO_t *)p, v);
}

im_inline void im_store_rel(uint64_t *p, uint64_t v)
{
	AO_store_release((volatile AO_t *)p, v);
}

im_inline bool im_cas_acq(uint64_t *p, uint64_t old, uint64_t new)
{
	return AO_compare_and_swap_acquire((volatile AO_t *)p, old, new);
}

im_inline bool im_cas_full(uint64_t *p, uint64_t old, uint64_t new)
{
	return AO_compare_and_swap_full((volatile AO_t *)p, old, new);
}

im_inline uint64_t im_add_rlx(uint64_t *p, uint64_t n)
{
	return AO_fetch_and_add((volatile AO_t *)p, n);
}

im_inline uint32_t im_load32_rlx(const uint32_t *p)
{
	return AO_int_load((const volatile unsigned *)p);
}

im_inline uint32_t im_load32_acq(const uint32_t *p)
{
	return AO_int_load_acquire((const volatile unsigned *)p);
}

im_inline void im_store32_rlx(uint32_t *p, uint32_t v)
{
	AO_int_store((volatile unsigned *)p, v);
}

im_inline void im_store32_rel(uint32_t *p, uint32_t v)
{
	AO_int_store_release((volatile unsigned *)p, v);
}

im_inline uint32_t im_add32_rlx(uint32_t *p, uint32_t n)
{
	return AO_int_fetch_and_add((volatile unsigned *)p, n);
}

/* Returns what was there; it is @old when the swap happened. */
im_inline uint32_t im_cas32_acq(uint32_t *p, uint32_t old, uint32_t new)
{
	return AO_int_fetch_compare_and_swap_acquire((volatile unsigned *)p, old, new);
}

im_inline uint32_t im_cas32_rel(uint32_t *p, uint32_t old, uint32_t new)
{
	return AO_int_fetch_compare_and_swap_release((volatile unsigned *)p, old, new);
}

im_inline void im_full_barrier(void)
{
	AO_nop_full();
}

/* Earlier loads stay before later loads. */
im_inline void im_read_barrier(void)
{
	AO_nop_read();
}

/* Earlier stores stay before later stores. */
im_inline void im_write_barrier(void)
{
	AO_nop_write();
}

/* For the compiler alone: what a killed process leaves is a prefix of its compiled stores. */
im_inline void im_compiler_barrier(void)
{
	AO_compiler_barrier();
}

im_inline void im_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#if defined(IM_WORDWISE)

/* Whole aligned words; the bytes of a partial word at either end come from its word. */
im_inline void im_copy_racy(void *dst, const void *src, size_t len)
{
	unsigned char *d = dst;
	uintptr_t at = (uintptr_t)src;

	while (len) {
		size_t off = at & 7;
		size_t n = 8 - off < len ? 8 - off : len;
		uint64_t w = im_load_rlx((const uint64_t *)(at - off));

		memcpy(d, (const unsigned char *)&w + off, n);
		d += n;
		at += n;
		len -= n;
	}
}

im_inline void im_copy_racy_inline(void *dst, const void *src, size_t len)
{
	im_copy_racy(dst, src, len);
}

im_inline bool im_is_not(const uint64_t *p, uint64_t v)
{
	return im_load_acq(p) != v;
}

/* The writer of an extent is alone in it, so reading the rest of a partial word is safe. */
im_inline void im_fill_racy(void *dst, const void *src, size_t len)
{
	const unsigned char *s = src;
	uintptr_t at = (uintptr_t)dst;

	while (len) {
		size_t off = at & 7;
		size_t n = 8 - off < len ? 8 - off : len;
		uint64_t w = im_load_rlx((const uint64_t *)(at - off));

		memcpy((unsigned char *)&w + off, s, n);
		im_store_rlx((uint64_t *)(at - off), w);
		s += n;
		at += n;
		len -= n;
	}
}

#else

/* Unaligned words and pairs of them; may alias anything. */
typedef uint64_t im_word __attribute__((aligned(1), may_alias));
typedef uint64_t im_pair __attribute__((vector_size(16), aligned(1), may_alias));

/* Has a word another value by now? Between two barriers of its own a plain load will do. */
im_inline bool im_is_not(const uint64_t *p, uint64_t v)
{
	bool differs;

	AO_compiler_barrier();
	differs = *p != v;
	AO_compiler_barrier();
	return differs;
}

/* Lengths from 8 to 64 without a call: two or four overlapping moves. */
im_inline void im_copy_racy(void *dst, const void *src, size_t len)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	AO_compiler_barrier();
	if (len - 16 <= 16) {
		im_pair a = *(const im_pair *)s, b = *(const im_pair *)(s + len - 16);

		*(im_pair *)d = a;
		*(im_pair *)(d + len - 16) = b;
	} else if (len - 16 <= 48) {
		im_pair a = *(const im_pair *)s, b = *(const im_pair *)(s + len - 16);
		im_pair c = *(const im_pair *)(s + 16);
		im_pair e = *(const im_pair *)(s + len - 32);

		*(im_pair *)(d + 16) = c;
		*(im_pair *)(d + len - 32) = e;
		*(im_pair *)d = a;
		*(im_pair *)(d + len - 16) = b;
	} else if (len > 64) {
		memmove(d, s, len); /* hostile bytes may name places that overlap */
	} else if (len >= 8) {
		uint64_t a = *(const im_word *)s, b = *(const im_word *)(s + len - 8);

		*(im_word *)d = a;
		*(im_word *)(d + len - 8) = b;
	} else {
		for (size_t i = 0; i < len; i++)
			d[i] = s[i];
	}
	AO_compiler_barrier();
}

im_inline void im_fill_racy(void *dst, const void *src, size_t len)
{
	im_copy_racy(dst, src, len);
}

/* im_copy_racy() without a call for any length; for those up to about 1 KiB. */
im_inline void im_copy_racy_inline(void *dst, const void *src, size_t len)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if (likely(len <= 64)) {
		im_copy_racy(d, s, len);
		return;
	}
	AO_compiler_barrier();
	for (; len > 64; len -= 64, d += 64, s += 64) {
		im_pair a = ((const im_pair *)s)[0], b = ((const im_pair *)s)[1];
		im_pair c = ((const im_pair *)s)[2], e = ((const im_pair *)s)[3];

		((im_pair *)d)[0] = a;
		((im_pair *)d)[1] = b;
		((im_pair *)d)[2] = c;
		((im_pair *)d)[3] = e;
	}
	/* the last 1 .. 64, moved as 64 that overlap what was copied */
	d -= 64 - len;
	s -= 64 - len;
	for (unsigned i = 0; i < 4; i++)
		((im_pair *)d)[i] = ((const im_pair *)s)[i];
	AO_compiler_barrier();
}

#endif

#endif
