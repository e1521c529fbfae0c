# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Settings handed to the demo, for instance: make demo ARGS="task=vqa"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all lint format types layers check benchmark benchmark-flickr30k results clean

help:  ## Lists the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/' | awk -F: '{printf "  make %-21s%s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: $(INSTALLED)  ## Trains on text and on pictures, tests on pictures, writes a report (about ten minutes on two cores)
	$(BIN)/python scripts/demo.py $(ARGS)

test: $(INSTALLED)  ## Runs the default tests
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)  ## Runs the slow tests (kills, full disks, the README's commands)
	$(BIN)/python -m pytest -m slow

test-all: $(INSTALLED)  ## Runs all tests, the slow ones included
	$(BIN)/python -m pytest -m 'slow or not slow'

lint: $(INSTALLED)  ## Runs the linter and checks the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## Formats the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)  ## Checks the types
	$(BIN)/mypy

layers: $(INSTALLED)  ## Checks that no lower layer imports a higher one
	$(BIN)/lint-imports

check: lint types layers  ## Linter, formatter, types and layers

benchmark: $(INSTALLED)  ## Times text encoding against full context
	$(BIN)/python benchmarks/text_encoding.py

benchmark-flickr30k: $(INSTALLED)  ## Trains an epoch on Flickr30k's captions for rates and memory (needs the data)
	$(BIN)/python benchmarks/flickr30k_epoch.py

results: $(INSTALLED)  ## Makes the numbers of docs/results.md (about an hour on two cores)
	$(BIN)/python benchmarks/picturebook_results.py

clean:  ## Removes the environment, caches and vectors; runs/ stays
	rm -rf $(VENV) cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
