/* SPDX-License-Identifier: MIT */
/*
 * torture.c - thousands of kills under a load of everything the library can
 *
 *	torture [kills=N] [seed=N] [hooks=1] [reads=SECONDS]
 *
 * A chapter is one map, its size, shards and compression drawn by lot, and some hundred kills
 * of its workers and of the operator; at intervals they rest, and everything is compared. One
 * to three are killed at a time: half of the time whoever holds a shard's lock at that moment,
 * else anybody. With hooks=1, in builds that have crash points, the workers die there by
 * themselves, too. Then the time of reads is measured, while up to a hundred workers a second
 * are killed and while none is.
 *
 * Exit status: 0 nothing was lost, wrong, hung or left.
 */
#include "torture.h"

#include "map.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#define CHAPTER 1000u	   /* kills */
#define CHAPTER_HOOKS 300u /* indexes grow at the beginning only */
#define INTERVAL 250u	   /* kills between two looks at everything */
#define AT_ONCE 3u
#define RARELY 20u /* with hooks=1 the others are killed in one of so many turns */
#define PAUSE_US 6000u
#define HUNG_MS 60000u /* without an operation, on a machine that may be slow */
#define CELLS 640u     /* times of reads: 16 for each power of two */

struct torture *tt;
struct oracle *keys, *versions;

struct totals {
	uint64_t kills, hook_kills, of_holders, takeovers, space_takeovers, hung;
	uint64_t chapters, lost, wrong, errors, reads, writes, refused, unjudged, tables,
		n_delays;
	uint64_t delay[DELAYS];
};

static struct totals sum;
static uint64_t x;
static pid_t pid[PROCESSES];
static uint64_t progress[PROCESSES], moved_ms[PROCESSES];

/* ---- processes ---- */

/* As t_run(), but it may live as long as it likes. */
static pid_t run(int (*fn)(void *), void *arg)
{
	pid_t parent = getpid(), child;

	fflush(NULL);
	child = fork();
	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(getppid() == parent ? fn(arg) : 0);
}

static void start(uint32_t i)
{
	uint32_t me = i;

	pid[i] = run(i == OPERATOR ? torture_operate : torture_work, &me);
	moved_ms[i] = t_now_ms();
}

