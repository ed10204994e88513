/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - numbered writes, and what may be read while they are made and killed
 */
#include "oracle.h"

#include "atomic.h"

#include <string.h>

#define NO_NOTE UINT64_MAX
#define FINDINGS_SHOWN 20u

struct oracle *oracle_make(uint32_t n, uint32_t writers,
			   uint32_t (*length)(uint32_t k, uint64_t content))
{
	struct oracle *o = t_shared(sizeof(*o) + n * sizeof(o->cell[0]));

	o->n = n;
	o->writers = writers;
	o->length = length;
	return o;
}

void oracle_free(struct oracle *o)
{
	t_shared_free(o, sizeof(*o) + o->n * sizeof(o->cell[0]));
}

uint64_t oracle_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void oracle_count(uint64_t *counter)
{
	im_add_rlx(counter, 1);
}

/* ---- keys and values ---- */

size_t oracle_key(const struct oracle *o, uint32_t k, char *key)
{
	return (size_t)sprintf(key, "%u/%u/%s", k % o->writers, k,
			       k % 3 ? "x" : "a-key-that-is-longer-than-most");
}

uint32_t oracle_value(const struct oracle *o, uint32_t k, uint64_t content, unsigned char *buf)
{
	uint32_t len = o->length(k, content);

	load_make(buf, len, k, k % o->writers, content);
	return len;
}

uint64_t oracle_content(const struct oracle *o, uint32_t k, int r, const unsigned char *buf,
			size_t len)
{
	uint64_t content;

	if (r == IPCMAP_NOTFOUND)
		return ORACLE_NOTHING;
	if (r || !load_is(buf, len, k, k % o->writers, &content) || content == ORACLE_NOTHING ||
	    content == ORACLE_TORN || len != o->length(k, content))
		return ORACLE_TORN;
	return content;
}

/* ---- notes ---- */

static struct oracle_note *note_of(struct oracle_cell *c, uint64_t n)
{
	return &c->note[n % ORACLE_NOTES];
}

/* Its writer may be changing it: false. */
static bool read_note(const struct oracle_cell *c, uint64_t n, struct oracle_note *ret)
{
	const struct oracle_note *at = &c->note[n % ORACLE_NOTES];

	ret->n = im_load_acq(&at->n);
	ret->content = im_load_rlx(&at->content);
	ret->dies_from = im_load_rlx(&at->dies_from);
	ret->dies_by = im_load_rlx(&at->dies_by);
	im_read_barrier();
	return ret->n == n && im_load_rlx(&at->n) == n;
}

static void write_note(struct oracle_cell *c, const struct oracle_note *new)
{
	struct oracle_note *at = note_of(c, new->n);

	im_store_rlx(&at->n, NO_NOTE);
	im_write_barrier();
	im_store_rlx(&at->content, new->content);
	im_store_rlx(&at->dies_from, new->dies_from);
	im_store_rlx(&at->dies_by, new->dies_by);
	im_store_rel(&at->n, new->n);
}

static bool explains(const struct oracle_note *note, uint64_t content, uint64_t t0, uint64_t t1)
{
	if (content == ORACLE_NOTHING)
		return note->content == ORACLE_NOTHING || t1 >= note->dies_from;
	return note->content == content && t0 <= note->dies_by;
}

/* ---- the writer ---- */

uint64_t oracle_begin(struct oracle *o, uint32_t k, uint64_t content, uint64_t life_ns)
{
	struct oracle_cell *c = &o->cell[k];
	uint64_t n = c->begun + 1;
	struct oracle_note note = {n, content == ORACLE_NEW ? n : content, ORACLE_EVER,
				   ORACLE_EVER};

	if (n - c->done >= ORACLE_NOTES - 1)
		return 0;
	if (life_ns != ORACLE_EVER)
		note.dies_from = oracle_now() + life_ns;
	write_note(c, &note);
	im_store_rel(&c->begun, n);
	return n;
}

void oracle_dies_from(struct oracle *o, uint32_t k, uint64_t n, uint64_t when)
{
	im_store_rlx(&note_of(&o->cell[k], n)->dies_from, when);
}

