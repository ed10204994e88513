/* SPDX-License-Identifier: MIT */
/*
 * t-fill.c - a key is loaded by one for all: what is stored, refused and given
 */
#include "fill.h"

/* ---- loading ---- */

static void fill__loads_once(void)
{
	struct loader l = {.val = "value"};

	with_map(T_NAME);
	CU_ASSERT(fill("k", &l) == 0 && strcmp(got, "value") == 0);
	CU_ASSERT(fill("k", &l) == 0 && strcmp(got, "value") == 0);
	CU_ASSERT(l.loads == 1 && kit_is(m, "k", "value"));
	CU_ASSERT(m->shards[0].leases == 0);
	kit_gone(m);
}

static void fill__two_steps(void)
{
	struct ipcmap_lease a, b;

	with_map(T_NAME);
	CU_ASSERT(lease("k", &a) == IPCMAP_LEAD && a.has_value == 0);
	CU_ASSERT(m->shards[0].leases == 1);
	CU_ASSERT(kit_sound(m));
	CU_ASSERT(lease("k", &b) == IPCMAP_BUSY);
	CU_ASSERT(lease_put("other", &a, "v") == IPCMAP_MISMATCH);
	CU_ASSERT(lease_put("k", &a, "v") == 0);
	CU_ASSERT(lease_put("k", &a, "w") == IPCMAP_MISMATCH);
	CU_ASSERT(lease("k", &b) == 0 && strcmp(got, "v") == 0);
	CU_ASSERT(m->shards[0].leases == 0);
	kit_gone(m);
}

static unsigned released;

static void release(void *val)
{
	free(val);
	released++;
}

static int load_large(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	unsigned char *p = malloc(9000);

	(void)key;
	(void)key_len;
	kit_bytes(p, 9000, 7);
	ret->val = p;
	ret->len = 9000;
	ret->type = 9;
	ret->ttl_ns = 3600 * KIT_SEC;
	ret->release = release;
	++*(unsigned *)arg;
	return 0;
}

static void fill__short_buffers_and_own_memory(void)
{
	struct ipcmap_value v = {0};
	unsigned char want[9000];
	unsigned loads = 0;
	void *buf = NULL;
	size_t len = 0;

	with_map(T_NAME);
	released = 0;
	kit_bytes(want, sizeof(want), 7);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, load_large, &loads, &v) == IPCMAP_SHORT);
	CU_ASSERT(v.len == 9000 && loads == 1 && released == 1);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, load_large, &loads, &v) == IPCMAP_SHORT);
	CU_ASSERT(v.type == 9 && v.ttl_left_ns <= 3600 * KIT_SEC && loads == 1);
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT(ipcmap_fill_alloc(m, i ? "n" : "k", 1, NULL, load_large, &loads, &buf,
					    &len) == 0);
		CU_ASSERT(len == 9000 && memcmp(buf, want, len) == 0);
		CU_ASSERT(((unsigned char *)buf)[len] == 0 && loads == 1 + i);
		free(buf);
	}
	kit_gone(m);
}

static int load_huge(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	static unsigned char huge[4 << 20];

	(void)key;
	(void)key_len;
	huge[0] = 'h';
	ret->val = huge;
	ret->len = sizeof(huge);
	++*(unsigned *)arg;
	return 0;
}

/* It is given, and the next caller may load. */
static void fill__what_cannot_be_stored_is_given(void)
{
	struct ipcmap_lease a;
	unsigned loads = 0;
	void *buf = NULL;
	size_t len = 0;

	with_map(T_NAME);
	for (unsigned i = 1; i <= 2; i++) {
		CU_ASSERT(ipcmap_fill_alloc(m, "k", 1, NULL, load_huge, &loads, &buf, &len) ==
			  0);
		CU_ASSERT(loads == i && len == 4 << 20 && *(char *)buf == 'h');
		free(buf);
	}
	CU_ASSERT(kit_absent(m, "k"));
	CU_ASSERT(lease("k", &a) == IPCMAP_LEAD);
	kit_gone(m);
}

