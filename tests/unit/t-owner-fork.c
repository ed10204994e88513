/* SPDX-License-Identifier: MIT */
/*
 * t-owner-fork.c - owners and their children: fork in all its forms
 */
#include "owners.h"

#include "lock.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>

/* A master attaches, forks a child that stays idle, and is killed. */
static int master(void *arg)
{
	struct im_seg *seg;
	struct im_wait w;
	pid_t child;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	w = seg_wait(seg, 1000);
	T_MUST(im_lock(seg, (uint32_t *)(void *)seg->user, &w) == IM_TAKEN);
	shown->self[0] = seg->self;
	child = fork();
	if (child == 0) {
		alarm(30);
		t_gate_wait(&go);
		_exit(0);
	}
	shown->pid = child;
	t_gate_pass(&told);
	pause();
	return 0;
}

static void owner__killed_master_with_an_idle_child_is_dead(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	struct im_wait w = seg_wait(seg, 2000);
	pid_t pid;

	open_gates();
	pid = t_run(master, (void *)(uintptr_t)path);
	t_gate_wait(&told);
	CU_ASSERT(!im_owner_dead(seg, shown->self[0]));
	t_kill(pid);
	CU_ASSERT(kill(shown->pid, 0) == 0);
	CU_ASSERT(im_owner_dead(seg, shown->self[0]));
	CU_ASSERT(im_lock(seg, (uint32_t *)(void *)seg->user, &w) == IM_TAKEN_OVER);
	im_unlock(seg, (uint32_t *)(void *)seg->user);
	t_gate_pass(&go);
	seg_gone(seg);
	close_gates();
}

static int use_inherited(struct im_seg *seg, uint32_t parent)
{
	struct fmt_line *line = im_line(seg);

	im_count(seg, line, &line->misses);
	T_MUST(seg->self != 0 && seg->self != parent); /* reading claimed it */
	T_MUST(im_owner_ready(seg) == 0);
	T_MUST(line != &seg->h->shared && line->claim == seg->self);
	T_MUST(im_line(seg) == line);
	T_MUST(!im_owner_dead(seg, parent) && !im_owner_dead(seg, seg->self));
	T_MUST(seg->fork_fd == -1);
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	return 0;
}

static void owner__forked_child_claims_its_own_slot(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	uint32_t parent = seg->self;
	struct fmt_line *line = im_line(seg);
	pid_t pid = t_fork();

	if (pid == 0) {
		pid_t grandchild;

		T_MUST(seg->self == 0 && seg->fork_fd >= 0);
		grandchild = fork(); /* before the first call */
		if (grandchild == 0)
			_exit(use_inherited(seg, parent));
		T_MUST(t_ok(grandchild));
		_exit(use_inherited(seg, parent));
	}
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(seg->self == parent && im_line(seg) == line && line->misses == 0);
	im_owner_sweep(seg);
	CU_ASSERT(seg->h->space.used == 0);
	seg_gone(seg);
}

