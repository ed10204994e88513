/* SPDX-License-Identifier: MIT */
/*
 * work.h - the workers of one peer: forked processes or threads, told what to do one by one
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include "peer.h"
#include "stream.h"

#include <stdatomic.h>

#define WORK_MAX 8u	  /* workers */
#define WORK_WINDOWS 200u /* of a load, for each of which the slowest insert is kept */
#define WORK_CHUNK 65536u /* operations made ready at a time while loading */

/* Times by their length: 32 steps to each power of two, so 3 % wide. */
#define HIST_STEPS 32u
#define HIST_CELLS (36u * HIST_STEPS)
struct hist {
	uint64_t count[HIST_CELLS];
	uint64_t max, max_at; /* ns; number of the operation */
};

void hist_add(struct hist *h, uint64_t ns, uint64_t at);
/* The shortest time that is counted in @cell. */
uint64_t hist_ns(unsigned cell);

enum task { TASK_ATTACH, TASK_LOAD, TASK_WARM, TASK_RUN, TASK_QUIT };

struct command {
	enum task task;
	struct mix mix;
	unsigned workers; /* the first so many take part */
	size_t ops;	  /* for each of them */
	unsigned batch;	  /* mget of so many; 1: single gets */
	bool timed;	  /* take the time of each operation */
	uint64_t seed;
};

struct result {
	bool failed;
	char why[256];
	uint64_t begin_ns, end_ns; /* of the clock; a load counts only its inserts */
	uint64_t ops, found, missing;
	uint64_t cpu_ns, queued_ns;	/* on a processor; ready, but waiting for one */
	uint64_t switches, sleeps;	/* voluntary; by the peer's own count */
	uint64_t bytes;			/* after a load */
	uint64_t slowest[WORK_WINDOWS]; /* of a timed load */
	struct hist hist;
};

/* What driver and workers share. */
struct work {
	struct bench_conf conf;
	struct shape shape;
	struct command command;
	atomic_uint arrived; /* at the start line */
	struct result result[WORK_MAX];
};

/* Starts conf.workers of them; each is attached when it returns. 0 or -1, see bench_why. */
int work_begin(const struct bench_conf *conf, const struct shape *shape, struct work **ret);
/* One task by all who take part. 0 or -1. */
int work_do(struct work *w, const struct command *command);
void work_end(struct work *w);

uint64_t work_now(void);

#endif