/* ---- refusals ---- */

static void put_new(void)
{
	CU_ASSERT(kit_put(m, "k", "put") == 0);
}

static void put_and_del(void)
{
	CU_ASSERT(kit_put(m, "k", "put") == 0);
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
}

static void del(void)
{
	CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_NOTFOUND);
}

static void take(void)
{
	char buf[8];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	CU_ASSERT(ipcmap_take(m, "k", 1, &v) == IPCMAP_NOTFOUND);
}

static void clear(void)
{
	CU_ASSERT(ipcmap_clear(m) == 0);
}

static void del_prefix(void)
{
	CU_ASSERT(ipcmap_del_prefix(m, "k", 1, NULL) == 0);
}

static void add(void)
{
	CU_ASSERT(ipcmap_add(m, "k", 1, 17, NULL, NULL) == 0);
}

static void put_other(void)
{
	CU_ASSERT(kit_put(m, "l", "put") == 0);
	CU_ASSERT(ipcmap_del(m, "l", 1) == 0);
}

static void put_if_present(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.flags = IPCMAP_IF_PRESENT;
	CU_ASSERT(ipcmap_put(m, "k", 1, "v", 1, &how) == IPCMAP_NOTFOUND);
}

static void fill__refused_after_a_change(void)
{
	static const struct {
		void (*change)(void);
		unsigned loads;
		const char *value;
	} of[] = {{put_new, 1, "put"},	      {put_and_del, 2, "load 2"},
		  {del, 2, "load 2"},	      {take, 2, "load 2"},
		  {clear, 2, "load 2"},	      {del_prefix, 2, "load 2"},
		  {add, 1, "17"},	      {put_other, 1, "load 1"},
		  {put_if_present, 1, "load 1"}};

	with_map(T_NAME);
	for (unsigned warm = 0; warm < 2; warm++) {
		for (unsigned i = 0; i < ARRAY_LEN(of); i++) {
			struct loader l = {.meanwhile = of[i].change};

			ipcmap_del(m, "k", 1);
			CU_ASSERT(fill("k", &l) == 0);
			if (l.loads != of[i].loads || strcmp(got, of[i].value) != 0)
				fprintf(stderr, "\n%u: %u loads, %s", i, l.loads, got);
			CU_ASSERT(l.loads == of[i].loads && strcmp(got, of[i].value) == 0);
			CU_ASSERT(kit_is(m, "k", of[i].value));
			CU_ASSERT(m->shards[0].leases == 0);
		}
	}
	kit_gone(m);
}

static int load_and_delete(void *arg, const void *key, size_t key_len,
			   struct ipcmap_loaded *ret)
{
	(void)ret;
	++*(unsigned *)arg;
	CU_ASSERT(ipcmap_del(m, key, key_len) == IPCMAP_NOTFOUND);
	ret->val = "x";
	ret->len = 1;
	return 0;
}

static void fill__overtaken_for_ever_gives_up(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	unsigned loads = 0;

	with_map(T_NAME);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, load_and_delete, &loads, &v) == IPCMAP_MISMATCH);
	CU_ASSERT(loads == 8 && kit_absent(m, "k"));
	kit_gone(m);
}