static pid_t raw_fork(void)
{
	fflush(NULL);
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void owner__raw_cloned_child_claims_its_own_slot(void)
{
	struct im_seg *seg;
	uint32_t parent;
	pid_t pid;

	if (T_SANITIZED) {
		t_skip("sanitizers do not know raw clones");
		return;
	}
	seg = seg_made(T_PATH, NULL);
	parent = seg->self;
	pid = raw_fork();
	if (pid == 0)
		_exit(use_inherited(seg, parent));
	CU_ASSERT(t_ok(pid));
	pid = raw_fork();
	if (pid == 0) {
		/* the writer's way */
		T_MUST(seg->self == parent);
		T_MUST(im_owner_ready(seg) == 0);
		T_MUST(seg->self != 0 && seg->self != parent);
		im_seg_detach(seg);
		_exit(0);
	}
	CU_ASSERT(t_ok(pid));
	pid = raw_fork();
	if (pid == 0) {
		/* leaving without a call must not give back what is the parent's */
		im_seg_detach(seg);
		_exit(0);
	}
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(seg->self == parent && !im_owner_dead(seg, parent));
	im_owner_sweep(seg);
	seg_gone(seg);
}

/* As nginx does: fork as root, then give the rights away before the first call. */
static void owner__child_that_dropped_its_rights_can_write(void)
{
	struct im_seg *seg;
	uint32_t parent;
	pid_t pid;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	seg = seg_made(T_PATH, NULL);
	parent = seg->self;
	pid = t_fork();
	if (pid == 0) {
		T_MUST(setgid(65534) == 0 && setuid(65534) == 0);
		T_MUST(open(seg->name, O_RDWR) < 0);
		_exit(use_inherited(seg, parent));
	}
	CU_ASSERT(t_ok(pid));
	im_owner_sweep(seg);
	seg_gone(seg);
}

static void owner__child_that_cannot_reopen_reads_on(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	uint32_t parent = seg->self;
	pid_t pid = t_fork();

	if (pid == 0) {
		struct fmt_line *line;

		close(seg->fd);
		close(seg->fork_fd);
		T_MUST(unlink(seg->name) == 0);
		line = im_line(seg);
		T_MUST(line == &seg->h->shared && im_line(seg) == line);
		im_count(seg, line, &line->misses);
		T_MUST(im_owner_ready(seg) == -EACCES);
		T_MUST(strstr(seg->why, "cannot reopen"));
		T_MUST(seg->self == 0 && im_line(seg) == line);
		T_MUST(!im_owner_dead(seg, parent));
		im_seg_detach(seg);
		_exit(0);
	}
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(seg->h->shared.misses == 1);
	seg_gone(seg);
}

static void *fork_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(30);
			pause();
			_exit(0);
		}
		t_kill(pid);
	}
	return NULL;
}

static void *fork_and_keep(void *arg)
{
	pid_t *pid = arg;

	for (int i = 0; i < 40; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			alarm(30);
			pause();
			_exit(0);
		}
	}
	return NULL;
}

/* fork() in one thread while another claims: no child may keep the claimed byte. */
static int claim_while_forking(void *arg)
{
	static pid_t pid[40];
	pthread_t thread;

	T_MUST(pthread_create(&thread, NULL, fork_and_keep, pid) == 0);
	for (int i = 0; i < 200; i++) {
		struct im_seg *seg;

		T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
		im_seg_detach(seg);
	}
	pthread_join(thread, NULL);
	memcpy(shown + 1, pid, sizeof(pid));
	return 0;
}

static void owner__fork_during_a_claim_keeps_no_byte(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	pid_t *kids = (pid_t *)(void *)(shown + 1);

	CU_ASSERT(t_ok(t_run(claim_while_forking, (void *)(uintptr_t)path)));
	for (uint32_t slot = 2; slot <= seg->n_owners; slot++)
		CU_ASSERT(im_os->owner_locked(seg->fd, slot) == 0);
	for (int i = 0; i < 40; i++) {
		if (kids[i] > 1)
			kill(kids[i], SIGKILL);
	}
	seg_gone(seg);
}

static void owner__forks_and_claims_do_not_lock_up(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	pthread_t thread;

	CU_ASSERT_FATAL(pthread_create(&thread, NULL, fork_often, NULL) == 0);
	for (int i = 0; i < 100; i++) {
		struct im_seg *again;

		im_seg_detach(seg);
		CU_ASSERT_FATAL(im_seg_attach(path, 0, NULL, &again) == 0);
		seg = again;
		im_line(seg);
	}
	pthread_join(thread, NULL);
	seg_gone(seg);
}

static CU_TestInfo tests[] = {
	{"a killed master with an idle child is dead",
	 owner__killed_master_with_an_idle_child_is_dead},
	{"a forked child claims its own slot", owner__forked_child_claims_its_own_slot},
	{"a raw-cloned child claims its own slot", owner__raw_cloned_child_claims_its_own_slot},
	{"a child that dropped its rights can write",
	 owner__child_that_dropped_its_rights_can_write},
	{"a child that cannot reopen reads on", owner__child_that_cannot_reopen_reads_on},
	{"fork during a claim keeps no byte", owner__fork_during_a_claim_keeps_no_byte},
	{"forks and claims do not lock up", owner__forks_and_claims_do_not_lock_up},
	CU_TEST_INFO_NULL,
};
T_SUITE("owner fork", tests)
