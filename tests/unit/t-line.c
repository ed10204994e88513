/* SPDX-License-Identifier: MIT */
/*
 * t-line.c - counter lines: whose they are, who shares one, what taking one does not wait for
 */
#include "owners.h"

#include "life.h"

#include <pthread.h>

static pthread_barrier_t all_there;

static void *count_in_line(void *arg)
{
	struct im_seg *seg = arg;
	struct fmt_line *line = im_line(seg);

	pthread_barrier_wait(&all_there);
	for (int i = 0; i < 1000; i++) {
		struct fmt_line *again = im_line(seg);

		if (again != line)
			return arg;
		im_count(seg, again, &again->misses);
	}
	pthread_barrier_wait(&all_there);
	return NULL;
}

static uint64_t gets(struct im_seg *seg)
{
	uint64_t n = seg->h->shared.misses;

	for (uint32_t i = 0; i < seg->n_lines; i++)
		n += seg->lines[i].misses;
	return n;
}

static void line__threads_beyond_the_lines_share_one(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	pthread_t thread[12];
	void *bad;

	for (int round = 1; round <= 2; round++) {
		pthread_barrier_init(&all_there, NULL, 12);
		for (int i = 0; i < 12; i++)
			pthread_create(&thread[i], NULL, count_in_line, seg);
		for (int i = 0; i < 12; i++) {
			pthread_join(thread[i], &bad);
			CU_ASSERT(bad == NULL);
		}
		pthread_barrier_destroy(&all_there);
		/* cumulative, and nothing was lost */
		CU_ASSERT(gets(seg) == (uint64_t)round * 12000);
		CU_ASSERT(seg->h->shared.misses == (uint64_t)round * 4000);
		for (uint32_t i = 0; i < seg->n_lines; i++)
			CU_ASSERT(seg->lines[i].claim == 0);
	}
	seg_gone(seg);
}

static void *outlive(void *arg)
{
	im_line(arg);
	t_gate_pass(&told);
	t_gate_wait(&go);
	return NULL;
}

static void line__thread_may_end_after_detach(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL), *next;
	pthread_t thread;

	open_gates();
	pthread_create(&thread, NULL, outlive, seg);
	t_gate_wait(&told);
	im_seg_detach(seg);
	CU_ASSERT_FATAL(im_seg_attach(path, 0, NULL, &next) == 0);
	CU_ASSERT(im_line(next) == next->lines);
	t_gate_pass(&go);
	pthread_join(thread, NULL);
	CU_ASSERT(next->lines[0].claim == next->self);
	seg_gone(next);
	close_gates();
}

static int fill_lines_and_die(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	for (uint32_t i = 0; i < seg->n_lines; i++) {
		seg->lines[i].claim = seg->self;
		seg->lines[i].misses = 10;
	}
	raise(SIGKILL);
	return 0;
}

static void line__of_a_dead_owner_goes_on_counting(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	struct fmt_line *line;
	pid_t pid;

	CU_ASSERT(t_killed(t_run(fill_lines_and_die, (void *)(uintptr_t)path)));
	line = im_line(seg);
	CU_ASSERT(line == &seg->lines[0] && line->claim == seg->self);
	im_count(seg, line, &line->misses);
	CU_ASSERT(line->misses == 11);
	/* the next of its slot gives the others back */
	open_gates();
	pid = start_owner(path);
	CU_ASSERT(seg->lines[0].claim == seg->self && seg->lines[1].claim == 0);
	CU_ASSERT(seg->lines[1].misses == 10);
	t_kill(pid);
	close_gates();
	seg_gone(seg);
}

static void *read_while_claiming(void *arg)
{
	struct im_seg *seg = arg;

	return im_line(seg) == &seg->h->shared && seg->self == 0 ? arg : NULL;
}

static void line__reader_does_not_wait_for_a_claim(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	pid_t pid = t_fork();

	if (pid == 0) {
		pthread_t thread;
		void *ok;

		T_MUST(im_life_lock() == 0); /* as a claim does */
		T_MUST(pthread_create(&thread, NULL, read_while_claiming, seg) == 0);
		/* the same thread, interrupted in it */
		T_MUST(im_line(seg) == &seg->h->shared);
		T_MUST(im_owner_ready(seg) == -EDEADLK);
		t_sleep_ms(20);
		im_life_unlock();
		pthread_join(thread, &ok);
		T_MUST(ok == seg);
		T_MUST(im_line(seg) != &seg->h->shared && seg->self != 0);
		_exit(0);
	}
	CU_ASSERT(t_ok(pid));
	seg_gone(seg);
}

/* Reading must not wait for the space lock to free what a predecessor left. */
static void line__reader_passes_over_slots_that_left_extents(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	pid_t pid;

	CU_ASSERT(t_killed(t_run(take_and_die, (void *)(uintptr_t)path)));
	pid = t_fork();
	if (pid == 0) {
		im_line(seg);
		T_MUST(seg_slot(seg) == 3);
		_exit(0);
	}
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(seg->owners[1].n_private == 3);
	im_owner_sweep(seg);
	seg_gone(seg);
}

static CU_TestInfo tests[] = {
	{"threads beyond the lines share one", line__threads_beyond_the_lines_share_one},
	{"a thread may end after detach", line__thread_may_end_after_detach},
	{"a dead owner's line goes on counting", line__of_a_dead_owner_goes_on_counting},
	{"a reader does not wait for a claim", line__reader_does_not_wait_for_a_claim},
	{"a reader passes over slots that left extents",
	 line__reader_passes_over_slots_that_left_extents},
	CU_TEST_INFO_NULL,
};
T_SUITE("line", tests)
