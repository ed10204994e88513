/* SPDX-License-Identifier: MIT */
/*
 * t-points-fill.c - killed while a lease is taken, ends, or is voided by a write
 */
#include "points.h"

#include "lease.h"
#include "map.h"

#include <signal.h>

#define HOUR UINT64_C(3600000000000)
#define SEC UINT64_C(1000000000)

static int fill_1(struct ipcmap *m, const void *val, size_t len)
{
	struct ipcmap_value v = {0};
	struct ipcmap_lease l;
	unsigned char key[20];
	size_t n = points_make_key(1, key);
	int r;

	points_step_in();
	r = ipcmap_lease(m, key, n, NULL, &l, &v);
	if (r == IPCMAP_LEAD)
		r = ipcmap_lease_put(m, key, n, &l, val, len, NULL);
	return points_step_out(r);
}

static int fill_short(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return fill_1(m, "loaded", 6);
}

static int fill_large(struct ipcmap *m, uint32_t i)
{
	static unsigned char val[9000];

	(void)i;
	load_make(val, sizeof(val), 1, 0, 1);
	return fill_1(m, val, sizeof(val));
}

static void twenty_without_1(struct ipcmap *m)
{
	points_put_many(m, 2, 20, 60);
	points_note(1, 0);
}

/* Its life is over. */
static void one_expired(struct ipcmap *m)
{
	twenty_without_1(m);
	T_MUST(points_store(m, 1, 60, 1, 20000000) == 0);
	while (points_look(m, 1).r == 0)
		t_sleep_ms(5);
}

SCENARIO(fill, "fill", twenty_without_1, fill_short, 1, .least = 14, .leased = true)
SCENARIO(fill_large, "fill, large value", twenty_without_1, fill_large, 1, .least = 40,
	 .leased = true)
SCENARIO(fill_expired, "fill, of an expired key", one_expired, fill_short, 1, .least = 14,
	 .leased = true)

/* ---- failures ---- */

static int fail_1(struct ipcmap *m, const struct ipcmap_lease *l, int err)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	unsigned char key[20];

	how.negative_ttl_ns = HOUR;
	how.backoff_ns = how.backoff_max_ns = HOUR;
	points_step_in();
	return points_step_out(
		ipcmap_lease_fail(m, key, points_make_key(1, key), l, &how, err));
}

static int fail(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_lease l = points_lead(m, 1, NULL);

	(void)i;
	return fail_1(m, &l, -EIO);
}

static int find_none(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_lease l = points_lead(m, 1, NULL);

	(void)i;
	return fail_1(m, &l, IPCMAP_NOTFOUND);
}

SCENARIO(fill_fails, "fill that fails", twenty_without_1, fail, 1, .least = 4, .leased = true,
	 .failing = true)
SCENARIO(fill_none, "fill with a negative result", twenty_without_1, find_none, 1, .least = 14,
	 .leased = true)

/* It failed already; who asks again is told so at once, then loads, and fails once more. */
static void failed_once(struct ipcmap *m)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_lease l;
	unsigned char key[20];

	twenty_without_1(m);
	l = points_lead(m, 1, NULL);
	how.backoff_ns = how.backoff_max_ns = HOUR;
	T_MUST(ipcmap_lease_fail(m, key, points_make_key(1, key), &l, &how, -EIO) == 0);
}

static int fail_again(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_value v = {0};
	unsigned char key[20];
	size_t n = points_make_key(1, key);
	struct ipcmap_lease l;
	int r;

	if (i == 1) { /* the time of waiting is over */
		for (uint32_t k = 0; k < FMT_LEASES; k++)
			m->leases[k].retry = 1;
		return 0;
	}
	points_step_in();
	r = ipcmap_lease(m, key, n, NULL, &l, &v);
	points_step_out(0);
	if (i == 0)
		return r != -EIO;
	return r == IPCMAP_LEAD ? fail_1(m, &l, -EIO) : 1;
}

SCENARIO(fails_again, "fill that fails again", failed_once, fail_again, 3, .least = 6,
	 .sampled = true, .leased = true, .failing = true)

/* ---- the leader is dead, or late ---- */

