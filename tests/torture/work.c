/* SPDX-License-Identifier: MIT */
/*
 * work.c - what a worker does until it is killed: everything that the library can
 *
 * A hand may look at all keys and writes its own. Where nothing of a predecessor is in flight
 * it knows what is there, so the answers of conditional writes are known too. The operator
 * has no keys.
 */
#include "torture.h"

#include "map.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>

#define HELD 4u
#define FINDINGS_SHOWN 30u
#define MS 1000000u
#define LONG_LIFE (3600000ull * MS)
#define CHILD_GONE_MS 10000u
#define ROUND 3000u /* operations between two attaches, at most */

/* One thread, and what it owns. */
struct hand {
	uint32_t id;
	struct ipcmap *m;
	struct oracle_store s;
	uint64_t x;
	uint32_t *quit;
	unsigned char *buf, *old;
	struct held *held;
};

static uint64_t random_of(struct hand *h, uint64_t n)
{
	return (load_random(&h->x) >> 20) % n;
}

uint64_t torture_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool torture_refused(struct oracle *o, int r)
{
	if (r != IPCMAP_LIMIT && r != IPCMAP_FULL && r != IPCMAP_BUSY &&
	    r != IPCMAP_INTERRUPTED)
		return false;
	oracle_count(&o->refused);
	return true;
}

void torture_find(uint64_t *counter, const char *format, ...)
{
	char line[200];
	va_list args;

	if (im_add_rlx(counter, 1) >= FINDINGS_SHOWN)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "\n    process %d: %s ", (int)getpid(), line);
}

/* ---- keys that never expire ---- */

/* A write of this key's shard has succeeded: is it the first after a kill? */
static void note_write(struct hand *h, const char *key, size_t key_len)
{
	uint32_t shard = im_map_shard(h->m, im_hash(h->m->hash_seed, key, key_len));
	uint64_t at = im_load_acq(&tt->killed[shard]), i;

	if (!at || !im_cas_full(&tt->killed[shard], at, 0))
		return;
	if (im_load_rlx(&h->m->shards[shard].takeovers) == tt->takeovers[shard])
		return; /* it held the lock no more */
	i = im_add_rlx(&tt->n_delays, 1);
	if (i < DELAYS)
		tt->delay[i] = torture_now_ns() - at;
}

/* What a write that returns the old value gave. @n: its number */
static void judge_old(uint32_t k, uint64_t n, const struct ipcmap_value *old)
{
	uint64_t content = ORACLE_NOTHING;

	if (old->version)
		content = oracle_content(keys, k, 0, old->buf, old->len);
	oracle_was(keys, k, content, n);
}

/* Store; *ret_expect is what must be returned if @was is known. */
static int store(struct hand *h, uint32_t k, uint64_t n, const uint64_t *was, int *ret_expect)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value old = {.buf = h->old, .cap = ORACLE_CAP};
	uint32_t len = oracle_value(keys, k, n, h->buf);
	char key[ORACLE_KEY];
	size_t key_len = oracle_key(keys, k, key);
	bool there = was && *was != ORACLE_NOTHING;
	int r;

	*ret_expect = 0;
	switch (random_of(h, 9)) {
	case 0:
		how.flags = IPCMAP_IF_ABSENT;
		*ret_expect = there ? IPCMAP_EXISTS : 0;
		break;
	case 1:
		how.flags = IPCMAP_IF_PRESENT;
		*ret_expect = there ? 0 : IPCMAP_NOTFOUND;
		break;
	case 2:
		r = ipcmap_getx(h->m, key, key_len, &old);
		if (r)
			break;
		how.flags = IPCMAP_IF_VERSION;
		how.version = old.version;
		break;
	case 3:
	case 4:
		if (!there)
			break;
		how.flags = IPCMAP_IF_EQUAL;
		how.equal = h->old;
		how.equal_len = oracle_value(keys, k, *was, h->old);
		if (how.equal_len % 2)
			break;
		h->old[how.equal_len - 1] ^= 1;
		*ret_expect = IPCMAP_MISMATCH;
		break;
	case 5:
		r = ipcmap_putx(h->m, key, key_len, h->buf, len, NULL, &old);
		if (r == 0)
			judge_old(k, n, &old);
		return r;
	case 6:
		how.ttl_ns = LONG_LIFE;
		how.jitter = 50;
		how.type = 7;
		break;
	default:
		return ipcmap_put(h->m, key, key_len, h->buf, len, NULL);
	}
	return ipcmap_put(h->m, key, key_len, h->buf, len, &how);
}

