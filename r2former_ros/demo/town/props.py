# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the streets: trees, lamps, people and parked cars."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...records import Image
from .camera import Floats
from .light import Colour
from .materials import noise
from .streets import left_of
from .surfaces import Surface, Texture, plain

PER_M = 44
LAMP_M = 5.2
FLANK_M = 2.1
CAR_PROFILES: list[list[tuple[float, float]]] = [
    [(0, 0.3), (0, 0.9), (0.5, 1.0), (1.0, 1.42), (2.5, 1.46), (3.2, 0.98), (4.2, 0.84),
     (4.3, 0.3)],
    [(0, 0.3), (0, 0.95), (0.25, 1.45), (2.3, 1.5), (3.0, 1.0), (3.75, 0.86), (3.85, 0.3)],
    [(0, 0.3), (0, 1.9), (0.15, 2.0), (3.6, 2.0), (4.2, 1.25), (4.9, 1.05), (4.95, 0.3)],
]  # fmt: skip
CAR_COLOURS: list[Colour] = [
    (200, 202, 204), (60, 62, 66), (34, 36, 40), (150, 30, 34), (36, 62, 112), (224, 222, 214),
    (110, 116, 120), (40, 84, 66), (190, 150, 60), (120, 150, 176),
]  # fmt: skip


def billboard(
    foot_m: Floats, *, width_m: float, height_m: float, texture: Texture, reach_m: float = 400.0
) -> Surface:
    """Stand a cut-out at (2,) metres that turns to the camera."""
    return Surface(
        np.array([foot_m[0] - width_m / 2, foot_m[1], 0.0]), np.array([width_m, 0.0, 0.0]),
        np.array([0.0, 0.0, height_m]), texture, cut_out=True, billboard=True, soft=True,
        reach_m=reach_m,
    )  # fmt: skip


