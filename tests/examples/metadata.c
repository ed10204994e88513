/* SPDX-License-Identifier: MIT */
/*
 * metadata.c - what a slow source says of its objects, asked once for all processes of a host
 *
 *	metadata [OPTIONS] NAME SOURCE OBJECT...    what is known of the objects, a line each
 *	metadata -f NAME SOURCE OBJECT...           forget them: they have changed in the source
 *
 *	-t MS   a value is good for so long (60000)
 *	-s MS   after that it may serve so long while it is asked for again (300000)
 *	-n MS   "no such object" is good for so long (10000)
 *	-b      answer with an expired value first, and ask the source after that
 *	-d MS   the source is so slow (0)
 *
 * The source is a directory with a file for each object; take your own in ask_source(). However
 * many processes miss an object at once, one asks and the others wait for its answer. When a
 * value has expired, one asks and the others go on with the old one; with -b not even that one
 * waits: a server calls answer() before it asks. A source that fails is let alone for a while,
 * longer after each failure, and the old value serves. Who changes the source says so with -f:
 * no call that begins after that returns what was there before, whoever was asking meanwhile.
 *
 * The counter "asked" in the map says how often the source was asked. By hand:
 *
 *	cc -o metadata metadata.c $(pkg-config --cflags --libs ipcmap)
 *	mkdir source; echo 'size=7 owner=ada' >source/file
 *	./metadata /meta source file nemo; ./metadata /meta source file nemo
 *	ipcmap get /meta asked; ipcmap rm /meta
 */
#include <ipcmap.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000) /* in ns */
#define VALUE_MAX 4096

struct source {
	struct ipcmap *map;
	const char *dir;
	uint64_t delay_ms;
	char value[VALUE_MAX]; /* what it said last */
};

static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "metadata: %s: %s\n", what, ipcmap_strerror(rc));
	exit(3);
}

/* ---- the source ---- */

/* A loader: no lock is held, and it may take its time, up to lease_ns in the options. */
static int ask_source(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct source *s = arg;
	struct timespec delay = {(time_t)(s->delay_ms / 1000),
				 (long)(s->delay_ms % 1000) * 1000000};
	char name[256];
	ssize_t n;
	int dir, fd, err;

	if (key_len >= sizeof(name))
		return IPCMAP_NOTFOUND;
	memcpy(name, key, key_len);
	name[key_len] = '\0';
	ipcmap_add(s->map, "asked", 5, 1, NULL, NULL); /* it may use the map */
	nanosleep(&delay, NULL);
	dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -EIO; /* not NOTFOUND: that would be said of the object */
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	err = errno;
	close(dir);
	if (fd < 0)
		return err == ENOENT ? IPCMAP_NOTFOUND : -err;
	n = read(fd, s->value, sizeof(s->value));
	err = errno;
	close(fd);
	if (n < 0)
		return -err;
	ret->val = s->value;
	ret->len = (size_t)n;
	return 0;
}

/* ---- answers ---- */

static void answer(const char *object, int rc, const char *value, const char *how)
{
	if (rc == IPCMAP_NOTFOUND)
		printf("%s: no such object\n", object);
	else if (rc != 0)
		printf("%s: not to be had: %s\n", object, ipcmap_strerror(rc));
	else
		printf("%s: %.*s (%s)\n", object, (int)strcspn(value, "\n"), value, how);
	fflush(stdout);
}

/* Who finds nothing, or an expired value, asks the source before he answers. */
static void look_up(struct source *s, const char *object, const struct ipcmap_fill_options *how)
{
	char buf[VALUE_MAX + 1] = "";
	struct ipcmap_value v = {.buf = buf, .cap = VALUE_MAX};
	int rc = ipcmap_fill(s->map, object, strlen(object), how, ask_source, s, &v);

	if (rc == 0)
		buf[v.len] = '\0';
	answer(object, rc, buf, rc == 0 && v.ttl_left_ns == 0 ? "expired" : "good");
}

/* The same in two steps, the answer in between when there is any. */
static void look_up_first(struct source *s, const char *object,
			  const struct ipcmap_fill_options *how)
{
	char buf[VALUE_MAX + 1] = "";
	struct ipcmap_value v = {.buf = buf, .cap = VALUE_MAX};
	struct ipcmap_loaded got = {.type = how->type, .ttl_ns = how->ttl_ns};
	struct ipcmap_lease lease;
	size_t len = strlen(object);
	int rc = ipcmap_lease(s->map, object, len, how, &lease, &v);

	if (rc == IPCMAP_LEAD && !lease.has_value) {
		ipcmap_lease_fail(s->map, object, len, &lease, how, 0); /* nobody loads now */
		look_up(s, object, how);
		return;
	}
	if (rc >= 0)
		buf[v.len] = '\0';
	answer(object, rc < 0 ? rc : 0, buf, v.ttl_left_ns == 0 ? "expired" : "good");
	if (rc != IPCMAP_LEAD)
		return;
	/* the lease is ours: others go on with the expired value until this is stored */
	rc = ask_source(s, object, len, &got);
	rc = rc == 0 ? ipcmap_lease_put(s->map, object, len, &lease, got.val, got.len, how)
		     : ipcmap_lease_fail(s->map, object, len, &lease, how, rc);
	if (rc != 0 && rc != IPCMAP_MISMATCH) /* that: it was forgotten while we asked */
		die(object, rc);
}

static void forget(struct ipcmap *map, const char *object)
{
	int rc = ipcmap_del(map, object, strlen(object));

	if (rc != 0 && rc != IPCMAP_NOTFOUND)
		die(object, rc);
}

int main(int argc, char **argv)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	struct source s = {0};
	int first = 0, forgetting = 0, c, rc;
	char why[200] = "";

	how.ttl_ns = 60000 * MS;
	how.stale_ns = 300000 * MS;
	how.negative_ttl_ns = 10000 * MS;
	how.deadline_ns = 30000 * MS; /* rather than the map's default: loads are slow */
	while ((c = getopt(argc, argv, "t:s:n:bd:f")) != -1 && c != '?')
		if (c == 't')
			how.ttl_ns = strtoull(optarg, NULL, 10) * MS;
		else if (c == 's')
			how.stale_ns = strtoull(optarg, NULL, 10) * MS;
		else if (c == 'n')
			how.negative_ttl_ns = strtoull(optarg, NULL, 10) * MS;
		else if (c == 'd')
			s.delay_ms = strtoull(optarg, NULL, 10);
		else if (c == 'b')
			first = 1;
		else
			forgetting = 1;
	argv += optind;
	if (c == '?' || argc - optind < 3) {
		fprintf(stderr, "usage: metadata [-t MS] [-s MS] [-n MS] [-d MS] [-b] [-f] "
				"NAME SOURCE OBJECT...\n");
		return 2;
	}
	opt.flags = IPCMAP_CREATE;
	opt.why = why;
	opt.why_cap = sizeof(why);
	rc = ipcmap_open(argv[0], &opt, &s.map);
	if (rc != 0)
		die(*why ? why : argv[0], rc);
	s.dir = argv[1];
	for (argv += 2; *argv; argv++)
		if (forgetting)
			forget(s.map, *argv);
		else if (first)
			look_up_first(&s, *argv, &how);
		else
			look_up(&s, *argv, &how);
	ipcmap_close(s.map);
	return 0;
}
