/* SPDX-License-Identifier: MIT */
/*
 * redo.c - a list of stores that happens whole, whoever is killed
 *
 * Every change of a shard that takes more than one store is written down first: where and
 * what, as absolute values. Then seq becomes odd (armed), the stores are made in order, and
 * seq becomes even. A process killed in between leaves an odd seq; whoever takes the shard's
 * lock over makes all the stores again. Doing them twice, or being killed while doing them
 * again, comes to the same, since the values are absolute and nobody else writes the shard
 * before they are done.
 *
 * The alternative was an intent per kind of operation with a rule to judge whether its
 * publishing store had happened. Rolling forward always needs no judgement: an operation is
 * complete from the moment it is armed, and until then it has changed nothing.
 *
 * One word is special. An extent that is PRIVATE to a process is freed by whoever proves
 * that process dead (owner.c), and that may come before the shard's successor. So a list
 * that takes such an extent begins with a compare-and-swap of its word: if the table holds
 * neither the old word nor the new one, the extent was freed, hence the first process was
 * killed before the swap and so before any store: the list is dropped. Generations in the
 * words make both unique.
 *
 * Invariants
 *  redo.I1  seq even: the shard's state is whole; seq odd: it is whole once the list is stored.
 *  redo.I2  while seq is odd only the lock's holder changes the shard.
 */
#include "redo.h"

#include "crash.h"

/*
 * The list lies where a hostile process may change it at any time, also after it was found
 * sane: each number is loaded once and bounded before it is used.
 */
static inline bool take_word(struct im_seg *seg, struct fmt_redo *r)
{
	uint32_t ext = im_load32_rlx(&r->cas_extent);
	uint64_t old = im_load_rlx(&r->cas_old);
	uint64_t new = im_load_rlx(&r->cas_new);

	if (likely(ext == FMT_NO_EXTENT))
		return true;
	if (unlikely(ext >= seg->n_extents))
		return false;
	return im_cas_full(&seg->table[ext].word, old, new) ||
	       im_load_rlx(&seg->table[ext].word) == new;
}

static inline bool in_bounds(const struct im_seg *seg, uint64_t off, uint64_t width)
{
	uint64_t from = (uint64_t)(seg->user - seg->base);

	return off >= from && off <= seg->len - width && !(off & (width - 1));
}

static inline void store_all(struct im_seg *seg, struct fmt_redo *r)
{
	uint32_t n = min_u32(im_load32_rlx(&r->n), FMT_REDO_MAX);
	unsigned char *from = seg->user;
	/* the last four bytes of the file, with the mark of their width */
	uint64_t first = (uint64_t)(from - seg->base);
	uint64_t last = (seg->len - first - 4) | FMT_REDO_32;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = im_load_rlx(&r->store[i].at) - first;
		uint64_t val = im_load_rlx(&r->store[i].val);

		/* bounds by one comparison, and alignment by force: every write comes here */
		if (unlikely(at > last))
			continue;
		/* ord(publish), ord(reclaim), ord(geometry), ord(moves), ord(switch): each store
		 * is a release, so readers see the list in its order. */
		if (at & FMT_REDO_32)
			im_store32_rel((uint32_t *)(void *)(from + (at & ~UINT64_C(3))),
				       (uint32_t)val);
		else
			im_store_rel((uint64_t *)(void *)(from + (at & ~UINT64_C(7))), val);
		crash("redo.store");
	}
}

static inline bool run(struct im_seg *seg, struct fmt_redo *r)
{
	uint64_t seq = im_load_rlx(&r->seq);
	bool done;

	crash("redo.listed");
	/* ord(redo): the list, then odd; then, by the barrier, the stores. Pairs with
	 * im_redo_peek() and the reader of counters in stats.c. */
	im_store_rel(&r->seq, seq + 1);
	im_write_barrier();
	crash("redo.armed");
	done = take_word(seg, r);
	if (done)
		store_all(seg, r);
	im_store_rel(&r->seq, seq + 2);
	/* the next list must not be begun above: a kill there would arm it half written, and
	 * im_redo_peek() would take its values for this one's */
	im_write_barrier();
	crash("redo.disarmed");
	return done;
}

bool im_redo_run(struct im_op *op)
{
	im_store32_rlx(&op->s->redo.n, op->listed);
	return run(op->seg, &op->s->redo);
}

bool im_redo_list_run(struct im_seg *seg, struct fmt_redo *r)
{
	return run(seg, r);
}

static bool sane(const struct im_seg *seg, const struct fmt_redo *r)
{
	uint32_t n = im_load32_rlx(&r->n);
	uint32_t ext = im_load32_rlx(&r->cas_extent);

	if (n > FMT_REDO_MAX || (ext != FMT_NO_EXTENT && ext >= seg->n_extents))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = im_load_rlx(&r->store[i].at);

		if (!in_bounds(seg, at & ~FMT_REDO_32, at & FMT_REDO_32 ? 4 : 8))
			return false;
	}
	return true;
}

int im_redo_list_finish(struct im_seg *seg, struct fmt_redo *r)
{
	uint64_t seq = im_load_acq(&r->seq);

	if (!(seq & 1))
		return 0;
	if (!sane(seg, r))
		return -EUCLEAN;
	if (take_word(seg, r))
		store_all(seg, r);
	im_store_rel(&r->seq, seq + 1);
	im_write_barrier();
	return 0;
}

int im_redo_finish(struct im_op *op)
{
	return im_redo_list_finish(op->seg, &op->s->redo);
}

/* A list whose extent was not taken yet may be dropped; see above. */
static bool will_happen(const struct im_seg *seg, const struct fmt_redo *r)
{
	uint32_t ext = im_load32_rlx(&r->cas_extent);

	return ext == FMT_NO_EXTENT ||
	       (im_seg_has_extent(seg, ext) &&
		im_load_rlx(&seg->table[ext].word) == im_load_rlx(&r->cas_new));
}

uint64_t im_redo_peek(const struct im_seg *seg, const struct fmt_shard *s, const uint64_t *p)
{
	const struct fmt_redo *r = &s->redo;
	uint64_t at = (uint64_t)((const unsigned char *)p - seg->base);
	uint64_t val = im_load_acq(p);
	uint32_t n = im_load32_rlx(&r->n);

	if (!(im_load_acq(&r->seq) & 1) || !will_happen(seg, r))
		return val;
	for (uint32_t i = 0; i < n && i < FMT_REDO_MAX; i++)
		if (im_load_rlx(&r->store[i].at) == at)
			val = im_load_rlx(&r->store[i].val);
	return val;
}
