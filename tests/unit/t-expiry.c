/* SPDX-License-Identifier: MIT */
/*
 * t-expiry.c - lives end, all at once or one by one, in every time namespace alike
 */
#include "kit.h"

#include <fcntl.h>
#include <sched.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static struct ipcmap *m;

/* ---- many at once ---- */

#define MANY ((uint64_t)T_AMOUNT(1000000, 100000, 30000))

/* Entries that cleaning has touched so far: moved or dropped. */
static uint64_t touched(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->n_shards; i++)
		n += im_load_rlx(&m->shards[i].cleaned) + im_load_rlx(&m->shards[i].expired);
	return n;
}

static int put_number(uint64_t i, uint64_t ttl_ns)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct kit_key k = kit_key(i);
	unsigned char val[32];

	how.ttl_ns = ttl_ns;
	kit_bytes(val, sizeof(val), i);
	return ipcmap_put(m, k.text, k.len, val, sizeof(val), &how);
}

static bool is_there(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_exists(m, k.text, k.len) == 1;
}

/* A map that is three quarters full of entries whose lives end at the same tick. */
static void fill_with_mortals(const char *name)
{
	uint64_t bad = 0;

	m = kit_made(name, 64 * KIT_MIB + MANY * 100, 64 * KIT_MIB + MANY * 100, 8);
	kit_clock_on();
	for (uint64_t i = 0; i < MANY; i++)
		bad += put_number(i, 10 * KIT_SEC) != 0;
	CU_ASSERT(bad == 0 && kit_entries(m) == MANY && is_there(MANY / 2));
}

static void expiry__many_lives_that_end_at_once_cause_no_pause(void)
{
	uint64_t most = 0, bad = 0, before;
	struct kit_key k;

	fill_with_mortals(T_NAME);
	kit_time += 11 * KIT_SEC;
	CU_ASSERT(!is_there(0) && !is_there(MANY - 1));
	for (uint64_t i = 0; i < MANY / 4; i++) {
		before = touched();
		bad += is_there(i);
		bad += put_number(MANY + i, 0) != 0;
		k = kit_key(2 * i);
		bad += ipcmap_del(m, k.text, k.len) != IPCMAP_NOTFOUND;
		most = max_u64(most, touched() - before);
	}
	CU_ASSERT(bad == 0);
	CU_ASSERT(most <= 64); /* three calls */
	kit_clock_off();
	kit_gone(m);
}

/* Nobody asks for the dead again; their memory is needed, all of it. */
static void expiry__memory_of_the_dead_is_used_without_access(void)
{
	uint64_t bad = 0, sum = 0;

	fill_with_mortals(T_NAME);
	for (unsigned round = 1; round < 4; round++) {
		kit_time += 11 * KIT_SEC;
		for (uint64_t i = 0; i < MANY; i++)
			bad += put_number(round * MANY + i, 10 * KIT_SEC) != 0;
		for (uint64_t i = 0; i < MANY; i++)
			sum += is_there(round * MANY + i);
	}
	CU_ASSERT(bad == 0 && sum == 3 * MANY);
	CU_ASSERT(kit_stat(m).expired >= MANY && kit_stat(m).used <= kit_stat(m).limit);
	kit_clock_off();
	kit_gone(m);
}

/* ---- time namespaces ---- */

#define DAY UINT64_C(86400)

static const char *name;
static struct t_gate ready;

static uint64_t left_ns(struct ipcmap *map, const char *key)
{
	struct ipcmap_value v = {0};
	int r = ipcmap_getx(map, key, strlen(key), &v);

	return r == 0 || r == IPCMAP_SHORT ? v.ttl_left_ns : 0;
}

static bool is_about_an_hour(uint64_t ns)
{
	return ns > 3400 * KIT_SEC && ns <= 3600 * KIT_SEC;
}

static int put_for_an_hour(struct ipcmap *map, const char *key)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = 3600 * KIT_SEC;
	return ipcmap_put(map, key, strlen(key), "x", 1, &how);
}

static uint64_t monotonic_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

/* In a namespace whose monotonic clock is two days ahead. */
static int live_elsewhere(void *host_s)
{
	struct ipcmap *map;

	T_MUST(monotonic_s() >= *(const uint64_t *)host_s + 2 * DAY);
	T_MUST(ipcmap_open(name, NULL, &map) == 0);
	t_gate_wait(&ready);
	T_MUST(is_about_an_hour(left_ns(map, "from the host")));
	T_MUST(put_for_an_hour(map, "from elsewhere") == 0);
	T_MUST(is_about_an_hour(left_ns(map, "from elsewhere")));
	ipcmap_close(map);
	return 0;
}

/* 0; 77: this system does not permit it. */
static int enter_and_live(void *host_s)
{
	static const char offset[] = "monotonic 172800 0\n";
	int fd;

	if (unshare(CLONE_NEWTIME) < 0)
		return 77;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, offset, sizeof(offset) - 1) < 0)
		return 77;
	close(fd);
	return t_ok(t_run(live_elsewhere, host_s)) ? 0 : 1; /* the child is in it */
}

static void expiry__time_namespaces_agree(void)
{
	uint64_t host_s = monotonic_s();
	int status;
	pid_t pid;

	name = T_NAME;
	m = kit_made(name, 4 * KIT_MIB, 0, 1);
	CU_ASSERT(put_for_an_hour(m, "from the host") == 0);
	t_gate_open(&ready);
	pid = t_run(enter_and_live, &host_s);
	t_gate_pass(&ready);
	status = t_wait(pid, T_LIMIT_MS);
	t_gate_close(&ready);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		t_skip("no time namespace to be had here");
	} else {
		CU_ASSERT(status == 0);
		CU_ASSERT(is_about_an_hour(left_ns(m, "from elsewhere")));
		CU_ASSERT(is_about_an_hour(left_ns(m, "from the host")));
	}
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"many lives that end at once cause no pause",
	 expiry__many_lives_that_end_at_once_cause_no_pause},
	{"the memory of the dead is used without access",
	 expiry__memory_of_the_dead_is_used_without_access},
	{"time namespaces agree", expiry__time_namespaces_agree},
	CU_TEST_INFO_NULL,
};
T_SUITE("expiry", tests)
