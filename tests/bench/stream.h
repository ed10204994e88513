/* SPDX-License-Identifier: MIT */
/*
 * stream.h - which keys are used in which order: everything that is decided before the clock
 * runs
 *
 * Key number i has 16 or so bytes that are a bijective function of i, so keys are distinct and
 * look random. The first 8 bytes of each value are a function of i, the next 8 count the
 * writes. The same case, round and worker give the same stream to every peer; a peer that is
 * slower uses less of it.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op_kind { OP_GET, OP_GET_ABSENT, OP_PUT, OP_DEL };

struct op {
	uint32_t i;	 /* number of the key */
	uint32_t key_at; /* where its bytes are in the stream, in units of 8 */
	uint16_t key_len;
	uint16_t val_len;
	uint8_t kind;
};

/* What the entries look like. */
struct shape {
	uint64_t n;		   /* entries loaded */
	unsigned key_min, key_max; /* bytes; drawn for each key */
	unsigned val_min, val_max; /* bytes; drawn for each write */
};

enum access { ACCESS_UNIFORM, ACCESS_ZIPF, ACCESS_HOT, ACCESS_ABSENT, ACCESS_CHURN };

struct mix {
	enum access access;
	unsigned reads; /* percent */
};

/* One worker's stream. Its memory is used again for each round. */
struct stream {
	struct shape shape;
	unsigned worker, n_workers;
	uint64_t random;
	uint64_t oldest, newest; /* churn: this worker's keys that are there */
	unsigned char *keys;
	struct op *ops;
	size_t n, ops_cap, keys_cap;
	double zipf_zeta, zipf_eta, zipf_alpha;
};

void stream_init(struct stream *s, const struct shape *shape, unsigned worker,
		 unsigned n_workers);
void stream_seed(struct stream *s, uint64_t seed);
/* The next @n operations of @mix. */
void stream_fill(struct stream *s, const struct mix *mix, size_t n);
/* Puts of the keys @from .. @from + @n, in the order of their numbers. */
void stream_fill_load(struct stream *s, uint64_t from, size_t n);
/* Gets of the same. */
void stream_fill_warm(struct stream *s, uint64_t from, size_t n);
void stream_free(struct stream *s);

static inline uint64_t stream_tag(uint32_t i)
{
	return ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
}

static inline const void *stream_key(const struct stream *s, const struct op *op)
{
	return s->keys + (size_t)op->key_at * 8;
}

#endif
