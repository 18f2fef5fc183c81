# The two commands of the README are `make demo` and `make test`. Each makes .venv when it is missing,
# installs the pinned versions once, and does its job; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check format clean help

help:
	@echo "make demo    train LeNet on handwritten digits and write runs/demo/report.html"
	@echo "make test    run every test"
	@echo "make check   ruff, mypy and the import contracts"
	@echo "make format  let ruff put the code in order"
	@echo "make clean   remove .venv and the caches (runs/ stays)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "convscope needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there); name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed, see above; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing convscope into $(VENV) (once; PyTorch is a large download) ..."
	@$(INSTALL) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt tests/oracles.txt | $(BIN)/python
	@echo "Installing convscope and its development tools into $(VENV) (once; PyTorch is a large download) ..."
	@$(INSTALL) -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/oracles.txt
	@touch $(CORE) $@

demo: $(CORE)
	@$(BIN)/convscope train --model lenet --data digits --out runs/demo --force

test: $(DEV)
	@$(BIN)/python -m pytest -n auto --dist worksteal

check: $(DEV)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
