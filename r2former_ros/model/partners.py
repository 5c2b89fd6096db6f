# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The five best partners of each patch, compiled by numba for the CPU at hand.

A general selection sorts parts of every row. Nearly all correlations are below the fifth best so
far, and one comparison passes them over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .lanes import compiled
from .reranker import PAIR_VALUES, PARTNERS


def pair_up_compiled(
    correlation: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """Do as ``pair_up``, all on the CPU."""
    count, rows, columns = correlation.shape
    pairs = np.empty((count, rows + columns, PARTNERS, PAIR_VALUES), np.float32)
    _pair_up(correlation.numpy(), left.numpy(), right.numpy(), pairs)
    return torch.from_numpy(pairs)


@compiled
def _pair_up(correlation: Any, left: Any, right: Any, pairs: Any) -> None:
    count, rows, columns = correlation.shape
    best = np.empty((rows + columns, PARTNERS), np.float32)
    partners = np.empty((rows + columns, PARTNERS), np.int64)
    for k in range(count):
        best[:] = -np.float32(2)  # less than any correlation
        _find(correlation[k], best, partners)
        for patch in range(rows + columns):
            for rank in range(PARTNERS):
                partner = partners[patch, rank]
                row, column = (patch, partner) if patch < rows else (partner, patch - rows)
                pair = pairs[k, patch, rank]
                for value in range(3):
                    pair[value] = left[k, row, value]
                    pair[3 + value] = right[k, column, value]
                pair[6] = best[patch, rank]


@compiled
def _find(correlation: Any, best: Any, partners: Any) -> None:
    """Find the best of all rows, then of all columns."""
    rows, columns = correlation.shape
    for row in range(rows):
        for column in range(columns):
            value = correlation[row, column]
            if value > best[row, PARTNERS - 1]:
                _insert(value, column, best[row], partners[row])
            if value > best[rows + column, PARTNERS - 1]:
                _insert(value, row, best[rows + column], partners[rows + column])


@compiled
def _insert(value: Any, partner: int, best: Any, partners: Any) -> None:
    """Put a value among the best, which descend, and let the last go."""
    at = PARTNERS - 1
    while at > 0 and best[at - 1] < value:
        best[at], partners[at] = best[at - 1], partners[at - 1]
        at -= 1
    best[at], partners[at] = value, partner
