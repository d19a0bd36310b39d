# Each target sets the machine up first (tools/setup.sh); that takes a moment once and nothing afterwards.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CONFIG ?= config/embedded.toml
AS_OF ?=
CANDLES ?=
PYTEST_ARGS ?=
# Handed on through the environment, so that names with spaces or quotes stay one word.
export CONFIG AS_OF CANDLES PYTHON PORT

.PHONY: help setup report test ui check format dictionary lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "  variables         CONFIG=config/embedded.toml AS_OF=2018-12-31 CANDLES=file-or-folder PYTHON=python3.11"

setup:  ## install what is missing: system libraries, .venv from requirements.lock
	@tools/setup.sh

report: setup  ## run the nightly job for one day: PDF, decision.json, mail file
	@.venv/bin/plimsoll report --config "$$CONFIG" $${AS_OF:+--as-of "$$AS_OF"} $${CANDLES:+--candles "$$CANDLES"}

test:  ## run every test (installs Chromium, PostgreSQL and systemd for some of them)
	@tools/setup.sh tests
	@.venv/bin/python -m pytest -n 2 -q $(PYTEST_ARGS)

ui: setup  ## open Dagster on http://127.0.0.1:3000
	@tools/ui.sh

check: setup  ## ruff, mypy, sqlfluff, import-linter
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/sqlfluff lint sql --disable-progress-bar
	@.venv/bin/lint-imports

format: setup  ## let ruff lay out the Python files
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

dictionary: setup  ## write docs/data_dictionary.md and docs/decision_schema.json
	@.venv/bin/python -m dagster_project.dictionary

lock:  ## resolve pyproject.toml into requirements.lock (needs a package index)
	@tools/lock.sh

clean:  ## remove .venv; data under var/ stays
	@rm -rf .venv
