/* SPDX-License-Identifier: MIT */
/*
 * t-segment.c - create, attach, refuse, unlink
 */
#include "seg.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static char text[300];
static struct im_why why = {text, sizeof(text)};

static int try_attach(const char *path, unsigned flags)
{
	struct im_seg *seg;
	int rc;

	text[0] = '\0';
	rc = im_seg_attach(path, flags, &why, &seg);
	if (rc == 0)
		im_seg_detach(seg);
	return rc;
}

static int try_create(const char *path, const struct im_seg_create *how)
{
	struct im_seg *seg;
	int rc;

	text[0] = '\0';
	rc = im_seg_create(path, how, &why, &seg);
	if (rc == 0)
		im_seg_detach(seg);
	return rc;
}

static void segment__names_become_paths(void)
{
	char path[4096], cwd[4096], want[8200], longest[4100];

	CU_ASSERT(im_seg_path("a", path, NULL) == 0 && !strcmp(path, "/dev/shm/a"));
	CU_ASSERT(im_seg_path("/a", path, NULL) == 0 && !strcmp(path, "/dev/shm/a"));
	CU_ASSERT(im_seg_path("/tmp/a", path, NULL) == 0 && !strcmp(path, "/tmp/a"));
	CU_ASSERT_FATAL(getcwd(cwd, sizeof(cwd)) != NULL);
	snprintf(want, sizeof(want), "%s/x/a", cwd);
	CU_ASSERT(im_seg_path("x/a", path, NULL) == 0 && !strcmp(path, want));
	CU_ASSERT(im_seg_path("", path, &why) == -EINVAL);
	CU_ASSERT(im_seg_path("/", path, &why) == -EINVAL);
	CU_ASSERT(im_seg_path("/..", path, &why) == -EINVAL);
	memset(longest, 'n', sizeof(longest));
	longest[4001] = '\0';
	CU_ASSERT(im_seg_path(longest, path, &why) == -EINVAL);
}

static void segment__created_then_attached_is_one_object(void)
{
	const char *path = T_PATH;
	struct im_seg *a = seg_made(path, NULL), *b, *r;
	struct im_seg_create how = seg_how();
	struct stat st;

	CU_ASSERT(a->self != 0 && a->h->magic == FMT_MAGIC);
	CU_ASSERT(a->extent_off % a->extent_len == 0 && a->n_extents > 400);
	CU_ASSERT(im_space_used(a) <= how.limit);
	CU_ASSERT(try_create(path, &how) == -EEXIST);
	CU_ASSERT(im_seg_attach(path, 0, NULL, &b) == 0 && b == a);
	CU_ASSERT(im_seg_attach(path, IM_ATTACH_RDONLY, NULL, &r) == 0 && r != a);
	CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	/* fixed part and table, nothing else */
	CU_ASSERT((uint64_t)st.st_blocks * 512 <= a->fixed_len + a->n_extents * 64 + 4096);
	im_seg_detach(r);
	im_seg_detach(b);
	CU_ASSERT(a->self != 0);
	seg_gone(a);
	CU_ASSERT(try_attach(path, 0) == -ENOENT);
}

static void segment__reserve_backs_the_limit_and_mode_is_set(void)
{
	struct im_seg_create how = seg_how();
	struct im_seg *seg;
	struct stat st;

	how.reserve = true;
	how.mode = 0640;
	seg = seg_made(T_PATH, &how);
	CU_ASSERT(fstat(seg->fd, &st) == 0 && (st.st_mode & 07777) == 0640);
	CU_ASSERT((uint64_t)st.st_blocks * 512 >=
		  (uint64_t)seg->h->space.limit_n * seg->extent_len);
	CU_ASSERT((uint64_t)st.st_blocks * 512 <= how.limit);
	CU_ASSERT(seg->table[0].backed == 1);
	seg_gone(seg);
}

static int slow_build(struct im_seg *seg)
{
	t_sleep_ms(20);
	seg->user[0]++;
	return 0;
}

struct race {
	struct t_gate start;
	const char *path;
	uint32_t *creators;
};

