/* SPDX-License-Identifier: MIT */
/*
 * t-snapshot-wait.c - waiting for a version, who holds which, going over to a newer one
 *
 * Where a test is about the ring, a sleep that nothing but its time ends is a failure.
 */
#include "kit.h"

#include "bell.h"
#include "crash.h"
#include "pin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

static struct ipcmap *m;

static int publish(struct ipcmap *map, const char *table)
{
	struct ipcmap_pair p = {"k", 1, "v", 1};

	return ipcmap_snapshot_publish(map, table, &p, 1, NULL, NULL, 0);
}

/* What a look finds, without a wait: a version; UINT64_MAX: none but the one given. */
static uint64_t look(const char *table, uint64_t version)
{
	uint64_t now = 77;
	int r = ipcmap_snapshot_wait(m, table, version, IPCMAP_NOWAIT, &now);

	CU_ASSERT(r == 0 ? now != version : r == IPCMAP_BUSY && now == 77);
	return r ? UINT64_MAX : now;
}

/* ---- a kernel whose sleeps nearly have no end ---- */

static uint32_t sleeps, wakes, naps;

static int sleep_on(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	int r;

	CU_ASSERT(timeout_ns <= UINT64_C(1000000000));
	im_add32_rlx(&sleeps, 1);
	r = im_os_real.futex_wait(word, val, (uint64_t)T_LIMIT_MS * 1000000);
	CU_ASSERT(r != -ETIMEDOUT);
	im_add32_rlx(&naps, 1);
	return r;
}

static int wake_all(uint32_t *word, int n)
{
	im_add32_rlx(&wakes, 1);
	return im_os_real.futex_wake(word, n);
}

static const struct im_os *endless(void)
{
	static struct im_os os;
	const struct im_os *was = im_os;

	os = *im_os;
	os.futex_wait = sleep_on;
	os.futex_wake = wake_all;
	sleeps = wakes = naps = 0;
	im_os = &os;
	return was;
}

/* ---- waiters ---- */

struct waiter {
	pthread_t thread;
	struct ipcmap *map;
	const char *table;
	uint64_t version, deadline_ns, found;
	int r;
	uint32_t done;
};

static void *wait_for(void *arg)
{
	struct waiter *w = arg;

	w->r = ipcmap_snapshot_wait(w->map, w->table, w->version, w->deadline_ns, &w->found);
	im_store32_rel(&w->done, 1);
	return NULL;
}

static struct waiter waiter(const char *table, uint64_t version)
{
	return (struct waiter){.map = m,
			       .table = table,
			       .version = version,
			       .deadline_ns = IPCMAP_FOREVER,
			       .found = 77};
}

/* It sleeps when this returns, or is about to: on a word that says so. */
static void begin(struct waiter *w, uint32_t n_sleeps)
{
	pthread_create(&w->thread, NULL, wait_for, w);
	while (im_load32_acq(&sleeps) < n_sleeps)
		t_sleep_ms(1);
}

static bool found(struct waiter *w, uint64_t version)
{
	pthread_join(w->thread, NULL);
	return w->r == 0 && w->found == version;
}

static void wait__each_change_of_a_table_ends_it(void)
{
	const struct im_os *was;
	struct waiter w;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	was = endless();
	CU_ASSERT(look("t", 0) == UINT64_MAX && look("t", 5) == 0);
	w = waiter("t", 0); /* not there: its name, then its version */
	begin(&w, 1);
	CU_ASSERT(publish(m, "t") == 0 && found(&w, 1));
	CU_ASSERT(look("t", 1) == UINT64_MAX && look("t", 0) == 1 && look("t", 7) == 1);
	sleeps = 0;
	w = waiter("t", 1);
	begin(&w, 1);
	CU_ASSERT(publish(m, "t") == 0 && found(&w, 2));
	sleeps = 0;
	w = waiter("t", 2);
	begin(&w, 1);
	CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 1, NULL) == 0 && found(&w, 3));
	sleeps = 0;
	w = waiter("t", 3);
	begin(&w, 1);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t") == 0 && found(&w, 0));
	sleeps = 0;
	w = waiter("t", 0); /* its entry is there, without a version */
	begin(&w, 1);
	CU_ASSERT(publish(m, "t") == 0 && found(&w, 4));
	im_os = was;
	kit_gone(m);
}

