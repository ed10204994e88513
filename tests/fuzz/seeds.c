/* SPDX-License-Identifier: MIT */
/*
 * seeds.c - small maps for the fuzzers to break
 *
 * All have the same geometry: 2 shards, 3 owners, 4 snapshot tables, extents of 4 KiB. The
 * seed of the hash and the clock are fixed, so a script does the same in every process. One is
 * empty, and has no waiting area, as those of before there was one; one has entries of each
 * kind, one is full; one has the rings of a watcher that was killed, leases granted and failed,
 * and a packed snapshot version. The others were left by a process killed at a crash point,
 * which release builds do not have: there they are like the second.
 */
#include "fuzz.h"

#include "codec.h"
#include "crash.h"
#include "entry.h"
#include "header.h"
#include "segment.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHARDS 2u
#define TABLES 4u
#define DIR_CAP 16u
#define LIMIT (UINT64_C(300) << 10)
#define HASH_SEED UINT64_C(0x1234567890abcdef)

static unsigned char bulk[100000];

/* ---- an empty segment ---- */

static int build(struct im_seg *seg)
{
	struct fmt_shard *s = (struct fmt_shard *)(void *)seg->user;
	unsigned char *area = seg->user + seg->user_geo[FMT_GEO_SNAP_OFF];

	for (uint32_t i = 0; i < SHARDS; i++, s++) {
		s->version = 1;
		s->head[FMT_HOT] = s->head[FMT_COLD] = s->reserve = s->ahead = FMT_NO_EXTENT;
		s->first = s->last = s->ovf_first = s->victim = s->cursor = FMT_NO_EXTENT;
		memset(s->cand, 0xff, sizeof(s->cand));
		s->redo.cas_extent = FMT_NO_EXTENT;
	}
	((struct fmt_snaps *)(void *)area)->redo.cas_extent = FMT_NO_EXTENT;
	/* the same in every process */
	seg->h->hash_seed = HASH_SEED;
	seg->h->creation = 1;
	seg->h->created = 1700000000;
	seg->h->checksum = im_header_checksum(seg->h);
	return 0;
}

static bool make_empty(const char *path, bool waits, bool pins)
{
	struct im_seg_create how = {
		.limit = LIMIT,
		.max = FZ_LEN,
		.gid = UINT32_MAX,
		.extent_shift = 12,
		.unit_shift = 4,
		.n_shards = SHARDS,
		.n_owners = 3,
		.n_lines = 3,
		.user_geo = {FMT_SHARD_LEN, DIR_CAP, SHARDS * (FMT_SHARD_LEN + 4 * DIR_CAP),
			     TABLES},
		.ttl_ns = IPCMAP_TTL_NONE,
		.pack_min = IPCMAP_COMPRESS_OFF,
		.build = build,
	};
	char text[200] = "";
	struct im_why why = {text, sizeof(text)};
	struct im_seg *seg;
	int rc;

	how.user_len = how.user_geo[FMT_GEO_SNAP_OFF] + fmt_area_len(TABLES);
	if (waits)
		how.user_len = align_up(how.user_len, 64) +
			       fmt_waits_len(TABLES, how.n_owners, SHARDS);
	if (pins)
		how.user_len += fmt_pins_len(TABLES);
	unlink(path);
	rc = im_seg_create(path, &how, &why, &seg);
	if (rc < 0) {
		fprintf(stderr, "seeds: %s: %d %s\n", path, rc, text);
		return false;
	}
	im_seg_detach(seg);
	return true;
}

/* ---- entries ---- */

/* Most are short; some are long, and one is longer than half an extent. */
const void *fz_key(uint32_t i, size_t *ret_len)
{
	static unsigned char key[IPCMAP_KEY_MAX + 1];
	size_t len = (size_t)snprintf((char *)key, 16, "k%u", i);

	if (i % 16 == 7) {
		memset(key + len, 'x', 40);
		len += 40;
	} else if (i == FZ_KEYS - 1) {
		memset(key + len, 'y', 3000);
		len += 3000;
	}
	*ret_len = len;
	return key;
}

static int put(struct ipcmap *m, uint32_t i, size_t val_len, uint64_t ttl_ns)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	size_t len;
	const void *key = fz_key(i, &len);

	how.ttl_ns = ttl_ns;
	how.type = i % 3;
	return ipcmap_put(m, key, len, bulk + i, val_len, &how);
}

static int publish(struct ipcmap *m, const char *table, size_t n, size_t val_len)
{
	struct ipcmap_pair p[8];
	char keys[8][8];

	for (size_t i = 0; i < n; i++)
		p[i] = (struct ipcmap_pair){keys[i], (size_t)snprintf(keys[i], 8, "s%zu", i),
					    bulk + i, val_len};
	return ipcmap_snapshot_publish(m, table, p, n, NULL, NULL, 0);
}

