/* SPDX-License-Identifier: MIT */
/*
 * t-points.c - each operation is killed at each of its steps; nothing may be lost
 *
 * A start state is made once and kept as bytes. For every crash point that the operation
 * passes, a fresh file with those bytes is made, a child opens it, starts the operation and
 * kills itself at that point. Then a process looks: first through a read-only attach, which
 * recovers nothing, then through a writable one, which does. Every key must be old or new,
 * whole; what was acknowledged must be there; check must find nothing; the shard must work.
 * Some of these states are given to a successor that is killed in its turn.
 *
 * In builds without crash points the operation is single-stepped instead: every time an
 * instruction has changed the segment, the bytes are copied to another file, where nobody
 * holds the owner's lock, so that its owner is dead there; and are looked at in the same way.
 */
#include "load.h"

#include "crash.h"
#include "log.h"
#include "map.h"
#include "os.h"
#include "shard.h"
#include "space.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>

#define KEYS 1600u
#define IDS 200000u
#define FAR_IDS 100000u /* ids from here on have keys of FAR_LEN bytes */
#define FAR_LEN 5000u
#define NEW_IDS 150000u	    /* what successors write */
#define SNAPSHOT_ID 199999u /* not a key: the current version of a snapshot table */
#define SEQ_MAX 8192u
#define NAMES 128u
#define ALL_UP_TO (T_SANITIZED ? 40u : 160u) /* points of an operation that are all tried */
#define NESTED_FIRST 3u /* kills of the operation whose states successors get */
#define NESTED_MAX (T_SANITIZED ? 4u : 14u) /* kills of the successor for each */

struct seen {
	int r;
	uint32_t len;
	uint64_t sum;
};

/* Shared by the parent and its children, which come one after the other. */
struct world {
	uint32_t n;
	uint32_t id[KEYS];
	int step[KEYS]; /* the step of the operation that changes it; -1: none */
	struct seen before[KEYS], after[KEYS], early[KEYS];
	uint16_t index_of[IDS]; /* 1 + index */
	uint32_t next_id;
	uint32_t acked; /* steps that returned */
	uint32_t done;
	uint32_t outside; /* a stepped call of the library has returned */
	uint32_t points;
	uint32_t kill_at;     /* 0: never */
	uint8_t seq[SEQ_MAX]; /* names in order */
	uint32_t aux[4];
};

struct names {
	uint32_t n;
	uint32_t visits[NAMES];
	char name[NAMES][24];
};

struct scenario {
	const char *name;
	void (*prepare)(struct ipcmap *m);
	int (*step)(struct ipcmap *m, uint32_t i);
	uint32_t steps;
	unsigned shards;
	uint32_t least; /* points */
	uint64_t max;	/* of the map; 0: 1 MiB */
	bool opening;	/* the attach is part of it */
	bool loose;	/* keys of one step change one by one */
};

static struct world *w;
static struct names *names;
static bool traced; /* in the child that is single-stepped */
static uint32_t all_points, all_states, all_nested;

/* ---- keys and values ---- */

static size_t make_key(uint32_t id, unsigned char *key)
{
	size_t n = (size_t)sprintf((char *)key, "key-%u", id);

	if (id < FAR_IDS || id >= NEW_IDS)
		return n;
	memset(key + n, 'f', FAR_LEN - n);
	return FAR_LEN;
}

static uint32_t id_of(const void *key)
{
	return (uint32_t)strtoul((const char *)key + 4, NULL, 10);
}

/* Around what may be single-stepped. */
static void step_in(void)
{
	if (traced)
		raise(SIGSTOP);
}

static int step_out(int r)
{
	if (traced)
		im_store32_rel(&w->outside, 1);
	return r;
}

/* The step that will change a key is told before or after its first put. */
static void note(uint32_t id, int step)
{
	uint32_t i = w->index_of[id];

	if (!i) {
		T_MUST(w->n < KEYS);
		i = ++w->n;
		w->index_of[id] = (uint16_t)i;
		w->id[i - 1] = id;
		w->step[i - 1] = -1;
	}
	if (step >= 0)
		w->step[i - 1] = step;
}

static int store(struct ipcmap *m, uint32_t id, uint32_t len, uint64_t seq, uint64_t ttl)
{
	static unsigned char val[LOAD_CAP * 4];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[FAR_LEN];

	size_t n = make_key(id, key);

	how.ttl_ns = ttl;
	load_make(val, len, id, 0, seq);
	step_in();
	return step_out(ipcmap_put(m, key, n, val, len, &how));
}

static void put(struct ipcmap *m, uint32_t id, uint32_t len, uint64_t seq)
{
	note(id, -1);
	T_MUST(store(m, id, len, seq, 0) == 0);
}

static void put_many(struct ipcmap *m, uint32_t from, uint32_t n, uint32_t len)
{
	for (uint32_t id = from; id < from + n; id++)
		put(m, id, len, 1);
}

static int del(struct ipcmap *m, uint32_t id)
{
	unsigned char key[FAR_LEN];
	size_t n = make_key(id, key);

	step_in();
	return step_out(ipcmap_del(m, key, n));
}

static uint64_t hash_of(struct ipcmap *m, uint32_t id)
{
	unsigned char key[FAR_LEN];

	return im_hash(m->hash_seed, key, make_key(id, key));
}

/* The next id whose key lies in this shard and has these low bits of its hash. */
static uint32_t pick(struct ipcmap *m, uint32_t shard, uint64_t mask, uint64_t bits)
{
	for (;;) {
		uint64_t h = hash_of(m, ++w->next_id);

		T_MUST(w->next_id < FAR_IDS);
		if (im_map_shard(m, h) == shard && (h & mask) == bits)
			return w->next_id;
	}
}

static void put_in_bucket(struct ipcmap *m, uint64_t mask, uint64_t bits, uint32_t n)
{
	while (n--)
		put(m, pick(m, 0, mask, bits), 40, 1);
}

static int add_pair(void *arg, const struct ipcmap_pair *pair)
{
	struct seen *s = arg;

	s->len++;
	s->sum = s->sum * 31 + XXH3_64bits(pair->key, pair->key_len) * 7 +
		 XXH3_64bits(pair->val, pair->val_len);
	return 0;
}

static struct seen look_at_snapshot(struct ipcmap *m)
{
	struct ipcmap_snapshot *snap;
	struct seen s = {0};

