# One command for each thing one does here. `make check` is everything CI runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/complete
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
CODE := switch clients benchmarks tests protos/generate.py docs/generate.py

# Walls are checked in this order, one at a time; the first that falls ends the run.
WALLS := format words types imports generated protos core tests
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help:
	@echo 'make setup          build $(VENV), if it is missing or out of date'
	@echo 'make demo           pay, kill the primary node, and audit what happened'
	@echo 'make check          every wall: $(WALLS)'
	@echo 'make check-<wall>   one of them'
	@echo 'make format         rewrite Python and .proto files in the house style'
	@echo 'make protos         generate the Python code of the .proto files'
	@echo 'make docs           generate the pages that repeat what the code says'
	@echo 'make release-image  record the .proto files as released'
	@echo 'make constraints    resolve the dependencies anew and pin them'
	@echo 'make clean          remove $(VENV) and every cache'

.PHONY: setup
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	    echo 'payswitch needs Python 3.11 or newer, and there is no $(PYTHON):' \
	         'install it (apt-get install python3 python3-venv) or say make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'payswitch needs Python 3.11 or newer, and $(PYTHON) is' \
	         "$$($(PYTHON) -V 2>&1): install a newer one and say make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo '$(PYTHON) cannot make virtual environments:' \
	         'install what is missing (apt-get install python3-venv)' >&2; exit 1; }
	@echo '== setup: $(VENV) (the first time takes half a minute)'
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP_INSTALL) hatchling editables
	@$(PIP_INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@

.PHONY: demo
demo: setup
	@$(BIN)/payswitch demo

.PHONY: check
check: setup $(WALLS:%=check-%)
	@echo '== all walls stand'

.PHONY: $(WALLS:%=check-%)

check-format: setup
	@echo '== format: the layout of every Python file'
	$(BIN)/ruff format --check .

check-words: setup
	@echo '== words: lint, and the words only one file may say'
	$(BIN)/ruff check .

check-types: setup
	@echo '== types: strict'
	$(BIN)/mypy $(CODE)

check-imports: setup
	@echo '== imports: every room looks downward'
	$(BIN)/lint-imports --no-logo

check-generated: setup
	@echo '== generated: the committed code is what the .proto files make'
	$(BIN)/python protos/generate.py --check

check-protos: setup
	@echo '== protos: lint, format, and nothing released is broken'
	$(BIN)/buf lint protos
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking protos --against protos/released.binpb

check-core: setup
	@echo '== core: every branch of every decision'
	$(BIN)/pytest tests/core -n 2 --cov=switch.core --cov-branch --cov-fail-under=100

check-tests: setup
	@echo '== tests: the other rings'
	$(BIN)/pytest tests --ignore=tests/core -n 2 --dist loadgroup

.PHONY: format
format: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

.PHONY: protos
protos: setup
	$(BIN)/python protos/generate.py

.PHONY: docs
docs: setup
	$(BIN)/python docs/generate.py

# What is recorded here may only grow from now on.
.PHONY: release-image
release-image: setup
	$(BIN)/buf build protos --exclude-source-info --output protos/released.binpb

.PHONY: constraints
constraints:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet --upgrade pip '.[dev]'
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  .venv-constraints/bin/python -m pip freeze --all --exclude pip --exclude payswitch; \
	} > .venv-constraints/constraints.txt
	mv .venv-constraints/constraints.txt constraints.txt
	rm -rf .venv-constraints

.PHONY: clean
clean:
	rm -rf $(VENV) .venv-constraints .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .import_linter_cache .coverage build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
