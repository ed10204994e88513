/* SPDX-License-Identifier: MIT */
/*
 * t-stepped.c - a reader is stopped between any two instructions of a call, and while it
 * stands there its memory is released, reused and punched out, its bucket split and merged,
 * its key deleted, renewed and expired
 *
 * The reader is a process of its own, which sits in the handler of a single step (step.h) while
 * this one writes. After it went on it must have read what was right at some moment of the
 * call, within a bounded number of further instructions. For each stop there is a new map and
 * a new reader, so none depends on another.
 *
 * In the usual run each pair of a reading and a writing has a few stops; `make stops` tries
 * every instruction.
 */
#include "named.h"
#include "step.h"

#include "os.h"

#include <poll.h>
#include <sys/mman.h>

#define SAMPLES 2u
#define DAY_NS UINT64_C(86400000000000)
#define LIFE_NS UINT64_C(10000000000)
/* A call that is stopped once may begin anew, and look more carefully; 16 times at most. */
#define LONGER 20u
#define LONGER_BY 20000u
#define LONGER_FEW 20u /* times that, for a walk over keys, which become more */
#define MEASURED 8u    /* every so many stops */

/* What ends a scan. */
#define SHOWN_VALUE 1
#define SHOWN_KEY 2

enum { STOPPED = 's', DONE = 'd' };

struct answer {
	uint32_t what;
	uint32_t got;
	uint64_t n; /* instructions */
};

/* Shared by writer and reader. */
struct shared {
	uint64_t clock_ns;
	uint64_t stop_at; /* instruction; 0: never */
	uint32_t measure; /* count the instructions after it too */
};

static struct shared *sh;
static int to_reader[2], to_writer[2];

/* ---- the clock of both ---- */

static struct im_os os;
static uint64_t leaped;

static uint64_t shared_coarse(void)
{
	return im_load_rlx(&sh->clock_ns);
}

/* Time flies, so that compaction need not rest. */
static uint64_t leap(void)
{
	leaped += 700000000;
	return im_os_real.now() + leaped;
}

static void clock_on(void)
{
	os = im_os_real;
	os.coarse = shared_coarse;
	sh->clock_ns = DAY_NS;
	im_os = &os;
}

static void pass_life(void)
{
	im_store_rlx(&sh->clock_ns, im_load_rlx(&sh->clock_ns) + LIFE_NS + 1);
}

/* ---- what is read: each returns the bits of named.h ---- */

static unsigned char got_buf[CAP];

static int read_key(size_t *ret_len)
{
	return ipcmap_get(m, key, key_len, got_buf, sizeof(got_buf), ret_len);
}

static struct {
	int r;
	unsigned char *p;
	size_t len;
	unsigned seen, wrong;
	struct ipcmap_value v;
	struct ipcmap_mget many[3];
	unsigned char mate[CAP];
} now;

static void call_get(void)
{
	now.r = read_key(&now.len);
}

static void call_getx(void)
{
	now.v.buf = got_buf;
	now.v.cap = sizeof(got_buf);
	now.r = ipcmap_getx(m, key, key_len, &now.v);
	now.len = now.v.len;
}

static void call_alloc(void)
{
	now.r = ipcmap_get_alloc(m, key, key_len, (void **)&now.p, &now.len);
}

static void call_exists(void)
{
	now.r = ipcmap_exists(m, key, key_len);
}

/* Our key between two others. */
static void call_mget(void)
{
	now.many[0] = (struct ipcmap_mget){.key = "mate", .key_len = 4};
	now.many[0].value.buf = now.mate;
	now.many[0].value.cap = sizeof(now.mate);
	now.many[1] = (struct ipcmap_mget){.key = key, .key_len = key_len};
	now.many[1].value.buf = got_buf;
	now.many[1].value.cap = sizeof(got_buf);
	now.many[2] = (struct ipcmap_mget){.key = "absent", .key_len = 6};
	ipcmap_mget(m, now.many, 3);
	now.r = now.many[1].rc;
	now.len = now.many[1].value.len;
}

static bool is_key(const struct ipcmap_item *item)
{
	return item->key_len == key_len && memcmp(item->key, key, key_len) == 0;
}

