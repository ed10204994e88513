/* SPDX-License-Identifier: MIT */
/*
 * publisher.c - replaces a group of configuration keys, again and again, until it is killed
 *
 *	publisher NAME ORACLE
 */
#include "demo.h"

#define PAUSE_NS 2000000 /* between two publications */

int main(int argc, char **argv)
{
	const struct timespec pause = {0, PAUSE_NS};
	char *buf = malloc(DEMO_VALUE_MAX);
	struct ipcmap *map;
	struct demo *d;

	if (argc != 3)
		demo_die("usage", "publisher NAME ORACLE");
	if (!buf)
		demo_die("publisher", "out of memory");
	d = demo_open(argv[2]);
	map = demo_attach(argv[1]);
	demo_resume(d, map, DEMO_PUBLISHER, buf);
	for (;;) {
		for (uint32_t i = 0; i < DEMO_CONFIG; i++)
			demo_write(d, map, d->n_loaded + i, 100 + 50 * i, buf);
		nanosleep(&pause, NULL);
	}
}
