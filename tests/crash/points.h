/* SPDX-License-Identifier: MIT */
/*
 * points.h - an operation is killed at each of its steps: what the suites t-points-*.c share
 *
 * A suite says with SCENARIO() how a map is prepared and which steps of an operation change
 * it. points-keys.c has the keys that it changes. points.c kills it at the crash points,
 * points-step.c goes through its instructions in builds without them, and points-look.c judges
 * what is left; so do points-watch.c, for those who watch, and points-lease.c, for those who
 * load.
 */
#ifndef POINTS_H
#define POINTS_H

#include "load.h"

#define POINTS_KEYS 1600u
#define POINTS_IDS 200000u
#define POINTS_FAR 100000u /* ids from here on have keys of POINTS_FAR_LEN bytes */
#define POINTS_FAR_LEN 5000u
#define POINTS_NEW 150000u	/* what successors write */
#define POINTS_SNAPSHOT 199999u /* not a key: the current version of a snapshot table */
#define POINTS_NOBODY 199998u	/* a key that is never there */
#define POINTS_OLD 199997u /* not a key: the versions of that table up to number points->old */
#define POINTS_MAX 8192u
#define POINTS_SHARDS 4u /* of scenarios that are watched */
#define POINTS_LEASES 20u

/* What a get of a key told. */
struct points_seen {
	int r;
	uint32_t len;
	uint64_t sum;
};

/* Shared by the parent and its children, which come one after the other. */
struct points {
	uint32_t n;
	uint32_t id[POINTS_KEYS];
	int step[POINTS_KEYS]; /* the step of the operation that changes it; -1: none */
	struct points_seen before[POINTS_KEYS], after[POINTS_KEYS], early[POINTS_KEYS];
	uint16_t index_of[POINTS_IDS]; /* 1 + index */
	uint32_t next_id;
	uint32_t acked; /* steps that returned */
	uint32_t count;		 /* points that were passed */
	uint32_t kill_at;	 /* 0: never */
	uint8_t seq[POINTS_MAX]; /* numbers of their names, in order */
	uint32_t aux[4];
	uint64_t old; /* versions of the snapshot table, for POINTS_OLD */
	/* points-watch.c: where a watch began, and which versions keys had there */
	uint64_t head[POINTS_SHARDS];
	uint64_t version[POINTS_KEYS];
	/* points-lease.c: leases that were granted */
	uint32_t n_leases;
	uint32_t n_prepared; /* by prepare, the others by the operation */
	struct {
		uint32_t id;
		struct ipcmap_lease lease;
	} lease[POINTS_LEASES];
};
extern struct points *points;

enum points_watching {
	POINTS_UNWATCHED,
	POINTS_FOLLOWED, /* from points_watch_from_here() on */
	POINTS_WATCHED,	 /* by some that do not count: rings come and go */
};

struct points_scenario {
	const char *name;
	void (*prepare)(struct ipcmap *m);
	int (*step)(struct ipcmap *m, uint32_t i);
	uint32_t steps;
	unsigned shards;
	uint32_t least; /* points */
	uint64_t max;	/* of the map; 0: 1 MiB */
	bool opening;	/* the attach is part of it */
	bool loose;	/* keys of one step change one by one */
	bool group;	/* they do until a successor has come, for all but consistent reads */
	enum points_watching watched;
	bool living; /* who began the watch lives, but its image is of a process that does not */
	bool sampled; /* fewer kills at crash points: single steps are what goes through it */
	bool expiring; /* lives end after the watch began; it is told when they are met */
	bool leased; /* some keys are being loaded */
	bool failing; /* loads of them may fail */
};
extern const struct points_scenario *points_scenario; /* that is being tried */
extern const char *points_path, *points_name;	      /* its segment */

/* Over all suites. */
struct points_total {
	uint32_t scenarios; /* there are */
	uint32_t ran;
	uint32_t passed; /* points, or states between instructions */
	uint32_t tried;
	uint32_t successors;
	uint32_t nested; /* kills of successors, or states of theirs that were tried */
	uint64_t instructions;
};
extern struct points_total points_total;
/* A scenario ran, with so many points or states. */
void points_done(const char *name, uint32_t n);
/* 0: it did not. */
uint32_t points_of(const char *name);

