/* SPDX-License-Identifier: MIT */
/*
 * pack.c - a corpus as one file: inputs one after the other, each with its length before it
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool fz_pack_read(const char *path, struct fz_pack *pack)
{
	FILE *f = fopen(path, "re");
	bool ok = false;
	long len;

	*pack = (struct fz_pack){0};
	if (!f)
		return false;
	if (fseek(f, 0, SEEK_END) == 0 && (len = ftell(f)) >= 0) {
		rewind(f);
		pack->len = (size_t)len;
		pack->bytes = malloc(pack->len + 1);
		ok = pack->bytes && fread(pack->bytes, 1, pack->len, f) == pack->len;
	}
	fclose(f);
	return ok;
}

const void *fz_pack_next(struct fz_pack *pack, size_t *ret_len)
{
	const void *at = pack->bytes + pack->pos + 4;
	uint32_t len;

	if (pack->len - pack->pos < 4)
		return NULL;
	memcpy(&len, pack->bytes + pack->pos, 4);
	if (len > pack->len - pack->pos - 4)
		return NULL;
	pack->pos += 4 + len;
	*ret_len = len;
	return at;
}

void fz_pack_free(struct fz_pack *pack)
{
	free(pack->bytes);
	*pack = (struct fz_pack){0};
}
