/* SPDX-License-Identifier: MIT */
/*
 * write.c - the write protocol: put, delete, clear
 *
 *     (fill a large value) lock; find; decide; append; redo list: publish and account; unlock
 *
 * Everything that can fail comes before the first change: conditions, room in the hot head, a
 * free slot. If memory is missing the lock is left, an extent is fetched, and all is
 * decided again. From the armed redo list on, the write happens, whoever is killed.
 *
 * The order in the list is what readers see: reference, tag, then the books. An update is one
 * store, the reference; a delete is one store, the tag.
 *
 * Invariants
 *  write.I1  entries = the keys named and at or above the floor, at every moment that no list
 *            is armed.
 *  write.I2  versions handed out in a shard rise and are never handed out twice.
 */
#include "write.h"

#include "clean.h"
#include "crash.h"
#include "index.h"
#include "large.h"
#include "log.h"
#include "os.h"
#include "read.h"
#include "redo.h"
#include "room.h"
#include "space.h"

/* Rounds of fetching memory for one call: each brings the shard an extent or ends. */
#define ROUNDS_MAX 4096u

/* The coarse clock's longest tick (HZ=100), twice: shorter lives might end before they begin. */
#define TTL_MIN_NS UINT64_C(20000000)

struct request {
	const struct ipcmap_put_options *how; /* never NULL */
	struct ipcmap_value *old; /* may be NULL */
	uint64_t seen; /* version of the large value that was copied to old outside the lock */
	unsigned looks;
};

static const struct ipcmap_put_options plain = IPCMAP_PUT_INIT;

/* ---- what is there ---- */

static bool counts(struct im_op *op, const struct im_entry *e)
{
	return e->version >= im_load_rlx(&op->s->floor);
}

static bool alive(struct im_op *op, const struct im_entry *e)
{
	return counts(op, e) &&
	       (!(e->flags & FMT_F_TTL) || im_entry_expiry(e) > im_op_now(op));
}

static bool value_equals(struct im_op *op, const struct im_entry *e, const void *want,
			 size_t len)
{
	struct fmt_chain c;

	if (e->val_len != len)
		return false;
	if (!(e->flags & FMT_F_LARGE))
		return im_key_equal(im_entry_val(e), want, len);
	im_entry_chain(e, &c);
	return im_large_equal(op->seg, &c, e->flags & FMT_F_FARKEY ? e->key_len : 0, want, len);
}

static int condition(struct im_op *op, const struct request *q, const struct im_entry *e)
{
	const struct ipcmap_put_options *how = q->how;

	if (!(how->flags & ~IPCMAP_IF_ABSENT))
		return how->flags && e ? IPCMAP_EXISTS : 0;
	if (!e)
		return IPCMAP_NOTFOUND;
	if (how->flags & IPCMAP_IF_ABSENT)
		return IPCMAP_EXISTS;
	if (how->flags & IPCMAP_IF_VERSION && e->version != how->version)
		return IPCMAP_MISMATCH;
	if (how->flags & IPCMAP_IF_EQUAL && !value_equals(op, e, how->equal, how->equal_len))
		return IPCMAP_MISMATCH;
	return 0;
}

/* Copy the present value out, when it is wanted. @r is what the call would return. */
static int show_old(struct im_op *op, const struct request *q, const struct im_entry *e, int r)
{
	struct ipcmap_value *v = q->old;
	uint64_t expiry;

	if (!v)
		return r;
	if (!e) {
		if (r == 0) {
			v->len = 0;
			v->version = 0;
			v->ttl_left_ns = IPCMAP_TTL_NONE;
			v->type = 0;
		}
		return r;
	}
	v->len = e->val_len;
	if (v->cap < e->val_len)
		return r ? r : IPCMAP_SHORT;
	if (!(e->flags & FMT_F_LARGE))
		im_copy_racy(v->buf, im_entry_val(e), e->val_len);
	else if (q->seen != e->version)
		return IM_LOOK;
	expiry = im_entry_expiry(e);
	v->version = e->version;
	v->ttl_left_ns = e->flags & FMT_F_TTL ? expiry - im_op_now(op) : IPCMAP_TTL_NONE;
	v->type = e->type;
	return r;
}

