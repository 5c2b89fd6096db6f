# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation as a site: ``make docs``. rosdoc2 finds this file too."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

project = 'r2former_ros'
author = 'The r2former_ros authors'
version = release = re.search(
    r"__version__ = '(.+)'", (ROOT / 'r2former_ros' / '__init__.py').read_text()).group(1)
extensions = ['myst_parser', 'sphinxcontrib.mermaid']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = 'r2former_ros'
myst_enable_extensions = ['deflist']
myst_fence_as_directive = ['mermaid']
myst_heading_anchors = 3
