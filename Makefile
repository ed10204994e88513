# SPDX-License-Identifier: MIT
# ipcmap - `make help` lists the targets.

VERSION  := 0.1.0
SOMAJOR  := 0
VARIANT  ?= release
B        := build/$(VARIANT)
prefix   ?= /usr/local
libdir   ?= $(prefix)/lib
bindir   ?= $(prefix)/bin
mandir   ?= $(prefix)/share/man
includedir ?= $(prefix)/include
datadir ?= $(prefix)/share

PKGS_LIB   := liblz4
PKGS_TOOLS := jansson
PKGS_TEST  := cunit
pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)

CC       ?= gcc
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla -Wundef -Werror
BASE     := -std=gnu11 -D_GNU_SOURCE -fvisibility=hidden -fPIC -g $(WARN)
# not -fcf-protection: a get would take 1 % more instructions, a put 2 %, and as Debian's crti.o is
# not marked, the linker would drop the mark
HARD     := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
F_release := -O2 -DNDEBUG -DIM_CHECK=0 $(HARD)
F_debug   := -O1 -DIM_CHECK=2
F_asan    := -O1 -DIM_CHECK=1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
F_tsan    := -O1 -DIM_CHECK=1 -DIM_WORDWISE=1 -fsanitize=thread -Wno-tsan
F_valgrind := -O1 -DIM_CHECK=1
F_cov     := -O0 -DIM_CHECK=1 --coverage
# for the tests (t.h): 1: everything takes several times longer than in release; 2: some twenty times
SLOW_asan := 1
SLOW_tsan := 1
SLOW_valgrind := 2
ALL_CFLAGS = $(BASE) $(F_$(VARIANT)) $(CFLAGS)
SAN       = $(filter -fsanitize%,$(F_$(VARIANT))) $(filter --coverage,$(F_$(VARIANT)))
LIB_LDFLAGS = -shared -Wl,-soname,libipcmap.so.$(SOMAJOR) -Wl,-z,defs -Wl,-z,relro,-z,now -Wl,-z,nodelete $(SAN) $(LDFLAGS)