	s.r = ipcmap_snapshot_open(m, "table", 0, &snap);
	if (s.r == 0) {
		s.r = ipcmap_snapshot_each(snap, add_pair, &s);
		ipcmap_snapshot_close(snap);
	}
	return s;
}

static struct seen look(struct ipcmap *m, uint32_t id)
{
	static unsigned char buf[LOAD_CAP * 4];
	unsigned char key[FAR_LEN];
	struct seen s = {0};
	size_t len = 0;

	if (id == SNAPSHOT_ID)
		return look_at_snapshot(m);
	s.r = ipcmap_get(m, key, make_key(id, key), buf, sizeof(buf), &len);
	if (s.r == 0) {
		s.len = (uint32_t)len;
		s.sum = XXH3_64bits(buf, len);
	}
	return s;
}

static bool same(const struct seen *a, const struct seen *b)
{
	return a->r == b->r && a->len == b->len && a->sum == b->sum;
}

/* ---- a file as bytes ---- */

struct image {
	uint64_t len; /* of the file */
	uint64_t n;   /* bytes kept; the rest is zero */
	unsigned char *p;
};

static struct image load_image(const char *path)
{
	struct image im = {0};
	struct stat st;
	int fd = open(path, O_RDONLY);
	off_t at = 0, end;

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	im.len = (uint64_t)st.st_size;
	im.p = malloc(im.len);
	/* up to the last byte that has memory */
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		im.n = (uint64_t)end;
		at = end;
	}
	if (pread(fd, im.p, im.n, 0) != (ssize_t)im.n)
		abort();
	close(fd);
	return im;
}

/* A new file, since the old one may still be mapped or locked. */
static void store_image(const char *path, const struct image *im)
{
	int fd;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)im->len) < 0 ||
	    pwrite(fd, im->p, im->n, 0) != (ssize_t)im->n)
		abort();
	close(fd);
}

/* ---- points ---- */

static uint8_t number_of(const char *name)
{
	uint32_t i;

	for (i = 0; i < names->n; i++)
		if (strcmp(names->name[i], name) == 0)
			break;
	if (i == names->n && i < NAMES) {
		snprintf(names->name[i], sizeof(names->name[i]), "%s", name);
		names->n++;
	}
	names->visits[i]++;
	return (uint8_t)i;
}

#if defined(IM_CHECK) && IM_CHECK
static void at_point(const char *name)
{
	uint8_t i;

	if (strncmp(name, "read.", 5) == 0)
		return;
	i = number_of(name);
	if (w->points < SEQ_MAX)
		w->seq[w->points] = i;
	if (++w->points == w->kill_at)
		kill(getpid(), SIGKILL);
}

static void watch_points(uint32_t kill_at)
{
	w->points = 0;
	w->kill_at = kill_at;
	im_crash_hook = at_point;
}

static void watch_no_more(void)
{
	im_crash_hook = NULL;
}
#define HAVE_POINTS 1
#else
static void watch_points(uint32_t kill_at)
{
	(void)kill_at;
	(void)number_of;
}

static void watch_no_more(void)
{
}
#define HAVE_POINTS 0
#endif

/* ---- children ---- */

static const struct scenario *sc;
static const char *path, *name;

static int child_prepare(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;

	(void)arg;
	o.flags = IPCMAP_CREATE;
	o.limit = 1u << 20;
	o.max = sc->max ? sc->max : 1u << 20;
	o.shards = sc->shards ? sc->shards : 1;
	T_MUST(ipcmap_open(name, &o, &m) == 0);
	if (sc->prepare)
		sc->prepare(m);
	for (uint32_t i = 0; i < w->n; i++)
		w->before[i] = look(m, w->id[i]);
	T_MUST(ipcmap_check(m, load_print, NULL) == 0);
	ipcmap_close(m);
	return 0;
}

static int run_steps(struct ipcmap *m)
{
	for (uint32_t i = 0; i < sc->steps; i++) {
		int r = sc->step(m, i);

		if (r) {
			fprintf(stderr, "\n%s: step %u: %d", sc->name, i, r);
			return 1;
		}
		im_store32_rel(&w->acked, i + 1);
	}
	return 0;
}

/* The operation, to be killed at w->kill_at, or else whole. */
static int child_operate(void *arg)
{
	uint32_t kill_at = *(uint32_t *)arg;
	struct ipcmap *m;

	w->acked = 0;
	if (sc->opening)
		watch_points(kill_at);
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	if (!sc->opening)
		watch_points(kill_at);
	if (run_steps(m))
		return 1;
	watch_no_more();
	if (kill_at == 0)
		for (uint32_t i = 0; i < w->n; i++)
			w->after[i] = look(m, w->id[i]);
	return 0;
}

/* ---- looking ---- */

static const char *stage;

static void complain(uint32_t i, const struct seen *s)
{
	fprintf(stderr,
		"\n%s: %s: point %u (%s): key %u (step %d, %u acked): result %d len %u is "
		"neither old (%d, %u) nor new (%d, %u)",
		sc->name, stage, w->kill_at,
		w->kill_at && HAVE_POINTS ? names->name[w->seq[w->kill_at - 1]] : "-", w->id[i],
		w->step[i], w->acked, s->r, s->len, w->before[i].r, w->before[i].len,
		w->after[i].r, w->after[i].len);
	_exit(1);
}

/* Every key is what it must be; @early: remember, else: never older than remembered. */
static void look_at_keys(struct ipcmap *m, bool early)
{
	int first = -1; /* is the first key of the step in flight new? */

	for (uint32_t i = 0; i < w->n; i++) {
		struct seen s = look(m, w->id[i]);
		bool old = same(&s, &w->before[i]), new = same(&s, &w->after[i]);
		uint32_t step = (uint32_t)w->step[i];

		if (w->step[i] < 0 || step > w->acked) {
			if (!old)
				complain(i, &s);
			continue;
		}
		if (step < w->acked) {
			if (!new)
				complain(i, &s);
			continue;
		}
		if (!old && !new)
			complain(i, &s);
		if (old == new)
			continue;
		if (first < 0)
			first = new;
		if (first != new && !sc->loose)
			complain(i, &s); /* all of a step or nothing */
		if (early)
			w->early[i] = s;
		else if (same(&w->early[i], &w->after[i]) && !new)
			complain(i, &s); /* was seen, must stay */
	}
}

struct walk {
	uint32_t shown;
	uint8_t times[KEYS];
};

