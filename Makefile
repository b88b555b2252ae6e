# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Needed on the machine: make and one of Python 3.11 to 3.13; all else comes from PyPI.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Each supported Airflow has its file in constraints/, made from the list in tools/constraints.py.
versions = $(shell ls constraints/$(1)-*.txt | sed 's/.*-//; s/\.txt$$//' | sort -V)
newest = $(lastword $(call versions,$(1)))
AIRFLOW ?= $(call newest,airflow)
VENV ?= .venv
UV_VERSION := $(shell sed -n 's/^uv==//p' .github/publish.txt)
MERMAID_VERSION := $(shell sed -n 's/.*"mermaid": "\([^"]*\)".*/\1/p' .github/package.json)
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
BIN := $(VENV)/bin
ARGS ?=

NEWEST_PYTHON := $(if $(filter 2.% 3.0.%,$(AIRFLOW)),12,13)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $(NEWEST_PYTHON)))
ifndef PYTHON
PYTHON := $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	if $$python -c '$(SUPPORTED)' 2>/dev/null; then echo $$python; break; fi; done)
endif

# uv looks neither at the machine's certificates nor at pip's configuration by itself: let it trust what the machine
# trusts, and hand it the mirror that pip is set to use, if any.
export UV_SYSTEM_CERTS ?= true
ifndef UV_DEFAULT_INDEX
MIRROR := $(or $(PIP_INDEX_URL),$(shell $(or $(PYTHON),false) -m pip config get global.index-url 2>/dev/null))
ifneq ($(MIRROR),)
export UV_DEFAULT_INDEX := $(MIRROR)
endif
endif

# Nothing here may read or write the Airflow of the person who runs it.
IN_TEMP_HOME = home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
	env AIRFLOW_HOME="$$home" AIRFLOW__CORE__LOAD_EXAMPLES=False PATH="$(abspath $(BIN)):$$PATH"

# Many tests wait for processes or for time: one worker for each core, and each file in one.
PARALLEL := --numprocesses auto --dist loadfile

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: env
env: $(VENV)/.ready ## build .venv: Airflow, this provider, the developer's tools (AIRFLOW=3.0.6 for another Airflow)

$(VENV)/.ready: pyproject.toml $(CONSTRAINTS)
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 to 3.$(NEWEST_PYTHON) found on the PATH. Install one, or name it: make env PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi
	@if ! $(PYTHON) -c '$(SUPPORTED)'; then \
		echo "$(PYTHON) cannot be used: Airflow $(AIRFLOW) needs Python 3.11 to 3.$(NEWEST_PYTHON)." >&2; exit 1; fi
	@if ! $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null; then \
		echo "Making $(VENV) with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv --clear $(VENV) || { \
			echo "$(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)." >&2; exit 1; }; fi
	@echo "Installing Airflow $(AIRFLOW) and the developer's tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraints $(CONSTRAINTS) \
		--requirements pyproject.toml --extra testing --group dev
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: env ## a real Airflow run against the fake SOPS, told as a short story (ARGS=--stay: then look around in it)
	@$(IN_TEMP_HOME) $(BIN)/python tools/demo.py $(ARGS)

.PHONY: test
test: env ## all tests (ARGS="-k name" for some)
	@$(IN_TEMP_HOME) $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

.PHONY: coverage
coverage: ## all tests, measured, with what Airflow 2.11 alone runs: fails if a file of the package is under 90 %
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory measure
	@$(MAKE) --no-print-directory measure AIRFLOW=$(OLDEST) VENV=.venvs/coverage-$(OLDEST) ARGS="$(OF_OLDEST)"
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report
	@$(BIN)/python -m coverage json --quiet -o build/coverage.json
	@$(BIN)/python tools/coverage_floor.py build/coverage.json

# Some of compat/ and the widgets of connection_form.py run on no newer Airflow.
OLDEST = $(firstword $(call versions,airflow))
OF_OLDEST := tests/form tests/test_compat.py tests/test_provider_info.py tests/e2e tests/dag_runs

.PHONY: measure
measure: env
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --requirements tests/coverage.txt
	@$(IN_TEMP_HOME) $(BIN)/python -m coverage run -m pytest $(PARALLEL) $(ARGS)