void oracle_done(struct oracle *o, uint32_t k, uint64_t n, uint64_t dies_by)
{
	struct oracle_cell *c = &o->cell[k];

	im_store_rlx(&note_of(c, n)->dies_by, dies_by);
	im_store_rel(&c->done, n);
	oracle_count(&o->writes);
}

void oracle_undo(struct oracle *o, uint32_t k, uint64_t n)
{
	im_store_rel(&o->cell[k].begun, n - 1);
}

void oracle_gone(struct oracle *o, uint32_t k, uint64_t n)
{
	im_store_rlx(&note_of(&o->cell[k], n)->content, ORACLE_NOTHING);
}

const struct oracle_note *oracle_known(const struct oracle *o, uint32_t k)
{
	const struct oracle_cell *c = &o->cell[k];

	return c->begun == c->done ? &c->note[c->done % ORACLE_NOTES] : NULL;
}

/* The first write up to @to that may be the last one and explains it. */
static bool explain(const struct oracle_cell *c, uint64_t to, uint64_t content, uint64_t t0,
		    struct oracle_note *ret)
{
	uint64_t t1 = oracle_now();

	for (uint64_t n = c->done; n <= to; n++)
		if (read_note(c, n, ret) && explains(ret, content, t0, t1))
			return true;
	return false;
}

bool oracle_is(struct oracle *o, uint32_t k, uint64_t content, uint64_t t0)
{
	struct oracle_note note;

	if (explain(&o->cell[k], o->cell[k].begun, content, t0, &note))
		return true;
	oracle_find(o, k, content);
	return false;
}

bool oracle_was(struct oracle *o, uint32_t k, uint64_t content, uint64_t n)
{
	struct oracle_note note;

	if (explain(&o->cell[k], n - 1, content, 0, &note))
		return true;
	oracle_find(o, k, content);
	return false;
}

void oracle_settle(struct oracle *o, uint32_t k, uint64_t content, uint64_t t0, bool final)
{
	struct oracle_cell *c = &o->cell[k];
	struct oracle_note note;

	if (!explain(c, c->begun, content, t0, &note)) {
		oracle_find(o, k, content);
		note = (struct oracle_note){0,
					    content == ORACLE_TORN ? ORACLE_NOTHING : content,
					    ORACLE_EVER, ORACLE_EVER};
		final = true; /* go on from what is there */
	} else if (!final) {
		im_store_rel(&c->done, note.n);
		return;
	}
	if (content == ORACLE_NOTHING)
		note.content = ORACLE_NOTHING; /* expired */
	if (c->begun == c->done && note.n == c->done &&
	    note_of(c, note.n)->content == note.content)
		return;
	note.n = c->begun + 1;
	write_note(c, &note);
	im_store_rel(&c->begun, note.n);
	im_store_rel(&c->done, note.n);
}

/* ---- readers ---- */

struct oracle_view oracle_look(const struct oracle *o, uint32_t k)
{
	struct oracle_view v = {im_load_acq(&o->cell[k].done), oracle_now()};

	im_full_barrier();
	return v;
}

void oracle_find(struct oracle *o, uint32_t k, uint64_t content)
{
	struct oracle_cell *c = &o->cell[k];
	uint64_t begun = im_load_rlx(&c->begun), told = im_load_rlx(&c->told);

	if (told == begun + 1 || !im_cas_full(&c->told, told, begun + 1))
		return;
	oracle_count(content == ORACLE_NOTHING ? &o->lost : &o->wrong);
	if (o->lost + o->wrong <= FINDINGS_SHOWN)
		fprintf(stderr,
			"\n    key %u of writer %u: found %lld, acknowledged %llu, begun %llu ",
			k, k % o->writers, (long long)content, (unsigned long long)c->done,
			(unsigned long long)begun);
}

void oracle_judge(struct oracle *o, uint32_t k, struct oracle_view v, uint64_t content)
{
	struct oracle_cell *c = &o->cell[k];
	uint64_t to, t1;
	struct oracle_note note;

	im_full_barrier();
	to = im_load_acq(&c->begun);
	t1 = oracle_now();
	oracle_count(&o->reads);
	if (content != ORACLE_NOTHING && content != ORACLE_TORN)
		oracle_count(&o->hits);
	for (uint64_t n = v.from; n <= to; n++) {
		if (!read_note(c, n, &note) && content != ORACLE_TORN) {
			oracle_count(&o->unjudged);
			return;
		}
		if (explains(&note, content, v.t0, t1))
			return;
	}
	oracle_find(o, k, content);
}

