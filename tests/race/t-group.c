/* SPDX-License-Identifier: MIT */
/*
 * t-group.c - groups of changes by several processes, some of them killed, beside consistent
 * readers
 *
 * Accounts hold numbers whose sum never changes, and pairs of keys are there both or neither. A
 * transfer is a group with the versions that were read; whoever reads consistently must see the
 * sum, and both keys of a pair or none.
 */
#include "../unit/kit.h"

#include "crash.h"
#include "load.h"

#include <pthread.h>
#include <signal.h>

#define ACCOUNTS 12u
#define EACH 1000
#define PAIRS 4u
#define WRITERS 3u

static struct ipcmap *m;

struct shared {
	uint32_t stop;
	uint64_t transfers, refused, views, busy, torn, wrong_sum, failed;
};
static struct shared *sh;


static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static size_t account(uint64_t i, char *key)
{
	return (size_t)sprintf(key, "account-%u", (unsigned)i);
}

static size_t half(uint64_t pair, unsigned side, char *key)
{
	return (size_t)sprintf(key, "pair-%u-%c", (unsigned)pair, side ? 'b' : 'a');
}

struct view {
	char key[ACCOUNTS + 2 * PAIRS][16];
	char val[ACCOUNTS + 2 * PAIRS][16];
	struct ipcmap_mget item[ACCOUNTS + 2 * PAIRS];
};

static struct ipcmap_mget *ask(struct view *v, size_t i, size_t key_len)
{
	v->item[i] = (struct ipcmap_mget){.key = v->key[i],
					  .key_len = key_len,
					  .value = {.buf = v->val[i], .cap = sizeof(v->val[i]) - 1}};
	return &v->item[i];
}

/* It may have been read more than once, into the same room. */
static void end_texts(struct view *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		v->val[i][v->item[i].rc == 0 ? v->item[i].value.len : 0] = '\0';
}

/* Everything, at one moment. */
static int look(struct ipcmap *map, struct view *v)
{
	int r;

	for (size_t i = 0; i < ACCOUNTS; i++)
		ask(v, i, account(i, v->key[i]));
	for (size_t i = 0; i < 2 * PAIRS; i++)
		ask(v, ACCOUNTS + i, half(i / 2, i % 2, v->key[ACCOUNTS + i]));
	r = ipcmap_mget_consistent(map, v->item, ARRAY_LEN(v->item), IPCMAP_FOREVER);
	if (r >= 0)
		end_texts(v, ARRAY_LEN(v->item));
	return r;
}

static void judge(const struct view *v)
{
	long sum = 0;

	for (size_t i = 0; i < ACCOUNTS; i++)
		sum += v->item[i].rc == 0 ? atol(v->val[i]) : 1000000;
	if (sum != ACCOUNTS * EACH)
		im_add_rlx(&sh->wrong_sum, 1);
	for (size_t i = ACCOUNTS; i < ACCOUNTS + 2 * PAIRS; i += 2)
		if (v->item[i].rc != v->item[i + 1].rc ||
		    (v->item[i].rc == 0 && strcmp(v->val[i], v->val[i + 1]) != 0))
			im_add_rlx(&sh->torn, 1);
}

static void read_once(struct ipcmap *map)
{
	struct view v;
	int r = look(map, &v);

	if (r == IPCMAP_BUSY) {
		im_add_rlx(&sh->busy, 1);
	} else if (r < 0) {
		im_add_rlx(&sh->failed, 1);
	} else {
		judge(&v);
		im_add_rlx(&sh->views, 1);
	}
}

