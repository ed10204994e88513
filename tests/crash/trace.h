/* SPDX-License-Identifier: MIT */
/*
 * trace.h - the states of a segment between the instructions of one process
 *
 * trace.c single-steps this process by the trap flag of the processor and writes a journal:
 * each state of the segment's bytes as the lines that changed. states.c lets processes look
 * at the states, each in a file of its own. Both only in builds without crash points, and on
 * x86-64: elsewhere TRACE_CAN is 0.
 */
#ifndef TRACE_H
#define TRACE_H

#include "points.h"

#if defined(__x86_64__) && !HAVE_POINTS
#define TRACE_CAN 1
#else
#define TRACE_CAN 0
#endif

#define TRACE_LINE 64u
#define TRACE_STATES (1u << 18)
#define TRACE_CHANGES (1u << 19)

struct trace_change {
	uint32_t line; /* number of the line */
	unsigned char bytes[TRACE_LINE];
};

/* Kinds of states: what is armed. */
#define TRACE_LIST 1u
#define TRACE_TAKES 2u /* a list that takes an extent */
#define TRACE_INTENT 4u
#define TRACE_KINDS 8u

struct trace_state {
	uint32_t changes; /* those before this number make the state */
	uint32_t acked;	  /* points->acked */
	uint32_t pc;	  /* of the instruction that made it, from the start of the program */
	bool look;
	/* by trace_mark() */
	bool payload; /* only bytes changed that nothing names */
	unsigned kind;
	uint64_t file_len;
	uint64_t hash; /* of all bytes */
};

struct trace_journal {
	unsigned char *start; /* the bytes before */
	uint64_t len;	      /* bytes that are watched */
	uint64_t n_steps;     /* instructions */
	uint32_t n_states;
	uint32_t n_changes;
	bool cut;   /* so many instructions or no more room: not all was seen */
	bool blind; /* a store was missed: a fault of the tracer */
	struct trace_state state[TRACE_STATES];
	struct trace_change change[TRACE_CHANGES];
};

/* Shared memory, for children that trace and children that look. */
struct trace_journal *trace_new(void);
/* Empty, and with room for so many bytes. */
void trace_renew(struct trace_journal *j, uint64_t len);

/* ---- in the process that is traced ---- */

struct trace_plan {
	const char *path;    /* of the segment; it may not be there yet */
	uint64_t len;	     /* of its file, or what that will be */
	uint64_t most; /* instructions, some times as many while there are few states; 0: any */
	bool in_steps; /* other libraries are called as a whole, as if in one instruction */
	const uint32_t *acked;
};

/* Nothing is traced yet. Mappings made before are told by trace_mapped(). */
void trace_begin(struct trace_journal *j, const struct trace_plan *plan);
void trace_mapped(const void *base, uint64_t len, uint64_t off);
/* What happened while the trace was off is one state more, not to be looked at. */
void trace_on(void);
void trace_off(void);

/* ---- instructions alone ---- */

/* Counts them, and nothing else. */
void trace_count_on(uint64_t *count);
void trace_count_off(void);
/* Each address of the program that was traced, one byte each, over all runs. */
extern unsigned char *trace_seen;
uint64_t trace_text_len(void);

/* ---- of a journal ---- */

void trace_mark(struct trace_journal *j);

struct states_plan {
	void (*look)(const struct trace_state *s); /* returns, or ends the process with 1 */
	bool anew; /* a new file for each state, since @look removes or replaces it */
};

/* Bytes of one state; the caller frees ret->p. */
void states_image(const struct trace_journal *j, uint32_t state, struct points_image *ret);
/* Look at those that have look set: how many were wrong. Ends after some. */
uint32_t states_look(const struct trace_journal *j, const struct states_plan *plan);

/* ---- points-step.c, for what is no scenario ---- */

extern bool points_step_all; /* everything, not a sample */
/* The journal for a segment of so many bytes; the first call says points_step_all. */
struct trace_journal *points_journal(uint64_t len);
/* Is this scenario among those that STEP=word asks for? */
bool points_step_wanted(void);
bool points_run_slowly(int (*fn)(void *arg));
bool points_look_at_journal(struct trace_journal *j, const struct states_plan *plan,
			    uint32_t *tried);
/* What was seen of an operation. */
struct points_row {
	uint64_t instructions;
	uint32_t states, tried;
	uint32_t successors;
	uint64_t nested_instructions; /* of its successors, all of them */
	uint32_t nested_states, nested_tried;
};
void points_report(const struct points_row *row);

#endif
