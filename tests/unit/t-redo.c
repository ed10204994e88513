/* SPDX-License-Identifier: MIT */
/*
 * t-redo.c - redo lists that a dead writer left, or a hostile one
 */
#include "kit.h"

#include "redo.h"

static struct ipcmap *m;
static struct fmt_shard *s;
static struct fmt_redo *list;

#define STORED 77u

/* A list with one store that shows: a counter that nothing depends on. */
static void begin(void)
{
	im_redo_list_start(list);
	im_redo_list_set(m->seg, list, &s->cleaned, STORED);
}

static void add(uint64_t at, uint64_t val)
{
	im_redo_list_pair(list, list->n++, at, val);
}

static void with_map(const char *name)
{
	m = kit_made(name, KIT_MIB, 0, 2);
	s = &m->shards[0];
	list = &s->redo;
	for (uint64_t i = 0; i < 100; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, "v", 1, NULL) == 0);
	}
	CU_ASSERT_FATAL(s->first < m->seg->n_extents && s->cleaned != STORED);
	begin();
}

/* A write in the shard, whose writer finds the list armed. */
static int write_after(void)
{
	for (uint64_t i = 0;; i++) {
		struct kit_key k = kit_key(i);

		if (kit_shard_of(m, k.text, k.len) == 0)
			return ipcmap_put(m, k.text, k.len, "w", 1, NULL);
	}
}

static void done(void)
{
	list->seq += list->seq & 1;
	kit_gone(m);
}

/* ---- what cannot be a list ---- */

/* Nothing of it is stored, and it stays for check to find; readers go on. */
static void refused(void)
{
	uint64_t seq = list->seq |= 1;

	CU_ASSERT(write_after() == IPCMAP_CORRUPT);
	CU_ASSERT(s->cleaned != STORED && list->seq == seq && s->lock == 0);
	CU_ASSERT(ipcmap_exists(m, "k000000001", 10) == 1);
	list->seq++;
	begin();
}

static void redo__stores_out_of_bounds_are_not_made(void)
{
	uint64_t user;

	with_map(T_NAME);
	user = (uint64_t)(m->seg->user - m->seg->base);
	add(user - 8, 1); /* the counter lines */
	refused();
	add(m->seg->len, 1);
	refused();
	add(UINT64_MAX - 7, 1);
	refused();
	add(m->seg->len | FMT_REDO_32, 1);
	refused();
	add(user + 4, 1); /* across two words */
	refused();
	add((user + 2) | FMT_REDO_32, 1);
	refused();
	im_redo_list_word(list, m->seg->n_extents, 1, 2);
	refused();
	done();
}

/* A list that was found sane may change before it is stored: each store is bounded for itself. */
static void redo__each_store_ends_within_the_segment(void)
{
	uint64_t user, len, *first, *last, *before, was, line;

	with_map(T_NAME);
	user = (uint64_t)(m->seg->user - m->seg->base);
	len = m->seg->len;
	first = (uint64_t *)(void *)(m->seg->base + user);
	last = (uint64_t *)(void *)(m->seg->base + len) - 1;
	before = first - 1;
	was = *first;
	line = *before;
	im_redo_list_start(list);
	add(user, 5);
	add(len - 8, UINT64_C(0x100000002));
	CU_ASSERT(im_redo_list_run(m->seg, list) && *first == 5 && *last == UINT64_C(0x100000002));
	im_redo_list_start(list);
	add(user | FMT_REDO_32, 6);
	add((len - 4) | FMT_REDO_32, 3);
	CU_ASSERT(im_redo_list_run(m->seg, list) && *first == 6 && *last == UINT64_C(0x300000002));
	im_redo_list_start(list);
	add(user, was);
	add(user - 8, 7);
	add((user - 4) | FMT_REDO_32, 7);
	add(user - 1, 7);
	add(len, 7);
	add(len | FMT_REDO_32, 7);
	add(UINT64_MAX - 7, 7);
	add(UINT64_MAX, 7);
	CU_ASSERT(im_redo_list_run(m->seg, list));
	CU_ASSERT(*first == was && *before == line && *last == UINT64_C(0x300000002));
	im_redo_list_start(list);
	for (unsigned i = 2; i < 8; i += 2)
		add(len - i, 9); /* moved down to where it fits */
	CU_ASSERT(im_redo_list_run(m->seg, list) && *last == 9);
	begin();
	done();
}

/* Even if what lies behind the list looks like more of it. */
static void redo__list_longer_than_its_place_is_not_stored(void)
{
	uint64_t *behind, kept[2];

	with_map(T_NAME);
	behind = (uint64_t *)(void *)&list->store[FMT_REDO_MAX];
	while (list->n < FMT_REDO_MAX)
		im_redo_list_set(m->seg, list, &s->cleaned, STORED);
	memcpy(kept, behind, sizeof(kept));
	memcpy(behind, &list->store[0], sizeof(kept));
	list->n = FMT_REDO_MAX + 1;
	list->seq |= 1;
	CU_ASSERT(write_after() == IPCMAP_CORRUPT && s->cleaned != STORED);
	memcpy(behind, kept, sizeof(kept));
	done();
}

/* ---- the word of an extent that may have been freed ---- */

static void redo__list_whose_extent_was_freed_is_dropped(void)
{
	uint64_t word;

	with_map(T_NAME);
	word = m->seg->table[s->first].word;
	im_redo_list_word(list, s->first, word + (UINT64_C(1) << 16),
			  word + (UINT64_C(2) << 16));
	list->seq |= 1;
	CU_ASSERT(write_after() == 0);
	CU_ASSERT(s->cleaned != STORED && m->seg->table[s->first].word == word);
	CU_ASSERT(!(list->seq & 1));
	done();
}

static void redo__list_that_was_begun_is_stored_again(void)
{
	uint64_t word;

	with_map(T_NAME);
	word = m->seg->table[s->first].word;
	im_redo_list_word(list, s->first, word - (UINT64_C(1) << 16), word);
	list->seq |= 1;
	CU_ASSERT(write_after() == 0);
	CU_ASSERT(s->cleaned == STORED && m->seg->table[s->first].word == word);
	CU_ASSERT(!(list->seq & 1));
	done();
}

static CU_TestInfo tests[] = {
	{"stores out of bounds are not made", redo__stores_out_of_bounds_are_not_made},
	{"each store ends within the segment", redo__each_store_ends_within_the_segment},
	{"a list longer than its place is not stored",
	 redo__list_longer_than_its_place_is_not_stored},
	{"a list whose extent was freed is dropped",
	 redo__list_whose_extent_was_freed_is_dropped},
	{"a list that was begun is stored again", redo__list_that_was_begun_is_stored_again},
	CU_TEST_INFO_NULL,
};
T_SUITE("redo", tests)
