/* SPDX-License-Identifier: MIT */
/*
 * script.c - run one input: reset the file, make the changes and the calls, look at the end
 */
#include "calls.h"

#include "atomic.h"
#include "crash.h"
#include "os.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- time and memory ---- */

#define TIME_START (UINT64_C(1000) * 1000000000)

static struct im_os scripted;
static uint64_t now_ns;
static uint32_t reserve_left; /* 0: none fails */

/* Whoever looks again and again gets on. */
static uint64_t scripted_now(void)
{
	return now_ns += 1000000;
}

static uint64_t scripted_coarse(void)
{
	return now_ns;
}

static int scripted_wait(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	if (im_load32_rlx(word) != val)
		return -EAGAIN;
	now_ns += timeout_ns;
	return -ETIMEDOUT;
}

static int scripted_reserve(int fd, uint64_t off, uint64_t len)
{
	if (reserve_left && --reserve_left == 0)
		return -ENOSPC;
	return im_os_real.reserve(fd, off, len);
}

void fz_os_on(void)
{
	scripted = im_os_real;
	scripted.now = scripted_now;
	scripted.coarse = scripted_coarse;
	scripted.futex_wait = scripted_wait;
	scripted.reserve = scripted_reserve;
	im_os = &scripted;
	fz_os_reset();
}

void fz_os_off(void)
{
	im_os = &im_os_real;
}

void fz_os_reset(void)
{
	now_ns = TIME_START;
	reserve_left = 0;
}

void fz_clock_add(uint64_t ns)
{
	now_ns += ns & ((UINT64_C(1) << 40) - 1);
}

void fz_reserve_fail_at(uint32_t n)
{
	reserve_left = n;
}

/* ---- the file ---- */

static char path[100];
static unsigned char *map;
static unsigned char *before;

bool fz_start(const char *at)
{
	int fd;

	snprintf(path, sizeof(path), "%s", at);
	fz_os_on();
	before = malloc(FZ_LEN);
	if (!before || !fz_seeds_make(path))
		return false;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	map = mmap(NULL, FZ_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return map != MAP_FAILED;
}

void fz_end(void)
{
	munmap(map, FZ_LEN);
	free(before);
	unlink(path);
	fz_seeds_free();
	fz_os_off();
}

/* ---- a change inside a call ---- */

#if defined(IM_CHECK) && IM_CHECK
static struct fz_run *later_run;
static const struct fz_rec *later;
static uint32_t later_left;

static void at_point(const char *name)
{
	(void)name;
	if (!later || later_left--)
		return;
	fz_patch(map, later_run->seed, later);
	later_run->changed = true;
	later = NULL;
}

static void set_later(struct fz_run *run, const struct fz_rec *r, uint32_t left)
{
	later_run = run;
	later_left = left & 0x3ff;
	later = r;
	im_crash_hook = r ? at_point : NULL;
}
#else
static void set_later(struct fz_run *run, const struct fz_rec *r, uint32_t left)
{
	(void)run;
	(void)r;
	(void)left;
}
#endif

/* ---- changes all the time ---- */

struct scribbler {
	pthread_t thread;
	const struct fz_seed *seed;
	const struct fz_rec *recs;
	uint32_t n;
	uint32_t stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint64_t x = 88172645463325252u;

	for (uint32_t i = 0; !im_load32_acq(&s->stop); i++) {
		struct fz_rec r = s->recs[i % s->n];

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* there and back again, then elsewhere and otherwise */
		if (i / s->n % 4 == 3) {
			r.d ^= x;
			r.c += (uint32_t)(x >> 40);
			r.a = (uint8_t)(r.a ^ (x >> 20 & 0xe0));
		} else if (i / s->n & 1) {
			r.a = (uint8_t)((r.a & 31) | 4 << 5);
			r.d = x >> 8;
		}
		if (fz_is_patch(&r))
			fz_patch(map, s->seed, &r);
		if (i % 16 == 0)
			sched_yield();
	}
	return NULL;
}

/* ---- a script ---- */

/* One descriptor less, or more, than before: the lowest free one tells. */
static int lowest_fd(void)
{
	int fd = dup(0);

	if (fd >= 0)
		close(fd);
	return fd;
}

static void run_records(struct fz_run *run, const struct fz_head *h, const struct fz_rec *recs,
			uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct fz_rec *r = &recs[i];
		unsigned kind = r->kind % FZ_KINDS;

		if (fz_is_patch(r)) {
			if (run->way != FZ_HOSTILE)
				continue;
			fz_patch(map, run->seed, r);
			run->changed = true;
		} else if (kind == FZ_LATER && i + 1 < n && fz_is_patch(r + 1) &&
			   run->way == FZ_HOSTILE) {
			set_later(run, r + 1, r->c);
			i++;
		} else if (kind == FZ_REOPEN && run->m) {
			fz_detach(run);
			if (!fz_attach(run, r->a & 1))
				return;
		} else if (kind >= FZ_CALLS) {
			if (!run->m && !(h->flags & FZ_BAD_SUM))
				fz_patch_sum(map);
			if (!run->m && !fz_attach(run, h->flags & FZ_RDONLY))
				return;
			fz_call(run, r);
		}
	}
	if (!run->m && !(h->flags & FZ_BAD_SUM))
		fz_patch_sum(map);
	if (!run->m && !fz_attach(run, h->flags & (FZ_RDONLY | FZ_TOUR_RDONLY)))
		return;
	if (!(h->flags & FZ_NO_TOUR))
		fz_tour(run);
}

/* A sound map is so at the end, whatever was called. */
static void look_at_end(struct fz_run *run)
{
	struct fz_rec check = {.kind = FZ_CHECK}, put = {.kind = FZ_PUT, .b = 4, .c = 1};

	fz_reserve_fail_at(0);
	if (run->m)
		fz_detach(run);
	fz_attach(run, false);
	fz_call(run, &check);
	fz_call(run, &put);
	fz_call(run, &check);
	fz_detach(run);
}

void fz_script(const void *bytes, size_t len, enum fz_way way)
{
	static struct fz_rec recs[FZ_RECS];
	struct fz_run run = {.way = way, .path = path, .map = map, .before = before};
	struct scribbler s = {0};
	struct fz_head h = {0};
	int fd = lowest_fd();
	uint32_t n;

	if (len < sizeof(h))
		return;
	memcpy(&h, bytes, sizeof(h));
	n = (uint32_t)min_u64((len - sizeof(h)) / sizeof(recs[0]), FZ_RECS);
	memcpy(recs, (const char *)bytes + sizeof(h), n * sizeof(recs[0]));
	run.seed = &fz_seeds[h.seed % fz_n_seeds];
	memcpy(map, run.seed->bytes, FZ_LEN);
	fz_os_reset();
	if (way == FZ_SCRIBBLE && n) {
		s = (struct scribbler){.seed = run.seed, .recs = recs, .n = n};
		if (pthread_create(&s.thread, NULL, scribble, &s) != 0)
			abort();
	}
	run_records(&run, &h, recs, n);
	set_later(&run, NULL, 0);
	if (run.m)
		fz_detach(&run);
	fz_leases_forget(&run);
	if (s.n) {
		im_store32_rel(&s.stop, 1);
		pthread_join(s.thread, NULL);
	}
	if (way == FZ_SOUND)
		look_at_end(&run);
	if (lowest_fd() != fd)
		fz_broken("a descriptor was left open", fd);
}
