# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Local bundle adjustment around one place: its neighbours' poses and the scene's points.

The place's camera is the origin. A point is its ray there and its inverse depth, ``(u, v, rho)``
with ``X = (u, v, 1) / rho``, so that far points are as well conditioned as near ones. Neighbours
move within the prior of the map's poses, which alone holds the scale. Gauss-Newton with damping;
the points are eliminated by the Schur complement; Cauchy weights bound what outliers can do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

CAUCHY_PX = 1.5
STEPS = 8
FEWEST_INVERSE_M = 1e-4


@dataclass(frozen=True)
class Prior:
    """How well the poses of the map are known: sigma of a position and of an orientation."""

    position_m: float
    rotation_rad: float

    def position_sigmas(self, baselines_m: Floats) -> Floats:
        """
        Return the sigma of neighbours' positions seen from the place, (V,) in metres.

        Both ends err, and an error of the place's orientation swings the neighbours around it.
        """
        both_m = self.position_m * np.sqrt(2)
        return np.asarray(np.hypot(both_m, self.rotation_rad * baselines_m), np.float64)


@dataclass
class Problem:
    """
    What is adjusted, in place: ``rotations`` (V, 3, 3) and ``centres`` (V, 3) of the neighbours.

    ``view_R_place`` and the position in the place's axes; ``points`` (L, 3) are u, v, rho.
    Observations: ``view`` (M,), ``point`` (M,), ``rays`` (M, 2); ``place_rays`` (L, 2) are those
    of the place itself. ``focal_px`` (V + 1,) turns rays to pixels, the place's last.
    """

    rotations: Floats
    centres: Floats
    points: Floats
    view: Rows
    point: Rows
    rays: Floats
    place_rays: Floats
    focal_px: Floats

    def residuals(self) -> tuple[Floats, Floats]:
        """Return errors in pixels (M, 2), infinite behind a camera, and the rays' depths (M,)."""
        moved = self._moved()
        depth = moved[:, 2]
        safe = np.where(depth > 1e-6, depth, np.nan)
        error = (moved[:, :2] / safe[:, None] - self.rays) * self.focal_px[self.view][:, None]
        return np.where(np.isfinite(error), error, np.inf), depth

    def _moved(self) -> Floats:
        """Return the points times rho in their views' axes (M, 3)."""
        u_v_1 = np.column_stack([self.points[:, :2], np.ones(len(self.points))])
        from_centre = u_v_1[self.point] \
            - self.points[self.point, 2:] * self.centres[self.view]
        return np.asarray(np.einsum('mij,mj->mi', self.rotations[self.view], from_centre))

    def keep(self, good: NDArray[np.bool_]) -> Rows:
        """Drop observations (M,), and points without any; return the rows of those kept."""
        self.view, self.rays = self.view[good], self.rays[good]
        used, self.point = np.unique(self.point[good], return_inverse=True)
        self.points, self.place_rays = self.points[used], self.place_rays[used]
        return used


def adjust(problem: Problem, prior: Prior, steps: int = STEPS) -> Floats:
    """
    Move neighbours and points to the least error; return the sigma of each rho (L,).

    :param prior: about the poses as they are in the problem now.
    """
    start = problem.rotations.copy(), problem.centres.copy()
    damping = 1e-4
    system = _System(problem, prior, start)
    for _ in range(steps):
        step = system.solve(damping)
        candidate = _moved_by(problem, step)
        trial = _System(candidate, prior, start)
        if trial.cost <= system.cost:
            shrunk = system.cost - trial.cost < 1e-4 * system.cost
            _take(problem, candidate)
            system, damping = trial, max(damping / 10, 1e-9)
            if shrunk:
                break
        else:
            damping *= 10
    return system.inverse_depth_sigmas()


def _take(problem: Problem, candidate: Problem) -> None:
    problem.rotations, problem.centres = candidate.rotations, candidate.centres
    problem.points = candidate.points


def _moved_by(problem: Problem, step: tuple[Floats, Floats]) -> Problem:
    views, points = step
    turns = Rotation.from_rotvec(views[:, :3]).as_matrix()
    moved = problem.points + points
    moved[:, 2] = np.maximum(moved[:, 2], FEWEST_INVERSE_M)
    return Problem(
        turns @ problem.rotations, problem.centres + views[:, 3:], moved, problem.view,
        problem.point, problem.rays, problem.place_rays, problem.focal_px,
    )


