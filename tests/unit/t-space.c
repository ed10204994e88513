/* SPDX-License-Identifier: MIT */
/*
 * t-space.c - the extent table: order, chains, limits, and a kill at every point
 */
#include "seg.h"

#include "lock.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

static struct fmt_space *space_of(struct im_seg *seg)
{
	return &seg->h->space;
}

static void space__free_extents_are_reused_oldest_first(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	uint32_t n = space_of(seg)->limit_n, gen_of_7;

	for (uint32_t i = 0; i < n; i++)
		CU_ASSERT(seg_take(seg, FMT_NO_EXTENT) == i);
	CU_ASSERT(im_space_short(seg) && seg_take(seg, FMT_NO_EXTENT) == FMT_NO_EXTENT);
	CU_ASSERT(im_space_used(seg) <= space_of(seg)->limit);
	CU_ASSERT(space_of(seg)->limit - im_space_used(seg) < seg->extent_len + 64);
	CU_ASSERT(seg->owners[0].n_private == n && seg_findings(seg) == 0);
	gen_of_7 = (uint32_t)fmt_word_gen(seg->table[7].word);
	CU_ASSERT(seg_free(seg, 7, 7, 1) == 0 && seg_free(seg, 3, 3, 1) == 0 &&
		  seg_free(seg, 5, 5, 1) == 0);
	CU_ASSERT(seg_findings(seg) == 0);
	CU_ASSERT(fmt_word_gen(seg->table[7].word) == gen_of_7 + 1);
	CU_ASSERT(seg_take(seg, FMT_NO_EXTENT) == 7 && seg_take(seg, FMT_NO_EXTENT) == 3);
	CU_ASSERT(fmt_word_gen(seg->table[7].word) == gen_of_7 + 2);
	CU_ASSERT(seg_free(seg, 0, 0, 1) == 0);
	CU_ASSERT(seg_take(seg, FMT_NO_EXTENT) == 5 && seg_take(seg, FMT_NO_EXTENT) == 0);
	CU_ASSERT(seg->table[0].backed == 1 && seg->table[0].next == FMT_NO_EXTENT);
	CU_ASSERT(seg->table[0].fill == 0 && seg->table[0].expiry_min == UINT64_MAX);
	CU_ASSERT(seg_findings(seg) == 0);
	seg_gone(seg);
}

static void space__chain_is_freed_in_one_step(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	uint32_t single = seg_take(seg, FMT_NO_EXTENT), chain[5], after = FMT_NO_EXTENT;

	/* twice: first without memory behind the pieces, then with */
	for (int round = 0; round < 2; round++) {
		uint32_t fresh = space_of(seg)->fresh;

		after = FMT_NO_EXTENT;
		for (int i = 0; i < 5; i++)
			after = chain[i] = seg_take(seg, after);
		CU_ASSERT(fmt_word_state(seg->table[chain[0]].word) == FMT_PRIVATE);
		CU_ASSERT(fmt_word_state(seg->table[chain[4]].word) == FMT_PIECE);
		CU_ASSERT(seg->table[chain[3]].next == chain[4] &&
			  seg->table[chain[4]].next == FMT_NO_EXTENT);
		CU_ASSERT(seg->owners[0].n_private == 2 && space_of(seg)->used == 6);
		CU_ASSERT(seg_findings(seg) == 0);
		CU_ASSERT(seg_free(seg, chain[0], chain[4], 5) == 0);
		CU_ASSERT(seg->owners[0].n_private == 1 && space_of(seg)->used == 1);
		CU_ASSERT(space_of(seg)->n_queued == 5 && seg_findings(seg) == 0);
		CU_ASSERT(round == 0 || space_of(seg)->fresh == fresh);
	}
	CU_ASSERT(seg_free(seg, single, single, 1) == 0);
	for (int i = 0; i < 5; i++)
		CU_ASSERT(seg_take(seg, FMT_NO_EXTENT) == chain[i]);
	CU_ASSERT(seg_take(seg, FMT_NO_EXTENT) == single);
	CU_ASSERT(seg_findings(seg) == 0);
	seg_gone(seg);
}

