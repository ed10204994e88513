/* SPDX-License-Identifier: MIT */
/*
 * t-snapshot.c - versions of tables: published whole, held, rolled back, dropped, refused
 */
#include "kit.h"

#include "crash.h"
#include "image.h"
#include "keep.h"
#include "view.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

static struct ipcmap *m;

static struct ipcmap_pair pair(const char *key, const char *val)
{
	return (struct ipcmap_pair){key, strlen(key), val, strlen(val)};
}

static uint64_t publish(const char *table, const struct ipcmap_pair *pairs, size_t n)
{
	uint64_t version = 0;
	char why[300] = "";
	int r = ipcmap_snapshot_publish(m, table, pairs, n, &version, why, sizeof(why));

	if (r)
		fprintf(stderr, "\n  publish: %d: %s\n", r, why);
	CU_ASSERT(r == 0);
	return version;
}

/* One key "k" with this value. */
static uint64_t publish_one(const char *table, const char *val)
{
	struct ipcmap_pair p = pair("k", val);

	return publish(table, &p, 1);
}

/* One key "k" with a value of @len bytes made from @seed. */
static int publish_big(const char *table, size_t len, uint64_t seed, uint64_t *ret_version,
		       char *why, size_t cap)
{
	unsigned char *val = malloc(len);
	struct ipcmap_pair p = {"k", 1, val, len};
	int r;

	kit_bytes(val, len, seed);
	r = ipcmap_snapshot_publish(m, table, &p, 1, ret_version, why, cap);
	free(val);
	return r;
}

static bool snap_is(struct ipcmap_snapshot *s, const char *key, const char *val)
{
	const void *v = NULL;
	size_t len = 0;

	return ipcmap_snapshot_get(s, key, strlen(key), &v, &len) == 0 && len == strlen(val) &&
	       strcmp(v, val) == 0 && /* the zero byte is there */
	       ipcmap_snapshot_get(s, key, strlen(key), &v, NULL) == 0;
}

static bool snap_is_big(struct ipcmap_snapshot *s, size_t len, uint64_t seed)
{
	unsigned char *want = malloc(len);
	const void *v = NULL;
	size_t n = 0;
	bool same;

	kit_bytes(want, len, seed);
	same = ipcmap_snapshot_get(s, "k", 1, &v, &n) == 0 && n == len &&
	       memcmp(v, want, len) == 0;
	free(want);
	return same;
}

static struct ipcmap_snapshot *opened(struct ipcmap *map, const char *table, uint64_t version)
{
	struct ipcmap_snapshot *s = NULL;

	CU_ASSERT_FATAL(ipcmap_snapshot_open(map, table, version, &s) == 0);
	return s;
}

static int cannot_open(const char *table, uint64_t version)
{
	struct ipcmap_snapshot *s = NULL;

	return ipcmap_snapshot_open(m, table, version, &s);
}

static uint64_t used(void)
{
	return kit_stat(m).used;
}

/* ---- what is published ---- */

static void snapshot__published_keys_are_found(void)
{
	struct ipcmap_pair p[3] = {pair("b", "2"), pair("a", "one"), pair("c", "")};
	struct ipcmap_snapshot *s;
	const void *v;
	size_t len;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(cannot_open("conf", 0) == IPCMAP_NOTFOUND);
	CU_ASSERT(publish("conf", p, 3) == 1);
	s = opened(m, "conf", 0);
	CU_ASSERT(snap_is(s, "a", "one") && snap_is(s, "b", "2") && snap_is(s, "c", ""));
	CU_ASSERT(ipcmap_snapshot_get(s, "d", 1, &v, &len) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_snapshot_get(s, "", 0, &v, &len) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_snapshot_version(s) == 1 && ipcmap_snapshot_count(s) == 3);
	CU_ASSERT(!ipcmap_snapshot_newer(s));
	CU_ASSERT(publish("other", p, 1) == 1);
	CU_ASSERT(!ipcmap_snapshot_newer(s));
	CU_ASSERT(publish("conf", p, 2) == 2);
	CU_ASSERT(ipcmap_snapshot_newer(s) && snap_is(s, "c", ""));
	ipcmap_snapshot_close(s);
	s = opened(m, "conf", 0);
	CU_ASSERT(ipcmap_snapshot_get(s, "c", 1, &v, &len) == IPCMAP_NOTFOUND);
	ipcmap_snapshot_close(s);
	CU_ASSERT(publish("empty", NULL, 0) == 1);
	s = opened(m, "empty", 0);
	CU_ASSERT(ipcmap_snapshot_count(s) == 0);
	CU_ASSERT(ipcmap_snapshot_get(s, "c", 1, &v, &len) == IPCMAP_NOTFOUND);
	ipcmap_snapshot_close(s);
	kit_gone(m);
}

