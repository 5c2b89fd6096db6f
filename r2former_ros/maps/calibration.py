# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What scores mean on one map: a threshold for a wanted false-accept rate, and a probability.

A false accept happens on the best hypothesis, so what is kept is the best score of images that
show none of the places they were compared with: places of the map against far ones or, where the
user has some, pictures from outside the map. Scores are taken as log odds, where they do not crowd
at 0 and 1. ``map_tools.calibrating`` collects them; the notes of the map hold the result.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Config
from ..errors import MapError
from .place_map import PlaceMap

NOTE = 'calibration'
TAIL = 0.1
"""Share of the largest foreign scores that the tail is fitted to."""
MARGIN = 1e-15
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """
    Best scores, as ascending log odds, of places compared with far ones and with their own.

    ``settings`` are those that the scores depend on; ``positives_from`` says whether a place was
    recognised from another session or from its neighbours in the same, which is easier.
    ``outside`` are the scores of pictures from outside the map, empty where none were given.
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
    outside: list[float] = field(default_factory=list)

    @property
    def foreign(self) -> list[float]:
        """What stands for images of no place of the map: the pictures from outside, if any."""
        return self.outside or self.negatives

    @property
    def foreign_from(self) -> str:
        """Say where they are from."""
        return 'pictures from outside' if self.outside else 'its own far places'

    def threshold(self, rate: float) -> float:
        """
        Return the score that the best hypothesis of a foreign image exceeds at this rate.

        Above a tenth it is the quantile of the foreign scores; below, that of an exponential
        tail fitted to the largest tenth, which uses more than one or two scores and goes on
        beyond the largest. (A generalised Pareto tail of shape 0.)
        """
        foreign = np.array(self.foreign)
        if rate >= TAIL:
            return probability_of(float(np.quantile(foreign, 1 - rate)))
        start = float(np.quantile(foreign, 1 - TAIL))
        excess = float((foreign[foreign >= start] - start).mean())
        return probability_of(start + excess * math.log(TAIL / rate))

    def accepted(self, score: float) -> float:
        """Return the share of the positives with at least this score."""
        return share_above(self.positives, score)

    def accepted_far(self, score: float) -> float:
        """Return the share of the map's own far places with at least this score; NaN: none."""
        return share_above(self.negatives, score)

    def probability(self, score: float) -> float:
        """
        Return how probably a hypothesis with this score is right.

        If the camera is as often outside the map as in it: the fit gives both the same weight.
        """
        return probability_of(self.slope * log_odds(score) + self.intercept)


def share_above(scores: Sequence[float], score: float) -> float:
    """Return the share of scores, given as log odds, that a threshold lets pass; NaN for none."""
    odds = log_odds(score)
    return sum(one >= odds for one in scores) / len(scores) if scores else math.nan


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
    foreign: Sequence[float], positives: Sequence[float]
) -> tuple[float, float]:
    """
    Fit slope and intercept of a logistic curve to log odds, as Platt does.

    Both classes weigh the same. The targets stay a little off 0 and 1, so that the curve stays
    finite where the classes do not overlap.
    """
    from scipy.optimize import minimize  # slow to import, and only calibrating needs it

    odds: NDArray[np.float64] = np.concatenate([foreign, positives])
    counts = len(foreign), len(positives)
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
    return (f'min_score {threshold:.4f} for a false-accept rate of {found.false_accept_rate:g} '
            f'of {found.foreign_from}, '
            f'{found.accepted(threshold):.0%} of {len(found.positives)} positives from '
            f'{found.positives_from} pass{grown}')
