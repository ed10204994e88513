/* SPDX-License-Identifier: MIT */
/*
 * cmd-inspect.c - ipcmap inspect: a map's insides as they stand, for who looks for a fault
 *
 * stat has the figures that agree with each other; here each number is shown as it is found,
 * and in a damaged map it may be any. Nothing is waited for and nothing is stored.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "cmd.h"
#include "out.h"
#include "table.h"

#define SHARDS_SHOWN 16u /* without --shards: more would push all else off the screen */

enum { OWNERS = OPT_OWN, SHARDS, EXTENTS };

static const struct opt opts[] = {
	{OWNERS, "owners", NULL, "only owner slots, of processes that are gone too"},
	{SHARDS, "shards", NULL, "only shards"},
	{EXTENTS, "extents", NULL, "only extents, shard by shard"},
	OPT_ROW_JSON,
	OPT_ROW_TIMEOUT,
	OPT_ROW_FOREIGN,
	OPT_END,
};

/* All there is to know, collected before a line is printed. */
struct insides {
	struct ipcmap_inspect h;
	struct ipcmap_owner_info *owners; /* h.owners of them */
	struct ipcmap_shard_info *shards;
	struct ipcmap_extent_counts *extents; /* h.shards + 1 */
};

static void *room(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die_nomem();
	return p;
}

static int collect(struct ipcmap *map, struct insides *in)
{
	int rc;

	in->h.struct_size = sizeof in->h;
	rc = ipcmap_inspect(map, &in->h);
	if (rc < 0)
		return rc;
	in->owners = room(in->h.owners, sizeof *in->owners);
	in->shards = room(in->h.shards, sizeof *in->shards);
	in->extents = room((size_t)in->h.shards + 1, sizeof *in->extents);
	for (uint32_t i = 0; i < in->h.owners; i++) {
		in->owners[i].struct_size = sizeof in->owners[i];
		ipcmap_inspect_owner(map, i, &in->owners[i]);
	}
	for (uint32_t i = 0; i < in->h.shards; i++) {
		in->shards[i].struct_size = sizeof in->shards[i];
		ipcmap_inspect_shard(map, i, &in->shards[i]);
	}
	return ipcmap_inspect_extents(map, in->extents, (size_t)in->h.shards + 1);
}

/* Seconds since 1970 of a number of clock ticks since the machine's start. */
static time_t wall(uint64_t ticks)
{
	struct timespec boot = {0}, now = {0};
	long hz = sysconf(_SC_CLK_TCK);

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &now);
	return hz > 0 ? now.tv_sec - boot.tv_sec + (time_t)(ticks / (uint64_t)hz) : 0;
}

static struct text date(time_t t)
{
	struct text text = {"?"};
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(text.s, sizeof text.s, "%Y-%m-%d %H:%M:%S", &tm);
	return text;
}

/* Who has a lock: the process, or why there is none. */
static const char *holder(const struct insides *in, uint32_t slot, uint32_t gen, char *buf,
			  size_t cap)
{
	const struct ipcmap_owner_info *o =
		slot >= 1 && slot <= in->h.owners ? &in->owners[slot - 1] : NULL;

	if (!slot)
		return "free";
	if (o && o->gen == gen)
		snprintf(buf, cap, "%s %llu", o->alive ? "pid" : "dead",
			 (unsigned long long)o->pid);
	else
		snprintf(buf, cap, "gone %u.%u", slot, gen);
	return buf;
}

/* ---- header ---- */