.PHONY: test-ui
test-ui: env ## the web page of a real Airflow in a real Chromium, with the fake SOPS; takes the pictures in docs/img/ (AIRFLOW=3.2.2 VENV=.venvs/ui, from 3.1 on)
	@tools/debian.sh chromium=chromium fonts-noto-cjk='/usr/share/fonts/opentype/noto/*CJK*'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --requirements tests/ui/requirements.txt
	@$(IN_TEMP_HOME) $(BIN)/python -m pytest --show-capture=stdout tests/ui $(ARGS)

.PHONY: test-standalone
test-standalone: env ## deferred waits in a real `airflow standalone`: kills, outages, stale replicas (ten minutes or more)
	@$(IN_TEMP_HOME) $(BIN)/python -m pytest --show-capture=stdout tests/standalone $(ARGS)

.PHONY: test-distributed
test-distributed: .venvs/distributed-$(AIRFLOW)/.ready ## 300 runs on PostgreSQL, Redis, Celery, with kills (half an hour or more; also AIRFLOW=3.1.8 VENV=.venvs/3.1.8)
	@tools/debian.sh postgresql='/usr/lib/postgresql/*/bin/initdb' redis-server=redis-server
	@$(IN_TEMP_HOME) .venvs/distributed-$(AIRFLOW)/bin/python -m pytest -s tests/distributed $(ARGS)

.PHONY: bench
bench: .venvs/bench-$(call newest,bench)/.ready ## waiting beside other providers, in tables (forty minutes or more; ARGS="--waits 1000")
	@$(IN_TEMP_HOME) .venvs/bench-$(call newest,bench)/bin/python benchmarks/bench.py $(ARGS)

.PHONY: bench-airflow
bench-airflow: .venvs/bench-$(call newest,bench)/.ready ## what a deferred wait costs all of a real Airflow, beside other providers (half an hour)
	@tools/debian.sh postgresql='/usr/lib/postgresql/*/bin/initdb'
	@$(IN_TEMP_HOME) .venvs/bench-$(call newest,bench)/bin/python benchmarks/airflow_bench.py $(ARGS)

.venvs/distributed-$(AIRFLOW)/.ready: EXTRA = apache-airflow-providers-celery apache-airflow-providers-postgres \
	apache-airflow-providers-standard psycopg2-binary asyncpg redis
.venvs/bench-%/.ready: EXTRA = apache-airflow-providers-dbt-cloud apache-airflow-providers-http \
	apache-airflow-providers-airbyte asyncpg psycopg2-binary
.venvs/distributed-$(AIRFLOW)/.ready .venvs/bench-$(call newest,bench)/.ready: .venvs/%/.ready: $(VENV)/.ready pyproject.toml $(CONSTRAINTS) constraints/%.txt
	@$(BIN)/python -m venv --clear .venvs/$*
	@echo "Installing Airflow $(AIRFLOW) and what else it needs into .venvs/$*"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venvs/$*/bin/python --constraints $(CONSTRAINTS) \
		--requirements pyproject.toml --extra testing hatchling
	@# by themselves: what comes with another provider may need a newer version of what comes with Airflow
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venvs/$*/bin/python --constraints constraints/$*.txt $(EXTRA)
	@$(BIN)/uv pip install --quiet --python .venvs/$*/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: lint
lint: env .venvs/lint/.ready ## ruff, mypy --strict, the layers, sizes, the diagrams of docs/design.md, licence lines, the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python tools/sizes.py
	$(BIN)/python tools/diagrams.py --check
	@without=$$(git ls-files '*.py' | xargs -r grep -L '^# SPDX-License-Identifier: Apache-2.0$$' || true); \
	if [ -n "$$without" ]; then echo "No SPDX line in:" $$without >&2; exit 1; fi
	.venvs/lint/bin/shellcheck .ci/run tools/debian.sh
	PATH="$(abspath .venvs/lint/bin):$$PATH" actionlint
	.venvs/lint/bin/zizmor --offline --quiet --pedantic .github
	@for schema in github-workflows:workflows/*.yml dependabot:dependabot.yml \
			github-issue-config:ISSUE_TEMPLATE/config.yml github-issue-forms:ISSUE_TEMPLATE/[!c]*.yml; do \
		.venvs/lint/bin/check-jsonschema --quiet --builtin-schema vendor.$${schema%%:*} .github/$${schema#*:}; done

.venvs/lint/.ready: .github/lint.txt | env
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venvs/lint
	@$(BIN)/uv pip install --quiet --python .venvs/lint/bin/python --no-deps --requirements .github/lint.txt
	@$(BIN)/uv pip check --quiet --python .venvs/lint/bin/python
	@touch $@

.PHONY: diagrams
diagrams: env ## draw the diagrams of docs/design.md anew: which package imports which
	$(BIN)/python tools/diagrams.py

.PHONY: format
format: env ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: test-airflow
test-airflow: ## all tests in an environment of its own with another Airflow: VERSION=2.11 (PYTHON=python3.12)
	@$(PYTHON) tools/matrix.py --unit $(or $(VERSION),$(error say which: make test-airflow VERSION=2.11)) -- $(ARGS)

.PHONY: test-live
test-live: ## deferred waits in a real triggerer of one Airflow, on PostgreSQL: VERSION=3.1 (ARGS="-k name" for some)
	@tools/debian.sh postgresql='/usr/lib/postgresql/*/bin/initdb'
	@$(PYTHON) tools/matrix.py --live $(or $(VERSION),$(AIRFLOW)) -- $(ARGS)

