/* SPDX-License-Identifier: MIT */
/*
 * calls.c - the calls of a script, and what each may return
 *
 * Buffers are from malloc() and of the exact length, and what a call hands out is read to its
 * end, so that AddressSanitizer sees a byte too many on either side.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A set of errors; errno values are below 128. */
typedef unsigned __int128 set;
#define E(e) ((set)1 << -(e))

#define GETS                                                                                   \
	(E(IPCMAP_NOTFOUND) | E(IPCMAP_SHORT) | E(IPCMAP_BUSY) | E(IPCMAP_NOMEM) |             \
	 E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT))
/* a call that locks */
#define LOCKS                                                                                  \
	(E(IPCMAP_BUSY) | E(IPCMAP_DEADLOCK) | E(IPCMAP_INTERRUPTED) | E(IPCMAP_READONLY) |    \
	 E(IPCMAP_PERM) | E(IPCMAP_OWNERS) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT))
#define DELS (LOCKS | E(IPCMAP_NOTFOUND) | E(IPCMAP_NOMEM) | E(IPCMAP_RANGE))
#define PUTS                                                                                   \
	(DELS | E(IPCMAP_EXISTS) | E(IPCMAP_MISMATCH) | E(IPCMAP_LIMIT) | E(IPCMAP_FULL) |     \
	 E(IPCMAP_TOOBIG))
#define OPENS                                                                                  \
	(E(IPCMAP_NOTFOUND) | E(IPCMAP_MISMATCH) | E(IPCMAP_NOTMAP) | E(IPCMAP_VERSION) |      \
	 E(IPCMAP_CREATING) | E(IPCMAP_PERM) | E(IPCMAP_NOMEM) | E(IPCMAP_OWNERS) |            \
	 E(IPCMAP_CORRUPT) | E(IPCMAP_BUSY) | E(IPCMAP_INVALID))
#define SCANS                                                                                  \
	(E(IPCMAP_NOMEM) | E(IPCMAP_BUSY) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT) |            \
	 E(IPCMAP_DEADLOCK) | E(IPCMAP_INTERRUPTED) | E(IPCMAP_PERM) | E(IPCMAP_OWNERS))

_Noreturn void fz_broken(const char *what, int rc)
{
	fprintf(stderr, "\nbroken: %s: %d (%s)\n", what, rc, ipcmap_strerror(rc));
	abort();
}

static void may(const struct fz_run *run, const char *what, int rc, set errors)
{
	if (run->way == FZ_SOUND)
		errors &= ~E(IPCMAP_CORRUPT);
	if (rc < 0 && (rc <= -128 || !(errors & E(rc))))
		fz_broken(what, rc);
}

/* All bytes of something, so that one which is not there is noticed. */
static void look(const void *p, size_t len)
{
	static unsigned char sink[4096];
	const unsigned char *b = p;

	for (; len > sizeof(sink); len -= sizeof(sink), b += sizeof(sink))
		memcpy(sink, b, sizeof(sink));
	memcpy(sink, b, len);
	__asm__ volatile("" : : "r"(sink) : "memory");
}

static void *room(size_t len)
{
	void *p = malloc(len ? len : 1);

	if (!p)
		abort();
	return p;
}

/* ---- arguments out of a record ---- */

/* In its own memory: freed by the caller. Sometimes none of the seeds', sometimes too long. */
static void *key_of(const struct fz_rec *r, size_t *ret_len)
{
	size_t len;
	void *p;

	if ((r->a & 3) == 3) {
		len = r->b & 8 ? r->c & 0x1ffff : r->c & 15;
		p = room(len);
		memset(p, (int)r->d, len);
		memcpy(p, &r->d, len < 8 ? len : 8);
	} else {
		const void *key = fz_key(r->c % (2 * FZ_KEYS), &len);

		p = room(len);
		memcpy(p, key, len);
	}
	*ret_len = len;
	return p;
}

static size_t len_of(const struct fz_rec *r)
{
	static const uint32_t lens[] = {0,    1,    8,	  20,	 63,	64,    100,    500,
					1900, 2048, 4096, 10000, 40000, 90000, 200000, 400000};

	return lens[r->b & 15] + (r->b >> 4 & 15);
}

