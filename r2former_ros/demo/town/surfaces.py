# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the town is made of: flat textured surfaces in the map frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...records import Image
from .camera import Floats

UNIT_SQUARE: Floats = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
TRIANGLE: Floats = np.array([[0, 0], [1, 0], [0.5, 1], [0.5, 1]], dtype=np.float64)
SOFT_FACING = 0.42
"""Sun cosine of foliage, people and decals, which have no one normal."""


class Texture:
    """
    A lazily painted image (H, W, 4) uint8 with prefiltered copies.

    The fourth channel is glow (how much the surface shines when lights are on) for a solid
    surface, and opacity for a cut-out. Copies are halved separately in x and y (a rip map): a
    facade seen along the street is small in one direction only. ``isotropic`` keeps only the
    copies halved alike in both, for a large texture seen from any side.
    """

    def __init__(self, paint: Callable[[], Image], *, isotropic: bool = False) -> None:
        self._paint = paint
        self.isotropic = isotropic
        self._levels: dict[tuple[int, int], Image] = {}

    def level(self, across: int, down: int) -> Image:
        """Give the copy halved ``across`` times in x and ``down`` times in y, never below 1 px."""
        key = (across, down)
        if key not in self._levels:
            self._levels[key] = self._paint() if key == (0, 0) else self._halved(across, down)
        return self._levels[key]

    def _halved(self, across: int, down: int) -> Image:
        if self.isotropic:
            finer = self.level(across - 1, across - 1)
        else:
            finer = self.level(max(across - 1, 0), down if across else max(down - 1, 0))
        height, width = finer.shape[:2]
        size = (
            (width + 1) // 2 if across else width,
            (height + 1) // 2 if self.isotropic or not across else height,
        )
        return np.asarray(cv2.resize(finer, size, interpolation=cv2.INTER_AREA), np.uint8)


def plain(colour: Sequence[float], glow: int = 0) -> Texture:
    """Make a texture of one pixel: sRGB colour in [0, 255] and glow."""
    pixel = np.array([[[*colour[:3], glow]]]).clip(0, 255).astype(np.uint8)
    return Texture(lambda: pixel)


@dataclass(frozen=True, eq=False)
class Surface:
    """
    A parallelogram ``origin + u * along + v * up`` (3,) metres in the map frame, u, v in [0, 1].

    Seen from the front, ``along`` points right and ``up`` up, so that texts read; the front is
    the side of ``along x up``. ``outline`` (4, 2) in u, v is the convex part that is drawn.
    A billboard turns about the vertical through the middle of its foot to face the camera.
    """

    origin: Floats
    along: Floats
    up: Floats
    texture: Texture
    outline: Floats = field(default_factory=lambda: UNIT_SQUARE)
    cut_out: bool = False
    billboard: bool = False
    soft: bool = False
    reach_m: float = 400.0
    """Farther than this it is not drawn: small things would only flicker."""


class Mesh:
    """Surfaces stacked into arrays of N rows, for culling and projection in one go."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        self.textures = [surface.texture for surface in surfaces]
        self.origin = np.array([surface.origin for surface in surfaces])
        self.along = np.array([surface.along for surface in surfaces])
        self.up = np.array([surface.up for surface in surfaces])
        self.outline = np.array([surface.outline for surface in surfaces])
        self.cut_out = np.array([surface.cut_out for surface in surfaces])
        self.billboard = np.array([surface.billboard for surface in surfaces])
        self.soft = np.array([surface.soft for surface in surfaces])
        self.reach_m = np.array([surface.reach_m for surface in surfaces])
        normal = np.cross(self.along, self.up)
        self.normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)

    def placed(self, eye_m: Floats) -> tuple[Floats, Floats]:
        """Give origins and along vectors (N, 3) with billboards turned to the eye (3,)."""
        origin, along = self.origin.copy(), self.along.copy()
        turn = self.billboard
        foot = origin[turn] + along[turn] / 2
        to_eye = (eye_m - foot)[:, :2]
        to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True) + 1e-9
        width = np.linalg.norm(along[turn], axis=1, keepdims=True)
        # Facing the eye, right is to_eye turned left by a quarter.
        turned = np.column_stack([-to_eye[:, 1], to_eye[:, 0], np.zeros(len(foot))]) * width
        along[turn], origin[turn] = turned, foot - turned / 2
        return origin, along

    def sun_cosine(self, to_sun: Floats) -> NDArray[np.float32]:
        """Give the cosine (N,) between each surface and the sun, in [0, 1]."""
        cosine = np.where(self.soft, SOFT_FACING, (self.normal @ to_sun).clip(0, 1))
        return np.asarray(cosine, np.float32)

    def openness(self) -> NDArray[np.float32]:
        """Give the share (N,) of the sky that a surface sees: 1 flat, about half for a wall."""
        wall = 0.66 + 0.08 * self.normal @ np.array([0.8, 0.6, 0.0])
        return np.asarray(wall + 0.3 * np.abs(self.normal[:, 2]), np.float32)


def wall(
    left_m: Floats, right_m: Floats, *, bottom_m: float, top_m: float, texture: Texture,
    outline: Floats = UNIT_SQUARE, reach_m: float = 400.0, cut_out: bool = False,
) -> Surface:  # fmt: skip
    """Stand a surface on the segment (2,) to (2,), left to right as seen from its front."""
    return Surface(
        np.array([*left_m, bottom_m]), np.array([*(right_m - left_m), 0.0]),
        np.array([0.0, 0.0, top_m - bottom_m]), texture, outline=outline, reach_m=reach_m,
        cut_out=cut_out,
    )  # fmt: skip


def box(
    corner_m: Floats, *, along_m: Floats, inward_m: Floats, height_m: float, texture: Texture,
    reach_m: float = 400.0,
) -> list[Surface]:  # fmt: skip
    """
    Build a box without floor: front, right, back, left and lid.

    ``corner_m`` (3,) is the lower front left corner seen from the front, ``along_m`` (2,) leads
    right, ``inward_m`` (2,) away from the viewer.
    """
    base, bottom = corner_m[:2], float(corner_m[2])
    ring = [base, base + along_m, base + along_m + inward_m, base + inward_m]
    sides = [
        wall(ring[i], ring[(i + 1) % 4], bottom_m=bottom, top_m=bottom + height_m,
             texture=texture, reach_m=reach_m)
        for i in range(4)
    ]  # fmt: skip
    lid = Surface(
        np.array([*base, bottom + height_m]), np.array([*along_m, 0.0]),
        np.array([*inward_m, 0.0]), texture, reach_m=reach_m,
    )  # fmt: skip
    return [*sides, lid]
