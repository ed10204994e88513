# SPDX-License-Identifier: MIT
# starved.mk - the suites "starved": requests of the test program, and of a tool made for that, can be made to fail

STARVE_WRAPS := malloc calloc realloc free mmap madvise open __open_2 read pread pwrite ftruncate lstat \
                fchmod unlink readlink fcntl getrandom syscall
STARVE_TOOL  := getline __getdelim fopen fdopen fclose mkstemp rename realpath strdup vasprintf asprintf \
                __vasprintf_chk __asprintf_chk opendir
STARVE_LD    := $(STARVE_WRAPS:%=-Wl,--wrap=%)
STARVED_OBJ  := $(patsubst %,$(B)/tests/starved/%.o,starve t-starved t-starved-tool)
STARVED_TOOL := $(TOOL_OBJ) $(B)/tests/starved/tool.o $(B)/tests/starved/starve.o

$(B)/test-ipcmap: $(STARVED_OBJ) | $(B)/ipcmap-starved
$(B)/test-ipcmap: override LDFLAGS += $(STARVE_LD)

$(B)/ipcmap-starved: $(STARVED_TOOL) $(B)/libipcmap.a
	$(call say,  LD      $@)
	$(Q)$(CC) $(SAN) $(LDFLAGS) $(STARVE_LD) $(STARVE_TOOL:%=-Wl,--wrap=%) -o $@ $^ \
	  $(call pkg,--libs,$(PKGS_TOOLS) $(PKGS_LIB)) -pthread

-include $(STARVED_OBJ:.o=.d) $(B)/tests/starved/tool.d
