/* SPDX-License-Identifier: MIT */
/*
 * cmd-touch.c - ipcmap touch: give a key another life
 */
#include <string.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

enum { TTL = OPT_OWN, IF_VERSION };

static const struct opt opts[] = {
	{TTL, "ttl", "D[~P%]", "its life from now on, as for put; 'none', 'default'"},
	{IF_VERSION, "if-version", "V", "only if the key has version V (get --info tells it)"},
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

static int run(struct args *a)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	bool given = false;
	struct ipcmap *map;
	const char *name;
	const void *key;
	size_t key_len;
	int c, rc;

	while ((c = args_next(a)) != -1) {
		if (c == TTL) {
			given = true;
			how.ttl_ns = 0;
			if (strcmp(optarg, "default") != 0)
				how.ttl_ns = opt_ttl(a, "--ttl", optarg, &how.jitter);
		} else {
			how.flags |= IPCMAP_IF_VERSION;
			how.version = opt_number(a, "--if-version", optarg, 10, UINT64_MAX);
		}
	}
	name = args_take(a, "NAME");
	key = args_key(a, &key_len);
	args_end(a);
	if (!given)
		args_usage(a, "--ttl is missing: it says how long the key is to live");
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	rc = ipcmap_touch(map, key, key_len, &how);
	return rc < 0 ? say_error(name, key, key_len, rc) : DONE;
}

const struct verb cmd_touch = {
	.name = "touch",
	.operands = "NAME KEY --ttl D",
	.summary = "give a key another life",
	.opts = opts,
	.notes =
		"Value, type and version stay. Status 1: the key is not there, or has another\n"
		"version.\n",
	.run = run,
};
