/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - publish, roll back, drop and list the versions of snapshot tables
 *
 * Called with im_tls.held set, but for the lists and the wait.
 */
#ifndef IM_SNAPSHOT_H
#define IM_SNAPSHOT_H

#include "ipcmap.h"
#include "map.h"

int im_snapshot_publish(struct ipcmap *m, const char *table, const struct ipcmap_pair *pairs,
			size_t n, uint64_t *ret_version, const struct im_why *why);

/* The content of a version that can be opened, 0: of the one before the current, again. */
int im_snapshot_rollback(struct ipcmap *m, const char *table, uint64_t version,
			 uint64_t *ret_version);

int im_snapshot_drop(struct ipcmap *m, const char *table);

/*
 * For a repaired map, which nobody else has: a version as it was, above those restored before;
 * the name of a table without versions, whose highest was @last.
 */
int im_snapshot_restore(struct ipcmap *m, const char *table, uint64_t version, uint64_t time,
			const unsigned char *bytes, uint64_t len, uint32_t keys,
			const struct im_why *why);
int im_snapshot_restore_name(struct ipcmap *m, const char *table, uint64_t last);

int im_snapshot_list(struct ipcmap *m,
		     int (*each)(void *arg, const struct ipcmap_snapshot_info *info), void *arg);
int im_snapshot_holders(struct ipcmap *m,
			int (*each)(void *arg, const struct ipcmap_snapshot_holder *holder),
			void *arg);

/*
 * After a publication: store the version before @version of the table in place @table
 * compressed, if that is of use. Needs an owner; no lock is held.
 */
struct im_keep;
void im_snapshot_pack(struct ipcmap *m, struct im_keep *k, uint32_t table, uint64_t version);

/* Sleep until the table's current version, 0 when it is not there, is not @version. */
int im_snapshot_wait(struct ipcmap *m, const char *table, uint64_t version,
		     uint64_t deadline_ns, uint64_t *ret_version);

#endif
