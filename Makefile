# The same five commands everywhere: setup, run, test, check, bench.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp
DEV    := $(VENV)/.stamp-dev

.PHONY: help setup dev run test check bench lock

help:
	@echo "make setup   create $(VENV) with everything Vedette needs to run"
	@echo "make run     start the all-in-one system with a simulated fleet and camera"
	@echo "make test    run the tests (sets up what they need)"
	@echo "make check   format, lint, types, layers"
	@echo "make bench   measure this machine"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Vedette needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(VENV)/bin/python requirements/run.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(DEV): $(STAMP) requirements/dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	@touch $@

setup: $(STAMP)

dev: $(DEV)

run: setup
	$(BIN)/vedette up --demo

test: dev
	$(BIN)/python -m pytest

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

bench: setup
	$(BIN)/vedette bench

# Pins with hashes, no addresses. Needs `uv` on the PATH.
lock:
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --extra dev pyproject.toml -o requirements/dev.txt
