/* SPDX-License-Identifier: MIT */
/*
 * cmd-stat.c - ipcmap stat: facts and counters of a map
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"
#include "table.h"

#define LABEL 14 /* columns of the longest label: one column of labels over both tables */

static const struct opt opts[] = {
	OPT_ROW_JSON,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* "12.3 %", or "-" of nothing */
static struct text percent(uint64_t part, uint64_t whole)
{
	struct text t = {"-"};

	if (whole)
		snprintf(t.s, sizeof t.s, "%.1f %%", 100.0 * (double)part / (double)whole);
	return t;
}

static void print_map(struct table *t, const struct ipcmap_stat *s)
{
	const struct passwd *pw = getpwuid(s->uid);
	const struct group *gr = getgrgid(s->gid);
	time_t created = (time_t)s->created, now = time(NULL);
	struct tm tm;
	char when[32] = "?", who[96], text[64];

	if (localtime_r(&created, &tm))
		strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(text, sizeof text, "%s ago",
		 text_duration(now > created ? (uint64_t)(now - created) * 1000000000u : 0).s);
	table_row(t, "created", when, text);
	snprintf(who, sizeof who, "%.40s:%.40s", pw ? pw->pw_name : text_number(s->uid).s,
		 gr ? gr->gr_name : text_number(s->gid).s);
	snprintf(text, sizeof text, "mode %04o", s->mode & 07777);
	table_row(t, "owner", who, text);
	snprintf(text, sizeof text, "of %u owner slots", s->owners);
	table_row(t, "attached", text_number(s->attached).s, text);
	table_row(t, "default ttl",
		  s->ttl_ns == IPCMAP_TTL_NONE ? "none" : text_duration(s->ttl_ns).s, "");
	table_row(t, "compress", s->compress == IPCMAP_COMPRESS_OFF ? "none"
			: text_size(s->compress).s, s->compress == IPCMAP_COMPRESS_OFF ? ""
			: "and longer");
	table_row(t, "format", text_number(s->format).s, "");
}

static void print_memory(struct table *t, const struct ipcmap_stat *s)
{
	char text[96];

	table_row(t, "", "", "");
	snprintf(text, sizeof text, "can be raised to %s", text_size(s->max).s);
	table_row(t, "limit", text_size(s->limit).s, text);
	snprintf(text, sizeof text, "%s of the limit", percent(s->used, s->limit).s);
	table_row(t, "used", text_size(s->used).s, text);
	table_row(t, "  log", text_size(s->log_len).s, "");
	table_row(t, "  large values", text_size(s->large_len).s, "");
	table_row(t, "  index", text_size(s->index_len).s, "");
	table_row(t, "  snapshots", text_size(s->snapshot_len).s, "");
	table_row(t, "  events", text_size(s->ring_len).s, "");
	if (s->parked_len)
		table_row(t, "  parked", text_size(s->parked_len).s, "until nobody reads it");
	if (s->pins) {
		snprintf(text, sizeof text, "by %s of values", s->pins == 1 ? "a pin" : "pins");
		table_row(t, "held", text_size(s->pinned_len).s, text);
	}
	table_row(t, "live entries", text_size(s->live_len).s, "with headers");
	if (s->compress_raw) {
		snprintf(text, sizeof text, "stored as %s, %s", text_size(s->compress_stored).s,
			 percent(s->compress_stored, s->compress_raw).s);
		table_row(t, "compressed", text_size(s->compress_raw).s, text);
	}
	table_row(t, "extents of", text_size(s->extent_len).s, "");
}

static void print_counters(struct table *t, const struct ipcmap_stat *s)
{
	char text[64];

	table_row(t, "", "", "");
	table_row(t, "entries", text_number(s->entries).s, "");
	snprintf(text, sizeof text, "%llu overflowing", (unsigned long long)s->overflows);
	table_row(t, "index buckets", text_number(s->buckets).s, text);
	table_row(t, "shards", text_number(s->shards).s, "");
	table_row(t, "", "", "");
	snprintf(text, sizeof text, "%s hits", percent(s->hits, s->gets).s);
	table_row(t, "gets", text_number(s->gets).s, text);
	table_row(t, "puts", text_number(s->puts).s, "");
	table_row(t, "dels", text_number(s->dels).s, "");
	table_row(t, "expired", text_number(s->expired).s, "reclaimed");
	table_row(t, "cleaned", text_number(s->cleaned).s, "entries moved");
	table_row(t, "waits", text_number(s->waits).s, "for a writer");
	table_row(t, "takeovers", text_number(s->takeovers).s, "from dead processes");
	table_row(t, "", "", "");
	snprintf(text, sizeof text, "processes; %u shards keep events", s->watched);
	table_row(t, "watchers", text_number(s->watchers).s, text);
	snprintf(text, sizeof text, "%llu gaps", (unsigned long long)s->gaps);
	table_row(t, "events", text_number(s->events).s, text);
	snprintf(text, sizeof text, "keys; others wait for %u", s->leases_waited);
	table_row(t, "loading now", text_number(s->leases).s, text);
	table_row(t, "backoffs", text_number(s->backoffs).s, "keys whose load failed");
	table_row(t, "loads", text_number(s->loads).s, "begun");
}

static json_t *to_json(const struct ipcmap_stat *s)
{
	json_t *o = json_object();
	char mode[8];

#define FIELD(name) json_set_number(o, #name, s->name)
	FIELD(entries), FIELD(live_len), FIELD(large_len), FIELD(log_len), FIELD(index_len);
	FIELD(snapshot_len), FIELD(pinned_len), FIELD(parked_len), FIELD(pins);
	FIELD(used), FIELD(limit), FIELD(max), FIELD(extent_len), FIELD(created);
	FIELD(gets), FIELD(hits), FIELD(puts), FIELD(dels), FIELD(cleaned), FIELD(expired);
	FIELD(compress_raw), FIELD(compress_stored);
	FIELD(watched), FIELD(watchers), FIELD(ring_len), FIELD(events), FIELD(gaps);
	FIELD(leases), FIELD(leases_waited), FIELD(backoffs), FIELD(loads);
	FIELD(takeovers), FIELD(waits), FIELD(buckets), FIELD(overflows), FIELD(shards);
	FIELD(attached), FIELD(owners), FIELD(format), FIELD(uid), FIELD(gid);
#undef FIELD
	if (s->ttl_ns == IPCMAP_TTL_NONE)
		json_object_set_new(o, "ttl_ns", json_null());
	else
		json_set_number(o, "ttl_ns", s->ttl_ns);
	if (s->compress == IPCMAP_COMPRESS_OFF)
		json_object_set_new(o, "compress", json_null());
	else
		json_set_number(o, "compress", s->compress);
	snprintf(mode, sizeof mode, "%04o", s->mode & 07777);
	json_object_set_new(o, "mode", json_string(mode));
	return o;
}

static int run(struct args *a)
{
	struct ipcmap_stat s = {.struct_size = sizeof s};
	struct table facts = {.align = "lll", .first = LABEL};
	struct table numbers = {.align = "lrl", .first = LABEL};
	struct ipcmap *map;
	const char *name;
	int rc;

	args_next(a);
	name = args_take(a, "NAME");
	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = ipcmap_stat(map, &s);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	if (a->json) {
		out_json(to_json(&s));
		return DONE;
	}
	print_map(&facts, &s);
	table_print(&facts);
	print_memory(&numbers, &s);
	print_counters(&numbers, &s);
	table_print(&numbers);
	return DONE;
}

const struct verb cmd_stat = {
	.name = "stat",
	.operands = "NAME",
	.summary = "facts and counters of a map",
	.opts = opts,
	.notes = "Counters run from the map's creation. With --json all sizes are in bytes\n"
		 "and times in the unit of the field's name; a ttl_ns of null is none.\n",
	.run = run,
};
