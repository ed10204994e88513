/* SPDX-License-Identifier: MIT */
/*
 * t-stats-waits.c - what ipcmap_stat() and ipcmap_inspect...() tell of watching and loading
 */
#include "kit.h"

#include "lease.h"

static struct ipcmap *m;

static struct ipcmap_shard_info shard(uint32_t i)
{
	struct ipcmap_shard_info s = {.struct_size = sizeof(s)};

	CU_ASSERT(ipcmap_inspect_shard(m, i, &s) == 0);
	return s;
}

static struct ipcmap_inspect header(void)
{
	struct ipcmap_inspect h = {.struct_size = sizeof(h)};

	CU_ASSERT(ipcmap_inspect(m, &h) == 0);
	return h;
}

/* This process's slot. */
static struct ipcmap_owner_info self(void)
{
	struct ipcmap_owner_info o = {.struct_size = sizeof(o)};

	CU_ASSERT(ipcmap_inspect_owner(m, (m->seg->self & 0x3ff) - 1, &o) == 0);
	CU_ASSERT(o.pid == (uint64_t)getpid());
	return o;
}

static struct ipcmap_watch *watching(const char *key, unsigned what)
{
	struct ipcmap_watch *w = NULL;

	CU_ASSERT_FATAL(ipcmap_watch_open(m, key, key ? strlen(key) : 0, what, &w) == 0);
	return w;
}

static void stats__of_watching(void)
{
	struct ipcmap_watch *key, *all;
	struct ipcmap_stat s;
	uint32_t k;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 4);
	k = (uint32_t)ipcmap_group(m, "k", 1);
	s = kit_stat(m);
	CU_ASSERT(!s.watched && !s.watchers && !s.ring_len && !s.events && !s.gaps);
	CU_ASSERT(shard(k).ring == IPCMAP_NO_EXTENT && self().watches == 0);
	kit_put(m, "k", "nobody is told");
	key = watching("k", IPCMAP_WATCH_KEY);
	s = kit_stat(m);
	CU_ASSERT(s.watched == 1 && s.watchers == 1 && s.ring_len == s.extent_len);
	CU_ASSERT(shard(k).ring != IPCMAP_NO_EXTENT && self().watches == 1u << k);
	kit_put(m, "k", "1");
	CU_ASSERT(ipcmap_del(m, "k", 1) == 0);
	CU_ASSERT(kit_stat(m).events == 2 && shard(k).events == 2);
	CU_ASSERT(shard(k).ring_head % kit_stat(m).extent_len == 2 * 32);
	all = watching("abc", IPCMAP_WATCH_PREFIX);
	s = kit_stat(m);
	CU_ASSERT(s.watched == 4 && s.watchers == 1 && s.ring_len == 4 * s.extent_len);
	CU_ASSERT(self().watches == 15 && header().prefix_lens == 1 << 3);
	ipcmap_watch_close(key);
	CU_ASSERT(kit_stat(m).watched == 4);
	ipcmap_watch_close(all);
	s = kit_stat(m);
	CU_ASSERT(!s.watched && !s.watchers && !s.ring_len && s.events == 2);
	CU_ASSERT(self().watches == 0 && shard(k).ring == IPCMAP_NO_EXTENT);
	kit_gone(m);
}

static void stats__of_gaps(void)
{
	struct ipcmap_watch *w, *quiet;
	struct ipcmap_event e;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	kit_put(m, "quiet", "v");
	w = watching(NULL, IPCMAP_WATCH_ALL);
	quiet = watching("quiet", IPCMAP_WATCH_KEY);
	for (unsigned i = 0; i < 1000; i++)
		kit_put(m, "k", "v");
	CU_ASSERT(kit_stat(m).gaps == 0); /* nobody has looked */
	CU_ASSERT(ipcmap_watch_next(w, IPCMAP_NOWAIT, &e) == 0 && e.op == IPCMAP_EVENT_GAP);
	CU_ASSERT(kit_stat(m).gaps == 1 && header().gaps == 1 && kit_stat(m).events == 1000);
	/* passed over, and nothing lost */
	CU_ASSERT(ipcmap_watch_next(quiet, IPCMAP_NOWAIT, &e) == IPCMAP_BUSY);
	CU_ASSERT(kit_stat(m).gaps == 1);
	ipcmap_watch_close(w);
	ipcmap_watch_close(quiet);
	kit_gone(m);
}

static struct t_gate ready;

static int watch_until_killed(void *arg)
{
	struct ipcmap_watch *w;

	(void)arg;
	T_MUST(ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &w) == 0);
	t_gate_pass(&ready);
	while (w)
		pause();
	return 1;
}

static void stats__of_dead_watchers(void)
{
	struct ipcmap_stat s;
	pid_t pid;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 2);
	t_gate_open(&ready);
	pid = t_run(watch_until_killed, NULL);
	t_gate_wait(&ready);
	s = kit_stat(m);
	CU_ASSERT(s.watchers == 1 && s.watched == 2);
	t_kill(pid);
	s = kit_stat(m);
	CU_ASSERT(s.watchers == 0 && s.watched == 2); /* its rings stay until somebody writes */
	t_gate_close(&ready);
	kit_gone(m);
}