static void *val_of(const struct fz_rec *r, size_t *ret_len)
{
	size_t len = len_of(r);
	unsigned char *p = room(len);
	uint64_t x = r->d | 1;

	for (size_t i = 0; i < len; i++) {
		if (!(r->b & 0x100) || i % 64 == 0)
			x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
		p[i] = (unsigned char)(x >> 56);
	}
	*ret_len = len;
	return p;
}

static struct ipcmap_put_options how_of(const struct fz_rec *r)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.flags = r->b >> 9 & 15;
	if (r->b & 0x8000 && !(r->d & 15)) /* of another library, or nonsense */
		how.struct_size = r->d >> 8;
	how.flags |= r->b & 0x4000 && !(r->d & 7) ? 1u << (r->d >> 3 & 31) : 0;
	how.type = (uint32_t)(r->d & 0x1ff) - (r->d & 0x100 ? 0x100u : 0u);
	how.version = r->d >> 32;
	how.ttl_ns = r->a & 0x10 ? r->d << 20 : r->a & 0x20 ? IPCMAP_TTL_KEEP : 0;
	how.jitter = r->a >> 1 & 0x7f;
	how.deadline_ns = r->a & 0x80 ? IPCMAP_NOWAIT : 0;
	how.equal = "41";
	how.equal_len = r->d & 0x20 ? 2 : 0;
	return how;
}

static const char *table_of(const struct fz_rec *r)
{
	static const char *const names[] = {
		"t",
		"u",
		"new",
		"v",
		"",
		"t",
		"123456789012345678901234567890123456789012345678901234567890123",
		"1234567890123456789012345678901234567890123456789012345678901234"};

	return names[r->c & 7];
}

static struct ipcmap_value value_of(const struct fz_rec *r)
{
	size_t cap = len_of(r);

	return (struct ipcmap_value){.buf = room(cap), .cap = cap};
}

static void look_value(const struct fz_run *run, const char *what, int rc,
		       const struct ipcmap_value *v)
{
	if (rc == 0 && v->len > v->cap)
		fz_broken("a value longer than its buffer", rc);
	if (rc == IPCMAP_SHORT && v->len <= v->cap)
		fz_broken("SHORT without need", rc);
	if (rc == 0)
		look(v->buf, v->len);
	(void)run;
	(void)what;
}

/* ---- open and close ---- */

static bool stores_nothing(const struct fz_run *run)
{
	return run->changed || memcmp(run->map, run->before, FZ_LEN) == 0;
}

bool fz_attach(struct fz_run *run, bool rdonly)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	char why[100];
	int rc;

	o.flags = rdonly ? IPCMAP_RDONLY : 0;
	o.why = why;
	o.why_cap = sizeof(why);
	run->rdonly = rdonly;
	run->changed = run->way == FZ_SCRIBBLE;
	if (rdonly && !run->changed)
		memcpy(run->before, run->map, FZ_LEN);
	rc = ipcmap_open(run->path, &o, &run->m);
	may(run, "open", rc, OPENS);
	if (rc == 0)
		return true;
	look(why, strlen(why));
	if (!why[0])
		fz_broken("open fails and does not say why", rc);
	if (run->way == FZ_SOUND)
		fz_broken("open of a sound map", rc);
	if (rdonly && !stores_nothing(run))
		fz_broken("a refused read-only attach stored", rc);
	run->m = NULL;
	return false;
}

void fz_detach(struct fz_run *run)
{
	for (unsigned i = 0; i < ARRAY_LEN(run->snap); i++) {
		ipcmap_snapshot_close(run->snap[i]);
		run->snap[i] = NULL;
	}
	ipcmap_close(run->m);
	run->m = NULL;
	if (run->rdonly && !stores_nothing(run))
		fz_broken("a read-only attach stored", 0);
}

/* ---- one key ---- */

static void read_key(struct fz_run *run, const struct fz_rec *r, const void *key, size_t len)
{
	struct ipcmap_value v = value_of(r);
	void *buf = NULL;
	size_t n = 0;
	int rc;

	switch (r->kind % FZ_KINDS) {
	case FZ_GET:
		rc = ipcmap_get(run->m, key, len, v.buf, v.cap, &v.len);
		may(run, "get", rc, GETS);
		break;
	case FZ_GETX:
		rc = ipcmap_getx(run->m, key, len, &v);
		may(run, "getx", rc, GETS);
		break;
	case FZ_EXISTS:
		rc = ipcmap_exists(run->m, key, len);
		may(run, "exists", rc, E(IPCMAP_BUSY) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT));
		v.len = 0;
		break;
	case FZ_GET_TOUCH:
		rc = ipcmap_get_touch(run->m, key, len, r->d, &v);
		may(run, "get_touch", rc, GETS | PUTS);
		rc = rc && rc != IPCMAP_SHORT ? IPCMAP_NOTFOUND : rc;
		break;
	default:
		rc = ipcmap_get_alloc(run->m, key, len, &buf, &n);
		may(run, "get_alloc", rc, GETS & ~E(IPCMAP_SHORT));
		if (rc == 0)
			look(buf, n + 1);
		free(buf);
		rc = IPCMAP_NOTFOUND;
	}
	look_value(run, "read", rc, &v);
	free(v.buf);
}

static void put(struct fz_run *run, const struct fz_rec *r, const void *key, size_t key_len)
{
	struct ipcmap_put_options how = how_of(r);
	struct ipcmap_value old = value_of(r);
	size_t len;
	void *val = val_of(r, &len);
	int rc;

	if (r->kind % FZ_KINDS == FZ_PUT) {
		rc = ipcmap_put(run->m, key, key_len, val, len, r->a & 8 ? &how : NULL);
		may(run, "put", rc, PUTS);
	} else {
		rc = ipcmap_putx(run->m, key, key_len, val, len, &how, &old);
		may(run, "putx", rc, PUTS | E(IPCMAP_SHORT));
		look_value(run, "putx", rc, &old);
	}
	free(old.buf);
	free(val);
}

static void change_key(struct fz_run *run, const struct fz_rec *r, const void *key, size_t len)
{
	struct ipcmap_put_options how = how_of(r);
	struct ipcmap_add_options add = IPCMAP_ADD_INIT;
	struct ipcmap_value old = value_of(r);
	int64_t now;
	int rc;

	switch (r->kind % FZ_KINDS) {
	case FZ_DEL:
		rc = ipcmap_delx(run->m, key, len, r->a & 8 ? &how : NULL);
		may(run, "del", rc, DELS | E(IPCMAP_MISMATCH));
		break;
	case FZ_TAKE:
		rc = ipcmap_take(run->m, key, len, &old);
		may(run, "take", rc, DELS | E(IPCMAP_SHORT));
		look_value(run, "take", rc, &old);
		break;
	case FZ_TOUCH:
		rc = ipcmap_touch(run->m, key, len, &how);
		may(run, "touch", rc, PUTS & ~E(IPCMAP_EXISTS));
		break;
	default:
		add.min = r->b & 1 ? (int64_t)r->d : INT64_MIN;
		add.max = r->b & 2 ? (int64_t)(r->d << 7) : INT64_MAX;
		add.initial = (int64_t)r->d;
		add.struct_size += r->b >> 14;
		if (r->a & 4) {
			key = "n";
			len = 1;
		}
		rc = ipcmap_add(run->m, key, len, (int64_t)(r->d << (r->b & 63)),
				r->a & 8 ? &add : NULL, &now);
		may(run, "add", rc, (PUTS & ~E(IPCMAP_EXISTS)) | E(IPCMAP_TYPE));
	}
	free(old.buf);
}

/* ---- many keys ---- */

static void mget(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_mget items[24] = {0};
	size_t n = r->a % 25;
	int rc;

	for (size_t i = 0; i < n; i++) {
		struct fz_rec k = *r;

		k.a = (uint8_t)(r->d >> i & 1);
		k.c += (uint32_t)i * 3;
		items[i].key = key_of(&k, &items[i].key_len);
		items[i].value = value_of(r);
	}
	rc = ipcmap_mget(run->m, items, n);
	may(run, "mget", rc, E(IPCMAP_INVALID));
	for (size_t i = 0; i < n; i++) {
		if (rc >= 0)
			may(run, "mget item", items[i].rc, GETS);
		if (rc >= 0)
			look_value(run, "mget", items[i].rc, &items[i].value);
		free((void *)(uintptr_t)items[i].key);
		free(items[i].value.buf);
	}
}

struct walk {
	struct fz_run *run;
	const struct fz_rec *r;
	uint32_t n;
};

