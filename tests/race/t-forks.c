/* SPDX-License-Identifier: MIT */
/*
 * t-forks.c - forks in unusual places, other ways to a new process, crowds of processes and
 * threads
 *
 * In the caller's functions, in the middle of another thread's write, in signal handlers
 * between any two instructions of a read; vfork(2), posix_spawn(3), exec without a close;
 * thousands of threads that come and go, and of processes; all owner slots in use.
 */
#include "step.h"

#include "map.h"
#include "os.h"
#include "owner.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>

extern char **environ;

#define THREADS T_AMOUNT(3000u, 1000u, 200u)
#define CROWD T_AMOUNT(600u, 200u, 60u)
#define FORKS T_AMOUNT(40u, 20u, 10u)

static const char *name;
static struct ipcmap *m;

static void begin(const char *segment, unsigned shards)
{
	name = segment;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, shards, &m) ==
			0);
}

static void end(void)
{
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static int store(const char *key, uint64_t n, uint64_t deadline)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.deadline_ns = deadline;
	return ipcmap_put(m, key, strlen(key), &n, sizeof(n), &how);
}

static uint64_t fetch(const char *key)
{
	uint64_t n = 0;
	size_t len;

	return ipcmap_get(m, key, strlen(key), &n, sizeof(n), &len) == 0 ? n : UINT64_MAX;
}

static int add(const char *key)
{
	return ipcmap_add(m, key, strlen(key), 1, NULL, NULL);
}

static struct ipcmap_stat stat_of(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	CU_ASSERT(ipcmap_stat(m, &st) == 0);
	return st;
}

/* ---- in the caller's functions: the child returns from them, too ---- */

static pid_t forked; /* 0: this is the child */
static unsigned calls;

static int fork_once(void)
{
	if (calls++ == 0)
		forked = t_fork();
	return 0;
}

static int in_progress(void *arg, uint64_t done, uint64_t of)
{
	(void)arg;
	(void)done;
	(void)of;
	return fork_once();
}

static void in_report(void *arg, const char *line)
{
	(void)arg;
	(void)line;
	fork_once();
}

static int in_each(void *arg, const struct ipcmap_pair *pair)
{
	(void)arg;
	(void)pair;
	return fork_once();
}

static int in_list(void *arg, const struct ipcmap_snapshot_info *info)
{
	(void)arg;
	(void)info;
	return fork_once();
}

static int call_compact(void)
{
	struct ipcmap_compact_options how = {.struct_size = sizeof(how),
					     .progress = in_progress};

	return ipcmap_compact(m, &how, NULL);
}

/* Something for its report: one entry too many, put right when the child is done. */
static int call_check(void)
{
	int r;

	m->shards[0].entries++;
	r = ipcmap_check(m, in_report, NULL);
	if (forked > 0) {
		CU_ASSERT(t_ok(forked));
		m->shards[0].entries--;
	}
	return r > 0 ? 0 : IPCMAP_CORRUPT;
}

static int call_each(void)
{
	struct ipcmap_snapshot *s = NULL;
	int r = ipcmap_snapshot_open(m, "t", 0, &s);

	if (r)
		return r;
	r = ipcmap_snapshot_each(s, in_each, NULL);
	ipcmap_snapshot_close(s);
	return r;
}

static int call_list(void)
{
	return ipcmap_snapshot_list(m, in_list, NULL);
}

/* What a child may do afterwards: everything, as an owner of its own. */
static int use_it(uint32_t parent)
{
	char key[24];

	for (uint64_t i = 0; i < 200; i++) {
		sprintf(key, "k%u", (unsigned)i % 50);
		T_MUST(store(key, i, 0) == 0 && fetch(key) == i);
	}
	T_MUST(m->seg->self != 0 && m->seg->self != parent);
	T_MUST(!im_owner_dead(m->seg, parent));
	return 0;
}

static uint64_t leap(void)
{
	static uint64_t leaped;

	leaped += 700000000;
	return im_os_real.now() + leaped;
}

