/* SPDX-License-Identifier: MIT */
/*
 * t-judge.c - one case for each thing that repair decides: what is kept, what goes, and what a
 * new segment takes over beside its entries
 *
 * t-repair.c has whole repairs, and damage at random, which seldom has these in it.
 */
#include "kit.h"

#include "chain.h"
#include "redo.h"

static const char *name;
static struct ipcmap *m;

static void begin(const char *path, uint64_t limit, unsigned shards)
{
	name = path;
	m = kit_made(name, limit, limit, shards);
}

/* By which nothing is lost, so that a repair has something to do. */
static void spoil_books(void)
{
	m->shards[0].live += 16;
}

/* Closes the map, repairs it, and opens what is there then. */
static struct ipcmap_repair repaired(unsigned flags)
{
	struct ipcmap_repair_options how = IPCMAP_REPAIR_INIT;
	struct ipcmap_repair s = {0};
	char why[300] = "";

	ipcmap_close(m);
	how.flags = flags | IPCMAP_REPAIR_DISCARD;
	how.why = why;
	how.why_cap = sizeof(why);
	CU_ASSERT(ipcmap_repair(name, &how, &s) == 0 && s.replaced);
	if (*why)
		fprintf(stderr, "\n  %s\n", why);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	return s;
}

/* ---- slots and entries ---- */

static struct im_entry entry_of(uint32_t ref)
{
	struct im_entry e;

	CU_ASSERT_FATAL(im_entry_view(m->seg, ref, &e));
	return e;
}

/* The bucket and the slot of a key. */
static struct fmt_bucket *slot_of(const char *key, unsigned *ret_i)
{
	uint64_t n = m->shards[0].geometry & FMT_BUCKETS_MASK;

	for (uint64_t at = 0; at < n; at++) {
		struct fmt_bucket *b = im_bucket(m, im_map_dir(m, 0), at);

		for (unsigned i = 0; i < FMT_SLOTS; i++) {
			struct im_entry e;

			if (!im_chain_tag(b, i))
				continue;
			e = entry_of(b->ref[i]);
			if (e.key_len == strlen(key) &&
			    memcmp(im_entry_key(&e), key, e.key_len) == 0) {
				*ret_i = i;
				return b;
			}
		}
	}
	abort();
}

static uint32_t ref_of(const char *key)
{
	unsigned i;
	struct fmt_bucket *b = slot_of(key, &i);

	return b->ref[i];
}

static unsigned char *bytes_of(const unsigned char *p)
{
	return m->seg->base + (p - m->seg->base);
}

/* Nobody writes 2^47 times: a repaired map with such a version would not be sound. */
static void judge__version_that_cannot_be_goes(void)
{
	for (unsigned salvage = 0; salvage < 2; salvage++) {
		struct ipcmap_repair s;
		uint64_t *word;

		begin(T_NAME, KIT_MIB, 1);
		CU_ASSERT(kit_put(m, "sound", "v") == 0 && kit_put(m, "key", "v") == 0);
		word = (uint64_t *)(void *)bytes_of(entry_of(ref_of("key")).at);
		*word |= UINT64_C(3) << 46;
		s = repaired(salvage ? IPCMAP_REPAIR_SALVAGE : 0);
		CU_ASSERT(s.dropped == 1 && s.kept == 1);
		CU_ASSERT(ipcmap_exists(m, "sound", 5) == 1 && ipcmap_exists(m, "key", 3) == 0);
		kit_gone(m);
	}
}

/* The newer one is kept, whichever comes first. */
static void judge__of_two_versions_the_newer_is_kept(void)
{
	for (unsigned newer_first = 0; newer_first < 2; newer_first++) {
		struct fmt_bucket *b;
		uint32_t old, new;
		unsigned i;

		begin(T_NAME, KIT_MIB, 1);
		CU_ASSERT(kit_put(m, "key", "old") == 0);
		old = ref_of("key");
		CU_ASSERT(kit_put(m, "key", "new") == 0);
		new = ref_of("key");
		b = slot_of("key", &i);
		CU_ASSERT_FATAL(new != old && i + 1 < FMT_SLOTS);
		b->ref[i] = newer_first ? new : old;
		b->ref[i + 1] = newer_first ? old : new;
		im_chain_set_tag(b, i + 1, im_chain_tag(b, i));
		CU_ASSERT(repaired(0).dropped == 1);
		CU_ASSERT(kit_is(m, "key", "new") && kit_entries(m) == 1);
		kit_gone(m);
	}
}

