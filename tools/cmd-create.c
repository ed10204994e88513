/* SPDX-License-Identifier: MIT */
/*
 * cmd-create.c - ipcmap create: make a map
 */
#include <grp.h>
#include <string.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

#define COMPRESS_DEFAULT 512u

enum { MAX_SIZE = OPT_OWN, MODE, GROUP, TTL, COMPRESS, RESERVE, HUGE, EXIST_OK };

static const struct opt opts[] = {
	{'s', "size", "S", "the map's limit, everything in (64M)"},
	{MAX_SIZE, "max-size", "S", "what the limit can later be raised to (8 times the size)"},
	{'n', "shards", "N", "parts that can be written at the same time (by size)"},
	{MODE, "mode", "MODE", "permission bits, octal (0600)"},
	{GROUP, "group", "G", "group, by name or number"},
	{TTL, "ttl", "D", "life of entries stored without one (none)"},
	{COMPRESS, "compress", "[=S]", "compress values of S bytes and more (512)"},
	{RESERVE, "reserve", NULL, "take the memory of the whole size now"},
	{HUGE, "huge", NULL, "the same, in large pages where the system has any"},
	{EXIST_OK, "exist-ok", NULL, "an existing map is no error, and left as it is"},
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

#define SIZE_DEFAULT (64u << 20) /* the library's */

static uint32_t group_id(const struct args *a, const char *arg)
{
	const struct group *g = getgrnam(arg);

	if (g)
		return g->gr_gid;
	if (arg[strspn(arg, "0123456789")])
		args_usage(a, "--group %s: no such group", arg);
	return (uint32_t)opt_number(a, "--group", arg, 10, UINT32_MAX - 1);
}

static void parse(struct args *a, struct ipcmap_options *o)
{
	int c;

	while ((c = args_next(a)) != -1) {
		switch (c) {
		case 's':
			o->limit = opt_size(a, "--size", optarg);
			break;
		case MAX_SIZE:
			o->max = opt_size(a, "--max-size", optarg);
			break;
		case 'n':
			o->shards = (unsigned)opt_number(a, "--shards", optarg, 10, 1024);
			if (o->shards == 0)
				args_usage(a, "--shards 0: a map has at least 1");
			break;
		case MODE:
			o->mode = (unsigned)opt_number(a, "--mode", optarg, 8, 0777);
			if ((o->mode & 0600) != 0600)
				args_usage(a, "--mode %s: its owner needs to read and write it",
					   optarg);
			break;
		case GROUP:
			o->group = group_id(a, optarg);
			break;
		case TTL:
			o->ttl_ns = opt_ttl(a, "--ttl", optarg, NULL);
			break;
		case COMPRESS:
			o->compress = optarg ? opt_compress(a, "--compress", optarg)
					     : COMPRESS_DEFAULT;
			break;
		case RESERVE:
			o->flags |= IPCMAP_RESERVE;
			break;
		case HUGE:
			o->flags |= IPCMAP_HUGE;
			break;
		case EXIST_OK:
			o->flags &= ~IPCMAP_EXCL;
			break;
		}
	}
	if (o->max && o->max < (o->limit ? o->limit : SIZE_DEFAULT))
		args_usage(a, "--max-size is less than --size%s",
			   o->limit ? "" : ", which is 64M when it is not given");
}

static int run(struct args *a)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map = NULL;
	char why[WHY_CAP];
	const char *name;
	int rc;

	o.flags = IPCMAP_CREATE | IPCMAP_EXCL;
	parse(a, &o);
	name = args_take(a, "NAME");
	args_end(a);
	o.flags |= a->foreign ? IPCMAP_FOREIGN : 0;
	o.deadline_ns = a->timeout_ns;
	rc = attach_try(name, &o, why, sizeof why, &map);
	if (rc < 0) {
		say(name, "%s", *why ? why : ipcmap_strerror(rc));
		return BAD;
	}
	ipcmap_close(map);
	return DONE;
}

const struct verb cmd_create = {
	.name = "create",
	.operands = "NAME",
	.summary = "make a map",
	.opts = opts,
	.notes = "Sizes are like 65536, 64K, 64M, 2G; durations like 500ms, 5s, 5m, 2h.\n",
	.run = run,
};