static void row(struct table *t, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void row(struct table *t, const char *name, const char *fmt, ...)
{
	char cell[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cell, sizeof cell, fmt, ap);
	va_end(ap);
	table_row(t, name, cell);
}

static void print_header(const struct insides *in)
{
	const struct ipcmap_inspect *h = &in->h;
	struct table t = {.align = "ll"};
	char buf[64];

	row(&t, "format", "%u, features %llx compatible, %llx incompatible", h->format,
	    (unsigned long long)h->compat, (unsigned long long)h->incompat);
	row(&t, "creation", "%016llx, %s", (unsigned long long)h->creation,
	    date((time_t)h->created).s);
	row(&t, "file", "%s, sparse", text_size(h->file_len).s);
	row(&t, "limit", "%s", text_size(h->limit).s);
	row(&t, "default ttl", "%s",
	    h->ttl_ns == IPCMAP_TTL_NONE ? "none" : text_duration(h->ttl_ns).s);
	row(&t, "owner slots", "%u at %llu", h->owners, (unsigned long long)h->owner_off);
	row(&t, "counter lines", "%u at %llu, %u taken", h->lines,
	    (unsigned long long)h->line_off, h->lines_used);
	row(&t, "shards", "%u at %llu, up to %u index extents each", h->shards,
	    (unsigned long long)h->shard_off, h->index_max);
	row(&t, "extents", "%u of %s at %llu, their table at %llu", h->extents,
	    text_size(h->extent_len).s, (unsigned long long)h->extent_off,
	    (unsigned long long)h->table_off);
	row(&t, "", "%u used, %u queued, %u ever used, %u allowed", h->extents_used,
	    h->extents_queued, h->extents_fresh, h->extents_limit);
	row(&t, "entries", "at multiples of %u", h->unit_len);
	row(&t, "space lock", "%s%s, %llu takeovers",
	    holder(in, h->lock_slot, h->lock_gen, buf, sizeof buf),
	    h->armed ? ", a change armed" : "", (unsigned long long)h->takeovers);
	row(&t, "watching", "%llu gaps so far, lengths of prefixes %llx",
	    (unsigned long long)h->gaps, (unsigned long long)h->prefix_lens);
	table_print(&t);
}

static json_t *header_json(const struct ipcmap_inspect *h)
{
	json_t *o = json_object();
	char *boot = text_encode(TEXT_HEX, h->boot_id, sizeof h->boot_id);

#define FIELD(name) json_set_number(o, #name, h->name)
	FIELD(format), FIELD(compat), FIELD(incompat), FIELD(created), FIELD(file_len);
	FIELD(owner_off), FIELD(line_off), FIELD(shard_off), FIELD(table_off),
		FIELD(extent_off);
	FIELD(limit), FIELD(takeovers), FIELD(extent_len), FIELD(unit_len), FIELD(extents);
	FIELD(extents_limit), FIELD(extents_used), FIELD(extents_fresh), FIELD(extents_queued);
	FIELD(owners), FIELD(lines), FIELD(lines_used), FIELD(shards), FIELD(index_max);
	FIELD(lock_slot), FIELD(lock_gen), FIELD(armed), FIELD(prefix_lens), FIELD(gaps);
#undef FIELD
	json_object_set_new(o, "creation",
			    json_sprintf("%016llx", (unsigned long long)h->creation));
	json_object_set_new(o, "boot_id", json_string(boot ? boot : ""));
	if (h->ttl_ns == IPCMAP_TTL_NONE)
		json_object_set_new(o, "ttl_ns", json_null());
	else
		json_set_number(o, "ttl_ns", h->ttl_ns);
	free(boot);
	return o;
}

/* ---- owners ---- */

/* How many shards these groups are, of 32 and more. */
static struct text watches(const struct insides *in, uint32_t groups)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < in->h.shards; i++)
		n += groups >> i % 32 & 1;
	return text_number(n);
}

static void print_owners(const struct insides *in, bool all)
{
	struct table t = {.align = "rrrlllrrrrr"};

	table_row(&t, "slot", "gen", "pid", "name", "started", "alive", "lines", "extents",
		  "watches", "loads", "pins");
	for (uint32_t i = 0; i < in->h.owners; i++) {
		const struct ipcmap_owner_info *o = &in->owners[i];
		char *comm = text_escape(o->comm, strlen(o->comm));

		if (o->gen && (all || o->alive || o->extents || o->leases))
			table_row(&t, text_number(o->slot).s, text_number(o->gen).s,
				  text_number(o->pid).s, comm ? comm : "?",
				  date(wall(o->start)).s, o->alive ? "yes" : "no",
				  text_number(o->lines).s, text_number(o->extents).s,
				  watches(in, o->watches).s, text_number(o->leases).s,
				  text_number(o->pins).s);
		free(comm);
	}
	if (t.n_rows > 1)
		table_print(&t);
	else
		puts(all ? "no owner so far" : "no owner is alive");
}

