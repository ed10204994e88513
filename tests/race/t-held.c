/* SPDX-License-Identifier: MIT */
/*
 * t-held.c - whoever holds a lock is stopped, at any instruction under it, by SIGSTOP or by
 * the freezer of a control group
 *
 * Of each kind of lock: what goes on, what gets BUSY at its deadline, that nothing is stolen,
 * and that the call that was stopped happens exactly once when it goes on. The holder counts
 * its own instructions under the lock (step.h); the usual run stops it at some of them,
 * `make stops` at every one.
 *
 * That readers go on as before is measured in instructions: a get has no more of them, and
 * makes no system call, so nothing of it depends on the machine's load.
 */
#include "step.h"

#include "map.h"
#include "owner.h"
#include "pin.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define SAMPLES 4u
#define SHORT_NS UINT64_C(3000000) /* the deadline of those who wait in vain */
#define SHORT_MS 3u
#define SMALL 500u
#define LARGE 2500u /* has an extent of its own; few steps to copy */

/* Shared with the holder. */
struct shared {
	uint64_t stop_at; /* instruction under the lock; 0: never */
	uint64_t n;	  /* that there were */
	uint32_t frozen;  /* it waits to be frozen, rather than stop itself */
	uint32_t reached;
	uint32_t go;
	uint32_t waits;
};

static struct shared *sh;
static const char *name;
static struct ipcmap *m;

/* ---- small steps ---- */

static int store_in(struct ipcmap *map, const char *key, uint32_t len, uint64_t seq,
		    uint64_t deadline)
{
	static unsigned char val[LOAD_CAP];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.deadline_ns = deadline;
	load_make(val, len, 1, 1, seq);
	return ipcmap_put(map, key, strlen(key), val, len, &how);
}

static int store(const char *key, uint32_t len, uint64_t seq, uint64_t deadline)
{
	return store_in(m, key, len, seq, deadline);
}

static int del(const char *key, uint64_t deadline)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.deadline_ns = deadline;
	return ipcmap_delx(m, key, strlen(key), &how);
}

static uint64_t seq_of(const char *key)
{
	static unsigned char buf[LOAD_CAP];
	uint64_t seq = 0;
	size_t len;

	return ipcmap_get(m, key, strlen(key), buf, sizeof(buf), &len) == 0 &&
			       load_is(buf, len, 1, 1, &seq)
		       ? seq
		       : 0;
}

static int publish(struct ipcmap *map, uint64_t seq)
{
	struct ipcmap_pair p = {"seq", 3, &seq, sizeof(seq)};

	return ipcmap_snapshot_publish(map, "t", &p, 1, NULL, NULL, 0);
}

static uint64_t published(void)
{
	struct ipcmap_snapshot *s;
	uint64_t seq = 0;
	const void *v;
	size_t len;

	if (ipcmap_snapshot_open(m, "t", 0, &s))
		return 0;
	if (ipcmap_snapshot_get(s, "seq", 3, &v, &len) == 0 && len == sizeof(seq))
		memcpy(&seq, v, sizeof(seq));
	ipcmap_snapshot_close(s);
	return seq;
}

/* BUSY, and not before the deadline. */
static bool is_busy(int (*fn)(void))
{
	uint64_t t0 = t_now_ms();

	return fn() == IPCMAP_BUSY && t_now_ms() - t0 + 1 >= SHORT_MS;
}

/* Not inline: the compiler would see the branches of the hash for longer keys. */
__attribute__((noinline)) static uint32_t shard_of(const char *key, size_t len)
{
	return im_map_shard(m, im_hash(m->hash_seed, key, len));
}

/* A key that lies in @shard, the @i-th. */
static const char *key_in(uint32_t shard, unsigned i)
{
	static char key[8][2][24];
	char *k = key[i % 8][shard];
	unsigned n = 0;
	size_t len;

	do
		len = (size_t)sprintf(k, "held-%u-%u-%u", shard, i, n++);
	while (shard_of(k, len) != shard);
	return k;
}

/* ---- what the holder does: its change is to happen once ---- */

/* Made before its instructions are counted. */
static struct {
	char key[24];
	size_t key_len;
	unsigned char val[LARGE];
} made;

static void make(unsigned key, uint32_t len)
{
	made.key_len = (size_t)sprintf(made.key, "%s", key_in(0, key));
	if (len)
		load_make(made.val, len, 1, 1, 2);
}

