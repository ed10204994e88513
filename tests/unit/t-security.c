/* SPDX-License-Identifier: MIT */
/*
 * t-security.c - what others can do: keys that collide, files and names in the way, locks
 * readers
 *
 * What hostile bytes in a segment do is tested beside what reads them (G8).
 */
#include "kit.h"

#include "crash.h"
#include "scratch.h"
#include "view.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

/* ---- seeds ---- */

static void security__each_map_has_a_seed_of_its_own(void)
{
	uint64_t seed[16];

	for (unsigned i = 0; i < 16; i++) {
		struct ipcmap *m = kit_made(T_NAME, KIT_MIB, 0, 1); /* the same name again */

		seed[i] = m->hash_seed;
		CU_ASSERT(seed[i] != m->seg->h->creation);
		for (unsigned k = 0; k < i; k++)
			CU_ASSERT(seed[k] != seed[i]);
		kit_gone(m);
	}
}

#if T_SLOW < 2
static int create_without_getrandom(void *name)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_LEN(code), code};
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	char why[200];

	o.flags = IPCMAP_CREATE;
	o.why = why;
	o.why_cap = sizeof(why);
	T_MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		return 77;
	T_MUST(ipcmap_open(name, &o, &m) == -EIO && strstr(why, "random"));
	return 0;
}

/* Rather no map than one with a seed that can be guessed. */
static void security__without_random_numbers_there_is_no_map(void)
{
	const char *name = T_NAME;
	int status =
		t_wait(t_run(create_without_getrandom, (void *)(uintptr_t)name), T_LIMIT_MS);
	struct ipcmap *m;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		t_skip("no seccomp here");
		return;
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT(ipcmap_open(name, NULL, &m) == IPCMAP_NOTFOUND);
}
#endif

/* ---- keys built to collide ---- */

struct built {
	uint64_t lo, hi;
};

/* The factor of XXH3's last step, and its inverse modulo 2^64. */
#define FACTOR UINT64_C(0x165667919e3779f9)

static uint64_t inverse(uint64_t a)
{
	uint64_t x = a; /* right in its lowest 3 bits; each step doubles them */

	for (unsigned i = 0; i < 5; i++)
		x *= 2 - a * x;
	return x;
}

/*
 * Who knows the seed can make a key for any hash: its first half cancels what the seed makes of
 * it, so the product of both halves is 0, and the rest of the hash can be undone.
 */
static struct built built_for(uint64_t seed, uint64_t hash)
{
	struct im_hash_mix mix = im_hash_mix(seed);
	uint64_t h = hash ^ hash >> 32;

	h *= inverse(FACTOR);
	h ^= h >> 37;
	return (struct built){mix.lo, (h - sizeof(struct built)) ^ mix.hi};
}

/* The same bucket whatever their number, and the same tag; in a map of one shard. */
static uint64_t collision(uint64_t i)
{
	return UINT64_C(7) | (i & 0xf) << 40 | UINT64_C(0x5a) << 44 | i >> 4 << 52;
}

static int put_built(struct ipcmap *m, struct built k)
{
	return ipcmap_put(m, &k, sizeof(k), &k.hi, sizeof(k.hi), NULL);
}

static bool has_built(struct ipcmap *m, struct built k)
{
	uint64_t v = 0;
	size_t len;

	return ipcmap_get(m, &k, sizeof(k), &v, sizeof(v), &len) == 0 && v == k.hi;
}

static uint64_t n_buckets(const struct ipcmap *m)
{
	return im_load_rlx(&m->shards[0].geometry) & FMT_BUCKETS_MASK;
}

/* The most buckets that share one place. */
static unsigned longest_chain(const struct ipcmap *m)
{
	unsigned longest = 0;

	for (uint64_t b = 0; b < n_buckets(m); b++) {
		struct fmt_bucket *at = im_bucket(m, im_map_dir(m, 0), b);
		unsigned len = 0;

		for (; at && len <= IM_CHAIN_MAX; len++)
			at = im_bucket_next(m->seg, im_load_rlx(&at->tags[1]));
		longest = len > longest ? len : longest;
	}
	return longest;
}

#define FLOOD T_AMOUNT(30000u, 30000u, 5000u)
/* An average place has up to 17 keys in 2 buckets; more than 66 in 6 do not happen by chance.
 */
#define CHAIN_BY_CHANCE 6u