static int discard(struct hand *h, uint32_t k, uint64_t n, const uint64_t *was, int *ret_expect)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value old = {.buf = h->old, .cap = ORACLE_CAP};
	char key[ORACLE_KEY];
	size_t key_len = oracle_key(keys, k, key);
	int r;

	*ret_expect = was && *was == ORACLE_NOTHING ? IPCMAP_NOTFOUND : 0;
	switch (random_of(h, 4)) {
	case 0:
		r = ipcmap_take(h->m, key, key_len, &old);
		if (r == 0)
			judge_old(k, n, &old);
		return r;
	case 1:
		how.flags = IPCMAP_IF_VERSION;
		how.version = UINT64_MAX;
		if (*ret_expect == 0)
			*ret_expect = IPCMAP_MISMATCH;
		return ipcmap_delx(h->m, key, key_len, &how);
	default:
		return ipcmap_del(h->m, key, key_len);
	}
}

static void write_plain(struct hand *h)
{
	uint32_t k = (uint32_t)random_of(h, PLAIN) * WRITERS + h->id;
	const struct oracle_note *known = oracle_known(keys, k);
	uint64_t content = known ? known->content : 0, n;
	bool deletes = random_of(h, 5) == 0;
	char key[ORACLE_KEY];
	int r, expect;

	n = oracle_begin(keys, k, deletes ? ORACLE_NOTHING : ORACLE_NEW, ORACLE_EVER);
	if (!n) {
		oracle_recall(keys, &h->s, k, true);
		return;
	}
	r = (deletes ? discard : store)(h, k, n, known ? &content : NULL, &expect);
	if (torture_refused(keys, r)) {
		oracle_undo(keys, k, n);
		return;
	}
	if (known ? r != expect
		  : r && r != IPCMAP_EXISTS && r != IPCMAP_NOTFOUND && r != IPCMAP_MISMATCH)
		torture_find(&tt->answers, "%s of key %u, which %s: %d, not %d",
			     deletes ? "delete" : "put", k,
			     !known    ? "may be there"
			     : content ? "is there"
				       : "is not there",
			     r, expect);
	if (r) {
		oracle_undo(keys, k, n);
		return;
	}
	note_write(h, key, oracle_key(keys, k, key));
	oracle_done(keys, k, n, ORACLE_EVER);
}

/* ---- keys that expire ---- */

static void put_mortal(struct hand *h, uint32_t k, uint64_t life)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint64_t n = oracle_begin(keys, k, ORACLE_NEW, life);
	char key[ORACLE_KEY];
	size_t key_len = oracle_key(keys, k, key);
	int r;

	if (!n) {
		oracle_recall(keys, &h->s, k, true);
		return;
	}
	how.ttl_ns = life;
	r = ipcmap_put(h->m, key, key_len, h->buf, oracle_value(keys, k, n, h->buf), &how);
	if (r == 0) {
		oracle_done(keys, k, n, oracle_now() + life);
		return;
	}
	if (!torture_refused(keys, r))
		torture_find(&tt->answers, "put of key %u with a life: %d", k, r);
	oracle_undo(keys, k, n);
}

/* Its writer knows whether it can have expired. */
static void touch_mortal(struct hand *h, uint32_t k, uint64_t life)
{
	const struct oracle_note was = *oracle_known(keys, k);
	uint64_t t0 = oracle_now(), n = oracle_begin(keys, k, was.content, life), from;
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char key[ORACLE_KEY];
	size_t key_len = oracle_key(keys, k, key);
	int r;

	/* until it is done the old life may end */
	from = t0 + life;
	oracle_dies_from(keys, k, n, from < was.dies_from ? from : was.dies_from);
	how.ttl_ns = life;
	r = ipcmap_touch(h->m, key, key_len, &how);
	if (torture_refused(keys, r)) {
		oracle_undo(keys, k, n);
		return;
	}
	if (r == 0) {
		if (!was.content || t0 > was.dies_by)
			torture_find(&tt->answers, "touch of key %u, which is not there: 0", k);
		oracle_dies_from(keys, k, n, from);
		oracle_done(keys, k, n, oracle_now() + life);
		return;
	}
	if (r != IPCMAP_NOTFOUND || (was.content && oracle_now() < was.dies_from))
		torture_find(&tt->answers, "touch of key %u, which is there: %d", k, r);
	oracle_gone(keys, k, n);
	oracle_done(keys, k, n, ORACLE_EVER);
}

