/* SPDX-License-Identifier: MIT */
/*
 * named.h - a reader that is stopped between two of its steps while others write
 *
 * The step is a crash point of read.c, whose hook does the writing, in the same thread: a
 * reader holds nothing, so this is the same as being stopped there while another writes.
 */
#ifndef NAMED_H
#define NAMED_H

#include "load.h"

#include "crash.h"
#include "index.h"
#include "map.h"
#include "read.h"

#define CAP 16384u

static const char *name;
static struct ipcmap *m;

static char key[32]; /* the one that is read */
static size_t key_len;
static uint32_t old_len; /* of its first value */

/* where a reader is stopped */
__attribute__((unused)) static const char *const steps[] = {
	"read.begun",  "read.tags",   "read.ref",     "read.entry",
	"read.copied", "read.missed", "read.careful", "read.large"};
static const char *stop_at;
static unsigned times; /* how often at most */
static unsigned stops; /* how often it was */
static void (*meanwhile)(void);
static bool inside;

#define OLD 1u /* results that are right, as bits */
#define NEW 2u
#define NONE 4u
#define BUSY 8u
#define WRONG 16u

/* Or the test is over; in a child: the child. */
#define NEED(cond) need(cond, #cond, __FILE__, __LINE__)

static pid_t parent;
static const char *doing; /* what is written meanwhile */

static inline void need(bool ok, const char *text, const char *file, int line)
{
	if (parent && getpid() != parent)
		t_must(ok, text, file, line);
	else if (!ok && doing)
		fprintf(stderr, "\nwhile: %s ", doing);
	if (!ok)
		CU_assertImplementation(CU_FALSE, (unsigned)line, text, file, "", CU_TRUE);
}

/* ---- small steps ---- */

static inline int store(const void *k, size_t k_len, uint32_t len, uint64_t seq, uint64_t ttl)
{
	static unsigned char val[CAP];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = ttl;
	load_make(val, len, 1, 1, seq);
	return ipcmap_put(m, k, k_len, val, len, &how);
}

static inline void put(uint64_t seq, uint32_t len)
{
	NEED(store(key, key_len, len, seq, 0) == 0);
}

static inline void del(void)
{
	NEED(ipcmap_del(m, key, key_len) == 0);
}

/* 3,000 bytes of entries of our key, at every place where one may begin. */
static inline void forge(unsigned char *buf, unsigned shift)
{
	uint64_t hash = im_hash(m->hash_seed, key, key_len);
	uint64_t word0 = 1,
		 word1 = 40 | (uint64_t)(key_len - 1) << 32 | (uint64_t)im_hash_low(hash) << 48;
	uint32_t size = (uint32_t)align_up(16 + key_len + 40, 16);

	memset(buf, 'f', 3000);
	for (uint32_t at = shift * 16; at + size <= 3000; at += size) {
		memcpy(buf + at, &word0, 8);
		memcpy(buf + at + 8, &word1, 8);
		memcpy(buf + at + 16, key, key_len);
	}
}

static uint32_t old_ext; /* the log extent of the key's first entry */
static uint64_t old_gen;

static inline uint64_t gen_of(uint32_t ext)
{
	return fmt_word_gen(im_load_rlx(&m->seg->table[ext].word));
}

static inline bool was_released(void)
{
	return old_ext == FMT_NO_EXTENT || gen_of(old_ext) > old_gen;
}

/* Others write until every extent was released and filled again, whatever lived there. */
static inline void fill_by(uint64_t releases, uint32_t len)
{
	uint64_t *seq = &m->shards[0].reclaim_seq, until = im_load_rlx(seq) + releases;
	static unsigned char buf[3000];
	static uint64_t x = 88172645463325252u;
	char other[32];

	for (unsigned i = 0; im_load_rlx(seq) < until || (len < 2000 && !was_released()); i++) {
		/* the value begins at a unit; keys at random, so that extents die slowly */
		unsigned keys = len < 2000 ? 20 + i / 64 % 32 : 8;
		int r, n = sprintf(other, "churn-%010u", (unsigned)(load_random(&x) % keys));

		forge(buf, i % 5);
		r = ipcmap_put(m, other, (size_t)n, buf, len, NULL);
		NEED(r == 0 || r == IPCMAP_LIMIT);
		NEED(i < 40000);
	}
}

static inline void churn_by(uint64_t releases, uint32_t len)
{
	char other[32];

	fill_by(releases, len);
	for (unsigned i = 20; i < 52; i++)
		ipcmap_del(m, other, (size_t)sprintf(other, "churn-%010u", i));
}

static inline void churn(void)
{
	churn_by(700, 1500);
}

/* What was read. */
static inline unsigned judge(int r, const unsigned char *buf, size_t len)
{
	uint64_t seq;

	if (r == IPCMAP_NOTFOUND)
		return NONE;
	if (r == IPCMAP_BUSY)
		return BUSY;
	if (r || !load_is(buf, len, 1, 1, &seq))
		return WRONG;
	return seq == 1 && len == old_len ? OLD : seq == 2 ? NEW : WRONG;
}

/* The two calls, whose first attempt is a short one; and the whole protocol at once. */
enum way { GET, GETX, WHOLE, WAYS };

static inline unsigned read_it(enum way way)
{
	static unsigned char buf[CAP];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	size_t len = 0;
	int r;

	memset(buf, 0, sizeof(buf));
	if (way == GET) {
		r = ipcmap_get(m, key, key_len, buf, sizeof(buf), &len);
	} else {
		r = way == GETX ? ipcmap_getx(m, key, key_len, &v)
				: im_read_uncounted(m, key, key_len, &v);
		len = v.len;
	}
	return judge(r, buf, len);
}

/* ---- stopping ---- */

static inline void stop(const char *point)
{
	if (inside || !stop_at || strcmp(point, stop_at) != 0 || stops == times)
		return;
	stops++;
	inside = true;
	meanwhile();
	inside = false;
}

static inline void clear(void)
{
	NEED(ipcmap_clear(m) == 0);
}

/* So little free memory that cleaning is at work. */
static inline void crowd(void)
{
	const struct fmt_space *space = &m->seg->h->space;
	char other[32];

	for (unsigned i = 0; im_load32_rlx(&space->used) + 20 < im_load32_rlx(&space->limit_n);
	     i++)
		NEED(store(other, (size_t)sprintf(other, "crowd-%u", i), 1100, 9, 0) == 0);
}

/* The key lies in an extent that is otherwise dead, so that cleaning moves it soon. */
static inline void begin(uint32_t len, bool first)
{
	/* if not first, in the middle of what will be a value */
	NEED(first || store("a", 1, 1000, 9, 0) == 0);
	put(1, old_len = len);
	NEED(!first || store("a", 1, 1000, 9, 0) == 0);
	old_ext = im_load32_rlx(&m->shards[0].head[FMT_HOT]);
	old_gen = gen_of(old_ext);
	NEED(store("b", 1, 900, 9, 0) == 0);
	crowd();
	NEED(ipcmap_del(m, "a", 1) == 0 && ipcmap_del(m, "b", 1) == 0);
}

static inline void begin_small(void)
{
	begin(40, false);
}

static inline void begin_few(void)
{
	put(1, old_len = 40);
}

static inline void open_map(void)
{
	NEED(load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, 1u << 20, 1, &m) == 0);
	key_len = (size_t)sprintf(key, "the key that is read");
	old_ext = FMT_NO_EXTENT;
	inside = false;
}

static inline void close_map(void)
{
	ipcmap_close(m);
	ipcmap_unlink(name);
}

#endif
