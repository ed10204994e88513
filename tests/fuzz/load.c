/* SPDX-License-Identifier: MIT */
/*
 * load.c - any bytes as a file to `ipcmap load`, and what was loaded through dump and load
 * again
 *
 * The first byte says in which format, and how the dump is written; the others are the file.
 * Whatever was stored must come out of a dump and, loaded into an empty map, be the same.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <unistd.h>

/* The verb itself, for its static functions. */
#include "../../tools/cmd-load.c"

#include "load.h"

#define KEEP_GOING 1u
#define AS_JSONL 2u
#define AS_BDB 4u
#define DUMP_BDB 8u
#define DUMP_PRINT 16u
#define ONLY_ONE 32u

static struct ipcmap *map;
static FILE *nowhere;

bool fz_load_start(const char *path)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;

	o.flags = IPCMAP_CREATE;
	o.limit = 1u << 20;
	o.max = 1u << 20;
	o.ttl_ns = 1000000000000;
	o.shards = 1;
	nowhere = fopen("/dev/null", "we");
	return nowhere && ipcmap_open(path, &o, &map) == 0;
}

void fz_load_end(const char *path)
{
	ipcmap_close(map);
	ipcmap_unlink(path);
	fclose(nowhere);
}

static bool load(const void *bytes, size_t len, unsigned how)
{
	struct load l = {.name = "m", .file_name = "f", .map = map};
	FILE *file = fmemopen((void *)(uintptr_t)bytes, len, "r");
	int status;

	if (!file)
		return false;
	if (how & (AS_JSONL | AS_BDB))
		l.format = how & AS_JSONL ? JSONL : BDB;
	if (how & ONLY_ONE)
		l.bdb.only = "a";
	status = load_file(&l, file, how & KEEP_GOING);
	if (status != DONE && status != BAD)
		fz_broken("status of load", status);
	if (status == DONE && l.n_failed)
		fz_broken("load says done, and something failed", 0);
	fclose(file);
	free(l.bdb.key);
	return status == DONE;
}

/* ---- the same again? ---- */

struct kept {
	struct ipcmap_item item;
	void *key, *val;
};

struct all {
	struct kept *e;
	size_t n;
};

static void *copy(const void *p, size_t len)
{
	void *to = malloc(len + 1);

	if (!to)
		abort();
	memcpy(to, p, len);
	return to;
}

static int keep(void *arg, const struct ipcmap_item *item)
{
	struct all *all = arg;

	all->e = realloc(all->e, (all->n + 1) * sizeof(*all->e));
	if (!all->e)
		abort();
	all->e[all->n++] = (struct kept){*item, copy(item->key, item->key_len),
					 copy(item->val, item->val_len)};
	return 0;
}

static void must_be(const struct kept *k, bool types)
{
	struct ipcmap_value v = {.cap = k->item.val_len};
	int rc;

	v.buf = malloc(v.cap + 1);
	rc = ipcmap_getx(map, k->key, k->item.key_len, &v);
	if (rc || v.len != k->item.val_len || memcmp(v.buf, k->val, v.len) != 0)
		fz_broken("a value is another after dump and load", rc);
	if (types &&
	    (v.type != k->item.type ||
	     (v.ttl_left_ns == IPCMAP_TTL_NONE) != (k->item.ttl_left_ns == IPCMAP_TTL_NONE)))
		fz_broken("type or life is another after dump and load", 0);
	free(v.buf);
}

static void there_and_back(unsigned how)
{
	struct all all = {0};
	uint64_t cursor = 0, n = 0;
	char *text = NULL;
	size_t len = 0;

	if (ipcmap_scan(map, &cursor, NULL, 0, 0, keep, &all) < 0)
		fz_broken("scan", 0);
	if (!fz_dump(map, how & DUMP_BDB, how & DUMP_PRINT, &text, &len))
		fz_broken("dump", 0);
	if (ipcmap_clear(map))
		fz_broken("clear", 0);
	if (all.n && !load(text, len, 0))
		fz_broken("what was dumped is not loaded", 0);
	ipcmap_entries(map, &n);
	if (n != all.n)
		fz_broken("another number of entries after dump and load", (int)n);
	for (size_t i = 0; i < all.n; i++) {
		must_be(&all.e[i], !(how & DUMP_BDB));
		free(all.e[i].key);
		free(all.e[i].val);
	}
	free(all.e);
	free(text);
}

void fz_load(const void *bytes, size_t len)
{
	const unsigned char *b = bytes;
	FILE *out = stdout, *err = stderr;

	if (len < 2)
		return;
	fz_os_reset();
	if (ipcmap_clear(map))
		fz_broken("clear", 0);
	stdout = stderr = nowhere;
	load(b + 1, len - 1, b[0]);
	there_and_back(b[0]);
	stdout = out;
	stderr = err;
}
