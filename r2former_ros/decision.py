# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From ranked hypotheses to a state: lost, candidate or localized."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .config import DecisionConfig
from .records import Hypothesis, Place, State

NEIGHBOUR_IDS = 2
"""Places without poses agree if their ids, given in the order of driving, differ by this much."""
HEADING_VARIANCE_RAD2 = 0.25
"""A place is recognised within about 30 degrees of the heading it was seen with."""


class AgreementFilter:
    """
    Say localized only when successive frames name places that lie together.

    One frame with a good score is a candidate; a best score below the threshold is lost, and
    starts the count again.
    """

    def __init__(self, config: DecisionConfig) -> None:
        self.config = config
        self._recent: deque[Place] = deque(maxlen=config.agreement_frames)

    def decide(self, best: Hypothesis | None) -> State:
        """Take the best hypothesis of the next frame into account and return the state."""
        if best is None or best.score < self.config.min_score:
            self.reset()
            return State.LOST
        if self._recent and not self._agree(self._recent[-1], best.place):
            self._recent.clear()
        self._recent.append(best.place)
        full = len(self._recent) == self.config.agreement_frames
        return State.LOCALIZED if full else State.CANDIDATE

    def reset(self) -> None:
        """Forget the frames seen so far."""
        self._recent.clear()

    def _agree(self, one: Place, other: Place) -> bool:
        if one.map_T_camera is None or other.map_T_camera is None:
            return abs(one.place_id - other.place_id) <= NEIGHBOUR_IDS
        step = one.map_T_camera[:3, 3] - other.map_T_camera[:3, 3]
        return float(np.linalg.norm(step)) <= self.config.agreement_radius_m


def pose_covariance(
    hypotheses: Sequence[Hypothesis], config: DecisionConfig
) -> NDArray[np.float64]:
    """
    Estimate the covariance (6, 6) of the best place's pose, over x, y, z, roll, pitch, yaw.

    The camera is near the place, not at it, so the standard deviation is never below half of
    ``agreement_radius_m``; to it comes the spread, by score, of the hypotheses above
    ``min_score``.
    """
    good = [one for one in hypotheses
            if one.score >= config.min_score and one.place.map_T_camera is not None]
    positions = np.array([one.place.map_T_camera[:3, 3] for one in good])  # type: ignore[index]
    weights = np.array([one.score for one in good])
    variance = np.full(3, (config.agreement_radius_m / 2) ** 2)
    if len(good) > 1 and weights.sum() > 0:
        spread = positions - np.average(positions, axis=0, weights=weights)
        variance += np.average(spread**2, axis=0, weights=weights)
    return np.diag([*variance, *[HEADING_VARIANCE_RAD2] * 3])
