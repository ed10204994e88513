/* SPDX-License-Identifier: MIT */
/*
 * callers.c - the processes of the linearizability test: workers, filler, compactor
 *
 * A call is chosen at random, noted, stamped, made, and stamped again. Values prove themselves
 * (load.h); each put stores another one, whose number says who stored it. The watcher is in
 * watcher.c.
 */
#include "callers.h"

#include "crash.h"
#include "map.h"
#include "os.h"

#include <sched.h>
#include <signal.h>

#define HOUR UINT64_C(3600000000000)
#define BRIEF_NS UINT64_C(20000000) /* the shortest life */
#define TURN 24u /* so many calls to a turn of the clock by that, about */
#define HOVER 20000u /* the filler's writes at the limit before it deletes all its keys */
#define WRITER_SHIFT 32 /* a value: number of the process that stored it | which of its own */

struct shared *sh;
const char *callers_map;

static unsigned char val_buf[LOAD_CAP], equal_buf[LOAD_CAP], got_buf[LOAD_CAP];

/* ---- the clock ---- */

static struct im_os turned_os;

static uint64_t turned_coarse(void)
{
	return im_load_acq(&sh->clock);
}

void callers_clock_on(void)
{
	turned_os = im_os_real;
	turned_os.coarse = turned_coarse;
	im_os = &turned_os;
}

void callers_clock_off(void)
{
	im_os = &im_os_real;
}

/* ---- keys and values ---- */

bool is_counter(uint32_t k)
{
	return k >= VALUES;
}

size_t callers_key(uint32_t k, unsigned char *key)
{
	size_t n = (size_t)sprintf((char *)key, k == LONG ? "long-%u" : WATCHED_PREFIX "%u", k);

	if (k != LONG)
		return n;
	memset(key + n, 'k', LONG_KEY - n);
	return LONG_KEY;
}

static uint32_t length_of(uint64_t value)
{
	uint64_t x = value * UINT64_C(0x9e3779b97f4a7c15);

	x ^= x >> 29;
	if (x % 16 == 0)
		return 3000 + (uint32_t)(x >> 8) % 9000; /* extents of its own */
	if (x % 4 == 1)
		return LOAD_MIN + (uint32_t)(x >> 8) % 1500;
	return LOAD_MIN + (uint32_t)(x >> 8) % 100;
}

/* The bytes of @value under key @k. */
static size_t make_value(uint32_t k, uint64_t value, unsigned char *buf)
{
	if (is_counter(k))
		return (size_t)sprintf((char *)buf, "%lld", (long long)value);
	load_make(buf, length_of(value), k, (uint32_t)(value >> WRITER_SHIFT),
		  value & UINT32_MAX);
	return length_of(value);
}

static uint64_t parse_value(uint32_t k, const unsigned char *buf, size_t len)
{
	struct load_head h;
	uint64_t seq;

	if (is_counter(k)) {
		char text[24] = "";

		memcpy(text, buf, len < sizeof(text) ? len : sizeof(text) - 1);
		return (uint64_t)atoll(text);
	}
	if (len >= sizeof(h)) {
		memcpy(&h, buf, sizeof(h));
		if (load_is(buf, len, k, h.writer, &seq) &&
		    length_of((uint64_t)h.writer << WRITER_SHIFT | seq) == len)
			return (uint64_t)h.writer << WRITER_SHIFT | seq;
	}
	im_add_rlx(&sh->wrong, 1);
	return 0;
}

/* ---- one call ---- */

void callers_show(struct lin_op *o, const struct ipcmap_value *v)
{
	if (v->version) {
		o->out = parse_value(o->key, v->buf, v->len);
		o->out_version = v->version;
		o->shown = LIN_VALUE | LIN_VERSION;
	} else {
		o->shown = LIN_NONE;
	}
}

/* A condition, of what was seen last, or of anything. */
static void choose_condition(struct worker *w, struct lin_op *o, struct ipcmap_put_options *how)
{
	switch (load_random(&w->x) % 8) {
	case 0:
		o->cond = o->kind == LIN_PUT ? IPCMAP_IF_ABSENT : 0;
		break;
	case 1:
		o->cond = o->kind == LIN_PUT ? IPCMAP_IF_PRESENT : 0;
		break;
	case 2:
	case 3:
		o->cond = w->version[o->key] ? IPCMAP_IF_VERSION : 0;
		o->want = w->version[o->key];
		break;
	case 4:
		o->cond = w->value[o->key] ? IPCMAP_IF_EQUAL : 0;
		o->want = w->value[o->key];
		break;
	default:
		break;
	}
	how->flags = o->cond;
	if (o->cond == IPCMAP_IF_VERSION)
		how->version = o->want;
	if (o->cond == IPCMAP_IF_EQUAL) {
		how->equal = equal_buf;
		how->equal_len = make_value(o->key, o->want, equal_buf);
	}
}

