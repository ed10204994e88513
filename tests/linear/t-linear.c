/* SPDX-License-Identifier: MIT */
/*
 * t-linear.c - operations of several processes on few keys are linearizable
 *
 * Workers are processes. In a round each makes OPS calls, of all kinds, on the same few keys,
 * and notes each call with its results in memory that it shares with the others. Then all
 * stand still, the keys are read once more, and for each key an order of its calls is looked
 * for (lin.c). What is there at the end of a round is where the next begins.
 *
 * Meanwhile, by scenario: a filler inserts and deletes thousands of keys of its own, so that
 * the index splits, logs fill and cleaning moves entries, up to the limit; a compactor
 * compacts, so that buckets are merged; workers are killed, in the middle of a call, and
 * others go on with what they had left to do. A watcher hears of the changes; where it heard
 * all of a round, the order that is looked for must be the one it heard. It is killed, too.
 *
 * Builds with crash points give the processor away there, now and then, so that calls meet in
 * all places; and half of the kills happen at such a point.
 *
 * In the pause between rounds the number of keys must be exact, by all calls that count; during
 * a round it must be one that there could be.
 *
 * LINEAR_ROUNDS and LINEAR_SEED in the environment: more rounds, in each scenario; the same
 * calls again, though not at the same times.
 */
#include "callers.h"

#include "map.h"
#include "os.h"

#include <signal.h>

#define KILLS 3u /* in a round, at most */

#define FILLING 1u
#define COMPACTING 2u
#define KILLING 4u
#define TWO_SHARDS 8u

static unsigned char got_buf[LOAD_CAP];

/* ---- the parent ---- */

struct run {
	unsigned what;
	uint64_t x;
	struct worker w[WORKERS];
	pid_t pid[WORKERS];
	struct watcher how;
	pid_t watcher;
	bool deaf; /* not all of this round was heard */
	uint64_t tapes, told; /* that were whole; events on them */
	uint64_t leads, filled, refused, stale;
	uint32_t lives;
	uint64_t kills, checked, overlapping, most_states, takeovers, cleaned;
	uint64_t happened; /* killed calls whose value was seen */
	struct lin_state state[KEYS];
	uint64_t highest[KEYS];
	/* a clear is a call on each key; some leases are two */
	struct lin_op all[WORKERS * OPS * KEYS + KEYS];
	size_t n;
	uint16_t shard[KEYS];
	struct ipcmap *watch; /* read-only: the parent is no owner, and forks */
	uint64_t counts;
};

static void start_worker(struct run *run, uint32_t me)
{
	run->w[me].me = me;
	run->w[me].clears = !(run->what & FILLING);
	run->w[me].life = ++run->lives;
	run->w[me].seq = 0;
	run->w[me].x = load_random(&run->x) | 1;
	memset(run->w[me].held, 0, sizeof(run->w[me].held));
	memset(run->w[me].ended, 0, sizeof(run->w[me].ended));
	run->pid[me] = t_run(callers_work, &run->w[me]);
}

static void start_watcher(struct run *run)
{
	run->deaf = true;
	im_store32_rel(&sh->listening, 0);
	run->how.prefix = load_random(&run->x) % 2;
	run->watcher = t_run(callers_watch, &run->how);
}

/* The leases of this round that a dead worker had: it was alive at the end of its last call. */
static void note_death(uint32_t me, uint32_t n)
{
	uint64_t last = n && n <= OPS ? sh->op[me][n - 1].ret : 0;

	if (n < OPS && sh->op[me][n].inv)
		last = sh->op[me][n].inv;
	for (uint32_t i = 0; i < n; i++)
		if (sh->op[me][i].kind == LIN_LEASE && !sh->op[me][i].dead)
			sh->op[me][i].dead = last;
}