/* The prefix leaves out what others store. The step that shows the key is the last. */
static int each(void *arg, const struct ipcmap_item *item)
{
	bool vals = arg;

	if (!is_key(item)) {
		now.wrong++;
		return 0;
	}
	now.seen++;
	now.len = item->val_len;
	if (vals && item->val_len <= sizeof(got_buf))
		memcpy(got_buf, item->val, item->val_len);
	return vals ? SHOWN_VALUE : SHOWN_KEY;
}

/* From the key's own point on: bit-reversed hashes, as scan.c has them. */
static uint64_t point_of_key(void)
{
	uint64_t hash = im_hash(m->hash_seed, key, key_len), point = 0;

	for (unsigned i = 0; i < 40; i++)
		point |= (hash >> i & 1) << (39 - i);
	return point;
}

static void scan(unsigned flags, void *arg)
{
	uint64_t cursor = point_of_key();

	now.r = ipcmap_scan(m, &cursor, key, key_len, flags, each, arg);
	if (now.r == SHOWN_VALUE || now.r == SHOWN_KEY)
		now.r = 0;
}

static void call_scan(void)
{
	scan(0, sh);
}

static void call_scan_keys(void)
{
	scan(IPCMAP_SCAN_KEYS, NULL);
}

static unsigned judge_value(void)
{
	return judge(now.r, got_buf, now.len);
}

static unsigned judge_alloc(void)
{
	unsigned got = judge(now.r, now.p, now.len);

	return now.r == 0 && now.p[now.len] != 0 ? WRONG : got;
}

static unsigned judge_exists(void)
{
	return now.r == 1 ? OLD | NEW : now.r == 0 ? NONE : now.r == IPCMAP_BUSY ? BUSY : WRONG;
}

static unsigned judge_mget(void)
{
	uint64_t seq;
	int r = now.many[0].rc;

	if (now.many[2].rc != IPCMAP_NOTFOUND ||
	    !(r == IPCMAP_NOTFOUND ||
	      (r == 0 && load_is(now.mate, now.many[0].value.len, 1, 1, &seq) && seq == 9)))
		return WRONG;
	return judge_value();
}

static unsigned judge_scan(void)
{
	if (now.wrong || now.seen > 1)
		return WRONG;
	return now.r ? judge_value() : now.seen ? judge_value() : NONE;
}

static unsigned judge_scan_keys(void)
{
	if (now.r || now.wrong || now.seen > 1)
		return now.r == IPCMAP_BUSY ? BUSY : WRONG;
	if (!now.seen)
		return NONE;
	return now.len == old_len ? OLD | NEW : now.len < CAP ? NEW : WRONG;
}

struct reading {
	const char *what;
	void (*call)(void);
	unsigned (*judge)(void);
	bool few; /* it walks the map: with few keys in it */
};

static const struct reading readings[] = {
	{"get", call_get, judge_value, false},
	{"getx", call_getx, judge_value, false},
	{"get_alloc", call_alloc, judge_alloc, false},
	{"exists", call_exists, judge_exists, false},
	{"mget", call_mget, judge_mget, false},
	{"scan", call_scan, judge_scan, true},
	{"scan of keys", call_scan_keys, judge_scan_keys, true},
};

/* ---- what is there before ---- */

static uint64_t life; /* of the key's first value */
static unsigned pack; /* values so long are compressed: only that one */

static void put_first(uint32_t len)
{
	if (pack)
		load_compress(m, pack);
	NEED(store(key, key_len, old_len = len, 1, life) == 0);
	if (pack)
		load_compress(m, IPCMAP_COMPRESS_OFF);
}

static void mark(void)
{
	old_ext = im_load32_rlx(&m->shards[0].head[FMT_HOT]);
	old_gen = gen_of(old_ext);
}

/* As crowd(), with one key. */
static void crowd_by_one(void)
{
	const struct fmt_space *space = &m->seg->h->space;
	uint64_t n = im_load32_rlx(&space->limit_n) - im_load32_rlx(&space->used) - 22;
	unsigned char *val = calloc(n, m->seg->extent_len);

	NEED(val && ipcmap_put(m, "crowd-0", 7, val, n * m->seg->extent_len, NULL) == 0);
	free(val);
}