static int add_one(struct ipcmap *map)
{
	int64_t now = 0;
	int r = ipcmap_add(map, made.key, made.key_len, 1, NULL, &now);

	return r ? r : now == 8 ? 0 : IPCMAP_CORRUPT;
}

static int put_small(struct ipcmap *map)
{
	return ipcmap_put(map, made.key, made.key_len, made.val, SMALL, NULL);
}

static int del_small(struct ipcmap *map)
{
	return ipcmap_del(map, made.key, made.key_len);
}

static int put_large(struct ipcmap *map)
{
	return ipcmap_put(map, made.key, made.key_len, made.val, LARGE, NULL);
}

static int del_large(struct ipcmap *map)
{
	return ipcmap_del(map, made.key, made.key_len);
}

static int publish_2(struct ipcmap *map)
{
	return publish(map, 2);
}

static int drop_t(struct ipcmap *map)
{
	return ipcmap_snapshot_drop(map, "t");
}

/* As begin() leaves it, and after the holder's change. */
static bool happened(int (*op)(struct ipcmap *map), bool yes)
{
	char text[8] = "";
	size_t len = 0;

	if (op == add_one)
		return ipcmap_get(m, key_in(0, 0), strlen(key_in(0, 0)), text, 8, &len) == 0 &&
		       len == 1 && text[0] == (yes ? '8' : '7');
	if (op == put_small)
		return seq_of(key_in(0, 1)) == (yes ? 2u : 1u);
	if (op == del_small)
		return seq_of(key_in(0, 2)) == (yes ? 0u : 1u);
	if (op == put_large)
		return seq_of(key_in(0, 3)) == (yes ? 2u : 1u);
	if (op == del_large)
		return seq_of(key_in(0, 4)) == (yes ? 0u : 1u);
	return published() == (!yes ? 1u : op == publish_2 ? 2u : 0u);
}

/* ---- what others do meanwhile ---- */

static int busy_put(void)
{
	return store(key_in(0, 5), 40, 9, SHORT_NS);
}

static int busy_large(void)
{
	return store(key_in(1, 5), LARGE, 9, SHORT_NS);
}

static int busy_publish(void)
{
	return publish(m, 9);
}

static int busy_rollback(void)
{
	return ipcmap_snapshot_rollback(m, "t", 1, NULL);
}

static int busy_drop(void)
{
	return ipcmap_snapshot_drop(m, "t");
}

static int busy_check(void)
{
	return ipcmap_check(m, load_print, NULL);
}

static int busy_compact(void)
{
	return ipcmap_compact(m, NULL, NULL);
}

static int busy_tune(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.limit = (1u << 20) - 65536;
	return ipcmap_tune(m, &o);
}

static void count_only(uint64_t n)
{
	(void)n;
}

/* Instructions of a get; 0 where they cannot be counted. */
static uint64_t get_length(const char *key)
{
	static unsigned char buf[LOAD_CAP];
	size_t len, key_len = strlen(key);
	uint64_t n;

	step_begin(count_only);
	ipcmap_get(m, key, key_len, buf, sizeof(buf), &len);
	n = step_end();
	return n;
}

static bool reads_are_right(void)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	uint64_t n;

	return seq_of(key_in(1, 1)) == 1 && seq_of(key_in(1, 3)) == 1 &&
	       ipcmap_exists(m, "absent", 6) == 0 && ipcmap_entries(m, &n) == 0 &&
	       ipcmap_stat(m, &st) == 0 && st.takeovers == 0;
}

static uint32_t *space_word(void)
{
	return &m->seg->h->space.lock;
}

static void others_at_a_shard(void)
{
	/* it may be moving an extent as well */
	int large = im_load32_rlx(space_word()) & IM_OWNER_MASK ? IPCMAP_BUSY : 0;

	CU_ASSERT(is_busy(busy_put));
	CU_ASSERT(store(key_in(0, 5), 40, 9, IPCMAP_NOWAIT) == IPCMAP_BUSY);
	CU_ASSERT(store(key_in(0, 3), LARGE, 9, IPCMAP_NOWAIT) == IPCMAP_BUSY);
	CU_ASSERT(del(key_in(0, 6), IPCMAP_NOWAIT) == IPCMAP_BUSY);
	CU_ASSERT(is_busy(busy_check) && is_busy(busy_compact));
	/* the other shard, and the snapshots */
	CU_ASSERT(store(key_in(1, 5), 40, 9, IPCMAP_NOWAIT) == 0);
	CU_ASSERT(store(key_in(1, 3), LARGE, 1, IPCMAP_NOWAIT) == large);
	CU_ASSERT(del(key_in(1, 6), IPCMAP_NOWAIT) == 0);
	CU_ASSERT(publish(m, 1) == large && published() == 1);
}

