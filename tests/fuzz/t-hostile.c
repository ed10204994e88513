/* SPDX-License-Identifier: MIT */
/*
 * t-hostile.c - what the fuzzers found worth keeping, run again without them
 *
 * Each corpus is run in a child of its own; the number of the input that it died of is left in
 * shared memory.
 */
#include "fuzz.h"
#include "args.h"
#include "crash.h"
#include "header.h"
#include "load.h"
#include "pin.h"
#include "../starved/starve.h"
#include "../unit/kit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(IM_CHECK) && IM_CHECK
#define HAVE_POINTS 1
#else
#define HAVE_POINTS 0
#endif

/* One input takes milliseconds, all of them may take minutes on a machine that is busy. */
#define INPUT_SEC 120u
#define CORPUS_MS (30 * 60 * 1000)

/* No value of a seed unpacks to more. */
#define BLOCK_MOST (UINT64_C(128) << 20)

#define CORPUS(name) "tests/fuzz/" name ".corpus"

struct replay {
	const char *corpus;
	const char *path;
	enum fz_way way;
	uint32_t every; /* of so many inputs one is run */
	uint32_t *done;
};

static int run_corpus(void *arg)
{
	struct replay *r = arg;
	struct fz_pack pack;
	const void *input;
	size_t len;

	T_MUST(fz_pack_read(r->corpus, &pack));
	T_MUST(fz_start(r->path));
	starve_most = 0;
	for (; (input = fz_pack_next(&pack, &len)); ++*r->done) {
		alarm(INPUT_SEC);
		if (*r->done % r->every == 0)
			fz_script(input, len, r->way);
		T_MUST(starve_most < BLOCK_MOST);
	}
	T_MUST(pack.pos == pack.len && *r->done > 0);
	fz_pack_free(&pack);
	fz_end();
	return 0;
}

static void replay(const char *corpus, const char *path, enum fz_way way, uint32_t every)
{
	struct replay r = {corpus, path, way, every, t_shared(4096)};
	int status = t_wait(t_run(run_corpus, &r), CORPUS_MS);
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	CU_ASSERT(ok);
	if (!ok)
		fprintf(stderr, "\n  %s: input %u, status %#x\n", corpus, *r.done, (unsigned)status);
	printf("(%u scripts) ", (*r.done + every - 1) / every);
	unlink(path);
	t_shared_free(r.done, 4096);
}

static const struct fz_seed *seed(const char *name)
{
	for (unsigned i = 0; i < fz_n_seeds; i++)
		if (strcmp(fz_seeds[i].name, name) == 0)
			return &fz_seeds[i];
	return NULL;
}

static int look_at_seeds(void *arg)
{
	T_MUST(fz_start(arg));
	T_MUST(seed("watched")->n_events > 50);
	T_MUST(seed("watched")->n_images > 2 && seed("watched")->n_blocks > 2);
	T_MUST(!HAVE_POINTS || seed("event.bytes")->n_events > 50);
	T_MUST(!HAVE_POINTS || seed("commit.named")->n_records == 1);
	T_MUST(!HAVE_POINTS || seed("group.stored")->n_records == 1);
	T_MUST(!seed("entries")->n_events && !seed("entries")->n_records);
	fz_end();
	return 0;
}

/* Or scripts would change nothing of it. */
static void hostile__seeds_have_what_they_are_named_for(void)
{
	CU_ASSERT(t_ok(t_run(look_at_seeds, (void *)(uintptr_t)T_PATH)));
}

static void hostile__bytes_do_no_harm(void)
{
	replay(CORPUS("segment"), T_PATH, FZ_HOSTILE, T_AMOUNT(1, 1, 20));
}

static void hostile__bytes_that_change_all_the_time_do_no_harm(void)
{
	replay(CORPUS("segment"), T_PATH, FZ_SCRIBBLE, T_AMOUNT(3, 3, 50));
}

static void hostile__arguments_leave_a_sound_map(void)
{
	replay(CORPUS("sound"), T_PATH, FZ_SOUND, T_AMOUNT(1, 1, 20));
}

