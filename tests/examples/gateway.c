/* SPDX-License-Identifier: MIT */
/*
 * gateway.c - the routes of an API gateway: the longest prefix of a path wins
 *
 *	gateway NAME	reads paths, one a line, and prints where each goes
 *
 * The routes are the snapshot table "routes": keys are prefixes of paths, values backends. To
 * find the longest one takes several lookups, and all must be of the same table of routes, or
 * a request could fall between a route that is gone and one that is not there yet. So a
 * request is routed in a version that is held, and the next one in the newest: whether there
 * is a newer one costs one load. Any number of gateways share the one copy in memory.
 *
 * A gateway without work lets an old version go, too: nobody sends a request only for that.
 * By hand:
 *
 *	cc -o gateway gateway.c $(pkg-config --cflags --libs ipcmap)
 *	ipcmap create /gateway
 *	echo '{"/": "web:80", "/api": "api:8080", "/api/v2": "new:8080"}' |
 *		ipcmap snapshot publish /gateway routes - --format=json
 *	printf '/api/users/7\n/api/v2/users\n/apis\n' | ./gateway /gateway; ipcmap rm /gateway
 */
#include <ipcmap.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLE "routes"
#define IDLE_MS 100 /* without a request: look for newer routes so often */

static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "gateway: %s: %s\n", what, ipcmap_strerror(rc));
	exit(3);
}

/* The newest routes; those that are held while there are no others. */
static void refresh(struct ipcmap *map, struct ipcmap_snapshot **routes)
{
	int rc = ipcmap_snapshot_refresh(map, TABLE, routes);

	if (rc < 0 && !*routes)
		die(TABLE, rc);
}

/* "/api/users/7", "/api/users", "/api", "/": the first that is a route. NULL: none is. */
static const char *find(struct ipcmap_snapshot *routes, const char *path, size_t len)
{
	const void *backend;
	int rc;

	while (len > 0) {
		rc = ipcmap_snapshot_get(routes, path, len, &backend, NULL);
		if (rc == 0)
			return backend; /* a zero byte follows each value */
		if (rc != IPCMAP_NOTFOUND)
			die("lookup", rc);
		if (len == 1)
			break;
		do
			len--;
		while (len > 0 && path[len] != '/');
		len += len == 0 && *path == '/'; /* the last one to try is "/" */
	}
	return NULL;
}

static void answer(struct ipcmap_snapshot *routes, const char *path)
{
	const char *backend = find(routes, path, strlen(path));

	printf("%s -> %s (version %llu)\n", path, backend ? backend : "404",
	       (unsigned long long)ipcmap_snapshot_version(routes));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	struct pollfd in = {STDIN_FILENO, POLLIN, 0};
	struct ipcmap_snapshot *routes = NULL;
	struct ipcmap *map;
	char why[200] = "", line[1024];
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: gateway NAME\n");
		return 2;
	}
	opt.why = why;
	opt.why_cap = sizeof(why);
	rc = ipcmap_open(argv[1], &opt, &map);
	if (rc != 0) {
		fprintf(stderr, "gateway: %s\n", *why ? why : ipcmap_strerror(rc));
		return 3;
	}
	setvbuf(stdin, NULL, _IONBF, 0); /* what poll() does not see would wait for ever */
	for (;;) {
		rc = poll(&in, 1, IDLE_MS);
		if (rc < 0 && errno != EINTR)
			die("poll", -errno);
		refresh(map, &routes);
		if (rc <= 0)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			break;
		line[strcspn(line, "\n")] = '\0';
		answer(routes, line);
	}
	ipcmap_snapshot_close(routes);
	ipcmap_close(map);
	return 0;
}