static void security__keys_that_collide_in_one_map_are_spread_in_another(void)
{
	struct ipcmap *theirs = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	struct ipcmap *ours = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	unsigned bad = 0;

	for (uint64_t i = 0; i < FLOOD; i++) {
		struct built k = built_for(theirs->hash_seed, collision(i));

		bad += im_hash(theirs->hash_seed, &k, sizeof(k)) != collision(i);
		bad += put_built(ours, k) != 0;
		bad += i % 100 == 0 && !has_built(ours, k);
	}
	CU_ASSERT(bad == 0);
	CU_ASSERT(kit_entries(ours) == FLOOD);
	CU_ASSERT(n_buckets(ours) >= FLOOD / 17);
	CU_ASSERT(longest_chain(ours) <= CHAIN_BY_CHANCE);
	kit_gone(ours);
	kit_gone(theirs);
}

#if defined(IM_CHECK) && IM_CHECK
static unsigned probes;

static void count_probe(const char *point)
{
	probes += strcmp(point, "read.entry") == 0;
}

static unsigned probes_of(struct ipcmap *m, struct built k)
{
	probes = 0;
	im_crash_hook = count_probe;
	has_built(m, k);
	im_crash_hook = NULL;
	return probes;
}
#endif

#define ROOM (IM_CHAIN_MAX * FMT_SLOTS)
/* The usual way of reading looks into two buckets before it gives up. */
#define PROBES (ROOM + 2 * FMT_SLOTS)

/* Others find their keys and can store them, but for those that belong where the flood is. */
static void look_around(struct ipcmap *m, uint64_t *random)
{
	unsigned bad = 0, refused = 0;

	for (unsigned i = 0; i < FLOOD; i++) {
		struct built k = {kit_random(random), kit_random(random)};
		uint64_t n = n_buckets(m), h = im_hash(m->hash_seed, &k, sizeof(k));
		int r = put_built(m, k);

		if (r == IPCMAP_LIMIT && im_bucket_of(h, n) == im_bucket_of(collision(0), n))
			refused++;
		else
			bad += r != 0 || !has_built(m, k);
	}
	CU_ASSERT(bad == 0);
	CU_ASSERT(refused < FLOOD / 20);
	CU_ASSERT(n_buckets(m) >= FLOOD / 17);
}

static int count_key(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	++*(uint64_t *)arg;
	return 0;
}

static void security__a_flood_by_who_knows_the_seed_ends_in_limit(void)
{
	struct ipcmap *m = kit_made(T_NAME, 16 * KIT_MIB, 0, 1);
	uint64_t seed = kit_seed(), cursor = 0, seen = 0, n = 0;
	struct built k = {0, 0}, last;
	unsigned bad = 0;

	printf("(seed %llu) ", (unsigned long long)seed);
	while (n < 2 * ROOM && put_built(m, built_for(m->hash_seed, collision(n))) == 0)
		n++;
	CU_ASSERT(n == ROOM);
	last = built_for(m->hash_seed, collision(n));
	for (uint64_t i = n; i < n + 1000; i++)
		bad += put_built(m, built_for(m->hash_seed, collision(i))) != IPCMAP_LIMIT;
	look_around(m, &seed);
	for (uint64_t i = 0; i < n; i++) {
		k = built_for(m->hash_seed, collision(i));
		bad += !has_built(m, k) || put_built(m, k) != 0; /* an update needs no slot */
	}
	CU_ASSERT(bad == 0);
#if defined(IM_CHECK) && IM_CHECK
	CU_ASSERT(probes_of(m, k) <= PROBES);
	CU_ASSERT(probes_of(m, last) <= PROBES && probes >= ROOM); /* it is not there */
#endif
	CU_ASSERT(!has_built(m, last));
	CU_ASSERT(put_built(m, last) == IPCMAP_LIMIT);
	CU_ASSERT(ipcmap_del(m, &k, sizeof(k)) == 0);
	CU_ASSERT(put_built(m, last) == 0 && has_built(m, last));
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, 0, count_key, &seen) == 0 &&
		  seen == kit_entries(m));
	CU_ASSERT(ipcmap_compact(m, NULL, NULL) == 0);
	CU_ASSERT(kit_sound(m) && has_built(m, last) && longest_chain(m) <= IM_CHAIN_MAX);
	kit_gone(m);
}

/* ---- modes and owners ---- */