/* Two accounts change by the same number, and a pair comes or goes with them. */
static void transfer(uint64_t *x)
{
	uint64_t a = next(x) % ACCOUNTS, b = (a + 1 + next(x) % (ACCOUNTS - 1)) % ACCOUNTS;
	uint64_t pair = next(x) % PAIRS;
	struct ipcmap_change c[4];
	struct view v;
	long by = (long)(next(x) % 50);
	bool comes;
	int r;

	ask(&v, 0, account(a, v.key[0]));
	ask(&v, 1, account(b, v.key[1]));
	ask(&v, 2, half(pair, 0, v.key[2]));
	ask(&v, 3, half(pair, 1, v.key[3]));
	if (ipcmap_mget_consistent(m, v.item, 4, IPCMAP_FOREVER) < 2)
		return;
	end_texts(&v, 4);
	comes = v.item[2].rc != 0;
	memset(c, 0, sizeof(c));
	for (unsigned i = 0; i < 4; i++) {
		c[i].key = v.item[i].key;
		c[i].key_len = v.item[i].key_len;
		c[i].version = v.item[i].value.version;
		c[i].flags = i < 2 ? IPCMAP_IF_VERSION
				   : comes ? IPCMAP_IF_ABSENT
					   : IPCMAP_IF_VERSION | IPCMAP_CHANGE_DEL;
	}
	sprintf(v.val[0], "%ld", atol(v.val[0]) - by);
	sprintf(v.val[1], "%ld", atol(v.val[1]) + by);
	sprintf(v.val[2], "%lu", (unsigned long)(next(x) % 100000));
	for (unsigned i = 0; i < (comes ? 4u : 2u); i++) {
		c[i].val = v.val[i < 3 ? i : 2];
		c[i].val_len = strlen(c[i].val);
	}
	r = ipcmap_commit(m, c, 4, IPCMAP_FOREVER);
	if (r == 0)
		im_add_rlx(&sh->transfers, 1);
	else if (r == IPCMAP_MISMATCH || r == IPCMAP_EXISTS || r == IPCMAP_NOTFOUND)
		im_add_rlx(&sh->refused, 1);
	else
		im_add_rlx(&sh->failed, 1);
}

static void begin(const char *name, unsigned shards)
{
	char key[16];

	m = kit_made(name, KIT_MIB, 0, shards);
	sh = t_shared(sizeof(*sh));
	for (unsigned i = 0; i < ACCOUNTS; i++)
		CU_ASSERT(ipcmap_put(m, key, account(i, key), "1000", 4, NULL) == 0);
}

static void done(void)
{
	read_once(m);
	CU_ASSERT(sh->wrong_sum == 0 && sh->torn == 0 && sh->failed == 0);
	if (sh->wrong_sum || sh->torn || sh->failed)
		fprintf(stderr, "\n  %lu wrong sums, %lu torn pairs, %lu failed of %lu views",
			(unsigned long)sh->wrong_sum, (unsigned long)sh->torn,
			(unsigned long)sh->failed, (unsigned long)sh->views);
	t_shared_free(sh, sizeof(*sh));
	kit_gone(m);
}

/* ---- threads of one process ---- */

static void *write_thread(void *arg)
{
	uint64_t x = 99 + (uintptr_t)arg;

	while (!im_load32_acq(&sh->stop))
		transfer(&x);
	return NULL;
}

static void group__threads_see_whole_groups(void)
{
	uint64_t enough = T_AMOUNT(3000u, 300u, 60u);
	pthread_t t[WRITERS];

	begin(T_NAME, 4);
	for (unsigned i = 0; i < WRITERS; i++)
		CU_ASSERT_FATAL(pthread_create(&t[i], NULL, write_thread,
					       (void *)(uintptr_t)i) == 0);
	while (im_load_rlx(&sh->views) < enough || im_load_rlx(&sh->transfers) < enough)
		read_once(m);
	im_store32_rel(&sh->stop, 1);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(t[i], NULL);
	done();
}

/* ---- processes, killed ---- */

static int write_process(void *arg)
{
	uint64_t x = 7 + (uintptr_t)arg;

	while (!im_load32_acq(&sh->stop))
		transfer(&x);
	return 0;
}

static int read_process(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map = m;

	if (arg) {
		char name[4096];

		strcpy(name, m->seg->name);
		ipcmap_close(m);
		o.flags = IPCMAP_RDONLY;
		T_MUST(ipcmap_open(name, &o, &map) == 0);
	}
	while (!im_load32_acq(&sh->stop))
		read_once(map);
	return 0;
}

