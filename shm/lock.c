/* SPDX-License-Identifier: MIT */
/*
 * lock.c - futex lock that names its owner and reports that the previous owner died
 *
 * The word holds slot and generation of the owning process, never a thread or process id:
 * these repeat across PID namespaces and over time. Taking the word is what names the owner,
 * in one compare-and-swap, so there is no moment at which the lock is held by nobody known.
 *
 * Sleeping. A waiter sets WAITERS and sleeps on the exact word; the unlocking
 * compare-and-swap removes WAITERS and wakes one. The one that takes the lock after having
 * slept sets WAITERS again, because others may still sleep and nobody counts them; at worst
 * that is one needless wake. A wake-up can be lost: its receiver may be stopped or killed, or
 * the unlocker killed between the swap and the wake. So every sleep is timed (1 ms, doubling
 * to 4 ms) and nothing depends on a wake-up but speed.
 *
 * Death. After each sleep the owner is probed (im_owner_dead()); a lock of a proven dead
 * owner is stolen by a compare-and-swap on the exact word that was judged. Slot and
 * generation never come back, so the word cannot have been let go and taken again between.
 * The thief learns IM_TAKEN_OVER and recovers what the lock protects before anything else; if
 * it dies too, the next does the same. A stopped owner is alive: it is waited for.
 *
 * Tried and dropped: robust pthread mutexes (twice the time; wrong across PID namespaces),
 * unlocking by a plain store (loses WAITERS).
 *
 * Invariants
 *  lock.I1  the word is 0, WAITERS, or names the owner that took it, alive or dead.
 *  lock.I2  only its owner, or the thief of a dead one, changes the owner bits.
 */
#include "lock.h"
#include "crash.h"
#include "os.h"

/* About 2-4 us: longer than nearly all critical sections, shorter than a sleep. */
#define SPINS 100

/* The first sleep is longer than any section that is not preempted; the longest bounds how
 * late a death or an interrupt is seen. */
#define NAP_MIN_NS UINT64_C(1000000)
#define NAP_MAX_NS UINT64_C(4000000)

bool im_wait_over(struct im_wait *wait)
{
	uint64_t now;

	if (wait->deadline_ns == IM_FOREVER)
		return false;
	if (wait->deadline_ns == IM_NOWAIT)
		return true;
	now = im_os->now();
	if (!wait->until)
		wait->until =
			now + wait->deadline_ns < now ? UINT64_MAX : now + wait->deadline_ns;
	return now >= wait->until;
}

uint64_t im_wait_nap(const struct im_wait *wait, uint64_t nap)
{
	uint64_t now;

	if (!wait->until)
		return nap;
	now = im_os->now();
	return now >= wait->until ? 0 : min_u64(nap, wait->until - now);
}

static bool is_free(uint32_t v)
{
	return (v & ~IM_LOCK_WAITERS) == 0;
}

/* Free: take it, leaving WAITERS. Its owner dead, when asked: steal it. Else -EBUSY. */
static int take(struct im_seg *seg, uint32_t *word, uint32_t waiters, bool probe)
{
	uint32_t v = im_load32_rlx(word);

	if (is_free(v)) {
		/* ord(lock) */
		if (im_cas32_acq(word, v, seg->self | v | waiters) == v)
			return IM_TAKEN;
		return -EBUSY;
	}
	if (!probe || !im_owner_dead(seg, v))
		return -EBUSY;
	crash("lock.judged");
	/* ord(lock) the exact word; others may sleep on it */
	if (im_cas32_acq(word, v, seg->self | IM_LOCK_WAITERS) != v)
		return -EBUSY;
	crash("lock.stolen");
	return IM_TAKEN_OVER;
}

static int spin(struct im_seg *seg, uint32_t *word)
{
	for (unsigned i = 0; i < SPINS; i++) {
		int rc = take(seg, word, 0, false);

		if (rc >= 0)
			return rc;
		im_pause();
	}
	return -EBUSY;
}

/* Sleep until the word changes or @nap is over; at once when it is free. */
static void doze(uint32_t *word, uint64_t nap, struct im_wait *wait)
{
	uint32_t v = im_load32_rlx(word);

	if (is_free(v))
		return;
	if (!(v & IM_LOCK_WAITERS) && im_cas32_acq(word, v, v | IM_LOCK_WAITERS) != v)
		return;
	wait->slept++;
	im_os->futex_wait(word, v | IM_LOCK_WAITERS, nap);
}

int im_lock_slow(struct im_seg *seg, uint32_t *word, struct im_wait *wait)
{
	uint64_t nap = NAP_MIN_NS;
	uint32_t waiters = 0;
	int rc;

	if (!seg->self)
		return -EACCES;
	if (wait->deadline_ns == IM_NOWAIT)
		return take(seg, word, 0, true);
	rc = spin(seg, word);
	if (rc >= 0)
		return rc;
	for (;;) {
		if (im_load_rlx(&seg->interrupts) != wait->interrupts)
			return -EINTR;
		if (im_wait_over(wait))
			return take(seg, word, waiters, true);
		doze(word, im_wait_nap(wait, nap), wait);
		waiters = IM_LOCK_WAITERS;
		rc = take(seg, word, waiters, true);
		if (rc >= 0)
			return rc;
		nap = min_u64(nap * 2, NAP_MAX_NS);
	}
}

void im_lock_wake(uint32_t *word)
{
	im_os->futex_wake(word, 1);
}

int im_trylock(struct im_seg *seg, uint32_t *word)
{
	/* ord(lock) */
	if (likely(im_cas32_acq(word, 0, seg->self) == 0))
		return IM_TAKEN;
	return take(seg, word, 0, true);
}
