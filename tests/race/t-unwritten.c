/* SPDX-License-Identifier: MIT */
/*
 * t-unwritten.c - reading writes nothing that others read [G3]
 *
 * A process reads in every way there is, hits and misses, small, large, compressed and expired
 * values, while nobody writes. The bytes of the segment before and after may differ in one
 * line, the counters of its thread.
 */
#include "load.h"

#include "map.h"

#include <fcntl.h>

#define KEYS 2000u

static const char *name;
static struct t_gate begin, attached, done;

static size_t make_key(uint32_t k, char *key)
{
	return (size_t)sprintf(key, "%u", k);
}

static void fill(struct ipcmap *m)
{
	static unsigned char buf[LOAD_CAP];
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char key[16];

	load_compress(m, 500);
	for (uint32_t k = 0; k < KEYS; k++) {
		size_t n = make_key(k, key);
		uint32_t len = k % 100 == 0 ? LOAD_CAP : LOAD_MIN + k % 700;

		how.ttl_ns = k % 7 == 0 ? 20000000 : k % 7 == 1 ? UINT64_C(3600000000000) : 0;
		load_make(buf, len, k, 0, k);
		CU_ASSERT(ipcmap_put(m, key, n, buf, len, &how) == 0);
	}
	t_sleep_ms(60); /* every seventh is gone */
}

static int show(void *arg, const struct ipcmap_item *item)
{
	*(uint64_t *)arg += item->val != NULL;
	return 0;
}

static void read_in_every_way(struct ipcmap *m)
{
	static unsigned char buf[LOAD_CAP];
	struct ipcmap_stat st = {.struct_size = sizeof(st)};
	uint64_t cursor = 0, shown = 0, entries;
	unsigned hits = 0;
	char key[16];
	void *p;

	for (uint32_t k = 0; k < 2 * KEYS; k++) {
		struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
		size_t n = make_key(k, key);
		struct ipcmap_mget item = {.key = key, .key_len = n, .value = v};

		hits += ipcmap_get(m, key, n, buf, sizeof(buf), NULL) == 0;
		hits += ipcmap_get(m, key, n, buf, 1, NULL) == IPCMAP_SHORT;
		hits += ipcmap_getx(m, key, n, &v) == 0;
		hits += ipcmap_exists(m, key, n) == 1;
		hits += ipcmap_mget(m, &item, 1) == 1;
		if (ipcmap_get_alloc(m, key, n, &p, NULL) == 0)
			free(p);
	}
	T_MUST(hits == 5 * (KEYS - (KEYS + 6) / 7));
	T_MUST(ipcmap_scan(m, &cursor, NULL, 0, 0, show, &shown) == 0 && shown == hits / 5);
	T_MUST(ipcmap_stat(m, &st) == 0 && ipcmap_entries(m, &entries) == 0);
}

static int reader(void *arg)
{
	struct ipcmap *m;

	(void)arg;
	T_MUST(ipcmap_open(name, NULL, &m) == 0);
	ipcmap_exists(m, "x", 1); /* its slot and line */
	t_gate_pass(&attached);
	t_gate_wait(&begin);
	read_in_every_way(m);
	t_gate_pass(&done);
	t_gate_wait(&begin);
	return 0;
}

static unsigned char *bytes_of(const char *path, size_t len)
{
	unsigned char *p = malloc(len);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t at = 0;

	while (p && fd >= 0 && at < len) {
		ssize_t n = pread(fd, p + at, len - at, (off_t)at);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	close(fd);
	CU_ASSERT_FATAL(at == len);
	return p;
}

static void reads__write_one_line_of_their_own(void)
{
	unsigned char *before, *after;
	uint64_t line = UINT64_MAX;
	unsigned elsewhere = 0;
	struct ipcmap *m;
	const char *path;
	pid_t pid;

	name = T_NAME;
	path = t_path(__LINE__ - 1);
	CU_ASSERT_FATAL(load_open(name, IPCMAP_CREATE, 4u << 20, 2, &m) == 0);
	fill(m);
	t_gate_open(&begin);
	t_gate_open(&attached);
	t_gate_open(&done);
	pid = t_run(reader, NULL);
	t_gate_wait(&attached);
	before = bytes_of(path, m->seg->len);
	t_gate_pass(&begin);
	t_gate_wait(&done);
	after = bytes_of(path, m->seg->len);
	t_gate_pass(&begin);
	CU_ASSERT(t_ok(pid));
	for (uint64_t i = 0; i < m->seg->len; i++) {
		if (before[i] == after[i])
			continue;
		if (line == UINT64_MAX)
			line = i / 64;
		elsewhere += i / 64 != line;
	}
	CU_ASSERT(elsewhere == 0);
	CU_ASSERT(line * 64 >= m->seg->h->line_off &&
		  line * 64 < m->seg->h->line_off + m->seg->n_lines * sizeof(struct fmt_line));
	free(before);
	free(after);
	t_gate_close(&begin);
	t_gate_close(&attached);
	t_gate_close(&done);
	ipcmap_close(m);
	ipcmap_unlink(name);
}

static CU_TestInfo tests[] = {
	{"reads write one line of their own", reads__write_one_line_of_their_own},
	CU_TEST_INFO_NULL,
};
T_SUITE("unwritten", tests)
