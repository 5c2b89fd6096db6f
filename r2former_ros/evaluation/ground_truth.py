# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rule that decides which places of a map are right answers to a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..geometry.poses import angle_deg
from ..records import Place, Pose


@dataclass(frozen=True)
class Protocol:
    """
    Which places are right: those near enough to the query, with a similar heading.

    The distance must be at most ``positive_radius_m`` and the angle between the headings at most
    ``positive_angle_deg``.
    """

    positive_radius_m: float = 25.0
    positive_angle_deg: float = 180.0

    def positives(self, truth: Pose, places: Mapping[int, Place]) -> frozenset[int]:
        """Return the ids of the right places for a query taken at a pose."""
        posed = [(place_id, place.map_T_camera) for place_id, place in places.items()
                 if place.map_T_camera is not None]
        if not posed:
            return frozenset()
        away_m = np.linalg.norm(
            np.array([pose[:3, 3] for _, pose in posed]) - truth[:3, 3], axis=1
        )
        near = [posed[row] for row in np.flatnonzero(away_m <= self.positive_radius_m)]
        return frozenset(place_id for place_id, pose in near
                         if angle_deg(pose, truth) <= self.positive_angle_deg)

    def __str__(self) -> str:
        """Describe the rule in words."""
        heading = (f'headings differ by at most {self.positive_angle_deg:g} deg'
                   if self.positive_angle_deg < 180 else 'any heading')
        return f'right within {self.positive_radius_m:g} m, {heading}'
