# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What became of each query, for the plan and the captions: right, near, wrong or abstained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...records import Place, Pose
from ..measures import accepts, localisation_error
from ..outcomes import RERANK, Outcome

RIGHT, NEAR, WRONG, ABSTAINED = 'right', 'near', 'wrong', 'abstained'
NEAR_M = 25.0
"""A wrong answer this close to the query is a near miss."""


@dataclass(frozen=True)
class Mark:
    """Where a query was, in metres, what became of it, and the place that was named instead."""

    xy: tuple[float, float]
    kind: str
    named_xy: tuple[float, float] | None = None


def kind_of(outcome: Outcome, places: Mapping[int, Place], min_score: float) -> str:
    """Return ``right``, ``near``, ``wrong`` or, where no answer was accepted, ``abstained``."""
    if not accepts(outcome, min_score):
        return ABSTAINED
    if outcome.right(RERANK):
        return RIGHT
    error = localisation_error(outcome, places)
    return NEAR if error and error[0] <= NEAR_M else WRONG


def marks_of(
    outcomes: Sequence[Outcome], places: Mapping[int, Place], min_score: float
) -> list[Mark]:
    """Return a mark for each query that has a pose."""
    return [_mark(one, pose, places, min_score) for one in outcomes
            if (pose := one.query.map_T_camera) is not None]


def _mark(
    outcome: Outcome, pose: Pose, places: Mapping[int, Place], min_score: float
) -> Mark:
    kind = kind_of(outcome, places, min_score)
    if kind not in (NEAR, WRONG):
        return Mark(_xy(pose), kind)
    named = places[outcome.rankings[RERANK].places[0]].map_T_camera
    return Mark(_xy(pose), kind, None if named is None else _xy(named))


def _xy(pose: Pose) -> tuple[float, float]:
    return float(pose[0, 3]), float(pose[1, 3])
