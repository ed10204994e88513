# SPDX-License-Identifier: MIT
# mutants.mk - faults planted one at a time, each of which a test must notice

.PHONY: mutants
mutants: ## one-line faults in the sources, each must be caught by the test named for it; M='WORD ...' for some
	$(Q)python3 -B tests/mutants/run.py -j $(NPROC) $(M)
