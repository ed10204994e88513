/* SPDX-License-Identifier: MIT */
/*
 * check-group.c - groups: what shards name, and the records there are
 *
 * Each shard is looked at under its lock, when its last dead writer's group was completed. A
 * read-only attach leaves out what changes meanwhile.
 */
#include "check.h"

#include "group.h"
#include "shard.h"
#include "space.h"

#include <stdio.h>

struct groups {
	struct ipcmap *m;
	void (*report)(void *arg, const char *line);
	void *arg;
};

static bool is_record(uint64_t word)
{
	return fmt_word_state(word) == FMT_LARGE && fmt_word_who(word) == FMT_WHO_GROUP;
}

/* group.I1: what a shard names is a group of which it is the first. */
static const char *fault_of_shard(struct im_op *op)
{
	struct fmt_shard *s = op->s;
	uint32_t ext = im_load32_rlx(&s->group) - 1;

	if (ext == UINT32_MAX)
		return NULL;
	if (!im_seg_has_extent(op->seg, ext) ||
	    im_load_rlx(&op->seg->table[ext].word) != im_load_rlx(&s->group_word) ||
	    !is_record(im_load_rlx(&s->group_word)))
		return "group.I1: it names a group that is none";
	return im_group_is_first(op) ? NULL : "group.I1: a group was left that is not its own";
}

/* group.I2: the shard names the record in @ext, or is about to free it. */
static const char *fault_of_record(struct im_op *op, uint32_t ext, uint64_t word)
{
	struct fmt_shard *s = op->s;

	if (im_load_rlx(&op->seg->table[ext].word) != word)
		return NULL; /* freed meanwhile */
	if (im_load32_rlx(&s->group) == ext + 1 && im_load_rlx(&s->group_word) == word)
		return NULL;
	if (im_load32_rlx(&s->free_n) && im_load32_rlx(&s->free_first) == ext)
		return NULL;
	return "group.I2: a record that no shard names";
}

/* Look at a shard (ext FMT_NO_EXTENT), or at a record of it, while it stands still. */
static int look(struct groups *g, uint32_t shard, uint32_t ext, uint64_t word)
{
	bool locked = !g->m->seg->rdonly;
	const char *fault;
	char line[160];
	uint64_t seq;
	struct im_op op;
	int r = 0;

	im_op_init(g->m, &op, 0);
	im_op_shard(&op, shard);
	seq = im_load_acq(&op.s->redo.seq);
	if (locked)
		r = im_op_enter(&op);
	if (r)
		return r;
	fault = ext == FMT_NO_EXTENT ? fault_of_shard(&op) : fault_of_record(&op, ext, word);
	if (locked)
		im_op_leave(&op);
	else if (im_load32_acq(&op.s->lock) || seq & 1 || im_load_acq(&op.s->redo.seq) != seq)
		fault = NULL;
	im_op_done(&op);
	if (!fault)
		return 0;
	if (ext == FMT_NO_EXTENT)
		snprintf(line, sizeof(line), "shard %u: %s", shard, fault);
	else
		snprintf(line, sizeof(line), "extent %u: %s", ext, fault);
	g->report(g->arg, line);
	return 0;
}

int im_check_groups(struct ipcmap *m, void (*report)(void *arg, const char *line), void *arg)
{
	struct groups g = {m, report, arg};
	uint32_t fresh = im_space_fresh(m->seg);
	int r = 0;

	for (uint32_t i = 0; i < m->n_shards && r == 0; i++)
		if (im_load32_acq(&m->shards[i].group))
			r = look(&g, i, FMT_NO_EXTENT, 0);
	for (uint32_t ext = 0; ext < fresh && r == 0; ext++) {
		uint64_t word = im_load_acq(&m->seg->table[ext].word);
		uint32_t shard = is_record(word) ? im_group_shard(m->seg, ext) : 0;

		if (!is_record(word))
			continue;
		if (shard < m->n_shards)
			r = look(&g, shard, ext, word);
		else if (im_load_acq(&m->seg->table[ext].word) == word)
			report(arg, "group.I2: a record of no shard");
	}
	return r;
}