/* A worker died: its call has no return, and another process goes on. */
static void replace(struct run *run, uint32_t me)
{
	uint32_t i = im_load32_acq(&sh->next[me]);
	struct lin_op *o = &sh->op[me][i < OPS ? i : 0];

	im_store32_rlx(&sh->die_in[me], 0);
	run->kills++;
	note_death(me, i);
	if (i < OPS && o->inv && !o->ret) {
		o->rc = LIN_PENDING;
		o->shown &= LIN_BRIEF | LIN_KEEPS;
		o->dead = lin_stamp(&sh->stamp);
	}
	if (i < OPS && o->inv)
		im_store32_rel(&sh->next[me], i + 1);
	start_worker(run, me);
}

static bool round_is_over(void)
{
	for (uint32_t k = 0; k < WORKERS; k++)
		if (im_load32_acq(&sh->next[k]) < OPS)
			return false;
	return true;
}

static void maybe_kill(struct run *run, unsigned *left)
{
	uint32_t me = (uint32_t)(load_random(&run->x) % WORKERS);

	/* a round has some hundred looks */
	if (!*left || load_random(&run->x) % 16)
		return;
	--*left;
	if (load_random(&run->x) % 16 == 0 && im_load32_acq(&sh->listening)) {
		t_kill(run->watcher);
		start_watcher(run);
		return;
	}
	if (HAVE_POINTS && load_random(&run->x) % 2) {
		im_store32_rel(&sh->die_in[me], 1 + (uint32_t)(load_random(&run->x) % 200));
		return;
	}
	t_kill(run->pid[me]);
	replace(run, me);
}

static void bury(struct run *run)
{
	int status;

	for (uint32_t k = 0; k < WORKERS; k++) {
		if (waitpid(run->pid[k], &status, WNOHANG) != run->pid[k])
			continue;
		CU_ASSERT_FATAL(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		replace(run, k);
	}
}

/* While others write, the number of keys is one that there could be. */
static void watch_count(struct run *run)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 20; i++) {
		CU_ASSERT(ipcmap_entries(run->watch, &n) == 0);
		if (n > FILL + KEYS + WORKERS * BESIDE)
			fprintf(stderr, "\nentries: %llu\n", (unsigned long long)n);
		CU_ASSERT_FATAL(n <= FILL + KEYS + WORKERS * BESIDE);
		run->counts++;
	}
}

static void play_round(struct run *run)
{
	unsigned left = run->what & KILLING ? KILLS : 0;
	uint64_t end = t_now_ms() + 3u * T_LIMIT_MS;

	memset(sh->op, 0, sizeof(sh->op));
	for (uint32_t k = 0; k < KEYS; k++)
		im_store_rel(&sh->heard[k].n, 0);
	run->deaf = !im_load32_acq(&sh->listening);
	im_store32_rel(&sh->ready, 0);
	im_store32_rel(&sh->round, sh->round + 1);
	im_store32_rel(&sh->pause, 0);
	for (uint32_t k = 0; k < WORKERS; k++)
		im_store32_rel(&sh->next[k], 0);
	while (!round_is_over() && t_now_ms() < end) {
		maybe_kill(run, &left);
		bury(run);
		watch_count(run);
		usleep(100);
	}
	for (uint32_t k = 0; k < WORKERS; k++)
		im_store32_rel(&sh->die_in[k], 0);
	CU_ASSERT_FATAL(round_is_over());
	bury(run); /* nobody can be about to die now */
	im_store32_rel(&sh->paused, 0);
	im_store32_rel(&sh->pause, 1);
	while (run->what & FILLING && !im_load32_acq(&sh->paused) && t_now_ms() < end)
		usleep(100);
}

/* All that has happened was heard. False: nobody listens. */
static bool drain(void)
{
	uint64_t end = t_now_ms() + 3u * T_LIMIT_MS;
	uint32_t n = im_load32_rlx(&sh->drain) + 1;

	im_store32_rel(&sh->drain, n);
	while (im_load32_acq(&sh->listening) && im_load32_acq(&sh->drained) != n &&
	       t_now_ms() < end)
		usleep(100);
	CU_ASSERT(!im_load32_acq(&sh->listening) || im_load32_acq(&sh->drained) == n);
	return im_load32_acq(&sh->listening);
}