static void group__killed_writers_leave_whole_groups(void)
{
	unsigned kills = T_AMOUNT(150, 30, 5);
	pid_t w[WRITERS], r[2];
	uint64_t x = 5;

	begin(T_NAME, 8);
	for (unsigned i = 0; i < WRITERS; i++)
		w[i] = t_run(write_process, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < 2; i++)
		r[i] = t_run(read_process, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < kills; i++) {
		uint64_t was = im_load_rlx(&sh->transfers), end = t_now_ms() + 2000;
		unsigned k = (unsigned)(next(&x) % WRITERS);

		while (im_load_rlx(&sh->transfers) < was + 20 && t_now_ms() < end)
			usleep((unsigned)(next(&x) % 3000));
		t_kill(w[k]);
		w[k] = t_run(write_process, (void *)(uintptr_t)(100 + i));
	}
	im_store32_rel(&sh->stop, 1);
	for (unsigned i = 0; i < WRITERS; i++)
		CU_ASSERT(t_ok(w[i]));
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT(t_ok(r[i]));
	CU_ASSERT(sh->views > 0 && sh->transfers > 0);
	done();
}

#if HAVE_POINTS
static char key_of[3][20]; /* one for each of the first three shards */

static void choose_keys(void)
{
	for (uint32_t k = 0, i = 0; k < 3; i++) {
		size_t len = (size_t)sprintf(key_of[k], "key-%u", i);

		k += kit_shard_of(m, key_of[k], len) == k;
	}
}

/* Of the keys of shards @from and @from + 1. */
static int commit_two(uint32_t from, uint64_t deadline_ns)
{
	struct ipcmap_change c[2];

	memset(c, 0, sizeof(c));
	for (unsigned i = 0; i < 2; i++) {
		c[i].key = key_of[from + i];
		c[i].key_len = strlen(key_of[from + i]);
		c[i].val = "group";
		c[i].val_len = 5;
	}
	return ipcmap_commit(m, c, 2, deadline_ns);
}

static void die_committed(const char *point)
{
	if (strcmp(point, "commit.done") == 0)
		raise(SIGKILL);
}

static int commit_and_die(void *arg)
{
	(void)arg;
	im_crash_hook = die_committed;
	commit_two(1, 0);
	return 1;
}

static void stop_storing(const char *point)
{
	if (strcmp(point, "group.stored") == 0) {
		im_store32_rel(&sh->stop, 1);
		raise(SIGSTOP);
	}
}

static int take_over_and_stop(void *arg)
{
	(void)arg;
	im_crash_hook = stop_storing;
	return kit_put(m, key_of[2], "after");
}

static int commit_late(void *arg)
{
	uint64_t began = t_now_ms();

	(void)arg;
	T_MUST(commit_two(0, 100 * UINT64_C(1000000)) == IPCMAP_BUSY);
	T_MUST(t_now_ms() - began < T_LIMIT_MS);
	return 0;
}

/*
 * A group is left in its first shard when another one is held by somebody stopped. Who met it
 * in the second of its own shards forgot, each time it entered the first, how long it had
 * waited.
 */
static void group__older_one_keeps_others_to_their_deadline(void)
{
	pid_t stopped;

	begin(T_NAME, 8);
	choose_keys();
	/* shard 0 needs no memory any more, for which it would have to wait first */
	CU_ASSERT(kit_put(m, key_of[0], "before") == 0);
	CU_ASSERT(t_killed(t_run(commit_and_die, NULL)));
	stopped = t_run(take_over_and_stop, NULL);
	while (!im_load32_acq(&sh->stop))
		usleep(1000);
	CU_ASSERT(t_ok(t_run(commit_late, NULL)));
	kill(stopped, SIGCONT);
	CU_ASSERT(t_ok(stopped));
	CU_ASSERT(commit_two(0, 0) == 0);
	CU_ASSERT(kit_is(m, key_of[1], "group") && kit_is(m, key_of[2], "after"));
	CU_ASSERT(kit_sound(m));
	done();
}
#else
static void group__older_one_keeps_others_to_their_deadline(void)
{
	t_skip("needs crash points");
}
#endif

static CU_TestInfo tests[] = {
	{"threads see whole groups", group__threads_see_whole_groups},
	{"killed writers leave whole groups", group__killed_writers_leave_whole_groups},
	{"an older group keeps others to their deadline",
	 group__older_one_keeps_others_to_their_deadline},
	CU_TEST_INFO_NULL,
};
T_SUITE("groups by processes", tests)
