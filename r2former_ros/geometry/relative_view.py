# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Rotation and direction between a query and a place, by the essential matrix.

A patch is too coarse for it: at 16 px of a 256 px wide input the rotation is worse than none.
So optical flow, started at the matched patches, finds the points between two thumbnails.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..records import Camera, LocalFeatures, View
from .cameras import rays_of
from .poses import BODY_T_OPTICAL
from .verification import CONFIDENCE, matched_patches

FEWEST_POINTS = 8
WINDOW_PX = (15, 15)
RETURN_PX = 1.0
"""A point counts where the flow there and back ends this close to where it began."""
EPIPOLAR_PX = 0.5

Grey = NDArray[np.uint8]
Points = NDArray[np.float64]


def relative_view(
    thumbnails: tuple[bytes, bytes],
    features: tuple[LocalFeatures, LocalFeatures],
    input_size: tuple[int, int],
    camera: Camera,
) -> View | None:
    """
    Estimate how a query's camera stood beside a place's.

    :param thumbnails: JPEGs of the query and of the place.
    :param features: local features of the query and of the place.
    :param input_size: height and width in pixels of the model's input.
    :returns: None where a thumbnail is missing, they differ in size, or too little matches.
        Without a step between the two the direction means nothing.
    """
    query, place = (_decode(jpeg) for jpeg in thumbnails)
    if query is None or place is None or query.shape != place.shape:
        return None
    tracks = _tracks(query, place, _starts(features, input_size, query.shape))
    if len(tracks) < FEWEST_POINTS:
        return None
    small = _scaled(camera, query.shape)
    rays = [rays_of(points, small) for points in tracks.transpose(1, 0, 2)]
    known = np.isfinite(rays[0] + rays[1]).all(axis=1)
    return _view(rays[0][known], rays[1][known], EPIPOLAR_PX / small.matrix[0, 0])


def _starts(
    features: tuple[LocalFeatures, LocalFeatures],
    input_size: tuple[int, int],
    shape: tuple[int, ...],
) -> NDArray[np.float32]:
    """Return matched patches as pixels of the thumbnails (M, 2, 2): pair, side, x and y."""
    size = np.array(input_size[::-1], np.float64)
    scale = max(input_size) / size * np.array(shape[1::-1])
    matches = matched_patches(*features)
    sides = [one.xy[matches[:, side]] * scale for side, one in enumerate(features)]
    return np.stack(sides, axis=1).astype(np.float32)


def _tracks(query: Grey, place: Grey, starts: NDArray[np.float32]) -> Points:
    """Refine starts (M, 2, 2) by optical flow; those that do not come back are left out."""
    if len(starts) == 0:
        return np.zeros((0, 2, 2))
    from_px, to_px = np.ascontiguousarray(starts[:, 0]), np.ascontiguousarray(starts[:, 1])
    there, found = _flow(query, place, from_px, to_px)
    back, returned = _flow(place, query, there, from_px)
    good = found & returned & (np.linalg.norm(back - from_px, axis=1) < RETURN_PX)
    return np.stack([from_px[good], there[good]], axis=1).astype(np.float64)


def _flow(
    source: Grey, target: Grey, points: NDArray[np.float32], guess: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        source, target, points, guess.copy(), winSize=WINDOW_PX, maxLevel=1,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return moved.astype(np.float32, copy=False), status.ravel().astype(bool)


def _scaled(camera: Camera, shape: tuple[int, ...]) -> Camera:
    """Scale the intrinsic matrix to a thumbnail's size."""
    factors = np.array([shape[1] / camera.width, shape[0] / camera.height, 1.0])
    return replace(camera, matrix=factors[:, None] * camera.matrix, width=shape[1],
                   height=shape[0])


def _view(query: Points, place: Points, tolerance: float) -> View | None:
    """Take rotation and direction from the essential matrix of two bundles of rays."""
    essential, mask = cv2.findEssentialMat(
        place, query, np.eye(3), method=cv2.USAC_ACCURATE, prob=CONFIDENCE, threshold=tolerance
    )
    if essential is None or essential.shape != (3, 3):
        return None
    inliers, rotation, step, _ = cv2.recoverPose(essential, place, query, np.eye(3), mask=mask)
    to_body = BODY_T_OPTICAL[:3, :3]
    # recoverPose gives query_T_place in optical axes.
    return View(
        to_body @ rotation.T @ to_body.T, to_body @ (-rotation.T @ step.ravel()), int(inliers)
    )


def _decode(jpeg: bytes) -> Grey | None:
    if not jpeg:
        return None
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if decoded is None else decoded.astype(np.uint8, copy=False)
