/* SPDX-License-Identifier: MIT */
/*
 * calls-wait.c - calls of watching and loading, and what each may return
 *
 * In a sound map more is asked: the events of a group have versions that rise, a watch shows
 * only what it is of, and of the leases of one key at most the last one granted is good.
 */
#include "calls.h"

#include <stdlib.h>
#include <string.h>

/* ---- watching ---- */

#define GROUPS 2u /* shards of the seeds */
#define EVENTS_MAX 64u

struct fz_watched {
	struct ipcmap_watch *w;
	unsigned what;
	size_t key_len;
	uint64_t last[GROUPS];
	unsigned char key[];
};

static void close_watch(struct fz_watched **w)
{
	if (*w)
		ipcmap_watch_close((*w)->w);
	free(*w);
	*w = NULL;
}

void fz_watches_close(struct fz_run *run)
{
	for (unsigned i = 0; i < ARRAY_LEN(run->watched); i++)
		close_watch(&run->watched[i]);
}

static void open_watch(struct fz_run *run, const struct fz_rec *r, struct fz_watched **ret)
{
	struct ipcmap_watch *w = NULL;
	unsigned what = r->b & 3;
	size_t len;
	void *key = fz_key_of(run, r, &len);
	int rc;

	if (what == IPCMAP_WATCH_PREFIX && len)
		len = 1 + (r->b >> 2) % len;
	if (what == IPCMAP_WATCH_ALL && !(r->b & 0x8000))
		len = 0;
	rc = ipcmap_watch_open(run->m, key, len, what, &w);
	fz_may(run, "watch_open", rc,
	       (DELS & ~E(IPCMAP_NOTFOUND)) | E(IPCMAP_VERSION) | E(IPCMAP_LIMIT) |
		       E(IPCMAP_FULL));
	if (rc == 0) {
		*ret = fz_room(sizeof(**ret) + len);
		**ret = (struct fz_watched){.w = w, .what = what, .key_len = len};
		memcpy((*ret)->key, key, len);
	}
	free(key);
}

/* What may be shown to this watch. */
static void judge(const struct fz_run *run, struct fz_watched *w, const struct ipcmap_event *e)
{
	bool keyless = e->op == IPCMAP_EVENT_CLEAR || e->op == IPCMAP_EVENT_GAP;

	if (e->op < IPCMAP_EVENT_PUT || e->op > IPCMAP_EVENT_GAP || e->group >= GROUPS)
		fz_broken("an event of no kind, or of no group", (int)e->op);
	if (keyless != !e->key || keyless != !e->key_len)
		fz_broken("an event with a key that it cannot have, or without", (int)e->op);
	if (!keyless && w->what == IPCMAP_WATCH_KEY && e->key_len != w->key_len)
		fz_broken("an event of another key", (int)e->key_len);
	if (!keyless && w->what != IPCMAP_WATCH_ALL && e->key_len < w->key_len)
		fz_broken("an event of a key outside the prefix", (int)e->key_len);
	if (run->way != FZ_SOUND)
		return;
	if (!keyless && memcmp(e->key, w->key, w->key_len) != 0)
		fz_broken("an event of another key than is watched", (int)e->op);
	if ((e->op == IPCMAP_EVENT_GAP) != !e->version ||
	    (e->version && e->version <= w->last[e->group]))
		fz_broken("versions of events do not rise", (int)e->op);
	w->last[e->group] = max_u64(w->last[e->group], e->version);
}

static void next_events(const struct fz_run *run, const struct fz_rec *r, struct fz_watched *w)
{
	uint64_t deadline = r->a & 0x80 ? r->d >> 34 | 1 : IPCMAP_NOWAIT;
	struct ipcmap_event e;

	for (unsigned i = 0; i < EVENTS_MAX; i++) {
		int rc = ipcmap_watch_next(w->w, deadline, &e);

		fz_may(run, "watch_next", rc,
		       E(IPCMAP_BUSY) | E(IPCMAP_INTERRUPTED) | E(IPCMAP_CORRUPT));
		if (rc)
			return;
		if (e.key)
			fz_look(e.key, e.key_len);
		judge(run, w, &e);
	}
}

void fz_watch(struct fz_run *run, const struct fz_rec *r)
{
	struct fz_watched **w = &run->watched[r->a >> 2 & 1];

	switch (r->kind % FZ_KINDS) {
	case FZ_WATCH_OPEN:
		if (!*w)
			open_watch(run, r, w);
		break;
	case FZ_WATCH_NEXT:
		if (*w)
			next_events(run, r, *w);
		break;
	default:
		close_watch(w);
	}
}

