/* SPDX-License-Identifier: MIT */
/*
 * watcher.c - a process of the linearizability test that watches the keys
 *
 * It opens a watch for each key, or one of their prefix, reads the keys, and from then on does
 * what events say: so it knows at each moment which version of each key there is, or soon will.
 * What it was told of each key in a round it notes, with a stamp: the tape that lin.c goes by.
 */
#include "callers.h"

#include "map.h"

#define PATIENCE_NS UINT64_C(2000000)

struct ears {
	struct ipcmap *m;
	const struct watcher *how;
	struct ipcmap_watch *watch[KEYS];
	uint32_t n;
};

/* What there is now; versions only, whatever the value. */
static void read_again(const struct ears *e, uint32_t k)
{
	static unsigned char key[LONG_KEY + 20];
	struct ipcmap_value v = {0};
	int r;

	do
		r = ipcmap_getx(e->m, key, callers_key(k, key), &v);
	while (r == IPCMAP_BUSY);
	T_MUST(r == 0 || r == IPCMAP_SHORT || r == IPCMAP_NOTFOUND);
	sh->heard[k].there = r != IPCMAP_NOTFOUND;
	sh->heard[k].version = v.version;
}

/* Once there was a gap, nothing is asked of the rest of the tape. */
static void record(struct heard *h, const struct ipcmap_event *event)
{
	if (h->n && h->event[h->n - 1].what == IPCMAP_EVENT_GAP)
		return;
	T_MUST(h->n < HEARD);
	h->event[h->n].what = event->op;
	h->event[h->n].version = event->version;
	h->event[h->n].seen = lin_stamp(&sh->stamp);
	im_store_rel(&h->n, h->n + 1);
}

static void note(const struct ears *e, uint32_t k, const struct ipcmap_event *event)
{
	struct heard *h = &sh->heard[k];

	record(h, event);
	if (event->op == IPCMAP_EVENT_GAP) {
		im_add_rlx(&sh->gaps, 1);
		read_again(e, k);
	} else if (event->op == IPCMAP_EVENT_PUT) {
		h->there = 1;
		h->version = event->version;
	} else if (event->op != IPCMAP_EVENT_CLEAR || h->version < event->version) {
		h->there = 0;
	}
}

/* Of one watch, all that there is. */
static void hear(const struct ears *e, uint32_t i, uint64_t deadline_ns)
{
	static unsigned char key[LONG_KEY + 20];
	struct ipcmap_event event;
	int r;

	while ((r = ipcmap_watch_next(e->watch[i], deadline_ns, &event)) == 0) {
		for (uint32_t k = 0; k < KEYS; k++) {
			size_t len = callers_key(k, key);

			if (e->how->prefix ? k == LONG || event.group != e->how->shard[k] : k != i)
				continue;
			if (!event.key ||
			    (event.key_len == len && memcmp(event.key, key, len) == 0))
				note(e, k, &event);
		}
		deadline_ns = IPCMAP_NOWAIT;
	}
	T_MUST(r == IPCMAP_BUSY);
}

/* At the limit there may be no room for the events, for a while. */
static struct ipcmap_watch *open_watch(const struct ears *e, uint32_t k)
{
	static unsigned char key[LONG_KEY + 20];
	struct ipcmap_watch *w;

	for (;;) {
		int r = e->how->prefix
				? ipcmap_watch_open(e->m, WATCHED_PREFIX,
						    strlen(WATCHED_PREFIX), IPCMAP_WATCH_PREFIX,
						    &w)
				: ipcmap_watch_open(e->m, key, callers_key(k, key),
						    IPCMAP_WATCH_KEY, &w);

		if (r == 0)
			return w;
		T_MUST(r == IPCMAP_LIMIT || r == IPCMAP_BUSY);
		if (im_load32_acq(&sh->stop))
			return NULL;
		usleep(500);
	}
}

int callers_watch(void *arg)
{
	struct ears e = {.how = arg};

	callers_clock_on();
	T_MUST(load_open(callers_map, 0, 0, 0, &e.m) == 0);
	alarm(LIFE_S);
	for (uint32_t k = 0; k < (e.how->prefix ? 1 : KEYS); k++) {
		e.watch[e.n++] = open_watch(&e, k);
		if (!e.watch[k])
			return 0;
	}
	for (uint32_t k = 0; k < KEYS; k++)
		read_again(&e, k);
	im_store32_rel(&sh->listening, 1);
	for (uint32_t i = 0; !im_load32_acq(&sh->stop); i++) {
		uint32_t drain = im_load32_acq(&sh->drain);

		alarm(LIFE_S);
		for (uint32_t k = 0; k < e.n; k++)
			hear(&e, k, IPCMAP_NOWAIT);
		if (drain != im_load32_rlx(&sh->drained))
			im_store32_rel(&sh->drained, drain);
		else
			hear(&e, i % e.n, PATIENCE_NS);
	}
	for (uint32_t k = 0; k < e.n; k++)
		ipcmap_watch_close(e.watch[k]);
	ipcmap_close(e.m);
	return 0;
}
