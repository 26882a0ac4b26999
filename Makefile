# Every target is one readable command. `make pipeline` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
DATA ?= ../shared/data
CORPUS ?= ../shared/corpus
MODEL ?= nano
MINUTES ?= 15
SEED ?= 1
KILLS ?= 100
ONLY ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable
# Most of twenty thousand modules are never imported; those that are get compiled then, once, also where the environment says that nothing be written.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup pipeline test test-lowest lint docs bench reproduce nano clean help faults

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.package: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "grasper needs Python 3.11 or newer, found " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) .
	$(BIN)/grasper doctor
	touch $@

.venv/.tools: .venv/.package
	$(INSTALL) ".[dev]"
	touch $@

setup: .venv/.package  ## create .venv from the pinned constraints, and check that all works

pipeline: setup  ## run all six stages on the bundled data set into runs/harbour, with MODEL=nano, a file of experiments/models or any other model
	$(BIN)/grasper pipeline -c experiments/harbour.yaml $(or $(addprefix -c ,$(wildcard experiments/models/$(MODEL).yaml)),--set model.name=$(MODEL)) --run harbour$(if $(filter-out nano,$(MODEL)),-$(subst /,-,$(MODEL)))

test: .venv/.tools  ## lint, type-check and run the test suite
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

TORCH ?= torch
test-lowest:  ## run the tests with the lowest versions that pyproject.toml allows (TORCH=torch==2.13.0 where only one build can be had)
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	$(PYTHON) experiments/lowest.py --without $(if $(filter torch,$(TORCH)),,torch) > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/lowest.txt $(TORCH) --editable ".[excel,sql]" pytest pytest-xdist hypothesis rank-bm25
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

faults: .venv/.tools  ## kills, full disks, damage, odd servers, hostile input, for MINUTES; ONLY=kills:17 repeats one case
	PYTHONPATH=tests $(BIN)/python -m faults --minutes $(MINUTES) --seed $(SEED) --kills $(KILLS) --only '$(ONLY)'

lint: .venv/.tools  ## ruff and mypy only
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/.tools  ## build the documentation site into .cache/site; broken links are errors
	$(BIN)/mkdocs build --strict

bench: .venv/.tools  ## measure link prediction and decoding; results go to experiments/results
	$(INSTALL) ".[bench]"
	$(BIN)/python experiments/bench/link_prediction.py --data $(DATA)
	$(BIN)/python experiments/bench/decoding.py

reproduce: setup  ## the benchmark's four data sets, from DATA
	for set in hotel:hotel stylized:gap amazon:amazon multilingual:b2w; do \
	  $(BIN)/grasper pipeline -c experiments/$${set%%:*}.yaml --data $(DATA)/$${set##*:} --run $${set%%:*} --split dev-b || exit $$?; \
	done

nano: setup  ## train the embedded language model from CORPUS and DATA
	$(BIN)/python -m experiments.nano.train --corpus $(CORPUS) --data $(DATA)

clean:  ## remove runs and caches, keep .venv
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache
