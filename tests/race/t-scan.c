/* SPDX-License-Identifier: MIT */
/*
 * t-scan.c - a scan shows every key once, whatever other processes and its own callback do
 *
 * 50,000 keys stay. Other processes update them, make as many others come and go, so that the
 * index grows and the log is cleaned, and compact, so that buckets are merged. Meanwhile scans
 * go from end to end, in one process or from hand to hand. And callbacks leave in all ways.
 */
#include "load.h"

#include "map.h"
#include "os.h"

#include <setjmp.h>
#include <signal.h>

#define STABLE 50000u
#define OTHERS 60000u
#define CHURNERS 2u
#define SCANS 6u
#define PATIENCE_MS 15000u

static const char *name;

struct shared {
	uint32_t stop;
	uint64_t rounds; /* all others came and went */
	uint64_t compactions;
	uint64_t cursor;
	uint32_t faults;
	uint8_t times[STABLE]; /* how often each stable key was shown */
};

static struct shared *sh;

static int put(struct ipcmap *m, char kind, uint32_t i)
{
	char key[24];

	return ipcmap_put(m, key, (size_t)sprintf(key, "%c%u", kind, i), &i, sizeof(i), NULL);
}

static int del(struct ipcmap *m, char kind, uint32_t i)
{
	char key[24];

	return ipcmap_del(m, key, (size_t)sprintf(key, "%c%u", kind, i));
}

static struct ipcmap *attached(unsigned flags)
{
	struct ipcmap *m;

	T_MUST(load_open(name, flags, 0, 0, &m) == 0);
	return m;
}

/* ---- what others do ---- */

static bool over(void)
{
	return im_load32_acq(&sh->stop);
}

/* The others come and go; in between, stable keys are written again. */
static int churn(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	struct ipcmap *m = attached(0);
	uint64_t x = 99 + me;

	while (!over()) {
		for (uint32_t i = me; i < OTHERS && !over(); i += CHURNERS) {
			T_MUST(put(m, 'o', i) == 0);
			T_MUST(put(m, 's', (uint32_t)(load_random(&x) % STABLE)) == 0);
		}
		for (uint32_t i = me; i < OTHERS; i += CHURNERS) {
			int r = del(m, 'o', i);

			T_MUST(r == 0 || (over() && r == IPCMAP_NOTFOUND));
		}
		im_add_rlx(&sh->rounds, 1);
	}
	ipcmap_close(m);
	return 0;
}

static struct im_os os;

static uint64_t leap(void)
{
	static uint64_t ahead;

	ahead += 500000000;
	return im_os_real.now() + ahead;
}

/* Without a rest; waits for locks are short then, too. */
static int compact(void *arg)
{
	struct ipcmap *m = attached(0);

	(void)arg;
	os = im_os_real;
	os.now = leap;
	im_os = &os;
	while (!over()) {
		int r = ipcmap_compact(m, NULL, NULL);

		T_MUST(r == 0 || r == IPCMAP_BUSY);
		im_add_rlx(&sh->compactions, r == 0);
	}
	ipcmap_close(m);
	return 0;
}

static pid_t others[CHURNERS + 1];

static void others_begin(void)
{
	sh->stop = 0;
	for (uint32_t k = 0; k < CHURNERS; k++)
		others[k] = t_run(churn, &k);
	others[CHURNERS] = t_run(compact, NULL);
}

static void others_end(void)
{
	im_store32_rel(&sh->stop, 1);
	for (unsigned k = 0; k < ARRAY_LEN(others); k++)
		CU_ASSERT(t_ok(others[k]));
}

/* ---- scans ---- */

static struct ipcmap *begin(const char *segment)
{
	struct ipcmap *m;
	unsigned bad = 0;

	name = segment;
	sh = t_shared(sizeof(*sh));
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 16u << 20, 4, &m) == 0);
	for (uint32_t i = 0; i < STABLE; i++)
		bad += put(m, 's', i) != 0;
	CU_ASSERT(bad == 0);
	return m;
}

static void end(struct ipcmap *m)
{
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_shared_free(sh, sizeof(*sh));
}

static void count(const struct ipcmap_item *item)
{
	uint32_t i = 0;

	if (*(const char *)item->key != 's')
		return;
	if (item->val_len == sizeof(i))
		memcpy(&i, item->val, sizeof(i));
	if (item->val_len != sizeof(i) || i >= STABLE || sh->times[i] == UINT8_MAX)
		sh->faults++;
	else
		sh->times[i]++;
}

static int show(void *arg, const struct ipcmap_item *item)
{
	(void)arg;
	count(item);
	return 0;
}

/* Of the stable keys, those that were not shown once; and it begins anew. */
static uint32_t not_once(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < STABLE; i++)
		n += sh->times[i] != 1;
	memset(sh->times, 0, sizeof(sh->times));
	return n;
}

