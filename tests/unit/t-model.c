/* SPDX-License-Identifier: MIT */
/*
 * t-model.c - random operations against a map in plain memory
 *
 * Whatever the map answers must be what the model answers, but for two liberties: LIMIT,
 * after which nothing may have changed, and entries(), which may count expired keys.
 * IPCMAP_TEST_SEED=N replays a run.
 */
#include "kit.h"

/* What the model knows of a key. */
struct known {
	uint64_t version;
	uint64_t expiry; /* UINT64_MAX: never */
	uint64_t seed;   /* of the value's bytes */
	uint32_t len;
	uint8_t type;
	bool stored; /* maybe expired */
	unsigned shown; /* by this scan */
};

struct shape {
	uint64_t mib;
	unsigned shards;
	uint32_t n_keys;
	uint32_t len_max;
	unsigned ops;
	unsigned big;	 /* more values of up to len_max, in thousandths */
	unsigned tick_ms; /* the clock goes on by up to this at a time; 0: nothing expires */
};

struct run {
	const struct shape *g;
	struct ipcmap *m;
	struct known *keys;
	uint32_t n_keys;
	uint64_t state; /* random */
	uint64_t ttl;   /* the map's default */
	uint32_t len_max;
	unsigned n_limit;
	unsigned scan; /* number of the one under way */
	uint64_t n_shown;
	unsigned op;
	bool failed;
	unsigned char *val, *buf, *want, *key;
};

#define VAL_CAP (3u << 20)

static void fault(struct run *r, const char *what, uint32_t k, int got, int want)
{
	if (!r->failed)
		fprintf(stderr, "\n  operation %u, key %u: %s: %d, the model says %d\n", r->op, k,
			what, got, want);
	r->failed = true;
}

#define WANT(cond, what, got, want)                                                            \
	do {                                                                                   \
		if (!(cond))                                                                   \
			fault(r, what, k, (int)(got), (int)(want));                            \
	} while (0)

/* Keys of all lengths, most of them short; the number makes each its own. */
static size_t key_of(struct run *r, uint32_t k)
{
	static const uint32_t lens[] = {4,  5,	6,  7,	8,   9,	  10,	12,   15,   16,	  17,
					20, 24, 31, 32, 33,  63,  64,	65,   66,   100,  200,
					8,  12, 16, 20, 24,  10,  11,	13,   300,  1000};
	size_t len = lens[k % ARRAY_LEN(lens)];

	if (k % 401 == 400)
		len = 3000 + k % 5000;
	if (k % 1009 == 1008)
		len = 65535 - k % 100;
	memset(r->key, 'a' + (int)(k % 26), len);
	memcpy(k & 1 ? r->key : r->key + len - 4, &k, 4);
	return len;
}

static uint32_t some_len(struct run *r)
{
	uint64_t x = kit_below(&r->state, 1000);

	if (x < 50)
		return 0;
	if (x < 900 - r->g->big)
		return (uint32_t)kit_below(&r->state, 200);
	if (x < 985 - r->g->big)
		return (uint32_t)kit_below(&r->state, min_u64(r->m->seg->extent_len, r->len_max));
	return (uint32_t)kit_below(&r->state, r->len_max);
}

static bool alive(const struct known *n)
{
	return n->stored && n->expiry > kit_time;
}

static bool shows(struct run *r, const struct known *n, const struct ipcmap_value *v)
{
	if (v->len != n->len || v->version != n->version || v->type != n->type ||
	    v->ttl_left_ns != (n->expiry == UINT64_MAX ? IPCMAP_TTL_NONE : n->expiry - kit_time))
		return false;
	kit_bytes(r->want, n->len, n->seed);
	return memcmp(v->buf, r->want, n->len) == 0;
}