static void fork__in_a_function_of_the_caller(void)
{
	static int (*const call[])(void) = {call_compact, call_check, call_each, call_list};
	uint64_t one = 1;
	struct ipcmap_pair p = {"k", 1, &one, sizeof(one)};
	struct im_os os = im_os_real;
	uint32_t self;
	char key[24];
	int r;

	os.now = leap;
	for (unsigned i = 0; i < ARRAY_LEN(call); i++) {
		begin(T_NAME, 4);
		self = m->seg->self;
		for (uint64_t k = 0; k < 2000; k++) {
			sprintf(key, "k%u", (unsigned)k % 500);
			CU_ASSERT(store(key, k, 0) == 0);
		}
		CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
		calls = 0;
		forked = -1;
		im_os = &os;
		r = call[i]();
		im_os = &im_os_real;
		if (forked == 0) {
			T_MUST(r == 0);
			/* what went on under locks did so as an owner */
			T_MUST(m->seg->self != 0 || call[i] == call_list ||
			       call[i] == call_each);
			_exit(use_it(self));
		}
		CU_ASSERT(r == 0 && forked > 0 && (call[i] == call_check || t_ok(forked)));
		CU_ASSERT(m->seg->self == self && store("k1", 1, 0) == 0);
		CU_ASSERT(stat_of().takeovers == 0);
		end();
	}
}

/* ---- between two instructions of another thread's put ---- */

static volatile uint32_t stand, stood, go_on;

static void stand_there(uint64_t n)
{
	if (n != stand)
		return;
	im_store32_rel((uint32_t *)(uintptr_t)&stood, 1);
	while (!im_load32_acq((uint32_t *)(uintptr_t)&go_on))
		t_sleep_ms(1);
}

static uint64_t put_length;

static void *put_slowly(void *arg)
{
	(void)arg;
	CU_ASSERT(store("warm", 1, 0) == 0);
	step_begin(stand_there);
	CU_ASSERT(store("key", 2, 0) == 0);
	put_length = step_end();
	return NULL;
}

/* The lock, if it is held, is the parent's: waited for, never stolen. */
static int child_of_a_writer(void *arg)
{
	bool held = (im_load32_rlx(&m->shards[0].lock) & IM_OWNER_MASK) != 0;
	int r;

	(void)arg;
	T_MUST(fetch("key") == 1 || fetch("key") == 2);
	r = store("child", 1, IPCMAP_NOWAIT);
	/* the parent goes on after a while: it may have let go since, or taken it */
	held = held && (im_load32_rlx(&m->shards[0].lock) & IM_OWNER_MASK) != 0;
	T_MUST(r == IPCMAP_BUSY || (r == 0 && !held));
	T_MUST(store("child", 1, IPCMAP_FOREVER) == 0 && fetch("child") == 1);
	T_MUST(fetch("key") == 1 || fetch("key") == 2);
	return 0;
}

static bool fork_at(uint32_t at)
{
	pthread_t t;
	pid_t pid = 0;

	stand = at;
	stood = go_on = 0;
	CU_ASSERT(store("key", 1, 0) == 0);
	ipcmap_del(m, "child", 5);
	CU_ASSERT_FATAL(pthread_create(&t, NULL, put_slowly, NULL) == 0);
	for (uint64_t end_ms = t_now_ms() + (at ? T_LIMIT_MS : 0);
	     !im_load32_acq((uint32_t *)(uintptr_t)&stood) && !put_length &&
	     t_now_ms() < end_ms;)
		sched_yield();
	if (stood) {
		pid = t_run(child_of_a_writer, NULL);
		t_sleep_ms(1);
	}
	im_store32_rel((uint32_t *)(uintptr_t)&go_on, 1);
	pthread_join(t, NULL);
	CU_ASSERT(!pid || t_ok(pid));
	CU_ASSERT(fetch("key") == 2 && m->shards[0].takeovers == 0);
	return pid != 0;
}

static void fork__in_the_middle_of_anothers_put(void)
{
	uint64_t x = (uint64_t)getpid() * 2654435761u + t_now_ms(), n;
	unsigned forks = 0, first, stride = step_stride(&first);

	if (!HAVE_STEPS) {
		t_skip("no single steps here");
		return;
	}
	begin(T_NAME, 1);
	printf("(seed %llu) ", (unsigned long long)x);
	put_length = 0;
	fork_at(0);
	n = put_length;
	CU_ASSERT(n > 50);
	for (uint32_t i = 0; i < (stride ? n / stride : FORKS); i++) {
		put_length = 0;
		forks += fork_at(stride ? first + i * stride
					: 1 + (uint32_t)(load_random(&x) % n));
	}
	printf("(%u forks in %llu instructions) ", forks, (unsigned long long)n);
	CU_ASSERT(forks > (stride ? n / stride : FORKS) / 2);
	end();
}

