/* SPDX-License-Identifier: MIT */
/*
 * t-check.c - a sound map has no findings; each planted fault is found, by its label
 */
#include "kit.h"

static struct ipcmap *m;
static struct fmt_shard *s;

/* Small entries in several extents, overflow buckets, a chain, all in one shard. */
static void with_map(const char *name)
{
	char val[300] = "", big[20000] = "";

	m = kit_made(name, 4 * KIT_MIB, 0, 1);
	s = &m->shards[0];
	for (uint64_t i = 0; i < 3000; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, val, 20 + i % 200, NULL) == 0);
	}
	CU_ASSERT(ipcmap_put(m, "big", 3, big, sizeof(big), NULL) == 0);
	CU_ASSERT(kit_sound(m));
}

struct expected {
	const char *label;
	unsigned met;
	unsigned n;
};

static void look_for(void *arg, const char *line)
{
	struct expected *x = arg;

	x->met += strstr(line, x->label) != NULL;
	x->n++;
	CU_ASSERT(!strchr(line, '\n') && strlen(line) < 160);
}

/* Does check report @label, for a writing and for a reading attach? */
static bool reports(const char *label)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct expected a = {label, 0, 0}, b = {label, 0, 0};
	struct ipcmap *ro;
	int r = ipcmap_check(m, look_for, &a);
	bool ok = r > 0 && (unsigned)r == a.n && a.met;

	o.flags = IPCMAP_RDONLY;
	if (ipcmap_open(m->seg->name, &o, &ro))
		return false;
	r = ipcmap_check(ro, look_for, &b);
	ok = ok && r > 0 && (unsigned)r == b.n && b.met;
	ipcmap_close(ro);
	if (!ok)
		fprintf(stderr, "\n  %s: %u of %u findings, %u of %u when reading only\n", label,
			a.met, a.n, b.met, b.n);
	return ok && ipcmap_check(m, NULL, NULL) > 0;
}

/* Plant, look, take back. */
#define PLANTED(place, value, label)                                                           \
	do {                                                                                   \
		__typeof__(place) kept_ = (place);                                             \
		(place) = (value);                                                             \
		CU_ASSERT(reports(label));                                                     \
		(place) = kept_;                                                               \
	} while (0)

static uint64_t buckets(void)
{
	return s->geometry & FMT_BUCKETS_MASK;
}

static struct fmt_bucket *bucket(uint64_t at)
{
	return im_bucket(m, im_map_dir(m, 0), at);
}

/* A bucket with a key in slot 0. */
static struct fmt_bucket *used_bucket(void)
{
	for (uint64_t at = 0; at < buckets(); at++)
		if (im_tag_at(bucket(at)->tags[0], 0))
			return bucket(at);
	return NULL;
}

static struct fmt_bucket *bucket_with_chain(void)
{
	for (uint64_t at = 0; at < buckets(); at++)
		if (bucket(at)->tags[1] >> FMT_LINK_SHIFT)
			return bucket(at);
	return NULL;
}

