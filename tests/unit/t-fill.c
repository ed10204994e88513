/* SPDX-License-Identifier: MIT */
/*
 * t-fill.c - a key is loaded by one for all: what is stored, refused, given and waited for
 */
#include "kit.h"

#include "lease.h"

#include <setjmp.h>
#include <signal.h>

static struct ipcmap *m;

static void with_map(const char *name)
{
	m = kit_made(name, KIT_MIB, KIT_MIB, 1);
}

/* ---- loaders ---- */

struct loader {
	const char *val; /* NULL: what err says */
	int err;
	unsigned loads;
	void (*meanwhile)(void); /* during the first load */
};

static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct loader *l = arg;

	(void)key;
	(void)key_len;
	if (l->loads++ == 0 && l->meanwhile)
		l->meanwhile();
	if (!l->val)
		return l->err;
	ret->val = l->val;
	ret->len = strlen(l->val);
	return 0;
}

static int load_numbered(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	static char text[20];
	struct loader *l = arg;

	(void)key;
	(void)key_len;
	sprintf(text, "load %u", l->loads + 1);
	if (l->loads++ == 0 && l->meanwhile)
		l->meanwhile();
	ret->val = text;
	ret->len = strlen(text);
	return 0;
}

static char got[64];

static int fill_how(const char *key, struct loader *l, const struct ipcmap_fill_options *how)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got) - 1};
	int r;

	memset(got, 0, sizeof(got));
	r = ipcmap_fill(m, key, strlen(key), how, l->val || l->err ? load : load_numbered, l,
			&v);
	got[r ? 0 : v.len] = '\0';
	return r;
}

static int fill(const char *key, struct loader *l)
{
	return fill_how(key, l, NULL);
}

static int lease_how(const char *key, struct ipcmap_lease *l,
		     const struct ipcmap_fill_options *how)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got) - 1};
	int r;

	memset(got, 0, sizeof(got));
	r = ipcmap_lease(m, key, strlen(key), how, l, &v);
	if (r == 0 || (r == IPCMAP_LEAD && l->has_value))
		got[v.len] = '\0';
	else
		got[0] = '\0';
	return r;
}

static int lease(const char *key, struct ipcmap_lease *l)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;

	how.deadline_ns = IPCMAP_NOWAIT;
	return lease_how(key, l, &how);
}

static int lease_put(const char *key, const struct ipcmap_lease *l, const char *val)
{
	return ipcmap_lease_put(m, key, strlen(key), l, val, strlen(val), NULL);
}

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

/* ---- what loaders may do ---- */

static int load_itself(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct loader other = {.val = "other"};
	int *r = arg;

	*r = ipcmap_fill(m, key, key_len, NULL, load, &other,
			 &(struct ipcmap_value){.buf = got, .cap = sizeof(got)});
	CU_ASSERT(other.loads == 0);
	CU_ASSERT(fill("another", &other) == 0 && other.loads == 1);
	CU_ASSERT(kit_put(m, "third", "3") == 0);
	ret->val = "mine";
	ret->len = 4;
	return 0;
}

static void fill__of_the_same_key_inside_is_a_deadlock(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	int r = 1;

	with_map(T_NAME);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, load_itself, &r, &v) == 0);
	CU_ASSERT(r == IPCMAP_DEADLOCK);
	CU_ASSERT(kit_is(m, "k", "mine") && kit_is(m, "another", "other"));
	kit_gone(m);
}

static jmp_buf out;

static int load_and_jump(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	(void)ret;
	longjmp(out, 1);
}

static void fill__left_by_longjmp_ends_with_its_time(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	struct loader l = {.val = "v"};
	static int left;

	with_map(T_NAME);
	kit_clock_on();
	left = 0;
	for (volatile int i = 0; i < 20; i++) {
		char key[8];

		sprintf(key, "j%d", i % 10);
		if (setjmp(out) == 0)
			ipcmap_fill(m, key, 2, NULL, load_and_jump, NULL, &v);
		else
			left++;
		if (i == 9)
			kit_time += 10 * KIT_SEC;
	}
	CU_ASSERT(left == 20);
	CU_ASSERT(fill("j9", &l) == IPCMAP_DEADLOCK);
	CU_ASSERT(kit_put(m, "j9", "put") == 0 && ipcmap_del(m, "j9", 2) == 0);
	CU_ASSERT(fill("j9", &l) == 0 && l.loads == 1);
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(fill("j1", &l) == 0 && l.loads == 2);
	kit_clock_off();
	kit_gone(m);
}

static int load_and_exit(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	(void)ret;
	_exit(0);
}

