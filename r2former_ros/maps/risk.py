# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a second traverse of a map says about the risk of accepting an answer there.

The thresholds of the weights (``maps/trust.py``) hold on average over maps; on one map the share
of wrong answers differs. Queries of known pose move the threshold of this map: its own share of
wrong answers counts by their number, that of the weights as ``PRIOR`` answers, so that few queries
change little. What is certified is another matter: Learn Then Test (Angelopoulos et al., 2021)
accepts ever more answers, best first, as long as an exact binomial test allows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from ..config import Config
from ..records import Floats
from .calibration import score_settings
from .place_map import PlaceMap
from .trust import Trust

NOTE = 'risk'
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
PRIOR = 20
"""Answers that the rate of the weights counts for."""
ERROR = 0.1
"""Probability that a certified threshold does not keep its rate."""
STRICTEST = 0.995
GRID = np.linspace(0.5, STRICTEST, 100)


@dataclass(frozen=True)
class Threshold:
    """
    The probability that keeps the share of wrong answers below ``rate`` on this map.

    ``accepted`` queries reached it, ``wrong`` of them were wrong; the true share is between
    ``low`` and ``high`` at 90 %. ``certified`` is the least probability for which the rate is
    certain at 90 %, None if there are too few queries or too many wrong ones.
    """

    rate: float
    probability: float
    accepted: int
    wrong: int
    low: float
    high: float
    certified: float | None


@dataclass(frozen=True)
class Risk:
    """What ``queries`` of a second traverse, ``right`` of them right, say about a map."""

    settings: dict[str, Any]
    queries: int
    right: int
    thresholds: tuple[Threshold, ...]

    def threshold(self, false_discovery_rate: float) -> float:
        """Return the probability that an answer must reach, interpolated between the rates."""
        rates = [one.rate for one in self.thresholds]
        return float(np.interp(
            false_discovery_rate, rates, [one.probability for one in self.thresholds]))


def assess(
    probabilities: Sequence[float], right: Sequence[bool], trust: Trust, settings: dict[str, Any]
) -> Risk:
    """
    Judge the answers to the queries of a second traverse.

    :param probabilities: of the best hypothesis of each query, (N,), and whether it was right.
    :param trust: gives the thresholds that hold without any query.
    """
    said, good = np.array(probabilities, np.float64), np.array(right, np.bool_)
    estimates = np.array([_estimate(one, said, good, trust) for one in GRID])
    rows = []
    for rate in RATES:
        kept = np.flatnonzero(estimates <= rate)
        least = float(GRID[kept[0]]) if len(kept) else STRICTEST
        accepted = said >= least
        count, wrong = int(accepted.sum()), int((accepted & ~good).sum())
        rows.append(Threshold(rate, least, count, wrong, *interval(wrong, count),
                              certified(said, good, rate)))
    return Risk(settings, len(said), int(good.sum()), tuple(rows))


def certified(said: Floats, good: NDArray[np.bool_], rate: float) -> float | None:
    """
    Return the least probability whose answers are certainly wrong at most at a rate.

    The number of accepted answers grows from the fewest that can prove anything; the first one
    whose test fails ends it (fixed-sequence testing).
    """
    order = np.argsort(-said, kind='stable')
    wrong = np.cumsum(~good[order])
    fewest = math.ceil(math.log(ERROR) / math.log(1 - rate))
    counts = np.arange(fewest, len(said) + 1)
    failed = binom.cdf(wrong[counts - 1], counts, rate) > ERROR
    passed = int(failed.argmax()) if failed.any() else len(counts)
    return float(said[order[counts[passed - 1] - 1]]) if passed else None


def interval(wrong: int, count: int) -> tuple[float, float]:
    """Return the exact 90 % interval of a share (Clopper and Pearson)."""
    low = float(beta.ppf(0.05, wrong, count - wrong + 1)) if wrong else 0.0
    high = float(beta.ppf(0.95, wrong + 1, count - wrong)) if wrong < count else 1.0
    return low, high


def write_risk(place_map: PlaceMap, risk: Risk) -> None:
    """Store it in the map, replacing the previous one."""
    place_map.write_note(NOTE, asdict(risk))


def risk_of(place_map: PlaceMap, config: Config) -> Risk | None:
    """Return what is stored in a map; None if nothing is, or for other settings."""
    stored = place_map.note(NOTE)
    if not stored or stored['settings'] != score_settings(config):
        return None
    rows = tuple(Threshold(**one) for one in stored['thresholds'])
    return Risk(stored['settings'], stored['queries'], stored['right'], rows)


def _estimate(least: float, said: Floats, good: NDArray[np.bool_], trust: Trust) -> float:
    """Return the share of wrong answers above a probability, with the prior of the weights."""
    accepted = said >= least
    wrong = float((accepted & ~good).sum())
    return (wrong + PRIOR * trust.rate(least)) / (float(accepted.sum()) + PRIOR)
