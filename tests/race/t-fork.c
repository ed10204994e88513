/* SPDX-License-Identifier: MIT */
/*
 * t-fork.c - masters, workers, and what they do to each other's descriptors
 */
#include "load.h"

#include "map.h"
#include "owner.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define WORKERS 4u

static const char *name;
static struct ipcmap *m;
static struct t_gate told, go;

/* What processes tell each other; not in the map. */
struct shared {
	uint64_t gets, hits, puts, dels;
	uint32_t master;
	int32_t worker[WORKERS];
};
static struct shared *sh;

static void begin(const char *segment, uint64_t limit)
{
	name = segment;
	sh = t_shared(sizeof(*sh));
	t_gate_open(&told);
	t_gate_open(&go);
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, limit, 1, &m) == 0);
}

static void end(void)
{
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
	t_gate_close(&told);
	t_gate_close(&go);
	t_shared_free(sh, sizeof(*sh));
}

static int put_own(uint32_t me, uint32_t i, uint64_t seq)
{
	unsigned char val[2000];
	char key[32];
	uint32_t len = LOAD_MIN + (uint32_t)(seq * 37 % 1500);

	load_make(val, len, i, me, seq);
	return ipcmap_put(m, key, (size_t)sprintf(key, "fork-%u-%u", me, i), val, len, NULL);
}

static int get_own(uint32_t me, uint32_t i, uint64_t *ret_seq)
{
	unsigned char buf[2000];
	char key[32];
	size_t len;
	int r = ipcmap_get(m, key, (size_t)sprintf(key, "fork-%u-%u", me, i), buf, sizeof(buf),
			   &len);

	return r ? r : load_is(buf, len, i, me, ret_seq) ? 0 : IPCMAP_CORRUPT;
}

static void write_and_read(uint32_t me, uint32_t n)
{
	uint64_t seq;

	for (uint32_t i = 0; i < n; i++) {
		T_MUST(put_own(me, i % 20, i + 1) == 0);
		T_MUST(get_own(me, i % 20, &seq) == 0 && seq == i + 1);
	}
}

/* ---- at once ---- */

static int worker_at_once(void *arg)
{
	write_and_read(*(uint32_t *)arg, 2000);
	return 0;
}

static void fork__workers_use_the_masters_map_at_once(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	pid_t pid[WORKERS];

	begin(T_NAME, 1u << 20);
	for (uint32_t i = 0; i < WORKERS; i++)
		pid[i] = t_run(worker_at_once, &i);
	write_and_read(WORKERS, 2000);
	for (uint32_t i = 0; i < WORKERS; i++)
		CU_ASSERT(t_ok(pid[i]));
	CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.puts == 2000 * (WORKERS + 1));
	CU_ASSERT(st.gets == st.puts && st.hits == st.gets && st.entries == 20 * (WORKERS + 1));
	end();
}

/* ---- a master dies, workers live; workers die, the master lives ---- */

static int worker_for_long(void *arg)
{
	uint32_t me = *(uint32_t *)arg;

	/* the master's end is not ours */
	prctl(PR_SET_PDEATHSIG, 0);
	write_and_read(me, 300);
	t_gate_pass(&told);
	t_gate_wait(&go);
	write_and_read(me, 300);
	t_gate_pass(&told);
	return 0;
}

static int be_master(void *arg)
{
	(void)arg;
	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	write_and_read(9, 100);
	sh->master = m->seg->self;
	for (uint32_t i = 0; i < WORKERS; i++)
		sh->worker[i] = t_run(worker_for_long, &i);
	t_gate_pass(&told);
	pause();
	return 0;
}

