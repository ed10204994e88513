/* SPDX-License-Identifier: MIT */
/*
 * t-commit.c - groups of changes: conditions, limits, what they leave
 */
#include "kit.h"

static struct ipcmap *m;

#define HOUR (UINT64_C(3600) * 1000000000)

static struct ipcmap_change put_of(const char *key, const char *val)
{
	return (struct ipcmap_change){
		.key = key, .key_len = strlen(key), .val = val, .val_len = strlen(val)};
}

static struct ipcmap_change del_of(const char *key)
{
	return (struct ipcmap_change){
		.key = key, .key_len = strlen(key), .flags = IPCMAP_CHANGE_DEL};
}

static bool has(const char *key, const char *want)
{
	char buf[100];
	size_t len = 0;
	int r = ipcmap_get(m, key, strlen(key), buf, sizeof(buf), &len);

	return want ? r == 0 && len == strlen(want) && memcmp(buf, want, len) == 0
		    : r == IPCMAP_NOTFOUND;
}

static uint64_t version_of(const char *key)
{
	struct ipcmap_value v = {0};
	int r = ipcmap_getx(m, key, strlen(key), &v);

	return r == 0 || r == IPCMAP_SHORT ? v.version : 0;
}

static void commit__puts_and_deletes_happen_together(void)
{
	struct ipcmap_change c[] = {put_of("a", "1"), put_of("b", "2"), del_of("c"), del_of("d")};
	struct ipcmap_stat before, after;

	m = kit_made(T_NAME, KIT_MIB, 0, 4);
	CU_ASSERT(kit_put(m, "b", "old") == 0 && kit_put(m, "c", "old") == 0);
	before = kit_stat(m);
	CU_ASSERT(ipcmap_commit(m, c, 4, 0) == 0);
	CU_ASSERT(has("a", "1") && has("b", "2") && has("c", NULL) && has("d", NULL));
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT(c[i].rc == 0);
	CU_ASSERT(c[0].version == version_of("a") && c[1].version == version_of("b"));
	after = kit_stat(m);
	CU_ASSERT(kit_entries(m) == 2 && after.puts == before.puts + 2);
	for (unsigned i = 0; i < 2000; i++)
		CU_ASSERT(ipcmap_commit(m, c, 4, 0) == 0);
	/* the records went back */
	CU_ASSERT(kit_stat(m).used < after.used + 40 * after.extent_len);
	kit_gone(m);
}

/* Compare and swap over three keys. */
static void commit__unmet_condition_changes_nothing(void)
{
	struct ipcmap_change c[] = {put_of("a", "1"), put_of("b", "2"), put_of("c", "3")};

	m = kit_made(T_NAME, KIT_MIB, 0, 2);
	CU_ASSERT(kit_put(m, "a", "old") == 0 && kit_put(m, "b", "old") == 0);
	for (unsigned i = 0; i < 2; i++) {
		c[i].flags = IPCMAP_IF_VERSION;
		c[i].version = version_of(c[i].key);
	}
	c[2].flags = IPCMAP_IF_ABSENT;
	CU_ASSERT(ipcmap_commit(m, c, 3, 0) == 0);
	CU_ASSERT(has("a", "1") && has("b", "2") && has("c", "3"));
	/* versions are those of the writes now: "b" is changed meanwhile, "c" is there */
	c[0].val = c[1].val = c[2].val = "x";
	CU_ASSERT(kit_put(m, "b", "other") == 0);
	CU_ASSERT(ipcmap_commit(m, c, 3, 0) < 0);
	CU_ASSERT(c[0].rc == 0 && c[1].rc == IPCMAP_MISMATCH && c[2].rc == IPCMAP_EXISTS);
	CU_ASSERT(has("a", "1") && has("b", "other") && has("c", "3"));
	c[0] = del_of("nobody");
	c[0].flags |= IPCMAP_IF_PRESENT;
	CU_ASSERT(ipcmap_commit(m, c, 1, 0) == IPCMAP_NOTFOUND && c[0].rc == IPCMAP_NOTFOUND);
	c[0].flags = IPCMAP_CHANGE_DEL;
	CU_ASSERT(ipcmap_commit(m, c, 1, 0) == 0);
	kit_gone(m);
}

static void commit__lives_and_types_are_stored(void)
{
	struct ipcmap_change c[] = {put_of("a", "1"), put_of("b", "2"), put_of("c", "3")};
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char buf[10];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	how.ttl_ns = 2 * HOUR;
	CU_ASSERT(ipcmap_put(m, "b", 1, "old", 3, &how) == 0);
	c[0].ttl_ns = HOUR;
	c[0].type = 7;
	c[1].ttl_ns = IPCMAP_TTL_KEEP;
	CU_ASSERT(ipcmap_commit(m, c, 3, 0) == 0);
	CU_ASSERT(ipcmap_getx(m, "a", 1, &v) == 0 && v.type == 7 && v.ttl_left_ns <= HOUR);
	CU_ASSERT(ipcmap_getx(m, "b", 1, &v) == 0 && v.ttl_left_ns > HOUR &&
		  v.ttl_left_ns <= 2 * HOUR);
	CU_ASSERT(ipcmap_getx(m, "c", 1, &v) == 0 && v.ttl_left_ns == IPCMAP_TTL_NONE);
	kit_gone(m);
}

