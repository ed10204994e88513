# SPDX-License-Identifier: MIT
# model.mk - the protocols as models, explored by SPIN

.PHONY: model
model: ## lock, reads, pins and redo lists as models, with the faults that they must find; M=word for some, M=long
	$(Q)tests/model/deps.sh
	@mkdir -p build/model
	$(Q)python3 -B tests/model/run.py build/model $(if $(M),'$(M)')