LIB_SRC  := $(wildcard shm/*.c core/*.c)
TOOL_SRC := $(wildcard tools/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
TOOL_OBJ := $(TOOL_SRC:%.c=$(B)/%.o)
TESTLIB_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/lib/*.c))
# one program from all sources of these folders
SUITES   := unit race crash linear
SUITE_SRC := $(foreach s,$(SUITES),$(wildcard tests/$(s)/*.c))
SUITE_OBJ := $(SUITE_SRC:%.c=$(B)/%.o)
DEMO_BIN := $(patsubst tests/demo/%.c,$(B)/demo/%,$(wildcard tests/demo/*.c))

Q := $(if $(V),,@)
say = $(if $(V),,@echo '$(1)')

.DELETE_ON_ERROR:
.SECONDARY: $(DEMO_BIN:$(B)/demo/%=$(B)/tests/demo/%.o)
.PHONY: all demo test deps clean install uninstall help lint asan tsan valgrind check-headers dist format

all: $(B)/libipcmap.a $(B)/libipcmap.so.$(SOMAJOR) $(B)/ipcmap $(B)/ipcmap.pc ## build the library and the tool into build/release

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,  CC      $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(INC) -MMD -MP -c -o $@ $<

$(B)/shm/%.o $(B)/core/%.o: INC = -Ishm -Icore
$(B)/tools/%.o: INC = -Icore $(call pkg,--cflags,$(PKGS_TOOLS)) -DIPCMAP_TOOL_VERSION='"$(VERSION)"'
$(B)/tests/%.o: INC = -Ishm -Icore -Itests/lib $(call pkg,--cflags,$(PKGS_TEST)) -DBUILD='"$(B)"' \
                -DT_VARIANT='"$(VARIANT)"' -DT_SLOW=$(or $(SLOW_$(VARIANT)),0)

$(B)/libipcmap.a: $(LIB_OBJ)
	$(call say,  AR      $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/libipcmap.so.$(SOMAJOR): $(LIB_OBJ)
	$(call say,  LD      $@)
	$(Q)$(CC) $(LIB_LDFLAGS) -o $@ $^ $(call pkg,--libs,$(PKGS_LIB)) -pthread
	$(Q)ln -sf $(@F) $(B)/libipcmap.so

$(B)/ipcmap: $(TOOL_OBJ) $(B)/libipcmap.a
	$(call say,  LD      $@)
	$(Q)$(CC) $(SAN) -pie -Wl,-z,relro,-z,now $(LDFLAGS) -o $@ $^ $(call pkg,--libs,$(PKGS_TOOLS) $(PKGS_LIB)) -pthread

$(B)/test-ipcmap: $(SUITE_OBJ) $(TESTLIB_OBJ) $(B)/libipcmap.a
	$(call say,  LD      $@)
	$(Q)$(CC) $(SAN) $(LDFLAGS) -o $@ $^ $(call pkg,--libs,$(PKGS_TEST) $(PKGS_LIB)) -pthread

$(B)/demo/%: $(B)/tests/demo/%.o $(B)/libipcmap.a
	@mkdir -p $(@D)
	$(call say,  LD      $@)
	$(Q)$(CC) $(SAN) $(LDFLAGS) -o $@ $^ $(call pkg,--libs,$(PKGS_LIB)) -pthread

demo: ## a minute of proof: workers share a map, one is killed every 50 ms, nothing is lost
	$(Q)tests/lib/deps.sh
	$(Q)$(MAKE) --no-print-directory all $(DEMO_BIN)
	$(Q)tests/demo/demo.sh $(B)

deps: ## install the Debian packages that the build needs and this machine lacks
	$(Q)tests/lib/deps.sh

$(B)/ipcmap.pc: Makefile
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(prefix)' 'libdir=$(libdir)' 'includedir=$(includedir)' '' \
	  'Name: ipcmap' 'Description: key->value map in shared memory' 'Version: $(VERSION)' \
	  'Libs: -L$${libdir} -lipcmap' 'Libs.private: -llz4 -pthread' 'Cflags: -I$${includedir}' > $@

# ---- checks ----

NPROC   := $(shell nproc 2>/dev/null || echo 2)
SUB      = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(NPROC))
PAGES   := $(wildcard man/*.[1357])
HEADERS  = $(wildcard shm/*.h core/*.h)
DEPS_SH := $(wildcard tests/lib/deps.sh)
title    = @printf '\n== %s\n' '$(1)'

test: ## everything that must pass before a commit; T=word runs the tests whose names contain it
	$(if $(DEPS_SH),$(Q)$(DEPS_SH))
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=debug all build/debug/test-ipcmap
	$(Q)$(SUB) VARIANT=release all build/release/test-ipcmap
	$(Q)$(SUB) VARIANT=release lint check-headers
	$(call title,examples of the manual and README.md)
	$(Q)tests/lint/examples build/release
	$(Q)tests/lint/examples-shell build/release
	$(call title,examples)
	$(Q)tests/examples/run.sh build/release $(T)
	$(call title,independent reader)
	$(Q)tests/golden/run.sh build/release
	$(if $(wildcard tests/cli/run.sh),$(call title,command line))
	$(if $(wildcard tests/cli/run.sh),$(Q)IPCMAP=build/release/ipcmap tests/cli/run.sh $(T))
	$(call title,test-ipcmap debug)
	$(Q)build/debug/test-ipcmap $(T)
	$(call title,test-ipcmap release)
	$(Q)build/release/test-ipcmap $(T)
	$(Q)tests/lint/leftovers

# freed memory is kept from reuse, and every fork() copies its page tables: hence the smaller quarantine
asan: ## the test program and the tool under AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=asan build/asan/test-ipcmap build/asan/ipcmap
	$(Q)ASAN_OPTIONS=detect_stack_use_after_return=1:quarantine_size_mb=16:$$ASAN_OPTIONS \
	  UBSAN_OPTIONS=print_stacktrace=1 build/asan/test-ipcmap $(T)
	$(Q)IPCMAP=build/asan/ipcmap tests/cli/run.sh $(T)
	$(Q)tests/lint/leftovers

tsan: ## the test program under ThreadSanitizer, payload copied word by word
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=tsan build/tsan/test-ipcmap build/tsan/ipcmap
	$(Q)TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0:$$TSAN_OPTIONS \
	  build/tsan/test-ipcmap $(T)
	$(Q)tests/lint/leftovers

valgrind: ## the test program and its forked children under valgrind (leaks are asan's business)
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=valgrind build/valgrind/test-ipcmap build/valgrind/ipcmap
	$(Q)valgrind -q --error-exitcode=99 --exit-on-first-error=yes --leak-check=no --fair-sched=yes \
	  build/valgrind/test-ipcmap $(T)
	$(Q)tests/lint/leftovers

lint: $(B)/libipcmap.so.$(SOMAJOR) $(B)/ipcmap ## flow of includes, pairs of memory orders, exported symbols, manual pages
	$(call title,lint)
	$(Q)export CC='$(CC)'; rc=0; \
	  tests/lint/layers || rc=1; \
	  tests/lint/orders || rc=1; \
	  tests/lint/offsets || rc=1; \
	  tests/lint/exports $< || rc=1; \
	  $(if $(filter release,$(VARIANT)),tests/lint/hardening $^ || rc=1;) \
	  tests/lint/pages || rc=1; \
	  if command -v python3 >/dev/null; then python3 -B tests/mutants/run.py --check || rc=1; \
	  else echo 'python3 is not installed: faults of tests/mutants not looked at'; fi; \
	  if command -v mandoc >/dev/null; then mandoc -Tlint -W warning $(PAGES) || rc=1; \
	  else echo 'mandoc is not installed: manual pages not checked'; fi; \
	  exit $$rc

check-headers: ## ipcmap.h as C11 and as C++17, each of our headers alone
	$(call title,headers)
	@mkdir -p build
	$(Q)printf '#include "ipcmap.h"\nstruct ipcmap_options o = IPCMAP_OPTIONS_INIT;\nstruct ipcmap_put_options p = IPCMAP_PUT_INIT;\n' \
	  > build/header.c
	$(Q)$(CC) -std=c11 -pedantic $(WARN) -Icore -fsyntax-only build/header.c
	$(Q)if command -v $(CXX) >/dev/null; then $(CXX) -std=c++17 -pedantic -Wall -Wextra -Wconversion -Werror -Icore -fsyntax-only -x c++ build/header.c; \
	  else echo '$(CXX) is not installed: ipcmap.h not checked as C++'; fi
	$(Q)for h in $(HEADERS); do echo "#include \"$$h\"" | \
	  $(CC) $(BASE) $(F_debug) -I. -Ishm -Icore -fsyntax-only -x c - || exit 1; done

format: ## clang-format over the C sources, in place
	clang-format -i $(wildcard shm/*.[ch] core/*.[ch] tools/*.[ch] tests/*/*.[ch])

