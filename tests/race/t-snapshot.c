/* SPDX-License-Identifier: MIT */
/*
 * t-snapshot.c - publishers are killed while readers look at every version
 *
 * Every version has two keys with equal values, and further bytes that follow from its number.
 * Readers, one of them read-only, one forked with what its parent had opened, look
 * whether they ever differ, go on when there is a newer version, and never see an older one.
 * Publishers are killed every few milliseconds. Another reader is stopped with the first
 * version it sees; memory stays bounded all the while.
 *
 * The same among threads, which ThreadSanitizer follows.
 */
#include "../unit/kit.h"

#include "keep.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#define READERS T_AMOUNT(8u, 8u, 3u)
#define SECONDS T_AMOUNT(8u, 4u, 4u)
#define LIMIT_S 40u   /* at most, until all has happened often enough */
#define PAUSE_US 700u /* with what publishing takes: about 1,000 versions a second */
#define KILLS T_AMOUNT(40u, 20u, 10u)
#define KILL_US 20000u /* at most, between kills */
#define VERSIONS T_AMOUNT(120u, 60u, 20u)
#define OPENS T_AMOUNT(80u, 40u, 40u)

struct world {
	uint64_t published, reads, opens, old, wrong, older, busy, errors, gone;
	int32_t last_error;
	uint32_t stop;
};

static struct world *w;
static const char *name;

static void count(uint64_t *n)
{
	im_add_rlx(n, 1);
}

static void fail(uint64_t *n, int r)
{
	count(n);
	w->last_error = r;
}

/* ---- contents ---- */

#define BODY_MAX 40000u /* several extents; every second such body packs into one */

static size_t body_len(uint64_t id)
{
	return id % 4 ? 100 : id % 32 ? 9000 : BODY_MAX;
}

static void body_of(unsigned char *to, uint64_t id)
{
	if (id % 64)
		kit_bytes(to, body_len(id), id);
	else
		memset(to, (int)(id >> 6) & 0xff, body_len(id));
}

static int publish(struct ipcmap *m, uint64_t id)
{
	unsigned char body[BODY_MAX];
	struct ipcmap_pair p[3] = {{"a", 1, &id, sizeof(id)},
				   {"b", 1, &id, sizeof(id)},
				   {"body", 4, body, body_len(id)}};
	int r;

	body_of(body, id);
	r = ipcmap_snapshot_publish(m, "t", p, 3, NULL, NULL, 0);
	if (r == 0)
		count(&w->published);
	return r;
}

static bool is_whole(struct ipcmap_snapshot *s)
{
	unsigned char want[BODY_MAX];
	const void *a, *b, *body;
	size_t la, lb, len;
	uint64_t id;

	if (ipcmap_snapshot_get(s, "a", 1, &a, &la) ||
	    ipcmap_snapshot_get(s, "b", 1, &b, &lb) ||
	    ipcmap_snapshot_get(s, "body", 4, &body, &len) || la != 8 || lb != 8)
		return false;
	memcpy(&id, a, 8);
	body_of(want, id);
	return memcmp(a, b, 8) == 0 && len == body_len(id) && memcmp(body, want, len) == 0;
}

/* ---- readers and publishers ---- */

static struct ipcmap_snapshot *open_any(struct ipcmap *m)
{
	struct ipcmap_snapshot *s;
	int r = ipcmap_snapshot_open(m, "t", 0, &s);

	if (r == 0) {
		count(&w->opens);
		return s;
	}
	if (r == IPCMAP_BUSY)
		count(&w->busy);
	else
		fail(&w->errors, r);
	return NULL;
}

/* One of before, which may be on its way out, or to being stored compressed. */
static void look_back(struct ipcmap *m, uint64_t version)
{
	struct ipcmap_snapshot *s;
	int r = ipcmap_snapshot_open(m, "t", version, &s);

	if (r == IPCMAP_NOTFOUND)
		return;
	if (r == IPCMAP_BUSY) {
		count(&w->busy);
	} else if (r) {
		fail(&w->errors, r);
	} else {
		count(&w->old);
		if (ipcmap_snapshot_version(s) != version || !is_whole(s))
			count(&w->wrong);
		ipcmap_snapshot_close(s);
	}
}