/* A read-only attach cannot take a lock, so it may have to ask again: the cursor says where. */
static int scan_all(struct ipcmap *m)
{
	uint64_t cursor = 0;
	int r;

	do
		r = ipcmap_scan(m, &cursor, NULL, 0, 0, show, NULL);
	while (r == IPCMAP_BUSY);
	return r;
}

static void scan__shows_stable_keys_once_while_processes_churn(void)
{
	struct ipcmap *m = begin(T_NAME), *ro = attached(IPCMAP_RDONLY);
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	uint64_t until = t_now_ms() + PATIENCE_MS, most = 0, least = UINT64_MAX;
	unsigned scans = 0;

	others_begin();
	while ((scans < SCANS || sh->rounds < 2 * CHURNERS || sh->compactions < 3) &&
	       t_now_ms() < until) {
		CU_ASSERT(scan_all(scans % 3 == 2 ? ro : m) == 0);
		CU_ASSERT(not_once() == 0);
		CU_ASSERT(ipcmap_stat(m, &st) == 0);
		most = max_u64(most, st.buckets);
		least = min_u64(least, st.buckets);
		scans++;
	}
	others_end();
	printf("(%u scans, %llu rounds, %llu compactions, %llu to %llu buckets, %llu cleaned) ",
	       scans, (unsigned long long)sh->rounds, (unsigned long long)sh->compactions,
	       (unsigned long long)least, (unsigned long long)most,
	       (unsigned long long)st.cleaned);
	CU_ASSERT(scans > 0 && sh->faults == 0);
	CU_ASSERT(most > least && st.cleaned > 0);
	CU_ASSERT(scan_all(m) == 0 && not_once() == 0);
	ipcmap_close(ro);
	end(m);
}

/* ---- from hand to hand ---- */

struct leg {
	uint64_t *cursor;
	uint64_t at;   /* the cursor at which what was counted last was shown */
	uint32_t left; /* to be counted */
};

/*
 * Ends at the first key of a bucket, which is not counted: a scan that goes on from the cursor
 * begins with that bucket.
 */
static int show_some(void *arg, const struct ipcmap_item *item)
{
	struct leg *leg = arg;

	if (!leg->left && *leg->cursor != leg->at)
		return 1;
	leg->at = *leg->cursor;
	count(item);
	leg->left -= leg->left != 0;
	return 0;
}

static int run_leg(void *arg)
{
	uint64_t cursor = sh->cursor;
	struct leg leg = {&cursor, UINT64_MAX, *(uint32_t *)arg};
	struct ipcmap *m = attached(leg.left % 2 ? IPCMAP_RDONLY : 0);
	int r;

	do
		r = ipcmap_scan(m, &cursor, NULL, 0, 0, show_some, &leg);
	while (r == IPCMAP_BUSY);
	T_MUST(r == (cursor ? 1 : 0));
	sh->cursor = cursor;
	ipcmap_close(m);
	return 0;
}

static void scan__goes_on_in_another_process(void)
{
	struct ipcmap *m = begin(T_NAME);
	uint64_t x = t_now_ms() | 1;
	unsigned legs = 0;

	others_begin();
	do {
		uint32_t some = 1 + (uint32_t)(load_random(&x) % 5000);

		CU_ASSERT(t_ok(t_run(run_leg, &some)));
		legs++;
	} while (sh->cursor && legs < STABLE);
	others_end();
	CU_ASSERT(legs > 5 && sh->faults == 0 && not_once() == 0);
	end(m);
}

/* ---- callbacks ---- */

static struct ipcmap *mine;
static uint32_t shown;

/* In a forked child: the map is used in all ways. */
static int use_it(void *arg)
{
	uint64_t entries;
	char buf[8];
	size_t len;

	(void)arg;
	T_MUST(put(mine, 'c', 1) == 0 && put(mine, 's', 1) == 0);
	T_MUST(ipcmap_get(mine, "s1", 2, buf, sizeof(buf), &len) == 0 && len == 4);
	T_MUST(del(mine, 'c', 1) == 0);
	memset(sh->times, 0, sizeof(sh->times));
	T_MUST(scan_all(mine) == 0 && not_once() == 0);
	T_MUST(ipcmap_entries(mine, &entries) == 0 && entries >= STABLE);
	return 0;
}

/* The child's counts are its own. */
static int fork_now_and_then(void *arg, const struct ipcmap_item *item)
{
	struct shared *ours = sh;

	(void)arg;
	count(item);
	if (++shown % 9999 == 0) {
		sh = t_shared(sizeof(*sh));
		CU_ASSERT(t_ok(t_run(use_it, NULL)));
		t_shared_free(sh, sizeof(*sh));
		sh = ours;
	}
	return 0;
}

