/* SPDX-License-Identifier: MIT */
/*
 * api.h - what the files behind ipcmap.h share: judging arguments, around everything that locks
 */
#ifndef IM_API_H
#define IM_API_H

#include "ipcmap.h"
#include "map.h"
#include "owner.h"

/*
 * held keeps a signal handler, or anything else that interrupts this thread in there, from
 * waiting for itself.
 */
im_inline int begin_write(struct ipcmap *m)
{
	uint64_t bit = UINT64_C(1) << m->seg->id;
	int r;

	if (unlikely(m->seg->rdonly))
		return IPCMAP_READONLY;
	if (unlikely(im_tls.held & bit))
		return IPCMAP_DEADLOCK;
	im_tls.held |= bit;
	im_compiler_barrier();
	/* a new life of this process (fork) has to claim a slot first; two loads when it has */
	r = im_owner_ready(m->seg);
	if (r)
		im_tls.held &= ~bit;
	return r;
}

im_inline void end_write(struct ipcmap *m)
{
	im_compiler_barrier();
	im_tls.held &= ~(UINT64_C(1) << m->seg->id);
}

/* ---- arguments ---- */

im_inline bool bad_key(const struct ipcmap *m, const void *key, size_t key_len)
{
	return !m || !key || key_len - 1 >= IPCMAP_KEY_MAX;
}

im_inline bool bad_value(const struct ipcmap_value *v)
{
	return !v || (!v->buf && v->cap);
}

#endif