static void read_on(struct ipcmap *m, struct ipcmap_snapshot *s)
{
	uint64_t version = s ? ipcmap_snapshot_version(s) : 0;

	while (!im_load32_acq(&w->stop)) {
		if (!s || ipcmap_snapshot_newer(s)) {
			ipcmap_snapshot_close(s);
			s = open_any(m);
			if (!s)
				continue;
			if (ipcmap_snapshot_version(s) < version)
				count(&w->older);
			version = ipcmap_snapshot_version(s);
			if (version > 3)
				look_back(m, version - version % 3 - 1);
		}
		if (!is_whole(s))
			count(&w->wrong);
		count(&w->reads);
	}
	ipcmap_snapshot_close(s);
}

static int reader(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_snapshot *s = NULL;
	uint32_t me = *(uint32_t *)arg;
	struct ipcmap *m;
	const void *v;
	size_t len;

	o.flags = me == 0 ? IPCMAP_RDONLY : 0;
	T_MUST(ipcmap_open(name, &o, &m) == 0);
	/* they never sleep: what the publishers leave is theirs, so that many versions are seen */
	T_MUST(setpriority(PRIO_PROCESS, 0, 19) == 0);
	if (me == 1) {
		/* the parent goes on at once, perhaps before the child has looked */
		s = open_any(m);
		if (fork()) {
			ipcmap_snapshot_close(s);
			read_on(m, NULL);
			ipcmap_close(m);
			return 0;
		}
		if (s && ipcmap_snapshot_get(s, "a", 1, &v, &len) == IPCMAP_MISMATCH) {
			count(&w->gone);
			ipcmap_snapshot_close(s);
			s = NULL;
		}
	}
	read_on(m, s);
	ipcmap_close(m);
	_exit(0);
}

static int publisher(void *arg)
{
	uint64_t id = *(uint64_t *)arg;
	struct ipcmap *m;
	int r = ipcmap_open(name, NULL, &m);

	T_MUST(r == 0);
	for (; !im_load32_acq(&w->stop); id += 7) {
		if (id % 50 == 0)
			r = ipcmap_snapshot_rollback(m, "t", 0, NULL);
		else
			r = publish(m, id);
		if (r && r != IPCMAP_NOTFOUND)
			fail(&w->errors, r);
		usleep(PAUSE_US);
	}
	ipcmap_close(m);
	return 0;
}

static int hold_and_stop(void *arg)
{
	struct ipcmap_snapshot *s;
	struct ipcmap *m;

	(void)arg;
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	T_MUST(ipcmap_snapshot_open(m, "t", 0, &s) == 0);
	raise(SIGSTOP);
	T_MUST(is_whole(s)); /* after seconds and thousands of versions */
	ipcmap_snapshot_close(s);
	return 0;
}

/* ---- the test ---- */

static uint64_t versions(struct ipcmap *m)
{
	struct im_area a;
	uint64_t n = 0;

	im_area_of(m->seg, &a);
	for (uint32_t i = 0; i < a.n_kept; i++)
		n += im_load32_acq(&a.kept[i].state) != FMT_KEPT_FREE;
	return n;
}

/* Where everything is so slow that a publisher would never get to it: let them publish. */
static void give_time(void)
{
	uint64_t was = im_load_rlx(&w->published), end = t_now_ms() + 3000;

	while (T_VALGRIND && im_load_rlx(&w->published) < was + 2 && t_now_ms() < end)
		t_sleep_ms(10);
}

/* make held: so many held lookups, each version's keys compared, however long that takes. */
static uint64_t lookups_wanted(void)
{
	const char *n = getenv("IPCMAP_TEST_HELD");

	return n ? strtoull(n, NULL, 10) : 0;
}

static bool was_enough(unsigned kills)
{
	return kills > KILLS && im_load_rlx(&w->published) > VERSIONS &&
	       im_load_rlx(&w->reads) > 1000 && im_load_rlx(&w->opens) > OPENS;
}

