/* SPDX-License-Identifier: MIT */
/*
 * clean.c - the only reclaimer: walk an extent, move what lives, release it
 *
 * Garbage of updates, deleted keys, expired entries, entries below the floor: all are
 * reclaimed by walking an extent from its start and moving the entries that a slot names,
 * and that count, to the cold head; the others' slots, if any, are cleared. Then no slot
 * names the extent and it is released. The victim and the place in it are kept in the
 * shard, so the walk goes on in small steps, in whichever process writes next; a place lost
 * by a kill only means that a few entries are looked at twice.
 *
 * How much is cleaned when: garbage may grow to the size of the live data and four extents,
 * or until the limit is reached; from then on every write cleans in proportion to its bytes
 * and to what the victim yields. RAMCloud's log cleaner (Rumble et al., FAST'14) is the
 * model; victims are chosen by least live data among eight that were noticed when their live
 * data fell and sixteen that a cursor passes; one in which somebody holds a value (pinned.c)
 * would yield nothing and is passed over.
 *
 * Tried on paper and dropped: exact lists by live share. They are state that every update
 * has to keep right, and the choice gains next to nothing over the noticed ones.
 */
#include "clean.h"

#include "crash.h"
#include "event.h"
#include "index.h"
#include "large.h"
#include "log.h"
#include "pinned.h"
#include "redo.h"
#include "room.h"
#include "space.h"

#define BATCH 8u        /* entries prefetched together */
#define DEAD_WALK 2u    /* extents walked for the dead under one lock */
#define LOOK 16u        /* extents a choice passes with the cursor */
#define SLACK_EXTENTS 4u /* garbage that is left alone besides the size of the live data */
#define RATE_MAX 64u    /* bytes walked per byte written, at most */
#define WORTH_EIGHTHS 7u /* live share up to which an extent is cleaned for its dead */
#define VICTIMS_PER_STAY 2u /* extents cleaned under one lock, when a call waits for memory */

enum outcome { NOTHING, WORKED, GAINED };

static uint32_t share(struct im_op *op, uint32_t ext)
{
	if (im_log_expired(op, ext))
		return 0;
	return im_books_live(im_load_rlx(&op->seg->table[ext].books));
}

/* ---- choosing ---- */

struct choice {
	uint32_t best;
	uint32_t share;
};

static bool eligible(struct im_op *op, uint32_t ext)
{
	uint64_t w;

	if (ext >= op->seg->n_extents || im_room_is_head(op, ext))
		return false;
	w = im_load_rlx(&op->seg->table[ext].word);
	return fmt_word_state(w) == FMT_LOG && fmt_word_who(w) == op->shard;
}

/* It may be let go at once, or be held the next moment: what is released looks again. */
static bool is_held(const struct im_op *op, uint32_t ext)
{
	return op->m->pins.n && im_load32_rlx(op->m->pins.top) &&
	       im_pinned_look(op->m, ext, fmt_word_gen(im_load_rlx(&op->seg->table[ext].word)),
			      NULL);
}

static void consider(struct im_op *op, uint32_t ext, struct choice *c)
{
	uint32_t live;

	if (!eligible(op, ext))
		return;
	live = share(op, ext);
	if (live < c->share && !is_held(op, ext)) {
		c->share = live;
		c->best = ext;
	}
}

/* Pass @n extents with the cursor. */
static void pass(struct im_op *op, uint32_t n, struct choice *c)
{
	struct fmt_shard *s = op->s;
	uint32_t ext = im_load32_rlx(&s->cursor);

	for (; n; n--) {
		uint64_t w = 0;

		if (ext < op->seg->n_extents)
			w = im_load_rlx(&op->seg->table[ext].word);
		if (fmt_word_state(w) != FMT_LOG || fmt_word_who(w) != op->shard) {
			ext = im_load32_rlx(&s->first);
			if (ext >= op->seg->n_extents)
				break;
		}
		consider(op, ext, c);
		ext = im_load32_rlx(&op->seg->table[ext].next);
	}
	im_store32_rlx(&s->cursor, ext);
}