static void do_get(struct run *r, uint32_t k)
{
	struct known *n = &r->keys[k];
	size_t len = key_of(r, k), got = 77;
	struct ipcmap_value v = {.buf = r->buf, .cap = VAL_CAP};
	void *p = NULL;
	int rc;

	rc = ipcmap_getx(r->m, r->key, len, &v);
	WANT(rc == (alive(n) ? 0 : IPCMAP_NOTFOUND), "getx", rc, alive(n));
	if (rc == 0)
		WANT(shows(r, n, &v), "the value", v.len, n->len);
	rc = ipcmap_exists(r->m, r->key, len);
	WANT(rc == alive(n), "exists", rc, alive(n));
	rc = ipcmap_get(r->m, r->key, len, r->buf, n->len ? n->len - 1 : 0, &got);
	if (alive(n))
		WANT(rc == (n->len ? IPCMAP_SHORT : 0) && got == n->len, "short get", rc, n->len);
	rc = ipcmap_get_alloc(r->m, r->key, len, &p, &got);
	WANT(rc == (alive(n) ? 0 : IPCMAP_NOTFOUND), "get_alloc", rc, alive(n));
	if (rc == 0) {
		kit_bytes(r->want, n->len, n->seed);
		WANT(got == n->len && memcmp(p, r->want, got) == 0, "get_alloc", got, n->len);
		free(p);
	}
}

/* What a put or delete under @how must answer for its conditions. */
static int judged(struct run *r, const struct known *n, const struct ipcmap_put_options *how)
{
	bool is = alive(n);

	if (!(how->flags & ~IPCMAP_IF_ABSENT))
		return how->flags && is ? IPCMAP_EXISTS : 0;
	if (!is)
		return IPCMAP_NOTFOUND;
	if (how->flags & IPCMAP_IF_ABSENT)
		return IPCMAP_EXISTS;
	if (how->flags & IPCMAP_IF_VERSION && how->version != n->version)
		return IPCMAP_MISMATCH;
	if (how->flags & IPCMAP_IF_EQUAL) {
		kit_bytes(r->want, n->len, n->seed);
		if (how->equal_len != n->len || memcmp(how->equal, r->want, n->len) != 0)
			return IPCMAP_MISMATCH;
	}
	return 0;
}

/* Random conditions, right ones half of the time. */
static void some_conditions(struct run *r, const struct known *n, bool absent,
			    unsigned char *equal, struct ipcmap_put_options *how)
{
	*how = (struct ipcmap_put_options)IPCMAP_PUT_INIT;
	if (kit_below(&r->state, 3))
		return;
	how->flags = (unsigned)kit_below(&r->state, 16);
	if (!absent)
		how->flags &= ~IPCMAP_IF_ABSENT;
	how->version = n->version + !kit_below(&r->state, 3);
	how->equal = equal;
	how->equal_len = n->len;
	kit_bytes(equal, n->len, n->seed);
	if (n->len && !kit_below(&r->state, 3))
		equal[kit_below(&r->state, n->len)] ^= 1;
}

static uint64_t life_of(struct run *r, const struct known *n, uint64_t ttl)
{
	if (ttl == IPCMAP_TTL_KEEP && alive(n))
		return n->expiry;
	if (ttl == 0 || ttl == IPCMAP_TTL_KEEP)
		ttl = r->ttl;
	return ttl == IPCMAP_TTL_NONE ? UINT64_MAX : kit_time + (ttl < 20 * KIT_MS ? 20 * KIT_MS : ttl);
}

static void some_life(struct run *r, struct ipcmap_put_options *how)
{
	uint64_t x = kit_below(&r->state, 8);

	if (!r->g->tick_ms || x < 4)
		return;
	if (x == 4)
		how->ttl_ns = IPCMAP_TTL_NONE;
	else if (x == 5)
		how->ttl_ns = IPCMAP_TTL_KEEP;
	else
		how->ttl_ns = 1 + kit_below(&r->state, 20 * KIT_SEC);
}

