# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Loop closures that agree with each other along the odometry.

Pairwise consistency maximization (Mangelson et al., ICRA 2018): two loops and the odometry
between their ends make a cycle, which must close to within what odometry and loops may be wrong.
The loops to use are the largest set in which every two agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..config import PoseGraphConfig
from ..geometry.poses import inverse
from ..records import Pose


@dataclass(frozen=True, eq=False)
class Loop:
    """
    A loop closure between two poses of the graph.

    ``place_T_query`` (4, 4) is what it says, good to ``sigma_m`` and ``sigma_deg``. ``odometry``
    and ``travelled_m`` hold ``odom_T_camera`` and the distance driven, each at the place and at
    the query.
    """

    place: int
    query: int
    place_T_query: Pose
    sigma_m: float
    sigma_deg: float
    odometry: tuple[Pose, Pose]
    travelled_m: tuple[float, float]


class ConsistentLoops:
    """Choose the loops that agree, anew with each one that is added."""

    def __init__(self, config: PoseGraphConfig) -> None:
        self.config = config
        self.loops: list[Loop] = []
        self.chosen: frozenset[int] = frozenset()
        self._agree = np.zeros((0, 0), bool)
        self._near = np.zeros((0, 0), bool)

    def add(self, loop: Loop) -> None:
        """Compare a loop with all before, and choose again."""
        agree, near = self._compare(loop)
        self.loops.append(loop)
        self._agree = _grown(self._agree, agree)
        self._near = _grown(self._near, near)
        self.chosen = self._choose()

    def _compare(self, loop: Loop) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say with which loops (L,) another one agrees, and which of them are near by travel."""
        if not self.loops:
            return np.zeros(0, bool), np.zeros(0, bool)
        config = self.config
        travel = np.abs(np.array([one.travelled_m for one in self.loops]) - loop.travelled_m)
        errors = self._cycles(loop)
        position_m = np.linalg.norm(errors[:, :3, 3], axis=1)
        rotation_deg = np.degrees(Rotation.from_matrix(errors[:, :3, :3]).magnitude())
        driven_m = travel.sum(axis=1)  # (L,) along both pieces of odometry
        turn_deg = config.odometry_sigma_deg * np.sqrt(driven_m)
        # A heading that drifts as a random walk moves the far end by this much.
        lever_m = np.radians(turn_deg) * driven_m / np.sqrt(3)
        drift_m = np.hypot(config.odometry_sigma_m * np.sqrt(driven_m), lever_m)
        loops_m = np.hypot([one.sigma_m for one in self.loops], loop.sigma_m)
        loops_deg = np.hypot([one.sigma_deg for one in self.loops], loop.sigma_deg)
        sigmas = np.hypot(
            position_m / np.hypot(drift_m, loops_m),
            rotation_deg / np.hypot(turn_deg, loops_deg),
        )
        near = np.asarray(travel <= config.support_m, bool).all(axis=1)
        return np.asarray(sigmas <= config.gate_sigmas, bool), np.asarray(near, bool)

    def _cycles(self, loop: Loop) -> NDArray[np.float64]:
        """Drive from a loop's place over it and back over each other loop: (L, 4, 4)."""
        place, query = loop.odometry
        out = np.array([inverse(query) @ one.odometry[1] for one in self.loops])
        back = np.array([inverse(one.odometry[0]) @ place for one in self.loops])
        others = np.array([inverse(one.place_T_query) for one in self.loops])
        return np.asarray(loop.place_T_query @ out @ others @ back, np.float64)

    def _choose(self) -> frozenset[int]:
        """
        Find a large set of loops in which every two agree and each has support, greedily.

        The largest clique is costly to find exactly; the paper's heuristic also begins where most
        agree.
        """
        supported = (self._agree & self._near).sum(axis=1) >= self.config.min_support
        votes = (self._agree & supported).sum(axis=1)
        chosen: list[int] = []
        for one in np.argsort(-votes, kind='stable'):
            if supported[one] and self._agree[one, chosen].all():
                chosen.append(int(one))
        return frozenset(chosen)


def _grown(matrix: NDArray[np.bool_], row: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add a row and the same column to a symmetric matrix."""
    count = len(row)
    grown = np.zeros((count + 1, count + 1), bool)
    grown[:count, :count] = matrix
    grown[count, :count] = grown[:count, count] = row
    return grown
