/* SPDX-License-Identifier: MIT */
/*
 * t-snapshot-pack.c - old versions are stored compressed: what of, when, and seen by whom
 */
#include "kit.h"

#include "crash.h"
#include "keep.h"
#include "snapshot.h"

#define LEN 60000u

static struct ipcmap *m;

/* One key whose value says what it is, and packs well unless @noise. */
static int publish(const char *table, uint64_t id, bool noise)
{
	static unsigned char val[LEN];
	struct ipcmap_pair p = {"k", 1, val, sizeof(val)};

	if (noise)
		kit_bytes(val, sizeof(val), id);
	else
		memset(val, (int)id, sizeof(val));
	memcpy(val, &id, sizeof(id));
	return ipcmap_snapshot_publish(m, table, &p, 1, NULL, NULL, 0);
}

static uint64_t id_in(struct ipcmap_snapshot *s)
{
	const unsigned char *v;
	const void *at;
	uint64_t id;
	size_t len = 0;

	CU_ASSERT_FATAL(ipcmap_snapshot_get(s, "k", 1, &at, &len) == 0 && len == LEN);
	v = at;
	memcpy(&id, v, sizeof(id));
	for (size_t i = sizeof(id); i < len && id < 1000; i++)
		if (v[i] != (unsigned char)id)
			return UINT64_MAX;
	return id;
}

static struct ipcmap_snapshot *opened(struct ipcmap *map, const char *table, uint64_t version)
{
	struct ipcmap_snapshot *s = NULL;

	CU_ASSERT_FATAL(ipcmap_snapshot_open(map, table, version, &s) == 0);
	return s;
}

static uint64_t id_of(struct ipcmap *map, uint64_t version)
{
	struct ipcmap_snapshot *s = opened(map, "t", version);
	uint64_t id = id_in(s);

	CU_ASSERT(ipcmap_snapshot_version(s) == version || !version);
	ipcmap_snapshot_close(s);
	return id;
}

/* Extents of a version that can be opened; 0: there is none. @ret_stored: compressed bytes. */
static uint32_t extents_of(uint64_t version, uint64_t *ret_stored)
{
	struct im_area a;
	struct im_kept v;
	uint32_t n = 0;

	*ret_stored = 0;
	im_area_of(m->seg, &a);
	for (uint32_t i = 0; i < im_keep_top(&a); i++) {
		if (!im_keep_read(&a, i, &v) || v.state != FMT_KEPT || v.version != version)
			continue;
		n += v.n;
		*ret_stored = v.stored;
	}
	return n;
}

static bool is_packed(uint64_t version)
{
	uint64_t stored;

	return extents_of(version, &stored) == 1 && stored && stored < 1000;
}

static bool is_raw(uint64_t version)
{
	uint64_t stored;

	return extents_of(version, &stored) > 1 && !stored;
}

static void pack__old_versions_take_less(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *ro;
	uint64_t used;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish("t", 1, false) == 0 && is_raw(1));
	used = kit_stat(m).snapshot_len;
	CU_ASSERT(publish("t", 2, false) == 0 && is_packed(1) && is_raw(2));
	CU_ASSERT(kit_stat(m).snapshot_len < used + used / 4);
	for (uint64_t id = 3; id <= 8; id++)
		CU_ASSERT(publish("t", id, false) == 0);
	CU_ASSERT(kit_stat(m).snapshot_len < 2 * used && kit_sound(m));
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
	for (uint64_t v = 1; v <= 8; v++) {
		CU_ASSERT(id_of(m, v) == v && id_of(ro, v) == v);
		CU_ASSERT(v == 8 ? is_raw(v) : is_packed(v));
	}
	CU_ASSERT(kit_sound(ro));
	ipcmap_close(ro);
	CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 3, NULL) == 0);
	CU_ASSERT(id_of(m, 0) == 3 && is_raw(9) && is_packed(8));
	kit_gone(m);
}

static void pack__what_saves_nothing_stays(void)
{
	struct ipcmap_pair p = {"k", 1, "v", 1};
	uint64_t stored;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish("t", 1000, true) == 0 && publish("t", 1001, true) == 0);
	CU_ASSERT(is_raw(1) && is_raw(2) && id_of(m, 1) == 1000);
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(extents_of(3, &stored) == 1 && !stored); /* one extent is the least there is */
	kit_gone(m);
}

static void pack__what_is_held_stays(void)
{
	struct ipcmap_snapshot *s;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish("t", 1, false) == 0);
	s = opened(m, "t", 0);
	CU_ASSERT(publish("t", 2, false) == 0 && is_raw(1) && id_in(s) == 1);
	ipcmap_snapshot_close(s);
	CU_ASSERT(publish("t", 3, false) == 0 && is_raw(1) && is_packed(2));
	kit_gone(m);
}

#if defined(IM_CHECK) && IM_CHECK
static const char *stop_at;
static unsigned stop_count;
static struct ipcmap_snapshot *held;
static void (*then)(void);

static void hook(const char *point)
{
	if (strcmp(point, stop_at) != 0 || --stop_count)
		return;
	im_crash_hook = NULL;
	then();
}

static void at(const char *point, unsigned nth, void (*fn)(void))
{
	stop_at = point;
	stop_count = nth;
	then = fn;
	im_crash_hook = hook;
}

static void hold_first(void)
{
	held = opened(m, "t", 1);
}

static unsigned kept, held_only;

static int tally(void *arg, const struct ipcmap_snapshot_info *i)
{
	kept += i->kept;
	held_only += !i->kept && i->holders == 1;
	(void)arg;
	return 0;
}

