/* SPDX-License-Identifier: MIT */
/*
 * lf-script.c - the scripts of fuzz.h as libFuzzer's inputs; WAY says which way they are run
 *
 * Mutations know the records: most put in, take out, copy or change one; the others are
 * libFuzzer's own, on the bytes.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t cap, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t len, size_t cap);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];

	(void)argc;
	(void)argv;
	snprintf(path, sizeof(path), "/dev/shm/ipcmap-test.%d.0", (int)getpid());
	if (!fz_start(path))
		exit(1);
	atexit(fz_end);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	fz_script(bytes, len, WAY);
	return 0;
}

static uint64_t state;

static uint64_t rnd(void)
{
	state += UINT64_C(0x9e3779b97f4a7c15);
	return (state ^ state >> 29) * UINT64_C(0xbf58476d1ce4e5b9) >> 13;
}

static struct fz_rec any_record(void)
{
	struct fz_rec r = {
		.kind = (uint8_t)(rnd() % FZ_KINDS),
		.a = (uint8_t)rnd(),
		.b = (uint16_t)rnd(),
		.c = (uint32_t)(rnd() % (rnd() & 1 ? 8 : 256)),
		.d = rnd(),
	};

	if (WAY == FZ_SOUND && (r.kind < FZ_CALLS || fz_is_patch(&r)))
		r.kind = (uint8_t)(rnd() % 16 ? FZ_CALLS + rnd() % (FZ_MORE - FZ_CALLS)
					      : FZ_MORE_CALLS + rnd() % (FZ_KINDS - FZ_MORE_CALLS));
	if (rnd() & 1)
		r.d >>= rnd() & 63;
	return r;
}

static void change(struct fz_rec *r)
{
	switch (rnd() % 7) {
	case 0:
		r->a = (uint8_t)rnd();
		break;
	case 1:
		r->b = (uint16_t)rnd();
		break;
	case 2:
		r->c = (uint32_t)(rnd() % 256);
		break;
	case 3:
		r->d = rnd() >> (rnd() & 63);
		break;
	case 4:
		r->d += rnd() % 33 - 16;
		break;
	case 5:
		r->c += rnd() & 1 ? 1 : UINT32_MAX;
		break;
	default:
		*r = any_record();
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t cap, unsigned seed)
{
	struct fz_rec recs[FZ_RECS + 1];
	struct fz_head h = {0};
	uint32_t n, i, k;

	state = seed * UINT64_C(0x2545f4914f6cdd1d);
	cap = min_u64(cap, sizeof(h) + FZ_RECS * sizeof(recs[0]));
	if (len > cap)
		len = cap;
	if (rnd() % 8 == 0 || cap < sizeof(h) + sizeof(recs[0]))
		return LLVMFuzzerMutate(bytes, len, cap);
	if (len >= sizeof(h))
		memcpy(&h, bytes, sizeof(h));
	n = len < sizeof(h) ? 0 : (uint32_t)((len - sizeof(h)) / sizeof(recs[0]));
	memcpy(recs, bytes + sizeof(h), n * sizeof(recs[0]));
	i = n ? (uint32_t)(rnd() % n) : 0;
	k = n ? (uint32_t)(rnd() % n) : 0;
	switch (rnd() % 10) {
	case 0:
		h.seed = (uint8_t)(rnd() % fz_n_seeds);
		break;
	case 1:
		h.flags ^= (uint8_t)(1u << rnd() % 4);
		break;
	case 2:
		if (n) {
			memmove(&recs[i], &recs[i + 1], (n - i - 1) * sizeof(recs[0]));
			n--;
		}
		break;
	case 3 ... 5:
		memmove(&recs[i + 1], &recs[i], (n - i) * sizeof(recs[0]));
		recs[i] = n && rnd() % 4 == 0 ? recs[k] : any_record();
		n++;
		break;
	case 6:
		if (n) {
			struct fz_rec r = recs[i];

			recs[i] = recs[k];
			recs[k] = r;
		}
		break;
	default:
		if (n)
			change(&recs[i]);
	}
	n = (uint32_t)min_u64(n, (cap - sizeof(h)) / sizeof(recs[0]));
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), recs, n * sizeof(recs[0]));
	return sizeof(h) + n * sizeof(recs[0]);
}
