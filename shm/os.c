/* SPDX-License-Identifier: MIT */
/*
 * os.c - futex, clocks, byte locks, memory behind a file: what is asked of the kernel
 *
 * Nothing here allocates or takes a lock of this process, so that all of it may run in a
 * forked child's first moments and in a signal handler (errno is saved by the caller).
 *
 * Expiry times are host-boot monotonic, so that containers with time namespaces of their own
 * agree: CLOCK_MONOTONIC_COARSE less this process's offset. The kernel shows in
 * /proc/self/timens_offsets the offsets of *future children*; between unshare(CLONE_NEWTIME)
 * and fork() these are not ours. So they count only while both namespace links agree, and
 * else the last offset known stays.
 *
 * Byte locks are open-file-description locks. The probe is F_GETLK, never F_OFD_GETLK: the
 * latter does not show a lock held through the same description, and a forked child that
 * inherited one would find its parent dead.
 */
#include "os.h"

#include "atomic.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* fallocate() of one step takes about 1 ms; an interrupted one starts again, halved. */
#define RESERVE_STEP (UINT64_C(1) << 20)
#define RESERVE_STEP_MIN (UINT64_C(1) << 16)

#define SEC_NS UINT64_C(1000000000)

/* What this process's monotonic clocks are ahead of the host's, in ns, as two's complement. */
static uint64_t timens_ahead;

static int futex_wait(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(timeout_ns / SEC_NS),
		.tv_nsec = (long)(timeout_ns % SEC_NS),
	};

	return syscall(SYS_futex, word, FUTEX_WAIT, val, &ts, NULL, 0) < 0 ? -errno : 0;
}

static int futex_wake(uint32_t *word, int n)
{
	return syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0) < 0 ? -errno : 0;
}

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

static uint64_t now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static uint64_t coarse(void)
{
	return read_clock(CLOCK_MONOTONIC_COARSE) - im_load_rlx(&timens_ahead);
}

/* Steps, because a kernel that sees a signal undoes the whole call and starts from nothing. */
static int fallocate_steps(int fd, uint64_t off, uint64_t end)
{
	uint64_t step = RESERVE_STEP;

	while (off < end) {
		uint64_t n = min_u64(step, end - off);

		/* not by the C library, whose call is a point of thread cancellation */
		if (syscall(SYS_fallocate, fd, 0, (off_t)off, (off_t)n) == 0)
			off += n;
		else if (errno != EINTR)
			return errno == EDQUOT ? -ENOSPC : -errno;
		else
			step = max_u64(step / 2, RESERVE_STEP_MIN);
	}
	return 0;
}

/* RLIMIT_FSIZE counts only when the file would grow, and then it would be a signal. */
static int reserve(int fd, uint64_t off, uint64_t len)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (off + len > (uint64_t)st.st_size && off + len > im_os_fsize_limit())
		return -EFBIG;
	return fallocate_steps(fd, off, off + len);
}

static int give_back(void *p, uint64_t len)
{
	return madvise(p, len, MADV_REMOVE) < 0 ? -errno : 0;
}

static uint64_t page_len(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int owner_locked(int fd, uint32_t slot)
{
	struct flock fl = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = IM_OWNER_BYTE + slot,
		.l_len = 1,
	};

	if (fcntl(fd, F_GETLK, &fl) < 0)
		return -errno;
	return fl.l_type != F_UNLCK;
}

static int set_bytes(int fd, uint32_t first, uint32_t n, short type)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = IM_OWNER_BYTE + first,
		.l_len = n,
	};

	if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

int im_os_map_errno(void)
{
	return errno == EAGAIN ? -ENOMEM : -errno;
}

int im_os_byte_lock(int fd, uint32_t slot)
{
	return set_bytes(fd, slot, 1, F_WRLCK);
}

void im_os_byte_unlock(int fd, uint32_t slot)
{
	set_bytes(fd, slot, 1, F_UNLCK);
}

int im_os_bytes_lock(int fd)
{
	return set_bytes(fd, 0, IM_OWNER_BYTES, F_WRLCK);
}

