/* SPDX-License-Identifier: MIT */
/*
 * t-repair.c - repair keeps what verifies, as it was, and nothing else
 */
#include "kit.h"

#include "header.h"
#include "keep.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define KEYS 1500u

/* ---- a map, and a file to change by hand ---- */

static size_t value_of(uint64_t i, unsigned char *val)
{
	size_t len = i % 50 == 7 ? 9000 + i : i % 120;

	kit_bytes(val, len, i);
	if (i % 3 == 0)
		memset(val, 'z', len);
	return len;
}

/* Two shards, compressed and large values, lives, types, deleted keys, snapshot tables. */
static void make(const char *name)
{
	struct ipcmap *m = kit_made(name, 4 * KIT_MIB, 4 * KIT_MIB, 2);
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_pair pair = {"host", 4, "a", 1};
	static unsigned char val[20000];

	o.compress = 100;
	o.ttl_ns = 5000 * KIT_SEC;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
	for (uint64_t i = 0; i < KEYS; i++) {
		struct ipcmap_put_options how = IPCMAP_PUT_INIT;
		struct kit_key k = kit_key(i);
		size_t len = value_of(i, val);

		how.type = (uint32_t)(i % 256);
		how.ttl_ns = i % 2 ? IPCMAP_TTL_NONE : 0;
		CU_ASSERT(ipcmap_put(m, k.text, k.len, val, len, &how) == 0);
	}
	for (uint64_t i = 0; i < KEYS; i += 5) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_del(m, k.text, k.len) == 0);
	}
	for (int i = 0; i < 3; i++)
		CU_ASSERT(ipcmap_snapshot_publish(m, "table", &pair, 1, NULL, NULL, 0) == 0);
	ipcmap_close(m);
}

/* The file, mapped without the library: no owner. */
struct hand {
	struct fmt_header *h;
	unsigned char *base;
	size_t len;
};

static struct hand open_hand(const char *path)
{
	struct hand f;
	struct stat st;
	int fd = open(path, O_RDWR);

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	f.len = (size_t)st.st_size;
	f.base = mmap(NULL, f.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (f.base == MAP_FAILED)
		abort();
	f.h = (struct fmt_header *)(void *)f.base;
	close(fd);
	return f;
}

static void close_hand(struct hand *f)
{
	munmap(f->base, f->len);
}

static struct fmt_shard *hand_shard(const struct hand *f, uint32_t i)
{
	return (struct fmt_shard *)(void *)(f->base + f->h->user_off) + i;
}

/* A fault by which nothing is lost. */
static void spoil_books(const char *path)
{
	struct hand f = open_hand(path);

	hand_shard(&f, 0)->live += 16;
	close_hand(&f);
}

static struct fmt_bucket *hand_bucket(const struct hand *f, uint32_t shard, uint32_t at)
{
	uint64_t cap = f->h->user[FMT_GEO_DIR_CAP];
	uint32_t *dir = (uint32_t *)(void *)(f->base + f->h->user_off +
					     (uint64_t)f->h->n_shards * FMT_SHARD_LEN) +
			shard * cap;

	return (struct fmt_bucket *)(void *)(f->base + f->h->extent_off) + dir[0] + at;
}

/* ---- repairing ---- */

static char why[300];

static int repair(const char *name, unsigned flags, struct ipcmap_repair *ret)
{
	struct ipcmap_repair_options how = IPCMAP_REPAIR_INIT;

	how.flags = flags;
	how.why = why;
	how.why_cap = sizeof(why);
	return ipcmap_repair(name, &how, ret);
}

static bool is_there(const char *path, const char *suffix)
{
	char p[4200];

	snprintf(p, sizeof(p), "%s%s", path, suffix);
	return access(p, F_OK) == 0;
}

static void forget(const char *path, const char *suffix)
{
	char p[4200];

	snprintf(p, sizeof(p), "%s%s", path, suffix);
	unlink(p);
}

static void forget_all(const char *path)
{
	forget(path, "");
	forget(path, ".damaged");
	forget(path, ".repair");
}

/* What a reader finds of every key. */
struct seen {
	int r;
	uint64_t version, ttl, sum;
	uint32_t type;
	size_t len;
};

static struct seen look(struct ipcmap *m, uint64_t i)
{
	static unsigned char buf[20000];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	struct kit_key k = kit_key(i);
	struct seen s = {.r = ipcmap_getx(m, k.text, k.len, &v)};

