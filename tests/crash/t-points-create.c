/* SPDX-License-Identifier: MIT */
/*
 * t-points-create.c - killed in creations
 */
#include "points.h"

#include "trace.h"

#define LEN (1u << 20)

static const struct points_scenario create = {.name = "create"};
static const struct points_scenario create_backed = {.name = "create, memory reserved"};
static unsigned flags; /* of the creation */

/* An attach says that its creator died, or finds it whole; a creator completes it. */
static int child_after_creator(void *arg)
{
	struct ipcmap *m;
	int r = ipcmap_open(points_name, NULL, &m);

	(void)arg;
	T_MUST(r == 0 || r == IPCMAP_NOTMAP || r == IPCMAP_CREATING || r == IPCMAP_NOTFOUND);
	if (r == 0)
		ipcmap_close(m);
	T_MUST(load_open(points_name, IPCMAP_CREATE, LEN, 1, &m) == 0);
	points_write_on(m);
	T_MUST(ipcmap_check(m, load_print, "created: ") == 0);
	ipcmap_close(m);
	return 0;
}

#if HAVE_POINTS
static int child_create(void *arg)
{
	struct ipcmap *m;

	points_watch(*(uint32_t *)arg);
	return load_open(points_name, IPCMAP_CREATE | flags, LEN, 1, &m);
}

static void kill_everywhere(void)
{
	uint32_t n;

	CU_ASSERT(points_run(child_create, 0));
	n = points->count;
	for (uint32_t k = 1; k <= n; k++) {
		unlink(points_path);
		CU_ASSERT(t_killed(t_run(child_create, &k)));
		CU_ASSERT(points_run(child_after_creator, 0));
	}
	points_total.passed += n;
	points_total.tried += n;
	points_done(points_scenario->name, n);
	printf("\n    %-44s %5u points, %4u tried ", points_scenario->name, n, n);
	CU_ASSERT(n >= 8);
}

#elif TRACE_CAN

static struct trace_journal *journal;

static int child_create(void *arg)
{
	struct trace_plan plan = {
		.path = points_path, .len = LEN, .in_steps = !points_step_all,
		.acked = &points->acked};
	struct ipcmap *m;
	int r;

	(void)arg;
	trace_begin(journal, &plan);
	trace_on();
	r = load_open(points_name, IPCMAP_CREATE | flags, LEN, 1, &m);
	trace_off();
	return r;
}

static void look(const struct trace_state *s)
{
	(void)s;
	child_after_creator(NULL);
}

static void kill_everywhere(void)
{
	static const struct states_plan plan = {.look = look, .anew = true};
	struct points_row row = {0};

	points->acked = 0;
	journal = points_journal(LEN);
	if (!points_step_wanted())
		return;
	CU_ASSERT_FATAL(points_run_slowly(child_create));
	points_look_at_journal(journal, &plan, &row.tried);
	row.instructions = journal->n_steps;
	row.states = journal->n_states;
	points_report(&row);
}

#else

static void kill_everywhere(void)
{
	(void)child_after_creator;
	t_skip("needs x86-64");
}

#endif

static void kill_creator(const struct points_scenario *scenario, unsigned with)
{
	points_begin();
	points_scenario = scenario;
	flags = with;
	points_path = T_PATH;
	points_name = points_path + strlen("/dev/shm");
	unlink(points_path);
	kill_everywhere();
	unlink(points_path);
}

static void points__create(void)
{
	kill_creator(&create, 0);
}

static void points__create_backed(void)
{
	kill_creator(&create_backed, IPCMAP_RESERVE | IPCMAP_HUGE);
}

static CU_TestInfo tests[] = {
	{"killed in a creation", points__create},
	{"killed in a creation that reserves memory", points__create_backed},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points of creation", tests)
