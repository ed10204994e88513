/* SPDX-License-Identifier: MIT */
/*
 * borrow.c - a value read where it lies: ipcmap_pin()
 *
 * The pin is taken by the read protocol (read.c, pinned.c). What is left to do here is what
 * belongs to this process: a value of several extents is mapped side by side, unless they happen
 * to be neighbours; a value that has no bytes to be read in place (a compressed one), and one of
 * a map in which this process can store no pin, is copied to memory of its own.
 *
 * A pin is that of one life of the process: in a forked child its token says so, and the parent's
 * pin stays as it is. The child has the mappings, so what it reads is as safe as that pin.
 *
 * Taking a pin back is one store and one compare-and-swap. If the shard has parked memory by then,
 * perhaps for want of this very pin, and its lock is free, it is looked after at once.
 */
#include "borrow.h"

#include "crash.h"
#include "pinned.h"
#include "read.h"
#include "room.h"
#include "window.h"

#include <stdlib.h>

#define TRIES 16u

/* What ipcmap_pin.own means. */
enum own {
	PIN,	/* number of the pin:32 (low) | shard:32 */
	TOKEN,	/* of the life of the process that has it; 0: no pin */
	MEMORY, /* a copy, or a mapping of MAPPED bytes; 0: neither */
	MAPPED,
};

static void describe(struct ipcmap_pin *p, const struct ipcmap_value *v, const void *val)
{
	p->val = val;
	p->len = v->len;
	p->version = v->version;
	p->ttl_left_ns = v->ttl_left_ns;
	p->type = v->type;
}

/* ---- copies ---- */

static int copy(struct ipcmap *m, const void *key, size_t key_len, struct ipcmap_pin *ret)
{
	struct ipcmap_value v = {0};
	void *buf = NULL;
	int r = IPCMAP_BUSY;

	/* the value may have grown between asking and copying: at most a few times */
	for (unsigned i = 0; i < TRIES; i++) {
		free(buf);
		buf = malloc(v.len + 1);
		if (!buf)
			return IPCMAP_NOMEM;
		v.buf = buf;
		v.cap = v.len;
		r = im_read_uncounted(m, key, key_len, &v);
		if (r != IPCMAP_SHORT)
			break;
		r = IPCMAP_BUSY;
	}
	if (r) {
		free(buf);
		return r;
	}
	describe(ret, &v, buf);
	ret->copied = 1;
	ret->own[MEMORY] = (uint64_t)(uintptr_t)buf;
	return 0;
}

static int copy_and_count(struct ipcmap *m, const void *key, size_t key_len,
			  struct ipcmap_pin *ret)
{
	int r = copy(m, key, key_len, ret);

	im_map_count_get(m, r == 0);
	return r;
}

/* ---- in place ---- */

/* Where the bytes of a pinned value are, side by side. */
static int see(struct ipcmap *m, const struct im_read_pin *p, struct ipcmap_pin *ret,
	       const unsigned char **ret_val)
{
	struct im_window w;
	int r;

	if (p->at.at) {
		*ret_val = p->at.at;
		return 0;
	}
	r = im_window_open(m->seg, p->at.chain.first, p->n, &w);
	if (r)
		return r;
	if (w.mapped) {
		ret->own[MEMORY] = (uint64_t)(uintptr_t)w.at;
		ret->own[MAPPED] = w.mapped;
	}
	*ret_val = w.at + p->at.skip;
	return 0;
}

int im_borrow(struct ipcmap *m, const void *key, size_t key_len, struct ipcmap_pin *ret)
{
	uint64_t hash = im_hash(m->hash_seed, key, key_len);
	struct im_read_pin p = {.hint = im_load32_rlx(&m->pin_hint)};
	struct ipcmap_value v = {0};
	const unsigned char *val;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (m->seg->rdonly || !m->pins.n)
		return copy_and_count(m, key, key_len, ret);
	r = im_owner_ready(m->seg);
	if (r)
		return r;
	r = im_read_pin(m, key, key_len, hash, &v, &p);
	if (r)
		return r;
	if (p.at.packed)
		return copy(m, key, key_len, ret);
	ret->own[PIN] = p.pin | (uint64_t)im_map_shard(m, hash) << 32;
	ret->own[TOKEN] = im_load_rlx(m->token);
	r = see(m, &p, ret, &val);
	if (r == 0) {
		describe(ret, &v, val);
		return 0;
	}
	im_borrow_end(m, ret);
	/* no mapping is to be had, or extents are shorter than pages */
	return r == -EUCLEAN ? r : copy(m, key, key_len, ret);
}

/* ---- the end ---- */

/* Without waiting: whoever needs the memory looks as well. */
static void look_after(struct ipcmap *m, uint32_t shard)
{
	uint64_t bit = UINT64_C(1) << m->seg->id;
	struct im_op op;

	if (shard >= m->n_shards || im_tls.held & bit)
		return;
	im_tls.held |= bit;
	im_compiler_barrier();
	im_op_init(m, &op, IM_NOWAIT);
	im_op_shard(&op, shard);
	if (im_op_try_enter(&op) == 0) {
		im_room_unpark(&op, false);
		im_op_leave(&op);
	}
	im_op_done(&op);
	im_compiler_barrier();
	im_tls.held &= ~bit;
}

void im_borrow_end(struct ipcmap *m, struct ipcmap_pin *p)
{
	uint32_t pin = (uint32_t)p->own[PIN], shard = (uint32_t)(p->own[PIN] >> 32);
	struct im_window w = {
		.at = (const unsigned char *)(uintptr_t)p->own[MEMORY],
		.mapped = p->own[MAPPED],
	};
	bool mine = p->own[TOKEN] && p->own[TOKEN] == im_load_rlx(m->token);

	if (w.mapped)
		im_window_close(&w);
	else
		free((void *)(uintptr_t)w.at);
	memset(p, 0, sizeof(*p));
	if (!mine)
		return;
	im_unpin(&m->pins, pin);
	im_store32_rlx(&m->pin_hint, pin);
	if (unlikely(im_load32_rlx(&m->shards[shard].parked)))
		look_after(m, shard);
}