	if (s.r)
		return s;
	s.version = v.version;
	s.ttl = v.ttl_left_ns;
	s.type = v.type;
	s.len = v.len;
	s.sum = XXH3_64bits(buf, v.len);
	return s;
}

static struct seen *look_at_all(const char *name)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct seen *s = calloc(KEYS, sizeof(*s));
	struct ipcmap *m;

	o.flags = IPCMAP_RDONLY;
	if (!s || ipcmap_open(name, &o, &m)) {
		free(s);
		return NULL;
	}
	for (uint64_t i = 0; i < KEYS; i++)
		s[i] = look(m, i);
	ipcmap_close(m);
	return s;
}

/* Lives are as they were, but for the time that went by. */
static bool same(const struct seen *a, const struct seen *b)
{
	return a->r == b->r && a->version == b->version && a->sum == b->sum &&
	       a->len == b->len && a->type == b->type &&
	       (a->ttl == IPCMAP_TTL_NONE) == (b->ttl == IPCMAP_TTL_NONE) && b->ttl <= a->ttl;
}

/* Check finds nothing, and it can be written in every shard. */
static bool sound_now(const char *name)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	bool ok;
	int r;

	o.why = why;
	o.why_cap = sizeof(why);
	r = ipcmap_open(name, &o, &m);
	if (r)
		fprintf(stderr, "\n  open: %d %s", r, why);
	if (r)
		return false;
	ok = kit_sound(m);
	for (uint64_t i = 0; i < 8 && ok; i++) {
		struct kit_key k = kit_key(KEYS + i);

		r = ipcmap_put(m, k.text, k.len, "value", 5, NULL);
		ok = r == 0 && ipcmap_del(m, k.text, k.len) == 0;
		if (!ok)
			fprintf(stderr, "\n  put: %d", r);
	}
	ipcmap_close(m);
	return ok;
}

/* ---- what stays ---- */

static void repair__a_sound_map_is_left_alone(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap_repair s;
	struct stat before, after;

	make(name);
	CU_ASSERT_FATAL(stat(path, &before) == 0);
	CU_ASSERT(repair(name, IPCMAP_REPAIR_SALVAGE, &s) == 0);
	CU_ASSERT(stat(path, &after) == 0 && after.st_ino == before.st_ino);
	CU_ASSERT(s.findings == 0 && !s.replaced && s.kept == KEYS * 4 / 5);
	CU_ASSERT(s.dropped == 0 && s.missing == 0 && s.left == 0 && s.versions_kept == 3);
	CU_ASSERT(sound_now(name));
	forget_all(path);
}

static void repair__keeps_everything_as_it_was(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap_stat was, is;
	struct ipcmap_snapshot *snap;
	struct seen *before, *after;
	struct ipcmap_repair s;
	struct ipcmap *m;
	struct stat a, b;

	make(name);
	CU_ASSERT(chmod(path, 0640) == 0);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	was = kit_stat(m);
	ipcmap_close(m);
	before = look_at_all(name);
	spoil_books(path);
	CU_ASSERT(stat(path, &a) == 0);
	CU_ASSERT(repair(name, 0, &s) == 0);
	CU_ASSERT(s.findings && s.replaced && !s.kept_damaged && !is_there(path, ".damaged"));
	CU_ASSERT(!is_there(path, ".repair"));
	CU_ASSERT(stat(path, &b) == 0 && a.st_ino != b.st_ino && b.st_mode == a.st_mode);
	after = look_at_all(name);
	CU_ASSERT_FATAL(before && after);
	for (uint64_t i = 0; i < KEYS; i++)
		CU_ASSERT(same(&before[i], &after[i]));
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	is = kit_stat(m);
	CU_ASSERT(is.entries == was.entries && is.limit == was.limit && is.max == was.max);
	CU_ASSERT(is.ttl_ns == was.ttl_ns && is.compress == was.compress);
	CU_ASSERT(is.shards == was.shards && is.puts == was.puts && is.dels == was.dels);
	CU_ASSERT(is.gets >= was.gets && is.live_len == was.live_len);
	CU_ASSERT_FATAL(ipcmap_snapshot_open(m, "table", 2, &snap) == 0);
	CU_ASSERT(ipcmap_snapshot_count(snap) == 1 && ipcmap_snapshot_newer(snap));
	ipcmap_snapshot_close(snap);
	CU_ASSERT_FATAL(ipcmap_snapshot_open(m, "table", 0, &snap) == 0);
	CU_ASSERT(ipcmap_snapshot_version(snap) == 3);
	ipcmap_snapshot_close(snap);
	/* tokens of deleted keys do not come back */
	CU_ASSERT(kit_put(m, "next", "x") == 0);
	for (uint64_t i = 0; i < KEYS; i++)
		CU_ASSERT(before[i].version != kit_version(m, "next") || before[i].r ||
			  kit_shard_of(m, "next", 4) !=
				  kit_shard_of(m, kit_key(i).text, kit_key(i).len));
	kit_gone(m);
	free(before);
	free(after);
	forget_all(path);
}