static int walk_one(void *arg, const struct ipcmap_item *item)
{
	struct walk *walk = arg;
	char text[24] = "";
	uint32_t i;

	memcpy(text, item->key, item->key_len < 20 ? item->key_len : 20);
	i = w->index_of[id_of(text) % IDS];
	if (i)
		walk->times[i - 1]++;
	walk->shown++;
	return 0;
}

/* A scan shows every key that is there exactly once. */
static void look_by_scan(struct ipcmap *m)
{
	static struct walk walk;
	uint64_t cursor = 0;
	int r;

	memset(&walk, 0, sizeof(walk));
	r = ipcmap_scan(m, &cursor, NULL, 0, IPCMAP_SCAN_KEYS, walk_one, &walk);
	if (r)
		fprintf(stderr, "\n%s: %s: scan: %d", sc->name, stage, r);
	T_MUST(r == 0);
	for (uint32_t i = 0; i < w->n; i++) {
		unsigned there = w->id[i] != SNAPSHOT_ID && look(m, w->id[i]).r == 0;

		if (walk.times[i] != there)
			fprintf(stderr,
				"\n%s: %s: point %u: key %u is shown %u times, is %s there",
				sc->name, stage, w->kill_at, w->id[i], walk.times[i],
				there ? "" : "not");
		T_MUST(walk.times[i] == there);
	}
}

static void must_be_sound(struct ipcmap *m)
{
	char where[160];
	int r;

	snprintf(where, sizeof(where), "%s: %s: point %u (%s): ", sc->name, stage, w->kill_at,
		 w->kill_at && HAVE_POINTS ? names->name[w->seq[w->kill_at - 1]] : "-");
	r = ipcmap_check(m, load_print, where);
	if (r)
		fprintf(stderr, "\n%scheck: %d", where, r);
	T_MUST(r == 0);
}

/* No extent belongs to the dead, after a sweep. */
static void nothing_is_lost(struct ipcmap *m)
{
	struct im_seg *seg = m->seg;

	im_owner_sweep(seg);
	for (uint32_t i = 0; i < seg->n_extents; i++) {
		uint64_t word = im_load_rlx(&seg->table[i].word);

		if (fmt_word_state(word) == FMT_PRIVATE)
			fprintf(stderr, "\n%s: point %u: extent %u is private to %u", sc->name,
				w->kill_at, i, fmt_word_who(word));
		T_MUST(fmt_word_state(word) != FMT_PRIVATE);
	}
}

/* Write in every shard. A map made full by its scenario may refuse. */
static void write_on(struct ipcmap *m)
{
	uint64_t seen = 0;
	uint32_t id = NEW_IDS;

	for (; seen != (UINT64_C(1) << m->n_shards) - 1; id++) {
		uint32_t shard = im_map_shard(m, hash_of(m, id));
		int r;

		if (seen & UINT64_C(1) << shard)
			continue;
		seen |= UINT64_C(1) << shard;
		r = store(m, id, 60, 1, 0);
		T_MUST(r == 0 || r == IPCMAP_LIMIT);
		if (r)
			continue;
		T_MUST(store(m, id, 90, 2, 0) == 0);
		T_MUST(look(m, id).len == 90);
		T_MUST(del(m, id) == 0);
		T_MUST(look(m, id).r == IPCMAP_NOTFOUND);
		r = store(m, id, 9000, 3, 0);
		T_MUST(r == 0 || r == IPCMAP_LIMIT);
		if (r == 0)
			T_MUST(look(m, id).len == 9000 && del(m, id) == 0);
	}
}

static int child_look(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	struct ipcmap *m;

	(void)arg;
	o.flags = IPCMAP_RDONLY;
	stage = "read-only";
	memset(w->early, 0xff, sizeof(w->early));
	T_MUST(ipcmap_open(name, &o, &m) == 0);
	look_at_keys(m, true);
	look_by_scan(m);
	T_MUST(ipcmap_stat(m, &st) == 0);
	ipcmap_close(m);
	stage = "attached";
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	look_at_keys(m, false);
	stage = "recovered";
	must_be_sound(m);
	look_at_keys(m, false);
	look_by_scan(m);
	nothing_is_lost(m);
	if (w->kill_at % 2) {
		stage = "written again";
		write_on(m);
		must_be_sound(m);
		look_at_keys(m, false);
	}
	stage = "cleared";
	T_MUST(ipcmap_clear(m) == 0);
	must_be_sound(m);
	write_on(m);
	must_be_sound(m);
	ipcmap_close(m);
	return 0;
}

#if HAVE_POINTS
/* Takes over, writes, and is killed in its turn. */
static int child_succeed(void *arg)
{
	struct ipcmap *m;

	watch_points(*(uint32_t *)arg);
	if (ipcmap_open(name, NULL, &m))
		return 1;
	write_on(m);
	for (uint32_t i = 0; i < m->n_shards; i++)
		ipcmap_check(m, NULL, NULL);
	return 0;
}

#endif

/* ---- the parent ---- */

static bool run(int (*fn)(void *arg), uint32_t arg)
{
	return t_ok(t_run(fn, &arg));
}

#if HAVE_POINTS
static bool visited_often(uint32_t k, uint32_t *seen)
{
	return seen[w->seq[k - 1]]++ >= (T_SANITIZED ? 1 : 4);
}

/* One state: look at it, and, if asked, let successors die on it. */
static bool try_state(bool nested)
{
	uint32_t kill_at = w->kill_at, acked = w->acked, points, step;
	struct image im;

	if (!nested)
		return run(child_look, 0);
	im = load_image(path);
	store_image(path, &im);
	t_ok(t_run(child_succeed, &(uint32_t){0}));
	points = w->points;
	step = points / NESTED_MAX + 1;
	for (uint32_t j = 1 + kill_at % step; j <= points; j += step) {
		store_image(path, &im);
		w->acked = acked;
		CU_ASSERT(t_killed(t_run(child_succeed, &j)));
		w->kill_at = 0;
		all_nested++;
		if (!run(child_look, 0)) {
			fprintf(stderr, "\n%s: killed at %u, its successor at %u\n", sc->name,
				kill_at, j);
			free(im.p);
			return false;
		}
	}
	store_image(path, &im);
	free(im.p);
	w->acked = acked;
	w->kill_at = kill_at;
	return run(child_look, 0);
}