static int tune(struct ipcmap *m, unsigned compress)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.compress = compress;
	return ipcmap_tune(m, &o);
}

/* Every kind of entry, garbage, and some versions of snapshot tables. */
static int fill(struct ipcmap *m)
{
	int r = 0;

	for (uint32_t i = 0; i < FZ_KEYS; i++)
		r |= put(m, i, 8 + i % 90, i % 8 == 0 ? UINT64_C(60000000000) : 0);
	for (uint32_t i = 0; i < FZ_KEYS; i += 5)
		r |= put(m, i, 30, 0);
	r |= put(m, 3, 10000, 0);
	r |= tune(m, 64);
	r |= put(m, 4, 1000, 0);
	r |= put(m, 5, 70000, 0); /* two blocks, and does not lie inline */
	memset(bulk, 'z', sizeof(bulk) / 2);
	r |= put(m, 6, 50000, 0); /* does */
	r |= tune(m, IPCMAP_COMPRESS_OFF);
	r |= ipcmap_put(m, "n", 1, "41", 2, NULL);
	r |= publish(m, "t", 3, 20) | publish(m, "t", 4, 200) | publish(m, "u", 1, 9000);
	for (uint32_t i = 1; i < FZ_KEYS; i += 9) {
		size_t len;
		const void *key = fz_key(i, &len);

		r |= ipcmap_del(m, key, len);
	}
	return r;
}

static int fill_up(struct ipcmap *m)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < 3000; i++)
		r = put(m, i % 5 == 4 ? i / 2 : i + FZ_KEYS, 150, 0);
	return r == IPCMAP_LIMIT ? 0 : -EIO;
}

/* ---- left by killed processes ---- */

/*
 * Rings that went round, leases, one load that failed. What is open stays open: the process
 * is to die.
 */
static int wait_and_load(struct ipcmap *m)
{
	struct ipcmap_value v = {0};
	struct ipcmap_watch *w;
	struct ipcmap_lease l;
	int r = 0;

	r |= publish(m, "v", 1, 20000) | publish(m, "v", 1, 20000);
	r |= ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &w);
	r |= ipcmap_watch_open(m, "k1", 2, IPCMAP_WATCH_PREFIX, &w);
	for (uint32_t i = 0; i < 300; i++)
		r |= put(m, i % 100, 20, 0);
	for (uint32_t i = 300; i < 306; i++) {
		size_t len;
		const void *key = fz_key(i, &len);

		r |= ipcmap_lease(m, key, len, NULL, &l, &v) != IPCMAP_LEAD;
	}
	r |= ipcmap_lease_fail(m, "k305", 4, &l, NULL, -EIO);
	return r;
}

/* How the process of @work ended: by a kill? */
static bool is_killed(struct fz_seed *s, const char *path, void (*work)(struct ipcmap *m))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		struct ipcmap *m;

		if (ipcmap_open(path, NULL, &m) == 0)
			work(m);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	fprintf(stderr, "seeds: %s was not met\n", s->name);
	return false;
}

/* Places in fz_seeds[]; from KILLED on seeds are killed, each kind in another work. */
enum { EMPTY, ENTRIES, FULL, KILLED, WATCHED = 15, HOLDS = 23 };

static void work_watched(struct ipcmap *m)
{
	int r = wait_and_load(m);

	if (r == 0)
		raise(SIGKILL);
	fprintf(stderr, "seeds: %#x\n", (unsigned)r);
}

#if defined(IM_CHECK) && IM_CHECK
static const char *die_at;

static void die(const char *name)
{
	if (strcmp(name, die_at) == 0)
		raise(SIGKILL);
}

static int commit_some(struct ipcmap *m)
{
	static const char *const keys[] = {"k2", "k300", "k14", "k400", "k25", "k401"};
	struct ipcmap_change c[6];

	memset(c, 0, sizeof(c));
	for (unsigned i = 0; i < 6; i++) {
		c[i].key = keys[i];
		c[i].key_len = strlen(keys[i]);
		c[i].val = bulk;
		c[i].val_len = i * 40;
		c[i].flags = i == 4 ? IPCMAP_CHANGE_DEL : 0;
		c[i].val_len = i == 4 ? 0 : c[i].val_len;
	}
	return ipcmap_commit(m, c, 6, 0);
}

