/* SPDX-License-Identifier: MIT */
/*
 * points.c - each operation is killed at each of its steps; nothing may be lost
 *
 * A start state is made once and kept as bytes. For every crash point that the operation
 * passes, a fresh file with those bytes is made, a child opens it, starts the operation and
 * kills itself at that point. Then a process looks: first through a read-only attach, which
 * recovers nothing, then through a writable one, which does. Every key must be old or new,
 * whole; what was acknowledged must be there; check must find nothing; the shard must work.
 * Some of these states are given to a successor that is killed in its turn.
 *
 * In builds without crash points the operation is single-stepped instead: points-step.c.
 */
#include "points.h"

#include "crash.h"
#include "map.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define NAMES 128u
#define SCENARIOS_MAX 256u
/*
 * Kills at points of one name, in each operation; under valgrind, in all of them together.
 * Beyond that so many of an operation's points are tried as are told here.
 */
#define EACH_NAME T_AMOUNT(4u, 1u, 1u)
#define SPREAD T_AMOUNT(160u, 20u, 3u)
#define NESTED_FIRST T_AMOUNT(3u, 3u, 2u) /* kills whose states successors get */
#define NESTED_MAX T_AMOUNT(14u, 2u, 1u)  /* kills of the successor for each */

struct names {
	uint32_t n;
	char name[NAMES][24];
};

struct points *points;
const struct points_scenario *points_scenario;
const char *points_path, *points_name;
struct points_total points_total;

static struct names *names;

/* ---- a file as bytes ---- */

struct points_image points_load_image(const char *path)
{
	struct points_image im = {0};
	struct stat st;
	int fd = open(path, O_RDONLY);
	off_t at = 0, end;

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	im.len = (uint64_t)st.st_size;
	im.p = malloc(im.len);
	/* up to the last byte that has memory */
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		im.n = (uint64_t)end;
		at = end;
	}
	if (pread(fd, im.p, im.n, 0) != (ssize_t)im.n)
		abort();
	close(fd);
	return im;
}

/* A new file, since the old one may still be mapped or locked. */
void points_store_image(const char *path, const struct points_image *im)
{
	int fd;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)im->len) < 0 ||
	    pwrite(fd, im->p, im->n, 0) != (ssize_t)im->n)
		abort();
	close(fd);
}

/* ---- points ---- */

static uint8_t number_of(const char *name)
{
	uint32_t i;

	for (i = 0; i < names->n; i++)
		if (strcmp(names->name[i], name) == 0)
			break;
	if (i == names->n) {
		T_MUST(i < NAMES);
		snprintf(names->name[i], sizeof(names->name[i]), "%s", name);
		names->n++;
	}
	return (uint8_t)i;
}

#if HAVE_POINTS
static void at_point(const char *name)
{
	uint8_t i;

	if (strncmp(name, "read.", 5) == 0)
		return;
	i = number_of(name);
	if (points->count < POINTS_MAX)
		points->seq[points->count] = i;
	if (++points->count == points->kill_at)
		kill(getpid(), SIGKILL);
}

void points_watch(uint32_t kill_at)
{
	points->count = 0;
	points->kill_at = kill_at;
	im_crash_hook = at_point;
}

static void watch_no_more(void)
{
	im_crash_hook = NULL;
}
#else
void points_watch(uint32_t kill_at)
{
	(void)kill_at;
	(void)number_of;
}

static void watch_no_more(void)
{
}
#endif

const char *points_where(void)
{
	return points->kill_at && HAVE_POINTS ? names->name[points->seq[points->kill_at - 1]]
					      : "-";
}

bool points_was_passed(const char *name)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (strcmp(names->name[i], name) == 0)
			return true;
	return false;
}

uint32_t points_n_names(void)
{
	return names->n;
}

/* ---- children ---- */

static int child_prepare(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;

	(void)arg;
	o.flags = IPCMAP_CREATE;
	o.limit = 1u << 20;
	o.max = points_scenario->max ? points_scenario->max : 1u << 20;
	o.shards = points_scenario->shards ? points_scenario->shards : 1;
	T_MUST(ipcmap_open(points_name, &o, &m) == 0);
	if (points_scenario->prepare)
		points_scenario->prepare(m);
	points->n_prepared = points->n_leases;
	for (uint32_t i = 0; i < points->n; i++)
		points->before[i] = points_look(m, points->id[i]);
	T_MUST(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	return 0;
}

static int child_stay(void *arg)
{
	struct ipcmap *m;

	T_MUST(ipcmap_open(points_name, NULL, &m) == 0);
	if (points_scenario->living)
		points_watch_alive(m);
	t_gate_pass(arg);
	alarm(0);
	pause();
	return 1;
}

pid_t points_start_other(void)
{
	struct t_gate gate;
	pid_t pid;

	t_gate_open(&gate);
	pid = t_run(child_stay, &gate);
	t_gate_wait(&gate);
	t_gate_close(&gate);
	return pid;
}

int points_run_steps(struct ipcmap *m)
{
	for (uint32_t i = 0; i < points_scenario->steps; i++) {
		int r = points_scenario->step(m, i);

		if (r) {
			fprintf(stderr, "\n%s: step %u: %d", points_scenario->name, i, r);
			return 1;
		}
		im_store32_rel(&points->acked, i + 1);
	}
	return 0;
}

/* The operation, to be killed at points->kill_at, or else whole. */
static int child_operate(void *arg)
{
	uint32_t kill_at = *(uint32_t *)arg;
	struct ipcmap *m;

	points->acked = 0;
	points->n_leases = points->n_prepared;
	if (points_scenario->opening)
		points_watch(kill_at);
	T_MUST(ipcmap_open(points_name, NULL, &m) == 0);
	if (!points_scenario->opening)
		points_watch(kill_at);
	if (points_run_steps(m))
		return 1;
	watch_no_more();
	if (kill_at == 0)
		for (uint32_t i = 0; i < points->n; i++)
			points->after[i] = points_look(m, points->id[i]);
	return 0;
}

#if HAVE_POINTS
/* Takes over, writes, and is killed in its turn. */
static int child_succeed(void *arg)
{
	struct ipcmap *m;

	points_watch(*(uint32_t *)arg);
	if (ipcmap_open(points_name, NULL, &m))
		return 1;
	points_write_on(m);
	for (uint32_t i = 0; i < m->n_shards; i++)
		ipcmap_check(m, NULL, NULL);
	return 0;
}

#endif

/* ---- the parent ---- */

static struct {
	const char *name;
	uint32_t n;
} ran[SCENARIOS_MAX];
static uint32_t n_ran;

void points_done(const char *name, uint32_t n)
{
	if (n_ran == SCENARIOS_MAX)
		abort();
	ran[n_ran].name = name;
	ran[n_ran++].n = n;
}

uint32_t points_of(const char *name)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_ran; i++)
		n += strcmp(ran[i].name, name) == 0 ? ran[i].n : 0;
	return n;
}