static void kill_at_points(const struct image *start)
{
	uint32_t points = w->points, tried = 0, seen[NAMES] = {0}, failed = 0;
	uint32_t stride = points / ALL_UP_TO + 1;

	all_points += points;
	for (uint32_t k = 1; k <= points && k <= SEQ_MAX && failed < 3; k++) {
		bool nested = points / NESTED_FIRST && k % (points / NESTED_FIRST) == 1;

		if (visited_often(k, seen) && k % stride && !nested)
			continue;
		store_image(path, start);
		tried++;
		if (!t_killed(t_run(child_operate, &k))) {
			CU_FAIL("it was not killed at its point");
			failed++;
		} else if (!try_state(nested)) {
			CU_FAIL("the state after the kill is wrong");
			failed++;
		}
	}
	all_states += tried;
	printf("\n    %-44s %5u points, %4u tried ", sc->name, points, tried);
	CU_ASSERT(points >= sc->least);
}

#else
/* ---- without crash points: instruction by instruction ---- */

#define STEPPING_MS 400u /* for one operation; those of many steps are seen in part */
#define STATES_ALL 24u	 /* looked at from the start; then fewer and fewer */

static int child_traced(void *arg)
{
	struct ipcmap *m;

	(void)arg;
	w->acked = 0;
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	for (uint32_t i = 0; i < w->n; i++)
		look(m, w->id[i]);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		return 77;
	traced = true;
	run_steps(m);
	traced = false;
	w->done = 1;
	return 0;
}

/* What the copies hold: all but counter lines, which say nothing about the map. */
struct window {
	unsigned char *now; /* mapped */
	unsigned char *was;
	uint64_t len;
	uint64_t line_off, line_end;
};

static bool changed(struct window *win)
{
	if (memcmp(win->now, win->was, win->line_off) == 0 &&
	    memcmp(win->now + win->line_end, win->was + win->line_end,
		   win->len - win->line_end) == 0)
		return false;
	memcpy(win->was, win->now, win->len);
	return true;
}

static void look_at_copy(struct window *win, uint64_t file_len, uint32_t *states, uint32_t *bad)
{
	const char *real = path, *real_name = name;
	struct image im = {.len = file_len, .n = win->len, .p = win->was};

	path = T_PATH;
	name = path + strlen("/dev/shm");
	store_image(path, &im);
	++*states;
	w->kill_at = *states;
	if (!run(child_look, 0)) {
		CU_FAIL("a state between two instructions is wrong");
		++*bad;
	}
	unlink(path);
	path = real;
	name = real_name;
}

static uint32_t step_through(uint32_t *ret_tried)
{
	uint32_t n = 0, tried = 0, bad = 0;
	struct window win = {0};
	struct fmt_header *h;
	struct stat st;
	uint64_t end;
	int status, fd = open(path, O_RDWR);
	pid_t pid;

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	win.now = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	h = (struct fmt_header *)(void *)win.now;
	win.line_off = h->line_off;
	win.line_end = h->user_off;
	w->done = w->outside = 0;
	pid = t_run(child_traced, NULL);
	waitpid(pid, &status, 0);
	if (!WIFSTOPPED(status)) {
		munmap(win.now, (size_t)st.st_size);
		return 0;
	}
	win.len = h->extent_off + ((uint64_t)(h->space.fresh + 8) << h->extent_shift);
	win.len = win.len < (uint64_t)st.st_size ? win.len : (uint64_t)st.st_size;
	win.was = malloc(win.len);
	memcpy(win.was, win.now, win.len);
	end = t_now_ms() + STEPPING_MS;
	while (!im_load32_acq(&w->done) && bad < 3 && t_now_ms() < end) {
		bool out = im_load32_acq(&w->outside);

		w->outside = 0;
		if (ptrace(out ? PTRACE_CONT : PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
		    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			break;
		if (!changed(&win))
			continue;
		if (++n, n % (n / STATES_ALL + 1))
			continue;
		end -= t_now_ms();
		look_at_copy(&win, (uint64_t)st.st_size, &tried, &bad);
		end += t_now_ms();
	}
	t_kill(pid);
	munmap(win.now, (size_t)st.st_size);
	free(win.was);
	*ret_tried = tried;
	return n;
}

static void step_over(const struct image *start)
{
	uint32_t n, tried = 0;

	store_image(path, start);
	n = step_through(&tried);
	if (!n) {
		t_skip("ptrace is not permitted");
		return;
	}
	all_points += n;
	all_states += tried;
	printf("\n    %-44s %5u states, %4u tried ", sc->name, n, tried);
}
#endif

static void kill_everywhere(const struct scenario *scenario, int line)
{
	struct image start;

	if (!w) {
		w = t_shared(sizeof(*w));
		names = t_shared(sizeof(*names));
	}
	memset(w, 0, sizeof(*w));
	sc = scenario;
	path = t_path(line);
	name = t_name(line);
	unlink(path);
	CU_ASSERT_FATAL(run(child_prepare, 0));
	start = load_image(path);
	if (!run(child_operate, 0)) {
		CU_FAIL("the operation fails by itself");
	} else {
#if HAVE_POINTS
		kill_at_points(&start);
#else
		if (sc->opening)
			t_skip("needs crash points");
		else
			step_over(&start);
#endif
	}
	free(start.p);
	unlink(path);
}

/* ---- the operations ---- */

#define SCENARIO(fn, ...)                                                                      \
	static void points__##fn(void)                                                         \
	{                                                                                      \
		static const struct scenario s = {__VA_ARGS__};                                \
		kill_everywhere(&s, __LINE__);                                                 \
	}

static int put_1_small(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return store(m, 1, 60, 9, 0);
}

static void nothing(struct ipcmap *m)
{
	(void)m;
	note(1, 0);
}

static void twenty(struct ipcmap *m)
{
	put_many(m, 2, 20, 60);
	note(1, 0);
}

static void one_under_many(struct ipcmap *m)
{
	put(m, 1, 1000, 1);
	put_many(m, 2, 8, 1000);
	note(1, 0);
}

static void one_over_many(struct ipcmap *m)
{
	put_many(m, 2, 8, 1000);
	put(m, 1, 60, 1);
	note(1, 0);
}

SCENARIO(first, "first put of a map", nothing, put_1_small, 1, .least = 40)
SCENARIO(fresh, "put, new key", twenty, put_1_small, 1, .least = 10)
SCENARIO(update, "put, update across extents", one_under_many, put_1_small, 1, .least = 10)
SCENARIO(in_place, "put, update in the same extent", one_over_many, put_1_small, 1, .least = 9)

static int put_1_large(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return store(m, 1, 10000, 9, 0);
}

static int del_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return del(m, 1);
}

static void one_large(struct ipcmap *m)
{
	put_many(m, 2, 8, 500);
	put(m, 1, 14000, 1);
	note(1, 0);
}

SCENARIO(large, "put, new large value", twenty, put_1_large, 1, .least = 60)
SCENARIO(large_large, "put, large over large", one_large, put_1_large, 1, .least = 60)
SCENARIO(small_large, "put, small over large", one_large, put_1_small, 1, .least = 20)
SCENARIO(large_small, "put, large over small", one_over_many, put_1_large, 1, .least = 50)
SCENARIO(del_large, "del, large value", one_large, del_1, 1, .least = 20)

static void no_far(struct ipcmap *m)
{
	put_many(m, 2, 8, 500);
	note(FAR_IDS, 0);
}

static void one_far(struct ipcmap *m)
{
	put(m, FAR_IDS, 6000, 1);
	no_far(m);
}

static int put_far(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return store(m, FAR_IDS, 100, 2, 0);
}

static int del_far(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return del(m, FAR_IDS);
}

SCENARIO(far, "put, key of its own extents", no_far, put_far, 1, .least = 40)
SCENARIO(far_over, "put, update of such a key", one_far, put_far, 1, .least = 50)
SCENARIO(far_del, "del, of such a key", one_far, del_far, 1, .least = 20)

static int put_if_version(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char buf[2000], key[20];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	size_t n = make_key(1, key);
	int r = ipcmap_getx(m, key, n, &v);

	(void)i;
	if (r)
		return r;
	how.flags = IPCMAP_IF_VERSION;
	how.version = v.version;
	step_in();
	return step_out(ipcmap_put(m, key, n, "conditional", 11, &how));
}

static int take_1(struct ipcmap *m, uint32_t i)
{
	unsigned char buf[20000], key[20];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};

	size_t n = make_key(1, key);

	(void)i;
	step_in();
	return step_out(ipcmap_take(m, key, n, &v));
}

