# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A back end that consumes loop closures: odometry and loops to a corrected trajectory.

ISAM2 of GTSAM, with a Cauchy loss on loops. A loop enters the graph as long as it belongs to the
largest set of loops that agree with each other along the odometry. Place recognition says only
"near that place", so a loop is the identity with a large covariance. The only module that imports
gtsam.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import PoseGraphConfig
from .errors import ConfigError
from .geometry import angle_deg, distance_m, inverse
from .loop_consistency import ConsistentLoops, Loop
from .records import Pose, StampedPose
from .trajectories import Trajectory

CAUCHY = 1.0
"""Whitened error at which a loop's weight has fallen to a half."""
ANCHOR_SIGMA = 1e-3
FOREVER_NS = 2**62
"""A robot that stands still makes no pose: between two of them any time may pass."""


@dataclass(frozen=True)
class LoopMeasurement:
    """
    The camera at ``query_ns`` was near where it had been at ``place_ns``.

    ``rotation`` (3, 3) is that of ``place_T_query`` where it is known.
    """

    place_ns: int
    query_ns: int
    rotation: NDArray[np.float64] | None = None


class PoseGraph:
    """Poses along a drive, corrected whenever a loop is added."""

    def __init__(self, config: PoseGraphConfig) -> None:
        """
        Begin with an empty graph.

        :raises ConfigError: if gtsam is not installed.
        """
        self.config = config
        self._gtsam = _import_gtsam()
        self._isam = self._gtsam.ISAM2(self._gtsam.ISAM2Params())
        self._nodes: list[StampedPose] = []  # odom_T_camera of each pose in the graph
        self._newest: StampedPose | None = None
        self._travelled_m: list[float] = []
        self._consistent = ConsistentLoops(config)
        self._factors: dict[int, int] = {}  # loop: index of its factor

    def __len__(self) -> int:
        return len(self._nodes)

    def add_odometry(self, odometry: StampedPose) -> None:
        """Take the next ``odom_T_camera``; it becomes a pose of the graph if far from the last."""
        if self._newest is not None and odometry.stamp_ns <= self._newest.stamp_ns:
            return
        self._newest = odometry
        if not self._nodes or self._is_far(odometry.map_T_camera):
            self._add_node(odometry)

    @property
    def newest_ns(self) -> int:
        """Stamp of the last odometry, -1 before the first."""
        return -1 if self._newest is None else self._newest.stamp_ns

    def covers(self, stamp_ns: int) -> bool:
        """Say whether odometry from before and after a stamp is there."""
        return bool(self._nodes) and self._nodes[0].stamp_ns <= stamp_ns <= self.newest_ns

    def add_loop(self, measurement: LoopMeasurement) -> bool:
        """
        Take a loop closure into account; say whether it counts for now.

        Later loops may overrule it, or make it count after all.

        :raises ValueError: if odometry does not cover its stamps.
        """
        stamps = measurement.place_ns, measurement.query_ns
        if not all(map(self.covers, stamps)):
            raise ValueError(f'no odometry at the stamps {stamps} of a loop closure')
        self._consistent.add(self._loop(measurement))
        self._apply()
        return len(self._consistent.loops) - 1 in self._consistent.chosen

    def trajectory(self) -> list[StampedPose]:
        """Return the corrected poses, in the frame of the first odometry pose."""
        if not self._nodes:
            return []
        values = self._isam.calculateEstimate()
        return [StampedPose(node.stamp_ns, values.atPose3(key).matrix())
                for key, node in enumerate(self._nodes)]

    def kept_loops(self) -> list[int]:
        """
        Return which loops, counted from 0 as they were added, hold the trajectory.

        They agree with each other, and with the corrected poses to within ``gate_sigmas``.
        """
        poses = [stamped.map_T_camera for stamped in self.trajectory()]
        loops = self._consistent.loops
        return [one for one in sorted(self._factors)
                if self._error_sigmas(loops[one], poses) <= self.config.gate_sigmas]

    def _is_far(self, pose: Pose) -> bool:
        last = self._nodes[-1].map_T_camera
        return (distance_m(last, pose) >= self.config.node_distance_m
                or angle_deg(last, pose) >= self.config.node_angle_deg)

    def _add_node(self, odometry: StampedPose) -> None:
        gtsam, key = self._gtsam, len(self._nodes)
        graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
        if key == 0:
            pose, travelled_m = gtsam.Pose3(odometry.map_T_camera), 0.0
            anchor = gtsam.noiseModel.Isotropic.Sigma(6, ANCHOR_SIGMA)
            graph.add(gtsam.PriorFactorPose3(key, pose, anchor))
        else:
            last = self._nodes[-1].map_T_camera
            step = gtsam.Pose3(inverse(last) @ odometry.map_T_camera)
            step_m = distance_m(last, odometry.map_T_camera)
            pose = self._isam.calculateEstimatePose3(key - 1).compose(step)
            noise = self._sigmas(*self._odometry_sigmas(step_m))
            graph.add(gtsam.BetweenFactorPose3(key - 1, key, step, noise))
            travelled_m = self._travelled_m[-1] + step_m
        values.insert(key, pose)
        self._isam.update(graph, values)
        self._nodes.append(odometry)
        self._travelled_m.append(travelled_m)

    def _odometry_sigmas(self, step_m: float) -> tuple[float, float]:
        """Return the deviations of rotation [rad] and position [m] over a step."""
        root = np.sqrt(max(step_m, self.config.node_distance_m))
        config = self.config
        return root * np.radians(config.odometry_sigma_deg), root * config.odometry_sigma_m

    def _loop(self, measurement: LoopMeasurement) -> Loop:
        """Move a measurement to the poses of the graph before its stamps, along the odometry."""
        place, query = (self._node_at(stamp_ns)
                        for stamp_ns in (measurement.place_ns, measurement.query_ns))
        near = np.eye(4)
        if measurement.rotation is not None:
            near[:3, :3] = measurement.rotation
        sigma_deg = self.config.loop_sigma_deg if measurement.rotation is None \
            else self.config.view_sigma_deg
        offsets = [
            inverse(self._nodes[node].map_T_camera) @ self._odometry_at(stamp_ns)
            for node, stamp_ns in ((place, measurement.place_ns), (query, measurement.query_ns))
        ]
        return Loop(
            place, query, offsets[0] @ near @ inverse(offsets[1]), sigma_deg,
            odometry=(self._nodes[place].map_T_camera, self._nodes[query].map_T_camera),
            travelled_m=(self._travelled_m[place], self._travelled_m[query]),
        )

    def _node_at(self, stamp_ns: int) -> int:
        stamps = [node.stamp_ns for node in self._nodes]
        return int(np.searchsorted(stamps, stamp_ns, side='right')) - 1

    def _odometry_at(self, stamp_ns: int) -> Pose:
        assert self._newest is not None
        around = self._nodes[self._node_at(stamp_ns):][:2]
        track = replace(Trajectory.from_poses([*around, self._newest]), max_gap_ns=FOREVER_NS)
        pose = track.at(stamp_ns)
        assert pose is not None, 'covers() was asked before'
        return pose

    def _apply(self) -> None:
        """Bring the graph's loop factors into line with the chosen loops."""
        gtsam = self._gtsam
        chosen = self._consistent.chosen
        added = sorted(chosen - self._factors.keys())
        removed = sorted(self._factors.keys() - chosen)
        graph = gtsam.NonlinearFactorGraph()
        for one in added:
            graph.add(self._factor(self._consistent.loops[one]))
        gone = [self._factors.pop(one) for one in removed]
        result = self._isam.update(graph, gtsam.Values(), gone)
        new = result.getNewFactorsIndices()
        self._factors.update(zip(added, new, strict=True))

    def _factor(self, loop: Loop) -> Any:
        gtsam = self._gtsam
        sigmas = self._sigmas(np.radians(loop.sigma_deg), self.config.loop_sigma_m)
        robust = gtsam.noiseModel.Robust.Create(
            gtsam.noiseModel.mEstimator.Cauchy.Create(CAUCHY), sigmas)
        measured = gtsam.Pose3(loop.place_T_query)
        return gtsam.BetweenFactorPose3(loop.place, loop.query, measured, robust)

    def _sigmas(self, rotation_rad: float, position_m: float) -> Any:
        sigmas = np.array([rotation_rad] * 3 + [position_m] * 3)
        return self._gtsam.noiseModel.Diagonal.Sigmas(sigmas)

    def _error_sigmas(self, loop: Loop, poses: list[Pose]) -> float:
        """Return how far the corrected poses are from what a loop says."""
        error = inverse(loop.place_T_query) @ inverse(poses[loop.place]) @ poses[loop.query]
        return float(np.hypot(
            np.linalg.norm(error[:3, 3]) / self.config.loop_sigma_m,
            angle_deg(np.eye(4), error) / loop.sigma_deg,
        ))


def _import_gtsam() -> Any:
    try:
        import gtsam
    except ImportError as error:
        raise ConfigError(
            f'the pose graph needs gtsam ({error}): pip install gtsam, or r2former_ros[slam]'
        ) from error
    return gtsam
