/* SPDX-License-Identifier: MIT */
/*
 * t-thin.c - extents of overflow buckets become fewer, and nothing else changes
 */
#include "kit.h"

#include "crash.h"
#include "read.h"
#include "thin.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#define KEYS 9000u

static struct ipcmap *m;
static struct fmt_shard *s; /* the only one */

static int put(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_put(m, k.text, k.len, &i, sizeof(i), NULL);
}

static bool has(uint64_t i)
{
	struct kit_key k = kit_key(i);
	uint64_t v = 0;
	size_t len;

	return ipcmap_get(m, k.text, k.len, &v, sizeof(v), &len) == 0 && len == 8 && v == i;
}

static int del(uint64_t i)
{
	struct kit_key k = kit_key(i);

	return ipcmap_del(m, k.text, k.len);
}

static uint32_t per_extent(void)
{
	return m->seg->extent_len / (uint32_t)sizeof(struct fmt_bucket);
}

/* Extents that the overflow buckets in use would fill. */
static uint64_t least(void)
{
	return (s->n_ovf + per_extent() - 1) / per_extent();
}

/* Buckets set aside. */
static uint64_t aside(void)
{
	uint64_t n = 0;
	uint32_t ext = s->ovf_first, end = s->ovf_pos / (uint32_t)sizeof(struct fmt_bucket);

	for (uint32_t k = 0; k < s->n_ovf_ext; k++) {
		const struct fmt_bucket *b = (const void *)im_seg_extent(m->seg, ext);

		for (uint32_t i = 0; i < end; i++)
			n += b[i].tags[1] == FMT_ASIDE;
		ext = m->seg->table[ext].next;
		end = per_extent();
	}
	return n;
}

/* Redo lists that one step may take: LISTS and MOVED in thin.c, a few for each that is moved.
 */
#define LISTS_MOST 100u
static uint64_t most_lists; /* that one did */

/* One stay under the lock, as compaction has it. False: done. */
static bool step(struct im_thin *t, bool rich)
{
	uint64_t lists;
	struct im_op op;
	int r;

	im_op_init(m, &op, 0);
	im_op_shard(&op, 0);
	if (im_op_enter(&op))
		return false;
	lists = s->redo.seq;
	r = im_thin_step(&op, t);
	most_lists = max_u64(most_lists, (s->redo.seq - lists) / 2);
	im_op_leave(&op);
	if (r == IM_NEED) {
		if (rich && im_op_feed(&op) == 0 && im_op_enter(&op) == 0)
			im_op_leave(&op);
		else
			t->poor = true;
	}
	op.want_ahead = false;
	im_op_done(&op);
	return r != 0;
}

static void thin(bool rich)
{
	struct im_thin t = {.poor = false};
	unsigned steps = 0;

	while (step(&t, rich) && steps < 10000)
		steps++;
	CU_ASSERT(steps < 10000 && most_lists <= LISTS_MOST);
}

/* Keys 0 .. KEYS - 1, of which every @nth stays, or all but those. */
static bool stays(uint64_t i, unsigned nth, bool but)
{
	return (i % nth == 0) != but;
}

static void begin(const char *name, unsigned nth, bool but)
{
	unsigned bad = 0;

	m = kit_made(name, KIT_MIB, KIT_MIB, 1);
	s = m->shards;
	for (uint64_t i = 0; i < KEYS; i++)
		bad += put(i) != 0;
	for (uint64_t i = 0; i < KEYS; i++)
		if (!stays(i, nth, but))
			bad += del(i) != 0;
	CU_ASSERT(bad == 0);
}

static uint64_t wrong(unsigned nth, bool but)
{
	uint64_t bad = 0;

	for (uint64_t i = 0; i < KEYS; i++)
		bad += has(i) != stays(i, nth, but);
	return bad;
}

/* ---- */

static void thin__frees_extents_and_keeps_every_key(void)
{
	static const struct {
		unsigned nth;
		bool but;
	} how[] = {{1, false}, {10, true}, {3, true}, {2, false}, {10, false}, {1, true}};

	for (unsigned i = 0; i < ARRAY_LEN(how); i++) {
		uint64_t used;
		uint32_t was, is;

		begin(T_NAME, how[i].nth, how[i].but);
		was = s->n_ovf_ext;
		CU_ASSERT(was > 2);
		used = kit_stat(m).used;
		thin(true);
		is = s->n_ovf_ext;
		CU_ASSERT(is == min_u64(was, least()));
		CU_ASSERT(kit_sound(m) && wrong(how[i].nth, how[i].but) == 0 && aside() == 0);
		/* one may be ahead */
		CU_ASSERT(kit_stat(m).used + (was - is) * m->seg->extent_len <=
			  used + m->seg->extent_len);
		thin(true);
		CU_ASSERT(s->n_ovf_ext == is);
		/* the index grows again as it did before */
		for (uint64_t k = 0; k < KEYS; k++)
			CU_ASSERT(put(k) == 0);
		CU_ASSERT(wrong(1, false) == 0);
		kit_gone(m);
	}
}

