# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Views of one image for training without labels: the same place from elsewhere, at another time.

A view is a homography (crop, shift, zoom, rotation, tilt) followed by changes of light, colour and
sharpness and by occlusion. The homography is returned with the view, so that patches of two views
can be matched. Everything works on uint8 RGB with OpenCV, about a millisecond per view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..records import Image

Matrix = NDArray[np.float64]
Change = Callable[[Image, np.random.Generator], Image]


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly views differ: fractions of the image side, and probabilities."""

    zoom: float = 0.35
    shift: float = 0.12
    tilt: float = 0.08
    turn_deg: float = 5.0
    light: float = 0.7
    night: float = 0.3
    colour: float = 0.5
    grey: float = 0.25
    blur: float = 0.2
    coarse: float = 0.25
    occlusion: float = 0.3
    noise: float = 0.2
    haze: float = 0.0


AUGMENTS: dict[str, AugmentConfig | None] = {
    'none': None,
    'mild': AugmentConfig(
        zoom=0.1, shift=0.05, tilt=0.03, turn_deg=2.0, light=0.3, night=0.05, grey=0.1, blur=0.1,
        coarse=0.15, occlusion=0.1, noise=0.1,
    ),
    'soft': AugmentConfig(
        zoom=0.2, shift=0.08, tilt=0.06, turn_deg=4.0, light=0.5, night=0.1, colour=0.3, grey=0.2,
        coarse=0.2, occlusion=0.2, noise=0.15,
    ),
    'night': AugmentConfig(
        zoom=0.15, shift=0.05, tilt=0.04, turn_deg=3.0, night=0.5, grey=0.2, coarse=0.2,
        occlusion=0.2,
    ),
    'strong': AugmentConfig(night=0.4),
}
"""Strengths by name."""


@dataclass(frozen=True)
class View:
    """A changed image, uint8 (H, W, 3), and ``view_T_source`` (3, 3), pixels to pixels."""

    image: Image
    view_T_source: Matrix

    def mirrored(self) -> View:
        """Swap left and right."""
        return View(self.image[:, ::-1], mirror(self.image.shape[1]) @ self.view_T_source)


def make_view(
    source: Image, size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator,
    *, flip: bool = False,
) -> View:
    """
    Draw one view of an image.

    :param size: height and width in pixels of the view.
    :param flip: mirror it; views of the same place must agree on it.
    """
    matrix = random_homography(source.shape[:2], size, config, rng)
    if flip:
        matrix = mirror(size[1]) @ matrix
    warped = cv2.warpPerspective(
        source, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return View(change_appearance(np.asarray(warped, np.uint8), config, rng), matrix)


def mirror(width_px: int) -> Matrix:
    """Return the homography that swaps left and right."""
    return np.array([[-1.0, 0, width_px - 1], [0, 1, 0], [0, 0, 1]])


def random_homography(
    source: tuple[int, int], size: tuple[int, int], config: AugmentConfig,
    rng: np.random.Generator,
) -> Matrix:
    """Draw a homography from source pixels to view pixels; sizes are height and width."""
    zoom = 1 - rng.uniform(-0.25, 1.0) * config.zoom
    angle = np.deg2rad(rng.normal() * config.turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(rng.normal(size=2) * 0.08) * zoom
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    corners = corners * (1 + rng.uniform(-1, 1, (4, 2)) * config.tilt * 2)
    corners = (corners * stretch) @ turn.T
    slack = np.maximum(0.0, 1 - zoom)
    corners += rng.uniform(-1, 1, 2) * (slack + np.array([2, 1]) * config.shift)
    height, width = source
    from_corners = (corners + 1) / 2 * (width - 1, height - 1)
    to_corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (size[1] - 1, size[0] - 1)
    return np.asarray(cv2.getPerspectiveTransform(
        from_corners.astype(np.float32), to_corners.astype(np.float32)
    ), np.float64)


def change_appearance(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Apply each kind of change with its probability."""
    changes: tuple[tuple[float, Change], ...] = (
        (config.occlusion, occlude),
        (config.colour, shift_colour),
        (config.light, relight),
        (config.night, darken),
        (config.grey, remove_colour),
        (config.coarse, coarsen),
        (config.blur, blur),
        (config.haze, add_haze),
        (config.noise, add_noise),
    )
    for probability, change in changes:
        if probability and rng.random() < probability:
            image = change(image, rng)
    return image