/* Far above what fits into a seed's 320 KiB: a walk without an end. */
#define WALK_MAX 100000u

static int each_item(void *arg, const struct ipcmap_item *item)
{
	struct walk *w = arg;

	look(item->key, item->key_len);
	if (item->val)
		look(item->val, item->val_len);
	if (++w->n > WALK_MAX)
		fz_broken("a scan without an end", 0);
	if (w->r->b & 2 && w->n % 4 == 0)
		ipcmap_del(w->run->m, item->key, item->key_len);
	if (w->r->b & 4 && w->n % 8 == 0)
		ipcmap_put(w->run->m, item->key, item->key_len, "x", 1, NULL);
	return w->r->b & 8 && w->n == (w->r->b >> 4) + 1u ? 7 : 0;
}

static void scan(struct fz_run *run, const struct fz_rec *r)
{
	struct walk w = {run, r, 0};
	uint64_t cursor = r->a & 1 ? r->d : 0;
	size_t prefix = r->a >> 1 & 3;
	int rc = ipcmap_scan(run->m, &cursor, &"k10"[0], prefix, r -> b & 1, each_item, &w);

	may(run, "scan", rc, SCANS);
	if (rc == 7 && r->a & 8) {
		w.n = 0;
		rc = ipcmap_scan(run->m, &cursor, NULL, 0, 0, each_item, &w);
		may(run, "scan on", rc, SCANS);
	}
}

static void del_prefix(struct fz_run *run, const struct fz_rec *r)
{
	uint64_t n = 0;
	int rc = ipcmap_del_prefix(run->m, &"k10"[0], 1 + r->a % 3, &n);

	may(run, "del_prefix", rc, SCANS | DELS);
}

/* ---- the map ---- */

static void tune(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	char why[60];
	int rc;

	o.limit = r->a & 1 ? (r->d & 0xfffff) : 0;
	o.ttl_ns = r->a & 2 ? r->d << 16 : 0;
	o.compress = r->a & 4 ? (unsigned)r->c : 0;
	o.struct_size += r->b >> 14;
	o.why = why;
	o.why_cap = sizeof(why);
	rc = ipcmap_tune(run->m, &o);
	may(run, "tune", rc, LOCKS | E(IPCMAP_FULL));
}

static void look_line(void *arg, const char *line)
{
	look(line, strlen(line));
	(*(unsigned *)arg)++;
	if (strlen(line) >= 200)
		fz_broken("a line of check is too long", 0);
}

static void print_line(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "  %s\n", line);
}

static void check(struct fz_run *run)
{
	unsigned lines = 0;
	int rc = ipcmap_check(run->m, look_line, &lines);

	may(run, "check", rc,
	    E(IPCMAP_BUSY) | E(IPCMAP_NOMEM) | E(IPCMAP_CORRUPT) | E(IPCMAP_DEADLOCK) |
		    E(IPCMAP_INTERRUPTED) | E(IPCMAP_PERM) | E(IPCMAP_OWNERS) |
		    E(IPCMAP_INVALID));
	if (rc >= 0 && (unsigned)rc != lines)
		fz_broken("check counts other than it reports", rc);
	if (run->way == FZ_SOUND && rc > 0 && !run->rdonly) {
		ipcmap_check(run->m, print_line, NULL);
		fz_broken("findings in a sound map", rc);
	}
}

static int stop_after(void *arg, uint64_t done, uint64_t of)
{
	uint32_t *left = arg;

	if (done > of)
		fz_broken("compaction did more than all", 0);
	return *left && --*left == 0;
}

static void compact(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap_compact ret;
	uint32_t left = r->c & 255;
	int rc;

	how.flags = r->a & 3;
	how.progress = r->a & 4 ? stop_after : NULL;
	how.arg = &left;
	how.struct_size += r->b >> 14;
	rc = ipcmap_compact(run->m, r->a & 8 ? &how : NULL, &ret);
	may(run, "compact", rc, DELS & ~E(IPCMAP_NOTFOUND));
}

