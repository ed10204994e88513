/* SPDX-License-Identifier: MIT */
/*
 * owner.c - this process's slot in a segment; is another owner alive; fork
 *
 * Liveness. Slot n belongs to whoever holds an open-file-description lock on byte n (os.h).
 * The claim opens a fresh description, maps one PROT_NONE page through it, wins a byte on it
 * and closes the descriptor: from then on the mapping alone keeps the description, and the
 * lock lives exactly as long as this process's memory. It survives closefrom(), goes with
 * exec, exit and SIGKILL, and MADV_DONTFORK keeps it out of children. The data are mapped
 * through another open(): through this one, forked children would keep a dead master's lock.
 *
 * So a byte that is free proves that no thread of its last holder can touch the memory again,
 * and whoever wins it may clean up after the predecessor. The claim is, in this order:
 *
 *   win the byte; generation + 1 (from here all locks of the predecessor are seen to be of the
 *   dead, which matters because it may have died inside the space lock that the next step
 *   takes); free the extents PRIVATE to the slot; give back its counter lines; fill in who we
 *   are, for display; let this process's threads know.
 *
 * Killed anywhere in it, the byte is free again and the next claimer repeats all. Because the
 * byte is won before the generation rises, an owner word with another generation than its
 * slot's is of the dead, and one with the same generation is judged by the byte: F_GETLK, as
 * os.c says why; any error means alive.
 *
 * Generations have 20 bits. The last one is never lived in: a slot that reached it is taken
 * only after no lock word names the slot, whatever the generation; im_owner_word() shows them
 * and each is replaced, exact word, by an owner that cannot exist (slot 0), which is dead to
 * everybody, so the usual take-over with its recovery follows. (What is left: a thief stopped
 * between judgement and theft while its victim's slot is claimed 2^20 times, and a live owner
 * of exactly that generation holding exactly that lock when it goes on.)
 *
 * Invariants
 *  owner.I1  byte n is locked by at most one description, and by none without a mapping
 *            except under the life lock (life.I2).
 *  owner.I2  owners[n].gen rises only in hands that hold byte n.
 *  owner.I3  owners[n].n_private >= extents PRIVATE to n, chains counted once, unless a
 *            claimer or sweeper holds byte n.
 *  owner.I4  seg->self is used only while im_tokens[id] is not 0; self is stored after the
 *            token became 0 and before it gets its next value.
 */
#include "owner.h"
#include "crash.h"
#include "life.h"
#include "lock.h"
#include "os.h"
#include "space.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOT_BITS 10
#define SLOT_MASK 0x3ffu
#define GEN_LAST 0xfffffu
#define PAGE_LEN 4096u

/* Owner word of nobody: slot 0 with a generation. */
#define DEAD_OWNER (1u << SLOT_BITS)

/* The space lock is held for a few stores; who stops inside does not stop a claim for long. */
#define CLAIM_WAIT_NS UINT64_C(20000000)

uint32_t *(*im_owner_word)(struct im_seg *seg, uint32_t i);

static uint32_t owner_slot(uint32_t owner)
{
	return owner & SLOT_MASK;
}

static uint32_t owner_gen(uint32_t owner)
{
	return (owner & IM_OWNER_MASK) >> SLOT_BITS;
}

static struct fmt_owner *slot_at(struct im_seg *seg, uint32_t slot)
{
	return &seg->owners[slot - 1];
}

static uint32_t slot_gen(struct im_seg *seg, uint32_t slot)
{
	/* ord(gen): a claimer's clean-up comes after it won the slot. Pairs with take_slot().
	 */
	return im_load32_acq(&slot_at(seg, slot)->gen) & GEN_LAST;
}

bool im_owner_dead(struct im_seg *seg, uint32_t owner)
{
	uint32_t slot = owner_slot(owner);
	int fd;

	/* a slot that cannot be must not keep writers out for ever */
	if (slot == 0 || slot > seg->n_owners)
		return true;
	if (slot_gen(seg, slot) != owner_gen(owner))
		return true;
	if (slot == owner_slot(im_load32_rlx(&seg->self)))
		return false;
	fd = im_seg_fd(seg);
	if (fd < 0)
		return false;
	/* The generation held before this probe, and its owner won the byte before that: if the
	 * byte is free now, it is gone, whoever comes next. */
	return im_os->owner_locked(fd, slot) == 0;
}

