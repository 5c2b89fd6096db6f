# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The nouns that modules pass to each other; needs only numpy and the standard library.

A pose ``a_T_b`` (4, 4) float64 takes points from frame b to frame a. A camera has its body
frame: x forward, y left, z up. Time is an integer ``stamp_ns``. Images are uint8 (H, W, 3) RGB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Pose = NDArray[np.float64]
"""A rigid transform (4, 4)."""
Matrix = NDArray[np.float64]
"""Any other matrix: a rotation or a covariance (3, 3), intrinsics."""
Floats = NDArray[np.float64]
"""Any other float64 array: a direction, coefficients, probabilities."""
Vector = NDArray[np.float32]

NOT_VERIFIED = -1
"""Value of ``Hypothesis.inliers`` without a geometric check."""


class State(str, Enum):
    """How much the images so far say about where the camera is."""

    LOST = 'lost'
    CANDIDATE = 'candidate'
    LOCALIZED = 'localized'


@dataclass(frozen=True)
class Frame:
    """One camera image: uint8 (H, W, 3) RGB with the stamp and frame id of its message."""

    stamp_ns: int
    image: Image
    frame_id: str = ''


@dataclass(frozen=True)
class PosedFrame:
    """
    A frame, its source, and its pose in the frame of the map it is for; None where unknown.

    A drive's own map has the frame of its odometry.
    """

    frame: Frame
    map_T_camera: Pose | None
    source: str
    camera: MountedCamera | None = None


@dataclass(frozen=True)
class StampedPose:
    """A pose (4, 4) float64 at ``stamp_ns``; the name of its holder says in which frames."""

    stamp_ns: int
    pose: Pose


@dataclass(frozen=True)
class LocalFeatures:
    """
    Local features of one image: the N patches of largest attention (paper section 3.1).

    ``xy`` (N, 2) float32 in pixels / max(H, W); ``attention`` (N,) float32, the largest is 1;
    ``descriptors`` (N, C) float32, not normalised.
    """

    xy: Vector
    attention: Vector
    descriptors: Vector

    def __len__(self) -> int:
        return len(self.attention)


@dataclass(frozen=True)
class Place:
    """
    A keyframe of the map, without its features. ``map_T_camera`` is None where unknown.

    Equality ignores the pose.
    """

    place_id: int
    stamp_ns: int
    map_T_camera: Pose | None = field(compare=False)
    source: str


@dataclass(frozen=True)
class Keyframe:
    """
    A place before it is stored: when, where, and the features of its image.

    ``descriptor`` (D,) float32 has unit norm; ``thumbnail`` is a JPEG, or empty.
    """

    stamp_ns: int
    map_T_camera: Pose | None
    source: str
    descriptor: Vector
    local_features: LocalFeatures
    thumbnail: bytes = b''
    landmarks: Mapping[str, bytes] = field(default_factory=dict)
    """Packed landmarks by kind of keypoint, for poses in metres."""


@dataclass(frozen=True)
class Candidate:
    """A place from retrieval. ``similarity`` is the cosine of the descriptors, in [-1, 1]."""

    place_id: int
    similarity: float


@dataclass(frozen=True)
class Hypothesis:
    """
    "The camera is at this place of the map": a reranked candidate.

    ``score`` is the match score in [0, 1] (the similarity, clipped at 0, if reranking is off);
    ``inliers`` counts verified correspondences, or is ``NOT_VERIFIED``. ``probability`` is the
    probability of being right; NaN if nothing tells it.
    """

    place: Place
    similarity: float
    score: float
    inliers: int = NOT_VERIFIED
    probability: float = field(default=math.nan, compare=False)
    metric: MetricPose | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Camera:
    """
    Intrinsics of a camera, as in ``sensor_msgs/CameraInfo``.

    ``matrix`` (3, 3) in pixels of an image of ``width`` x ``height``; ``distortion`` (n,) for
    ``model``: plumb_bob, rational_polynomial or equidistant.
    """

    matrix: Matrix
    width: int
    height: int
    distortion: Floats = field(default_factory=lambda: np.zeros(5))
    model: str = 'plumb_bob'


@dataclass(frozen=True, eq=False)
class View:
    """
    Where a query's camera was relative to a place's, in the body axes of the place.

    ``rotation`` (3, 3) is that of ``place_T_query``; ``direction`` (3,) is the unit vector from
    the place to the query, at an unknown distance; ``inliers`` counts the matches that agree.
    """

    rotation: Matrix
    direction: Floats
    inliers: int


@dataclass(frozen=True, eq=False)
class RelativePose:
    """
    Where a query is relative to a place, in metres, in the frame whose poses the map stores.

    ``covariance`` (6, 6) is of x, y, z in m and of rotations about the place's fixed axes in rad.
    """

    place_T_query: Pose
    covariance: Matrix

    @property
    def sigma_m(self) -> float:
        """Standard deviation of the position along its worst axis, in metres."""
        return float(np.sqrt(np.linalg.eigvalsh(self.covariance[:3, :3])[-1]))

    @property
    def sigma_deg(self) -> float:
        """Standard deviation of the orientation about its worst axis, in degrees."""
        return math.degrees(np.sqrt(np.linalg.eigvalsh(self.covariance[3:, 3:])[-1]))