static bool changed_nothing(int rc)
{
	return rc == IPCMAP_BUSY || rc == IPCMAP_LIMIT || rc == IPCMAP_FULL;
}

static bool uses_lease(const struct lin_op *o)
{
	return o->kind == LIN_FILL || o->kind == LIN_FAIL;
}

static void gather_one(struct run *run, const struct lin_op *o, uint32_t k)
{
	struct lin_op *to = &run->all[run->n++];

	*to = *o;
	to->key = (uint8_t)k;
	to->shard = run->shard[k];
	/* a clear that gave up has cleared some shards; a fill has ended its lease, or not */
	if ((o->kind == LIN_CLEAR && o->rc && o->rc != LIN_PENDING) ||
	    (uses_lease(o) && changed_nothing(o->rc))) {
		to->rc = LIN_PENDING;
		to->dead = o->ret;
		to->kind = o->kind == LIN_CLEAR ? LIN_CLEAR : LIN_FAIL;
	}
	if (o->kind != LIN_LEASE || o->rc != IPCMAP_LEAD)
		return;
	run->leads++;
	if (!(o->shown & LIN_VALUE))
		return;
	/* the expired value beside the lease was looked at before */
	to->shown &= LIN_BRIEF;
	run->all[run->n] = *to;
	run->all[run->n].kind = LIN_STALE;
	run->all[run->n].shown = LIN_VALUE | LIN_VERSION;
	run->all[run->n++].rc = 0;
	run->stale++;
}

static bool says_nothing(const struct lin_op *o)
{
	if (!o->inv)
		return true;
	if (o->kind == LIN_LEASE) /* held, or it failed lately */
		return o->rc != IPCMAP_LEAD && o->rc != LIN_PENDING;
	return changed_nothing(o->rc) && o->kind != LIN_CLEAR && !uses_lease(o);
}

static void count_lease(struct run *run, const struct lin_op *o)
{
	CU_ASSERT(o->kind != LIN_LEASE || o->rc == IPCMAP_LEAD || o->rc == LIN_PENDING ||
		  o->rc == IPCMAP_BUSY || o->rc == -EIO);
	run->filled += o->kind == LIN_FILL && o->rc == 0;
	run->refused += uses_lease(o) && o->rc == IPCMAP_MISMATCH;
	run->stale += o->kind == LIN_STALE;
}

/* All calls of the round; those that changed nothing say nothing. */
static void gather(struct run *run)
{
	run->n = 0;
	for (uint32_t k = 0; k < WORKERS; k++)
		for (uint32_t i = 0; i < OPS; i++) {
			const struct lin_op *o = &sh->op[k][i];

			count_lease(run, o);
			if (says_nothing(o))
				continue;
			for (uint32_t j = 0; o->key == EVERY_KEY && j < KEYS; j++)
				gather_one(run, o, j);
			if (o->key != EVERY_KEY)
				gather_one(run, o, o->key);
		}
	lin_bound(run->all, run->n);
}

static void find_shards(struct run *run, struct ipcmap *m)
{
	unsigned char key[LONG_KEY + 20];

	for (uint32_t k = 0; k < KEYS; k++) {
		size_t n = callers_key(k, key);

		run->shard[k] = (uint16_t)im_map_shard(m, im_hash(m->hash_seed, key, n));
	}
}

static size_t of_key(const struct run *run, uint32_t k, struct lin_op *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < run->n; i++)
		if (run->all[i].key == k)
			ret[n++] = run->all[i];
	return n;
}