def tree_texture(seed: int) -> Texture:
    """Make a street tree, 4.4 by 6.6 m."""

    def paint() -> Image:
        rng = np.random.default_rng([seed, 21])
        width, height = int(4.4 * PER_M), int(6.6 * PER_M)
        green = rng.uniform((64, 88, 36), (112, 134, 62))
        image: Image = np.zeros((height, width, 4), np.uint8)
        image[..., :3] = green * 0.8
        trunk = ((width // 2 - 6, height // 2), (width // 2 + 6, height))
        cv2.rectangle(image, *trunk, (74, 60, 48, 255), -1)
        for layer in np.linspace(0, 1, 240):
            _leaves(image, rng, float(layer), green)
        grain = 1 + 0.35 * noise(rng, (height, width), cell_px=7, octaves=2)[..., None]
        image[..., :3] = (image[..., :3] * grain).clip(0, 255)
        return image

    return Texture(paint)


def _leaves(image: Image, rng: np.random.Generator, layer: float, green: Floats) -> None:
    """Add one tuft; later ones lie in front, and higher ones are brighter."""
    height, width = image.shape[:2]
    angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
    x = width / 2 + 0.40 * width * reach * np.cos(angle)
    y = 0.36 * height + 0.29 * height * reach * np.sin(angle)
    shade = 0.55 + 0.35 * layer + 0.35 * (0.36 - y / height) + rng.normal(0, 0.08)
    colour = (green * shade).clip(10, 240)
    radius = int(rng.uniform(0.04, 0.085) * width)
    cv2.circle(image, (int(x), int(y)), radius, (*colour, 255), -1, cv2.LINE_AA)


def lamp_texture() -> Texture:
    """Make a lamp post, 0.8 by LAMP_M metres, with its lantern on top."""

    def paint() -> Image:
        image: Image = np.zeros((int(LAMP_M * PER_M), int(0.8 * PER_M), 4), np.uint8)
        image[..., :3] = (50, 54, 52)
        middle, height = image.shape[1] // 2, image.shape[0]
        cv2.rectangle(image, (middle - 2, 20), (middle + 1, height), (50, 54, 52, 255), -1)
        foot = ((middle - 5, height - 40), (middle + 4, height))
        cv2.rectangle(image, *foot, (44, 48, 46, 255), -1)
        lantern = np.array([(middle - 7, 6), (middle + 6, 6), (middle + 4, 26), (middle - 5, 26)])
        cv2.fillConvexPoly(image, lantern, (230, 224, 190, 255), cv2.LINE_AA)
        cv2.rectangle(image, (middle - 8, 2), (middle + 7, 7), (40, 44, 42, 255), -1)
        return image

    return Texture(paint)


def person_texture(seed: int) -> Texture:
    """Make a pedestrian, 0.8 by 1.8 m."""

    def paint() -> Image:
        rng = np.random.default_rng([seed, 33])
        image: Image = np.zeros((118, 52, 4), np.uint8)
        coat, legs = rng.uniform(30, 190, 3), rng.uniform(30, 90, 3)
        skin = np.array((214, 172, 140)) * rng.uniform(0.45, 1.05)
        image[..., :3] = coat
        stride = int(rng.integers(2, 9))
        for sign in (-1, 1):
            foot = (26 + sign * stride, 116)
            cv2.line(image, (26 + sign * 4, 64), foot, (*legs, 255), 9, cv2.LINE_AA)
            hand = (26 + sign * int(rng.integers(11, 17)), 62)
            cv2.line(image, (26 + sign * 9, 30), hand, (*(coat * 0.85), 255), 6, cv2.LINE_AA)
        cv2.ellipse(image, (26, 46), (12, 25), 0, 0, 360, (*coat, 255), -1, cv2.LINE_AA)
        cv2.circle(image, (26, 14), 8, (*skin, 255), -1, cv2.LINE_AA)
        hair = rng.uniform(20, 110, 3)
        cv2.ellipse(image, (26, 12), (8, 8), 0, 180, 360, (*hair, 255), -1, cv2.LINE_AA)
        return image

    return Texture(paint)


def ground_shadow() -> Texture:
    """Make the soft dark patch under a car."""

    def paint() -> Image:
        image: Image = np.zeros((48, 96, 4), np.uint8)
        image[..., :3] = 14
        cv2.rectangle(image, (9, 9), (87, 39), (14, 14, 14, 225), -1)
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8)

    return Texture(paint)


def car(rear_m: Floats, heading: Floats, rng: np.random.Generator) -> list[Surface]:
    """Park a car: ``rear_m`` (2,) is the middle of its rear bumper, ``heading`` a unit vector."""
    profile = np.array(CAR_PROFILES[int(rng.choice(3, p=[0.45, 0.4, 0.15]))])
    colour = CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))]
    aside = left_of(heading) * 0.87
    length = profile[-1, 0]
    lift = np.array([*(-heading * 0.35 - left_of(heading) * 1.15), 0.02])
    shadow = Surface(
        np.array([*rear_m, 0.0]) + lift, np.array([*heading * (length + 0.7), 0.0]),
        np.array([*left_of(heading) * 2.3, 0.0]), _SHADOW, cut_out=True, soft=True, reach_m=70.0,
    )  # fmt: skip
    side = _side_texture(profile, colour)
    flanks = [
        _flank(rear_m - aside, heading, length, side),
        _flank(rear_m + aside + heading * length, -heading, length, _mirrored(side)),
    ]
    return [shadow, *flanks, *_shell(rear_m, heading, aside, profile, colour)]


_SHADOW = ground_shadow()


def _flank(left_m: Floats, along: Floats, length: float, texture: Texture) -> Surface:
    return Surface(
        np.array([*left_m, 0.0]), np.array([*along * length, 0.0]), np.array([0.0, 0.0, FLANK_M]),
        texture, cut_out=True, reach_m=110.0,
    )  # fmt: skip