static bool was_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static bool ended_well(int status)
{
	return was_killed(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Buries whoever has ended; workers are started again unless @ending. True: some are there. */
static bool reap(bool ending)
{
	bool some = false;
	int status;
	pid_t r;

	while ((r = waitpid(-1, &status, WNOHANG)) > 0) {
		if (!ended_well(status))
			torture_find(&tt->died, "process %d ended with %#x", (int)r,
				     (unsigned)status);
		sum.kills += was_killed(status);
		for (uint32_t i = 0; i < PROCESSES; i++) {
			if (pid[i] != r)
				continue;
			pid[i] = 0;
			if (!ending)
				start(i);
		}
	}
	for (uint32_t i = 0; i < PROCESSES; i++)
		some |= pid[i] != 0;
	return some;
}

/* Kills those that have done nothing for a long time. */
static void watch(void)
{
	uint64_t now = t_now_ms();

	for (uint32_t i = 0; i < PROCESSES; i++) {
		uint64_t p = im_load_rlx(&tt->progress[i]);

		if (p != progress[i] || im_load32_acq(&tt->paused[i])) {
			progress[i] = p;
			moved_ms[i] = now;
		}
		if (now - moved_ms[i] < HUNG_MS)
			continue;
		fprintf(stderr, "\n    process %d (%u) hangs ", (int)pid[i], i);
		sum.hung++;
		kill(pid[i], SIGKILL);
		moved_ms[i] = now;
	}
}

/* ---- kills ---- */

/* Whose is a lock that was held all the time of a look, and of which shard? 0: nobody's. */
static pid_t find_holder(struct ipcmap *m, uint32_t *ret_shard)
{
	for (unsigned i = 0; i < 200; i++) {
		uint32_t shard = i % m->n_shards, n = 0;
		const uint32_t *word = &m->shards[shard].lock;
		uint32_t was = im_load32_rlx(word), slot = was & 0x3ff;

		if (!slot || slot > m->seg->n_owners)
			continue;
		while (n < 2000 && im_load32_rlx(word) == was)
			n++;
		*ret_shard = shard;
		if (n == 2000)
			return (pid_t)im_load_rlx(&m->seg->owners[slot - 1].pid);
	}
	return 0;
}

static bool is_ours(pid_t p)
{
	for (uint32_t i = 0; i < PROCESSES; i++)
		if (p && (pid[i] == p || (i < WORKERS && tt->child[i] == p)))
			return true;
	return false;
}

static void kill_one(struct ipcmap *m)
{
	uint32_t shard = 0;
	pid_t p = load_random(&x) % 2 ? find_holder(m, &shard) : 0;

	if (is_ours(p)) {
		sum.of_holders++;
		tt->takeovers[shard] = im_load_rlx(&m->shards[shard].takeovers);
		im_store_rel(&tt->killed[shard], torture_now_ns());
	} else {
		p = pid[load_random(&x) % PROCESSES];
	}
	if (p > 0)
		kill(p, SIGKILL);
}

static void note_takeovers(struct ipcmap *m)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	struct ipcmap_inspect head = {.struct_size = sizeof(head)};

	ipcmap_stat(m, &st);
	ipcmap_inspect(m, &head);
	sum.takeovers += st.takeovers;
	sum.space_takeovers += head.takeovers;
}

/* All rest, detached; then everything is compared. */
static void look(bool last)
{
	uint64_t end = t_now_ms() + HUNG_MS;
	uint32_t n = 0;

	im_store32_rel(last ? &tt->stop : &tt->pause, 1);
	for (;;) {
		bool some = reap(last);

		for (uint32_t i = n = 0; i < PROCESSES; i++)
			n += im_load32_acq(&tt->paused[i]) != 0;
		if (last ? !some : n == PROCESSES)
			break;
		if (t_now_ms() > end) {
			fprintf(stderr, "\n    %u of %u rest; the others are killed ", n,
				PROCESSES);
			sum.hung++;
			for (uint32_t i = 0; i < PROCESSES; i++)
				if (pid[i] && !tt->paused[i])
					kill(pid[i], SIGKILL);
			end = t_now_ms() + HUNG_MS;
		}
		t_sleep_ms(1);
	}
	/* children of killed workers may be on their way */
	for (uint32_t i = 0; i < WORKERS; i++)
		while (tt->child[i] && kill(tt->child[i], 0) == 0 && t_now_ms() < end) {
			reap(last);
			t_sleep_ms(1);
		}
	torture_verify(last);
	im_store32_rel(&tt->pause, 0);
}

/* ---- a chapter ---- */

static uint32_t length_of(uint32_t k, uint64_t n)
{
	uint64_t r = n * 2654435761u + k;

	r ^= r >> 13;
	if (n % 61 == 5)
		return 12000 +
		       (uint32_t)(r % 9000); /* a chain of extents, unless they are long */
	if (n % 211 == 7)
		return 100000 + (uint32_t)(r % 100000);
	return LOAD_MIN + (uint32_t)(r % 1900);
}

static uint32_t no_length(uint32_t k, uint64_t n)
{
	(void)k;
	(void)n;
	return LOAD_MIN;
}

static void create(const char *name, uint64_t limit, unsigned shards, unsigned compress)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;

	if (load_open(name, IPCMAP_CREATE | IPCMAP_EXCL, limit * 2, shards, &m))
		exit(1);
	o.limit = limit;
	o.compress = compress;
	if (ipcmap_tune(m, &o))
		exit(1);
	ipcmap_close(m);
}

static void remove_maps(void)
{
	ipcmap_unlink(tt->name);
	ipcmap_unlink(tt->other);
	ipcmap_unlink(tt->fresh);
}

static void add_up(void)
{
	sum.lost += keys->lost + versions->lost;
	sum.wrong += keys->wrong + versions->wrong;
	sum.errors += keys->errors + versions->errors;
	sum.reads += keys->reads;
	sum.writes += keys->writes;
	sum.refused += keys->refused + versions->refused;
	sum.unjudged += keys->unjudged + versions->unjudged;
	sum.tables += versions->writes;
	for (uint64_t i = 0; i < tt->n_delays && i < DELAYS && sum.n_delays < DELAYS; i++)
		sum.delay[sum.n_delays++] = tt->delay[i];
	tt->n_delays = 0;
}

