/* SPDX-License-Identifier: MIT */
/*
 * t-pin.c - values that are read where they lie
 */
#include "kit.h"

#include "crash.h"
#include "pinned.h"

#include <signal.h>

static struct ipcmap *m;
static unsigned char *val;

#define CAP (8u << 20)

static void with_map(const char *name, uint64_t mib, unsigned shards)
{
	m = kit_made(name, mib * KIT_MIB, 0, shards);
	val = malloc(CAP);
}

/* Nothing is held any more, and a need for memory finds what was parked. */
static bool all_is_let_go(void)
{
	struct im_op op;

	for (uint32_t i = 0; i < m->n_shards; i++) {
		im_op_init(m, &op, 0);
		im_op_shard(&op, i);
		if (im_op_enter(&op))
			return false;
		im_room_unpark(&op, true);
		im_op_leave(&op);
		im_op_done(&op);
	}
	return kit_stat(m).pins == 0 && kit_stat(m).pinned_len == 0 &&
	       kit_stat(m).parked_len == 0;
}

static void done(void)
{
	CU_ASSERT(all_is_let_go());
	kit_gone(m);
	free(val);
}

static int put_seed(const char *key, size_t len, uint64_t seed)
{
	kit_bytes(val, len, seed);
	return ipcmap_put(m, key, strlen(key), val, len, NULL);
}

static int pin(const char *key, struct ipcmap_pin *p)
{
	return ipcmap_pin(m, key, strlen(key), p);
}

static bool has_seed(const struct ipcmap_pin *p, size_t len, uint64_t seed)
{
	kit_bytes(val, len, seed);
	return p->len == len && memcmp(p->val, val, len) == 0;
}

static bool is_inside(const struct ipcmap_pin *p)
{
	const unsigned char *v = p->val;

	return v >= m->seg->extents && v < m->seg->base + m->seg->len;
}

/* Write @mib MiB of values under a few keys: whatever is free is used again. */
static void churn(unsigned mib)
{
	static uint64_t seed = 1000;
	unsigned char some[3000];

	for (uint64_t n = 0; n < mib * KIT_MIB; n += sizeof(some)) {
		struct kit_key k = kit_key(seed % 200);

		kit_bytes(some, sizeof(some), seed++);
		if (ipcmap_put(m, k.text, k.len, some, sizeof(some), NULL)) {
			CU_FAIL("a put was refused");
			return;
		}
	}
}

static void pin__value_is_read_in_place_as_it_was(void)
{
	static const size_t lens[] = {0, 1, 100, 4000, 8000, 8193, 20000, 100000, 700000};
	struct ipcmap_owner_info who = {.struct_size = sizeof(who)};
	struct ipcmap_pin p[ARRAY_LEN(lens)];
	char key[20];

	with_map(T_NAME, 32, 2);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		snprintf(key, sizeof(key), "key %u", i);
		CU_ASSERT(put_seed(key, lens[i], i) == 0 && pin(key, &p[i]) == 0);
		CU_ASSERT(has_seed(&p[i], lens[i], i) && !p[i].copied);
		CU_ASSERT(p[i].version == kit_version(m, key));
		CU_ASSERT(p[i].ttl_left_ns == IPCMAP_TTL_NONE);
		CU_ASSERT(is_inside(&p[i]) || lens[i] > m->seg->extent_len);
	}
	CU_ASSERT(kit_stat(m).pins == ARRAY_LEN(lens) && kit_sound(m));
	CU_ASSERT(ipcmap_inspect_owner(m, 0, &who) == 0 && who.pins == ARRAY_LEN(lens));
	/* replaced, deleted, cleared: and the memory wanted several times over */
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		snprintf(key, sizeof(key), "key %u", i);
		if (i % 3 == 0)
			CU_ASSERT(put_seed(key, lens[i], i + 100) == 0);
		if (i % 3 == 1)
			CU_ASSERT(ipcmap_del(m, key, strlen(key)) == 0);
	}
	churn(64);
	CU_ASSERT(kit_sound(m));
	CU_ASSERT(ipcmap_clear(m) == 0);
	churn(64);
	CU_ASSERT(kit_sound(m) && kit_stat(m).parked_len > 0);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++)
		CU_ASSERT(has_seed(&p[i], lens[i], i));
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++)
		ipcmap_unpin(m, &p[i]);
	CU_ASSERT(p[5].val == NULL && p[5].own[2] == 0);
	done();
}

