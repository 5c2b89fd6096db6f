# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Why an image was accepted or rejected: a word for programs, a sentence for people."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..config import DecisionConfig
from ..geometry.poses import distance_m
from ..records import Hypothesis, Recognition, State


@dataclass(frozen=True)
class Verdict:
    """
    The decision on one image.

    ``reason`` is one of ``localized``, ``unconfirmed``, ``low_probability``, ``low_score``,
    ``not_verified`` and ``empty_map``; ``text`` names the numbers behind it.
    """

    reason: str
    text: str


def verdict_on(recognition: Recognition, config: DecisionConfig) -> Verdict:
    """Explain a recognition in terms of the thresholds that it met or missed."""
    best, belief = recognition.best, recognition.belief
    if best is None or belief is None:
        return Verdict('empty_map', 'rejected: the map has no place')
    if recognition.state is State.LOCALIZED:
        return Verdict('localized', f'localized at place {belief.place.place_id}: probability '
                                    f'{belief.probability:.2f}')
    if recognition.accepted:
        return Verdict('unconfirmed', f'accepted place {best.place.place_id} with '
                                      f'{evidence(best)}; not confirmed yet: '
                                      f'{missing(belief.probability, config)}')
    return rejection(recognition, best, config)


def rejection(recognition: Recognition, best: Hypothesis, config: DecisionConfig) -> Verdict:
    """Explain why the best hypothesis of an image was not accepted."""
    apart, required = rivals(recognition.hypotheses), recognition.required_probability
    if best.probability < required:  # False if either is NaN
        return Verdict('low_probability', f'rejected: probability {best.probability:.2f} below '
                                          f'{required:.2f}{apart}')
    if math.isnan(required) and best.score < config.min_score:
        return Verdict('low_score', f'rejected: score {best.score:.2f} below '
                                    f'{config.min_score:.2f}{apart}')
    return Verdict('not_verified', f'rejected: {evidence(best)}, but the geometric check '
                                   f'failed with {max(best.inliers, 0)} inliers')


def evidence(best: Hypothesis) -> str:
    """Name the score, and the probability where it is known."""
    known = '' if math.isnan(best.probability) else f', probability {best.probability:.2f}'
    return f'score {best.score:.2f}{known}'


def missing(probability: float, config: DecisionConfig) -> str:
    """Say what a candidate lacks to be localized."""
    if probability < config.localized_probability:
        return f'probability {probability:.2f} below {config.localized_probability:.2f}'
    return f'fewer than {config.agreement_frames} images agree'


def rivals(hypotheses: tuple[Hypothesis, ...]) -> str:
    """Say how far apart the two best places are, where their poses are known."""
    poses = [one.place.map_T_camera for one in hypotheses[:2]]
    if len(poses) < 2 or poses[0] is None or poses[1] is None:
        return ''
    return f'; the best two places are {distance_m(poses[0], poses[1]):.0f} m apart'
