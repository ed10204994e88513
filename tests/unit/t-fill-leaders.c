/* SPDX-License-Identifier: MIT */
/*
 * t-fill-leaders.c - who loads: what loaders may do, who waits for them, leaders that stop or die
 */
#include "fill.h"

#include "crash.h"

#include <setjmp.h>
#include <signal.h>

/* ---- what loaders may do ---- */

static int load_itself(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct loader other = {.val = "other"};
	int *r = arg;

	*r = ipcmap_fill(m, key, key_len, NULL, load, &other,
			 &(struct ipcmap_value){.buf = got, .cap = sizeof(got)});
	CU_ASSERT(other.loads == 0);
	CU_ASSERT(fill("another", &other) == 0 && other.loads == 1);
	CU_ASSERT(kit_put(m, "third", "3") == 0);
	ret->val = "mine";
	ret->len = 4;
	return 0;
}

static void fill__of_the_same_key_inside_is_a_deadlock(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	int r = 1;

	with_map(T_NAME);
	CU_ASSERT(ipcmap_fill(m, "k", 1, NULL, load_itself, &r, &v) == 0);
	CU_ASSERT(r == IPCMAP_DEADLOCK);
	CU_ASSERT(kit_is(m, "k", "mine") && kit_is(m, "another", "other"));
	kit_gone(m);
}

static jmp_buf out;

static int load_and_jump(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	(void)ret;
	longjmp(out, 1);
}

static void fill__left_by_longjmp_ends_with_its_time(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	struct loader l = {.val = "v"};
	static int left;

	with_map(T_NAME);
	kit_clock_on();
	left = 0;
	for (volatile int i = 0; i < 20; i++) {
		char key[8];

		sprintf(key, "j%d", i % 10);
		if (setjmp(out) == 0)
			ipcmap_fill(m, key, 2, NULL, load_and_jump, NULL, &v);
		else
			left++;
		if (i == 9)
			kit_time += 10 * KIT_SEC;
	}
	CU_ASSERT(left == 20);
	CU_ASSERT(fill("j9", &l) == IPCMAP_DEADLOCK);
	CU_ASSERT(kit_put(m, "j9", "put") == 0 && ipcmap_del(m, "j9", 2) == 0);
	CU_ASSERT(fill("j9", &l) == 0 && l.loads == 1);
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(fill("j1", &l) == 0 && l.loads == 2);
	kit_clock_off();
	kit_gone(m);
}

static int load_and_exit(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	(void)ret;
	_exit(0);
}

static int fill_and_exit(void *arg)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};

	(void)arg;
	ipcmap_fill(m, "k", 1, NULL, load_and_exit, NULL, &v);
	return 1;
}

static void fill__leader_that_exits_is_succeeded(void)
{
	struct loader l = {.val = "v"};

	with_map(T_NAME);
	for (unsigned i = 0; i < FMT_LEASES + 4; i++)
		CU_ASSERT(t_ok(t_run(fill_and_exit, NULL)));
	CU_ASSERT(m->leases[0].owner != 0 && m->shards[0].leases == 1);
	CU_ASSERT(fill("k", &l) == 0 && l.loads == 1);
	CU_ASSERT(m->shards[0].leases == 0);
	kit_gone(m);
}

static unsigned *forks; /* shared: who stored */

static int load_in_two_processes(void *arg, const void *key, size_t key_len,
				 struct ipcmap_loaded *ret)
{
	struct loader l = {.val = "of the child"};
	pid_t *child = arg;

	(void)key;
	(void)key_len;
	*child = t_fork();
	if (*child == 0)
		T_MUST(fill("c", &l) == 0 && l.loads == 1);
	ret->val = "forked";
	ret->len = 6;
	++*forks;
	return 0;
}

/* Both return from the loader; what both loaded is stored once. */
static void fill__loader_that_forks(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	struct loader l = {.val = "again"};
	pid_t child = -1;
	int r;

	with_map(T_NAME);
	forks = t_shared(sizeof(*forks));
	r = ipcmap_fill(m, "k", 1, NULL, load_in_two_processes, &child, &v);
	if (child == 0)
		_exit(r);
	CU_ASSERT(r == 0 && t_ok(child));
	CU_ASSERT(*forks >= 2 && kit_is(m, "k", "forked") && kit_is(m, "c", "of the child"));
	CU_ASSERT(fill("k", &l) == 0 && l.loads == 0);
	t_shared_free(forks, sizeof(*forks));
	kit_gone(m);
}

