/* SPDX-License-Identifier: MIT */
/*
 * t-owner.c - slots, who is alive, fork in all its forms, counter lines
 */
#include "seg.h"

#include "life.h"
#include "lock.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>

#define OWNER_PARTS 4

static struct t_gate told, go;

static void open_gates(void)
{
	t_gate_open(&told);
	t_gate_open(&go);
}

static void close_gates(void)
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

static int attach_and_pause(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	shown->self[0] = seg->self;
	t_gate_pass(&told);
	pause();
	return 0;
}

static pid_t start_owner(const char *path)
{
	pid_t pid = t_run(attach_and_pause, (void *)(uintptr_t)path);

	t_gate_wait(&told);
	return pid;
}

static void owner__slot_is_claimed_and_given_back(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	uint32_t self = seg->self;
	pid_t pid;

	open_gates();
	CU_ASSERT(seg_slot(seg) == 1 && !im_owner_dead(seg, self));
	CU_ASSERT(seg->owners[0].pid == (uint64_t)getpid() && seg->owners[0].start != 0);
	CU_ASSERT(strncmp(seg->owners[0].comm, program_invocation_short_name, 15) == 0);
	CU_ASSERT(im_owner_count(seg) == 1);
	pid = start_owner(path);
	CU_ASSERT(shown->self[0] == (2 | 1u << 10));
	CU_ASSERT(!im_owner_dead(seg, shown->self[0]) && im_owner_count(seg) == 2);
	CU_ASSERT(im_owner_dead(seg, 2 | 2u << 10)); /* another generation */
	t_kill(pid);
	CU_ASSERT(im_owner_dead(seg, shown->self[0]) && im_owner_count(seg) == 1);
	pid = start_owner(path);
	CU_ASSERT(shown->self[0] == (2 | 2u << 10));
	CU_ASSERT(im_owner_dead(seg, 2 | 1u << 10) && !im_owner_dead(seg, 2 | 2u << 10));
	t_kill(pid);
	im_seg_detach(seg);
	CU_ASSERT_FATAL(im_seg_attach(path, 0, NULL, &seg) == 0);
	CU_ASSERT(seg->self == (1 | 2u << 10) && im_owner_dead(seg, self));
	seg_gone(seg);
	close_gates();
}

static int find_no_slot(void *arg)
{
	struct im_seg *seg;
	char text[200];
	struct im_why why = {text, sizeof(text)};

	T_MUST(im_seg_attach(arg, 0, &why, &seg) == -EUSERS);
	T_MUST(strstr(text, "all 2 owner slots"));
	T_MUST(im_seg_attach(arg, IM_ATTACH_RDONLY, &why, &seg) == 0);
	return 0;
}

static void owner__without_a_free_slot_attach_says_so(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();
	struct im_seg *seg;
	pid_t pid;

	how.n_owners = 2;
	seg = seg_made(path, &how);
	open_gates();
	pid = start_owner(path);
	CU_ASSERT(t_ok(t_run(find_no_slot, (void *)(uintptr_t)path)));
	t_kill(pid);
	pid = start_owner(path);
	CU_ASSERT(shown->self[0] == (2 | 2u << 10));
	t_kill(pid);
	seg_gone(seg);
	close_gates();
}

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

static int close_everything(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	shown->self[0] = seg->self;
	for (int fd = 3; fd < 256; fd++) {
		if (fd != told.fd[1] && fd != go.fd[0])
			close(fd);
	}
	t_gate_pass(&told);
	t_gate_wait(&go);
	/* and it still can take memory and probe */
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	T_MUST(!im_owner_dead(seg, 1 | 1u << 10));
	T_MUST(im_owner_dead(seg, 3 | 1u << 10));
	return 0;
}

static void owner__closefrom_in_a_live_process_changes_nothing(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	uint32_t closer;
	pid_t pid, other;

	open_gates();
	pid = t_run(close_everything, (void *)(uintptr_t)path);
	t_gate_wait(&told);
	closer = shown->self[0];
	CU_ASSERT(!im_owner_dead(seg, closer));
	other = start_owner(path);
	CU_ASSERT((shown->self[0] & 0x3ff) == 3 && (closer & 0x3ff) == 2);
	CU_ASSERT(!im_owner_dead(seg, closer));
	t_kill(other);
	t_gate_pass(&go);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(im_owner_dead(seg, closer));
	seg_gone(seg);
	close_gates();
}

/* A chain of three and two singles, PRIVATE. */
static int take_and_die(void *arg)
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