/* What the keys are now, as reads after all others. */
static uint64_t read_all(struct run *run, struct ipcmap *m)
{
	unsigned char key[LONG_KEY + 20];
	uint64_t there = 0;

	for (uint32_t k = 0; k < KEYS; k++) {
		struct ipcmap_value v = {.buf = got_buf, .cap = sizeof(got_buf)};
		struct lin_op *o = &run->all[run->n++];

		memset(o, 0, sizeof(*o));
		o->key = (uint8_t)k;
		o->kind = LIN_GET;
		o->who = WORKERS;
		o->inv = lin_stamp(&sh->stamp);
		o->rc = ipcmap_getx(m, key, callers_key(k, key), &v);
		o->ret = lin_stamp(&sh->stamp);
		CU_ASSERT(o->rc == 0 || o->rc == IPCMAP_NOTFOUND);
		if (o->rc == 0) {
			callers_show(o, &v);
			there++;
		}
	}
	return there;
}

static int count_one(void *arg, const struct ipcmap_item *item)
{
	(void)item;
	++*(uint64_t *)arg;
	return 0;
}

/* Nobody writes: every way to count gives the same. */
static void count_all(struct ipcmap *m, uint64_t there)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	uint64_t n = 0, scanned = 0, cursor = 0;

	there += im_load_acq(&sh->filled) + callers_count_beside(m);
	CU_ASSERT(ipcmap_entries(m, &n) == 0 && n == there);
	CU_ASSERT(ipcmap_stat(m, &st) == 0 && st.entries == there);
	CU_ASSERT(ipcmap_scan(m, &cursor, NULL, 0, IPCMAP_SCAN_KEYS, count_one, &scanned) == 0);
	CU_ASSERT(scanned == there);
	if (n != there || st.entries != there || scanned != there)
		fprintf(stderr, "\n%llu keys; entries %llu, stat %llu, scan %llu\n",
			(unsigned long long)there, (unsigned long long)n,
			(unsigned long long)st.entries, (unsigned long long)scanned);
}

/*
 * Leases go with a delete of what is not there, so that the next round begins without. What
 * may expire goes as well, or the keys could not be counted; before, they were.
 */
static void settle(struct run *run, struct ipcmap *m)
{
	unsigned char key[LONG_KEY + 20];

	for (uint32_t k = 0; k < KEYS; k++) {
		int r;

		if (run->state[k].there && k != BRIEF)
			continue;
		r = ipcmap_del(m, key, callers_key(k, key));
		CU_ASSERT(r == IPCMAP_NOTFOUND || (r == 0 && k == BRIEF));
		run->state[k].there = false;
		run->state[k].val = run->state[k].version = 0;
	}
}

/* What the watcher knows from events is what there is. */
static void compare_heard(const struct run *run, uint32_t k)
{
	const struct lin_op *last = &run->all[run->n - KEYS + k];
	const struct heard *h = &sh->heard[k];
	bool there = last->rc == 0;

	CU_ASSERT_FATAL(last->key == k && last->who == WORKERS);
	if ((k == LONG && run->how.prefix) || (k == BRIEF && !there))
		return;
	if (h->there == there && (!there || h->version == last->out_version))
		return;
	fprintf(stderr, "\nkey %u: %s, version %llu; the watcher has %s, version %llu\n", k,
		there ? "there" : "not there", (unsigned long long)last->out_version,
		h->there ? "it" : "none", (unsigned long long)h->version);
	CU_FAIL("events do not lead to what there is");
}

/* What was heard of key @k, if all of it was. */
static const struct lin_tape *tape_of(struct run *run, uint32_t k, struct lin_tape *ret)
{
	const struct heard *h = &sh->heard[k];

	if (run->deaf || (k == LONG && run->how.prefix))
		return NULL;
	*ret = (struct lin_tape){h->event, h->n};
	run->told += ret->n;
	for (size_t i = 0; i < ret->n; i++)
		if (h->event[i].what == IPCMAP_EVENT_GAP)
			return ret;
	run->tapes += ret->n > 0;
	return ret;
}

static bool was_seen(const struct lin_op *ops, size_t n, uint64_t val)
{
	for (size_t i = 0; i < n; i++)
		if (ops[i].shown & LIN_VALUE && ops[i].out == val)
			return true;
	return false;
}