/* One of the two would be the other's bytes. */
static void judge__extents_of_two_values_are_neithers(void)
{
	static char val[9000];
	struct im_entry one, two;

	begin(T_NAME, KIT_MIB, 1);
	CU_ASSERT(ipcmap_put(m, "one", 3, val, sizeof(val), NULL) == 0);
	CU_ASSERT(ipcmap_put(m, "two", 3, val, sizeof(val), NULL) == 0);
	one = entry_of(ref_of("one"));
	two = entry_of(ref_of("two"));
	CU_ASSERT(one.flags & two.flags & FMT_F_LARGE);
	memcpy(bytes_of(two.at) + two.key_off - 16, one.at + one.key_off - 16, 16);
	CU_ASSERT(repaired(0).dropped == 2);
	CU_ASSERT(kit_absent(m, "one") && kit_absent(m, "two") && kit_entries(m) == 0);
	kit_gone(m);
}

static void judge__value_that_does_not_unpack_goes(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	static char val[1500];
	struct im_entry e;

	begin(T_NAME, KIT_MIB, 1);
	o.compress = 100;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
	CU_ASSERT(ipcmap_put(m, "key", 3, val, sizeof(val), NULL) == 0);
	e = entry_of(ref_of("key"));
	CU_ASSERT(e.flags & FMT_F_PACKED);
	memset(bytes_of(im_entry_val(&e)), 0xff, e.val_len);
	CU_ASSERT(repaired(0).dropped == 1);
	CU_ASSERT(kit_absent(m, "key") && kit_entries(m) == 0);
	kit_gone(m);
}

static void judge__what_was_cleared_stays_away(void)
{
	begin(T_NAME, KIT_MIB, 1);
	for (uint64_t i = 0; i < 100; i++)
		CU_ASSERT(kit_put(m, kit_key(i).text, "cleared") == 0);
	CU_ASSERT(ipcmap_clear(m) == 0);
	CU_ASSERT(kit_put(m, "later", "v") == 0);
	spoil_books();
	CU_ASSERT(repaired(0).kept == 1);
	for (uint64_t i = 0; i < 100; i++)
		CU_ASSERT(kit_absent(m, kit_key(i).text));
	CU_ASSERT(kit_is(m, "later", "v") && kit_entries(m) == 1);
	kit_gone(m);
}

/* It went with its newest version; the log has the one before still. */
static void judge__older_version_of_the_expired_stays_away(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_repair s;

	kit_clock_on();
	begin(T_NAME, KIT_MIB, 1);
	how.ttl_ns = KIT_SEC;
	CU_ASSERT(kit_put(m, "stays", "v") == 0);
	CU_ASSERT(kit_put(m, "key", "without a life") == 0);
	CU_ASSERT(ipcmap_put(m, "key", 3, "v", 1, &how) == 0);
	kit_time += 10 * KIT_SEC;
	for (uint64_t at = m->shards[0].geometry & FMT_BUCKETS_MASK; at-- > 0;) {
		struct fmt_bucket *b = im_bucket(m, im_map_dir(m, 0), at);

		b->tags[0] = 0;
		b->tags[1] = (uint64_t)UINT32_MAX << FMT_LINK_SHIFT; /* leads nowhere */
	}
	s = repaired(IPCMAP_REPAIR_SALVAGE);
	CU_ASSERT(s.salvaged == 1 && s.kept == 1);
	CU_ASSERT(kit_absent(m, "key") && kit_is(m, "stays", "v"));
	kit_gone(m);
	kit_clock_off();
}

/* Its writer died, and nobody took the lock since. */
static void judge__armed_list_is_carried_out(void)
{
	struct fmt_redo *list;

	begin(T_NAME, KIT_MIB, 2);
	CU_ASSERT(kit_put(m, "key", "v") == 0);
	list = &m->shards[1].redo;
	im_redo_list_start(list);
	im_redo_list_set(m->seg, list, &m->shards[1].cleaned, 77);
	list->seq |= 1;
	spoil_books();
	CU_ASSERT(repaired(0).kept == 1);
	CU_ASSERT(m->shards[1].cleaned == 77);
	kit_gone(m);
}

