/* SPDX-License-Identifier: MIT */
/*
 * demo.h - what the programs of the demo agree on: the oracle, and the shape of a value
 *
 * The oracle is a plain file outside the map, mapped by all of them. For each key it knows
 * how the value that was loaded looks, and of every later write of the key its number:
 * `intent` is stored before the write is tried, `acked` after the map said yes. Each key is
 * written by one writer alone, so at any moment the map must hold a write between the two:
 *
 *	acked (read before the get)  <=  number of the value found  <=  intent (read after it)
 *
 * A writer is killed by SIGKILL: what it stored here stays, as the file's pages are the
 * kernel's.
 */
#ifndef DEMO_H
#define DEMO_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipcmap.h"

#define DEMO_MAGIC 0x6f6d6564706d6331ull
#define DEMO_WORKERS 6u
#define DEMO_PUBLISHER DEMO_WORKERS /* the writer of the configuration */
#define DEMO_WRITERS (DEMO_WORKERS + 1)
#define DEMO_CONFIG 16u /* configuration keys: the last ones of the oracle */
#define DEMO_HOT 8u	/* keys that each worker writes most, the first of its own */
#define DEMO_VALUE_MAX 524288u
#define DEMO_TELL 3u   /* failed calls of a writer that are told about */
#define DEMO_SLOTS 64u /* of the histogram: slot n counts reads of 2^n ns and more */

struct demo_key {
	uint32_t at; /* bytes from the oracle's start */
	uint32_t len;
	uint64_t val_len; /* the value loaded; 0 in configuration keys */
	uint64_t val_hash;
	_Atomic uint64_t intent;
	_Atomic uint64_t acked;
};

/* Written by one writer alone; read when all is over, or for show. */
struct demo_writer {
	_Alignas(64) _Atomic uint64_t starts;
	_Atomic uint64_t reads;
	_Atomic uint64_t writes;
	_Atomic uint64_t slowest_ns;
	_Atomic uint64_t wrong;	  /* bytes that nobody wrote, or of another key; or no value */
	_Atomic uint64_t stale;	  /* older than what was acknowledged, or newer than written */
	_Atomic uint64_t failed;  /* calls that ended with another error */
	_Atomic uint64_t writing; /* inside a put at this moment */
	_Atomic uint64_t cut;	  /* writes in flight at a kill: found done after it ... */
	_Atomic uint64_t undone;  /* ... and found not begun */
	_Atomic uint64_t took[DEMO_SLOTS];
};

struct demo {
	uint64_t magic;
	uint64_t size;
	uint32_t n_keys; /* all; the last DEMO_CONFIG are configuration */
	uint32_t n_loaded;
	_Atomic uint64_t kills;
	struct demo_writer writers[DEMO_WRITERS];
	struct demo_key keys[];
};

_Static_assert(offsetof(struct demo, keys) == sizeof(struct demo), "keys follow at once");

/* What a writer stores: this, the key, filler up to the length. */
struct demo_value {
	uint64_t magic;
	uint64_t number;
	uint64_t hash; /* of everything after it, started with the number */
	uint32_t writer;
	uint32_t key_len;
};

static inline uint64_t demo_mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	return h ^ h >> 32;
}

/* Eight bytes at a time: the demo is to spend its time in the map. */
static inline uint64_t demo_hash(uint64_t seed, const void *bytes, size_t len)
{
	const char *p = bytes;
	uint64_t h = demo_mix(seed ^ len), w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = (h ^ w) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	w = 0;
	memcpy(&w, p, len);
	return demo_mix(h ^ w);
}

static inline void demo_count(_Atomic uint64_t *counter)
{
	/* its one writer: a plain add in two steps is enough */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* Count a call that failed; the first of each writer are told about. */
static inline void demo_failed(struct demo_writer *me, const char *what, size_t len, int rc)
{
	if (atomic_load(&me->failed) < DEMO_TELL)
		fprintf(stderr, "demo: %s of %zu bytes: %s\n", what, len, ipcmap_strerror(rc));
	demo_count(&me->failed);
}

static inline uint64_t demo_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t demo_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline _Noreturn void demo_die(const char *what, const char *why)
{
	fprintf(stderr, "demo: %s: %s\n", what, why);
	exit(3);
}

static inline struct demo *demo_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	struct demo *d;

	if (fd < 0 || fstat(fd, &st))
		demo_die(path, strerror(errno));
	d = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (d == MAP_FAILED || d->magic != DEMO_MAGIC)
		demo_die(path, "not the demo's oracle");
	return d;
}