/* The new value has what the old one's life had left, or none if that had ended. */
static void replace_mortal(struct hand *h, uint32_t k)
{
	const struct oracle_note was = *oracle_known(keys, k);
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint64_t n = oracle_begin(keys, k, ORACLE_NEW, ORACLE_EVER);
	char key[ORACLE_KEY];
	size_t key_len = oracle_key(keys, k, key);
	int r;

	if (was.content)
		oracle_dies_from(keys, k, n, was.dies_from);
	how.ttl_ns = IPCMAP_TTL_KEEP;
	r = ipcmap_put(h->m, key, key_len, h->buf, oracle_value(keys, k, n, h->buf), &how);
	if (r == 0) {
		oracle_done(keys, k, n,
			    was.content && oracle_now() < was.dies_from ? was.dies_by
									: ORACLE_EVER);
		return;
	}
	if (!torture_refused(keys, r))
		torture_find(&tt->answers, "put of key %u that keeps the life: %d", k, r);
	oracle_undo(keys, k, n);
}

static void delete_mortal(struct hand *h, uint32_t k)
{
	const struct oracle_note *known = oracle_known(keys, k);
	struct oracle_note was = known ? *known : (struct oracle_note){0};
	uint64_t t0 = oracle_now(), n = oracle_begin(keys, k, ORACLE_NOTHING, ORACLE_EVER);
	char key[ORACLE_KEY];
	int r;

	if (!n) {
		oracle_recall(keys, &h->s, k, true);
		return;
	}
	r = ipcmap_del(h->m, key, oracle_key(keys, k, key));
	if (torture_refused(keys, r)) {
		oracle_undo(keys, k, n);
		return;
	}
	if ((r && r != IPCMAP_NOTFOUND) ||
	    (known && r == 0 && (!was.content || t0 > was.dies_by)) ||
	    (known && r && was.content && oracle_now() < was.dies_from))
		torture_find(&tt->answers, "delete of mortal key %u: %d", k, r);
	oracle_done(keys, k, n, ORACLE_EVER);
}

static void write_mortal(struct hand *h)
{
	uint32_t k = (PLAIN + (uint32_t)random_of(h, MORTAL)) * WRITERS + h->id;
	uint64_t life = random_of(h, 2) ? LONG_LIFE : (25 + random_of(h, 60)) * MS;
	uint64_t what = random_of(h, 8);

	if (what < 3 || !oracle_known(keys, k))
		put_mortal(h, k, life);
	else if (what < 5)
		touch_mortal(h, k, life);
	else if (what < 7)
		replace_mortal(h, k);
	else
		delete_mortal(h, k);
}

/* ---- reads ---- */

static void read_many(struct hand *h)
{
	enum { N = 8, ROOM = 4096 };
	char key[N][ORACLE_KEY];
	struct ipcmap_mget item[N];
	struct oracle_view v[N];
	uint32_t k[N];
	int r;

	memset(item, 0, sizeof(item));
	for (uint32_t i = 0; i < N; i++) {
		k[i] = (uint32_t)random_of(h, KEYS);
		item[i].key = key[i];
		item[i].key_len = oracle_key(keys, k[i], key[i]);
		item[i].value.buf = h->old + i * ROOM;
		item[i].value.cap = ROOM;
		v[i] = oracle_look(keys, k[i]);
	}
	r = ipcmap_mget(h->m, item, N);
	if (r < 0 && !torture_refused(keys, r))
		torture_find(&tt->answers, "mget: %d", r);
	for (uint32_t i = 0; r >= 0 && i < N; i++)
		if (item[i].rc == 0 || item[i].rc == IPCMAP_NOTFOUND)
			oracle_judge(keys, k[i], v[i],
				     oracle_content(keys, k[i], item[i].rc, item[i].value.buf,
						    item[i].value.len));
		else if (item[i].rc != IPCMAP_SHORT && !torture_refused(keys, item[i].rc))
			torture_find(&tt->answers, "mget of key %u: %d", k[i], item[i].rc);
}