static void forget(void)
{
	memset(tt->own, 0, sizeof(tt->own));
	memset(tt->shared, 0, sizeof(tt->shared));
	memset(tt->published, 0, sizeof(tt->published));
	memset(tt->cleared, 0, sizeof(tt->cleared));
	memset(tt->paused, 0, sizeof(tt->paused));
	memset(tt->child, 0, sizeof(tt->child));
	memset(tt->killed, 0, sizeof(tt->killed));
	tt->clear_begun = tt->clear_done = 0;
	tt->stop = tt->pause = 0;
}

static void chapter(uint64_t kills)
{
	static const uint64_t limits[] = {6u << 20, 16u << 20, 48u << 20};
	static const unsigned lengths[] = {IPCMAP_COMPRESS_OFF, 64, 600};
	uint64_t end = sum.kills + kills, next = sum.kills + INTERVAL, t0 = t_now_ms();
	unsigned shards = 1u << load_random(&x) % 4;
	struct ipcmap *m;

	keys = oracle_make(KEYS, WRITERS, length_of);
	versions = oracle_make(WORKERS, WORKERS, no_length);
	forget();
	tt->limit = limits[load_random(&x) % 3];
	create(tt->name, tt->limit, shards, lengths[load_random(&x) % 3]);
	create(tt->other, 1u << 20, 2, IPCMAP_COMPRESS_OFF);
	/* read-only: this process is no owner, and its children inherit nothing that matters */
	if (load_open(tt->name, IPCMAP_RDONLY, 0, 0, &m))
		exit(1);
	for (uint32_t i = 0; i < PROCESSES; i++)
		start(i);
	while (sum.kills < end) {
		usleep((unsigned)(load_random(&x) % PAUSE_US));
		if (!tt->hooks || load_random(&x) % RARELY == 0)
			for (uint64_t n = 1 + load_random(&x) % AT_ONCE; n; n--)
				kill_one(m);
		reap(false);
		watch();
		if (sum.kills < next)
			continue;
		look(false);
		next = sum.kills + INTERVAL;
	}
	look(true);
	note_takeovers(m);
	ipcmap_close(m);
	add_up();
	printf("  chapter %llu: limit %llu MiB, %u shards: %llu kills, %.1f s\n",
	       (unsigned long long)++sum.chapters, (unsigned long long)tt->limit >> 20, shards,
	       (unsigned long long)(sum.kills - (end - kills)),
	       (double)(t_now_ms() - t0) / 1000);
	remove_maps();
	oracle_free(versions);
	oracle_free(keys);
}

/* ---- the time of reads ---- */

struct times {
	uint64_t n, max, cell[CELLS];
};

struct reading {
	uint32_t stop, killing;
	struct times times[2]; /* without kills, with them */
};

static struct reading *reading;

static uint32_t cell_of(uint64_t ns)
{
	uint32_t log = ns < 16 ? 4 : 63 - (uint32_t)__builtin_clzll(ns);

	return (log - 4) * 16 + (uint32_t)(ns >> (log - 4) & 15);
}

/* The shortest time that lies in it. */
static double ns_of(uint32_t cell)
{
	return (double)((16ull + cell % 16) << (cell / 16));
}

static double quantile(const struct times *h, double q)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < CELLS; i++) {
		n += h->cell[i];
		if ((double)n >= q * (double)h->n)
			return ns_of(i);
	}
	return (double)h->max;
}

static int read_and_time(void *arg)
{
	unsigned char buf[4096];
	char key[ORACLE_KEY];
	struct ipcmap *m;
	uint64_t random = 1;

	(void)arg;
	T_MUST(load_open(tt->name, 0, 0, 0, &m) == 0);
	while (!im_load32_acq(&reading->stop)) {
		struct times *h = &reading->times[im_load32_acq(&reading->killing)];
		size_t n = oracle_key(keys, (uint32_t)(load_random(&random) % KEYS), key), len;
		uint64_t begin = torture_now_ns(), ns;

		ipcmap_get(m, key, n, buf, sizeof(buf), &len);
		ns = torture_now_ns() - begin;
		h->cell[cell_of(ns)]++;
		h->n++;
		h->max = ns > h->max ? ns : h->max;
	}
	ipcmap_close(m);
	return 0;
}

static int write_plainly(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	struct oracle_store s = oracle_ipcmap;
	uint64_t random = (uint64_t)getpid() << 20 ^ torture_now_ns() ^ 1;
	struct ipcmap *m;

	T_MUST(load_open(tt->name, 0, 0, 0, &m) == 0);
	s.arg = m;
	for (uint32_t k = me; k < KEYS; k += WORKERS)
		oracle_recall(keys, &s, k, false);
	while (!im_load32_acq(&reading->stop))
		oracle_write(keys, &s,
			     (uint32_t)(load_random(&random) % (KEYS / WORKERS)) * WORKERS +
				     me);
	ipcmap_close(m);
	return 0;
}

