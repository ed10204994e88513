/* SPDX-License-Identifier: MIT */
/*
 * text.h - bytes and numbers as text, and back
 *
 * No input or output here, and no opinion on what is an error.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>
#include <stdint.h>

enum text_code { TEXT_RAW, TEXT_HEX, TEXT_BASE64 };

/* A short text by value: text_size(n).s lives to the end of the full expression. */
struct text {
	char s[32];
};

struct text text_size(uint64_t bytes);	/* 512, 1.5K, 64M */
struct text text_duration(uint64_t ns); /* 250ms, 4.9s, 5m, 2h03m, 3d */
struct text text_number(uint64_t n);

/* Each returns memory from malloc(), one zero byte after the text; NULL without memory. */
char *text_encode(enum text_code code, const void *bytes, size_t len);
char *text_escape(const void *bytes, size_t len);

/* Bytes of a coded text, from malloc(); NULL when it is not one (or without memory). */
void *text_decode(enum text_code code, const char *text, size_t *ret_len);

/* Columns of a terminal that UTF-8 text takes, as far as one column a character is true. */
size_t text_width(const char *s);

#endif
