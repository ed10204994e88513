/* SPDX-License-Identifier: MIT */
/*
 * peer.h - what the driver asks of a store; each peer-NAME.c or .cpp gives one
 *
 * A peer with BENCH_PROCESSES is attached by forked processes; the others by threads of one
 * process. The order of calls:
 *
 *	create()			in the driver's process, before the workers begin
 *	attach() in each worker		all of them before the first put
 *	get, put, del, mget, used	in the workers, from then on at the same time
 *
 * conf.path is a name of this run's own on a tmpfs: files are called path, or path and a
 * suffix. The driver removes them as soon as all workers are attached.
 *
 * Calls return 1 or 0 for found or not (del and get) or done (put, always 1); anything
 * negative ends the run with bench_why.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_PROCESSES 1u /* workers are processes; else threads */
#define BENCH_ONE 2u	   /* has no lock of its own: one worker only */
#define BENCH_TTL 4u	   /* entries get conf.ttl_s */
#define BENCH_NO_DEL 8u	   /* cannot delete */
#define BENCH_SERVER 16u   /* the data is in another process */

struct bench_conf {
	const char *path;
	uint64_t n;	/* entries at most */
	uint64_t bytes; /* in their keys and values */
	size_t key_max, val_max;
	unsigned workers;
	unsigned ttl_s; /* life of an entry in seconds; 0: for ever */
};

/* One of the keys of an mget. In: key, key_len, buf, cap. Out: len, rc as get() returns it. */
struct bench_item {
	const void *key;
	size_t key_len;
	void *buf;
	size_t cap;
	size_t len;
	int rc;
};

struct bench_peer {
	const char *name;
	const char *how; /* one line: which library, with which settings */
	unsigned flags;
	int (*create)(const struct bench_conf *conf);
	int (*attach)(void **ret_worker);
	int (*get)(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
		   size_t *ret_len);
	int (*put)(void *worker, const void *key, size_t key_len, const void *val,
		   size_t val_len);
	int (*del)(void *worker, const void *key, size_t key_len);
	int (*mget)(void *worker, struct bench_item *items, size_t n); /* may be NULL */
	uint64_t (*used)(void *worker);	  /* bytes it takes; NULL: measured from outside */
	uint64_t (*sleeps)(void *worker); /* of all for locks, as it counts them; may be NULL */
};

extern const struct bench_peer bench_peer;

/* Why the last call failed; a peer may set it. One for each process. */
extern char bench_why[256];
int bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For peers that are servers: starts program @file, which dies with this process. Its pid. */
int bench_spawn(const char *file, const char *const *argv);
/* Memory of a process in RAM, in bytes; 0: this one. */
uint64_t bench_rss(int pid);

#ifdef __cplusplus
}
#endif

#endif