static int fill_and_exit(void *arg)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};

	(void)arg;
	ipcmap_fill(m, "k", 1, NULL, load_and_exit, NULL, &v);
	return 1;
}

static void fill__leader_that_exits_is_succeeded(void)
{
	struct loader l = {.val = "v"};

	with_map(T_NAME);
	for (unsigned i = 0; i < FMT_LEASES + 4; i++)
		CU_ASSERT(t_ok(t_run(fill_and_exit, NULL)));
	CU_ASSERT(m->leases[0].owner != 0 && m->shards[0].leases == 1);
	CU_ASSERT(fill("k", &l) == 0 && l.loads == 1);
	CU_ASSERT(m->shards[0].leases == 0);
	kit_gone(m);
}

static unsigned *forks; /* shared: who stored */

static int load_in_two_processes(void *arg, const void *key, size_t key_len,
				 struct ipcmap_loaded *ret)
{
	struct loader l = {.val = "of the child"};
	pid_t *child = arg;

	(void)key;
	(void)key_len;
	*child = t_fork();
	if (*child == 0)
		T_MUST(fill("c", &l) == 0 && l.loads == 1);
	ret->val = "forked";
	ret->len = 6;
	++*forks;
	return 0;
}

/* Both return from the loader; what both loaded is stored once. */
static void fill__loader_that_forks(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	struct loader l = {.val = "again"};
	pid_t child = -1;
	int r;

	with_map(T_NAME);
	forks = t_shared(sizeof(*forks));
	r = ipcmap_fill(m, "k", 1, NULL, load_in_two_processes, &child, &v);
	if (child == 0)
		_exit(r);
	CU_ASSERT(r == 0 && t_ok(child));
	CU_ASSERT(*forks >= 2 && kit_is(m, "k", "forked") && kit_is(m, "c", "of the child"));
	CU_ASSERT(fill("k", &l) == 0 && l.loads == 0);
	t_shared_free(forks, sizeof(*forks));
	kit_gone(m);
}

/* ---- who waits ---- */

static unsigned wakes;

static int count_wake(uint32_t *word, int n)
{
	(void)n;
	wakes += word == &m->leases[0].bell;
	return 0;
}

/* When a lease ends, however it does, those who listen are woken; when nobody does, none. */
static void fill__whoever_waits_is_woken(void)
{
	static struct im_os os;
	struct ipcmap_lease a;

	with_map(T_NAME);
	os = im_os_real;
	os.futex_wake = count_wake;
	im_os = &os;
	for (unsigned i = 0; i < 10; i++) {
		CU_ASSERT(lease("k", &a) == IPCMAP_LEAD);
		wakes = 0;
		if (i % 2)
			im_bell_listen(&m->leases[0].bell);
		switch (i / 2) {
		case 0:
			CU_ASSERT(lease_put("k", &a, "v") == 0);
			break;
		case 1:
			CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, NULL, 0) == 0);
			break;
		case 2:
			CU_ASSERT(kit_put(m, "k", "v") == 0);
			break;
		case 3:
			CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_NOTFOUND);
			break;
		case 4:
			CU_ASSERT(ipcmap_del_prefix(m, "k", 1, NULL) == 0);
			break;
		}
		CU_ASSERT(wakes == i % 2);
		ipcmap_del(m, "k", 1);
	}
	im_os = &im_os_real;
	kit_gone(m);
}

/* ---- the table ---- */

static void fill__full_table_waits_for_a_place(void)
{
	struct ipcmap_lease l[FMT_LEASES], more;
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;

	with_map(T_NAME);
	kit_clock_on();
	for (unsigned i = 0; i < FMT_LEASES; i++)
		CU_ASSERT(lease(kit_key(i).text, &l[i]) == IPCMAP_LEAD);
	CU_ASSERT(kit_sound(m));
	CU_ASSERT(lease("more", &more) == IPCMAP_BUSY);
	how.deadline_ns = 30 * KIT_MS;
	CU_ASSERT(lease_how("more", &more, &how) == IPCMAP_BUSY);
	CU_ASSERT(lease_put(kit_key(3).text, &l[3], "v") == 0);
	CU_ASSERT(lease("more", &more) == IPCMAP_LEAD);
	CU_ASSERT(lease("yet more", &l[3]) == IPCMAP_BUSY);
	/* when their time is over they can be had */
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(lease("yet more", &l[3]) == IPCMAP_LEAD);
	CU_ASSERT(lease_put("yet more", &l[3], "v") == 0);
	CU_ASSERT(lease_put("more", &more, "v") == 0); /* late, but nobody else had it */
	kit_clock_off();
	kit_gone(m);
}