/* Leads for the keys from @id on, and dies. */
static int lead_and_die(void *arg)
{
	struct ipcmap *m;
	const uint32_t *ids = arg;

	T_MUST(ipcmap_open(points_name, NULL, &m) == 0);
	for (uint32_t i = ids[0]; i < ids[1]; i++)
		points_lead(m, i, NULL);
	kill(getpid(), SIGKILL);
	return 0;
}

static void dead_leaders(struct ipcmap *m, uint32_t from, uint32_t to)
{
	uint32_t ids[] = {from, to};

	twenty_without_1(m);
	T_MUST(t_killed(t_run(lead_and_die, ids)));
}

static void dead_leader(struct ipcmap *m)
{
	dead_leaders(m, 1, 2);
}

static void table_full_of_the_dead(struct ipcmap *m)
{
	dead_leaders(m, 1001, 1001 + FMT_LEASES);
}

SCENARIO(dead, "fill, the leader is dead", dead_leader, fill_short, 1, .least = 14,
	 .sampled = true, .leased = true)
SCENARIO(full_of_dead, "fill, the table is full of the dead", table_full_of_the_dead,
	 fill_short, 1, .least = 14, .sampled = true, .leased = true)

/* Its time is over, and it lives: another leads, and what it loaded is refused. */
static int take_from_the_late(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	static struct ipcmap_lease late;
	unsigned char key[20];
	size_t n = points_make_key(1, key);

	how.lease_ns = 1;
	if (i == 0) {
		late = points_lead(m, 1, &how);
		t_sleep_ms(12);
		return 0;
	}
	if (i == 1)
		return fill_short(m, 0);
	points_step_in();
	return points_step_out(ipcmap_lease_put(m, key, n, &late, "late", 4, NULL) !=
			       IPCMAP_MISMATCH);
}

static void twenty_without_1_yet(struct ipcmap *m)
{
	twenty_without_1(m);
	points_note(1, 1);
}

SCENARIO(late, "fill, the leader is late", twenty_without_1_yet, take_from_the_late, 3,
	 .least = 18, .sampled = true, .leased = true)

/* Nobody else can lead in the shard; who wants to waits, and what is done is refused at once.
 */
static int ask_when_full(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_value v = {0};
	struct ipcmap_lease l;
	unsigned char key[20];
	int r;

	for (uint32_t k = 0; i == 0 && k < FMT_LEASES; k++)
		points_lead(m, 1001 + k, NULL);
	if (i == 0)
		return 0;
	how.deadline_ns = SEC / 1000;
	points_step_in();
	r = ipcmap_lease(m, key, points_make_key(i == 1 ? 1 : 1001, key), &how, &l, &v);
	return points_step_out(r != IPCMAP_BUSY);
}

SCENARIO(full, "lease, the table is full", twenty_without_1, ask_when_full, 3, .least = 4,
	 .sampled = true, .leased = true)

/* What was loaded is longer than the map: the lease ends, and nothing is stored. */
static int fill_too_much(struct ipcmap *m, uint32_t i)
{
	static const unsigned char val[1u << 20];
	struct ipcmap_lease l;
	unsigned char key[20];

	if (i)
		return points_store(m, 1010, 60, 1, 0);
	l = points_lead(m, 1, NULL);
	points_step_in();
	return points_step_out(ipcmap_lease_put(m, key, points_make_key(1, key), &l, val,
						sizeof(val), NULL) != IPCMAP_TOOBIG);
}

static void without_1_and_another(struct ipcmap *m)
{
	twenty_without_1(m);
	points_note(1010, 1);
}

SCENARIO(too_much, "fill that is too long", without_1_and_another, fill_too_much, 2,
	 .least = 16, .sampled = true, .leased = true)

/* ---- writes that void a lease ---- */

static int put_over_lease(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_lead(m, 1, NULL);
	return points_store(m, 1, 60, 1, 0);
}

/* The key is not there, and its lease goes; then that is acknowledged. */
static int del_under_lease(struct ipcmap *m, uint32_t i)
{
	if (i)
		return points_store(m, 1010, 60, 1, 0);
	points_lead(m, 1, NULL);
	return points_del(m, 1) != IPCMAP_NOTFOUND;
}

static void expired_and_another(struct ipcmap *m)
{
	one_expired(m);
	points_note(1010, 1);
}

