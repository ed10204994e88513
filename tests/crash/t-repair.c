/* SPDX-License-Identifier: MIT */
/*
 * t-repair.c - repair is killed at each of its steps; the map is as it was, or repaired
 *
 * A damaged map is made once and kept as bytes. A child repairs it and is killed at one of the
 * points it passes; the name must lead to the very bytes that were there, or to a sound map
 * with what was to be kept. The next repair must end well in both cases and leave nothing
 * behind. A group whose writer was killed is repaired whole. Rings and leases of the dead are
 * left out, and what they stood for works in the new map.
 */
#include "load.h"
#include "map.h"
#include "points.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define KEYS 120u
#define NAMES 96u
#define EACH T_AMOUNT(2u, 1u, 1u) /* kills at points of one name */

static const char *name, *path;

static void beside(const char *suffix, char p[300])
{
	snprintf(p, 300, "%s%s", path, suffix);
}

static void fresh_names(void)
{
	char p[300];

	beside(".damaged", p);
	unlink(p);
	beside(".repair", p);
	unlink(p);
	unlink(path);
}

#if HAVE_POINTS
#include "crash.h"

struct shared {
	uint32_t count, kill_at, n_names;
	uint32_t visits[NAMES];
	char names[NAMES][24];
	struct points_image start;
};

static struct shared *sh;
static uint64_t kept_before;

static int make_damaged(void *arg)
{
	static char val[6000];
	struct ipcmap_pair pair = {"k", 1, val, 3000};
	struct ipcmap *m;

	(void)arg;
	T_MUST(load_open(name, IPCMAP_CREATE, 1u << 20, 2, &m) == 0);
	for (uint32_t i = 0; i < KEYS; i++)
		T_MUST(ipcmap_put(m, &i, sizeof(i), val, i % 40 ? i : sizeof(val), NULL) == 0);
	T_MUST(ipcmap_snapshot_publish(m, "table", &pair, 1, NULL, NULL, 0) == 0);
	T_MUST(ipcmap_snapshot_publish(m, "table", &pair, 1, NULL, NULL, 0) == 0);
	/* a loss, so that the damaged one is kept */
	m->shards[0].entries += 2;
	return 0;
}

static uint32_t number_of(const char *point)
{
	uint32_t i;

	for (i = 0; i < sh->n_names; i++)
		if (strcmp(sh->names[i], point) == 0)
			return i;
	T_MUST(i < NAMES);
	snprintf(sh->names[i], sizeof(sh->names[i]), "%s", point);
	sh->n_names++;
	return i;
}

/* Counts, and says at which point number each name comes for the first times. */
static uint32_t where[NAMES * 4];
static uint32_t n_where;

static void count_point(const char *point)
{
	uint32_t i;

	if (strncmp(point, "read.", 5) == 0)
		return;
	sh->count++;
	i = number_of(point);
	if (sh->visits[i]++ < EACH && n_where < NAMES * 4)
		where[n_where++] = sh->count;
}

static void kill_point(const char *point)
{
	if (strncmp(point, "read.", 5) != 0 && ++sh->count == sh->kill_at)
		kill(getpid(), SIGKILL);
}

static int repair_and_die(void *arg)
{
	struct ipcmap_repair s;

	sh->count = 0;
	sh->kill_at = *(uint32_t *)arg;
	im_crash_hook = kill_point;
	ipcmap_repair(name, NULL, &s);
	return 0;
}

static bool is_as_it_was(void)
{
	struct points_image now = points_load_image(path);
	bool same = now.len == sh->start.len && now.n == sh->start.n &&
		    memcmp(now.p, sh->start.p, now.n) == 0;

	free(now.p);
	return same;
}

static bool is_repaired(void)
{
	struct ipcmap_snapshot *snap = NULL;
	char val[6000];
	struct ipcmap *m;
	size_t len;
	bool ok;

	if (ipcmap_open(name, NULL, &m))
		return false;
	ok = ipcmap_check(m, load_print, NULL) == 0 &&
	     ipcmap_snapshot_open(m, "table", 0, &snap) == 0 &&
	     ipcmap_snapshot_version(snap) == 2;
	for (uint32_t i = 0; i < KEYS && ok; i++)
		ok = ipcmap_get(m, &i, sizeof(i), val, sizeof(val), &len) == 0 &&
		     len == (i % 40 ? i : sizeof(val));
	ipcmap_snapshot_close(snap);
	ipcmap_close(m);
	return ok;
}

static void fresh_start(void)
{
	fresh_names();
	points_store_image(path, &sh->start);
}