static void read_alloc(struct hand *h)
{
	uint32_t k = (uint32_t)random_of(h, KEYS);
	struct oracle_view v = oracle_look(keys, k);
	char key[ORACLE_KEY];
	void *buf = NULL;
	size_t len = 0;
	int r = ipcmap_get_alloc(h->m, key, oracle_key(keys, k, key), &buf, &len);

	if (r == 0 || r == IPCMAP_NOTFOUND)
		oracle_judge(keys, k, v, oracle_content(keys, k, r, buf, len));
	else if (!torture_refused(keys, r))
		torture_find(&tt->answers, "get_alloc of key %u: %d", k, r);
	if (r == 0)
		free(buf);
}

struct own {
	uint64_t t0;
	uint32_t hand;
	uint32_t seen[EACH];
};

static int show_own(void *arg, const struct ipcmap_item *item)
{
	struct own *w = arg;
	uint32_t hand = 0, k = 0;
	char key[ORACLE_KEY] = "", own[ORACLE_KEY];

	memcpy(key, item->key, item->key_len < sizeof(key) ? item->key_len : sizeof(key) - 1);
	if (sscanf(key, "%u/%u/", &hand, &k) != 2 || hand != w->hand || k >= KEYS ||
	    k % WRITERS != hand || oracle_key(keys, k, own) != item->key_len ||
	    memcmp(own, item->key, item->key_len) != 0) {
		torture_find(&tt->shown, "a scan of hand %u shows another key", w->hand);
		return 0;
	}
	if (w->seen[k / WRITERS]++)
		torture_find(&tt->shown, "a scan shows key %u twice", k);
	oracle_is(keys, k, oracle_content(keys, k, 0, item->val, item->val_len), w->t0);
	return 0;
}

/* All keys of this hand and no others, each once; nobody else changes them. */
static void scan_own(struct hand *h)
{
	struct own w = {.t0 = oracle_now(), .hand = h->id};
	char prefix[16];
	uint64_t cursor = 0;
	int r = ipcmap_scan(h->m, &cursor, prefix, (size_t)sprintf(prefix, "%u/", h->id), 0,
			    show_own, &w);

	oracle_count(&tt->scans);
	if (r && !torture_refused(keys, r))
		torture_find(&tt->answers, "scan: %d", r);
	for (uint32_t i = 0; !r && i < EACH; i++)
		if (!w.seen[i])
			oracle_is(keys, i * WRITERS + h->id, ORACLE_NOTHING, w.t0);
}

/* ---- counters ---- */

size_t torture_counter_key(uint32_t i, bool shared, char *key)
{
	return (size_t)sprintf(key, "%s-%u", shared ? "shared" : "own", i);
}

/* The sum of what all have added, at least and at most. */
static uint64_t sum_of(uint32_t i, bool most)
{
	uint64_t sum = 0;

	for (uint32_t w = 0; w < WRITERS; w++)
		sum += im_load_acq(most ? &tt->shared[i][w].begun : &tt->shared[i][w].done);
	return sum;
}

static void add(struct hand *h)
{
	uint32_t i = (uint32_t)random_of(h, COUNTERS + 1);
	bool shared = i < COUNTERS;
	struct counter *c = shared ? &tt->shared[i][h->id] : &tt->own[h->id];
	uint64_t least = shared ? sum_of(i, false) : c->done, most;
	int64_t now = 0;
	char key[32];
	int r;

	im_store_rel(&c->begun, c->begun + 1);
	r = ipcmap_add(h->m, key, torture_counter_key(shared ? i : h->id, shared, key), 1, NULL,
		       &now);
	oracle_count(&tt->adds);
	if (r) {
		im_store_rel(&c->begun, c->begun - 1);
		if (!torture_refused(keys, r))
			torture_find(&tt->answers, "add: %d", r);
		return;
	}
	im_full_barrier();
	most = shared ? sum_of(i, true) : c->begun;
	if ((uint64_t)now <= least || (uint64_t)now > most)
		torture_find(&tt->counted, "%s: %lld, not above %llu up to %llu", key,
			     (long long)now, (unsigned long long)least,
			     (unsigned long long)most);
	if (shared) {
		im_store_rel(&c->done, c->done + 1);
	} else {
		im_store_rel(&c->done, (uint64_t)now);
		im_store_rel(&c->begun, (uint64_t)now);
	}
}

