/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - publish, roll back and drop the versions of snapshot tables
 *
 * A version is built in private memory, stored in a chain of extents that is PRIVATE to this
 * process, outside any lock, and published under the area's lock by one redo list: the first
 * extent's word becomes LARGE, the version KEPT, and the table's current names it. Readers go
 * over with the last store. Killed before the list is armed, the publisher leaves a PRIVATE
 * chain, which goes with the dead (owner.c), and fields of a FREE version, which mean nothing;
 * killed after it, a version that its successor completes.
 *
 * A table's name is stored, by a list of its own, while its current is 0. A table that was
 * dropped keeps its name and the number of its last version, so the next table of that name
 * goes on counting, and versions of an entry never repeat, whatever its name.
 *
 * Invariants
 *  snapshot.I1  names are ended by a zero byte; no two tables with a current have the same.
 *  snapshot.I2  versions of a table are distinct and at most its last; current is the highest.
 * Checked by: check-snapshot.c.
 */
#include "snapshot.h"

#include "bell.h"
#include "clean.h"
#include "crash.h"
#include "image.h"
#include "keep.h"
#include "large.h"
#include "os.h"
#include "redo.h"
#include "space.h"
#include "view.h"

#include <stdlib.h>

#define ROUNDS_MAX 64u /* a publisher makes memory free so often before it gives up */

struct job {
	struct ipcmap *m;
	struct im_keep k;
	struct im_op op; /* for memory: the wait, and where to clean */
	const char *name;
	const struct im_why *why;
	struct im_record rec; /* the image as a large value */
	uint64_t word;	      /* of the chain's first extent */
	uint32_t keys;
	uint64_t version; /* out; when restoring, its number */
	uint64_t time;	  /* when restoring: of its publication */
	bool restoring;
	bool named;	/* its entry got its name just now */
	uint32_t table; /* its entry; n_tables: not known yet */
};

static void start(struct job *j, struct ipcmap *m, const char *name, const struct im_why *why)
{
	memset(j, 0, sizeof(*j));
	j->m = m;
	j->name = name;
	j->why = why;
	im_op_init(m, &j->op, 0);
	im_op_shard(&j->op, 0);
	im_keep_init(m, &j->k, &j->op.wait);
	j->table = j->k.a.n_tables;
}

/* ---- tables ---- */

static void pad_name(const char *name, uint64_t words[8])
{
	memset(words, 0, 64);
	memcpy(words, name, strlen(name));
}

static bool has_name(const struct fmt_table *t, const uint64_t words[8])
{
	uint64_t have[8];

	im_copy_racy(have, t->name, sizeof(have));
	return memcmp(have, words, sizeof(have)) == 0;
}

/* Versions that still leave are nobody's from now on. */
static void disown(struct im_keep *k, uint32_t table)
{
	uint32_t top = im_keep_top(&k->a);

	for (uint32_t i = 0; i < top; i++)
		if (im_load32_rlx(&k->a.kept[i].table) == table)
			im_store32_rlx(&k->a.kept[i].table, FMT_NO_TABLE);
}

static void give_name(struct im_keep *k, uint32_t table, const uint64_t words[8])
{
	struct fmt_redo *r = &k->a.s->redo;

	disown(k, table);
	crash("snapshot.disowned");
	im_redo_list_start(r);
	for (unsigned i = 0; i < 8; i++)
		im_redo_list_set(k->a.seg, r,
				 (uint64_t *)(void *)(k->a.tables[table].name + i * 8),
				 words[i]);
	im_redo_list_run(k->a.seg, r);
	crash("snapshot.named");
}

/* The table's entry, made if need be: its own, one never used, one of a dropped table. */
static int entry_of(struct job *j, uint32_t *ret_table)
{
	const struct im_area *a = &j->k.a;
	uint32_t unused = a->n_tables, dropped = a->n_tables;
	uint64_t words[8];

	pad_name(j->name, words);
	for (uint32_t i = a->n_tables; i-- > 0;) {
		const struct fmt_table *t = &a->tables[i];

		if (has_name(t, words)) {
			*ret_table = i;
			return 0;
		}
		if (!im_load_rlx(&t->current) && !im_load_rlx(&t->last))
			unused = i;
		else if (!im_load_rlx(&t->current))
			dropped = i;
	}
	*ret_table = unused < a->n_tables ? unused : dropped;
	if (*ret_table == a->n_tables)
		return im_why(j->why, IPCMAP_FULL, "there are %u tables already", a->n_tables);
	give_name(&j->k, *ret_table, words);
	j->named = true;
	return 0;
}