static void pin__key_that_lies_with_its_value(void)
{
	static char key[60000];
	struct ipcmap_pin p;

	with_map(T_NAME, 16, 1);
	memset(key, 'k', sizeof(key));
	kit_bytes(val, 50000, 1);
	CU_ASSERT(ipcmap_put(m, key, sizeof(key), val, 50000, NULL) == 0);
	CU_ASSERT(ipcmap_pin(m, key, sizeof(key), &p) == 0 && has_seed(&p, 50000, 1));
	CU_ASSERT(ipcmap_del(m, key, sizeof(key)) == 0);
	churn(40);
	CU_ASSERT(has_seed(&p, 50000, 1) && kit_sound(m));
	ipcmap_unpin(m, &p);
	done();
}

/* Copies: there is nothing to hold, or no way to say so. */
static void pin__what_cannot_be_held_is_copied(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *r = NULL, *w = m;
	struct ipcmap_pin p, q;

	with_map(T_NAME, 16, 1);
	o.compress = 1000;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
	memset(val, 'c', 40000);
	CU_ASSERT(ipcmap_put(m, "packed", 6, val, 40000, NULL) == 0);
	CU_ASSERT(put_seed("plain", 500, 1) == 0);
	CU_ASSERT(pin("packed", &p) == 0 && p.copied && p.len == 40000);
	memset(val, 'c', 40000);
	CU_ASSERT(memcmp(p.val, val, 40000) == 0 && kit_stat(m).pins == 0);
	ipcmap_unpin(m, &p);
	o = (struct ipcmap_options)IPCMAP_OPTIONS_INIT;
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &r) == 0);
	w = m;
	m = r;
	CU_ASSERT(pin("plain", &p) == 0 && p.copied && has_seed(&p, 500, 1));
	CU_ASSERT(pin("packed", &q) == 0 && q.copied && q.len == 40000);
	ipcmap_unpin(m, &q);
	CU_ASSERT(pin("absent", &q) == IPCMAP_NOTFOUND && !q.val);
	ipcmap_unpin(m, &p);
	m = w;
	ipcmap_close(r);
	done();
}

static void pin__absent_expired_and_bad_arguments(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_pin p;
	struct ipcmap_stat s;

	with_map(T_NAME, 1, 1);
	kit_clock_on();
	s = kit_stat(m);
	CU_ASSERT(pin("absent", &p) == IPCMAP_NOTFOUND);
	how.ttl_ns = KIT_SEC;
	CU_ASSERT(ipcmap_put(m, "k", 1, "v", 1, &how) == 0);
	CU_ASSERT(pin("k", &p) == 0 && p.ttl_left_ns == KIT_SEC && p.len == 1);
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(*(const char *)p.val == 'v'); /* what is held does not expire */
	ipcmap_unpin(m, &p);
	CU_ASSERT(pin("k", &p) == IPCMAP_NOTFOUND);
	CU_ASSERT(kit_stat(m).gets == s.gets + 3 && kit_stat(m).hits == s.hits + 1);
	CU_ASSERT(ipcmap_pin(NULL, "k", 1, &p) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_pin(m, NULL, 1, &p) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_pin(m, "k", 0, &p) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_pin(m, "k", 65536, &p) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_pin(m, "k", 1, NULL) == IPCMAP_INVALID);
	ipcmap_unpin(NULL, &p);
	ipcmap_unpin(m, NULL);
	ipcmap_unpin(m, &p);
	kit_clock_off();
	done();
}

