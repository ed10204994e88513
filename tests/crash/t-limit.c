/* SPDX-License-Identifier: MIT */
/*
 * t-limit.c - a shard at its limit survives kills in the middle of cleaning
 *
 * At the limit nothing is to spare: the survivors of a victim fit into the room of the cold
 * head and the reserve, to the byte. A kill that cost some of that room, or that lost sight of
 * the victim whose release was to bring the reserve back, once made the shard answer LIMIT for
 * ever.
 */
#include "load.h"

#include "crash.h"
#include "map.h"
#include "shard.h"

#include <signal.h>

#if defined(IM_CHECK) && IM_CHECK

#define KILLS T_AMOUNT(200u, 60u, 15u)

static struct ipcmap *m;
static const char *name;
static uint32_t n;   /* keys */
static uint32_t len; /* of each value: entries all of one size pack as well in any order */

static int put(uint32_t i, uint64_t seq)
{
	static unsigned char val[LOAD_CAP];
	char key[20];
	size_t key_len = (size_t)sprintf(key, "limit-%06u", i);

	load_make(val, len, i, 0, seq);
	return ipcmap_put(m, key, key_len, val, len, NULL);
}

static bool has(uint32_t i)
{
	static unsigned char buf[LOAD_CAP];
	char key[20];
	size_t key_len = (size_t)sprintf(key, "limit-%06u", i), got;
	uint64_t seq;

	return ipcmap_get(m, key, key_len, buf, sizeof(buf), &got) == 0 && got == len &&
	       load_is(buf, got, i, 0, &seq);
}

/* ---- the one that dies ---- */

static const char *die_at;
static uint32_t passes;

static void die(const char *point)
{
	if (strcmp(point, die_at) == 0 && --passes == 0)
		raise(SIGKILL);
}

struct plan {
	const char *at;
	uint32_t passes;
	uint32_t first; /* key to begin with */
};

/* Updates until it comes by @at so often. */
static int update(void *arg)
{
	const struct plan *p = arg;

	T_MUST(load_open(name, 0, 0, 0, &m) == 0);
	die_at = p->at;
	passes = p->passes;
	im_crash_hook = die;
	for (uint32_t i = 0; i < 4 * n; i++)
		T_MUST(put((p->first + i * 7) % n, i) == 0);
	return 0;
}

/* ---- */

static void kills(const char *at, uint32_t most, uint64_t seed)
{
	uint64_t x = seed | 1;
	unsigned bad = 0, killed = 0;

	for (uint32_t i = 0; i < KILLS; i++) {
		struct plan p = {at, 1 + (uint32_t)(load_random(&x) % most),
				 (uint32_t)(load_random(&x) % n)};

		killed += t_killed(t_run(update, &p));
	}
	CU_ASSERT(killed == KILLS);
	for (uint32_t i = 0; i < n; i++)
		bad += !has(i);
	CU_ASSERT(bad == 0);
	/* what fitted before fits now */
	for (uint32_t i = 0; i < 3 * n; i++)
		bad += put(i % n, i) != 0;
	if (bad)
		fprintf(stderr, "\n  %s, %u: %u updates of %u refused (seed %llu)\n", at, len,
			bad, 3 * n, (unsigned long long)seed);
	CU_ASSERT(bad == 0 && ipcmap_check(m, load_print, NULL) == 0);
}

static void full_of(uint32_t val_len)
{
	int r;

	len = val_len;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 1u << 20, 1, &m) == 0);
	for (n = 0; (r = put(n, 0)) == 0;)
		n++;
	CU_ASSERT(r == IPCMAP_LIMIT && n > 100);
}

static void limit__kills_in_cleaning_do_not_use_up_the_reserve(void)
{
	static const struct {
		const char *at;
		uint32_t most; /* passes */
	} how[] = {{"log.moved", 4},
		   {"redo.listed", 30},
		   {"redo.armed", 30},
		   {"room.released", 1}};

	name = T_NAME;
	for (unsigned i = 0; i < ARRAY_LEN(how); i++) {
		full_of(i % 2 ? 1000 : 250);
		kills(how[i].at, how[i].most, t_now_ms());
		ipcmap_close(m);
		ipcmap_unlink(name);
	}
}

static CU_TestInfo tests[] = {
	{"kills in cleaning do not use up the reserve",
	 limit__kills_in_cleaning_do_not_use_up_the_reserve},
	CU_TEST_INFO_NULL,
};

#else

static void limit__needs_crash_points(void)
{
	t_skip("no crash points in this build");
}

static CU_TestInfo tests[] = {
	{"kills in cleaning at the limit", limit__needs_crash_points},
	CU_TEST_INFO_NULL,
};

#endif

T_SUITE("limit", tests)