static void one_expired(struct ipcmap *m)
{
	put_many(m, 2, 8, 500);
	note(1, 0);
	T_MUST(store(m, 1, 700, 1, 1) == 0);
	t_sleep_ms(60);
}

SCENARIO(conditional, "put, if version", one_over_many, put_if_version, 1, .least = 9)
SCENARIO(expired, "put, on an expired slot", one_expired, put_1_small, 1, .least = 9)
SCENARIO(take, "take", one_under_many, take_1, 1, .least = 9)
SCENARIO(take_large, "take, large value", one_large, take_1, 1, .least = 20)
SCENARIO(del, "del", one_under_many, del_1, 1, .least = 9)

/* The first extent holds 1, 2 and 3 only. */
static void last_of_extent(struct ipcmap *m)
{
	put_many(m, 1, 14, 1200);
	T_MUST(del(m, 2) == 0 && del(m, 3) == 0);
	note(1, 0);
}

static int clear_all(struct ipcmap *m, uint32_t i)
{
	(void)i;
	step_in();
	return step_out(ipcmap_clear(m));
}

static void thirty(struct ipcmap *m)
{
	put_many(m, 1, 30, 700);
	put(m, 40, 9000, 1);
	for (uint32_t i = 1; i <= 30; i++)
		note(i, 0);
	note(40, 0);
}

/* Then the extents below the floor are walked. */
static int clear_and_put(struct ipcmap *m, uint32_t i)
{
	return i == 0 ? clear_all(m, 0) : store(m, 1000 + i, 1500, 1, 0);
}

static void many_and_large(struct ipcmap *m)
{
	for (uint32_t i = 1; i <= 150; i++) {
		put(m, i, 1200, 1);
		note(i, 0);
	}
	put(m, 200, 9000, 1);
	note(200, 0);
	for (int i = 1; i < 80; i++)
		note(1000 + (uint32_t)i, i);
}

SCENARIO(del_last, "del, last name of an extent", last_of_extent, del_1, 1, .least = 15)
SCENARIO(clear, "clear", thirty, clear_all, 1, .least = 8)
SCENARIO(clear_put, "clear, then puts that reclaim", many_and_large, clear_and_put, 80,
	 .least = 500)

/* 152 keys in 16 buckets: one more splits bucket 0. @zero of them in bucket 0. */
static void before_split(struct ipcmap *m, uint32_t stay, uint32_t move)
{
	uint32_t rest = 152 - stay - move;

	put_in_bucket(m, 31, 16, move);
	put_in_bucket(m, 31, 0, stay);
	for (uint32_t b = 1; b < 16; b++)
		put_in_bucket(m, 15, b, b < 15 ? rest / 15 : rest - rest / 15 * 14);
	w->aux[0] = pick(m, 0, 15, 7);
	note(w->aux[0], 0);
	T_MUST((m->shards[0].geometry & FMT_BUCKETS_MASK) == 16);
}

static int put_aux(struct ipcmap *m, uint32_t i)
{
	return store(m, w->aux[i], 40, 1, 0);
}

static void split_plain(struct ipcmap *m)
{
	before_split(m, 5, 5);
}

static void split_chain(struct ipcmap *m)
{
	before_split(m, 6, 9);
}

static void split_image(struct ipcmap *m)
{
	before_split(m, 9, 15);
}

SCENARIO(split, "split", split_plain, put_aux, 1, .least = 20)
SCENARIO(split_chain, "split with a chain, compacted", split_chain, put_aux, 1, .least = 40)
SCENARIO(split_image, "split into a chain", split_image, put_aux, 1, .least = 60)

static void full_bucket(struct ipcmap *m)
{
	put_in_bucket(m, 15, 3, 11);
	w->aux[0] = pick(m, 0, 15, 3);
	note(w->aux[0], 0);
}

static void full_chain(struct ipcmap *m)
{
	put_in_bucket(m, 15, 4, 12);
	put_in_bucket(m, 15, 3, 22);
	w->aux[0] = pick(m, 0, 15, 3);
	note(w->aux[0], 0);
}

SCENARIO(overflow, "put, first overflow bucket", full_bucket, put_aux, 1, .least = 30)
SCENARIO(overflow_more, "put, one more overflow bucket", full_chain, put_aux, 1, .least = 15)

