/* SPDX-License-Identifier: MIT */
/*
 * cmd-compact.c - ipcmap compact: give memory back to the system
 */
#include <stdio.h>
#include <unistd.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"

enum { OPT_DRY = OPT_OWN, OPT_EXPIRED };

static const struct opt opts[] = {
	{OPT_DRY, "dry-run", NULL, "only say what could be gained, about"},
	{OPT_EXPIRED, "expired", NULL, "only reclaim what has expired or was cleared"},
	OPT_ROW_JSON,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* A line that is written over, on a terminal only. */
static int show_progress(void *arg, uint64_t done, uint64_t of)
{
	static uint64_t shown = UINT64_MAX;

	(void)arg;
	if (done == shown)
		return 0;
	shown = done;
	fprintf(stderr, "\rcompacting: %llu of %llu \r", (unsigned long long)done,
		(unsigned long long)of);
	return 0;
}

static void print_json(const struct ipcmap_compact *c)
{
	json_t *obj = json_object();

	json_set_number(obj, "freed", c->freed);
	json_set_number(obj, "given_back", c->given_back);
	out_json(obj);
}

static void print_text(const struct ipcmap_compact *c, unsigned flags)
{
	bool dry = flags & IPCMAP_COMPACT_DRY_RUN;

	printf("%s %s of the limit", dry ? "would free about" : "freed", text_size(c->freed).s);
	if (!(flags & IPCMAP_COMPACT_EXPIRED))
		printf(", %s %s back to the system", dry ? "give about" : "gave",
		       text_size(c->given_back).s);
	putchar('\n');
}

static int run(struct args *a)
{
	struct ipcmap_compact_options how = IPCMAP_COMPACT_INIT;
	struct ipcmap_compact c;
	struct ipcmap *map;
	const char *name;
	int id, rc;

	while ((id = args_next(a)) != -1) {
		if (id == OPT_DRY)
			how.flags |= IPCMAP_COMPACT_DRY_RUN;
		else if (id == OPT_EXPIRED)
			how.flags |= IPCMAP_COMPACT_EXPIRED;
	}
	name = args_take(a, "NAME");
	args_end(a);
	map = attach(a, name, 0);
	if (!map)
		return BAD;
	if (isatty(STDERR_FILENO))
		how.progress = show_progress;
	rc = ipcmap_compact(map, &how, &c);
	if (how.progress)
		fputs("\033[K", stderr);
	if (rc < 0)
		return say_error(name, NULL, 0, rc);
	if (a->json)
		print_json(&c);
	else
		print_text(&c, how.flags);
	return DONE;
}

const struct verb cmd_compact = {
	.name = "compact",
	.operands = "NAME",
	.summary = "give memory back to the system",
	.opts = opts,
	.notes = "Readers and writers go on. What was freed rests for a second before its pages\n"
		 "are returned; with --expired it stays the map's, without a rest.\n",
	.run = run,
};
