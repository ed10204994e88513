/* SPDX-License-Identifier: MIT */
/*
 * hooks.c - a process under load dies at a crash point chosen at random, at its n-th pass
 *
 * The points are not listed anywhere: each process adds those that it passes. A name is a
 * constant of this program, so its address is the same in all forked processes.
 *
 * At points of a read, where nothing is held, most fall asleep instead, so that the memory they
 * are reading is used again meanwhile.
 */
#include "torture.h"

#include "crash.h"

#include <signal.h>
#include <string.h>

#if HAVE_POINTS

#define CHOICES 5u
#define FEW 4u
#define MANY 300u
#define TRY_MS 30u /* a point that is not passed within this is given up */

static uint32_t target, left;
static uint64_t since;

static uint32_t number_of(const char *name)
{
	uint32_t i, n = im_load32_acq(&tt->n_names);

	for (i = 0; i < HOOKS; i++) {
		uint64_t *at = (uint64_t *)(void *)&tt->hook[i];

		if (im_load_rlx(at) == (uint64_t)(uintptr_t)name)
			return i;
		if (im_load_rlx(at) == 0 && im_cas_full(at, 0, (uint64_t)(uintptr_t)name)) {
			while (i >= n && im_cas32_rel(&tt->n_names, n, i + 1) != n)
				n = im_load32_acq(&tt->n_names);
			return i;
		}
		if (im_load_rlx(at) == (uint64_t)(uintptr_t)name)
			return i;
	}
	abort();
}

static void at_point(const char *name)
{
	uint32_t i = number_of(name);

	if (im_load32_rlx(&target) != i + 1 || im_add32_rlx(&left, UINT32_MAX) != 1)
		return;
	if (strncmp(name, "read.", 5) == 0 && getpid() % 4) {
		oracle_count(&tt->sleeps);
		t_sleep_ms(50 + (unsigned)getpid() % 400);
		return;
	}
	oracle_count(&tt->hook_kills[i]);
	kill(getpid(), SIGKILL);
}

void torture_hook(uint64_t *random)
{
	uint32_t n = im_load32_acq(&tt->n_names), best = 0;

	im_crash_hook = at_point;
	if (!tt->hooks || !n || t_now_ms() - since < TRY_MS)
		return;
	since = t_now_ms();
	im_store32_rlx(&target, 0);
	/* of some the one at which the fewest were killed */
	for (uint32_t k = 0; k < CHOICES; k++) {
		uint32_t i = (uint32_t)(load_random(random) % n);

		if (k == 0 || tt->hook_kills[i] < tt->hook_kills[best])
			best = i;
	}
	im_store32_rlx(&left, 1 + (uint32_t)(load_random(random) %
					     (load_random(random) % 2 ? FEW : MANY)));
	im_store32_rel(&target, best + 1);
}

#else

void torture_hook(uint64_t *random)
{
	(void)random;
}

#endif