/* ---- in a signal handler, between any two instructions of a read ---- */

static volatile uint64_t fork_here;
static volatile pid_t handler_child;
static volatile bool child_goes_on;

static void fork_there(uint64_t n)
{
	if (n != fork_here)
		return;
	handler_child = fork();
	if (handler_child == 0 && !child_goes_on)
		_exit(0);
	if (handler_child == 0)
		step_each = NULL;
}

/* A thread's first count, and its second. */
static void *count_two(void *arg)
{
	uint64_t *n = arg;
	uint64_t got[2];

	handler_child = -1;
	step_begin(fork_there);
	got[0] = fetch("key");
	got[1] = fetch("key");
	*n = step_end();
	if (handler_child == 0) {
		/* not what the manual permits, but it must do no more harm than a count */
		if (got[0] != 1 || got[1] != 1 || fetch("key") != 1 || store("own", 1, 0) ||
		    fetch("own") != 1)
			_exit(1);
		_exit(0);
	}
	if (got[0] != 1 || got[1] != 1)
		*n = 0;
	return NULL;
}

/* A new thread each time: it has no counter line yet. */
static uint64_t count_and_fork(uint64_t at, bool goes_on)
{
	uint64_t before = stat_of().gets, n = 0, off;
	pthread_t t;

	fork_here = at;
	child_goes_on = goes_on;
	CU_ASSERT_FATAL(pthread_create(&t, NULL, count_two, &n) == 0);
	pthread_join(t, NULL);
	CU_ASSERT(n > 0);
	if (handler_child > 0)
		CU_ASSERT(t_ok(handler_child));
	off = stat_of().gets - before;
	/* the child's own, if it went on: it ends with three gets of two lines at most */
	CU_ASSERT(goes_on && handler_child > 0 ? off >= 1 && off <= 6 : off == 2);
	return n;
}

static void fork__in_a_handler_of_a_reader(void)
{
	uint64_t x = (uint64_t)getpid() * 2654435761u + t_now_ms(), n;
	unsigned first, stride = step_stride(&first);
	uint32_t self;

	if (!HAVE_STEPS) {
		t_skip("no single steps here");
		return;
	}
	begin(T_NAME, 1);
	printf("(seed %llu) ", (unsigned long long)x);
	CU_ASSERT(store("key", 1, 0) == 0);
	self = m->seg->self;
	n = count_and_fork(0, false);
	for (uint64_t i = 0; i < (stride ? 2 * n / stride : 2 * FORKS); i++)
		count_and_fork(stride ? first + i / 2 * stride : 1 + load_random(&x) % n,
			       i % 2);
	printf("(%llu instructions) ", (unsigned long long)n);
	CU_ASSERT(m->seg->self == self && store("key", 2, 0) == 0);
	CU_ASSERT(stat_of().takeovers == 0);
	end();
}

/* ---- other programs ---- */

/* Neither a descriptor nor a mapping of ours; "own" is the process that runs it. */
#define LOOK                                                                                   \
	"for f in /proc/$$/fd/*; do readlink $f; done | grep -q ipcmap-test && exit 1; "       \
	"grep -q ipcmap-test /proc/$$/maps && exit 2; exit 0"

static const char *const look_args[] = {"sh", "-c", LOOK, NULL};

static int exec_now(void *arg)
{
	(void)arg;
	T_MUST(store("exec", 1, 0) == 0);
	execv("/bin/sh", (char *const *)(uintptr_t)look_args);
	return 9;
}

/* Apart from its caller: the compiler must not keep there what the child changes. */
__attribute__((noinline)) static pid_t start_by_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execv("/bin/sh", (char *const *)(uintptr_t)look_args);
		_exit(9);
	}
	return pid;
}