@dataclass(frozen=True)
class LoopClosure:
    """
    An accepted claim: the keyframe of ``stamp_ns`` was taken near the place of ``hypothesis``.

    ``in_saved_map``: the place belongs to a saved map, and its pose is in that map's frame;
    otherwise it belongs to this drive, and its pose is the odometry of that time. ``view`` is None
    without intrinsics or with too few matches.
    """

    stamp_ns: int
    hypothesis: Hypothesis
    in_saved_map: bool = False
    view: View | None = None
    relative: RelativePose | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Belief:
    """
    What all images so far say together: the most probable place, and how probable it is.

    ``probability`` is the sum over all places within ``decision.agreement_radius_m`` of it;
    ``covariance_m2`` (3, 3) is the spread of the belief around its position plus the spacing of
    the map, or None if places have no poses.
    """

    place: Place
    probability: float
    covariance_m2: Matrix | None = None


@dataclass(frozen=True)
class Recognition:
    """
    The decision on one query image, and its hypotheses, best first.

    ``candidates`` keeps the order of retrieval, to compare both rankings. ``latency_ms`` has one
    entry per stage: encode, retrieve, rerank, verify, decide. ``belief`` includes the earlier
    images; None on an empty map. ``accepted`` is about this image alone: its best hypothesis
    passed the geometric check, if any, and reached ``required_probability`` or, if that is NaN,
    ``decision.min_score``.
    """

    stamp_ns: int
    state: State
    hypotheses: tuple[Hypothesis, ...]
    candidates: tuple[Candidate, ...]
    latency_ms: dict[str, float] = field(default_factory=dict)
    belief: Belief | None = None
    accepted: bool = False
    required_probability: float = math.nan
    pose: RefinedPose | None = field(default=None, compare=False)
    not_refined: str = ''

    @property
    def best(self) -> Hypothesis | None:
        """The first hypothesis, or None: an empty map gives none."""
        return self.hypotheses[0] if self.hypotheses else None


@dataclass(frozen=True, eq=False)
class Keypoints:
    """
    Pixel-accurate points of one image, the strongest first.

    ``xy`` (N, 2) float32 in pixels, (0, 0) is the centre of the first pixel; ``descriptors``
    (N, C), uint8 or int8, as the detector ``kind`` stores them.
    """

    kind: str
    xy: Vector
    descriptors: NDArray[np.uint8] | NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """
    Points of the scene around one place, in the optical axes of its camera, in metres.

    ``xyz`` (L, 3) float32; ``depth_sigma`` (L,) float32 is the standard deviation of the inverse
    depth as a share of it; ``scale_sigma`` is that of the size of the whole, as a share.
    """

    kind: str
    xyz: Vector
    depth_sigma: Vector
    descriptors: NDArray[np.uint8] | NDArray[np.int8]
    scale_sigma: float = 0.0

    def __len__(self) -> int:
        return len(self.xyz)


@dataclass(frozen=True, eq=False)
class MountedCamera:
    """
    A calibrated camera and where it is on the robot.

    ``base_T_optical`` (4, 4) takes optical axes (x right, y down, z forward) to the frame whose
    pose a map or a trajectory gives: of the robot's base or, without any extrinsics, of the camera
    itself in body axes.
    """

    camera: Camera
    base_T_optical: Pose


@dataclass(frozen=True, eq=False)
class MetricPose:
    """
    Where a query's camera is relative to a place, in metres, from one image.

    ``place_T_query`` (4, 4) and ``covariance`` (6, 6) are in the optical axes of the place's
    camera; the covariance is of x, y, z in m and of rotations about the fixed axes in rad.
    ``inliers`` of ``matched`` keypoints agree, in ``cells`` cells of the image. ``reason`` is
    empty where the pose is accepted, else says which check failed.
    """

    place_T_query: Pose
    covariance: Matrix
    kind: str
    inliers: int
    matched: int
    cells: int
    reason: str = ''

    @property
    def accepted(self) -> bool:
        """Whether the pose passed every check."""
        return not self.reason

    @property
    def sigma_m(self) -> float:
        """Standard deviation of the position along its worst axis, in metres."""
        return float(np.sqrt(np.linalg.eigvalsh(self.covariance[:3, :3])[-1]))


@dataclass(frozen=True, eq=False)
class RefinedPose:
    """
    An accepted pose in metres in the frame of the map, measured from one image.

    ``map_T_base`` (4, 4) is of the frame whose poses the map stores; ``covariance`` (6, 6) is of
    x, y, z in m and of rotations about the map's fixed axes in rad, relative to the pose of
    ``place_id``, whose own error is not included.
    """

    map_T_base: Pose
    covariance: Matrix
    place_id: int
    measured: MetricPose
