/* SPDX-License-Identifier: MIT */
/*
 * t-kill.c - processes under load are killed at random; an oracle knows what must be there
 *
 * Eight workers write, each its own keys, and read everybody's. Beside the map lies the
 * oracle: for each key the number of the last write that was begun and of the last that was
 * acknowledged. What write number n of a key stores follows from n, so whoever reads a value,
 * or finds none, can tell whether that may be. A worker that starts after a kill first looks
 * at its keys: each must be as its last acknowledged write left it or as the one in flight.
 *
 * A write in flight when its writer is killed may still happen later: when a successor takes
 * the shard over. Until then both are right, and all in between when the key's next write was
 * killed as well; what was seen stays, or gives way to a later one.
 *
 * Three are killed at a time, so successors die too. Half of the kills are of any worker at any
 * moment; the other half are of one that is seen to hold a shard's lock for longer than it
 * works, since it was preempted there. Take-overs are counted in the map.
 */
#include "load.h"

#include "map.h"
#include "owner.h"

#include <signal.h>

#define WORKERS 8u
#define KEYS_EACH 24u
#define KEYS (WORKERS * KEYS_EACH)
#define AT_ONCE 3u
#define KILLS T_AMOUNT(1000u, 200u, 100u)
#define TAKEOVERS T_AMOUNT(300u, 30u, 10u)
#define PAUSE_US T_AMOUNT(6000u, 6000u, 100000u) /* at most, between kills */
#define LIMIT_S T_AMOUNT(50u, 120u, 120u)

struct cell {
	uint64_t begun;
	uint64_t done;
};

struct oracle {
	struct cell cell[KEYS];
	uint64_t reads, hits, writes, busy;
	uint64_t wrong; /* values torn, foreign, too old or too new */
	uint64_t lost;	/* an acknowledged write that is not there */
	uint64_t errors;
	int last_error;
	uint32_t stop;
};

static struct oracle *o;
static const char *name;

static size_t make_key(uint32_t k, char *key)
{
	return (size_t)sprintf(key, "kill/%u/%s", k,
			       k % 3 ? "x" : "a-key-that-is-longer-than-most");
}

/* What write @n of a key is. 0: nothing was ever written. */
static bool is_delete(uint64_t n)
{
	return n == 0 || n % 7 == 3;
}

static uint32_t length_of(uint32_t k, uint64_t n)
{
	uint64_t x = n * 2654435761u + k;

	x ^= x >> 13;
	if (n % 61 == 5)
		return 12000 + (uint32_t)(x % 9000); /* a chain of extents */
	return LOAD_MIN + (uint32_t)(x % 1900);
}

/* Is a result of get possible when write number was in [from, to]? */
static bool possible(uint32_t k, int r, const unsigned char *buf, size_t len, uint64_t from,
		     uint64_t to)
{
	uint64_t n;

	if (r == IPCMAP_NOTFOUND) {
		for (n = from; n <= to; n++)
			if (is_delete(n))
				return true;
		return false;
	}
	return r == 0 && load_is(buf, len, k, k % WORKERS, &n) && n >= from && n <= to &&
	       !is_delete(n) && len == length_of(k, n);
}

static void count(uint64_t *counter)
{
	im_add_rlx(counter, 1);
}

/* Anybody's key, at any time. */
static void read_one(struct ipcmap *m, uint32_t k)
{
	unsigned char buf[LOAD_CAP];
	char key[64];
	size_t len = 0, n = make_key(k, key);
	uint64_t from = im_load_acq(&o->cell[k].done);
	int r = ipcmap_get(m, key, n, buf, sizeof(buf), &len);

	im_full_barrier();
	count(&o->reads);
	if (r == IPCMAP_BUSY) {
		count(&o->busy);
		return;
	}
	if (r == 0)
		count(&o->hits);
	if (!possible(k, r, buf, len, from, im_load_acq(&o->cell[k].begun)))
		count(r == IPCMAP_NOTFOUND ? &o->lost : &o->wrong);
}