/* ---- with a store ---- */

static int map_get(void *arg, const void *key, size_t key_len, void *buf, size_t cap,
		   size_t *ret_len)
{
	return ipcmap_get(arg, key, key_len, buf, cap, ret_len);
}

static int map_put(void *arg, const void *key, size_t key_len, const void *val, size_t len)
{
	return ipcmap_put(arg, key, key_len, val, len, NULL);
}

static int map_del(void *arg, const void *key, size_t key_len)
{
	return ipcmap_del(arg, key, key_len);
}

/* No entry has that version; to find that out it takes the lock. */
static int map_firm(void *arg, const void *key, size_t key_len)
{
	struct ipcmap_put_options never = IPCMAP_PUT_INIT;
	int r;

	never.flags = IPCMAP_IF_VERSION;
	never.version = UINT64_MAX;
	r = ipcmap_delx(arg, key, key_len, &never);
	return r == IPCMAP_NOTFOUND || r == IPCMAP_MISMATCH ? 0 : r;
}

const struct oracle_store oracle_ipcmap = {
	.get = map_get,
	.put = map_put,
	.del = map_del,
	.firm = map_firm,
};

static void failed(struct oracle *o, int r)
{
	oracle_count(&o->errors);
	o->last_error = r;
}

static int get(struct oracle *o, const struct oracle_store *s, uint32_t k,
	       uint64_t *ret_content)
{
	static __thread unsigned char buf[ORACLE_CAP];
	char key[ORACLE_KEY];
	size_t len = 0;
	int r = s->get(s->arg, key, oracle_key(o, k, key), buf, sizeof(buf), &len);

	if (r && r != IPCMAP_NOTFOUND)
		return r;
	*ret_content = oracle_content(o, k, r, buf, len);
	return 0;
}

void oracle_read(struct oracle *o, const struct oracle_store *s, uint32_t k)
{
	struct oracle_view v = oracle_look(o, k);
	uint64_t content;
	int r = get(o, s, k, &content);

	if (r == IPCMAP_BUSY)
		oracle_count(&o->refused);
	else if (r)
		failed(o, r);
	else
		oracle_judge(o, k, v, content);
}

void oracle_recall(struct oracle *o, const struct oracle_store *s, uint32_t k, bool final)
{
	uint64_t content, t0;
	char key[ORACLE_KEY];
	int r = 0;

	if (o->cell[k].begun - o->cell[k].done >= ORACLE_NOTES / 2)
		final = true;
	if (final && s->firm)
		r = s->firm(s->arg, key, oracle_key(o, k, key));
	t0 = oracle_now();
	if (!r)
		r = get(o, s, k, &content);
	if (r)
		failed(o, r);
	else
		oracle_settle(o, k, content, t0, final);
}

void oracle_write(struct oracle *o, const struct oracle_store *s, uint32_t k)
{
	static __thread unsigned char buf[ORACLE_CAP];
	uint64_t next = o->cell[k].begun + 1, n;
	bool deletes = next % 7 == 3;
	char key[ORACLE_KEY];
	size_t key_len = oracle_key(o, k, key);
	int r;

	n = oracle_begin(o, k, deletes ? ORACLE_NOTHING : ORACLE_NEW, ORACLE_EVER);
	if (!n) {
		oracle_recall(o, s, k, true);
		return;
	}
	if (deletes) {
		r = s->del(s->arg, key, key_len);
		if (r == IPCMAP_NOTFOUND) {
			/* then the writes since the last one acknowledged never happened */
			oracle_was(o, k, ORACLE_NOTHING, n);
			r = 0;
		}
	} else {
		r = s->put(s->arg, key, key_len, buf, oracle_value(o, k, n, buf));
	}
	if (r) {
		oracle_undo(o, k, n);
		failed(o, r);
		return;
	}
	oracle_done(o, k, n, ORACLE_EVER);
}