static int add_under_lease(struct ipcmap *m, uint32_t i)
{
	unsigned char key[20];
	size_t n = points_make_key(1, key);

	(void)i;
	points_lead(m, 1, NULL);
	points_step_in();
	return points_step_out(ipcmap_add(m, key, n, 5, NULL, NULL));
}

static int commit_under_lease(struct ipcmap *m, uint32_t i)
{
	unsigned char key[3][20];
	struct ipcmap_change c[3];

	if (i)
		return points_store(m, 1010, 60, 1, 0);
	memset(c, 0, sizeof(c));
	c[0].key = key[0];
	c[0].key_len = points_make_key(1, key[0]);
	c[0].val = "group";
	c[0].val_len = 5;
	c[1].key = key[1];
	c[1].key_len = points_make_key(1002, key[1]);
	c[1].flags = IPCMAP_CHANGE_DEL; /* it is not there */
	c[2].key = key[2];
	c[2].key_len = points_make_key(2, key[2]);
	c[2].flags = IPCMAP_CHANGE_DEL;
	points_lead(m, 1, NULL);
	points_lead(m, 1002, NULL);
	points_step_in();
	return points_step_out(ipcmap_commit(m, c, 3, 0));
}

static void for_a_group(struct ipcmap *m)
{
	without_1_and_another(m);
	points_note(1002, 0);
	points_note(2, 0);
}

static int del_prefix_under_leases(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_lead(m, 1, NULL);
	points_lead(m, 199, NULL);
	points_step_in();
	return points_step_out(ipcmap_del_prefix(m, "key-1", 5, NULL));
}

static void thirty_of_1(struct ipcmap *m)
{
	points_put_many(m, 2, 28, 700);
	for (uint32_t i = 10; i < 20; i++)
		points_note(i, 0);
}

/* An entry whose life is over, and which a load is to replace, goes. */
static int clear_under_lease(struct ipcmap *m, uint32_t i)
{
	(void)i;
	points_lead(m, 1, NULL);
	points_step_in();
	return points_step_out(ipcmap_clear(m));
}

static void to_be_cleared(struct ipcmap *m)
{
	one_expired(m);
	for (uint32_t id = 2; id < 22; id++)
		points_note(id, 0);
}

SCENARIO(put_leased, "put of a leased key", twenty_without_1, put_over_lease, 1, .least = 14,
	 .leased = true)
SCENARIO(del_leased, "del of a leased key", without_1_and_another, del_under_lease, 2,
	 .least = 16, .leased = true)
SCENARIO(del_expired, "del of an expired leased key", expired_and_another, del_under_lease, 2,
	 .least = 16, .sampled = true, .leased = true)
SCENARIO(add_leased, "add of a leased key", twenty_without_1, add_under_lease, 1, .least = 14,
	 .sampled = true, .leased = true)
SCENARIO(group_leased, "group of leased keys", for_a_group, commit_under_lease, 2, .least = 20,
	 .sampled = true, .group = true, .leased = true)
SCENARIO(clear_leased, "clear, with a lease", to_be_cleared, clear_under_lease, 1, .least = 8,
	 .sampled = true, .loose = true, .leased = true)
SCENARIO(del_prefix_leased, "delete by prefix, with leases", thirty_of_1,
	 del_prefix_under_leases, 1, .least = 90, .loose = true, .leased = true)

/* What was loaded before a put, or before a delete, is refused. */
static int fill_too_late(struct ipcmap *m, uint32_t i)
{
	static struct ipcmap_lease l;
	unsigned char key[20];
	size_t n = points_make_key(1, key);

	if (i % 3 == 0) {
		l = points_lead(m, i ? 1003 : 1, NULL);
		return 0;
	}
	if (i == 1)
		return points_store(m, 1, 60, 1, 0);
	if (i == 4)
		return points_del(m, 1003) != IPCMAP_NOTFOUND;
	n = points_make_key(i == 2 ? 1 : 1003, key);
	points_step_in();
	return points_step_out(ipcmap_lease_put(m, key, n, &l, "late", 4, NULL) !=
			       IPCMAP_MISMATCH);
}

SCENARIO(refused, "fills that are refused", twenty_without_1_yet, fill_too_late, 6, .least = 20,
	 .sampled = true, .leased = true)

