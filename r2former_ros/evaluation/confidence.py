# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far a score can be trusted: intervals, reliability and sparsification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
Z_95 = 1.959964
Values = NDArray[np.float64]


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927); NaN without any trial."""
    if not total:
        return math.nan, math.nan
    share, z_total = right / total, Z_95**2 / total
    centre = (share + z_total / 2) / (1 + z_total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + z_total / (4 * total)) / (1 + z_total)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Reliability:
    """
    Mean score and share of right answers in equal bins of the score, empty bins left out.

    ``error`` is the expected calibration error (Guo et al. 2017): the gap between both, weighted
    by the number of answers.
    """

    score: Values
    right: Values
    count: NDArray[np.int64]
    error: float

    @classmethod
    def of(cls, right: Sequence[bool], scores: Sequence[float]) -> Reliability:
        """Sort answers into bins; scores are clipped to [0, 1]."""
        values, flags = np.clip(np.asarray(scores, float), 0, 1), np.asarray(right, float)
        rows = np.minimum((values * BINS).astype(int), BINS - 1)
        count = np.bincount(rows, minlength=BINS)
        some = count > 0
        mean_score, share = (np.bincount(rows, weights, BINS)[some] / count[some]
                             for weights in (values, flags))
        error = float((count[some] * np.abs(mean_score - share)).sum() / max(len(values), 1))
        return cls(mean_score, share, count[some], error if len(values) else math.nan)


def sparsification(right: Sequence[bool], scores: Sequence[float]) -> tuple[Values, Values]:
    """
    Return the share of answers that are left out, lowest scores first, and the error of the rest.

    Both are (N,), from none left out to all but one.
    """
    flags = np.asarray(right, float)[np.argsort(-np.asarray(scores, float), kind='stable')]
    wrong = 1 - np.cumsum(flags) / np.arange(1, len(flags) + 1)
    left_out = 1 - np.arange(1, len(flags) + 1) / max(len(flags), 1)
    return left_out[::-1], wrong[::-1]