/* ---- many keys with one prefix ---- */

struct bulk {
	uint64_t gen;
	uint32_t seen[BULK];
	uint32_t n;
};

static int show_bulk(void *arg, const struct ipcmap_item *item)
{
	struct bulk *b = arg;
	uint32_t i = 0;
	uint64_t gen = 0;
	char text[64] = "";

	memcpy(text, item->key,
	       item->key_len < sizeof(text) ? item->key_len : sizeof(text) - 1);
	if (sscanf(text, "bulk-%*u-%u", &i) != 1 || i >= BULK)
		return 1;
	memset(text, 0, sizeof(text));
	memcpy(text, item->val,
	       item->val_len < sizeof(text) ? item->val_len : sizeof(text) - 1);
	sscanf(text, "%llu", (unsigned long long *)&gen);
	if (gen != b->gen || b->seen[i]++)
		torture_find(&tt->shown, "bulk key %u: %llu, not %llu", i,
			     (unsigned long long)gen, (unsigned long long)b->gen);
	b->n++;
	return 0;
}

/* They are stored, shown, deleted, and then gone. */
static void bulk(struct hand *h)
{
	struct bulk b = {.gen = ++tt->bulk[h->id]};
	char prefix[32], key[64], val[32];
	size_t prefix_len = (size_t)sprintf(prefix, "bulk-%u-", h->id), key_len;
	uint64_t cursor = 0, deleted = 0;
	uint32_t i;
	int r = 0;

	/* what a predecessor left, and had in flight */
	for (i = 0; i < BULK && !r; i++) {
		key_len = (size_t)sprintf(key, "%s%u", prefix, i);
		r = h->s.firm(h->m, key, key_len);
	}
	if (!r)
		r = ipcmap_del_prefix(h->m, prefix, prefix_len, NULL);
	for (i = 0; i < BULK && !r; i++) {
		key_len = (size_t)sprintf(key, "%s%u", prefix, i);
		if (ipcmap_exists(h->m, key, key_len) > 0)
			torture_find(&tt->shown, "%s is there after del_prefix", key);
		r = ipcmap_put(h->m, key, key_len, val,
			       (size_t)sprintf(val, "%llu", (unsigned long long)b.gen), NULL);
	}
	if (!r)
		r = ipcmap_scan(h->m, &cursor, prefix, prefix_len, 0, show_bulk, &b);
	if (!r && b.n != BULK)
		torture_find(&tt->shown, "a scan shows %u keys of %u", b.n, BULK);
	if (!r)
		r = ipcmap_del_prefix(h->m, prefix, prefix_len, &deleted);
	if (!r && deleted != BULK)
		torture_find(&tt->shown, "del_prefix: %llu of %u", (unsigned long long)deleted,
			     BULK);
	if (r && !torture_refused(keys, r))
		torture_find(&tt->answers, "%s*: %d", prefix, r);
	oracle_count(&tt->bulks);
}

/* ---- the other map, which one of them clears ---- */

