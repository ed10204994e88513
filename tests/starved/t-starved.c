/* SPDX-License-Identifier: MIT */
/*
 * t-starved.c - each request to the C library and the kernel fails in turn, in each operation
 *
 * The n-th request of an operation fails, for n from 1 until the operation ends without coming
 * to it; then the same with that one and all later ones failing. Each time the operation does
 * its work or returns the right error, and then: no entry is lost, no descriptor, mapping,
 * block, owner slot, private extent or name is left behind, the map is sound and takes writes.
 */
#include "../unit/kit.h"

#include "starve.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define KEYS 40u
#define N_MAX 400u

static struct ipcmap *m;
static const char *name;
static unsigned char big[30000];
static char why[300];

/* ---- what is there, and must be afterwards ---- */

static void prepare(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_pair p = {"a", 1, big, 9000};
	char val[32];

	name = T_NAME;
	m = kit_made(name, KIT_MIB, 2 * KIT_MIB, 2);
	o.compress = 200;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
	for (uint32_t i = 0; i < KEYS; i++) {
		struct kit_key k = kit_key(i);

		snprintf(val, sizeof(val), "value %u", i);
		CU_ASSERT(ipcmap_put(m, k.text, k.len, val, strlen(val), NULL) == 0);
	}
	CU_ASSERT(ipcmap_put(m, "text", 4, "abcabcabc", 9, NULL) == 0);
	memset(big, 'z', 3000);
	CU_ASSERT(ipcmap_put(m, "packed", 6, big, 3000, NULL) == 0);
	kit_bytes(big, sizeof(big), 7);
	CU_ASSERT(ipcmap_put(m, "large", 5, big, 20000, NULL) == 0);
	/* two versions whose extents are neighbours, and one that must be mapped by runs */
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
}

static bool keys_are_there(void)
{
	char val[32];

	for (uint32_t i = 0; i < KEYS; i++) {
		snprintf(val, sizeof(val), "value %u", i);
		if (!kit_is(m, kit_key(i).text, val))
			return false;
	}
	return ipcmap_exists(m, "large", 5) == 1 && ipcmap_exists(m, "packed", 6) == 1;
}

struct held {
	unsigned fds;
	unsigned maps; /* of segments */
	uint32_t attached;
	unsigned names; /* of this program in /dev/shm */
};

static unsigned count_in(const char *dir, const char *begin)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += strncmp(e->d_name, begin, strlen(begin)) == 0 && e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static struct held held(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[5000], mine[40];
	struct held h = {.attached = kit_stat(m).attached};

	while (f && fgets(line, sizeof(line), f))
		h.maps += strstr(line, "ipcmap-test.") != NULL;
	if (f)
		fclose(f);
	h.fds = count_in("/proc/self/fd", "");
	snprintf(mine, sizeof(mine), "ipcmap-test.%d.", (int)getpid());
	h.names = count_in("/dev/shm", mine);
	return h;
}

static uint64_t n_private(void)
{
	struct ipcmap_extent_counts x[3];

	CU_ASSERT(ipcmap_inspect_extents(m, x, 3) == 0);
	return x[2].n[IPCMAP_EXTENT_PRIVATE];
}

/* ---- operations ---- */

static int open_and_close(unsigned flags)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *other = NULL;
	int r;

	o.flags = flags;
	o.limit = flags & (IPCMAP_CREATE | IPCMAP_APPLY) ? KIT_MIB + 100000 : 0;
	o.why = why;
	o.why_cap = sizeof(why);
	r = ipcmap_open(flags & IPCMAP_CREATE ? t_name(1) : name, &o, &other);
	if (r == 0)
		ipcmap_close(other);
	return r;
}

static int op_create(void)
{
	return open_and_close(IPCMAP_CREATE | IPCMAP_EXCL);
}

static int op_create_reserved(void)
{
	return open_and_close(IPCMAP_CREATE | IPCMAP_RESERVE);
}

static int op_open(void)
{
	return open_and_close(0);
}

static int op_open_rdonly(void)
{
	return open_and_close(IPCMAP_RDONLY);
}

static int op_open_apply(void)
{
	return open_and_close(IPCMAP_APPLY);
}

/* As a process does that has nothing open yet. */
static int op_attach(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	int r;

	ipcmap_close(m);
	m = NULL;
	o.why = why;
	o.why_cap = sizeof(why);
	r = ipcmap_open(name, &o, &m);
	if (r == 0 && (r = ipcmap_put(m, "n", 1, "x", 1, NULL)))
		return r;
	return r;
}

static int op_unlink(void)
{
	return ipcmap_unlink(t_name(2));
}