static void inspect(struct fz_run *run)
{
	struct ipcmap_inspect i = {.struct_size = sizeof(i)};
	struct ipcmap_owner_info o = {.struct_size = sizeof(o)};
	struct ipcmap_shard_info s = {.struct_size = sizeof(s)};
	struct ipcmap_extent_counts *x;
	uint64_t entries;
	int rc = ipcmap_inspect(run->m, &i);

	may(run, "inspect", rc, 0);
	may(run, "entries", ipcmap_entries(run->m, &entries), 0);
	for (uint32_t k = 0; k <= i.owners; k++) {
		rc = ipcmap_inspect_owner(run->m, k, &o);
		may(run, "inspect_owner", rc, k == i.owners ? E(IPCMAP_NOTFOUND) : 0);
		look(o.comm, strlen(o.comm));
	}
	for (uint32_t k = 0; k <= i.shards; k++) {
		rc = ipcmap_inspect_shard(run->m, k, &s);
		may(run, "inspect_shard", rc, k == i.shards ? E(IPCMAP_NOTFOUND) : 0);
	}
	x = room((i.shards + 1) * sizeof(*x));
	may(run, "inspect_extents", ipcmap_inspect_extents(run->m, x, i.shards + 1), 0);
	look(x, (i.shards + 1) * sizeof(*x));
	free(x);
}

static void stat_map(struct fz_run *run)
{
	struct ipcmap_stat s = {.struct_size = sizeof(s)};

	may(run, "stat", ipcmap_stat(run->m, &s), 0);
}

/* ---- snapshots ---- */

static void publish(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_pair p[8];
	size_t n = r->a & 7, len;
	void *val = val_of(r, &len);
	char keys[8][4], why[100];
	uint64_t version;
	int rc;

	for (size_t i = 0; i < n; i++) {
		keys[i][0] = (char)('a' + (r->a & 8 ? 0 : i)); /* the same twice is INVALID */
		p[i] = (struct ipcmap_pair){keys[i], 1u + (r->a >> 4 & 1u) * 65535u, val, len};
		if (p[i].key_len > 4 && p[i].key_len <= IPCMAP_KEY_MAX)
			p[i].key_len = 1;
	}
	rc = ipcmap_snapshot_publish(run->m, table_of(r), p, n, &version, why, sizeof(why));
	may(run, "publish", rc, PUTS & ~(E(IPCMAP_EXISTS) | E(IPCMAP_MISMATCH)));
	look(why, strlen(why));
	free(val);
}

static int each_pair(void *arg, const struct ipcmap_pair *pair)
{
	uint32_t *n = arg;

	look(pair->key, pair->key_len);
	look(pair->val, pair->val_len);
	return ++*n > WALK_MAX ? 7 : 0;
}

static int each_version(void *arg, const struct ipcmap_snapshot_info *info)
{
	uint32_t *n = arg;

	look(info->table, strlen(info->table));
	return ++*n > WALK_MAX ? 7 : 0;
}

#define VIEWS                                                                                  \
	(E(IPCMAP_NOTFOUND) | E(IPCMAP_BUSY) | E(IPCMAP_NOMEM) | E(IPCMAP_DEADLOCK) |          \
	 E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT))

static void snapshot(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_snapshot **s = &run->snap[r->a % ARRAY_LEN(run->snap)];
	uint64_t version = r->b & 1 ? r->d : 0;
	const void *val = NULL;
	uint32_t n = 0;
	size_t len;
	int rc;

	switch (r->kind % FZ_KINDS) {
	case FZ_SNAP_OPEN:
		if (*s)
			return;
		rc = ipcmap_snapshot_open(run->m, table_of(r), version, s);
		may(run, "snapshot_open", rc, VIEWS);
		if (rc)
			*s = NULL;
		break;
	case FZ_SNAP_GET:
		rc = ipcmap_snapshot_get(*s, r->b & 2 ? "s1" : "a", r->b & 2 ? 2 : 1, &val,
					 &len);
		may(run, "snapshot_get", rc,
		    E(IPCMAP_NOTFOUND) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT));
		if (rc == 0)
			look(val, len);
		ipcmap_snapshot_newer(*s);
		ipcmap_snapshot_version(*s);
		break;
	case FZ_SNAP_EACH:
		rc = ipcmap_snapshot_each(*s, each_pair, &n);
		may(run, "snapshot_each", rc, E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT));
		if (n > WALK_MAX || (rc == 0 && n != ipcmap_snapshot_count(*s)))
			fz_broken("a walk shows other than it counts", rc);
		break;
	case FZ_SNAP_LIST:
		rc = ipcmap_snapshot_list(run->m, each_version, &n);
		may(run, "snapshot_list", rc, E(IPCMAP_NOMEM) | E(IPCMAP_INVALID));
		break;
	case FZ_ROLLBACK:
		rc = ipcmap_snapshot_rollback(run->m, table_of(r), version, NULL);
		may(run, "rollback", rc, PUTS & ~(E(IPCMAP_EXISTS) | E(IPCMAP_MISMATCH)));
		break;
	case FZ_DROP:
		rc = ipcmap_snapshot_drop(run->m, table_of(r));
		may(run, "drop", rc, DELS);
		break;
	default:
		ipcmap_snapshot_close(*s);
		*s = NULL;
	}
}

