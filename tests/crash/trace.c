/* SPDX-License-Identifier: MIT */
/*
 * trace.c - this process, instruction by instruction, and every state that it makes
 *
 * With the trap flag set the processor raises SIGTRAP after each instruction. The handler
 * compares the lines to which the last instruction may have stored with a copy, and decodes
 * the address of the next one's operand in memory. It decodes no more than that: whether it
 * is a load or a store, and of how many bytes, the comparison tells. So that nothing is
 * missed, all bytes are compared whenever the trace pauses, and before other libraries are
 * called at full speed; a difference found only then is a fault of the tracer, and fails the
 * test. All bytes are compared after such a call too, and after system calls that change
 * files: what these did is one state.
 *
 * Tried and dropped: ptrace(2), which costs two switches of processes for each instruction, and
 * needs a permission; write-protecting the segment, which shows stores but no coverage.
 */
#include "trace.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

unsigned char *trace_seen;

struct trace_journal *trace_new(void)
{
	struct trace_journal *j = mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (j == MAP_FAILED)
		abort();
	return j;
}

void trace_renew(struct trace_journal *j, uint64_t len)
{
	if (j->start)
		t_shared_free(j->start, j->len);
	madvise(j, sizeof(*j), MADV_REMOVE);
	j->start = t_shared(len);
	j->len = len;
}

#if TRACE_CAN

#include "format.h"

#include <errno.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define MAPPINGS 32u
#define TRAP_FLAG 0x100
#define RET 0xc3
#define FEW 48u /* states: then go on */
#define MORE 32u /* times as many instructions */
#define OWNER_PART offsetof(struct fmt_owner, pid)

enum mode { OFF, TRACE, COUNT };

static struct {
	enum mode mode;
	struct trace_journal *j;
	struct trace_plan plan;
	unsigned char *now;    /* the file, mapped once more */
	unsigned char *was;    /* as it was after the last instruction */
	uint64_t file_len;     /* UINT64_MAX: there is no file */
	uint64_t skip, skip_end; /* counter lines, which say nothing about the map */
	uint64_t owners;	 /* where their lines begin */
	uint64_t hash;
	struct {
		uintptr_t at, end;
		uint64_t off;
	} map[MAPPINGS];
	unsigned n_maps;
	uintptr_t operand; /* of the instruction that is executed now; 0: none */
	long call;	   /* the system call that it is; -1: none */
	uint64_t arg[6];
	uint32_t pc; /* the last one of this program */
	const unsigned char *last;
	bool away; /* in another library, at full speed */
	uint64_t *count;
} t;

/* Where the call of another library returns to, and where it would have. */
void trace_return(void);
uintptr_t trace_back;

extern const unsigned char __executable_start[], etext[];

uint64_t trace_text_len(void)
{
	return (uint64_t)(etext - __executable_start);
}

/* ---- the journal ---- */

static bool is_skipped(uint64_t off)
{
	return (off >= t.skip && off < t.skip_end) ||
	       off == offsetof(struct fmt_header, shared);
}

/* Without what differs from process to process and is for display only. */
static uint64_t hash_line(const unsigned char *p, uint64_t off)
{
	bool owner = off >= t.owners && off < t.skip;

	return is_skipped(off) ? 0
			       : XXH3_64bits_withSeed(p, owner ? OWNER_PART : TRACE_LINE, off);
}

static void stop_for_good(void)
{
	t.j->cut = true;
}

/* Lines that differ go into the journal; do any? */
static bool compare(uint64_t from, uint64_t to)
{
	struct trace_journal *j = t.j;
	bool differs = false;

	to = to < t.j->len ? to : t.j->len;
	to = t.file_len == UINT64_MAX ? 0 : to < t.file_len ? to : t.file_len;
	for (from -= from % TRACE_LINE; from < to; from += TRACE_LINE) {
		unsigned char *was = t.was + from;
		struct trace_change *c = &j->change[j->n_changes];

		if (memcmp(t.now + from, was, TRACE_LINE) == 0 || is_skipped(from))
			continue;
		if (j->n_changes == TRACE_CHANGES) {
			stop_for_good();
			return false;
		}
		c->line = (uint32_t)(from / TRACE_LINE);
		t.hash ^= hash_line(was, from);
		memcpy(was, t.now + from, TRACE_LINE);
		memcpy(c->bytes, was, TRACE_LINE);
		t.hash ^= hash_line(was, from);
		j->n_changes++;
		differs = true;
	}
	return differs;
}