/* To the last byte of the limit, in an order that left no gap. */
static void repair__a_full_map_fits_again(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap *m = kit_made(name, KIT_MIB, KIT_MIB, 1);
	static char val[2000];
	struct ipcmap_repair s;
	uint64_t n = 0, entries;
	int r;

	do {
		struct kit_key k = kit_key(n);

		r = ipcmap_put(m, k.text, k.len, val, n % 40 ? 20 + n % 300 : 1990, NULL);
	} while (r == 0 && ++n);
	CU_ASSERT(r == IPCMAP_LIMIT);
	entries = kit_entries(m);
	ipcmap_close(m);
	spoil_books(path);
	CU_ASSERT(repair(name, 0, &s) == 0);
	CU_ASSERT(s.replaced && s.kept == entries);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	CU_ASSERT(kit_stat(m).limit == KIT_MIB && kit_entries(m) == entries);
	kit_gone(m);
	forget_all(path);
}

/* ---- what goes, and comes back ---- */

/* A bucket with all its slots is wiped, in a shard in which keys were deleted. */
static void repair__salvages_only_what_the_index_has_lost(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap_repair plain, salvaged;
	struct seen *before, *after;
	struct hand f;
	unsigned lost = 0, back = 0, undead = 0;

	make(name);
	before = look_at_all(name);
	f = open_hand(path);
	/* it leads nowhere, so that it is known to be damaged */
	memset(hand_bucket(&f, 0, 5)->tags, 0, 16);
	hand_bucket(&f, 0, 5)->tags[1] = (uint64_t)UINT32_MAX << FMT_LINK_SHIFT;
	close_hand(&f);
	CU_ASSERT(repair(name, IPCMAP_REPAIR_DRY_RUN, &plain) == 0);
	CU_ASSERT(plain.missing && plain.left >= plain.missing && !plain.replaced);
	CU_ASSERT(repair(name, IPCMAP_REPAIR_SALVAGE | IPCMAP_REPAIR_DRY_RUN, &salvaged) == 0);
	CU_ASSERT(salvaged.salvaged == plain.left && salvaged.left == 0);
	CU_ASSERT(repair(name, IPCMAP_REPAIR_SALVAGE, &salvaged) == 0);
	CU_ASSERT(salvaged.replaced && salvaged.kept_damaged && is_there(path, ".damaged"));
	after = look_at_all(name);
	CU_ASSERT_FATAL(before && after);
	for (uint64_t i = 0; i < KEYS; i++) {
		lost += before[i].r == 0 && after[i].r != 0;
		undead += before[i].r != 0 && after[i].r == 0;
		back += before[i].r == 0 && after[i].r == 0 && !same(&before[i], &after[i]);
	}
	CU_ASSERT(lost == 0 && back == 0);
	/* deleted keys of that bucket alone */
	CU_ASSERT(undead == plain.left - plain.missing && undead < 20);
	CU_ASSERT(sound_now(name));
	free(before);
	free(after);

	/* the damaged one can still be read, and repaired in another way, but not written */
	{
		struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
		char kept[200];
		struct ipcmap *m;

		snprintf(kept, sizeof(kept), "%s.damaged", name);
		CU_ASSERT(ipcmap_open(kept, NULL, &m) == IPCMAP_MISMATCH);
		o.flags = IPCMAP_RDONLY;
		CU_ASSERT_FATAL(ipcmap_open(kept, &o, &m) == 0);
		ipcmap_close(m);
		CU_ASSERT(repair(kept, IPCMAP_REPAIR_DISCARD, &salvaged) == 0);
		CU_ASSERT(salvaged.replaced && !salvaged.kept_damaged);
		CU_ASSERT(salvaged.kept + plain.missing == KEYS * 4 / 5);
		CU_ASSERT(sound_now(kept));
	}
	forget_all(path);
}

