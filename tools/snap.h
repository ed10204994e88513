/* SPDX-License-Identifier: MIT */
/*
 * snap.h - what the parts of `ipcmap snapshot`, and `ipcmap exec`, share
 */
#ifndef SNAP_H
#define SNAP_H

#include "attach.h"
#include "cmd.h"
#include "out.h"

/* Keys and values; where they lie is the business of who adds them. */
struct set {
	struct ipcmap_pair *pairs;
	size_t n, cap;
};

void set_add(struct set *s, const void *key, size_t key_len, const void *val, size_t val_len);

/* All of a held version, in the order of the keys; valid until it is closed. */
void set_of(struct set *s, struct ipcmap_snapshot *snap);

/* The options of all the parts; what was not given is NULL or 0. */
struct snap_how {
	const char *format;
	const char *separator; /* between the names of nested objects */
	const char *version;   /* of an export */
	const char *since;     /* of a watch */
	const char *count;
	bool holders;
	bool force;
};

/*
 * snap-source.c: read what is to be published, whole. False after saying what is wrong. @path
 * "-" is standard input.
 */
bool snap_read(struct set *s, const char *path, const struct snap_how *how);

const char *snap_table(struct args *a);
uint64_t snap_number(struct args *a, const char *what, const char *arg);

/* The library has one word for a table and a version that are not there. */
int snap_error(const char *name, const char *table, int rc, const char *not_found);

int snap_diff(struct args *a, const struct snap_how *how);
int snap_export(struct args *a, const struct snap_how *how);
int snap_watch(struct args *a, const struct snap_how *how);

#endif