static bool compare_all(void)
{
	bool differs = false;

	/* the larger part is the same, and read faster so */
	for (uint64_t off = 0; off < t.j->len; off += 4096) {
		uint64_t end = off + 4096 < t.j->len ? off + 4096 : t.j->len;

		if (t.file_len == UINT64_MAX || t.file_len < end ||
		    memcmp(t.now + off, t.was + off, end - off) != 0)
			differs |= compare(off, end);
	}
	return differs;
}

static void add_state(bool look)
{
	struct trace_journal *j = t.j;

	if (j->n_states == TRACE_STATES) {
		stop_for_good();
		return;
	}
	j->state[j->n_states++] = (struct trace_state){
		.changes = j->n_changes,
		.acked = *t.plan.acked,
		.pc = t.pc,
		.look = look,
		.file_len = t.file_len,
		.hash = t.hash,
	};
}

/* Nothing may differ now: each store was followed by a comparison of its line. */
static void must_have_seen_all(void)
{
	if (compare_all()) {
		t.j->blind = true;
		add_state(false);
	}
}

/* ---- the file ---- */

/* Its length, and a mapping once it is there. */
static bool look_at_file(void)
{
	uint64_t before = t.file_len;
	struct stat st;
	int fd;

	if (stat(t.plan.path, &st) < 0) {
		t.file_len = UINT64_MAX;
		return before != t.file_len;
	}
	t.file_len = (uint64_t)st.st_size;
	if (!t.now) {
		fd = open(t.plan.path, O_RDWR | O_CLOEXEC);
		t.now = mmap(NULL, t.plan.len, PROT_READ, MAP_SHARED, fd, 0);
		if (fd < 0 || t.now == MAP_FAILED)
			abort();
		close(fd);
	}
	return before != t.file_len;
}

static bool touches_files(long call)
{
	return call == SYS_open || call == SYS_openat || call == SYS_ftruncate ||
	       call == SYS_pwrite64 || call == SYS_unlink || call == SYS_fallocate ||
	       call == SYS_madvise;
}

void trace_mapped(const void *base, uint64_t len, uint64_t off)
{
	uintptr_t at = (uintptr_t)base;
	unsigned n = 0;

	for (unsigned i = 0; i < t.n_maps; i++)
		if (t.map[i].end <= at || t.map[i].at >= at + len)
			t.map[n++] = t.map[i];
	if (n == MAPPINGS) {
		memmove(t.map, t.map + 1, sizeof(t.map[0]) * --n);
	}
	t.map[n].at = at;
	t.map[n].end = at + len;
	t.map[n++].off = off;
	t.n_maps = n;
}

static void after_call(long ret)
{
	if (t.call == SYS_mmap && ret > 0 && t.arg[3] & MAP_SHARED && (int)t.arg[4] >= 0)
		trace_mapped((void *)(uintptr_t)ret, t.arg[1], t.arg[5]);
	if (!touches_files(t.call))
		return;
	/* not |: both look */
	if (look_at_file() + compare_all())
		add_state(true);
}

/* ---- instructions ---- */

static const int reg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
			       REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
			       REG_R12, REG_R13, REG_R14, REG_R15};

static uintptr_t reg(const greg_t *g, unsigned i)
{
	return (uintptr_t)g[reg_of[i]];
}

/* The address that this ModRM byte and what follows it give; 0: none, or relative to rip. */
static uintptr_t address(const unsigned char *p, const greg_t *g, unsigned x, unsigned b,
			 int scale8)
{
	unsigned mod = *p >> 6, rm = *p & 7u;
	uintptr_t at = 0;
	int32_t disp;

	p++;
	if (mod == 3 || (mod == 0 && rm == 5))
		return 0;
	if (rm == 4) {
		unsigned base = *p & 7u, index = (*p >> 3 & 7u) | x << 3;

		if (index != 4)
			at = reg(g, index) << (*p >> 6);
		p++;
		if (base != 5 || mod)
			at += reg(g, base | b << 3);
		else
			mod = 2;
	} else {
		at = reg(g, rm | b << 3);
	}
	if (mod == 1)
		at += (uintptr_t)((int8_t)*p * scale8);
	memcpy(&disp, p, sizeof(disp));
	return mod == 2 ? at + (uintptr_t)(intptr_t)disp : at;
}

/*
 * The address of the operand in memory of the instruction at @p; 0: none, or thread-local.
 * What has no such operand may be taken for one that has: then it is compared in vain.
 */