static void begin(struct lin_op *o)
{
	im_store_rel(&o->inv, lin_stamp(&sh->stamp));
}

/* Results first: who finds ret knows all of it. */
static void end(struct lin_op *o)
{
	im_store_rel(&o->ret, lin_stamp(&sh->stamp));
}

static void read_key(struct worker *w, struct lin_op *o, const void *key, size_t key_len)
{
	struct ipcmap_value v = {.buf = got_buf, .cap = sizeof(got_buf)};
	struct ipcmap_mget item = {.key = key, .key_len = key_len, .value = v};
	uint64_t how = load_random(&w->x) % 6;

	if (how == 2 && o->key == BRIEF)
		how = 1; /* it would live on */
	o->kind = how == 4 ? LIN_EXISTS : LIN_GET;
	begin(o);
	if (how == 0) {
		o->rc = ipcmap_get(w->m, key, key_len, got_buf, sizeof(got_buf), &v.len);
	} else if (how == 1) {
		o->rc = ipcmap_getx(w->m, key, key_len, &v);
	} else if (how == 2) {
		o->rc = ipcmap_get_touch(w->m, key, key_len, 24 * HOUR, &v);
	} else if (how == 3) {
		ipcmap_mget(w->m, &item, 1);
		o->rc = item.rc;
		v = item.value;
	} else if (how == 5) {
		o->rc = ipcmap_mget_consistent(w->m, &item, 1, 0);
		o->rc = o->rc < 0 ? o->rc : item.rc;
		v = item.value;
	} else {
		o->rc = ipcmap_exists(w->m, key, key_len);
	}
	if (o->kind == LIN_GET && o->rc == 0) {
		o->shown = how == 0 ? LIN_VALUE : LIN_VALUE | LIN_VERSION;
		o->out = parse_value(o->key, got_buf, v.len);
		o->out_version = v.version;
	}
}

static size_t beside_key(unsigned me, unsigned i, char *key)
{
	return (size_t)sprintf(key, "beside-%u-%u", me, i);
}

uint32_t callers_count_beside(struct ipcmap *m)
{
	uint32_t n = 0;
	char key[40];

	for (unsigned me = 0; me < WORKERS; me++)
		for (unsigned i = 0; i < BESIDE; i++)
			n += ipcmap_exists(m, key, beside_key(me, i, key)) == 1;
	return n;
}

#define GROUP_LEN 1500u /* of key and value: half an extent has 2048 bytes */

/* As a group, with another key of this worker that nobody looks at. */
static int change_in_group(struct worker *w, const struct lin_op *o, const void *key,
			   size_t key_len, size_t len, const struct ipcmap_put_options *how)
{
	struct ipcmap_change c[2];
	char other[40];

	memset(c, 0, sizeof(c));
	c[0].key = key;
	c[0].key_len = key_len;
	c[0].val = o->kind == LIN_PUT ? val_buf : NULL;
	c[0].val_len = o->kind == LIN_PUT ? len : 0;
	c[0].flags = how->flags | (o->kind == LIN_PUT ? 0 : IPCMAP_CHANGE_DEL | IPCMAP_IF_PRESENT);
	c[0].version = how->version;
	c[0].ttl_ns = how->ttl_ns;
	c[1].key = other;
	c[1].key_len = beside_key(w->me, (unsigned)(load_random(&w->x) % BESIDE), other);
	c[1].val = "beside";
	c[1].val_len = 6;
	return ipcmap_commit(w->m, c, load_random(&w->x) % 8 ? 2 : 1, 0);
}