static int lease(const char *key, struct ipcmap_lease *l, uint64_t ns)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_value v = {0};

	how.deadline_ns = IPCMAP_NOWAIT;
	how.lease_ns = ns;
	return ipcmap_lease(m, key, strlen(key), &how, l, &v);
}

static int lease_and_die(void *arg)
{
	struct ipcmap_lease l;

	T_MUST(lease(arg, &l, 0) == IPCMAP_LEAD);
	_exit(0);
}

static int wait_for(void *arg)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_value v = {0};
	struct ipcmap_lease l;

	how.deadline_ns = IPCMAP_FOREVER;
	return ipcmap_lease(m, arg, strlen(arg), &how, &l, &v) == IPCMAP_SHORT ? 0 : 1;
}

static void stats__of_loading(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_lease a, b, c;
	struct ipcmap_stat s;
	pid_t pid;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	kit_clock_on();
	s = kit_stat(m);
	CU_ASSERT(!s.leases && !s.leases_waited && !s.backoffs && !s.loads);
	CU_ASSERT(lease("a", &a, 0) == IPCMAP_LEAD && lease("b", &b, 5 * KIT_SEC) == IPCMAP_LEAD);
	s = kit_stat(m);
	CU_ASSERT(s.leases == 2 && s.loads == 2 && s.leases_waited == 0 && s.backoffs == 0);
	CU_ASSERT(self().leases == 2 && shard(0).leases == 2 && shard(0).lease_grants == 2);
	/* its time is over: somebody else may load it */
	kit_time += 6 * KIT_SEC;
	CU_ASSERT(kit_stat(m).leases == 1 && shard(0).leases == 2);
	/* a failure: nobody loads it for a while */
	how.backoff_ns = how.backoff_max_ns = 10 * KIT_SEC;
	CU_ASSERT(ipcmap_lease_fail(m, "b", 1, &b, &how, -5) == 0);
	s = kit_stat(m);
	CU_ASSERT(s.leases == 1 && s.backoffs == 1 && shard(0).leases_failed == 1);
	CU_ASSERT(self().leases == 1);
	kit_time += 11 * KIT_SEC;
	CU_ASSERT(kit_stat(m).backoffs == 0 && shard(0).leases_failed == 1);
	CU_ASSERT(lease("b", &b, 0) == IPCMAP_LEAD);
	CU_ASSERT(ipcmap_lease_put(m, "b", 1, &b, "v", 1, NULL) == 0);
	CU_ASSERT(kit_stat(m).backoffs == 0 && shard(0).leases_failed == 0);
	CU_ASSERT(ipcmap_lease_fail(m, "a", 1, &a, NULL, 0) == 0); /* late as it is */
	kit_clock_off();

	/* of the dead: it stands there, and nobody is loading */
	CU_ASSERT(lease("c", &c, 0) == IPCMAP_LEAD);
	pid = t_run(lease_and_die, (void *)(uintptr_t)"d");
	CU_ASSERT(t_ok(pid));
	s = kit_stat(m);
	CU_ASSERT(s.leases == 1 && s.loads == 5 && shard(0).leases == 2);
	/* somebody waits */
	pid = t_run(wait_for, (void *)(uintptr_t)"c");
	while (kit_stat(m).leases_waited == 0)
		t_sleep_ms(1);
	CU_ASSERT(kit_stat(m).leases_waited == 1 && shard(0).leases_waited == 1);
	CU_ASSERT(ipcmap_lease_put(m, "c", 1, &c, "v", 1, NULL) == 0);
	CU_ASSERT(t_ok(pid));
	s = kit_stat(m);
	CU_ASSERT(s.leases == 0 && s.leases_waited == 0);
	kit_gone(m);
}

static void stats__of_waits_on_a_read_only_attach(void)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	const char *name = T_NAME;
	struct ipcmap *writer = kit_made(name, KIT_MIB, 0, 1);
	struct ipcmap_watch *w;
	struct ipcmap_lease l;

	m = writer;
	w = watching(NULL, IPCMAP_WATCH_ALL);
	CU_ASSERT(lease("k", &l, 0) == IPCMAP_LEAD);
	opt.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(name, &opt, &m) == 0);
	CU_ASSERT(kit_stat(m).watchers == 1 && kit_stat(m).leases == 1);
	CU_ASSERT(shard(0).leases == 1 && shard(0).ring != IPCMAP_NO_EXTENT);
	ipcmap_close(m);
	ipcmap_watch_close(w);
	kit_gone(writer);
}

static CU_TestInfo tests[] = {
	{"who watches, what it takes, how much was told", stats__of_watching},
	{"gaps count when a watcher learns of them", stats__of_gaps},
	{"dead watchers do not count, their rings do", stats__of_dead_watchers},
	{"who loads, who waits, what rests after a failure", stats__of_loading},
	{"a read-only attach tells the same", stats__of_waits_on_a_read_only_attach},
	CU_TEST_INFO_NULL,
};
T_SUITE("stats-waits", tests)
