# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the reranker learns from in a town: places by two lights, queries from beside and askew.

Poses and depth are exact, so the true partner of every patch is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Image, Pose
from ..training.data.partners import Points, Size, in_patches, inside, patch_centres
from ..training.data.shots import Shot
from .town import DAY, DUSK, LIGHTS, NIGHT, OVERCAST, Light, Town, TownCamera, pose_at
from .town.camera import optical_R_map

PLACES = 60
"""Of each of two laps."""
QUERIES = 110
ASIDE_M = 3.0
ASKEW_DEG = 40.0
FIELDS_OF_VIEW_DEG = 55.0, 92.0
HEIGHTS_M = 1.3, 1.9
NEAR_M = 7.0
"""A place shows what a query sees if it is at most this far,"""
LEAST_COMMON = 0.15
"""and if this share of the patches is in both."""
WALL_M = 1.7
"""A query sees nothing but a wall if half of it is nearer than this."""
DEPTH_TOLERANCE = 0.1


@dataclass(frozen=True)
class _View:
    pose: Pose
    camera: TownCamera
    image: Image
    inverse_depth: NDArray[np.float32]

    @property
    def place_m(self) -> tuple[float, float]:
        x, y = self.pose[:2, 3]
        return float(x), float(y)


def shots_of_town(seed: int, size: Size) -> Iterator[Shot]:
    """Yield places of two laps, then queries; ``size`` is their height and width in pixels."""
    rng, town, group = np.random.default_rng([seed, 7]), Town(seed), f'town {seed}'
    places = list(_places(town, size, rng))
    for place in places:
        yield Shot(place.image, group, place.place_m)
    lights = list(LIGHTS.values())
    for number in range(QUERIES):
        query = _query(town, size, lights[int(rng.integers(len(lights)))], number, rng)
        if np.median(query.inverse_depth) > 1 / WALL_M:
            continue
        for row in rng.permutation(len(places)).tolist():
            partners = _common(query, places[row])
            if partners is not None:
                yield Shot(query.image, group, query.place_m, row, partners)
                break


def partners_by_depth(left: _View, right: _View, size: Size) -> Points:
    """Return the partners (P, 2) of the patches of one view in another; the sky is unknown."""
    at = patch_centres(size)
    columns, rows = np.round(at).astype(int).T
    inverse = left.inverse_depth[rows, columns].astype(float)
    rays = np.column_stack([at, np.ones(len(at))]) @ np.linalg.inv(left.camera.matrix).T
    optical = rays / np.where(inverse > 0, inverse, np.nan)[:, None]
    points = optical @ optical_R_map(left.pose) + left.pose[:3, 3]
    with np.errstate(invalid='ignore', divide='ignore'):
        there = right.camera.project(points, right.pose)
        visible = inside(there[:, :2], size) & (there[:, 2] > 0)
    columns, rows = np.round(np.where(visible[:, None], there[:, :2], 0)).astype(int).T
    seen = right.inverse_depth[rows, columns]
    with np.errstate(invalid='ignore'):
        visible &= np.abs(there[:, 2] * seen - 1) < DEPTH_TOLERANCE
    partners = in_patches(there[:, :2], visible)
    partners[inverse <= 0] = np.inf
    return partners


def _places(town: Town, size: Size, rng: np.random.Generator) -> Iterator[_View]:
    camera = TownCamera(width_px=size[1], height_px=size[0])
    for lap, lights in enumerate(((DAY, OVERCAST), (DUSK, NIGHT))):
        light = lights[int(rng.integers(len(lights)))]
        for number, stamped in enumerate(town.poses(lap, PLACES)):
            pose = stamped.pose
            yield _View(pose, camera, *town.view_with_depth(
                pose, light=light, camera=camera, lap=lap, shot=number))


def _query(
    town: Town, size: Size, light: Light, number: int, rng: np.random.Generator
) -> _View:
    """Look at the town from beside the route, another way, through another lens."""
    point, heading = town.on_route(float(rng.uniform(0, town.length_m)))
    left = np.array([-np.sin(heading), np.cos(heading)])
    place = point + left * rng.uniform(-ASIDE_M, ASIDE_M)
    yaw = heading + np.radians(rng.uniform(-ASKEW_DEG, ASKEW_DEG))
    pose = pose_at(np.array([*place, rng.uniform(*HEIGHTS_M)]), yaw_rad=yaw,
                   pitch_rad=np.radians(rng.normal() * 3))
    camera = TownCamera(width_px=size[1], height_px=size[0],
                    horizontal_fov_deg=rng.uniform(*FIELDS_OF_VIEW_DEG))
    return _View(pose, camera, *town.view_with_depth(
        pose, light=light, camera=camera, lap=2, shot=number))


def _common(query: _View, place: _View) -> Points | None:
    """Return the partners (2 P, 2) of both if they are near and see enough of the same."""
    if np.linalg.norm(query.pose[:2, 3] - place.pose[:2, 3]) > NEAR_M:
        return None
    size = query.camera.height_px, query.camera.width_px
    both = [partners_by_depth(query, place, size), partners_by_depth(place, query, size)]
    partners = np.concatenate(both)
    return partners if np.isfinite(partners[:, 0]).mean() >= LEAST_COMMON else None