/* The extent to clean next, or FMT_NO_EXTENT when none yields 1/128 of an extent. */
static uint32_t choose(struct im_op *op, bool full)
{
	struct fmt_shard *s = op->s;
	struct choice c = {FMT_NO_EXTENT, op->seg->extent_len - op->seg->extent_len / 128};

	for (unsigned i = 0; i < FMT_CANDS; i++)
		consider(op, im_load32_rlx(&s->cand[i]), &c);
	pass(op, full ? min_u32(im_load32_rlx(&s->n_log), op->seg->n_extents) : LOOK, &c);
	for (unsigned i = 0; i < FMT_CANDS; i++)
		if (im_load32_rlx(&s->cand[i]) == c.best)
			im_store32_rlx(&s->cand[i], FMT_NO_EXTENT);
	return c.best;
}

static void set_victim(struct im_op *op, uint32_t ext)
{
	im_store32_rlx(&op->s->victim_live, share(op, ext));
	im_store32_rlx(&op->s->victim_pos, 0);
	im_store32_rlx(&op->s->victim, ext);
}

/* The extent that is being cleaned, else another; FMT_NO_EXTENT: none. */
static uint32_t pick_victim(struct im_op *op, bool full)
{
	uint32_t ext = im_load32_rlx(&op->s->victim);

	if (eligible(op, ext))
		return ext;
	ext = choose(op, full);
	if (ext != FMT_NO_EXTENT)
		set_victim(op, ext);
	return ext;
}

void im_clean_note(struct im_op *op, uint32_t ext, uint64_t old_books, uint64_t new_books)
{
	struct fmt_shard *s = op->s;
	unsigned eighth = op->seg->extent_shift - 3;
	uint32_t live = im_books_live(new_books), worst = live;
	unsigned at = FMT_CANDS;

	if (im_room_is_head(op, ext))
		return;
	if (!im_books_named(new_books)) {
		im_room_release(op, ext, false);
		return;
	}
	if (im_books_live(old_books) >> eighth == live >> eighth)
		return;
	for (unsigned i = 0; i < FMT_CANDS; i++) {
		uint32_t c = im_load32_rlx(&s->cand[i]), l = UINT32_MAX;

		if (c == ext)
			return;
		if (eligible(op, c))
			l = im_books_live(im_load_rlx(&op->seg->table[c].books));
		if (l > worst) {
			worst = l;
			at = i;
		}
	}
	if (at < FMT_CANDS)
		im_store32_rlx(&s->cand[at], ext);
}

/* ---- walking ---- */

static void bump(uint64_t *counter)
{
	im_store_rlx(counter, im_load_rlx(counter) + 1);
}

/* A named entry that does not count any more: clear its slot. False: the space lock is busy. */
static bool drop(struct im_op *op, const struct im_entry *e, struct fmt_bucket *b, unsigned i)
{
	struct fmt_shard *s = op->s;
	uint64_t *books = &op->seg->table[e->ext].books;
	uint64_t old = im_load_rlx(books);
	bool counts = e->version >= im_load_rlx(&s->floor);
	uint64_t bucket = im_index_bucket(op, e);
	struct fmt_chain c;

	if (!im_room_try_settle(op))
		return false;
	im_redo_start(op);
	im_redo_set(op, &b->tags[i >> 3], im_tag_word(b, i, 0));
	im_redo_set(op, books,
		    im_books(im_books_live(old) - (counts ? e->size : 0),
			     im_books_named(old) - e->size));
	if (counts) {
		im_redo_set(op, &s->entries, im_load_rlx(&s->entries) - 1);
		im_redo_set(op, &s->live, im_load_rlx(&s->live) - e->size);
	}
	if (e->flags & FMT_F_LARGE) {
		im_entry_chain(e, &c);
		im_large_unhook(op, &c, im_load_rlx(&s->large));
	}
	if (counts && im_event_wanted(op))
		im_event_expired(op, e);
	im_redo_run(op);
	bump(&s->expired);
	crash("clean.dropped");
	im_room_try_settle(op);
	im_index_trim(op, bucket);
	return true;
}