/* In an extent that is otherwise dead, in a map that is nearly full: it moves soon. */
static void put_among_dead(uint32_t len, bool few)
{
	NEED(store("mate", 4, 60, 9, 0) == 0);
	NEED(store("a", 1, 1000, 9, 0) == 0);
	put_first(len);
	mark();
	/* no room for what is stored afterwards, and stays */
	NEED(store("b", 1, 1900, 9, 0) == 0);
	if (few)
		crowd_by_one();
	else
		crowd();
	NEED(ipcmap_del(m, "a", 1) == 0 && ipcmap_del(m, "b", 1) == 0);
}

static void before_small(bool few)
{
	put_among_dead(40, few);
}

static void before_medium(bool few)
{
	put_among_dead(1100, few);
}

static void before_large(bool few)
{
	put_among_dead(9000, few);
}

static void before_packed(bool few)
{
	pack = 64;
	put_among_dead(1200, few);
}

static void before_large_packed(bool few)
{
	pack = 64;
	put_among_dead(10000, few);
}

static void before_mortal(bool few)
{
	life = LIFE_NS;
	put_among_dead(40, few);
}

static void before_large_mortal(bool few)
{
	life = LIFE_NS;
	put_among_dead(9000, few);
}

static void before_chain(bool few)
{
	char other[32];

	(void)few;
	/* as the last of bucket 0, in its overflow bucket */
	for (unsigned i = 0, n = 0; n < 13; i++) {
		size_t len = (size_t)sprintf(other, "zero-%u", i);

		if ((im_hash(m->hash_seed, other, len) & 31) != (n < 10 ? 16 : 0))
			continue;
		if (++n == 13)
			memcpy(key, other, key_len = len);
		else
			NEED(store(other, len, 40, 9, 0) == 0);
	}
	put_first(40);
	old_ext = FMT_NO_EXTENT;
}

static void before_merge(bool few)
{
	char other[32];

	(void)few;
	for (unsigned i = 0; (im_hash(m->hash_seed, key, key_len) & 127) != 64; i++)
		key_len = (size_t)sprintf(key, "second-%u", i);
	put_first(40);
	for (unsigned i = 0; i < 1000; i++)
		NEED(store(other, (size_t)sprintf(other, "fill-%u", i), 40, 9, 0) == 0);
	NEED(m->shards[0].n_index >= 2);
	old_ext = FMT_NO_EXTENT;
}

/* ---- what is written meanwhile ---- */

static void update(void)
{
	put(2, 50);
}

static void update_longer(void)
{
	put(2, 1500);
}

static void update_large(void)
{
	put(2, 7000);
	churn_by(800, 3000);
}

static void reuse(void)
{
	churn();
}

static void reuse_chains(void)
{
	churn_by(600, 3000);
	churn();
}

static void update_and_reuse(void)
{
	put(2, 60);
	churn();
}

static void del_and_put(void)
{
	del();
	put(2, 50);
}

static void del_and_reuse(void)
{
	del();
	churn();
}

static void del_and_reuse_chains(void)
{
	del();
	reuse_chains();
}

static void del_reuse_and_put(void)
{
	del();
	churn();
	put(2, 50);
}

static void clear_and_reuse(void)
{
	clear();
	churn();
}

static bool holds;

/* All that is free has no page behind it afterwards. */
static void punch(void)
{
	struct ipcmap_compact done = {0};

	os.now = leap;
	NEED(ipcmap_compact(m, NULL, &done) == 0);
	os.now = im_os_real.now;
	/* a reader may hold what is there */
	NEED(done.given_back > 0 || holds);
}

static void del_others(const char *format)
{
	char other[32];

	for (unsigned i = 0; i < 1000; i++)
		ipcmap_del(m, other, (size_t)sprintf(other, format, i));
}

static void move_and_punch(void)
{
	del_others("crowd-%u");
	punch();
}

static void update_and_punch(void)
{
	put(2, 60);
	move_and_punch();
}

static void del_and_punch(void)
{
	del();
	move_and_punch();
}

static void expire_and_punch(void)
{
	pass_life();
	move_and_punch();
}

static void expire_and_reuse(void)
{
	pass_life();
	churn();
}

static void expire_and_put(void)
{
	pass_life();
	put(2, 50);
}

static void renew(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;

	how.ttl_ns = 100 * LIFE_NS;
	NEED(ipcmap_touch(m, key, key_len, &how) == 0);
	pass_life();
}