static int op_put(void)
{
	return ipcmap_put(m, "n", 1, "x", 1, NULL);
}

static int op_put_many(void)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < 60; i++) {
		struct kit_key k = kit_key(1000 + i);

		r = ipcmap_put(m, k.text, k.len, big, 199, NULL);
	}
	return r;
}

static int op_put_large(void)
{
	return ipcmap_put(m, "large", 5, big, sizeof(big), NULL);
}

static int op_put_packed(void)
{
	static const char zeros[70000];

	return ipcmap_put(m, "new", 3, zeros, sizeof(zeros), NULL);
}

static int op_put_if_equal(void)
{
	static char zs[3000];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	memset(zs, 'z', sizeof(zs));
	how.flags = IPCMAP_IF_EQUAL;
	how.equal = zs;
	how.equal_len = sizeof(zs);
	return ipcmap_put(m, "packed", 6, zs, sizeof(zs), &how);
}

static int op_get(void)
{
	char buf[3000];

	return ipcmap_get(m, "packed", 6, buf, sizeof(buf), NULL);
}

static int op_get_alloc(void)
{
	void *p = NULL;
	int r = ipcmap_get_alloc(m, "large", 5, &p, NULL);

	free(p);
	return r;
}

static int op_add(void)
{
	return ipcmap_add(m, "counter", 7, 1, NULL, NULL);
}

static int op_del(void)
{
	int r = ipcmap_del(m, "text", 4);

	return r == IPCMAP_NOTFOUND ? 0 : r;
}

static int op_del_prefix(void)
{
	return ipcmap_del_prefix(m, "te", 2, NULL);
}

static int count_item(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	(*(unsigned *)arg)++;
	return 0;
}

static int op_scan(void)
{
	uint64_t cursor = 0;
	unsigned n = 0;
	int r = ipcmap_scan(m, &cursor, NULL, 0, 0, count_item, &n);

	return r == 0 && n < KEYS ? -EIO : r;
}

static int op_stat(void)
{
	struct ipcmap_stat s = {.struct_size = sizeof(s)};

	return ipcmap_stat(m, &s);
}

static int op_check(void)
{
	int r = ipcmap_check(m, kit_print, NULL);

	return r > 0 ? -EIO : r;
}

static int op_inspect(void)
{
	struct ipcmap_owner_info o = {.struct_size = sizeof(o)};

	return ipcmap_inspect_owner(m, 0, &o);
}

static int op_compact(void)
{
	return ipcmap_compact(m, NULL, NULL);
}

static int op_tune(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.limit = KIT_MIB + KIT_MIB / 2;
	o.why = why;
	o.why_cap = sizeof(why);
	return ipcmap_tune(m, &o);
}

static int op_publish(void)
{
	const struct ipcmap_pair p[2] = {{"a", 1, "1", 1}, {"b", 1, big, 9000}};

	return ipcmap_snapshot_publish(m, "t", p, 2, NULL, why, sizeof(why));
}

static int look_at(struct ipcmap *map)
{
	struct ipcmap_snapshot *s = NULL;
	const void *val;
	int r = ipcmap_snapshot_open(map, "t", 0, &s);

	if (r == 0)
		r = ipcmap_snapshot_get(s, "a", 1, &val, NULL);
	ipcmap_snapshot_close(s);
	return r;
}

static int op_snapshot(void)
{
	return look_at(m);
}

/* A chain of extents that are not neighbours is mapped one by one. */
static int op_snapshot_in_runs(void)
{
	struct fmt_extent *t = m->seg->table;
	struct ipcmap_snapshot *s = NULL;
	int r;

	for (uint32_t i = 0; i < m->seg->n_extents; i++) {
		uint32_t b = t[i].next, c = b < m->seg->n_extents ? t[b].next : FMT_NO_EXTENT;
		unsigned char page[4096];

		if (fmt_word_state(t[i].word) != FMT_LARGE ||
		    fmt_word_who(t[i].word) != FMT_WHO_SNAP || c >= m->seg->n_extents ||
		    b != i + 1)
			continue;
		/* swap the second and the third */
		memcpy(page, im_seg_extent(m->seg, b), 4096);
		memcpy(im_seg_extent(m->seg, b), im_seg_extent(m->seg, c), 4096);
		memcpy(im_seg_extent(m->seg, c), page, 4096);
		t[i].next = c;
		t[c].next = b;
		t[b].next = FMT_NO_EXTENT;
		for (unsigned k = 0; k < 8; k++) {
			struct fmt_kept *kept =
				(void *)(m->seg->user + m->seg->user_geo[FMT_GEO_SNAP_OFF] +
					 sizeof(struct fmt_snaps) +
					 m->seg->user_geo[FMT_GEO_TABLES] *
						 sizeof(struct fmt_table));

			if (kept[k].first == i)
				kept[k].last = b;
		}
	}
	r = ipcmap_snapshot_open(m, "t", 0, &s);
	ipcmap_snapshot_close(s);
	return r;
}

