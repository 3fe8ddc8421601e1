# One command for everything a developer or a first-time user does. `make help` lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python that really runs and is new enough; shims of version managers may be there and yet not run.
ifndef PYTHON
PYTHON := $(or $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done),python3)
endif
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q
WORKERS ?= 2
MADE := build/made
PROTO_SOURCES := $(shell find proto -name '*.proto' -o -name '*.py' 2>/dev/null)

export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment: .venv is completed only when pyproject.toml or setup.py changes. `venv` is what runs Mizzen, `dev` adds
# what tests it; running needs less, and a first `make up` should not wait for the rest.

.PHONY: venv dev packages-run packages-test
venv: $(MADE)/venv $(MADE)/proto
	@:
dev: $(MADE)/dev $(MADE)/proto
	@:

packages-run:
	@PYTHON=$(PYTHON) deploy/packages.sh run

packages-test:
	@PYTHON=$(PYTHON) deploy/packages.sh test

PIP = $(BIN)/python -m pip install -q --disable-pip-version-check

$(MADE)/venv: pyproject.toml setup.py
	@mkdir -p $(MADE)
	@PYTHON=$(PYTHON) deploy/packages.sh python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Mizzen needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=/path/to/python3" >&2; exit 1; }
	@[ -x $(BIN)/python ] || { echo "making .venv ..."; $(PYTHON) -m venv .venv; }
	@echo "installing Mizzen and its libraries into .venv ..."
	@$(PIP) 'setuptools>=77' wheel 'grpcio-tools>=1.66,<2'
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(MADE)/dev: $(MADE)/venv
	@echo "installing what the tests need into .venv ..."
	@$(PIP) --no-build-isolation -e '.[dev]'
	@touch $@

# Generated files may have been removed while the stamp stayed; then the stamp is worth nothing.
ifeq ($(wildcard mizzen/api/types/core_v1.py),)
.PHONY: $(MADE)/proto
endif
$(MADE)/proto: $(MADE)/venv $(PROTO_SOURCES)
	@echo "generating mizzen/api/types and mizzen/wire/gen ..."
	@$(BIN)/python proto/generate.py
	@touch $@

.PHONY: proto
proto: $(MADE)/venv ## Generate the API types and wire stubs from proto/
	@$(BIN)/python proto/generate.py
	@touch $(MADE)/proto

.PHONY: docs
docs: dev ## Write the table of docs/api.md from the table of kinds
	@$(BIN)/python docs/generate.py

# Tests. Each part runs alone; `make test` runs all of them on a bare machine.

.PHONY: check unit scenarios conformance integration e2e test bench
check: dev ## Formatting, lints, types, import contracts, house rules
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >$(MADE)/contracts.log || { cat $(MADE)/contracts.log; exit 1; }
	@$(PYTEST) tests/architecture

unit: dev ## Fast tests of single parts, and their properties
	@$(PYTEST) -n $(WORKERS) tests/unit tests/property

SEEDS ?= 30
scenarios: dev ## The simulated cluster, under faults; SEEDS=N for more of them
	@MIZZEN_SEEDS=$(SEEDS) $(PYTEST) -n $(WORKERS) tests/scenarios

conformance: dev ## One suite over every implementation of a port, and over upstream's fixtures
	@$(PYTEST) tests/conformance

# Parts whose tests keep to processes and ports of their own can run side by side; the others change the machine.
ASIDE := $(addprefix tests/integration/,agent clients controlplane kubectl rest)
integration: dev ## Parts against real etcd, Docker, network namespaces and machines
	@$(PYTEST) -n $(WORKERS) --dist loadfile $(ASIDE)
	@$(PYTEST) tests/integration $(ASIDE:%=--ignore=%)

# Each worker has a lab of its own; most of the time goes into waiting, not into the processor.
e2e: dev ## The whole of it on the lab's machines
	@$(PYTEST) -n $(WORKERS) --dist loadfile tests/e2e

test: packages-test ## Everything, on a bare Debian machine (as root)
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory scenarios SEEDS=200
	@$(MAKE) --no-print-directory conformance
	@$(MAKE) --no-print-directory integration
	@$(MAKE) --no-print-directory e2e

bench: packages-test ## Measure, beside etcd, Docker and Docker Swarm on the same machine (as root)
	@$(MAKE) --no-print-directory dev
	@$(BIN)/python -m tests.benchmarks

# Clusters.

.PHONY: up down lab lab-down clean
up: ## A one-node cluster on this machine with a demo, from nothing (as root)
	@[ "$$(id -u)" = 0 ] || { echo "make up needs root: it runs Docker Engine, network rules and containers. Try: sudo make up" >&2; exit 1; }
	@$(MAKE) --no-print-directory packages-run venv
	@$(BIN)/python -m deploy.up up

down: ## Remove everything that `make up` started
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m deploy.up down

lab: packages-test venv ## A control plane and three machines on this box (as root)
	@$(BIN)/python -m deploy.lab up --nodes 3

lab-down: ## Remove the lab
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m deploy.lab down

clean: ## Remove what was built: .venv, generated code, caches
	@rm -rf .venv build dist *.egg-info mizzen/api/types mizzen/wire/gen .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