static void read_other(struct hand *h, struct ipcmap *m, uint32_t i)
{
	uint32_t me = h->id / HANDS;
	struct cleared *c = &tt->cleared[me][i];
	uint64_t ended = im_load_acq(&tt->clear_done), seq = 0;
	char key[32];
	size_t len = 0;
	int r;

	im_full_barrier();
	r = ipcmap_get(m, key, (size_t)sprintf(key, "other-%u-%u", me, i), h->old, ORACLE_CAP,
		       &len);
	im_full_barrier();
	if (r == IPCMAP_NOTFOUND) {
		if (c->done && im_load_acq(&tt->clear_begun) <= c->before)
			torture_find(&keys->lost, "%s of the other map, put %llu", key,
				     (unsigned long long)c->done);
	} else if (r) {
		if (!torture_refused(keys, r))
			torture_find(&tt->answers, "%s: %d", key, r);
	} else if (!load_is(h->old, len, i, me, &seq) || seq < c->done || seq > c->begun ||
		   (seq == c->done && c->after < ended)) {
		torture_find(&keys->wrong,
			     "%s of the other map: %llu of %llu, %llu; clears %llu, %llu", key,
			     (unsigned long long)seq, (unsigned long long)c->done,
			     (unsigned long long)c->begun, (unsigned long long)c->after,
			     (unsigned long long)ended);
	}
}

static void write_other(struct hand *h, struct ipcmap *m, uint32_t i)
{
	uint32_t me = h->id / HANDS, len = LOAD_MIN + (uint32_t)random_of(h, 500);
	struct cleared *c = &tt->cleared[me][i];
	uint64_t n = c->begun + 1, before = im_load_acq(&tt->clear_done);
	char key[32];
	int r;

	im_store_rel(&c->begun, n);
	load_make(h->buf, len, i, me, n);
	r = ipcmap_put(m, key, (size_t)sprintf(key, "other-%u-%u", me, i), h->buf, len, NULL);
	if (r) {
		im_store_rel(&c->begun, n - 1);
		if (!torture_refused(keys, r))
			torture_find(&tt->answers, "put of %s: %d", key, r);
		return;
	}
	im_full_barrier();
	/* a kill between these stores leaves a put that looks older and is judged less */
	c->before = before;
	c->after = im_load_acq(&tt->clear_begun);
	im_store_rel(&c->done, n);
}

static void clear_other(struct ipcmap *m)
{
	uint64_t n = tt->clear_begun + 1;
	int r;

	im_store_rel(&tt->clear_begun, n);
	im_full_barrier();
	r = ipcmap_clear(m);
	oracle_count(&tt->clears);
	if (r == 0)
		im_store_rel(&tt->clear_done, n);
	else if (!torture_refused(keys, r))
		torture_find(&tt->answers, "clear: %d", r);
}

static void use_other(struct hand *h)
{
	struct ipcmap *m;
	int r = load_open(tt->other, 0, 0, 0, &m);

	if (r) {
		torture_find(&tt->answers, "attach of the other map: %d", r);
		return;
	}
	for (uint32_t i = 0; i < OTHER; i++) {
		read_other(h, m, i);
		write_other(h, m, i);
		read_other(h, m, i);
	}
	if (h->id == 0 && random_of(h, 2))
		clear_other(m);
	ipcmap_close(m);
	oracle_count(&tt->attaches);
}

/* ---- a hand ---- */

static void step(struct hand *h)
{
	uint64_t what = random_of(h, 1000);

	torture_hook(&h->x);
	if (what < 400)
		write_plain(h);
	else if (what < 550)
		write_mortal(h);
	else if (what < 800)
		oracle_read(keys, &h->s, (uint32_t)random_of(h, KEYS));
	else if (what < 920)
		add(h);
	else if (what < 950)
		read_many(h);
	else if (what < 965)
		read_alloc(h);
	else if (what < 980)
		torture_look_again(&h->held[random_of(h, HELD)], h->id % HANDS == 2);
	else if (what < 990)
		scan_own(h);
	else
		bulk(h);
	oracle_count(&tt->progress[h->id / HANDS]);
}

static bool over(const struct hand *h)
{
	return im_load32_acq(&tt->stop) || im_load32_acq(&tt->pause) ||
	       (h->quit && im_load32_acq(h->quit));
}

static void hand_init(struct hand *h, uint32_t id, struct ipcmap *m, struct held *held)
{
	*h = (struct hand){.id = id, .m = m, .s = oracle_ipcmap, .held = held};
	h->s.arg = m;
	h->x = torture_now_ns() ^ (uint64_t)getpid() << 32 ^ (uint64_t)id << 56 ^ 1;
	h->buf = malloc(ORACLE_CAP);
	h->old = malloc(ORACLE_CAP);
	T_MUST(h->buf && h->old);
}

