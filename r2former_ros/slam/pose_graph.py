# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A back end that consumes loop closures: odometry and loops to a corrected trajectory.

ISAM2 of GTSAM, with a Cauchy loss on loops. A loop enters the graph as long as it belongs to the
largest set of loops that agree with each other along the odometry. Place recognition says only
"near that place", so a loop is the identity with a large covariance. Loops to places of a saved
map hang on one more pose, that of the map beside the odometry's frame. The only module that
imports gtsam.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import PoseGraphConfig
from ..errors import ConfigError
from ..geometry.poses import angle_deg, distance_m, inverse
from ..geometry.trajectories import Trajectory
from ..records import Pose, RelativePose, StampedPose
from .consistency import ConsistentLoops, Loop

CAUCHY = 1.0
"""Whitened error at which a loop's weight has fallen to a half."""
ANCHOR_SIGMA = 1e-3
FOREVER_NS = 2**62
"""A robot that stands still makes no pose: between two of them any time may pass."""
MAP_KEY = 2**40
"""Key of the saved map's pose in the graph; those of the drive count from 0."""


@dataclass(frozen=True)
class LoopMeasurement:
    """
    The camera at ``query_ns`` was near where it had been at ``place_ns``.

    ``rotation`` (3, 3) is that of ``place_T_query`` where it is known, and ``relative`` the whole
    of it where it was measured in metres.
    """

    place_ns: int
    query_ns: int
    rotation: NDArray[np.float64] | None = None
    relative: RelativePose | None = None


@dataclass(frozen=True)
class MapMeasurement:
    """
    The camera at ``query_ns`` was near a place of a saved map, at ``map_T_place`` (4, 4).

    ``rotation`` and ``relative`` are as in a ``LoopMeasurement``.
    """

    map_T_place: Pose
    query_ns: int
    rotation: NDArray[np.float64] | None = None
    relative: RelativePose | None = None


@dataclass(frozen=True)
class _LoopSet:
    """Loops that can agree with each other, and the index of the factor of each chosen one."""

    consistent: ConsistentLoops
    factors: dict[int, int] = field(default_factory=dict)


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
        self._own, self._on_map = (_LoopSet(ConsistentLoops(config)) for _ in range(2))

    def __len__(self) -> int:
        return len(self._nodes)

    def add_odometry(self, odometry: StampedPose) -> None:
        """Take the next ``odom_T_camera``; it becomes a pose of the graph if far from the last."""
        if self._newest is not None and odometry.stamp_ns <= self._newest.stamp_ns:
            return
        self._newest = odometry
        if not self._nodes or self._is_far(odometry.pose):
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
        return self._take(self._loop(measurement), self._own)

    def add_map_loop(self, measurement: MapMeasurement) -> bool:
        """
        Take a loop closure on a saved map into account; say whether it counts for now.

        :raises ValueError: if odometry does not cover its stamp.
        """
        if not self.covers(measurement.query_ns):
            raise ValueError(f'no odometry at the stamp {measurement.query_ns} of a loop closure')
        return self._take(self._map_loop(measurement), self._on_map)

    @property
    def on_map(self) -> bool:
        """Whether loop closures on a saved map have told where on it the drive is."""
        return bool(self._on_map.factors)

    def trajectory(self) -> list[StampedPose]:
        """
        Return the corrected poses.

        Their frame is that of the saved map, or that of the odometry as it was at the first pose
        as long as ``on_map`` is not true.
        """
        if not self._nodes:
            return []
        values = self._isam.calculateEstimate()
        frame = inverse(values.atPose3(MAP_KEY).matrix()) if self.on_map else np.eye(4)
        return [StampedPose(node.stamp_ns, frame @ values.atPose3(key).matrix())
                for key, node in enumerate(self._nodes)]

    def correction(self) -> Pose | None:
        """Return what takes the odometry's frame, as it is now, to that of the trajectory."""
        if not self._nodes:
            return None
        return self.trajectory()[-1].pose @ inverse(self._nodes[-1].pose)

    def kept_loops(self) -> list[int]:
        """
        Return which loops of this drive, counted from 0 as they were added, hold the trajectory.

        They agree with each other, and with the corrected poses to within ``gate_sigmas``.
        """
        return self._kept(self._own)

    def kept_map_loops(self) -> list[int]:
        """Return the same of the loops on a saved map."""
        return self._kept(self._on_map)

    def _is_far(self, pose: Pose) -> bool:
        last = self._nodes[-1].pose
        return (distance_m(last, pose) >= self.config.node_distance_m
                or angle_deg(last, pose) >= self.config.node_angle_deg)

    def _add_node(self, odometry: StampedPose) -> None:
        gtsam, key = self._gtsam, len(self._nodes)
        graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
        if key == 0:
            pose, travelled_m = gtsam.Pose3(odometry.pose), 0.0
            anchor = gtsam.noiseModel.Isotropic.Sigma(6, ANCHOR_SIGMA)
            graph.add(gtsam.PriorFactorPose3(key, pose, anchor))
        else:
            last = self._nodes[-1].pose
            step = gtsam.Pose3(inverse(last) @ odometry.pose)
            step_m = distance_m(last, odometry.pose)
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
        place, place_T_camera = self._anchored(measurement.place_ns)
        query, query_T_camera = self._anchored(measurement.query_ns)
        near, sigma_m, sigma_deg = self._near(measurement)
        return Loop(
            place, query, place_T_camera @ near @ inverse(query_T_camera), sigma_m, sigma_deg,
            odometry=(self._nodes[place].pose, self._nodes[query].pose),
            travelled_m=(self._travelled_m[place], self._travelled_m[query]),
        )

    def _map_loop(self, measurement: MapMeasurement) -> Loop:
        """Do the same with a measurement on a saved map, whose places do not drift."""
        query, query_T_camera = self._anchored(measurement.query_ns)
        near, sigma_m, sigma_deg = self._near(measurement)
        return Loop(
            MAP_KEY, query, near @ inverse(query_T_camera), sigma_m, sigma_deg,
            odometry=(measurement.map_T_place, self._nodes[query].pose),
            travelled_m=(0.0, self._travelled_m[query]),
        )

    def _near(
        self, measurement: LoopMeasurement | MapMeasurement
    ) -> tuple[Pose, float, float]:
        """Return the measured ``place_T_query``, and its deviations in m and degrees."""
        config, near = self.config, np.eye(4)
        relative, rotation = measurement.relative, measurement.rotation
        if relative is not None:
            return (relative.place_T_query, max(relative.sigma_m, config.metric_sigma_m),
                    max(relative.sigma_deg, config.metric_sigma_deg))
        if rotation is None:
            return near, config.loop_sigma_m, config.loop_sigma_deg
        near[:3, :3] = rotation
        return near, config.loop_sigma_m, config.view_sigma_deg

    def _anchored(self, stamp_ns: int) -> tuple[int, Pose]:
        """Return the last pose of the graph before a stamp, and the camera's pose in it then."""
        node = self._node_at(stamp_ns)
        return node, inverse(self._nodes[node].pose) @ self._odometry_at(stamp_ns)

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

    def _take(self, loop: Loop, loops: _LoopSet) -> bool:
        loops.consistent.add(loop)
        self._apply(loops)
        return len(loops.consistent.loops) - 1 in loops.factors

    def _apply(self, loops: _LoopSet) -> None:
        """Bring the graph's loop factors into line with the chosen loops."""
        gtsam = self._gtsam
        chosen = loops.consistent.chosen
        added = sorted(chosen - loops.factors.keys())
        removed = sorted(loops.factors.keys() - chosen)
        graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
        for one in added:
            graph.add(self._factor(loops.consistent.loops[one]))
        if loops is self._on_map and added and not self.on_map:
            values.insert(MAP_KEY, self._map_pose(loops.consistent.loops[added[0]]))
        gone = [loops.factors.pop(one) for one in removed]
        result = self._isam.update(graph, values, gone)
        new = result.getNewFactorsIndices()
        loops.factors.update(zip(added, new, strict=True))

    def _map_pose(self, loop: Loop) -> Any:
        """Return where a loop on the saved map, taken as true, puts the map in the graph."""
        query = self._isam.calculateEstimatePose3(loop.query).matrix()
        return self._gtsam.Pose3(query @ inverse(_measured(loop)))

    def _factor(self, loop: Loop) -> Any:
        gtsam = self._gtsam
        sigmas = self._sigmas(np.radians(loop.sigma_deg), loop.sigma_m)
        robust = gtsam.noiseModel.Robust.Create(
            gtsam.noiseModel.mEstimator.Cauchy.Create(CAUCHY), sigmas)
        return gtsam.BetweenFactorPose3(
            loop.place, loop.query, gtsam.Pose3(_measured(loop)), robust)

    def _sigmas(self, rotation_rad: float, position_m: float) -> Any:
        sigmas = np.array([rotation_rad] * 3 + [position_m] * 3)
        return self._gtsam.noiseModel.Diagonal.Sigmas(sigmas)

    def _kept(self, loops: _LoopSet) -> list[int]:
        poses = [stamped.pose for stamped in self.trajectory()]
        return [one for one in sorted(loops.factors) if self._error_sigmas(
            loops.consistent.loops[one], poses) <= self.config.gate_sigmas]

    def _error_sigmas(self, loop: Loop, poses: list[Pose]) -> float:
        """Return how far the corrected poses are from what a loop says."""
        start = np.eye(4) if loop.place == MAP_KEY else poses[loop.place]
        error = inverse(_measured(loop)) @ inverse(start) @ poses[loop.query]
        return float(np.hypot(
            np.linalg.norm(error[:3, 3]) / loop.sigma_m,
            angle_deg(np.eye(4), error) / loop.sigma_deg,
        ))


def _measured(loop: Loop) -> Pose:
    """Return where a loop sees its query from: a pose of the drive, or the saved map's origin."""
    place_T_query = loop.place_T_query
    return loop.odometry[0] @ place_T_query if loop.place == MAP_KEY else place_T_query


def _import_gtsam() -> Any:
    try:
        import gtsam
    except ImportError as error:
        raise ConfigError(
            f'the pose graph needs gtsam ({error}): pip install gtsam, or r2former_ros[slam]'
        ) from error
    return gtsam
