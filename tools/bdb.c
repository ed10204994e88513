/* SPDX-License-Identifier: MIT */
/*
 * bdb.c - the text format of db_dump(1) and mdb_dump(1)
 *
 * With format=print any byte may be \xx, and a backslash is \\ or \5c; written are escapes
 * that all stores read. mdb_dump -p of LMDB 0.9.24 leaves backslashes as they are. What can be
 * told from an escape then is refused, since what cannot would be stored wrong.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "bdb.h"

static const char hex[] = "0123456789abcdef";

char *bdb_line(bool print, const void *bytes, size_t len, size_t *ret_len)
{
	const unsigned char *b = bytes;
	char *s = malloc(3 * len + 2), *out = s;

	if (!s)
		return NULL;
	*out++ = ' ';
	for (size_t i = 0; i < len; i++) {
		bool plain = print && b[i] >= 0x20 && b[i] < 0x7f && b[i] != '\\';

		if (plain) {
			*out++ = (char)b[i];
			continue;
		}
		if (print)
			*out++ = '\\';
		*out++ = hex[b[i] >> 4];
		*out++ = hex[b[i] & 15];
	}
	*out++ = '\n';
	*ret_len = (size_t)(out - s);
	return s;
}

/* ---- reading ---- */

static int digit(char c)
{
	const char *d = c ? strchr(hex, tolower((unsigned char)c)) : NULL;

	return d ? (int)(d - hex) : -1;
}

/* Two digits at s; -1 when they are not. */
static int byte(const char *s, const char *end)
{
	int hi = end - s >= 2 ? digit(s[0]) : -1, lo = hi < 0 ? -1 : digit(s[1]);

	return lo < 0 ? -1 : hi << 4 | lo;
}

/* In place: what is decoded is never longer. */
static const char *decode(bool print, char *s, size_t len, size_t *ret_len)
{
	unsigned char *out = (unsigned char *)s;
	const char *end = s + len;
	size_t n = 0;

	while (s < end) {
		int c;

		if (print && *s != '\\') {
			c = (unsigned char)*s++;
		} else if (print && end - s >= 2 && s[1] == '\\') {
			c = '\\';
			s += 2;
		} else {
			s += print;
			c = byte(s, end);
			s += 2;
		}
		if (c < 0)
			return print ? "a backslash alone; mdb_dump -p forgets to double them"
				     : "not hexadecimal (two digits a byte)";
		out[n++] = (unsigned char)c;
	}
	*ret_len = n;
	return NULL;
}

/* Is the line NAME=VALUE with this name? Its value, else NULL. */
static const char *value_of(const char *line, const char *name)
{
	size_t len = strlen(name);

	return strncmp(line, name, len) == 0 && line[len] == '=' ? line + len + 1 : NULL;
}

static const char *begin(struct bdb *b, const char *line)
{
	const char *v = value_of(line, "VERSION");

	if (!*line)
		return NULL;
	if (!v)
		return "not VERSION=, which a database begins with";
	if (strcmp(v, "2") != 0 && strcmp(v, "3") != 0)
		return "a version of the format other than 2 and 3";
	b->at = BDB_HEADER;
	b->print = b->numbered = b->keys = b->multiple = b->bad_key = false;
	b->skip = b->only != NULL;
	return NULL;
}

static const char *end_header(struct bdb *b)
{
	bool keyless = b->numbered && !b->keys;

	b->at = BDB_KEY;
	if (b->skip)
		return NULL;
	b->matched = true;
	b->duplicates |= b->multiple;
	b->skip = keyless;
	return keyless ? "its records have no keys (type recno or queue)" : NULL;
}

static const char *header(struct bdb *b, const char *line)
{
	const char *v;

	if (strcmp(line, "HEADER=END") == 0)
		return end_header(b);
	if ((v = value_of(line, "format"))) {
		b->print = strcmp(v, "print") == 0;
		if (!b->print && strcmp(v, "bytevalue") != 0)
			return "format is neither bytevalue nor print";
	} else if ((v = value_of(line, "type"))) {
		b->numbered = strcmp(v, "recno") == 0 || strcmp(v, "queue") == 0;
	} else if ((v = value_of(line, "keys"))) {
		b->keys = strcmp(v, "1") == 0;
	} else if ((v = value_of(line, "database"))) {
		b->skip = b->only && strcmp(v, b->only) != 0;
	} else if ((v = value_of(line, "duplicates"))) {
		b->multiple = strcmp(v, "1") == 0;
	} else if (!strchr(line, '=')) {
		return "not NAME=VALUE, as the lines of the header are";
	}
	return NULL;
}

/* A key outlives its line, of which only the bytes are kept. */
static const char *key_line(struct bdb *b, char *text, size_t len)
{
	const char *wrong = decode(b->print, text, len, &b->key_len);

	b->at = BDB_VALUE;
	b->bad_key = wrong != NULL;
	if (wrong)
		return wrong;
	b->key = realloc(b->key, b->key_len + 1);
	if (!b->key)
		return "out of memory";
	memcpy(b->key, text, b->key_len);
	return NULL;
}

static const char *data(struct bdb *b, char *line, size_t len, bool *ret_pair)
{
	const char *wrong;

	if (strcmp(line, "DATA=END") == 0) {
		wrong = b->at == BDB_VALUE && !b->skip ? "a key without a value before it"
						       : NULL;
		b->at = BDB_BEFORE;
		return wrong;
	}
	if (b->skip) {
		return NULL;
	} else if (*line != ' ') {
		return "neither data, which have a space before them, nor DATA=END";
	} else if (b->at == BDB_KEY) {
		return key_line(b, line + 1, len - 1);
	}
	b->at = BDB_KEY;
	wrong = decode(b->print, line + 1, len - 1, &b->val_len);
	b->val = (unsigned char *)line + 1;
	*ret_pair = !wrong && !b->bad_key;
	return wrong;
}

const char *bdb_feed(struct bdb *b, char *line, size_t len, bool *ret_pair)
{
	*ret_pair = false;
	if (len && line[len - 1] == '\n')
		line[--len] = 0;
	switch (b->at) {
	case BDB_BEFORE:
		return begin(b, line);
	case BDB_HEADER:
		return header(b, line);
	default:
		return data(b, line, len, ret_pair);
	}
}

const char *bdb_end(const struct bdb *b)
{
	if (b->at != BDB_BEFORE)
		return "it ends without DATA=END: is it whole?";
	if (b->only && !b->matched)
		return "no such database in it";
	return NULL;
}