.PHONY: test-matrix
test-matrix: ## all tests, short live ones too, with every supported Airflow; with the newest on every supported Python
	@tools/debian.sh postgresql='/usr/lib/postgresql/*/bin/initdb'
	@$(PYTHON) tools/matrix.py $(ARGS)

.PHONY: constraints
constraints: env ## resolve the files in constraints/ anew
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/constraints.py $(ARGS)

# Its makers' warning is of the next MkDocs; docs/design.md says what it means for us.
MKDOCS = NO_MKDOCS_2_WARNING=1 .venvs/docs/bin/mkdocs

.PHONY: docs
docs: .venvs/docs/.ready ## the documentation in site/; a link to a page or heading that is not there fails
	@$(MKDOCS) build --strict --clean
	@echo "Built site/. To read it: make docs-serve"

.PHONY: docs-serve
docs-serve: .venvs/docs/.ready ## the documentation in the browser, built anew after each change
	@$(MKDOCS) serve

.PHONY: test-docs
test-docs: docs ## all pages of site/ in a real Chromium: both languages, wide and narrow
	@tools/debian.sh chromium=chromium fonts-noto-cjk='/usr/share/fonts/opentype/noto/*CJK*'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --requirements tests/ui/requirements.txt
	@$(IN_TEMP_HOME) $(BIN)/python -m pytest tests/site $(ARGS)

.venvs/docs/.ready: docs/requirements.txt .github/package.json Makefile | env
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venvs/docs
	@$(BIN)/uv pip install --quiet --python .venvs/docs/bin/python --no-deps --requirements docs/requirements.txt
	@$(BIN)/uv pip check --quiet --python .venvs/docs/bin/python
	@# what draws Mermaid's drawings in the reader's browser; npm checks what it gets against the registry's checksum
	@PATH="$(abspath .venvs/docs/bin):$$PATH" npm pack --silent --pack-destination .venvs/docs mermaid@$(MERMAID_VERSION) >/dev/null
	@tar -xzOf .venvs/docs/mermaid-$(MERMAID_VERSION).tgz package/dist/mermaid.min.js >theme/assets/mermaid.min.js
	@touch $@

.PHONY: build
build: env ## wheel and sdist in dist/, each tried in an empty environment
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	@for file in dist/*; do \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/smoke.py "$$file" $(CONSTRAINTS); done

.PHONY: sbom
sbom: env ## what an environment with the wheel holds, in build/sbom.cdx.json (after make build)
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venvs/sbom
	@$(BIN)/uv pip install --quiet --python .venvs/sbom/bin/python --no-deps --requirements .github/sbom.txt
	@$(BIN)/uv pip check --quiet --python .venvs/sbom/bin/python
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venvs/wheel
	@$(BIN)/uv pip install --quiet --python .venvs/wheel/bin/python --constraints $(CONSTRAINTS) dist/*.whl
	@mkdir -p build
	@# with the version, which the package itself knows
	@version=$$($(BIN)/uv pip show --python .venvs/wheel/bin/python airflow-provider-sops 2>/dev/null | sed -n 's/^Version: //p'); \
	sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml >build/pyproject.toml
	@.venvs/sbom/bin/cyclonedx-py environment --pyproject build/pyproject.toml --mc-type library --output-reproducible --output-format JSON \
		--output-file build/sbom.cdx.json .venvs/wheel/bin/python
	@echo "Wrote build/sbom.cdx.json"

.PHONY: clean
clean: ## remove all that the other targets made
	rm -rf .venv .venvs dist build site theme/assets/mermaid.min.js .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