static void kill_publishers(struct ipcmap *m)
{
	uint64_t x = t_now_ms() | 1, t0 = t_now_ms(), most = 0, len = 0, id = 100, ms;
	unsigned kills = 0;
	pid_t pid[2];

	for (unsigned i = 0; i < 2; i++, id += 100)
		pid[i] = t_run(publisher, &id);
	for (;;) {
		unsigned i = kills % 2;

		ms = t_now_ms() - t0;
		if (im_load_rlx(&w->reads) * 3 < lookups_wanted())
			;
		else if (ms >= (was_enough(kills) ? SECONDS : LIMIT_S) * 1000)
			break;
		give_time();
		usleep((unsigned)(kit_below(&x, KILL_US)));
		t_kill(pid[i]);
		kills++;
		id += 1000;
		pid[i] = t_run(publisher, &id);
		most = versions(m) > most ? versions(m) : most;
		len = kit_stat(m).snapshot_len > len ? kit_stat(m).snapshot_len : len;
	}
	im_store32_rel(&w->stop, 1);
	CU_ASSERT(t_ok(pid[0]) && t_ok(pid[1]));
	printf("\n    %u publishers killed, %llu versions (%llu a second), at most %llu there "
	       "(%llu "
	       "KiB); %llu reads, %llu opens, %llu wrong, %llu older, %llu busy, %llu errors "
	       "(last "
	       "%d), %llu gone at fork, %llu opens of old ones ",
	       kills, (unsigned long long)w->published,
	       (unsigned long long)(w->published * 1000 / ms), (unsigned long long)most,
	       (unsigned long long)len / 1024, (unsigned long long)w->reads,
	       (unsigned long long)w->opens, (unsigned long long)w->wrong,
	       (unsigned long long)w->older, (unsigned long long)w->busy,
	       (unsigned long long)w->errors, w->last_error, (unsigned long long)w->gone,
	       (unsigned long long)w->old);
	/* about 80 and 1,000 a second on an idle machine */
	CU_ASSERT(was_enough(kills));
	/* kept, one for each reader that is behind, the stopped one's, some being opened */
	CU_ASSERT(most <= FMT_KEEP + 2 * READERS + 4);
	CU_ASSERT(w->wrong == 0 && w->older == 0 && w->errors == 0);
}

static void snapshot__readers_never_see_halves(void)
{
	struct ipcmap *m, *ro;
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	pid_t pid[READERS], stopped;
	uint64_t empty;
	int status;

	w = t_shared(sizeof(*w));
	name = T_NAME;
	m = kit_made(name, 4 * KIT_MIB, 0, 0);
	empty = kit_stat(m).used;
	CU_ASSERT_FATAL(publish(m, 1) == 0);
	ipcmap_close(m);
	/* this process is no owner while its children come and go */
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(name, &o, &ro) == 0);
	stopped = t_run(hold_and_stop, NULL);
	CU_ASSERT(waitpid(stopped, &status, WUNTRACED) == stopped && WIFSTOPPED(status));
	for (uint32_t i = 0; i < READERS; i++)
		pid[i] = t_run(reader, &i);
	kill_publishers(ro);
	for (uint32_t i = 0; i < READERS; i++)
		CU_ASSERT(t_ok(pid[i]));
	ipcmap_close(ro);
	CU_ASSERT_FATAL(ipcmap_open(name, NULL, &m) == 0);
	CU_ASSERT(kit_sound(m));
	CU_ASSERT(publish(m, 2) == 0 && versions(m) == FMT_KEEP + 1);
	kill(stopped, SIGCONT);
	CU_ASSERT(t_ok(stopped));
	CU_ASSERT(publish(m, 3) == 0 && versions(m) == FMT_KEEP);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t") == 0 && kit_sound(m));
	im_owner_sweep(m->seg);
	CU_ASSERT(kit_stat(m).used == empty);
	kit_gone(m);
	t_shared_free(w, sizeof(*w));
}

/* ---- threads ---- */

static void *thread_reads(void *arg)
{
	read_on(arg, NULL);
	return NULL;
}

static void *thread_publishes(void *arg)
{
	for (uint64_t id = 1; !im_load32_acq(&w->stop); id++) {
		int r = publish(arg, id);

		if (r)
			fail(&w->errors, r);
	}
	return NULL;
}