/* ---- calls with nothing ---- */

static void nulls(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap *m = r->a & 1 ? run->m : NULL;
	struct ipcmap_value v = {.buf = NULL, .cap = 1};
	struct ipcmap_stat s = {.struct_size = sizeof(s)};
	size_t big = r->a & 2 ? SIZE_MAX - (r->d & 0xff) : 0;
	set inv = E(IPCMAP_INVALID);
	int rc = 0;

	rc += ipcmap_get(m, NULL, 1, NULL, 0, NULL) != IPCMAP_INVALID;
	rc += ipcmap_get(m, "k", big, NULL, 0, NULL) != IPCMAP_INVALID;
	rc += ipcmap_getx(m, "k", 1, NULL) != IPCMAP_INVALID;
	rc += ipcmap_getx(m, "k", 1, &v) != IPCMAP_INVALID;
	rc += ipcmap_put(m, "k", 1, NULL, 1, NULL) != IPCMAP_INVALID;
	rc += ipcmap_put(m, "k", big, "", 0, NULL) != IPCMAP_INVALID;
	rc += ipcmap_take(m, "k", 1, NULL) != IPCMAP_INVALID;
	rc += ipcmap_touch(m, "k", 1, NULL) != IPCMAP_INVALID;
	rc += ipcmap_mget(m, NULL, 1) != IPCMAP_INVALID;
	rc += ipcmap_mget(m, (void *)&v, SIZE_MAX) != IPCMAP_INVALID;
	rc += ipcmap_entries(m, NULL) != IPCMAP_INVALID;
	rc += ipcmap_stat(m, NULL) != IPCMAP_INVALID;
	rc += ipcmap_tune(m, NULL) != IPCMAP_INVALID;
	rc += ipcmap_scan(m, NULL, NULL, 0, 0, each_item, NULL) != IPCMAP_INVALID;
	rc += ipcmap_snapshot_open(m, NULL, 0, NULL) != IPCMAP_INVALID;
	rc += ipcmap_snapshot_get(NULL, "k", 1, NULL, NULL) != IPCMAP_INVALID;
	rc += ipcmap_snapshot_list(m, NULL, NULL) != IPCMAP_INVALID;
	rc += ipcmap_snapshot_publish(m, NULL, NULL, 1, NULL, NULL, 0) != IPCMAP_INVALID;
	rc += ipcmap_inspect(m, NULL) != IPCMAP_INVALID;
	rc += ipcmap_inspect_extents(m, NULL, 0) != IPCMAP_INVALID;
	if (rc)
		fz_broken("a call with nothing is not INVALID", rc);
	/* lengths that no buffer has are refused before a byte is looked at */
	if (m && !run->rdonly)
		may(run, "put of SIZE_MAX", ipcmap_put(m, "k", 1, "", SIZE_MAX, NULL),
		    inv | E(IPCMAP_TOOBIG) | LOCKS);
	/* where it would be compressed it is read first, and no buffer here has so many bytes */
	if (run->way == FZ_SOUND && m && !run->rdonly && ipcmap_stat(m, &s) == 0 &&
	    s.compress == IPCMAP_COMPRESS_OFF &&
	    ipcmap_put(m, "k", 1, "", IPCMAP_VAL_MAX, NULL) == 0)
		fz_broken("a value longer than the map was stored", 0);
	look(ipcmap_strerror((int)r->d), strlen(ipcmap_strerror((int)r->d)));
	look(ipcmap_errname((int)r->d), strlen(ipcmap_errname((int)r->d)));
	ipcmap_interrupt(NULL);
	ipcmap_close(NULL);
	ipcmap_snapshot_close(NULL);
}

