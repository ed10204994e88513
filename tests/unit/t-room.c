/* SPDX-License-Identifier: MIT */
/*
 * t-room.c - writers without what they need: the space lock, an owner slot
 */
#include "kit.h"

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

static CU_TestInfo tests[] = {
	{"a forked child without a slot never writes",
	 room__forked_child_without_a_slot_never_writes},
	{"extents that wait to be freed are not released again",
	 room__extents_that_wait_to_be_freed_are_not_released_again},
	{"writes that need no extent do not wait for the space lock",
	 room__writes_that_need_no_extent_do_not_wait_for_the_space_lock},
	CU_TEST_INFO_NULL,
};
T_SUITE("room", tests)
