# SPDX-License-Identifier: MIT
# step.mk - every instruction: the crash points' operations under the trap flag, all of them

STEP_PROG := build/release/test-ipcmap

.PHONY: step
# copies by vectors: "rep movs" is trapped after each byte, which is a state more each time
step: ## each operation killed at each of its instructions, and its successors; T=word for some; minutes
	$(Q)tests/lib/deps.sh
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=release $(STEP_PROG)
	$(Q)rm -f build/release/step.seen
	$(Q)STEP=all GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:glibc.cpu.x86_rep_stosb_threshold=0x7fffffff \
	  $(STEP_PROG) 'crash points$(if $(T), of $(T))'
	$(Q)tests/lint/leftovers
	$(if $(T),,$(Q)python3 -B tests/step/blocks.py $(STEP_PROG) build/release/step.seen tests/step/unreached)