static void hand_free(struct hand *h)
{
	free(h->buf);
	free(h->old);
}

void torture_recall(struct ipcmap *m, uint32_t hand, bool final)
{
	struct oracle_store s = oracle_ipcmap;

	s.arg = m;
	for (uint32_t i = 0; i < EACH; i++)
		oracle_recall(keys, &s, i * WRITERS + hand, final);
}

/* The second thread. It ends the waits of the others, now and then. */
static void *second(void *arg)
{
	struct hand *h = arg;
	struct held none[HELD] = {{0}};

	h->held = none;
	while (!over(h)) {
		step(h);
		if (random_of(h, 2000) == 0)
			ipcmap_interrupt(h->m);
	}
	return NULL;
}

/*
 * The child has the map as it is, and its own keys. Who comes after a killed worker waits for
 * the end of its child, so the number is noted before anything is done, and then it is seen
 * that the parent lives.
 */
static void be_a_child(const struct hand *parent, int parent_pid)
{
	uint32_t worker = parent->id / HANDS;
	struct held *held = parent->held;
	struct hand h;
	uint64_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tt->child[worker] = getpid();
	im_full_barrier();
	if (getppid() != parent_pid)
		_exit(0);
	hand_init(&h, parent->id + 2, parent->m, held);
	for (uint32_t i = 0; i < HELD; i++)
		torture_look_again(&held[i], true);
	for (n = 50 + random_of(&h, 400); n && !over(&h); n--)
		step(&h);
	_exit(0);
}

