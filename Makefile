# Everything from a bare machine with Python 3.11+ and make.  `make` lists the targets.
#
# PYTHON=/path/to/python   the interpreter to build on (otherwise the newest that runs)
# QSAGA_CACHE=/path        where uv and the Temporal servers are kept (~/.cache/qsaga)

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
export PYTHON
# Each process, and the sandbox for each workflow, would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# On two cores: a third of a test's time is waiting for real servers, which others can use; with
# more processes the servers come late.
# A file stays on one of them, so that servers of a module or file start once; conftest.py says
# which come first.
JOBS ?= 3
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# make test ARGS="-k fallback"; make test-account LIMIT=60
ARGS ?=

.PHONY: help setup demo test lint format doctor schemas record-histories bench-overhead bench-ledger bench-faults bench-qaoa bench-requests bench-problems bench-solvers bench-compile chaos chaos-full chaos-provider test-system test-account clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-18s %s\n' "$$name" "$$text"; done

setup: ## environment, Temporal CLI and time-skipping server; done by demo and test as well
	@sh tools/python.sh -m tools.bootstrap

demo: ## the main scenes on real servers (KEEP=1 leaves it up to look at)
	@sh tools/python.sh -m tools.bootstrap --for demo
	@$(BIN)/python -m tools.demo $(if $(filter 1,$(KEEP)),--keep)

test: ## lint, types, import rules and every test
	@sh tools/python.sh -m tools.bootstrap --for test
	@$(MAKE) --no-print-directory lint
	@echo '== pytest'
	@$(PYTEST) tests emulator/tests $(ARGS)

lint: ## ruff, mypy --strict, import-linter
	@sh tools/python.sh -m tools.bootstrap --for develop
	@echo '== ruff'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo '== mypy'
	@$(BIN)/mypy
	@echo '== import-linter'
	@$(BIN)/lint-imports --no-logo

format: ## let ruff write what it can
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

doctor: ## what was found, and where
	@sh tools/python.sh -m tools.doctor

schemas: ## write schemas/ from the contracts
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/python -m tools.schemas

record-histories: ## record the histories that tests/replay replays
	@sh tools/python.sh -m tools.bootstrap --for test
	@$(BIN)/python -m tools.record_histories

bench-overhead: ## what qsaga adds to a job, beside others; half an hour (ARGS="--waiting 0 1000": minutes)
	@sh tools/python.sh -m tools.bootstrap --for test
	@$(BIN)/python -m benchmarks.overhead $(ARGS)

bench-ledger: ## reservations per second of a ledger with a million rows
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/python -m benchmarks.ledger

bench-faults: ## the same faults for qsaga and for prefect-qiskit (installed below QSAGA_CACHE)
	@sh tools/python.sh -m tools.bootstrap --for demo
	@$(BIN)/python -m benchmarks.faults

bench-qaoa: ## how good QAOA's samples are, beside qiskit-optimization and openqaoa (ARGS="--peers")
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/python -m benchmarks.qaoa $(ARGS)

bench-requests: ## requests to the provider by runs that wait, and how soon the end is noticed
	@sh tools/python.sh -m tools.bootstrap --for test
	@$(BIN)/python -m benchmarks.requests

bench-problems: ## every published instance in data/: value, best known, gap, seconds (ARGS="--seconds 20")
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/python -m benchmarks.problems $(ARGS)

bench-solvers: ## the annealing portfolio beside neal, tabu, OpenJij and CP-SAT (ARGS="--seconds 1 --seeds 3")
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/python -m benchmarks.solvers $(ARGS)

bench-compile: ## binding of cached circuits against compiling, hits under a mixed load, extra gates
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/python -m benchmarks.compile $(ARGS)

chaos: ## workers, emulator and Temporal killed -9 at a sample of points, then 500 jobs (ARGS="--seed 8")
	@sh tools/python.sh -m tools.bootstrap --for test
	@$(BIN)/python -m tests.chaos.matrix --minutes 9 $(ARGS)

chaos-full: ## the same at every point; hours, goes on where it stopped (ARGS=--fresh: from the beginning)
	@sh tools/python.sh -m tools.bootstrap --for test
	@$(BIN)/python -m tests.chaos.matrix --all $(ARGS)

chaos-provider: ## 500 submissions under random faults of the provider, workers killed (ARGS="--seed 8")
	@sh tools/python.sh -m tools.bootstrap --for test
	@$(BIN)/python -m tests.chaos.provider $(ARGS)

test-system: ## the tests that need more than Python packages (Go, Spin, PostgreSQL)
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/python -m tools.system
	@$(BIN)/pytest -m system tests $(ARGS)

test-account: ## the adapter on a real IBM account; costs at most LIMIT quantum seconds
	@sh tools/python.sh -m tools.bootstrap --for develop
	@$(BIN)/pytest -m real_account tests/real_account $(if $(LIMIT),--spending-limit $(LIMIT)) $(ARGS)

clean: ## remove build/, .venv and the tools' caches (not the download cache)
	@rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
