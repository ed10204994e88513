/* SPDX-License-Identifier: MIT */
/*
 * cmd-incr.c - ipcmap incr: add to a counter
 */
#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

enum { INITIAL = OPT_OWN, MIN, MAX, TTL };

static const struct opt opts[] = {
	{INITIAL, "initial", "I", "what a counter that is not there begins with, before N (0)"},
	{MIN, "min", "I", "refuse a sum below it"},
	{MAX, "max", "I", "refuse a sum above it"},
	{TTL, "ttl", "D", "life of a new counter; 'none'; a present one keeps its own"},
	OPT_ROW_JSON,
	OPT_ROW_CODE,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* Does the argument after @word belong to it? */
static bool wants_more(const struct args *a, const char *word)
{
	size_t len = strlen(word);

	for (const struct opt *o = a->verb->opts; len > 2 && o->name; o++)
		if (opt_needs_arg(o) && strncmp(word, "--", 2) == 0 &&
		    strncmp(o->name, word + 2, len - 2) == 0)
			return true;
	return false;
}

/*
 * `incr NAME KEY -5` is what everybody types: digits are no options. The first such word
 * behind NAME and KEY is taken out before the options are looked at.
 */
static const char *take_negative(struct args *a)
{
	for (int i = 3; i < a->argc && strcmp(a->argv[i - 1], "--") != 0; i++) {
		char *word = a->argv[i];

		if (word[0] != '-' || !word[1] || word[1 + strspn(word + 1, "0123456789")] ||
		    wants_more(a, a->argv[i - 1]))
			continue;
		a->argc--;
		memmove(&a->argv[i], &a->argv[i + 1],
			(size_t)(a->argc - i + 1) * sizeof(char *));
		return word;
	}
	return NULL;
}

static void parse(struct args *a, struct ipcmap_add_options *how)
{
	int c;

	while ((c = args_next(a)) != -1) {
		switch (c) {
		case INITIAL:
			how->initial = opt_integer(a, "--initial", optarg);
			break;
		case MIN:
			how->min = opt_integer(a, "--min", optarg);
			break;
		case MAX:
			how->max = opt_integer(a, "--max", optarg);
			break;
		case TTL:
			how->ttl_ns = opt_ttl(a, "--ttl", optarg, NULL);
			break;
		}
	}
	if (how->min > how->max)
		args_usage(a, "--min is more than --max");
}

static int failed(const char *name, const void *key, size_t key_len, int rc)
{
	if (rc != IPCMAP_TYPE)
		say_error(name, key, key_len, rc);
	else
		say_key(name, key, key_len, "not a counter, a decimal integer of 64 bits");
	return rc == IPCMAP_RANGE ? NOT : BAD;
}

static int run(struct args *a)
{
	struct ipcmap_add_options how = IPCMAP_ADD_INIT;
	const char *name, *arg = take_negative(a);
	struct ipcmap *map;
	const void *key;
	size_t key_len;
	int64_t now;
	int rc;

	parse(a, &how);
	name = args_take(a, "NAME");
	key = args_key(a, &key_len);
	if (!arg)
		arg = args_more(a);
	args_end(a);
	now = arg ? opt_integer(a, "N", arg) : 1;
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	rc = ipcmap_add(map, key, key_len, now, &how, &now);
	if (rc < 0)
		return failed(name, key, key_len, rc);
	if (a->json) {
		json_t *obj = json_object();

		json_set_bytes(obj, "key", key, key_len);
		json_object_set_new(obj, "value", json_integer(now));
		out_json(obj);
	} else {
		printf("%lld\n", (long long)now);
	}
	return DONE;
}

const struct verb cmd_incr = {
	.name = "incr",
	.operands = "NAME KEY [N]",
	.summary = "add N, or 1, to a counter and print it",
	.opts = opts,
	.notes = "A counter is a value that is a decimal integer of 64 bits as text. N may be\n"
		 "negative. Status 1: the sum would leave its range; nothing was changed.\n",
	.run = run,
};
