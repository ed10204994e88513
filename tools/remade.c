/* SPDX-License-Identifier: MIT */
/*
 * remade.c - has another map got the name, for verbs that go on for long
 *
 * Who has a map attached keeps it when it is removed, and would wait for ever for what others
 * do with the one that was made after it under the same name. So the name's inode is looked
 * at: a map that is mapped keeps its own, so another map has another one. What decides is the
 * number that each creation of a map has, since the file may change between two looks.
 *
 * Looking once a second is for people and their supervisors; it costs one system call.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "out.h"
#include "remade.h"

#define EVERY_NS 1000000000ull

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* As ipcmap(7) has it: a name without a further slash lies in /dev/shm. */
static bool find_file(const char *name, struct stat *st)
{
	const char *base = name + (*name == '/');
	char path[4200];

	if (strchr(base, '/'))
		return lstat(name, st) == 0;
	snprintf(path, sizeof path, "/dev/shm/%s", base);
	return lstat(path, st) == 0;
}

static uint64_t creation(struct ipcmap *map)
{
	struct ipcmap_inspect v = {.struct_size = sizeof v};

	return ipcmap_inspect(map, &v) == 0 ? v.creation : 0;
}

void remade_init(struct remade *r, const struct args *a, const char *name, unsigned flags,
		 const char *goes_on)
{
	struct stat st;

	*r = (struct remade){.name = name, .goes_on = goes_on, .looked_ns = now_ns()};
	r->flags = flags | (a->foreign ? IPCMAP_FOREIGN : 0);
	if (find_file(name, &st)) {
		r->dev = st.st_dev;
		r->ino = st.st_ino;
	}
}

static struct ipcmap *attach_other(struct remade *r)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map = NULL;
	char why[WHY_CAP];
	int rc;

	o.flags = r->flags;
	o.deadline_ns = IPCMAP_NOWAIT; /* for one that is being created: the next look */
	rc = attach_try(r->name, &o, why, sizeof why, &map);
	if (rc < 0) {
		if (rc != IPCMAP_CREATING && rc != IPCMAP_NOTFOUND && rc != r->failed)
			say(r->name, "another map has the name, %s: %s", r->goes_on,
			    attach_reason(rc, why));
		r->failed = rc;
		return NULL;
	}
	r->failed = 0;
	return map;
}

struct ipcmap *remade_look(struct remade *r, struct ipcmap *map)
{
	struct ipcmap *other;
	struct stat st;

	if (now_ns() - r->looked_ns < EVERY_NS)
		return NULL;
	r->looked_ns = now_ns();
	if (!find_file(r->name, &st)) {
		if (!r->is_gone)
			say(r->name, "removed; %s", r->goes_on);
		r->is_gone = true;
		return NULL;
	}
	if (st.st_dev == r->dev && st.st_ino == r->ino) {
		r->is_gone = false;
		return NULL;
	}
	other = attach_other(r);
	if (!other)
		return NULL;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->is_gone = false;
	if (creation(other) == creation(map)) {
		ipcmap_close(other);
		return NULL;
	}
	return other;
}