static void pin__handle_with_a_prefix(void)
{
	struct ipcmap *a;
	struct ipcmap_pin p;

	with_map(T_NAME, 1, 1);
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "a/", 2, &a) == 0);
	CU_ASSERT(kit_put(a, "k", "of a") == 0 && kit_put(m, "k", "other") == 0);
	CU_ASSERT(ipcmap_pin(a, "k", 1, &p) == 0 && p.len == 4 && !memcmp(p.val, "of a", 4));
	CU_ASSERT(kit_stat(m).pins == 1);
	ipcmap_unpin(a, &p);
	ipcmap_close(a);
	done();
}

/* ---- memory ---- */

/* Extents under pins, one value in each: how many are granted? */
static unsigned pin_many(struct ipcmap_pin *p, unsigned max, size_t len)
{
	unsigned n = 0;
	char key[20];

	for (; n < max; n++) {
		snprintf(key, sizeof(key), "big %u", n);
		CU_ASSERT(put_seed(key, len, n) == 0);
		if (pin(key, &p[n]) == IPCMAP_BUSY)
			break;
	}
	return n;
}

static void pin__no_more_than_an_eighth_is_held(void)
{
	struct ipcmap_pin p[300], same[300], large;
	unsigned n, k;
	size_t len = 0;

	with_map(T_NAME, 16, 2); /* extents of 8 KiB */
	n = pin_many(p, ARRAY_LEN(p), 6000);
	CU_ASSERT(n == m->seg->h->space.limit_n / 8);
	CU_ASSERT(kit_stat(m).pinned_len == (uint64_t)n << m->seg->extent_shift);
	/* get still answers; what is held already may be held more often */
	CU_ASSERT(ipcmap_get(m, "big 0", 5, val, CAP, &len) == 0 && len == 6000);
	for (k = 0; k < 700 - n && k < ARRAY_LEN(same); k++)
		CU_ASSERT(pin("big 0", &same[k]) == 0);
	CU_ASSERT(kit_stat(m).pinned_len == (uint64_t)n << m->seg->extent_shift);
	CU_ASSERT(put_seed("large", 3 * 8192, 1) == 0 && pin("large", &large) == IPCMAP_BUSY);
	while (k)
		ipcmap_unpin(m, &same[--k]);
	for (k = 0; k < 4; k++)
		ipcmap_unpin(m, &p[--n]);
	CU_ASSERT(pin("large", &large) == 0 && has_seed(&large, 3 * 8192, 1));
	CU_ASSERT(put_seed("other", 2 * 8192, 1) == 0 && pin("other", &p[n]) == IPCMAP_BUSY);
	/* as long as all that may be held */
	ipcmap_unpin(m, &large);
	while (n)
		ipcmap_unpin(m, &p[--n]);
	CU_ASSERT(put_seed("other", 2 << 20, 1) == 0 && pin("other", &large) == IPCMAP_BUSY);
	CU_ASSERT(put_seed("other", 200 * 8192, 2) == 0 && pin("other", &large) == 0);
	CU_ASSERT(has_seed(&large, 200 * 8192, 2));
	ipcmap_unpin(m, &large);
	done();
}

/* All pins taken: BUSY; those of the dead are found. */
static void pin__all_pins_are_taken(void)
{
	struct ipcmap_pin p, all[256];

	with_map(T_NAME, 4, 1);
	CU_ASSERT_FATAL(m->pins.n == ARRAY_LEN(all));
	CU_ASSERT(put_seed("k", 100, 1) == 0);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		CU_ASSERT(pin("k", &all[i]) == 0);
	CU_ASSERT(pin("k", &p) == IPCMAP_BUSY);
	ipcmap_unpin(m, &all[77]);
	CU_ASSERT(pin("k", &all[77]) == 0 && pin("k", &p) == IPCMAP_BUSY);
	im_pin_at(&m->pins, 99)->owner = 200 | 7u << 10; /* who never lived */
	CU_ASSERT(pin("k", &p) == 0);
	ipcmap_unpin(m, &p);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		ipcmap_unpin(m, &all[i]);
	done();
}

