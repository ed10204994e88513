/* SPDX-License-Identifier: MIT */
/*
 * cmd-exists.c - ipcmap exists: is a key there?
 */
#include "attach.h"
#include "cmd.h"
#include "out.h"

static const struct opt opts[] = {
	OPT_ROW_JSON, OPT_ROW_CODE, OPT_ROW_TIMEOUT, OPT_ROW_FOREIGN, OPT_END,
};

static int run(struct args *a)
{
	struct ipcmap *map;
	const char *name;
	const void *key;
	size_t key_len;
	int rc;

	args_next(a);
	name = args_take(a, "NAME");
	key = args_key(a, &key_len);
	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = ipcmap_exists(map, key, key_len);
	if (rc < 0)
		return say_error(name, key, key_len, rc);
	if (a->json) {
		json_t *obj = json_object();

		json_set_bytes(obj, "key", key, key_len);
		json_object_set_new(obj, "exists", json_boolean(rc));
		out_json(obj);
	}
	return rc ? DONE : NOT;
}

const struct verb cmd_exists = {
	.name = "exists",
	.operands = "NAME KEY",
	.summary = "is a key there?",
	.opts = opts,
	.notes = "Prints nothing. Status 0: it is there; 1: it is not.\n",
	.run = run,
};
