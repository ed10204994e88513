/* SPDX-License-Identifier: MIT */
/*
 * t-room.c - writers without what they need: the space lock, an owner slot; full shards; the
 * ways of extents
 */
#include "kit.h"

#include "crash.h"

#include <signal.h>
#include <unistd.h>

static struct ipcmap *m;

/* Attached, and alive until it is killed: tells its owner word. */
static int be_an_owner(void *arg)
{
	volatile uint32_t *word = arg;
	struct ipcmap *mine;

	if (ipcmap_open(m->seg->name, NULL, &mine))
		return 1;
	*word = mine->seg->self;
	for (;;)
		pause();
}

static pid_t stopped_holder(volatile uint32_t *word)
{
	pid_t pid = t_run(be_an_owner, (void *)word);

	for (unsigned i = 0; i < 1000 && !*word; i++)
		t_sleep_ms(1);
	CU_ASSERT_FATAL(*word != 0);
	return pid;
}

static int put_number(uint64_t i, uint32_t len)
{
	static const unsigned char val[4096];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.deadline_ns = 200000000;
	return ipcmap_put(m, &i, sizeof(i), val, len, &how);
}

/*
 * Deletes that empty extents, with the space lock taken by a live process: the extents wait to
 * be freed. They were once still taken for log extents, chosen as victims, and unlinked again.
 */
static void room__extents_that_wait_to_be_freed_are_not_released_again(void)
{
	volatile uint32_t *word = t_shared(sizeof(*word));
	struct ipcmap_stat s;
	unsigned failed = 0;
	uint64_t i, n;
	pid_t pid;

	m = kit_made(T_NAME, 2 * KIT_MIB, 0, 1);
	for (n = 0; n < 1000; n++)
		failed += put_number(n, 1000) != 0;
	CU_ASSERT(failed == 0);
	pid = stopped_holder(word);
	im_store32_rel(&m->seg->h->space.lock, *word);
	for (i = 0; i < 600; i++)
		failed += ipcmap_del(m, &i, sizeof(i)) != 0;
	CU_ASSERT(failed == 0 && m->shards[0].free_n == 1);
	for (i = 700; i < 1000; i += 2)
		failed += put_number(i, 900) != 0; /* cleaning goes on meanwhile */
	im_store32_rel(&m->seg->h->space.lock, 0);
	for (i = 600; i < 1000; i++)
		failed += put_number(i, 1000) != 0;
	CU_ASSERT(failed == 0 && kit_sound(m));
	for (i = 600; i < 1000; i++)
		failed += ipcmap_del(m, &i, sizeof(i)) != 0;
	s = kit_stat(m);
	CU_ASSERT(failed == 0 && s.entries == 0 && s.log_len <= 8 * s.extent_len);
	t_kill(pid);
	t_shared_free((void *)word, sizeof(*word));
	kit_gone(m);
}

/* A write that needs no extent does not wait for the space lock (G4). */
static void room__writes_that_need_no_extent_do_not_wait_for_the_space_lock(void)
{
	volatile uint32_t *word = t_shared(sizeof(*word));
	unsigned failed = 0;
	uint64_t before;
	pid_t pid;

	m = kit_made(T_NAME, 2 * KIT_MIB, 0, 1);
	CU_ASSERT(put_number(1, 4000) == 0 && put_number(2, 10) == 0);
	pid = stopped_holder(word);
	im_store32_rel(&m->seg->h->space.lock, *word);
	CU_ASSERT(ipcmap_del(m, &(uint64_t){1}, sizeof(uint64_t)) == 0);
	before = m->seg->h->space.takeovers;
	for (unsigned i = 0; i < 20; i++)
		failed += put_number(2, 10) != 0;
	/* 20 waits of 200 ms would be told by the sleeps counted, not by the clock */
	CU_ASSERT(failed == 0 && kit_stat(m).waits == 0);
	CU_ASSERT(m->seg->h->space.takeovers == before);
	im_store32_rel(&m->seg->h->space.lock, 0);
	t_kill(pid);
	t_shared_free((void *)word, sizeof(*word));
	kit_gone(m);
}

/* The parent's map, without a descriptor or a name to reopen it by. */
static int write_without_a_slot(void *arg)
{
	char buf[16];
	uint64_t key = 1;
	size_t len;

	(void)arg;
	for (unsigned i = 0; i < 3; i++) {
		if (put_number(1, 8) != IPCMAP_PERM || put_number(1, 4000) != IPCMAP_PERM ||
		    ipcmap_del(m, &key, sizeof(key)) != IPCMAP_PERM)
			return 1;
		if (ipcmap_get(m, &key, sizeof(key), buf, sizeof(buf), &len) || len != 10)
			return 2;
	}
	return ipcmap_why(m)[0] ? 0 : 3;
}

static int fork_without_descriptors(void *arg)
{
	(void)arg;
	if (ipcmap_open(m->seg->name, NULL, &m) || put_number(1, 10) ||
	    unlink(m->seg->name))
		return 4;
	closefrom(3);
	return t_ok(t_run(write_without_a_slot, NULL)) ? 0 : 5;
}

/* Its first write was refused, and the next ones went on without any lock. */
static void room__forked_child_without_a_slot_never_writes(void)
{
	struct ipcmap *kept = m = kit_made(T_NAME, 2 * KIT_MIB, 0, 1);

	CU_ASSERT(t_ok(t_run(fork_without_descriptors, NULL)));
	m = kept;
	CU_ASSERT(kit_entries(m) == 1);
	kit_gone(m);
}