/* Garbage that is held is not to be had; all other garbage is. */
static void pin__cleaning_passes_what_is_held(void)
{
	struct ipcmap_pin p[20];
	unsigned n;

	with_map(T_NAME, 4, 1);
	n = pin_many(p, ARRAY_LEN(p), 3000);
	CU_ASSERT(n == ARRAY_LEN(p));
	churn(100);
	CU_ASSERT(kit_sound(m));
	for (unsigned i = 0; i < n; i++)
		CU_ASSERT(has_seed(&p[i], 3000, i));
	for (unsigned i = 0; i < n; i++)
		ipcmap_unpin(m, &p[i]);
	churn(10);
	done();
}

/* The whole map is dead, and a few pins hold an eighth of it: the rest is free at once. */
static void full_but_for_what_is_held(size_t len)
{
	struct ipcmap_pin p[300];
	uint64_t i, n, held;
	unsigned pins = 0;

	for (n = 0; put_seed(kit_key(n).text, len, n) == 0; n++)
		;
	for (i = 0; i < n && pins < ARRAY_LEN(p); i += 2)
		pins += pin(kit_key(i).text, &p[pins]) == 0;
	held = kit_stat(m).pinned_len;
	CU_ASSERT(held == m->seg->h->space.limit_n / 8 * (uint64_t)m->seg->extent_len);
	for (i = 0; i < n; i++)
		CU_ASSERT(ipcmap_del(m, kit_key(i).text, 10) == 0);
	CU_ASSERT(kit_sound(m) && kit_stat(m).parked_len > held - held / 8);
	/* so many entries less as memory is held */
	for (i = 0; put_seed(kit_key(i).text, len, n + i) == 0; i++)
		;
	CU_ASSERT(i >= n * 13 / 16 && kit_sound(m));
	for (i = 0; i < pins; i++)
		CU_ASSERT(has_seed(&p[i], len, 2 * i));
	while (pins)
		ipcmap_unpin(m, &p[--pins]);
	CU_ASSERT(kit_stat(m).parked_len == 0);
	for (i = n * 13 / 16; put_seed(kit_key(i).text, len, i) == 0; i++)
		;
	CU_ASSERT(i >= n - n / 50);
	CU_ASSERT(ipcmap_clear(m) == 0);
}

static void pin__full_map_gets_back_all_but_what_is_held(void)
{
	with_map(T_NAME, 8, 1);
	full_but_for_what_is_held(3000); /* each in an extent of its own */
	full_but_for_what_is_held(1500); /* two in an extent of the log */
	done();
}

/* Every chain that is parked, and every extent, is freed when its last pin goes; not before. */
static void pin__memory_goes_with_the_last_pin(void)
{
	struct ipcmap_pin a, b;
	uint64_t used;

	with_map(T_NAME, 16, 1);
	CU_ASSERT(put_seed("k", 50000, 1) == 0);
	used = kit_stat(m).used;
	CU_ASSERT(pin("k", &a) == 0 && pin("k", &b) == 0);
	CU_ASSERT(put_seed("k", 50000, 2) == 0);
	CU_ASSERT(kit_stat(m).used == used + 7 * 8192 && kit_stat(m).parked_len == 7 * 8192);
	ipcmap_unpin(m, &a);
	CU_ASSERT(kit_stat(m).used == used + 7 * 8192 && has_seed(&b, 50000, 1));
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0 && kit_sound(m));
	CU_ASSERT(kit_stat(m).used == used && kit_stat(m).parked_len == 7 * 8192);
	ipcmap_unpin(m, &b);
	CU_ASSERT(kit_stat(m).used == used - 7 * 8192);
	done();
}

