# What a developer and CI run. Each target makes its own virtual environment if there is none.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --constraint constraints.txt
DEMO   ?= demo

# Two modules of tests at a time; a module's own fixtures are made once.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadscope
# BLAS and torch threads inside tests; results must not depend on the machine.
TEST_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONHASHSEED=0

.PHONY: help demo test test-full check laws bench bench-precision bench-precision-pinned bench-decoys bench-core bench-mechanisms bench-selecting bench-speed bench-gpu docs wheel clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

demo: $(VENV)/.core  ## Train a small LeNet on bundled digits, study "even", write demo/report.html
	$(BIN)/neucept demo --out $(DEMO)

test: $(VENV)/.test  ## The tests that every change runs
	$(TEST_ENV) $(PYTEST) -m "not full"

test-full: test $(VENV)/.compare  ## All tests: those of `test`, then the long ones and the comparisons
	$(TEST_ENV) $(PYTEST) -m full

check: $(VENV)/.check  ## Style, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

laws: $(VENV)/.test $(VENV)/.compare  ## The laws of selection with all 200 repeats, beside knockpy
	$(TEST_ENV) $(BIN)/python benchmarks/laws.py --repeats 200

bench: $(VENV)/.compare  ## Capture, and the published recipe beside knockpy; tables and JSON
	$(BIN)/python benchmarks/capture.py
	$(BIN)/python benchmarks/paper_recipe.py

bench-precision: $(VENV)/.compare  ## Realised precision on layers of real networks; over an hour, resumable
	$(BIN)/python benchmarks/precision.py

bench-precision-pinned: $(VENV)/.compare  ## Its pinned part, a few minutes
	$(BIN)/python benchmarks/precision.py --pinned

bench-decoys: $(VENV)/.compare  ## True nulls beside the neurons of real networks; over an hour, resumable
	$(BIN)/python benchmarks/decoys.py

bench-core: $(VENV)/.compare  ## How much a core keeps, how small and how stable it is; minutes
	$(BIN)/python benchmarks/core.py

bench-mechanisms: $(VENV)/.compare  ## Mechanisms where the truth is known; over an hour, resumable
	$(BIN)/python benchmarks/mechanisms.py

bench-selecting: $(VENV)/.compare  ## How long one selection takes; two minutes
	$(BIN)/python benchmarks/selecting.py

bench-speed: $(VENV)/.compare  ## The published loop beside ours, how the time of a draw grows, and whole studies
	$(BIN)/python benchmarks/speed.py

bench-gpu: $(VENV)/.compare  ## The default with a GPU beside the same without; writes nothing where there is none
	$(BIN)/python benchmarks/gpu.py

docs: $(VENV)/.docs  ## The guide and the API pages, warnings as errors
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

wheel: $(VENV)/.check  ## Build the wheel, install it alone elsewhere, run a tiny study there
	.ci/wheel

clean:  ## Remove what was built; the virtual environment stays
	rm -rf build dist docs/_build docs/api/generated .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/.%: $(VENV)/.core
	$(PIP) --editable ".[$*]"
	touch $@
