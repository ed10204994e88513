/* SPDX-License-Identifier: MIT */
/*
 * commit.c - a group of puts and deletes, all or none of them
 *
 * group.c has the protocol and its argument; this is its writer. All that can fail comes before
 * the commit: the conditions of all changes first, then the room of all shards. What is missing
 * is fetched, or waited for, without any lock, and then all is decided again.
 *
 * Changes are sorted by shard; the changes of a shard are a part of the record.
 */
#include "commit.h"

#include "clean.h"
#include "crash.h"
#include "group.h"
#include "index.h"
#include "request.h"
#include "room.h"
#include "space.h"
#include "span.h"
#include "write.h"

#include <stdlib.h>

struct item {
	struct ipcmap_change *c;
	uint64_t hash;
	uint64_t expiry; /* decided under the lock; UINT64_MAX: none */
	uint32_t shard;
	uint32_t size; /* in the log, at most */
	uint32_t off;  /* in the record */
	bool is_new;   /* takes a slot */
};

/* The changes of a shard: items from .. to - 1. */
struct part {
	uint32_t from, to;
	uint32_t size; /* of all its entries */
};

/*
 * Near the limit two shards of a group can take the last extent from each other again and
 * again: after so many rounds for each of them there is none for both.
 */
#define ROUNDS_EACH 32u

struct job {
	struct ipcmap *m;
	struct item *item;
	size_t n;
	struct part *part; /* of each operation of the span */
	struct im_span sp;
	struct im_op *lack; /* the operation that needs memory, or the space lock */
	uint64_t deadline_ns;
	uint32_t len; /* of the record */
	uint32_t ext; /* its extent, PRIVATE, and that one's word */
	uint64_t word;
	unsigned rounds;
	bool committed;
};

/* ---- the group ---- */

static int compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int d;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->c->key_len != y->c->key_len)
		return x->c->key_len < y->c->key_len ? -1 : 1;
	d = memcmp(x->c->key, y->c->key, x->c->key_len);
	return d;
}

static bool is_del(const struct item *it)
{
	return it->c->flags & IPCMAP_CHANGE_DEL;
}

static int measure(struct job *j)
{
	const struct im_seg *seg = j->m->seg;
	uint64_t len = sizeof(struct fmt_group) + j->sp.n * sizeof(struct fmt_part);

	for (uint32_t p = 0, i = 0; p < j->sp.n; p++) {
		struct part *part = &j->part[p];
		uint64_t size = 0;

		part->from = i;
		for (; i < j->n && j->item[i].shard == j->sp.op[p].shard; i++) {
			struct item *it = &j->item[i];
			uint64_t each = im_entry_len(FMT_F_TTL, (uint32_t)it->c->key_len,
						     it->c->val_len);

			if (each > seg->extent_len / 2)
				return IPCMAP_TOOBIG;
			it->size = is_del(it) ? 0 : (uint32_t)im_entry_round(seg, each);
			it->off = (uint32_t)len;
			size += it->size;
			len += im_change_len((uint32_t)it->c->key_len, (uint32_t)it->c->val_len);
			if (len > seg->extent_len || size > seg->extent_len / 2)
				return IPCMAP_TOOBIG;
		}
		part->to = i;
		part->size = (uint32_t)size;
	}
	j->len = (uint32_t)len;
	return 0;
}

static int arrange(struct job *j, struct ipcmap_change *changes)
{
	uint64_t hash[IPCMAP_COMMIT_MAX];

	for (size_t i = 0; i < j->n; i++) {
		hash[i] = im_hash(j->m->hash_seed, changes[i].key, changes[i].key_len);
		j->item[i] = (struct item){.c = &changes[i],
					   .hash = hash[i],
					   .shard = im_map_shard(j->m, hash[i])};
		changes[i].rc = 0;
	}
	qsort(j->item, j->n, sizeof(*j->item), compare);
	for (size_t i = 1; i < j->n; i++)
		if (compare(&j->item[i - 1], &j->item[i]) == 0)
			return IPCMAP_INVALID;
	return im_span_make(j->m, hash, j->n, j->deadline_ns, &j->sp);
}