static int create_or_attach(void *arg)
{
	struct race *race = arg;
	struct im_seg_create how = seg_how();
	struct im_seg *seg;
	int rc = -EAGAIN;

	how.build = slow_build;
	t_gate_wait(&race->start);
	while (rc == -EAGAIN) {
		rc = im_seg_create(race->path, &how, &why, &seg);
		if (rc == 0)
			im_add32_rlx(race->creators, 1);
		if (rc == -EEXIST || rc == -EAGAIN)
			rc = im_seg_attach(race->path, 0, &why, &seg);
		if (rc == -EAGAIN)
			t_sleep_ms(1);
	}
	if (rc < 0)
		fprintf(stderr, "\n%d %s\n", rc, text);
	T_MUST(rc == 0);
	T_MUST(seg->user[0] == 1 && seg->self);
	im_seg_detach(seg);
	return 0;
}

static void segment__of_eight_creators_one_creates_and_all_attach(void)
{
	struct race race = {.path = T_PATH, .creators = t_shared(4096)};

	for (int round = 0; round < 10; round++) {
		pid_t pid[8];

		*race.creators = 0;
		t_gate_open(&race.start);
		for (int i = 0; i < 8; i++)
			pid[i] = t_run(create_or_attach, &race);
		for (int i = 0; i < 8; i++)
			t_gate_pass(&race.start);
		for (int i = 0; i < 8; i++)
			CU_ASSERT(t_ok(pid[i]));
		t_gate_close(&race.start);
		CU_ASSERT(*race.creators == 1);
		CU_ASSERT(im_seg_unlink(race.path, NULL) == 0);
	}
	t_shared_free(race.creators, 4096);
}

static struct t_gate in_build, go_on;

static int wait_in_build(struct im_seg *seg)
{
	(void)seg;
	t_gate_pass(&in_build);
	t_gate_wait(&go_on);
	return 0;
}

static int create_waiting(void *arg)
{
	struct im_seg_create how = seg_how();

	how.build = wait_in_build;
	return try_create(arg, &how) != 0;
}

static void segment__attach_while_it_is_being_created_says_so(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();
	pid_t pid;

	t_gate_open(&in_build);
	t_gate_open(&go_on);
	pid = t_run(create_waiting, (void *)(uintptr_t)path);
	t_gate_wait(&in_build);
	CU_ASSERT(try_attach(path, 0) == -EAGAIN && strstr(text, "still being created"));
	CU_ASSERT(try_attach(path, IM_ATTACH_RDONLY) == -EAGAIN);
	CU_ASSERT(try_create(path, &how) == -EAGAIN);
	CU_ASSERT(im_seg_unlink(path, &why) == -EAGAIN);
	t_gate_pass(&go_on);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(try_attach(path, 0) == 0);
	CU_ASSERT(im_seg_unlink(path, NULL) == 0);
	t_gate_close(&in_build);
	t_gate_close(&go_on);
}

static int die_in_build(struct im_seg *seg)
{
	memset(seg->user, 0x5a, seg->user_len);
	seg->table[0].word = fmt_word(FMT_LOG, 1, 1);
	raise(SIGKILL);
	return 0;
}

static int create_dying(void *arg)
{
	struct im_seg_create how = seg_how();

	how.build = die_in_build;
	try_create(arg, &how);
	return 1;
}

static int find_clean_user_area(struct im_seg *seg)
{
	return seg->user[0] == 0 && seg->user[seg->user_len - 1] == 0 &&
			       seg->h->space.used == 0 && seg->table[0].word == 0
		       ? 0
		       : -EIO;
}

static void segment__creator_killed_half_way_is_completed_by_the_next(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();

	CU_ASSERT(t_killed(t_run(create_dying, (void *)(uintptr_t)path)));
	CU_ASSERT(try_attach(path, 0) == -EBADF && strstr(text, "died half way"));
	how.build = find_clean_user_area;
	CU_ASSERT(try_create(path, &how) == 0);
	CU_ASSERT(try_attach(path, 0) == 0);
	CU_ASSERT(im_seg_unlink(path, NULL) == 0);
	CU_ASSERT(t_killed(t_run(create_dying, (void *)(uintptr_t)path)));
	CU_ASSERT(im_seg_unlink(path, NULL) == 0);
}

#if defined(IM_CHECK) && IM_CHECK
static int points_left;

static void die_at_point(const char *name)
{
	(void)name;
	if (points_left-- == 0)
		raise(SIGKILL);
}