static void pack__held_at_the_last_moment_both_forms_are_there(void)
{
	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish("t", 1, false) == 0);
	at("snapshot.packing", 1, hold_first);
	CU_ASSERT(publish("t", 2, false) == 0);
	CU_ASSERT_FATAL(held != NULL);
	CU_ASSERT(id_in(held) == 1 && is_packed(1) && id_of(m, 1) == 1);
	kept = held_only = 0;
	CU_ASSERT(ipcmap_snapshot_list(m, tally, NULL) == 0 && kept == 2 && held_only == 1);
	CU_ASSERT(kit_sound(m));
	/* what it holds is not used again */
	for (uint64_t id = 3; id < 12; id++)
		CU_ASSERT(publish("t", id, true) == 0 || id > 5);
	CU_ASSERT(id_in(held) == 1);
	ipcmap_snapshot_close(held);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t") == 0 && kit_stat(m).snapshot_len == 0);
	kit_gone(m);
}

/* Version 1 lies behind two free places, is old and not compressed. */
static void prepare(void)
{
	struct ipcmap_pair p = {"k", 1, "v", 1};
	struct ipcmap_snapshot *s;

	CU_ASSERT(ipcmap_snapshot_publish(m, "x", &p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(ipcmap_snapshot_publish(m, "y", &p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(publish("t", 1, false) == 0);
	s = opened(m, "t", 0);
	CU_ASSERT(publish("t", 2, false) == 0 && is_raw(1));
	ipcmap_snapshot_close(s);
	CU_ASSERT(ipcmap_snapshot_drop(m, "x") == 0 && ipcmap_snapshot_drop(m, "y") == 0);
}

static bool packed_in_a_walk;

static void pack_now(void)
{
	uint64_t was_held = im_tls.held;
	struct im_wait wait;
	struct im_keep k;
	uint32_t table = 2; /* after "x" and "y" */

	im_wait_start(m->seg, IM_FOREVER, &wait);
	im_keep_init(m, &k, &wait);
	im_snapshot_pack(m, &k, table, 2);
	packed_in_a_walk = is_packed(1);
	im_tls.held = was_held;
}

/* The walk has passed the place that it goes to, and comes to the one that it leaves. */
static void pack__a_walk_misses_nothing(void)
{
	uint64_t version = 0;
	struct im_area a;

	for (unsigned what = 0; what < 3; what++) {
		m = kit_made(T_NAME, KIT_MIB, 0, 0);
		prepare();
		im_area_of(m->seg, &a);
		CU_ASSERT(a.kept[2].version == 1 && a.kept[2].state == FMT_KEPT &&
			  a.kept[0].state == FMT_KEPT_FREE);
		packed_in_a_walk = false;
		/* gather() reads what is not free twice, and "x" and "y" are free */
		at(what ? "read.version" : "read.walk", 3, pack_now);
		if (what == 0) {
			CU_ASSERT(id_of(m, 1) == 1);
		} else if (what == 1) {
			CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 0, &version) == 0);
			CU_ASSERT(version == 3 && id_of(m, 0) == 1);
		} else {
			kept = held_only = 0;
			CU_ASSERT(ipcmap_snapshot_list(m, tally, NULL) == 0);
			CU_ASSERT(kept == 2 && held_only == 0);
		}
		im_crash_hook = NULL;
		CU_ASSERT(packed_in_a_walk);
		kit_gone(m);
	}
}
#endif

static void ignore(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

static void pack__hostile_fields_end_in_errors(void)
{
	static const uint64_t odd[] = {1, 7, 100, 59999, UINT32_MAX, UINT64_MAX};
	struct ipcmap_snapshot *s;
	struct im_area a;
	struct im_kept v;
	uint32_t slot = 0;
	uint64_t x = 77;
	int r;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish("t", 1, false) == 0 && publish("t", 2, false) == 0);
	im_area_of(m->seg, &a);
	while (!im_keep_read(&a, slot, &v) || !v.stored)
		slot++;
	for (unsigned i = 0; i < ARRAY_LEN(odd); i++) {
		a.kept[slot].stored = odd[i];
		r = ipcmap_snapshot_open(m, "t", 1, &s);
		CU_ASSERT(r == IPCMAP_CORRUPT);
		CU_ASSERT(ipcmap_check(m, ignore, NULL) != 0);
		a.kept[slot].stored = v.stored;
		a.kept[slot].len = odd[i];
		r = ipcmap_snapshot_open(m, "t", 1, &s);
		CU_ASSERT(r == IPCMAP_CORRUPT);
		a.kept[slot].len = v.len;
	}
	for (unsigned i = 0; i < 2000; i++) {
		unsigned char *b = im_seg_extent(m->seg, v.first.extent), was;
		uint64_t off = kit_below(&x, v.stored);

		was = b[off];
		b[off] = (unsigned char)(was ^ (1 + kit_below(&x, 255)));
		r = ipcmap_snapshot_open(m, "t", 1, &s);
		if (r == 0) {
			const void *val;
			size_t len;

			ipcmap_snapshot_get(s, "k", 1, &val, &len);
			ipcmap_snapshot_close(s);
		}
		CU_ASSERT(r == 0 || r == IPCMAP_CORRUPT);
		b[off] = was;
	}
	a.kept[slot].stored = v.stored;
	CU_ASSERT(id_of(m, 1) == 1);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"old versions take less", pack__old_versions_take_less},
	{"what saves nothing stays", pack__what_saves_nothing_stays},
	{"what is held stays", pack__what_is_held_stays},
#if defined(IM_CHECK) && IM_CHECK
	{"held at the last moment, both forms are there",
	 pack__held_at_the_last_moment_both_forms_are_there},
	{"a walk misses nothing", pack__a_walk_misses_nothing},
#endif
	{"hostile fields end in errors", pack__hostile_fields_end_in_errors},
	CU_TEST_INFO_NULL,
};

T_SUITE("snapshot pack", tests)
