/* SPDX-License-Identifier: MIT */
/*
 * t-fill-points.c - a leader is killed at each of its steps and succeeded; a write that is
 * killed at each of its steps never lets an older load be stored after it
 */
#include "../unit/kit.h"

#include "crash.h"

#include <signal.h>

#if defined(IM_CHECK) && IM_CHECK

#define NAMES 64u
#define POINTS 400u

static struct world {
	uint32_t points, kill_at;
	uint32_t n_names;
	char name[NAMES][32];
	uint32_t loads;
	uint32_t result;
} *w;
static struct ipcmap *m;

static void at_point(const char *point)
{
	uint32_t i = 0;

	if (strncmp(point, "read.", 5) == 0)
		return;
	while (i < w->n_names && strcmp(w->name[i], point) != 0)
		i++;
	if (i == w->n_names && i < NAMES)
		snprintf(w->name[w->n_names++], sizeof(w->name[0]), "%s", point);
	if (++w->points == w->kill_at)
		kill(getpid(), SIGKILL);
}

static void watch(void)
{
	w->points = 0;
	im_crash_hook = at_point;
}

static bool passed(const char *point)
{
	for (uint32_t i = 0; i < w->n_names; i++)
		if (strcmp(w->name[i], point) == 0)
			return true;
	return false;
}

static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)key;
	(void)key_len;
	w->loads++;
	if (arg)
		return *(int *)arg;
	ret->val = "loaded";
	ret->len = 6;
	return 0;
}

static int fill(int *err)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	char buf[20];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	int r;

	how.deadline_ns = IPCMAP_FOREVER;
	how.lease_ns = 3600 * KIT_SEC; /* its end is not what frees it */
	how.negative_ttl_ns = 3600 * KIT_SEC;
	how.backoff_ns = KIT_MS;
	how.backoff_max_ns = KIT_MS;
	r = ipcmap_fill(m, "k", 1, &how, load, err, &v);
	return r ? r : v.len == 6 && memcmp(buf, "loaded", 6) == 0 ? 0 : 1;
}

static int loses = -EIO, none = IPCMAP_NOTFOUND;

static int lead(void *arg)
{
	watch();
	fill(arg);
	return 0;
}

/*
 * Whatever the leader was doing when it was killed, the next caller has the value, after at
 * most one load more, and nothing is left.
 */
static void killed_everywhere(const char *name, int *err)
{
	uint32_t n;

	w->kill_at = 0;
	m = kit_made(name, KIT_MIB, KIT_MIB, 1);
	CU_ASSERT(t_ok(t_run(lead, err)));
	n = w->points;
	CU_ASSERT(n > 5 && n < POINTS);
	kit_gone(m);
	for (uint32_t k = 1; k <= n; k += T_AMOUNT(1u, 1u, 7u)) {
		int r;

		m = kit_made(name, KIT_MIB, KIT_MIB, 1);
		w->kill_at = k;
		w->loads = 0;
		CU_ASSERT(t_killed(t_run(lead, err)));
		do
			r = fill(NULL);
		while (err == &loses && r == loses); /* until the failure is forgotten */
		CU_ASSERT(r == 0 || (err == &none && r == IPCMAP_NOTFOUND));
		CU_ASSERT(w->loads <= 2);
		CU_ASSERT(m->leases[0].owner == 0 && m->shards[0].leases == 0);
		CU_ASSERT(kit_sound(m));
		kit_gone(m);
	}
	printf("(%u points) ", n);
}

static void fill__leader_killed_everywhere(void)
{
	w = t_shared(sizeof(*w));
	killed_everywhere(T_NAME, NULL);
	killed_everywhere(T_NAME, &loses);
	killed_everywhere(T_NAME, &none);
	CU_ASSERT(passed("fill.storing") && passed("fill.loaded") && passed("lease.failed"));
	t_shared_free(w, sizeof(*w));
}

/* ---- a waiter is killed ---- */

static int wait_and_die(void *arg)
{
	(void)arg;
	watch();
	fill(NULL);
	return 0;
}

static void fill__killed_waiters_leave_nothing(void)
{
	struct ipcmap_value v = {0};
	struct ipcmap_lease l;

	w = t_shared(sizeof(*w));
	m = kit_made(T_NAME, KIT_MIB, KIT_MIB, 1);
	CU_ASSERT(ipcmap_lease(m, "k", 1, NULL, &l, &v) == IPCMAP_LEAD);
	for (w->kill_at = 1; w->kill_at <= 12; w->kill_at++)
		CU_ASSERT(t_killed(t_run(wait_and_die, NULL)));
	CU_ASSERT(passed("fill.woken") && passed("bell.listened"));
	CU_ASSERT(ipcmap_lease_put(m, "k", 1, &l, "loaded", 6, NULL) == 0);
	CU_ASSERT(fill(NULL) == 0 && w->loads == 0);
	kit_gone(m);
	t_shared_free(w, sizeof(*w));
}

