/* SPDX-License-Identifier: MIT */
/*
 * t-trace.c - the tracer sees each store, and says when it did not
 */
#include "trace.h"

#if TRACE_CAN

#include <fcntl.h>
#include <sys/mman.h>

#define LEN 8192u

static struct trace_journal *journal;

static volatile unsigned char *map_file(void)
{
	int fd = open(points_path, O_RDWR | O_CLOEXEC);
	volatile unsigned char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	T_MUST(fd >= 0 && p != MAP_FAILED);
	close(fd);
	return p;
}

static void begin(bool in_steps)
{
	struct trace_plan plan = {
		.path = points_path, .len = LEN, .in_steps = in_steps, .acked = &points->acked};

	trace_begin(journal, &plan);
}

static int stores_in_a_told_mapping(void *arg)
{
	volatile unsigned char *p = map_file();

	begin(*(bool *)arg);
	trace_mapped((const void *)p, LEN, 0);
	trace_on();
	p[100] = 1;
	p[200] = 2;
	p[4097] = 3;
	trace_off();
	return 0;
}

static int maps_while_traced(void *arg)
{
	volatile unsigned char *p;

	begin(*(bool *)arg);
	trace_on();
	p = map_file();
	p[100] = 1;
	p[200] = 2;
	p[4097] = 3;
	trace_off();
	return 0;
}

static int writes_by_a_call(void *arg)
{
	int fd;

	begin(*(bool *)arg);
	trace_on();
	fd = open(points_path, O_RDWR | O_CLOEXEC);
	T_MUST(pwrite(fd, "1", 1, 100) == 1);
	T_MUST(pwrite(fd, "2", 1, 200) == 1);
	T_MUST(ftruncate(fd, 2 * LEN) == 0);
	trace_off();
	close(fd);
	return 0;
}

static int stores_where_nobody_looks(void *arg)
{
	volatile unsigned char *p = map_file();

	begin(*(bool *)arg);
	trace_on();
	p[100] = 1;
	trace_off();
	return 0;
}

/* What a call did is compared after it; the store was before. */
static int stores_before_a_call(void *arg)
{
	volatile unsigned char *p = map_file();

	begin(*(bool *)arg);
	trace_on();
	p[100] = 1;
	T_MUST(access(points_path, F_OK) == 0);
	trace_off();
	return 0;
}

static bool trace(int (*fn)(void *arg), bool in_steps)
{
	static unsigned char zeros[LEN];
	struct points_image im = {.len = LEN, .n = LEN, .p = zeros};

	points_begin();
	points_path = T_PATH;
	points_store_image(points_path, &im);
	journal = points_journal(LEN);
	CU_ASSERT(t_ok(t_run(fn, &in_steps)));
	unlink(points_path);
	return !journal->blind;
}

static void trace__each_store_is_a_state(void)
{
	for (int in_steps = 0; in_steps < 2; in_steps++) {
		CU_ASSERT(trace(stores_in_a_told_mapping, in_steps));
		CU_ASSERT(journal->n_states == 3);
		CU_ASSERT(journal->state[1].changes == 2 && journal->change[1].bytes[8] == 2);
		CU_ASSERT(trace(writes_by_a_call, in_steps));
		CU_ASSERT(journal->n_states == 3);
	}
}

static void trace__a_mapping_made_meanwhile_is_noticed(void)
{
	for (int in_steps = 0; in_steps < 2; in_steps++) {
		CU_ASSERT(trace(maps_while_traced, in_steps));
		CU_ASSERT(journal->n_states == 3);
	}
}

static void trace__a_missed_store_is_told(void)
{
	CU_ASSERT(!trace(stores_where_nobody_looks, false));
	CU_ASSERT(!trace(stores_where_nobody_looks, true));
	CU_ASSERT(!trace(stores_before_a_call, true));
}

#else

static void skip(void)
{
	t_skip("needs x86-64, and a build without crash points");
}

#define trace__each_store_is_a_state skip
#define trace__a_mapping_made_meanwhile_is_noticed skip
#define trace__a_missed_store_is_told skip

#endif

static CU_TestInfo tests[] = {
	{"each store is a state", trace__each_store_is_a_state},
	{"a mapping made meanwhile is noticed", trace__a_mapping_made_meanwhile_is_noticed},
	{"a missed store is told", trace__a_missed_store_is_told},
	CU_TEST_INFO_NULL,
};

T_SUITE("trace", tests)
