/* SPDX-License-Identifier: MIT */
/*
 * t-points-refused.c - killed in calls that are refused: they take locks, and may drop what
 * expired; and in calls at the edges of what they take
 */
#include "points.h"

#define LARGE 20u
#define ABSENT 21u
#define EXPIRED 22u

static unsigned char shown[20000];

/* ---- refusals ---- */

static int conditional(struct ipcmap *m, uint32_t id, unsigned flags, const char *equal,
		       size_t len)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[POINTS_FAR_LEN];

	how.flags = flags;
	how.version = 1;
	how.equal = equal;
	how.equal_len = len;
	return ipcmap_put(m, key, points_make_key(id, key), "x", 1, &how);
}

/* A large value whose condition fails is not even written. */
static int large_if_absent(struct ipcmap *m, uint32_t id)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap_value old = {.buf = shown, .cap = sizeof(shown)};
	static const unsigned char val[9000];
	unsigned char key[20];

	how.flags = IPCMAP_IF_ABSENT;
	return ipcmap_putx(m, key, points_make_key(id, key), val, sizeof(val), &how, &old);
}

static int put_that_shows(struct ipcmap *m, uint32_t id, size_t cap)
{
	struct ipcmap_value old = {.buf = shown, .cap = cap};
	unsigned char key[20];

	return ipcmap_putx(m, key, points_make_key(id, key), "x", 1, NULL, &old);
}

static int take(struct ipcmap *m, uint32_t id, size_t cap)
{
	struct ipcmap_value old = {.buf = shown, .cap = cap};
	unsigned char key[20];

	return ipcmap_take(m, key, points_make_key(id, key), &old);
}

static int del_if(struct ipcmap *m, uint32_t id, const char *equal)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[20];

	how.flags = IPCMAP_IF_EQUAL;
	how.equal = equal;
	how.equal_len = strlen(equal);
	return ipcmap_delx(m, key, points_make_key(id, key), &how);
}

static int del(struct ipcmap *m, uint32_t id)
{
	unsigned char key[20];

	return ipcmap_del(m, key, points_make_key(id, key));
}

static int touch(struct ipcmap *m, uint32_t id)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[20];

	how.ttl_ns = IPCMAP_TTL_NONE;
	return ipcmap_touch(m, key, points_make_key(id, key), &how);
}

static int add(struct ipcmap *m, uint32_t id, int64_t delta)
{
	unsigned char key[POINTS_FAR_LEN];

	return ipcmap_add(m, key, points_make_key(id, key), delta, NULL, NULL);
}

/* A number of calls in one step, each with the answer that it must have. */
static int refuse(struct ipcmap *m, uint32_t i)
{
	bool good = true;

	points_step_in();
	if (i == 0) {
		good &= conditional(m, 1, IPCMAP_IF_ABSENT, NULL, 0) == IPCMAP_EXISTS;
		good &= conditional(m, ABSENT, IPCMAP_IF_PRESENT, NULL, 0) == IPCMAP_NOTFOUND;
		good &= conditional(m, 1, IPCMAP_IF_VERSION, NULL, 0) == IPCMAP_MISMATCH;
		good &= conditional(m, 1, IPCMAP_IF_EQUAL, "not", 3) == IPCMAP_MISMATCH;
		good &= conditional(m, LARGE, IPCMAP_IF_EQUAL, "not", 3) == IPCMAP_MISMATCH;
	} else if (i == 1) {
		good &= large_if_absent(m, 1) == IPCMAP_EXISTS;
		good &= large_if_absent(m, LARGE) == IPCMAP_EXISTS;
		good &= put_that_shows(m, 1, 10) == IPCMAP_SHORT;
		good &= put_that_shows(m, LARGE, 10) == IPCMAP_SHORT;
	} else if (i == 2) {
		good &= take(m, ABSENT, sizeof(shown)) == IPCMAP_NOTFOUND;
		good &= take(m, 1, 10) == IPCMAP_SHORT;
		good &= del(m, ABSENT) == IPCMAP_NOTFOUND;
		good &= del_if(m, 1, "not") == IPCMAP_MISMATCH;
		good &= del_if(m, LARGE, "not") == IPCMAP_MISMATCH;
	} else if (i == 3) {
		good &= touch(m, ABSENT) == IPCMAP_NOTFOUND;
		good &= add(m, 1, 1) == IPCMAP_TYPE;
		good &= add(m, LARGE, 1) == IPCMAP_TYPE;
		good &= add(m, POINTS_FAR, 1) == IPCMAP_TOOBIG;
	} else {
		/* is not there for anybody, and goes */
		good &= del(m, EXPIRED) == IPCMAP_NOTFOUND;
	}
	return points_step_out(!good);
}

static void some_to_refuse(struct ipcmap *m)
{
	points_one_over_many(m);
	points_put(m, LARGE, 14000, 1);
	points_note(EXPIRED, -1);
	T_MUST(points_store(m, EXPIRED, 300, 1, 1) == 0);
	points_note(ABSENT, -1);
	points_note(POINTS_FAR, -1);
	t_sleep_ms(60);
}

SCENARIO(refused, "calls that are refused", some_to_refuse, refuse, 5, .least = 20)

static int del_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return del(m, 1);
}

static int refuse_in_empty(struct ipcmap *m, uint32_t i)
{
	bool good;

	(void)i;
	points_step_in();
	good = del_1(m, 0) == IPCMAP_NOTFOUND && large_if_absent(m, 1) == 0;
	return points_step_out(!good);
}

static void empty(struct ipcmap *m)
{
	(void)m;
	points_note(1, 0);
}

SCENARIO(first_refused, "a delete, then a large put, in an empty map", empty, refuse_in_empty,
	 1, .least = 40)

/* ---- edges ---- */

/* One counter goes below zero; another to the least that there is, and not beyond. */
static int count_down(struct ipcmap *m, uint32_t i)
{
	int r;

	points_step_in();
	if (i == 0)
		r = add(m, 1, -40);
	else
		r = add(m, 2, i == 1 ? INT64_MIN + 23 : -1);
	return points_step_out(i < 2 ? r : r != IPCMAP_RANGE);
}

static void two_counters(struct ipcmap *m)
{
	points_put_many(m, 3, 8, 500);
	points_note(1, 0);
	points_note(2, 1);
	T_MUST(add(m, 1, 17) == 0);
	T_MUST(add(m, 2, -23) == 0);
}

SCENARIO(down, "add, below zero and to the least", two_counters, count_down, 3, .least = 20)

/* A life that ends after the end of time, a shortened one, and one that is kept. */
static int put_lives(struct ipcmap *m, uint32_t i)
{
	static const uint64_t ttl[] = {IPCMAP_TTL_NONE - 2, UINT64_C(1) << 60, IPCMAP_TTL_KEEP};
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[20];
	size_t n = points_make_key(i + 1, key);

	how.ttl_ns = ttl[i];
	how.jitter = i == 1 ? 50 : 0;
	points_step_in();
	return points_step_out(ipcmap_put(m, key, n, "lives", 5, &how));
}

static void three_keys(struct ipcmap *m)
{
	points_put_many(m, 4, 8, 500);
	for (uint32_t i = 0; i < 3; i++)
		points_note(i + 1, (int)i);
}

SCENARIO(lives, "puts of odd lives", three_keys, put_lives, 3, .least = 20)

static CU_TestInfo tests[] = {
	{"killed in calls that are refused", points__refused},
	{"killed in the first calls of a map", points__first_refused},
	{"killed in adds below zero", points__down},
	{"killed in puts of odd lives", points__lives},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of refusals", tests)
