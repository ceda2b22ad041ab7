# Gnomon's errands. `make demo` and `make test` set everything up by themselves: a virtual environment in .venv with the
# versions of constraints.txt. Another Python: make test PYTHON=python3.12. More threads: make demo OMP_NUM_THREADS=4.

PYTHON ?= python3
VENV ?= .venv
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS
WORKERS ?= 2

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --no-input --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test test-all doctest lint format types wheel bench clean

help:
	@echo 'make demo     fit, sample and check bundled data; ends with the path of a report'
	@echo 'make test     the quick tests                  make test-all  the long ones too (half an hour)'
	@echo 'make doctest  the examples in the docstrings'
	@echo 'make lint     ruff: rules and format        make format   let ruff mend them'
	@echo 'make types    mypy on src                   make wheel    build the wheel into dist and try it elsewhere'
	@echo 'make bench    speed, memory and start-up, beside peers'
	@echo 'make clean    remove .venv, caches and built files'

demo: $(VENV)/.package
	$(RUN) -m gnomon demo --overwrite $(DEMO)

test: $(VENV)/.dev
	$(RUN) -m pytest -q --numprocesses $(WORKERS) -m 'not slow' $(PYTEST)

test-all: $(VENV)/.dev
	$(RUN) -m pytest -q --numprocesses $(WORKERS) $(PYTEST)

doctest: $(VENV)/.dev
	$(RUN) -m pytest -q src

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(VENV)/.dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: $(VENV)/.dev
	$(RUN) -m mypy

wheel: $(VENV)/.dev
	bash .ci/wheel $(RUN)

bench: $(VENV)/.bench
	$(RUN) -m benchmarks.startup
	$(RUN) -m benchmarks.training
	$(RUN) -m benchmarks.memory

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Torch comes first and alone, so that no other requirement chooses its build.
$(VENV)/.package: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 14) else "Gnomon needs Python 3.11 to 3.14; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.package
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.package
	$(PIP) --no-build-isolation --editable '.[bench]'
	@touch $@
