# The commands of this project; `make` lists them. Needs python3 >= 3.11 with venv, and the package registries.
#   make serve ARGS="--port 9001"       ARGS go to the program that the target runs
#   make setup PYTHON=python3.12        the Python that .venv is made with
#   make tools TOOLS="ghz"              which of the programs that are built with Go

SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
ARGS ?=
TOOLS ?=
BIN := .venv/bin
UV := .tools/uv/bin/uv

define CHECK_PYTHON
import sys
name, package = sys.argv[1:]
if sys.version_info < (3, 11):
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit("Python 3.11 or later is needed, and %s is %s. Name another one: make setup PYTHON=python3.12" % (name, version))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("%s cannot make virtual environments. As root: apt-get install %s" % (name, package))
endef
export CHECK_PYTHON

# Compiled as pip does it: where Python may not write bytecode by itself, as in many containers, each start would compile for a tenth of a second.
COMPILED = $(BIN)/python -m compileall -q gateway

# pip's lines in short: how many packages of how many, and which. Its errors stand on stderr, and its exit status is the pipe's.
# A loop of the shell, for mawk would keep the lines back.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes $(1) | { eval "$$PROGRESS"; }
define PROGRESS
count=0
while read -r what package rest; do
	case "$$what $$package" in
	Collecting*) count=$$((count + 1)); echo "  package $$count: $$package" ;;
	"Installing collected") echo "  unpacking $$count packages: some ten seconds" ;;
	esac
done
endef
export PROGRESS

.DEFAULT_GOAL := help
.PHONY: help setup serve test lint format bench load exports chaos clients tools protos models lock clean

help: ## what there is to make
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

setup: .venv/dev ## make .venv, for serving, tests and development
	@$(COMPILED)

# Written last, so an installation that was interrupted is done again. An environment that still works is kept and brought up to date.
.venv/ready: pyproject.toml requirements.lock .ci/build.lock
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) found. As root: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON" $(PYTHON) $(notdir $(PYTHON))-venv
	@echo "setting up .venv for serving with $$($(PYTHON) --version): half a minute"
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(call INSTALL,-r requirements.lock -r .ci/build.lock)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/ready .ci/dev.lock
	@echo "setting up .venv for tests and development: a minute"
	@$(call INSTALL,-r .ci/dev.lock)
	@touch $@

serve: .venv/ready ## start the gateway on models/
	@$(COMPILED)
	@$(BIN)/gateway serve --models models $(ARGS)

test: setup ## run the tests, two at a time
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

lint: setup ## style, types and floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## write the code as `make lint` wants it
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## measure the gateway beside its yardsticks (minutes)
	@$(BIN)/python -m load_tests.compare $(ARGS)

load: setup ## run the ghz scenarios
	@$(PYTHON) -m load_tests.tools ghz
	@$(BIN)/python -m load_tests.ghz_run $(ARGS)

exports: setup ## serve exports of scikit-learn, XGBoost, LightGBM, CatBoost; compare the answers (ARGS=--torch: PyTorch, transformers)
	@$(BIN)/python -m load_tests.exports
	@$(BIN)/python -m load_tests.exports.snippets $(ARGS)

chaos: setup ## overload it, kill, freeze and poison its parts under load: who is answered (minutes)
	@$(BIN)/python -m load_tests.chaos $(ARGS)

clients: setup ## let clients that nobody here wrote use the gateway (a quarter of an hour, once)
	@$(BIN)/python -m load_tests.clients $(ARGS)

tools: ## have ghz, Jaeger and kubeconform, from PATH or built with Go; TOOLS="ghz grpcurl": these alone
	@$(PYTHON) -m load_tests.tools $(TOOLS)

protos: setup ## make the stubs anew from protos/
	@$(BIN)/python protos/generate.py $(ARGS)

models: setup ## train the models in models/ anew
	@$(BIN)/python models/build.py $(ARGS)

# What everybody works with: requirements.lock for serving, .ci/dev.lock for the rest, .ci/build.lock to build the package.
# oldest and newest are the ends of what pyproject.toml allows. ARGS=--upgrade takes what is new.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-annotate --custom-compile-command "make lock"
lock: $(UV) ## pin all dependencies anew
	$(COMPILE) pyproject.toml --extra dev --group build -o .ci/dev.lock $(ARGS)
	$(COMPILE) pyproject.toml -c .ci/dev.lock -o requirements.lock
	$(COMPILE) --group build -c .ci/dev.lock -o .ci/build.lock
	$(COMPILE) pyproject.toml --resolution lowest-direct --upgrade -o .tools/lowest.txt
	$(COMPILE) pyproject.toml --extra test -c .tools/lowest.txt -o .ci/oldest.lock $(ARGS)
	echo 'protobuf>=7' > .tools/newest.txt
	$(COMPILE) pyproject.toml --extra test -c .tools/newest.txt -o .ci/newest.lock $(ARGS)

$(UV):
	$(PYTHON) -m venv --clear .tools/uv
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.*'

clean: ## remove all that the other targets made
	rm -rf .venv .tools build dist load_tests/results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find gateway load_tests models protos tests -name __pycache__ -type d -prune -exec rm -rf {} +