static void store_key(struct worker *w, struct lin_op *o, const void *key, size_t key_len)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value v = {.buf = got_buf, .cap = sizeof(got_buf)};
	bool wants_old = load_random(&w->x) % 2;
	uint8_t brief = 0;
	size_t len;

	o->kind = LIN_PUT;
	o->val = (uint64_t)w->life << WRITER_SHIFT | ++w->seq;
	if (is_counter(o->key))
		o->val = load_random(&w->x) % 1000 * 1000000;
	len = make_value(o->key, o->val, val_buf);
	choose_condition(w, o, &how);
	if (load_random(&w->x) % 4 == 0)
		how.ttl_ns = 24 * HOUR;
	if (o->key == BRIEF) {
		how.ttl_ns = BRIEF_NS;
		brief = LIN_BRIEF;
	}
	o->shown = brief;
	begin(o);
	if (o->cond != IPCMAP_IF_EQUAL && key_len + len <= GROUP_LEN &&
	    load_random(&w->x) % 4 == 0) {
		o->rc = change_in_group(w, o, key, key_len, len, &how);
		return;
	}
	if (wants_old)
		o->rc = ipcmap_putx(w->m, key, key_len, val_buf, len, &how, &v);
	else
		o->rc = ipcmap_put(w->m, key, key_len, val_buf, len, &how);
	if (wants_old && (o->rc == 0 || o->rc == IPCMAP_EXISTS || o->rc == IPCMAP_MISMATCH))
		callers_show(o, &v);
	o->shown |= brief;
}

static void remove_key(struct worker *w, struct lin_op *o, const void *key, size_t key_len)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value v = {.buf = got_buf, .cap = sizeof(got_buf)};
	uint64_t which = load_random(&w->x) % 4;

	o->kind = LIN_DEL;
	if (which == 3 && key_len <= GROUP_LEN) {
		o->shown = LIN_KEEPS; /* a group whose condition is not met changes nothing */
		begin(o);
		o->rc = change_in_group(w, o, key, key_len, 0, &how);
		return;
	}
	if (which == 2)
		choose_condition(w, o, &how);
	begin(o);
	if (which == 0)
		o->rc = ipcmap_del(w->m, key, key_len);
	else if (which == 1)
		o->rc = ipcmap_take(w->m, key, key_len, &v);
	else
		o->rc = ipcmap_delx(w->m, key, key_len, &how);
	if (which == 1 && o->rc == 0)
		callers_show(o, &v);
}

static void touch_key(struct worker *w, struct lin_op *o, const void *key, size_t key_len)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	if (o->key == BRIEF) { /* it would live on */
		read_key(w, o, key, key_len);
		return;
	}
	o->kind = LIN_TOUCH;
	choose_condition(w, o, &how);
	how.ttl_ns = load_random(&w->x) % 2 ? IPCMAP_TTL_NONE : 48 * HOUR;
	begin(o);
	o->rc = ipcmap_touch(w->m, key, key_len, &how);
}

static void add_key(struct worker *w, struct lin_op *o, const void *key, size_t key_len)
{
	int64_t now = 0;

	o->kind = LIN_ADD;
	o->val = 1 + load_random(&w->x) % 1000;
	begin(o);
	o->rc = ipcmap_add(w->m, key, key_len, (int64_t)o->val, NULL, &now);
	if (o->rc == 0) {
		o->shown = LIN_VALUE;
		o->out = (uint64_t)now;
	}
}

/* ---- loading ---- */

/* The value, one that has expired, or a lease. */
static void ask_for_lease(struct worker *w, struct lin_op *o, const void *key, size_t key_len)
{
	struct ipcmap_value v = {.buf = got_buf, .cap = sizeof(got_buf)};
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct held *held = &w->held[o->key];
	struct ipcmap_lease l;

	o->kind = LIN_LEASE;
	o->val = (uint64_t)w->life << WRITER_SHIFT | ++w->seq;
	how.stale_ns = load_random(&w->x) % 2 ? HOUR : 0;
	how.lease_ns = HOUR;
	how.early = 0;
	if (load_random(&w->x) % 8 == 0) {
		how.lease_ns = BRIEF_NS;
		o->shown = LIN_BRIEF;
	}
	/* long enough, sometimes, that the dead are found out */
	how.deadline_ns = load_random(&w->x) % 16 ? IPCMAP_NOWAIT : 30 * UINT64_C(1000000);
	begin(o);
	o->rc = ipcmap_lease(w->m, key, key_len, &how, &l, &v);
	if (o->rc == 0) {
		o->kind = v.ttl_left_ns ? LIN_GET : LIN_STALE;
		o->shown = 0;
		callers_show(o, &v);
	} else if (o->rc == IPCMAP_LEAD) {
		w->ended[o->key] = *held;
		*held = (struct held){l, o->val};
		w->next = 1u + o->key;
		if (l.has_value) {
			o->shown |= LIN_VALUE | LIN_VERSION;
			o->out = parse_value(o->key, got_buf, v.len);
			o->out_version = v.version;
		}
	}
}