static void fork__masters_death_harms_no_worker(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	pid_t pid;

	begin(T_NAME, 1u << 20);
	pid = t_run(be_master, NULL);
	for (uint32_t i = 0; i < WORKERS + 1; i++)
		t_gate_wait(&told);
	CU_ASSERT(!im_owner_dead(m->seg, sh->master));
	t_kill(pid);
	/* its workers live, but they do not keep its slot */
	CU_ASSERT(im_owner_dead(m->seg, sh->master));
	CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.attached == WORKERS + 1);
	for (uint32_t i = 0; i < WORKERS; i++)
		t_gate_pass(&go);
	for (uint32_t i = 0; i < WORKERS; i++)
		t_gate_wait(&told);
	for (uint32_t i = 0; i < 100 && (ipcmap_stat(m, &st), st.attached) > 1; i++)
		t_sleep_ms(10);
	CU_ASSERT(st.attached == 1);
	end();
}

static int worker_that_dies(void *arg)
{
	write_and_read(*(uint32_t *)arg, 50);
	t_gate_pass(&told);
	for (uint32_t i = 0;; i++)
		put_own(*(uint32_t *)arg, i % 20, i);
	return 0;
}

static void fork__workers_deaths_harm_no_master(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	uint64_t seq;

	begin(T_NAME, 1u << 20);
	for (uint32_t i = 0; i < 40; i++) {
		pid_t pid = t_run(worker_that_dies, &i);

		t_gate_wait(&told);
		usleep(i * 37 % 900);
		t_kill(pid);
		CU_ASSERT(put_own(77, 0, i) == 0 && get_own(77, 0, &seq) == 0 && seq == i);
	}
	CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.attached == 1);
	end();
}

/* ---- fewer rights ---- */

