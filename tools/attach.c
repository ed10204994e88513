/* SPDX-License-Identifier: MIT */
/*
 * attach.c - open the map that a verb works on
 *
 * A segment that is just being created is worth a moment's patience: its creator needs
 * milliseconds, unless it is dead, and then the next creator completes it.
 */
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "attach.h"
#include "out.h"

#define NAP_NS 5000000ull	  /* between two looks: far below what a person notices */
#define PATIENCE_NS 2000000000ull /* the library's own default for waits */

void attach_short(char *why, const char *name)
{
	size_t len;
	char *at;

	name += *name == '/' && !strchr(name + 1, '/');
	len = strlen(name);
	at = *why == '/' ? strstr(why, name) : NULL;
	if (at && strncmp(at + len, ": ", 2) == 0)
		memmove(why, at + len + 2, strlen(at + len + 2) + 1);
}

int attach_try(const char *name, struct ipcmap_options *o, char *why, size_t why_cap,
	       struct ipcmap **ret_map)
{
	uint64_t patience = o->deadline_ns ? o->deadline_ns : PATIENCE_NS, waited = 0;
	const struct timespec nap = {0, NAP_NS};
	int rc;

	o->why = why;
	o->why_cap = why_cap;
	for (;;) {
		*why = 0;
		rc = ipcmap_open(name, o, ret_map);
		if (rc != IPCMAP_CREATING || patience == IPCMAP_NOWAIT || waited >= patience)
			break;
		nanosleep(&nap, NULL);
		waited += NAP_NS;
	}
	if (rc < 0)
		attach_short(why, name);
	return rc;
}

const char *attach_reason(int rc, const char *why)
{
	if (rc == IPCMAP_NOTFOUND)
		return "no such map";
	return *why ? why : ipcmap_strerror(rc);
}

/* Is it only that the map is another user's? */
static bool foreign_would_do(const char *name, struct ipcmap_options o)
{
	struct ipcmap *map = NULL;

	o.flags |= IPCMAP_FOREIGN;
	o.why_cap = 0;
	if (ipcmap_open(name, &o, &map) < 0)
		return false;
	ipcmap_close(map);
	return true;
}

struct ipcmap *attach(const struct args *a, const char *name, unsigned flags)
{
	struct ipcmap_options o = IPCMAP_OPTIONS_INIT;
	struct ipcmap *map = NULL;
	char why[WHY_CAP];
	int rc;

	o.flags = flags | (a->foreign ? IPCMAP_FOREIGN : 0);
	o.deadline_ns = a->timeout_ns;
	rc = attach_try(name, &o, why, sizeof why, &map);
	if (rc < 0) {
		bool hint = rc == IPCMAP_PERM && !a->foreign && foreign_would_do(name, o);

		say(name, "%s%s", attach_reason(rc, why),
		    hint ? " (--foreign accepts it)" : "");
		return NULL;
	}
	return map;
}
