/* SPDX-License-Identifier: MIT */
/*
 * points-step.c - without crash points: instruction by instruction
 *
 * A child operates under the trap flag (trace.c); other processes look at every state that
 * it makes (states.c). Then successors take over from some of the states, under the trap flag
 * too, and the states that they make are looked at.
 *
 * STEP=all in the environment: every instruction of every operation, every state, by a writer
 * in owner slot 1 and, unless that made very many, by one in slot 2. Slot 1 is what a
 * successor claims, and so cleans up after; the owner of slot 2 is judged by its byte, and
 * swept. Else it is a sample that takes a fraction of a second: so many instructions, calls of
 * other libraries as one, fewer and fewer of the states. One operation in a few gets a
 * successor, which is traced to its end. STEP=word: as all, of the operations whose name has
 * the word.
 */
#include "trace.h"

#if TRACE_CAN

#include "map.h"

#include <sys/stat.h>

#define SAMPLE_STEPS 2000u
#define SAMPLE_ALL 8u	 /* states looked at from the start; then fewer and fewer */
#define PAYLOAD_EACH 32u /* states that only fill what nothing names: two of so many */
#define NESTED_ALL 6u	 /* states of an operation from which successors start, at least */
#define NESTED_EACH 4u	 /* of a sample: of so many operations one gets a successor */
#define TWICE_MAX 8000u	 /* states of an operation that is gone through twice */
#define NESTED_LINE 1000100
#define HASHES (1u << 20)
#define CHILD_SEC 500 /* a traced process is slow */
/* Instructions of one get: so many, and so many for each byte. */
#define READ_MAX 6000u
#define READ_EACH 12u
#define READS 3u /* keys of the step in flight */

bool points_step_all;

static const char *step_of; /* NULL: any operation */
static bool traced;
static struct trace_journal *journal, *journal_nested;
static uint64_t *hashes; /* states that were looked at */

void points_step_in(void)
{
	if (traced)
		trace_on();
}

int points_step_out(int r)
{
	if (traced)
		trace_off();
	return r;
}

/* ---- children ---- */

static struct ipcmap *open_traced(bool opening, struct trace_journal *j)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	bool whole = points_step_all || j == journal_nested;
	struct trace_plan plan = {.path = points_path,
				  .len = j->len,
				  .most = whole ? 0 : SAMPLE_STEPS,
				  .in_steps = !points_step_all || j == journal_nested,
				  .acked = &points->acked};
	struct ipcmap *m;

	o.deadline_ns = IPCMAP_FOREVER;
	if (opening) {
		int r;

		/* so that the linker has found what is called */
		o.flags = IPCMAP_RDONLY;
		T_MUST(ipcmap_open(points_name, &o, &m) == 0);
		ipcmap_close(m);
		o.flags = 0;
		trace_begin(j, &plan);
		trace_on();
		r = ipcmap_open(points_name, &o, &m);
		trace_off();
		T_MUST(r == 0);
	} else {
		T_MUST(ipcmap_open(points_name, &o, &m) == 0);
		for (uint32_t i = 0; i < points->n; i++)
			points_look(m, points->id[i]);
		trace_begin(j, &plan);
		trace_mapped(m->seg->base, m->seg->len, 0);
	}
	traced = true;
	return m;
}

/* The last states are of the detachment. */
static int child_traced(void *arg)
{
	struct ipcmap *m;

	(void)arg;
	points->acked = 0;
	points->n_leases = points->n_prepared;
	m = open_traced(points_scenario->opening, journal);
	if (points_run_steps(m))
		return 1;
	points_step_in();
	ipcmap_close(m);
	points_step_out(0);
	return 0;
}

/* Takes over all locks that the dead one may have held, and frees its extents. */
static int child_succeed(void *arg)
{
	struct ipcmap *m = open_traced(true, journal_nested);

	(void)arg;
	points_write_once(m);
	points_step_in();
	T_MUST(points_step_out(ipcmap_snapshot_drop(m, "none")) == IPCMAP_NOTFOUND);
	points_step_in();
	im_owner_sweep(m->seg);
	points_step_out(0);
	return 0;
}

