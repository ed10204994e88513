/* SPDX-License-Identifier: MIT */
/*
 * t-points-groups.c - killed in a group commit: all of it, or none
 */
#include "points.h"

#include "map.h"
#include "space.h"

static unsigned char keys[40][20];
static struct ipcmap_change changes[40];
static uint32_t n;
static char text[40][64];

static void begin_group(void)
{
	n = 0;
	memset(changes, 0, sizeof(changes));
}

static void add(uint32_t id, const char *val, size_t len)
{
	changes[n].key = keys[n];
	changes[n].key_len = points_make_key(id, keys[n]);
	changes[n].val = val;
	changes[n].val_len = len;
	if (!val)
		changes[n].flags = IPCMAP_CHANGE_DEL;
	n++;
}

static int commit(struct ipcmap *m)
{
	points_step_in();
	return points_step_out(ipcmap_commit(m, changes, n, 0));
}

/* Keys 1 to 6 are there; 7 to 9 are not. */
static void some_keys(struct ipcmap *m)
{
	points_put_many(m, 20, 8, 300);
	for (uint32_t id = 1; id <= 9; id++)
		points_note(id, 0);
	for (uint32_t id = 1; id <= 6; id++)
		T_MUST(points_store(m, id, 100, id, 0) == 0);
}

static int change_some(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	for (uint32_t id = 1; id <= 9; id++) {
		int len = snprintf(text[id], sizeof(text[id]), "group %u", id);

		add(id, id == 2 || id == 5 ? NULL : text[id], id == 2 || id == 5 ? 0 : (size_t)len);
	}
	return commit(m);
}

SCENARIO(group_of_one_shard, "group, one shard", some_keys, change_some, 1, .group = true,
	 .least = 20)
SCENARIO(group_of_shards, "group, four shards", some_keys, change_some, 1, .shards = 4, .group = true,
	 .least = 20)

/* A chain that is full, and new keys for it: slots are made before the commit. */
static void full_bucket(struct ipcmap *m)
{
	points_put_in_bucket(m, 15, 3, 11);
	for (unsigned k = 0; k < ARRAY_LEN(points->aux); k++) {
		points->aux[k] = points_pick(m, 0, 15, 3);
		points_note(points->aux[k], 0);
	}
}

static int many_new(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	for (unsigned k = 0; k < ARRAY_LEN(points->aux); k++)
		add(points->aux[k], "new", 3);
	return commit(m);
}

SCENARIO(group_of_new_keys, "group, new keys of a full bucket", full_bucket, many_new, 1, .group = true,
	 .least = 20)

/* 64 buckets of 9.5 keys fill the first index extent; an extent is ahead for the next. */
static void full_index(struct ipcmap *m)
{
	points_put_many(m, 10, 608, 40);
	if (m->shards[0].ahead >= m->n_extents)
		points_put(m, 1000, 40, 1);
	T_MUST(m->shards[0].ahead < m->n_extents && m->shards[0].n_index == 1);
	for (unsigned k = 0; k < ARRAY_LEN(points->aux); k++) {
		points->aux[k] = 2000 + k;
		points_note(points->aux[k], 0);
	}
}

SCENARIO(group_index, "group, next index extent", full_index, many_new, 1, .group = true,
	 .least = 40, .sampled = true)

/* A large value is replaced by a group, which needs the shard's place for what is to be freed. */
static void one_large(struct ipcmap *m)
{
	points_put_many(m, 20, 8, 300);
	for (uint32_t id = 1; id <= 3; id++)
		points_note(id, 0);
	T_MUST(points_store(m, 1, 20000, 1, 0) == 0);
	T_MUST(points_store(m, 2, 100, 2, 0) == 0);
}

static int replace_large(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	add(1, "short", 5);
	add(2, NULL, 0);
	add(3, "more", 4);
	return commit(m);
}

SCENARIO(group_of_large, "group, large value replaced", one_large, replace_large, 1, .group = true,
	 .least = 20)

/* The first put of a map is a group, of two shards. */
static void nothing(struct ipcmap *m)
{
	(void)m;
	for (uint32_t id = 1; id <= 6; id++)
		points_note(id, 0);
}

static int first_ones(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	for (uint32_t id = 1; id <= 6; id++)
		add(id, "first", 5);
	return commit(m);
}

SCENARIO(group_of_first_keys, "group, the first of a map", nothing, first_ones, 1, .shards = 2, .group = true,
	 .least = 40)

/*
 * Over what is there in every way: in another extent, expired, cleared, large; the last two are
 * of shards of their own, since a group may free one large value in each.
 */
static void all_sorts(struct ipcmap *m)
{
	points_note(1, 0);
	T_MUST(points_store(m, 1, 100, 1, 0) == 0);
	T_MUST(ipcmap_clear(m) == 0);
	points->next_id = 100;
	for (uint32_t i = 0; i < 4; i++) {
		points->aux[i] = points_pick(m, i & 1, 0, 0);
		points_note(points->aux[i], 0);
		T_MUST(points_store(m, points->aux[i], i < 2 ? 200 : 9000, 1, i == 3 ? 1 : 0) == 0);
	}
	points_note(2, 0);
	T_MUST(points_store(m, 2, 100, 1, 1) == 0);
	points_put_many(m, 20, 40, 300);
	t_sleep_ms(60);
}