/* A refusal tells the others: the next one leads at once, not after the first one's time. */
static void fill__lease_voided_is_free(void)
{
	struct ipcmap_lease a, b, c;

	with_map(T_NAME);
	CU_ASSERT(lease("k", &a) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_NOTFOUND);
	CU_ASSERT(m->shards[0].leases == 0);
	CU_ASSERT(lease("k", &b) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(lease("k", &c) == IPCMAP_LEAD);
	CU_ASSERT(lease_put("k", &a, "a") == IPCMAP_MISMATCH);
	CU_ASSERT(lease_put("k", &b, "b") == IPCMAP_MISMATCH);
	CU_ASSERT(lease_put("k", &c, "c") == 0 && kit_is(m, "k", "c"));
	kit_gone(m);
}

/* ---- expired values ---- */

static void fill__stale_while_another_loads(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_lease a, b;

	with_map(T_NAME);
	kit_clock_on();
	how.ttl_ns = 10 * KIT_SEC;
	how.stale_ns = 60 * KIT_SEC;
	how.early = 0;
	how.deadline_ns = IPCMAP_NOWAIT;
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "old", 3, &how) == 0);
	CU_ASSERT(lease_how("k", &a, &how) == 0);
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(kit_absent(m, "k"));
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD && a.has_value);
	CU_ASSERT(strcmp(got, "old") == 0);
	CU_ASSERT(lease_how("k", &b, &how) == 0 && strcmp(got, "old") == 0);
	/* one that does not take it waits */
	CU_ASSERT(lease("k", &b) == IPCMAP_BUSY);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "new", 3, &how) == 0);
	CU_ASSERT(lease_how("k", &b, &how) == 0 && strcmp(got, "new") == 0);
	/* too old */
	kit_time += 70 * KIT_SEC;
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD && !a.has_value);
	CU_ASSERT(lease_how("k", &b, &how) == IPCMAP_BUSY);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "newer", 5, &how) == 0);
	/* deleted and cleared values are gone, however short ago they expired */
	kit_time += 11 * KIT_SEC;
	CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_NOTFOUND);
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD && !a.has_value);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "last", 4, &how) == 0);
	kit_time += 11 * KIT_SEC;
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD && !a.has_value);
	kit_clock_off();
	kit_gone(m);
}

/* Values compressed, or in extents of their own, are stale likewise. */
static void fill__stale_values_of_any_length(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	static unsigned char val[20000], buf[20000];
	struct ipcmap_lease a;

	with_map(T_NAME);
	kit_clock_on();
	o.compress = 64;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
	how.ttl_ns = 10 * KIT_SEC;
	how.stale_ns = 60 * KIT_SEC;
	for (unsigned i = 0; i < 2; i++) {
		struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

		if (i)
			kit_bytes(val, sizeof(val), 5);
		ipcmap_del(m, "k", 1);
		CU_ASSERT(ipcmap_lease(m, "k", 1, &how, &a, &v) == IPCMAP_LEAD);
		CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, val, sizeof(val), &how) == 0);
		kit_time += 20 * KIT_SEC;
		CU_ASSERT(ipcmap_lease(m, "k", 1, &how, &a, &v) == IPCMAP_LEAD && a.has_value);
		CU_ASSERT(v.len == sizeof(val) && memcmp(buf, val, sizeof(val)) == 0);
		CU_ASSERT(v.ttl_left_ns == 0);
		v.cap = 100;
		CU_ASSERT(ipcmap_lease(m, "k", 1, &how, &a, &v) == IPCMAP_SHORT);
	}
	kit_clock_off();
	kit_gone(m);
}

/* ---- negative results ---- */

static void fill__negative_results_are_kept_for_their_time(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct loader none = {.err = IPCMAP_NOTFOUND}, some = {.val = "v"};
	struct ipcmap_value v = {0};

	with_map(T_NAME);
	kit_clock_on();
	CU_ASSERT(fill_how("k", &none, &how) == IPCMAP_NOTFOUND);
	CU_ASSERT(fill_how("k", &none, &how) == IPCMAP_NOTFOUND && none.loads == 2);
	how.negative_ttl_ns = 5 * KIT_SEC;
	CU_ASSERT(fill_how("k", &none, &how) == IPCMAP_NOTFOUND && none.loads == 3);
	CU_ASSERT(fill_how("k", &none, &how) == IPCMAP_NOTFOUND && none.loads == 3);
	CU_ASSERT(ipcmap_getx(m, "k", 1, &v) == 0 && v.len == 0);
	CU_ASSERT(v.type == IPCMAP_TYPE_NEGATIVE);
	how.stale_ns = 60 * KIT_SEC;
	kit_time += 5 * KIT_SEC;
	CU_ASSERT(fill_how("k", &some, &how) == 0 && strcmp(got, "v") == 0 && some.loads == 1);
	kit_clock_off();
	kit_gone(m);
}

