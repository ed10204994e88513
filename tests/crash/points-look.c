/* SPDX-License-Identifier: MIT */
/*
 * points-look.c - a map whose writer was killed: what must hold, before and after recovery
 */
#include "points.h"

#include "map.h"
#include "space.h"

#define MORE_EACH 16u /* states, of which one is looked at as after a kill */

static const char *stage;
static bool happened; /* a key that was old before the take-over is new */

static void complain(uint32_t i, const struct points_seen *s)
{
	fprintf(stderr,
		"\n%s: %s: point %u (%s): key %u (step %d, %u acked): result %d len %u is "
		"neither old (%d, %u) nor new (%d, %u)",
		points_scenario->name, stage, points->kill_at, points_where(), points->id[i],
		points->step[i], points->acked, s->r, s->len, points->before[i].r,
		points->before[i].len, points->after[i].r, points->after[i].len);
	_exit(1);
}

static bool same(const struct points_seen *a, const struct points_seen *b)
{
	return a->r == b->r && a->len == b->len && a->sum == b->sum;
}

static bool taken_over; /* every shard has had a successor */

/*
 * A consistent read shows all of a group or nothing, whether a successor has come or not; if it
 * may not complete the group it says so.
 */
static void look_together(struct ipcmap *m)
{
	static unsigned char key[64][20], buf[64][256];
	struct ipcmap_mget items[64];
	unsigned n = 0, n_old = 0, n_new = 0;
	int r;

	for (uint32_t i = 0; i < points->n && n < 64; i++) {
		if (points->step[i] != (int)points->acked)
			continue;
		items[n] = (struct ipcmap_mget){
			.key = key[n],
			.key_len = points_make_key(points->id[i], key[n]),
			.value = {.buf = buf[n], .cap = sizeof(buf[n])}};
		n++;
	}
	if (!n)
		return;
	r = ipcmap_mget_consistent(m, items, n, 0);
	T_MUST(r >= 0 || (r == IPCMAP_BUSY && m->seg->rdonly));
	n = 0;
	for (uint32_t i = 0; i < points->n && r >= 0; i++) {
		const struct points_seen *o = &points->before[i], *w = &points->after[i];
		const struct ipcmap_mget *it = &items[n];

		if (points->step[i] != (int)points->acked || n++ == 64)
			continue;
		n_old += it->rc == (o->r || o->len <= 256 ? o->r : IPCMAP_SHORT) &&
			 (o->r || it->value.len == o->len);
		n_new += it->rc == w->r && (w->r || it->value.len == w->len);
	}
	if (r >= 0 && n_old != n && n_new != n)
		fprintf(stderr, "\n%s: %s: point %u: of %u keys %u are old and %u are new",
			points_scenario->name, stage, points->kill_at, n, n_old, n_new);
	T_MUST(r < 0 || n_old == n || n_new == n);
}

/* Every key is what it must be; @early: remember, else: never older than remembered. */
static void look_at_keys(struct ipcmap *m, bool early)
{
	int first = -1; /* is the first key of the step in flight new? */

	for (uint32_t i = 0; i < points->n; i++) {
		struct points_seen s = points_look(m, points->id[i]);
		bool old = same(&s, &points->before[i]), new = same(&s, &points->after[i]);
		uint32_t step = (uint32_t)points->step[i];

		if (points->step[i] < 0 || step > points->acked) {
			if (!old)
				complain(i, &s);
			continue;
		}
		if (step < points->acked) {
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
		if (first != new && !points_scenario->loose && !(points_scenario->group && !taken_over))
			complain(i, &s); /* all of a step or nothing */
		happened |= !early && new && same(&points->early[i], &points->before[i]);
		if (early)
			points->early[i] = s;
		else if (same(&points->early[i], &points->after[i]) && !new)
			complain(i, &s); /* was seen, must stay */
	}
}

struct walk {
	uint32_t shown;
	uint8_t times[POINTS_KEYS];
};

static int walk_one(void *arg, const struct ipcmap_item *item)
{
	struct walk *walk = arg;
	char text[24] = "";
	uint32_t i;

	memcpy(text, item->key, item->key_len < 20 ? item->key_len : 20);
	i = points->index_of[points_id_of(text) % POINTS_IDS];
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
		fprintf(stderr, "\n%s: %s: scan: %d", points_scenario->name, stage, r);
	T_MUST(r == 0);
	for (uint32_t i = 0; i < points->n; i++) {
		unsigned there = points_is_key(points->id[i]) &&
				 points_look(m, points->id[i]).r == 0;

		if (walk.times[i] != there)
			fprintf(stderr,
				"\n%s: %s: point %u: key %u is shown %u times, is %s there",
				points_scenario->name, stage, points->kill_at, points->id[i],
				walk.times[i], there ? "" : "not");
		T_MUST(walk.times[i] == there);
	}
}

static void must_be_sound(struct ipcmap *m)
{
	char where[160];
	int r;

	snprintf(where, sizeof(where), "%s: %s: point %u (%s): ", points_scenario->name, stage,
		 points->kill_at, points_where());
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
			fprintf(stderr, "\n%s: point %u: extent %u is private to %u",
				points_scenario->name, points->kill_at, i, fmt_word_who(word));
		T_MUST(fmt_word_state(word) != FMT_PRIVATE);
	}
}

