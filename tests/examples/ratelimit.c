/* SPDX-License-Identifier: MIT */
/*
 * ratelimit.c - so many requests of a client in so much time, counted by all processes together
 *
 *	ratelimit [-s] [-n TIMES] [-a MS] NAME CLIENT MAX WINDOW_MS
 *
 * Asks for one request, or TIMES, and prints how many were allowed. Each question is one
 * ipcmap_add() with a bound: it adds 1, or changes nothing and says IPCMAP_RANGE. So however
 * many processes ask at once, exactly MAX are allowed.
 *
 * Fixed window: a counter that is not there begins, at the first request, with a life of
 * WINDOW_MS, and is forgotten after it. A client can have MAX at the end of a window and MAX
 * at the beginning of the next.
 *
 * Sliding window (-s): there is a counter for each WINDOW_MS of the clock, and of the requests
 * in the previous one those count that a window ending now would still cover, supposing that
 * they came evenly. A process that is held up between the look at the clock and the addition
 * may add to a window that is just over. -a sets the clock, to see how it works.
 *
 * Status: 0 all allowed, 1 some refused, 2 usage, 3 anything else; whether an error of the map
 * should let requests pass or not is for the caller to decide. By hand:
 *
 *	cc -o ratelimit ratelimit.c $(pkg-config --cflags --libs ipcmap)
 *	./ratelimit -n 15 /rates jane 10 60000
 *	ipcmap rm /rates
 */
#include <ipcmap.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000u /* ns */
#define KEY_CAP 256
#define CLIENT_MAX 200 /* what surely fits into a key */

struct limit {
	int64_t max;
	uint64_t window_ns;
};

/* Count one more under this key if that makes at most max: 1 allowed, 0 refused, or error. */
static int count(struct ipcmap *map, const char *key, int64_t max, uint64_t life_ns)
{
	struct ipcmap_add_options how = IPCMAP_ADD_INIT;
	int rc;

	how.initial = 0; /* that is the default, too */
	how.max = max;
	how.ttl_ns = life_ns; /* of a new counter; a present one keeps its own */
	rc = ipcmap_add(map, key, strlen(key), 1, &how, NULL);
	return rc == IPCMAP_RANGE ? 0 : rc < 0 ? rc : 1;
}

static int ask_fixed(struct ipcmap *map, const char *client, const struct limit *limit)
{
	char key[KEY_CAP];

	snprintf(key, sizeof(key), "fixed:%s", client);
	return count(map, key, limit->max, limit->window_ns);
}

/* What a counter stands at; one that is not there at 0. Its value is decimal text. */
static int look(struct ipcmap *map, const char *key, int64_t *ret_n)
{
	char text[24];
	size_t len;
	int rc = ipcmap_get(map, key, strlen(key), text, sizeof(text) - 1, &len);

	if (rc == 0)
		text[len] = '\0';
	if (rc == 0 || rc == IPCMAP_NOTFOUND)
		*ret_n = rc == 0 ? strtoll(text, NULL, 10) : 0;
	return rc == IPCMAP_NOTFOUND ? 0 : rc;
}

static int ask_sliding(struct ipcmap *map, const char *client, const struct limit *limit,
		       uint64_t now_ns)
{
	uint64_t window = now_ns / limit->window_ns;
	uint64_t left_ns = limit->window_ns - now_ns % limit->window_ns;
	double still; /* share of the previous window that counts */
	char key[KEY_CAP];
	int64_t before;
	int rc;

	snprintf(key, sizeof(key), "sliding:%" PRIu64 ":%s", window - 1, client);
	rc = look(map, key, &before);
	if (rc != 0)
		return rc;
	still = (double)left_ns / (double)limit->window_ns;
	snprintf(key, sizeof(key), "sliding:%" PRIu64 ":%s", window, client);
	/* a counter is of use in its own window and in the next */
	return count(map, key, (int64_t)((double)limit->max - (double)before * still),
		     2 * limit->window_ns);
}

/* The same for all processes of the machine, and nobody can set it. */
static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	int sliding = 0, times = 1, allowed = 0, c, rc;
	const char *at_ms = NULL;
	struct limit limit = {0};
	struct ipcmap *map;

	while ((c = getopt(argc, argv, "sn:a:")) != -1 && c != '?')
		if (c == 's')
			sliding = 1;
		else if (c == 'n')
			times = atoi(optarg);
		else
			at_ms = optarg;
	argv += optind;
	argc -= optind;
	if (argc == 4) {
		limit.max = atoll(argv[2]);
		limit.window_ns = strtoull(argv[3], NULL, 10) * MS;
	}
	if (c != -1 || limit.window_ns == 0 || strlen(argv[1]) > CLIENT_MAX) {
		fprintf(stderr, "usage: ratelimit [-s] [-n TIMES] [-a MS] "
				"NAME CLIENT MAX WINDOW_MS\n");
		return 2;
	}
	opt.flags = IPCMAP_CREATE;
	opt.limit = 4 << 20;
	rc = ipcmap_open(argv[0], &opt, &map);
	for (int i = 0; i < times && rc >= 0; i++) {
		uint64_t now = at_ms ? strtoull(at_ms, NULL, 10) * MS : clock_ns();

		rc = sliding ? ask_sliding(map, argv[1], &limit, now)
			     : ask_fixed(map, argv[1], &limit);
		allowed += rc > 0;
	}
	if (rc < 0) {
		fprintf(stderr, "ratelimit: %s: %s\n", argv[0], ipcmap_strerror(rc));
		return 3;
	}
	ipcmap_close(map);
	printf("%d\n", allowed);
	return allowed < times;
}
