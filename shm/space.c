/* SPDX-License-Identifier: MIT */
/*
 * space.c - the extent table: which extents are free, who has the others
 *
 * Free extents form a queue, oldest first, so that memory is reused as late as possible;
 * extents that were never used lie behind `fresh` and are taken when the queue is empty.
 * Every transition is one step under the space lock, which happens or does not (step.c).
 *
 * A piece that needs memory first is taken as PRIVATE, backed, and attached to its chain by a
 * second step. Linked first it would have to be unlinked again when there is no memory, and
 * no order of those two steps survives a kill.
 *
 * Memory is reserved outside the lock, by the extent's owner; `backed` is stored after that,
 * and a kill in between costs the next owner a second, idempotent fallocate().
 *
 * The segment is not trusted: every number read is bounded before use, every walk too.
 *
 * Invariants
 *  space.I1  from head, over next, n_queued extents, the last being tail, none twice; their
 *            words are FREE or PIECE.
 *  space.I2  used + n_queued = fresh <= n_extents.
 *  space.I3  extents from fresh on are FREE.
 *  space.I4  extents below fresh that are not queued are not FREE.
 *  space.I5  a PIECE that is not queued is in exactly one chain from a PRIVATE, LARGE or
 *            PARKED extent.
 *  space.I6  a PRIVATE extent's owner counts it (owner.I3).
 *  space.I7  limit_n is what limit allows; the table is backed by memory that far.
 * Broken on purpose: all, by the lock's owner, between the word and the last absolute:
 * step.c.
 * Checked by: im_space_check(), space-check.c.
 */
#include "space.h"
#include "crash.h"
#include "os.h"
#include "step.h"

/* How many unbacked extents a taker tries when the file system is full. */
#define TRIES_MAX 256u

static uint32_t self_slot(const struct im_seg *seg)
{
	return seg->self & 0x3ff;
}

static uint32_t *n_private(struct im_seg *seg)
{
	return &seg->owners[self_slot(seg) - 1].n_private;
}

static uint64_t next_word(uint64_t word, enum fmt_state state, uint32_t who)
{
	return fmt_word(state, who, fmt_word_gen(word) + 1);
}

/* The oldest of the queue leaves it in @st. */
static int pick_queued(struct im_seg *seg, struct im_step *st)
{
	if (!im_seg_has_extent(seg, st->head))
		return -EUCLEAN;
	st->ext = st->head;
	st->queued--;
	st->head = im_load32_rlx(&seg->table[st->ext].next);
	if (!st->queued)
		st->head = st->tail = FMT_NO_EXTENT;
	else if (!im_seg_has_extent(seg, st->head))
		return -EUCLEAN;
	return 0;
}

/* The oldest of the queue, else a fresh one, leaves the free ones in @st. */
static int pick(struct im_seg *seg, struct im_step *st)
{
	int rc = im_step_start(seg, st);

	if (rc < 0)
		return rc;
	if (st->used >= im_load32_rlx(&seg->h->space.limit_n))
		return -EDQUOT;
	if (st->queued)
		rc = pick_queued(seg, st);
	else if (st->fresh < seg->n_extents)
		st->ext = st->fresh++;
	else
		rc = -EUCLEAN;
	if (rc < 0)
		return rc;
	st->used++;
	st->old_word = im_load_rlx(&seg->table[st->ext].word);
	return 0;
}

/*
 * One lock: an extent that has memory joins the chain at once; every other is PRIVATE.
 * *@ret_backed says whether there is memory behind it.
 */
static int take_word(struct im_seg *seg, uint32_t after, struct im_wait *wait,
		     struct im_step *st, bool *ret_backed)
{
	int rc = im_step_enter(seg, wait);

	if (rc < 0)
		return rc;
	rc = pick(seg, st);
	if (rc == 0) {
		*ret_backed = im_load32_rlx(&seg->table[st->ext].backed) == 1;
		if (after != FMT_NO_EXTENT && *ret_backed) {
			st->new_word = next_word(st->old_word, FMT_PIECE, self_slot(seg));
			st->link_of = after;
			st->link_to = st->ext;
		} else {
			st->new_word = next_word(st->old_word, FMT_PRIVATE, self_slot(seg));
		}
		if (!im_step_make(seg, st))
			rc = -EUCLEAN;
	}
	im_step_leave(seg);
	return rc;
}

