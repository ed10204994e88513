/* SPDX-License-Identifier: MIT */
/*
 * out.h - what the tool prints: data on stdout, complaints on stderr, the exit status
 */
#ifndef OUT_H
#define OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "text.h"

/* The exit status, one meaning for all verbs. */
enum {
	DONE = 0,
	NOT = 1,   /* not there, condition not met, not sound */
	USAGE = 2, /* the command line is wrong */
	BAD = 3,   /* anything else, a missing or bad map included */
};

/* "ipcmap: NAME: what" on stderr; @name may be NULL. */
void say(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "ipcmap: NAME: KEY: what" on stderr. */
void say_key(const char *name, const void *key, size_t key_len, const char *what);

/* Say why a call on @name (and @key, unless NULL) failed; the exit status for it. */
int say_error(const char *name, const void *key, size_t key_len, int rc);

/* For what cannot be gone on without. */
_Noreturn void die_nomem(void);

/* At the start: or JSON without a member that found no memory would be printed as if whole. */
void out_start(void);

/* Bytes to stdout: as they are, coded, or with what a terminal should not see escaped. */
void out_bytes(const void *bytes, size_t len);
void out_coded(enum text_code code, const void *bytes, size_t len);
void out_escaped(const void *bytes, size_t len);

/* One JSON value and a newline to stdout; takes over the reference. */
void out_json(json_t *value);

/* @obj.name = the bytes as a string, or name_b64 when they are not UTF-8. */
void json_set_bytes(json_t *obj, const char *name, const void *bytes, size_t len);
void json_set_number(json_t *obj, const char *name, uint64_t n);

/* Compact text of any JSON value, numbers with as few digits as tell them apart; malloc(). */
char *json_compact(const json_t *value);

/* Has writing to stdout failed? Then there is no point in going on. */
bool out_failed(void);

/* Flush stdout: @status, or BAD when not all of it could be written. */
int out_end(int status);

/* A yes to a question on the terminal; true without asking when stdin is not one. */
bool out_confirm(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