static void kill_once(uint32_t at)
{
	struct ipcmap_repair s;
	char p[300];
	bool old;

	fresh_start();
	CU_ASSERT(t_killed(t_run(repair_and_die, &at)));
	old = is_as_it_was();
	if (!old && !is_repaired()) {
		fprintf(stderr, "\n  killed at point %u: neither as it was nor repaired", at);
		CU_FAIL("the state after the kill is wrong");
	}
	CU_ASSERT(ipcmap_repair(name, NULL, &s) == 0);
	CU_ASSERT(s.replaced == old && s.kept == kept_before);
	CU_ASSERT(is_repaired());
	beside(".repair", p);
	CU_ASSERT(access(p, F_OK) != 0);
	beside(".damaged", p);
	CU_ASSERT(access(p, F_OK) == 0);
}

static void repair__killed_everywhere(void)
{
	const int line = __LINE__;
	struct ipcmap_repair s;
	uint32_t passed;

	name = t_name(line);
	path = t_path(line);
	sh = t_shared(sizeof(*sh));
	n_where = 0;
	CU_ASSERT_FATAL(t_ok(t_run(make_damaged, NULL)));
	sh->start = points_load_image(path);
	im_crash_hook = count_point;
	CU_ASSERT(ipcmap_repair(name, NULL, &s) == 0 && s.replaced && s.kept_damaged);
	im_crash_hook = NULL;
	kept_before = s.kept;
	passed = sh->count;
	CU_ASSERT(s.kept == KEYS && is_repaired());
	for (uint32_t i = 0; i < n_where; i++)
		kill_once(where[i]);
	printf("\n    repair %37s %5u points, %4u tried ", "", passed, n_where);
	CU_ASSERT(number_of("offline.linked") < sh->n_names &&
		  sh->visits[number_of("offline.renamed")] == 1 &&
		  sh->visits[number_of("offline.marked")] == 1 &&
		  sh->visits[number_of("repair.filled")] == 1);
	fresh_names();
	free(sh->start.p);
	t_shared_free(sh, sizeof(*sh));
}

/* ---- a group whose writer was killed ---- */

#define GROUP 6u
static struct ipcmap *grouped;
static unsigned to_live; /* group points to pass before the last */
static bool *committed;	 /* shared: the commit was passed */

static void die_in_group(const char *point)
{
	*committed |= strcmp(point, "commit.done") == 0;
	if ((strncmp(point, "commit.", 7) != 0 && strncmp(point, "group.", 6) != 0) || to_live--)
		return;
	/* damage where the group is not, else there is nothing to repair */
	for (uint32_t i = 0; i < grouped->n_shards; i++)
		if (!grouped->shards[i].group && !grouped->shards[i].lock) {
			grouped->shards[i].entries += 2;
			raise(SIGKILL);
		}
}

static int commit_and_die(void *arg)
{
	struct ipcmap_change c[GROUP];
	uint32_t key[GROUP];

	to_live = *(unsigned *)arg;
	T_MUST(load_open(name, IPCMAP_CREATE, 1u << 20, 16, &grouped) == 0);
	memset(c, 0, sizeof(c));
	for (uint32_t i = 0; i < GROUP; i++) {
		key[i] = i;
		c[i].key = &key[i];
		c[i].key_len = sizeof(key[i]);
		c[i].val = "group";
		c[i].val_len = 5;
		T_MUST(ipcmap_put(grouped, &i, sizeof(i), "old", 3, NULL) == 0);
	}
	im_crash_hook = die_in_group;
	T_MUST(ipcmap_commit(grouped, c, GROUP, 0) == 0);
	return 0;
}

static void repair__group_is_whole(void)
{
	const int line = __LINE__;
	unsigned n_old = 0, n_new = 0, at;

	name = t_name(line);
	path = t_path(line);
	committed = t_shared(sizeof(*committed));
	for (at = 0; at < 100; at++) {
		struct ipcmap_repair s;
		unsigned changed = 0;
		struct ipcmap *m;

		fresh_names();
		*committed = false;
		if (!t_killed(t_run(commit_and_die, &at)))
			break;
		CU_ASSERT(ipcmap_repair(name, NULL, &s) == 0 && s.replaced && s.kept == GROUP);
		CU_ASSERT(s.findings <= 2); /* the damage alone, not the group */
		CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
		for (uint32_t i = 0; i < GROUP; i++) {
			char buf[8];
			size_t len = 0;

			CU_ASSERT(ipcmap_get(m, &i, sizeof(i), buf, sizeof(buf), &len) == 0);
			changed += len == 5;
		}
		CU_ASSERT(changed == 0 || changed == GROUP);
		n_old += changed == 0;
		n_new += changed == GROUP;
		CU_ASSERT(changed == (*committed ? GROUP : 0));
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
		ipcmap_close(m);
	}
	CU_ASSERT(at < 100 && n_old >= 2 && n_new >= GROUP);
	t_shared_free(committed, sizeof(*committed));
	fresh_names();
}
#else
static void repair__killed_everywhere(void)
{
	t_skip("needs crash points");
}