static void snapshot__threads_share_what_is_open(void)
{
	pthread_t t[6];
	struct ipcmap *m;

	w = t_shared(sizeof(*w));
	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	CU_ASSERT_FATAL(publish(m, 1) == 0);
	for (unsigned i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, i < 2 ? thread_publishes : thread_reads, m);
	t_sleep_ms(1500);
	im_store32_rel(&w->stop, 1);
	for (unsigned i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	printf("\n    %llu versions, %llu reads, %llu opens, %llu wrong, %llu older, %llu "
	       "busy, "
	       "%llu errors (last %d) ",
	       (unsigned long long)w->published, (unsigned long long)w->reads,
	       (unsigned long long)w->opens, (unsigned long long)w->wrong,
	       (unsigned long long)w->older, (unsigned long long)w->busy,
	       (unsigned long long)w->errors, w->last_error);
	CU_ASSERT(w->wrong == 0 && w->older == 0 && w->errors == 0 && w->reads > 100);
	CU_ASSERT(publish(m, 1) == 0 && versions(m) == FMT_KEEP);
	kit_gone(m);
	t_shared_free(w, sizeof(*w));
}

/* ---- the price of a lookup ---- */

static void snapshot__a_lookup_is_as_fast_as_get(void)
{
	enum { N = 10000, ROUNDS = 100 };
	struct ipcmap_pair *p = calloc(N, sizeof(*p));
	struct kit_key *k = calloc(N, sizeof(*k));
	struct ipcmap_snapshot *s = NULL;
	uint64_t t[3], sum = 0, least = 0;
	struct timespec ts;
	struct ipcmap *m = kit_made(T_NAME, 64 * KIT_MIB, 0, 0);
	char buf[64];

	for (unsigned i = 0; i < N; i++) {
		k[i] = kit_key(i);
		p[i] = (struct ipcmap_pair){k[i].text, k[i].len,
					    "0123456789abcdef0123456789abcdef", 32};
		CU_ASSERT(ipcmap_put(m, k[i].text, k[i].len, p[i].val, 32, NULL) == 0);
	}
	for (unsigned i = 0; i < 9; i++) {
		uint64_t t0, ns;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		t0 = (uint64_t)ts.tv_sec * KIT_SEC + (uint64_t)ts.tv_nsec;
		CU_ASSERT(ipcmap_snapshot_publish(m, "t", p, N, NULL, NULL, 0) == 0);
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ns = (uint64_t)ts.tv_sec * KIT_SEC + (uint64_t)ts.tv_nsec - t0;
		least = i && least < ns ? least : ns;
	}
	CU_ASSERT_FATAL(ipcmap_snapshot_open(m, "t", 0, &s) == 0);
	for (unsigned pass = 0; pass < 3; pass++) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		t[pass] = (uint64_t)ts.tv_sec * KIT_SEC + (uint64_t)ts.tv_nsec;
		for (unsigned i = 0; pass < 2 && i < N * ROUNDS; i++) {
			const struct kit_key *key = &k[i * 7919u % N];
			const void *v;
			size_t len;

			if (pass == 0)
				sum += (unsigned)ipcmap_get(m, key->text, key->len, buf, 64,
							    &len);
			else
				sum += (unsigned)ipcmap_snapshot_get(s, key->text, key->len, &v,
								     &len);
		}
	}
	printf("\n    %u keys published in %.2f ms at best; get %.1f ns, snapshot_get %.1f ns ", N,
	       (double)least / 1e6, (double)(t[1] - t[0]) / (N * ROUNDS),
	       (double)(t[2] - t[1]) / (N * ROUNDS));
	CU_ASSERT(sum == 0);
	ipcmap_snapshot_close(s);
	free(p);
	free(k);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"readers never see halves while publishers are killed [G4]",
	 snapshot__readers_never_see_halves},
	{"threads share what is open", snapshot__threads_share_what_is_open},
	{"a lookup is as fast as get", snapshot__a_lookup_is_as_fast_as_get},
	CU_TEST_INFO_NULL,
};

T_SUITE("snapshot race", tests)