static void renew_and_reuse(void)
{
	renew();
	churn();
}

static void renew_by_put(void)
{
	put(2, 50);
	pass_life();
}

static void split(void)
{
	uint64_t n = m->shards[0].geometry & FMT_BUCKETS_MASK;
	char other[32];

	for (unsigned i = 0; (m->shards[0].geometry & FMT_BUCKETS_MASK) < 4 * n; i++)
		NEED(store(other, (size_t)sprintf(other, "grow-%u", i), 40, 9, 0) == 0);
}

static void merge(void)
{
	uint32_t n = m->shards[0].n_index;

	del_others("fill-%u");
	punch();
	NEED(m->shards[0].n_index < n);
}

static void merge_and_reuse(void)
{
	merge();
	churn();
}

static void merge_and_split(void)
{
	merge();
	split();
}

struct change {
	const char *what;
	void (*before)(bool few);
	void (*meanwhile)(void);
	unsigned right; /* results */
	unsigned then;	/* result of a get after it */
};

static const struct change changes[] = {
	{"update", before_small, update, OLD | NEW, NEW},
	{"longer update", before_small, update_longer, OLD | NEW, NEW},
	{"large value for a small one", before_small, update_large, OLD | NEW, NEW},
	{"delete", before_small, del, OLD | NONE, NONE},
	{"delete and put", before_small, del_and_put, OLD | NONE | NEW, NEW},
	{"reuse", before_small, reuse, OLD, OLD},
	{"update, reuse", before_small, update_and_reuse, OLD | NEW, NEW},
	{"delete, reuse", before_small, del_and_reuse, OLD | NONE, NONE},
	{"delete, reuse, put", before_small, del_reuse_and_put, OLD | NONE | NEW, NEW},
	{"clear, reuse", before_small, clear_and_reuse, OLD | NONE, NONE},
	{"pages given back", before_small, move_and_punch, OLD, OLD},
	{"delete, pages given back", before_small, del_and_punch, OLD | NONE, NONE},
	{"reuse", before_medium, reuse, OLD, OLD},
	{"update, pages given back", before_medium, update_and_punch, OLD | NEW, NEW},
	{"large: reuse of the log", before_large, reuse, OLD, OLD},
	{"large: update, chain reused", before_large, update_large, OLD | NEW, NEW},
	{"large: delete, chain reused", before_large, del_and_reuse_chains, OLD | NONE, NONE},
	{"large: delete, pages given back", before_large, del_and_punch, OLD | NONE, NONE},
	{"compressed: reuse", before_packed, reuse, OLD, OLD},
	{"compressed: update, reuse", before_packed, update_and_reuse, OLD | NEW, NEW},
	{"compressed: delete, pages given back", before_packed, del_and_punch, OLD | NONE,
	 NONE},
	{"large, compressed: delete, reuse", before_large_packed, del_and_reuse_chains,
	 OLD | NONE, NONE},
	{"large, compressed: update, pages given back", before_large_packed, update_and_punch,
	 OLD | NEW, NEW},
	{"mortal: expiry", before_mortal, pass_life, OLD | NONE, NONE},
	{"mortal: expiry, reuse", before_mortal, expire_and_reuse, OLD | NONE, NONE},
	{"mortal: expiry, put", before_mortal, expire_and_put, OLD | NONE | NEW, NEW},
	{"mortal: touch, old life ends", before_mortal, renew, OLD, OLD},
	{"mortal: touch, old life ends, reuse", before_mortal, renew_and_reuse, OLD, OLD},
	{"mortal: put, old life ends", before_mortal, renew_by_put, OLD | NEW, NEW},
	{"mortal, large: touch, old life ends", before_large_mortal, renew, OLD, OLD},
	{"mortal, large: put, old life ends", before_large_mortal, renew_by_put, OLD | NEW,
	 NEW},
	{"mortal, large: expiry, pages given back", before_large_mortal, expire_and_punch,
	 OLD | NONE, NONE},
	{"splits", before_chain, split, OLD, OLD},
	{"merges", before_merge, merge, OLD, OLD},
	{"merges, reuse", before_merge, merge_and_reuse, OLD, OLD},
	{"merges, splits", before_merge, merge_and_split, OLD, OLD},
};