static inline struct ipcmap *demo_attach(const char *name)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map;
	char why[256] = "";
	int rc;

	o.why = why;
	o.why_cap = sizeof why;
	rc = ipcmap_open(name, &o, &map);
	if (rc < 0)
		demo_die(name, *why ? why : ipcmap_strerror(rc));
	return map;
}

static inline const char *demo_key_at(const struct demo *d, uint32_t i)
{
	return (const char *)d + d->keys[i].at;
}

static inline uint32_t demo_owner(const struct demo *d, uint32_t i)
{
	return i < d->n_loaded ? i % DEMO_WORKERS : DEMO_PUBLISHER;
}

/* Make write number n of key i, of at least len bytes, in buf; its length. */
static inline size_t demo_make(const struct demo *d, uint32_t i, uint64_t n, size_t len,
			       char *buf)
{
	struct demo_value v = {DEMO_MAGIC, n, 0, demo_owner(d, i), d->keys[i].len};
	uint64_t filler = demo_mix(n << 32 ^ i) | 1;
	size_t at = sizeof v + v.key_len;

	len = len < at ? at : len;
	memcpy(buf + sizeof v, demo_key_at(d, i), v.key_len);
	/* cheap, so that the time goes into the map; the hash tells mixtures of two writes */
	for (; len - at >= sizeof filler; at += sizeof filler, filler += v.number)
		memcpy(buf + at, &filler, sizeof filler);
	memset(buf + at, (int)filler, len - at);
	v.hash = demo_hash(n ^ v.writer, buf + sizeof v, len - sizeof v);
	memcpy(buf, &v, sizeof v);
	return len;
}

/* Which write of key i is it? 0 is the value loaded; false when it is none at all. */
static inline bool demo_number(const struct demo *d, uint32_t i, const char *buf, size_t len,
			       uint64_t *ret_n)
{
	const struct demo_key *k = &d->keys[i];
	struct demo_value v;

	if (i < d->n_loaded && len == k->val_len && demo_hash(0, buf, len) == k->val_hash) {
		*ret_n = 0;
		return true;
	}
	if (len < sizeof v + k->len)
		return false;
	memcpy(&v, buf, sizeof v);
	*ret_n = v.number;
	return v.magic == DEMO_MAGIC && v.number && v.writer == demo_owner(d, i) &&
	       v.key_len == k->len && !memcmp(buf + sizeof v, demo_key_at(d, i), k->len) &&
	       v.hash == demo_hash(v.number ^ v.writer, buf + sizeof v, len - sizeof v);
}

/* Store the next write of key i. When it fails the old value must stand. */
static inline void demo_write(struct demo *d, struct ipcmap *map, uint32_t i, size_t len,
			      char *buf)
{
	struct demo_key *k = &d->keys[i];
	struct demo_writer *me = &d->writers[demo_owner(d, i)];
	uint64_t n = atomic_load(&k->acked) + 1;
	int rc;

	len = demo_make(d, i, n, len, buf);
	atomic_store(&k->intent, n);
	atomic_store(&me->writing, 1);
	rc = ipcmap_put(map, demo_key_at(d, i), k->len, buf, len, NULL);
	atomic_store(&me->writing, 0);
	if (rc == 0) {
		atomic_store(&k->acked, n);
		demo_count(&me->writes);
		return;
	}
	atomic_store(&k->intent, n - 1);
	demo_failed(me, "put", len, rc);
}

/* After a kill: the write that was in flight happened or did not, and so it stays. */
static inline void demo_resume(struct demo *d, struct ipcmap *map, uint32_t writer, char *buf)
{
	struct demo_writer *me = &d->writers[writer];

	demo_count(&me->starts);
	atomic_store(&me->writing, 0);
	for (uint32_t i = 0; i < d->n_keys; i++) {
		struct demo_key *k = &d->keys[i];
		uint64_t acked = atomic_load(&k->acked), intent = atomic_load(&k->intent),
			 n = 0;
		size_t len;
		int rc;

		if (intent == acked || demo_owner(d, i) != writer)
			continue;
		rc = ipcmap_get(map, demo_key_at(d, i), k->len, buf, DEMO_VALUE_MAX, &len);
		if (rc == IPCMAP_NOTFOUND && i >= d->n_loaded && acked == 0) {
			atomic_store(&k->intent, 0);
			continue;
		}
		if (rc < 0 || !demo_number(d, i, buf, len, &n) || (n != acked && n != intent))
			demo_count(&me->wrong);
		demo_count(n == intent ? &me->cut : &me->undone);
		atomic_store(&k->acked, n);
		atomic_store(&k->intent, n);
	}
}

#endif
