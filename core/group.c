/* SPDX-License-Identifier: MIT */
/*
 * group.c - the changes of a committed group: stored by its writer, or by successors
 *
 * A group is a list of puts and deletes of distinct keys, in a record: one extent, PRIVATE to
 * its writer while it is filled. The writer
 *
 *     locks all shards of the group, in their order
 *     decides: conditions, room for everything, a version for each change
 *     completes the record; names it in each shard: group_word, then group
 *     commits: one compare-and-swap makes the extent LARGE of FMT_WHO_GROUP
 *     stores the changes, each by an ordinary redo list that also moves the shard's version
 *     group 0 in each shard, the first shard of the group last; unlocks
 *
 * Until the commit nothing has changed that counts. From the commit on the group happens,
 * whoever is killed: its writer still holds all the locks, so the first to enter each shard is
 * a successor, and it stores the rest of its part before anything else. How far the part came
 * needs no book of its own: change number i of a part has version `version + i` and moves the
 * shard's version above it in the same list, so it is stored if and only if the shard's version
 * is above. Storing it again is therefore not storing it. A successor may be killed as well.
 *
 * Room cannot run out in the middle: the writer has seen to the hot head's room for all of a
 * part, to a free slot for each new key and to the place for what is to be freed, and nothing
 * else changes the shard before the part is stored.
 *
 * The record is the first shard's. It is freed with the list that ends the group there, when no
 * other shard names it any more. A successor of the first shard tries to enter the others for
 * that, without waiting (they come later in the order of locks); what is busy is left, with
 * group still set: the next group there, or check, tries again. The record costs an extent
 * until then, and consistent readers look twice.
 *
 * A group that was not committed is one whose extent has another word than group_word: its
 * writer is dead, so nobody can commit it, and the extent goes with the dead (owner.c).
 *
 * Invariants
 *  group.I1  a shard whose lock is free and whose group is not 0 is the first of that group,
 *            all parts of which are stored.
 *  group.I2  every LARGE extent of FMT_WHO_GROUP is named by the first shard of its record.
 *  group.I3  while the extent has group_word, the record does not change.
 */
#include "group.h"

#include "crash.h"
#include "publish.h"
#include "room.h"
#include "space.h"

/* ---- the record ---- */

static const unsigned char *record_of(const struct im_op *op, uint32_t *ret_ext)
{
	uint32_t ext = im_load32_acq(&op->s->group) - 1;

	*ret_ext = ext;
	return im_seg_has_extent(op->seg, ext) ? im_seg_extent(op->seg, ext) : NULL;
}

/* Part @i, bounded; false: there is no such part. */
static bool part_at(const struct im_seg *seg, const unsigned char *record, uint32_t i,
		    struct fmt_part *ret)
{
	struct fmt_group h;

	im_copy_racy(&h, record, sizeof(h));
	if (h.magic != FMT_GROUP_MAGIC || i >= h.parts ||
	    h.parts > (seg->extent_len - sizeof(h)) / sizeof(*ret))
		return false;
	im_copy_racy(ret, record + sizeof(h) + (size_t)i * sizeof(*ret), sizeof(*ret));
	return ret->shard < seg->n_shards && ret->n <= seg->extent_len / sizeof(struct fmt_change) &&
	       ret->version < FMT_VERSION_MASK;
}

bool im_group_change(const struct im_seg *seg, const unsigned char *record, uint32_t *off,
		     struct im_change *ret)
{
	struct fmt_change c;
	uint64_t len;

	if (*off % 8 || *off > seg->extent_len - sizeof(c))
		return false;
	im_copy_racy(&c, record + *off, sizeof(c));
	len = sizeof(c) + (uint64_t)c.key_len + c.val_len;
	if (!c.key_len || c.key_len > IPCMAP_KEY_MAX || len > seg->extent_len - *off ||
	    c.flags & ~FMT_F_PACKED)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->rec.key = record + *off + sizeof(c);
	ret->rec.key_len = c.key_len;
	ret->rec.val = record + *off + sizeof(c) + c.key_len;
	ret->rec.val_len = c.val_len;
	ret->rec.flags = c.flags | (c.expiry == UINT64_MAX ? 0 : FMT_F_TTL);
	ret->rec.type = c.type;
	ret->rec.expiry = c.expiry;
	ret->del = c.del;
	*off += (uint32_t)align_up(len, 8);
	return true;
}

/* ---- storing ---- */

static void only_version(struct im_op *op, uint64_t version)
{
	im_lease_void(op);
	im_redo_start(op);
	im_redo_set(op, &op->s->version, version + 1);
	im_redo_run(op);
}