/* What waits, loads and commits, till it meets the point to die at. */
static void work_waits(struct ipcmap *m)
{
	struct ipcmap_value v = {0};
	struct ipcmap_lease l;

	if (wait_and_load(m))
		return;
	im_crash_hook = die;
	ipcmap_lease(m, "k310", 4, NULL, &l, &v);
	put(m, 300, 10, 0);
	commit_some(m);
}

/* What holds values, and takes them away from under their pins. */
static void work_pins(struct ipcmap *m)
{
	struct ipcmap_pin p[4];
	char key[8];

	im_crash_hook = die;
	for (uint32_t i = 0; i < 4; i++) {
		snprintf(key, sizeof(key), "k%u", 300 + i);
		put(m, 300 + i, i % 2 ? 30 : 2100, 0);
		if (ipcmap_pin(m, key, 4, &p[i]))
			return;
		ipcmap_del(m, key, 4);
	}
	die("pins.parked");
	for (uint32_t i = 0; i < 4; i++)
		ipcmap_unpin(m, &p[i]);
}

/* All else that writes. */
static void work(struct ipcmap *m)
{
	struct ipcmap_snapshot *s;

	im_crash_hook = die;
	ipcmap_del(m, "k3", 2);
	ipcmap_del(m, "k5", 2);
	for (uint32_t i = 0; i < 20; i++) {
		for (uint32_t k = 0; k < 120; k++)
			put(m, 1000 + i * 110 + k, 8, 0);
		put(m, 2, 6000 + i, 0);
		publish(m, "t", 2 + i % 5, 100);
		if (ipcmap_snapshot_open(m, "t", 0, &s) == 0 && i % 2)
			ipcmap_snapshot_close(s);
		if (i >= 14 && i % 2) {
			ipcmap_del_prefix(m, "k1", 2, NULL);
			ipcmap_compact(m, NULL, NULL);
		}
	}
}

static bool work_killed(struct fz_seed *s, const char *path, unsigned i)
{
	die_at = s->name;
	return is_killed(s, path, i >= HOLDS ? work_pins : i > WATCHED ? work_waits : work);
}
#else
static bool work_killed(struct fz_seed *s, const char *path, unsigned i)
{
	(void)s;
	(void)path;
	(void)i;
	return true;
}
#endif

struct fz_seed fz_seeds[] = {
	{.name = "empty"},	    {.name = "entries"},	{.name = "full"},
	{.name = "redo.armed"},	    {.name = "redo.store"},	{.name = "space.armed"},
	{.name = "space.word"},	    {.name = "space.filled"},	{.name = "split.copied"},
	{.name = "clean.swung"},    {.name = "compact.copied"}, {.name = "merge.published"},
	{.name = "snapshot.ready"}, {.name = "keep.leaving"},	{.name = "room.released"},
	{.name = "watched"},	    {.name = "event.bytes"},	{.name = "lease.granted"},
	{.name = "lease.voided"},   {.name = "commit.named"},	{.name = "commit.done"},
	{.name = "group.stored"},   {.name = "group.ended"},	{.name = "room.parked"},
	{.name = "pins.parked"},    {.name = "room.unparked"},
};
const unsigned fz_n_seeds = sizeof(fz_seeds) / sizeof(fz_seeds[0]);

/* ---- where things lie ---- */

static void add(uint32_t **list, uint32_t *n, uint64_t off)
{
	*list = realloc(*list, (*n + 1) * sizeof(**list));
	if (!*list)
		abort();
	(*list)[(*n)++] = (uint32_t)off;
}

static void find_entries(struct fz_seed *s, uint64_t at, uint32_t fill)
{
	for (uint64_t end = at + fill; at + FMT_ENTRY_HEAD <= end;) {
		uint64_t w[2], head = FMT_ENTRY_HEAD, len;
		unsigned flags;

		memcpy(w, s->bytes + at, sizeof(w));
		flags = (unsigned)(w[0] >> 48) & 0xff;
		head += flags & FMT_F_TTL ? 8 : 0;
		head += flags & FMT_F_LARGE ? 16 : 0;
		len = head + (flags & FMT_F_FARKEY ? 0 : (w[1] >> 32 & 0xffff) + 1);
		add(&s->entries, &s->n_entries, at);
		if (flags & FMT_F_PACKED && !(flags & FMT_F_LARGE))
			add(&s->blocks, &s->n_blocks, at + len);
		len += flags & FMT_F_LARGE ? 0 : w[1] & UINT32_MAX;
		at += align_up(len, 16);
	}
}