static int in_order(void *arg, const struct ipcmap_pair *p)
{
	uint64_t *n = arg;
	struct kit_key k = kit_key((*n)++);

	return p->key_len == k.len && memcmp(p->key, k.text, k.len) == 0 ? 0 : 7;
}

static int stop_at_once(void *arg, const struct ipcmap_pair *p)
{
	(void)arg;
	(void)p;
	return 5;
}

static void snapshot__many_keys_come_in_order(void)
{
	enum { N = 5000 };
	struct ipcmap_pair *p = calloc(N, sizeof(*p));
	struct kit_key *k = calloc(N, sizeof(*k));
	struct ipcmap_snapshot *s, *r;
	struct ipcmap *ro;
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	uint64_t n = 0;

	m = kit_made(T_NAME, 4 * KIT_MIB, 0, 0);
	for (unsigned i = 0; i < N; i++) {
		unsigned at = i * 7 % N; /* any order */

		k[at] = kit_key(at);
		p[i] = (struct ipcmap_pair){k[at].text, k[at].len, k[at].text, k[at].len};
	}
	publish("t", p, N);
	s = opened(m, "t", 0);
	CU_ASSERT(ipcmap_snapshot_each(s, in_order, &n) == 0 && n == N);
	CU_ASSERT(ipcmap_snapshot_each(s, stop_at_once, NULL) == 5);
	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
	r = opened(ro, "t", 0);
	for (unsigned i = 0; i < N; i++)
		CU_ASSERT(snap_is(s, k[i].text, k[i].text) && snap_is(r, k[i].text, k[i].text));
	CU_ASSERT(ipcmap_snapshot_publish(ro, "t", p, 1, NULL, NULL, 0) == IPCMAP_READONLY);
	CU_ASSERT(ipcmap_check(ro, kit_print, NULL) == 0);
	ipcmap_snapshot_close(r);
	ipcmap_close(ro);
	ipcmap_snapshot_close(s);
	free(p);
	free(k);
	kit_gone(m);
}