static pid_t waiter; /* 0: none */

/* Its chain cannot be freed yet, as one of this shard is on its way already: it waits. */
static int delete_large(void *arg)
{
	(void)arg;
	im_store32_rel(&sh->waits, 1);
	T_MUST(del(key_in(1, 4), IPCMAP_FOREVER) == 0);
	return 0;
}

/* While it waits, it must not have the shard's lock. */
static void a_waiter_holds_up_nobody(void)
{
	waiter = t_run(delete_large, NULL);
	for (uint64_t end_ms = t_now_ms() + T_LIMIT_MS;
	     !im_load32_acq(&sh->waits) && t_now_ms() < end_ms;)
		t_sleep_ms(1);
	t_sleep_ms(5);
	CU_ASSERT(store(key_in(1, 5), 50, 9, UINT64_C(1000000) * T_LIMIT_MS) == 0);
}

static void waiter_ends(void)
{
	if (waiter) {
		CU_ASSERT(t_ok(waiter) && seq_of(key_in(1, 4)) == 0);
		waiter = 0;
	}
}

/* Those who need a new extent wait, and nobody else. */
static void others_at_the_space(void)
{
	CU_ASSERT(is_busy(busy_large));
	CU_ASSERT(store(key_in(1, 5), LARGE, 9, IPCMAP_NOWAIT) == IPCMAP_BUSY);
	CU_ASSERT(busy_publish() == IPCMAP_BUSY && busy_tune() == IPCMAP_BUSY);
	/* what fits into the heads, and deletes */
	CU_ASSERT(store(key_in(1, 5), 40, 9, IPCMAP_NOWAIT) == 0);
	CU_ASSERT(del(key_in(1, 6), IPCMAP_NOWAIT) == 0);
	CU_ASSERT(del(key_in(1, 3), IPCMAP_NOWAIT) == 0);
	CU_ASSERT(seq_of(key_in(1, 3)) == 0);
	/* memory that cannot be freed yet is no success */
	CU_ASSERT(busy_compact() == IPCMAP_BUSY);
	CU_ASSERT(store(key_in(1, 5), 50, 9, IPCMAP_NOWAIT) == 0);
	a_waiter_holds_up_nobody();
}

static void others_at_the_snapshots(void)
{
	int large = im_load32_rlx(space_word()) & IM_OWNER_MASK ? IPCMAP_BUSY : 0;
	bool is_there = published() != 0;

	CU_ASSERT(is_busy(busy_publish) && is_busy(busy_check));
	if (is_there)
		CU_ASSERT(is_busy(busy_rollback) && is_busy(busy_drop));
	for (uint32_t shard = 0; shard < 2; shard++) {
		CU_ASSERT(store(key_in(shard, 5), 40, 9, IPCMAP_NOWAIT) == 0);
		CU_ASSERT(store(key_in(shard, 3), LARGE, 1, IPCMAP_NOWAIT) == large);
		CU_ASSERT(del(key_in(shard, 6), IPCMAP_NOWAIT) == 0);
	}
	CU_ASSERT(published() <= 2 && (published() != 0) == is_there);
}

/* ---- the kinds ---- */

struct lock_kind {
	const char *what;
	uint32_t *(*word)(void);
	void (*others)(void);
};

static uint32_t *shard_word(void)
{
	return &m->shards[0].lock;
}

static uint32_t *snapshot_word(void)
{
	return im_area_owner_word(m->seg, 0);
}

static const struct lock_kind shard_kind = {"a shard", shard_word, others_at_a_shard};
static const struct lock_kind space_kind = {"the space", space_word, others_at_the_space};
static const struct lock_kind snapshot_kind = {"the snapshots", snapshot_word,
					       others_at_the_snapshots};

struct holding {
	const char *what;
	const struct lock_kind *kind;
	int (*op)(struct ipcmap *map);
	unsigned key;
	uint32_t len;
};

static const struct holding holdings[] = {
	{"add", &shard_kind, add_one, 0, 0},
	{"put", &shard_kind, put_small, 1, SMALL},
	{"delete", &shard_kind, del_small, 2, 0},
	{"large put", &shard_kind, put_large, 3, LARGE},
	{"large put", &space_kind, put_large, 3, LARGE},
	{"large delete", &space_kind, del_large, 4, 0},
	{"publish", &space_kind, publish_2, 0, 0},
	{"publish", &snapshot_kind, publish_2, 0, 0},
	{"drop", &snapshot_kind, drop_t, 0, 0},
};

