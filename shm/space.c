/* SPDX-License-Identifier: MIT */
/*
 * space.c - the extent table: which extents are free, who has the others
 *
 * Free extents form a queue, oldest first, so that memory is reused as late as possible;
 * extents that were never used lie behind `fresh` and are taken when the queue is empty.
 *
 * Every transition is one intent: arm (fields, then seq odd), store the extent's word, store
 * the absolute values, disarm. The word decides: whoever finds the lock's owner dead and seq
 * odd compares it with new_word. Equal: the absolutes are stored (again); not: nothing
 * happened. Words rise in generation with every transition, so a word never comes back and
 * the comparison cannot mistake an older life for this one. Nothing the queue needs is
 * overwritten before the word is stored.
 *
 * What a new word says of the extent's own link: taken or attached (PRIVATE, PIECE), it is
 * the end of its chain, so next becomes FMT_NO_EXTENT; freed, next stays, as it leads through
 * the freed chain. The last of the queue may have any next: head == tail is the end.
 *
 * A piece that needs memory first is taken as PRIVATE, backed, and attached to its chain by a
 * second intent. Linked first it would have to be unlinked again when there is no memory, and
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
 *  space.I5  a PIECE that is not queued is in exactly one chain from a PRIVATE or LARGE
 *            extent.
 *  space.I6  a PRIVATE extent's owner counts it (owner.I3).
 *  space.I7  limit_n is what limit allows; the table is backed by memory that far.
 * Broken on purpose: all, by the lock's owner, between the word and the last absolute.
 * Checked by: im_space_check().
 */
#include "space.h"
#include "crash.h"
#include "os.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A limit is refused below this many extents for each shard: heads, ahead, reserve, index. */
#define EXTENTS_PER_SHARD 6u

/* How many unbacked extents a taker tries when the file system is full. */
#define TRIES_MAX 256u

/* What is about to become true. */
struct step {
	uint32_t ext;
	uint64_t old_word;
	uint64_t new_word;
	uint32_t used, fresh, head, tail, queued;
	uint32_t link_of, link_to;
};

static uint32_t self_slot(const struct im_seg *seg)
{
	return seg->self & 0x3ff;
}

static uint32_t *n_private(struct im_seg *seg)
{
	return &seg->owners[self_slot(seg) - 1].n_private;
}

static bool is_ext(const struct im_seg *seg, uint32_t ext)
{
	return ext < seg->n_extents;
}

static uint64_t next_word(uint64_t word, enum fmt_state state, uint32_t who)
{
	return fmt_word(state, who, fmt_word_gen(word) + 1);
}

/* The values after a step: what the lock holder stores, and its successor once more. */
static void store_absolutes(struct im_seg *seg, const struct step *st)
{
	struct fmt_space *s = &seg->h->space;
	enum fmt_state state = fmt_word_state(st->new_word);

	im_store32_rlx(&s->head, st->head);
	im_store32_rlx(&s->tail, st->tail);
	im_store32_rlx(&s->n_queued, st->queued);
	im_store32_rlx(&s->fresh, st->fresh);
	im_store32_rlx(&s->used, st->used);
	if (state == FMT_PRIVATE || state == FMT_PIECE)
		im_store32_rlx(&seg->table[st->ext].next, FMT_NO_EXTENT);
	crash("space.stored");
	if (st->link_of != FMT_NO_EXTENT)
		im_store32_rlx(&seg->table[st->link_of].next, st->link_to);
}

static void disarm(struct fmt_space *s)
{
	crash("space.linked");
	/* ord(intent): the absolutes come before. Pairs with im_space_check(). */
	im_store_rel(&s->seq, im_load_rlx(&s->seq) + 1);
	im_write_barrier();
	crash("space.disarmed");
}

