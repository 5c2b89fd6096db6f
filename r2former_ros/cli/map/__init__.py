# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map``: one action per file."""

from __future__ import annotations

from importlib import import_module
from typing import Any

ACTIONS = ('build', 'info', 'check', 'merge', 'prune', 'export', 'reencode', 'plot', 'calibrate')


def add_parser(commands: Any) -> None:
    """Register the subcommand and its own subcommands."""
    parser = commands.add_parser('map', help='build, inspect and change maps')
    actions = parser.add_subparsers(required=True, metavar='ACTION')
    for name in ACTIONS:
        import_module(f'.{name}', __name__).add_parser(actions)
