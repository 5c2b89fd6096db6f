# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The town and the laps driven through it. The page to read first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...records import Frame, Image, Pose, StampedPose
from .camera import Floats, TownCamera, pose_at
from .light import DAY, Light
from .raster import draw
from .relight import photograph
from .streets import Plan, make_plan
from .surfaces import Mesh
from .world import make_houses, standing, traffic

SPEED_MPS = 8.0
FRAME_ID = 'camera'
_WANDER_M = 0.18
_WANDER_YAW_RAD = 0.022
_WANDER_PITCH_RAD = 0.010


class Town:
    """
    A town with one closed loop street, the same for the same ``seed`` down to the pixel.

    The map frame has z up and its origin near the middle of the loop; lengths are metres.
    Textures are painted when they are first seen and then kept.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._plan = make_plan(np.random.default_rng([seed, 0]))
        self._houses = make_houses(self._plan, np.random.default_rng([seed, 1]))
        self._standing, self._relief = standing(self._plan, self._houses, seed)
        self._mesh = lru_cache(maxsize=4)(self._make_mesh)

    def plan(self) -> Plan:
        """Give the town from above: ``footprints`` and ``route``, metres in the map frame."""
        return self._plan

    @property
    def length_m(self) -> float:
        """Length of the driven loop."""
        route = self._plan.route
        return float(np.linalg.norm(np.roll(route, -1, axis=0) - route, axis=1).sum())

    def poses(
        self, lap: int, frames: int, *, lateral_offset_m: float = 0.0,
        speed_mps: float = SPEED_MPS, height_m: float = TownCamera.height_m,
    ) -> list[StampedPose]:  # fmt: skip
        """
        Drive one lap in ``frames`` even steps; the frame after the last would be the first again.

        The stamps follow from the speed: the camera rate is ``frames * speed_mps / length_m`` Hz
        and lap n starts when lap n - 1 ends. ``lateral_offset_m`` is to the left of the route; a
        smooth wander of about 0.2 m, 1 degree of yaw and half of pitch comes on top, new each
        lap. ``lap`` and ``frames`` count from 0 and 1.
        """
        along_m = np.arange(frames) * self.length_m / frames
        wander = _wander(np.random.default_rng([self.seed, 6, lap]), along_m / self.length_m)
        stamps_ns = np.round((along_m + lap * self.length_m) / speed_mps * 1e9).astype(np.int64)
        found = []
        for at, (aside, yaw, pitch), stamp in zip(along_m, wander, stamps_ns):
            point, heading = self.on_route(float(at))
            left = np.array([-np.sin(heading), np.cos(heading)])
            place = np.array([*(point + left * (lateral_offset_m + aside)), height_m])
            found.append(
                StampedPose(int(stamp), pose_at(place, yaw_rad=heading + yaw, pitch_rad=pitch))
            )
        return found

    def lap(
        self, lap: int, frames: int, *, light: Light = DAY, camera: TownCamera | None = None,
        lateral_offset_m: float = 0.0, speed_mps: float = SPEED_MPS,
    ) -> Iterator[tuple[Frame, StampedPose]]:  # fmt: skip
        """Yield the frames and poses of one lap; see ``poses``. Cars and people differ by lap."""
        camera = camera or TownCamera()
        poses = self.poses(lap, frames, lateral_offset_m=lateral_offset_m, speed_mps=speed_mps,
                           height_m=camera.height_m)  # fmt: skip
        for number, pose in enumerate(poses):
            image = self.view(pose.pose, light=light, camera=camera, lap=lap, shot=number)
            yield Frame(pose.stamp_ns, image, FRAME_ID), pose

    def view(
        self, map_T_camera: Pose, *, light: Light = DAY, camera: TownCamera | None = None,
        lap: int = 0, shot: int = 0,
    ) -> Image:  # fmt: skip
        """
        Take one picture (H, W, 3) uint8 RGB from anywhere.

        ``lap`` chooses the parked cars and people, ``shot`` the sensor noise.
        """
        return self.view_with_depth(map_T_camera, light=light, camera=camera, lap=lap,
                                    shot=shot)[0]  # fmt: skip

    def view_with_depth(
        self, map_T_camera: Pose, *, light: Light = DAY, camera: TownCamera | None = None,
        lap: int = 0, shot: int = 0,
    ) -> tuple[Image, NDArray[np.float32]]:  # fmt: skip
        """Take one picture, and return the inverse depth (H, W) in 1/m too, 0 for the sky."""
        camera, mesh = camera or TownCamera(), self._mesh(lap)
        buffers = draw(mesh, camera, map_T_camera)
        image = photograph(buffers, mesh, self._relief, light=light, camera=camera,
                           map_T_camera=map_T_camera, seed=1000 * lap + shot)  # fmt: skip
        return image, buffers.inverse_depth

    def _make_mesh(self, lap: int) -> Mesh:
        return Mesh([*self._standing, *traffic(self._plan, self.seed, lap)])

    def on_route(self, along_m: float) -> tuple[Floats, float]:
        """Give the point (2,) and the heading at an arc length of the route."""
        here, ahead = (_at(self._plan.route, self.length_m, along_m + d) for d in (-1.5, 1.5))
        step = ahead - here
        point = _at(self._plan.route, self.length_m, along_m)
        return point, float(np.arctan2(step[1], step[0]))


def _at(route: Floats, length_m: float, along_m: float) -> Floats:
    """Interpolate the closed, evenly sampled route (M, 2) at an arc length."""
    position = along_m / length_m * len(route)
    before, share = int(np.floor(position)), position - np.floor(position)
    a, b = route[before % len(route)], route[(before + 1) % len(route)]
    return np.asarray(a + share * (b - a))


def _wander(rng: np.random.Generator, phase: Floats) -> Floats:
    """Give smooth periodic wander (N, 3): metres left, yaw and pitch in radians."""
    total = np.zeros((len(phase), 3))
    for harmonic in (3, 5, 11):
        shift = rng.uniform(0, 2 * np.pi, 3)
        size = rng.uniform(0.5, 1.0, 3) / np.sqrt(harmonic / 3)
        total += size * np.sin(2 * np.pi * harmonic * phase[:, None] + shift)
    return np.asarray(total / 1.5 * (_WANDER_M, _WANDER_YAW_RAD, _WANDER_PITCH_RAD))