/* Its table of slots was sized before its length was judged, and 2^63 pairs never ended. */
static void hostile__number_of_pairs_is_too_big(void)
{
	const struct ipcmap_pair p = {"a", 1, "1", 1};
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	const char *name = T_NAME;
	struct ipcmap *m = NULL;

	o.flags = IPCMAP_CREATE;
	o.limit = 1u << 20;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &m) == 0);
	for (unsigned bit = 33; bit < 64; bit++)
		CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, (size_t)1 << bit, NULL, NULL,
						  0) == IPCMAP_TOOBIG);
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, SIZE_MAX, NULL, NULL, 0) ==
		  IPCMAP_TOOBIG);
	ipcmap_close(m);
	CU_ASSERT(ipcmap_unlink(name) == 0);
}

/*
 * A put into a full map looked for expired entries in extents that said they have some, found
 * bytes that are no entries, called it progress and looked again, for ever.
 */
static int put_where_entries_are_broken(void *arg)
{
	struct ipcmap *m = kit_made(arg, KIT_MIB, 0, 1);
	uint64_t i = 0;
	int r = 0;

	for (; r == 0; i++) {
		struct kit_key k = kit_key(i);

		r = ipcmap_put(m, k.text, k.len, "0123456789012345678901234567890123456789", 40,
			       NULL);
	}
	T_MUST(r == IPCMAP_LIMIT);
	for (uint32_t ext = 0; ext < m->seg->n_extents; ext++) {
		struct fmt_extent *x = &m->seg->table[ext];
		uint64_t *entry = (uint64_t *)(void *)im_seg_extent(m->seg, ext);

		if (fmt_word_state(x->word) != FMT_LOG)
			continue;
		x->expiry_min = 0;
		entry[1] |= UINT64_C(0xffff) << 32; /* a longer key than there is room for */
	}
	/* whatever it says: it ends */
	ipcmap_put(m, "another", 7, "0123456789012345678901234567890123456789", 40, NULL);
	ipcmap_close(m);
	return 0;
}

