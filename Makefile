# Everything that a newcomer or a machine runs. Each target makes the environment that it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Apart from the others: what is in it would change how the tests run.
CONTRACT_VENV ?= .venv-contract
LOWEST_VENV ?= .venv-lowest
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
DEMO_OUTPUT ?= demo-output
# The revision that `make bench-against` compares with: the last state that has landed.
REV ?= $(shell cat .ci/landed)
SHORT ?=
# Some tests instead of all: make test TESTS=tests/http
TESTS ?=
# One framework instead of all: make agents FRAMEWORK=fastmcp
FRAMEWORK ?=
# Tests start many programs, and each of them would compile this package anew.
export PYTHONDONTWRITEBYTECODE =
# One process more than there are cores, since some tests wait; the pages of the docs and what shares a server stay together.
PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)
IN_PARALLEL := -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
# With coverage: make test COVER=yes. Not by pytest's own plugin: ours is loaded before it, and the package with it.
COVER ?=
RUN_TESTS := $(if $(COVER),$(BIN)/coverage run,$(BIN)/python) -m pytest $(IN_PARALLEL)

.PHONY: help demo test check lint types imports coverage contract bench bench-short bench-against soak soak-short \
	network lowest agents package clean

help:
	@echo "make demo      generate five videos on the embedded simulator, into $(DEMO_OUTPUT)/"
	@echo "make test      run the tests"
	@echo "make check     lint, types, import laws, tests with coverage"
	@echo "make contract  hold the simulator to its OpenAPI documents, with schemathesis"
	@echo "make bench     run the benchmarks in full, and write docs/benchmarks.md anew (make bench-short: a quick look)"
	@echo "make bench-against REV=...  compare the client's CPU time with that of another revision"
	@echo "make soak      20,000 submits while the service misbehaves, and docs/reliability.md anew (make soak-short: some hundred)"
	@echo "make network   cut a real link under submits for up to 90 s (seven minutes; Linux)"
	@echo "make lowest    run the tests with the lowest versions that are allowed"
	@echo "make agents    try the tools for agents in every framework (FRAMEWORK=... for one; large downloads)"
	@echo "make package   build wheel and sdist, and try them in an empty environment"
	@echo "make clean     remove what was built"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed; name it: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip

# Each environment holds what the one before holds, and more.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing the package with its command and its simulator into $(VENV)/ (about half a minute)"
	$(PIP) install --editable ".[cli,simulator]"
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing the package and what its tests need (pytest, web frameworks, ...) into $(VENV)/ (about a minute)"
	$(PIP) install --editable ".[test]"
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing the package, what its tests need, linters and type checkers into $(VENV)/ (about a minute)"
	$(PIP) install --editable ".[dev]"
	@touch $@ $(VENV)/.test $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/aivideomaker demo --output-dir $(DEMO_OUTPUT)

test: $(VENV)/.test
	@echo "Running the tests (about three minutes on two cores)"
	$(RUN_TESTS) $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/basedpyright

imports: $(VENV)/.dev
	$(BIN)/lint-imports

coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(MAKE) test COVER=yes
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include="$$($(BIN)/python .ci/pure.py)" --fail-under=100
	$(BIN)/coverage report --fail-under=95

$(CONTRACT_VENV)/.contract: pyproject.toml
	$(PYTHON) -m venv $(CONTRACT_VENV)
	$(CONTRACT_VENV)/bin/python -m pip --quiet --disable-pip-version-check install --editable ".[contract]"
	@touch $@

contract: $(CONTRACT_VENV)/.contract
	$(CONTRACT_VENV)/bin/python .ci/contract.py

check: lint types imports coverage

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks --write-docs

bench-short: $(VENV)/.test
	$(BIN)/python -m benchmarks --short

bench-against: $(VENV)/.test
	$(BIN)/python -m benchmarks.against $(REV) $(if $(SHORT),--short)

soak: $(VENV)/.test
	$(BIN)/python -m benchmarks.soak --write-docs

soak-short: $(VENV)/.test
	$(BIN)/python -m benchmarks.soak --short

network: $(VENV)/.test
	REAL_NETWORK_IN_FULL=yes $(BIN)/python -m pytest -n 6 --dist load tests/client/test_real_network.py

$(LOWEST_VENV)/.lowest: pyproject.toml
	@echo "Installing the lowest versions that are allowed into $(LOWEST_VENV)/ (about half a minute)"
	$(PYTHON) -m venv $(LOWEST_VENV)
	$(LOWEST_VENV)/bin/python -m pip --quiet --disable-pip-version-check install uv
	$(LOWEST_VENV)/bin/uv pip install --quiet --python $(LOWEST_VENV)/bin/python --resolution lowest-direct --editable ".[test]"
	@touch $@

lowest: $(LOWEST_VENV)/.lowest
	@# The lowest pytest reports what an earlier test has left to the garbage collector as a failure of a later one.
	$(LOWEST_VENV)/bin/python -m pytest $(IN_PARALLEL) -W ignore::pytest.PytestUnraisableExceptionWarning $(TESTS)

agents: $(BIN)/python
	$(BIN)/python .ci/agents.py $(FRAMEWORK)

package: $(VENV)/.dev
	$(BIN)/python .ci/package.py

clean:
	rm -rf $(VENV) .venv-* build dist demo-output bench-output .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