static void pin__limit_below_what_is_held(void)
{
	struct ipcmap_pin p[100], q;
	unsigned n;

	with_map(T_NAME, 16, 1);
	n = pin_many(p, 100, 6000);
	CU_ASSERT(n == 100 && kit_set_limit(m, 4 * KIT_MIB) == 0);
	CU_ASSERT(put_seed("k", 9000, 1) == 0 && pin("k", &q) == IPCMAP_BUSY);
	while (n > 50)
		ipcmap_unpin(m, &p[--n]);
	CU_ASSERT(pin("k", &q) == 0);
	ipcmap_unpin(m, &q);
	while (n)
		ipcmap_unpin(m, &p[--n]);
	done();
}

static void pin__compaction_works_around_it(void)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap_pin p[10];
	uint64_t used;

	with_map(T_NAME, 16, 2);
	CU_ASSERT(pin_many(p, 10, 3000) == 10);
	churn(20);
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(ipcmap_compact(m, &how, NULL) == 0 && kit_sound(m));
	used = kit_stat(m).used;
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT(has_seed(&p[i], 3000, i));
	for (unsigned i = 0; i < 10; i++)
		ipcmap_unpin(m, &p[i]);
	CU_ASSERT(ipcmap_compact(m, &how, NULL) == 0);
	CU_ASSERT(kit_stat(m).used + 4 * 8192 < used);
	done();
}

/* ---- hostile bytes ---- */

static int findings(void)
{
	return ipcmap_check(m, NULL, NULL);
}

/* Nothing is followed that leads nowhere; check tells; what is held stays. */
static void pin__list_of_the_parked_that_cannot_be(void)
{
	struct fmt_extent *x, was;
	struct ipcmap_pin p, q;
	struct fmt_shard *s;
	uint32_t n;

	with_map(T_NAME, 16, 1);
	s = m->shards;
	CU_ASSERT(put_seed("k", 50000, 1) == 0 && pin("k", &p) == 0 && pin("k", &q) == 0);
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0 && s->parked_n == 7 && findings() == 0);
	x = &m->seg->table[s->parked - 1];
	was = *x;
	n = s->parked;
	/* in a circle, while it is held */
	x->prev = s->parked - 1;
	CU_ASSERT(findings() > 0);
	churn(1);
	x->prev = was.prev;
	/* another state; another shard; out of the segment */
	x->word = fmt_word(FMT_LOG, 0, fmt_word_gen(was.word));
	CU_ASSERT(findings() > 0);
	ipcmap_unpin(m, &q);
	CU_ASSERT(s->parked == n && pin("k", &q) == IPCMAP_NOTFOUND);
	x->word = fmt_word(FMT_PARKED, 5, fmt_word_gen(was.word));
	CU_ASSERT(findings() > 0);
	churn(1);
	x->word = was.word;
	s->parked = UINT32_MAX;
	CU_ASSERT(findings() > 0);
	churn(1);
	s->parked = n;
	CU_ASSERT(findings() == 0 && has_seed(&p, 50000, 1));
	/* lengths and ends; nobody holds it any more */
	im_pin_at(&m->pins, 0)->word = 0;
	x->books = was.books & UINT32_MAX;
	CU_ASSERT(findings() > 0);
	churn(1);
	x->books = UINT64_MAX;
	CU_ASSERT(findings() > 0);
	churn(1);
	x->books = (uint64_t)m->seg->n_extents | UINT64_C(7) << 32;
	CU_ASSERT(findings() > 0);
	churn(1);
	x->books = was.books;
	s->parked_n++;
	CU_ASSERT(findings() > 0);
	s->parked_n--;
	CU_ASSERT(findings() == 0);
	ipcmap_unpin(m, &p);
	done();
}