static void reap_child(uint32_t worker, pid_t *child, bool wait)
{
	int status;
	pid_t r;

	if (*child <= 0)
		return;
	r = waitpid(*child, &status, wait ? 0 : WNOHANG);
	if (r != *child)
		return;
	tt->child[worker] = 0;
	*child = 0;
	if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
	    (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return;
	torture_find(&tt->died, "a forked child ended with %#x", (unsigned)status);
}

static void start_child(struct hand *h, pid_t *child)
{
	int me = getpid();

	torture_recall(h->m, h->id + 2, false);
	*child = fork();
	if (*child == 0)
		be_a_child(h, me);
	oracle_count(&tt->forks);
}

static void hold_another(struct hand *h)
{
	struct held *at = &h->held[random_of(h, HELD)];

	torture_look_again(at, false);
	ipcmap_snapshot_close(at->snap);
	torture_open(h->m, (uint32_t)random_of(h, WORKERS), at);
}

static void another_handle(struct hand *h)
{
	struct ipcmap *m;
	int r = load_open(tt->name, random_of(h, 3) ? 0 : IPCMAP_RDONLY, 0, 0, &m);

	if (r) {
		torture_find(&tt->answers, "another handle: %d", r);
		return;
	}
	ipcmap_close(m);
	oracle_count(&tt->attaches);
}

/* From an attach to the detach. */
static void work_round(uint32_t me)
{
	struct held held[HELD] = {{0}};
	struct hand h, thread;
	uint32_t quit = 0;
	pthread_t second_thread;
	struct ipcmap *m;
	pid_t child = 0;
	uint64_t n;

	T_MUST(load_open(tt->name, 0, 0, 0, &m) == 0);
	oracle_count(&tt->attaches);
	hand_init(&h, me * HANDS, m, held);
	hand_init(&thread, me * HANDS + 1, m, NULL);
	thread.quit = &quit;
	torture_recall(m, h.id, false);
	torture_recall(m, thread.id, false);
	torture_recall_table(m, me, false);
	T_MUST(pthread_create(&second_thread, NULL, second, &thread) == 0);
	for (n = 100 + random_of(&h, ROUND); n && !over(&h); n--) {
		uint64_t what = random_of(&h, 1000);

		reap_child(me, &child, false);
		if (child && what < 3)
			kill(child, SIGKILL);
		else if (!child && what < 6)
			start_child(&h, &child);
		else if (what < 26)
			torture_publish(m, me, &h.x);
		else if (what < 66)
			hold_another(&h);
		else if (what < 72)
			another_handle(&h);
		else if (what < 78)
			use_other(&h);
		else
			step(&h);
		oracle_count(&tt->progress[me]);
	}
	im_store32_rel(&quit, 1);
	pthread_join(second_thread, NULL);
	reap_child(me, &child, true);
	for (uint32_t i = 0; i < HELD; i++) {
		torture_look_again(&held[i], false);
		ipcmap_snapshot_close(held[i].snap);
	}
	hand_free(&h);
	hand_free(&thread);
	ipcmap_close(m);
}

static void rest(uint32_t me)
{
	while (im_load32_acq(&tt->pause) && !im_load32_acq(&tt->stop)) {
		im_store32_rel(&tt->paused[me], 1);
		t_sleep_ms(1);
	}
	im_store32_rel(&tt->paused[me], 0);
}

int torture_work(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	int child = tt->child[me];

	/* its keys are ours when its memory is gone; whoever started us buries it. If it takes
	 * that long the number is another process's */
	for (uint32_t i = 0; i < CHILD_GONE_MS && child > 0 && kill(child, 0) == 0; i++)
		t_sleep_ms(1);
	while (!im_load32_acq(&tt->stop)) {
		work_round(me);
		rest(me);
	}
	return 0;
}

/* ---- the operator ---- */

static int see_any(void *arg, const struct ipcmap_item *item)
{
	uint64_t seq;

	/* a bulk key, a counter; else a value that proves itself */
	if (memchr(item->key, '/', item->key_len)) {
		uint32_t hand = 0, k = 0;

		sscanf(item->key, "%u/%u/", &hand, &k);
		if (!load_is(item->val, item->val_len, k, hand, &seq))
			torture_find(&keys->wrong, "a scan shows a torn value of key %u", k);
	}
	++*(uint64_t *)arg;
	return 0;
}

static void tune(struct hand *h)
{
	static const unsigned lengths[] = {IPCMAP_COMPRESS_OFF, 64, 512, 2000};
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	int r;

	if (random_of(h, 2))
		o.limit = tt->limit * (3 + random_of(h, 6)) / 4;
	else
		o.compress = lengths[random_of(h, 4)];
	r = ipcmap_tune(h->m, &o);
	oracle_count(&tt->tunes);
	if (r && !torture_refused(keys, r))
		torture_find(&tt->answers, "tune: %d", r);
}

static int stop_compaction(void *arg, uint64_t done, uint64_t of)
{
	(void)done;
	(void)of;
	return over(arg);
}

static void operate(struct hand *h)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	uint64_t cursor = 0, n = 0;
	int r = 0;

	torture_hook(&h->x);
	how.progress = stop_compaction;
	how.arg = h;
	switch (random_of(h, 7)) {
	case 0:
		how.flags = IPCMAP_COMPACT_EXPIRED;
		/* fall through */
	case 1:
		r = ipcmap_compact(h->m, &how, NULL);
		oracle_count(&tt->compacts);
		break;
	case 2:
		r = ipcmap_scan(h->m, &cursor, NULL, 0, 0, see_any, &n);
		oracle_count(&tt->scans);
		break;
	case 3:
		r = ipcmap_check(h->m, load_print, "check under load: ");
		oracle_count(&tt->checks);
		if (r > 0) {
			im_add_rlx(&tt->findings, (uint64_t)r);
			r = 0;
		}
		break;
	case 4:
		r = ipcmap_stat(h->m, &st);
		break;
	default:
		tune(h);
	}
	if (r && !torture_refused(keys, r))
		torture_find(&tt->answers, "operator: %d", r);
	oracle_count(&tt->progress[OPERATOR]);
}

int torture_operate(void *arg)
{
	(void)arg;
	while (!im_load32_acq(&tt->stop)) {
		struct ipcmap *m;
		struct hand h;

		T_MUST(load_open(tt->name, 0, 0, 0, &m) == 0);
		hand_init(&h, OPERATOR * HANDS, m, NULL);
		for (uint64_t n = 1 + random_of(&h, 60); n && !over(&h); n--) {
			operate(&h);
			t_sleep_ms((unsigned)random_of(&h, 20));
		}
		hand_free(&h);
		ipcmap_close(m);
		rest(OPERATOR);
	}
	return 0;
}
