/* SPDX-License-Identifier: MIT */
/*
 * table.c - rows of text in aligned columns on stdout
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "table.h"

void table_row(struct table *t, ...)
{
	size_t n_cols = strlen(t->align);
	const char *cell;
	va_list ap;

	if (t->n_rows == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 16;
		t->rows = realloc(t->rows, t->cap * sizeof *t->rows);
		if (!t->rows)
			die_nomem();
	}
	memset(t->rows[t->n_rows], 0, sizeof *t->rows);
	va_start(ap, t);
	for (size_t c = 0; c < n_cols && (cell = va_arg(ap, const char *)); c++) {
		t->rows[t->n_rows][c] = strdup(cell);
		if (!t->rows[t->n_rows][c])
			die_nomem();
	}
	va_end(ap);
	t->n_rows++;
}

/* A row that ends early holds a remark in its last cell: that one sets no width. */
static bool is_remark(const struct table *t, size_t r, size_t c)
{
	return t->align[c + 1] && !t->rows[r][c + 1];
}

static size_t column_width(const struct table *t, size_t c)
{
	size_t width = c == 0 ? t->first : 0;

	for (size_t r = 0; r < t->n_rows; r++) {
		size_t w = t->rows[r][c] && !is_remark(t, r, c) ? text_width(t->rows[r][c]) : 0;

		width = w > width ? w : width;
	}
	return width;
}

static void print_row(char *const *row, size_t n_cols, const char *align, const size_t *width)
{
	size_t n = 0, given = 0;

	for (; given < n_cols && row[given]; given++)
		n = *row[given] ? given + 1 : n;
	for (size_t c = 0; c < n; c++) {
		size_t w = text_width(row[c]);
		int pad = w < width[c] ? (int)(width[c] - w) : 0;
		bool remark = c + 1 == given && given < n_cols;

		if (c)
			out_bytes("  ", 2);
		if (align[c] == 'r' && !remark)
			printf("%*s", pad, "");
		out_bytes(row[c], strlen(row[c]));
		if (align[c] == 'l' && c + 1 < n)
			printf("%*s", pad, "");
	}
	out_bytes("\n", 1);
}

void table_print(struct table *t)
{
	size_t n_cols = strlen(t->align), width[TABLE_COLS];

	for (size_t c = 0; c < n_cols; c++)
		width[c] = column_width(t, c);
	for (size_t r = 0; r < t->n_rows; r++) {
		print_row(t->rows[r], n_cols, t->align, width);
		for (size_t c = 0; c < n_cols; c++)
			free(t->rows[r][c]);
	}
	free(t->rows);
	*t = (struct table){.align = t->align};
}
