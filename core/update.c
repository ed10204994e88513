/* SPDX-License-Identifier: MIT */
/*
 * update.c - writes whose value depends on the present one: touch, add
 *
 * Both are ordinary appends: entries stay immutable, so a kill, a reader and a version token
 * need no rule of their own. The new record is made under the shard's lock, from the entry
 * that is there.
 *
 * A counter is a value that is a decimal integer, as text: every tool can read it, and any
 * put of such a text makes one.
 */
#include "write.h"

#include "large.h"
#include "request.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- touch ---- */

static int same_value(struct im_op *op, struct im_request *q, const struct im_entry *old,
		      struct im_record *rec)
{
	(void)op;
	(void)q;
	rec->version = old->version; /* IF_PRESENT was checked */
	rec->val_len = old->val_len;
	rec->type = old->type;
	rec->flags = old->flags & ~FMT_F_TTL;
	rec->same = true;
	if (old->flags & FMT_F_LARGE)
		im_entry_chain(old, &rec->chain);
	else
		rec->val = im_entry_val(old);
	return 0;
}

int im_write_touch(struct ipcmap *m, const void *key, size_t key_len,
		   const struct ipcmap_put_options *how)
{
	struct ipcmap_put_options present = *how;
	struct im_request q = {.how = &present, .make = same_value};
	struct im_record rec = {.key = key,
				.key_len = (uint32_t)key_len,
				.hash = im_hash(m->hash_seed, key, key_len)};

	present.flags |= IPCMAP_IF_PRESENT;
	return im_write_run(m, &q, &rec);
}

/* ---- add ---- */

#define DIGITS_MAX 20u /* "-9223372036854775808" */

struct sum {
	const struct ipcmap_add_options *how;
	int64_t delta;
	int64_t now;
	char text[DIGITS_MAX + 2];
};

/* A decimal integer and nothing else. */
static bool parse(const unsigned char *s, uint32_t len, int64_t *ret)
{
	bool minus = len && s[0] == '-';
	int64_t n = 0;

	if (len == minus || len > DIGITS_MAX)
		return false;
	for (uint32_t i = minus; i < len; i++) {
		int d = s[i] - '0';

		if (d < 0 || d > 9 || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_sub_overflow(n, d, &n)) /* counts down: one more value there */
			return false;
	}
	if (!minus && n == INT64_MIN)
		return false;
	*ret = minus ? n : -n;
	return true;
}

static int present_number(const struct im_entry *old, int64_t *ret)
{
	unsigned char text[DIGITS_MAX];

	if (old->flags & (FMT_F_LARGE | FMT_F_PACKED) || old->val_len > DIGITS_MAX)
		return IPCMAP_TYPE;
	im_copy_racy(text, im_entry_val(old), old->val_len);
	return parse(text, old->val_len, ret) ? 0 : IPCMAP_TYPE;
}

static int sum_up(struct im_op *op, struct im_request *q, const struct im_entry *old,
		  struct im_record *rec)
{
	struct sum *sum = q->arg;
	int64_t n = sum->how->initial;
	int r = old ? present_number(old, &n) : 0;

	(void)op;
	if (r)
		return r;
	if (__builtin_add_overflow(n, sum->delta, &n) || n < sum->how->min || n > sum->how->max)
		return IPCMAP_RANGE;
	sum->now = n;
	rec->val = sum->text;
	rec->val_len = (uint32_t)snprintf(sum->text, sizeof(sum->text), "%" PRId64, n);
	rec->type = old ? old->type : sum->how->type;
	return 0;
}

int im_write_add(struct ipcmap *m, const void *key, size_t key_len, int64_t delta,
		 const struct ipcmap_add_options *how, int64_t *ret_now)
{
	struct sum sum = {.how = how, .delta = delta};
	struct ipcmap_put_options put = im_request_plain;
	struct im_request q = {.how = &put,
			       .make = sum_up,
			       .arg = &sum,
			       .ttl_new_ns = how->ttl_ns};
	struct im_record rec = {.key = key,
				.key_len = (uint32_t)key_len,
				.val_len = DIGITS_MAX,
				.hash = im_hash(m->hash_seed, key, key_len)};
	int r;

	im_large_plan(m->seg, &rec);
	if (rec.flags & FMT_F_LARGE)
		return IPCMAP_TOOBIG;
	put.ttl_ns = IPCMAP_TTL_KEEP;
	put.deadline_ns = how->deadline_ns;
	r = im_write_run(m, &q, &rec);
	if (r == 0 && ret_now)
		*ret_now = sum.now;
	return r;
}
