/* SPDX-License-Identifier: MIT */
/*
 * remove.c - delete one key; forget every key
 *
 * A delete is one store, the tag; it needs no memory and so always works. The entry's bytes
 * are garbage from then on. Clear raises the shard's floor: entries with a lower version are
 * not there, whatever names them, and are walked and dropped by later cleaning.
 */
#include "write.h"

#include "clean.h"
#include "crash.h"
#include "event.h"
#include "index.h"
#include "lease.h"
#include "publish.h"
#include "request.h"
#include "room.h"
#include "space.h"

/* ---- delete ---- */

/* It may be on its way: what was loaded before this delete is not stored after it. */
static int not_there(struct im_op *op)
{
	im_lease_void(op);
	return IPCMAP_NOTFOUND;
}

static int del_locked(struct im_op *op, const struct im_request *q)
{
	struct fmt_shard *s = op->s;
	struct im_slot slot;
	uint64_t *books, old;
	bool is;
	int found, r;

	if (!(im_load_rlx(&s->geometry) & FMT_BUCKETS_MASK))
		return not_there(op);
	found = im_index_find(op, &slot);
	if (found <= 0)
		return found ? found : not_there(op);
	is = im_request_alive(op, &slot.e);
	if (is) {
		r = im_request_judge(op, q, &slot.e);
		if (r)
			return r;
	}
	if (slot.e.flags & FMT_F_LARGE) {
		r = im_room_settle(op);
		if (r)
			return r;
	}
	books = &op->seg->table[slot.e.ext].books;
	old = im_load_rlx(books);
	im_unpublish(op, &slot, false, is ? FMT_EVENT_DEL : FMT_EVENT_EXPIRE);
	crash("del.stored");
	im_room_try_settle(op);
	im_index_trim(op, im_index_place(op, op->hash));
	im_clean_note(op, slot.e.ext, old, im_load_rlx(books));
	im_clean_pace(op, slot.e.size);
	return is ? 0 : IPCMAP_NOTFOUND;
}

int im_write_del(struct ipcmap *m, const void *key, size_t key_len,
		 const struct ipcmap_put_options *only_if, struct ipcmap_value *ret_old)
{
	struct im_request q = {.how = only_if ? only_if : &im_request_plain, .old = ret_old};
	struct im_op op;
	int r;

	im_op_init(m, &op, q.how->deadline_ns);
	im_op_key(&op, key, (uint32_t)key_len, im_hash(m->hash_seed, key, key_len));
	for (;;) {
		r = im_op_enter(&op);
		if (r)
			break;
		r = del_locked(&op, &q);
		im_op_leave(&op);
		if (r != IM_LOOK && r != IM_SETTLE)
			break;
		r = r == IM_LOOK ? im_request_look(&op, &q) : im_space_await(op.seg, &op.wait);
		if (r)
			break;
	}
	im_lease_ring(&op);
	im_op_done(&op);
	return r;
}

/* ---- clear ---- */

static void clear_locked(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint64_t floor = im_load_rlx(&s->version) + 1;

	/* clear takes a version: one of a put killed before its list may be noted in its extent,
	 * which must be wholly below the floor */
	im_redo_start(op);
	im_redo_set(op, &s->floor, floor);
	im_redo_set(op, &s->version, floor);
	im_redo_set(op, &s->entries, 0);
	im_redo_set(op, &s->live, 0);
	/* log.I4: later entries go to other extents than these */
	im_redo_set(op, &s->tail,
		    im_load_rlx(&s->tail) + im_room_left(op, FMT_HOT) + im_room_left(op, FMT_COLD));
	im_redo_set32(op, &s->head[FMT_HOT], FMT_NO_EXTENT);
	im_redo_set32(op, &s->head[FMT_COLD], FMT_NO_EXTENT);
	if (im_event_wanted(op))
		im_event_add(op, FMT_EVENT_CLEAR, NULL, 0, 0, floor - 1);
	im_redo_run(op);
	im_room_recap(op);
	crash("clear.stored");
	im_clean_pace(op, op->seg->extent_len / 64);
}

int im_write_clear(struct ipcmap *m)
{
	struct im_op op;
	int r = 0;

	im_op_init(m, &op, 0);
	for (uint32_t k = 0; k < m->n_shards && !r; k++) {
		im_op_shard(&op, k);
		r = im_op_enter(&op);
		if (r)
			break;
		clear_locked(&op);
		im_op_leave(&op);
	}
	im_op_done(&op);
	return r;
}
