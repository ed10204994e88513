/* SPDX-License-Identifier: MIT */
/*
 * calls-snapshot.c - calls about snapshot tables, and what each may return
 */
#include "calls.h"

#include <stdlib.h>
#include <string.h>

static void publish(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_pair p[8];
	size_t n = r->a & 7, len;
	void *val = fz_val_of(r, &len);
	char keys[8][4], why[100];
	uint64_t version;
	int rc;

	for (size_t i = 0; i < n; i++) {
		keys[i][0] = (char)('a' + (r->a & 8 ? 0 : i)); /* the same twice is INVALID */
		p[i] = (struct ipcmap_pair){keys[i], 1u + (r->a >> 4 & 1u) * 65535u, val, len};
		if (p[i].key_len > 4 && p[i].key_len <= IPCMAP_KEY_MAX)
			p[i].key_len = 1;
	}
	rc = ipcmap_snapshot_publish(run->m, fz_table_of(r), p, n, &version, why, sizeof(why));
	fz_may(run, "publish", rc, PUTS & ~(E(IPCMAP_EXISTS) | E(IPCMAP_MISMATCH)));
	fz_look(why, strlen(why));
	free(val);
}

static int each_pair(void *arg, const struct ipcmap_pair *pair)
{
	uint32_t *n = arg;

	fz_look(pair->key, pair->key_len);
	fz_look(pair->val, pair->val_len);
	return ++*n > WALK_MAX ? 7 : 0;
}

static int each_version(void *arg, const struct ipcmap_snapshot_info *info)
{
	uint32_t *n = arg;

	fz_look(info->table, strlen(info->table));
	return ++*n > WALK_MAX ? 7 : 0;
}

#define VIEWS                                                                                  \
	(E(IPCMAP_NOTFOUND) | E(IPCMAP_BUSY) | E(IPCMAP_NOMEM) | E(IPCMAP_DEADLOCK) |          \
	 E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT))

static int each_holder(void *arg, const struct ipcmap_snapshot_holder *holder)
{
	uint32_t *n = arg;

	fz_look(holder->table, strlen(holder->table));
	fz_look(holder->comm, strlen(holder->comm));
	return ++*n > WALK_MAX ? 7 : 0;
}

void fz_snapshots_close(struct fz_run *run)
{
	for (unsigned i = 0; i < ARRAY_LEN(run->snap); i++) {
		ipcmap_snapshot_close(run->snap[i]);
		run->snap[i] = NULL;
		run->table[i] = NULL;
	}
}

void fz_snapshot(struct fz_run *run, const struct fz_rec *r)
{
	struct ipcmap_snapshot **s = &run->snap[r->a % ARRAY_LEN(run->snap)];
	uint64_t version = r->b & 1 ? r->d : 0;
	const void *val = NULL;
	uint32_t n = 0;
	size_t len;
	int rc;

	switch (r->kind % FZ_KINDS) {
	case FZ_PUBLISH:
		publish(run, r);
		break;
	case FZ_SNAP_WAIT:
		rc = ipcmap_snapshot_wait(run->m, fz_table_of(r), version,
					  r->a & 0x80 ? IPCMAP_NOWAIT : r->d >> 30, &version);
		fz_may(run, "snapshot_wait", rc,
		       E(IPCMAP_BUSY) | E(IPCMAP_INTERRUPTED) | E(IPCMAP_MISMATCH) |
			       E(IPCMAP_INVALID));
		break;
	case FZ_SNAP_REFRESH:
		if (!*s)
			run->table[r->a % ARRAY_LEN(run->snap)] = fz_table_of(r);
		rc = ipcmap_snapshot_refresh(run->m, run->table[r->a % ARRAY_LEN(run->snap)], s);
		fz_may(run, "snapshot_refresh", rc, VIEWS);
		break;
	case FZ_SNAP_HOLDERS:
		rc = ipcmap_snapshot_holders(run->m, each_holder, &n);
		fz_may(run, "snapshot_holders", rc, E(IPCMAP_NOMEM) | E(IPCMAP_INVALID));
		break;
	case FZ_SNAP_OPEN:
		if (*s)
			return;
		rc = ipcmap_snapshot_open(run->m, fz_table_of(r), version, s);
		fz_may(run, "snapshot_open", rc, VIEWS);
		if (rc)
			*s = NULL;
		run->table[r->a % ARRAY_LEN(run->snap)] = fz_table_of(r);
		break;
	case FZ_SNAP_GET:
		rc = ipcmap_snapshot_get(*s, r->b & 2 ? "s1" : "a", r->b & 2 ? 2 : 1, &val,
					 &len);
		fz_may(run, "snapshot_get", rc,
		    E(IPCMAP_NOTFOUND) | E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT));
		if (rc == 0)
			fz_look(val, len);
		ipcmap_snapshot_newer(*s);
		ipcmap_snapshot_version(*s);
		break;
	case FZ_SNAP_EACH:
		rc = ipcmap_snapshot_each(*s, each_pair, &n);
		fz_may(run, "snapshot_each", rc, E(IPCMAP_INVALID) | E(IPCMAP_CORRUPT));
		if (n > WALK_MAX || (rc == 0 && n != ipcmap_snapshot_count(*s)))
			fz_broken("a walk shows other than it counts", rc);
		break;
	case FZ_SNAP_LIST:
		rc = ipcmap_snapshot_list(run->m, each_version, &n);
		fz_may(run, "snapshot_list", rc, E(IPCMAP_NOMEM) | E(IPCMAP_INVALID));
		break;
	case FZ_ROLLBACK:
		rc = ipcmap_snapshot_rollback(run->m, fz_table_of(r), version, NULL);
		fz_may(run, "rollback", rc, PUTS & ~(E(IPCMAP_EXISTS) | E(IPCMAP_MISMATCH)));
		break;
	case FZ_DROP:
		rc = ipcmap_snapshot_drop(run->m, fz_table_of(r));
		fz_may(run, "drop", rc, DELS);
		break;
	default:
		ipcmap_snapshot_close(*s);
		*s = NULL;
	}
}