/* ---- failures ---- */

static void fill__failures_back_off(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct loader bad = {.err = -EIO}, good = {.val = "v"};
	struct fmt_lease *l;
	uint64_t least = 0;

	with_map(T_NAME);
	kit_clock_on();
	l = m->leases;
	how.backoff_ns = KIT_SEC;
	how.backoff_max_ns = 8 * KIT_SEC;
	how.ttl_ns = 10 * KIT_SEC;
	for (unsigned i = 1; i <= 6; i++) {
		uint64_t most = (i < 4 ? 1u << (i - 1) : 8) * KIT_SEC;

		CU_ASSERT(fill_how("k", &bad, &how) == -EIO && bad.loads == i);
		CU_ASSERT(fill_how("k", &good, &how) == -EIO && good.loads == 0);
		CU_ASSERT(l->owner == 0 && l->fails == i);
		CU_ASSERT(l->retry > kit_time + most / 2 - 1 && l->retry <= kit_time + most);
		CU_ASSERT(l->retry - kit_time >= least);
		least = i < 4 ? most / 2 : 0;
		kit_time = l->retry;
	}
	CU_ASSERT(fill_how("k", &good, &how) == 0 && good.loads == 1);
	CU_ASSERT(l->fails == 0 && l->retry == 0);
	/* the expired value serves after a failure, and while nobody may load */
	how.stale_ns = 3600 * KIT_SEC;
	kit_time += 11 * KIT_SEC;
	CU_ASSERT(fill_how("k", &bad, &how) == 0 && strcmp(got, "v") == 0 && bad.loads == 7);
	CU_ASSERT(fill_how("k", &bad, &how) == 0 && strcmp(got, "v") == 0 && bad.loads == 7);
	/* another key is not concerned */
	CU_ASSERT(fill_how("n", &good, &how) == 0 && good.loads == 2);
	kit_clock_off();
	kit_gone(m);
}

static int load_five(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	(void)ret;
	return 5;
}

static int load_from_nowhere(void *arg, const void *key, size_t key_len,
			     struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	ret->len = 5;
	return 0;
}

static int load_reserved_type(void *arg, const void *key, size_t key_len,
			      struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	ret->type = IPCMAP_TYPE_NEGATIVE;
	return 0;
}

static void fill__loaders_that_say_nonsense_failed(void)
{
	struct ipcmap_value v = {0};

	with_map(T_NAME);
	CU_ASSERT(ipcmap_fill(m, "a", 1, NULL, load_five, NULL, &v) == -EIO);
	CU_ASSERT(ipcmap_fill(m, "b", 1, NULL, load_from_nowhere, NULL, &v) == -EIO);
	CU_ASSERT(ipcmap_fill(m, "c", 1, NULL, load_reserved_type, NULL, &v) == IPCMAP_INVALID);
	CU_ASSERT(kit_entries(m) == 0);
	kit_gone(m);
}

/* ---- early refresh ---- */

static uint64_t drawn; /* what chance gives each time: then the number is drawn / 2^64 */

static uint64_t draw(void)
{
	return drawn;
}