/* ---- who waits ---- */

static unsigned wakes;

static int count_wake(uint32_t *word, int n)
{
	(void)n;
	wakes += word == &m->leases[0].bell;
	return 0;
}

/* When a lease ends, however it does, those who listen are woken; when nobody does, none. */
static void fill__whoever_waits_is_woken(void)
{
	static struct im_os os;
	struct ipcmap_lease a;

	with_map(T_NAME);
	os = im_os_real;
	os.futex_wake = count_wake;
	im_os = &os;
	for (unsigned i = 0; i < 10; i++) {
		CU_ASSERT(lease("k", &a) == IPCMAP_LEAD);
		wakes = 0;
		if (i % 2)
			im_bell_listen(&m->leases[0].bell);
		switch (i / 2) {
		case 0:
			CU_ASSERT(lease_put("k", &a, "v") == 0);
			break;
		case 1:
			CU_ASSERT(ipcmap_lease_fail(m, "k", 1, &a, NULL, 0) == 0);
			break;
		case 2:
			CU_ASSERT(kit_put(m, "k", "v") == 0);
			break;
		case 3:
			CU_ASSERT(ipcmap_del(m, "k", 1) == IPCMAP_NOTFOUND);
			break;
		case 4:
			CU_ASSERT(ipcmap_del_prefix(m, "k", 1, NULL) == 0);
			break;
		}
		CU_ASSERT(wakes == i % 2);
		ipcmap_del(m, "k", 1);
	}
	im_os = &im_os_real;
	kit_gone(m);
}

/* ---- the table ---- */

static void fill__full_table_waits_for_a_place(void)
{
	struct ipcmap_lease l[FMT_LEASES], more;
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;

	with_map(T_NAME);
	kit_clock_on();
	for (unsigned i = 0; i < FMT_LEASES; i++)
		CU_ASSERT(lease(kit_key(i).text, &l[i]) == IPCMAP_LEAD);
	CU_ASSERT(kit_sound(m));
	CU_ASSERT(lease("more", &more) == IPCMAP_BUSY);
	how.deadline_ns = 30 * KIT_MS;
	CU_ASSERT(lease_how("more", &more, &how) == IPCMAP_BUSY);
	CU_ASSERT(lease_put(kit_key(3).text, &l[3], "v") == 0);
	CU_ASSERT(lease("more", &more) == IPCMAP_LEAD);
	CU_ASSERT(lease("yet more", &l[3]) == IPCMAP_BUSY);
	/* when their time is over they can be had */
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(lease("yet more", &l[3]) == IPCMAP_LEAD);
	CU_ASSERT(lease_put("yet more", &l[3], "v") == 0);
	CU_ASSERT(lease_put("more", &more, "v") == 0); /* late, but nobody else had it */
	kit_clock_off();
	kit_gone(m);
}

/* Leases that nobody ended cost writes nothing for ever. */
static void fill__forgotten_leases_are_ended_by_writes(void)
{
	struct ipcmap_lease a;

	with_map(T_NAME);
	kit_clock_on();
	CU_ASSERT(lease("k", &a) == IPCMAP_LEAD);
	kit_time += 69 * KIT_SEC;
	CU_ASSERT(kit_put(m, "other", "v") == 0 && m->shards[0].leases == 1);
	kit_time += 2 * KIT_SEC;
	CU_ASSERT(kit_put(m, "other", "v") == 0 && m->shards[0].leases == 0);
	CU_ASSERT(lease_put("k", &a, "v") == IPCMAP_MISMATCH);
	kit_clock_off();
	kit_gone(m);
}

/* ---- a stopped leader ---- */

static struct t_gate leads, goes_on;