static void owner__claimer_frees_what_its_predecessor_left(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	pid_t pid;

	open_gates();
	CU_ASSERT(t_killed(t_run(take_and_die, (void *)(uintptr_t)path)));
	CU_ASSERT(seg->h->space.used == 5 && seg->owners[1].n_private == 3);
	CU_ASSERT(seg_findings(seg) == 0);
	pid = start_owner(path);
	CU_ASSERT((shown->self[0] & 0x3ff) == 2);
	CU_ASSERT(seg->h->space.used == 0 && seg->owners[1].n_private == 0);
	CU_ASSERT(seg_findings(seg) == 0);
	t_kill(pid);
	seg_gone(seg);
	close_gates();
}

static void owner__sweep_frees_what_the_dead_left(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	uint32_t ext = seg_take(seg, FMT_NO_EXTENT);

	CU_ASSERT(t_killed(t_run(take_and_die, (void *)(uintptr_t)path)));
	im_owner_sweep(seg);
	CU_ASSERT(seg->h->space.used == 1 && seg->owners[1].n_private == 0);
	CU_ASSERT(seg->owners[0].n_private == 1 && seg->claim_fd == -1);
	CU_ASSERT(seg_free(seg, ext, ext, 1) == 0 && seg_findings(seg) == 0);
	seg_gone(seg);
}

/* Leaving gives back what is still PRIVATE. */
static int take_and_leave(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	im_seg_detach(seg);
	T_MUST(seg->self != 0);
	im_seg_detach(seg); /* the inherited one */
	return 0;
}

static void owner__leaving_frees_what_is_private(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);

	CU_ASSERT(t_ok(t_run(take_and_leave, (void *)(uintptr_t)path)));
	CU_ASSERT(seg->h->space.used == 0 && seg->owners[1].n_private == 0);
	seg_gone(seg);
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

static void owner__threads_beyond_the_lines_share_one(void)
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

static void owner__thread_may_end_after_detach(void)
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

static void owner__line_of_a_dead_owner_goes_on_counting(void)
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

static void owner__reader_does_not_wait_for_a_claim(void)
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
static void owner__reader_passes_over_slots_that_left_extents(void)
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

/* Died inside the space lock with PRIVATE extents; the claimer of the same slot needs it. */
static int die_in_space_lock(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	T_MUST(im_trylock(seg, &seg->h->space.lock) == IM_TAKEN);
	raise(SIGKILL);
	return 0;
}

static void owner__predecessor_that_died_in_the_space_lock_is_no_obstacle(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	pid_t pid;

	open_gates();
	CU_ASSERT(t_killed(t_run(die_in_space_lock, (void *)(uintptr_t)path)));
	pid = start_owner(path);
	CU_ASSERT((shown->self[0] & 0x3ff) == 2);
	CU_ASSERT(seg->h->space.used == 0 && seg->h->space.takeovers == 1);
	t_kill(pid);
	CU_ASSERT(t_killed(t_run(die_in_space_lock, (void *)(uintptr_t)path)));
	im_owner_sweep(seg);
	CU_ASSERT(seg->h->space.used == 0 && seg->h->space.takeovers == 2);
	seg_gone(seg);
	close_gates();
}

static uint32_t *user_words(struct im_seg *seg, uint32_t i)
{
	return i < 4 ? (uint32_t *)(void *)(seg->user + (uint64_t)i * 64) : NULL;
}

static void owner__last_generation_is_not_lived_in(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	struct im_wait w = seg_wait(seg, 1000);
	uint32_t *lock = user_words(seg, 2);
	pid_t pid;

	open_gates();
	seg->owners[1].gen = 0xffffe;
	*lock = 2 | 1u << 10 | IM_LOCK_WAITERS; /* left in the first generation */
	im_owner_word = NULL;
	pid = start_owner(path);
	CU_ASSERT((shown->self[0] & 0x3ff) == 3); /* retired */
	t_kill(pid);
	im_owner_word = user_words;
	pid = start_owner(path);
	CU_ASSERT(shown->self[0] == (2 | 1u << 10));
	/* the old lock is not the newcomer's */
	CU_ASSERT((*lock & 0x3ff) == 0 && im_lock(seg, lock, &w) == IM_TAKEN_OVER);
	im_unlock(seg, lock);
	t_kill(pid);
	im_owner_word = NULL;
	seg_gone(seg);
	close_gates();
}

#if defined(IM_CHECK) && IM_CHECK
static int points_left;

static void die_at_point(const char *name)
{
	(void)name;
	if (points_left-- == 0)
		raise(SIGKILL);
}

static int attach_dying(void *arg)
{
	struct im_seg *seg;

	im_crash_hook = die_at_point;
	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	return 0;
}