static int create_dying_at(void *arg)
{
	struct im_seg_create how = seg_how();

	im_crash_hook = die_at_point;
	try_create(arg, &how);
	return 0;
}

static void segment__creator_killed_at_any_point_is_completed(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();
	int rc;

	for (int i = 0, died = 1; died; i++) {
		points_left = i;
		died = !t_ok(t_run(create_dying_at, (void *)(uintptr_t)path));
		how.build = find_clean_user_area;
		rc = try_create(path, &how);
		CU_ASSERT(rc == 0 || rc == -EEXIST);
		CU_ASSERT(try_attach(path, 0) == 0);
		CU_ASSERT(im_seg_unlink(path, NULL) == 0);
		CU_ASSERT_FATAL(i < 100);
	}
}
#endif

static void segment__failed_build_removes_the_file(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();

	how.limit = 1 << 16; /* not 6 extents a shard */
	how.max = 1 << 20;
	CU_ASSERT(try_create(path, &how) == -EINVAL);
	CU_ASSERT(access(path, F_OK) < 0);
	how = seg_how();
	how.max = UINT64_C(1) << 40; /* 4 G references of 16 bytes */
	CU_ASSERT(try_create(path, &how) == -EINVAL);
	CU_ASSERT(access(path, F_OK) < 0);
}

/* Killed just before it, a creator leaves the same; but it uses no extent. */
static void segment__wiped_magic_is_not_built_over(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();
	struct im_seg *seg = seg_made(path, NULL);
	struct im_wait wait = seg_wait(seg, 100);
	uint64_t magic = 0, word;
	uint32_t ext;
	int fd;

	CU_ASSERT(im_space_take(seg, FMT_NO_EXTENT, &wait, &ext, &word) == 0);
	memset(im_seg_extent(seg, ext), 'k', 8);
	im_seg_detach(seg); /* all are free again */
	fd = open(path, O_RDWR);
	CU_ASSERT_FATAL(fd >= 0 && pwrite(fd, &magic, sizeof(magic), 0) == sizeof(magic));
	CU_ASSERT(try_create(path, &how) == -EBADF && strstr(text, "no magic number"));
	CU_ASSERT(try_attach(path, 0) == -EBADF && strstr(text, "no magic number"));
	magic = FMT_MAGIC;
	CU_ASSERT(pwrite(fd, &magic, sizeof(magic), 0) == sizeof(magic));
	seg = NULL;
	CU_ASSERT_FATAL(im_seg_attach(path, 0, NULL, &seg) == 0);
	CU_ASSERT(memcmp(im_seg_extent(seg, ext), "kkkkkkkk", 8) == 0);
	im_seg_detach(seg);
	magic = 0;
	CU_ASSERT(pwrite(fd, &magic, sizeof(magic), 0) == sizeof(magic));
	CU_ASSERT(im_seg_unlink(path, &why) == 0 && access(path, F_OK) < 0);
	close(fd);
}

static void segment__files_of_others_are_not_built_over(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();
	static const char zeros[8192], text_file[] = "keep me\n";
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	struct stat st;

	CU_ASSERT_FATAL(fd >= 0 && write(fd, zeros, sizeof(zeros)) == sizeof(zeros));
	CU_ASSERT(try_create(path, &how) == -EBADF);
	CU_ASSERT(try_attach(path, 0) == -EBADF && strstr(text, "not an ipcmap segment"));
	CU_ASSERT(im_seg_unlink(path, &why) == -EBADF);
	CU_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, text_file, 8, 0) == 8);
	CU_ASSERT(try_create(path, &how) == -EBADF);
	CU_ASSERT(im_seg_unlink(path, &why) == -EBADF);
	CU_ASSERT(fstat(fd, &st) == 0 && st.st_size == 8);
	close(fd);
	unlink(path);
}

/*
 * A file of zeros, its creation byte taken: what is seen of a half-made file whose length was
 * read before another creator emptied it and whose bytes after. Once it was called a stranger's.
 */
static int keep_creation_byte(void *arg)
{
	int fd = open(arg, O_RDWR);

	T_MUST(fd >= 0 && im_os_byte_lock(fd, IM_CREATE_BYTE) == 0);
	t_gate_pass(&in_build);
	t_gate_wait(&go_on);
	return 0;
}