static void scan__callback_may_fork(void)
{
	uint64_t cursor = 0;

	mine = begin(T_NAME);
	shown = 0;
	CU_ASSERT(ipcmap_scan(mine, &cursor, NULL, 0, 0, fork_now_and_then, NULL) == 0);
	CU_ASSERT(shown == STABLE && sh->faults == 0 && not_once() == 0);
	end(mine);
}

/* Each stable key is deleted and put again, and another one put and deleted. */
static int rewrite(void *arg, const struct ipcmap_item *item)
{
	uint32_t i;

	(void)arg;
	if (*(const char *)item->key != 's')
		return 0;
	count(item);
	memcpy(&i, item->val, sizeof(i));
	CU_ASSERT(del(mine, 's', i) == 0 && put(mine, 'x', i) == 0);
	CU_ASSERT(put(mine, 's', i) == 0);
	CU_ASSERT(i % 2 == 0 || del(mine, 'x', i) == 0);
	return 0;
}

static void scan__callback_may_write(void)
{
	uint64_t cursor = 0;
	uint32_t none = 0;

	mine = begin(T_NAME);
	CU_ASSERT(ipcmap_scan(mine, &cursor, NULL, 0, 0, rewrite, NULL) == 0);
	/* a key that went for a moment may be left out, and a bucket is shown as it was */
	for (uint32_t i = 0; i < STABLE; i++)
		none += sh->times[i] > 1;
	CU_ASSERT(none == 0 && sh->faults == 0);
	not_once();
	CU_ASSERT(scan_all(mine) == 0 && not_once() == 0);
	end(mine);
}

static jmp_buf out;

static int jump(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	if (++shown == *(uint32_t *)arg)
		longjmp(out, 1);
	return 0;
}

/* Another process needs what a lock left behind would keep from it. */
static int write_everywhere(void *arg)
{
	struct ipcmap *m = attached(0);
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char key[24];

	(void)arg;
	how.deadline_ns = IPCMAP_NOWAIT;
	for (uint32_t i = 0; i < 2000; i++)
		T_MUST(ipcmap_put(m, key, (size_t)sprintf(key, "s%u", i), &i, sizeof(i),
				  &how) == 0);
	ipcmap_close(m);
	return 0;
}

/* In a child, since the buffers of scans that were left are lost. */
static int leave_by_jumps(void *arg)
{
	static uint64_t cursor;
	static uint32_t at;

	(void)arg;
	T_MUST(load_open(name, 0, 0, 0, &mine) == 0);
	for (at = 1; at < STABLE; at = at * 3 + 1) {
		shown = 0;
		cursor = 0;
		if (setjmp(out) == 0) {
			ipcmap_scan(mine, &cursor, NULL, 0, 0, jump, &at);
			return 1;
		}
		T_MUST(shown == at);
		T_MUST(put(mine, 's', at) == 0 && put(mine, 'j', at) == 0);
		T_MUST(del(mine, 'j', at) == 0);
		T_MUST(t_ok(t_run(write_everywhere, NULL)));
		T_MUST(scan_all(mine) == 0 && not_once() == 0);
		T_MUST(ipcmap_check(mine, load_print, NULL) == 0);
	}
	ipcmap_close(mine);
	return at < STABLE;
}

static void scan__callback_may_jump_out(void)
{
	struct ipcmap *m = begin(T_NAME);

	CU_ASSERT(t_ok(t_run(leave_by_jumps, NULL)));
	CU_ASSERT(scan_all(m) == 0 && not_once() == 0 && sh->faults == 0);
	end(m);
}

static int leave(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	if (++shown < 20000)
		return 0;
	if (arg)
		raise(SIGKILL);
	_exit(0);
}

static int scan_and_leave(void *arg)
{
	struct ipcmap *m = attached(0);
	uint64_t cursor = 0;

	shown = 0;
	ipcmap_scan(m, &cursor, NULL, 0, 0, leave, arg);
	return 1;
}

static void scan__callback_may_end_the_process(void)
{
	struct ipcmap *m = begin(T_NAME);
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	CU_ASSERT(t_ok(t_run(scan_and_leave, NULL)));
	CU_ASSERT(t_killed(t_run(scan_and_leave, m)));
	CU_ASSERT(t_ok(t_run(write_everywhere, NULL)));
	CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.attached == 1 && st.takeovers == 0);
	CU_ASSERT(scan_all(m) == 0 && not_once() == 0 && sh->faults == 0);
	end(m);
}

static CU_TestInfo tests[] = {
	{"stable keys are shown once while processes churn",
	 scan__shows_stable_keys_once_while_processes_churn},
	{"a scan goes on in another process", scan__goes_on_in_another_process},
	{"the callback may fork", scan__callback_may_fork},
	{"the callback may write", scan__callback_may_write},
	{"the callback may jump out", scan__callback_may_jump_out},
	{"the callback may end the process", scan__callback_may_end_the_process},
	CU_TEST_INFO_NULL,
};
T_SUITE("scan by processes", tests)