/* ---- snapshots: every value proves itself, and both of a version have the same number ---- */

static void publish(uint64_t seq, uint32_t len)
{
	static unsigned char val[CAP];
	struct ipcmap_pair p[2] = {{"a", 1, val, len}, {"b", 1, val, len}};

	load_make(val, len, 1, 1, seq);
	NEED(ipcmap_snapshot_publish(m, "t", p, 2, NULL, NULL, 0) == 0);
}

static struct ipcmap_snapshot *held;

static unsigned judge_held(struct ipcmap_snapshot *s)
{
	const void *a, *b;
	size_t la, lb;

	if (ipcmap_snapshot_get(s, "a", 1, &a, &la) ||
	    ipcmap_snapshot_get(s, "b", 1, &b, &lb) || la != lb || memcmp(a, b, la) != 0)
		return WRONG;
	return judge(0, a, la);
}

static void call_open(void)
{
	now.r = ipcmap_snapshot_open(m, "t", 0, &held);
	if (now.r)
		return;
	now.seen = judge_held(held);
	ipcmap_snapshot_close(held);
}

static unsigned judge_open(void)
{
	return now.r ? judge(now.r, NULL, 0) : now.seen;
}

/* What is held stays, whatever happens. */
static void call_lookup(void)
{
	now.seen = judge_held(held);
}

static unsigned judge_lookup(void)
{
	return now.seen;
}

static int each_version(void *arg, const struct ipcmap_snapshot_info *v)
{
	(void)arg;
	now.seen++;
	if (v->version == 0 || v->version > 12 || v->len == 0 || v->len > CAP || v->keys != 2 ||
	    (strcmp(v->table, "t") != 0 && strcmp(v->table, "u") != 0))
		now.wrong++;
	return 0;
}

static void call_list(void)
{
	now.r = ipcmap_snapshot_list(m, each_version, NULL);
}

static unsigned judge_list(void)
{
	return now.r || now.wrong || now.seen > 20 ? WRONG : OLD | NEW | NONE;
}

static const struct reading snapshot_readings[] = {
	{"opening a version", call_open, judge_open, false},
	{"opening a version, read-only", call_open, judge_open, false},
	{"looking up in a version", call_lookup, judge_lookup, false},
	{"listing versions", call_list, judge_list, false},
};

static void before_version(bool few)
{
	(void)few;
	publish(1, old_len = 2500);
}

static void republish(void)
{
	publish(2, 2500);
}

/* The first version goes, and its memory has other bytes. */
static void republish_often(void)
{
	for (unsigned i = 0; i < 9; i++)
		publish(2, 300 + 200 * i);
	churn_by(300, 3000);
}

static void drop(void)
{
	NEED(ipcmap_snapshot_drop(m, "t") == 0);
}

static void drop_and_reuse(void)
{
	static unsigned char val[4000];
	struct ipcmap_pair p[2] = {{"a", 1, val, sizeof(val)}, {"b", 1, val, sizeof(val)}};

	drop();
	for (unsigned i = 0; i < 9; i++)
		NEED(ipcmap_snapshot_publish(m, "u", p, 2, NULL, NULL, 0) == 0);
	churn_by(300, 3000);
}

static void drop_and_republish(void)
{
	drop();
	republish_often();
}

static void drop_and_punch(void)
{
	drop();
	punch();
}

static const struct change snapshot_changes[] = {
	{"publication", before_version, republish, OLD | NEW, NEW},
	{"nine publications, reuse", before_version, republish_often, OLD | NEW, NEW},
	{"drop", before_version, drop, OLD | NONE, NONE},
	{"drop, another table, reuse", before_version, drop_and_reuse, OLD | NONE, NONE},
	{"drop, publications, reuse", before_version, drop_and_republish, OLD | NONE | NEW,
	 NEW},
	{"drop, pages given back", before_version, drop_and_punch, OLD | NONE, NONE},
};

/* ---- the reader ---- */

static void tell(uint32_t what, uint32_t got, uint64_t n)
{
	struct answer a = {what, got, n};

	T_MUST(write(to_writer[1], &a, sizeof(a)) == sizeof(a));
}

static void stop_there(uint64_t n)
{
	char c;

	if (n != sh->stop_at)
		return;
	tell(STOPPED, 0, n);
	T_MUST(read(to_reader[0], &c, 1) == 1);
	if (!sh->measure)
		step_each = NULL;
}