static void wait__other_tables_wake_nobody(void)
{
	const struct im_os *was;
	struct waiter w;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish(m, "t") == 0 && publish(m, "other") == 0);
	was = endless();
	w = waiter("t", 1);
	begin(&w, 1);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT(publish(m, "other") == 0);
	CU_ASSERT(ipcmap_snapshot_drop(m, "other") == 0 && publish(m, "third") == 0);
	CU_ASSERT(im_load32_acq(&wakes) == 0 && im_load32_acq(&naps) == 0);
	CU_ASSERT(publish(m, "t") == 0 && found(&w, 2));
	CU_ASSERT(wakes == 1);
	im_os = was;
	kit_gone(m);
}

static void wait__all_who_wait_cost_one_call(void)
{
	const struct im_os *was;
	struct waiter w[8];

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish(m, "t") == 0);
	was = endless();
	for (unsigned i = 0; i < 8; i++) {
		w[i] = waiter("t", 1);
		begin(&w[i], i + 1);
	}
	CU_ASSERT(publish(m, "t") == 0);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT(found(&w[i], 2));
	CU_ASSERT(wakes == 1);
	CU_ASSERT(publish(m, "t") == 0 && wakes == 1); /* nobody waits: no call */
	im_os = was;
	kit_gone(m);
}

/* The entry of a dropped table, whose name is waited for, gets another name. */
static void wait__a_renamed_entry_is_left(void)
{
	const struct im_os *was;
	char name[16];
	struct waiter w;
	uint32_t n;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	n = (uint32_t)m->seg->user_geo[FMT_GEO_TABLES];
	for (uint32_t i = 0; i < n; i++) {
		sprintf(name, "t%u", i);
		CU_ASSERT(publish(m, name) == 0);
	}
	CU_ASSERT(ipcmap_snapshot_drop(m, "t3") == 0);
	was = endless();
	w = waiter("t3", 0);
	begin(&w, 1);
	CU_ASSERT(publish(m, "new") == 0);
	while (im_load32_acq(&sleeps) < 2) /* woken, it listens elsewhere */
		t_sleep_ms(1);
	CU_ASSERT(!im_load32_acq(&w.done) && look("new", 0) == 2 && look("t3", 0) == UINT64_MAX);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t7") == 0 && publish(m, "t3") == 0);
	CU_ASSERT(found(&w, 2));
	im_os = was;
	kit_gone(m);
}

#if defined(IM_CHECK) && IM_CHECK
static void publish_now(const char *point)
{
	im_crash_hook = NULL;
	CU_ASSERT(strcmp(point, "bell.listened") == 0);
	CU_ASSERT(publish(m, "t") == 0);
}

static void at_listened(const char *point)
{
	if (strcmp(point, "bell.listened") == 0)
		publish_now(point);
}

static void wait__a_change_after_listening_is_seen(void)
{
	const struct im_os *was;
	uint64_t now = 0;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	was = endless();
	im_crash_hook = at_listened;
	CU_ASSERT(ipcmap_snapshot_wait(m, "t", 0, IPCMAP_FOREVER, &now) == 0 && now == 1);
	im_crash_hook = at_listened;
	CU_ASSERT(ipcmap_snapshot_wait(m, "t", 1, IPCMAP_FOREVER, &now) == 0 && now == 2);
	CU_ASSERT(sleeps == 0);
	im_os = was;
	kit_gone(m);
}

/* Between the look at current and the look at the name: dropped, and named anew. */
static void drop_and_rename(const char *point)
{
	if (strcmp(point, "read.waiting") != 0)
		return;
	im_crash_hook = NULL;
	CU_ASSERT(ipcmap_snapshot_drop(m, "t1") == 0);
	CU_ASSERT(publish(m, "new") == 0);
}

static void wait__a_version_of_another_name_is_none(void)
{
	uint64_t now = 77;
	char name[16];
	uint32_t n;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	n = (uint32_t)m->seg->user_geo[FMT_GEO_TABLES];
	for (uint32_t i = 0; i < n; i++) {
		sprintf(name, "t%u", i);
		CU_ASSERT(publish(m, name) == 0);
	}
	im_crash_hook = drop_and_rename;
	CU_ASSERT(ipcmap_snapshot_wait(m, "t1", 0, IPCMAP_NOWAIT, &now) == IPCMAP_BUSY);
	CU_ASSERT(now == 77 && !im_crash_hook);
	kit_gone(m);
}