/* ---- the whole of it ---- */

static struct ipcmap *loading;

static void take_back(void *val)
{
	T_MUST(val && memcmp(val, "loaded", 6) == 0);
}

/* A delete of the very key overtakes the first load: it is loaded once more. */
static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	uint32_t *loads = arg;

	if (++*loads == 1)
		T_MUST(ipcmap_del(loading, key, key_len) == IPCMAP_NOTFOUND);
	ret->val = "loaded";
	ret->len = 6;
	ret->release = take_back;
	return 0;
}

static int load_more(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	static unsigned char val[300];

	(void)arg;
	(void)key;
	(void)key_len;
	memset(val, 'm', sizeof(val));
	ret->val = val;
	ret->len = sizeof(val);
	return 0;
}

/* Numbers that make every load look longer than any life. */
static uint32_t drawn;

static uint64_t impatient(void)
{
	return drawn++ % 3 ? 1 : 2;
}

static int load_not(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	(void)ret;
	return -EIO;
}

/*
 * Twice what a change overtook; an expired value that serves while it cannot be loaded; one
 * that grows; one that is loaded anew before its end.
 */
static int fill_whole(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	unsigned char key[20], buf[100];
	size_t n = points_make_key(i ? 1 + i : 1, key), len = 0;
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	uint32_t loads = 0;
	void *mem = NULL;
	int r;

	how.deadline_ns = IPCMAP_FOREVER;
	how.stale_ns = HOUR;
	how.load_ns = HOUR;
	how.ttl_ns = HOUR;
	loading = m;
	im_lease_random = impatient;
	drawn = 0;
	points_step_in();
	if (i == 0)
		r = ipcmap_fill(m, key, n, &how, load, &loads, &v);
	else if (i == 1)
		r = ipcmap_fill(m, key, n, &how, load_not, NULL, &v);
	else
		r = ipcmap_fill_alloc(m, key, n, &how, load_more, NULL, &mem, &len);
	points_step_out(0);
	free(mem);
	if (i == 0)
		return r || loads != 2 || v.len != 6;
	return i == 1 ? r || v.len != 60 : r || len != 300;
}

static void some_to_fill(struct ipcmap *m)
{
	points_put_many(m, 10, 8, 60);
	for (uint32_t i = 0; i < 4; i++)
		points_note(i + 1, i == 1 ? -1 : (int)i);
	T_MUST(points_store(m, 2, 60, 1, 20000000) == 0);
	T_MUST(points_store(m, 3, 60, 1, 20000000) == 0);
	/* little of an hour, so it is loaded anew; nobody looks so late */
	T_MUST(points_store(m, 4, 60, 1, 800 * SEC) == 0);
	while (points_look(m, 2).r == 0 || points_look(m, 3).r == 0)
		t_sleep_ms(5);
}

SCENARIO(whole, "fill, with its loads", some_to_fill, fill_whole, 4, .least = 40,
	 .sampled = true, .leased = true, .failing = true)

static CU_TestInfo tests[] = {
	{"killed in a fill", points__fill},
	{"killed in a fill with a large value", points__fill_large},
	{"killed in a fill of an expired key", points__fill_expired},
	{"killed in a fill that fails", points__fill_fails},
	{"killed in a fill that fails again", points__fails_again},
	{"killed in a fill with a negative result", points__fill_none},
	{"killed in a fill after a dead leader", points__dead},
	{"killed in a fill when the dead lead all", points__full_of_dead},
	{"killed in a fill after a late leader", points__late},
	{"killed in asking when all leases are taken", points__full},
	{"killed in a fill that is too long", points__too_much},
	{"killed in a put that voids a lease", points__put_leased},
	{"killed in a del that voids a lease", points__del_leased},
	{"killed in a del of an expired key that voids a lease", points__del_expired},
	{"killed in an add that voids a lease", points__add_leased},
	{"killed in a group that voids leases", points__group_leased},
	{"killed in a clear that voids a lease", points__clear_leased},
	{"killed in a delete by prefix that voids leases", points__del_prefix_leased},
	{"killed in fills that are refused", points__refused},
	{"killed in fills with their loads", points__whole},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of fills", tests)
