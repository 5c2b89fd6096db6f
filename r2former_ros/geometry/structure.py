# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Landmarks of one place: match with its neighbours, triangulate, adjust, keep what agrees.

Without the adjustment, errors of 5 cm in the map's poses make one accepted answer in eight wrong
by metres, and no check at run time notices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..records import Camera, Keypoints, Landmarks, Pose
from .bundle import Floats, Prior, Problem, Rows, adjust
from .cameras import mean_focal_px, rays_of
from .correspondences import Pairs
from .poses import inverse

Match = Callable[[NDArray[Any], NDArray[Any]], Pairs]

EPIPOLAR_PX = 2.0
REPROJECTION_PX = 2.0
LOOSE_PX = 4.0
"""Observations this far off leave between the first and the second adjustment."""
MIN_PARALLAX_RAD = np.radians(0.5)
FEWEST_MATCHES = 12
FEWEST_LANDMARKS = 20
CONFIDENCE = 0.999


@dataclass(frozen=True, eq=False)
class PosedView:
    """Keypoints of an image with the pose of its camera in optical axes, and their rays (N, 2)."""

    keypoints: Keypoints
    rays: Floats
    focal_px: float
    map_T_optical: Pose

    @classmethod
    def of(cls, keypoints: Keypoints, camera: Camera, map_T_optical: Pose) -> PosedView:
        """Undistort the keypoints; those whose ray is unknown are dropped."""
        rays = rays_of(keypoints.xy, camera)
        known = np.isfinite(rays).all(axis=1)
        kept = Keypoints(keypoints.kind, keypoints.xy[known], keypoints.descriptors[known])
        return cls(kept, rays[known], mean_focal_px(camera), map_T_optical)


def landmarks_of(
    place: PosedView, neighbours: Sequence[PosedView], match: Match, prior: Prior
) -> Landmarks | None:
    """
    Reconstruct the points that a place shares with its neighbours.

    :returns: None where there are too few: nothing matches, or nothing has parallax.
    """
    tracks = [_verified(place, other, match) for other in neighbours]
    seen = [number for number, pairs in enumerate(tracks) if len(pairs) >= FEWEST_MATCHES]
    if not seen:
        return None
    problem, rows = _problem(place, [neighbours[i] for i in seen], [tracks[i] for i in seen])
    baselines_m = np.linalg.norm(problem.centres, axis=1)
    if baselines_m.max() < 1e-3:
        return None
    sigmas_m = prior.position_sigmas(baselines_m)
    scale_sigma = float(((baselines_m / sigmas_m) ** 2).sum() ** -0.5)
    adjust(problem, prior)
    rows = rows[_keep_within(problem, LOOSE_PX)]
    if len(rows) < FEWEST_LANDMARKS:
        return None
    adjust(problem, prior)
    rows = rows[_keep_within(problem, REPROJECTION_PX)]
    return _landmarks(place, problem, rows, scale_sigma, prior)


def _verified(place: PosedView, other: PosedView, match: Match) -> Pairs:
    """Match two views; keep what one essential matrix explains, whatever the poses say."""
    pairs = match(place.keypoints.descriptors, other.keypoints.descriptors)
    if len(pairs) < FEWEST_MATCHES:
        return pairs[:0]
    focal_px = min(place.focal_px, other.focal_px)
    matrix, mask = cv2.findEssentialMat(
        place.rays[pairs[:, 0]], other.rays[pairs[:, 1]], np.eye(3), method=cv2.USAC_MAGSAC,
        prob=CONFIDENCE, threshold=EPIPOLAR_PX / focal_px,
    )
    return pairs[:0] if matrix is None else np.asarray(pairs[mask.ravel().astype(bool)])


def _problem(
    place: PosedView, neighbours: Sequence[PosedView], tracks: Sequence[Pairs]
) -> tuple[Problem, Rows]:
    """Set up the adjustment; also return the rows of the place's keypoints it has points for."""
    place_T_views = [inverse(place.map_T_optical) @ one.map_T_optical for one in neighbours]
    view = np.repeat(np.arange(len(tracks)), [len(pairs) for pairs in tracks])
    rows, point = np.unique(np.concatenate(tracks)[:, 0], return_inverse=True)
    rays = np.concatenate([one.rays[pairs[:, 1]] for one, pairs in zip(neighbours, tracks)])
    problem = Problem(
        rotations=np.array([pose[:3, :3].T for pose in place_T_views]),
        centres=np.array([pose[:3, 3] for pose in place_T_views]),
        points=np.column_stack([place.rays[rows], np.zeros(len(rows))]),
        view=view, point=point, rays=rays, place_rays=place.rays[rows],
        focal_px=np.array([*(one.focal_px for one in neighbours), place.focal_px]),
    )
    problem.points[:, 2] = _inverse_depths(problem)
    return problem, rows


def _inverse_depths(problem: Problem) -> Floats:
    """Triangulate linearly with the poses as they are; not nearer than a tenth of a baseline."""
    rotation = problem.rotations[problem.view]
    u_v_1 = np.column_stack([problem.points[:, :2], np.ones(len(problem.points))])
    a = np.einsum('mij,mj->mi', rotation, u_v_1[problem.point])
    b = -np.einsum('mij,mj->mi', rotation, problem.centres[problem.view])
    fixed = a[:, :2] - problem.rays * a[:, 2:]
    slope = b[:, :2] - problem.rays * b[:, 2:]
    count = len(problem.points)
    above = np.bincount(problem.point, -(fixed * slope).sum(axis=1), count)
    below = np.bincount(problem.point, (slope * slope).sum(axis=1), count)
    largest = 10 / max(float(np.linalg.norm(problem.centres, axis=1).max()), 1e-6)
    return np.clip(above / np.maximum(below, 1e-12), 1e-3 * largest, largest)


def _keep_within(problem: Problem, limit_px: float) -> Rows:
    error, depth = problem.residuals()
    return problem.keep((np.linalg.norm(error, axis=1) <= limit_px) & (depth > 0))


def _landmarks(
    place: PosedView, problem: Problem, rows: Rows, scale_sigma: float, prior: Prior
) -> Landmarks | None:
    if len(rows) == 0:
        return None
    sigmas = adjust(problem, prior, steps=0)
    at_place_px = np.linalg.norm(problem.points[:, :2] - problem.place_rays, axis=1) \
        * place.focal_px
    good = (_parallax_rad(problem) >= MIN_PARALLAX_RAD) & (at_place_px <= REPROJECTION_PX)
    if good.sum() < FEWEST_LANDMARKS:
        return None
    u_v_1 = np.column_stack([problem.points[:, :2], np.ones(len(rows))])
    rho = problem.points[:, 2:]
    return Landmarks(
        place.keypoints.kind, (u_v_1 / rho)[good].astype(np.float32),
        (sigmas / rho[:, 0])[good].astype(np.float32),
        place.keypoints.descriptors[rows[good]], scale_sigma,
    )


def _parallax_rad(problem: Problem) -> Floats:
    """Return the largest angle at which the place and a neighbour see each point (L,)."""
    u_v_1 = np.column_stack([problem.points[:, :2], np.ones(len(problem.points))])
    here = u_v_1[problem.point]
    there = here - problem.points[problem.point, 2:] * problem.centres[problem.view]
    cosine = (here * there).sum(axis=1)
    cosine /= np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1)
    largest = np.zeros(len(problem.points))
    np.maximum.at(largest, problem.point, np.arccos(cosine.clip(-1, 1)))
    return largest