/* The test points__<fn>, to be listed in the suite's table. */
#define SCENARIO(fn, ...)                                                                      \
	__attribute__((constructor)) static void points_announce_##fn(void)                    \
	{                                                                                      \
		points_total.scenarios++;                                                      \
	}                                                                                      \
	static void points__##fn(void)                                                         \
	{                                                                                      \
		static const struct points_scenario s = {__VA_ARGS__};                         \
		points_kill_everywhere(&s, __LINE__);                                          \
	}
void points_kill_everywhere(const struct points_scenario *scenario, int line);
/* What a test that is no scenario begins with. */
void points_begin(void);

/* ---- keys and values ---- */

size_t points_make_key(uint32_t id, unsigned char *key);
bool points_is_key(uint32_t id);
uint32_t points_id_of(const void *key);
uint64_t points_hash_of(struct ipcmap *m, uint32_t id);
/* The next id whose key lies in this shard and has these low bits of its hash. */
uint32_t points_pick(struct ipcmap *m, uint32_t shard, uint64_t mask, uint64_t bits);

/* The step that will change a key is told before or after its first put; -1: none. */
void points_note(uint32_t id, int step);
int points_store(struct ipcmap *m, uint32_t id, uint32_t len, uint64_t seq, uint64_t ttl);
int points_del(struct ipcmap *m, uint32_t id);
struct points_seen points_look(struct ipcmap *m, uint32_t id);

/* Noted as changed by no step, stored for good. */
void points_put(struct ipcmap *m, uint32_t id, uint32_t len, uint64_t seq);
void points_put_many(struct ipcmap *m, uint32_t from, uint32_t n, uint32_t len);
void points_put_in_bucket(struct ipcmap *m, uint64_t mask, uint64_t bits, uint32_t n);
/* The limit is lowered below what is used: no extent is to be had but from garbage. */
void points_leave_no_extent(struct ipcmap *m);

/* With a clock that runs ahead, so that compaction need not rest. */
int points_compact(struct ipcmap *m, const struct ipcmap_compact_options *how);

/* Around what may be single-stepped. */
void points_step_in(void);
int points_step_out(int r);

/* ---- who watches, who loads ---- */

/* In prepare: what happens from here on is told. Keys that were noted may be there already. */
void points_watch_from_here(struct ipcmap *m);
/* In a process that stays: it watches, alive. */
void points_watch_alive(struct ipcmap *m);
/* What a watcher sees before anybody took over, after that, and after each further write. */
void points_watch_before(struct ipcmap *m);
void points_watch_begin(struct ipcmap *m);
void points_watch_look(struct ipcmap *m);
void points_watch_end(struct ipcmap *m);

/* This process leads; the lease is remembered. */
struct ipcmap_lease points_lead(struct ipcmap *m, uint32_t id,
				const struct ipcmap_fill_options *how);
/* What must hold of leases at any time; and what those remembered are worth at the end. */
void points_lease_look(struct ipcmap *m);
void points_lease_end(struct ipcmap *m);

/* ---- start states ---- */

/* Those of several suites; key 1 changes in step 0. */
void points_twenty(struct ipcmap *m);
void points_one_under_many(struct ipcmap *m);
void points_one_over_many(struct ipcmap *m);
void points_one_large(struct ipcmap *m);

/* ---- kills ---- */

/* From here on this process counts the points it passes, and dies at number @kill_at. */
void points_watch(uint32_t kill_at);
/* Ran it in a child, which returned 0. */
bool points_run(int (*fn)(void *arg), uint32_t arg);
/* The name of the point at which it was killed. */
const char *points_where(void);
bool points_was_passed(const char *name);
uint32_t points_n_names(void);

/* ---- between the files of the engine ---- */

/* A file as bytes. */
struct points_image {
	uint64_t len; /* of the file */
	uint64_t n;   /* bytes kept; the rest is zero */
	unsigned char *p;
};
struct points_image points_load_image(const char *path);
void points_store_image(const char *path, const struct points_image *im);

int points_run_steps(struct ipcmap *m);
/* A process that has the map open, in owner slot 1 if that is free, and that watches if the
 * scenario is living. */
pid_t points_start_other(void);
void points_step_over(const struct points_image *start);

/* In a child: all is as it must be after the kill. */
int points_child_look(void *arg);
/* The same for many states in one process: not all of it for each. */
void points_look_at_state(void);
/* A get needs no more instructions than it should. */
void points_count_reads(struct ipcmap *m);
/* Write in every shard, which takes it over. A map made full by its scenario may refuse. */
void points_write_on(struct ipcmap *m);
void points_write_once(struct ipcmap *m);

#endif
