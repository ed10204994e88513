/* SPDX-License-Identifier: MIT */
/*
 * dump.c - what `ipcmap dump` writes, into memory
 */

/* The verb itself, for its static functions. */
#include "../../tools/cmd-dump.c"

#include "load.h"

bool fz_dump(struct ipcmap *map, bool bdb, bool print, char **ret_text, size_t *ret_len)
{
	struct dump d = {.bdb = bdb, .print = bdb && print, .default_ttl = true};
	uint64_t cursor = 0;
	int rc;

	d.file = open_memstream(ret_text, ret_len);
	if (!d.file)
		return false;
	if (bdb)
		put_header(&d, 0);
	rc = ipcmap_scan(map, &cursor, NULL, 0, 0, put_entry, &d);
	if (bdb)
		put_text(&d, "DATA=END\n");
	return fclose(d.file) == 0 && rc == 0 && !d.err;
}
