/* SPDX-License-Identifier: MIT */
/*
 * cmd.h - the verbs of the tool
 *
 * One cmd-<verb>.c holds all about a verb: what it does, its line in `ipcmap --help`, its
 * options, its own help. VERBS names those files; nothing else has to be touched for a new
 * one. Their order is the order in the help.
 */
#ifndef CMD_H
#define CMD_H

#include "opt.h"

#define VERBS(X)                                                                               \
	X(create)                                                                              \
	X(put)                                                                                 \
	X(get)                                                                                 \
	X(del)                                                                                 \
	X(incr)                                                                                \
	X(touch)                                                                               \
	X(fill)                                                                                \
	X(exists)                                                                              \
	X(ls)                                                                                  \
	X(stat)                                                                                \
	X(check)                                                                               \
	X(inspect)                                                                             \
	X(repair)                                                                              \
	X(tune)                                                                                \
	X(compact)                                                                             \
	X(dump)                                                                                \
	X(load)                                                                                \
	X(watch)                                                                               \
	X(snapshot)                                                                            \
	X(exec)                                                                                \
	X(clear)                                                                               \
	X(rm)                                                                                  \
	X(completion)

struct verb {
	const char *name;
	const char *operands;	    /* as in a synopsis: "NAME KEY [VALUE]" */
	const char *summary;	    /* one line for `ipcmap --help` */
	const struct opt *opts;	    /* ends with OPT_END */
	const char *notes;	    /* below the options in `ipcmap VERB --help`; may be NULL */
	int (*run)(struct args *a); /* the exit status */
};

#define VERB_DECLARE(v) extern const struct verb cmd_##v;
VERBS(VERB_DECLARE)
#undef VERB_DECLARE

#endif
