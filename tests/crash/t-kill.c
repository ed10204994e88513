/* SPDX-License-Identifier: MIT */
/*
 * t-kill.c - processes under load are killed at random; an oracle knows what must be there
 *
 * Eight workers write, each its own keys, and read everybody's. What must be there is known
 * to the oracle (oracle.h). A worker that starts after a kill first looks at its keys: each
 * must be as its last acknowledged write left it or as one in flight.
 *
 * Three are killed at a time, so successors die too. Half of the kills are of any worker at any
 * moment; the other half are of one that is seen to hold a shard's lock for longer than it
 * works, since it was preempted there. Take-overs are counted in the map.
 */
#include "oracle.h"

#include "map.h"
#include "owner.h"

#include <signal.h>

#define WORKERS 8u
#define KEYS_EACH 24u
#define KEYS (WORKERS * KEYS_EACH)
#define AT_ONCE 3u
#define KILLS T_AMOUNT(1000u, 200u, 100u)
#define TAKEOVERS T_AMOUNT(150u, 30u, 10u)
#define PAUSE_US T_AMOUNT(6000u, 6000u, 100000u) /* at most, between kills */
#define LIMIT_S 240u				 /* a busy machine kills slowly */

static struct oracle *o;
static uint32_t *stop;
static const char *name;

static uint32_t length_of(uint32_t k, uint64_t n)
{
	uint64_t x = n * 2654435761u + k;

	x ^= x >> 13;
	if (n % 61 == 5)
		return 12000 + (uint32_t)(x % 9000); /* a chain of extents */
	return LOAD_MIN + (uint32_t)(x % 1900);
}

static struct oracle_store store_of(struct ipcmap *m)
{
	struct oracle_store s = oracle_ipcmap;

	s.arg = m;
	return s;
}

static int work(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	uint64_t x = 0x9e3779b97f4a7c15u ^ (uint64_t)getpid() << 20;
	struct oracle_store s;
	struct ipcmap *m;

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	s = store_of(m);
	for (uint32_t i = 0; i < KEYS_EACH; i++)
		oracle_recall(o, &s, i * WORKERS + me, false);
	while (!im_load32_acq(stop)) {
		for (int i = 0; i < 3; i++)
			oracle_write(o, &s,
				     (uint32_t)(load_random(&x) % KEYS_EACH) * WORKERS + me);
		oracle_read(o, &s, (uint32_t)(load_random(&x) % KEYS));
	}
	ipcmap_close(m);
	return 0;
}

/* Whose is the lock that was held all the time of a look? -1: nobody's. */
static int find_holder(struct ipcmap *m, const pid_t *pid)
{
	for (unsigned i = 0; i < 200; i++) {
		const uint32_t *word = &m->shards[i % m->n_shards].lock;
		uint32_t was = im_load32_rlx(word), slot = was & 0x3ff, n = 0;

		if (!slot || slot > m->seg->n_owners)
			continue;
		while (n < 2000 && im_load32_rlx(word) == was)
			n++;
		for (uint32_t k = 0; n == 2000 && k < WORKERS; k++)
			if ((uint64_t)pid[k] == im_load_rlx(&m->seg->owners[slot - 1].pid))
				return (int)k;
	}
	return -1;
}

static uint64_t takeovers(struct ipcmap *m)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	T_MUST(ipcmap_stat(m, &st) == 0);
	return st.takeovers;
}

static pid_t start(uint32_t k)
{
	return t_run(work, &k);
}

/* The map in the end: nobody is there, so all is exact. */
static void compare(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	uint64_t there = 0, lost = o->lost, wrong = o->wrong;
	struct oracle_store s;
	struct ipcmap *m;
	uint32_t k;

	CU_ASSERT_FATAL(load_open(name, 0, 0, 0, &m) == 0);
	s = store_of(m);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	for (k = 0; k < KEYS; k++)
		oracle_recall(o, &s, k, true);
	for (k = 0; k < KEYS; k++)
		there += oracle_known(o, k)->content != ORACLE_NOTHING;
	CU_ASSERT(o->lost == lost && o->wrong == wrong);
	CU_ASSERT(ipcmap_stat(m, &st) == 0);
	CU_ASSERT(st.entries == there);
	for (k = 0; k < KEYS; k++)
		oracle_write(o, &s, k);
	CU_ASSERT(o->errors == 0);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
}

static void kill__loses_nothing(void)
{
	struct ipcmap *m;
	uint64_t x = t_now_ms() | 1, seed = x, end = t_now_ms() + LIMIT_S * 1000,
		 t0 = t_now_ms();
	uint32_t kills = 0, aimed = 0;
	pid_t pid[WORKERS];

	o = oracle_make(KEYS, WORKERS, length_of);
	stop = t_shared(sizeof(*stop));
	name = T_NAME;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 4u << 20, 2, &m) == 0);
	load_compress(m, 2000);
	ipcmap_close(m);
	/* read-only: this process is no owner, and its children inherit nothing that matters */
	CU_ASSERT_FATAL(load_open(name, IPCMAP_RDONLY, 0, 0, &m) == 0);
	for (uint32_t k = 0; k < WORKERS; k++)
		pid[k] = start(k);
	while ((kills < KILLS || takeovers(m) < TAKEOVERS + 20) && t_now_ms() < end) {
		uint32_t dying = 0;

		usleep((unsigned)(load_random(&x) % PAUSE_US));
		for (unsigned i = 0; i < AT_ONCE; i++) {
			int k = load_random(&x) % 2 ? find_holder(m, pid) : -1;

			aimed += k >= 0;
			k = k >= 0 ? k : (int)(load_random(&x) % WORKERS);
			kill(pid[k], SIGKILL);
			dying |= 1u << k;
		}
		for (uint32_t k = 0; k < WORKERS; k++) {
			if (!(dying & 1u << k))
				continue;
			t_kill(pid[k]);
			kills++;
			pid[k] = start(k);
		}
	}
	*stop = 1;
	for (uint32_t k = 0; k < WORKERS; k++)
		CU_ASSERT(t_ok(pid[k]));
	printf("\n    %u kills (%u of them of one that held a lock), %llu take-overs, %llu "
	       "reads "
	       "(%llu hits, %llu busy, %llu too slow to judge), %llu writes, %llu errors (last "
	       "%lld), "
	       "%llu wrong, %llu lost, %.1f s, seed %llu ",
	       kills, aimed, (unsigned long long)takeovers(m), (unsigned long long)o->reads,
	       (unsigned long long)o->hits, (unsigned long long)o->refused,
	       (unsigned long long)o->unjudged, (unsigned long long)o->writes,
	       (unsigned long long)o->errors, (long long)o->last_error,
	       (unsigned long long)o->wrong, (unsigned long long)o->lost,
	       (double)(t_now_ms() - t0) / 1000, (unsigned long long)seed);
	CU_ASSERT(kills >= KILLS);
	CU_ASSERT(takeovers(m) >= TAKEOVERS);
	CU_ASSERT(o->wrong == 0 && o->lost == 0 && o->errors == 0);
	ipcmap_close(m);
	compare();
	ipcmap_unlink(name);
	t_shared_free(stop, sizeof(*stop));
	oracle_free(o);
}

static CU_TestInfo tests[] = {
	{"a thousand kills lose nothing", kill__loses_nothing},
	CU_TEST_INFO_NULL,
};

T_SUITE("kill", tests)