/* Is there an order of the calls on key @k? Where it ends, the next round begins. */
static bool judge(struct run *run, uint32_t k)
{
	static struct lin_op ops[2 * WORKERS * OPS + KEYS];
	size_t n = of_key(run, k, ops);
	struct lin_state *s = &run->state[k];
	const struct lin_op *last = &ops[n - 1];
	struct lin_tape heard;
	const struct lin_tape *tape = tape_of(run, k, &heard);
	const char *why;
	uint64_t states;

	if (!lin_check(ops, n, s, tape, &why, &states)) {
		fprintf(stderr, "\nkey %u: %s; at the start %s%llx, version %llu\n", k, why,
			s->there ? "" : "nothing; ", (unsigned long long)s->val,
			(unsigned long long)s->version);
		lin_print(ops, n, tape);
		return false;
	}
	run->checked += n;
	run->most_states = states > run->most_states ? states : run->most_states;
	for (size_t i = 0; i < n; i++) {
		if (ops[i].shown & LIN_VERSION && ops[i].out_version > run->highest[k])
			run->highest[k] = ops[i].out_version;
		if (ops[i].rc == LIN_PENDING && ops[i].kind == LIN_PUT && !is_counter(k))
			run->happened += was_seen(ops, n, ops[i].val);
		for (size_t j = i + 1; j < n; j++)
			run->overlapping += ops[i].inv < ops[j].ret && ops[j].inv < ops[i].ret;
	}
	*s = (struct lin_state){.there = last->rc == 0,
				.val = last->rc == 0 ? last->out : 0,
				.version = last->rc == 0 ? last->out_version : 0,
				.highest = run->highest[k],
				.counter = is_counter(k)};
	return true;
}

/* A writable attach, so the check takes over what dead workers hold. */
static bool look(struct run *run)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	bool ok = true, heard;
	uint64_t there;
	struct ipcmap *m;

	CU_ASSERT_FATAL(load_open(callers_map, 0, 0, 0, &m) == 0);
	CU_ASSERT(ipcmap_check(m, load_print, NULL) == 0);
	gather(run);
	there = read_all(run, m);
	heard = drain();
	for (uint32_t k = 0; k < KEYS && heard; k++)
		compare_heard(run, k);
	for (uint32_t k = 0; k < KEYS; k++)
		ok &= judge(run, k);
	there -= run->state[BRIEF].there;
	settle(run, m);
	count_all(m, there);
	drain();
	CU_ASSERT(ipcmap_stat(m, &st) == 0);
	run->takeovers = st.takeovers;
	run->cleaned = st.cleaned;
	ipcmap_close(m);
	return ok;
}

/* ---- scenarios ---- */