static void repair__a_damaged_current_version_goes_back(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap_snapshot *snap;
	struct ipcmap_repair s;
	struct ipcmap *m;
	struct im_area a;
	uint64_t v;

	make(name);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	im_area_of(m->seg, &a);
	im_seg_extent(m->seg, a.kept[fmt_current_slot(a.tables[0].current)].first)[16] ^= 1;
	ipcmap_close(m);
	CU_ASSERT(repair(name, 0, &s) == 0);
	CU_ASSERT(s.versions_dropped == 1 && s.versions_kept == 2 && s.kept_damaged);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	CU_ASSERT_FATAL(ipcmap_snapshot_open(m, "table", 0, &snap) == 0);
	v = ipcmap_snapshot_version(snap);
	CU_ASSERT(v == 4); /* 3 was seen with other content */
	ipcmap_snapshot_close(snap);
	CU_ASSERT(ipcmap_snapshot_open(m, "table", 3, &snap) == IPCMAP_NOTFOUND);
	kit_gone(m);
	forget_all(path);
}

/* ---- who else is there ---- */

struct other {
	const char *name;
	struct t_gate ready, go;
};

static int hold_it(void *arg)
{
	struct other *o = arg;
	struct ipcmap *m;

	T_MUST(ipcmap_open(o->name, NULL, &m) == 0);
	t_gate_pass(&o->ready);
	t_gate_wait(&o->go);
	return 0;
}

static void repair__refuses_a_map_that_is_attached(void)
{
	const int line = __LINE__;
	struct other o = {.name = t_name(line)};
	struct ipcmap_repair s;
	struct ipcmap *m;
	char pid[32];
	pid_t child;

	make(o.name);
	spoil_books(t_path(line));
	t_gate_open(&o.ready);
	t_gate_open(&o.go);
	child = t_run(hold_it, &o);
	t_gate_wait(&o.ready);
	CU_ASSERT(repair(o.name, 0, &s) == IPCMAP_BUSY);
	snprintf(pid, sizeof(pid), " %d", (int)child);
	CU_ASSERT(strstr(why, pid) != NULL);
	t_gate_pass(&o.go);
	CU_ASSERT(t_ok(child));
	CU_ASSERT_FATAL(ipcmap_open(o.name, NULL, &m) == 0);
	CU_ASSERT(repair(o.name, IPCMAP_REPAIR_DRY_RUN, &s) == IPCMAP_BUSY);
	ipcmap_close(m);
	CU_ASSERT(repair(o.name, 0, &s) == 0 && s.replaced);
	t_gate_close(&o.ready);
	t_gate_close(&o.go);
	forget_all(t_path(line));
}

/* In the middle of a repair. */
static int try_to_attach(void *arg)
{
	struct ipcmap_repair s;
	struct ipcmap *m;

	T_MUST(ipcmap_open(arg, NULL, &m) == IPCMAP_OWNERS);
	T_MUST(repair(arg, 0, &s) == IPCMAP_CREATING);
	return 0;
}

static bool kept_out;

static void attach_meanwhile(void *arg, const char *line)
{
	(void)line;
	if (!kept_out)
		kept_out = t_ok(t_run(try_to_attach, arg));
}

