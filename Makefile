# Two commands do all the set-up: `make run` trains on drawn scenes, `make test` runs the suite but for its slow tests.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check slow lock locked clean

run: .venv/installed
	$(BIN)/python -m deeplab_lightning fit -c configs/v3plus.yaml

test: .venv/installed-test
	$(BIN)/python -m pytest -m "not slow" -n 2

slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-test: pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ .venv/installed

# Pins of every package with the hash of its file, for this Python and platform; and an environment of just those.
lock: .venv/installed
	$(BIN)/python tools/lock.py > requirements.lock.part
	mv requirements.lock.part requirements.lock

locked: requirements.lock
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/installed .venv/installed-test

clean:
	rm -rf .venv build *.egg-info
