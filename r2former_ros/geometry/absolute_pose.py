# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The pose of a query among a place's landmarks: RANSAC, robust refinement, covariance, checks.

Inliers alone do not tell a wrong place from the right one; their share of the matches does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..records import Landmarks, MetricPose, Pose
from .bundle import Floats, cross_matrices
from .correspondences import Pairs

CONFIDENCE = 0.9999
TRIALS = 2000
STEPS = 10
FEWEST = 6
MOST_PX = 1e3
EFFICIENCY = 0.88
"""Of the Cauchy estimate, against least squares on Gaussian noise without outliers."""
LEAST_VARIANCE = 0.25
"""Of a keypoint, in px^2: no better fit than by half a pixel is believed."""
GRID = (8, 6)
"""Cells across and down in which inliers are counted."""


@dataclass(frozen=True)
class Gates:
    """What an accepted pose must have."""

    min_inliers: int = 20
    min_share: float = 0.25
    max_sigma_m: float = 0.3
    max_distance_m: float = 15.0
    min_cells: int = 5

    def reason(self, pose: MetricPose) -> str:
        """Say which check a pose fails, empty where it passes all."""
        far_m = float(np.linalg.norm(pose.place_T_query[:3, 3]))
        checks = [
            (pose.inliers >= self.min_inliers, f'{pose.inliers} inliers < {self.min_inliers}'),
            (pose.inliers >= self.min_share * pose.matched,
             f'{pose.inliers} of {pose.matched} matches agree, < {self.min_share:g}'),
            (pose.cells >= self.min_cells,
             f'inliers in {pose.cells} cells of the image < {self.min_cells}'),
            (far_m <= self.max_distance_m,
             f'{far_m:.1f} m from the place > {self.max_distance_m:g}'),
            (pose.sigma_m <= self.max_sigma_m,
             f'sigma {pose.sigma_m:.2f} m > {self.max_sigma_m:g}'),
        ]
        return next((text for passed, text in checks if not passed), '')


@dataclass(frozen=True, eq=False)
class QueryView:
    """Rays (N, 2) of a query's keypoints, their pixels (N, 2), its size and focal length."""

    rays: Floats
    xy: NDArray[np.float32]
    width: int
    height: int
    focal_px: float

    def cells(self, rows: NDArray[np.intp]) -> int:
        """Count the cells of the grid that hold some of the keypoints."""
        size = np.array([self.width, self.height])
        cell = (self.xy[rows] * GRID / size).astype(int).clip(0, np.array(GRID) - 1)
        return len(np.unique(cell[:, 0] * GRID[1] + cell[:, 1]))


def solve(
    query: QueryView, landmarks: Landmarks, pairs: Pairs, *, threshold_px: float,
    sigma_scale: float = 1.0,
) -> MetricPose | None:
    """
    Estimate the query's pose from its matches (K, 2) with landmarks.

    :param sigma_scale: what the standard deviations are multiplied by, measured per detector.
    :returns: the pose before any check, None where no pose explains the matches.
    """
    rays, points = query.rays[pairs[:, 0]], landmarks.xyz[pairs[:, 1]].astype(np.float64)
    start = _ransac(rays, points, threshold_px, query.focal_px)
    if start is None:
        return None
    fit = _Fit(rays, points, landmarks.depth_sigma[pairs[:, 1]].astype(np.float64),
               query.focal_px, threshold_px)
    pose = fit.refined(start)
    good = fit.within(pose)
    if good.sum() < FEWEST or not np.isfinite(pose).all():
        return None
    covariance = fit.covariance(pose, good) * sigma_scale**2
    shift = pose[:3, 3]
    covariance[:3, :3] += landmarks.scale_sigma**2 * np.outer(shift, shift)
    return MetricPose(pose, covariance, landmarks.kind, int(good.sum()), len(pairs),
                      query.cells(pairs[good, 0]))


def _ransac(rays: Floats, points: Floats, threshold_px: float, focal_px: float) -> Pose | None:
    """Return place_T_query by MAGSAC over minimal sets, None where there is none."""
    if len(rays) < FEWEST:
        return None
    settings = cv2.UsacParams()
    settings.sampler = cv2.SAMPLING_UNIFORM
    settings.score = cv2.SCORE_METHOD_MAGSAC
    settings.loMethod = cv2.LOCAL_OPTIM_SIGMA
    settings.threshold = threshold_px
    settings.confidence = CONFIDENCE
    settings.maxIterations = TRIALS
    matrix = np.diag([focal_px, focal_px, 1.0])
    try:
        found, _, turn, shift, _ = cv2.solvePnPRansac(
            points, rays * focal_px, matrix, None, params=settings
        )
    except cv2.error:  # raised for some degenerate sets
        return None
    if not found or not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        return None
    rotation = Rotation.from_rotvec(turn.ravel()).as_matrix()
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ shift.ravel()
    return pose