/* False: no room in the cold head, nor, for want of it, in the hot one. */
static bool move(struct im_op *op, const struct im_entry *e, struct fmt_bucket *b, unsigned i)
{
	struct fmt_shard *s = op->s;
	uint64_t *from = &op->seg->table[e->ext].books, *to, old = im_load_rlx(from), new;
	struct im_place at;

	if (!(im_room_cold(op, e->size) == 0 && im_log_move(op, FMT_COLD, e, &at)) &&
	    !im_log_move(op, FMT_HOT, e, &at))
		return false;
	to = &op->seg->table[at.ext].books;
	new = im_load_rlx(to);
	im_redo_start(op);
	im_log_count(op, &at);
	/* ord(publish): the copy's bytes before the reference. Pairs with read.c. */
	im_redo_set32(op, &b->ref[i], at.ref);
	im_redo_set(op, from,
		    im_books(im_books_live(old) - e->size, im_books_named(old) - e->size));
	im_redo_set(op, to,
		    im_books(im_books_live(new) + e->size, im_books_named(new) + e->size));
	im_redo_run(op);
	bump(&s->cleaned);
	crash("clean.swung");
	return true;
}

static bool is_dead(struct im_op *op, const struct im_entry *e)
{
	return e->version < im_load_rlx(&op->s->floor) ||
	       (e->flags & FMT_F_TTL && im_entry_expiry(e) <= im_op_now(op));
}

/* One entry of the victim: true when it may be passed. */
static bool treat(struct im_op *op, const struct im_entry *e)
{
	struct fmt_bucket *b;
	unsigned i;

	if (!im_index_owner(op, e, &b, &i))
		return true;
	return is_dead(op, e) ? drop(op, e, b, i) : move(op, e, b, i);
}

/* Look at up to BATCH entries from @pos; false at the first that is none. */
static unsigned gather(struct im_op *op, uint32_t ext, uint32_t pos, uint32_t fill,
		       struct im_entry *e)
{
	unsigned n;

	for (n = 0; n < BATCH && pos < fill; n++) {
		if (!im_entry_view(op->seg, im_ref(op->seg, ext, pos), &e[n]))
			break;
		pos += e[n].size;
		__builtin_prefetch(im_index_home(op, &e[n]));
	}
	return n;
}

/*
 * The victim's survivors find no room. Forget it, and release what a killed writer may have
 * left in the log without a name: that brings the reserve back.
 */
static enum outcome abandon(struct im_op *op)
{
	uint32_t ext = im_load32_rlx(&op->s->first);
	uint32_t n = min_u32(im_load32_rlx(&op->s->n_log), op->seg->n_extents);

	im_store32_rlx(&op->s->victim, FMT_NO_EXTENT);
	for (; ext < op->seg->n_extents && n; n--) {
		const struct fmt_extent *x = &op->seg->table[ext];

		if (eligible(op, ext) && !im_books_named(im_load_rlx(&x->books)))
			return im_room_release(op, ext, false) ? GAINED : WORKED;
		ext = im_load32_rlx(&x->next);
	}
	return NOTHING;
}

/*
 * Walk at most about @budget bytes of the victim. GAINED: it was released and an extent is
 * ahead or free; WORKED: more to do, or it became the reserve; NOTHING: no victim, no room for
 * survivors, or bytes that are no entries.
 */
static enum outcome step(struct im_op *op, uint32_t budget, bool full, bool give)
{
	struct fmt_shard *s = op->s;
	struct im_entry e[BATCH];
	uint32_t ext = pick_victim(op, full), pos, fill;

	if (ext == FMT_NO_EXTENT)
		return NOTHING;
	pos = im_load32_rlx(&s->victim_pos);
	fill = min_u32(im_load32_rlx(&op->seg->table[ext].fill), op->seg->extent_len);
	while (pos < fill && im_books_named(im_load_rlx(&op->seg->table[ext].books))) {
		unsigned n = gather(op, ext, pos, fill, e);

		if (!budget)
			return WORKED;
		if (!n)
			goto broken;
		for (unsigned k = 0; k < n; k++) {
			if (!treat(op, &e[k]))
				return abandon(op);
			pos += e[k].size;
			im_store32_rlx(&s->victim_pos, pos);
			budget -= budget < e[k].size ? budget : e[k].size;
		}
	}
	if (im_books_named(im_load_rlx(&op->seg->table[ext].books)))
		goto broken;
	return im_room_release(op, ext, give) ? GAINED : WORKED;
broken:
	im_store32_rlx(&s->victim, FMT_NO_EXTENT);
	return NOTHING;
}

/* ---- how much, and when ---- */