uint32_t im_owner_count(struct im_seg *seg)
{
	int fd = im_seg_fd(seg);
	uint32_t n = 0;

	for (uint32_t slot = 1; fd >= 0 && slot <= seg->n_owners; slot++) {
		if (slot_gen(seg, slot) && im_os->owner_locked(fd, slot) != 0)
			n++;
	}
	return n;
}

/* "/proc/self/fd/N"; by hand, as it runs in forked children and signal handlers. */
static void fd_link(int fd, char link[32])
{
	static const char dir[] = "/proc/self/fd/";
	char digits[12];
	unsigned n = 0;
	char *s = link + sizeof(dir) - 1;

	memcpy(link, dir, sizeof(dir) - 1);
	do {
		digits[n++] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd);
	while (n)
		*s++ = digits[--n];
	*s = '\0';
}

static int open_checked(struct im_seg *seg, const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | flags);

	if (fd < 0)
		return -errno;
	if (im_seg_is(seg, fd))
		return fd;
	close(fd);
	return -ESTALE;
}

/* A description of the file that nobody shares. */
static int open_fresh(struct im_seg *seg)
{
	char link[32];
	int fd = (int)im_load32_rlx((uint32_t *)&seg->fd);

	if (fd >= 0 && im_seg_is(seg, fd)) {
		fd_link(fd, link);
		fd = open_checked(seg, link, 0);
		if (fd >= 0)
			return fd;
	}
	return open_checked(seg, seg->name, O_NOFOLLOW);
}

static void close_if_ours(struct im_seg *seg, int *fd)
{
	if (*fd >= 0 && im_seg_is(seg, *fd))
		close(*fd);
	*fd = -1;
}

/* No strerror(): in a forked child its locks may be held by threads that are not there. */
static void explain(struct im_seg *seg, int err)
{
	const char *what;

	switch (-err) {
	case EACCES:
	case EPERM:
		what = "cannot reopen the segment: permission denied";
		break;
	case ENOENT:
		what = "cannot reopen the segment: its name was removed and its descriptor "
		       "closed";
		break;
	case ESTALE:
		what = "cannot reopen the segment: its name is another file's now";
		break;
	case EMFILE:
	case ENFILE:
		what = "cannot reopen the segment: too many open files";
		break;
	default:
		what = "cannot reopen the segment";
	}
	memcpy(seg->why, what, strlen(what) + 1);
}

static void explain_replaced(struct im_seg *seg)
{
	static const char what[] = "a repaired segment took its place: open it anew";

	memcpy(seg->why, what, sizeof(what));
}

/* The parent's slot, lock page and descriptions are not ours. Under the life lock. */
void im_owner_forked(struct im_seg *seg)
{
	im_store32_rel(&seg->self, 0);
	seg->lock_page = NULL;
	memset(seg->stray, 0, sizeof(seg->stray));
	close_if_ours(seg, &seg->claim_fd);
	close_if_ours(seg, &seg->fork_fd);
	if (seg->rdonly)
		return;
	seg->fork_fd = open_fresh(seg);
	if (seg->fork_fd < 0) {
		explain(seg, seg->fork_fd);
		seg->fork_fd = -1;
	}
}

/* A word that goes on naming a slot whose byte is free is written by somebody hostile. */
#define WORD_TRIES 64u

/* No word names the slot any more, whatever the generation. */
static bool start_generations_over(struct im_seg *seg, uint32_t slot)
{
	uint32_t *word = &seg->h->space.lock;

	if (!im_owner_word)
		return false;
	for (uint32_t i = 0; word; word = im_owner_word(seg, i++)) {
		uint32_t v = im_load32_rlx(word), tries = 0;

		/* the byte is ours, so nobody can come to name the slot again */
		for (; v & IM_OWNER_MASK && owner_slot(v) == slot; tries++) {
			if (tries == WORD_TRIES)
				return false;
			im_cas32_acq(word, v, DEAD_OWNER | (v & IM_LOCK_WAITERS));
			v = im_load32_rlx(word);
		}
	}
	return true;
}

