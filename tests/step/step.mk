# SPDX-License-Identifier: MIT
# step.mk - every instruction: the crash points' operations under the trap flag, all of them

STEP_PROG := build/release/test-ipcmap
STEP_SEEN := build/release/step.seen build/release/step.rows

.PHONY: step step-report
# copies by vectors: "rep movs" is trapped after each byte, which is a state more each time
step: ## operations killed at each instruction, and their successors; T=suite, S=operation (words) for some, ADD=1 to what was seen before
	$(Q)tests/lib/deps.sh
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=release $(STEP_PROG)
	$(if $(ADD),,$(Q)rm -f $(STEP_SEEN))
	$(Q)STEP='$(or $(S),all)' GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:glibc.cpu.x86_rep_stosb_threshold=0x7fffffff \
	  $(STEP_PROG) 'crash points$(if $(T)$(S), of $(T))'
	$(Q)tests/lint/leftovers
	$(Q)python3 -B tests/step/table.py build/release/step.rows
	$(if $(T)$(S),,$(Q)python3 -B tests/step/blocks.py $(STEP_PROG) build/release/step.seen tests/step/unreached)

step-report: ## after "make step" in parts, of one program: the table, and the blocks that none of them passed
	$(Q)python3 -B tests/step/table.py build/release/step.rows
	$(Q)python3 -B tests/step/blocks.py $(STEP_PROG) build/release/step.seen tests/step/unreached
