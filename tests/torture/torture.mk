# SPDX-License-Identifier: MIT
# torture.mk - kills by the thousand, of ipcmap and of its peers

T_KILLS  ?= 10000
T_PEER_KILLS ?= 2000
T_SECONDS ?= 120
T_SEED   ?=
TT       := build/torture
TT_LIB   := tests/lib/oracle.c tests/lib/t.c
TT_OBJ    = $(patsubst %.c,$(B)/%.o,$(wildcard tests/torture/*.c) $(TT_LIB))
TT_ARGS   = $(T_SEED:%=seed=%)

$(B)/torture: $(TT_OBJ) $(B)/libipcmap.a
	$(call say,  LD      $@)
	$(Q)$(CC) $(SAN) $(LDFLAGS) -o $@ $^ $(call pkg,--libs,$(PKGS_LIB)) -pthread

.PHONY: torture torture-peers
torture: ## T_KILLS=10000 kills under a load of everything, a quarter of them at crash points; T_SEED= repeats a run's choices
	$(Q)tests/lint/leftovers --sweep
	$(Q)$(SUB) VARIANT=release build/release/torture
	$(Q)$(SUB) VARIANT=debug build/debug/torture
	$(Q)build/release/torture kills=$$(($(T_KILLS) * 3 / 4)) reads=20 $(TT_ARGS)
	$(Q)build/debug/torture kills=$$(($(T_KILLS) / 4)) hooks=1 $(TT_ARGS)
	$(Q)tests/lint/leftovers

# ---- the same oracle over other stores ----

TT_FLAGS  = -D_GNU_SOURCE -O2 -DNDEBUG -DIM_CHECK=0 -g -Ishm -Icore -Itests/lib $(call pkg,--cflags,$(PKGS_TEST)) \
            -DBUILD='"$(B)"' -DT_VARIANT='"release"' -DT_SLOW=0
TT_HEADS := $(wildcard tests/torture/peers/*.h tests/lib/*.h)
TT_PEERS :=
TT_NEEDS :=

$(TT)/obj/%.o: tests/lib/%.c $(TT_HEADS) Makefile tests/torture/torture.mk
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(WARN) $(TT_FLAGS) $(CFLAGS) -c -o $@ $<

$(TT)/obj/driver.o: tests/torture/peers/driver.c $(TT_HEADS) Makefile tests/torture/torture.mk
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(WARN) $(TT_FLAGS) $(CFLAGS) -c -o $@ $<

# name, source, a header that must be there, its package, flags, libraries
define tt_peer
TT_PEERS += $(TT)/peer-$(1)
TT_NEEDS += $(3):$(4)
$(TT)/peer-$(1): tests/torture/peers/$(2) $(TT)/obj/driver.o $(TT)/obj/oracle.o $(TT)/obj/t.o build/release/libipcmap.a
	@mkdir -p $$(@D)
	$(Q)if ! echo '#include <$(3)>' | $$(CXX) -E -x c++ - >/dev/null 2>&1; then \
	  rm -f $$@; echo '  MISSING peer-$(1): no <$(3)> (package $(4))'; \
	else \
	  echo '  LD      $$@' && \
	  $(if $(filter %.cpp,$(2)),$$(CXX) -std=c++17 -Wall -Wextra -Werror,$$(CC) -std=gnu11 $$(WARN)) $$(TT_FLAGS) $(5) \
	    -Itests/torture/peers -o $$@ $$^ $(6) $(call pkg,--libs,$(PKGS_LIB)) -pthread; \
	fi
endef

$(eval $(call tt_peer,ipcmap,peer-ipcmap.c,stdint.h,libc6-dev))
$(eval $(call tt_peer,lmdb,peer-lmdb.c,lmdb.h,liblmdb-dev,,-llmdb))
$(eval $(call tt_peer,tdb-transactions,peer-tdb.c,tdb.h,libtdb-dev,-DTRANSACTIONS,-ltdb))
$(eval $(call tt_peer,tdb-mutexes,peer-tdb.c,tdb.h,libtdb-dev,,-ltdb))
$(eval $(call tt_peer,boost,peer-boost.cpp,boost/unordered_map.hpp,libboost-dev))

torture-peers: ## T_PEER_KILLS=2000 kills of ipcmap, LMDB, tdb, Boost, at most T_SECONDS=120 each: build/torture/peers.md
	$(Q)tests/lint/leftovers --sweep
	$(Q)tests/bench/deps.sh $(TT_NEEDS)
	$(Q)$(SUB) VARIANT=release build/release/libipcmap.a
	$(Q)$(SUB) -k $(TT_PEERS)
	@printf '%s\n' '| store | used with | kills | acknowledged writes | lost | wrong | broken | hung | in |' \
	  '|---|---|---:|---:|---:|---:|---:|---:|---:|' >$(TT)/peers.md
	$(Q)for p in $(TT_PEERS); do [ ! -x $$p ] || $$p seconds=$(T_SECONDS) kills=$(T_PEER_KILLS) $(TT_ARGS) >>$(TT)/peers.md || exit 1; done
	@cat $(TT)/peers.md
	$(Q)tests/lint/leftovers

-include $(TT_OBJ:.o=.d)