bool im_group_store(struct im_op *op, struct im_change *c, uint64_t version)
{
	struct im_record *rec = &c->rec;
	struct im_slot slot;
	bool done = true;
	int found;

	rec->hash = im_hash(op->m->hash_seed, rec->key, rec->key_len);
	rec->version = version;
	rec->size = (uint32_t)im_entry_round(
		op->seg, im_entry_len(rec->flags, rec->key_len, rec->val_len));
	op->key = rec->key;
	op->key_len = rec->key_len;
	op->hash = rec->hash;
	found = im_index_find(op, &slot);
	if (found < 0)
		return false;
	if (found && slot.e.flags & FMT_F_LARGE && !im_room_try_settle(op))
		return false; /* there is one of them at most, and the place was free */
	if (c->del && found)
		done = im_unpublish(op, &slot, true, FMT_EVENT_DEL);
	else if (c->del)
		only_version(op, version);
	else if (found || slot.free_b)
		done = im_publish(op, &slot, found, rec, 0);
	else
		return false;
	crash("group.stored");
	return done;
}

/* ---- the end ---- */

/* Does any other shard still name the record? Those that nobody holds are helped. */
static bool others_are_done(struct im_op *op, const unsigned char *record, uint64_t word)
{
	struct fmt_part p;

	for (uint32_t i = 1; part_at(op->seg, record, i, &p); i++) {
		struct fmt_shard *s = &op->m->shards[p.shard];
		struct im_op other;

		if (!im_load32_acq(&s->group) || im_load_rlx(&s->group_word) != word)
			continue;
		if (p.shard <= op->shard)
			return false; /* hostile bytes */
		im_op_init(op->m, &other, IPCMAP_NOWAIT);
		im_op_shard(&other, p.shard);
		if (im_op_try_enter(&other))
			return false;
		im_op_leave(&other);
		if (im_load32_acq(&s->group) && im_load_rlx(&s->group_word) == word)
			return false;
	}
	return true;
}

static bool is_first(const struct im_op *op, const unsigned char *record)
{
	struct fmt_part p;

	return part_at(op->seg, record, 0, &p) && p.shard == op->shard;
}

void im_group_end(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint64_t word = im_load_rlx(&s->group_word);
	uint32_t ext;
	const unsigned char *record = record_of(op, &ext);

	if (!record || !is_first(op, record)) {
		/* ord(group): the changes were stored before */
		im_store32_rel(&s->group, 0);
		crash("group.ended");
		return;
	}
	if (!others_are_done(op, record, word) || !im_room_try_settle(op))
		return;
	im_redo_start(op);
	im_redo_set(op, &s->free_word, word);
	im_redo_set32(op, &s->free_first, ext);
	im_redo_set32(op, &s->free_last, ext);
	im_redo_set32(op, &s->free_n, 1);
	/* ord(group) */
	im_redo_set32(op, &s->group, 0);
	im_redo_run(op);
	crash("group.ended");
	im_room_try_settle(op);
}

/* ---- after a kill ---- */

static int store_rest(struct im_op *op, const unsigned char *record, const struct fmt_part *p)
{
	uint32_t off = p->off;
	struct im_change c;

	for (uint32_t i = 0; i < p->n; i++) {
		uint64_t next = im_load_rlx(&op->s->version);

		if (!im_group_change(op->seg, record, &off, &c))
			return -EUCLEAN;
		if (next > p->version + i)
			continue; /* it was stored */
		if (next < p->version + i || !im_group_store(op, &c, next))
			return -EUCLEAN;
	}
	return 0;
}

static int store_part(struct im_op *op, const unsigned char *record)
{
	struct fmt_part p;

	for (uint32_t i = 0; part_at(op->seg, record, i, &p); i++)
		if (p.shard == op->shard)
			return store_rest(op, record, &p);
	return -EUCLEAN;
}

int im_group_recover(struct im_op *op, bool *ret_on)
{
	struct fmt_shard *s = op->s;
	uint64_t word = im_load_rlx(&s->group_word);
	uint32_t ext;
	const unsigned char *record;
	struct im_op mine;
	int r;

	*ret_on = false;
	if (likely(!im_load32_acq(&s->group)))
		return 0;
	record = record_of(op, &ext);
	/* ord(group): the commit, then the record */
	if (!record || im_load_acq(&op->seg->table[ext].word) != word ||
	    fmt_word_state(word) != FMT_LARGE || fmt_word_who(word) != FMT_WHO_GROUP) {
		im_store32_rel(&s->group, 0);
		return 0;
	}
	*ret_on = true;
	/* the operation has a key of its own, to which it goes on */
	mine = *op;
	r = store_part(op, record);
	op->key = mine.key;
	op->key_len = mine.key_len;
	op->hash = mine.hash;
	return r;
}

int im_group_finish(struct im_op *op)
{
	bool on;
	int r = im_group_recover(op, &on);

	if (r == 0 && on) {
		crash("group.finished");
		im_group_end(op);
	}
	return r;
}

/* ---- check ---- */

bool im_group_is_first(const struct im_op *op)
{
	uint32_t ext;
	const unsigned char *record = record_of(op, &ext);

	return record && is_first(op, record);
}

uint32_t im_group_shard(const struct im_seg *seg, uint32_t ext)
{
	struct fmt_part p;

	return part_at(seg, im_seg_extent(seg, ext), 0, &p) ? p.shard : seg->n_shards;
}
