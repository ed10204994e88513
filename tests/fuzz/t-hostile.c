/* SPDX-License-Identifier: MIT */
/*
 * t-hostile.c - what the fuzzers found worth keeping, run again without them
 *
 * Each corpus is run in a child of its own; the number of the input that it died of is left in
 * shared memory.
 */
#include "fuzz.h"
#include "args.h"
#include "load.h"
#include "../starved/starve.h"
#include "../unit/kit.h"

#include <string.h>

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

static void hostile__bytes_do_no_harm(void)
{
	replay(CORPUS("segment"), T_PATH, FZ_HOSTILE, T_AMOUNT(1, 1, 20));
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
	r = ipcmap_put(m, "another", 7, "0123456789012345678901234567890123456789", 40, NULL);
	T_MUST(r == IPCMAP_LIMIT || r == IPCMAP_CORRUPT);
	ipcmap_close(m);
	return 0;
}

static void hostile__put_ends_where_entries_are_broken(void)
{
	CU_ASSERT(t_ok(t_run(put_where_entries_are_broken, (void *)(uintptr_t)T_NAME)));
	t_clean_up();
}

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
	{"whatever the bytes of a segment are, no call does harm", hostile__bytes_do_no_harm},
	{"whatever the arguments are, the map is sound", hostile__arguments_leave_a_sound_map},
	{"files to load are read or refused, and come back from a dump",
	 hostile__files_to_load_do_no_harm},
	{"words on the command line are used or refused", hostile__words_do_no_harm},
	{"a put ends where entries are broken", hostile__put_ends_where_entries_are_broken},
	{"more pairs than there can be are too many", hostile__number_of_pairs_is_too_big},
	CU_TEST_INFO_NULL,
};
T_SUITE("hostile", tests)