static void check__finds_wrong_totals(void)
{
	with_map(T_NAME);
	PLANTED(s->entries, s->entries + 1, "write.I1");
	PLANTED(s->entries, s->entries - 1, "write.I1");
	PLANTED(s->live, s->live + 16, "log.I3");
	PLANTED(s->large, s->large - 4096, "large.I2");
	PLANTED(s->version, 5, "write.I2");
	PLANTED(s->version, FMT_VERSION_MASK, "its next version");
	PLANTED(s->version, (UINT64_C(1) << 47), "its next version");
	PLANTED(s->floor, s->version + 1, "been cleared up to");
	PLANTED(s->tail, s->tail + 16, "room.I3");
	PLANTED(s->n_ovf, s->n_ovf + 1, "index.I4");
	PLANTED(s->floor, 100, "write.I1");
	PLANTED(s->unsplit, 3, "index.I2");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

static void check__finds_wrong_books(void)
{
	struct fmt_extent *x;

	with_map(T_NAME);
	x = &m->seg->table[s->first];
	PLANTED(x->books, x->books + 16, "log.I3");
	PLANTED(x->books, x->books - (UINT64_C(16) << 32), "log.I2");
	PLANTED(x->version_max, 0, "write.I2");
	PLANTED(x->fill, x->fill - 16, "log.I1");
	PLANTED(x->fill, m->seg->extent_len + 1, "log.I1");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

static void check__finds_wrong_slots(void)
{
	struct fmt_bucket *b;

	with_map(T_NAME);
	b = used_bucket();
	CU_ASSERT_FATAL(b != NULL);
	PLANTED(b->tags[0], (b->tags[0] & ~UINT64_C(0xff)) | ((b->tags[0] & 0xff) % 255 + 1), "index.I2");
	PLANTED(b->tags[0], b->tags[0] & ~UINT64_C(0xff), "write.I1");
	PLANTED(b->ref[0], 0, "index.I1");
	PLANTED(b->ref[0], UINT32_MAX, "index.I1");
	PLANTED(b->ref[0], b->ref[0] + 1, "shard 0");
	/* another key's entry */
	PLANTED(b->ref[0], bucket(0) == b ? bucket(1)->ref[0] : bucket(0)->ref[0], "index.I2");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

static void check__finds_a_key_named_twice(void)
{
	struct fmt_bucket *b;
	uint64_t at = 0;

	with_map(T_NAME);
	while (im_tag_at((b = bucket(at))->tags[1], 10) || !im_tag_at(b->tags[0], 0))
		at++;
	b->ref[10] = b->ref[0];
	PLANTED(b->tags[1], b->tags[1] | (b->tags[0] & 0xff) << 16, "holds a key twice");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

static void check__finds_broken_chains_of_buckets(void)
{
	struct fmt_bucket *b;
	uint64_t own;

	with_map(T_NAME);
	b = bucket_with_chain();
	CU_ASSERT_FATAL(b != NULL);
	PLANTED(b->tags[1], b->tags[1] & UINT32_MAX, "index.I4");
	own = (uint64_t)im_ref_of(m->seg, b) << FMT_LINK_SHIFT;
	PLANTED(b->tags[1], own | (b->tags[1] & UINT32_MAX), "index.I1"); /* a circle */
	PLANTED(b->tags[1], UINT64_C(0x800000) << FMT_LINK_SHIFT | (b->tags[1] & UINT32_MAX),
		"index.I1"); /* nowhere */
	PLANTED(s->geometry, s->geometry + 1000000, "index.I4");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

static void check__finds_broken_lists(void)
{
	struct fmt_extent *t;

	with_map(T_NAME);
	t = m->seg->table;
	PLANTED(t[s->first].next, FMT_NO_EXTENT, "room.I1");
	PLANTED(t[s->first].next, s->first, "room.I1");
	PLANTED(t[s->last].prev, s->last, "room.I1");
	PLANTED(t[s->first].expiry_max, KIT_SEC, "log.I5");
	PLANTED(s->last, s->first, "room.I1");
	PLANTED(s->n_log, s->n_log + 1, "room.I1");
	PLANTED(s->head[FMT_HOT], im_dir_extent(m, im_map_dir(m, 0)[0]), "room.I1");
	PLANTED(s->n_ahead, s->n_ahead + 1, "room.I1");
	PLANTED(s->reserve, FMT_NO_EXTENT, "room.I1");
	PLANTED(im_map_dir(m, 0)[0], im_map_dir(m, 0)[1], "index.I");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

/* The entry of the large value, in the log. */
static struct fmt_chain *chain_of_big(void)
{
	for (uint32_t ext = s->first; ext != FMT_NO_EXTENT; ext = m->seg->table[ext].next)
		for (uint32_t pos = 0; pos < m->seg->table[ext].fill;) {
			struct im_entry e;

			if (!im_entry_view(m->seg, im_ref(m->seg, ext, pos), &e))
				break;
			if (e.flags & FMT_F_LARGE)
				return (struct fmt_chain *)(void *)(uintptr_t)(e.at + e.key_off - 16);
			pos += e.size;
		}
	return NULL;
}

static void check__finds_broken_chains_of_large_values(void)
{
	struct fmt_chain *c;
	struct fmt_extent *t;

	with_map(T_NAME);
	t = m->seg->table;
	c = chain_of_big();
	CU_ASSERT_FATAL(c != NULL && c->n == 5);
	PLANTED(c->n, 4, "large.I1");
	PLANTED(c->first, s->first, "large.I1");
	PLANTED(c->first, UINT32_MAX, "large.I1");
	PLANTED(c->last, t[c->first].next, "large.I1");
	PLANTED(t[c->first].next, FMT_NO_EXTENT, "large.I1");
	PLANTED(t[c->first].next, s->first, "large.I1");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

static void check__finds_faults_of_the_common_store(void)
{
	struct fmt_space *sp;
	uint32_t ext = 0;

	with_map(T_NAME);
	sp = &m->seg->h->space;
	PLANTED(sp->used, sp->used + 1, "space.I2");
	PLANTED(sp->limit_n, sp->limit_n - 1, "space.I7");
	while (fmt_word_state(m->seg->table[ext].word) != FMT_RESERVED)
		ext++;
	PLANTED(m->seg->table[ext].word, fmt_word(FMT_FREE, 0, 9), "space.I4");
	PLANTED(m->seg->table[sp->fresh].word, fmt_word(FMT_LOG, 0, 9), "space.I3");
	CU_ASSERT(kit_sound(m));
	kit_gone(m);
}

/* Any byte of a shard may be anything: check ends, with or without findings. */
static void check__ends_on_arbitrary_bytes(void)
{
	uint64_t seed = kit_seed(), state = seed;
	unsigned found = 0;

	printf("(seed %llu) ", (unsigned long long)seed);
	with_map(T_NAME);
	for (unsigned i = 0; i < T_AMOUNT(2000, 300, 300); i++) {
		unsigned char *p = (unsigned char *)s + 128 + kit_below(&state, 256), kept[8];
		unsigned n = 1 + (unsigned)kit_below(&state, 8);

		if (p < (unsigned char *)&s->redo && p + n > (unsigned char *)&s->redo)
			continue;
		/* free_n makes the next lock holder act */
		if (p + n > (unsigned char *)&s->free_word && p < (unsigned char *)&s->victim)
			continue;
		memcpy(kept, p, n);
		kit_bytes(p, n, kit_random(&state));
		{
			struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
			struct ipcmap *ro;

			o.flags = IPCMAP_RDONLY;
			CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
			found += ipcmap_check(ro, NULL, NULL) > 0;
			ipcmap_close(ro);
		}
		memcpy(p, kept, n);
	}
	CU_ASSERT(found > 100);
	kit_gone(m);
}

static bool locked_when_told;

static void look_at_locks(void *arg, const char *line)
{
	(void)line;
	(*(unsigned *)arg)++;
	locked_when_told |= im_load32_rlx(&m->seg->h->space.lock) ||
			    im_load32_rlx(&m->shards[0].lock);
}

static void check__tells_when_it_holds_nothing(void)
{
	unsigned n = 0;

	with_map(T_NAME);
	m->seg->h->space.used++;
	m->shards[0].entries++;
	locked_when_told = false;
	CU_ASSERT(ipcmap_check(m, look_at_locks, &n) == (int)n && n >= 2 && !locked_when_told);
	m->seg->h->space.used--;
	m->shards[0].entries--;
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"check finds wrong totals", check__finds_wrong_totals},
	{"check finds wrong books", check__finds_wrong_books},
	{"check finds wrong slots", check__finds_wrong_slots},
	{"check finds a key named twice", check__finds_a_key_named_twice},
	{"check finds broken chains of buckets", check__finds_broken_chains_of_buckets},
	{"check finds broken lists", check__finds_broken_lists},
	{"check finds broken chains of large values",
	 check__finds_broken_chains_of_large_values},
	{"check finds faults of the common store", check__finds_faults_of_the_common_store},
	{"check ends on arbitrary bytes", check__ends_on_arbitrary_bytes},
	{"check tells when it holds nothing", check__tells_when_it_holds_nothing},
	CU_TEST_INFO_NULL,
};
T_SUITE("check", tests)
