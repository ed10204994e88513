# SPDX-License-Identifier: MIT
# pin.mk - values read in place, beside copies

build/bench/pin: tests/bench/pin.c build/release/libipcmap.a
	@mkdir -p $(@D)
	$(call say,  CC      $@)
	$(Q)$(CC) $(B_C) -Icore -o $@ $^ $(call pkg,--libs,$(PKGS_LIB)) -pthread

.PHONY: bench-pin
bench-pin: ## a value pinned, looked at and let go, beside a get of the same
	$(Q)$(SUB) VARIANT=release all build/bench/pin
	$(Q)build/bench/pin
