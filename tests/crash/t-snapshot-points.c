/* SPDX-License-Identifier: MIT */
/*
 * t-snapshot-points.c - publish, roll back, drop and open are killed at each of their steps
 *
 * For every crash point that an operation passes a fresh map is made, a child starts the
 * operation and kills itself there. Then a read-only attach, which recovers nothing, and a
 * writable one look: the table is as before or as after, whole; check finds nothing; and when
 * all tables were dropped, every byte is free again. In between a successor, which publishes,
 * is killed in its turn.
 */
#include "../unit/kit.h"

#include "bell.h"
#include "crash.h"
#include "pin.h"

#include <signal.h>

#if defined(IM_CHECK) && IM_CHECK

#define NAMES 128u
#define POINTS 1024u
#define NESTED_EACH 5u /* every so many kills successors are killed too */
/* Under valgrind: one kill for each name, and so many more in each operation, spread. */
#define SPREAD 2u
#define NESTED_STEP T_AMOUNT(3u, 12u, 30u) /* points of a successor from kill to kill */

struct world {
	uint32_t points, kill_at;
	uint8_t seq[POINTS]; /* numbers of the names of the points that were passed, in order */
	uint32_t n_names, kills, nested;
	char name[NAMES][32];
	uint64_t empty; /* bytes used when nothing was published */
};

struct scenario {
	const char *name;
	void (*prepare)(struct ipcmap *m);
	void (*operate)(struct ipcmap *m);
	uint64_t before, after; /* what table "t" has, 0: nothing */
};

static struct world *w;
static const struct scenario *sc;
static const char *name;

static void at_point(const char *point)
{
	uint32_t i = 0;

	if (strncmp(point, "read.", 5) == 0)
		return;
	while (i < w->n_names && strcmp(w->name[i], point) != 0)
		i++;
	if (i == w->n_names && i < NAMES)
		snprintf(w->name[w->n_names++], sizeof(w->name[0]), "%s", point);
	if (w->points < POINTS)
		w->seq[w->points] = (uint8_t)i;
	if (++w->points == w->kill_at)
		kill(getpid(), SIGKILL);
}

static void watch(uint32_t kill_at)
{
	w->points = 0;
	w->kill_at = kill_at;
	im_crash_hook = at_point;
}

/* ---- tables that say which content they have ---- */

#define PACKS 1000u /* contents from here on are long, and compress to nearly nothing */

static size_t len_of(uint64_t id)
{
	return id % 3 && id < PACKS ? 40 : 13000;
}

static void content_of(unsigned char *val, uint64_t id)
{
	if (id < PACKS)
		kit_bytes(val, len_of(id), id);
	else
		memset(val, (int)id & 0xff, len_of(id));
}

static int store(struct ipcmap *m, const char *table, uint64_t id)
{
	static unsigned char val[13000];
	struct ipcmap_pair p[2] = {{"id", 2, &id, sizeof(id)}, {"val", 3, val, len_of(id)}};

	content_of(val, id);
	return ipcmap_snapshot_publish(m, table, p, 2, NULL, NULL, 0);
}

static void must_store(struct ipcmap *m, const char *table, uint64_t from, uint64_t to)
{
	for (; from <= to; from++)
		T_MUST(store(m, table, from) == 0);
}

/* The id of the content of a version, 0: the current one; 0: no such version. */
static uint64_t id_at(struct ipcmap *m, const char *table, uint64_t version)
{
	unsigned char want[13000];
	struct ipcmap_snapshot *s;
	const void *v;
	uint64_t id;
	size_t len;
	int r = ipcmap_snapshot_open(m, table, version, &s);

	if (r == IPCMAP_NOTFOUND)
		return 0;
	T_MUST(r == 0);
	T_MUST(ipcmap_snapshot_count(s) == 2);
	T_MUST(ipcmap_snapshot_get(s, "id", 2, &v, &len) == 0 && len == sizeof(id));
	memcpy(&id, v, sizeof(id));
	content_of(want, id);
	T_MUST(ipcmap_snapshot_get(s, "val", 3, &v, &len) == 0 && len == len_of(id));
	T_MUST(memcmp(v, want, len) == 0);
	ipcmap_snapshot_close(s);
	return id;
}

