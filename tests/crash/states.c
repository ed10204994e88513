/* SPDX-License-Identifier: MIT */
/*
 * states.c - processes look at the states of a journal, each in a file of its own
 *
 * A looker goes through the journal with a copy of the bytes, and where it shall look it
 * makes its file equal to the copy: nobody holds an owner's lock on that file, so the process
 * that was traced is dead there. What the last look left in the file is found by comparing
 * pages, which is faster than a new file. A looker that dies has found a fault; another goes
 * on behind that state.
 */
#include "trace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#define COPY_LINE 1000000 /* stands for the copies in their names; no test has that line */
#define LOOKERS_MAX 16u
#define BAD_MAX 3u /* lookers that die; then it is enough */
#define PAGE 4096u
#define LOOK_SEC 60u

struct progress {
	uint32_t state[LOOKERS_MAX]; /* that is being looked at */
};

struct looker {
	const struct trace_journal *j;
	unsigned char *want;
	unsigned char *map; /* its file */
	uint64_t file_len;
	uint32_t changes; /* made in want */
};

static void follow(struct looker *l, const struct trace_state *s)
{
	for (; l->changes < s->changes; l->changes++) {
		const struct trace_change *c = &l->j->change[l->changes];

		memcpy(l->want + (uint64_t)c->line * TRACE_LINE, c->bytes, TRACE_LINE);
	}
}

static void make_file(struct looker *l, uint64_t file_len)
{
	struct points_image im = {.len = file_len, .n = l->j->len, .p = l->want};

	unlink(points_path);
	if (file_len == UINT64_MAX)
		return;
	im.n = im.n < file_len ? im.n : file_len;
	points_store_image(points_path, &im);
}

static void map_file(struct looker *l, uint64_t file_len)
{
	int fd;

	make_file(l, file_len);
	fd = open(points_path, O_RDWR | O_CLOEXEC);
	l->map = mmap(NULL, file_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || l->map == MAP_FAILED)
		abort();
	close(fd);
	l->file_len = file_len;
}

static void restore_file(struct looker *l, uint64_t file_len)
{
	if (!l->map || l->file_len != file_len) {
		map_file(l, file_len);
		return;
	}
	for (uint64_t off = 0; off < l->j->len; off += PAGE) {
		uint64_t n = l->j->len - off < PAGE ? l->j->len - off : PAGE;

		if (memcmp(l->map + off, l->want + off, n) != 0)
			memcpy(l->map + off, l->want + off, n);
	}
}

/* As if this process were alone: it changes some of it. */
static void take_points(void)
{
	struct points *mine = malloc(sizeof(*mine));

	memcpy(mine, points, sizeof(*mine));
	points = mine;
}

static int look_at_share(const struct trace_journal *j, const struct states_plan *plan,
			 uint32_t from, uint32_t mine, uint32_t lookers, uint32_t *progress)
{
	struct looker l = {.j = j, .want = malloc(j->len)};
	uint32_t n = 0;

	memcpy(l.want, j->start, j->len);
	take_points();
	for (uint32_t i = 0; i < j->n_states; i++) {
		const struct trace_state *s = &j->state[i];

		follow(&l, s);
		if (!s->look || n++ % lookers != mine || i < from)
			continue;
		*progress = i;
		alarm(LOOK_SEC);
		if (plan->anew)
			make_file(&l, s->file_len);
		else
			restore_file(&l, s->file_len);
		points->kill_at = i + 1;
		points->acked = s->acked;
		plan->look(s);
	}
	return 0;
}

void states_image(const struct trace_journal *j, uint32_t state, struct points_image *ret)
{
	struct looker l = {.j = j, .want = malloc(j->len)};

	memcpy(l.want, j->start, j->len);
	follow(&l, &j->state[state]);
	*ret = (struct points_image){.len = j->state[state].file_len, .n = j->len, .p = l.want};
}

static uint32_t processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n < (int)LOOKERS_MAX ? (uint32_t)n : LOOKERS_MAX;
}

static pid_t start(const struct trace_journal *j, const struct states_plan *plan, uint32_t from,
		   uint32_t mine, uint32_t lookers, uint32_t *progress)
{
	pid_t pid = t_fork();

	if (pid == 0) {
		points_path = t_path(COPY_LINE + (int)mine);
		points_name = points_path + strlen("/dev/shm");
		_exit(look_at_share(j, plan, from, mine, lookers, progress));
	}
	return pid;
}

uint32_t states_look(const struct trace_journal *j, const struct states_plan *plan)
{
	struct progress *p = t_shared(sizeof(*p));
	uint32_t n = processors(), bad = 0;
	pid_t pid[LOOKERS_MAX];

	for (uint32_t i = 0; i < n; i++)
		pid[i] = start(j, plan, 0, i, n, &p->state[i]);
	for (uint32_t i = 0; i < n; i++) {
		int status;

		while (waitpid(pid[i], &status, 0) == pid[i] && status && ++bad < BAD_MAX) {
			fprintf(stderr, "\n%s: state %u of %u (made at %#x), status %#x\n",
				points_scenario->name, p->state[i] + 1, j->n_states,
				j->state[p->state[i]].pc, (unsigned)status);
			pid[i] = start(j, plan, p->state[i] + 1, i, n, &p->state[i]);
		}
		unlink(t_path(COPY_LINE + (int)i));
	}
	t_shared_free(p, sizeof(*p));
	return bad;
}
