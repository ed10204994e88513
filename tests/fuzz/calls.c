/* SPDX-License-Identifier: MIT */
/*
 * calls.c - the calls of a script, and what each may return
 *
 * Buffers are from malloc() and of the exact length, and what a call hands out is read to its
 * end, so that AddressSanitizer sees a byte too many on either side.
 */
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void fz_broken(const char *what, int rc)
{
	fprintf(stderr, "\nbroken: %s: %d (%s)\n", what, rc, ipcmap_strerror(rc));
	abort();
}

void fz_may(const struct fz_run *run, const char *what, int rc, fz_set errors)
{
	if (run->way == FZ_SOUND)
		errors &= ~E(IPCMAP_CORRUPT);
	if (rc < 0 && (rc <= -128 || !(errors & E(rc))))
		fz_broken(what, rc);
}

void fz_look(const void *p, size_t len)
{
	static unsigned char sink[4096];
	const unsigned char *b = p;

	for (; len > sizeof(sink); len -= sizeof(sink), b += sizeof(sink))
		memcpy(sink, b, sizeof(sink));
	memcpy(sink, b, len);
	__asm__ volatile("" : : "r"(sink) : "memory");
}

void *fz_room(size_t len)
{
	void *p = malloc(len ? len : 1);

	if (!p)
		abort();
	return p;
}

/* ---- arguments out of a record ---- */

