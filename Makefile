# Needs python3 (3.11 or newer) and make; everything else is put into .venv from the lock files.
# ARGS is passed on: make demo ARGS="--tickets 50", make test-only ARGS="tests/unit -k budget".

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SYNC := $(UV) pip install --quiet --python $(BIN)/python --require-hashes
EDITABLE := $(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock"
SOURCES := src tests tools $(wildcard benchmarks examples)
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-only lint format types docs bench sim crash console console-check lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## the demo on real tickets
	@$(BIN)/penstock demo $(ARGS)

# Hundreds of tests start a program: its modules are compiled once, also where the environment forbids to keep that.
test test-only sim crash: export PYTHONDONTWRITEBYTECODE :=

test: lint ## everything that CI checks
	@$(BIN)/python tools/check.py

test-only: $(VENV)/.dev
	@$(BIN)/pytest $(ARGS)

lint: $(VENV)/.dev ## style, layers, generated documents
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "hint: make format"; exit 1; }
	@$(BIN)/lint-imports --no-logo > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }
	@$(BIN)/python tools/generate_docs.py --check

types: $(VENV)/.dev ## mypy --strict
	@$(BIN)/mypy

format: $(VENV)/.dev ## put the code into the house style
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

docs: $(VENV)/.dev ## write the generated reference pages
	@$(BIN)/python tools/generate_docs.py

bench: .venv-bench/.bench ## ratios against peers, in one run
	@.venv-bench/bin/python -m benchmarks $(ARGS)

sim: $(VENV)/.dev ## the engine under faults: SEEDS=100000 FROM=0, or SEED=123 with its trace; else also new property cases
ifneq ($(SEED),)
	@$(BIN)/python tools/simulate.py --seed $(SEED)
else
	@$(BIN)/python tools/simulate.py $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FROM),--from $(FROM))
ifeq ($(SEEDS),)
	@HYPOTHESIS_PROFILE=explore $(BIN)/pytest tests/sim --ignore tests/sim/test_simulation.py \
	  --ignore tests/sim/test_planted_bugs.py $(ARGS)
endif
endif

crash: $(VENV)/.dev ## real crashes, each kind for CRASH_SECONDS (60) with each of CRASH_SEEDS (1)
	@CRASH_SECONDS=$${CRASH_SECONDS:-60} $(BIN)/pytest tests/crash $(ARGS)

ifneq ($(shell command -v npm),)
console: console/node_modules/.package-lock.json ## build the console into the package (needs Node 20.19 or newer)
	@cd console && npm run --silent build

console-check: console/node_modules/.package-lock.json ## the console: types, style, tests, build, sizes
	@cd console && npm run --silent check

console/node_modules/.package-lock.json: console/package-lock.json console/package.json
	@cd console && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
else
console console-check:
	@echo "SKIPPED: no npm on PATH, so the console is neither built nor checked"; echo "hint: install Node 20.19 or newer"
endif

lock: $(UV) ## bring the lock files up to pyproject.toml, moving as little as possible (UPGRADE=--upgrade moves all)
	@$(COMPILE) $(UPGRADE) requirements/bootstrap.in -o requirements/bootstrap.lock
	@$(COMPILE) $(UPGRADE) pyproject.toml -o requirements/run.lock
	@$(COMPILE) $(UPGRADE) pyproject.toml --group dev -c requirements/run.lock -o requirements/dev.lock
	@$(COMPILE) $(UPGRADE) pyproject.toml --group bench -c requirements/run.lock -o requirements/bench.lock
	@$(COMPILE) $(UPGRADE) requirements/phoenix.in -o requirements/phoenix.lock
	@$(COMPILE) $(UPGRADE) requirements/policy.in -o requirements/policy.lock
	@$(COMPILE) $(UPGRADE) requirements/toolkit.in -o requirements/toolkit.lock
	@$(COMPILE) $(UPGRADE) requirements/agentboundary.in -o requirements/agentboundary.lock
	@$(COMPILE) $(UPGRADE) requirements/agentdojo.in -o requirements/agentdojo.lock
	@$(COMPILE) $(UPGRADE) requirements/litellm.in --override requirements/litellm.overrides -o requirements/litellm.lock

clean: ## remove what the targets made, not the data folder
	@rm -rf $(VENV) .venv-bench .venv-phoenix .venv-policy .venv-toolkit .venv-agentboundary .venv-agentdojo .venv-litellm dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
	  console/node_modules console/dist src/penstock/server/console

$(UV): requirements/bootstrap.lock
	@for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; echo "error: no Python 3.11 or newer on PATH"; echo "hint: make PYTHON=/path/to/python3"; exit 1
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	@touch $@

$(VENV)/.run: requirements/run.lock pyproject.toml | $(UV)
	@$(SYNC) -r requirements/run.lock
	@$(EDITABLE)
	@touch $@

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(UV)
	@$(SYNC) -r requirements/dev.lock
	@$(EDITABLE)
	@touch $@ $(VENV)/.run

.venv-bench/.bench: requirements/bench.lock pyproject.toml | $(UV)
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-bench
	@$(UV) pip install --quiet --python .venv-bench/bin/python --require-hashes -r requirements/bench.lock
	@$(UV) pip install --quiet --python .venv-bench/bin/python --no-deps --editable .
	@touch $@
