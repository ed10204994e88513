/* SPDX-License-Identifier: MIT */
/*
 * t-inspect.c - the numbers of a segment as they stand, whole or broken
 */
#include "kit.h"

#include <pthread.h>

static struct ipcmap *m;

static struct ipcmap_inspect header(struct ipcmap *map)
{
	struct ipcmap_inspect h = {.struct_size = sizeof(h)};

	CU_ASSERT(ipcmap_inspect(map, &h) == 0);
	return h;
}

static struct ipcmap_owner_info owner(struct ipcmap *map, uint32_t i)
{
	struct ipcmap_owner_info o = {.struct_size = sizeof(o)};

	CU_ASSERT(ipcmap_inspect_owner(map, i, &o) == 0);
	return o;
}

static struct ipcmap_shard_info shard(struct ipcmap *map, uint32_t i)
{
	struct ipcmap_shard_info s = {.struct_size = sizeof(s)};

	CU_ASSERT(ipcmap_inspect_shard(map, i, &s) == 0);
	return s;
}

static struct ipcmap *read_only(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *ro = NULL;

	o.flags = IPCMAP_RDONLY;
	CU_ASSERT_FATAL(ipcmap_open(m->seg->name, &o, &ro) == 0);
	return ro;
}

static void inspect__tells_the_header(void)
{
	const struct fmt_header *f;
	struct ipcmap_inspect h;

	m = kit_made(T_NAME, 4 * KIT_MIB, 8 * KIT_MIB, 2);
	f = m->seg->h;
	h = header(m);
	CU_ASSERT(h.format == f->version && h.compat == f->compat && h.incompat == f->incompat);
	CU_ASSERT(h.creation == f->creation && h.created == f->created);
	CU_ASSERT(h.file_len == f->max_len && h.limit == 4 * KIT_MIB && h.shards == 2);
	CU_ASSERT(h.owner_off == f->owner_off && h.line_off == f->line_off);
	CU_ASSERT(h.shard_off == f->user_off && h.table_off == f->table_off);
	CU_ASSERT(h.extent_off == f->extent_off && h.extents == f->n_extents);
	CU_ASSERT(h.extent_len == 1u << f->extent_shift && h.unit_len == 1u << f->unit_shift);
	CU_ASSERT(h.owners == f->n_owners && h.lines == f->n_lines && h.lines_used <= 1);
	CU_ASSERT(h.ttl_ns == IPCMAP_TTL_NONE && h.index_max == m->dir_cap);
	CU_ASSERT(h.lock_slot == 0 && h.armed == 0 && h.takeovers == 0);
	CU_ASSERT(memcmp(h.boot_id, f->boot_id, 16) == 0);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	h = header(m);
	CU_ASSERT(h.extents_used > 0 && h.extents_used + h.extents_queued == h.extents_fresh);
	CU_ASSERT(h.extents_limit >= h.extents_used && h.extents_limit < h.extents);
	kit_gone(m);
}

struct other {
	const char *name;
	struct t_gate ready, go;
};

static int attach_and_wait(void *arg)
{
	struct other *o = arg;
	struct ipcmap *map;

	T_MUST(ipcmap_open(o->name, NULL, &map) == 0);
	T_MUST(ipcmap_put(map, "k", 1, "v", 1, NULL) == 0);
	t_gate_pass(&o->ready);
	t_gate_wait(&o->go);
	return 0;
}

static void inspect__tells_owners_alive_and_dead(void)
{
	struct other other = {.name = T_NAME};
	struct ipcmap_owner_info o;
	struct ipcmap *ro;
	pid_t child;

	m = kit_made(other.name, KIT_MIB, 0, 1);
	ro = read_only();
	t_gate_open(&other.ready);
	t_gate_open(&other.go);
	child = t_run(attach_and_wait, &other);
	t_gate_wait(&other.ready);
	o = owner(ro, 0);
	CU_ASSERT(o.slot == 1 && o.gen == 1 && o.pid == (uint64_t)getpid() && o.alive);
	CU_ASSERT(o.start > 0 && o.attached > 1600000000 && o.comm[0] && !o.comm[16]);
	o = owner(ro, 1);
	CU_ASSERT(o.slot == 2 && o.gen == 1 && o.pid == (uint64_t)child && o.alive);
	CU_ASSERT(o.lines == 1 && o.extents == 0);
	o = owner(ro, 2);
	CU_ASSERT(o.slot == 3 && o.gen == 0 && !o.alive && o.pid == 0);
	t_kill(child);
	o = owner(ro, 1);
	CU_ASSERT(o.gen == 1 && o.pid == (uint64_t)child && !o.alive && o.lines == 1);
	CU_ASSERT(owner(m, 0).alive && !owner(m, 1).alive);
	t_gate_close(&other.ready);
	t_gate_close(&other.go);
	ipcmap_close(ro);
	kit_gone(m);
}

