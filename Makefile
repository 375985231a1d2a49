# `make scan` sets everything up and scans the model that the project ships.
# `make test` sets everything up and runs lint, types and all tests.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RUN ?= runs/demo
WORKERS ?= 2

.PHONY: scan test lint types pytest setup setup-test browser bench fuzz mutation clean

scan: setup
	$(BIN)/reach scan --out $(RUN) --force --margins 0.01

test: lint types pytest

lint: setup-test
	$(BIN)/ruff check solvers reach reports scripts tests
	$(BIN)/ruff format --check solvers reach reports scripts tests

types: setup-test
	$(BIN)/mypy

pytest: setup-test browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

bench: setup-test
	$(BIN)/python scripts/bench.py

# A hundred times what the tests fuzz; hours of one core.
fuzz: setup-test
	$(BIN)/python scripts/fuzz.py --times 100

# Changes the checkers in one place at a time; docs/mutation.md.
mutation: setup-test
	$(BIN)/python scripts/mutation.py

setup: $(VENV)/.setup
setup-test: $(VENV)/.setup-test

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.setup: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/.setup-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test]'
	touch $@ $(VENV)/.setup

# The browser tests drive Debian's Chromium.
browser:
	@if ! command -v chromium >/dev/null 2>&1; then \
	  if command -v apt-get >/dev/null 2>&1; then \
	    if [ "$$(id -u)" = 0 ]; then SUDO=; else SUDO=sudo; fi; \
	    $$SUDO apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$SUDO apt-get install -y -qq chromium; \
	  else \
	    echo "no chromium here: the browser tests will be skipped (with CI=true they fail)"; \
	  fi; \
	fi

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
