# SPDX-License-Identifier: MIT
# Lookups in held snapshots while publishers are killed; `make test` makes as many as come in a few seconds.

HELD ?= 1000000000

.PHONY: held
held: ## 10^9 lookups in held snapshots while publishers are killed: none may be mixed; HELD=100000000 for a tenth
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=release build/release/test-ipcmap
	$(Q)IPCMAP_TEST_HELD=$(HELD) build/release/test-ipcmap 'snapshot race'
	$(Q)tests/lint/leftovers