void points_write_on(struct ipcmap *m)
{
	uint64_t seen = 0;
	uint32_t id = POINTS_NEW;

	for (; seen != (UINT64_C(1) << m->n_shards) - 1; id++) {
		uint32_t shard = im_map_shard(m, points_hash_of(m, id));
		int r;

		if (seen & UINT64_C(1) << shard)
			continue;
		seen |= UINT64_C(1) << shard;
		r = points_store(m, id, 60, 1, 0);
		T_MUST(r == 0 || r == IPCMAP_LIMIT);
		if (r)
			continue;
		r = points_store(m, id, 90, 2, 0);
		T_MUST(r == 0 || r == IPCMAP_LIMIT);
		T_MUST(points_look(m, id).len == (r ? 60 : 90));
		T_MUST(points_del(m, id) == 0);
		T_MUST(points_look(m, id).r == IPCMAP_NOTFOUND);
		r = points_store(m, id, 9000, 3, 0);
		T_MUST(r == 0 || r == IPCMAP_LIMIT);
		if (r == 0)
			T_MUST(points_look(m, id).len == 9000 && points_del(m, id) == 0);
	}
}

void points_write_once(struct ipcmap *m)
{
	uint64_t seen = 0;
	uint32_t id = POINTS_NEW;

	for (; seen != (UINT64_C(1) << m->n_shards) - 1; id++) {
		uint64_t shard = UINT64_C(1) << im_map_shard(m, points_hash_of(m, id));
		int r = seen & shard ? IPCMAP_LIMIT : points_store(m, id, 60, 1, 0);

		seen |= shard;
		T_MUST(r == IPCMAP_LIMIT || (r == 0 && points_del(m, id) == 0));
	}
}

/* ---- looks ---- */

static struct ipcmap *attach(unsigned flags)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;

	o.flags = flags;
	T_MUST(ipcmap_open(points_name, &o, &m) == 0);
	return m;
}

static uint64_t count_entries(struct ipcmap *m)
{
	uint64_t n = 0;

	T_MUST(ipcmap_entries(m, &n) == 0);
	return n;
}

/* Nobody has taken over: every key can be read, and how many there are is told. */
static struct ipcmap *look_before(void)
{
	struct ipcmap *m = attach(IPCMAP_RDONLY);

	stage = "read-only";
	happened = taken_over = false;
	memset(points->early, 0xff, sizeof(points->early));
	look_at_keys(m, true);
	if (points_scenario->group)
		look_together(m);
	if (points_scenario->watched == POINTS_FOLLOWED)
		points_watch_before(m);
	if (points_scenario->leased)
		points_lease_look(m);
	T_MUST(points_look(m, POINTS_NOBODY).r == IPCMAP_NOTFOUND);
	return m;
}

/* Before anybody took over: from now on this process watches too, where that is asked for. */
static struct ipcmap *attach_to_write(void)
{
	struct ipcmap *m = attach(0);

	stage = "attached";
	if (points_scenario->watched == POINTS_FOLLOWED)
		points_watch_alive(m);
	return m;
}

static void look_after(struct ipcmap *m, bool scan)
{
	must_be_sound(m); /* which entered every shard */
	taken_over = true;
	look_at_keys(m, false);
	if (scan)
		look_by_scan(m);
	nothing_is_lost(m);
	if (points_scenario->leased)
		points_lease_look(m);
}

static void clear_and_go_on(struct ipcmap *m)
{
	stage = "cleared";
	T_MUST(ipcmap_clear(m) == 0);
	must_be_sound(m);
	points_write_on(m);
	must_be_sound(m);
	if (points_scenario->watched)
		points_watch_look(m);
}

/* The last of a look: it changes what is looked at. */
static void end_look(struct ipcmap *m, bool more)
{
	if (points_scenario->leased)
		points_lease_end(m);
	if (points_scenario->watched)
		points_watch_look(m);
	if (more)
		clear_and_go_on(m);
	if (points_scenario->watched)
		points_watch_end(m);
	if (more && points_scenario->watched)
		must_be_sound(m);
	ipcmap_close(m);
}

int points_child_look(void *arg)
{
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	struct ipcmap *m = look_before();

	(void)arg;
	look_by_scan(m);
	T_MUST(ipcmap_stat(m, &st) == 0);
	ipcmap_close(m);
	m = attach_to_write();
	look_at_keys(m, false);
	if (points_scenario->group)
		look_together(m);
	stage = "recovered";
	look_after(m, true);
	if (points_scenario->watched)
		points_watch_begin(m);
	if (points->kill_at % 2) {
		stage = "written again";
		points_write_on(m);
		must_be_sound(m);
		look_at_keys(m, false);
	}
	end_look(m, true);
	return 0;
}

/*
 * Every state is read before and after the take-over, and checked. The take-over is a write
 * in one of two, a check in the other; in few of them there is more.
 */
void points_look_at_state(void)
{
	uint32_t n = points->kill_at;
	bool writes = n % 2, more = n % MORE_EACH == 0;
	struct ipcmap *m = look_before();
	uint64_t entries = count_entries(m), found;

	if (more)
		look_by_scan(m);
	if (more)
		points_count_reads(m);
	ipcmap_close(m);
	m = attach_to_write();
	stage = writes ? "written" : "recovered";
	if (writes)
		points_write_once(m);
	look_after(m, more);
	/* what an armed list says was told before, but where an extent may keep it from happening */
	found = count_entries(m);
	if (!writes && found != entries && !happened && !points_scenario->group) {
		fprintf(stderr, "\n%s: state %u: %llu entries were told, there are %llu",
			points_scenario->name, n, (unsigned long long)entries,
			(unsigned long long)found);
		_exit(1);
	}
	if (points_scenario->watched)
		points_watch_begin(m);
	end_look(m, more);
}