const struct im_os im_os_real = {
	.futex_wait = futex_wait,
	.futex_wake = futex_wake,
	.now = now,
	.coarse = coarse,
	.reserve = reserve,
	.give_back = give_back,
	.page_len = page_len,
	.owner_locked = owner_locked,
};

const struct im_os *im_os = &im_os_real;

/* A small file as a string; its length, or a negative errno. */
static int slurp(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	return (int)n;
}

/* strtoll() without locale, which a signal handler may have interrupted */
static const char *number(const char *s, int64_t *ret)
{
	bool minus = false;
	uint64_t v = 0;

	while (*s == ' ' || *s == '\t')
		s++;
	if (*s == '-') {
		minus = true;
		s++;
	}
	for (; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	*ret = (int64_t)(minus ? 0 - v : v);
	return s;
}

static bool timens_is_ours(void)
{
	char mine[64], childrens[64];
	ssize_t a = readlink("/proc/self/ns/time", mine, sizeof(mine));
	ssize_t b = readlink("/proc/self/ns/time_for_children", childrens, sizeof(childrens));

	return a > 0 && a == b && memcmp(mine, childrens, (size_t)a) == 0;
}

void im_os_timens_refresh(void)
{
	char buf[256];
	const char *s;
	int64_t sec, ns;

	if (!timens_is_ours() || slurp("/proc/self/timens_offsets", buf, sizeof(buf)) < 0)
		return;
	s = strstr(buf, "monotonic");
	if (!s)
		return;
	s = number(s + strlen("monotonic"), &sec);
	number(s, &ns);
	im_store_rlx(&timens_ahead, (uint64_t)sec * SEC_NS + (uint64_t)ns);
}

int im_os_random(void *buf, size_t len)
{
	unsigned char *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void im_os_boot_id(uint8_t id[16])
{
	char buf[64];
	unsigned n = 0;

	memset(id, 0, 16);
	if (slurp("/proc/sys/kernel/random/boot_id", buf, sizeof(buf)) < 0)
		return;
	for (const char *s = buf; *s && n < 32; s++) {
		int d = hex_digit(*s);

		if (d >= 0) {
			id[n / 2] = (uint8_t)(id[n / 2] << 4 | d);
			n++;
		}
	}
	if (n < 32)
		memset(id, 0, 16);
}

uint64_t im_os_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec;
}

uint64_t im_os_fsize_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_FSIZE, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY)
		return INT64_MAX;
	return min_u64(rl.rlim_cur, INT64_MAX);
}

/* "pid (comm) state ppid ..."; comm may hold parentheses, so its end is the last one. */
void im_os_self(uint64_t *ret_pid, uint64_t *ret_start, char ret_comm[16])
{
	char buf[512];
	const char *open_at, *close_at;
	int64_t start = 0;

	*ret_pid = (uint64_t)getpid();
	*ret_start = 0;
	memset(ret_comm, 0, 16);
	if (slurp("/proc/self/stat", buf, sizeof(buf)) < 0)
		return;
	open_at = strchr(buf, '(');
	close_at = strrchr(buf, ')');
	if (!open_at || !close_at || close_at < open_at)
		return;
	memcpy(ret_comm, open_at + 1, min_u64((uint64_t)(close_at - open_at - 1), 15));
	/* the state is field 3, right behind; the start time is field 22 */
	for (int field = 3; close_at && field <= 22; field++)
		close_at = strchr(close_at + 1, ' ');
	if (close_at)
		number(close_at, &start);
	*ret_start = (uint64_t)start;
}

void im_os_large_pages(void *p, uint64_t len)
{
	uintptr_t at = align_up((uintptr_t)p, IM_OS_LARGE_PAGE), end = (uintptr_t)p + len;

	for (; at + IM_OS_LARGE_PAGE <= end; at += IM_OS_LARGE_PAGE) {
		/* no such request in this kernel: not for the rest either */
		if (madvise((void *)at, IM_OS_LARGE_PAGE, MADV_COLLAPSE) < 0 && errno == EINVAL)
			return;
	}
}
