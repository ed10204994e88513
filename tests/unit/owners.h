/* SPDX-License-Identifier: MIT */
/*
 * owners.h - children that own slots, and what they tell their parent
 */
#ifndef OWNERS_H
#define OWNERS_H

#include "seg.h"

#define OWNER_PARTS 4

static struct t_gate told, go;

static inline void open_gates(void)
{
	t_gate_open(&told);
	t_gate_open(&go);
}

static inline void close_gates(void)
{
	t_gate_close(&told);
	t_gate_close(&go);
}

/* What children tell the parent. */
struct shown {
	uint32_t self[OWNER_PARTS];
	int pid;
};
static struct shown *shown;

/* As CUnit has no hook that runs once a program, a constructor makes the shared page. */
__attribute__((constructor)) static void make_shown(void)
{
	shown = t_shared(4096);
}

static inline int attach_and_pause(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	shown->self[0] = seg->self;
	t_gate_pass(&told);
	pause();
	return 0;
}

static inline pid_t start_owner(const char *path)
{
	pid_t pid = t_run(attach_and_pause, (void *)(uintptr_t)path);

	t_gate_wait(&told);
	return pid;
}

/* A chain of three and two singles, PRIVATE. */
static inline int take_and_die(void *arg)
{
	struct im_seg *seg;
	uint32_t a, b;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	a = seg_take(seg, FMT_NO_EXTENT);
	b = seg_take(seg, a);
	T_MUST(seg_take(seg, b) != FMT_NO_EXTENT);
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	T_MUST(seg->owners[seg_slot(seg) - 1].n_private == 3);
	shown->self[0] = seg->self;
	raise(SIGKILL);
	return 0;
}

#endif
