# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nearest descriptors, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.intp]


def mutual_by_ratio(first: NDArray[Any], second: NDArray[Any], ratio: float) -> Pairs:
    """
    Match descriptors (N, C) and (M, C) by Euclidean distance; return pairs (K, 2) of rows.

    :param ratio: largest share of the second smallest distance, seen from ``first``.
    """
    if len(first) == 0 or len(second) < 2:
        return np.zeros((0, 2), np.intp)
    a, b = first.astype(np.float32), second.astype(np.float32)
    nearness = a @ b.T - (b * b).sum(1) / 2  # falls with the distance, for each row of a
    there, back = nearness.argmax(axis=1), (nearness - (a * a).sum(1)[:, None] / 2).argmax(axis=0)
    rows = np.arange(len(a))
    best = nearness[rows, there]
    nearness[rows, there] = -np.inf
    squared = (a * a).sum(1)
    nearest, next_nearest = squared - 2 * best, squared - 2 * nearness.max(axis=1)
    kept = rows[(back[there] == rows) & (nearest < ratio**2 * next_nearest)]
    return np.stack([kept, there[kept]], axis=1)


def mutual_by_cosine(first: NDArray[Any], second: NDArray[Any], least: float) -> Pairs:
    """Match descriptors (N, C) and (M, C) by cosine, at least so large; return pairs (K, 2)."""
    if len(first) == 0 or len(second) == 0:
        return np.zeros((0, 2), np.intp)
    cosine = _unit(first) @ _unit(second).T
    there, back = cosine.argmax(axis=1), cosine.argmax(axis=0)
    rows = np.arange(len(first))
    kept = rows[(back[there] == rows) & (cosine[rows, there] >= least)]
    return np.stack([kept, there[kept]], axis=1)


def _unit(descriptors: NDArray[Any]) -> NDArray[np.float32]:
    floats = descriptors.astype(np.float32)
    norms = np.linalg.norm(floats, axis=1, keepdims=True).clip(1e-6)
    return np.asarray(floats / norms, np.float32)