/* A length of @least to @most, always the same for a key; patient. */
static int put_some(uint64_t i, uint64_t least, uint64_t most)
{
	static const unsigned char val[4096];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.deadline_ns = 60 * KIT_SEC;
	return ipcmap_put(m, &i, sizeof(i), val, least + i * 97 % (most - least + 1), &how);
}

/* 1 MiB filled to the limit: each key can then be written again, and again. */
static void full_shard(const char *name, uint64_t least, uint64_t most)
{
	uint64_t n = 0;
	int r;

	m = kit_made(name, KIT_MIB, KIT_MIB, 1);
	while ((r = put_some(n, least, most)) == 0)
		n++;
	CU_ASSERT(r == IPCMAP_LIMIT && n > 100);
	r = 0;
	for (uint64_t i = 0; i < 4 * n && r == 0; i++)
		r = put_some(i * 7 % n, least, most);
	CU_ASSERT(r == 0);
	kit_gone(m);
}

/* The reserve inequality of room.c: what is live leaves so much that cleaning gains. */
static void room__full_shard_takes_updates_of_every_key(void)
{
	full_shard(T_NAME, 100, 100);
	full_shard(T_NAME, 1000, 1000);
	full_shard(T_NAME, 1100, 1900); /* wide entries waste the ends of extents */
}

#if defined(IM_CHECK) && IM_CHECK

/* ---- each time a head is opened ---- */

static uint64_t *lives; /* by extent: its generation as a head */
static uint32_t heads[FMT_HEADS];
static unsigned opened, same_life;

static void look_at_heads(const char *point)
{
	const struct fmt_shard *s = m->shards;

	if (strcmp(point, "room.opened") != 0)
		return;
	for (unsigned h = 0; h < FMT_HEADS; h++) {
		uint32_t ext = s->head[h];
		uint64_t gen;

		if (ext == heads[h] || ext == FMT_NO_EXTENT)
			continue;
		heads[h] = ext;
		gen = fmt_word_gen(m->seg->table[ext].word) + 1; /* 0: never */
		same_life += gen <= lives[ext];
		lives[ext] = gen;
		opened++;
	}
}

static void watch_heads(bool on)
{
	im_crash_hook = on ? look_at_heads : NULL;
	if (!on) {
		free(lives);
		return;
	}
	lives = calloc(m->seg->n_extents, sizeof(*lives));
	memcpy(heads, m->shards[0].head, sizeof(heads));
	opened = same_life = 0;
}

/* Updates of 300 keys, of all there is room for or of no more. */
static void look_at_heads_of(const char *name, uint64_t mib, bool full)
{
	uint64_t x = 5;
	int r = 0;

	m = kit_made(name, mib * KIT_MIB, mib * KIT_MIB, 1);
	watch_heads(true);
	for (uint64_t n = 0; (full || n < 300) && put_some(n, 500, 1500) == 0; n++)
		;
	for (uint64_t i = 0; i < T_AMOUNT(20000u, 5000u, 1000u) && r == 0; i++)
		r = put_some(kit_below(&x, 300), 500, 1500);
	CU_ASSERT(r == 0);
	watch_heads(false);
	CU_ASSERT(opened > T_AMOUNT(1000u, 200u, 50u));
	CU_ASSERT(same_life == 0);
	kit_gone(m);
}

/* Readers tell the lives of an extent by its generation, also when it never left its shard. */
static void room__heads_are_of_another_life_each_time(void)
{
	look_at_heads_of(T_NAME, 1, true);
	look_at_heads_of(T_NAME, 16, false);
}

/* ---- an extent on its way to a shard ---- */

static void die_when_armed(const char *point)
{
	if (strcmp(point, "redo.armed") == 0)
		raise(SIGKILL);
}

/* The first list of the first write takes the extent that was fetched for it. */
static int fetch_and_die(void *arg)
{
	(void)arg;
	im_crash_hook = die_when_armed;
	put_number(1, 10);
	return 0;
}

/* It is freed by a sweep before the list is found: then the list never began. */
static void room__extent_freed_on_its_way_stays_free(void)
{
	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(t_killed(t_run(fetch_and_die, NULL)));
	CU_ASSERT(m->shards[0].redo.seq == 1 && m->seg->h->space.used == 1);
	im_owner_sweep(m->seg);
	CU_ASSERT(m->seg->h->space.used == 0);
	CU_ASSERT(put_number(1, 10) == 0 && kit_sound(m) && kit_entries(m) == 1);
	kit_gone(m);
}

#endif

static CU_TestInfo tests[] = {
	{"a full shard takes updates of every key",
	 room__full_shard_takes_updates_of_every_key},
	{"a forked child without a slot never writes",
	 room__forked_child_without_a_slot_never_writes},
	{"extents that wait to be freed are not released again",
	 room__extents_that_wait_to_be_freed_are_not_released_again},
	{"writes that need no extent do not wait for the space lock",
	 room__writes_that_need_no_extent_do_not_wait_for_the_space_lock},
#if defined(IM_CHECK) && IM_CHECK
	{"heads are of another life each time", room__heads_are_of_another_life_each_time},
	{"an extent freed on its way stays free", room__extent_freed_on_its_way_stays_free},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("room", tests)