static void do_put(struct run *r, uint32_t k)
{
	struct known *n = &r->keys[k], new = {0};
	struct ipcmap_value old = {.buf = r->buf, .cap = VAL_CAP, .version = 1};
	struct ipcmap_put_options how;
	bool x = kit_below(&r->state, 2);
	size_t len = key_of(r, k);
	bool shorts;
	int rc, want;

	some_conditions(r, n, true, r->buf + VAL_CAP, &how);
	some_life(r, &how);
	how.type = (uint32_t)kit_below(&r->state, 256);
	new.len = some_len(r);
	new.seed = kit_random(&r->state);
	kit_bytes(r->val, new.len, new.seed);
	want = judged(r, n, &how);
	shorts = x && alive(n) && n->len && !kit_below(&r->state, 8);
	if (shorts)
		old.cap = kit_below(&r->state, n->len);
	if (shorts && want == 0)
		want = IPCMAP_SHORT;
	if (x)
		rc = ipcmap_putx(r->m, r->key, len, r->val, new.len, &how, &old);
	else
		rc = ipcmap_put(r->m, r->key, len, r->val, new.len, &how);
	if (rc == IPCMAP_LIMIT) {
		r->n_limit++;
		do_get(r, k);
		return;
	}
	WANT(rc == want, x ? "putx" : "put", rc, want);
	if (shorts)
		WANT(old.len == n->len, "putx, the need", old.len, n->len);
	else if (x && (rc == 0 || rc == IPCMAP_EXISTS || rc == IPCMAP_MISMATCH))
		WANT(alive(n) ? shows(r, n, &old) : old.len == 0 && old.version == 0,
		     "putx, the old value", old.len, n->len);
	if (rc)
		return;
	new.expiry = life_of(r, n, how.ttl_ns);
	new.type = (uint8_t)how.type;
	new.stored = true;
	old.cap = 0;
	rc = ipcmap_getx(r->m, r->key, len, &old);
	WANT(rc == (new.len ? IPCMAP_SHORT : 0), "getx after put", rc, 0);
	WANT(old.version != n->version, "a new version", old.version, n->version);
	new.version = old.version;
	new.shown = n->shown;
	*n = new;
}

static void do_del(struct run *r, uint32_t k)
{
	struct known *n = &r->keys[k];
	struct ipcmap_put_options how;
	size_t len = key_of(r, k);
	int rc, want;

	some_conditions(r, n, false, r->buf + VAL_CAP, &how);
	want = how.flags ? judged(r, n, &how) : alive(n) ? 0 : IPCMAP_NOTFOUND;
	rc = how.flags ? ipcmap_delx(r->m, r->key, len, &how) : ipcmap_del(r->m, r->key, len);
	WANT(rc == want, "del", rc, want);
	if (rc == 0 || !alive(n))
		n->stored = false;
}

/* The same value and version, another life. */
static void do_touch(struct run *r, uint32_t k)
{
	struct known *n = &r->keys[k];
	struct ipcmap_put_options how;
	size_t len = key_of(r, k);
	int rc, want;

	some_conditions(r, n, false, r->buf + VAL_CAP, &how);
	some_life(r, &how);
	how.flags |= IPCMAP_IF_PRESENT;
	want = judged(r, n, &how);
	rc = ipcmap_touch(r->m, r->key, len, &how);
	if (rc == IPCMAP_LIMIT) {
		r->n_limit++;
		do_get(r, k);
		return;
	}
	WANT(rc == want, "touch", rc, want);
	if (rc == 0) {
		n->expiry = life_of(r, n, how.ttl_ns);
		do_get(r, k);
	}
}

/* Sleep costs nothing here: compaction lets memory rest for a second. */
static uint64_t slept;

static int sleep_fast(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	(void)word;
	(void)val;
	slept += timeout_ns;
	return -ETIMEDOUT;
}

static uint64_t now_with_sleep(void)
{
	return im_os_real.now() + slept;
}

/* It moves each entry a few times at most, however full the map. */
static void do_compact(struct run *r)
{
	uint64_t moved = kit_stat(r->m).cleaned;
	uint32_t k = 0;
	int rc = ipcmap_compact(r->m, NULL, NULL);

	WANT(rc == 0, "compact", rc, 0);
	moved = kit_stat(r->m).cleaned - moved;
	WANT(moved <= 8 * kit_entries(r->m) + 1000, "compact: entries moved", moved,
	     8 * kit_entries(r->m) + 1000);
}

