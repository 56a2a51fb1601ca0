# microtome: `make demo` shows everything in a few minutes, `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
SUITE ?= paper
REPORT ?= report
# Options for the jobs, such as RUN=--local or RUN="--address auto --gpus-per-job 0.5".
RUN ?=
# Processes that the tests are spread over.
WORKERS ?= 2
# Index to take torch from, where the default one has the wrong build for this machine (see CONTRIBUTING).
TORCH_INDEX ?=
# The base of the images, such as python:3.11-slim@sha256:<digest>; that of the Dockerfile by default.
BASE ?=

# Of the checkout, "-dirty" where it has changes: an image says what it was made of.
COMMIT = $(shell git rev-parse HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null; test $$? = 1 && echo -dirty)
MICROTOME = $(VENV)/bin/microtome
INSTALLED = $(VENV)/.installed
TORCH = $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-thorough kill-check families check bench cluster-check
.PHONY: report image-gpu image-cpu clean
.PHONY: finetune-all extract-all analyse-all probe-all attention-all similarity-all

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+( [a-z-]+)*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  SUITE=$(SUITE)  RUN='$(RUN)'  PYTHON=$(PYTHON)"

setup: $(INSTALLED)  ## make .venv from the pinned versions, unless it is there

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "microtome needs Python 3.11 or later; say which: make setup PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	PYTHONWARNINGS=ignore $(VENV)/bin/pip install --quiet -c constraints.txt -e '.[models,dev]'
	@$(VENV)/bin/python -m compileall -q store analysis jobs
	@touch $@

demo: setup  ## the whole chain on embedded data and tiny models, on a CPU, offline; then a report
	@HF_HUB_OFFLINE=1 $(MICROTOME) suite run demo $(RUN)
	@$(MICROTOME) report demo --out $(REPORT)

test: setup  ## the tests; those on real corpora run if MICROTOME_DATA is set
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal

test-thorough: setup  ## the tests with every point that a job is killed at, and every case like another
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal --thorough

kill-check: setup  ## kill jobs, commits, pushes and pulls at every point; a table of what was done twice
	@$(VENV)/bin/python -m pytest -m kills -n $(WORKERS) --dist worksteal --thorough

families: setup  ## what each architecture can be used for: the tests of them, and a table
	@$(VENV)/bin/python -m pytest tests/jobs/models/test_families.py --thorough --family-table

check: setup  ## formatting, lint and types
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

finetune-all: setup  ## train every model of SUITE, and let it write and answer if the suite asks (GPU)
	@$(MICROTOME) suite run $(SUITE) --stage training --stage generation $(RUN)

extract-all: setup  ## cache the activations of every checkpoint of SUITE (GPU)
	@$(MICROTOME) suite run $(SUITE) --stage extraction $(RUN)

analyse-all: setup  ## every analysis of the caches of SUITE; the three below are parts of it (CPU)
	@$(MICROTOME) suite run $(SUITE) --stage analysis $(RUN)

probe-all: setup  ## probe every cache of SUITE (CPU)
	@$(MICROTOME) suite run $(SUITE) --only probe $(RUN)

attention-all: setup  ## compare the attentions of SUITE before and after (CPU)
	@$(MICROTOME) suite run $(SUITE) --only attention $(RUN)

similarity-all: setup  ## compare the hidden states of SUITE, layer with layer (CPU)
	@$(MICROTOME) suite run $(SUITE) --only similarity $(RUN)

report: setup  ## write the results of SUITE so far into REPORT/index.html
	@$(MICROTOME) report $(SUITE) --out $(REPORT)

bench: setup  ## the benchmarks, as ratios; writes bench.json
	@$(VENV)/bin/python -m tests.bench.run
	@$(VENV)/bin/python -m tests.bench.transfers

cluster-check: setup  ## a suite on three Ray nodes without a common disk, two of them killed; needs no network
	@$(VENV)/bin/python -m tests.cluster.check

image-gpu:  ## build the image that runs everything, with CUDA
	docker build -f docker/gpu.Dockerfile $(if $(BASE),--build-arg BASE=$(BASE)) --build-arg COMMIT=$(COMMIT) -t microtome-gpu .

image-cpu:  ## build the image for the analysis on a CPU; TORCH_INDEX names the index of CPU builds
	@test -n "$(TORCH_INDEX)" || echo "TORCH_INDEX is not set: torch may bring CUDA libraries along (see CONTRIBUTING)" >&2
	docker build -f docker/cpu.Dockerfile $(if $(BASE),--build-arg BASE=$(BASE)) --build-arg COMMIT=$(COMMIT) \
	  --build-arg TORCH_INDEX=$(TORCH_INDEX) -t microtome-cpu .

clean:  ## remove caches of the tools; results, report and .venv stay
	rm -rf .mypy_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