bool points_run(int (*fn)(void *arg), uint32_t arg)
{
	return t_ok(t_run(fn, &arg));
}

/* Beside the one that watches, if there is one. */
static int status_beside(int (*fn)(void *arg), uint32_t arg)
{
	pid_t other = points_scenario->living ? points_start_other() : 0;
	int status = t_wait(t_run(fn, &arg), T_LIMIT_MS);

	if (other)
		t_kill(other);
	return status;
}

static bool run_beside(int (*fn)(void *arg), uint32_t arg)
{
	int status = status_beside(fn, arg);

	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#if HAVE_POINTS
static bool killed_beside(int (*fn)(void *arg), const uint32_t *arg)
{
	int status = status_beside(fn, *arg);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* Those who watch are many operations, each looked at for long. */
static bool is_sampled(void)
{
	return points_scenario->sampled || points_scenario->watched;
}

static bool visited_often(uint32_t k)
{
	static const struct points_scenario *of;
	static uint32_t seen[NAMES];

	if (of != points_scenario && !T_VALGRIND)
		memset(seen, 0, sizeof(seen));
	of = points_scenario;
	return seen[points->seq[k - 1]]++ >= (is_sampled() ? EACH_NAME / 4 + 1 : EACH_NAME);
}

/* One state: look at it, and, if asked, let successors die on it. */
static bool try_state(bool nested)
{
	uint32_t kill_at = points->kill_at, acked = points->acked, n, step;
	struct points_image im;

	if (!nested)
		return points_run(points_child_look, 0);
	im = points_load_image(points_path);
	points_store_image(points_path, &im);
	run_beside(child_succeed, 0);
	n = points->count;
	step = n / (is_sampled() ? NESTED_MAX / 3 + 1 : NESTED_MAX) + 1;
	for (uint32_t j = 1 + kill_at % step; j <= n; j += step) {
		points_store_image(points_path, &im);
		points->acked = acked;
		CU_ASSERT(killed_beside(child_succeed, &j));
		points->kill_at = 0;
		points_total.nested++;
		if (!points_run(points_child_look, 0)) {
			fprintf(stderr, "\n%s: killed at %u, its successor at %u\n",
				points_scenario->name, kill_at, j);
			free(im.p);
			return false;
		}
	}
	points_store_image(points_path, &im);
	free(im.p);
	points->acked = acked;
	points->kill_at = kill_at;
	return points_run(points_child_look, 0);
}

static void kill_at_points(const struct points_image *start)
{
	uint32_t spread = is_sampled() ? SPREAD / 8 + 1 : SPREAD;
	uint32_t n = points->count, tried = 0, failed = 0;
	uint32_t stride = n / spread + 1;

	points_total.passed += n;
	points_done(points_scenario->name, n);
	for (uint32_t k = 1; k <= n && k <= POINTS_MAX && failed < 3; k++) {
		bool nested = is_sampled() ? k == n / 2 + 1
					   : n / NESTED_FIRST && k % (n / NESTED_FIRST) == 1;

		if (visited_often(k) && k % stride && !nested)
			continue;
		points_store_image(points_path, start);
		tried++;
		if (!killed_beside(child_operate, &k)) {
			CU_FAIL("it was not killed at its point");
			failed++;
		} else if (!try_state(nested)) {
			CU_FAIL("the state after the kill is wrong");
			failed++;
		}
	}
	points_total.tried += tried;
	printf("\n    %-44s %5u points, %4u tried ", points_scenario->name, n, tried);
	CU_ASSERT(n >= points_scenario->least);
}
#endif

void points_begin(void)
{
	if (!points) {
		points = t_shared(sizeof(*points));
		names = t_shared(sizeof(*names));
	}
	memset(points, 0, sizeof(*points));
}

void points_kill_everywhere(const struct points_scenario *scenario, int line)
{
	struct points_image start;

	points_begin();
	points_total.ran++;
	points_scenario = scenario;
	points_path = t_path(line);
	points_name = t_name(line);
	unlink(points_path);
	CU_ASSERT_FATAL(points_run(child_prepare, 0));
	start = points_load_image(points_path);
	if (!run_beside(child_operate, 0)) {
		CU_FAIL("the operation fails by itself");
	} else {
#if HAVE_POINTS
		kill_at_points(&start);
#else
		points_step_over(&start);
#endif
	}
	free(start.p);
	unlink(points_path);
}
