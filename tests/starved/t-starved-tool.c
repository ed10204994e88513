/* SPDX-License-Identifier: MIT */
/*
 * t-starved-tool.c - each request that the command line tool makes fails in turn
 *
 * Status 0 means that it did all of its work; with another it says why and leaves no half file.
 * In either case the map is sound, and what was in it before is there.
 */
#include "../unit/kit.h"

#include <dirent.h>
#include <fcntl.h>

#define TOOL BUILD "/ipcmap-starved"
#define REPORT_FD 9
#define N_MAX 1500u

/* Of so many requests one fails; what is installed is tried more. IPCMAP_TEST_BIG=1: each. */
#if defined(IM_CHECK) && IM_CHECK
#define OFTEN 8u
#else
#define OFTEN 3u
#endif

/* ---- command lines ---- */

enum after {
	SAME,	 /* prints what it prints when nothing fails */
	ANY,	 /* prints numbers that may be others each time */
	MADE,	 /* makes a map */
	STORED,	 /* k9 is there */
	LOADED,	 /* so are k20 .. k29 */
	DUMPED,	 /* writes the file "out" whole */
	CLEARED, /* no keys are there */
	REMOVED,
};

static const struct command {
	const char *words; /* M is the map, N one that is not there */
	enum after after;
} commands[] = {
	{"create N --size 1M", MADE},
	{"put M k9 v", STORED},
	{"put M k9 <in.value", STORED},
	{"get M k1", SAME},
	{"get M k1 --json", SAME},
	{"del M k5", ANY},
	{"incr M count", ANY},
	{"touch M k1 --ttl 60s", ANY},
	{"exists M k1", SAME},
	{"ls", ANY},
	{"ls M", SAME},
	{"ls M --json", SAME},
	{"stat M", ANY},
	{"check M", SAME},
	{"inspect M", ANY},
	{"inspect M --json", ANY},
	{"tune M limit=1500K", ANY},
	{"dump M", SAME},
	{"dump M out", DUMPED},
	{"dump M --format=bdb --print out", DUMPED},
	{"load M in.jsonl", LOADED},
	{"load M in.bdb", LOADED},
	{"load M <in.jsonl", LOADED},
	{"snapshot publish M t in.jsonl", ANY},
	{"snapshot ls M", ANY},
	{"snapshot get M t a", SAME},
	{"snapshot rollback M t", ANY},
	{"clear M", CLEARED},
	{"rm M --force", REMOVED},
	{"completion bash", SAME},
	{"--help", SAME},
};

static char dir[] = "/tmp/ipcmap-test.XXXXXX";
static char map_path[64], other_path[64];

static void write_file(const char *file, const char *text)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "w");
	CU_ASSERT_FATAL(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* At most 64 KiB; "" when it is not there. */
static const char *read_file(const char *file)
{
	static char text[65536];
	char path[100];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "r");
	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	return text;
}

static void write_inputs(void)
{
	char jsonl[1000] = "", bdb[1000] = "VERSION=3\nformat=print\nHEADER=END\n";

	for (unsigned i = 20; i < 30; i++) {
		size_t j = strlen(jsonl), b = strlen(bdb);

		snprintf(jsonl + j, sizeof(jsonl) - j, "{\"key\":\"k%u\",\"value\":\"v\"}\n",
			 i);
		snprintf(bdb + b, sizeof(bdb) - b, " k%u\n v\n", i);
	}
	strcat(bdb, "DATA=END\n");
	write_file("in.jsonl", jsonl);
	write_file("in.bdb", bdb);
	write_file("in.value", "v");
}

/* ---- one run ---- */

struct run {
	const struct command *c;
	unsigned n, variant;
	bool all;
	int status;	 /* as of waitpid() */
	char failed[32]; /* the request that did; "": none */
};

static void redirect(const char *path, int flags, int to)
{
	int fd = open(path, flags, 0600);

	if (fd < 0 || dup2(fd, to) < 0)
		_exit(98);
}

