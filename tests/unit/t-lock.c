/* SPDX-License-Identifier: MIT */
/*
 * t-lock.c - the robust lock, with real processes and with a scripted kernel
 */
#include "seg.h"

#include "lock.h"

#include <pthread.h>

static struct im_seg *seg;
static uint32_t *word; /* a lock of the user area, as a shard's would be */

static void with_segment(const char *path)
{
	seg = seg_made(path, NULL);
	word = (uint32_t *)(void *)seg->user;
}

static int lock_within(unsigned ms)
{
	struct im_wait w = seg_wait(seg, ms);

	return im_lock(seg, word, &w);
}

static int lock_now(void)
{
	struct im_wait w;

	im_wait_start(seg, IM_NOWAIT, &w);
	return im_lock(seg, word, &w);
}

static struct t_gate held;

static int hold(void *arg)
{
	(void)arg;
	T_MUST(im_owner_ready(seg) == 0);
	T_MUST(lock_within(1000) == IM_TAKEN);
	t_gate_pass(&held);
	pause();
	return 0;
}

static pid_t start_holder(void)
{
	pid_t pid;

	t_gate_open(&held);
	pid = t_run(hold, NULL);
	t_gate_wait(&held);
	t_gate_close(&held);
	return pid;
}

static void lock__free_is_taken_and_given(void)
{
	with_segment(T_PATH);
	CU_ASSERT(lock_within(10) == IM_TAKEN && *word == seg->self);
	CU_ASSERT(im_trylock(seg, word) == -EBUSY);
	im_unlock(seg, word);
	CU_ASSERT(*word == 0);
	CU_ASSERT(im_trylock(seg, word) == IM_TAKEN);
	im_unlock(seg, word);
	*word = IM_LOCK_WAITERS; /* free, but somebody may sleep */
	CU_ASSERT(lock_within(10) == IM_TAKEN && *word == (seg->self | IM_LOCK_WAITERS));
	im_unlock(seg, word);
	CU_ASSERT(*word == 0);
	seg_gone(seg);
}

static void lock__dead_owner_is_taken_over(void)
{
	pid_t pid;
	uint64_t start;

	with_segment(T_PATH);
	pid = start_holder();
	CU_ASSERT(*word && *word != seg->self);
	t_kill(pid);
	start = t_now_ms();
	CU_ASSERT(lock_within(10000) == IM_TAKEN_OVER);
	CU_ASSERT(t_now_ms() - start < 1000);
	im_unlock(seg, word);
	CU_ASSERT(*word == 0);
	CU_ASSERT(lock_within(10) == IM_TAKEN);
	im_unlock(seg, word);

	pid = start_holder();
	CU_ASSERT(im_trylock(seg, word) == -EBUSY);
	t_kill(pid);
	CU_ASSERT(im_trylock(seg, word) == IM_TAKEN_OVER);
	im_unlock(seg, word);

	pid = start_holder();
	CU_ASSERT(lock_now() == -EBUSY);
	t_kill(pid);
	CU_ASSERT(lock_now() == IM_TAKEN_OVER);
	im_unlock(seg, word);
	seg_gone(seg);
}

static void lock__stopped_owner_is_waited_for(void)
{
	pid_t pid;
	uint32_t v;
	uint64_t start;

	with_segment(T_PATH);
	pid = start_holder();
	v = *word;
	kill(pid, SIGSTOP);
	t_sleep_ms(5);
	start = t_now_ms();
	CU_ASSERT(lock_within(60) == -EBUSY);
	CU_ASSERT(t_now_ms() - start >= 59 && t_now_ms() - start < 2000);
	CU_ASSERT((*word & IM_OWNER_MASK) == v);
	CU_ASSERT(im_trylock(seg, word) == -EBUSY);
	kill(pid, SIGCONT);
	CU_ASSERT(lock_within(10) == -EBUSY);
	t_kill(pid);
	CU_ASSERT(lock_within(1000) == IM_TAKEN_OVER);
	im_unlock(seg, word);
	seg_gone(seg);
}

static void *wait_for_ever(void *arg)
{
	struct im_wait w;

	(void)arg;
	im_wait_start(seg, IM_FOREVER, &w);
	return (void *)(intptr_t)im_lock(seg, word, &w);
}

static void lock__interrupt_ends_the_wait(void)
{
	pthread_t thread;
	void *rc;

	with_segment(T_PATH);
	CU_ASSERT(lock_within(10) == IM_TAKEN);
	CU_ASSERT_FATAL(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0);
	while (!(im_load32_rlx(word) & IM_LOCK_WAITERS))
		t_sleep_ms(1);
	im_seg_interrupt(seg);
	CU_ASSERT(pthread_join(thread, &rc) == 0 && (intptr_t)rc == -EINTR);
	/* only the waits of that moment */
	CU_ASSERT(lock_within(5) == -EBUSY);
	im_unlock(seg, word);
	seg_gone(seg);
}