# ---- measuring and the long tests: tests/*/*.mk ----

include $(wildcard tests/*/*.mk)

# ---- delivery ----

SOFULL  := libipcmap.so.$(VERSION)
# "PAGE NAME" a line: the other names of the section 3 pages, each of which gets a page that is a link
MANLINKS = awk '/^\.Sh/ { on = $$2 == "NAME" } on && $$1 == ".Nm" { p = FILENAME; sub(/.*\//, "", p); \
           if ($$2 ".3" != p) print p, $$2 }' $(filter %.3,$(PAGES))
# where bash, zsh and fish look for completions
COMPLETIONS := bash:bash-completion/completions/ipcmap zsh:zsh/site-functions/_ipcmap \
               fish:fish/vendor_completions.d/ipcmap.fish

install: all ## library, header, ipcmap.pc, tool, manual pages and completions; DESTDIR and prefix are honored
	@rm -f $(B)/ipcmap.pc
	$(Q)$(MAKE) -s $(B)/ipcmap.pc
	install -d '$(DESTDIR)$(libdir)/pkgconfig' '$(DESTDIR)$(includedir)' '$(DESTDIR)$(bindir)'
	install -m 644 $(B)/libipcmap.a '$(DESTDIR)$(libdir)/libipcmap.a'
	install -m 755 $(B)/libipcmap.so.$(SOMAJOR) '$(DESTDIR)$(libdir)/$(SOFULL)'
	ln -sf $(SOFULL) '$(DESTDIR)$(libdir)/libipcmap.so.$(SOMAJOR)'
	ln -sf libipcmap.so.$(SOMAJOR) '$(DESTDIR)$(libdir)/libipcmap.so'
	install -m 644 $(B)/ipcmap.pc '$(DESTDIR)$(libdir)/pkgconfig/ipcmap.pc'
	install -m 644 core/ipcmap.h '$(DESTDIR)$(includedir)/ipcmap.h'
	install -m 755 $(B)/ipcmap '$(DESTDIR)$(bindir)/ipcmap'
	for p in $(PAGES); do install -D -m 644 $$p "$(DESTDIR)$(mandir)/man$${p##*.}/$${p##*/}" || exit 1; done
	$(MANLINKS) | while read -r p n; do f="$(DESTDIR)$(mandir)/man3/$$n.3"; rm -f "$$f" && \
	  echo ".so man3/$$p" >"$$f" && chmod 644 "$$f" || exit 1; done
	for c in $(COMPLETIONS); do f="$(DESTDIR)$(datadir)/$${c#*:}"; install -d "$${f%/*}" && \
	  $(B)/ipcmap completion "$${c%%:*}" >"$$f" && chmod 644 "$$f" || exit 1; done

uninstall: ## remove what install put there; same DESTDIR and prefix
	rm -f '$(DESTDIR)$(libdir)/libipcmap.a' '$(DESTDIR)$(libdir)/$(SOFULL)' \
	  '$(DESTDIR)$(libdir)/libipcmap.so.$(SOMAJOR)' '$(DESTDIR)$(libdir)/libipcmap.so' \
	  '$(DESTDIR)$(libdir)/pkgconfig/ipcmap.pc' '$(DESTDIR)$(includedir)/ipcmap.h' '$(DESTDIR)$(bindir)/ipcmap'
	for p in $(PAGES); do rm -f "$(DESTDIR)$(mandir)/man$${p##*.}/$${p##*/}"; done
	$(MANLINKS) | while read -r p n; do rm -f "$(DESTDIR)$(mandir)/man3/$$n.3"; done
	for c in $(COMPLETIONS); do rm -f "$(DESTDIR)$(datadir)/$${c#*:}"; done

dist: ## build/ipcmap-VERSION.tar.gz from the last commit
	@mkdir -p build
	git archive --format=tar.gz --prefix=ipcmap-$(VERSION)/ -o build/ipcmap-$(VERSION).tar.gz HEAD

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t24

-include $(LIB_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(SUITE_OBJ:.o=.d) $(TESTLIB_OBJ:.o=.d) \
         $(DEMO_BIN:$(B)/demo/%=$(B)/tests/demo/%.d)