static int be_reader(void *arg)
{
	const struct reading *r = arg;
	uint64_t n;

	if (strstr(r->what, "read-only"))
		T_MUST(load_open(name, IPCMAP_RDONLY, 0, 0, &m) == 0);
	if (r->call == call_lookup)
		T_MUST(ipcmap_snapshot_open(m, "t", 0, &held) == 0);
	/* the first calls of a thread claim a slot, a line, a scratch area */
	r->call();
	T_MUST(r->judge() & (OLD | BUSY));
	if (r->call == call_alloc)
		free(now.p);
	memset(&now, 0, sizeof(now));
	memset(got_buf, 0, sizeof(got_buf));
	step_begin(stop_there);
	r->call();
	n = step_end();
	tell(DONE, r->judge(), n);
	return 0;
}

/* ---- the writer ---- */

static struct {
	uint64_t stops, all, worst, pairs;
} count;

static bool hear(struct answer *ret)
{
	struct pollfd p = {.fd = to_writer[0], .events = POLLIN};

	return poll(&p, 1, T_LIMIT_MS) == 1 &&
	       read(to_writer[0], ret, sizeof(*ret)) == sizeof(*ret);
}

static pid_t start_reader(int (*fn)(void *arg), const void *arg)
{
	pid_t pid;

	T_MUST(pipe(to_reader) == 0 && pipe(to_writer) == 0);
	pid = t_fork();
	if (pid == 0) {
		close(to_writer[0]);
		close(to_reader[1]);
		_exit(fn((void *)(uintptr_t)arg));
	}
	close(to_writer[1]);
	close(to_reader[0]);
	return pid;
}

static void end_reader(pid_t pid)
{
	close(to_writer[0]);
	close(to_reader[1]);
	CU_ASSERT(t_ok(pid));
}

/*
 * One reader, stopped at instruction @at (0: nowhere), where @meanwhile happens. How many
 * instructions the call had; *@ret_got: what it read; false: it did not come that far.
 */
static bool read_stopped(int (*fn)(void *arg), const void *arg, uint64_t at, void (*then)(void),
			 uint64_t *ret_n, unsigned *ret_got)
{
	struct answer a = {0};
	bool stopped = false;
	pid_t pid;

	sh->stop_at = at;
	sh->measure = count.stops % MEASURED == 0;
	pid = start_reader(fn, arg);
	if (hear(&a) && a.what == STOPPED) {
		stopped = true;
		then();
		CU_ASSERT(write(to_reader[1], "x", 1) == 1);
		a = (struct answer){0};
		if (!hear(&a))
			a.what = 0;
	}
	CU_ASSERT(a.what == DONE);
	*ret_n = a.n;
	*ret_got = a.what == DONE ? a.got : WRONG;
	end_reader(pid);
	return stopped;
}

static uint64_t most(const struct reading *r, uint64_t n)
{
	return LONGER * n + LONGER_BY * (r->few ? LONGER_FEW : 1);
}

static unsigned look(const struct change *c)
{
	size_t len = 0;
	int r;

	if (c->before == before_version) {
		memset(&now, 0, sizeof(now));
		call_open();
		return judge_open();
	}
	r = read_key(&len);
	return judge(r, got_buf, len);
}

static unsigned right_of(const struct reading *r, const struct change *c)
{
	return r->call == call_lookup ? OLD : c->right;
}

/* False: the call ends before instruction @at. */
static bool try_at(const struct reading *r, const struct change *c, uint64_t at,
		   uint64_t *ret_n)
{
	unsigned got, then;
	bool stopped;
	uint64_t n;

	doing = c->what;
	life = 0;
	pack = 0;
	holds = c->before == before_version;
	open_map();
	c->before(r->few);
	stopped = read_stopped(be_reader, r, at, c->meanwhile, &n, &got);
	then = look(c);
	if (at == 0 || !stopped) {
		CU_ASSERT(got & OLD);
		*ret_n = n;
	} else {
		if (!(got & right_of(r, c)) || then != c->then || n > most(r, *ret_n))
			fprintf(stderr,
				"\n%s, %s, stopped at %llu of %llu: read %u, right is %u; "
				"then %u, right is %u; %llu instructions",
				r->what, c->what, (unsigned long long)at,
				(unsigned long long)*ret_n, got, right_of(r, c), then, c->then,
				(unsigned long long)n);
		CU_ASSERT((got & right_of(r, c)) != 0 && then == c->then);
		CU_ASSERT(n <= most(r, *ret_n));
		count.stops++;
		if (n > *ret_n && n - *ret_n > count.worst)
			count.worst = n - *ret_n;
	}
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	close_map();
	return stopped;
}

