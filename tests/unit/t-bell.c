/* SPDX-License-Identifier: MIT */
/*
 * t-bell.c - the event count, with real processes and with a scripted kernel
 */
#include "seg.h"

#include "bell.h"
#include "crash.h"

#include <signal.h>

static struct im_seg *seg;
static uint32_t *bell;
static uint64_t *state; /* what is waited for */

static void with_segment(const char *path)
{
	seg = seg_made(path, NULL);
	bell = (uint32_t *)(void *)seg->user;
	state = (uint64_t *)(void *)(seg->user + 64);
}

static unsigned wakes, waits;
static uint32_t slept_on;

static int count_wake(uint32_t *word, int n)
{
	CU_ASSERT(word == bell && n > 1000000);
	wakes++;
	return 0;
}

static int count_wait(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	CU_ASSERT(word == bell && timeout_ns > 0);
	slept_on = val;
	waits++;
	return 0;
}

static const struct im_os *scripted(void)
{
	static struct im_os os;
	const struct im_os *was = im_os;

	os = *im_os;
	os.futex_wake = count_wake;
	os.futex_wait = count_wait;
	wakes = waits = 0;
	im_os = &os;
	return was;
}

static void bell__ring_without_listeners_changes_nothing(void)
{
	const struct im_os *was;

	with_segment(T_PATH);
	was = scripted();
	im_bell_ring(bell);
	CU_ASSERT(*bell == 0 && wakes == 0);
	im_os = was;
	seg_gone(seg);
}

static void bell__all_listeners_cost_one_wake(void)
{
	const struct im_os *was;
	uint32_t a, b;

	with_segment(T_PATH);
	was = scripted();
	a = im_bell_listen(bell);
	b = im_bell_listen(bell);
	CU_ASSERT(a == b && *bell == a);
	im_bell_ring(bell);
	CU_ASSERT(wakes == 1 && *bell != a);
	im_bell_ring(bell);
	CU_ASSERT(wakes == 1);
	/* one that comes late sleeps on what it heard, which the kernel refuses */
	{
		struct im_wait w = seg_wait(seg, 1000);

		CU_ASSERT(im_bell_sleep(seg, bell, a, 1000000, &w) == 0);
		CU_ASSERT(waits == 1 && slept_on == a && slept_on != *bell);
	}
	im_os = was;
	seg_gone(seg);
}

static void bell__count_goes_round(void)
{
	uint32_t heard;

	with_segment(T_PATH);
	*bell = UINT32_MAX - 1;
	heard = im_bell_listen(bell);
	CU_ASSERT(heard == UINT32_MAX);
	im_bell_ring(bell);
	CU_ASSERT(*bell == 0);
	seg_gone(seg);
}

static void bell__deadline_and_interrupt_end_the_sleep(void)
{
	struct im_wait w;
	uint32_t heard;

	with_segment(T_PATH);
	heard = im_bell_listen(bell);
	im_wait_start(seg, IM_NOWAIT, &w);
	CU_ASSERT(im_bell_sleep(seg, bell, heard, 1000000, &w) == -EBUSY && w.slept == 0);
	w = seg_wait(seg, 5);
	while (im_bell_sleep(seg, bell, heard, 1000000, &w) == 0)
		;
	CU_ASSERT(im_bell_sleep(seg, bell, heard, 1000000, &w) == -EBUSY && w.slept > 0);
	w = seg_wait(seg, 60000);
	im_seg_interrupt(seg);
	CU_ASSERT(im_bell_sleep(seg, bell, heard, 1000000, &w) == -EINTR);
	seg_gone(seg);
}

/* Each hop is a change by one process, waited for by the other. No ring may be missed: the naps
 * are longer than the test may take. */
#define HOPS 2000u

static int hop(void *arg)
{
	uint64_t odd = (uintptr_t)arg;
	struct im_wait w;

	im_wait_start(seg, IM_FOREVER, &w);
	for (uint64_t n = odd; n < HOPS; n += 2) {
		while (im_load_acq(state) != n) {
			uint32_t heard = im_bell_listen(bell);

			if (im_load_acq(state) == n)
				break;
			T_MUST(im_bell_sleep(seg, bell, heard, UINT64_C(3600000000000), &w) == 0);
		}
		im_store_rel(state, n + 1);
		im_bell_ring(bell);
	}
	return 0;
}

static void bell__no_ring_is_missed(void)
{
	pid_t a, b;

	with_segment(T_PATH);
	a = t_run(hop, (void *)0);
	b = t_run(hop, (void *)1);
	CU_ASSERT(t_ok(a));
	CU_ASSERT(t_ok(b));
	CU_ASSERT(im_load_acq(state) == HOPS);
	seg_gone(seg);
}

#if defined(IM_CHECK) && IM_CHECK
static void die(const char *point)
{
	if (strcmp(point, "bell.rung") == 0)
		raise(SIGKILL);
}

static int ring_and_die(void *arg)
{
	(void)arg;
	im_store_rel(state, 1);
	im_crash_hook = die;
	im_bell_ring(bell);
	return 0;
}

/* Killed between the swap and the wake: who listens before the kill sees it after a nap. */
static void bell__killed_ringer_costs_a_nap(void)
{
	struct im_wait w;
	uint32_t heard;

	with_segment(T_PATH);
	w = seg_wait(seg, 60000);
	heard = im_bell_listen(bell);
	CU_ASSERT(t_killed(t_run(ring_and_die, NULL)));
	CU_ASSERT(im_bell_sleep(seg, bell, heard, 1000000, &w) == 0);
	CU_ASSERT(im_load_acq(state) == 1 && *bell != heard);
	seg_gone(seg);
}
#endif

static CU_TestInfo tests[] = {
	{"a ring without listeners changes nothing",
	 bell__ring_without_listeners_changes_nothing},
	{"all listeners cost one wake", bell__all_listeners_cost_one_wake},
	{"the count goes round", bell__count_goes_round},
	{"deadline and interrupt end the sleep", bell__deadline_and_interrupt_end_the_sleep},
	{"no ring is missed", bell__no_ring_is_missed},
#if defined(IM_CHECK) && IM_CHECK
	{"a killed ringer costs a nap", bell__killed_ringer_costs_a_nap},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("bell", tests)
