/* SPDX-License-Identifier: MIT */
/*
 * text.c - bytes and numbers as text, and back
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "text.h"

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct text text_number(uint64_t n)
{
	struct text t;

	snprintf(t.s, sizeof t.s, "%llu", (unsigned long long)n);
	return t;
}

struct text text_size(uint64_t bytes)
{
	static const char units[] = " KMGTPE";
	struct text t;
	unsigned u = 0;
	double x = (double)bytes;

	if (bytes < 1024)
		return text_number(bytes);
	/* 1023.95 would be printed as 1024.0: the next unit's 1.0 is what is meant */
	while (x >= 1023.95 && units[u + 1]) {
		x /= 1024;
		u++;
	}
	snprintf(t.s, sizeof t.s, "%.1f%c", x, units[u]);
	if (strstr(t.s, ".0"))
		snprintf(t.s, sizeof t.s, "%.0f%c", x, units[u]);
	return t;
}

struct text text_duration(uint64_t ns)
{
	struct text t;
	unsigned long long ms = ns / 1000000, sec = ms / 1000;

	if (ns == 0)
		snprintf(t.s, sizeof t.s, "0s");
	else if (ms == 0)
		snprintf(t.s, sizeof t.s, "%lluus", (unsigned long long)(ns / 1000));
	else if (sec < 1)
		snprintf(t.s, sizeof t.s, "%llums", ms);
	else if (sec < 60 && ms % 1000 >= 100)
		snprintf(t.s, sizeof t.s, "%llu.%llus", sec, ms % 1000 / 100);
	else if (sec < 60)
		snprintf(t.s, sizeof t.s, "%llus", sec);
	else if (sec < 3600)
		snprintf(t.s, sizeof t.s, sec % 60 ? "%llum%02llus" : "%llum", sec / 60,
			 sec % 60);
	else if (sec < 86400)
		snprintf(t.s, sizeof t.s, sec / 60 % 60 ? "%lluh%02llum" : "%lluh", sec / 3600,
			 sec / 60 % 60);
	else
		snprintf(t.s, sizeof t.s, sec / 3600 % 24 ? "%llud%02lluh" : "%llud",
			 sec / 86400, sec / 3600 % 24);
	return t;
}

static char *encode_hex(const unsigned char *b, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *s = malloc(2 * len + 1);

	if (!s)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		s[2 * i] = digits[b[i] >> 4];
		s[2 * i + 1] = digits[b[i] & 15];
	}
	s[2 * len] = 0;
	return s;
}

static char *encode_base64(const unsigned char *b, size_t len)
{
	char *s = malloc((len + 2) / 3 * 4 + 1), *out = s;

	if (!s)
		return NULL;
	for (; len > 0; b += 3) {
		size_t n = len < 3 ? len : 3;
		unsigned w = (unsigned)b[0] << 16;

		if (n > 1)
			w |= (unsigned)b[1] << 8;
		if (n > 2)
			w |= b[2];
		*out++ = base64_digits[w >> 18];
		*out++ = base64_digits[w >> 12 & 63];
		*out++ = n > 1 ? base64_digits[w >> 6 & 63] : '=';
		*out++ = n > 2 ? base64_digits[w & 63] : '=';
		len -= n;
	}
	*out = 0;
	return s;
}

char *text_encode(enum text_code code, const void *bytes, size_t len)
{
	char *s;

	if (code == TEXT_HEX)
		return encode_hex(bytes, len);
	if (code == TEXT_BASE64)
		return encode_base64(bytes, len);
	s = malloc(len + 1);
	if (s) {
		memcpy(s, bytes, len);
		s[len] = 0;
	}
	return s;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool decode_hex(const char *text, unsigned char *out, size_t *ret_len)
{
	size_t n = 0;

	for (; *text; text += 2) {
		int hi = hex_digit(text[0]), lo = hi < 0 ? -1 : hex_digit(text[1]);

		if (lo < 0)
			return false;
		out[n++] = (unsigned char)(hi << 4 | lo);
	}
	*ret_len = n;
	return true;
}

/* The padding may be left out, as it often is; whatever else follows is an error. */
static bool decode_base64(const char *text, unsigned char *out, size_t *ret_len)
{
	size_t n = 0, digits = 0;
	unsigned w = 0;

	for (; *text && *text != '='; text++, digits++) {
		const char *d = strchr(base64_digits, *text);

		if (!d)
			return false;
		w = (w << 6 | (unsigned)(d - base64_digits)) & 0xffffff;
		if (digits % 4)
			out[n++] = (unsigned char)(w >> (6 - 2 * (digits % 4)));
	}
	if (digits % 4 == 1 || (*text && strlen(text) != 4 - digits % 4) ||
	    text[strspn(text, "=")])
		return false;
	*ret_len = n;
	return true;
}

void *text_decode(enum text_code code, const char *text, size_t *ret_len)
{
	size_t len = strlen(text);
	unsigned char *out = malloc(len + 1);
	bool ok = true;

	if (!out)
		die_nomem(); /* NULL says that the text is none */
	if (code == TEXT_RAW) {
		memcpy(out, text, len);
		*ret_len = len;
	} else if (code == TEXT_HEX) {
		ok = decode_hex(text, out, ret_len);
	} else {
		ok = decode_base64(text, out, ret_len);
	}
	if (ok)
		return out;
	free(out);
	return NULL;
}

/* Bytes of the printable UTF-8 character at b, 0 when there is none. */
static size_t printable(const unsigned char *b, size_t len)
{
	unsigned c = b[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	uint32_t code = n == 1 ? c : c & (0x7fu >> n);
	static const uint32_t least[] = {0, 0x20, 0xa0, 0x800, 0x10000};

	if ((c >= 0x80 && c < 0xc0) || c > 0xf4 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (b[i] & 0x3f);
	}
	if (code < least[n] || code == 0x7f || code > 0x10ffff || (code >> 11) == 0x1b)
		return 0;
	/* characters that reorder or hide what stands around them on a terminal */
	if ((code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	    (code >= 0x2066 && code <= 0x2069) || code == 0xfeff)
		return 0;
	return n;
}

char *text_escape(const void *bytes, size_t len)
{
	const unsigned char *b = bytes;
	char *s = malloc(4 * len + 1), *out = s;

	if (!s)
		return NULL;
	while (len) {
		size_t n = printable(b, len);

		if (*b == '\\' || *b == '\n' || *b == '\t' || *b == '\r') {
			*out++ = '\\';
			*out++ = *b == '\n' ? 'n' : *b == '\t' ? 't' : *b == '\r' ? 'r' : '\\';
			n = 1;
		} else if (n) {
			memcpy(out, b, n);
			out += n;
		} else {
			out += sprintf(out, "\\x%02x", *b);
			n = 1;
		}
		b += n;
		len -= n;
	}
	*out = 0;
	return s;
}

size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}
