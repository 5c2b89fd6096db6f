# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Tell real differences between runs from chance.

Recall@1 is compared query by query: bootstrap samples draw queries, each with the outcomes of
both runs (Efron and Tibshirani 1993, chapter 13: percentile intervals of paired differences).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

SAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 0
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """
    Recall@1 of two answers to the same queries, and the interval of ``other - base``.

    ``only_base`` and ``only_other`` count the queries that just one of them answers rightly.
    """

    base: float
    other: float
    low: float
    high: float
    only_base: int
    only_other: int
    queries: int

    @property
    def gain(self) -> float:
        """Recall@1 of the other less that of the base."""
        return self.other - self.base

    @property
    def clear(self) -> bool:
        """Say whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_difference(base: Flags, other: Flags) -> Difference:
    """
    Compare flags (N,) of right first answers to the same queries, in the same order.

    The random draws are seeded, so the interval is reproducible.
    """
    change = other.astype(np.int64) - base.astype(np.int64)
    random, count = np.random.default_rng(SEED), len(change)
    # A sample is described by how often it draws each kind of query: -1, 0, 1.
    kinds = np.array([-1, 0, 1])
    shares = np.array([(change == kind).mean() for kind in kinds])
    gains = random.multinomial(count, shares, size=SAMPLES) @ kinds / count
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(gains, [tail, 100 - tail])
    return Difference(
        float(base.mean()), float(other.mean()), float(low), float(high),
        int((change == -1).sum()), int((change == 1).sum()), count,
    )


def compare(
    base: Mapping[str, Any], other: Mapping[str, Any], base_method: str, other_method: str
) -> Difference:
    """
    Compare two results on the queries they share and both maps show.

    :raises DatasetError: if they share no such query, or lack the method.
    """
    ours, theirs = (right_by_query(result, method)
                    for result, method in ((base, base_method), (other, other_method)))
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise DatasetError(f'{base["source"]} and {other["source"]} have no query in common')
    return paired_difference(
        np.array([ours[name] for name in shared]), np.array([theirs[name] for name in shared])
    )


def right_by_query(result: Mapping[str, Any], method: str) -> dict[str, bool]:
    """
    Return for each query whose place the map shows whether the first answer is right.

    :raises DatasetError: if the result does not have the method.
    """
    if method not in result['methods']:
        names = ', '.join(result['methods'])
        raise DatasetError(f'{result["source"]}: was not run with {method}; it has {names}')
    return {
        one['name']: one['answers'][method]['first_right'] == 1
        for one in result['per_query'] if one['positives']
    }


def comparison_rows(
    names: Sequence[str], results: Sequence[Mapping[str, Any]], method: str
) -> list[list[str]]:
    """Return a table that compares runs with the first one, or the methods of a single run."""
    if len(results) == 1:
        others = [name for name in results[0]['methods'] if name != method]
        pairs = [(name, compare(results[0], results[0], method, name)) for name in others]
        first = method
    else:
        pairs = [(name, compare(results[0], result, method, method))
                 for name, result in zip(names[1:], results[1:], strict=True)]
        first = names[0]
    head = ['', 'queries', f'recall@1 ({first})', 'recall@1', 'difference', '95 % interval',
            'only first', 'only this', '']
    return [head, *([name, *_cells(difference)] for name, difference in pairs)]


def _cells(one: Difference) -> list[str]:
    return [
        str(one.queries), f'{one.base:.3f}', f'{one.other:.3f}', f'{one.gain:+.3f}',
        f'[{one.low:+.3f}, {one.high:+.3f}]', str(one.only_base), str(one.only_other),
        'clear' if one.clear else 'not told apart',
    ]

