# `make help` lists the commands. Each installs what it needs on first use.

PORT ?= 4566
CONVERSATIONS ?= 30
MESSAGES ?= 20
SECONDS ?= 300
USERS ?= 12
ENVIRONMENT ?= production
# The shell's USER is not a demo user.
DEMO_USER = $(if $(filter command,$(origin USER)),$(USER),kevin)
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11

BIN := .venv/bin
UV := .tools/uv/bin/uv
SAM := .tools/sam/bin/sam
CHECKS := .tools/checks/bin
REDOCLY := REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true .tools/node/node_modules/.bin/redocly
# Without npm, the checks that need it are skipped, except in CI.
NODE_TOOLS := $(if $(or $(CI),$(shell command -v npm)),.tools/node/installed)
BENCH := PYTHONPATH=layers/shared .tools/bench/bin/python

export SAM_CLI_TELEMETRY = 0
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# Parameters that enable every optional resource.
EVERYTHING := Canary=true Delivery=internal WebAcl=true AlarmEmail=alarms@example.com DomainName=api.example.com

# Regions whose resource types and values cfn-lint knows and compares the template with.
REGIONS := us-east-1 us-west-2 ca-central-1 sa-east-1 eu-west-1 eu-central-1 ap-northeast-1 ap-south-1 ap-southeast-2

# Locks are for every platform and supported Python version, with hashes and without index URLs.
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help run token sample-data clean preflight test unit lint bench cost faults load fuzz openapi lock
help:
	@echo "Use"
	@echo "  make run          build the stack and serve it on this machine (PORT=$(PORT))"
	@echo "  make token        print an access token (USER=kevin, USER=harry or USER=operator)"
	@echo "  make sample-data  create conversations for kevin (CONVERSATIONS=$(CONVERSATIONS) MESSAGES=$(MESSAGES) USER=kevin)"
	@echo "  make clean        delete the conversations of make run, and all builds"
	@echo "  make preflight    ask your AWS account whether it can deploy ENVIRONMENT=$(ENVIRONMENT)"
	@echo "Check"
	@echo "  make unit         run the unit tests, in seconds"
	@echo "  make test         run all tests, in minutes"
	@echo "  make lint         check style, types, imports, the template, workflows and dependencies"
	@echo "Measure"
	@echo "  make bench        measure speed and cost, in four minutes (PARTS=cold for a part, QUICK=1 to try it)"
	@echo "  make cost         calculate what a stack costs in a month"
	@echo "  make faults       inject faults and try attacks, in 15 minutes (QUICK=1 to try it)"
	@echo "  make load         run USERS=$(USERS) for SECONDS=$(SECONDS), then look for lost writes"
	@echo "For maintainers: make openapi, make lock, make fuzz (docs/development.md)"

run: .tools/installed
	@$(BIN)/python -m tools.local run --port $(PORT)

token: .tools/installed
	@$(BIN)/python -m tools.local token $(DEMO_USER)

sample-data: .tools/installed
	@PYTHONPATH=layers/shared $(BIN)/python -m tools.local sample-data \
		$(DEMO_USER) $(CONVERSATIONS) $(MESSAGES)

clean:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tools.local clean; else rm -rf .local; fi
	@rm -rf .aws-sam

preflight: .tools/installed
	@$(BIN)/python -m tools.preflight $(ENVIRONMENT)

unit: .tools/installed
	@$(BIN)/python -m pytest tests/unit

test: .tools/installed $(NODE_TOOLS)
	@$(BIN)/python -m tests