/* A large value is copied outside the lock; under it the version must still be the same. */
static int look(struct im_op *op, struct request *q)
{
	struct ipcmap_value v = {.buf = q->old->buf, .cap = q->old->cap};
	int r = im_read_getx(op->m, op->key, op->key_len, &v);

	/* the first look waits for nobody, so NOWAIT has it too */
	if (q->looks++ && im_wait_over(&op->wait))
		return IPCMAP_BUSY;
	if (r == 0)
		q->seen = v.version;
	return r == IPCMAP_NOTFOUND || r == IPCMAP_SHORT || r == IPCMAP_BUSY ? 0 : r;
}

/* ---- life ---- */

static uint64_t random_below(uint64_t n)
{
	static __thread uint64_t state __attribute__((tls_model("initial-exec")));

	if (!state)
		state = im_os->now() ^ (uint64_t)(uintptr_t)&state;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n ? state % n : 0;
}

static void set_life(struct im_op *op, const struct request *q, const struct im_entry *old,
		     struct im_record *rec)
{
	uint64_t ttl = q->how->ttl_ns;

	rec->flags &= ~FMT_F_TTL;
	if (ttl == IPCMAP_TTL_KEEP && old) {
		if (old->flags & FMT_F_TTL) {
			rec->flags |= FMT_F_TTL;
			rec->expiry = im_entry_expiry(old);
		}
		return;
	}
	if (ttl == 0 || ttl == IPCMAP_TTL_KEEP)
		ttl = im_load_rlx(&op->seg->h->ttl_ns);
	if (ttl == IPCMAP_TTL_NONE)
		return;
	if (q->how->jitter)
		ttl -= random_below(ttl / 100 * q->how->jitter + 1);
	ttl = max_u64(ttl, TTL_MIN_NS);
	rec->flags |= FMT_F_TTL;
	rec->expiry = im_op_now(op) + ttl;
	if (rec->expiry < ttl || rec->expiry >= UINT64_MAX - 1)
		rec->expiry = UINT64_MAX - 2;
}

/* ---- put ---- */

/* The books of the extents that lose @lost (NULL: none) and gain @size at @ref. */
static void account(struct im_op *op, const struct im_entry *lost, bool counted, uint32_t ext,
		    uint32_t size)
{
	struct fmt_extent *t = op->seg->table;
	uint64_t to = im_load_rlx(&t[ext].books), from;
	uint32_t live = im_books_live(to) + size, named = im_books_named(to) + size;

	if (lost && lost->ext == ext) {
		live -= counted ? lost->size : 0;
		named -= lost->size;
	} else if (lost) {
		from = im_load_rlx(&t[lost->ext].books);
		im_redo_set(op, &t[lost->ext].books,
			    im_books(im_books_live(from) - (counted ? lost->size : 0),
				     im_books_named(from) - lost->size));
	}
	im_redo_set(op, &t[ext].books, im_books(live, named));
}

static void name_slot(struct im_op *op, const struct im_slot *slot, bool found, uint32_t ref)
{
	/* ord(publish): bytes, reference, tag. Pairs with read.c. */
	if (found) {
		im_redo_set32(op, &slot->b->ref[slot->i], ref);
		return;
	}
	im_redo_set32(op, &slot->free_b->ref[slot->free_i], ref);
	im_redo_set(op, &slot->free_b->tags[slot->free_i >> 3],
		    im_tag_word(slot->free_b, slot->free_i, im_hash_tag(op->hash)));
}