/* Our PRIVATE extent becomes the piece after @after. */
static int attach(struct im_seg *seg, uint32_t ext, uint32_t after, struct im_wait *wait,
		  uint64_t *word)
{
	struct im_step st;
	int rc = im_step_enter(seg, wait);

	if (rc < 0)
		return rc;
	rc = im_step_start(seg, &st);
	if (rc == 0) {
		st.ext = ext;
		st.old_word = *word;
		st.new_word = next_word(*word, FMT_PIECE, self_slot(seg));
		st.link_of = after;
		st.link_to = ext;
		if (im_step_make(seg, &st))
			*word = st.new_word;
		else
			rc = -EUCLEAN;
	}
	im_step_leave(seg);
	return rc;
}

static int back_with_memory(struct im_seg *seg, uint32_t ext)
{
	int fd = im_seg_fd(seg);
	int rc;

	if (fd < 0)
		return fd;
	rc = im_os->reserve(fd, seg->extent_off + ((uint64_t)ext << seg->extent_shift),
			    seg->extent_len);
	if (rc < 0)
		return rc == -EFBIG ? -ENOSPC : rc;
	crash("space.backed");
	im_store32_rlx(&seg->table[ext].backed, 1);
	return 0;
}

static void clear_books(struct fmt_extent *e)
{
	im_write_barrier(); /* the word is seen first */
	im_store32_rlx(&e->prev, FMT_NO_EXTENT);
	im_store32_rlx(&e->fill, 0);
	im_store_rlx(&e->books, 0);
	im_store_rlx(&e->version_max, 0);
	im_store_rlx(&e->expiry_max, 0);
	im_store_rlx(&e->expiry_min, UINT64_MAX);
	im_write_barrier();
}

/* Memory for a PRIVATE extent, then its place in the chain; or it is given back. */
static int complete(struct im_seg *seg, uint32_t ext, uint32_t after, bool backed,
		    struct im_wait *wait, uint64_t *word)
{
	int rc = backed ? 0 : back_with_memory(seg, ext);

	if (rc == 0 && after != FMT_NO_EXTENT) {
		rc = attach(seg, ext, after, wait, word);
		if (rc == 0)
			im_add32_rlx(n_private(seg), (uint32_t)-1);
	}
	if (rc < 0)
		im_space_drop(seg, ext);
	return rc;
}

/* What could not be freed when it was dropped; one try each, without waiting. */
static void free_strays(struct im_seg *seg)
{
	for (unsigned i = 0; i < IM_STRAYS; i++) {
		uint32_t v = im_load32_rlx(&seg->stray[i]);

		if (v && im_cas32_acq(&seg->stray[i], v, 0) == v)
			im_space_drop(seg, v - 1);
	}
}

/*
 * n_private is raised before any word can become PRIVATE, and lowered when none did: killed
 * between, it is too high, which only makes a claimer look.
 */
static int take_once(struct im_seg *seg, uint32_t after, struct im_wait *wait,
		     uint32_t *ret_ext, uint64_t *ret_word)
{
	struct im_step st;
	bool backed = false;
	int rc;

	im_add32_rlx(n_private(seg), 1);
	crash("space.counted");
	rc = take_word(seg, after, wait, &st, &backed);
	if (rc < 0 || fmt_word_state(st.new_word) == FMT_PIECE)
		im_add32_rlx(n_private(seg), (uint32_t)-1);
	if (rc == 0 && fmt_word_state(st.new_word) == FMT_PRIVATE)
		rc = complete(seg, st.ext, after, backed, wait, &st.new_word);
	if (rc < 0)
		return rc;
	clear_books(&seg->table[st.ext]);
	*ret_ext = st.ext;
	*ret_word = st.new_word;
	return 0;
}

/*
 * With the file system full the queue may hold unbacked extents, given back by takers who
 * failed as we do, before backed ones: go on to those.
 */
int im_space_take(struct im_seg *seg, uint32_t after, struct im_wait *wait, uint32_t *ret_ext,
		  uint64_t *ret_word)
{
	int rc;

	if (!seg->self)
		return -EACCES;
	if (after != FMT_NO_EXTENT && !im_seg_has_extent(seg, after))
		return -EUCLEAN;
	free_strays(seg);
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		rc = take_once(seg, after, wait, ret_ext, ret_word);
		if (rc != -ENOSPC || i + 1 >= im_load32_rlx(&seg->h->space.n_queued))
			return rc;
	}
	return -ENOSPC;
}