static mode_t mode_of(const char *name)
{
	char path[100];
	struct stat st;

	snprintf(path, sizeof(path), "/dev/shm%s", name);
	return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static int make(const char *name, unsigned flags, unsigned mode, struct ipcmap **ret)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	int r;

	o.flags = flags;
	o.mode = mode;
	o.limit = KIT_MIB;
	r = ipcmap_open(name, &o, ret ? ret : &m);
	if (r == 0 && !ret)
		ipcmap_close(m);
	return r;
}

static void security__mode_is_the_one_asked_for_whatever_the_umask(void)
{
	static const struct {
		mode_t mask;
		unsigned mode, want;
	} cases[] = {
		{0, 0, 0600},	    {0077, 0, 0600}, {0077, 0666, 0666},
		{0022, 0640, 0640}, {0, 0777, 0666}, {0777, 0600, 0600},
	};
	const char *name = T_NAME;

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		mode_t was = umask(cases[i].mask);

		CU_ASSERT(make(name, IPCMAP_CREATE, cases[i].mode, NULL) == 0);
		umask(was);
		CU_ASSERT(mode_of(name) == cases[i].want);
		CU_ASSERT(ipcmap_unlink(name) == 0);
	}
}

static void security__group_is_given_before_the_mode(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	struct stat st;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	o.flags = IPCMAP_CREATE;
	o.limit = KIT_MIB;
	o.mode = 0660;
	o.group = 12345;
	CU_ASSERT_FATAL(ipcmap_open(T_NAME, &o, &m) == 0);
	CU_ASSERT(fstat(m->seg->fd, &st) == 0 && st.st_gid == 12345);
	CU_ASSERT(st.st_uid == geteuid() && (st.st_mode & 07777) == 0660);
	kit_gone(m);
}

#if defined(IM_CHECK) && IM_CHECK
static const char *watched;
static unsigned points, open_to_others;

static void watch_mode(const char *point)
{
	if (strncmp(point, "create.", 7) != 0 || strcmp(point, "create.built") == 0 ||
	    strcmp(point, "create.done") == 0)
		return;
	points++;
	open_to_others += (mode_of(watched) & 077) != 0;
}

static void security__half_made_map_is_its_makers_alone(void)
{
	mode_t was = umask(0);

	watched = T_NAME;
	im_crash_hook = watch_mode;
	CU_ASSERT(make(watched, IPCMAP_CREATE, 0666, NULL) == 0);
	im_crash_hook = NULL;
	umask(was);
	CU_ASSERT(points >= 5 && open_to_others == 0);
	CU_ASSERT(mode_of(watched) == 0666);
	CU_ASSERT(ipcmap_unlink(watched) == 0);
}
#endif

/* Its file could not be opened a second time: the umask had taken its mode. */
static int create_with_umask(void *name)
{
	T_MUST(geteuid() != 0 || seteuid(65534) == 0);
	umask(0777);
	T_MUST(make(name, IPCMAP_CREATE, 0, NULL) == 0);
	T_MUST(mode_of(name) == 0600);
	T_MUST(ipcmap_unlink(name) == 0);
	return 0;
}

static void security__umask_that_leaves_nothing_is_no_obstacle(void)
{
	CU_ASSERT(t_ok(t_run(create_with_umask, (void *)(uintptr_t)T_NAME)));
}

/* ---- names taken by others ---- */

static int take_name(void *name)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "/dev/shm%s", (char *)name);
	T_MUST(seteuid(65534) == 0);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	T_MUST(fd >= 0 && fchmod(fd, 0666) == 0);
	return 0;
}

static int take_name_with_a_map(void *name)
{
	T_MUST(seteuid(65534) == 0);
	T_MUST(make(name, IPCMAP_CREATE, 0666, NULL) == 0);
	return 0;
}

static void security__file_of_a_stranger_is_not_used(void)
{
	const char *path = T_PATH, *name = path + strlen("/dev/shm");
	struct ipcmap *m;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	CU_ASSERT_FATAL(t_ok(t_run(take_name, (void *)(uintptr_t)name)));
	CU_ASSERT(make(name, IPCMAP_CREATE, 0, NULL) == IPCMAP_PERM);
	CU_ASSERT(make(name, IPCMAP_CREATE | IPCMAP_EXCL, 0, NULL) == IPCMAP_PERM);
	CU_ASSERT(make(name, IPCMAP_CREATE | IPCMAP_FOREIGN, 0, NULL) == IPCMAP_PERM);
	CU_ASSERT(make(name, IPCMAP_RDONLY, 0, NULL) == IPCMAP_PERM);
	CU_ASSERT(ipcmap_open(name, NULL, &m) == IPCMAP_PERM);
	CU_ASSERT(mode_of(name) == 0666);
	CU_ASSERT(unlink(path) == 0);
}

