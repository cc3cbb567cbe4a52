# Everything a developer runs. Needs Python 3.11 or newer and make, nothing else.
#
#   make demo                     real articles embedded and searchable, on an embedded PostgreSQL
#   make check test               what CI runs
#   make test PYTHON=python3.13   with another Python (make clean first, to change it)

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements/constraints.txt
TESTS ?= tests
# Three processes for two cores, as tests also wait; each has its own server, the tests of a file stay together.
PARALLEL ?= -n 3 --dist loadfile

# PIP_CONSTRAINT would constrain the build environment too, hence -c.
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet -c $(LOCK)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- installing ------------------------------------------------------------------------------------------------

# A virtual environment whose Python is gone or cannot start is recreated.
$(PY):
	@command -v "$(PYTHON)" >/dev/null \
	  || { echo "make: $(PYTHON) not found; name a Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "make: $$("$(PYTHON)" -V 2>&1) is too old; name a Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "make: $(PYTHON) has no venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" -V)"
	@"$(PYTHON)" -m venv --clear $(VENV)

# A stamp records what is installed; a newer pyproject.toml or lock installs again.
$(VENV)/.demo: pyproject.toml $(LOCK) | $(PY)
	@echo "installing what the demo needs"
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(LOCK) | $(PY)
	@echo "installing what tests and checks need"
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

.PHONY: install
install: $(VENV)/.dev  ## create .venv with everything a developer needs

# -- running ---------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.demo  ## embedded PostgreSQL, real articles, local model
	@$(VENV)/bin/embedq-tui demo --headless $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/.dev  ## regenerate screenshots/ from the real console on the demo's articles
	$(PY) -m screenshots.make $(ARGS)

# -- testing ---------------------------------------------------------------------------------------------------

.PHONY: test
test: $(VENV)/.dev  ## all tests but the slow ones, and the packaging tests
	$(PY) -m pytest -m "not slow" $(PARALLEL) $(TESTS) $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.dev  ## the slow tests
	$(PY) -m pytest -m slow $(TESTS) $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev  ## break workers, database, network and provider for a while (ARGS="--minutes 5")
	$(PY) -m tests.soak $(ARGS)

.PHONY: test-matrix
test-matrix: $(VENV)/.dev  ## the database tests on PostgreSQL 12 to 18
	$(PY) -m tests.matrix $(ARGS)

# Needs spin and gcc; says so if they are missing.
.PHONY: model
model: $(VENV)/.dev  ## check the model of the claim protocol with SPIN (ARGS=--long: also larger cases)
	@$(PY) -m tests.model.check $(ARGS)

.PHONY: test-lowest
test-lowest: $(VENV)/.dev  ## the unit tests with the oldest versions that pyproject.toml allows
	$(PY) -m tests.packaging.lowest $(ARGS)

# -- measuring -------------------------------------------------------------------------------------------------

$(VENV)/.bench: $(VENV)/.dev
	@echo "installing what measurements are compared with"
	@$(PIP_INSTALL) --editable '.[dev,bench]'
	@touch $@

.PHONY: bench
bench: $(VENV)/.bench  ## all measurements, some 40 minutes; docs/performance.md (ARGS="engine latency": only these)
	$(PY) -m bench $(ARGS)

# -- checking --------------------------------------------------------------------------------------------------

.PHONY: check
check: $(VENV)/.dev docs  ## lint, format, types, import rules, dependencies, the guide's links
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pip --disable-pip-version-check check

# Queries an advisory service on the network, so it is not part of check, which needs no network.
.PHONY: audit
audit: $(PY)  ## known vulnerabilities of the locked versions; needs the network
	@"$(PY)" -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check install --quiet pip-audit
	$(VENV)/audit/bin/pip-audit --requirement $(LOCK) --disable-pip --no-deps $(ARGS)

.PHONY: format
format: $(VENV)/.dev  ## format the code and apply safe fixes
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: tables
tables: $(VENV)/.dev  ## regenerate the tables of settings and keys in docs/
	$(PY) -m tests.support.guide_tables

.PHONY: share
share: $(VENV)/.dev  ## regenerate the manual pages and shell completions that the wheel installs
	$(PY) -m share.make

.PHONY: docs
docs: $(VENV)/.dev  ## build the guide as a site in site/; fails on a broken link
	$(PY) -m mkdocs --quiet build --strict

# -- releasing -------------------------------------------------------------------------------------------------

.PHONY: build
build: $(VENV)/.dev  ## sdist and wheel in dist/
	$(PY) -m build --outdir dist .

$(VENV)/.release: pyproject.toml $(LOCK) | $(VENV)/.dev
	@echo "installing what checks a release"
	@$(PIP_INSTALL) --editable '.[release]'
	@touch $@

.PHONY: release-check
release-check: $(VENV)/.release  ## what a release must pass: build, wheel, SBOM, version; run before its tag, and on it
	$(PY) -m tests.packaging.release

# What every virtual environment brings, and this package itself (the extras name it).
UNPINNED := embedq-tui pip setuptools wheel

# Resolved for the oldest Python; tests/packaging/test_lock.py checks that it fits pyproject.toml. UPGRADE=1 takes
# the newest versions; without it, only what pyproject.toml changed moves. Does not install this package, which the
# old lock may forbid.
.PHONY: lock
lock: $(PY)  ## regenerate requirements/constraints.txt (UPGRADE=1: newest versions)
	@$(PIP_INSTALL) pip-tools
	CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile --quiet --strip-extras --all-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	  --no-annotate $(addprefix --unsafe-package=,$(UNPINNED)) $(if $(UPGRADE),--upgrade) --output-file $(LOCK) pyproject.toml

.PHONY: clean
clean:  ## remove .venv, caches and build results
	rm -rf $(VENV) dist build site snapshot_report.html .matrix .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
