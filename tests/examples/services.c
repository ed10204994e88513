/* SPDX-License-Identifier: MIT */
/*
 * services.c - the instances of a service, for processes that pick one at random
 *
 *	services NAME publish ADDRESS ...	replaces the list, whole
 *	services NAME pick			prints one of the list
 *	services NAME trial READERS LISTS	readers pick while the list is replaced
 *
 * The list is the snapshot table "web": keys 0, 1, ... n - 1, values the addresses. Stored as
 * plain keys it could only be replaced one by one, and somebody would find it empty, or half
 * old and half new. A version of a snapshot table is found whole, and stays as it is for as
 * long as it is held, however often the list is replaced meanwhile.
 *
 * In the trial readers pick until they have seen LISTS lists, while the list is replaced
 * without a pause; each address says of which list and of how many it is. Status 1 when a
 * reader finds a list empty, mixed, or older than the one before. By hand:
 *
 *	cc -o services services.c $(pkg-config --cflags --libs ipcmap)
 *	./services /services publish 10.0.0.1:80 10.0.0.2:80
 *	./services /services pick
 *	./services /services trial 3 1000; ipcmap rm /services
 */
#include <ipcmap.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLE "web"
#define INSTANCES_MAX 100
#define ADDRESS_CAP 64

static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "services: %s: %s\n", what, ipcmap_strerror(rc));
	exit(3);
}

static void publish(struct ipcmap *map, char **addresses, size_t n)
{
	struct ipcmap_pair pairs[INSTANCES_MAX];
	char keys[INSTANCES_MAX][8], why[200] = "";
	int rc;

	if (n == 0 || n > INSTANCES_MAX) /* an empty list would be a mistake of the publisher */
		die("number of addresses", IPCMAP_INVALID);
	for (size_t i = 0; i < n; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%zu", i);
		pairs[i] = (struct ipcmap_pair){.key = keys[i],
						.key_len = strlen(keys[i]),
						.val = addresses[i],
						.val_len = strlen(addresses[i])};
	}
	rc = ipcmap_snapshot_publish(map, TABLE, pairs, n, NULL, why, sizeof(why));
	if (rc != 0)
		die(*why ? why : TABLE, rc);
}

/* Have the current list in *held. True when it is another one than before. */
static bool follow(struct ipcmap *map, struct ipcmap_snapshot **held)
{
	struct ipcmap_snapshot *fresh;
	int rc;

	if (*held && !ipcmap_snapshot_newer(*held))
		return false;
	rc = ipcmap_snapshot_open(map, TABLE, 0, &fresh);
	if (rc != 0)
		die(TABLE, rc);
	ipcmap_snapshot_close(*held); /* NULL is fine */
	*held = fresh;
	return true;
}

/* One address: a string in the map, which stays there for as long as the list is held. */
static const char *pick(struct ipcmap_snapshot *list)
{
	uint64_t n = ipcmap_snapshot_count(list);
	const void *val;
	char key[24];
	size_t len;
	int rc;

	if (n == 0)
		die("an empty list", IPCMAP_NOTFOUND);
	snprintf(key, sizeof(key), "%llu", (unsigned long long)random() % n);
	rc = ipcmap_snapshot_get(list, key, strlen(key), &val, &len);
	if (rc != 0)
		die(key, rc);
	return val;
}

/* ---- the trial ---- */

static void publish_numbered(struct ipcmap *map, unsigned long number)
{
	char text[INSTANCES_MAX][ADDRESS_CAP], *addresses[INSTANCES_MAX];
	size_t n = 1 + number % INSTANCES_MAX;

	for (size_t i = 0; i < n; i++) {
		addresses[i] = text[i];
		snprintf(text[i], ADDRESS_CAP, "host%zu.list%lu.of%zu:80", i, number, n);
	}
	publish(map, addresses, n);
}

/* Pick until so many lists were seen; the status is 1 when one of them was wrong. */
static int read_lists(struct ipcmap *map, unsigned long lists)
{
	unsigned long seen = 0, picks = 0, number = 0, which, of;
	struct ipcmap_snapshot *list = NULL;
	const char *addr;
	bool fresh;

	srandom((unsigned)getpid());
	while (seen < lists) {
		fresh = follow(map, &list);
		addr = pick(list);
		if (sscanf(addr, "host%*u.list%lu.of%lu:80", &which, &of) != 2 ||
		    of != ipcmap_snapshot_count(list) ||
		    (fresh ? which <= number : which != number)) {
			printf("%s, found in or after list %lu\n", addr, number);
			return 1;
		}
		number = which;
		seen += fresh;
		if (++picks % 100 == 0)
			usleep(100); /* the publisher needs a processor, too */
	}
	ipcmap_snapshot_close(list);
	printf("reader %d: %lu picks from %lu lists\n", (int)getpid(), picks, seen);
	return 0;
}

/* The readers are forked after the map was opened, which they use as it is. */
static int trial(struct ipcmap *map, int readers, unsigned long lists)
{
	unsigned long number = 1;
	pid_t parent = getpid();
	int status, rc = 0;

	publish_numbered(map, number);
	for (int i = 0; i < readers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork", -errno);
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* do not wait for lists for ever */
			exit(getppid() == parent ? read_lists(map, lists) : 3);
		}
	}
	while (readers > 0) {
		publish_numbered(map, ++number);
		while (waitpid(-1, &status, WNOHANG) > 0) {
			readers--;
			if (status != 0)
				rc = 1;
		}
	}
	printf("%lu lists published\n", number);
	return rc;
}

int main(int argc, char **argv)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	struct ipcmap_snapshot *list = NULL;
	const char *verb = argc > 2 ? argv[2] : "";
	struct ipcmap *map;
	int rc = 0;

	opt.flags = IPCMAP_CREATE;
	opt.limit = 8 << 20;
	if (argc > 2)
		rc = ipcmap_open(argv[1], &opt, &map);
	if (rc != 0)
		die(argv[1], rc);
	if (strcmp(verb, "publish") == 0) {
		publish(map, argv + 3, (size_t)argc - 3);
	} else if (strcmp(verb, "pick") == 0 && argc == 3) {
		follow(map, &list);
		srandom((unsigned)getpid());
		printf("%s\n", pick(list));
		ipcmap_snapshot_close(list);
	} else if (strcmp(verb, "trial") == 0 && argc == 5) {
		rc = trial(map, atoi(argv[3]), strtoul(argv[4], NULL, 10));
	} else {
		fprintf(stderr, "usage: services NAME publish ADDRESS ... | pick |"
				" trial READERS LISTS\n");
		return 2;
	}
	ipcmap_close(map);
	return rc;
}
