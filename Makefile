# `make demo` and `make test` need nothing but python3.11 and pip: they set up .venv from hash-locked requirements.
SHELL := /bin/bash
PY := .venv/bin/python
STAMP := .venv/.ready
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help setup demo team-demo test check lint format types floors fast coverage lock build bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv from the locked requirements

$(STAMP): requirements/uv.txt requirements/dev.txt pyproject.toml scripts/bootstrap.py
	@$$(command -v python3.11 || command -v python3) scripts/bootstrap.py

demo: setup  ## a panel of local models answers, through the MCP server
	@$(PY) examples/demo.py

team-demo: setup  ## three replicas, Postgres, Valkey, a proxy, load; one is killed, nothing is lost
	@$(PY) examples/team_demo.py

test: setup  ## every test
	@$(PY) -m pytest -q -n3 --dist loadfile

coverage: setup  ## every test, with the coverage of all processes; half as long again
	@$(PY) -m pytest -q --cov --cov-report=term:skip-covered

check: lint types floors fast  ## the inner loop: lint, format, types, floors, house rules, fast tests

lint: setup
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	@$(PY) -m codespell_lib src docs tests scripts examples benchmarks *.md
	@$(PY) -m deptry src

format: setup  ## format and fix what can be fixed
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

types: setup
	@.venv/bin/basedpyright --level error

floors: setup
	@.venv/bin/lint-imports

fast: setup
	@$(PY) -m pytest -q -n3 -m "not slow and not local_models"

lock: setup  ## resolve the requirements anew
	@$(PY) scripts/lock.py

build: setup  ## the wheel and the source distribution
	@$(PY) -m build --no-isolation

bench: setup  ## benchmarks, side by side with the bare SDK and a raw HTTP client
	@$(PY) benchmarks/run.py

clean:  ## remove what was built
	rm -rf .venv dist build .pytest_cache .ruff_cache .coverage*