static json_t *owners_json(const struct insides *in)
{
	json_t *all = json_array();

	for (uint32_t i = 0; i < in->h.owners; i++) {
		const struct ipcmap_owner_info *p = &in->owners[i];
		json_t *o;

		if (!p->gen)
			continue;
		o = json_object();
#define FIELD(name) json_set_number(o, #name, p->name)
		FIELD(slot), FIELD(gen), FIELD(pid);
		json_set_bytes(o, "comm", p->comm, strlen(p->comm));
		FIELD(start), FIELD(attached), FIELD(lines), FIELD(extents);
		FIELD(watches), FIELD(leases), FIELD(pins);
#undef FIELD
		json_object_set_new(o, "alive", json_boolean(p->alive));
		json_array_append_new(all, o);
	}
	return all;
}

/* ---- shards ---- */

static struct text extent_number(uint32_t ext)
{
	struct text none = {"-"};

	return ext == IPCMAP_NO_EXTENT ? none : text_number(ext);
}

static void print_shards(const struct insides *in)
{
	struct table t = {.align = "rrrrrrrrrrll"};

	table_row(&t, "shard", "entries", "live", "buckets", "over", "log", "hot", "cold",
		  "ring", "loads", "redo", "lock");
	for (uint32_t i = 0; i < in->h.shards; i++) {
		const struct ipcmap_shard_info *s = &in->shards[i];
		char buf[64], redo[64];

		snprintf(redo, sizeof redo, "%llu%s%s", (unsigned long long)s->redo_seq,
			 s->redo_seq & 1 ? " armed" : "", s->splitting ? " splitting" : "");
		table_row(&t, text_number(i).s, text_number(s->entries).s,
			  text_size(s->live_len).s, text_number(s->buckets).s,
			  text_number(s->overflows).s, text_number(s->log_extents).s,
			  extent_number(s->hot).s, extent_number(s->cold).s,
			  extent_number(s->ring).s, text_number(s->leases).s, redo,
			  holder(in, s->lock_slot, s->lock_gen, buf, sizeof buf));
	}
	table_print(&t);
}

static json_t *shards_json(const struct insides *in)
{
	json_t *all = json_array();

	for (uint32_t i = 0; i < in->h.shards; i++) {
		const struct ipcmap_shard_info *s = &in->shards[i];
		json_t *o = json_object();

#define FIELD(name) json_set_number(o, #name, s->name)
#define EXTENT(name)                                                                           \
	json_object_set_new(o, #name,                                                          \
			    s->name == IPCMAP_NO_EXTENT ? json_null() : json_integer(s->name))
		json_set_number(o, "shard", i);
		FIELD(entries), FIELD(live_len), FIELD(large_len), FIELD(version), FIELD(floor);
		FIELD(buckets), FIELD(overflows), FIELD(moves), FIELD(reclaims), FIELD(cleaned);
		FIELD(expired), FIELD(takeovers), FIELD(redo_seq), FIELD(redo_stores);
		FIELD(lock_slot), FIELD(lock_gen), FIELD(lock_waited), FIELD(log_extents);
		FIELD(index_extents), FIELD(overflow_extents), FIELD(ahead_extents);
		EXTENT(hot), EXTENT(cold), EXTENT(reserve), FIELD(freeing), FIELD(splitting);
		FIELD(parked_extents), EXTENT(ring), FIELD(ring_head), FIELD(events), FIELD(leases);
		FIELD(leases_waited), FIELD(leases_failed), FIELD(lease_grants);
#undef EXTENT
#undef FIELD
		json_array_append_new(all, o);
	}
	return all;
}

/* ---- extents ---- */

static const char *const states[IPCMAP_EXTENT_STATES] = {
	"free", "private", "piece", "reserved", "log", "index", "large", "parked", "other",
};

static struct ipcmap_extent_counts sum(const struct insides *in)
{
	struct ipcmap_extent_counts all = {0};

	for (uint32_t i = 0; i <= in->h.shards; i++) {
		const struct ipcmap_extent_counts *c = &in->extents[i];

		for (unsigned s = 0; s < IPCMAP_EXTENT_STATES; s++)
			all.n[s] += c->n[s];
		all.backed += c->backed;
		all.filled += c->filled;
		all.live += c->live;
	}
	return all;
}

static void print_all_extents(const struct insides *in)
{
	struct ipcmap_extent_counts all = sum(in);
	struct table t = {.align = "lrl"};
	char text[96];

	table_row(&t, "state", "extents", "");
	for (unsigned s = 0; s < IPCMAP_EXTENT_STATES; s++) {
		*text = 0;
		if (s == IPCMAP_EXTENT_LOG)
			snprintf(text, sizeof text, "%s filled, %s of it live",
				 text_size(all.filled).s, text_size(all.live).s);
		if (s != IPCMAP_EXTENT_OTHER || all.n[s])
			table_row(&t, states[s], text_number(all.n[s]).s, text);
	}
	table_row(&t, "", text_number(all.backed).s, "with memory");
	table_print(&t);
}

