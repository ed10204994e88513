/* SPDX-License-Identifier: MIT */
/*
 * cmd-get.c - ipcmap get: print the value of a key
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

#define ROOM_FIRST 65536u /* a value that fits is read once; a longer one says its length */

enum { INFO = OPT_OWN, TOUCH };

static const struct opt opts[] = {
	{INFO, "info", NULL, "version, life left, type and length too (on standard error)"},
	{TOUCH, "touch", "D", "keep it alive: when less than half of D is left, it gets D"},
	OPT_ROW_JSON,
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* The value may grow between two looks, hence the loop. */
static int read_value(struct ipcmap *map, const void *key, size_t key_len, uint64_t touch_ns,
		      struct ipcmap_value *v)
{
	size_t room = ROOM_FIRST;
	int rc;

	do {
		free(v->buf);
		v->buf = malloc(room);
		if (!v->buf)
			die_nomem();
		v->cap = room;
		rc = touch_ns ? ipcmap_get_touch(map, key, key_len, touch_ns, v)
			      : ipcmap_getx(map, key, key_len, v);
		room = v->len;
	} while (rc == IPCMAP_SHORT);
	return rc;
}

static void print_json(const void *key, size_t key_len, const struct ipcmap_value *v, bool info)
{
	json_t *obj = json_object();

	json_set_bytes(obj, "key", key, key_len);
	json_set_bytes(obj, "value", v->buf, v->len);
	if (info) {
		json_set_number(obj, "version", v->version);
		if (v->ttl_left_ns != IPCMAP_TTL_NONE)
			json_set_number(obj, "ttl_ms", v->ttl_left_ns / 1000000);
		json_set_number(obj, "type", v->type);
		json_set_number(obj, "length", v->len);
	}
	out_json(obj);
}

static void print_info(const struct ipcmap_value *v)
{
	fflush(stdout);
	fprintf(stderr, "version %llu, ttl %s, type %u, length %zu\n",
		(unsigned long long)v->version,
		v->ttl_left_ns == IPCMAP_TTL_NONE ? "none" : text_duration(v->ttl_left_ns).s,
		v->type, v->len);
}

static int run(struct args *a)
{
	struct ipcmap_value v = {0};
	struct ipcmap *map;
	const char *name;
	const void *key;
	size_t key_len;
	uint64_t touch_ns = 0;
	bool info = false;
	int c, rc;

	while ((c = args_next(a)) != -1) {
		if (c == INFO)
			info = true;
		else if (!(touch_ns = opt_duration(a, "--touch", optarg)))
			args_usage(a, "--touch %s: must be longer than 0", optarg);
	}
	name = args_take(a, "NAME");
	key = args_key(a, &key_len);
	args_end(a);
	map = attach(a, name, touch_ns ? 0 : IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = read_value(map, key, key_len, touch_ns, &v);
	if (rc < 0)
		return say_error(name, key, key_len, rc);
	if (a->json) {
		print_json(key, key_len, &v, info);
		return DONE;
	}
	out_coded(a->code, v.buf, v.len);
	if (a->code != TEXT_RAW || isatty(STDOUT_FILENO))
		out_bytes("\n", 1);
	if (info)
		print_info(&v);
	return DONE;
}

const struct verb cmd_get = {
	.name = "get",
	.operands = "NAME KEY",
	.summary = "print the value of a key",
	.opts = opts,
	.notes = "The bytes are printed as they are, with a newline after them only on a\n"
		 "terminal. --touch writes, but seldom; a key that never expires is left\n"
		 "alone. Status 1: the key is not there.\n",
	.run = run,
};
