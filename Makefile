# Two commands: `make train` runs the main job, `make test` passes the tests.
# Each sets up what it needs in .venv and touches nothing outside this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Caches of pip, uv, matplotlib and others stay in the clone.
export XDG_CACHE_HOME := $(CURDIR)/$(VENV)/cache
export MPLCONFIGDIR := $(XDG_CACHE_HOME)/matplotlib

.PHONY: train test lint types clean

train: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks train

test: lint types
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/pyright

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .hypothesis

# uv where it is installed, else pip. A stamp is written only after the install has
# finished, so an interrupted set-up is taken up again by the next call.
$(VENV)/bench.stamp: pyproject.toml
	@./.ci/install.sh "$(PYTHON)" "$(VENV)" bench
	@touch $@

$(VENV)/dev.stamp: pyproject.toml
	@./.ci/install.sh "$(PYTHON)" "$(VENV)" dev
	@touch $@ $(VENV)/bench.stamp
