/* SPDX-License-Identifier: MIT */
/*
 * points-watch.c - who watches a map whose writer was killed: what is known from events is
 * what is there
 *
 * A watch begins in prepare; where it begins, and which versions the keys have then, is kept,
 * and its process ends. Each state that a writer leaves is looked at twice from there. First
 * before anybody took over, by a reader of rings of its own, which knows of them what
 * ipcmap(5) says: each event that can be seen is of a change that can be seen; and a change
 * whose event is missing gets it later. Then, when a successor has come, by the library's
 * watch, set back to where it began: what follows from the versions then and the events is
 * what a get finds, for every key that was ever named, until the end of the look. A gap means
 * to read again, as for any watcher.
 *
 * To be set back, ring_head is what it was while the watch opens, which is when nobody else is
 * there. Before that this process says that it watches, as the one that began the watch would
 * have: so the ring stays. When the watch is closed all rings must go.
 */
#include "points.h"

#include "map.h"

#define LATE_MAX 256u

/* What is known from events. */
struct known {
	uint64_t version[POINTS_IDS]; /* 0: not there */
	uint32_t n;
	uint32_t id[POINTS_KEYS + 64]; /* named, by events or by the scenario */
	bool has[POINTS_IDS];
	uint64_t last[POINTS_SHARDS]; /* version of the last event of the shard */
	bool read_again[POINTS_SHARDS];
};

static struct known known;
/* Keys that had changed without an event when nobody had taken over. */
static struct {
	uint32_t n, id[LATE_MAX];
	uint64_t last[POINTS_SHARDS];
} late;
static struct ipcmap_watch *watch;

static uint64_t version_of(struct ipcmap *m, uint32_t id)
{
	unsigned char key[POINTS_FAR_LEN];
	struct ipcmap_value v = {0};
	int r = ipcmap_getx(m, key, points_make_key(id, key), &v);

	T_MUST(r == 0 || r == IPCMAP_SHORT || r == IPCMAP_NOTFOUND);
	return r == IPCMAP_NOTFOUND ? 0 : v.version;
}

static uint32_t shard_of(struct ipcmap *m, uint32_t id)
{
	return im_map_shard(m, points_hash_of(m, id));
}

void points_watch_from_here(struct ipcmap *m)
{
	struct ipcmap_watch *w;

	T_MUST(m->n_shards <= POINTS_SHARDS);
	T_MUST(ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &w) == 0);
	for (uint32_t k = 0; k < m->n_shards; k++)
		points->head[k] = m->shards[k].ring_head;
	for (uint32_t i = 0; i < points->n; i++)
		if (points_is_key(points->id[i]))
			points->version[i] = version_of(m, points->id[i]);
}

/* Its word says so; nobody looks at the rings for it. */
void points_watch_alive(struct ipcmap *m)
{
	uint32_t self = m->seg->self;
	uint64_t groups = ((UINT64_C(1) << FMT_WATCH_GROUPS) - 1) << 32;

	im_store_rel(&m->watchers[(self & 0x3ff) - 1],
		     (self >> 10 & FMT_WATCH_GEN_MASK) | groups);
}

/* ---- what is known ---- */

static void name(uint32_t id)
{
	T_MUST(id < POINTS_IDS);
	if (known.has[id])
		return;
	T_MUST(known.n < ARRAY_LEN(known.id));
	known.has[id] = true;
	known.version[id] = 0;
	known.id[known.n++] = id;
}

static void know_the_start(struct ipcmap *m)
{
	for (uint32_t i = 0; i < known.n; i++)
		known.has[known.id[i]] = false;
	known.n = 0;
	memset(known.last, 0, sizeof(known.last));
	memset(known.read_again, 0, sizeof(known.read_again));
	for (uint32_t i = 0; i < points->n; i++) {
		uint32_t id = points->id[i];

		if (!points_is_key(id))
			continue;
		name(id);
		known.version[id] = points_scenario->watched == POINTS_FOLLOWED
					    ? points->version[i]
					    : version_of(m, id);
	}
}

static void must(bool ok, const char *what, unsigned op, uint32_t id, uint64_t version)
{
	if (ok)
		return;
	fprintf(stderr, "\n%s: state %u: %s: event %u of key %u, version %llu, known %llu",
		points_scenario->name, points->kill_at, what, op, id,
		(unsigned long long)version,
		(unsigned long long)known.version[id % POINTS_IDS]);
	_exit(1);
}

static void read_again(struct ipcmap *m, uint32_t shard)
{
	for (uint32_t i = 0; i < known.n; i++)
		if (shard_of(m, known.id[i]) == shard)
			known.version[known.id[i]] = version_of(m, known.id[i]);
	known.read_again[shard] = true;
}

static void is_late_no_more(uint32_t id, uint64_t version, uint32_t shard)
{
	for (uint32_t i = 0; i < late.n; i++)
		if (late.id[i] == id && version > late.last[shard])
			late.id[i] = late.id[--late.n];
}