static void space__another_word_means_it_happened_already(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	struct im_wait w = seg_wait(seg, 1000);
	uint32_t ext = seg_take(seg, FMT_NO_EXTENT);
	uint64_t word = seg->table[ext].word;

	CU_ASSERT(im_space_free(seg, ext, ext, 1, word + (1 << 16), &w) == 0);
	CU_ASSERT(space_of(seg)->used == 1 && seg->table[ext].word == word);
	CU_ASSERT(im_space_free(seg, ext, ext, 1, word, &w) == 0);
	CU_ASSERT(im_space_free(seg, ext, ext, 1, word, &w) == 0);
	CU_ASSERT(space_of(seg)->used == 0 && space_of(seg)->n_queued == 1);
	CU_ASSERT(seg->owners[0].n_private == 0);
	seg_gone(seg);
}

static void space__handed_over_extents_are_not_counted(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	uint32_t ext = seg_take(seg, FMT_NO_EXTENT);
	uint64_t word = seg->table[ext].word;

	CU_ASSERT(im_cas_full(&seg->table[ext].word, word,
			      fmt_word(FMT_LOG, 2, fmt_word_gen(word))));
	im_space_handed_over(seg);
	CU_ASSERT(seg->owners[0].n_private == 0 && seg_findings(seg) == 0);
	im_space_handed_over(seg);
	CU_ASSERT(seg->owners[0].n_private == 0);
	CU_ASSERT(seg_free(seg, ext, ext, 1) == 0 && space_of(seg)->used == 0);
	seg_gone(seg);
}

static void space__limit_moves_between_least_and_most(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	struct im_wait w = seg_wait(seg, 1000);
	uint64_t least = seg->fixed_len + 24ull * (seg->extent_len + 64);
	uint32_t n = 0;

	CU_ASSERT(im_space_set_limit(seg, least - 1, &w) == -EINVAL);
	CU_ASSERT(im_space_set_limit(seg, seg->len + 1, &w) == -EINVAL);
	CU_ASSERT(im_space_set_limit(seg, least, &w) == 0 && space_of(seg)->limit_n == 24);
	while (seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT)
		n++;
	CU_ASSERT(n == 24);
	CU_ASSERT(im_space_set_limit(seg, seg->len, &w) == 0);
	while (seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT)
		n++;
	CU_ASSERT(n == space_of(seg)->limit_n && n + 3 > seg->n_extents);
	CU_ASSERT(im_space_set_limit(seg, least, &w) == 0);
	CU_ASSERT(im_space_short(seg) && seg_findings(seg) == 0);
	CU_ASSERT(seg_free(seg, 9, 9, 1) == 0 && seg_take(seg, FMT_NO_EXTENT) == FMT_NO_EXTENT);
	CU_ASSERT(seg_findings(seg) == 0);
	seg_gone(seg);
}

/* A kernel without memory for extents that are not backed yet. */
static int no_memory(int fd, uint64_t off, uint64_t len)
{
	(void)fd;
	(void)off;
	(void)len;
	return -ENOSPC;
}

static void space__without_memory_nothing_changes_and_backed_ones_are_found(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	struct im_os os = im_os_real;
	uint32_t a = seg_take(seg, FMT_NO_EXTENT), b = seg_take(seg, FMT_NO_EXTENT), ext;
	struct im_wait w = seg_wait(seg, 1000);
	uint64_t word;

	os.reserve = no_memory;
	im_os = &os;
	CU_ASSERT(im_space_take(seg, FMT_NO_EXTENT, &w, &ext, &word) == -ENOSPC);
	CU_ASSERT(im_space_take(seg, a, &w, &ext, &word) == -ENOSPC);
	CU_ASSERT(seg->table[a].next == FMT_NO_EXTENT);
	CU_ASSERT(space_of(seg)->used == 2 && space_of(seg)->n_queued == 1);
	CU_ASSERT(seg->owners[0].n_private == 2 && seg_findings(seg) == 0);
	/* an unbacked one is first in the queue, a backed one behind it */
	CU_ASSERT(seg_free(seg, b, b, 1) == 0);
	CU_ASSERT(seg_take(seg, a) == b);
	CU_ASSERT(im_space_take(seg, FMT_NO_EXTENT, &w, &ext, &word) == -ENOSPC);
	im_os = &im_os_real;
	CU_ASSERT(seg_take(seg, FMT_NO_EXTENT) != FMT_NO_EXTENT);
	CU_ASSERT(seg_findings(seg) == 0);
	seg_gone(seg);
}

/* Extents whose pages were given back, and those that the table called backed then. */
static struct im_seg *punched;
static unsigned n_punched, n_called_backed;