bool points_run_slowly(int (*fn)(void *arg))
{
	pid_t pid = t_fork();
	int status;

	if (pid == 0) {
		alarm(CHILD_SEC);
		_exit(fn(NULL));
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

void points_count_reads(struct ipcmap *m)
{
	static unsigned char buf[LOAD_CAP * 4];
	unsigned char key[POINTS_FAR_LEN];

	for (uint32_t i = 0, left = READS; i <= points->n; i++) {
		bool nobody = i == points->n;
		uint32_t id = nobody ? POINTS_NOBODY : points->id[i];
		size_t n = points_make_key(id, key), len = 0;
		uint64_t count = 0;

		if (!points_is_key(id) ||
		    (!nobody && (!left || points->step[i] != (int)points->acked)))
			continue;
		left -= left > 0;
		trace_count_on(&count);
		ipcmap_get(m, key, n, buf, sizeof(buf), &len);
		trace_count_off();
		if (count > READ_MAX + READ_EACH * (len + n))
			fprintf(stderr, "\n%s: a get of key %u took %llu instructions",
				points_scenario->name, id, (unsigned long long)count);
		T_MUST(count <= READ_MAX + READ_EACH * (len + n));
	}
}

/* ---- which states ---- */

static bool is_new(uint64_t hash)
{
	uint64_t i = hash % HASHES;

	hash = hash ? hash : 1;
	for (; hashes[i] && hashes[i] != hash; i = (i + 1) % HASHES)
		continue;
	if (hashes[i] == hash)
		return false;
	hashes[i] = hash;
	return true;
}

static uint32_t select_states(struct trace_journal *j)
{
	uint32_t n = 0, run = 0, tried = 0;

	for (uint32_t i = 0; i < j->n_states; i++) {
		struct trace_state *s = &j->state[i];

		run = s->payload ? run + 1 : 0;
		s->look = s->look && run % PAYLOAD_EACH <= 1;
		n += s->look;
		s->look = s->look && (points_step_all || n % (n / SAMPLE_ALL + 1) == 0) &&
			  is_new(s->hash + s->acked * UINT64_C(0x9e3779b97f4a7c15));
		tried += s->look;
	}
	return tried;
}

bool points_look_at_journal(struct trace_journal *j, const struct states_plan *plan,
			    uint32_t *tried)
{
	*tried += select_states(j);
	CU_ASSERT(!j->blind);
	CU_ASSERT(!j->cut || (!points_step_all && j == journal));
	if (states_look(j, plan) == 0)
		return true;
	CU_FAIL("a state between two instructions is wrong");
	return false;
}

static void look(const struct trace_state *s)
{
	(void)s;
	points_look_at_state();
}

static bool look_at(struct trace_journal *j, uint32_t *tried)
{
	static const struct states_plan plan = {.look = look};

	trace_mark(j);
	return points_look_at_journal(j, &plan, tried);
}

/* ---- successors ---- */

/* Beside another, in slot 1. */
static bool run_beside(int (*fn)(void *arg), bool other)
{
	pid_t first = other ? points_start_other() : 0;
	bool good = points_run_slowly(fn);

	if (first)
		t_kill(first);
	return good;
}

static bool succeed_from(uint32_t state, struct points_row *row)
{
	const char *path = points_path, *name = points_name;
	struct points_image im;
	bool good;

	states_image(journal, state, &im);
	points_path = t_path(NESTED_LINE);
	points_name = points_path + strlen("/dev/shm");
	points_store_image(points_path, &im);
	free(im.p);
	points->acked = journal->state[state].acked;
	good = run_beside(child_succeed, points_scenario->living);
	if (!good)
		fprintf(stderr, "\n%s: a successor fails", points_scenario->name);
	CU_ASSERT(good);
	good = good && look_at(journal_nested, &row->nested_tried);
	row->successors++;
	row->nested_instructions += journal_nested->n_steps;
	row->nested_states += journal_nested->n_states;
	if (!good)
		fprintf(stderr, "\n%s: this was a successor, from state %u\n",
			points_scenario->name, state + 1);
	unlink(points_path);
	points_path = path;
	points_name = name;
	return good;
}

/*
 * From each place that makes states, once for each slot and kind of state; and from some of
 * each operation.
 */
static void let_succeed(unsigned char **seen_at, struct points_row *row)
{
	uint32_t stride = journal->n_states / NESTED_ALL + 1;
	unsigned char *seen;

	if (!*seen_at)
		*seen_at = calloc(TRACE_KINDS, trace_text_len());
	seen = *seen_at;
	for (uint32_t i = 0; i < journal->n_states; i++) {
		const struct trace_state *s = &journal->state[i];
		uint64_t place = (uint64_t)s->pc * TRACE_KINDS + s->kind;
		bool first = !seen[place];

		if ((s->payload || !first) && i % stride != stride / 2)
			continue;
		seen[place] = 1;
		if (!succeed_from(i, row))
			return;
	}
}

/* From a state in the middle of those of a kind that was taken least. */
static void let_one_succeed(struct points_row *row)
{
	static uint32_t taken[TRACE_KINDS];
	uint32_t n[TRACE_KINDS] = {0}, least = TRACE_KINDS, at = 0;

	for (uint32_t i = 0; i < journal->n_states; i++)
		n[journal->state[i].kind]++;
	for (uint32_t k = 0; k < TRACE_KINDS; k++)
		if (n[k] && (least == TRACE_KINDS || taken[k] < taken[least]))
			least = k;
	if (least == TRACE_KINDS)
		return;
	for (uint32_t left = n[least] / 2 + 1; left; at++)
		left -= journal->state[at].kind == least;
	taken[least]++;
	succeed_from(at - 1, row);
}

/* ---- */

static void operate(const struct points_image *start, bool second, struct points_row *row)
{
	static unsigned char *seen[2];
	bool good;

	points_store_image(points_path, start);
	good = run_beside(child_traced, second);
	if (!good)
		CU_FAIL("the operation fails when it is traced");
	good = good && look_at(journal, &row->tried);
	row->instructions += journal->n_steps;
	row->states += journal->n_states;
	if (good && points_step_all)
		let_succeed(&seen[second], row);
	else if (good && points_total.ran % NESTED_EACH == 0)
		let_one_succeed(row);
}

/* For tests/step/table.py: a line for each operation. */
static void write_row(const struct points_row *row)
{
	FILE *f = fopen(BUILD "/step.rows", "a");

	if (f)
		fprintf(f, "%s\t%llu\t%u\t%u\t%u\t%llu\t%u\t%u\n", points_scenario->name,
			(unsigned long long)row->instructions, row->states, row->tried,
			row->successors, (unsigned long long)row->nested_instructions,
			row->nested_states, row->nested_tried);
	if (!f || fclose(f))
		perror(BUILD "/step.rows");
}

/* For tests/step/blocks.py: a line for each instruction, its address in the program. */
static void write_seen(void)
{
	FILE *f = fopen(BUILD "/step.seen", "a");

	for (uint64_t i = 0; f && i < trace_text_len(); i++)
		if (trace_seen[i])
			fprintf(f, "%llx\n", (unsigned long long)i);
	if (!f || fclose(f))
		perror(BUILD "/step.seen");
}

struct trace_journal *points_journal(uint64_t len)
{
	if (!journal) {
		const char *what = getenv("STEP");

		points_step_all = what && *what;
		step_of = points_step_all && strcmp(what, "all") ? what : NULL;
		if (points_step_all)
			atexit(write_seen);
		trace_seen = t_shared(trace_text_len());
		journal = trace_new();
		journal_nested = trace_new();
		hashes = calloc(HASHES, sizeof(*hashes));
	}
	memset(hashes, 0, HASHES * sizeof(*hashes));
	trace_renew(journal, len);
	trace_renew(journal_nested, len);
	return journal;
}

bool points_step_wanted(void)
{
	return !step_of || strstr(points_scenario->name, step_of);
}

void points_step_over(const struct points_image *start)
{
	struct points_row row = {0};

	points_journal(start->len);
	if (!points_step_wanted())
		return;
	operate(start, points_scenario->living, &row);
	if (points_step_all && !points_scenario->opening && !points_scenario->living &&
	    row.states < TWICE_MAX)
		operate(start, true, &row);
	points_report(&row);
}

void points_report(const struct points_row *row)
{
	points_total.passed += row->states;
	points_total.tried += row->tried;
	points_total.instructions += row->instructions + row->nested_instructions;
	points_total.successors += row->successors;
	points_total.nested += row->nested_tried;
	points_done(points_scenario->name, row->states);
	printf("\n    %-44s %6u states, %6u tried ", points_scenario->name, row->states,
	       row->tried);
	if (row->successors)
		printf("; of %u successors %6u, %6u tried ", row->successors,
		       row->nested_states, row->nested_tried);
	CU_ASSERT(row->states >= 1);
	if (points_step_all)
		write_row(row);
}

#else

void points_step_in(void)
{
}

int points_step_out(int r)
{
	return r;
}

void points_count_reads(struct ipcmap *m)
{
	(void)m;
}

#if !HAVE_POINTS
void points_step_over(const struct points_image *start)
{
	(void)start;
	t_skip("needs x86-64");
}
#endif

#endif