void im_clean_pace(struct im_op *op, uint32_t bytes)
{
	struct fmt_shard *s = op->s;
	uint32_t e = op->seg->extent_len, live;
	bool want = im_load32_rlx(&s->ahead) >= op->seg->n_extents && im_space_short(op->seg);
	uint64_t owed, rate;

	if (im_load32_rlx(&s->n_ahead) > 1 && im_room_slack(s) > 2 * e)
		im_room_give_ahead(op);
	if (likely(!want) && im_room_garbage(op) <= im_load_rlx(&s->live) + SLACK_EXTENTS * e)
		return;
	if (pick_victim(op, false) == FMT_NO_EXTENT)
		return;
	/* what it yielded as a whole: its live bytes fall while it is walked, its yield does not */
	live = im_load32_rlx(&s->victim_live);
	rate = 9 * e / (8 * (e - (live < e ? live : e - 1))) + 2;
	owed = im_load32_rlx(&s->owed) + (uint64_t)bytes * min_u64(rate, RATE_MAX);
	if (owed < 512) {
		im_store32_rlx(&s->owed, (uint32_t)owed);
		return;
	}
	im_store32_rlx(&s->owed, 0);
	step(op, (uint32_t)min_u64(owed, 2 * e), false, false);
}

static bool has_extent(const struct im_op *op)
{
	return im_load32_rlx(&op->s->ahead) < op->seg->n_extents &&
	       im_load32_rlx(&op->s->reserve) < op->seg->n_extents;
}

/* An extent was won: the count of victims begins anew. */
static enum outcome gained(struct im_op *op)
{
	op->victims = 0;
	return GAINED;
}

/*
 * Under the lock: clean up to VICTIMS_PER_STAY extents, until one is ahead, or (@give) free.
 * @op counts the victims of the call that wants it: cleaning that gains nothing in the end,
 * since the entries do not pack, must end.
 */
static enum outcome clean_some(struct im_op *in, struct im_op *op, bool give)
{
	if (im_room_unpark(in, give))
		return gained(op);
	for (unsigned i = 0; i < VICTIMS_PER_STAY; i++) {
		enum outcome o;

		if (give ? im_room_give_ahead(in) : has_extent(in))
			return gained(op);
		if (op->victims++ > IM_OP_VICTIMS_MAX)
			return NOTHING;
		o = step(in, UINT32_MAX, true, give);
		if (o == GAINED && give)
			return gained(op);
		if (o == NOTHING)
			return o;
	}
	return !give && has_extent(in) ? gained(op) : WORKED;
}

/* ---- the dead that nobody met ---- */

/* How much of a look at the dead is done for one call. */
struct met {
	bool freed; /* an extent, or the chain of a large value */
	bool again; /* it was of use: bytes that are no entries would do for ever */
};

/* Something in the extent has expired, or was cleared and still has its name. */
static bool holds_dead(struct im_op *op, uint32_t ext)
{
	const struct fmt_extent *x = &op->seg->table[ext];

	return im_load_rlx(&x->expiry_min) <= im_op_now(op) ||
	       (im_log_dead(op, ext) && im_books_named(im_load_rlx(&x->books)));
}

/* Clear the slots of the dead entries of one extent, which may be a head; move nothing. */
static void meet_extent(struct im_op *op, uint32_t ext, struct met *met)
{
	struct fmt_extent *x = &op->seg->table[ext];
	uint32_t pos = 0, fill = min_u32(im_load32_rlx(&x->fill), op->seg->extent_len);
	uint64_t next = UINT64_MAX;
	struct im_entry e[BATCH];
	struct fmt_bucket *b;
	unsigned n, i;

	while ((n = gather(op, ext, pos, fill, e)) != 0)
		for (unsigned k = 0; k < n; k++) {
			pos += e[k].size;
			if (!is_dead(op, &e[k])) {
				next = min_u64(next, im_entry_expiry(&e[k]));
				continue;
			}
			if (!im_index_owner(op, &e[k], &b, &i))
				continue;
			if (!drop(op, &e[k], b, i))
				return; /* who asked waits, since free_n is not 0 */
			met->again = true;
			met->freed |= (e[k].flags & FMT_F_LARGE) != 0;
		}
	if (pos == fill)
		im_store_rlx(&x->expiry_min, next);
	if (!im_books_named(im_load_rlx(&x->books)) && !im_room_is_head(op, ext))
		met->freed |= im_room_release(op, ext, true);
	met->again |= met->freed || !holds_dead(op, ext);
}

