# Two commands do all the set-up: `make run` trains on drawn scenes, `make test` runs the whole suite.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check slow clean

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

clean:
	rm -rf .venv build *.egg-info