/* The oldest free extent becomes PRIVATE, whatever the limit says: it will be free again. */
static int take_oldest(struct im_seg *seg, struct im_wait *wait, struct im_step *st)
{
	int rc = im_step_enter(seg, wait);

	if (rc < 0)
		return rc;
	rc = im_step_start(seg, st);
	if (rc == 0)
		rc = st->queued ? pick_queued(seg, st) : -ENOENT;
	if (rc == 0) {
		st->used++;
		st->old_word = im_load_rlx(&seg->table[st->ext].word);
		st->new_word = next_word(st->old_word, FMT_PRIVATE, self_slot(seg));
		if (!im_step_make(seg, st))
			rc = -EUCLEAN;
	}
	im_step_leave(seg);
	return rc;
}

bool im_space_has_pages(const struct im_seg *seg)
{
	/* or one given back would take others along: lengths are rounded up to pages */
	return seg->extent_len >= im_os->page_len();
}

int im_space_punch(struct im_seg *seg, struct im_wait *wait)
{
	struct im_step st;
	bool backed;
	int rc;

	if (!im_space_has_pages(seg))
		return 0;
	im_add32_rlx(n_private(seg), 1);
	rc = take_oldest(seg, wait, &st);
	if (rc < 0) {
		im_add32_rlx(n_private(seg), (uint32_t)-1);
		return rc;
	}
	backed = im_load32_rlx(&seg->table[st.ext].backed);
	if (backed) {
		/* first: a kill in between only costs a second reservation */
		im_store32_rlx(&seg->table[st.ext].backed, 0);
		im_compiler_barrier();
		crash("space.unbacked");
		im_os->give_back(im_seg_extent(seg, st.ext), seg->extent_len);
		crash("space.punched");
	}
	im_space_drop(seg, st.ext);
	return backed;
}

uint64_t im_space_idle(const struct im_seg *seg)
{
	uint32_t fresh = im_load32_rlx(&seg->h->space.fresh), n = 0;

	if (!im_space_has_pages(seg))
		return 0;
	for (uint32_t i = 0; i < fresh && i < seg->n_extents; i++)
		n += im_load32_rlx(&seg->table[i].backed) != 0;
	fresh = im_load32_rlx(&seg->h->space.used);
	return n > fresh ? (uint64_t)(n - fresh) << seg->extent_shift : 0;
}

static int free_locked(struct im_seg *seg, uint32_t first, uint32_t last, uint32_t n,
		       uint64_t word)
{
	struct im_step st;
	int rc;

	if (im_load_rlx(&seg->table[first].word) != word)
		return 0;
	rc = im_step_start(seg, &st);
	if (rc < 0)
		return rc;
	if (n > st.used || (st.queued && !im_seg_has_extent(seg, st.tail)))
		return -EUCLEAN;
	st.ext = first;
	st.old_word = word;
	st.new_word = next_word(word, FMT_FREE, 0);
	st.used -= n;
	if (st.queued) {
		st.link_of = st.tail;
		st.link_to = first;
	} else {
		st.head = first;
	}
	st.tail = last;
	st.queued += n;
	return im_step_make(seg, &st);
}

int im_space_free(struct im_seg *seg, uint32_t first, uint32_t last, uint32_t n, uint64_t word,
		  struct im_wait *wait)
{
	int rc;

	if (!seg->self)
		return -EACCES;
	if (!im_seg_has_extent(seg, first) || !im_seg_has_extent(seg, last) || n == 0 ||
	    n > seg->n_extents)
		return -EUCLEAN;
	rc = im_step_enter(seg, wait);
	if (rc < 0)
		return rc;
	rc = free_locked(seg, first, last, n, word);
	im_step_leave(seg);
	if (rc == 1 && fmt_word_state(word) == FMT_PRIVATE &&
	    fmt_word_who(word) == self_slot(seg))
		im_space_handed_over(seg);
	return rc < 0 ? rc : 0;
}

int im_space_await(struct im_seg *seg, struct im_wait *wait)
{
	int rc = im_step_enter(seg, wait);

	if (rc == 0)
		im_step_leave(seg);
	return rc;
}

/* Threads of one process count at once; never below 0, whatever the segment held. */
void im_space_handed_over(struct im_seg *seg)
{
	uint32_t *n = n_private(seg);
	uint32_t v = im_load32_rlx(n);

	while (v) {
		uint32_t was = im_cas32_rel(n, v, v - 1);

		if (was == v)
			return;
		v = was;
	}
}

/* Last and length of the chain that begins at @first; -EUCLEAN when it cannot be one. */
static int chain_end(const struct im_seg *seg, uint32_t first, uint32_t *ret_last,
		     uint32_t *ret_n)
{
	uint32_t ext = first;

	for (uint32_t n = 1; n <= seg->n_extents; n++) {
		uint32_t next = im_load32_rlx(&seg->table[ext].next);

		if (next == FMT_NO_EXTENT) {
			*ret_last = ext;
			*ret_n = n;
			return 0;
		}
		if (!im_seg_has_extent(seg, next) ||
		    fmt_word_state(im_load_rlx(&seg->table[next].word)) != FMT_PIECE)
			return -EUCLEAN;
		ext = next;
	}
	return -EUCLEAN;
}

