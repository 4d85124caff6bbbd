# Two commands: `make train` runs the main job, `make test` passes the tests.
# Each sets up what it needs in .venv and touches nothing outside this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Caches of pip, uv, matplotlib and others stay in the clone.
export XDG_CACHE_HOME := $(CURDIR)/$(VENV)/cache
export MPLCONFIGDIR := $(XDG_CACHE_HOME)/matplotlib

# Worker processes that share the tests. Beyond four, starting JAX costs more than it
# saves.
WORKERS := -n auto --maxprocesses 4 --dist loadfile
PYTEST := $(BIN)/python -m pytest $(WORKERS)

.PHONY: train test test-all test-slow test-floor test-newest test-wheel mutants docs lint types \
        clean

train: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks train

# Lint, types, doctests and all tests but the slow ones, in minutes.
test: lint types
	$(PYTEST) -m "not slow" --fast-compile

# The slow ones too.
test-all: lint types
	$(PYTEST)

test-slow: $(VENV)/dev.stamp
	$(PYTEST) -m slow

# Plant faults, one at a time, and see that a test fails for each. WORDS chooses some:
# make mutants WORDS="santa benchmarks/sweep"
mutants: $(VENV)/dev.stamp
	nice $(BIN)/python tests/mutants/run.py $(WORDS)

# The library's tests at exactly the oldest versions that pyproject.toml allows:
# make test-floor PYTHON=python3.11
test-floor:
	./.ci/test-floor.sh "$(PYTHON)" "$(VENV)-floor" $(WORKERS)

# All tests on another Python, with the newest versions that it gets:
# make test-newest PYTHON=python3.13
test-newest:
	./.ci/install.sh "$(PYTHON)" "$(VENV)-newest" dev
	$(VENV)-newest/bin/python -m pytest $(WORKERS)

# Build sdist and wheel; the library's tests against the wheel, in another folder.
test-wheel:
	./.ci/test-wheel.sh "$(PYTHON)" "$(VENV)-wheel" $(WORKERS)

# The site, in docs/_build/html: warnings are errors, its pages are executed, examples of
# docstrings are run, links within it are followed. No network is needed.
SPHINX := $(BIN)/sphinx-build -q -W --keep-going -n -d docs/_build/doctrees
docs: $(VENV)/docs.stamp
	$(SPHINX) -b html docs docs/_build/html
	$(SPHINX) -b doctest docs docs/_build/doctest
	$(SPHINX) -b linkcheck docs docs/_build/linkcheck

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# --verifytypes ignores --pythonpath and asks the first python on the PATH for packages.
types: $(VENV)/dev.stamp
	$(BIN)/pyright
	$(BIN)/pyright -p .ci/pyright/programs.json --pythonpath $(BIN)/python
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=. $(BIN)/pyright --ignoreexternal \
	    --verifytypes padam_optax > $(VENV)/types.txt \
	    || { cat $(VENV)/types.txt; false; }

clean:
	rm -rf $(VENV) $(VENV)-* dist docs/_build docs/api/generated runs .pytest_cache .ruff_cache .hypothesis

# uv where it is installed, else pip. A stamp is written only after the install has
# finished, so an interrupted set-up is taken up again by the next call.
$(VENV)/bench.stamp: pyproject.toml
	@./.ci/install.sh "$(PYTHON)" "$(VENV)" bench
	@touch $@

$(VENV)/dev.stamp: pyproject.toml
	@./.ci/install.sh "$(PYTHON)" "$(VENV)" dev
	@touch $@ $(VENV)/bench.stamp

$(VENV)/docs.stamp: pyproject.toml
	@./.ci/install.sh "$(PYTHON)" "$(VENV)" docs
	@touch $@ $(VENV)/bench.stamp
