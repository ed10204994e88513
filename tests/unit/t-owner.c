/* SPDX-License-Identifier: MIT */
/*
 * t-owner.c - slots, who is alive, what the dead leave
 */
#include "owners.h"

#include "life.h"
#include "lock.h"

/* As the kernel has it, which need not be what the program was called by. */
static void my_name(char name[17])
{
	FILE *f = fopen("/proc/self/comm", "r");

	if (!f || !fgets(name, 17, f))
		abort();
	fclose(f);
	name[strcspn(name, "\n")] = '\0';
}

static void owner__slot_is_claimed_and_given_back(void)
{
	const char *path = T_PATH;
	char comm[17];
	struct im_seg *seg = seg_made(path, NULL);
	uint32_t self = seg->self;
	pid_t pid;

	open_gates();
	CU_ASSERT(seg_slot(seg) == 1 && !im_owner_dead(seg, self));
	CU_ASSERT(seg->owners[0].pid == (uint64_t)getpid() && seg->owners[0].start != 0);
	my_name(comm);
	CU_ASSERT(strncmp(seg->owners[0].comm, comm, 15) == 0);
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

static int take_and_pause(void *arg)
{
	struct im_seg *seg;

	T_MUST(im_seg_attach(arg, 0, NULL, &seg) == 0);
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	t_gate_pass(&told);
	pause();
	return 0;
}

static void owner__sweep_leaves_the_living_alone(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	uint32_t gen;
	pid_t pid;

	open_gates();
	pid = t_run(take_and_pause, (void *)(uintptr_t)path);
	t_gate_wait(&told);
	gen = seg->owners[1].gen;
	im_owner_sweep(seg);
	CU_ASSERT(seg->h->space.used == 1 && seg->owners[1].n_private == 1);
	CU_ASSERT(seg->owners[1].gen == gen && seg->claim_fd == -1);
	t_kill(pid);
	im_owner_sweep(seg);
	CU_ASSERT(seg->h->space.used == 0 && seg_findings(seg) == 0);
	seg_gone(seg);
	close_gates();
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

static CU_TestInfo tests[] = {
	{"a slot is claimed and given back", owner__slot_is_claimed_and_given_back},
	{"without a free slot attach says so", owner__without_a_free_slot_attach_says_so},
	{"closefrom() in a live process changes nothing",
	 owner__closefrom_in_a_live_process_changes_nothing},
	{"exec ends an owner", owner__exec_ends_an_owner},
	{"the claimer frees what its predecessor left",
	 owner__claimer_frees_what_its_predecessor_left},
	{"a sweep frees what the dead left", owner__sweep_frees_what_the_dead_left},
	{"a sweep leaves the living alone", owner__sweep_leaves_the_living_alone},
	{"leaving frees what is private", owner__leaving_frees_what_is_private},
	{"a predecessor that died in the space lock is no obstacle",
	 owner__predecessor_that_died_in_the_space_lock_is_no_obstacle},
	{"the last generation is not lived in", owner__last_generation_is_not_lived_in},
#if defined(IM_CHECK) && IM_CHECK
	{"killed at any point of a claim, the next completes it",
	 owner__killed_at_any_point_of_a_claim_the_next_completes_it},
	{"killed at any point of a sweep, the next completes it",
	 owner__killed_at_any_point_of_a_sweep_the_next_completes_it},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("owner", tests)