/* Append the record and make @slot name it. All room is there. */
static bool store(struct im_op *op, const struct im_slot *slot, bool found,
		  const struct im_record *rec, uint64_t chain_word)
{
	struct fmt_shard *s = op->s;
	bool counted = found && counts(op, &slot->e);
	uint32_t ext = im_load32_rlx(&s->head[FMT_HOT]);
	uint32_t ref = im_log_append(op, FMT_HOT, rec);
	uint64_t large = im_load_rlx(&s->large);
	struct fmt_chain old;

	im_redo_start(op);
	if (rec->flags & FMT_F_LARGE)
		im_redo_word(op, rec->chain.first, chain_word,
			     fmt_word(FMT_LARGE, op->shard, fmt_word_gen(chain_word)));
	name_slot(op, slot, found, ref);
	account(op, found ? &slot->e : NULL, counted, ext, rec->size);
	if (!counted)
		im_redo_set(op, &s->entries, im_load_rlx(&s->entries) + 1);
	im_redo_set(op, &s->live,
		    im_load_rlx(&s->live) + rec->size - (counted ? slot->e.size : 0));
	im_redo_set(op, &s->version, rec->version + 1);
	if (rec->flags & FMT_F_LARGE)
		large += (uint64_t)rec->chain.n * op->seg->extent_len;
	if (found && slot->e.flags & FMT_F_LARGE) {
		im_entry_chain(&slot->e, &old);
		/* last but for its own change of large, which counts from the new value */
		im_large_unhook(op, &old, large);
	} else if (rec->flags & FMT_F_LARGE) {
		im_redo_set(op, &s->large, large);
	}
	return im_redo_run(op);
}

/* Room for the record: in the live data's cap, the hot head, the chain. 0; IM_NEED; error. */
static int find_room(struct im_op *op, struct im_slot *slot, bool found,
		     const struct im_record *rec)
{
	struct fmt_shard *s = op->s;
	uint32_t old = found && counts(op, &slot->e) ? slot->e.size : 0;
	int r;

	op->grow = rec->size > old ? rec->size - old : 0;
	if (unlikely(op->grow > im_room_slack(s)) && op->grow)
		return IM_NEED;
	r = im_room_hot(op, rec->size);
	if (unlikely(r))
		return r;
	if (!found && unlikely(!slot->free_b)) {
		r = im_index_extend(op, slot->tail, &slot->free_b);
		slot->free_i = 0;
		if (r)
			return r;
	}
	if (found && slot->e.flags & FMT_F_LARGE)
		return im_room_settle(op); /* the place for what is to be freed must be free */
	return 0;
}

/* After a write: what the next ones will need. */
static void look_ahead(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t hot = im_load32_rlx(&s->head[FMT_HOT]);

	if (likely(im_load32_rlx(&s->ahead) != FMT_NO_EXTENT &&
		   im_room_slack(s) >= op->seg->extent_len / 2))
		return;
	if (hot < op->seg->n_extents &&
	    im_load32_rlx(&op->seg->table[hot].fill) > op->seg->extent_len / 2) {
		op->grow = op->seg->extent_len / 2;
		op->want_ahead = true;
	}
}

static int put_locked(struct im_op *op, const struct request *q, struct im_record *rec,
		      uint64_t chain_word)
{
	struct fmt_shard *s = op->s;
	struct im_slot slot;
	const struct im_entry *old = NULL;
	uint64_t books = 0;
	int found, r;

	if (unlikely(!im_load_rlx(&s->geometry))) {
		r = im_index_start(op);
		if (r)
			return r;
	}
	found = im_index_find(op, &slot);
	if (unlikely(found < 0))
		return found;
	if (found && alive(op, &slot.e))
		old = &slot.e;
	r = show_old(op, q, old, condition(op, q, old));
	if (r)
		return r;
	rec->version = im_load_rlx(&s->version);
	if (unlikely(rec->version >= FMT_VERSION_MASK))
		return IPCMAP_RANGE;
	set_life(op, q, old, rec);
	rec->size = (uint32_t)im_entry_round(
		op->seg, im_entry_len(rec->flags, rec->key_len, rec->val_len));
	r = find_room(op, &slot, found, rec);
	if (r)
		return r;
	if (found)
		books = im_load_rlx(&op->seg->table[slot.e.ext].books);
	if (unlikely(!store(op, &slot, found, rec, chain_word)))
		return IPCMAP_CORRUPT;
	crash("put.stored");
	im_room_settle(op);
	if (found)
		im_clean_note(op, slot.e.ext, books,
			      im_load_rlx(&op->seg->table[slot.e.ext].books));
	im_index_grow(op);
	im_clean_pace(op, rec->size);
	look_ahead(op);
	return 0;
}

