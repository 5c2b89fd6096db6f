# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Loop closures in metres: landmarks of the drive while it grows, and poses measured with them."""

from __future__ import annotations

import numpy as np

from ..config import RefineConfig
from ..geometry.poses import inverse
from ..mapping.landmarks import LandmarkBuilder
from ..maps.place_map import PlaceMap
from ..maps.refine import PoseRefiner
from ..records import Frame, Hypothesis, MountedCamera, Pose, RefinedPose, RelativePose


class DriveLandmarks:
    """
    Landmarks of the keyframes of a drive, in its odometry's frame.

    A keyframe gets its landmarks once 13 more have been added, long before it can be a loop.
    """

    def __init__(self, place_map: PlaceMap, config: RefineConfig) -> None:
        """
        Begin a drive.

        :param place_map: the writable map of the drive.
        :raises WeightsError: if the weights of the keypoints are missing.
        """
        self._builder = LandmarkBuilder(place_map, config)
        self._refiner = PoseRefiner(place_map, config, kinds=config.kinds)

    def add(self, place_id: int, frame: Frame, odom_T_base: Pose, camera: MountedCamera) -> None:
        """Take a keyframe."""
        self._builder.add(place_id, frame.image, odom_T_base, camera)

    def measure(
        self, frame: Frame, best: Hypothesis, camera: MountedCamera
    ) -> RelativePose | None:
        """Measure where a frame is relative to a place of the drive; None if no check allows."""
        pose = self._refiner.refine(frame.image, [best], camera).pose
        return None if pose is None else relative_to(best, pose)

    def finish(self) -> None:
        """Make the landmarks of the last keyframes."""
        self._builder.finish()


def relative_to(best: Hypothesis, pose: RefinedPose | None) -> RelativePose | None:
    """Return a pose in the map's frame relative to a place; None if either is unknown."""
    map_T_place = best.place.map_T_camera
    if pose is None or map_T_place is None:
        return None
    turn = np.kron(np.eye(2), map_T_place[:3, :3].T)
    return RelativePose(inverse(map_T_place) @ pose.map_T_base, turn @ pose.covariance @ turn.T)