static void lock__impossible_owner_is_dead(void)
{
	with_segment(T_PATH);
	*word = 1u << 10;
	CU_ASSERT(lock_within(100) == IM_TAKEN_OVER);
	im_unlock(seg, word);
	*word = 1023 | 5u << 10; /* 16 slots */
	CU_ASSERT(lock_within(100) == IM_TAKEN_OVER);
	im_unlock(seg, word);
	*word = 1u << 30;
	CU_ASSERT(lock_within(100) == IM_TAKEN_OVER);
	im_unlock(seg, word);
	*word = (seg_slot(seg)) | ((seg->self >> 10) - 1) << 10; /* our predecessor */
	CU_ASSERT(lock_within(100) == IM_TAKEN_OVER);
	im_unlock(seg, word);
	seg_gone(seg);
}

/* A scripted kernel: time passes only in futex_wait(). */
static struct {
	uint64_t clock;
	unsigned sleeps;
	uint64_t timeout[64];
	int answer;	  /* of futex_wait() */
	unsigned free_at; /* the sleep in which the owner unlocks, its wake-up lost; 0: never */
	unsigned wakes;
	int owner_locked;
} script;

static int script_wait(uint32_t *w, uint32_t val, uint64_t timeout_ns)
{
	if (im_load32_rlx(w) != val)
		return -EAGAIN;
	if (script.sleeps < ARRAY_LEN(script.timeout))
		script.timeout[script.sleeps] = timeout_ns;
	script.sleeps++;
	script.clock += timeout_ns;
	if (script.sleeps == script.free_at)
		im_store32_rel(w, 0);
	return script.answer;
}

static int script_wake(uint32_t *w, int n)
{
	script.wakes += w == word && n == 1;
	return 0;
}

static uint64_t script_now(void)
{
	return script.clock;
}

static int script_owner_locked(int fd, uint32_t slot)
{
	(void)fd;
	(void)slot;
	return script.owner_locked;
}

static const struct im_os script_os = {
	.futex_wait = script_wait,
	.futex_wake = script_wake,
	.now = script_now,
	.coarse = script_now,
	.owner_locked = script_owner_locked,
};

/* Another owner of this generation, about whom the script decides. */
static void with_script(const char *path, int answer, unsigned free_at, int owner_locked)
{
	with_segment(path);
	seg->owners[1].gen = 7;
	*word = 2 | 7u << 10;
	memset(&script, 0, sizeof(script));
	script.clock = 1000;
	script.answer = answer;
	script.free_at = free_at;
	script.owner_locked = owner_locked;
	im_os = &script_os;
}

static void end_script(void)
{
	im_os = &im_os_real;
	seg_gone(seg);
}

static void lock__lost_wake_up_costs_one_nap(void)
{
	with_script(T_PATH, -ETIMEDOUT, 5, 1);
	CU_ASSERT(lock_within(1000) == IM_TAKEN);
	/* others may sleep: it wakes one when it unlocks */
	CU_ASSERT(*word == (seg->self | IM_LOCK_WAITERS));
	CU_ASSERT(script.sleeps == 5 && script.timeout[0] == 1000000 &&
		  script.timeout[1] == 2000000 && script.timeout[2] == 4000000 &&
		  script.timeout[4] == 4000000);
	end_script();
}

static void lock__unlocking_wakes_one_that_sleeps(void)
{
	with_script(T_PATH, -ETIMEDOUT, 1, 1);
	CU_ASSERT(lock_within(1000) == IM_TAKEN && script.wakes == 0);
	im_unlock(seg, word);
	CU_ASSERT(*word == 0 && script.wakes == 1);
	/* nobody slept: there is nobody to wake */
	CU_ASSERT(lock_within(1000) == IM_TAKEN && *word == seg->self);
	im_unlock(seg, word);
	CU_ASSERT(*word == 0 && script.wakes == 1);
	end_script();
}

static void lock__at_the_deadline_a_death_is_seen(void)
{
	with_script(T_PATH, -ETIMEDOUT, 0, 0);
	CU_ASSERT(lock_within(0) == IM_TAKEN_OVER && script.sleeps == 0);
	end_script();
}

static void lock__deadline_is_kept_to_the_nap(void)
{
	with_script(T_PATH, -ETIMEDOUT, 0, 1);
	CU_ASSERT(lock_within(10) == -EBUSY);
	CU_ASSERT(script.clock == 1000 + 10000000);
	CU_ASSERT((*word & IM_OWNER_MASK) == (2 | 7u << 10));
	end_script();
}

static void lock__signals_do_not_hide_a_death(void)
{
	with_script(T_PATH, -EINTR, 0, 0);
	CU_ASSERT(lock_within(1000) == IM_TAKEN_OVER && script.sleeps == 1);
	CU_ASSERT(*word == (seg->self | IM_LOCK_WAITERS));
	end_script();
}

static void lock__failing_probe_means_alive(void)
{
	with_script(T_PATH, -ETIMEDOUT, 0, -EIO);
	CU_ASSERT(lock_within(10) == -EBUSY);
	CU_ASSERT(im_trylock(seg, word) == -EBUSY);
	end_script();
}

