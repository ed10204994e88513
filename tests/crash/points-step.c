/* SPDX-License-Identifier: MIT */
/*
 * points-step.c - without crash points: instruction by instruction
 *
 * Every state of the bytes is there to be looked at, so all steps are tried that are seen
 * within a time; what is looked at becomes rarer from state to state.
 */
#include "points.h"

#if !HAVE_POINTS

#include "map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>

#define STEPPING_MS 400u  /* for one operation; those of many steps are seen in part */
#define STATES_ALL 24u	  /* looked at from the start; then fewer and fewer */
#define COPY_LINE 1000000 /* stands for the copy in its name; no scenario has that line */

static int child_traced(void *arg)
{
	struct ipcmap *m;

	(void)arg;
	points->acked = 0;
	T_MUST(ipcmap_open(points_name, NULL, &m) == 0);
	for (uint32_t i = 0; i < points->n; i++)
		points_look(m, points->id[i]);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		return 77;
	points_traced = true;
	points_run_steps(m);
	points_traced = false;
	points->done = 1;
	return 0;
}

/* What the copies hold: all but counter lines, which say nothing about the map. */
struct window {
	unsigned char *now; /* mapped */
	unsigned char *was;
	uint64_t len;
	uint64_t line_off, line_end;
};

static bool changed(struct window *win)
{
	if (memcmp(win->now, win->was, win->line_off) == 0 &&
	    memcmp(win->now + win->line_end, win->was + win->line_end,
		   win->len - win->line_end) == 0)
		return false;
	memcpy(win->was, win->now, win->len);
	return true;
}

static void look_at_copy(struct window *win, uint64_t file_len, uint32_t *states, uint32_t *bad)
{
	const char *real = points_path, *real_name = points_name;
	struct points_image im = {.len = file_len, .n = win->len, .p = win->was};

	points_path = t_path(COPY_LINE);
	points_name = points_path + strlen("/dev/shm");
	points_store_image(points_path, &im);
	++*states;
	points->kill_at = *states;
	if (!points_run(points_child_look, 0)) {
		CU_FAIL("a state between two instructions is wrong");
		++*bad;
	}
	unlink(points_path);
	points_path = real;
	points_name = real_name;
}

static uint32_t step_through(uint32_t *ret_tried)
{
	uint32_t n = 0, tried = 0, bad = 0;
	struct window win = {0};
	struct fmt_header *h;
	struct stat st;
	uint64_t end;
	int status, fd = open(points_path, O_RDWR);
	pid_t pid;

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	win.now = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	h = (struct fmt_header *)(void *)win.now;
	win.line_off = h->line_off;
	win.line_end = h->user_off;
	points->done = points->outside = 0;
	pid = t_run(child_traced, NULL);
	waitpid(pid, &status, 0);
	if (!WIFSTOPPED(status)) {
		munmap(win.now, (size_t)st.st_size);
		return 0;
	}
	win.len = h->extent_off + ((uint64_t)(h->space.fresh + 8) << h->extent_shift);
	win.len = win.len < (uint64_t)st.st_size ? win.len : (uint64_t)st.st_size;
	win.was = malloc(win.len);
	memcpy(win.was, win.now, win.len);
	end = t_now_ms() + STEPPING_MS;
	while (!im_load32_acq(&points->done) && bad < 3 && t_now_ms() < end) {
		bool out = im_load32_acq(&points->outside);

		points->outside = 0;
		if (ptrace(out ? PTRACE_CONT : PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
		    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			break;
		if (!changed(&win))
			continue;
		if (++n, n % (n / STATES_ALL + 1))
			continue;
		end -= t_now_ms();
		look_at_copy(&win, (uint64_t)st.st_size, &tried, &bad);
		end += t_now_ms();
	}
	t_kill(pid);
	munmap(win.now, (size_t)st.st_size);
	free(win.was);
	*ret_tried = tried;
	return n;
}

void points_step_over(const struct points_image *start)
{
	uint32_t n, tried = 0;

	points_store_image(points_path, start);
	n = step_through(&tried);
	if (!n) {
		t_skip("ptrace is not permitted");
		return;
	}
	points_total.passed += n;
	points_total.tried += tried;
	printf("\n    %-44s %5u states, %4u tried ", points_scenario->name, n, tried);
}

#endif
