# SPDX-License-Identifier: MIT
# aarch64.mk - library, tool and tests for 64-bit ARM, cross-compiled; run by qemu's user mode

A64_CC   := aarch64-linux-gnu-gcc
A64_SYS  := $(CURDIR)/build/aarch64-sys
A64_LIB  := $(A64_SYS)/usr/lib/aarch64-linux-gnu
# the second is what is delivered: its warnings count, and its code is looked at
F_aarch64         = $(F_debug)
F_aarch64-release = $(F_release)
# as under valgrind: everything takes some ten times as long
SLOW_aarch64 := 2
A64_INC  := -isystem $(A64_SYS)/usr/include
A64_MAKE  = $(SUB) CC=$(A64_CC) CFLAGS='$(A64_INC)' LDFLAGS='-L$(A64_LIB)'
A64_RUN   = qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH='$(A64_LIB)'

.PHONY: aarch64
aarch64: ## cross-compiled for 64-bit ARM, and what qemu's user mode can run of the tests
	$(Q)tests/aarch64/deps.sh $(A64_SYS)
	$(Q)tests/lint/leftovers --sweep
	$(Q)tests/aarch64/barriers $(A64_CC) $(A64_INC)
	$(Q)$(A64_MAKE) VARIANT=aarch64-release all
	$(Q)tests/lint/hardening build/aarch64-release/libipcmap.so.$(SOMAJOR) build/aarch64-release/ipcmap
	$(Q)$(SUB) VARIANT=release build/release/ipcmap
	$(Q)tests/aarch64/exchange build/release/ipcmap $(A64_RUN) build/aarch64-release/ipcmap
	$(Q)$(A64_MAKE) VARIANT=aarch64 build/aarch64/test-ipcmap
	$(Q)$(A64_RUN) build/aarch64/test-ipcmap $(T)
	$(Q)tests/lint/leftovers