/* ---- the record ---- */

/* An extent of this process; when there is none, memory is made free as for a large value. */
static int take_extent(struct job *j)
{
	struct im_op *op = &j->sp.op[0];
	uint64_t len = j->m->seg->extent_len;

	op->grow = len;
	for (;;) {
		int r = im_space_take(j->m->seg, FMT_NO_EXTENT, &op->wait, &j->ext, &j->word);

		if (r != -EDQUOT && r != -ENOSPC && r != -EFBIG)
			return r;
		r = im_clean_make_free(op, len, r);
		if (r)
			return r;
		if (im_wait_over(&op->wait))
			return IPCMAP_BUSY;
	}
}

static void put_change(unsigned char *record, const struct item *it)
{
	const struct ipcmap_change *c = it->c;
	struct fmt_change head = {
		.expiry = it->expiry,
		.val_len = is_del(it) ? 0 : (uint32_t)c->val_len,
		.key_len = (uint32_t)c->key_len,
		.type = (uint8_t)c->type,
		.del = is_del(it),
	};

	im_fill_racy(record + it->off, &head, sizeof(head));
	im_fill_racy(record + it->off + sizeof(head), c->key, c->key_len);
	im_fill_racy(record + it->off + sizeof(head) + c->key_len, c->val, head.val_len);
}

/* All of it: versions and lives are known under the locks only. */
static void write_record(struct job *j)
{
	unsigned char *record = im_seg_extent(j->m->seg, j->ext), *at = record;
	struct fmt_group head = {FMT_GROUP_MAGIC, j->len, j->sp.n};

	im_fill_racy(at, &head, sizeof(head));
	at += sizeof(head);
	for (uint32_t p = 0; p < j->sp.n; p++) {
		const struct part *part = &j->part[p];
		struct fmt_part f = {
			.version = im_load_rlx(&j->sp.op[p].s->version),
			.shard = j->sp.op[p].shard,
			.n = part->to - part->from,
			.off = j->item[part->from].off,
		};

		im_fill_racy(at, &f, sizeof(f));
		at += sizeof(f);
		for (uint32_t i = part->from; i < part->to; i++)
			put_change(record, &j->item[i]);
	}
}

/* ---- deciding, under the locks ---- */

static void life_of(struct im_op *op, struct item *it, const struct im_request *q,
		    const struct im_entry *old)
{
	struct im_record rec = {0};

	im_write_life(op, q, old, &rec);
	it->expiry = rec.flags & FMT_F_TTL ? rec.expiry : UINT64_MAX;
}

/* The condition of one change: 0 with rc set; or an error of the shard. */
static int judge(struct im_op *op, struct item *it, unsigned *large)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct im_request q = {.how = &how};
	const struct im_entry *old = NULL;
	struct im_slot slot;
	int found;

	op->key = it->c->key;
	op->key_len = (uint32_t)it->c->key_len;
	op->hash = it->hash;
	found = im_index_find(op, &slot);
	if (found < 0)
		return found;
	if (found && im_request_alive(op, &slot.e))
		old = &slot.e;
	how.flags = it->c->flags & ~IPCMAP_CHANGE_DEL;
	how.version = it->c->version;
	how.ttl_ns = it->c->ttl_ns;
	it->c->rc = im_request_check(op, &q, old);
	it->is_new = !found && !is_del(it);
	*large += found && slot.e.flags & FMT_F_LARGE;
	life_of(op, it, &q, old);
	return 0;
}

static int start_index(struct im_op *op)
{
	if (likely(im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK))
		return 0;
	return im_index_start(op);
}

/* The conditions of a part, all of them. */
static int judge_part(struct job *j, uint32_t p, int *ret_unmet)
{
	struct im_op *op = &j->sp.op[p];
	unsigned large = 0;
	int r = start_index(op);

	for (uint32_t i = j->part[p].from; i < j->part[p].to && r == 0; i++) {
		r = judge(op, &j->item[i], &large);
		if (r == 0 && !*ret_unmet)
			*ret_unmet = j->item[i].c->rc;
	}
	if (r)
		return r;
	if (large > 1)
		return IPCMAP_TOOBIG;
	return large ? im_room_settle(op) : 0;
}

