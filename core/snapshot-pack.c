/* SPDX-License-Identifier: MIT */
/*
 * snapshot-pack.c - im_snapshot_pack() of snapshot.h: an old version is kept compressed
 *
 * When a version was replaced, its publisher stores it once more, compressed, if that takes an
 * extent less: in a chain of its own and in another place of the pool. One redo list makes the
 * new place KEPT and then the old one LEAVING, and the old extents go as those of any version
 * that leaves. So there is no state in between but that of the list, and the protocol with
 * holders is the one of keep.c: who pinned the old form before it was LEAVING keeps it, who
 * looked for it meanwhile finds it LEAVING, looks again, and finds the other.
 *
 * Changing the version in its place was tried first: a pin names the word of the version's
 * first extent, and one that was announced just before the change would have held bytes that
 * were free.
 *
 * A walk over the pool without the lock may meet the new place before, and the old one after
 * the list was stored, and so find the version nowhere: walks look at the list's seq
 * (im_keep_walked()).
 *
 * All of this is for saving memory only: whatever stands in the way, no memory, no place, a
 * holder, another publisher, leaves the version as it is.
 */
#include "snapshot.h"

#include "codec.h"
#include "crash.h"
#include "keep.h"
#include "large.h"
#include "redo.h"
#include "space.h"

#include <stdlib.h>

struct pack {
	struct im_seg *seg;
	struct im_keep *k;
	uint32_t slot; /* of the version as it is */
	struct im_kept was;
	struct im_record rec;
	uint64_t word;
};

/* The version before @version: that one only, or one that does not pack is tried for ever. */
static bool choose(struct pack *p, uint32_t table, uint64_t version)
{
	uint32_t top = im_keep_top(&p->k->a);
	struct im_kept v;

	p->was.version = 0;
	for (uint32_t i = 0; i < top; i++) {
		if (!im_keep_read(&p->k->a, i, &v) || v.state != FMT_KEPT || v.table != table ||
		    v.version >= version || v.version <= p->was.version)
			continue;
		p->slot = i;
		p->was = v;
	}
	return p->was.version && !p->was.stored && p->was.n > 1;
}

/* Compressed bytes from malloc(), an extent less than it has; NULL. */
static unsigned char *compress(struct pack *p)
{
	const struct fmt_chain c = {.first = p->was.first.extent,
				    .last = p->was.last,
				    .n = p->was.n};
	uint64_t cap = (uint64_t)(p->was.n - 1) << p->seg->extent_shift;
	unsigned char *raw = malloc(p->was.len), *out = malloc(cap);
	bool same;

	p->rec.val_len = 0;
	same = raw && out && im_large_copy(p->seg, &c, 0, raw, p->was.len) == 0;
	im_read_barrier();
	same = same && im_load_acq(&p->seg->table[c.first].word) == p->was.first.word;
	if (same)
		p->rec.val_len = im_codec_pack(raw, (uint32_t)p->was.len, out,
					       (uint32_t)min_u64(cap, p->was.len - 1));
	free(raw);
	if (p->rec.val_len)
		return out;
	free(out);
	return NULL;
}

/* Under the lock: still as it was, not current, and held by nobody? */
static bool may(const struct pack *p)
{
	struct im_kept v;

	return im_keep_read(&p->k->a, p->slot, &v) && v.state == FMT_KEPT &&
	       v.first.word == p->was.first.word && v.first.extent == p->was.first.extent &&
	       v.table == p->was.table && v.version == p->was.version && !v.stored &&
	       !im_keep_is_current(&p->k->a, p->slot, &v) && !p->k->held[p->slot];
}

static bool swap(struct pack *p)
{
	uint64_t word = fmt_word(FMT_LARGE, FMT_WHO_SNAP, fmt_word_gen(p->word));
	struct fmt_redo *r = &p->k->a.s->redo;
	uint32_t slot;

	im_keep_mark(p->k);
	if (!may(p))
		return false;
	slot = im_keep_free_slot(p->k);
	if (slot == p->k->a.n_kept)
		return false;
	p->was.first = (struct im_held){.extent = p->rec.chain.first, .word = word};
	p->was.last = p->rec.chain.last;
	p->was.n = p->rec.chain.n;
	p->was.stored = p->rec.val_len;
	im_keep_fill(&p->k->a.kept[slot], &p->was);
	crash("snapshot.packing");
	im_redo_list_start(r);
	im_redo_list_word(r, p->rec.chain.first, p->word, word);
	/* ord(keep): its fields were stored before; and it is KEPT before the other is not */
	im_redo_list_set32(p->seg, r, &p->k->a.kept[slot].state, FMT_KEPT);
	im_redo_list_set32(p->seg, r, &p->k->a.kept[p->slot].state, FMT_KEPT_LEAVING);
	if (!im_redo_list_run(p->seg, r))
		return false; /* it was PRIVATE to us, and we live */
	im_space_handed_over(p->seg);
	crash("snapshot.packed");
	im_keep_tidy(p->k);
	return true;
}

void im_snapshot_pack(struct ipcmap *m, struct im_keep *k, uint32_t table, uint64_t version)
{
	struct pack p = {.seg = m->seg, .k = k, .rec = {.flags = FMT_F_LARGE}};
	unsigned char *bytes;
	bool done = false;

	if (!choose(&p, table, version))
		return;
	bytes = compress(&p);
	if (!bytes)
		return;
	p.rec.val = bytes;
	if (im_large_make(p.seg, &p.rec, k->wait, &p.word) == 0) {
		crash("snapshot.pack");
		if (im_keep_enter(k) == 0) {
			done = swap(&p);
			im_keep_leave(k);
		}
		if (!done)
			im_large_drop(p.seg, &p.rec);
	}
	free(bytes);
}
