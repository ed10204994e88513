/* SPDX-License-Identifier: MIT */
/*
 * instr.c - how many instructions an operation takes, counted by callgrind
 *
 *	valgrind --tool=callgrind --collect-atstart=no --dump-instr=no instr
 *
 * Each operation is done COUNT times between two switches of the collection, and the counts are
 * dumped under its name; the loop around it is counted alone and subtracted by instr.sh. One
 * process, one map of 10,000 entries of 16 + 32 bytes, so the figures repeat exactly but for
 * the seed of the hash, which decides how full each bucket is.
 */
#include "ipcmap.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#define ENTRIES 10000u
#define COUNT 2000u
#define VALUE 32u

struct key {
	uint64_t word[2];
};

static struct ipcmap *map;
static char name[64];
static unsigned char value[256];

static void must(int rc, const char *what)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, ipcmap_strerror(rc));
		ipcmap_unlink(name);
		exit(1);
	}
}

/* Key number @i; those from ENTRIES on are not in the map. */
static struct key key(unsigned i)
{
	struct key k = {{i * 0x9e3779b97f4a7c15u, ~(uint64_t)i}};

	return k;
}

static void nothing(struct key k)
{
	__asm__ volatile("" : : "r"(&k) : "memory");
}

static void get_hit(struct key k)
{
	size_t len;

	must(ipcmap_get(map, &k, sizeof(k), value, sizeof(value), &len), "get");
}

static void get_miss(struct key k)
{
	size_t len;

	k.word[1] ^= 1;
	if (ipcmap_get(map, &k, sizeof(k), value, sizeof(value), &len) != IPCMAP_NOTFOUND)
		must(IPCMAP_CORRUPT, "get of an absent key");
}

static void put_update(struct key k)
{
	must(ipcmap_put(map, &k, sizeof(k), value, VALUE, NULL), "put");
}

static void put_insert(struct key k)
{
	k.word[1] ^= 2;
	must(ipcmap_put(map, &k, sizeof(k), value, VALUE, NULL), "put");
}

static void del_it(struct key k)
{
	k.word[1] ^= 2;
	must(ipcmap_del(map, &k, sizeof(k)), "del");
}

static void pin_it(struct key k)
{
	struct ipcmap_pin p;

	must(ipcmap_pin(map, &k, sizeof(k), &p), "pin");
	ipcmap_unpin(map, &p);
}

static void many(struct key k)
{
	struct ipcmap_mget items[16];
	struct key keys[16];
	unsigned j;

	for (j = 0; j < 16; j++) {
		keys[j] = key((unsigned)(~k.word[1] + j) % ENTRIES);
		items[j].key = &keys[j];
		items[j].key_len = sizeof(keys[j]);
		items[j].value.buf = value;
		items[j].value.cap = sizeof(value);
	}
	must(ipcmap_mget(map, items, 16), "mget");
}

static const struct {
	const char *name;
	void (*call)(struct key);
} ops[] = {
	{"the loop alone", nothing}, {"get, hit", get_hit},	  {"get, miss", get_miss},
	{"put, update", put_update}, {"put, insert", put_insert}, {"del", del_it},
	{"mget of 16", many},	     {"pin, unpin", pin_it},
};

int main(void)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	unsigned i, k;
	int rc;

	snprintf(name, sizeof(name), "/ipcmap-test.%d.instr", getpid());
	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	rc = ipcmap_open(name, &o, &map);
	must(rc, "open");
	must(ipcmap_unlink(name), "unlink");
	for (i = 0; i < ENTRIES; i++)
		put_update(key(i));
	for (k = 0; k < sizeof(ops) / sizeof(*ops); k++) {
		ops[k].call(key(ENTRIES - 1)); /* the first call of a thread does more */
		CALLGRIND_TOGGLE_COLLECT;
		for (i = 0; i < COUNT; i++)
			ops[k].call(key(i * 5 % (ENTRIES - 1)));
		CALLGRIND_TOGGLE_COLLECT;
		CALLGRIND_DUMP_STATS_AT(ops[k].name);
	}
	printf("%u\n", COUNT);
	ipcmap_close(map);
	return 0;
}
