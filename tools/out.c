/* SPDX-License-Identifier: MIT */
/*
 * out.c - what the tool prints
 *
 * Names and keys come from elsewhere and may hold terminal control bytes: in complaints and
 * tables they are always escaped.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipcmap.h"
#include "out.h"

/* A key in a complaint is there to be recognised: a screen line of it is enough. */
#define SAY_KEY_MAX 64u

static int stdout_errno; /* of the first write that failed */

_Noreturn void die_nomem(void)
{
	fputs("ipcmap: out of memory\n", stderr);
	exit(BAD);
}

static void *json_memory(size_t len)
{
	void *p = malloc(len);

	if (!p)
		die_nomem();
	return p;
}

void out_start(void)
{
	json_set_alloc_funcs(json_memory, free);
}

void say(const char *name, const char *fmt, ...)
{
	char *shown = name ? text_escape(name, strlen(name)) : NULL;
	va_list ap;

	fflush(stdout); /* so that on a terminal both come in the order they were said */
	fputs("ipcmap: ", stderr);
	if (shown)
		fprintf(stderr, "%s: ", shown);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	free(shown);
}

void say_key(const char *name, const void *key, size_t key_len, const char *what)
{
	size_t len = key_len < SAY_KEY_MAX ? key_len : SAY_KEY_MAX;
	char *shown = text_escape(key, len);

	say(name, "%s%s: %s", shown ? shown : "?", len < key_len ? "..." : "", what);
	free(shown);
}

int say_error(const char *name, const void *key, size_t key_len, int rc)
{
	if (key)
		say_key(name, key, key_len, ipcmap_strerror(rc));
	else
		say(name, "%s", ipcmap_strerror(rc));
	return rc == IPCMAP_NOTFOUND || rc == IPCMAP_EXISTS || rc == IPCMAP_MISMATCH ? NOT
										     : BAD;
}

void out_bytes(const void *bytes, size_t len)
{
	if (fwrite(bytes, 1, len, stdout) < len && !stdout_errno)
		stdout_errno = errno;
}

void out_coded(enum text_code code, const void *bytes, size_t len)
{
	char *s;

	if (code == TEXT_RAW) {
		out_bytes(bytes, len);
		return;
	}
	s = text_encode(code, bytes, len);
	if (!s)
		die_nomem();
	out_bytes(s, strlen(s));
	free(s);
}

void out_escaped(const void *bytes, size_t len)
{
	char *s = text_escape(bytes, len);

	if (!s)
		die_nomem();
	out_bytes(s, strlen(s));
	free(s);
}

static int json_to_stdout(const char *buf, size_t len, void *arg)
{
	(void)arg;
	out_bytes(buf, len);
	return 0;
}

void out_json(json_t *value)
{
	if (!value || json_dump_callback(value, json_to_stdout, NULL, JSON_COMPACT))
		die_nomem();
	json_decref(value);
	out_bytes("\n", 1);
}

void json_set_bytes(json_t *obj, const char *name, const void *bytes, size_t len)
{
	json_t *text = json_stringn(bytes, len);
	char b64_name[32];
	char *b64;

	if (text) {
		json_object_set_new(obj, name, text);
		return;
	}
	b64 = text_encode(TEXT_BASE64, bytes, len);
	snprintf(b64_name, sizeof b64_name, "%s_b64", name);
	text = b64 ? json_string(b64) : NULL;
	if (!text)
		die_nomem();
	json_object_set_new(obj, b64_name, text);
	free(b64);
}

void json_set_number(json_t *obj, const char *name, uint64_t n)
{
	json_object_set_new(obj, name, json_integer((json_int_t)n));
}

/* 0.1 is to come out as 0.1, not as 0.10000000000000001. */
char *json_compact(const json_t *value)
{
	char *text = NULL;

	for (size_t digits = 15; digits <= 17; digits++) {
		json_t *back;
		int same;

		free(text);
		text = json_dumps(value,
				  JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
		back = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
		same = json_equal(back, value);
		json_decref(back);
		if (same)
			break;
	}
	return text;
}

bool out_failed(void)
{
	return stdout_errno || ferror(stdout);
}

int out_end(int status)
{
	errno = 0;
	if (fflush(stdout) && !stdout_errno)
		stdout_errno = errno;
	if (!out_failed())
		return status;
	/* a reader that has seen enough went away: nobody wants to hear of it */
	if (stdout_errno != EPIPE)
		say(NULL, "standard output: %s",
		    stdout_errno ? strerror(stdout_errno) : "cannot be written");
	return BAD;
}

bool out_confirm(const char *fmt, ...)
{
	va_list ap;
	int c, first;

	if (!isatty(STDIN_FILENO))
		return true;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" [y/N] ", stderr);
	first = c = getchar();
	while (c != '\n' && c != EOF)
		c = getchar();
	return first == 'y' || first == 'Y';
}
