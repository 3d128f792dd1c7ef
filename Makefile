# The commands of this project; `make` lists them. Needs python3 >= 3.11 with venv, and the package registries.
#   make serve ARGS="--port 9001"       ARGS go to the program that the target runs
#   make setup PYTHON=python3.12        the Python that .venv is made with

PYTHON ?= python3
ARGS ?=
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

.DEFAULT_GOAL := help
.PHONY: help setup serve test lint format bench load exports chaos tools protos models lock clean

help: ## what there is to make
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

# Compiled as pip does it: where Python may not write bytecode by itself, as in many containers, each start would compile for a tenth of a second.
setup: .venv/ready ## make .venv and install the project into it
	@$(BIN)/python -m compileall -q gateway

# Written last, so an installation that was interrupted is done again. An environment that still works is kept and brought up to date.
.venv/ready: pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) found. As root: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON" $(PYTHON) $(notdir $(PYTHON))-venv
	@echo "setting up .venv with $$($(PYTHON) --version): a minute or two"
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

serve: setup ## start the gateway on models/
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

load: setup tools ## run the ghz scenarios
	@$(BIN)/python -m load_tests.ghz_run $(ARGS)

exports: setup ## serve exports of scikit-learn, XGBoost, LightGBM, CatBoost; compare the answers (ARGS=--torch: PyTorch, transformers)
	@$(BIN)/python -m load_tests.exports
	@$(BIN)/python -m load_tests.exports.snippets $(ARGS)

chaos: setup ## overload it, kill, freeze and poison its parts under load: who is answered (minutes)
	@$(BIN)/python -m load_tests.chaos $(ARGS)

tools: ## install ghz and Jaeger, which are built with Go
	@$(PYTHON) -m load_tests.tools

protos: setup ## make the stubs anew from protos/
	@$(BIN)/python protos/generate.py $(ARGS)

models: setup ## train the models in models/ anew
	@$(BIN)/python models/build.py $(ARGS)

# requirements.lock is what everybody works with; the two in .ci/ are the ends of what pyproject.toml allows. ARGS=--upgrade takes what is new.
COMPILE = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-annotate --custom-compile-command "make lock"
lock: $(UV) ## pin all dependencies anew
	$(COMPILE) --extra dev -o requirements.lock $(ARGS)
	$(COMPILE) --resolution lowest-direct --upgrade -o .tools/lowest.txt
	$(COMPILE) --extra test -c .tools/lowest.txt -o .ci/oldest.lock $(ARGS)
	echo 'protobuf>=7' > .tools/newest.txt
	$(COMPILE) --extra test -c .tools/newest.txt -o .ci/newest.lock $(ARGS)

$(UV):
	$(PYTHON) -m venv --clear .tools/uv
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.*'

clean: ## remove all that the other targets made
	rm -rf .venv .tools build dist load_tests/results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find gateway load_tests models protos tests -name __pycache__ -type d -prune -exec rm -rf {} +
