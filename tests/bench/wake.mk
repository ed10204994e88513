# SPDX-License-Identifier: MIT
# wake.mk - how long a change takes to wake who watches

build/bench/wake: tests/bench/wake.c build/release/libipcmap.a
	@mkdir -p $(@D)
	$(call say,  CC      $@)
	$(Q)$(CC) $(B_C) -Icore -o $@ $^ $(call pkg,--libs,$(PKGS_LIB)) -pthread

.PHONY: bench-wake
bench-wake: ## from a put to the watcher that it wakes: p50, p99, maximum
	$(Q)$(SUB) VARIANT=release all build/bench/wake
	$(Q)build/bench/wake