static void kill_before_the_ring(const char *point)
{
	if (strcmp(point, "snapshot.ring") == 0)
		kill(getpid(), SIGKILL);
}

static int publish_and_die(void *arg)
{
	struct ipcmap *own;

	T_MUST(ipcmap_open(arg, NULL, &own) == 0);
	im_crash_hook = kill_before_the_ring;
	publish(own, "t");
	return 1;
}

static void wait__a_publisher_killed_before_the_ring_costs_a_nap(void)
{
	uint64_t now = 0;
	pid_t pid;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish(m, "t") == 0);
	pid = t_run(publish_and_die, m->seg->name);
	CU_ASSERT(ipcmap_snapshot_wait(m, "t", 1, IPCMAP_FOREVER, &now) == 0 && now == 2);
	CU_ASSERT(t_killed(pid));
	kit_gone(m);
}
#endif

static void wait__a_reader_sees_it_too(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct waiter w;
	uint64_t now = 0;
	int r;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	w = waiter("t", 0);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &w.map) == 0);
	pthread_create(&w.thread, NULL, wait_for, &w);
	t_sleep_ms(60);
	CU_ASSERT(publish(m, "t") == 0 && found(&w, 1));
	r = ipcmap_snapshot_wait(w.map, "t", 1, 30000000, &now);
	CU_ASSERT(r == IPCMAP_BUSY && now == 0);
	ipcmap_close(w.map);
	kit_gone(m);
}

static void wait__an_interrupt_and_a_deadline_end_it(void)
{
	struct waiter w;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish(m, "t") == 0);
	w = waiter("t", 1);
	pthread_create(&w.thread, NULL, wait_for, &w);
	while (!im_load32_acq(&w.done)) {
		ipcmap_interrupt(m); /* again and again: it may not have begun */
		t_sleep_ms(5);
	}
	pthread_join(w.thread, NULL);
	CU_ASSERT(w.r == IPCMAP_INTERRUPTED && w.found == 77);
	CU_ASSERT(ipcmap_snapshot_wait(m, "t", 1, 20000000, NULL) == IPCMAP_BUSY);
	CU_ASSERT(ipcmap_snapshot_wait(m, "", 1, 0, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_snapshot_wait(NULL, "t", 1, 0, NULL) == IPCMAP_INVALID);
	kit_gone(m);
}

/* Bytes of a broken process: each call ends. */
static void wait__hostile_words_end(void)
{
	struct im_area a;
	uint64_t now;
	int r;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish(m, "t") == 0);
	im_area_of(m->seg, &a);
	for (uint32_t i = 0; i < 64; i++) {
		a.tables[0].bell = i * UINT32_C(0x9e3779b1);
		a.s->made = ~a.tables[0].bell;
		r = ipcmap_snapshot_wait(m, "t", 2 * i + 1, 1000, &now);
		CU_ASSERT(r == IPCMAP_BUSY);
		r = ipcmap_snapshot_wait(m, "none", 0, 1000, &now);
		CU_ASSERT(r == IPCMAP_BUSY);
		CU_ASSERT(publish(m, "t") == 0 && ipcmap_snapshot_drop(m, "t") == 0);
		CU_ASSERT(publish(m, "t") == 0);
		memset(a.tables[1].name, (int)i, sizeof(a.tables[1].name));
		a.tables[1].current = i * UINT64_C(0x9e3779b97f4a7c15);
		r = ipcmap_snapshot_wait(m, "t", 2 * i + 3, IPCMAP_NOWAIT, &now);
		CU_ASSERT(r == 0 || r == IPCMAP_BUSY);
		a.tables[1].current = 0;
		memset(a.tables[1].name, 0, sizeof(a.tables[1].name));
	}
	kit_gone(m);
}

/* ---- holders ---- */

static struct ipcmap_snapshot_holder holders[8];
static unsigned n_holders;

static int note(void *arg, const struct ipcmap_snapshot_holder *h)
{
	(void)arg;
	if (n_holders < 8)
		holders[n_holders++] = *h;
	return 0;
}

static int hold_and_stop(void *arg)
{
	struct ipcmap_snapshot *s;
	struct ipcmap *own;

	T_MUST(ipcmap_open(arg, NULL, &own) == 0);
	T_MUST(ipcmap_snapshot_open(own, "t", 0, &s) == 0);
	raise(SIGSTOP);
	return 0;
}

