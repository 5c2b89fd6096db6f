# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The town as a height map: the shadows of the sun and the light of the lamps."""

from __future__ import annotations

import cv2
import numpy as np

from .camera import Floats
from .light import Light
from .materials import Gain as Plane

CELLS_PER_M = 2


class Relief:
    """
    The town as a height map, to cast the shadows of the sun and to spread the light of lamps.

    ``heights_m`` (rows, columns) float32 has ``CELLS_PER_M`` cells a metre from ``low_m`` (2,)
    towards x (columns) and y (rows).
    """

    def __init__(self, low_m: Floats, heights_m: Plane, lamps_m: Floats) -> None:
        self.low_m, self.heights_m, self.lamps_m = low_m, heights_m, lamps_m
        self._shadows: dict[Light, Plane] = {}
        self._lamp_light: Plane | None = None

    def shadow_top_m(self, light: Light) -> Plane:
        """Give how high above each cell the shadow reaches, float32 metres."""
        if light not in self._shadows:
            self._shadows[light] = _march(self.heights_m, light.to_sun())
        return self._shadows[light]

    def lamp_light(self) -> Plane:
        """Give the light of the street lamps on each cell, about 1 beneath a lamp."""
        if self._lamp_light is None:
            self._lamp_light = _spread(self.heights_m.shape[:2], self.lamps_m[:, :2] - self.low_m)
        return self._lamp_light

    def lookup(self, field: Plane, x_m: Plane, y_m: Plane) -> Plane:
        """Sample a field of this map at map positions (H, W)."""
        columns = (x_m - np.float32(self.low_m[0])) * np.float32(CELLS_PER_M) - np.float32(0.5)
        rows = (y_m - np.float32(self.low_m[1])) * np.float32(CELLS_PER_M) - np.float32(0.5)
        return np.asarray(cv2.remap(field, columns, rows, cv2.INTER_LINEAR), np.float32)


def _march(heights: Plane, to_sun: Floats) -> Plane:
    """Carry every height away from the sun, sinking with its elevation."""
    top, flat = heights.copy(), np.linalg.norm(to_sun[:2])
    fall = to_sun[2] / flat
    step, rows, columns = to_sun[:2] / flat, *heights.shape[:2]
    reach = int(min(heights.max() / fall, 90.0) * CELLS_PER_M)
    for i in range(1, reach):
        shift = np.array([[1, 0, -i * step[0]], [0, 1, -i * step[1]]])
        moved = cv2.warpAffine(heights, shift, (columns, rows), flags=cv2.INTER_LINEAR)
        np.maximum(top, np.asarray(moved) - np.float32(i * fall / CELLS_PER_M), out=top)
    return top


def _spread(shape: tuple[int, ...], lamps_m: Floats) -> Plane:
    rows, columns = (np.arange(n, dtype=np.float32) / CELLS_PER_M for n in shape)
    total = np.zeros(shape, np.float32)
    for x, y in lamps_m:
        square = (columns[None] - np.float32(x)) ** 2 + (rows[:, None] - np.float32(y)) ** 2
        total += 1 / (1 + square / np.float32(18.0)) ** 2
    return total
