# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of a result: rows of text for the terminal, CSV and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..outcomes import RERANK, RETRIEVAL


def table_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return a row per measure and a column per method; the first row is the head."""
    methods = result['methods']
    rows = [['measure', *(title_of(name) for name in methods)]]
    for measure in methods[RETRIEVAL]:
        values = [measures[measure] for measures in methods.values()]
        if any(value is not None for value in values):
            rows.append([measure, *(number(value) for value in values)])
    return rows


def interval_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the same table, reranked first, with the interval of each recall@N on a new line."""
    methods = [RERANK, *(name for name in result['methods'] if name != RERANK)]
    rows = [['measure', *map(title_of, methods)]]
    for measure in result['methods'][RETRIEVAL]:
        cells = [_with_interval(result, method, measure) for method in methods]
        if any(cell != '-' for cell in cells):
            rows.append([measure, *cells])
    return rows


def decision_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return what accepting every answer with at least the smallest score would mean."""
    names = {
        'min_score': 'smallest score (decision.min_score)',
        'accepted': 'accepted, of the queries in the map',
        'precision': 'of these right',
        'false_accepts': 'accepted, of the queries outside the map',
        'error_median_m': 'error of the accepted, median [m]',
        'error_p95_m': 'error of the accepted, 95 % [m]',
        'error_median_deg': 'error of the accepted, median [deg]',
        'error_p95_deg': 'error of the accepted, 95 % [deg]',
    }
    rows = [[text, number(result['decision'][name], 2)] for name, text in names.items()
            if result['decision'][name] is not None]
    for name, words in (('states', 'images in state'), ('live', 'live node,')):
        rows += [[f'{words} {key}', f'{count:g}']
                 for key, count in result.get(name, {}).items()]
    return [['measure', 'reranked'], *rows]


def cost_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return latency by stage, memory and size of the map."""
    rows = [[f'{stage} [ms]', number(ms, 1), number(result['latency_p95_ms'].get(stage), 1)]
            for stage, ms in result['latency_ms'].items()]
    return [
        ['stage', 'median', '95 %'], *rows,
        [f'{memory_owner(result)}, peak [MiB]', number(result['memory_mb'], 0), ''],
        ['map [KiB per place]', number(result['map_bytes_per_place'] / 1024, 1), ''],
    ]


def memory_owner(result: Mapping[str, Any]) -> str:
    """Return whose memory a result holds: that of the live node if there was one."""
    return 'memory of the node' if 'live' in result else 'memory'


def title_of(method: str) -> str:
    """Return the word by which tables and curves name a method."""
    return 'reranked' if method == RERANK else method


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash if there is none."""
    return '-' if value is None else f'{value:.{digits}f}'


def _with_interval(result: Mapping[str, Any], method: str, measure: str) -> str:
    text = number(result['methods'][method][measure])
    interval = result['recall_intervals'][method].get(measure)
    if interval is None or interval[0] is None:
        return text
    return f'{text}\n{interval[0]:.3f} to {interval[1]:.3f}'