static int lead_and_stop(void *arg)
{
	struct ipcmap_lease a;

	(void)arg;
	T_MUST(lease("k", &a) == IPCMAP_LEAD);
	t_gate_pass(&leads);
	t_gate_wait(&goes_on);
	T_MUST(lease_put("k", &a, "stopped") == IPCMAP_MISMATCH);
	return 0;
}

static void fill__stopped_leader_is_overtaken_and_refused(void)
{
	struct loader l = {.val = "in time"};
	struct ipcmap_lease a;
	pid_t pid;

	with_map(T_NAME);
	kit_clock_on();
	t_gate_open(&leads);
	t_gate_open(&goes_on);
	pid = t_run(lead_and_stop, NULL);
	t_gate_wait(&leads);
	kill(pid, SIGSTOP);
	CU_ASSERT(lease("k", &a) == IPCMAP_BUSY);
	kit_time += 10 * KIT_SEC;
	CU_ASSERT(fill("k", &l) == 0 && l.loads == 1);
	kill(pid, SIGCONT);
	t_gate_pass(&goes_on);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(kit_is(m, "k", "in time"));
	t_gate_close(&leads);
	t_gate_close(&goes_on);
	kit_clock_off();
	kit_gone(m);
}

#if defined(IM_CHECK) && IM_CHECK

/* ---- a delete by prefix beside the put of a load ---- */

static struct {
	uint32_t begin, deleted, armed;
} *with;

static int delete_all(void *unused)
{
	(void)unused;
	while (!im_load32_acq(&with->begin))
		t_sleep_ms(1);
	T_MUST(ipcmap_del_prefix(m, "k", 1, NULL) == 0);
	im_store32_rel(&with->deleted, 1);
	return 0;
}

/* The lease has ended, and the list is not armed: nothing of the value is there yet. */
static void delete_meanwhile(const char *point)
{
	if (!with->armed || strcmp(point, "redo.listed") != 0 || m->shards[0].leases)
		return;
	with->armed = 0;
	im_store32_rel(&with->begin, 1);
	for (unsigned i = 0; i < 100 && !im_load32_acq(&with->deleted); i++)
		t_sleep_ms(1);
}

static int load_and_arm(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	with->armed = 1;
	return load(arg, key, key_len, ret);
}

/* What was loaded before it is gone after it, however little of it was there when it began. */
static void fill__put_under_way_does_not_outlive_del_prefix(void)
{
	struct ipcmap_value v = {.buf = got, .cap = sizeof(got)};
	struct loader l = {.val = "old"};
	pid_t deleter;

	with_map(T_NAME);
	with = t_shared(sizeof(*with));
	CU_ASSERT(kit_put(m, "other", "1") == 0 && kit_put(m, "other", "2") == 0);
	deleter = t_run(delete_all, NULL);
	im_crash_hook = delete_meanwhile;
	CU_ASSERT(ipcmap_fill(m, "key", 3, NULL, load_and_arm, &l, &v) == 0);
	im_crash_hook = NULL;
	CU_ASSERT(!with->armed && t_ok(deleter) && with->deleted);
	CU_ASSERT(kit_absent(m, "key") && kit_is(m, "other", "2"));
	t_shared_free(with, sizeof(*with));
	kit_gone(m);
}

#endif

static CU_TestInfo tests[] = {
	{"the same key inside is a deadlock", fill__of_the_same_key_inside_is_a_deadlock},
	{"a loader left by longjmp ends with its time",
	 fill__left_by_longjmp_ends_with_its_time},
	{"a leader that exits is succeeded", fill__leader_that_exits_is_succeeded},
	{"a loader that forks", fill__loader_that_forks},
	{"whoever waits is woken", fill__whoever_waits_is_woken},
	{"a full table: wait for a place", fill__full_table_waits_for_a_place},
	{"forgotten leases are ended by writes", fill__forgotten_leases_are_ended_by_writes},
	{"a stopped leader is overtaken and refused",
	 fill__stopped_leader_is_overtaken_and_refused},
#if defined(IM_CHECK) && IM_CHECK
	{"a put under way does not outlive a delete by prefix",
	 fill__put_under_way_does_not_outlive_del_prefix},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("fill: leaders", tests)