static int op_snapshot_rdonly(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *ro;
	int r;

	o.flags = IPCMAP_RDONLY;
	r = ipcmap_open(name, &o, &ro);
	if (r)
		return r;
	r = look_at(ro);
	ipcmap_close(ro);
	return r;
}

static int count_version(void *arg, const struct ipcmap_snapshot_info *info)
{
	(void)info;
	(*(unsigned *)arg)++;
	return 0;
}

static int op_snapshot_list(void)
{
	unsigned n = 0;
	int r = ipcmap_snapshot_list(m, count_version, &n);

	return r == 0 && n < 2 ? -EIO : r;
}

static int op_rollback(void)
{
	return ipcmap_snapshot_rollback(m, "t", 0, NULL);
}

static int op_drop(void)
{
	int r = ipcmap_snapshot_drop(m, "t");

	return r == IPCMAP_NOTFOUND ? 0 : r;
}

/* The child reads and writes; its result is ours. */
static int op_fork(void)
{
	int status = 0, r;
	char buf[32];
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		r = ipcmap_get(m, kit_key(1).text, kit_key(1).len, buf, sizeof(buf), NULL);
		if (r == 0)
			r = ipcmap_put(m, "child", 5, "x", 1, NULL);
		if (r == 0 && starve_hit)
			r = 1;
		_exit(-r & 255);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -EIO;
	starve_hit = WEXITSTATUS(status) != 0; /* it was in the child */
	r = -WEXITSTATUS(status);
	return r == -255 ? 0 : r;
}

struct op {
	const char *what;
	int (*run)(void);
	bool thread; /* in one of its own, which has no scratch memory and no counter line */
};

static const struct op ops[] = {
	{"create", op_create, false},
	{"create reserved", op_create_reserved, false},
	{"open", op_open, false},
	{"open read-only", op_open_rdonly, false},
	{"open and raise the limit", op_open_apply, false},
	{"attach", op_attach, false},
	{"unlink", op_unlink, false},
	{"put", op_put, true},
	{"put many", op_put_many, false},
	{"put a large value", op_put_large, false},
	{"put a packed value", op_put_packed, true},
	{"put if equal to a packed one", op_put_if_equal, true},
	{"get a packed value", op_get, true},
	{"get_alloc", op_get_alloc, false},
	{"add", op_add, false},
	{"del", op_del, false},
	{"del_prefix", op_del_prefix, false},
	{"scan", op_scan, false},
	{"stat", op_stat, false},
	{"check", op_check, false},
	{"inspect", op_inspect, false},
	{"compact", op_compact, false},
	{"raise the limit", op_tune, false},
	{"publish", op_publish, false},
	{"open a snapshot", op_snapshot, false},
	{"open a snapshot in pieces", op_snapshot_in_runs, false},
	{"open a snapshot read-only", op_snapshot_rdonly, false},
	{"list snapshots", op_snapshot_list, false},
	{"roll back", op_rollback, false},
	{"drop", op_drop, false},
	{"fork", op_fork, false},
};

/* ---- which error is right ---- */

static bool is(int rc, const int *list)
{
	for (; *list; list++)
		if (rc == *list)
			return true;
	return false;
}

/* Any of the first errors of those calls may be what it met last. */
static bool is_right_of_all(int rc)
{
	return is(rc, (const int[]){IPCMAP_NOMEM, IPCMAP_FULL, IPCMAP_LIMIT, IPCMAP_PERM,
				    -EMFILE, -ENFILE, -EIO, -ENOLCK, -ENOSYS, 0});
}

/*
 * Of memory that is not there it is NOMEM, of room in the file system FULL; what means "again"
 * must not be passed on, as CREATING and INTERRUPTED have the same numbers.
 */
static bool is_right(int rc)
{
	switch (starve_err) {
	case ENOMEM:
		return rc == IPCMAP_NOMEM;
	case EAGAIN: /* of mmap() and madvise() */
		return rc == IPCMAP_NOMEM;
	case EINTR:
		return false;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return is(rc, (const int[]){IPCMAP_FULL, IPCMAP_LIMIT, 0});
	case EMFILE:
	case ENFILE:
		return is(rc, (const int[]){-EMFILE, -ENFILE, IPCMAP_PERM, 0});
	case EPERM:
	case EACCES:
		return rc == IPCMAP_PERM;
	case ENOSYS: /* of getrandom() */
		return rc == -EIO;
	default:
		return rc == -starve_err || rc == IPCMAP_PERM;
	}
}