static unsigned count_free(const struct im_op *op, uint64_t b, struct fmt_bucket **ret_tail,
			   unsigned *ret_n)
{
	struct fmt_bucket *at = im_bucket(op->m, op->dir, b);
	unsigned n_free = 0;

	*ret_tail = NULL;
	for (*ret_n = 0; at && *ret_n < IM_CHAIN_MAX; ++*ret_n) {
		for (unsigned i = 0; i < FMT_SLOTS; i++)
			n_free += !im_tag_at(im_load_rlx(&at->tags[i >> 3]), i);
		*ret_tail = at;
		at = im_bucket_next(op->seg, im_load_rlx(&at->tags[1]));
	}
	return n_free;
}

/* As many free slots in the chain of a new key as there are new keys for it. */
static int make_slots(struct job *j, uint32_t p, uint32_t i)
{
	struct im_op *op = &j->sp.op[p];
	uint64_t n = im_load_rlx(&op->s->geometry) & FMT_BUCKETS_MASK;
	uint64_t b = im_bucket_of(j->item[i].hash, n);
	unsigned need = 0, have, len;
	struct fmt_bucket *tail;

	for (uint32_t k = j->part[p].from; k <= i; k++)
		need += j->item[k].is_new && im_bucket_of(j->item[k].hash, n) == b;
	have = count_free(op, b, &tail, &len);
	for (; have < need; have += FMT_SLOTS) {
		int r;

		if (!tail)
			return IPCMAP_CORRUPT;
		if (len++ >= IM_CHAIN_MAX)
			return IPCMAP_LIMIT;
		r = im_index_extend(op, tail, &tail);
		if (r)
			return r;
		crash("commit.extended");
	}
	return 0;
}

static int find_room(struct job *j, uint32_t p)
{
	struct im_op *op = &j->sp.op[p];
	uint32_t size = j->part[p].size;
	int r;

	if (im_load_rlx(&op->s->version) >= FMT_VERSION_MASK - IPCMAP_COMMIT_MAX)
		return IPCMAP_RANGE;
	op->grow = size;
	if (size && size > im_room_slack(op->s))
		return IM_NEED;
	r = size ? im_room_hot(op, size) : 0;
	for (uint32_t i = j->part[p].from; i < j->part[p].to && r == 0; i++)
		if (j->item[i].is_new)
			r = make_slots(j, p, i);
	return r;
}

/* An older group here, all stored, whose record could not be freed then: 0; IM_SETTLE. */
static int end_older(struct im_op *op)
{
	if (likely(!im_load32_rlx(&op->s->group)))
		return 0;
	im_group_end(op);
	return im_load32_rlx(&op->s->group) ? IM_SETTLE : 0;
}

/* 0: it can be committed; IM_NEED, IM_SETTLE: not yet; or an error. */
static int decide(struct job *j)
{
	int unmet = 0, r = 0;

	for (uint32_t p = 0; p < j->sp.n; p++) {
		j->lack = &j->sp.op[p];
		r = judge_part(j, p, &unmet);
		if (r)
			return r;
	}
	if (unmet)
		return unmet;
	for (uint32_t p = 0; p < j->sp.n; p++) {
		j->lack = &j->sp.op[p];
		r = find_room(j, p);
		if (r == 0)
			r = end_older(j->lack);
		if (r)
			return r;
	}
	return 0;
}

/* ---- committing ---- */

