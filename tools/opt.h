/* SPDX-License-Identifier: MIT */
/*
 * opt.h - options and operands of a verb, and the numbers in them
 *
 * A verb lists its options in a table of struct opt; getopt_long() is driven by it and the
 * help is printed from it. What is wrong with a command line ends the program here with
 * status 2 and a line that says what would have been right.
 */
#ifndef OPT_H
#define OPT_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

struct verb;

struct opt {
	int id;		  /* the short letter, or an OPT_ number when there is none */
	const char *name; /* the long name */
	const char *arg;  /* its argument's name in the help, "[=S]" if it may be left out; NULL: none */
	const char *help;
};

/* Does a word have to follow? */
static inline bool opt_needs_arg(const struct opt *o)
{
	return o->arg && *o->arg != '[';
}

/* Options that mean the same everywhere; args_next() deals with them by itself. */
enum {
	OPT_HELP = 256,
	OPT_JSON,
	OPT_HEX,
	OPT_BASE64,
	OPT_TIMEOUT,
	OPT_FOREIGN,
	OPT_OWN, /* a verb's own long options count from here */
};

#define OPT_ROW_JSON                                                                           \
	{                                                                                      \
		OPT_JSON, "json", NULL, "print JSON"                                           \
	}
#define OPT_ROW_CODE                                                                           \
	{OPT_HEX, "hex", NULL, "keys and values, given and printed, are hexadecimal"},         \
	{                                                                                      \
		OPT_BASE64, "base64", NULL, "keys and values, given and printed, are base64"   \
	}
#define OPT_ROW_TIMEOUT                                                                        \
	{                                                                                      \
		OPT_TIMEOUT, "timeout", "D", "wait at most D for another process (2s); 'none'" \
	}
#define OPT_ROW_FOREIGN                                                                        \
	{                                                                                      \
		OPT_FOREIGN, "foreign", NULL, "accept a map that another user owns"            \
	}
#define OPT_END                                                                                \
	{                                                                                      \
		0, NULL, NULL, NULL                                                            \
	}

#define OPTS_MAX 20 /* options of one verb; the longest list has 10 */

struct args {
	const struct verb *verb;
	int argc;
	char **argv;
	struct option longs[OPTS_MAX + 2];
	char shorts[2 * OPTS_MAX + 4];
	/* the shared options */
	uint64_t timeout_ns; /* 0: not given */
	bool json;
	bool foreign;
	enum text_code code;
};

/* Start on the arguments after the verb; argv[0] is the verb. */
void args_start(struct args *a, const struct verb *verb, int argc, char **argv);

/* The id of the next option of the verb's own, its argument in optarg; -1 after the last. */
int args_next(struct args *a);

/* The next operand; ends the program if there is none. */
const char *args_take(struct args *a, const char *what);

/* The next operand, or NULL. */
const char *args_more(struct args *a);

/* Ends the program if an operand is left over. */
void args_end(struct args *a);

/* The next operand as a key, decoded as --hex or --base64 say; never freed. */
const void *args_key(struct args *a, size_t *ret_len);

/* An operand's bytes, decoded likewise; never freed. */
const void *args_bytes(struct args *a, const char *what, const char *arg, size_t *ret_len);

/* Say what is wrong with the command line, and how the verb is used; ends with status 2. */
_Noreturn void args_usage(const struct args *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* An option's number; each ends the program when it is not one. @what: "--size". */
uint64_t opt_size(const struct args *a, const char *what, const char *arg);
uint64_t opt_number(const struct args *a, const char *what, const char *arg, int base,
		    uint64_t max);
int64_t opt_integer(const struct args *a, const char *what, const char *arg);
uint64_t opt_duration(const struct args *a, const char *what, const char *arg);

/* The shortest value to compress; "none" is none. */
unsigned opt_compress(const struct args *a, const char *what, const char *arg);

/* Which of two words it is: 0 or 1. */
int opt_word(const struct args *a, const char *what, const char *arg, const char *zero,
	     const char *one);

/* A time to live: a duration or "none", with "~10%" after it when @ret_jitter is not NULL. */
uint64_t opt_ttl(const struct args *a, const char *what, const char *arg,
		 unsigned *ret_jitter);

/* Print the help of a verb; its options from their table. */
void opt_help(const struct verb *verb);

#endif
