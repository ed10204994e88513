/* SPDX-License-Identifier: MIT */
/*
 * points-keys.c - numbered keys, what is noted about them, and start states of several suites
 */
#include "points.h"

#include "map.h"
#include "os.h"

size_t points_make_key(uint32_t id, unsigned char *key)
{
	size_t n = (size_t)sprintf((char *)key, "key-%u", id);

	if (id < POINTS_FAR || id >= POINTS_NEW)
		return n;
	memset(key + n, 'f', POINTS_FAR_LEN - n);
	return POINTS_FAR_LEN;
}

bool points_is_key(uint32_t id)
{
	return id != POINTS_SNAPSHOT && id != POINTS_OLD;
}

uint32_t points_id_of(const void *key)
{
	return (uint32_t)strtoul((const char *)key + 4, NULL, 10);
}

void points_note(uint32_t id, int step)
{
	uint32_t i = points->index_of[id];

	if (!i) {
		T_MUST(points->n < POINTS_KEYS);
		i = ++points->n;
		points->index_of[id] = (uint16_t)i;
		points->id[i - 1] = id;
		points->step[i - 1] = -1;
	}
	if (step >= 0)
		points->step[i - 1] = step;
}

int points_store(struct ipcmap *m, uint32_t id, uint32_t len, uint64_t seq, uint64_t ttl)
{
	static unsigned char val[LOAD_CAP * 4];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[POINTS_FAR_LEN];

	size_t n = points_make_key(id, key);

	how.ttl_ns = ttl;
	load_make(val, len, id, 0, seq);
	points_step_in();
	return points_step_out(ipcmap_put(m, key, n, val, len, &how));
}

void points_put(struct ipcmap *m, uint32_t id, uint32_t len, uint64_t seq)
{
	points_note(id, -1);
	T_MUST(points_store(m, id, len, seq, 0) == 0);
}

void points_put_many(struct ipcmap *m, uint32_t from, uint32_t n, uint32_t len)
{
	for (uint32_t id = from; id < from + n; id++)
		points_put(m, id, len, 1);
}

int points_del(struct ipcmap *m, uint32_t id)
{
	unsigned char key[POINTS_FAR_LEN];
	size_t n = points_make_key(id, key);

	points_step_in();
	return points_step_out(ipcmap_del(m, key, n));
}

void points_leave_no_extent(struct ipcmap *m)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_stat st = {.struct_size = sizeof(st)};

	T_MUST(ipcmap_stat(m, &st) == 0);
	o.limit = st.used - 2 * st.extent_len;
	T_MUST(ipcmap_tune(m, &o) == 0);
}

static uint64_t leap(void)
{
	static uint64_t now;

	now += 700000000;
	return im_os_real.now() + now;
}

int points_compact(struct ipcmap *m, const struct ipcmap_compact_options *how)
{
	static struct im_os os;
	int r;

	os = im_os_real;
	os.now = leap;
	im_os = &os;
	points_step_in();
	r = points_step_out(ipcmap_compact(m, how, NULL));
	im_os = &im_os_real;
	return r;
}

uint64_t points_hash_of(struct ipcmap *m, uint32_t id)
{
	unsigned char key[POINTS_FAR_LEN];

	return im_hash(m->hash_seed, key, points_make_key(id, key));
}

uint32_t points_pick(struct ipcmap *m, uint32_t shard, uint64_t mask, uint64_t bits)
{
	for (;;) {
		uint64_t h = points_hash_of(m, ++points->next_id);

		T_MUST(points->next_id < POINTS_FAR);
		if (im_map_shard(m, h) == shard && (h & mask) == bits)
			return points->next_id;
	}
}

void points_put_in_bucket(struct ipcmap *m, uint64_t mask, uint64_t bits, uint32_t n)
{
	while (n--)
		points_put(m, points_pick(m, 0, mask, bits), 40, 1);
}

static int add_pair(void *arg, const struct ipcmap_pair *pair)
{
	struct points_seen *s = arg;

	s->len++;
	s->sum = s->sum * 31 + XXH3_64bits(pair->key, pair->key_len) * 7 +
		 XXH3_64bits(pair->val, pair->val_len);
	return 0;
}

static void look_at_snapshot(struct ipcmap *m, uint64_t version, struct points_seen *s)
{
	struct ipcmap_snapshot *snap;

	s->r = ipcmap_snapshot_open(m, "table", version, &snap);
	if (s->r == 0) {
		s->r = ipcmap_snapshot_each(snap, add_pair, s);
		ipcmap_snapshot_close(snap);
	}
}

struct points_seen points_look(struct ipcmap *m, uint32_t id)
{
	static unsigned char buf[LOAD_CAP * 4];
	unsigned char key[POINTS_FAR_LEN];
	struct points_seen s = {0};
	size_t len = 0;

	if (id == POINTS_SNAPSHOT)
		look_at_snapshot(m, 0, &s);
	for (uint64_t v = 1; id == POINTS_OLD && v <= points->old && s.r == 0; v++)
		look_at_snapshot(m, v, &s);
	if (!points_is_key(id))
		return s;
	s.r = ipcmap_get(m, key, points_make_key(id, key), buf, sizeof(buf), &len);
	if (s.r == 0) {
		s.len = (uint32_t)len;
		s.sum = XXH3_64bits(buf, len);
	}
	return s;
}

/* ---- start states ---- */

void points_twenty(struct ipcmap *m)
{
	points_put_many(m, 2, 20, 60);
	points_note(1, 0);
}

void points_one_under_many(struct ipcmap *m)
{
	points_put(m, 1, 1000, 1);
	points_put_many(m, 2, 8, 1000);
	points_note(1, 0);
}

void points_one_over_many(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 1000);
	points_put(m, 1, 60, 1);
	points_note(1, 0);
}

void points_one_large(struct ipcmap *m)
{
	points_put_many(m, 2, 8, 500);
	points_put(m, 1, 14000, 1);
	points_note(1, 0);
}