static int use_as_another(void *name)
{
	T_MUST(seteuid(65533) == 0);
	T_MUST(make(name, 0, 0, NULL) == IPCMAP_PERM);
	T_MUST(make(name, IPCMAP_CREATE, 0, NULL) == IPCMAP_PERM);
	T_MUST(make(name, IPCMAP_FOREIGN, 0, NULL) == 0);
	T_MUST(make(name, IPCMAP_CREATE | IPCMAP_FOREIGN, 0, NULL) == 0);
	T_MUST(make(name, IPCMAP_CREATE | IPCMAP_EXCL | IPCMAP_FOREIGN, 0, NULL) ==
	       IPCMAP_EXISTS);
	T_MUST(ipcmap_unlink(name) == IPCMAP_PERM);
	return 0;
}

static int use_as_nobody(void *name)
{
	T_MUST(seteuid(65534) == 0);
	T_MUST(make(name, 0, 0, NULL) == 0); /* root's */
	return 0;
}

/* To create one that is there was IPCMAP_PERM even with IPCMAP_FOREIGN. */
static void security__map_of_a_stranger_is_used_only_on_demand(void)
{
	const char *name = T_NAME;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	CU_ASSERT_FATAL(t_ok(t_run(take_name_with_a_map, (void *)(uintptr_t)name)));
	CU_ASSERT(make(name, 0, 0, NULL) == IPCMAP_PERM); /* root too */
	CU_ASSERT(make(name, IPCMAP_CREATE, 0, NULL) == IPCMAP_PERM);
	CU_ASSERT(t_ok(t_run(use_as_another, (void *)(uintptr_t)name)));
	CU_ASSERT(ipcmap_unlink(name) == 0);
	CU_ASSERT(make(name, IPCMAP_CREATE, 0666, NULL) == 0);
	CU_ASSERT(t_ok(t_run(use_as_nobody, (void *)(uintptr_t)name)));
	CU_ASSERT(ipcmap_unlink(name) == 0);
}

static bool is_no_map(const char *name)
{
	static const unsigned flags[] = {0, IPCMAP_RDONLY, IPCMAP_CREATE,
					 IPCMAP_CREATE | IPCMAP_EXCL, IPCMAP_FOREIGN};
	bool ok = true;

	for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
		ok &= make(name, flags[i], 0, NULL) == IPCMAP_NOTMAP;
	return ok && ipcmap_unlink(name) == IPCMAP_NOTMAP;
}

static void security__what_is_no_file_is_left_alone(void)
{
	const char *target = T_PATH;
	const char *path = T_PATH, *name = path + strlen("/dev/shm");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	int fd;

	CU_ASSERT_FATAL(symlink(target, path) == 0);
	CU_ASSERT(is_no_map(name) && lstat(target, &st) < 0); /* not made through the link */
	CU_ASSERT(lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && unlink(path) == 0);
	CU_ASSERT_FATAL(mkfifo(path, 0666) == 0);
	CU_ASSERT(is_no_map(name) && unlink(path) == 0);
	CU_ASSERT_FATAL(mkdir(path, 0777) == 0);
	CU_ASSERT(is_no_map(name) && rmdir(path) == 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	CU_ASSERT(is_no_map(name) && unlink(path) == 0);
	close(fd);
	CU_ASSERT(is_no_map("/dev/null") && is_no_map("/dev/zero"));
	CU_ASSERT(is_no_map("/dev/shm/."));
}

static void security__names_that_cannot_be(void)
{
	char name[5000];
	static const char *const bad[] = {"", "/", ".", "..", "/.", "/.."};

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		CU_ASSERT(make(bad[i], IPCMAP_CREATE, 0, NULL) == IPCMAP_INVALID);
		CU_ASSERT(ipcmap_unlink(bad[i]) == IPCMAP_INVALID);
	}
	for (unsigned len = 250; len < sizeof(name); len += 50) {
		memset(name, 'n', len);
		name[len] = '\0';
		CU_ASSERT(make(name, 0, 0, NULL) == (len > 4000	 ? IPCMAP_INVALID
						     : len > 255 ? -ENAMETOOLONG
								 : IPCMAP_NOTFOUND));
	}
}

/* ---- who may only read ---- */

struct reader {
	struct t_gate locked, go_on;
	const char *path;
};

