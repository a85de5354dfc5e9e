# Every command a person needs. Each sets up what it uses; nothing else has to be run before.
PYTHON ?= python3
VENV   ?= .venv
CACHE  ?= $(HOME)/.cache/cryogate
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check bench format fuzz lock tools clean

help: ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## the main job, told as a story with real processes
	$(BIN)/python demo/story.py

test: $(STAMP) ## all tests (real servers where they are installed, see CRYOGATE_REQUIRE_REAL)
	$(BIN)/python -m pytest -q

check: $(STAMP) ## format, lint, types, import contracts, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house

bench: $(STAMP) ## one script per hot path, each beside its baseline
	for script in token submit poll introspect revocation circuits policy anomaly reservations \
	  gateway in_flight audit_share; do \
	  echo "== bench/$$script.py"; $(BIN)/python -m bench.$$script || exit 1; done

format: $(STAMP) ## rewrite the sources in house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: ## fuzz the circuit parsers for a minute, guided by coverage
	CACHE=$(CACHE) .ci/fuzz 60

tools: ## put the real servers that tests use (OPA, an identity provider) into the cache
	CACHE=$(CACHE) .ci/opa
	CACHE=$(CACHE) .ci/oidc
	CACHE=$(CACHE) .ci/witness

lock: $(STAMP) ## renew requirements/dev.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --quiet \
	  --custom-compile-command "make lock" -o requirements/dev.lock
	$(BIN)/uv pip compile requirements/fuzz.in --python-version 3.11 --generate-hashes --quiet \
	  --custom-compile-command "make lock" -o requirements/fuzz.lock

clean: ## remove what the commands made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