/* The usual run tries some of all. */
static bool is_tried(const struct reading *r, const struct change *c, uint64_t *x)
{
	if (step_all())
		return true;
	/* a thousand keys to walk over */
	if (r->few && c->before == before_merge)
		return false;
	return load_random(x) % 8 == 0;
}

static void try_pair(const struct reading *r, const struct change *c, uint64_t *x)
{
	unsigned first, stride = step_stride(&first);
	uint64_t n = 0;

	try_at(r, c, 0, &n);
	count.pairs++;
	count.all += n;
	if (stride) {
		for (uint64_t at = first; try_at(r, c, at, &n); at += stride)
			;
		return;
	}
	for (unsigned i = 0; i < SAMPLES && n; i++)
		try_at(r, c, 1 + load_random(x) % n, &n);
}

static bool can_step(void)
{
	step_begin(NULL);
	step_end();
	return HAVE_STEPS;
}

struct set {
	const struct reading *readings;
	unsigned n_readings;
	const struct change *changes;
	unsigned n_changes;
};

static void try_all(const char *segment, const struct set *s)
{
	uint64_t x = (uint64_t)getpid() * 2654435761u + t_now_ms();

	if (!can_step()) {
		t_skip("no single steps here");
		return;
	}
	name = segment;
	parent = getpid();
	sh = t_shared(sizeof(*sh));
	clock_on();
	memset(&count, 0, sizeof(count));
	printf("(seed %llu) ", (unsigned long long)x);
	for (unsigned i = 0; i < s->n_readings; i++)
		for (unsigned k = 0; k < s->n_changes; k++)
			if (is_tried(&s->readings[i], &s->changes[k], &x))
				try_pair(&s->readings[i], &s->changes[k], &x);
	im_os = &im_os_real;
	t_shared_free(sh, sizeof(*sh));
	doing = NULL;
	printf("(%llu stops in %llu pairs of %llu instructions, at most %llu more) ",
	       (unsigned long long)count.stops, (unsigned long long)count.pairs,
	       (unsigned long long)(count.all / (count.pairs ? count.pairs : 1)),
	       (unsigned long long)count.worst);
	CU_ASSERT(count.pairs == 0 || count.stops > 0);
}

static void read_all(const char *segment, unsigned first, unsigned n)
{
	struct set s = {readings + first, n, changes, ARRAY_LEN(changes)};

	try_all(segment, &s);
}

static void stepped__get(void)
{
	read_all(T_NAME, 0, 1);
}

static void stepped__getx(void)
{
	read_all(T_NAME, 1, 1);
}

static void stepped__get_alloc(void)
{
	read_all(T_NAME, 2, 1);
}

static void stepped__exists(void)
{
	read_all(T_NAME, 3, 1);
}

static void stepped__mget(void)
{
	read_all(T_NAME, 4, 1);
}

static void stepped__scan(void)
{
	read_all(T_NAME, 5, 2);
}

static void stepped__snapshot(void)
{
	struct set s = {snapshot_readings, ARRAY_LEN(snapshot_readings), snapshot_changes,
			ARRAY_LEN(snapshot_changes)};

	try_all(T_NAME, &s);
}

static CU_TestInfo tests[] = {
	{"a get stopped at any instruction is right", stepped__get},
	{"a getx stopped at any instruction is right", stepped__getx},
	{"a get_alloc stopped at any instruction is right", stepped__get_alloc},
	{"an exists stopped at any instruction is right", stepped__exists},
	{"an mget stopped at any instruction is right", stepped__mget},
	{"a scan stopped at any instruction is right", stepped__scan},
	{"a reader of snapshots stopped at any instruction is right", stepped__snapshot},
	CU_TEST_INFO_NULL,
};

T_SUITE("stepped", tests)
