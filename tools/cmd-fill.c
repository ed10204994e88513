/* SPDX-License-Identifier: MIT */
/*
 * cmd-fill.c - ipcmap fill: the value of a key, which one process on the host loads for all
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

#define READ_FIRST 65536u
#define NONE_STATUS 66 /* EX_NOINPUT of sysexits.h: seldom by accident, as 1 would be */

extern char **environ;

enum { TTL = OPT_OWN, STALE, NEGATIVE, LEASE, NONE };

static const struct opt opts[] = {
	{TTL, "ttl", "D[~P%]", "forget it after D, or up to P percent sooner; 'none'"},
	{STALE, "stale", "D", "for D after that, print it still while it is loaded again"},
	{NEGATIVE, "negative", "D", "remember for D that there is no such thing"},
	{LEASE, "lease", "D", "CMD may take D; then another process tries (10s)"},
	{NONE, "none-status", "N", "CMD's status that says there is no such thing (66)"},
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

struct command {
	char **argv;
	const char *name; /* of the map */
	int none_status;
	bool failed; /* that was said */
};

static uint64_t positive(const struct args *a, const char *what, const char *arg)
{
	uint64_t ns = opt_duration(a, what, arg);

	if (!ns)
		args_usage(a, "%s %s: must be longer than 0", what, arg);
	return ns;
}

static void parse(struct args *a, struct ipcmap_fill_options *how, struct command *cmd)
{
	int c;

	while ((c = args_next(a)) != -1) {
		switch (c) {
		case TTL:
			how->ttl_ns = opt_ttl(a, "--ttl", optarg, &how->jitter);
			break;
		case STALE:
			how->stale_ns = positive(a, "--stale", optarg);
			break;
		case NEGATIVE:
			how->negative_ttl_ns = positive(a, "--negative", optarg);
			break;
		case LEASE:
			how->lease_ns = positive(a, "--lease", optarg);
			if (how->lease_ns > 3600000000000u)
				args_usage(a, "--lease %s: more than 1h", optarg);
			break;
		case NONE:
			cmd->none_status = (int)opt_number(a, "--none-status", optarg, 10, 255);
			if (!cmd->none_status)
				args_usage(a, "--none-status 0: that is success");
			break;
		}
	}
}

/* ---- the command ---- */

static int fail(struct command *cmd, const char *what)
{
	say(cmd->name, "%s: %s", cmd->argv[0], what);
	cmd->failed = true;
	return -EIO;
}

/* All that comes out of @fd; NULL: errno. */
static unsigned char *read_all(int fd, size_t *ret_len)
{
	size_t len = 0, cap = READ_FIRST;
	unsigned char *buf = malloc(cap);
	ssize_t n;

	for (;;) {
		if (!buf)
			die_nomem();
		n = read(fd, buf + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len > IPCMAP_VAL_MAX) {
			errno = EMSGSIZE;
			n = -1;
			break;
		}
		if (len == cap) {
			cap *= 2;
			buf = realloc(buf, cap);
		}
	}
	if (n < 0) {
		free(buf);
		return NULL;
	}
	*ret_len = len;
	return buf;
}

/* Start it with its output in a pipe: the reading end, or -1 with errno. */
static int start(const struct command *cmd, pid_t *ret_pid)
{
	posix_spawn_file_actions_t to;
	int fd[2], r;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -1;
	r = posix_spawn_file_actions_init(&to);
	if (!r) {
		r = posix_spawn_file_actions_adddup2(&to, fd[1], STDOUT_FILENO);
		if (!r)
			r = posix_spawnp(ret_pid, cmd->argv[0], &to, NULL, cmd->argv, environ);
		posix_spawn_file_actions_destroy(&to);
	}
	close(fd[1]);
	if (!r)
		return fd[0];
	close(fd[0]);
	errno = r;
	return -1;
}

static int end_of(struct command *cmd, pid_t pid)
{
	char what[64];
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail(cmd, strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == cmd->none_status)
		return IPCMAP_NOTFOUND;
	if (WIFSIGNALED(status))
		snprintf(what, sizeof what, "killed by signal %d", WTERMSIG(status));
	else
		snprintf(what, sizeof what, "ended with status %d", WEXITSTATUS(status));
	return fail(cmd, what);
}

static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	struct command *cmd = arg;
	unsigned char *val;
	int fd, rc, err;
	pid_t pid;

	(void)key;
	(void)key_len;
	fd = start(cmd, &pid);
	if (fd < 0)
		return fail(cmd, strerror(errno));
	val = read_all(fd, &ret->len);
	err = errno;
	close(fd);
	rc = end_of(cmd, pid);
	if (rc == 0 && !val)
		rc = fail(cmd, strerror(err));
	if (rc) {
		free(val);
		return rc;
	}
	ret->val = val;
	ret->release = free;
	return 0;
}

/* ---- the verb ---- */

static int run(struct args *a)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	struct command cmd = {.none_status = NONE_STATUS};
	struct ipcmap *map;
	const void *key;
	size_t key_len, len;
	void *val;
	int rc;

	parse(a, &how, &cmd);
	cmd.name = args_take(a, "NAME");
	key = args_key(a, &key_len);
	cmd.argv = a->argv + optind;
	args_take(a, "CMD");
	map = attach(a, cmd.name, 0);
	if (!map)
		return BAD;
	rc = ipcmap_fill_alloc(map, key, key_len, &how, load, &cmd, &val, &len);
	if (rc == -EIO) {
		if (!cmd.failed)
			say_key(cmd.name, key, key_len, "the command failed lately, elsewhere");
		return BAD;
	}
	if (rc < 0)
		return say_error(cmd.name, key, key_len, rc);
	out_coded(a->code, val, len);
	if (a->code != TEXT_RAW || isatty(STDOUT_FILENO))
		out_bytes("\n", 1);
	return DONE;
}

const struct verb cmd_fill = {
	.name = "fill",
	.operands = "NAME KEY -- CMD [ARG]...",
	.summary = "print a value, loaded by one process for all",
	.opts = opts,
	.notes = "Options stand before the --. When the key is not there, CMD runs, once\n"
		 "however many processes ask for it, and what it prints is stored if it ends\n"
		 "with status 0. The others wait, or with --stale print the expired value.\n"
		 "After a failure CMD is not run for a while, from 100ms to 30s. Status 1:\n"
		 "there is no such thing.\n",
	.run = run,
};