static void do_take(struct run *r, uint32_t k)
{
	struct known *n = &r->keys[k];
	struct ipcmap_value old = {.buf = r->buf, .cap = VAL_CAP};
	size_t len = key_of(r, k);
	int rc, want = alive(n) ? 0 : IPCMAP_NOTFOUND;

	if (alive(n) && n->len && !kit_below(&r->state, 4)) {
		old.cap = n->len - 1;
		want = IPCMAP_SHORT;
	}
	rc = ipcmap_take(r->m, r->key, len, &old);
	WANT(rc == want, "take", rc, want);
	if (rc == 0)
		WANT(shows(r, n, &old), "take, the value", old.len, n->len);
	if (rc == IPCMAP_SHORT)
		WANT(old.len == n->len, "take, the need", old.len, n->len);
	else
		n->stored = false;
}

static void do_clear(struct run *r)
{
	uint32_t k = 0;
	int rc = ipcmap_clear(r->m);

	WANT(rc == 0, "clear", rc, 0);
	for (k = 0; k < r->n_keys; k++)
		r->keys[k].stored = false;
}

static void count(struct run *r, uint64_t *ret_alive, uint64_t *ret_stored)
{
	*ret_alive = *ret_stored = 0;
	for (uint32_t k = 0; k < r->n_keys; k++) {
		*ret_alive += alive(&r->keys[k]);
		*ret_stored += r->keys[k].stored;
	}
}

static void show(struct run *r, uint32_t k, const struct ipcmap_item *item)
{
	struct known *n = &r->keys[k];
	struct ipcmap_value v = {.buf = (void *)(uintptr_t)item->val,
				 .len = item->val_len,
				 .version = item->version,
				 .ttl_left_ns = item->ttl_left_ns,
				 .type = item->type};

	WANT(alive(n), "scan: not there", 1, 0);
	if (alive(n))
		WANT(shows(r, n, &v), "scan: the value", v.len, n->len);
	WANT(n->shown != r->scan, "scan: twice", 1, 0);
	n->shown = r->scan;
	r->n_shown++;
}

static int see(void *arg, const struct ipcmap_item *item)
{
	struct run *r = arg;
	uint32_t k;

	memcpy(&k, item->key, 4);
	if (k >= r->n_keys || key_of(r, k) != item->key_len ||
	    memcmp(r->key, item->key, item->key_len) != 0) {
		memcpy(&k, (const char *)item->key + item->key_len - 4, 4);
		if (k >= r->n_keys || key_of(r, k) != item->key_len)
			fault(r, "scan: a key that never was", k, 0, 0);
	}
	if (r->failed)
		return 1;
	show(r, k, item);
	return r->failed;
}

/* Everything at once: check, entries, every key, a scan. */
static void compare(struct run *r)
{
	uint64_t n_alive, n_stored, n = 0, cursor = 0;
	uint32_t k = 0;
	int rc;

	if (!kit_sound(r->m))
		fault(r, "check", 0, 1, 0);
	count(r, &n_alive, &n_stored);
	ipcmap_entries(r->m, &n);
	WANT(n >= n_alive && n <= n_stored, "entries", n, n_alive);
	for (k = 0; k < r->n_keys && !r->failed; k += r->n_keys > 1000 ? 7 : 1)
		do_get(r, k);
	r->n_shown = 0;
	r->scan++;
	rc = ipcmap_scan(r->m, &cursor, NULL, 0, 0, see, r);
	k = 0;
	WANT(rc == 0 && cursor == 0, "scan", rc, 0);
	WANT(r->n_shown == n_alive, "scan: keys", r->n_shown, n_alive);
}

/* Between as it was made and a quarter more, or less than it holds. */
static void do_tune(struct run *r)
{
	uint64_t made = r->g->mib * KIT_MIB, limit = made + kit_below(&r->state, made / 4);
	uint32_t k = 0;
	int rc;

	if (!kit_below(&r->state, 3))
		limit -= made / 2;
	if (r->g->mib == 1 && limit < made)
		limit = made;
	rc = kit_set_limit(r->m, limit);
	WANT(rc == 0 || (rc == IPCMAP_INVALID && limit < made), "tune", rc, 0);
}