static void snapshot__bad_sets_are_refused(void)
{
	struct ipcmap_pair p[2] = {pair("key", "1"), pair("key", "2")};
	uint64_t before;
	char why[200], name[66];

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	publish_one("t", "x");
	before = used();
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", p, 2, NULL, why, sizeof(why)) == IPCMAP_INVALID);
	CU_ASSERT(strstr(why, "\"key\" is there twice") != NULL);
	p[1].key_len = 0;
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", p, 2, NULL, why, sizeof(why)) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_snapshot_publish(m, "", p, 1, NULL, NULL, 0) == IPCMAP_INVALID);
	memset(name, 'n', 65);
	name[64] = '\0';
	CU_ASSERT(ipcmap_snapshot_publish(m, name, p, 1, NULL, NULL, 0) == IPCMAP_INVALID);
	name[63] = '\0';
	CU_ASSERT(ipcmap_snapshot_publish(m, name, p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(ipcmap_snapshot_drop(m, name) == 0);
	CU_ASSERT(publish_big("t", 600000, 1, NULL, why, sizeof(why)) == IPCMAP_FULL);
	CU_ASSERT(strstr(why, "held by nobody") != NULL);
	CU_ASSERT(used() == before);
	kit_gone(m);
}

static void snapshot__each_size_of_an_extent_is_whole(void)
{
	struct ipcmap_snapshot *s;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	for (size_t len = 3900; len < 4200; len++) {
		uint64_t v = 0;

		CU_ASSERT(publish_big("t", len, len, &v, NULL, 0) == 0);
		s = opened(m, "t", v);
		CU_ASSERT(snap_is_big(s, len, len));
		ipcmap_snapshot_close(s);
	}
	kit_gone(m);
}

/* ---- what is kept ---- */

struct tally {
	unsigned n, kept, current, holders;
	uint64_t low, high;
};

static int count_version(void *arg, const struct ipcmap_snapshot_info *i)
{
	struct tally *t = arg;

	if (!t->n || i->version < t->low)
		t->low = i->version;
	if (i->version > t->high)
		t->high = i->version;
	t->n++;
	t->kept += i->kept;
	t->current += i->current;
	t->holders += i->holders;
	return 0;
}

static struct tally tally(void)
{
	struct tally t = {0};

	CU_ASSERT(ipcmap_snapshot_list(m, count_version, &t) == 0);
	return t;
}

static void snapshot__eight_versions_stay_and_any_held(void)
{
	struct ipcmap_snapshot *s, *again;
	struct tally t;
	uint64_t before;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	before = used();
	CU_ASSERT(publish_one("t", "first") == 1);
	s = opened(m, "t", 0);
	for (unsigned i = 0; i < 20; i++)
		publish_one("t", "later");
	t = tally();
	CU_ASSERT(t.n == 9 && t.kept == 8 && t.current == 1 && t.holders == 1);
	CU_ASSERT(t.low == 1 && t.high == 21);
	CU_ASSERT(snap_is(s, "k", "first") && ipcmap_snapshot_newer(s));
	CU_ASSERT(cannot_open("t", 1) == IPCMAP_NOTFOUND);
	CU_ASSERT(cannot_open("t", 13) == IPCMAP_NOTFOUND);
	again = opened(m, "t", 14);
	CU_ASSERT(ipcmap_snapshot_version(again) == 14 && ipcmap_snapshot_newer(again));
	ipcmap_snapshot_close(again);
	CU_ASSERT(kit_sound(m));
	ipcmap_snapshot_close(s);
	publish_one("t", "last");
	CU_ASSERT(tally().n == 8);
	CU_ASSERT(used() == before + 8 * kit_stat(m).extent_len);
	CU_ASSERT(kit_stat(m).snapshot_len == 8 * kit_stat(m).extent_len);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t") == 0);
	CU_ASSERT(used() == before && kit_stat(m).snapshot_len == 0);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t") == IPCMAP_NOTFOUND);
	kit_gone(m);
}

static void snapshot__one_pin_for_each_process_and_version(void)
{
	struct ipcmap_snapshot *a, *b;
	struct ipcmap *other;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	publish_one("t", "x");
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, NULL, &other) == 0);
	a = opened(m, "t", 0);
	b = opened(other, "t", 1);
	CU_ASSERT(tally().holders == 1);
	ipcmap_snapshot_close(a);
	CU_ASSERT(tally().holders == 1 && snap_is(b, "k", "x"));
	ipcmap_snapshot_close(b);
	CU_ASSERT(tally().holders == 0);
	ipcmap_close(other);
	kit_gone(m);
}

static void snapshot__rollback_is_the_old_content_as_a_new_version(void)
{
	struct ipcmap_snapshot *s;
	uint64_t v = 0;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 0, &v) == IPCMAP_NOTFOUND);
	publish_one("t", "one");
	CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 0, &v) == IPCMAP_NOTFOUND);
	CU_ASSERT(publish_big("t", 50000, 2, NULL, NULL, 0) == 0);
	publish_one("t", "three");
	CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 0, &v) == 0 && v == 4);
	s = opened(m, "t", 0);
	CU_ASSERT(snap_is_big(s, 50000, 2) && ipcmap_snapshot_version(s) == 4);
	ipcmap_snapshot_close(s);
	CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 1, &v) == 0 && v == 5);
	s = opened(m, "t", 0);
	CU_ASSERT(snap_is(s, "k", "one"));
	ipcmap_snapshot_close(s);
	CU_ASSERT(ipcmap_snapshot_rollback(m, "t", 9, &v) == IPCMAP_NOTFOUND);
	kit_gone(m);
}

static void snapshot__old_versions_go_before_a_publisher_is_refused(void)
{
	struct ipcmap_snapshot *s;
	char why[300] = "", pid[32];
	struct tally t;
	uint64_t v;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	snprintf(pid, sizeof(pid), "held by %d", (int)getpid());
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT(publish_big("t", 150000, i, NULL, NULL, 0) == 0);
	t = tally();
	CU_ASSERT(t.n == 3 && t.high == 10);
	s = opened(m, "t", 0);
	CU_ASSERT(publish_big("t", 150000, 10, &v, NULL, 0) == 0);
	CU_ASSERT(publish_big("t", 150000, 11, &v, NULL, 0) == 0);
	CU_ASSERT(publish_big("t", 250000, 12, &v, why, sizeof(why)) == IPCMAP_FULL);
	CU_ASSERT(strstr(why, pid) != NULL);
	/* nothing was dropped for nothing */
	CU_ASSERT(tally().n == 3 && snap_is_big(s, 150000, 9));
	ipcmap_snapshot_close(s);
	CU_ASSERT(publish_big("t", 250000, 12, &v, why, sizeof(why)) == 0);
	kit_gone(m);
}

