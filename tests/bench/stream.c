/* SPDX-License-Identifier: MIT */
/*
 * stream.c - keys and operations from a seed
 *
 * Churn needs a memory: each worker owns every n_workers-th key number and keeps the window
 * [oldest, newest) of those that are there. Half of its operations get a key of the window,
 * a quarter insert the next one, a quarter delete the oldest, so the window stays as large as
 * its share of what was loaded, and no two workers touch the same key.
 */
#include "stream.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZIPF_THETA 0.99

/* A bijection of 64-bit numbers (the finalizer of splitmix64). */
static uint64_t mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t next_random(struct stream *s)
{
	s->random += 0x9e3779b97f4a7c15u;
	return mix64(s->random);
}

/* 0 .. n - 1 */
static uint64_t below(struct stream *s, uint64_t n)
{
	return (uint64_t)((unsigned __int128)next_random(s) * n >> 64);
}

static void *grow(void *p, size_t *cap, size_t need, size_t unit)
{
	if (need > *cap) {
		*cap = need;
		p = realloc(p, need * unit);
		if (!p) {
			fputs("out of memory for a stream\n", stderr);
			exit(1);
		}
	}
	return p;
}

/* After Gray and others, Quickly Generating Billion-Record Synthetic Databases (1994). */
static void zipf_init(struct stream *s)
{
	double n = (double)s->shape.n, zeta2 = 1 + pow(0.5, ZIPF_THETA);
	uint64_t i;

	s->zipf_zeta = 0;
	for (i = 1; i <= s->shape.n; i++)
		s->zipf_zeta += pow(1 / (double)i, ZIPF_THETA);
	s->zipf_alpha = 1 / (1 - ZIPF_THETA);
	s->zipf_eta = (1 - pow(2 / n, 1 - ZIPF_THETA)) / (1 - zeta2 / s->zipf_zeta);
}

static uint64_t zipf_next(struct stream *s)
{
	double u = (double)(next_random(s) >> 11) * 0x1p-53, uz = u * s->zipf_zeta;
	uint64_t i;

	if (uz < 1)
		return 0;
	if (uz < 1 + pow(0.5, ZIPF_THETA))
		return 1;
	i = (uint64_t)((double)s->shape.n *
		       pow(s->zipf_eta * u - s->zipf_eta + 1, s->zipf_alpha));
	return i < s->shape.n ? i : s->shape.n - 1;
}

void stream_init(struct stream *s, const struct shape *shape, unsigned worker,
		 unsigned n_workers)
{
	memset(s, 0, sizeof(*s));
	s->shape = *shape;
	s->worker = worker;
	s->n_workers = n_workers;
	s->newest = shape->n / n_workers + (worker < shape->n % n_workers);
}

void stream_seed(struct stream *s, uint64_t seed)
{
	s->random = mix64(seed * 1024 + s->worker);
}

void stream_free(struct stream *s)
{
	free(s->ops);
	free(s->keys);
	memset(s, 0, sizeof(*s));
}

static unsigned key_len_of(const struct shape *shape, uint64_t i)
{
	unsigned span = shape->key_max - shape->key_min + 1;

	return shape->key_min + (span > 1 ? (unsigned)(mix64(~i) % span) : 0);
}

/* Adds an operation on key @i; returns where the next key's bytes go. */
static size_t add(struct stream *s, size_t at, uint64_t i, enum op_kind kind)
{
	struct op *op = &s->ops[s->n++];
	unsigned span = s->shape.val_max - s->shape.val_min + 1, w;
	uint64_t word;

	op->i = (uint32_t)i;
	op->key_at = (uint32_t)at;
	op->key_len = (uint16_t)key_len_of(&s->shape, i);
	op->val_len = (uint16_t)(s->shape.val_min + (span > 1 ? below(s, span) : 0));
	op->kind = (uint8_t)kind;
	for (w = 0; w * 8 < op->key_len; w++) {
		word = mix64(i + ((uint64_t)w << 40));
		memcpy(s->keys + (at + w) * 8, &word, 8);
	}
	return at + w;
}

static void room(struct stream *s, size_t n)
{
	size_t words = (s->shape.key_max + 7) / 8;

	s->n = 0;
	s->ops = grow(s->ops, &s->ops_cap, n, sizeof(*s->ops));
	s->keys = grow(s->keys, &s->keys_cap, n * words, 8);
}

static uint64_t own_key(const struct stream *s, uint64_t k)
{
	return s->worker + k * s->n_workers;
}

static size_t add_churn(struct stream *s, size_t at)
{
	switch (next_random(s) >> 62) {
	case 0:
		return add(s, at, own_key(s, s->newest++), OP_PUT);
	case 1:
		/* never empty: what is inserted and deleted differs little, and both are even
		 */
		if (s->newest - s->oldest > 1)
			return add(s, at, own_key(s, s->oldest++), OP_DEL);
		/* fall through */
	default:
		return add(s, at, own_key(s, s->oldest + below(s, s->newest - s->oldest)),
			   OP_GET);
	}
}

void stream_fill(struct stream *s, const struct mix *mix, size_t n)
{
	size_t at = 0, k;
	enum op_kind kind;

	if (mix->access == ACCESS_ZIPF && s->zipf_zeta == 0)
		zipf_init(s);
	room(s, n);
	for (k = 0; k < n; k++) {
		kind = below(s, 100) < mix->reads ? OP_GET : OP_PUT;
		switch (mix->access) {
		case ACCESS_UNIFORM:
			at = add(s, at, below(s, s->shape.n), kind);
			break;
		case ACCESS_ZIPF:
			at = add(s, at, zipf_next(s), kind);
			break;
		case ACCESS_HOT:
			at = add(s, at, s->shape.n / 2, kind);
			break;
		case ACCESS_ABSENT:
			at = add(s, at, s->shape.n + below(s, s->shape.n), OP_GET_ABSENT);
			break;
		case ACCESS_CHURN:
			at = add_churn(s, at);
			break;
		}
	}
}

void stream_fill_load(struct stream *s, uint64_t from, size_t n)
{
	size_t at = 0;
	uint64_t i;

	room(s, n);
	for (i = from; i < from + n; i++)
		at = add(s, at, i, OP_PUT);
}

void stream_fill_warm(struct stream *s, uint64_t from, size_t n)
{
	size_t at = 0;
	uint64_t i;

	room(s, n);
	for (i = from; i < from + n; i++)
		at = add(s, at, i, OP_GET);
}