static void run_tool(const struct run *r, int report)
{
	char words[200], starve[40], tool[4096], *argv[16], *w, *save;
	unsigned argc = 0;

	if (!realpath(TOOL, tool) || chdir(dir) < 0 || dup2(report, REPORT_FD) < 0)
		_exit(98);
	snprintf(starve, sizeof(starve), "%u %u %d", r->n, r->variant, r->all);
	setenv("STARVE", starve, 1);
	setenv("ASAN_OPTIONS", "detect_leaks=0",
	       1); /* the tool leaves the freeing to its end */
	redirect("stdout", O_WRONLY | O_CREAT | O_TRUNC, 1);
	redirect("stderr", O_WRONLY | O_CREAT | O_TRUNC, 2);
	redirect("/dev/null", O_RDONLY, 0);
	snprintf(words, sizeof(words), "%s", r->c->words);
	argv[argc++] = tool;
	for (w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (*w == '<')
			redirect(w + 1, O_RDONLY, 0);
		else
			argv[argc++] = strcmp(w, "M") == 0   ? map_path + strlen("/dev/shm")
				       : strcmp(w, "N") == 0 ? other_path + strlen("/dev/shm")
							     : w;
	}
	argv[argc] = NULL;
	execv(tool, argv);
	_exit(98);
}

static void run_once(struct run *r)
{
	int p[2];
	pid_t pid;
	ssize_t n;

	CU_ASSERT_FATAL(pipe2(p, O_CLOEXEC) == 0);
	pid = t_fork();
	if (pid == 0)
		run_tool(r, p[1]);
	close(p[1]);
	n = read(p[0], r->failed, sizeof(r->failed) - 1);
	r->failed[n > 0 ? n : 0] = '\0';
	close(p[0]);
	r->status = t_wait(pid, T_LIMIT_MS);
}

/* ---- and after it ---- */

static bool tell(const struct run *r, const char *what)
{
	fprintf(stderr, "\n  ipcmap %s: request %u, %s, error %u%s: status %x: %s\n%s",
		r->c->words, r->n, r->failed, r->variant, r->all ? ", and all later ones" : "",
		(unsigned)r->status, what, read_file("stderr"));
	return false;
}

#define HOLDS(cond) (ok = (cond) ? ok : tell(r, #cond))

static bool has(struct ipcmap *m, const char *key)
{
	return ipcmap_exists(m, key, strlen(key)) == 1;
}

static bool has_loaded(struct ipcmap *m)
{
	char key[8];

	for (unsigned i = 20; i < 30; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		if (!has(m, key))
			return false;
	}
	return true;
}