/* A value of its own extents; memory is made as for any other. */
static int make_chain(struct im_op *op, struct im_record *rec, uint64_t *ret_word)
{
	uint64_t len = (uint64_t)rec->val_len + (rec->flags & FMT_F_FARKEY ? rec->key_len : 0);
	int r;

	if (len > (uint64_t)op->seg->n_extents * op->seg->extent_len)
		return IPCMAP_TOOBIG;
	op->grow = op->seg->extent_len;
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		r = im_large_make(op->seg, rec, &op->wait, ret_word);
		if (r != -EDQUOT && r != -ENOSPC && r != -EFBIG)
			return r;
		/* everything was given back; make more free and begin again */
		r = im_clean_make_free(op, len, r);
		if (r)
			return r;
		if (im_wait_over(&op->wait))
			return IPCMAP_BUSY;
	}
	return IPCMAP_BUSY;
}

int im_write_put(struct ipcmap *m, const void *key, size_t key_len, const void *val,
		 size_t val_len, const struct ipcmap_put_options *how,
		 struct ipcmap_value *ret_old)
{
	struct request q = {.how = how ? how : &plain, .old = ret_old};
	struct im_record rec = {.key = key,
				.val = val,
				.key_len = (uint32_t)key_len,
				.val_len = (uint32_t)val_len,
				.type = q.how->type};
	uint64_t word = 0;
	struct im_op op;
	int r = 0;

	rec.hash = im_hash(m->hash_seed, key, key_len);
	im_op_init(m, &op, q.how->deadline_ns);
	im_op_key(&op, key, rec.key_len, rec.hash);
	im_large_plan(m->seg, &rec);
	if (rec.flags & FMT_F_LARGE)
		r = make_chain(&op, &rec, &word);
	if (r)
		return r;
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		r = im_op_enter(&op);
		if (r)
			break;
		r = put_locked(&op, &q, &rec, word);
		im_op_leave(&op);
		if (likely(r != IM_NEED && r != IM_LOOK))
			break;
		r = r == IM_LOOK ? look(&op, &q) : im_op_feed(&op);
		if (r)
			break;
		r = IPCMAP_BUSY;
	}
	if (rec.flags & FMT_F_LARGE) {
		if (r)
			im_large_drop(m->seg, &rec);
		else
			im_space_handed_over(m->seg);
	}
	im_op_done(&op);
	return r;
}

/* ---- delete ---- */

static int del_locked(struct im_op *op, const struct request *q)
{
	struct fmt_shard *s = op->s;
	struct im_slot slot;
	uint64_t *books, old;
	struct fmt_chain c;
	bool is, counted;
	int found, r;

	if (!im_load_rlx(&s->geometry))
		return IPCMAP_NOTFOUND;
	found = im_index_find(op, &slot);
	if (found <= 0)
		return found ? found : IPCMAP_NOTFOUND;
	is = alive(op, &slot.e);
	counted = counts(op, &slot.e);
	if (is) {
		r = show_old(op, q, &slot.e, condition(op, q, &slot.e));
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
	im_redo_start(op);
	im_redo_set(op, &slot.b->tags[slot.i >> 3], im_tag_word(slot.b, slot.i, 0));
	im_redo_set(op, books,
		    im_books(im_books_live(old) - (counted ? slot.e.size : 0),
			     im_books_named(old) - slot.e.size));
	if (counted) {
		im_redo_set(op, &s->entries, im_load_rlx(&s->entries) - 1);
		im_redo_set(op, &s->live, im_load_rlx(&s->live) - slot.e.size);
	}
	if (slot.e.flags & FMT_F_LARGE) {
		im_entry_chain(&slot.e, &c);
		im_large_unhook(op, &c, im_load_rlx(&s->large));
	}
	im_redo_run(op);
	crash("del.stored");
	im_room_settle(op);
	im_clean_note(op, slot.e.ext, old, im_load_rlx(books));
	im_clean_pace(op, slot.e.size);
	return is ? 0 : IPCMAP_NOTFOUND;
}

int im_write_del(struct ipcmap *m, const void *key, size_t key_len,
		 const struct ipcmap_put_options *only_if, struct ipcmap_value *ret_old)
{
	struct request q = {.how = only_if ? only_if : &plain, .old = ret_old};
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
		if (r != IM_LOOK)
			break;
		r = look(&op, &q);
		if (r)
			break;
	}
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