static int free_chain_of(struct im_seg *seg, uint32_t ext, uint64_t word, struct im_wait *wait)
{
	uint32_t last, n;
	int rc = chain_end(seg, ext, &last, &n);

	return rc < 0 ? rc : im_space_free(seg, ext, last, n, word, wait);
}

/*
 * The word cannot change under us: it is PRIVATE to this process, and the caller gives it up.
 * A stray that finds no room stays PRIVATE until this process leaves or dies.
 */
void im_space_drop(struct im_seg *seg, uint32_t ext)
{
	struct im_wait wait;
	uint64_t word;

	if (!im_seg_has_extent(seg, ext))
		return;
	word = im_load_rlx(&seg->table[ext].word);
	if (fmt_word_state(word) != FMT_PRIVATE || fmt_word_who(word) != self_slot(seg))
		return;
	im_wait_start(seg, 0, &wait); /* spins, does not sleep */
	if (free_chain_of(seg, ext, word, &wait) != -EBUSY)
		return;
	for (unsigned i = 0; i < IM_STRAYS; i++) {
		if (im_cas32_rel(&seg->stray[i], 0, ext + 1) == 0)
			return;
	}
}

/*
 * The lock is taken once before anything is read: if the owner died inside it, its last step
 * is finished by that. From then on nobody changes what is PRIVATE to the slot.
 */
int im_space_free_owner(struct im_seg *seg, uint32_t slot, struct im_wait *wait)
{
	uint32_t fresh;
	int rc = im_step_enter(seg, wait);

	if (rc < 0)
		return rc;
	fresh = (uint32_t)min_u64(im_load32_rlx(&seg->h->space.fresh), seg->n_extents);
	im_step_leave(seg);
	for (uint32_t ext = 0; ext < fresh; ext++) {
		uint64_t word = im_load_acq(&seg->table[ext].word);

		if (fmt_word_state(word) != FMT_PRIVATE || fmt_word_who(word) != slot)
			continue;
		rc = free_chain_of(seg, ext, word, wait);
		if (rc < 0)
			return rc;
	}
	return 0;
}

uint64_t im_space_used(const struct im_seg *seg)
{
	const struct fmt_space *s = &seg->h->space;
	uint64_t table = sizeof(struct fmt_extent) * (uint64_t)im_load32_rlx(&s->limit_n);

	return seg->fixed_len + table + (uint64_t)im_load32_rlx(&s->used) * seg->extent_len;
}

void im_space_init(struct im_seg *seg, uint64_t limit)
{
	struct fmt_space *s = &seg->h->space;

	memset(s, 0, sizeof(*s));
	s->limit = limit;
	s->limit_n = im_space_extents(seg, limit);
	s->head = s->tail = FMT_NO_EXTENT;
	s->extent = s->head_after = s->tail_after = FMT_NO_EXTENT;
	s->link_of = s->link_to = FMT_NO_EXTENT;
}

/* The table behind a raised limit gets its memory before anybody can touch it. */
static int back_table(struct im_seg *seg, uint32_t n)
{
	uint64_t off = (uint64_t)((unsigned char *)seg->table - seg->base);
	int fd = im_seg_fd(seg);
	int rc;

	if (fd < 0)
		return fd;
	rc = im_os->reserve(fd, off, (uint64_t)n * sizeof(struct fmt_extent));
	return rc == -EFBIG ? -ENOSPC : rc;
}

int im_space_set_limit(struct im_seg *seg, uint64_t limit, struct im_wait *wait)
{
	struct fmt_space *s = &seg->h->space;
	uint32_t n = im_space_extents(seg, limit);
	int rc;

	if (limit > seg->len || n < IM_EXTENTS_PER_SHARD * (uint64_t)seg->n_shards)
		return -EINVAL;
	if (n > im_load32_rlx(&s->limit_n)) {
		rc = back_table(seg, n);
		if (rc < 0)
			return rc;
	}
	rc = im_step_enter(seg, wait);
	if (rc < 0)
		return rc;
	im_store_rel(&s->limit, limit);
	im_compiler_barrier();
	crash("space.limit");
	im_store32_rel(&s->limit_n, n);
	im_step_leave(seg);
	return 0;
}