static uint64_t id_of(struct ipcmap *m, const char *table)
{
	return id_at(m, table, 0);
}

/* ---- the operations ---- */

static void none(struct ipcmap *m)
{
	(void)m;
}

static void one(struct ipcmap *m)
{
	must_store(m, "t", 1, 1);
}

static void ten(struct ipcmap *m)
{
	must_store(m, "t", 1, 10);
}

/* Somebody sleeps until there is another version, and somebody for a table's first. */
static void waited_for(struct ipcmap *m)
{
	struct im_area a;

	one(m);
	im_area_of(m->seg, &a);
	im_bell_listen(&a.tables[0].bell);
	im_bell_listen(&a.s->made);
}

/* Another table has taken nearly all that versions may take. */
static void crowded(struct ipcmap *m)
{
	static unsigned char big[200000];
	struct ipcmap_pair p = {"k", 1, big, sizeof(big)};

	kit_bytes(big, sizeof(big), 1);
	must_store(m, "t", 1, 6);
	T_MUST(ipcmap_snapshot_publish(m, "o", &p, 1, NULL, NULL, 0) == 0);
	T_MUST(ipcmap_snapshot_publish(m, "o", &p, 1, NULL, NULL, 0) == 0);
	must_store(m, "t", 7, 8);
}

/* No entry is unused; some are of dropped tables, one of which has a version leaving. */
static void no_entry_left(struct ipcmap *m)
{
	struct ipcmap_snapshot *held;
	char table[16];

	for (unsigned i = 0; i < m->seg->user_geo[FMT_GEO_TABLES]; i++) {
		sprintf(table, "x%u", i);
		must_store(m, table, 1, 1);
	}
	T_MUST(ipcmap_snapshot_open(m, "x5", 0, &held) == 0);
	for (unsigned i = 5; i < 9; i++) {
		sprintf(table, "x%u", i);
		T_MUST(ipcmap_snapshot_drop(m, table) == 0);
	}
	ipcmap_snapshot_close(held);
}

static void publish_1(struct ipcmap *m)
{
	must_store(m, "t", 1, 1);
}

static void publish_2(struct ipcmap *m)
{
	must_store(m, "t", 2, 2);
}

static void publish_12(struct ipcmap *m)
{
	must_store(m, "t", 12, 12);
}

/* The version before it is stored compressed. */
static void packing(struct ipcmap *m)
{
	must_store(m, "t", PACKS + 1, PACKS + 4);
}

static void publish_pack(struct ipcmap *m)
{
	must_store(m, "t", PACKS + 5, PACKS + 5);
}

static void roll_back(struct ipcmap *m)
{
	T_MUST(ipcmap_snapshot_rollback(m, "t", 6, NULL) == 0);
}

static void drop(struct ipcmap *m)
{
	T_MUST(ipcmap_snapshot_drop(m, "t") == 0);
}

static void open_and_close(struct ipcmap *m)
{
	id_of(m, "t");
}

/* A child of the one that opened holds it for itself, its version leaving. */
static void hold_in_child(struct ipcmap *m)
{
	struct ipcmap_snapshot *s;
	const void *v;
	size_t len;
	int status;
	pid_t pid;

	T_MUST(ipcmap_snapshot_open(m, "t", 0, &s) == 0);
	must_store(m, "t", 11, 20);
	pid = fork();
	if (pid == 0) {
		if (ipcmap_snapshot_get(s, "id", 2, &v, &len))
			_exit(1);
		ipcmap_snapshot_close(s);
		_exit(0);
	}
	T_MUST(waitpid(pid, &status, 0) == pid);
	if (WIFSIGNALED(status))
		kill(getpid(), SIGKILL); /* it was the child's turn */
	T_MUST(status == 0);
	ipcmap_snapshot_close(s);
}

