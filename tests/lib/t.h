/* SPDX-License-Identifier: MIT */
/*
 * t.h - what every suite may use: registration, children with a time limit, names
 *
 * A suite is a file t-*.c with a table of sentences and one T_SUITE line:
 *
 *	static CU_TestInfo tests[] = {
 *		{"a lock of a dead owner is taken over", lock__dead_owner_is_taken_over},
 *		CU_TEST_INFO_NULL,
 *	};
 *	T_SUITE("lock", tests)
 *
 * Nothing else needs an edit. `test-ipcmap lock` or T=lock runs the suites whose name holds
 * that word. Segments are named t_name(__LINE__); what is left of them is removed at the end.
 * In a child use T_MUST(), which ends it with status 1; CU_ASSERT() counts in the parent only.
 */
#ifndef T_H
#define T_H

#include <CUnit/CUnit.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

struct t_suite {
	const char *name;
	CU_TestInfo *tests;
	struct t_suite *next;
};

void t_register(struct t_suite *suite);
extern bool t_whole; /* all suites run, no word was given */

#define T_SUITE(suite_name, table)                                                             \
	__attribute__((constructor)) static void t_register_this(void)                         \
	{                                                                                      \
		static struct t_suite suite = {suite_name, table, NULL};                       \
		t_register(&suite);                                                            \
	}

/* "/ipcmap-test.<pid of the program>.<line>"; the same line gives the same name. Lasts. */
const char *t_name(int line);
#define T_NAME t_name(__LINE__)
/* The same as a path below /dev/shm. */
const char *t_path(int line);
#define T_PATH t_path(__LINE__)

/* Remove every name of this program. Run at the end; tests may call it sooner. */
void t_clean_up(void);

/* In a child: or print file and line and end it with status 1. */
#define T_MUST(cond) t_must(cond, #cond, __FILE__, __LINE__)
void t_must(bool ok, const char *text, const char *file, int line);

/* fork(); the child ends when its parent does, and after some minutes in any case. */
pid_t t_fork(void);
/* fork, run, _exit(what it returns) */
pid_t t_run(int (*fn)(void *arg), void *arg);
#define T_LIMIT_MS T_AMOUNT(20000, 60000, 120000)
/* Its wait status; after the limit it is killed and the status is that of SIGKILL. */
int t_wait(pid_t pid, int limit_ms);
bool t_ok(pid_t pid);	  /* waits: it exited with 0 */
bool t_killed(pid_t pid); /* waits: it ended by SIGKILL */
void t_kill(pid_t pid);	  /* SIGKILL, and wait */

/* Steps between parent and child, over a pipe. */
struct t_gate {
	int fd[2];
};
void t_gate_open(struct t_gate *gate);
void t_gate_pass(struct t_gate *gate); /* let one wait end */
void t_gate_wait(struct t_gate *gate); /* ends the process after T_LIMIT_MS */
void t_gate_close(struct t_gate *gate);

/* Memory shared with children forked later, zero at first. */
void *t_shared(size_t len);
void t_shared_free(void *p, size_t len);

uint64_t t_now_ms(void);
void t_sleep_ms(unsigned ms);

/* "(skipped: why)" in the log; the test returns after it. */
void t_skip(const char *why);

/*
 * From the Makefile: T_VARIANT, as in build/<variant>, and T_SLOW. 0: release, debug; 1: under
 * a sanitizer, which takes several times as long; 2: under valgrind, which takes some twenty
 * times as long and runs one thread at a time.
 *
 * T_AMOUNT() is for numbers that only have to be large: rounds, kills, milliseconds. A test
 * that says nothing in small numbers is left out of a variant by left-out.c.
 */
#define T_SANITIZED (T_SLOW == 1)
#define T_VALGRIND (T_SLOW == 2)
#define T_AMOUNT(usual, sanitized, valgrind)                                                   \
	(T_VALGRIND ? (valgrind) : T_SANITIZED ? (sanitized) : (usual))

/* Why this variant leaves the test out; NULL: it does not. */
const char *t_left_out(const char *suite, const char *test);
/* Does left-out.c name a test that is not among these? Says which. */
bool t_left_out_is_stale(const struct t_suite *first);

#endif
