/* SPDX-License-Identifier: MIT */
/*
 * verify.c - compares the map with the oracle when all writers are dead
 *
 *	verify NAME ORACLE
 *
 * Prints "what<TAB>number<TAB>remark" lines; status 1 when something is wrong.
 */
#include "demo.h"

struct sums {
	uint64_t starts, reads, writes, slowest_ns, wrong, stale, failed, cut, undone;
	uint64_t took[DEMO_SLOTS];
	uint64_t lost; /* keys whose last acknowledged write is not there */
};

static void add_writers(const struct demo *d, struct sums *s)
{
	for (unsigned i = 0; i < DEMO_WRITERS; i++) {
		const struct demo_writer *w = &d->writers[i];

		s->starts += w->starts;
		s->reads += w->reads;
		s->writes += w->writes;
		s->slowest_ns = w->slowest_ns > s->slowest_ns ? w->slowest_ns : s->slowest_ns;
		s->wrong += w->wrong;
		s->stale += w->stale;
		s->failed += w->failed;
		s->cut += w->cut;
		s->undone += w->undone;
		for (unsigned k = 0; k < DEMO_SLOTS; k++)
			s->took[k] += w->took[k];
	}
}

static void compare(const struct demo *d, struct ipcmap *map, struct sums *s)
{
	char *buf = malloc(DEMO_VALUE_MAX);

	if (!buf)
		demo_die("verify", "out of memory");
	for (uint32_t i = 0; i < d->n_keys; i++) {
		const struct demo_key *k = &d->keys[i];
		uint64_t n;
		size_t len;
		int rc = ipcmap_get(map, demo_key_at(d, i), k->len, buf, DEMO_VALUE_MAX, &len);

		if (rc == IPCMAP_NOTFOUND) {
			s->lost += i < d->n_loaded || k->acked;
		} else if (rc < 0 || !demo_number(d, i, buf, len, &n)) {
			s->wrong++;
		} else {
			s->lost += n < k->acked;
			s->wrong += n > k->intent;
			s->cut += k->intent != k->acked && n == k->intent;
			s->undone += k->intent != k->acked && n == k->acked;
		}
	}
	free(buf);
}

/* The time that 999 of 1000 reads stayed below, to a power of two. */
static uint64_t most_below_ns(const struct sums *s)
{
	uint64_t sum = 0, part = s->reads - s->reads / 1000;

	for (unsigned k = 0; k < DEMO_SLOTS - 1; k++) {
		sum += s->took[k];
		if (sum >= part)
			return 2ull << k;
	}
	return 0;
}

static void print(const char *what, uint64_t n, const char *remark)
{
	printf("%s\t%llu\t%s\n", what, (unsigned long long)n, remark);
}

static void print_slowest(const struct sums *s)
{
	uint64_t most = most_below_ns(s);
	bool us = most < 1000000;

	printf("slowest read\t%.3g ms\t99.9 %% below %.3g %s; with scheduling\n",
	       (double)s->slowest_ns / 1e6, (double)most / (us ? 1e3 : 1e6), us ? "us" : "ms");
}

int main(int argc, char **argv)
{
	struct sums s = {0};
	struct ipcmap *map;
	struct demo *d;
	uint64_t entries;
	char remark[128];

	if (argc != 3)
		demo_die("usage", "verify NAME ORACLE");
	d = demo_open(argv[2]);
	map = demo_attach(argv[1]);
	add_writers(d, &s);
	compare(d, map, &s);
	if (ipcmap_entries(map, &entries) < 0)
		demo_die("verify", "ipcmap_entries failed");
	ipcmap_close(map);

	print("records loaded", d->n_loaded, "from Debian's package index");
	print("reads", s.reads, "each checked against the oracle");
	print("writes", s.writes, "acknowledged");
	snprintf(remark, sizeof remark, "writes then cut: %llu done, %llu not",
		 (unsigned long long)s.cut, (unsigned long long)s.undone);
	print("kills", d->kills, remark);
	print_slowest(&s);
	print("wrong values", s.wrong + s.stale, "torn, mixed up, missing, or out of date");
	print("lost acknowledged writes", s.lost, "");
	print("failed calls", s.failed, "");
	print("keys too many or too few",
	      entries > d->n_keys ? entries - d->n_keys : d->n_keys - entries, "");
	return s.wrong || s.stale || s.lost || s.failed || entries != d->n_keys;
}
