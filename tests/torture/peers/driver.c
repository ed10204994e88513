/* SPDX-License-Identifier: MIT */
/*
 * driver.c - kills processes that use a store, any store behind peer.h; a line of a table
 *
 *	peer-NAME [kills=N] [seconds=N] [seed=N]
 *
 * Eight workers put and delete, each its own keys, and get everybody's; one to three at a time
 * are killed at random moments, the same for all stores, and started again. The oracle knows
 * what must be there. A store in which nobody gets on is hung; one that gives an error or makes
 * a process end by itself is broken. Both are counted, then it is made anew, empty.
 */
#include "oracle.h"

#include "atomic.h"
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#define WORKERS 8u
#define KEYS_EACH 24u
#define KEYS (WORKERS * KEYS_EACH)
#define AT_ONCE 3u
#define PAUSE_US 6000u
#define ALL_HUNG_MS 5000u  /* nobody has done anything for so long */
#define ONE_HUNG_MS 20000u /* one has not, on a machine that may be slow */
#define LINES_SHOWN 5u

struct shared {
	uint64_t progress[WORKERS];
	uint64_t errors;
	uint32_t stop, made, lines;
};

static struct shared *shared;
static struct oracle *o;
static char path[64];
static pid_t pid[WORKERS], keeper;
static uint64_t progress[WORKERS], moved_ms[WORKERS], any_moved_ms;
static uint64_t x, kills, lost, wrong, hung, broken, writes;

int peer_fail(const char *what, const char *why)
{
	if (im_add32_rlx(&shared->lines, 1) < LINES_SHOWN)
		fprintf(stderr, "%s: %s: %s\n", peer.name, what, why);
	return PEER_ERROR;
}

/* ---- the store, for the oracle ---- */

static int result(int r)
{
	return r == 0 ? 0 : r == PEER_NONE ? IPCMAP_NOTFOUND : IPCMAP_CORRUPT;
}

static int store_get(void *s, const void *key, size_t key_len, void *buf, size_t cap,
		     size_t *ret_len)
{
	return result(peer.get(s, key, key_len, buf, cap, ret_len));
}

static int store_put(void *s, const void *key, size_t key_len, const void *val, size_t len)
{
	return result(peer.put(s, key, key_len, val, len));
}

static int store_del(void *s, const void *key, size_t key_len)
{
	return result(peer.del(s, key, key_len));
}

static int store_firm(void *s, const void *key, size_t key_len)
{
	return peer.firm ? result(peer.firm(s, key, key_len)) : 0;
}

static uint32_t length_of(uint32_t k, uint64_t n)
{
	uint64_t r = n * 2654435761u + k;

	r ^= r >> 13;
	if (n % 61 == 5)
		return 12000 + (uint32_t)(r % 9000);
	return LOAD_MIN + (uint32_t)(r % 1900);
}

/* ---- processes ---- */

static int work(uint32_t me)
{
	struct oracle_store s = {NULL, store_get, store_put, store_del, store_firm};
	uint64_t random = (uint64_t)getpid() << 20 ^ load_now_us() ^ 1;

	T_MUST(peer.attach(path, &s.arg) == 0);
	for (uint32_t i = 0; i < KEYS_EACH; i++)
		oracle_recall(o, &s, i * WORKERS + me, true);
	while (!im_load32_acq(&shared->stop)) {
		for (int i = 0; i < 3; i++)
			oracle_write(o, &s,
				     (uint32_t)(load_random(&random) % KEYS_EACH) * WORKERS +
					     me);
		oracle_read(o, &s, (uint32_t)(load_random(&random) % KEYS));
		oracle_count(&shared->progress[me]);
	}
	return 0;
}

static pid_t start(uint32_t i)
{
	pid_t child = fork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(work(i));
	}
	moved_ms[i] = t_now_ms();
	return child;
}

/* Has it open as long as the store is used. */
static void start_keeper(void)
{
	keeper = fork();
	if (keeper == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		T_MUST(peer.create(path) == 0);
		im_store32_rel(&shared->made, 1);
		for (;;)
			pause();
	}
	while (!im_load32_acq(&shared->made) && waitpid(keeper, NULL, WNOHANG) == 0)
		t_sleep_ms(1);
	if (!shared->made)
		exit(1);
}