def _shell(
    rear_m: Floats, heading: Floats, aside: Floats, profile: Floats, colour: Colour
) -> list[Surface]:
    """Bend the outer skin over the profile: bumpers, bonnet, windows and roof."""
    paint, glass, faces = plain(colour), plain((48, 56, 64)), []
    ends = ((profile[1, 1], (150, 30, 26)), (profile[-2, 1], (226, 222, 200)))
    lamps = [_bumper(colour, lamp, height_m=top - profile[0, 1]) for top, lamp in ends]
    for i, (p, q) in enumerate(zip(profile[:-1], profile[1:])):
        slope, long = abs(q[1] - p[1]) / (abs(q[0] - p[0]) + 1e-6), np.hypot(*(q - p)) > 0.3
        steep = long and 0.35 < slope < 8 and max(p[1], q[1]) > 1.2
        texture = glass if steep else paint
        if i == 0 or i == len(profile) - 2:
            texture = lamps[int(i > 0)]
        start = np.array([*(rear_m + heading * p[0] + aside), p[1]])
        rise = np.array([*(heading * (q[0] - p[0])), q[1] - p[1]])
        along = np.array([*(-2 * aside), 0.0])
        if i == len(profile) - 2:
            # The front is walked downwards: turn it over so that its lamps stand upright.
            start, rise, along = start + rise + along, -rise, -along
        faces.append(Surface(start, along, rise, texture, reach_m=110.0))
    return faces


def _bumper(colour: Colour, lamp: Colour, *, height_m: float) -> Texture:
    """Make the end of a car: lamps, number plate and bumper in its lowest 0.6 m."""

    def paint() -> Image:
        whole: Image = np.zeros((max(int(47 * height_m), 28), 72, 4), np.uint8)
        whole[..., :3] = colour
        image = whole[-28:]
        image[19:, :, :3] = (40, 40, 42)
        image[5:12, 3:15] = image[5:12, 57:69] = (*lamp, 0)
        image[20:25, 26:46, :3] = (222, 220, 210)
        return whole

    return Texture(paint)


def _mirrored(texture: Texture) -> Texture:
    return Texture(lambda: np.ascontiguousarray(texture.level(0, 0)[:, ::-1]))


def _side_texture(profile: Floats, colour: Colour) -> Texture:
    """Make the flank of a car (FLANK_M high): body, windows and wheels, transparent around."""

    def paint() -> Image:
        size = (int(FLANK_M * PER_M), int(profile[-1, 0] * PER_M))
        image: Image = np.zeros((*size, 4), np.uint8)
        image[..., :3] = colour
        cv2.fillPoly(image, [_flank_texels(profile)], (*colour, 255), cv2.LINE_AA)
        body: Image = image[..., 3].copy()
        _side_windows(image, profile, colour)
        image[size[0] - int(0.45 * PER_M) :, :, :3] //= 2
        image[..., 3] = np.minimum(image[..., 3], body)
        for axle_m in (0.75, profile[-1, 0] - 0.8):
            at = (int(axle_m * PER_M), int((FLANK_M - 0.32) * PER_M))
            cv2.circle(image, at, int(0.33 * PER_M), (26, 26, 28, 255), -1, cv2.LINE_AA)
            cv2.circle(image, at, int(0.19 * PER_M), (150, 152, 156, 255), -1, cv2.LINE_AA)
        return image

    return Texture(paint)


def _flank_texels(points_m: Floats) -> NDArray[np.int32]:
    texels = np.column_stack([points_m[:, 0], FLANK_M - points_m[:, 1]]) * PER_M
    return np.asarray(texels, np.int32)


def _side_windows(image: Image, profile: Floats, colour: Colour) -> None:
    """Paint the glass of a flank, parted by the door post."""
    roof = profile[profile[:, 1] > 0.94]
    middle = np.array([roof[:, 0].mean(), 0.93])
    glass = middle + (roof - middle) * (0.84, 0.8) + (0, 0.04)
    cv2.fillPoly(image, [_flank_texels(glass)], (44, 50, 58, 255), cv2.LINE_AA)
    x, post = int(middle[0] * PER_M), tuple(0.8 * c for c in colour)
    cv2.line(image, (x, 0), (x, int(1.4 * PER_M)), (*post, 255), 3)