/* The hot head has less room than the next entry needs. */
static void full_head(struct ipcmap *m)
{
	put_many(m, 2, 11, 1200);
	note(1, 0);
}

static int put_1_half(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return store(m, 1, 1900, 9, 0);
}

SCENARIO(head, "put, next head", full_head, put_1_half, 1, .least = 20)

/* 64 buckets fill the first index extent; 512 keys of 8 each call for the 65th. */
static void full_index(struct ipcmap *m)
{
	put_many(m, 10, 512, 40);
	for (uint32_t i = 0; i < 4; i++) {
		w->aux[i] = 2000 + i;
		note(w->aux[i], (int)i);
	}
}

SCENARIO(index, "put, next index extent", full_index, put_aux, 4, .least = 60)

/* ---- cleaning ---- */

/* Live data of about half the map, the rest garbage: every write cleans. */
static void half_garbage(struct ipcmap *m)
{
	uint64_t x = 88172645463325252u;

	put_many(m, 1, 580, 900);
	for (uint32_t i = 0; i < 1500; i++)
		put(m, 1 + (uint32_t)(load_random(&x) % 580), 900, 2 + i);
	for (uint32_t i = 1; i <= 30; i++)
		note(i, (int)i - 1);
}

static int put_ith(struct ipcmap *m, uint32_t i)
{
	return store(m, i + 1, 1000, 1, 0);
}

SCENARIO(cleaning, "puts that clean and move", half_garbage, put_ith, 30, .least = 400)

static void half_expired(struct ipcmap *m)
{
	for (uint32_t i = 1; i <= 300; i++) {
		note(i, -1);
		T_MUST(store(m, i, 900, 1, i % 4 ? 1 : 0) == 0);
		if (i % 30 == 7)
			T_MUST(store(m, i, 5000, 1, 1) == 0);
	}
	t_sleep_ms(60);
	for (uint32_t i = 400; i < 900; i++)
		T_MUST(store(m, 1 + i % 2 * 3, 1500, i, 0) == 0);
	for (uint32_t i = 1; i <= 40; i++)
		note(i, (int)i - 1);
}

SCENARIO(dropping, "puts that meet the expired", half_expired, put_ith, 40, .least = 400)

/* Nearly full of live data, in two shards: room comes from wherever it can. */
static void full_of_shard_0(struct ipcmap *m)
{
	uint32_t ids[800], n = 0, id = 0;
	int r = 0;

	for (; n < 800 && !r; n++) {
		ids[n] = pick(m, 0, 0, 0);
		r = store(m, ids[n], 1200, 1, 0);
		if (!r)
			note(ids[n], -1);
	}
	T_MUST(r == IPCMAP_LIMIT);
	for (uint32_t i = 0; i + 1 < n; i++)
		if (i % 3)
			T_MUST(del(m, ids[i]) == 0);
	/* shard 1 takes what is free; from here on it needs what shard 0 hoards */
	while (!im_space_short(m->seg)) {
		id = pick(m, 1, 0, 0);
		put(m, id, 1900, 1);
	}
	for (uint32_t i = 0; i < 4; i++)
		w->aux[i] = pick(m, 1, 0, 0);
	for (uint32_t i = 0; i < 24; i++) {
		id = pick(m, 1, 0, 0);
		note(id, (int)i);
		w->aux[0] = i ? w->aux[0] : id;
	}
}

static int put_in_shard_1(struct ipcmap *m, uint32_t i)
{
	for (uint32_t k = 0; k < w->n; k++)
		if (w->step[k] == (int)i)
			return store(m, w->id[k], 1900, 1, 0);
	return 1;
}

SCENARIO(foreign, "puts that clean another shard", full_of_shard_0, put_in_shard_1, 24,
	 .shards = 2, .least = 600)

static int put_large_at_limit(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return store(m, 1, 40000, 1, 0);
}

static void large_at_limit(struct ipcmap *m)
{
	full_of_shard_0(m);
	for (uint32_t k = 0; k < w->n; k++)
		w->step[k] = -1;
	note(1, 0);
}

SCENARIO(large_room, "put, large value at the limit", large_at_limit, put_large_at_limit, 1,
	 .shards = 2, .least = 300)

/* A map nearly full of live data: deletes always work, also the one that frees an extent. */
static void full_live(struct ipcmap *m)
{
	int r = 0;

	for (uint32_t i = 1; i < 1500 && !r; i++) {
		r = store(m, i, 700, 1, 0);
		if (!r)
			note(i, i <= 10 ? (int)i - 1 : -1);
	}
	T_MUST(r == IPCMAP_LIMIT);
}

static int del_ith(struct ipcmap *m, uint32_t i)
{
	return del(m, i + 1);
}

SCENARIO(full_del, "deletes in a full map", full_live, del_ith, 10, .least = 60)

/* ---- other calls ---- */

static int add_to_1(struct ipcmap *m, uint32_t i)
{
	unsigned char key[20];
	int64_t now;

	(void)i;
	return ipcmap_add(m, key, make_key(1, key), 17, NULL, &now);
}

static void counter_under_many(struct ipcmap *m)
{
	put_many(m, 2, 8, 1000);
	note(1, 0);
	T_MUST(add_to_1(m, 0) == 0);
}

SCENARIO(add, "add", counter_under_many, add_to_1, 1, .least = 9)
SCENARIO(add_new, "add, new counter", twenty, add_to_1, 1, .least = 9)

static int touch_1(struct ipcmap *m, uint32_t i)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	unsigned char key[20];

	(void)i;
	how.ttl_ns = IPCMAP_TTL_NONE;
	return ipcmap_touch(m, key, make_key(1, key), &how);
}

SCENARIO(touch, "touch", one_under_many, touch_1, 1, .least = 9)
SCENARIO(touch_large, "touch, large value", one_large, touch_1, 1, .least = 9)

static int del_keys_1(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return ipcmap_del_prefix(m, "key-1", 5, NULL);
}

static void thirty_of_1(struct ipcmap *m)
{
	put_many(m, 2, 28, 700);
	for (uint32_t i = 10; i < 20; i++)
		note(i, 0);
}

SCENARIO(del_prefix, "delete by prefix", thirty_of_1, del_keys_1, 1, .least = 90, .loose = true)

/* Time flies, so that compaction need not rest. */
static uint64_t leap(void)
{
	static uint64_t now;

	now += 700000000;
	return im_os_real.now() + now;
}

