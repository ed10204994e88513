/* SPDX-License-Identifier: MIT */
/*
 * points-lease.c - who loads a key of a map whose writer was killed
 *
 * At any time no two leases of one key are granted, and none where a shard says that there is
 * none. Leases that were granted before the kill are remembered, whoever they were granted to:
 * at the end of a look what was loaded by them comes late. It may be stored only if the key was
 * not changed since; or another process leads meanwhile, and then it may not.
 */
#include "points.h"

#include "lease.h"
#include "map.h"
#include "os.h"

struct ipcmap_lease points_lead(struct ipcmap *m, uint32_t id,
				const struct ipcmap_fill_options *how)
{
	struct ipcmap_value v = {0};
	unsigned char key[POINTS_FAR_LEN];
	struct ipcmap_lease l;

	T_MUST(points->n_leases < POINTS_LEASES);
	T_MUST(ipcmap_lease(m, key, points_make_key(id, key), how, &l, &v) == IPCMAP_LEAD);
	points->lease[points->n_leases].id = id;
	points->lease[points->n_leases++].lease = l;
	return l;
}

static unsigned count_granted(const struct ipcmap *m, uint32_t shard, uint64_t hash)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < FMT_LEASES; i++) {
		const struct fmt_lease *l = im_lease_at(m, shard, i);

		n += l->owner && l->hash == hash;
	}
	return n;
}

void points_lease_look(struct ipcmap *m)
{
	for (uint32_t k = 0; k < m->n_shards; k++) {
		const struct fmt_shard *s = &m->shards[k];

		for (uint32_t i = 0; i < FMT_LEASES; i++) {
			const struct fmt_lease *l = im_lease_at(m, k, i);

			if (!l->owner)
				continue;
			T_MUST(s->leases == 1);
			T_MUST(count_granted(m, k, l->hash) == 1);
			T_MUST(im_map_shard(m, l->hash) == k);
			T_MUST(l->version <= s->version);
		}
	}
}

/* ---- at the end ---- */

static bool is_changed(struct ipcmap *m, uint32_t id)
{
	uint32_t i = points->index_of[id];
	struct points_seen now = points_look(m, id), *was;

	if (!i--)
		return false;
	was = &points->before[i];
	return (points->step[i] >= 0 && (uint32_t)points->step[i] < points->acked) ||
	       now.r != was->r || now.len != was->len || now.sum != was->sum;
}

static bool has_value(struct ipcmap *m, const void *key, size_t key_len, const char *val)
{
	char buf[20];
	size_t len;

	return ipcmap_get(m, key, key_len, buf, sizeof(buf), &len) == 0 && len == strlen(val) &&
	       memcmp(buf, val, len) == 0;
}

static int put(struct ipcmap *m, const void *key, size_t key_len, const struct ipcmap_lease *l,
	       const char *val)
{
	return ipcmap_lease_put(m, key, key_len, l, val, strlen(val), NULL);
}

/* What was loaded before the kill comes now. */
static void come_late(struct ipcmap *m, uint32_t id, const struct ipcmap_lease *l)
{
	bool changed = is_changed(m, id);
	unsigned char key[POINTS_FAR_LEN];
	size_t n = points_make_key(id, key);
	int r = put(m, key, n, l, "late");

	if (r && r != IPCMAP_MISMATCH)
		fprintf(stderr, "\n%s: lease_put: %d", points_scenario->name, r);
	T_MUST(r == IPCMAP_MISMATCH || (r == 0 && !changed));
	T_MUST(r || has_value(m, key, n, "late"));
	T_MUST(put(m, key, n, l, "again") == IPCMAP_MISMATCH);
	T_MUST(!has_value(m, key, n, "again"));
}

static int wait_for_nothing(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	(void)word;
	(void)val;
	(void)timeout_ns;
	return 0;
}

/* It comes now, and this process leads meanwhile, unless the key is there. */
static void come_too_late(struct ipcmap *m, uint32_t id, const struct ipcmap_lease *l)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	unsigned char key[POINTS_FAR_LEN], buf[20];
	size_t n = points_make_key(id, key);
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	struct ipcmap_lease mine, other;
	static struct im_os os;
	int r;

	/* the owner is dead, so there is nothing to wait for */
	os = im_os_real;
	os.futex_wait = wait_for_nothing;
	im_os = &os;
	how.deadline_ns = IPCMAP_FOREVER;
	r = ipcmap_lease(m, key, n, &how, &mine, &v);
	im_os = &im_os_real;
	if (r != IPCMAP_LEAD) {
		/* it is there, or there is no such thing, or it was too early to ask again */
		T_MUST(((r == 0 || r == IPCMAP_SHORT || r == IPCMAP_NOTFOUND) &&
			points_look(m, id).r == 0) ||
		       (r == -EIO && points_scenario->failing));
		return;
	}
	T_MUST(points_look(m, id).r == IPCMAP_NOTFOUND);
	points_lease_look(m);
	T_MUST(count_granted(m, im_map_shard(m, points_hash_of(m, id)),
			     points_hash_of(m, id)) == 1);
	how.deadline_ns = IPCMAP_NOWAIT;
	T_MUST(ipcmap_lease(m, key, n, &how, &other, &v) == IPCMAP_BUSY);
	T_MUST(put(m, key, n, l, "late") == IPCMAP_MISMATCH);
	T_MUST(ipcmap_get(m, key, n, buf, sizeof(buf), NULL) == IPCMAP_NOTFOUND);
	T_MUST(put(m, key, n, &mine, "mine") == 0 && has_value(m, key, n, "mine"));
}

void points_lease_end(struct ipcmap *m)
{
	for (uint32_t i = 0; i < points->n_leases; i++) {
		uint32_t id = points->lease[i].id;

		if ((points->kill_at / 2 + i) % 2)
			come_late(m, id, &points->lease[i].lease);
		else
			come_too_late(m, id, &points->lease[i].lease);
	}
	if (!points->n_leases)
		come_too_late(m, points->id[points->n - 1], &(struct ipcmap_lease){0});
	points_lease_look(m);
}