/* Store with a lease, or give it back; sometimes with one that is over. */
static void use_lease(struct worker *w, struct lin_op *o, const void *key, size_t key_len,
		      struct held *l)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct held held = *l;

	o->want = held.number;
	w->ended[o->key] = held;
	l->number = 0;
	if (load_random(&w->x) % 4 == 0) {
		o->kind = LIN_FAIL;
		begin(o);
		how.backoff_ns = how.backoff_max_ns = 1;
		o->rc = ipcmap_lease_fail(w->m, key, key_len, &held.lease, &how,
					  load_random(&w->x) % 2 ? -EIO : 0);
		return;
	}
	o->kind = LIN_FILL;
	o->val = (uint64_t)w->life << WRITER_SHIFT | ++w->seq;
	how.ttl_ns = 24 * HOUR;
	if (o->key == BRIEF) {
		how.ttl_ns = BRIEF_NS;
		o->shown = LIN_BRIEF;
	}
	begin(o);
	o->rc = ipcmap_lease_put(w->m, key, key_len, &held.lease, val_buf,
				 make_value(o->key, o->val, val_buf), &how);
}

static void load_key(struct worker *w, struct lin_op *o, const void *key, size_t key_len)
{
	uint32_t k = o->key;

	if (w->ended[k].number && load_random(&w->x) % 8 == 0)
		use_lease(w, o, key, key_len, &w->ended[k]);
	else if (w->held[k].number && load_random(&w->x) % 4)
		use_lease(w, o, key, key_len, &w->held[k]);
	else
		ask_for_lease(w, o, key, key_len);
}

/* The filler's keys are not to go. */
static void clear_all(struct worker *w, struct lin_op *o)
{
	o->kind = LIN_CLEAR;
	o->key = EVERY_KEY;
	begin(o);
	o->rc = ipcmap_clear(w->m);
}

static void call(struct worker *w, struct lin_op *o)
{
	static unsigned char key[LONG_KEY + 20];
	uint64_t which = load_random(&w->x) % 20;
	size_t key_len;

	/* one that was killed before it began may have left something */
	memset(o, 0, sizeof(*o));
	o->key = (uint8_t)(load_random(&w->x) % KEYS);
	if (load_random(&w->x) % TURN == 0)
		im_add_rlx(&sh->clock, BRIEF_NS);
	if (w->next && load_random(&w->x) % 4) {
		o->key = (uint8_t)(w->next - 1);
		which = 19; /* load it, now that it can */
	}
	w->next = 0;
	o->who = (uint16_t)w->me;
	o->rc = LIN_PENDING;
	key_len = callers_key(o->key, key);
	if (w->clears && load_random(&w->x) % 64 == 0)
		clear_all(w, o);
	else if (which < 6)
		read_key(w, o, key, key_len);
	else if (is_counter(o->key) && ((which > 6 && which < 10) || which > 13))
		add_key(w, o, key, key_len);
	else if (which < 10)
		store_key(w, o, key, key_len);
	else if (which < 13)
		remove_key(w, o, key, key_len);
	else if (which < 14)
		touch_key(w, o, key, key_len);
	else
		load_key(w, o, key, key_len);
	end(o);
	if (o->shown & LIN_VERSION) {
		w->version[o->key] = o->out_version;
		w->value[o->key] = o->out;
	}
	if (o->rc == IPCMAP_LIMIT || o->rc == IPCMAP_FULL)
		im_add_rlx(&sh->limits, 1);
	if (o->rc == IPCMAP_BUSY)
		im_add_rlx(&sh->busy, 1);
}

/* ---- processes ---- */

#if HAVE_POINTS
static struct worker *nudged;

static void nudge(const char *point)
{
	uint32_t *die = &sh->die_in[nudged->me], n = im_load32_rlx(die);
	uint64_t r = load_random(&nudged->x);

	if (n && im_cas32_acq(die, n, n - 1) == n && n == 1)
		kill(getpid(), SIGKILL);
	/* long enough that the filler may come to use again what a reader looks at */
	if (strncmp(point, "read.", 5) == 0 && r % 1024 == 0)
		usleep(5000);
	else if (r % 128 == 0)
		usleep(30);
	else if (r % 16 == 0)
		sched_yield();
}
#endif

