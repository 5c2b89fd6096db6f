# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Landmarks while a map is built: each place is reconstructed once its neighbours are there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ..config import RefineConfig
from ..errors import ConfigError
from ..geometry.bundle import Prior
from ..geometry.poses import angle_deg, distance_m
from ..geometry.structure import PosedView, landmarks_of
from ..maps.landmarks import PlaceLandmarks, encode
from ..maps.place_map import PlaceMap
from ..maps.refine import note_camera, working_size
from ..model.keypoints import KeypointDetector, detectors
from ..records import Image, MountedCamera, Pose

STEPS = (1, 2, 3, 5, 8, 13)
"""How many keyframes before and after its neighbours are, so that any spacing has parallax."""
MAX_DISTANCE_M = 30.0
MAX_ANGLE_DEG = 45.0


@dataclass(frozen=True, eq=False)
class _Mapped:
    """A keyframe in the window: its place, its pose, and a view for each detector."""

    place_id: int
    map_T_base: Pose
    base_T_optical: Pose
    views: tuple[PosedView, ...]


class LandmarkBuilder:
    """Make landmarks for keyframes that arrive in the order of driving."""

    def __init__(self, place_map: PlaceMap, config: RefineConfig) -> None:
        """
        Load the detectors.

        :raises WeightsError: if a detector's weights are missing.
        """
        self.place_map = place_map
        self.side_px = config.image_side_px
        self.detectors: list[KeypointDetector] = \
            detectors(','.join(config.kinds), config.keypoint_count)
        self.prior = Prior(config.map_sigma_m, np.radians(config.map_sigma_deg))
        self.made = 0
        self.refused = ''
        self._window: deque[_Mapped] = deque(maxlen=2 * STEPS[-1] + 1)
        self._waiting = 0
        self._noted: MountedCamera | None = None

    def add(
        self, place_id: int, image: Image, map_T_base: Pose, camera: MountedCamera
    ) -> None:
        """Take a place with its image; without landmarks if the camera has another shape."""
        try:
            image, intrinsics = working_size(image, camera.camera, self.side_px)
        except ConfigError as error:
            self.refused = str(error)
            return
        if camera is not self._noted:
            note_camera(self.place_map, camera)
            self._noted = camera
        map_T_optical = map_T_base @ camera.base_T_optical
        views = [PosedView.of(one.detect(image), intrinsics, map_T_optical)
                 for one in self.detectors]
        self._window.append(_Mapped(place_id, map_T_base, camera.base_T_optical, tuple(views)))
        self._waiting += 1
        if self._waiting > STEPS[-1]:
            self._reconstruct_oldest()

    def finish(self) -> int:
        """Reconstruct the places still waiting; return how many places have landmarks."""
        while self._waiting:
            self._reconstruct_oldest()
        return self.made

    def _reconstruct_oldest(self) -> None:
        at = len(self._window) - self._waiting
        self._waiting -= 1
        place = self._window[at]
        neighbours = [self._window[i] for i in neighbours_of([m.map_T_base for m in self._window],
                                                             at)]
        blobs = {}
        for number, detector in enumerate(self.detectors):
            found = landmarks_of(place.views[number], [one.views[number] for one in neighbours],
                                 detector.match, self.prior)
            if found is not None:
                blobs[detector.kind] = encode(PlaceLandmarks(found, place.base_T_optical))
        if blobs:
            self.place_map.write_landmarks(place.place_id, blobs)
            self.made += 1


def neighbours_of(poses: list[Pose], at: int) -> list[int]:
    """
    Choose the rows of keyframes that look at the same scene as one of them.

    Rows are in the order of driving. The steps grow, so that dense maps have parallax too.
    """
    chosen = [at + side * step for step in STEPS for side in (-1, 1)]
    return [
        row for row in chosen
        if 0 <= row < len(poses)
        and distance_m(poses[at], poses[row]) <= MAX_DISTANCE_M
        and angle_deg(poses[at], poses[row]) <= MAX_ANGLE_DEG
    ]