static int worker_without_rights(void *arg)
{
	uint32_t me = *(uint32_t *)arg;

	T_MUST(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
	/* it could not open the file now */
	T_MUST(open(m->seg->name, O_RDWR) < 0 && errno == EACCES);
	write_and_read(me, 2000);
	T_MUST(ipcmap_check(m, NULL, NULL) == 0);
	return 0;
}

static void fork__worker_without_rights_writes(void)
{
	uint32_t me = 3;

	if (geteuid() != 0) {
		t_skip("not root");
		return;
	}
	begin(T_NAME, 1u << 20);
	CU_ASSERT(t_ok(t_run(worker_without_rights, &me)));
	end();
}

/* ---- closed descriptors ---- */

/* All descriptors go while the process lives; it goes on, and stays the owner of its slot. */
static int close_all_and_go_on(void *arg)
{
	(void)arg;
	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	write_and_read(1, 50);
	sh->master = m->seg->self;
	for (int fd = 3; fd < 256; fd++)
		if (fd != told.fd[1] && fd != go.fd[0])
			close(fd);
	t_gate_pass(&told);
	t_gate_wait(&go);
	write_and_read(1, 3000);
	T_MUST(m->seg->self == sh->master);
	return 0;
}

static void closefrom__owner_stays_alive(void)
{
	struct ipcmap *other = NULL;
	pid_t pid;

	begin(T_NAME, 1u << 20);
	pid = t_run(close_all_and_go_on, NULL);
	t_gate_wait(&told);
	CU_ASSERT(!im_owner_dead(m->seg, sh->master));
	{
		/* newcomers take other slots */
		pid_t new = t_fork();

		if (new == 0) {
			T_MUST(load_open(name, 0, 0, 0, &other) == 0);
			T_MUST((other->seg->self & 0x3ff) != (sh->master & 0x3ff));
			m = other;
			write_and_read(2, 500);
			_exit(0);
		}
		CU_ASSERT(t_ok(new));
	}
	CU_ASSERT(!im_owner_dead(m->seg, sh->master));
	t_gate_pass(&go);
	write_and_read(3, 2000);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(im_owner_dead(m->seg, sh->master));
	end();
}

/* Our old descriptor's number is now a file of the application, which must stay as it is. */
static int close_and_open_a_file(void *arg)
{
	const char *file = arg;
	struct stat was, now;
	int fd, n;

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	T_MUST(put_own(1, 0, 1) == 0);
	n = m->seg->fd;
	for (fd = 3; fd < 64; fd++)
		close(fd);
	do {
		fd = open(file, O_RDWR | O_CREAT, 0600);
		T_MUST(fd >= 0 && fd <= n);
		T_MUST(write(fd, "log\n", 4) >= 0);
	} while (fd < n);
	T_MUST(fd == n && fstat(fd, &was) == 0);
	/* growth, of log, index and chains */
	for (uint32_t i = 0; i < 300; i++)
		T_MUST(put_own(2, i, 30 + i) == 0);
	{
		static unsigned char val[20000];

		T_MUST(ipcmap_put(m, "large", 5, val, sizeof(val), NULL) == 0);
	}
	for (uint32_t i = 0; i < 280; i++) {
		char key[32];

		T_MUST(ipcmap_del(m, key, (size_t)sprintf(key, "fork-2-%u", i)) == 0);
	}
	T_MUST(ipcmap_compact(m, NULL, NULL) == 0);
	T_MUST(fstat(fd, &now) == 0);
	T_MUST(now.st_size == was.st_size && now.st_blocks == was.st_blocks);
	T_MUST(now.st_mtim.tv_sec == was.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == was.st_mtim.tv_nsec);
	T_MUST(ipcmap_check(m, NULL, NULL) == 0);
	return 0;
}

static void closefrom__users_file_is_not_touched(void)
{
	char file[64];

	begin(T_NAME, 4u << 20);
	strcpy(file, T_PATH);
	CU_ASSERT(t_ok(t_run(close_and_open_a_file, file)));
	unlink(file);
	end();
}

/* ---- counters ---- */

static int count_and_end(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	uint64_t seq;
	char key[32];

	for (uint32_t i = 0; i < 100 + me; i++) {
		T_MUST(put_own(me, i % 10, i) == 0);
		T_MUST(get_own(me, i % 10, &seq) == 0);
		T_MUST(get_own(99, i, &seq) == IPCMAP_NOTFOUND);
	}
	T_MUST(ipcmap_del(m, key, (size_t)sprintf(key, "fork-%u-3", me)) == 0);
	im_add_rlx(&sh->puts, 100 + me);
	im_add_rlx(&sh->hits, 100 + me);
	im_add_rlx(&sh->gets, 2 * (100 + me));
	im_add_rlx(&sh->dels, 1);
	/* at a quiet moment, so that every call is counted */
	if (me % 2)
		kill(getpid(), SIGKILL);
	return 0;
}

static void counters__are_exact_over_deaths(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)}, was = st;
	pid_t pid[WORKERS];

	begin(T_NAME, 1u << 20);
	for (uint32_t round = 0; round < 15; round++) {
		for (uint32_t i = 0; i < WORKERS; i++)
			pid[i] = t_run(count_and_end, &i);
		for (uint32_t i = 0; i < WORKERS; i++)
			CU_ASSERT(i % 2 ? t_killed(pid[i]) : t_ok(pid[i]));
		CU_ASSERT(ipcmap_stat(m, &st) == 0);
		CU_ASSERT(st.puts == sh->puts && st.gets == sh->gets && st.hits == sh->hits &&
			  st.dels == sh->dels);
		CU_ASSERT(st.puts >= was.puts && st.gets >= was.gets);
		was = st;
	}
	end();
}

static CU_TestInfo tests[] = {
	{"workers use the master's map at once", fork__workers_use_the_masters_map_at_once},
	{"a master's death harms no worker", fork__masters_death_harms_no_worker},
	{"workers' deaths harm no master", fork__workers_deaths_harm_no_master},
	{"a worker that gave up its rights writes", fork__worker_without_rights_writes},
	{"an owner that closed all descriptors stays alive", closefrom__owner_stays_alive},
	{"a user's file under our descriptor's number is not touched",
	 closefrom__users_file_is_not_touched},
	{"counters are exact over deaths", counters__are_exact_over_deaths},
	CU_TEST_INFO_NULL,
};

T_SUITE("fork", tests)