static void wait_for_work(const uint32_t *next)
{
	for (unsigned n = 0; im_load32_acq(next) == OPS && !im_load32_acq(&sh->stop); n++)
		usleep(n < 20 ? 50 : 500);
}

/* All at once; not one after the other, as they wake up. */
static void start_together(void)
{
	im_add32_rlx(&sh->ready, 1);
	while (im_load32_acq(&sh->ready) < WORKERS && !im_load32_acq(&sh->stop))
		sched_yield();
}

int callers_work(void *arg)
{
	struct worker *w = arg;
	uint32_t round = 0;

	callers_clock_on();
	T_MUST(load_open(callers_map, 0, 0, 0, &w->m) == 0);
#if HAVE_POINTS
	nudged = w;
	im_crash_hook = nudge;
#endif
	while (!im_load32_acq(&sh->stop)) {
		uint32_t i = im_load32_acq(&sh->next[w->me]);

		if (i == OPS) {
			wait_for_work(&sh->next[w->me]);
			continue;
		}
		if (round != im_load32_acq(&sh->round)) {
			round = im_load32_acq(&sh->round);
			start_together();
			alarm(LIFE_S);
		}
		call(w, &sh->op[w->me][i]);
		im_store32_rel(&sh->next[w->me], i + 1);
	}
#if HAVE_POINTS
	im_crash_hook = NULL;
#endif
	ipcmap_close(w->m);
	return 0;
}

struct filler {
	struct ipcmap *m;
	uint64_t x;
	uint32_t n;    /* keys there are */
	uint32_t full; /* writes since they were most */
};

/* One key more; and one replaced, which is what makes cleaning necessary. */
static void fill_one(struct filler *f)
{
	static unsigned char val[1500];
	size_t len = load_random(&f->x) % 4 ? 100 : load_random(&f->x) % sizeof(val);
	char key[40];
	int r;

	if (f->n < FILL) {
		r = ipcmap_put(f->m, key, (size_t)sprintf(key, "filler-%u", f->n), val, len,
			       NULL);
		T_MUST(r == 0 || r == IPCMAP_LIMIT || r == IPCMAP_BUSY);
		if (r == 0)
			im_store_rel(&sh->filled, ++f->n);
	} else {
		r = IPCMAP_LIMIT;
	}
	f->full += f->full || r == IPCMAP_LIMIT;
	r = (int)(load_random(&f->x) % (f->n + 1));
	if ((uint32_t)r < f->n)
		ipcmap_put(f->m, key, (size_t)sprintf(key, "filler-%d", r), val, len, NULL);
}

static void empty_one(struct filler *f)
{
	char key[40];
	int r = ipcmap_del(f->m, key, (size_t)sprintf(key, "filler-%u", f->n - 1));

	T_MUST(r == 0 || r == IPCMAP_BUSY);
	if (r == 0)
		im_store_rel(&sh->filled, --f->n);
}

/* Fills the map to its limit, or up to FILL keys; stays there; deletes them all; again. */
int callers_fill(void *arg)
{
	struct filler f = {.x = *(uint64_t *)arg};

	callers_clock_on();
	T_MUST(load_open(callers_map, 0, 0, 0, &f.m) == 0);
	while (!im_load32_acq(&sh->stop)) {
		if (im_load32_acq(&sh->pause)) {
			im_store32_rel(&sh->paused, 1);
			alarm(LIFE_S);
			usleep(100);
		} else if (f.full < HOVER) {
			fill_one(&f);
		} else if (f.n) {
			empty_one(&f);
		} else {
			f.full = 0;
		}
	}
	ipcmap_close(f.m);
	return 0;
}

static int stopped(void *arg, uint64_t done, uint64_t of)
{
	(void)arg;
	(void)done;
	(void)of;
	return (int)im_load32_acq(&sh->stop);
}

int callers_compact(void *arg)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap *m;

	(void)arg;
	how.progress = stopped;
	callers_clock_on();
	T_MUST(load_open(callers_map, 0, 0, 0, &m) == 0);
	while (!im_load32_acq(&sh->stop)) {
		int r;

		alarm(LIFE_S);
		how.flags = how.flags ? 0 : IPCMAP_COMPACT_EXPIRED;
		r = ipcmap_compact(m, &how, NULL);
		T_MUST(r == 0 || r == IPCMAP_INTERRUPTED || r == IPCMAP_BUSY);
		im_add_rlx(&sh->compactions, 1);
	}
	ipcmap_close(m);
	return 0;
}
