# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to spoil a picture, uint8 (H, W, 3): of the camera, of the light and of the lens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from r2former_ros.records import Image

Change = Callable[[Image], Image]
Matrix = NDArray[np.float64]
FOCAL = 0.8
"""Focal length of the views, in widths of the picture: 64 degrees from side to side."""
SEED = 1


def turned(image: Image, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Image:
    """Turn the camera by degrees; what it did not see is mirrored from what it saw."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    height, width = image.shape[:2]
    camera = np.array([[FOCAL * width, 0, width / 2], [0, FOCAL * width, height / 2], [0, 0, 1]])
    return warped(image, camera @ about_z @ about_x @ about_y @ np.linalg.inv(camera))


def warped(image: Image, homography: Matrix) -> Image:
    """Warp within the picture's size, with mirrored borders."""
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpPerspective(image, homography, size, flags=cv2.INTER_LINEAR,
                                          borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def shifted(image: Image, share: float) -> Image:
    """Move the picture sideways by a share of its width."""
    return warped(image, np.array([[1, 0, share * image.shape[1]], [0, 1, 0], [0, 0, 1.0]]))


def cropped(image: Image, share: float) -> Image:
    """Keep the middle, ``share`` of each side."""
    height, width = (int(side * share) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def with_gamma(image: Image, gamma: float) -> Image:
    """Raise values in [0, 1] to a power."""
    return np.asarray(255 * (image / 255) ** gamma, np.uint8)


def noisy(image: Image, sigma: float) -> Image:
    """Add noise of a standard deviation in grey levels."""
    noise = np.random.default_rng(SEED).normal(0, sigma, image.shape)
    return np.asarray((image + noise).clip(0, 255), np.uint8)


def blurred(image: Image, sigma_px: float) -> Image:
    """Defocus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.uint8)


def compressed(image: Image, quality: int) -> Image:
    """Pass through a JPEG file."""
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def occluded(image: Image, share: float) -> Image:
    """Cover a grey rectangle of a share of the area in the middle."""
    height, width = image.shape[:2]
    h, w = int(height * share**0.5), int(width * share**0.5)
    covered = image.copy()
    top, left = (height - h) // 2, (width - w) // 2
    covered[top : top + h, left : left + w] = 128
    return covered


def hazy(image: Image, share: float) -> Image:
    """Blend with white light."""
    return np.asarray(image * (1 - share) + 220 * share, np.uint8)


def rainy(image: Image, streaks: int) -> Image:
    """Draw bright slanted streaks, and dim the rest."""
    rng = np.random.default_rng(SEED)
    height, width = image.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    for x, y in zip(rng.integers(0, width, streaks), rng.integers(0, height, streaks),
                    strict=True):
        end = int(x + height * 0.02), int(y + height * 0.08)
        cv2.line(layer, (int(x), int(y)), end, 180, 1)
    streaked = np.asarray(cv2.blur(layer, (3, 3)), np.uint8)
    return np.asarray(cv2.add((image * 0.8).astype(np.uint8), cv2.merge([streaked] * 3)), np.uint8)


def distorted(image: Image, strength: float) -> Image:
    """Bend straight lines: barrel for positive strengths, pincushion for negative ones."""
    height, width = image.shape[:2]
    y, x = np.indices((height, width), np.float32)
    x, y = (x - width / 2) / (width / 2), (y - height / 2) / (width / 2)
    scale = 1 + strength * (x**2 + y**2)
    at_x, at_y = ((x * scale + 1) * width / 2), (y * scale * width / 2 + height / 2)
    return np.asarray(cv2.remap(image, at_x.astype(np.float32), at_y.astype(np.float32),
                                cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def coarse(image: Image, width_px: int) -> Image:
    """Keep a thumbnail of a width in pixels."""
    height_px = image.shape[0] * width_px // image.shape[1]
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA),
                      np.uint8)


def dirty(image: Image, spots: int) -> Image:
    """Darken soft spots, as of dirt on the lens."""
    rng = np.random.default_rng(SEED)
    height, width = image.shape[:2]
    mask: NDArray[Any] = np.zeros((height, width), np.float32)
    for _ in range(spots):
        centre = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(mask, centre, int(width * rng.uniform(0.02, 0.08)), 0.85, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), width * 0.01)[..., None]
    return np.asarray(image * (1 - mask) + 60 * mask, np.uint8)


def flipped(image: Image) -> Image:
    """Swap left and right: another place, which must not be accepted."""
    return np.ascontiguousarray(image[:, ::-1])


def _both(name: str, change: Callable[[Image, float], Image], *values: float) -> dict[str, Change]:
    """Return a change of each size in both directions."""
    signed = [sign * value for value in values for sign in (-1, 1)]
    return {f'{name} {value:+g}': partial(_apply, change, value) for value in signed}


def _each(name: str, change: Callable[..., Image], *values: float) -> dict[str, Change]:
    return {f'{name} {value:g}': partial(_apply, change, value) for value in values}


def _apply(change: Callable[..., Image], value: float, image: Image) -> Image:
    return change(image, value)


CHANGES: dict[str, Change] = {
    'none': lambda image: image,
    **_both('roll', lambda image, deg: turned(image, roll=deg), 10, 20),
    **_each('crop', cropped, 0.7, 0.5),
    **_both('shift', shifted, 0.15, 0.3),
    **_both('yaw', lambda image, deg: turned(image, yaw=deg), 20, 30, 45),
    **_both('pitch', lambda image, deg: turned(image, pitch=deg), 15),
    **_each('gamma', with_gamma, 0.4, 2.5),
    **_each('noise', noisy, 25),
    **_each('blur', blurred, 4),
    **_each('JPEG', lambda image, quality: compressed(image, int(quality)), 8),
    **_each('occlusion', occluded, 0.25, 0.5),
    **_each('haze', hazy, 0.5, 0.8),
    **_each('rain', lambda image, streaks: rainy(image, int(streaks)), 600),
    **_both('lens', distorted, 0.25),
    **_each('low resolution', lambda image, width: coarse(image, int(width)), 64),
    **_each('dirt', lambda image, spots: dirty(image, int(spots)), 25),
    'flip': flipped,
}
"""By name: what it is and how much of it (degrees, shares, grey levels, pixels)."""
