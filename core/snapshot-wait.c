/* SPDX-License-Identifier: MIT */
/*
 * snapshot-wait.c - im_snapshot_wait() of snapshot.h: until a table has another version
 *
 * Each table's entry has a bell (bell.c), rung after its current has changed: by a publisher,
 * by who drops the table, and when the entry gets another name. A name that no entry has is
 * waited for at the area's bell, rung when an entry gets its name; the first version then
 * rings the entry's. So a waiter
 *
 *     finds its table's entry, looks: reads current, compares the name;
 *     another version than the caller's: done
 *     listens to the entry's bell, or the area's; looks again
 *     another version: done; the entry has another name now: from the start; else sleeps
 *
 * The name is compared after current was read: it changes only while current is 0, so a
 * current that was read before the name was seen is the named table's, or 0.
 *
 * A publisher may be killed between the switch and the ring, and a library of before bells
 * rings none: every sleep ends after NAP_NS, and the waiter looks. So nothing depends on the
 * ring but speed, and no kill point needs anything done. The rings come after the area's lock
 * was given back: a killed ringer holds nothing.
 *
 * Who has the map attached for reading only can store nothing, not even that it listens: it
 * sleeps on a word of its own, and looks each POLL_NS.
 *
 * One bell for all tables was tried first. Workers that wait for a table that seldom changes
 * then wake for each publication of a busy one.
 *
 * Invariants
 *  wait.I1  a waiter that sleeps on a bell has looked at its table after it listened.
 */
#include "snapshot.h"

#include "bell.h"
#include "crash.h"
#include "keep.h"

/* How late a waiter is when a publisher was killed before it rang, or is interrupted. */
#define NAP_NS UINT64_C(250000000)

/* Of a read-only attach: a change is not seen later than this, at 50 looks a second. */
#define POLL_NS UINT64_C(20000000)

#define TRIES 16u /* looks while the entry changes; then it sleeps, shortly */
#define SHORT_NS UINT64_C(1000000)

static bool is_named(const struct im_area *a, uint32_t table, const uint64_t words[8])
{
	uint64_t have[8];

	im_copy_racy(have, a->tables[table].name, sizeof(have));
	return memcmp(have, words, sizeof(have)) == 0;
}

/* The entry that has the name, also one whose table was dropped; n_tables: none. */
static uint32_t entry_of(const struct im_area *a, const uint64_t words[8])
{
	for (uint32_t i = 0; i < a->n_tables; i++)
		if (is_named(a, i, words))
			return i;
	return a->n_tables;
}

static uint32_t *bell_of(const struct im_area *a, uint32_t table)
{
	return table < a->n_tables ? &a->tables[table].bell : &a->s->made;
}

/* The version that the entry's table has, 0: none; false: it is not that table's any more. */
static bool look(const struct im_area *a, uint32_t table, const uint64_t words[8],
		 uint64_t *ret_version)
{
	uint64_t current = 0;

	if (table < a->n_tables) {
		/* ord(switch): who opens that version then finds it */
		current = im_load_acq(&a->tables[table].current);
		crash("read.waiting");
		im_read_barrier();
	}
	*ret_version = fmt_current_version(current);
	return table < a->n_tables ? is_named(a, table, words)
				   : entry_of(a, words) == a->n_tables;
}

/*
 * A look, and unless it finds another version than @version, one more after listening to the
 * bell that will ring. 0; -EAGAIN: look again.
 */
static int look_and_listen(const struct im_area *a, const uint64_t words[8], uint64_t version,
			   uint32_t **bell, uint32_t *ret_heard, uint64_t *ret_version)
{
	uint32_t table = entry_of(a, words);

	/* listening stores, and costs the next ringer a system call */
	if (look(a, table, words, ret_version) && *ret_version != version)
		return 0;
	if (!a->seg->rdonly)
		*bell = bell_of(a, table);
	*ret_heard = im_bell_listen(*bell);
	return look(a, table, words, ret_version) ? 0 : -EAGAIN;
}

int im_snapshot_wait(struct ipcmap *m, const char *name, uint64_t version,
		     uint64_t deadline_ns, uint64_t *ret_version)
{
	uint64_t words[8] = {0}, now = 0, nap = m->seg->rdonly ? POLL_NS : NAP_NS;
	uint32_t own = 0, *bell = &own, heard = 0;
	struct im_wait wait;
	struct im_area a;
	int r;

	im_area_of(m->seg, &a);
	memcpy(words, name, strlen(name));
	im_wait_start(m->seg, deadline_ns, &wait);
	for (;;) {
		r = -EAGAIN;
		for (unsigned i = 0; r && i < TRIES; i++)
			r = look_and_listen(&a, words, version, &bell, &heard, &now);
		if (r == 0 && now != version)
			break;
		if (im_load32_rlx(&m->seg->h->replaced))
			return IPCMAP_MISMATCH;
		r = im_bell_sleep(m->seg, bell, heard, r ? SHORT_NS : nap, &wait);
		if (r)
			return r;
	}
	if (ret_version)
		*ret_version = now;
	return 0;
}