static void inspect__tells_shards(void)
{
	struct ipcmap_shard_info s;
	struct ipcmap_stat stat;
	uint64_t entries = 0, live = 0, buckets = 0;

	m = kit_made(T_NAME, 16 * KIT_MIB, 0, 4);
	s = shard(m, 0);
	CU_ASSERT(s.entries == 0 && s.buckets == 0 && s.hot == IPCMAP_NO_EXTENT);
	CU_ASSERT(s.cold == IPCMAP_NO_EXTENT && s.reserve == IPCMAP_NO_EXTENT);
	for (uint64_t i = 0; i < 20000; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, "value", 5, NULL) == 0);
	}
	for (uint32_t i = 0; i < 4; i++) {
		s = shard(m, i);
		entries += s.entries;
		live += s.live_len;
		buckets += s.buckets;
		CU_ASSERT(s.hot != IPCMAP_NO_EXTENT && s.log_extents && s.index_extents);
		CU_ASSERT(s.version > s.entries && s.floor == 0 && s.redo_seq % 2 == 0);
		CU_ASSERT(s.lock_slot == 0 && !s.lock_waited && !s.splitting && !s.freeing);
	}
	stat = kit_stat(m);
	CU_ASSERT(entries == 20000 && live == stat.live_len && buckets == stat.buckets);
	CU_ASSERT(ipcmap_clear(m) == 0);
	s = shard(m, 0);
	CU_ASSERT(s.entries == 0 && s.floor > 1);
	kit_gone(m);
}

/* What a killed writer would leave: a lock that names it, an armed list. */
static void inspect__tells_a_lock_and_an_armed_list(void)
{
	struct ipcmap_shard_info s;

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	m->shards[0].lock = 5u | 9u << 10 | 1u << 31;
	m->shards[0].redo.seq++;
	m->shards[0].redo.n = 3;
	s = shard(m, 0);
	CU_ASSERT(s.lock_slot == 5 && s.lock_gen == 9 && s.lock_waited == 1);
	CU_ASSERT(s.redo_seq % 2 == 1 && s.redo_stores == 3);
	m->shards[0].lock = 0;
	m->shards[0].redo.seq++;
	m->seg->h->space.lock = 7u | 2u << 10;
	CU_ASSERT(header(m).lock_slot == 7 && header(m).lock_gen == 2);
	m->seg->h->space.lock = 0;
	kit_gone(m);
}

static void inspect__counts_extents(void)
{
	static char val[200000];
	struct ipcmap_extent_counts c[3], all = {0};
	struct ipcmap_inspect h;
	struct ipcmap_stat s;

	m = kit_made(T_NAME, 8 * KIT_MIB, 0, 2);
	for (uint64_t i = 0; i < 5000; i++) {
		struct kit_key k = kit_key(i);

		CU_ASSERT(ipcmap_put(m, k.text, k.len, "value", 5, NULL) == 0);
	}
	CU_ASSERT(ipcmap_put(m, "large", 5, val, sizeof(val), NULL) == 0);
	CU_ASSERT(ipcmap_inspect_extents(m, c, 3) == 0);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < IPCMAP_EXTENT_STATES; k++)
			all.n[k] += c[i].n[k];
		all.live += c[i].live;
		all.filled += c[i].filled;
		all.backed += c[i].backed;
	}
	h = header(m);
	s = kit_stat(m);
	CU_ASSERT(all.n[IPCMAP_EXTENT_LOG] * s.extent_len == s.log_len);
	CU_ASSERT(all.n[IPCMAP_EXTENT_INDEX] * s.extent_len == s.index_len);
	CU_ASSERT(all.n[IPCMAP_EXTENT_LARGE] == 1);
	CU_ASSERT((1 + all.n[IPCMAP_EXTENT_PIECE]) * s.extent_len >= s.large_len);
	CU_ASSERT(all.n[IPCMAP_EXTENT_PRIVATE] == 0 && all.n[IPCMAP_EXTENT_OTHER] == 0);
	CU_ASSERT(all.live == s.live_len && all.filled >= all.live);
	CU_ASSERT(all.n[IPCMAP_EXTENT_FREE] >= h.extents - h.extents_fresh);
	CU_ASSERT(all.backed >= h.extents_used);
	CU_ASSERT(c[2].n[IPCMAP_EXTENT_LOG] == 0 && c[0].n[IPCMAP_EXTENT_FREE] == 0);
	CU_ASSERT(c[0].n[IPCMAP_EXTENT_LOG] == shard(m, 0).log_extents);
	CU_ASSERT(c[1].n[IPCMAP_EXTENT_LOG] == shard(m, 1).log_extents);
	kit_gone(m);
}

