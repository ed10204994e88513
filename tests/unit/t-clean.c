/* SPDX-License-Identifier: MIT */
/*
 * t-clean.c - memory comes back: after deletes, expiry and clear, and at the limit
 */
#include "kit.h"

static struct ipcmap *m;

static int put_len(uint64_t i, uint32_t len)
{
	static unsigned char val[1 << 20];
	struct kit_key k = kit_key(i);

	memcpy(val, &i, sizeof(i));
	return ipcmap_put(m, k.text, k.len, val, len, NULL);
}

static bool has(uint64_t i, uint32_t len)
{
	static unsigned char buf[1 << 20];
	struct kit_key k = kit_key(i);
	size_t got;

	return ipcmap_get(m, k.text, k.len, buf, sizeof(buf), &got) == 0 && got == len &&
	       (len < 8 || memcmp(buf, &i, 8) == 0);
}

static int del(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_del(m, k.text, k.len);
}

/* Keys 0, 1, ... until LIMIT; how many. */
static uint64_t fill(uint32_t len)
{
	uint64_t n = 0;
	int r;

	while ((r = put_len(n, len)) == 0)
		n++;
	CU_ASSERT(r == IPCMAP_LIMIT);
	return n;
}

/* What a shard may keep of a log that is empty: two heads, reserve, ahead, and the slack of
 * four extents that cleaning leaves alone (clean.c). */
#define KEPT 8u

static void empties(const char *name, uint64_t mib, unsigned shards, uint32_t len)
{
	struct ipcmap_stat st;
	uint64_t n, empty;

	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, shards);
	empty = kit_stat(m).used;
	n = fill(len);
	for (uint64_t i = 0; i < n; i++)
		if (del(i))
			CU_FAIL("del");
	st = kit_stat(m);
	CU_ASSERT(st.entries == 0 && st.live_len == 0 && st.large_len == 0);
	CU_ASSERT(st.used - empty <= st.index_len + KEPT * (uint64_t)st.shards * st.extent_len);
	CU_ASSERT(kit_sound(m));
	/* one hot key from here on: memory stays where it is */
	for (unsigned i = 0; i < 100000; i++)
		if (put_len(0, 100))
			CU_FAIL("put");
	CU_ASSERT(has(0, 100) && kit_entries(m) == 1);
	CU_ASSERT(kit_stat(m).used <= st.used + KEPT * st.extent_len);
	/* and as much fits as before */
	CU_ASSERT(del(0) == 0);
	CU_ASSERT(fill(len) >= n - n / 50);
	kit_gone(m);
}

static void clean__delete_of_everything_leaves_nothing(void)
{
	empties(T_NAME, 1, 1, 50);
	empties(T_NAME, 1, 0, 50);
	empties(T_NAME, 16, 0, 100);
	empties(T_NAME, 16, 1, 1000);
	empties(T_NAME, 16, 0, 100000);
	empties(T_NAME, 64, 0, 500);
}

/* ---- one shard wants what the others have (design-attacks.md, A8) ---- */

static void one_shard(const char *name, uint64_t mib, unsigned shards, uint32_t len)
{
	uint64_t n, kept = 0, live, need, size;
	struct ipcmap_stat st;
	int r = 0;

	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, shards);
	n = fill(len);
	for (uint64_t i = 0; i < n; i++) {
		struct kit_key k = kit_key(i);

		if (kit_shard_of(m, k.text, k.len) == 0)
			kept++;
		else if (del(i))
			CU_FAIL("del");
	}
	CU_ASSERT(kit_entries(m) == kept);
	size = kit_entry_len(m, kit_key(0).len, len);
	/* all but what the other shards keep of an empty log, at u = 14/16 */
	st = kit_stat(m);
	need = (kit_log_len(m) - KEPT * st.shards * st.extent_len) / 16 * 14;
	for (uint64_t i = n; kept * size < need; i++) {
		struct kit_key k = kit_key(i);

		if (kit_shard_of(m, k.text, k.len) != 0)
			continue;
		r = put_len(i, len);
		if (r)
			break;
		kept++;
		/* the index takes its share of what was free */
		if (kept % 1024 == 0)
			need = (kit_log_len(m) - KEPT * st.shards * st.extent_len) / 16 * 14;
	}
	live = kit_stat(m).live_len;
	if (r)
		fprintf(stderr, "\n  %llu MiB, %u shards, %u: error %d at %llu of %llu bytes\n",
			(unsigned long long)mib, st.shards, len, r, (unsigned long long)live,
			(unsigned long long)need);
	CU_ASSERT(r == 0);
	CU_ASSERT(kit_entries(m) == kept && live == kept * size);
	kit_gone(m);
}

