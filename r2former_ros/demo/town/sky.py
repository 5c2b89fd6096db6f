# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lies beyond the surfaces: view rays, the sky and the halos of lanterns."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ...records import Pose
from .camera import Floats, TownCamera, optical_R_map
from .light import Light
from .materials import Gain as Plane
from .materials import tileable_noise
from .raster import Buffers

HALF = 2
"""Shadows, lamp light and sky are computed on every second pixel."""
Rays = tuple[Plane, Plane, Plane]


@lru_cache(maxsize=4)
def _rays(camera: TownCamera) -> tuple[Plane, Plane]:
    """Give optical x and y per unit depth of every second pixel."""
    x = (np.arange(0, camera.width_px, HALF) - (camera.width_px - 1) / 2) / camera.focal_px
    y = (np.arange(0, camera.height_px, HALF) - (camera.height_px - 1) / 2) / camera.focal_px
    grid = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return np.ascontiguousarray(grid[0]), np.ascontiguousarray(grid[1])


def view_rays(camera: TownCamera, map_T_camera: Pose) -> Rays:
    """Give the rays of every second pixel in the map frame, per unit depth."""
    x, y = _rays(camera)
    m = optical_R_map(map_T_camera).T.astype(np.float32)
    return m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2], (
        m[2, 0] * x + m[2, 1] * y + m[2, 2]
    )


def to_full(half: Plane, size: tuple[int, int]) -> Plane:
    """Enlarge a plane to a width and height in pixels."""
    return np.asarray(cv2.resize(half, size, interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=2)
def _cloud_tile(seed: int = 7) -> Plane:
    tile = tileable_noise(np.random.default_rng(seed), 512, cells=4, octaves=6)
    # One more row and column, so that sampling between the last and the first has both.
    return np.pad(tile, ((0, 1), (0, 1)), mode='wrap')


def sky_planes(
    light: Light, rays: Rays, buffers: Buffers
) -> list[Plane]:
    """Paint the sky: a gradient, clouds on a high plane, and the glow around the sun."""
    east, north, up = rays
    length = np.sqrt(east * east + north * north + up * up)
    height = np.clip(up / length, 0, 1)
    flat = np.float32(150) / np.maximum(height * length, np.float32(0.03))
    tile = cv2.remap(_cloud_tile(), east * flat % 512, north * flat % 512, cv2.INTER_LINEAR)
    edge = np.float32(1.6 * (0.5 - light.cloud_cover) * 2)
    cloud = np.clip((np.asarray(tile) - edge) * np.float32(0.9), 0, 1) * np.clip(height * 7, 0, 1)
    mix = height ** np.float32(0.55)
    sun = light.to_sun()
    toward = np.clip((east * sun[0] + north * sun[1] + up * sun[2]) / length, 0, 1)
    flare = (toward**40 * 0.9 + toward**6 * 0.18).astype(np.float32)
    size, planes = (buffers.surface.shape[1], buffers.surface.shape[0]), []
    for c in range(3):
        plane = light.horizon[c] + (light.zenith[c] - light.horizon[c]) * mix
        plane = plane + (light.cloud[c] - plane) * cloud * np.float32(0.9)
        planes.append(to_full((plane + flare * np.float32(light.sun[c])).astype(np.float32), size))
    return planes


def halos(
    buffers: Buffers, lamps_m: Floats, light: Light, camera: TownCamera, map_T_camera: Pose
) -> Plane | None:
    """Add a glow around every lantern in sight, or None where lamps are off."""
    if not light.lamps or not len(lamps_m):
        return None
    halo: Plane = np.zeros(buffers.surface.shape, np.float32)
    for x, y, depth in camera.project(lamps_m, map_T_camera):
        if not 1.0 < depth < 90 or not (0 <= x < camera.width_px and 0 <= y < camera.height_px):
            continue
        if buffers.inverse_depth[int(y), int(x)] > 1.1 / depth:
            continue
        _add_disc(halo, (x, y), camera.focal_px * 0.55 / depth, light.lamps)
    return halo


def _add_disc(halo: Plane, at: tuple[float, float], radius: float, strength: float) -> None:
    """Add a bright core and a wide faint ring at a pixel."""
    reach = int(4 * radius) + 2
    x0, y0 = max(int(at[0]) - reach, 0), max(int(at[1]) - reach, 0)
    area = halo[y0 : int(at[1]) + reach, x0 : int(at[0]) + reach]
    x = np.arange(x0, x0 + area.shape[1], dtype=np.float32) - np.float32(at[0])
    y = np.arange(y0, y0 + area.shape[0], dtype=np.float32) - np.float32(at[1])
    square = (x[None] ** 2 + y[:, None] ** 2) / np.float32(radius**2)
    area += strength * (1.6 * np.exp(-square * 9) + 0.22 * np.exp(-square * 0.5))
