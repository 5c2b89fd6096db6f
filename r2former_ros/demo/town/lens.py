# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera that takes the picture: exposure, blur, tone and noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ...records import Image
from .camera import TownCamera
from .light import Light
from .materials import Gain as Plane

_SOFT = np.array([0.14, 0.72, 0.14], np.float32)


@lru_cache(maxsize=8)
def _vignette(camera: TownCamera, light: Light) -> Plane:
    """Give the gain (H, W, 1) of exposure and of the darker corners."""
    x = np.linspace(-1, 1, camera.width_px, dtype=np.float32)[None]
    y = np.linspace(-1, 1, camera.height_px, dtype=np.float32)[:, None]
    gain = light.exposure * (1 - light.vignette * (x * x + y * y) / 2)
    return np.repeat(gain.astype(np.float32)[..., None], 3, axis=2)


@lru_cache(maxsize=2)
def _grain(shape: tuple[int, int]) -> NDArray[np.int16]:
    """Give sensor noise of unit deviation times 64, larger than any image by a margin."""
    rng = np.random.default_rng(11)
    size = (shape[0] + 61, shape[1] + 67, 3)
    return (64 * rng.standard_normal(size, np.float32)).astype(np.int16)


@lru_cache(maxsize=8)
def _tone(contrast: float) -> Image:
    """Give the tone curve: 1024 steps of the square root of light to uint8."""
    x = np.arange(1024) / 820
    soft = np.where(x < 0.8, x, 0.8 + 0.2 * np.tanh((x - 0.8) / 0.2)).clip(0, 1)
    curve = soft + contrast * (soft * soft * (3 - 2 * soft) - soft)
    return np.asarray((255 * curve).clip(0, 255), np.uint8)


def developed(linear: Plane, light: Light, camera: TownCamera, seed: int) -> Image:
    """Expose, blur, tone and add noise."""
    exposed = linear * _vignette(camera, light)
    blur_px = max(round(light.motion_blur_px * camera.width_px / 640), 1)
    if blur_px > 1:
        exposed = np.asarray(cv2.blur(exposed, (blur_px, 1)), np.float32)
    # No lens is sharper than this; it also softens the stairs of edges.
    exposed = np.asarray(cv2.sepFilter2D(exposed, -1, _SOFT, _SOFT), np.float32)
    steps = (np.asarray(cv2.sqrt(exposed)) * np.float32(820)).clip(0, 1023).astype(np.int16)
    rng = np.random.default_rng([seed, 3])
    grain = _grain((camera.height_px, camera.width_px))
    y, x = (int(n) for n in rng.integers(0, 60, 2))
    rough = grain[y : y + camera.height_px, x : x + camera.width_px]
    gain = light.noise * 820 / 255 / 64
    steps += (rough * np.float32(gain)).astype(np.int16)
    return np.asarray(_tone(light.contrast)[steps.clip(0, 1023)], np.uint8)
