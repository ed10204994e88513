/* SPDX-License-Identifier: MIT */
/*
 * kit.h - maps on real segments, a clock to turn by hand, numbers to replay
 */
#ifndef KIT_H
#define KIT_H

#include "index.h"
#include "ipcmap.h"
#include "log.h"
#include "map.h"
#include "os.h"
#include "owner.h"
#include "room.h"
#include "shard.h"
#include "space.h"
#include "t.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define KIT_MIB (UINT64_C(1) << 20)

/* ---- a map ---- */

/* Ends the process when it cannot be made: there is nothing to test then. */
static inline struct ipcmap *kit_made(const char *name, uint64_t limit, uint64_t max,
				      unsigned shards)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m = NULL;
	char why[200] = "";
	int r;

	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	o.limit = limit;
	o.max = max;
	o.shards = shards;
	o.why = why;
	o.why_cap = sizeof(why);
	ipcmap_unlink(name);
	r = ipcmap_open(name, &o, &m);
	if (r < 0) {
		fprintf(stderr, "\n%s: create: %d: %s\n", name, r, why);
		t_clean_up();
		_exit(1);
	}
	return m;
}

static inline void kit_print(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "\n  %s", line);
}

/* No findings; those there are get printed. */
static inline bool kit_sound(struct ipcmap *m)
{
	int r = ipcmap_check(m, kit_print, NULL);

	if (r)
		fprintf(stderr, "\n  check: %d\n", r);
	return r == 0;
}

/* Checks it, closes it, removes its name. */
static inline void kit_gone(struct ipcmap *m)
{
	char path[4096];

	strcpy(path, m->seg->name);
	CU_ASSERT(kit_sound(m));
	ipcmap_close(m);
	unlink(path);
}

static inline struct ipcmap_stat kit_stat(struct ipcmap *m)
{
	struct ipcmap_stat s = {.struct_size = sizeof(s)};

	CU_ASSERT(ipcmap_stat(m, &s) == 0);
	return s;
}

static inline uint64_t kit_entries(struct ipcmap *m)
{
	uint64_t n = UINT64_MAX;

	CU_ASSERT(ipcmap_entries(m, &n) == 0);
	return n;
}

static inline int kit_set_limit(struct ipcmap *m, uint64_t limit)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *again;
	int r;

	o.flags = IPCMAP_APPLY;
	o.limit = limit;
	r = ipcmap_open(m->seg->name, &o, &again);
	if (r == 0)
		ipcmap_close(again);
	return r;
}

/* Bytes that log extents may have: the limit less fixed tables, thread lines and index. */
static inline uint64_t kit_log_len(struct ipcmap *m)
{
	struct ipcmap_stat s = kit_stat(m);

	return (uint64_t)m->seg->h->space.limit_n * s.extent_len - s.index_len;
}

/* Bytes in the log of a small entry without a life. */
static inline uint64_t kit_entry_len(const struct ipcmap *m, uint64_t key_len, uint64_t val_len)
{
	return im_entry_round(m->seg, FMT_ENTRY_HEAD + key_len + val_len);
}

/* Not inline: the compiler would see the branches of the hash for longer keys. */
__attribute__((noinline, unused)) static uint32_t kit_shard_of(const struct ipcmap *m, const void *key, size_t len)
{
	return im_map_shard(m, im_hash(m->hash_seed, key, len));
}

/* ---- text keys and values ---- */

static inline int kit_put(struct ipcmap *m, const char *key, const char *val)
{
	return ipcmap_put(m, key, strlen(key), val, strlen(val), NULL);
}

/* Is @val what every way of reading finds? */
static inline bool kit_is(struct ipcmap *m, const char *key, const char *val)
{
	char buf[256];
	size_t len = 0;

	return ipcmap_get(m, key, strlen(key), buf, sizeof(buf), &len) == 0 &&
	       len == strlen(val) && memcmp(buf, val, len) == 0 &&
	       ipcmap_exists(m, key, strlen(key)) == 1;
}

static inline bool kit_absent(struct ipcmap *m, const char *key)
{
	char buf[4];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	return ipcmap_get(m, key, strlen(key), buf, sizeof(buf), NULL) == IPCMAP_NOTFOUND &&
	       ipcmap_getx(m, key, strlen(key), &v) == IPCMAP_NOTFOUND &&
	       ipcmap_exists(m, key, strlen(key)) == 0;
}

static inline uint64_t kit_version(struct ipcmap *m, const char *key)
{
	struct ipcmap_value v = {0};
	int r = ipcmap_getx(m, key, strlen(key), &v);

	return r == 0 || r == IPCMAP_SHORT ? v.version : 0;
}

/* ---- numbered keys; bytes that depend on a seed ---- */

struct kit_key {
	char text[16];
	size_t len;
};

static inline struct kit_key kit_key(uint64_t i)
{
	struct kit_key k;

	k.len = (size_t)snprintf(k.text, sizeof(k.text), "k%09llu", (unsigned long long)i);
	return k;
}

static inline void kit_bytes(void *to, size_t len, uint64_t seed)
{
	unsigned char *p = to;
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (; len >= 8; len -= 8, p += 8) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		memcpy(p, &x, 8);
	}
	for (; len; len--)
		*p++ = (unsigned char)(x = x * 5 + 1);
}

/* ---- random numbers ---- */

static inline uint64_t kit_seed(void)
{
	const char *s = getenv("IPCMAP_TEST_SEED");
	struct timespec ts;

	if (s && *s)
		return strtoull(s, NULL, 0);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + (uint64_t)getpid();
}

static inline uint64_t kit_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t kit_below(uint64_t *state, uint64_t n)
{
	return kit_random(state) % n;
}

/* ---- a clock to turn by hand ---- */

#define KIT_MS UINT64_C(1000000)
#define KIT_SEC UINT64_C(1000000000)

__attribute__((unused)) static uint64_t kit_time;
__attribute__((unused)) static struct im_os kit_os;

static inline uint64_t kit_coarse(void)
{
	return kit_time;
}

static inline void kit_clock_on(void)
{
	kit_os = im_os_real;
	kit_os.coarse = kit_coarse;
	kit_time = 1000 * KIT_SEC;
	im_os = &kit_os;
}

static inline void kit_clock_off(void)
{
	im_os = &im_os_real;
}

#endif