static int compact_all(struct ipcmap *m, uint32_t i)
{
	static struct im_os os;
	int r;

	(void)i;
	os = im_os_real;
	os.now = leap;
	im_os = &os;
	r = ipcmap_compact(m, NULL, NULL);
	im_os = &im_os_real;
	return r;
}

/* Many buckets, most of them empty, and extents with little in each. */
static void sparse(struct ipcmap *m)
{
	put_many(m, 1, 900, 400);
	for (uint32_t i = 1; i <= 900; i++)
		if (i % 9)
			T_MUST(del(m, i) == 0);
	put(m, 1000, 9000, 1);
}

SCENARIO(compact, "compact", sparse, compact_all, 1, .least = 300)

/* Buckets 0 and 16 fill a chain when they are merged again. */
static void before_merge(struct ipcmap *m)
{
	put_in_bucket(m, 31, 0, 9);
	put_in_bucket(m, 31, 16, 9);
	put_in_bucket(m, 15, 5, 8);
	for (uint32_t i = 0; i < 200; i++)
		T_MUST(store(m, 5000 + i, 40, 1, 0) == 0);
	for (uint32_t i = 0; i < 200; i++)
		T_MUST(del(m, 5000 + i) == 0);
}

SCENARIO(merge, "compact, buckets merged into chains", before_merge, compact_all, 1,
	 .least = 60)

/* ---- snapshots ---- */

static int publish(struct ipcmap *m, uint32_t seq, uint32_t n, uint32_t len)
{
	static unsigned char val[3000];
	static char key[64][16];
	struct ipcmap_pair pairs[64];

	memset(val, (int)seq, sizeof(val));
	for (uint32_t i = 0; i < n; i++)
		pairs[i] = (struct ipcmap_pair){key[i], (size_t)sprintf(key[i], "s-%u", i), val,
						len};
	return ipcmap_snapshot_publish(m, "table", pairs, n, NULL, NULL, 0);
}

static void no_snapshot(struct ipcmap *m)
{
	put_many(m, 2, 8, 500);
	note(SNAPSHOT_ID, 0);
}

static void one_snapshot(struct ipcmap *m)
{
	no_snapshot(m);
	T_MUST(publish(m, 1, 9, 100) == 0);
}

/* As many as are kept: the next one drops the oldest. */
static void many_snapshots(struct ipcmap *m)
{
	no_snapshot(m);
	for (uint32_t i = 1; i < 12; i++)
		T_MUST(publish(m, i, 9, 1000) == 0);
}

static int publish_next(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return publish(m, 77, 20, 700);
}

static int roll_back(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return ipcmap_snapshot_rollback(m, "table", 0, NULL);
}

static int drop(struct ipcmap *m, uint32_t i)
{
	(void)i;
	return ipcmap_snapshot_drop(m, "table");
}

/* Held, replaced until it is not kept any more, let go. */
static int hold_and_replace(struct ipcmap *m, uint32_t i)
{
	static struct ipcmap_snapshot *snap;
	int r = 0;

	if (i == 0)
		return ipcmap_snapshot_open(m, "table", 0, &snap);
	for (uint32_t k = 0; i == 1 && k < 10 && !r; k++)
		r = publish(m, 1, 9, 100);
	if (i == 2)
		ipcmap_snapshot_close(snap);
	return i < 3 ? r : publish(m, 2, 9, 100);
}

static void held_snapshot(struct ipcmap *m)
{
	one_snapshot(m);
	note(SNAPSHOT_ID, 3);
}

SCENARIO(publish, "snapshot, first version", no_snapshot, publish_next, 1, .least = 40)
SCENARIO(publish_next, "snapshot, next version", one_snapshot, publish_next, 1, .least = 40)
SCENARIO(publish_drop, "snapshot, one more than are kept", many_snapshots, publish_next, 1,
	 .least = 40)
SCENARIO(roll_back, "snapshot, rollback", many_snapshots, roll_back, 1, .least = 40)
SCENARIO(drop, "snapshot, drop", many_snapshots, drop, 1, .least = 20)
SCENARIO(hold, "snapshot, held and let go", held_snapshot, hold_and_replace, 4, .least = 100)

/* ---- below the keys ---- */

static int apply_limit(uint64_t limit)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	int r;

	o.flags = IPCMAP_CREATE | IPCMAP_APPLY;
	o.limit = limit;
	o.max = 2u << 20;
	step_in();
	r = step_out(ipcmap_open(name, &o, &m));
	if (!r)
		ipcmap_close(m);
	return r;
}

static int raise_limit(struct ipcmap *m, uint32_t i)
{
	(void)m;
	return apply_limit(i ? 1u << 20 : 2u << 20);
}

SCENARIO(limit, "limit raised, then lowered", twenty, raise_limit, 2, .max = 2u << 20,
	 .least = 6)

