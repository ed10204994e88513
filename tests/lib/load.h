/* SPDX-License-Identifier: MIT */
/*
 * load.h - values that prove themselves, and what the suites of crash/ and race/ share
 *
 * A value says of which key it is, who wrote it and as which write of that key, and carries
 * a checksum over all of it, so whoever reads one can tell a torn, a foreign or an old one.
 */
#ifndef LOAD_H
#define LOAD_H

#include "hash.h"
#include "ipcmap.h"
#include "t.h"

#include <string.h>
#include <time.h>

/* Has this build crash points (crash.h)? */
#if defined(IM_CHECK) && IM_CHECK
#define HAVE_POINTS 1
#else
#define HAVE_POINTS 0
#endif

#define LOAD_CAP 32768u
#define LOAD_MIN ((uint32_t)sizeof(struct load_head))

struct load_head {
	uint64_t sum; /* of all that follows */
	uint64_t seq;
	uint32_t key;
	uint32_t writer;
	uint32_t len;
	uint32_t pad;
};

/* Make a value of @len >= LOAD_MIN bytes; each random word stands there four times. */
static inline void load_make(unsigned char *buf, uint32_t len, uint32_t key, uint32_t writer,
			     uint64_t seq)
{
	struct load_head h = {.seq = seq, .key = key, .writer = writer, .len = len};
	uint64_t x = seq * UINT64_C(0x9e3779b97f4a7c15) + key;

	for (uint32_t i = sizeof(h); i < len; i++) {
		if (i % 32 == 0)
			x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
		buf[i] = (unsigned char)(x >> (i % 8 * 8));
	}
	memcpy(buf, &h, sizeof(h));
	h.sum = XXH3_64bits(buf + sizeof(h.sum), len - sizeof(h.sum));
	memcpy(buf, &h, sizeof(h));
}

/* From now on values of @len bytes are compressed. */
static inline void load_compress(struct ipcmap *m, unsigned len)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.compress = len;
	CU_ASSERT(ipcmap_tune(m, &o) == 0);
}

/* Is it whole, of this key and writer? */
static inline bool load_is(const unsigned char *buf, size_t len, uint32_t key, uint32_t writer,
			   uint64_t *ret_seq)
{
	struct load_head h;

	if (len < sizeof(h))
		return false;
	memcpy(&h, buf, sizeof(h));
	*ret_seq = h.seq;
	return h.len == len && h.key == key && h.writer == writer &&
	       h.sum == XXH3_64bits(buf + sizeof(h.sum), len - sizeof(h.sum));
}

static inline uint64_t load_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void load_print(void *arg, const char *line)
{
	fprintf(stderr, "\n  %s%s", arg ? (const char *)arg : "", line);
}

/* The tests play with one small map. */
static inline int load_open(const char *name, unsigned flags, uint64_t limit, unsigned shards,
			    struct ipcmap **ret_map)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	char why[200] = "";
	int r;

	o.flags = flags;
	o.limit = limit;
	o.max = limit;
	o.shards = shards;
	o.deadline_ns = T_LIMIT_MS * UINT64_C(1000000); /* however slow the machine is */
	o.why = why;
	o.why_cap = sizeof(why);
	r = ipcmap_open(name, &o, ret_map);
	if (r && r != IPCMAP_CREATING && r != IPCMAP_NOTFOUND && r != IPCMAP_EXISTS)
		fprintf(stderr, "\n%s: %d: %s\n", name, r, why);
	return r;
}

static inline uint64_t load_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

#endif