static void arm(struct fmt_space *s, const struct step *st)
{
	im_store32_rlx(&s->extent, st->ext);
	im_store_rlx(&s->old_word, st->old_word);
	im_store_rlx(&s->new_word, st->new_word);
	im_store32_rlx(&s->used_after, st->used);
	im_store32_rlx(&s->fresh_after, st->fresh);
	im_store32_rlx(&s->head_after, st->head);
	im_store32_rlx(&s->tail_after, st->tail);
	im_store32_rlx(&s->queued_after, st->queued);
	im_store32_rlx(&s->link_of, st->link_of);
	im_store32_rlx(&s->link_to, st->link_to);
	crash("space.filled");
	/* ord(intent): a successor that finds it armed finds all fields */
	im_store_rel(&s->seq, im_load_rlx(&s->seq) + 1);
	im_write_barrier();
	crash("space.armed");
}

/*
 * Under the lock. False, and nothing has changed: the word is another one. That happens to
 * what is PRIVATE to a dead owner: the successor in a shard may take it by the dead one's redo
 * list (core/redo.c), without this lock, while a claimer or sweeper frees it.
 */
static bool make_true(struct im_seg *seg, const struct step *st)
{
	struct fmt_space *s = &seg->h->space;
	bool done;

	arm(s, st);
	/* ord(reclaim): the generation is seen before the first byte of the extent's next
	 * life. Pairs with the readers that validate by it. */
	done = im_cas_full(&seg->table[st->ext].word, st->old_word, st->new_word);
	im_write_barrier();
	crash("space.word");
	if (done)
		store_absolutes(seg, st);
	disarm(s);
	return done;
}

static bool sane(const struct im_seg *seg, const struct step *st)
{
	return is_ext(seg, st->ext) && st->used <= seg->n_extents &&
	       st->fresh <= seg->n_extents && st->queued <= seg->n_extents &&
	       (st->head == FMT_NO_EXTENT || is_ext(seg, st->head)) &&
	       (st->tail == FMT_NO_EXTENT || is_ext(seg, st->tail)) &&
	       (st->link_of == FMT_NO_EXTENT || is_ext(seg, st->link_of));
}

/* The step the intent names; did it happen? */
static bool read_intent(struct im_seg *seg, struct step *st)
{
	struct fmt_space *s = &seg->h->space;

	*st = (struct step){
		.ext = im_load32_rlx(&s->extent),
		.new_word = im_load_rlx(&s->new_word),
		.used = im_load32_rlx(&s->used_after),
		.fresh = im_load32_rlx(&s->fresh_after),
		.head = im_load32_rlx(&s->head_after),
		.tail = im_load32_rlx(&s->tail_after),
		.queued = im_load32_rlx(&s->queued_after),
		.link_of = im_load32_rlx(&s->link_of),
		.link_to = im_load32_rlx(&s->link_to),
	};
	return sane(seg, st) && im_load_acq(&seg->table[st->ext].word) == st->new_word;
}

/* The lock's owner died. O(1), idempotent; may itself be killed anywhere. */
static void recover(struct im_seg *seg)
{
	struct fmt_space *s = &seg->h->space;
	struct step st;

	/* a change of the limit: its number first, then what follows from it */
	im_store32_rlx(&s->limit_n, im_space_extents(seg, im_load_rlx(&s->limit)));
	if (im_load_acq(&s->seq) & 1) {
		crash("space.recover");
		if (read_intent(seg, &st))
			store_absolutes(seg, &st);
		disarm(s);
	}
	im_add_rlx(&s->takeovers, 1);
}

static int enter(struct im_seg *seg, struct im_wait *wait)
{
	int rc = im_lock(seg, &seg->h->space.lock, wait);

	if (unlikely(rc == IM_TAKEN_OVER))
		recover(seg);
	if (rc >= 0)
		crash("space.locked");
	return rc < 0 ? rc : 0;
}

static void leave(struct im_seg *seg)
{
	crash("space.leaving");
	im_unlock(seg, &seg->h->space.lock);
}

/* What is true now, as a step that changes nothing; -EUCLEAN. Under the lock. */
static int read_state(struct im_seg *seg, struct step *st)
{
	struct fmt_space *s = &seg->h->space;

	*st = (struct step){
		.used = im_load32_rlx(&s->used),
		.fresh = im_load32_rlx(&s->fresh),
		.head = im_load32_rlx(&s->head),
		.tail = im_load32_rlx(&s->tail),
		.queued = im_load32_rlx(&s->n_queued),
		.link_of = FMT_NO_EXTENT,
		.link_to = FMT_NO_EXTENT,
	};
	return sane(seg, st) ? 0 : -EUCLEAN;
}