/* No extent is to be had, not even for a while. */
static void thin__without_memory_does_what_it_can(void)
{
	begin(T_NAME, 3, true);
	thin(false);
	CU_ASSERT(kit_sound(m) && wrong(3, true) == 0 && aside() == 0);
	kit_gone(m);
}

/* What a compaction leaves when it is killed, or stopped: used by nobody, until the next. */
static void thin__what_is_set_aside_comes_back(void)
{
	uint64_t most = 0;

	for (unsigned stop = 1; stop < 12; stop++) {
		struct im_thin t = {.poor = false};
		unsigned i = 0;

		begin(T_NAME, 3, true);
		while (i < stop && step(&t, true))
			i++;
		most = max_u64(most, aside());
		CU_ASSERT(kit_sound(m) && wrong(3, true) == 0);
		for (uint64_t k = 0; k < KEYS; k++)
			CU_ASSERT(put(k) == 0);
		CU_ASSERT(kit_sound(m) && wrong(1, false) == 0);
		thin(true);
		CU_ASSERT(aside() == 0 && kit_sound(m) && wrong(1, false) == 0);
		kit_gone(m);
	}
	CU_ASSERT(most > 64); /* some stops were in the middle */
}

/* Between any two steps others put and delete, so buckets are taken, freed, split. */
static void thin__writers_go_on_between_its_steps(void)
{
	uint64_t seed = kit_seed(), state = seed;
	unsigned bad = 0;

	for (unsigned round = 0; round < 12; round++) {
		struct im_thin t = {.poor = false};
		static bool there[KEYS];
		unsigned steps = 0;

		begin(T_NAME, 2 + round % 3, true);
		for (uint64_t i = 0; i < KEYS; i++)
			there[i] = stays(i, 2 + round % 3, true);
		do {
			for (unsigned i = 0; i < 40; i++) {
				uint64_t k = kit_below(&state, KEYS);

				there[k] = kit_below(&state, 2);
				bad += there[k] ? put(k) != 0
						: del(k) == IPCMAP_BUSY; /* or gone already */
			}
		} while (step(&t, true) && ++steps < 10000);
		for (uint64_t i = 0; i < KEYS; i++)
			bad += has(i) != there[i];
		if (bad)
			fprintf(stderr, "\n  seed %llu\n", (unsigned long long)seed);
		CU_ASSERT(bad == 0 && steps < 10000 && aside() <= per_extent());
		kit_gone(m);
	}
}

#if defined(IM_CHECK) && IM_CHECK

/* ---- readers between its steps ---- */

static struct im_thin going;
static const char *stop_at;
static unsigned pass; /* so many times the reader comes by first */
static bool stopped;

/* Buckets are moved while a reader stands there; moves is not raised by anything else. */
static void overtake(const char *name)
{
	if (going.phase != IM_THIN_MOVE || strcmp(name, stop_at) != 0 || pass--)
		return;
	stopped = true;
	im_crash_hook = NULL;
	while (step(&going, true) && going.phase == IM_THIN_MOVE && going.at < 500)
		;
}

/* A key in an overflow bucket of an extent that is to go, moved in the first step. */
static uint64_t overflown(void)
{
	for (uint64_t at = 0; at < 500; at++) {
		struct fmt_bucket *b = im_bucket(m, im_map_dir(m, 0), at);
		struct im_entry e;
		uint32_t ext;
		uint64_t v;

		b = im_bucket_next(m->seg, b->tags[1]);
		if (!b || !im_at(m->seg, im_ref_of(m->seg, b), 64, &ext) || ext == s->ovf_first)
			continue;
		for (unsigned i = 0; i < FMT_SLOTS; i++) {
			if (!im_tag_at(b->tags[i >> 3], i) ||
			    !im_entry_view(m->seg, b->ref[i], &e))
				continue;
			memcpy(&v, im_entry_val(&e), sizeof(v));
			return v;
		}
	}
	return UINT64_MAX;
}