/* Reading claims a slot that left nothing, so the other is there to be swept. */
static int sweep_dying(void *arg)
{
	struct im_seg *seg = im_segs[0];

	(void)arg;
	im_line(seg);
	T_MUST(seg_slot(seg) == 3);
	im_crash_hook = die_at_point;
	im_owner_sweep(seg);
	return 0;
}

static void die_at_every_point(const char *path, struct im_seg *seg, int (*fn)(void *arg))
{
	for (int i = 0, died = 1; died; i++) {
		pid_t pid;

		CU_ASSERT(t_killed(t_run(take_and_die, (void *)(uintptr_t)path)));
		points_left = i;
		died = !t_ok(t_run(fn, (void *)(uintptr_t)path));
		pid = start_owner(path);
		im_owner_sweep(seg);
		CU_ASSERT(seg->h->space.used == 0 && seg_findings(seg) == 0);
		t_kill(pid);
		CU_ASSERT_FATAL(i < 300);
		CU_ASSERT(i > 4 || died);
	}
}

static void owner__killed_at_any_point_of_a_claim_the_next_completes_it(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);

	open_gates();
	die_at_every_point(path, seg, attach_dying);
	close_gates();
	seg_gone(seg);
}

static void owner__killed_at_any_point_of_a_sweep_the_next_completes_it(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);

	open_gates();
	die_at_every_point(path, seg, sweep_dying);
	close_gates();
	seg_gone(seg);
}
#endif

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

static int run_true(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	shown->self[0] = seg->self;
	execl("/bin/sleep", "sleep", "20", (char *)NULL);
	return 1;
}

static void owner__exec_ends_an_owner(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	uint64_t end = t_now_ms() + 5000;
	pid_t pid;

	memset(shown, 0, sizeof(*shown));
	pid = t_run(run_true, (void *)(uintptr_t)path);
	while ((!im_load32_rlx(&shown->self[0]) || !im_owner_dead(seg, shown->self[0])) &&
	       t_now_ms() < end)
		t_sleep_ms(1);
	CU_ASSERT(im_owner_dead(seg, shown->self[0]));
	CU_ASSERT(kill(pid, 0) == 0);
	t_kill(pid);
	seg_gone(seg);
}

/* As CUnit has no hook that runs once a program, a constructor makes the shared page. */
__attribute__((constructor)) static void make_shown(void)
{
	shown = t_shared(4096);
}

static CU_TestInfo tests[] = {
	{"a slot is claimed and given back", owner__slot_is_claimed_and_given_back},
	{"without a free slot attach says so", owner__without_a_free_slot_attach_says_so},
	{"a killed master with an idle child is dead",
	 owner__killed_master_with_an_idle_child_is_dead},
	{"closefrom() in a live process changes nothing",
	 owner__closefrom_in_a_live_process_changes_nothing},
	{"exec ends an owner", owner__exec_ends_an_owner},
	{"the claimer frees what its predecessor left",
	 owner__claimer_frees_what_its_predecessor_left},
	{"a sweep frees what the dead left", owner__sweep_frees_what_the_dead_left},
	{"leaving frees what is private", owner__leaving_frees_what_is_private},
	{"a predecessor that died in the space lock is no obstacle",
	 owner__predecessor_that_died_in_the_space_lock_is_no_obstacle},
	{"the last generation is not lived in", owner__last_generation_is_not_lived_in},
	{"a forked child claims its own slot", owner__forked_child_claims_its_own_slot},
	{"a raw-cloned child claims its own slot", owner__raw_cloned_child_claims_its_own_slot},
	{"a child that dropped its rights can write",
	 owner__child_that_dropped_its_rights_can_write},
	{"a child that cannot reopen reads on", owner__child_that_cannot_reopen_reads_on},
	{"fork during a claim keeps no byte", owner__fork_during_a_claim_keeps_no_byte},
	{"forks and claims do not lock up", owner__forks_and_claims_do_not_lock_up},
	{"threads beyond the lines share one", owner__threads_beyond_the_lines_share_one},
	{"a thread may end after detach", owner__thread_may_end_after_detach},
	{"a dead owner's line goes on counting", owner__line_of_a_dead_owner_goes_on_counting},
	{"a reader does not wait for a claim", owner__reader_does_not_wait_for_a_claim},
	{"a reader passes over slots that left extents",
	 owner__reader_passes_over_slots_that_left_extents},
#if defined(IM_CHECK) && IM_CHECK
	{"killed at any point of a claim, the next completes it",
	 owner__killed_at_any_point_of_a_claim_the_next_completes_it},
	{"killed at any point of a sweep, the next completes it",
	 owner__killed_at_any_point_of_a_sweep_the_next_completes_it},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("owner", tests)