/* ---- publishing ---- */

static int make_room(struct job *j, uint32_t n)
{
	int r = im_keep_enter(&j->k);

	if (r)
		return r;
	r = im_keep_room(&j->k, n, j->why);
	im_keep_leave(&j->k);
	return r;
}

/* The map is full: garbage of the shards first, then versions kept for rollback. */
static int make_free(struct job *j, uint64_t len, int err)
{
	int r = im_clean_make_free(&j->op, len, err);
	bool dropped;

	if (r != -EDQUOT && r != -ENOSPC)
		return r;
	if (im_keep_enter(&j->k))
		return r;
	dropped = im_keep_drop_one(&j->k);
	im_keep_leave(&j->k);
	return dropped ? 0 : r;
}

static int fill(struct job *j)
{
	uint32_t n = (uint32_t)((j->rec.val_len + (uint64_t)j->m->seg->extent_len - 1) >>
				j->m->seg->extent_shift);
	int r = make_room(j, n);

	for (unsigned i = 0; r == 0 && i < ROUNDS_MAX; i++) {
		r = im_large_make(j->m->seg, &j->rec, &j->op.wait, &j->word);
		if (r != -EDQUOT && r != -ENOSPC && r != -EFBIG)
			return r;
		if (i == 0)
			im_owner_sweep(j->m->seg);
		r = make_free(j, j->rec.val_len, r);
		if (r)
			return im_why(j->why, r, "no memory for %llu bytes",
				      (unsigned long long)j->rec.val_len);
		if (im_wait_over(&j->op.wait))
			return IPCMAP_BUSY;
	}
	return r ? r : IPCMAP_BUSY;
}

static int switch_over(struct job *j, uint32_t table)
{
	uint64_t word = fmt_word(FMT_LARGE, FMT_WHO_SNAP, fmt_word_gen(j->word));
	struct fmt_table *t = &j->k.a.tables[table];
	uint32_t slot = im_keep_free_slot(&j->k);
	struct fmt_redo *r = &j->k.a.s->redo;
	struct im_seg *seg = j->m->seg;
	struct im_kept v;

	if (slot == j->k.a.n_kept)
		return IPCMAP_BUSY; /* im_keep_room() saw one */
	if (!j->restoring)
		j->version = im_load_rlx(&t->last) + 1;
	v = (struct im_kept){
		.first = {.extent = j->rec.chain.first, .word = word},
		.version = j->version,
		.len = j->rec.val_len,
		.time = j->restoring ? j->time : im_os_wall(),
		.last = j->rec.chain.last,
		.n = j->rec.chain.n,
		.keys = j->keys,
		.table = table,
	};
	im_keep_fill(&j->k.a.kept[slot], &v);
	crash("snapshot.ready");
	im_redo_list_start(r);
	im_redo_list_word(r, j->rec.chain.first, j->word, word);
	/* ord(keep): its fields were stored before */
	im_redo_list_set32(seg, r, &j->k.a.kept[slot].state, FMT_KEPT);
	im_redo_list_set(seg, r, &t->last, j->version);
	/* ord(switch) */
	im_redo_list_set(seg, r, &t->current, fmt_current(j->version, slot));
	if (!im_redo_list_run(seg, r))
		return IPCMAP_CORRUPT; /* it was PRIVATE to us, and we live */
	im_space_handed_over(seg);
	crash("snapshot.switched");
	return 0;
}

static int publish_locked(struct job *j)
{
	uint32_t table;
	int r = im_keep_room(&j->k, j->rec.chain.n, j->why);

	if (r == 0)
		r = entry_of(j, &table);
	if (r == 0) {
		j->table = table;
		r = switch_over(j, table);
	}
	if (r == 0) {
		im_keep_trim(&j->k, table, false);
		im_keep_tidy(&j->k);
	}
	return r;
}

/* Wake who waits for a version (snapshot-wait.c); not under the lock. */
static void ring(const struct job *j)
{
	const struct im_area *a = &j->k.a;

	crash("snapshot.ring");
	if (j->named)
		im_bell_ring(&a->s->made);
	if (j->table < a->n_tables)
		im_bell_ring(&a->tables[j->table].bell);
}

