/* SPDX-License-Identifier: MIT */
/*
 * seg.h - small segments for the suites of shm/
 */
#ifndef SEG_H
#define SEG_H

#include "crash.h"
#include "os.h"
#include "owner.h"
#include "space.h"
#include "t.h"

#include <signal.h>
#include <string.h>

/* 4 shards, 16 owners, 8 lines, extents of 16 KiB, about 250 of them in 4 MiB. */
static inline struct im_seg_create seg_how(void)
{
	return (struct im_seg_create){
		.limit = 4u << 20,
		.max = 8u << 20,
		.mode = 0600,
		.gid = UINT32_MAX,
		.extent_shift = 14,
		.unit_shift = 4,
		.n_shards = 4,
		.n_owners = 16,
		.n_lines = 8,
		.user_len = 4096,
		.ttl_ns = UINT64_MAX,
	};
}

/* Ends the process when it cannot be made: there is nothing to test then. */
static inline struct im_seg *seg_made(const char *path, const struct im_seg_create *how)
{
	struct im_seg_create usual = seg_how();
	struct im_seg *seg = NULL;
	char text[300] = "";
	struct im_why why = {text, sizeof(text)};
	int rc = im_seg_create(path, how ? how : &usual, &why, &seg);

	if (rc < 0) {
		fprintf(stderr, "\n%s: create: %d: %s\n", path, rc, text);
		t_clean_up();
		_exit(1);
	}
	return seg;
}

static inline void seg_gone(struct im_seg *seg)
{
	char path[4096];

	strcpy(path, seg->name);
	im_seg_detach(seg);
	unlink(path);
}

static inline void seg_print(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "\n  %s", line);
}

static inline void seg_hush(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

static inline struct im_wait seg_wait(struct im_seg *seg, unsigned ms)
{
	struct im_wait w;

	im_wait_start(seg, ms * UINT64_C(1000000), &w);
	return w;
}

/* The findings of a check; those not expected are printed. */
static inline int seg_findings(struct im_seg *seg)
{
	struct im_wait w = seg_wait(seg, 5000);

	return im_space_check(seg, seg_print, NULL, &w);
}

static inline uint32_t seg_take(struct im_seg *seg, uint32_t after)
{
	struct im_wait w = seg_wait(seg, 5000);
	uint32_t ext = FMT_NO_EXTENT;
	uint64_t word;

	return im_space_take(seg, after, &w, &ext, &word) == 0 ? ext : FMT_NO_EXTENT;
}

static inline int seg_free(struct im_seg *seg, uint32_t first, uint32_t last, uint32_t n)
{
	struct im_wait w = seg_wait(seg, 5000);

	return im_space_free(seg, first, last, n, im_load_rlx(&seg->table[first].word), &w);
}

static inline uint32_t seg_slot(const struct im_seg *seg)
{
	return seg->self & 0x3ff;
}

#endif