static void give_back_lines(struct im_seg *seg, uint32_t slot)
{
	for (uint32_t i = 0; i < seg->n_lines; i++) {
		uint32_t *claim = &seg->lines[i].claim;
		uint32_t v = im_load32_rlx(claim);

		if (v && owner_slot(v) == slot)
			im_cas32_rel(claim, v, 0);
	}
}

static void sign(struct fmt_owner *o)
{
	uint64_t pid, start;
	char comm[16];

	im_os_self(&pid, &start, comm);
	im_store_rlx(&o->pid, pid);
	im_store_rlx(&o->start, start);
	im_store_rlx(&o->attached, im_os_wall());
	im_fill_racy(o->comm, comm, sizeof(comm));
}

/* Byte @slot is won. Clean up after the predecessor, become its owner. */
static int take_slot(struct im_seg *seg, uint32_t slot, bool patient)
{
	struct fmt_owner *o = slot_at(seg, slot);
	uint32_t gen = slot_gen(seg, slot);
	uint32_t n_private = im_load32_rlx(&o->n_private);
	struct im_wait wait;
	int rc;

	if (!patient && (n_private || gen + 1 >= GEN_LAST))
		return -EBUSY;
	crash("owner.won");
	/* who replaces it has all bytes until this is stored */
	if (im_load32_rlx(&seg->h->replaced))
		return -ESTALE;
	if (gen + 1 >= GEN_LAST) {
		if (!start_generations_over(seg, slot))
			return -EUSERS;
		gen = 0;
	}
	im_store32_rel(&seg->self, slot | (gen + 1) << SLOT_BITS);
	/* ord(gen) */
	im_store32_rel(&o->gen, gen + 1);
	crash("owner.gen");
	if (n_private) {
		im_wait_start(seg, CLAIM_WAIT_NS, &wait);
		rc = im_space_free_owner(seg, slot, &wait);
		if (rc < 0)
			return rc == -EUCLEAN ? rc : -EBUSY;
		crash("owner.freed");
		im_store32_rel(&o->n_private, 0);
	}
	give_back_lines(seg, slot);
	crash("owner.lines");
	sign(o);
	return 0;
}

static int win_slot(struct im_seg *seg, int fd, bool patient)
{
	bool busy = false;
	int rc;

	for (uint32_t slot = 1; slot <= seg->n_owners; slot++) {
		rc = im_os_byte_lock(fd, slot);
		if (rc == -EAGAIN)
			continue;
		if (rc < 0)
			return rc;
		rc = take_slot(seg, slot, patient);
		if (rc == 0)
			return 0;
		im_store32_rel(&seg->self, 0);
		im_os_byte_unlock(fd, slot);
		if (rc == -EUCLEAN || rc == -ESTALE)
			return rc;
		busy |= rc == -EBUSY;
	}
	return busy ? -EBUSY : -EUSERS;
}

/* The page comes first: once the byte is won nothing can fail but the space lock. */
static int claim_through(struct im_seg *seg, int fd, bool patient)
{
	void *page = mmap(NULL, PAGE_LEN, PROT_NONE, MAP_SHARED, fd, 0);
	int rc;

	if (page == MAP_FAILED)
		return im_os_map_errno();
	if (madvise(page, PAGE_LEN, MADV_DONTFORK) < 0) {
		rc = im_os_map_errno();
		munmap(page, PAGE_LEN);
		return rc;
	}
	seg->claim_fd = fd;
	rc = win_slot(seg, fd, patient);
	seg->claim_fd = -1;
	if (rc < 0)
		munmap(page, PAGE_LEN);
	else
		seg->lock_page = page;
	return rc;
}

/*
 * Under the life lock, with the token 0. The description opened at fork is the last resort:
 * a raw clone of this process would share it.
 */
static int claim(struct im_seg *seg, bool patient)
{
	int fd = open_fresh(seg);
	bool kept = false;
	int rc = fd;

	if (fd < 0 && seg->fork_fd >= 0 && im_seg_is(seg, seg->fork_fd)) {
		fd = seg->fork_fd;
		kept = true;
	}
	if (fd < 0) {
		explain(seg, rc);
		return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ? rc : -EACCES;
	}
	rc = claim_through(seg, fd, patient);
	if (!kept)
		close(fd);
	if (rc == -ESTALE)
		explain_replaced(seg);
	if (rc < 0)
		return rc;
	close_if_ours(seg, &seg->fork_fd);
	seg->why[0] = '\0';
	return 0;
}