static void segment__file_being_built_over_is_not_called_a_strangers(void)
{
	const char *path = T_PATH;
	struct im_seg_create how = seg_how();
	pid_t pid;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);

	CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, 8192) == 0);
	t_gate_open(&in_build);
	t_gate_open(&go_on);
	pid = t_run(keep_creation_byte, (void *)(uintptr_t)path);
	t_gate_wait(&in_build);
	CU_ASSERT(try_create(path, &how) == -EAGAIN && strstr(text, "still being created"));
	CU_ASSERT(im_seg_unlink(path, &why) == -EAGAIN && strstr(text, "still being created"));
	CU_ASSERT(try_attach(path, 0) == -EAGAIN);
	t_gate_pass(&go_on);
	CU_ASSERT(t_ok(pid));
	CU_ASSERT(try_create(path, &how) == -EBADF && im_seg_unlink(path, &why) == -EBADF);
	close(fd);
	unlink(path);
	t_gate_close(&in_build);
	t_gate_close(&go_on);
}

#define BUILDERS 3

/* All build over what is half made; one does. */
static int build_over(void *arg)
{
	struct im_seg_create how = seg_how();
	struct race *race = arg;
	struct im_seg *seg;
	int rc;

	t_gate_wait(&race->start);
	do {
		rc = im_seg_create(race->path, &how, &why, &seg);
	} while (rc == -EAGAIN);
	T_MUST(rc == 0 || rc == -EEXIST);
	if (rc == 0)
		im_add32_rlx(race->creators, 1);
	return 0;
}

/* Who attaches finds a dead creator's file, one in the making, or a segment. */
static int look_at_it(void *arg)
{
	struct race *race = arg;
	int rc;

	t_gate_wait(&race->start);
	do {
		rc = try_attach(race->path, IM_ATTACH_RDONLY);
		T_MUST(rc == 0 || rc == -EAGAIN ||
		       (rc == -EBADF && strstr(text, "died half way")));
	} while (rc != 0);
	return 0;
}

static void segment__builders_of_a_half_made_file_wait_for_each_other(void)
{
	struct race race = {.path = T_PATH, .creators = t_shared(4096)};

	for (int round = 0; round < 100; round++) {
		pid_t pid[BUILDERS + 1];

		CU_ASSERT(t_killed(t_run(create_dying, (void *)(uintptr_t)race.path)));
		*race.creators = 0;
		t_gate_open(&race.start);
		for (int i = 0; i < BUILDERS; i++)
			pid[i] = t_run(build_over, &race);
		pid[BUILDERS] = t_run(look_at_it, &race);
		for (int i = 0; i <= BUILDERS; i++)
			t_gate_pass(&race.start);
		for (int i = 0; i <= BUILDERS; i++)
			CU_ASSERT(t_ok(pid[i]));
		t_gate_close(&race.start);
		CU_ASSERT(*race.creators == 1);
		CU_ASSERT(im_seg_unlink(race.path, NULL) == 0);
	}
	t_shared_free(race.creators, 4096);
}

/* One number of the header changed; the checksum made right again unless it is the point. */
struct craft {
	size_t off;
	size_t len;
	uint64_t value;
	bool sum;
	int rc;
	const char *reason;
};
#define H(field) offsetof(struct fmt_header, field), sizeof(((struct fmt_header *)0)->field)

static const struct craft crafts[] = {
	{H(magic), 12345, false, -EBADF, "not an ipcmap"},
	{H(magic), UINT64_C(0x6970636d61701a0a), false, -EPROTONOSUPPORT, "byte order"},
	{H(byte_order), 0x04030201, true, -EPROTONOSUPPORT, "byte order"},
	{H(version), 2, true, -EPROTONOSUPPORT, "format version 2"},
	{H(incompat), 4, true, -EPROTONOSUPPORT, "features"},
	{H(compat), 1, true, -EPROTONOSUPPORT, "read-only"},
	{H(hash_seed), 7, false, -EUCLEAN, "checksum"},
	{H(n_extents), 1u << 30, true, -EUCLEAN, "do not agree"},
	{H(n_extents), 0, true, -EUCLEAN, "do not agree"},
	{H(extent_shift), 63, true, -EUCLEAN, "do not agree"},
	{H(extent_shift), 15, true, -EUCLEAN, "do not agree"},
	{H(n_owners), 0, true, -EUCLEAN, "do not agree"},
	{H(n_owners), UINT32_MAX, true, -EUCLEAN, "do not agree"},
	{H(n_lines), UINT32_MAX, true, -EUCLEAN, "do not agree"},
	{H(table_off), UINT64_MAX - 63, true, -EUCLEAN, "do not agree"},
	{H(extent_off), 4096, true, -EUCLEAN, "do not agree"},
	{H(user_len), UINT64_MAX, true, -EUCLEAN, "do not agree"},
	{H(max_len), UINT64_MAX, true, -EUCLEAN, "do not agree"},
	{H(max_len), UINT64_C(1) << 33, true, -EBADF, "truncated"},
	{H(unit_shift), 0, true, -EUCLEAN, "do not agree"},
	{offsetof(struct fmt_header, boot_id), 8, 99, true, -ESTALE, "last boot"},
};