/* ---- what is taken over ---- */

static void judge__versions_go_on(void)
{
	uint64_t last;

	begin(T_NAME, KIT_MIB, 1);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT(kit_put(m, "key", "v") == 0);
	last = kit_version(m, "key");
	CU_ASSERT(ipcmap_del(m, "key", 3) == 0);
	spoil_books();
	CU_ASSERT(repaired(0).kept == 0);
	CU_ASSERT(kit_put(m, "key", "v") == 0 && kit_version(m, "key") > last);
	kit_gone(m);
}

static void judge__names_of_dropped_tables_go_on(void)
{
	const struct ipcmap_pair pair = {"k", 1, "v", 1};
	uint64_t last = 0, next = 0;

	begin(T_NAME, KIT_MIB, 1);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(ipcmap_snapshot_publish(m, "table", &pair, 1, &last, NULL, 0) == 0);
	CU_ASSERT(ipcmap_snapshot_drop(m, "table") == 0);
	spoil_books();
	repaired(0);
	CU_ASSERT(ipcmap_snapshot_publish(m, "table", &pair, 1, &next, NULL, 0) == 0);
	CU_ASSERT(last == 3 && next == 4);
	kit_gone(m);
}

/* Everything is kept, and the limit is what it was. */
static void judge__more_than_the_limit_is_kept(void)
{
	char val[300] = "";
	uint64_t n = 0;
	int r;

	begin(T_NAME, KIT_MIB, 1);
	do
		r = ipcmap_put(m, kit_key(n).text, kit_key(n).len, val, sizeof(val), NULL);
	while (r == 0 && ++n);
	CU_ASSERT(r == IPCMAP_LIMIT && kit_set_limit(m, KIT_MIB / 2) == 0);
	spoil_books();
	CU_ASSERT(repaired(0).kept == n);
	CU_ASSERT(kit_entries(m) == n && kit_stat(m).limit == KIT_MIB / 2);
	kit_gone(m);
}

/* ---- a child that was forked meanwhile ---- */

static struct t_gate go;
static pid_t child;

static int live_on(void *arg)
{
	(void)arg;
	t_gate_wait(&go);
	return 0;
}

static void fork_once(void *arg, const char *line)
{
	(void)arg;
	(void)line;
	if (!child)
		child = t_run(live_on, NULL);
}

static void judge__child_forked_meanwhile_keeps_nobody_out(void)
{
	struct ipcmap_repair_options how = IPCMAP_REPAIR_INIT;
	struct ipcmap_repair s;

	begin(T_NAME, KIT_MIB, 1);
	CU_ASSERT(kit_put(m, "key", "v") == 0);
	spoil_books();
	ipcmap_close(m);
	t_gate_open(&go);
	child = 0;
	how.flags = IPCMAP_REPAIR_DRY_RUN;
	how.report = fork_once;
	CU_ASSERT(ipcmap_repair(name, &how, &s) == 0 && child);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	t_gate_pass(&go);
	CU_ASSERT(t_ok(child));
	t_gate_close(&go);
	m->shards[0].live -= 16;
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"a version that cannot be goes", judge__version_that_cannot_be_goes},
	{"of two versions of a key the newer is kept",
	 judge__of_two_versions_the_newer_is_kept},
	{"extents that two values claim are neither's",
	 judge__extents_of_two_values_are_neithers},
	{"a value that does not unpack goes", judge__value_that_does_not_unpack_goes},
	{"what was cleared stays away", judge__what_was_cleared_stays_away},
	{"an older version of what has expired stays away",
	 judge__older_version_of_the_expired_stays_away},
	{"an armed list is carried out", judge__armed_list_is_carried_out},
	{"versions of deleted keys are not used again", judge__versions_go_on},
	{"names of dropped tables go on", judge__names_of_dropped_tables_go_on},
	{"more than the limit is kept", judge__more_than_the_limit_is_kept},
	{"a child forked meanwhile keeps nobody out",
	 judge__child_forked_meanwhile_keeps_nobody_out},
	CU_TEST_INFO_NULL,
};
T_SUITE("judge", tests)