static void holders__are_named_with_what_they_hold(void)
{
	struct ipcmap_snapshot *s = NULL;
	char comm[16] = ""; /* under valgrind it is that one's */
	int status;
	pid_t pid;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish(m, "t") == 0 && publish(m, "u") == 0);
	pid = t_run(hold_and_stop, m->seg->name);
	CU_ASSERT(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT(publish(m, "t") == 0);
	CU_ASSERT(ipcmap_snapshot_refresh(m, "t", &s) == 1);
	n_holders = 0;
	CU_ASSERT(ipcmap_snapshot_holders(m, note, NULL) == 0 && n_holders == 2);
	CU_ASSERT(strcmp(holders[0].table, "t") == 0 && holders[0].version == 1);
	CU_ASSERT(holders[0].pid == (uint64_t)pid && !holders[0].kept && !holders[0].current);
	CU_ASSERT(prctl(PR_GET_NAME, comm) == 0 && strcmp(holders[0].comm, comm) == 0);
	CU_ASSERT(holders[1].version == 11 && holders[1].current && holders[1].kept);
	CU_ASSERT(holders[1].pid == (uint64_t)getpid() && holders[1].time >= holders[0].time);
	t_kill(pid);
	n_holders = 0;
	CU_ASSERT(ipcmap_snapshot_holders(m, note, NULL) == 0 && n_holders == 1);
	ipcmap_snapshot_close(s);
	n_holders = 0;
	CU_ASSERT(ipcmap_snapshot_holders(m, note, NULL) == 0 && n_holders == 0);
	CU_ASSERT(ipcmap_snapshot_holders(m, NULL, NULL) == IPCMAP_INVALID);
	kit_gone(m);
}

/* ---- going over ---- */

static void refresh__goes_over_when_there_is_a_newer_one(void)
{
	struct ipcmap_snapshot *s = NULL, *was;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(ipcmap_snapshot_refresh(m, "t", &s) == IPCMAP_NOTFOUND && !s);
	CU_ASSERT(publish(m, "t") == 0);
	CU_ASSERT(ipcmap_snapshot_refresh(m, "t", &s) == 1 && ipcmap_snapshot_version(s) == 1);
	was = s;
	CU_ASSERT(ipcmap_snapshot_refresh(m, "t", &s) == 0 && s == was);
	CU_ASSERT(publish(m, "t") == 0 && publish(m, "t") == 0);
	CU_ASSERT(ipcmap_snapshot_refresh(m, "t", &s) == 1 && ipcmap_snapshot_version(s) == 3);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t") == 0);
	was = s;
	CU_ASSERT(ipcmap_snapshot_refresh(m, "t", &s) == IPCMAP_NOTFOUND && s == was);
	CU_ASSERT(ipcmap_snapshot_count(s) == 1);
	CU_ASSERT(publish(m, "t") == 0 && ipcmap_snapshot_refresh(m, "t", &s) == 1);
	CU_ASSERT(ipcmap_snapshot_version(s) == 4);
	ipcmap_snapshot_close(s);
	s = NULL;
	n_holders = 0;
	CU_ASSERT(ipcmap_snapshot_holders(m, note, NULL) == 0 && n_holders == 0);
	CU_ASSERT(ipcmap_snapshot_refresh(m, "t", NULL) == IPCMAP_INVALID);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"each change of a table ends a wait", wait__each_change_of_a_table_ends_it},
	{"other tables wake nobody", wait__other_tables_wake_nobody},
	{"all who wait cost one call", wait__all_who_wait_cost_one_call},
	{"an entry with another name now is left", wait__a_renamed_entry_is_left},
#if defined(IM_CHECK) && IM_CHECK
	{"a change after listening is seen", wait__a_change_after_listening_is_seen},
	{"a version of another name is none", wait__a_version_of_another_name_is_none},
	{"a publisher killed before the ring costs a nap",
	 wait__a_publisher_killed_before_the_ring_costs_a_nap},
#endif
	{"who only reads sees it too", wait__a_reader_sees_it_too},
	{"an interrupt and a deadline end a wait", wait__an_interrupt_and_a_deadline_end_it},
	{"hostile words end", wait__hostile_words_end},
	{"holders are named with what they hold", holders__are_named_with_what_they_hold},
	{"refresh goes over when there is a newer one",
	 refresh__goes_over_when_there_is_a_newer_one},
	CU_TEST_INFO_NULL,
};

T_SUITE("snapshot wait", tests)
