# SPDX-License-Identifier: MIT
# linear.mk - the suites of tests/linear, for long

LINEAR_ROUNDS ?= 2000

.PHONY: linear
linear: ## linearizability for long, both builds; LINEAR_ROUNDS=20000 for longer, LINEAR_SEED=N for those calls again
	$(if $(DEPS_SH),$(Q)$(DEPS_SH))
	$(Q)$(SUB) VARIANT=debug build/debug/test-ipcmap
	$(Q)$(SUB) VARIANT=release build/release/test-ipcmap
	$(Q)LINEAR_ROUNDS=$(LINEAR_ROUNDS) build/debug/test-ipcmap linear
	$(Q)LINEAR_ROUNDS=$(LINEAR_ROUNDS) build/release/test-ipcmap linear
	$(Q)tests/lint/leftovers