/* One read, stopped where it comes to @at for the @nth time. False: it never does. */
static bool overtaken(const char *name, const char *at, unsigned nth, bool whole)
{
	uint64_t key, got = 0;
	struct ipcmap_value value = {.buf = &got, .cap = sizeof(got)};
	struct kit_key k;
	int r;

	begin(name, 2, false);
	going = (struct im_thin){.poor = false};
	while (going.phase != IM_THIN_MOVE && step(&going, true))
		;
	key = overflown();
	CU_ASSERT_FATAL(key != UINT64_MAX);
	stop_at = at;
	pass = nth;
	stopped = false;
	im_crash_hook = overtake;
	k = kit_key(key);
	/* the whole protocol, or a short attempt first */
	r = whole ? im_read_uncounted(m, k.text, k.len, &value)
		  : ipcmap_getx(m, k.text, k.len, &value);
	CU_ASSERT(r == 0 && got == key);
	im_crash_hook = NULL;
	CU_ASSERT(wrong(2, false) == 0);
	kit_gone(m);
	return stopped;
}

static void thin__reader_that_is_overtaken_finds_its_key(void)
{
	static const char *const at[] = {"read.begun", "read.tags", "read.ref", "read.entry",
					 "read.copied"};
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_LEN(at); i++)
		for (unsigned whole = 0; whole < 2; whole++)
			for (unsigned nth = 0; nth < 8 && overtaken(T_NAME, at[i], nth, whole);
			     nth++)
				n++;
	CU_ASSERT(n > 2 * ARRAY_LEN(at)); /* buckets of a chain one by one */
}

/* ---- killed ---- */

static unsigned points_left;

static void die_at_point(const char *name)
{
	(void)name;
	if (points_left-- == 0)
		raise(SIGKILL);
}

static int thin_dying_at(void *arg)
{
	struct im_thin t = {.poor = false};

	T_MUST(ipcmap_open(arg, NULL, &m) == 0);
	s = m->shards;
	im_crash_hook = die_at_point;
	while (step(&t, true))
		;
	im_crash_hook = NULL;
	return 0;
}

static void copy_file(const char *from, const char *to)
{
	int a = open(from, O_RDONLY), b = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct stat st;
	void *p;

	CU_ASSERT_FATAL(a >= 0 && b >= 0 && fstat(a, &st) == 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, a, 0);
	CU_ASSERT_FATAL(p != MAP_FAILED && write(b, p, (size_t)st.st_size) == st.st_size);
	munmap(p, (size_t)st.st_size);
	close(a);
	close(b);
}

/* At its points, of which there are many, one after the other by a stride. */
#define STRIDE T_AMOUNT(23u, 97u, 97u)

static void thin__killed_at_any_point_loses_nothing(void)
{
	const char *first = T_PATH;
	const char *path = T_PATH;
	unsigned killed = 0;
	bool died = true;
	uint32_t was;

	begin(strrchr(first, '/'), 2, false);
	CU_ASSERT_FATAL(s->n_ovf_ext > least() && s->n_ovf > 20);
	was = s->n_ovf_ext;
	ipcmap_close(m);
	for (unsigned i = 0; died && i < 10000 * STRIDE; i += STRIDE) {
		copy_file(first, path);
		points_left = i + killed % STRIDE;
		died = !t_ok(t_run(thin_dying_at, (void *)(uintptr_t)path));
		killed += died;
		CU_ASSERT_FATAL(ipcmap_open(path, NULL, &m) == 0);
		s = m->shards;
		CU_ASSERT(s->n_ovf_ext <= was + 2 * least() + 1);
		/* as the dead one left it, then as its successor does */
		CU_ASSERT(wrong(2, false) == 0);
		CU_ASSERT(kit_sound(m));
		thin(true);
		CU_ASSERT(s->n_ovf_ext == least() && aside() == 0 && wrong(2, false) == 0);
		kit_gone(m);
	}
	CU_ASSERT(killed > 10);
	unlink(first);
}
#endif

static CU_TestInfo tests[] = {
	{"thinning frees extents and keeps every key", thin__frees_extents_and_keeps_every_key},
	{"without memory it does what it can", thin__without_memory_does_what_it_can},
	{"what is set aside comes back", thin__what_is_set_aside_comes_back},
	{"writers go on between its steps", thin__writers_go_on_between_its_steps},
#if defined(IM_CHECK) && IM_CHECK
	{"a reader that is overtaken finds its key",
	 thin__reader_that_is_overtaken_finds_its_key},
	{"killed at any point it loses nothing", thin__killed_at_any_point_loses_nothing},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("thin", tests)