static void repair__group_is_whole(void)
{
	t_skip("needs crash points");
}
#endif

/* ---- rings, leases, a group waiting ---- */

#define WAITING 40u /* keys */
#define GROUP_WAITING 6u

#if HAVE_POINTS
static void die_committed(const char *point)
{
	if (strcmp(point, "commit.done") == 0)
		raise(SIGKILL);
}

static void commit_and_stay_behind(struct ipcmap *m)
{
	struct ipcmap_change c[GROUP_WAITING];
	uint32_t key[GROUP_WAITING];

	memset(c, 0, sizeof(c));
	for (uint32_t i = 0; i < GROUP_WAITING; i++) {
		key[i] = i;
		c[i].key = &key[i];
		c[i].key_len = sizeof(key[i]);
		c[i].val = "group";
		c[i].val_len = 5;
	}
	im_crash_hook = die_committed;
	ipcmap_commit(m, c, GROUP_WAITING, 0);
}
#else
static void commit_and_stay_behind(struct ipcmap *m)
{
	(void)m;
}
#endif

static int watch_lease_and_die(void *arg)
{
	struct ipcmap_value v = {0};
	struct ipcmap_watch *w;
	struct ipcmap_lease l;
	struct ipcmap *m;

	T_MUST(load_open(name, IPCMAP_CREATE, 1u << 20, 4, &m) == 0);
	T_MUST(ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &w) == 0);
	for (uint32_t i = 0; i < WAITING; i++)
		T_MUST(ipcmap_put(m, &i, sizeof(i), "old", 3, NULL) == 0);
	T_MUST(ipcmap_lease(m, "leased", 6, NULL, &l, &v) == IPCMAP_LEAD);
	T_MUST(ipcmap_lease(m, "failed", 6, NULL, &l, &v) == IPCMAP_LEAD);
	T_MUST(ipcmap_lease_fail(m, "failed", 6, &l, NULL, -EIO) == 0);
	if (*(bool *)arg) /* a finding where none of these is */
		im_add_rlx(&m->shards[3].large, 4096);
	commit_and_stay_behind(m);
	raise(SIGKILL);
	return 1;
}

/* What they stood for is forgotten, and may begin anew. */
static void begin_anew(struct ipcmap *m)
{
	struct ipcmap_value v = {0};
	struct ipcmap_event e;
	struct ipcmap_watch *w;
	struct ipcmap_lease l;

	for (uint32_t i = 0; i < m->n_shards; i++)
		CU_ASSERT(!m->shards[i].ring && !m->shards[i].leases && !m->shards[i].group);
	CU_ASSERT(ipcmap_lease(m, "leased", 6, NULL, &l, &v) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_watch_open(m, "leased", 6, IPCMAP_WATCH_KEY, &w) == 0);
	CU_ASSERT(ipcmap_lease_put(m, "leased", 6, &l, "value", 5, NULL) == 0);
	CU_ASSERT(ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == 0 && e.op == IPCMAP_EVENT_PUT);
	CU_ASSERT(ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == IPCMAP_BUSY);
	ipcmap_watch_close(w);
	CU_ASSERT(ipcmap_lease(m, "failed", 6, NULL, &l, &v) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_fail(m, "failed", 6, &l, NULL, 0) == 0);
}

static void repair_what_waits(bool damaged)
{
	uint32_t n = 0, n_new = 0;
	struct ipcmap_repair s;
	struct ipcmap *m;

	CU_ASSERT(t_killed(t_run(watch_lease_and_die, &damaged)));
	CU_ASSERT(ipcmap_repair(name, NULL, &s) == 0);
	CU_ASSERT(s.replaced == damaged && s.kept == WAITING && s.findings == damaged);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	for (uint32_t i = 0; i < WAITING; i++) {
		char buf[8];
		size_t len = 0;

		n += ipcmap_get(m, &i, sizeof(i), buf, sizeof(buf), &len) == 0;
		n_new += len == 5;
	}
	CU_ASSERT(n == WAITING && n_new == (HAVE_POINTS ? GROUP_WAITING : 0));
	if (damaged)
		begin_anew(m);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	fresh_names();
}

static void repair__rings_leases_and_a_group_waiting(void)
{
	const int line = __LINE__;

	name = t_name(line);
	path = t_path(line);
	repair_what_waits(true);
	repair_what_waits(false);
}

static CU_TestInfo tests[] = {
	{"killed at each step of a repair", repair__killed_everywhere},
	{"a group whose writer was killed is repaired whole", repair__group_is_whole},
	{"rings, leases and a group waiting", repair__rings_leases_and_a_group_waiting},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of repair", tests)