static void segment__every_refusal_has_its_reason(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	struct fmt_header good = *seg->h, bad;
	int fd;

	im_seg_detach(seg);
	fd = open(path, O_RDWR);
	CU_ASSERT_FATAL(fd >= 0);
	for (size_t i = 0; i < ARRAY_LEN(crafts); i++) {
		const struct craft *c = &crafts[i];
		int rc;

		bad = good;
		memcpy((char *)&bad + c->off, &c->value, c->len);
		if (c->sum)
			bad.checksum = XXH3_64bits(&bad, offsetof(struct fmt_header, checksum));
		CU_ASSERT_FATAL(pwrite(fd, &bad, sizeof(bad), 0) == sizeof(bad));
		rc = try_attach(path, 0);
		if (rc != c->rc || !strstr(text, c->reason))
			fprintf(stderr, "\ncraft %zu: %d %s\n", i, rc, text);
		CU_ASSERT(rc == c->rc && strstr(text, c->reason) && strstr(text, path));
		if (c->off == offsetof(struct fmt_header, compat))
			CU_ASSERT(try_attach(path, IM_ATTACH_RDONLY) == 0);
	}
	CU_ASSERT(pwrite(fd, &good, sizeof(good), 0) == sizeof(good));
	CU_ASSERT(try_attach(path, 0) == 0);
	CU_ASSERT(ftruncate(fd, 100000) == 0);
	CU_ASSERT(try_attach(path, 0) == -EBADF && strstr(text, "truncated"));
	CU_ASSERT(ftruncate(fd, 300) == 0);
	CU_ASSERT(try_attach(path, 0) == -EBADF && strstr(text, "truncated inside"));
	close(fd);
	CU_ASSERT(im_seg_unlink(path, NULL) == 0);
}

static void segment__only_regular_files_are_opened(void)
{
	const char *path = T_PATH, *link = t_path(0);
	struct im_seg *seg = seg_made(path, NULL);
	struct im_seg_create how = seg_how();

	CU_ASSERT_FATAL(symlink(path, link) == 0);
	CU_ASSERT(try_attach(link, 0) == -EBADF && strstr(text, "symbolic link"));
	CU_ASSERT(try_create(link, &how) == -EBADF);
	CU_ASSERT(im_seg_unlink(link, &why) == -EBADF);
	unlink(link);
	CU_ASSERT_FATAL(mkfifo(link, 0600) == 0);
	CU_ASSERT(try_attach(link, IM_ATTACH_RDONLY) == -EBADF);
	CU_ASSERT(try_attach(link, 0) == -EBADF);
	unlink(link);
	CU_ASSERT(try_attach("/dev/shm", 0) == -EBADF);
	CU_ASSERT(try_attach("/dev/shm", IM_ATTACH_RDONLY) == -EBADF);
	seg_gone(seg);
}

static int as_nobody(void *arg)
{
	T_MUST(seteuid(65534) == 0);
	T_MUST(try_attach(arg, 0) == -EACCES);
	T_MUST(strstr(text, "ermission denied"));
	T_MUST(im_seg_unlink(arg, &why) < 0);
	return 0;
}

static void segment__of_a_stranger_is_refused(void)
{
	const char *path = T_PATH;
	struct im_seg *seg;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	seg = seg_made(path, NULL);
	CU_ASSERT(t_ok(t_run(as_nobody, (void *)(uintptr_t)path)));
	im_seg_detach(seg);
	CU_ASSERT_FATAL(chown(path, 12345, (gid_t)-1) == 0);
	CU_ASSERT(try_attach(path, 0) == -EACCES && strstr(text, "belongs to user 12345"));
	CU_ASSERT(try_attach(path, IM_ATTACH_FOREIGN) == 0);
	unlink(path);
}

