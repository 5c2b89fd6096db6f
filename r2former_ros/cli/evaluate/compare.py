# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former evaluate compare``: are the differences between runs more than chance?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = ('Compare recall@1 of the first run with that of every other run, query by query, with '
            'bootstrap intervals of the difference. With one run, compare its methods.')
    parser = actions.add_parser('compare', help='are the differences between runs real?',
                                description=text)
    parser.add_argument('runs', nargs='+', metavar='RUN.json',
                        help='a file of evaluate --json, or a report.json')
    parser.add_argument('--method', default='rerank', help='which ranking (default: rerank)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    from ...evaluation.comparison import comparison_rows
    from ...evaluation.report.result import read_result

    results = [read_result(Path(path)) for path in arguments.runs]
    rows = comparison_rows(arguments.runs, results, arguments.method)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print('  '.join(cell.ljust(width)
                        for cell, width in zip(row, widths, strict=True)).rstrip())
