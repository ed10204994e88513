/* SPDX-License-Identifier: MIT */
/*
 * step.h - a call is stopped between any two of its instructions
 *
 *     step_begin(each);
 *     r = the call;
 *     n = step_end();
 *
 * The processor's trap flag makes a signal of every instruction, whose handler is each(): no
 * other process is needed, and a step takes a microsecond or two. The rounds of a repeated
 * instruction, which copies a block, are one, and those of LZ4, which sees private memory only,
 * do not count. Where there are no such steps n is 0.
 *
 * Long: IPCMAP_TEST_STOPS=all in the environment (`make stops`) tries every instruction, 3/16
 * a sixteenth of them; the usual run takes some, at random.
 */
#ifndef STEP_H
#define STEP_H

#include "load.h"

#include <signal.h>
#include <ucontext.h>

#if defined(__x86_64__) && !T_SLOW
#define HAVE_STEPS 1
#else
#define HAVE_STEPS 0
#endif

static volatile uint64_t step_n; /* instructions so far */
static void (*volatile step_each)(uint64_t n);

/* How far apart the instructions are that are tried, from which on; 0: some at random. */
static inline unsigned step_stride(unsigned *ret_first)
{
	const char *s = getenv("IPCMAP_TEST_STOPS");
	unsigned n = 0;

	*ret_first = 1;
	if (!s || !*s)
		return 0;
	if (strcmp(s, "all") == 0)
		return 1;
	if (sscanf(s, "%u/%u", ret_first, &n) != 2 || !n || !*ret_first || *ret_first > n) {
		fprintf(stderr, "IPCMAP_TEST_STOPS is \"all\" or a part like \"3/16\"\n");
		exit(1);
	}
	return n;
}

static inline bool step_all(void)
{
	return step_stride(&(unsigned){0}) != 0;
}

#if HAVE_STEPS

#define STEP_FLAG INT64_C(0x100)

static uintptr_t step_lz4, step_lz4_end; /* where its code lies */

static inline void step_find_lz4(void)
{
	FILE *f = step_lz4_end ? NULL : fopen("/proc/self/maps", "r");
	char line[400];

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, " r-xp ") && strstr(line, "/liblz4.so"))
			sscanf(line, "%lx-%lx", &step_lz4, &step_lz4_end);
	if (f)
		fclose(f);
}

static inline void step_trap(int sig, siginfo_t *info, void *context)
{
	static uintptr_t last;
	ucontext_t *c = context;
	uintptr_t at = (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
	int saved = errno;

	(void)sig;
	(void)info;
	if (!step_each)
		c->uc_mcontext.gregs[REG_EFL] &= ~STEP_FLAG;
	else if (at != last && at - step_lz4 >= step_lz4_end - step_lz4)
		step_each(++step_n);
	last = at;
	errno = saved;
}

static inline void step_begin(void (*each)(uint64_t n))
{
	struct sigaction act = {.sa_sigaction = step_trap, .sa_flags = SA_SIGINFO | SA_RESTART};

	step_find_lz4();
	sigaction(SIGTRAP, &act, NULL);
	step_n = 0;
	step_each = each;
	/* below what the compiler keeps there */
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\t"
			 "popfq\n\tlea 128(%%rsp), %%rsp" ::
				 : "memory", "cc");
}

/* The handler takes the flag away at the next instruction. */
static inline uint64_t step_end(void)
{
	step_each = NULL;
	__asm__ volatile("nop\n\tnop" ::: "memory");
	return step_n;
}

#else

static inline void step_begin(void (*each)(uint64_t n))
{
	step_n = 0;
	step_each = each;
}

static inline uint64_t step_end(void)
{
	step_each = NULL;
	return 0;
}

#endif

#endif