/* ---- loading ---- */

struct fz_leased {
	struct ipcmap_lease l;
	bool over; /* ended by its second step, or granted to another */
	unsigned depth;
	size_t len;
	unsigned char key[];
};

void fz_leases_forget(struct fz_run *run)
{
	for (unsigned i = 0; i < ARRAY_LEN(run->leased); i++) {
		free(run->leased[i]);
		run->leased[i] = NULL;
	}
}

/* Under two prefixes that differ, equal keys are two; those of seeds are all under "k". */
static bool is_of(const struct fz_run *run, const struct fz_leased *l, const void *key, size_t len)
{
	size_t all = len + run->depth;
	unsigned char *whole = fz_room(all);
	bool same;

	memset(whole, 'k', run->depth);
	memcpy(whole + run->depth, key, len);
	same = l->len == all && memcmp(l->key, whole, all) == 0;
	free(whole);
	return same;
}

/* Whatever leases of this key there were, they are no good any more. */
static void end_leases(struct fz_run *run, const void *key, size_t len)
{
	for (unsigned i = 0; i < ARRAY_LEN(run->leased); i++)
		if (run->leased[i] && is_of(run, run->leased[i], key, len))
			run->leased[i]->over = true;
}

static struct ipcmap_fill_options how_of(const struct fz_rec *r)
{
	static const uint64_t times[] = {0, 1, 1000000, 20000000, 5000000000, 3600000000000};
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;

	how.struct_size += r->b >> 14 == 3;
	how.type = (uint32_t)(r->d & 0xff);
	how.jitter = r->a >> 3 & 0x7f;
	how.jitter = how.jitter > 100 && r->b & 0x2000 ? 0 : how.jitter;
	how.ttl_ns = r->d >> 8 & 1 ? times[(r->d >> 9) % 6] : 0;
	how.negative_ttl_ns = times[(r->d >> 12) % 6];
	how.stale_ns = times[(r->d >> 15) % 6];
	how.lease_ns = times[(r->d >> 18) % 6];
	how.load_ns = times[(r->d >> 21) % 6];
	how.early = r->d >> 24 & 1 ? (unsigned)(r->d >> 25 & 0x3fff) : 0;
	how.backoff_ns = times[(r->d >> 39) % 6];
	how.backoff_max_ns = times[(r->d >> 42) % 6];
	how.deadline_ns = r->d >> 45 & 1 ? IPCMAP_NOWAIT : 0;
	return how;
}

static int error_of(uint64_t x)
{
	static const int errors[] = {0, IPCMAP_NOTFOUND, -EIO, IPCMAP_BUSY, IPCMAP_MISMATCH, 1};

	return errors[x % ARRAY_LEN(errors)];
}

/* Errors of loads are whatever somebody noted in the segment; in a sound map it was us. */
static void may_load(const struct fz_run *run, const char *what, int rc)
{
	if (run->way != FZ_SOUND && rc < 0)
		return;
	fz_may(run, what, rc,
	       GETS | LOCKS | E(IPCMAP_VERSION) | E(IPCMAP_MISMATCH) | E(-EIO));
}

static void lease(struct fz_run *run, const struct fz_rec *r, struct fz_leased **ret)
{
	struct ipcmap_fill_options how = how_of(r);
	struct ipcmap_value v = fz_value_of(r);
	struct ipcmap_lease l = {0};
	size_t len;
	void *key = fz_key_of(run, r, &len);
	int rc = ipcmap_lease(run->m, key, len, r->a & 4 ? &how : NULL, &l, &v);

	may_load(run, "lease", rc);
	if (rc > IPCMAP_LEAD)
		fz_broken("lease", rc);
	fz_look_value(rc == IPCMAP_LEAD ? (l.has_value ? 0 : IPCMAP_NOTFOUND) : rc, &v);
	if (rc == IPCMAP_LEAD) {
		end_leases(run, key, len);
		free(*ret);
		*ret = fz_room(sizeof(**ret) + len + run->depth);
		**ret = (struct fz_leased){.l = l, .len = len + run->depth, .depth = run->depth};
		memset((*ret)->key, 'k', run->depth);
		memcpy((*ret)->key + run->depth, key, len);
	}
	free(v.buf);
	free(key);
}