static void write_one(struct ipcmap *m, uint32_t k)
{
	static unsigned char buf[LOAD_CAP];
	struct cell *c = &o->cell[k];
	uint64_t n = im_load_rlx(&c->begun) + 1;
	char key[64];
	size_t key_len = make_key(k, key);
	int r;

	im_store_rel(&c->begun, n);
	if (is_delete(n)) {
		r = ipcmap_del(m, key, key_len);
		/* the writes since the last one acknowledged were killed, and never happened */
		if (r == IPCMAP_NOTFOUND && possible(k, r, NULL, 0, c->done, n - 1))
			r = 0;
	} else {
		load_make(buf, length_of(k, n), k, k % WORKERS, n);
		r = ipcmap_put(m, key, key_len, buf, length_of(k, n), NULL);
	}
	if (r) {
		count(&o->errors);
		o->last_error = r;
		return;
	}
	im_store_rel(&c->done, n);
	count(&o->writes);
}

/* After kills: which write is it now? @last: the shards are recovered, so it is for good. */
static void settle(struct ipcmap *m, uint32_t k, bool last)
{
	unsigned char buf[LOAD_CAP];
	struct cell *c = &o->cell[k];
	char key[64];
	size_t len = 0, n = make_key(k, key);
	uint64_t now = c->done;
	int r = ipcmap_get(m, key, n, buf, sizeof(buf), &len);

	while (now <= c->begun && !possible(k, r, buf, len, now, now))
		now++;
	if (now > c->begun)
		count(r == IPCMAP_NOTFOUND ? &o->lost : &o->wrong);
	else
		im_store_rel(&c->done, now);
	if (last)
		im_store_rel(&c->begun, c->done);
}

static int work(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	uint64_t x = 0x9e3779b97f4a7c15u ^ (uint64_t)getpid() << 20;
	struct ipcmap *m;

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	for (uint32_t i = 0; i < KEYS_EACH; i++)
		settle(m, i * WORKERS + me, false);
	while (!im_load32_acq(&o->stop)) {
		for (int i = 0; i < 3; i++)
			write_one(m, (uint32_t)(load_random(&x) % KEYS_EACH) * WORKERS + me);
		read_one(m, (uint32_t)(load_random(&x) % KEYS));
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
	struct ipcmap *m;
	uint32_t k;

	CU_ASSERT_FATAL(load_open(name, 0, 0, 0, &m) == 0);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	for (k = 0; k < KEYS; k++)
		settle(m, k, true);
	for (k = 0; k < KEYS; k++)
		there += !is_delete(o->cell[k].done);
	CU_ASSERT(o->lost == lost && o->wrong == wrong);
	CU_ASSERT(ipcmap_stat(m, &st) == 0);
	CU_ASSERT(st.entries == there);
	for (k = 0; k < KEYS; k++)
		if (!is_delete(o->cell[k].done))
			write_one(m, k);
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

	o = t_shared(sizeof(*o));
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
	o->stop = 1;
	for (uint32_t k = 0; k < WORKERS; k++)
		CU_ASSERT(t_ok(pid[k]));
	printf("\n    %u kills (%u of them of one that held a lock), %llu take-overs, %llu "
	       "reads "
	       "(%llu hits, %llu busy), %llu writes, %llu errors (last %d), %llu wrong, %llu "
	       "lost, "
	       "%.1f s, seed %llu ",
	       kills, aimed, (unsigned long long)takeovers(m), (unsigned long long)o->reads,
	       (unsigned long long)o->hits, (unsigned long long)o->busy,
	       (unsigned long long)o->writes, (unsigned long long)o->errors, o->last_error,
	       (unsigned long long)o->wrong, (unsigned long long)o->lost,
	       (double)(t_now_ms() - t0) / 1000, (unsigned long long)seed);
	CU_ASSERT(kills >= KILLS);
	CU_ASSERT(takeovers(m) >= TAKEOVERS);
	CU_ASSERT(o->wrong == 0 && o->lost == 0 && o->errors == 0);
	ipcmap_close(m);
	compare();
	ipcmap_unlink(name);
	t_shared_free(o, sizeof(*o));
}

static CU_TestInfo tests[] = {
	{"a thousand kills lose nothing", kill__loses_nothing},
	CU_TEST_INFO_NULL,
};

T_SUITE("kill", tests)