static void lock__nowait_never_sleeps(void)
{
	with_script(T_PATH, -ETIMEDOUT, 0, 1);
	CU_ASSERT(lock_now() == -EBUSY && script.sleeps == 0);
	CU_ASSERT(*word == (2 | 7u << 10));
	end_script();
}

#if defined(IM_CHECK) && IM_CHECK
/* Another thief is quicker between judgement and theft. */
static void be_quicker(const char *name)
{
	if (strcmp(name, "lock.judged") == 0)
		im_store32_rel(word, 3 | 9u << 10);
}

static void lock__theft_needs_the_exact_word(void)
{
	with_script(T_PATH, -ETIMEDOUT, 0, 0);
	im_crash_hook = be_quicker;
	CU_ASSERT(im_trylock(seg, word) == -EBUSY);
	CU_ASSERT(*word == (3 | 9u << 10));
	im_crash_hook = NULL;
	end_script();
}
#endif

#define ROUNDS 20000

static int count_up(void *arg)
{
	uint64_t *n = arg;

	T_MUST(im_owner_ready(seg) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		int rc = lock_within(10000);

		T_MUST(rc >= 0);
		im_store_rlx(n, im_load_rlx(n) + 1);
		im_unlock(seg, word);
	}
	return 0;
}

static void *count_up_thread(void *arg)
{
	count_up(arg);
	return NULL;
}

static void lock__keeps_processes_and_threads_apart(void)
{
	uint64_t *n;
	pthread_t thread[2];
	pid_t pid[3];

	with_segment(T_PATH);
	n = (uint64_t *)(void *)(seg->user + 64);
	for (int i = 0; i < 3; i++)
		pid[i] = t_run(count_up, n);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, count_up_thread, n);
	for (int i = 0; i < 3; i++)
		CU_ASSERT(t_ok(pid[i]));
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	CU_ASSERT(*n == 5 * ROUNDS);
	CU_ASSERT((*word & IM_OWNER_MASK) == 0);
	seg_gone(seg);
}

static int die_counting(void *arg)
{
	T_MUST(im_owner_ready(seg) == 0);
	for (bool on = true; on;) {
		int rc = lock_within(10000);
		uint64_t *n = arg;

		T_MUST(rc >= 0);
		/* two numbers that are equal outside the lock; a successor makes them so */
		if (rc == IM_TAKEN_OVER)
			im_store_rlx(&n[1], im_load_rlx(&n[0]));
		T_MUST(im_load_rlx(&n[0]) == im_load_rlx(&n[1]));
		im_store_rlx(&n[0], im_load_rlx(&n[0]) + 1);
		im_store_rlx(&n[1], im_load_rlx(&n[1]) + 1);
		im_unlock(seg, word);
	}
	return 0;
}

static void lock__killed_at_random_nothing_is_half_done(void)
{
	uint64_t *n;
	pid_t pid[3];

	with_segment(T_PATH);
	n = (uint64_t *)(void *)(seg->user + 64);
	for (int i = 0; i < 3; i++)
		pid[i] = t_run(die_counting, n);
	for (int i = 0; i < 60; i++) {
		t_sleep_ms((unsigned)i % 4);
		kill(pid[i % 3], SIGKILL);
		CU_ASSERT(t_killed(pid[i % 3]));
		pid[i % 3] = t_run(die_counting, n);
	}
	for (int i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		CU_ASSERT(t_killed(pid[i]));
	}
	CU_ASSERT(*n > 0);
	seg_gone(seg);
}

static CU_TestInfo tests[] = {
	{"a free lock is taken and given", lock__free_is_taken_and_given},
	{"a dead owner's lock is taken over", lock__dead_owner_is_taken_over},
	{"a stopped owner is waited for until the deadline", lock__stopped_owner_is_waited_for},
	{"an interrupt ends the wait", lock__interrupt_ends_the_wait},
	{"an impossible owner is dead", lock__impossible_owner_is_dead},
	{"a lost wake-up costs one nap", lock__lost_wake_up_costs_one_nap},
	{"unlocking wakes one that sleeps", lock__unlocking_wakes_one_that_sleeps},
	{"at the deadline a death is seen", lock__at_the_deadline_a_death_is_seen},
	{"the deadline is kept to the nap", lock__deadline_is_kept_to_the_nap},
	{"signals do not hide a death", lock__signals_do_not_hide_a_death},
	{"a failing probe means alive", lock__failing_probe_means_alive},
	{"nowait never sleeps", lock__nowait_never_sleeps},
#if defined(IM_CHECK) && IM_CHECK
	{"a theft needs the exact word", lock__theft_needs_the_exact_word},
#endif
	{"processes and threads are kept apart", lock__keeps_processes_and_threads_apart},
	{"killed at random, nothing is half done", lock__killed_at_random_nothing_is_half_done},
	CU_TEST_INFO_NULL,
};
T_SUITE("lock", tests)
