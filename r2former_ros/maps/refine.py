# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A pose in metres: the query's keypoints against the landmarks of the first hypotheses.

Each kind of keypoint is tried on each hypothesis in order, the exact kind first; the first pose
that passes every check is the answer. Without one the answer stays a place, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..config import RefineConfig
from ..errors import ConfigError
from ..geometry.absolute_pose import Gates, QueryView, solve
from ..geometry.bundle import cross_matrices
from ..geometry.cameras import (
    camera_from_json,
    camera_to_json,
    mean_focal_px,
    problem_of,
    rays_of,
    scaled_to,
)
from ..geometry.poses import inverse
from ..model.keypoints import KeypointDetector, detectors
from ..records import (
    Camera,
    Hypothesis,
    Image,
    Keypoints,
    MetricPose,
    MountedCamera,
    RefinedPose,
)
from .landmarks import PlaceLandmarks
from .place_map import PlaceMap

CAMERA_NOTE = 'camera'


@dataclass(frozen=True)
class Refinement:
    """The hypotheses with what was measured there, and the accepted pose, or why none was."""

    hypotheses: list[Hypothesis]
    pose: RefinedPose | None = None
    reason: str = ''


class PoseRefiner:
    """Measure where queries are relative to the places of one map."""

    def __init__(
        self, place_map: PlaceMap, config: RefineConfig, kinds: Sequence[str] | None = None
    ) -> None:
        """
        Load the detectors whose landmarks the map holds.

        :param kinds: of the landmarks that will be in the map, for one that grows.
        :raises WeightsError: if a detector's weights are missing.
        """
        self.place_map = place_map
        held = place_map.landmark_kinds() if kinds is None else kinds
        wanted = [kind for kind in config.kinds if kind in held and config.hypotheses]
        self.detectors = detectors(','.join(wanted), config.keypoint_count)
        self.map_camera = map_camera_of(place_map) if wanted else None
        self.use(config)

    def use(self, config: RefineConfig) -> None:
        """Change the checks from the next image on."""
        self.config = config
        self.gates = Gates(
            config.min_inliers, config.min_share, config.max_sigma_m, config.max_distance_m,
            config.min_cells,
        )

    @property
    def ready(self) -> bool:
        """Whether the map holds landmarks of a kind that is wanted."""
        return bool(self.detectors) and self.config.hypotheses > 0

    def refine(
        self, image: Image, hypotheses: Sequence[Hypothesis], camera: MountedCamera | None = None
    ) -> Refinement:
        """
        Find the pose of a query among its first hypotheses.

        :param camera: of the query; None: the camera the map was built with.
        """
        kept = list(hypotheses)
        camera = camera or self.map_camera
        if not self.ready:
            return Refinement(kept, reason='the map holds no landmarks')
        if camera is None:
            return Refinement(kept, reason='the camera is not calibrated')
        problem = problem_of(camera.camera)
        if problem:
            return Refinement(kept, reason=problem)
        try:
            image, intrinsics = working_size(image, camera.camera, self.config.image_side_px)
        except ConfigError as error:
            return Refinement(kept, reason=str(error))
        return self._search(image, intrinsics, camera, kept)

    def _search(
        self, image: Image, intrinsics: Camera, camera: MountedCamera, kept: list[Hypothesis]
    ) -> Refinement:
        reason = 'no landmarks at these places'
        for detector in self.detectors:
            query = _Query.of(detector, image, intrinsics)
            for rank, hypothesis in enumerate(kept[: self.config.hypotheses]):
                place = self.place_map.landmarks(hypothesis.place.place_id, detector.kind)
                found = None if place is None else query.pose_at(place, self.gates)
                if place is None or found is None:
                    continue
                kept[rank] = replace(hypothesis, metric=found)
                if found.accepted:
                    return Refinement(kept, refined_pose(hypothesis, place, found, camera))
                reason = found.reason
        return Refinement(kept, reason=reason)


@dataclass(frozen=True, eq=False)
class _Query:
    """The keypoints of one kind of one image."""

    detector: KeypointDetector
    keypoints: Keypoints
    view: QueryView

    @classmethod
    def of(cls, detector: KeypointDetector, image: Image, camera: Camera) -> _Query:
        found = detector.detect(image)
        rays = rays_of(found.xy, camera)
        known = np.isfinite(rays).all(axis=1)
        keypoints = Keypoints(found.kind, found.xy[known], found.descriptors[known])
        view = QueryView(rays[known], keypoints.xy, camera.width, camera.height,
                         mean_focal_px(camera))
        return cls(detector, keypoints, view)

    def pose_at(self, place: PlaceLandmarks, gates: Gates) -> MetricPose | None:
        landmarks = place.landmarks
        pairs = self.detector.match(self.keypoints.descriptors, landmarks.descriptors)
        found = solve(self.view, landmarks, pairs, threshold_px=self.detector.threshold_px,
                      sigma_scale=self.detector.sigma_scale)
        return None if found is None else replace(found, reason=gates.reason(found))


def refined_pose(
    hypothesis: Hypothesis, place: PlaceLandmarks, found: MetricPose, camera: MountedCamera
) -> RefinedPose | None:
    """Move a pose relative to a place to the map frame; None if the place's pose is unknown."""
    map_T_base = hypothesis.place.map_T_camera
    if map_T_base is None:
        return None
    map_T_place = map_T_base @ place.base_T_optical
    map_T_query = map_T_place @ found.place_T_query
    pose = map_T_query @ inverse(camera.base_T_optical)
    turn = np.kron(np.eye(2), map_T_place[:3, :3])
    # The base is off the lens by a lever that turns with the camera.
    lever = np.eye(6)
    lever[:3, 3:] = -cross_matrices((pose[:3, 3] - map_T_query[:3, 3])[None])[0]
    covariance = lever @ turn @ found.covariance @ turn.T @ lever.T
    return RefinedPose(pose, covariance, hypothesis.place.place_id, found)


def working_size(image: Image, camera: Camera, side_px: int) -> tuple[Image, Camera]:
    """
    Reduce an image to its longest side, and the intrinsics with it; 0 leaves it as it is.

    :raises ConfigError: if the intrinsics are for another aspect ratio.
    """
    height, width = image.shape[:2]
    camera = scaled_to(camera, width, height)
    share = side_px / max(width, height)
    if side_px == 0 or share >= 1:
        return image, camera
    size = round(width * share), round(height * share)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), scaled_to(camera, *size)


def note_camera(place_map: PlaceMap, camera: MountedCamera) -> None:
    """
    Store the camera that the map is built with.

    :raises MapError: if the map cannot be written.
    """
    mounting = camera.base_T_optical.ravel().tolist()
    place_map.write_note(
        CAMERA_NOTE, {**camera_to_json(camera.camera), 'base_T_optical': mounting})


def map_camera_of(place_map: PlaceMap) -> MountedCamera | None:
    """Return the camera that the map's landmarks were made with, None if unknown."""
    note = place_map.note(CAMERA_NOTE)
    if not note:
        return None
    pose = np.array(note['base_T_optical'], np.float64).reshape(4, 4)
    return MountedCamera(camera_from_json(note), pose)
