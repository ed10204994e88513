/* SPDX-License-Identifier: MIT */
/*
 * replay.h - the keys of a map as a watcher knows them: read once, then kept by events
 *
 * Keys are kit_key(0 .. REPLAY_KEYS - 1); what is known of each is its version, 0: not there.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include "kit.h"

#define REPLAY_KEYS 200u

struct replay {
	struct ipcmap *m;
	struct ipcmap_watch *w;
	uint64_t version[REPLAY_KEYS];
	uint64_t last[1024]; /* by group: of the last event */
	uint32_t n[7]; /* events by op */
};

static inline uint64_t replay_read(struct ipcmap *m, uint32_t id)
{
	return kit_version(m, kit_key(id).text);
}

static inline int replay_group(struct ipcmap *m, uint32_t id)
{
	struct kit_key k = kit_key(id);

	return ipcmap_group(m, k.text, k.len);
}

/* Open first, then read. */
static inline int replay_open(struct replay *r, struct ipcmap *m)
{
	int rc;

	memset(r, 0, sizeof(*r));
	r->m = m;
	rc = ipcmap_watch_open(m, NULL, 0, IPCMAP_WATCH_ALL, &r->w);
	for (uint32_t i = 0; i < REPLAY_KEYS && !rc; i++)
		r->version[i] = replay_read(m, i);
	return rc;
}

/* False: it is not what an event can be. */
static inline bool replay_apply(struct replay *r, const struct ipcmap_event *e)
{
	uint32_t id = 0;

	if (e->op < 1 || e->op > 6 || e->group >= r->m->n_shards)
		return false;
	r->n[e->op]++;
	if (e->op != IPCMAP_EVENT_GAP) {
		if (e->version <= r->last[e->group])
			return false;
		r->last[e->group] = e->version;
	}
	if (e->op == IPCMAP_EVENT_CLEAR || e->op == IPCMAP_EVENT_GAP) {
		for (uint32_t i = 0; i < REPLAY_KEYS; i++) {
			if ((uint32_t)replay_group(r->m, i) != e->group)
				continue;
			if (e->op == IPCMAP_EVENT_GAP)
				r->version[i] = replay_read(r->m, i);
			else if (r->version[i] < e->version)
				r->version[i] = 0;
		}
		return true;
	}
	if (e->key_len != 10 || sscanf((const char *)e->key, "k%9u", &id) != 1 ||
	    id >= REPLAY_KEYS || (uint32_t)replay_group(r->m, id) != e->group)
		return false;
	r->version[id] = e->op == IPCMAP_EVENT_PUT ? e->version : 0;
	return true;
}

/* All that is there now: how many events, or -1. */
static inline int replay_drain(struct replay *r)
{
	struct ipcmap_event e;
	int n = 0, rc;

	while ((rc = ipcmap_watch_next(r->w, IPCMAP_NOWAIT, &e)) == 0) {
		if (!replay_apply(r, &e)) {
			fprintf(stderr, "\nevent %u of group %u, version %llu, key of %zu bytes\n",
				e.op, e.group, (unsigned long long)e.version, e.key_len);
			return -1;
		}
		n++;
	}
	if (rc != IPCMAP_BUSY)
		fprintf(stderr, "\nwatch_next: %d\n", rc);
	return rc == IPCMAP_BUSY ? n : -1;
}

/* Is what is known what is there? Nothing may have expired without its event. */
static inline bool replay_is_right(struct replay *r)
{
	bool right = true;

	for (uint32_t i = 0; i < REPLAY_KEYS; i++) {
		uint64_t v = replay_read(r->m, i);

		if (v == r->version[i])
			continue;
		fprintf(stderr, "\nkey %u: version %llu, known %llu\n", i, (unsigned long long)v,
			(unsigned long long)r->version[i]);
		right = false;
	}
	return right;
}

#endif