static void extents_row(struct table *t, const char *name, const struct ipcmap_extent_counts *c)
{
	struct text n[IPCMAP_EXTENT_STATES];

	for (unsigned s = 0; s < IPCMAP_EXTENT_STATES; s++)
		n[s] = text_number(c->n[s]);
	table_row(t, name, n[0].s, n[1].s, n[2].s, n[3].s, n[4].s, n[5].s, n[6].s, n[7].s, n[8].s,
		  text_size(c->live).s);
}

static void print_extents(const struct insides *in)
{
	struct table t = {.align = "rrrrrrrrrrr"};
	struct ipcmap_extent_counts all = sum(in);

	table_row(&t, "shard", states[0], states[1], states[2], states[3], states[4], states[5],
		  states[6], states[7], states[8], "live");
	for (uint32_t i = 0; i < in->h.shards; i++)
		extents_row(&t, text_number(i).s, &in->extents[i]);
	extents_row(&t, "none", &in->extents[in->h.shards]);
	extents_row(&t, "all", &all);
	table_print(&t);
}

static json_t *counts_json(const struct ipcmap_extent_counts *c)
{
	json_t *o = json_object();

	for (unsigned s = 0; s < IPCMAP_EXTENT_STATES; s++)
		json_set_number(o, states[s], c->n[s]);
	json_set_number(o, "backed", c->backed);
	json_set_number(o, "filled", c->filled);
	json_set_number(o, "live", c->live);
	return o;
}

static json_t *extents_json(const struct insides *in)
{
	json_t *o = json_object(), *shards = json_array();
	struct ipcmap_extent_counts all = sum(in);

	for (uint32_t i = 0; i < in->h.shards; i++)
		json_array_append_new(shards, counts_json(&in->extents[i]));
	json_object_set_new(o, "all", counts_json(&all));
	json_object_set_new(o, "no_shard", counts_json(&in->extents[in->h.shards]));
	json_object_set_new(o, "shards", shards);
	return o;
}

/* ---- all of it ---- */

static void print(const struct insides *in)
{
	print_header(in);
	out_bytes("\n", 1);
	print_owners(in, false);
	out_bytes("\n", 1);
	if (in->h.shards <= SHARDS_SHOWN)
		print_shards(in);
	else
		printf("%u shards; --shards shows them\n", in->h.shards);
	out_bytes("\n", 1);
	print_all_extents(in);
}

static void print_json(const struct insides *in, int only)
{
	json_t *o = json_object();

	if (!only)
		json_object_set_new(o, "header", header_json(&in->h));
	if (!only || only == OWNERS)
		json_object_set_new(o, "owners", owners_json(in));
	if (!only || only == SHARDS)
		json_object_set_new(o, "shards", shards_json(in));
	if (!only || only == EXTENTS)
		json_object_set_new(o, "extents", extents_json(in));
	out_json(o);
}

static int run(struct args *a)
{
	struct insides in = {0};
	struct ipcmap *map;
	const char *name;
	int c, rc, only = 0;

	while ((c = args_next(a)) != -1) {
		if (only && only != c)
			args_usage(a, "--owners, --shards and --extents exclude each other");
		only = c;
	}
	name = args_take(a, "NAME");
	args_end(a);
	map = attach(a, name, IPCMAP_RDONLY);
	if (!map)
		return BAD;
	rc = collect(map, &in);
	if (rc < 0)
		return say_error(name, NULL, 0, rc), BAD;
	if (a->json)
		print_json(&in, only);
	else if (only == OWNERS)
		print_owners(&in, true);
	else if (only == SHARDS)
		print_shards(&in);
	else if (only == EXTENTS)
		print_extents(&in);
	else
		print(&in);
	return DONE;
}

const struct verb cmd_inspect = {
	.name = "inspect",
	.operands = "NAME",
	.summary = "a map's insides as they stand",
	.opts = opts,
	.notes =
		"Locks nothing, waits for nobody: numbers need not agree while somebody\n"
		"writes, and in a damaged map they may be any. 'ipcmap check' judges them.\n"
		"A map that cannot be attached at all is reported with the reason, status 3.\n",
	.run = run,
};
