/* SPDX-License-Identifier: MIT */
/*
 * t.c - children with a time limit, names, gates
 */
#include "t.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#define SHM "/dev/shm"
#define CHILD_LIFE_SEC T_AMOUNT(60, 180, 300)
#define NAMES 1024

static pid_t program;

__attribute__((constructor(101))) static void note_program(void)
{
	program = getpid();
}

const char *t_path(int line)
{
	static char paths[NAMES][64];
	static int lines[NAMES];
	static unsigned n;
	unsigned i = 0;

	while (i < n && lines[i] != line)
		i++;
	if (i == n)
		n = n + 1 < NAMES ? n + 1 : n;
	i = i < NAMES ? i : NAMES - 1;
	lines[i] = line;
	snprintf(paths[i], sizeof(paths[i]), SHM "/ipcmap-test.%d.%d", (int)program, line);
	return paths[i];
}

const char *t_name(int line)
{
	return t_path(line) + sizeof(SHM) - 1;
}

void t_clean_up(void)
{
	char mine[32], path[300];
	DIR *dir = opendir(SHM);
	struct dirent *e;

	snprintf(mine, sizeof(mine), "ipcmap-test.%d.", (int)program);
	while (dir && (e = readdir(dir))) {
		if (strncmp(e->d_name, mine, strlen(mine)) != 0)
			continue;
		snprintf(path, sizeof(path), SHM "/%s", e->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
}

void t_must(bool ok, const char *text, const char *file, int line)
{
	if (ok)
		return;
	fprintf(stderr, "\n%s:%d: in child %d: %s\n", file, line, (int)getpid(), text);
	_exit(1);
}

pid_t t_fork(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(CHILD_LIFE_SEC);
	}
	return pid;
}

pid_t t_run(int (*fn)(void *arg), void *arg)
{
	pid_t pid = t_fork();

	if (pid == 0)
		_exit(fn(arg));
	return pid;
}

int t_wait(pid_t pid, int limit_ms)
{
	uint64_t end = t_now_ms() + (uint64_t)limit_ms;
	int status = 0;

	for (;;) {
		pid_t r = waitpid(pid, &status, WNOHANG);

		if (r == pid)
			return status;
		if (r < 0 && errno != EINTR)
			return -1;
		if (t_now_ms() >= end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return status;
		}
		t_sleep_ms(1);
	}
}

bool t_ok(pid_t pid)
{
	int status = t_wait(pid, T_LIMIT_MS);

	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool t_killed(pid_t pid)
{
	int status = t_wait(pid, T_LIMIT_MS);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void t_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

void t_gate_open(struct t_gate *gate)
{
	if (pipe(gate->fd) < 0)
		abort();
}

void t_gate_pass(struct t_gate *gate)
{
	if (write(gate->fd[1], "x", 1) != 1)
		abort();
}

void t_gate_wait(struct t_gate *gate)
{
	struct pollfd p = {.fd = gate->fd[0], .events = POLLIN};
	char c;

	if (poll(&p, 1, T_LIMIT_MS) != 1 || read(gate->fd[0], &c, 1) != 1) {
		fprintf(stderr, "\nprocess %d waited in vain\n", (int)getpid());
		_exit(1);
	}
}

void t_gate_close(struct t_gate *gate)
{
	close(gate->fd[0]);
	close(gate->fd[1]);
}

void *t_shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

void t_shared_free(void *p, size_t len)
{
	munmap(p, len);
}

uint64_t t_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void t_sleep_ms(unsigned ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

void t_skip(const char *why)
{
	printf("(skipped: %s) ", why);
	fflush(stdout);
}
