# Every target is one line over the command line `harness`; the first one that needs it makes the environment, once.
PYTHON  ?= python3
VENV    ?= .venv
PROFILE ?= mini
WORKERS ?=
CHECK   ?=
HARNESS  = $(VENV)/bin/harness
SUITE    = $(HARNESS) run --profile $(PROFILE) $(if $(WORKERS),--workers $(WORKERS))

.PHONY: help table1 table2 ablation controls smoke check bench gpu test lint clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

table1: $(VENV)/installed  ## synthesise, train OneFormer, evaluate: the paper's Table 1
	@$(SUITE) table1

table2: $(VENV)/installed  ## the same for FastInst: the paper's Table 2
	@$(SUITE) table2

ablation: $(VENV)/installed  ## image quality of the generators: the paper's ablation
	@$(SUITE) ablation

controls: $(VENV)/installed  ## zoom, count or appearance: what the gain is made of
	@$(SUITE) controls

smoke: $(VENV)/installed  ## the whole path of Table 1 with a budget of seconds
	@$(HARNESS) run --profile smoke table1

check: $(VENV)/installed  ## compare the measured rows with the committed baseline
	@$(HARNESS) check --profile $(PROFILE) $(CHECK) table1

bench: $(VENV)/installed  ## speed, as ratios against references in the same run
	@$(VENV)/bin/pytest tests/bench --benchmark-enable -m "" -q -s

gpu: $(VENV)/installed  ## speed and memory of the models at paper size on this GPU, into results/gpu
	@$(VENV)/bin/pytest tests/bench/test_gpu.py -m slow -q -rs

test: $(VENV)/installed  ## the fast tests
	@OMP_NUM_THREADS=1 $(VENV)/bin/pytest

lint: $(VENV)/installed  ## style
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

clean:  ## remove the environment and everything that was made
	rm -rf $(VENV) results/store results/reports

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV), once: several GB, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[run,dev]'
	@touch $@
