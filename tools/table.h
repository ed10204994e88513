/* SPDX-License-Identifier: MIT */
/*
 * table.h - rows of text in aligned columns on stdout
 */
#ifndef TABLE_H
#define TABLE_H

#include <stddef.h>

#define TABLE_COLS 12

struct table {
	const char *align; /* a letter a column: l or r */
	size_t first;	   /* columns that the first column takes at least */
	size_t n_rows;
	size_t cap;
	char *(*rows)[TABLE_COLS];
};

/*
 * Add a row: one const char * a column, copied. NULL ends it early: its last cell is then a
 * remark that may run on over the columns after it.
 */
void table_row(struct table *t, ...);

/* Print and forget. */
void table_print(struct table *t);

#endif