static int watch_give_back(void *p, uint64_t len)
{
	uint64_t at = (uint64_t)((unsigned char *)p - punched->extents);

	n_punched += len == punched->extent_len;
	n_called_backed += punched->table[at >> punched->extent_shift].backed != 0;
	return im_os_real.give_back(p, len);
}

/* After a kill in between, its next user must not believe that it has memory. */
static void space__pages_go_after_the_table_says_so(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	struct im_os os = im_os_real;
	struct im_wait w = seg_wait(seg, 1000);
	uint32_t ext[3];

	for (int i = 0; i < 3; i++)
		ext[i] = seg_take(seg, FMT_NO_EXTENT);
	for (int i = 0; i < 3; i++)
		CU_ASSERT(seg_free(seg, ext[i], ext[i], 1) == 0);
	CU_ASSERT(im_space_idle(seg) == 3 * (uint64_t)seg->extent_len);
	punched = seg;
	n_punched = n_called_backed = 0;
	os.give_back = watch_give_back;
	im_os = &os;
	for (int i = 0; i < 3; i++)
		CU_ASSERT(im_space_punch(seg, &w) == 1);
	CU_ASSERT(im_space_punch(seg, &w) == 0); /* the oldest once more */
	im_os = &im_os_real;
	CU_ASSERT(n_punched == 3 && n_called_backed == 0);
	CU_ASSERT(im_space_idle(seg) == 0 && space_of(seg)->n_queued == 3);
	CU_ASSERT(seg->owners[0].n_private == 0 && seg_findings(seg) == 0);
	seg_gone(seg);
}

/* The table behind a raised limit: its memory is asked for first, or it would be a SIGBUS. */
static void space__limit_is_not_raised_without_memory(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	struct im_os os = im_os_real;
	struct im_wait w = seg_wait(seg, 1000);
	uint64_t limit = space_of(seg)->limit;
	uint32_t n = space_of(seg)->limit_n;

	os.reserve = no_memory;
	im_os = &os;
	CU_ASSERT(im_space_set_limit(seg, seg->len, &w) == -ENOSPC);
	CU_ASSERT(space_of(seg)->limit == limit && space_of(seg)->limit_n == n);
	/* less needs none */
	CU_ASSERT(im_space_set_limit(seg, limit - seg->extent_len, &w) == 0);
	im_os = &im_os_real;
	CU_ASSERT(im_space_set_limit(seg, seg->len, &w) == 0 && space_of(seg)->limit_n > n);
	CU_ASSERT(seg_findings(seg) == 0);
	seg_gone(seg);
}

static int fill_small_tmpfs(void *arg)
{
	char dir[] = "/tmp/ipcmap-test.XXXXXX", path[100];
	struct im_wait w;
	struct im_seg *seg;
	uint32_t ext, last = FMT_NO_EXTENT, n = 0;
	uint64_t word;
	int rc;

	(void)arg;
	T_MUST(mkdtemp(dir) != NULL);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=1m") < 0) {
		rmdir(dir);
		return 77;
	}
	snprintf(path, sizeof(path), "%s/seg", dir);
	seg = seg_made(path, NULL);
	w = seg_wait(seg, 5000);
	while ((rc = im_space_take(seg, FMT_NO_EXTENT, &w, &ext, &word)) == 0) {
		memset(im_seg_extent(seg, ext), 0x77, seg->extent_len);
		last = ext;
		n++;
	}
	T_MUST(rc == -ENOSPC && n > 30 && n < 64);
	T_MUST(seg_free(seg, last, last, 1) == 0);
	ext = seg_take(seg, FMT_NO_EXTENT);
	T_MUST(ext == last && seg_findings(seg) == 0);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return 0;
}