static void repair__keeps_writers_out_meanwhile(void)
{
	struct ipcmap_repair_options how = IPCMAP_REPAIR_INIT;
	const int line = __LINE__;
	struct ipcmap_repair s;

	make(t_name(line));
	spoil_books(t_path(line));
	kept_out = false;
	how.report = attach_meanwhile;
	how.arg = (void *)(uintptr_t)t_name(line);
	CU_ASSERT(ipcmap_repair(t_name(line), &how, &s) == 0);
	CU_ASSERT(kept_out && s.replaced);
	CU_ASSERT(sound_now(t_name(line)));
	forget_all(t_path(line));
}

/* A forked child that made no call yet has the old segment mapped, and no owner slot. */
static struct other idle;

static int write_at_last(void *arg)
{
	struct ipcmap *m = arg;
	char buf[4];

	t_gate_pass(&idle.ready);
	t_gate_wait(&idle.go);
	T_MUST(kit_put(m, "lost", "write") == IPCMAP_MISMATCH);
	T_MUST(*ipcmap_why(m));
	T_MUST(ipcmap_get(m, "lost", 4, buf, sizeof(buf), NULL) == IPCMAP_NOTFOUND);
	return 0;
}

static int fork_and_leave(void *arg)
{
	pid_t *grandchild = arg, pid;
	struct ipcmap *m;

	T_MUST(ipcmap_open(idle.name, NULL, &m) == 0);
	pid = fork();
	if (pid == 0)
		_exit(write_at_last(m));
	*grandchild = pid;
	return 0;
}

static void repair__a_child_without_a_slot_writes_nowhere(void)
{
	const int line = __LINE__;
	pid_t *grandchild = t_shared(sizeof(*grandchild));
	struct ipcmap_repair s;
	int status = -1;

	idle.name = t_name(line);
	make(idle.name);
	spoil_books(t_path(line));
	t_gate_open(&idle.ready);
	t_gate_open(&idle.go);
	CU_ASSERT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	CU_ASSERT(t_ok(t_run(fork_and_leave, grandchild)));
	t_gate_wait(&idle.ready);
	CU_ASSERT(repair(idle.name, 0, &s) == 0 && s.replaced);
	t_gate_pass(&idle.go);
	CU_ASSERT(waitpid(*grandchild, &status, 0) == *grandchild);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
	CU_ASSERT(sound_now(idle.name));
	t_gate_close(&idle.ready);
	t_gate_close(&idle.go);
	t_shared_free(grandchild, sizeof(*grandchild));
	forget_all(t_path(line));
}

/* ---- names in the way ---- */

static void copy_file(const char *from, const char *to)
{
	char command[600];

	snprintf(command, sizeof(command), "cp --sparse=always %s %s", from, to);
	CU_ASSERT(system(command) == 0);
}

static void repair__leaves_files_of_others_alone(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap_repair s;
	struct hand f;
	char built[300], kept[300];

	snprintf(built, sizeof(built), "%s.repair", path);
	snprintf(kept, sizeof(kept), "%s.damaged", path);
	make(name);
	f = open_hand(path);
	hand_shard(&f, 0)->entries += 3; /* a loss, as it seems */
	/* a copy made by hand */
	copy_file(path, built);
	CU_ASSERT(repair(name, 0, &s) == IPCMAP_EXISTS && strstr(why, ".repair"));
	CU_ASSERT(unlink(built) == 0);
	/* what a repair leaves that was killed, but for the content */
	copy_file(path, built);
	{
		struct hand old = open_hand(built);

		old.h->creation++;
		close_hand(&old);
	}
	copy_file(path, kept);
	CU_ASSERT(repair(name, 0, &s) == IPCMAP_EXISTS && strstr(why, ".damaged"));
	CU_ASSERT(!is_there(path, ".repair"));
	CU_ASSERT(unlink(kept) == 0);
	/* what one leaves that was killed after its link */
	CU_ASSERT(link(path, kept) == 0);
	CU_ASSERT(repair(name, 0, &s) == 0 && s.kept_damaged && s.missing == 3);
	close_hand(&f);
	forget_all(path);
}

/* ---- the header ---- */

