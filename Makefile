# The words a developer types: run, token, sample-data, test, unit, lint, fuzz, chaos, load, bench, dashboard, openapi,
# lock, clean. Everything is installed on first use.

PORT ?= 4566
CONVERSATIONS ?= 30
MESSAGES ?= 20
SECONDS ?= 300
USERS ?= 12
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11

BIN := .venv/bin
UV := .tools/uv/bin/uv
SAM := .tools/sam/bin/sam
CHECKS := .tools/checks/bin

export SAM_CLI_TELEMETRY = 0
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# What shares a stack or a build stays in one process: tests/conftest.py.
AT_ONCE := --numprocesses 2

# Parameters for which there is all that the template and SAM can make.
EVERYTHING := Canary=true WebAcl=true AlarmEmail=alarms@example.com DomainName=api.example.com

# Any platform, any Python that we support, and never where the packages came from.
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help run token sample-data test unit lint fuzz chaos load bench dashboard openapi lock clean
help:
	@echo "make run    serves the whole stack on this machine (PORT=$(PORT))"
	@echo "make token  prints an access token of a demo user (USER=kevin or USER=harry)"
	@echo "make sample-data  gives kevin CONVERSATIONS=$(CONVERSATIONS) with MESSAGES=$(MESSAGES) each, or harry with USER=harry"
	@echo "make test   runs every test; make unit only the quick ones"
	@echo "make lint   checks style, types, the template, the workflows, and the locks for known vulnerabilities"
	@echo "make fuzz   looks for faults with Schemathesis for ten minutes; make test does so for 45 seconds"
	@echo "make bench  measures speed and cost for seven minutes into docs/benchmarks.md, or some of it (PARTS=cold);"
	@echo "            QUICK=1 only shows in a minute that it works"
	@echo "make chaos  injects every fault at every request and tries every attack, in 25 minutes, into docs/reliability.md"
	@echo "make load   has USERS=$(USERS) at work for SECONDS=$(SECONDS), and looks for all that was acknowledged"
	@echo "make dashboard  draws the dashboard of SECONDS=$(SECONDS) of load into docs/operations/"
	@echo "make openapi  writes openapi.json anew, after a change of models or routes"
	@echo "make lock   renews the locked dependencies"
	@echo "make clean  forgets the conversations of make run and all that was built"

run: .tools/installed
	@$(BIN)/python -m tools.local run --port $(PORT)

token: .tools/installed
	@$(BIN)/python -m tools.local token $(USER)

sample-data: .tools/installed
	@PYTHONPATH=layers/shared $(BIN)/python -m tools.local.sample_data \
		$(if $(filter command,$(origin USER)),$(USER),kevin) $(CONVERSATIONS) $(MESSAGES)

test: .tools/installed
	@$(BIN)/python -m pytest $(AT_ONCE)

unit: .tools/installed
	@$(BIN)/python -m pytest tests/unit

lint: .tools/installed .tools/checks/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(SAM) validate --lint
	@mkdir -p .local/lint
	@$(BIN)/python -m tools.lint.transformed > .local/lint/default.json
	@$(BIN)/python -m tools.lint.transformed $(EVERYTHING) > .local/lint/everything.json
# Not W1028: what SAM makes for one value of a parameter leaves nothing to the branches for others.
	.tools/sam/bin/cfn-lint --ignore-checks W1028 -- .local/lint/*.json
	$(CHECKS)/checkov --framework cloudformation --skip-download --quiet --compact \
		--file template.yaml .local/lint/everything.json
	$(CHECKS)/bandit --quiet --configfile pyproject.toml --recursive functions layers/shared local
	$(CHECKS)/python -m tools.lint.audit requirements/*.txt layers/shared/requirements.txt
	$(CHECKS)/actionlint -shellcheck= -pyflakes= .github/workflows/*.yml
	$(CHECKS)/zizmor --offline --quiet .github

fuzz: .tools/installed
	@FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/e2e/test_fuzz.py

bench: .tools/installed .tools/bench/installed
	@PYTHONPATH=layers/shared .tools/bench/bin/python -m tools.bench $(if $(QUICK),--quick) $(PARTS)

chaos: .tools/installed .tools/bench/installed
	@PYTHONPATH=layers/shared .tools/bench/bin/python -m tools.results chaos $(if $(QUICK),--quick --out .local/reliability)

load: .tools/installed .tools/bench/installed
	@PYTHONPATH=layers/shared .tools/bench/bin/python -m tools.results load --seconds $(SECONDS) --users $(USERS)

dashboard: .tools/installed .tools/bench/installed
	@PYTHONPATH=layers/shared .tools/bench/bin/python -m tools.bench.dashboard --seconds $(SECONDS)

openapi: .tools/installed
	@PYTHONPATH=layers/shared $(BIN)/python -m tools.openapi.document > openapi.json

lock: $(UV)
	$(UV) pip compile $(LOCK) --group layer -o layers/shared/requirements.txt
	@for group in dev bench frameworks; do \
		$(UV) pip compile $(LOCK) --group $$group -c layers/shared/requirements.txt -o requirements/$$group.txt || exit 1; done
	@for group in uv sam ministack checks; do \
		$(UV) pip compile $(LOCK) --group $$group -o requirements/$$group.txt || exit 1; done

clean:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tools.local clean; else rm -rf .local; fi
	@rm -rf .aws-sam

.tools/bench/installed: requirements/bench.txt
	@echo "Installing what draws the benchmarks ..."
	@$(call install,.tools/bench,bench)
	@touch $@

.tools/checks/installed: $(UV) requirements/checks.txt
	@echo "Installing the static checks ..."
	@$(call install,.tools/checks,checks)
	@touch $@

# The first of PYTHON that runs, is one of the versions that we lock for, and can make environments.
SUITABLE = $(shell for python in $(PYTHON); do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& echo "$$python" && break; done)

# One environment for the tests, and one for each tool whose pins allow no other beside it.
.tools/installed: $(UV) requirements/dev.txt requirements/sam.txt requirements/ministack.txt
	@echo "Installing the locked dependencies ..."
	@$(call install,.venv,dev)
	@$(call install,.tools/sam,sam)
	@$(call install,.tools/ministack,ministack)
	@touch $@

$(UV): requirements/uv.txt
	@test -n "$(SUITABLE)" || { echo "No Python 3.11 to 3.14 with its venv module is here: install one" \
		"(on Debian: apt install python3-venv), or name it, as in make run PYTHON=/path/to/python3." >&2; exit 1; }
	@$(SUITABLE) -m venv --clear .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

# Compiled once: where Python may not keep bytecode, each start would compile again.
install = $(UV) venv --quiet --clear --python .tools/uv/bin/python $(1) \
	&& $(UV) pip install --quiet --compile-bytecode --python $(1)/bin/python --require-hashes -r requirements/$(2).txt