static void exec__inherits_nothing(void)
{
	struct ipcmap_snapshot *held = NULL;
	uint64_t one = 1;
	struct ipcmap_pair p = {"k", 1, &one, sizeof(one)};
	uint32_t self;
	pid_t pid;

	begin(T_NAME, 1);
	self = m->seg->self;
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(ipcmap_snapshot_open(m, "t", 0, &held) == 0);
	for (unsigned i = 0; i < 5; i++) {
		CU_ASSERT(t_ok(t_run(exec_now, NULL)));
		CU_ASSERT(t_ok(start_by_vfork()));
		CU_ASSERT(posix_spawn(&pid, "/bin/sh", NULL, NULL,
				      (char *const *)(uintptr_t)look_args, environ) == 0);
		CU_ASSERT(t_ok(pid));
		CU_ASSERT(m->seg->self == self && !im_owner_dead(m->seg, self));
		CU_ASSERT(store("here", i, 0) == 0 && fetch("here") == i);
		CU_ASSERT(stat_of().attached == 1);
	}
	ipcmap_snapshot_close(held);
	CU_ASSERT(stat_of().takeovers == 0);
	end();
}

/* A daemon closes everything, its files get our numbers, and it ends in good order. */
static int reuse_and_close(void *arg)
{
	int file[64], n = 0;
	struct stat st;

	(void)arg;
	T_MUST(store("before", 1, 0) == 0);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	while (n < 20 && (file[n] = open("/dev/null", O_RDWR)) >= 0)
		n++;
	T_MUST(n == 20 && store("after", 1, 0) == 0);
	/* a child of it, too */
	T_MUST(t_ok(t_run(exec_now, NULL)));
	ipcmap_close(m);
	while (n--)
		T_MUST(fstat(file[n], &st) == 0 && S_ISCHR(st.st_mode));
	return 0;
}

static void closefrom__close_leaves_the_users_files_open(void)
{
	begin(T_NAME, 1);
	CU_ASSERT(t_ok(t_run(reuse_and_close, NULL)));
	CU_ASSERT(fetch("before") == 1 && fetch("after") == 1 && fetch("exec") == 1);
	CU_ASSERT(stat_of().attached == 1);
	end();
}

/* ---- crowds ---- */

static void *come_and_go(void *arg)
{
	uint64_t *bad = arg;

	if (add("threads") || fetch("none") != UINT64_MAX)
		im_add_rlx(bad, 1);
	return NULL;
}

static void threads__come_and_go_by_thousands(void)
{
	struct ipcmap_inspect v = {.struct_size = sizeof(v)};
	uint64_t used, bad = 0, gets;
	char text[16] = "";
	pthread_t t[8];
	size_t len = 0;

	begin(T_NAME, 1);
	gets = stat_of().gets;
	used = stat_of().used;
	for (unsigned i = 0; i < THREADS / 8; i++) {
		for (unsigned k = 0; k < 8; k++)
			CU_ASSERT_FATAL(pthread_create(&t[k], NULL, come_and_go, &bad) == 0);
		for (unsigned k = 0; k < 8; k++)
			pthread_join(t[k], NULL);
	}
	CU_ASSERT(bad == 0 && ipcmap_inspect(m, &v) == 0 && v.lines_used <= 9);
	CU_ASSERT(stat_of().gets - gets == THREADS / 8 * 8 &&
		  stat_of().puts == THREADS / 8 * 8);
	CU_ASSERT(stat_of().attached == 1);
	CU_ASSERT(ipcmap_get(m, "threads", 7, text, sizeof(text) - 1, &len) == 0);
	CU_ASSERT(strtoul(text, NULL, 10) == THREADS / 8 * 8);
	/* garbage of counters aside */
	CU_ASSERT(stat_of().used < used + 64 * 4096);
	end();
}

#define DEPTH 6u /* 2^6 - 1 processes at a time: there are 255 slots */

static unsigned depth;

