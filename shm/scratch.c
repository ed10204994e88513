/* SPDX-License-Identifier: MIT */
/*
 * scratch.c - private memory for the time of a call
 *
 * Invariants
 *  scratch.I1  the area of a thread is used by one call at a time: busy says so, and only the
 *              thread itself, or a handler that interrupts it and returns, changes it.
 * A handler that leaves a call by longjmp leaves busy set; from then on that thread's calls
 * map and unmap, which is slower and as right.
 */
#include "scratch.h"
#include "atomic.h"

#include <errno.h>
#include <sys/mman.h>

static __thread unsigned char *area __attribute__((tls_model("initial-exec")));
static __thread bool busy __attribute__((tls_model("initial-exec")));

static unsigned char *map(size_t len)
{
	int saved = errno;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		madvise(p, len, MADV_DONTDUMP); /* as the segment, whose values it holds */
	errno = saved;
	return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, size_t len)
{
	int saved = errno;

	munmap(p, len);
	errno = saved;
}

int im_scratch_take(size_t len, struct im_scratch *ret)
{
	if (busy || len > IM_SCRATCH_LEN) {
		ret->len = len;
		ret->p = map(len);
		return ret->p ? 0 : -ENOMEM;
	}
	busy = true;
	im_compiler_barrier();
	if (unlikely(!area))
		area = map(IM_SCRATCH_LEN);
	ret->len = 0;
	ret->p = area;
	if (ret->p)
		return 0;
	im_compiler_barrier();
	busy = false;
	return -ENOMEM;
}

void im_scratch_give(struct im_scratch *s)
{
	if (s->len) {
		unmap(s->p, s->len);
	} else if (s->p) {
		im_compiler_barrier();
		busy = false;
	}
	s->p = NULL;
	s->len = 0;
}

void im_scratch_thread_end(void)
{
	if (area && !busy) {
		unmap(area, IM_SCRATCH_LEN);
		area = NULL;
	}
}
