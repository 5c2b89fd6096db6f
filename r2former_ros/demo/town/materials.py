# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Noise, brick, stone and plaster: sRGB images painted from a random generator."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ...records import Image
from .light import Colour

Gain = NDArray[np.float32]

TEXELS_PER_M = 36


def noise(
    rng: np.random.Generator, shape: tuple[int, int], *, cell_px: float, octaves: int = 3
) -> Gain:
    """Give smooth noise (H, W) float32 of about zero mean and unit range, biggest blobs first."""
    if cell_px >= 24:
        small = noise(rng, (shape[0] // 4 + 1, shape[1] // 4 + 1), cell_px=cell_px / 4,
                      octaves=octaves)  # fmt: skip
        return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR))
    total: Gain = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, columns = (max(int(n / cell_px * 2**octave), 1) + 2 for n in shape)
        coarse = rng.random((rows, columns), np.float32) - 0.5
        total += np.asarray(
            cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
        ) * np.float32(0.6**octave)
    return total


def tileable_noise(rng: np.random.Generator, size_px: int, *, cells: int, octaves: int) -> Gain:
    """Give noise (size, size) float32 that continues over its edges; unit standard deviation."""
    total: Gain = np.zeros((size_px, size_px), np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        coarse = np.pad(rng.random((count, count), np.float32) - 0.5, 2, mode='wrap')
        scale = size_px // count
        fine = cv2.resize(coarse, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        cut = fine[2 * scale : 2 * scale + size_px, 2 * scale : 2 * scale + size_px]
        total += np.asarray(cut) * np.float32(0.55**octave)
    return np.asarray((total - total.mean()) / total.std(), np.float32)


def coloured(gain: Gain, colour: Colour) -> Image:
    """Multiply an sRGB colour in [0, 255] by a gain (H, W): (H, W, 3) uint8."""
    planes = [cv2.convertScaleAbs(gain, alpha=level) for level in colour]
    return np.asarray(cv2.merge(planes), np.uint8)


def _courses(
    rng: np.random.Generator, shape: tuple[int, int], *, brick_px: tuple[int, int],
    spread: float, joint: float,
) -> Gain:  # fmt: skip
    """Give the gain (H, W) of a running bond: each brick its own, with joints between."""
    height, width = brick_px
    rows, columns = shape[0] // height + 1, shape[1] // width + 2
    each = 1 + spread * rng.standard_normal((rows, columns), np.float32)
    wall = np.repeat(np.repeat(each, height, axis=0), width, axis=1)
    wall[::height] = joint
    for row in range(rows):
        band = wall[row * height : (row + 1) * height]
        band[1:, :: width] = joint
        band[:] = np.roll(band, (row % 2) * (width // 2), axis=1)
    return np.asarray(wall[: shape[0], : shape[1]], np.float32)


def brick(rng: np.random.Generator, shape: tuple[int, int]) -> Gain:
    """Give the gain (H, W) of brickwork; a brick is 25 by 8 cm."""
    return _courses(rng, shape, brick_px=(4, 10), spread=0.1, joint=1.16)


def ashlar(rng: np.random.Generator, shape: tuple[int, int]) -> Gain:
    """Give the gain (H, W) of cut stone; a block is 90 by 40 cm."""
    blocks = _courses(rng, shape, brick_px=(15, 32), spread=0.06, joint=0.78)
    return blocks + 0.08 * noise(rng, shape, cell_px=6, octaves=2)


def plaster(rng: np.random.Generator, shape: tuple[int, int]) -> Gain:
    """Give the gain (H, W) of rendered wall."""
    grain = rng.standard_normal(shape, np.float32)
    return 1 + 0.018 * grain + 0.07 * noise(rng, shape, cell_px=60, octaves=2)


def boards(rng: np.random.Generator, shape: tuple[int, int]) -> Gain:
    """Give the gain (H, W) of horizontal weatherboard, 18 cm each."""
    row = np.linspace(1.06, 0.9, 7, dtype=np.float32)
    row[-1] = 0.66
    column = np.tile(row, shape[0] // 7 + 1)[: shape[0], None]
    return np.asarray(column * (1 + 0.05 * noise(rng, shape, cell_px=20)), np.float32)


def panels(rng: np.random.Generator, shape: tuple[int, int]) -> Gain:
    """Give the gain (H, W) of concrete panels, 1.7 by 1.5 m."""
    slabs = _courses(rng, shape, brick_px=(54, 62), spread=0.03, joint=0.6)
    return slabs + 0.07 * noise(rng, shape, cell_px=40)


def roof_tiles(rng: np.random.Generator, shape: tuple[int, int]) -> Gain:
    """Give the gain (H, W) of a tiled roof."""
    tiles = _courses(rng, shape, brick_px=(9, 8), spread=0.1, joint=0.7)
    return tiles * (1 + 0.12 * noise(rng, shape, cell_px=70))


MATERIALS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Gain]] = {
    'brick': brick, 'stone': ashlar, 'plaster': plaster, 'boards': boards, 'concrete': panels,
}  # fmt: skip


def weathered(rng: np.random.Generator, gain: Gain) -> Gain:
    """Add the damp foot, the sooty top and the blotches of an old wall to a gain (H, W)."""
    height = gain.shape[0]
    above_m = (height - np.arange(height, dtype=np.float32)) / TEXELS_PER_M
    foot = 1 - 0.22 * np.exp(-above_m / 0.5)
    blotches = 1 + 0.14 * noise(rng, (gain.shape[0], gain.shape[1]), cell_px=110, octaves=3)
    return np.asarray(gain * foot[:, None] * blotches, np.float32)