/* By read(): to look at a hole through a mapping gives it memory, until it is short. */
static uint64_t sum_of(int fd, uint64_t len)
{
	void *p = malloc(len);
	uint64_t sum;

	CU_ASSERT_FATAL(p && pread(fd, p, len, 0) == (ssize_t)len);
	sum = XXH3_64bits(p, len);
	free(p);
	return sum;
}

static int read_all(void *arg)
{
	struct im_seg *seg;
	struct fmt_line *line;

	T_MUST(im_seg_attach(arg, IM_ATTACH_RDONLY, &why, &seg) == 0);
	line = im_line(seg);
	im_count(seg, line, &line->misses);
	T_MUST((unsigned char *)line < seg->base ||
	       (unsigned char *)line >= seg->base + seg->len);
	T_MUST(im_line(seg) == line);
	T_MUST(im_owner_ready(seg) == -EROFS);
	T_MUST(im_owner_count(seg) == 1);
	T_MUST(im_space_check(seg, seg_print, NULL, NULL) == 0);
	im_seg_detach(seg);
	return 0;
}

static void segment__read_only_attach_stores_nothing(void)
{
	const char *path = T_PATH;
	struct im_seg *seg = seg_made(path, NULL);
	uint64_t before;
	struct stat a, b;

	seg_take(seg, FMT_NO_EXTENT);
	before = sum_of(seg->fd, seg->len);
	fstat(seg->fd, &a);
	CU_ASSERT(chmod(path, 0400) == 0);
	CU_ASSERT(t_ok(t_run(read_all, (void *)(uintptr_t)path)));
	fstat(seg->fd, &b);
	CU_ASSERT(sum_of(seg->fd, seg->len) == before);
	CU_ASSERT(a.st_blocks == b.st_blocks);
	seg_gone(seg);
}

static int create_under_rlimit(void *arg)
{
	struct im_seg_create how = seg_how();
	struct rlimit rl = {.rlim_cur = how.limit - 4096, .rlim_max = RLIM_INFINITY};
	struct im_seg *seg;

	T_MUST(setrlimit(RLIMIT_FSIZE, &rl) == 0);
	T_MUST(try_create(arg, &how) == -ENOSPC && strstr(text, "RLIMIT_FSIZE"));
	T_MUST(access(arg, F_OK) < 0);
	rl.rlim_cur = how.limit + 5000;
	T_MUST(setrlimit(RLIMIT_FSIZE, &rl) == 0);
	T_MUST(im_seg_create(arg, &how, &why, &seg) == 0);
	T_MUST(seg->len <= rl.rlim_cur && seg->len >= how.limit);
	while (seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT)
		;
	T_MUST(im_space_short(seg));
	/* in a file that is long enough the resource limit does not matter */
	rl.rlim_cur = 4096;
	T_MUST(setrlimit(RLIMIT_FSIZE, &rl) == 0);
	T_MUST(im_os->reserve(seg->fd, 0, seg->len) == 0);
	T_MUST(im_os->reserve(seg->fd, seg->len, 4096) == -EFBIG);
	seg_gone(seg);
	return 0;
}

static void segment__rlimit_fsize_is_an_error_and_no_signal(void)
{
	CU_ASSERT(t_ok(t_run(create_under_rlimit, (void *)(uintptr_t)T_PATH)));
}

static int create_on_small_tmpfs(void *arg)
{
	char dir[] = "/tmp/ipcmap-test.XXXXXX", path[100];
	struct im_seg_create how = seg_how();
	int rc;

	(void)arg;
	T_MUST(mkdtemp(dir) != NULL);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=1m") < 0) {
		rmdir(dir);
		return 77;
	}
	snprintf(path, sizeof(path), "%s/seg", dir);
	how.reserve = true;
	rc = try_create(path, &how);
	T_MUST(rc == -ENOSPC && access(path, F_OK) < 0);
	how.reserve = false;
	T_MUST(try_create(path, &how) == 0);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return 0;
}