/* Buries the killed ones, and starts others; how many. */
static uint64_t replace_writers(void)
{
	uint64_t n = 0;
	int status;
	pid_t r;

	while ((r = waitpid(-1, &status, WNOHANG)) > 0) {
		if (!was_killed(status))
			torture_find(&tt->died, "process %d ended with %#x", (int)r,
				     (unsigned)status);
		n++;
		for (uint32_t i = 0; i < WORKERS; i++)
			if (pid[i] == r)
				pid[i] = run(write_plainly, &i);
	}
	return n;
}

/* Eight writers and one that reads, by turns with kills of the writers and without. */
static void time_reads(uint64_t seconds)
{
	uint64_t begin, kills = 0, dead = 0, due;
	pid_t reader;

	reading = t_shared(sizeof(*reading));
	keys = oracle_make(KEYS, WORKERS, length_of);
	forget();
	create(tt->name, 16u << 20, 4, IPCMAP_COMPRESS_OFF);
	for (uint32_t i = 0; i < WORKERS; i++)
		pid[i] = run(write_plainly, &i);
	t_sleep_ms(500);
	reader = run(read_and_time, NULL);
	begin = t_now_ms();
	/* two slices of a second each, again and again; a kill is due every 10 ms of the second
	 */
	for (uint64_t ms = 0; ms < seconds * 1000; ms = t_now_ms() - begin) {
		bool killing = ms / 1000 % 2;

		im_store32_rel(&reading->killing, killing);
		due = (ms / 2000 * 1000 + (killing ? ms % 1000 : 1000)) / 10;
		while (killing && kills < due) {
			kill(pid[load_random(&x) % WORKERS], SIGKILL);
			kills++;
		}
		dead += replace_writers();
		t_sleep_ms(1);
	}
	im_store32_rel(&reading->stop, 1);
	for (uint32_t i = 0; i < WORKERS; i++)
		if (!ended_well(t_wait(pid[i], T_LIMIT_MS)))
			torture_find(&tt->died, "a writer did not end well");
	if (!t_ok(reader))
		torture_find(&tt->died, "the reader did not end well");
	memset(pid, 0, sizeof(pid));
	sum.lost += keys->lost;
	sum.wrong += keys->wrong;
	sum.errors += keys->errors;
	printf("\nreads in us, %llu with %.0f kills a second, %llu without:\n"
	       "                 median     p99   p99.9       max\n",
	       (unsigned long long)reading->times[1].n, (double)dead * 2 / (double)seconds,
	       (unsigned long long)reading->times[0].n);
	for (uint32_t i = 0; i < 2; i++) {
		struct times *h = &reading->times[i];

		printf("  %-13s %8.2f %7.2f %7.2f %9.1f\n", i ? "with kills" : "without",
		       quantile(h, 0.5) / 1e3, quantile(h, 0.99) / 1e3,
		       quantile(h, 0.999) / 1e3, (double)h->max / 1e3);
	}
	printf("  %-13s %8.2f %7.2f %7.2f %9.2f\n", "ratio",
	       quantile(&reading->times[1], 0.5) / quantile(&reading->times[0], 0.5),
	       quantile(&reading->times[1], 0.99) / quantile(&reading->times[0], 0.99),
	       quantile(&reading->times[1], 0.999) / quantile(&reading->times[0], 0.999),
	       (double)reading->times[1].max / (double)reading->times[0].max);
	remove_maps();
	oracle_free(keys);
	t_shared_free(reading, sizeof(*reading));
}

/* ---- what came out ---- */

static int ascending(const void *a, const void *b)
{
	uint64_t p = *(const uint64_t *)a, q = *(const uint64_t *)b;

	return p < q ? -1 : p > q;
}

#define LLU(n) ((unsigned long long)(n))

static void print_hooks(void)
{
	uint32_t killed = 0;

	for (uint32_t i = 0; i < tt->n_names; i++) {
		killed += tt->hook_kills[i] != 0;
		sum.hook_kills += tt->hook_kills[i];
	}
	if (!tt->hooks)
		return;
	printf("crash points: %u passed, killed at %u, %llu times, asleep in %llu reads; not "
	       "at:",
	       tt->n_names, killed, LLU(sum.hook_kills), LLU(tt->sleeps));
	for (uint32_t i = 0; i < tt->n_names; i++)
		if (!tt->hook_kills[i])
			printf(" %s", tt->hook[i]);
	printf("\n");
}