static void repair__any_byte_of_the_header(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap_repair s;
	struct ipcmap *m;
	struct hand f;

	make(name);
	f = open_hand(path);
	for (size_t i = 0; i < offsetof(struct fmt_header, replaced); i += T_AMOUNT(1, 7, 40)) {
		unsigned char was = f.base[i];
		int r;

		f.base[i] = (unsigned char)(was ^ (1u << i % 8));
		CU_ASSERT(ipcmap_open(name, NULL, &m) != 0);
		r = repair(name, IPCMAP_REPAIR_DRY_RUN, &s);
		if (r || s.findings != 1 || s.kept != KEYS * 4 / 5 || s.versions_kept != 3)
			fprintf(stderr, "\n  byte %zu: %d %s", i, r, why);
		CU_ASSERT(r == 0 && s.findings == 1 && s.kept == KEYS * 4 / 5);
		CU_ASSERT(s.dropped == 0 && s.versions_kept == 3);
		f.base[i] = was;
	}
	f.base[75] ^= 1;
	CU_ASSERT(repair(name, 0, &s) == 0 && s.replaced && !s.kept_damaged);
	CU_ASSERT(sound_now(name));
	close_hand(&f);
	forget_all(path);
}

static void repair__refuses_what_cannot_be_made_right(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	struct ipcmap_options create = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	struct ipcmap_repair s;
	struct fmt_header was;
	struct hand f;

	make(name);
	f = open_hand(path);
	was = *f.h;
	f.h->hash_seed ^= 0x10100; /* two bytes */
	CU_ASSERT(repair(name, 0, &s) == IPCMAP_CORRUPT && strstr(why, "remove it"));
	f.h->checksum = im_header_checksum(f.h);
	CU_ASSERT(repair(name, IPCMAP_REPAIR_DRY_RUN, &s) == 0 && s.kept == 0);
	f.h->checksum++; /* nothing proves the seed, and it is wrong */
	CU_ASSERT(repair(name, 0, &s) == IPCMAP_CORRUPT && strstr(why, "hash seed"));
	*f.h = was;
	f.h->checksum++; /* the seed proves itself */
	CU_ASSERT(repair(name, IPCMAP_REPAIR_DRY_RUN, &s) == 0 && s.kept == KEYS * 4 / 5);
	*f.h = was;
	f.h->version = 2;
	f.h->checksum = im_header_checksum(f.h);
	CU_ASSERT(repair(name, 0, &s) == IPCMAP_VERSION);
	*f.h = was;
	f.h->boot_id[0] ^= 1;
	f.h->checksum = im_header_checksum(f.h);
	CU_ASSERT(repair(name, 0, &s) == IPCMAP_MISMATCH);
	*f.h = was;
	create.flags = IPCMAP_CREATE;
	f.h->magic = 0; /* wiped, since creators use no extents */
	CU_ASSERT(ipcmap_open(name, &create, &m) == IPCMAP_NOTMAP);
	CU_ASSERT(repair(name, IPCMAP_REPAIR_DRY_RUN, &s) == 0 && s.kept == KEYS * 4 / 5);
	memset(&f.h->space, 0, sizeof(f.h->space)); /* its creator died, as it seems */
	CU_ASSERT(repair(name, 0, &s) == IPCMAP_NOTMAP);
	*f.h = was;
	CU_ASSERT(repair(name, 99, &s) == IPCMAP_INVALID &&
		  ipcmap_repair(NULL, NULL, &s) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_repair("/ipcmap-test.none", NULL, NULL) == IPCMAP_NOTFOUND);
	CU_ASSERT(repair(name, 0, &s) == 0 && !s.findings);
	close_hand(&f);
	forget_all(path);
}

/* ---- any damage ---- */

/* Somewhere in what is used: tables, shards, directories, buckets, entries. */
static void damage(struct hand *f, uint64_t *rnd)
{
	uint64_t from = 4096, to = f->h->extent_off;
	uint64_t n = 1 + kit_below(rnd, 4);

	while (n--) {
		uint64_t at;

		switch (kit_below(rnd, 4)) {
		case 0: /* the shards and their directories */
			at = f->h->user_off + kit_below(rnd, f->h->user[FMT_GEO_SNAP_OFF]);
			break;
		case 1: /* the table's lines in use */
			at = f->h->table_off + kit_below(rnd, f->h->space.fresh * 64);
			break;
		case 2: /* the extents in use */
			at = to +
			     kit_below(rnd, (uint64_t)f->h->space.fresh << f->h->extent_shift);
			break;
		default:
			at = from + kit_below(rnd, to - from);
		}
		if (kit_below(rnd, 2))
			f->base[at] ^= (unsigned char)(1 + kit_below(rnd, 255));
		else
			memset(f->base + (at & ~UINT64_C(7)), (int)kit_below(rnd, 2) * 255, 8);
	}
}