/* ---- one operation ---- */

struct
try {
	const struct op *op;
	unsigned n;
	unsigned variant;
	bool all;
	int rc;
	bool hit;
	long blocks;
};

static void *run_once(void *arg)
{
	struct try *t = arg;

	starve_arm(t->n, t->variant, t->all);
	t->rc = t->op->run();
	starve_disarm();
	t->hit = starve_hit;
	t->blocks = starve_blocks;
	return NULL;
}

static bool tell(const struct try *t, const char *what)
{
	fprintf(stderr, "\n  %s: request %u, %s: %s%s, returned %d: %s\n", t->op->what, t->n,
		starve_what, strerror(starve_err), t->all ? ", and all later ones" : "", t->rc,
		what);
	return false;
}

#define HOLDS(cond) (ok = (cond) ? ok : tell(t, #cond))

/*
 * Who cannot lock the creation byte has no right to remove what it may have made, and when all
 * fails unlink() does too: the file is as one whose creator died, and the next creator builds
 * it.
 */
static bool names_are_right(const struct try *t, unsigned before, unsigned after)
{
	bool creates = t->op->run == op_create || t->op->run == op_create_reserved;

	if (creates && t->rc && (t->all || strcmp(starve_what, "fcntl") == 0))
		return after == before || t->op->run() == 0;
	return after ==
	       before + (creates && t->rc == 0) - (t->op->run == op_unlink && t->rc == 0);
}

static bool is_well(const struct try *t, const struct held *before)
{
	bool ok = true;
	struct held after;

	HOLDS(t->rc == 0 || (t->hit && (t->all ? is_right_of_all(t->rc) : is_right(t->rc))));
	if (!m)
		CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	after = held();
	HOLDS(t->blocks == 0 || t->op->run == op_attach);
	HOLDS(after.fds == before->fds);
	HOLDS(after.maps == before->maps);
	HOLDS(after.attached == before->attached);
	HOLDS(names_are_right(t, before->names, after.names));
	HOLDS(n_private() == 0);
	HOLDS(keys_are_there());
	HOLDS(kit_sound(m));
	HOLDS(op_put() == 0 && op_put_large() == 0 &&
	      look_at(m) == (t->op->run == op_drop && t->rc == 0 ? IPCMAP_NOTFOUND : 0));
	HOLDS(kit_sound(m));
	return ok;
}

static bool nth_fails(struct try *t)
{
	struct held before;
	pthread_t thread;
	bool ok;

	prepare();
	if (t->op->run == op_unlink)
		ipcmap_close(kit_made(t_name(2), KIT_MIB, 0, 1));
	before = held();
	why[0] = '\0';
	if (!t->op->thread)
		run_once(t);
	else if (pthread_create(&thread, NULL, run_once, t) == 0)
		pthread_join(thread, NULL);
	ok = is_well(t, &before);
	ipcmap_close(m);
	m = NULL;
	t_clean_up();
	return ok;
}

/* How many requests it makes; 0: something was wrong. */
static unsigned starve(const struct op *op, unsigned variant, bool all)
{
	struct try t = {.op = op, .variant = variant, .all = all, .hit = true};

	while (t.hit && t.n < N_MAX) {
		t.n++;
		if (!nth_fails(&t))
			return 0;
	}
	return t.n;
}

static uint64_t passing;

/* compact rests for a second: time flies */
static uint64_t passing_now(void)
{
	return passing += UINT64_C(20000000);
}

static int passing_wait(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	(void)word;
	(void)val;
	passing += timeout_ns;
	return -ETIMEDOUT;
}

static void starved__each_request_fails_once_or_for_ever(void)
{
	unsigned requests = 0;

	kit_os = im_os_real;
	kit_os.now = passing_now;
	kit_os.futex_wait = passing_wait;
	im_os = &kit_os;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		for (unsigned variant = 0; variant < STARVE_VARIANTS; variant++) {
			unsigned n = starve(&ops[i], variant, false);

			CU_ASSERT(n > 0 && n < N_MAX);
			requests += n;
		}
		CU_ASSERT(starve(&ops[i], 0, true) > 0);
	}
	im_os = &im_os_real;
	printf("(%zu operations, %u failures) ", ARRAY_LEN(ops), requests);
}

/* ---- limits of the process ---- */

