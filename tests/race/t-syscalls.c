/* SPDX-License-Identifier: MIT */
/*
 * t-syscalls.c - get makes no system call after its thread's first; nothing here allocates
 *
 * A child is stopped at every system call that it makes between two marks. Allocations are
 * counted by this program's own malloc(), which calls the real one.
 */
#include "load.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#if !T_SLOW && defined(__GLIBC__)
#define COUNTING 1

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

/* volatile: the compiler believes that malloc() touches neither */
static __thread volatile bool counting;
static __thread volatile unsigned allocations;

#define SHOWN __attribute__((visibility("default")))

SHOWN void *malloc(size_t n)
{
	allocations = allocations + counting;
	return __libc_malloc(n);
}

SHOWN void *calloc(size_t n, size_t size)
{
	allocations = allocations + counting;
	return __libc_calloc(n, size);
}

SHOWN void *realloc(void *p, size_t n)
{
	allocations = allocations + counting;
	return __libc_realloc(p, n);
}
#else
#define COUNTING 0
#endif

#define MARK SYS_getppid

static const char *name;

static size_t make_key(uint32_t k, char *key)
{
	return (size_t)sprintf(key, "syscall-%u", k);
}

static void fill(struct ipcmap *m)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	static unsigned char val[9000];
	char key[32];

	for (uint32_t k = 0; k < 60; k++) {
		how.ttl_ns = k % 3 ? IPCMAP_TTL_NONE : k % 2 ? 1 : 1000000000000;
		T_MUST(ipcmap_put(m, key, make_key(k, key), val, k % 7 ? k * 30 : 9000, &how) ==
		       0);
	}
}

/* Hits short and long, expired and living, misses, SHORT. */
static void get_all(struct ipcmap *m)
{
	static unsigned char buf[10000];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	char key[32];
	size_t len;

	for (uint32_t k = 0; k < 100; k++) {
		size_t n = make_key(k, key);

		ipcmap_get(m, key, n, buf, sizeof(buf), &len);
		ipcmap_get(m, key, n, buf, 10, &len);
		ipcmap_getx(m, key, n, &v);
		ipcmap_exists(m, key, n);
	}
}

static int traced(void *arg)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *m;
	char c;

	o.flags = *(unsigned *)arg;
	T_MUST(ipcmap_open(name, &o, &m) == 0);
	ipcmap_get(m, "first", 5, &c, 1, NULL);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		return 77;
	raise(SIGSTOP);
	syscall(MARK);
	get_all(m);
	syscall(MARK);
	return 0;
}

static long syscall_of(pid_t pid)
{
#if defined(__x86_64__)
	struct user_regs_struct r;

	return ptrace(PTRACE_GETREGS, pid, NULL, &r) < 0 ? -1 : (long)r.orig_rax;
#else
	struct {
		uint8_t op;
		uint8_t pad[3];
		uint32_t arch;
		uint64_t ip, sp, nr;
	} info;

	return ptrace(0x420e /* PTRACE_GET_SYSCALL_INFO */, pid, sizeof(info), &info) < 0
		       ? -1
		       : (long)info.nr;
#endif
}

/* System calls between the marks; -1: not traced. */
static int count_calls(unsigned flags)
{
	int status, n = 0, marks = 0;
	pid_t pid = t_run(traced, &flags);

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	while (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0 &&
	       waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		long nr;

		if (WSTOPSIG(status) != SIGTRAP)
			continue;
		nr = syscall_of(pid);
		if (nr == MARK)
			marks++; /* twice each: going in and coming out */
		else if (marks == 2 && ++n < 5)
			fprintf(stderr, "\n  system call %ld ", nr);
	}
	CU_ASSERT(marks == 4 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return n;
}

static void get__makes_no_system_call(void)
{
	struct ipcmap *m;
	int n;

	if (T_VALGRIND) {
		t_skip("valgrind makes system calls to read the clock");
		return;
	}
	name = T_NAME;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 1u << 20, 1, &m) == 0);
	fill(m);
	ipcmap_close(m);
	t_sleep_ms(50);
	n = count_calls(0);
	if (n < 0)
		t_skip("ptrace is not permitted");
	else
		CU_ASSERT(n == 0 && count_calls(IPCMAP_RDONLY) == 0);
	ipcmap_unlink(name);
}

static void calls__do_not_allocate(void)
{
#if COUNTING
	static unsigned char val[20000];
	struct ipcmap *m;
	void *volatile p;
	char key[32];

	name = T_NAME;
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 1u << 20, 1, &m) == 0);
	allocations = 0;
	counting = true;
	fill(m);
	get_all(m);
	for (uint32_t i = 0; i < 4000; i++) {
		size_t n = make_key(i % 300, key);

		ipcmap_put(m, key, n, val, i % 90 == 7 ? 20000 : i % 1800, NULL);
		if (i % 3 == 0)
			ipcmap_del(m, key, n);
	}
	ipcmap_clear(m);
	counting = false;
	CU_ASSERT(allocations == 0);
	counting = true;
	p = malloc(1); /* does it count at all? */
	counting = false;
	free(p);
	CU_ASSERT(allocations == 1);
	ipcmap_close(m);
	ipcmap_unlink(name);
#else
	t_skip("a sanitizer or valgrind has its own malloc");
#endif
}

static CU_TestInfo tests[] = {
	{"get makes no system call", get__makes_no_system_call},
	{"get, put, del and clear do not allocate", calls__do_not_allocate},
	CU_TEST_INFO_NULL,
};

T_SUITE("system calls", tests)