/* Each starts two more, as long as there is something left; some are killed. */
static int breed(void *arg)
{
	uint32_t *left = arg;
	struct ipcmap *own;
	pid_t pid[2] = {0, 0};
	uint32_t n = im_add32_rlx(left, (uint32_t)-1);

	if (n == 0 || n > CROWD) {
		im_add32_rlx(left, 1);
		return 0;
	}
	T_MUST(load_open(name, 0, 0, 0, &own) == 0);
	T_MUST(ipcmap_add(own, "crowd", 5, 1, NULL, NULL) == 0);
	depth++;
	for (unsigned i = 0; i < 2 && depth < DEPTH; i++)
		pid[i] = t_run(breed, arg);
	for (unsigned i = 0; i < 2 && depth < DEPTH; i++) {
		int status = t_wait(pid[i], T_LIMIT_MS);

		T_MUST(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	}
	if (n % 3 == 0)
		raise(SIGKILL);
	if (n % 3 == 1)
		ipcmap_close(own);
	return 0;
}

static void crowd__of_short_lived_processes_leaves_nothing(void)
{
	struct ipcmap_inspect v = {.struct_size = sizeof(v)};
	uint32_t *left = t_shared(4096);
	char text[16] = "";
	size_t len;

	begin(T_NAME, 1);
	*left = CROWD;
	while (im_load32_acq(left)) {
		int status = t_wait(t_run(breed, left), T_LIMIT_MS);

		CU_ASSERT(WIFSIGNALED(status) || status == 0);
		if (WIFEXITED(status) && WEXITSTATUS(status))
			break;
	}
	CU_ASSERT(ipcmap_get(m, "crowd", 5, text, sizeof(text) - 1, &len) == 0);
	CU_ASSERT(strtoul(text, NULL, 10) == CROWD);
	for (unsigned i = 0; i < 1000 && stat_of().attached > 1; i++)
		t_sleep_ms(1);
	CU_ASSERT(stat_of().attached == 1 && ipcmap_inspect(m, &v) == 0 && v.extents_used < 64);
	t_shared_free(left, 4096);
	end();
}

/* ---- all owner slots ---- */

static struct t_gate told;

static int attach_and_wait(void *arg)
{
	struct ipcmap *own;

	(void)arg;
	T_MUST(load_open(name, 0, 0, 0, &own) == 0);
	t_gate_pass(&told);
	pause();
	return 0;
}

static int attach_in_vain(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	char why[200] = "";
	struct ipcmap *own;

	(void)arg;
	o.why = why;
	o.why_cap = sizeof(why);
	T_MUST(ipcmap_open(name, &o, &own) == IPCMAP_OWNERS);
	T_MUST(strstr(why, "owner slots"));
	/* reading needs none */
	o.flags = IPCMAP_RDONLY;
	T_MUST(ipcmap_open(name, &o, &own) == 0);
	return 0;
}

/* A forked child of an owner finds no slot: it reads on, and its writes say why not. */
static int write_in_vain(void *arg)
{
	(void)arg;
	T_MUST(fetch("key") == 1);
	T_MUST(store("key", 2, 0) == IPCMAP_OWNERS);
	T_MUST(fetch("key") == 1);
	return 0;
}

static bool is_zombie(pid_t pid)
{
	char path[40], text[300] = "";
	FILE *f;

	sprintf(path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f && !fgets(text, sizeof(text), f))
		*text = '\0';
	if (f)
		fclose(f);
	return strstr(text, ") Z ") != NULL;
}

static void owners__all_in_use_is_said_and_the_dead_make_room(void)
{
	pid_t pid[255];
	uint32_t n;
	int status;

	begin(T_NAME, 1);
	CU_ASSERT(store("key", 1, 0) == 0);
	n = m->seg->n_owners - 1;
	CU_ASSERT_FATAL(n < ARRAY_LEN(pid));
	t_gate_open(&told);
	for (uint32_t i = 0; i < n; i++)
		pid[i] = t_run(attach_and_wait, NULL);
	for (uint32_t i = 0; i < n; i++)
		t_gate_wait(&told);
	CU_ASSERT(stat_of().attached == n + 1 && stat_of().owners == n + 1);
	CU_ASSERT(t_ok(t_run(attach_in_vain, NULL)));
	CU_ASSERT(t_ok(t_run(write_in_vain, NULL)));
	/* one that is stopped keeps its slot */
	kill(pid[0], SIGSTOP);
	waitpid(pid[0], &status, WUNTRACED);
	CU_ASSERT(t_ok(t_run(attach_in_vain, NULL)));
	/* one that is dead does not, whether or not its parent has looked */
	kill(pid[1], SIGKILL);
	/* its first thread may be a zombie while another one, a sanitizer's, is on its way out */
	for (unsigned i = 0; i < T_LIMIT_MS && !(is_zombie(pid[1]) && stat_of().attached == n); i++)
		t_sleep_ms(1);
	CU_ASSERT(is_zombie(pid[1]) && stat_of().attached == n);
	pid[254] = t_run(attach_and_wait, NULL);
	t_gate_wait(&told);
	CU_ASSERT(stat_of().attached == n + 1);
	CU_ASSERT(t_ok(t_run(attach_in_vain, NULL)));
	for (uint32_t i = 0; i < n; i++)
		t_kill(pid[i]);
	t_kill(pid[254]);
	CU_ASSERT(stat_of().attached == 1);
	t_gate_close(&told);
	end();
}

/* ---- a core dump ---- */

#define DUMP_LEN (UINT64_C(96) << 20)

static void abort_under_the_lock(uint64_t n)
{
	static unsigned under;

	(void)n;
	if ((im_load32_rlx(&m->shards[0].lock) & IM_OWNER_MASK) == m->seg->self &&
	    ++under == 40)
		abort();
}

static int dump_core(void *arg)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	unsigned char *p = malloc(DUMP_LEN);

	T_MUST(p && chdir(arg) == 0 && setrlimit(RLIMIT_CORE, &all) == 0);
	memset(p, 1, DUMP_LEN);
	T_MUST(load_open(name, 0, 0, 0, &m) == 0 && fetch("key") == 1);
	step_begin(abort_under_the_lock);
	store("key", 2, 0);
	return 1;
}

