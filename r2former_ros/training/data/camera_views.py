# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Views of one picture as a camera would see them that has turned, zoomed or moved a little."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ...records import Image
from ..augment import AugmentConfig, Matrix, change_appearance
from .image_store import resized

FOCAL = 0.8
"""Focal length in widths of the picture: 64 degrees from side to side."""
STRETCH = 0.06


@dataclass(frozen=True)
class ViewKind:
    """
    How strongly the views of one kind differ from the picture.

    Angles are standard deviations in degrees; ``shift`` is one too, in widths of the picture (less
    than half of it vertically). The share of each side that is seen is drawn from
    ``smallest_crop`` to 1. ``appearance`` holds the probabilities of changes of light, sharpness
    and cover; its changes of view are not used. ``changed`` false: the picture as it is.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    smallest_crop: float = 1.0
    shift: float = 0.0
    changed: bool = True
    appearance: AugmentConfig = field(default_factory=AugmentConfig)


FAR = ViewKind(
    yaw_deg=20, pitch_deg=8, roll_deg=11, smallest_crop=0.45, shift=0.08,
    appearance=AugmentConfig(light=0.5, night=0.2, colour=0.3, grey=0.2, blur=0.15, coarse=0.15,
                             occlusion=0.4, noise=0.1, haze=0.1),
)
"""A camera that has turned far or come close."""
VIEWS = (
    ViewKind(changed=False),
    ViewKind(
        yaw_deg=15, pitch_deg=4, roll_deg=4, smallest_crop=0.6, shift=0.06,
        appearance=AugmentConfig(light=0.5, night=0.0, colour=0.3, grey=0.2, blur=0.1, coarse=0.15,
                                 occlusion=0.15, noise=0.0, haze=0.1),
    ),
    ViewKind(
        yaw_deg=4, pitch_deg=2, roll_deg=2, smallest_crop=0.85, shift=0.05,
        appearance=AugmentConfig(light=0.6, night=0.5, colour=0.4, grey=0.15, blur=0.0, coarse=0.2,
                                 occlusion=0.2, noise=0.2, haze=0.2),
    ),
    FAR,
    FAR,
    ViewKind(
        yaw_deg=1.5, pitch_deg=1, roll_deg=1, smallest_crop=0.95, shift=0.01,
        appearance=AugmentConfig(light=0.9, night=0.35, colour=0.6, grey=0.3, blur=0.2, coarse=0.5,
                                 occlusion=0.1, noise=0.2, haze=0.25),
    ),
)
"""
What ``tiny`` learns from: pictures as they are; a camera that has moved, by which the head of the
pooled tokens is fitted; another hour; far turns, twice; another season through a poor camera.
"""


def draw_view(
    source: Image, size: tuple[int, int], kind: ViewKind, rng: np.random.Generator
) -> Image:
    """
    Draw one view, with mirrored borders.

    :param size: height and width of the view in pixels.
    """
    if not kind.changed:
        return resized(source, size, antialias=True)
    homography = _crop(source.shape[:2], size, kind, rng) @ _turn(source.shape[:2], kind, rng)
    warped = cv2.warpPerspective(source, homography, (size[1], size[0]), flags=cv2.INTER_LINEAR,
                                 borderMode=cv2.BORDER_REFLECT_101)
    return change_appearance(np.asarray(warped, np.uint8), kind.appearance, rng)


def _turn(source: tuple[int, ...], kind: ViewKind, rng: np.random.Generator) -> Matrix:
    """Return the homography of a camera that turns on the spot, in pixels of the picture."""
    height, width = source
    angles = np.deg2rad(rng.normal(size=3) * (kind.pitch_deg, kind.yaw_deg, kind.roll_deg))
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        vector = np.zeros(3)
        vector[axis] = angle
        turn = cv2.Rodrigues(vector)[0] @ turn
    focal = FOCAL * width
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return np.asarray(camera @ turn @ np.linalg.inv(camera), np.float64)


def _crop(
    source: tuple[int, ...], size: tuple[int, int], kind: ViewKind, rng: np.random.Generator
) -> Matrix:
    """Return the homography that enlarges a part of the picture to a view."""
    sides = np.array(source[::-1], float)
    share = rng.uniform(kind.smallest_crop, 1.0)
    stretch = np.exp(rng.normal() * STRETCH) ** np.array([1, -1])
    part = sides * np.minimum(1.0, share * stretch)
    offset = rng.uniform(-1, 1, 2) * (1 - share) / 2
    offset += rng.normal(size=2) * kind.shift * np.array([1, 0.4])
    first = sides / 2 + offset * sides - part / 2
    scale = np.array(size[::-1]) / part
    return np.array([[scale[0], 0, -first[0] * scale[0]], [0, scale[1], -first[1] * scale[1]],
                     [0, 0, 1.0]])
