# SPDX-License-Identifier: MIT
# The suites that stop a process between two instructions (tests/race/step.h), at every one of
# them; `make test` has a sample. STOPS=3/16 takes a sixteenth, T=held one suite. Blocks are
# copied by wide moves, since a step ends after each byte of the other way.

STOPS ?= all

.PHONY: stops
stops: ## readers and lock holders stopped at every instruction: hours; STOPS=3/16 for a part, T=stepped, held or forks
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=release build/release/test-ipcmap
	$(Q)for s in $(or $(T),held forks stepped); do IPCMAP_TEST_STOPS=$(STOPS) \
	  GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000 build/release/test-ipcmap $$s || exit 1; done
	$(Q)tests/lint/leftovers