static void limit_to(int what, rlim_t soft)
{
	struct rlimit rl;

	T_MUST(getrlimit(what, &rl) == 0);
	rl.rlim_cur = soft < rl.rlim_max ? soft : rl.rlim_max;
	T_MUST(setrlimit(what, &rl) == 0);
}

static int try_create(const char *at)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *other = NULL;
	int r;

	o.flags = IPCMAP_CREATE;
	o.limit = 16 * KIT_MIB;
	o.why = why;
	o.why_cap = sizeof(why);
	r = ipcmap_open(at, &o, &other);
	if (r == 0)
		ipcmap_close(other);
	return r;
}

static int without_descriptors(void *arg)
{
	int fd = dup(0), r;
	pid_t pid;

	prepare();
	limit_to(RLIMIT_NOFILE, (rlim_t)fd);
	T_MUST(close(fd) == 0);
	while ((fd = dup(0)) >= 0)
		;
	T_MUST(try_create(arg) == -EMFILE && strstr(why, "open files"));
	T_MUST(op_put() == 0 && op_put_large() == 0 && op_put_many() == 0);
	T_MUST(op_publish() == 0 && look_at(m) == 0 && keys_are_there() && kit_sound(m));
	pid = t_fork();
	if (pid == 0) {
		T_MUST(kit_is(m, "text", "abcabcabc"));
		r = op_put();
		T_MUST(r == -EMFILE && strstr(ipcmap_why(m), "too many open files"));
		limit_to(RLIMIT_NOFILE, 256);
		T_MUST(op_put() == 0 && !*ipcmap_why(m));
		_exit(0);
	}
	T_MUST(t_ok(pid));
	limit_to(RLIMIT_NOFILE, 256);
	T_MUST(try_create(arg) == 0 && kit_sound(m));
	return 0;
}

static void starved__no_descriptor_is_left(void)
{
	CU_ASSERT(t_ok(t_run(without_descriptors, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

static rlim_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	T_MUST(f && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	return pages * 4096;
}

static int without_addresses(void *arg)
{
	prepare();
	limit_to(RLIMIT_AS, address_space() + (1u << 20));
	T_MUST(try_create(arg) == IPCMAP_NOMEM && strstr(why, "memory"));
	T_MUST(ipcmap_unlink(arg) == IPCMAP_NOTFOUND);
	T_MUST(op_put() == 0 && op_put_large() == 0 && op_put_many() == 0 && op_compact() == 0);
	T_MUST(keys_are_there() && look_at(m) == 0);
	limit_to(RLIMIT_AS, RLIM_INFINITY);
	T_MUST(try_create(arg) == 0 && kit_sound(m));
	return 0;
}

static void starved__no_address_space_is_left(void)
{
	if (T_SLOW) {
		t_skip("it would have none to begin with");
		return;
	}
	CU_ASSERT(t_ok(t_run(without_addresses, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

/*
 * A process whose future mappings are locked, with too low a limit: mmap() says EAGAIN. That
 * was passed on as CREATING, and a creator waited two seconds for itself.
 */
static int without_locked_memory(void *arg)
{
	struct rlimit rl = {1u << 18, 1u << 18};

	if (geteuid() == 0)
		T_MUST(setgid(65534) == 0 && setuid(65534) == 0);
	prepare();
	T_MUST(setrlimit(RLIMIT_MEMLOCK, &rl) == 0);
	if (mlockall(MCL_FUTURE) < 0)
		return 77;
	T_MUST(try_create(arg) == IPCMAP_NOMEM && strstr(why, "memory"));
	T_MUST(ipcmap_unlink(arg) == IPCMAP_NOTFOUND);
	T_MUST(op_put() == 0 && op_put_large() == 0 && keys_are_there());
	T_MUST(munlockall() == 0 && try_create(arg) == 0 && kit_sound(m));
	return 0;
}

static void starved__no_locked_memory_is_left(void)
{
	int status;

	if (T_SLOW) {
		t_skip("it would have none to begin with");
		return;
	}
	status = t_wait(t_run(without_locked_memory, (void *)(uintptr_t)T_NAME), T_LIMIT_MS);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		t_skip("memory cannot be locked");
	else
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	t_clean_up();
}

static CU_TestInfo tests[] = {
	{"each request fails, once or for ever, and nothing is lost or left",
	 starved__each_request_fails_once_or_for_ever},
	{"without descriptors", starved__no_descriptor_is_left},
	{"without address space", starved__no_address_space_is_left},
	{"without memory to lock", starved__no_locked_memory_is_left},
	CU_TEST_INFO_NULL,
};
T_SUITE("starved", tests)
