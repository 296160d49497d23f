# Every target makes its own .venv on first use; all it takes is Python 3.11 or newer, gcc and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: help demo test lint bench compare docs clean

help:
	@echo "make demo    reconstruct MR and CT raw files to images in demo/"
	@echo "make test    run the tests"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make bench   measure speed and image quality against the peers that are installed"
	@echo "make compare small jobs against peers: which became slower (under a minute)"
	@echo "make docs    write the API reference to docs/site"
	@echo "make clean   remove .venv and everything made"

# Two stamps, so that the demo does not wait for test tools.
$(VENV)/spinray: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); $(PYTHON) -m pip install --user -q virtualenv && $(PYTHON) -m virtualenv -q $(VENV); }
	@$(PIP) -e .
	@touch $@

$(VENV)/dev: $(VENV)/spinray
	@echo "Installing the test tools ..."
	@$(PIP) -e '.[dev]'
	@touch $@

demo: $(VENV)/spinray
	@$(BIN)/spinray demo --output demo

# A file of tests is one process's: its fixtures are made once.
test: $(VENV)/dev
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@# The root is the package, whatever the clone is called: show it to mypy under its name.
	@mkdir -p $(VENV)/src && ln -sfn $(CURDIR) $(VENV)/src/spinray
	@MYPYPATH=$(VENV)/src $(BIN)/mypy -p spinray
	@$(BIN)/lint-imports

# Modules with figures of the README: SUITES write rows, STUDIES files of their own form.
SUITES  := nufft ct mri_speed network_speed gpu server reading grasp simulators
STUDIES := ct_corrections ct_iterative mri parallel_imaging learned diffusion ratios soak

bench: $(VENV)/dev
	@$(BIN)/spinray bench all --output bench
	@for job in $(SUITES) $(STUDIES); do \
	  $(BIN)/python -m spinray.benchmarks.$$job --output benchmarks/results/$$job.json || exit 1; done

compare: $(VENV)/dev
	@$(BIN)/spinray bench small --output bench/small
	@$(BIN)/spinray bench --compare benchmarks/results/ratios.json bench/small/results.json

docs: $(VENV)/dev
	@$(PIP) -e '.[docs]'
	@$(BIN)/pdoc --docformat numpy --output-directory docs/site spinray
	@echo "Open docs/site/index.html"

clean:
	rm -rf $(VENV) demo bench docs/site build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
