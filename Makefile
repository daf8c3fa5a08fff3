# Two commands for a newcomer: `make up` and `make test`. Both set up what they need: Python 3.11 or newer is enough.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$python >/dev/null 2>&1 && \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: up down test chaos lint protos docs lock bench clean rehearse fuzz

# Starts everything and prints where it is; Ctrl-C stops it. ARGS are passed on: make up ARGS="--fresh"
up: protos
	@$(BIN)/python -m stack up $(ARGS)

down: $(READY)
	@$(BIN)/python -m stack down

test: protos
	@$(BIN)/python -m tests $(ARGS)

# Hurts a whole installation at work, seed after seed, and judges it; goes on where it was interrupted.
chaos: protos
	$(BIN)/python -m tests.chaos --long $(ARGS)

# Hostile requests to every method, for as long as you like: make fuzz ARGS="--seed 7 --cases 500"; by one door
# alone: ARGS="--door schema", which holds every answer against /openapi.json; ARGS="--installed" attacks a whole
# installation, and looks at the memory of its processes and at who is served beside a noisy organization
fuzz: protos
	@$(BIN)/python -m tests.fuzz $(ARGS)

lint: protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy chassis gateway services stack

# Compiles proto/ into gen/ when it has changed.
protos: $(READY)
	@$(BIN)/python stack/protos.py

# Writes the generated pages of docs/ and the dashboards anew.
docs: protos
	$(BIN)/python -m stack.docs
	$(BIN)/python deploy/observability/dashboards.py

# Carries out Dockerfile and compose.yaml without Docker; ARGS="--python /usr/bin/python3.13" stands for the base image.
rehearse: protos
	$(BIN)/python -m tests.deploy.rehearse $(ARGS)

# What it costs beside the same work in pgbench and Envoy; see bench/README.md. About ten minutes.
bench: protos
	@$(PIP) install -q --require-hashes -r bench/requirements.lock
	$(BIN)/python -m bench $(ARGS)

# Chooses versions anew, within what pyproject.toml allows; the locks name no host. What an image installs and
# what builds it are of the same choice.
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links
BUILDERS := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

lock: $(READY)
	$(PIP) install -q uv
	$(COMPILE) --extra dev --extra embedded --upgrade pyproject.toml -o requirements.lock
	$(COMPILE) --constraint requirements.lock pyproject.toml -o deploy/requirements.lock
	$(BIN)/python -c '$(BUILDERS)' | $(COMPILE) --constraint requirements.lock - -o deploy/build.lock

clean:
	rm -rf .venv gen dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): requirements.lock pyproject.toml hatch_build.py
	@test -n "$(PYTHON)" || { echo "Tradewind needs Python 3.11 or newer; PYTHON=/path/to/python names one."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing what Tradewind stands on (once; a minute or two)"
	@$(PIP) install -q --require-hashes -r requirements.lock
	@$(PIP) install -q --no-build-isolation --no-deps -e .
	@touch $@