static void snapshot__a_full_map_gives_garbage_first(void)
{
	char big[2000] = "";
	struct kit_key k;
	uint64_t i = 0, v;

	m = kit_made(T_NAME, 2 * KIT_MIB, 0, 1);
	for (; i < 100000; i++) {
		k = kit_key(i);
		if (ipcmap_put(m, k.text, k.len, big, sizeof(big), NULL))
			break;
	}
	CU_ASSERT(publish_big("t", 100000, 1, &v, NULL, 0) == IPCMAP_LIMIT);
	while (i-- > 300) {
		k = kit_key(i);
		CU_ASSERT(ipcmap_del(m, k.text, k.len) == 0);
	}
	CU_ASSERT(publish_big("t", 100000, 1, &v, NULL, 0) == 0);
	kit_gone(m);
}

static void snapshot__tables_are_reused_and_go_on_counting(void)
{
	struct ipcmap_snapshot *s;
	char name[16];
	uint32_t n;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	n = (uint32_t)m->seg->user_geo[FMT_GEO_TABLES];
	for (uint32_t i = 0; i < n; i++) {
		sprintf(name, "t%u", i);
		CU_ASSERT(publish_one(name, name) == 1);
	}
	CU_ASSERT(ipcmap_snapshot_publish(m, "more", NULL, 0, NULL, NULL, 0) == IPCMAP_FULL);
	s = opened(m, "t3", 0);
	CU_ASSERT(ipcmap_snapshot_drop(m, "t3") == 0);
	CU_ASSERT(ipcmap_snapshot_newer(s) && snap_is(s, "k", "t3"));
	CU_ASSERT(cannot_open("t3", 0) == IPCMAP_NOTFOUND);
	CU_ASSERT(publish_one("more", "x") == 2);
	CU_ASSERT(tally().n == n); /* the version that is held is not one of "more" */
	CU_ASSERT(ipcmap_snapshot_newer(s) && snap_is(s, "k", "t3"));
	CU_ASSERT(cannot_open("t3", 0) == IPCMAP_NOTFOUND && kit_sound(m));
	ipcmap_snapshot_close(s);
	CU_ASSERT(ipcmap_snapshot_drop(m, "more") == 0);
	CU_ASSERT(publish_one("more", "y") == 3);
	kit_gone(m);
}

/* ---- processes ---- */

static void snapshot__a_dead_holder_holds_nothing(void)
{
	struct t_gate held;
	pid_t pid;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	publish_one("t", "x");
	t_gate_open(&held);
	pid = t_fork();
	if (pid == 0) {
		opened(m, "t", 0);
		t_gate_pass(&held);
		pause();
	}
	t_gate_wait(&held);
	for (unsigned i = 0; i < 9; i++)
		publish_one("t", "y");
	CU_ASSERT(tally().n == 9);
	kill(pid, SIGSTOP);
	publish_one("t", "z");
	CU_ASSERT(tally().n == 9 && tally().holders == 1);
	t_kill(pid);
	publish_one("t", "z");
	CU_ASSERT(tally().n == 8 && tally().holders == 0);
	t_gate_close(&held);
	kit_gone(m);
}

/* A prefork server: the master opens, the workers use, the master goes on or ends. */
static void snapshot__forked_workers_hold_it_for_themselves(void)
{
	struct t_gate go, used_it;
	struct ipcmap_snapshot *s;
	pid_t pid;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish_big("t", 50000, 1, NULL, NULL, 0) == 0);
	s = opened(m, "t", 0);
	t_gate_open(&go);
	t_gate_open(&used_it);
	pid = t_fork();
	if (pid == 0) {
		T_MUST(snap_is_big(s, 50000, 1));
		t_gate_pass(&used_it);
		t_gate_wait(&go);
		T_MUST(snap_is_big(s, 50000, 1) && ipcmap_snapshot_newer(s));
		ipcmap_snapshot_close(s);
		T_MUST(ipcmap_snapshot_open(m, "t", 0, &s) == 0 && snap_is(s, "k", "new"));
		_exit(0);
	}
	t_gate_wait(&used_it);
	CU_ASSERT(tally().holders == 2);
	ipcmap_snapshot_close(s);
	CU_ASSERT(tally().holders == 1);
	for (unsigned i = 0; i < 20; i++)
		publish_one("t", "new");
	CU_ASSERT(tally().n == 9);
	t_gate_pass(&go);
	CU_ASSERT(t_ok(pid));
	t_gate_close(&go);
	t_gate_close(&used_it);
	kit_gone(m);
}