static const struct scenario scenarios[] = {
	{"publish a new table", none, publish_1, 0, 1},
	{"publish the second version", one, publish_2, 1, 2},
	{"publish the eleventh, several extents", ten, publish_12, 10, 12},
	{"publish where others must go", crowded, publish_12, 8, 12},
	{"publish in a dropped table's entry", no_entry_left, publish_1, 0, 1},
	{"publish what is waited for", waited_for, publish_2, 1, 2},
	{"drop what is waited for", waited_for, drop, 1, 0},
	{"publish, the one before is packed", packing, publish_pack, PACKS + 4, PACKS + 5},
	{"roll back", ten, roll_back, 10, 6},
	{"drop", ten, drop, 10, 0},
	{"open and close", ten, open_and_close, 10, 10},
	{"hold in a forked child", ten, hold_in_child, 10, 20},
};

/* ---- one kill ---- */

static int child_prepare(void *arg)
{
	struct ipcmap *m;

	(void)arg;
	ipcmap_unlink(name);
	m = kit_made(name, KIT_MIB, KIT_MIB, 1);
	w->empty = kit_stat(m).used;
	sc->prepare(m);
	ipcmap_close(m);
	return 0;
}

static int child_operate(void *arg)
{
	struct ipcmap *m;

	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	watch(*(uint32_t *)arg);
	sc->operate(m);
	im_crash_hook = NULL;
	return 0;
}

static bool may_be(uint64_t id)
{
	/* hold_in_child publishes ten versions itself */
	return id == sc->before || id == sc->after ||
	       (sc->after == 20 && id >= sc->before && id <= 20);
}

/* A version that is shown once as kept can be opened, and is whole. */
static int is_of_use(void *arg, const struct ipcmap_snapshot_info *i)
{
	static struct ipcmap_snapshot_info last;

	T_MUST(i->kept || i->holders);
	T_MUST(!i->kept || !last.kept || strcmp(last.table, i->table) != 0 ||
	       last.version != i->version);
	last = *i;
	if (i->kept && strcmp(i->table, "t") == 0)
		T_MUST(id_at(arg, i->table, i->version) != 0);
	return 0;
}

/* Bytes of chains that hold versions. */
static uint64_t chains_len(const struct ipcmap *m)
{
	const struct im_seg *seg = m->seg;
	uint64_t n = 0;

	for (uint32_t i = 0; i < im_space_fresh(seg); i++) {
		uint64_t word = seg->table[i].word;

		if (fmt_word_state(word) == FMT_LARGE && fmt_word_who(word) == FMT_WHO_SNAP)
			for (uint32_t ext = i; ext < seg->n_extents; ext = seg->table[ext].next)
				n += seg->extent_len;
	}
	return n;
}

static int child_look(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	uint64_t id;

	(void)arg;
	o.flags = IPCMAP_RDONLY;
	T_MUST(ipcmap_open(name, &o, &m) == 0);
	/* what nobody can open and nobody holds is neither shown nor counted */
	T_MUST(ipcmap_snapshot_list(m, is_of_use, m) == 0);
	T_MUST(kit_stat(m).snapshot_len <= chains_len(m));
	id = id_of(m, "t");
	if (!may_be(id))
		fprintf(stderr, "\n%s: point %u: content %d", sc->name, w->kill_at, (int)id);
	return !may_be(id);
}

static int child_succeed(void *arg)
{
	struct ipcmap *m;

	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	watch(*(uint32_t *)arg);
	T_MUST(store(m, "next", 5) == 0);
	im_crash_hook = NULL;
	return 0;
}

static int drop_one(void *arg, const struct ipcmap_snapshot_info *i)
{
	int r = ipcmap_snapshot_drop(arg, i->table);

	return r == IPCMAP_NOTFOUND ? 0 : r;
}

static int child_recover(void *arg)
{
	struct ipcmap *m;
	uint64_t id;

	(void)arg;
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	T_MUST(kit_sound(m));
	id = id_of(m, "t");
	T_MUST(may_be(id));
	T_MUST(store(m, "more", 3) == 0 && id_of(m, "more") == 3);
	T_MUST(kit_sound(m) && id_of(m, "t") == id);
	T_MUST(ipcmap_snapshot_list(m, drop_one, m) == 0);
	T_MUST(kit_sound(m));
	if (kit_stat(m).used != w->empty)
		fprintf(stderr, "\n%s: point %u: %llu bytes leak", sc->name, w->kill_at,
			(unsigned long long)(kit_stat(m).used - w->empty));
	T_MUST(kit_stat(m).used == w->empty);
	ipcmap_close(m);
	return 0;
}