static bool is_dumping(pid_t pid)
{
	char path[40], line[200];
	bool is = false;
	FILE *f;

	sprintf(path, "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		is |= strncmp(line, "CoreDumping:\t1", 14) == 0;
	if (f)
		fclose(f);
	return is;
}

static void core_dump__keeps_the_lock_until_it_ends(void)
{
	char dir[] = "/tmp/ipcmap-test.XXXXXX", file[64];
	unsigned looked = 0;
	uint32_t word;
	pid_t pid;

	if (!HAVE_STEPS || !mkdtemp(dir)) {
		t_skip("no single steps here");
		return;
	}
	begin(T_NAME, 1);
	CU_ASSERT(store("key", 1, 0) == 0);
	pid = t_run(dump_core, dir);
	for (uint64_t end_ms = t_now_ms() + T_LIMIT_MS; t_now_ms() < end_ms;) {
		bool dumps = is_dumping(pid), dead;
		int r;

		word = im_load32_rlx(&m->shards[0].lock) & IM_OWNER_MASK;
		dead = word && im_owner_dead(m->seg, word);
		r = dumps ? store("key", 3, IPCMAP_NOWAIT) : 0;
		if (dumps && is_dumping(pid)) {
			CU_ASSERT(word != 0 && !dead && r == IPCMAP_BUSY);
			looked++;
		}
		if (is_zombie(pid))
			break;
	}
	if (!looked)
		t_skip("no core dump was seen");
	else
		printf("(%u looks) ", looked);
	t_kill(pid);
	CU_ASSERT(store("key", 4, 0) == 0 && fetch("key") == 4);
	CU_ASSERT(!looked || m->shards[0].takeovers == 1);
	snprintf(file, sizeof(file), "%s/core", dir);
	unlink(file);
	snprintf(file, sizeof(file), "%s/core.%d", dir, (int)pid);
	unlink(file);
	CU_ASSERT(rmdir(dir) == 0);
	end();
}

static CU_TestInfo tests[] = {
	{"a child forked in a function of the caller may go on",
	 fork__in_a_function_of_the_caller},
	{"a fork in the middle of another thread's put", fork__in_the_middle_of_anothers_put},
	{"a fork in a handler that interrupted a read", fork__in_a_handler_of_a_reader},
	{"another program inherits nothing", exec__inherits_nothing},
	{"close leaves open what the user has under our numbers",
	 closefrom__close_leaves_the_users_files_open},
	{"threads come and go by thousands", threads__come_and_go_by_thousands},
	{"a crowd of short-lived processes leaves nothing",
	 crowd__of_short_lived_processes_leaves_nothing},
	{"all slots in use is said, and the dead make room",
	 owners__all_in_use_is_said_and_the_dead_make_room},
	{"a process that dumps core keeps its lock meanwhile",
	 core_dump__keeps_the_lock_until_it_ends},
	CU_TEST_INFO_NULL,
};

T_SUITE("forks", tests)