/*
 * Entries that expired, or were cleared, in extents that cleaning does not reach: heads, or
 * the few extents of a shard whose memory is in large values. Ends at the first gain, or after
 * DEAD_WALK extents. True: it was of use, more may be left.
 */
static bool meet_dead(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t ext = im_load32_rlx(&s->first);
	uint32_t n = min_u32(im_load32_rlx(&s->n_log), op->seg->n_extents);
	struct met met = {0};
	unsigned walked = 0;

	for (; ext < op->seg->n_extents && n && walked < DEAD_WALK; n--) {
		uint32_t at = ext;

		ext = im_load32_rlx(&op->seg->table[at].next);
		if (!holds_dead(op, at))
			continue;
		meet_extent(op, at, &met);
		walked++;
		if (met.freed)
			break;
	}
	return met.again;
}

/* Clean in @shard for others, as far as its own live data permits; never waits. */
static bool from_shard(struct im_op *op, uint32_t shard, bool aged, bool *busy)
{
	struct im_op other;
	bool won = false;

	im_op_init(op->m, &other, IM_NOWAIT);
	im_op_shard(&other, shard);
	if (im_op_try_enter(&other)) {
		*busy = true;
		return false;
	}
	won = im_room_unpark(&other, true);
	if (aged)
		won |= meet_dead(&other);
	if (im_room_slack(other.s) >= op->seg->extent_len)
		won |= clean_some(&other, op, true) != NOTHING;
	if (im_load32_rlx(&other.s->free_n))
		*busy = true; /* memory is on its way, but the space lock is taken */
	im_op_leave(&other);
	im_op_done(&other);
	return won;
}

/* The other shards (and this one, if @own), best first while they have an extent to spare. */
static int from_others(struct im_op *op, bool own)
{
	const struct ipcmap *m = op->m;
	uint64_t below = UINT64_MAX;
	bool busy = false;

	for (uint32_t tries = 0; tries < m->n_shards; tries++) {
		uint64_t most = 0;
		uint32_t at = 0;

		for (uint32_t k = 0; k < m->n_shards; k++) {
			uint64_t l = im_room_slack(&m->shards[k]);

			if ((own || k != op->shard) && l > most && l < below) {
				most = l;
				at = k;
			}
		}
		if (most < op->seg->extent_len)
			break;
		if (from_shard(op, at, false, &busy))
			return 0;
		below = most;
	}
	return busy ? -EBUSY : -EDQUOT;
}

/* Entries that expired still count as live, so the shards' books do not show them. Dropping
 * some is progress: the caller comes again. */
static int from_aged(struct im_op *op)
{
	const struct ipcmap *m = op->m;
	bool busy = false;

	for (uint32_t k = 0; k < m->n_shards; k++)
		if (from_shard(op, (op->shard + k) % m->n_shards, true, &busy))
			return 0;
	return busy ? -EBUSY : -EDQUOT;
}

int im_clean_make_room(struct im_op *op)
{
	enum outcome o = NOTHING;
	int r = im_op_enter(op);

	if (r)
		return r;
	if (!op->grow || im_room_slack(op->s) >= op->grow)
		o = clean_some(op, op, false);
	im_op_leave(op);
	if (o != NOTHING)
		return 0;
	r = from_others(op, false);
	if (r == -EDQUOT)
		r = from_aged(op);
	return r;
}

/* Cleaning an extent for its dead is worth the moving of @live bytes. */
static bool is_worth(const struct im_op *op, uint32_t live)
{
	return live <= op->seg->extent_len / 8 * WORTH_EIGHTHS;
}

/* The first extent, no head, that holds something dead; FMT_NO_EXTENT: none. */
static uint32_t find_dead(struct im_op *op)
{
	uint32_t ext = im_load32_rlx(&op->s->first);
	uint32_t n = min_u32(im_load32_rlx(&op->s->n_log), op->seg->n_extents);

	for (; ext < op->seg->n_extents && n; n--) {
		if (eligible(op, ext) && holds_dead(op, ext))
			return ext;
		ext = im_load32_rlx(&op->seg->table[ext].next);
	}
	return FMT_NO_EXTENT;
}

/*
 * The dead of an extent are dropped where they lie; then it is cleaned, if that is worth the
 * moving. A victim that is half done comes first: it may have the reserve in use (room.I2).
 */