static void space__full_file_system_is_an_error(void)
{
	int status = t_wait(t_run(fill_small_tmpfs, NULL), T_LIMIT_MS);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		t_skip("cannot mount");
		return;
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static struct t_gate in_lock;

static int stop_in_space_lock(void *arg)
{
	struct im_seg *seg = arg;

	T_MUST(im_owner_ready(seg) == 0);
	T_MUST(im_trylock(seg, &seg->h->space.lock) == IM_TAKEN);
	t_gate_pass(&in_lock);
	raise(SIGSTOP);
	im_unlock(seg, &seg->h->space.lock);
	pause();
	return 0;
}

static void space__what_is_dropped_behind_a_stopped_process_is_freed_later(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	uint32_t a = seg_take(seg, FMT_NO_EXTENT), b = seg_take(seg, a), ext;
	struct im_wait w;
	uint64_t word;
	pid_t pid;

	CU_ASSERT(seg_take(seg, b) != FMT_NO_EXTENT);
	t_gate_open(&in_lock);
	pid = t_run(stop_in_space_lock, seg);
	t_gate_wait(&in_lock);
	t_sleep_ms(5);
	w = seg_wait(seg, 20);
	CU_ASSERT(im_space_take(seg, FMT_NO_EXTENT, &w, &ext, &word) == -EBUSY);
	CU_ASSERT(seg->owners[0].n_private == 1);
	im_space_drop(seg, a); /* returns at once */
	CU_ASSERT(space_of(seg)->used == 3);
	kill(pid, SIGCONT);
	w = seg_wait(seg, 5000);
	CU_ASSERT(im_space_take(seg, FMT_NO_EXTENT, &w, &ext, &word) == 0);
	CU_ASSERT(seg_free(seg, ext, ext, 1) == 0);
	/* the take's own try may have come too early */
	CU_ASSERT(im_space_take(seg, FMT_NO_EXTENT, &w, &ext, &word) == 0);
	CU_ASSERT(space_of(seg)->used == 1 && seg_findings(seg) == 0);
	t_kill(pid);
	t_gate_close(&in_lock);
	seg_gone(seg);
}

static void space__check_finds_each_kind_of_damage(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	struct fmt_space *s = space_of(seg);
	uint32_t a = seg_take(seg, FMT_NO_EXTENT), b = seg_take(seg, a), c, d;
	struct im_wait w = seg_wait(seg, 5000);
	uint32_t *words[] = {&s->used,
			     &s->fresh,
			     &s->head,
			     &s->tail,
			     &s->n_queued,
			     &seg->table[b].next,
			     &seg->table[a].next,
			     &s->limit_n,
			     &seg->owners[0].n_private};

	c = seg_take(seg, FMT_NO_EXTENT);
	d = seg_take(seg, FMT_NO_EXTENT);
	CU_ASSERT(seg_free(seg, c, c, 1) == 0 && seg_free(seg, d, d, 1) == 0);
	CU_ASSERT(seg_findings(seg) == 0);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		uint32_t good = *words[i];
		const uint32_t bad[] = {good + 1, good - 1, FMT_NO_EXTENT, 0};

		for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
			int n;

			*words[i] = bad[k];
			n = im_space_check(seg, seg_hush, NULL, &w);
			/* two values are harmless: of an owner who counts too many, of the last
			 * link of the queue */
			if (bad[k] != good && !(i == 8 && bad[k] != 0))
				CU_ASSERT(n > 0);
			*words[i] = good;
		}
	}
	CU_ASSERT(seg_findings(seg) == 0);
	seg_gone(seg);
}

/* xorshift: the seed is the argument, so a failure can be replayed */
static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Any bytes in the live part of the header and in the table: an error or a value. */
static int scribble_and_use(void *arg)
{
	struct im_seg *seg = arg;
	uint64_t x = 88172645463325252u;
	uint32_t some[64];

	T_MUST(im_owner_ready(seg) == 0);
	for (unsigned i = 0; i < ARRAY_LEN(some); i++)
		some[i] = seg_take(seg, i % 3 ? some[i - 1] : FMT_NO_EXTENT);
	for (int round = 0; round < 20000; round++) {
		struct im_wait w = seg_wait(seg, 0);
		uint64_t r = random_next(&x), word;
		uint32_t ext = (uint32_t)(r >> 40) % 64, *at;

		if (r % 3 == 0)
			at = (uint32_t *)(void *)space_of(seg) + 1 + (r >> 8) % 31;
		else
			at = (uint32_t *)(void *)&seg->table[ext] + (r >> 8) % 3;
		*at = r % 5 ? (uint32_t)(r >> 32) % 80 : (uint32_t)random_next(&x);
		if (r % 7 == 0) /* and a dead owner in the lock */
			space_of(seg)->lock = 1u << 10;
		switch (r % 11) {
		case 0:
			im_space_check(seg, seg_hush, NULL, &w);
			break;
		case 1:
			im_space_free_owner(seg, (uint32_t)(r >> 20) % 4, &w);
			break;
		case 2:
		case 3:
			im_space_free(seg, ext, (uint32_t)(r >> 20) % 80,
				      (uint32_t)(r >> 30) % 9, seg->table[ext].word, &w);
			break;
		case 4:
			im_space_drop(seg, ext);
			break;
		default:
			im_space_take(seg, r % 2 ? FMT_NO_EXTENT : ext, &w, &ext, &word);
		}
	}
	return 0;
}

