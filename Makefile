# One door: `make help` lists what there is. Everything lands in .venv; nothing else on the machine is touched.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# the first interpreter that works and is 3.11 or 3.12 (bytewax ships no wheel for 3.13)
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help run up down test check bench chaos image-test lock clean setup setup-dev

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: setup  ## replay the real market sample through the whole river and explain what was decided
	@$(BIN)/lotus run

up: setup  ## Kafka, Postgres, every flow and a simulated market as child processes; Ctrl-C ends them
	@$(BIN)/lotus up

down:  ## end what `lotus up --detach` started
	@$(BIN)/lotus down

test: setup-dev  ## all tests; starts the servers it needs and stops them
	@$(BIN)/python -m pytest -n 2 --dist worksteal

check: setup-dev  ## ruff, mypy --strict, import contracts, house tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/house

bench: setup-dev  ## measure; prints figures as ratios to a baseline of the same run
	@$(BIN)/python -m bench

chaos: setup-dev  ## break things for hours: kills, faults, twins, fuzz; prints a line for each check
	@$(BIN)/python -m tests.chaos

image-test: setup-dev  ## build the image and run it for real, where containers can be had
	@$(BIN)/python -m tests.image

setup: $(VENV)/.run  ## install what `run` needs and compile the kernels
setup-dev: $(VENV)/.dev

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Lotus needs Python 3.11 or 3.12: install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing the locked packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/lotus compile
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "installing the test and check packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

lock: | $(BIN)/python  ## resolve the dependencies anew into the two lock files
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group build pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group build --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean:  ## remove the environment and everything generated
	@rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis
