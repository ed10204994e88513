/* SPDX-License-Identifier: MIT */
/*
 * peer.h - a store whose processes are killed; each peer-NAME.c or .cpp gives one
 *
 * create() runs in a process of its own, which stays until the store is given up; attach() in
 * each worker. path is a name of this run's own on a tmpfs; files are called path, or path and
 * a suffix, and the driver removes them. Calls return 0, PEER_NONE for a key that is not there,
 * or PEER_ERROR.
 */
#ifndef PEER_H
#define PEER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEER_NONE 1
#define PEER_ERROR 2

struct peer {
	const char *name;
	const char *how; /* with which settings, in a few words */
	int (*create)(const char *path);
	int (*attach)(const char *path, void **ret_store);
	int (*get)(void *store, const void *key, size_t key_len, void *buf, size_t cap,
		   size_t *ret_len);
	int (*put)(void *store, const void *key, size_t key_len, const void *val, size_t len);
	int (*del)(void *store, const void *key, size_t key_len);
	/* makes what killed writers had in flight final; NULL: what is seen is */
	int (*firm)(void *store, const void *key, size_t key_len);
};

extern const struct peer peer;

/* Says what went wrong, on stderr; PEER_ERROR. */
int peer_fail(const char *what, const char *why);

#ifdef __cplusplus
}
#endif

#endif