static void space__any_bytes_end_in_a_value_or_an_error(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);

	CU_ASSERT(t_ok(t_run(scribble_and_use, seg)));
	seg_gone(seg);
}

#if defined(IM_CHECK) && IM_CHECK
static int points_left;

static void die_at_point(const char *name)
{
	(void)name;
	if (points_left-- == 0)
		raise(SIGKILL);
}

/*
 * Everything the table knows, by a process that dies at a point of it: take with and without
 * memory, chains, frees into an empty and a full queue, the limit.
 */
static int live_a_life(void *arg)
{
	struct im_seg *seg = arg;
	struct im_wait w = seg_wait(seg, 10000);
	uint32_t a, b, c, d;

	T_MUST(im_owner_ready(seg) == 0);
	im_crash_hook = die_at_point;
	for (int round = 0; round < 2; round++) {
		a = seg_take(seg, FMT_NO_EXTENT);
		b = seg_take(seg, a);
		c = seg_take(seg, b);
		d = seg_take(seg, FMT_NO_EXTENT);
		T_MUST(a != FMT_NO_EXTENT && b != FMT_NO_EXTENT && c != FMT_NO_EXTENT);
		T_MUST(im_space_set_limit(seg, (4u << 20) + (uint32_t)round, &w) == 0);
		T_MUST(seg_free(seg, d, d, 1) == 0);
		T_MUST(seg_free(seg, a, c, 3) == 0);
	}
	return 0;
}

static int recover_dying(void *arg)
{
	struct im_seg *seg = arg;

	T_MUST(im_owner_ready(seg) == 0);
	im_crash_hook = die_at_point;
	im_owner_sweep(seg);
	seg_take(seg, FMT_NO_EXTENT);
	return 0;
}

/* Nothing is lost: all that the dead had is free again, nobody else's is. */
static void must_be_whole(struct im_seg *seg)
{
	im_owner_sweep(seg);
	CU_ASSERT(seg_findings(seg) == 0);
	CU_ASSERT(space_of(seg)->used == 2 && seg->owners[0].n_private == 2);
	for (uint32_t slot = 2; slot <= seg->n_owners; slot++)
		CU_ASSERT(seg->owners[slot - 1].n_private == 0);
	CU_ASSERT((space_of(seg)->lock & IM_OWNER_MASK) == 0);
}

static struct im_seg *with_two_extents(const char *path)
{
	struct im_seg *seg = seg_made(path, NULL);

	seg_take(seg, FMT_NO_EXTENT);
	seg_take(seg, FMT_NO_EXTENT);
	return seg;
}

static struct im_seg *made_anew(struct im_seg *seg)
{
	char path[4096];

	strcpy(path, seg->name);
	seg_gone(seg);
	return with_two_extents(path);
}

static struct im_seg *die_at_every_point(struct im_seg *seg, bool anew)
{
	int i = 0;

	for (int died = 1; died; i++) {
		struct im_seg *reader;

		points_left = i;
		died = !t_ok(t_run(live_a_life, seg));
		/* a reader who can repair nothing finds nothing wrong either */
		CU_ASSERT_FATAL(im_seg_attach(seg->name, IM_ATTACH_RDONLY, NULL, &reader) == 0);
		CU_ASSERT(im_space_check(reader, seg_print, NULL, NULL) == 0);
		im_seg_detach(reader);
		must_be_whole(seg);
		CU_ASSERT_FATAL(i < 1000);
		if (anew)
			seg = made_anew(seg);
	}
	printf("(%d points) ", i - 1);
	CU_ASSERT(i > 100);
	return seg;
}

/* With extents that have no memory yet, then with such that have. */
static void space__killed_at_any_point_nothing_is_lost(void)
{
	struct im_seg *seg = with_two_extents(T_PATH);

	seg = die_at_every_point(seg, true);
	seg = die_at_every_point(seg, false);
	CU_ASSERT(space_of(seg)->takeovers > 0);
	seg_gone(seg);
}