static void remove_files(void)
{
	const char *name = strrchr(path, '/') + 1;
	char file[300];
	DIR *dir = opendir("/dev/shm");
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (strncmp(e->d_name, name, strlen(name)) == 0) {
			snprintf(file, sizeof(file), "/dev/shm/%s", e->d_name);
			unlink(file);
		}
	if (dir)
		closedir(dir);
}

static void begin(void)
{
	o = oracle_make(KEYS, WORKERS, length_of);
	memset(shared->progress, 0, sizeof(shared->progress));
	shared->stop = shared->made = 0;
	start_keeper();
	any_moved_ms = t_now_ms();
	for (uint32_t i = 0; i < WORKERS; i++)
		pid[i] = start(i);
}

static void end(void)
{
	for (uint32_t i = 0; i < WORKERS; i++)
		if (pid[i] > 0)
			t_kill(pid[i]);
	t_kill(keeper);
	lost += o->lost;
	wrong += o->wrong;
	writes += o->writes;
	oracle_free(o);
	remove_files();
}

/* True: it must be made anew. */
static bool is_broken(void)
{
	bool dead = im_load_rlx(&o->errors) != 0;
	int status;
	pid_t r;

	while ((r = waitpid(-1, &status, WNOHANG)) > 0) {
		bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

		kills += killed;
		if (!killed) {
			if (im_add32_rlx(&shared->lines, 1) < LINES_SHOWN)
				fprintf(stderr, "%s: a process ended with %#x\n", peer.name,
					(unsigned)status);
			dead = true;
		}
		for (uint32_t i = 0; i < WORKERS; i++)
			if (pid[i] == r)
				pid[i] = dead ? 0 : start(i);
	}
	broken += dead;
	return dead;
}

/* Nobody gets on. Whoever is started again gets another chance, all together do not. */
static bool is_hung(void)
{
	uint64_t now = t_now_ms(), first = now;

	for (uint32_t i = 0; i < WORKERS; i++) {
		uint64_t p = im_load_rlx(&shared->progress[i]);

		if (p != progress[i])
			moved_ms[i] = any_moved_ms = now;
		progress[i] = p;
		first = moved_ms[i] < first ? moved_ms[i] : first;
	}
	if (now - any_moved_ms < ALL_HUNG_MS && now - first < ONE_HUNG_MS)
		return false;
	hung++;
	return true;
}

/* Only while somebody gets on: in a hung store kills say nothing more. */
static void kill_some(void)
{
	static uint64_t before;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < WORKERS; i++)
		sum += im_load_rlx(&shared->progress[i]);
	if (sum == before)
		return;
	before = sum;
	for (uint64_t n = 1 + load_random(&x) % AT_ONCE; n; n--) {
		pid_t p = pid[load_random(&x) % WORKERS];

		if (p > 0)
			kill(p, SIGKILL);
	}
}

static void interrupted(int number)
{
	char lock[80];

	(void)number;
	snprintf(lock, sizeof(lock), "%s-lock", path); /* LMDB's */
	unlink(lock);
	unlink(path);
	_exit(1);
}

int main(int argc, char **argv)
{
	uint64_t want = 1000, seconds = 60, until, t0 = t_now_ms();
	double took;

	x = load_now_us() | 1;
	for (int i = 1; i < argc; i++)
		if (sscanf(argv[i], "kills=%llu", (unsigned long long *)&want) != 1 &&
		    sscanf(argv[i], "seconds=%llu", (unsigned long long *)&seconds) != 1 &&
		    sscanf(argv[i], "seed=%llu", (unsigned long long *)&x) != 1) {
			fprintf(stderr, "%s: what is %s?\n", argv[0], argv[i]);
			return 2;
		}
	shared = t_shared(sizeof(*shared));
	snprintf(path, sizeof(path), "/dev/shm/ipcmap-test.%d.peer", getpid());
	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	until = t0 + seconds * 1000;
	begin();
	while (kills < want && t_now_ms() < until) {
		usleep((unsigned)(load_random(&x) % PAUSE_US));
		kill_some();
		if (is_broken() || is_hung()) {
			end();
			begin();
		}
	}
	end();
	took = (double)(t_now_ms() - t0) / 1000;
	printf("| %s | %s | %llu | %llu | %llu | %llu | %llu | %llu | %.0f s |\n", peer.name,
	       peer.how, (unsigned long long)kills, (unsigned long long)writes,
	       (unsigned long long)lost, (unsigned long long)wrong, (unsigned long long)broken,
	       (unsigned long long)hung, took);
	return 0;
}
