# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of a result: rows of text for the terminal, CSV and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..outcomes import RERANK, RETRIEVAL


def table_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the table of a result: a row a measure, a column a method; the first is the head."""
    methods = result['methods']
    rows = [['measure', *(title_of(name) for name in methods)]]
    for measure in methods[RETRIEVAL]:
        values = [figures[measure] for figures in methods.values()]
        if any(value is not None for value in values):
            rows.append([measure, *(number(value) for value in values)])
    return rows


def title_of(method: str) -> str:
    """Return the word by which tables and curves name a method."""
    return 'reranked' if method == RERANK else method


def number(value: float | None, digits: int = 3) -> str:
    """Write a figure, or a dash where there is none."""
    return '-' if value is None else f'{value:.{digits}f}'