void fz_call(struct fz_run *run, const struct fz_rec *r)
{
	size_t len;
	void *key;

	switch (r->kind % FZ_KINDS) {
	case FZ_GET ... FZ_ADD:
		key = key_of(r, &len);
		if (r->kind % FZ_KINDS == FZ_PUT || r->kind % FZ_KINDS == FZ_PUTX)
			put(run, r, key, len);
		else if (r->kind % FZ_KINDS <= FZ_EXISTS || r->kind % FZ_KINDS == FZ_GET_TOUCH)
			read_key(run, r, key, len);
		else
			change_key(run, r, key, len);
		free(key);
		break;
	case FZ_MGET:
		mget(run, r);
		break;
	case FZ_DEL_PREFIX:
		del_prefix(run, r);
		break;
	case FZ_TUNE:
		tune(run, r);
		break;
	case FZ_CLEAR:
		may(run, "clear", ipcmap_clear(run->m), DELS & ~E(IPCMAP_NOTFOUND));
		break;
	case FZ_SCAN:
		scan(run, r);
		break;
	case FZ_STAT:
		stat_map(run);
		break;
	case FZ_CHECK:
		check(run);
		break;
	case FZ_COMPACT:
		compact(run, r);
		break;
	case FZ_INSPECT:
		inspect(run);
		break;
	case FZ_PUBLISH:
		publish(run, r);
		break;
	case FZ_SNAP_OPEN ... FZ_DROP:
		snapshot(run, r);
		break;
	case FZ_INTERRUPT:
		ipcmap_interrupt(run->m);
		look(ipcmap_why(run->m), strlen(ipcmap_why(run->m)));
		break;
	case FZ_CLOCK:
		fz_clock_add(r->d);
		break;
	case FZ_RESERVE:
		fz_reserve_fail_at(r->c & 15);
		break;
	case FZ_NULLS:
		nulls(run, r);
		break;
	default:
		break;
	}
}

/* One of each, in an order in which the earlier ones leave something for the later. */
void fz_tour(struct fz_run *run)
{
	static const struct fz_rec tour[] = {
		{.kind = FZ_SNAP_LIST},
		{.kind = FZ_SNAP_OPEN},
		{.kind = FZ_SNAP_EACH},
		{.kind = FZ_SNAP_GET, .b = 2},
		{.kind = FZ_GET, .b = 7, .c = 2},
		{.kind = FZ_GET_ALLOC, .c = 3},
		{.kind = FZ_GET_ALLOC, .c = 5},
		{.kind = FZ_GET_ALLOC, .c = 6},
		{.kind = FZ_GET_ALLOC, .c = 4},
		{.kind = FZ_GETX, .b = 10, .c = FZ_KEYS - 1},
		{.kind = FZ_MGET, .a = 20, .b = 7, .c = 10},
		{.kind = FZ_SCAN},
		{.kind = FZ_STAT},
		{.kind = FZ_INSPECT},
		{.kind = FZ_PUT, .b = 6, .c = 7},
		{.kind = FZ_PUT, .b = 11, .c = 8},
		{.kind = FZ_ADD, .a = 4, .d = 1},
		{.kind = FZ_DEL, .c = 3},
		{.kind = FZ_DEL, .c = 9},
		{.kind = FZ_PUT, .b = 6, .c = 210},
		{.kind = FZ_PUT, .b = 7, .c = 211},
		{.kind = FZ_TOUCH, .a = 0x10, .c = 12, .d = 12345},
		{.kind = FZ_PUBLISH, .a = 3, .b = 7},
		{.kind = FZ_SNAP_EACH},
		{.kind = FZ_ROLLBACK},
		{.kind = FZ_CHECK},
		{.kind = FZ_COMPACT},
		{.kind = FZ_DROP, .c = 1},
		{.kind = FZ_SCAN, .b = 3},
		{.kind = FZ_DEL_PREFIX},
		{.kind = FZ_CLEAR},
		{.kind = FZ_PUT, .b = 5, .c = 1},
		{.kind = FZ_CHECK},
	};

	for (unsigned i = 0; i < ARRAY_LEN(tour); i++)
		fz_call(run, &tour[i]);
}