static void commit__wrong_groups_are_refused(void)
{
	struct ipcmap_change c[] = {put_of("a", "1"), put_of("b", "2"), put_of("a", "3")};
	static struct ipcmap_change many[IPCMAP_COMMIT_MAX + 1];
	static char big[60000];
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	const char *name = T_NAME;
	struct ipcmap *r;

	m = kit_made(name, KIT_MIB, 0, 1);
	CU_ASSERT(ipcmap_commit(m, c, 3, 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_commit(m, c, 0, 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_commit(m, NULL, 1, 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_commit(NULL, c, 1, 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_commit(m, many, IPCMAP_COMMIT_MAX + 1, 0) == IPCMAP_INVALID);
	c[0].flags = IPCMAP_IF_EQUAL;
	CU_ASSERT(ipcmap_commit(m, c, 1, 0) == IPCMAP_INVALID);
	c[0].flags = IPCMAP_CHANGE_DEL; /* and a value */
	CU_ASSERT(ipcmap_commit(m, c, 1, 0) == IPCMAP_INVALID);
	c[0] = put_of("a", "");
	c[0].key_len = 0;
	CU_ASSERT(ipcmap_commit(m, c, 2, 0) == IPCMAP_INVALID);
	c[0] = put_of("a", "1");
	c[0].val = big;
	c[0].val_len = m->seg->extent_len / 2;
	CU_ASSERT(ipcmap_commit(m, c, 2, 0) == IPCMAP_TOOBIG);
	c[0].val_len = c[1].val_len = m->seg->extent_len / 4;
	c[1].val = big;
	CU_ASSERT(ipcmap_commit(m, c, 2, 0) == IPCMAP_TOOBIG); /* together */
	CU_ASSERT(kit_entries(m) == 0);
	/* two large values of one shard */
	CU_ASSERT(ipcmap_put(m, "a", 1, big, sizeof(big), NULL) == 0);
	CU_ASSERT(ipcmap_put(m, "b", 1, big, sizeof(big), NULL) == 0);
	c[0] = del_of("a");
	c[1] = del_of("b");
	CU_ASSERT(ipcmap_commit(m, c, 2, 0) == IPCMAP_TOOBIG && kit_entries(m) == 2);
	CU_ASSERT(ipcmap_commit(m, c, 1, 0) == 0 && ipcmap_commit(m, c + 1, 1, 0) == 0);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &r) == 0);
	CU_ASSERT(ipcmap_commit(r, c, 1, 0) == IPCMAP_READONLY);
	ipcmap_close(r);
	kit_gone(m);
}

/* As many as there may be, all new, into two shards, again and again over growth. */
static void commit__many_new_keys(void)
{
	static struct ipcmap_change c[IPCMAP_COMMIT_MAX];
	static struct kit_key keys[IPCMAP_COMMIT_MAX];
	uint64_t n = 0;

	m = kit_made(T_NAME, 64 * KIT_MIB, 0, 2);
	for (unsigned round = 0; round < T_AMOUNT(60u, 20u, 4u); round++) {
		for (unsigned i = 0; i < IPCMAP_COMMIT_MAX; i++) {
			keys[i] = kit_key(n++);
			c[i] = (struct ipcmap_change){.key = keys[i].text,
						      .key_len = keys[i].len,
						      .flags = IPCMAP_IF_ABSENT};
		}
		CU_ASSERT(ipcmap_commit(m, c, IPCMAP_COMMIT_MAX, 0) == 0);
	}
	CU_ASSERT(kit_entries(m) == n);
	for (unsigned i = 0; i < IPCMAP_COMMIT_MAX; i++)
		c[i].flags = IPCMAP_CHANGE_DEL | IPCMAP_IF_PRESENT;
	CU_ASSERT(ipcmap_commit(m, c, IPCMAP_COMMIT_MAX, 0) == 0);
	CU_ASSERT(kit_entries(m) == n - IPCMAP_COMMIT_MAX);
	kit_gone(m);
}

/* At the limit a group is refused whole; deletes of groups make room again. */
static void commit__full_map_refuses_the_whole_group(void)
{
	struct ipcmap_change c[2];
	static char val[900];
	uint64_t n = 0;
	int r = 0;

	m = kit_made(T_NAME, KIT_MIB, KIT_MIB, 2);
	for (; r == 0 && n < 10000; n++) {
		struct kit_key a = kit_key(2 * n), b = kit_key(2 * n + 1);

		c[0] = (struct ipcmap_change){a.text, a.len, val, sizeof(val), 0, 0, 0, 0, 0};
		c[1] = (struct ipcmap_change){b.text, b.len, val, sizeof(val), 0, 0, 0, 0, 0};
		r = ipcmap_commit(m, c, 2, 0);
	}
	CU_ASSERT(r == IPCMAP_LIMIT && kit_entries(m) == 2 * (n - 1) && n > 200);
	CU_ASSERT(kit_sound(m));
	/* updates of what is there go on, and deletes */
	for (uint64_t i = 0; i + 1 < n; i++) {
		struct kit_key a = kit_key(2 * i), b = kit_key(2 * i + 1);

		c[0] = (struct ipcmap_change){a.text, a.len, val, sizeof(val) - 10, 0, 0, 0, 0, 0};
		c[1] = (struct ipcmap_change){b.text, b.len, val, sizeof(val) - 10, 0, 0, 0, 0, 0};
		r = ipcmap_commit(m, c, 2, 0);
		CU_ASSERT(r == 0 || r == IPCMAP_LIMIT); /* the record needs an extent */
	}
	kit_gone(m);
}

static void commit__works_under_a_prefix(void)
{
	struct ipcmap_change c[] = {put_of("a", "1"), put_of("b", "2")};
	char buf[2][8];
	struct ipcmap_mget items[] = {{.key = "a", .key_len = 1, .value = {.buf = buf[0], .cap = 8}},
				      {.key = "b", .key_len = 1, .value = {.buf = buf[1], .cap = 8}}};
	struct ipcmap *sub;

	m = kit_made(T_NAME, KIT_MIB, 0, 2);
	CU_ASSERT_FATAL(ipcmap_open_prefix(m, "t/", 2, &sub) == 0);
	CU_ASSERT(ipcmap_commit(sub, c, 2, 0) == 0 && has("t/a", "1") && has("t/b", "2"));
	CU_ASSERT(c[1].version == version_of("t/b"));
	CU_ASSERT(ipcmap_mget_consistent(sub, items, 2, 0) == 2);
	CU_ASSERT(items[1].rc == 0 && items[1].value.len == 1 && buf[1][0] == '2');
	ipcmap_close(sub);
	kit_gone(m);
}

static void commit__consistent_read_is_as_any_other(void)
{
	static char big[9000];
	char buf[4][16];
	struct ipcmap_mget items[4];
	static const char *const key[] = {"there", "short", "none", "large"};

	m = kit_made(T_NAME, KIT_MIB, 0, 2);
	CU_ASSERT(kit_put(m, "there", "value") == 0);
	CU_ASSERT(kit_put(m, "short", "a value that is too long for it") == 0);
	CU_ASSERT(ipcmap_put(m, "large", 5, big, sizeof(big), NULL) == 0);
	for (unsigned i = 0; i < 4; i++)
		items[i] = (struct ipcmap_mget){.key = key[i],
						.key_len = strlen(key[i]),
						.value = {.buf = buf[i], .cap = sizeof(buf[i])}};
	CU_ASSERT(ipcmap_mget_consistent(m, items, 4, 0) == 1);
	CU_ASSERT(items[0].rc == 0 && items[0].value.len == 5 && items[0].value.version > 0);
	CU_ASSERT(items[1].rc == IPCMAP_SHORT && items[1].value.len == 31);
	CU_ASSERT(items[2].rc == IPCMAP_NOTFOUND);
	CU_ASSERT(items[3].rc == IPCMAP_SHORT && items[3].value.len == sizeof(big));
	CU_ASSERT(ipcmap_mget_consistent(m, items, 0, 0) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_mget_consistent(m, items, IPCMAP_COMMIT_MAX + 1, 0) == IPCMAP_INVALID);
	items[2].key_len = 0;
	CU_ASSERT(ipcmap_mget_consistent(m, items, 4, 0) == IPCMAP_INVALID);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"puts and deletes happen together", commit__puts_and_deletes_happen_together},
	{"an unmet condition changes nothing", commit__unmet_condition_changes_nothing},
	{"lives and types are stored", commit__lives_and_types_are_stored},
	{"wrong groups are refused", commit__wrong_groups_are_refused},
	{"many new keys", commit__many_new_keys},
	{"a full map refuses the whole group", commit__full_map_refuses_the_whole_group},
	{"a group works under a prefix", commit__works_under_a_prefix},
	{"a consistent read is as any other", commit__consistent_read_is_as_any_other},
	CU_TEST_INFO_NULL,
};
T_SUITE("commit", tests)