/* The oldest of the queue, else a fresh one, leaves the free ones in @st. */
static int pick(struct im_seg *seg, struct step *st)
{
	int rc = read_state(seg, st);

	if (rc < 0)
		return rc;
	if (st->used >= im_load32_rlx(&seg->h->space.limit_n))
		return -EDQUOT;
	if (st->queued) {
		if (!is_ext(seg, st->head))
			return -EUCLEAN;
		st->ext = st->head;
		st->queued--;
		st->head = im_load32_rlx(&seg->table[st->ext].next);
		if (!st->queued)
			st->head = st->tail = FMT_NO_EXTENT;
		else if (!is_ext(seg, st->head))
			return -EUCLEAN;
	} else if (st->fresh < seg->n_extents) {
		st->ext = st->fresh++;
	} else {
		return -EUCLEAN;
	}
	st->used++;
	st->old_word = im_load_rlx(&seg->table[st->ext].word);
	return 0;
}

/*
 * One lock: an extent that has memory joins the chain at once; every other is PRIVATE.
 * *@ret_backed says whether there is memory behind it.
 */
static int take_word(struct im_seg *seg, uint32_t after, struct im_wait *wait, struct step *st,
		     bool *ret_backed)
{
	int rc = enter(seg, wait);

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
		if (!make_true(seg, st))
			rc = -EUCLEAN;
	}
	leave(seg);
	return rc;
}

/* Our PRIVATE extent becomes the piece after @after. */
static int attach(struct im_seg *seg, uint32_t ext, uint32_t after, struct im_wait *wait,
		  uint64_t *word)
{
	struct step st;
	int rc = enter(seg, wait);

	if (rc < 0)
		return rc;
	rc = read_state(seg, &st);
	if (rc == 0) {
		st.ext = ext;
		st.old_word = *word;
		st.new_word = next_word(*word, FMT_PIECE, self_slot(seg));
		st.link_of = after;
		st.link_to = ext;
		if (make_true(seg, &st))
			*word = st.new_word;
		else
			rc = -EUCLEAN;
	}
	leave(seg);
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
	struct step st;
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

	assert(seg->self);
	if (after != FMT_NO_EXTENT && !is_ext(seg, after))
		return -EUCLEAN;
	free_strays(seg);
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		rc = take_once(seg, after, wait, ret_ext, ret_word);
		if (rc != -ENOSPC || i + 1 >= im_load32_rlx(&seg->h->space.n_queued))
			return rc;
	}
	return -ENOSPC;
}

static int free_locked(struct im_seg *seg, uint32_t first, uint32_t last, uint32_t n,
		       uint64_t word)
{
	struct step st;
	int rc;

	if (im_load_rlx(&seg->table[first].word) != word)
		return 0;
	rc = read_state(seg, &st);
	if (rc < 0)
		return rc;
	if (n > st.used || (st.queued && !is_ext(seg, st.tail)))
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
	return make_true(seg, &st);
}

int im_space_free(struct im_seg *seg, uint32_t first, uint32_t last, uint32_t n, uint64_t word,
		  struct im_wait *wait)
{
	int rc;

