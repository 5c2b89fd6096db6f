# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ground of the town: asphalt, lane marks, kerbs, pavement and the yards behind."""

from __future__ import annotations

import cv2
import numpy as np

from ...records import Image
from .camera import Floats
from .light import Colour
from .materials import noise, tileable_noise
from .streets import ROAD_HALF_M, STREET_HALF_M, Plan, Street, left_of
from .surfaces import Surface, Texture

GROUND_PER_M = 18
"""Texels per metre."""
WHITE: Colour = (214, 212, 204)
_SHIFT = 4


def ground_surface(plan: Plan, seed: int) -> Surface:
    """Make the one surface of the ground, z = 0, over the bounds of the plan."""
    low, high = plan.bounds_m()
    size = high - low
    texture = Texture(lambda: _Painter(plan, np.random.default_rng([seed, 5])).paint(),
                      isotropic=True)  # fmt: skip
    along, up = np.array([size[0], 0.0, 0.0]), np.array([0.0, size[1], 0.0])
    return Surface(np.array([*low, 0.0]), along, up, texture)


class _Painter:
    """Paints the map of the town, one colour layer over the other."""

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self._plan, self._rng = plan, rng
        self._low, self._high = plan.bounds_m()
        columns, rows = ((self._high - self._low) * GROUND_PER_M).astype(int)
        self._shape = (int(rows), int(columns))
        self._image: Image = np.empty((*self._shape, 3), np.uint8)

    def paint(self) -> Image:
        """Give the ground (H, W, 4) uint8, north up."""
        rng = self._rng
        self._image[:] = rng.uniform((84, 92, 62), (120, 120, 92))
        pale = rng.uniform(140, 170)
        self._streets(STREET_HALF_M + 0.4, (pale, 0.98 * pale, rng.uniform(0.9, 0.98) * pale))
        slabs = self._slabs()
        self._streets(ROAD_HALF_M + 0.16, (188, 186, 180))
        tone = rng.uniform(74, 100)
        self._streets(ROAD_HALF_M, (tone, tone, tone * 1.04))
        self._marks()
        self._patches()
        road = self._mask(ROAD_HALF_M + 0.2)
        grain = self._grain()
        slabs[road > 0] = 1
        grain *= slabs
        coarse = noise(rng, (self._shape[0] // 8, self._shape[1] // 8), cell_px=9, octaves=3)
        broad = cv2.resize(coarse, self._shape[::-1], interpolation=cv2.INTER_LINEAR)
        grain *= 1 + 0.11 * np.asarray(broad, np.float32)
        planes = [cv2.multiply(p, grain, dtype=cv2.CV_8U) for p in cv2.split(self._image)]
        return np.asarray(cv2.merge([*planes, np.zeros(self._shape, np.uint8)]), np.uint8)

    def _grain(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        tile = 1 + 0.03 * tileable_noise(self._rng, 512, cells=64, octaves=3)
        # Stones as fine as a texel keep the asphalt close to the camera from looking smeared.
        tile += 0.075 * self._rng.standard_normal((512, 512), np.float32)
        repeats = [n // 512 + 1 for n in self._shape]
        return np.tile(tile, repeats)[: self._shape[0], : self._shape[1]].astype(np.float32)

    def _slabs(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Give the gain of paving slabs of 0.6 m, each a little different."""
        step = 11
        rows, columns = (n // step + 1 for n in self._shape)
        each = 1 + 0.05 * self._rng.standard_normal((rows, columns), np.float32)
        gain = np.repeat(np.repeat(each, step, axis=0), step, axis=1)
        gain[::step], gain[:, ::step] = 0.84, 0.84
        return np.asarray(gain[: self._shape[0], : self._shape[1]], np.float32)

    def _texels(self, points_m: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        """Give fixed-point texels of map points (K, 2)."""
        east = (points_m[:, 0] - self._low[0]) * GROUND_PER_M
        south = (self._high[1] - points_m[:, 1]) * GROUND_PER_M
        return np.asarray(np.round(np.column_stack([east, south]) * 2**_SHIFT), np.int32)

    def _fill(self, image: Image, polygon_m: Floats, colour: Colour) -> None:
        cv2.fillPoly(image, [self._texels(polygon_m)], colour, cv2.LINE_AA, _SHIFT)

    def _line(self, image: Image, points_m: Floats, width_m: float, colour: Colour,
              *, closed: bool = False) -> None:  # fmt: skip
        cv2.polylines(image, [self._texels(points_m)], closed, colour,
                      max(round(width_m * GROUND_PER_M), 1), cv2.LINE_AA, _SHIFT)  # fmt: skip

    def _onto(self, image: Image, half_m: float, colour: Colour) -> None:
        """Draw all streets with one half width, so that junctions melt together."""
        self._line(image, self._plan.centreline, 2 * half_m, colour, closed=True)
        for street in self._plan.streets:
            if not street.main:
                self._fill(image, strip(street, half_m), colour)

    def _streets(self, half_m: float, colour: tuple[float, ...]) -> None:
        r, g, b = colour
        if half_m > STREET_HALF_M:
            for street in self._plan.streets:
                self._fill(self._image, strip(street, half_m), (r, g, b))
        self._onto(self._image, half_m, (r, g, b))

    def _mask(self, half_m: float) -> Image:
        mask: Image = np.zeros(self._shape, np.uint8)
        self._onto(mask, half_m, (255, 255, 255))
        return mask

    def _marks(self) -> None:
        """Paint the dashed middle line, the edge of the parking lane and the crossings."""
        line, joints = self._plan.centreline, self._joints()
        for start in range(0, len(line) - 8, 12):
            dash = line[start : start + 6]
            if not len(joints) or np.linalg.norm(joints - dash[2], axis=1).min() > 9.5:
                self._line(self._image, dash, 0.14, WHITE)
        for street in self._plan.streets:
            if not street.main:
                self._crossing(street.start_m + street.direction * 7.0, street.direction)
        for street in self._plan.streets:
            if street.main and self._rng.random() < 0.6:
                at = street.length_m * self._rng.uniform(0.25, 0.75)
                self._crossing(street.start_m + street.direction * at, street.direction)

    def _joints(self) -> Floats:
        return np.array([s.start_m for s in self._plan.streets if not s.main]).reshape(-1, 2)

    def _crossing(self, middle_m: Floats, direction: Floats) -> None:
        """Paint zebra bars across a street."""
        for offset in np.arange(-ROAD_HALF_M + 0.6, ROAD_HALF_M - 0.3, 0.95):
            centre = middle_m + left_of(direction) * offset
            ends = np.array([centre - direction * 1.3, centre + direction * 1.3])
            bar = _widened(ends, 0.22)
            self._fill(self._image, bar, WHITE)

    def _patches(self) -> None:
        """Paint repaired asphalt, cracks and manholes."""
        line, rng = self._plan.centreline, self._rng
        for _ in range(26):
            at = int(rng.integers(len(line) - 8))
            offset = rng.uniform(-3.5, 3.5) * left_of(_unit(line[at + 2] - line[at]))
            tone = float(rng.uniform(62, 96))
            if rng.random() < 0.5:
                ends = np.array([line[at], line[at + int(rng.integers(3, 8))]]) + offset
                self._fill(self._image, _widened(ends, rng.uniform(0.3, 0.9)), (tone, tone, tone))
            else:
                centre = self._texels((line[at] + offset)[None])[0]
                radius = int(0.3 * GROUND_PER_M * 2**_SHIFT)
                cv2.circle(self._image, centre.tolist(), radius, (66, 64, 62), -1, cv2.LINE_AA,
                           _SHIFT)  # fmt: skip


def strip(street: Street, half_m: float) -> Floats:
    """Give the rectangle (4, 2) of a street of one half width."""
    return _widened(np.array([street.start_m, street.end_m + street.direction * 3.2]), half_m)


def _widened(ends_m: Floats, half_m: float) -> Floats:
    aside = left_of(_unit(ends_m[1] - ends_m[0])) * half_m
    return np.array([ends_m[0] - aside, ends_m[1] - aside, ends_m[1] + aside, ends_m[0] + aside])


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-9))