/* A process dies with two extents in hand, one of them a chain. */
static int die_with_extents(void *arg)
{
	struct ipcmap *m;
	struct im_wait wait;
	uint32_t a, b;
	uint64_t word;

	(void)arg;
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	im_wait_start(m->seg, 1000000000, &wait);
	T_MUST(im_space_take(m->seg, FMT_NO_EXTENT, &wait, &a, &word) == 0);
	T_MUST(im_space_take(m->seg, FMT_NO_EXTENT, &wait, &a, &word) == 0);
	T_MUST(im_space_take(m->seg, a, &wait, &b, &word) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

static void death_in_slot_2(struct ipcmap *m)
{
	put_many(m, 2, 8, 500);
	T_MUST(t_killed(t_run(die_with_extents, NULL)));
}

/* This process dies in slot 1, but for its attach; so the next claims that slot. */
static void death_in_slot_1(struct ipcmap *m)
{
	struct im_wait wait;
	uint32_t a, b;
	uint64_t word;

	put_many(m, 2, 8, 500);
	for (uint32_t i = 0; i < w->n; i++)
		w->before[i] = look(m, w->id[i]);
	im_wait_start(m->seg, 1000000000, &wait);
	T_MUST(im_space_take(m->seg, FMT_NO_EXTENT, &wait, &a, &word) == 0);
	T_MUST(im_space_take(m->seg, a, &wait, &b, &word) == 0);
	_exit(0);
}

static int sweep(struct ipcmap *m, uint32_t i)
{
	(void)i;
	step_in();
	im_owner_sweep(m->seg);
	step_out(0);
	return 0;
}

static int do_nothing(struct ipcmap *m, uint32_t i)
{
	(void)m;
	(void)i;
	return 0;
}

SCENARIO(sweep, "sweep of a dead owner's extents", death_in_slot_2, sweep, 1, .least = 15)
SCENARIO(claim, "claim of a dead owner's slot", death_in_slot_1, do_nothing, 1, .least = 12,
	 .opening = true)

/* ---- creation ---- */

#if HAVE_POINTS
static int child_create(void *arg)
{
	struct ipcmap *m;

	watch_points(*(uint32_t *)arg);
	return load_open(name, IPCMAP_CREATE, 1u << 20, 1, &m);
}

/* An attach says that its creator died, or finds it whole; a creator completes it. */
static int child_after_creator(void *arg)
{
	struct ipcmap *m;
	int r = ipcmap_open(name, NULL, &m);

	(void)arg;
	T_MUST(r == 0 || r == IPCMAP_NOTMAP || r == IPCMAP_CREATING || r == IPCMAP_NOTFOUND);
	if (r == 0)
		ipcmap_close(m);
	T_MUST(load_open(name, IPCMAP_CREATE, 1u << 20, 1, &m) == 0);
	write_on(m);
	T_MUST(ipcmap_check(m, load_print, "created: ") == 0);
	ipcmap_close(m);
	return 0;
}

static void points__create(void)
{
	static const struct scenario s = {.name = "create"};
	uint32_t points;

	sc = &s;
	path = T_PATH;
	name = path + strlen("/dev/shm");
	CU_ASSERT(run(child_create, 0));
	points = w->points;
	for (uint32_t k = 1; k <= points; k++) {
		unlink(path);
		CU_ASSERT(t_killed(t_run(child_create, &k)));
		CU_ASSERT(run(child_after_creator, 0));
	}
	unlink(path);
	all_points += points;
	all_states += points;
	printf("\n    %-44s %5u points, %4u tried ", "create", points, points);
	CU_ASSERT(points >= 8);
}

/* Those of snapshots are passed in t-snapshot-points.c. */
static bool elsewhere(const char *point)
{
	static const char *const subject[] = {"snapshot.", "pin.", "keep.", "view."};

	for (unsigned i = 0; i < 4; i++)
		if (strncmp(point, subject[i], strlen(subject[i])) == 0)
			return true;
	return false;
}

/* Is every crash("name") of the sources among the points that were passed? */
static uint32_t count_unvisited(const char *file)
{
	FILE *f = fopen(file, "r");
	char line[300], *at;
	uint32_t n = 0, i;

	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "crash(\"");
		if (!at || strncmp(at, "crash(\"read.", 12) == 0)
			continue;
		at += 7;
		if (elsewhere(at))
			continue;
		at[strcspn(at, "\"")] = '\0';
		for (i = 0; i < names->n; i++)
			if (strcmp(names->name[i], at) == 0)
				break;
		if (i == names->n) {
			fprintf(stderr, "\n%s: crash point %s was never passed", file, at);
			n++;
		}
	}
	if (f)
		fclose(f);
	return n;
}
#endif

static void points__were_all_visited(void)
{
#if HAVE_POINTS
	glob_t g;
	uint32_t n = 0;

	if (glob("core/*.c", 0, NULL, &g) || glob("shm/*.c", GLOB_APPEND, NULL, &g)) {
		t_skip("the sources are not here");
		return;
	}
	for (size_t i = 0; i < g.gl_pathc; i++)
		n += count_unvisited(g.gl_pathv[i]);
	globfree(&g);
	CU_ASSERT(n == 0);
	printf("\n    %u names, %u points, %u kills, %u kills of successors ", names->n,
	       all_points, all_states, all_nested);
#else
	(void)all_nested;
	printf("\n    %u states between instructions, %u looked at ", all_points, all_states);
#endif
}

static CU_TestInfo tests[] = {
	{"killed in the first put", points__first},
	{"killed in a put", points__fresh},
	{"killed in an update", points__update},
	{"killed in an update in the same extent", points__in_place},
	{"killed in a large put", points__large},
	{"killed in an update of large by large", points__large_large},
	{"killed in an update of large by small", points__small_large},
	{"killed in an update of small by large", points__large_small},
	{"killed in a delete of a large value", points__del_large},
	{"killed in a put of a far key", points__far},
	{"killed in an update of a far key", points__far_over},
	{"killed in a delete of a far key", points__far_del},
	{"killed in a conditional put", points__conditional},
	{"killed in a put on an expired slot", points__expired},
	{"killed in a take", points__take},
	{"killed in a take of a large value", points__take_large},
	{"killed in a delete", points__del},
	{"killed in a delete that releases an extent", points__del_last},
	{"killed in a clear", points__clear},
	{"killed in reclaiming after a clear", points__clear_put},
	{"killed in a split", points__split},
	{"killed in a split with a chain", points__split_chain},
	{"killed in a split into a chain", points__split_image},
	{"killed in growing a chain", points__overflow},
	{"killed in growing a longer chain", points__overflow_more},
	{"killed in a change of heads", points__head},
	{"killed in growing the index", points__index},
	{"killed in cleaning", points__cleaning},
	{"killed in dropping the expired", points__dropping},
	{"killed in cleaning another shard", points__foreign},
	{"killed in making room for a large value", points__large_room},
	{"killed in deletes of a full map", points__full_del},
	{"killed in an add", points__add},
	{"killed in an add of a new counter", points__add_new},
	{"killed in a touch", points__touch},
	{"killed in a touch of a large value", points__touch_large},
	{"killed in a delete by prefix", points__del_prefix},
	{"killed in a compaction of buckets", points__merge},
	{"killed in a first publication", points__publish},
	{"killed in a publication", points__publish_next},
	{"killed in a publication that drops a version", points__publish_drop},
	{"killed in a rollback", points__roll_back},
	{"killed in a drop of a table", points__drop},
	{"killed while a version is held", points__hold},
	{"killed in a change of the limit", points__limit},
	{"killed in a compaction", points__compact},
	{"killed in a sweep", points__sweep},
	{"killed in a claim", points__claim},
#if HAVE_POINTS
	{"killed in a creation", points__create},
#endif
	{"every crash point was visited", points__were_all_visited},
	CU_TEST_INFO_NULL,
};

T_SUITE("crash points", tests)