static int commit(struct job *j)
{
	uint64_t word = fmt_word(FMT_LARGE, FMT_WHO_GROUP, fmt_word_gen(j->word));

	write_record(j);
	for (uint32_t p = 0; p < j->sp.n; p++) {
		struct fmt_shard *s = j->sp.op[p].s;

		im_store_rlx(&s->group_word, word);
		im_store32_rel(&s->group, j->ext + 1);
		crash("commit.named");
	}
	/* ord(group): the record and the groups, then the commit. Pairs with im_group_finish(). */
	im_write_barrier();
	if (!im_cas_full(&j->m->seg->table[j->ext].word, j->word, word))
		return IPCMAP_CORRUPT; /* it was PRIVATE to us, and we live */
	j->committed = true;
	im_space_handed_over(j->m->seg);
	crash("commit.done");
	return 0;
}

static int store_part(struct job *j, uint32_t p)
{
	const unsigned char *record = im_seg_extent(j->m->seg, j->ext);
	struct im_op *op = &j->sp.op[p];

	for (uint32_t i = j->part[p].from; i < j->part[p].to; i++) {
		uint64_t version = im_load_rlx(&op->s->version);
		uint32_t off = j->item[i].off;
		struct im_change c;

		if (!im_group_change(j->m->seg, record, &off, &c) ||
		    !im_group_store(op, &c, version))
			return IPCMAP_CORRUPT;
		j->item[i].c->version = version;
	}
	return 0;
}

/* The group happens from here on. */
static int store(struct job *j)
{
	int r = 0;

	for (uint32_t p = 0; p < j->sp.n && r == 0; p++)
		r = store_part(j, p);
	/* the first shard's last: the record goes with it */
	for (uint32_t p = j->sp.n; p-- > 0 && r == 0;)
		im_group_end(&j->sp.op[p]);
	for (uint32_t p = 0; p < j->sp.n && r == 0; p++) {
		for (uint32_t i = j->part[p].from; i < j->part[p].to; i++)
			if (j->item[i].is_new)
				im_index_grow(&j->sp.op[p]);
		im_clean_pace(&j->sp.op[p], j->part[p].size);
	}
	return r;
}

/* After IM_NEED or IM_SETTLE, without the locks: 0, again; or an error. */
static int fetch(struct job *j, int r)
{
	struct im_op *op = j->lack;

	if (im_wait_over(&op->wait) && op->wait.deadline_ns != IPCMAP_NOWAIT)
		return IPCMAP_BUSY;
	if (r == IM_NEED && ++j->rounds > ROUNDS_EACH * j->sp.n && im_space_short(j->m->seg))
		return IPCMAP_LIMIT;
	if (r == IM_NEED)
		return im_op_feed(op);
	if (im_load32_acq(&op->s->group)) {
		im_op_pause(); /* somebody else is in the middle of ending it */
		return op->wait.deadline_ns == IPCMAP_NOWAIT ? IPCMAP_BUSY : 0;
	}
	return im_space_await(j->m->seg, &op->wait);
}

static int run(struct job *j)
{
	for (;;) {
		int r = im_span_enter(&j->sp);

		if (r)
			return r;
		r = decide(j);
		if (r == 0) {
			r = commit(j);
			if (r == 0)
				r = store(j);
			im_span_leave(&j->sp);
			return r;
		}
		im_span_leave(&j->sp);
		if (r != IM_NEED && r != IM_SETTLE)
			return r;
		r = fetch(j, r);
		if (r)
			return r;
	}
}

int im_commit(struct ipcmap *m, struct ipcmap_change *changes, size_t n, uint64_t deadline_ns)
{
	struct job j = {.m = m, .n = n, .deadline_ns = deadline_ns, .ext = FMT_NO_EXTENT};
	int r = IPCMAP_NOMEM;

	j.item = malloc(n * sizeof(*j.item));
	j.part = malloc(n * sizeof(*j.part));
	if (!j.item || !j.part)
		goto out;
	r = arrange(&j, changes);
	if (r)
		goto out;
	r = measure(&j);
	if (r == 0)
		r = take_extent(&j);
	if (r == 0)
		r = run(&j);
	if (j.ext != FMT_NO_EXTENT && !j.committed)
		im_space_drop(m->seg, j.ext);
	im_span_done(&j.sp);
out:
	free(j.item);
	free(j.part);
	return r;
}