static const struct holding *held;

/* ---- the holder ---- */

static uint32_t *watched;
static uint32_t self;

static void halt(void)
{
	if (!sh->frozen) {
		raise(SIGSTOP);
		return;
	}
	im_store32_rel(&sh->reached, 1);
	while (!im_load32_acq(&sh->go))
		t_sleep_ms(1);
}

static void stop_under_the_lock(uint64_t n)
{
	(void)n;
	if ((im_load32_rlx(watched) & IM_OWNER_MASK) == self && ++sh->n == sh->stop_at)
		halt();
}

/* 0: its call succeeded; 2: it was not under the lock for so long. */
static int hold(void *arg)
{
	struct ipcmap *mine;
	int r;

	(void)arg;
	T_MUST(load_open(name, 0, 0, 0, &mine) == 0);
	T_MUST(ipcmap_exists(mine, "absent", 6) == 0);
	watched = held->kind->word();
	self = mine->seg->self;
	make(held->key, held->len);
	step_begin(stop_under_the_lock);
	r = held->op(mine);
	step_end();
	T_MUST(r == 0);
	ipcmap_close(mine);
	return sh->stop_at && sh->n < sh->stop_at ? 2 : 0;
}

/* ---- one stop ---- */

static void begin(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	o.limit = o.max = 1u << 20;
	o.shards = 2;
	o.deadline_ns = SHORT_NS;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &m) == 0);
	CU_ASSERT_FATAL(ipcmap_put(m, key_in(0, 0), strlen(key_in(0, 0)), "7", 1, NULL) == 0);
	for (uint32_t shard = 0; shard < 2; shard++)
		for (unsigned i = 1; i < 7; i++)
			CU_ASSERT_FATAL(store(key_in(shard, i), i == 3 || i == 4 ? LARGE : 300,
					      1, 0) == 0);
	CU_ASSERT_FATAL(publish(m, 1) == 0);
}

static void end(void)
{
	waiter_ends();
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static uint64_t length; /* of a get, undisturbed */

static void while_it_stands(void)
{
	CU_ASSERT(reads_are_right());
	/* not one instruction more */
	CU_ASSERT(get_length(key_in(1, 1)) <= length);
	held->kind->others();
	CU_ASSERT(reads_are_right() || held->kind == &space_kind);
	CU_ASSERT((im_load32_rlx(held->kind->word()) & IM_OWNER_MASK) != 0);
}

static void prepare(uint64_t at)
{
	begin();
	memset(sh, 0, sizeof(*sh));
	sh->stop_at = at;
	get_length(key_in(1, 1));
	length = get_length(key_in(1, 1));
}

/* Stopped by SIGSTOP. False: it was under the lock for fewer instructions. */
static bool stop_at(uint64_t at)
{
	bool stopped;
	pid_t pid;
	int status;

	prepare(at);
	pid = t_run(hold, NULL);
	CU_ASSERT_FATAL(waitpid(pid, &status, WUNTRACED) == pid);
	stopped = WIFSTOPPED(status);
	if (stopped) {
		while_it_stands();
		kill(pid, SIGCONT);
		CU_ASSERT(t_ok(pid));
		CU_ASSERT(happened(held->op, true));
	} else {
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == (at ? 2 : 0));
		CU_ASSERT(happened(held->op, true));
	}
	end();
	return stopped;
}

static uint64_t seed = 88172645463325252u;

static void stopped__holder_of_any_lock_keeps_it(void)
{
	uint64_t stops = 0;

	if (!HAVE_STEPS) {
		t_skip("no single steps here");
		return;
	}
	name = T_NAME;
	seed = (uint64_t)getpid() * 2654435761u + t_now_ms();
	printf("(seed %llu) ", (unsigned long long)seed);
	sh = t_shared(sizeof(*sh));
	for (unsigned i = 0; i < ARRAY_LEN(holdings); i++) {
		unsigned first, stride = step_stride(&first);
		uint64_t n, k = 0;

		held = &holdings[i];
		stop_at(0);
		n = sh->n;
		CU_ASSERT(n > 0);
		for (uint64_t at = first; stride && stop_at(at); at += stride)
			k++;
		if (!stride)
			for (unsigned tries = 0; k < SAMPLES && tries < 2 * SAMPLES; tries++)
				k += stop_at(1 + load_random(&seed) % n);
		CU_ASSERT(k >= (stride ? n / 2 / stride : SAMPLES / 2));
		stops += k;
		printf("\n    %-14s under the lock of %-14s %5llu instructions, %4llu stops ",
		       held->what, held->kind->what, (unsigned long long)n,
		       (unsigned long long)k);
	}
	printf("\n    ");
	CU_ASSERT(stops > ARRAY_LEN(holdings));
	t_shared_free(sh, sizeof(*sh));
}