/* What was found before is found after, unless it was counted as dropped; and nothing else. */
static void compare_seen(const struct seen *before, const struct seen *after,
			 const struct ipcmap_repair *s, uint64_t round)
{
	uint64_t lost = 0;

	for (uint64_t i = 0; i < KEYS; i++) {
		lost += before[i].r == 0 && after[i].r == IPCMAP_NOTFOUND;
		if (before[i].r == IPCMAP_NOTFOUND)
			CU_ASSERT(after[i].r == IPCMAP_NOTFOUND);
		if (before[i].r || after[i].r || same(&before[i], &after[i]))
			continue;
		fprintf(stderr, "\n  round %llu: key %llu: version %llu, then %llu",
			(unsigned long long)round, (unsigned long long)i,
			(unsigned long long)before[i].version,
			(unsigned long long)after[i].version);
		CU_FAIL("an entry is not as it was");
	}
	CU_ASSERT(lost <= s->dropped);
}

static void repair__any_damage(void)
{
	const int line = __LINE__;
	const char *name = t_name(line), *path = t_path(line);
	uint64_t seed = kit_seed(), rnd = seed, replaced = 0;
	char kept[300];

	printf("\n    seed %llu ", (unsigned long long)seed);
	snprintf(kept, sizeof(kept), "%s.start", path);
	make(name);
	CU_ASSERT(rename(path, kept) == 0);
	/* a few rounds may all hit what does not matter */
	for (uint64_t round = 0; round < T_AMOUNT(150u, 30u, 3u) || (!replaced && round < 150);
	     round++) {
		struct seen *before, *after;
		struct ipcmap_repair s;
		struct hand f;
		int r;

		copy_file(kept, path);
		f = open_hand(path);
		damage(&f, &rnd);
		close_hand(&f);
		before = look_at_all(name);
		r = repair(name,
			   IPCMAP_REPAIR_DISCARD | (round % 3 == 2 ? IPCMAP_REPAIR_SALVAGE : 0),
			   &s);
		if (r)
			fprintf(stderr, "\n  round %llu: %d %s", (unsigned long long)round, r,
				why);
		CU_ASSERT(r == 0);
		if (!sound_now(name)) {
			fprintf(stderr, "\n  round %llu: %llu findings, replaced %u",
				(unsigned long long)round, (unsigned long long)s.findings,
				s.replaced);
			CU_FAIL("it is not sound after the repair");
		}
		after = look_at_all(name);
		if (before && after && round % 3 != 2)
			compare_seen(before, after, &s, round);
		replaced += r == 0 && s.replaced;
		free(before);
		free(after);
		unlink(path);
	}
	CU_ASSERT(replaced > 0);
	unlink(kept);
	forget_all(path);
}

static CU_TestInfo tests[] = {
	{"a sound map is left alone", repair__a_sound_map_is_left_alone},
	{"everything is kept as it was", repair__keeps_everything_as_it_was},
	{"a full map fits again", repair__a_full_map_fits_again},
	{"only what the index has lost is salvaged",
	 repair__salvages_only_what_the_index_has_lost},
	{"a damaged current version goes back", repair__a_damaged_current_version_goes_back},
	{"a map that is attached is refused", repair__refuses_a_map_that_is_attached},
	{"writers are kept out meanwhile", repair__keeps_writers_out_meanwhile},
	{"a child without a slot writes nowhere",
	 repair__a_child_without_a_slot_writes_nowhere},
	{"files of others are left alone", repair__leaves_files_of_others_alone},
	{"any byte of the header", repair__any_byte_of_the_header},
	{"what cannot be made right is refused", repair__refuses_what_cannot_be_made_right},
	{"any damage", repair__any_damage},
	CU_TEST_INFO_NULL,
};

T_SUITE("repair", tests)
