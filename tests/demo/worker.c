/* SPDX-License-Identifier: MIT */
/*
 * worker.c - a program that uses the map as any other would, until it is killed
 *
 *	worker NAME ORACLE ID
 *
 * Nine reads to a write. Every read is checked against the oracle (see demo.h). Most writes
 * go to a few keys of 4 KiB, so that their shards' locks are held often when a kill comes;
 * a few are larger than half an extent, which takes another way through the library.
 */
#include "demo.h"

#define HOT_LEN 4096u
#define LARGE_LEN 300000u
#define ONE_IN_LARGE 256u
#define PERCENT_HOT 80u

struct worker {
	struct demo *d;
	struct ipcmap *map;
	struct demo_writer *me;
	uint32_t id;
	uint64_t random;
	char *buf;
};

static uint32_t below(struct worker *w, uint32_t n)
{
	return (uint32_t)((demo_random(&w->random) >> 32) % n);
}

/* A key to read: configuration, a hot key of anybody, any key. */
static uint32_t key_to_read(struct worker *w)
{
	switch (below(w, 4)) {
	case 0:
		return w->d->n_loaded + below(w, DEMO_CONFIG);
	case 1:
		return below(w, DEMO_HOT * DEMO_WORKERS);
	default:
		return below(w, w->d->n_loaded);
	}
}

static void note_time(struct demo_writer *me, uint64_t ns)
{
	demo_count(&me->took[ns ? 63 - __builtin_clzll(ns) : 0]);
	if (ns > atomic_load_explicit(&me->slowest_ns, memory_order_relaxed))
		atomic_store_explicit(&me->slowest_ns, ns, memory_order_relaxed);
}

static void read_one(struct worker *w)
{
	uint32_t i = key_to_read(w);
	struct demo_key *k = &w->d->keys[i];
	uint64_t acked = atomic_load(&k->acked), start = demo_now(), end, n;
	size_t len = 0;
	int rc = ipcmap_get(w->map, demo_key_at(w->d, i), k->len, w->buf, DEMO_VALUE_MAX, &len);

	end = demo_now();
	demo_count(&w->me->reads);
	note_time(w->me, end - start);
	if (rc == IPCMAP_NOTFOUND && i >= w->d->n_loaded && acked == 0)
		return; /* configuration that is not published yet */
	if (rc < 0 && rc != IPCMAP_NOTFOUND) {
		demo_failed(w->me, "get", len, rc);
	} else if (rc < 0 || !demo_number(w->d, i, w->buf, len, &n)) {
		demo_count(&w->me->wrong);
	} else if (n < acked || n > atomic_load(&k->intent)) {
		demo_count(&w->me->stale);
	}
}

static void write_one(struct worker *w)
{
	uint32_t n_own = (w->d->n_loaded - w->id + DEMO_WORKERS - 1) / DEMO_WORKERS;
	bool hot = below(w, 100) < PERCENT_HOT;
	uint32_t i = below(w, hot ? DEMO_HOT : n_own) * DEMO_WORKERS + w->id;
	size_t len = hot ? HOT_LEN : 64 + below(w, 1472);

	if (hot && below(w, ONE_IN_LARGE) == 0)
		len = LARGE_LEN;
	demo_write(w->d, w->map, i, len, w->buf);
}

int main(int argc, char **argv)
{
	struct worker w = {0};

	if (argc != 4)
		demo_die("usage", "worker NAME ORACLE ID");
	w.d = demo_open(argv[2]);
	w.id = (uint32_t)atoi(argv[3]) % DEMO_WORKERS;
	w.me = &w.d->writers[w.id];
	w.random = demo_mix(demo_now() ^ (uint64_t)getpid() << 32) | 1;
	w.buf = malloc(DEMO_VALUE_MAX);
	w.map = demo_attach(argv[1]);
	if (!w.buf)
		demo_die("worker", "out of memory");
	demo_resume(w.d, w.map, w.id, w.buf);
	for (;;) {
		for (int i = 0; i < 9; i++)
			read_one(&w);
		write_one(&w);
	}
}