/* Any bytes in the table of pins: at worst too much is held. */
static void pin__table_of_pins_that_cannot_be(void)
{
	uint64_t state = 7, used;
	struct ipcmap_pin p;

	with_map(T_NAME, 4, 2);
	CU_ASSERT(put_seed("k", 50000, 1) == 0);
	used = kit_stat(m).used;
	for (unsigned i = 0; i < 300; i++) {
		int r;

		for (uint32_t k = 0; k < m->pins.n * m->pins.stride; k += 8) {
			uint64_t word = kit_random(&state);

			memcpy(m->pins.at + k, &word, 8);
		}
		*m->pins.top = (uint32_t)kit_random(&state);
		r = pin("k", &p);
		CU_ASSERT(r == 0 || r == IPCMAP_BUSY);
		CU_ASSERT(put_seed("k", 50000, 1) == 0);
		if (r == 0)
			ipcmap_unpin(m, &p);
		kit_stat(m);
	}
	memset(m->pins.at, 0, m->pins.n * m->pins.stride);
	*m->pins.top = 0;
	CU_ASSERT(all_is_let_go() && kit_stat(m).used == used);
	done();
}

/* ---- processes ---- */

static int hold_and_die(void *unused)
{
	struct ipcmap_pin p;

	(void)unused;
	T_MUST(pin("k", &p) == 0 && pin("l", &p) == 0 && p.len == 40000);
	kill(getpid(), SIGKILL);
	return 1;
}

static void pin__pins_of_the_dead_are_void(void)
{
	uint64_t used;

	with_map(T_NAME, 16, 1);
	CU_ASSERT(put_seed("k", 100, 1) == 0 && put_seed("l", 40000, 2) == 0);
	used = kit_stat(m).used;
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT(t_killed(t_run(hold_and_die, NULL)));
	/* found by whoever wants the memory, and by stat */
	CU_ASSERT(ipcmap_del(m, "l", 1) == 0 && m->shards->parked == 0);
	CU_ASSERT(im_pin_at(&m->pins, 0)->owner != 0);
	CU_ASSERT(kit_stat(m).used == used - 5 * 8192 && kit_stat(m).pins == 0);
	CU_ASSERT(im_pin_at(&m->pins, 0)->owner == 0);
	done();
}

struct gates {
	struct t_gate held, end;
};

static int hold_and_wait(void *arg)
{
	struct gates *g = arg;
	struct ipcmap_pin p;

	T_MUST(pin("l", &p) == 0);
	t_gate_pass(&g->held);
	t_gate_wait(&g->end);
	T_MUST(has_seed(&p, 40000, 2));
	return 0; /* without ipcmap_unpin() */
}

/* Parked while its holder is stopped; found when there is a need, after it has died. */
static void pin__parked_memory_of_the_dead_is_found(void)
{
	struct gates g;
	uint64_t n;
	pid_t pid;

	with_map(T_NAME, 16, 1);
	t_gate_open(&g.held);
	t_gate_open(&g.end);
	CU_ASSERT(put_seed("l", 40000, 2) == 0);
	pid = t_run(hold_and_wait, &g);
	t_gate_wait(&g.held);
	kill(pid, SIGSTOP);
	CU_ASSERT(ipcmap_del(m, "l", 1) == 0 && kit_stat(m).parked_len == 5 * 8192);
	churn(40);
	CU_ASSERT(kit_stat(m).parked_len == 5 * 8192 && kit_sound(m));
	t_gate_pass(&g.end);
	kill(pid, SIGCONT);
	CU_ASSERT(t_ok(pid));
	for (n = 0; put_seed(kit_key(n).text, 3000, n) == 0; n++)
		;
	CU_ASSERT(kit_stat(m).parked_len == 0);
	t_gate_close(&g.held);
	t_gate_close(&g.end);
	done();
}

/* A key of the same shard as "l", or of another one. */
static struct kit_key key_beside(uint64_t *i, bool same)
{
	struct kit_key k;

	do {
		k = kit_key((*i)++);
	} while ((kit_shard_of(m, k.text, k.len) == kit_shard_of(m, "l", 1)) != same);
	return k;
}