/* The second step; sometimes for another key. */
static void end_lease(struct fz_run *run, const struct fz_rec *r, struct fz_leased *l)
{
	struct ipcmap_fill_options how = how_of(r);
	bool own = !(r->b & 0x2000) && l->depth == run->depth, good;
	size_t len, val_len;
	void *key = fz_key_of(run, r, &len), *val = fz_val_of(r, &val_len);
	fz_set errors = PUTS | E(IPCMAP_VERSION);
	int rc;

	if (own) {
		free(key);
		len = l->len - l->depth;
		key = fz_room(len);
		memcpy(key, l->key + l->depth, len);
	}
	good = !l->over && is_of(run, l, key, len);
	if (r->kind % FZ_KINDS == FZ_LEASE_PUT) {
		rc = ipcmap_lease_put(run->m, key, len, &l->l, val, val_len,
				      r->a & 4 ? &how : NULL);
		fz_may(run, "lease_put", rc, errors);
	} else {
		rc = ipcmap_lease_fail(run->m, key, len, &l->l, r->a & 4 ? &how : NULL,
				       error_of(r->d >> 46));
		fz_may(run, "lease_fail", rc, errors);
	}
	if (rc == 0 && run->way == FZ_SOUND && !good)
		fz_broken("a lease that was over is good", rc);
	if (rc == 0)
		end_leases(run, key, len);
	free(key);
	free(val);
}

#define LOADS 8u /* by one call, at most */

struct loader {
	struct fz_run *run;
	const struct fz_rec *r;
	unsigned calls;
};

static void release(void *val)
{
	free(val);
}

/* What a load is like: it may use the map, this very key too, and fail. */
static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct loader *l = arg;
	const struct fz_rec *r = l->r;
	struct ipcmap_value v = {0};
	int rc;

	if (++l->calls > 2 * LOADS)
		fz_broken("more loads than there may be", (int)l->calls);
	fz_look(key, key_len);
	if (r->d >> 50 & 1) {
		rc = ipcmap_del(l->run->m, key, key_len);
		fz_may(l->run, "del in a load", rc, DELS);
	}
	if (r->d >> 51 & 1) {
		rc = ipcmap_put(l->run->m, key, key_len, "in a load", 9, NULL);
		fz_may(l->run, "put in a load", rc, PUTS);
	}
	if (r->d >> 52 & 1 && l->calls == 1) {
		rc = ipcmap_fill(l->run->m, key, key_len, NULL, load, arg, &v);
		may_load(l->run, "fill in a load", rc);
	}
	rc = r->d >> 53 & 1 ? error_of(r->d >> 54) : 0;
	if (rc == 0 && !(r->d >> 60 & 1)) {
		ret->val = fz_val_of(r, &ret->len);
		ret->release = release;
	}
	if (r->d >> 61 & 1)
		ret->type = (uint32_t)(r->d & 0x1ff);
	if (r->d >> 62 & 1)
		ret->ttl_ns = r->d;
	return rc;
}

static void fill(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_fill_options how = how_of(r);
	struct ipcmap_value v = fz_value_of(r);
	struct loader l = {run, r, 0};
	size_t len, n = 0;
	void *key = fz_key_of(run, r, &len), *buf = NULL;
	int rc;

	if (r->a & 0x40) {
		rc = ipcmap_fill_alloc(run->m, key, len, r->a & 4 ? &how : NULL, load, &l, &buf,
				       &n);
		may_load(run, "fill_alloc", rc);
		if (rc == 0)
			fz_look(buf, n + 1);
		free(buf);
	} else {
		rc = ipcmap_fill(run->m, key, len, r->a & 4 ? &how : NULL, load, &l, &v);
		may_load(run, "fill", rc);
		fz_look_value(rc, &v);
	}
	if (rc > 0)
		fz_broken("fill", rc);
	/* it took a lease for each load, and ended it */
	if (l.calls)
		end_leases(run, key, len);
	free(v.buf);
	free(key);
}

void fz_load_key(struct fz_run *run, const struct fz_rec *r)
{
	struct fz_leased **l = &run->leased[r->b >> 4 & 3];

	if (r->kind % FZ_KINDS == FZ_LEASE)
		lease(run, r, l);
	else if (r->kind % FZ_KINDS == FZ_FILL)
		fill(run, r);
	else if (*l)
		end_lease(run, r, *l);
}
