# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.complete
OUT ?= demo_out

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint clean

help:  ## show this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: venv  ## see a camera localize itself in a synthetic town (pictures in demo_out/)
	$(VENV)/bin/r2former demo --out $(OUT)

test: venv  ## run all tests
	$(PYTHON) -m pytest

lint: venv  ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

venv: $(STAMP)  ## make .venv with everything, ROS 2 included (uv if present, else pip)

# The stamp comes last, so an interrupted installation is begun again. The project itself is
# installed editable: edits count at once. ros2 launch needs a real installation (see README).
$(STAMP): requirements/base.txt requirements/ros.txt requirements/dev.txt setup.py
	rm -rf $(VENV)
	@if command -v uv >/dev/null; then \
	    uv venv --python '>=3.10,<3.13' $(VENV) && \
	    uv pip install --python $(PYTHON) -r requirements/dev.txt && \
	    uv pip install --python $(PYTHON) --no-deps --no-build-isolation -e . ; \
	else \
	    python3 -m venv $(VENV) && \
	    $(PYTHON) -m pip install --progress-bar off -r requirements/dev.txt && \
	    $(PYTHON) -m pip install --no-deps --no-build-isolation -e . ; \
	fi
	touch $@

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(OUT) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
