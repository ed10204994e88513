/* SPDX-License-Identifier: MIT */
/*
 * verify.c - the map while nobody works on it: everything is exact
 */
#include "torture.h"

#include <string.h>

#define FILL 1000u /* bytes of a value */

static void check(struct ipcmap *m, const char *which)
{
	int r = ipcmap_check(m, load_print, (void *)which);

	oracle_count(&tt->checks);
	if (r < 0)
		torture_find(&tt->answers, "%scheck: %d", which, r);
	else
		im_add_rlx(&tt->findings, (uint64_t)r);
}

static struct ipcmap_stat stat_of(struct ipcmap *m)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	ipcmap_stat(m, &st);
	return st;
}

static uint64_t value_of(struct ipcmap *m, uint32_t i, bool shared)
{
	char key[32], text[32] = "";
	size_t len = 0;

	if (ipcmap_get(m, key, torture_counter_key(i, shared, key), text, sizeof(text) - 1,
		       &len))
		return 0;
	return strtoull(text, NULL, 10);
}

static void recall_counters(struct ipcmap *m)
{
	for (uint32_t w = 0; w < WRITERS; w++) {
		struct counter *c = &tt->own[w];
		uint64_t now = value_of(m, w, false);

		if (now < c->done || now > c->begun)
			torture_find(&tt->counted, "own-%u: %llu, not from %llu to %llu", w,
				     (unsigned long long)now, (unsigned long long)c->done,
				     (unsigned long long)c->begun);
		*c = (struct counter){now, now};
	}
	for (uint32_t i = 0; i < COUNTERS; i++) {
		uint64_t now = value_of(m, i, true), least = 0, most = 0;

		for (uint32_t w = 0; w < WRITERS; w++) {
			least += tt->shared[i][w].done;
			most += tt->shared[i][w].begun;
			tt->shared[i][w].begun = tt->shared[i][w].done;
		}
		if (now < least || now > most)
			torture_find(&tt->counted, "shared-%u: %llu, not from %llu to %llu", i,
				     (unsigned long long)now, (unsigned long long)least,
				     (unsigned long long)most);
		/* whose the additions in flight were makes no difference any more */
		tt->shared[i][0].done += now - least;
		tt->shared[i][0].begun = tt->shared[i][0].done;
	}
}

/* No lock, redo list, intent or slot of a dead process. */
static void look_at_locks(struct ipcmap *m)
{
	struct ipcmap_inspect head = {.struct_size = sizeof(head)};
	struct ipcmap_shard_info s = {.struct_size = sizeof(s)};

	ipcmap_inspect(m, &head);
	if (head.lock_slot || head.armed)
		torture_find(&tt->answers, "the space lock is left");
	for (uint32_t i = 0; ipcmap_inspect_shard(m, i, &s) == 0; i++)
		if (s.lock_slot || s.redo_seq & 1)
			torture_find(&tt->answers, "shard %u is left locked", i);
	if (stat_of(m).attached != 1)
		torture_find(&tt->answers, "%u owners, not 1", stat_of(m).attached);
}

static int count_one(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	++*(uint64_t *)arg;
	return 0;
}

static uint64_t present(uint32_t from, uint32_t to)
{
	uint64_t n = 0;

	for (uint32_t k = from * WRITERS; k < to * WRITERS; k++)
		n += oracle_known(keys, k)->content != ORACLE_NOTHING;
	return n;
}

/* Keys that the map counts, and a scan shows. */
static void count(struct ipcmap *m, bool mortals)
{
	uint64_t n = present(0, PLAIN), least, most, cursor = 0, shown = 0, entries;

	for (uint32_t w = 0; w < WRITERS; w++)
		n += tt->own[w].done != 0;
	for (uint32_t i = 0; i < COUNTERS; i++)
		n += value_of(m, i, true) != 0;
	least = n;
	most = n + (mortals ? MORTAL * WRITERS : 0);
	entries = stat_of(m).entries;
	if (ipcmap_scan(m, &cursor, NULL, 0, IPCMAP_SCAN_KEYS, count_one, &shown))
		torture_find(&tt->answers, "scan fails at rest");
	if (entries < least || entries > most || shown < least || shown > entries)
		torture_find(&tt->shown, "%llu entries, %llu shown, not from %llu to %llu",
			     (unsigned long long)entries, (unsigned long long)shown,
			     (unsigned long long)least, (unsigned long long)most);
}

static void set_limit(struct ipcmap *m, uint64_t limit)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.limit = limit;
	o.compress = IPCMAP_COMPRESS_OFF;
	if (ipcmap_tune(m, &o))
		torture_find(&tt->answers, "tune at rest fails");
}

