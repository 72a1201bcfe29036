# Every target is one line over the command line `harness`; the first one that needs it makes the environment, once.
# Every suite of suites/ is a target: `make table1`, `make controls`, ... PROFILE=smoke and PROFILE=paper change the scale.
PYTHON  ?= python3
VENV    ?= .venv
PROFILE ?= mini
WORKERS ?=
SUITE   ?= table1
CHECK   ?=
ROOT    ?=
REHEARSE ?=
HARNESS  = $(VENV)/bin/harness
RUN      = $(HARNESS) run --profile $(PROFILE) $(if $(WORKERS),--workers $(WORKERS))

SUITES   = $(basename $(notdir $(wildcard suites/*.toml)))

.PHONY: help $(SUITES) smoke rehearse check bench gpu test lint clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@for suite in $(SUITES); do printf '%s\t%s\n' "$$suite" "$$(sed -n 's/^title = "\(.*\)"$$/\1/p' suites/$$suite.toml | head -n 1)"; done | expand -t 12

$(SUITES): $(VENV)/installed
	@$(RUN) $@

smoke: $(VENV)/installed  ## the whole path of Table 1 with a budget of seconds
	@$(HARNESS) run --profile smoke table1

rehearse: $(VENV)/installed  ## would a run under PROFILE=paper end? checks, then short runs: make rehearse SUITE=table1 ROOT=/data/cityscapes
	@$(HARNESS) rehearse --profile $(if $(filter mini,$(PROFILE)),paper,$(PROFILE)) $(if $(ROOT),--data-root $(ROOT)) $(REHEARSE) $(SUITE)

check: $(VENV)/installed  ## compare measured rows with the committed baseline: make check SUITE=controls PROFILE=mini
	@$(HARNESS) check --profile $(PROFILE) $(CHECK) $(SUITE)

bench: $(VENV)/installed  ## speed, as ratios against references in the same run
	@$(VENV)/bin/pytest tests/bench --benchmark-enable -m "" -q -s

gpu: $(VENV)/installed  ## speed and memory of the models at paper size on this GPU, into results/gpu
	@$(VENV)/bin/pytest tests/bench/test_gpu.py -m slow -q -rs

test: $(VENV)/installed  ## the fast tests
	@OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n auto --maxprocesses 4

lint: $(VENV)/installed  ## style, types and layers
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/pytest -q tests/test_layers.py

clean:  ## remove the environment and everything that was made
	rm -rf $(VENV) results/store results/reports

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV), once: several GB, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[run,dev]'
	@touch $@