static uintptr_t operand(const unsigned char *p, const greg_t *g)
{
	unsigned x = 0, b = 0;

	for (;; p++) {
		if (*p == 0x64 || *p == 0x65)
			return 0;
		if (*p != 0x66 && *p != 0x67 && *p != 0xf0 && *p != 0xf2 && *p != 0xf3 &&
		    (*p & 0xe7) != 0x26)
			break;
	}
	if ((*p & 0xf0) == 0x40) {
		x = *p >> 1 & 1u;
		b = *p & 1u;
		p++;
	}
	if (*p == 0xc4 || *p == 0x62) { /* VEX, EVEX: the bits are inverted */
		x = !(p[1] & 0x40);
		b = !(p[1] & 0x20);
	}
	switch (*p) {
	case 0xc5:
		return address(p + 3, g, 0, 0, 1);
	case 0xc4:
		return address(p + 4, g, x, b, 1);
	case 0x62:
		return address(p + 5, g, x, b, 16 << (p[3] >> 5 & 3));
	case 0xa4: /* movs, stos */
	case 0xa5:
	case 0xaa:
	case 0xab:
		return reg(g, 7);
	case 0x0f:
		p++;
		if (*p == 0x38 || *p == 0x3a)
			p++;
		break;
	}
	return address(p + 1, g, x, b, 1);
}

static void compare_operand(void)
{
	for (unsigned i = 0; i < t.n_maps; i++) {
		uint64_t off;

		if (t.operand < t.map[i].at || t.operand >= t.map[i].end)
			continue;
		off = t.operand - t.map[i].at + t.map[i].off;
		if (t.now && compare(off, off + TRACE_LINE))
			add_state(true);
		return;
	}
}

static bool is_ours(const unsigned char *pc)
{
	return pc >= __executable_start && pc < etext;
}

/*
 * The one of the C library, by the name that the linker gives it: where this program says
 * mmap(), it comes to the one in tests/starved/ first.
 */
void *__real_mmap(void *to, size_t len, int prot, int flags, int fd, off_t off);

/*
 * Has another library just been called? Then its return address leads to trace_return, which
 * sets the trap flag again. Not for mmap(), which must be seen: who does not know where the
 * segment is mapped sees no store.
 */
static void go_away(const unsigned char *pc, const greg_t *g)
{
	uintptr_t *stack = (uintptr_t *)(uintptr_t)g[REG_RSP];

	if (is_ours(pc) || !t.last || !is_ours(t.last) || *t.last == RET ||
	    (uintptr_t)pc == (uintptr_t)__real_mmap)
		return;
	if (!is_ours((const unsigned char *)*stack))
		stack += 2; /* the first call of a function, on its way to the linker */
	if (!is_ours((const unsigned char *)*stack))
		return;
	must_have_seen_all();
	trace_back = *stack;
	*stack = (uintptr_t)trace_return;
	t.away = true;
}

__asm__(".pushsection .text\n"
	".globl trace_return\n"
	"trace_return:\n"
	"	lea -8(%rsp), %rsp\n"
	"	push %rax\n"
	"	mov trace_back(%rip), %rax\n"
	"	mov %rax, 8(%rsp)\n"
	"	pop %rax\n"
	"	pushfq\n"
	"	orq $0x100, (%rsp)\n"
	"	popfq\n"
	"	ret\n"
	".popsection\n");

static void note_call(const unsigned char *pc, const greg_t *g)
{
	t.call = -1;
	if (pc[0] != 0x0f || pc[1] != 0x05)
		return;
	t.call = (long)g[REG_RAX];
	t.arg[1] = (uint64_t)g[REG_RSI];
	t.arg[3] = (uint64_t)g[REG_R10];
	t.arg[4] = (uint64_t)g[REG_R8];
	t.arg[5] = (uint64_t)g[REG_R9];
}

static void at_trap(int sig, siginfo_t *si, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	const unsigned char *pc = (const unsigned char *)(uintptr_t)g[REG_RIP];
	int err = errno;

	(void)sig;
	(void)si;
	if (t.mode == COUNT)
		++*t.count;
	if (t.mode == TRACE) {
		t.j->n_steps++;
		/* not |: both look */
		if (t.away && look_at_file() + compare_all())
			add_state(true);
		t.away = false;
		compare_operand();
		if (t.call >= 0)
			after_call((long)g[REG_RAX]);
		if (is_ours(pc)) {
			t.pc = (uint32_t)(pc - __executable_start);
			trace_seen[t.pc] = 1;
		}
		t.operand = operand(pc, g);
		note_call(pc, g);
		if (t.plan.most && t.j->n_steps >= t.plan.most * (t.j->n_states < FEW ? MORE : 1))
			stop_for_good();
		if (t.j->cut)
			t.mode = OFF;
		else if (t.plan.in_steps)
			go_away(pc, g);
		t.last = pc;
	}
	if (t.mode == OFF || t.away)
		g[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	errno = err;
}

/* ---- on and off ---- */

static void catch_traps(void)
{
	struct sigaction sa = {.sa_sigaction = at_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	static unsigned char *room;
	stack_t stack;

	if (!room)
		room = malloc(65536);
	stack = (stack_t){.ss_sp = room, .ss_size = 65536};
	sigaltstack(&stack, NULL);
	sigaction(SIGTRAP, &sa, NULL);
}

static inline void set_trap_flag(void)
{
	/* below the red zone */
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; "
			 "lea 128(%%rsp), %%rsp" ::"i"(TRAP_FLAG)
			 : "memory", "cc");
}

static inline void clear_trap_flag(void)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq; "
			 "lea 128(%%rsp), %%rsp" ::"i"(~TRAP_FLAG)
			 : "memory", "cc");
}

void trace_begin(struct trace_journal *j, const struct trace_plan *plan)
{
	const struct fmt_header *h;

	memset(&t, 0, sizeof(t));
	t.j = j;
	t.plan = *plan;
	j->n_states = j->n_changes = 0;
	j->n_steps = 0;
	j->cut = j->blind = false;
	t.was = malloc(plan->len);
	memset(t.was, 0, plan->len);
	look_at_file();
	if (t.now && t.file_len >= plan->len) {
		memcpy(t.was, t.now, plan->len);
		h = (const struct fmt_header *)(const void *)t.was;
		t.owners = h->owner_off;
		t.skip = h->line_off;
		t.skip_end = h->user_off;
	}
	memcpy(j->start, t.was, plan->len);
	for (uint64_t off = 0; off < plan->len; off += TRACE_LINE)
		t.hash ^= hash_line(t.was + off, off);
	catch_traps();
}

void trace_on(void)
{
	if (t.j->cut || t.mode == TRACE)
		return;
	if (look_at_file() + compare_all())
		add_state(false);
	t.operand = 0;
	t.call = -1;
	t.last = NULL;
	t.mode = TRACE;
	set_trap_flag();
}

void trace_off(void)
{
	clear_trap_flag();
	if (t.mode != TRACE)
		return;
	t.mode = OFF;
	must_have_seen_all();
}

void trace_count_on(uint64_t *count)
{
	catch_traps();
	t.count = count;
	t.mode = COUNT;
	set_trap_flag();
}

void trace_count_off(void)
{
	clear_trap_flag();
	t.mode = OFF;
}

/* ---- of a journal ---- */

static bool is_payload(const unsigned char *bytes, const struct fmt_header *h, uint64_t off)
{
	const struct fmt_extent *e;
	uint64_t at;

	if (off < h->extent_off)
		return false;
	at = off - h->extent_off;
	e = (const void *)(bytes + h->table_off +
			   (at >> h->extent_shift) * sizeof(struct fmt_extent));
	at &= (UINT64_C(1) << h->extent_shift) - 1;
	switch (fmt_word_state(e->word)) {
	case FMT_FREE:
	case FMT_PRIVATE:
	case FMT_PIECE:
	case FMT_RESERVED:
		return true;
	case FMT_LOG:
		return at >= align_up(e->fill, TRACE_LINE);
	default:
		return false;
	}
}

static unsigned kind_of_list(const struct fmt_redo *r)
{
	if (!(r->seq & 1))
		return 0;
	return TRACE_LIST | (r->cas_extent != FMT_NO_EXTENT ? TRACE_TAKES : 0);
}

/* What a successor would find armed. */
static unsigned kind_of(const unsigned char *bytes, const struct fmt_header *h)
{
	const unsigned char *user = bytes + h->user_off;
	const struct fmt_snaps *snaps = (const void *)(user + h->user[FMT_GEO_SNAP_OFF]);
	unsigned kind = h->space.seq & 1 ? TRACE_INTENT : 0;

	for (uint32_t i = 0; i < h->n_shards; i++) {
		const struct fmt_shard *s =
			(const void *)(user + i * h->user[FMT_GEO_SHARD_LEN]);

		kind |= kind_of_list(&s->redo);
	}
	return kind | kind_of_list(&snaps->redo);
}

void trace_mark(struct trace_journal *j)
{
	unsigned char *bytes = malloc(j->len);
	const struct fmt_header *h = (const void *)bytes;
	uint32_t at = 0;

	memcpy(bytes, j->start, j->len);
	for (uint32_t i = 0; i < j->n_states; i++) {
		struct trace_state *s = &j->state[i];

		s->payload = true;
		for (; at < s->changes; at++) {
			uint64_t off = (uint64_t)j->change[at].line * TRACE_LINE;

			s->payload &= is_payload(bytes, h, off);
			memcpy(bytes + off, j->change[at].bytes, TRACE_LINE);
		}
		s->kind = kind_of(bytes, h);
	}
	free(bytes);
}

#endif