class _System:
    """The normal equations at one state: ``views`` 6 V (rotation, centre), ``points`` 3 L."""

    def __init__(self, problem: Problem, prior: Prior, start: tuple[Floats, Floats]) -> None:
        self.problem = problem
        self.cost = 0.0
        views, points = len(problem.rotations), len(problem.points)
        self._a = np.zeros((views, 6, 6))
        self._b = np.zeros((views, 6))
        self._c = np.zeros((points, 3, 3))
        self._d = np.zeros((points, 3))
        self._add_place()
        self._add_views()
        self._add_prior(prior, start)

    def _add_place(self) -> None:
        """The place's own observation pulls u and v only."""
        problem = self.problem
        focal = problem.focal_px[-1]
        error = (problem.points[:, :2] - problem.place_rays) * focal
        weight = _cauchy(error)
        self.cost += _cost(error)
        self._c[:, 0, 0] += weight * focal**2
        self._c[:, 1, 1] += weight * focal**2
        self._d[:, :2] -= weight[:, None] * focal * error

    def _add_views(self) -> None:
        problem = self.problem
        error, _ = problem.residuals()
        by_view, by_point = _jacobians(problem)
        bad = ~np.isfinite(error.sum(axis=1))
        error = np.where(bad[:, None], 0.0, error)
        weight = np.where(bad, 0, _cauchy(error))
        self.cost += _cost(error) + 1e4 * bad.sum()
        weighted = by_view * weight[:, None, None], by_point * weight[:, None, None]
        np.add.at(self._a, problem.view, np.einsum('mki,mkj->mij', weighted[0], by_view))
        np.add.at(self._c, problem.point, np.einsum('mki,mkj->mij', weighted[1], by_point))
        np.add.at(self._b, problem.view, -np.einsum('mki,mk->mi', weighted[0], error))
        np.add.at(self._d, problem.point, -np.einsum('mki,mk->mi', weighted[1], error))
        self._e = np.einsum('mki,mkj->mij', weighted[0], by_point)

    def _add_prior(self, prior: Prior, start: tuple[Floats, Floats]) -> None:
        problem = self.problem
        turned = problem.rotations @ start[0].transpose(0, 2, 1)
        turn = Rotation.from_matrix(turned).as_rotvec() / prior.rotation_rad
        sigmas = prior.position_sigmas(np.linalg.norm(start[1], axis=1))[:, None]
        shift = (problem.centres - start[1]) / sigmas
        self.cost += float((turn**2).sum() + (shift**2).sum())
        diagonal = np.concatenate(
            [np.full((len(turn), 3), prior.rotation_rad**-2), np.repeat(sigmas**-2, 3, 1)], 1
        )
        self._a[:, range(6), range(6)] += diagonal
        self._b -= np.concatenate([turn / prior.rotation_rad, shift / sigmas], axis=1)

    def solve(self, damping: float) -> tuple[Floats, Floats]:
        """Return the steps of the views (V, 6) and of the points (L, 3)."""
        inverse = self._inverse(damping)
        across = self._across()
        solved = across @ inverse
        flat = across.transpose(1, 0, 2).reshape(across.shape[1], -1)
        reduced = -solved.transpose(1, 0, 2).reshape(flat.shape) @ flat.T
        for view, block in enumerate(self._a):
            own = slice(6 * view, 6 * view + 6)
            reduced[own, own] += block + damping * np.diag(np.diag(block))
        right = self._b.ravel() - (solved @ self._d[:, :, None])[:, :, 0].sum(axis=0)
        step = np.linalg.solve(reduced, right)
        back = self._d - step @ across
        return step.reshape(-1, 6), (inverse @ back[:, :, None])[:, :, 0]

    def _across(self) -> Floats:
        """Return the blocks between views and points (L, 6 V, 3)."""
        across = np.zeros((len(self._c), len(self._a), 6, 3))
        across[self.problem.point, self.problem.view] = self._e
        return across.reshape(len(across), -1, 3)

    def _inverse(self, damping: float) -> Floats:
        blocks = self._c.copy()
        diagonal = blocks[:, range(3), range(3)]
        blocks[:, range(3), range(3)] = diagonal * (1 + damping) + 1e-9
        return np.asarray(np.linalg.inv(blocks), np.float64)

    def inverse_depth_sigmas(self) -> Floats:
        """Return the sigma of each rho (L,), for one pixel of noise, the poses given."""
        return np.sqrt(self._inverse(0.0)[:, 2, 2])


def _jacobians(problem: Problem) -> tuple[Floats, Floats]:
    """Return the derivatives in pixels by the views (M, 2, 6) and by the points (M, 2, 3)."""
    moved = problem._moved()
    depth = np.where(np.abs(moved[:, 2]) > 1e-6, moved[:, 2], 1e-6)
    focal = problem.focal_px[problem.view]
    project = np.zeros((len(moved), 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = focal / depth
    project[:, :, 2] = -moved[:, :2] * (focal / depth**2)[:, None]
    rotation = problem.rotations[problem.view]
    rho = problem.points[problem.point, 2]
    by_turn = -project @ cross_matrices(moved)
    by_centre = -(project @ rotation) * rho[:, None, None]
    by_rho = -np.einsum('mij,mj->mi', project @ rotation, problem.centres[problem.view])
    by_point = np.concatenate([(project @ rotation)[:, :, :2], by_rho[:, :, None]], axis=2)
    return np.concatenate([by_turn, by_centre], axis=2), by_point


def cross_matrices(vectors: Floats) -> Floats:
    """Return the matrices (N, 3, 3) that compute the cross product with vectors (N, 3)."""
    x, y, z = vectors.T
    nil = np.zeros_like(x)
    rows = [nil, -z, y, z, nil, -x, -y, x, nil]
    return np.stack(rows, axis=1).reshape(-1, 3, 3)


def _cauchy(error: Floats) -> Floats:
    return np.asarray(1 / (1 + (error**2).sum(axis=1) / CAUCHY_PX**2), np.float64)


def _cost(error: Floats) -> float:
    return float((CAUCHY_PX**2 * np.log1p((error**2).sum(axis=1) / CAUCHY_PX**2)).sum())