static int over_all_sorts(struct ipcmap *m, uint32_t i)
{
	(void)i;
	begin_group();
	add(1, "was cleared", 11);
	add(2, "was expired", 11);
	add(points->aux[0], "elsewhere", 9);
	add(points->aux[1], "elsewhere", 9);
	add(points->aux[2], NULL, 0);
	add(points->aux[3], "was large", 9);
	return commit(m);
}

SCENARIO(group_over_all, "group, over all sorts", all_sorts, over_all_sorts, 1, .shards = 2,
	 .group = true, .least = 40, .sampled = true)

/* Nothing changes; the record goes. */
static int refused(struct ipcmap *m, uint32_t i)
{
	int r;

	(void)i;
	begin_group();
	add(1, "new", 3);
	add(2, NULL, 0);
	add(3, "new", 3);
	changes[2].flags = IPCMAP_IF_ABSENT;
	r = commit(m);
	return r != IPCMAP_EXISTS || changes[2].rc != IPCMAP_EXISTS;
}

SCENARIO(group_refused, "group that is refused", some_keys, refused, 1, .shards = 2, .group = true,
	 .least = 10, .sampled = true)

/* No extent is free, but there is garbage: the record has its extent from cleaning. */
static void full_of_garbage(struct ipcmap *m)
{
	some_keys(m);
	points_put_many(m, 100, 300, 700);
	for (uint32_t id = 100; id < 400; id += 2)
		T_MUST(points_del(m, id) == 0);
	points_leave_no_extent(m);
}

SCENARIO(group_full, "group, in a full map", full_of_garbage, change_some, 1, .group = true,
	 .least = 40, .sampled = true)

/* An older group, all stored, whose record could not be freed: the next one does that. */
static void not_ended(struct ipcmap *m)
{
	struct fmt_group head = {FMT_GROUP_MAGIC, sizeof(head) + sizeof(struct fmt_part), 1};
	struct fmt_part part = {.version = m->shards[0].version, .off = sizeof(head) + sizeof(part)};
	struct im_wait wait;
	unsigned char *record;
	uint64_t word, group;
	uint32_t ext;

	some_keys(m);
	for (uint32_t i = 0; i < points->n; i++)
		points->before[i] = points_look(m, points->id[i]);
	im_wait_start(m->seg, 1000000000, &wait);
	T_MUST(im_space_take(m->seg, FMT_NO_EXTENT, &wait, &ext, &word) == 0);
	record = im_seg_extent(m->seg, ext);
	memcpy(record, &head, sizeof(head));
	memcpy(record + sizeof(head), &part, sizeof(part));
	group = fmt_word(FMT_LARGE, FMT_WHO_GROUP, fmt_word_gen(word));
	m->shards[0].group_word = group;
	m->shards[0].group = ext + 1;
	T_MUST(im_cas_full(&m->seg->table[ext].word, word, group));
	im_space_handed_over(m->seg);
	_exit(0);
}

SCENARIO(group_after, "group, after one that was not ended", not_ended, change_some, 1,
	 .group = true, .least = 40, .sampled = true)

/* ---- read together ---- */

/*
 * A writer died with the lock, before it committed: its group is named and will not happen. Who
 * reads several keys has to take the lock to know that.
 */
static void named_by_the_dead(struct ipcmap *m)
{
	some_keys(m);
	for (uint32_t i = 0; i < points->n; i++)
		points->before[i] = points_look(m, points->id[i]);
	for (uint32_t k = 0; k < m->n_shards; k++) {
		m->shards[k].group_word = 77;
		m->shards[k].group = 1;
		m->shards[k].lock = m->seg->self;
	}
	_exit(0);
}

static int read_six(struct ipcmap *m, uint32_t i)
{
	static unsigned char key[6][20], buf[6][256];
	struct ipcmap_mget items[6];

	(void)i;
	for (uint32_t k = 0; k < 6; k++)
		items[k] = (struct ipcmap_mget){.key = key[k],
						.key_len = points_make_key(k + 1, key[k]),
						.value = {.buf = buf[k], .cap = sizeof(buf[k])}};
	points_step_in();
	return points_step_out(ipcmap_mget_consistent(m, items, 6, 0) != 6);
}

SCENARIO(read_together, "consistent get after a dead writer", named_by_the_dead, read_six, 1,
	 .shards = 2, .group = true, .least = 4, .sampled = true)

static CU_TestInfo tests[] = {
	{"killed in a group of one shard", points__group_of_one_shard},
	{"killed in a group of four shards", points__group_of_shards},
	{"killed in a group of new keys", points__group_of_new_keys},
	{"killed in a group that adds to the index", points__group_index},
	{"killed in a group that replaces a large value", points__group_of_large},
	{"killed in the first group of a map", points__group_of_first_keys},
	{"killed in a group over all sorts", points__group_over_all},
	{"killed in a group that is refused", points__group_refused},
	{"killed in a group in a full map", points__group_full},
	{"killed in a group after one that was not ended", points__group_after},
	{"killed in a consistent get that takes over", points__read_together},
	CU_TEST_INFO_NULL,
};
T_SUITE("crash points of groups", tests)
