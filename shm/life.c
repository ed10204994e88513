/* SPDX-License-Identifier: MIT */
/*
 * life.c - this process's life: what fork changes, and the lock around attaching and claiming
 *
 * A forked child is another owner. It must not use its parent's slot or counter lines, and
 * it inherits the parent's segments in whatever state the parent's other threads had them.
 * One anonymous page with MADV_WIPEONFORK holds all that must be zero in a child, however it
 * was made: the tokens that make cached lines and slots valid, the mark that this life has
 * begun, and the life lock itself, which another thread of the parent may have held.
 *
 * Who takes the life lock first in a new life begins it: every segment forgets the slot,
 * and a fresh description of each file is opened. After fork() the child handler does so at
 * once, while the child still has its parent's rights; a child of a raw clone does it late,
 * at its first call. vfork() children share the page and must not use a map at all.
 *
 * fork() waits for the life lock. Without that a child could inherit the descriptor on which
 * another thread is just locking an owner byte, and keep the byte locked for its own life.
 * (A raw clone cannot be held up; seg->claim_fd tells such a child what to close.) A child
 * forked by a signal handler that interrupted the lock's holder gets no new life: it may only
 * exec or _exit.
 *
 * Invariants
 *  life.I1  a token that is not 0 was set in this life of the process.
 *  life.I2  open descriptors that hold a byte's lock exist only under the life lock.
 */
#include "life.h"
#include "os.h"
#include "owner.h"

#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>

/* Words of the page behind the tokens of the segments. */
#define BEGUN IM_SEGS
#define LOCK (IM_SEGS + 1)
#define PAGE_LEN 4096u

/* glibc keeps the values of the first keys in the thread itself; for others it allocates. */
#define KEYS_WITHOUT_MALLOC 32u

/* Another thread's attach may take long; so look again now and then rather than trust. */
#define NAP_NS 10000000u

uint64_t *im_tokens;
struct im_seg *im_segs[IM_SEGS];

static uint64_t last_token;
static pthread_key_t thread_end_key;
static int start_rc;

/* No thread is canceled while it holds the life lock: what it was before. */
static __thread int cancel_state __attribute__((tls_model("initial-exec")));
/* This thread holds the life lock. */
static __thread bool mine __attribute__((tls_model("initial-exec")));
/* This thread forks while it holds it: from a signal handler. */
static __thread bool forked_inside __attribute__((tls_model("initial-exec")));

static uint32_t *lock_word(void)
{
	return (uint32_t *)&im_tokens[LOCK];
}

/* 0 free, 1 taken, 2 taken and somebody sleeps. */
static void take_word(uint32_t *word)
{
	uint32_t v = im_cas32_acq(word, 0, 1);

	while (v != 0) {
		if (v == 2 || im_cas32_acq(word, 1, 2) != 0)
			im_os_real.futex_wait(word, 2, NAP_NS);
		v = im_cas32_acq(word, 0, 2);
	}
}

static void give_word(uint32_t *word)
{
	if (im_cas32_rel(word, 1, 0) == 1)
		return;
	im_store32_rel(word, 0);
	im_os_real.futex_wake(word, 1);
}

static void begin_if_new(void)
{
	if (likely(im_load_rlx(&im_tokens[BEGUN])))
		return;
	im_os_timens_refresh();
	for (unsigned i = 0; i < IM_SEGS; i++) {
		if (im_segs[i])
			im_owner_forked(im_segs[i]);
	}
	im_store_rlx(&im_tokens[BEGUN], 1);
}

int im_life_lock(void)
{
	if (mine)
		return -EDEADLK;
	mine = true;
	im_compiler_barrier();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	take_word(lock_word());
	begin_if_new();
	return 0;
}

int im_life_trylock(void)
{
	if (mine)
		return -EBUSY;
	mine = true;
	im_compiler_barrier();
	if (im_cas32_acq(lock_word(), 0, 1) != 0) {
		mine = false;
		return -EBUSY;
	}
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	begin_if_new();
	return 0;
}

void im_life_unlock(void)
{
	int state = cancel_state;

	give_word(lock_word());
	im_compiler_barrier();
	mine = false;
	pthread_setcancelstate(state, NULL);
}

uint64_t im_life_token(void)
{
	return im_add_rlx(&last_token, 1) + 1;
}

void im_life_at_thread_end(void *value)
{
	if ((unsigned)thread_end_key < KEYS_WITHOUT_MALLOC)
		pthread_setspecific(thread_end_key, value);
}

static void before_fork(void)
{
	forked_inside = im_life_lock() != 0;
}

static void after_fork_parent(void)
{
	if (!forked_inside)
		im_life_unlock();
	forked_inside = false;
}

/* The page is zero here, its lock free. */
static void after_fork_child(void)
{
	bool inside = forked_inside;

	forked_inside = false;
	mine = false;
	if (inside)
		return;
	im_life_lock();
	im_life_unlock();
}

static void start(void)
{
	void *p = mmap(NULL, PAGE_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED) {
		start_rc = -ENOMEM;
		return;
	}
	if (madvise(p, PAGE_LEN, MADV_WIPEONFORK) < 0) {
		munmap(p, PAGE_LEN);
		start_rc = -ENOSYS;
		return;
	}
	im_tokens = p;
	im_tokens[BEGUN] = 1;
	if (pthread_key_create(&thread_end_key, im_owner_thread_end) != 0 ||
	    pthread_atfork(before_fork, after_fork_parent, after_fork_child) != 0)
		start_rc = -ENOMEM;
}

int im_life_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
	return start_rc;
}