/* The child's first call comes late: @close: the parent has let the version go. */
static void late_child(const char *name, bool parent_closes)
{
	struct ipcmap_snapshot *s;
	struct t_gate go;
	pid_t pid;

	m = kit_made(name, KIT_MIB, 0, 0);
	CU_ASSERT(publish_big("t", 50000, 1, NULL, NULL, 0) == 0);
	s = opened(m, "t", 0);
	t_gate_open(&go);
	pid = t_fork();
	if (pid == 0) {
		const void *v;
		size_t len;

		t_gate_wait(&go);
		if (!parent_closes) {
			T_MUST(snap_is_big(s, 50000, 1));
		} else {
			T_MUST(ipcmap_snapshot_get(s, "k", 1, &v, &len) == IPCMAP_MISMATCH);
			T_MUST(ipcmap_snapshot_newer(s));
		}
		ipcmap_snapshot_close(s);
		T_MUST(ipcmap_snapshot_open(m, "t", 0, &s) == 0 && snap_is(s, "k", "new"));
		_exit(0);
	}
	if (parent_closes)
		ipcmap_snapshot_close(s);
	for (unsigned i = 0; i < 20; i++)
		publish_one("t", "new");
	t_gate_pass(&go);
	CU_ASSERT(t_ok(pid));
	if (!parent_closes)
		ipcmap_snapshot_close(s);
	publish_one("t", "new");
	CU_ASSERT(tally().n == 8);
	t_gate_close(&go);
	kit_gone(m);
}

static void snapshot__a_late_child_holds_what_its_parent_holds(void)
{
	late_child(T_NAME, false);
}

static void snapshot__a_late_child_is_told_that_it_is_gone(void)
{
	late_child(T_NAME, true);
}

/* ---- no room for a pin, hostile bytes ---- */

static void snapshot__without_a_pin_it_is_copied(void)
{
	struct ipcmap_snapshot *s;
	struct im_area a;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish_big("t", 50000, 1, NULL, NULL, 0) == 0);
	im_area_of(m->seg, &a);
	for (uint32_t i = 0; i < a.pins.n; i++)
		im_pin_at(&a.pins, i)->owner = m->seg->self;
	a.s->pin_top = a.pins.n;
	s = opened(m, "t", 0);
	CU_ASSERT(s->copy != NULL);
	memset(a.pins.at, 0, a.pins.n * sizeof(struct fmt_pin));
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT(publish_big("t", 50000, 2, NULL, NULL, 0) == 0);
	CU_ASSERT(snap_is_big(s, 50000, 1) && tally().n == 8);
	ipcmap_snapshot_close(s);
	kit_gone(m);
}

static unsigned pins_of(uint32_t owner)
{
	struct im_area a;
	unsigned n = 0;

	im_area_of(m->seg, &a);
	for (uint32_t i = 0; i < a.pins.n; i++)
		n += im_pin_at(&a.pins, i)->owner == owner;
	return n;
}

/* All pins are of an owner that cannot be, so it is dead. */
static void snapshot__pins_of_the_dead_are_used_again(void)
{
	struct ipcmap_snapshot *s;
	struct im_area a;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	publish_one("t", "x");
	im_area_of(m->seg, &a);
	for (uint32_t i = 0; i < a.pins.n; i++)
		im_pin_at(&a.pins, i)->owner = 1023 | 5u << 10;
	a.s->pin_top = a.pins.n;
	s = opened(m, "t", 0);
	CU_ASSERT(s->copy == NULL && snap_is(s, "k", "x") && pins_of(m->seg->self) == 1);
	ipcmap_snapshot_close(s);
	CU_ASSERT(pins_of(m->seg->self) == 0);
	kit_gone(m);
}

static void publish_many(void)
{
	for (unsigned i = 0; i < 12; i++)
		CU_ASSERT(publish_big("t", 50000, 2 + i, NULL, NULL, 0) == 0);
}

/* All pins are of an owner that lives; before that is found out, others publish. */
static unsigned probes;

static int publish_at_a_probe(int fd, uint32_t slot)
{
	if (slot != 2)
		return im_os_real.owner_locked(fd, slot);
	if (probes++ == 0)
		publish_many();
	return 1;
}