/* Leases that nobody ended cost writes nothing for ever. */
static void fill__forgotten_leases_are_ended_by_writes(void)
{
	struct ipcmap_lease a;

	with_map(T_NAME);
	kit_clock_on();
	CU_ASSERT(lease("k", &a) == IPCMAP_LEAD);
	kit_time += 69 * KIT_SEC;
	CU_ASSERT(kit_put(m, "other", "v") == 0 && m->shards[0].leases == 1);
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(kit_put(m, "other", "v") == 0 && m->shards[0].leases == 0);
	CU_ASSERT(lease_put("k", &a, "v") == IPCMAP_MISMATCH);
	kit_clock_off();
	kit_gone(m);
}

/* ---- a stopped leader ---- */

static struct t_gate leads, goes_on;

static int lead_and_stop(void *arg)
{
	struct ipcmap_lease a;

	(void)arg;
	T_MUST(lease("k", &a) == IPCMAP_LEAD);
	t_gate_pass(&leads);
	t_gate_wait(&goes_on);
	T_MUST(lease_put("k", &a, "stopped") == IPCMAP_MISMATCH);
	return 0;
}

static void fill__stopped_leader_is_overtaken_and_refused(void)
{
	struct loader l = {.val = "in time"};
	struct ipcmap_lease a;
	pid_t pid;

	with_map(T_NAME);
	kit_clock_on();
	t_gate_open(&leads);
	t_gate_open(&goes_on);
	pid = t_run(lead_and_stop, NULL);
	t_gate_wait(&leads);
	kill(pid, SIGSTOP);
	CU_ASSERT(lease("k", &a) == IPCMAP_BUSY);
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(fill("k", &l) == 0 && l.loads == 1);
	kill(pid, SIGCONT);
	t_gate_pass(&goes_on);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(kit_is(m, "k", "in time"));
	t_gate_close(&leads);
	t_gate_close(&goes_on);
	kit_clock_off();
	kit_gone(m);
}

/* ---- other attaches, bad arguments, hostile bytes ---- */

static void fill__read_only_gives_what_is_there(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct loader l = {.val = "v"};
	struct ipcmap *writable;

	with_map(T_NAME);
	kit_clock_on();
	how.ttl_ns = 10 * KIT_SEC;
	how.stale_ns = 60 * KIT_SEC;
	how.load_ns = 3600 * KIT_SEC;
	CU_ASSERT(fill_how("k", &l, &how) == 0);
	writable = m;
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT(ipcmap_open(writable->seg->name, &o, &m) == 0);
	CU_ASSERT(fill_how("k", &l, &how) == 0 && strcmp(got, "v") == 0);
	kit_time += 9 * KIT_SEC;
	CU_ASSERT(fill_how("k", &l, &how) == 0 && strcmp(got, "v") == 0);
	kit_time += 9 * KIT_SEC;
	CU_ASSERT(fill_how("k", &l, &how) == 0 && strcmp(got, "v") == 0);
	CU_ASSERT(fill_how("n", &l, &how) == IPCMAP_READONLY && l.loads == 1);
	ipcmap_close(m);
	m = writable;
	kit_clock_off();
	kit_gone(m);
}

static void fill__segments_of_before_say_version(void)
{
	struct fmt_lease *leases;
	struct ipcmap_lease a;

	with_map(T_NAME);
	leases = m->leases;
	m->leases = NULL;
	CU_ASSERT(lease("k", &a) == IPCMAP_VERSION);
	CU_ASSERT(lease_put("k", &a, "v") == IPCMAP_VERSION);
	m->shards[0].leases = 1; /* hostile */
	CU_ASSERT(kit_put(m, "k", "v") == 0 && ipcmap_del(m, "k", 1) == 0);
	CU_ASSERT(ipcmap_del_prefix(m, "k", 1, NULL) == 0);
	CU_ASSERT(ipcmap_check(m, NULL, NULL) > 0);
	m->shards[0].leases = 0;
	m->leases = leases;
	kit_gone(m);
}