/* A lock for reading on every byte that stands for an owner, and on that of creators. */
static int lock_all(void *arg)
{
	struct reader *r = arg;
	int fd = open(r->path, O_RDONLY);
	unsigned n = 0;

	T_MUST(fd >= 0);
	for (unsigned i = 0; i < 1024; i++) {
		struct flock fl = {
			.l_type = F_RDLCK,
			.l_start = IM_OWNER_BYTE + i,
			.l_len = 1,
		};

		n += fcntl(fd, F_OFD_SETLK, &fl) == 0;
	}
	T_MUST(n == 1023); /* the byte of who is attached is not to be had */
	t_gate_pass(&r->locked);
	t_gate_wait(&r->go_on);
	return 0;
}

static int attach_another(void *name)
{
	T_MUST(make(name, 0, 0, NULL) == IPCMAP_OWNERS);
	T_MUST(make(name, IPCMAP_RDONLY, 0, NULL) == 0);
	T_MUST(make(name, IPCMAP_CREATE, 0, NULL) == IPCMAP_OWNERS);
	return 0;
}

static int attach_again(void *name)
{
	return make(name, 0, 0, NULL) != 0;
}

static void security__locks_of_a_reader_keep_out_newcomers_only(void)
{
	const char *name = T_NAME;
	struct ipcmap *m = kit_made(name, KIT_MIB, 0, 1);
	struct reader r = {.path = m->seg->name};
	pid_t pid;

	t_gate_open(&r.locked);
	t_gate_open(&r.go_on);
	pid = t_run(lock_all, &r);
	t_gate_wait(&r.locked);
	CU_ASSERT(t_ok(t_run(attach_another, (void *)(uintptr_t)name)));
	CU_ASSERT(kit_put(m, "k", "v") == 0 && kit_is(m, "k", "v"));
	t_gate_pass(&r.go_on);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(t_ok(t_run(attach_again, (void *)(uintptr_t)name)));
	t_gate_close(&r.locked);
	t_gate_close(&r.go_on);
	kit_gone(m);
}

/* ---- core dumps ---- */

/* Has the mapping that @p lies in the flag dd, "do not dump"? */
static bool not_dumped(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	bool inside = false, ret = false;
	char line[1000];

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			ret = strstr(line, " dd") != NULL;
	}
	if (f)
		fclose(f);
	return ret;
}

static void security__what_was_read_is_not_in_core_dumps(void)
{
	struct ipcmap *m = kit_made(T_NAME, KIT_MIB, 0, 1);
	struct im_scratch s;

	CU_ASSERT(not_dumped(m->seg->base) && not_dumped(m->seg->base + m->seg->len - 1));
	CU_ASSERT_FATAL(im_scratch_take(1000, &s) == 0);
	CU_ASSERT(not_dumped(s.p)); /* where values are decompressed */
	im_scratch_give(&s);
	CU_ASSERT(!not_dumped(m)); /* the test can fail */
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"each map has a seed of its own", security__each_map_has_a_seed_of_its_own},
#if T_SLOW < 2
	{"without random numbers there is no map",
	 security__without_random_numbers_there_is_no_map},
#endif
	{"keys that collide in one map are spread in another",
	 security__keys_that_collide_in_one_map_are_spread_in_another},
	{"a flood by who knows the seed ends in LIMIT",
	 security__a_flood_by_who_knows_the_seed_ends_in_limit},
	{"the mode is the one asked for whatever the umask",
	 security__mode_is_the_one_asked_for_whatever_the_umask},
	{"the group is given before the mode", security__group_is_given_before_the_mode},
#if defined(IM_CHECK) && IM_CHECK
	{"a half-made map is its maker's alone", security__half_made_map_is_its_makers_alone},
#endif
	{"a umask that leaves nothing is no obstacle",
	 security__umask_that_leaves_nothing_is_no_obstacle},
	{"a file of a stranger is not used", security__file_of_a_stranger_is_not_used},
	{"a map of a stranger is used only on demand",
	 security__map_of_a_stranger_is_used_only_on_demand},
	{"what is no file is left alone", security__what_is_no_file_is_left_alone},
	{"names that cannot be", security__names_that_cannot_be},
	{"locks of a reader keep out newcomers only",
	 security__locks_of_a_reader_keep_out_newcomers_only},
	{"what was read is not in core dumps", security__what_was_read_is_not_in_core_dumps},
	CU_TEST_INFO_NULL,
};
T_SUITE("security", tests)