@dataclass(frozen=True, eq=False)
class _Fit:
    """Matches of rays (K, 2) and points (K, 3), with what is needed to weigh them."""

    rays: Floats
    points: Floats
    depth_sigma: Floats
    focal_px: float
    threshold_px: float

    def refined(self, pose: Pose) -> Pose:
        """Return the place_T_query of least Cauchy error near a pose."""
        damping, (error, weight, jacobian) = 1e-4, self._linear(pose)
        cost = self._cost(error, weight)
        for _ in range(STEPS):
            information, gradient = self._normal(error, weight, jacobian)
            damped = information + damping * np.diag(np.diag(information))
            step = np.asarray(np.linalg.lstsq(damped, gradient, rcond=None)[0], np.float64)
            trial = _moved(pose, step)
            error_2, weight_2, jacobian_2 = self._linear(trial)
            cost_2 = self._cost(error_2, weight_2)
            if cost_2 <= cost:
                done = cost - cost_2 < 1e-6 * cost
                pose, error, weight, jacobian, cost = \
                    trial, error_2, weight_2, jacobian_2, cost_2
                damping /= 10
                if done:
                    break
            else:
                damping *= 10
        return pose

    def within(self, pose: Pose) -> NDArray[np.bool_]:
        """Say which matches reproject within the threshold, in front of the camera (K,)."""
        seen = (self.points - pose[:3, 3]) @ pose[:3, :3]
        depth = np.where(seen[:, 2] > 1e-6, seen[:, 2], np.nan)
        error = (seen[:, :2] / depth[:, None] - self.rays) * self.focal_px
        return np.asarray(np.linalg.norm(error, axis=1) <= self.threshold_px)

    def covariance(self, pose: Pose, good: NDArray[np.bool_]) -> Floats:
        """Return the covariance (6, 6) from the inliers (K,), scaled by how well they fit."""
        error, weight, jacobian = (part[good] for part in self._linear(pose))
        freedom = max(2 * len(error) - 6, 1)
        scale = _variance(float(_squared(error, weight).sum()) / freedom, self.threshold_px)
        information = np.einsum('kia,kij,kjb->ab', jacobian, weight, jacobian)
        return np.asarray(scale / EFFICIENCY * np.linalg.pinv(information, hermitian=True))

    def _linear(self, pose: Pose) -> tuple[Floats, Floats, Floats]:
        """Return errors in px (K, 2), their inverse covariances (K, 2, 2), Jacobians (K, 2, 6)."""
        rotation = pose[:3, :3].T
        from_query = self.points - pose[:3, 3]
        seen = from_query @ rotation.T
        depth = np.maximum(seen[:, 2], 1e-3)
        error = (seen[:, :2] / depth[:, None] - self.rays) * self.focal_px
        project = np.zeros((len(seen), 2, 3))
        project[:, 0, 0] = project[:, 1, 1] = self.focal_px / depth
        project[:, :, 2] = -seen[:, :2] * (self.focal_px / depth**2)[:, None]
        by_point = project @ rotation
        by_turn = by_point @ cross_matrices(from_query)
        along = np.einsum('kij,kj->ki', by_point, self.points) * self.depth_sigma[:, None]
        along = np.clip(along, -MOST_PX, MOST_PX)
        # The inverse of 1 px of noise and the uncertain depth: (I + a a^T)^-1.
        total = 1 + (along**2).sum(axis=1)
        weight = np.eye(2) - along[:, :, None] * along[:, None, :] / total[:, None, None]
        return error, weight, np.concatenate([-by_point, by_turn], axis=2)

    def _normal(self, error: Floats, weight: Floats, jacobian: Floats) -> tuple[Floats, Floats]:
        limit = (self.threshold_px / 2) ** 2
        robust = 1 / (1 + _squared(error, weight) / limit)
        weighted = robust[:, None, None] * (weight @ jacobian)
        information = np.einsum('kia,kib->ab', weighted, jacobian)
        return information, -np.einsum('kia,ki->a', weighted, error)

    def _cost(self, error: Floats, weight: Floats) -> float:
        limit = (self.threshold_px / 2) ** 2
        return float((limit * np.log1p(_squared(error, weight) / limit)).sum())


def _variance(of_inliers: float, threshold_px: float) -> float:
    """
    Return the variance of a coordinate (px^2) from that of inliers, whose errors are cut off.

    With Gaussian noise of variance v, errors (2,) shorter than t have the variance
    ``v (1 - a / (exp(a) - 1))`` with ``a = t^2 / 2 v``; solved by repetition.
    """
    variance = of_inliers = max(of_inliers, LEAST_VARIANCE)
    for _ in range(20):
        a = min(threshold_px**2 / (2 * variance), 50.0)
        variance = min(of_inliers / (1 - a / math.expm1(a)), threshold_px**2 / 2)
    return variance


def _squared(error: Floats, weight: Floats) -> Floats:
    """Return the squared errors over their variance (K,)."""
    return np.asarray(np.einsum('ki,kij,kj->k', error, weight, error))


def _moved(pose: Pose, step: Floats) -> Pose:
    """Add a step of position (3) and rotation about the fixed axes (3)."""
    moved = pose.copy()
    moved[:3, 3] += step[:3]
    moved[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix() @ pose[:3, :3]
    return moved
