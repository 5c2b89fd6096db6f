# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0

VENV := .venv
PYTHON := $(VENV)/bin/python
NEEDS := $(VENV)/.needs
STAMP := $(VENV)/.complete
UV := $(shell command -v uv)
COMMA := ,
OUT ?= demo_out

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-matrix lint bench docs reference clean

help:  ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: venv  ## see a camera localize itself in a synthetic town (pictures in demo_out/)
	$(VENV)/bin/r2former demo --out $(OUT)

test: venv  ## run all tests
	$(PYTHON) -m pytest

test-matrix:  ## run them on Python 3.10 to 3.14 and on ROS 2 Kilted and Jazzy; says what cannot be run here
	python3 .ci/matrix.py

lint: venv  ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: venv  ## time every stage of a query, plain and fast paths side by side (also demo_out/bench.json)
	$(VENV)/bin/r2former bench small r2former-tiny --device cpu --json $(OUT)/bench.json

docs: venv  ## build the documentation as a site in docs/_build; warnings are errors
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build

reference: venv  ## regenerate docs/settings.md, docs/node.md and config/localize.yaml from the code
	$(PYTHON) docs/make_reference.py

venv: $(STAMP)  ## make .venv with everything, ROS 2 included (uv if present, else pip)

# The project itself is installed editable: edits count at once. ros2 launch needs a real
# installation (see README).
$(STAMP): $(NEEDS) setup.py setup.cfg pyproject.toml
	$(if $(UV),uv pip install --python $(PYTHON),$(PYTHON) -m pip install) \
	    --no-deps --no-build-isolation -e .
	touch $@

# Begun anew each time, and marked only at the end: an interrupted installation, or what other
# requirements left behind, is never taken for a whole one.
$(NEEDS): $(wildcard requirements/*.txt)
	rm -rf $(VENV)
	$(if $(UV),uv venv --python '>=3.11$(COMMA)<3.13' $(VENV),python3 -m venv $(VENV))
	$(if $(UV),uv pip install --python $(PYTHON),$(PYTHON) -m pip install --progress-bar off) \
	    -r requirements/dev.txt
	touch $@

clean:  ## remove what the other targets made
	rm -rf $(VENV) .matrix $(OUT) docs/_build build dist install log *.egg-info .pytest_cache .mypy_cache .ruff_cache