static void segment__full_file_system_is_an_error(void)
{
	int status = t_wait(t_run(create_on_small_tmpfs, NULL), T_LIMIT_MS);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		t_skip("cannot mount");
		return;
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* closefrom(), then the application's own file gets our descriptor's number. */
static int lose_descriptor(void *arg)
{
	const char *path = arg;
	struct im_seg *seg = seg_made(path, NULL);
	int lost = seg->fd, fd, theirs;
	char other[] = "/tmp/ipcmap-test.XXXXXX";

	theirs = mkstemp(other);
	T_MUST(theirs >= 0 && dup2(theirs, lost) == lost);
	fd = im_seg_fd(seg);
	T_MUST(fd >= 0 && fd != lost && im_seg_is(seg, fd));
	T_MUST(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	T_MUST(lseek(theirs, 0, SEEK_END) == 0);
	/* without a name there is no way back: an error, not their file */
	T_MUST(dup2(theirs, seg->fd) == seg->fd && unlink(path) == 0);
	T_MUST(im_seg_fd(seg) == -EACCES);
	T_MUST(seg_take(seg, FMT_NO_EXTENT) == FMT_NO_EXTENT);
	T_MUST(lseek(theirs, 0, SEEK_END) == 0);
	im_seg_detach(seg);
	T_MUST(fcntl(lost, F_GETFD) >= 0);
	unlink(other);
	return 0;
}

static void segment__never_touches_a_file_that_got_its_descriptor(void)
{
	CU_ASSERT(t_ok(t_run(lose_descriptor, (void *)(uintptr_t)T_PATH)));
}

static int attach_many(void *arg)
{
	struct im_seg *seg[IM_SEGS + 1];
	char path[300];
	int rc = 0, n = 0;

	while (rc == 0 && n <= IM_SEGS) {
		struct im_seg_create how = seg_how();

		snprintf(path, sizeof(path), "%s.%d", (char *)arg, n);
		rc = im_seg_create(path, &how, &why, &seg[n]);
		n += rc == 0;
	}
	T_MUST(rc == -ENOMEM && n == IM_SEGS && access(path, F_OK) < 0);
	while (n)
		seg_gone(seg[--n]);
	return 0;
}

static void segment__thirty_two_fit_into_a_process(void)
{
	CU_ASSERT(t_ok(t_run(attach_many, (void *)(uintptr_t)T_PATH)));
}

static CU_TestInfo tests[] = {
	{"names become paths", segment__names_become_paths},
	{"created and attached again it is one object",
	 segment__created_then_attached_is_one_object},
	{"reserve backs the limit, the mode is set",
	 segment__reserve_backs_the_limit_and_mode_is_set},
	{"of eight creators one creates, all attach",
	 segment__of_eight_creators_one_creates_and_all_attach},
	{"attach while it is being created says so",
	 segment__attach_while_it_is_being_created_says_so},
	{"a creator killed half way is completed by the next",
	 segment__creator_killed_half_way_is_completed_by_the_next},
#if defined(IM_CHECK) && IM_CHECK
	{"a creator killed at any point is completed",
	 segment__creator_killed_at_any_point_is_completed},
#endif
	{"a failed build removes the file", segment__failed_build_removes_the_file},
	{"files of others are not built over", segment__files_of_others_are_not_built_over},
	{"a segment whose magic was wiped is not built over",
	 segment__wiped_magic_is_not_built_over},
	{"a file being built over is not called a stranger's",
	 segment__file_being_built_over_is_not_called_a_strangers},
	{"builders of a half-made file wait for each other",
	 segment__builders_of_a_half_made_file_wait_for_each_other},
	{"every refusal has its reason", segment__every_refusal_has_its_reason},
	{"only regular files are opened", segment__only_regular_files_are_opened},
	{"a stranger's segment is refused", segment__of_a_stranger_is_refused},
	{"a read-only attach stores nothing", segment__read_only_attach_stores_nothing},
	{"RLIMIT_FSIZE is an error and no signal",
	 segment__rlimit_fsize_is_an_error_and_no_signal},
	{"a full file system is an error", segment__full_file_system_is_an_error},
	{"a file that got our descriptor is left alone",
	 segment__never_touches_a_file_that_got_its_descriptor},
	{"32 segments fit into a process", segment__thirty_two_fit_into_a_process},
	CU_TEST_INFO_NULL,
};
T_SUITE("segment", tests)