static bool kill_successors(uint32_t at)
{
	uint32_t points = 1000;

	for (uint32_t k = 1; k <= points; k += NESTED_STEP) {
		uint32_t whole = 0;

		if (!t_ok(t_run(child_prepare, NULL)) || !t_killed(t_run(child_operate, &at)))
			return false;
		if (k == 1) {
			if (!t_ok(t_run(child_succeed, &whole)))
				return false;
			points = w->points;
			continue;
		}
		if (!t_killed(t_run(child_succeed, &k)) || !t_ok(t_run(child_look, NULL)) ||
		    !t_ok(t_run(child_recover, NULL)))
			return false;
		w->nested++;
	}
	return true;
}

/* Which kills of an operation are tried; @seq: the names of its points. */
static bool is_tried(const uint8_t *seq, uint32_t at, uint32_t points)
{
	static bool seen[NAMES];
	bool first = !seen[seq[at - 1]];

	seen[seq[at - 1]] = true;
	return !T_VALGRIND || first || at % (points / SPREAD + 1) == 0;
}

static void run_scenario(const struct scenario *which)
{
	uint32_t points, at = 0, tried = 0;
	uint8_t seq[POINTS];

	sc = which;
	CU_ASSERT_FATAL(t_ok(t_run(child_prepare, NULL)));
	CU_ASSERT_FATAL(t_ok(t_run(child_operate, &at)));
	points = w->points;
	CU_ASSERT_FATAL(points <= POINTS);
	memcpy(seq, w->seq, sizeof(seq));
	CU_ASSERT(t_ok(t_run(child_look, NULL)) && t_ok(t_run(child_recover, NULL)));
	for (at = 1; at <= points; at++) {
		if (!is_tried(seq, at, points))
			continue;
		CU_ASSERT_FATAL(t_ok(t_run(child_prepare, NULL)));
		CU_ASSERT(t_killed(t_run(child_operate, &at)));
		CU_ASSERT_FATAL(t_ok(t_run(child_look, NULL)));
		CU_ASSERT_FATAL(t_ok(t_run(child_recover, NULL)));
		tried++;
		if (at % NESTED_EACH == 1)
			CU_ASSERT_FATAL(kill_successors(at));
	}
	w->kills += tried;
	printf("\n    %-40s %4u points, %4u tried ", sc->name, points, tried);
	CU_ASSERT(points >= 4);
}

static bool was_passed(const char *point)
{
	for (uint32_t i = 0; i < w->n_names; i++)
		if (strcmp(w->name[i], point) == 0)
			return true;
	fprintf(stderr, "\ncrash point %s was never passed", point);
	return false;
}

static void snapshot_points__lose_and_leak_nothing(void)
{
	static const char *const all[] = {
		"keep.locked",	     "keep.leaving",   "keep.freed",	   "keep.gone",
		"keep.leave",	     "keep.left",      "pin.claimed",	   "pin.told",
		"pin.cleared",	     "pin.freed",      "snapshot.disowned", "snapshot.named",
		"snapshot.ready",    "snapshot.filled", "snapshot.switched", "snapshot.dropped",
		"view.pinned",	     "view.again",     "snapshot.ring",	   "bell.rung",
		"snapshot.pack",     "snapshot.packing", "snapshot.packed",
	};

	w = t_shared(sizeof(*w));
	name = T_NAME;
	for (unsigned i = 0; i < ARRAY_LEN(scenarios); i++)
		run_scenario(&scenarios[i]);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		CU_ASSERT(was_passed(all[i]));
	printf("\n    %u kills, %u of successors ", w->kills, w->nested);
	ipcmap_unlink(name);
	t_shared_free(w, sizeof(*w));
}

#else

static void snapshot_points__lose_and_leak_nothing(void)
{
	t_skip("this build has no crash points");
}

#endif

static CU_TestInfo tests[] = {
	{"a kill at any step loses and leaks nothing [G4]",
	 snapshot_points__lose_and_leak_nothing},
	CU_TEST_INFO_NULL,
};

T_SUITE("snapshot points", tests)