static void empty_dir(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static unsigned n_files(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* In any order: each map has another seed. */
static bool same_lines(const char *a, const char *b)
{
	uint64_t sum[2] = {0, 0};
	const char *at[2] = {a, b};

	for (int i = 0; i < 2; i++)
		for (const char *s = at[i]; *s;
		     s += strcspn(s, "\n") + (s[strcspn(s, "\n")] != 0))
			sum[i] += im_hash(1, s, strcspn(s, "\n") + 1);
	return strlen(a) == strlen(b) && sum[0] == sum[1];
}

static bool map_is_well(const struct run *r, bool done)
{
	struct ipcmap *m = NULL;
	bool ok = true;
	int rc = ipcmap_open(map_path + strlen("/dev/shm"), NULL, &m);

	if (r->c->after == REMOVED && rc == IPCMAP_NOTFOUND)
		return true;
	HOLDS(rc == 0);
	if (rc)
		return false;
	HOLDS(!done || r->c->after != REMOVED);
	HOLDS(kit_sound(m));
	HOLDS(r->c->after == CLEARED || (kit_is(m, "k1", "value") && has(m, "large")));
	HOLDS(!done || r->c->after != STORED || kit_is(m, "k9", "v"));
	HOLDS(!done || r->c->after != LOADED || has_loaded(m));
	HOLDS(!done || r->c->after != CLEARED || kit_entries(m) == 0);
	HOLDS(kit_put(m, "again", "x") == 0);
	ipcmap_close(m);
	return ok;
}

static bool is_well(const struct run *r, const char *want_out, const char *want_file)
{
	int status = WIFEXITED(r->status) ? WEXITSTATUS(r->status) : -1;
	bool done = status == 0, ok = true;

	HOLDS(status >= 0 && status <= 3 && status != 2);
	HOLDS(done || r->failed[0]);
	HOLDS(done || read_file("stderr")[0]);
	if (r->c->after == SAME || r->c->after == DUMPED)
		HOLDS(!done || same_lines(read_file("stdout"), want_out));
	if (r->c->after == DUMPED)
		HOLDS(same_lines(read_file("out"), done ? want_file : ""));
	/* . .. in.* stdout stderr; when all fails, unlink() does too */
	HOLDS(r->all || n_files() == 7u + (r->c->after == DUMPED && done));
	/* when all fails, unlink() does too; and see names_are_right() of t-starved.c */
	if (r->c->after == MADE && !r->all && strcmp(r->failed, "fcntl") != 0)
		HOLDS((access(other_path, F_OK) == 0) == done);
	return map_is_well(r, done) && ok;
}

static void prepare(void)
{
	static char large[9000];
	struct ipcmap *m = kit_made(map_path + strlen("/dev/shm"), KIT_MIB, 2 * KIT_MIB, 1);
	const struct ipcmap_pair p = {"a", 1, "1", 1};

	CU_ASSERT(kit_put(m, "k1", "value") == 0 && kit_put(m, "k5", "value") == 0);
	CU_ASSERT(ipcmap_put(m, "large", 5, large, sizeof(large), NULL) == 0);
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
	CU_ASSERT(ipcmap_snapshot_publish(m, "t", &p, 1, NULL, NULL, 0) == 0);
	ipcmap_close(m);
}

/* True: a request failed, so there may be more. */
static bool nth_fails(struct run *r, const char *want_out, const char *want_file)
{
	char out[100];

	prepare();
	snprintf(out, sizeof(out), "%s/out", dir);
	unlink(out);
	run_once(r);
	CU_ASSERT(is_well(r, want_out, want_file));
	unlink(map_path);
	unlink(other_path);
	return r->failed[0] || WIFSIGNALED(r->status);
}

/* Every @step-th request of it; once with its different errors, once with all later ones. */
static unsigned starve(const struct command *c, unsigned first, unsigned step)
{
	struct run r = {.c = c};
	char *out, *file;
	unsigned runs = 0;

	empty_dir();
	write_inputs();
	prepare();
	run_once(&r); /* request 0: none fails */
	out = strdup(read_file("stdout"));
	file = strdup(read_file("out"));
	CU_ASSERT(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 0 && !r.failed[0]);
	unlink(other_path);
	for (int all = 0; all < 2; all++) {
		r.all = all;
		for (r.n = first; r.n < N_MAX; r.n += step, runs++) {
			r.variant = all ? 0 : r.n / step % 3;
			if (!nth_fails(&r, out, file))
				break;
		}
		CU_ASSERT(r.n < N_MAX);
	}
	free(out);
	free(file);
	return runs;
}

static void tool__each_request_of_it_fails(void)
{
	const char *big = getenv("IPCMAP_TEST_BIG");
	unsigned runs = 0, step = big && *big ? 1 : T_AMOUNT(OFTEN, 12, 60);

	snprintf(map_path, sizeof(map_path), "%s", t_path(1));
	snprintf(other_path, sizeof(other_path), "%s", t_path(2));
	CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		runs += starve(&commands[i], 1 + (unsigned)i % step, step);
	printf("(%zu commands, %u failures) ", ARRAY_LEN(commands), runs);
	empty_dir();
	CU_ASSERT(rmdir(dir) == 0);
}

/* With --keep-going, what was wrong behind a line that could not be stored was not said. */
static void tool__load_says_that_a_file_is_not_whole(void)
{
	const struct command bad = {"load M --keep-going in.bad", ANY};
	const struct command cut = {"load M --keep-going in.cut", ANY};
	struct run r = {.c = &cut};
	unsigned met = 0;

	CU_ASSERT_FATAL(mkdtemp(strcpy(dir, "/tmp/ipcmap-test.XXXXXX")) != NULL);
	write_file("in.bad", "{\"key\":\n");
	write_file("in.cut", "VERSION=3\nformat=bytevalue\nHEADER=END\n 61\n zz\n");
	prepare();
	run_once(&r);
	CU_ASSERT(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 3);
	CU_ASSERT(strstr(read_file("stderr"), "DATA=END") != NULL);
	r.c = &bad;
	r.variant = 1;
	for (r.n = 1; r.n < N_MAX && (r.n == 1 || r.failed[0]); r.n++) {
		run_once(&r);
		if (strcmp(r.failed, "getline") != 0)
			continue;
		met++;
		CU_ASSERT(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 3);
		CU_ASSERT(strstr(read_file("stderr"), "Input/output error") != NULL);
	}
	CU_ASSERT(met == 2);
	unlink(map_path);
	empty_dir();
	CU_ASSERT(rmdir(dir) == 0);
}

static CU_TestInfo tests[] = {
	{"each request of the tool fails, and it says so", tool__each_request_of_it_fails},
	{"load says that a file is not whole", tool__load_says_that_a_file_is_not_whole},
	CU_TEST_INFO_NULL,
};
T_SUITE("starved tool", tests)
