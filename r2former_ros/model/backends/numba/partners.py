# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The five best partners of each patch, compiled by numba for this CPU.

A general top-k sorts parts of every row. Nearly all correlations are below the fifth best so far,
so here a single comparison rejects them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch

from ...reranker import CANDIDATE, CORRELATION, PAIR_VALUES, PARTNERS

LEAST = -1.0
"""Lower bound of a correlation. NaN counts as this, and as the first patch."""

exactly: Any = numba.njit(nogil=True, cache=True, error_model='numpy')
"""Without fast math, which may treat NaN as any number."""


def pair_up_compiled(
    correlation: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """Compute ``pair_up`` on the CPU; of equal correlations the first patch wins."""
    count, rows, columns = correlation.shape
    pairs = np.empty((count, rows + columns, PARTNERS, PAIR_VALUES), np.float32)
    _pair_up(correlation.numpy(), left.contiguous().numpy(), right.numpy(), pairs)
    return torch.from_numpy(pairs)


@exactly
def _pair_up(correlation: Any, left: Any, right: Any, pairs: Any) -> None:
    count, rows, columns = correlation.shape
    best = np.empty((rows + columns, PARTNERS), np.float32)
    partners = np.empty((rows + columns, PARTNERS), np.int64)
    for k in range(count):
        best[:] = -np.inf
        partners[:] = 0
        _find(correlation[k], best, partners)
        for patch in range(rows + columns):
            for rank in range(PARTNERS):
                partner = partners[patch, rank]
                row, column = (patch, partner) if patch < rows else (partner, patch - rows)
                pair = pairs[k, patch, rank]
                for value in range(CANDIDATE):
                    pair[value] = left[k, row, value]
                    pair[CANDIDATE + value] = right[k, column, value]
                pair[CORRELATION] = max(best[patch, rank], LEAST)


@exactly
def _find(correlation: Any, best: Any, partners: Any) -> None:
    """Find the best of each row, followed by the best of each column."""
    rows, columns = correlation.shape
    for row in range(rows):
        for column in range(columns):
            value = correlation[row, column]
            if value > best[row, PARTNERS - 1]:
                _insert(value, column, best[row], partners[row])
            if value > best[rows + column, PARTNERS - 1]:
                _insert(value, row, best[rows + column], partners[rows + column])


@exactly
def _insert(value: Any, partner: int, best: Any, partners: Any) -> None:
    """Insert a value into the best, which descend, and drop the last."""
    at = PARTNERS - 1
    while at > 0 and best[at - 1] < value:
        best[at], partners[at] = best[at - 1], partners[at - 1]
        at -= 1
    best[at], partners[at] = value, partner
