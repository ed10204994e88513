# SPDX-License-Identifier: MIT
# bench.mk - the benchmark: each peer is a program of its own, built when its header is there

BB       := build/bench
# what Debian would ship: -O2, no -march=native; asserts off, as in our release build
B_C       = -std=gnu11 -D_GNU_SOURCE -O2 -DNDEBUG -g $(WARN) $(CFLAGS)
B_CXX     = -std=c++20 -D_GNU_SOURCE -O2 -DNDEBUG -g -Wall -Wextra -Wshadow -Werror $(CXXFLAGS)
B_IPCMAP := build/release/libipcmap.so.$(SOMAJOR)
B_DRIVER := $(BB)/obj/main.o $(BB)/obj/work.o $(BB)/obj/stream.o
B_HEADS  := $(wildcard tests/bench/*.h tests/bench/*.hpp)
# the peers' headers are added below; redis-tools has the server too, and starts no service
B_NEEDS  := =python3:python3 =pkg-config:pkg-config =gnuplot:gnuplot-nox \
            =redis-check-rdb:redis-tools =memcached:memcached
B_PEERS  :=

$(BB)/obj/%.o: tests/bench/%.c $(B_HEADS) Makefile tests/bench/bench.mk
	@mkdir -p $(@D)
	$(call say,  CC      $@)
	$(Q)$(CC) $(B_C) -c -o $@ $<

# name, source, a header that must be there, its package, flags, libraries
define peer
B_PEERS += $(BB)/peers/peer-$(1)
B_NEEDS += $(3):$(4)
$(BB)/peers/peer-$(1): tests/bench/$(2) $(B_DRIVER) $(B_HEADS) tests/bench/bench.mk
	@mkdir -p $$(@D)
	$(Q)if ! echo '#include <$(3)>' | $$(CXX) -E -x c++ - >/dev/null 2>&1; then \
	  rm -f $$@; echo '  MISSING peer-$(1): no <$(3)> (package $(4))'; \
	else \
	  echo '  LD      $$@' && \
	  $(if $(filter %.cpp,$(2)),$$(CXX) $$(B_CXX),$$(CC) $$(B_C)) $(5) -o $$@ \
	    $$(filter %.c %.cpp %.o,$$^) $(6) -lm -pthread; \
	fi
endef

$(eval $(call peer,floor,peer-floor.c,xxhash.h,libxxhash-dev))
$(eval $(call peer,ipcmap,peer-ipcmap.c,stdint.h,libc6-dev,-Icore,$(B_IPCMAP) $$(B_RPATH)))
$(foreach v,50:FILL=50 90:FILL=90 huge:HUGE=1,$(eval \
  $(call peer,ipcmap-$(word 1,$(subst :, ,$(v))),peer-ipcmap.c,stdint.h,libc6-dev,-Icore -D$(word 2,$(subst :, ,$(v))),$(B_IPCMAP) $$(B_RPATH))))
$(eval $(call peer,absl,peer-absl.cpp,absl/container/flat_hash_set.h,libabsl-dev,,$$(B_ABSL)))
$(eval $(call peer,absl-str,peer-absl.cpp,absl/container/flat_hash_map.h,libabsl-dev,-DABSL_STRINGS,$$(B_ABSL)))
$(eval $(call peer,lmdb,peer-lmdb.c,lmdb.h,liblmdb-dev,,-llmdb))
$(eval $(call peer,boost1,peer-boost.cpp,boost/unordered_map.hpp,libboost-dev,-DSHARDS=1))
$(eval $(call peer,boost64,peer-boost.cpp,boost/unordered_map.hpp,libboost-dev,-DSHARDS=64))
$(eval $(call peer,tdb,peer-tdb.c,tdb.h,libtdb-dev,,-ltdb))
$(eval $(call peer,urcu,peer-urcu.c,urcu/rculfhash.h,liburcu-dev,,-lurcu -lurcu-common -lurcu-cds))
$(eval $(call peer,cuckoo,peer-cuckoo.cpp,libcuckoo/cuckoohash_map.hh,libcuckoo-dev))
$(eval $(call peer,tbb,peer-tbb.cpp,tbb/concurrent_hash_map.h,libtbb-dev,,-ltbb))
$(eval $(call peer,stdmap,peer-stdmap.cpp,unordered_map,g++))
$(eval $(call peer,redis,peer-redis.c,hiredis/hiredis.h,libhiredis-dev,,-lhiredis))
$(eval $(call peer,memcached,peer-memcached.c,libmemcached/memcached.h,libmemcached-dev,,-lmemcached))

B_ABSL   = $$(pkg-config --libs absl_flat_hash_map absl_flat_hash_set)
B_RPATH := -Wl,-rpath,$(CURDIR)/build/release
$(BB)/peers/peer-ipcmap $(BB)/peers/peer-ipcmap-50 $(BB)/peers/peer-ipcmap-90 $(BB)/peers/peer-ipcmap-huge: $(B_IPCMAP)

# not installed for this: it is there or not
B_PEERS += $(BB)/peers/peer-go-sync $(BB)/peers/peer-go-shards
$(BB)/peers/peer-go-%: $(wildcard tests/bench/go/*.go)
	@mkdir -p $(@D)
	$(Q)if ! command -v go >/dev/null; then rm -f $@; echo '  MISSING peer-go-$*: no go (package golang-go)'; \
	else echo '  GO      $@' && GOCACHE='$(CURDIR)/$(BB)/go-cache' GO111MODULE=off go build -o $@ $^; fi

# programs that measure ipcmap alone
$(BB)/instr $(BB)/pause: $(BB)/%: tests/bench/%.c $(B_IPCMAP) tests/bench/bench.mk
	@mkdir -p $(@D)
	$(call say,  LD      $@)
	$(Q)$(CC) $(B_C) -Icore -o $@ $< $(B_IPCMAP) $(B_RPATH) -pthread

.PHONY: bench bench-quick bench-instr bench-pause bench-peers c2c
bench-peers: $(B_PEERS)

B_START = $(Q)tests/bench/deps.sh $(B_NEEDS)

bench: ## all cases beside the peers, 25 minutes: build/bench/report.md; B_ARGS='cases=1m peers=ipcmap,lmdb' for some
	$(B_START)
	$(Q)$(SUB) -k bench-peers $(BB)/pause
	$(Q)rc=0; python3 -B tests/bench/bench.py $(B_ARGS) || rc=1; \
	  $(if $(B_ARGS),,$(BB)/pause >$(BB)/pause.md || rc=1; cat $(BB)/pause.md >>$(BB)/report.md;) exit $$rc

bench-quick: ## get and 90/10, two sizes, six peers, in about a minute
	$(B_START)
	$(Q)$(SUB) -k bench-peers
	$(Q)python3 -B tests/bench/bench.py quick $(B_ARGS)

bench-instr: ## instructions of a get, put, del and mget, counted by callgrind
	$(Q)tests/bench/deps.sh valgrind/callgrind.h:valgrind
	$(Q)$(SUB) $(BB)/instr
	$(Q)tests/bench/instr.sh $(BB)/instr $(BB)/callgrind

bench-pause: ## slowest operations of a full map, time to attach, delay after a kill
	$(Q)$(SUB) $(BB)/pause
	$(Q)$(BB)/pause

c2c: ## which lines two workers fight over, where the processor counts that: build/bench/c2c.txt
	$(Q)tests/bench/deps.sh =perf:linux-perf =python3:python3
	$(Q)$(SUB) $(BB)/peers/peer-ipcmap
	$(Q)if ! perf c2c record -o $(BB)/c2c.data -- true >$(BB)/c2c.err 2>&1; then \
	  echo 'c2c: this machine does not count memory accesses:' >&2; cat $(BB)/c2c.err >&2; exit 1; fi
	$(Q)perf c2c record -o $(BB)/c2c.data -- python3 -B tests/bench/bench.py \
	  cases=1m runs=50/50 peers=ipcmap workers=2
	$(Q)perf c2c report --stdio -i $(BB)/c2c.data >$(BB)/c2c.txt && echo $(BB)/c2c.txt
