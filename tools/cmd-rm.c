/* SPDX-License-Identifier: MIT */
/*
 * cmd-rm.c - ipcmap rm: remove a map
 *
 * It is looked at through a read-only attach, which takes no owner slot: so `attached`
 * counts the others only. What cannot be attached because it is damaged, too new, from before
 * the last boot, or left half made by a creator that died may be removed with --force; what
 * belongs to somebody else, or is no map, never: ipcmap_unlink() looks once more.
 */
#include "attach.h"
#include "cmd.h"
#include "out.h"

static const struct opt opts[] = {
	{'f', "force", NULL, "do not ask, and do not mind processes that have it attached"},
	OPT_ROW_TIMEOUT,
	OPT_END,
};

static bool may_remove(const char *name, struct ipcmap *map)
{
	struct ipcmap_stat s = {.struct_size = sizeof s};
	int rc = ipcmap_stat(map, &s);

	if (rc < 0) {
		say(name, "%s", ipcmap_strerror(rc));
		return false;
	}
	if (s.attached) {
		say(name, "not removed: %u process%s it attached (--force removes it)",
		    s.attached, s.attached == 1 ? " has" : "es have");
		return false;
	}
	return out_confirm("Remove %s, %llu %s, %s?", name, (unsigned long long)s.entries,
			   s.entries == 1 ? "entry" : "entries", text_size(s.used).s);
}

static int run(struct args *a)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map = NULL;
	char why[WHY_CAP];
	const char *name;
	bool force = false, damaged;
	int rc;

	while (args_next(a) == 'f')
		force = true;
	name = args_take(a, "NAME");
	args_end(a);
	o.flags = IPCMAP_RDONLY;
	o.deadline_ns = a->timeout_ns;
	rc = attach_try(name, &o, why, sizeof why, &map);
	damaged = rc == IPCMAP_CORRUPT || rc == IPCMAP_VERSION || rc == IPCMAP_MISMATCH;
	if (rc < 0 && !(force && (damaged || rc == IPCMAP_NOTMAP))) {
		say(name, "%s%s", attach_reason(rc, why),
		    damaged ? " (--force removes it)" : "");
		return BAD;
	}
	if (rc == 0 && !force && !may_remove(name, map))
		return NOT;
	ipcmap_close(map);
	rc = ipcmap_unlink(name);
	if (rc < 0) {
		say(name, "%s", attach_reason(rc, ""));
		return BAD;
	}
	return DONE;
}

const struct verb cmd_rm = {
	.name = "rm",
	.operands = "NAME",
	.summary = "remove a map",
	.opts = opts,
	.notes = "Asks on a terminal. Status 1: not removed, processes have it attached,\n"
		 "or the answer was no. Processes that have it attached keep it until they\n"
		 "end.\n",
	.run = run,
};