/* Under the life lock. Threads that found the old token go on in the shared line with it. */
static int claim_anew(struct im_seg *seg)
{
	uint64_t *token = &im_tokens[seg->id];
	uint64_t old = im_load_rlx(token);
	int rc;

	im_store_rlx(token, 0);
	rc = claim(seg, true);
	/* owner.I4; ord(token): the slot is complete. Pairs with im_owner_ready(). */
	im_store_rel(token, rc == 0 || !old ? im_life_token() : old);
	return rc;
}

int im_owner_claim(struct im_seg *seg)
{
	return seg->rdonly || seg->self ? 0 : claim_anew(seg);
}

static int ready_slow(struct im_seg *seg)
{
	int rc;

	if (seg->rdonly)
		return -EROFS;
	rc = im_life_lock();
	if (rc < 0)
		return rc;
	rc = im_owner_claim(seg);
	im_life_unlock();
	return rc;
}

int im_owner_ready(struct im_seg *seg)
{
	/* self first: were it read second, it could be the one of a claim still going on */
	uint32_t self = im_load32_acq(&seg->self);

	/* ord(token) */
	if (likely(im_load_acq(&im_tokens[seg->id]) && self))
		return 0;
	return ready_slow(seg);
}

bool im_owner_try_ready(struct im_seg *seg)
{
	uint64_t *token = &im_tokens[seg->id];

	if (im_life_trylock() < 0)
		return false;
	if (!im_load_rlx(token)) {
		if (!seg->rdonly && !seg->self)
			claim(seg, false);
		/* owner.I4, ord(token) */
		im_store_rel(token, im_life_token());
	}
	im_life_unlock();
	return true;
}

void im_owner_leave(struct im_seg *seg)
{
	struct im_wait wait;
	uint32_t slot = owner_slot(seg->self);

	if (seg->self) {
		im_wait_start(seg, CLAIM_WAIT_NS, &wait);
		if (im_load32_rlx(&slot_at(seg, slot)->n_private) &&
		    im_space_free_owner(seg, slot, &wait) == 0)
			im_store32_rel(&slot_at(seg, slot)->n_private, 0);
		give_back_lines(seg, slot);
	}
	if (seg->lock_page)
		munmap(seg->lock_page, PAGE_LEN);
	seg->lock_page = NULL;
	im_store32_rel(&seg->self, 0);
	close_if_ours(seg, &seg->fork_fd);
}

/* Hold the slot's byte meanwhile, so that nobody claims it and gets its own extents freed. */
static void sweep_slot(struct im_seg *seg, uint32_t slot, int fd)
{
	struct fmt_owner *o = slot_at(seg, slot);
	struct im_wait wait;

	if (im_os_byte_lock(fd, slot) < 0)
		return;
	crash("sweep.won");
	/* it may have died inside the space lock, which our holding its byte must not keep */
	if (slot_gen(seg, slot) + 2 < GEN_LAST)
		im_store32_rel(&o->gen, slot_gen(seg, slot) + 1);
	im_wait_start(seg, CLAIM_WAIT_NS, &wait);
	if (im_load32_rlx(&o->n_private) && im_space_free_owner(seg, slot, &wait) == 0) {
		crash("sweep.freed");
		im_store32_rel(&o->n_private, 0);
	}
	im_os_byte_unlock(fd, slot);
}

/* The life lock keeps fork() from copying the description that holds the byte. */
void im_owner_sweep(struct im_seg *seg)
{
	uint32_t self;

	if (im_life_trylock() < 0)
		return;
	self = owner_slot(seg->self);
	for (uint32_t slot = 1; self && slot <= seg->n_owners; slot++) {
		if (slot == self || !im_load32_rlx(&slot_at(seg, slot)->n_private))
			continue;
		if (seg->claim_fd < 0)
			seg->claim_fd = open_fresh(seg);
		if (seg->claim_fd < 0)
			break;
		sweep_slot(seg, slot, seg->claim_fd);
	}
	if (seg->claim_fd >= 0)
		close(seg->claim_fd);
	seg->claim_fd = -1;
	im_life_unlock();
}