/* ---- a write during the load is killed ---- */

static int put_and_die(void *arg)
{
	(void)arg;
	watch();
	return kit_put(m, "k", "put");
}

static int del_and_die(void *arg)
{
	(void)arg;
	watch();
	return ipcmap_del(m, "k", 1);
}

static int clear_and_die(void *arg)
{
	(void)arg;
	watch();
	return ipcmap_clear(m);
}

/*
 * The version of what is stored is that of the next write when the lease was granted: else
 * there was a write in between, and it should have been refused.
 */
static void change_killed_everywhere(const char *name, int (*change)(void *arg), bool there)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	uint32_t n = 1, stored = 0, refused = 0;

	how.stale_ns = KIT_SEC;
	for (uint32_t k = 0; k <= n; k++) {
		char buf[8];
		struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
		struct ipcmap_lease l;
		uint64_t next;
		int r;

		m = kit_made(name, KIT_MIB, KIT_MIB, 1);
		kit_put(m, "first", "v");
		if (there) {
			/* as expired as can be: it is there, and nobody sees it */
			kit_clock_on();
			how.ttl_ns = KIT_SEC;
			CU_ASSERT(ipcmap_lease(m, "k", 1, &how, &l, &v) == IPCMAP_LEAD);
			CU_ASSERT(ipcmap_lease_put(m, "k", 1, &l, "old", 3, &how) == 0);
			kit_time += KIT_SEC;
		}
		CU_ASSERT(ipcmap_lease(m, "k", 1, &how, &l, &v) == IPCMAP_LEAD);
		next = m->shards[0].version;
		w->kill_at = k;
		r = t_wait(t_run(change, NULL), T_LIMIT_MS);
		CU_ASSERT(k == 0 || (WIFSIGNALED(r) && WTERMSIG(r) == SIGKILL));
		n = k ? n : w->points;
		r = ipcmap_lease_put(m, "k", 1, &l, "loaded", 6, NULL);
		CU_ASSERT(r == 0 || r == IPCMAP_MISMATCH);
		CU_ASSERT(k || r == IPCMAP_MISMATCH); /* a whole write refuses it */
		stored += r == 0;
		refused += r != 0;
		CU_ASSERT(kit_is(m, "k", "loaded") == (r == 0));
		CU_ASSERT(r != 0 || kit_version(m, "k") == next);
		CU_ASSERT(kit_sound(m));
		kit_gone(m);
		kit_clock_off();
	}
	CU_ASSERT(stored > 0 && refused > 1);
	printf("(%u points: %u stored, %u refused) ", n, stored, refused);
}

static void fill__changes_killed_everywhere(void)
{
	w = t_shared(sizeof(*w));
	change_killed_everywhere(T_NAME, put_and_die, false);
	change_killed_everywhere(T_NAME, put_and_die, true);
	change_killed_everywhere(T_NAME, del_and_die, true);
	change_killed_everywhere(T_NAME, clear_and_die, true);
	t_shared_free(w, sizeof(*w));
}

/* ---- between the look and the lock ---- */

static void put_when_missed(const char *point)
{
	if (strcmp(point, "read.missed") != 0)
		return;
	im_crash_hook = NULL;
	CU_ASSERT(kit_put(m, "k", "loaded") == 0);
}

static void fill__stored_after_the_look_is_not_loaded(void)
{
	w = t_shared(sizeof(*w));
	m = kit_made(T_NAME, KIT_MIB, KIT_MIB, 1);
	CU_ASSERT(kit_put(m, "first", "v") == 0); /* or there is no index to miss in */
	im_crash_hook = put_when_missed;
	CU_ASSERT(fill(NULL) == 0 && w->loads == 0);
	CU_ASSERT(im_crash_hook == NULL);
	im_crash_hook = NULL;
	kit_gone(m);
	t_shared_free(w, sizeof(*w));
}

static CU_TestInfo tests[] = {
	{"a key stored after the look is not loaded",
	 fill__stored_after_the_look_is_not_loaded},
	{"a leader killed everywhere is succeeded", fill__leader_killed_everywhere},
	{"killed waiters leave nothing", fill__killed_waiters_leave_nothing},
	{"a change killed everywhere refuses or did not happen",
	 fill__changes_killed_everywhere},
	CU_TEST_INFO_NULL,
};
T_SUITE("crash: fill", tests)

#endif