static void clean__one_shard_takes_what_the_others_have(void)
{
	one_shard(T_NAME, 16, 0, 100);
	one_shard(T_NAME, 16, 4, 30);
	one_shard(T_NAME, 64, 0, 400);
	one_shard(T_NAME, 64, 64, 1000);
}

/* ---- nearly full ---- */

/* Mixed lengths, up to 1/64 of an extent with header and key; the same for the same number. */
static uint32_t mixed_len(const struct ipcmap *map, uint64_t x)
{
	uint32_t most = map->seg->extent_len / 64 - FMT_ENTRY_HEAD - 10;
	uint32_t h = (uint32_t)(x * 2654435761u) >> 7;

	return h % 4 ? h / 4 % (most / 4) : h / 4 % (most + 1);
}

static void nearly_full(const char *name, uint64_t mib, unsigned shards)
{
	uint64_t n = 0, live = 0, seed = kit_seed(), state = seed, updates, limits = 0;
	uint32_t *len;
	unsigned bad = 0;

	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, shards);
	len = malloc(sizeof(*len) * (mib << 16));
	for (;; n++) {
		len[n] = mixed_len(m, n);
		live += kit_entry_len(m, kit_key(n).len, len[n]);
		if (live > kit_log_len(m) / 100 * 93)
			break;
		bad += put_len(n, len[n]) != 0;
	}
	CU_ASSERT(bad == 0);
	updates = T_SANITIZED ? n / 2 : 3 * n;
	for (uint64_t i = 0; i < updates; i += 2) {
		uint64_t k = kit_below(&state, n), other = kit_below(&state, n);
		int r;

		/* an exchange of lengths keeps the whole */
		if (put_len(other, len[k] < len[other] ? len[k] : len[other]) ||
		    (r = put_len(k, len[k] < len[other] ? len[other] : len[k])) != 0) {
			limits++;
			break;
		}
		if (len[k] < len[other]) {
			uint32_t t = len[k];

			len[k] = len[other];
			len[other] = t;
		}
	}
	if (limits || bad)
		fprintf(stderr, "\n  %llu MiB, %u shards: refused at %llu of %llu live bytes (seed %llu)\n",
			(unsigned long long)mib, m->n_shards,
			(unsigned long long)kit_stat(m).live_len,
			(unsigned long long)kit_log_len(m), (unsigned long long)seed);
	CU_ASSERT(limits == 0);
	for (uint64_t i = 0; i < n && !limits; i++)
		bad += !has(i, len[i]);
	CU_ASSERT(bad == 0 && kit_entries(m) == n);
	free(len);
	kit_gone(m);
}

static void clean__log_93_percent_live_takes_updates(void)
{
	nearly_full(T_NAME, 16, 1);
	nearly_full(T_NAME, 16, 0);
	if (T_SANITIZED)
		return;
	nearly_full(T_NAME, 64, 0);
}

/* ---- at the limit ---- */

static void at_the_limit(const char *name, uint64_t mib, unsigned shards, uint32_t len)
{
	uint64_t n, more, index;
	unsigned bad = 0;

	m = kit_made(name, mib * KIT_MIB, 4 * mib * KIT_MIB, shards);
	n = fill(len);
	index = kit_stat(m).index_len;
	CU_ASSERT(put_len(n, len) == IPCMAP_LIMIT && put_len(n, len) == IPCMAP_LIMIT);
	for (uint64_t i = 0; i < n; i++)
		bad += !has(i, len);
	CU_ASSERT(bad == 0 && kit_entries(m) == n);
	/* updates need no more room than there is */
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t i = 0; i < n; i++)
			bad += put_len(i, len) != 0;
	CU_ASSERT(bad == 0);
	bad = 0;
	for (uint64_t i = 0; i < n; i++)
		bad += !has(i, len);
	CU_ASSERT(bad == 0 && kit_entries(m) == n && kit_sound(m));
	/* a higher limit */
	CU_ASSERT(kit_set_limit(m, 2 * mib * KIT_MIB) == 0);
	CU_ASSERT(put_len(n, len) == 0 && has(n, len));
	for (more = n + 1; put_len(more, len) == 0; more++)
		;
	CU_ASSERT(more >= n * 19 / 10);
	/* a lower one drops nothing; deletes always work */
	CU_ASSERT(kit_set_limit(m, mib * KIT_MIB) == 0);
	CU_ASSERT(put_len(more, len) == IPCMAP_LIMIT && kit_entries(m) == more);
	for (uint64_t i = 0; i < more; i++)
		bad += !has(i, len);
	for (uint64_t i = 0; i < more; i++)
		bad += del(i) != 0;
	CU_ASSERT(bad == 0 && kit_entries(m) == 0);
	/* as much as before but for the index, which does not shrink */
	index = kit_stat(m).index_len - index + 3 * KEPT * kit_stat(m).extent_len;
	CU_ASSERT(fill(len) >= n - index / kit_entry_len(m, 10, len));
	kit_gone(m);
}