/* Empty it, then see how many entries it takes; leaves it empty again. */
static uint64_t fill(struct ipcmap *m, uint64_t *ret_used)
{
	static unsigned char val[FILL];
	char key[32];
	uint64_t n;
	int r;

	if (ipcmap_clear(m) || ipcmap_compact(m, NULL, NULL))
		torture_find(&tt->answers, "clear or compact at rest fails");
	for (n = 0;; n++) {
		r = ipcmap_put(m, key, (size_t)sprintf(key, "fill-%llu", (unsigned long long)n),
			       val, sizeof(val), NULL);
		if (r)
			break;
	}
	if (r != IPCMAP_LIMIT)
		torture_find(&tt->answers, "the map is full: %d", r);
	if (ipcmap_clear(m) || ipcmap_compact(m, NULL, NULL))
		torture_find(&tt->answers, "clear or compact of the full map fails");
	*ret_used = stat_of(m).used;
	return n;
}

static uint64_t private_of(struct ipcmap *m)
{
	uint32_t n = stat_of(m).shards + 1;
	struct ipcmap_extent_counts *c = calloc(n, sizeof(*c));
	uint64_t sum = 0;

	if (ipcmap_inspect_extents(m, c, n))
		torture_find(&tt->answers, "inspect fails");
	for (uint32_t i = 0; i < n; i++)
		sum += c[i].n[IPCMAP_EXTENT_PRIVATE];
	free(c);
	return sum;
}

/* What it has lost of its memory shows beside a new map of the same kind. */
static void look_for_leaks(struct ipcmap *m)
{
	struct ipcmap_stat st = stat_of(m);
	uint64_t n, fresh_n, used, fresh_used;
	struct ipcmap *fresh;

	if (load_open(tt->fresh, IPCMAP_CREATE | IPCMAP_EXCL, tt->limit * 2, st.shards,
		      &fresh)) {
		torture_find(&tt->answers, "no map to compare with");
		return;
	}
	set_limit(m, tt->limit);
	set_limit(fresh, tt->limit);
	n = fill(m, &used);
	fresh_n = fill(fresh, &fresh_used);
	printf("    takes %llu entries, a new map %llu; empty it has %llu bytes, a new one "
	       "%llu\n",
	       (unsigned long long)n, (unsigned long long)fresh_n, (unsigned long long)used,
	       (unsigned long long)fresh_used);
	if (n * 100 < fresh_n * 98 || used > fresh_used + st.shards * 2 * st.extent_len)
		torture_find(&tt->findings, "memory is lost");
	if (private_of(m))
		torture_find(&tt->findings, "%llu private extents are left",
			     (unsigned long long)private_of(m));
	check(m, "emptied map: ");
	ipcmap_close(fresh);
	ipcmap_unlink(tt->fresh);
}

static void empty(struct ipcmap *m)
{
	char name[16], key[ORACLE_KEY];
	int r;

	for (uint32_t k = PLAIN * WRITERS; k < KEYS; k++) {
		r = ipcmap_del(m, key, oracle_key(keys, k, key));
		if (r && r != IPCMAP_NOTFOUND)
			torture_find(&tt->answers, "delete at rest: %d", r);
	}
	count(m, false);
	for (uint32_t w = 0; w < WORKERS; w++) {
		sprintf(name, "table-%u", w);
		r = ipcmap_snapshot_drop(m, name);
		if (r && r != IPCMAP_NOTFOUND)
			torture_find(&tt->answers, "drop at rest: %d", r);
	}
	if (stat_of(m).snapshot_len)
		torture_find(&tt->findings, "versions are left");
	look_for_leaks(m);
}

void torture_verify(bool last)
{
	struct ipcmap *m, *other;

	if (load_open(tt->name, 0, 0, 0, &m) || load_open(tt->other, 0, 0, 0, &other)) {
		torture_find(&tt->answers, "attach at rest fails");
		return;
	}
	check(m, "");
	check(other, "other map: ");
	look_at_locks(m);
	look_at_locks(other);
	for (uint32_t w = 0; w < WRITERS; w++)
		torture_recall(m, w, true);
	for (uint32_t w = 0; w < WORKERS; w++)
		torture_recall_table(m, w, true);
	recall_counters(m);
	if (ipcmap_del_prefix(m, "bulk-", 5, NULL))
		torture_find(&tt->answers, "del_prefix at rest fails");
	count(m, true);
	if (last)
		empty(m);
	ipcmap_close(other);
	ipcmap_close(m);
}