static void find_image(struct fz_seed *s, uint64_t at)
{
	struct fmt_image im;
	uint64_t item;

	memcpy(&im, s->bytes + at, sizeof(im));
	if (im.magic != FMT_IMAGE_MAGIC)
		return;
	add(&s->images, &s->n_images, at);
	item = im.items_off;
	for (uint32_t i = 0; i < im.n && item < 4096; i++) {
		uint32_t len[2];

		memcpy(len, s->bytes + at + item, sizeof(len));
		add(&s->items, &s->n_items, at + item);
		item = align_up(item + 8 + len[0] + len[1] + 1, 8);
	}
}

/* Those that ring_head can lead to. */
static void find_events(struct fz_seed *s, const struct fmt_header *h, const struct fmt_shard *x)
{
	uint64_t len = UINT64_C(1) << h->extent_shift;
	uint64_t ring = h->extent_off + (x->ring - 1) * len;

	if (!x->ring)
		return;
	for (uint64_t at = x->ring_head - min_u64(len, x->ring_head); at < x->ring_head;
	     at += 8) {
		uint64_t off = at & (len - 1), sizes;

		memcpy(&sizes, s->bytes + ring + ((off + 8) & (len - 1)), sizeof(sizes));
		if (sizes >> 48 == (at >> 3 & 0xffff) && (uint32_t)sizes < 200)
			add(&s->events, &s->n_events, ring + off);
	}
}

static void find_record(struct fz_seed *s, uint64_t at)
{
	uint64_t magic;

	memcpy(&magic, s->bytes + at, sizeof(magic));
	if (magic == FMT_GROUP_MAGIC)
		add(&s->records, &s->n_records, at);
}

static void find(struct fz_seed *s)
{
	const struct fmt_header *h = (const void *)s->bytes;
	const struct fmt_extent *x = (const void *)(s->bytes + h->table_off);

	for (uint32_t i = 0; i < h->n_extents; i++, x++) {
		uint64_t at = h->extent_off + ((uint64_t)i << h->extent_shift);

		if (fmt_word_state(x->word) == FMT_LOG)
			find_entries(s, at, x->fill);
		if (fmt_word_state(x->word) == FMT_INDEX)
			for (unsigned k = 0; k < 64; k++)
				add(&s->buckets, &s->n_buckets, at + 64 * k);
		if (fmt_word_state(x->word) == FMT_LARGE)
			find_image(s, at);
		find_record(s, at);
		/* the first of a packed large value begins with its raw length */
		if (fmt_word_state(x->word) == FMT_LARGE)
			add(&s->blocks, &s->n_blocks, at);
	}
	for (uint32_t i = 0; i < h->n_shards; i++)
		find_events(s, h, (const void *)(s->bytes + h->user_off + i * FMT_SHARD_LEN));
}

/* ---- all ---- */

static bool keep(struct fz_seed *s, const char *path)
{
	FILE *f = fopen(path, "re");
	bool ok;

	s->bytes = calloc(1, FZ_LEN);
	ok = f && s->bytes && fread(s->bytes, 1, FZ_LEN, f) == FZ_LEN;
	if (f)
		fclose(f);
	if (ok)
		find(s);
	return ok;
}

static void make_bulk(void)
{
	uint64_t x = 1;

	for (size_t i = 0; i < sizeof(bulk); i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
		bulk[i] = (unsigned char)(x >> 62 | 64);
	}
}

static bool make(struct fz_seed *s, unsigned i, const char *path)
{
	struct ipcmap *m;
	int r = 0;

	make_bulk();
	if (!make_empty(path, i != EMPTY, i >= HOLDS))
		return false;
	if (i != EMPTY) {
		r = ipcmap_open(path, NULL, &m);
		if (r == 0) {
			r = fill(m);
			if (i == FULL && r == 0)
				r = fill_up(m);
			if (r == 0)
				r = ipcmap_check(m, NULL, NULL);
			ipcmap_close(m);
		}
	}
	if (r)
		fprintf(stderr, "seeds: %s: %d\n", s->name, r);
	if (r == 0 && i == WATCHED)
		r = !is_killed(s, path, work_watched);
	else if (r == 0 && i >= KILLED)
		r = !work_killed(s, path, i);
	return r == 0 && keep(s, path);
}

bool fz_seeds_make(const char *path)
{
	for (unsigned i = 0; i < fz_n_seeds; i++)
		if (!make(&fz_seeds[i], i, path))
			return false;
	return true;
}

void fz_seeds_free(void)
{
	for (unsigned i = 0; i < fz_n_seeds; i++) {
		struct fz_seed *s = &fz_seeds[i];

		free(s->bytes);
		free(s->entries);
		free(s->buckets);
		free(s->blocks);
		free(s->images);
		free(s->items);
		free(s->events);
		free(s->records);
		*s = (struct fz_seed){.name = s->name};
	}
}