/* Sometimes none of the seeds', sometimes too long. */
void *fz_key_of(const struct fz_run *run, const struct fz_rec *r,
		size_t *ret_len)
{
	size_t len;
	void *p;

	if ((r->a & 3) == 3) {
		len = r->b & 8 ? r->c & 0x1ffff : r->c & 15;
		p = fz_room(len);
		memset(p, (int)r->d, len);
		memcpy(p, &r->d, len < 8 ? len : 8);
	} else {
		const void *key = fz_key(r->c % (2 * FZ_KEYS), &len);

		/* a seed's keys are there under the prefix, too */
		key = (const char *)key + run->depth;
		len -= run->depth;
		p = fz_room(len);
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

void *fz_val_of(const struct fz_rec *r, size_t *ret_len)
{
	size_t len = len_of(r);
	unsigned char *p = fz_room(len);
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

const char *fz_table_of(const struct fz_rec *r)
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

struct ipcmap_value fz_value_of(const struct fz_rec *r)
{
	size_t cap = len_of(r);

	return (struct ipcmap_value){.buf = fz_room(cap), .cap = cap};
}

void fz_look_value(int rc, const struct ipcmap_value *v)
{
	if (rc == 0 && v->len > v->cap)
		fz_broken("a value longer than its buffer", rc);
	if (rc == IPCMAP_SHORT && v->len <= v->cap)
		fz_broken("SHORT without need", rc);
	if (rc == 0)
		fz_look(v->buf, v->len);
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
	fz_may(run, "open", rc, OPENS);
	if (rc == 0)
		return true;
	fz_look(why, strlen(why));
	if (!why[0])
		fz_broken("open fails and does not say why", rc);
	if (run->way == FZ_SOUND)
		fz_broken("open of a sound map", rc);
	if (rdonly && !stores_nothing(run))
		fz_broken("a refused read-only attach stored", rc);
	run->m = NULL;
	return false;
}

/* What was opened through a handle goes before it. */
static void leave_prefix(struct fz_run *run)
{
	fz_snapshots_close(run);
	fz_watches_close(run);
	fz_pins_end(run);
	ipcmap_close(run->m);
	run->m = run->above[--run->depth];
}

/* Go under a prefix, or back: calls are made through the handle of that. */
static void prefix(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap *under = NULL;
	int rc;

	if (r->a & 1 && run->depth) {
		leave_prefix(run);
		return;
	}
	if (run->depth == ARRAY_LEN(run->above))
		return;
	rc = ipcmap_open_prefix(run->m, "k", 1, &under);
	fz_may(run, "open_prefix", rc, E(IPCMAP_NOMEM));
	if (rc)
		return;
	run->above[run->depth++] = run->m;
	run->m = under;
}

void fz_detach(struct fz_run *run)
{
	while (run->depth)
		leave_prefix(run);
	fz_snapshots_close(run);
	fz_watches_close(run);
	fz_pins_end(run);
	ipcmap_close(run->m);
	run->m = NULL;
	if (run->rdonly && !stores_nothing(run))
		fz_broken("a read-only attach stored", 0);
}

/* ---- one key ---- */

static void read_key(struct fz_run *run, const struct fz_rec *r, const void *key, size_t len)
{
	struct ipcmap_value v = fz_value_of(r);
	void *buf = NULL;
	size_t n = 0;
	int rc;

	switch (r->kind % FZ_KINDS) {
	case FZ_GET:
		rc = ipcmap_get(run->m, key, len, v.buf, v.cap, &v.len);
		fz_may(run, "get", rc, GETS);
		break;
	case FZ_GETX:
		rc = ipcmap_getx(run->m, key, len, &v);
		fz_may(run, "getx", rc, GETS);
		break;
	case FZ_EXISTS:
		rc = ipcmap_exists(run->m, key, len);
		fz_may(run, "exists", rc, E(IPCMAP_BUSY) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT));
		v.len = 0;
		break;
	case FZ_GET_TOUCH:
		rc = ipcmap_get_touch(run->m, key, len, r->d, &v);
		fz_may(run, "get_touch", rc, GETS | PUTS);
		rc = rc && rc != IPCMAP_SHORT ? IPCMAP_NOTFOUND : rc;
		break;
	default:
		rc = ipcmap_get_alloc(run->m, key, len, &buf, &n);
		fz_may(run, "get_alloc", rc, GETS & ~E(IPCMAP_SHORT));
		if (rc == 0)
			fz_look(buf, n + 1);
		free(buf);
		rc = IPCMAP_NOTFOUND;
	}
	fz_look_value(rc, &v);
	free(v.buf);
}

static void put(struct fz_run *run, const struct fz_rec *r, const void *key, size_t key_len)
{
	struct ipcmap_put_options how = how_of(r);
	struct ipcmap_value old = fz_value_of(r);
	size_t len;
	void *val = fz_val_of(r, &len);
	int rc;

	if (r->kind % FZ_KINDS == FZ_PUT) {
		rc = ipcmap_put(run->m, key, key_len, val, len, r->a & 8 ? &how : NULL);
		fz_may(run, "put", rc, PUTS);
	} else {
		rc = ipcmap_putx(run->m, key, key_len, val, len, &how, &old);
		fz_may(run, "putx", rc, PUTS | E(IPCMAP_SHORT));
		fz_look_value(rc, &old);
	}
	free(old.buf);
	free(val);
}

static void change_key(struct fz_run *run, const struct fz_rec *r, const void *key, size_t len)
{
	struct ipcmap_put_options how = how_of(r);
	struct ipcmap_add_options add = IPCMAP_ADD_INIT;
	struct ipcmap_value old = fz_value_of(r);
	int64_t now;
	int rc;

	switch (r->kind % FZ_KINDS) {
	case FZ_DEL:
		rc = ipcmap_delx(run->m, key, len, r->a & 8 ? &how : NULL);
		fz_may(run, "del", rc, DELS | E(IPCMAP_MISMATCH));
		break;
	case FZ_TAKE:
		rc = ipcmap_take(run->m, key, len, &old);
		fz_may(run, "take", rc, DELS | E(IPCMAP_SHORT));
		fz_look_value(rc, &old);
		break;
	case FZ_TOUCH:
		rc = ipcmap_touch(run->m, key, len, &how);
		fz_may(run, "touch", rc, PUTS & ~E(IPCMAP_EXISTS));
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
		fz_may(run, "add", rc, (PUTS & ~E(IPCMAP_EXISTS)) | E(IPCMAP_TYPE));
	}
	free(old.buf);
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
	fz_may(run, "tune", rc, LOCKS | E(IPCMAP_FULL));
}

static void look_line(void *arg, const char *line)
{
	fz_look(line, strlen(line));
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

	fz_may(run, "check", rc,
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
	fz_may(run, "compact", rc, DELS & ~E(IPCMAP_NOTFOUND));
}

static void inspect(struct fz_run *run)
{
	struct ipcmap_inspect i = {.struct_size = sizeof(i)};
	struct ipcmap_owner_info o = {.struct_size = sizeof(o)};
	struct ipcmap_shard_info s = {.struct_size = sizeof(s)};
	struct ipcmap_extent_counts *x;
	uint64_t entries;
	int rc = ipcmap_inspect(run->m, &i);

	fz_may(run, "inspect", rc, 0);
	fz_may(run, "entries", ipcmap_entries(run->m, &entries), run->depth ? SCANS : 0);
	for (uint32_t k = 0; k <= i.owners; k++) {
		rc = ipcmap_inspect_owner(run->m, k, &o);
		fz_may(run, "inspect_owner", rc, k == i.owners ? E(IPCMAP_NOTFOUND) : 0);
		fz_look(o.comm, strlen(o.comm));
	}
	for (uint32_t k = 0; k <= i.shards; k++) {
		rc = ipcmap_inspect_shard(run->m, k, &s);
		fz_may(run, "inspect_shard", rc, k == i.shards ? E(IPCMAP_NOTFOUND) : 0);
	}
	x = fz_room((i.shards + 1) * sizeof(*x));
	fz_may(run, "inspect_extents", ipcmap_inspect_extents(run->m, x, i.shards + 1), 0);
	fz_look(x, (i.shards + 1) * sizeof(*x));
	free(x);
}

static void stat_map(struct fz_run *run)
{
	struct ipcmap_stat s = {.struct_size = sizeof(s)};

	fz_may(run, "stat", ipcmap_stat(run->m, &s), 0);
}

/* A dry run: it looks at all there is, and builds what it would put in its place. */
static void repair(struct fz_run *run)
{
	struct ipcmap_repair_options how = IPCMAP_REPAIR_INIT;
	bool rdonly = run->rdonly;
	struct ipcmap_repair sum;
	int rc;

	fz_detach(run);
	how.flags = IPCMAP_REPAIR_DRY_RUN;
	rc = ipcmap_repair(run->path, &how, &sum);
	fz_may(run, "repair", rc,
	       OPENS | E(IPCMAP_EXISTS) | E(IPCMAP_FULL) | E(IPCMAP_DEADLOCK) | E(IPCMAP_TOOBIG));
	if (run->way == FZ_SOUND && (rc || sum.findings))
		fz_broken("repair of a sound map", rc);
	fz_attach(run, rdonly);
}

/* ---- calls with nothing ---- */

static int no_item(void *arg, const struct ipcmap_item *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static void nulls(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap *m = r->a & 1 ? run->m : NULL;
	struct ipcmap_value v = {.buf = NULL, .cap = 1};
	struct ipcmap_stat s = {.struct_size = sizeof(s)};
	size_t big = r->a & 2 ? SIZE_MAX - (r->d & 0xff) : 0;
	fz_set inv = E(IPCMAP_INVALID);
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
	rc += ipcmap_scan(m, NULL, NULL, 0, 0, no_item, NULL) != IPCMAP_INVALID;
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
		fz_may(run, "put of SIZE_MAX", ipcmap_put(m, "k", 1, "", SIZE_MAX, NULL),
		    inv | E(IPCMAP_TOOBIG) | LOCKS);
	/* where it would be compressed it is read first, and no buffer here has so many bytes */
	if (run->way == FZ_SOUND && m && !run->rdonly && ipcmap_stat(m, &s) == 0 &&
	    s.compress == IPCMAP_COMPRESS_OFF &&
	    ipcmap_put(m, "k", 1, "", IPCMAP_VAL_MAX, NULL) == 0)
		fz_broken("a value longer than the map was stored", 0);
	fz_look(ipcmap_strerror((int)r->d), strlen(ipcmap_strerror((int)r->d)));
	fz_look(ipcmap_errname((int)r->d), strlen(ipcmap_errname((int)r->d)));
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
		key = fz_key_of(run, r, &len);
		if (r->kind % FZ_KINDS == FZ_PUT || r->kind % FZ_KINDS == FZ_PUTX)
			put(run, r, key, len);
		else if (r->kind % FZ_KINDS <= FZ_EXISTS || r->kind % FZ_KINDS == FZ_GET_TOUCH)
			read_key(run, r, key, len);
		else
			change_key(run, r, key, len);
		free(key);
		break;
	case FZ_MGET:
	case FZ_MGET_CONSISTENT:
	case FZ_COMMIT:
	case FZ_SCAN:
	case FZ_DEL_PREFIX:
		fz_many(run, r);
		break;
	case FZ_PREFIX:
		prefix(run, r);
		break;
	case FZ_WATCH_OPEN ... FZ_WATCH_CLOSE:
		fz_watch(run, r);
		break;
	case FZ_LEASE ... FZ_FILL:
		fz_load_key(run, r);
		break;
	case FZ_HOLD:
	case FZ_LET_GO:
		fz_pin(run, r);
		break;
	case FZ_REPAIR:
		repair(run);
		break;
	case FZ_TUNE:
		tune(run, r);
		break;
	case FZ_CLEAR:
		fz_may(run, "clear", ipcmap_clear(run->m), DELS & ~E(IPCMAP_NOTFOUND));
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
	case FZ_PUBLISH ... FZ_DROP:
	case FZ_SNAP_WAIT ... FZ_SNAP_HOLDERS:
		fz_snapshot(run, r);
		break;
	case FZ_INTERRUPT:
		ipcmap_interrupt(run->m);
		fz_look(ipcmap_why(run->m), strlen(ipcmap_why(run->m)));
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
		{.kind = FZ_SNAP_HOLDERS},
		{.kind = FZ_WATCH_OPEN, .b = IPCMAP_WATCH_ALL},
		{.kind = FZ_WATCH_OPEN, .a = 4, .b = IPCMAP_WATCH_KEY, .c = 7},
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
		{.kind = FZ_LEASE, .b = 7, .c = 213},
		{.kind = FZ_LEASE_PUT, .b = 6},
		{.kind = FZ_FILL, .b = 7, .c = 214},
		{.kind = FZ_COMMIT, .a = 0x76, .b = 5, .c = 20, .d = 0xc0},
		{.kind = FZ_MGET_CONSISTENT, .a = 20, .b = 7, .c = 20},
		{.kind = FZ_WATCH_NEXT},
		{.kind = FZ_WATCH_NEXT, .a = 4},
		{.kind = FZ_WATCH_CLOSE},
		{.kind = FZ_PUBLISH, .a = 3, .b = 7},
		{.kind = FZ_SNAP_WAIT, .a = 0x80},
		{.kind = FZ_SNAP_REFRESH},
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