static void space__killed_in_the_recovery_too_nothing_is_lost(void)
{
	struct im_seg *seg = with_two_extents(T_PATH);
	int pairs = 0;

	for (int i = 0, died = 1; died; i += 3) {
		for (int k = 0, again = 1; again && died; k++, pairs++) {
			points_left = i;
			died = !t_ok(t_run(live_a_life, seg));
			points_left = k;
			again = !t_ok(t_run(recover_dying, seg));
			CU_ASSERT(!again || k < 200);
			must_be_whole(seg);
			k += k > 12 ? 5 : 0;
		}
	}
	printf("(%d pairs) ", pairs);
	seg_gone(seg);
}
#endif

static int churn(void *arg)
{
	struct im_seg *seg = arg;
	uint32_t have[16], n = 0;

	T_MUST(im_owner_ready(seg) == 0);
	for (bool on = true; on;) {
		uint32_t ext = seg_take(seg, FMT_NO_EXTENT), piece;

		T_MUST(ext != FMT_NO_EXTENT);
		*(volatile uint32_t *)(void *)im_seg_extent(seg, ext) = seg->self;
		have[n++] = ext;
		if (n < ARRAY_LEN(have))
			continue;
		for (n = 0; n < ARRAY_LEN(have); n++) {
			/* nobody else got it meanwhile */
			T_MUST(*(volatile uint32_t *)(void *)im_seg_extent(seg, have[n]) ==
			       seg->self);
			piece = n % 3 ? FMT_NO_EXTENT : seg_take(seg, have[n]);
			if (piece == FMT_NO_EXTENT)
				T_MUST(seg_free(seg, have[n], have[n], 1) == 0);
			else
				T_MUST(seg_free(seg, have[n], piece, 2) == 0);
		}
		n = 0;
	}
	return 0;
}

static void space__killed_at_random_nothing_is_lost(void)
{
	struct im_seg *seg = seg_made(T_PATH, NULL);
	pid_t pid[4];
	bool killed = true;

	for (int i = 0; i < 4; i++)
		pid[i] = t_run(churn, seg);
	for (int i = 0; i < 100; i++) {
		t_sleep_ms((unsigned)i % 3);
		kill(pid[i % 4], SIGKILL);
		killed = t_killed(pid[i % 4]) && killed;
		pid[i % 4] = t_run(churn, seg);
		if (i % 10 == 0)
			CU_ASSERT(seg_findings(seg) == 0);
	}
	for (int i = 0; i < 4; i++) {
		kill(pid[i], SIGKILL);
		killed = t_killed(pid[i]) && killed;
	}
	CU_ASSERT(killed);
	im_owner_sweep(seg);
	CU_ASSERT(seg_findings(seg) == 0 && space_of(seg)->used == 0);
	seg_gone(seg);
}

static CU_TestInfo tests[] = {
	{"free extents are reused oldest first", space__free_extents_are_reused_oldest_first},
	{"a chain is freed in one step", space__chain_is_freed_in_one_step},
	{"another word means it happened already",
	 space__another_word_means_it_happened_already},
	{"extents handed over are not counted", space__handed_over_extents_are_not_counted},
	{"the limit moves between least and most", space__limit_moves_between_least_and_most},
	{"without memory nothing changes, backed ones are found",
	 space__without_memory_nothing_changes_and_backed_ones_are_found},
	{"pages go after the table says so", space__pages_go_after_the_table_says_so},
	{"the limit is not raised without memory", space__limit_is_not_raised_without_memory},
	{"a full file system is an error", space__full_file_system_is_an_error},
	{"what is dropped behind a stopped process is freed later",
	 space__what_is_dropped_behind_a_stopped_process_is_freed_later},
	{"check finds each kind of damage", space__check_finds_each_kind_of_damage},
	{"any bytes end in a value or an error", space__any_bytes_end_in_a_value_or_an_error},
#if defined(IM_CHECK) && IM_CHECK
	{"killed at any point, nothing is lost", space__killed_at_any_point_nothing_is_lost},
	{"killed in the recovery too, nothing is lost",
	 space__killed_in_the_recovery_too_nothing_is_lost},
#endif
	{"killed at random, nothing is lost", space__killed_at_random_nothing_is_lost},
	CU_TEST_INFO_NULL,
};
T_SUITE("space", tests)