static int store(struct job *j, const unsigned char *bytes, uint64_t len, uint32_t keys)
{
	int r;

	j->rec.val = bytes;
	j->rec.val_len = (uint32_t)len;
	j->rec.flags = FMT_F_LARGE;
	j->keys = keys;
	r = fill(j);
	if (r)
		return r;
	crash("snapshot.filled");
	r = im_keep_enter(&j->k);
	if (r == 0) {
		r = publish_locked(j);
		im_keep_leave(&j->k);
		ring(j);
	}
	if (r == 0 && !j->restoring)
		im_snapshot_pack(j->m, &j->k, j->table, j->version);
	if (r)
		im_large_drop(j->m->seg, &j->rec);
	return r;
}

int im_snapshot_publish(struct ipcmap *m, const char *table, const struct ipcmap_pair *pairs,
			size_t n, uint64_t *ret_version, const struct im_why *why)
{
	unsigned char *bytes;
	struct job j;
	uint64_t len;
	int r = im_image_build(pairs, n, m->hash_seed, why, &bytes, &len);

	if (r)
		return r;
	start(&j, m, table, why);
	r = store(&j, bytes, len, (uint32_t)n);
	free(bytes);
	im_op_done(&j.op);
	if (r == 0 && ret_version)
		*ret_version = j.version;
	return r;
}

/* ---- into a repaired map ---- */

int im_snapshot_restore(struct ipcmap *m, const char *table, uint64_t version, uint64_t time,
			const unsigned char *bytes, uint64_t len, uint32_t keys,
			const struct im_why *why)
{
	struct job j;
	int r;

	start(&j, m, table, why);
	j.version = version;
	j.time = time;
	j.restoring = true;
	r = store(&j, bytes, len, keys);
	im_op_done(&j.op);
	return r;
}

int im_snapshot_restore_name(struct ipcmap *m, const char *table, uint64_t last)
{
	const struct im_why quiet = {NULL, 0};
	uint32_t t;
	struct job j;
	int r;

	start(&j, m, table, &quiet);
	r = im_keep_enter(&j.k);
	if (r)
		return r;
	r = entry_of(&j, &t);
	if (r == 0)
		im_store_rlx(&j.k.a.tables[t].last, last);
	im_keep_leave(&j.k);
	return r;
}

/* ---- rolling back, dropping ---- */

static uint64_t look_before(const struct im_area *a, uint32_t table)
{
	uint64_t now = fmt_current_version(im_load_acq(&a->tables[table].current)), best = 0;
	uint32_t top = im_keep_top(a);

	for (uint32_t i = 0; i < top; i++) {
		struct im_kept v;

		if (im_keep_read(a, i, &v) && v.state == FMT_KEPT && v.table == table &&
		    v.version < now && v.version > best)
			best = v.version;
	}
	return best;
}

/* The highest version below the current one that can be opened; 0: none. */
static uint64_t one_before(const struct im_area *a, uint32_t table)
{
	uint64_t was, seq = 1, version;
	unsigned i = 0;

	do {
		was = im_keep_seq(a);
		version = look_before(a, table);
	} while (!im_keep_walked(a, was, &seq) && ++i < ROUNDS_MAX);
	return version;
}

int im_snapshot_rollback(struct ipcmap *m, const char *table, uint64_t version,
			 uint64_t *ret_version)
{
	const struct im_why quiet = {NULL, 0};
	struct ipcmap_snapshot *from;
	uint32_t t;
	struct job j;
	int r;

	start(&j, m, table, &quiet);
	t = im_view_find(&j.k.a, table);
	if (t == j.k.a.n_tables)
		return IPCMAP_NOTFOUND;
	if (!version)
		version = one_before(&j.k.a, t);
	if (!version)
		return IPCMAP_NOTFOUND;
	r = im_view_open(m, table, version, &from);
	if (r)
		return r;
	r = store(&j, from->image.at, from->image.len, from->image.n);
	im_view_close(from);
	im_op_done(&j.op);
	if (r == 0 && ret_version)
		*ret_version = j.version;
	return r;
}

int im_snapshot_drop(struct ipcmap *m, const char *table)
{
	struct job j;
	uint32_t t;
	int r;

	start(&j, m, table, NULL);
	r = im_keep_enter(&j.k);
	if (r)
		return r;
	t = im_view_find(&j.k.a, table);
	if (t < j.k.a.n_tables) {
		/* ord(switch) */
		im_store_rel(&j.k.a.tables[t].current, 0);
		crash("snapshot.dropped");
		im_keep_trim(&j.k, t, true);
		im_keep_tidy(&j.k);
		j.table = t;
	} else {
		r = IPCMAP_NOTFOUND;
	}
	im_keep_leave(&j.k);
	ring(&j);
	im_op_done(&j.op);
	return r;
}