static void fill__arguments_are_checked(void)
{
	struct ipcmap_fill_options good = IPCMAP_FILL_INIT;
	struct ipcmap_fill_options bad[] = {good, good, good, good, good};
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	struct loader l = {.val = "v"};
	struct ipcmap_lease a = {0};

	with_map(T_NAME);
	bad[0].struct_size--;
	bad[1].type = IPCMAP_TYPE_NEGATIVE;
	bad[2].jitter = 101;
	bad[3].lease_ns = 3601 * KIT_SEC;
	bad[4].ttl_ns = IPCMAP_TTL_KEEP;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		CU_ASSERT(ipcmap_fill(m, "k", 1, &bad[i], load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, NULL, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, load, &l, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(NULL, "k", 1, NULL, load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill(m, "", 0, NULL, load, &l, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_fill_alloc(m, "k", 1, NULL, load, &l, NULL, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease(m, "k", 1, NULL, NULL, &v) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease(m, "k", 1, NULL, &a, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, NULL, "v", 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, NULL, 1, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, NULL, 1) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &a, "v", 1, NULL) == IPCMAP_MISMATCH);
	a.place = UINT32_MAX;
	CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, NULL, -EIO) == IPCMAP_MISMATCH);
	CU_ASSERT(l.loads == 0);
	kit_gone(m);
}

/* Any words whatever: each call ends, and says something. */
static void fill__hostile_leases(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	uint64_t x = kit_seed(), seed = x, *words;
	struct ipcmap_lease a;

	with_map(T_NAME);
	how.deadline_ns = 2 * KIT_MS;
	how.stale_ns = KIT_SEC;
	for (unsigned round = 0; round < T_AMOUNT(2000, 300, 50); round++) {
		char key[16];
		int r;

		sprintf(key, "key %u", (unsigned)kit_below(&x, 20));
		words = (uint64_t *)(void *)m->leases;
		for (unsigned i = 0; i < FMT_LEASES * sizeof(*m->leases) / 8; i++)
			switch (kit_below(&x, 8)) {
			case 0:
				words[i] = kit_random(&x);
				break;
			case 1:
				words[i] = 0;
				break;
			case 2:
				words[i] = UINT64_MAX;
				break;
			case 3:
				words[i] = m->seg->self;
				break;
			case 4:
				words[i] = im_hash(m->hash_seed, key, strlen(key));
				break;
			default:
				break;
			}
		m->shards[0].leases = (uint32_t)kit_below(&x, 3);
		r = lease_how(key, &a, &how);
		if (r == IPCMAP_LEAD && kit_below(&x, 2))
			r = lease_put(key, &a, "v");
		else if (r == IPCMAP_LEAD)
			r = ipcmap_lease_fail(m, key, strlen(key), &a, &how,
					      kit_below(&x, 2) ? -EIO : IPCMAP_NOTFOUND);
		if (r > 0) {
			fprintf(stderr, "\nseed %llu: %d", (unsigned long long)seed, r);
			CU_FAIL("a number that is no result");
		}
		if (kit_below(&x, 4) == 0)
			CU_ASSERT(kit_put(m, key, "w") == 0);
		if (kit_below(&x, 4) == 0) {
			r = ipcmap_del(m, key, strlen(key));
			CU_ASSERT(r == 0 || r == IPCMAP_NOTFOUND);
		}
		if (round % 100 == 0) {
			CU_ASSERT(ipcmap_del_prefix(m, "key 1", 5, NULL) == 0);
			CU_ASSERT(ipcmap_check(m, NULL, NULL) >= 0);
		}
	}
	memset(m->leases, 0, FMT_LEASES * sizeof(*m->leases));
	m->shards[0].leases = 0;
	kit_gone(m);
}

static void fill__check_finds_leases_that_cannot_be(void)
{
	struct ipcmap_lease a, b;
	struct fmt_lease *l;

	with_map(T_NAME);
	CU_ASSERT(lease("a", &a) == IPCMAP_LEAD && lease("b", &b) == IPCMAP_LEAD);
	l = m->leases;
	CU_ASSERT(kit_sound(m));
	m->shards[0].leases = 0;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == 2);
	m->shards[0].leases = 1;
	l[0].version += 100;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == 1);
	l[0].version -= 100;
	l[1].hash = l[0].hash;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) == 1);
	l[1].owner = 0;
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
	{"the same key inside is a deadlock", fill__of_the_same_key_inside_is_a_deadlock},
	{"a loader left by longjmp ends with its time",
	 fill__left_by_longjmp_ends_with_its_time},
	{"a leader that exits is succeeded", fill__leader_that_exits_is_succeeded},
	{"a loader that forks", fill__loader_that_forks},
	{"whoever waits is woken", fill__whoever_waits_is_woken},
	{"a full table: wait for a place", fill__full_table_waits_for_a_place},
	{"forgotten leases are ended by writes", fill__forgotten_leases_are_ended_by_writes},
	{"a stopped leader is overtaken and refused",
	 fill__stopped_leader_is_overtaken_and_refused},
	{"a read-only attach gives what is there", fill__read_only_gives_what_is_there},
	{"segments of before there were leases", fill__segments_of_before_say_version},
	{"arguments are checked", fill__arguments_are_checked},
	{"hostile leases", fill__hostile_leases},
	{"check finds leases that cannot be", fill__check_finds_leases_that_cannot_be},
	CU_TEST_INFO_NULL,
};
T_SUITE("fill", tests)
