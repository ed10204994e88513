/* SPDX-License-Identifier: MIT */
/*
 * t-namespaces.c - processes of equal numbers in two PID namespaces
 *
 * Two processes, each number 1 in a namespace of its own, stand in the middle of a write, each
 * holding the lock of a shard. One is killed. The other is never taken for it, nor is another
 * process that gets the number later; the lock of the dead one is taken over.
 */
#include "step.h"

#include "map.h"
#include "owner.h"

#include <sched.h>

struct shared {
	struct {
		uint32_t self, inside, pid, go;
		uint64_t n;
	} of[3];
	uint32_t cannot;
};

static struct shared *sh;
static const char *name;
static struct ipcmap *m;

/* Not inline: the compiler would see the branches of the hash for longer keys. */
__attribute__((noinline)) static uint32_t shard_of(const char *key, size_t len)
{
	return im_map_shard(m, im_hash(m->hash_seed, key, len));
}

static const char *key_in(uint32_t shard)
{
	static char key[2][24];
	unsigned i = 0;
	size_t n;

	do
		n = (size_t)sprintf(key[shard], "ns-%u-%u", shard, i++);
	while (shard_of(key[shard], n) != shard);
	return key[shard];
}

static int store(uint32_t shard, uint64_t seq, uint64_t deadline)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.deadline_ns = deadline;
	return ipcmap_put(m, key_in(shard), strlen(key_in(shard)), &seq, sizeof(seq), &how);
}

static uint64_t seq_in(uint32_t shard)
{
	uint64_t seq = 0;
	size_t len;

	return ipcmap_get(m, key_in(shard), strlen(key_in(shard)), &seq, sizeof(seq), &len)
		       ? 0
		       : seq;
}

/* ---- inside ---- */

static uint32_t me;

/* A process number 1 cannot stop itself; it waits. */
static void stand_under_the_lock(uint64_t n)
{
	(void)n;
	if ((im_load32_rlx(&m->shards[me].lock) & IM_OWNER_MASK) != m->seg->self ||
	    ++sh->of[me].n != 30)
		return;
	im_store32_rel(&sh->of[me].inside, 1);
	while (!im_load32_acq(&sh->of[me].go))
		t_sleep_ms(1);
}

static int be_first(void *arg)
{
	me = *(uint32_t *)arg;
	T_MUST(load_open(name, IPCMAP_FOREIGN, 0, 0, &m) == 0);
	sh->of[me].self = m->seg->self;
	sh->of[me].pid = (uint32_t)getpid();
	if (me == 2) {
		/* a later one: there, and no more */
		im_store32_rel(&sh->of[me].inside, 1);
		while (!im_load32_acq(&sh->of[me].go))
			t_sleep_ms(1);
		return 0;
	}
	step_begin(stand_under_the_lock);
	T_MUST(store(me, 2, 0) == 0);
	step_end();
	return 0;
}

/* The first process of a new namespace, and its end as ours. */
static int outside(void *arg)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
		im_store32_rel(&sh->cannot, 1);
		return 0;
	}
	pid = t_run(be_first, arg);
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static pid_t start(uint32_t i)
{
	static uint32_t number[3] = {0, 1, 2};
	uint64_t end_ms = t_now_ms() + T_LIMIT_MS;
	pid_t pid = t_run(outside, &number[i]);

	while (!im_load32_acq(&sh->of[i].inside) && !im_load32_acq(&sh->cannot) &&
	       t_now_ms() < end_ms)
		t_sleep_ms(1);
	return pid;
}

/* The child of @pid, seen from here. */
static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *f;

	sprintf(path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &child) != 1)
		child = 0;
	if (f)
		fclose(f);
	return child;
}

/* As the tool shows it: the owner with that slot and generation. */
static bool is_shown(uint32_t owner, uint32_t pid, bool alive)
{
	struct ipcmap_owner_info v = {.struct_size = sizeof(v)};

	return ipcmap_inspect_owner(m, (owner & 0x3ff) - 1, &v) == 0 && v.pid == pid &&
	       v.alive == alive && v.gen == (owner & IM_OWNER_MASK) >> 10;
}

static void pid_namespaces__equal_numbers_are_not_confused(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	pid_t pid[3], inner;

	if (!HAVE_STEPS) {
		t_skip("no single steps here");
		return;
	}
	name = T_NAME;
	sh = t_shared(sizeof(*sh));
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 2, &m) == 0);
	CU_ASSERT(store(0, 1, 0) == 0 && store(1, 1, 0) == 0);
	pid[0] = start(0);
	pid[1] = sh->cannot ? 0 : start(1);
	inner = pid[1] ? child_of(pid[0]) : 0;
	if (inner <= 0) {
		t_skip(sh->cannot ? "no namespace to be had" : "no list of children in /proc");
	} else {
		CU_ASSERT(sh->of[0].inside && sh->of[1].inside);
		CU_ASSERT(sh->of[0].pid == 1 && sh->of[1].pid == 1);
		CU_ASSERT((sh->of[0].self & 0x3ff) != (sh->of[1].self & 0x3ff));
		CU_ASSERT(is_shown(sh->of[0].self, 1, true) &&
			  is_shown(sh->of[1].self, 1, true));
		CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.attached == 3);
		CU_ASSERT(store(0, 3, IPCMAP_NOWAIT) == IPCMAP_BUSY);
		CU_ASSERT(store(1, 3, IPCMAP_NOWAIT) == IPCMAP_BUSY);
		kill(inner, SIGKILL);
		t_wait(pid[0], T_LIMIT_MS);
		CU_ASSERT(im_owner_dead(m->seg, sh->of[0].self));
		CU_ASSERT(!im_owner_dead(m->seg, sh->of[1].self));
		CU_ASSERT(is_shown(sh->of[0].self, 1, false) &&
			  is_shown(sh->of[1].self, 1, true));
		CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.attached == 2);
		CU_ASSERT(store(1, 3, 20000000) == IPCMAP_BUSY);
		CU_ASSERT(store(0, 3, 0) == 0 && seq_in(0) == 3 && m->shards[0].takeovers == 1);
		/* number 1 again, in the slot of the first */
		pid[2] = start(2);
		CU_ASSERT(sh->of[2].pid == 1);
		CU_ASSERT((sh->of[2].self & 0x3ff) == (sh->of[0].self & 0x3ff));
		CU_ASSERT(im_owner_dead(m->seg, sh->of[0].self));
		CU_ASSERT(!im_owner_dead(m->seg, sh->of[1].self));
		CU_ASSERT(!im_owner_dead(m->seg, sh->of[2].self));
		CU_ASSERT(store(1, 3, IPCMAP_NOWAIT) == IPCMAP_BUSY);
		im_store32_rel(&sh->of[2].go, 1);
		CU_ASSERT(t_ok(pid[2]));
		/* and the second finishes what it had begun */
		CU_ASSERT(seq_in(1) == 1 || seq_in(1) == 2);
		im_store32_rel(&sh->of[1].go, 1);
		CU_ASSERT(t_ok(pid[1]));
		CU_ASSERT(seq_in(1) == 2 && m->shards[1].takeovers == 0);
		CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.attached == 1);
	}
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_shared_free(sh, sizeof(*sh));
}

static CU_TestInfo tests[] = {
	{"equal numbers in two PID namespaces are not confused",
	 pid_namespaces__equal_numbers_are_not_confused},
	CU_TEST_INFO_NULL,
};

T_SUITE("namespaces", tests)