def relight(image: Image, rng: np.random.Generator) -> Image:
    """Change gamma, contrast and brightness, then light one side more than another."""
    ramp = np.arange(256) / 255
    curve = ramp ** np.exp(rng.normal() * 0.4)
    curve = (curve - 0.5) * np.exp(rng.normal() * 0.3) + 0.5 + rng.normal() * 0.12
    image = np.asarray(cv2.LUT(image, _table(curve)), np.uint8)
    return _shade(image, np.exp(rng.normal(size=(3, 4)) * 0.3))


def darken(image: Image, rng: np.random.Generator) -> Image:
    """Imitate night: dark, uneven, with glaring lamps and sensor noise."""
    ramp = np.arange(256) / 255
    curve = ramp ** rng.uniform(1.0, 2.2) * rng.uniform(0.2, 0.8)
    dark = np.asarray(cv2.LUT(image, _table(curve)), np.uint8)
    dark = _shade(dark, np.exp(rng.normal(size=(3, 4)) * 0.7))
    height, width = image.shape[:2]
    glow = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(0, 6)):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(glow, centre, int(rng.integers(2, 14)), int(rng.integers(80, 255)), -1)
    glow = np.asarray(cv2.blur(glow, (9, 9)), np.uint8)
    tinted = cv2.merge([glow, (glow * rng.uniform(0.7, 1)).astype(np.uint8),
                        (glow * rng.uniform(0.3, 1)).astype(np.uint8)])
    return add_noise(np.asarray(cv2.add(dark, tinted), np.uint8), rng)


def shift_colour(image: Image, rng: np.random.Generator) -> Image:
    """Give each channel its own gain."""
    gains = np.exp(rng.normal(size=3) * 0.2)
    table = np.arange(256)[:, None] / 255 * gains
    return np.asarray(cv2.LUT(image, _table(table)[:, None]), np.uint8)


def remove_colour(image: Image, rng: np.random.Generator) -> Image:
    """Convert to grey."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def coarsen(image: Image, rng: np.random.Generator) -> Image:
    """Downscale to 80 to 160 px and back, sometimes with JPEG artefacts."""
    height, width = image.shape[:2]
    small_width = int(rng.integers(80, 160))
    small = cv2.resize(image, (small_width, small_width * height // width),
                       interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))]
        data = cv2.imencode('.jpg', small, quality)[1]
        small = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def blur(image: Image, rng: np.random.Generator) -> Image:
    """Blur by defocus or by sideways motion."""
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.8)), np.uint8)
    return np.asarray(cv2.blur(image, (int(rng.integers(2, 9)), 1)), np.uint8)


def occlude(image: Image, rng: np.random.Generator) -> Image:
    """Cover up to three rectangles with one colour, or with another part of the image."""
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 4)):
        h, w = (int(side * rng.uniform(0.08, 0.4)) for side in (height, width))
        top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
        if rng.random() < 0.5:
            image[top : top + h, left : left + w] = rng.integers(0, 256, 3)
        else:
            from_top, from_left = int(rng.integers(height - h)), int(rng.integers(width - w))
            patch = image[from_top : from_top + h, from_left : from_left + w].copy()
            image[top : top + h, left : left + w] = patch[:, ::-1]
    return image


def add_haze(image: Image, rng: np.random.Generator) -> Image:
    """Blend with bright, even light."""
    share, light = rng.uniform(0.2, 0.75), rng.uniform(170, 235)
    return np.asarray(image * (1 - share) + light * share, np.uint8)


def add_noise(image: Image, rng: np.random.Generator) -> Image:
    """Add noise to every pixel."""
    strength = rng.uniform(2, 14)
    height, width = image.shape[:2]
    start = int(rng.integers(len(_NOISE) - height * width * 3))
    noise = (_NOISE[start : start + height * width * 3].reshape(image.shape) * strength)
    return np.asarray(cv2.add(image, noise.astype(np.int16), dtype=cv2.CV_8U), np.uint8)


_NOISE = np.random.default_rng(0).normal(size=2_000_000).astype(np.float32)
"""Drawn once, because drawing per image would cost more than the rest of a view."""


def _shade(image: Image, grid: NDArray[np.float64]) -> Image:
    """Multiply by a smooth field given on a coarse grid."""
    size = (image.shape[1], image.shape[0])
    field = cv2.resize(grid.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(image, cv2.merge([field] * 3), dtype=cv2.CV_8U), np.uint8)


def _table(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(values * 255, 0, 255).astype(np.uint8)