static void apply(struct ipcmap *m, unsigned op, uint32_t shard, const void *key,
		  size_t key_len, uint64_t version)
{
	char text[24] = "";
	uint32_t id;

	must(shard < m->n_shards, "of no shard", op, 0, version);
	if (op == IPCMAP_EVENT_GAP) {
		read_again(m, shard);
		return;
	}
	must(version > known.last[shard], "versions do not rise", op, 0, version);
	known.last[shard] = version;
	if (op == IPCMAP_EVENT_CLEAR) {
		for (uint32_t i = 0; i < known.n; i++)
			if (shard_of(m, known.id[i]) == shard &&
			    known.version[known.id[i]] < version)
				known.version[known.id[i]] = 0;
		for (uint32_t i = late.n; i-- > 0;)
			if (shard_of(m, late.id[i]) == shard)
				is_late_no_more(late.id[i], version, shard);
		return;
	}
	memcpy(text, key, key_len < 20 ? key_len : 20);
	id = points_id_of(text);
	must(strncmp(text, "key-", 4) == 0 && shard_of(m, id) == shard, "not a key of it", op,
	     id, version);
	must(op == IPCMAP_EVENT_PUT || op == IPCMAP_EVENT_DEL || op == IPCMAP_EVENT_EXPIRE,
	     "odd", op, id, version);
	name(id);
	known.version[id] = op == IPCMAP_EVENT_PUT ? version : 0;
	is_late_no_more(id, version, shard);
}

/* ---- a reader of rings, from ipcmap(5) ---- */

static void copy_ring(const unsigned char *ring, uint32_t len, uint64_t at, void *to,
		      uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		((unsigned char *)to)[i] = ring[(at + i) % len];
}

static void read_ring(struct ipcmap *m, uint32_t shard)
{
	const struct fmt_shard *s = &m->shards[shard];
	uint32_t len = m->seg->extent_len;
	const unsigned char *ring = m->extents + (uint64_t)(s->ring - 1) * len;
	uint64_t at = points->head[shard];

	T_MUST(s->ring && s->ring <= m->n_extents);
	T_MUST(fmt_word_state(m->seg->table[s->ring - 1].word) == FMT_RESERVED);
	if (s->ring_head - at > len - len / 4) {
		read_again(m, shard);
		return;
	}
	while (at != s->ring_head) {
		struct fmt_event e;
		unsigned char key[24] = "";
		uint32_t key_len, size;
		unsigned op;

		copy_ring(ring, len, at, &e, sizeof(e));
		op = (unsigned)(e.what >> 48 & 0xff);
		key_len = (uint32_t)(e.sizes >> 32 & 0xffff);
		size = (uint32_t)e.sizes;
		must(e.sizes >> 48 == (at / 8 & 0xffff) && size % 8 == 0 && size >= sizeof(e) &&
			     size <= s->ring_head - at,
		     "not whole", op, 0, e.what & FMT_VERSION_MASK);
		copy_ring(ring, len, at + sizeof(e), key, key_len < 20 ? key_len : 20);
		/* of a key that is cut a watcher is told by a gap; here it is good for as much
		 */
		apply(m, op, shard, key, key_len, e.what & FMT_VERSION_MASK);
		at += size;
	}
}

void points_watch_before(struct ipcmap *m)
{
	late.n = 0;
	know_the_start(m);
	for (uint32_t k = 0; k < m->n_shards; k++)
		read_ring(m, k);
	memcpy(late.last, known.last, sizeof(late.last));
	for (uint32_t i = 0; i < known.n; i++) {
		uint32_t id = known.id[i];

		if (known.version[id] == version_of(m, id))
			continue;
		T_MUST(late.n < LATE_MAX);
		late.id[late.n++] = id;
	}
}

/* ---- the watch ---- */

static void open_set_back(struct ipcmap *m)
{
	uint64_t head[POINTS_SHARDS];

	for (uint32_t k = 0; k < m->n_shards; k++) {
		head[k] = m->shards[k].ring_head;
		T_MUST(m->shards[k].ring);
		im_store_rel(&m->shards[k].ring_head, points->head[k]);
	}
	T_MUST(ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &watch) == 0);
	for (uint32_t k = 0; k < m->n_shards; k++)
		im_store_rel(&m->shards[k].ring_head, head[k]);
}

void points_watch_begin(struct ipcmap *m)
{
	bool followed = points_scenario->watched == POINTS_FOLLOWED;

	if (followed)
		open_set_back(m);
	else
		T_MUST(ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &watch) == 0);
	know_the_start(m);
	points_watch_look(m);
	for (uint32_t i = 0; followed && i < late.n; i++)
		must(known.read_again[shard_of(m, late.id[i])], "changed, and no event came", 0,
		     late.id[i], version_of(m, late.id[i]));
	if (!followed)
		points_write_once(m);
	points_watch_look(m);
}

void points_watch_look(struct ipcmap *m)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap_event e;
	int r;

	how.flags = IPCMAP_COMPACT_EXPIRED;
	T_MUST(!points_scenario->expiring || points_compact(m, &how) == 0);
	while ((r = ipcmap_watch_next(watch, IPCMAP_NOWAIT, &e)) == 0)
		apply(m, e.op, e.group, e.key, e.key_len, e.version);
	T_MUST(r == IPCMAP_BUSY);
	for (uint32_t i = 0; i < known.n; i++) {
		uint32_t id = known.id[i];
		uint64_t version = version_of(m, id);

		must(version == known.version[id], "it is another one", 0, id, version);
	}
}

void points_watch_end(struct ipcmap *m)
{
	ipcmap_watch_close(watch);
	watch = NULL;
	for (uint32_t k = 0; k < m->n_shards; k++)
		T_MUST(!m->shards[k].ring);
}
