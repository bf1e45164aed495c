# make demo       set everything up and run the whole journey on drawn photos (4 to 9 minutes after the installation)
# make test       the test suite in two processes, the longest file first;   make test-all: the long parts too
# make check      linter, formatter and strict type checker, the versions that pre-commit and CI use
# make setup      only the .venv
# make bench      every benchmark of speed, both sides in one run

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: setup demo test test-all check bench

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Podium needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -r requirements-dev.txt
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m benchmarks.journey demo --space quick --trials 8 --seed 0 --to exported/demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -m "not long" -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks.training_speed
	$(BIN)/python -m benchmarks.trial_cost
	$(BIN)/python -m benchmarks.attach_speed
	$(BIN)/python -m benchmarks.ledger_speed
	$(BIN)/python -m benchmarks.selection_speed
	$(BIN)/python -m benchmarks.export_speed