/* It is parked in a shard that can spare nothing else, and another one needs it. */
static void pin__parked_memory_is_found_by_other_shards(void)
{
	struct gates g;
	uint64_t i = 0;
	pid_t pid;

	with_map(T_NAME, 4, 2);
	t_gate_open(&g.held);
	t_gate_open(&g.end);
	CU_ASSERT(put_seed(key_beside(&i, false).text, 10, 1) == 0 && put_seed("l", 40000, 2) == 0);
	while (put_seed(key_beside(&i, true).text, 1000, 1) == 0)
		;
	pid = t_run(hold_and_wait, &g);
	t_gate_wait(&g.held);
	CU_ASSERT(ipcmap_del(m, "l", 1) == 0);
	t_gate_pass(&g.end);
	CU_ASSERT(t_ok(pid) && m->shards[kit_shard_of(m, "l", 1)].parked_n == 10);
	for (unsigned n = 0; n < 25; n++)
		CU_ASSERT(put_seed(key_beside(&i, false).text, 1000, 1) == 0);
	CU_ASSERT(m->shards[kit_shard_of(m, "l", 1)].parked_n == 0);
	t_gate_close(&g.held);
	t_gate_close(&g.end);
	done();
}

static struct ipcmap_pin parents, another;

static int unpin_both(void *unused)
{
	struct ipcmap_pin own;

	(void)unused;
	T_MUST(has_seed(&parents, 40000, 2));
	T_MUST(pin("k", &own) == 0 && has_seed(&own, 100, 1));
	ipcmap_unpin(m, &parents);
	ipcmap_unpin(m, &another);
	T_MUST(kit_stat(m).pins == 3);
	ipcmap_unpin(m, &own);
	return 0;
}

static void pin__forked_child_does_not_end_its_parents(void)
{
	with_map(T_NAME, 16, 1);
	CU_ASSERT(put_seed("k", 100, 1) == 0 && put_seed("l", 40000, 2) == 0);
	CU_ASSERT(pin("l", &parents) == 0 && pin("k", &another) == 0);
	CU_ASSERT(t_ok(t_run(unpin_both, NULL)));
	CU_ASSERT(kit_stat(m).pins == 2 && ipcmap_del(m, "l", 1) == 0);
	churn(40);
	CU_ASSERT(has_seed(&parents, 40000, 2));
	ipcmap_unpin(m, &parents);
	ipcmap_unpin(m, &another);
	done();
}

/* ---- at each step ---- */

#if defined(IM_CHECK) && IM_CHECK

static const char *at;
static unsigned fires;
static void (*act)(void);

static void hook(const char *point)
{
	if (!fires || strcmp(point, at) != 0)
		return;
	fires--;
	im_crash_hook = NULL;
	act();
	im_crash_hook = hook;
}

static void meanwhile(const char *point, unsigned times, void (*fn)(void))
{
	at = point;
	fires = times;
	act = fn;
	im_crash_hook = hook;
}

static uint64_t seed;

static void replace(void)
{
	CU_ASSERT(put_seed("k", 100, ++seed) == 0);
}

static void replace_large(void)
{
	CU_ASSERT(put_seed("k", 20000, ++seed) == 0);
}

static void remove_it(void)
{
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
}

/* As if the bucket of the slot had become another's, and had a copy of the slot still. */
static void raise_moves(void)
{
	m->shards[kit_shard_of(m, "k", 1)].geometry += FMT_BUCKETS_MASK + 1;
}