/* The version that was to be copied is gone by then, and its memory has another one. */
static void snapshot__copy_is_of_one_version(void)
{
	struct im_os os = im_os_real;
	struct ipcmap_snapshot *s;
	struct im_area a;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish_big("t", 50000, 1, NULL, NULL, 0) == 0);
	im_area_of(m->seg, &a);
	m->seg->owners[1].gen = 7;
	for (uint32_t i = 0; i < a.pins.n; i++)
		im_pin_at(&a.pins, i)->owner = 2 | 7u << 10;
	a.s->pin_top = a.pins.n;
	probes = 0;
	os.owner_locked = publish_at_a_probe;
	im_os = &os;
	s = opened(m, "t", 0);
	im_os = &im_os_real;
	CU_ASSERT(probes > 0 && s->copy != NULL);
	CU_ASSERT(ipcmap_snapshot_version(s) == 13 && snap_is_big(s, 50000, 13));
	ipcmap_snapshot_close(s);
	memset(a.pins.at, 0, a.pins.n * sizeof(struct fmt_pin));
	kit_gone(m);
}

static bool must_open; /* nothing is wrong with the bytes yet */

/* A get of each key, a walk, and all other calls: an error is right, a fault is not. */
static int try_all(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap_snapshot *s;
	struct ipcmap *map;
	struct tally t = {0};
	uint64_t n = 0;

	for (unsigned ro = 0; ro < 2; ro++) {
		const void *v;
		size_t len;

		o.flags = ro ? IPCMAP_RDONLY : 0;
		o.deadline_ns = 50 * KIT_MS;
		if (ipcmap_open(arg, &o, &map)) {
			T_MUST(!must_open);
			continue;
		}
		ipcmap_check(map, NULL, NULL);
		ipcmap_snapshot_list(map, count_version, &t);
		for (unsigned version = 0; version < 4; version++) {
			if (ipcmap_snapshot_open(map, "t", version, &s)) {
				T_MUST(!must_open || ro);
				continue;
			}
			T_MUST(!must_open || snap_is(s, "k000000007", "k000000007"));
			for (unsigned i = 0; i < 60; i++) {
				struct kit_key k = kit_key(i);
				uint64_t sum = 0;

				if (ipcmap_snapshot_get(s, k.text, k.len, &v, &len) == 0)
					for (size_t at = 0; at < len; at++)
						sum += ((const unsigned char *)v)[at];
				*(volatile uint64_t *)&n = sum;
			}
			ipcmap_snapshot_each(s, in_order, &n);
			ipcmap_snapshot_close(s);
		}
		if (!ro) {
			struct ipcmap_pair p = pair("k", "v");

			ipcmap_snapshot_rollback(map, "t", 0, NULL);
			ipcmap_snapshot_publish(map, "t", &p, 1, NULL, NULL, 0);
			ipcmap_snapshot_drop(map, "t");
		}
		ipcmap_close(map);
	}
	return 0;
}

