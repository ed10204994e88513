/* SPDX-License-Identifier: MIT */
/*
 * cmd-put.c - ipcmap put: store a value
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

#define READ_FIRST 65536u /* room to begin with; most values fit, larger ones double it */

enum { TTL = OPT_OWN, IF_ABSENT, IF_PRESENT, IF_VERSION, TYPE };

static const struct opt opts[] = {
	{TTL, "ttl", "D[~P%]", "forget it after D, or up to P percent sooner; 'none', 'keep'"},
	{IF_ABSENT, "if-absent", NULL, "only if the key is not there"},
	{IF_PRESENT, "if-present", NULL, "only if the key is there"},
	{IF_VERSION, "if-version", "V", "only if the key has version V (get --info tells it)"},
	{TYPE, "type", "N", "your own mark on the entry, 0 to 255"},
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static void parse(struct args *a, struct ipcmap_put_options *how)
{
	int c;

	while ((c = args_next(a)) != -1) {
		switch (c) {
		case TTL:
			how->ttl_ns = IPCMAP_TTL_KEEP;
			if (strcmp(optarg, "keep") != 0)
				how->ttl_ns = opt_ttl(a, "--ttl", optarg, &how->jitter);
			break;
		case IF_ABSENT:
			how->flags |= IPCMAP_IF_ABSENT;
			break;
		case IF_PRESENT:
			how->flags |= IPCMAP_IF_PRESENT;
			break;
		case IF_VERSION:
			how->flags |= IPCMAP_IF_VERSION;
			how->version = opt_number(a, "--if-version", optarg, 10, UINT64_MAX);
			break;
		case TYPE:
			how->type = (uint32_t)opt_number(a, "--type", optarg, 10, 255);
			break;
		}
	}
	if ((how->flags & IPCMAP_IF_ABSENT) && how->flags != IPCMAP_IF_ABSENT)
		args_usage(a, "--if-absent cannot go with another condition");
}

/* All of stdin into memory from malloc(); NULL after saying why not. */
static void *read_stdin(const char *name, size_t *ret_len)
{
	size_t len = 0, cap = READ_FIRST;
	char *buf = malloc(cap);
	ssize_t n;

	if (isatty(STDIN_FILENO))
		fputs("ipcmap: reading the value from the terminal; end it with Ctrl-D\n",
		      stderr);
	for (;;) {
		if (!buf)
			die_nomem();
		n = read(STDIN_FILENO, buf + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len > IPCMAP_VAL_MAX) {
			say(name, "standard input: more than %u bytes, the longest value",
			    IPCMAP_VAL_MAX);
			free(buf);
			return NULL;
		}
		if (len == cap) {
			cap *= 2;
			buf = realloc(buf, cap);
		}
	}
	if (n < 0) {
		say(name, "standard input: %s", strerror(errno));
		free(buf);
		return NULL;
	}
	*ret_len = len;
	return buf;
}

static int run(struct args *a)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	struct ipcmap *map;
	const char *name, *arg;
	const void *key, *val;
	size_t key_len, val_len = 0;
	int rc;

	parse(a, &how);
	name = args_take(a, "NAME");
	key = args_key(a, &key_len);
	arg = args_more(a);
	args_end(a);
	/* attach first: nobody should type in a value for a map that is not there */
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	val = arg ? args_bytes(a, "VALUE", arg, &val_len) : read_stdin(name, &val_len);
	if (!val)
		return BAD;
	rc = ipcmap_put(map, key, key_len, val, val_len, &how);
	return rc < 0 ? say_error(name, key, key_len, rc) : DONE;
}

const struct verb cmd_put = {
	.name = "put",
	.operands = "NAME KEY [VALUE]",
	.summary = "store a value, from standard input when it is absent",
	.opts = opts,
	.notes = "A value from standard input is taken byte by byte as it is, whatever\n"
		 "--hex and --base64 say. --ttl 5m~10% gives each entry a life of 4m30s to\n"
		 "5m, so that entries stored together do not all expire together. Status\n"
		 "1: the condition was not met.\n",
	.run = run,
};