/* Whatever happens between finding a value and holding it: it is held, or looked for again. */
static void pin__value_goes_before_it_is_held(void)
{
	static const char *const points[] = {"read.entry",  "read.careful", "read.copied",
					     "pin.claimed", "pin.told",	    "read.pinned"};
	static void (*const acts[])(void) = {replace, replace_large};
	struct ipcmap_pin p;

	with_map(T_NAME, 16, 1);
	for (unsigned i = 0; i < ARRAY_LEN(points); i++)
		for (unsigned a = 0; a < ARRAY_LEN(acts); a++)
			for (unsigned times = 1; times <= 20; times += 19) {
				unsigned fired;
				int r;

				acts[a]();
				meanwhile(points[i], times, acts[a]);
				r = pin("k", &p);
				im_crash_hook = NULL;
				fired = times - fires;
				/* each time something else was found */
				CU_ASSERT(r == (fired > 14 ? IPCMAP_BUSY : 0));
				if (r)
					continue;
				CU_ASSERT(has_seed(&p, a ? 20000 : 100, seed));
				acts[a]();
				churn(1);
				CU_ASSERT(has_seed(&p, a ? 20000 : 100, seed - 1));
				ipcmap_unpin(m, &p);
			}
	meanwhile("pin.told", 15, raise_moves);
	CU_ASSERT(pin("k", &p) == IPCMAP_BUSY && fires == 0);
	im_crash_hook = NULL;
	for (unsigned a = 0; a < ARRAY_LEN(acts); a++) {
		acts[a]();
		meanwhile("pin.told", 1, remove_it);
		CU_ASSERT(pin("k", &p) == IPCMAP_NOTFOUND && !fires);
		im_crash_hook = NULL;
	}
	CU_ASSERT(kit_stat(m).pins == 0);
	done();
}

static struct ipcmap_pin late;
static int late_r;

static void pin_now(void)
{
	late_r = pin("k", &late);
}

/* Whoever frees has looked at the pins: nobody can hold it any more. */
static void pin__value_is_sought_while_it_goes(void)
{
	with_map(T_NAME, 16, 1);
	replace_large();
	meanwhile("pinned.look", 1, pin_now);
	CU_ASSERT(put_seed("k", 20000, ++seed) == 0 && !fires);
	im_crash_hook = NULL;
	CU_ASSERT(late_r == 0 && has_seed(&late, 20000, seed));
	ipcmap_unpin(m, &late);
	meanwhile("pinned.look", 1, pin_now);
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0 && !fires);
	im_crash_hook = NULL;
	CU_ASSERT(late_r == IPCMAP_NOTFOUND && kit_stat(m).parked_len == 0);
	done();
}

#endif

static CU_TestInfo tests[] = {
	{"a value is read in place, as it was", pin__value_is_read_in_place_as_it_was},
	{"a key that lies with its value", pin__key_that_lies_with_its_value},
	{"what cannot be held is copied", pin__what_cannot_be_held_is_copied},
	{"absent, expired, bad arguments", pin__absent_expired_and_bad_arguments},
	{"a handle with a prefix", pin__handle_with_a_prefix},
	{"no more than an eighth of the map is held", pin__no_more_than_an_eighth_is_held},
	{"all pins are taken", pin__all_pins_are_taken},
	{"cleaning passes what is held", pin__cleaning_passes_what_is_held},
	{"a full map gets back all but what is held", pin__full_map_gets_back_all_but_what_is_held},
	{"memory goes with the last pin", pin__memory_goes_with_the_last_pin},
	{"a limit below what is held", pin__limit_below_what_is_held},
	{"compaction works around what is held", pin__compaction_works_around_it},
	{"a list of the parked that cannot be", pin__list_of_the_parked_that_cannot_be},
	{"a table of pins that cannot be", pin__table_of_pins_that_cannot_be},
	{"pins of the dead are void", pin__pins_of_the_dead_are_void},
	{"parked memory of the dead is found", pin__parked_memory_of_the_dead_is_found},
	{"parked memory is found by other shards", pin__parked_memory_is_found_by_other_shards},
	{"a forked child does not end its parent's", pin__forked_child_does_not_end_its_parents},
#if defined(IM_CHECK) && IM_CHECK
	{"a value goes before it is held", pin__value_goes_before_it_is_held},
	{"a value is sought while it goes", pin__value_is_sought_while_it_goes},
#endif
	CU_TEST_INFO_NULL,
};

T_SUITE("pin", tests)