static void snapshot__hostile_bytes_end_in_errors(void)
{
	uint64_t seed = kit_seed(), x = seed, area, size;
	struct ipcmap_pair p[60];
	struct kit_key k[60];
	unsigned rounds = T_AMOUNT(400, 150, 40), bad = 0;
	char name[100];
	struct im_area a;
	size_t len;
	void *good;

	m = kit_made(T_NAME, KIT_MIB, KIT_MIB, 1);
	strcpy(name, m->seg->name);
	for (unsigned i = 0; i < 60; i++) {
		k[i] = kit_key(i);
		p[i] = (struct ipcmap_pair){k[i].text, k[i].len, k[i].text, k[i].len};
	}
	for (unsigned i = 0; i < 3; i++)
		publish("t", p, 60);
	im_area_of(m->seg, &a);
	area = (uint64_t)((unsigned char *)a.s - m->seg->base);
	size = fmt_area_len(a.n_tables);
	len = m->seg->len;
	good = malloc(len);
	memcpy(good, m->seg->base, m->seg->extent_off + 32 * m->seg->extent_len);
	memset((char *)good + m->seg->extent_off + 32 * m->seg->extent_len, 0,
	       len - m->seg->extent_off - 32 * m->seg->extent_len);
	for (unsigned round = 0; round < rounds; round++) {
		int fd;

		ipcmap_unlink(name);
		fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
		CU_ASSERT_FATAL(fd >= 0);
		CU_ASSERT_FATAL(write(fd, good, len) == (ssize_t)len);
		must_open = round == 0;
		for (unsigned i = 0; i < round % 7; i++) {
			/* the used parts of the area, the table, or the image */
			uint64_t parts[4][2] = {
				{area, 320 + 128},
				{area + 320 + a.n_tables * 128, 4 * 64},
				{(uint64_t)((unsigned char *)m->seg->table - m->seg->base), 8 * 64},
				{m->seg->extent_off, 5 * m->seg->extent_len},
			};
			unsigned part = (unsigned)kit_below(&x, 4);
			uint64_t at = parts[part][0] + kit_below(&x, parts[part][1]);
			unsigned char byte = (unsigned char)kit_random(&x);

			if (kit_below(&x, 2))
				byte = kit_below(&x, 2) ? 0xff : 0;
			CU_ASSERT(pwrite(fd, &byte, 1, (off_t)at) == 1);
		}
		close(fd);
		if (!t_ok(t_run(try_all, name)))
			bad++;
	}
	CU_ASSERT(bad == 0 && size > 0);
	if (bad)
		printf("seed %llu ", (unsigned long long)seed);
	free(good);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static void snapshot__check_finds_what_is_wrong(void)
{
	struct im_area a;
	uint64_t word, current;
	char name[4096];

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish_big("t", 50000, 1, NULL, NULL, 0) == 0);
	im_area_of(m->seg, &a);
	CU_ASSERT(kit_sound(m));
	word = a.kept[0].word;
	current = a.tables[0].current;
	a.kept[0].word += UINT64_C(1) << 16;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) > 0); /* keep.I1, I2 */
	a.kept[0].word = word;
	a.kept[0].n--;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) > 0);
	a.kept[0].n++;
	a.tables[0].current += 1;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) > 0); /* keep.I3 */
	a.tables[0].current = current;
	a.tables[0].last = 7;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) > 0); /* snapshot.I2 */
	a.tables[0].last = 1;
	im_seg_extent(m->seg, a.kept[0].first)[sizeof(struct fmt_image) + 17] ^= 1;
	im_seg_extent(m->seg, a.kept[0].first)[sizeof(struct fmt_image) + 1] ^= 1;
	im_seg_extent(m->seg, a.kept[0].first)[sizeof(struct fmt_image) + 9] ^= 1;
	CU_ASSERT(ipcmap_check(m, NULL, NULL) > 0); /* image.I2 */
	strcpy(name, m->seg->name);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

#if defined(IM_CHECK) && IM_CHECK
static void *open_first(void *arg)
{
	return ipcmap_snapshot_open(m, "t", 1, arg) ? NULL : arg;
}

static struct ipcmap_snapshot *first;

/* Another thread opens the oldest version when the publisher has counted the holders. */
static void hold_first(const char *point)
{
	struct im_area a;
	pthread_t thread;
	void *done = NULL;

	im_area_of(m->seg, &a);
	if (strcmp(point, "read.version") != 0 || !im_load32_rlx(&a.s->lock))
		return;
	im_crash_hook = NULL;
	CU_ASSERT_FATAL(pthread_create(&thread, NULL, open_first, &first) == 0);
	pthread_join(thread, &done);
	CU_ASSERT(done != NULL);
}

/* The version leaves then, and its memory stays: holders are counted again after that. */
static void snapshot__held_at_the_last_moment_it_stays(void)
{
	struct tally t;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(publish_big("t", 150000, i, NULL, NULL, 0) == 0);
	first = NULL;
	im_crash_hook = hold_first;
	CU_ASSERT(publish_big("t", 150000, 3, NULL, NULL, 0) == 0);
	im_crash_hook = NULL;
	CU_ASSERT_FATAL(first != NULL);
	t = tally();
	CU_ASSERT(t.low == 1 && t.high == 4 && t.holders == 1 && t.kept == t.n - 1);
	CU_ASSERT(cannot_open("t", 1) == IPCMAP_NOTFOUND);
	for (unsigned i = 4; i < 8; i++)
		CU_ASSERT(publish_big("t", 150000, i, NULL, NULL, 0) == 0);
	CU_ASSERT(snap_is_big(first, 150000, 0) && kit_sound(m));
	ipcmap_snapshot_close(first);
	kit_gone(m);
}

/* The version goes before its holder has said which one it holds. */
static void publish_before_it_is_told(const char *point)
{
	if (strcmp(point, "pin.claimed") != 0)
		return;
	im_crash_hook = NULL;
	publish_many();
}