static void hostile__put_ends_where_entries_are_broken(void)
{
	CU_ASSERT(t_ok(t_run(put_where_entries_are_broken, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

/*
 * The same put met an expired value that it could not free, since what was to be freed before
 * never could be: that was called progress, too.
 */
static int put_where_nothing_can_be_freed(void *arg)
{
	static const unsigned char val[10000];
	struct ipcmap *m = kit_made(arg, KIT_MIB, 0, 1);
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct fmt_shard *s = &m->shards[0];
	int r = 0;

	how.ttl_ns = 1;
	for (uint64_t i = 0; r == 0; i++) {
		struct kit_key k = kit_key(i);

		r = ipcmap_put(m, k.text, k.len, val, i < 10 ? sizeof(val) : 40,
			       i < 10 ? &how : NULL);
		if (i == 10) {
			usleep(20000);
			s->free_first = s->head[FMT_HOT];
			s->free_word = m->seg->table[s->free_first].word;
			s->free_n = UINT32_MAX;
		}
	}
	T_MUST(r == IPCMAP_LIMIT || r == IPCMAP_BUSY || r == IPCMAP_CORRUPT);
	ipcmap_close(m);
	return 0;
}

static void hostile__put_ends_where_nothing_can_be_freed(void)
{
	CU_ASSERT(t_ok(t_run(put_where_nothing_can_be_freed, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

/*
 * Whose slot has had its last generation, looks through all words that name owners. That comes
 * before the geometry of shards and snapshots is judged, and so they were looked for anywhere.
 */
static int attach_in_the_last_generation(void *arg)
{
	static const struct {
		uint32_t n_shards;
		uint64_t snap_off;
	} wrong[] = {{4095, 0}, {1, UINT64_C(1) << 44}, {1, UINT64_C(1) << 63}};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct ipcmap *m = kit_made(arg, KIT_MIB, 0, 1);
		int fd = open(m->seg->name, O_RDWR);
		struct fmt_header h;

		for (uint32_t k = 0; k < m->seg->n_owners; k++)
			m->seg->owners[k].gen = 0xfffff;
		ipcmap_close(m);
		T_MUST(fd >= 0 && pread(fd, &h, sizeof(h), 0) == sizeof(h));
		h.n_shards = wrong[i].n_shards;
		if (wrong[i].snap_off)
			h.user[FMT_GEO_SNAP_OFF] = wrong[i].snap_off;
		h.checksum = im_header_checksum(&h);
		T_MUST(pwrite(fd, &h, sizeof(h), 0) == sizeof(h) && close(fd) == 0);
		T_MUST(ipcmap_open(arg, NULL, &m) == IPCMAP_CORRUPT);
	}
	return 0;
}

static void hostile__geometry_is_judged_before_it_is_used(void)
{
	CU_ASSERT(t_ok(t_run(attach_in_the_last_generation, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

static struct ipcmap *with_keys(const char *name, uint64_t n)
{
	struct ipcmap *m = kit_made(name, KIT_MIB, 0, 1);

	for (uint64_t i = 0; i < n; i++) {
		struct kit_key k = kit_key(i);

		T_MUST(ipcmap_put(m, k.text, k.len, "v", 1, NULL) == 0);
	}
	return m;
}

/* The directory's last entry was looked for where a count in the segment said it was. */
static int compact_with_a_wrong_count(void *arg)
{
	struct ipcmap *m = with_keys(arg, 3000);

	for (uint64_t i = 0; i < 3000; i++) {
		struct kit_key k = kit_key(i);

		T_MUST(ipcmap_del(m, k.text, k.len) == 0);
	}
	m->shards[0].n_index = UINT32_MAX - 1;
	ipcmap_compact(m, NULL, NULL);
	ipcmap_close(m);
	return 0;
}

static int first_put_with_a_wrong_count(void *arg)
{
	struct ipcmap *m = with_keys(arg, 0);
	int r;

	m->shards[0].n_index = UINT32_MAX - 1;
	r = kit_put(m, "a", "v");
	T_MUST(r == 0 || r == IPCMAP_CORRUPT);
	ipcmap_close(m);
	return 0;
}

/* Behind the end of a directory the next shard's begins. */
static int first_put_behind_the_end(void *arg)
{
	struct ipcmap *m = kit_made(arg, KIT_MIB, 0, 2);
	uint32_t *next = im_map_dir(m, 1);
	char key[2] = "a";

	while (kit_shard_of(m, key, 1) != 0)
		key[0]++;
	m->shards[0].n_index = m->dir_cap;
	T_MUST(next == im_map_dir(m, 0) + m->dir_cap && *next == 0);
	T_MUST(kit_put(m, key, "v") == IPCMAP_CORRUPT && *next == 0);
	ipcmap_close(m);
	return 0;
}

static void hostile__count_of_index_extents_is_bounded(void)
{
	CU_ASSERT(t_ok(t_run(compact_with_a_wrong_count, (void *)(uintptr_t)T_NAME)));
	CU_ASSERT(t_ok(t_run(first_put_with_a_wrong_count, (void *)(uintptr_t)T_NAME)));
	CU_ASSERT(t_ok(t_run(first_put_behind_the_end, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

/* A value in a chain was as long as its entry said, though the map has not so many bytes. */
static int read_large_value_that_is_longer(void *arg)
{
	static const unsigned char val[10000];
	struct ipcmap *m = with_keys(arg, 0);
	size_t len = 0;
	void *buf = NULL;
	uint64_t *entry;

	T_MUST(ipcmap_put(m, "a", 1, val, sizeof(val), NULL) == 0);
	entry = (uint64_t *)(void *)im_seg_extent(m->seg, m->shards[0].head[FMT_HOT]);
	T_MUST((uint32_t)entry[1] == sizeof(val));
	entry[1] += m->seg->len - sizeof(val);
	starve_most = 0;
	T_MUST(ipcmap_get_alloc(m, "a", 1, &buf, &len) == IPCMAP_CORRUPT);
	entry[1] |= UINT32_MAX;
	T_MUST(ipcmap_get(m, "a", 1, NULL, 0, &len) == IPCMAP_CORRUPT);
	T_MUST(ipcmap_get_alloc(m, "a", 1, &buf, &len) == IPCMAP_CORRUPT);
	T_MUST(starve_most < m->seg->len);
	ipcmap_close(m);
	return 0;
}

static void hostile__large_value_is_no_longer_than_the_map(void)
{
	CU_ASSERT(t_ok(t_run(read_large_value_that_is_longer, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

/* Where a touched entry was copied to and where it lay could overlap. */
static int touch_where_fill_is_too_low(void *arg)
{
	static const unsigned char val[400];
	struct ipcmap *m = with_keys(arg, 0);
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct fmt_extent *head;
	int r;

	T_MUST(ipcmap_put(m, "a", 1, val, sizeof(val), NULL) == 0);
	head = &m->seg->table[m->shards[0].head[FMT_HOT]];
	how.ttl_ns = IPCMAP_TTL_NONE;
	for (uint32_t fill = 0; fill <= 400; fill += 16) {
		head->fill = fill;
		r = ipcmap_touch(m, "a", 1, &how);
		T_MUST(r == 0 || r == IPCMAP_CORRUPT || r == IPCMAP_NOTFOUND);
	}
	ipcmap_close(m);
	return 0;
}

static void hostile__touched_entry_may_overlap_itself(void)
{
	CU_ASSERT(t_ok(t_run(touch_where_fill_is_too_low, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

#if HAVE_POINTS
static struct fmt_redo *list;
static unsigned what;

/* Another process changes the list between its arming and its stores. */
static void change_list(const char *point)
{
	if (strcmp(point, "redo.armed") != 0)
		return;
	if (what == 0)
		list->store[0].at = UINT64_C(1) << 45;
	else if (what == 4)
		list->store[0].at = UINT64_MAX - 2; /* before the segment, as an address */
	else if (what == 1)
		list->store[0].at |= 2;
	else if (what == 2)
		list->n = UINT32_MAX;
	else
		list->cas_extent = UINT32_MAX - 1;
}

static int put_with_a_list_that_changes(void *arg)
{
	for (what = 0; what < 5; what++) {
		struct ipcmap *m = with_keys(arg, 10);

		list = &m->shards[0].redo;
		im_crash_hook = change_list;
		kit_put(m, "a", "v");
		kit_put(m, "b", "v");
		ipcmap_del(m, "a", 1);
		im_crash_hook = NULL;
		ipcmap_close(m);
	}
	return 0;
}

/* The list was stored as it stood in the segment, wherever it said. */
static void hostile__redo_list_is_bounded_as_it_is_stored(void)
{
	CU_ASSERT(t_ok(t_run(put_with_a_list_that_changes, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

static struct fmt_shard *shard;
static const char *where;

static void take_buckets_away(const char *point)
{
	if (strcmp(point, where) == 0)
		shard->geometry = 0;
}

static int write_while_buckets_vanish(void *arg)
{
	static const char *const points[] = {"put.stored", "del.stored", "split.copied",
					     "redo.disarmed"};

	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		struct ipcmap *m = with_keys(arg, 151); /* 16 buckets hold 152 before a split */
		uint64_t geometry;

		shard = &m->shards[0];
		geometry = shard->geometry;
		where = points[i];
		im_crash_hook = take_buckets_away;
		kit_put(m, "a", "v");
		shard->geometry = geometry;
		kit_put(m, "b", "v");
		shard->geometry = geometry;
		ipcmap_del(m, "a", 1);
		shard->geometry = geometry;
		ipcmap_compact(m, NULL, NULL);
		im_crash_hook = NULL;
		ipcmap_close(m);
	}
	return 0;
}

/* Their number was loaded again, and its logarithm taken, after it was found not to be 0. */
static void hostile__number_of_buckets_may_vanish(void)
{
	CU_ASSERT(t_ok(t_run(write_while_buckets_vanish, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

static struct im_area area;

static void bring_back(const char *point)
{
	if (strcmp(point, "keep.leaving") != 0)
		return;
	for (uint32_t i = 0; i < area.n_kept; i++)
		if (area.kept[i].state == FMT_KEPT_LEAVING)
			area.kept[i].state = FMT_KEPT;
}

static struct ipcmap *with_versions(const char *name, uint64_t limit, unsigned n)
{
	const struct ipcmap_pair p = {"a", 1, "1", 1};
	struct ipcmap *m = kit_made(name, limit, limit, 1);

	for (unsigned i = 0; i < n; i++)
		T_MUST(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
	im_area_of(m->seg, &area);
	return m;
}

static int drop_versions_that_come_back(void *arg)
{
	const struct ipcmap_pair p = {"a", 1, "1", 1};
	struct ipcmap *m = with_versions(arg, KIT_MIB, FMT_KEEP);

	alarm(INPUT_SEC);
	im_crash_hook = bring_back;
	ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0);
	ipcmap_snapshot_drop(m, "t");
	im_crash_hook = NULL;
	ipcmap_close(m);
	return 0;
}

/* They were made to leave, one by one, until none was there. */
static void hostile__versions_that_come_back_leave_once(void)
{
	CU_ASSERT(t_ok(t_run(drop_versions_that_come_back, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

static struct im_area in_file; /* the area in the segment's file */
static uint32_t change_at, points_seen;

/* Another process changes the versions while a repair looks at them. */
static void change_versions(const char *point)
{
	if (strcmp(point, "read.version") != 0 && strcmp(point, "read.length") != 0)
		return;
	if (points_seen++ != change_at)
		return;
	for (uint32_t i = 0; i < in_file.n_kept; i++) {
		struct fmt_kept *v = &in_file.kept[i];

		if (what == 0)
			v->len = UINT64_MAX - 7;
		else if (what == 1)
			v->table = UINT32_MAX;
		else if (what == 2)
			v->first = UINT32_MAX - 1;
	}
	for (uint32_t i = 0; i < in_file.n_tables && what == 3; i++)
		memset(in_file.tables[i].name, 'n', sizeof(in_file.tables[i].name));
}

/* One repair for each point, at which the change is made, until there is no such point. */
static void repair_with_changes(const char *name, const void *was, size_t len)
{
	struct ipcmap_repair_options how = IPCMAP_REPAIR_INIT;
	struct ipcmap_repair sum;

	how.flags = IPCMAP_REPAIR_DRY_RUN;
	points_seen = 1;
	for (change_at = 0; change_at < points_seen; change_at++) {
		int r;

		memcpy(in_file.tables, was, len);
		points_seen = 0;
		im_crash_hook = change_versions;
		r = ipcmap_repair(name, &how, &sum);
		im_crash_hook = NULL;
		T_MUST(r == 0 || r == IPCMAP_CORRUPT);
		T_MUST(points_seen >= FMT_KEEP && change_at < 10000);
	}
	memcpy(in_file.tables, was, len);
}

/* So many tables that versions have pages to themselves: repair stores to none of them. */
static int repair_what_changes(void *arg)
{
	struct ipcmap *m = with_versions(arg, 16 * KIT_MIB, FMT_KEEP);
	size_t file_len = m->seg->len, len = (size_t)((char *)area.pins.at - (char *)area.tables);
	int fd = open(m->seg->name, O_RDWR);
	struct im_seg seen = *m->seg;
	void *was = malloc(len);

	T_MUST(was && fd >= 0);
	seen.base = mmap(NULL, file_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	T_MUST(seen.base != MAP_FAILED && close(fd) == 0);
	seen.user = seen.base + (m->seg->user - m->seg->base);
	im_area_of(&seen, &in_file);
	ipcmap_close(m);
	memcpy(was, in_file.tables, len);
	for (what = 0; what < 4; what++)
		repair_with_changes(arg, was, len);
	free(was);
	munmap(seen.base, file_len);
	return 0;
}

/* What repair had judged it loaded again, a length and a table's number among it. */
static void hostile__repair_looks_at_bytes_that_change(void)
{
	CU_ASSERT(t_ok(t_run(repair_what_changes, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}
#endif

struct files {
	const char *corpus;
	bool (*start)(const char *path);
	void (*run)(const void *bytes, size_t len);
	const char *path;
	uint32_t every;
	uint32_t *done;
};

static bool start_args(const char *path)
{
	(void)path;
	return fz_args_start();
}

static int run_files(void *arg)
{
	struct files *f = arg;
	struct fz_pack pack;
	const void *input;
	size_t len;

	T_MUST(fz_pack_read(f->corpus, &pack));
	fz_os_on();
	if (!f->start(f->path))
		return 77;
	for (; (input = fz_pack_next(&pack, &len)); ++*f->done) {
		alarm(INPUT_SEC);
		if (*f->done % f->every == 0)
			f->run(input, len);
	}
	T_MUST(pack.pos == pack.len && *f->done > 0);
	fz_pack_free(&pack);
	return 0;
}

static void replay_files(struct files f)
{
	int status;

	f.every = T_AMOUNT(1, 1, 20);
	f.done = t_shared(4096);
	status = t_wait(t_run(run_files, &f), CORPUS_MS);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		t_skip("no mount namespace");
	} else {
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			fprintf(stderr, "\n  %s: input %u\n", f.corpus, *f.done);
		printf("(%u inputs) ", (*f.done + f.every - 1) / f.every);
	}
	unlink(f.path);
	t_shared_free(f.done, 4096);
}

static void hostile__files_to_load_do_no_harm(void)
{
	replay_files((struct files){.corpus = CORPUS("load"),
				    .start = fz_load_start,
				    .run = fz_load,
				    .path = T_PATH});
}

static void hostile__words_do_no_harm(void)
{
	replay_files((struct files){
		.corpus = CORPUS("args"), .start = start_args, .run = fz_args, .path = T_PATH});
}

static CU_TestInfo tests[] = {
	{"the seeds have what they are named for", hostile__seeds_have_what_they_are_named_for},
	{"whatever the bytes of a segment are, no call does harm", hostile__bytes_do_no_harm},
	{"nor when they change all the time", hostile__bytes_that_change_all_the_time_do_no_harm},
	{"whatever the arguments are, the map is sound", hostile__arguments_leave_a_sound_map},
	{"files to load are read or refused, and come back from a dump",
	 hostile__files_to_load_do_no_harm},
	{"words on the command line are used or refused", hostile__words_do_no_harm},
	{"a put ends where entries are broken", hostile__put_ends_where_entries_are_broken},
	{"a put ends where nothing can be freed", hostile__put_ends_where_nothing_can_be_freed},
	{"the geometry of a header is judged before it is used",
	 hostile__geometry_is_judged_before_it_is_used},
	{"the count of index extents is bounded", hostile__count_of_index_extents_is_bounded},
#if HAVE_POINTS
	{"a redo list is bounded as it is stored", hostile__redo_list_is_bounded_as_it_is_stored},
	{"the number of buckets may vanish", hostile__number_of_buckets_may_vanish},
	{"versions that come back leave once", hostile__versions_that_come_back_leave_once},
	{"repair looks at bytes that change", hostile__repair_looks_at_bytes_that_change},
#endif
	{"a large value is no longer than the map",
	 hostile__large_value_is_no_longer_than_the_map},
	{"a touched entry may overlap itself", hostile__touched_entry_may_overlap_itself},
	{"more pairs than there can be are too many", hostile__number_of_pairs_is_too_big},
	CU_TEST_INFO_NULL,
};
T_SUITE("hostile", tests)
