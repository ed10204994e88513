/* SPDX-License-Identifier: MIT */
/*
 * bdb.h - the text format of db_dump(1) and mdb_dump(1)
 *
 *	VERSION=3
 *	format=bytevalue	two hexadecimal digits a byte; or print: text, \xx escapes
 *	database=NAME		if there are several in a file
 *	type=btree
 *	...			lines that only their own store understands
 *	HEADER=END
 *	 6b6579			a key, a space before it
 *	 76616c7565		its value
 *	DATA=END
 *
 * and perhaps the next database. No input or output here.
 */
#ifndef BDB_H
#define BDB_H

#include <stdbool.h>
#include <stddef.h>

/* The first bytes of any such text. */
#define BDB_FIRST "VERSION="

/* A line of data with its space and newline, from malloc(); NULL without memory. */
char *bdb_line(bool print, const void *bytes, size_t len, size_t *ret_len);

/* A reader that is fed lines. Starts as zero, but for only. */
struct bdb {
	const char *only; /* this database, or NULL: all */
	enum { BDB_BEFORE, BDB_HEADER, BDB_KEY, BDB_VALUE } at;
	bool print;
	bool skip;	 /* this database is not the one */
	bool numbered;	 /* of type recno or queue: its records have no keys ... */
	bool keys;	 /* ... unless they were dumped with their numbers */
	bool multiple;	 /* a key of this database may have several values */
	bool duplicates; /* the same of any database so far that was not skipped */
	bool matched;	 /* a database was not skipped */
	bool bad_key;	 /* the line of the key was wrong: its value goes with it */
	unsigned char *key, *val;
	size_t key_len, val_len;
};

/*
 * The next line, with its newline or without; it is decoded in place, where key and val then
 * point, but the key is kept till the value has come. NULL, or what is wrong with it.
 * @ret_pair: true when key and val are a pair to store, valid until the next line.
 */
const char *bdb_feed(struct bdb *b, char *line, size_t len, bool *ret_pair);

/* At the end of the text: NULL, or what is missing. */
const char *bdb_end(const struct bdb *b);

#endif