	assert(seg->self);
	if (!is_ext(seg, first) || !is_ext(seg, last) || n == 0 || n > seg->n_extents)
		return -EUCLEAN;
	rc = enter(seg, wait);
	if (rc < 0)
		return rc;
	rc = free_locked(seg, first, last, n, word);
	leave(seg);
	if (rc == 1 && fmt_word_state(word) == FMT_PRIVATE &&
	    fmt_word_who(word) == self_slot(seg))
		im_space_handed_over(seg);
	return rc < 0 ? rc : 0;
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
		if (!is_ext(seg, next) ||
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

	if (!is_ext(seg, ext))
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
	int rc = enter(seg, wait);

	if (rc < 0)
		return rc;
	fresh = (uint32_t)min_u64(im_load32_rlx(&seg->h->space.fresh), seg->n_extents);
	leave(seg);
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

uint32_t im_space_extents(const struct im_seg *seg, uint64_t limit)
{
	uint64_t each = (uint64_t)seg->extent_len + sizeof(struct fmt_extent);

	if (limit < seg->fixed_len)
		return 0;
	return (uint32_t)min_u64((limit - seg->fixed_len) / each, seg->n_extents);
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

	if (limit > seg->len || n < EXTENTS_PER_SHARD * (uint64_t)seg->n_shards)
		return -EINVAL;
	if (n > im_load32_rlx(&s->limit_n)) {
		rc = back_table(seg, n);
		if (rc < 0)
			return rc;
	}
	rc = enter(seg, wait);
	if (rc < 0)
		return rc;
	im_store_rel(&s->limit, limit);
	im_compiler_barrier();
	crash("space.limit");
	im_store32_rel(&s->limit_n, n);
	leave(seg);
	return 0;
}

/* One check: what was seen of each extent, and who wants to know. */
struct check {
	struct im_seg *seg;
	void (*report)(void *arg, const char *line);
	void *arg;
	unsigned char *seen; /* QUEUED, CHAINED */
	int findings;
	const struct step
		*pending; /* a step that happened but is not stored in full; or NULL */
};

enum { QUEUED = 1, CHAINED = 2 };

/* As it will be when the pending step is stored. */
static uint32_t next_of(const struct check *c, uint32_t ext)
{
	const struct step *st = c->pending;

	if (st && st->link_of == ext)
		return st->link_to;
	if (st && st->ext == ext && fmt_word_state(st->new_word) != FMT_FREE)
		return FMT_NO_EXTENT;
	return im_load32_rlx(&c->seg->table[ext].next);
}

__attribute__((format(printf, 2, 3))) static void finding(struct check *c, const char *fmt, ...)
{
	char line[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (c->report)
		c->report(c->arg, line);
	c->findings++;
}

static void check_queue(struct check *c, const struct step *st)
{
	struct im_seg *seg = c->seg;
	uint32_t ext = st->head;

	for (uint32_t i = 0; i < st->queued; i++) {
		enum fmt_state state;

		if (!is_ext(seg, ext)) {
			finding(c, "space.I1: the free queue ends after %u of %u extents", i,
				st->queued);
			return;
		}
		if (c->seen[ext] & QUEUED) {
			finding(c, "space.I1: extent %u is in the free queue twice", ext);
			return;
		}
		c->seen[ext] |= QUEUED;
		state = fmt_word_state(im_load_rlx(&seg->table[ext].word));
		if (state != FMT_FREE && state != FMT_PIECE)
			finding(c, "space.I1: extent %u is in the free queue with state %d",
				ext, (int)state);
		if (i + 1 == st->queued && ext != st->tail)
			finding(c, "space.I1: the free queue ends with %u, its tail is %u", ext,
				st->tail);
		ext = next_of(c, ext);
	}
}

static void check_chain(struct check *c, uint32_t first)
{
	struct im_seg *seg = c->seg;
	uint32_t ext = next_of(c, first);

	while (ext != FMT_NO_EXTENT) {
		if (!is_ext(seg, ext) || c->seen[ext] ||
		    fmt_word_state(im_load_rlx(&seg->table[ext].word)) != FMT_PIECE) {
			finding(c, "space.I5: the chain of extent %u leads to %u", first, ext);
			return;
		}
		c->seen[ext] |= CHAINED;
		ext = next_of(c, ext);
	}
}

static void check_private(struct check *c, uint32_t ext, uint64_t word)
{
	struct im_seg *seg = c->seg;
	uint32_t who = fmt_word_who(word);
	bool counted = who >= 1 && who <= seg->n_owners &&
		       im_load32_acq(&seg->owners[who - 1].n_private);

	/* handed over between the two loads, it is no finding */
	if (!counted && im_load_acq(&seg->table[ext].word) == word)
		finding(c, "space.I6: extent %u is private to owner %u, who does not count it",
			ext, who);
}

static void check_words(struct check *c, const struct step *st)
{
	struct im_seg *seg = c->seg;
	uint32_t used = 0;

	for (uint32_t ext = 0; ext < st->fresh; ext++) {
		uint64_t word = im_load_acq(&seg->table[ext].word);

		if (c->seen[ext] & QUEUED)
			continue;
		used++;
		if (fmt_word_state(word) == FMT_FREE)
			finding(c, "space.I4: extent %u is free but not in the free queue",
				ext);
		if (fmt_word_state(word) == FMT_PRIVATE)
			check_private(c, ext, word);
		if (fmt_word_state(word) == FMT_PRIVATE || fmt_word_state(word) == FMT_LARGE)
			check_chain(c, ext);
	}
	if (used != st->used)
		finding(c, "space.I2: %u extents are in use, the header says %u", used,
			st->used);
	if (st->used + st->queued != st->fresh)
		finding(c, "space.I2: %u used and %u queued are not %u", st->used, st->queued,
			st->fresh);
	for (uint32_t ext = 0; ext < st->fresh; ext++) {
		uint64_t word = im_load_acq(&seg->table[ext].word);

		if (fmt_word_state(word) == FMT_PIECE && !c->seen[ext])
			finding(c, "space.I5: extent %u is a piece of nothing", ext);
	}
}

/* Only as far as the table can have memory: reading further would make some. */
static void check_fresh(struct check *c, const struct step *st, uint32_t limit_n)
{
	for (uint32_t ext = st->fresh; ext < limit_n; ext++) {
		if (im_load_rlx(&c->seg->table[ext].word) != 0)
			finding(c, "space.I3: extent %u was never used but has a word", ext);
	}
}

static void check_all(struct check *c)
{
	struct im_seg *seg = c->seg;
	struct fmt_space *s = &seg->h->space;
	uint32_t limit_n = im_load32_rlx(&s->limit_n);
	struct step st, pending;

	c->findings = 0;
	c->pending = NULL;
	memset(c->seen, 0, seg->n_extents);
	if (limit_n != im_space_extents(seg, im_load_rlx(&s->limit)))
		finding(c, "space.I7: the limit does not allow the %u extents said", limit_n);
	if (read_state(seg, &st) < 0) {
		finding(c, "space.I2: a number of the free queue is out of range");
		return;
	}
	if ((im_load_acq(&s->seq) & 1) && read_intent(seg, &pending)) {
		c->pending = &pending;
		st = pending;
	}
	check_queue(c, &st);
	check_words(c, &st);
	check_fresh(c, &st, (uint32_t)min_u64(limit_n, seg->n_extents));
}

static void keep_quiet(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

/*
 * A read-only attach holds nobody: a walk counts when no step began or ended during it; a
 * step in the middle is taken as its successor would take it. The first walks are silent;
 * findings are told by one more after one that stood still.
 */
static int check_unlocked(struct check *c)
{
	struct fmt_space *s = &c->seg->h->space;
	void (*report)(void *arg, const char *line) = c->report;

	for (int i = 0; i < 16; i++) {
		uint64_t seq = im_load_acq(&s->seq);

		c->report = keep_quiet;
		check_all(c);
		im_read_barrier();
		if (im_load_rlx(&s->seq) != seq)
			continue;
		if (!c->findings)
			return 0;
		c->report = report;
		check_all(c);
		return c->findings;
	}
	c->report = report;
	c->findings = 0;
	finding(c, "space: busy");
	return c->findings;
}

int im_space_check(struct im_seg *seg, void (*report)(void *arg, const char *line), void *arg,
		   struct im_wait *wait)
{
	struct check c = {.seg = seg, .report = report, .arg = arg};
	int rc = 0;

	c.seen = malloc(seg->n_extents);
	if (!c.seen)
		return -ENOMEM;
	if (seg->rdonly) {
		rc = check_unlocked(&c);
	} else {
		rc = enter(seg, wait);
		if (rc == 0) {
			check_all(&c);
			leave(seg);
			rc = c.findings;
		}
	}
	free(c.seen);
	return rc;
}
