/* SPDX-License-Identifier: MIT */
/*
 * callers.h - the processes of the linearizability test: workers, watcher, filler, compactor
 *
 * They share memory with the test, in which they note their calls.
 */
#ifndef CALLERS_H
#define CALLERS_H

#include "lin.h"
#include "load.h"

#define WORKERS 4u
#define VALUES 4u /* keys that hold values */
#define LONG (VALUES - 1)  /* the key of this one is longer than half an extent */
#define BRIEF (VALUES - 2) /* the values of this one soon expire */
#define COUNTERS 1u
#define KEYS (VALUES + COUNTERS)
#define OPS 100u    /* calls of a worker in a round */
#define FILL 20000u /* keys of the filler */
#define BESIDE 4u   /* keys of a worker that come in groups with others */
#define LONG_KEY 2500u
#define EVERY_KEY 0xffu /* of a clear */
#define LIFE_S T_AMOUNT(60u, 180u, 300u) /* of a process that gets no further */

#define HEARD 1024u /* events of a key in a round, at most */

/* What was heard of a key in this round, and what it comes to. */
struct heard {
	uint64_t n;
	struct lin_event event[HEARD];
	uint64_t version; /* as the events tell, from what was read when the watch began */
	uint32_t there;
	uint32_t pad;
};

struct shared {
	uint64_t stamp;
	uint64_t clock; /* what lives are measured by */
	uint64_t gaps;
	uint32_t listening; /* the watcher watches, and has read the keys */
	uint32_t drain, drained; /* the watcher has heard all that was there at drain */
	uint32_t pad;
	struct heard heard[KEYS];
	uint64_t filled; /* keys of the filler */
	uint64_t wrong;	 /* values that are not whole, or of another key */
	uint64_t limits; /* LIMIT and FULL that workers saw */
	uint64_t busy;
	uint64_t compactions;
	uint32_t round;
	uint32_t ready; /* workers that wait for the others to begin the round */
	uint32_t stop;
	uint32_t pause, paused;	  /* the filler */
	uint32_t die_in[WORKERS]; /* crash points */
	uint32_t next[WORKERS];	  /* call */
	struct lin_op op[WORKERS][OPS];
};

struct worker {
	uint32_t me;
	bool clears;
	uint32_t life; /* number of the process among all that there were: writer of values */
	uint64_t seq;
	uint64_t x;
	uint32_t next; /* 1 + the key that it was granted a lease of by its last call, or 0 */
	uint64_t version[KEYS], value[KEYS]; /* seen last */
	struct held {
		struct ipcmap_lease lease;
		uint64_t number; /* 0: none */
	} held[KEYS], ended[KEYS]; /* leases granted, and one that it has used already */
	struct ipcmap *m;
};

struct watcher {
	bool prefix;	      /* one watch, of a prefix; or one for each key */
	uint16_t shard[KEYS]; /* of the keys */
};

extern struct shared *sh;
extern const char *callers_map; /* the name of the map */

/* From now on this process has the clock of the map, which workers turn. */
void callers_clock_on(void);
void callers_clock_off(void);

bool is_counter(uint32_t k);
/* The key too long for events is not under the prefix that is watched. */
#define WATCHED_PREFIX "linear-"
size_t callers_key(uint32_t k, unsigned char *key); /* room for LONG_KEY + 20 bytes */

/* How many keys there are that come in groups beside those that are looked at. */
uint32_t callers_count_beside(struct ipcmap *m);

/* What a call returned, into @o. */
void callers_show(struct lin_op *o, const struct ipcmap_value *v);

/* For t_run(): their arguments are a struct worker, a struct watcher, a random number of 64
 * bits, nothing. */
int callers_work(void *arg);
int callers_watch(void *arg);
int callers_fill(void *arg);
int callers_compact(void *arg);

#endif