static void fill__refreshed_early_by_chance(void)
{
	uint64_t (*was)(void) = im_lease_random;
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_lease a, b;

	with_map(T_NAME);
	kit_clock_on();
	im_lease_random = draw;
	how.ttl_ns = 100 * KIT_SEC;
	how.load_ns = 8 * KIT_SEC;
	how.deadline_ns = IPCMAP_NOWAIT;
	CU_ASSERT(kit_put(m, "k", "no end") == 0);
	drawn = UINT64_MAX;
	CU_ASSERT(lease_how("k", &a, &how) == 0);
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "one", 3, &how) == 0);
	m->leases[0].took = 0; /* as if the place had been needed for another key */
	kit_time += 90 * KIT_SEC; /* 10 s are left: a load takes 8 s at the most */
	CU_ASSERT(lease_how("k", &a, &how) == 0);
	kit_time += 3 * KIT_SEC; /* 7 s are left */
	drawn = UINT64_MAX / 2;	 /* 4 s */
	CU_ASSERT(lease_how("k", &a, &how) == 0);
	how.early = 200; /* twice as careful: 8 s */
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD && a.has_value);
	CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, &how, 0) == 0);
	how.early = 100;
	drawn = UINT64_MAX; /* 8 s */
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD && a.has_value);
	CU_ASSERT(strcmp(got, "one") == 0);
	/* the others get what is there */
	CU_ASSERT(lease_how("k", &b, &how) == 0 && strcmp(got, "one") == 0);
	/* a touch does not make what is loaded older */
	{
		struct ipcmap_put_options life = IPCMAP_PUT_INIT;

		life.ttl_ns = 50 * KIT_SEC;
		CU_ASSERT(ipcmap_touch(m, "k", 1, &life) == 0);
	}
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "two", 3, &how) == 0);
	CU_ASSERT(lease_how("k", &b, &how) == 0 && strcmp(got, "two") == 0);
	/* what the last load took is remembered, and counts more than what it was thought to */
	m->leases[0].took = 2 * KIT_SEC;
	kit_time += 97 * KIT_SEC;
	CU_ASSERT(lease_how("k", &a, &how) == 0);
	kit_time += 3 * KIT_SEC / 2;
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, &how, 0) == 0);
	how.early = 0;
	CU_ASSERT(lease_how("k", &a, &how) == 0);
	im_lease_random = was;
	kit_clock_off();
	kit_gone(m);
}

/* The number has the mean and the spread of the exponential distribution. */
static void fill__chance_is_exponential(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	unsigned n = 0, tries = T_AMOUNT(20000, 5000, 1000);
	struct ipcmap_lease a;

	with_map(T_NAME);
	kit_clock_on();
	how.ttl_ns = 100 * KIT_SEC;
	how.load_ns = 10 * KIT_SEC;
	how.deadline_ns = IPCMAP_NOWAIT;
	CU_ASSERT(lease_how("k", &a, &how) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "v", 1, &how) == 0);
	m->leases[0].took = 0;
	kit_time += 90 * KIT_SEC; /* as much as a load takes is left: 1 / e refresh */
	for (unsigned i = 0; i < tries; i++) {
		if (lease_how("k", &a, &how) != IPCMAP_LEAD)
			continue;
		n++;
		CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, &how, 0) == 0);
	}
	/* 36.8 %; eight standard deviations of the fewest tries are 12 % */
	CU_ASSERT(n > tries * 24 / 100 && n < tries * 49 / 100);
	kit_clock_off();
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"a key is loaded once", fill__loads_once},
	{"the two steps", fill__two_steps},
	{"short buffers, and memory of its own", fill__short_buffers_and_own_memory},
	{"what cannot be stored is given", fill__what_cannot_be_stored_is_given},
	{"a fill is refused after a change of the key", fill__refused_after_a_change},
	{"one that is overtaken for ever gives up", fill__overtaken_for_ever_gives_up},
	{"a lease that was voided is free", fill__lease_voided_is_free},
	{"an expired value serves while another loads", fill__stale_while_another_loads},
	{"expired values of any length", fill__stale_values_of_any_length},
	{"negative results are kept for their time",
	 fill__negative_results_are_kept_for_their_time},
	{"failures back off, a success resets", fill__failures_back_off},
	{"loaders that say nonsense failed", fill__loaders_that_say_nonsense_failed},
	{"refreshed early by chance", fill__refreshed_early_by_chance},
	{"the chance is exponential", fill__chance_is_exponential},
	CU_TEST_INFO_NULL,
};
T_SUITE("fill", tests)