static bool print(void)
{
	uint64_t bad = sum.lost + sum.wrong + sum.hung + sum.errors + tt->answers + tt->shown +
		       tt->counted + tt->tables + tt->findings + tt->died;

	printf("\n%llu kills (%llu of whoever held a lock), %llu take-overs of shards, %llu of "
	       "the "
	       "extent table\n",
	       LLU(sum.kills), LLU(sum.of_holders), LLU(sum.takeovers),
	       LLU(sum.space_takeovers));
	print_hooks();
	printf("%llu reads (%llu too slow to judge), %llu writes, %llu refused, %llu "
	       "additions,\n"
	       "%llu prefixes, %llu scans, %llu versions of tables (%llu opened), %llu forks, "
	       "%llu "
	       "attaches,\n%llu clears, %llu compactions, %llu tunings, %llu checks\n",
	       LLU(sum.reads), LLU(sum.unjudged), LLU(sum.writes), LLU(sum.refused),
	       LLU(tt->adds), LLU(tt->bulks), LLU(tt->scans), LLU(sum.tables), LLU(tt->opens),
	       LLU(tt->forks), LLU(tt->attaches), LLU(tt->clears), LLU(tt->compacts),
	       LLU(tt->tunes), LLU(tt->checks));
	printf("lost %llu, wrong %llu, hung %llu; errors %llu, answers %llu, scans and counts "
	       "%llu, "
	       "counters %llu,\ntables %llu, findings of check %llu, died otherwise %llu\n",
	       LLU(sum.lost), LLU(sum.wrong), LLU(sum.hung), LLU(sum.errors), LLU(tt->answers),
	       LLU(tt->shown), LLU(tt->counted), LLU(tt->tables), LLU(tt->findings),
	       LLU(tt->died));
	if (sum.n_delays) {
		qsort(sum.delay, sum.n_delays, sizeof(*sum.delay), ascending);
		printf("kill of a lock's holder to the next write of its shard: %llu times, "
		       "median "
		       "%.2f ms, p99 %.2f ms, longest %.2f ms\n",
		       LLU(sum.n_delays), (double)sum.delay[sum.n_delays / 2] / 1e6,
		       (double)sum.delay[sum.n_delays * 99 / 100] / 1e6,
		       (double)sum.delay[sum.n_delays - 1] / 1e6);
	}
	return bad == 0;
}

static void interrupted(int number)
{
	(void)number;
	remove_maps();
	_exit(1);
}

int main(int argc, char **argv)
{
	uint64_t kills = 1000, reads = 0;
	bool good;

	setvbuf(stdout, NULL, _IOLBF, 0);
	x = torture_now_ns() | 1;
	tt = t_shared(sizeof(*tt));
	for (int i = 1; i < argc; i++)
		if (sscanf(argv[i], "kills=%llu", (unsigned long long *)&kills) != 1 &&
		    sscanf(argv[i], "seed=%llu", (unsigned long long *)&x) != 1 &&
		    sscanf(argv[i], "reads=%llu", (unsigned long long *)&reads) != 1 &&
		    sscanf(argv[i], "hooks=%u", &tt->hooks) != 1) {
			fprintf(stderr, "torture: what is %s?\n", argv[i]);
			return 2;
		}
	tt->hooks = tt->hooks && HAVE_POINTS;
	printf("torture, %s build, seed %llu\n", T_VARIANT, LLU(x));
	snprintf(tt->name, sizeof(tt->name), "/ipcmap-test.%d.torture", getpid());
	snprintf(tt->other, sizeof(tt->other), "/ipcmap-test.%d.other", getpid());
	snprintf(tt->fresh, sizeof(tt->fresh), "/ipcmap-test.%d.fresh", getpid());
	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	while (sum.kills < kills) {
		uint64_t part = tt->hooks ? CHAPTER_HOOKS : CHAPTER;

		chapter(part < kills - sum.kills ? part : kills - sum.kills);
	}
	if (reads)
		time_reads(reads);
	good = print();
	t_clean_up();
	printf("%s\n", good ? "nothing was lost" : "FAILED");
	return good ? 0 : 1;
}
