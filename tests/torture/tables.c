/* SPDX-License-Identifier: MIT */
/*
 * tables.c - each worker publishes one snapshot table; all open them and hold versions
 *
 * A version's number of keys, and all its values, follow from its content, a number. A
 * rollback makes an earlier content current again, a drop makes it nothing.
 */
#include "torture.h"

#include <string.h>

#define PAIRS 40u
#define VALUE 3000u

struct pairs {
	struct ipcmap_pair pair[PAIRS];
	char key[PAIRS][16];
	unsigned char val[PAIRS][VALUE];
};

static uint32_t n_pairs(uint64_t content)
{
	return 1 + (uint32_t)(content * 7 % PAIRS);
}

static uint32_t length_of(uint64_t content, uint32_t i)
{
	return LOAD_MIN + (uint32_t)((content * 31 + i * 97) % (VALUE - LOAD_MIN));
}

static void table_name(uint32_t worker, char *name)
{
	sprintf(name, "table-%u", worker);
}

static int publish(struct ipcmap *m, uint32_t worker, uint64_t n)
{
	struct pairs *p = malloc(sizeof(*p));
	struct published *note = &tt->published[worker][n % ORACLE_NOTES];
	uint64_t version = 0;
	char name[16];
	int r;

	T_MUST(p != NULL);
	for (uint32_t i = 0; i < n_pairs(n); i++) {
		load_make(p->val[i], length_of(n, i), i, worker, n);
		p->pair[i] =
			(struct ipcmap_pair){p->key[i], (size_t)sprintf(p->key[i], "k%u", i),
					     p->val[i], length_of(n, i)};
	}
	table_name(worker, name);
	r = ipcmap_snapshot_publish(m, name, p->pair, n_pairs(n), &version, NULL, 0);
	free(p);
	if (!r)
		*note = (struct published){version, n};
	return r;
}

void torture_publish(struct ipcmap *m, uint32_t worker, uint64_t *x)
{
	struct published old = tt->published[worker][load_random(x) % ORACLE_NOTES];
	bool drop = load_random(x) % 10 == 0, back = !drop && load_random(x) % 5 == 0;
	char name[16];
	uint64_t n;
	int r;

	if (back && !old.version)
		return;
	n = oracle_begin(versions, worker,
			 drop	? ORACLE_NOTHING
			 : back ? old.content
				: ORACLE_NEW,
			 ORACLE_EVER);
	if (!n) {
		torture_recall_table(m, worker, true);
		return;
	}
	table_name(worker, name);
	if (drop)
		r = ipcmap_snapshot_drop(m, name);
	else if (back)
		r = ipcmap_snapshot_rollback(m, name, old.version, NULL);
	else
		r = publish(m, worker, n);
	oracle_count(&tt->publishes);
	if (r == 0) {
		oracle_done(versions, worker, n, ORACLE_EVER);
		return;
	}
	/* an older version need not be kept; a table need not be there */
	if (r != IPCMAP_NOTFOUND && !torture_refused(versions, r))
		torture_find(&tt->answers, "%s of a table: %d",
			     drop   ? "drop"
			     : back ? "rollback"
				    : "publish",
			     r);
	oracle_undo(versions, worker, n);
}

struct walk {
	uint64_t content;
	uint32_t worker;
	uint32_t n;
	bool torn;
};

static int look(void *arg, const struct ipcmap_pair *pair)
{
	struct walk *w = arg;
	uint64_t content = 0;
	char key[16] = "";
	uint32_t i = PAIRS;

	if (pair->key_len < sizeof(key))
		memcpy(key, pair->key, pair->key_len);
	sscanf(key, "k%u", &i);
	if (i >= PAIRS || !load_is(pair->val, pair->val_len, i, w->worker, &content) ||
	    (w->n && content != w->content))
		w->torn = true;
	w->content = content;
	w->n++;
	return 0;
}

/* 0 and the content, or what the library said. */
static int walk(struct ipcmap_snapshot *snap, uint32_t worker, uint64_t *ret_content)
{
	struct walk w = {.worker = worker};
	const void *val;
	char key[16];
	size_t len;
	int r = ipcmap_snapshot_each(snap, look, &w);

	if (r)
		return r;
	if (w.torn || w.n != n_pairs(w.content) || w.n != ipcmap_snapshot_count(snap)) {
		*ret_content = ORACLE_TORN;
		return 0;
	}
	for (uint32_t i = 0; i <= w.n; i += 3) {
		r = ipcmap_snapshot_get(snap, key, (size_t)sprintf(key, "k%u", i), &val, &len);
		if (r != (i < w.n ? 0 : IPCMAP_NOTFOUND) ||
		    (!r && len != length_of(w.content, i)))
			torture_find(&tt->tables, "key %u of %u: %d", i, w.n, r);
	}
	*ret_content = w.content;
	return 0;
}

/* The current version, and its content; NOTHING too. */
static int open_table(struct ipcmap *m, uint32_t worker, struct held *ret)
{
	char name[16];
	int r;

	table_name(worker, name);
	*ret = (struct held){NULL, worker, ORACLE_NOTHING};
	r = ipcmap_snapshot_open(m, name, 0, &ret->snap);
	if (r == IPCMAP_NOTFOUND)
		return 0;
	if (r == 0)
		r = walk(ret->snap, worker, &ret->content);
	if (r && !torture_refused(versions, r))
		torture_find(&tt->answers, "open of a table: %d", r);
	return r;
}

void torture_open(struct ipcmap *m, uint32_t worker, struct held *ret)
{
	struct oracle_view v = oracle_look(versions, worker);

	if (open_table(m, worker, ret) == 0)
		oracle_judge(versions, worker, v, ret->content);
	oracle_count(&tt->opens);
}

void torture_look_again(struct held *h, bool forked)
{
	uint64_t content = ORACLE_NOTHING;
	int r;

	if (!h->snap)
		return;
	r = walk(h->snap, h->worker, &content);
	if ((r || content != h->content) && !(forked && r == IPCMAP_MISMATCH))
		torture_find(&tt->tables, "a held version of table %u: %d, %lld was %lld",
			     h->worker, r, (long long)content, (long long)h->content);
}

void torture_recall_table(struct ipcmap *m, uint32_t worker, bool final)
{
	struct held h;

	if (versions->cell[worker].begun - versions->cell[worker].done >= ORACLE_NOTES / 2)
		final = true;
	/* nothing less takes the lock of the tables and changes nothing */
	if (final && ipcmap_check(m, NULL, NULL) < 0)
		return;
	if (open_table(m, worker, &h) == 0)
		oracle_settle(versions, worker, h.content, 0, final);
	ipcmap_snapshot_close(h.snap);
}