static void snapshot__what_is_gone_when_it_is_pinned_is_not_held(void)
{
	struct ipcmap_snapshot *s;

	m = kit_made(T_NAME, KIT_MIB, 0, 0);
	CU_ASSERT(publish_big("t", 50000, 1, NULL, NULL, 0) == 0);
	im_crash_hook = publish_before_it_is_told;
	s = opened(m, "t", 0);
	im_crash_hook = NULL;
	CU_ASSERT(ipcmap_snapshot_version(s) == 13 && snap_is_big(s, 50000, 13));
	CU_ASSERT(pins_of(m->seg->self) == 1); /* the first one was given back */
	ipcmap_snapshot_close(s);
	CU_ASSERT(pins_of(m->seg->self) == 0);
	kit_gone(m);
}

static const char *stop_at;
static unsigned stops;

/* Others publish until the place of the version that is being read has another one. */
static void replace_it(const char *point)
{
	struct im_area a;
	char val[24];
	uint64_t n;

	if (strcmp(point, stop_at) != 0)
		return;
	im_crash_hook = NULL;
	stops++;
	im_area_of(m->seg, &a);
	n = a.tables[0].last;
	do {
		sprintf(val, "%u", (unsigned)++n);
		publish_one("t", val);
	} while (fmt_current_slot(a.tables[0].current) != 0);
}

/* A reader that is stopped among a version's fields opens the old version or the new one. */
static void snapshot__fields_of_two_versions_are_not_mixed(void)
{
	static const char *const points[] = {"read.version", "read.length"};
	static const char big[9000] = "k";
	struct ipcmap_pair p = {big, 1, big, sizeof(big)};
	struct ipcmap_snapshot *s = NULL;
	char val[24];

	for (unsigned i = 0; i < ARRAY_LEN(points); i++) {
		m = kit_made(T_NAME, KIT_MIB, 0, 0);
		CU_ASSERT(publish("t", &p, 1) == 1); /* of several extents, the others of one */
		stop_at = points[i];
		stops = 0;
		im_crash_hook = replace_it;
		s = opened(m, "t", 0);
		im_crash_hook = NULL;
		CU_ASSERT(stops == 1);
		sprintf(val, "%u", (unsigned)ipcmap_snapshot_version(s));
		CU_ASSERT(snap_is(s, "k", val) && !ipcmap_snapshot_newer(s));
		ipcmap_snapshot_close(s);
		kit_gone(m);
	}
}
#endif

static CU_TestInfo tests[] = {
	{"published keys are found, the others are not", snapshot__published_keys_are_found},
	{"many keys come in order, by any attach", snapshot__many_keys_come_in_order},
	{"bad sets are refused, and leave nothing", snapshot__bad_sets_are_refused},
	{"images around the length of an extent are whole",
	 snapshot__each_size_of_an_extent_is_whole},
	{"eight versions stay, and any that is held", snapshot__eight_versions_stay_and_any_held},
	{"a process has one pin for a version", snapshot__one_pin_for_each_process_and_version},
	{"rollback is the old content as a new version",
	 snapshot__rollback_is_the_old_content_as_a_new_version},
	{"old versions go before a publisher is refused, who is told the holders",
	 snapshot__old_versions_go_before_a_publisher_is_refused},
	{"a full map gives garbage first", snapshot__a_full_map_gives_garbage_first},
	{"tables are reused, and their numbers go on",
	 snapshot__tables_are_reused_and_go_on_counting},
	{"a dead holder holds nothing, a stopped one its version",
	 snapshot__a_dead_holder_holds_nothing},
	{"forked workers hold it for themselves", snapshot__forked_workers_hold_it_for_themselves},
	{"a late child holds what its parent holds",
	 snapshot__a_late_child_holds_what_its_parent_holds},
	{"a late child is told that it is gone", snapshot__a_late_child_is_told_that_it_is_gone},
	{"without a free pin it is copied", snapshot__without_a_pin_it_is_copied},
	{"pins of the dead are used again", snapshot__pins_of_the_dead_are_used_again},
	{"a copy is of one version", snapshot__copy_is_of_one_version},
#if defined(IM_CHECK) && IM_CHECK
	{"held at the last moment, a version stays",
	 snapshot__held_at_the_last_moment_it_stays},
	{"what is gone when it is pinned is not held",
	 snapshot__what_is_gone_when_it_is_pinned_is_not_held},
	{"fields of two versions are not mixed", snapshot__fields_of_two_versions_are_not_mixed},
#endif
	{"hostile bytes end in errors [G8]", snapshot__hostile_bytes_end_in_errors},
	{"check finds what is wrong", snapshot__check_finds_what_is_wrong},
	CU_TEST_INFO_NULL,
};

T_SUITE("snapshot", tests)