static void clean__limit_loses_nothing_and_can_be_raised(void)
{
	at_the_limit(T_NAME, 1, 1, 50);
	at_the_limit(T_NAME, 2, 0, 100);
	at_the_limit(T_NAME, 16, 0, 60);
	at_the_limit(T_NAME, 16, 1, 60);
	/* a third of an extent; so much that only one fits; just not large */
	at_the_limit(T_NAME, 16, 1, 8192 / 3 + 100);
	at_the_limit(T_NAME, 16, 0, 8192 / 3 + 100);
	at_the_limit(T_NAME, 16, 0, 8192 / 2 - 60);
}

/* ---- expiry ---- */

static int put_for(uint64_t i, uint32_t len, uint64_t ttl_ns)
{
	static unsigned char val[1 << 20];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct kit_key k = kit_key(i);

	how.ttl_ns = ttl_ns;
	return ipcmap_put(m, k.text, k.len, val, len, &how);
}

/* Fill with what expires; then the same again must fit, again and again. */
static void expires(const char *name, uint64_t mib, unsigned shards, uint32_t len)
{
	uint64_t n = 0, first = 0, at = 0;

	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, shards);
	kit_clock_on();
	for (unsigned round = 0; round < 4; round++) {
		for (n = 0; put_for(at, len, KIT_SEC) == 0; n++)
			at++;
		if (!round)
			first = n;
		if (n < first - first / 20)
			fprintf(stderr, "\n  %llu MiB, %u shards, %u: %llu after %llu\n",
				(unsigned long long)mib, m->n_shards, len, (unsigned long long)n,
				(unsigned long long)first);
		CU_ASSERT(n >= first - first / 20);
		kit_time += 2 * KIT_SEC;
	}
	CU_ASSERT(put_len(at, 20) == 0 && has(at, 20));
	kit_clock_off();
	kit_gone(m);
}

static void clean__expired_entries_make_room(void)
{
	expires(T_NAME, 1, 1, 50);
	expires(T_NAME, 1, 0, 50);
	expires(T_NAME, 16, 0, 100);
	expires(T_NAME, 16, 1, 1000);
}

/* Their descriptors lie in heads, which are not cleaned as long as they are heads. */
static void clean__expired_large_values_make_room(void)
{
	expires(T_NAME, 1, 1, 10000);
	expires(T_NAME, 16, 1, 1 << 20);
	expires(T_NAME, 16, 0, 300000);
	expires(T_NAME, 64, 0, 100000);
}

/* Small entries must get the memory of expired large ones as well. */
static void clean__expired_large_values_make_room_for_small(void)
{
	uint64_t n = 0, small = 0;

	m = kit_made(T_NAME, 4 * KIT_MIB, 4 * KIT_MIB, 1);
	kit_clock_on();
	while (put_for(n, 200000, KIT_SEC) == 0)
		n++;
	kit_time += 2 * KIT_SEC;
	while (put_len(n + small, 100) == 0)
		small++;
	CU_ASSERT(small * kit_entry_len(m, 10, 100) > 3 * KIT_MIB);
	kit_clock_off();
	kit_gone(m);
}

/* ---- clear ---- */

static void clears(const char *name, uint64_t mib, unsigned shards, uint32_t len)
{
	uint64_t n, first = 0, at = 0;

	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, shards);
	for (unsigned round = 0; round < 5; round++) {
		for (n = 0; put_len(at, len) == 0; n++)
			at++;
		if (!round)
			first = n;
		if (n < first - first / 20)
			fprintf(stderr, "\n  %llu MiB, %u shards, %u: %llu after %llu\n",
				(unsigned long long)mib, m->n_shards, len, (unsigned long long)n,
				(unsigned long long)first);
		CU_ASSERT(n >= first - first / 20 && kit_entries(m) == n);
		CU_ASSERT(ipcmap_clear(m) == 0 && kit_entries(m) == 0);
		CU_ASSERT(kit_sound(m));
		/* some of the same keys: the same slots */
		for (uint64_t i = at - n; i < at; i += 3)
			if (put_len(i, len) || !has(i, len))
				CU_FAIL("put");
		CU_ASSERT(kit_entries(m) == (n + 2) / 3 && kit_sound(m));
		CU_ASSERT(ipcmap_clear(m) == 0);
	}
	kit_gone(m);
}

