/* SPDX-License-Identifier: MIT */
/*
 * torture.h - what the processes of a torture run share
 *
 * Eight workers and an operator have one map. Each worker has three hands: its first thread, a
 * second one, and a forked child now and then. A hand has keys that nobody else writes, and
 * its own counters; the state of all of it is known to the oracle (oracle.h).
 */
#ifndef TORTURE_H
#define TORTURE_H

#include "oracle.h"

#include "atomic.h"

#define WORKERS 8u
#define OPERATOR WORKERS /* tunes, compacts and looks */
#define PROCESSES (WORKERS + 1)
#define HANDS 3u
#define WRITERS (WORKERS * HANDS)
#define PLAIN 12u /* keys of each hand that never expire, ... */
#define MORTAL 6u /* ... that may */
#define EACH (PLAIN + MORTAL)
#define KEYS (EACH * WRITERS)
#define COUNTERS 4u /* that all add to; each hand has one of its own besides */
#define OTHER 6u    /* keys of each worker in the other map, which is cleared */
#define BULK 30u    /* keys of each hand that are deleted by their prefix */
#define DELAYS 20000u
#define SHARDS_MAX 64u
#define HOOKS 128u

/* A counter: it has a value from done to begun. */
struct counter {
	uint64_t begun;
	uint64_t done;
};

/* A key of the other map. Clears are numbered. */
struct cleared {
	uint64_t begun;
	uint64_t done;
	uint64_t before; /* the last clear that had ended when the put began */
	uint64_t after;	 /* the last clear that had begun when the put was acknowledged */
};

/* A version of a snapshot table that was published. */
struct published {
	uint64_t version;
	uint64_t content;
};

struct torture {
	char name[64];
	char other[64];
	char fresh[64]; /* to compare with */
	uint32_t stop;
	uint32_t pause;
	uint32_t paused[PROCESSES];
	uint64_t progress[PROCESSES];
	int child[WORKERS]; /* the last that was forked by each */
	uint64_t limit;	    /* of the map at its creation */
	struct counter own[WRITERS];
	struct counter shared[COUNTERS][WRITERS];
	uint64_t bulk[WRITERS];
	struct published published[WORKERS][ORACLE_NOTES];
	struct cleared cleared[WORKERS][OTHER];
	uint64_t clear_begun, clear_done;

	/* findings besides the oracle's, and what was done */
	uint64_t answers; /* that a call must not have given */
	uint64_t shown;	  /* scans that left out, or showed twice */
	uint64_t counted; /* counters that cannot be */
	uint64_t tables;  /* snapshot versions that are not of one piece */
	uint64_t checks, findings;
	uint64_t died; /* processes that ended otherwise than by SIGKILL */
	uint64_t forks, attaches, adds, scans, bulks, publishes, opens, clears, compacts, tunes;

	/* from the kill of a lock's holder to the next write of its shard, ns */
	uint64_t killed[SHARDS_MAX];
	uint64_t takeovers[SHARDS_MAX];
	uint64_t n_delays;
	uint64_t delay[DELAYS];

	/* crash points: their names, and kills there */
	uint32_t hooks; /* kill at them? */
	uint32_t n_names;
	const char *hook[HOOKS];
	uint64_t hook_kills[HOOKS];
	uint64_t sleeps; /* in the middle of a read */
};

extern struct torture *tt;
extern struct oracle *keys;	/* of the map */
extern struct oracle *versions; /* one snapshot table a worker */

/* 0, or an error that says that nothing was changed: limits, deadlines, interrupts. */
bool torture_refused(struct oracle *o, int r);
/* A finding: prints it. */
void torture_find(uint64_t *counter, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
uint64_t torture_now_ns(void);

/* work.c: a worker and the operator, until they are killed or stopped. @arg: uint32_t * */
int torture_work(void *arg);
int torture_operate(void *arg);
/* What the keys, tables, counters are now; nobody writes. @final: nothing is in flight. */
void torture_recall(struct ipcmap *m, uint32_t hand, bool final);
void torture_recall_table(struct ipcmap *m, uint32_t worker, bool final);
size_t torture_counter_key(uint32_t i, bool shared, char *key);

/* verify.c: with all workers at rest and detached. @last: the map is emptied, too. */
void torture_verify(bool last);

/* hooks.c: from now on this process may die at a crash point, another one from time to time. */
void torture_hook(uint64_t *random);

/* tables.c */
struct held {
	struct ipcmap_snapshot *snap;
	uint32_t worker;
	uint64_t content;
};
void torture_publish(struct ipcmap *m, uint32_t worker, uint64_t *x);
void torture_open(struct ipcmap *m, uint32_t worker, struct held *ret_held);
/* Still what it was? A forked child may be told that its parent let it go. */
void torture_look_again(struct held *h, bool forked);

#endif