/* ---- the freezer ---- */

static char group[PATH_MAX];

static bool write_group(const char *file, const char *text)
{
	char path[PATH_MAX + 32];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", group, file);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool is_frozen(void)
{
	char path[PATH_MAX + 32], text[256] = "";
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.events", group);
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	return n > 0 && strstr(text, "frozen 1");
}

/* A group below our own; false: not here, or not permitted. */
static bool make_group(void)
{
	char line[PATH_MAX], at[PATH_MAX / 4] = "", own[PATH_MAX / 4] = "";
	FILE *f = fopen("/proc/self/mounts", "r");

	while (f && !*at && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %1000s cgroup2 ", at) != 1 || !strstr(line, " cgroup2 "))
			*at = '\0';
	if (f)
		fclose(f);
	f = fopen("/proc/self/cgroup", "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "0::%1000[^\n]", own);
	if (f)
		fclose(f);
	if (!*at || !*own)
		return false;
	snprintf(group, sizeof(group), "%s%s/ipcmap-test.%d", at, own[1] ? own : "",
		 (int)getpid());
	return mkdir(group, 0755) == 0;
}

static unsigned frozen;

static bool freeze(pid_t pid)
{
	uint64_t end_ms = t_now_ms() + T_LIMIT_MS;
	char text[24];

	sprintf(text, "%d", (int)pid);
	if (!write_group("cgroup.procs", text) || !write_group("cgroup.freeze", "1"))
		return false;
	while (!is_frozen() && t_now_ms() < end_ms)
		t_sleep_ms(1);
	return is_frozen();
}

/* Frozen in the middle; thawed, or killed as it is. False: there is no freezer. */
static bool freeze_at(uint64_t at, bool kill_it)
{
	int status;
	pid_t pid;
	bool can;

	prepare(at);
	sh->frozen = 1;
	pid = t_run(hold, NULL);
	for (uint64_t end_ms = t_now_ms() + T_LIMIT_MS;
	     !im_load32_acq(&sh->reached) && t_now_ms() < end_ms;) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			/* keys differ from map to map, and with them the way */
			CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 2);
			end();
			return true;
		}
		t_sleep_ms(1);
	}
	CU_ASSERT(sh->reached == 1);
	can = freeze(pid);
	frozen += can;
	if (can) {
		im_store32_rel(&sh->go, 1);
		while_it_stands();
	}
	if (kill_it) {
		uint32_t word = im_load32_rlx(held->kind->word()) & IM_OWNER_MASK;

		t_kill(pid);
		CU_ASSERT(im_owner_dead(m->seg, word));
		waiter_ends();
		/* the whole of it or nothing, by whoever comes next */
		CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
		CU_ASSERT(happened(held->op, true) != happened(held->op, false));
		write_group("cgroup.freeze", "0");
	} else {
		im_store32_rel(&sh->go, 1);
		write_group("cgroup.freeze", "0");
		CU_ASSERT(t_ok(pid) && happened(held->op, true));
	}
	end();
	return can;
}

static void frozen__holder_of_any_lock_keeps_it(void)
{
	bool can = true;

	if (!HAVE_STEPS || !make_group()) {
		t_skip(HAVE_STEPS ? "no control group can be made" : "no single steps here");
		return;
	}
	name = T_NAME;
	sh = t_shared(sizeof(*sh));
	for (unsigned i = 0; can && i < 2 * ARRAY_LEN(holdings); i++) {
		held = &holdings[i / 2];
		stop_at(0);
		can = freeze_at(1 + load_random(&seed) % sh->n, i % 2);
	}
	if (!can)
		t_skip("the group cannot be frozen");
	else
		CU_ASSERT(frozen > ARRAY_LEN(holdings));
	rmdir(group);
	t_shared_free(sh, sizeof(*sh));
}

static CU_TestInfo tests[] = {
	{"a stopped holder of any lock keeps it, others go on",
	 stopped__holder_of_any_lock_keeps_it},
	{"a frozen holder too, until it is killed", frozen__holder_of_any_lock_keeps_it},
	CU_TEST_INFO_NULL,
};

T_SUITE("held", tests)