static void do_one(struct run *r)
{
	uint32_t k = (uint32_t)kit_below(&r->state, r->n_keys);
	uint64_t x = kit_below(&r->state, 20000), tick = r->g->tick_ms * KIT_MS;

	if (x < 3000)
		do_get(r, k);
	else if (x < 15000)
		do_put(r, k);
	else if (x < 16000)
		do_touch(r, k);
	else if (x < 18400)
		do_del(r, k);
	else if (x < 19500)
		do_take(r, k);
	else if (x < 19980)
		kit_time += tick ? kit_below(&r->state, tick) : 0;
	else if (x < 19986)
		do_compact(r);
	else if (x < 19996)
		do_tune(r);
	else if (x < 19998)
		kit_time += 20 * tick;
	else
		do_clear(r);
}

static void play(const char *name, const struct shape *g, uint64_t seed)
{
	struct run r = {.g = g,
			.n_keys = g->n_keys,
			.state = seed,
			.ttl = IPCMAP_TTL_NONE,
			.len_max = g->len_max};
	unsigned ops = g->ops / T_AMOUNT(1, 4, 20);

	kit_clock_on();
	kit_os.futex_wait = sleep_fast;
	kit_os.now = now_with_sleep;
	r.m = kit_made(name, g->mib * KIT_MIB, 0, g->shards);
	r.keys = calloc(r.n_keys, sizeof(*r.keys));
	r.val = malloc(VAL_CAP);
	r.buf = malloc(2 * (size_t)VAL_CAP);
	r.want = malloc(VAL_CAP);
	r.key = malloc(70000);
	for (r.op = 0; r.op < ops && !r.failed; r.op++) {
		do_one(&r);
		if (r.op % (ops / 8) == 0)
			compare(&r);
	}
	if (!r.failed)
		compare(&r);
	if (r.failed)
		fprintf(stderr, "  %llu MiB, %u shards, %u keys: IPCMAP_TEST_SEED=%llu\n",
			(unsigned long long)g->mib, r.m->n_shards, r.n_keys,
			(unsigned long long)seed);
	if (getenv("IPCMAP_TEST_VERBOSE"))
		printf("\n  %llu MiB, %u shards: %llu puts, %u LIMIT, %llu moved, %llu expired ",
		       (unsigned long long)g->mib, r.m->n_shards,
		       (unsigned long long)kit_stat(r.m).puts, r.n_limit,
		       (unsigned long long)kit_stat(r.m).cleaned,
		       (unsigned long long)kit_stat(r.m).expired);
	CU_ASSERT(!r.failed);
	kit_gone(r.m);
	kit_clock_off();
	free(r.keys);
	free(r.val);
	free(r.buf);
	free(r.want);
	free(r.key);
}

static void play_all(const char *name, const struct shape *g, unsigned n)
{
	uint64_t seed = kit_seed();

	printf("(seed %llu) ", (unsigned long long)seed);
	fflush(stdout);
	for (unsigned i = 0; i < n; i++)
		play(name, &g[i], seed + (getenv("IPCMAP_TEST_SEED") ? 0 : i));
}

static void model__few_keys(void)
{
	static const struct shape g[] = {
		{1, 1, 30, 5000, 100000, 50, 0},
		{1, 0, 60, 20000, 100000, 10, 500},
		{4, 1, 50, 100000, 60000, 0, 500},
		{16, 0, 100, 300000, 20000, 400, 2000},
		{64, 0, 200, 1 << 20, 10000, 100, 1000},
	};

	play_all(T_NAME, g, ARRAY_LEN(g));
}

static void model__many_keys(void)
{
	static const struct shape g[] = {
		{1, 1, 6000, 300, 200000, 0, 0},
		{1, 0, 6000, 3000, 200000, 0, 1000},
		{8, 1, 60000, 20000, 200000, 0, 5000},
		{8, 0, 60000, 3000, 200000, 300, 500},
		{16, 0, 40000, 20000, 100000, 100, 5000},
		{64, 0, 60000, 100000, 100000, 10, 5000},
		{64, 1, 60000, 1000, 100000, 0, 0},
		{64, 64, 20000, 1000, 60000, 0, 500},
	};

	play_all(T_NAME, g, ARRAY_LEN(g));
}

static CU_TestInfo tests[] = {
	{"random operations over few keys agree with a model", model__few_keys},
	{"random operations over many keys agree with a model", model__many_keys},
	CU_TEST_INFO_NULL,
};
T_SUITE("model", tests)