static void inspect__refuses_bad_arguments(void)
{
	struct ipcmap_inspect h = {.struct_size = 1};
	struct ipcmap_owner_info o = {.struct_size = sizeof(o)};
	struct ipcmap_shard_info s = {.struct_size = sizeof(s)};
	struct ipcmap_extent_counts c[4];

	m = kit_made(T_NAME, KIT_MIB, 0, 1);
	CU_ASSERT(ipcmap_inspect(m, &h) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_inspect(m, NULL) == IPCMAP_INVALID);
	h.struct_size = sizeof(h);
	CU_ASSERT(ipcmap_inspect(NULL, &h) == IPCMAP_INVALID);
	h = header(m);
	CU_ASSERT(ipcmap_inspect_owner(m, h.owners, &o) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_inspect_owner(m, h.owners - 1, &o) == 0);
	CU_ASSERT(ipcmap_inspect_shard(m, 1, &s) == IPCMAP_NOTFOUND);
	CU_ASSERT(ipcmap_inspect_shard(m, UINT32_MAX, &s) == IPCMAP_NOTFOUND);
	o.struct_size--;
	s.struct_size++;
	CU_ASSERT(ipcmap_inspect_owner(m, 0, &o) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_inspect_shard(m, 0, &s) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_inspect_owner(m, 0, NULL) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_inspect_shard(NULL, 0, &s) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_inspect_extents(m, c, 1) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_inspect_extents(m, c, 3) == IPCMAP_INVALID);
	CU_ASSERT(ipcmap_inspect_extents(m, NULL, 2) == IPCMAP_INVALID);
	kit_gone(m);
}

static void look_at_all(struct ipcmap *map)
{
	struct ipcmap_inspect h = header(map);
	struct ipcmap_extent_counts *c = malloc((h.shards + 1) * sizeof(*c));
	uint64_t n = 0;

	for (uint32_t i = 0; i < h.owners; i++)
		CU_ASSERT(owner(map, i).comm[16] == 0);
	for (uint32_t i = 0; i < h.shards; i++)
		shard(map, i);
	CU_ASSERT(ipcmap_inspect_extents(map, c, h.shards + 1) == 0);
	for (uint32_t i = 0; i <= h.shards; i++)
		for (unsigned k = 0; k < IPCMAP_EXTENT_STATES; k++)
			n += c[i].n[k];
	CU_ASSERT(n == h.extents); /* each counted once, whatever it says */
	free(c);
}

/* Everything behind the checked numbers of the header is overwritten, many times. */
static void inspect__is_safe_on_any_bytes(void)
{
	uint64_t seed = kit_seed(), state = seed;
	struct ipcmap *ro;
	void *whole;

	fprintf(stderr, "(seed %llu) ", (unsigned long long)seed);
	m = kit_made(T_NAME, 2 * KIT_MIB, 4 * KIT_MIB, 2);
	CU_ASSERT(kit_put(m, "k", "v") == 0);
	ro = read_only();
	whole = malloc(m->seg->extent_off);
	memcpy(whole, m->seg->base, m->seg->extent_off);
	for (unsigned round = 0; round < 40; round++) {
		size_t from = offsetof(struct fmt_header, ttl_ns);
		size_t len = m->seg->extent_off - from;

		if (round == 0)
			memset(m->seg->base + from, 0xff, len);
		else if (round % 2)
			kit_bytes(m->seg->base + from, len, kit_random(&state));
		else /* here and there, so that much of it looks right */
			for (unsigned i = 0; i < 100; i++)
				m->seg->base[from + kit_below(&state, len)] =
					(unsigned char)kit_random(&state);
		look_at_all(ro);
	}
	memset(m->seg->base, 0, m->seg->extent_off); /* the checked numbers too */
	look_at_all(ro);
	memcpy(m->seg->base, whole, m->seg->extent_off);
	free(whole);
	ipcmap_close(ro);
	kit_gone(m);
}

#define ROUNDS 300

static bool stop;

static void *write_all_the_time(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		struct kit_key k = kit_key(i % 3000);

		if (i % 7)
			ipcmap_put(m, k.text, k.len, k.text, k.len, NULL);
		else
			ipcmap_del(m, k.text, k.len);
	}
	return NULL;
}

static void inspect__of_a_live_map(void)
{
	struct ipcmap *ro;
	pthread_t t;

	m = kit_made(T_NAME, 2 * KIT_MIB, 0, 2);
	ro = read_only();
	stop = false;
	CU_ASSERT_FATAL(pthread_create(&t, NULL, write_all_the_time, NULL) == 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		look_at_all(ro);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	ipcmap_close(ro);
	kit_gone(m);
}

static CU_TestInfo tests[] = {
	{"inspect tells the header", inspect__tells_the_header},
	{"inspect tells owners, alive and dead", inspect__tells_owners_alive_and_dead},
	{"inspect tells shards", inspect__tells_shards},
	{"inspect tells a lock and an armed list", inspect__tells_a_lock_and_an_armed_list},
	{"inspect counts extents", inspect__counts_extents},
	{"inspect refuses bad arguments", inspect__refuses_bad_arguments},
	{"inspect of a live map", inspect__of_a_live_map},
	{"inspect is safe on any bytes", inspect__is_safe_on_any_bytes},
	CU_TEST_INFO_NULL,
};
T_SUITE("inspect", tests)
