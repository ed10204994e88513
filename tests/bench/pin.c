/* SPDX-License-Identifier: MIT */
/*
 * pin.c - a value read in place, beside the same value copied
 *
 *     pin [ROUNDS]
 *
 * For each length: a get into a buffer, and a pin, a look at the first and the last byte, and the
 * end of the pin. Both in turns of some milliseconds; printed are the medians over all turns, and
 * of the ratio of neighbouring turns. Then the same with pins of other values in use, which are
 * walked when there were more at a time than an eighth of the map's extents.
 */
#include "ipcmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OTHERS 400u
#define TURN_NS 4000000u

static struct ipcmap *map;
static unsigned char *buf;
static volatile unsigned char sink;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "pin: %s failed\n", what);
	exit(1);
}

static void by_get(size_t len)
{
	size_t got;

	must(ipcmap_get(map, "k", 1, buf, len, &got) == 0 && got == len, "get");
	sink = buf[0] ^ buf[len - 1];
}

static void by_pin(size_t len)
{
	struct ipcmap_pin p;
	const unsigned char *v;

	must(ipcmap_pin(map, "k", 1, &p) == 0 && p.len == len, "pin");
	v = p.val;
	sink = v[0] ^ v[len - 1];
	ipcmap_unpin(map, &p);
}

/* ns of one of them. */
static double turn(void (*fn)(size_t len), size_t len)
{
	uint64_t start = now(), t;
	unsigned n = 0;

	do {
		for (unsigned i = 0; i < 16; i++, n++)
			fn(len);
		t = now() - start;
	} while (t < TURN_NS);
	return (double)t / n;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static void measure(size_t len, const char *what, unsigned rounds)
{
	double *get = malloc(rounds * sizeof(*get)), *pin = malloc(rounds * sizeof(*pin));
	double *ratio = malloc(rounds * sizeof(*ratio));

	must(get && pin && ratio, "malloc");
	memset(buf, 'v', len);
	must(ipcmap_put(map, "k", 1, buf, len, NULL) == 0, "put");
	for (unsigned i = 0; i < rounds; i++) {
		get[i] = turn(by_get, len);
		pin[i] = turn(by_pin, len);
		ratio[i] = pin[i] / get[i];
	}
	printf("%9zu %-24s %10.0f %10.0f %8.2f\n", len, what, median(get, rounds),
	       median(pin, rounds), median(ratio, rounds));
	free(get);
	free(pin);
	free(ratio);
}

int main(int argc, char **argv)
{
	static const size_t lens[] = {32, 256, 1024, 4096, 16384, 65536, 262144, 1 << 20, 8 << 20};
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 51;
	static struct ipcmap_pin other[OTHERS];
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	char name[64], key[16];

	snprintf(name, sizeof(name), "/ipcmap-bench.%d.pin", getpid());
	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	o.limit = UINT64_C(1) << 30;
	must(rounds && ipcmap_open(name, &o, &map) == 0, "open");
	ipcmap_unlink(name);
	buf = malloc(lens[sizeof(lens) / sizeof(*lens) - 1]);
	must(buf != NULL, "malloc");
	printf("%9s %-24s %10s %10s %8s\n", "bytes", "", "get, ns", "pin, ns", "ratio");
	for (unsigned i = 0; i < sizeof(lens) / sizeof(*lens) - 1; i++)
		measure(lens[i], "", rounds);
	for (unsigned i = 0; i < OTHERS; i++) {
		int len = snprintf(key, sizeof(key), "other %u", i % 100);

		must(ipcmap_put(map, key, (size_t)len, "v", 1, NULL) == 0, "put");
		must(ipcmap_pin(map, key, (size_t)len, &other[i]) == 0, "pin of others");
	}
	measure(lens[0], "400 other pins", rounds);
	measure(lens[8], "400 other pins", rounds);
	for (unsigned i = 0; i < OTHERS; i++)
		ipcmap_unpin(map, &other[i]);
	measure(lens[8], "", rounds);
	ipcmap_close(map);
	return 0;
}
