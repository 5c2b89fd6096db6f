# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What scores mean on one map: a threshold for a wanted false-accept rate, and a probability.

A false accept happens on the best hypothesis, so what is kept is the best score of images that
show none of the places they were compared with. Scores are taken as log odds, where they do not
crowd at 0 and 1. ``map_tools.calibrating`` collects them; the notes of the map hold the result.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .config import Config
from .errors import MapError
from .place_map import PlaceMap

NOTE = 'calibration'
TAIL = 0.1
"""Share of the largest negative scores that the tail is fitted to."""
MARGIN = 1e-15
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """
    Best scores, as ascending log odds, of places compared with far ones and with their own.

    ``settings`` are those that the scores depend on; ``positives_from`` says whether a place was
    recognised from another session or from its neighbours in the same, which is easier.
    """

    settings: dict[str, Any]
    places: int
    radius_m: float
    false_accept_rate: float
    negatives: list[float]
    positives: list[float]
    positives_from: str
    slope: float
    intercept: float

    def threshold(self, rate: float) -> float:
        """
        Return the score that the best hypothesis of a foreign image exceeds at this rate.

        Above a tenth it is the quantile of the negatives; below, that of an exponential tail
        fitted to the largest tenth, which uses more than one or two scores and goes on beyond
        the largest. (A generalised Pareto tail of shape 0.)
        """
        negatives = np.array(self.negatives)
        if rate >= TAIL:
            return probability_of(float(np.quantile(negatives, 1 - rate)))
        start = float(np.quantile(negatives, 1 - TAIL))
        excess = float((negatives[negatives >= start] - start).mean())
        return probability_of(start + excess * math.log(TAIL / rate))

    def accepted(self, score: float) -> float:
        """Return the share of the positives with at least this score."""
        return float((np.array(self.positives) >= log_odds(score)).mean())

    def probability(self, score: float) -> float:
        """
        Return how probably a hypothesis with this score is right.

        If the camera is as often outside the map as in it: the fit gives both the same weight.
        """
        return probability_of(self.slope * log_odds(score) + self.intercept)


def log_odds(score: float) -> float:
    """Return log(score / (1 - score)), finite also at 0 and 1."""
    score = min(max(score, MARGIN), 1 - MARGIN)
    return math.log(score / (1 - score))


def probability_of(odds: float) -> float:
    """Undo ``log_odds``."""
    return 1 / (1 + math.exp(-max(min(odds, 700.0), -700.0)))


def score_settings(config: Config) -> dict[str, Any]:
    """Return the settings that the best score of an image depends on, but for speed."""
    rerank = asdict(config.rerank.effective)
    return {
        'retrieval.candidates': config.retrieval.candidates,
        **{f'rerank.{name}': rerank[name]
           for name in ('candidates', 'shortlist', 'local_features', 'ranking')},
    }


def fit_probability(
    negatives: Sequence[float], positives: Sequence[float]
) -> tuple[float, float]:
    """
    Fit slope and intercept of a logistic curve to log odds, as Platt does.

    Both classes weigh the same. The targets stay a little off 0 and 1, so that the curve stays
    finite where the classes do not overlap.
    """
    odds: NDArray[np.float64] = np.concatenate([negatives, positives])
    counts = len(negatives), len(positives)
    targets = np.repeat([1 / (counts[0] + 2), (counts[1] + 1) / (counts[1] + 2)], counts)
    weights = np.repeat([0.5 / counts[0], 0.5 / counts[1]], counts)

    def loss(line: NDArray[np.float64]) -> float:
        logits = line[0] * odds + line[1]
        return float((weights * (np.logaddexp(0, logits) - targets * logits)).sum())

    slope, intercept = minimize(loss, np.array([1.0, 0.0])).x.tolist()
    return max(slope, 0.0), intercept


def write_calibration(place_map: PlaceMap, calibration: Calibration) -> None:
    """Keep a calibration in the map, in place of the one before."""
    place_map.write_note(NOTE, asdict(calibration))


def calibration_of(place_map: PlaceMap) -> Calibration | None:
    """Return the calibration of a map, None where it has none."""
    stored = place_map.note(NOTE)
    return Calibration(**stored) if stored else None


def calibration_for(place_map: PlaceMap, config: Config) -> Calibration | None:
    """
    Return the calibration of a map if it was made with the settings that scores depend on.

    :raises MapError: if ``decision.false_accept_rate`` asks for one, and there is none, or one
        with other settings.
    """
    calibration = calibration_of(place_map)
    wanted = score_settings(config)
    remedy = 'run r2former map calibrate, or set decision.false_accept_rate to 0'
    required = config.decision.false_accept_rate > 0
    if calibration is None:
        if required:
            raise MapError(f'{place_map.location}: is not calibrated; {remedy}')
        return None
    for name, value in wanted.items():
        if calibration.settings[name] != value:
            if required:
                raise MapError(f'{place_map.location}: was calibrated with {name}='
                               f'{calibration.settings[name]}, not {value}; {remedy}')
            return None
    if calibration.places != len(place_map):
        LOG.warning('%s: was calibrated with %d places and has %d: run r2former map calibrate',
                    place_map.location, calibration.places, len(place_map))
    return calibration


def with_threshold(config: Config, calibration: Calibration | None) -> Config:
    """Put the threshold for ``decision.false_accept_rate``, where it is set, in ``min_score``."""
    rate = config.decision.false_accept_rate
    if rate == 0 or calibration is None:
        return config
    decision = replace(config.decision, min_score=calibration.threshold(rate))
    return replace(config, decision=decision)


def describe_calibration(place_map: PlaceMap) -> str:
    """Say in one line whether a map is calibrated."""
    found = calibration_of(place_map)
    if found is None:
        return 'no (r2former map calibrate)'
    grown = '' if found.places == len(place_map) else f', with {found.places} places: do it again'
    threshold = found.threshold(found.false_accept_rate)
    return (f'min_score {threshold:.4f} for a false-accept rate of {found.false_accept_rate:g}, '
            f'{found.accepted(threshold):.0%} of {len(found.positives)} positives from '
            f'{found.positives_from} pass{grown}')
