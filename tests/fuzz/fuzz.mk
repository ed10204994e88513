# SPDX-License-Identifier: MIT
# fuzz.mk - fuzzing with libFuzzer, and the suite "hostile", which runs what that found again

FZ       := build/fuzz
FZ_CC    := clang
FUZZ_S   ?= 60
FZ_TARGETS := segment scribble sound load args
FZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FZ_C      = -std=gnu11 -D_GNU_SOURCE -g -O1 -DIM_CHECK=1 -DIPCMAP_TOOL_VERSION='"$(VERSION)"' -Wall -Wextra -Wno-gnu \
            -Ishm -Icore -Itools -Itests/fuzz $(FZ_FLAGS)
# coverage of what is tested, not of the test; comparisons are traced where texts are read
FZ_COV   := -fsanitize-coverage=inline-8bit-counters,pc-table
$(FZ)/shm/%.o $(FZ)/core/%.o: FZ_C += $(FZ_COV)
$(FZ)/tool/%.o $(FZ)/tests/fuzz/load.o $(FZ)/tests/fuzz/dump.o: FZ_C += -fsanitize=fuzzer-no-link $(FZ_TOOL)
FZ_HEADS := $(wildcard shm/*.h core/*.h tools/*.h tests/fuzz/*.h)

# the tool as a part of a program that goes on when it exits; load.c and dump.c are two of its verbs
FZ_TOOL  := -Itools -Dmain=fz_tool_main -Dexit=fz_exit -Datexit=fz_atexit -Dipcmap_open=fz_open \
            -Dipcmap_close=fz_close -Dipcmap_snapshot_open=fz_snapshot_open -Dipcmap_snapshot_close=fz_snapshot_close
FZ_VERBS := $(patsubst tools/%.c,%,$(filter-out tools/cmd-load.c tools/cmd-dump.c,$(TOOL_SRC)))
FZ_PARTS := seeds patch calls calls-many calls-snapshot calls-wait calls-pin script load dump args
FZ_OBJ   := $(LIB_SRC:%.c=$(FZ)/%.o) $(FZ_VERBS:%=$(FZ)/tool/%.o) $(FZ_PARTS:%=$(FZ)/tests/fuzz/%.o)

$(FZ)/%.o: %.c $(FZ_HEADS) tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(call say,  CC      $@)
	$(Q)$(FZ_CC) $(FZ_C) -c -o $@ $<

$(FZ)/tool/%.o: tools/%.c $(FZ_HEADS) tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(call say,  CC      $@)
	$(Q)$(FZ_CC) $(FZ_C) -c -o $@ $<

WAY_segment  := FZ_HOSTILE
WAY_scribble := FZ_SCRIBBLE
WAY_sound    := FZ_SOUND
FZ_LF_load   := load
FZ_LF_args   := args
$(FZ_TARGETS:%=$(FZ)/fuzz-%): $(FZ)/fuzz-%: $(FZ_OBJ) tests/fuzz/lf-script.c tests/fuzz/lf-load.c tests/fuzz/lf-args.c
	$(call say,  LD      $@)
	$(Q)$(FZ_CC) $(FZ_C) $(if $(WAY_$*),-DWAY=$(WAY_$*)) -fsanitize=fuzzer -o $@ \
	  tests/fuzz/lf-$(or $(FZ_LF_$*),script).c $(FZ_OBJ) -llz4 -ljansson -lm -pthread

.PHONY: fuzz fuzz-keep
fuzz: ## each fuzzer for FUZZ_S seconds (60); FZ_TARGETS=segment for one; what it finds lies in build/fuzz/found
	$(Q)tests/fuzz/deps.sh
	$(Q)$(SUB) $(FZ_TARGETS:%=$(FZ)/fuzz-%)
	$(Q)for t in $(FZ_TARGETS); do tests/fuzz/run.sh $(FZ) $$t $(FUZZ_S) || exit 1; done

fuzz-keep: ## what the fuzzers learned, made small, into tests/fuzz/*.corpus
	$(Q)for t in $(FZ_TARGETS); do tests/fuzz/run.sh $(FZ) $$t keep || exit 1; done

# ---- replay, in the test program ----

FZ_T_OBJ := $(patsubst %,$(B)/tests/fuzz/%.o,t-hostile pack $(FZ_PARTS)) $(FZ_VERBS:%=$(B)/tests/fuzz/tool/%.o)
$(B)/tests/fuzz/%.o: INC += -Itools $(call pkg,--cflags,$(PKGS_TOOLS))
$(B)/tests/fuzz/load.o $(B)/tests/fuzz/dump.o: INC += $(FZ_TOOL)
$(B)/tests/fuzz/tool/%.o: INC += $(FZ_TOOL) -DIPCMAP_TOOL_VERSION='"$(VERSION)"'
# a main() needs no prototype, one of another name would
$(B)/tests/fuzz/tool/main.o: INC += -Wno-missing-prototypes
$(B)/tests/fuzz/tool/%.o: tools/%.c Makefile
	@mkdir -p $(@D)
	$(call say,  CC      $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(INC) -MMD -MP -c -o $@ $<

$(B)/test-ipcmap: $(FZ_T_OBJ)
$(B)/test-ipcmap: PKGS_TEST += $(PKGS_TOOLS)

-include $(FZ_T_OBJ:.o=.d)