bool im_clean_expired(struct im_op *op, uint32_t budget)
{
	struct fmt_shard *s = op->s;
	struct met met = {0};
	uint32_t ext;

	if (eligible(op, im_load32_rlx(&s->victim)) && step(op, budget, true, true) != NOTHING)
		return true;
	ext = find_dead(op);
	if (ext == FMT_NO_EXTENT)
		return meet_dead(op); /* in the heads */
	meet_extent(op, ext, &met);
	if (eligible(op, ext) && is_worth(op, share(op, ext)))
		set_victim(op, ext);
	return true;
}

void im_clean_weigh(struct im_op *op, uint32_t ext, struct im_dead *sum)
{
	const struct fmt_extent *x = &op->seg->table[ext];
	uint32_t pos = 0, fill = min_u32(im_load32_rlx(&x->fill), op->seg->extent_len);
	uint32_t live = im_log_dead(op, ext) ? 0 : im_books_live(im_load_rlx(&x->books));
	struct im_entry e[BATCH];
	struct fmt_bucket *b;
	struct fmt_chain c;
	unsigned n, i;

	if (!holds_dead(op, ext))
		return;
	while ((n = gather(op, ext, pos, fill, e)) != 0)
		for (unsigned k = 0; k < n; k++) {
			pos += e[k].size;
			if (!is_dead(op, &e[k]) || !im_index_owner(op, &e[k], &b, &i))
				continue;
			if (e[k].version >= im_load_rlx(&op->s->floor)) {
				sum->entries++;
				sum->len += e[k].size;
				live -= min_u32(live, e[k].size);
			}
			if (e[k].flags & FMT_F_LARGE) {
				im_entry_chain(&e[k], &c);
				sum->large += min_u32(c.n, op->seg->n_extents);
			}
		}
	if (!im_room_is_head(op, ext) && is_worth(op, live))
		sum->gain += op->seg->extent_len - live;
}

bool im_clean_compact(struct im_op *op, uint32_t budget)
{
	if (im_room_unpark(op, true) || meet_dead(op))
		return true;
	if (im_load32_rlx(&op->s->n_ahead))
		return im_room_give_ahead(op);
	if (!eligible(op, im_load32_rlx(&op->s->victim)) && !im_room_is_loose(op))
		return false;
	return step(op, budget, true, true) != NOTHING;
}

bool im_clean_retire(struct im_op *op, uint32_t budget)
{
	struct fmt_shard *s = op->s;
	uint32_t hot = im_load32_rlx(&s->head[FMT_HOT]);

	if (eligible(op, im_load32_rlx(&s->victim)) && step(op, budget, true, true) != NOTHING)
		return true;
	if (hot >= op->seg->n_extents || !is_worth(op, share(op, hot)))
		return false;
	im_redo_start(op);
	im_redo_set(op, &s->tail, im_load_rlx(&s->tail) + im_room_left(op, FMT_HOT));
	im_redo_set32(op, &s->head[FMT_HOT], FMT_NO_EXTENT);
	im_redo_run(op);
	im_room_recap(op);
	set_victim(op, hot);
	return false;
}

/* Free extents of which @want may be taken; with the file system full, those with memory. */
static bool enough(const struct im_seg *seg, uint64_t want, int err)
{
	const struct fmt_space *s = &seg->h->space;
	uint32_t limit = im_load32_rlx(&s->limit_n), used = im_load32_rlx(&s->used);

	if (err != -EDQUOT)
		return im_load32_rlx(&s->n_queued) >= want;
	return limit > used && limit - used >= want;
}

int im_clean_make_free(struct im_op *op, uint64_t len, int err)
{
	uint64_t want = len / op->seg->extent_len + 1;
	bool won = false;

	while (!won || !enough(op->seg, want, err)) {
		int r = from_others(op, true);

		if (im_load_rlx(&op->seg->interrupts) != op->wait.interrupts)
			return -EINTR;
		if (r == -EDQUOT)
			r = from_aged(op);
		if (r == -EDQUOT)
			return err == -EFBIG ? -ENOSPC : err;
		if (r == -EBUSY)
			im_op_pause();
		else if (r)
			return r;
		if (im_wait_over(&op->wait))
			return -EBUSY;
		won = true;
	}
	return 0;
}