static void clean__cleared_memory_is_used_again(void)
{
	clears(T_NAME, 1, 1, 50);
	clears(T_NAME, 1, 0, 500);
	clears(T_NAME, 16, 0, 100);
	clears(T_NAME, 16, 1, 30);
	clears(T_NAME, 16, 0, 50000);
	clears(T_NAME, 16, 1, 1 << 20);
}

/* Many clears with few writes between: what is dead does not pile up. */
static void clean__many_clears_do_not_pile_up(void)
{
	struct ipcmap_stat a, b;
	uint64_t at = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 0);
	memset(&a, 0, sizeof(a));
	for (unsigned round = 0; round < 400; round++) {
		for (unsigned i = 0; i < 300; i++)
			if (put_len(at++, 100))
				CU_FAIL("put");
		CU_ASSERT(ipcmap_clear(m) == 0);
		if (round == 100)
			a = kit_stat(m);
	}
	b = kit_stat(m);
	/* each shard is somewhere in its cleaning; 90,000 entries were written in between */
	CU_ASSERT(b.used <= a.used + 2 * b.shards * a.extent_len);
	CU_ASSERT(b.index_len <= a.index_len + 8 * a.extent_len);
	kit_gone(m);
}

/* ---- steps are small (G7) ---- */

/* Not by stat, which reads all counter lines. */
static uint64_t cleaned(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->n_shards; i++)
		n += im_load_rlx(&m->shards[i].cleaned);
	return n;
}

/* Below the limit no put moves more than what pace allows: two extents' worth of entries. */
static void clean__one_write_moves_few_entries(void)
{
	uint64_t state = 1, most = 0, before, n = 60000;

	m = kit_made(T_NAME, 64 * KIT_MIB, 64 * KIT_MIB, 1);
	for (uint64_t i = 0; i < n; i++)
		put_len(i, 100);
	for (unsigned i = 0; i < 300000; i++) {
		before = cleaned();
		put_len(kit_below(&state, n), 100);
		most = max_u64(most, cleaned() - before);
	}
	CU_ASSERT(cleaned() > 1000);
	CU_ASSERT(most <= 64);
	kit_gone(m);
}

/*
 * 90 of 100 log bytes live: cleaning keeps ahead of the writes, so hardly any of them has to
 * clean whole extents (of 300 entries) before it can go on.
 */
static void clean__few_moves_each_when_full(void)
{
	uint64_t state = 1, most = 0, moves, n = 0;
	unsigned many = 0;

	m = kit_made(T_NAME, 64 * KIT_MIB, 64 * KIT_MIB, 4);
	while (kit_stat(m).live_len * 10 < kit_log_len(m) * 9) {
		for (unsigned i = 0; i < 1000; i++)
			put_len(n++, 80);
	}
	for (unsigned i = 0; i < 200000; i++) {
		moves = cleaned();
		put_len(kit_below(&state, n), 80);
		moves = cleaned() - moves;
		most = max_u64(most, moves);
		many += moves > 100;
	}
	CU_ASSERT(cleaned() > 500000); /* it was full */
	CU_ASSERT(many <= 50);
	CU_ASSERT(most <= 1500);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"deletion of everything leaves nothing", clean__delete_of_everything_leaves_nothing},
	{"one shard takes what the others have", clean__one_shard_takes_what_the_others_have},
	{"a log 93 % live takes updates", clean__log_93_percent_live_takes_updates},
	{"the limit loses nothing and can be raised",
	 clean__limit_loses_nothing_and_can_be_raised},
	{"expired entries make room", clean__expired_entries_make_room},
	{"expired large values make room", clean__expired_large_values_make_room},
	{"expired large values make room for small ones",
	 clean__expired_large_values_make_room_for_small},
	{"cleared memory is used again", clean__cleared_memory_is_used_again},
	{"many clears do not pile up", clean__many_clears_do_not_pile_up},
	{"one write moves few entries", clean__one_write_moves_few_entries},
	{"writes to a full map move few entries each", clean__few_moves_each_when_full},
	CU_TEST_INFO_NULL,
};
T_SUITE("clean", tests)
