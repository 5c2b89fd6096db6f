# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The nouns that modules hand to each other: numpy and the standard library only.

Poses are ``map_T_camera`` (4, 4) float64: they take a point of the camera body frame (x forward,
y left, z up) into the map frame. Time is an integer ``stamp_ns``. Images are uint8 (H, W, 3) RGB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Pose = NDArray[np.float64]
Vector = NDArray[np.float32]

NOT_VERIFIED = -1
"""Value of ``Hypothesis.inliers`` where no geometric check was made."""


class State(str, Enum):
    """What the recognizer knows about where the camera is."""

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
    """A frame with its pose, None where unknown, and where it comes from."""

    frame: Frame
    map_T_camera: Pose | None
    source: str


@dataclass(frozen=True)
class StampedPose:
    """A pose ``map_T_camera`` (4, 4) float64 at ``stamp_ns``."""

    stamp_ns: int
    map_T_camera: Pose


@dataclass(frozen=True)
class LocalFeatures:
    """
    Local features of one image, the N patches of largest attention (paper section 3.1).

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

    Places are equal by what names them; poses are not compared.
    """

    place_id: int
    stamp_ns: int
    map_T_camera: Pose | None = field(compare=False)
    source: str


@dataclass(frozen=True)
class Keyframe:
    """
    What a place is made from: where and when, and the features of its image.

    ``descriptor`` (D,) float32 of unit norm; ``thumbnail`` is a JPEG, empty where not wanted.
    """

    stamp_ns: int
    map_T_camera: Pose | None
    source: str
    descriptor: Vector
    local_features: LocalFeatures
    thumbnail: bytes = b''


@dataclass(frozen=True)
class Candidate:
    """A place from retrieval. ``similarity`` is the cosine of the descriptors, in [-1, 1]."""

    place_id: int
    similarity: float


@dataclass(frozen=True)
class Hypothesis:
    """
    "You are at this place of the map": a candidate that was reranked.

    ``score`` is the match probability in [0, 1] (equal to the similarity, clipped at 0, where
    reranking is off); ``inliers`` counts verified correspondences, or is ``NOT_VERIFIED``.
    ``probability`` is that of being right, NaN where the map is not calibrated.
    """

    place: Place
    similarity: float
    score: float
    inliers: int = NOT_VERIFIED
    probability: float = field(default=math.nan, compare=False)


@dataclass(frozen=True, eq=False)
class Camera:
    """
    Intrinsics of a camera, as in ``sensor_msgs/CameraInfo``.

    ``matrix`` (3, 3) in pixels of an image of ``width`` x ``height``; ``distortion`` (n,) for
    ``model``: plumb_bob, rational_polynomial or equidistant.
    """

    matrix: Pose
    width: int
    height: int
    distortion: Pose = field(default_factory=lambda: np.zeros(5))
    model: str = 'plumb_bob'


@dataclass(frozen=True, eq=False)
class View:
    """
    How the camera of a query stood beside that of a place, in body axes of the place.

    ``rotation`` (3, 3) is that of ``place_T_query``; ``direction`` (3,) is the unit vector from
    the place to the query (how far is not known); ``inliers`` matches say so.
    """

    rotation: Pose
    direction: Pose
    inliers: int


@dataclass(frozen=True)
class LoopClosure:
    """
    An accepted claim: the keyframe of ``stamp_ns`` was taken near the place of ``hypothesis``.

    ``in_saved_map``: the place belongs to a map that was there before, and its pose is in that
    map's frame; else to this drive, and its pose is the odometry of then. ``view`` is None where
    the camera is not calibrated or too little matched.
    """

    stamp_ns: int
    hypothesis: Hypothesis
    in_saved_map: bool = False
    view: View | None = None


@dataclass(frozen=True, eq=False)
class Belief:
    """
    What the images so far say together: the most probable place, and how probable.

    ``probability`` is that of all places within ``decision.agreement_radius_m`` of it;
    ``covariance_m2`` (3, 3) is the spread over all places around its position, from the belief
    and the spacing of the map, or None where places have no poses.
    """

    place: Place
    probability: float
    covariance_m2: Pose | None = None


@dataclass(frozen=True)
class Recognition:
    """
    The decision on one query image, with the ranked hypotheses behind it, best first.

    ``candidates`` keeps the order of retrieval, so that both rankings can be compared.
    ``latency_ms`` holds one entry a stage: encode, retrieve, rerank, verify, decide. ``belief``
    takes the images before into account; None on an empty map. ``accepted`` is about this image
    alone: its best hypothesis has a score of ``decision.min_score`` and stood the geometric check,
    if any.
    """

    stamp_ns: int
    state: State
    hypotheses: tuple[Hypothesis, ...]
    candidates: tuple[Candidate, ...]
    latency_ms: dict[str, float] = field(default_factory=dict)
    belief: Belief | None = None
    accepted: bool = False

    @property
    def best(self) -> Hypothesis | None:
        """The first hypothesis, or None: an empty map gives none."""
        return self.hypotheses[0] if self.hypotheses else None