lint: .tools/installed .tools/checks/installed $(NODE_TOOLS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PYTHONPATH=layers/shared $(CHECKS)/lint-imports --no-cache
	$(SAM) validate --lint
	.tools/sam/bin/cfn-lint infra/*.yaml
	@mkdir -p .local/lint && cp -R infra .local/lint/
	@for environment in default staging production; do \
		.tools/sam/bin/python -m tools.lint.transformed $$environment > .local/lint/$$environment.json || exit 1; done
	@.tools/sam/bin/python -m tools.lint.transformed $(EVERYTHING) > .local/lint/everything.json
# W1028: fixed parameter values make some branches unreachable. W3002: sam uploads infra/ later.
	.tools/sam/bin/cfn-lint --ignore-checks W1028 W3002 --regions $(REGIONS) -- .local/lint/*.json
	$(CHECKS)/python -m tools.lint.policies .local/lint/everything.json
	$(CHECKS)/checkov --framework cloudformation --skip-download --quiet --compact \
		--file template.yaml infra/*.yaml .local/lint/everything.json
	$(CHECKS)/bandit --quiet --configfile pyproject.toml --recursive functions layers/shared tools/local
	$(CHECKS)/python -m tools.lint.audit requirements/*.txt layers/shared/requirements.txt
	$(CHECKS)/actionlint -shellcheck= -pyflakes= .github/workflows/*.yml
	$(CHECKS)/zizmor --offline --quiet .github
	$(if $(NODE_TOOLS),$(REDOCLY) lint --config tools/openapi/redocly.yaml functions/retrieve_docs/openapi.json,\
		@echo "Skipped the lint of openapi.json: npm is not installed")

bench: .tools/installed .tools/bench/installed
	@$(BENCH) -m tools.bench $(if $(QUICK),--quick) $(PARTS)

cost: .tools/installed
	@$(BIN)/python -m tools.bench.cost

faults: .tools/installed .tools/bench/installed
	@$(BENCH) -m tools.results faults $(if $(QUICK),--quick --out .local/reliability)

load: .tools/installed .tools/bench/installed
	@$(BENCH) -m tools.results load --seconds $(SECONDS) --users $(USERS)

# Schemathesis for ten minutes with new requests. `make test` runs it for 45 seconds.
fuzz: .tools/installed
	@FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/e2e/test_fuzz.py

openapi: .tools/installed
	@PYTHONPATH=layers/shared $(BIN)/python -m tools.openapi

lock: $(UV)
	$(UV) pip compile $(LOCK) --group layer -o layers/shared/requirements.txt
	@for group in dev bench frameworks; do \
		$(UV) pip compile $(LOCK) --group $$group -c layers/shared/requirements.txt -o requirements/$$group.txt || exit 1; done
	@for group in uv sam ministack checks; do \
		$(UV) pip compile $(LOCK) --group $$group -o requirements/$$group.txt || exit 1; done
	cd requirements/node && npm update --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

.tools/bench/installed: requirements/bench.txt
	@echo "Installing the tools of make bench ..."
	@$(call install,.tools/bench,bench)
	@touch $@

.tools/checks/installed: $(UV) requirements/checks.txt
	@echo "Installing the tools of make lint ..."
	@$(call install,.tools/checks,checks)
	@touch $@

.tools/node/installed: requirements/node/package-lock.json
	@echo "Installing the tools that need Node.js ..."
	@mkdir -p .tools/node && cp requirements/node/package*.json .tools/node
	@cd .tools/node && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# The first of PYTHON that runs, has a supported version, and has the venv module.
SUITABLE = $(shell for python in $(PYTHON); do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& echo "$$python" && break; done)

# One environment for the tests, and one for each tool whose pins conflict with it.
.tools/installed: $(UV) requirements/dev.txt requirements/sam.txt requirements/ministack.txt
	@echo "Installing the locked dependencies ..."
	@$(call install,.venv,dev)
	@$(call install,.tools/sam,sam)
	@$(call install,.tools/ministack,ministack)
	@touch $@

$(UV): requirements/uv.txt
	@test -n "$(SUITABLE)" || { echo "Python 3.11 to 3.14 with its venv module was not found: install it" \
		"(on Debian: apt install python3-venv), or name it: make run PYTHON=/path/to/python3." >&2; exit 1; }
	@$(SUITABLE) -m venv --clear .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

# With bytecode: in a read-only folder each start would compile again.
install = $(UV) venv --quiet --clear --python .tools/uv/bin/python $(1) \
	&& $(UV) pip install --quiet --compile-bytecode --python $(1)/bin/python --require-hashes -r requirements/$(2).txt