static uint64_t number(const char *variable, uint64_t otherwise)
{
	const char *s = getenv(variable);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

static void play(unsigned what, uint64_t limit, uint64_t rounds)
{
	uint64_t seed = number("LINEAR_SEED", load_now_us() | 1), x;
	static struct run run;
	pid_t filler = 0, compactor = 0;
	struct ipcmap *m;
	uint64_t played = 0;
	bool ok = true;

	rounds = number("LINEAR_ROUNDS", rounds);
	printf("(seed %llu) ", (unsigned long long)seed);
	fflush(stdout);
	memset(&run, 0, sizeof(run));
	run.what = what;
	run.x = seed;
	for (uint32_t k = 0; k < KEYS; k++)
		run.state[k].counter = is_counter(k);
	sh = t_shared(sizeof(*sh));
	sh->clock = im_os->coarse();
	callers_clock_on();
	CU_ASSERT_FATAL(load_open(callers_map, IPCMAP_CREATE, limit, what & TWO_SHARDS ? 2 : 1,
				  &m) == 0);
	load_compress(m, 600);
	find_shards(&run, m);
	memcpy(run.how.shard, run.shard, sizeof(run.shard));
	ipcmap_close(m);
	CU_ASSERT_FATAL(load_open(callers_map, IPCMAP_RDONLY, 0, 0, &run.watch) == 0);
	for (uint32_t k = 0; k < WORKERS; k++) {
		sh->next[k] = OPS;
		start_worker(&run, k);
	}
	start_watcher(&run);
	while (!im_load32_acq(&sh->listening))
		usleep(100);
	x = load_random(&run.x) | 1;
	if (what & FILLING)
		filler = t_run(callers_fill, &x);
	if (what & COMPACTING)
		compactor = t_run(callers_compact, NULL);
	while (ok && played < rounds) {
		play_round(&run);
		ok = look(&run);
		played++;
	}
	CU_ASSERT(ok);
	CU_ASSERT(sh->wrong == 0);
	im_store32_rel(&sh->stop, 1);
	for (uint32_t k = 0; k < WORKERS; k++)
		CU_ASSERT(t_ok(run.pid[k]));
	CU_ASSERT(t_ok(run.watcher));
	CU_ASSERT(!filler || t_ok(filler));
	CU_ASSERT(!compactor || t_ok(compactor));
	printf("\n    %llu rounds, %llu calls, %llu pairs at once, at most %llu states; %llu "
	       "kills, "
	       "%llu take-overs, %llu killed puts seen; %llu moved, %llu compactions, %llu "
	       "limits, "
	       "%llu busy ",
	       (unsigned long long)played, (unsigned long long)run.checked,
	       (unsigned long long)run.overlapping, (unsigned long long)run.most_states,
	       (unsigned long long)run.kills, (unsigned long long)run.takeovers,
	       (unsigned long long)run.happened, (unsigned long long)run.cleaned,
	       (unsigned long long)sh->compactions, (unsigned long long)sh->limits,
	       (unsigned long long)sh->busy);
	printf("\n    %llu leases, %llu fills, %llu refused, %llu expired values shown; %llu events "
	       "told, %llu gaps, %llu whole tapes ",
	       (unsigned long long)run.leads, (unsigned long long)run.filled,
	       (unsigned long long)run.refused, (unsigned long long)run.stale,
	       (unsigned long long)run.told, (unsigned long long)sh->gaps,
	       (unsigned long long)run.tapes);
	ipcmap_close(run.watch);
	CU_ASSERT(run.filled > 0 && run.refused > 0);
	CU_ASSERT(what & FILLING || run.tapes > 0);
	CU_ASSERT(run.overlapping > 0);
	CU_ASSERT(!(what & KILLING) || run.kills > 0);
	ipcmap_unlink(callers_map);
	callers_clock_off();
	t_shared_free(sh, sizeof(*sh));
}

static void linear__few_keys(void)
{
	callers_map = T_NAME;
	play(0, 4u << 20, T_AMOUNT(100, 20, 4));
}

static void linear__while_index_grows(void)
{
	callers_map = T_NAME;
	play(FILLING | COMPACTING, 8u << 20, T_AMOUNT(40, 10, 2));
}

static void linear__at_the_limit(void)
{
	callers_map = T_NAME;
	play(FILLING, 1u << 20, T_AMOUNT(40, 10, 2));
}

static void linear__with_kills(void)
{
	callers_map = T_NAME;
	play(KILLING | TWO_SHARDS, 4u << 20, T_AMOUNT(100, 20, 4));
}

static void linear__with_everything(void)
{
	callers_map = T_NAME;
	play(KILLING | FILLING | COMPACTING | TWO_SHARDS, 1u << 20, T_AMOUNT(40, 10, 2));
}

static CU_TestInfo tests[] = {
	{"calls on few keys have an order", linear__few_keys},
	{"so while the index splits and merges", linear__while_index_grows},
	{"so at the limit, while entries are moved", linear__at_the_limit},
	{"so when processes are killed", linear__with_kills},
	{"so with all of it at once", linear__with_everything},
	CU_TEST_INFO_NULL,
};

T_SUITE("linear", tests)
